//! Keeping the store in shape, on the writing thread after each job: raw blocks become segments, old
//! runs and rejections go, and so do the oldest points when the store is over its size.

use std::collections::HashMap;

use rusqlite::{Connection, params};

use foldhash::fast::RandomState;

use crate::hub::scalar::Scalar;
use crate::model::Value;

use super::append::Writer;
use super::codec::{self, Segment};
use super::error::StoreError;

/// Raw points, bytes or blocks that make a compaction due. Readers look through all raw blocks, so
/// this is also what a read costs at least.
const RAW_POINTS: u64 = 262_144;
const RAW_ROWS: u64 = 4096;
/// Points sorted in memory at a time; a compaction makes as many passes as it takes.
const PASS_POINTS: usize = 32_768;
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
/// Points after which a segment is full.
const SEGMENT_POINTS: usize = 4096;
/// Segments, and runs, dropped in one transaction.
const DROP_SEGMENTS: i64 = 64;
const DROP_RUNS: i64 = 512;

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

    /// Turns all raw blocks into segments, in one transaction.
    pub(super) fn compact(&mut self) -> rusqlite::Result<()> {
        let transaction = self.conn.transaction()?;
        let mut points_of: HashMap<i64, usize, RandomState> = HashMap::default();
        each_raw(&transaction, |series, _, _| *points_of.entry(series).or_default() += 1)?;
        let mut series: Vec<(i64, usize)> = points_of.drain().collect();
        series.sort_unstable();
        let mut rest = series.as_slice();
        while !rest.is_empty() {
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
            compact_pass(&transaction, pass)?;
            rest = later;
        }
        transaction.execute("DELETE FROM raw", ())?;
        transaction.commit()?;
        self.raw_points = 0;
        self.raw_rows = 0;
        Ok(())
    }

    /// Drops the oldest segments and runs while the database is over its size.
    fn shrink(&mut self) -> rusqlite::Result<()> {
        let mut dropped = 0;
        while live_bytes(&self.conn)? > self.limits.max_size {
            let transaction = self.conn.transaction()?;
            let mut gone = transaction.execute(
                "DELETE FROM segments WHERE id IN (SELECT id FROM segments ORDER BY id LIMIT ?1)",
                [DROP_SEGMENTS],
            )?;
            gone += transaction.execute(
                "DELETE FROM runs WHERE id IN (SELECT id FROM runs ORDER BY id LIMIT ?1)
                 AND id NOT IN (SELECT last_run FROM monitors WHERE last_run IS NOT NULL)",
                [DROP_RUNS],
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
        if self.raw_rows == 0 {
            // Series without points are forgotten, so that names that never come back do not pile
            // up. What is raw may have points of any series.
            self.conn.execute(
                "DELETE FROM series WHERE last_ms < (SELECT min(from_ms) FROM segments)",
                (),
            )?;
        }
        self.forget();
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

/// Makes segments of the points of these series, which are in the order of their ids and come with
/// how many points each has.
fn compact_pass(conn: &Connection, series: &[(i64, usize)]) -> rusqlite::Result<()> {
    // Every series has a place for its points, so that there is nothing to sort.
    let mut next_of: HashMap<i64, usize, RandomState> = HashMap::default();
    let mut total = 0;
    for (id, points) in series {
        next_of.insert(*id, total);
        total += points;
    }
    let mut points: Vec<(i64, Value)> = vec![(0, Value::Gap); total];
    each_raw(conn, |series, ms, value| {
        if let Some(next) = next_of.get_mut(&series)
            && let Some(point) = points.get_mut(*next)
        {
            *point = (ms, value.to_value());
            *next += 1;
        }
    })?;
    let mut update = conn.prepare_cached(
        "UPDATE series SET last_ms = ?2, last_value = ?3
         WHERE id = ?1 AND (last_ms IS NULL OR last_ms <= ?2)",
    )?;
    let mut row = SegmentRow::default();
    let mut rest = points.as_mut_slice();
    for (id, count) in series {
        let (of_series, after) = std::mem::take(&mut rest).split_at_mut(*count);
        rest = after;
        if !of_series.is_sorted_by_key(|(ms, _)| *ms) {
            // Stable, so that of two values at one time the later stays the later.
            of_series.sort_by_key(|(ms, _)| *ms);
        }
        let (bucket, place) = codec::bucket(*id);
        for chunk in of_series.chunks(CHUNK_POINTS) {
            if row.points > 0 && (row.bucket != bucket || row.points + chunk.len() > SEGMENT_POINTS)
            {
                row.write(conn)?;
            }
            row.push(bucket, place, chunk);
        }
        if let Some((ms, value)) = of_series.last() {
            update.execute(params![id, ms, super::json(value)])?;
        }
    }
    row.write(conn)
}

/// A segment on its way into the table.
#[derive(Default)]
struct SegmentRow {
    bucket: i64,
    from: i64,
    to: i64,
    points: usize,
    segment: Segment,
}

impl SegmentRow {
    fn push(&mut self, bucket: i64, place: u64, chunk: &[(i64, Value)]) {
        let (Some((from, _)), Some((to, _))) = (chunk.first(), chunk.last()) else { return };
        if self.points == 0 {
            (self.bucket, self.from, self.to) = (bucket, *from, *to);
        }
        self.from = self.from.min(*from);
        self.to = self.to.max(*to);
        self.points += chunk.len();
        self.segment.push(place, chunk.iter().map(|(ms, value)| (*ms, value.into())));
    }

    fn write(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        if self.points == 0 {
            return Ok(());
        }
        conn.prepare_cached(
            "INSERT INTO segments (bucket, from_ms, to_ms, points, body)
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![
            self.bucket,
            self.from,
            self.to,
            self.points as i64,
            self.segment.bytes()
        ])?;
        self.segment.clear();
        self.points = 0;
        Ok(())
    }
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
