//! Takes reports out of the spool and gets them to where they should go.
//!
//! Promises:
//! - One batch per output is on its way at a time, in the order of numbers, so a destination that
//!   keeps a mark sees every report exactly once and one that does not sees it at least once.
//! - A cursor moves only for a [`Receipt`](crate::model::Receipt), and a receipt is only made of
//!   the destination's own word (or, for a file, of a finished flush).
//! - What goes wrong is one of a closed list of [`Verdict`](crate::model::Verdict)s, decided by a
//!   pure function; nothing is retried behind its back.
//! - A reply of any size, shape or slowness costs bounded memory and time.
//!
//! Deliberately unknown here: what a report says (bodies are spliced as they are), where the
//! spool keeps it, and who runs these futures. Nothing here starts a task, reads the environment
//! or prints; reads of the spool and writes of files go through the runtime's blocking pool.
//!
//! One file per kind of output: [`talaia`] (a hub), [`mod@file`], [`stdout`].

pub mod client;
pub mod encode;
pub mod file;
mod pin;
pub mod pump;
pub mod stdout;
pub mod talaia;
pub mod verdict;

use std::time::Instant;

use serde::Serialize;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::model::Timestamp;

pub use client::{ClientError, ClientSettings, ProxySettings, TlsSettings, client_builder};
pub use encode::Compression;
pub use file::{FileSettings, FileSink};
pub use pump::{Batch, OnDelivery, Pump, PumpSettings, Sink};
pub use stdout::Stdout;
pub use talaia::{Endpoint, TalaiaSettings, TalaiaSink};

/// Whether an output gets rid of its reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Condition {
    /// The last attempt worked, or there was none yet.
    Ok,
    /// It will work again by itself: tried again at growing intervals.
    Retry,
    /// A person is needed: tried slowly, and all data is kept.
    Hold,
}

/// How an output is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OutputState {
    /// Whether it works.
    pub state: Condition,
    /// Why not, in one line; or, where it works, why the destination refused some of the last batch.
    pub error: Option<String>,
    /// Since when, by the wall clock.
    pub since: Timestamp,
}

/// How an output should end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// It should not.
    No,
    /// One last attempt at what is spooled, until then.
    Draining {
        /// When to give up.
        until: Instant,
    },
    /// At once.
    Now,
}

/// Resolves when it is time to end; also when whoever would say so is gone.
async fn stopped(stop: &mut watch::Receiver<Stop>) -> Stop {
    stop.wait_for(|stop| *stop != Stop::No).await.map_or(Stop::Now, |stop| *stop)
}

/// Publishes an output's state and says each change once.
struct Reporter {
    output: String,
    state: watch::Sender<OutputState>,
}

impl Reporter {
    fn new(output: &str) -> (Self, watch::Receiver<OutputState>) {
        let (state, seen) =
            watch::channel(OutputState { state: Condition::Ok, error: None, since: now() });
        (Self { output: output.to_owned(), state }, seen)
    }

    fn set(&self, state: Condition, error: Option<String>) {
        let output = &self.output;
        self.state.send_if_modified(|old| {
            if old.state == state && old.error == error {
                return false;
            }
            if old.state != state {
                let why = error.as_deref().unwrap_or_default();
                match state {
                    Condition::Ok => info!(%output, "the output works again"),
                    Condition::Retry => warn!(%output, why, "the output does not work; retrying"),
                    Condition::Hold => {
                        warn!(%output, why, "the output needs a person; all is kept");
                    }
                }
                old.since = now();
            }
            old.state = state;
            old.error = error;
            true
        });
    }
}

/// The wall clock, to be shown.
fn now() -> Timestamp {
    Timestamp::from(std::time::SystemTime::now())
}
