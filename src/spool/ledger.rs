use std::collections::BTreeMap;

use rusqlite::Connection;
use serde::Serialize;

use crate::model::Evicted;

/// What became of every record, by plugin and by output.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Ledger {
    /// By plugin name.
    pub plugins: BTreeMap<String, PluginTotals>,
    /// By output name; those that were removed keep their row.
    pub outputs: BTreeMap<String, OutputTotals>,
}

/// A spool's own figures, all of the same moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// The counters.
    pub ledger: Ledger,
    /// Bytes of reports that are kept; what the quota limits.
    pub live_bytes: u64,
    /// Refused records and reports in quarantine.
    pub quarantine_items: u64,
    /// Bytes in quarantine.
    pub quarantine_bytes: u64,
    /// By output: for how many milliseconds the oldest report that it has not acknowledged waits,
    /// by the spool's own clock and as of the last commit. Without those that have all.
    pub waiting_ms: BTreeMap<String, u64>,
}

/// `produced = accepted + rejected(by code)`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PluginTotals {
    /// Reports.
    pub runs: u64,
    /// Due runs that were skipped.
    pub skipped: u64,
    /// Records printed.
    pub produced: u64,
    /// Records accepted.
    pub accepted: u64,
    /// Records refused, by code.
    pub rejected: BTreeMap<String, u64>,
}

/// `accepted = delivered + spooled + filtered + evicted(by reason)`, in records.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct OutputTotals {
    /// Whether it holds a cursor.
    #[serde(skip)]
    pub active: bool,
    /// Records accepted since it began.
    pub accepted: u64,
    /// Records that it acknowledged.
    pub delivered: u64,
    /// Records on disk that it has not acknowledged.
    pub spooled: u64,
    /// Records that its own filter left out.
    pub filtered: u64,
    /// Records that it never got, by reason.
    pub evicted: BTreeMap<Evicted, u64>,
}

impl PluginTotals {
    /// Whether the row adds up.
    pub fn balances(&self) -> bool {
        self.produced == self.accepted + self.rejected.values().sum::<u64>()
    }
}

impl OutputTotals {
    /// What was lost after `before`, by reason, where anything was. What was refused is in
    /// quarantine, and what a removed output left behind somebody took out.
    pub fn lost_since(&self, before: Option<&Self>) -> impl Iterator<Item = (Evicted, u64)> {
        let before = before.map(|totals| &totals.evicted);
        let new = move |(reason, now): (&Evicted, &u64)| {
            let before = before.and_then(|evicted| evicted.get(reason)).copied().unwrap_or(0);
            (*reason, now.saturating_sub(before))
        };
        let lost = |(reason, n): &(Evicted, u64)| {
            *n > 0 && !matches!(reason, Evicted::Refused | Evicted::OutputRemoved)
        };
        self.evicted.iter().map(new).filter(lost)
    }

    /// Whether the row adds up.
    pub fn balances(&self) -> bool {
        let evicted: u64 = self.evicted.values().sum();
        self.accepted == self.delivered + self.spooled + self.filtered + evicted
    }
}

impl Ledger {
    /// Whether every row adds up.
    pub fn balances(&self) -> bool {
        self.plugins.values().all(PluginTotals::balances)
            && self.outputs.values().all(OutputTotals::balances)
    }

    /// Reads all rows. The caller holds the transaction.
    pub(super) fn load(db: &Connection) -> rusqlite::Result<Self> {
        let mut ledger = Self::default();
        let mut rows = db.prepare("SELECT name, runs, skipped, produced, accepted FROM plugins")?;
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            let totals = PluginTotals {
                runs: count(row, 1)?,
                skipped: count(row, 2)?,
                produced: count(row, 3)?,
                accepted: count(row, 4)?,
                rejected: BTreeMap::new(),
            };
            ledger.plugins.insert(row.get(0)?, totals);
        }
        let mut rows = db.prepare("SELECT plugin, code, records FROM rejected")?;
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            let plugin = ledger.plugins.entry(row.get(0)?).or_default();
            plugin.rejected.insert(row.get(1)?, count(row, 2)?);
        }
        let mut rows = db.prepare(
            "SELECT o.name, o.active, o.accepted, o.delivered, o.filtered,
                    CASE WHEN o.active = 1 THEN s.records - o.cursor_records ELSE 0 END
             FROM outputs o, state s",
        )?;
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            let totals = OutputTotals {
                active: row.get(1)?,
                accepted: count(row, 2)?,
                delivered: count(row, 3)?,
                filtered: count(row, 4)?,
                spooled: count(row, 5)?,
                evicted: BTreeMap::new(),
            };
            ledger.outputs.insert(row.get(0)?, totals);
        }
        let mut rows = db.prepare("SELECT output, reason, records FROM evicted")?;
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            let word: String = row.get(1)?;
            // A reason that this version does not know can only come from a newer one, which
            // would have raised the schema version.
            if let Ok(reason) = word.parse() {
                let output = ledger.outputs.entry(row.get(0)?).or_default();
                output.evicted.insert(reason, count(row, 2)?);
            }
        }
        Ok(ledger)
    }
}

/// A column that holds a count: never negative, unless the file is damaged.
pub(super) fn count(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let n: i64 = row.get(column)?;
    u64::try_from(n).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, n))
}

/// A column of a report's row. No checksum covers it, and that it is wrong is no reason to give up the
/// report and all after it.
pub(super) fn figure(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(row.get::<_, i64>(column)?.max(0).unsigned_abs())
}
