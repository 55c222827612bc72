//! Pages for people: rendered here, useful without scripts, nothing fetched from elsewhere.
//!
//! All that plugins, agents and addresses say is data: `maud` escapes it, and it never becomes a
//! tag, a style or a script.

mod chart;
mod format;
mod layout;
mod overview;
mod plugin;
mod rejections;

use axum::Router;
use axum::extract::{Form, Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use maud::{Markup, html};
use serde::Deserialize;
use subtle::ConstantTimeEq;

use super::hall::{self, Hall};
use super::parameters::pairs;
use super::problem::Problem;
use super::session::{self, Session};
use super::store::{self, Filter};

use layout::Frame;

/// Most plugins on the overview, and groups of rejections on their page.
const PLUGINS: usize = 2000;
const REJECTIONS: usize = 100;

pub(super) fn routes() -> Router<Hall> {
    Router::new()
        .route("/", get(overview))
        .route("/plugin", get(plugin))
        .route("/rejections", get(rejections))
        .route("/login/{token}", get(login_page).post(login))
        .route("/logout", post(logout))
        .route("/style.css", get(style))
        .route("/app.js", get(script))
        .route("/icon.svg", get(icon))
}

/// A page, or the page that says why not.
type Page = Result<Response, Problem>;

/// Logs in, or says how to.
async fn session_or_door(
    hall: &Hall,
    headers: &HeaderMap,
) -> Result<Result<Session, Response>, Problem> {
    Ok(hall::session_of(hall, headers).await?.ok_or_else(door))
}

macro_rules! logged_in {
    ($hall:expr, $headers:expr) => {
        match session_or_door(&$hall, &$headers).await {
            Ok(Ok(session)) => session,
            Ok(Err(door)) => return door,
            Err(problem) => return failed(&problem),
        }
    };
}

fn shown(page: Page) -> Response {
    page.unwrap_or_else(|problem| failed(&problem))
}

fn failed(problem: &Problem) -> Response {
    message(problem.status(), "That did not work", problem.detail())
}

fn html_page(status: StatusCode, page: Markup) -> Response {
    let headers = [(header::CONTENT_TYPE, "text/html; charset=utf-8")];
    (status, headers, page.into_string()).into_response()
}

/// A page with one sentence.
pub(super) fn message(status: StatusCode, title: &str, text: &str) -> Response {
    let body =
        html! { section.notice { h1 { (title) } p { (text) } p { a href="/" { "Overview" } } } };
    html_page(status, layout::page(&Frame::stranger(title), &body))
}

/// The page of those who are not logged in.
fn door() -> Response {
    let body = html! {
        section.notice {
            h1 { "Log in" }
            p { "On the machine that this hub runs on, type" }
            pre { code { "talaia hub login" } }
            p { "and open the link that it prints. It works once, for ten minutes." }
        }
    };
    html_page(StatusCode::UNAUTHORIZED, layout::page(&Frame::stranger("Log in"), &body))
}

async fn overview(State(hall): State<Hall>, headers: HeaderMap) -> Response {
    let session = logged_in!(hall, headers);
    let now = hall.clock.now();
    let page = async {
        let account = session.account;
        let (plugins, series, totals) = hall
            .store
            .read(move |conn| {
                let filter = Filter { account, limit: PLUGINS, ..Filter::default() };
                let everything = Filter { limit: 8 * PLUGINS, ..filter.clone() };
                Ok((
                    store::plugins(conn, &filter)?,
                    store::series(conn, &everything)?,
                    store::totals(conn, account)?,
                ))
            })
            .await?;
        let body = overview::body(&plugins, &series, &totals, now);
        Ok(html_page(StatusCode::OK, layout::page(&Frame::of("Overview", "/", &session), &body)))
    };
    shown(page.await)
}

async fn plugin(
    State(hall): State<Hall>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    let session = logged_in!(hall, headers);
    let now = hall.clock.now();
    let page = async {
        let (mut host, mut name, mut range) = (None, None, plugin::Range::Hour);
        for (key, value) in pairs(query.as_deref().unwrap_or_default())? {
            match key.as_str() {
                "host" => host = Some(value),
                "plugin" => name = Some(value),
                "range" => range = plugin::Range::from_word(&value).unwrap_or(range),
                _ => {}
            }
        }
        let account = session.account;
        let filter = Filter { account, host, plugin: name, limit: 1, ..Filter::default() };
        let found = hall.store.read(move |conn| plugin::load(conn, &filter, range, now)).await?;
        let Some(found) = found else {
            return Ok(message(
                StatusCode::NOT_FOUND,
                "No such plugin",
                "The hub has no report of this plugin on this host.",
            ));
        };
        let body = plugin::body(&found, range, now);
        let title = format!("{} on {}", found.plugin.plugin, found.plugin.host);
        Ok(html_page(StatusCode::OK, layout::page(&Frame::of(&title, "", &session), &body)))
    };
    shown(page.await)
}

async fn rejections(
    State(hall): State<Hall>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    let session = logged_in!(hall, headers);
    let now = hall.clock.now();
    let page = async {
        let account = session.account;
        let mut filter = Filter { account, limit: REJECTIONS + 1, ..Filter::default() };
        for (key, value) in pairs(query.as_deref().unwrap_or_default())? {
            match key.as_str() {
                "host" => filter.host = Some(value),
                "plugin" => filter.plugin = Some(value),
                "after" => filter.after = value.parse().ok(),
                _ => {}
            }
        }
        let asked = filter.clone();
        let mut groups = hall.store.read(move |conn| store::rejections(conn, &filter)).await?;
        let more = groups.len() > REJECTIONS;
        groups.truncate(REJECTIONS);
        let body = rejections::body(&groups, &asked, more, now);
        let frame = Frame::of("Rejections", "/rejections", &session);
        Ok(html_page(StatusCode::OK, layout::page(&frame, &body)))
    };
    shown(page.await)
}

/// The page that a login link opens. Only its button uses the link up.
async fn login_page(State(hall): State<Hall>, Path(token): Path<String>) -> Response {
    let now = hall.clock.now();
    let page = async {
        let good = hall.store.read(move |conn| session::link_is_good(conn, &token, now)).await?;
        if !good {
            return Ok(spent_link());
        }
        let body = html! {
            section.notice {
                h1 { "Talaia" }
                p { "Log in to this hub in this browser." }
                // Without an action the form goes to this page's own address.
                form method="post" { button.main type="submit" autofocus { "Log in" } }
            }
        };
        Ok(html_page(StatusCode::OK, layout::page(&Frame::stranger("Log in"), &body)))
    };
    shown(page.await)
}

fn spent_link() -> Response {
    let body = html! {
        section.notice {
            h1 { "This link does not work" }
            p { "It was used already, or is older than ten minutes. For a new one, type" }
            pre { code { "talaia hub login" } }
            p { "on the machine that this hub runs on." }
        }
    };
    html_page(StatusCode::GONE, layout::page(&Frame::stranger("Log in"), &body))
}

async fn login(State(hall): State<Hall>, Path(token): Path<String>) -> Response {
    let now = hall.clock.now();
    let page = async {
        let begun = hall.store.change(move |conn| session::begin(conn, &token, now)).await?;
        let Some(session) = begun else { return Ok(spent_link()) };
        Ok(with_cookie(&hall, session.expose(), session::SESSION_MS / 1000))
    };
    shown(page.await)
}

/// What the log-out form carries.
#[derive(Deserialize)]
pub(super) struct LogOut {
    form: String,
}

async fn logout(
    State(hall): State<Hall>,
    headers: HeaderMap,
    Form(sent): Form<LogOut>,
) -> Response {
    let session = logged_in!(hall, headers);
    if !bool::from(session.form.as_bytes().ct_eq(sent.form.as_bytes())) {
        return message(
            StatusCode::FORBIDDEN,
            "Not from this page",
            "The form is not of this session; load the page again.",
        );
    }
    let page = async {
        if let Some(token) = hall::session_cookie(&hall, &headers) {
            hall.store.change(move |conn| session::end(conn, &token)).await?;
        }
        Ok(with_cookie(&hall, "", 0))
    };
    shown(page.await)
}

/// Goes to the overview and sets the session's cookie for so many seconds.
fn with_cookie(hall: &Hall, token: &str, seconds: i64) -> Response {
    let mut response = Redirect::to("/").into_response();
    let (name, secure) = (&hall.cookie, if hall.secure { "; Secure" } else { "" });
    let cookie =
        format!("{name}={token}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}");
    if let Ok(value) = HeaderValue::from_str(&cookie) {
        response.headers_mut().insert(header::SET_COOKIE, value);
    }
    response
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
