use std::time::{Duration, Instant, SystemTime};

use crate::exec::{Next, Timetable};
use crate::model::Timestamp;
use crate::schedule::{Backoff, Cron, Every};

/// The latest first run of a plugin with a long interval: who starts an agent wants to see
/// something. Later runs keep to the phase.
const SOON: Duration = Duration::from_secs(5);
/// A calendar follows the wall clock, which may step: it is asked at least this often.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// Every interval at a phase of its own, counted from the agent's start.
pub(super) struct Splayed {
    every: Every,
    origin: Instant,
    early: Option<Instant>,
}

impl Splayed {
    /// `origin` is the agent's start; a plugin that comes with a reload keeps the same phase.
    pub(super) fn new(every: Every, origin: Instant, now: Instant) -> Self {
        let first = origin + every.first_at_or_after(now.duration_since(origin));
        let soon = Duration::from_nanos_u128(every.phase.as_nanos() % SOON.as_nanos());
        let early = (first > now + SOON).then(|| now + soon);
        Self { every, origin, early }
    }
}

impl Timetable for Splayed {
    fn next(&mut self, last: Option<Instant>, now: Instant) -> Next {
        let since = now.duration_since(self.origin);
        if let Some(early) = self.early {
            if last.is_none() {
                return Next::Due { at: early, missed: 0 };
            }
            self.early = None;
            return Next::Due { at: self.origin + self.every.first_at_or_after(since), missed: 0 };
        }
        match last {
            None => Next::Due { at: self.origin + self.every.first_at_or_after(since), missed: 0 },
            Some(last) => {
                let (at, missed) = self.every.next_after(last.duration_since(self.origin), since);
                Next::Due { at: self.origin + at, missed }
            }
        }
    }
}

/// At full multiples of the interval on the wall clock.
pub(super) struct Aligned {
    pub(super) interval: Duration,
}

impl Timetable for Aligned {
    fn next(&mut self, _last: Option<Instant>, now: Instant) -> Next {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let interval = self.interval.as_nanos().max(1);
        let into = Duration::from_nanos_u128(since.as_nanos() % interval);
        Next::Due { at: now + (self.interval - into), missed: 0 }
    }
}

/// By the calendar.
pub(super) struct Calendar {
    cron: Cron,
    /// The wall-clock time that was last announced as due, so that it is not due twice.
    done: Option<Timestamp>,
    next: Option<Timestamp>,
}

impl Calendar {
    pub(super) fn new(cron: Cron) -> Self {
        Self { cron, done: None, next: None }
    }
}

impl Timetable for Calendar {
    fn next(&mut self, last: Option<Instant>, now: Instant) -> Next {
        let wall = Timestamp::from(SystemTime::now());
        if last.is_some() {
            self.done = self.next.take();
        }
        // A wall clock that is a few milliseconds behind the monotonic one must not give the same
        // minute again.
        let after = self.done.filter(|done| *done > wall).unwrap_or(wall);
        let Some(next) = self.cron.next_after(after) else { return Next::Never };
        let wait = Duration::from_millis((next.millis() - wall.millis()).max(0).unsigned_abs());
        if wait > LOOK_AGAIN {
            return Next::Ask(now + LOOK_AGAIN);
        }
        self.next = Some(next);
        Next::Due { at: now + wait, missed: 0 }
    }
}

/// At no time: it prints when it likes.
pub(super) struct Never;

impl Timetable for Never {
    fn next(&mut self, _last: Option<Instant>, _now: Instant) -> Next {
        Next::Never
    }
}

/// For a plugin that lives on: started again after 1 s at most, then 2 s, up to 5 min, each drawn
/// evenly from 0 on so that many that fail together do not come back together.
pub(super) struct Restarted {
    table: Box<dyn Timetable>,
    backoff: Backoff,
}

impl Restarted {
    pub(super) fn new(table: Box<dyn Timetable>) -> Self {
        Self { table, backoff: Backoff::new(Duration::from_secs(1), Duration::from_secs(300)) }
    }
}

impl Timetable for Restarted {
    fn next(&mut self, last: Option<Instant>, now: Instant) -> Next {
        self.table.next(last, now)
    }

    fn restart(&mut self, failures: u32) -> Duration {
        if failures <= 1 {
            self.backoff.reset();
        }
        self.backoff.after_failure(rand::random())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn due(next: Next) -> Instant {
        match next {
            Next::Due { at, .. } => at,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_long_interval_starts_soon_and_then_keeps_its_phase() {
        let origin = Instant::now();
        let every = Every { interval: 60 * S, phase: 33 * S };
        let mut table = Splayed::new(every, origin, origin);
        let first = due(table.next(None, origin));
        assert_eq!(first, origin + 3 * S);
        let second = due(table.next(Some(first), first));
        assert_eq!(second, origin + 33 * S);
        assert_eq!(due(table.next(Some(second), second)), origin + 93 * S);
    }

    #[test]
    fn a_reload_keeps_the_phase_and_sleep_is_counted() {
        let origin = Instant::now();
        let every = Every { interval: 4 * S, phase: S };
        let mut table = Splayed::new(every, origin, origin + 30 * S);
        let first = due(table.next(None, origin + 30 * S));
        assert_eq!(first, origin + 33 * S);
        let late = table.next(Some(first), origin + 50 * S);
        assert_eq!(late, Next::Due { at: origin + 53 * S, missed: 4 });
    }

    #[test]
    fn restarts_grow_further_apart_and_near_again_after_a_healthy_life() {
        let mut table = Restarted::new(Box::new(Never));
        assert_eq!(table.next(None, Instant::now()), Next::Never);
        for failures in 1..=20 {
            let most = Duration::from_secs(1 << (failures - 1).min(9)).min(300 * S);
            assert!(table.restart(failures) <= most);
        }
        assert!(table.restart(1) <= S);
    }

    #[test]
    fn aligned_runs_fall_on_the_wall_clock() {
        let now = Instant::now();
        let at = due(Aligned { interval: 10 * S }.next(None, now));
        let wall = SystemTime::now() + (at - now);
        let into = wall.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() % 10_000;
        assert!(!(50..=9_950).contains(&into), "{into} ms into the interval");
    }

    #[test]
    fn a_calendar_far_away_is_asked_again_and_a_due_time_comes_once() {
        let now = Instant::now();
        let mut yearly = Calendar::new(Cron::parse("0 0 1 1 *", Some("UTC")).unwrap());
        let mut often = Calendar::new(Cron::parse("*/2 * * * * *", Some("UTC")).unwrap());
        // On New Year's Eve the first is due for real.
        assert!(matches!(yearly.next(None, now), Next::Ask(_) | Next::Due { .. }));
        let first = due(often.next(None, now));
        let second = due(often.next(Some(first), now));
        assert!(second > first + S, "the same two seconds came twice");
    }
}
