//! What a program prints, through decoder and judge.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use talaia::contract::{Contract, Judge, Judged, Moment, Strictness};
use talaia::decode::{End, Format};
use talaia::model::{RejectionCode, Status, Tags, Timestamp};

pub(crate) fn moment() -> Moment {
    let now = Timestamp::parse("2026-11-22T20:42:10Z").unwrap();
    Moment { started: now, now }
}

pub(crate) fn open_judge() -> Judge {
    Judge::new(Arc::default(), Tags::new())
}

pub(crate) fn run_with(judge: &mut Judge, output: &[u8], end: End) -> Judged {
    let judged = judge.run(moment(), |records| Format::Json.decode(output, end, records));
    let counts = &judged.counts;
    assert_eq!(counts.produced, counts.accepted + counts.rejected_total());
    assert_eq!(counts.accepted, judged.metrics.len() as u64);
    assert_eq!(counts.rejected_total().min(100), judged.rejected.len() as u64);
    judged
}

pub(crate) fn run(output: &str) -> Judged {
    run_with(&mut open_judge(), output.as_bytes(), End::Whole)
}

pub(crate) fn own_schema(schema: &str) -> Judge {
    let schema = serde_json::from_str(schema).unwrap();
    let contract = Contract::new(BTreeMap::new(), Strictness::Open, Some(&schema)).unwrap();
    Judge::new(Arc::new(contract), Tags::new())
}

/// Accepted records as `name=value type`, then refused ones as `!code path line:column`.
pub(crate) fn tell(judged: &Judged) -> Vec<String> {
    let accepted = judged.metrics.iter().map(|m| format!("{}={} {}", m.name, m.value, m.kind));
    let refused =
        judged.rejected.iter().map(|r| format!("!{} {} {}:{}", r.code, r.path, r.line, r.column));
    accepted.chain(refused).collect()
}

#[track_caller]
pub(crate) fn check(output: &str, expected: &[&str]) {
    assert_eq!(tell(&run(output)), expected, "{output}");
}

#[track_caller]
fn check_cut(output: &str, expected: &[&str]) {
    let judged = run_with(&mut open_judge(), output.as_bytes(), End::Cut);
    assert_eq!(tell(&judged), expected, "{output}");
}

#[test]
fn every_form_is_read() {
    check(r#"[{"name":"a","value":1}]"#, &["a=1 integer"]);
    check(r#"{"metrics":[{"name":"a","value":71.2,"type":"percent"}]}"#, &["a=71.2 percent"]);
    check(
        r#"{"metrics":{"metric_1":{"row_name":"Row 1","metric_name":"metric1","value":100,"type":"integer"}}}"#,
        &["metric1=100 integer"],
    );
    check(r#"{"metrics":{"a":{"value":1},"b":2}}"#, &["a=1 integer", "b=2 integer"]);
    check(
        r#"{"account_key":"k","plugins":{"p1":{"a":{"value":1}},"p2":{"b":{"value":"x"}}}}"#,
        &["a=1 integer", "b=x string"],
    );
    check(r#"{"name":"x","value":1,"type":"float"}"#, &["x=1 float"]);
    check(r#"{"metric_name":"x","value":true}"#, &["x=true boolean"]);
    check(
        r#"{"load1":0.42,"users":3,"raid_ok":true,"kernel":"6.1","gap":null}"#,
        &[
            "load1=0.42 float",
            "users=3 integer",
            "raid_ok=true boolean",
            "kernel=6.1 string",
            "gap=null float",
        ],
    );
    // In a flat document every key is a metric.
    check(
        r#"{"status":"ok","message":"hi","time":5,"tags":1,"metrics":2,"name":3,"value":4}"#,
        &[
            "status=ok string",
            "message=hi string",
            "time=5 integer",
            "tags=1 integer",
            "metrics=2 integer",
            "name=3 integer",
            "value=4 integer",
        ],
    );
    for nothing in ["", "{}", "[]", " \n\r\n", "{\"metrics\":[]}", "{\"plugins\":{}}"] {
        check(nothing, &[]);
    }
}

#[test]
fn layout_does_not_matter() {
    let expected = ["a=1 integer", "b=2 integer", "c=3 integer"];
    check("{\"a\":1}\n{\"b\":2}\n{\"c\":3}\n", &expected);
    check("{\"a\":1}{\"b\":2} {\"c\":3}", &expected);
    check("\u{feff}{\"a\":1}\r\n{\"b\":2}\r\n\r\n\u{feff}{\"c\":3}\r\n", &expected);
    check("{\n  \"a\": 1\n}\n{\n  \"b\": 2,\n  \"c\": 3\n}", &expected);
    check("[\n  {\n \"name\":\n\"a\",\"value\":1}]  {\"b\":2,\"c\":3}", &expected);
}

#[test]
fn what_a_document_says_holds_for_its_metrics() {
    let judged = run(
        r#"{"metrics":[{"name":"a","value":1,"tags":{"k":"own"}},{"name":"b","value":1,"time":1795380000}],
            "status":"warning","message":"filling up","tags":{"k":"doc","l":"doc"},"time":"2026-11-22T20:00:00Z"}"#,
    );
    assert!(judged.warnings.is_empty(), "{:?}", judged.warnings);
    assert_eq!(judged.status, Some(Status::Warning));
    assert_eq!(judged.message.as_deref(), Some("filling up"));
    let [a, b] = &judged.metrics[..] else { panic!("{judged:?}") };
    assert_eq!(a.tags, [("k", "own"), ("l", "doc")].into_iter().collect());
    assert_eq!(a.time, Timestamp::parse("2026-11-22T20:00:00Z").ok());
    assert_eq!(b.tags, [("k", "doc"), ("l", "doc")].into_iter().collect());
    assert_eq!(b.time, Timestamp::from_number(1_795_380_000.0));
}

#[test]
fn the_worst_status_of_several_documents_counts() {
    let doc = |status: &str, message: &str| {
        format!("{{\"metrics\":[],\"status\":\"{status}\",\"message\":\"{message}\"}}\n")
    };
    let output = [
        doc("ok", "a"),
        doc("critical", "b"),
        doc("unknown", "c"),
        doc("warning", "d"),
        doc("critical", "e"),
        doc("critical", "e"),
    ];
    let judged = run(&output.concat());
    assert_eq!(judged.status, Some(Status::Critical));
    assert_eq!(judged.message.as_deref(), Some("b; e"));
    let odd = run("{\"metrics\":[],\"status\":\"CRIT\"}");
    assert_eq!(odd.status, Some(Status::Unknown));
    assert_eq!(odd.warnings.len(), 1, "{:?}", odd.warnings);
    assert_eq!(run("{\"a\":1}").status, None);
}

#[test]
fn a_syntax_error_keeps_what_was_complete_before_it() {
    check(
        r#"[{"name":"a","value":1},{"name":"b","value":2},{"name":"c","value":3},{"name":"d",value:4},{"name":"e","value":5}]"#,
        &["a=1 integer", "b=2 integer", "c=3 integer", "!json-syntax /3 1:83"],
    );
    check(
        "{\"status\":\"ok\",\"metrics\":[{\"name\":\"a\",\"value\":1},\n{\"name\":\"b\",\"value\":}],\"x\":1}\n{\"z\":1}",
        &["a=1 integer", "z=1 integer", "!json-syntax /metrics/1 2:21"],
    );
    check(
        "{\"a\":1,\"b\":12x}\n{\"c\":3}\n",
        &["a=1 integer", "c=3 integer", "!json-syntax  1:14"],
    );
    check("{\"a\":1,\"b\":12", &["a=1 integer", "!json-syntax  1:1"]);
    check(
        "{\"metrics\":{\"a\":{\"value\":1},\"b\":{\"value\":2",
        &["a=1 integer", "!json-syntax /metrics/b 1:1"],
    );
    check("{\"name\":\"a\",\"value\":1,\"un", &["!json-syntax  1:1"]);
    check("{\"value\":1,\"name\":\"a\" oops}", &["!json-syntax  1:23"]);
    // A flat document that broke may have been a full one.
    check("{\"status\":\"ok\",\"load\":1,}", &["load=1 integer", "!json-syntax  1:25"]);
}

#[test]
fn reading_resumes_at_a_line_that_starts_like_a_document() {
    check(
        "{\"a\":1\n{\"b\":2}\n",
        &["a=1 integer", "b=2 integer", "!json-syntax  2:1"]
            .into_iter()
            .filter(|l| *l != "a=1 integer")
            .collect::<Vec<_>>(),
    );
    check("{\"a\":\"x}\n{\"b\":2}\n", &["b=2 integer", "!json-syntax  1:9"]);
    // Lines inside of the broken value do not start with a bracket.
    check(
        "{\n  \"a\": [\n  {\"x\":1},\n  oops\n  ]\n}\n[{\"name\":\"b\",\"value\":2}]",
        &["b=2 integer", "!json-syntax /a 4:3"],
    );
    check("[INFO] starting\n{\"b\":2}", &["b=2 integer", "!json-syntax  1:2"]);
}

#[test]
fn lines_that_are_not_json_are_one_refusal_per_group() {
    check(
        "starting\nstill starting\n\n  more\n{\"a\":1}\ndone\n",
        &["a=1 integer", "!not-json  1:1", "!not-json  6:1"],
    );
    check("noise\n  {\"a\":1}\n", &["a=1 integer", "!not-json  1:1"]);
    check("{\"a\":1} trailing\n{\"b\":2}", &["a=1 integer", "b=2 integer", "!not-json  1:9"]);
    check("42\n\"text\"\nnull", &["!not-json  1:1"]);
    let judged = run("starting");
    assert!(judged.rejected[0].hint.contains("stderr"));
    assert_eq!(judged.rejected[0].value, "starting");
}

#[test]
fn a_half_line_is_refused_after_a_cut_and_read_after_an_exit() {
    check_cut("{\"a\":1}\n{\"b\":2", &["a=1 integer", "!truncated  2:1"]);
    check_cut("{\"a\":1}\nwarni", &["a=1 integer", "!truncated  2:1"]);
    check_cut("{\"a\":1}\n{\"b\":2}", &["a=1 integer", "b=2 integer"]);
    check_cut("[{\"name\":\"a\",\"value\":1},{\"na", &["a=1 integer", "!truncated /1 1:1"]);
    check_cut("{\"a\":tr", &["!truncated  1:1"]);
    check_cut("noise\nwarni", &["!not-json  1:1"]);
    check_cut("{\"a\":,}\n", &["!json-syntax  1:6"]);
    check("{\"a\":1}\n{\"b\":2}", &["a=1 integer", "b=2 integer"]);
}

#[test]
fn what_cannot_be_a_value_costs_one_record() {
    check(
        r#"{"a":NaN,"b":-Infinity,"c":1e400,"d":1,"e":nan}"#,
        &[
            "d=1 integer",
            "!value-not-finite /a 1:6",
            "!value-not-finite /b 1:14",
            "!value-range /c 1:28",
            "!value-not-finite /e 1:44",
        ],
    );
    check(
        r#"[{"name":"a","value":1,"x":{"y":[NaN]}},{"name":"b","value":1}]"#,
        &["b=1 integer", "!value-not-finite /0 1:34"],
    );
    check(r#"{"a":1,"b":2,"a":3}"#, &["a=1 integer", "b=2 integer", "!duplicate-key /a 1:14"]);
    check(r#"{"a":1,"\u0061":3}"#, &["a=1 integer", "!duplicate-key /a 1:8"]);
    check(
        r#"[{"name":"a","value":1,"value":2},{"name":"b","value":1,"tags":{"k":"1","k":"2"}},{"name":"c","value":1}]"#,
        &["c=1 integer", "!duplicate-key /0 1:24", "!duplicate-key /1/tags/k 1:77"],
    );
    check(
        r#"{"metrics":[{"name":"a","value":1}],"status":"ok","status":"ok","metrics":[]}"#,
        &["a=1 integer", "!duplicate-key /status 1:51", "!duplicate-key /metrics 1:65"],
    );
    check(r#"{"a":"\ud800","b":"\ud83d\ude00"}"#, &["b=😀 string", "!json-utf8 /a 1:6"]);
    let many: Vec<String> = (0..50).map(|n| format!("\"k{}\":{n}", n % 40)).collect();
    let judged = run(&format!("{{{}}}", many.join(",")));
    assert_eq!(judged.metrics.len(), 40);
    assert_eq!(judged.counts.rejected[&RejectionCode::DuplicateKey], 10);
}

#[test]
fn text_that_is_not_utf8_costs_its_record_or_its_stretch() {
    let told = |output: &[u8]| tell(&run_with(&mut open_judge(), output, End::Whole));
    assert_eq!(told(b"{\"a\":\"\xff\",\"b\":1}"), ["b=1 integer", "!json-utf8 /a 1:6"]);
    assert_eq!(told(b"{\"\xff\":1,\"b\":1}"), ["b=1 integer", "!json-utf8  1:2"]);
    assert_eq!(told(b"gr\xf6\xdfer\nnoch\n{\"b\":1}"), ["b=1 integer", "!json-utf8  1:1"]);
    assert_eq!(told(b"{\"a\":\xff}\n{\"b\":1}"), ["b=1 integer", "!json-utf8  1:6"]);
    assert_eq!(
        told(b"{\"metrics\":[{\"name\":\"a\",\"value\":1}],\"tags\":{\"k\":\"\xff\"}}"),
        ["!json-utf8 /tags/k 1:49"]
    );
}

#[test]
fn depth_is_bounded_and_costs_one_record() {
    let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
    let judged = run(&format!("{{\"a\":{},\"b\":1}}", nested(64)));
    assert_eq!(tell(&judged), ["b=1 integer", "!too-deep /a 1:69"]);
    check(&format!("{{\"a\":{},\"b\":1}}", nested(63)), &["b=1 integer", "!value-nested /a 1:6"]);
    let judged = run(&"[".repeat(100_000));
    assert_eq!(
        tell(&judged),
        [
            "!too-deep /0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0 1:1"
        ]
    );
    assert_eq!(tell(&run(&nested(100_000))).len(), 1);
    assert_eq!(tell(&run(&"[\n".repeat(100_000))).len(), 1, "and takes linear time");
    // What is never closed does not swallow the document after it.
    let judged = run(&format!("{}\n{{\"fine\": 1}}\n", "[".repeat(100_000)));
    assert_eq!((judged.counts.accepted, judged.counts.rejected_total()), (1, 1));
    let judged = run(&format!("{}{{\"fine\": 1}}\n", "{\"a\":\n".repeat(100_000)));
    assert!(judged.counts.produced > 0, "and takes linear time");
}

#[test]
fn every_refusal_says_what_to_type_instead() {
    let hints = [
        (r#"{"foo-bar":1}"#, "name-hyphen", "rename it to `foo_bar`"),
        (r#"{"foo bar":1}"#, "name-invalid", "rename it to `foo_bar`"),
        (r#"[{"name":"a","value":1,}]"#, "json-syntax", "remove the comma before `}`"),
        (r#"[{"name":"a","value":1},]"#, "json-syntax", "remove the comma before `]`"),
        ("{'a':1}", "json-syntax", "json.dumps"),
        ("{\"a\":None}", "json-syntax", "write `null`"),
        ("{\"a\":True}", "json-syntax", "write `true`"),
        ("{\u{201c}a\u{201d}:1}", "json-syntax", "straight double quotes"),
        ("{\"a\":0,42}", "json-syntax", "LC_ALL=C"),
        ("{\"a\":}", "json-syntax", "`null`"),
        ("{\"a\":.5}", "json-syntax", "`0.5`"),
        ("{\"a\":007}", "json-syntax", "leading zeros"),
        ("{\"a\":5%}", "json-syntax", "`unit`"),
        ("{\"a\"=5}", "json-syntax", "write `:`"),
        ("{\"a\":\"x\ty\"}", "json-syntax", "`\\t`"),
        ("{\"a\":1 \"b\":2}", "json-syntax", "put a comma"),
        (
            r#"{"name":"a","value":"12%","type":"percent"}"#,
            "value-type",
            "write `12` without quotes",
        ),
        (r#"{"name":"a","value":1.5,"type":"integer"}"#, "value-type", "type `float`"),
        (r#"{"name":"a","value":"yes","type":"boolean"}"#, "value-type", "write `true`"),
        (r#"{"name":"a","value":1,"type":"number"}"#, "type-unknown", "write `float`"),
        (r#"{"name":"a","value":1,"type":"integr"}"#, "type-unknown", "write `integer`"),
        (
            r#"{"name":"a","value":1,"time":"2026-11-22T20:42:10"}"#,
            "time-invalid",
            "add the offset",
        ),
        (r#"{"name":"a","value":1,"warn":"high"}"#, "value-type", "`10:20`"),
        (r#"{"a":{"b":1}}"#, "value-nested", "jq"),
        (r#"{"name":"a","value":2,"type":"boolean"}"#, "value-range", "true, false, 0 or 1"),
    ];
    for (output, code, hint) in hints {
        let judged = run(output);
        assert_eq!(judged.rejected.len(), 1, "{output}: {judged:?}");
        let rejection = &judged.rejected[0];
        assert_eq!(rejection.code.as_str(), code, "{output}: {rejection:?}");
        assert!(rejection.hint.contains(hint), "{output}: {}", rejection.hint);
        assert!(
            !rejection.message.is_empty() && !rejection.message.ends_with('.'),
            "{rejection:?}"
        );
    }
}

fn arbitrary_output() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "{",
            "}",
            "[",
            "]",
            ":",
            ",",
            "\"",
            "\\",
            "\n",
            "\r\n",
            " ",
            "1",
            "-",
            ".",
            "e",
            "0",
            "NaN",
            "null",
            "true",
            "{\"a\":1}",
            "\"metrics\"",
            "\"plugins\"",
            "\"value\"",
            "\"name\"",
            "\"tags\"",
            "\"status\"",
            "\"time\"",
            "\"a\"",
            "\\ud800",
            "\\u",
            "\u{feff}",
            "é",
            "x",
        ])
        .prop_map(|s: &str| s.as_bytes().to_vec()),
        any::<u8>().prop_map(|b| vec![b]),
    ];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn nothing_makes_it_panic_and_the_counts_add_up(output in arbitrary_output(), cut: bool) {
        let end = if cut { End::Cut } else { End::Whole };
        // `run_with` holds the counts.
        run_with(&mut open_judge(), &output, end);
        run_with(&mut own_schema(r#"{"minProperties":1,"items":{"required":["unit"]}}"#), &output, end);
    }

    #[test]
    fn nothing_is_dropped_in_silence(output in arbitrary_output()) {
        // Bytes other than white space and empty documents come to something.
        let judged = run_with(&mut open_judge(), &output, End::Whole);
        let text = String::from_utf8_lossy(&output).replace('\u{feff}', "");
        let known = text.contains('{') || text.contains('[');
        if !known && !text.trim_matches([' ', '\n', '\r', '\t']).is_empty() {
            prop_assert_eq!(judged.counts.produced, 1);
        }
    }

    #[test]
    fn documents_do_not_depend_on_what_stands_before_them(output in arbitrary_output()) {
        let mut with = output.clone();
        with.extend_from_slice(b"\n{\"after\":1}\n");
        let found = |output: &[u8]| {
            let judged = run_with(&mut open_judge(), output, End::Whole);
            judged.metrics.iter().any(|m| &*m.name == "after")
        };
        // Only a value that is still open can take it in, as its own part.
        let open = {
            let judged = run_with(&mut open_judge(), &output, End::Cut);
            judged.counts.rejected.contains_key(&RejectionCode::Truncated)
        };
        prop_assert!(open || found(&with), "{:?}", String::from_utf8_lossy(&with));
    }

    #[test]
    fn records_survive_a_bad_neighbour(lines in 1_usize..40, bad in 0_usize..40, junk in "[a-z ,:\"']{1,20}") {
        prop_assume!(!junk.trim().is_empty());
        let bad = bad % lines;
        let mut all: Vec<String> = (0..lines).map(|n| format!("{{\"m{n}\":{n}}}")).collect();
        all.insert(bad, format!("{{\"x\":{junk}"));
        let text = all.join("\n");
        let judged = run(&text);
        let kept = judged.metrics.iter().filter(|m| m.name.starts_with('m') && m.name.len() > 1);
        let kept = kept.filter(|m| m.name[1..].bytes().all(|b| b.is_ascii_digit())).count();
        prop_assert_eq!(kept, lines, "{}", text);
        prop_assert!(judged.counts.rejected_total() >= 1);
    }

    #[test]
    fn concatenation_is_addition(left in prop::collection::vec("[a-z]{3}", 0..6), right in prop::collection::vec("[A-Z]{3}", 0..6)) {
        let document = |names: &[String]| {
            let all: Vec<String> = names.iter().map(|n| format!("\"{n}\":1")).collect();
            format!("{{{}}}", all.join(","))
        };
        let (left, right) = (document(&left), document(&right));
        let apart = run(&left).counts.produced + run(&right).counts.produced;
        prop_assert_eq!(run(&format!("{left}{right}")).counts.produced, apart);
        prop_assert_eq!(run(&format!("{left}\n{right}\n")).counts.produced, apart);
    }
}

#[test]
fn one_bad_line_of_a_thousand_costs_one_record() {
    let line = |n| match n {
        500 => "{\"broken\": ".to_owned(),
        n => format!("{{\"m{n}\":{n}}}"),
    };
    let text = (0..1000).map(line).collect::<Vec<_>>().join("\n");
    let judged = run(&text);
    assert_eq!((judged.counts.accepted, judged.counts.rejected_total()), (999, 1));
    assert_eq!(tell(&judged)[999], "!json-syntax  502:1");
}
