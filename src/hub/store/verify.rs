//! Looking through a database for what is wrong with it.

use std::collections::HashSet;
use std::path::Path;

use foldhash::fast::RandomState;
use rusqlite::{Connection, ErrorCode};

use super::error::StoreError;
use super::{open_existing, points};

/// Findings that are named; more are counted.
const NAMED: usize = 100;

/// What a look through a database came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// Plugins and other senders.
    pub monitors: u64,
    /// Series.
    pub series: u64,
    /// Points that read back.
    pub points: u64,
    /// Runs.
    pub runs: u64,
    /// What is wrong, in sentences; of many the first.
    pub findings: Vec<String>,
    /// How many there are.
    pub found: u64,
}

impl Verified {
    /// Notes something that is wrong.
    pub(crate) fn find(&mut self, finding: impl Into<String>) {
        self.found += 1;
        if self.findings.len() < NAMED {
            self.findings.push(finding.into());
        }
    }
}

/// Looks through the database at `path`, as of one moment, and changes nothing.
pub(crate) fn verify(path: &Path) -> Result<Verified, StoreError> {
    let mut found = Verified::default();
    let looked = match open_existing(path) {
        Ok(conn) => look(&conn, &mut found),
        Err(StoreError::Sqlite { source, .. }) => Err(source),
        Err(error) => return Err(error),
    };
    match looked {
        Ok(()) => Ok(found),
        Err(source)
            if matches!(
                source.sqlite_error_code(),
                Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
            ) =>
        {
            found.find(format!("the file is damaged and cannot be read on: {source}"));
            Ok(found)
        }
        Err(source) => Err(StoreError::Sqlite { action: "look through", source }),
    }
}

fn look(conn: &Connection, found: &mut Verified) -> rusqlite::Result<()> {
    let conn = conn.unchecked_transaction()?;
    {
        let mut statement = conn.prepare(&format!("PRAGMA integrity_check({NAMED})"))?;
        let mut rows = statement.query(())?;
        while let Some(row) = rows.next()? {
            let said: String = row.get(0)?;
            if said != "ok" {
                found.find(said);
            }
        }
    }
    let known: HashSet<i64, RandomState> = conn
        .prepare("SELECT id FROM series")?
        .query_map((), |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let points = points::check(&conn, &known, |finding| found.find(finding))?;
    found.points = points;
    let count = |sql: &str| conn.query_row(sql, (), |row| row.get::<_, i64>(0));
    found.monitors = count("SELECT count(*) FROM monitors")? as u64;
    found.series = known.len() as u64;
    found.runs = count("SELECT count(*) FROM runs")? as u64;
    for series in points::dropped(&conn)?.intersection(&known) {
        found.find(format!("series {series} was dropped and is still there"));
    }
    for (sql, what) in ADDS_UP {
        let mut statement = conn.prepare(sql)?;
        let mut rows = statement.query(())?;
        while let Some(row) = rows.next()? {
            found.find(format!("{what} {}", row.get::<_, i64>(0)?));
        }
    }
    Ok(())
}

/// Queries for ids of what should not be, and what they are.
const ADDS_UP: [(&str, &str); 5] = [
    (
        "SELECT id FROM series WHERE monitor_id NOT IN (SELECT id FROM monitors)",
        "no monitor has series",
    ),
    (
        "SELECT id FROM fields WHERE monitor_id NOT IN (SELECT id FROM monitors)",
        "no monitor has field",
    ),
    (
        "SELECT m.id FROM monitors m WHERE m.last_run IS NOT NULL AND NOT EXISTS
         (SELECT 1 FROM runs r WHERE r.id = m.last_run AND r.monitor_id = m.id)",
        "there is no such run as the last one of monitor",
    ),
    (
        "SELECT m.id FROM monitors m JOIN (SELECT monitor_id, max(nth) AS most FROM runs
         GROUP BY monitor_id) r ON r.monitor_id = m.id WHERE r.most > m.reports",
        "there are more runs than were counted of monitor",
    ),
    (
        "SELECT id FROM monitors WHERE reports < 0 OR metrics < 0 OR rejected < 0 OR skipped < 0",
        "a count below zero has monitor",
    ),
];
