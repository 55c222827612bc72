//! Taking results that people, programs and old clients post: checked value by value against what
//! the monitor declares, then stored whole or not at all.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use rusqlite::{Connection, params};

use crate::contract::{Contract, Declared, Judge, Moment, Strictness};
use crate::hub::store::{Direct, StoreError, Writer, json, visit};
use crate::model::{
    Field as Member, Head, Metric, MetricType, Raw, Record, RejectionCode, Source, Step, Tags,
    Timestamp, Value, limits,
};

use super::additional::check_additional;
use super::field::{Field, Role, fields};
use super::list::{Monitor, must_find};
use super::{MonitorError, REFUSED_SHOWN, RefusedValue};

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
        let found = must_find(self.conn(), account, monitor)?;
        if found.suspended_ms.is_some() {
            return Err(MonitorError::Suspended { id: monitor });
        }
        check_count(rows)?;
        let declared = fields(self.conn(), monitor, Role::Result)?;
        let mut metrics = judge(&found, &declared, rows, now)?;
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
    rows: &[ResultRow],
    now: i64,
) -> Result<Vec<(i64, Metric)>, MonitorError> {
    let mut refused = Refused::default();
    let mut metrics = Vec::with_capacity(rows.iter().map(|row| row.values.len()).sum());
    let mut judge = judge_of(declared)?;
    // Lists of texts the judge sees to.
    let limited: Vec<&Field> = declared
        .iter()
        .filter(|field| !field.values.is_empty() && field.kind != MetricType::String)
        .collect();
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
        }
        for run in runs(monitor, row) {
            let moment = Moment { started: time, now: time };
            let judged = judge.run(moment, |records| {
                for (name, value, tags) in run {
                    hand_over(records, at, name, value, tags);
                }
            });
            for rejection in judged.rejected {
                refused.add(|| RefusedValue {
                    code: rejection.code,
                    path: rejection.path,
                    value: rejection.value,
                    rule: rejection.rule,
                    message: rejection.message,
                    hint: rejection.hint,
                });
            }
            for metric in judged.metrics {
                match outside(&limited, &metric) {
                    Some(field) => refused.add(|| not_one_of(at, field, &metric.value)),
                    None => metrics.push((row.ms, metric)),
                }
            }
        }
    }
    if refused.count > 0 {
        return Err(MonitorError::Refused { count: refused.count, refused: refused.first });
    }
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

#[derive(Default)]
struct Refused {
    count: usize,
    first: Vec<RefusedValue>,
}

impl Refused {
    fn add(&mut self, words: impl FnOnce() -> RefusedValue) {
        self.count += 1;
        if self.first.len() < REFUSED_SHOWN {
            self.first.push(words());
        }
    }
}

/// Nothing but what is declared may come, unless nothing is.
fn judge_of(declared: &[Field]) -> Result<Judge, MonitorError> {
    let strictness = if declared.is_empty() { Strictness::Open } else { Strictness::Strict };
    let metrics: BTreeMap<String, Declared> = declared
        .iter()
        .map(|field| {
            let texts = field.values.iter().filter_map(|value| match value {
                Value::Text(text) if field.kind == MetricType::String => Some(text.to_string()),
                _ => None,
            });
            let declared = Declared {
                unit: field.unit.clone(),
                label: field.label.clone(),
                values: texts.collect(),
                ..Declared::of(field.kind)
            };
            (field.name.clone(), declared)
        })
        .collect();
    let contract = Contract::new(metrics, strictness, None)
        .map_err(|error| MonitorError::invalid("/metrics", error.to_string()))?;
    Ok(Judge::new(Arc::new(contract), Tags::new()))
}

/// Hands one value to a judge, as if a program had printed `"name": value`.
fn hand_over(
    records: &mut dyn crate::model::Records,
    at: usize,
    name: &str,
    value: &Value,
    tags: &Tags,
) {
    let (name_text, value_text) = (json(&name), json(value));
    let text = format!("{name_text}: {value_text}");
    let source = Source::new(text.as_bytes());
    let value_start = text.len() - value_text.len();
    let member = |raw, start, end| Member { raw, key: "", start, end };
    let record = Record {
        path: vec![
            Step::Key("results".into()),
            Step::Index(at),
            Step::Key("values".into()),
            Step::Key(name.into()),
        ],
        start: 0,
        end: text.len(),
        name: Some(member(Raw::Text(name.into()), 0, name_text.len())),
        value: Some(member(raw(value), value_start, text.len())),
        tags: crate::model::RawTags {
            field: (!tags.is_empty()).then(|| member(Raw::Object, 0, text.len())),
            tags: tags
                .iter()
                .map(|(key, value)| crate::model::Tag {
                    key: key.into(),
                    value: Raw::Text(value.into()),
                    start: 0,
                    end: text.len(),
                })
                .collect(),
        },
        ..Record::default()
    };
    if records.document(&source, &Head { end: text.len(), ..Head::default() })
        == crate::model::Keep::Records
    {
        records.record(&source, &record);
    }
}

fn raw(value: &Value) -> Raw<'_> {
    match value {
        Value::Gap => Raw::Null,
        Value::Boolean(b) => Raw::Boolean(*b),
        Value::Signed(n) => Raw::Signed(*n),
        Value::Unsigned(n) => Raw::Unsigned(*n),
        Value::Float(x) => Raw::Float(*x),
        Value::Text(text) => Raw::Text((&**text).into()),
    }
}

/// The field whose list of values this one is not in.
fn outside<'f>(limited: &[&'f Field], metric: &Metric) -> Option<&'f Field> {
    let field = limited.iter().find(|field| *field.name == *metric.name)?;
    let same = |allowed: &Value| match (allowed, &metric.value) {
        (Value::Float(_), _) | (_, Value::Float(_)) => allowed.as_f64() == metric.value.as_f64(),
        (a, b) => a == b,
    };
    let fits = metric.value == Value::Gap || field.values.iter().any(same);
    (!fits).then_some(*field)
}

fn not_one_of(at: usize, field: &Field, value: &Value) -> RefusedValue {
    let allowed: Vec<String> = field.values.iter().take(20).map(json).collect();
    RefusedValue {
        code: RejectionCode::ValueRange,
        path: format!("/results/{at}/values/{}", field.name),
        value: json(value),
        rule: Some("values".to_owned()),
        message: format!("`{}` has a list of values, and this is none of them", field.name),
        hint: format!("send one of {}", allowed.join(", ")),
    }
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
