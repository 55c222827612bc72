//! Keeping the store in shape, on the writing thread after each job: raw blocks become segments, old
//! runs and rejections go, and so does the oldest when the store is over its size
//! ([`super::shrink`]).

use std::time::{Duration, Instant};

use rusqlite::{Connection, params};

use super::append::Writer;
use super::error::StoreError;
use super::points;

/// A monitor keeps its last so many runs, and what went badly among the last so many.
const RUNS_KEPT: u32 = 400;
const BAD_RUNS_KEPT: u32 = 1000;
/// New runs after which old ones are swept, and runs looked at then: more, to catch up.
const SWEEP_AFTER: u64 = 1000;
const SWEEP: i64 = 2000;
/// Rejections of a monitor that are kept.
const REJECTIONS_KEPT: u32 = 200;
/// Batches with rejections after which a monitor is trimmed.
const TRIM_AFTER: u32 = 10;
/// How long freeing space may keep the next job waiting.
const PATIENCE: Duration = Duration::from_millis(100);

impl Writer {
    /// Does what is due after a job. What fails is said and tried again after the next one.
    pub(super) fn maintain(&mut self) {
        self.tidy(Self::try_maintain);
    }

    /// Does `work`, which nobody waits for.
    pub(super) fn tidy(&mut self, work: impl FnOnce(&mut Self) -> rusqlite::Result<()>) {
        if let Err(source) = work(self) {
            self.forget();
            if !self.conn.is_autocommit() && self.conn.execute_batch("ROLLBACK").is_err() {
                tracing::error!("cannot roll back in the hub's database");
            }
            tracing::warn!(error = %source, "cannot tidy the hub's database; trying again later");
        }
    }

    fn try_maintain(&mut self) -> rusqlite::Result<()> {
        let due: Vec<i64> =
            self.untrimmed.iter().filter(|(_, n)| **n >= TRIM_AFTER).map(|(id, _)| *id).collect();
        if !due.is_empty() {
            let transaction = self.conn.transaction()?;
            for monitor in &due {
                trim(&transaction, *monitor)?;
            }
            transaction.commit()?;
            for monitor in due {
                self.untrimmed.remove(&monitor);
            }
        }
        if self.unswept >= SWEEP_AFTER {
            self.sweep()?;
            self.shrink()?;
        }
        if self.waiting.is_much() {
            self.compact()?;
            self.shrink()?;
        } else if self.shrinking.is_some() {
            self.shrink()?;
        }
        self.free()
    }

    /// Looks at the next stretch of old runs and drops those that their monitors do not keep, that
    /// are too old, and whose monitors are gone. Goes round and round, so that each run is looked at
    /// now and then.
    pub(super) fn sweep(&mut self) -> rusqlite::Result<()> {
        let newest: i64 =
            self.conn.query_row("SELECT coalesce(max(id), 0) FROM runs", (), |row| row.get(0))?;
        let end: Option<i64> = self.conn.query_row(
            "SELECT max(id) FROM (SELECT id FROM runs WHERE id > ?1 ORDER BY id LIMIT ?2)",
            params![self.swept, SWEEP],
            |row| row.get(0),
        )?;
        let end = end.unwrap_or(newest);
        // A monitor's last run stays, however old it is.
        self.conn.execute(
            "DELETE FROM runs WHERE id IN (
             SELECT r.id FROM runs r LEFT JOIN monitors m ON m.id = r.monitor_id
             WHERE r.id > ?1 AND r.id <= ?2 AND (m.id IS NULL
             OR r.nth + CASE r.good WHEN 1 THEN ?3 ELSE ?4 END <= m.reports
             OR r.started_ms < ?5 AND r.id IS NOT m.last_run))",
            params![
                self.swept,
                end,
                RUNS_KEPT,
                BAD_RUNS_KEPT,
                self.done.cutoff.unwrap_or(i64::MIN),
            ],
        )?;
        self.swept = if end >= newest { 0 } else { end };
        self.unswept = 0;
        Ok(())
    }

    /// Sorts what was appended, in one transaction.
    pub(super) fn compact(&mut self) -> rusqlite::Result<()> {
        let transaction = self.conn.transaction()?;
        {
            let mut update = transaction.prepare_cached(
                "UPDATE series SET last_ms = ?2, last_value = ?3
                 WHERE id = ?1 AND (last_ms IS NULL OR last_ms <= ?2)",
            )?;
            points::compact(&transaction, |series, ms, value| {
                update.execute(params![series, ms, super::json(&value.to_value())]).map(drop)
            })?;
        }
        transaction.commit()?;
        self.waiting = points::Waiting::default();
        Ok(())
    }

    /// Does `job` in one transaction, after which nothing that was remembered of monitors and
    /// series holds: for whatever renames or removes some.
    pub(crate) fn change<R>(
        &mut self,
        job: impl FnOnce(&Connection) -> rusqlite::Result<R>,
    ) -> rusqlite::Result<R> {
        let transaction = self.conn.transaction()?;
        let done = job(&transaction);
        let done = done.and_then(|done| transaction.commit().map(|()| done));
        self.forget();
        self.dropped = points::any_dropped(&self.conn)?;
        done
    }

    /// Frees the space of series that were dropped, for as long as a job may be kept waiting.
    pub(super) fn free(&mut self) -> rusqlite::Result<()> {
        // Dropped series may have raw points, which compaction leaves out.
        if !self.dropped || self.waiting != points::Waiting::default() {
            return Ok(());
        }
        let begun = Instant::now();
        while self.dropped && begun.elapsed() < PATIENCE {
            let transaction = self.conn.transaction()?;
            let more = points::free_dropped(&transaction)?;
            transaction.commit()?;
            self.dropped = more;
        }
        self.conn.execute_batch("PRAGMA incremental_vacuum(4096)")
    }

    /// Refuses when the disk has no room left but what the hub must leave alone.
    pub(crate) fn room(&mut self) -> Result<(), StoreError> {
        let folder = self.limits.path.parent().unwrap_or(&self.limits.path);
        let Ok(disk) = rustix::fs::statvfs(folder) else { return Ok(()) };
        if disk.f_bavail.saturating_mul(disk.f_frsize) >= self.limits.min_free {
            return Ok(());
        }
        // Pages that dropped points left behind can be written without taking more of the disk.
        let free: i64 = self
            .conn
            .pragma_query_value(None, "freelist_count", |row| row.get(0))
            .map_err(|source| StoreError::Sqlite { action: "measure", source })?;
        if free >= 1024 { Ok(()) } else { Err(StoreError::Full) }
    }
}

/// Takes series out of the store for good: their points are out of sight once the caller's
/// transaction is committed ([`Writer::change`]), and their space is freed in steps. Their ids are
/// never given again.
pub(crate) fn drop_series(conn: &Connection, ids: &[i64]) -> rusqlite::Result<()> {
    let mut delete = conn.prepare_cached("DELETE FROM series WHERE id = ?1")?;
    for id in ids {
        delete.execute([id])?;
    }
    points::drop_series(conn, ids)
}

/// Leaves a monitor its newest rejections.
fn trim(conn: &Connection, monitor: i64) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "DELETE FROM rejections WHERE monitor_id = ?1 AND id <
         (SELECT id FROM rejections WHERE monitor_id = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
    )?
    .execute(params![monitor, REJECTIONS_KEPT - 1])?;
    Ok(())
}
