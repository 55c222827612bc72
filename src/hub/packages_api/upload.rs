//! `PUT` of a version.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use tokio::sync::SemaphorePermit;

use crate::hub::body::unread;
use crate::hub::caller::Scope;
use crate::hub::hall::{self, Hall};
use crate::hub::listing::answer;
use crate::hub::problem::Problem;
use crate::hub::registry::{self, Upload};
use crate::model::{PackageName, ProblemCode, Version};
use crate::package::{Finding, bounds, inspect, sha256, unpack};

use super::{aside, change, read, which};

/// How long an archive may take to come.
const SLOW: Duration = Duration::from_secs(100);
/// How long one waits for others whose archives come in.
const TURN: Duration = Duration::from_secs(20);

pub(super) async fn upload(
    State(hall): State<Hall>,
    Path(path): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let caller = hall::caller(&hall, &headers, Scope::Publish).await?;
    let (name, version) = which(&path)?;
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    if kind != Some("application/zip") {
        return Err(Problem::media_type("send `Content-Type: application/zip`"));
    }
    let _turn = turn(&hall).await?;
    let archive = tokio::time::timeout(SLOW, to_bytes(body, bounds::ZIPPED))
        .await
        .map_err(|_| {
            Problem::new(
                StatusCode::REQUEST_TIMEOUT,
                ProblemCode::Slow,
                "took too long",
                "the archive did not come in time",
            )
        })?
        .map_err(|error| unread(&error, bounds::ZIPPED))?;
    let upload = look(&hall, Some((name.clone(), version.clone())), archive.into()).await?;
    let (now, seen) = (hall.clock.now(), caller.clone());
    change(&hall, move |conn| registry::upload(conn, &caller, &upload, now)).await?;
    let row =
        read(&hall, seen, move |conn, who| registry::version(conn, who, &name, &version)).await?;
    Ok(answer(StatusCode::CREATED, &row))
}

/// Waits until an archive may come in.
pub(in crate::hub) async fn turn(hall: &Hall) -> Result<SemaphorePermit<'_>, Problem> {
    let turn = tokio::time::timeout(TURN, hall.archives.acquire()).await;
    turn.ok().and_then(Result::ok).ok_or_else(Problem::busy)
}

/// Opens an archive and looks at it, off the runtime's threads. `sent_as` is what it is to be; without,
/// it is what its manifest says.
pub(in crate::hub) async fn look(
    hall: &Hall,
    sent_as: Option<(PackageName, Version)>,
    archive: Vec<u8>,
) -> Result<Upload, Problem> {
    let looked = aside(hall, move || {
        let (top, contents) = unpack(&archive).map_err(|findings| refused(&findings))?;
        let inspection = inspect(&contents, Some(&top));
        let said =
            inspection.summary.as_ref().map(|said| (said.name.clone(), said.version.clone()));
        let Some((name, version)) = sent_as.or(said) else {
            let first = inspection.findings.first().map(ToString::to_string).unwrap_or_default();
            return Err(not_it(format!("its manifest cannot be read: {first}")));
        };
        let other = match &inspection.summary {
            Some(summary) => summary.name != name || summary.version != version,
            // What it is cannot be read; the report says why.
            None => top != name,
        };
        if other {
            let said = inspection.summary.as_ref().map_or_else(
                || top.to_string(),
                |summary| format!("{} {}", summary.name, summary.version),
            );
            return Err(not_it(format!("the archive is {said}, and was sent as {name} {version}")));
        }
        let sha256 = sha256(&archive);
        Ok(Upload { name, version, archive, sha256, inspection })
    });
    looked.await?
}

/// An archive that cannot be opened.
fn refused(findings: &[Finding]) -> Problem {
    let first = findings.first().map(ToString::to_string).unwrap_or_default();
    let all = serde_json::to_value(findings).unwrap_or_default();
    not_it(format!("the archive is not taken: {first}")).with("findings", all)
}

fn not_it(detail: String) -> Problem {
    Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        ProblemCode::Archive,
        "not a package's archive",
        detail,
    )
}
