//! Accounts and their keys.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use serde::Serialize;

use crate::model::{AuditAction, Secret};

use super::audit;
use super::caller::Caller;
use super::credentials::{self, Credentials, Master};
use super::keys::{self, Scopes, Token};

/// The account of the machine that the hub runs on.
pub(crate) const LOCAL: &str = "local";
/// Longest name of an account, in bytes.
const NAME: usize = 64;

/// Why nothing was done with an account.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// It is no name.
    #[error(
        "`{0}` is not a name for an account: use letters, digits, `.`, `_` and `-`, beginning with a letter or digit, at most {NAME}"
    )]
    Name(String),
    /// There is one.
    #[error("there is an account `{0}` already; choose another name")]
    Exists(String),
    /// There is none.
    #[error("there is no account `{0}`; `talaia hub account list` shows those there are")]
    Missing(String),
    /// It is the hub's own.
    #[error(
        "`{LOCAL}` is the account of the hub's own machine; its keys can be revoked one by one"
    )]
    Local,
    /// It was disabled.
    #[error("the account `{0}` is disabled; `talaia hub account enable {0}` lets it in again")]
    Disabled(String),
    /// Its secret cannot be kept.
    #[error("the account's secret key cannot be sealed")]
    Seal,
    /// The database failed.
    #[error("the hub's database failed")]
    Sqlite(#[from] rusqlite::Error),
}

/// One account, as its hub's owner sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AccountRow {
    /// Its name.
    pub name: String,
    /// Its public identifier.
    pub api_key: String,
    /// Whether it is refused.
    pub disabled: bool,
    /// How many of its keys work.
    pub keys: i64,
    /// How many monitors it has.
    pub monitors: i64,
}

/// Whether an account is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It is.
    Enabled,
    /// All that it sends or asks is refused, and all that it has stays but sessions, login links and
    /// the old clients' tokens: those end.
    Disabled,
}

/// Makes an account, and a key of it that may do everything.
pub(crate) fn create(
    conn: &mut Connection,
    master: &Master,
    name: &str,
    url: String,
    now: i64,
) -> Result<Credentials, AccountError> {
    let good = (1..=NAME).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    if !good {
        let shown = name.chars().filter(|c| !c.is_control()).take(NAME).collect();
        return Err(AccountError::Name(shown));
    }
    let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if find(&transaction, name)?.is_some() {
        return Err(AccountError::Exists(name.to_owned()));
    }
    let (api_key, secret_key) = (credentials::new_api_key(), credentials::new_token(""));
    let sealed = master.seal(&api_key, &secret_key).ok_or(AccountError::Seal)?;
    transaction.execute(
        "INSERT INTO accounts (name, api_key, secret_key, created_ms) VALUES (?1, ?2, ?3, ?4)",
        params![name, api_key, sealed, now],
    )?;
    let account = transaction.last_insert_rowid();
    let key = ensure_key(&transaction, account, None, now)?;
    note(&transaction, account, now, AuditAction::AccountCreate, name)?;
    transaction.commit()?;
    Ok(reached(url, &key, api_key, &secret_key))
}

/// All accounts, by name.
pub(crate) fn list(conn: &Connection, now: i64) -> Result<Vec<AccountRow>, AccountError> {
    let mut statement = conn.prepare(
        "SELECT name, api_key, disabled_ms IS NOT NULL,
             (SELECT count(*) FROM keys k WHERE k.account_id = a.id
                 AND (k.revoked_ms IS NULL OR k.revoked_ms > ?1)
                 AND (k.expires_ms IS NULL OR k.expires_ms > ?1)),
             (SELECT count(*) FROM monitors m WHERE m.account_id = a.id)
         FROM accounts a ORDER BY name",
    )?;
    let rows = statement.query_map([now], |row| {
        Ok(AccountRow {
            name: row.get(0)?,
            api_key: row.get(1)?,
            disabled: row.get(2)?,
            keys: row.get(3)?,
            monitors: row.get(4)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Has an account refused, or let in again. Twice is as once.
pub(crate) fn admit(
    conn: &mut Connection,
    name: &str,
    admission: Admission,
    now: i64,
) -> Result<(), AccountError> {
    if name == LOCAL {
        return Err(AccountError::Local);
    }
    let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let Some((account, disabled)) = find(&transaction, name)? else {
        return Err(AccountError::Missing(name.to_owned()));
    };
    let wanted = admission == Admission::Disabled;
    if wanted == disabled {
        return Ok(());
    }
    transaction.execute(
        "UPDATE accounts SET disabled_ms = ?2 WHERE id = ?1",
        params![account, wanted.then_some(now)],
    )?;
    if wanted {
        for passes in ["sessions", "login_links", "tokens"] {
            transaction
                .execute(&format!("DELETE FROM {passes} WHERE account_id = ?1"), [account])?;
        }
    }
    let action = if wanted { AuditAction::AccountDisable } else { AuditAction::AccountEnable };
    note(&transaction, account, now, action, name)?;
    transaction.commit()?;
    Ok(())
}

/// Whether this is the account of the hub's own machine.
pub(crate) fn is_local(conn: &Connection, account: i64) -> rusqlite::Result<bool> {
    let name: Option<String> = conn
        .prepare_cached("SELECT name FROM accounts WHERE id = ?1")?
        .query_row([account], |row| row.get(0))
        .optional()?;
    Ok(name.as_deref() == Some(LOCAL))
}

/// The id of the account of this name, and whether it is disabled.
pub(crate) fn find(conn: &Connection, name: &str) -> rusqlite::Result<Option<(i64, bool)>> {
    conn.query_row(
        "SELECT id, disabled_ms IS NOT NULL FROM accounts WHERE name = ?1",
        [name],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
    .optional()
}

/// Writes what was done with an account into its log and into that of the hub's own.
fn note(
    conn: &Connection,
    account: i64,
    now: i64,
    action: AuditAction,
    name: &str,
) -> Result<(), AccountError> {
    let local = find(conn, LOCAL)?.map(|(id, _)| id);
    for account in [Some(account), local].into_iter().flatten() {
        // Whoever may write to the hub's folder.
        let actor = "talaia hub account".to_owned();
        let caller = Caller { account, scopes: Scopes::ALL, actor };
        audit::write(conn, &caller, now, action, name, None)?;
    }
    Ok(())
}

/// What reaches an account of the hub at `url`.
fn reached(url: String, key: &Secret, api_key: String, secret_key: &Secret) -> Credentials {
    Credentials {
        url,
        key: key.expose().to_owned(),
        api_key,
        secret_key: secret_key.expose().to_owned(),
        certificate: None,
    }
}

/// Makes the local account where there is none, and gives what reaches it. The key that `kept`
/// holds stays the key, unless it was revoked.
pub(crate) fn ensure_local(
    conn: &mut Connection,
    master: &Master,
    kept: Option<&Credentials>,
    url: String,
    now: i64,
) -> rusqlite::Result<Credentials> {
    let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found: Option<(i64, String, Vec<u8>)> = transaction
        .query_row("SELECT id, api_key, secret_key FROM accounts WHERE name = ?1", [LOCAL], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()?;
    let api_key = match (&found, kept) {
        (Some((_, api_key, _)), _) => api_key.clone(),
        (None, Some(kept)) => kept.api_key.clone(),
        (None, None) => credentials::new_api_key(),
    };
    let opened = found.as_ref().and_then(|(_, _, sealed)| master.open_sealed(&api_key, sealed));
    let (secret_key, seal_anew) = match (opened, kept) {
        (Some(secret), _) => (secret, false),
        (None, Some(kept)) => (Secret::new(kept.secret_key.as_str()), true),
        (None, None) => (credentials::new_token(""), true),
    };
    let sealed = if seal_anew { master.seal(&api_key, &secret_key) } else { None };
    let account = if let Some((id, _, _)) = found {
        if let Some(sealed) = sealed {
            tracing::warn!("the account's secret key was sealed anew: its master key is new");
            transaction.execute(
                "UPDATE accounts SET secret_key = ?2 WHERE id = ?1",
                params![id, sealed],
            )?;
        }
        id
    } else {
        transaction.execute(
            "INSERT INTO accounts (name, api_key, secret_key, created_ms) VALUES (?1, ?2, ?3, ?4)",
            params![LOCAL, api_key, sealed.unwrap_or_default(), now],
        )?;
        transaction.last_insert_rowid()
    };
    let key = ensure_key(&transaction, account, kept, now)?;
    transaction.commit()?;
    Ok(reached(url, &key, api_key, &secret_key))
}

fn ensure_key(
    conn: &Connection,
    account: i64,
    kept: Option<&Credentials>,
    now: i64,
) -> rusqlite::Result<Secret> {
    if let Some(kept) = kept.filter(|kept| kept.key.len() >= 64) {
        let key = Secret::new(kept.key.as_str());
        match keys::verify(conn, key.expose(), now)? {
            Token::Good(_) => return Ok(key),
            // The database was begun anew: agents elsewhere hold this key still.
            Token::Unknown => {
                insert_key(conn, account, &key, now)?;
                return Ok(key);
            }
            Token::Revoked { .. } | Token::Expired { .. } | Token::Disabled => {}
        }
    }
    let key = credentials::new_token("talaia_");
    insert_key(conn, account, &key, now)?;
    Ok(key)
}

fn insert_key(conn: &Connection, account: i64, key: &Secret, now: i64) -> rusqlite::Result<()> {
    conn.execute(
        "INSERT INTO keys (account_id, hash, created_ms, name, scopes, hint)
         VALUES (?1, ?2, ?3, CASE WHEN EXISTS
             (SELECT 1 FROM keys WHERE account_id = ?1 AND name = 'local' AND revoked_ms IS NULL)
             THEN 'local-' || lower(hex(randomblob(6))) ELSE 'local' END, ?5, ?4)",
        params![
            account,
            credentials::hash(key.expose()),
            now,
            credentials::hint(key),
            Scopes::ALL.to_string()
        ],
    )?;
    Ok(())
}

/// An account as its public identifier finds it.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub(crate) id: i64,
    /// What its requests are signed with.
    pub(crate) secret: Secret,
    /// It is refused.
    pub(crate) disabled: bool,
}

/// The account that `api_key` names; `None` where there is none, or its secret was sealed under
/// another master key.
pub(crate) fn by_api_key(
    conn: &Connection,
    master: &Master,
    api_key: &str,
) -> rusqlite::Result<Option<Account>> {
    let found: Option<(i64, Vec<u8>, bool)> = conn
        .prepare_cached(
            "SELECT id, secret_key, disabled_ms IS NOT NULL FROM accounts WHERE api_key = ?1",
        )?
        .query_row([api_key], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    Ok(found.and_then(|(id, sealed, disabled)| {
        Some(Account { id, secret: master.open_sealed(api_key, &sealed)?, disabled })
    }))
}

/// Whether an account is refused.
pub(crate) fn is_disabled(conn: &Connection, account: i64) -> rusqlite::Result<bool> {
    conn.prepare_cached("SELECT disabled_ms IS NOT NULL FROM accounts WHERE id = ?1")?
        .query_row([account], |row| row.get(0))
}

/// The account's public identifier.
pub(crate) fn api_key(conn: &Connection, account: i64) -> rusqlite::Result<String> {
    conn.query_row("SELECT api_key FROM accounts WHERE id = ?1", [account], |row| row.get(0))
}

/// Gives the account another secret key. Signatures by the old one and tokens that it led to are
/// worth nothing from now on.
pub(crate) fn rotate_secret(
    conn: &mut Connection,
    master: &Master,
    caller: &Caller,
    now: i64,
) -> rusqlite::Result<Option<Secret>> {
    let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let api_key = api_key(&transaction, caller.account)?;
    let secret = credentials::new_token("");
    let Some(sealed) = master.seal(&api_key, &secret) else { return Ok(None) };
    transaction.execute(
        "UPDATE accounts SET secret_key = ?2 WHERE id = ?1",
        params![caller.account, sealed],
    )?;
    transaction.execute("DELETE FROM tokens WHERE account_id = ?1", [caller.account])?;
    audit::write(&transaction, caller, now, AuditAction::SecretKeyRotate, &api_key, None)?;
    transaction.commit()?;
    Ok(Some(secret))
}
