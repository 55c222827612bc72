//! What a contract accepts and refuses, and the pages that explain it.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use serde::Deserialize;
use talaia::contract::explain::{self, Prints};
use talaia::contract::{Contract, Declared, Judge, Strictness};
use talaia::decode::End;
use talaia::model::{MetricType, RejectionCode, Tags, Value};

use crate::decode::{check, open_judge, own_schema, run, run_with, tell};

fn contract(metrics: &[(&str, Declared)], strictness: Strictness) -> Judge {
    let metrics: BTreeMap<_, _> =
        metrics.iter().map(|(n, d)| ((*n).to_owned(), d.clone())).collect();
    Judge::new(Arc::new(Contract::new(metrics, strictness, None).unwrap()), Tags::new())
}

#[test]
fn types_hold_what_they_say() {
    let one = |value: &str, kind: &str| {
        tell(&run(&format!("{{\"name\":\"a\",\"value\":{value},\"type\":\"{kind}\"}}"))).remove(0)
    };
    assert_eq!(one("1.0", "integer"), "a=1 integer");
    assert_eq!(one("1e3", "integer"), "a=1000 integer");
    assert_eq!(one("18446744073709551615", "integer"), "a=18446744073709551615 integer");
    assert_eq!(one("-9223372036854775808", "integer"), "a=-9223372036854775808 integer");
    assert!(one("18446744073709551616", "integer").starts_with("!value-range"));
    assert!(one("-9223372036854775809", "integer").starts_with("!value-range"));
    assert_eq!(one("9007199254740993.0", "integer"), "a=9007199254740993 integer");
    assert!(one("123456789012345678901", "float").ends_with(" float"));
    assert!(tell(&run(r#"{"a":123456789012345678901}"#))[0].starts_with("!value-range"));
    assert!(tell(&run(r#"{"a":1.2e20}"#))[0].ends_with(" float"));
    assert!(one("1.5", "integer").starts_with("!value-type"));
    assert!(one("9007199254740993.5", "integer").starts_with("!value-type"));
    assert!(one("1e-400", "integer").starts_with("!value-type"));
    assert!(one("1e400", "integer").starts_with("!value-range"));
    assert_eq!(one("-0.0", "integer"), "a=0 integer");
    assert_eq!(one("12345678901234567890.0", "integer"), "a=12345678901234567890 integer");
    assert_eq!(one("9007199254740993.5", "counter"), "a=9007199254740994 counter");
    assert!(one("0.99999999999999999999", "boolean").starts_with("!value-range"));
    assert!(tell(&run(r#"{"a":9007199254740993.5}"#))[0].ends_with(" float"));
    assert!(one("-1", "counter").starts_with("!value-range"));
    assert_eq!(one("1.5", "counter"), "a=1.5 counter");
    assert_eq!(one("171.2", "percent"), "a=171.2 percent");
    assert_eq!(one("1", "binary"), "a=true boolean");
    assert_eq!(one("0.0", "boolean"), "a=false boolean");
    assert!(one("5", "string").starts_with("!value-type"));
    assert_eq!(one("null", "counter"), "a=null counter");
    let judged = run(r#"{"name":"a","value":1,"type":"percent"}"#);
    assert_eq!(judged.metrics[0].unit.as_deref(), Some("%"));
    assert_eq!(judged.metrics[0].value, Value::Float(1.0));
}

/// A number's digits with the point anywhere and the exponent that makes up for it.
fn written(digits: &str, fraction: &str, shift: i32, exponent: char) -> String {
    let all = format!("{digits}{fraction}");
    let point = i32::try_from(digits.len()).unwrap() + shift;
    let (before, after) = match usize::try_from(point) {
        Ok(0) => ("0".to_owned(), all),
        Ok(point) if point < all.len() => (all[..point].to_owned(), all[point..].to_owned()),
        Ok(point) => (format!("{all}{}", "0".repeat(point - all.len())), "0".to_owned()),
        Err(_) => ("0".to_owned(), format!("{}{all}", "0".repeat(point.unsigned_abs() as usize))),
    };
    let before = before.trim_start_matches('0');
    let before = if before.is_empty() { "0" } else { before };
    format!("{before}.{after}{exponent}{}", -shift)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]
    #[test]
    fn an_integer_is_what_its_digits_say_however_they_are_written(
        n in prop_oneof![any::<u64>(), 0..100_u64, Just(u64::MAX), Just((1 << 53) + 1)],
        sign in prop::sample::select(vec!["", "-"]),
        shift in -30..30_i32,
        fraction in prop::option::of("0{0,25}[1-9]"),
        exponent in prop::sample::select(vec!['e', 'E']),
    ) {
        let digits = n.to_string();
        let text = written(&digits, fraction.as_deref().unwrap_or_default(), shift, exponent);
        let text = format!("{sign}{text}");
        let judged = run(&format!("{{\"name\":\"a\",\"value\":{text},\"type\":\"integer\"}}"));
        let fits = sign.is_empty() || n <= 1 << 63;
        let told = tell(&judged).remove(0);
        match (fraction, fits) {
            (Some(_), _) => prop_assert!(told.starts_with("!value-type"), "{text}: {told}"),
            (None, false) => prop_assert!(told.starts_with("!value-range"), "{text}: {told}"),
            (None, true) => {
                let sign = if n == 0 { "" } else { sign };
                prop_assert_eq!(told, format!("a={sign}{n} integer"), "{}", text);
            }
        }
    }
}

#[test]
fn an_undeclared_number_is_float_for_good_after_its_first_fraction() {
    let mut judge = open_judge();
    let mut next = |output: &str| run_with(&mut judge, output.as_bytes(), End::Whole);
    assert_eq!(next("{\"a\":1}").metrics[0].kind, MetricType::Integer);
    assert_eq!(next("{\"a\":2.0}").metrics[0].kind, MetricType::Integer);
    let grown = next("{\"a\":2.5}");
    assert_eq!(grown.metrics[0].kind, MetricType::Float);
    assert!(grown.warnings.is_empty());
    let whole = next("{\"a\":3}");
    assert_eq!(
        (whole.metrics[0].kind, &whole.metrics[0].value),
        (MetricType::Float, &Value::Float(3.0))
    );
    assert_eq!(next("{\"a\":null}").metrics[0].kind, MetricType::Float);
    let flipped = next("{\"a\":\"x\"}");
    assert_eq!(flipped.metrics.len(), 1);
    assert_eq!(
        flipped.warnings,
        ["type-changed: `a` was float and is now string; declare its type"]
    );
    assert_eq!(next("{\"a\":3}").metrics[0].kind, MetricType::Float);
}

#[test]
fn a_declaration_goes_before_what_is_printed() {
    let declared = Declared {
        unit: Some("B".into()),
        label: Some("Used".into()),
        required: true,
        max: Some(10.0),
        ..Declared::of(MetricType::Float)
    };
    let state =
        Declared { values: vec!["up".into(), "down".into()], ..Declared::of(MetricType::String) };
    let mut judge = contract(&[("used", declared), ("state", state)], Strictness::Strict);
    let mut next = |output: &str| run_with(&mut judge, output.as_bytes(), End::Whole);

    let judged = next(
        r#"[{"name":"used","value":1,"type":"integer","unit":"MB","label":"x"},{"name":"usd","value":1}]"#,
    );
    assert_eq!(tell(&judged), ["used=1 float", "!undeclared /1/name 1:77"]);
    let used = &judged.metrics[0];
    assert_eq!(
        (used.unit.as_deref(), used.label.as_deref(), used.max),
        (Some("B"), Some("Used"), Some(10.0))
    );
    assert_eq!(judged.warnings.len(), 2, "{:?}", judged.warnings);
    assert!(judged.rejected[0].hint.contains("`used`"));

    let judged = next(r#"{"state":"uo"}"#);
    assert_eq!(tell(&judged), ["!value-range /state 1:10"]);
    assert_eq!(judged.warnings, ["required-missing: the required metric `used` did not come"]);
    assert_eq!(tell(&next(r#"{"used":"1"}"#)), ["!value-type /used 1:9"]);
    assert!(next(r#"{"used":null}"#).warnings.is_empty(), "a gap has come");
}

#[test]
fn contracts_that_cannot_hold_are_errors() {
    let make = |name: &str, declared: Declared| {
        Contract::new([(name.to_owned(), declared)].into(), Strictness::Open, None)
            .unwrap_err()
            .to_string()
    };
    let plain = || Declared::of(MetricType::Float);
    assert!(make("disk-used", plain()).contains("`disk_used`"));
    assert!(make("a", Declared { min: Some(2.0), max: Some(1.0), ..plain() }).contains("`min`"));
    assert!(make("a", Declared { values: vec!["x".into()], ..plain() }).contains("`string`"));
    for schema in [r#"{"type":"nothing"}"#, r#"{"$ref":"https://example.org/s.json"}"#] {
        let schema = serde_json::from_str(schema).unwrap();
        Contract::new(BTreeMap::new(), Strictness::Open, Some(&schema)).unwrap_err();
    }
}

#[test]
fn a_plugins_own_schema_refuses_records_or_the_document() {
    let schema = r#"{"properties":{"users":{"type":"integer"},"load":{}},"additionalProperties":false,"required":["load"]}"#;
    let next =
        |output: &str| tell(&run_with(&mut own_schema(schema), output.as_bytes(), End::Whole));
    assert_eq!(next(r#"{"load":1,"users":2}"#), ["load=1 integer", "users=2 integer"]);
    assert_eq!(next(r#"{"load":1,"users":"x"}"#), ["load=1 integer", "!schema /users 1:11"]);
    assert_eq!(next(r#"{"load":1,"extra":1}"#), ["load=1 integer", "!schema /extra 1:11"]);
    assert_eq!(next("{\"users\":2}\n{\"load\":1}"), ["load=1 integer", "!schema  1:1"]);
    // One metric is its document: what is wrong with it is wrong with the record.
    let schema = r#"{"properties":{"value":{"maximum":5}}}"#;
    let judged = run_with(&mut own_schema(schema), br#"{"name":"a","value":6}"#, End::Whole);
    assert_eq!(tell(&judged), ["!schema /value 1:1"]);
    assert_eq!(judged.rejected[0].rule.as_deref(), Some("/properties/value/maximum"));
    let schema = r#"{"properties":{"metrics":{"items":{"required":["unit"]}}}}"#;
    let judged = run_with(
        &mut own_schema(schema),
        br#"{"metrics":[{"name":"a","value":6},{"name":"b","value":1,"unit":"s"}]}"#,
        End::Whole,
    );
    assert_eq!(tell(&judged), ["b=1 integer", "!schema /metrics/0 1:13"]);
}

#[test]
fn unknown_keys_are_warned_of_once() {
    let judged = run(r#"[{"name":"a","value":1,"units":"s"},{"name":"b","value":1,"units":"s"}]"#);
    assert_eq!(judged.metrics.len(), 2);
    assert_eq!(
        judged.warnings,
        [
            "key-unknown: the key `units` (line 1, column 32) means nothing here; did you mean `unit`?"
        ]
    );
}

#[test]
fn limits_are_limits() {
    let name = "n".repeat(128);
    check(&format!("{{\"{name}\":1}}"), &[&format!("{name}=1 integer")]);
    check(&format!("{{\"{name}n\":1}}"), &[&format!("!too-long /{name}n 1:2")]);
    let text = "é".repeat(2048);
    assert_eq!(run(&format!("{{\"a\":\"{text}\"}}")).metrics.len(), 1);
    assert_eq!(run(&format!("{{\"a\":\"{text}x\"}}")).rejected[0].code, RejectionCode::TooLong);
    let tags = |n: usize| {
        let tags: Vec<String> = (0..n).map(|n| format!("\"t{n}\":\"\"")).collect();
        run(&format!("{{\"name\":\"a\",\"value\":1,\"tags\":{{{}}}}}", tags.join(",")))
    };
    assert_eq!(tags(32).metrics.len(), 1);
    assert_eq!(tags(33).rejected[0].code, RejectionCode::TagInvalid);
}

#[test]
fn known_series_go_on_when_there_are_too_many() {
    let mut judge = open_judge();
    let lines = |range: std::ops::Range<u32>| -> String {
        range.map(|n| format!("{{\"s{n}\":1}}")).collect::<Vec<_>>().join("\n")
    };
    let first = run_with(&mut judge, lines(0..10_000).as_bytes(), End::Whole);
    assert_eq!(first.metrics.len(), 10_000);
    let second = run_with(&mut judge, lines(9_990..10_010).as_bytes(), End::Whole);
    assert_eq!(second.metrics.len(), 10);
    assert_eq!(second.counts.rejected[&RejectionCode::TooManySeries], 10);
    assert_eq!(judge.series(), 10_000);
}

#[test]
fn tags_of_the_plugin_are_under_all_others() {
    let mut judge =
        Judge::new(Arc::default(), [("env", "prod"), ("k", "plugin")].into_iter().collect());
    let judged = run_with(
        &mut judge,
        br#"[{"name":"a","value":1,"tags":{"k":"v"}},{"name":"b","value":1}]"#,
        End::Whole,
    );
    assert_eq!(judged.metrics[0].tags, [("env", "prod"), ("k", "v")].into_iter().collect());
    assert_eq!(judged.metrics[1].tags, [("env", "prod"), ("k", "plugin")].into_iter().collect());
}

#[test]
fn only_the_first_hundred_refusals_are_spelt_out() {
    let judged = run(&"{\"a-b\":1}\n".repeat(250));
    assert_eq!(judged.rejected.len(), 100);
    assert_eq!(judged.counts.rejected[&RejectionCode::NameHyphen], 250);
    assert_eq!(judged.rejected[99].line, 100);
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Settings {
    #[serde(default)]
    strict: bool,
    #[serde(default)]
    metrics: BTreeMap<String, Declared>,
    schema: Option<serde_json::Value>,
}

#[test]
fn every_page_shows_what_it_explains() {
    for &code in RejectionCode::ALL {
        let page = explain::page(code);
        let settings = match page.settings {
            Some(json) if json.starts_with('{') => {
                Settings { schema: serde_json::from_str(json).unwrap(), ..Settings::default() }
            }
            Some(toml) => toml::from_str(toml).unwrap(),
            None => Settings::default(),
        };
        let strictness = if settings.strict { Strictness::Strict } else { Strictness::Open };
        let contract =
            Contract::new(settings.metrics, strictness, settings.schema.as_ref()).unwrap();
        let contract = Arc::new(contract);
        let judged = |prints: Prints| {
            let end = if let Prints::Cut(_) = prints { End::Cut } else { End::Whole };
            run_with(&mut Judge::new(contract.clone(), Tags::new()), &prints.bytes(), end)
        };
        let wrong = judged(page.wrong.unwrap());
        let codes: Vec<_> = wrong.counts.rejected.iter().collect();
        assert_eq!(codes, [(&code, &1)], "{code}: {wrong:?}");
        let right = judged(page.right.unwrap());
        assert_eq!(right.counts.rejected_total(), 0, "{code}: {right:?}");
        assert!(right.counts.accepted > 0 && right.warnings.is_empty(), "{code}: {right:?}");
        let shown = page.to_string();
        assert!(shown.starts_with(code.as_str()) && shown.len() < 2000, "{shown}");
    }
}
