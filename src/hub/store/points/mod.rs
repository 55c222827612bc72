//! The points, behind a narrow interface: nothing outside of this folder knows how they lie.
//!
//! | what | function |
//! |---|---|
//! | append a block of (series, ms, value) | [`append`] |
//! | read series over a range of time, in order or as they lie | [`Scan`], [`visit`], [`visit_while`], [`extent`] |
//! | what is newer than the last values that are known | [`newest`] |
//! | drop series, drop what is older, drop the oldest | [`drop_series`], [`drop_before`], [`trim_before`], [`oldest_pieces`] |
//! | sort what was appended; free what was dropped | [`compact`], [`free_dropped`] |
//! | how much waits; whether all of it reads back | [`waiting`], [`total`], [`oldest`], [`check`] |
//!
//! Promises: what [`append`] wrote is there when its caller's transaction is committed, and only then; of two
//! points of one series at one time both are kept, and the later written comes later; a dropped
//! series never comes back, whatever became of its space. A value is kept to the bit: counters stay
//! as they were counted. Does not know what a series is called, whose it is, or what time it is: ids
//! come from the table of series, which never gives one twice.
//!
//! Points are appended as they come, one raw block per batch; an index per point would cost twenty
//! times as much. [`compact`] sorts many blocks into segments: chunks of one series each, those of
//! sixteen series with ids next to each other in one row.

mod check;
mod codec;
mod compact;
mod drop;
mod read;

pub(super) use check::check;
pub(crate) use codec::RawBlock as Block;
pub(super) use compact::compact;
pub(super) use drop::{
    any_dropped, drop_before, drop_piece, drop_series, dropped, free_dropped, oldest_pieces,
    trim_before,
};
pub(super) use read::newest;
pub(crate) use read::{Scan, extent, visit, visit_while};

use rusqlite::{Connection, params};

/// What was appended and is not compacted yet. Readers look through all of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) points: u64,
    pub(crate) bytes: u64,
    pub(crate) blocks: u64,
}

impl Waiting {
    /// Whether reads become slow by it.
    pub(super) fn is_much(self) -> bool {
        self.points >= compact::RAW_POINTS
            || self.bytes >= compact::RAW_BYTES
            || self.blocks >= compact::RAW_BLOCKS
    }
}

impl std::ops::AddAssign for Waiting {
    fn add_assign(&mut self, more: Self) {
        self.points += more.points;
        self.bytes += more.bytes;
        self.blocks += more.blocks;
    }
}

/// How much there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sizes {
    /// All points.
    pub(crate) points: u64,
    /// Those of them that wait for compaction.
    pub(crate) waiting: u64,
    pub(crate) segments: u64,
    /// The time of the oldest point, those that wait left out.
    pub(crate) oldest_ms: Option<i64>,
}

/// Counts what there is.
pub(super) fn sizes(conn: &Connection) -> rusqlite::Result<Sizes> {
    let waiting = waiting(conn)?.points;
    conn.query_row(
        "SELECT count(*), coalesce(sum(points), 0), min(from_ms) FROM segments",
        (),
        |row| {
            Ok(Sizes {
                points: row.get::<_, i64>(1)? as u64 + waiting,
                waiting,
                segments: row.get::<_, i64>(0)? as u64,
                oldest_ms: row.get(2)?,
            })
        },
    )
}

/// Writes the block's points, in the caller's transaction, and empties it.
pub(super) fn append(conn: &Connection, block: &mut Block) -> rusqlite::Result<Waiting> {
    let points = block.points() as u64;
    if points == 0 {
        return Ok(Waiting::default());
    }
    conn.prepare_cached("INSERT INTO raw (points, body) VALUES (?1, ?2)")?
        .execute(params![points as i64, block.bytes()])?;
    let bytes = block.bytes().len() as u64;
    block.clear();
    Ok(Waiting { points, bytes, blocks: 1 })
}

/// How many points there are, by what the rows say.
pub(crate) fn total(conn: &Connection) -> rusqlite::Result<u64> {
    let sql = "SELECT (SELECT total(points) FROM raw) + (SELECT total(points) FROM segments)";
    conn.query_row(sql, (), |row| row.get::<_, f64>(0)).map(|points| points as u64)
}

/// The time before which there is no compacted point, if there is one at all.
pub(super) fn oldest(conn: &Connection) -> rusqlite::Result<Option<i64>> {
    conn.query_row("SELECT min(from_ms) FROM segments", (), |row| row.get(0))
}

/// What waits for compaction.
pub(super) fn waiting(conn: &Connection) -> rusqlite::Result<Waiting> {
    let sql = "SELECT coalesce(sum(points), 0), coalesce(sum(length(body)), 0), count(*) FROM raw";
    conn.query_row(sql, (), |row| {
        let get = |column| row.get::<_, i64>(column).map(|n| n as u64);
        Ok(Waiting { points: get(0)?, bytes: get(1)?, blocks: get(2)? })
    })
}
