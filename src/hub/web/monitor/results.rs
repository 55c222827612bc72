//! The results of one day, and the form for a new one.

use maud::{Markup, html};
use rusqlite::Connection;

use crate::hub::monitors::{self, Monitor, Page, Row};
use crate::hub::session::Session;
use crate::hub::store::SeriesRow;
use crate::hub::web::format::{clock, counted, query, stamp, value};
use crate::hub::web::page::token;
use crate::hub::web::range::moment;
use crate::model::Value;

use super::inputs::{self, Typed};
use super::{Found, Said};

pub(super) const DAY_MS: i64 = 86_400_000;
/// Rows on one page.
const ROWS: usize = 200;

/// The results of one day.
pub(super) struct Day {
    /// Its first millisecond, in UTC.
    from: i64,
    page: Page,
    /// The check time from which this page goes.
    after: Option<i64>,
}

/// The day asked for, else that of the last results: its first and last millisecond.
pub(super) fn asked(pairs: &[(String, String)], monitor: &Monitor, now: i64) -> (i64, i64) {
    let day = pairs.iter().find(|(key, _)| key == "day").and_then(|(_, value)| moment(value));
    let last = if monitor.reports > 0 { monitor.received_ms } else { now };
    let from = day.unwrap_or(last).div_euclid(DAY_MS) * DAY_MS;
    (from, from + DAY_MS - 1)
}

pub(super) fn load(
    conn: &Connection,
    id: i64,
    (from, to): (i64, i64),
    pairs: &[(String, String)],
) -> rusqlite::Result<Day> {
    let after = pairs.iter().find(|(key, _)| key == "after").and_then(|(_, ms)| ms.parse().ok());
    let start = after.unwrap_or(from).clamp(from, to);
    Ok(Day { from, page: monitors::results(conn, id, start..=to, ROWS)?, after })
}

/// The day, in UTC.
pub(super) fn date(ms: i64) -> String {
    stamp(ms).chars().take(10).collect()
}

pub(super) fn table(found: &Found, path: &str) -> Markup {
    let Day { from, page, after } = &found.day;
    let day = date(*from);
    let link = |ms: i64| format!("{path}{}#results", query(&[("day", &date(ms))]));
    let download =
        |form: &str| format!("{path}/results{}", query(&[("day", &day), ("format", form)]));
    let tagged = page.rows.iter().any(|row| !row.tags.is_empty());
    html! {
        section #results-s aria-labelledby="results" {
            div.bar {
                h2 #results { "Results of a day" }
                form.day method="get" action={ (path) "#results" } {
                    a.step href=(link(from - DAY_MS)) title="the day before" { "←" span.hidden { " the day before" } }
                    label { span.hidden { "Day, in UTC" } input type="date" name="day" value=(day) required; }
                    a.step href=(link(from + DAY_MS)) title="the day after" { span.hidden { "the day after " } "→" }
                    button type="submit" { "Show" }
                    span.faint title="days begin at midnight in UTC" { "UTC" }
                }
                a href={ (path) "/report" } { "Averaged over time" }
                @if !page.rows.is_empty() {
                    span.downloads { "Download " a href=(download("csv")) download title="texts that a spreadsheet would take for formulas begin with an apostrophe" { "CSV" } " " a href=(download("exact")) download title="CSV with all texts as they were sent, for programs" { "exact CSV" } " " a href=(download("json")) download { "JSON" } }
                }
            }
            @if page.rows.is_empty() { p.empty { "No results on this day." } }
            @else {
                div.scroll.results tabindex="0" role="region" aria-labelledby="results" {
                    table {
                        thead { tr {
                            th scope="col" { "Time" }
                            @if tagged { th scope="col" { "Tags" } }
                            @for name in &page.names { th.num scope="col" { (heading(name, &found.series)) } }
                        } }
                        tbody { @for row in &page.rows { (line(row, &page.names, &found.series, tagged)) } }
                    }
                }
                nav.pages aria-label="Pages of the day" {
                    @if after.is_some() { a href=(link(*from)) { "← From midnight" } }
                    span.faint { (counted(page.rows.len(), "result", "results")) @if page.next.is_some() || after.is_some() { " here" } }
                    @if let Some(next) = page.next {
                        a rel="next" href=(format!("{path}{}#results", query(&[("day", &day), ("after", &next.to_string())]))) { "Later →" }
                    }
                }
            }
        }
    }
}

pub(super) fn heading(name: &str, series: &[SeriesRow]) -> Markup {
    let of = series.iter().find(|one| one.name == name);
    html! {
        (of.and_then(|one| one.label.as_deref()).unwrap_or(name))
        @if let Some(unit) = of.and_then(|one| one.unit.as_deref()) { " " span.unit { (unit) } }
    }
}

fn line(row: &Row, names: &[String], series: &[SeriesRow], tagged: bool) -> Markup {
    html! {
        tr {
            th scope="row" { (clock(row.ms)) }
            @if tagged { td.tags { @for (key, tag) in row.tags.iter() { span.tag { (key) "=" (tag) } } } }
            @for name in names {
                td.num { @if let Some((_, is)) = row.values.iter().find(|(of, _)| of == name) { (cell(is, name, series)) } }
            }
        }
    }
}

/// A value as it was posted: the unit stands above, and nothing is rounded.
pub(super) fn cell(is: &Value, name: &str, series: &[SeriesRow]) -> Markup {
    let exact = match is {
        Value::Signed(n) => n.to_string(),
        Value::Unsigned(n) => n.to_string(),
        Value::Float(x) => x.to_string(),
        other => match series.iter().find(|one| one.name == name) {
            Some(one) => value(other, one),
            None => String::new(),
        },
    };
    html! { (exact) }
}

/// The form that adds a result.
pub(super) fn add(found: &Found, session: &Session, path: &str, said: &Said) -> Markup {
    let typed = Typed::of(said, "add");
    html! {
        section.card #add-s aria-labelledby="add" {
            h2 #add { "Add a result" }
            form.fields method="post" action={ (path) "#add" } {
                (token(session)) input type="hidden" name="do" value="add";
                (inputs::line(&found.fields, &typed))
                div.buttons { button.main type="submit" { "Add result" } }
            }
        }
    }
}
