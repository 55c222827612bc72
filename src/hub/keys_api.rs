//! `/api/v1/keys`, `/plugin-keys`, `/secret-key` and `/audit`: for those with the scope `admin`; and
//! `/api/v1/key`, for everybody's own.
//!
//! A key or secret is in the answer to the request that made it, and in no other.

use std::str::FromStr;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use crate::model::{PluginKey, PluginName, ProblemCode, Timestamp};

use super::audit::{self, AuditFilter};
use super::body;
use super::hall::{self, Caller, Hall};
use super::keys::{self, AfterKey, KeyError, KeyRow, LastAdmin, NewKey, Rotation, Scope, Scopes};
use super::listing::{Listing, answer};
use super::local::Followed;
use super::parameters::{count, not_a_next, pairs, unknown};
use super::plugin_keys::{self, PluginKeyRow};
use super::problem::Problem;
use super::store::StoreError;
use super::times::maybe_time;

/// Most bytes of a body.
const BODY: usize = 16 << 10;
/// Longest that a replaced key may go on working, in seconds.
const GRACE: f64 = 30.0 * 24.0 * 3600.0;
/// Keys, or entries of the audit log, in one answer: usually, and at most.
const ITEMS: usize = 100;
const MOST_ITEMS: usize = 1000;

pub(super) fn routes() -> Router<Hall> {
    Router::new()
        .route("/api/v1/key", get(own))
        .route("/api/v1/keys", get(list).post(create))
        .route("/api/v1/keys/{name}", delete(revoke))
        .route("/api/v1/keys/{name}/rotate", post(rotate))
        .route("/api/v1/secret-key/rotate", post(rotate_secret))
        .route("/api/v1/plugin-keys", get(list_plugins).post(register))
        .route("/api/v1/plugin-keys/{key}", delete(revoke_plugin))
        .route("/api/v1/audit", get(audit_log))
}

/// A key as listed.
#[derive(Serialize)]
struct Listed {
    #[serde(flatten)]
    row: KeyRow,
    /// Whether it is the one in `credentials.json`.
    local: bool,
}

/// A key at the only time it is shown.
#[derive(Serialize)]
struct Shown<'a> {
    name: &'a str,
    key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    scopes: Option<Scopes>,
    #[serde(serialize_with = "maybe_time")]
    expires: Option<i64>,
    /// Whether `credentials.json` has it now.
    local: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Create {
    name: String,
    scopes: Vec<String>,
    #[serde(default)]
    expires: Option<Timestamp>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Rotate {
    /// Seconds.
    grace: f64,
    expires: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Register {
    plugin: String,
    #[serde(default)]
    key: Option<String>,
}

/// Who is asking, and what they may do.
#[derive(Serialize)]
struct Own {
    actor: String,
    scopes: Scopes,
}

async fn own(State(hall): State<Hall>, headers: HeaderMap) -> Result<Response, Problem> {
    let Caller { actor, scopes, .. } = hall::anyone(&hall, &headers).await?;
    Ok(answer(StatusCode::OK, &Own { actor, scopes }))
}

async fn list(
    State(hall): State<Hall>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let caller = hall::caller(&hall, &headers, Scope::Admin).await?;
    let (after, limit) = page(query.as_deref().unwrap_or_default())?;
    let (now, local) = (hall.clock.now(), hall.local.clone());
    let items: Vec<Listed> = hall
        .store
        .read(move |conn| {
            let local = local.key_name(conn, caller.account)?;
            let rows = keys::list(conn, caller.account, after.as_ref(), limit + 1, now)?;
            let listed = rows.into_iter().map(|row| Listed {
                local: row.revoked_ms.is_none() && local.as_ref() == Some(&row.name),
                row,
            });
            Ok(listed.collect())
        })
        .await?;
    Ok(answer(StatusCode::OK, &Listing::of(items, limit, |last| last.row.place())))
}

/// From where on, and how many.
fn page<Id: FromStr>(query: &str) -> Result<(Option<AfterKey<Id>>, usize), Problem> {
    let (mut after, mut limit) = (None, ITEMS);
    for (name, value) in pairs(query)? {
        match name.as_str() {
            "limit" => limit = count(&value, MOST_ITEMS)?,
            "after" => after = Some(value.parse().map_err(|()| not_a_next())?),
            _ => return Err(unknown(&name)),
        }
    }
    Ok((after, limit))
}

async fn create(
    State(hall): State<Hall>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let caller = hall::caller(&hall, &headers, Scope::Admin).await?;
    let wanted: Create = body::json(&headers, body, BODY).await?;
    let scopes = wanted.scopes.iter().map(|scope| scope.parse());
    let scopes = scopes.collect::<Result<Scopes, _>>().map_err(KeyError::from)?;
    let expires_ms = wanted.expires.map(Timestamp::millis);
    let new = NewKey { name: wanted.name, scopes, expires_ms };
    let now = hall.clock.now();
    let asked = new.clone();
    let key = hall.store.change(move |conn| Ok(keys::create(conn, &caller, &asked, now))).await??;
    let shown = Shown {
        name: &new.name,
        key: key.expose(),
        scopes: Some(scopes),
        expires: expires_ms,
        local: false,
        warning: None,
    };
    Ok(answer(StatusCode::CREATED, &shown))
}

async fn rotate(
    State(hall): State<Hall>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let caller = hall::caller(&hall, &headers, Scope::Admin).await?;
    let wanted: Rotate = if headers.contains_key(header::CONTENT_TYPE) {
        body::json(&headers, body, BODY).await?
    } else {
        Rotate::default()
    };
    if !(0.0..=GRACE).contains(&wanted.grace) {
        return Err(Problem::parameter("grace", "seconds from 0 to 30 days"));
    }
    let (now, local) = (hall.clock.now(), hall.local.clone());
    let rotation = Rotation {
        name: name.clone(),
        grace_ms: (wanted.grace * 1000.0) as i64,
        expires_ms: wanted.expires.map(Timestamp::millis),
    };
    let (rotated, followed) =
        hall.store.change(move |conn| Ok(local.rotate(conn, &caller, &rotation, now))).await??;
    let shown = Shown {
        name: &name,
        key: rotated.key.expose(),
        scopes: None,
        expires: rotated.expires_ms,
        local: followed == Followed::Written,
        warning: warning(followed),
    };
    Ok(answer(StatusCode::OK, &shown))
}

async fn revoke(
    State(hall): State<Hall>,
    Path(name): Path<String>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let caller = hall::caller(&hall, &headers, Scope::Admin).await?;
    let mut last = LastAdmin::Keep;
    for (name, value) in pairs(query.as_deref().unwrap_or_default())? {
        match (name.as_str(), value.as_str()) {
            ("force", "true") => last = LastAdmin::Revoke,
            ("force", "false") => last = LastAdmin::Keep,
            ("force", _) => return Err(Problem::parameter("force", "`true` or `false`")),
            _ => return Err(unknown(&name)),
        }
    }
    let now = hall.clock.now();
    hall.store.change(move |conn| Ok(keys::revoke(conn, &caller, &name, last, now))).await??;
    Ok(StatusCode::NO_CONTENT.into_response())
}

#[derive(Serialize)]
struct ShownSecret<'a> {
    api_key: &'a str,
    secret_key: &'a str,
    local: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<String>,
}

async fn rotate_secret(State(hall): State<Hall>, headers: HeaderMap) -> Result<Response, Problem> {
    let caller = hall::caller(&hall, &headers, Scope::Admin).await?;
    let (now, local) = (hall.clock.now(), hall.local.clone());
    let rotated = hall
        .store
        .change(move |conn| {
            let api_key = super::accounts::api_key(conn, caller.account)?;
            Ok(local.rotate_secret(conn, &caller, now)?.map(|rotated| (api_key, rotated)))
        })
        .await?;
    let Some((api_key, (secret, followed))) = rotated else {
        return Err(StoreError::Defect.into());
    };
    let shown = ShownSecret {
        api_key: &api_key,
        secret_key: secret.expose(),
        local: followed == Followed::Written,
        warning: warning(followed),
    };
    Ok(answer(StatusCode::OK, &shown))
}

fn warning(followed: Followed) -> Option<String> {
    match followed {
        Followed::NotConcerned | Followed::Written => None,
        Followed::NotWritten(why) => Some(format!(
            "the hub's credentials.json still has the old one ({why}): write the new one there, or local commands are refused"
        )),
    }
}

async fn list_plugins(
    State(hall): State<Hall>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let caller = hall::caller(&hall, &headers, Scope::Admin).await?;
    let (after, limit) = page(query.as_deref().unwrap_or_default())?;
    let read =
        move |conn: &Connection| plugin_keys::list(conn, caller.account, after.as_ref(), limit + 1);
    let items = hall.store.read(read).await?;
    Ok(answer(StatusCode::OK, &Listing::of(items, limit, PluginKeyRow::place)))
}

#[derive(Serialize)]
struct Registered<'a> {
    plugin: &'a str,
    key: PluginKey,
}

async fn register(
    State(hall): State<Hall>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let caller = hall::caller(&hall, &headers, Scope::Admin).await?;
    let wanted: Register = body::json(&headers, body, BODY).await?;
    let plugin: PluginName = wanted.plugin.parse().map_err(|error| not_that(&error))?;
    let own = match &wanted.key {
        Some(text) => Some(text.parse::<PluginKey>().map_err(|error| not_that(&error))?),
        None => None,
    };
    let (now, name) = (hall.clock.now(), plugin.clone());
    let key = hall
        .store
        .change(move |conn| Ok(plugin_keys::register(conn, &caller, &plugin, own, now)))
        .await??;
    Ok(answer(StatusCode::CREATED, &Registered { plugin: name.as_str(), key }))
}

fn not_that(error: &dyn std::error::Error) -> Problem {
    let detail = error.to_string();
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, ProblemCode::Key, "no such key can be", detail)
}

async fn revoke_plugin(
    State(hall): State<Hall>,
    Path(key): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let caller = hall::caller(&hall, &headers, Scope::Admin).await?;
    let key: PluginKey = key.parse().map_err(|error| not_that(&error))?;
    let now = hall.clock.now();
    hall.store.change(move |conn| Ok(plugin_keys::revoke(conn, &caller, key, now))).await??;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn audit_log(
    State(hall): State<Hall>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let caller = hall::caller(&hall, &headers, Scope::Admin).await?;
    let mut filter = AuditFilter { limit: ITEMS, ..AuditFilter::default() };
    for (name, value) in pairs(query.as_deref().unwrap_or_default())? {
        match name.as_str() {
            "action" => filter.action = Some(value),
            "limit" => filter.limit = count(&value, MOST_ITEMS)?,
            "after" => filter.before = Some(value.parse().map_err(|_| not_a_next())?),
            _ => return Err(unknown(&name)),
        }
    }
    let limit = filter.limit;
    filter.limit += 1;
    let items = hall.store.read(move |conn| audit::list(conn, caller.account, &filter)).await?;
    Ok(answer(StatusCode::OK, &Listing::of(items, limit, |last| last.id)))
}
