//! Keeping to the size that the store may have: the oldest goes first, whatever it is and whosever.
//!
//! What may go are points, runs, rejections, additional results and what plugins declare; of these the
//! oldest of each kind are looked at together. Runs and rejections are looked at in the order in which
//! they came: what came late goes by its own time among those, and not before what came before it.
//! Nothing is taken for younger than the hub's clock. All else (accounts, keys, monitors, series, the
//! audit log, the last run of each monitor) counts towards the size and stays, but for series of which
//! no point is left; archives of packages do not count.

use std::time::{Duration, Instant};

use rusqlite::{Connection, params};

use super::append::Writer;
use super::points;

/// Of each kind, how much is looked at and may go in one transaction.
const LOOKED_AT: usize = 256;
/// Bytes that one transaction frees at least, where there is as much.
const STEP: u64 = 64 << 10;
/// About how many bytes a run and a rejection have.
const RUN: i64 = 256;
const REJECTION: i64 = 512;
/// How long dropping may keep the next job waiting. The rest goes after it.
const PATIENCE: Duration = Duration::from_millis(100);

/// What may go.
struct Oldest {
    ms: i64,
    bytes: i64,
    kind: Kind,
    id: i64,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Points,
    Run,
    Rejection,
    /// The additional results of this monitor at that time.
    Additional,
    /// What the plugin of this monitor declares. One that runs tells it every hour.
    Contract,
}

impl Writer {
    /// Drops the oldest of all while the database is over its size, for as long as a job may be kept
    /// waiting.
    pub(super) fn shrink(&mut self) -> rusqlite::Result<()> {
        let begun = Instant::now();
        let mut dropped = self.shrinking.take().unwrap_or(0);
        let now = self.clock.seen().unwrap_or(i64::MAX);
        loop {
            let over = live_bytes(&self.conn)?.saturating_sub(self.limits.max_size);
            if over == 0 {
                break;
            }
            let transaction = self.conn.transaction()?;
            let gone = drop_oldest(&transaction, now, over.max(STEP))?;
            transaction.commit()?;
            dropped += gone;
            if gone == 0 {
                break;
            }
            if begun.elapsed() > PATIENCE {
                self.shrinking = Some(dropped);
                return self.conn.execute_batch("PRAGMA incremental_vacuum(4096)");
            }
        }
        if dropped == 0 {
            return Ok(());
        }
        tracing::info!(dropped, "the hub's database reached its size: the oldest of it went");
        self.forget_empty_series()?;
        self.forget();
        self.conn.execute_batch("PRAGMA incremental_vacuum(4096)")
    }
}

/// Drops about so many bytes of the oldest, and says how many rows those were.
fn drop_oldest(conn: &Connection, now: i64, bytes: u64) -> rusqlite::Result<usize> {
    let mut left = i64::try_from(bytes).unwrap_or(i64::MAX);
    let mut gone = 0;
    for oldest in oldest(conn, now)? {
        if left <= 0 {
            break;
        }
        let Oldest { ms, id, .. } = oldest;
        gone += match oldest.kind {
            Kind::Points => points::drop_piece(conn, id)?,
            Kind::Run => conn.prepare_cached("DELETE FROM runs WHERE id = ?1")?.execute([id])?,
            Kind::Rejection => {
                conn.prepare_cached("DELETE FROM rejections WHERE id = ?1")?.execute([id])?
            }
            Kind::Additional => conn
                .prepare_cached(
                    "DELETE FROM additional_results WHERE monitor_id = ?1 AND check_ms = ?2",
                )?
                .execute([id, ms])?,
            Kind::Contract => {
                conn.prepare_cached("DELETE FROM contracts WHERE monitor_id = ?1")?.execute([id])?
            }
        };
        left -= oldest.bytes;
    }
    Ok(gone)
}

/// The oldest of all kinds, oldest first. Where there is more of a kind than is looked at, what is
/// younger than that is left out.
fn oldest(conn: &Connection, now: i64) -> rusqlite::Result<Vec<Oldest>> {
    let pieces = points::oldest_pieces(conn, now, LOOKED_AT)?.into_iter().map(|piece| Oldest {
        ms: piece.ms,
        bytes: piece.bytes,
        kind: Kind::Points,
        id: piece.id,
    });
    // A monitor's last run stays, however old it is.
    let runs = "SELECT id, started_ms, ?1 FROM runs
        WHERE id NOT IN (SELECT last_run FROM monitors WHERE last_run IS NOT NULL)
        ORDER BY id LIMIT ?2";
    let rejections = "SELECT id, started_ms, ?1 FROM rejections ORDER BY id LIMIT ?2";
    let additional = "SELECT monitor_id, check_ms, length(body) + ?1 FROM additional_results
        ORDER BY check_ms LIMIT ?2";
    let contracts = "SELECT monitor_id, received_ms, length(body) + ?1 FROM contracts
        ORDER BY received_ms LIMIT ?2";
    let kinds = [
        pieces.collect(),
        rows(conn, runs, Kind::Run, RUN)?,
        rows(conn, rejections, Kind::Rejection, REJECTION)?,
        rows(conn, additional, Kind::Additional, 0)?,
        rows(conn, contracts, Kind::Contract, 0)?,
    ];
    let age = |one: &Oldest| one.ms.min(now);
    let reach = kinds.iter().filter(|kind| kind.len() == LOOKED_AT);
    let reach = reach.filter_map(|kind| kind.iter().map(age).max()).min();
    let mut all: Vec<Oldest> = kinds.into_iter().flatten().collect();
    all.retain(|one| reach.is_none_or(|reach| age(one) <= reach));
    all.sort_by_key(age);
    Ok(all)
}

/// What `sql` gives: ids, times and bytes. Its parameters are the bytes of a row, and how many rows
/// there may be.
fn rows(conn: &Connection, sql: &str, kind: Kind, bytes: i64) -> rusqlite::Result<Vec<Oldest>> {
    conn.prepare_cached(sql)?
        .query_map(params![bytes, LOOKED_AT as i64], |row| {
            Ok(Oldest { id: row.get(0)?, ms: row.get(1)?, bytes: row.get(2)?, kind })
        })?
        .collect()
}

/// Bytes of the database that are in use, but for archives of packages: those are nobody's results,
/// and have a bound of their own.
fn live_bytes(conn: &Connection) -> rusqlite::Result<u64> {
    let get = |name| conn.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let pages = get("page_count")?.saturating_sub(get("freelist_count")?);
    let archives: i64 = conn
        .prepare_cached("SELECT coalesce(sum(size), 0) FROM package_versions")?
        .query_row((), |row| row.get(0))?;
    Ok(pages.saturating_mul(get("page_size")?).saturating_sub(archives).max(0) as u64)
}
