//! What the hub knows, on disk.
//!
//! Promises: what [`Store::append`] has acknowledged is on disk, with the stream's mark, in one
//! transaction; a batch is taken whole or not at all; memory stays flat however much is stored.
//! Points are raw blocks first and segments of a few series later ([`compact`]); readers see both, and
//! cannot tell which is which. Does not know HTTP, tokens or pages.
//!
//! Two threads own the two connections: one writes, one reads what is committed. Everything else
//! asks them through a [`Store`], whose methods are the whole interface. A defect costs the request
//! that met it, and no other ([`worker`]).

mod append;
mod codec;
mod compact;
mod known;
mod query;
mod schema;
mod worker;

use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode};
use serde::Serialize;

use crate::model::BatchReply;

use super::wire::Fault;

use worker::Worker;

pub(crate) use append::{AppendError, Writer};
pub(crate) use codec::Scalar;
pub(crate) use query::{
    Filter, PluginRow, PointsQuery, Position, RejectionRow, RunRow, SeriesRow, Totals, plugins,
    points, rejections, runs, runs_of, series, totals, visit,
};
use schema::reopen;
pub(crate) use schema::{Access, open};

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
    /// A defect ended what was asked; nothing of it is stored.
    #[error("the hub failed at this request by a defect of its own")]
    Defect,
    /// The database is being opened anew after a defect.
    #[error("the hub recovers from a defect; try again in a moment")]
    Recovering,
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
        let writer = Writer::new(open(&path, Access::Write)?, limits.clone())?;
        let write_again = move || Writer::new(reopen(&limits.path, Access::Write)?, limits.clone());
        let reader = open(&path, Access::Read)?;
        let read_again = move || reopen(&path, Access::Read);
        Ok(Self {
            writer: Worker::start("hub-write", writer, write_again, Writer::maintain)?,
            reader: Worker::start("hub-read", reader, read_again, |_| {})?,
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
