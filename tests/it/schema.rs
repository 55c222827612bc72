//! The typed checks accept what the schemas accept.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use talaia::contract::{Moment, schemas};
use talaia::decode::{End, Format};
use talaia::model::{
    Counts, Outcome, PluginKey, RejectionCode, Report, RunId, Rung, Status, Stream, Timestamp,
    Usage, WarningCode,
};

use crate::decode::{moment, open_judge, run};

pub(crate) fn validator(name: &str) -> jsonschema::Validator {
    let schema = serde_json::from_str(schemas::get(name).unwrap().text).unwrap();
    jsonschema::options()
        .with_pattern_options(jsonschema::PatternOptions::regex())
        .offline()
        .build(&schema)
        .unwrap()
}

/// Scalars near every edge.
fn scalar() -> impl Strategy<Value = Value> {
    let values = vec![
        json!(null),
        json!(true),
        json!(false),
        json!(0),
        json!(1),
        json!(2),
        json!(-1),
        json!(0.0),
        json!(-0.0),
        json!(1.0),
        json!(1.5),
        json!(-0.5),
        json!(1e3),
        json!(1e19),
        json!(1e20),
        json!(-1e19),
        json!(1e300),
        json!(i64::MIN),
        json!(i64::MAX),
        json!(u64::MAX),
        json!(u64::MAX - 1),
        json!(9.223_372_036_854_776e18),
        json!(-9.223_372_036_854_776e18),
        json!(1.844_674_407_370_955_2e19),
        json!(""),
        json!("x"),
        json!("1"),
        json!("x".repeat(4096)),
        json!("x".repeat(4097)),
        json!("é😀\n\u{0}"),
    ];
    prop_oneof![
        8 => prop::sample::select(values),
        1 => any::<f64>().prop_filter("finite", |x| x.is_finite()).prop_map(|x| json!(x)),
        1 => any::<i64>().prop_map(|n| json!(n)),
        1 => ".{0,8}".prop_map(|s| json!(s)),
    ]
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        6 => scalar(),
        1 => prop::sample::select(vec![json!([]), json!({}), json!([1]), json!({"value": 1})]),
    ]
}

fn name_text() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => "[A-Za-z_][A-Za-z0-9_]{0,3}",
        1 => prop::sample::select(vec![
            String::new(), "foo-bar".into(), "1a".into(), "a.b".into(), "é".into(), "a\n".into(), " a".into(),
            "n".repeat(128), "n".repeat(129),
        ]),
    ]
}

fn kind() -> impl Strategy<Value = Value> {
    prop_oneof![
        8 => prop::sample::select(vec![
            json!("integer"), json!("float"), json!("percent"), json!("counter"), json!("boolean"), json!("binary"),
            json!("string"), json!(null),
        ]),
        1 => prop::sample::select(vec![json!("Integer"), json!("gauge"), json!(""), json!(1), json!([])]),
    ]
}

fn short() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => prop::sample::select(vec![
            json!(null), json!(""), json!("B"), json!("x".repeat(256)), json!("x".repeat(257)), json!(5), json!({}),
            json!("é"),
        ]),
        1 => ".{0,8}".prop_map(|s| json!(s)),
    ]
}

fn tags() -> impl Strategy<Value = Value> {
    let many = |n: usize| -> Value {
        (0..n).map(|n| (format!("t{n}"), json!("v"))).collect::<Map<_, _>>().into()
    };
    prop_oneof![
        3 => prop::collection::btree_map("[a-z./]{0,3}", "[ -~é]{0,4}", 0..4)
            .prop_map(|m| m.into_iter().map(|(k, v)| (k, json!(v))).collect::<Map<_, _>>().into()),
        2 => prop::sample::select(vec![
            json!(null), json!({}), json!([]), json!("a=b"), json!({"a": 1}), json!({"a": null}), json!({"a": "x\ny"}),
            json!({"a\tb": "x"}), json!({"a": "\u{7f}"}), json!({"k".repeat(64): "v"}), json!({"k".repeat(65): "v"}),
            json!({"a": "v".repeat(256)}), json!({"a": "v".repeat(257)}), many(32), many(33),
        ]),
    ]
}

/// Times that only a calendar or a clock could refuse are left out: a schema has neither.
fn time() -> impl Strategy<Value = Value> {
    prop::sample::select(vec![
        json!(null),
        json!(0),
        json!(1.5),
        json!(-1),
        json!(1_795_380_000),
        json!(1_795_380_000_123_u64),
        json!(-62_167_219_200_i64),
        json!(-62_167_219_201_i64),
        json!(-62_167_219_200_000_i64),
        json!(-62_167_219_200_001_i64),
        json!(-100_000_000_000_i64),
        json!(-100_000_000_001_i64),
        json!(253_402_207_200_000_u64),
        json!(253_402_207_200_001_u64),
        json!(100_000_000_000_u64),
        json!(1e15),
        json!(u64::MAX),
        json!("2026-11-22T20:42:10Z"),
        json!("2026-11-22 20:42:10.123456789+02:00"),
        json!("2026-11-22t20:42:10z"),
        json!("2026-11-22T20:42:10"),
        json!("2026-11-22T20:42:10.Z"),
        json!("2026-11-22T20:42:10.1234567890Z"),
        json!("2026-11-22T20:42:10+0200"),
        json!("2026-11-22T20:42Z"),
        json!("2026-11-22"),
        json!("now"),
        json!(""),
        json!(true),
        json!({}),
    ])
}

fn threshold() -> impl Strategy<Value = Value> {
    prop_oneof![
        2 => "@?[~0-9.:e+-]{0,6}".prop_map(|s| json!(s)),
        1 => prop::sample::select(vec![
            json!(null), json!(90), json!(-1.5), json!(true), json!({}), json!("10:20"), json!("@~:5"), json!("high"),
            json!("1:2:3"), json!(format!("{}:", "1".repeat(255))), json!(format!("{}:", "1".repeat(256))),
        ]),
    ]
}

fn bound() -> impl Strategy<Value = Value> {
    prop::sample::select(vec![
        json!(null),
        json!(0),
        json!(-1.5),
        json!(u64::MAX),
        json!("1"),
        json!(false),
        json!([]),
    ])
}

fn name() -> impl Strategy<Value = Value> {
    prop_oneof![
        9 => name_text().prop_map(|n| json!(n)),
        1 => prop::sample::select(vec![json!(null), json!(1), json!({})]),
    ]
}

prop_compose! {
    /// A metric object with every member there or not.
    fn metric()(
        name in prop::option::weighted(0.9, name()),
        metric_name in prop::option::weighted(0.2, name()),
        value in prop::option::weighted(0.95, any_value()),
        kind in prop::option::weighted(0.6, kind()),
        texts in prop::option::weighted(0.3, (prop::option::of(short()), prop::option::of(short()), prop::option::of(short()))),
        tags in prop::option::weighted(0.3, tags()),
        time in prop::option::weighted(0.2, time()),
        marks in prop::option::weighted(0.3, (prop::option::of(threshold()), prop::option::of(threshold()), prop::option::of(bound()), prop::option::of(bound()))),
        extra in prop::option::weighted(0.1, any_value()),
    ) -> Value {
        let mut object = Map::new();
        let (unit, label, row_name) = texts.unwrap_or_default();
        let (warn, crit, min, max) = marks.unwrap_or_default();
        for (key, member) in [
            ("name", name), ("metric_name", metric_name), ("value", value), ("type", kind), ("unit", unit), ("label", label),
            ("row_name", row_name), ("tags", tags), ("time", time), ("warn", warn), ("crit", crit), ("min", min), ("max", max),
            ("extra", extra),
        ] {
            if let Some(member) = member {
                object.insert(key.to_owned(), member);
            }
        }
        Value::Object(object)
    }
}

fn head() -> impl Strategy<Value = Vec<(&'static str, Value)>> {
    let status = prop::sample::select(vec![
        json!("ok"),
        json!("critical"),
        json!(null),
        json!("CRIT"),
        json!(1),
    ]);
    let message = prop::sample::select(vec![
        json!("hi"),
        json!(null),
        json!(5),
        json!("x".repeat(4096)),
        json!("x".repeat(4097)),
    ]);
    (
        prop::option::weighted(0.2, status),
        prop::option::weighted(0.2, message),
        prop::option::weighted(0.1, time()),
        prop::option::weighted(
            0.2,
            prop::sample::select(vec![
                json!({"t0": "v"}),
                json!({"t0": 1}),
                json!([]),
                json!(null),
            ]),
        ),
    )
        .prop_map(|(status, message, time, tags)| {
            [("status", status), ("message", message), ("time", time), ("tags", tags)]
                .into_iter()
                .filter_map(|(k, v)| Some((k, v?)))
                .collect()
        })
}

fn by_key() -> impl Strategy<Value = Value> {
    prop::collection::btree_map(name_text(), prop_oneof![3 => metric(), 2 => any_value()], 0..4)
        .prop_map(|m| m.into_iter().collect::<Map<_, _>>().into())
}

pub(crate) fn document() -> impl Strategy<Value = Value> {
    let elements = || prop::collection::vec(prop_oneof![8 => metric(), 1 => any_value()], 0..4);
    let with_head = |key: &'static str, value: Value, head: Vec<(&str, Value)>| {
        let mut object: Map<String, Value> =
            head.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
        object.insert(key.to_owned(), value);
        Value::Object(object)
    };
    prop_oneof![
        elements().prop_map(Value::Array),
        (elements(), head()).prop_map(move |(metrics, head)| with_head(
            "metrics",
            json!(metrics),
            head
        )),
        (by_key(), head()).prop_map(move |(metrics, head)| with_head("metrics", metrics, head)),
        (
            prop::collection::btree_map(
                "[a-z-]{1,3}",
                prop_oneof![4 => by_key(), 1 => scalar()],
                0..3
            ),
            head(),
            prop::option::weighted(0.2, any_value()),
        )
            .prop_map(move |(plugins, head, metrics)| {
                let mut document = with_head("plugins", json!(plugins), head);
                if let (Some(metrics), Some(object)) = (metrics, document.as_object_mut()) {
                    object.insert("metrics".to_owned(), metrics);
                }
                document
            }),
        metric().boxed(),
        metric().boxed(),
        prop::collection::btree_map(name_text(), any_value(), 0..4)
            .prop_map(|m| m.into_iter().collect::<Map<_, _>>().into()),
        prop::collection::btree_map(
            prop::sample::select(vec![
                "name",
                "value",
                "metrics",
                "plugins",
                "status",
                "tags",
                "metric_name"
            ]),
            any_value(),
            0..5
        )
        .prop_map(|m| m
            .into_iter()
            .map(|(k, v)| (k.to_owned(), v))
            .collect::<Map<_, _>>()
            .into()),
    ]
}

/// Whether the typed path finds nothing wrong, but for what a schema cannot say: series that come
/// twice, unknown keys, and types that flip. There is no future at the end of time.
fn typed_accepts(document: &Value) -> bool {
    let text = serde_json::to_string(document).unwrap();
    let end_of_time = Timestamp::from_millis(253_402_207_200_000).unwrap();
    let moment = Moment { started: end_of_time, now: end_of_time };
    let judged = open_judge()
        .run(moment, |records| Format::Json.decode(text.as_bytes(), End::Whole, records));
    let refused = judged.counts.rejected.keys().any(|&c| c != RejectionCode::DuplicateSeries);
    let spoken = [
        WarningCode::StatusUnknown,
        WarningCode::MessageInvalid,
        WarningCode::MessageCut,
        WarningCode::DocumentTags,
        WarningCode::DocumentTime,
    ];
    let warned = judged.warnings.iter().any(|w| spoken.iter().any(|code| code.is_of(w)));
    !refused && !warned
}

#[test]
fn the_typed_checks_accept_exactly_what_the_schema_accepts() {
    let schema = validator("document");
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(10_000));
    let accepted = std::cell::Cell::new(0);
    runner
        .run(&document(), |document| {
            let by_schema = schema.is_valid(&document);
            accepted.set(accepted.get() + usize::from(by_schema));
            prop_assert_eq!(typed_accepts(&document), by_schema, "{}", document);
            Ok(())
        })
        .unwrap();
    // Both verdicts must be common, or the comparison says little.
    let accepted = accepted.get();
    assert!((1_000..9_000).contains(&accepted), "{accepted} of 10000 documents were valid");
}

#[test]
fn reports_are_what_their_schema_says() {
    let schema = validator("report");
    let outcomes = [
        Outcome::Exited { code: 2 },
        Outcome::Signaled { signal: 11 },
        Outcome::TimedOut { reached: Rung::Kill },
        Outcome::Flooded { stream: Stream::Stdout, limit: 1 },
        Outcome::NotStarted { error: "no such file".to_owned() },
        Outcome::Stopped,
        Outcome::Answered,
    ];
    for outcome in outcomes {
        let judged = run(concat!(
            r#"{"metrics":[{"name":"a","value":1,"type":"percent","label":"A","tags":{"k":"v"},"time":5,"warn":"1:2","#,
            r#""crit":5,"min":0,"max":1},{"name":"b-c","value":1},{"name":"d","value":1,"type":"boolean"}]}"#,
        ));
        let report = Report {
            plugin: "disk".parse().unwrap(),
            key: Some(PluginKey::new()),
            host: "web-1".to_owned(),
            run: RunId::new(),
            replay_of: Some(RunId::new()),
            started: moment().started,
            duration: 0.5,
            interval: None,
            outcome,
            status: Status::Ok,
            message: judged.message,
            metrics: judged.metrics,
            rejected: judged.rejected,
            warnings: judged.warnings,
            counts: Counts { ..judged.counts },
            skipped: 0,
            leftovers: 0,
            usage: Usage::default(),
            stderr: "E! x".to_owned(),
            contract: None,
        };
        assert_eq!((report.metrics.len(), report.rejected.len()), (2, 1));
        let written = serde_json::to_value(&report).unwrap();
        schema.validate(&written).unwrap_or_else(|e| panic!("{e} in {written}"));
        let mut batch: Value = serde_json::from_str(schemas::get("batch").unwrap().text).unwrap();
        let mut batch = batch["examples"][0].take();
        batch["reports"][0] = written;
        batch["reports"][0]["seq"] = json!(1);
        validator("batch").validate(&batch).unwrap();
    }
}
