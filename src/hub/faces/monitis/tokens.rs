//! `authToken`: stands for a signature for a day. Kept as a hash, as all tokens are.

use rusqlite::Connection;

use crate::hub::passes::Passes;
use crate::model::Secret;

/// Clients ask for one a day each, or one each time. Letters and digits only: clients look.
const TOKENS: Passes = Passes { table: "tokens", life_ms: 24 * 3600 * 1000, most: 1000 };

/// Makes one.
pub(super) fn issue(conn: &mut Connection, account: i64, now: i64) -> rusqlite::Result<Secret> {
    let transaction = conn.transaction()?;
    let token = TOKENS.issue(&transaction, account, now)?;
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
    Ok(TOKENS.account(conn, token, now)? == Some(account))
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
        assert!(holds(&conn, 1, text, 1000 + TOKENS.life_ms - 1).unwrap());
        assert!(!holds(&conn, 1, text, 1000 + TOKENS.life_ms).unwrap());
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
        for n in 0..TOKENS.most {
            issue(&mut conn, 1, n + 1).unwrap();
        }
        let count = |conn: &Connection| -> i64 {
            conn.query_row("SELECT count(*) FROM tokens", (), |row| row.get(0)).unwrap()
        };
        assert_eq!(count(&conn), TOKENS.most);
        assert!(!holds(&conn, 1, first.expose(), 1).unwrap());
        issue(&mut conn, 1, 3 * TOKENS.life_ms).unwrap();
        assert_eq!(count(&conn), 1, "expired ones go");
    }
}
