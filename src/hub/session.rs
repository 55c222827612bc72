//! A person's way in: a link that works once, then a cookie.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use crate::model::{AuditAction, Secret};

use super::accounts::{self, AccountError};
use super::audit;
use super::caller::{Caller, Scopes};
use super::credentials::{form_token, hash};
use super::passes::Passes;

/// Login links: for ten minutes.
const LINKS: Passes = Passes { table: "login_links", life_ms: 10 * 60 * 1000, most: 1000 };
/// How long a session lasts, in milliseconds.
pub(crate) const SESSION_MS: i64 = 30 * 24 * 3600 * 1000;
const SESSIONS: Passes = Passes { table: "sessions", life_ms: SESSION_MS, most: 50 };

/// Who is logged in.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) account: i64,
    /// Its account is refused.
    pub(crate) disabled: bool,
    /// What a form of this session must carry.
    pub(crate) form: String,
}

/// Makes a link's token for an account.
pub(crate) fn new_link(
    conn: &mut Connection,
    account: &str,
    now: i64,
) -> Result<Secret, AccountError> {
    let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let account = match accounts::find(&transaction, account)? {
        Some((_, true)) => return Err(AccountError::Disabled(account.to_owned())),
        Some((id, false)) => id,
        None => return Err(AccountError::Missing(account.to_owned())),
    };
    let token = LINKS.issue(&transaction, account, now)?;
    transaction.commit()?;
    Ok(token)
}

/// Whether a link would work now. Does not use it up: link previews only look.
pub(crate) fn link_is_good(conn: &Connection, token: &str, now: i64) -> rusqlite::Result<bool> {
    Ok(LINKS.account(conn, token, now)?.is_some())
}

/// Uses a link up and begins a session; `None` if the link does not work (any more).
pub(crate) fn begin(
    conn: &mut Connection,
    link: &str,
    now: i64,
) -> rusqlite::Result<Option<Secret>> {
    let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let account: Option<i64> = transaction
        .query_row(
            "DELETE FROM login_links WHERE hash = ?1 AND expires_ms > ?2 RETURNING account_id",
            params![hash(link), now],
            |row| row.get(0),
        )
        .optional()?;
    let Some(account) = account else { return Ok(None) };
    let token = SESSIONS.issue(&transaction, account, now)?;
    transaction.commit()?;
    Ok(Some(token))
}

/// Who a cookie belongs to.
pub(crate) fn by_cookie(
    conn: &Connection,
    token: &str,
    now: i64,
) -> rusqlite::Result<Option<Session>> {
    let Some(account) = SESSIONS.account(conn, token, now)? else { return Ok(None) };
    let disabled = accounts::is_disabled(conn, account)?;
    Ok(Some(Session { account, disabled, form: form_token(token) }))
}

/// Ends all sessions, and takes back all links that were not used. Gives how many sessions that were.
pub(crate) fn end_all(conn: &mut Connection, now: i64) -> rusqlite::Result<u64> {
    let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let ended: i64 = transaction.query_row(
        "SELECT count(*) FROM sessions WHERE expires_ms > ?1",
        [now],
        |row| row.get(0),
    )?;
    let links = transaction.execute("DELETE FROM login_links", ())?;
    if transaction.execute("DELETE FROM sessions", ())? + links > 0 {
        let account = accounts::LOCAL;
        let id =
            transaction.query_row("SELECT id FROM accounts WHERE name = ?1", [account], |row| {
                row.get(0)
            })?;
        let caller =
            Caller { account: id, scopes: Scopes::ALL, actor: "talaia hub logout".to_owned() };
        audit::write(&transaction, &caller, now, AuditAction::SessionEnd, account, None)?;
    }
    transaction.commit()?;
    Ok(ended.unsigned_abs())
}

/// Ends a session.
pub(crate) fn end(conn: &mut Connection, token: &str) -> rusqlite::Result<()> {
    conn.execute("DELETE FROM sessions WHERE hash = ?1", [hash(token)])?;
    Ok(())
}
