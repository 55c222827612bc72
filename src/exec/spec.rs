use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::model::{Outcome, PluginName, RunId, Usage};

use super::cgroup::Cgroup;
use super::launch::Launch;
use super::room::Hold;
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
    /// Whether it is started for each run, or once.
    pub life: Life,
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

/// How a plugin lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Life {
    /// It is started for each run and ends by itself.
    #[default]
    Run,
    /// It is started once and kept; what it prints is reported in slices of a second. Its stdin must
    /// be [`Stdin::Open`]: the end of it means stop.
    Stream {
        /// Longest line, in bytes; the rest of a longer one is thrown away.
        line_cap: u64,
        /// How long it may live without having printed anything before that is said.
        quiet: Duration,
    },
    /// It is started once and kept; at each due time it is asked by a line on its stdin, which must
    /// be [`Stdin::Open`], and answers within [`Spec::timeout`].
    Tick {
        /// Longest line, in bytes; the rest of a longer one is thrown away.
        line_cap: u64,
    },
}

impl Life {
    /// Whether it is started once and kept.
    pub fn is_resident(self) -> bool {
        !matches!(self, Self::Run)
    }

    pub(super) fn line_cap(self) -> u64 {
        match self {
            Self::Run => u64::MAX,
            Self::Stream { line_cap, .. } | Self::Tick { line_cap } => line_cap,
        }
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
    /// Of a long-lived plugin: what is particular to this part of its life.
    pub part: Option<Part>,
    /// What else there is to say of it.
    pub notes: Vec<Note>,
}

/// A part of a long-lived plugin's output: an answer, a slice of its lines, or what was left when it
/// ended.
#[derive(Debug, Default)]
pub struct Part {
    /// When what is in `stdout` came: from each offset on, ascending.
    pub arrivals: Vec<(usize, SystemTime)>,
    /// Whether the last line lacks its end: it was over the cap, or the program was killed.
    pub cut: bool,
    /// Gives the plugin its room back when the part has been judged.
    #[expect(dead_code, reason = "it acts when it is dropped")]
    pub(super) hold: Option<Hold>,
}

/// Something about a run that its bytes and its outcome do not say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// The last line was longer than this many bytes; the rest of it was thrown away.
    LineCut(u64),
    /// These lines are no answer to a tick.
    Unasked,
    /// It does not read its ticks: the pipe is full, or it has closed its end.
    Unread,
    /// It has lived so long and printed nothing at all.
    Silent(Duration),
    /// The program ended and will be started again.
    Restart {
        /// How long it lived.
        lived: Duration,
        /// Ends in a row, this one included, without a minute of life between them.
        failures: u32,
        /// When it is started again.
        after: Duration,
    },
}

impl Run {
    /// Whether stdout was cut at the cap of a run.
    pub fn was_cut(&self) -> bool {
        self.part.is_none() && self.usage.stdout > self.stdout.len() as u64
    }

    /// Whether stdout may end in the middle of a line that was meant to go on.
    pub fn ends_torn(&self) -> bool {
        match &self.part {
            Some(part) => part.cut,
            None => self.outcome.was_cut() || self.was_cut(),
        }
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

    /// How long after its end a long-lived plugin is started again. `failures` counts its ends in a
    /// row, this one included, without a minute of life between them.
    fn restart(&mut self, failures: u32) -> Duration {
        Duration::from_secs(u64::from(failures))
    }
}
