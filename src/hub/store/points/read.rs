//! Reading points: segments, and behind them what is not compacted yet.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::{ControlFlow, RangeInclusive};

use foldhash::fast::RandomState;
use rusqlite::{Connection, params};

use crate::hub::scalar::Scalar;
use crate::model::Value;

use super::codec;

/// Calls `each` with the id and the body of every raw block, oldest first, until it gives false.
pub(super) fn each_raw_body(
    conn: &Connection,
    mut each: impl FnMut(i64, &[u8]) -> bool,
) -> rusqlite::Result<()> {
    let mut statement = conn.prepare_cached("SELECT id, body FROM raw ORDER BY id")?;
    let mut rows = statement.query(())?;
    while let Some(row) = rows.next()? {
        if !each(row.get(0)?, row.get_ref(1)?.as_blob()?) {
            break;
        }
    }
    Ok(())
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

/// Replaces each series' time and value by a later point's, where one was appended since the last
/// compaction gave out the last values. Of points at one time the later written is the later.
pub(in crate::hub::store) fn newest(
    conn: &Connection,
    known: &mut HashMap<i64, (i64, Value), RandomState>,
) -> rusqlite::Result<()> {
    each_raw(conn, |series, ms, value| {
        if let Some(last) = known.get_mut(&series)
            && ms >= last.0
        {
            *last = (ms, value.to_value());
        }
    })
}

/// Calls `each` with series, time and value of every point of `wanted` in `range`: those of one
/// series in order of time, but for late points, and then what is not compacted yet, as it came. Of
/// two at one time the later written always comes later.
pub(crate) fn visit(
    conn: &Connection,
    wanted: &[i64],
    range: RangeInclusive<i64>,
    mut each: impl FnMut(i64, i64, Scalar<'_>),
) -> rusqlite::Result<()> {
    let _all = visit_while(conn, wanted, range, |series, ms, value| {
        each(series, ms, value);
        ControlFlow::Continue(())
    })?;
    Ok(())
}

/// The same until `each` breaks off, and whether it did.
pub(crate) fn visit_while(
    conn: &Connection,
    wanted: &[i64],
    range: RangeInclusive<i64>,
    mut each: impl FnMut(i64, i64, Scalar<'_>) -> ControlFlow<()>,
) -> rusqlite::Result<ControlFlow<()>> {
    let mut so_far = ControlFlow::Continue(());
    let mut statement = conn.prepare_cached(
        "SELECT id, body FROM segments WHERE bucket = ?1 AND from_ms <= ?3 AND to_ms >= ?2
         ORDER BY id",
    )?;
    let mut by_bucket: BTreeMap<i64, [Option<i64>; 16]> = BTreeMap::new();
    for series in wanted {
        let (bucket, place) = codec::bucket(*series);
        by_bucket.entry(bucket).or_default()[place as usize] = Some(*series);
    }
    for (bucket, places) in by_bucket {
        let series_at = |place: u64| places.get(place as usize).copied().flatten();
        let mut rows = statement.query(params![bucket, range.start(), range.end()])?;
        while let Some(row) = rows.next()? {
            let body = row.get_ref(1)?.as_blob()?;
            let is_wanted = |place| series_at(place).is_some();
            let read = codec::read_segment(body, is_wanted, |place, ms, value| {
                if let Some(series) = series_at(place)
                    && range.contains(&ms)
                    && so_far.is_continue()
                {
                    so_far = each(series, ms, value);
                }
            });
            if read.is_err() {
                tracing::error!(segment = row.get::<_, i64>(0)?, "a segment of points is damaged");
            }
            if so_far.is_break() {
                return Ok(so_far);
            }
        }
    }
    let wanted: HashSet<i64, RandomState> = wanted.iter().copied().collect();
    each_raw(conn, |series, ms, value| {
        if so_far.is_continue() && range.contains(&ms) && wanted.contains(&series) {
            so_far = each(series, ms, value);
        }
    })?;
    Ok(so_far)
}

/// From when to when there may be points of these series.
pub(crate) fn extent(conn: &Connection, wanted: &[i64]) -> rusqlite::Result<Option<(i64, i64)>> {
    let mut extent: Option<(i64, i64)> = None;
    let mut widen = |from: i64, to: i64| {
        extent = Some(extent.map_or((from, to), |(first, last)| (first.min(from), last.max(to))));
    };
    let mut statement =
        conn.prepare_cached("SELECT min(from_ms), max(to_ms) FROM segments WHERE bucket = ?1")?;
    let buckets: BTreeSet<i64> = wanted.iter().map(|series| codec::bucket(*series).0).collect();
    for bucket in buckets {
        let of_bucket: (Option<i64>, Option<i64>) =
            statement.query_row([bucket], |row| Ok((row.get(0)?, row.get(1)?)))?;
        if let (Some(from), Some(to)) = of_bucket {
            widen(from, to);
        }
    }
    let wanted: HashSet<i64, RandomState> = wanted.iter().copied().collect();
    each_raw(conn, |series, ms, _| {
        if wanted.contains(&series) {
            widen(ms, ms);
        }
    })?;
    Ok(extent)
}

/// Reads series one after the other, each in order of time. What is not compacted yet is gone
/// through once, for all of them.
pub(crate) struct Scan<'c> {
    conn: &'c Connection,
    fresh: HashMap<i64, Vec<(i64, Value)>, RandomState>,
}

impl<'c> Scan<'c> {
    /// Gets ready for reading the series `wanted` in `range`, or in parts of it.
    pub(crate) fn new(
        conn: &'c Connection,
        wanted: impl IntoIterator<Item = i64>,
        range: RangeInclusive<i64>,
    ) -> rusqlite::Result<Self> {
        let mut fresh: HashMap<i64, Vec<(i64, Value)>, RandomState> =
            wanted.into_iter().map(|series| (series, Vec::new())).collect();
        each_raw(conn, |series, ms, value| {
            if range.contains(&ms)
                && let Some(points) = fresh.get_mut(&series)
            {
                points.push((ms, value.to_value()));
            }
        })?;
        Ok(Self { conn, fresh })
    }

    /// The first `need` points of a wanted series in `range`.
    pub(crate) fn first(
        &mut self,
        series: i64,
        range: RangeInclusive<i64>,
        need: usize,
    ) -> rusqlite::Result<Vec<(i64, Value)>> {
        let mut points = Vec::new();
        self.each(series, range, |more| {
            points.append(more);
            if points.len() >= need { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        points.truncate(need);
        Ok(points)
    }

    /// Calls `each` with the points of a wanted series in `range`, some at a time, in order of time
    /// within a call and from call to call, until it breaks off. A series is read once.
    ///
    /// No more is held than what segments that overlap have, whatever the range.
    pub(crate) fn each(
        &mut self,
        series: i64,
        range: RangeInclusive<i64>,
        mut each: impl FnMut(&mut Vec<(i64, Value)>) -> ControlFlow<()>,
    ) -> rusqlite::Result<()> {
        let mut fresh = self.fresh.remove(&series).unwrap_or_default();
        fresh.retain(|(ms, _)| range.contains(ms));
        fresh.sort_by_key(|(ms, _)| *ms);
        let mut fresh = fresh.into_iter().peekable();
        let mut statement = self.conn.prepare_cached(
            "SELECT id, from_ms, body FROM segments
             WHERE bucket = ?1 AND from_ms <= ?3 AND to_ms >= ?2 ORDER BY from_ms, id",
        )?;
        let (bucket, place) = codec::bucket(series);
        let mut rows = statement.query(params![bucket, range.start(), range.end()])?;
        // Beside each point the segment that it is of: of two at one time the later written one, and
        // so the one of the later segment, comes last. What is raw came after all segments.
        let mut held: Vec<(i64, i64, Value)> = Vec::new();
        let mut whole: Vec<(i64, i64, Value)> = Vec::new();
        let mut given: Vec<(i64, Value)> = Vec::new();
        let mut give = |whole: &mut Vec<(i64, i64, Value)>| {
            whole.sort_by_key(|(ms, segment, _)| (*ms, *segment));
            given.clear();
            given.extend(whole.drain(..).map(|(ms, _, value)| (ms, value)));
            each(&mut given)
        };
        while let Some(row) = rows.next()? {
            let (id, from_ms): (i64, i64) = (row.get(0)?, row.get(1)?);
            // Segments of late points may overlap. What is earlier than the rest begins is whole.
            whole.extend(held.extract_if(.., |(ms, ..)| *ms < from_ms));
            while let Some((ms, value)) = fresh.next_if(|(ms, _)| *ms < from_ms) {
                whole.push((ms, i64::MAX, value));
            }
            if !whole.is_empty() && give(&mut whole).is_break() {
                return Ok(());
            }
            let body = row.get_ref(2)?.as_blob()?;
            let mine = |at| at == place;
            let read = codec::read_segment(body, mine, |_, ms, value| {
                if range.contains(&ms) {
                    held.push((ms, id, value.to_value()));
                }
            });
            if read.is_err() {
                tracing::error!(segment = id, "a segment of points is damaged");
            }
        }
        held.extend(fresh.map(|(ms, value)| (ms, i64::MAX, value)));
        if !held.is_empty() {
            let _last = give(&mut held);
        }
        Ok(())
    }
}
