//! What the hub knows, on disk.
//!
//! Promises: what [`Store::append`] has acknowledged is on disk, with the stream's mark, in one
//! transaction; a batch is taken whole or not at all; memory stays flat however much is stored.
//! Points are raw blocks first and segments of a few series later ([`compact`]); readers see both, and
//! cannot tell which is which. Does not know HTTP, tokens or pages.
//!
//! Two threads own the two connections: one writes, one reads what is committed. Everything else
//! asks them through a [`Store`], whose methods are the whole interface.

mod append;
mod codec;
mod compact;
mod known;
mod query;
mod schema;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use crate::model::BatchReply;

use super::wire::Fault;

pub(crate) use append::{AppendError, Writer};
pub(crate) use codec::Scalar;
pub(crate) use query::{
    Filter, PluginRow, PointsQuery, Position, RejectionRow, RunRow, SeriesRow, Totals, plugins,
    points, rejections, runs, runs_of, series, totals, visit,
};
pub(crate) use schema::{Access, open};

/// Jobs that wait for one of the two threads; when as many wait, callers wait to get in line.
const WAITING: usize = 32;
/// How long a caller waits to get in line before it is told to come back.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why the store could not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database said no.
    #[error("cannot {action} the hub's database")]
    Sqlite {
        /// What was asked of it.
        action: &'static str,
        /// What it said.
        #[source]
        source: rusqlite::Error,
    },
    /// A damaged database could not be moved out of the way.
    #[error("cannot move the damaged database file {path} aside; move it yourself and start again")]
    MoveAside {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The file could not be made, or not closed to others.
    #[error("cannot make {path} a file of its owner alone")]
    Private {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The file, its log or their folder may be read only.
    #[error("cannot write {path}: it must be writable by the user that runs the hub")]
    NotWritable {
        /// What cannot be written.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The database was written by a later version, or by another program.
    #[error(
        "{path} is not a database of this version of the hub (it says version {version}); install the version of talaia that wrote it, or name another data folder"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version it says.
        version: i64,
    },
    /// There is no room.
    #[error("the hub's disk is full; free some space or lower the hub's size")]
    Full,
    /// Too many are waiting.
    #[error("the hub is busy; try again in a moment")]
    Busy,
    /// The hub is stopping.
    #[error("the hub is stopping")]
    Closed,
    /// A thread could not be started.
    #[error("cannot start a thread for the hub's database")]
    Thread(#[source] std::io::Error),
}

impl StoreError {
    /// Whether it is for want of space.
    pub(crate) fn is_full(&self) -> bool {
        match self {
            Self::Full => true,
            Self::Sqlite { source, .. } => source.sqlite_error_code() == Some(ErrorCode::DiskFull),
            _ => false,
        }
    }
}

/// How much may be kept.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    pub(crate) path: PathBuf,
    /// Bytes of the database above which the oldest points go.
    pub(crate) max_size: u64,
    /// Free bytes on the disk below which nothing is taken.
    pub(crate) min_free: u64,
}

/// Where to ask.
#[derive(Clone)]
pub(crate) struct Store {
    writer: Worker<Writer>,
    reader: Worker<Connection>,
}

impl Store {
    /// Opens the database at `limits.path`, making it where there is none.
    pub(crate) fn open(limits: Limits) -> Result<Self, StoreError> {
        let path = limits.path.clone();
        let writer = Writer::new(open(&path, Access::Write)?, limits)?;
        let reader = open(&path, Access::Read)?;
        Ok(Self {
            writer: Worker::start("hub-write", writer, Writer::maintain)?,
            reader: Worker::start("hub-read", reader, |_| {})?,
        })
    }

    /// Stores what is new in the body that `unpack` gives, and moves the stream's mark. Unpacking
    /// happens on the writing thread: one body at a time is all that needs the memory.
    pub(crate) async fn append(
        &self,
        account: i64,
        unpack: impl FnOnce() -> Result<String, Fault> + Send + 'static,
        now: i64,
    ) -> Result<BatchReply, AppendError> {
        self.writer
            .call(move |writer| {
                let body = unpack().map_err(AppendError::Body)?;
                writer.append(account, &body, now)
            })
            .await?
    }

    /// Changes what is not about results: accounts, sessions, links.
    pub(crate) async fn change<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> rusqlite::Result<R> + Send + 'static,
    ) -> Result<R, StoreError> {
        let done = self.writer.call(move |writer| job(writer.conn())).await?;
        done.map_err(|source| StoreError::Sqlite { action: "change", source })
    }

    /// Reads what is committed.
    pub(crate) async fn read<R: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> rusqlite::Result<R> + Send + 'static,
    ) -> Result<R, StoreError> {
        let done = self
            .reader
            .call(move |conn| {
                // One transaction, so that chunks and raw blocks belong together.
                let transaction = conn.transaction()?;
                job(&transaction)
            })
            .await?;
        done.map_err(|source| StoreError::Sqlite { action: "read", source })
    }

    /// Ends both threads after what is in line. Later calls fail with [`StoreError::Closed`].
    pub(crate) async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
    }
}

type Job<T> = Box<dyn FnOnce(&mut T) + Send>;

enum Order<T> {
    Do(Job<T>),
    End(oneshot::Sender<()>),
}

/// A thread that owns a `T` and does one job after another.
struct Worker<T>(mpsc::Sender<Order<T>>);

impl<T> Clone for Worker<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Send + 'static> Worker<T> {
    fn start(name: &str, mut owned: T, after: fn(&mut T)) -> Result<Self, StoreError> {
        let (send, mut orders) = mpsc::channel::<Order<T>>(WAITING);
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                while let Some(order) = orders.blocking_recv() {
                    match order {
                        Order::Do(job) => {
                            job(&mut owned);
                            after(&mut owned);
                        }
                        Order::End(done) => {
                            drop(owned);
                            // Nobody waits any more: nothing to tell.
                            let _told = done.send(());
                            return;
                        }
                    }
                }
            })
            .map_err(StoreError::Thread)?;
        Ok(Self(send))
    }

    async fn call<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut T) -> R + Send + 'static,
    ) -> Result<R, StoreError> {
        let (answer, answered) = oneshot::channel();
        let job: Job<T> = Box::new(move |owned| {
            // A caller that went away does not hear the answer.
            let _heard = answer.send(job(owned));
        });
        match tokio::time::timeout(PATIENCE, self.0.send(Order::Do(job))).await {
            Err(_) => return Err(StoreError::Busy),
            Ok(Err(_)) => return Err(StoreError::Closed),
            Ok(Ok(())) => {}
        }
        answered.await.map_err(|_| StoreError::Closed)
    }

    async fn close(&self) {
        let (done, ended) = oneshot::channel();
        if self.0.send(Order::End(done)).await.is_ok() {
            // An error means that it had ended already.
            let _ended = ended.await;
        }
    }
}

#[cfg(test)]
mod tests;

/// JSON of a value whose serialisation cannot fail.
pub(crate) fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// The hub's database in its folder.
pub(crate) fn file_in(data_dir: &Path) -> PathBuf {
    data_dir.join("hub.db")
}
