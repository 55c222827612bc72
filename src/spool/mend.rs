//! Puts right what contradicts itself.
//!
//! SQLite has no checksum of a row, so a counter in which a bit flipped on the disk reads like any other
//! number. What waits for the outputs is known without the counters: every report has a checksum and a
//! place in the queue. So no report is given up for a wrong count. What follows from the queue is
//! computed again; where a row of the ledger still does not add up, nobody can tell which of its
//! numbers is the wrong one, and it begins anew with what is in the queue.

use rusqlite::{Connection, OptionalExtension, params};

use super::quarantine;
use super::state::int;
use super::store::weight;
use crate::model::Evicted;

/// Mends the file's figures in one transaction. Returns what was wrong, a line each.
pub(super) fn figures(db: &Connection) -> rusqlite::Result<Vec<String>> {
    let tx = db.unchecked_transaction()?;
    let mut wrong = Vec::new();
    totals(&tx, &mut wrong)?;
    cursors(&tx, &mut wrong)?;
    outputs(&tx, &mut wrong)?;
    plugins(&tx, &mut wrong)?;
    if !wrong.is_empty() {
        tx.commit()?;
    }
    Ok(wrong)
}

/// A report's row, without its body. What it holds may be damaged as well, so it is not a count.
struct Row {
    seq: i64,
    records: i64,
    through_records: i64,
    through_bytes: i64,
    clock: i64,
    weight: i64,
}

fn report(db: &Connection, which: &str, seq: i64) -> rusqlite::Result<Option<Row>> {
    let sql = format!(
        "SELECT seq, records, through_records, through_bytes, clock, length(body) FROM reports
         WHERE {which} LIMIT 1"
    );
    db.query_row(&sql, [seq], |row| {
        let body: u32 = row.get(5)?;
        Ok(Row {
            seq: row.get(0)?,
            records: row.get(1)?,
            through_records: row.get(2)?,
            through_bytes: row.get(3)?,
            clock: row.get(4)?,
            weight: int(weight(u64::from(body))),
        })
    })
    .optional()
}

/// In milliseconds. No agent is up for so long without a report.
const YEAR: i64 = 366 * 24 * 3_600_000;

const UP_TO: &str = "seq <= ?1 ORDER BY seq DESC";
const AFTER: &str = "seq > ?1 ORDER BY seq";

/// The totals of the whole file, from both ends of the queue.
fn totals(db: &Connection, wrong: &mut Vec<String>) -> rusqlite::Result<()> {
    let (first, last) = (report(db, AFTER, -1)?, report(db, UP_TO, i64::MAX)?);
    let (last_seq, quarantined): (i64, i64) =
        db.query_row("SELECT last_seq, quarantine_bytes FROM state", [], |r| {
            Ok((r.get(0)?, r.get(1)?))
        })?;
    let now: [i64; 4] =
        db.query_row("SELECT records, bytes, freed_bytes, clock FROM state", [], |r| {
            Ok([r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?])
        })?;
    let mut right = now.map(|n| n.max(0));
    let [records, bytes, freed, clock] = &mut right;
    if let Some(last) = &last {
        // Without outputs reports are numbered and counted, and not kept.
        if last.seq == last_seq || *records < last.through_records {
            *records = last.through_records.max(0);
        }
        *bytes = last.through_bytes.max(0);
        // A clock that is far ahead would make every report too old to keep.
        if !(last.clock..last.clock.saturating_add(YEAR)).contains(clock) {
            *clock = last.clock.max(0);
        }
    }
    *freed = match &first {
        Some(first) => first.through_bytes.saturating_sub(first.weight).clamp(0, *bytes),
        None => *bytes,
    };
    if right != now {
        db.execute(
            "UPDATE state SET records = ?1, bytes = ?2, freed_bytes = ?3, clock = ?4",
            right,
        )?;
        wrong.push("the totals of the queue".to_owned());
    }
    if quarantined < 0 {
        db.execute("UPDATE state SET quarantine_bytes = ?1", [int(quarantine::bytes(db)?)])?;
        wrong.push("the size of the quarantine".to_owned());
    }
    Ok(())
}

/// The places of the outputs. Where number and running total of one do not go together, the earlier
/// place of the two counts: a hub knows what it has by its number, and what was skipped would be lost.
fn cursors(db: &Connection, wrong: &mut Vec<String>) -> rusqlite::Result<()> {
    let (last_seq, total): (i64, i64) =
        db.query_row("SELECT last_seq, records FROM state", [], |r| Ok((r.get(0)?, r.get(1)?)))?;
    if db.execute("UPDATE outputs SET active = 1 WHERE active NOT IN (0, 1)", [])? > 0 {
        wrong.push("whether an output is in use".to_owned());
    }
    let active: Vec<(String, i64, i64)> = db
        .prepare("SELECT name, cursor, cursor_records FROM outputs WHERE active")?
        .query_map([], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))?
        .collect::<Result<_, _>>()?;
    // The running totals that a cursor may have between the reports on its sides.
    let bounds = |at: i64| -> rusqlite::Result<(i64, i64)> {
        let most = report(db, AFTER, at)?
            .map_or(total, |next| next.through_records.saturating_sub(next.records));
        let least = report(db, UP_TO, at)?.map_or(most, |last| last.through_records);
        Ok((least, most))
    };
    for (name, cursor, records) in active {
        let (least, most) = bounds(cursor)?;
        if (0..=last_seq).contains(&cursor) && (least..=most).contains(&records) {
            continue;
        }
        let told = report(db, "through_records >= ?1 ORDER BY seq", records)?;
        let told = told.map_or(last_seq, |r| r.seq - i64::from(r.through_records > records));
        let at = cursor.clamp(0, last_seq).min(told.max(0));
        let records = bounds(at)?.1.clamp(0, total);
        db.execute(
            "UPDATE outputs SET cursor = ?2, cursor_records = ?3 WHERE name = ?1",
            params![name, at, records],
        )?;
        wrong.push(format!("the place of output `{name}` in the queue, which is now after {at}"));
    }
    Ok(())
}

/// Outputs whose row does not add up begin with what they have in the queue.
fn outputs(db: &Connection, wrong: &mut Vec<String>) -> rusqlite::Result<()> {
    // `total` adds without overflow; a reason that is no reason is one that was damaged.
    let reasons: Vec<String> =
        Evicted::ALL.iter().map(|reason| format!("'{}'", reason.as_str())).collect();
    let reasons = reasons.join(", ");
    let sql = format!(
        "WITH lost AS (
             SELECT output, total(records) AS n,
                    min(records) < 0 OR max(reason NOT IN ({reasons})) AS bad
             FROM evicted GROUP BY output),
         spooled AS (
             SELECT name, CASE WHEN active THEN s.records - cursor_records ELSE 0 END AS n
             FROM outputs, state s)
         SELECT o.name, o.accepted, o.delivered, s.n
         FROM outputs o JOIN spooled s USING (name) LEFT JOIN lost l ON l.output = o.name
         WHERE min(o.accepted, o.delivered, o.filtered, s.n) < 0 OR ifnull(l.bad, 0)
            OR o.accepted <> o.delivered + s.n + o.filtered + ifnull(l.n, 0)
         UNION SELECT output, 0, 0, 0 FROM lost WHERE output NOT IN (SELECT name FROM outputs)"
    );
    let found: Vec<(String, i64, i64, i64)> = db
        .prepare(&sql)?
        .query_map([], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?)))?
        .collect::<Result<_, _>>()?;
    for (name, accepted, delivered, spooled) in found {
        db.execute("DELETE FROM evicted WHERE output = ?1", [&name])?;
        db.execute(
            "UPDATE outputs SET accepted = ?2, delivered = 0, filtered = 0 WHERE name = ?1",
            params![name, spooled.max(0)],
        )?;
        wrong.push(format!(
            "the counts of output `{name}` (accepted {accepted}, delivered {delivered}), which \
             begin with the {spooled} records that wait for it"
        ));
    }
    Ok(())
}

/// Plugins whose row does not add up begin with nothing.
fn plugins(db: &Connection, wrong: &mut Vec<String>) -> rusqlite::Result<()> {
    let found: Vec<(String, i64, i64)> = db
        .prepare(
            "WITH refused AS (
                 SELECT plugin, total(records) AS n, min(records) < 0 AS bad
                 FROM rejected GROUP BY plugin)
             SELECT p.name, p.produced, p.accepted
             FROM plugins p LEFT JOIN refused r ON r.plugin = p.name
             WHERE min(p.runs, p.skipped, p.produced, p.accepted) < 0 OR ifnull(r.bad, 0)
                OR p.produced <> p.accepted + ifnull(r.n, 0)
             UNION SELECT plugin, 0, 0 FROM refused WHERE plugin NOT IN (SELECT name FROM plugins)",
        )?
        .query_map([], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))?
        .collect::<Result<_, _>>()?;
    for (name, produced, accepted) in found {
        db.execute("DELETE FROM rejected WHERE plugin = ?1", [&name])?;
        db.execute(
            "UPDATE plugins SET runs = 0, skipped = 0, produced = 0, accepted = 0 WHERE name = ?1",
            [&name],
        )?;
        wrong.push(format!(
            "the counts of plugin `{name}` (produced {produced}, accepted {accepted}), which begin \
             anew"
        ));
    }
    Ok(())
}
