use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OptionalExtension, params};

use crate::model::Seq;

use super::ledger::{Figures, Ledger, count, figure};
use super::state::{State, int};
use super::store::{self, crc};
use super::{Shared, SpoolError, Stored, quarantine, schema};

/// Which reports to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Only those after this one, where it is ahead of the cursor.
    pub after: Seq,
    /// Only those up to this one.
    pub through: Option<Seq>,
    /// Most reports.
    pub max_reports: usize,
    /// Most bytes of bodies; the first report comes whatever its size.
    pub max_bytes: usize,
}

impl Window {
    /// From the cursor on, at most `max_reports` and `max_bytes`.
    pub fn of(max_reports: usize, max_bytes: usize) -> Self {
        Self { after: Seq(0), through: None, max_reports, max_bytes }
    }
}

/// What was in a window.
pub(super) struct Read {
    pub(super) reports: Vec<Stored>,
    /// Those whose checksum does not match, with their records.
    pub(super) damaged: Vec<(Seq, u64)>,
}

/// The reading connection, opened when it is first needed and again when the file was replaced.
pub(super) struct Reader {
    shared: Arc<Shared>,
    open: Mutex<Option<Open>>,
    /// In which of the file's openings the last error came.
    bad: Mutex<Option<u64>>,
}

struct Open {
    connection: Connection,
    /// Device and inode, to see that the file was moved aside.
    file: (u64, u64),
}

impl Reader {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, open: Mutex::new(None), bad: Mutex::new(None) }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets go of the file, so that the writer is the last to close it.
    pub(super) fn close(&self) {
        *self.lock() = None;
    }

    /// In which of the file's openings by the writer the last error came.
    pub(super) fn last_bad(&self) -> Option<u64> {
        *self.bad.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `read` in one read transaction.
    fn with<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, SpoolError> {
        let path = &self.shared.path;
        let failed = |source| SpoolError::Read { path: path.clone(), source };
        let mut open = self.lock();
        let opening = self.shared.openings.load(Ordering::Acquire);
        let now = identity(path);
        if open.as_ref().is_none_or(|open| Some(open.file) != now) {
            let connection = schema::open_to_read(path).map_err(failed)?;
            *open = now.map(|file| Open { connection, file });
        }
        let Some(Open { connection, .. }) = &mut *open else {
            return Err(SpoolError::Absent { path: path.clone() });
        };
        let tx = connection.transaction().map_err(failed)?;
        let value = read(&tx);
        drop(tx);
        if value.is_err() {
            *self.bad.lock().unwrap_or_else(PoisonError::into_inner) = Some(opening);
            *open = None;
        }
        value.map_err(failed)
    }

    pub(super) fn read(&self, output: &str, window: Window) -> Result<Read, SpoolError> {
        self.with(|db| {
            let cursor = db
                .query_row(
                    "SELECT cursor FROM outputs WHERE name = ?1 AND active",
                    [output],
                    |row| count(row, 0),
                )
                .optional()?;
            let mut found = Read { reports: Vec::new(), damaged: Vec::new() };
            let Some(cursor) = cursor else { return Ok(found) };
            let mut rows = db.prepare(
                "SELECT seq, records, crc, body FROM reports
                 WHERE seq > ?1 AND seq <= ?2 ORDER BY seq LIMIT ?3",
            )?;
            let mut rows = rows.query(params![
                int(cursor.max(window.after.0)),
                window.through.map_or(i64::MAX, |seq| int(seq.0)),
                int(window.max_reports.max(1) as u64),
            ])?;
            let mut bytes = 0;
            while let Some(row) = rows.next()? {
                let body = row.get_ref(3)?.as_blob()?;
                bytes += body.len();
                if bytes > window.max_bytes && !found.reports.is_empty() {
                    break;
                }
                let seq = Seq(count(row, 0)?);
                let records = figure(row, 1)?;
                if row.get::<_, i64>(2)? == i64::from(crc(body)) {
                    found.reports.push(Stored { seq, body: body.to_vec(), records });
                } else {
                    found.damaged.push((seq, records));
                }
            }
            Ok(found)
        })
    }

    pub(super) fn figures(&self) -> Result<Figures, SpoolError> {
        self.with(|db| {
            let state = State::load(db)?;
            Ok(Figures {
                ledger: Ledger::load(db)?,
                live_bytes: state.live(),
                quarantine_items: quarantine::items(db)?,
                quarantine_bytes: state.quarantine_bytes,
                waiting_ms: store::waiting(db, &state)?,
            })
        })
    }

    pub(super) fn ledger(&self) -> Result<Ledger, SpoolError> {
        self.with(Ledger::load)
    }
}

/// Device and inode of the file at `path`.
fn identity(path: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()))
}
