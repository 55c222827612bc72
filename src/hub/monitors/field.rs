//! What a monitor declares: its results' fields, what additional results have, and parameters.

use std::str::FromStr;

use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};

use crate::model::{MetricType, Value, is_name, limits, nearest_name};

use super::MonitorError;

/// Most fields of one role.
const FIELDS: usize = 1000;
/// Most values that a field may be limited to.
const FIXED: usize = 1000;

/// What a field describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// A value of every result.
    Result,
    /// A member of additional results.
    Additional,
    /// A setting of whoever sends the results; the hub only keeps it.
    Parameter,
}

impl Role {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Result => "result",
            Self::Additional => "additional",
            Self::Parameter => "parameter",
        }
    }
}

/// How a report makes one value of many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Aggregation {
    Avg,
    Sum,
    Min,
    Max,
    Last,
}

impl Aggregation {
    pub(crate) const ALL: [Self; 5] = [Self::Avg, Self::Sum, Self::Min, Self::Max, Self::Last];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Avg => "avg",
            Self::Sum => "sum",
            Self::Min => "min",
            Self::Max => "max",
            Self::Last => "last",
        }
    }
}

impl FromStr for Aggregation {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|a| a.as_str() == word).ok_or(())
    }
}

/// A field as someone declares it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewField {
    pub(crate) name: String,
    /// A readable name.
    #[serde(default)]
    pub(crate) label: Option<String>,
    #[serde(default)]
    pub(crate) unit: Option<String>,
    #[serde(rename = "type")]
    pub(crate) kind: MetricType,
    /// The only values that it may have; empty for any.
    #[serde(default)]
    pub(crate) values: Vec<Value>,
    #[serde(default)]
    pub(crate) aggregation: Option<Aggregation>,
    /// A parameter that lists leave out.
    #[serde(default)]
    pub(crate) hidden: bool,
    /// A parameter's value.
    #[serde(default)]
    pub(crate) value: Option<String>,
}

impl NewField {
    /// A field of this type, and no more said of it.
    pub(crate) fn new(name: impl Into<String>, kind: MetricType) -> Self {
        Self {
            name: name.into(),
            label: None,
            unit: None,
            kind,
            values: Vec::new(),
            aggregation: None,
            hidden: false,
            value: None,
        }
    }
}

/// A declared field.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Field {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) label: Option<String>,
    pub(crate) unit: Option<String>,
    #[serde(rename = "type")]
    pub(crate) kind: MetricType,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) values: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) aggregation: Option<Aggregation>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) hidden: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<String>,
}

/// The fields that a monitor declares in one role, in the order in which they were declared.
pub(crate) fn fields(conn: &Connection, monitor: i64, role: Role) -> rusqlite::Result<Vec<Field>> {
    let mut statement = conn.prepare_cached(
        "SELECT id, name, label, unit, kind, fixed, aggregation, hidden, value FROM fields
         WHERE monitor_id = ?1 AND role = ?2 ORDER BY position, id",
    )?;
    let rows = statement.query_map(params![monitor, role.as_str()], |row| {
        let kind: String = row.get(4)?;
        let fixed: Option<String> = row.get(5)?;
        let aggregation: Option<String> = row.get(6)?;
        Ok(Field {
            id: row.get(0)?,
            name: row.get(1)?,
            label: row.get(2)?,
            unit: row.get(3)?,
            kind: kind.parse().unwrap_or(MetricType::String),
            values: fixed.and_then(|json| serde_json::from_str(&json).ok()).unwrap_or_default(),
            aggregation: aggregation.and_then(|word| word.parse().ok()),
            hidden: row.get(7)?,
            value: row.get(8)?,
        })
    })?;
    rows.collect()
}

/// Makes these the fields of the role. A field that stays keeps its id.
pub(super) fn replace(
    conn: &Connection,
    monitor: i64,
    role: Role,
    fields: &[NewField],
) -> rusqlite::Result<()> {
    let names: Vec<&str> = fields.iter().map(|f| f.name.as_str()).collect();
    conn.prepare_cached(
        "DELETE FROM fields WHERE monitor_id = ?1 AND role = ?2
         AND name NOT IN (SELECT value FROM json_each(?3))",
    )?
    .execute(params![monitor, role.as_str(), crate::hub::store::json(&names)])?;
    let mut insert = conn.prepare_cached(
        "INSERT INTO fields (monitor_id, role, position, name, label, unit, kind, fixed,
         aggregation, hidden, value) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
         ON CONFLICT DO UPDATE SET position = ?3, label = ?5, unit = ?6, kind = ?7, fixed = ?8,
         aggregation = ?9, hidden = ?10, value = ?11",
    )?;
    for (position, field) in fields.iter().enumerate() {
        insert.execute(params![
            monitor,
            role.as_str(),
            position as i64,
            field.name,
            said(field.label.as_ref()),
            said(field.unit.as_ref()),
            field.kind.as_str(),
            (!field.values.is_empty()).then(|| crate::hub::store::json(&field.values)),
            field.aggregation.map(Aggregation::as_str),
            field.hidden,
            field.value,
        ])?;
    }
    Ok(())
}

/// An empty text says nothing.
fn said(text: Option<&String>) -> Option<&str> {
    text.map(String::as_str).filter(|text| !text.is_empty())
}

/// Whether fields can be like this; `member` is where they stand in the definition.
pub(super) fn check(member: &str, fields: &[NewField]) -> Result<(), MonitorError> {
    if fields.len() > FIELDS {
        return Err(MonitorError::invalid(
            format!("/{member}"),
            format!("a monitor has at most {FIELDS} fields; these are {}", fields.len()),
        ));
    }
    for (at, field) in fields.iter().enumerate() {
        let wrong = |key: &str, problem: String| {
            Err(MonitorError::invalid(format!("/{member}/{at}/{key}"), problem))
        };
        let name = &field.name;
        if !is_name(name) || name.len() > limits::NAME {
            let mut nearest = nearest_name(name);
            nearest.truncate(limits::NAME);
            return wrong(
                "name",
                format!(
                    "`{}` is not a metric name: use letters, digits and `_`, not starting with a digit, at most 128 bytes; for example `{nearest}`",
                    shown(name)
                ),
            );
        }
        if fields[..at].iter().any(|before| before.name == *name) {
            return wrong("name", format!("`{name}` is declared twice; leave one out"));
        }
        for (key, text) in [("label", &field.label), ("unit", &field.unit)] {
            if text.as_ref().is_some_and(|text| text.len() > limits::LABEL) {
                return wrong(key, format!("`{name}`: at most 256 bytes; shorten the {key}"));
            }
        }
        if field.value.as_ref().is_some_and(|text| text.len() > limits::TEXT) {
            return wrong("value", format!("`{name}`: at most 4096 bytes"));
        }
        if field.values.len() > FIXED {
            return wrong("values", format!("`{name}`: at most {FIXED} values"));
        }
        for (nth, value) in field.values.iter().enumerate() {
            if let Err(expected) = fits(field.kind, value) {
                return wrong(
                    &format!("values/{nth}"),
                    format!(
                        "`{name}` has the type {}, so that each of its values is {expected}",
                        field.kind
                    ),
                );
            }
        }
    }
    Ok(())
}

fn fits(kind: MetricType, value: &Value) -> Result<(), &'static str> {
    let (fits, expected) = match kind {
        MetricType::Integer => {
            (matches!(value, Value::Signed(_) | Value::Unsigned(_)), "a whole number")
        }
        MetricType::Counter => (
            value.as_f64().is_some_and(|x| x >= 0.0) && !matches!(value, Value::Boolean(_)),
            "a number that is not negative",
        ),
        MetricType::Float | MetricType::Percent => {
            (matches!(value, Value::Signed(_) | Value::Unsigned(_) | Value::Float(_)), "a number")
        }
        MetricType::Boolean => (matches!(value, Value::Boolean(_)), "true or false"),
        MetricType::String => (
            matches!(value, Value::Text(text) if text.len() <= limits::TEXT),
            "a text of at most 4096 bytes",
        ),
    };
    if fits { Ok(()) } else { Err(expected) }
}

/// The value that a text means in a field of this type, for senders whose values are all texts. A
/// text that means nothing there stays a text, and is refused as one.
pub(crate) fn parse(kind: MetricType, text: &str) -> Value {
    let as_text = || Value::Text(text.into());
    match kind {
        MetricType::String => as_text(),
        MetricType::Boolean => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "1" => Value::Boolean(true),
            "false" | "0" => Value::Boolean(false),
            _ => as_text(),
        },
        MetricType::Integer | MetricType::Float | MetricType::Percent | MetricType::Counter => {
            let text = text.trim();
            let text = text.strip_prefix('+').unwrap_or(text);
            if let Ok(n) = text.parse::<i64>() {
                return Value::Signed(n);
            }
            if let Ok(n) = text.parse::<u64>() {
                return Value::unsigned(n);
            }
            match text.parse::<f64>() {
                Ok(x) if x.is_finite() => Value::Float(x),
                _ => as_text(),
            }
        }
    }
}

/// At most so much of a text as a message has room for.
pub(super) fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}
