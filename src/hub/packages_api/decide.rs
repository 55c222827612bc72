//! What becomes of a version: submitted, reviewed, approved, rejected, withdrawn.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use rusqlite::Connection;
use serde::Deserialize;

use crate::hub::body;
use crate::hub::caller::{Caller, Scope};
use crate::hub::hall::{self, Hall};
use crate::hub::listing::answer;
use crate::hub::problem::Problem;
use crate::hub::registry::{self, RegistryError, Rotating, Seen, Signed, ToSign};
use crate::model::{PackageName, Version};
use crate::package::Envelope;

use super::{BODY, change, read, which};

/// Most bytes of what a trial run came to, and of a signed index.
const TRIAL: usize = 256 << 10;
const INDEX: usize = 16 << 20;

/// Does `job` to a version, and shows what it is then.
async fn decided(
    hall: &Hall,
    caller: Caller,
    (name, version): (PackageName, Version),
    sha256: Option<String>,
    job: impl FnOnce(&mut Connection, &Caller, Seen<'_>) -> Result<(), RegistryError> + Send + 'static,
) -> Result<Response, Problem> {
    let (by, of) = (caller.clone(), (name.clone(), version.clone()));
    change(hall, move |conn| {
        job(conn, &by, Seen { name: &of.0, version: &of.1, sha256: sha256.as_deref() })
    })
    .await?;
    let row =
        read(hall, caller, move |conn, who| registry::version(conn, who, &name, &version)).await?;
    Ok(answer(StatusCode::OK, &row))
}

pub(super) async fn submit(
    State(hall): State<Hall>,
    Path(path): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let caller = hall::caller(&hall, &headers, Scope::Publish).await?;
    let (of, now) = (which(&path)?, hall.clock.now());
    decided(&hall, caller, of, None, move |conn, by, seen| {
        registry::submit(conn, by, seen.which(), now)
    })
    .await
}

/// A caller who reviews: one of the hub's own account.
async fn reviewer(hall: &Hall, headers: &HeaderMap) -> Result<Caller, Problem> {
    let caller = hall::caller(hall, headers, Scope::Review).await?;
    let asked = caller.clone();
    read(
        hall,
        asked,
        |_, who| if who.reviewer { Ok(()) } else { Err(RegistryError::NotAReviewer) },
    )
    .await?;
    Ok(caller)
}

pub(super) async fn review(
    State(hall): State<Hall>,
    Path(path): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let caller = reviewer(&hall, &headers).await?;
    let (of, now) = (which(&path)?, hall.clock.now());
    decided(&hall, caller, of, None, move |conn, by, seen| {
        registry::take(conn, by, seen.which(), now)
    })
    .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reject {
    reason: String,
    /// Of the archive that was seen.
    #[serde(default)]
    sha256: Option<String>,
}

pub(super) async fn reject(
    State(hall): State<Hall>,
    Path(path): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let caller = reviewer(&hall, &headers).await?;
    let of = which(&path)?;
    let Reject { reason, sha256 } = body::json(&headers, body, BODY).await?;
    let now = hall.clock.now();
    decided(&hall, caller, of, sha256, move |conn, by, seen| {
        registry::reject(conn, by, seen, &reason, now)
    })
    .await
}

/// What somebody signed with a key that is not on the hub.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Withdraw {
    statement: Option<Envelope>,
    index: Option<Envelope>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Approve {
    statement: Option<Envelope>,
    index: Option<Envelope>,
    /// Of the archive that was seen.
    sha256: Option<String>,
}

/// What was signed, where something was.
fn signed(
    statement: Option<Envelope>,
    index: Option<Envelope>,
) -> Result<Option<Signed<'static>>, Problem> {
    match (statement, index) {
        (None, None) => Ok(None),
        (statement, Some(index)) => Ok(Some(Signed::Offline { statement, index })),
        (Some(_), None) => Err(Problem::parameter("index", "signed as well")),
    }
}

pub(super) async fn approve(
    State(hall): State<Hall>,
    Path(path): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let caller = reviewer(&hall, &headers).await?;
    let of = which(&path)?;
    let given: Approve = body::json_or_nothing(&headers, body, INDEX).await?;
    let signed = signed(given.statement, given.index)?;
    let (now, local) = (hall.clock.now(), hall.local.clone());
    decided(&hall, caller, of, given.sha256, move |conn, by, seen| {
        local.signing(conn, signed, |conn, signed| registry::approve(conn, by, seen, signed, now))
    })
    .await
}

pub(super) async fn withdraw(
    State(hall): State<Hall>,
    Path(path): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let caller = hall::anyone(&hall, &headers).await?;
    // One's own takes the scope of whoever publishes.
    let reviewer = read(&hall, caller.clone(), |_, who| Ok(who.reviewer)).await?;
    if !reviewer {
        hall::need(&caller, Scope::Publish)?;
    }
    let of = which(&path)?;
    let given: Withdraw = body::json_or_nothing(&headers, body, INDEX).await?;
    let signed = signed(given.statement, given.index)?;
    let (now, local) = (hall.clock.now(), hall.local.clone());
    decided(&hall, caller, of, None, move |conn, by, seen| {
        local.withdraw(conn, (by, reviewer), seen.which(), signed, now)
    })
    .await
}

/// What `documents` makes for a reviewer to sign.
async fn to_sign(
    hall: &Hall,
    headers: &HeaderMap,
    path: &(String, String),
    documents: impl FnOnce(&Connection, (&PackageName, &Version), i64) -> Result<ToSign, RegistryError>
    + Send
    + 'static,
) -> Result<Response, Problem> {
    let caller = reviewer(hall, headers).await?;
    let (name, version) = which(path)?;
    let now = hall.clock.now();
    let made = read(hall, caller, move |conn, _| documents(conn, (&name, &version), now)).await?;
    Ok(answer(StatusCode::OK, &made))
}

pub(super) async fn approval(
    State(hall): State<Hall>,
    Path(path): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    to_sign(&hall, &headers, &path, registry::approval).await
}

pub(super) async fn withdrawal(
    State(hall): State<Hall>,
    Path(path): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    to_sign(&hall, &headers, &path, registry::withdrawal).await
}

pub(super) async fn trial(
    State(hall): State<Hall>,
    Path(path): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let caller = reviewer(&hall, &headers).await?;
    let of = which(&path)?;
    let result: serde_json::Map<String, serde_json::Value> =
        body::json(&headers, body, TRIAL).await?;
    let sha256 = match result.get("sha256") {
        None => None,
        Some(serde_json::Value::String(sha256)) => Some(sha256.clone()),
        Some(_) => return Err(Problem::parameter("sha256", "the archive's SHA-256, as text")),
    };
    let result = serde_json::Value::Object(result).to_string();
    let now = hall.clock.now();
    decided(&hall, caller, of, sha256, move |conn, by, seen| {
        registry::trial(conn, by, seen, &result, now)
    })
    .await
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Rotate {
    rotation: Option<Envelope>,
    index: Option<Envelope>,
}

pub(super) async fn rotate(
    State(hall): State<Hall>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let caller = hall::caller(&hall, &headers, Scope::Admin).await?;
    let given: Rotate = body::json_or_nothing(&headers, body, INDEX).await?;
    let signed = match (given.rotation, given.index) {
        (None, None) => None,
        (Some(rotation), Some(index)) => Some(Rotating::Offline { rotation, index }),
        (None, _) => return Err(Problem::parameter("rotation", "signed as well")),
        (_, None) => return Err(Problem::parameter("index", "signed as well")),
    };
    let (now, local) = (hall.clock.now(), hall.local.clone());
    change(&hall, move |conn| local.rotate_registry(conn, &caller, signed, now)).await?;
    let about = hall.store.read(|conn| Ok(registry::registry(conn))).await??;
    Ok(answer(StatusCode::OK, &about))
}
