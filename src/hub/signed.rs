//! Requests to `/api/v1` that are signed with an account's secret key instead of carrying a key.
//!
//! The signature is looked at before the body is read, and the body before anything is done: it must
//! be the one that was signed. What was signed holds for five minutes, and once: its nonce is written
//! down by the clock of that moment, and forgotten an hour after its time, so that a clock that is set
//! back by less opens no window again.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use hyper::body::Body as _;
use rusqlite::{Connection, params};

use crate::model::Signing;

use super::accounts;
use super::body;
use super::caller::Caller;
use super::hall::Shared;
use super::problem::Problem;

/// How far a signature's time may be from the hub's, in milliseconds, either way.
const WINDOW_MS: i64 = 5 * 60 * 1000;
/// How long a nonce is kept when its signature is good no more, in milliseconds.
const KEPT_MS: i64 = 3600 * 1000;
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
    let made = signing.time.saturating_mul(1000);
    if made.abs_diff(hall.clock.now()) > WINDOW_MS.unsigned_abs() {
        return Err(late());
    }
    let (local, api_key, nonce) =
        (hall.local.clone(), signing.api_key.clone(), signing.nonce.clone());
    let (found, used) = hall
        .store
        .ask(move |conn| {
            let Some(found) = accounts::by_api_key(conn, local.master(), &api_key)? else {
                return Ok(None);
            };
            let used = is_used(conn, found.id, &nonce)?;
            Ok(Some((found, used)))
        })
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
    // Before its body costs anything; that nobody else used it meanwhile is seen below.
    if used {
        return Err(again());
    }
    if sent.size_hint().lower() > BODY as u64 {
        return Err(Problem::too_large(format!("over {BODY} bytes")));
    }
    let taken = body::take(&hall.signed, sent, BODY).await?;
    if Signing::digest(&taken.bytes) != signing.body {
        return Err(Problem::unsigned("the body is not the one that was signed"));
    }
    let (account, nonce, clock) = (found.id, signing.nonce, hall.clock.clone());
    let remembered = hall
        .store
        .change(move |conn| {
            // Bodies and jobs may be long in coming: what counts is the time at which it is taken.
            let in_time = clock.now() <= made + WINDOW_MS;
            Ok(if in_time {
                Some(remember(conn, account, &nonce, made + WINDOW_MS)?)
            } else {
                None
            })
        })
        .await?;
    match remembered {
        Some(true) => {}
        Some(false) => return Err(again()),
        None => return Err(late()),
    }
    let caller = Caller::of_secret(account);
    // Its turn lasts until it is answered: whoever answers holds the body.
    let request = Request::from_parts(parts, Body::from(taken.bytes.clone()));
    Ok(caller.signed(next.run(request)).await)
}

fn late() -> Problem {
    Problem::unsigned(
        "its time is more than five minutes from the hub's; check both clocks, and sign each request anew",
    )
}

fn again() -> Problem {
    Problem::unsigned("the nonce was used already; sign each request anew")
}

/// Forgets the nonces whose time has been over for long.
pub(super) fn forget(conn: &Connection, now: i64) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM nonces WHERE expires_ms < ?1")?.execute([now - KEPT_MS])?;
    Ok(())
}

fn is_used(conn: &Connection, account: i64, nonce: &str) -> rusqlite::Result<bool> {
    conn.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM nonces WHERE account_id = ?1 AND nonce = ?2)",
    )?
    .query_row(params![account, nonce], |row| row.get(0))
}

/// Writes a nonce down; says whether it is a new one.
fn remember(
    conn: &Connection,
    account: i64,
    nonce: &str,
    expires_ms: i64,
) -> rusqlite::Result<bool> {
    let added = conn
        .prepare_cached(
            "INSERT OR IGNORE INTO nonces (account_id, nonce, expires_ms) VALUES (?1, ?2, ?3)",
        )?
        .execute(params![account, nonce, expires_ms])?;
    Ok(added == 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::store::{Access, open};

    #[test]
    fn a_clock_that_is_set_back_finds_the_nonce_again() {
        let folder = tempfile::tempdir().unwrap();
        let conn = open(&folder.path().join("hub.db"), Access::Write).unwrap();
        let nonce = "0123456789abcdef";
        assert!(remember(&conn, 1, nonce, 1000).unwrap());
        assert!(!remember(&conn, 1, nonce, 1000).unwrap());
        assert!(remember(&conn, 2, nonce, 1000).unwrap(), "another account's");
        forget(&conn, 1000 + KEPT_MS).unwrap();
        assert!(is_used(&conn, 1, nonce).unwrap());
        forget(&conn, 1001 + KEPT_MS).unwrap();
        assert!(!is_used(&conn, 1, nonce).unwrap(), "they do not pile up");
    }
}
