//! Removing a monitor with all that it has.

use std::ops::ControlFlow;

use rusqlite::Connection;
use serde::Serialize;

use crate::hub::audit;
use crate::hub::caller::Caller;
use crate::hub::store::{StoreError, Writer, drop_series};

use super::MonitorError;
use super::list::must_find;
use super::read::{Columns, each_moment};

/// What the hub holds of a monitor now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(crate) struct Held {
    /// Rows, as [`super::results`] gives them.
    pub(crate) results: u64,
    /// Values in them.
    pub(crate) values: u64,
    pub(crate) runs: u64,
    pub(crate) rejections: u64,
    /// Check times with additional results.
    pub(crate) additional: u64,
}

/// Counts what the hub holds of a monitor. Goes through all of it.
pub(crate) fn held(conn: &Connection, monitor: i64) -> rusqlite::Result<Held> {
    let columns = Columns::of(conn, monitor)?;
    let mut held = Held::default();
    each_moment(conn, &columns, i64::MIN..=i64::MAX, |ms, cells| {
        for row in columns.rows(ms, cells) {
            held.results += 1;
            held.values += row.values.len() as u64;
        }
        ControlFlow::Continue(())
    })?;
    let count = |sql: &str| -> rusqlite::Result<u64> {
        conn.prepare_cached(sql)?.query_row([monitor], |row| Ok(row.get::<_, i64>(0)? as u64))
    };
    held.runs = count("SELECT count(*) FROM runs WHERE monitor_id = ?1")?;
    held.rejections = count("SELECT count(*) FROM rejections WHERE monitor_id = ?1")?;
    held.additional = count("SELECT count(*) FROM additional_results WHERE monitor_id = ?1")?;
    Ok(held)
}

impl Writer {
    /// Removes a monitor and all that it has, and says how much that was. Its id is never used
    /// again; if an agent goes on to send for it, that is a new monitor.
    pub(crate) fn remove_monitor(
        &mut self,
        caller: &Caller,
        id: i64,
        now: i64,
    ) -> Result<Held, MonitorError> {
        let found = must_find(self.conn(), caller.account, id)?;
        let removed = self.change(|conn| {
            let held = held(conn, id)?;
            let series: Vec<i64> = conn
                .prepare_cached("SELECT id FROM series WHERE monitor_id = ?1")?
                .query_map([id], |row| row.get(0))?
                .collect::<rusqlite::Result<_>>()?;
            drop_series(conn, &series)?;
            for table in ["contracts", "fields", "additional_results", "rejections", "runs"] {
                conn.execute(&format!("DELETE FROM {table} WHERE monitor_id = ?1"), [id])?;
            }
            conn.execute("DELETE FROM monitors WHERE id = ?1", [id])?;
            let detail = format!(
                "{}: {} results, {} runs, {} refused records",
                found.name, held.results, held.runs, held.rejections
            );
            let subject = id.to_string();
            audit::write(conn, caller, now, "monitor.delete", &subject, Some(&detail))?;
            Ok(held)
        });
        Ok(removed
            .map_err(|source| StoreError::Sqlite { action: "remove a monitor from", source })?)
    }
}
