//! Keeping the store in shape, on the writing thread after each job: raw blocks become chunks, old
//! runs and rejections go, and so do the oldest points when the store is over its size.

use std::collections::HashMap;

use rusqlite::{Connection, params};

use crate::model::Value;

use super::StoreError;
use super::append::Writer;
use super::codec::{self, Scalar};

/// Raw points, bytes or blocks that make a compaction due. Readers look through all raw blocks, so
/// this is also what a read costs at least.
const RAW_POINTS: u64 = 262_144;
const RAW_ROWS: u64 = 4096;
/// Points sorted in memory at a time; a compaction makes as many passes as it takes.
const PASS_POINTS: u64 = 65_536;
/// Most points in a chunk.
const CHUNK_POINTS: usize = 1024;
/// A monitor keeps its last so many runs, and what went badly among the last so many.
const RUNS_KEPT: u32 = 400;
const BAD_RUNS_KEPT: u32 = 1000;
/// New runs after which old ones are swept, and runs looked at then: more, to catch up.
const SWEEP_AFTER: u64 = 1000;
const SWEEP: i64 = 2500;
/// Rejections of a monitor that are kept.
const REJECTIONS_KEPT: u32 = 200;
/// Batches with rejections after which a monitor is trimmed.
const TRIM_AFTER: u32 = 10;
/// Chunks, and runs, dropped in one transaction.
const DROP: i64 = 512;

impl Writer {
    /// Does what is due. What fails is said and tried again after the next job.
    pub(super) fn maintain(&mut self) {
        if let Err(source) = self.try_maintain() {
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
        if self.raw_points >= RAW_POINTS || self.raw_rows >= RAW_ROWS {
            self.compact()?;
            self.shrink()?;
        }
        Ok(())
    }

    /// Looks at the next stretch of old runs and drops those that their monitors do not keep. Goes
    /// round and round, so that each run is looked at now and then.
    fn sweep(&mut self) -> rusqlite::Result<()> {
        let newest: i64 =
            self.conn.query_row("SELECT coalesce(max(id), 0) FROM runs", (), |row| row.get(0))?;
        let end: Option<i64> = self.conn.query_row(
            "SELECT max(id) FROM (SELECT id FROM runs WHERE id > ?1 ORDER BY id LIMIT ?2)",
            params![self.swept, SWEEP],
            |row| row.get(0),
        )?;
        let end = end.unwrap_or(newest);
        self.conn.execute(
            "DELETE FROM runs WHERE id > ?1 AND id <= ?2 AND nth +
             CASE good WHEN 1 THEN ?3 ELSE ?4 END <=
             (SELECT reports FROM monitors WHERE monitors.id = runs.monitor_id)",
            params![self.swept, end, RUNS_KEPT, BAD_RUNS_KEPT],
        )?;
        self.swept = if end >= newest { 0 } else { end };
        self.unswept = 0;
        Ok(())
    }

    /// Turns all raw blocks into chunks, in one transaction.
    pub(super) fn compact(&mut self) -> rusqlite::Result<()> {
        let transaction = self.conn.transaction()?;
        let mut points_of: HashMap<i64, u64> = HashMap::new();
        each_raw(&transaction, |series, _, _| *points_of.entry(series).or_default() += 1)?;
        let mut series: Vec<(i64, u64)> = points_of.into_iter().collect();
        series.sort_unstable();
        let mut rest = series.as_slice();
        while let Some((first, _)) = rest.first() {
            let mut sum = 0;
            let taken = rest
                .iter()
                .take_while(|(_, points)| {
                    let fits = sum == 0 || sum + points <= PASS_POINTS;
                    sum += points;
                    fits
                })
                .count();
            let (pass, later) = rest.split_at(taken);
            let last = pass.last().map_or(*first, |(id, _)| *id);
            compact_pass(&transaction, *first..=last)?;
            rest = later;
        }
        transaction.execute("DELETE FROM raw", ())?;
        transaction.commit()?;
        self.raw_points = 0;
        self.raw_rows = 0;
        Ok(())
    }

    /// Drops the oldest chunks and runs while the database is over its size.
    fn shrink(&mut self) -> rusqlite::Result<()> {
        let mut dropped = 0;
        while live_bytes(&self.conn)? > self.limits.max_size {
            let transaction = self.conn.transaction()?;
            let mut gone = transaction.execute(
                "DELETE FROM chunks WHERE id IN (SELECT id FROM chunks ORDER BY id LIMIT ?1)",
                [DROP],
            )?;
            gone += transaction.execute(
                "DELETE FROM runs WHERE id IN (SELECT id FROM runs ORDER BY id LIMIT ?1)
                 AND id NOT IN (SELECT last_run FROM monitors WHERE last_run IS NOT NULL)",
                [DROP],
            )?;
            transaction.commit()?;
            dropped += gone;
            if gone == 0 {
                break;
            }
        }
        if dropped == 0 {
            return Ok(());
        }
        tracing::info!(dropped, "the hub's database reached its size: the oldest of it went");
        // Series without points are forgotten, so that names that never come back do not pile up.
        self.conn.execute(
            "DELETE FROM series WHERE last_ms IS NOT NULL
             AND NOT EXISTS (SELECT 1 FROM chunks WHERE series_id = series.id)",
            (),
        )?;
        self.forget();
        self.conn.execute_batch("PRAGMA incremental_vacuum(4096)")
    }

    /// Refuses when the disk has no room left but what the hub must leave alone.
    pub(super) fn room(&mut self) -> Result<(), StoreError> {
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

/// Bytes of the database that are in use.
fn live_bytes(conn: &Connection) -> rusqlite::Result<u64> {
    let get = |name| conn.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let pages = get("page_count")?.saturating_sub(get("freelist_count")?);
    Ok(pages.saturating_mul(get("page_size")?) as u64)
}

/// Calls `each` with every raw point, oldest block first. A block that does not read back costs its
/// own rest, and is said.
pub(super) fn each_raw(
    conn: &Connection,
    mut each: impl FnMut(i64, i64, Scalar<'_>),
) -> rusqlite::Result<()> {
    let mut statement = conn.prepare_cached("SELECT id, body FROM raw ORDER BY id")?;
    let mut rows = statement.query(())?;
    while let Some(row) = rows.next()? {
        let body = row.get_ref(1)?.as_blob()?;
        if codec::read_raw(body, &mut each).is_err() {
            tracing::error!(block = row.get::<_, i64>(0)?, "a raw block of points is damaged");
        }
    }
    Ok(())
}

/// Makes chunks of the points of the series in `range`.
fn compact_pass(conn: &Connection, range: std::ops::RangeInclusive<i64>) -> rusqlite::Result<()> {
    let mut points: Vec<(i64, i64, Value)> = Vec::new();
    each_raw(conn, |series, ms, value| {
        if range.contains(&series) {
            points.push((series, ms, value.to_value()));
        }
    })?;
    // Stable, so that of two values at one time the later stays the later.
    points.sort_by_key(|(series, ms, _)| (*series, *ms));
    for of_series in points.chunk_by(|a, b| a.0 == b.0) {
        for chunk in of_series.chunks(CHUNK_POINTS) {
            let (Some((series, from, _)), Some((_, to, _))) = (chunk.first(), chunk.last()) else {
                continue;
            };
            let body = codec::write_chunk(chunk.iter().map(|(_, ms, value)| (*ms, value.into())));
            conn.prepare_cached(
                "INSERT INTO chunks (series_id, from_ms, to_ms, points, body)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![series, from, to, chunk.len() as i64, body])?;
        }
        let Some((series, ms, value)) = of_series.last() else { continue };
        conn.prepare_cached(
            "UPDATE series SET last_ms = ?2, last_value = ?3
             WHERE id = ?1 AND (last_ms IS NULL OR last_ms <= ?2)",
        )?
        .execute(params![series, ms, super::json(value)])?;
    }
    Ok(())
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
