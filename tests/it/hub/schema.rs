//! The hub takes what `schemas/batch.v1.json` describes, and nothing else.
//!
//! JSON Schema cannot say some of what the hub asks for; those rules stand at the head of
//! `src/hub/wire/mod.rs`, and each has its case in [`what_the_schema_cannot_say`]. All the other
//! bodies here keep to them, so that hub and schema must agree.

use std::cell::Cell;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Map, Value, json};
use talaia::decode::{End, Format};
use talaia::model::{Outcome, Report, RunId, SpoolId, Status, Usage};

use super::support::*;
use crate::decode::{moment, open_judge};
use crate::schema::{document, validator};

const UUID: &str = "0192f0c1-7c1e-7d58-a3a6-5a2f4c1b9e01";

/// What stands where something else should: every kind of value, and texts and numbers at the
/// edges of what some member allows.
fn odd() -> impl Strategy<Value = Value> {
    let texts = [
        "",
        "x",
        "ok",
        "kill",
        "stdout",
        "binary",
        "integer",
        "a-b",
        "a\nb",
        "a\u{7f}b",
        "a\u{85}b",
        "é",
        UUID,
        "0192F0C1-7C1E-7D58-A3A6-5A2F4C1B9E01",
        "0192f0c17c1e7d58a3a65a2f4c1b9e01",
        "2026-11-22T20:42:10Z",
        "2026-11-22T20:42:10.123456789012Z",
        "2026-11-22T20:42:10+02:00",
        "2026-11-22 20:42:10Z",
        "2026-11-22t20:42:10z",
        "2026-11-22T20:42:10.Z",
        "10:20",
        "@~:5",
        "17",
    ];
    let lengths = [64, 65, 128, 129, 255, 256, 257, 4096, 4097, 12_288, 12_289];
    let numbers = [
        json!(0),
        json!(1),
        json!(-1),
        json!(255),
        json!(256),
        json!(0.5),
        json!(-0.5),
        json!(-0.0),
        json!(1e10),
        json!(1e11),
        json!(1e300),
        json!(i64::MAX),
        json!(i64::MIN),
        json!(u64::MAX),
        json!(u32::MAX),
        json!(4_294_967_296_u64),
        json!(2_147_483_648_u64),
    ];
    let mut all = vec![
        json!(null),
        json!(true),
        json!(false),
        json!([]),
        json!({}),
        json!([1]),
        json!({"a": 1}),
        json!({"ok": null}),
        json!(["exited", 0]),
        json!({"kind": "exited"}),
        json!({"kind": "exited", "code": 0, "signal": 1}),
        json!({"kind": "stopped"}),
        json!({"kind": "stopped", "code": 1}),
        json!({"kind": "answered"}),
        json!({"kind": "signaled", "signal": -9}),
        json!({"kind": "timed_out", "reached": "term"}),
        json!({"kind": "flooded", "stream": "stderr", "limit": 1}),
        json!({"kind": "flooded", "stream": "stderr"}),
        json!({"kind": "not_started", "error": "é"}),
        json!({"kind": "beamed"}),
        json!({"schema": 1}),
        json!({"schema": 0}),
        json!({"scheme": 1}),
        json!({"a": "b"}),
        json!({"": "b"}),
        json!({"a\u{1}": "b"}),
        json!({"b": "x", "a": "y\u{7f}"}),
        json!([0.004, 1, 2, 3]),
        json!({"a": "b", "é": "\u{85}"}),
    ];
    let tags = |n: usize| -> Value {
        (0..n).map(|n| (format!("t{n}"), json!("v"))).collect::<Map<_, _>>().into()
    };
    all.extend([tags(32), tags(33)]);
    all.extend(texts.map(Value::from));
    all.extend(lengths.map(|n| json!("x".repeat(n))));
    all.extend(numbers);
    prop_oneof![
        8 => prop::sample::select(all),
        1 => any::<f64>().prop_filter("finite", |x| x.is_finite()).prop_map(|x| json!(x)),
        1 => any::<i64>().prop_map(Value::from),
        // Two bytes a character at most, and few: bytes and characters differ by no limit.
        1 => "[ -~é\u{1}\n]{0,6}".prop_map(Value::from),
    ]
}

fn metric() -> impl Strategy<Value = Value> {
    let typed = prop::sample::select(vec![
        json!({"type": "integer", "value": -3}),
        json!({"type": "integer", "value": 3.0}),
        json!({"type": "integer", "value": 1e300}),
        json!({"type": "integer", "value": 0.5}),
        json!({"type": "float", "value": 0.1}),
        json!({"type": "percent", "value": 71}),
        json!({"type": "counter", "value": u64::MAX}),
        json!({"type": "counter", "value": -1}),
        json!({"type": "counter", "value": 1.5}),
        json!({"type": "boolean", "value": true}),
        json!({"type": "boolean", "value": 1}),
        json!({"type": "string", "value": "a\n\"b\" é"}),
        json!({"type": "string", "value": null}),
        json!({"type": "binary", "value": false}),
    ]);
    let more = prop::sample::subsequence(
        vec![
            ("unit", json!("B")),
            ("label", json!("Used é")),
            ("tags", json!({"mount": "/", "a": "\u{e9}"})),
            ("time", json!("2026-11-22T20:42:10.5Z")),
            ("warn", json!(5)),
            ("crit", json!("@~:5")),
            ("min", json!(0)),
            ("max", json!(1.5)),
        ],
        0..=8,
    );
    ("[a-z_]{1,4}", typed, more).prop_map(|(name, mut metric, more)| {
        metric["name"] = json!(name);
        for (key, value) in more {
            metric[key] = value;
        }
        metric
    })
}

/// What a plugin declares, with every member that there is.
fn contract() -> Value {
    json!({
        "metrics": {
            "used": {"type": "percent", "unit": "%", "label": "Used é", "required": true, "warn": 80,
                "crit": "@~:5", "min": 0, "max": 100},
            "state": {"type": "string", "values": ["open", ""]},
        },
        "omitted": 1, "strict": true, "schema": false, "interval": 30, "cron": "*/5 * * * *",
        "pause": 300.5, "timeout": 10, "later": {"a": [null]},
    })
}

fn report_with(seq: u64) -> impl Strategy<Value = Value> {
    let refusal = json!({"code": "not-json", "path": "/a", "line": 1, "column": 2, "value": "x", "message": "m", "hint": "h"});
    let mut ruled = refusal.clone();
    ruled["rule"] = json!("r");
    let outcome = prop::sample::select(vec![
        json!({"kind": "exited", "code": 0}),
        json!({"kind": "signaled", "signal": 9}),
        json!({"kind": "timed_out", "reached": "kill"}),
        json!({"kind": "flooded", "stream": "stdout", "limit": 9}),
        json!({"kind": "not_started", "error": "no\nsuch"}),
        json!({"kind": "stopped"}),
        json!({"kind": "answered"}),
    ]);
    let refused = prop::sample::subsequence(vec![refusal, ruled], 0..=2);
    let optional = prop::sample::subsequence(
        vec![
            ("stderr", json!("E! x\n")),
            ("key", json!(UUID)),
            ("interval", json!(null)),
            ("message", json!("\u{1}")),
            ("warnings", json!(["w", ""])),
            ("status", json!("critical")),
            ("later", json!({"a": [{"b": null}]})),
            ("skipped", json!(u64::MAX)),
            (
                "counts",
                json!({"produced": u64::MAX, "accepted": u64::MAX, "rejected": {"schema": u64::MAX, "too-deep": 1}}),
            ),
            ("counts", json!({"produced": 3, "accepted": 1, "rejected": {"schema": 2}})),
        ],
        0..=10,
    );
    // It has many places at which hardly anything fits.
    let told = prop::option::weighted(0.1, Just(contract()));
    (prop::collection::vec(metric(), 0..4), outcome, refused, optional, told).prop_map(
        move |(metrics, outcome, refused, optional, told)| {
            let mut made = report(seq, NOW, json!(metrics));
            made["outcome"] = outcome;
            made["rejected"] = json!(refused);
            for (key, value) in optional {
                made[key] = value;
            }
            if let Some(told) = told {
                made["contract"] = told;
            }
            made
        },
    )
}

/// Every place in a tree, as pointers.
fn places(value: &Value, at: &str, into: &mut Vec<String>) {
    into.push(at.to_owned());
    let mut inside = |key: &str, value: &Value| {
        places(value, &format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), into);
    };
    match value {
        Value::Object(members) => members.iter().for_each(|(key, value)| inside(key, value)),
        Value::Array(elements) => {
            elements.iter().enumerate().for_each(|(n, value)| inside(&n.to_string(), value));
        }
        _ => {}
    }
}

/// What is done to one place of a body.
#[derive(Debug, Clone)]
enum Change {
    Nothing,
    Replace(Value),
    Remove,
    Add(&'static str, Value),
}

fn change() -> impl Strategy<Value = Change> {
    let names = prop::sample::select(vec![
        "x", "rule", "stderr", "tags", "unit", "time", "warn", "min", "code", "error", "signal",
        "limit",
    ]);
    prop_oneof![
        2 => Just(Change::Nothing),
        6 => odd().prop_map(Change::Replace),
        2 => Just(Change::Remove),
        2 => (names, odd()).prop_map(|(name, value)| Change::Add(name, value)),
    ]
}

fn apply(body: &mut Value, pointer: &str, change: Change) {
    let Some(place) = body.pointer_mut(pointer) else { return };
    match change {
        Change::Nothing => {}
        Change::Replace(value) => *place = value,
        Change::Add(name, value) => {
            if let Some(members) = place.as_object_mut() {
                members.insert(name.to_owned(), value);
            }
        }
        Change::Remove => {
            let (parent, key) = pointer.rsplit_once('/').unwrap_or_default();
            match body.pointer_mut(parent) {
                Some(Value::Object(members)) => {
                    members.remove(key);
                }
                Some(Value::Array(elements)) => {
                    if let Ok(nth) = key.parse::<usize>() {
                        elements.remove(nth);
                    }
                }
                _ => {}
            }
        }
    }
}

/// Whether a body breaks one of the rules that the schema does not know, as far as the changes here
/// can bring that about.
fn beyond_the_schema(body: &Value) -> bool {
    let mut before = 0;
    let seqs = body["reports"].as_array().into_iter().flatten().map(|report| &report["seq"]);
    for seq in seqs.filter_map(Value::as_u64) {
        if seq <= before {
            return true;
        }
        before = seq;
    }
    has_whole_float(body, "")
}

/// Whether a whole number is written as a float anywhere but as a value, mark, bound or duration.
fn has_whole_float(value: &Value, name: &str) -> bool {
    const ANY: [&str; 8] = ["value", "warn", "crit", "min", "max", "duration", "interval", "cpu"];
    match value {
        Value::Number(n) => n.is_f64() && !ANY.contains(&name),
        Value::Array(elements) => elements.iter().any(|value| has_whole_float(value, name)),
        Value::Object(members) => members.iter().any(|(key, value)| has_whole_float(value, key)),
        _ => false,
    }
}

#[test]
fn hub_and_schema_accept_the_same() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let hub = runtime.block_on(start(folder.path()));
    let schema = validator("batch");
    let bodies = (report_with(1), report_with(2)).prop_flat_map(|(first, second)| {
        let batch = Stream::new().batch(vec![first, second]);
        let mut all = Vec::new();
        places(&batch, "", &mut all);
        (Just(batch), prop::sample::select(all), change())
    });
    let (taken, refused) = (Cell::new(0), Cell::new(0));
    let config =
        ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() };
    let checked = TestRunner::new(config).run(&bodies, |(mut body, pointer, change)| {
        apply(&mut body, &pointer, change);
        // A stream of its own, so that nothing is a duplicate.
        if let Some(spool) = body
            .pointer_mut("/agent/spool")
            .filter(|spool| spool.as_str().is_some_and(|s| s.len() == 36 && !s.contains('C')))
        {
            *spool = json!(SpoolId::new());
        }
        let valid = schema.is_valid(&body);
        if valid && beyond_the_schema(&body) {
            return Ok(());
        }
        let answer = runtime.block_on(hub.post(&body));
        let count = if valid { &taken } else { &refused };
        count.set(count.get() + 1);
        prop_assert!(matches!(answer.status, 200 | 413 | 422), "{}", answer.body);
        prop_assert_eq!(
            answer.status == 200,
            valid,
            "{} changed: {}\n{}",
            pointer,
            answer.body,
            body
        );
        Ok(())
    });
    runtime.block_on(hub.stop());
    checked.unwrap();
    // Both verdicts must be common, or the comparison says little.
    let (taken, refused) = (taken.get(), refused.get());
    assert!(taken > 400 && refused > 400, "{taken} taken, {refused} refused");
}

/// What an agent makes of anything that a plugin may print, in the model's own types.
fn judged(document: &Value, seq: u64) -> Value {
    let text = document.to_string();
    let judged = open_judge()
        .run(moment(), |records| Format::Json.decode(text.as_bytes(), End::Whole, records));
    let made = Report {
        plugin: "p".parse().unwrap(),
        key: None,
        host: "web-1".to_owned(),
        run: RunId::new(),
        replay_of: Some(RunId::new()),
        started: moment().started,
        duration: 1e-9 * seq as f64,
        interval: seq.is_multiple_of(2).then_some(0.1),
        outcome: Outcome::Exited { code: 3 },
        status: Status::Unknown,
        message: judged.message,
        metrics: judged.metrics,
        rejected: judged.rejected,
        warnings: judged.warnings,
        counts: judged.counts,
        skipped: u64::MAX,
        leftovers: 0,
        usage: Usage { cpu: 0.1 + 0.2, ..Usage::default() },
        stderr: "\u{fffd}".repeat(4096),
        contract: serde_json::from_value(contract()).ok().map(Box::new),
    };
    let mut written = serde_json::to_value(made).unwrap();
    written["seq"] = json!(seq);
    written
}

#[test]
fn whatever_an_agent_reports_is_taken() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let hub = runtime.block_on(start(folder.path()));
    let schema = validator("batch");
    let config =
        ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() };
    let documents = prop::collection::vec(document(), 20);
    let checked = TestRunner::new(config).run(&documents, |documents| {
        let reports = documents.iter().zip(1..).map(|(document, seq)| judged(document, seq));
        let batch = Stream::new().batch(reports.collect());
        let errors: Vec<String> = schema.iter_errors(&batch).map(|e| e.to_string()).collect();
        prop_assert!(errors.is_empty(), "{:?}", errors);
        let answer = runtime.block_on(hub.post(&batch));
        prop_assert_eq!(answer.status, 200, "{}", answer.body);
        prop_assert_eq!(answer.json()["accepted"].as_u64(), Some(20));
        Ok(())
    });
    runtime.block_on(hub.stop());
    checked.unwrap();
}

#[tokio::test]
async fn what_the_schema_cannot_say() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let schema = validator("batch");
    let stream = Stream::new();
    let good = stream.batch(vec![report(1, NOW, used(1.0)), report(2, NOW, used(1.0))]);
    let with = |pointer: &str, value: Value| {
        let mut body = good.clone();
        *body.pointer_mut(pointer).unwrap() = value;
        body.to_string()
    };
    let text = good.to_string();
    let mut deep = json!(0);
    for _ in 0..64 {
        deep = json!([deep]);
    }
    let cases = [
        ("seq does not rise", with("/reports/1/seq", json!(1))),
        ("a fraction of zero", with("/reports/0/skipped", json!(1.0))),
        ("no such day", with("/reports/0/started", json!("2026-02-30T00:00:00Z"))),
        ("after the end of time", with("/sent", json!("9999-12-31T23:59:59Z"))),
        ("two bytes a character", with("/reports/0/message", json!("é".repeat(4000)))),
        (
            "too deep",
            with("/reports/0/usage", json!({"cpu": 0, "max_rss": 0, "stdout": 0, "stderr": 0}))
                .replacen('{', &format!("{{\"later\":{deep},"), 1),
        ),
        ("a member twice", text.replacen("\"skipped\":0", "\"skipped\":1,\"skipped\":0", 1)),
        ("a metric declared twice", {
            let mut body = good.clone();
            body["reports"][0]["contract"] = contract();
            body.to_string().replacen("\"state\":{", "\"used\":{\"type\":\"float\"},\"used\":{", 1)
        }),
        ("a contract too long", {
            let mut body = good.clone();
            body["reports"][0]["contract"] = contract();
            body["reports"][0]["contract"]["metrics"]["state"]["values"] =
                vec!["x".repeat(4096); 17].into();
            body.to_string()
        }),
        ("a tag twice", text.replacen("{\"mount\":\"/\"}", "{\"mount\":\"/\",\"mount\":\"/\"}", 1)),
    ];
    for (what, body) in cases {
        assert!(schema.is_valid(&serde_json::from_str(&body).unwrap()), "{what}: {body}");
        let answer = answer(hub.upload().body(body)).await;
        assert_eq!((answer.status, answer.json()["code"].as_str()), (422, Some("shape")), "{what}");
    }
    let huge = text.replacen("\"duration\":0.012", "\"duration\":1e999", 1);
    assert_eq!(answer(hub.upload().body(huge)).await.status, 422);
    assert_eq!(hub.take(&good).await.accepted, 2);
    hub.stop().await;
}

/// serde_json sorts members; whatever comes first there comes last here.
fn backwards(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let all: Vec<_> = members
                .iter()
                .rev()
                .map(|(key, value)| format!("\r\n\t{} : {} ", json!(key), backwards(value)))
                .collect();
            format!(" {{{}}}", all.join(","))
        }
        Value::Array(elements) => {
            let all: Vec<_> = elements.iter().map(backwards).collect();
            format!("[ {} ]", all.join(" , "))
        }
        other => other.to_string(),
    }
}

#[tokio::test]
async fn members_come_in_any_order_and_with_any_white_space() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let good = Stream::new().batch(vec![report(1, NOW, used(1.0)), report(2, NOW, used(1.0))]);
    let text = good.to_string();
    let reply = answer(hub.upload().body(backwards(&good))).await;
    assert_eq!((reply.status, reply.json()["accepted"].as_u64()), (200, Some(2)), "{}", reply.body);
    assert_eq!(hub.take(&good).await.duplicates, 2, "{text}");
    assert_eq!(hub.held("web-1", "disk").await, (2, 2, 0));
    hub.stop().await;
}
