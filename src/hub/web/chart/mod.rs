//! Charts as SVG. Curves are stretched to the page's width by the browser; text is not, so that it
//! stays readable on a phone. What a drawing shows is there as a table as well.

mod axis;
mod line;
mod mark;
mod scale;
mod spark;
mod strip;

use std::fmt::Write;

use maud::{Markup, PreEscaped, html};

use crate::hub::store::SeriesRow;
use crate::model::Value;

use super::format::{clock_to, number, value};

pub(super) use axis::Window;
pub(super) use line::Line;
pub(super) use spark::Spark;
pub(super) use strip::{Strip, Track};

use line::{Drawn, SLOTS};
use mark::Zone;
use scale::{Measure, Scale};

/// The drawing's own units; those of its height are pixels.
const WIDTH: usize = 960;
const HEIGHT: f64 = 150.0;
/// Most lines in one chart.
pub(super) const LINES: usize = 8;
/// So many points at most are dots on their line.
const DOTS: usize = 30;
/// Rows of a chart's table.
const ROWS: usize = 24;

/// One chart: lines of one metric, with its marks.
pub(super) struct Chart<'a> {
    pub(super) lines: Vec<Line<'a>>,
    /// Lines that are not drawn for want of room.
    pub(super) left_out: usize,
}

impl Chart<'_> {
    pub(super) fn draw(&self) -> Markup {
        let Some(first) = self.lines.first() else { return html! {} };
        let series = first.series;
        let unit = first.unit();
        let unit = unit.as_deref();
        let window = first.window;
        // The thresholds of a counter are about its count, which is not what is drawn.
        let zones = if first.is_rate() { Vec::new() } else { mark::zones(series, unit) };
        let rate = first.is_rate();
        let measure = Measure {
            kind: &series.kind,
            unit,
            min: series.min.filter(|_| !rate),
            max: series.max.filter(|_| !rate),
        };
        let scale = Scale::of(self.values(), &zones, measure);
        let title = series.label.as_deref().unwrap_or(&series.name);
        let id = format!("c{}", series.id);
        let several = self.lines.len() > 1 || self.left_out > 0;
        html! {
            figure.chart id=(id) data-from=(window.from) data-to=(window.to) data-unit=(unit.unwrap_or_default()) {
                figcaption {
                    h3 id={ (id) "h" } { (title) }
                    @if title != series.name { code.faint { (series.name) } }
                    @if !several {
                        @if let Some(last) = first.last() { b.last { (number(last, unit)) } }
                        @if rate { (total(series)) }
                    }
                    output.read {}
                }
                div.plot {
                    (ladder(&scale, unit))
                    svg.canvas width="100%" height=(HEIGHT) role="img" tabindex="0" aria-labelledby={ (id) "t " (id) "d" } {
                        title id={ (id) "t" } { (title) }
                        desc id={ (id) "d" } { (self.told(unit, &zones)) }
                        @for at in 0..=4 {
                            @let at = HEIGHT * f64::from(at) / 4.0;
                            line.grid x2="100%" y1=(tenths(at)) y2=(tenths(at)) {}
                        }
                        (shades(&zones, &scale))
                        svg width="100%" height=(HEIGHT) viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none" {
                            @for (nth, line) in self.lines.iter().enumerate() {
                                (self.curve(nth, line, &scale))
                            }
                        }
                        (edges(&zones, &scale))
                        (bounds(&measure, &scale, unit))
                    }
                    (window.axis())
                }
                @if several { (self.legend(unit)) }
                @let unseen: Vec<&Zone> = zones.iter().filter(|zone| !zone.edges().any(|edge| inside(&scale, edge))).collect();
                @if !unseen.is_empty() {
                    p.unseen {
                        @for zone in unseen { span class={ "said " (zone.word()) } { (zone.word()) " " (zone.text) } " " }
                        "outside of this chart"
                    }
                }
                (self.table(&id, unit))
            }
        }
    }

    /// All that is to fit on the axis: of a line alone its peaks as well.
    fn values(&self) -> impl Iterator<Item = f64> {
        let alone = self.lines.len() == 1;
        self.lines
            .iter()
            .flat_map(Line::drawn)
            .flat_map(move |drawn| if alone { [drawn.low, drawn.high] } else { [drawn.mean; 2] })
    }

    /// One line, and for a line alone what lies below it and between its peaks.
    fn curve(&self, nth: usize, line: &Line<'_>, scale: &Scale) -> Markup {
        let stretches = line.stretches();
        let alone = self.lines.len() == 1;
        let y = |value: f64| tenths(HEIGHT * scale.share(value));
        let mut drawn = String::new();
        for stretch in stretches.iter().filter(|stretch| stretch.len() > 1) {
            path(&mut drawn, stretch.iter().map(|d| (d.slot, y(d.mean))));
        }
        // Where points are few each is a dot, and so is one that has no neighbours.
        let few = line.drawn().count() <= DOTS;
        let mut dots = String::new();
        for stretch in stretches.iter().filter(|stretch| few || stretch.len() == 1) {
            for d in stretch {
                let _written = write!(dots, "M{} {}h0", x(d.slot), y(d.mean));
            }
        }
        let mut below = String::new();
        let mut peaks = String::new();
        if alone {
            for stretch in stretches.iter().filter(|stretch| stretch.len() > 1) {
                path(&mut below, stretch.iter().map(|d| (d.slot, y(d.mean))));
                let _written = write!(below, "V{HEIGHT}H{}Z", x(stretch[0].slot));
                if stretch.iter().any(|d| d.low < d.high) {
                    let there = stretch.iter().map(|d| (d.slot, y(d.high)));
                    path(&mut peaks, there.chain(stretch.iter().rev().map(|d| (d.slot, y(d.low)))));
                    peaks.push('Z');
                }
            }
        }
        let name = if alone { String::new() } else { tags(line.series) };
        html! {
            g class={ "s" (nth) } data-v=(spelt(line)) data-name=(name) {
                @if !below.is_empty() { path.area d=(below) {} }
                @if !peaks.is_empty() { path.peaks d=(peaks) {} }
                @if !drawn.is_empty() { path.line d=(drawn) {} }
                @if !dots.is_empty() { path.dots d=(dots) {} }
            }
        }
    }

    fn legend(&self, unit: Option<&str>) -> Markup {
        html! {
            ul.legend {
                @for (nth, line) in self.lines.iter().enumerate() {
                    li {
                        (key(nth)) (tags(line.series))
                        @if let Some(last) = line.last() { b { (number(last, unit)) } }
                        @if line.is_rate() { (total(line.series)) }
                    }
                }
                @if self.left_out > 0 { li.faint { "and " (self.left_out) " more in the table of metrics" } }
            }
        }
    }

    /// What the drawing shows, for who cannot see it.
    fn told(&self, unit: Option<&str>, zones: &[Zone]) -> String {
        let (low, high) = self
            .values()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), x| (l.min(x), h.max(x)));
        if low > high {
            return "no points".to_owned();
        }
        let mut text = format!("between {} and {}", number(low, unit), number(high, unit));
        if let [only] = self.lines.as_slice() {
            if let Some(last) = only.last() {
                let _written = write!(text, ", last {}", number(last, unit));
            }
        } else {
            let _written = write!(text, ", {} lines", self.lines.len());
        }
        for zone in zones {
            let _written = write!(text, ", {} {}", zone.word(), zone.text);
        }
        text
    }

    fn table(&self, id: &str, unit: Option<&str>) -> Markup {
        let Some(first) = self.lines.first() else { return html! {} };
        let window = first.window;
        let columns: Vec<Vec<Option<f64>>> =
            self.lines.iter().map(|line| line.means(ROWS)).collect();
        let part = window.span() / ROWS as i64;
        html! {
            details.data id={ (id) "x" } {
                summary { "Table" }
                div.scroll tabindex="0" role="region" aria-labelledby={ (id) "h" } {
                    table {
                        thead { tr {
                            th scope="col" { "From" }
                            @for line in &self.lines {
                                th.num scope="col" { @if self.lines.len() > 1 { (tags(line.series)) } @else { "Average" } }
                            }
                        } }
                        tbody {
                            @for row in (0..ROWS).rev().filter(|row| columns.iter().any(|c| c.get(*row).is_some_and(Option::is_some))) {
                                tr {
                                    th scope="row" { (clock_to(window.from + part * row as i64, window.span())) }
                                    @for column in &columns {
                                        td.num { @match column.get(row).copied().flatten() { Some(x) => (number(x, unit)), None => "–" } }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A counter's count beside its rate.
fn total(series: &SeriesRow) -> Markup {
    match &series.last {
        Some((_, count)) if *count != Value::Gap => {
            html! { span.faint.total { "total " (value(count, series)) } }
        }
        _ => html! {},
    }
}

/// The numbers beside the plot.
fn ladder(scale: &Scale, unit: Option<&str>) -> Markup {
    html! {
        div.ys aria-hidden="true" {
            @for (nth, tick) in scale.ticks().enumerate() {
                // A long unit is said once, in the caption.
                @let short = unit.filter(|u| u.len() <= 4 || nth == 9);
                span { (number(tick, short)) }
            }
        }
    }
}

fn inside(scale: &Scale, value: f64) -> bool {
    (scale.low..=scale.high).contains(&value)
}

fn shades(zones: &[Zone], scale: &Scale) -> Markup {
    html! {
        @for zone in zones {
            @let (top, end) = (tenths(HEIGHT * scale.share(zone.high)), tenths(HEIGHT * scale.share(zone.low)));
            @if end > top {
                rect class={ "zone " (zone.word()) } width="100%" y=(top) height=(tenths(end - top)) {}
            }
        }
    }
}

fn edges(zones: &[Zone], scale: &Scale) -> Markup {
    html! {
        @for zone in zones {
            @for edge in zone.edges().filter(|edge| inside(scale, *edge)) {
                @let y = HEIGHT * scale.share(edge);
                // The label lies in its zone, warnings on the left and the rest on the right, where
                // they are not in each other's way.
                @let above = zone.low == edge && y > 14.0 || y > HEIGHT - 24.0;
                @let at = tenths(if above { y - 4.0 } else { y + 11.0 });
                line class={ "mark " (zone.word()) } x2="100%" y1=(tenths(y)) y2=(tenths(y)) {}
                @if zone.crit {
                    text.mark.crit x="100%" dx="-5" y=(at) text-anchor="end" { "crit " (zone.text) }
                } @else {
                    text.mark.warn x="5" y=(at) { "warn " (zone.text) }
                }
            }
        }
    }
}

/// What the plugin says is the least and the most, where that is not the rim anyway.
fn bounds(measure: &Measure<'_>, scale: &Scale, unit: Option<&str>) -> Markup {
    html! {
        @for (word, bound) in [("min", measure.min), ("max", measure.max)] {
            @if let Some(bound) = bound.filter(|b| *b > scale.low && *b < scale.high) {
                @let y = HEIGHT * scale.share(bound);
                line.bound x2="100%" y1=(tenths(y)) y2=(tenths(y)) {}
                text.bound x="50%" y=(tenths(if y > 14.0 { y - 4.0 } else { y + 11.0 })) text-anchor="middle" { (word) " " (number(bound, unit)) }
            }
        }
    }
}

/// What tells a line from others: colour and dashes.
fn key(nth: usize) -> Markup {
    html! {
        svg class={ "key s" (nth) } width="26" height="8" aria-hidden="true" { line.line x1="1" x2="25" y1="4" y2="4" {} }
    }
}

/// The middle of a slot.
fn x(slot: usize) -> usize {
    slot * WIDTH / SLOTS + WIDTH / SLOTS / 2
}

fn tenths(x: f64) -> f64 {
    (x * 10.0).round() / 10.0
}

fn path(text: &mut String, points: impl Iterator<Item = (usize, f64)>) {
    for (nth, (slot, y)) in points.enumerate() {
        text.push(if nth == 0 { 'M' } else { ' ' });
        let _written = write!(text, "{} {y}", x(slot));
    }
}

/// The value of each slot for the script that reads them out under the pointer; an empty one has
/// none.
fn spelt(line: &Line<'_>) -> PreEscaped<String> {
    let mut text = String::new();
    let mut next = 0;
    for Drawn { slot, mean, .. } in line.drawn() {
        text.extend(std::iter::repeat_n(',', slot - next));
        next = slot;
        let short: f64 = format!("{mean:.4e}").parse().unwrap_or(mean);
        let _written = write!(text, "{short}");
    }
    PreEscaped(text)
}

/// A series' tags, in short.
pub(super) fn tags(series: &SeriesRow) -> String {
    let pairs: Vec<String> = series.tags.iter().map(|(k, v)| format!("{k}={v}")).collect();
    if pairs.is_empty() { series.name.clone() } else { pairs.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::scalar::Scalar;
    use crate::model::Tags;

    pub(super) fn series(kind: &str) -> SeriesRow {
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

    fn drawn(row: &SeriesRow, points: &[(i64, f64)]) -> String {
        let mut line = Line::new(row, Window::new(0, 240_000), Some(3000));
        for (ms, x) in points {
            line.push(*ms, Scalar::Float(*x));
        }
        Chart { lines: vec![line], left_out: 0 }.draw().into_string()
    }

    #[test]
    fn values_are_spelt_by_slot() {
        let row = series("float");
        let text = drawn(&row, &[(0, 1.5), (1000, 2.0), (5000, 3.25)]);
        assert!(text.contains("data-v=\"1.5,2,,,,3.25\""), "{text}");
        assert!(text.contains("between 1.5 and 3.25, last 3.25"), "{text}");
    }

    #[test]
    fn marks_are_drawn_where_they_are_in_view_and_said_where_not() {
        let mut row = series("float");
        row.warn = Some("80".into());
        row.crit = Some("9000".into());
        let text = drawn(&row, &[(0, 70.0), (1000, 75.0)]);
        assert!(text.contains("class=\"mark warn\"") && text.contains("warn &gt; 80"), "{text}");
        assert!(!text.contains("class=\"mark crit\""), "{text}");
        assert!(
            text.contains("crit &gt; 9000") && text.contains("outside of this chart"),
            "{text}"
        );
    }

    #[test]
    fn a_drawing_fits_its_box() {
        let row = series("float");
        let points: Vec<(i64, f64)> = (0..240).map(|n| (n * 1000, (n * n % 97) as f64)).collect();
        let text = drawn(&row, &points);
        let d = text.split("class=\"line\" d=\"").nth(1).unwrap().split('"').next().unwrap();
        let numbers = d.split(['M', ' ']).filter_map(|n| n.parse::<f64>().ok());
        let (xs, ys): (Vec<_>, Vec<_>) = numbers.enumerate().partition(|(at, _)| at % 2 == 0);
        assert_eq!(xs.len(), 240);
        assert!(xs.iter().all(|(_, x)| (0.0..=960.0).contains(x)));
        assert!(ys.iter().all(|(_, y)| (0.0..=HEIGHT).contains(y)));
    }
}
