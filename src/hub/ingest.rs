//! `POST /api/v1/ingest`: the native upload.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};

use super::body;
use super::hall::{self, Hall};
use super::keys::Scope;
use super::problem::Problem;
use super::wire::{self, Packing};

/// Most bytes of a body, packed and unpacked.
const BODY: usize = 16 << 20;
/// How long a body may take to come, and an upload may wait for its turn.
const SLOW: Duration = Duration::from_mins(1);
const TURN: Duration = Duration::from_secs(10);

pub(super) async fn ingest(
    State(hall): State<Hall>,
    Path(version): Path<String>,
    headers: HeaderMap,
    sent: Body,
) -> Result<Response, Problem> {
    if version != "v1" {
        return Err(Problem::protocol(&version.chars().take(20).collect::<String>()));
    }
    // Who it is comes first: a stranger's body is not even read.
    let account = hall::key_caller(&hall, &headers, Scope::Ingest).await?.account;
    let packing = packing(&headers)?;
    let length = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: u64| length > BODY as u64) {
        return Err(Problem::too_large(format!("over {BODY} bytes; send fewer reports at a time")));
    }
    let _turn = tokio::time::timeout(TURN, hall.uploads.acquire())
        .await
        .map_err(|_| Problem::busy())?
        .map_err(|_| Problem::busy())?;
    let packed = tokio::time::timeout(SLOW, to_bytes(sent, BODY))
        .await
        .map_err(|_| Problem::busy())?
        .map_err(|error| body::unread(&error, BODY))?;
    let now = hall.clock.now();
    let reply =
        hall.store.append(account, move || wire::unpack(&packed, packing, BODY), now).await?;
    let json = [(header::CONTENT_TYPE, "application/json")];
    Ok((json, super::store::json(&reply)).into_response())
}

fn packing(headers: &HeaderMap) -> Result<Packing, Problem> {
    let text =
        |name| headers.get(name).map(|v| v.to_str().unwrap_or("?").trim().to_ascii_lowercase());
    let kind = text(header::CONTENT_TYPE).unwrap_or_default();
    if kind.split(';').next().map(str::trim) != Some("application/json") {
        return Err(Problem::media_type("send `Content-Type: application/json`"));
    }
    match text(header::CONTENT_ENCODING).as_deref() {
        None | Some("" | "identity") => Ok(Packing::Plain),
        Some("zstd") => Ok(Packing::Zstd),
        Some("gzip" | "x-gzip") => Ok(Packing::Gzip),
        Some(_) => Err(Problem::media_type("send `Content-Encoding: zstd`, `gzip`, or none")),
    }
}
