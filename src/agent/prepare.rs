//! From a plugin's configuration to what `exec` runs: its folders, its config file, its
//! environment.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::config::{self, PluginConfig};
use crate::exec::trust::Trust;
use crate::exec::{Leftovers, Spec, Stdin};
use crate::model::AgentId;

/// Most bytes of stderr before the ladder starts, divided by eight.
const STDERR_CAP: u64 = 1 << 20;

/// Why a plugin's folder could not be made ready.
#[derive(Debug, thiserror::Error)]
#[error("cannot write `{path}`")]
pub struct PrepareError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// The folders of one plugin under the agent's data folder.
pub struct Folders {
    /// Private and writable, kept between runs: `TALAIA_STATE_DIR`.
    pub state: PathBuf,
    /// Its settings as JSON: `TALAIA_CONFIG`.
    pub config: PathBuf,
}

impl Folders {
    /// Where they are for `plugin`.
    pub fn of(data_dir: &Path, plugin: &str) -> Self {
        let base = data_dir.join("plugins").join(plugin);
        Self { state: base.join("state"), config: base.join("config.json") }
    }

    /// Makes them and writes the settings anew.
    pub fn write(&self, settings: &str) -> Result<(), PrepareError> {
        let failed = |path: &Path, source| PrepareError { path: path.to_owned(), source };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.state)
            .map_err(|e| failed(&self.state, e))?;
        // Under another name and then moved: a run that starts meanwhile reads one or the other.
        let draft = self.config.with_extension("json.new");
        match fs::remove_file(&draft) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed(&draft, e)),
            _ => {}
        }
        let write = || {
            let mut file =
                OpenOptions::new().write(true).create_new(true).mode(0o400).open(&draft)?;
            file.write_all(settings.as_bytes())?;
            drop(file);
            fs::rename(&draft, &self.config)
        };
        write().map_err(|e| failed(&self.config, e))
    }
}

/// What all plugins of an agent have in common.
pub struct Common<'a> {
    /// The agent's id.
    pub agent: AgentId,
    /// User ids besides root's and the agent's that may own what is run.
    pub owners: &'a [u32],
}

/// The whole truth about how a plugin is run.
pub fn spec(plugin: &PluginConfig, common: &Common<'_>, folders: &Folders) -> Spec {
    let mut env: Vec<(OsString, OsString)> =
        plugin.env.iter().map(|(key, value)| (key.into(), value.expose().into())).collect();
    let mut set = |key: &str, value: OsString| env.push((key.into(), value));
    set("TALAIA_PROTOCOL", "1".into());
    set("TALAIA_PLUGIN", plugin.name.as_str().into());
    set("TALAIA_AGENT", common.agent.to_string().into());
    if let Some(interval) = plugin.timing.interval() {
        set("TALAIA_INTERVAL", interval.as_secs_f64().to_string().into());
    }
    set("TALAIA_TIMEOUT", plugin.timeout.as_secs_f64().to_string().into());
    set("TALAIA_STATE_DIR", folders.state.clone().into());
    set("TALAIA_CONFIG", folders.config.clone().into());
    Spec {
        plugin: plugin.name.clone(),
        program: plugin.command.program.clone(),
        args: plugin.command.args.iter().map(OsString::from).collect(),
        dir: plugin.command.dir.clone(),
        env,
        stdin: match plugin.stdin {
            config::Stdin::Config => Stdin::File(folders.config.clone()),
            config::Stdin::Null => Stdin::Null,
            config::Stdin::Open => Stdin::Open,
        },
        timeout: plugin.timeout,
        grace: plugin.grace,
        stdout_cap: plugin.stdout_limit,
        stderr_cap: STDERR_CAP,
        leftovers: match plugin.leftovers {
            config::Leftovers::Kill => Leftovers::Kill,
            config::Leftovers::Keep => Leftovers::Keep,
        },
        trust: Trust {
            paths: vec![plugin.command.program.clone()],
            arguments: file_arguments(plugin),
            owners: common.owners.to_vec(),
        },
    }
}

/// Every argument that may be a file. Which ones are is seen when a run is due: a script may come
/// later than the configuration.
fn file_arguments(plugin: &PluginConfig) -> Vec<PathBuf> {
    plugin
        .command
        .args
        .iter()
        .filter(|arg| !arg.is_empty() && !arg.starts_with('-'))
        .map(|arg| plugin.command.dir.join(arg))
        .collect()
}

/// User ids of the names (or numbers) in `trusted_owners`; the names that do not exist are in
/// `Err`.
pub fn owner_ids(names: &[String]) -> Result<Vec<u32>, Vec<String>> {
    let mut unknown = Vec::new();
    let mut ids = Vec::new();
    for name in names {
        match name.parse().ok().or_else(|| crate::exec::trust::user_id(name)) {
            Some(id) => ids.push(id),
            None => unknown.push(name.clone()),
        }
    }
    if unknown.is_empty() { Ok(ids) } else { Err(unknown) }
}
