//! Making monitors, and changing what is said of them.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use serde::Deserialize;

use crate::hub::audit;
use crate::hub::caller::Caller;
use crate::hub::store::{Writer, json};
use crate::model::{AuditAction, MetricType, limits};

use super::MonitorError;
use super::field::{self, NewField, Role};
use super::list::{Sender, must_find};

/// Most tags, and the longest name, type or tag in bytes.
const TAGS: usize = 32;
const NAME: usize = 256;

/// The type of a monitor that says none.
const CUSTOM: &str = "custom";

/// What no two direct senders' monitors of an account share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Distinct {
    /// Name and type.
    #[default]
    ByName,
    /// Name, type and first tag: so it was in the old service, whose clients look a monitor up by its
    /// tag and then its name.
    ByTag,
}

/// A direct sender's monitor to be.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewMonitor {
    pub(crate) name: String,
    /// `custom` where it is none.
    #[serde(default, rename = "type")]
    pub(crate) kind: Option<String>,
    #[serde(default)]
    pub(crate) tags: Vec<String>,
    /// Whether a metric may have several values at one check time.
    #[serde(default)]
    pub(crate) multi_value: bool,
    /// What its results have. Without any it takes whatever comes.
    #[serde(default)]
    pub(crate) metrics: Vec<NewField>,
    /// What its additional results have.
    #[serde(default)]
    pub(crate) additional: Vec<NewField>,
    #[serde(default)]
    pub(crate) parameters: Vec<NewField>,
    #[serde(skip)]
    pub(crate) distinct: Distinct,
}

/// What to change; what is none stays.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Edit {
    #[serde(default)]
    pub(crate) name: Option<String>,
    #[serde(default, rename = "type")]
    pub(crate) kind: Option<String>,
    #[serde(default)]
    pub(crate) tags: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) multi_value: Option<bool>,
    #[serde(default)]
    pub(crate) metrics: Option<Vec<NewField>>,
    #[serde(default)]
    pub(crate) additional: Option<Vec<NewField>>,
    #[serde(default)]
    pub(crate) parameters: Option<Vec<NewField>>,
    #[serde(skip)]
    pub(crate) distinct: Distinct,
}

/// Makes a monitor and gives its id. [`MonitorError::Exists`] has the id of the one that has the name.
pub(crate) fn create(
    conn: &mut Connection,
    caller: &Caller,
    new: &NewMonitor,
    now: i64,
) -> Result<i64, MonitorError> {
    let account = caller.account;
    check_name(&new.name)?;
    let kind = new.kind.as_deref().filter(|kind| !kind.is_empty()).unwrap_or(CUSTOM);
    check_word("type", kind)?;
    check_tags(&new.tags)?;
    let declared = [
        ("metrics", Role::Result, &new.metrics),
        ("additional", Role::Additional, &new.additional),
        ("parameters", Role::Parameter, &new.parameters),
    ];
    for (member, _, fields) in declared {
        field::check(member, fields)?;
    }
    let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let tag = new.tags.first().map_or("", String::as_str);
    let wanted = Wanted { name: &new.name, kind, tag, distinct: new.distinct };
    check_free(&transaction, account, &wanted, None)?;
    let id: i64 = transaction.query_row(
        "INSERT INTO monitors (account_id, created_ms, received_ms, name, tags, type, multi_value)
         VALUES (?1, ?2, ?2, ?3, ?4, ?5, ?6) RETURNING id",
        params![account, now, new.name, json(&new.tags), kind, new.multi_value],
        |row| row.get(0),
    )?;
    for (_, role, fields) in declared {
        field::replace(&transaction, id, role, fields)?;
    }
    let subject = id.to_string();
    audit::write(&transaction, caller, now, AuditAction::MonitorCreate, &subject, Some(&new.name))?;
    transaction.commit()?;
    Ok(id)
}

/// Changes what `edit` says. A field that has results keeps its type, but for `integer` that may
/// become `float`; one that is left out is not declared any more, and its results stay.
pub(crate) fn edit(
    conn: &mut Connection,
    caller: &Caller,
    id: i64,
    edit: &Edit,
    now: i64,
) -> Result<(), MonitorError> {
    let account = caller.account;
    let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let before = must_find(&transaction, account, id)?;
    if let Some(name) = edit.name.as_ref().filter(|name| **name != before.name) {
        check_name(name)?;
    }
    if let Some(kind) = &edit.kind {
        check_word("type", kind)?;
    }
    if let Some(tags) = &edit.tags {
        check_tags(tags)?;
    }
    let declared = [
        ("metrics", Role::Result, &edit.metrics),
        ("additional", Role::Additional, &edit.additional),
        ("parameters", Role::Parameter, &edit.parameters),
    ];
    for (member, role, fields) in declared {
        let Some(fields) = fields else { continue };
        field::check(member, fields)?;
        if role == Role::Result && before.sender == Sender::Agent {
            return Err(MonitorError::invalid(
                "/metrics",
                "what a plugin prints is declared in its agent's config, not here",
            ));
        }
        if role == Role::Result {
            check_types(&transaction, id, fields)?;
        }
    }
    let named = edit.name.is_some() || edit.kind.is_some();
    if named || (edit.tags.is_some() && before.sender == Sender::Direct) {
        let tags = edit.tags.as_ref().unwrap_or(&before.tags);
        let wanted = Wanted {
            name: edit.name.as_ref().unwrap_or(&before.name),
            kind: edit.kind.as_ref().unwrap_or(&before.kind),
            tag: tags.first().map_or("", String::as_str),
            // A name that is shared already may stay so.
            distinct: if named { edit.distinct } else { Distinct::ByTag },
        };
        check_free(&transaction, account, &wanted, Some(id))?;
    }
    transaction.execute(
        "UPDATE monitors SET name = coalesce(?2, name), type = coalesce(?3, type),
         tags = coalesce(?4, tags), multi_value = coalesce(?5, multi_value) WHERE id = ?1",
        params![id, edit.name, edit.kind, edit.tags.as_ref().map(json), edit.multi_value],
    )?;
    for (_, role, fields) in declared {
        let Some(fields) = fields else { continue };
        field::replace(&transaction, id, role, fields)?;
        if role != Role::Result {
            continue;
        }
        // What is drawn already shows the new words as well.
        let mut update = transaction.prepare_cached(
            "UPDATE series SET unit = ?3, label = ?4, kind = ?5 WHERE monitor_id = ?1 AND name = ?2",
        )?;
        for field in fields {
            let words = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
            update.execute(params![
                id,
                field.name,
                words(&field.unit),
                words(&field.label),
                field.kind.as_str()
            ])?;
        }
    }
    let subject = id.to_string();
    audit::write(
        &transaction,
        caller,
        now,
        AuditAction::MonitorEdit,
        &subject,
        Some(&before.name),
    )?;
    transaction.commit()?;
    Ok(())
}

/// Has a monitor take no results from `now` on. Says whether it took some before.
pub(crate) fn suspend(
    writer: &mut Writer,
    caller: &Caller,
    id: i64,
    now: i64,
) -> Result<bool, MonitorError> {
    set_suspended(writer, caller, id, now, Some(now))
}

/// Has a monitor take results again. Says whether it took none before.
pub(crate) fn activate(
    writer: &mut Writer,
    caller: &Caller,
    id: i64,
    now: i64,
) -> Result<bool, MonitorError> {
    set_suspended(writer, caller, id, now, None)
}

fn set_suspended(
    writer: &mut Writer,
    caller: &Caller,
    id: i64,
    now: i64,
    since: Option<i64>,
) -> Result<bool, MonitorError> {
    // The writer remembers which monitors take results.
    writer.forget();
    let transaction = writer.conn().transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found = must_find(&transaction, caller.account, id)?;
    if found.suspended_ms.is_some() == since.is_some() {
        return Ok(false);
    }
    transaction
        .execute("UPDATE monitors SET suspended_ms = ?2 WHERE id = ?1", params![id, since])?;
    let action =
        if since.is_some() { AuditAction::MonitorSuspend } else { AuditAction::MonitorActivate };
    audit::write(&transaction, caller, now, action, &id.to_string(), Some(&found.name))?;
    transaction.commit()?;
    Ok(true)
}

/// A name of digits alone would be read as the id of another monitor.
fn check_name(name: &str) -> Result<(), MonitorError> {
    check_word("name", name)?;
    if name.bytes().all(|b| b.is_ascii_digit()) {
        let problem = "a monitor's name cannot be digits alone, which are its id; put a word to it";
        return Err(MonitorError::invalid("/name", problem));
    }
    Ok(())
}

fn check_word(member: &str, text: &str) -> Result<(), MonitorError> {
    let wrong = |problem: &str| {
        let problem = format!("a monitor's {member} {problem}");
        Err(MonitorError::invalid(format!("/{member}"), problem))
    };
    if text.trim().is_empty() {
        return wrong("cannot be empty");
    }
    if text.len() > NAME {
        return wrong("has at most 256 bytes; shorten it");
    }
    if text.chars().any(char::is_control) {
        return wrong("has no control characters, tabs and line breaks included");
    }
    Ok(())
}

fn check_tags(tags: &[String]) -> Result<(), MonitorError> {
    if tags.len() > TAGS {
        return Err(MonitorError::invalid("/tags", format!("at most {TAGS} tags")));
    }
    for (at, tag) in tags.iter().enumerate() {
        let problem = if tag.is_empty() {
            "a tag cannot be empty; leave it out"
        } else if tag.len() > limits::TAG_VALUE {
            "a tag has at most 256 bytes; shorten it"
        } else if tag.chars().any(char::is_control) {
            "a tag has no control characters"
        } else if tags[..at].contains(tag) {
            "the same tag twice; leave one out"
        } else {
            continue;
        };
        return Err(MonitorError::invalid(format!("/tags/{at}"), problem));
    }
    Ok(())
}

/// What a monitor is to be told by.
struct Wanted<'a> {
    name: &'a str,
    kind: &'a str,
    tag: &'a str,
    distinct: Distinct,
}

/// Whether no other monitor has it.
fn check_free(
    conn: &Connection,
    account: i64,
    wanted: &Wanted<'_>,
    but: Option<i64>,
) -> Result<(), MonitorError> {
    let tag = match wanted.distinct {
        Distinct::ByName => None,
        Distinct::ByTag => Some(wanted.tag),
    };
    let taken: Option<i64> = conn
        .query_row(
            "SELECT id FROM monitors WHERE account_id = ?1 AND name = ?2 AND type = ?3
             AND id IS NOT ?4
             AND (?5 IS NULL OR coalesce(json_extract(tags, '$[0]'), '') = ?5)
             ORDER BY id LIMIT 1",
            params![account, wanted.name, wanted.kind, but, tag],
            |row| row.get(0),
        )
        .optional()?;
    match taken {
        Some(id) => Err(MonitorError::Exists { id, name: field::shown(wanted.name) }),
        None => Ok(()),
    }
}

/// Whether fields with results keep the type that those have.
fn check_types(conn: &Connection, monitor: i64, fields: &[NewField]) -> Result<(), MonitorError> {
    let mut kinds =
        conn.prepare_cached("SELECT kind FROM series WHERE monitor_id = ?1 AND name = ?2")?;
    for (at, field) in fields.iter().enumerate() {
        let had: Option<String> =
            kinds.query_row(params![monitor, field.name], |row| row.get(0)).optional()?;
        let Some(had) = had.and_then(|word| word.parse::<MetricType>().ok()) else { continue };
        let wider = (had, field.kind) == (MetricType::Integer, MetricType::Float);
        if had != field.kind && !wider {
            return Err(MonitorError::invalid(
                format!("/metrics/{at}/type"),
                format!(
                    "`{}` has results of type {had}, which stays its type; declare a metric with another name",
                    field.name
                ),
            ));
        }
    }
    Ok(())
}
