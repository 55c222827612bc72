//! What is set in a child between its start and its program. How it is handed over is in
//! `order`, what becomes of it in `launcher`.

use std::path::PathBuf;

use crate::model::Outcome;

use super::cgroup::Cgroup;

/// Where a program that runs finds its own file, also when it was replaced on disk meanwhile (an
/// upgrade): the launcher is always of the agent's own version. A child that is being spawned shares
/// its parent's memory, and so its answer to this.
pub const OWN_PROGRAM: &str = "/proc/self/exe";

/// What is set in a child before its program starts. With nothing set it still gets a death signal:
/// it is killed when the agent dies, however that happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// The program that has [`launch`](fn@super::launch) behind its first argument: for an agent, [`OWN_PROGRAM`].
    pub launcher: PathBuf,
    /// Who it runs as; `None` for the agent's own user.
    pub identity: Option<Identity>,
    /// Niceness.
    pub nice: Option<i32>,
    /// What setuid programs give it.
    pub privileges: Privileges,
    /// The limits of each process.
    pub caps: Caps,
    /// The cgroup that it and all that it starts are in.
    pub cgroup: Option<Cgroup>,
}

/// Who a child runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user's name, or its number where it has none.
    pub name: String,
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// All further groups.
    pub groups: Vec<u32>,
}

/// What setuid programs, and files with capabilities, give a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Privileges {
    /// What they give anybody.
    #[default]
    Inherit,
    /// Nothing: `no_new_privs`.
    NoNew,
}

/// Limits of each process, `setrlimit`'s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Caps {
    /// Bytes of data (`RLIMIT_DATA`).
    pub memory: Option<u64>,
    /// Seconds of processor time; XCPU at the limit, KILL two seconds later.
    pub cpu: Option<u64>,
    /// Processes and threads of the child's user.
    pub processes: Option<u64>,
    /// Open files.
    pub files: Option<u64>,
    /// Bytes of a file that is written.
    pub file_size: Option<u64>,
}

impl Launch {
    /// Why a run ended as it did, where a limit ended it. `oom_kills` is how many of its processes
    /// the kernel killed for their cgroup's memory.
    pub(super) fn verdict(&self, outcome: &Outcome, cpu: f64, oom_kills: u64) -> Option<String> {
        let memory = self.cgroup.as_ref().and_then(|cgroup| cgroup.memory);
        if let Some(limit) = memory
            && oom_kills > 0
        {
            return Some(format!("killed by its memory limit of {}", size(limit)));
        }
        let Outcome::Signaled { signal } = outcome else { return None };
        let cpu_was_used = |limit: u64| cpu >= limit as f64;
        match (*signal, self.caps.cpu, self.caps.file_size) {
            (XCPU, Some(limit), _) => {
                Some(format!("killed by its limit of {limit} s of processor time"))
            }
            (KILL, Some(limit), _) if cpu_was_used(limit) => {
                Some(format!("killed by its limit of {limit} s of processor time"))
            }
            (XFSZ, _, Some(limit)) => {
                Some(format!("killed by its file size limit of {}", size(limit)))
            }
            _ => None,
        }
    }
}

const KILL: i32 = rustix::process::Signal::KILL.as_raw();
const XCPU: i32 = rustix::process::Signal::XCPU.as_raw();
const XFSZ: i32 = rustix::process::Signal::XFSZ.as_raw();

/// A number of bytes as it is written in a config.
fn size(bytes: u64) -> String {
    let unit = [("GiB", 30), ("MiB", 20), ("KiB", 10)]
        .into_iter()
        .find(|(_, shift)| bytes > 0 && bytes.trailing_zeros() >= *shift);
    match unit {
        Some((unit, shift)) => format!("{} {unit}", bytes >> shift),
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::exec) fn launch() -> Launch {
        Launch {
            launcher: PathBuf::from(OWN_PROGRAM),
            identity: Some(Identity {
                name: "ana".to_owned(),
                uid: 1000,
                gid: 100,
                groups: vec![4, 6],
            }),
            nice: Some(-5),
            privileges: Privileges::NoNew,
            caps: Caps { memory: Some(1 << 30), cpu: Some(3), files: Some(64), ..Caps::default() },
            cgroup: None,
        }
    }

    #[test]
    fn the_limit_that_ended_a_run_is_named() {
        let mut launch = launch();
        launch.cgroup =
            Some(Cgroup { path: PathBuf::from("/x"), memory: Some(512 << 20), processes: None });
        let killed = Outcome::Signaled { signal: KILL };
        let why = |outcome: &Outcome, cpu, kills| launch.verdict(outcome, cpu, kills);
        assert_eq!(why(&killed, 0.1, 1).as_deref(), Some("killed by its memory limit of 512 MiB"));
        assert!(why(&killed, 3.2, 0).unwrap().contains("3 s of processor time"));
        assert!(why(&Outcome::Signaled { signal: XCPU }, 3.0, 0).is_some());
        assert_eq!(why(&killed, 0.1, 0), None);
        assert_eq!(why(&Outcome::Exited { code: 1 }, 9.0, 0), None);
        assert_eq!((size(1536), size(3 << 30)), ("1536 bytes".to_owned(), "3 GiB".to_owned()));
    }
}
