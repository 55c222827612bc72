//! Making, changing, listing and removing monitors.

use std::borrow::Cow;

use rusqlite::Connection;

use crate::hub::monitors::{
    self, Distinct, Edit, Field, Monitor, MonitorError, MonitorFilter, NewMonitor, Role,
};
use crate::model::{MetricType, RUN_FACTS};

use super::answer::{Answer, Node, Refusal};
use super::auth::failed;
use super::mini::Dialect;
use super::{Call, mini};

/// Monitors in one list, and in one request to change some.
const LISTED: usize = 10_000;
const CHANGED: usize = 1000;

/// Whether monitors take results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Suspended {
    Yes,
    No,
}

pub(super) async fn add(call: Call<'_>) -> Result<Answer, Refusal> {
    let new = NewMonitor {
        name: call.dialect.plain(call.required("name")?).into_owned(),
        kind: call.form.get("type").map(|kind| call.dialect.plain(kind).into_owned()),
        tags: vec![call.dialect.plain(call.required("tag")?).into_owned()],
        multi_value: multi_value(&call).unwrap_or(false),
        metrics: mini::params(call.required("resultParams")?)?,
        additional: mini::params(call.form.get("additionalResultParams").unwrap_or_default())?,
        parameters: mini::monitor_params(call.form.get("monitorParams").unwrap_or_default())?,
        distinct: Distinct::ByTag,
    };
    let (caller, now) = (call.caller, call.now);
    let id = call
        .hall
        .store
        .write(move |writer| monitors::create(writer.conn(), &caller, &new, now))
        .await
        .map_err(failed)??;
    Ok(Answer::done(Node::Number(id)))
}

/// What is not sent stays as it is.
pub(super) async fn edit(call: Call<'_>) -> Result<Answer, Refusal> {
    let id = call.monitor()?;
    let plain = |name| call.form.get(name).map(|text| call.dialect.plain(text).into_owned());
    let params = |name: &str| call.form.get(name).map(mini::params).transpose();
    let mut edit = Edit {
        name: plain("name"),
        kind: plain("type"),
        tags: None,
        multi_value: multi_value(&call),
        metrics: params("resultParams")?,
        additional: params("additionalResultParams")?,
        parameters: call.form.get("monitorParams").map(mini::monitor_params).transpose()?,
        distinct: Distinct::ByTag,
    };
    let tag = plain("tag");
    let (caller, now) = (call.caller, call.now);
    call.hall
        .store
        .write(move |writer| {
            if let Some(tag) = tag {
                // The old service had one; further ones were given elsewhere.
                let found = monitors::must_find(writer.conn(), caller.account, id)?;
                let others = found.tags.into_iter().skip(1).filter(|other| *other != tag);
                edit.tags = Some(std::iter::once(tag.clone()).chain(others).collect());
            }
            monitors::edit(writer.conn(), &caller, id, &edit, now)
        })
        .await
        .map_err(failed)??;
    Ok(Answer::done(Node::Null))
}

/// None of a list where one of them is not there. Each goes by itself: where the disk fails in the
/// middle, the ones before are gone, and the answer is an error.
pub(super) async fn delete(call: Call<'_>) -> Result<Answer, Refusal> {
    let ids = ids(call.required("monitorId")?)?;
    let (caller, now) = (call.caller, call.now);
    let store = &call.hall.store;
    let (account, asked) = (caller.account, ids.clone());
    let all_there = move |conn: &Connection| {
        Ok(asked.iter().try_for_each(|id| monitors::must_find(conn, account, *id).map(drop)))
    };
    store.ask(all_there).await.map_err(failed)??;
    let mut counted = Vec::new();
    for id in ids {
        counted.push((id, monitors::count(store, id).await.map_err(failed)?));
    }
    store
        .write(move |writer| {
            for (id, held) in counted {
                writer.remove_monitor(&caller, id, held, now)?;
            }
            Ok::<_, MonitorError>(())
        })
        .await
        .map_err(failed)??;
    Ok(Answer::done(Node::Null))
}

/// Those of a list, or all with a tag; each by itself, as with [`delete`].
pub(super) async fn set_suspended(call: Call<'_>, wanted: Suspended) -> Result<Answer, Refusal> {
    let listed = call.form.get("monitorIds").or_else(|| call.form.get("monitorId"));
    let ids = listed.map(ids).transpose()?;
    let tag = call.form.get("tag").map(|tag| call.dialect.plain(tag).into_owned());
    if ids.is_none() && tag.is_none() {
        return Err(Refusal::bad("monitorIds or tag is required"));
    }
    let (caller, now) = (call.caller, call.now);
    call.hall
        .store
        .write(move |writer| {
            let ids = if let Some(ids) = ids {
                ids
            } else {
                let filter = MonitorFilter { tag, ..MonitorFilter::default() };
                let found = monitors::list(writer.conn(), caller.account, &filter)?;
                found.into_iter().map(|monitor| monitor.id).collect()
            };
            for id in &ids {
                monitors::must_find(writer.conn(), caller.account, *id)?;
            }
            for id in ids {
                match wanted {
                    Suspended::Yes => monitors::suspend(writer, &caller, id, now)?,
                    Suspended::No => monitors::activate(writer, &caller, id, now)?,
                };
            }
            Ok::<_, MonitorError>(())
        })
        .await
        .map_err(failed)??;
    Ok(Answer::done(Node::Null))
}

pub(super) async fn list(call: Call<'_>) -> Result<Answer, Refusal> {
    let filter = |plain: &dyn Fn(&str) -> String| {
        let given = |name| call.form.get(name).map(plain);
        MonitorFilter {
            tag: given("tag"),
            kind: given("type"),
            name: given("name"),
            limit: Some(LISTED),
            ..MonitorFilter::default()
        }
    };
    let as_sent = filter(&|text| call.dialect.plain(text).into_owned());
    // A client that encodes twice and does not say which it is looks for what it made.
    let unpacked = filter(&|text| Dialect::Twice.plain(text).into_owned());
    let account = call.caller.account;
    let found = call.hall.store.read(move |conn| {
        let found = monitors::list(conn, account, &as_sent)?;
        if found.is_empty() { monitors::list(conn, account, &unpacked) } else { Ok(found) }
    });
    let found = found.await.map_err(failed)?;
    let items = found.iter().map(|monitor| Node::Object(head(monitor))).collect();
    Ok(Answer::of("monitors", Node::List("monitor", items)))
}

pub(super) async fn info(call: Call<'_>) -> Result<Answer, Refusal> {
    let id = call.monitor()?;
    let all = !call.form.get("excludeHidden").is_some_and(|word| word.eq_ignore_ascii_case("true"));
    let account = call.caller.account;
    let (monitor, results, additional, parameters) = call
        .hall
        .store
        .read(move |conn| {
            let monitor = match monitors::must_find(conn, account, id) {
                Ok(monitor) => monitor,
                Err(error) => return Ok(Err(error)),
            };
            let fields = |role| monitors::fields(conn, monitor.id, role);
            let mut results = fields(Role::Result)?;
            if results.is_empty() {
                results = seen(conn, monitor.id)?;
            }
            let rest = (fields(Role::Additional)?, fields(Role::Parameter)?);
            Ok(Ok((monitor, results, rest.0, rest.1)))
        })
        .await
        .map_err(failed)??;
    let mut members = head(&monitor);
    let declared = |fields: &[Field]| Node::List("param", fields.iter().map(described).collect());
    members.push(("resultParams".into(), declared(&results)));
    members.push(("additionalResultParams".into(), declared(&additional)));
    let shown = parameters.iter().filter(|field| all || !field.hidden).map(parameter).collect();
    members.push(("monitorParams".into(), Node::List("param", shown)));
    members.push(("multiValue".into(), Node::text(monitor.multi_value.to_string())));
    Ok(Answer::of("monitor", Node::Object(members)))
}

type Members = Vec<(Cow<'static, str>, Node)>;

/// An id is a text: clients join it to others.
fn head(monitor: &Monitor) -> Members {
    vec![
        ("id".into(), Node::text(monitor.id.to_string())),
        ("name".into(), Node::text(&*monitor.name)),
        ("tag".into(), Node::text(monitor.tag())),
        ("type".into(), Node::text(&*monitor.kind)),
    ]
}

fn described(field: &Field) -> Node {
    let text = |text: &Option<String>| Node::text(text.as_deref().unwrap_or_default());
    Node::Object(vec![
        ("id".into(), Node::Number(field.id)),
        ("name".into(), Node::text(&*field.name)),
        ("displayName".into(), Node::text(field.label.as_deref().unwrap_or(&field.name))),
        ("uom".into(), text(&field.unit)),
        ("dataType".into(), Node::text(mini::type_number(field.kind))),
    ])
}

fn parameter(field: &Field) -> Node {
    let text = |text: &Option<String>| Node::text(text.as_deref().unwrap_or_default());
    Node::Object(vec![
        ("id".into(), Node::Number(field.id)),
        ("name".into(), Node::text(&*field.name)),
        ("displayName".into(), text(&field.label)),
        ("value".into(), text(&field.value)),
        ("dataType".into(), Node::text(mini::type_number(field.kind))),
        ("isHidden".into(), Node::text(field.hidden.to_string())),
    ])
}

/// What a monitor that declares nothing has had, such as an agent's plugin.
fn seen(conn: &Connection, monitor: i64) -> rusqlite::Result<Vec<Field>> {
    let mut statement = conn.prepare_cached(
        "SELECT min(id), name, kind, unit, label FROM series
         WHERE monitor_id = ?1 AND name NOT GLOB ?2 GROUP BY name ORDER BY min(id) LIMIT 1000",
    )?;
    let rows = statement.query_map((monitor, format!("{RUN_FACTS}*")), |row| {
        let kind: String = row.get(2)?;
        Ok(Field {
            id: row.get(0)?,
            name: row.get(1)?,
            label: row.get(4)?,
            unit: row.get(3)?,
            kind: kind.parse().unwrap_or(MetricType::String),
            values: Vec::new(),
            aggregation: None,
            hidden: false,
            value: None,
        })
    })?;
    rows.collect()
}

/// Two words for it are in use.
fn multi_value(call: &Call<'_>) -> Option<bool> {
    let word = call.form.get("multiValue").or_else(|| call.form.get("isMultiValue"))?;
    Some(word.eq_ignore_ascii_case("true") || word == "1")
}

fn ids(text: &str) -> Result<Vec<i64>, Refusal> {
    let ids: Result<Vec<i64>, _> =
        text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::parse).collect();
    let mut ids = ids.map_err(|_| Refusal::bad("monitor ids are numbers with commas between"))?;
    ids.sort_unstable();
    ids.dedup();
    if ids.is_empty() || ids.len() > CHANGED {
        return Err(Refusal::bad(format!("send 1 to {CHANGED} monitor ids")));
    }
    Ok(ids)
}
