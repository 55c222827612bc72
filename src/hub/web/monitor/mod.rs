//! One monitor: its charts, its results by day, and what can be done with it.

mod act;
mod details;
mod download;
mod inputs;
mod report;
mod results;

use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::get;
use maud::{Markup, html};
use rusqlite::Connection;

use crate::hub::hall::Hall;
use crate::hub::monitors::{self, Field, Monitor, MonitorError, Role};
use crate::hub::parameters::pairs;
use crate::hub::session::Session;
use crate::hub::store::{self, Kept, SeriesRow};

use super::drawing;
use super::format::{figures, query, sentence, time, when};
use super::layout::{self, Frame};
use super::page::{Page, html_page, logged_in, shown, token, told};
use super::plugin;
use super::range::Range;
use super::standing::Standing;
use super::zone;

use details::Detailed;
use results::Day;

/// Series that are read.
const SERIES: usize = 500;

pub(super) fn routes() -> Router<Hall> {
    Router::new()
        .route("/monitor/{id}", get(show).post(act::act))
        .route("/monitor/{id}/edit", get(act::edit_form).post(act::edit))
        .route("/monitor/{id}/delete", get(act::delete_form).post(act::delete))
        .route("/monitor/{id}/results", get(download::results))
        .route("/monitor/{id}/report", get(report::show))
}

/// What the page shows.
struct Found {
    monitor: Monitor,
    fields: Vec<Field>,
    series: Vec<SeriesRow>,
    all: usize,
    charts: Vec<Markup>,
    day: Day,
    details: Detailed,
}

/// The page with something said about a form that was sent from it.
#[derive(Debug, Default)]
struct Said {
    wrong: Option<String>,
    /// What was typed, by field.
    typed: Vec<(String, String)>,
}

async fn show(
    State(hall): State<Hall>,
    headers: HeaderMap,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    let session = logged_in!(hall, headers);
    let query = query.unwrap_or_default();
    shown(page(&hall, &session, &id, &query, &Said::default()).await)
}

/// The monitor, or the page that says that there is none.
async fn find(
    hall: &Hall,
    session: &Session,
    id: &str,
) -> Result<Result<Monitor, Response>, crate::hub::problem::Problem> {
    let Ok(id) = id.parse::<i64>() else { return Ok(Err(missing(session))) };
    let account = session.account;
    let found = hall.store.ask(move |conn| Ok(monitors::must_find(conn, account, id))).await?;
    match found {
        Ok(monitor) if monitor.id == id => Ok(Ok(monitor)),
        Err(MonitorError::Store(error)) => Err(error.into()),
        _ => Ok(Err(missing(session))),
    }
}

fn missing(session: &Session) -> Response {
    let text = "There is no monitor with this number. It may have been deleted; numbers are not used again.";
    told(session, StatusCode::NOT_FOUND, "No such monitor", text)
}

async fn page(hall: &Hall, session: &Session, id: &str, query: &str, said: &Said) -> Page {
    let now = hall.clock.now();
    let monitor = match find(hall, session, id).await? {
        Ok(monitor) => monitor,
        Err(missing) => return Ok(missing),
    };
    let pairs = pairs(query)?;
    let range = usual(Range::read(&pairs, now), &pairs, &monitor, now);
    let day = results::asked(&pairs, &monitor, now);
    let zone = zone::current();
    let draw =
        move |conn: &Connection| zone::within(zone, || load(conn, monitor, range, day, &pairs));
    let found = hall.store.read(draw).await?;
    let frame = Frame::of(&found.monitor.name, "/monitors", session);
    let status =
        if said.wrong.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    Ok(html_page(status, layout::page(&frame, &body(&found, &range, session, said, now))))
}

/// Results of direct senders are often few, and of long ago: where nobody says which time is to be
/// drawn it is the one that ends with the last result.
fn usual(range: Range, pairs: &[(String, String)], monitor: &Monitor, now: i64) -> Range {
    let asked = pairs.iter().any(|(key, _)| matches!(key.as_str(), "range" | "from" | "to"));
    if asked || monitor.host.is_some() {
        return range;
    }
    let day = [("range".to_owned(), "24h".to_owned())];
    Range::read(&day, now)
}

fn load(
    conn: &Connection,
    monitor: Monitor,
    range: Range,
    day: (i64, i64),
    pairs: &[(String, String)],
) -> rusqlite::Result<Found> {
    let id = monitor.id;
    let (series, all) =
        store::series_of(conn, &[id], Kept::Printed, SERIES)?.remove(&id).unwrap_or_default();
    Ok(Found {
        fields: monitors::fields(conn, id, Role::Result)?,
        charts: drawing::draw(conn, &series, range.window, None)?,
        day: results::load(conn, id, day, pairs)?,
        details: details::load(conn, id, day)?,
        monitor,
        series,
        all,
    })
}

fn body(found: &Found, range: &Range, session: &Session, said: &Said, now: i64) -> Markup {
    let monitor = &found.monitor;
    let path = format!("/monitor/{}", monitor.id);
    let direct = monitor.host.is_none();
    html! {
        p.crumbs { a href="/monitors" { "Monitors" } }
        div.head {
            h1 { (monitor.name) @if monitor.suspended_ms.is_some() { " " (Standing::Suspended.badge()) } }
            div.buttons {
                @if let (Some(host), Some(plugin)) = (&monitor.host, &monitor.plugin) {
                    a.button href=(format!("/plugin{}", query(&[("host", host), ("plugin", plugin)]))) { "The plugin and its runs" }
                }
                a.button href={ (path) "/edit" } { "Edit" }
                form method="post" action=(path) {
                    (token(session))
                    @if monitor.suspended_ms.is_some() { button type="submit" name="do" value="activate" { "Activate" } }
                    @else { button type="submit" name="do" value="suspend" { "Suspend" } }
                }
                a.button.danger href={ (path) "/delete" } { "Delete" }
            }
        }
        @if let Some(wrong) = &said.wrong { p.alarm role="alert" { (sentence(wrong)) } }
        @if let Some(since) = monitor.suspended_ms {
            p.hint { "It takes no results since " (when(since)) @if !direct { "; what the agent sends for it is refused" } "." }
        }
        dl.tally {
            div { dt { "Id" } dd { (monitor.id) } }
            @if !monitor.tags.is_empty() { div { dt { "Tags" } dd { @for tag in &monitor.tags { span.tag { (tag) } } } } }
            div { dt { "Type" } dd { (monitor.kind) } }
            div { dt { @if direct { "Results" } @else { "Reports" } } dd { (figures(monitor.reports as f64)) } }
            div { dt { "Values" } dd { (figures(monitor.metrics as f64)) } }
            div { dt { "Last heard" } dd { @if monitor.reports > 0 { (time(monitor.received_ms, now)) } @else { "never" } } }
            div { dt { "Made" } dd { (when(monitor.created_ms)) } }
        }
        section #charts-s aria-labelledby="charts" {
            div.bar { h2 #charts { "Charts" } (range.chooser(&path, &[])) }
            @if found.series.is_empty() { p.empty { "No results yet. " @if direct { "Send one with the form below, with " code { "talaia monitor add-result" } ", or over HTTP." } } }
            @else { (drawing::grid(&found.charts, true)) }
        }
        @if !found.series.is_empty() { (plugin::values(&found.series, found.all, now)) }
        (results::table(found, &path))
        (details::table(found))
        @if direct && monitor.suspended_ms.is_none() {
            (results::add(found, session, &path, said))
            (details::add(found, session, &path, said))
        }
    }
}
