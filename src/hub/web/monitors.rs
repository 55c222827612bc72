//! All monitors, and making a new one.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::get;
use maud::{Markup, html};

use crate::hub::hall::{Caller, Hall};
use crate::hub::monitors::{self, Monitor, MonitorError, MonitorFilter, Sender};
use crate::hub::parameters::pairs;
use crate::hub::session::Session;

use super::definition::Draft;
use super::format::{figures, query, sentence, time};
use super::layout::{self, Frame};
use super::page::{Sent, framed, html_page, logged_in, see, shown};

/// Monitors on one page.
const PAGE: usize = 100;

pub(super) fn routes() -> Router<Hall> {
    Router::new().route("/monitors", get(show)).route("/monitors/new", get(blank).post(create))
}

async fn show(State(hall): State<Hall>, headers: HeaderMap, RawQuery(query): RawQuery) -> Response {
    let session = logged_in!(hall, headers);
    let now = hall.clock.now();
    let page = async {
        let mut filter = MonitorFilter { limit: Some(PAGE + 1), ..MonitorFilter::default() };
        for (key, value) in pairs(query.as_deref().unwrap_or_default())? {
            let given = Some(value.trim().to_owned()).filter(|value| !value.is_empty());
            match key.as_str() {
                "q" => filter.search = given,
                "from" => {
                    filter.sender = match value.as_str() {
                        "agents" => Some(Sender::Agent),
                        "direct" => Some(Sender::Direct),
                        _ => None,
                    };
                }
                "suspended" => filter.suspended = (value == "yes").then_some(true),
                "after" => filter.after = value.parse().ok(),
                _ => {}
            }
        }
        let (account, asked) = (session.account, filter.clone());
        let mut found = hall.store.read(move |conn| monitors::list(conn, account, &filter)).await?;
        let more = found.len() > PAGE;
        found.truncate(PAGE);
        let body = body(&found, &asked, more, now);
        Ok(framed(&Frame::of("Monitors", "/monitors", &session), &body))
    };
    shown(page.await)
}

fn sender_word(sender: Option<Sender>) -> &'static str {
    match sender {
        None => "",
        Some(Sender::Agent) => "agents",
        Some(Sender::Direct) => "direct",
    }
}

fn body(found: &[Monitor], asked: &MonitorFilter, more: bool, now: i64) -> Markup {
    let words = asked.search.as_deref().unwrap_or_default();
    let suspended = asked.suspended == Some(true);
    let narrows = !words.is_empty() || asked.sender.is_some() || suspended;
    html! {
        div.head {
            h1 { "Monitors" }
            div.buttons {
                a.button href="/monitors/unused" { "Unused ones" }
                a.button.main href="/monitors/new" { "New monitor" }
            }
        }
        p.facts.faint { "What results are kept under. Plugins of agents are monitors by themselves; for results that you send, make one." }
        form.filter role="search" method="get" action="/monitors" {
            label { "Search" input type="search" name="q" value=(words) placeholder="name, host, plugin or tag" maxlength="200" spellcheck="false" autocomplete="off"; }
            label {
                "Results from"
                select name="from" {
                    @for (word, text) in [("", "everywhere"), ("agents", "agents"), ("direct", "elsewhere")] {
                        option value=(word) selected[sender_word(asked.sender) == word] { (text) }
                    }
                }
            }
            label.box { input type="checkbox" name="suspended" value="yes" checked[suspended]; "suspended only" }
            button type="submit" { "Filter" }
            @if narrows { a.clear href="/monitors" { "✕ clear" } }
        }
        @if found.is_empty() {
            section.notice.small {
                @if narrows || asked.after.is_some() { p { "No monitor is like this. " a href="/monitors" { "Show all" } } }
                @else {
                    p { "There is no monitor yet. " a href="/monitors/new" { "Make one" } ", or on a command line:" }
                    pre { code { "talaia monitor create netstat_mon --metric 'packets_in:Packets in:pps:integer'" } }
                }
            }
        } @else {
            div.scroll tabindex="0" role="region" aria-label="Monitors" {
                table {
                    thead { tr {
                        th scope="col" { "Name" } th scope="col" { "Tags" } th scope="col" { "Type" } th scope="col" { "From" }
                        th.num scope="col" { "Results" } th.num scope="col" { "Values" } th.num scope="col" { "Last heard" } th.num scope="col" { "Id" }
                    } }
                    tbody { @for monitor in found { (line(monitor, now)) } }
                }
            }
        }
        @if more {
            @if let Some(last) = found.last() {
                @let after = last.id.to_string();
                @let mut link = vec![("q", words), ("from", sender_word(asked.sender)), ("after", after.as_str())];
                @if suspended { ({ link.push(("suspended", "yes")); "" }) }
                nav.pages aria-label="Pages of the list" { a rel="next" href=(format!("/monitors{}", query(&link))) { "After →" } }
            }
        }
    }
}

fn line(monitor: &Monitor, now: i64) -> Markup {
    html! {
        tr id={ "m" (monitor.id) } {
            th.wrap scope="row" {
                a href=(format!("/monitor/{}", monitor.id)) { (monitor.name) }
                @if monitor.suspended_ms.is_some() { " " span.badge.suspended { "suspended" } }
            }
            td { @for tag in &monitor.tags { span.tag { (tag) } } }
            td { (monitor.kind) }
            td {
                @match (&monitor.host, &monitor.plugin) {
                    (Some(host), Some(plugin)) => a href=(format!("/plugin{}", query(&[("host", host), ("plugin", plugin)]))) { "agent on " (host) },
                    _ => span.faint { "elsewhere" },
                }
            }
            td.num { (figures(monitor.reports as f64)) }
            td.num { (figures(monitor.metrics as f64)) }
            td.num { @if monitor.reports > 0 { (time(monitor.received_ms, now)) } @else { span.faint { "never" } } }
            td.num.faint { (monitor.id) }
        }
    }
}

async fn blank(State(hall): State<Hall>, headers: HeaderMap) -> Response {
    let session = logged_in!(hall, headers);
    form(&session, &Draft::default(), 0, None)
}

fn form(session: &Session, draft: &Draft, more: usize, wrong: Option<&str>) -> Response {
    let body = html! {
        p.crumbs { a href="/monitors" { "Monitors" } }
        h1 { "New monitor" }
        @if let Some(wrong) = wrong { p.alarm role="alert" { (sentence(wrong)) } }
        section.card { (draft.form(session, "/monitors/new", "Create monitor", more)) }
    };
    let frame = Frame::of("New monitor", "/monitors", session);
    let status = if wrong.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    html_page(status, layout::page(&frame, &body))
}

async fn create(State(hall): State<Hall>, headers: HeaderMap, body: Bytes) -> Response {
    let session = logged_in!(hall, headers);
    let sent = match Sent::read(&session, &body) {
        Ok(sent) => sent,
        Err(refused) => return refused,
    };
    let draft = Draft::read(&sent);
    if sent.ticked("add") {
        return form(&session, &draft, more_rows(&sent), None);
    }
    let page = async {
        let new = match draft.new_monitor() {
            Ok(new) => new,
            Err(wrong) => return Ok(form(&session, &draft, 0, Some(&wrong))),
        };
        let (now, caller) = (hall.clock.now(), Caller::of_session(session.account));
        let made =
            hall.store.change(move |conn| Ok(monitors::create(conn, &caller, &new, now))).await?;
        match made {
            Ok(id) => Ok(see(&format!("/monitor/{id}"))),
            Err(MonitorError::Store(error)) => Err(error.into()),
            Err(wrong) => Ok(form(&session, &draft, 0, Some(&wrong.to_string()))),
        }
    };
    shown(page.await)
}

/// How many empty rows the form is to have when more are asked for.
pub(super) fn more_rows(sent: &Sent) -> usize {
    sent.text("more").parse::<usize>().unwrap_or(0).min(100) + 5
}
