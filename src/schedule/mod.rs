//! When: intervals, cron expressions, splay and back-off.
//!
//! Pure: every function takes the instants it reasons about. Intervals are laid out on the
//! monotonic clock; only cron looks at the wall clock, because only cron means it.

mod backoff;
mod cron;
mod phase;

pub use backoff::Backoff;
pub use cron::{Cron, CronError};
pub use phase::{Every, splay};

use std::time::Duration;

/// When a plugin is due.
#[derive(Debug, Clone, PartialEq)]
pub enum Schedule {
    /// Every so often, at a phase of its own.
    Every(Every),
    /// By the calendar.
    Cron(Cron),
}

impl Schedule {
    /// The interval, where there is a fixed one.
    pub fn interval(&self) -> Option<Duration> {
        match self {
            Self::Every(every) => Some(every.interval),
            Self::Cron(_) => None,
        }
    }
}
