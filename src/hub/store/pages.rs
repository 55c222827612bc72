//! Reading for the pages: everything at a glance, and what the hub is like itself.

use std::collections::{HashMap, HashSet};

use foldhash::fast::RandomState;
use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;

use crate::model::{Outcome, RUN_FACTS, Status, ToldContract, Value};

use super::points::{self, Sizes};
use super::query::{SERIES_COLUMNS, SeriesRow, series_row, time};

/// Runs looked at for how long a plugin is used to be quiet.
const GAPS: i64 = 120;
/// Runs looked at for how much comes in, and over how long a time, in milliseconds.
const RATED: i64 = 20_000;
pub(crate) const RATED_MS: i64 = 5 * 60_000;

/// A monitor as the overview shows it.
#[derive(Debug, Clone)]
pub(crate) struct Card {
    pub(crate) id: i64,
    /// Of an agent's plugin: where, and what.
    pub(crate) place: Option<(String, String)>,
    /// Its own name, which direct senders have.
    pub(crate) name: Option<String>,
    pub(crate) tags: Vec<String>,
    pub(crate) received_ms: i64,
    pub(crate) metrics: i64,
    pub(crate) rejected: i64,
    pub(crate) suspended: bool,
    pub(crate) run: Option<CardRun>,
}

/// What of its last run the overview shows.
#[derive(Debug, Clone)]
pub(crate) struct CardRun {
    pub(crate) started_ms: i64,
    /// When the one before it started, where that is still known.
    pub(crate) before_ms: Option<i64>,
    pub(crate) duration: f64,
    /// The longest time that should lie between two runs, in seconds: the run's interval, or what
    /// the plugin's contract says.
    pub(crate) interval: Option<f64>,
    pub(crate) outcome: Outcome,
    pub(crate) status: Status,
    pub(crate) message: Option<String>,
    pub(crate) refused: bool,
}

/// All monitors of an account that have something to show, in the order in which the hub met them.
pub(crate) fn cards(conn: &Connection, account: i64) -> rusqlite::Result<Vec<Card>> {
    let mut statement = conn.prepare_cached(
        "SELECT m.id, m.host, m.plugin, m.name, m.tags, m.received_ms, m.metrics, m.rejected,
             m.suspended_ms IS NOT NULL, r.started_ms,
             (SELECT b.started_ms FROM runs b WHERE b.id = r.before), r.duration,
             coalesce(r.interval, c.apart), r.outcome, r.status, r.message, r.rejected IS NOT NULL
         FROM monitors m LEFT JOIN runs r ON r.id = m.last_run
             LEFT JOIN contracts c ON c.monitor_id = m.id
         WHERE m.account_id = ?1 ORDER BY m.id",
    )?;
    let rows = statement.query_map([account], |row| {
        let host: Option<String> = row.get(1)?;
        let plugin: Option<String> = row.get(2)?;
        let tags: Option<String> = row.get(4)?;
        let started_ms: Option<i64> = row.get(9)?;
        let run = match started_ms {
            None => None,
            Some(started_ms) => {
                let outcome: Option<String> = row.get(13)?;
                let status: String = row.get(14)?;
                Some(CardRun {
                    started_ms,
                    before_ms: row.get(10)?,
                    duration: row.get(11)?,
                    interval: row.get(12)?,
                    outcome: outcome.map_or(Outcome::Exited { code: 0 }, |outcome| {
                        serde_json::from_str(&outcome).unwrap_or(Outcome::Stopped)
                    }),
                    status: Status::from_word(&status).unwrap_or(Status::Unknown),
                    message: row.get(15)?,
                    refused: row.get(16)?,
                })
            }
        };
        Ok(Card {
            id: row.get(0)?,
            place: host.zip(plugin),
            name: row.get(3)?,
            tags: tags.and_then(|tags| serde_json::from_str(&tags).ok()).unwrap_or_default(),
            received_ms: row.get(5)?,
            metrics: row.get(6)?,
            rejected: row.get(7)?,
            suspended: row.get(8)?,
            run,
        })
    })?;
    rows.collect()
}

/// What a plugin declares.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ContractRow {
    pub(crate) host: String,
    pub(crate) plugin: String,
    /// When the hub last heard of it.
    #[serde(rename = "received", serialize_with = "time")]
    pub(crate) received_ms: i64,
    pub(crate) contract: ToldContract,
}

/// What the plugin on a host declares, where its reports have told.
pub(crate) fn contract(
    conn: &Connection,
    account: i64,
    host: &str,
    plugin: &str,
) -> rusqlite::Result<Option<ContractRow>> {
    let found: Option<(i64, String)> = conn
        .prepare_cached(
            "SELECT c.received_ms, c.body FROM contracts c JOIN monitors m ON m.id = c.monitor_id
             WHERE m.account_id = ?1 AND m.host = ?2 AND m.plugin = ?3",
        )?
        .query_row(params![account, host, plugin], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    Ok(found.and_then(|(received_ms, body)| {
        let contract = serde_json::from_str(&body).ok()?;
        Some(ContractRow {
            host: host.to_owned(),
            plugin: plugin.to_owned(),
            received_ms,
            contract,
        })
    }))
}

/// Whether a monitor takes no results for now.
pub(crate) fn is_suspended(conn: &Connection, monitor: i64) -> rusqlite::Result<bool> {
    conn.prepare_cached("SELECT suspended_ms IS NOT NULL FROM monitors WHERE id = ?1")?
        .query_row([monitor], |row| row.get(0))
}

/// The longest time between two of a monitor's last runs, in milliseconds; `None` below three runs.
pub(crate) fn longest_gap(conn: &Connection, monitor: i64) -> rusqlite::Result<Option<i64>> {
    let mut statement = conn.prepare_cached(
        "WITH RECURSIVE chain(id, steps) AS (
             SELECT last_run, 1 FROM monitors WHERE id = ?1
             UNION ALL
             SELECT b.before, steps + 1 FROM chain JOIN runs b ON b.id = chain.id WHERE steps < ?2
         )
         SELECT r.started_ms FROM chain JOIN runs r ON r.id = chain.id
         WHERE r.replay_of IS NULL",
    )?;
    let started = statement.query_map(params![monitor, GAPS], |row| row.get(0))?;
    let mut started: Vec<i64> = started.collect::<rusqlite::Result<_>>()?;
    started.sort_unstable();
    let gaps = started.windows(2).map(|pair| pair[1] - pair[0]);
    Ok(gaps.max().filter(|_| started.len() >= 3))
}

/// Monitors with a series whose tags say `text`: `key=value`, or a part of a key or value.
pub(crate) fn tagged(
    conn: &Connection,
    account: i64,
    text: &str,
) -> rusqlite::Result<HashSet<i64, RandomState>> {
    let needle = match text.split_once('=') {
        Some((key, value)) => {
            let quoted = |text: &str| serde_json::to_string(text).unwrap_or_default();
            format!("{}:{}", quoted(key), quoted(value))
        }
        None => text.to_owned(),
    };
    let mut statement = conn.prepare_cached(
        "SELECT DISTINCT s.monitor_id FROM series s JOIN monitors m ON m.id = s.monitor_id
         WHERE m.account_id = ?1 AND instr(lower(s.tags), lower(?2)) > 0",
    )?;
    let rows = statement.query_map(params![account, needle], |row| row.get(0))?;
    rows.collect()
}

/// Which series of a monitor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// What the plugin printed.
    Printed,
    /// What is known of its runs.
    Facts,
}

/// The first `each` series of every one of `monitors`, in the order in which the hub met
/// them, with their last values; and how
/// many there are.
pub(crate) fn series_of(
    conn: &Connection,
    monitors: &[i64],
    kept: Kept,
    each: usize,
) -> rusqlite::Result<HashMap<i64, (Vec<SeriesRow>, usize), RandomState>> {
    let facts = format!("{RUN_FACTS}*");
    let which = match kept {
        Kept::Printed => "NOT GLOB",
        Kept::Facts => "GLOB",
    };
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {SERIES_COLUMNS} FROM series s JOIN monitors m ON m.id = s.monitor_id
         WHERE s.monitor_id = ?1 AND s.name {which} ?2 ORDER BY s.id LIMIT ?3"
    ))?;
    let mut count = conn.prepare_cached(&format!(
        "SELECT count(*) FROM series WHERE monitor_id = ?1 AND name {which} ?2"
    ))?;
    let mut found: HashMap<i64, (Vec<SeriesRow>, usize), RandomState> = HashMap::default();
    let mut newest: HashMap<i64, (i64, Value), RandomState> = HashMap::default();
    for monitor in monitors {
        let rows = statement.query_map(params![monitor, facts, each as i64], series_row)?;
        let mut rows: Vec<SeriesRow> = rows.collect::<rusqlite::Result<_>>()?;
        let all = if rows.len() < each {
            rows.len()
        } else {
            count.query_row(params![monitor, facts], |row| row.get::<_, i64>(0))? as usize
        };
        let last = |s: &mut SeriesRow| (s.id, s.last.take().unwrap_or((i64::MIN, Value::Gap)));
        newest.extend(rows.iter_mut().map(last));
        found.insert(*monitor, (rows, all));
    }
    points::newest(conn, &mut newest)?;
    for series in found.values_mut().flat_map(|(rows, _)| rows) {
        series.last = newest.remove(&series.id).filter(|(ms, _)| *ms > i64::MIN);
    }
    Ok(found)
}

/// One agent and what it sends.
#[derive(Debug, Clone)]
pub(crate) struct AgentRow {
    pub(crate) agent: String,
    pub(crate) host: String,
    pub(crate) version: String,
    pub(crate) received_ms: i64,
    /// Its clock's difference to the hub's, in milliseconds.
    pub(crate) skew_ms: i64,
    pub(crate) streams: Vec<StreamRow>,
}

/// One stream of its.
#[derive(Debug, Clone)]
pub(crate) struct StreamRow {
    pub(crate) output: String,
    pub(crate) through: i64,
    pub(crate) received_ms: i64,
}

/// What the hub is like.
#[derive(Debug, Clone)]
pub(crate) struct Health {
    /// Bytes of the database's pages, and of those that are free.
    pub(crate) size: u64,
    pub(crate) free: u64,
    pub(crate) points: Sizes,
    pub(crate) series: i64,
    pub(crate) runs: i64,
    pub(crate) rejections: i64,
    /// Reports and metrics of the last minutes, and how many milliseconds they are of.
    pub(crate) recent: (i64, i64),
    pub(crate) recent_ms: i64,
    pub(crate) agents: Vec<AgentRow>,
}

/// Looks at the database itself, and who sends to it.
pub(crate) fn health(conn: &Connection, account: i64, now: i64) -> rusqlite::Result<Health> {
    let pragma = |name: &str| conn.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let page = pragma("page_size")?;
    let one = |sql: &str| conn.query_row(sql, (), |row| row.get::<_, i64>(0));
    let points = points::sizes(conn)?;
    // Runs are in the order in which they came, and there is no index by time.
    let recent = conn.query_row(
        "SELECT count(*), coalesce(sum(accepted), 0), min(started_ms) FROM
             (SELECT started_ms, accepted FROM runs ORDER BY id DESC LIMIT ?1)
         WHERE started_ms > ?2 AND started_ms <= ?3",
        params![RATED, now - RATED_MS, now],
        |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, Option<i64>>(2)?)),
    )?;
    // Where there is more than is looked at, what is looked at is of a shorter time.
    let recent_ms = if recent.0 >= RATED {
        recent.2.map_or(RATED_MS, |first| (now - first).max(1))
    } else {
        RATED_MS
    };
    Ok(Health {
        size: (pragma("page_count")? * page) as u64,
        free: (pragma("freelist_count")? * page) as u64,
        points,
        series: one("SELECT count(*) FROM series")?,
        runs: one("SELECT count(*) FROM runs")?,
        rejections: one("SELECT count(*) FROM rejections")?,
        recent: (recent.0, recent.1),
        recent_ms,
        agents: agents(conn, account)?,
    })
}

fn agents(conn: &Connection, account: i64) -> rusqlite::Result<Vec<AgentRow>> {
    let mut streams = conn.prepare_cached(
        "SELECT output, through, received_ms FROM streams
         WHERE account_id = ?1 AND spool = ?2 ORDER BY output",
    )?;
    let mut statement = conn.prepare_cached(
        "SELECT agent, host, version, spool, received_ms, skew_ms FROM agents
         WHERE account_id = ?1 ORDER BY host, received_ms DESC LIMIT 2000",
    )?;
    let mut rows = statement.query([account])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let spool: String = row.get(3)?;
        let of_agent = streams.query_map(params![account, spool], |row| {
            Ok(StreamRow { output: row.get(0)?, through: row.get(1)?, received_ms: row.get(2)? })
        })?;
        found.push(AgentRow {
            agent: row.get(0)?,
            host: row.get(1)?,
            version: row.get(2)?,
            received_ms: row.get(4)?,
            skew_ms: row.get(5)?,
            streams: of_agent.collect::<rusqlite::Result<_>>()?,
        });
    }
    Ok(found)
}
