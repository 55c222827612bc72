//! `warn` and `crit`: a number or a Nagios range, as zones of the vertical axis.

use crate::hub::store::SeriesRow;

use crate::hub::web::format::number;

/// A stretch of values that a mark warns of. An end may be infinite.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Zone {
    pub(super) crit: bool,
    pub(super) low: f64,
    pub(super) high: f64,
    /// As a person says it: `> 80 %`.
    pub(super) text: String,
}

impl Zone {
    pub(super) fn word(&self) -> &'static str {
        if self.crit { "crit" } else { "warn" }
    }

    /// Its ends that can be drawn.
    pub(super) fn edges(&self) -> impl Iterator<Item = f64> {
        [self.low, self.high].into_iter().filter(|edge| edge.is_finite())
    }
}

/// The zones of a series.
pub(super) fn zones(series: &SeriesRow, unit: Option<&str>) -> Vec<Zone> {
    let (warn, crit) = (series.warn.as_deref(), series.crit.as_deref());
    let plain = |text: Option<&str>| text.and_then(|text| text.trim().parse::<f64>().ok());
    // Two plain numbers of which the worse is the smaller: too little is what they warn of.
    let below = matches!((plain(warn), plain(crit)), (Some(w), Some(c)) if c < w);
    let mut found = Vec::new();
    for (crit, text) in [(false, warn), (true, crit)] {
        let Some(text) = text else { continue };
        for (low, high) in stretches(text, below) {
            let of = |x| number(x, unit);
            let text = match (low.is_finite(), high.is_finite()) {
                (true, true) => format!("{} to {}", of(low), of(high)),
                (true, false) => format!("> {}", of(low)),
                (false, true) => format!("< {}", of(high)),
                (false, false) => continue,
            };
            found.push(Zone { crit, low, high, text });
        }
    }
    found
}

/// The values that a number or Nagios range warns of. What cannot be read warns of none.
fn stretches(text: &str, below: bool) -> Vec<(f64, f64)> {
    const ALL: f64 = f64::INFINITY;
    let text = text.trim();
    let (inside, range) = match text.strip_prefix('@') {
        Some(range) => (true, range),
        None => (false, text),
    };
    let finite = |text: &str| text.trim().parse::<f64>().ok().filter(|x| x.is_finite());
    let (from, to) = match range.split_once(':') {
        // A plain number: Nagios would warn of what is negative as well, which says nothing on a
        // chart and would darken half of many.
        None => match finite(range) {
            Some(end) if inside => (0.0, end),
            Some(end) if below => return vec![(-ALL, end)],
            Some(end) => return vec![(end, ALL)],
            None => return Vec::new(),
        },
        Some((from, to)) => {
            let from = match from.trim() {
                "~" => Some(-ALL),
                "" => Some(0.0),
                from => finite(from),
            };
            let to = if to.trim().is_empty() { Some(ALL) } else { finite(to) };
            let (Some(from), Some(to)) = (from, to) else { return Vec::new() };
            (from, to)
        }
    };
    if inside {
        return vec![(from, to)];
    }
    let outside = [(-ALL, from), (to, ALL)];
    outside.into_iter().filter(|(low, high)| low.is_finite() || high.is_finite()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_nagios_does() {
        const ALL: f64 = f64::INFINITY;
        for (text, zones) in [
            ("90", vec![(90.0, ALL)]),
            ("10:", vec![(-ALL, 10.0)]),
            ("~:5", vec![(5.0, ALL)]),
            ("10:20", vec![(-ALL, 10.0), (20.0, ALL)]),
            ("@10:20", vec![(10.0, 20.0)]),
            ("@5", vec![(0.0, 5.0)]),
            (":7", vec![(-ALL, 0.0), (7.0, ALL)]),
            ("-1.5:", vec![(-ALL, -1.5)]),
            ("x", vec![]),
            ("1:y", vec![]),
            ("inf", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(stretches(text, false), zones, "{text}");
        }
    }

    #[test]
    fn two_numbers_say_which_side_is_bad() {
        assert_eq!(stretches("10", true), [(f64::NEG_INFINITY, 10.0)]);
    }
}
