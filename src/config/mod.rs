//! What the operator wrote, and what it comes to.
//!
//! A config is read in two stages: *raw* (what was written, each value with its place in its file)
//! and *resolved* (what will happen, in [`Config`], where contradictory settings cannot be said).
//! Promises:
//!
//! - everything that is wrong is reported at once, with file, line, caret and what to write instead;
//! - what merely keeps one plugin from running is no error of the config, so that a broken plugin
//!   never stops the agent ([`PluginState::Broken`], [`Loaded::problems`]);
//! - no secret is shown in a `Debug`, an error or a rendering;
//! - the types that read a config are its JSON Schema (`schemas/config.v1.json`).
//!
//! This room and `cli` are the only ones that read the environment. It does not know who may own the
//! files that it read (it lists them in [`Loaded::files`] for whoever judges that), starts nothing,
//! and does not check a plugin's JSON Schema beyond being JSON.

mod agent;
mod choices;
mod command;
mod confinement;
mod diagnostic;
pub mod edit;
mod env;
mod files;
mod json;
mod load;
mod manifest;
mod node;
mod output;
mod packages;
mod pattern;
mod plugin;
mod profile;
mod proxy;
mod raw;
mod raw_manifest;
mod read;
mod resolve;
mod resolve_confinement;
mod resolve_mode;
mod resolve_plugin;
mod schema;
mod secrets;
#[cfg(test)]
mod tests;
mod values;
mod written;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use agent::{AgentConfig, HubConfig, HubTls, QuarantineConfig, SELF_PLUGIN, SpoolConfig};
pub use choices::{Compression, Leftovers, Start, Stdin};
pub use command::{Command, find as find_on_path};
pub use confinement::Confinement;
pub use diagnostic::{Color, Diagnostic, LoadErrors, Severity, Sources};
pub use env::{DEFAULT_PATH, Env, KEY_VARIABLES, User};
pub use files::read_to_string;
pub use load::{Edits, Scripts, Source, destinations, hub, load, load_edited};
pub use manifest::{
    Files, MANIFEST, MANIFEST_READS, Manifest, PackagedCommand, Reading, Requires, is_inside,
};
pub use node::Place;
pub use output::{EMBEDDED_OUTPUT, FileOutput, Identity, OutputConfig, TalaiaOutput};
pub use packages::{DROP_INS, InstalledPackage, PACKAGES};
pub use plugin::{Mode, PluginConfig, PluginState, SchemaFile, Settings, Timing};
pub use profile::{
    Destinations, HubOutput, PRODUCTION, Profile, SANDBOX, SecretError, SecretPlace, Text,
    secret_file,
};
pub use proxy::Proxy;
pub use raw_manifest::{Category, manifest_schema};
pub use read::nearest;
pub use read::size;
pub use schema::schema;
pub use written::{Written, package_names, plugin_names, written};

use crate::model::{PackageName, PluginName};

/// `path` as the config writes paths: without its `.` components, and with each `..` taken together
/// with the name before it.
pub fn plain_path(path: &Path) -> PathBuf {
    resolve_plugin::without_dots(path)
}

/// The commented config that a new installation begins with.
pub const DEFAULT: &str = include_str!("default.toml");

/// All that an agent is to do.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The agent itself.
    pub agent: AgentConfig,
    /// The plugins, those that are not to run among them.
    pub plugins: BTreeMap<PluginName, PluginConfig>,
    /// The packages that some of the plugins come from.
    pub packages: BTreeMap<PackageName, InstalledPackage>,
    /// The outputs, the embedded one left out.
    pub outputs: BTreeMap<String, OutputConfig>,
    /// The profiles that it defines.
    pub profiles: BTreeMap<String, Profile>,
    /// The embedded hub.
    pub hub: HubConfig,
}

/// A config, and how it came about.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The config.
    pub config: Config,
    /// Every file that had a say in it, absolute: config files, sidecars and schemas.
    pub files: Vec<PathBuf>,
    /// Where each plugin is defined.
    pub origins: BTreeMap<PluginName, Origin>,
    /// What keeps single plugins from running.
    pub problems: Vec<Diagnostic>,
    /// What works, but probably not as meant.
    pub warnings: Vec<Diagnostic>,
    /// For showing the two.
    pub sources: Sources,
}

/// Where something is defined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The file; for a plugin without a line of config, its executable.
    pub path: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// What is there.
    pub by: DefinedBy,
}

/// What defines a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DefinedBy {
    /// A table `[plugins.NAME]` of a config file.
    Table,
    /// The file beside its executable, which is in a folder of plugins or on the command line.
    Sidecar {
        /// The executable.
        program: PathBuf,
    },
    /// Its executable alone.
    Program {
        /// The executable.
        program: PathBuf,
    },
    /// A package's manifest.
    Package {
        /// The package.
        name: PackageName,
        /// Which of its commands.
        command: String,
        /// Whether it is installed, and not merely in a folder of plugins.
        installed: bool,
    },
}
