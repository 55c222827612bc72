//! Two old services' interfaces, so that what was written for them works unchanged.
//!
//! Promises: a client of Monitis custom monitors ([`monitis`]) or a Sentinella agent ([`sentinella`])
//! needs no change but where it sends to; what it sends becomes monitors, results and rejections as
//! of any other sender; where the old services were silent, the answer says what is wrong.
//!
//! Both accept any `Host` and absolute-form targets (`POST http://monitis.com/api HTTP/1.1`), which
//! is how a proxy setting leads old clients here; so they stand outside of the guard that pages and
//! the API have. In return they never look at a cookie or a Bearer key, and take no change that is not
//! signed or carries no key. A page whose name was made to mean this machine can read what the public
//! API key opens, if it knows that: `monitis_reads` shuts it.
//!
//! Deliberately does not know: how results are stored (that is [`super::monitors`] and the native
//! upload), pages, and the parts of the old services that nothing here has: agents that are told
//! what to run, jobs, colours, accounts by password.

mod monitis;
mod registry;
mod sentinella;
mod strangers;

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::{Extension, Router};
use hyper::body::Body as _;
use tokio::sync::SemaphorePermit;

use super::body;
use super::hall::Hall;
use super::problem::Problem;
use strangers::Strangers;

/// Most bytes of a body.
const BODY: usize = 4 << 20;
/// A body that says to be no longer than this waits for no turn: one result has a few hundred bytes.
const SMALL: usize = 64 << 10;
/// How long a larger one may wait for its turn.
const TURN: Duration = Duration::from_secs(10);

/// A body, and the turn that it holds while anything of it is kept.
struct Taken<'a> {
    bytes: Bytes,
    _turn: Option<SemaphorePermit<'a>>,
}

/// Reads a body of whoever sends it. Few large ones are held at a time, and a stranger who sends one
/// slowly holds up other large ones of these interfaces at most.
async fn take(hall: &Hall, sent: Body) -> Result<Taken<'_>, Problem> {
    if sent.size_hint().exact().is_some_and(|length| length <= SMALL as u64) {
        return Ok(Taken { bytes: body::read(sent, SMALL).await?, _turn: None });
    }
    let turn = tokio::time::timeout(TURN, hall.faces.acquire())
        .await
        .map_err(|_| Problem::busy())?
        .map_err(|_| Problem::busy())?;
    Ok(Taken { bytes: body::read(sent, BODY).await?, _turn: Some(turn) })
}

/// The paths of both, and of what is given to everybody. They need limits and headers, and no Host check.
pub(super) fn routes() -> Router<Hall> {
    Router::new()
        .merge(monitis::routes())
        .merge(sentinella::routes())
        .merge(registry::routes())
        .layer(Extension(Arc::new(Strangers::default())))
}
