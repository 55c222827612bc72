//! Registering a name and handing in an archive, by forms.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, Multipart, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use maud::{Markup, html};

use crate::hub::hall::Hall;
use crate::hub::packages_api::{change, look, turn};
use crate::hub::problem::Problem;
use crate::hub::registry;
use crate::hub::session::Session;
use crate::hub::web::format::sentence;
use crate::hub::web::layout::{self, Frame};
use crate::hub::web::page::{Page, Sent, framed, html_page, logged_in, see, shown, token};
use crate::model::{PackageName, PluginKey};
use crate::package::{Category, bounds};

use super::{caller, path};

/// How long a form with an archive may take to come.
const SLOW: Duration = Duration::from_secs(25);

/// What was typed, to show it again.
#[derive(Default)]
struct Draft {
    name: String,
    description: String,
    category: String,
}

pub(super) async fn show(State(hall): State<Hall>, headers: HeaderMap) -> Response {
    let session = logged_in!(hall, headers);
    forms(&session, &Draft::default(), None)
}

fn forms(session: &Session, draft: &Draft, wrong: Option<(StatusCode, &str)>) -> Response {
    let body = html! {
        p.crumbs { a href="/packages" { "Packages" } }
        h1 { "New package" }
        @if let Some((_, wrong)) = wrong { p.alarm role="alert" { (sentence(wrong)) } }
        p.facts.faint { "A package is a folder with a manifest. Where you write it, " code { "talaia plugin publish FOLDER" } " does all of this at once." }
        (name(session, draft))
        (archive(session))
    };
    let status = wrong.map_or(StatusCode::OK, |(status, _)| status);
    html_page(status, layout::page(&Frame::of("New package", "/packages", session), &body))
}

fn name(session: &Session, draft: &Draft) -> Markup {
    let category = if draft.category.is_empty() { "other" } else { &draft.category };
    html! {
        section.card aria-labelledby="register" {
            h2 #register { "Register a name" }
            p.faint { "A name is yours once it is registered, and its plugins get a key, under which their results come from all hosts. What is typed here the manifest says again." }
            form.fields method="post" action="/publish" {
                (token(session))
                label { "Name" input type="text" name="name" value=(draft.name) required maxlength="64" pattern="[a-z][a-z0-9_\\-]*" title="small letters, digits, `-` and `_`, beginning with a letter" placeholder="netstat" autocomplete="off" spellcheck="false"; }
                label { span { "Description " span.faint { "in one line" } } input type="text" name="description" value=(draft.description) maxlength="200" placeholder="Packets and datagrams in and out" autocomplete="off"; }
                label { "Category" select name="category" { @for one in Category::ALL { option value=(one.as_str()) selected[one.as_str() == category] { (one.as_str()) } } } }
                button.main type="submit" { "Register" }
            }
        }
    }
}

fn archive(session: &Session) -> Markup {
    html! {
        section.card aria-labelledby="upload" {
            h2 #upload { "Upload a version" }
            p.faint { "An archive as " code { "talaia plugin pack" } " makes it, at most " (bounds::ZIPPED >> 20) " MiB. It is looked through, and nothing of it is run. A draft can be replaced; reviewers see it once you submit it." }
            form.fields method="post" action="/publish/archive" enctype="multipart/form-data" {
                (token(session))
                label { "Archive" input type="file" name="archive" accept=".zip,application/zip" required; }
                button.main type="submit" { "Upload" }
            }
        }
    }
}

pub(super) async fn register(
    State(hall): State<Hall>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let session = logged_in!(hall, headers);
    let sent = match Sent::read(&session, &body) {
        Ok(sent) => sent,
        Err(refused) => return refused,
    };
    let draft = Draft {
        name: sent.text("name").to_owned(),
        description: sent.text("description").to_owned(),
        category: sent.text("category").to_owned(),
    };
    let name: PackageName = match draft.name.parse() {
        Ok(name) => name,
        Err(error) => {
            let why = format!("{error}");
            return forms(&session, &draft, Some((StatusCode::UNPROCESSABLE_ENTITY, &why)));
        }
    };
    let (now, by, wanted) = (hall.clock.now(), caller(&session), name.clone());
    let about = (draft.description.clone(), sent.given("category").unwrap_or("other").to_owned());
    let made = change(&hall, move |conn| {
        registry::register(conn, &by, &wanted, (&about.0, &about.1), now)
    });
    let page: Page = match made.await {
        Ok((key, fresh)) => {
            let title = format!("{name} is registered{}", if fresh { "" } else { " already" });
            let frame = Frame::of(&title, "/packages", &session);
            Ok(framed(&frame, &registered(&title, &name, key)))
        }
        Err(problem) if problem.status().is_server_error() => Err(problem),
        Err(problem) => Ok(forms(&session, &draft, Some((problem.status(), problem.detail())))),
    };
    shown(page)
}

/// The key, and what comes next.
fn registered(title: &str, name: &PackageName, key: PluginKey) -> Markup {
    html! {
        p.crumbs { a href="/packages" { "Packages" } }
        section.notice data-still="" {
            h1 { (title) }
            p { "The key of its plugins; it stays on " a href={ "/packages/" (name) } { "the package's page" } ":" }
            p.secret { code #secret { (key) } }
            p { "Write it, try it, and hand it in:" }
            pre { code { "talaia new " (name) "\ntalaia plugin check ./" (name) "\ntalaia plugin publish ./" (name) } }
            p.faint { "From another machine: with " code { "--hub" } " and a key that has the scope " code { "publish" } "." }
            p { a href="/publish/archive#upload" { "Upload an archive" } }
        }
    }
}

pub(super) async fn upload(State(hall): State<Hall>, request: Request) -> Response {
    let headers = request.headers().clone();
    let session = logged_in!(hall, headers);
    let _turn = match turn(&hall).await {
        Ok(turn) => turn,
        Err(busy) => return shown(Err(busy)),
    };
    let read = tokio::time::timeout(SLOW, parts(&session, request)).await;
    let archive = match read {
        Ok(Ok(archive)) => archive,
        Ok(Err(Unread::Refused(page))) => return *page,
        Ok(Err(Unread::Wrong(status, why))) => {
            return forms(&session, &Draft::default(), Some((status, &why)));
        }
        Err(_) => {
            let why = "The archive did not come in time; `talaia plugin publish` has more of it.";
            return forms(&session, &Draft::default(), Some((StatusCode::REQUEST_TIMEOUT, why)));
        }
    };
    let answer = async {
        let upload = look(&hall, None, archive).await?;
        let to = path(&upload.name, &upload.version);
        let (now, by) = (hall.clock.now(), caller(&session));
        change(&hall, move |conn| registry::upload(conn, &by, &upload, now)).await?;
        Ok::<_, Problem>(see(&to))
    };
    shown(match answer.await {
        // A full registry is for who uploads to mend.
        Err(problem)
            if !problem.status().is_server_error()
                || problem.status() == StatusCode::INSUFFICIENT_STORAGE =>
        {
            Ok(forms(&session, &Draft::default(), Some((problem.status(), problem.detail()))))
        }
        done => done,
    })
}

/// Why a form with an archive was not read.
enum Unread {
    /// It is not of this session.
    Refused(Box<Response>),
    Wrong(StatusCode, String),
}

/// The archive in a form. The session's token comes before it, or it is not read.
async fn parts(session: &Session, request: Request) -> Result<Vec<u8>, Unread> {
    let mut form = Multipart::from_request(request, &())
        .await
        .map_err(|e| Unread::Wrong(e.status(), "the form is no form with a file".to_owned()))?;
    let wrong = |e: axum::extract::multipart::MultipartError| match e.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            let most = bounds::ZIPPED >> 20;
            Unread::Wrong(e.status(), format!("the archive has more than {most} MiB"))
        }
        status => Unread::Wrong(status, "the form ended early; send it once more".to_owned()),
    };
    let mut known = false;
    while let Some(field) = form.next_field().await.map_err(wrong)? {
        match field.name() {
            Some("form") => {
                let token = field.bytes().await.map_err(wrong)?;
                Sent::check(session, &token).map_err(|page| Unread::Refused(Box::new(page)))?;
                known = true;
            }
            Some("archive") if known => {
                let archive = field.bytes().await.map_err(wrong)?;
                if archive.is_empty() {
                    let why = "choose an archive first".to_owned();
                    return Err(Unread::Wrong(StatusCode::UNPROCESSABLE_ENTITY, why));
                }
                return Ok(archive.to_vec());
            }
            _ => {}
        }
    }
    if !known {
        Sent::check(session, b"").map_err(|page| Unread::Refused(Box::new(page)))?;
    }
    let why = "choose an archive first".to_owned();
    Err(Unread::Wrong(StatusCode::UNPROCESSABLE_ENTITY, why))
}
