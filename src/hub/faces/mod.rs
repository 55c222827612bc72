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

use axum::{Extension, Router};

use super::hall::Hall;
use strangers::Strangers;

/// Most bytes of a body.
const BODY: usize = 4 << 20;

/// The paths of both, and of what is given to everybody. They need limits and headers, and no Host check.
pub(super) fn routes() -> Router<Hall> {
    Router::new()
        .merge(monitis::routes())
        .merge(sentinella::routes())
        .merge(registry::routes())
        .layer(Extension(Arc::new(Strangers::default())))
}
