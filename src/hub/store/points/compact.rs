//! Sorting raw blocks into segments.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use rusqlite::{Connection, params};

use crate::model::Value;

use super::codec::{self, Segment};
use super::drop::dropped;
use super::read::each_raw;

/// Raw points or blocks that make a compaction due. Readers look through all raw blocks, so this is
/// also what a read costs at least.
pub(super) const RAW_POINTS: u64 = 262_144;
pub(super) const RAW_BLOCKS: u64 = 4096;
/// Points sorted in memory at a time; a compaction makes as many passes as it takes.
const PASS_POINTS: usize = 32_768;
/// Most points in a chunk.
const CHUNK_POINTS: usize = 1024;
/// Points after which a segment is full.
const SEGMENT_POINTS: usize = 4096;

/// Turns all raw blocks into segments, in the caller's transaction. Calls `last` with the latest
/// point of each series that had some. Points of dropped series are left out.
pub(in crate::hub::store) fn compact(
    conn: &Connection,
    mut last: impl FnMut(i64, i64, &Value) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let dropped = dropped(conn)?;
    let mut points_of: HashMap<i64, usize, RandomState> = HashMap::default();
    each_raw(conn, |series, _, _| *points_of.entry(series).or_default() += 1)?;
    let mut series: Vec<(i64, usize)> =
        points_of.drain().filter(|(series, _)| !dropped.contains(series)).collect();
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
        compact_pass(conn, pass, &mut last)?;
        rest = later;
    }
    conn.execute("DELETE FROM raw", ())?;
    Ok(())
}

/// Makes segments of the points of these series, which are in the order of their ids and come with
/// how many points each has.
fn compact_pass(
    conn: &Connection,
    series: &[(i64, usize)],
    mut last_of: impl FnMut(i64, i64, &Value) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
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
            last_of(*id, *ms, value)?;
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
