//! Removing a monitor with all that it has.

use std::ops::ControlFlow;

use rusqlite::Connection;
use serde::Serialize;

use crate::hub::audit;
use crate::hub::caller::Caller;
use crate::hub::store::{Store, StoreError, Writer, drop_series};
use crate::model::AuditAction;

use super::MonitorError;
use super::list::must_find;
use super::read::{Columns, each_moment};

/// What the hub holds of a monitor now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(crate) struct Held {
    /// Rows, as [`super::results`] gives them; none where there are too many to count.
    pub(crate) results: Option<u64>,
    /// Values in them.
    pub(crate) values: Option<u64>,
    pub(crate) runs: u64,
    pub(crate) rejections: u64,
    /// Check times with additional results.
    pub(crate) additional: u64,
}

/// Counts what the hub holds of a monitor. Goes through all of it, and where that takes too long,
/// through all but its results.
pub(crate) async fn count(store: &Store, monitor: i64) -> Result<Held, StoreError> {
    match store.read_long(move |conn| held(conn, monitor)).await {
        Err(StoreError::TooLong) => store.read_long(move |conn| beside(conn, monitor)).await,
        counted => counted,
    }
}

pub(super) fn held(conn: &Connection, monitor: i64) -> rusqlite::Result<Held> {
    let columns = Columns::of(conn, monitor)?;
    let (mut results, mut values) = (0, 0);
    each_moment(conn, &columns, i64::MIN..=i64::MAX, |ms, cells| {
        for row in columns.rows(ms, cells) {
            results += 1;
            values += row.values.len() as u64;
        }
        ControlFlow::Continue(())
    })?;
    Ok(Held { results: Some(results), values: Some(values), ..beside(conn, monitor)? })
}

/// Counts what there is beside results.
fn beside(conn: &Connection, monitor: i64) -> rusqlite::Result<Held> {
    let count = |sql: &str| -> rusqlite::Result<u64> {
        conn.prepare_cached(sql)?.query_row([monitor], |row| Ok(row.get::<_, i64>(0)? as u64))
    };
    Ok(Held {
        results: None,
        values: None,
        runs: count("SELECT count(*) FROM runs WHERE monitor_id = ?1")?,
        rejections: count("SELECT count(*) FROM rejections WHERE monitor_id = ?1")?,
        additional: count("SELECT count(*) FROM additional_results WHERE monitor_id = ?1")?,
    })
}

impl Writer {
    /// The same as [`Writer::remove_monitor`], unless something came for it at `since` or later.
    pub(crate) fn remove_unused(
        &mut self,
        caller: &Caller,
        id: i64,
        counted: Held,
        since: i64,
        now: i64,
    ) -> Result<Held, MonitorError> {
        // Looked at where nothing can come in between.
        if must_find(self.conn(), caller.account, id)?.received_ms >= since {
            return Err(MonitorError::Used { id });
        }
        self.remove_monitor(caller, id, counted, now)
    }

    /// Removes a monitor and all that it has, and says how much that was, by what was `counted` of
    /// its results: going through them here would keep uploads waiting. Its id is never used again;
    /// if an agent goes on to send for it, that is a new monitor.
    pub(crate) fn remove_monitor(
        &mut self,
        caller: &Caller,
        id: i64,
        counted: Held,
        now: i64,
    ) -> Result<Held, MonitorError> {
        let found = must_find(self.conn(), caller.account, id)?;
        let removed = self.change(|conn| {
            let series: Vec<i64> = conn
                .prepare_cached("SELECT id FROM series WHERE monitor_id = ?1")?
                .query_map([id], |row| row.get(0))?
                .collect::<rusqlite::Result<_>>()?;
            drop_series(conn, &series)?;
            let delete = |table: &str| -> rusqlite::Result<u64> {
                let sql = format!("DELETE FROM {table} WHERE monitor_id = ?1");
                conn.execute(&sql, [id]).map(|rows| rows as u64)
            };
            delete("contracts")?;
            delete("fields")?;
            let held = Held {
                runs: delete("runs")?,
                rejections: delete("rejections")?,
                additional: delete("additional_results")?,
                ..counted
            };
            conn.execute("DELETE FROM monitors WHERE id = ?1", [id])?;
            let results = held.results.map_or("uncounted".to_owned(), |count| count.to_string());
            let detail = format!(
                "{}: {results} results, {} runs, {} refused records",
                found.name, held.runs, held.rejections
            );
            let subject = id.to_string();
            audit::write(conn, caller, now, AuditAction::MonitorDelete, &subject, Some(&detail))?;
            Ok(held)
        });
        Ok(removed
            .map_err(|source| StoreError::Sqlite { action: "remove a monitor from", source })?)
    }
}
