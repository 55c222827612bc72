//! Taking a batch in: one transaction for its reports, their points and the stream's mark.
//!
//! Points are appended as they come ([`points`]).

use std::collections::HashMap;

use rusqlite::{CachedStatement, Connection, OptionalExtension, params};

use crate::hub::plugin_keys::{self, Lookup};
use crate::hub::wire::{self, Report};
use crate::model::{BatchReply, Outcome, RUN_FACTS, Refused, RefusedCode, RunFacts, Seq, Status};

use super::Limits;
use super::clock::{ClockWatch, Done};
use super::error::{AppendError, StoreError};
use super::known::{Known, Monitor, Place};
use super::points::{self, Block, Waiting};

/// Points after which the raw block is written, so that a large batch does not fill the memory.
pub(super) const BLOCK_POINTS: usize = 16_384;

/// The side of the store that changes it. Lives on one thread.
pub(crate) struct Writer {
    pub(super) conn: Connection,
    pub(super) limits: Limits,
    pub(super) known: Known,
    pub(super) block: Block,
    /// What waits for compaction.
    pub(super) waiting: Waiting,
    pub(super) clock: ClockWatch,
    pub(super) done: Done,
    /// Whether space of dropped series is to be freed.
    pub(super) dropped: bool,
    /// While the store is brought back to its size: how many rows went so far.
    pub(super) shrinking: Option<usize>,
    /// Batches with rejections of each monitor since those were last trimmed.
    pub(super) untrimmed: HashMap<i64, u32>,
    /// Runs since the last sweep, and where it ended.
    pub(super) unswept: u64,
    pub(super) swept: i64,
    /// The report at which a test wants a panic.
    #[cfg(test)]
    pub(super) panic_at: Option<u64>,
}

impl Writer {
    pub(crate) fn new(conn: Connection, limits: Limits) -> Result<Self, StoreError> {
        let said = |source| StoreError::Sqlite { action: "open", source };
        let waiting = points::waiting(&conn).map_err(said)?;
        let dropped = points::any_dropped(&conn).map_err(said)?;
        let clock = ClockWatch::load(&conn).map_err(said)?;
        Ok(Self {
            conn,
            limits,
            known: Known::default(),
            block: Block::default(),
            waiting,
            dropped,
            shrinking: None,
            clock,
            done: Done::default(),
            untrimmed: HashMap::new(),
            unswept: 0,
            swept: 0,
            #[cfg(test)]
            panic_at: None,
        })
    }

    /// Makes segments of all that is raw, as happens by itself when there is much of it.
    #[cfg(test)]
    pub(crate) fn compact_now(&mut self) {
        self.compact().unwrap();
    }

    /// The connection, for what is not about results. Monitors and series are remembered: who
    /// removes or renames some must have the writer [`forget`](Self::forget).
    pub(crate) fn conn(&mut self) -> &mut Connection {
        &mut self.conn
    }

    /// Forgets what was learnt, in a transaction that did not come to pass or before somebody else
    /// changed monitors.
    pub(crate) fn forget(&mut self) {
        self.known.forget();
        self.block = Block::default();
    }

    /// Stores what is new in `body`, durably, and moves the stream's mark, or changes nothing.
    pub(crate) fn append(
        &mut self,
        account: i64,
        body: &str,
        now: i64,
    ) -> Result<BatchReply, AppendError> {
        let (batch, reports) = wire::batch(body).map_err(AppendError::Body)?;
        self.room()?;
        self.conn.execute_batch("BEGIN IMMEDIATE")?;
        let done = self.append_in_transaction(account, &batch, reports, now).and_then(|appended| {
            self.conn.execute_batch("COMMIT")?;
            Ok(appended)
        });
        match done {
            Ok(appended) => {
                self.waiting += appended.waiting;
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
        batch: &wire::Batch<'_>,
        mut reports: wire::Reports<'_>,
        now: i64,
    ) -> Result<Appended, AppendError> {
        #[cfg(test)]
        let panic_at = self.panic_at;
        let Self { conn, known, block, untrimmed, .. } = self;
        let spool = batch.agent.spool.to_string();
        let Stream { mark, run: marked, refused: refused_before } =
            stream(conn, account, &spool, &batch.output)?;
        let mut through = mark;
        let mut last = marked;
        let mut reply =
            BatchReply { through: Seq(mark), accepted: 0, duplicates: 0, refused: Vec::new() };
        let mut waiting = Waiting::default();
        let mut insert_run = conn.prepare_cached(INSERT_RUN)?;
        let mut next_run: i64 = conn.prepare_cached(NEXT_RUN)?.query_row((), |row| row.get(0))?;
        known.begin();
        block.clear();
        while let Some((report, contract)) = reports.next().map_err(AppendError::Body)? {
            let run = *report.run.uuid().as_bytes();
            if report.seq.0 <= mark {
                if report.seq.0 == mark && marked.is_some_and(|marked| marked != run) {
                    return Err(AppendError::Cloned { seq: report.seq });
                }
                reply.duplicates += 1;
                // It asks again because the reply was lost; a refusal is not a delivery.
                let seq = |refused: &Refused| refused.seq;
                if let Ok(at) = refused_before.binary_search_by_key(&report.seq, seq) {
                    reply.refused.push(refused_before[at].clone());
                }
                continue;
            }
            through = report.seq.0;
            #[cfg(test)]
            assert_ne!(panic_at, Some(through), "injected");
            last = Some(run);
            if let Some(refused) = refuse(conn, account, report)? {
                reply.refused.push(refused);
                continue;
            }
            let (place, monitor) = known.monitor(conn, account, report, now)?;
            if monitor.suspended {
                reply.refused.push(suspended(report, monitor.id));
                continue;
            }
            reply.accepted += 1;
            monitor.reports += 1;
            monitor.metrics += report.metrics.len() as i64;
            monitor.rejected =
                monitor.rejected.saturating_add_unsigned(report.counts.rejected_total());
            monitor.skipped = monitor.skipped.saturating_add_unsigned(report.skipped);
            take_run(conn, &mut insert_run, next_run, monitor, report)?;
            // What is replayed may be from before a change.
            if let Some(contract) = contract.filter(|_| report.replay_of.is_none()) {
                conn.prepare_cached(
                    "INSERT OR REPLACE INTO contracts (monitor_id, received_ms, apart, body)
                     VALUES (?1, ?2, ?3, ?4)",
                )?
                .execute(params![
                    monitor.id,
                    now,
                    contract.apart,
                    contract.json
                ])?;
            }
            next_run += 1;
            let mut own_facts = false;
            for (nth, metric) in report.metrics.iter().enumerate() {
                own_facts |= metric.name.starts_with(RUN_FACTS);
                let tags = report.tags.get(metric.tags.clone()).unwrap_or_default();
                let series = known.series(conn, place, nth, metric, tags)?;
                let ms = metric.time.unwrap_or(report.started).millis();
                block.push(series, ms, metric.value.scalar());
            }
            // A plugin that prints such names itself means something else by them.
            if !own_facts {
                take_facts(conn, known, block, place, report)?;
            }
            if block.points() >= BLOCK_POINTS {
                waiting += points::append(conn, block)?;
            }
        }
        waiting += points::append(conn, block)?;
        block.shrink();
        write_monitors(conn, known, untrimmed, now)?;
        reply.through = Seq(through);
        remember(conn, account, batch, &reply, last, now)?;
        Ok(Appended { reply, waiting })
    }
}

/// Keeps the stream's mark and what was refused of a batch with something new in it, and who sent
/// it how far off our clock.
fn remember(
    conn: &Connection,
    account: i64,
    batch: &wire::Batch<'_>,
    reply: &BatchReply,
    run: Option<Marked>,
    now: i64,
) -> Result<(), AppendError> {
    let spool = batch.agent.spool.to_string();
    let refused = (!reply.refused.is_empty()).then(|| super::json(&reply.refused));
    conn.prepare_cached(
        "INSERT INTO streams (account_id, spool, output, through, received_ms, refused, run)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT DO UPDATE SET through = ?4, received_ms = ?5, run = ?7,
             refused = CASE WHEN through < ?4 THEN ?6 ELSE refused END",
    )?
    .execute(params![
        account,
        spool,
        &*batch.output,
        reply.through.0 as i64,
        now,
        refused,
        run
    ])?;
    conn.prepare_cached(
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

/// Writes what the batch adds to its monitors.
fn write_monitors(
    conn: &Connection,
    known: &mut Known,
    untrimmed: &mut HashMap<i64, u32>,
    now: i64,
) -> Result<(), AppendError> {
    let mut update = conn.prepare_cached(
        "UPDATE monitors SET received_ms = ?2, last_run = ?3, reports = ?4,
         metrics = metrics + ?5,
         rejected = CASE WHEN rejected > ?9 - ?6 THEN ?9 ELSE rejected + ?6 END,
         skipped = CASE WHEN skipped > ?9 - ?7 THEN ?9 ELSE skipped + ?7 END,
         last_bad = ?8 WHERE id = ?1",
    )?;
    for monitor in known.touched() {
        if monitor.rejected > 0 {
            let untrimmed = untrimmed.entry(monitor.id).or_default();
            *untrimmed = untrimmed.saturating_add(1);
        }
        update.execute(params![
            monitor.id,
            now,
            monitor.last_run,
            monitor.reports,
            monitor.metrics,
            monitor.rejected,
            monitor.skipped,
            monitor.last_bad,
            // An agent may say any number; the sums stay whole ones.
            i64::MAX
        ])?;
        (monitor.metrics, monitor.rejected, monitor.skipped) = (0, 0, 0);
    }
    Ok(())
}

/// Reports with the key of a plugin that this hub does not know, or knows no more, are not taken.
fn refuse(
    conn: &Connection,
    account: i64,
    report: &Report<'_>,
) -> Result<Option<Refused>, AppendError> {
    let Some(key) = report.key else { return Ok(None) };
    let why = match plugin_keys::lookup(conn, account, key)? {
        Lookup::Known { .. } => return Ok(None),
        Lookup::Revoked { plugin } => format!(
            "the key of plugin `{}` (registered as `{plugin}`) was revoked; register the plugin with this hub again, or remove `key` from its config",
            report.plugin
        ),
        Lookup::Unknown => format!(
            "the key of plugin `{}` is not registered with this hub; register the plugin, or remove `key` from its config",
            report.plugin
        ),
    };
    Ok(Some(Refused { seq: report.seq, code: RefusedCode::PluginKey.to_string(), message: why }))
}

/// Reports for a monitor that somebody suspended are not taken either.
fn suspended(report: &Report<'_>, monitor: i64) -> Refused {
    Refused {
        seq: report.seq,
        code: RefusedCode::MonitorSuspended.to_string(),
        message: format!(
            "the monitor of plugin `{}` on `{}` is suspended in the hub; activate it there: `talaia monitor activate {monitor}`",
            report.plugin, report.host
        ),
    }
}

struct Appended {
    reply: BatchReply,
    waiting: Waiting,
}

/// The run of the report at a mark.
type Marked = [u8; 16];

/// What is kept of a stream.
#[derive(Default)]
struct Stream {
    /// Reports at or below it are duplicates.
    mark: u64,
    /// The run of the report at the mark, where an earlier version has not left it out.
    run: Option<Marked>,
    /// What was refused of its last batch, in order of seq, and no more than one batch holds.
    refused: Vec<Refused>,
}

fn stream(
    conn: &Connection,
    account: i64,
    spool: &str,
    output: &str,
) -> Result<Stream, AppendError> {
    let found: Option<(i64, Option<Marked>, Option<String>)> = conn
        .prepare_cached(
            "SELECT through, run, refused FROM streams
             WHERE account_id = ?1 AND spool = ?2 AND output = ?3",
        )?
        .query_row(params![account, spool, output], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()?;
    Ok(found.map_or_else(Stream::default, |(through, run, refused)| Stream {
        mark: through as u64,
        run,
        refused: refused.and_then(|json| serde_json::from_str(&json).ok()).unwrap_or_default(),
    }))
}

/// Given by us, because AUTOINCREMENT writes its own table at every row.
const NEXT_RUN: &str = "SELECT coalesce(max(id), 0) + 1 FROM runs";

const INSERT_RUN: &str = "INSERT INTO runs (monitor_id, run, started_ms, duration, interval, good, \
    outcome, status, message, warnings, produced, accepted, rejected, skipped, leftovers, cpu, \
    max_rss, stdout, stderr, tail, before, bad_before, nth, replay_of, id) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, \
    ?20, ?21, ?22, ?23, ?24, ?25)";

/// Makes points of what the report says of its run. No run belongs to records that were judged
/// again; a whole report that comes again has that of its own.
fn take_facts(
    conn: &Connection,
    known: &mut Known,
    block: &mut Block,
    place: Place,
    report: &Report<'_>,
) -> Result<(), AppendError> {
    if report.replay_of.is_some_and(|run| run != report.run) {
        return Ok(());
    }
    let facts = RunFacts {
        outcome: &report.outcome,
        duration: report.duration,
        usage: &report.usage,
        rejected: report.counts.rejected_total(),
        skipped: report.skipped,
    };
    let ms = report.started.millis();
    let mut next = 0;
    for fact in facts.metrics() {
        let (series, after) = known.fact(conn, place, next, &fact)?;
        next = after;
        block.push(series, ms, (&fact.value).into());
    }
    Ok(())
}

/// Adds the run to the monitor's chain.
fn take_run(
    conn: &Connection,
    insert: &mut CachedStatement<'_>,
    id: i64,
    monitor: &mut Monitor,
    report: &Report<'_>,
) -> Result<(), AppendError> {
    let counts = &report.counts;
    let good =
        report.outcome.is_ok() && report.status == Status::Ok && counts.rejected_total() == 0;
    // How nearly all of them end costs no row its bytes.
    let outcome =
        (report.outcome != Outcome::Exited { code: 0 }).then(|| super::json(&report.outcome));
    insert.execute(params![
        monitor.id,
        report.run.uuid().as_bytes(),
        report.started.millis(),
        report.duration,
        report.interval,
        good,
        outcome,
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
        monitor.last_run,
        monitor.last_bad,
        monitor.reports,
        report.replay_of.map(|run| *run.uuid().as_bytes()),
        id,
    ])?;
    // What is replayed happened before: it says nothing of how the plugin is now.
    if report.replay_of.is_none() || monitor.last_run.is_none() {
        monitor.last_run = Some(id);
        if !good {
            monitor.last_bad = Some(id);
        }
    }
    if report.rejected.is_empty() {
        return Ok(());
    }
    let mut insert = conn.prepare_cached(
        "INSERT INTO rejections (monitor_id, run, started_ms, code, path, line, col, value,
         rule, message, hint) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?;
    for rejection in &report.rejected {
        insert.execute(params![
            monitor.id,
            report.run.uuid().as_bytes(),
            report.started.millis(),
            rejection.code.as_str(),
            &*rejection.path,
            rejection.line,
            rejection.column,
            &*rejection.value,
            rejection.rule.as_deref(),
            &*rejection.message,
            &*rejection.hint
        ])?;
    }
    Ok(())
}

/// SQLite's whole numbers end at 2^63−1.
fn clamp(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
