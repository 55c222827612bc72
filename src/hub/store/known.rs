//! What the writing side remembers of monitors and series, so that a batch of known ones costs no
//! look-ups. Forgotten whenever a transaction fails, and when it grows too large.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use rusqlite::{Connection, params};

use crate::hub::scalar::Scalar;
use crate::hub::wire::{Given, Metric, Report, Text};

use super::error::AppendError;

/// Series, and monitors, known without asking the database. Beyond, all are learnt anew.
const SERIES: usize = 100_000;
const MONITORS: usize = 20_000;

type Map<V> = HashMap<Box<[u8]>, V, RandomState>;

#[derive(Default)]
pub(super) struct Known {
    places: Map<usize>,
    monitors: Vec<Monitor>,
    /// Those of this batch, as places in `monitors`.
    touched: Vec<usize>,
    series: Map<Series>,
    hasher: RandomState,
    key: Vec<u8>,
}

/// A monitor, and what the batch at hand adds to it.
#[derive(Default)]
pub(super) struct Monitor {
    pub(super) id: i64,
    /// Where its chain of runs ends, and how many there were.
    pub(super) last_run: Option<i64>,
    pub(super) last_bad: Option<i64>,
    pub(super) reports: i64,
    pub(super) metrics: i64,
    pub(super) rejected: i64,
    pub(super) skipped: i64,
    /// Whether it takes no reports now.
    pub(super) suspended: bool,
    touched: bool,
}

#[derive(Clone, Copy)]
struct Series {
    id: i64,
    /// Hash of what may change while it stays the same series: type, unit, label, marks, range.
    face: u64,
}

impl Known {
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Makes room before a batch.
    pub(super) fn begin(&mut self) {
        if self.monitors.len() >= MONITORS {
            self.forget();
        }
        self.touched.clear();
    }

    /// The monitor of a report, made where there was none.
    pub(super) fn monitor(
        &mut self,
        conn: &Connection,
        account: i64,
        report: &Report<'_>,
        now: i64,
    ) -> Result<&mut Monitor, AppendError> {
        self.key.clear();
        self.key.extend_from_slice(&account.to_le_bytes());
        put(&mut self.key, &report.host);
        put(&mut self.key, &report.plugin);
        let place = if let Some(place) = self.places.get(self.key.as_slice()) {
            *place
        } else {
            let monitor = upsert_monitor(conn, account, report, now)?;
            self.monitors.push(monitor);
            let place = self.monitors.len() - 1;
            self.places.insert(self.key.as_slice().into(), place);
            place
        };
        let monitor = &mut self.monitors[place];
        if !monitor.touched {
            monitor.touched = true;
            self.touched.push(place);
        }
        Ok(monitor)
    }

    /// The monitors of this batch, each to be written back and then forgotten as touched.
    pub(super) fn touched(&mut self) -> impl Iterator<Item = &mut Monitor> {
        // In the order of their ids, which is that of the table.
        self.touched.sort_unstable();
        self.touched.dedup();
        let mut rest = self.monitors.as_mut_slice();
        let mut passed = 0;
        self.touched.iter().filter_map(move |place| {
            let slice = std::mem::take(&mut rest);
            let (_, from) = slice.split_at_mut_checked(place - passed)?;
            let (monitor, after) = from.split_first_mut()?;
            rest = after;
            passed = place + 1;
            monitor.touched = false;
            Some(monitor)
        })
    }

    /// The id of a metric's series, made or changed where need be.
    pub(super) fn series(
        &mut self,
        conn: &Connection,
        monitor: i64,
        metric: &Metric<'_>,
        tags: &[(Text<'_>, Text<'_>)],
    ) -> Result<i64, AppendError> {
        use std::hash::BuildHasher;

        self.key.clear();
        self.key.extend_from_slice(&monitor.to_le_bytes());
        put(&mut self.key, &metric.name);
        for (key, value) in tags {
            put(&mut self.key, key);
            put(&mut self.key, value);
        }
        let identity = self.key.len();
        put_face(&mut self.key, metric);
        let (identity, face) = self.key.split_at(identity);
        let face = self.hasher.hash_one(face);
        match self.series.get(identity) {
            Some(known) if known.face == face => return Ok(known.id),
            _ => {}
        }
        let id = upsert_series(conn, monitor, metric, tags)?;
        if self.series.len() >= SERIES {
            self.series = Map::default();
        }
        self.series.insert(identity.into(), Series { id, face });
        Ok(id)
    }
}

/// A text with its length, so that two texts are never taken for two others.
fn put(key: &mut Vec<u8>, text: &str) {
    key.extend_from_slice(&(text.len() as u16).to_le_bytes());
    key.extend_from_slice(text.as_bytes());
}

fn put_face(key: &mut Vec<u8>, metric: &Metric<'_>) {
    key.push(metric.kind as u8);
    for text in [&metric.unit, &metric.label] {
        match text {
            None => key.push(0),
            Some(text) => {
                key.push(1);
                put(key, text);
            }
        }
    }
    for mark in [&metric.warn, &metric.crit] {
        match mark.as_ref().map(Given::scalar) {
            None | Some(Scalar::Gap) => key.push(0),
            Some(Scalar::Text(text)) => {
                key.push(1);
                put(key, text);
            }
            Some(Scalar::Signed(n)) => put_bits(key, 2, n as u64),
            Some(Scalar::Unsigned(n)) => put_bits(key, 3, n),
            Some(Scalar::Float(x)) => put_bits(key, 4, x.to_bits()),
            Some(Scalar::Boolean(b)) => put_bits(key, 5, u64::from(b)),
        }
    }
    for bound in [metric.min, metric.max] {
        match bound {
            None => key.push(0),
            Some(x) => put_bits(key, 1, x.to_bits()),
        }
    }
}

fn put_bits(key: &mut Vec<u8>, mark: u8, bits: u64) {
    key.push(mark);
    key.extend_from_slice(&bits.to_le_bytes());
}

fn upsert_monitor(
    conn: &Connection,
    account: i64,
    report: &Report<'_>,
    now: i64,
) -> Result<Monitor, AppendError> {
    Ok(conn
        .prepare_cached(
            "INSERT INTO monitors (account_id, host, plugin, created_ms, received_ms)
             VALUES (?1, ?2, ?3, ?4, ?4)
             ON CONFLICT DO UPDATE SET account_id = account_id
             RETURNING id, last_run, last_bad, reports, suspended_ms IS NOT NULL",
        )?
        .query_row(params![account, &*report.host, &*report.plugin, now], |row| {
            Ok(Monitor {
                id: row.get(0)?,
                last_run: row.get(1)?,
                last_bad: row.get(2)?,
                reports: row.get(3)?,
                suspended: row.get(4)?,
                ..Monitor::default()
            })
        })?)
}

fn upsert_series(
    conn: &Connection,
    monitor: i64,
    metric: &Metric<'_>,
    tags: &[(Text<'_>, Text<'_>)],
) -> Result<i64, AppendError> {
    let tags: crate::model::Tags = tags.iter().map(|(k, v)| (&**k, &**v)).collect();
    let mark = |given: &Option<Given<'_>>| match given.as_ref().map(Given::scalar) {
        None | Some(Scalar::Gap) => None,
        Some(scalar) => Some(scalar.to_value().to_string()),
    };
    Ok(conn
        .prepare_cached(
            "INSERT INTO series (monitor_id, name, tags, kind, unit, label, warn, crit, min, max)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
             ON CONFLICT DO UPDATE SET kind = ?4, unit = ?5, label = ?6, warn = ?7, crit = ?8,
             min = ?9, max = ?10 RETURNING id",
        )?
        .query_row(
            params![
                monitor,
                &*metric.name,
                super::json(&tags),
                metric.kind.as_str(),
                metric.unit.as_deref(),
                metric.label.as_deref(),
                mark(&metric.warn),
                mark(&metric.crit),
                metric.min,
                metric.max
            ],
            |row| row.get(0),
        )?)
}
