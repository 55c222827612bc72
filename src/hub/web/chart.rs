//! Charts as SVG. The drawing is stretched to the page's width by the browser; labels are text
//! beside it, so that they stay readable on a phone.

use std::fmt::Write;

use maud::{Markup, html};

use crate::hub::scalar::Scalar;
use crate::hub::store::SeriesRow;

use super::format::{number, stamp};

/// Slots on the time axis.
const SLOTS: usize = 240;
/// The drawing's own units.
const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 140.0;
/// Most lines in one chart.
pub(super) const LINES: usize = 6;

/// What of one series is drawn: an average per slot of time, or a rate for counters.
pub(super) struct Line<'a> {
    pub(super) series: &'a SeriesRow,
    from: i64,
    to: i64,
    slots: Vec<Slot>,
    /// For counters: the last count and when it was.
    before: Option<(i64, f64)>,
    counter: bool,
}

#[derive(Clone, Copy, Default)]
struct Slot {
    /// Sum of values, or of increases.
    sum: f64,
    /// Number of values, or seconds that the increases took.
    weight: f64,
    /// The last time in it.
    ms: i64,
}

impl<'a> Line<'a> {
    pub(super) fn new(series: &'a SeriesRow, from: i64, to: i64) -> Self {
        Self {
            series,
            from,
            to: to.max(from + 1),
            slots: vec![Slot::default(); SLOTS],
            before: None,
            counter: series.kind == "counter",
        }
    }

    /// Takes one point. Points come in order of time; a late one is left out of a rate.
    pub(super) fn push(&mut self, ms: i64, value: Scalar<'_>) {
        let Some(x) = value.to_value().as_f64() else {
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
        if !(self.from..=self.to).contains(&ms) {
            return;
        }
        let share = (ms - self.from) as f64 / (self.to - self.from) as f64;
        let at = ((share * SLOTS as f64) as usize).min(SLOTS - 1);
        let slot = &mut self.slots[at];
        slot.sum += sum;
        slot.weight += weight;
        slot.ms = slot.ms.max(ms);
    }

    /// Time and value of each slot that has one.
    fn points(&self) -> impl Iterator<Item = (i64, f64)> {
        self.slots.iter().filter(|s| s.weight > 0.0).map(|s| (s.ms, s.sum / s.weight))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.points().next().is_none()
    }

    /// The unit of what is drawn.
    pub(super) fn unit(&self) -> Option<String> {
        if !self.counter {
            return self.series.unit.clone();
        }
        Some(format!("{}/s", self.series.unit.as_deref().unwrap_or_default()))
    }

    /// The last value drawn.
    fn last(&self) -> Option<f64> {
        self.points().last().map(|(_, x)| x)
    }
}

/// One chart: lines of one metric, with its marks.
pub(super) struct Chart<'a> {
    pub(super) lines: Vec<Line<'a>>,
    /// Lines that are not drawn for want of room.
    pub(super) left_out: usize,
    /// A longer time without a point breaks the line, in milliseconds.
    pub(super) gap: i64,
}

impl Chart<'_> {
    pub(super) fn draw(&self) -> Markup {
        let Some(first) = self.lines.first() else { return html! {} };
        let series = first.series;
        let unit = first.unit();
        let unit = unit.as_deref();
        let (from, to) = (first.from, first.to);
        let marks = self.marks();
        let scale = Scale::of(self.values(), &marks, series);
        let title = series.label.as_deref().unwrap_or(&series.name);
        let x = |ms: i64| WIDTH * (ms - from) as f64 / (to - from) as f64;
        let y = |v: f64| HEIGHT * (1.0 - (v - scale.low) / (scale.high - scale.low));
        html! {
            figure.chart data-from=(from) data-to=(to) data-unit=(unit.unwrap_or_default()) {
                figcaption {
                    span.title { (title) }
                    @if title != series.name { " " code.faint { (series.name) } }
                    @if let [only] = self.lines.as_slice() {
                        @if let Some(last) = only.last() { " " b.last { (number(last, unit)) } }
                    }
                    output.read {}
                }
                div.plot {
                    div.ys aria-hidden="true" {
                        @if series.kind == "boolean" {
                            span { "yes" } span { "no" }
                        } @else {
                            @for (nth, tick) in scale.ticks().enumerate() {
                                // A long unit is said once.
                                @let short = unit.filter(|u| nth == 0 || u.len() <= 4);
                                span { (number(tick, short)) }
                            }
                        }
                    }
                    svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none" role="img" aria-label=(self.told(title, unit)) {
                        @for at in 0..=4 {
                            @let at = HEIGHT * f64::from(at) / 4.0;
                            line.grid x1="0" x2=(WIDTH) y1=(round(at)) y2=(round(at)) {}
                        }
                        @for (class, mark) in &marks {
                            @if (scale.low..=scale.high).contains(mark) {
                                line class={ "mark " (class) } x1="0" x2=(WIDTH) y1=(round(y(*mark))) y2=(round(y(*mark))) {}
                            }
                        }
                        @for (nth, line) in self.lines.iter().enumerate() {
                            @for stretch in self.stretches(line) {
                                @if self.lines.len() == 1 {
                                    path class={ "area s" (nth) } d=(area(&stretch, x, y)) {}
                                }
                                path class={ "line s" (nth) } d=(path(&stretch, x, y)) data-points=[self.lines.len().le(&LINES).then(|| spelt(&stretch))] {}
                            }
                        }
                    }
                    div.xs aria-hidden="true" {
                        @for at in 0..=4 {
                            @let ms = from + (to - from) / 4 * at;
                            (axis_time(ms, to - from))
                        }
                    }
                }
                @if self.lines.len() > 1 || self.left_out > 0 {
                    ul.legend {
                        @for (nth, line) in self.lines.iter().enumerate() {
                            li { span class={ "key s" (nth) } {} (tags(line.series)) " " @if let Some(last) = line.last() { b { (number(last, unit)) } } }
                        }
                        @if self.left_out > 0 { li.faint { "and " (self.left_out) " more in the table below" } }
                    }
                }
            }
        }
    }

    fn values(&self) -> impl Iterator<Item = f64> {
        self.lines.iter().flat_map(|line| line.points().map(|(_, x)| x))
    }

    /// The finite ends of warn and crit.
    fn marks(&self) -> Vec<(&'static str, f64)> {
        let Some(first) = self.lines.first() else { return Vec::new() };
        let of = |class, text: &Option<String>| {
            text.as_deref().map(ends).unwrap_or_default().into_iter().map(move |x| (class, x))
        };
        of("warn", &first.series.warn).chain(of("crit", &first.series.crit)).collect()
    }

    /// A line's points, parted where there is a gap.
    fn stretches(&self, line: &Line<'_>) -> Vec<Vec<(i64, f64)>> {
        let slot = (line.to - line.from) / SLOTS as i64;
        let gap = self.gap.max(2 * slot + slot / 2);
        let points: Vec<(i64, f64)> = line.points().collect();
        points.chunk_by(|a, b| b.0 - a.0 <= gap).map(<[_]>::to_vec).collect()
    }

    /// What the drawing shows, for who cannot see it.
    fn told(&self, title: &str, unit: Option<&str>) -> String {
        let (low, high) = self
            .values()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), x| (l.min(x), h.max(x)));
        if low > high {
            return format!("{title}: no points");
        }
        format!("{title}: between {} and {}", number(low, unit), number(high, unit))
    }
}

/// The finite ends of a number or Nagios range.
fn ends(text: &str) -> Vec<f64> {
    let text = text.strip_prefix('@').unwrap_or(text);
    text.split(':')
        .filter_map(|end| end.trim().parse().ok())
        .filter(|x: &f64| x.is_finite())
        .collect()
}

/// The vertical axis: four equal steps of a round size.
struct Scale {
    low: f64,
    high: f64,
}

impl Scale {
    fn of(values: impl Iterator<Item = f64>, marks: &[(&str, f64)], series: &SeriesRow) -> Self {
        let (mut low, mut high) =
            values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), x| (l.min(x), h.max(x)));
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        // A mark is shown while it does not squeeze the line to less than half of the height.
        for (_, mark) in marks {
            let (l, h) = (low.min(*mark), high.max(*mark));
            if h - l <= 2.0 * (high - low).max(high.abs() / 2.0) {
                (low, high) = (l, h);
            }
        }
        if series.kind == "percent" && low >= 0.0 && high <= 100.0 && high > 25.0 {
            return Self { low: 0.0, high: 100.0 };
        }
        if series.kind == "boolean" {
            return Self { low: 0.0, high: 1.0 };
        }
        if low >= 0.0 && (low <= high / 2.0 || high <= low) {
            low = 0.0;
        }
        if high <= low {
            high = low + if low == 0.0 { 1.0 } else { low.abs() };
        }
        // Round steps of bytes are round in their binary unit.
        let bytes = series.unit.as_deref() == Some("B");
        let round = |step: f64| {
            let mut unit = 1.0;
            while bytes && step >= 1024.0 * unit {
                unit *= 1024.0;
            }
            round_step(step / unit) * unit
        };
        let mut step = round((high - low) / 4.0);
        let mut start = (low / step).floor() * step;
        while start + 4.0 * step < high {
            step = round(step * 1.01);
            start = (low / step).floor() * step;
        }
        Self { low: start, high: start + 4.0 * step }
    }

    /// From the top down.
    fn ticks(&self) -> impl Iterator<Item = f64> {
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

fn round(x: f64) -> f64 {
    (x * 10.0).round() / 10.0
}

fn path(points: &[(i64, f64)], x: impl Fn(i64) -> f64, y: impl Fn(f64) -> f64) -> String {
    let mut text = String::new();
    for (nth, (ms, value)) in points.iter().enumerate() {
        text.push_str(if nth == 0 { "M" } else { "L" });
        let _written = write!(text, "{} {}", round(x(*ms)), round(y(*value)));
    }
    if let [only] = points {
        // A single point is a short dash, not nothing.
        let _written = write!(text, "H{}", round(x(only.0) + 2.0));
    }
    text
}

fn area(points: &[(i64, f64)], x: impl Fn(i64) -> f64, y: impl Fn(f64) -> f64) -> String {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return String::new() };
    let (left, right) = (round(x(first.0)), round(x(last.0)));
    format!("{}L{right} {HEIGHT}H{left}Z", path(points, x, y))
}

/// Points for the script that reads them out under the pointer.
fn spelt(points: &[(i64, f64)]) -> String {
    let all: Vec<(i64, f64)> =
        points.iter().map(|(ms, x)| (*ms, format!("{x:.6e}").parse().unwrap_or(*x))).collect();
    crate::hub::store::json(&all)
}

fn axis_time(ms: i64, span: i64) -> Markup {
    let exact = stamp(ms);
    let part = if span > 2 * 86_400_000 { 5..10 } else { 11..16 };
    let class = if span > 2 * 86_400_000 { "day" } else { "minute" };
    html! { time class=(class) datetime=(exact) { (exact.get(part).unwrap_or_default()) } }
}

/// A series' tags, in short.
pub(super) fn tags(series: &SeriesRow) -> String {
    let pairs: Vec<String> = series.tags.iter().map(|(k, v)| format!("{k}={v}")).collect();
    if pairs.is_empty() { series.name.clone() } else { pairs.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Tags;

    fn series(kind: &str) -> SeriesRow {
        SeriesRow {
            id: 1,
            host: "h".into(),
            plugin: "p".into(),
            name: "m".into(),
            tags: Tags::new(),
            kind: kind.into(),
            unit: None,
            label: None,
            warn: None,
            crit: None,
            min: None,
            max: None,
            last: None,
        }
    }

    #[test]
    fn a_counter_is_a_rate_and_a_reset_is_no_drop() {
        let row = series("counter");
        let mut line = Line::new(&row, 0, 240_000);
        for (ms, count) in [(0, 100), (1000, 110), (2000, 120), (3000, 5), (4000, 15)] {
            line.push(ms, Scalar::Signed(count));
        }
        let rates: Vec<f64> = line.points().map(|(_, x)| x).collect();
        assert_eq!(rates, [10.0, 10.0, 5.0, 10.0]);
        assert_eq!(line.unit().as_deref(), Some("/s"));
    }

    #[test]
    fn a_gap_parts_the_line() {
        let row = series("float");
        let mut line = Line::new(&row, 0, 240_000);
        for ms in [0, 1000, 2000, 60_000, 61_000] {
            line.push(ms, Scalar::Float(1.0));
        }
        let chart = Chart { lines: vec![line], left_out: 0, gap: 3000 };
        assert_eq!(chart.stretches(&chart.lines[0]).len(), 2);
    }

    #[test]
    fn axes_are_round_and_hold_the_data() {
        for (low, high) in
            [(0.0, 0.0), (3.0, 97.0), (-5.0, 5.0), (1e9, 1.1e9), (0.001, 0.0017), (-3.0, -3.0)]
        {
            let scale = Scale::of([low, high].into_iter(), &[], &series("float"));
            assert!(
                scale.low <= low && scale.high >= high,
                "{low} {high}: {} {}",
                scale.low,
                scale.high
            );
            assert!(scale.high > scale.low);
        }
    }

    #[test]
    fn marks_are_read_from_ranges() {
        assert_eq!(ends("90"), [90.0]);
        assert_eq!(ends("@10:20"), [10.0, 20.0]);
        assert_eq!(ends("~:5"), [5.0]);
        assert_eq!(ends("10:"), [10.0]);
        assert!(ends("x").is_empty());
    }
}
