//! Who changed which key or monitor, and when. Written in the transaction of the change.

use rusqlite::{Connection, params};
use serde::Serialize;

use crate::model::AuditAction;

use super::caller::Caller;
use super::times::time;

/// Entries kept of each account; beyond, the oldest go. They do not age: who took a key away last year is what one
/// wants to know.
const MOST: i64 = 100_000;
/// Bytes kept of a subject and of a detail.
const LONGEST: usize = 500;

/// One change. Times are milliseconds since 1970; as JSON, RFC 3339.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct AuditRow {
    pub(crate) id: i64,
    #[serde(rename = "at", serialize_with = "time")]
    pub(crate) at_ms: i64,
    /// Who: `key NAME`, `session`, or the interface it came by.
    pub(crate) actor: String,
    /// What: `key.create`, `monitor.delete`, …
    pub(crate) action: String,
    /// To what: a name, or an id.
    pub(crate) subject: String,
    pub(crate) detail: Option<String>,
}

/// Which entries to list, newest first.
#[derive(Debug, Clone, Default)]
pub(crate) struct AuditFilter {
    /// This action, or all that begin with it and a dot: `key` lists `key.create` as well.
    pub(crate) action: Option<String>,
    /// Those before this id.
    pub(crate) before: Option<i64>,
    pub(crate) limit: usize,
}

/// Writes down what `caller` did. Nothing secret may be in `detail`.
pub(crate) fn write(
    conn: &Connection,
    caller: &Caller,
    now: i64,
    action: AuditAction,
    subject: &str,
    detail: Option<&str>,
) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO audit (at_ms, account_id, actor, action, subject, detail)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![
        now,
        caller.account,
        caller.actor,
        action.as_str(),
        cut(subject),
        detail.map(cut)
    ])?;
    conn.prepare_cached(
        "DELETE FROM audit WHERE account_id = ?1 AND id <=
         (SELECT id FROM audit WHERE account_id = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
    )?
    .execute([caller.account, MOST])?;
    tracing::info!(
        by = caller.actor,
        subject = cut(subject),
        detail = detail.map(cut),
        "changed: {action}"
    );
    Ok(())
}

/// The account's entries, newest first.
pub(crate) fn list(
    conn: &Connection,
    account: i64,
    filter: &AuditFilter,
) -> rusqlite::Result<Vec<AuditRow>> {
    conn.prepare_cached(
        "SELECT id, at_ms, actor, action, subject, detail FROM audit
         WHERE account_id = ?1 AND id < ?2
         AND (?3 IS NULL OR action = ?3 OR substr(action, 1, length(?3) + 1) = ?3 || '.')
         ORDER BY id DESC LIMIT ?4",
    )?
    .query_map(
        params![
            account,
            filter.before.unwrap_or(i64::MAX),
            filter.action,
            i64::try_from(filter.limit).unwrap_or(i64::MAX)
        ],
        |row| {
            Ok(AuditRow {
                id: row.get(0)?,
                at_ms: row.get(1)?,
                actor: row.get(2)?,
                action: row.get(3)?,
                subject: row.get(4)?,
                detail: row.get(5)?,
            })
        },
    )?
    .collect()
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(LONGEST)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::store::{Access, open};

    #[test]
    fn what_one_account_does_pushes_no_other_out_of_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let conn = open(&folder.path().join("hub.db"), Access::Write).unwrap();
        write(&conn, &Caller::of_session(1), 0, AuditAction::KeyCreate, "first", None).unwrap();
        conn.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
             INSERT INTO audit (at_ms, account_id, actor, action, subject)
             SELECT i, 2, '', 'key.create', i FROM n",
            [MOST],
        )
        .unwrap();
        write(&conn, &Caller::of_session(2), 0, AuditAction::KeyCreate, "last", None).unwrap();
        let count = |account: i64| -> i64 {
            conn.query_row("SELECT count(*) FROM audit WHERE account_id = ?1", [account], |row| {
                row.get(0)
            })
            .unwrap()
        };
        assert_eq!((count(1), count(2)), (1, MOST));
        let filter = AuditFilter { limit: 1, ..AuditFilter::default() };
        assert_eq!(list(&conn, 2, &filter).unwrap()[0].subject, "last");
    }
}
