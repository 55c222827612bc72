//! The way in by a link that works once, and out.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use maud::html;

use crate::hub::hall::{self, Hall};
use crate::hub::session;

use super::layout::{self, Frame};
use super::page::{Sent, html_page, logged_in, shown};

/// The page that a login link opens. Only its button uses the link up: previews of links look, too.
pub(super) async fn show(State(hall): State<Hall>, Path(token): Path<String>) -> Response {
    let now = hall.clock.now();
    let page = async {
        let good = hall.store.ask(move |conn| session::link_is_good(conn, &token, now)).await?;
        if !good {
            return Ok(spent());
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

fn spent() -> Response {
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

pub(super) async fn begin(State(hall): State<Hall>, Path(token): Path<String>) -> Response {
    let now = hall.clock.now();
    let page = async {
        let begun = hall.store.change(move |conn| session::begin(conn, &token, now)).await?;
        let Some(session) = begun else { return Ok(spent()) };
        Ok(with_cookie(&hall, session.expose(), session::SESSION_MS / 1000))
    };
    shown(page.await)
}

pub(super) async fn end(State(hall): State<Hall>, headers: HeaderMap, body: Bytes) -> Response {
    let session = logged_in!(hall, headers);
    if let Err(refused) = Sent::read(&session, &body) {
        return refused;
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
