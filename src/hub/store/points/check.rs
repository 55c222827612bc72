//! Whether all points read back.

use std::collections::{BTreeMap, HashSet};

use foldhash::fast::RandomState;
use rusqlite::Connection;

use super::codec;
use super::drop::dropped;

/// Reads every point, and calls `found` with a sentence for whatever does not read back, is not
/// what its row says, or is of a series that is neither `known` nor dropped. Gives how many points
/// read back.
pub(in crate::hub::store) fn check(
    conn: &Connection,
    known: &HashSet<i64, RandomState>,
    mut found: impl FnMut(String),
) -> rusqlite::Result<u64> {
    let mut total = 0;
    let dropped = dropped(conn)?;
    let mut nobodys: BTreeMap<i64, u64> = BTreeMap::new();
    let mut see = |series: i64| {
        if !known.contains(&series) && !dropped.contains(&series) {
            *nobodys.entry(series).or_default() += 1;
        }
    };
    let mut statement = conn.prepare("SELECT id, points, body FROM raw ORDER BY id")?;
    let mut rows = statement.query(())?;
    while let Some(row) = rows.next()? {
        let (id, said): (i64, i64) = (row.get(0)?, row.get(1)?);
        let mut points = 0;
        let read = codec::read_raw(row.get_ref(2)?.as_blob()?, |series, _, _| {
            points += 1;
            see(series);
        });
        total += points as u64;
        if read.is_err() {
            found(format!("raw block {id} does not read back: {points} of {said} points do"));
        } else if points != said {
            found(format!("raw block {id} has {points} points instead of {said}"));
        }
    }
    let mut statement =
        conn.prepare("SELECT id, bucket, from_ms, to_ms, points, body FROM segments ORDER BY id")?;
    let mut rows = statement.query(())?;
    while let Some(row) = rows.next()? {
        let (id, bucket, said): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(4)?);
        let (from, to): (i64, i64) = (row.get(2)?, row.get(3)?);
        let (mut points, mut first, mut last) = (0, i64::MAX, i64::MIN);
        let mut wrong_place = false;
        let read = codec::read_segment(
            row.get_ref(5)?.as_blob()?,
            |_| true,
            |place, ms, _| {
                points += 1;
                see((bucket << 4) + place as i64);
                (first, last) = (first.min(ms), last.max(ms));
                wrong_place |= place > 15;
            },
        );
        total += points as u64;
        if read.is_err() || wrong_place {
            found(format!(
                "segment {id}, of series {} to {}, does not read back: {points} of {said} points do",
                bucket << 4,
                (bucket << 4) + 15
            ));
        } else if points != said || (first, last) != (from, to) {
            found(format!(
                "segment {id} has {points} points from {first} to {last} instead of {said} from {from} to {to}"
            ));
        }
    }
    for (series, points) in nobodys {
        found(format!("series {series} is gone, and {points} of its points are still there"));
    }
    Ok(total)
}
