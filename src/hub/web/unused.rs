//! Monitors that nothing came for in a long time: what they are, and removing them all.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::get;
use maud::{Markup, html};

use crate::hub::hall::{Caller, Hall};
use crate::hub::monitors::{self, Held, Monitor, MonitorError, MonitorFilter};
use crate::hub::parameters::pairs;
use crate::hub::session::Session;
use crate::hub::store::Writer;

use super::format::{counted, figures, sentence, time};
use super::layout::{self, Frame};
use super::page::{Page, Sent, html_page, logged_in, see, shown, token};

/// Monitors that are shown, and removed, at a time.
const PAGE: usize = 100;
const DAY_MS: i64 = 86_400_000;
/// For how many days nothing came: what there is to choose from.
const DAYS: [i64; 5] = [7, 30, 90, 180, 365];
const USUAL: i64 = 30;

pub(super) fn routes() -> Router<Hall> {
    Router::new().route("/monitors/unused", get(show).post(remove))
}

fn read_days(text: &str) -> i64 {
    text.parse().ok().filter(|days| (1..=36_500).contains(days)).unwrap_or(USUAL)
}

async fn show(State(hall): State<Hall>, headers: HeaderMap, RawQuery(query): RawQuery) -> Response {
    let session = logged_in!(hall, headers);
    let page = async {
        let pairs = pairs(query.as_deref().unwrap_or_default())?;
        let days = pairs.iter().find(|(key, _)| key == "days");
        list(&hall, &session, days.map_or(USUAL, |(_, days)| read_days(days)), None).await
    };
    shown(page.await)
}

async fn list(hall: &Hall, session: &Session, days: i64, wrong: Option<&str>) -> Page {
    let now = hall.clock.now();
    let since = now.saturating_sub(days * DAY_MS);
    let filter = MonitorFilter {
        unused_since: Some(since),
        limit: Some(PAGE + 1),
        ..MonitorFilter::default()
    };
    let account = session.account;
    let mut found = hall.store.read(move |conn| monitors::list(conn, account, &filter)).await?;
    let more = found.len() > PAGE;
    found.truncate(PAGE);
    let body = html! {
        p.crumbs { a href="/monitors" { "Monitors" } }
        h1 { "Unused monitors" }
        @if let Some(wrong) = wrong { p.alarm role="alert" { (sentence(wrong)) } }
        form.filter method="get" action="/monitors/unused" {
            label {
                "Nothing came for"
                select name="days" {
                    @for some in DAYS { option value=(some) selected[some == days] { (some) " days" } }
                    @if !DAYS.contains(&days) { option value=(days) selected { (counted(days.unsigned_abs() as usize, "day", "days")) } }
                }
            }
            button type="submit" { "Show" }
        }
        @if found.is_empty() { p.empty { "Every monitor was heard of in the last " (counted(days.unsigned_abs() as usize, "day", "days")) "." } }
        @else { (going(&found, more, session, days, since, now)) }
    };
    let status = if wrong.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let frame = Frame::of("Unused monitors", "/monitors", session);
    Ok(html_page(status, layout::page(&frame, &body)))
}

/// What goes, and the form that has it go.
fn going(
    found: &[Monitor],
    more: bool,
    session: &Session,
    days: i64,
    since: i64,
    now: i64,
) -> Markup {
    let count = counted(found.len(), "monitor", "monitors");
    html! {
        div.scroll tabindex="0" role="region" aria-label="Unused monitors" {
            table {
                thead { tr {
                    th scope="col" { "Name" } th scope="col" { "Tags" } th scope="col" { "From" }
                    th.num scope="col" { "Results" } th.num scope="col" { "Values" } th.num scope="col" { "Last heard" } th.num scope="col" { "Id" }
                } }
                tbody {
                    @for monitor in found {
                        tr {
                            th.wrap scope="row" { a href=(format!("/monitor/{}", monitor.id)) { (monitor.name) } }
                            td { @for tag in &monitor.tags { span.tag { (tag) } } }
                            td { @if let Some(host) = &monitor.host { "agent on " (host) } @else { span.faint { "elsewhere" } } }
                            td.num { (figures(monitor.reports as f64)) }
                            td.num { (figures(monitor.metrics as f64)) }
                            td.num { @if monitor.reports > 0 { (time(monitor.received_ms, now)) } @else { span.faint { "never" } } }
                            td.num.faint { (monitor.id) }
                        }
                    }
                }
            }
        }
        section.card data-still="" aria-labelledby="remove" {
            h2 #remove { "Remove " (count) "?" }
            p { "They go with all their results, which do not come back. One for which something comes until then stays." @if more { " There are more than these; they come after." } }
            form.fields method="post" action="/monitors/unused" {
                (token(session))
                input type="hidden" name="days" value=(days);
                input type="hidden" name="since" value=(since);
                @for monitor in found { input type="hidden" name="id" value=(monitor.id); }
                label { span { "To be sure, type how many there are: " b { (found.len()) } } input type="text" inputmode="numeric" name="count" required autocomplete="off"; }
                div.buttons { button.danger type="submit" { "Remove for good" } a.button href="/monitors" { "Keep them" } }
            }
        }
    }
}

async fn remove(State(hall): State<Hall>, headers: HeaderMap, body: Bytes) -> Response {
    let session = logged_in!(hall, headers);
    let sent = match Sent::read(&session, &body) {
        Ok(sent) => sent,
        Err(refused) => return refused,
    };
    let page = async {
        let days = read_days(sent.text("days"));
        let ids: Option<Vec<i64>> = sent.all("id").map(|id| id.parse().ok()).collect();
        let (Some(ids), Ok(since)) = (ids, sent.text("since").parse::<i64>()) else {
            let wrong = "The form cannot be read; nothing was removed.";
            return list(&hall, &session, days, Some(wrong)).await;
        };
        if ids.is_empty() || ids.len() > PAGE || sent.text("count") != ids.len().to_string() {
            let wrong = "That is not how many there are; nothing was removed.";
            return list(&hall, &session, days, Some(wrong)).await;
        }
        for id in ids {
            let (now, caller) = (hall.clock.now(), Caller::of_session(session.account));
            // Counting the results of all of them would take longer than a page may.
            let held = Held::default();
            let job =
                move |writer: &mut Writer| writer.remove_unused(&caller, id, held, since, now);
            // Else it is removed, by somebody else perhaps, or something came for it.
            if let Err(MonitorError::Store(error)) = hall.store.write(job).await? {
                return Err(error.into());
            }
        }
        Ok(see(&format!("/monitors/unused?days={days}")))
    };
    shown(page.await)
}
