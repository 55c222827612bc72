//! Tokens that stand for an account for a while: login links, sessions, the Monitis interface's
//! `authToken`. Only their hashes are kept.

use rusqlite::{Connection, OptionalExtension, params};

use crate::model::Secret;

use super::credentials::{self, hash, same_hash};

/// A sort of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Passes {
    pub(crate) table: &'static str,
    /// How long one works, in milliseconds.
    pub(crate) life_ms: i64,
    /// How many of one account there are; the oldest go.
    pub(crate) most: i64,
}

impl Passes {
    /// Makes one for an account, in a transaction of the caller's.
    pub(crate) fn issue(
        self,
        conn: &Connection,
        account: i64,
        now: i64,
    ) -> rusqlite::Result<Secret> {
        let Self { table, life_ms, most } = self;
        let token = credentials::new_token("");
        conn.execute(&format!("DELETE FROM {table} WHERE expires_ms <= ?1"), [now])?;
        conn.execute(
            &format!("INSERT INTO {table} (hash, account_id, expires_ms) VALUES (?1, ?2, ?3)"),
            params![hash(token.expose()), account, now + life_ms],
        )?;
        conn.execute(
            &format!(
                "DELETE FROM {table} WHERE account_id = ?1 AND hash NOT IN
                 (SELECT hash FROM {table} WHERE account_id = ?1 ORDER BY expires_ms DESC LIMIT ?2)"
            ),
            params![account, most],
        )?;
        Ok(token)
    }

    /// The account that one stands for, while it works.
    pub(crate) fn account(
        self,
        conn: &Connection,
        token: &str,
        now: i64,
    ) -> rusqlite::Result<Option<i64>> {
        let hash = hash(token);
        let table = self.table;
        let sql =
            format!("SELECT account_id, hash FROM {table} WHERE hash = ?1 AND expires_ms > ?2");
        let found: Option<(i64, Vec<u8>)> = conn
            .prepare_cached(&sql)?
            .query_row(params![hash, now], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        // Looking up a hash leaks nothing of the token; the comparison is in constant time all the
        // same.
        Ok(found.filter(|(_, stored)| same_hash(stored, &hash)).map(|(account, _)| account))
    }
}
