//! Two old services' interfaces, so that what was written for them works unchanged.
//!
//! Promises: a client of Monitis custom monitors ([`monitis`]) or a Sentinella agent ([`sentinella`])
//! needs no change but where it sends to; what it sends becomes monitors, results and rejections as
//! of any other sender; where the old services were silent, the answer says what is wrong.
//!
//! Both accept any `Host` and absolute-form targets (`POST http://monitis.com/api HTTP/1.1`), which
//! is how a proxy setting leads old clients here; so they stand outside of the guard that pages and
//! the API have. In return they never look at a cookie or a Bearer key, let no other site read an
//! answer, and take no change that is not signed or carries no key.
//!
//! Deliberately does not know: how results are stored (that is [`super::monitors`] and the native
//! upload), pages, and the parts of the old services that nothing here has: agents that are told
//! what to run, jobs, colours, accounts by password.

mod monitis;
mod sentinella;
mod strangers;

use std::sync::Arc;

use axum::{Extension, Router};

use super::hall::Hall;
use strangers::Strangers;

/// The paths of both. They need limits and headers, and no Host check.
pub(super) fn routes() -> Router<Hall> {
    Router::new()
        .merge(monitis::routes())
        .merge(sentinella::routes())
        .layer(Extension(Arc::new(Strangers::default())))
}
