//! All points as text, for other programs to read.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::Path;

use rusqlite::{Connection, params};
use serde::Serialize;

use crate::model::{Tags, Timestamp, Value};

use super::HubError;
use super::csv::{self, Texts};
use super::store::{self, Scan, StoreError, json};
use super::upkeep::source;

/// Series read in one transaction, and most points in one line.
const SERIES: i64 = 256;
const POINTS: usize = 1000;

/// What an export looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportFormat {
    /// A JSON object a line: a series with up to 1 000 points, each a pair of milliseconds and value.
    Ndjson,
    /// A point a line, after one with the names of the columns.
    Csv,
}

/// Which points.
#[derive(Debug, Clone)]
pub struct Export {
    /// What they become.
    pub format: ExportFormat,
    /// The first millisecond since 1970.
    pub from: i64,
    /// The last one.
    pub to: i64,
    /// Of this monitor: its id, its name, or `plugin@host`; `None` for all.
    pub monitor: Option<String>,
}

/// Why an export ended early.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The hub or its database.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// There is no such monitor.
    #[error("there is no monitor {name}; `talaia monitor list` shows those there are")]
    NoMonitor {
        /// What was asked for.
        name: String,
    },
    /// Nobody takes the rest.
    #[error("cannot write the export")]
    Write(#[source] io::Error),
}

impl From<StoreError> for ExportError {
    fn from(error: StoreError) -> Self {
        Self::Hub(error.into())
    }
}

#[derive(Serialize)]
struct Line<'a> {
    monitor: i64,
    monitor_name: Option<&'a str>,
    host: Option<&'a str>,
    plugin: Option<&'a str>,
    name: &'a str,
    tags: &'a Tags,
    #[serde(rename = "type")]
    kind: &'a str,
    unit: Option<&'a str>,
    points: &'a [(i64, Value)],
}

struct Series {
    id: i64,
    monitor: i64,
    monitor_name: Option<String>,
    host: Option<String>,
    plugin: Option<String>,
    name: String,
    tags: Tags,
    kind: String,
    unit: Option<String>,
}

/// Writes the points of the hub in `data_dir`, or those in `file`, series by series, each in order of
/// time. Facts of runs are series like others. Memory stays flat; a hub that runs goes on, and what it
/// takes in meanwhile may be in the export or not. Gives how many points that were.
pub fn export(
    data_dir: &Path,
    file: Option<&Path>,
    wanted: &Export,
    out: &mut dyn Write,
) -> Result<u64, ExportError> {
    let conn = store::open_existing(&source(data_dir, file)?)?;
    let said = |source| ExportError::from(StoreError::Sqlite { action: "read", source });
    let monitor = match &wanted.monitor {
        None => None,
        Some(name) => Some(
            find(&conn, name)
                .map_err(said)?
                .ok_or_else(|| ExportError::NoMonitor { name: name.clone() })?,
        ),
    };
    if wanted.format == ExportFormat::Csv {
        writeln!(out, "time,monitor,monitor_name,host,plugin,name,tags,type,unit,value")
            .map_err(ExportError::Write)?;
    }
    let (mut after, mut total) = (0, 0);
    loop {
        // One transaction a page, so that a slow reader does not keep the hub's log from ending.
        let transaction = conn.unchecked_transaction().map_err(said)?;
        let page = page(&transaction, monitor, after).map_err(said)?;
        let Some(last) = page.last() else { break };
        after = last.id;
        let range = wanted.from..=wanted.to;
        let ids = page.iter().map(|series| series.id);
        let mut scan = Scan::new(&transaction, ids, range.clone()).map_err(said)?;
        for series in &page {
            let mut written = Ok(());
            let mut waiting: Vec<(i64, Value)> = Vec::new();
            scan.each(series.id, range.clone(), |points| {
                total += points.len() as u64;
                waiting.append(points);
                let whole = waiting.len() - waiting.len() % POINTS;
                written = write_points(out, wanted.format, series, &waiting[..whole]);
                waiting.drain(..whole);
                if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })
            .map_err(said)?;
            written.map_err(ExportError::Write)?;
            write_points(out, wanted.format, series, &waiting).map_err(ExportError::Write)?;
        }
    }
    out.flush().map_err(ExportError::Write)?;
    Ok(total)
}

fn find(conn: &Connection, name: &str) -> rusqlite::Result<Option<i64>> {
    let mut statement = conn.prepare(
        "SELECT id FROM monitors WHERE CAST(id AS TEXT) = ?1 OR name = ?1
         OR plugin || '@' || host = ?1 ORDER BY CAST(id AS TEXT) = ?1 DESC, name = ?1 DESC LIMIT 1",
    )?;
    let mut rows = statement.query([name])?;
    rows.next()?.map(|row| row.get(0)).transpose()
}

fn page(conn: &Connection, monitor: Option<i64>, after: i64) -> rusqlite::Result<Vec<Series>> {
    let mut statement = conn.prepare_cached(
        "SELECT s.id, m.id, m.name, m.host, m.plugin, s.name, s.tags, s.kind, s.unit
         FROM series s JOIN monitors m ON m.id = s.monitor_id
         WHERE s.id > ?1 AND (?2 IS NULL OR m.id = ?2) ORDER BY s.id LIMIT ?3",
    )?;
    let rows = statement.query_map(params![after, monitor, SERIES], |row| {
        let tags: String = row.get(6)?;
        Ok(Series {
            id: row.get(0)?,
            monitor: row.get(1)?,
            monitor_name: row.get(2)?,
            host: row.get(3)?,
            plugin: row.get(4)?,
            name: row.get(5)?,
            tags: serde_json::from_str(&tags).unwrap_or_default(),
            kind: row.get(7)?,
            unit: row.get(8)?,
        })
    })?;
    rows.collect()
}

fn write_points(
    out: &mut dyn Write,
    format: ExportFormat,
    series: &Series,
    points: &[(i64, Value)],
) -> io::Result<()> {
    match format {
        ExportFormat::Ndjson => points.chunks(POINTS).try_for_each(|points| {
            let line = Line {
                monitor: series.monitor,
                monitor_name: series.monitor_name.as_deref(),
                host: series.host.as_deref(),
                plugin: series.plugin.as_deref(),
                name: &series.name,
                tags: &series.tags,
                kind: &series.kind,
                unit: series.unit.as_deref(),
                points,
            };
            writeln!(out, "{}", json(&line))
        }),
        ExportFormat::Csv => {
            let cell = |text: &str| csv::cell(text, Texts::Exact);
            let optional = |text: &Option<String>| {
                text.as_deref().filter(|text| !text.is_empty()).map(cell).unwrap_or_default()
            };
            let whose = format!(
                "{},{},{},{},{},{},{},{}",
                series.monitor,
                optional(&series.monitor_name),
                optional(&series.host),
                optional(&series.plugin),
                cell(&series.name),
                cell(&json(&series.tags)),
                cell(&series.kind),
                optional(&series.unit),
            );
            points.iter().try_for_each(|(ms, value)| {
                let time = Timestamp::from_millis(*ms)
                    .map_or_else(|| ms.to_string(), |time| time.to_string());
                // A text is always in quotes, so that an empty one is told from a gap.
                let value = match value {
                    Value::Gap => String::new(),
                    Value::Text(text) => csv::quoted(text),
                    other => json(other),
                };
                writeln!(out, "{time},{whose},{value}")
            })
        }
    }
}
