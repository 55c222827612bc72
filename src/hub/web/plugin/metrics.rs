//! The metrics of a monitor: their last values, and what is declared of them.

use maud::{Markup, html};

use crate::hub::monitors::Field;
use crate::hub::store::{ContractRow, SeriesRow, json};
use crate::hub::web::drawing::by_metric;
use crate::hub::web::format::{counted, number, seconds, time, value};
use crate::model::{Threshold, ToldContract};

/// Last values, series by series.
pub(in crate::hub::web) fn values(series: &[SeriesRow], all: usize, now: i64) -> Markup {
    let tagged = series.iter().any(|one| !one.tags.is_empty());
    html! {
        section #values-s aria-labelledby="values" {
            h2 #values { "Last values" }
            div.scroll tabindex="0" role="region" aria-labelledby="values" {
                table.values {
                    thead { tr {
                        th scope="col" { "Metric" }
                        @if tagged { th scope="col" { "Tags" } }
                        th.num scope="col" { "Value" }
                        th scope="col" { "Type" }
                        th.num scope="col" { "Seen" }
                    } }
                    tbody {
                        @for one in series {
                            tr id={ "s" (one.id) } {
                                th scope="row" { @if let Some(label) = &one.label { (label) " " } code.faint { (one.name) } }
                                @if tagged { td.tags { @for (key, tag) in one.tags.iter() { span.tag { (key) "=" (tag) } } } }
                                td.num.is.text[one.kind == "string"] { @if let Some((_, last)) = &one.last { (value(last, one)) } }
                                td.faint { (one.kind) }
                                td.num { @if let Some((ms, _)) = &one.last { (time(*ms, now)) } }
                            }
                        }
                    }
                }
            }
            @if all > series.len() { p.faint { "The first " (series.len()) " of " (counted(all, "series", "series")) "." } }
        }
    }
}

/// What the results are to be like: as the agent told or the hub declares, or, where nothing is
/// known, as they have been.
pub(in crate::hub::web) fn contract(
    told: Option<&ContractRow>,
    fields: &[Field],
    series: &[SeriesRow],
    now: i64,
) -> Markup {
    html! {
        section #contract-s aria-labelledby="contract" {
            h2 #contract { "Contract" }
            @if let Some(told) = told {
                (facts(told, now))
                @if !told.contract.metrics.is_empty() { (promised(&told.contract)) }
                @else if !series.is_empty() { p.faint { "It declares no metrics; this is what came so far." } (seen(series)) }
            } @else if fields.is_empty() {
                p.faint { "Nothing is declared in the hub; this is what came so far. What the agent checks against stands in its configuration." }
                @if !series.is_empty() { (seen(series)) }
            } @else { (declared(fields)) }
        }
    }
}

/// What is declared besides the metrics, in words.
fn facts(told: &ContractRow, now: i64) -> Markup {
    let contract = &told.contract;
    html! {
        dl.tally {
            div {
                dt { "Runs" }
                dd {
                    @if let Some(cron) = &contract.cron { "by " code { (cron) } }
                    @else if let Some(interval) = contract.interval { "every " (seconds(interval)) }
                    @else { "at its own times" }
                }
            }
            div { dt { "Timeout" } dd { (seconds(contract.timeout)) } }
            div { dt { "Other metrics" } dd { @if contract.strict { "refused" } @else { "taken" } } }
            div { dt { "JSON Schema" } dd { @if contract.schema { "checked" } @else { "none" } } }
            div { dt { "Told" } dd { (time(told.received_ms, now)) } }
        }
    }
}

/// The metrics that a plugin declares.
fn promised(contract: &ToldContract) -> Markup {
    let mark = |mark: Option<&Threshold>| match mark {
        Some(Threshold::Number(x)) => x.to_string(),
        Some(Threshold::Range(text)) => text.to_string(),
        None => "–".to_owned(),
    };
    let bound =
        |x: Option<f64>, unit: Option<&str>| x.map_or_else(|| "–".to_owned(), |x| number(x, unit));
    html! {
        div.scroll tabindex="0" role="region" aria-labelledby="contract" {
            table {
                thead { tr {
                    th scope="col" { "Metric" } th scope="col" { "Type" } th scope="col" { "Unit" }
                    th.num scope="col" { "Least" } th.num scope="col" { "Most" }
                    th.num scope="col" { "warn" } th.num scope="col" { "crit" }
                    th scope="col" { "Every run" } th scope="col" { "Only these values" }
                } }
                tbody {
                    @for (name, one) in &contract.metrics {
                        @let unit = one.unit.as_deref();
                        tr {
                            th scope="row" { @if let Some(label) = &one.label { (label) " " } code.faint { (name) } }
                            td { (one.kind) }
                            td { (unit.unwrap_or("–")) }
                            td.num { (bound(one.min, unit)) }
                            td.num { (bound(one.max, unit)) }
                            td.num { (mark(one.warn.as_ref())) }
                            td.num { (mark(one.crit.as_ref())) }
                            td { @if one.required { "required" } @else { span.faint { "optional" } } }
                            td { @if one.values.is_empty() { span.faint { "any" } } @else { @for one in &one.values { code.tag { (json(one)) } } } }
                        }
                    }
                }
            }
        }
        @if contract.omitted > 0 {
            p.faint { "And " (contract.omitted) " more, for which a report has no room." }
        }
    }
}

fn declared(fields: &[Field]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-labelledby="contract" {
            table {
                thead { tr {
                    th scope="col" { "Metric" } th scope="col" { "Type" } th scope="col" { "Unit" }
                    th scope="col" { "Only these values" } th scope="col" { "In reports" }
                } }
                tbody {
                    @for field in fields {
                        tr {
                            th scope="row" { @if let Some(label) = &field.label { (label) " " } code.faint { (field.name) } }
                            td { (field.kind.as_str()) }
                            td { (field.unit.as_deref().unwrap_or("–")) }
                            td { @if field.values.is_empty() { span.faint { "any" } } @else { @for one in &field.values { code.tag { (json(one)) } } } }
                            td { @match field.aggregation { Some(how) => (how.as_str()), None => span.faint { "average, or the last text" } } }
                        }
                    }
                }
            }
        }
    }
}

fn seen(series: &[SeriesRow]) -> Markup {
    let bound = |x: Option<f64>, one: &SeriesRow| {
        x.map_or_else(|| "–".to_owned(), |x| number(x, one.unit.as_deref()))
    };
    html! {
        div.scroll tabindex="0" role="region" aria-labelledby="contract" {
            table {
                thead { tr {
                    th scope="col" { "Metric" } th scope="col" { "Type" } th scope="col" { "Unit" }
                    th.num scope="col" { "Least" } th.num scope="col" { "Most" }
                    th.num scope="col" { "warn" } th.num scope="col" { "crit" } th.num scope="col" { "Series" }
                } }
                tbody {
                    @for metric in by_metric(series) {
                        @if let Some(one) = metric.first() {
                            tr {
                                th scope="row" { @if let Some(label) = &one.label { (label) " " } code.faint { (one.name) } }
                                td { (one.kind) }
                                td { (one.unit.as_deref().unwrap_or("–")) }
                                td.num { (bound(one.min, one)) }
                                td.num { (bound(one.max, one)) }
                                td.num { (one.warn.as_deref().unwrap_or("–")) }
                                td.num { (one.crit.as_deref().unwrap_or("–")) }
                                td.num { (metric.len()) }
                            }
                        }
                    }
                }
            }
        }
    }
}
