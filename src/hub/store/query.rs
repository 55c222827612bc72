//! Reading: what the API and the pages show. Every function works in the caller's transaction.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::RandomState;
use rusqlite::{Connection, Row, ToSql, params};
use serde::{Serialize, Serializer};

use crate::model::{Outcome, RUN_FACTS, RunId, Status, Tags, Timestamp, Usage, Value};

use super::points::{self, Scan};

/// Most series that one answer with points goes through.
const SERIES_A_PAGE: usize = 500;

/// Whose and which.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    pub(crate) account: i64,
    pub(crate) host: Option<String>,
    pub(crate) plugin: Option<String>,
    /// Of series: those with this name; without one, all but the facts of runs.
    pub(crate) name: Option<String>,
    /// The id after which to go on; for runs and rejections, which come newest first, before which.
    pub(crate) after: Option<i64>,
    pub(crate) limit: usize,
}

/// One plugin on one host.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct PluginRow {
    pub(crate) id: i64,
    pub(crate) host: String,
    pub(crate) plugin: String,
    /// Milliseconds since 1970 when the hub last heard of it.
    #[serde(rename = "received", serialize_with = "time")]
    pub(crate) received_ms: i64,
    /// How many reports and metrics the hub took from it, ever.
    pub(crate) reports: i64,
    pub(crate) metrics: i64,
    pub(crate) rejected: i64,
    pub(crate) skipped: i64,
    pub(crate) last_run: Option<RunRow>,
}

/// One run.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct RunRow {
    pub(crate) id: i64,
    pub(crate) host: String,
    pub(crate) plugin: String,
    pub(crate) run: RunId,
    /// The run whose records these are, where no program ran.
    pub(crate) replay_of: Option<RunId>,
    #[serde(rename = "started", serialize_with = "time")]
    pub(crate) started_ms: i64,
    pub(crate) duration: f64,
    pub(crate) interval: Option<f64>,
    pub(crate) outcome: Outcome,
    pub(crate) status: Status,
    pub(crate) message: Option<String>,
    pub(crate) warnings: Vec<String>,
    pub(crate) counts: Counted,
    pub(crate) skipped: i64,
    pub(crate) leftovers: i64,
    pub(crate) usage: Usage,
    pub(crate) stderr: Option<String>,
}

/// A run's records, counted.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Counted {
    pub(crate) produced: i64,
    pub(crate) accepted: i64,
    pub(crate) rejected: BTreeMap<String, u64>,
}

/// One series and its last value.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct SeriesRow {
    pub(crate) id: i64,
    pub(crate) host: String,
    pub(crate) plugin: String,
    pub(crate) name: String,
    pub(crate) tags: Tags,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) unit: Option<String>,
    pub(crate) label: Option<String>,
    pub(crate) warn: Option<String>,
    pub(crate) crit: Option<String>,
    pub(crate) min: Option<f64>,
    pub(crate) max: Option<f64>,
    /// Milliseconds since 1970 and the value.
    pub(crate) last: Option<(i64, Value)>,
}

/// Which points.
#[derive(Debug, Clone, Default)]
pub(crate) struct PointsQuery {
    pub(crate) filter: Filter,
    pub(crate) tags: Vec<(String, String)>,
    /// First and last millisecond, both included.
    pub(crate) from: i64,
    pub(crate) to: i64,
    pub(crate) position: Option<Position>,
}

/// Where an answer ended: so many points of this series at this millisecond were given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) series: i64,
    pub(crate) ms: i64,
    pub(crate) given: usize,
}

/// Some points, and where to go on.
#[derive(Debug, Clone)]
pub(crate) struct PointsPage {
    pub(crate) series: Vec<(SeriesRow, Vec<(i64, Value)>)>,
    pub(crate) next: Option<Position>,
}

/// Everything an account has, counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Totals {
    pub(crate) plugins: i64,
    pub(crate) reports: i64,
    pub(crate) metrics: i64,
    pub(crate) rejected: i64,
    /// The largest difference of an agent's clock to the hub's, in milliseconds.
    pub(crate) skew_ms: i64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
pub(super) fn time<S: Serializer>(ms: &i64, s: S) -> Result<S::Ok, S::Error> {
    match Timestamp::from_millis(*ms) {
        Some(time) => time.serialize(s),
        None => s.serialize_none(),
    }
}

const RUN_COLUMNS: &str = "r.id, r.run, r.started_ms, r.duration, r.interval, r.outcome, r.status, \
    r.message, r.warnings, r.produced, r.accepted, r.rejected, r.skipped, r.leftovers, r.cpu, \
    r.max_rss, r.stdout, r.stderr, r.tail, r.replay_of";

/// Reads a run whose columns start at `at`.
fn run(row: &Row<'_>, at: usize, host: String, plugin: String) -> rusqlite::Result<RunRow> {
    let parsed = |column: usize| -> rusqlite::Result<Option<String>> { row.get(at + column) };
    let outcome: Option<String> = row.get(at + 5)?;
    let status: String = row.get(at + 6)?;
    Ok(RunRow {
        id: row.get(at)?,
        host,
        plugin,
        run: run_id(row, at + 1)?,
        started_ms: row.get(at + 2)?,
        duration: row.get(at + 3)?,
        interval: row.get(at + 4)?,
        outcome: outcome.map_or(Outcome::Exited { code: 0 }, |outcome| {
            serde_json::from_str(&outcome).unwrap_or(Outcome::Stopped)
        }),
        status: Status::from_word(&status).unwrap_or(Status::Unknown),
        message: row.get(at + 7)?,
        warnings: from_json(parsed(8)?),
        counts: Counted {
            produced: row.get(at + 9)?,
            accepted: row.get(at + 10)?,
            rejected: from_json(parsed(11)?),
        },
        skipped: row.get(at + 12)?,
        leftovers: row.get(at + 13)?,
        usage: Usage {
            cpu: row.get(at + 14)?,
            max_rss: row.get::<_, i64>(at + 15)? as u64,
            stdout: row.get::<_, i64>(at + 16)? as u64,
            stderr: row.get::<_, i64>(at + 17)? as u64,
        },
        stderr: row.get(at + 18)?,
        replay_of: row
            .get::<_, Option<[u8; 16]>>(at + 19)?
            .map(|bytes| RunId::from(uuid::Uuid::from_bytes(bytes))),
    })
}

fn run_id(row: &Row<'_>, column: usize) -> rusqlite::Result<RunId> {
    Ok(RunId::from(uuid::Uuid::from_bytes(row.get(column)?)))
}

fn from_json<T: Default + serde::de::DeserializeOwned>(text: Option<String>) -> T {
    text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
}

/// A table of what belongs to monitors.
pub(super) struct Listed<'a> {
    /// `SELECT … FROM …`, where the monitors are `m`; with the values of parameters of its own.
    pub(super) select: &'a str,
    pub(super) with: &'a [(&'a str, &'a dyn ToSql)],
    pub(super) order: Order,
}

/// By which column a listing is ordered, and so where [`Filter::after`] has it go on.
pub(super) enum Order {
    OldestFirst(&'static str),
    NewestFirst(&'static str),
}

/// The rows that `filter` lets through.
pub(super) fn list<T>(
    conn: &Connection,
    filter: &Filter,
    listed: &Listed<'_>,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    let (after, first, order) = match listed.order {
        Order::OldestFirst(id) => (format!("{id} > :after"), 0, format!("{id} ASC")),
        Order::NewestFirst(id) => (format!("{id} < :after"), i64::MAX, format!("{id} DESC")),
    };
    let mut statement = conn.prepare_cached(&format!(
        "{} WHERE m.account_id = :account AND m.plugin IS NOT NULL AND {after}
         AND (:host IS NULL OR m.host = :host) AND (:plugin IS NULL OR m.plugin = :plugin)
         ORDER BY {order} LIMIT :limit",
        listed.select
    ))?;
    let (after, limit) = (filter.after.unwrap_or(first), filter.limit as i64);
    let mut with: Vec<(&str, &dyn ToSql)> = vec![
        (":account", &filter.account),
        (":after", &after),
        (":host", &filter.host),
        (":plugin", &filter.plugin),
        (":limit", &limit),
    ];
    with.extend(listed.with);
    let rows = statement.query_map(with.as_slice(), read)?;
    rows.collect()
}

/// Plugins in the order in which the hub met them.
pub(crate) fn plugins(conn: &Connection, filter: &Filter) -> rusqlite::Result<Vec<PluginRow>> {
    let select = format!(
        "SELECT m.id, m.host, m.plugin, m.received_ms, m.reports, m.metrics, m.rejected,
         m.skipped, {RUN_COLUMNS}
         FROM monitors m LEFT JOIN runs r ON r.id = m.last_run"
    );
    let listed = Listed { select: &select, with: &[], order: Order::OldestFirst("m.id") };
    list(conn, filter, &listed, |row| {
        let host: String = row.get(1)?;
        let plugin: String = row.get(2)?;
        let ran = row.get::<_, Option<i64>>(8)?.is_some();
        Ok(PluginRow {
            id: row.get(0)?,
            received_ms: row.get(3)?,
            reports: row.get(4)?,
            metrics: row.get(5)?,
            rejected: row.get(6)?,
            skipped: row.get(7)?,
            last_run: if ran { Some(run(row, 8, host.clone(), plugin.clone())?) } else { None },
            host,
            plugin,
        })
    })
}

/// Runs, newest first.
pub(crate) fn runs(conn: &Connection, filter: &Filter) -> rusqlite::Result<Vec<RunRow>> {
    let select = format!(
        "SELECT m.host, m.plugin, {RUN_COLUMNS}
         FROM runs r JOIN monitors m ON m.id = r.monitor_id"
    );
    let listed = Listed { select: &select, with: &[], order: Order::NewestFirst("r.id") };
    list(conn, filter, &listed, |row| run(row, 2, row.get(0)?, row.get(1)?))
}

/// The newest runs of one monitor, along its chain. Where good runs were swept the chain goes on
/// with the bad ones that stay.
pub(crate) fn runs_of(
    conn: &Connection,
    plugin: &PluginRow,
    limit: usize,
) -> rusqlite::Result<Vec<RunRow>> {
    let mut statement = conn.prepare_cached(&format!(
        "WITH RECURSIVE chain(id, steps) AS (
             SELECT last_run, 1 FROM monitors WHERE id = ?1
             UNION ALL
             SELECT coalesce((SELECT id FROM runs WHERE id = b.before), b.bad_before), steps + 1
             FROM chain JOIN runs b ON b.id = chain.id WHERE steps < ?2
         )
         SELECT {RUN_COLUMNS} FROM chain JOIN runs r ON r.id = chain.id ORDER BY r.id DESC"
    ))?;
    let rows = statement.query_map(params![plugin.id, limit as i64], |row| {
        run(row, 0, plugin.host.clone(), plugin.plugin.clone())
    })?;
    rows.collect()
}

fn bare_series(conn: &Connection, filter: &Filter) -> rusqlite::Result<Vec<SeriesRow>> {
    // What a plugin printed is one thing, what is known of its runs another: that is there for those
    // who name it.
    let facts = format!("{RUN_FACTS}*");
    let select = format!(
        "SELECT {SERIES_COLUMNS} FROM series s JOIN monitors m ON m.id = s.monitor_id
         AND CASE WHEN :name IS NULL THEN s.name NOT GLOB :facts ELSE s.name = :name END"
    );
    let with: [(&str, &dyn ToSql); 2] = [(":name", &filter.name), (":facts", &facts)];
    let listed = Listed { select: &select, with: &with, order: Order::OldestFirst("s.id") };
    list(conn, filter, &listed, series_row)
}

/// What [`series_row`] reads, of series `s` and monitors `m`. A direct sender has no host and plugin.
pub(super) const SERIES_COLUMNS: &str = "s.id, coalesce(m.host, ''), coalesce(m.plugin, ''), \
    s.name, s.tags, s.kind, s.unit, s.label, s.warn, s.crit, s.min, s.max, s.last_ms, s.last_value";

pub(super) fn series_row(row: &Row<'_>) -> rusqlite::Result<SeriesRow> {
    let tags: String = row.get(4)?;
    let last_ms: Option<i64> = row.get(12)?;
    let last_value: Option<String> = row.get(13)?;
    Ok(SeriesRow {
        id: row.get(0)?,
        host: row.get(1)?,
        plugin: row.get(2)?,
        name: row.get(3)?,
        tags: from_json(Some(tags)),
        kind: row.get(5)?,
        unit: row.get(6)?,
        label: row.get(7)?,
        warn: row.get(8)?,
        crit: row.get(9)?,
        min: row.get(10)?,
        max: row.get(11)?,
        last: last_ms.zip(last_value.and_then(|v| serde_json::from_str(&v).ok())),
    })
}

/// Series with their last values, in the order in which the hub met them.
pub(crate) fn series(conn: &Connection, filter: &Filter) -> rusqlite::Result<Vec<SeriesRow>> {
    let mut found = bare_series(conn, filter)?;
    let mut newest: HashMap<i64, (i64, Value), RandomState> =
        found.iter_mut().map(|s| (s.id, s.last.take().unwrap_or((i64::MIN, Value::Gap)))).collect();
    points::newest(conn, &mut newest)?;
    for series in &mut found {
        series.last = newest.remove(&series.id).filter(|(ms, _)| *ms > i64::MIN);
    }
    Ok(found)
}

/// Points by series and time.
pub(crate) fn points(conn: &Connection, query: &PointsQuery) -> rusqlite::Result<PointsPage> {
    let mut filter = query.filter.clone();
    let mut room = filter.limit;
    filter.limit = SERIES_A_PAGE;
    // The series in which the last answer ended comes again.
    filter.after = query.position.map(|p| p.series - 1);
    let mut candidates = bare_series(conn, &filter)?;
    let last_candidate =
        (candidates.len() == SERIES_A_PAGE).then(|| candidates.last().map(|s| s.id)).flatten();
    candidates
        .retain(|s| query.tags.iter().all(|(key, value)| s.tags.get(key) == Some(value.as_str())));
    let mut scan = Scan::new(conn, candidates.iter().map(|s| s.id), query.from..=query.to)?;
    let mut page = PointsPage { series: Vec::new(), next: None };
    for series in candidates {
        let id = series.id;
        let (mut from, mut given) = (query.from, 0);
        if let Some(position) = query.position.filter(|p| p.series == id) {
            (from, given) = (position.ms.max(query.from), position.given);
        }
        let mut points = scan.first(id, from..=query.to, given + room + 1)?;
        points.drain(..given.min(points.len()));
        if points.len() > room {
            points.truncate(room);
            let (ms, mut count) = points.last().map_or((from, given), |(last, _)| {
                (*last, points.iter().rev().take_while(|(ms, _)| ms == last).count())
            });
            if ms == from {
                count = count.max(given + points.iter().filter(|(at, _)| *at == ms).count());
            }
            page.next = Some(Position { series: id, ms, given: count });
        }
        room -= points.len();
        if !points.is_empty() {
            page.series.push((series, points));
        }
        if page.next.is_some() {
            return Ok(page);
        }
    }
    page.next = last_candidate.map(|id| Position { series: id + 1, ms: i64::MIN, given: 0 });
    Ok(page)
}

/// What an account has, counted.
pub(crate) fn totals(conn: &Connection, account: i64) -> rusqlite::Result<Totals> {
    let skew_ms = conn.query_row(
        "SELECT coalesce(max(abs(skew_ms)), 0) FROM agents WHERE account_id = ?1",
        [account],
        |row| row.get(0),
    )?;
    conn.query_row(
        "SELECT count(*), coalesce(sum(reports), 0), coalesce(sum(metrics), 0),
         CAST(min(total(rejected), 9e18) AS INTEGER) FROM monitors
         WHERE account_id = ?1 AND plugin IS NOT NULL",
        [account],
        |row| {
            Ok(Totals {
                plugins: row.get(0)?,
                reports: row.get(1)?,
                metrics: row.get(2)?,
                rejected: row.get(3)?,
                skew_ms,
            })
        },
    )
}
