//! The stretch of time that a chart shows, and its ticks.

use maud::{Markup, html};

use crate::hub::web::zone;

/// From when to when, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::hub::web) struct Window {
    pub(in crate::hub::web) from: i64,
    pub(in crate::hub::web) to: i64,
}

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// Steps between ticks, and how many steps at most.
const STEPS: [i64; 20] = [
    1000,
    5000,
    15_000,
    MINUTE,
    2 * MINUTE,
    5 * MINUTE,
    10 * MINUTE,
    15 * MINUTE,
    30 * MINUTE,
    HOUR,
    2 * HOUR,
    4 * HOUR,
    6 * HOUR,
    12 * HOUR,
    DAY,
    2 * DAY,
    7 * DAY,
    14 * DAY,
    30 * DAY,
    90 * DAY,
];
const TICKS: i64 = 6;

impl Window {
    pub(in crate::hub::web) fn new(from: i64, to: i64) -> Self {
        Self { from, to: to.max(from.saturating_add(1)) }
    }

    pub(in crate::hub::web) fn span(self) -> i64 {
        self.to - self.from
    }

    pub(in crate::hub::web) fn holds(self, ms: i64) -> bool {
        (self.from..=self.to).contains(&ms)
    }

    /// Where a moment lies, from 0 to 1.
    pub(super) fn share(self, ms: i64) -> f64 {
        ((ms - self.from) as f64 / self.span() as f64).clamp(0.0, 1.0)
    }

    /// Which of so many equal parts a moment lies in.
    pub(super) fn part(self, ms: i64, parts: usize) -> usize {
        // In whole numbers: a share that is a hair too small would be the part before.
        let since = (ms - self.from).clamp(0, self.span() - 1);
        (i128::from(since) * parts as i128 / i128::from(self.span())) as usize
    }

    fn step(self) -> i64 {
        STEPS.into_iter().find(|step| self.span() / step <= TICKS).unwrap_or(self.span())
    }

    /// The time axis. In the zone of the page; the script sets it anew in the reader's zone.
    pub(super) fn axis(self) -> Markup {
        let step = self.step();
        let ahead = zone::offset(self.from);
        let first = (self.from + ahead).div_euclid(step) * step - ahead;
        // Where clocks change in between, what is round changes with them.
        let ticks =
            (0..=TICKS + 1).map(|n| first + n * step).map(|ms| ms + ahead - zone::offset(ms));
        html! {
            svg.xs data-from=(self.from) data-to=(self.to) data-step=(step) width="100%" height="18" aria-hidden="true" {
                @for ms in ticks.filter(|ms| self.holds(*ms)) {
                    @let share = self.share(ms);
                    // A label at the rim would be cut.
                    @let anchor = if share < 0.03 { "start" } else if share > 0.97 { "end" } else { "middle" };
                    text x={ (percent(share)) "%" } y="13" text-anchor=(anchor) { (label(ms, step)) }
                }
            }
        }
    }
}

/// A share in percent, with two decimals at most.
pub(super) fn percent(share: f64) -> f64 {
    (share * 10_000.0).round() / 100.0
}

fn label(ms: i64, step: i64) -> String {
    let exact = zone::local(ms);
    let part = |range: std::ops::Range<usize>| exact.get(range).unwrap_or_default().to_owned();
    if step >= DAY || (ms + zone::offset(ms)).rem_euclid(DAY) == 0 {
        const MONTHS: [&str; 12] =
            ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let month = part(5..7).parse::<usize>().unwrap_or(1);
        let day = part(8..10);
        return format!("{} {}", MONTHS.get(month - 1).unwrap_or(&""), day.trim_start_matches('0'));
    }
    if step < MINUTE { part(11..19) } else { part(11..16) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_few_and_round() {
        for span in [MINUTE, HOUR, 6 * HOUR, DAY, 7 * DAY, 30 * DAY, 365 * DAY, 4000 * DAY] {
            let window = Window::new(1_795_380_130_000 - span, 1_795_380_130_000);
            let drawn = window.axis().into_string().matches("<text").count();
            assert!((1..=8).contains(&drawn), "{span}: {drawn}");
        }
        let hour = Window::new(1_795_380_130_000 - HOUR, 1_795_380_130_000).axis().into_string();
        assert!(hour.contains(">20:30<") && hour.contains(">20:00<"), "{hour}");
        let day = Window::new(1_795_380_130_000 - DAY, 1_795_380_130_000).axis().into_string();
        assert!(day.contains(">Nov 22<") && day.contains(">04:00<"), "{day}");
    }

    #[test]
    fn moments_outside_lie_at_the_rim() {
        let window = Window::new(0, 1000);
        assert_eq!((window.part(-5, 10), window.part(999, 10), window.part(5000, 10)), (0, 9, 9));
    }
}
