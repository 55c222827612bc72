//! As whom a plugin runs and what the system holds it to, as it was written. Whether this machine
//! can do it is not known here.

/// What is set before a plugin's program starts. `None` leaves it as the agent has it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Confinement {
    /// The user, by name or number.
    pub user: Option<String>,
    /// The group, by name or number.
    pub group: Option<String>,
    /// Niceness, -20 to 19.
    pub nice: Option<i32>,
    /// Whether setuid programs give it nothing; by default wherever anything else here is set.
    pub no_new_privs: Option<bool>,
    /// Whether it has a cgroup whether or not a limit needs one.
    pub isolate: bool,
    /// Most bytes of memory.
    pub memory: Option<u64>,
    /// Most seconds of processor time of each process.
    pub cpu: Option<u64>,
    /// Most processes and threads.
    pub processes: Option<u64>,
    /// Most open files of each process.
    pub files: Option<u64>,
    /// Most bytes of a file that it writes.
    pub file_size: Option<u64>,
}

impl Confinement {
    /// Whether something is asked for besides `no_new_privs`.
    pub fn asks_for_something(&self) -> bool {
        *self != Self { no_new_privs: self.no_new_privs, ..Self::default() }
    }

    /// Whether it gets a cgroup where there can be one.
    pub fn wants_cgroup(&self) -> bool {
        self.isolate || self.memory.is_some() || self.processes.is_some()
    }
}
