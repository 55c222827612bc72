//! Advice on what is right and probably not meant, and contracts proposed for what was seen.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::Arc;

use talaia::contract::explain::{self, Kind, Prints};
use talaia::contract::{
    Advice, Contract, Declared, Judge, Judged, Moment, Observed, Strictness, advice, infer,
};
use talaia::decode::{End, Format};
use talaia::model::{AdviceCode, MetricType, Tags, Timestamp};

use crate::support::finish;

/// The advice on what these runs printed.
fn on(runs: &[&str]) -> Vec<Advice> {
    let contract = Arc::new(Contract::new(BTreeMap::new(), Strictness::Open, None).unwrap());
    let mut judge = Judge::new(Arc::clone(&contract), Tags::default());
    let mut observed = Observed::default();
    for out in runs {
        let started = Timestamp::from_millis(1_700_000_000_000).unwrap();
        let judged = judge.run(Moment { started, now: started }, |records| {
            Format::Json.decode(out.as_bytes(), End::Whole, records);
        });
        assert_eq!(judged.counts.rejected_total(), 0, "{out}: {judged:?}");
        observed.add(&judged.metrics, Some(out.len() as u64));
        // As a dry run does, which sees what was printed.
        let words = out.split([',', '}', ':', ' ']);
        for word in words.filter(|word| word.contains('e') && word.starts_with(char::is_numeric)) {
            for metric in &judged.metrics {
                observed.written(&metric.name, word);
            }
        }
    }
    advice(&observed, &contract)
}

#[test]
fn each_piece_of_advice_is_given_where_it_is_due_and_nowhere_else() {
    use AdviceCode as Code;
    let cases: [(Code, &[&str], &str); 18] = [
        (Code::NothingPrinted, &["", ""], "users"),
        (Code::VerdictAsMetric, &[r#"{"status": "critical", "up": false}"#], "metrics"),
        (Code::KeyAsMetric, &[r#"{"name": "users", "val": 3}"#], "both"),
        (Code::UnitMissing, &[r#"{"disk_free_bytes": 1}"#], r#""value": 1, "unit": "B""#),
        (Code::UnitMissing, &[r#"{"disk_used_percent": 71.2}"#], "percent"),
        (
            Code::UnitVaries,
            &[r#"[{"name":"t","value":1,"unit":"s"}]"#, r#"[{"name":"t","value":1,"unit":"ms"}]"#],
            "one",
        ),
        (Code::NumberInText, &[r#"{"used": "71%"}"#], r#""value": 71, "type": "percent""#),
        (Code::NumberInText, &[r#"{"load": "0,42"}"#], "`0.42`"),
        (Code::NumberInText, &[r#"{"count": "1,234"}"#], "`1234` if the comma parts thousands"),
        (Code::NumberInText, &[r#"{"size": "12 MB"}"#], r#""unit": "MB""#),
        (Code::BytesAsFloat, &[r#"[{"name":"x","value":12.5,"unit":"B"}]"#], "%.0f"),
        (Code::DigitsLost, &[r#"[{"name":"mem_bytes","value":1.84467e+10,"unit":"B"}]"#], "awk"),
        (
            Code::PercentAsFraction,
            &[
                r#"[{"name":"x","value":0.71,"type":"percent"}]"#,
                r#"[{"name":"x","value":0.4,"type":"percent"}]"#,
            ],
            "100",
        ),
        (
            Code::CounterFalls,
            &[
                r#"[{"name":"x","value":9,"type":"counter"}]"#,
                r#"[{"name":"x","value":3,"type":"counter"}]"#,
            ],
            "integer",
        ),
        (Code::CounterLikely, &[r#"{"x_total": 1}"#, r#"{"x_total": 2}"#], "counter"),
        (Code::TypeFlips, &[r#"{"x": 1}"#, r#"{"x": "n/a"}"#], "null"),
        (Code::SeriesUnsteady, &[r#"{"x": 1, "y": 1}"#, r#"{"x": 1}"#], "null"),
        (
            Code::TagGrows,
            &[
                r#"[{"name":"x","value":1,"tags":{"pid":"1"}}]"#,
                r#"[{"name":"x","value":1,"tags":{"pid":"2"}}]"#,
            ],
            "ids",
        ),
    ];
    for (code, runs, hint) in cases {
        let given = on(runs);
        assert_eq!(given.iter().map(|a| a.code).collect::<Vec<_>>(), [code], "{runs:?}: {given:?}");
        assert!(given[0].hint.contains(hint), "{given:?}");
    }
    let covered: BTreeSet<Code> = cases.iter().map(|(code, ..)| *code).collect();
    assert_eq!(covered.len(), Code::ALL.len(), "every code has a case");
}

#[test]
fn what_is_well_made_gets_none() {
    for good in [
        r#"{"zip": "08001", "version": "3.11", "port": "80", "size": "12ab", "at": "80/tcp", "n": "1.2.3"}"#,
        r#"{"a": 1e5}"#,
        r#"{"a": 1e+16}"#,
        r#"{"a": 1.152921504606847e+18}"#,
        r#"[{"name": "avg_bytes", "value": 2.5, "unit": "B"}]"#,
        r#"[{"name": "errors", "value": 0.3, "type": "percent"}]"#,
        r#"{"rx_bytes_sec": 12.5, "http_seconds_count": 3, "about_us": 1}"#,
    ] {
        assert_eq!(on(&[good]), [], "{good}");
    }
    let good = r#"[{"name":"used","value":71.2,"type":"percent","tags":{"mount":"/"}},
        {"name":"free_bytes","value":18000000000,"unit":"B"},{"name":"kernel","value":"6.1.0"},
        {"name":"up","value":true},{"name":"load","value":1},
        {"name":"reads","value":7,"type":"counter"}]"#;
    let later = good.replace("\"load\",\"value\":1", "\"load\",\"value\":1.5");
    assert_eq!(on(&[good, &later]), []);
}

fn judged(contract: Contract, out: &str) -> Judged {
    let started = Timestamp::from_millis(1_700_000_000_000).unwrap();
    Judge::new(Arc::new(contract), Tags::default()).run(Moment { started, now: started }, |to| {
        Format::Json.decode(out.as_bytes(), End::Whole, to);
    })
}

fn open() -> Contract {
    Contract::new(BTreeMap::new(), Strictness::Open, None).unwrap()
}

#[test]
fn what_is_proposed_is_what_its_author_would_have_written() {
    let runs = [
        r#"{"disk_used_percent": 71, "free_bytes": 12, "load1": 1, "reads_total": 5, "state": "ok",
            "up": true, "users": 3}"#,
        r#"{"disk_used_percent": 72.5, "free_bytes": 13, "load1": 2, "reads_total": 9, "state": "ok",
            "up": false}"#,
    ];
    let mut observed = Observed::default();
    for out in runs {
        let seen = judged(open(), out);
        observed.add(&seen.metrics, Some(out.len() as u64));
    }
    let proposals = infer(&observed, &open());
    let of = |name: &str| proposals.iter().find(|p| p.name == name).unwrap();
    for (name, kind, unit) in [
        ("disk_used_percent", MetricType::Percent, Some("%")),
        ("free_bytes", MetricType::Integer, Some("B")),
        ("load1", MetricType::Float, None),
        ("reads_total", MetricType::Counter, None),
        ("state", MetricType::String, None),
        ("up", MetricType::Boolean, None),
        ("users", MetricType::Integer, None),
    ] {
        let declared = &of(name).declared;
        assert_eq!((declared.kind, declared.unit.as_deref()), (kind, unit), "{name}");
        assert_eq!(declared.required, name != "users", "{name}");
    }
    let percent = &of("disk_used_percent").declared;
    assert_eq!((percent.min, percent.max), (Some(0.0), Some(100.0)));
    assert_eq!(of("state").doubts, ["if there are no others: values = [\"ok\"]"]);
    assert_eq!(of("users").seen, "3, in 1 of 2 runs");
}

#[test]
fn what_was_observed_passes_the_contract_proposed_for_it() {
    let out = r#"[{"name":"a","value":71.2,"type":"percent"},{"name":"b","value":18446744073709551615},
        {"name":"c","value":-3},{"name":"d_bytes","value":1.5},{"name":"e","value":null},
        {"name":"f","value":"x"},{"name":"g","value":true},{"name":"h","value":9,"type":"counter"},
        {"name":"load","value":0}]"#;
    let mut observed = Observed::default();
    let seen = judged(open(), out);
    observed.add(&seen.metrics, Some(out.len() as u64));
    let metrics: BTreeMap<String, Declared> =
        infer(&observed, &open()).into_iter().map(|p| (p.name, p.declared)).collect();
    let contract = Contract::new(metrics, Strictness::Strict, None).unwrap();
    let again = judged(contract, out);
    assert_eq!((again.counts.accepted, again.counts.rejected_total()), (9, 0), "{again:?}");
}

/// What an example prints; where it is a program, that is run.
fn printed(prints: Prints) -> String {
    let text = String::from_utf8(prints.bytes()).unwrap();
    if !text.starts_with("#!/bin/sh\n") {
        return text;
    }
    let mut shell = Command::new("sh");
    shell.args(["-c", &text]);
    finish(shell, b"").code(0).stdout.clone()
}

#[test]
fn the_pages_show_what_is_advised_on_and_what_is_not() {
    for page in explain::pages().iter().filter(|page| page.kind == Kind::Advice) {
        let codes = |prints: Prints| {
            let said = match prints {
                Prints::Runs(runs) => on(runs),
                prints => on(&[&printed(prints)]),
            };
            said.into_iter().map(|advice| advice.code.as_str()).collect::<Vec<_>>()
        };
        assert_eq!(codes(page.wrong.unwrap()), [page.code], "{}", page.code);
        assert_eq!(codes(page.right.unwrap()), [""; 0], "{}", page.code);
    }
}
