//! Dropping what is too old.
//!
//! Age is by the wall clock, and a wall clock may be wrong: a machine that starts in 1970 or 2038
//! must not empty its hub. So each look at the clock is held against a clock that nobody can set.
//! After a step of more than [`STEP`], or when the hub was away for longer than [`AWAY`] or seems to
//! start before it stopped, nothing is dropped for its age until the clock has gone evenly for
//! [`STEADY`] of the hub's running time. A restart does not shorten that.

use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension, params};

use super::append::Writer;
use super::points::{self, Waiting};

/// Milliseconds.
const MINUTE: i64 = 60_000;
const DAY: i64 = 24 * 60 * MINUTE;
const STEP: i64 = 10 * MINUTE;
const AWAY: i64 = 2 * DAY;
const STEADY: i64 = 7 * DAY;
/// How often the store is gone through for what is too old, and how long what was appended may wait
/// for compaction: what is not compacted does not age.
const EVERY: i64 = 60 * MINUTE;
const RAW_AGE: i64 = DAY;
/// How often what is known of the clock is written down.
const NOTED: i64 = 10 * MINUTE;
/// How long dropping may keep the next job waiting.
const PATIENCE: Duration = Duration::from_millis(100);
/// Entries of the audit log that are kept. They do not age: who took a key away last year is what
/// one wants to know.
const AUDIT_KEPT: i64 = 100_000;

/// What is known of the wall clock. Times are in milliseconds; `running` ones are of the clock that
/// nobody can set.
#[derive(Debug)]
pub(super) struct ClockWatch {
    /// The wall clock at the last look, if there ever was one.
    seen: Option<i64>,
    running: Option<i64>,
    /// For how long it has gone evenly.
    steady: i64,
    noted: i64,
}

impl ClockWatch {
    /// What was written down before. A store without, that has heard from somebody, had the clock
    /// of that moment.
    pub(super) fn load(conn: &Connection) -> rusqlite::Result<Self> {
        let mark = |name| {
            conn.query_row("SELECT value FROM marks WHERE name = ?1", [name], |row| row.get(0))
                .optional()
        };
        let heard: Option<i64> =
            conn.query_row("SELECT max(received_ms) FROM monitors", (), |row| row.get(0))?;
        Ok(Self {
            seen: mark("clock_seen")?.or(heard),
            running: None,
            steady: mark("clock_steady")?.unwrap_or(STEADY),
            noted: i64::MIN,
        })
    }

    /// Looks at both clocks. Gives whether the wall clock is to be believed.
    fn look(&mut self, now: i64, running: i64) -> bool {
        let was_believed = self.steady >= STEADY;
        let step = match (self.seen, self.running) {
            (Some(seen), Some(before)) => {
                let off = now.saturating_sub(seen).saturating_sub(running - before);
                (off.saturating_abs() > STEP).then_some(off)
            }
            // Since the hub stopped some time went by, nobody knows how much.
            (Some(seen), None) => {
                let away = now.saturating_sub(seen);
                (!(-STEP..=AWAY).contains(&away)).then_some(away)
            }
            (None, _) => None,
        };
        match (step, self.running) {
            (Some(step), _) => {
                self.steady = 0;
                tracing::warn!(
                    seconds = step / 1000,
                    "the clock stepped, or the hub was away for long: nothing is dropped for its age until the clock has gone evenly for seven days"
                );
            }
            (None, Some(before)) => self.steady = self.steady.saturating_add(running - before),
            (None, None) => {}
        }
        self.seen = Some(now);
        self.running = Some(running);
        let believed = self.steady >= STEADY;
        if believed && !was_believed {
            tracing::info!("the clock has gone evenly: what is too old is dropped again");
        }
        believed
    }

    fn note(&mut self, conn: &Connection, running: i64) -> rusqlite::Result<()> {
        if self.noted != i64::MIN && running - self.noted < NOTED && self.steady > 0 {
            return Ok(());
        }
        let mut insert =
            conn.prepare_cached("INSERT OR REPLACE INTO marks (name, value) VALUES (?1, ?2)")?;
        insert.execute(params!["clock_seen", self.seen])?;
        insert.execute(params!["clock_steady", self.steady.min(STEADY)])?;
        self.noted = running;
        Ok(())
    }
}

/// When what was last done, in running time.
#[derive(Debug, Default)]
pub(super) struct Done {
    dropped: Option<i64>,
    compacted: Option<i64>,
    /// The oldest moment that is kept, as of the last look at the clock.
    pub(super) cutoff: Option<i64>,
}

impl Writer {
    /// Does what is due as time goes by, whether or not anything comes in. `now` is the wall clock
    /// in milliseconds since 1970, `running` a clock that nobody can set, in milliseconds since any
    /// moment.
    pub(crate) fn tend(&mut self, now: i64, running: i64) {
        self.tidy(|writer| writer.try_tend(now, running));
    }

    fn try_tend(&mut self, now: i64, running: i64) -> rusqlite::Result<()> {
        let believed = self.clock.look(now, running);
        let transaction = self.conn.transaction()?;
        self.clock.note(&transaction, running)?;
        transaction.commit()?;
        let kept = self.limits.retention.map(|kept| kept.as_millis() as i64);
        self.done.cutoff = kept.filter(|_| believed).map(|kept| now.saturating_sub(kept));
        let due = |last: &mut Option<i64>, every| running - *last.get_or_insert(running) >= every;
        let raw_age = kept.map_or(RAW_AGE, |kept| (kept / 16).clamp(MINUTE, RAW_AGE));
        if self.dropped || due(&mut self.done.compacted, raw_age) {
            if self.waiting != Waiting::default() {
                self.compact()?;
            }
            self.done.compacted = Some(running);
        }
        self.free()?;
        if let Some(cutoff) = self.done.cutoff
            && self.done.dropped.is_none_or(|last| running - last >= EVERY)
            && self.drop_before(cutoff)?
        {
            self.done.dropped = Some(running);
        }
        self.sweep()
    }

    /// Drops what is older than `cutoff`, and says whether that was all.
    fn drop_before(&mut self, cutoff: i64) -> rusqlite::Result<bool> {
        let begun = Instant::now();
        let mut gone = 0;
        loop {
            let transaction = self.conn.transaction()?;
            let of_points = points::drop_before(&transaction, cutoff)?;
            transaction.commit()?;
            gone += of_points;
            if of_points == 0 {
                break;
            }
            if begun.elapsed() > PATIENCE {
                return Ok(false);
            }
        }
        let transaction = self.conn.transaction()?;
        gone += transaction.execute("DELETE FROM rejections WHERE started_ms < ?1", [cutoff])?;
        gone +=
            transaction.execute("DELETE FROM additional_results WHERE check_ms < ?1", [cutoff])?;
        transaction.execute(
            "DELETE FROM audit WHERE id <= (SELECT max(id) FROM audit) - ?1",
            [AUDIT_KEPT],
        )?;
        transaction.commit()?;
        if gone > 0 {
            self.forget_empty_series()?;
            tracing::debug!(gone, "what was too old went");
            self.conn.execute_batch("PRAGMA incremental_vacuum(4096)")?;
        }
        Ok(true)
    }

    /// Forgets series of which no point is left, so that names that never come back do not pile up.
    pub(super) fn forget_empty_series(&mut self) -> rusqlite::Result<()> {
        // What is raw may have points of any series.
        if self.waiting != Waiting::default() {
            return Ok(());
        }
        self.change(|conn| match points::oldest(conn)? {
            Some(oldest) => conn.execute("DELETE FROM series WHERE last_ms < ?1", [oldest]),
            None => conn.execute("DELETE FROM series WHERE last_ms IS NOT NULL", ()),
        })
        .map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(seen: Option<i64>, steady: i64) -> ClockWatch {
        ClockWatch { seen, running: None, steady, noted: i64::MIN }
    }

    #[test]
    fn a_clock_that_goes_evenly_is_believed() {
        let mut clock = watch(None, STEADY);
        for minute in 0..5000 {
            assert!(clock.look(1_000_000 + minute * MINUTE, minute * MINUTE));
        }
    }

    #[test]
    fn after_a_step_the_clock_is_believed_once_it_has_gone_evenly() {
        for step in [400 * DAY, -400 * DAY, STEP + 1, -STEP - 1] {
            let mut clock = watch(None, STEADY);
            assert!(clock.look(500 * DAY, 0));
            assert!(!clock.look(500 * DAY + step, 0), "{step}");
            for hour in 1..7 * 24 {
                let by = hour * 60 * MINUTE;
                assert!(!clock.look(500 * DAY + step + by, by), "{step} after {hour} h");
            }
            assert!(clock.look(507 * DAY + step, 7 * DAY), "{step}");
        }
        // A small one is no step.
        let mut clock = watch(None, STEADY);
        assert!(clock.look(0, 0) && clock.look(STEP, 0) && clock.look(0, 0));
    }

    #[test]
    fn a_restart_is_no_way_around_it() {
        for (seen, steady, now, believed) in [
            (10 * DAY, STEADY, 11 * DAY, true),
            (10 * DAY, STEADY, 13 * DAY, false),
            (10 * DAY, STEADY, 9 * DAY, false),
            (10 * DAY, STEADY - 1, 10 * DAY, false),
        ] {
            assert_eq!(watch(Some(seen), steady).look(now, 5), believed, "{seen} {steady} {now}");
        }
    }
}
