//! A cgroup for each plugin that asks for one, below the cgroup that the agent was given.
//!
//! Only version 2. The agent needs a cgroup of its own (systemd: `Delegate=yes`), because the kernel
//! gives controllers to children of a cgroup only while no process is in that cgroup itself: the
//! agent moves itself to a child named `agent` first. Whoever shares a cgroup with others (a shell)
//! can still have cgroups for plugins, without limits: they hold the tree of processes together, and
//! one write kills it.
//!
//! Names have the agent's id, so that two agents below one cgroup do not know each other's. What a
//! plugin's cgroup holds when a run is over is left over. Of a run that is being killed nothing can
//! slip away by forking: the kernel takes the tree as a whole.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal};

/// The child cgroup that the agent itself is in once plugins have theirs, also by systemd's
/// `DelegateSubgroup=`.
const LEAF: &str = "agent";

/// How long killed processes may take to be gone before a cgroup is left for the next sweep.
const GONE: Duration = Duration::from_secs(1);

/// Why plugins cannot have cgroups.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// No version 2 here, or not for this process.
    #[error("there is no cgroup v2 here")]
    None,
    /// It belongs to somebody else.
    #[error("the cgroup `{path}` cannot be written; as a systemd service, set `Delegate=yes`")]
    NotOurs {
        /// Its folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A controller that a plugin's cgroup can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Controller {
    /// `memory.max`.
    Memory,
    /// `pids.max`.
    Processes,
}

impl Controller {
    fn word(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Processes => "pids",
        }
    }
}

/// Where this process may make cgroups for plugins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroups {
    /// The cgroup below which they are.
    base: PathBuf,
    /// What the names of ours begin with.
    prefix: String,
    controllers: Vec<Controller>,
}

/// One plugin's cgroup and what is set in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroup {
    /// Its folder.
    pub path: PathBuf,
    /// Most bytes of all its processes.
    pub memory: Option<u64>,
    /// Most processes and threads.
    pub processes: Option<u64>,
}

impl Cgroups {
    /// Looks where cgroups of the agent with this id can be and with which controllers. Changes
    /// nothing.
    pub fn look(agent: &str) -> Result<Self, CgroupError> {
        let own = own_cgroup(&read("/proc/self/cgroup"), &read("/proc/self/mountinfo"))
            .filter(|own| own.join("cgroup.procs").exists())
            .ok_or(CgroupError::None)?;
        Self::below(&own, agent)
    }

    fn below(own: &Path, agent: &str) -> Result<Self, CgroupError> {
        // An agent that was put into its leaf already, by its earlier life or by systemd.
        let in_leaf = own.file_name().is_some_and(|name| name == LEAF);
        let base = own.parent().filter(|_| in_leaf).unwrap_or(own).to_owned();
        for path in [base.clone(), base.join("cgroup.procs")] {
            if let Err(error) = rustix::fs::access(&path, rustix::fs::Access::WRITE_OK) {
                return Err(CgroupError::NotOurs { path: base, source: error.into() });
            }
        }
        let there = words(&base.join("cgroup.controllers"));
        let given = words(&base.join("cgroup.subtree_control"));
        // The root cgroup (it alone has no type) may have processes beside its children.
        let can_give = !base.join("cgroup.type").exists() || is_ours_alone(&base);
        let controllers = [Controller::Memory, Controller::Processes]
            .into_iter()
            .filter(|c| {
                let has = |words: &[String]| words.iter().any(|word| word == c.word());
                has(&given) || (can_give && has(&there))
            })
            .collect();
        Ok(Self { base, prefix: format!("talaia-{agent}-"), controllers })
    }

    /// Looks, and makes ready what was found: moves this process to a leaf where that is needed,
    /// hands the controllers down. A controller that cannot be handed down is not there.
    pub fn open(agent: &str) -> Result<Self, CgroupError> {
        let mut cgroups = Self::look(agent)?;
        cgroups.hand_down();
        Ok(cgroups)
    }

    fn hand_down(&mut self) {
        let control = self.base.join("cgroup.subtree_control");
        let given = words(&control);
        let missing = |c: &Controller| !given.iter().any(|word| word == c.word());
        if self.controllers.iter().any(missing) && self.base.join("cgroup.type").exists() {
            let leaf = self.base.join(LEAF);
            // If it is not possible, handing down fails below, and that is what counts.
            let _exists = make(&leaf);
            let _stays = put(&leaf.join("cgroup.procs"), "0");
        }
        self.controllers.retain(|c| {
            given.iter().any(|word| word == c.word())
                || put(&control, &format!("+{}", c.word())).is_ok()
        });
    }

    /// Whether a plugin's cgroup can have this controller.
    pub fn has(&self, controller: Controller) -> bool {
        self.controllers.contains(&controller)
    }

    /// The cgroup of a plugin. It is made when a run needs it.
    pub fn of(&self, plugin: &str, memory: Option<u64>, processes: Option<u64>) -> Cgroup {
        let path = self.base.join(format!("{}{plugin}", self.prefix));
        Cgroup { path, memory, processes }
    }

    /// Kills what is in every cgroup of this agent but those of the plugins in `keep`, and removes
    /// them. Returns how many processes there were.
    pub fn sweep(&self, keep: &[&str]) -> usize {
        let Ok(entries) = fs::read_dir(&self.base) else { return 0 };
        entries
            .filter_map(Result::ok)
            .filter_map(|entry| Some((entry.path(), entry.file_name().into_string().ok()?)))
            .filter(|(_, name)| {
                name.strip_prefix(&self.prefix).is_some_and(|plugin| !keep.contains(&plugin))
            })
            .map(|(path, _)| Cgroup { path, memory: None, processes: None }.remove())
            .sum()
    }
}

impl Cgroup {
    /// Makes it where it is not there, with its limits, and says how many of its processes the
    /// kernel has killed for their memory so far.
    pub(super) fn ready(&self) -> io::Result<u64> {
        if make(&self.path)? {
            self.set_limits()?;
        }
        Ok(self.oom_kills())
    }

    /// Writes its limits, also into one that is there already.
    pub fn set_limits(&self) -> io::Result<()> {
        make(&self.path)?;
        let limit = |value: Option<u64>| value.map_or("max".to_owned(), |n| n.to_string());
        if self.memory.is_some() || self.path.join("memory.max").exists() {
            put(&self.path.join("memory.max"), &limit(self.memory))?;
            // A limit that lets everything go to swap does not bite; and one process killed out of
            // several leaves the others in the dark. Not every kernel has these.
            let swap = if self.memory.is_some() { "0" } else { "max" };
            let _no_swap = put(&self.path.join("memory.swap.max"), swap);
            let _old_kernel = put(&self.path.join("memory.oom.group"), "1");
        }
        if self.processes.is_some() || self.path.join("pids.max").exists() {
            put(&self.path.join("pids.max"), &limit(self.processes))?;
        }
        Ok(())
    }

    /// How many of its processes were killed for their memory since it was made.
    pub(super) fn oom_kills(&self) -> u64 {
        if self.memory.is_none() {
            return 0;
        }
        let events = read(self.path.join("memory.events"));
        let line = events.lines().find_map(|line| line.strip_prefix("oom_kill "));
        line.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
    }

    /// Its processes, those of its own children among them. Dead ones are not.
    pub(super) fn processes_in(&self) -> Vec<i32> {
        let mut found = Vec::new();
        collect(&self.path, 8, &mut found);
        found
    }

    /// Kills all that is in it.
    pub(super) fn kill(&self) {
        if put(&self.path.join("cgroup.kill"), "1").is_ok() {
            return;
        }
        // A kernel before 5.14: one by one, until nobody forks any more.
        for _ in 0..100 {
            let there = self.processes_in();
            if there.is_empty() {
                return;
            }
            for number in there {
                kill_in(&self.path, number);
            }
        }
    }

    /// Kills what is in it and removes it. Returns how many processes there were.
    pub fn remove(&self) -> usize {
        let there = self.processes_in().len();
        if there > 0 {
            self.kill();
        }
        let start = Instant::now();
        while let Err(error) = remove_tree(&self.path, 8) {
            // Somebody in it is not gone yet; what is still there later is for the next sweep.
            if error.kind() == io::ErrorKind::NotFound || start.elapsed() > GONE {
                break;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        there
    }
}

/// Kills a process if it is in this cgroup, through a descriptor that was opened before that was
/// looked at.
fn kill_in(cgroup: &Path, number: i32) {
    let Some(pid) = Pid::from_raw(number) else { return };
    let Ok(pidfd) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else { return };
    let mut still = Vec::new();
    collect(cgroup, 8, &mut still);
    if still.contains(&number) {
        let _gone = rustix::process::pidfd_send_signal(&pidfd, Signal::KILL);
    }
}

fn collect(cgroup: &Path, depth: u32, into: &mut Vec<i32>) {
    let list = read(cgroup.join("cgroup.procs"));
    into.extend(list.lines().filter_map(|line| line.parse::<i32>().ok()));
    if depth > 0 {
        for child in children(cgroup) {
            collect(&child, depth - 1, into);
        }
    }
}

/// The folders in a cgroup are its children, and only those can be removed.
fn remove_tree(cgroup: &Path, depth: u32) -> io::Result<()> {
    if depth > 0 {
        for child in children(cgroup) {
            remove_tree(&child, depth - 1)?;
        }
    }
    fs::remove_dir(cgroup)
}

fn children(cgroup: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(cgroup) else { return Vec::new() };
    entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// Whether nobody but this process is in it.
fn is_ours_alone(cgroup: &Path) -> bool {
    let me = std::process::id().to_string();
    read(cgroup.join("cgroup.procs")).lines().all(|line| line == me)
}

/// Makes a folder; false where it was there.
fn make(path: &Path) -> io::Result<bool> {
    match DirBuilder::new().mode(0o755).create(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

fn put(path: &Path, text: &str) -> io::Result<()> {
    File::options().write(true).open(path)?.write_all(text.as_bytes())
}

/// A small file of the kernel's; what is not there is empty.
fn read(path: impl AsRef<Path>) -> String {
    let mut text = String::new();
    let _missing = File::open(path).and_then(|mut file| file.read_to_string(&mut text));
    text
}

fn words(path: &Path) -> Vec<String> {
    read(path).split_ascii_whitespace().map(str::to_owned).collect()
}

/// The folder of the cgroup of this process, from what the kernel says of both.
fn own_cgroup(cgroup: &str, mounts: &str) -> Option<PathBuf> {
    let own = cgroup.lines().find_map(|line| line.strip_prefix("0::"))?;
    // `36 35 0:31 ROOT MOUNT OPTIONS [TAGS] - TYPE SOURCE OPTIONS`
    let (root, at) = mounts.lines().find_map(|line| {
        let (head, tail) = line.split_once(" - ")?;
        let mut fields = head.split(' ').skip(3);
        let (root, at) = (fields.next()?, fields.next()?);
        tail.starts_with("cgroup2 ").then_some((root, at))
    })?;
    // Only a part of the tree may be mounted (a container).
    let below = Path::new(own).strip_prefix(root).ok()?;
    Some(Path::new(at).join(below))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "25 30 0:23 / /proc rw - proc proc rw\n\
        31 25 0:28 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";

    #[test]
    fn the_own_cgroup_is_found_in_whole_hybrid_and_partial_trees() {
        let own = |cgroup, mounts| own_cgroup(cgroup, mounts).map(|p| p.display().to_string());
        let service = "0::/system.slice/talaia.service\n";
        assert_eq!(
            own(service, MOUNTS).as_deref(),
            Some("/sys/fs/cgroup/system.slice/talaia.service")
        );
        let hybrid = "4:memory:/x\n1:cpu:/\n0::/\n";
        assert_eq!(own(hybrid, MOUNTS).as_deref(), Some("/sys/fs/cgroup/"));
        let part = "1 2 0:3 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        assert_eq!(own("0::/docker/abc/x\n", part).as_deref(), Some("/sys/fs/cgroup/x"));
        assert_eq!(own("0::/elsewhere\n", part), None);
        assert_eq!(own("4:memory:/x\n", MOUNTS), None);
        assert_eq!(own(service, "25 30 0:23 / /proc rw - proc proc rw\n"), None);
    }

    fn write(path: PathBuf, text: &str) {
        File::create(path).unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// A folder with the files that a cgroup has, for what does not take a kernel.
    fn stand_in(dir: &Path, controllers: &str, given: &str, procs: &str) {
        fs::create_dir_all(dir).unwrap();
        for (name, text) in [
            ("cgroup.controllers", controllers),
            ("cgroup.subtree_control", given),
            ("cgroup.procs", procs),
            ("cgroup.type", "domain"),
        ] {
            write(dir.join(name), text);
        }
    }

    #[test]
    fn controllers_are_there_where_they_are_given_or_can_be() {
        let dir = tempfile::tempdir().unwrap();
        let me = std::process::id();
        let look = |name: &str| Cgroups::below(&dir.path().join(name), "id").unwrap();
        stand_in(&dir.path().join("mine"), "cpu memory pids\n", "", &format!("{me}\n"));
        stand_in(&dir.path().join("shared"), "memory pids\n", "", &format!("{me}\n1\n"));
        stand_in(&dir.path().join("service"), "memory pids\n", "memory\n", "");
        stand_in(&dir.path().join("service/agent"), "memory\n", "", &format!("{me}\n"));
        assert!(look("mine").has(Controller::Memory) && look("mine").has(Controller::Processes));
        assert_eq!(look("shared").controllers, []);
        let service = look("service/agent");
        assert_eq!(service.base, dir.path().join("service"));
        assert!(service.has(Controller::Memory));
        assert_eq!(service.of("disk", None, None).path, dir.path().join("service/talaia-id-disk"));
    }

    #[test]
    fn limits_are_written_and_taken_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("talaia-id-p");
        fs::create_dir(&path).unwrap();
        for name in ["memory.max", "memory.swap.max", "memory.oom.group", "pids.max"] {
            write(path.join(name), "");
        }
        let said = |name: &str| fs::read_to_string(path.join(name)).unwrap();
        let cgroup = Cgroup { path: path.clone(), memory: Some(4096), processes: Some(7) };
        cgroup.set_limits().unwrap();
        assert_eq!((said("memory.max"), said("pids.max")), ("4096".into(), "7".into()));
        assert_eq!((said("memory.swap.max"), said("memory.oom.group")), ("0".into(), "1".into()));
        write(path.join("memory.events"), "low 0\noom 2\noom_kill 3\n");
        assert_eq!(cgroup.oom_kills(), 3);
        for name in ["memory.max", "memory.swap.max", "pids.max"] {
            write(path.join(name), "");
        }
        Cgroup { memory: None, processes: None, ..cgroup }.set_limits().unwrap();
        assert_eq!((said("memory.max"), said("pids.max")), ("max".into(), "max".into()));
        assert_eq!(said("memory.swap.max"), "max");
    }
}
