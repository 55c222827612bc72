//! Finding monitors.

use rusqlite::types::Value as Sql;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};
use serde::{Serialize, Serializer};

use crate::model::Timestamp;

use super::MonitorError;

/// Who sends a monitor's results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Sender {
    /// An agent, from a plugin.
    Agent,
    /// A program or person, through the API or one of the old clients' interfaces.
    Direct,
}

/// A monitor.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Monitor {
    pub(crate) id: i64,
    /// The name it was given, else `plugin@host`.
    pub(crate) name: String,
    /// A word of its makers'; `custom` unless they said another.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// The first of them is what old clients call the tag.
    pub(crate) tags: Vec<String>,
    #[serde(rename = "from")]
    pub(crate) sender: Sender,
    pub(crate) host: Option<String>,
    pub(crate) plugin: Option<String>,
    /// Whether a metric may have several values at one check time.
    pub(crate) multi_value: bool,
    /// Milliseconds since 1970 when it was suspended, where it is.
    #[serde(rename = "suspended", serialize_with = "time_or_none")]
    pub(crate) suspended_ms: Option<i64>,
    #[serde(rename = "created", serialize_with = "time")]
    pub(crate) created_ms: i64,
    /// When the hub last heard of it; at first when it was made.
    #[serde(rename = "received", serialize_with = "time")]
    pub(crate) received_ms: i64,
    /// How many reports (of an agent) or results (of a direct sender) the hub took, ever.
    pub(crate) reports: i64,
    /// How many values it took, ever.
    pub(crate) metrics: i64,
}

impl Monitor {
    /// The first tag; empty where it has none.
    pub(crate) fn tag(&self) -> &str {
        self.tags.first().map_or("", String::as_str)
    }
}

/// Which monitors. What is none filters nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct MonitorFilter {
    /// One of its tags.
    pub(crate) tag: Option<String>,
    pub(crate) kind: Option<String>,
    /// Its whole name.
    pub(crate) name: Option<String>,
    /// A part of its name, host, plugin or a tag, in upper or lower case.
    pub(crate) search: Option<String>,
    pub(crate) sender: Option<Sender>,
    pub(crate) host: Option<String>,
    pub(crate) plugin: Option<String>,
    pub(crate) suspended: Option<bool>,
    /// Only those that the hub has not heard of since, in milliseconds since 1970.
    pub(crate) unused_since: Option<i64>,
    /// The id after which to go on.
    pub(crate) after: Option<i64>,
    /// At most so many; none for all.
    pub(crate) limit: Option<usize>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
pub(super) fn time<S: Serializer>(ms: &i64, s: S) -> Result<S::Ok, S::Error> {
    match Timestamp::from_millis(*ms) {
        Some(time) => time.serialize(s),
        None => s.serialize_none(),
    }
}

#[expect(clippy::ref_option, reason = "serde calls it so")]
fn time_or_none<S: Serializer>(ms: &Option<i64>, s: S) -> Result<S::Ok, S::Error> {
    match ms {
        Some(ms) => time(ms, s),
        None => s.serialize_none(),
    }
}

const COLUMNS: &str = "m.id, coalesce(m.name, m.plugin || '@' || m.host, ''), m.type, m.tags, \
    m.host, m.plugin, m.multi_value, m.suspended_ms, m.created_ms, m.received_ms, m.reports, \
    m.metrics";

/// Its tags as a JSON array.
const TAGS: &str = "coalesce(m.tags, json_array(m.plugin))";

fn read(row: &Row<'_>) -> rusqlite::Result<Monitor> {
    let tags: Option<String> = row.get(3)?;
    let plugin: Option<String> = row.get(5)?;
    let tags = tags
        .and_then(|json| serde_json::from_str(&json).ok())
        .unwrap_or_else(|| plugin.iter().cloned().collect());
    Ok(Monitor {
        id: row.get(0)?,
        name: row.get(1)?,
        kind: row.get(2)?,
        tags,
        sender: if plugin.is_some() { Sender::Agent } else { Sender::Direct },
        host: row.get(4)?,
        plugin,
        multi_value: row.get(6)?,
        suspended_ms: row.get(7)?,
        created_ms: row.get(8)?,
        received_ms: row.get(9)?,
        reports: row.get(10)?,
        metrics: row.get(11)?,
    })
}

/// The monitors that `filter` lets through, in the order of their ids.
pub(crate) fn list(
    conn: &Connection,
    account: i64,
    filter: &MonitorFilter,
) -> rusqlite::Result<Vec<Monitor>> {
    let mut conditions = String::new();
    let mut values = vec![Sql::Integer(account), Sql::Integer(filter.after.unwrap_or(0))];
    let mut add = |condition: &str, value: Sql| {
        values.push(value);
        conditions.push_str(" AND ");
        conditions.push_str(&condition.replace("?n", &format!("?{}", values.len())));
    };
    let text = |text: &String| Sql::Text(text.clone());
    if let Some(tag) = &filter.tag {
        add(&format!("EXISTS (SELECT 1 FROM json_each({TAGS}) WHERE value = ?n)"), text(tag));
    }
    if let Some(kind) = &filter.kind {
        add("m.type = ?n", text(kind));
    }
    if let Some(name) = &filter.name {
        add("coalesce(m.name, m.plugin || '@' || m.host) = ?n", text(name));
    }
    if let Some(part) = &filter.search {
        add(
            &format!(
                "(instr(lower(coalesce(m.name, '')), lower(?n)) > 0
                 OR instr(lower(coalesce(m.plugin || '@' || m.host, '')), lower(?n)) > 0
                 OR EXISTS (SELECT 1 FROM json_each({TAGS}) WHERE instr(lower(value), lower(?n)) > 0))"
            ),
            text(part),
        );
    }
    if let Some(sender) = filter.sender {
        add("(m.plugin IS NOT NULL) = ?n", Sql::Integer(i64::from(sender == Sender::Agent)));
    }
    if let Some(host) = &filter.host {
        add("m.host = ?n", text(host));
    }
    if let Some(plugin) = &filter.plugin {
        add("m.plugin = ?n", text(plugin));
    }
    if let Some(suspended) = filter.suspended {
        add("(m.suspended_ms IS NOT NULL) = ?n", Sql::Integer(i64::from(suspended)));
    }
    if let Some(since) = filter.unused_since {
        add("m.received_ms < ?n", Sql::Integer(since));
    }
    let limit = filter.limit.map_or(-1, |limit| i64::try_from(limit).unwrap_or(i64::MAX));
    values.push(Sql::Integer(limit));
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM monitors m WHERE m.account_id = ?1 AND m.id > ?2{conditions}
         ORDER BY m.id LIMIT ?{}",
        values.len()
    ))?;
    let rows = statement.query_map(params_from_iter(values), read)?;
    rows.collect()
}

/// The monitor with this id, else with this name, else the plugin called `plugin@host`.
pub(crate) fn find(conn: &Connection, account: i64, asked: &str) -> Result<Monitor, MonitorError> {
    if let Ok(id) = asked.parse::<i64>()
        && let Some(found) = by_id(conn, account, id)?
    {
        return Ok(found);
    }
    for condition in ["m.name = ?2", "m.name IS NULL AND m.plugin || '@' || m.host = ?2"] {
        let mut statement = conn.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM monitors m WHERE m.account_id = ?1 AND {condition} ORDER BY m.id"
        ))?;
        let mut found: Vec<Monitor> =
            statement.query_map(params![account, asked], read)?.collect::<rusqlite::Result<_>>()?;
        match found.len() {
            0 => {}
            1 => return Ok(found.swap_remove(0)),
            _ => {
                let ids = found.iter().map(|m| m.id).collect();
                return Err(MonitorError::Ambiguous { asked: super::field::shown(asked), ids });
            }
        }
    }
    Err(MonitorError::Unknown { asked: super::field::shown(asked) })
}

/// The monitor with this id, if the account has it.
pub(super) fn by_id(conn: &Connection, account: i64, id: i64) -> rusqlite::Result<Option<Monitor>> {
    conn.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM monitors m WHERE m.account_id = ?1 AND m.id = ?2"
    ))?
    .query_row(params![account, id], read)
    .optional()
}

/// The monitor with this id, which the account must have; its name does not count.
pub(crate) fn must_find(conn: &Connection, account: i64, id: i64) -> Result<Monitor, MonitorError> {
    by_id(conn, account, id)?.ok_or_else(|| MonitorError::Unknown { asked: id.to_string() })
}
