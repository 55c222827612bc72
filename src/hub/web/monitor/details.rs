//! Additional results of one day, and the form that adds to them.

use maud::{Markup, html};
use rusqlite::Connection;

use crate::hub::monitors::{self, Details, Role};
use crate::hub::session::Session;
use crate::hub::web::format::clock;
use crate::hub::web::page::token;

use super::inputs::{self, Typed};
use super::{Found, Said};

/// Check times with additional results that are shown.
const TIMES: usize = 100;
/// About how many bytes of them: the page is drawn where all requests are answered.
const BYTES: usize = 256 << 10;

/// Those of a day, and what is declared of them.
pub(super) struct Detailed {
    pub(super) fields: Vec<monitors::Field>,
    day: Details,
}

pub(super) fn load(
    conn: &Connection,
    id: i64,
    (from, to): (i64, i64),
) -> rusqlite::Result<Detailed> {
    Ok(Detailed {
        fields: monitors::fields(conn, id, Role::Additional)?,
        day: monitors::additional_within(conn, id, from..=to, TIMES, BYTES)?,
    })
}

pub(super) fn table(found: &Found) -> Markup {
    let Details { items, next } = &found.details.day;
    html! {
        @if !items.is_empty() {
            section #details-s aria-labelledby="details" {
                h2 #details { "Additional results of the day" }
                div.scroll.results tabindex="0" role="region" aria-labelledby="details" {
                    table {
                        thead { tr { th scope="col" { "Time" } th scope="col" { "Detail" } } }
                        tbody {
                            @for one in items {
                                @for row in rows(one.rows.get()) {
                                    tr {
                                        th scope="row" { (clock(one.ms)) }
                                        td.wrap { @for (nth, (name, value)) in row.iter().enumerate() { @if nth > 0 { ", " } span.faint { (name) } " " (written(value)) } }
                                    }
                                }
                            }
                        }
                    }
                }
                @if next.is_some() { p.faint { "The first " (items.len()) " check times." } }
            }
        }
    }
}

fn rows(json: &str) -> Vec<serde_json::Map<String, serde_json::Value>> {
    serde_json::from_str(json).unwrap_or_default()
}

fn written(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The form that adds a row under a check time.
pub(super) fn add(found: &Found, session: &Session, path: &str, said: &Said) -> Markup {
    let typed = Typed::of(said, "detail");
    html! {
        details.card #detail-s open[typed.any()] {
            summary { "Add an additional result" }
            p.faint { "Detail under a check time, such as what exactly went wrong. What is there already stays." }
            form.fields method="post" action={ (path) "#detail-s" } {
                (token(session)) input type="hidden" name="do" value="detail";
                (inputs::line(&found.details.fields, &typed))
                div.buttons { button type="submit" { "Add detail" } }
            }
        }
    }
}
