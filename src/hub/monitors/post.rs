//! Taking results that people, programs and old clients post: checked value by value against what
//! the monitor declares, then stored whole or not at all.

use std::collections::{HashMap, HashSet};

use rusqlite::{Connection, params};

use crate::hub::store::{Direct, StoreError, Writer, json, visit};
use crate::model::{Metric, RejectionCode, Step, Tags, Timestamp, Value, limits};

use super::additional::{Checking, check_additional};
use super::field::{Field, Role, fields};
use super::judging::{DetailJudge, Refused, hand_over, judge_of, limited, raw};
use super::list::{Monitor, must_find};
use super::{MonitorError, RefusedValue};

/// The tag that tells several values of a metric at one check time apart: `2` for the second.
pub(super) const ROW: &str = "row";

/// Most values of one metric at one check time, and most values of one post.
const SEVERAL: usize = 1000;
const VALUES: usize = 500_000;

/// What was posted for one check time.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct ResultRow {
    /// The check time, in milliseconds since 1970.
    pub(crate) ms: i64,
    /// Names, values and tags. In a monitor of several values the same name may come again.
    pub(crate) values: Vec<(String, Value, Tags)>,
    /// Detail under the check time: an array of objects, which takes the place of what was there.
    pub(crate) additional: Option<serde_json::Value>,
}

/// What became of what was posted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Posted {
    pub(crate) results: usize,
    pub(crate) values: usize,
}

impl Writer {
    /// Stores results of one monitor, all of them or none. What lies more than ten minutes ahead of
    /// `now` is refused, the past is not. Of two values at one check time the later one counts.
    pub(crate) fn post_results(
        &mut self,
        account: i64,
        monitor: i64,
        rows: &[ResultRow],
        now: i64,
    ) -> Result<Posted, MonitorError> {
        self.post_results_as(account, monitor, rows, Checking::Declared, now)
    }

    /// The same, with a say in how additional results are taken.
    pub(crate) fn post_results_as(
        &mut self,
        account: i64,
        monitor: i64,
        rows: &[ResultRow],
        checking: Checking,
        now: i64,
    ) -> Result<Posted, MonitorError> {
        let found = must_find(self.conn(), account, monitor)?;
        if found.suspended_ms.is_some() {
            return Err(MonitorError::Suspended { id: monitor });
        }
        check_count(rows)?;
        let declared = fields(self.conn(), monitor, Role::Result)?;
        let details = checking.fields(self.conn(), monitor)?;
        let mut metrics = judge(&found, &declared, &details, rows, now)?;
        check_series(self.conn(), monitor, &metrics)?;
        if found.multi_value {
            number(&mut metrics);
            let gaps = cover(self.conn(), monitor, &metrics)?;
            metrics.extend(gaps);
        }
        let additional: Vec<(i64, String)> =
            rows.iter().filter_map(|row| Some((row.ms, json(row.additional.as_ref()?)))).collect();
        let posted = Posted { results: rows.len(), values: metrics.len() };
        self.post(&Direct {
            monitor,
            metrics: &metrics,
            additional: &additional,
            rows: rows.len(),
            now,
        })?;
        Ok(posted)
    }
}

/// Every value as the metric that it is, with its check time; or what is wrong with them.
fn judge(
    monitor: &Monitor,
    declared: &[Field],
    details: &[Field],
    rows: &[ResultRow],
    now: i64,
) -> Result<Vec<(i64, Metric)>, MonitorError> {
    let mut refused = Refused::default();
    let mut metrics = Vec::with_capacity(rows.iter().map(|row| row.values.len()).sum());
    let mut judge = judge_of(declared)?;
    let limited = limited(declared);
    let mut details = DetailJudge::of(details)?;
    let latest = now.saturating_add(limits::FUTURE_MS);
    for (at, row) in rows.iter().enumerate() {
        let Some(time) = Timestamp::from_millis(row.ms) else {
            refused.add(|| {
                bad_time(
                    at,
                    row.ms,
                    RejectionCode::TimeInvalid,
                    "the check time is not between the years -9999 and 9999",
                    "send milliseconds since 1970",
                )
            });
            continue;
        };
        if row.ms > latest {
            refused.add(|| {
                bad_time(
                    at,
                    row.ms,
                    RejectionCode::TimeFuture,
                    "the check time is more than 10 minutes ahead of the hub's clock",
                    "send the time in UTC, and check the clocks; the past is taken",
                )
            });
            continue;
        }
        if let Some(additional) = &row.additional
            && let Err(problem) = check_additional(additional)
        {
            refused.add(|| RefusedValue {
                code: RejectionCode::Schema,
                path: format!("/results/{at}/additional"),
                value: json(additional).chars().take(limits::EXCERPT).collect(),
                rule: None,
                message: problem.to_owned(),
                hint: "write `[{\"detail\": \"…\"}]`".to_owned(),
            });
        } else if let Some(additional) = &row.additional {
            let path = ["results".into(), "additional".into()].map(Step::Key);
            let [results, member] = path;
            let path = [results, Step::Index(at), member];
            details.judge(additional, time, &path, &mut refused);
        }
        for run in runs(monitor, row) {
            let place = |field: &Field| format!("/results/{at}/values/{}", field.name);
            let taken = refused.judge(&mut judge, time, &limited, place, |records| {
                for (name, value, tags) in run {
                    let path = vec![
                        Step::Key("results".into()),
                        Step::Index(at),
                        Step::Key("values".into()),
                        Step::Key(name.as_str().into()),
                    ];
                    hand_over(records, path, name, (raw(value), &json(value)), tags);
                }
            });
            metrics.extend(taken.into_iter().map(|metric| (row.ms, metric)));
        }
    }
    refused.none()?;
    Ok(metrics)
}

/// Several values at one check time are several runs to the judge, to whom a second value would be a
/// mistake: the first of each metric, the second of each, and so on.
fn runs<'r>(monitor: &Monitor, row: &'r ResultRow) -> Vec<Vec<&'r (String, Value, Tags)>> {
    if !monitor.multi_value {
        return vec![row.values.iter().collect()];
    }
    let mut runs: Vec<Vec<&(String, Value, Tags)>> = Vec::new();
    let mut had: HashMap<(&str, &Tags), usize> = HashMap::new();
    for value in &row.values {
        let nth = had.entry((&value.0, &value.2)).or_default();
        match runs.get_mut(*nth) {
            Some(run) => run.push(value),
            None => runs.push(vec![value]),
        }
        *nth += 1;
    }
    runs
}

/// Whether the post is not too large to be looked at value by value.
fn check_count(rows: &[ResultRow]) -> Result<(), MonitorError> {
    let refuse = |path: String, value: usize, message: String, hint: &str| {
        let refused = RefusedValue {
            code: RejectionCode::Schema,
            path,
            value: value.to_string(),
            rule: None,
            message,
            hint: hint.to_owned(),
        };
        Err(MonitorError::Refused { count: 1, refused: vec![refused] })
    };
    let values = rows.iter().map(|row| row.values.len()).sum();
    if values > VALUES {
        let message = format!("over {VALUES} values in one post");
        return refuse("/results".to_owned(), values, message, "send fewer at a time");
    }
    let mut had: HashMap<(i64, &str, &Tags), usize> = HashMap::new();
    for (at, row) in rows.iter().enumerate() {
        for (name, _, tags) in &row.values {
            let several = had.entry((row.ms, name, tags)).or_default();
            *several += 1;
            if *several > SEVERAL {
                let path = format!("/results/{at}/values/{name}");
                let message = format!("over {SEVERAL} values of one metric at one check time");
                let hint = "send each with the check time at which it was measured";
                return refuse(path, *several, message, hint);
            }
        }
    }
    Ok(())
}

fn bad_time(
    at: usize,
    ms: i64,
    code: RejectionCode,
    message: &'static str,
    hint: &'static str,
) -> RefusedValue {
    let value = Timestamp::from_millis(ms).map_or_else(|| ms.to_string(), |time| time.to_string());
    RefusedValue {
        code,
        path: format!("/results/{at}/time"),
        value,
        rule: None,
        message: message.to_owned(),
        hint: hint.to_owned(),
    }
}

/// Whether the monitor would still have no more series than one may have.
fn check_series(
    conn: &Connection,
    monitor: i64,
    metrics: &[(i64, Metric)],
) -> Result<(), MonitorError> {
    let mut known: HashSet<(String, String)> = HashSet::new();
    let mut statement =
        conn.prepare_cached("SELECT name, tags FROM series WHERE monitor_id = ?1")?;
    let rows = statement.query_map([monitor], |row| Ok((row.get(0)?, row.get(1)?)))?;
    for row in rows {
        known.insert(row?);
    }
    for (_, metric) in metrics {
        let name = metric.name.to_string();
        let tags = if metric.tags.is_empty() { "{}".to_owned() } else { json(&metric.tags) };
        if known.insert((name, tags)) && known.len() > limits::SERIES {
            let refused = RefusedValue {
                code: RejectionCode::TooManySeries,
                path: "/results".to_owned(),
                value: metric.name.to_string(),
                rule: None,
                message: "over 10 000 series of this monitor".to_owned(),
                hint: "leave out tags that never stop changing, such as ids and times".to_owned(),
            };
            return Err(MonitorError::Refused { count: 1, refused: vec![refused] });
        }
    }
    Ok(())
}

/// Tells the second value of a metric at one check time from the first, and so on.
fn number(metrics: &mut [(i64, Metric)]) {
    let mut seen: HashMap<(i64, Box<str>, Tags), usize> = HashMap::new();
    for (ms, metric) in metrics {
        let nth = seen.entry((*ms, metric.name.clone(), metric.tags.clone())).or_default();
        *nth += 1;
        if *nth > 1 {
            metric.tags.insert(ROW, &nth.to_string());
        }
    }
}

/// Gaps over the further values that an earlier post left at the same check times: what was posted
/// last is all that counts.
fn cover(
    conn: &Connection,
    monitor: i64,
    metrics: &[(i64, Metric)],
) -> Result<Vec<(i64, Metric)>, MonitorError> {
    let posted: HashSet<(i64, &str, &Tags)> =
        metrics.iter().map(|(ms, metric)| (*ms, &*metric.name, &metric.tags)).collect();
    let times: HashMap<(&str, i64), &Metric> =
        metrics.iter().map(|(ms, metric)| ((&*metric.name, *ms), metric)).collect();
    let (Some(first), Some(last)) =
        (times.keys().map(|(_, ms)| *ms).min(), times.keys().map(|(_, ms)| *ms).max())
    else {
        return Ok(Vec::new());
    };
    let mut statement = conn.prepare_cached(
        "SELECT id, name, tags FROM series WHERE monitor_id = ?1 AND tags LIKE '%\"row\"%'",
    )?;
    let rows = statement
        .query_map(params![monitor], |row| {
            let tags: String = row.get(2)?;
            Ok((row.get(0)?, (row.get(1)?, serde_json::from_str(&tags).unwrap_or_default())))
        })?
        .collect::<rusqlite::Result<HashMap<i64, (String, Tags)>>>()?;
    let ids: Vec<i64> = rows.keys().copied().collect();
    let mut stale: HashSet<(i64, i64)> = HashSet::new();
    visit(conn, &ids, first..=last, |series, ms, _| {
        if let Some((name, tags)) = rows.get(&series)
            && times.contains_key(&(name.as_str(), ms))
            && !posted.contains(&(ms, name, tags))
        {
            stale.insert((series, ms));
        }
    })?;
    let gaps = stale.into_iter().filter_map(|(series, ms)| {
        let (name, tags) = rows.get(&series)?;
        let like = times.get(&(name.as_str(), ms))?;
        Some((ms, Metric { value: Value::Gap, tags: tags.clone(), ..(*like).clone() }))
    });
    Ok(gaps.collect())
}

impl From<crate::hub::store::AppendError> for MonitorError {
    fn from(error: crate::hub::store::AppendError) -> Self {
        match error {
            crate::hub::store::AppendError::Store(error) => Self::Store(error),
            // Of batches only.
            _ => Self::Store(StoreError::Defect),
        }
    }
}
