//! Reading the files of a config and putting them together.

mod found;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::diagnostic::{Diagnostic, LoadErrors, Severity, Sources};
use super::env::Env;
use super::files::{list, read_text};
use super::json::parse_json;
use super::node::{Kind, Node, Place, parse_toml};
use super::output::{OutputConfig, output};
use super::packages::{self, DROP_INS, InstalledPackage};
use super::pattern::{expand, fits, is_pattern};
use super::profile::{self, Destinations};
use super::raw::{RawAgent, RawConfig, RawHub, RawOutput, RawPackage, RawProfile};
use super::read::{At, Found, Named, Read as _};
use super::resolve::Cx;
use super::resolve_plugin::{Around, Definition, normal, plugin};
use super::values::SecretSource;
use super::{AgentConfig, Config, HubConfig, Loaded, Origin, SELF_PLUGIN, agent};
use crate::model::{InvalidName, PackageName, PluginName, nearest_name};

/// Where a config is.
#[derive(Debug, Clone)]
pub enum Source {
    /// In a file: TOML, or JSON when its name ends in `.json`.
    File(PathBuf),
    /// In this very text (TOML).
    Text {
        /// What to call it in messages.
        name: String,
        /// The config.
        text: String,
        /// The folder that its paths are relative to.
        base: PathBuf,
    },
    /// Nowhere: scripts on the command line.
    Scripts(Scripts),
}

/// Plugins named on the command line, each by its executable; a sidecar beside one counts. The folder
/// of a package stands for all of its plugins.
#[derive(Debug, Clone, Default)]
pub struct Scripts {
    /// A config to take everything else from.
    pub config: Option<PathBuf>,
    /// The executables, or folders of packages; relative paths are relative to [`Env::cwd`].
    pub paths: Vec<PathBuf>,
    /// Their interval, in place of any other.
    pub every: Option<Duration>,
    /// Arguments for each of them.
    pub args: Vec<String>,
}

/// Files as they are to become, by their absolute path: with this text, or gone. A config can be
/// tried with them before anything is written.
pub type Edits = BTreeMap<PathBuf, Option<String>>;

/// Loads a config: reads, checks and resolves it.
///
/// # Errors
/// Everything that is wrong with it, at once. A plugin that merely could not start is no error; it
/// is [`PluginState::Broken`](super::PluginState::Broken) and listed in [`Loaded::problems`].
pub fn load(source: &Source, env: &Env) -> Result<Loaded, LoadErrors> {
    load_edited(source, &Edits::new(), env)
}

/// Loads a config as [`load`] does, as if its files were edited already.
///
/// # Errors
/// As those of [`load`].
pub fn load_edited(source: &Source, edits: &Edits, env: &Env) -> Result<Loaded, LoadErrors> {
    let mut loading = Loading::new(env, Reading::All);
    loading.edits = edits.clone();
    loading.read(source);
    let (agent, packages, _) = loading.define_found(source);
    loading.finish(agent, packages)
}

/// Reads what a config file says to commands that talk to a hub: its profiles, the hubs among its
/// outputs, and the data folder. Nothing is said of what else is in it.
///
/// # Errors
/// Everything that is wrong with those, or with the form of the files.
pub fn destinations(path: &Path, env: &Env) -> Result<Destinations, LoadErrors> {
    let mut loading = Loading::new(env, Reading::Destinations);
    loading.main_file(path);
    let cx = &mut loading.cx;
    let data_dir =
        loading.agent.as_ref().and_then(|at| at.value.data_dir.as_ref()).map(|dir| cx.path(dir));
    let names: Vec<&str> = loading.outputs.iter().map(|output| output.name.as_str()).collect();
    let profiles = profile::profiles(&loading.profiles, &names, cx);
    let outputs = profile::hubs(&loading.outputs, cx);
    let Cx { found, sources, .. } = loading.cx;
    if found.diagnostics.iter().any(|d| d.severity == Severity::Error) {
        return Err(LoadErrors { diagnostics: found.diagnostics, sources });
    }
    Ok(Destinations { data_dir, profiles, outputs })
}

/// Reads what a config file says of the hub. Nothing is said of what else is in it.
///
/// # Errors
/// Everything that is wrong with that, or with the form of the files.
pub fn hub(path: &Path, env: &Env) -> Result<HubConfig, LoadErrors> {
    let mut loading = Loading::new(env, Reading::Hub);
    loading.main_file(path);
    let raw = loading.hub.take();
    let hub = agent::hub(raw.as_ref().map(|at| &at.value), 0, &mut loading.cx);
    let Cx { found, sources, .. } = loading.cx;
    if found.diagnostics.iter().any(|d| d.severity == Severity::Error) {
        return Err(LoadErrors { diagnostics: found.diagnostics, sources });
    }
    Ok(hub)
}

/// The packages in use.
type Packages = BTreeMap<PackageName, InstalledPackage>;

pub(super) struct Loading<'a> {
    pub(super) cx: Cx<'a>,
    files: Vec<PathBuf>,
    agent: Option<At<RawAgent>>,
    hub: Option<At<RawHub>>,
    outputs: Vec<Named<At<RawOutput>>>,
    profiles: Vec<Named<At<RawProfile>>>,
    pub(super) plugins: BTreeMap<PluginName, Definition>,
    packages: Vec<Named<At<RawPackage>>>,
    edits: Edits,
    reading: Reading,
}

/// How much of the files is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    All,
    /// What [`destinations`] is about.
    Destinations,
    /// What [`hub`] is about.
    Hub,
}

/// Leaves of a config what is looked at.
fn cut_down(config: &mut Node, reading: Reading) {
    let Kind::Table(entries) = &mut config.kind else { return };
    let kept: &[&str] = match reading {
        Reading::All => return,
        Reading::Destinations => &["include", "agent", "outputs", "profiles"],
        Reading::Hub => &["include", "hub"],
    };
    entries.retain(|e| kept.contains(&e.key.as_str()));
    for entry in entries {
        if entry.key == "agent"
            && let Kind::Table(settings) = &mut entry.value.kind
        {
            settings.retain(|e| e.key == "data_dir");
        }
    }
}

impl<'a> Loading<'a> {
    /// Reads a config as far as its plugins are defined, however much is wrong with it.
    pub(super) fn defined(source: &Source, env: &'a Env) -> (Self, Option<At<RawAgent>>) {
        let mut loading = Self::read_only(source, env);
        let (.., raw_agent) = loading.define_found(source);
        (loading, raw_agent)
    }

    /// Reads the files of a config, and no more.
    pub(super) fn read_only(source: &Source, env: &'a Env) -> Self {
        let mut loading = Self::new(env, Reading::All);
        loading.read(source);
        loading
    }

    pub(super) fn package_names(&self) -> Vec<String> {
        self.packages.iter().map(|package| package.name.clone()).collect()
    }

    fn read(&mut self, source: &Source) {
        match source {
            Source::File(path) => self.main_file(path),
            Source::Text { name, text, base } => self.main_text(base.join(name), text.clone()),
            Source::Scripts(scripts) => {
                if let Some(path) = &scripts.config {
                    self.main_file(path);
                }
            }
        }
    }

    fn new(env: &'a Env, reading: Reading) -> Self {
        Self {
            cx: Cx { env, sources: Sources::default(), found: Found::default() },
            files: Vec::new(),
            agent: None,
            hub: None,
            outputs: Vec::new(),
            profiles: Vec::new(),
            plugins: BTreeMap::new(),
            packages: Vec::new(),
            edits: Edits::new(),
            reading,
        }
    }

    /// The text of a file, as it is or is to become.
    fn text(&self, path: &Path) -> Result<String, Diagnostic> {
        match self.edits.get(path) {
            Some(Some(text)) => Ok(text.clone()),
            _ => read_text(path),
        }
    }

    fn main_file(&mut self, path: &Path) {
        let path = normal(&self.cx.env.cwd.join(path));
        match self.text(&path) {
            Ok(text) => {
                self.files.push(path.clone());
                self.main_text(path.clone(), text);
                self.drop_ins(&path.with_file_name(DROP_INS));
            }
            Err(diagnostic) => {
                let diagnostic = if diagnostic.help.is_some() {
                    diagnostic
                } else {
                    diagnostic.help(
                        "name another with `--config`, or run a script without any: `talaia run ./script.sh --every 10s`",
                    )
                };
                self.cx.found.push(diagnostic);
            }
        }
    }

    fn main_text(&mut self, path: PathBuf, text: String) {
        let Some(raw) = self.parse::<RawConfig>(path, text) else { return };
        let include = raw.value.include;
        self.merge(RawConfig { include: None, ..raw.value });
        for pattern in include.iter().flat_map(|at| &at.value) {
            self.include(pattern);
        }
    }

    /// Parses and reads one file. Syntax errors stop the reading of this file alone.
    fn parse<T: super::read::Read>(&mut self, path: PathBuf, text: String) -> Option<At<T>> {
        let json = path.extension() == Some(OsStr::new("json"));
        let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
        let file = self.cx.sources.add(path, &text);
        let (mut node, errors): (Node, _) =
            if json { parse_json(&text, file) } else { parse_toml(&text, file) };
        let broken = !errors.is_empty();
        for (message, span) in errors {
            self.cx.error(message, &Place { file, span });
        }
        if broken {
            return None;
        }
        cut_down(&mut node, self.reading);
        At::<T>::read(&node, &mut self.cx.found)
    }

    fn include(&mut self, pattern: &At<String>) {
        let path = self.cx.path(pattern);
        let paths = if path.to_str().is_some_and(is_pattern) {
            match expand(&path) {
                Ok(mut paths) => {
                    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                    // Files that are to become.
                    paths.extend(self.edits.iter().filter(|(_, text)| text.is_some()).filter_map(
                        |(new, _)| {
                            let fit = new.parent() == path.parent()
                                && fits(name, new.file_name()?.to_str()?);
                            fit.then(|| new.clone())
                        },
                    ));
                    paths.sort();
                    paths.dedup();
                    paths
                }
                Err(e) => {
                    let message = format!("cannot list `{}`: {e}", path.display());
                    return self.cx.error(message, &pattern.place);
                }
            }
        } else {
            vec![path]
        };
        for path in paths {
            let path = normal(&path);
            if self.files.contains(&path) {
                let message = format!("`{}` is included twice", path.display());
                self.cx.error(message, &pattern.place);
                continue;
            }
            self.further(&path, Some(&pattern.place));
        }
    }

    /// The files that are there for being in this folder, but those that were read already.
    fn drop_ins(&mut self, folder: &Path) {
        let mut paths = list(folder).unwrap_or_default();
        let new = self.edits.iter().filter(|(_, text)| text.is_some()).map(|(path, _)| path);
        paths.extend(new.filter(|path| path.parent() == Some(folder)).cloned());
        paths.retain(|path| path.extension() == Some(OsStr::new("toml")));
        paths.sort();
        paths.dedup();
        for path in paths {
            if !self.files.contains(&path) {
                self.further(&path, None);
            }
        }
    }

    /// One more file of the config, and who asked for it.
    fn further(&mut self, path: &Path, asked: Option<&Place>) {
        if self.edits.get(path) == Some(&None) {
            return;
        }
        match self.text(path) {
            Err(diagnostic) => self.cx.found.push(match asked {
                Some(place) => diagnostic.at(place),
                None => diagnostic,
            }),
            Ok(text) => {
                self.files.push(path.to_owned());
                if let Some(raw) = self.parse::<RawConfig>(path.to_owned(), text) {
                    if let Some(include) = &raw.value.include {
                        self.cx.error("only the main file may include others", &include.place);
                    }
                    self.merge(raw.value);
                }
            }
        }
    }

    fn merge(&mut self, raw: RawConfig) {
        let twice = |table: &str, one: &Place, other: &Place| {
            Diagnostic::error(format!("`[{table}]` is in two files"))
                .at(one)
                .also(other, "first here")
                .help("keep one of the two")
        };
        match (raw.agent, &self.agent) {
            (Some(new), Some(old)) => {
                let diagnostic = twice("agent", &new.place, &old.place);
                self.cx.found.push(diagnostic);
            }
            (Some(new), None) => self.agent = Some(new),
            (None, _) => {}
        }
        match (raw.hub, &self.hub) {
            (Some(new), Some(old)) => {
                let diagnostic = twice("hub", &new.place, &old.place);
                self.cx.found.push(diagnostic);
            }
            (Some(new), None) => self.hub = Some(new),
            (None, _) => {}
        }
        for output in raw.outputs.map_or_else(Vec::new, |at| at.value.0) {
            if let Some(old) = self.outputs.iter().find(|o| o.name == output.name) {
                self.cx.found.push(
                    Diagnostic::error(format!("there are two outputs named `{}`", output.name))
                        .at(&output.place)
                        .also(&old.place, "first here")
                        .help("rename one of the two"),
                );
                continue;
            }
            let at = At { value: output.value, place: output.place.clone() };
            self.outputs.push(Named { name: output.name, place: output.place, value: at });
        }
        for profile in raw.profiles.map_or_else(Vec::new, |at| at.value.0) {
            if let Some(old) = self.profiles.iter().find(|p| p.name == profile.name) {
                self.cx.found.push(
                    Diagnostic::error(format!("there are two profiles named `{}`", profile.name))
                        .at(&profile.place)
                        .also(&old.place, "first here")
                        .help("rename one of the two"),
                );
                continue;
            }
            let at = At { value: profile.value, place: profile.place.clone() };
            self.profiles.push(Named { name: profile.name, place: profile.place, value: at });
        }
        for package in raw.packages.map_or_else(Vec::new, |at| at.value.0) {
            if let Some(old) = self.packages.iter().find(|p| p.name == package.name) {
                self.cx.found.push(
                    Diagnostic::error(format!("the package `{}` is in two files", package.name))
                        .at(&package.place)
                        .also(&old.place, "first here")
                        .help("keep one of the two"),
                );
                continue;
            }
            let at = At { value: package.value, place: package.place.clone() };
            self.packages.push(Named { name: package.name, place: package.place, value: at });
        }
        for plugin in raw.plugins.map_or_else(Vec::new, |at| at.value.0) {
            let name: Result<PluginName, InvalidName> = plugin.name.parse();
            match name {
                Ok(name) => self.define(Definition::new(name, plugin.value, plugin.place)),
                Err(_) => self.cx.found.push(
                    Diagnostic::error(format!("`{}` is not a plugin name", plugin.name))
                        .at(&plugin.place)
                        .label("letters, digits and `_`, not starting with a digit")
                        .help(format!("for example `{}`", nearest_name(&plugin.name))),
                ),
            }
        }
    }

    fn define(&mut self, def: Definition) {
        if let Some(old) = self.plugins.get(&def.name) {
            self.cx.found.push(
                Diagnostic::error(format!("there are two plugins named `{}`", def.name))
                    .at(&def.place)
                    .also(&old.place, "first here")
                    .help("rename one of the two; a plugin found as a file is named by the file"),
            );
            return;
        }
        self.plugins.insert(def.name.clone(), def);
    }

    /// The packages that are in use; their plugins are defined.
    fn packages(&mut self, agent: &AgentConfig) -> Packages {
        let mut packages = BTreeMap::new();
        for named in std::mem::take(&mut self.packages) {
            let found = packages::installed(&named, agent, &mut self.files, &mut self.cx);
            let Some((name, package, definitions)) = found else { continue };
            for def in definitions {
                self.define(def);
            }
            packages.insert(name, package);
        }
        packages
    }

    /// The variables that hold keys of outputs and profiles.
    fn key_variables(&self) -> Vec<String> {
        let outputs = self.outputs.iter().filter_map(|output| match &output.value.value {
            RawOutput::Talaia(hub) => hub.key.as_ref(),
            RawOutput::File(_) | RawOutput::Stdout(_) => None,
        });
        let profiles = self.profiles.iter().map(|profile| &profile.value.value);
        let profiles =
            profiles.flat_map(|raw| [raw.key.as_ref(), raw.secret_key.as_ref()]).flatten();
        let named = |source: &At<SecretSource>| match &source.value {
            SecretSource::Env(name) => Some(name.value.clone()),
            SecretSource::File(_) => None,
        };
        outputs.chain(profiles).filter_map(named).collect()
    }

    /// Defines the plugins that are found: on the command line, in folders, in packages.
    fn define_found(&mut self, source: &Source) -> (AgentConfig, Packages, Option<At<RawAgent>>) {
        let raw_agent = self.agent.take();
        let agent = agent::agent(raw_agent.as_ref().map(|at| &at.value), &mut self.cx);
        if let Source::Scripts(scripts) = source {
            self.scripts(scripts, &agent);
        }
        let dirs = raw_agent.as_ref().and_then(|at| at.value.plugin_dirs.as_ref());
        let named = self.named();
        for folder in dirs.iter().flat_map(|at| &at.value) {
            self.folder(folder, &named, &agent);
        }
        let packages = self.packages(&agent);
        (agent, packages, raw_agent)
    }

    fn finish(mut self, agent: AgentConfig, packages: Packages) -> Result<Loaded, LoadErrors> {
        let keys = self.key_variables();
        let mut outputs: BTreeMap<String, OutputConfig> = BTreeMap::new();
        for raw in &self.outputs {
            if let Some(resolved) = output(raw, &mut self.cx) {
                outputs.insert(raw.name.clone(), resolved);
            }
        }
        let names: Vec<&str> = self.outputs.iter().map(|output| output.name.as_str()).collect();
        let profiles = profile::profiles(&self.profiles, &names, &mut self.cx);
        let hub = self.hub.take();
        let hub = agent::hub(hub.as_ref().map(|at| &at.value), self.outputs.len(), &mut self.cx);
        let around = Around { agent: &agent, keys: &keys };
        let mut plugins = BTreeMap::new();
        let mut origins = BTreeMap::new();
        if let Some(def) = self.plugins.values().find(|def| def.name.as_str() == SELF_PLUGIN) {
            self.cx.found.push(
                Diagnostic::error(format!("the name `{SELF_PLUGIN}` is taken"))
                    .at(&def.place)
                    .label("the agent reports on itself under this name")
                    .help("give the plugin another name"),
            );
        }
        for def in self.plugins.values() {
            if let Some(resolved) = plugin(def, &around, &mut self.files, &mut self.cx) {
                let (path, line) = self.cx.sources.line(&def.place);
                let origin = Origin { path: path.clone(), line, by: def.by() };
                origins.insert(def.name.clone(), origin);
                plugins.insert(def.name.clone(), resolved);
            }
        }
        let config = Config { agent, plugins, packages, outputs, profiles, hub };
        conclude(config, origins, self.files, self.cx)
    }
}

/// Sorts what was found, and decides.
fn conclude(
    config: Config,
    origins: BTreeMap<PluginName, Origin>,
    files: Vec<PathBuf>,
    cx: Cx<'_>,
) -> Result<Loaded, LoadErrors> {
    let (mut diagnostics, sources) = (cx.found.diagnostics, cx.sources);
    diagnostics.sort_by_key(|d| {
        let place = d.place.as_ref().map(|place| (place.file, place.span.start));
        (d.severity, place)
    });
    if diagnostics.iter().any(|d| d.severity == Severity::Error) {
        return Err(LoadErrors { diagnostics, sources });
    }
    let (problems, warnings) =
        diagnostics.into_iter().partition(|d| d.severity == Severity::Problem);
    Ok(Loaded { config, files, origins, problems, warnings, sources })
}
