//! How the hub itself is: what it holds, what comes in, from which agents, and how much room is left.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use maud::{Markup, html};

use crate::hub::hall::{Hall, Keeping};
use crate::hub::store::{self, AgentRow, Health};

use super::format::{ago, brief, bytes, counted, grouped, number, query, seconds, time, when};
use super::layout::Frame;
use super::page::{framed, logged_in, shown};

/// A clock that is off by more is shown as such, in milliseconds.
const SKEW_MS: i64 = 5_000;
/// An agent that was not heard of for longer is shown as such, in milliseconds.
const QUIET_MS: i64 = 10 * 60_000;

pub(super) async fn show(State(hall): State<Hall>, headers: HeaderMap) -> Response {
    let session = logged_in!(hall, headers);
    let now = hall.clock.now();
    let page = async {
        let account = session.account;
        let health = hall.store.read(move |conn| store::health(conn, account, now)).await?;
        let body = body(&health, &hall.keeping(), now);
        Ok(framed(&Frame::of("Health", "/health", &session), &body))
    };
    shown(page.await)
}

fn body(health: &Health, keeping: &Keeping, now: i64) -> Markup {
    let per_second = |n: i64| n as f64 * 1000.0 / health.recent_ms as f64;
    let full = health.size as f64 / keeping.max_size.max(1) as f64;
    html! {
        div.head { h1 { "Health of this hub" } a.button href="/audit" { "Audit log" } }
        div.cards {
            section.card aria-labelledby="in" {
                h2 #in { "Coming in" }
                p.big { (brief(per_second(health.recent.1))) " " span.faint { "metrics/s" } }
                p.faint { (brief(per_second(health.recent.0))) " reports/s over the last " (seconds(health.recent_ms as f64 / 1000.0)) }
            }
            section.card aria-labelledby="database" {
                h2 #database { "Database" }
                p.big { (bytes(health.size)) " " span.faint { "of " (bytes(keeping.max_size)) } }
                (meter(full, "of what it may grow to"))
                p.faint {
                    "Above that the oldest points go"
                    @if let Some(age) = keeping.retention { ", and any after " (seconds(age.as_secs_f64())) } ". "
                    @if health.free > 1 << 20 { (bytes(health.free)) " of it is free for new ones." }
                }
            }
            section.card aria-labelledby="disk" {
                h2 #disk { "Disk" }
                @match keeping.disk {
                    Some((free, total)) => {
                        p.big { (bytes(free)) " " span.faint { "free of " (bytes(total)) } }
                        (meter(1.0 - free as f64 / total.max(1) as f64, "of the disk is used"))
                        @if free < keeping.min_free {
                            p.alarm { "Below " (bytes(keeping.min_free)) " free nothing is taken: agents keep it for now." }
                        } @else {
                            p.faint { "Below " (bytes(keeping.min_free)) " free nothing is taken." }
                        }
                    }
                    None => p.faint { "cannot be looked at" },
                }
            }
            section.card aria-labelledby="held" {
                h2 #held { "Held" }
                p.big { (number(health.points.points as f64, None)) " " span.faint { "points" } }
                p.faint {
                    "of " (counted(health.series as usize, "series", "series")) ", "
                    @match health.points.oldest_ms { Some(ms) => { "the oldest of " (when(ms)) }, None => "all of them recent" }
                }
            }
        }
        dl.tally {
            div { dt { "Runs" } dd { (grouped(health.runs as u64)) } }
            div { dt { "Refused records" } dd { (grouped(health.rejections as u64)) } }
            div { dt { "Points to be compacted" } dd { (grouped(health.points.waiting)) } }
            div { dt { "Segments" } dd { (grouped(health.points.segments)) } }
            @if health.points.points > 0 {
                div { dt { "Bytes per point" } dd { (brief(health.size as f64 / health.points.points as f64)) } }
            }
            div { dt { "Up since" } dd { (when(keeping.since_ms)) } }
        }
        section #agents-s aria-labelledby="agents" {
            h2 #agents { "Agents " span.faint { (health.agents.len()) } }
            @if health.agents.is_empty() { p.empty { "No agent has sent anything yet." } }
            @else {
                div.scroll tabindex="0" role="region" aria-labelledby="agents" {
                    table {
                        thead { tr {
                            th scope="col" { "Host" } th scope="col" { "Version" } th.num scope="col" { "Last heard" }
                            th.num scope="col" { "Its clock" } th scope="col" { "Streams" } th scope="col" { "Agent" }
                        } }
                        tbody { @for agent in &health.agents { (line(agent, now)) } }
                    }
                }
            }
        }
    }
}

fn line(agent: &AgentRow, now: i64) -> Markup {
    let off = agent.skew_ms.saturating_abs() > SKEW_MS;
    let quiet = now.saturating_sub(agent.received_ms) > QUIET_MS;
    html! {
        tr id={ "g" (agent.agent) } {
            th scope="row" { a href=(format!("/{}", query(&[("host", &agent.host)]))) { (agent.host) } }
            td {
                (agent.version)
                @if agent.version != env!("CARGO_PKG_VERSION") { " " span.faint { "(hub " (env!("CARGO_PKG_VERSION")) ")" } }
            }
            td.num { @if quiet { b.bad { (time(agent.received_ms, now)) } } @else { (time(agent.received_ms, now)) } }
            td.num {
                @if off {
                    b.bad { (seconds(agent.skew_ms.saturating_abs() as f64 / 1000.0)) @if agent.skew_ms > 0 { " ahead" } @else { " behind" } }
                } @else { span.faint { "right" } }
            }
            td {
                @for stream in &agent.streams {
                    span.stream { (stream.output) " " span.faint title="the last report's number" { "#" (grouped(stream.through.max(0) as u64)) } " " span.faint { (ago(stream.received_ms, now)) } }
                }
                @if agent.streams.is_empty() { span.faint { (counted(0, "stream", "streams")) } }
            }
            td { code.faint title=(agent.agent) { (agent.agent.chars().take(8).collect::<String>()) } }
        }
    }
}

fn meter(share: f64, what: &str) -> Markup {
    let percent = (share.clamp(0.0, 1.0) * 100.0).round();
    let class = if share > 0.95 { "meter full" } else { "meter" };
    html! {
        svg class=(class) width="100%" height="8" role="img" aria-label={ (percent) " % " (what) } {
            rect.ground width="100%" height="8" rx="4" {}
            rect.fill width={ (percent.max(0.5)) "%" } height="8" rx="4" {}
        }
    }
}
