//! Bodies that are read whole.

use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, StatusCode, header};
use hyper::body::Body as _;
use serde::de::DeserializeOwned;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::model::ProblemCode;

use super::problem::Problem;

/// How long a body may take to come.
const SLOW: Duration = Duration::from_secs(20);
/// A body that says to be no longer than this waits for no turn: one result has a few hundred bytes.
const SMALL: usize = 64 << 10;
/// How long a larger one may wait for its turn.
const TURN: Duration = Duration::from_secs(10);

/// A body, and the turn that it holds while anything of it is kept.
pub(super) struct Taken<'a> {
    pub(super) bytes: Bytes,
    _turn: Option<SemaphorePermit<'a>>,
}

/// Reads a body of at most `most` bytes. Of large ones no more are held at a time than there are
/// `turns`, and who sends one slowly holds up other large ones alone.
pub(super) async fn take(turns: &Semaphore, sent: Body, most: usize) -> Result<Taken<'_>, Problem> {
    let length = sent.size_hint().exact();
    if length.is_some_and(|length| length <= SMALL as u64) {
        return Ok(Taken { bytes: read(sent, SMALL).await?, _turn: None });
    }
    let turn = tokio::time::timeout(TURN, turns.acquire())
        .await
        .map_err(|_| Problem::busy())?
        .map_err(|_| Problem::busy())?;
    Ok(Taken { bytes: read(sent, most).await?, _turn: Some(turn) })
}

/// Reads a body of at most `most` bytes as `T`. The type must be said: a form of another site could
/// send any other.
pub(super) async fn json<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: Body,
    most: usize,
) -> Result<T, Problem> {
    check_type(headers)?;
    parse(&read(body, most).await?)
}

/// The same, of a body that may be left out. One of another type is refused, not ignored.
pub(super) async fn json_or_nothing<T: DeserializeOwned + Default>(
    headers: &HeaderMap,
    body: Body,
    most: usize,
) -> Result<T, Problem> {
    let body = read(body, most).await?;
    if body.is_empty() {
        return Ok(T::default());
    }
    check_type(headers)?;
    parse(&body)
}

/// Refuses a body that does not say that it is JSON.
pub(super) fn check_type(headers: &HeaderMap) -> Result<(), Problem> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        return Err(Problem::media_type("send `Content-Type: application/json`"));
    }
    Ok(())
}

/// Reads bytes of JSON as `T`.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(bytes).map_err(|error| {
        let (code, title) = match error.classify() {
            serde_json::error::Category::Data => {
                (ProblemCode::Shape, "the body is not what is wanted here")
            }
            _ => (ProblemCode::JsonSyntax, "the body is not JSON"),
        };
        let status = match error.classify() {
            serde_json::error::Category::Data => StatusCode::UNPROCESSABLE_ENTITY,
            _ => StatusCode::BAD_REQUEST,
        };
        Problem::new(status, code, title, error.to_string())
    })
}

/// Reads a body of at most `most` bytes.
pub(super) async fn read(body: Body, most: usize) -> Result<Bytes, Problem> {
    tokio::time::timeout(SLOW, to_bytes(body, most))
        .await
        .map_err(|_| {
            Problem::new(
                StatusCode::REQUEST_TIMEOUT,
                ProblemCode::Slow,
                "took too long",
                "the body did not come in time",
            )
        })?
        .map_err(|error| unread(&error, most))
}

/// Over the limit, or cut off; of the second nobody hears.
pub(super) fn unread(error: &axum::Error, most: usize) -> Problem {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if error.to_string().contains("length limit") {
            return Problem::too_large(format!("over {most} bytes"));
        }
        cause = error.source();
    }
    Problem::new(
        StatusCode::BAD_REQUEST,
        ProblemCode::CutShort,
        "the body ended early",
        "the connection ended before the body did",
    )
}
