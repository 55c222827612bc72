//! What is in a version: its archive, its files, and what changed.

use std::time::Duration;

use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;

use crate::hub::caller::Scope;
use crate::hub::hall::{self, Hall};
use crate::hub::listing::answer;
use crate::hub::parameters::{pairs, unknown};
use crate::hub::problem::Problem;
use crate::hub::registry::{self, Archive, RegistryError};
use crate::hub::store::StoreError;
use crate::model::Version;
use crate::package::{FileDiff, diff};

use super::{read, which};

/// Most bytes of a file that is shown as text.
const SHOWN: usize = 1 << 20;
/// How long one waits for others who have packages open.
const TURN: Duration = Duration::from_secs(10);

/// Does what opens packages, off the runtime's threads and the database's. Few do at a time, because an
/// open one is in memory as a whole; the turn ends with the job, whether or not somebody still waits.
pub(in crate::hub) async fn aside<R: Send + 'static>(
    hall: &Hall,
    job: impl FnOnce() -> R + Send + 'static,
) -> Result<R, Problem> {
    let turn = tokio::time::timeout(TURN, hall.unpacked.clone().acquire_owned()).await;
    let turn = turn.ok().and_then(Result::ok).ok_or_else(Problem::busy)?;
    let done = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        job()
    });
    Ok(done.await.map_err(|_| StoreError::Defect)?)
}

pub(super) async fn archive(
    State(hall): State<Hall>,
    Path(path): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let caller = hall::caller(&hall, &headers, Scope::Read).await?;
    let (name, wanted) = which(&path)?;
    let held = held(&headers);
    let archive =
        read(&hall, caller, move |conn, who| registry::archive(conn, who, (&name, &wanted), &held))
            .await?;
    Ok(zip(archive))
}

/// What the caller has already: `If-None-Match`.
pub(in crate::hub) fn held(headers: &HeaderMap) -> String {
    let held = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|tag| tag.to_str().ok());
    held.collect::<Vec<_>>().join(",")
}

/// An archive as an answer.
pub(in crate::hub) fn zip(archive: Archive) -> Response {
    let tag = [(header::ETAG, format!("\"{}\"", archive.sha256))];
    match archive.body {
        Some(body) => (tag, [(header::CONTENT_TYPE, "application/zip")], body).into_response(),
        None => (StatusCode::NOT_MODIFIED, tag).into_response(),
    }
}

pub(super) async fn differences(
    State(hall): State<Hall>,
    Path(path): Path<(String, String)>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    #[derive(Serialize)]
    struct Differences {
        against: Option<Version>,
        files: Vec<FileDiff>,
    }
    let caller = hall::caller(&hall, &headers, Scope::Read).await?;
    let (name, wanted) = which(&path)?;
    let mut against = None;
    for (name, value) in pairs(query.as_deref().unwrap_or_default())? {
        match name.as_str() {
            "against" => {
                let version = value.parse::<Version>();
                against = Some(version.map_err(|_| Problem::parameter("against", "a version"))?);
            }
            _ => return Err(unknown(&name)),
        }
    }
    let (new, old) = read(&hall, caller, move |conn, who| {
        registry::archives(conn, who, (&name, &wanted), against.as_ref())
    })
    .await?;
    let compared = aside(&hall, move || {
        let (against, old) = old.unzip();
        let old = old.map(|old| old.open()).transpose()?;
        Ok::<_, RegistryError>(Differences { against, files: diff(old.as_ref(), &new.open()?) })
    });
    Ok(answer(StatusCode::OK, &compared.await??))
}

pub(super) async fn file(
    State(hall): State<Hall>,
    Path(path): Path<(String, String)>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let caller = hall::caller(&hall, &headers, Scope::Read).await?;
    let (name, wanted) = which(&path)?;
    let mut file = None;
    for (name, value) in pairs(query.as_deref().unwrap_or_default())? {
        match name.as_str() {
            "path" => file = Some(value),
            _ => return Err(unknown(&name)),
        }
    }
    let file = file.ok_or_else(|| Problem::parameter("path", "given: a file of the package"))?;
    let archive =
        read(&hall, caller, move |conn, who| registry::archive(conn, who, (&name, &wanted), ""))
            .await?;
    let text = aside(&hall, move || {
        let contents = archive.open()?;
        Ok::<_, RegistryError>(contents.get(&file).map(|found| shown(&found.bytes)))
    });
    let text = text.await??.ok_or_else(Problem::not_found)?;
    // Never as what it may say that it is: it is somebody's upload.
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response())
}

/// The beginning of a file; that it goes on is said at the end.
fn shown(bytes: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(bytes).into_owned();
    if text.len() > SHOWN {
        text.truncate(text.floor_char_boundary(SHOWN));
        text.push_str(&format!(
            "\n… cut here: the file has {} bytes, and the archive has them all\n",
            bytes.len()
        ));
    }
    text
}
