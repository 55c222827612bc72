//! Small bodies of JSON, read whole.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// How long a body may take to come.
const SLOW: Duration = Duration::from_secs(20);

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
            serde_json::error::Category::Data => ("shape", "the body is not what is wanted here"),
            _ => ("json-syntax", "the body is not JSON"),
        };
        let status = match error.classify() {
            serde_json::error::Category::Data => StatusCode::UNPROCESSABLE_ENTITY,
            _ => StatusCode::BAD_REQUEST,
        };
        Problem::new(status, code, title, error.to_string())
    })
}

/// Reads a body of at most `most` bytes.
pub(super) async fn read(body: Body, most: usize) -> Result<axum::body::Bytes, Problem> {
    tokio::time::timeout(SLOW, to_bytes(body, most))
        .await
        .map_err(|_| {
            Problem::new(
                StatusCode::REQUEST_TIMEOUT,
                "slow",
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
        "cut-short",
        "the body ended early",
        "the connection ended before the body did",
    )
}
