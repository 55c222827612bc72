//! From what a plugin's configuration asks for to what is set in its children: users are looked up,
//! what this machine can do is seen, and what it cannot is said, in a line each.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustix::process::Resource;

use crate::config::{Confinement, PluginConfig, PluginState};
use crate::exec::accounts::{self, Account};
use crate::exec::cgroup::{Cgroup, Cgroups, Controller};
use crate::exec::{Caps, Identity, Launch, OWN_PROGRAM, Privileges};
use crate::model::{PluginName, chain};

/// Why a plugin cannot be run as it asks to be.
#[derive(Debug, thiserror::Error)]
pub enum ConfineError {
    /// No such user.
    #[error("there is no user `{0}` in `/etc/passwd`; make one with `useradd --system {0}`")]
    NoUser(String),
    /// No such group.
    #[error("there is no group `{0}` in `/etc/group`; make one with `groupadd --system {0}`")]
    NoGroup(String),
    /// A number without an entry has no group.
    #[error("user {0} has no entry in `/etc/passwd`, so name its `group`, too")]
    GroupWanted(u32),
    /// Only root can become somebody else.
    #[error(
        "`{what}` takes an agent that runs as root; run it as root, run it as that user, or take \
         `{what}` out"
    )]
    NotRoot {
        /// The setting.
        what: &'static str,
    },
    /// More than the agent has to give.
    #[error(
        "`limits.{what}` is more than the agent itself may have ({most}); lower it, or raise the \
         agent's own limit"
    )]
    Above {
        /// The setting.
        what: &'static str,
        /// The agent's hard limit.
        most: u64,
    },
    /// Nothing here counts its processes alone.
    #[error(
        "`limits.processes` takes a cgroup with the pids controller, or a `user` that neither \
         another plugin nor the agent has; there is no such cgroup here ({why})"
    )]
    Processes {
        /// Why there is no cgroup.
        why: String,
    },
    /// The limit on processes of one counts those of the other.
    #[error(
        "plugin `{other}` has the user `{user}`, too, and without a cgroup `limits.processes` counts \
         all processes of a user; give one of them a user of its own"
    )]
    SharedUser {
        /// The user.
        user: String,
        /// The other plugin.
        other: PluginName,
    },
    /// Its user cannot get to what it needs.
    #[error(
        "its user `{user}` may not enter `{folder}`, on the way to {what}; run `chmod o+x {folder}`, \
         or move it"
    )]
    Unreachable {
        /// The user.
        user: String,
        /// The folder that is shut.
        folder: PathBuf,
        /// What is behind it.
        what: &'static str,
    },
}

/// How a plugin is run on this machine.
#[derive(Debug, Default)]
pub struct Plan {
    /// What is set before it starts.
    pub launch: Option<Arc<Launch>>,
    /// The user that it asks for; `HOME` and `USER` are its.
    pub account: Option<Account>,
    /// Who its files belong to, where that is not the agent's user.
    pub owner: Option<Owner>,
    /// What it asks for and this machine does in part or not at all, in a line each.
    pub notes: Vec<String>,
}

/// Somebody else than the agent, to whom a plugin's files belong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

/// What this machine and this process can do.
pub struct Machine {
    launcher: PathBuf,
    uid: u32,
    gid: u32,
    agent: String,
    preparing: Preparing,
    cgroups: OnceLock<Result<Cgroups, String>>,
}

/// Whether cgroups are only looked at or made ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preparing {
    /// Nothing is changed.
    Look,
    /// This process moves to a leaf where that takes it.
    MakeReady,
}

impl Machine {
    /// This machine, for the agent with this id.
    pub fn this(agent: String, preparing: Preparing) -> Self {
        Self {
            launcher: PathBuf::from(OWN_PROGRAM),
            uid: effective_user(),
            gid: rustix::process::getegid().as_raw(),
            agent,
            preparing,
            cgroups: OnceLock::new(),
        }
    }

    fn cgroups(&self) -> Result<&Cgroups, &str> {
        let found = self.cgroups.get_or_init(|| {
            match self.preparing {
                Preparing::Look => Cgroups::look(&self.agent),
                Preparing::MakeReady => Cgroups::open(&self.agent),
            }
            .map_err(|error| chain(&error))
        });
        found.as_ref().map_err(String::as_str)
    }

    /// The cgroups, or why a plugin's cgroup cannot have this controller.
    fn cgroups_with(&self, controller: Controller) -> Result<&Cgroups, String> {
        let cgroups = self.cgroups().map_err(str::to_owned)?;
        if cgroups.has(controller) {
            return Ok(cgroups);
        }
        let word = match controller {
            Controller::Memory => "memory",
            Controller::Processes => "pids",
        };
        Err(format!("the agent's cgroup cannot hand down the {word} controller"))
    }

    /// Kills what is in cgroups of this agent's plugins but those in `keep`, and removes them.
    /// Returns how many processes there were.
    pub fn sweep(&self, keep: &[&str]) -> usize {
        let cgroups = match self.cgroups.get() {
            Some(found) => found.as_ref().ok().cloned(),
            None => Cgroups::look(&self.agent).ok(),
        };
        cgroups.map_or(0, |cgroups| cgroups.sweep(keep))
    }

    /// How `plugin` is run. `all` are the plugins of the same configuration, itself among them;
    /// `data_dir` is where its state will be.
    pub fn plan(
        &self,
        plugin: &PluginConfig,
        all: &BTreeMap<PluginName, PluginConfig>,
        data_dir: &Path,
    ) -> Result<Plan, ConfineError> {
        let wanted = &plugin.confinement;
        let who = self.who(wanted)?;
        let launched = wanted.asks_for_something() || wanted.no_new_privs == Some(true);
        if !launched {
            return Ok(Plan::default());
        }
        if let Some(who) = &who {
            reachable(who, data_dir, "its state folder")?;
            reachable(who, plugin.command.program.parent().unwrap_or(data_dir), "its program")?;
        }
        self.allowed(wanted)?;
        let mut notes = Vec::new();
        let mut caps = Caps {
            cpu: wanted.cpu,
            files: wanted.files,
            file_size: wanted.file_size,
            ..Caps::default()
        };
        let mut group = (None, None);
        if let Some(limit) = wanted.memory {
            match self.cgroups_with(Controller::Memory) {
                Ok(_) => group.0 = Some(limit),
                Err(why) => {
                    caps.memory = Some(limit);
                    notes.push(format!(
                        "`limits.memory` holds for the data of each process alone (RLIMIT_DATA): {why}"
                    ));
                }
            }
        }
        if let Some(limit) = wanted.processes {
            match self.cgroups_with(Controller::Processes) {
                Ok(_) => group.1 = Some(limit),
                Err(why) if can_count_alone(who.as_ref()) => {
                    caps.processes = Some(limit);
                    notes.push(format!(
                        "`limits.processes` counts all processes of its user (RLIMIT_NPROC): {why}"
                    ));
                }
                // Whoever looks from a shell is in another cgroup than the service.
                Err(why) if self.is_another_cgroup_than_the_service() => notes.push(format!(
                    "`limits.processes` holds only where the agent is a service with \
                     `Delegate=yes`; from here: {why}"
                )),
                Err(why) => return Err(ConfineError::Processes { why }),
            }
        }
        self.counts_nobody_else(plugin, who.as_ref(), all)?;
        let cgroup = self.cgroup(plugin, group, &mut notes);
        let privileges = match wanted.no_new_privs {
            Some(false) => Privileges::Inherit,
            Some(true) | None => Privileges::NoNew,
        };
        let launch = Launch {
            launcher: self.launcher.clone(),
            identity: who.as_ref().map(|who| who.identity.clone()),
            nice: wanted.nice,
            privileges,
            caps,
            cgroup,
        };
        let owner = who
            .filter(|who| who.identity.uid != self.uid)
            .map(|who| Owner { uid: who.identity.uid, gid: who.identity.gid });
        let account = wanted.user.as_deref().and_then(accounts::user);
        Ok(Plan { launch: Some(Arc::new(launch)), account, owner, notes })
    }

    /// The user and group that are asked for, where they are not the agent's own.
    fn who(&self, wanted: &Confinement) -> Result<Option<Who>, ConfineError> {
        let gid = match &wanted.group {
            None => None,
            Some(name) => {
                Some(accounts::group(name).ok_or_else(|| ConfineError::NoGroup(name.clone()))?)
            }
        };
        let Some(name) = &wanted.user else {
            let Some(gid) = gid.filter(|gid| *gid != self.gid) else { return Ok(None) };
            self.root_for("group")?;
            let name = accounts::user_of(self.uid).map_or(self.uid.to_string(), |a| a.name);
            let identity = Identity { name, uid: self.uid, gid, groups: Vec::new() };
            return Ok(Some(Who { identity }));
        };
        let account = match (accounts::user(name), name.parse::<u32>()) {
            (Some(account), _) => account,
            (None, Ok(uid)) => Account {
                name: uid.to_string(),
                uid,
                gid: gid.ok_or(ConfineError::GroupWanted(uid))?,
                home: PathBuf::from("/"),
            },
            (None, Err(_)) => return Err(ConfineError::NoUser(name.clone())),
        };
        let gid = gid.unwrap_or(account.gid);
        if account.uid == self.uid && (gid == self.gid || wanted.group.is_none()) {
            return Ok(None);
        }
        self.root_for(if account.uid == self.uid { "group" } else { "user" })?;
        let groups = accounts::groups_of(&account.name);
        let identity = Identity { name: account.name.clone(), uid: account.uid, gid, groups };
        Ok(Some(Who { identity }))
    }

    fn root_for(&self, what: &'static str) -> Result<(), ConfineError> {
        if self.uid == 0 { Ok(()) } else { Err(ConfineError::NotRoot { what }) }
    }

    /// What an agent that is not root cannot give.
    fn allowed(&self, wanted: &Confinement) -> Result<(), ConfineError> {
        if self.uid == 0 {
            return Ok(());
        }
        if wanted.nice.is_some_and(|nice| nice < 0) {
            return Err(ConfineError::NotRoot { what: "nice" });
        }
        let limits = [
            ("files", Resource::Nofile, wanted.files),
            ("file_size", Resource::Fsize, wanted.file_size),
            ("cpu", Resource::Cpu, wanted.cpu),
        ];
        for (what, resource, limit) in limits {
            let most = rustix::process::getrlimit(resource).maximum;
            if let (Some(limit), Some(most)) = (limit, most)
                && limit > most
            {
                return Err(ConfineError::Above { what, most });
            }
        }
        Ok(())
    }

    fn is_another_cgroup_than_the_service(&self) -> bool {
        self.preparing == Preparing::Look && Path::new("/run/systemd/system").exists()
    }

    /// Whether a limit on the processes of a user, this plugin's or another's, would count both.
    fn counts_nobody_else(
        &self,
        plugin: &PluginConfig,
        who: Option<&Who>,
        all: &BTreeMap<PluginName, PluginConfig>,
    ) -> Result<(), ConfineError> {
        let Some(who) = who else { return Ok(()) };
        for (name, other) in all {
            let runs = matches!(other.state, PluginState::Ready);
            let limited = plugin.confinement.processes.or(other.confinement.processes).is_some();
            if *name == plugin.name || !runs || !limited {
                continue;
            }
            let user = other.confinement.user.as_deref().and_then(|name| {
                accounts::user(name).map(|account| account.uid).or_else(|| name.parse().ok())
            });
            if user == Some(who.identity.uid) && self.cgroups_with(Controller::Processes).is_err() {
                let user = who.identity.name.clone();
                return Err(ConfineError::SharedUser { user, other: name.clone() });
            }
        }
        Ok(())
    }

    fn cgroup(
        &self,
        plugin: &PluginConfig,
        (memory, processes): (Option<u64>, Option<u64>),
        notes: &mut Vec<String>,
    ) -> Option<Cgroup> {
        if !plugin.confinement.wants_cgroup() {
            return None;
        }
        let cgroups = match self.cgroups() {
            Ok(cgroups) => cgroups,
            Err(why) => {
                if plugin.confinement.isolate {
                    notes.push(format!(
                        "`isolate` does nothing here, processes that leave their run are found by \
                         their environment: {why}"
                    ));
                }
                return None;
            }
        };
        let cgroup = cgroups.of(plugin.name.as_str(), memory, processes);
        if self.preparing == Preparing::MakeReady
            && let Err(error) = cgroup.set_limits()
        {
            // The run itself says the same, and is not started.
            notes.push(format!("its cgroup `{}` cannot be set up: {error}", cgroup.path.display()));
        }
        Some(cgroup)
    }
}

/// Somebody else than the agent.
struct Who {
    identity: Identity,
}

/// Without a cgroup, processes are counted by user, and nobody counts root's.
fn can_count_alone(who: Option<&Who>) -> bool {
    who.is_some_and(|who| who.identity.uid != 0 && who.identity.uid != effective_user())
}

fn effective_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

impl Who {
    /// Whether it may enter a folder, by mode and owner.
    fn may_enter(&self, uid: u32, gid: u32, mode: u32) -> bool {
        let me = &self.identity;
        if me.uid == 0 {
            return true;
        }
        if me.uid == uid {
            return mode & 0o100 != 0;
        }
        if me.gid == gid || me.groups.contains(&gid) {
            return mode & 0o010 != 0;
        }
        mode & 0o001 != 0
    }
}

/// Whether somebody may enter every folder down to `folder`. The agent's own data folder is opened
/// when it is made ready, so only what is above it counts; what is not there yet will be.
fn reachable(who: &Who, folder: &Path, what: &'static str) -> Result<(), ConfineError> {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let skip = usize::from(what == "its state folder");
    let mut above: Vec<&Path> = folder.ancestors().skip(skip).collect();
    above.reverse();
    for folder in above {
        // A file system may be asked for more than its modes; exec has the last word.
        let Ok(meta) = folder.metadata() else { return Ok(()) };
        if !who.may_enter(meta.uid(), meta.gid(), meta.mode()) {
            let user = who.identity.name.clone();
            return Err(ConfineError::Unreachable { user, folder: folder.to_owned(), what });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(uid: u32, gid: u32, groups: &[u32]) -> Who {
        let identity = Identity { name: uid.to_string(), uid, gid, groups: groups.to_vec() };
        Who { identity }
    }

    #[test]
    fn folders_are_entered_as_the_system_has_it() {
        let ana = who(1000, 100, &[4]);
        assert!(ana.may_enter(0, 0, 0o711) && !ana.may_enter(0, 0, 0o700));
        assert!(ana.may_enter(0, 4, 0o710) && !ana.may_enter(0, 4, 0o701));
        assert!(ana.may_enter(1000, 0, 0o700) && !ana.may_enter(1000, 0, 0o077));
        assert!(who(0, 0, &[]).may_enter(5, 5, 0o000));
    }

    #[test]
    fn a_shut_folder_is_named() {
        use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
        let dir = tempfile::tempdir().unwrap();
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(dir.path(), open).unwrap();
        let shut = dir.path().join("shut");
        std::fs::DirBuilder::new().mode(0o700).create(&shut).unwrap();
        let stranger = who(65_000, 65_000, &[]);
        let error = reachable(&stranger, &shut, "its program").unwrap_err().to_string();
        assert!(error.contains(&shut.display().to_string()), "{error}");
        reachable(&stranger, &shut, "its state folder").unwrap();
        assert!(reachable(&stranger, &shut.join("data"), "its state folder").is_err());
    }
}
