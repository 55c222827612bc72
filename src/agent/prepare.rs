//! From a plugin's configuration to what `exec` runs: its folders, its config file, its
//! environment.

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::config::{self, Mode, PluginConfig};
use crate::exec::accounts::Account;
use crate::exec::trust::{self, Memory, Trust, Untrusted};
use crate::exec::{Leftovers, Life, Spec, Stdin};
use crate::model::AgentId;

use super::confine::{Owner, Plan};
use super::own;

/// Most bytes of stderr before the ladder starts, divided by eight.
const STDERR_CAP: u64 = 1 << 20;

/// Has Python print at once.
const UNBUFFERED: &str = "PYTHONUNBUFFERED";
/// A plugin that prints when it likes and has printed nothing for so long probably buffers it.
const QUIET: Duration = Duration::from_secs(60);
/// The same in intervals, where it says how often it prints.
const QUIET_INTERVALS: u32 = 3;

/// Why a plugin's folder could not be made ready.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// Something cannot be written.
    #[error("cannot write `{path}`, which the user that runs the agent must be able to")]
    Write {
        /// What.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// In a folder's place is something that somebody else put there or could change.
    #[error("`{path}` is not a folder of the agent's own; remove it")]
    NotOurs {
        /// What.
        path: PathBuf,
    },
}

/// Makes the agent's data folder and checks that nobody else can change what is in it or which
/// folder it is. One that cannot be made is left for the spool to say.
pub fn data_dir(path: &Path, owners: &[u32]) -> Result<(), Untrusted> {
    trust::check_data_dir(path, owners)?;
    if DirBuilder::new().recursive(true).mode(0o700).create(path).is_err() {
        return Ok(());
    }
    // Again, because somebody may have been faster.
    trust::check_data_dir(path, owners)
}

/// Makes a folder in a folder of the agent's own. What is there already must be one, too: a link
/// would have the agent write where it leads.
fn own_folder(path: &Path) -> Result<(), PrepareError> {
    let failed = |source| PrepareError::Write { path: path.to_owned(), source };
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
        _ => {}
    }
    let found = path.symlink_metadata().map_err(failed)?;
    if !found.is_dir() || found.uid() != rustix::process::geteuid().as_raw() {
        return Err(PrepareError::NotOurs { path: path.to_owned() });
    }
    Ok(())
}

/// Lets others pass through a folder of the agent's own, to what is theirs in it. They see no names
/// in it, and what is the agent's is shut by its own mode.
fn let_pass(path: &Path) -> Result<(), PrepareError> {
    let failed = |source| PrepareError::Write { path: path.to_owned(), source };
    let mode = path.metadata().map_err(failed)?.mode();
    if mode & 0o001 == 0 {
        fs::set_permissions(path, Permissions::from_mode(mode & 0o7777 | 0o011)).map_err(failed)?;
    }
    Ok(())
}

/// The folders of one plugin under the agent's data folder.
///
/// A plugin with a user of its own owns its state and its settings, but not the folder that they are
/// in: it cannot put a link in their place for the agent to follow.
pub struct Folders {
    /// Private and writable, kept between runs: `TALAIA_STATE_DIR`.
    pub state: PathBuf,
    /// Its settings as JSON: `TALAIA_CONFIG`.
    pub config: PathBuf,
    data_dir: PathBuf,
    owner: Option<Owner>,
}

impl Folders {
    /// Where they are for `plugin`, and whose; `None` for the agent's user.
    pub fn of(data_dir: &Path, plugin: &str, owner: Option<Owner>) -> Self {
        let base = data_dir.join("plugins").join(plugin);
        Self {
            state: base.join("state"),
            config: base.join("config.json"),
            data_dir: data_dir.to_owned(),
            owner,
        }
    }

    /// Makes them and writes the settings anew.
    pub fn write(&self, settings: &str) -> Result<(), PrepareError> {
        let failed = |path: &Path, source| PrepareError::Write { path: path.to_owned(), source };
        let base = self.state.parent().unwrap_or(&self.state);
        let above = base.parent().unwrap_or(base);
        for folder in [above, base] {
            own_folder(folder)?;
        }
        if self.owner.is_some() {
            for folder in [self.data_dir.as_path(), above, base] {
                let_pass(folder)?;
            }
        }
        self.make_state()?;
        // A restart on a full disk needs no space for what is there already.
        if self.is_written(settings) {
            return Ok(());
        }
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
            if let Some(owner) = self.owner {
                std::os::unix::fs::fchown(&file, Some(owner.uid), Some(owner.gid))?;
            }
            drop(file);
            fs::rename(&draft, &self.config)
        };
        write().map_err(|e| failed(&self.config, e))
    }

    fn is_written(&self, settings: &str) -> bool {
        let uid = self.owner.map_or_else(|| rustix::process::geteuid().as_raw(), |owner| owner.uid);
        self.config.symlink_metadata().is_ok_and(|found| {
            found.is_file()
                && found.uid() == uid
                && found.mode() & 0o7777 == 0o400
                && found.len() == settings.len() as u64
        }) && fs::read(&self.config).is_ok_and(|bytes| bytes == settings.as_bytes())
    }

    /// Nobody but the agent can have put anything in the place of the state folder. Where the plugin
    /// has another user than before, what is in it changes hands.
    fn make_state(&self) -> Result<(), PrepareError> {
        let failed = |source| PrepareError::Write { path: self.state.clone(), source };
        match DirBuilder::new().mode(0o700).create(&self.state) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(failed(error));
            }
            _ => {}
        }
        let found = self.state.symlink_metadata().map_err(failed)?;
        if !found.is_dir() {
            return Err(PrepareError::NotOurs { path: self.state.clone() });
        }
        let me = Owner {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
        };
        let wanted = self.owner.unwrap_or(me);
        if found.uid() == wanted.uid {
            return Ok(());
        }
        own::give(&self.state, wanted).map_err(failed)
    }
}

/// What all plugins of an agent have in common.
pub struct Common<'a> {
    /// The agent's id.
    pub agent: AgentId,
    /// User ids besides root's and the agent's that may own what is run.
    pub owners: &'a [u32],
    /// Whose home and name plugins without a `user` have: the agent's user.
    pub own: Option<&'a Account>,
    /// `HOME` and `USER` as the agent has them, for where nothing else says.
    pub own_env: &'a [(String, String)],
}

/// The whole truth about how a plugin is run. `plan` is how this machine does it.
pub fn spec(plugin: &PluginConfig, common: &Common<'_>, folders: &Folders, plan: &Plan) -> Spec {
    let mut env: Vec<(OsString, OsString)> =
        plugin.env.iter().map(|(key, value)| (key.into(), value.expose().into())).collect();
    // Not the agent's own variables: who starts it by hand has others than the service.
    let own: Vec<(&str, &OsStr)> = match plan.account.as_ref().or(common.own) {
        Some(account) => vec![("HOME", account.home.as_os_str()), ("USER", account.name.as_ref())],
        None => common.own_env.iter().map(|(key, value)| (key.as_str(), value.as_ref())).collect(),
    };
    for (key, value) in own {
        if !plugin.env.contains_key(key) {
            env.push((key.into(), value.into()));
        }
    }
    let mut set = |key: &str, value: OsString| env.push((key.into(), value));
    set("TALAIA_PROTOCOL", "1".into());
    set("TALAIA_PLUGIN", plugin.name.as_str().into());
    set("TALAIA_AGENT", common.agent.to_string().into());
    if let Some(interval) = plugin.timing.interval() {
        set("TALAIA_INTERVAL", interval.as_secs_f64().to_string().into());
    }
    if !matches!(plugin.mode, Mode::Stream { .. }) {
        set("TALAIA_TIMEOUT", plugin.timeout.as_secs_f64().to_string().into());
    }
    set("TALAIA_STATE_DIR", folders.state.clone().into());
    set("TALAIA_CONFIG", folders.config.clone().into());
    if plugin.mode != Mode::Interval && !plugin.env.contains_key(UNBUFFERED) {
        // The commonest reason why a long-lived plugin seems to print nothing.
        set(UNBUFFERED, "1".into());
    }
    Spec {
        plugin: plugin.name.clone(),
        program: plugin.command.program.clone(),
        args: plugin.command.args.iter().map(OsString::from).collect(),
        dir: plugin.command.dir.clone(),
        env,
        life: match plugin.mode {
            Mode::Interval => Life::Run,
            Mode::Stream { line } => Life::Stream { line_cap: line, quiet: quiet(plugin) },
            Mode::Tick { line } => Life::Tick { line_cap: line },
        },
        stdin: match plugin.stdin {
            _ if plugin.mode != Mode::Interval => Stdin::Open,
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
        trust: trust(plugin, common.owners),
        launch: plan.launch.clone(),
    }
}

/// How long a plugin that prints by itself may print nothing at all before that is said.
fn quiet(plugin: &PluginConfig) -> Duration {
    plugin.timing.interval().map_or(QUIET, |pace| pace * QUIET_INTERVALS)
}

/// What of a plugin nobody else may be able to change: its program, and arguments that are files.
pub fn trust(plugin: &PluginConfig, owners: &[u32]) -> Trust {
    Trust {
        paths: vec![plugin.command.program.clone()],
        arguments: file_arguments(plugin),
        owners: owners.to_vec(),
    }
}

/// Checks now what is checked before each run.
pub fn check_trust(plugin: &PluginConfig, owners: &[u32]) -> Result<(), Untrusted> {
    trust(plugin, owners).check(&mut Memory::default(), Instant::now())
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
        match name.parse().ok().or_else(|| trust::user_id(name)) {
            Some(id) => ids.push(id),
            None => unknown.push(name.clone()),
        }
    }
    if unknown.is_empty() { Ok(ids) } else { Err(unknown) }
}

#[cfg(test)]
mod tests {
    use std::fs::{create_dir, remove_file, set_permissions};
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_plugins_folder_is_never_a_link_to_another() {
        let data = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let folders = Folders::of(data.path(), "cpu", None);
        create_dir(data.path().join("plugins")).unwrap();
        symlink(elsewhere.path(), data.path().join("plugins/cpu")).unwrap();
        let error = folders.write("{}").unwrap_err();
        assert!(matches!(error, PrepareError::NotOurs { .. }), "{error}");
        assert_eq!(elsewhere.path().read_dir().unwrap().count(), 0);

        remove_file(data.path().join("plugins/cpu")).unwrap();
        folders.write("{}").unwrap();
        folders.write("{}").unwrap();
        assert_eq!(fs::read_to_string(&folders.config).unwrap(), "{}");
    }

    #[test]
    fn the_data_folder_is_made_for_the_agent_alone() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("a/b");
        data_dir(&data, &[]).unwrap();
        assert_eq!(data.metadata().unwrap().mode() & 0o777, 0o700);
        set_permissions(dir.path().join("a"), Permissions::from_mode(0o777)).unwrap();
        assert!(data_dir(&data, &[]).is_err());
    }
}
