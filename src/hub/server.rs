//! The HTTP server: routes, who may call, and limits that hold for every request.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::problem::Problem;
use super::settings::{Clock, Settings};
use super::store::Store;
use super::{accounts, api, connections, ingest, session, web};

/// Bodies of uploads held at a time.
const UPLOADS: usize = 4;
/// How long answering may take, the request's body included. An upload's body has a shorter time.
const PAGE: Duration = Duration::from_secs(30);
const API: Duration = Duration::from_mins(2);

/// What every handler may use.
pub(super) struct Shared {
    pub(super) store: Store,
    pub(super) clock: Clock,
    pub(super) uploads: Semaphore,
    /// The cookie's name. It has the port in it: browsers share cookies between ports.
    pub(super) cookie: String,
    hosts: Hosts,
}

pub(super) type Hall = Arc<Shared>;

pub(super) async fn serve(
    listener: TcpListener,
    addr: SocketAddr,
    settings: Settings,
    store: Store,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let shared = Arc::new(Shared {
        store,
        clock: settings.clock,
        uploads: Semaphore::new(UPLOADS),
        cookie: format!("talaia_{}", addr.port()),
        hosts: Hosts { addr, names: settings.hosts },
    });
    connections::serve(listener, routes(shared), connections::Limits::default(), stop).await
}

fn routes(shared: Hall) -> Router {
    Router::new()
        .route("/api/{version}/ingest", post(ingest::ingest))
        .route("/api/v1/plugins", get(api::plugins))
        .route("/api/v1/series", get(api::series))
        .route("/api/v1/runs", get(api::runs))
        .route("/api/v1/points", get(api::points))
        .route("/", get(web::overview))
        .route("/plugin", get(web::plugin))
        .route("/rejections", get(web::rejections))
        .route("/login/{token}", get(web::login_page).post(web::login))
        .route("/logout", post(web::logout))
        .route("/style.css", get(web::style))
        .route("/app.js", get(web::script))
        .route("/icon.svg", get(web::icon))
        .fallback(nothing_here)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(shared.clone(), guard))
        // Outside the guard: a probe may call it by any name, and learns nothing.
        .route("/healthz", get(healthz))
        .with_state(shared)
}

async fn healthz(State(hall): State<Hall>) -> Response {
    let asked = tokio::time::timeout(
        Duration::from_secs(2),
        hall.store.read(|conn| conn.query_row("SELECT 1", (), |_| Ok(()))),
    );
    match asked.await {
        Ok(Ok(())) => plain(StatusCode::OK, "ok\n"),
        Ok(Err(_)) => plain(StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n"),
        Err(_) => plain(StatusCode::SERVICE_UNAVAILABLE, "the database is slow\n"),
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (status, headers, text).into_response()
}

async fn nothing_here(uri: Uri) -> Response {
    if uri.path().starts_with("/api/") {
        return Problem::not_found().into_response();
    }
    web::message(
        StatusCode::NOT_FOUND,
        "Nothing here",
        "There is no such page. The overview has links to all there are.",
    )
}

async fn wrong_method(uri: Uri) -> Response {
    let detail = "this path does not take this method";
    if uri.path().starts_with("/api/") {
        return Problem::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method",
            "not with this method",
            detail,
        )
        .into_response();
    }
    web::message(StatusCode::METHOD_NOT_ALLOWED, "Not like this", detail)
}

/// Checks by what name the hub is called and that forms come from its own pages, and sets the
/// headers that every answer has.
async fn guard(State(hall): State<Hall>, request: Request, next: Next) -> Response {
    let api = request.uri().path().starts_with("/api/");
    let admitted = admit(&hall, &request);
    let answer = async {
        let within = if api { API } else { PAGE };
        let answered = tokio::time::timeout(within, next.run(request)).await;
        answered.map_err(|_| {
            Problem::new(
                StatusCode::REQUEST_TIMEOUT,
                "slow",
                "took too long",
                "the request did not come, or could not be answered, in time",
            )
        })
    };
    let answer = match admitted {
        Ok(()) => answer.await,
        Err(problem) => Err(problem),
    };
    let answer = match answer {
        Ok(answer) => answer,
        Err(problem) if api => problem.into_response(),
        Err(problem) => web::message(problem.status(), "Not served", problem.detail()),
    };
    with_headers(answer)
}

fn admit(hall: &Shared, request: &Request) -> Result<(), Problem> {
    let headers = request.headers();
    let host = headers.get(header::HOST).and_then(|h| h.to_str().ok());
    let target = request.uri().authority().map(axum::http::uri::Authority::as_str);
    if host.is_none() && target.is_none() {
        return Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "host",
            "no Host",
            "the request names no host",
        ));
    }
    for name in [host, target].into_iter().flatten() {
        if !hall.hosts.knows(name) {
            return Err(Problem::new(
                StatusCode::MISDIRECTED_REQUEST,
                "host",
                "not called by this name",
                format!(
                    "this hub is not called `{}`; call it by its address, or add the name to `hosts` in its config",
                    name.chars().take(255).collect::<String>()
                ),
            ));
        }
    }
    // A browser says where a form comes from. A Bearer token is in no browser.
    if request.method() != Method::GET
        && request.method() != Method::HEAD
        && !headers.contains_key(header::AUTHORIZATION)
        && !own_page(headers, host)
    {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "cross-site",
            "sent from another site",
            "the hub takes forms from its own pages only",
        ));
    }
    Ok(())
}

fn own_page(headers: &HeaderMap, host: Option<&str>) -> bool {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    match text("sec-fetch-site") {
        // No page can set this header. The origin may be `null` all the same, as it is where a
        // page lets no referrer out.
        Some("same-origin") => return true,
        None | Some("none") => {}
        Some(_) => return false,
    }
    match text("origin") {
        None => true,
        Some(origin) => origin.split_once("://").map(|(_, rest)| rest) == host,
    }
}

fn with_headers(mut answer: Response) -> Response {
    const ALWAYS: [(header::HeaderName, &str); 5] = [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        // Not `no-referrer`: browsers would send our own forms with `Origin: null`.
        (header::REFERRER_POLICY, "same-origin"),
        (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    let headers = answer.headers_mut();
    for (name, value) in ALWAYS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    answer
}

/// The names that this hub answers to. Another site's name that resolves to this machine is not one
/// of them, so a page from there cannot read here.
struct Hosts {
    addr: SocketAddr,
    names: Vec<String>,
}

impl Hosts {
    /// Whether `host` (a `Host` header, with or without port) means this hub. The port may be any:
    /// tunnels change it.
    fn knows(&self, host: &str) -> bool {
        let name = match host.strip_prefix('[') {
            Some(v6) => match v6.split_once(']') {
                Some((inside, after)) if after.is_empty() || after.starts_with(':') => inside,
                _ => return false,
            },
            None => host.rsplit_once(':').map_or(host, |(name, _)| name),
        };
        if let Ok(ip) = name.parse::<IpAddr>() {
            // An address cannot be made to mean another machine; one that listens on all of its
            // addresses answers to all of them.
            return ip.is_loopback() || ip == self.addr.ip() || self.addr.ip().is_unspecified();
        }
        let name = name.strip_suffix('.').unwrap_or(name);
        name.eq_ignore_ascii_case("localhost")
            || self.names.iter().any(|known| known.eq_ignore_ascii_case(name))
    }
}

/// The account of a Bearer token.
pub(super) async fn key_account(hall: &Shared, headers: &HeaderMap) -> Result<i64, Problem> {
    let token = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim().to_owned())
        .ok_or_else(Problem::unauthorized)?;
    // On the writing side: uploads do not wait for somebody's long chart.
    let account = hall.store.change(move |conn| accounts::by_key(conn, &token)).await?;
    account.ok_or_else(Problem::unauthorized)
}

/// Who is logged in, by the cookie.
pub(super) async fn session_of(
    hall: &Shared,
    headers: &HeaderMap,
) -> Result<Option<session::Session>, Problem> {
    let Some(token) = session_cookie(hall, headers) else { return Ok(None) };
    let now = hall.clock.now();
    Ok(hall.store.read(move |conn| session::by_cookie(conn, &token, now)).await?)
}

/// The cookie's token.
pub(super) fn session_cookie(hall: &Shared, headers: &HeaderMap) -> Option<String> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == hall.cookie)
        .map(|(_, token)| token.to_owned())
}

/// The account that a reader of the API has: by key where one is sent, else by session.
pub(super) async fn reader_account(hall: &Shared, headers: &HeaderMap) -> Result<i64, Problem> {
    if headers.contains_key(header::AUTHORIZATION) {
        return key_account(hall, headers).await;
    }
    let session = session_of(hall, headers).await?;
    session.map(|session| session.account).ok_or_else(Problem::unauthorized)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_names_are_known() {
        let hosts = |listen: &str| Hosts {
            addr: listen.parse().unwrap(),
            names: vec!["hub.example.org".to_owned()],
        };
        let local = hosts("127.0.0.1:7180");
        for name in [
            "localhost",
            "LOCALHOST:9",
            "127.0.0.1:7180",
            "[::1]:7180",
            "[::1]",
            "hub.example.org:443",
            "hub.example.org.",
        ] {
            assert!(local.knows(name), "{name}");
        }
        for name in [
            "",
            ":7180",
            "evil.example",
            "localhost.evil.example",
            "192.0.2.1:7180",
            "[::1",
            "[::1]x",
            "127.0.0.1.nip.io",
        ] {
            assert!(!local.knows(name), "{name}");
        }
        assert!(hosts("192.0.2.1:7180").knows("192.0.2.1:7180"));
        assert!(hosts("0.0.0.0:7180").knows("192.0.2.9:7180"));
        assert!(!hosts("0.0.0.0:7180").knows("evil.example"));
    }
}
