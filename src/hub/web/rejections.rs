//! What was refused, why, and what to type instead.

use maud::{Markup, html};

use crate::hub::store::{Filter, RejectionRow};

use super::format::{query, time};

pub(super) fn body(rows: &[RejectionRow], asked: &Filter, more: bool, now: i64) -> Markup {
    let mut pairs: Vec<(&str, &str)> = Vec::new();
    if let Some(host) = &asked.host {
        pairs.push(("host", host));
    }
    if let Some(plugin) = &asked.plugin {
        pairs.push(("plugin", plugin));
    }
    html! {
        h1 { "Rejections" }
        p.faint {
            @if let (Some(host), Some(plugin)) = (&asked.host, &asked.plugin) {
                "Records of " a href=(format!("/plugin{}", query(&pairs))) { (plugin) " on " (host) } " that were refused. " a href="/rejections" { "All plugins" }
            } @else {
                "Records that were refused, newest first. Each costs itself and nothing else."
            }
        }
        @if rows.is_empty() {
            section.notice { p { "Nothing was refused. " a href="/" { "Back to the overview" } } }
        }
        ol.rejections {
            @for row in rows {
                li {
                    div.head {
                        code.code { (row.code) }
                        a href=(format!("/plugin{}", query(&[("host", &row.host), ("plugin", &row.plugin)]))) { (row.plugin) }
                        span.faint { "on " (row.host) }
                        span.when.faint { (time(row.started_ms, now)) }
                    }
                    p { (row.message) }
                    dl {
                        @if !row.value.is_empty() { dt { "got" } dd { code { (row.value) } } }
                        dt { "at" }
                        dd {
                            @if !row.path.is_empty() { code { (row.path) } ", " }
                            "line " (row.line) ", column " (row.column)
                        }
                        @if let Some(rule) = &row.rule { dt { "rule" } dd { code { (rule) } } }
                        @if !row.hint.is_empty() { dt { "do" } dd.do { (row.hint) } }
                    }
                }
            }
        }
        @if more {
            @if let Some(last) = rows.last() {
                @let after = last.id.to_string();
                p { a href=(format!("/rejections{}", query(&[pairs.as_slice(), &[("after", &after)]].concat()))) { "Older" } }
            }
        }
    }
}
