//! What was refused, why, and what to type instead.

use maud::{Markup, html};

use crate::hub::store::{Filter, RejectionGroup};

use super::format::{query, time};

pub(super) fn body(groups: &[RejectionGroup], asked: &Filter, more: bool, now: i64) -> Markup {
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
                "Records of " a href=(format!("/plugin{}", query(&pairs))) { (plugin) " on " (host) } " that were refused, alike ones together. " a href="/rejections" { "All plugins" }
            } @else {
                "Records that were refused, alike ones together, newest first. Each costs itself and nothing else. The newest 200 or so of each plugin are kept."
            }
        }
        @if groups.is_empty() {
            section.notice { p { "Nothing was refused. " a href="/" { "Back to the overview" } } }
        }
        ol.rejections {
            @for group in groups {
                @let row = &group.newest;
                li {
                    div.head {
                        code.code { (row.code) }
                        a href=(format!("/plugin{}", query(&[("host", &row.host), ("plugin", &row.plugin)]))) { (row.plugin) }
                        span.faint { "on " (row.host) }
                        @if group.count > 1 { span.times { "× " (group.count) } }
                        span.when.faint {
                            @if group.count > 1 { "last " }
                            (time(row.started_ms, now))
                            @if group.count > 1 { ", first " (time(group.first_ms, now)) }
                        }
                    }
                    p { (row.message) }
                    dl {
                        @if !row.value.is_empty() { dt { "got" } dd { code { (row.value) } } }
                        dt { "at" }
                        dd {
                            @if !group.pattern.is_empty() { code { (group.pattern) } ", " }
                            @if group.pattern != row.path { "last at " code { (row.path) } ", " }
                            "line " (row.line) ", column " (row.column)
                        }
                        @if let Some(rule) = &row.rule { dt { "rule" } dd { code { (rule) } } }
                        @if !row.hint.is_empty() { dt { "do" } dd.do { (row.hint) } }
                    }
                }
            }
        }
        @if more {
            @if let Some(last) = groups.last() {
                @let after = last.newest.id.to_string();
                p { a href=(format!("/rejections{}", query(&[pairs.as_slice(), &[("after", &after)]].concat()))) { "Older" } }
            }
        }
    }
}
