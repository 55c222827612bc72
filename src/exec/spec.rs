use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::model::{Outcome, PluginName, RunId, Usage};

use super::cgroup::Cgroup;
use super::launch::Launch;
use super::trust::Trust;

/// What to run and under which limits. Complete: nothing of the agent's own environment is added.
#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    /// Whose run it is.
    pub plugin: PluginName,
    /// The executable, absolute.
    pub program: PathBuf,
    /// Its arguments, without the program's own name.
    pub args: Vec<OsString>,
    /// The working directory.
    pub dir: PathBuf,
    /// The whole environment, but for `TALAIA_RUN_ID` and `TALAIA_DEADLINE`, which differ by run.
    pub env: Vec<(OsString, OsString)>,
    /// What the child reads.
    pub stdin: Stdin,
    /// From the start to the first signal.
    pub timeout: Duration,
    /// From TERM to KILL.
    pub grace: Duration,
    /// Bytes of stdout that are kept; eight times as many end the run.
    pub stdout_cap: u64,
    /// Eight times as many bytes on stderr end the run. The last 4 KiB are kept.
    pub stderr_cap: u64,
    /// What happens to processes that outlive the program.
    pub leftovers: Leftovers,
    /// Who may own what is run.
    pub trust: Trust,
    /// What is set in the child before its program starts; `None` starts the program itself.
    pub launch: Option<Arc<Launch>>,
}

impl Spec {
    /// The cgroup that its runs are in.
    pub(super) fn cgroup(&self) -> Option<&Cgroup> {
        self.launch.as_ref()?.cgroup.as_ref()
    }
}

/// What a child reads on its standard input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stdin {
    /// A file, opened anew for each run. No pipe, so neither EPIPE nor blocking.
    File(PathBuf),
    /// End of file at once.
    Null,
    /// A pipe that stays open and empty until the run ends.
    Open,
}

/// What happens to processes of a run that outlive its program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Leftovers {
    /// They are killed and counted.
    #[default]
    Kill,
    /// They are left alone (a plugin that starts a daemon on purpose).
    Keep,
}

/// What one run came to, in bytes.
#[derive(Debug)]
pub struct Run {
    /// The run.
    pub id: RunId,
    /// Whose.
    pub plugin: PluginName,
    /// When it started, by the wall clock.
    pub started: SystemTime,
    /// How long after it was due.
    pub lag: Duration,
    /// From its start to its end, by the monotonic clock.
    pub took: Duration,
    /// How it ended.
    pub outcome: Outcome,
    /// What it printed, up to its cap.
    pub stdout: Vec<u8>,
    /// The last 4 KiB of what it said on stderr.
    pub stderr: Vec<u8>,
    /// What it used; `stdout` and `stderr` count all bytes, discarded ones included.
    pub usage: Usage,
    /// Due runs skipped since the last [`Run`], because one was still running or waiting.
    pub skipped: u64,
    /// Processes that outlived the program and were killed.
    pub leftovers: u64,
    /// Which of its limits ended it, where one did.
    pub limit: Option<String>,
}

impl Run {
    /// Whether stdout was cut at its cap.
    pub fn was_cut(&self) -> bool {
        self.usage.stdout > self.stdout.len() as u64
    }
}

/// When the next run is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// At this instant.
    Due {
        /// When.
        at: Instant,
        /// Due times that passed unseen (the machine slept).
        missed: u64,
    },
    /// Nothing is due until then; ask again (a calendar follows the wall clock, which may step).
    Ask(Instant),
    /// Never again.
    Never,
}

/// Says when a plugin is due. Asked once at the start, and again after each answer has passed.
pub trait Timetable: Send {
    /// The next due time. `last` is the due time that has just come, `None` at the
    /// start and after [`Next::Ask`].
    fn next(&mut self, last: Option<Instant>, now: Instant) -> Next;
}
