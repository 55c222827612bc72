//! Pages for people: rendered here, useful without scripts, nothing fetched from elsewhere.
//!
//! All that plugins, agents and addresses say is data: `maud` escapes it, and it never becomes a
//! tag, a style or a script. Forms go to the page that they are on, with the token of their session;
//! none goes to the API.

mod audit;
mod chart;
mod definition;
mod drawing;
mod explain;
mod format;
mod health;
mod keys;
mod layout;
mod login;
mod monitor;
mod monitors;
mod overview;
mod packages;
mod page;
mod plugin;
mod range;
mod rejections;
mod standing;
mod unused;
mod zone;
mod zones;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::header;
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use super::hall::Hall;

pub(super) use page::message;

/// Most bytes of a form, which is read before it is known who sends it; of one that declares or posts
/// hundreds of metrics.
const FORM: usize = 64 << 10;
const LONG_FORM: usize = 512 << 10;

pub(super) fn routes() -> Router<Hall> {
    Router::new()
        .route("/", get(overview::show))
        .route("/plugin", get(plugin::show))
        .route("/rejections", get(rejections::show))
        .route("/explain/{code}", get(explain::show))
        .route("/health", get(health::show))
        .route("/audit", get(audit::show))
        .merge(keys::routes())
        .merge(packages::routes())
        .route("/login/{token}", get(login::show).post(login::begin))
        .route("/logout", post(login::end))
        .route("/zone", get(zones::show).post(zones::choose))
        .route("/style.css", get(style))
        .route("/app.js", get(script))
        .route("/icon.svg", get(icon))
        .layer(DefaultBodyLimit::max(FORM))
        .merge(long_forms())
        .merge(packages::uploads())
        .layer(middleware::from_fn(zone::layer))
}

fn long_forms() -> Router<Hall> {
    let routes = monitors::routes().merge(monitor::routes()).merge(unused::routes());
    routes.layer(DefaultBodyLimit::max(LONG_FORM))
}

fn file(kind: &'static str, text: &'static str) -> Response {
    let headers = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")];
    (headers, text).into_response()
}

async fn style() -> Response {
    file("text/css; charset=utf-8", include_str!("style.css"))
}

async fn script() -> Response {
    file("text/javascript; charset=utf-8", include_str!("app.js"))
}

async fn icon() -> Response {
    file("image/svg+xml", include_str!("icon.svg"))
}
