//! What a Sentinella agent sends, read and judged: the same rules as for every plugin's output, but
//! for the words of types, of which that agent's own plugins use others than it documented.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::contract::{Contract, ContractError, Judge, Judged, Moment, Strictness};
use crate::decode::End;
use crate::model::{
    Field, Format, Head, Keep, Raw, Record, Records, RejectionCode, Source, Step, Tag, Tags, Taken,
    Timestamp, Words,
};

/// Whose the body of `POST /metrics` is.
#[derive(Debug, Deserialize)]
pub(super) struct Sender<'a> {
    #[serde(borrow, default)]
    pub(super) account_key: Option<Cow<'a, str>>,
}

/// What else is in the body of `POST /metrics`.
#[derive(Debug, Deserialize)]
pub(super) struct Upload<'a> {
    /// The host's name up to the first dot.
    #[serde(borrow, default)]
    pub(super) server_name: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    stats: Option<Stats<'a>>,
    /// Metrics by plugin key.
    #[serde(borrow, default)]
    pub(super) plugins: Option<Plugins<'a>>,
}

#[derive(Debug, Deserialize)]
struct Stats<'a> {
    #[serde(borrow, default)]
    agent_version: Option<Cow<'a, str>>,
}

/// Plugin keys and what each sent, in the order in which they came, as often as they came.
#[derive(Debug)]
pub(super) struct Plugins<'a>(pub(super) Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Plugins<'a> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Pairs;

        impl<'de> Visitor<'de> for Pairs {
            type Value = Plugins<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of plugin keys and their metrics")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Plugins(pairs))
            }
        }

        d.deserialize_map(Pairs)
    }
}

impl Upload<'_> {
    /// What the agent calls its version.
    pub(super) fn version(&self) -> String {
        let version = self.stats.as_ref().and_then(|stats| stats.agent_version.as_deref());
        let version: String =
            version.unwrap_or("?").chars().filter(|c| !c.is_control()).take(40).collect();
        format!("sentinella {version}")
    }
}

/// Judges what one plugin sent.
pub(super) fn judge(key: &str, sent: &RawValue, now: Timestamp) -> Result<Judged, ContractError> {
    let document = format!("{{\"plugins\":{{{}:{}}}}}", crate::hub::store::json(&key), sent.get());
    let mut names = Names::default();
    Format::Json.decode(document.as_bytes(), End::Whole, &mut names);
    let contract = Contract::new(BTreeMap::new(), Strictness::Open, None)?;
    let mut judge = Judge::new(Arc::new(contract), Tags::default());
    let moment = Moment { started: now, now };
    Ok(judge.run(moment, |records| {
        let mut lenient = Lenient { inner: records, shared: &names.shared };
        Format::Json.decode(document.as_bytes(), End::Whole, &mut lenient);
    }))
}

/// The names that more than one metric has.
#[derive(Default)]
struct Names {
    seen: BTreeSet<String>,
    shared: BTreeSet<String>,
}

impl Records for Names {
    fn document(&mut self, _: &Source<'_>, _: &Head<'_>) -> Keep {
        Keep::Records
    }

    fn record(&mut self, _: &Source<'_>, record: &Record<'_>) -> Taken {
        if let Some(Field { raw: Raw::Text(name), .. }) = &record.name
            && record.flaw.is_none()
            && !self.seen.insert(name.to_string())
        {
            self.shared.insert(name.to_string());
        }
        Taken::Accepted
    }

    fn refuse(&mut self, _: &Source<'_>, _: RejectionCode, _: Range<usize>, _: &dyn Fn() -> Words) {
    }
}

/// Hands records on with the types and tags that were meant.
struct Lenient<'r> {
    inner: &'r mut dyn Records,
    shared: &'r BTreeSet<String>,
}

impl Records for Lenient<'_> {
    fn wants_tree(&self) -> bool {
        self.inner.wants_tree()
    }

    fn document(&mut self, source: &Source<'_>, head: &Head<'_>) -> Keep {
        self.inner.document(source, head)
    }

    fn record(&mut self, source: &Source<'_>, record: &Record<'_>) -> Taken {
        let kind = match &record.kind {
            Some(Field { raw: Raw::Text(word), .. }) => meant(word),
            _ => None,
        };
        let row = row(record, self.shared);
        if kind.is_none() && row.is_none() {
            return self.inner.record(source, record);
        }
        let mut record = record.clone();
        if let (Some(field), Some(word)) = (&mut record.kind, kind) {
            field.raw = Raw::Text(word.into());
        }
        if let Some(row) = row {
            let (start, end) = (record.start, record.end);
            if record.tags.field.is_none() {
                record.tags.field = Some(Field { raw: Raw::Object, key: "tags", start, end });
            }
            record.tags.tags.push(Tag {
                key: "row".into(),
                value: Raw::Text(row.into()),
                start,
                end,
            });
        }
        self.inner.record(source, &record)
    }

    fn refuse(
        &mut self,
        source: &Source<'_>,
        code: RejectionCode,
        span: Range<usize>,
        words: &dyn Fn() -> Words,
    ) {
        self.inner.refuse(source, code, span, words);
    }
}

/// The type that is meant by a word that is none.
fn meant(word: &str) -> Option<&'static str> {
    match word.to_ascii_lowercase().as_str() {
        // What is a whole number now need not be one next time.
        "number" => Some("float"),
        "%" => Some("percent"),
        "string" if word != "string" => Some("string"),
        "integer" if word != "integer" => Some("integer"),
        "percent" if word != "percent" => Some("percent"),
        "binary" if word != "binary" => Some("binary"),
        _ => None,
    }
}

/// What tells metrics of one name apart: the row they belong to, else the key they came under.
fn row(record: &Record<'_>, shared: &BTreeSet<String>) -> Option<String> {
    let Some(Field { raw: Raw::Text(name), .. }) = &record.name else { return None };
    if !shared.contains(&**name) {
        return None;
    }
    match (&record.label, record.path.last()) {
        (Some(Field { raw: Raw::Text(label), .. }), _) if !label.is_empty() => {
            Some(label.to_string())
        }
        (_, Some(Step::Key(key))) => Some(key.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{MetricType, Value};

    const KEY: &str = "904605aa-e577-4f66-88c5-4de907535072";

    fn judged(sent: &str) -> Judged {
        let now = Timestamp::from_millis(1_795_380_130_000).unwrap();
        judge(KEY, &RawValue::from_string(sent.to_owned()).unwrap(), now).unwrap()
    }

    /// As the agent and the template send it.
    #[test]
    fn an_upload_is_read() {
        let body = r#"{"stats": {"agent_version": "1.1"}, "account_key": "32j4u23iy4u23i", "server_name": "vm",
            "plugins": {"904605aa-e577-4f66-88c5-4de907535072": {
            "metric_1": {"value": 100, "type": "integer", "metric_name": "metric1", "row_name": "Row name 1"},
            "metric_2": {"value": 3.5, "type": "percent", "metric_name": "metric2", "row_name": "Row name 2"},
            "metric_3": {"value": 1, "type": "binary", "metric_name": "metric3", "row_name": "Row name 3"}}}}"#;
        let upload: Upload<'_> = serde_json::from_str(body).unwrap();
        let sender: Sender<'_> = serde_json::from_str(body).unwrap();
        assert_eq!(sender.account_key.as_deref(), Some("32j4u23iy4u23i"));
        assert_eq!(upload.server_name.as_deref(), Some("vm"));
        assert_eq!(upload.version(), "sentinella 1.1");
        let plugins = upload.plugins.unwrap().0;
        assert_eq!(plugins[0].0, KEY);
        let judged = judged(plugins[0].1.get());
        let values: Vec<_> = judged.metrics.iter().map(|m| (&*m.name, &m.value)).collect();
        let wanted = [
            ("metric1", &Value::Signed(100)),
            ("metric2", &Value::Float(3.5)),
            ("metric3", &Value::Boolean(true)),
        ];
        assert_eq!(values, wanted);
        assert_eq!(judged.metrics[1].label.as_deref(), Some("Row name 2"));
        assert!(judged.metrics.iter().all(|m| m.tags.is_empty()), "{judged:?}");
        assert_eq!(judged.counts.rejected_total(), 0);
    }

    #[test]
    fn types_that_were_never_documented_are_understood() {
        let judged = judged(
            r#"{"a":{"value":3,"type":"number","metric_name":"a"},
                "b":{"value":"up","type":"String","metric_name":"b"},
                "c":{"value":12.5,"type":"%","metric_name":"c"},
                "d":{"value":0,"type":"Binary","metric_name":"d"}}"#,
        );
        let kinds: Vec<_> = judged.metrics.iter().map(|m| m.kind).collect();
        let wanted =
            [MetricType::Float, MetricType::String, MetricType::Percent, MetricType::Boolean];
        assert_eq!(kinds, wanted, "{judged:?}");
        assert_eq!(judged.metrics[0].value, Value::Float(3.0));
    }

    #[test]
    fn what_cannot_be_taken_costs_itself() {
        let judged = judged(
            r#"{"m1":{"value":1,"type":"integer","metric_name":"metric-one"},
                "m2":{"value":"abc","type":"integer","metric_name":"metric2"},
                "m3":{"value":1,"type":"list","metric_name":"metric3"},
                "m4":{"value":4,"type":"integer","metric_name":"metric4"},
                "m4":{"value":5,"type":"integer","metric_name":"metric5"},
                "m-6":{"value":6,"type":"integer"}}"#,
        );
        assert_eq!(judged.metrics.len(), 1);
        assert_eq!(&*judged.metrics[0].name, "metric4");
        let refused: Vec<_> =
            judged.rejected.iter().map(|r| (r.code.as_str(), r.path.as_str())).collect();
        let at = |rest: &str| format!("/plugins/{KEY}/{rest}");
        let wanted = [
            ("name-hyphen", at("m1/metric_name")),
            ("value-type", at("m2/value")),
            ("type-unknown", at("m3/type")),
            ("duplicate-key", at("m4")),
            ("name-hyphen", at("m-6")),
        ];
        let wanted: Vec<_> = wanted.iter().map(|(code, path)| (*code, path.as_str())).collect();
        assert_eq!(refused, wanted);
        assert!(judged.rejected[0].hint.contains("metric_one"), "{:?}", judged.rejected[0]);
    }

    #[test]
    fn rows_of_one_name_are_told_apart() {
        let judged = judged(
            r#"{"cpu_1":{"value":1,"type":"%","metric_name":"cpu","row_name":"web"},
                "cpu_2":{"value":2,"type":"%","metric_name":"cpu","row_name":"db"},
                "up":{"value":1,"type":"binary","metric_name":"up","row_name":"web"}}"#,
        );
        assert_eq!(judged.counts.rejected_total(), 0, "{judged:?}");
        let rows: Vec<_> = judged.metrics.iter().map(|m| m.tags.get("row")).collect();
        assert_eq!(rows, [Some("web"), Some("db"), None]);
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for sent in ["1", "[]", "\"x\"", "null"] {
            let judged = judged(sent);
            assert!(judged.metrics.is_empty(), "{sent}");
            assert_eq!(judged.counts.rejected_total(), 1, "{sent}: {judged:?}");
        }
        assert_eq!(judged("{}").counts.produced, 0);
    }
}
