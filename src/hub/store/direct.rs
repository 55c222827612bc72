//! Results that come for one monitor, from elsewhere than an agent: in one transaction, through the
//! same raw blocks as batches.

use rusqlite::params;

use crate::hub::scalar::Scalar;
use crate::hub::wire::{self, Given, Text};
use crate::model::{Metric, Threshold};

use super::append::{BLOCK_POINTS, Writer};
use super::error::{AppendError, StoreError};
use super::points::{self, Waiting};

/// Checked results of one monitor.
pub(crate) struct Direct<'a> {
    pub(crate) monitor: i64,
    /// Metrics and when they were observed, in milliseconds since 1970.
    pub(crate) metrics: &'a [(i64, Metric)],
    /// Detail under a check time, as JSON.
    pub(crate) additional: &'a [(i64, String)],
    /// How many results that is.
    pub(crate) rows: usize,
    pub(crate) now: i64,
}

impl Writer {
    /// Stores them durably, or changes nothing.
    pub(crate) fn post(&mut self, direct: &Direct<'_>) -> Result<(), StoreError> {
        self.room()?;
        let begun = self.conn.execute_batch("BEGIN IMMEDIATE").map_err(AppendError::from);
        let done = begun.and_then(|()| self.post_in_transaction(direct)).and_then(|added| {
            self.conn.execute_batch("COMMIT")?;
            Ok(added)
        });
        match done {
            Ok(waiting) => {
                self.waiting += waiting;
                Ok(())
            }
            Err(error) => {
                self.forget();
                if !self.conn.is_autocommit() {
                    self.conn
                        .execute_batch("ROLLBACK")
                        .map_err(|source| StoreError::Sqlite { action: "roll back in", source })?;
                }
                Err(match error {
                    AppendError::Store(error) => error,
                    // Only batches have bodies and streams.
                    _ => StoreError::Defect,
                })
            }
        }
    }

    fn post_in_transaction(&mut self, direct: &Direct<'_>) -> Result<Waiting, AppendError> {
        let Self { conn, known, block, .. } = self;
        let mut waiting = Waiting::default();
        known.begin();
        block.clear();
        for (ms, metric) in direct.metrics {
            let tags: Vec<(Text<'_>, Text<'_>)> =
                metric.tags.iter().map(|(key, value)| (key.into(), value.into())).collect();
            let series = known.series_of(conn, direct.monitor, &as_wire(metric), &tags)?;
            block.push(series, *ms, (&metric.value).into());
            if block.points() >= BLOCK_POINTS {
                waiting += points::append(conn, block)?;
            }
        }
        waiting += points::append(conn, block)?;
        block.shrink();
        let mut put = conn.prepare_cached(
            "INSERT INTO additional_results (monitor_id, check_ms, body) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET body = ?3",
        )?;
        for (ms, body) in direct.additional {
            put.execute(params![direct.monitor, ms, body])?;
        }
        // Of an agent's plugin the runs are counted, and those come in batches only.
        conn.prepare_cached(
            "UPDATE monitors SET metrics = metrics + ?2,
             reports = CASE WHEN plugin IS NULL THEN reports + ?3 ELSE reports END,
             received_ms = CASE WHEN plugin IS NULL THEN ?4 ELSE received_ms END WHERE id = ?1",
        )?
        .execute(params![
            direct.monitor,
            direct.metrics.len() as i64,
            direct.rows as i64,
            direct.now
        ])?;
        Ok(waiting)
    }
}

fn as_wire(metric: &Metric) -> wire::Metric<'_> {
    let mark = |mark: &Option<Threshold>| match mark {
        None => None,
        Some(Threshold::Number(x)) => Some(Given::Plain(Scalar::Float(*x))),
        Some(Threshold::Range(text)) => Some(Given::Owned(text.to_string())),
    };
    wire::Metric {
        name: (&*metric.name).into(),
        value: Given::Plain((&metric.value).into()),
        kind: metric.kind,
        unit: metric.unit.as_deref().map(Into::into),
        label: metric.label.as_deref().map(Into::into),
        tags: 0..0,
        time: None,
        warn: mark(&metric.warn),
        crit: mark(&metric.crit),
        min: metric.min,
        max: metric.max,
    }
}
