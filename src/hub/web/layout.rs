//! What every page has around it.

use maud::{DOCTYPE, Markup, html};

use crate::hub::session::Session;

use super::zone;

/// Who looks, and where.
pub(super) struct Frame<'a> {
    title: &'a str,
    /// The place in the navigation.
    here: &'a str,
    session: Option<&'a Session>,
}

/// Where the navigation leads.
const PLACES: [(&str, &str); 6] = [
    ("/", "Overview"),
    ("/monitors", "Monitors"),
    ("/rejections", "Rejections"),
    ("/packages", "Packages"),
    ("/keys", "Keys"),
    ("/health", "Health"),
];

impl<'a> Frame<'a> {
    /// For who is logged in.
    pub(super) fn of(title: &'a str, here: &'a str, session: &'a Session) -> Self {
        Self { title, here, session: Some(session) }
    }

    /// For who is not.
    pub(super) fn stranger(title: &'a str) -> Self {
        Self { title, here: "", session: None }
    }
}

/// A whole page.
pub(super) fn page(frame: &Frame<'_>, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="robots" content="noindex";
                title { (frame.title) " · Talaia" }
                link rel="icon" href="/icon.svg" type="image/svg+xml";
                link rel="stylesheet" href="/style.css";
                script src="/app.js" defer {}
            }
            body {
                a.skip href="#main" { "Skip to content" }
                header.top {
                    a.brand href="/" { (brand()) "Talaia" }
                    @if let Some(session) = frame.session {
                        nav aria-label="Pages" {
                            @for (path, text) in PLACES {
                                a href=(path) aria-current=[(frame.here == path).then_some("page")] { (text) }
                            }
                        }
                        span.live #live role="status" {}
                        form.out method="post" action="/logout" {
                            input type="hidden" name="form" value=(session.form);
                            button type="submit" { "Log out" }
                        }
                    }
                }
                main #main tabindex="-1" { (body) }
                footer.foot {
                    "Talaia " (env!("CARGO_PKG_VERSION"))
                    @if frame.session.is_some() { " · times in " span #zone { (zone::name()) } noscript { " · " a href="/zone" { "another zone" } } }
                }
            }
        }
    }
}

/// A watchtower.
fn brand() -> Markup {
    html! {
        svg viewBox="0 0 16 16" width="18" height="18" aria-hidden="true" {
            path d="M4 1h2v2h1V1h2v2h1V1h2v5l-1 1v7h1v1H4v-1h1V7L4 6zM7 8v3h2V8z" fill-rule="evenodd" fill="currentColor" {}
        }
    }
}
