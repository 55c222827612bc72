//! What the writing side remembers of monitors and series, so that a batch of known ones costs no
//! look-ups. Forgotten whenever a transaction fails, and when it grows too large.

use std::collections::HashMap;
use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use rusqlite::{Connection, params};

use crate::hub::scalar::Scalar;
use crate::hub::wire::{Given, Metric, Report, Text};
use crate::model::{RunFact, RunFacts};

use super::error::{AppendError, StoreError};

/// Series, and monitors, known without asking the database. Beyond, all are learnt anew.
const SERIES: usize = 100_000;
const MONITORS: usize = 20_000;
/// Metrics of a report that are known by their place in it.
const TOLD: usize = 32;

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
    /// The series of its runs' facts, in the order of [`RunFacts::NAMES`]; 0 where not known.
    facts: [i64; RunFacts::NAMES.len()],
    told: Told,
}

/// What a monitor's last report listed, one metric after the other: mostly the next one lists the
/// same, and then nothing has to be looked up.
#[derive(Default)]
struct Told {
    /// The keys and faces, one behind the other.
    bytes: Vec<u8>,
    /// Where each of them ends, and the series that it stands for.
    ids: Vec<(u32, i64)>,
}

impl Told {
    /// The series that stood at this place, if it is the same.
    fn nth(&self, nth: usize, key: &[u8]) -> Option<i64> {
        let (end, id) = *self.ids.get(nth)?;
        (self.bytes.get(self.start(nth)..end as usize)? == key).then_some(id)
    }

    fn start(&self, nth: usize) -> usize {
        nth.checked_sub(1)
            .and_then(|before| self.ids.get(before))
            .map_or(0, |(end, _)| *end as usize)
    }

    /// Takes down what stands at this place now; what stood behind it is forgotten.
    fn note(&mut self, nth: usize, key: &[u8], id: i64) {
        if nth > self.ids.len() || nth >= TOLD {
            return;
        }
        self.bytes.truncate(self.start(nth));
        self.ids.truncate(nth);
        self.bytes.extend_from_slice(key);
        self.ids.push((self.bytes.len() as u32, id));
    }
}

/// Where a monitor is remembered, until the end of the batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place(usize);

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
    ) -> Result<(Place, &mut Monitor), AppendError> {
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
        Ok((Place(place), monitor))
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

    /// The id of the series of a monitor's `nth` metric, made or changed where need be.
    pub(super) fn series(
        &mut self,
        conn: &Connection,
        place: Place,
        nth: usize,
        metric: &Metric<'_>,
        tags: &[(Text<'_>, Text<'_>)],
    ) -> Result<i64, AppendError> {
        let identity = self.write_key(metric, tags);
        let Some(monitor) = self.monitors.get(place.0) else { return Err(nowhere()) };
        if let Some(id) = monitor.told.nth(nth, &self.key) {
            return Ok(id);
        }
        let id = self.look_up(conn, monitor.id, identity, metric, tags)?;
        if let Some(monitor) = self.monitors.get_mut(place.0) {
            monitor.told.note(nth, &self.key, id);
        }
        Ok(id)
    }

    /// The id of the series of a metric of any monitor, made or changed where need be.
    pub(super) fn series_of(
        &mut self,
        conn: &Connection,
        monitor: i64,
        metric: &Metric<'_>,
        tags: &[(Text<'_>, Text<'_>)],
    ) -> Result<i64, AppendError> {
        let identity = self.write_key(metric, tags);
        // Should it be an agent's plugin as well, its metrics may not be what they were.
        if let Some(monitor) = self.monitors.iter_mut().find(|known| known.id == monitor) {
            monitor.told = Told::default();
        }
        self.look_up(conn, monitor, identity, metric, tags)
    }

    /// Writes a metric's key, and behind it its face, into `self.key`. Gives where the key ends.
    fn write_key(&mut self, metric: &Metric<'_>, tags: &[(Text<'_>, Text<'_>)]) -> usize {
        self.key.clear();
        put(&mut self.key, &metric.name);
        for (key, value) in tags {
            put(&mut self.key, key);
            put(&mut self.key, value);
        }
        let identity = self.key.len();
        put_face(&mut self.key, metric);
        identity
    }

    /// The series whose key and face are in `self.key`, of which the key ends at `identity`.
    fn look_up(
        &mut self,
        conn: &Connection,
        monitor: i64,
        identity: usize,
        metric: &Metric<'_>,
        tags: &[(Text<'_>, Text<'_>)],
    ) -> Result<i64, AppendError> {
        let (identity, face) = self.key.split_at(identity);
        let face = self.hasher.hash_one(face);
        let identity = [&monitor.to_le_bytes(), identity].concat();
        match self.series.get(identity.as_slice()) {
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

    /// The series of a fact of the monitor's runs, and where to go on for the next fact.
    pub(super) fn fact(
        &mut self,
        conn: &Connection,
        place: Place,
        from: usize,
        fact: &RunFact,
    ) -> Result<(i64, usize), AppendError> {
        let nth = RunFacts::NAMES.iter().skip(from).position(|name| *name == fact.name);
        let nth = from + nth.unwrap_or(0);
        let Some(monitor) = self.monitors.get(place.0) else { return Err(nowhere()) };
        match monitor.facts.get(nth) {
            Some(0) | None => {}
            Some(id) => return Ok((*id, nth + 1)),
        }
        let metric = Metric {
            name: fact.name.into(),
            value: Given::Plain((&fact.value).into()),
            kind: fact.kind,
            unit: fact.unit.map(Into::into),
            label: Some(fact.label.into()),
            tags: 0..0,
            time: None,
            warn: None,
            crit: None,
            min: None,
            max: None,
        };
        let id = upsert_series(conn, monitor.id, &metric, &[])?;
        if let Some(known) = self.monitors.get_mut(place.0).and_then(|m| m.facts.get_mut(nth)) {
            *known = id;
        }
        Ok((id, nth + 1))
    }
}

/// A place that no monitor has; [`Known::monitor`] gives no such.
fn nowhere() -> AppendError {
    AppendError::Store(StoreError::Defect)
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
