//! Detail under a check time: rows of whatever its sender likes, kept with their JSON types.

use rusqlite::types::Type;
use rusqlite::{Connection, params};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::hub::store::{Writer, json};
use crate::model::{RejectionCode, Step, Timestamp, limits};

use super::field::{Field, Role, fields};
use super::judging::{DetailJudge, Refused};
use super::list::{must_find, time};
use super::{MonitorError, RefusedValue};

/// Bytes after which an answer ends, however many check times it may have.
const BYTES: usize = 16 << 20;

/// Longest detail under one check time, in bytes of JSON.
const LONGEST: usize = 64 << 10;

/// What is under one check time.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Additional {
    #[serde(rename = "time", serialize_with = "time")]
    pub(crate) ms: i64,
    /// An array of objects, as it is stored: read, it takes many times the room.
    pub(crate) rows: Box<RawValue>,
}

/// Some of them, and where to go on.
#[derive(Debug, Default)]
pub(crate) struct Details {
    pub(crate) items: Vec<Additional>,
    /// The check time from which the rest comes.
    pub(crate) next: Option<i64>,
}

/// Whether it is an array of objects, and not too long.
pub(super) fn check_additional(rows: &serde_json::Value) -> Result<(), &'static str> {
    let objects = rows.as_array().is_some_and(|rows| rows.iter().all(serde_json::Value::is_object));
    if !objects {
        return Err("additional results are an array of objects");
    }
    if json(rows).len() > LONGEST {
        return Err("additional results have at most 64 KiB for each check time");
    }
    Ok(())
}

/// How additional results are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Checking {
    /// As the monitor declares them, where it does.
    Declared,
    /// As they come: old clients send what they did not declare, and texts for numbers.
    Lenient,
}

impl Checking {
    /// The fields to check against.
    pub(super) fn fields(self, conn: &Connection, monitor: i64) -> rusqlite::Result<Vec<Field>> {
        match self {
            Self::Declared => fields(conn, monitor, Role::Additional),
            Self::Lenient => Ok(Vec::new()),
        }
    }
}

/// Adds a row to those under a check time. Those there were before are not looked at again.
pub(crate) fn add_additional(
    writer: &mut Writer,
    account: i64,
    monitor: i64,
    (ms, row): (i64, serde_json::Value),
    now: i64,
) -> Result<(), MonitorError> {
    must_find(writer.conn(), account, monitor)?;
    let row = serde_json::Value::Array(vec![row]);
    let declared = Checking::Declared.fields(writer.conn(), monitor)?;
    check_details(&declared, ms, &row)?;
    let there = additional(writer.conn(), monitor, ms..=ms, 1)?.items.pop();
    let before = there.and_then(|there| serde_json::from_str(there.rows.get()).ok());
    let mut rows: Vec<serde_json::Value> = before.unwrap_or_default();
    rows.extend(row.as_array().into_iter().flatten().cloned());
    put_additional(writer, account, monitor, (ms, &rows.into()), Checking::Lenient, now)
}

fn check_details(
    declared: &[Field],
    ms: i64,
    rows: &serde_json::Value,
) -> Result<(), MonitorError> {
    let Some(time) = Timestamp::from_millis(ms) else { return Ok(()) };
    let mut refused = Refused::default();
    DetailJudge::of(declared)?.judge(rows, time, &[Step::Key("rows".into())], &mut refused);
    refused.none()
}

/// Puts `rows` under a check time, in the place of what was there. There need not be a result.
pub(crate) fn put_additional(
    writer: &mut Writer,
    account: i64,
    monitor: i64,
    (ms, rows): (i64, &serde_json::Value),
    checking: Checking,
    now: i64,
) -> Result<(), MonitorError> {
    let found = must_find(writer.conn(), account, monitor)?;
    if found.suspended_ms.is_some() {
        return Err(MonitorError::Suspended { id: monitor });
    }
    let refuse = |code, path: &str, message: &str, hint: &str| {
        let refused = RefusedValue {
            code,
            path: path.to_owned(),
            value: json(rows).chars().take(limits::EXCERPT).collect(),
            rule: None,
            message: message.to_owned(),
            hint: hint.to_owned(),
        };
        Err(MonitorError::Refused { count: 1, refused: vec![refused] })
    };
    if let Err(problem) = check_additional(rows) {
        return refuse(RejectionCode::Schema, "/rows", problem, "write `[{\"detail\": \"…\"}]`");
    }
    if Timestamp::from_millis(ms).is_none() {
        let message = "the check time is not between the years -9999 and 9999";
        return refuse(
            RejectionCode::TimeInvalid,
            "/time",
            message,
            "send milliseconds since 1970",
        );
    }
    if ms > now.saturating_add(limits::FUTURE_MS) {
        let message = "the check time is more than 10 minutes ahead of the hub's clock";
        return refuse(
            RejectionCode::TimeFuture,
            "/time",
            message,
            "send the time in UTC, and check the clocks",
        );
    }
    let declared = checking.fields(writer.conn(), monitor)?;
    check_details(&declared, ms, rows)?;
    writer.room()?;
    writer.conn().execute(
        "INSERT INTO additional_results (monitor_id, check_ms, body) VALUES (?1, ?2, ?3)
         ON CONFLICT DO UPDATE SET body = ?3",
        params![monitor, ms, json(rows)],
    )?;
    Ok(())
}

/// What is under the check times from `from` to `to`, both included: the first `limit` of them, fewer
/// where those are long.
pub(crate) fn additional(
    conn: &Connection,
    monitor: i64,
    range: std::ops::RangeInclusive<i64>,
    limit: usize,
) -> rusqlite::Result<Details> {
    additional_within(conn, monitor, range, limit, BYTES)
}

/// The same, of about so many bytes.
pub(crate) fn additional_within(
    conn: &Connection,
    monitor: i64,
    range: std::ops::RangeInclusive<i64>,
    limit: usize,
    most: usize,
) -> rusqlite::Result<Details> {
    let mut statement = conn.prepare_cached(
        "SELECT check_ms, body FROM additional_results
         WHERE monitor_id = ?1 AND check_ms BETWEEN ?2 AND ?3 ORDER BY check_ms",
    )?;
    let mut rows = statement.query(params![monitor, range.start(), range.end()])?;
    let mut found = Details::default();
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        let ms = row.get(0)?;
        if found.items.len() >= limit || bytes >= most {
            found.next = Some(ms);
            break;
        }
        let body: String = row.get(1)?;
        bytes += body.len();
        // What cannot be read is as good as nothing.
        let rows = RawValue::from_string(body)
            .or_else(|_| RawValue::from_string("[]".to_owned()))
            .map_err(|e| rusqlite::Error::FromSqlConversionFailure(1, Type::Text, e.into()))?;
        found.items.push(Additional { ms, rows });
    }
    Ok(found)
}
