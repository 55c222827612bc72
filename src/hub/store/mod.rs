//! What the hub knows, on disk.
//!
//! Promises: what [`Store::append`] has acknowledged is on disk, with the stream's mark, in one
//! transaction; a batch is taken whole or not at all; memory stays flat however much is stored.
//! Points lie behind an interface of their own ([`points`]). Does not know HTTP, tokens or pages.
//!
//! Each connection has a thread of its own: one writes, three read what is committed ([`reading`]).
//! Everything else asks them through a [`Store`], whose methods are the whole interface. A defect
//! costs the request that met it, and no other ([`worker`]).

mod append;
mod clock;
mod direct;
mod error;
mod known;
mod maintain;
mod pages;
mod points;
mod query;
mod reading;
mod rejections;
mod retention;
mod schema;
mod shrink;
mod verify;
mod worker;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;
use serde::Serialize;

use crate::model::BatchReply;

use super::wire::Fault;

use reading::Reading;
use worker::Worker;

pub(crate) use append::Writer;
pub(crate) use direct::Direct;
pub(crate) use error::AppendError;
pub use error::StoreError;
pub(crate) use maintain::drop_series;
pub(crate) use pages::{
    AgentRow, Card, CardRun, ContractRow, Health, Kept, cards, contract, health, is_suspended,
    longest_gap, series_of, tagged,
};
pub(crate) use points::{Scan, extent, total as total_points, visit, visit_while};
pub(crate) use query::{
    Filter, PluginRow, PointsQuery, Position, RunRow, SeriesRow, Totals, plugins, points, runs,
    runs_of, series, totals,
};
pub(crate) use rejections::{RejectionGroup, rejections};
pub(crate) use schema::{Access, open, open_existing, reopen};
pub use verify::Verified;
pub(crate) use verify::verify;

/// How much may be kept.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    pub(crate) path: PathBuf,
    /// Bytes of the database above which the oldest points go.
    pub(crate) max_size: u64,
    /// How old points and what belongs to them may become.
    pub(crate) retention: Option<Duration>,
    /// Free bytes on the disk below which nothing is taken.
    pub(crate) min_free: u64,
}

/// How long a question or a page may take, and how long what goes through much.
const PAGE: Duration = Duration::from_secs(5);
const LONG: Duration = Duration::from_secs(20);

/// Where to ask.
#[derive(Clone)]
pub(crate) struct Store {
    writer: Worker<Writer>,
    questions: Reading,
    pages: Reading,
    long: Reading,
}

impl Store {
    /// Opens the database at `limits.path`, making it where there is none.
    pub(crate) fn open(limits: Limits) -> Result<Self, StoreError> {
        let path = limits.path.clone();
        let writer = Writer::new(open(&path, Access::Write)?, limits.clone())?;
        let write_again = move || Writer::new(reopen(&limits.path, Access::Write)?, limits.clone());
        Ok(Self {
            writer: Worker::start("hub-write", writer, write_again, Writer::maintain)?,
            questions: Reading::start("hub-ask", &path, PAGE)?,
            pages: Reading::start("hub-read", &path, PAGE)?,
            long: Reading::start("hub-read-long", &path, LONG)?,
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

    /// Does what needs the writing side.
    pub(crate) async fn write<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Writer) -> R + Send + 'static,
    ) -> Result<R, StoreError> {
        self.writer.call(job).await
    }

    /// Does what is due as time goes by: every minute or so, also while nothing comes in. `now` is
    /// the wall clock in milliseconds since 1970.
    pub(crate) async fn tend(&self, now: i64) -> Result<(), StoreError> {
        // Goes on while the machine sleeps, as the wall clock does.
        let running = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let running = running.tv_sec * 1000 + running.tv_nsec / 1_000_000;
        self.writer.call(move |writer| writer.tend(now, running)).await
    }

    /// Changes what is not about results: accounts, sessions, links.
    pub(crate) async fn change<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> rusqlite::Result<R> + Send + 'static,
    ) -> Result<R, StoreError> {
        let done = self.writer.call(move |writer| job(writer.conn())).await?;
        done.map_err(|source| StoreError::Sqlite { action: "change", source })
    }

    /// Answers a short question: who calls, whether something is there. Nothing that grows with what
    /// is stored belongs here, because requests of all kinds wait for it.
    pub(crate) async fn ask<R: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> rusqlite::Result<R> + Send + 'static,
    ) -> Result<R, StoreError> {
        self.questions.call(job).await
    }

    /// Reads what a page or a listing shows; within [`PAGE`], else it fails with
    /// [`StoreError::TooLong`].
    pub(crate) async fn read<R: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> rusqlite::Result<R> + Send + 'static,
    ) -> Result<R, StoreError> {
        self.pages.call(job).await
    }

    /// The same for what goes through many points; within [`LONG`].
    pub(crate) async fn read_long<R: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> rusqlite::Result<R> + Send + 'static,
    ) -> Result<R, StoreError> {
        self.long.call(job).await
    }

    /// Ends the threads after what is in line. Later calls fail with [`StoreError::Closed`].
    pub(crate) async fn close(&self) {
        for reading in [&self.questions, &self.pages, &self.long] {
            reading.close().await;
        }
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
