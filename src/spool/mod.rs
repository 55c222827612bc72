//! Keeps every report on disk until each output has acknowledged it, and counts what became of it.
//!
//! Promises:
//! - A [`Ticket`] that resolves means that the report and its counts are on disk, together.
//! - The ledger adds up after every transaction: per plugin `produced = accepted + rejected(by
//!   code)`, per output `accepted since its start = delivered + spooled + filtered + evicted(by
//!   reason)`, all counted in records. The counters are rows of the same database, changed in the
//!   same transaction as the append, receipt or eviction that they count.
//! - Only a [`Receipt`] moves an output's cursor forwards without an eviction being counted.
//! - A spool of any size opens in milliseconds and with the same memory.
//!
//! Deliberately unknown here: what a report means (it is a JSON object of bytes), where outputs
//! send it, and why. There are no tasks here, only one thread that writes.
//!
//! # How it is kept
//!
//! One SQLite file, `<data_dir>/spool.db`, in WAL mode with `synchronous=FULL`. One thread writes:
//! it gathers what was appended within [`Options::commit_interval`] into one transaction, so that
//! one flush pays for many reports. Readers have a connection of their own and short transactions.
//!
//! Every report's row carries the running totals of records and bytes, so that the records
//! between two places of the queue are a subtraction, and each is a witness of the next.
//!
//! A report is freed when the cursors of all outputs have passed it. While no output holds a
//! cursor a report is counted, given a number and not kept. Over the quota, the oldest go first.
//! While the file system has less than [`Options::min_free`] left, the spool gives back what it
//! can, down to 8 MiB: a machine whose disk is always that full keeps a small spool and works.
//!
//! `max_age` is measured on a clock that only runs while the spool is open and that no one can
//! set, kept with the reports. A step of the wall clock evicts nothing; time during which the
//! agent did not run does not count.
//!
//! A file that cannot be read is moved aside. A number that is wrong, as nothing in SQLite would
//! notice, is put right when the file is opened; it costs no report but one whose own age it is.
//!
//! # What is not promised
//!
//! A report that was queued and is not yet on disk is gone with the process: such a run was never
//! produced. SQLite cannot tell a write-ahead log that was overwritten by someone else from one
//! that ended earlier; a hub notices (its mark is above the highest number here) and the spool
//! takes a new identity. An evicted report that was in flight is counted as evicted, once, though
//! it may have arrived.

mod db;
mod error;
mod inspect;
mod ledger;
mod lock;
mod mend;
mod quarantine;
mod queue;
mod reader;
mod schema;
mod state;
mod store;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{broadcast, watch};

use crate::model::{AgentId, Counts, PluginName, Receipt, Rejection, Seq, SpoolId};

pub use crate::model::Evicted;
pub use error::{AppendError, Lost, SpoolError};
pub use inspect::{Inspector, Listed, SpoolStatus, Verified};
pub use ledger::{Figures, Ledger, OutputTotals, PluginTotals};
pub use quarantine::{Pick, QuarantineChange, Quarantined};
pub use queue::{Reply, Ticket};
pub use reader::Window;

use queue::{Command, Queue};
use reader::Reader;

/// How a spool is kept.
#[derive(Debug, Clone)]
pub struct Options {
    /// The folder; made with mode 0700 if it does not exist.
    pub data_dir: PathBuf,
    /// Most bytes of reports kept; each counts 64 bytes over its body.
    pub quota: u64,
    /// Free bytes on the file system below which the spool shrinks. 0 switches the guard off.
    pub min_free: u64,
    /// How long a report may wait for others to share its flush.
    pub commit_interval: Duration,
    /// The machine's identity, where it has one. A spool that was written on another machine
    /// takes a new [`SpoolId`].
    pub machine_id: Option<String>,
    /// Reports older than this are evicted. `None`: never.
    pub max_age: Option<Duration>,
    /// Most bytes of the quarantine; the oldest of it goes first.
    pub quarantine_quota: u64,
    /// How long something stays in quarantine, on the same clock as `max_age`.
    pub quarantine_age: Duration,
    /// Most bytes of reports waiting for the disk, in memory. Half of it is [`Pressure::High`].
    pub queue_bytes: usize,
}

impl Options {
    /// The defaults for `data_dir`: 256 MiB of reports, 256 MiB left free, commits 20 ms apart,
    /// no limit of age, 16 MiB of queue, 16 MiB or 7 days of quarantine.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            quota: 256 << 20,
            min_free: 256 << 20,
            commit_interval: Duration::from_millis(20),
            machine_id: None,
            max_age: None,
            quarantine_quota: 16 << 20,
            quarantine_age: Duration::from_hours(7 * 24),
            queue_bytes: 16 << 20,
        }
    }
}

/// What there is to say about how a spool opened. Empty when all went as ever.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Opened {
    /// In the order in which they happened.
    pub notices: Vec<Notice>,
}

/// Something that an operator should be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// The file could not be used. It was kept under another name and a new one begun.
    MovedAside {
        /// Where it is now.
        to: PathBuf,
        /// What was wrong with it.
        why: String,
        /// Records that outputs had not yet acknowledged, summed over outputs and counted as
        /// `damaged`; `None` when the file is too damaged to tell.
        lost: Option<u64>,
    },
    /// Figures in the file contradicted each other and were put right. No report was given up for it.
    Mended {
        /// What was wrong, a phrase each.
        wrong: Vec<String>,
    },
    /// The spool was written on another machine, or copied: it goes on under a new identity.
    NewIdentity {
        /// Why.
        why: String,
    },
}

impl std::fmt::Display for Notice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::MovedAside { to, why, lost } => {
                write!(f, "the spool was damaged ({why}) and is now {}; ", to.display())?;
                match lost {
                    Some(n) => write!(f, "{n} undelivered records in it are counted as damaged"),
                    None => f.write_str("how many undelivered records it held cannot be read"),
                }
            }
            Self::Mended { wrong } => write!(
                f,
                "figures in the spool contradicted each other, as damage of the disk leaves them, and \
                 were put right: {}; all reports are kept",
                wrong.join("; ")
            ),
            Self::NewIdentity { why } => write!(f, "the spool took a new identity: {why}"),
        }
    }
}

/// A report to keep.
#[derive(Debug, Clone)]
pub struct NewReport {
    /// The plugin whose counters it adds to.
    pub plugin: PluginName,
    /// The report as one JSON object with at least one member, without a newline.
    pub body: Vec<u8>,
    /// Its records.
    pub counts: Counts,
    /// Due runs skipped since the last report of this plugin.
    pub skipped: u64,
    /// What comes into quarantine with it, and what leaves it because the report has it now. One
    /// thing must not leave with two reports: whoever replays does so one report after the other.
    pub quarantine: QuarantineChange,
}

/// A report as it comes out of the spool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its number.
    pub seq: Seq,
    /// The bytes that were appended.
    pub body: Vec<u8>,
    /// Its accepted records.
    pub records: u64,
}

/// Where an output that the spool does not know begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// After everything that is there.
    Now,
    /// At the oldest report that is there.
    Oldest,
}

/// How far behind the disk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pressure {
    /// Reports get to the disk in time.
    Low,
    /// The queue is half full: start no new runs.
    High,
}

/// Whether reports get to the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// They do.
    Open,
    /// They wait in memory while the database is opened again, at growing intervals.
    Closed {
        /// What failed.
        why: String,
    },
}

/// Who we are to a hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// This life of the spool.
    pub spool: SpoolId,
    /// This installed agent.
    pub agent: AgentId,
}

/// What the handle, the writer and readers share.
struct Shared {
    options: Options,
    path: PathBuf,
    queue: Queue,
    durable: watch::Sender<Seq>,
    health: watch::Sender<Health>,
    identity: watch::Sender<Identity>,
    follow: broadcast::Sender<Arc<Stored>>,
    /// The disk is short of space and the spool is at its least: said once until it changes.
    short: AtomicBool,
    /// How often the file was opened: what a reader met in an earlier opening may be mended by now.
    openings: AtomicU64,
}

/// The durable queue. Cheap to clone; the last clone to go commits what is queued and closes the
/// file.
#[derive(Clone)]
pub struct Spool(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    reader: Reader,
    writer: Option<JoinHandle<()>>,
    _lock: lock::Lock,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.reader.close();
        self.shared.queue.close();
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has nothing left to commit, and its tickets say so.
            drop(writer.join());
        }
    }
}

/// Reports that a follower may lag behind before it misses some.
const FOLLOW: usize = 256;

impl Spool {
    /// Opens the spool in `options.data_dir`, or makes one. A damaged file is moved aside; a newer
    /// one is an error and is not touched.
    pub fn open(options: Options) -> Result<(Self, Opened), SpoolError> {
        schema::make_folder(&options.data_dir)?;
        let lock = lock::Lock::take(&options.data_dir)?;
        let path = schema::file(&options.data_dir);
        let (db, opened) = db::Db::open(&path, options.machine_id.as_deref())?;
        let (follow, _) = broadcast::channel(FOLLOW);
        let shared = Arc::new(Shared {
            queue: Queue::new(options.queue_bytes),
            durable: watch::Sender::new(Seq(db.last_seq())),
            health: watch::Sender::new(Health::Open),
            identity: watch::Sender::new(db.identity()),
            follow,
            short: AtomicBool::new(false),
            openings: AtomicU64::new(0),
            path: path.clone(),
            options,
        });
        let writer = writer::spawn(Arc::clone(&shared), db)
            .map_err(|source| SpoolError::Thread { source })?;
        let reader = Reader::new(Arc::clone(&shared));
        Ok((Self(Arc::new(Inner { shared, reader, writer: Some(writer), _lock: lock })), opened))
    }

    /// Queues a report. Never waits. The ticket resolves when it is on disk.
    pub fn append(&self, report: NewReport) -> Result<Ticket, AppendError> {
        if report.body.len() < 3 || !report.body.starts_with(b"{") || !report.body.ends_with(b"}") {
            return Err(AppendError::NotAnObject { plugin: report.plugin });
        }
        self.0.shared.queue.append(report)
    }

    /// The number of the last report on disk.
    pub fn durable(&self) -> watch::Receiver<Seq> {
        self.0.shared.durable.subscribe()
    }

    /// Whether reports get to the disk.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.0.shared.health.subscribe()
    }

    /// How far behind the disk is.
    pub fn pressure(&self) -> Pressure {
        self.0.shared.queue.pressure()
    }

    /// Reports that were dropped because the queue was full, since the spool was opened.
    pub fn overflowed(&self) -> u64 {
        self.0.shared.queue.overflowed()
    }

    /// Every report from now on, once it is on disk, for outputs that hold no cursor. A follower
    /// that lags more than 256 reports behind misses some and is told how many.
    pub fn follow(&self) -> broadcast::Receiver<Arc<Stored>> {
        self.0.shared.follow.subscribe()
    }

    /// Makes `outputs` the ones that hold cursors. One that is not in the list any more gives up
    /// its cursor, and what it had not delivered is counted as `output_removed`; a new one begins
    /// where its [`Start`] says.
    pub fn set_outputs(&self, outputs: &[(String, Start)]) -> Reply<()> {
        let outputs = outputs.to_vec();
        self.0.shared.queue.command(|done| Command::SetOutputs { outputs, done })
    }

    /// Moves the receipt's output forwards, counts its reports as delivered and puts the refused
    /// ones in quarantine. A receipt for what is already passed changes nothing.
    pub fn settle(&self, receipt: Receipt) -> Reply<()> {
        self.0.shared.queue.command(|done| Command::Settle { receipt, done })
    }

    /// Drops what is picked from the quarantine, and says how much that was.
    pub fn discard(&self, pick: Pick) -> Reply<u64> {
        self.0.shared.queue.command(|done| Command::Discard { pick, dropped: 0, done })
    }

    /// Gives what stays in quarantine after being judged again, by its number, its new reason.
    pub fn reconsider(&self, found: Vec<(i64, Rejection)>) -> Reply<()> {
        self.0.shared.queue.command(|done| Command::Reconsider { found, done })
    }

    /// Takes a new [`SpoolId`], because a destination knows more of this one than was ever given.
    /// `seen` is the identity that it knows: if the spool has changed it since, nothing happens.
    pub fn new_identity(&self, seen: SpoolId) -> Reply<SpoolId> {
        self.0.shared.queue.command(|done| Command::NewIdentity { seen, done })
    }

    /// Commits what is queued, now; a database that is closed after an error is opened for it.
    pub fn flush(&self) -> Reply<()> {
        self.0.shared.queue.command(|done| Command::Flush { done })
    }

    /// The oldest reports that `output` has not passed, in order: those in the window, and at
    /// least one if there is any. Empty for an output without a cursor. Blocks on the disk for a
    /// short time.
    pub fn read(&self, output: &str, window: Window) -> Result<Vec<Stored>, SpoolError> {
        let found = self.0.reader.read(output, window).inspect_err(|error| self.report(error))?;
        if !found.damaged.is_empty() {
            // Their records are moved to `damaged` when a cursor passes them; where there is
            // nothing else to pass them with, now.
            let through = found.reports.is_empty().then_some(output.to_owned());
            self.0.shared.queue.tell(Command::Damaged { reports: found.damaged, through });
        }
        Ok(found.reports)
    }

    /// The counters, as of the last commit. Blocks on the disk for a short time.
    pub fn ledger(&self) -> Result<Ledger, SpoolError> {
        self.0.reader.ledger().inspect_err(|error| self.report(error))
    }

    /// The counters and all that is counted besides, as of the last commit. Blocks on the disk for
    /// a short time.
    pub fn figures(&self) -> Result<Figures, SpoolError> {
        self.0.reader.figures().inspect_err(|error| self.report(error))
    }

    /// This life of the spool.
    pub fn id(&self) -> SpoolId {
        self.0.shared.identity.borrow().spool
    }

    /// This installed agent.
    pub fn agent_id(&self) -> AgentId {
        self.0.shared.identity.borrow().agent
    }

    /// The highest number ever given.
    pub fn highest(&self) -> Seq {
        *self.0.shared.durable.borrow()
    }

    /// Tells the writer of damage that a reader met: it has the file to itself, mends it or moves it aside.
    fn report(&self, error: &SpoolError) {
        if error.is_damage()
            && let Some(opening) = self.0.reader.last_bad()
        {
            self.0.shared.queue.tell(Command::Broken { why: error.chain(), opening });
        }
    }
}

impl Shared {
    /// Remembers whether the disk is short, and says whether that is news.
    fn short_changes_to(&self, short: bool) -> bool {
        self.short.swap(short, Ordering::Relaxed) != short
    }
}
