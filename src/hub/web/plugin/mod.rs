//! One plugin on one host: charts, metrics and what is declared of them, refusals, runs.

mod metrics;
mod runs;

use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use maud::{Markup, html};
use rusqlite::Connection;

use crate::hub::hall::Hall;
use crate::hub::monitors::{self, Field, Role};
use crate::hub::parameters::pairs;
use crate::hub::store::{
    self, ContractRow, Filter, Kept, PluginRow, RejectionGroup, RunRow, SeriesRow,
};

use super::drawing;
use super::format::{bytes, figures, query, seconds, time};
use super::layout::Frame;
use super::page::{framed, logged_in, shown, told};
use super::range::Range;
use super::rejections;
use super::standing::{Standing, patience};
use super::zone;

pub(super) use metrics::values;

/// Series in the table, runs, and refusals on one page.
const SERIES: usize = 500;
const RUNS: usize = 30;
const REFUSALS: usize = 5;
/// What of the runs is drawn, in this order.
const FACTS: [&str; 5] = [
    "talaia_run_duration",
    "talaia_run_cpu",
    "talaia_run_max_rss",
    "talaia_run_rejected",
    "talaia_run_up",
];

/// What the page shows.
struct Found {
    plugin: PluginRow,
    suspended: bool,
    /// How long it may say nothing, in milliseconds.
    patience: Option<i64>,
    series: Vec<SeriesRow>,
    /// How many series there are.
    all: usize,
    charts: Vec<Markup>,
    facts: Vec<Markup>,
    fields: Vec<Field>,
    /// What its agent told of what it declares.
    contract: Option<ContractRow>,
    refusals: Vec<RejectionGroup>,
    runs: Vec<RunRow>,
}

pub(super) async fn show(
    State(hall): State<Hall>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    let session = logged_in!(hall, headers);
    let now = hall.clock.now();
    let page = async {
        let pairs = pairs(query.as_deref().unwrap_or_default())?;
        let given =
            |name: &str| pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        let account = session.account;
        let (host, plugin) = (given("host"), given("plugin"));
        let filter = Filter { account, host, plugin, limit: 1, ..Filter::default() };
        let range = Range::read(&pairs, now);
        let zone = zone::current();
        let draw = move |conn: &Connection| zone::within(zone, || load(conn, &filter, range));
        let found = hall.store.read(draw).await?;
        let Some(found) = found else {
            return Ok(told(
                &session,
                StatusCode::NOT_FOUND,
                "No such plugin",
                "The hub has no report of this plugin on this host.",
            ));
        };
        let title = format!("{} on {}", found.plugin.plugin, found.plugin.host);
        Ok(framed(&Frame::of(&title, "", &session), &body(&found, &range, now)))
    };
    shown(page.await)
}

/// Reads all that the page shows; `None` where there is no such plugin.
fn load(conn: &Connection, filter: &Filter, range: Range) -> rusqlite::Result<Option<Found>> {
    let (Some(host), Some(name)) = (&filter.host, &filter.plugin) else { return Ok(None) };
    let Some(plugin) = store::plugins(conn, filter)?.into_iter().next() else { return Ok(None) };
    let id = plugin.id;
    let suspended = store::is_suspended(conn, id)?;
    let of = |kept, each| -> rusqlite::Result<(Vec<SeriesRow>, usize)> {
        Ok(store::series_of(conn, &[id], kept, each)?.remove(&id).unwrap_or_default())
    };
    let (series, all) = of(Kept::Printed, SERIES)?;
    let (mut facts, _) = of(Kept::Facts, SERIES)?;
    facts.retain(|fact| FACTS.contains(&fact.name.as_str()));
    // Refusals are drawn where there were some.
    facts.retain(|fact| fact.name != "talaia_run_rejected" || plugin.rejected > 0);
    let contract = store::contract(conn, filter.account, host, name)?;
    let declared = contract.as_ref().and_then(|row| row.contract.interval.or(row.contract.pause));
    let interval = plugin.last_run.as_ref().and_then(|run| run.interval).or(declared);
    let gap = match interval {
        Some(_) => None,
        None => store::longest_gap(conn, id)?,
    };
    let apart = interval.or(gap.map(|ms| ms as f64 / 1000.0));
    let refused = Filter { limit: REFUSALS, ..filter.clone() };
    Ok(Some(Found {
        suspended,
        patience: patience(interval, gap),
        charts: drawing::draw(conn, &series, range.window, apart)?,
        facts: drawing::draw(conn, &facts, range.window, apart)?,
        fields: monitors::fields(conn, id, Role::Result)?,
        refusals: if plugin.rejected > 0 { store::rejections(conn, &refused)? } else { Vec::new() },
        runs: store::runs_of(conn, &plugin, RUNS)?,
        contract,
        plugin,
        series,
        all,
    }))
}

fn standing(found: &Found, now: i64) -> Standing {
    if found.suspended {
        return Standing::Suspended;
    }
    let silence = now.saturating_sub(found.plugin.received_ms);
    if found.patience.is_some_and(|patience| silence > patience) {
        return Standing::Silent;
    }
    found.plugin.last_run.as_ref().map_or(Standing::Ok, Standing::from)
}

fn body(found: &Found, range: &Range, now: i64) -> Markup {
    let plugin = &found.plugin;
    let standing = standing(found, now);
    let own = [("host", plugin.host.as_str()), ("plugin", plugin.plugin.as_str())];
    html! {
        p.crumbs { a href="/" { "Overview" } " / " a href=(format!("/{}", query(&[("host", &plugin.host)]))) { (plugin.host) } }
        div.head {
            h1 { (plugin.plugin) " " (standing.badge()) }
            a.button href=(format!("/monitor/{}", plugin.id)) { "Results and settings" }
        }
        (lead(found, standing, now))
        section #charts-s aria-labelledby="charts" {
            div.bar { h2 #charts { "Charts" } (range.chooser("/plugin", &own)) }
            (drawing::grid(&found.charts, !found.series.is_empty()))
        }
        @if !found.series.is_empty() { (values(&found.series, found.all, now)) }
        @if !found.refusals.is_empty() {
            section #refusals-s aria-labelledby="refusals" {
                div.bar {
                    h2 #refusals { "Refused records" }
                    a href=(format!("/rejections{}", query(&own))) { "All of this plugin" }
                }
                (rejections::groups(&found.refusals, rejections::Shown::OfOne, now))
            }
        }
        section #facts-s aria-labelledby="facts" {
            h2 #facts { "The runs themselves" }
            (drawing::grid(&found.facts, true))
        }
        (runs::table(&found.runs, now))
        (metrics::contract(found.contract.as_ref(), &found.fields, &found.series, now))
    }
}

/// What one wants to know first.
fn lead(found: &Found, standing: Standing, now: i64) -> Markup {
    let plugin = &found.plugin;
    let run = plugin.last_run.as_ref();
    html! {
        @if standing == Standing::Silent {
            p.alarm {
                "No report for " b { (seconds(now.saturating_sub(plugin.received_ms) as f64 / 1000.0)) } "; "
                @if let Some(patience) = found.patience { "one is missed after " (seconds(patience as f64 / 1000.0)) ". " }
                "Look whether the agent on " (plugin.host) " runs: " code { "talaia status" }
            }
        }
        @if let Some(run) = run {
            @if run.message.is_some() || !run.outcome.is_ok() {
                p.lead {
                    @if !run.outcome.is_ok() { span.why { (run.outcome) } " " }
                    @if let Some(message) = &run.message { span.said { (message) } }
                }
            }
        }
        dl.tally {
            @if let Some(run) = run {
                div { dt { "Last run" } dd { (time(run.started_ms, now)) } }
                div { dt { "Took" } dd { (seconds(run.duration)) } }
                div { dt { "CPU" } dd { (seconds(run.usage.cpu)) } }
                @if run.usage.max_rss > 0 { div { dt { "Memory" } dd { (bytes(run.usage.max_rss)) } } }
                div {
                    dt { "Runs" }
                    dd {
                        @if let Some(interval) = run.interval { "every " (seconds(interval)) }
                        @else if let Some(cron) = found.contract.as_ref().and_then(|row| row.contract.cron.as_ref()) { "by " code { (cron) } }
                        @else { "at its own times" }
                    }
                }
            }
            div { dt { "Reports" } dd { (figures(plugin.reports as f64)) } }
            div { dt { "Metrics" } dd { (figures(plugin.metrics as f64)) } }
            @if plugin.rejected > 0 {
                div { dt { "Refused" } dd.bad { a href="#refusals" { (figures(plugin.rejected as f64)) } } }
            }
            @if plugin.skipped > 0 {
                div { dt { "Skipped" } dd.bad { (figures(plugin.skipped as f64)) } }
            }
        }
    }
}
