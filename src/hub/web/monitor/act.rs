//! What the forms of a monitor do: results, changes, and its end.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use maud::{Markup, html};

use crate::hub::hall::{Caller, Hall};
use crate::hub::monitors::{self, Held, Monitor, MonitorError, ResultRow, Role};
use crate::hub::problem::Problem;
use crate::hub::session::Session;
use crate::hub::store::Writer;
use crate::hub::web::definition::Draft;
use crate::hub::web::format::{counted, sentence};
use crate::hub::web::layout::{self, Frame};
use crate::hub::web::monitors::more_rows;
use crate::hub::web::page::{
    Page, Sent, failed, html_page, logged_in, see, session_or_door, shown, token,
};
use crate::hub::web::range::moment;
use crate::model::{Tags, Value};

use super::{Said, find, inputs, page};

/// A change of one monitor that may be refused.
type Changed<T> = Result<Result<T, String>, Problem>;

fn told<T>(done: Result<T, MonitorError>) -> Changed<T> {
    match done {
        Ok(done) => Ok(Ok(done)),
        Err(MonitorError::Store(error)) => Err(error.into()),
        Err(said) => Ok(Err(said.to_string())),
    }
}

/// Who sent a form, what is in it, and the monitor that it is about; or the page that says why not.
async fn posted(
    hall: &Hall,
    headers: &HeaderMap,
    id: &str,
    body: &[u8],
) -> Result<(Session, Sent, Monitor), Response> {
    let session = session_or_door(hall, headers).await.map_err(|problem| failed(&problem))??;
    let sent = Sent::read(&session, body)?;
    let monitor = find(hall, &session, id).await.map_err(|problem| failed(&problem))??;
    Ok((session, sent, monitor))
}

pub(super) async fn act(
    State(hall): State<Hall>,
    headers: HeaderMap,
    Path(id): Path<String>,
    body: Bytes,
) -> Response {
    let (session, sent, monitor) = match posted(&hall, &headers, &id, &body).await {
        Ok(posted) => posted,
        Err(page) => return page,
    };
    let answer = async {
        let (id, now) = (monitor.id, hall.clock.now());
        let caller = Caller::of_session(session.account);
        let (done, then) = match sent.text("do") {
            "suspend" => {
                let job = move |writer: &mut _| monitors::suspend(writer, &caller, id, now);
                (told(hall.store.write(job).await?)?.map(|_| ()), "")
            }
            "activate" => {
                let job = move |writer: &mut _| monitors::activate(writer, &caller, id, now);
                (told(hall.store.write(job).await?)?.map(|_| ()), "")
            }
            "add" => (add(&hall, &session, &monitor, &sent).await?, "#results"),
            "detail" => (detail(&hall, &session, &monitor, &sent).await?, "#details-s"),
            _ => (Err("the form does not say what to do".to_owned()), ""),
        };
        match done {
            Ok(()) => Ok(see(&format!("/monitor/{id}{then}"))),
            Err(wrong) => {
                let said = Said { wrong: Some(wrong), typed: sent.typed() };
                page(&hall, &session, &id.to_string(), "", &said).await
            }
        }
    };
    shown(answer.await)
}

async fn add(hall: &Hall, session: &Session, monitor: &Monitor, sent: &Sent) -> Changed<()> {
    let (id, account, now) = (monitor.id, session.account, hall.clock.now());
    let (ms, values) = match typed(hall, monitor, Role::Result, sent).await? {
        Ok(typed) => typed,
        Err(wrong) => return Ok(Err(wrong)),
    };
    let values = values.into_iter().map(|(name, value)| (name, value, Tags::new())).collect();
    let rows = [ResultRow { ms, values, additional: None }];
    let done = hall.store.write(move |writer| writer.post_results(account, id, &rows, now)).await?;
    Ok(told(done)?.map(|_| ()))
}

async fn detail(hall: &Hall, session: &Session, monitor: &Monitor, sent: &Sent) -> Changed<()> {
    let (id, account, now) = (monitor.id, session.account, hall.clock.now());
    let (ms, values) = match typed(hall, monitor, Role::Additional, sent).await? {
        Ok(typed) => typed,
        Err(wrong) => return Ok(Err(wrong)),
    };
    let members = values.into_iter().map(|(name, value)| (name, serde_json::json!(value)));
    let row = serde_json::Value::Object(members.collect());
    let job = move |writer: &mut _| monitors::add_additional(writer, account, id, (ms, row), now);
    told(hall.store.write(job).await?)
}

/// The check time and the values of a form.
async fn typed(
    hall: &Hall,
    monitor: &Monitor,
    role: Role,
    sent: &Sent,
) -> Changed<(i64, Vec<(String, Value)>)> {
    let ms = match sent.given("time").map(moment) {
        None => hall.clock.now(),
        Some(Some(ms)) => ms,
        Some(None) => return Ok(Err("the check time cannot be read".to_owned())),
    };
    let id = monitor.id;
    let fields = hall.store.read(move |conn| monitors::fields(conn, id, role)).await?;
    Ok(match inputs::values(&fields, sent) {
        Ok(values) if values.is_empty() => Err("it needs at least one value".to_owned()),
        Ok(values) => Ok((ms, values)),
        Err(wrong) => Err(wrong),
    })
}

pub(super) async fn edit_form(
    State(hall): State<Hall>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Response {
    let session = logged_in!(hall, headers);
    let answer = async {
        let monitor = match find(&hall, &session, &id).await? {
            Ok(monitor) => monitor,
            Err(missing) => return Ok(missing),
        };
        let draft = drafted(&hall, &monitor).await?;
        Ok(editing(&session, &monitor, &draft, 0, None))
    };
    shown(answer.await)
}

async fn drafted(hall: &Hall, monitor: &Monitor) -> Result<Draft, Problem> {
    let id = monitor.id;
    let both = move |conn: &rusqlite::Connection| {
        let fields = |role| monitors::fields(conn, id, role);
        Ok((fields(Role::Result)?, fields(Role::Additional)?))
    };
    let (metrics, additional) = hall.store.read(both).await?;
    Ok(Draft::of(monitor, &metrics, &additional))
}

fn editing(
    session: &Session,
    monitor: &Monitor,
    draft: &Draft,
    more: usize,
    wrong: Option<&str>,
) -> Response {
    let path = format!("/monitor/{}", monitor.id);
    let body = html! {
        p.crumbs { a href="/monitors" { "Monitors" } " / " a href=(path) { (monitor.name) } }
        h1 { "Edit " (monitor.name) }
        @if let Some(wrong) = wrong { p.alarm role="alert" { (sentence(wrong)) } }
        p.facts.faint { "A metric that is left out is not declared any more; its results stay. One that has results keeps its type." }
        section.card { (draft.form(session, &format!("{path}/edit"), "Save", more)) }
    };
    let title = format!("Edit {}", monitor.name);
    let status = if wrong.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    html_page(status, layout::page(&Frame::of(&title, "/monitors", session), &body))
}

pub(super) async fn edit(
    State(hall): State<Hall>,
    headers: HeaderMap,
    Path(id): Path<String>,
    body: Bytes,
) -> Response {
    let (session, sent, monitor) = match posted(&hall, &headers, &id, &body).await {
        Ok(posted) => posted,
        Err(page) => return page,
    };
    let draft = Draft::read(&sent);
    let answer = async {
        if sent.ticked("add") {
            return Ok(editing(&session, &monitor, &draft, more_rows(&sent), None));
        }
        let edit = match draft.edit(&drafted(&hall, &monitor).await?) {
            Ok(edit) => edit,
            Err(wrong) => return Ok(editing(&session, &monitor, &draft, 0, Some(&wrong))),
        };
        let (id, now, caller) = (monitor.id, hall.clock.now(), Caller::of_session(session.account));
        let done = hall
            .store
            .change(move |conn| Ok(monitors::edit(conn, &caller, id, &edit, now)))
            .await?;
        match told(done)? {
            Ok(()) => Ok(see(&format!("/monitor/{id}"))),
            Err(wrong) => Ok(editing(&session, &monitor, &draft, 0, Some(&wrong))),
        }
    };
    shown(answer.await)
}

pub(super) async fn delete_form(
    State(hall): State<Hall>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Response {
    let session = logged_in!(hall, headers);
    let answer = async {
        match find(&hall, &session, &id).await? {
            Ok(monitor) => deleting(&hall, &session, &monitor, None).await,
            Err(missing) => Ok(missing),
        }
    };
    shown(answer.await)
}

async fn deleting(hall: &Hall, session: &Session, monitor: &Monitor, wrong: Option<&str>) -> Page {
    let id = monitor.id;
    let held = monitors::count(&hall.store, id).await?;
    let path = format!("/monitor/{id}");
    let body = html! {
        p.crumbs { a href="/monitors" { "Monitors" } " / " a href=(path) { (monitor.name) } }
        section.notice data-still="" {
            h1 { "Delete " (monitor.name) "?" }
            @if let Some(wrong) = wrong { p.alarm role="alert" { (sentence(wrong)) } }
            (going(&held))
            @if monitor.host.is_some() {
                p { "If the agent goes on to send for it, a new monitor begins. To have it refused, suspend it instead." }
            }
            @if held.results != Some(0) {
                p { "Keep a copy first: "
                    a href={ (path) "/results?format=exact" } download { "all results as CSV" } " or "
                    a href={ (path) "/results?format=json" } download { "as JSON" } "."
                }
            }
            form.fields method="post" action={ (path) "/delete" } {
                (token(session))
                label { span { "To be sure, type its name: " b { (monitor.name) } } input type="text" name="name" required autocomplete="off" spellcheck="false"; }
                div.buttons { button.danger type="submit" { "Delete for good" } a.button href=(path) { "Keep it" } }
            }
        }
    };
    let title = format!("Delete {}", monitor.name);
    let status = if wrong.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    Ok(html_page(status, layout::page(&Frame::of(&title, "/monitors", session), &body)))
}

/// How much goes.
fn going(held: &Held) -> Markup {
    let count = |n: u64, one: &str, many: &str| counted(n as usize, one, many);
    html! {
        @if held.results == Some(0) { p { "It has no results." } }
        @else {
            p {
                @match held.results.zip(held.values) {
                    Some((results, values)) => { b { (count(results, "result", "results")) } " with " (count(values, "value", "values")) }
                    None => { b { "More results than can be counted here" } }
                }
                @if held.runs > 0 { ", " (count(held.runs, "run", "runs")) }
                @if held.rejections > 0 { ", " (count(held.rejections, "refused record", "refused records")) }
                @if held.additional > 0 { ", " (count(held.additional, "additional result", "additional results")) }
                " go with it. They do not come back."
            }
        }
    }
}

pub(super) async fn delete(
    State(hall): State<Hall>,
    headers: HeaderMap,
    Path(id): Path<String>,
    body: Bytes,
) -> Response {
    let (session, sent, monitor) = match posted(&hall, &headers, &id, &body).await {
        Ok(posted) => posted,
        Err(page) => return page,
    };
    let answer = async {
        if sent.text("name") != monitor.name.trim() {
            let wrong = "That is not its name; nothing was deleted.";
            return deleting(&hall, &session, &monitor, Some(wrong)).await;
        }
        let (id, now, caller) = (monitor.id, hall.clock.now(), Caller::of_session(session.account));
        let held = monitors::count(&hall.store, id).await?;
        let remove = move |writer: &mut Writer| writer.remove_monitor(&caller, id, held, now);
        let done = hall.store.write(remove).await?;
        match told(done)? {
            Ok(_) => Ok(see("/monitors")),
            Err(wrong) => deleting(&hall, &session, &monitor, Some(&wrong)).await,
        }
    };
    shown(answer.await)
}
