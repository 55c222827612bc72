//! One version: what it says, what was found in it, what changed, and what may be done with it.

use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use maud::{Markup, html};

use crate::hub::hall::Hall;
use crate::hub::packages_api::{aside, read};
use crate::hub::parameters::pairs;
use crate::hub::problem::Problem;
use crate::hub::registry::{
    self, Archive, PackageRow, Registry, RegistryError, State as Stage, VersionRow,
};
use crate::hub::session::Session;
use crate::hub::store::StoreError;
use crate::hub::web::format::{bytes, sentence, when};
use crate::hub::web::layout::{self, Frame};
use crate::hub::web::page::{html_page, logged_in, token};
use crate::model::{PackageName, Version};
use crate::package::{FileDiff, Inspection, diff, file_name};

use super::report::{self, text_of, visible_lines};
use super::{badge, caller, missing, path, which, wrong};

/// Most bytes of a README on the page.
const README: usize = 64 << 10;

/// What the page shows.
struct Found {
    row: VersionRow,
    report: Inspection,
    package: PackageRow,
    reviewer: bool,
    registry: Registry,
    /// Nothing where the archive is gone.
    files: Option<Files>,
}

struct Files {
    readme: Option<String>,
    changes: Option<(Version, Vec<FileDiff>)>,
}

/// Something that is said about a form that was sent from the page.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) wrong: Option<(StatusCode, String)>,
    /// The reason that was typed.
    pub(super) reason: String,
}

pub(super) async fn show(
    State(hall): State<Hall>,
    headers: HeaderMap,
    Path(place): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Response {
    let session = logged_in!(hall, headers);
    let Some(which) = which(&place) else { return missing(&session) };
    let asked = pairs(query.as_deref().unwrap_or_default()).unwrap_or_default();
    let against = asked.iter().find(|(key, _)| key == "against");
    let against = against.and_then(|(_, version)| version.parse().ok());
    page(&hall, &session, which, against, &Said::default()).await
}

pub(super) async fn page(
    hall: &Hall,
    session: &Session,
    (name, version): (PackageName, Version),
    against: Option<Version>,
    said: &Said,
) -> Response {
    let found = match load(hall, session, &name, &version, against).await {
        Ok(found) => found,
        Err(problem) => return wrong(session, &problem),
    };
    let title = format!("{name} {version}");
    let status = said.wrong.as_ref().map_or(StatusCode::OK, |(status, _)| *status);
    let body = body(&found, session, said);
    html_page(status, layout::page(&Frame::of(&title, "/packages", session), &body))
}

async fn load(
    hall: &Hall,
    session: &Session,
    name: &PackageName,
    version: &Version,
    against: Option<Version>,
) -> Result<Found, Problem> {
    let (name, version) = (name.clone(), version.clone());
    let (row, package, reviewer, registry, archives) =
        read(hall, caller(session), move |conn, who| {
            let row = registry::version(conn, who, &name, &version)?;
            let archives = match registry::archives(conn, who, (&name, &version), against.as_ref())
            {
                Err(RegistryError::Gone { version: gone, .. }) if gone == version => None,
                archives => Some(archives?),
            };
            let package = registry::show(conn, who, &name)?;
            Ok((row, package, who.reviewer, registry::registry(conn)?, archives))
        })
        .await?;
    let files = match archives {
        Some((new, old)) => Some(aside(hall, move || files(&new, old)).await??),
        None => None,
    };
    let report = serde_json::from_str(row.report.get()).map_err(|_| StoreError::Defect)?;
    Ok(Found { row, report, package, reviewer, registry, files })
}

fn files(new: &Archive, old: Option<(Version, Archive)>) -> Result<Files, RegistryError> {
    let new = new.open()?;
    let changes = match old {
        Some((version, old)) => Some((version, diff(Some(&old.open()?), &new))),
        None => None,
    };
    let readme = new.get("README.md").and_then(|file| text_of(&file.bytes));
    let readme = readme.map(|text| visible_lines(&text[..text.floor_char_boundary(README)]));
    Ok(Files { readme, changes })
}

fn body(found: &Found, session: &Session, said: &Said) -> Markup {
    let (row, report) = (&found.row, &found.report);
    let path = path(&row.name, &row.at.version);
    let file = file_name(&row.name, &row.at.version);
    html! {
        p.crumbs { a href="/packages" { "Packages" } " / " a href={ "/packages/" (row.name) } { (row.name) } }
        div.head {
            h1 { (row.name) " " (row.at.version) " " (badge(row.at.state)) }
            @if found.files.is_some() { a.button href=(format!("/api/v1/packages/{}/versions/{}/archive", row.name, row.at.version)) download=(file) { "Download" } }
        }
        @if let Some(summary) = &report.summary { p.lead { (report::visible(&summary.description)) } }
        @if let Some((_, wrong)) = &said.wrong { p.alarm role="alert" { (sentence(wrong)) } }
        @if let Some(note) = &row.note { p.hint.reason { b { "Rejected: " } (visible_lines(note)) } }
        (next(found, session, &path, said))
        dl.tally {
            div { dt { "Uploaded" } dd { (when(row.at.uploaded_ms)) } }
            div { dt { "By" } dd { (found.package.owner) @if !row.author.is_empty() { ", " (row.author) } } }
            @if let Some(ms) = row.at.submitted_ms { div { dt { "Submitted" } dd { (when(ms)) } } }
            @if let Some(who) = &row.reviewer { div { dt { "Reviewer" } dd { (who) } } }
            @if let Some(ms) = row.at.decided_ms { div { dt { "Decided" } dd { (when(ms)) } } }
            div { dt { "Archive" } dd { (bytes(row.size.unsigned_abs())) } }
            div { dt { "SHA-256" } dd { code { (row.sha256) } } }
        }
        @if found.files.is_some() { (report::findings(&report.findings, &report.files, &path)) }
        @else { p.empty { "What was in it is gone: it was withdrawn, and had never been approved." } }
        @if let Some(summary) = &report.summary {
            (report::commands(&summary.commands))
            section.card aria-labelledby="about" { h2 #about { "About" } (report::about(summary)) }
        }
        @if let Some(trial) = &row.trial { (report::trial(trial.get(), &report.files, &path)) }
        @if let Some(files) = &found.files {
            (report::files(&report.files, &path))
            (changes(found, files, &path))
            @if let Some(readme) = &files.readme {
                section aria-labelledby="readme" { h2 #readme { "README" } pre { (readme) } }
            }
        }
    }
}

/// The differences, and from which version.
fn changes(found: &Found, files: &Files, path: &str) -> Markup {
    let own = &found.row.at.version;
    let others = found.package.versions.iter().filter(|one| one.state != Stage::Withdrawn);
    let others: Vec<&Version> = others.map(|one| &one.version).filter(|one| *one != own).collect();
    let against = files.changes.as_ref().map(|(version, _)| version);
    html! {
        section #changes-s aria-labelledby="changes" {
            div.bar {
                h2 #changes { "What changed" @if let Some(version) = against { " since " (version) } }
                @if !others.is_empty() {
                    form.search method="get" action={ (path) "#changes" } {
                        label.hidden for="against" { "Since version" }
                        select #against name="against" { @for one in &others { option value=(one) selected[against == Some(*one)] { (one) } } }
                        button type="submit" { "Compare" }
                    }
                }
            }
            @match &files.changes {
                Some((version, changed)) => (report::changes(version, changed, path)),
                None => p.empty { "No version was approved before it: all of it is new." },
            }
        }
    }
}

/// What the reader may do with it.
fn next(found: &Found, session: &Session, path: &str, said: &Said) -> Markup {
    let (own, reviewer, state) = (found.package.own, found.reviewer, found.row.at.state);
    let waits = matches!(state, Stage::Submitted | Stage::InReview);
    let may_withdraw = (own || reviewer) && state != Stage::Withdrawn;
    html! {
        @if may_withdraw {
            section.card #next-s aria-labelledby="next" {
                h2 #next { "What now" }
                @if own { (authors(found, session, path)) }
                @if reviewer && waits { (reviewers(found, session, path, said)) }
                @if may_withdraw { (withdraw(found, session, path)) }
            }
        }
    }
}

/// A form of one button. It says which archive the page showed.
fn button(
    (found, session): (&Found, &Session),
    path: &str,
    (word, text): (&str, &str),
    main: bool,
) -> Markup {
    html! {
        form method="post" action=(path) {
            (token(session)) input type="hidden" name="sha256" value=(found.row.sha256);
            button.main[main] type="submit" name="do" value=(word) { (text) }
        }
    }
}

fn authors(found: &Found, session: &Session, path: &str) -> Markup {
    html! {
        @match found.row.at.state {
            Stage::Draft if found.report.has_errors() => p { "It has errors. Mend them, and upload it again under the same number: " a href="/publish#upload" { "upload" } "." },
            Stage::Draft => {
                p { "It is a draft that you alone see. Submitted it waits for a review, and is no longer changed." }
                (button((found, session), path, ("submit", "Submit for review"), true))
            },
            Stage::Submitted | Stage::InReview if found.reviewer => {},
            Stage::Submitted | Stage::InReview => p { "It waits for a reviewer. What is decided stands here and under Packages." },
            Stage::Rejected => p { "Mend it, and upload it again under the same number: " a href="/publish#upload" { "upload" } "." },
            Stage::Approved | Stage::Withdrawn => {},
        }
    }
}

fn reviewers(found: &Found, session: &Session, path: &str, said: &Said) -> Markup {
    let row = &found.row;
    html! {
        p.faint { "What is approved every agent can install, and run. Try it first: "
            code { "talaia plugin review " (row.name) " " (row.at.version) " --run" } }
        @if found.registry.offline {
            p { "The registry's key is kept offline. Who has it approves by:" }
            pre { code { "talaia plugin approve " (row.name) " " (row.at.version) " --sign-with FILE" } }
        }
        div.buttons {
            @if !found.registry.offline { (button((found, session), path, ("approve", "Approve and give out"), true)) }
            @if row.at.state == Stage::Submitted { (button((found, session), path, ("review", "Take it into review"), false)) }
        }
        form.fields method="post" action=(path) {
            (token(session)) input type="hidden" name="do" value="reject"; input type="hidden" name="sha256" value=(row.sha256);
            label { span { "Or reject it " span.faint { "with the reason, for its author" } } textarea name="reason" rows="3" maxlength="4096" required { (said.reason) } }
            button.danger type="submit" { "Reject" }
        }
    }
}

fn withdraw(found: &Found, session: &Session, path: &str) -> Markup {
    let row = &found.row;
    let approved = row.at.state == Stage::Approved;
    html! {
        @if approved && found.registry.offline {
            p { "To give it out no more, who has the registry's key types:" }
            pre { code { "talaia plugin withdraw " (row.name) " " (row.at.version) " --sign-with FILE" } }
        } @else {
            details #withdraw {
                summary { "Withdraw it" }
                form.fields method="post" action=(path) {
                    (token(session)) input type="hidden" name="do" value="withdraw";
                    p { @if approved { "It is then no longer given out; who has installed it keeps it." } @else { "It then comes to no decision, and what was in it is dropped." } " Its number is not used again." }
                    button.danger type="submit" { "Withdraw " (row.name) " " (row.at.version) }
                }
            }
        }
    }
}
