use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::model::{Receipt, Rejection, Seq, SpoolId};

use super::{AppendError, Lost, NewReport, Pick, Pressure, SpoolError, Start};

/// Queued bytes at which a commit does not wait for its interval to end.
const COMMIT_BYTES: usize = 1 << 20;

/// What a queued report weighs beyond its body.
const OVERHEAD: usize = 256;

/// Resolves when a report is on disk.
#[derive(Debug)]
#[must_use = "without the ticket nobody learns when the report is on disk"]
pub struct Ticket(oneshot::Receiver<Seq>);

impl Ticket {
    /// Blocks until the report is on disk. Not for use inside the runtime: await it there.
    pub fn wait(self) -> Result<Seq, Lost> {
        self.0.blocking_recv().map_err(|_| Lost)
    }
}

impl Future for Ticket {
    type Output = Result<Seq, Lost>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|seq| seq.map_err(|_| Lost))
    }
}

/// Resolves when the writer has committed what was asked of it, or could not. The request is
/// carried out whether or not anybody waits.
#[derive(Debug)]
pub struct Reply<T>(oneshot::Receiver<Result<T, SpoolError>>);

impl<T> Reply<T> {
    /// Blocks until it is done. Not for use inside the runtime: await it there.
    pub fn wait(self) -> Result<T, SpoolError> {
        self.0.blocking_recv().unwrap_or(Err(SpoolError::Gone))
    }
}

impl<T> Future for Reply<T> {
    type Output = Result<T, SpoolError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|reply| reply.unwrap_or(Err(SpoolError::Gone)))
    }
}

/// The other end of a [`Reply`].
pub(super) type Done<T> = oneshot::Sender<Result<T, SpoolError>>;

/// What is asked of the writer besides appending.
pub(super) enum Command {
    SetOutputs {
        outputs: Vec<(String, Start)>,
        done: Done<()>,
    },
    Settle {
        receipt: Receipt,
        done: Done<()>,
    },
    Discard {
        pick: Pick,
        /// How much that was, once it is carried out.
        dropped: u64,
        done: Done<u64>,
    },
    Reconsider {
        found: Vec<(i64, Rejection)>,
        done: Done<()>,
    },
    NewIdentity {
        seen: SpoolId,
        done: Done<SpoolId>,
    },
    /// Reports whose checksum does not match, with their records. With an output, they are all
    /// that it has left up to the last of them.
    Damaged {
        reports: Vec<(Seq, u64)>,
        through: Option<String>,
    },
    /// A reader met damage of the file itself, in one of its openings.
    Broken {
        why: String,
        opening: u64,
    },
    Flush {
        done: Done<()>,
    },
}

/// A queued report and whom to tell.
pub(super) struct Pending {
    pub(super) report: NewReport,
    pub(super) done: oneshot::Sender<Seq>,
}

impl Pending {
    fn weight(report: &NewReport) -> usize {
        let items = report.quarantine.come.iter();
        let items: usize =
            items.map(|i| 256 + i.rejection.value.len() + i.excerpt.bytes.len()).sum();
        report.body.len() + items + OVERHEAD
    }
}

/// What the writer takes out at once.
pub(super) struct Work {
    pub(super) reports: VecDeque<Pending>,
    pub(super) commands: Vec<Command>,
    pub(super) closing: bool,
}

impl Work {
    /// What was taken out after this.
    pub(super) fn add(&mut self, more: Self) {
        self.reports.extend(more.reports);
        self.commands.extend(more.commands);
        self.closing |= more.closing;
    }
}

/// Reports and requests on their way to the writer. Bounded in bytes: what is taken out still
/// counts until it is released, because a failed commit brings it back.
pub(super) struct Queue {
    most: usize,
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    reports: VecDeque<Pending>,
    /// Weight of the reports here and of those taken out and not yet released.
    bytes: usize,
    /// Weight of the reports here.
    waiting: usize,
    /// When the first of the reports here came.
    since: Option<Instant>,
    commands: Vec<Command>,
    overflowed: u64,
    closing: bool,
}

impl Queue {
    pub(super) fn new(most: usize) -> Self {
        Self { most, state: Mutex::default(), wake: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under this lock can panic half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn append(&self, report: NewReport) -> Result<Ticket, AppendError> {
        let weight = Pending::weight(&report);
        let mut state = self.lock();
        if state.closing {
            return Err(AppendError::Closing { plugin: report.plugin });
        }
        // One report of any size fits into an empty queue: otherwise it would never fit.
        if state.bytes > 0 && state.bytes + weight > self.most {
            state.overflowed += 1;
            return Err(AppendError::Full { plugin: report.plugin });
        }
        let (done, ticket) = oneshot::channel();
        let before = state.waiting;
        state.bytes += weight;
        state.waiting += weight;
        state.reports.push_back(Pending { report, done });
        if before == 0 {
            state.since = Some(Instant::now());
        }
        // The writer sleeps until the first report comes, then until the interval is over or
        // there is enough for a commit; in between it need not be woken.
        if before == 0 || (before < COMMIT_BYTES && state.waiting >= COMMIT_BYTES) {
            self.wake.notify_one();
        }
        Ok(Ticket(ticket))
    }

    pub(super) fn command<T>(&self, make: impl FnOnce(Done<T>) -> Command) -> Reply<T> {
        let (done, reply) = oneshot::channel();
        self.tell(make(done));
        Reply(reply)
    }

    /// A command that nobody waits for. After closing it is dropped, and its reply says so.
    pub(super) fn tell(&self, command: Command) {
        let mut state = self.lock();
        if !state.closing {
            state.commands.push(command);
            self.wake.notify_one();
        }
    }

    pub(super) fn close(&self) {
        self.lock().closing = true;
        self.wake.notify_one();
    }

    pub(super) fn pressure(&self) -> Pressure {
        if self.lock().bytes * 2 >= self.most { Pressure::High } else { Pressure::Low }
    }

    pub(super) fn overflowed(&self) -> u64 {
        self.lock().overflowed
    }

    /// These reports are on disk.
    pub(super) fn release(&self, reports: &VecDeque<Pending>) {
        let weight: usize = reports.iter().map(|p| Pending::weight(&p.report)).sum();
        let mut state = self.lock();
        state.bytes = state.bytes.saturating_sub(weight);
    }

    /// Whether something waits to be taken.
    pub(super) fn is_waiting(&self) -> bool {
        let state = self.lock();
        state.closing || !state.commands.is_empty() || !state.reports.is_empty()
    }

    /// Everything that waits, at once.
    pub(super) fn take_now(&self) -> Work {
        self.lock().take_all()
    }

    /// Waits for work: a request at once, reports when they have waited `interval` or are enough
    /// for a commit, nothing at `idle`. Until `blocked`, the database being closed, reports stay
    /// and requests are handed out to be refused.
    pub(super) fn take(
        &self,
        interval: Duration,
        idle: Option<Instant>,
        blocked: Option<Instant>,
    ) -> Work {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            if state.closing {
                return state.take_all();
            }
            let until = if let Some(until) = blocked {
                if !state.commands.is_empty() && now < until {
                    let commands = std::mem::take(&mut state.commands);
                    return Work { reports: VecDeque::new(), commands, closing: false };
                }
                Some(until)
            } else if state.commands.is_empty() {
                match state.since {
                    Some(since) if state.waiting < COMMIT_BYTES => Some(since + interval),
                    Some(_) => return state.take_all(),
                    None => idle,
                }
            } else {
                return state.take_all();
            };
            state = match until {
                Some(until) if now >= until => return state.take_all(),
                Some(until) => {
                    let wait = until.duration_since(now);
                    self.wake.wait_timeout(state, wait).map_or_else(
                        |poisoned| poisoned.into_inner().0,
                        |(state, _timed_out)| state,
                    )
                }
                None => self.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

impl State {
    fn take_all(&mut self) -> Work {
        self.waiting = 0;
        self.since = None;
        Work {
            reports: std::mem::take(&mut self.reports),
            commands: std::mem::take(&mut self.commands),
            closing: self.closing,
        }
    }
}
