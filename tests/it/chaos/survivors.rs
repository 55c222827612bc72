//! Who is still there and should not be.

use std::fs;

use rustix::process::{Pid, PidfdFlags, Signal};

/// Looks for processes that were started for one test: by its folder in their environment, or by
/// the nap that only its plugins take. Kills what is left of them when dropped.
pub(super) struct Search {
    folder: String,
    nap: String,
}

impl Search {
    pub(super) fn new(folder: String, nap: String) -> Self {
        Self { folder, nap }
    }

    /// Everything that a plugin's run started and that still lives, as `pid command`.
    pub(super) fn of_plugins(&self) -> Vec<String> {
        self.find(|process| process.of_a_run || process.naps).map(|p| p.to_string()).collect()
    }

    /// The same, and whatever else was started in the test's folder.
    pub(super) fn all(&self) -> Vec<String> {
        self.find(|_| true).map(|process| process.to_string()).collect()
    }

    fn find(&self, wanted: impl Fn(&Process) -> bool) -> impl Iterator<Item = Process> {
        let me = rustix::process::getpid();
        let entries = fs::read_dir("/proc").unwrap();
        entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter_map(Pid::from_raw)
            .filter(move |pid| *pid != me)
            .filter_map(|pid| self.look(pid))
            .filter(move |process| wanted(process))
    }

    fn look(&self, pid: Pid) -> Option<Process> {
        let folder = format!("/proc/{}", pid.as_raw_nonzero());
        // A zombie has neither; whoever should wait for it is still to be blamed, if it is ours.
        let read = |name: &str| {
            let bytes = fs::read(format!("{folder}/{name}")).unwrap_or_default();
            String::from_utf8_lossy(&bytes).replace('\0', " ")
        };
        let (environ, command) = (read("environ"), read("cmdline"));
        let naps = command.contains(&self.nap);
        let ours = environ.contains(&self.folder);
        (ours || naps).then(|| Process {
            pid,
            of_a_run: ours && environ.contains("TALAIA_RUN_ID="),
            naps,
            command,
        })
    }
}

struct Process {
    pid: Pid,
    of_a_run: bool,
    naps: bool,
    command: String,
}

impl std::fmt::Display for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.pid.as_raw_nonzero(), self.command.trim_end())
    }
}

impl Drop for Search {
    fn drop(&mut self) {
        let found: Vec<Pid> = self.find(|_| true).map(|process| process.pid).collect();
        for pid in found {
            // Once more through a pidfd opened before the look: the number may be another's by now.
            let Ok(pidfd) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else { continue };
            if self.look(pid).is_some() {
                let _gone = rustix::process::pidfd_send_signal(&pidfd, Signal::KILL);
            }
        }
    }
}
