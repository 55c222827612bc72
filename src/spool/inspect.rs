use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension};
use serde::Serialize;

use crate::model::{AgentId, Seq, SpoolId};

use super::ledger::{Ledger, count, figure};
use super::quarantine::{self, Pick, Quarantined};
use super::state::{Source, State, int};
use super::store::{self, crc};
use super::{SpoolError, schema};

/// Looks into a spool without its lock, while an agent may be writing. Changes nothing.
pub struct Inspector {
    path: PathBuf,
    db: Connection,
}

/// A spool in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SpoolStatus {
    /// The file.
    pub path: PathBuf,
    /// This life of the spool.
    pub spool: SpoolId,
    /// The agent it belongs to.
    pub agent: AgentId,
    /// The oldest report kept; null when there is none.
    pub oldest: Option<Seq>,
    /// The highest number ever given.
    pub highest: Seq,
    /// Bytes of reports that are kept; what the quota limits.
    pub live_bytes: u64,
    /// Bytes of the database file.
    pub file_bytes: u64,
    /// Refused records and reports in quarantine.
    pub quarantine_items: u64,
    /// Bytes in quarantine.
    pub quarantine_bytes: u64,
    /// The counters.
    pub ledger: Ledger,
    /// By output: for how many milliseconds the oldest report that it has not acknowledged waits,
    /// by the spool's own clock and as of the last commit. Without those that have all.
    pub waiting_ms: BTreeMap<String, u64>,
}

/// A report in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// Its number.
    pub seq: Seq,
    /// Its plugin, where the body can be read.
    pub plugin: Option<String>,
    /// Its run, where the body can be read.
    pub run: Option<String>,
    /// Its accepted records.
    pub records: u64,
    /// Bytes of its body.
    pub bytes: u64,
}

/// What a full check found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// Reports that were read.
    pub reports: u64,
    /// What is wrong, one line each; empty when all is well. At most 100.
    pub findings: Vec<String>,
}

impl Inspector {
    /// Opens the spool in `data_dir` to look at.
    pub fn open(data_dir: &Path) -> Result<Self, SpoolError> {
        let path = schema::file(data_dir);
        match schema::look(&path)? {
            schema::Found::Nothing => return Err(SpoolError::Absent { path }),
            schema::Found::Bad(why) => return Err(SpoolError::Damaged { path, why }),
            schema::Found::Spool => {}
        }
        match schema::open_to_look(&path) {
            Ok(db) => Ok(Self { path, db }),
            Err(source) => Err(SpoolError::Open { path, source }),
        }
    }

    fn failed(&self) -> impl Fn(rusqlite::Error) -> SpoolError {
        let path = self.path.clone();
        move |source| SpoolError::Read { path: path.clone(), source }
    }

    /// The spool in numbers, all of the same moment.
    pub fn status(&self) -> Result<SpoolStatus, SpoolError> {
        let failed = self.failed();
        let tx = self.db.unchecked_transaction().map_err(&failed)?;
        let state = State::load(&tx).map_err(&failed)?;
        let id = |key: &str| {
            schema::meta(&tx, key).map_err(&failed)?.ok_or_else(|| SpoolError::Damaged {
                path: self.path.clone(),
                why: format!("it has no {key}"),
            })
        };
        let bad = |_| SpoolError::Damaged {
            path: self.path.clone(),
            why: "its identity cannot be read".to_owned(),
        };
        let oldest = tx
            .query_row("SELECT seq FROM reports ORDER BY seq LIMIT 1", [], |row| count(row, 0))
            .optional()
            .map_err(&failed)?;
        Ok(SpoolStatus {
            path: self.path.clone(),
            spool: id("spool_id")?.parse().map_err(bad)?,
            agent: id("agent_id")?.parse().map_err(bad)?,
            oldest: oldest.map(Seq),
            highest: Seq(state.last_seq),
            live_bytes: state.live(),
            file_bytes: std::fs::metadata(&self.path).map_or(0, |meta| meta.len()),
            quarantine_items: quarantine::items(&tx).map_err(&failed)?,
            quarantine_bytes: state.quarantine_bytes,
            ledger: Ledger::load(&tx).map_err(&failed)?,
            waiting_ms: store::waiting(&tx, &state).map_err(&failed)?,
        })
    }

    /// At most `limit` reports after `after`, oldest first.
    pub fn list(&self, after: Seq, limit: usize) -> Result<Vec<Listed>, SpoolError> {
        let list = || {
            let mut listed = Vec::new();
            let mut rows = self.db.prepare(
                "SELECT seq, records, body FROM reports WHERE seq > ?1 ORDER BY seq LIMIT ?2",
            )?;
            let mut rows = rows.query([int(after.0), int(limit as u64)])?;
            while let Some(row) = rows.next()? {
                let body = row.get_ref(2)?.as_blob()?;
                let Source { plugin, run, .. } = Source::of(body);
                let (seq, records) = (Seq(count(row, 0)?), figure(row, 1)?);
                listed.push(Listed { seq, plugin, run, records, bytes: body.len() as u64 });
            }
            Ok(listed)
        };
        list().map_err(self.failed())
    }

    /// The body of one report, as it was appended.
    pub fn get(&self, seq: Seq) -> Result<Option<Vec<u8>>, SpoolError> {
        self.db
            .query_row("SELECT body FROM reports WHERE seq = ?1", [int(seq.0)], |row| row.get(0))
            .optional()
            .map_err(self.failed())
    }

    /// At most `limit` of the picked things in quarantine after number `after`, oldest first.
    pub fn quarantine(
        &self,
        pick: &Pick,
        after: i64,
        limit: usize,
    ) -> Result<Vec<Quarantined>, SpoolError> {
        schema::version(&self.db)
            .and_then(|version| quarantine::list(&self.db, version, pick, after, limit))
            .map_err(self.failed())
    }

    /// Reads everything: the pages, every report's checksum and running totals, and the ledger.
    /// Takes as long as reading the file does.
    pub fn verify(&self) -> Result<Verified, SpoolError> {
        const MOST: usize = 100;
        let check = || {
            let tx = self.db.unchecked_transaction()?;
            let mut found = Verified::default();
            let mut lines = tx.prepare(&format!("PRAGMA integrity_check({MOST})"))?;
            let mut lines = lines.query([])?;
            while let Some(line) = lines.next()? {
                let line: String = line.get(0)?;
                if line != "ok" {
                    found.findings.push(line);
                }
            }
            let mut before: Option<u64> = None;
            let mut rows = tx.prepare(
                "SELECT seq, records, through_records, crc, body FROM reports ORDER BY seq",
            )?;
            let mut rows = rows.query([])?;
            while let Some(row) = rows.next()? {
                let (seq, records, through) = (count(row, 0)?, figure(row, 1)?, figure(row, 2)?);
                found.reports += 1;
                if row.get::<_, i64>(3)? != i64::from(crc(row.get_ref(4)?.as_blob()?)) {
                    found.findings.push(format!("report {seq}: the checksum does not match"));
                }
                if before.is_some_and(|before| before.saturating_add(records) > through) {
                    found.findings.push(format!("report {seq}: the running total is wrong"));
                }
                before = Some(through);
                if found.findings.len() >= MOST {
                    break;
                }
            }
            let ledger = match Ledger::load(&tx) {
                Ok(ledger) => ledger,
                // The agent's next start puts it right; until then it is a finding like the others.
                Err(rusqlite::Error::IntegralValueOutOfRange(_, n)) => {
                    found.findings.push(format!("the ledger has a count of {n}"));
                    return Ok(found);
                }
                Err(error) => return Err(error),
            };
            let plugins = ledger.plugins.iter().filter(|(_, p)| !p.balances());
            let plugins = plugins.map(|(name, _)| format!("plugin {name}: does not add up"));
            let outputs = ledger.outputs.iter().filter(|(_, o)| !o.balances());
            let outputs = outputs.map(|(name, _)| format!("output {name}: does not add up"));
            found.findings.extend(plugins.chain(outputs));
            found.findings.truncate(MOST);
            Ok(found)
        };
        check().map_err(self.failed())
    }
}
