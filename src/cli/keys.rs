//! `talaia keys`: the keys of a hub.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::model::{PluginKey, Timestamp};

use super::args::KeysCommand;
use super::exit::{Exit, Failure};
use super::print;
use super::remote::{Remote, Reply, segment};
use super::report::clean;

/// More entries than anybody reads.
const MOST: usize = 1_000_000;

pub(crate) fn run(command: &KeysCommand) -> Result<Exit, Failure> {
    match command {
        KeysCommand::List { plugin: true, json, remote } => {
            let items = Remote::find(remote)?.items("/api/v1/plugin-keys?limit=1000", MOST)?;
            Ok(show(&items, *json, &["plugin", "key", "created", "revoked"]))
        }
        KeysCommand::List { plugin: false, json, remote } => {
            let items = Remote::find(remote)?.items("/api/v1/keys?limit=1000", MOST)?;
            let columns = ["name", "scopes", "hint", "state", "expires", "last_used", "local"];
            Ok(show(&items, *json, &columns))
        }
        KeysCommand::Create { plugin: Some(plugin), key, json, remote, .. } => {
            let key = key.as_deref().map(str::parse::<PluginKey>).transpose();
            let key = key.map_err(|error| Failure::from_error(Exit::Usage, &error))?;
            let body = json!({ "plugin": plugin, "key": key });
            let remote = Remote::find(remote)?;
            let reply = remote.send(Method::POST, "/api/v1/plugin-keys", Some(&body))?;
            print::talk(format!("plugin `{plugin}` is registered: put its key in its config"));
            give(&reply, "key", *json)
        }
        KeysCommand::Create { name, scopes, expires, json, remote, .. } => {
            let body = json!({ "name": name, "scopes": scopes, "expires": expires });
            let remote = Remote::find(remote)?;
            let reply = remote.send(Method::POST, "/api/v1/keys", Some(&body))?;
            print::talk("the key is shown this once: keep it where nobody else reads it");
            give(&reply, "key", *json)
        }
        KeysCommand::Rotate { secret_key: true, json, remote, .. } => {
            let remote = Remote::find(remote)?;
            let reply = remote.send(Method::POST, "/api/v1/secret-key/rotate", None)?;
            print::talk("the secret key is shown this once; the old one works no more");
            give(&reply, "secret_key", *json)
        }
        KeysCommand::Rotate { name, grace, expires, json, remote, .. } => {
            let name = name.as_deref().unwrap_or_default();
            let reply = rotate(&Remote::find(remote)?, name, *grace, *expires)?;
            print::talk(if grace.is_zero() {
                "the key is shown this once; the old one works no more".to_owned()
            } else {
                let grace = humantime::format_duration(*grace);
                format!("the key is shown this once; the old one works for another {grace}")
            });
            give(&reply, "key", *json)
        }
        KeysCommand::Revoke { plugin: Some(plugin), remote, .. } => {
            let remote = Remote::find(remote)?;
            let key = plugin_key(&remote, plugin)?;
            remote.send(Method::DELETE, &format!("/api/v1/plugin-keys/{}", segment(&key)), None)?;
            print::talk(format!("the key {key} is revoked"));
            Ok(Exit::Ok)
        }
        KeysCommand::Revoke { name, force, remote, .. } => {
            let name = name.as_deref().unwrap_or_default();
            let force = if *force { "?force=true" } else { "" };
            let path = format!("/api/v1/keys/{}{force}", segment(name));
            let remote = Remote::find(remote)?;
            remote.send(Method::DELETE, &path, None)?;
            print::talk(format!("the key `{name}` of {} is revoked", remote.url()));
            Ok(Exit::Ok)
        }
        KeysCommand::Audit { action, limit, json, remote } => {
            let mut path = format!("/api/v1/audit?limit={}", (*limit).clamp(1, 1000));
            if let Some(action) = action {
                path = format!("{path}&action={}", segment(action));
            }
            let items = Remote::find(remote)?.items(&path, *limit)?;
            Ok(show(&items, *json, &["at", "actor", "action", "subject", "detail"]))
        }
    }
}

fn rotate(
    remote: &Remote,
    name: &str,
    grace: Duration,
    expires: Option<Timestamp>,
) -> Result<Reply, Failure> {
    let body = json!({ "grace": grace.as_secs_f64(), "expires": expires });
    remote.send(Method::POST, &format!("/api/v1/keys/{}/rotate", segment(name)), Some(&body))
}

/// The key of a registered plugin that somebody named by its name or key.
fn plugin_key(remote: &Remote, named: &str) -> Result<String, Failure> {
    if let Ok(key) = named.parse::<PluginKey>() {
        return Ok(key.to_string());
    }
    let items = remote.items("/api/v1/plugin-keys?limit=1000", MOST)?;
    let found = items.iter().find(|item| item["plugin"] == *named && item["revoked"].is_null());
    found.and_then(|item| item["key"].as_str().map(str::to_owned)).ok_or_else(|| {
        let text = format!(
            "no plugin `{named}` is registered; `talaia keys list --plugin` shows those that are"
        );
        Failure::new(Exit::Finding, text)
    })
}

/// What was asked for goes to stdout, and nothing else, so that it can be written to a file.
fn give(reply: &Reply, member: &str, json: bool) -> Result<Exit, Failure> {
    let value: Value = reply.json()?;
    if let Some(warning) = value["warning"].as_str() {
        print::talk(format!("{} {}", print::paint(print::ODD, "warning:"), clean(warning)));
    }
    if value["local"] == true {
        print::talk("the hub's credentials.json has it already");
    }
    let line = if json {
        value.to_string()
    } else {
        value[member].as_str().map(clean).ok_or_else(|| {
            Failure::new(Exit::Internal, "the hub's answer has no key; is it another version?")
        })?
    };
    print::data(line).map_err(|error| Failure::new(Exit::Disk, format!("stdout: {error}")))?;
    Ok(Exit::Ok)
}

/// A table with these members as columns, or a line of JSON for each item.
fn show(items: &[Value], json: bool, columns: &[&str]) -> Exit {
    let lines = if json {
        items.iter().map(Value::to_string).collect()
    } else {
        let head = columns.iter().map(|column| column.replace('_', " ")).collect();
        let rows = items.iter().map(|item| columns.iter().map(|c| cell(&item[*c])).collect());
        print::table(head, rows.collect())
    };
    for line in lines {
        // A reader that went away has seen enough.
        if print::data(line).is_err() {
            break;
        }
    }
    Exit::Ok
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null | Value::Bool(false) => "-".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::String(text) => match Timestamp::parse(text) {
            // Milliseconds are of no use here.
            Ok(_) => format!("{}Z", text.get(..19).unwrap_or(text)),
            Err(_) => clean(text),
        },
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}
