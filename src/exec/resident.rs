//! What a child has that lives on: what it was asked, and what of it has been reported.

use std::time::{Duration, Instant, SystemTime};

use crate::model::RunId;

use super::room::Share;
use super::spec::Note;

pub(super) struct Resident {
    pub(super) share: Share,
    pub(super) asked: Option<Asked>,
    /// Since when its stdout is not read, because nobody takes what is there.
    pub(super) paused: Option<Instant>,
    /// When it has been quiet for too long.
    pub(super) quiet_until: Option<Instant>,
    /// Since when there are log lines that have not been passed on.
    pub(super) talking_since: Option<Instant>,
    /// Processor time reported so far, in seconds.
    pub(super) cpu: f64,
    /// The largest resident set seen, in bytes.
    pub(super) max_rss: u64,
    /// Whether anything of it has been reported yet.
    pub(super) reported: bool,
    pub(super) notes: Vec<Note>,
}

/// A tick that has not been answered.
pub(super) struct Asked {
    pub(super) run: RunId,
    pub(super) sent: SystemTime,
    pub(super) begun: Instant,
    pub(super) lag: Duration,
    pub(super) deadline: Instant,
}

impl Resident {
    pub(super) fn new(share: Share, quiet_until: Option<Instant>) -> Self {
        Self {
            share,
            asked: None,
            paused: None,
            quiet_until,
            talking_since: None,
            cpu: 0.0,
            max_rss: 0,
            reported: false,
            notes: Vec::new(),
        }
    }
}
