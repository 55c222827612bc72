//! What runs where, how it is, and what has gone silent.

use std::collections::{BTreeMap, HashMap};

use maud::{Markup, html};

use crate::hub::store::{PluginRow, SeriesRow, Totals};

use super::format::{Standing, ago, clock, figures, query, seconds, time, value};

/// Values of a plugin shown in its line.
const VALUES: usize = 3;
/// A clock that is off by more is shown, in milliseconds.
const SKEW_MS: i64 = 5_000;

pub(super) fn body(
    plugins: &[PluginRow],
    series: &[SeriesRow],
    totals: &Totals,
    now: i64,
) -> Markup {
    if plugins.is_empty() {
        return newcomer();
    }
    let mut values: HashMap<(&str, &str), Vec<&SeriesRow>> = HashMap::new();
    for one in series {
        values.entry((&one.host, &one.plugin)).or_default().push(one);
    }
    let mut hosts: BTreeMap<&str, Vec<(Standing, &PluginRow)>> = BTreeMap::new();
    let mut counts: BTreeMap<Standing, usize> = BTreeMap::new();
    for plugin in plugins {
        let standing = Standing::of(plugin, now);
        *counts.entry(standing).or_default() += 1;
        hosts.entry(&plugin.host).or_default().push((standing, plugin));
    }
    for of_host in hosts.values_mut() {
        // What wants attention comes first.
        of_host.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| a.1.plugin.cmp(&b.1.plugin)));
    }
    html! {
        div.summary {
            h1 { "Overview" }
            ul.tally aria-label="Plugins by state" {
                @for (standing, count) in counts.iter().rev() {
                    li { (standing.badge()) " " b { (count) } }
                }
            }
            p.faint {
                (figures(totals.metrics as f64)) " metrics in " (figures(totals.reports as f64)) " reports"
                @if totals.rejected > 0 {
                    ", " a href="/rejections" { (totals.rejected) " refused" }
                }
                " · as of " (clock(now))
            }
            @if totals.skew_ms > SKEW_MS {
                p.hint { "The clock of an agent is off from this hub's by " (seconds(totals.skew_ms as f64 / 1000.0)) ": its points lie elsewhere on the charts than they happened." }
            }
        }
        @for (host, plugins) in &hosts {
            section.host {
                h2 { (host) " " span.faint { (plugins.len()) @if plugins.len() == 1 { " plugin" } @else { " plugins" } } }
                table.plugins {
                    thead {
                        tr {
                            th scope="col" { "State" }
                            th scope="col" { "Plugin" }
                            th scope="col" { "Last values" }
                            th.num scope="col" { "Refused" }
                            th.num scope="col" { "Took" }
                            th.num scope="col" { "Last run" }
                        }
                    }
                    tbody {
                        @for (standing, plugin) in plugins {
                            (line(*standing, plugin, values.get(&(plugin.host.as_str(), plugin.plugin.as_str())).map_or(&[][..], Vec::as_slice), now))
                        }
                    }
                }
            }
        }
    }
}

fn line(standing: Standing, plugin: &PluginRow, series: &[&SeriesRow], now: i64) -> Markup {
    let target = format!("/plugin{}", query(&[("host", &plugin.host), ("plugin", &plugin.plugin)]));
    let run = plugin.last_run.as_ref();
    html! {
        tr {
            td.state { (standing.badge()) }
            th scope="row" {
                a href=(target) { (plugin.plugin) }
                @if let Some(run) = run {
                    @if standing == Standing::Silent {
                        div.why { "no report for " (seconds(now.saturating_sub(plugin.received_ms) as f64 / 1000.0)) }
                    } @else if !run.outcome.is_ok() {
                        div.why { (run.outcome) }
                    }
                    @if let Some(message) = &run.message { div.said { (message) } }
                }
            }
            td.values {
                @if series.is_empty() { span.faint { "no metrics yet" } }
                @for one in series.iter().take(VALUES) {
                    span.value {
                        span.faint { (name(one, series)) } " "
                        @match &one.last { Some((_, last)) => b { (value(last, one)) }, None => "–" }
                    }
                }
                @if series.len() > VALUES {
                    a.more href=(target) { "+" (series.len() - VALUES) }
                }
            }
            td.num data-label="refused" {
                @if plugin.rejected > 0 {
                    a href=(format!("/rejections{}", query(&[("host", &plugin.host), ("plugin", &plugin.plugin)]))) { (plugin.rejected) }
                } @else { span.faint { "0" } }
            }
            td.num data-label="took" { @if let Some(run) = run { (seconds(run.duration)) } }
            td.num data-label="ran" {
                @if let Some(run) = run { (time(run.started_ms, now)) } @else { (ago(plugin.received_ms, now)) }
            }
        }
    }
}

/// Name and tags, in short. Tags that all series of the plugin share tell nothing here.
fn name(series: &SeriesRow, all: &[&SeriesRow]) -> String {
    let shared = |key, tag| all.iter().all(|other| other.tags.get(key) == Some(tag));
    let mut text = series.name.clone();
    let telling = series.tags.iter().filter(|(key, tag)| !shared(key, tag));
    for (at, (_, tag)) in telling.enumerate() {
        text.push_str(if at == 0 { " " } else { ", " });
        text.push_str(tag);
    }
    if text.chars().count() > 40 {
        text = text.chars().take(39).collect();
        text.push('…');
    }
    text
}

fn newcomer() -> Markup {
    html! {
        section.notice {
            h1 { "Nothing has reported yet" }
            p { "A plugin is any program that prints JSON. Write one:" }
            pre { code { "#!/bin/sh\necho '{\"answer\": 42}'" } }
            p { "Save it as " code { "answer.sh" } ", make it executable, and run it every ten seconds:" }
            pre { code { "chmod +x answer.sh\ntalaia run ./answer.sh --every 10s" } }
            p { "Its first report shows here within seconds; this page refreshes itself. Try a plugin without the hub with " code { "talaia test ./answer.sh" } ", and begin a longer one with " code { "talaia new NAME --lang python" } "." }
        }
    }
}
