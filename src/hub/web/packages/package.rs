//! One package: its versions, its key, and how to install it.

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use maud::{Markup, html};

use crate::hub::hall::Hall;
use crate::hub::packages_api::read;
use crate::hub::registry::{self, PackageRow, Registry, State as Stage};
use crate::hub::session::Session;
use crate::hub::web::format::{time, when};
use crate::hub::web::layout::Frame;
use crate::hub::web::page::{framed, logged_in, shown, token};
use crate::model::PackageName;

use super::report::visible;
use super::{badge, caller, missing, path, registry_url, wrong};

pub(super) async fn show(
    State(hall): State<Hall>,
    headers: HeaderMap,
    Path(name): Path<String>,
) -> Response {
    let session = logged_in!(hall, headers);
    let Ok(name) = name.parse::<PackageName>() else { return missing(&session) };
    let found = read(&hall, caller(&session), move |conn, who| {
        Ok((registry::show(conn, who, &name)?, registry::registry(conn)?))
    });
    let (package, registry) = match found.await {
        Ok(found) => found,
        Err(problem) => return wrong(&session, &problem),
    };
    let now = hall.clock.now();
    let body = html! {
        p.crumbs { a href="/packages" { "Packages" } }
        div.head { h1 { (package.name) } @if package.own { a.button href="/publish#upload" { "Upload a version" } } }
        @if !package.description.is_empty() { p.lead { (visible(&package.description)) } }
        dl.tally {
            div { dt { "Category" } dd { (package.category) } }
            div { dt { "Whose" } dd { @if package.own { "yours" } @else { (package.owner) } } }
            div { dt { "Registered" } dd { (when(package.created_ms)) } }
        }
        (install(&package, &registry, &registry_url(&hall, &headers)))
        (versions(&package, now))
        @if package.own { (key(&package, &session)) }
    };
    let title = package.name.to_string();
    shown(Ok(framed(&Frame::of(&title, "/packages", &session), &body)))
}

fn install(package: &PackageRow, registry: &Registry, url: &str) -> Markup {
    let approved = package.versions.iter().any(|version| version.state == Stage::Approved);
    html! {
        @if let Some(fingerprint) = registry.fingerprint.as_ref().filter(|_| approved) {
            section.card aria-labelledby="install" {
                h2 #install { "Install it" }
                p { "On the machine of this hub:" }
                pre { code { "talaia plugin install " (package.name) " --trust " (fingerprint) } }
                p { "On another:" }
                pre { code { "talaia plugin install " (package.name) " --registry " (url) " --trust " (fingerprint) } }
                p.faint { "The fingerprint is needed the first time alone. Get it by another way than this page, if you can." }
            }
        }
    }
}

fn versions(package: &PackageRow, now: i64) -> Markup {
    let since = |ms: Option<i64>| html! { @match ms { Some(ms) => (time(ms, now)), None => span.faint { "–" } } };
    html! {
        section aria-labelledby="versions" {
            h2 #versions { "Versions" }
            @if package.versions.is_empty() { p.empty { "None was uploaded yet." } }
            @else {
                div.scroll tabindex="0" role="region" aria-label="Versions" {
                    table {
                        thead { tr { th scope="col" { "Version" } th scope="col" { "State" } th.num scope="col" { "Uploaded" } th.num scope="col" { "Submitted" } th.num scope="col" { "Decided" } } }
                        tbody {
                            @for one in &package.versions {
                                tr {
                                    th scope="row" { a href=(path(&package.name, &one.version)) { (one.version) } }
                                    td { (badge(one.state)) }
                                    td.num { (time(one.uploaded_ms, now)) }
                                    td.num { (since(one.submitted_ms)) }
                                    td.num { (since(one.decided_ms)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn key(package: &PackageRow, session: &Session) -> Markup {
    html! {
        section.card aria-labelledby="key" {
            h2 #key { "Its plugin key" }
            @if let Some(key) = &package.key {
                p.secret { code { (key) } }
                p.faint { "Results of its plugins come under it from all hosts: " code { "talaia plugin install " (package.name) " --key KEY" } ". It lets nobody in." }
            } @else {
                p { "It was revoked: reports with it are refused." }
                form method="post" action="/publish" {
                    (token(session))
                    input type="hidden" name="name" value=(package.name);
                    button type="submit" { "Make another" }
                }
            }
        }
    }
}
