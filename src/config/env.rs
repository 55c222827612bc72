//! The surroundings a config is resolved in, gathered once so that everything else is a function
//! of it and can be tested with any other.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// The search path that plugins get unless the config says otherwise.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The variables in which commands look for what opens a hub. No plugin gets them.
pub const KEY_VARIABLES: [&str; 5] = [
    "TALAIA_KEY",
    "TALAIA_SECRET_KEY",
    "MONITIS_SECRETKEY",
    "MONITIS_SECRET_KEY",
    "MONITIS_SANDBOX_SECRETKEY",
];

/// Whether the agent runs as root; some defaults differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum User {
    /// With the effective user id 0.
    Root,
    /// As anyone else.
    Other,
}

/// What a config may look at besides itself.
#[derive(Clone)]
pub struct Env {
    /// The agent's environment variables; those that are not UTF-8 are left out.
    pub vars: BTreeMap<String, String>,
    /// Who the agent runs as.
    pub user: User,
    /// The system's host name.
    pub host: String,
    /// How many processors there are, at least 1.
    pub cpus: usize,
    /// The folder that paths on the command line are relative to.
    pub cwd: PathBuf,
}

// The values are left out: secrets come by the environment.
impl std::fmt::Debug for Env {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Env")
            .field("vars", &self.vars.keys())
            .field("user", &self.user)
            .field("host", &self.host)
            .field("cpus", &self.cpus)
            .field("cwd", &self.cwd)
            .finish()
    }
}

impl Env {
    /// This process's own surroundings.
    pub fn system() -> Self {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Self {
            vars: std::env::vars_os()
                .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
                .collect(),
            user: if rustix::process::geteuid().is_root() { User::Root } else { User::Other },
            host,
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            cwd: std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")),
        }
    }

    /// A variable that is set and not empty.
    pub fn var(&self, name: &str) -> Option<&str> {
        self.vars.get(name).map(String::as_str).filter(|v| !v.is_empty())
    }

    /// A folder below one of the XDG base folders; relative values of the variable are ignored, as
    /// the XDG specification asks.
    fn xdg(&self, variable: &str, under_home: &str) -> Option<PathBuf> {
        self.var(variable)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
            .or_else(|| self.var("HOME").map(|home| PathBuf::from(home).join(under_home)))
            .map(|base| base.join("talaia"))
    }

    /// Where the config is when nobody says: `/etc/talaia/talaia.toml` as root, else
    /// `$XDG_CONFIG_HOME/talaia/talaia.toml` (`~/.config` when unset). `None` without a home.
    pub fn default_config_path(&self) -> Option<PathBuf> {
        match self.user {
            User::Root => Some(PathBuf::from("/etc/talaia/talaia.toml")),
            User::Other => Some(self.xdg("XDG_CONFIG_HOME", ".config")?.join("talaia.toml")),
        }
    }

    /// Where data is kept when the config does not say: `/var/lib/talaia` as root, else
    /// `$XDG_STATE_HOME/talaia` (`~/.local/state` when unset). `None` without a home.
    pub fn default_data_dir(&self) -> Option<PathBuf> {
        match self.user {
            User::Root => Some(PathBuf::from("/var/lib/talaia")),
            User::Other => self.xdg("XDG_STATE_HOME", ".local/state"),
        }
    }
}
