//! `/api/v1/monitors` and below: monitors, their results, reports and additional results.
//!
//! Whoever may read sees all of it; results are posted with the scope `ingest`, and everything that
//! makes, changes or removes a monitor needs `admin`.

mod problem;
mod query;
mod results;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use rusqlite::Connection;
use serde::Serialize;

use super::body;
use super::hall::{self, Caller, Hall};
use super::keys::Scope;
use super::listing::{Listing, answer};
use super::monitors::{self, Edit, Field, Held, Monitor, MonitorError, NewMonitor, Role};
use super::problem::Problem;
use super::store::Writer;

/// Most bytes of a definition.
const DEFINITION: usize = 1 << 20;

pub(super) fn routes() -> Router<Hall> {
    Router::new()
        .route("/api/v1/monitors", get(list).post(create))
        .route("/api/v1/monitors/{id}", get(show).patch(edit).delete(remove))
        .route("/api/v1/monitors/{id}/suspend", post(suspend))
        .route("/api/v1/monitors/{id}/activate", post(activate))
        .route("/api/v1/monitors/{id}/results", get(results::results).post(results::post))
        .route("/api/v1/monitors/{id}/report", get(results::report))
        .route(
            "/api/v1/monitors/{id}/additional",
            get(results::additional).post(results::post_additional),
        )
}

/// A monitor with all that it declares.
#[derive(Serialize)]
struct Detail {
    #[serde(flatten)]
    monitor: Monitor,
    metrics: Vec<Field>,
    additional: Vec<Field>,
    parameters: Vec<Field>,
    /// Where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    held: Option<Held>,
}

fn detail(conn: &Connection, monitor: Monitor) -> rusqlite::Result<Detail> {
    let fields = |role| monitors::fields(conn, monitor.id, role);
    Ok(Detail {
        metrics: fields(Role::Result)?,
        additional: fields(Role::Additional)?,
        parameters: fields(Role::Parameter)?,
        held: None,
        monitor,
    })
}

/// Finds the monitor that a path names by its id or name, and does something about it on the
/// writing side.
async fn change<R: Send + 'static>(
    hall: &Hall,
    caller: Caller,
    asked: String,
    job: impl FnOnce(&mut Writer, &Caller, Monitor) -> Result<R, MonitorError> + Send + 'static,
) -> Result<R, Problem> {
    let done = hall
        .store
        .write(move |writer| {
            let found = monitors::find(writer.conn(), caller.account, &asked)?;
            job(writer, &caller, found)
        })
        .await?;
    Ok(done?)
}

async fn list(
    State(hall): State<Hall>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let caller = hall::caller(&hall, &headers, Scope::Read).await?;
    let (mut filter, limit) = query::filter(query.as_deref().unwrap_or_default())?;
    filter.limit = Some(limit + 1);
    let account = caller.account;
    let items = hall.store.read(move |conn| monitors::list(conn, account, &filter)).await?;
    Ok(answer(StatusCode::OK, &Listing::of(items, limit, |last| last.id)))
}

async fn create(
    State(hall): State<Hall>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    body: Body,
) -> Result<Response, Problem> {
    let caller = hall::caller(&hall, &headers, Scope::Admin).await?;
    let if_missing = query::flag(query.as_deref().unwrap_or_default(), "if_missing")?;
    let new: NewMonitor = body::json(&headers, body, DEFINITION).await?;
    let now = hall.clock.now();
    let made = hall
        .store
        .write(move |writer| -> Result<(StatusCode, Detail), MonitorError> {
            let conn = writer.conn();
            let (status, id) = match monitors::create(conn, &caller, &new, now) {
                Ok(id) => (StatusCode::CREATED, id),
                Err(MonitorError::Exists { id, .. }) if if_missing => (StatusCode::OK, id),
                Err(error) => return Err(error),
            };
            let monitor = monitors::must_find(conn, caller.account, id)?;
            Ok((status, detail(conn, monitor)?))
        })
        .await?;
    let (status, detail) = made?;
    let location = format!("/api/v1/monitors/{}", detail.monitor.id);
    Ok(([(header::LOCATION, location)], answer(status, &detail)).into_response())
}

async fn show(
    State(hall): State<Hall>,
    Path(asked): Path<String>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let caller = hall::caller(&hall, &headers, Scope::Read).await?;
    let counts = query::flag(query.as_deref().unwrap_or_default(), "counts")?;
    let shown = hall
        .store
        .read(move |conn| match monitors::find(conn, caller.account, &asked) {
            Ok(found) => Ok(Ok(detail(conn, found)?)),
            Err(error) => Ok(Err(error)),
        })
        .await?;
    let mut shown = shown?;
    if counts {
        shown.held = Some(monitors::count(&hall.store, shown.monitor.id).await?);
    }
    Ok(answer(StatusCode::OK, &shown))
}

async fn edit(
    State(hall): State<Hall>,
    Path(asked): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let caller = hall::caller(&hall, &headers, Scope::Admin).await?;
    let wanted: Edit = body::json(&headers, body, DEFINITION).await?;
    let now = hall.clock.now();
    let edited = change(&hall, caller, asked, move |writer, caller, found| {
        let conn = writer.conn();
        monitors::edit(conn, caller, found.id, &wanted, now)?;
        let after = monitors::must_find(conn, caller.account, found.id)?;
        Ok(detail(conn, after)?)
    })
    .await?;
    Ok(answer(StatusCode::OK, &edited))
}

/// What went with a monitor.
#[derive(Serialize)]
struct Gone {
    id: i64,
    name: String,
    removed: Held,
}

async fn remove(
    State(hall): State<Hall>,
    Path(asked): Path<String>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let caller = hall::caller(&hall, &headers, Scope::Admin).await?;
    let unused_since = query::moment(query.as_deref().unwrap_or_default(), "unused_since")?;
    let (account, now) = (caller.account, hall.clock.now());
    let found = hall.store.ask(move |conn| Ok(monitors::find(conn, account, &asked))).await??;
    let (id, name) = (found.id, found.name);
    let held = monitors::count(&hall.store, id).await?;
    let remove = move |writer: &mut Writer| match unused_since {
        Some(since) => writer.remove_unused(&caller, id, held, since, now),
        None => writer.remove_monitor(&caller, id, held, now),
    };
    let removed = hall.store.write(remove).await??;
    Ok(answer(StatusCode::OK, &Gone { id, name, removed }))
}

async fn suspend(
    hall: State<Hall>,
    asked: Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    set(hall, asked, headers, monitors::suspend).await
}

async fn activate(
    hall: State<Hall>,
    asked: Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    set(hall, asked, headers, monitors::activate).await
}

/// Asked twice it is the same as once.
async fn set(
    State(hall): State<Hall>,
    Path(asked): Path<String>,
    headers: HeaderMap,
    set: fn(&mut Writer, &Caller, i64, i64) -> Result<bool, MonitorError>,
) -> Result<Response, Problem> {
    let caller = hall::caller(&hall, &headers, Scope::Admin).await?;
    let now = hall.clock.now();
    let after = change(&hall, caller, asked, move |writer, caller, found| {
        set(writer, caller, found.id, now)?;
        let after = monitors::must_find(writer.conn(), caller.account, found.id)?;
        Ok(detail(writer.conn(), after)?)
    })
    .await?;
    Ok(answer(StatusCode::OK, &after))
}
