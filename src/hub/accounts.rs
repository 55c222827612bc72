//! Accounts and their keys.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use crate::model::Secret;

use super::audit;
use super::caller::Caller;
use super::credentials::{self, Credentials, Master};
use super::keys::{self, Scopes, Token};

/// The account of the machine that the hub runs on.
pub(crate) const LOCAL: &str = "local";

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
    Ok(Credentials {
        url,
        key: key.expose().to_owned(),
        api_key,
        secret_key: secret_key.expose().to_owned(),
        certificate: None,
    })
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
            Token::Revoked { .. } | Token::Expired { .. } => {}
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

/// The account that `api_key` names, and what its requests are signed with; `None` where there is
/// none, or its secret was sealed under another master key.
pub(crate) fn by_api_key(
    conn: &Connection,
    master: &Master,
    api_key: &str,
) -> rusqlite::Result<Option<(i64, Secret)>> {
    let found: Option<(i64, Vec<u8>)> = conn
        .prepare_cached("SELECT id, secret_key FROM accounts WHERE api_key = ?1")?
        .query_row([api_key], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    Ok(found.and_then(|(id, sealed)| Some((id, master.open_sealed(api_key, &sealed)?))))
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
    audit::write(&transaction, caller, now, "secret-key.rotate", &api_key, None)?;
    transaction.commit()?;
    Ok(Some(secret))
}
