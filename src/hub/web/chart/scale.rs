//! The vertical axis: four equal steps of a round size.

use super::mark::Zone;

/// From where to where the drawing goes.
pub(super) struct Scale {
    pub(super) low: f64,
    pub(super) high: f64,
}

/// What of a series decides on its axis.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Measure<'a> {
    pub(super) kind: &'a str,
    pub(super) unit: Option<&'a str>,
    /// What the plugin says is the least and the most.
    pub(super) min: Option<f64>,
    pub(super) max: Option<f64>,
}

impl Scale {
    pub(super) fn of(
        values: impl Iterator<Item = f64>,
        zones: &[Zone],
        measure: Measure<'_>,
    ) -> Self {
        let (mut low, mut high) =
            values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), x| (l.min(x), h.max(x)));
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        // A bound is shown while it does not squeeze the line to less than half of the height.
        let room = 2.0 * (high - low).max(high.abs().max(low.abs()) / 2.0);
        let bounds = zones.iter().flat_map(|zone| [zone.low, zone.high]);
        for bound in bounds.chain([measure.min, measure.max].into_iter().flatten()) {
            let (l, h) = (low.min(bound), high.max(bound));
            if h - l <= room {
                (low, high) = (l, h);
            }
        }
        if measure.kind == "percent" && low >= 0.0 && high <= 100.0 && high > 25.0 {
            return Self { low: 0.0, high: 100.0 };
        }
        if low >= 0.0 && (low <= high / 2.0 || high <= low) {
            low = 0.0;
        }
        if high <= low {
            high = low + if low == 0.0 { 1.0 } else { low.abs() };
        }
        // Round steps of bytes are round in their binary unit, those of long times in minutes and
        // hours.
        let unit = measure.unit.unwrap_or_default();
        let round = |step: f64| match unit.strip_suffix("/s").unwrap_or(unit) {
            "B" | "bytes" | "byte" => {
                // That of the labels, which is that of the largest of them.
                let mut unit = 1.0;
                while high.abs().max(low.abs()) >= 1024.0 * unit {
                    unit *= 1024.0;
                }
                round_step(step / unit) * unit
            }
            "s" | "seconds" | "second" if unit == "s" && step > 30.0 => {
                let unit = [60.0, 3600.0, 86_400.0].into_iter().rfind(|u| step >= *u / 2.0);
                let unit = unit.unwrap_or(60.0);
                round_step(step / unit) * unit
            }
            _ => round_step(step),
        };
        let mut step = round((high - low) / 4.0);
        let mut start = (low / step).floor() * step;
        while start + 4.0 * step < high {
            step = round(step * 1.01);
            start = (low / step).floor() * step;
        }
        Self { low: start, high: start + 4.0 * step }
    }

    /// Where a value lies, as a share of the height from the top; what is outside lies at the rim.
    pub(super) fn share(&self, value: f64) -> f64 {
        (1.0 - (value - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }

    /// From the top down.
    pub(super) fn ticks(&self) -> impl Iterator<Item = f64> {
        let step = (self.high - self.low) / 4.0;
        (0..=4).rev().map(move |n| {
            let tick = self.low + step * f64::from(n);
            // Sums of steps miss zero by a hair.
            if tick.abs() < step / 1e6 { 0.0 } else { tick }
        })
    }
}

/// The next of 1, 2, 2.5, 5 times a power of ten.
fn round_step(step: f64) -> f64 {
    if step <= 0.0 || !step.is_finite() {
        return 1.0;
    }
    let power = 10_f64.powf(step.log10().floor());
    let found = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().find(|f| f * power >= step * (1.0 - 1e-9));
    found.unwrap_or(10.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_are_round_and_hold_the_data() {
        let units = [None, Some("B"), Some("B/s"), Some("s"), Some("%")];
        for (low, high) in [
            (0.0, 0.0),
            (3.0, 97.0),
            (-5.0, 5.0),
            (1e9, 1.1e9),
            (0.001, 0.0017),
            (-3.0, -3.0),
            (0.0, 200_000.0),
            (55.0, 3700.0),
        ] {
            for unit in units {
                let measure = Measure { kind: "float", unit, ..Measure::default() };
                let scale = Scale::of([low, high].into_iter(), &[], measure);
                let (from, to) = (scale.low, scale.high);
                assert!(from <= low && to >= high, "{low} {high} {unit:?}: {from} {to}");
                assert!(to > from);
                assert!(
                    (to - from) <= 12.0 * (high - low).max(high.abs()).max(1.0),
                    "{low} {high}"
                );
            }
        }
    }

    #[test]
    fn steps_of_bytes_and_hours_are_round_in_their_unit() {
        let scale = |high: f64, unit| {
            let measure = Measure { kind: "float", unit: Some(unit), ..Measure::default() };
            Scale::of([0.0, high].into_iter(), &[], measure).ticks().collect::<Vec<_>>()
        };
        let mib = 1024.0 * 1024.0;
        assert_eq!(scale(7.0 * mib, "B"), [8.0 * mib, 6.0 * mib, 4.0 * mib, 2.0 * mib, 0.0]);
        assert_eq!(scale(3.0 * 86_400.0, "s")[0], 4.0 * 86_400.0);
    }

    #[test]
    fn a_bound_far_away_does_not_squeeze_the_line() {
        let zone = |low| Zone { crit: true, low, high: f64::INFINITY, text: String::new() };
        let measure = Measure { kind: "float", ..Measure::default() };
        let near = Scale::of([10.0, 40.0].into_iter(), &[zone(60.0)], measure);
        assert!(near.high >= 60.0);
        let far = Scale::of([10.0, 40.0].into_iter(), &[zone(6000.0)], measure);
        assert!(far.high <= 60.0);
    }
}
