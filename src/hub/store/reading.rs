//! Reading what is committed: a thread with a connection of its own for short questions, one for
//! pages and one for whatever goes through much, so that none waits behind what takes longer by its
//! nature.
//!
//! Promises: a read that takes longer than its thread's bound, or whose caller went away, ends and
//! costs no other; what a read sees is of one moment.
//!
//! What is bounded are SQLite's steps: between them it is looked at the time. What a job does by itself
//! with what it read (points decoded, a page drawn, CSV written) is not ended; jobs keep that small by
//! reading no more than they show.

use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode};

use super::error::StoreError;
use super::schema::{Access, open, reopen};
use super::worker::Worker;

/// Steps of SQLite's after which a read looks whether it may go on. A row of points is some ten
/// steps, and at most a quarter of a millisecond.
const STEPS: i32 = 100;

/// A thread that reads.
#[derive(Clone)]
pub(super) struct Reading {
    worker: Worker<Connection>,
    bound: Duration,
}

impl Reading {
    /// Starts the thread. No read may take longer than `bound`, the wait for its turn left out.
    pub(super) fn start(
        name: &'static str,
        path: &Path,
        bound: Duration,
    ) -> Result<Self, StoreError> {
        let conn = open(path, Access::Read)?;
        let path = path.to_owned();
        let again = move || reopen(&path, Access::Read);
        Ok(Self { worker: Worker::start(name, conn, again, |_| {})?, bound })
    }

    /// Has the thread do `job` and waits for what it comes to. Dropped, it ends the read.
    pub(super) async fn call<R: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> rusqlite::Result<R> + Send + 'static,
    ) -> Result<R, StoreError> {
        let here = Arc::new(());
        let (caller, bound) = (Arc::downgrade(&here), self.bound);
        let done = self.worker.call(move |conn| read(conn, bound, caller, job)).await?;
        done.map_err(|source| match source.sqlite_error_code() {
            Some(ErrorCode::OperationInterrupted) => StoreError::TooLong,
            _ => StoreError::Sqlite { action: "read", source },
        })
    }

    pub(super) async fn close(&self) {
        self.worker.close().await;
    }
}

/// Does `job` within `bound`, for as long as there is a caller.
fn read<R>(
    conn: &mut Connection,
    bound: Duration,
    caller: Weak<()>,
    job: impl FnOnce(&Connection) -> rusqlite::Result<R>,
) -> rusqlite::Result<R> {
    let begun = Instant::now();
    let over = move || begun.elapsed() >= bound || caller.strong_count() == 0;
    if over() {
        let interrupted = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_INTERRUPT);
        return Err(rusqlite::Error::SqliteFailure(interrupted, None));
    }
    conn.progress_handler(STEPS, Some(over))?;
    let done = conn.transaction().and_then(|transaction| {
        // One transaction, so that chunks and raw blocks belong together.
        job(&transaction)
    });
    conn.progress_handler(0, None::<fn() -> bool>)?;
    done
}
