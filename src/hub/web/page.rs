//! What every handler of a page needs: who looks, an answer in HTML, and forms that are ours.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use subtle::ConstantTimeEq;

use crate::hub::hall::{self, Hall};
use crate::hub::parameters::pairs;
use crate::hub::problem::Problem;
use crate::hub::session::Session;

use super::layout::{self, Frame};

/// A page, or the page that says why not.
pub(super) type Page = Result<Response, Problem>;

/// Who is logged in, or the page that says how to.
pub(super) async fn session_or_door(
    hall: &Hall,
    headers: &HeaderMap,
) -> Result<Result<Session, Response>, Problem> {
    Ok(hall::session_of(hall, headers).await?.ok_or_else(door))
}

/// The session of a request; leaves the handler with the door where there is none.
macro_rules! logged_in {
    ($hall:expr, $headers:expr) => {
        match $crate::hub::web::page::session_or_door(&$hall, &$headers).await {
            Ok(Ok(session)) => session,
            Ok(Err(door)) => return door,
            Err(problem) => return $crate::hub::web::page::failed(&problem),
        }
    };
}
pub(super) use logged_in;

pub(super) fn shown(page: Page) -> Response {
    page.unwrap_or_else(|problem| failed(&problem))
}

pub(super) fn failed(problem: &Problem) -> Response {
    message(problem.status(), "That did not work", problem.detail())
}

pub(super) fn html_page(status: StatusCode, page: Markup) -> Response {
    let headers = [(header::CONTENT_TYPE, "text/html; charset=utf-8")];
    (status, headers, page.into_string()).into_response()
}

/// A page of someone who is logged in.
pub(super) fn framed(frame: &Frame<'_>, body: &Markup) -> Response {
    html_page(StatusCode::OK, layout::page(frame, body))
}

/// A page with one sentence.
pub(in crate::hub) fn message(status: StatusCode, title: &str, text: &str) -> Response {
    let body = html! {
        section.notice { h1 { (title) } p { (text) } p { a href="/" { "To the overview" } } }
    };
    html_page(status, layout::page(&Frame::stranger(title), &body))
}

/// A page with one sentence, for someone who is logged in.
pub(super) fn told(session: &Session, status: StatusCode, title: &str, text: &str) -> Response {
    let body = html! {
        section.notice { h1 { (title) } p { (text) } p { a href="/" { "To the overview" } } }
    };
    html_page(status, layout::page(&Frame::of(title, "", session), &body))
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

/// Goes elsewhere after a form was taken, by GET.
pub(super) fn see(path: &str) -> Response {
    let Ok(place) = HeaderValue::from_str(path) else {
        return (StatusCode::SEE_OTHER, [(header::LOCATION, HeaderValue::from_static("/"))])
            .into_response();
    };
    (StatusCode::SEE_OTHER, [(header::LOCATION, place)]).into_response()
}

/// What a form sent.
pub(super) struct Sent(Vec<(String, String)>);

impl Sent {
    /// Reads a form of this session, or gives the page that refuses it: one from elsewhere does not
    /// know the session's token.
    #[expect(clippy::result_large_err, reason = "the answer goes out as it is")]
    pub(super) fn read(session: &Session, body: &[u8]) -> Result<Self, Response> {
        let Some(pairs) = std::str::from_utf8(body).ok().and_then(|body| pairs(body).ok()) else {
            return Err(told(
                session,
                StatusCode::BAD_REQUEST,
                "That form cannot be read",
                "Load the page again and send it once more.",
            ));
        };
        let sent = Self(pairs);
        Self::check(session, sent.text("form").as_bytes())?;
        Ok(sent)
    }

    /// Gives the page that refuses a form whose token is not this session's.
    #[expect(clippy::result_large_err, reason = "the answer goes out as it is")]
    pub(super) fn check(session: &Session, token: &[u8]) -> Result<(), Response> {
        if bool::from(session.form.as_bytes().ct_eq(token)) {
            return Ok(());
        }
        Err(told(
            session,
            StatusCode::FORBIDDEN,
            "Not from this page",
            "The form is not of this session; load the page again.",
        ))
    }

    /// What was typed in a field, without white space around it; empty where there was none.
    pub(super) fn text(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.trim())
    }

    /// What was typed, where something was.
    pub(super) fn given(&self, name: &str) -> Option<&str> {
        Some(self.text(name)).filter(|text| !text.is_empty())
    }

    /// All values of a field that may come several times.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.trim())
    }

    /// Everything but the session's token, to fill the form again.
    pub(super) fn typed(&self) -> Vec<(String, String)> {
        self.0.iter().filter(|(key, _)| key != "form").cloned().collect()
    }

    /// Whether a box was ticked.
    pub(super) fn ticked(&self, name: &str) -> bool {
        self.given(name).is_some()
    }
}

/// The field that makes a form one of this session.
pub(super) fn token(session: &Session) -> Markup {
    html! { input type="hidden" name="form" value=(session.form); }
}
