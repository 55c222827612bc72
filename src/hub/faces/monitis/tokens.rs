//! `authToken`: stands for a signature for a day. Kept as a hash, as all tokens are.

use rusqlite::{Connection, OptionalExtension, params};

use crate::hub::credentials::{self, hash, same_hash};
use crate::model::Secret;

/// How long one works, in milliseconds.
pub(super) const LIFE_MS: i64 = 24 * 3600 * 1000;
/// Tokens of one account; the oldest go. Clients ask for one a day each, or one each time.
const MOST: i64 = 1000;

/// Makes one. Letters and digits only: clients look.
pub(super) fn issue(conn: &mut Connection, account: i64, now: i64) -> rusqlite::Result<Secret> {
    let token = credentials::new_token("");
    let transaction = conn.transaction()?;
    transaction.execute("DELETE FROM tokens WHERE expires_ms <= ?1", [now])?;
    transaction.execute(
        "INSERT INTO tokens (hash, account_id, expires_ms) VALUES (?1, ?2, ?3)",
        params![hash(token.expose()), account, now + LIFE_MS],
    )?;
    transaction.execute(
        "DELETE FROM tokens WHERE account_id = ?1 AND hash NOT IN
         (SELECT hash FROM tokens WHERE account_id = ?1 ORDER BY expires_ms DESC LIMIT ?2)",
        params![account, MOST],
    )?;
    transaction.commit()?;
    Ok(token)
}

/// Whether it is one of this account, and not expired.
pub(super) fn holds(
    conn: &Connection,
    account: i64,
    token: &str,
    now: i64,
) -> rusqlite::Result<bool> {
    let hash = hash(token);
    let found: Option<Vec<u8>> = conn
        .prepare_cached(
            "SELECT hash FROM tokens WHERE hash = ?1 AND account_id = ?2 AND expires_ms > ?3",
        )?
        .query_row(params![hash, account, now], |row| row.get(0))
        .optional()?;
    Ok(found.is_some_and(|stored| same_hash(&stored, &hash)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::store::{Access, open};

    #[test]
    fn a_token_works_for_its_account_for_a_day() {
        let folder = tempfile::tempdir().unwrap();
        let mut conn = open(&folder.path().join("hub.db"), Access::Write).unwrap();
        let token = issue(&mut conn, 1, 1000).unwrap();
        let text = token.expose();
        assert!(text.len() < 150 && text.bytes().all(|b| b.is_ascii_alphanumeric()));
        assert!(holds(&conn, 1, text, 1000 + LIFE_MS - 1).unwrap());
        assert!(!holds(&conn, 1, text, 1000 + LIFE_MS).unwrap());
        assert!(!holds(&conn, 2, text, 1000).unwrap());
        assert!(!holds(&conn, 1, "", 1000).unwrap());
        let kept: Vec<u8> =
            conn.query_row("SELECT hash FROM tokens", (), |row| row.get(0)).unwrap();
        assert_ne!(kept, text.as_bytes());
    }

    #[test]
    fn tokens_do_not_pile_up() {
        let folder = tempfile::tempdir().unwrap();
        let mut conn = open(&folder.path().join("hub.db"), Access::Write).unwrap();
        conn.execute_batch("PRAGMA synchronous = OFF").unwrap();
        let first = issue(&mut conn, 1, 0).unwrap();
        for n in 0..MOST {
            issue(&mut conn, 1, n + 1).unwrap();
        }
        let count = |conn: &Connection| -> i64 {
            conn.query_row("SELECT count(*) FROM tokens", (), |row| row.get(0)).unwrap()
        };
        assert_eq!(count(&conn), MOST);
        assert!(!holds(&conn, 1, first.expose(), 1).unwrap());
        issue(&mut conn, 1, 3 * LIFE_MS).unwrap();
        assert_eq!(count(&conn), 1, "expired ones go");
    }
}
