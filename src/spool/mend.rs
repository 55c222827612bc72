//! Puts right what contradicts itself.
//!
//! SQLite has no checksum of a row, so a counter in which a bit flipped on the disk reads like any other
//! number. Almost every number here follows from two others, though: the running totals of a report from
//! those of the report before it, the place of an output from its running total, and that from its row in
//! the ledger. What two witnesses agree on is right. Where nobody can tell which number is the wrong one,
//! no report is given up: an output stands at the earliest place that is possible, and a row of the
//! ledger begins anew with what is in the queue.

use rusqlite::{Connection, OptionalExtension, params};

use super::quarantine;
use super::state::int;
use super::store::weight;
use crate::model::Evicted;

/// Mends the file's figures in one transaction. Returns what was wrong, a phrase each.
pub(super) fn figures(db: &Connection) -> rusqlite::Result<Vec<String>> {
    let tx = db.unchecked_transaction()?;
    let mut wrong = Vec::new();
    let outputs = Output::all(&tx)?;
    let total = totals(&tx, &outputs, &mut wrong)?;
    for output in outputs {
        output.mend(&tx, total, &mut wrong)?;
    }
    strangers(&tx, &mut wrong)?;
    plugins(&tx, &mut wrong)?;
    tx.commit()?;
    Ok(wrong)
}

/// A report's row, without its body. What it holds may be damaged as well.
struct Row {
    seq: i64,
    records: i64,
    through_records: i64,
    through_bytes: i64,
    clock: i64,
    weight: i64,
}

impl Row {
    fn find(db: &Connection, which: &str, than: i64) -> rusqlite::Result<Option<Self>> {
        let sql = format!(
            "SELECT seq, records, through_records, through_bytes, clock, length(body) FROM reports
             WHERE {which} LIMIT 1"
        );
        db.query_row(&sql, [than], |row| {
            let body: u32 = row.get(5)?;
            Ok(Self {
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

    fn before(db: &Connection, seq: i64) -> rusqlite::Result<Option<Self>> {
        Self::find(db, "seq < ?1 ORDER BY seq DESC", seq)
    }

    fn after(db: &Connection, seq: i64) -> rusqlite::Result<Option<Self>> {
        Self::find(db, "seq > ?1 ORDER BY seq", seq)
    }

    /// Whether its running total of records follows from that of the report before it.
    fn follows_in_records(&self, before: Option<&Self>) -> bool {
        before.is_some_and(|before| {
            before.through_records.checked_add(self.records) == Some(self.through_records)
        })
    }

    /// Whether its running total of bytes follows from that of the report before it.
    fn follows_in_bytes(&self, before: Option<&Self>) -> bool {
        before.is_some_and(|before| {
            before.through_bytes.checked_add(self.weight) == Some(self.through_bytes)
        })
    }
}

/// No spool comes to this number of a report.
pub(super) const HIGHEST: i64 = 1 << 53;

/// In milliseconds. A clock that is ahead makes reports too old to keep; one that is behind does no harm.
const HOUR: i64 = 3_600_000;

/// The totals of the whole file, from both ends of the queue. Returns the records of all reports ever.
fn totals(db: &Connection, outputs: &[Output], wrong: &mut Vec<String>) -> rusqlite::Result<i64> {
    let last = Row::before(db, i64::MAX)?;
    let sql = "SELECT last_seq, quarantine_bytes FROM state";
    let (mut last_seq, quarantined): (i64, i64) =
        db.query_row(sql, [], |r| Ok((r.get(0)?, r.get(1)?)))?;
    if let Some(last) = &last
        && !(last.seq..=HIGHEST).contains(&last_seq)
    {
        last_seq = last.seq;
        db.execute("UPDATE state SET last_seq = ?1", [last_seq])?;
        wrong.push("the number of the last report".to_owned());
    }
    let sql = "SELECT records, bytes, freed_bytes, clock FROM state";
    let now: [i64; 4] =
        db.query_row(sql, [], |r| Ok([r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?]))?;
    let mut right = now.map(|n| n.max(0));
    let [records, bytes, freed, clock] = &mut right;
    if let (Some(first), Some(last)) = (Row::after(db, -1)?, last) {
        let before = Row::before(db, last.seq)?;
        // Without outputs reports are numbered and counted, and not kept.
        let may_be_more = last.seq < last_seq && *records > last.through_records;
        let agrees = |total| outputs.iter().any(|output| output.adds_up_to(total));
        if !may_be_more
            && !agrees(*records)
            && (last.follows_in_records(before.as_ref()) || agrees(last.through_records))
        {
            *records = last.through_records.max(0);
        }
        if let Some(before) = &before {
            if last.follows_in_bytes(Some(before)) {
                *bytes = last.through_bytes.max(0);
            }
            let second = Row::after(db, first.seq)?;
            if second.is_some_and(|second| second.follows_in_bytes(Some(&first))) {
                *freed = first.through_bytes.saturating_sub(first.weight);
            }
        } else if first.through_bytes.saturating_sub(first.weight) == *freed {
            *bytes = first.through_bytes.max(0);
        } else {
            *freed = bytes.saturating_sub(first.weight);
        }
        *freed = (*freed).clamp(0, *bytes);
        let latest = before.map_or(last.clock, |before| before.clock.max(last.clock)).max(0);
        // Where reports are rare that is no mistake, so it is not told as one.
        *clock = (*clock).min(latest.saturating_add(HOUR));
    } else {
        // Nothing is kept.
        *bytes = (*bytes).max(*freed);
        *freed = *bytes;
    }
    if right != now {
        let set = "UPDATE state SET records = ?1, bytes = ?2, freed_bytes = ?3, clock = ?4";
        db.execute(set, right)?;
    }
    if right[..3] != now[..3] || now[3] < 0 {
        wrong.push("the totals of the queue".to_owned());
    }
    if quarantined < 0 {
        db.execute("UPDATE state SET quarantine_bytes = ?1", [int(quarantine::bytes(db)?)])?;
        wrong.push("the size of the quarantine".to_owned());
    }
    Ok(right[0])
}

/// An output's row, with what is counted as evicted from it.
struct Output {
    name: String,
    active: i64,
    cursor: i64,
    cursor_records: i64,
    accepted: i64,
    delivered: i64,
    /// Delivered, filtered and evicted; `None` where one of them is no count.
    gone: Option<i64>,
}

impl Output {
    fn all(db: &Connection) -> rusqlite::Result<Vec<Self>> {
        // `total` adds without overflow; a reason that is none was damaged.
        let reasons: Vec<String> =
            Evicted::ALL.iter().map(|reason| format!("'{}'", reason.as_str())).collect();
        let sql = format!(
            "SELECT name, active, cursor, cursor_records, accepted, delivered, filtered,
                 (SELECT cast(total(records) AS INTEGER) FROM evicted WHERE output = name),
                 (SELECT min(records) < 0 OR max(reason NOT IN ({})) FROM evicted
                  WHERE output = name)
             FROM outputs",
            reasons.join(", ")
        );
        db.prepare(&sql)?
            .query_map([], |r| {
                let (delivered, filtered): (i64, i64) = (r.get(5)?, r.get(6)?);
                let (evicted, bad): (i64, Option<bool>) = (r.get(7)?, r.get(8)?);
                let counts = delivered >= 0 && filtered >= 0 && bad != Some(true);
                let gone = delivered.checked_add(filtered).and_then(|n| n.checked_add(evicted));
                Ok(Self {
                    name: r.get(0)?,
                    active: r.get(1)?,
                    cursor: r.get(2)?,
                    cursor_records: r.get(3)?,
                    accepted: r.get(4)?,
                    delivered,
                    gone: gone.filter(|_| counts),
                })
            })?
            .collect()
    }

    /// What waits for it as the ledger has it.
    fn waiting(&self) -> Option<i64> {
        self.gone.and_then(|gone| self.accepted.checked_sub(gone)).filter(|waiting| *waiting >= 0)
    }

    /// Whether its row adds up where `total` is the records of all reports ever.
    fn adds_up_to(&self, total: i64) -> bool {
        self.active == 1
            && self.waiting().and_then(|waiting| waiting.checked_add(self.cursor_records))
                == Some(total)
    }

    fn mend(
        mut self,
        db: &Connection,
        total: i64,
        wrong: &mut Vec<String>,
    ) -> rusqlite::Result<()> {
        let told = self.waiting().map(|waiting| total - waiting).filter(|told| *told >= 0);
        let queue = Queue { db, total };
        // One that is not in use has nothing that waits for it.
        let waits = told.is_some_and(|told| told < total && told == self.cursor_records);
        let active = self.active != 0 || waits;
        if active && self.active != 1 {
            db.execute("UPDATE outputs SET active = 1 WHERE name = ?1", [&self.name])?;
            wrong.push(format!("whether output `{}` is in use", self.name));
        }
        let waiting = if active {
            let (cursor, records) = (self.cursor, self.cursor_records);
            self.place(&queue, told)?;
            if (cursor, records) != (self.cursor, self.cursor_records) {
                db.execute(
                    "UPDATE outputs SET cursor = ?2, cursor_records = ?3 WHERE name = ?1",
                    params![self.name, self.cursor, self.cursor_records],
                )?;
                wrong.push(format!(
                    "the place of output `{}` in the queue, which is now after report {}",
                    self.name, self.cursor
                ));
            }
            total - self.cursor_records
        } else {
            0
        };
        if self.waiting() != Some(waiting) {
            db.execute("DELETE FROM evicted WHERE output = ?1", [&self.name])?;
            db.execute(
                "UPDATE outputs SET accepted = ?2, delivered = 0, filtered = 0 WHERE name = ?1",
                params![self.name, waiting],
            )?;
            wrong.push(format!(
                "the counts of output `{}` (accepted {}, delivered {}), which begin with the \
                 {waiting} records that wait for it",
                self.name, self.accepted, self.delivered
            ));
        }
        Ok(())
    }

    /// Puts it where two of its number, its running total and its row in the ledger (`told`) agree, and
    /// never later than its number says.
    fn place(&mut self, queue: &Queue<'_>, told: Option<i64>) -> rusqlite::Result<()> {
        if queue.is_at(self.cursor, self.cursor_records)? {
            return Ok(());
        }
        if let Some(told) = told {
            if queue.is_at(self.cursor, told)? {
                self.cursor_records = told;
                return Ok(());
            }
            if told == self.cursor_records {
                self.cursor = queue.earliest(self.cursor, told)?;
                return Ok(());
            }
        }
        self.cursor = queue.earliest(self.cursor, self.cursor_records)?;
        self.cursor_records = queue.bounds(self.cursor)?.1.clamp(0, queue.total);
        Ok(())
    }
}

/// The reports by their places.
struct Queue<'a> {
    db: &'a Connection,
    total: i64,
}

impl Queue<'_> {
    /// The running totals that are possible after report `at`: those of the reports on both sides.
    fn bounds(&self, at: i64) -> rusqlite::Result<(i64, i64)> {
        let most = Row::after(self.db, at)?
            .map_or(self.total, |next| next.through_records.saturating_sub(next.records));
        let last = Row::before(self.db, at.saturating_add(1))?;
        Ok((last.map_or(most, |last| last.through_records), most))
    }

    fn last_seq(&self) -> rusqlite::Result<i64> {
        self.db.query_row("SELECT last_seq FROM state", [], |r| r.get(0))
    }

    /// Whether `records` can be the running total after report `at`.
    fn is_at(&self, at: i64, records: i64) -> rusqlite::Result<bool> {
        let (least, most) = self.bounds(at)?;
        Ok((0..=self.last_seq()?).contains(&at)
            && (0..=self.total).contains(&records)
            && (least..=most).contains(&records))
    }

    /// The earlier one of `at` and of where the running total is `records`: a hub knows by its number what
    /// it has already, and what is skipped is lost.
    fn earliest(&self, at: i64, records: i64) -> rusqlite::Result<i64> {
        let last = self.last_seq()?;
        let next = Row::find(self.db, "through_records >= ?1 ORDER BY seq", records)?;
        let place = next.map_or(last, |r| r.seq - i64::from(r.through_records > records)).max(0);
        Ok(if (0..=last).contains(&at) { at.min(place) } else { place })
    }
}

/// Evictions from outputs that there are not: a name was damaged.
fn strangers(db: &Connection, wrong: &mut Vec<String>) -> rusqlite::Result<()> {
    let gone =
        db.execute("DELETE FROM evicted WHERE output NOT IN (SELECT name FROM outputs)", [])?;
    if gone > 0 {
        wrong.push("evictions from an output that there is not".to_owned());
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
