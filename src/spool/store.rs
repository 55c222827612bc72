//! The changes to the database. Each function works inside the caller's transaction and on the
//! caller's copy of the totals, so that a rollback undoes both.

use std::collections::{BTreeMap, VecDeque};

use rusqlite::{Connection, OptionalExtension, params};

use crate::model::{Receipt, RejectionCode, Seq};

use super::Start;
use super::ledger::{count, figure};
use super::quarantine;
use super::queue::Pending;
use super::state::{State, int};
use crate::model::Evicted;

/// What a kept report weighs beyond its body.
const OVERHEAD: u64 = 64;

/// Most reports deleted in one transaction.
const CHUNK: u64 = 512;

/// What a kept report counts with a body of so many bytes.
pub(super) fn weight(body: u64) -> u64 {
    body + OVERHEAD
}

/// The checksum kept with a body.
pub(super) fn crc(body: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(body);
    crc.sum()
}

/// Appends `reports` and counts them. They get the numbers from `state.last_seq + 1`.
pub(super) fn append(
    db: &Connection,
    state: &mut State,
    reports: &VecDeque<Pending>,
) -> rusqlite::Result<()> {
    #[derive(Default)]
    struct Sum {
        runs: u64,
        skipped: u64,
        produced: u64,
        accepted: u64,
        rejected: BTreeMap<RejectionCode, u64>,
    }

    // Also while what the last output left is being deleted: the queue has no gaps.
    let kept: bool = db.query_row(
        "SELECT EXISTS (SELECT 1 FROM outputs WHERE active) OR EXISTS (SELECT 1 FROM reports)",
        [],
        |r| r.get(0),
    )?;
    let before = state.records;
    let mut sums: BTreeMap<&str, Sum> = BTreeMap::new();
    let mut insert = db.prepare("INSERT INTO reports VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?;
    for Pending { report, .. } in reports {
        state.last_seq += 1;
        state.records += report.counts.accepted;
        if kept {
            state.bytes += weight(report.body.len() as u64);
            insert.execute(params![
                int(state.last_seq),
                int(report.counts.accepted),
                int(state.records),
                int(state.bytes),
                int(state.clock),
                crc(&report.body),
                report.body,
            ])?;
        }
        let sum = sums.entry(report.plugin.as_str()).or_default();
        sum.runs += 1;
        sum.skipped += report.skipped;
        sum.produced += report.counts.produced;
        sum.accepted += report.counts.accepted;
        for (code, n) in &report.counts.rejected {
            *sum.rejected.entry(*code).or_default() += n;
        }
        let change = &report.quarantine;
        quarantine::change(db, state, report.plugin.as_str(), &report.body, change)?;
    }
    let mut upsert = db.prepare(
        "INSERT INTO plugins VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (name) DO UPDATE SET
             runs = runs + excluded.runs, skipped = skipped + excluded.skipped,
             produced = produced + excluded.produced, accepted = accepted + excluded.accepted",
    )?;
    let mut reject = db.prepare(
        "INSERT INTO rejected VALUES (?1, ?2, ?3)
         ON CONFLICT (plugin, code) DO UPDATE SET records = records + excluded.records",
    )?;
    for (plugin, sum) in sums {
        upsert.execute(params![
            plugin,
            int(sum.runs),
            int(sum.skipped),
            int(sum.produced),
            int(sum.accepted)
        ])?;
        for (code, n) in sum.rejected {
            reject.execute(params![plugin, code.as_str(), int(n)])?;
        }
    }
    db.execute(
        "UPDATE outputs SET accepted = accepted + ?1 WHERE active",
        [int(state.records - before)],
    )?;
    Ok(())
}

/// An output's place.
struct Cursor {
    output: String,
    at: u64,
    records: u64,
}

fn cursor(row: &rusqlite::Row<'_>) -> rusqlite::Result<Cursor> {
    Ok(Cursor { output: row.get(0)?, at: count(row, 1)?, records: count(row, 2)? })
}

/// The last report at or before `seq`: its number and the running total of records.
fn last_at(db: &Connection, seq: u64) -> rusqlite::Result<Option<(u64, u64)>> {
    db.query_row(
        "SELECT seq, through_records FROM reports
         WHERE seq <= ?1 ORDER BY seq DESC LIMIT 1",
        [int(seq)],
        |row| Ok((count(row, 0)?, figure(row, 1)?)),
    )
    .optional()
}

fn evict_records(
    db: &Connection,
    output: &str,
    reason: Evicted,
    records: u64,
) -> rusqlite::Result<()> {
    if records > 0 {
        db.execute(
            "INSERT INTO evicted VALUES (?1, ?2, ?3)
             ON CONFLICT (output, reason) DO UPDATE SET records = records + excluded.records",
            params![output, reason.as_str(), int(records)],
        )?;
    }
    Ok(())
}

/// Moves a cursor to `to`, where the running total is `records`, counts damaged reports on the
/// way and returns the other records that it passed. A running total that was damaged on the disk
/// neither goes back nor beyond all there is, so that what leaves the queue is what is counted.
fn advance(
    db: &Connection,
    state: &State,
    cursor: &Cursor,
    to: u64,
    records: u64,
) -> rusqlite::Result<u64> {
    let records = records.min(state.records).max(cursor.records);
    let passed = records - cursor.records;
    let damaged: u64 = db.query_row(
        "SELECT IFNULL(SUM(max(0, min(records, 1 << 40))), 0) FROM damaged WHERE seq > ?1 AND seq <= ?2",
        [int(cursor.at), int(to)],
        |row| count(row, 0),
    )?;
    let damaged = damaged.min(passed);
    evict_records(db, &cursor.output, Evicted::Damaged, damaged)?;
    db.execute(
        "UPDATE outputs SET cursor = ?2, cursor_records = ?3 WHERE name = ?1",
        params![cursor.output, int(to), int(records)],
    )?;
    Ok(passed - damaged)
}

/// Counts a receipt.
pub(super) fn settle(
    db: &Connection,
    state: &mut State,
    receipt: &Receipt,
) -> rusqlite::Result<()> {
    let found = db
        .query_row(
            "SELECT name, cursor, cursor_records FROM outputs WHERE name = ?1 AND active",
            [receipt.output()],
            cursor,
        )
        .optional()?;
    // An output may be removed, or its reports evicted, while a batch is on its way.
    let Some(from) = found else { return Ok(()) };
    let to = receipt.through().0.min(state.last_seq);
    if to <= from.at {
        return Ok(());
    }
    let Some((_, records)) = last_at(db, to)? else { return Ok(()) };
    let passed = advance(db, state, &from, to, records)?;
    let mut refused = 0;
    for one in receipt.refused() {
        if one.seq.0 > from.at && one.seq.0 <= to {
            refused += quarantine::put_report(db, state, &from.output, one)?;
        }
    }
    let refused = refused.min(passed);
    evict_records(db, &from.output, Evicted::Refused, refused)?;
    db.execute(
        "UPDATE outputs SET delivered = delivered + ?2 WHERE name = ?1",
        params![from.output, int(passed - refused)],
    )?;
    Ok(())
}

/// Makes `wanted` the outputs that hold cursors.
pub(super) fn set_outputs(
    db: &Connection,
    state: &State,
    wanted: &[(String, Start)],
) -> rusqlite::Result<()> {
    let active: Vec<Cursor> = db
        .prepare("SELECT name, cursor, cursor_records FROM outputs WHERE active")?
        .query_map([], cursor)?
        .collect::<Result<_, _>>()?;
    for gone in active.iter().filter(|a| wanted.iter().all(|(name, _)| *name != a.output)) {
        let passed = advance(db, state, gone, state.last_seq, state.records)?;
        evict_records(db, &gone.output, Evicted::OutputRemoved, passed)?;
        db.execute("UPDATE outputs SET active = 0 WHERE name = ?1", [&gone.output])?;
    }
    for (name, start) in wanted {
        if active.iter().any(|a| a.output == *name) {
            continue;
        }
        let oldest = match start {
            Start::Now => None,
            Start::Oldest => db
                .query_row(
                    "SELECT seq, through_records, records FROM reports ORDER BY seq LIMIT 1",
                    [],
                    |row| {
                        let before = figure(row, 1)?.saturating_sub(figure(row, 2)?);
                        Ok((count(row, 0)?, before.min(state.records)))
                    },
                )
                .optional()?,
        };
        let (at, records) = oldest.map_or((state.last_seq, state.records), |(seq, before)| {
            (seq.saturating_sub(1), before)
        });
        // One that comes back goes on with its old counts, and both sums grow by the same.
        db.execute(
            "INSERT INTO outputs VALUES (?1, 1, ?2, ?3, ?4, 0, 0) ON CONFLICT (name) DO UPDATE SET
                 active = 1, cursor = excluded.cursor, cursor_records = excluded.cursor_records,
                 accepted = accepted + excluded.accepted",
            params![name, int(at), int(records), int(state.records - records)],
        )?;
    }
    Ok(())
}

/// Notes reports whose checksum does not match. With an output, its cursor passes them now.
pub(super) fn note_damaged(
    db: &Connection,
    state: &State,
    reports: &[(Seq, u64)],
    through: Option<&str>,
) -> rusqlite::Result<()> {
    for (seq, _) in reports {
        // Only what is still there: a cursor or an eviction may have passed it since.
        db.execute(
            "INSERT OR IGNORE INTO damaged SELECT seq, records FROM reports WHERE seq = ?1",
            [int(seq.0)],
        )?;
    }
    let (Some(output), Some((last, _))) = (through, reports.last()) else { return Ok(()) };
    let from = db
        .query_row(
            "SELECT name, cursor, cursor_records FROM outputs WHERE name = ?1 AND active",
            [output],
            cursor,
        )
        .optional()?;
    if let Some(from) = from
        && from.at < last.0
        && let Some((to, records)) = last_at(db, last.0)?
    {
        let passed = advance(db, state, &from, to, records)?;
        // All between were noted; if one was passed by another way, it is still not delivered.
        evict_records(db, output, Evicted::Damaged, passed)?;
    }
    Ok(())
}

/// Evicts the oldest reports until `bytes` are freed, at most a chunk. Returns the bytes freed.
pub(super) fn evict_bytes(
    db: &Connection,
    state: &mut State,
    bytes: u64,
    reason: Evicted,
) -> rusqlite::Result<u64> {
    let mut last = None;
    let mut sum = 0;
    let mut rows = db.prepare("SELECT seq, length(body) FROM reports ORDER BY seq LIMIT ?1")?;
    let mut rows = rows.query([int(CHUNK)])?;
    while let Some(row) = rows.next()? {
        last = Some(count(row, 0)?);
        sum += weight(count(row, 1)?);
        if sum >= bytes {
            break;
        }
    }
    drop(rows);
    last.map_or(Ok(0), |seq| evict_through(db, state, seq, reason))
}

/// Evicts the oldest reports that were appended before `clock`, at most a chunk. Returns the bytes
/// freed.
pub(super) fn evict_older(db: &Connection, state: &mut State, clock: u64) -> rusqlite::Result<u64> {
    let mut last = None;
    let mut rows = db.prepare("SELECT seq, clock FROM reports ORDER BY seq LIMIT ?1")?;
    let mut rows = rows.query([int(CHUNK)])?;
    while let Some(row) = rows.next()? {
        if figure(row, 1)? >= clock {
            break;
        }
        last = Some(count(row, 0)?);
    }
    drop(rows);
    last.map_or(Ok(0), |seq| evict_through(db, state, seq, Evicted::Age))
}

fn evict_through(
    db: &Connection,
    state: &mut State,
    seq: u64,
    reason: Evicted,
) -> rusqlite::Result<u64> {
    let Some((_, records)) = last_at(db, seq)? else { return Ok(0) };
    let behind: Vec<Cursor> = db
        .prepare("SELECT name, cursor, cursor_records FROM outputs WHERE active AND cursor < ?1")?
        .query_map([int(seq)], cursor)?
        .collect::<Result<_, _>>()?;
    for from in &behind {
        let passed = advance(db, state, from, seq, records)?;
        evict_records(db, &from.output, reason, passed)?;
    }
    delete_through(db, state, seq)
}

/// Deletes reports that all cursors have passed, at most a chunk. Returns whether there are more.
pub(super) fn free(db: &Connection, state: &mut State) -> rusqlite::Result<bool> {
    let passed = db.query_row(
        "SELECT IFNULL((SELECT MIN(cursor) FROM outputs WHERE active), ?1)",
        [int(state.last_seq)],
        |row| count(row, 0),
    )?;
    let oldest = db
        .query_row("SELECT seq FROM reports ORDER BY seq LIMIT 1", [], |row| count(row, 0))
        .optional()?;
    let Some(oldest) = oldest.filter(|oldest| *oldest <= passed) else { return Ok(false) };
    let to = passed.min(oldest + CHUNK - 1);
    delete_through(db, state, to)?;
    Ok(to < passed)
}

fn delete_through(db: &Connection, state: &mut State, seq: u64) -> rusqlite::Result<u64> {
    let freed = db.query_row(
        &format!("SELECT IFNULL(SUM(length(body) + {OVERHEAD}), 0) FROM reports WHERE seq <= ?1"),
        [int(seq)],
        |row| count(row, 0),
    )?;
    db.execute("DELETE FROM reports WHERE seq <= ?1", [int(seq)])?;
    db.execute("DELETE FROM damaged WHERE seq <= ?1", [int(seq)])?;
    state.freed_bytes = (state.freed_bytes + freed).min(state.bytes);
    // Also where the totals were wrong.
    if !db.query_row("SELECT EXISTS (SELECT 1 FROM reports)", [], |row| row.get(0))? {
        state.freed_bytes = state.bytes;
    }
    Ok(freed)
}

/// By output, for how many milliseconds its oldest undelivered report has been there.
pub(super) fn waiting(db: &Connection, state: &State) -> rusqlite::Result<BTreeMap<String, u64>> {
    let mut rows = db.prepare(
        "SELECT name, (SELECT clock FROM reports WHERE seq > cursor ORDER BY seq LIMIT 1) AS since
         FROM outputs WHERE active AND since IS NOT NULL",
    )?;
    let rows =
        rows.query_map([], |row| Ok((row.get(0)?, state.clock.saturating_sub(figure(row, 1)?))))?;
    rows.collect()
}
