//! Posted values before the agents' judge, so that codes, words and limits are the same on both ways
//! in.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::contract::{Contract, Declared, Judge, Moment, Strictness};
use crate::hub::store::json;
use crate::model::{
    Field as Member, Head, Metric, MetricType, Raw, Record, RejectionCode, Source, Step, Tags,
    Timestamp, Value, pointer,
};

use super::field::Field;
use super::{MonitorError, REFUSED_SHOWN, RefusedValue};

/// What was refused: all of it counted, and the first in full.
#[derive(Default)]
pub(super) struct Refused {
    count: usize,
    first: Vec<RefusedValue>,
}

impl Refused {
    pub(super) fn add(&mut self, words: impl FnOnce() -> RefusedValue) {
        self.count += 1;
        if self.first.len() < REFUSED_SHOWN {
            self.first.push(words());
        }
    }

    /// Whether nothing was.
    pub(super) fn none(self) -> Result<(), MonitorError> {
        if self.count == 0 {
            return Ok(());
        }
        Err(MonitorError::Refused { count: self.count, refused: self.first })
    }

    /// Has `judge` look at the values that `hand` hands over, and gives those that are taken.
    /// `limited` are the fields with a list of values that are no texts; `path` is that of a field's
    /// value.
    pub(super) fn judge(
        &mut self,
        judge: &mut Judge,
        time: Timestamp,
        limited: &[&Field],
        path: impl Fn(&Field) -> String,
        hand: impl FnOnce(&mut dyn crate::model::Records),
    ) -> Vec<Metric> {
        let judged = judge.run(Moment { started: time, now: time }, hand);
        for rejection in judged.rejected {
            self.add(|| RefusedValue {
                code: rejection.code,
                path: rejection.path,
                value: rejection.value,
                rule: rejection.rule,
                message: rejection.message,
                hint: rejection.hint,
            });
        }
        let mut taken = judged.metrics;
        taken.retain(|metric| match outside(limited, metric) {
            Some(field) => {
                self.add(|| not_one_of(path(field), field, &metric.value));
                false
            }
            None => true,
        });
        taken
    }
}

/// Fields with a list of values that the judge does not see to.
pub(super) fn limited(declared: &[Field]) -> Vec<&Field> {
    let is = |field: &&Field| !field.values.is_empty() && field.kind != MetricType::String;
    declared.iter().filter(is).collect()
}

/// Judges additional results by what is declared of them. Where nothing is, they are as their sender
/// likes. Made once for a request: that costs more than judging some rows.
pub(super) struct DetailJudge<'f>(Option<(Judge, Vec<&'f Field>)>);

impl<'f> DetailJudge<'f> {
    pub(super) fn of(declared: &'f [Field]) -> Result<Self, MonitorError> {
        if declared.is_empty() {
            return Ok(Self(None));
        }
        Ok(Self(Some((judge_of(declared)?, limited(declared)))))
    }

    /// Judges those of one check time, each row of them as a run.
    pub(super) fn judge(
        &mut self,
        rows: &serde_json::Value,
        time: Timestamp,
        path: &[Step],
        refused: &mut Refused,
    ) {
        let Some((judge, limited)) = &mut self.0 else { return };
        for (at, row) in rows.as_array().into_iter().flatten().enumerate() {
            let place = |field: &Field| pointer(&member_path(path, at, &field.name));
            refused.judge(judge, time, limited, place, |records| {
                for (name, value) in row.as_object().into_iter().flatten() {
                    let written = json(value);
                    hand_over(
                        records,
                        member_path(path, at, name),
                        name,
                        (member(value), &written),
                        &Tags::new(),
                    );
                }
            });
        }
    }
}

fn member_path<'n>(path: &[Step<'n>], row: usize, name: &'n str) -> Vec<Step<'n>> {
    path.iter().cloned().chain([Step::Index(row), Step::Key(name.into())]).collect()
}

fn member(value: &serde_json::Value) -> Raw<'_> {
    match value {
        serde_json::Value::Null => Raw::Null,
        serde_json::Value::Bool(b) => Raw::Boolean(*b),
        serde_json::Value::Number(n) => match (n.as_i64(), n.as_u64()) {
            (Some(n), _) => Raw::Signed(n),
            (_, Some(n)) => Raw::Unsigned(n),
            _ => Raw::Float(n.as_f64().unwrap_or(f64::NAN)),
        },
        serde_json::Value::String(text) => Raw::Text(text.as_str().into()),
        serde_json::Value::Array(_) => Raw::Array,
        serde_json::Value::Object(_) => Raw::Object,
    }
}

/// Nothing but what is declared may come, unless nothing is.
pub(super) fn judge_of(declared: &[Field]) -> Result<Judge, MonitorError> {
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
pub(super) fn hand_over(
    records: &mut dyn crate::model::Records,
    path: Vec<Step>,
    name: &str,
    (raw, written): (Raw<'_>, &str),
    tags: &Tags,
) {
    let name_text = json(&name);
    let text = format!("{name_text}: {written}");
    let source = Source::new(text.as_bytes());
    let value_start = text.len() - written.len();
    let member = |raw, start, end| Member { raw, key: "", start, end };
    let record = Record {
        path,
        start: 0,
        end: text.len(),
        name: Some(member(Raw::Text(name.into()), 0, name_text.len())),
        value: Some(member(raw, value_start, text.len())),
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

pub(super) fn raw(value: &Value) -> Raw<'_> {
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

fn not_one_of(path: String, field: &Field, value: &Value) -> RefusedValue {
    let allowed: Vec<String> = field.values.iter().take(20).map(json).collect();
    RefusedValue {
        code: RejectionCode::ValueRange,
        path,
        value: json(value),
        rule: Some("values".to_owned()),
        message: format!("`{}` has a list of values, and this is none of them", field.name),
        hint: format!("send one of {}", allowed.join(", ")),
    }
}
