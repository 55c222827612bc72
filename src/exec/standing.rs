use std::time::{Instant, SystemTime};

use crate::model::Outcome;

/// How a long-lived plugin fares.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    /// Its process, while it lives.
    pub pid: Option<u32>,
    /// Since when it lives.
    pub since: Option<SystemTime>,
    /// How often it has been started.
    pub starts: u64,
    /// Ends in a row, without a minute of life between them.
    pub failures: u32,
    /// When it is started again, while it is down.
    pub next_start: Option<Instant>,
    /// How its last life ended.
    pub last_end: Option<LastEnd>,
    /// It has lived for long and printed nothing.
    pub silent: bool,
}

/// How a life ended.
#[derive(Debug, Clone)]
pub struct LastEnd {
    /// When.
    pub at: SystemTime,
    /// How.
    pub outcome: Outcome,
    /// The last of what it said on stderr, at most 4 KiB.
    pub stderr: String,
}

/// What a plugin is about to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outlook {
    /// When it is due next; in the past while it waits for a place. `None` for a plugin that prints
    /// when it likes, and while a calendar's next time lies far ahead.
    pub next: Option<Instant>,
    /// Since when it runs, or lives.
    pub running: Option<Instant>,
}
