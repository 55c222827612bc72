//! One plugin on one host: charts, last values, last runs.

use std::collections::HashMap;

use maud::{Markup, html};
use rusqlite::Connection;

use crate::hub::store::{self, Filter, PluginRow, RunRow, SeriesRow};
use crate::model::Outcome;

use super::chart::{self, Chart, Line};
use super::format::{Standing, ago, bytes, clock, query, seconds, time, value};

/// Charts, series in the table, and runs on one page.
const CHARTS: usize = 40;
const SERIES: usize = 500;
const RUNS: usize = 40;

/// How far back the charts go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Range {
    Hour,
    SixHours,
    Day,
    Week,
}

impl Range {
    const ALL: [Self; 4] = [Self::Hour, Self::SixHours, Self::Day, Self::Week];

    pub(super) fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|range| range.word() == word)
    }

    fn word(self) -> &'static str {
        match self {
            Self::Hour => "1h",
            Self::SixHours => "6h",
            Self::Day => "24h",
            Self::Week => "7d",
        }
    }

    fn millis(self) -> i64 {
        3_600_000
            * match self {
                Self::Hour => 1,
                Self::SixHours => 6,
                Self::Day => 24,
                Self::Week => 168,
            }
    }
}

/// What the page shows.
pub(super) struct Found {
    pub(super) plugin: PluginRow,
    series: Vec<SeriesRow>,
    charts: Vec<Markup>,
    runs: Vec<RunRow>,
}

/// Reads all that the page shows; `None` where there is no such plugin.
pub(super) fn load(
    conn: &Connection,
    filter: &Filter,
    range: Range,
    now: i64,
) -> rusqlite::Result<Option<Found>> {
    if filter.host.is_none() || filter.plugin.is_none() {
        return Ok(None);
    }
    let Some(plugin) = store::plugins(conn, filter)?.into_iter().next() else { return Ok(None) };
    let mut series = store::series(conn, &Filter { limit: SERIES, ..filter.clone() })?;
    series.sort_by(|a, b| (&a.name, &a.tags).cmp(&(&b.name, &b.tags)));
    let runs = store::runs_of(conn, &plugin, RUNS)?;
    let interval = plugin.last_run.as_ref().and_then(|run| run.interval);
    let charts = charts(conn, &series, interval, range, now)?;
    Ok(Some(Found { plugin, series, charts, runs }))
}

fn charts(
    conn: &Connection,
    series: &[SeriesRow],
    interval: Option<f64>,
    range: Range,
    now: i64,
) -> rusqlite::Result<Vec<Markup>> {
    // Points may be ahead of the clock by what agents' clocks are.
    let (from, to) = (now - range.millis(), now);
    let drawn: Vec<&[SeriesRow]> = series
        .chunk_by(|a, b| a.name == b.name)
        .filter(|of_name| of_name.iter().any(|s| s.kind != "string"))
        .take(CHARTS)
        .collect();
    let mut lines: Vec<Line<'_>> = Vec::new();
    for of_name in &drawn {
        let numeric = of_name.iter().filter(|s| s.kind != "string");
        lines.extend(numeric.take(chart::LINES).map(|s| Line::new(s, from, to)));
    }
    let ids: Vec<i64> = lines.iter().map(|line| line.series.id).collect();
    let place: HashMap<i64, usize> = ids.iter().enumerate().map(|(at, id)| (*id, at)).collect();
    // A rate needs the count before the first one shown.
    let lead = interval.map_or(60_000, |s| (s * 1500.0) as i64);
    store::visit(conn, &ids, from - lead..=to, |id, ms, value| {
        if let Some(at) = place.get(&id) {
            lines[*at].push(ms, value);
        }
    })?;
    let gap = interval.map_or(range.millis() / 20, |s| (s * 3000.0) as i64);
    let mut charts = Vec::new();
    let mut lines = lines.into_iter().peekable();
    for of_name in drawn {
        let mut of_chart = Vec::new();
        while let Some(line) = lines.next_if(|line| line.series.name == of_name[0].name) {
            of_chart.push(line);
        }
        let left_out = of_name.len() - of_chart.len();
        of_chart.retain(|line| !line.is_empty());
        if !of_chart.is_empty() {
            charts.push(Chart { lines: of_chart, left_out, gap }.draw());
        }
    }
    Ok(charts)
}

pub(super) fn body(found: &Found, range: Range, now: i64) -> Markup {
    let plugin = &found.plugin;
    let standing = Standing::of(plugin, now);
    let own = [("host", plugin.host.as_str()), ("plugin", plugin.plugin.as_str())];
    html! {
        p.crumbs { a href="/" { "Overview" } " / " (plugin.host) }
        div.summary {
            h1 { (plugin.plugin) " " (standing.badge()) }
            @if let Some(run) = &plugin.last_run {
                p {
                    @if standing == Standing::Silent {
                        "No report for " b { (seconds(now.saturating_sub(plugin.received_ms) as f64 / 1000.0)) } ". "
                    }
                    @if let Some(message) = &run.message { q.said { (message) } " " }
                    @if !run.outcome.is_ok() { span.why { (run.outcome) } }
                }
                p.faint {
                    "Last run " (time(run.started_ms, now)) ", took " (seconds(run.duration))
                    @if let Some(interval) = run.interval { ", runs every " (seconds(interval)) }
                    " · " (plugin.reports) " reports, " (plugin.metrics) " metrics"
                    @if plugin.skipped > 0 { ", " (plugin.skipped) " runs skipped" }
                    @if plugin.rejected > 0 {
                        ", " a href=(format!("/rejections{}", query(&own))) { (plugin.rejected) " refused" }
                    }
                }
            }
        }
        section aria-labelledby="charts" {
            div.bar {
                h2 #charts { "Charts" }
                nav.ranges aria-label="How far back" {
                    @for one in Range::ALL {
                        a href=(format!("/plugin{}", query(&[own[0], own[1], ("range", one.word())])))
                          aria-current=[(one == range).then_some("true")] { (one.word()) }
                    }
                }
            }
            @if found.charts.is_empty() {
                p.faint { "No numbers in this time. " @if !found.series.is_empty() { "Try a longer one." } }
            }
            div.charts { @for chart in &found.charts { (chart) } }
        }
        @if !found.series.is_empty() { (values(&found.series, now)) }
        (runs(&found.runs, now))
    }
}

fn values(series: &[SeriesRow], now: i64) -> Markup {
    html! {
        section aria-labelledby="values" {
            h2 #values { "Last values" }
            div.scroll tabindex="0" role="region" aria-labelledby="values" {
                table.values {
                    thead { tr { th scope="col" { "Metric" } th.num scope="col" { "Value" } th scope="col" { "Tags" } th scope="col" { "Type" } th.num scope="col" { "Seen" } } }
                    tbody {
                        @for one in series {
                            tr {
                                th scope="row" { code { (one.name) } @if let Some(label) = &one.label { " " span.faint { (label) } } }
                                td.num { @if let Some((_, last)) = &one.last { (value(last, one)) } }
                                td.tags { @for (key, tag) in one.tags.iter() { span.tag { (key) "=" (tag) } } }
                                td.faint { (one.kind) }
                                td.num { @if let Some((ms, _)) = &one.last { (time(*ms, now)) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn runs(runs: &[RunRow], now: i64) -> Markup {
    html! {
        section aria-labelledby="runs" {
            h2 #runs { "Last runs" }
            div.scroll tabindex="0" role="region" aria-labelledby="runs" {
                table.runs {
                    thead {
                        tr {
                            th scope="col" { "Started" } th scope="col" { "State" } th scope="col" { "Outcome" }
                            th.num scope="col" { "Took" } th.num scope="col" { "CPU" } th.num scope="col" { "Memory" }
                            th.num scope="col" { "Metrics" } th.num scope="col" { "Refused" }
                        }
                    }
                    tbody {
                        @for run in runs { (run_line(run, now)) }
                    }
                }
            }
        }
    }
}

fn run_line(run: &RunRow, now: i64) -> Markup {
    let refused = run.counts.rejected.values().fold(0_u64, |sum, n| sum.saturating_add(*n));
    let noted = run.stderr.is_some()
        || run.message.is_some()
        || !run.warnings.is_empty()
        || run.leftovers > 0;
    html! {
        tr class=[(!run.outcome.is_ok()).then_some("bad")] {
            th scope="row" { (clock(run.started_ms)) " " span.faint { (ago(run.started_ms, now)) } }
            td { (Standing::from(run.status).badge()) }
            td { (outcome(&run.outcome)) }
            td.num { (seconds(run.duration)) }
            td.num { (seconds(run.usage.cpu)) }
            td.num { @if run.usage.max_rss > 0 { (bytes(run.usage.max_rss)) } @else { "–" } }
            td.num { (run.counts.accepted) }
            td.num { @if refused > 0 { b { (refused) } } @else { span.faint { "0" } } }
        }
        @if noted {
            tr.note {
                td colspan="8" {
                    @if let Some(message) = &run.message { p.said { (message) } }
                    @if run.leftovers > 0 { p.why { (run.leftovers) " processes left behind, and ended" } }
                    @if !run.warnings.is_empty() || run.stderr.is_some() {
                        details id={ "run-" (run.id) } {
                            summary {
                                @if run.stderr.is_some() { "stderr" }
                                @if run.stderr.is_some() && !run.warnings.is_empty() { ", " }
                                @if !run.warnings.is_empty() { (run.warnings.len()) " warnings" }
                            }
                            @for warning in run.warnings.iter().take(20) { p { (warning) } }
                            @if let Some(tail) = &run.stderr { pre tabindex="0" { (tail) } }
                        }
                    }
                }
            }
        }
    }
}

fn outcome(outcome: &Outcome) -> Markup {
    if outcome.is_ok() {
        html! { span.faint { (outcome) } }
    } else {
        html! { span.why { (outcome) } }
    }
}
