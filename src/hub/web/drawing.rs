//! From a monitor's series to its charts: which are drawn, with what beside what.

use std::collections::HashMap;

use maud::{Markup, html};
use rusqlite::Connection;

use crate::hub::store::{self, SeriesRow};

use super::chart::{Chart, LINES, Line, Strip, Track, Window};

/// Charts on one page, and tracks of one strip.
const CHARTS: usize = 48;
const TRACKS: usize = 12;

/// Draws every metric of `series` that has something in `window`, in the order in which the hub met
/// them: numbers as curves, and after them what is held as strips.
///
/// `interval` is that of the runs, in seconds, where it is known.
pub(super) fn draw(
    conn: &Connection,
    series: &[SeriesRow],
    window: Window,
    interval: Option<f64>,
) -> rusqlite::Result<Vec<Markup>> {
    let metrics = by_metric(series);
    let held = |metric: &[&SeriesRow]| {
        metric.first().is_some_and(|s| matches!(s.kind.as_str(), "string" | "boolean"))
    };
    let (strips, curves): (Vec<_>, Vec<_>) =
        metrics.into_iter().take(CHARTS).partition(|metric| held(metric));

    let gap = interval.map(|s| (s * 3000.0) as i64);
    let lines = curves.iter().flat_map(|metric| metric.iter().take(LINES));
    let mut lines: Vec<Line<'_>> = lines.map(|s| Line::new(s, window, gap)).collect();
    let tracks = strips.iter().flat_map(|metric| metric.iter().take(TRACKS));
    let mut tracks: Vec<Track<'_>> = tracks.map(|s| Track::new(s, window)).collect();
    // Lines first, then tracks.
    let ids = lines.iter().map(|l| l.series.id).chain(tracks.iter().map(|t| t.series.id));
    let ids: Vec<i64> = ids.collect();
    let place: HashMap<i64, usize> = ids.iter().enumerate().map(|(at, id)| (*id, at)).collect();
    // A rate needs the count before the first one shown.
    let lead = interval.map_or(60_000, |s| (s * 1500.0) as i64);
    store::visit(conn, &ids, window.from.saturating_sub(lead)..=window.to, |id, ms, value| {
        let Some(at) = place.get(&id).copied() else { return };
        match at.checked_sub(lines.len()) {
            None => lines[at].push(ms, value),
            Some(at) => tracks[at].push(ms, value),
        }
    })?;

    let mut drawn = Vec::new();
    let mut lines = lines.into_iter().peekable();
    for metric in curves {
        let of = |line: &Line<'_>| line.series.name == metric[0].name;
        let mut of_chart: Vec<Line<'_>> = std::iter::from_fn(|| lines.next_if(&of)).collect();
        let left_out = metric.len() - of_chart.len();
        of_chart.retain(|line| !line.is_empty());
        if !of_chart.is_empty() {
            drawn.push(Chart { lines: of_chart, left_out }.draw());
        }
    }
    let mut tracks = tracks.into_iter().peekable();
    for metric in strips {
        let of = |track: &Track<'_>| track.series.name == metric[0].name;
        let mut of_strip: Vec<Track<'_>> = std::iter::from_fn(|| tracks.next_if(&of)).collect();
        let left_out = metric.len() - of_strip.len();
        of_strip.retain(|track| !track.is_empty());
        if !of_strip.is_empty() {
            drawn.push(Strip { tracks: of_strip, left_out, gap }.draw());
        }
    }
    Ok(drawn)
}

/// Series of one name together, in the order in which the hub met the names.
pub(super) fn by_metric(series: &[SeriesRow]) -> Vec<Vec<&SeriesRow>> {
    let mut order: Vec<&SeriesRow> = series.iter().collect();
    order.sort_by_key(|s| s.id);
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut metrics: Vec<Vec<&SeriesRow>> = Vec::new();
    for one in order {
        let at = *places.entry(&one.name).or_insert(metrics.len());
        match metrics.get_mut(at) {
            Some(metric) => metric.push(one),
            None => metrics.push(vec![one]),
        }
    }
    metrics
}

/// The charts, or that there are none.
pub(super) fn grid(charts: &[Markup], known: bool) -> Markup {
    html! {
        @if charts.is_empty() {
            p.empty {
                "Nothing came in this time. "
                @if known { "Choose a longer one." }
            }
        }
        div.charts { @for chart in charts { (chart) } }
    }
}
