//! Accounts and their keys.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use crate::model::Secret;

use super::credentials::{self, Credentials, Master};

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
    })
}

fn ensure_key(
    conn: &Connection,
    account: i64,
    kept: Option<&Credentials>,
    now: i64,
) -> rusqlite::Result<Secret> {
    if let Some(kept) = kept.filter(|kept| kept.key.len() >= 64) {
        let revoked: Option<Option<i64>> = conn
            .query_row(
                "SELECT revoked_ms FROM keys WHERE hash = ?1",
                [credentials::hash(&kept.key)],
                |row| row.get(0),
            )
            .optional()?;
        let key = Secret::new(kept.key.as_str());
        match revoked {
            Some(None) => return Ok(key),
            // The database was begun anew: agents elsewhere hold this key still.
            None => {
                insert_key(conn, account, &key, now)?;
                return Ok(key);
            }
            Some(Some(_)) => {}
        }
    }
    let key = credentials::new_token("talaia_");
    insert_key(conn, account, &key, now)?;
    Ok(key)
}

fn insert_key(conn: &Connection, account: i64, key: &Secret, now: i64) -> rusqlite::Result<()> {
    conn.execute(
        "INSERT INTO keys (account_id, hash, created_ms, name, scopes, hint)
         VALUES (?1, ?2, ?3, 'local-' || hex(randomblob(2)), 'ingest read review admin', ?4)",
        params![account, credentials::hash(key.expose()), now, credentials::hint(key)],
    )?;
    Ok(())
}

/// The account that a Bearer token belongs to.
pub(crate) fn by_key(conn: &Connection, token: &str) -> rusqlite::Result<Option<i64>> {
    let hash = credentials::hash(token);
    // Looking up a hash leaks nothing of the token; the comparison is in constant time all the same.
    let found: Option<(i64, Vec<u8>)> = conn
        .prepare_cached("SELECT account_id, hash FROM keys WHERE hash = ?1 AND revoked_ms IS NULL")?
        .query_row([hash], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    Ok(found.filter(|(_, stored)| credentials::same_hash(stored, &hash)).map(|(id, _)| id))
}
