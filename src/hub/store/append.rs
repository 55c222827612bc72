//! Taking a batch in: one transaction for its reports, their points and the stream's mark.
//!
//! Points are appended as they come, one raw block per batch. An index per point would cost twenty
//! times as much; instead [`super::compact`] sorts many blocks into chunks, one entry per chunk.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{DefaultHasher, Hash, Hasher};

use rusqlite::{Connection, OptionalExtension, params};

use crate::hub::wire::{self, Fault, Metric, Report};
use crate::model::{BatchReply, Refused, Seq, Status};

use super::codec::{RawBlock, Scalar};
use super::{Limits, StoreError};

/// Series known without asking the database. Beyond, all are forgotten and learnt anew.
const SERIES_CACHED: usize = 200_000;
/// Points after which the raw block is written, so that a large batch does not fill the memory.
const BLOCK_POINTS: usize = 16_384;

/// Why a batch was not taken. Nothing of it is stored then.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AppendError {
    #[error("the body is not a batch of reports")]
    Body(Fault),
    #[error("the agent says version {0}")]
    BodyOf(String, Fault),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<rusqlite::Error> for AppendError {
    fn from(source: rusqlite::Error) -> Self {
        Self::Store(StoreError::Sqlite { action: "store a batch in", source })
    }
}

/// The side of the store that changes it. Lives on one thread.
pub(crate) struct Writer {
    pub(super) conn: Connection,
    pub(super) limits: Limits,
    series: HashMap<Box<[u8]>, KnownSeries>,
    monitors: HashMap<(i64, Box<str>, Box<str>), i64>,
    block: RawBlock,
    identity: Vec<u8>,
    /// What waits for compaction.
    pub(super) raw_points: u64,
    pub(super) raw_rows: u64,
    /// Batches with rejections of each monitor since those were last trimmed.
    pub(super) untrimmed: HashMap<i64, u32>,
    /// Runs since the last sweep, and where it ended.
    pub(super) unswept: u64,
    pub(super) swept: i64,
}

#[derive(Clone, Copy)]
struct KnownSeries {
    id: i64,
    /// Hash of type, unit, label, marks and range, to notice a change.
    face: u64,
}

/// What one batch adds to a monitor.
#[derive(Default)]
struct Added {
    last_run: Option<i64>,
    last_bad: Option<i64>,
    /// Of all batches.
    reports: i64,
    metrics: i64,
    rejected: i64,
    skipped: i64,
}

impl Writer {
    pub(super) fn new(conn: Connection, limits: Limits) -> Result<Self, StoreError> {
        let (raw_points, raw_rows) = conn
            .query_row("SELECT coalesce(sum(points), 0), count(*) FROM raw", (), |row| {
                Ok((row.get::<_, i64>(0)? as u64, row.get::<_, i64>(1)? as u64))
            })
            .map_err(|source| StoreError::Sqlite { action: "open", source })?;
        Ok(Self {
            conn,
            limits,
            series: HashMap::new(),
            monitors: HashMap::new(),
            block: RawBlock::default(),
            identity: Vec::new(),
            raw_points,
            raw_rows,
            untrimmed: HashMap::new(),
            unswept: 0,
            swept: 0,
        })
    }

    /// The connection, for what is not about results.
    pub(crate) fn conn(&mut self) -> &mut Connection {
        &mut self.conn
    }

    /// Forgets what was learnt in a transaction that did not come to pass.
    pub(super) fn forget(&mut self) {
        self.series.clear();
        self.monitors.clear();
        self.block.clear();
    }

    /// Stores what is new in `body`, durably, and moves the stream's mark, or changes nothing.
    pub(crate) fn append(
        &mut self,
        account: i64,
        body: &str,
        now: i64,
    ) -> Result<BatchReply, AppendError> {
        let batch = wire::batch(body).map_err(AppendError::Body)?;
        self.room()?;
        self.conn.execute_batch("BEGIN IMMEDIATE")?;
        let done = self.append_in_transaction(account, body, &batch, now).and_then(|appended| {
            self.conn.execute_batch("COMMIT")?;
            Ok(appended)
        });
        match done {
            Ok(appended) => {
                self.raw_points += appended.points;
                self.raw_rows += appended.blocks;
                self.unswept += appended.reply.accepted;
                Ok(appended.reply)
            }
            Err(error) => {
                self.forget();
                if !self.conn.is_autocommit() {
                    self.conn.execute_batch("ROLLBACK")?;
                }
                Err(match error {
                    AppendError::Body(fault) => {
                        AppendError::BodyOf(batch.agent.version.to_string(), fault)
                    }
                    other => other,
                })
            }
        }
    }

    fn append_in_transaction(
        &mut self,
        account: i64,
        body: &str,
        batch: &wire::Batch<'_>,
        now: i64,
    ) -> Result<Appended, AppendError> {
        let spool = batch.agent.spool.to_string();
        let mark = mark(&self.conn, account, &spool, &batch.output)?;
        let mut through = mark;
        let mut reply =
            BatchReply { through: Seq(mark), accepted: 0, duplicates: 0, refused: Vec::new() };
        let mut added: HashMap<i64, Added> = HashMap::new();
        let (mut points, mut blocks) = (0, 0);
        self.block.clear();
        let mut before = 0;
        for (index, raw) in batch.reports.iter().enumerate() {
            let report = wire::report(body, raw, index).map_err(AppendError::Body)?;
            let seq = report.seq.0;
            if seq <= before {
                return Err(AppendError::Body(Fault {
                    kind: wire::FaultKind::Shape,
                    message: format!("seq {seq} after seq {before}; send reports in order"),
                    pointer: format!("/reports/{index}/seq"),
                    line: 0,
                    column: 0,
                    report: Some((index, Some(seq))),
                }));
            }
            before = seq;
            if seq <= mark {
                reply.duplicates += 1;
                continue;
            }
            through = seq;
            if let Some(refused) = self.refuse(account, &report)? {
                reply.refused.push(refused);
                continue;
            }
            reply.accepted += 1;
            let monitor = self.monitor(account, &report, now)?;
            let entry = match added.entry(monitor) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(first) => first.insert(so_far(&self.conn, monitor)?),
            };
            entry.reports += 1;
            insert_run(&self.conn, monitor, entry, &report)?;
            for metric in &report.metrics {
                let series = self.series(monitor, metric)?;
                let ms = metric.time.unwrap_or(report.started).millis();
                self.block.push(series, ms, metric.value.scalar());
            }
            entry.metrics += report.metrics.len() as i64;
            entry.rejected = entry.rejected.saturating_add_unsigned(report.counts.rejected_total());
            entry.skipped = entry.skipped.saturating_add_unsigned(report.skipped);
            if self.block.points() >= BLOCK_POINTS {
                points += self.flush_block()?;
                blocks += 1;
            }
        }
        if self.block.points() > 0 {
            points += self.flush_block()?;
            blocks += 1;
        }
        for (monitor, added) in added {
            if added.rejected > 0 {
                let untrimmed = self.untrimmed.entry(monitor).or_default();
                *untrimmed = untrimmed.saturating_add(1);
            }
            self.conn
                .prepare_cached(
                    "UPDATE monitors SET received_ms = ?2, last_run = ?3, reports = ?4,
                     metrics = metrics + ?5, rejected = rejected + ?6, skipped = skipped + ?7,
                     last_bad = ?8 WHERE id = ?1",
                )?
                .execute(params![
                    monitor,
                    now,
                    added.last_run,
                    added.reports,
                    added.metrics,
                    added.rejected,
                    added.skipped,
                    added.last_bad
                ])?;
        }
        reply.through = Seq(through);
        self.remember(account, batch, &spool, through, now)?;
        Ok(Appended { reply, points, blocks })
    }

    /// Keeps the stream's mark, and who sent it how far off our clock.
    fn remember(
        &self,
        account: i64,
        batch: &wire::Batch<'_>,
        spool: &str,
        through: u64,
        now: i64,
    ) -> Result<(), AppendError> {
        self.conn
            .prepare_cached(
                "INSERT INTO streams (account_id, spool, output, through, received_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT DO UPDATE SET through = ?4, received_ms = ?5",
            )?
            .execute(params![account, spool, &*batch.output, through as i64, now])?;
        self.conn
            .prepare_cached(
                "INSERT INTO agents (account_id, agent, host, version, spool, received_ms, skew_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                 ON CONFLICT DO UPDATE SET host = ?3, version = ?4, spool = ?5,
                 received_ms = ?6, skew_ms = ?7",
            )?
            .execute(params![
                account,
                batch.agent.id.to_string(),
                &*batch.agent.host,
                &*batch.agent.version,
                spool,
                now,
                batch.sent.millis().saturating_sub(now)
            ])?;
        Ok(())
    }

    fn flush_block(&mut self) -> Result<u64, AppendError> {
        let points = self.block.points() as u64;
        self.conn
            .prepare_cached("INSERT INTO raw (points, body) VALUES (?1, ?2)")?
            .execute(params![points as i64, self.block.bytes()])?;
        self.block.clear();
        Ok(points)
    }

    /// Reports with the key of a plugin that this hub does not know are not taken.
    fn refuse(&self, account: i64, report: &Report<'_>) -> Result<Option<Refused>, AppendError> {
        let Some(key) = report.key else { return Ok(None) };
        let known: Option<String> = self
            .conn
            .prepare_cached(
                "SELECT plugin FROM plugin_keys
                 WHERE key = ?1 AND account_id = ?2 AND revoked_ms IS NULL",
            )?
            .query_row(params![key.to_string(), account], |row| row.get(0))
            .optional()?;
        Ok(known.is_none().then(|| Refused {
            seq: report.seq,
            code: "plugin-key".to_owned(),
            message: format!(
                "the key of plugin `{}` is not registered here, or was revoked; register the plugin with this hub, or remove `key` from its config",
                report.plugin
            ),
        }))
    }

    fn monitor(&mut self, account: i64, report: &Report<'_>, now: i64) -> Result<i64, AppendError> {
        let key = (account, (*report.host).into(), report.plugin.as_str().into());
        match self.monitors.entry(key) {
            Entry::Occupied(known) => Ok(*known.get()),
            Entry::Vacant(unknown) => {
                let id = self
                    .conn
                    .prepare_cached(
                        "INSERT INTO monitors (account_id, host, plugin, created_ms, received_ms)
                         VALUES (?1, ?2, ?3, ?4, ?4)
                         ON CONFLICT DO UPDATE SET account_id = account_id RETURNING id",
                    )?
                    .query_row(
                        params![account, &*report.host, report.plugin.as_str(), now],
                        |row| row.get(0),
                    )?;
                Ok(*unknown.insert(id))
            }
        }
    }

    fn series(&mut self, monitor: i64, metric: &Metric<'_>) -> Result<i64, AppendError> {
        self.identity.clear();
        self.identity.extend_from_slice(&monitor.to_le_bytes());
        let mut put = |text: &str| {
            self.identity.extend_from_slice(&(text.len() as u16).to_le_bytes());
            self.identity.extend_from_slice(text.as_bytes());
        };
        put(&metric.name);
        for (key, value) in &metric.tags.0 {
            put(key);
            put(value);
        }
        let face = face(metric);
        match self.series.get_mut(self.identity.as_slice()) {
            Some(known) if known.face == face => return Ok(known.id),
            _ => {}
        }
        let id = upsert_series(&self.conn, monitor, metric)?;
        if self.series.len() >= SERIES_CACHED {
            self.series.clear();
        }
        self.series.insert(self.identity.as_slice().into(), KnownSeries { id, face });
        Ok(id)
    }
}

struct Appended {
    reply: BatchReply,
    points: u64,
    blocks: u64,
}

fn mark(conn: &Connection, account: i64, spool: &str, output: &str) -> Result<u64, AppendError> {
    let mark: Option<i64> = conn
        .prepare_cached(
            "SELECT through FROM streams WHERE account_id = ?1 AND spool = ?2 AND output = ?3",
        )?
        .query_row(params![account, spool, output], |row| row.get(0))
        .optional()?;
    Ok(mark.unwrap_or(0) as u64)
}

/// What of a metric may change while it stays the same series.
fn face(metric: &Metric<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    metric.kind.hash(&mut hasher);
    metric.unit.as_deref().hash(&mut hasher);
    metric.label.as_deref().hash(&mut hasher);
    for mark in [&metric.warn, &metric.crit] {
        match mark.as_ref().map(wire::Given::scalar) {
            None | Some(Scalar::Gap) => 0_u8.hash(&mut hasher),
            Some(Scalar::Text(t)) => t.hash(&mut hasher),
            Some(Scalar::Signed(n)) => n.hash(&mut hasher),
            Some(Scalar::Unsigned(n)) => n.hash(&mut hasher),
            Some(Scalar::Float(x)) => x.to_bits().hash(&mut hasher),
            Some(Scalar::Boolean(b)) => b.hash(&mut hasher),
        }
    }
    metric.min.map(f64::to_bits).hash(&mut hasher);
    metric.max.map(f64::to_bits).hash(&mut hasher);
    hasher.finish()
}

fn upsert_series(conn: &Connection, monitor: i64, metric: &Metric<'_>) -> Result<i64, AppendError> {
    let tags: crate::model::Tags = metric.tags.0.iter().map(|(k, v)| (&**k, &**v)).collect();
    let mark = |given: &Option<wire::Given<'_>>| match given.as_ref().map(wire::Given::scalar) {
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

/// Where the monitor's chain of runs ends, and how many there were.
fn so_far(conn: &Connection, monitor: i64) -> Result<Added, AppendError> {
    Ok(conn
        .prepare_cached("SELECT last_run, last_bad, reports FROM monitors WHERE id = ?1")?
        .query_row([monitor], |row| {
            Ok(Added {
                last_run: row.get(0)?,
                last_bad: row.get(1)?,
                reports: row.get(2)?,
                ..Added::default()
            })
        })?)
}

fn insert_run(
    conn: &Connection,
    monitor: i64,
    chain: &mut Added,
    report: &Report<'_>,
) -> Result<(), AppendError> {
    let run = report.run.to_string();
    let started = report.started.millis();
    let counts = &report.counts;
    let good =
        report.outcome.is_ok() && report.status == Status::Ok && counts.rejected_total() == 0;
    conn.prepare_cached(
        "INSERT INTO runs (monitor_id, run, started_ms, duration, interval, good, outcome, status,
         message, warnings, produced, accepted, rejected, skipped, leftovers, cpu, max_rss, stdout,
         stderr, tail, before, bad_before, nth)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18,
         ?19, ?20, ?21, ?22, ?23)",
    )?
    .execute(params![
        monitor,
        run,
        started,
        report.duration,
        report.interval,
        good,
        super::json(&report.outcome),
        report.status.as_str(),
        report.message.as_deref(),
        (!report.warnings.is_empty()).then(|| super::json(&report.warnings)),
        clamp(counts.produced),
        clamp(counts.accepted),
        (!counts.rejected.is_empty()).then(|| super::json(&counts.rejected)),
        clamp(report.skipped),
        clamp(report.leftovers),
        report.usage.cpu,
        clamp(report.usage.max_rss),
        clamp(report.usage.stdout),
        clamp(report.usage.stderr),
        report.stderr.as_deref(),
        chain.last_run,
        chain.last_bad,
        chain.reports,
    ])?;
    let id = conn.last_insert_rowid();
    chain.last_run = Some(id);
    if !good {
        chain.last_bad = Some(id);
    }
    for rejection in &report.rejected {
        conn.prepare_cached(
            "INSERT INTO rejections (monitor_id, run, started_ms, code, path, line, col, value,
             rule, message, hint) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )?
        .execute(params![
            monitor,
            run,
            started,
            rejection.code.as_str(),
            rejection.path,
            rejection.line,
            rejection.column,
            rejection.value,
            rejection.rule,
            rejection.message,
            rejection.hint
        ])?;
    }
    Ok(())
}

/// SQLite's whole numbers end at 2^63−1.
fn clamp(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
