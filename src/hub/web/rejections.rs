//! What was refused, why, and what to type instead.

use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use maud::{Markup, html};

use crate::hub::hall::Hall;
use crate::hub::parameters::pairs;
use crate::hub::store::{self, Filter, RejectionGroup};

use super::format::{query, sentence, time};
use super::layout::Frame;
use super::page::{framed, logged_in, shown};

/// Groups on one page.
const GROUPS: usize = 50;
/// Groups that are looked through for those of one code.
const LOOKED_AT: usize = 5000;

/// What is asked for.
#[derive(Debug, Clone, Default)]
struct Asked {
    host: Option<String>,
    plugin: Option<String>,
    code: Option<String>,
}

impl Asked {
    fn pairs(&self) -> Vec<(&str, &str)> {
        let all = [("host", &self.host), ("plugin", &self.plugin), ("code", &self.code)];
        all.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))).collect()
    }
}

/// Whether a group says whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    OfAll,
    OfOne,
}

pub(super) async fn show(
    State(hall): State<Hall>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    let session = logged_in!(hall, headers);
    let now = hall.clock.now();
    let page = async {
        let mut asked = Asked::default();
        let mut after = None;
        for (key, value) in pairs(query.as_deref().unwrap_or_default())? {
            let given = Some(value.trim().to_owned()).filter(|value| !value.is_empty());
            match key.as_str() {
                "host" => asked.host = given,
                "plugin" => asked.plugin = given,
                "code" => asked.code = given,
                "after" => after = value.parse().ok(),
                _ => {}
            }
        }
        let filter = Filter {
            account: session.account,
            host: asked.host.clone(),
            plugin: asked.plugin.clone(),
            after,
            limit: LOOKED_AT,
            ..Filter::default()
        };
        let mut found = hall.store.read(move |conn| store::rejections(conn, &filter)).await?;
        let codes = codes(&found, asked.code.as_deref());
        if let Some(code) = &asked.code {
            found.retain(|group| group.newest.code == *code);
        }
        let more = found.len() > GROUPS;
        found.truncate(GROUPS);
        let body = body(&found, &codes, &asked, more, now);
        Ok(framed(&Frame::of("Rejections", "/rejections", &session), &body))
    };
    shown(page.await)
}

/// The codes that there are, and the one asked for.
fn codes(groups: &[RejectionGroup], asked: Option<&str>) -> Vec<String> {
    let of_groups = groups.iter().map(|group| group.newest.code.as_str());
    let mut codes: Vec<String> = of_groups.chain(asked).map(str::to_owned).collect();
    codes.sort();
    codes.dedup();
    codes
}

fn body(found: &[RejectionGroup], codes: &[String], asked: &Asked, more: bool, now: i64) -> Markup {
    html! {
        h1 { "Rejections" }
        p.facts.faint { "Records that were refused, alike ones together, newest first. Each costs itself and nothing else. The newest 200 or so of each plugin are kept." }
        form.filter method="get" action="/rejections" {
            label { "Plugin" input type="text" name="plugin" value=(asked.plugin.as_deref().unwrap_or_default()) maxlength="128" spellcheck="false" autocomplete="off"; }
            label { "Host" input type="text" name="host" value=(asked.host.as_deref().unwrap_or_default()) maxlength="255" spellcheck="false" autocomplete="off"; }
            label {
                "Code"
                select name="code" {
                    option value="" { "all" }
                    @for code in codes {
                        option value=(code) selected[asked.code.as_ref() == Some(code)] { (code) }
                    }
                }
            }
            button type="submit" { "Filter" }
            @if !asked.pairs().is_empty() { a.clear href="/rejections" { "✕ clear" } }
        }
        @if found.is_empty() {
            section.notice.small {
                @if asked.pairs().is_empty() { p { "Nothing was refused. " a href="/" { "To the overview" } } }
                @else { p { "Nothing like this was refused. " a href="/rejections" { "Show all" } } }
            }
        }
        (groups(found, Shown::OfAll, now))
        @if more {
            @if let Some(last) = found.last() {
                @let after = last.newest.id.to_string();
                nav.pages aria-label="Pages of the list" {
                    a rel="next" href=(format!("/rejections{}", query(&[asked.pairs().as_slice(), &[("after", &after)]].concat()))) { "Older →" }
                }
            }
        }
    }
}

/// Groups of refused records, with what to do.
pub(super) fn groups(found: &[RejectionGroup], shown: Shown, now: i64) -> Markup {
    html! {
        ol.rejections {
            @for group in found {
                @let row = &group.newest;
                li id={ "r" (row.id) } {
                    div.of {
                        a.code href=(format!("/explain/{}", row.code)) title="What this code means" { (row.code) }
                        @if shown == Shown::OfAll {
                            span {
                                a href=(format!("/plugin{}", query(&[("host", &row.host), ("plugin", &row.plugin)]))) { (row.plugin) }
                                " " span.faint { "on " (row.host) }
                            }
                        }
                        @if group.count > 1 { span.times { "× " (group.count) } }
                        span.when.faint {
                            @if group.count > 1 { "last " }
                            (time(row.started_ms, now))
                            @if group.count > 1 { ", first " (time(group.first_ms, now)) }
                        }
                    }
                    p { (sentence(&row.message)) }
                    dl {
                        @if !row.value.is_empty() { dt { "got" } dd { code { (row.value) } } }
                        dt { "at" }
                        dd {
                            @if !group.pattern.is_empty() { code { (group.pattern) } ", " }
                            @if group.pattern != row.path { "last at " code { (row.path) } ", " }
                            "line " (row.line) ", column " (row.column)
                        }
                        @if let Some(rule) = &row.rule { dt { "rule" } dd { code { (rule) } } }
                        @if !row.hint.is_empty() { dt { "do" } dd.do { (sentence(&row.hint)) } }
                    }
                }
            }
        }
    }
}
