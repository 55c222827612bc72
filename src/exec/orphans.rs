//! Processes that left their run's group (`setsid`, a double fork) and were inherited by the agent.

use std::collections::HashSet;
use std::fs;
use std::io;

use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};

/// Asks the kernel to give this process the orphans of its descendants, so that no process of a
/// run can leave the agent's sight.
pub fn become_subreaper() -> io::Result<()> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    Ok(())
}

/// What an orphan says of itself in its environment.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Marks {
    pub(super) agent: String,
    pub(super) plugin: String,
    pub(super) run: String,
}

/// What is to become of an orphan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Live,
    Die,
}

/// What a look at the orphans came to.
#[derive(Debug, Default)]
pub(super) struct Swept {
    /// The plugin of each one killed; empty where it said nothing of itself.
    pub(super) killed: Vec<String>,
    /// Those that are still there after an earlier kill.
    pub(super) leaks: u64,
    /// Whether any is left that is to live for now.
    pub(super) some_live: bool,
    /// All that were there.
    pub(super) there: HashSet<i32>,
}

/// Looks at every orphan this process has inherited: reaps the dead ones, and kills those that
/// `fate` condemns. `fate` gets the marks in an orphan's environment, or `None` for one that has
/// taken them off. `condemned` is who was killed at earlier looks.
///
/// Orphans are inherited by the main thread; children of runs belong to an exec thread. So the
/// main thread's children are the orphans, as long as it starts no process itself.
pub(super) fn sweep(
    condemned: &mut HashSet<i32>,
    mut fate: impl FnMut(i32, Option<&Marks>) -> Fate,
) -> Swept {
    let me = rustix::process::getpid().as_raw_nonzero();
    let mut swept = Swept::default();
    let Ok(list) = fs::read_to_string(format!("/proc/self/task/{me}/children")) else {
        return swept;
    };
    for number in list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()) {
        let Some(pid) = Pid::from_raw(number) else { continue };
        // Its own child, and of nobody else's concern: reaped when it is dead, so that until then
        // its number stays its own.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        if let Ok(Some(_)) = rustix::process::waitid(WaitId::Pid(pid), options) {
            continue;
        }
        swept.there.insert(number);
        if condemned.contains(&number) {
            swept.leaks += 1;
            let _again = rustix::process::kill_process(pid, Signal::KILL);
            continue;
        }
        let environ = fs::read(format!("/proc/{number}/environ")).unwrap_or_default();
        let marks = marks(&environ);
        match fate(number, marks.as_ref()) {
            Fate::Live => swept.some_live = true,
            Fate::Die => {
                if rustix::process::kill_process(pid, Signal::KILL).is_ok() {
                    condemned.insert(number);
                    swept.killed.push(marks.map_or_else(String::new, |marks| marks.plugin));
                }
            }
        }
    }
    condemned.retain(|pid| swept.there.contains(pid));
    swept
}

/// Kills what an earlier life of the agent with this id left behind, and returns how many. To be
/// called before the first run: every process with our mark is then one of the past.
pub fn sweep_previous(agent: &str) -> usize {
    let Ok(entries) = fs::read_dir("/proc") else { return 0 };
    let me = rustix::process::getpid();
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(Pid::from_raw)
        .filter(|pid| *pid != me)
        .filter(|pid| kill_if(*pid, |marks| marks.agent == agent).is_some())
        .count()
}

/// Kills `pid` if its marks say so. The pidfd is opened before its environment is read, so that
/// the signal cannot reach another process that got the same number meanwhile.
fn kill_if(pid: Pid, wanted: impl FnOnce(&Marks) -> bool) -> Option<Marks> {
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok()?;
    let environ = fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())).ok()?;
    let marks = marks(&environ)?;
    (wanted(&marks) && rustix::process::pidfd_send_signal(&pidfd, Signal::KILL).is_ok())
        .then_some(marks)
}

/// The marks in an environment as `/proc/PID/environ` has it.
fn marks(environ: &[u8]) -> Option<Marks> {
    let find = |key: &str| {
        environ
            .split(|b| *b == 0)
            .find_map(|pair| pair.strip_prefix(key.as_bytes())?.strip_prefix(b"="))
            .and_then(|value| String::from_utf8(value.to_vec()).ok())
    };
    Some(Marks {
        agent: find("TALAIA_AGENT")?,
        plugin: find("TALAIA_PLUGIN")?,
        run: find("TALAIA_RUN_ID")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_read_only_when_all_are_there() {
        let environ = b"PATH=/bin\0TALAIA_AGENT=a\0TALAIA_PLUGIN=p\0TALAIA_RUN_ID=r\0";
        let wanted = Marks { agent: "a".into(), plugin: "p".into(), run: "r".into() };
        assert_eq!(marks(environ), Some(wanted));
        assert_eq!(marks(b"TALAIA_AGENT=a\0XTALAIA_PLUGIN=p\0"), None);
        assert_eq!(marks(b""), None);
    }
}
