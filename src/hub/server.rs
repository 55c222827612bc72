//! The HTTP server: routes, who may call, and limits that hold for every request.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::net::TcpListener;

use crate::model::ProblemCode;

use super::hall::{self, Hall, Shared};
use super::problem::Problem;
use super::tls::Tls;
use super::{api, connections, faces, ingest, keys_api, monitors_api, packages_api, signed, web};

/// How long answering may take, the request's body included. An upload's body has a shorter time.
const PAGE: Duration = Duration::from_secs(30);
const API: Duration = Duration::from_mins(2);

pub(super) async fn serve(
    listener: TcpListener,
    tls: Option<Tls>,
    hall: Shared,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let router = routes(Arc::new(hall));
    connections::serve(listener, tls, router, connections::Limits::default(), stop).await
}

fn routes(hall: Hall) -> Router {
    Router::new()
        .route("/api/{version}/ingest", post(ingest::ingest))
        .merge(api::routes())
        .merge(keys_api::routes())
        .merge(monitors_api::routes())
        .merge(packages_api::routes())
        .merge(web::routes())
        .fallback(nothing_here)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(hall.clone(), guard))
        // Outside the guard: a probe may call it by any name, and learns nothing.
        .route("/healthz", get(healthz))
        // As are the interfaces of services whose names their clients call.
        .merge(faces::routes().layer(middleware::from_fn(bounds)))
        .with_state(hall)
}

async fn healthz(State(hall): State<Hall>) -> Response {
    let asked = tokio::time::timeout(
        Duration::from_secs(2),
        hall.store.ask(|conn| conn.query_row("SELECT 1", (), |_| Ok(()))),
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
            ProblemCode::Method,
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
        let answered = async {
            if api && signed::is_signed(request.headers()) {
                return signed::answer(&hall, request, next).await;
            }
            Ok(next.run(request).await)
        };
        let answered = tokio::time::timeout(within, answered).await;
        answered.unwrap_or_else(|_| {
            Err(Problem::new(
                StatusCode::REQUEST_TIMEOUT,
                ProblemCode::Slow,
                "took too long",
                "the request did not come, or could not be answered, in time",
            ))
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

/// The time limit and the headers that every answer has, without asking by what name we are called.
async fn bounds(request: Request, next: Next) -> Response {
    let answered = tokio::time::timeout(PAGE, next.run(request)).await;
    with_headers(answered.unwrap_or_else(|_| plain(StatusCode::REQUEST_TIMEOUT, "too slow\n")))
}

fn admit(hall: &Shared, request: &Request) -> Result<(), Problem> {
    let headers = request.headers();
    let host = headers.get(header::HOST).and_then(|h| h.to_str().ok());
    let target = request.uri().authority().map(axum::http::uri::Authority::as_str);
    if host.is_none() && target.is_none() {
        return Err(Problem::new(
            StatusCode::BAD_REQUEST,
            ProblemCode::Host,
            "no Host",
            "the request names no host",
        ));
    }
    for name in [host, target].into_iter().flatten() {
        if !hall.hosts.knows(name) {
            return Err(Problem::new(
                StatusCode::MISDIRECTED_REQUEST,
                ProblemCode::Host,
                "not called by this name",
                format!(
                    "this hub is not called `{}`; call it by its address, or add the name to `hosts` in its config",
                    name.chars().take(255).collect::<String>()
                ),
            ));
        }
    }
    // A browser says where a form comes from. A Bearer token and a secret key are in no browser;
    // what is Basic may be.
    if request.method() != Method::GET
        && request.method() != Method::HEAD
        && hall::bearer(headers).is_none()
        && !signed::is_signed(headers)
        && !own_page(headers, host)
    {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            ProblemCode::CrossSite,
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::sync::oneshot;

    use crate::hub::{Hub, Settings};

    #[tokio::test]
    async fn a_long_read_holds_up_neither_healthz_nor_what_is_listed() {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = Settings::new("127.0.0.1:0".parse().unwrap(), folder.path());
        settings.min_free = 0;
        let hub = Hub::bind(settings).await.unwrap();
        let (addr, store, key) = (hub.addr(), hub.store.clone(), hub.credentials().key);
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(hub.serve(async {
            let _stopped = stopped.await;
        }));
        let (begun, has_begun) = oneshot::channel();
        let long = tokio::spawn(async move {
            let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
                SELECT count(*) FROM n";
            let job = move |conn: &rusqlite::Connection| {
                begun.send(()).unwrap();
                conn.query_row(endless, (), |row| row.get::<_, i64>(0))
            };
            store.read_long(job).await
        });
        has_begun.await.unwrap();
        for path in ["/healthz", "/api/v1/plugins", "/api/v1/monitors"] {
            let mut stream = TcpStream::connect(addr).await.unwrap();
            let asked = format!(
                "GET {path} HTTP/1.1\r\nHost: {addr}\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n\r\n"
            );
            stream.write_all(asked.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 "), "{path}: {answer}");
            assert!(!long.is_finished(), "{path} waited");
        }
        // The end of who asked is the end of the read, so that the hub can stop.
        long.abort();
        stop.send(()).unwrap();
        tokio::time::timeout(Duration::from_secs(20), served).await.unwrap().unwrap().unwrap();
    }
}
