//! What a rejection code means, and the way out.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use maud::html;

use crate::contract::explain;
use crate::hub::hall::Hall;
use crate::model::RejectionCode;

use super::format::{query, sentence};
use super::layout::Frame;
use super::page::{framed, logged_in, shown, told};

pub(super) async fn show(
    State(hall): State<Hall>,
    headers: HeaderMap,
    Path(code): Path<String>,
) -> Response {
    let session = logged_in!(hall, headers);
    let Some(code) = RejectionCode::ALL.iter().copied().find(|one| one.as_str() == code) else {
        return told(
            &session,
            StatusCode::NOT_FOUND,
            "No such code",
            "No record is refused for this. The codes that there are: talaia explain",
        );
    };
    let page = explain::page(code);
    let body = html! {
        p.crumbs { a href="/rejections" { "Rejections" } }
        h1 { code { (code.as_str()) } }
        article.prose {
            p.lead { (sentence(page.meaning)) }
            h2 { "For example" }
            @if let Some(settings) = page.settings {
                p { "With these settings of the plugin" }
                pre tabindex="0" { code { (settings) } }
                p { "it prints" }
            } @else { p { "The plugin prints" } }
            pre tabindex="0" { code { (page.example) } }
            h2 { "What to do" }
            p { (sentence(page.fix)) }
            p { a href=(format!("/rejections{}", query(&[("code", code.as_str())]))) { "Records that were refused for this" } }
            p.faint { "The same on a command line: " code { "talaia explain " (code.as_str()) } }
        }
    };
    let title = format!("What {} means", code.as_str());
    shown(Ok(framed(&Frame::of(&title, "/rejections", &session), &body)))
}
