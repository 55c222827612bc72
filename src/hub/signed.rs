//! Requests to `/api/v1` that are signed with an account's secret key instead of carrying a key.
//!
//! The signature is looked at before the body is read, and the body before anything is done: it must
//! be the one that was signed. What was signed holds for five minutes, and once.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use rusqlite::{Connection, params};

use crate::model::Signing;

use super::accounts;
use super::body;
use super::caller::Caller;
use super::hall::Shared;
use super::problem::Problem;

/// How far a signature's time may be from the hub's, in milliseconds, either way.
const WINDOW_MS: i64 = 5 * 60 * 1000;
/// Most bytes of a signed body.
const BODY: usize = 16 << 20;

/// Whether a request says that it is signed.
pub(super) fn is_signed(headers: &HeaderMap) -> bool {
    authorization(headers).is_some_and(Signing::is)
}

fn authorization(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION)?.to_str().ok()
}

/// Answers a request that says that it is signed.
pub(super) async fn answer(
    hall: &Shared,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let (parts, sent) = request.into_parts();
    let read = authorization(&parts.headers).and_then(Signing::read);
    let (signing, signature) = read.ok_or_else(|| {
        Problem::unsigned("write `Authorization: HMAC-SHA256 key=…,time=…,nonce=…,body=…,signature=…` as docs/hub-api.md says")
    })?;
    let now = hall.clock.now();
    let made = signing.time.saturating_mul(1000);
    if made.abs_diff(now) > WINDOW_MS.unsigned_abs() {
        return Err(Problem::unsigned(
            "its time is more than five minutes from the hub's; check both clocks, and sign each request anew",
        ));
    }
    let (local, api_key) = (hall.local.clone(), signing.api_key.clone());
    let found = hall
        .store
        .read(move |conn| accounts::by_api_key(conn, local.master(), &api_key))
        .await?
        .ok_or_else(Problem::unknown_account)?;
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    if !signing.holds(&found.secret, parts.method.as_str(), target, &signature) {
        return Err(Problem::unsigned(
            "the signature is not that of this method, path with query, body, time and nonce by the account's secret key",
        ));
    }
    if found.disabled {
        return Err(Problem::disabled_account());
    }
    let bytes = body::read(sent, BODY).await?;
    if Signing::digest(&bytes) != signing.body {
        return Err(Problem::unsigned("the body is not the one that was signed"));
    }
    let (account, nonce) = (found.id, signing.nonce);
    let fresh = hall
        .store
        .change(move |conn| remember(conn, account, &nonce, made + WINDOW_MS, now))
        .await?;
    if !fresh {
        return Err(Problem::unsigned("the nonce was used already; sign each request anew"));
    }
    let caller = Caller::of_secret(account);
    let request = Request::from_parts(parts, Body::from(bytes));
    Ok(caller.signed(next.run(request)).await)
}

/// Keeps a nonce for as long as its signature would be good; says whether it is a new one.
fn remember(
    conn: &Connection,
    account: i64,
    nonce: &str,
    expires_ms: i64,
    now: i64,
) -> rusqlite::Result<bool> {
    conn.prepare_cached("DELETE FROM nonces WHERE expires_ms < ?1")?.execute([now])?;
    let added = conn
        .prepare_cached(
            "INSERT OR IGNORE INTO nonces (account_id, nonce, expires_ms) VALUES (?1, ?2, ?3)",
        )?
        .execute(params![account, nonce, expires_ms])?;
    Ok(added == 1)
}
