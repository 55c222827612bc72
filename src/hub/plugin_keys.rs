//! Keys of registered plugins. A plugin's key says which plugin a report is of, on all hosts; it lets
//! nobody in by itself.

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use serde::Serialize;

use crate::model::{AuditAction, InvalidKey, PluginKey, PluginName, Secret};

use super::audit;
use super::caller::Caller;
use super::credentials;
use super::keys::AfterKey;
use super::times::{maybe_time, time};

/// Most plugins of one account that are registered at a time.
const MOST: i64 = 10_000;

/// One plugin's key. Times are milliseconds since 1970; as JSON, RFC 3339.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct PluginKeyRow {
    pub(crate) key: PluginKey,
    pub(crate) plugin: String,
    #[serde(rename = "created", serialize_with = "time")]
    pub(crate) created_ms: i64,
    #[serde(rename = "revoked", serialize_with = "maybe_time")]
    pub(crate) revoked_ms: Option<i64>,
}

impl PluginKeyRow {
    /// Where it stands in the list.
    pub(crate) fn place(&self) -> AfterKey<PluginKey> {
        let (gone, name) = (self.revoked_ms.is_some(), self.plugin.clone());
        AfterKey { gone, name, id: self.key }
    }
}

/// What a key is to this account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Lookup {
    /// That of this plugin.
    Known {
        plugin: String,
    },
    /// It was that of this plugin.
    Revoked {
        plugin: String,
    },
    Unknown,
}

/// Why a plugin was not registered, or its key not revoked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PluginKeyError {
    #[error(transparent)]
    Key(#[from] InvalidKey),
    #[error("the plugin `{plugin}` is registered already, with the key {key}; revoke that first")]
    Registered { plugin: String, key: PluginKey },
    #[error("the key {key} was given out already; let the hub make one")]
    Taken { key: PluginKey },
    #[error("no plugin is registered with the key {key}, or it was revoked")]
    Missing { key: PluginKey },
    #[error("the account has {MOST} registered plugins; revoke the keys of some")]
    TooMany,
    #[error("the hub's database failed")]
    Sqlite(#[from] rusqlite::Error),
}

/// Registers `plugin`, with a key of its own where it brings one (from another hub), else a new one.
pub(crate) fn register(
    conn: &mut Connection,
    caller: &Caller,
    plugin: &PluginName,
    own: Option<PluginKey>,
    now: i64,
) -> Result<PluginKey, PluginKeyError> {
    let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if let Some(key) = registered(&transaction, caller.account, plugin)? {
        return Err(PluginKeyError::Registered { plugin: plugin.to_string(), key });
    }
    let key = insert(&transaction, caller, plugin, own.unwrap_or_else(PluginKey::new), now)?;
    transaction.commit()?;
    Ok(key)
}

/// The key of `plugin`, in the transaction of what needs it; registers the plugin where it is not.
pub(crate) fn ensure(
    transaction: &Transaction<'_>,
    caller: &Caller,
    plugin: &PluginName,
    now: i64,
) -> Result<PluginKey, PluginKeyError> {
    match registered(transaction, caller.account, plugin)? {
        Some(key) => Ok(key),
        None => insert(transaction, caller, plugin, PluginKey::new(), now),
    }
}

/// The key under which the account has `plugin` registered.
fn registered(
    conn: &Connection,
    account: i64,
    plugin: &PluginName,
) -> Result<Option<PluginKey>, PluginKeyError> {
    let key: Option<String> = conn
        .query_row(
            "SELECT key FROM plugin_keys
             WHERE account_id = ?1 AND plugin = ?2 AND revoked_ms IS NULL",
            params![account, plugin.as_str()],
            |row| row.get(0),
        )
        .optional()?;
    Ok(key.map(|key| parse(&key)).transpose()?)
}

fn insert(
    transaction: &Transaction<'_>,
    caller: &Caller,
    plugin: &PluginName,
    key: PluginKey,
    now: i64,
) -> Result<PluginKey, PluginKeyError> {
    let count: i64 = transaction.query_row(
        "SELECT count(*) FROM plugin_keys WHERE account_id = ?1 AND revoked_ms IS NULL",
        [caller.account],
        |row| row.get(0),
    )?;
    if count >= MOST {
        return Err(PluginKeyError::TooMany);
    }
    let inserted = transaction.execute(
        "INSERT INTO plugin_keys (key, account_id, plugin, created_ms) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO NOTHING",
        params![key.to_string(), caller.account, plugin.as_str(), now],
    )?;
    if inserted == 0 {
        return Err(PluginKeyError::Taken { key });
    }
    let hint = hint(key);
    audit::write(
        transaction,
        caller,
        now,
        AuditAction::PluginKeyCreate,
        plugin.as_str(),
        Some(&hint),
    )?;
    Ok(key)
}

/// The account's plugin keys by plugin; those that work first.
pub(crate) fn list(
    conn: &Connection,
    account: i64,
    after: Option<&AfterKey<PluginKey>>,
    limit: usize,
) -> rusqlite::Result<Vec<PluginKeyRow>> {
    let gone = after.map(|after| after.gone);
    let (plugin, key) = (after.map(|after| &after.name), after.map(|after| after.id.to_string()));
    conn.prepare_cached(
        "SELECT key, plugin, created_ms, revoked_ms FROM plugin_keys WHERE account_id = ?1
         AND (?2 IS NULL OR (revoked_ms IS NOT NULL, plugin, key) > (?2, ?3, ?4))
         ORDER BY revoked_ms IS NOT NULL, plugin, key LIMIT ?5",
    )?
    .query_map(params![account, gone, plugin, key, limit as i64], |row| {
        let key: String = row.get(0)?;
        Ok(PluginKeyRow {
            key: key.parse().map_err(|error| {
                rusqlite::Error::FromSqlConversionFailure(
                    0,
                    rusqlite::types::Type::Text,
                    Box::new(error),
                )
            })?,
            plugin: row.get(1)?,
            created_ms: row.get(2)?,
            revoked_ms: row.get(3)?,
        })
    })?
    .collect()
}

/// Ends a key; gives the plugin's name.
pub(crate) fn revoke(
    conn: &mut Connection,
    caller: &Caller,
    key: PluginKey,
    now: i64,
) -> Result<String, PluginKeyError> {
    let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let plugin: Option<String> = transaction
        .query_row(
            "UPDATE plugin_keys SET revoked_ms = ?3
             WHERE key = ?1 AND account_id = ?2 AND revoked_ms IS NULL RETURNING plugin",
            params![key.to_string(), caller.account, now],
            |row| row.get(0),
        )
        .optional()?;
    let Some(plugin) = plugin else { return Err(PluginKeyError::Missing { key }) };
    audit::write(
        &transaction,
        caller,
        now,
        AuditAction::PluginKeyRevoke,
        &plugin,
        Some(&hint(key)),
    )?;
    transaction.commit()?;
    Ok(plugin)
}

/// What `key` is to `account`. Another account's key is unknown.
pub(crate) fn lookup(conn: &Connection, account: i64, key: PluginKey) -> rusqlite::Result<Lookup> {
    let found: Option<(String, Option<i64>)> = conn
        .prepare_cached(
            "SELECT plugin, revoked_ms FROM plugin_keys WHERE key = ?1 AND account_id = ?2",
        )?
        .query_row(params![key.to_string(), account], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    Ok(match found {
        None => Lookup::Unknown,
        Some((plugin, None)) => Lookup::Known { plugin },
        Some((plugin, Some(_))) => Lookup::Revoked { plugin },
    })
}

/// What tells a key from others in the audit log.
fn hint(key: PluginKey) -> String {
    credentials::hint(&Secret::new(key.to_string()))
}

/// Reads a key as people write it.
pub(crate) fn parse(text: &str) -> Result<PluginKey, InvalidKey> {
    text.parse()
}
