//! Who changed which key, monitor or package.

use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use maud::{Markup, html};

use crate::hub::audit::{self, AuditFilter, AuditRow};
use crate::hub::hall::Hall;
use crate::hub::parameters::pairs;

use super::format::{query, when};
use super::layout::Frame;
use super::page::{framed, logged_in, shown};

/// Entries on one page.
const ENTRIES: usize = 100;

pub(super) async fn show(
    State(hall): State<Hall>,
    headers: HeaderMap,
    RawQuery(asked): RawQuery,
) -> Response {
    let session = logged_in!(hall, headers);
    let page = async {
        let mut filter = AuditFilter { limit: ENTRIES + 1, ..AuditFilter::default() };
        for (key, value) in pairs(asked.as_deref().unwrap_or_default())? {
            match key.as_str() {
                "action" => filter.action = Some(value).filter(|action| !action.is_empty()),
                "after" => filter.before = value.parse().ok(),
                _ => {}
            }
        }
        let (account, kind) = (session.account, filter.action.clone());
        let mut rows = hall.store.read(move |conn| audit::list(conn, account, &filter)).await?;
        let more = rows.len() > ENTRIES;
        rows.truncate(ENTRIES);
        let body = body(&rows, kind.as_deref(), more);
        Ok(framed(&Frame::of("Audit log", "/health", &session), &body))
    };
    shown(page.await)
}

fn body(rows: &[AuditRow], kind: Option<&str>, more: bool) -> Markup {
    let kinds = [
        (None, "all"),
        (Some("key"), "keys"),
        (Some("monitor"), "monitors"),
        (Some("package"), "packages"),
    ];
    html! {
        p.crumbs { a href="/health" { "Health" } }
        h1 { "Audit log" }
        p.facts.faint { "Who changed which key, monitor or package, newest first. It is kept when what it is about is gone." }
        nav.ranges aria-label="Of what" {
            @for (of, word) in kinds {
                @let target = of.map_or_else(|| "/audit".to_owned(), |of| format!("/audit{}", query(&[("action", of)])));
                a href=(target) aria-current=[(kind == of).then_some("true")] { (word) }
            }
        }
        @if rows.is_empty() { section.notice.small { p { "Nothing was changed yet." } } }
        @else {
            div.scroll tabindex="0" role="region" aria-label="Audit log" {
                table {
                    thead { tr { th scope="col" { "When" } th scope="col" { "Who" } th scope="col" { "Did" } th scope="col" { "To" } th scope="col" { "Detail" } } }
                    tbody {
                        @for row in rows {
                            tr id={ "a" (row.id) } {
                                th scope="row" { (when(row.at_ms)) }
                                td { (row.actor) }
                                td { code { (row.action) } }
                                td.wrap { (row.subject) }
                                td.wrap.faint { (row.detail.as_deref().unwrap_or_default()) }
                            }
                        }
                    }
                }
            }
        }
        @if more {
            @if let Some(last) = rows.last() {
                @let after = last.id.to_string();
                nav.pages aria-label="Pages of the list" {
                    a rel="next" href=(format!("/audit{}", query(&[("action", kind.unwrap_or_default()), ("after", &after)]))) { "Older →" }
                }
            }
        }
    }
}
