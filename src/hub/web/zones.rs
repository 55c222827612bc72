//! The page where the time zone is chosen.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};

use crate::hub::hall::Hall;

use super::layout::Frame;
use super::page::{Sent, framed, logged_in, message, token};
use super::zone;

/// How long a browser keeps the choice, in seconds.
const KEPT: i64 = 400 * 24 * 3600;

pub(super) async fn show(State(hall): State<Hall>, headers: HeaderMap) -> Response {
    let session = logged_in!(hall, headers);
    let mut names: Vec<String> = jiff::tz::db().available().map(|name| name.to_string()).collect();
    names.sort();
    let here = zone::name();
    let options: Markup = html! {
        option value="UTC" selected[here == "UTC"] { "UTC" }
        @for name in names.iter().filter(|name| *name != "UTC") {
            option value=(name) selected[*name == here] { (name) }
        }
    };
    let body = html! {
        section.notice data-still="" {
            h1 { "Time zone" }
            p { "Pages show times in this zone. Where scripts run they are in the browser's own." }
            form.fields method="post" action="/zone" {
                (token(&session))
                label { "Zone" select name="zone" { (options) } }
                div.buttons { button.main type="submit" { "Show times there" } }
            }
        }
    };
    framed(&Frame::of("Time zone", "", &session), &body)
}

pub(super) async fn choose(State(hall): State<Hall>, headers: HeaderMap, body: Bytes) -> Response {
    let session = logged_in!(hall, headers);
    let sent = match Sent::read(&session, &body) {
        Ok(sent) => sent,
        Err(refused) => return refused,
    };
    let Some(chosen) = zone::read(sent.text("zone")) else {
        let text = "This hub does not know that time zone.";
        return message(StatusCode::UNPROCESSABLE_ENTITY, "No such zone", text);
    };
    let mut response = Redirect::to("/").into_response();
    let (name, secure) =
        (chosen.iana_name().unwrap_or("UTC"), if hall.secure { "; Secure" } else { "" });
    let cookie = format!(
        "{}={name}; Path=/; HttpOnly; SameSite=Strict; Max-Age={KEPT}{secure}",
        zone::COOKIE
    );
    if let Ok(value) = HeaderValue::from_str(&cookie) {
        response.headers_mut().insert(header::SET_COOKIE, value);
    }
    response
}
