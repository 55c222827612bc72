//! Sorting raw blocks into segments.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use rusqlite::{Connection, params};

use crate::hub::scalar::Scalar;

use super::codec::{self, Segment};
use super::drop::dropped;
use super::read::each_raw_body;

/// Raw points, bytes or blocks that make a compaction due. Readers look through all raw blocks, so
/// this is also what a read costs at least; and a compaction holds as many bytes, and sixteen for
/// each point.
pub(super) const RAW_POINTS: u64 = 262_144;
pub(super) const RAW_BYTES: u64 = 8 << 20;
pub(super) const RAW_BLOCKS: u64 = 4096;
/// Most points in a chunk.
const CHUNK_POINTS: usize = 1024;
/// Points after which a segment is full.
const SEGMENT_POINTS: usize = 4096;

/// Turns all raw blocks into segments, in the caller's transaction. Calls `last` with the latest
/// point of each series that had some. Points of dropped series are left out.
pub(in crate::hub::store) fn compact(
    conn: &Connection,
    mut last: impl FnMut(i64, i64, Scalar<'_>) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let dropped = dropped(conn)?;
    let bytes: i64 =
        conn.query_row("SELECT coalesce(sum(length(body)), 0) FROM raw", (), |row| row.get(0))?;
    let mut bodies: Vec<u8> = Vec::with_capacity(bytes as usize);
    let mut ends = Vec::new();
    let mut points_of: HashMap<i64, usize, RandomState> = HashMap::default();
    let mut newest = 0;
    each_raw_body(conn, |block, body| {
        if bodies.len() + body.len() > u32::MAX as usize {
            // Compaction is due long before; what is over waits for the next one.
            return false;
        }
        newest = block;
        bodies.extend_from_slice(body);
        ends.push(bodies.len());
        // What does not read back is said below.
        let _read = codec::read_raw_at(body, |series, _, _| {
            *points_of.entry(series).or_default() += 1;
        });
        true
    })?;
    let mut series: Vec<(i64, usize)> =
        points_of.drain().filter(|(series, _)| !dropped.contains(series)).collect();
    series.sort_unstable();
    // Every series has a place for its points, so that there is nothing to sort.
    let mut total = 0;
    let mut next_of = Places::new(&series);
    for (nth, (_, points)) in series.iter().enumerate() {
        next_of.set(nth, total);
        total += *points;
    }
    let mut points: Vec<(i64, Place)> = vec![(0, Place::default()); total];
    let mut start = 0;
    for end in &ends {
        let block = bodies.get(start..*end).unwrap_or_default();
        let read = codec::read_raw_at(block, |series, ms, at| {
            if let Some(next) = next_of.of(series)
                && let Some(point) = points.get_mut(*next)
            {
                *point = (ms, Place((start + at) as u32));
                *next += 1;
            }
        });
        if read.is_err() {
            tracing::error!("a raw block of points is damaged: its rest is given up");
        }
        start = *end;
    }
    write_segments(conn, &series, &mut points, &bodies, &mut last)?;
    conn.execute("DELETE FROM raw WHERE id <= ?1", [newest])?;
    Ok(())
}

/// Where a value begins among the bodies of all blocks.
#[derive(Debug, Clone, Copy, Default)]
struct Place(u32);

impl Place {
    /// The value there; it was read before.
    fn value(self, bodies: &[u8]) -> Scalar<'_> {
        codec::value_at(bodies, self.0 as usize).unwrap_or(Scalar::Gap)
    }
}

/// Numbers of series, found fast: mostly their ids lie close to each other.
struct Places {
    first: i64,
    /// By how far an id is from the first: its number, plus one.
    dense: Vec<u32>,
    /// Where they are too far apart for that.
    sparse: HashMap<i64, u32, RandomState>,
    values: Vec<usize>,
}

impl Places {
    /// For series in the order of their ids.
    fn new(series: &[(i64, usize)]) -> Self {
        let first = series.first().map_or(0, |(id, _)| *id);
        let span = series.last().map_or(0, |(id, _)| id.saturating_sub(first).saturating_add(1));
        let numbered = series.iter().zip(1_u32..).map(|((id, _), nth)| (*id, nth));
        let mut places = Self {
            first,
            dense: Vec::new(),
            sparse: HashMap::default(),
            values: vec![0; series.len()],
        };
        if span <= 64 * series.len() as i64 {
            places.dense = vec![0; span as usize];
            for (id, nth) in numbered {
                places.dense[(id - first) as usize] = nth;
            }
        } else {
            places.sparse = numbered.collect();
        }
        places
    }

    fn set(&mut self, nth: usize, value: usize) {
        self.values[nth] = value;
    }

    fn of(&mut self, series: i64) -> Option<&mut usize> {
        let nth = if self.dense.is_empty() {
            self.sparse.get(&series)
        } else {
            usize::try_from(series.checked_sub(self.first)?).ok().and_then(|at| self.dense.get(at))
        };
        self.values.get_mut((*nth? as usize).checked_sub(1)?)
    }
}

/// Makes segments of points that lie series by series, in the order of the series' ids.
fn write_segments(
    conn: &Connection,
    series: &[(i64, usize)],
    points: &mut [(i64, Place)],
    bodies: &[u8],
    last_of: &mut impl FnMut(i64, i64, Scalar<'_>) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let mut row = SegmentRow::default();
    let mut rest = points;
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
            row.push(bucket, place, chunk, bodies);
        }
        if let Some((ms, value)) = of_series.last() {
            last_of(*id, *ms, value.value(bodies))?;
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
    fn push(&mut self, bucket: i64, place: u64, chunk: &[(i64, Place)], bodies: &[u8]) {
        let (Some((from, _)), Some((to, _))) = (chunk.first(), chunk.last()) else { return };
        if self.points == 0 {
            (self.bucket, self.from, self.to) = (bucket, *from, *to);
        }
        self.from = self.from.min(*from);
        self.to = self.to.max(*to);
        self.points += chunk.len();
        self.segment.push(place, chunk.iter().map(|(ms, value)| (*ms, value.value(bodies))));
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
