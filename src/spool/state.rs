//! What every statement on the database needs: its totals, its numbers, and where a report is from.

use rusqlite::{Connection, params};
use serde::Deserialize;

use crate::model::Timestamp;

use super::ledger::count;

/// SQLite's integers are signed; no count here comes near the difference.
pub(super) fn int(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// The row `state`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct State {
    pub(super) last_seq: u64,
    pub(super) records: u64,
    pub(super) bytes: u64,
    pub(super) freed_bytes: u64,
    pub(super) clock: u64,
    pub(super) quarantine_bytes: u64,
}

impl State {
    pub(super) fn load(db: &Connection) -> rusqlite::Result<Self> {
        db.query_row(
            "SELECT last_seq, records, bytes, freed_bytes, clock, quarantine_bytes FROM state",
            [],
            |row| {
                Ok(Self {
                    last_seq: count(row, 0)?,
                    records: count(row, 1)?,
                    bytes: count(row, 2)?,
                    freed_bytes: count(row, 3)?,
                    clock: count(row, 4)?,
                    quarantine_bytes: count(row, 5)?,
                })
            },
        )
    }

    pub(super) fn save(&self, db: &Connection) -> rusqlite::Result<()> {
        db.execute(
            "UPDATE state SET last_seq = ?1, records = ?2, bytes = ?3, freed_bytes = ?4,
                 clock = ?5, quarantine_bytes = ?6",
            params![
                int(self.last_seq),
                int(self.records),
                int(self.bytes),
                int(self.freed_bytes),
                int(self.clock),
                int(self.quarantine_bytes),
            ],
        )?;
        Ok(())
    }

    /// Bytes of reports that are kept.
    pub(super) fn live(&self) -> u64 {
        self.bytes.saturating_sub(self.freed_bytes)
    }
}

/// Where a report came from, read from its own body.
#[derive(Default, Deserialize)]
pub(super) struct Source {
    #[serde(default)]
    pub(super) plugin: Option<String>,
    #[serde(default)]
    pub(super) run: Option<String>,
    #[serde(default)]
    pub(super) started: Option<Timestamp>,
}

impl Source {
    pub(super) fn of(body: &[u8]) -> Self {
        serde_json::from_slice(body).unwrap_or_default()
    }
}
