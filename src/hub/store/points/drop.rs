//! Dropping points: those of series that are gone, and the oldest.
//!
//! A series that is dropped is written down, and no more: nobody has its id, which is never given
//! again, so its points are out of sight at once. Their space is freed later and in steps: first
//! compaction leaves out what was raw, and then the segments of its bucket are written without it.

use std::collections::{BTreeMap, HashSet};

use foldhash::fast::RandomState;
use rusqlite::{Connection, params};

use super::codec::{self, Segment};

/// Buckets whose segments are rewritten in one transaction, and dropped series looked at for it.
const BUCKETS: usize = 16;
const LOOKED_AT: i64 = 1024;
/// Segments dropped in one transaction.
const SEGMENTS: i64 = 64;

const UPDATE: &str =
    "UPDATE segments SET from_ms = ?2, to_ms = ?3, points = ?4, body = ?5 WHERE id = ?1";

/// Marks series as dropped, in the caller's transaction, which must take them out of the table of
/// series as well.
pub(in crate::hub::store) fn drop_series(conn: &Connection, ids: &[i64]) -> rusqlite::Result<()> {
    let mut insert = conn.prepare_cached("INSERT OR IGNORE INTO dropped (series) VALUES (?1)")?;
    for id in ids {
        insert.execute([id])?;
    }
    Ok(())
}

/// All series that are dropped and may still have points.
pub(in crate::hub::store) fn dropped(
    conn: &Connection,
) -> rusqlite::Result<HashSet<i64, RandomState>> {
    conn.prepare_cached("SELECT series FROM dropped")?.query_map((), |row| row.get(0))?.collect()
}

/// Whether space of dropped series is still to be freed.
pub(in crate::hub::store) fn any_dropped(conn: &Connection) -> rusqlite::Result<bool> {
    conn.query_row("SELECT EXISTS (SELECT 1 FROM dropped)", (), |row| row.get(0))
}

/// Frees the space of some dropped series, in one transaction of the caller's. Only while nothing
/// waits for compaction: afterwards they are forgotten. Says whether there are more.
pub(in crate::hub::store) fn free_dropped(conn: &Connection) -> rusqlite::Result<bool> {
    let mut by_bucket: BTreeMap<i64, (u16, Vec<i64>)> = BTreeMap::new();
    let mut more = false;
    {
        let mut statement =
            conn.prepare_cached("SELECT series FROM dropped ORDER BY series LIMIT ?1")?;
        let mut rows = statement.query([LOOKED_AT])?;
        let mut seen = 0;
        while let Some(row) = rows.next()? {
            let id: i64 = row.get(0)?;
            let (bucket, place) = codec::bucket(id);
            if by_bucket.len() == BUCKETS && !by_bucket.contains_key(&bucket) {
                more = true;
                break;
            }
            let entry = by_bucket.entry(bucket).or_default();
            entry.0 |= 1 << place;
            entry.1.push(id);
            seen += 1;
        }
        more |= seen == LOOKED_AT;
    }
    let mut forget = conn.prepare_cached("DELETE FROM dropped WHERE series = ?1")?;
    for (bucket, (places, ids)) in by_bucket {
        rewrite(conn, bucket, places)?;
        for id in ids {
            forget.execute([id])?;
        }
    }
    Ok(more)
}

/// Writes the segments of a bucket without the chunks at `places`, a bit each.
fn rewrite(conn: &Connection, bucket: i64, places: u16) -> rusqlite::Result<()> {
    let ids: Vec<i64> = conn
        .prepare_cached("SELECT id FROM segments WHERE bucket = ?1")?
        .query_map([bucket], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let mut read = conn.prepare_cached("SELECT body FROM segments WHERE id = ?1")?;
    let mut update = conn.prepare_cached(UPDATE)?;
    let mut delete = conn.prepare_cached("DELETE FROM segments WHERE id = ?1")?;
    let gone = |place: u64| place < 16 && places >> place & 1 == 1;
    let mut segment = Segment::default();
    for id in ids {
        let body: Vec<u8> = read.query_row([id], |row| row.get(0))?;
        segment.clear();
        let (mut points, mut from, mut to) = (0_i64, i64::MAX, i64::MIN);
        let kept = codec::read_segment(
            &body,
            |place| !gone(place),
            |_, ms, _| {
                points += 1;
                (from, to) = (from.min(ms), to.max(ms));
            },
        )
        .and_then(|()| segment.copy(&body, |place| !gone(place)));
        match kept {
            // What is damaged is not made worse; `verify` names it.
            Err(_) => tracing::error!(segment = id, "a segment of points is damaged"),
            Ok(()) if points == 0 => {
                delete.execute([id])?;
            }
            Ok(()) if segment.bytes().len() == body.len() => {}
            Ok(()) => {
                update.execute(params![id, from, to, points, segment.bytes()])?;
            }
        }
    }
    Ok(())
}

/// Drops the segments of which every point is older than `ms`, and says how many those were. What
/// is not compacted yet stays.
pub(in crate::hub::store) fn drop_before(conn: &Connection, ms: i64) -> rusqlite::Result<usize> {
    conn.prepare_cached(
        "DELETE FROM segments WHERE id IN (SELECT id FROM segments WHERE to_ms < ?1 LIMIT ?2)",
    )?
    .execute(params![ms, SEGMENTS])
}

/// Takes points older than `ms` out of segments of which all others lie ahead of `now`: those would
/// keep them for as long as they are ahead themselves. Looks at some segments after the one with this
/// id, and says after which to go on.
pub(in crate::hub::store) fn trim_before(
    conn: &Connection,
    ms: i64,
    now: i64,
    after: i64,
) -> rusqlite::Result<Option<i64>> {
    let found: Vec<(i64, Vec<u8>)> = conn
        .prepare_cached(
            "SELECT id, body FROM segments WHERE to_ms > max(?1, ?2) AND from_ms < ?1 AND id > ?3
             ORDER BY id LIMIT ?4",
        )?
        .query_map(params![ms, now, after, SEGMENTS], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let next = found.last().filter(|_| found.len() == SEGMENTS as usize).map(|(id, _)| *id);
    let mut update = conn.prepare_cached(UPDATE)?;
    for (id, body) in found {
        let mut kept: BTreeMap<u64, Vec<_>> = BTreeMap::new();
        let (mut still, mut from) = (false, i64::MAX);
        let read = codec::read_segment(
            &body,
            |_| true,
            |place, at, value| {
                still |= (ms..=now).contains(&at);
                if at >= ms {
                    from = from.min(at);
                    kept.entry(place).or_default().push((at, value));
                }
            },
        );
        // What is damaged is not made worse.
        if still || read.is_err() {
            continue;
        }
        let mut segment = Segment::default();
        let points: usize = kept.values().map(Vec::len).sum();
        let to = kept.values().flatten().map(|(at, _)| *at).max();
        for (place, points) in kept {
            segment.push(place, points);
        }
        update.execute(params![id, from, to, points as i64, segment.bytes()])?;
    }
    Ok(next)
}

/// Points that go together.
#[derive(Debug, Clone, Copy)]
pub(in crate::hub::store) struct Piece {
    pub(in crate::hub::store) id: i64,
    /// How old it is: the time of its newest point. Points that lie ahead of the clock make no piece
    /// younger; one that has such is as old as its oldest point.
    pub(in crate::hub::store) ms: i64,
    pub(in crate::hub::store) bytes: i64,
}

/// The oldest pieces, at most so many, oldest first. What is not compacted yet is in none.
pub(in crate::hub::store) fn oldest_pieces(
    conn: &Connection,
    now: i64,
    most: usize,
) -> rusqlite::Result<Vec<Piece>> {
    let mut statement = conn.prepare_cached(
        "SELECT id, ms, length(body) FROM (
             SELECT * FROM (SELECT id, to_ms AS ms, body FROM segments WHERE to_ms <= ?1
                 ORDER BY to_ms LIMIT ?2)
             UNION ALL
             SELECT * FROM (SELECT id, from_ms AS ms, body FROM segments WHERE to_ms > ?1
                 ORDER BY from_ms LIMIT ?2)
         ) ORDER BY ms, id LIMIT ?2",
    )?;
    let read = |row: &rusqlite::Row<'_>| {
        Ok(Piece { id: row.get(0)?, ms: row.get(1)?, bytes: row.get(2)? })
    };
    statement.query_map(params![now, most as i64], read)?.collect()
}

pub(in crate::hub::store) fn drop_piece(conn: &Connection, id: i64) -> rusqlite::Result<usize> {
    conn.prepare_cached("DELETE FROM segments WHERE id = ?1")?.execute([id])
}
