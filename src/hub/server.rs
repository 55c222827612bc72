//! The HTTP server: routes, who may call, and limits that hold for every request.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, Sleep};

use super::problem::Problem;
use super::settings::{Clock, Settings};
use super::store::Store;
use super::{accounts, api, ingest, session, web};

/// Connections at a time; further ones wait to be accepted.
const CONNECTIONS: usize = 256;
/// A connection on which nothing moves for this long is closed.
const IDLE: Duration = Duration::from_mins(2);
/// Bodies of uploads held at a time.
const UPLOADS: usize = 4;
/// How long requests may take to finish after the stop.
const GRACE: Duration = Duration::from_secs(5);

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
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let shared = Arc::new(Shared {
        store,
        clock: settings.clock,
        uploads: Semaphore::new(UPLOADS),
        cookie: format!("talaia_{}", addr.port()),
        hosts: Hosts { addr, names: settings.hosts },
    });
    let listener = Guarded { listener, free: Arc::new(Semaphore::new(CONNECTIONS)) };
    let (stopping, stopped) = oneshot::channel::<()>();
    let server = axum::serve(listener, routes(shared)).with_graceful_shutdown(async move {
        stop.await;
        // The other end lives as long as the server does.
        let _told = stopping.send(());
    });
    let late = async {
        let _stopping = stopped.await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        done = server => done,
        () = late => Ok(()),
    }
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
    let answer = match admit(&hall, &request) {
        Ok(()) => next.run(request).await,
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

/// A listener that holds so many connections at a time, and drops those on which nothing moves.
struct Guarded {
    listener: TcpListener,
    free: Arc<Semaphore>,
}

impl axum::serve::Listener for Guarded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            let Ok(permit) = self.free.clone().acquire_owned().await else {
                // The semaphore is never closed.
                std::future::pending::<()>().await;
                continue;
            };
            match self.listener.accept().await {
                Ok((stream, addr)) => {
                    // Small answers go out at once; where that cannot be set they go out later.
                    let _set = stream.set_nodelay(true);
                    let idle = Box::pin(tokio::time::sleep(IDLE));
                    return (Connection { stream, idle, _permit: permit }, addr);
                }
                Err(error) => {
                    // Mostly out of descriptors: others must end first.
                    tracing::warn!(%error, "the hub cannot accept a connection");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

struct Connection {
    stream: TcpStream,
    idle: Pin<Box<Sleep>>,
    _permit: OwnedSemaphorePermit,
}

impl Connection {
    /// Starts the idle time anew after progress, or ends the connection when it is over.
    fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.idle.as_mut().reset(Instant::now() + IDLE);
            return polled;
        }
        match self.idle.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.watch(cx, polled)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch(cx, polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.watch(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
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
