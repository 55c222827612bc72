//! The keys of an account: what may call the hub, and what each may do.
//!
//! Only hashes are stored. A key is shown once, to whoever made it; afterwards its hint (its last
//! four characters) tells it from others.

use std::fmt;
use std::str::FromStr;

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use serde::{Serialize, Serializer};

use crate::model::{AuditAction, Secret};

use super::audit;
use super::caller::{Caller, NoScope};
pub(crate) use super::caller::{Scope, Scopes};
use super::credentials::{self, hash, same_hash};
use super::times::{maybe_time, time};

/// Most keys of one account that work at a time.
const MOST: i64 = 1000;
/// Longest name of a key, in bytes.
const NAME: usize = 64;
/// How exactly the last use of a key is known: it is written no more often.
const USED_MS: i64 = 60 * 1000;
/// What is gone for longer is no longer listed.
const SHOWN_MS: i64 = 90 * 24 * 3600 * 1000;

/// How a key stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyState {
    /// It works.
    Active,
    /// Another took its place; it works until it is revoked at the time that is given.
    Replaced,
    /// Its time is over.
    Expired,
    /// It was ended.
    Revoked,
}

impl KeyState {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Replaced => "replaced",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

impl Serialize for KeyState {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}

/// One key, as it may be shown. Times are milliseconds since 1970; as JSON, RFC 3339.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct KeyRow {
    #[serde(skip)]
    id: i64,
    pub(crate) name: String,
    pub(crate) scopes: Scopes,
    /// The end of the key, by which its owner can tell it.
    pub(crate) hint: String,
    pub(crate) state: KeyState,
    #[serde(rename = "created", serialize_with = "time")]
    pub(crate) created_ms: i64,
    #[serde(rename = "expires", serialize_with = "maybe_time")]
    pub(crate) expires_ms: Option<i64>,
    /// As of a minute ago.
    #[serde(rename = "last_used", serialize_with = "maybe_time")]
    pub(crate) last_used_ms: Option<i64>,
    /// When it was revoked, or will be because another took its place.
    #[serde(rename = "revoked", serialize_with = "maybe_time")]
    pub(crate) revoked_ms: Option<i64>,
}

impl KeyRow {
    /// Where it stands in the list.
    pub(crate) fn place(&self) -> AfterKey<i64> {
        let (gone, name) = (self.revoked_ms.is_some(), self.name.clone());
        AfterKey { gone, name, id: self.id }
    }
}

/// The last key of a page, with what tells it from others of its name. Those that work come first, by
/// name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AfterKey<Id> {
    pub(crate) gone: bool,
    pub(crate) name: String,
    pub(crate) id: Id,
}

impl<Id: fmt::Display> fmt::Display for AfterKey<Id> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Names may have dots.
        write!(f, "{}.{}.{}", u8::from(self.gone), self.id, self.name)
    }
}

impl<Id: FromStr> FromStr for AfterKey<Id> {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.splitn(3, '.');
        let (Some(gone), Some(id), Some(name)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(());
        };
        let gone = match gone {
            "0" => false,
            "1" => true,
            _ => return Err(()),
        };
        Ok(Self { gone, name: name.to_owned(), id: id.parse().map_err(drop)? })
    }
}

/// A key to be made.
#[derive(Debug, Clone)]
pub(crate) struct NewKey {
    pub(crate) name: String,
    pub(crate) scopes: Scopes,
    /// Milliseconds since 1970.
    pub(crate) expires_ms: Option<i64>,
}

/// A key to be put in the place of another.
#[derive(Debug, Clone)]
pub(crate) struct Rotation {
    pub(crate) name: String,
    /// How long the old one goes on working, in milliseconds.
    pub(crate) grace_ms: i64,
    /// When the new one ends, in milliseconds since 1970; without it, it lives as long from now as
    /// the old one did.
    pub(crate) expires_ms: Option<i64>,
}

/// What became of a rotation.
#[derive(Debug)]
pub(crate) struct Rotated {
    pub(crate) key: Secret,
    pub(crate) expires_ms: Option<i64>,
    /// The hash of the key that this one takes the place of.
    pub(crate) old: Vec<u8>,
}

/// What to do about a key without which nobody could manage keys any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LastAdmin {
    /// Not revoke it.
    Keep,
    /// Revoke it all the same: a login link still leads in.
    Revoke,
}

/// Why nothing was done with a key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    #[error(
        "`{given}` is not a name for a key: use letters, digits, `.`, `_` and `-`, beginning with a letter or digit, at most {NAME}"
    )]
    Name { given: String },
    #[error("there is a key `{name}` already; rotate or revoke it, or choose another name")]
    Exists { name: String },
    #[error("there is no key `{name}`; `talaia keys list` shows those there are")]
    Missing { name: String },
    #[error(transparent)]
    Scope(#[from] NoScope),
    #[error("a key needs at least one scope: ingest, read, review, admin or publish")]
    NoScope,
    #[error("the key would have expired already; give a time in the future")]
    Past,
    #[error(
        "`{name}` is the last key that may manage keys; make another with the scope `admin` first, or force it"
    )]
    LastAdmin { name: String },
    #[error("the account has {MOST} keys; revoke some")]
    TooMany,
    #[error("the hub's database failed")]
    Sqlite(#[from] rusqlite::Error),
}

/// Makes a key. What is returned is stored nowhere.
pub(crate) fn create(
    conn: &mut Connection,
    caller: &Caller,
    new: &NewKey,
    now: i64,
) -> Result<Secret, KeyError> {
    let NewKey { name, scopes, expires_ms } = new;
    check_name(name)?;
    if scopes.is_empty() {
        return Err(KeyError::NoScope);
    }
    if expires_ms.is_some_and(|at| at <= now) {
        return Err(KeyError::Past);
    }
    let transaction = begin(conn)?;
    if live(&transaction, caller.account, name)?.is_some() {
        return Err(KeyError::Exists { name: name.clone() });
    }
    let count: i64 = transaction.query_row(
        "SELECT count(*) FROM keys WHERE account_id = ?1 AND revoked_ms IS NULL",
        [caller.account],
        |row| row.get(0),
    )?;
    if count >= MOST {
        return Err(KeyError::TooMany);
    }
    let key = insert(&transaction, caller.account, name, *scopes, *expires_ms, now)?;
    let detail = format!("{scopes}; {}", credentials::hint(&key));
    audit::write(&transaction, caller, now, AuditAction::KeyCreate, name, Some(&detail))?;
    transaction.commit()?;
    Ok(key)
}

/// At most `limit` of the account's keys, from `after` on: those that work by name, and after them
/// those that ended in the last 90 days.
pub(crate) fn list(
    conn: &Connection,
    account: i64,
    after: Option<&AfterKey<i64>>,
    limit: usize,
    now: i64,
) -> rusqlite::Result<Vec<KeyRow>> {
    let id = after.map(|after| after.id);
    conn.prepare_cached(
        "SELECT name, scopes, hint, created_ms, expires_ms, last_used_ms, revoked_ms, id FROM keys
         WHERE account_id = ?1 AND (revoked_ms IS NULL OR revoked_ms > ?2)
         AND (?3 IS NULL OR (revoked_ms IS NOT NULL, name, id) > (?3, ?4, ?5))
         ORDER BY revoked_ms IS NOT NULL, name, id LIMIT ?6",
    )?
    .query_map(
        params![
            account,
            now - SHOWN_MS,
            after.map(|after| after.gone),
            after.map(|after| &after.name),
            id,
            limit as i64
        ],
        |row| {
            let (expires_ms, revoked_ms) = (row.get(4)?, row.get(6)?);
            Ok(KeyRow {
                id: row.get(7)?,
                name: row.get(0)?,
                scopes: Scopes::stored(&row.get::<_, String>(1)?),
                hint: row.get(2)?,
                state: state(expires_ms, revoked_ms, now),
                created_ms: row.get(3)?,
                expires_ms,
                last_used_ms: row.get(5)?,
                revoked_ms,
            })
        },
    )?
    .collect()
}

/// Puts a new key in the place of another, with its name and scopes.
pub(crate) fn rotate(
    conn: &mut Connection,
    caller: &Caller,
    rotation: &Rotation,
    now: i64,
) -> Result<Rotated, KeyError> {
    let Rotation { ref name, grace_ms, expires_ms } = *rotation;
    if expires_ms.is_some_and(|at| at <= now) {
        return Err(KeyError::Past);
    }
    let transaction = begin(conn)?;
    let Some(old) = live(&transaction, caller.account, name)? else {
        return Err(KeyError::Missing { name: shown(name) });
    };
    let lifetime = old.expires_ms.map(|at| at.saturating_sub(old.created_ms).max(USED_MS));
    let expires_ms = expires_ms.or_else(|| lifetime.map(|lifetime| now.saturating_add(lifetime)));
    transaction.execute(
        "UPDATE keys SET revoked_ms = ?2 WHERE id = ?1",
        params![old.id, now.saturating_add(grace_ms.max(0))],
    )?;
    let key = insert(&transaction, caller.account, name, old.scopes, expires_ms, now)?;
    let detail = match grace_ms {
        ..=0 => format!("{} for {}", credentials::hint(&key), old.hint),
        _ => format!(
            "{} for {}, which works for another {} s",
            credentials::hint(&key),
            old.hint,
            grace_ms / 1000
        ),
    };
    audit::write(&transaction, caller, now, AuditAction::KeyRotate, name, Some(&detail))?;
    transaction.commit()?;
    Ok(Rotated { key, expires_ms, old: old.hash })
}

/// Ends the key `name`, and those whose place it took and that still work.
pub(crate) fn revoke(
    conn: &mut Connection,
    caller: &Caller,
    name: &str,
    last: LastAdmin,
    now: i64,
) -> Result<(), KeyError> {
    let transaction = begin(conn)?;
    let Some(key) = live(&transaction, caller.account, name)? else {
        return Err(KeyError::Missing { name: shown(name) });
    };
    let works = key.expires_ms.is_none_or(|at| at > now);
    if last == LastAdmin::Keep && works && key.scopes.has(Scope::Admin) {
        let others: i64 = transaction.query_row(
            "SELECT count(*) FROM keys WHERE account_id = ?1 AND id <> ?2 AND revoked_ms IS NULL
             AND (expires_ms IS NULL OR expires_ms > ?3)
             AND ' ' || scopes || ' ' LIKE '% admin %'",
            params![caller.account, key.id, now],
            |row| row.get(0),
        )?;
        if others == 0 {
            return Err(KeyError::LastAdmin { name: name.to_owned() });
        }
    }
    transaction.execute(
        "UPDATE keys SET revoked_ms = ?3 WHERE account_id = ?1 AND name = ?2
         AND (revoked_ms IS NULL OR revoked_ms > ?3)",
        params![caller.account, name, now],
    )?;
    audit::write(&transaction, caller, now, AuditAction::KeyRevoke, name, Some(&key.hint))?;
    transaction.commit()?;
    Ok(())
}

/// Whose token it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Token {
    /// A key that works.
    Good(Known),
    /// None of this hub.
    Unknown,
    /// It was ended.
    Revoked { name: String, at_ms: i64 },
    /// Its time is over.
    Expired { name: String, at_ms: i64 },
    /// Its account is refused.
    Disabled,
}

/// A key that works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) id: i64,
    pub(crate) account: i64,
    pub(crate) name: String,
    pub(crate) scopes: Scopes,
    /// Its use has not been noted for a while: [`touch`] does.
    pub(crate) stale: bool,
}

/// Looks a Bearer token up.
pub(crate) fn verify(conn: &Connection, token: &str, now: i64) -> rusqlite::Result<Token> {
    let hash = hash(token);
    // Looking up a hash leaks nothing of the token; the comparison is in constant time all the same.
    let found = conn
        .prepare_cached(
            "SELECT k.id, k.account_id, k.name, k.scopes, k.hash, k.expires_ms, k.last_used_ms,
                 k.revoked_ms, a.disabled_ms IS NOT NULL
             FROM keys k JOIN accounts a ON a.id = k.account_id WHERE k.hash = ?1",
        )?
        .query_row([hash], |row| {
            let last_used: Option<i64> = row.get(6)?;
            let known = Known {
                id: row.get(0)?,
                account: row.get(1)?,
                name: row.get(2)?,
                scopes: Scopes::stored(&row.get::<_, String>(3)?),
                stale: last_used.is_none_or(|at| now.abs_diff(at) >= USED_MS as u64),
            };
            let stored: Vec<u8> = row.get(4)?;
            Ok((known, stored, row.get::<_, Option<i64>>(5)?, row.get(7)?, row.get(8)?))
        })
        .optional()?;
    let Some((known, stored, expires_ms, revoked_ms, disabled)) = found else {
        return Ok(Token::Unknown);
    };
    if !same_hash(&stored, &hash) {
        return Ok(Token::Unknown);
    }
    if disabled {
        return Ok(Token::Disabled);
    }
    Ok(match (state(expires_ms, revoked_ms, now), expires_ms, revoked_ms) {
        (KeyState::Revoked, _, Some(at_ms)) => Token::Revoked { name: known.name, at_ms },
        (KeyState::Expired, Some(at_ms), _) => Token::Expired { name: known.name, at_ms },
        _ => Token::Good(known),
    })
}

/// Notes that a key was used.
pub(crate) fn touch(conn: &Connection, id: i64, now: i64) -> rusqlite::Result<()> {
    conn.prepare_cached("UPDATE keys SET last_used_ms = ?2 WHERE id = ?1")?
        .execute(params![id, now])?;
    Ok(())
}

/// The name of the account's key with this hash, where it works or will be replaced.
pub(crate) fn name_of(
    conn: &Connection,
    account: i64,
    hash: &[u8],
) -> rusqlite::Result<Option<String>> {
    conn.query_row(
        "SELECT name FROM keys WHERE account_id = ?1 AND hash = ?2 AND revoked_ms IS NULL",
        params![account, hash],
        |row| row.get(0),
    )
    .optional()
}

fn state(expires_ms: Option<i64>, revoked_ms: Option<i64>, now: i64) -> KeyState {
    match revoked_ms {
        Some(at) if at <= now => KeyState::Revoked,
        _ if expires_ms.is_some_and(|at| at <= now) => KeyState::Expired,
        Some(_) => KeyState::Replaced,
        None => KeyState::Active,
    }
}

struct Live {
    id: i64,
    hash: Vec<u8>,
    scopes: Scopes,
    hint: String,
    created_ms: i64,
    expires_ms: Option<i64>,
}

/// The key that has this name now.
fn live(conn: &Connection, account: i64, name: &str) -> rusqlite::Result<Option<Live>> {
    conn.query_row(
        "SELECT id, hash, scopes, hint, created_ms, expires_ms FROM keys
         WHERE account_id = ?1 AND name = ?2 AND revoked_ms IS NULL",
        params![account, name],
        |row| {
            Ok(Live {
                id: row.get(0)?,
                hash: row.get(1)?,
                scopes: Scopes::stored(&row.get::<_, String>(2)?),
                hint: row.get(3)?,
                created_ms: row.get(4)?,
                expires_ms: row.get(5)?,
            })
        },
    )
    .optional()
}

fn insert(
    conn: &Connection,
    account: i64,
    name: &str,
    scopes: Scopes,
    expires_ms: Option<i64>,
    now: i64,
) -> rusqlite::Result<Secret> {
    let key = credentials::new_token("talaia_");
    conn.execute(
        "INSERT INTO keys (account_id, hash, created_ms, name, scopes, hint, expires_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            account,
            hash(key.expose()),
            now,
            name,
            scopes.to_string(),
            credentials::hint(&key),
            expires_ms
        ],
    )?;
    Ok(key)
}

fn begin(conn: &mut Connection) -> rusqlite::Result<Transaction<'_>> {
    conn.transaction_with_behavior(TransactionBehavior::Immediate)
}

fn check_name(name: &str) -> Result<(), KeyError> {
    let good = name.len() <= NAME
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    if good { Ok(()) } else { Err(KeyError::Name { given: shown(name) }) }
}

/// A name as somebody gave it, fit for a line.
fn shown(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(NAME).collect()
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
