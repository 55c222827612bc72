//! Packages: which there are, what is in them, and what becomes of them.
//!
//! All that a package says is text here: files are shown as text, with what would hide or turn it
//! written out, and the only link out is to a home page.

mod act;
mod file;
mod list;
mod package;
mod publish;
mod report;
mod version;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use axum::routing::get;
use maud::{Markup, html};

use crate::hub::hall::{Caller, Hall};
use crate::hub::problem::Problem;
use crate::hub::registry::State;
use crate::hub::session::Session;
use crate::model::{PackageName, Version};
use crate::package::bounds;

use super::page::{failed, told};

pub(super) fn routes() -> Router<Hall> {
    Router::new()
        .route("/packages", get(list::show).post(list::act))
        .route("/packages/{name}", get(package::show))
        .route("/packages/{name}/{version}", get(version::show).post(act::act))
        .route("/packages/{name}/{version}/file", get(file::show))
        .route("/publish", get(publish::show).post(publish::register))
}

/// The form that takes a whole archive; names of packages are left out of its address, so that none is
/// in its way.
pub(super) fn uploads() -> Router<Hall> {
    Router::new()
        .route("/publish/archive", get(publish::show).post(publish::upload))
        .layer(DefaultBodyLimit::max(bounds::ZIPPED + (64 << 10)))
}

fn caller(session: &Session) -> Caller {
    Caller::of_session(session.account)
}

/// The package and version of an address, where there can be such.
fn which((name, version): &(String, String)) -> Option<(PackageName, Version)> {
    Some((name.parse().ok()?, version.parse().ok()?))
}

fn missing(session: &Session) -> Response {
    let text = "There is no such package here, or it is another account's and not approved.";
    told(session, StatusCode::NOT_FOUND, "No such package", text)
}

/// The page for what went wrong: that there is no such package is nothing of the hub's.
fn wrong(session: &Session, problem: &Problem) -> Response {
    if problem.status() == StatusCode::NOT_FOUND { missing(session) } else { failed(problem) }
}

fn path(name: &PackageName, version: &Version) -> String {
    format!("/packages/{name}/{version}")
}

fn word(state: State) -> &'static str {
    if state == State::InReview { "in review" } else { state.as_str() }
}

fn badge(state: State) -> Markup {
    let class = match state {
        State::Draft | State::Withdrawn => "badge suspended",
        State::Submitted | State::InReview => "badge warning",
        State::Approved => "badge ok",
        State::Rejected => "badge failing",
    };
    html! { span class=(class) { (word(state)) } }
}

/// This hub's registry, by the name that the reader calls the hub by.
fn registry_url(hall: &Hall, headers: &HeaderMap) -> String {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("HUB");
    format!("{}://{host}/plugins", if hall.secure { "https" } else { "http" })
}
