//! `/api/v1/packages` and `/api/v1/registry`: hand in, look at, decide.
//!
//! What is handed in is unpacked in memory and looked at; nothing of it is ever run, or written
//! anywhere but into the database.

mod decide;
mod files;
mod upload;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::{get, post, put};
use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use crate::model::{PackageName, PluginKey, ProblemCode, Version};

use super::accounts;
use super::body;
use super::caller::{Caller, Scope};
use super::hall::{self, Hall};
use super::listing::{Listing, answer};
use super::parameters::{count, pairs, unknown};
use super::problem::Problem;
use super::registry::{self, Listing as Who, PackageRow, RegistryError, State as Stage};

pub(super) use files::{aside, held, zip};
pub(super) use upload::{look, turn};

/// Most bytes of a small body.
const BODY: usize = 16 << 10;
/// Packages in one answer: usually, and at most.
const PAGE: usize = 100;
const MOST: usize = 1000;

pub(super) fn routes() -> Router<Hall> {
    Router::new()
        .route("/api/v1/packages", get(list).post(register))
        .route("/api/v1/packages/{name}", get(show))
        .route("/api/v1/packages/{name}/versions/{version}", get(version).put(upload::upload))
        .route("/api/v1/packages/{name}/versions/{version}/archive", get(files::archive))
        .route("/api/v1/packages/{name}/versions/{version}/diff", get(files::differences))
        .route("/api/v1/packages/{name}/versions/{version}/file", get(files::file))
        .route("/api/v1/packages/{name}/versions/{version}/submit", post(decide::submit))
        .route("/api/v1/packages/{name}/versions/{version}/withdraw", post(decide::withdraw))
        .route("/api/v1/packages/{name}/versions/{version}/review", post(decide::review))
        .route("/api/v1/packages/{name}/versions/{version}/reject", post(decide::reject))
        .route("/api/v1/packages/{name}/versions/{version}/approve", post(decide::approve))
        .route("/api/v1/packages/{name}/versions/{version}/approval", get(decide::approval))
        .route("/api/v1/packages/{name}/versions/{version}/withdrawal", get(decide::withdrawal))
        .route("/api/v1/packages/{name}/versions/{version}/trial", put(decide::trial))
        .route("/api/v1/registry", get(about))
        .route("/api/v1/registry/rotate", post(decide::rotate))
}

/// The package and version of an address.
pub(super) fn which((name, version): &(String, String)) -> Result<(PackageName, Version), Problem> {
    Ok((
        name.parse().map_err(|e: crate::model::InvalidPackageName| not_that(e.to_string()))?,
        version.parse().map_err(|e: crate::model::InvalidVersion| not_that(e.to_string()))?,
    ))
}

fn not_that(detail: String) -> Problem {
    Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        ProblemCode::Package,
        "no such package can be",
        detail,
    )
}

/// What `caller` may see: a reviewer is one of the hub's own account.
pub(super) fn sight(conn: &Connection, caller: &Caller) -> rusqlite::Result<Who> {
    let reviewer = caller.scopes.has(Scope::Review) && accounts::is_local(conn, caller.account)?;
    Ok(Who { account: caller.account, reviewer })
}

/// Reads as `caller`.
pub(super) async fn read<R: Send + 'static>(
    hall: &Hall,
    caller: Caller,
    job: impl FnOnce(&Connection, Who) -> Result<R, RegistryError> + Send + 'static,
) -> Result<R, Problem> {
    Ok(hall.store.read(move |conn| sight(conn, &caller).map(|who| job(conn, who))).await??)
}

/// Changes something as `caller`.
pub(super) async fn change<R: Send + 'static>(
    hall: &Hall,
    job: impl FnOnce(&mut Connection) -> Result<R, RegistryError> + Send + 'static,
) -> Result<R, Problem> {
    Ok(hall.store.change(move |conn| Ok(job(conn))).await??)
}

async fn list(
    State(hall): State<Hall>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let caller = hall::caller(&hall, &headers, Scope::Read).await?;
    let (mut state, mut after, mut limit) = (None, None, PAGE);
    for (name, value) in pairs(query.as_deref().unwrap_or_default())? {
        match name.as_str() {
            "state" => {
                let words = Stage::ALL.map(Stage::as_str).join(", ");
                let stage = Stage::of(&value);
                state = Some(
                    stage.ok_or_else(|| Problem::parameter("state", &format!("one of {words}")))?,
                );
            }
            "after" => after = Some(value),
            "limit" => limit = count(&value, MOST)?,
            _ => return Err(unknown(&name)),
        }
    }
    let items = read(&hall, caller, move |conn, who| {
        Ok(registry::list(conn, who, state, after.as_deref(), limit + 1)?)
    })
    .await?;
    let listing = Listing::of(items, limit, |package: &PackageRow| package.name.clone());
    Ok(answer(StatusCode::OK, &listing))
}

async fn show(
    State(hall): State<Hall>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let caller = hall::caller(&hall, &headers, Scope::Read).await?;
    let name: PackageName =
        name.parse().map_err(|e: crate::model::InvalidPackageName| not_that(e.to_string()))?;
    let package = read(&hall, caller, move |conn, who| registry::show(conn, who, &name)).await?;
    Ok(answer(StatusCode::OK, &package))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Register {
    name: PackageName,
    #[serde(default)]
    description: String,
    #[serde(default)]
    category: Option<String>,
}

#[derive(Serialize)]
struct Registered {
    name: PackageName,
    key: PluginKey,
}

async fn register(
    State(hall): State<Hall>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let caller = hall::caller(&hall, &headers, Scope::Publish).await?;
    let wanted: Register = body::json(&headers, body, BODY).await?;
    let (name, now) = (wanted.name.clone(), hall.clock.now());
    let category = wanted.category.unwrap_or_else(|| "other".to_owned());
    let (key, fresh) = change(&hall, move |conn| {
        registry::register(conn, &caller, &wanted.name, (&wanted.description, &category), now)
    })
    .await?;
    let status = if fresh { StatusCode::CREATED } else { StatusCode::OK };
    Ok(answer(status, &Registered { name, key }))
}

async fn version(
    State(hall): State<Hall>,
    Path(path): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let caller = hall::caller(&hall, &headers, Scope::Read).await?;
    let (name, wanted) = which(&path)?;
    let row =
        read(&hall, caller, move |conn, who| registry::version(conn, who, &name, &wanted)).await?;
    Ok(answer(StatusCode::OK, &row))
}

async fn about(State(hall): State<Hall>, headers: HeaderMap) -> Result<Response, Problem> {
    hall::caller(&hall, &headers, Scope::Read).await?;
    let about = hall.store.read(|conn| Ok(registry::registry(conn))).await??;
    Ok(answer(StatusCode::OK, &about))
}
