//! One series on its way to a drawing: slots of time with an average each, or a rate for counters.

use crate::hub::scalar::Scalar;
use crate::hub::store::SeriesRow;

use super::axis::Window;

/// Slots on the time axis.
pub(super) const SLOTS: usize = 240;

/// What of one series is drawn.
pub(in crate::hub::web) struct Line<'a> {
    pub(in crate::hub::web) series: &'a SeriesRow,
    pub(super) window: Window,
    slots: Vec<Slot>,
    /// For counters: the last count and when it was.
    before: Option<(i64, f64)>,
    counter: bool,
    /// A longer time without a point is a gap, in milliseconds.
    gap: Option<i64>,
}

#[derive(Clone, Copy)]
struct Slot {
    /// Sum of values, or of increases.
    sum: f64,
    /// Number of values, or seconds that the increases took.
    weight: f64,
    low: f64,
    high: f64,
}

const EMPTY: Slot = Slot { sum: 0.0, weight: 0.0, low: f64::INFINITY, high: f64::NEG_INFINITY };

/// What a slot came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Drawn {
    pub(super) slot: usize,
    pub(super) mean: f64,
    pub(super) low: f64,
    pub(super) high: f64,
}

impl<'a> Line<'a> {
    /// A longer time than `gap` milliseconds without a point breaks the line; without one, what is
    /// usual decides.
    pub(in crate::hub::web) fn new(
        series: &'a SeriesRow,
        window: Window,
        gap: Option<i64>,
    ) -> Self {
        Self {
            gap,
            series,
            window,
            slots: vec![EMPTY; SLOTS],
            before: None,
            counter: series.kind == "counter",
        }
    }

    /// Takes one point. Points come in order of time; a late one is left out of a rate.
    pub(in crate::hub::web) fn push(&mut self, ms: i64, value: Scalar<'_>) {
        let Some(x) = value.to_value().as_f64().filter(|x| x.is_finite()) else {
            // An explicit gap: what was before it says nothing about what comes after.
            self.before = None;
            return;
        };
        if !self.counter {
            self.add(ms, x, 1.0);
            return;
        }
        match self.before {
            Some((then, _)) if ms <= then => return,
            // What a gap's average says of its end is nothing.
            Some((then, _)) if self.gap.is_some_and(|gap| ms - then > gap) => {}
            Some((then, count)) => {
                // A decrease is a reset: what is counted since is all that is known.
                let increase = if x >= count { x - count } else { x };
                self.add(ms, increase, (ms - then) as f64 / 1000.0);
            }
            None => {}
        }
        self.before = Some((ms, x));
    }

    fn add(&mut self, ms: i64, sum: f64, weight: f64) {
        if !self.window.holds(ms) {
            return;
        }
        let slot = &mut self.slots[self.window.part(ms, SLOTS)];
        slot.sum += sum;
        slot.weight += weight;
        slot.low = slot.low.min(sum / weight);
        slot.high = slot.high.max(sum / weight);
    }

    /// What is drawn of each slot that has something.
    pub(super) fn drawn(&self) -> impl DoubleEndedIterator<Item = Drawn> {
        let filled = self.slots.iter().enumerate().filter(|(_, s)| s.weight > 0.0);
        filled.map(|(slot, s)| Drawn { slot, mean: s.sum / s.weight, low: s.low, high: s.high })
    }

    pub(in crate::hub::web) fn is_empty(&self) -> bool {
        self.drawn().next().is_none()
    }

    /// The unit of what is drawn.
    pub(super) fn unit(&self) -> Option<String> {
        if !self.counter {
            return self.series.unit.clone();
        }
        Some(format!("{}/s", self.series.unit.as_deref().unwrap_or_default()))
    }

    /// The last value drawn.
    pub(super) fn last(&self) -> Option<f64> {
        self.drawn().next_back().map(|drawn| drawn.mean)
    }

    pub(super) fn is_rate(&self) -> bool {
        self.counter
    }

    /// Its slots, parted where there are gaps; where it is not said what is one, where there is much
    /// more nothing than usual.
    pub(super) fn stretches(&self) -> Vec<Vec<Drawn>> {
        let drawn: Vec<Drawn> = self.drawn().collect();
        let most = self.gap.map_or_else(
            || {
                let mut steps: Vec<usize> =
                    drawn.windows(2).map(|pair| pair[1].slot - pair[0].slot).collect();
                steps.sort_unstable();
                steps.get(steps.len() / 2).map_or(1, |median| 6 * median)
            },
            |gap| (gap as f64 * SLOTS as f64 / self.window.span() as f64).ceil() as usize,
        );
        drawn.chunk_by(|a, b| b.slot - a.slot <= most.max(2)).map(<[_]>::to_vec).collect()
    }

    /// The average over each of so many equal parts of the window.
    pub(super) fn means(&self, parts: usize) -> Vec<Option<f64>> {
        let of = |part: &[Slot]| {
            let (sum, weight) =
                part.iter().fold((0.0, 0.0), |(sum, weight), s| (sum + s.sum, weight + s.weight));
            (weight > 0.0).then(|| sum / weight)
        };
        self.slots.chunks(SLOTS.div_ceil(parts)).map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::series;
    use super::*;

    fn line(row: &SeriesRow) -> Line<'_> {
        Line::new(row, Window::new(0, 240_000), Some(3000))
    }

    #[test]
    fn a_counter_is_a_rate_and_a_reset_is_no_drop() {
        let row = series("counter");
        let mut line = line(&row);
        for (ms, count) in [(0, 100), (1000, 110), (2000, 120), (3000, 5), (4000, 15)] {
            line.push(ms, Scalar::Signed(count));
        }
        let rates: Vec<f64> = line.drawn().map(|drawn| drawn.mean).collect();
        assert_eq!(rates, [10.0, 10.0, 5.0, 10.0]);
        assert_eq!(line.unit().as_deref(), Some("/s"));
    }

    #[test]
    fn a_gap_in_a_counter_is_not_bridged() {
        let row = series("counter");
        let mut line = line(&row);
        line.push(0, Scalar::Signed(100));
        line.push(1000, Scalar::Gap);
        line.push(60_000, Scalar::Signed(5000));
        assert!(line.is_empty());
    }

    #[test]
    fn a_gap_parts_the_line() {
        let row = series("float");
        let mut line = line(&row);
        for ms in [0, 1000, 2000, 60_000, 61_000] {
            line.push(ms, Scalar::Float(1.0));
        }
        assert_eq!(line.stretches().len(), 2);
    }

    #[test]
    fn peaks_are_kept_beside_the_average() {
        let row = series("float");
        let mut line = line(&row);
        for (ms, x) in [(0, 1.0), (100, 9.0), (200, 2.0)] {
            line.push(ms, Scalar::Float(x));
        }
        let drawn: Vec<Drawn> = line.drawn().collect();
        assert_eq!(drawn, [Drawn { slot: 0, mean: 4.0, low: 1.0, high: 9.0 }]);
        assert_eq!(line.means(24)[0], Some(4.0));
        assert_eq!(line.means(24)[1], None);
    }
}
