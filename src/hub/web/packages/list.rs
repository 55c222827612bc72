//! All packages that one may see, what was decided on one's own, and the registry's key.

use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use maud::{Markup, html};

use crate::hub::hall::Hall;
use crate::hub::packages_api::{change, read};
use crate::hub::parameters::pairs;
use crate::hub::registry::{self, Decided, PackageRow, Registry, State as Stage};
use crate::hub::session::Session;
use crate::hub::web::format::{counted, query, sentence, time};
use crate::hub::web::layout::{self, Frame};
use crate::hub::web::page::{Page, Sent, html_page, logged_in, see, shown, token};

use super::report::{visible, visible_lines};
use super::{badge, caller, registry_url, word};

/// Packages on one page.
const PAGE: usize = 100;
/// Decisions that are told, and for how long.
const TOLD: usize = 5;
const TOLD_MS: i64 = 30 * 24 * 3_600_000;

/// What the page shows.
struct Found {
    packages: Vec<PackageRow>,
    /// Whether the reader decides on packages, and how many wait.
    reviewer: bool,
    waiting: i64,
    decided: Vec<Decided>,
    registry: Registry,
}

pub(super) async fn show(
    State(hall): State<Hall>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    let session = logged_in!(hall, headers);
    shown(page(&hall, &headers, &session, &query.unwrap_or_default(), None).await)
}

async fn page(
    hall: &Hall,
    headers: &HeaderMap,
    session: &Session,
    query: &str,
    wrong: Option<(StatusCode, &str)>,
) -> Page {
    let now = hall.clock.now();
    let (mut state, mut after) = (None, None);
    for (key, value) in pairs(query)? {
        match key.as_str() {
            "state" => state = Stage::of(&value),
            "after" => after = Some(value),
            _ => {}
        }
    }
    let from = after.clone();
    let found = read(hall, caller(session), move |conn, who| {
        Ok(Found {
            packages: registry::list(conn, who, state, from.as_deref(), PAGE + 1)?,
            reviewer: who.reviewer,
            waiting: registry::waiting(conn)?,
            decided: registry::decided(conn, who.account, now - TOLD_MS, TOLD)?,
            registry: registry::registry(conn)?,
        })
    })
    .await?;
    let body = html! {
        div.head {
            h1 { "Packages" }
            a.button.main href="/publish" { "New package" }
        }
        p.facts.faint { "Plugins that are handed on. What is approved can be installed by its name on every host." }
        @if let Some((_, wrong)) = wrong { p.alarm role="alert" { (sentence(wrong)) } }
        @if found.reviewer && found.waiting > 0 {
            p.hint {
                @if found.waiting == 1 { "One version waits" } @else { (found.waiting) " versions wait" }
                " for a review: "
                a href="/packages?state=submitted" { "submitted" } ", " a href="/packages?state=in-review" { "in review" } "."
            }
        }
        (inbox(&found.decided, now))
        nav.ranges aria-label="In which state" {
            a href="/packages" aria-current=[state.is_none().then_some("true")] { "all" }
            @for one in Stage::ALL {
                a href=(format!("/packages{}", query_of(Some(one), None))) aria-current=[(state == Some(one)).then_some("true")] { (word(one)) }
            }
        }
        (table(&found, state, after.is_some(), now))
        (key(&found, &registry_url(hall, headers), session))
    };
    let status = wrong.map_or(StatusCode::OK, |(status, _)| status);
    Ok(html_page(status, layout::page(&Frame::of("Packages", "/packages", session), &body)))
}

fn query_of(state: Option<Stage>, after: Option<&str>) -> String {
    let mut pairs = Vec::new();
    pairs.extend(state.map(|state| ("state", state.as_str())));
    pairs.extend(after.map(|after| ("after", after)));
    query(&pairs)
}

/// What became of one's own.
fn inbox(decided: &[Decided], now: i64) -> Markup {
    html! {
        @if !decided.is_empty() {
            section.card #inbox aria-labelledby="decided" {
                h2 #decided { "Decided on yours" }
                ul.news {
                    @for one in decided {
                        li {
                            a href=(format!("/packages/{}/{}", one.name, one.at.version)) { (one.name) " " (one.at.version) }
                            " " (badge(one.at.state)) " "
                            span.faint {
                                @if let Some(ms) = one.at.decided_ms { (time(ms, now)) }
                                @if let Some(who) = &one.reviewer { " by " (who) }
                            }
                            @if let Some(note) = &one.note { p.reason { (visible_lines(note)) } }
                        }
                    }
                }
            }
        }
    }
}

fn table(found: &Found, state: Option<Stage>, further: bool, now: i64) -> Markup {
    let packages = found.packages.get(..PAGE).unwrap_or(&found.packages);
    html! {
        @if packages.is_empty() {
            section.notice.small {
                @if let Some(state) = state { p { "No package has a version that is " (word(state)) ". " a href="/packages" { "Show all" } } }
                @else if further { p { "There are no more. " a href="/packages" { "Show the first" } } }
                @else {
                    p { "There is no package yet. One begins with a folder:" }
                    pre { code { "talaia new netstat\ntalaia plugin check ./netstat\ntalaia plugin publish ./netstat" } }
                }
            }
        } @else {
            section.card {
                table.list {
                    thead { tr {
                        th scope="col" { "Name" } th scope="col" { "Category" } th scope="col" { "Given out" } th scope="col" { "Newest" }
                        th scope="col" { "Whose" } th.num scope="col" { "Changed" }
                    } }
                    tbody { @for package in packages { (line(package, now)) } }
                }
            }
        }
        @if found.packages.len() > PAGE {
            @if let Some(last) = packages.last() {
                nav.pages aria-label="Pages of the list" { a rel="next" href=(format!("/packages{}", query_of(state, Some(last.name.as_str())))) { "After →" } }
            }
        }
    }
}

fn line(package: &PackageRow, now: i64) -> Markup {
    let approved = package.versions.iter().find(|version| version.state == Stage::Approved);
    let newest = package.versions.first();
    let changed = package
        .versions
        .iter()
        .map(|version| version.decided_ms.or(version.submitted_ms).unwrap_or(version.uploaded_ms));
    let at = |version| format!("/packages/{}/{version}", package.name);
    html! {
        tr id={ "p-" (package.name) } {
            th.wrap scope="row" {
                a href={ "/packages/" (package.name) } { (package.name) }
                @if !package.description.is_empty() { div.said { (visible(&package.description)) } }
            }
            td { (package.category) }
            td data-head="given out" { @match approved { Some(one) => a href=(at(&one.version)) { (one.version) }, None => span.faint { "none" } } }
            td data-head="newest" { @match newest { Some(one) => { a href=(at(&one.version)) { (one.version) } " " (badge(one.state)) }, None => span.faint { "not uploaded" } } }
            td { @if package.own { "yours" } @else { (package.owner) } }
            td.num { (time(changed.max().unwrap_or(package.created_ms), now)) }
        }
    }
}

/// The key that vouches for what is given out.
fn key(found: &Found, url: &str, session: &Session) -> Markup {
    let registry = &found.registry;
    html! {
        section.card #registry aria-labelledby="key" {
            h2 #key { "The registry's key" }
            @match &registry.fingerprint {
                None => p.faint { "There is none yet: the first approval makes it." },
                Some(fingerprint) => {
                    p { "Who installs from here trusts what this key has signed:" }
                    p.secret { code { (fingerprint) } }
                    dl.tally {
                        div { dt { "Index" } dd { code { (url) "/index.json" } } }
                        div { dt { "Serial" } dd { (registry.serial) } }
                        div { dt { "Changed" } dd { @if registry.rotations == 0 { "never" } @else { (counted(registry.rotations, "time", "times")) } } }
                        div { dt { "Kept" } dd { @if registry.offline { "offline" } @else { "by this hub" } } }
                    }
                    @if found.reviewer && !registry.offline {
                        details.menu.left #rotate {
                            summary { "Rotate the key" }
                            form method="post" action="/packages" {
                                (token(session)) input type="hidden" name="do" value="rotate";
                                p { "The old key introduces the new one: agents that know the old one follow by themselves. Whoever comes new is to be told the new fingerprint." }
                                button.danger type="submit" { "Rotate" }
                            }
                        }
                    }
                }
            }
        }
    }
}

pub(super) async fn act(State(hall): State<Hall>, headers: HeaderMap, body: Bytes) -> Response {
    let session = logged_in!(hall, headers);
    let sent = match Sent::read(&session, &body) {
        Ok(sent) => sent,
        Err(refused) => return refused,
    };
    let answer = async {
        if sent.text("do") != "rotate" {
            let why = (StatusCode::UNPROCESSABLE_ENTITY, "the form does not say what to do");
            return page(&hall, &headers, &session, "", Some(why)).await;
        }
        let (now, by, local) = (hall.clock.now(), caller(&session), hall.local.clone());
        let rotated = change(&hall, move |conn| local.rotate_registry(conn, &by, None, now));
        match rotated.await {
            Ok(()) => Ok(see("/packages#registry")),
            Err(problem) if problem.status().is_server_error() => Err(problem),
            Err(problem) => {
                let wrong = (problem.status(), problem.detail());
                page(&hall, &headers, &session, "", Some(wrong)).await
            }
        }
    };
    shown(answer.await)
}
