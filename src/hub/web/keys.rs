//! Keys of programs and of plugins: which there are, making them, and ending them.
//!
//! A key is on the page that made it, and on no other.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::get;
use maud::{Markup, html};

use crate::hub::hall::{Caller, Hall};
use crate::hub::keys::{
    self, AfterKey, KeyError, KeyRow, KeyState, LastAdmin, NewKey, Rotation, Scope, Scopes,
};
use crate::hub::listing::Listing;
use crate::hub::local::Followed;
use crate::hub::parameters::pairs;
use crate::hub::plugin_keys::{self, PluginKeyRow};
use crate::hub::session::Session;
use crate::model::{PluginKey, PluginName};

use super::format::{query, sentence, time, when};
use super::layout::{self, Frame};
use super::page::{Page, Sent, framed, html_page, logged_in, see, shown, token};
use super::range::moment;

/// For how long an old key may go on working beside the new one, in hours.
const GRACES: [(&str, &str); 4] =
    [("0", "at once"), ("1", "in an hour"), ("24", "in a day"), ("168", "in a week")];
/// Keys on one page.
const ROWS: usize = 200;
const HOUR_MS: i64 = 3_600_000;

pub(super) fn routes() -> Router<Hall> {
    Router::new().route("/keys", get(show).post(act))
}

/// What was typed into the form for a new key, to show it again where it cannot be.
#[derive(Debug, Clone, Default)]
struct Draft {
    name: String,
    scopes: Scopes,
    expires: String,
    plugin: String,
}

/// What a form came to.
enum Done {
    /// A secret that is shown once, and what of.
    Made { title: String, what: String, secret: String, warning: Option<String> },
    /// Nothing to show but the list as it is now.
    Listed,
    /// Why not.
    Refused(String, Box<Draft>),
}

async fn show(State(hall): State<Hall>, headers: HeaderMap, RawQuery(query): RawQuery) -> Response {
    let session = logged_in!(hall, headers);
    let page = async {
        let mut at = At::default();
        for (name, value) in pairs(query.as_deref().unwrap_or_default())? {
            match name.as_str() {
                "after" => at.keys = value.parse().ok(),
                "plugins_after" => at.plugins = value.parse().ok(),
                _ => {}
            }
        }
        let draft = Draft { scopes: usual(), ..Draft::default() };
        list(&hall, &session, None, &draft, at).await
    };
    shown(page.await)
}

/// From where on the lists are shown.
#[derive(Debug, Default)]
struct At {
    keys: Option<AfterKey<i64>>,
    plugins: Option<AfterKey<PluginKey>>,
}

/// What a new key is mostly for.
fn usual() -> Scopes {
    Scopes::default().with(Scope::Ingest)
}

async fn list(hall: &Hall, session: &Session, wrong: Option<&str>, draft: &Draft, at: At) -> Page {
    let (now, account, local) = (hall.clock.now(), session.account, hall.local.clone());
    let (rows, local, plugins) = hall
        .store
        .read(move |conn| {
            Ok((
                keys::list(conn, account, at.keys.as_ref(), ROWS + 1, now)?,
                local.key_name(conn, account)?,
                plugin_keys::list(conn, account, at.plugins.as_ref(), ROWS + 1)?,
            ))
        })
        .await?;
    let rows = Listing::of(rows, ROWS, KeyRow::place);
    let plugins = Listing::of(plugins, ROWS, PluginKeyRow::place);
    let (live, gone): (Vec<KeyRow>, Vec<KeyRow>) =
        rows.items.into_iter().partition(|row| row.revoked_ms.is_none());
    let body = html! {
        h1 { "Keys" }
        @if let Some(wrong) = wrong { p.alarm role="alert" { (sentence(wrong)) } }
        p.facts.faint { "A program shows a key to this hub; a person logs in with a link. Only a hash of each is kept." }
        section.card #live-keys aria-labelledby="keys" {
            h2 #keys { "Keys of programs" }
            (table(&live, local.as_deref(), session, now))
            @if !gone.is_empty() {
                details #gone-keys {
                    summary { (gone.len()) " revoked or replaced in the last 90 days" }
                    (table(&gone, None, session, now))
                }
            }
            (more("after", rows.next.as_deref()))
        }
        (create(session, draft))
        (of_plugins(&plugins, session, draft, now))
    };
    let frame = Frame::of("Keys", "/keys", session);
    if wrong.is_some() {
        return Ok(html_page(StatusCode::UNPROCESSABLE_ENTITY, layout::page(&frame, &body)));
    }
    Ok(framed(&frame, &body))
}

/// The way to the rest of a list.
fn more(name: &str, next: Option<&str>) -> Markup {
    html! {
        @if let Some(next) = next {
            nav.pages aria-label="Pages of the list" { a rel="next" href={ "/keys" (query(&[(name, next)])) } { "More →" } }
        }
    }
}

fn table(rows: &[KeyRow], local: Option<&str>, session: &Session, now: i64) -> Markup {
    html! {
        table.list {
            thead { tr {
                th scope="col" { "Name" } th scope="col" { "May" } th scope="col" { "Ends in" }
                th.num scope="col" { "Last used" } th.num scope="col" { "Made" } th.num scope="col" { "Expires" }
                th scope="col" { span.hidden { "What to do" } }
            } }
            tbody {
                @for row in rows {
                    @let alive = row.revoked_ms.is_none();
                    tr {
                        th scope="row" {
                            (row.name)
                            @if local == Some(&row.name) { " " span.tag title="the agent and commands on this machine use it" { "this machine" } }
                            @if row.state != KeyState::Active { " " span.badge.silent { (row.state.as_str()) } }
                        }
                        td { @for scope in row.scopes.iter() { span.tag { (scope.as_str()) } } }
                        td { code { (row.hint) } }
                        td.num { @match row.last_used_ms { Some(ms) => (time(ms, now)), None => span.faint { "never" } } }
                        td.num { (time(row.created_ms, now)) }
                        td.num { @match row.expires_ms { Some(ms) => (when(ms)), None => span.faint { "never" } } }
                        td.act { @if alive { (actions(row, local == Some(&row.name), session)) } }
                    }
                }
            }
        }
    }
}

fn actions(row: &KeyRow, local: bool, session: &Session) -> Markup {
    html! {
        details.menu id={ "rotate-" (row.name) } {
            summary { "Rotate" span.hidden { " " (row.name) } }
            form method="post" action="/keys" {
                (token(session)) input type="hidden" name="do" value="rotate"; input type="hidden" name="name" value=(row.name);
                p { "A new key takes the name " b { (row.name) } "." @if local { " The agent on this machine gets it by itself." } }
                label { "The old one ends" select name="grace" { @for (hours, text) in GRACES { option value=(hours) { (text) } } } }
                button type="submit" { "Rotate" }
            }
        }
        details.menu id={ "revoke-" (row.name) } {
            summary { "Revoke" span.hidden { " " (row.name) } }
            form method="post" action="/keys" {
                (token(session)) input type="hidden" name="do" value="revoke"; input type="hidden" name="name" value=(row.name);
                p { "Whoever sends with it is refused from then on. " @if local { "The agent and commands on this machine use it." } }
                @if row.scopes.has(Scope::Admin) {
                    label.box { input type="checkbox" name="force" value="yes"; "even if no other key may manage keys" }
                }
                button.danger type="submit" { "Revoke " (row.name) }
            }
        }
    }
}

fn create(session: &Session, draft: &Draft) -> Markup {
    let means = |scope| match scope {
        Scope::Ingest => "send reports",
        Scope::Read => "read everything",
        Scope::Review => "review packages",
        Scope::Admin => "change monitors and keys",
        Scope::Publish => "hand in packages",
    };
    html! {
        section.card aria-labelledby="new" {
            h2 #new { "New key" }
            form.fields method="post" action="/keys" {
                (token(session)) input type="hidden" name="do" value="create";
                label { "Name" input type="text" name="name" value=(draft.name) required maxlength="64" pattern="[A-Za-z0-9][A-Za-z0-9._\\-]*" title="letters, digits, `.`, `_` and `-`, beginning with a letter or digit" placeholder="web-1" autocomplete="off" spellcheck="false"; }
                fieldset {
                    legend { "May" }
                    @for scope in Scope::ALL {
                        label.box { input type="checkbox" name="scope" value=(scope.as_str()) checked[draft.scopes.has(scope)]; b { (scope.as_str()) } " " span.faint { (means(scope)) } }
                    }
                }
                label { span { "Expires " span.faint { "empty for never" } } input type="date" name="expires" value=(draft.expires); }
                button.main type="submit" { "Create key" }
            }
        }
    }
}

fn of_plugins(rows: &Listing<PluginKeyRow>, session: &Session, draft: &Draft, now: i64) -> Markup {
    html! {
        section.card #plugin-keys aria-labelledby="plugins" {
            h2 #plugins { "Keys of plugins" }
            p.faint { "A plugin that is registered has a key, under which its reports come from all hosts. Once it is revoked they are refused." }
            @if !rows.items.is_empty() {
                table.list {
                    thead { tr { th scope="col" { "Plugin" } th scope="col" { "Key" } th.num scope="col" { "Made" } th scope="col" { "State" } th scope="col" { span.hidden { "What to do" } } } }
                    tbody {
                        @for row in &rows.items {
                            tr {
                                th scope="row" { (row.plugin) }
                                td { code { (row.key) } }
                                td.num { (time(row.created_ms, now)) }
                                td { @match row.revoked_ms { Some(ms) => { span.badge.silent { "revoked" } " " (time(ms, now)) }, None => span.badge.ok { "active" } } }
                                td.act {
                                    @if row.revoked_ms.is_none() {
                                        details.menu id={ "revoke-" (row.key) } {
                                            summary { "Revoke" span.hidden { " the key of " (row.plugin) } }
                                            form method="post" action="/keys" {
                                                (token(session)) input type="hidden" name="do" value="revoke-plugin"; input type="hidden" name="key" value=(row.key);
                                                p { "Reports with it are refused from then on, on all hosts." }
                                                button.danger type="submit" { "Revoke" }
                                            }
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
            (more("plugins_after", rows.next.as_deref()))
            form.fields.row method="post" action="/keys" {
                (token(session)) input type="hidden" name="do" value="register";
                label { "Plugin" input type="text" name="plugin" value=(draft.plugin) required maxlength="128" pattern="[A-Za-z_][A-Za-z0-9_]*" title="letters, digits and `_`, not beginning with a digit" placeholder="disk" autocomplete="off" spellcheck="false"; }
                button type="submit" { "Register" }
            }
        }
    }
}

async fn act(State(hall): State<Hall>, headers: HeaderMap, body: Bytes) -> Response {
    let session = logged_in!(hall, headers);
    let sent = match Sent::read(&session, &body) {
        Ok(sent) => sent,
        Err(refused) => return refused,
    };
    let page = async {
        match taken(&hall, &session, &sent).await? {
            Done::Listed => Ok(see("/keys")),
            Done::Refused(why, draft) => {
                list(&hall, &session, Some(&why), &draft, At::default()).await
            }
            Done::Made { title, what, secret, warning } => {
                let body = once(&title, &what, &secret, warning.as_deref());
                Ok(framed(&Frame::of(&title, "/keys", &session), &body))
            }
        }
    };
    shown(page.await)
}

async fn taken(
    hall: &Hall,
    session: &Session,
    sent: &Sent,
) -> Result<Done, crate::hub::problem::Problem> {
    let (now, caller) = (hall.clock.now(), Caller::of_session(session.account));
    let name = sent.text("name").to_owned();
    let refused = |error: KeyError, draft: Draft| match error {
        // What the store says is not about the form.
        KeyError::Sqlite(_) => Err(error.into()),
        said => Ok(Done::Refused(said.to_string(), Box::new(draft))),
    };
    let usual = Draft { scopes: usual(), ..Draft::default() };
    match sent.text("do") {
        "create" => {
            let scopes: Scopes = sent.all("scope").filter_map(|s| s.parse().ok()).collect();
            let expires = sent.text("expires").to_owned();
            let draft = Draft { name: name.clone(), scopes, expires, plugin: String::new() };
            let expires_ms = match sent.given("expires").map(moment) {
                Some(None) => {
                    let why = "the day on which it expires cannot be read".to_owned();
                    return Ok(Done::Refused(why, Box::new(draft)));
                }
                known => known.flatten(),
            };
            let new = NewKey { name: name.clone(), scopes, expires_ms };
            let made =
                hall.store.change(move |conn| Ok(keys::create(conn, &caller, &new, now))).await?;
            match made {
                Ok(secret) => Ok(Done::Made {
                    title: format!("The key {name}"),
                    what: format!("may {scopes}"),
                    secret: secret.expose().to_owned(),
                    warning: None,
                }),
                Err(error) => refused(error, draft),
            }
        }
        "rotate" => {
            let hours: i64 = sent.text("grace").parse().unwrap_or(0);
            let grace_ms = hours.clamp(0, 30 * 24) * HOUR_MS;
            let rotation = Rotation { name: name.clone(), grace_ms, expires_ms: None };
            let local = hall.local.clone();
            let made = hall
                .store
                .change(move |conn| Ok(local.rotate(conn, &caller, &rotation, now)))
                .await?;
            match made {
                Ok((rotated, followed)) => Ok(Done::Made {
                    title: format!("The new key {name}"),
                    what: match (&followed, grace_ms) {
                        (Followed::Written, _) => {
                            "takes the place of the old one; the agent on this machine has it already"
                        }
                        (_, 0) => "takes the place of the old one, which works no longer",
                        _ => "takes the place of the old one, which goes on working for a while",
                    }
                    .to_owned(),
                    secret: rotated.key.expose().to_owned(),
                    warning: match followed {
                        Followed::NotWritten(why) => Some(format!(
                            "The hub's credentials.json still has the old one ({why}): write the new one there, or local commands are refused."
                        )),
                        _ => None,
                    },
                }),
                Err(error) => refused(error, usual),
            }
        }
        "revoke" => {
            let last = if sent.ticked("force") { LastAdmin::Revoke } else { LastAdmin::Keep };
            let done = hall
                .store
                .change(move |conn| Ok(keys::revoke(conn, &caller, &name, last, now)))
                .await?;
            done.map_or_else(|error| refused(error, usual), |()| Ok(Done::Listed))
        }
        "register" => {
            let draft = Draft { plugin: sent.text("plugin").to_owned(), ..usual };
            let plugin: PluginName = match sent.text("plugin").parse() {
                Ok(plugin) => plugin,
                Err(error) => return Ok(Done::Refused(format!("{error}"), Box::new(draft))),
            };
            let title = format!("The key of the plugin {plugin}");
            let made = hall
                .store
                .change(move |conn| Ok(plugin_keys::register(conn, &caller, &plugin, None, now)))
                .await?;
            match made {
                Ok(key) => Ok(Done::Made {
                    title,
                    what: "goes into the agent's configuration, as `key` of the plugin".to_owned(),
                    secret: key.to_string(),
                    warning: None,
                }),
                Err(error) => Ok(Done::Refused(error.to_string(), Box::new(draft))),
            }
        }
        "revoke-plugin" => {
            let key: PluginKey = match sent.text("key").parse() {
                Ok(key) => key,
                Err(error) => return Ok(Done::Refused(format!("{error}"), Box::new(usual))),
            };
            let done = hall
                .store
                .change(move |conn| Ok(plugin_keys::revoke(conn, &caller, key, now)))
                .await?;
            match done {
                Ok(_) => Ok(Done::Listed),
                Err(error) => Ok(Done::Refused(error.to_string(), Box::new(usual))),
            }
        }
        _ => Ok(Done::Refused("the form does not say what to do".to_owned(), Box::new(usual))),
    }
}

/// A secret, this once.
fn once(title: &str, what: &str, secret: &str, warning: Option<&str>) -> Markup {
    html! {
        p.crumbs { a href="/keys" { "Keys" } }
        section.notice data-still="" {
            h1 { (title) }
            p { "It " (what) "." }
            @if let Some(warning) = warning { p.alarm role="alert" { (warning) } }
            p.secret { code #secret { (secret) } }
            p { b { "Copy it now." } " It is not shown again: the hub keeps only its hash." }
            p { a href="/keys" { "Done" } }
        }
    }
}
