//! Dropping what is too old, where the clock is to be believed ([`super::clock`]).

use std::time::{Duration, Instant};

use super::append::Writer;
use super::clock::{DAY, MINUTE};
use super::points::{self, Waiting};

/// How often the store is gone through for what is too old, and how long what was appended may wait
/// for compaction: what is not compacted does not age. In milliseconds.
const EVERY: i64 = 60 * MINUTE;
const RAW_AGE: i64 = DAY;
/// How long dropping may keep the next job waiting.
const PATIENCE: Duration = Duration::from_millis(100);

impl Writer {
    /// Does what is due as time goes by, whether or not anything comes in. `now` is the wall clock
    /// in milliseconds since 1970, `running` a clock that nobody can set, in milliseconds since any
    /// moment.
    pub(crate) fn tend(&mut self, now: i64, running: i64) {
        self.tidy(|writer| writer.try_tend(now, running));
    }

    fn try_tend(&mut self, now: i64, running: i64) -> rusqlite::Result<()> {
        let believed = self.clock.look(now, running);
        let transaction = self.conn.transaction()?;
        self.clock.note(&transaction, running)?;
        transaction.commit()?;
        let kept = self.limits.retention.map(|kept| kept.as_millis() as i64);
        self.done.cutoff = kept.filter(|_| believed).map(|kept| now.saturating_sub(kept));
        let due = |last: &mut Option<i64>, every| running - *last.get_or_insert(running) >= every;
        let raw_age = kept.map_or(RAW_AGE, |kept| (kept / 16).clamp(MINUTE, RAW_AGE));
        if self.dropped || due(&mut self.done.compacted, raw_age) {
            if self.waiting != Waiting::default() {
                self.compact()?;
            }
            self.done.compacted = Some(running);
        }
        self.free()?;
        if let Some(cutoff) = self.done.cutoff
            && self.done.dropped.is_none_or(|last| running - last >= EVERY)
            && self.drop_before(cutoff, now)?
        {
            self.done.dropped = Some(running);
        }
        self.sweep()?;
        // Additional results come without any report or point that would ask for it.
        self.shrink()
    }

    /// Drops what is older than `cutoff`, and says whether that was all.
    fn drop_before(&mut self, cutoff: i64, now: i64) -> rusqlite::Result<bool> {
        let begun = Instant::now();
        let mut gone = 0;
        loop {
            let transaction = self.conn.transaction()?;
            let of_points = points::drop_before(&transaction, cutoff)?;
            transaction.commit()?;
            gone += of_points;
            if of_points == 0 {
                break;
            }
            if begun.elapsed() > PATIENCE {
                return Ok(false);
            }
        }
        loop {
            let transaction = self.conn.transaction()?;
            let next = points::trim_before(&transaction, cutoff, now, self.done.trimmed)?;
            transaction.commit()?;
            self.done.trimmed = next.unwrap_or(0);
            if next.is_none() {
                break;
            }
            if begun.elapsed() > PATIENCE {
                return Ok(false);
            }
        }
        let transaction = self.conn.transaction()?;
        gone += transaction.execute("DELETE FROM rejections WHERE started_ms < ?1", [cutoff])?;
        gone +=
            transaction.execute("DELETE FROM additional_results WHERE check_ms < ?1", [cutoff])?;
        gone += transaction.execute("DELETE FROM contracts WHERE received_ms < ?1", [cutoff])?;
        transaction.commit()?;
        if gone > 0 {
            self.forget_empty_series()?;
            tracing::debug!(gone, "what was too old went");
            self.conn.execute_batch("PRAGMA incremental_vacuum(4096)")?;
        }
        Ok(true)
    }

    /// Forgets series of which no point is left, so that names that never come back do not pile up.
    pub(super) fn forget_empty_series(&mut self) -> rusqlite::Result<()> {
        // What is raw may have points of any series.
        if self.waiting != Waiting::default() {
            return Ok(());
        }
        self.change(|conn| match points::oldest(conn)? {
            Some(oldest) => conn.execute("DELETE FROM series WHERE last_ms < ?1", [oldest]),
            None => conn.execute("DELETE FROM series WHERE last_ms IS NOT NULL", ()),
        })
        .map(drop)
    }
}
