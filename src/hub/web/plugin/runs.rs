//! The last runs of a plugin.

use maud::{Markup, html};

use crate::hub::store::RunRow;
use crate::hub::web::format::{ago, bytes, clock, counted, seconds};
use crate::hub::web::standing::Standing;
use crate::model::Outcome;

/// Warnings of one run that are spelt out.
const WARNINGS: usize = 20;

pub(super) fn table(runs: &[RunRow], now: i64) -> Markup {
    let skipped = runs.iter().any(|run| run.skipped > 0);
    html! {
        section #runs-s aria-labelledby="runs" {
            h2 #runs { "Last runs" }
            div.scroll tabindex="0" role="region" aria-labelledby="runs" {
                table.runs {
                    thead {
                        tr {
                            th scope="col" { "Started" } th scope="col" { "State" } th scope="col" { "Outcome" }
                            th.num scope="col" { "Took" } th.num scope="col" { "CPU" } th.num scope="col" { "Memory" }
                            th.num scope="col" { "Metrics" } th.num scope="col" { "Refused" }
                            @if skipped { th.num scope="col" title="due runs left out before this one, because the last still ran" { "Skipped" } }
                        }
                    }
                    tbody {
                        @for run in runs { (line(run, skipped, now)) }
                    }
                }
            }
        }
    }
}

fn line(run: &RunRow, skipped: bool, now: i64) -> Markup {
    let refused = run.counts.rejected.values().fold(0_u64, |sum, n| sum.saturating_add(*n));
    let noted = run.stderr.is_some()
        || !run.warnings.is_empty()
        || run.leftovers > 0
        || run.replay_of.is_some();
    html! {
        tr id={ "run-" (run.id) } class=[(!run.outcome.is_ok()).then_some("bad")] {
            th scope="row" { (clock(run.started_ms)) " " span.faint { (ago(run.started_ms, now)) } }
            td { (Standing::from(run).badge()) }
            td {
                (outcome(&run.outcome))
                @if let Some(message) = &run.message { " " span.said { (message) } }
            }
            td.num { (seconds(run.duration)) }
            td.num { (seconds(run.usage.cpu)) }
            td.num { @if run.usage.max_rss > 0 { (bytes(run.usage.max_rss)) } @else { "–" } }
            td.num { (run.counts.accepted) }
            td.num { @if refused > 0 { b.bad { (refused) } } @else { span.faint { "0" } } }
            @if skipped { td.num { @if run.skipped > 0 { b.bad { (run.skipped) } } @else { span.faint { "0" } } } }
        }
        @if noted {
            tr.note id={ "note-" (run.id) } {
                td colspan=(if skipped { 9 } else { 8 }) {
                    @if run.replay_of.is_some() { p.faint { "records of an earlier run, replayed from the quarantine" } }
                    @if run.leftovers > 0 { p.why { (counted(run.leftovers.max(0) as usize, "process", "processes")) " left behind, and ended" } }
                    @if !run.warnings.is_empty() || run.stderr.is_some() {
                        details id={ "said-" (run.id) } {
                            summary {
                                @if run.stderr.is_some() { "stderr" }
                                @if run.stderr.is_some() && !run.warnings.is_empty() { ", " }
                                @if !run.warnings.is_empty() { (counted(run.warnings.len(), "warning", "warnings")) }
                            }
                            @for warning in run.warnings.iter().take(WARNINGS) { p { (warning) } }
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
