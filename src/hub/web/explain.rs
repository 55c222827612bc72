//! What a code means, and the way out.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use maud::{Markup, html};

use crate::contract::explain::{self, Kind, Page};
use crate::hub::hall::Hall;

use super::format::{query, sentence};
use super::layout::Frame;
use super::page::{framed, logged_in, shown, told};

pub(super) async fn show(
    State(hall): State<Hall>,
    headers: HeaderMap,
    Path(code): Path<String>,
) -> Response {
    let session = logged_in!(hall, headers);
    let pages = explain::find(&code);
    if pages.is_empty() {
        let meant = explain::meant(&code);
        let words = meant.map_or_else(String::new, |meant| format!("Is {meant} meant? "));
        return told(
            &session,
            StatusCode::NOT_FOUND,
            "No such code",
            &format!("{words}All there are: talaia explain"),
        );
    }
    let body = html! {
        p.crumbs { a href="/rejections" { "Rejections" } }
        h1 { code { (code) } }
        @for page in &pages { (article(page)) }
        p.faint { "The same on a command line: " code { "talaia explain " (code) } }
    };
    let title = format!("What {code} means");
    shown(Ok(framed(&Frame::of(&title, "/rejections", &session), &body)))
}

fn article(page: &Page) -> Markup {
    html! {
        article.prose {
            p.faint { (page.kind.title()) }
            p.lead { (sentence(page.meaning)) }
            @for (head, text) in page.blocks() {
                h2 { (head) }
                pre tabindex="0" { code { (text) } }
            }
            @if !page.fix.is_empty() {
                h2 { "What to do" }
                p { (sentence(page.fix)) }
            }
            @if page.kind == Kind::Rejection {
                p { a href=(format!("/rejections{}", query(&[("code", page.code)]))) { "Records that were refused for this" } }
            }
            @if !page.see.is_empty() {
                p { "See also" @for other in page.see { " " a href=(format!("/explain/{}", other.replace(' ', "%20"))) { code { (other) } } } }
            }
        }
    }
}
