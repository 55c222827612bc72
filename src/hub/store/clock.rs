//! Whether the wall clock is to be believed.
//!
//! Age is by the wall clock, and a wall clock may be wrong: a machine that starts in 1970 or 2038
//! must not empty its hub. So each look at the clock is held against a clock that nobody can set.
//! After a step of more than [`STEP`], or when the hub was away for longer than [`AWAY`] or seems to
//! start before it stopped, the clock is not believed until it has gone evenly for [`STEADY`] of the
//! hub's running time. A restart does not shorten that, and time that the hub was off counts for
//! nothing; nor does a restart begin it anew, so that a hub that is off every weekend gets there.

use rusqlite::{Connection, OptionalExtension, params};

/// Milliseconds.
pub(super) const MINUTE: i64 = 60_000;
pub(super) const DAY: i64 = 24 * 60 * MINUTE;
const STEP: i64 = 10 * MINUTE;
const AWAY: i64 = 45 * DAY;
const STEADY: i64 = 7 * DAY;
/// How often what is known of the clock is written down.
const NOTED: i64 = 10 * MINUTE;

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
    pub(super) fn look(&mut self, now: i64, running: i64) -> bool {
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

    /// The wall clock at the last look.
    pub(super) fn seen(&self) -> Option<i64> {
        self.seen
    }

    pub(super) fn note(&mut self, conn: &Connection, running: i64) -> rusqlite::Result<()> {
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
    pub(super) dropped: Option<i64>,
    pub(super) compacted: Option<i64>,
    /// The segment up to which those with points ahead of the clock were looked at.
    pub(super) trimmed: i64,
    /// The oldest moment that is kept, as of the last look at the clock.
    pub(super) cutoff: Option<i64>,
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
            (10 * DAY, STEADY, 13 * DAY, true),
            (10 * DAY, STEADY, 55 * DAY, true),
            (10 * DAY, STEADY, 55 * DAY + 1, false),
            (10 * DAY, STEADY - 1, 54 * DAY, false),
            (10 * DAY, STEADY, 9 * DAY, false),
            (10 * DAY, STEADY - 1, 10 * DAY, false),
        ] {
            assert_eq!(watch(Some(seen), steady).look(now, 5), believed, "{seen} {steady} {now}");
        }
    }

    #[test]
    fn a_hub_that_is_off_every_weekend_gets_to_believe_its_clock() {
        // On for five days, off for two and a half; at first the clock is wrong.
        let mut clock = watch(Some(500 * DAY), STEADY);
        let mut now = 10 * DAY;
        let mut ran = 0;
        for _week in 0..3 {
            for hour in 0..=5 * 24 {
                let by = hour * 60 * MINUTE;
                let believed = clock.look(now + by, by);
                assert_eq!(believed, ran + by >= STEADY, "after {} h", (ran + by) / 60 / MINUTE);
            }
            ran += 5 * DAY;
            now += 7 * DAY + DAY / 2;
            clock = watch(clock.seen, clock.steady);
        }
    }
}
