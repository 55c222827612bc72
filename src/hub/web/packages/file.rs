//! One file of a version, as text with numbered lines.

use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use maud::html;

use crate::hub::hall::Hall;
use crate::hub::packages_api::{aside, read};
use crate::hub::parameters::pairs;
use crate::hub::problem::Problem;
use crate::hub::registry;
use crate::hub::session::Session;
use crate::hub::web::format::bytes;
use crate::hub::web::layout::Frame;
use crate::hub::web::page::{framed, logged_in};
use crate::model::{PackageName, Version};
use crate::package::{FileMode, PackageFile, sha256};

use super::report::{text_of, visible};
use super::{caller, missing, path, which, wrong};

/// Lines and bytes that are shown; the archive has all.
const LINES: usize = 5000;
const SHOWN: usize = 512 << 10;

async fn load(
    hall: &Hall,
    session: &Session,
    (name, version): (PackageName, Version),
    file: String,
) -> Result<Option<PackageFile>, Problem> {
    let archive = read(hall, caller(session), move |conn, who| {
        registry::archive(conn, who, (&name, &version), "")
    })
    .await?;
    let found = aside(hall, move || archive.open().map(|contents| contents.get(&file).cloned()));
    Ok(found.await??)
}

pub(super) async fn show(
    State(hall): State<Hall>,
    headers: HeaderMap,
    Path(place): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Response {
    let session = logged_in!(hall, headers);
    let asked = pairs(query.as_deref().unwrap_or_default()).unwrap_or_default();
    let file = asked.into_iter().find(|(key, _)| key == "path").map(|(_, value)| value);
    let (Some((name, version)), Some(file)) = (which(&place), file) else {
        return missing(&session);
    };
    let found = match load(&hall, &session, (name.clone(), version.clone()), file.clone()).await {
        Ok(Some(found)) => found,
        Ok(None) => return missing(&session),
        Err(problem) => return wrong(&session, &problem),
    };
    let up = path(&name, &version);
    let text = text_of(&found.bytes);
    let shown = text.map(|text| &text[..text.floor_char_boundary(SHOWN)]);
    let cut = shown
        .is_some_and(|shown| shown.len() < found.bytes.len() || shown.lines().nth(LINES).is_some());
    let body = html! {
        p.crumbs { a href="/packages" { "Packages" } " / " a href={ "/packages/" (name) } { (name) } " / " a href=(up) { (version) } }
        h1 data-still="" { (visible(&file)) }
        dl.tally {
            div { dt { "Size" } dd { (bytes(found.bytes.len() as u64)) } }
            div { dt { "Executable" } dd { @if found.mode == FileMode::Executable { "yes" } @else { "no" } } }
            div { dt { "SHA-256" } dd { code { (sha256(&found.bytes)) } } }
        }
        @match shown {
            None => p.empty { "It is not text." },
            Some("") => p.empty { "It is empty." },
            Some(text) => pre.lines tabindex="0" role="region" aria-label="Text of the file" {
                @for (nth, line) in text.lines().take(LINES).enumerate() { span id={ "L" (nth + 1) } { (visible(line)) } }
            },
        }
        @if cut { p.faint { "This is its beginning; the archive has the rest." } }
    };
    framed(&Frame::of(&visible(&file), "/packages", &session), &body)
}
