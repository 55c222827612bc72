//! What was refused stays to be looked at, and is replayed once it is right: neither lost nor twice.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use talaia::contract::{Contract, Declared, Judge, Judged, Strictness};
use talaia::decode::{End, Format};
use talaia::model::{
    ExcerptForm, Extent, MetricType, QuarantineItem, Records, RejectionCode, Seq, Tags,
};
use talaia::spool::{Inspector, Pick, QuarantineChange, Quarantined, Spool, Start, Window};

use crate::decode::{moment, open_judge, own_schema, run, run_with};
use crate::spool::{balanced, options, outputs, receipt, refused_record, report};
use crate::support::{Site, http};

fn everything(dir: &Path) -> Vec<Quarantined> {
    Inspector::open(dir).unwrap().quarantine(&Pick::default(), 0, 100_000).unwrap()
}

/// Judges what was kept of one run again.
fn replay(judge: &mut Judge, items: &[QuarantineItem]) -> Vec<Judged> {
    let excerpts = items.iter().map(|item| {
        let bytes = &item.excerpt.bytes;
        let read = move |records: &mut dyn Records| Format::Json.decode(bytes, End::Whole, records);
        (item.excerpt.form, read)
    });
    judge.replay(moment(), excerpts)
}

// --- What is kept ---

#[test]
fn an_excerpt_is_the_smallest_document_with_the_same_meaning() {
    let kept = |output: &str| -> Vec<String> {
        let kept = run(output).quarantine;
        kept.iter().map(|item| String::from_utf8_lossy(&item.excerpt.bytes).into_owned()).collect()
    };
    assert_eq!(
        kept(r#"{"ok":1, "b-d" : 2 , "n":{"x":1}}"#),
        [r#"{"b-d" : 2}"#, r#"{"n":{"x":1}}"#]
    );
    assert_eq!(kept(r#"[{"name":"a","value":1},{"name":"b"}]"#), [r#"[{"name":"b"}]"#]);
    assert_eq!(kept(r#"{"name":"b-d","value":1}"#), [r#"{"name":"b-d","value":1}"#]);
    assert_eq!(
        kept(r#"{"status":"ok","tags":{"k":"v"},"time":5,"metrics":[{"name":"b-d","value":1}]}"#),
        [r#"{"metrics":[{"name":"b-d","value":1}],"tags":{"k":"v"},"time":5}"#]
    );
    assert_eq!(
        kept(r#"{"metrics":{"a":{"value":1},"b-d":{"value":2}}}"#),
        [r#"{"metrics":{"b-d":{"value":2}}}"#]
    );
    assert_eq!(
        kept(r#"{"plugins":{"a \"key\"":{"b-d":{"value":2}}}}"#),
        [r#"{"plugins":{"a \"key\"":{"b-d":{"value":2}}}}"#]
    );
    assert_eq!(kept("what is\nthis\n{\"a\":1}"), ["what is\nthis"]);
}

#[test]
fn what_was_cut_or_came_twice_is_marked() {
    let long = format!("{{\"b-d\":\"{}\"}}", "x".repeat(70_000));
    let item = run(&long).quarantine.remove(0);
    assert_eq!((item.excerpt.bytes.len(), item.excerpt.extent), (64 << 10, Extent::Part));
    let twice = run(r#"{"a":1,"a":2}"#).quarantine.remove(0);
    assert_eq!(twice.excerpt.form, ExcerptForm::Duplicate);
    let series = run(r#"[{"name":"a","value":1},{"name":"a","value":2}]"#).quarantine.remove(0);
    assert_eq!(series.excerpt.form, ExcerptForm::Duplicate);
    let half = run_with(&mut open_judge(), b"{\"a\":1}\n{\"b\":12", End::Cut).quarantine.remove(0);
    assert_eq!((half.excerpt.form, half.excerpt.extent), (ExcerptForm::Text, Extent::Part));
}

#[test]
fn a_run_puts_at_most_a_thousand_records_and_a_mebibyte_in_and_says_what_it_left_out() {
    let many: Vec<String> = (0..1500).map(|n| format!("{{\"b-{n}\":1}}\n")).collect();
    let judged = run(&many.concat());
    assert_eq!((judged.rejected.len(), judged.quarantine.len()), (100, 1000));
    assert!(judged.warnings.iter().any(|w| w.starts_with("quarantine-full: 1000 of 1500")));
    let heavy: Vec<String> =
        (0..40).map(|n| format!("{{\"b-{n}\":\"{}\"}}\n", "x".repeat(60_000))).collect();
    let bytes: usize = run(&heavy.concat()).quarantine.iter().map(|i| i.excerpt.bytes.len()).sum();
    assert!((1 << 20..(1 << 20) + (64 << 10)).contains(&bytes), "{bytes}");
}

// --- Judging again ---

#[test]
fn two_of_one_series_are_not_both_accepted_by_a_replay() {
    let strict = Contract::new(BTreeMap::new(), Strictness::Strict, None).unwrap();
    let mut judge = Judge::new(std::sync::Arc::new(strict), Tags::new());
    let output = br#"[{"name":"a","value":1},{"name":"a","value":2},{"name":"b","value":3}]"#;
    let kept = run_with(&mut judge, output, End::Whole).quarantine;
    assert_eq!(kept.len(), 3);
    let verdicts = replay(&mut open_judge(), &kept);
    let accepted: Vec<u64> = verdicts.iter().map(|judged| judged.counts.accepted).collect();
    assert_eq!(accepted, [1, 0, 1]);
    assert_eq!(verdicts[1].rejected[0].code, RejectionCode::DuplicateSeries);
}

#[test]
fn a_record_out_of_its_document_is_not_refused_for_what_stayed_behind() {
    let schema = |most: u32| {
        own_schema(&format!(
            r#"{{"required":["a","b"],"properties":{{"b":{{"maximum":{most}}}}}}}"#
        ))
    };
    let judged = run_with(&mut schema(5), br#"{"a":1,"b":7}"#, End::Whole);
    assert_eq!((judged.counts.accepted, judged.quarantine.len()), (1, 1));
    assert_eq!(replay(&mut schema(6), &judged.quarantine)[0].counts.accepted, 0);
    assert_eq!(replay(&mut schema(7), &judged.quarantine)[0].counts.accepted, 1);
    // A document that was refused as one comes again as one.
    let judged = run_with(&mut schema(5), br#"{"a":1}"#, End::Whole);
    assert_eq!(judged.quarantine[0].excerpt.form, ExcerptForm::Document);
    assert_eq!(replay(&mut schema(5), &judged.quarantine)[0].counts.accepted, 0);
    let fixed = replay(&mut own_schema(r#"{"required":["a"]}"#), &judged.quarantine);
    assert_eq!(fixed[0].counts.accepted, 1);
}

/// A value, and how it is written.
fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        3 => (0..20_i64).prop_map(|n| json!(n)),
        1 => Just(json!("text")),
        1 => Just(json!(true)),
        1 => Just(json!({"nested": 1})),
        1 => Just(Value::Null),
    ]
}

/// What a document is: its form, its tags and time, and the values of its records.
type Document = (u8, bool, bool, Vec<(bool, Value)>);

fn document() -> impl Strategy<Value = Document> {
    (0..6_u8, any::<bool>(), any::<bool>(), prop::collection::vec((any::<bool>(), value()), 1..5))
}

/// Writes the documents; every record has a name of its own, some of them with a hyphen.
fn print(documents: &[Document]) -> String {
    let mut n = 0;
    let mut text = String::new();
    for (form, tags, time, records) in documents {
        let mut named: Vec<(String, &Value)> = Vec::new();
        for (odd, value) in records {
            n += 1;
            named
                .push((if *odd && n % 3 == 0 { format!("m-{n}") } else { format!("m{n}") }, value));
        }
        let list = || -> Vec<Value> {
            named.iter().map(|(name, value)| json!({"name": name, "value": value})).collect()
        };
        let map = || -> Value {
            named
                .iter()
                .map(|(name, value)| (name.clone(), json!({"value": value})))
                .collect::<serde_json::Map<_, _>>()
                .into()
        };
        let mut document = match form {
            0 => Value::from(list()),
            1 => json!({"metrics": list()}),
            2 => json!({"metrics": map()}),
            3 => json!({"plugins": {"some key": map()}}),
            4 => list().remove(0),
            _ => named
                .iter()
                .map(|(n, v)| (n.clone(), (*v).clone()))
                .collect::<serde_json::Map<_, _>>()
                .into(),
        };
        if matches!(form, 1..=3) {
            if *tags {
                document["tags"] = json!({"k": "v"});
            }
            if *time {
                document["time"] = json!(1_795_380_000);
            }
        }
        text += &document.to_string();
        text.push('\n');
    }
    text
}

/// Each accepted record, to be compared.
fn facts<'a>(judged: impl IntoIterator<Item = &'a Judged>) -> BTreeSet<String> {
    let metrics = judged.into_iter().flat_map(|judged| &judged.metrics);
    let fact = |m: &talaia::model::Metric| {
        let time = m.time.unwrap_or(moment().started);
        format!("{} {:?} {time} {}", m.name, m.tags, m.value)
    };
    let all: Vec<String> = metrics.map(fact).collect();
    let set: BTreeSet<String> = all.iter().cloned().collect();
    assert_eq!(set.len(), all.len(), "a record was accepted twice");
    set
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever was refused by a strict contract and by a schema of the plugin's own, and is right
    /// by the mended ones, is accepted by the replay: no more and no less.
    #[test]
    fn replaying_everything_after_a_fix_gives_exactly_what_the_fix_would_have_accepted(
        documents in prop::collection::vec(document(), 1..8),
        declared in prop::collection::btree_set(1..20_u32, 0..10),
        by_schema in any::<bool>(),
    ) {
        let output = print(&documents);
        let mut before = if by_schema {
            own_schema(
                r#"{"type":"object","additionalProperties":{"maximum":9},"properties":{"metrics":
                    {"items":{"properties":{"value":{"maximum":9}}},
                     "additionalProperties":{"properties":{"value":{"maximum":9}}}}}}"#,
            )
        } else {
            let metrics: BTreeMap<String, Declared> =
                declared.iter().map(|n| (format!("m{n}"), Declared::of(MetricType::Integer))).collect();
            let strict = Contract::new(metrics, Strictness::Strict, None).unwrap();
            Judge::new(std::sync::Arc::new(strict), Tags::new())
        };
        let first = run_with(&mut before, output.as_bytes(), End::Whole);
        prop_assert_eq!(first.quarantine.len() as u64, first.counts.rejected_total());
        let again = replay(&mut open_judge(), &first.quarantine);
        let fixed = run_with(&mut open_judge(), output.as_bytes(), End::Whole);
        prop_assert_eq!(facts(std::iter::once(&first).chain(&again)), facts([&fixed]), "{}", output);
        let refused: u64 = again.iter().map(|judged| judged.counts.rejected_total()).sum();
        prop_assert_eq!(refused, fixed.counts.rejected_total(), "{}", output);
    }
}

// --- The spool ---

#[test]
fn a_report_and_what_leaves_for_it_are_one_transaction() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = Spool::open(options(dir.path())).unwrap();
    spool.set_outputs(&outputs(&["main"])).wait().unwrap();
    let mut bad = report("p", 0, 3, 0);
    bad.quarantine.come = vec![refused_record(b"{\"a-b\":1}"); 3];
    spool.append(bad).unwrap().wait().unwrap();
    let ids: Vec<i64> = everything(dir.path()).iter().map(|item| item.id).collect();
    let mut good = report("p", 2, 0, 0);
    good.quarantine = QuarantineChange { leave: ids[..2].to_vec(), ..QuarantineChange::default() };
    spool.append(good).unwrap().wait().unwrap();
    assert_eq!(everything(dir.path()).len(), 1);
    let ledger = balanced(&spool);
    assert_eq!((ledger.plugins["p"].produced, ledger.plugins["p"].accepted), (5, 2));
    let figures = spool.figures().unwrap();
    assert_eq!(figures.quarantine_items, 1);
    assert!(figures.waiting_ms.contains_key("main"), "{figures:?}");
    assert_eq!(spool.discard(Pick::default()).wait().unwrap(), 1);
    let figures = spool.figures().unwrap();
    assert_eq!((figures.quarantine_items, figures.quarantine_bytes), (0, 0));
}

#[test]
fn the_quarantine_forgets_by_itself_what_is_too_old() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(dir.path());
    options.quarantine_age = Duration::from_millis(50);
    let (spool, _) = Spool::open(options).unwrap();
    let mut bad = report("p", 0, 1, 0);
    bad.quarantine.come = vec![refused_record(b"{\"a-b\":1}")];
    spool.append(bad).unwrap().wait().unwrap();
    crate::spool::eventually("an empty quarantine", || everything(dir.path()).is_empty());
}

#[test]
fn a_spool_of_version_1_opens_delivers_what_waits_and_balances() {
    let dir = tempfile::tempdir().unwrap();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/spool-v1/spool.db");
    std::fs::copy(fixture, dir.path().join("spool.db")).unwrap();
    // Looked at before any agent of this version had it.
    let inspector = Inspector::open(dir.path()).unwrap();
    assert_eq!(inspector.status().unwrap().quarantine_items, 21);
    assert!(everything(dir.path()).iter().all(|item| item.replayable().is_err()));
    drop(inspector);

    let (spool, opened) = Spool::open(options(dir.path())).unwrap();
    assert_eq!(opened.notices, []);
    let ledger = balanced(&spool);
    let bad = &ledger.plugins["bad"];
    assert_eq!((bad.runs, bad.produced, bad.accepted), (7, 28, 7));
    assert_eq!(ledger.plugins["good"].accepted, 24);
    let wanted = ["copy", "main"].map(|name| (name.to_owned(), Start::Now));
    spool.set_outputs(&wanted).wait().unwrap();
    let waiting = spool.read("main", Window::of(1000, 1 << 20)).unwrap();
    assert_eq!(waiting.iter().map(|r| r.records).sum::<u64>(), 31);
    assert_eq!(waiting.len(), 19);
    for stored in &waiting {
        serde_json::from_slice::<talaia::model::Report>(&stored.body).unwrap();
    }
    spool.settle(receipt("main", 19, &[])).wait().unwrap();
    let mut new = report("bad", 0, 1, 0);
    new.quarantine.come = vec![refused_record(b"{\"a-b\":1}")];
    assert_eq!(spool.append(new).unwrap().wait().unwrap(), Seq(20));
    let ledger = balanced(&spool);
    assert_eq!((ledger.outputs["main"].delivered, ledger.outputs["main"].spooled), (31, 0));
    let kept = everything(dir.path());
    assert_eq!(kept.len(), 22);
    assert!(kept[21].replayable().is_ok());
    drop(spool);
    let verified = Inspector::open(dir.path()).unwrap().verify().unwrap();
    assert_eq!(verified.findings, [""; 0]);
    let (spool, _) = Spool::open(options(dir.path())).unwrap();
    balanced(&spool);
}

// --- The command ---

const STRICT: &str = "strict = true\nmetrics.used = { type = \"percent\" }\n";

/// A plugin whose record `free` is refused until it is declared.
fn strict_site(contract: &str, more: &str) -> Site {
    let site = Site::new();
    site.script("disk", "echo '{\"used\": 71.5, \"free\": 12, \"b-d\": 3}'");
    configure(&site, contract, more);
    site
}

fn configure(site: &Site, contract: &str, more: &str) {
    site.configure(&format!(
        "[plugins.disk]\ncommand = [\"./disk\"]\ninterval = \"1d\"\n{contract}\n{more}"
    ));
}

fn listed(site: &Site) -> Vec<Value> {
    let done = site.talaia(&["quarantine", "ls", "--json", "--config", "talaia.toml"]);
    done.code(0).stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

const STUCK: &str = "[outputs.main]\ntype = \"talaia\"\nurl = \"http://127.0.0.1:9\"\n\
                     key = { file = \"key\" }\n";

fn quarantine(site: &Site, words: &[&str]) -> crate::support::Done {
    let mut all = vec!["quarantine"];
    all.extend(words);
    all.extend(["--config", "talaia.toml"]);
    site.talaia(&all)
}

#[test]
fn what_was_refused_is_shown_replayed_after_a_fix_and_dropped() {
    let mut site = strict_site(STRICT, STUCK);
    site.write("key", "k", 0o600);
    let pid = site.start_agent();
    site.until("a refused record", |site| {
        (site.status()?["plugins"]["disk"]["runs"].as_u64()? > 0).then_some(())
    });
    let items = listed(&site);
    assert_eq!(items.len(), 2, "{items:?}");
    let codes: Vec<&str> = items.iter().map(|item| item["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["undeclared", "name-hyphen"]);
    let id = items[0]["id"].to_string();
    let shown = quarantine(&site, &["show", &id]);
    assert!(shown.code(0).stdout.contains("{\"free\": 12}"), "{}", shown.stdout);
    quarantine(&site, &["show", "999"]).code(1);
    quarantine(&site, &["replay"]).code(2).says(&["--all"]);
    quarantine(&site, &["drop", "--all", "--plugin", "x"]).code(2);
    // Nothing was mended: nothing changes, and nothing is counted twice.
    let done = quarantine(&site, &["replay", "--all", "--json"]).code(1).json();
    assert_eq!((&done["replayed"], &done["stayed"]), (&json!(0), &json!(2)));
    let before = site.ledger()["plugins"]["disk"].clone();
    assert_eq!(before["produced"], 3);

    // Mended while the agent runs.
    configure(&site, &format!("{STRICT}metrics.free = {{ type = \"integer\" }}\n"), STUCK);
    site.talaia(&["reload", "--config", "talaia.toml"]).code(0);
    let done = quarantine(&site, &["replay", "--code", "undeclared", "--json"]).code(0).json();
    assert_eq!(
        (&done["replayed"], &done["accepted"], &done["reports"]),
        (&json!(1), &json!(1), &json!(1))
    );
    let after = site.ledger()["plugins"]["disk"].clone();
    assert!(after["produced"].as_u64() >= Some(4), "{after}");
    assert_eq!(listed(&site).len(), 1);
    quarantine(&site, &["drop", "--since", "1h", "--code", "undeclared"])
        .code(0)
        .says(&["0 items"]);
    quarantine(&site, &["drop", "--plugin", "disk"]).code(0).says(&["1 item"]);
    assert!(listed(&site).is_empty());
    assert!(site.stop(pid).success());

    // The replayed report: its own run, of the run before, at that run's time.
    let reports = site.talaia(&["spool", "cat", "--config", "talaia.toml"]);
    let reports: Vec<Value> =
        reports.code(0).stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let replayed = reports.iter().find(|r| !r["replay_of"].is_null()).unwrap();
    let origin = reports.iter().find(|r| r["run"] == replayed["replay_of"]).unwrap();
    assert_eq!(replayed["started"], origin["started"]);
    assert_eq!(replayed["metrics"][0]["name"], "free");
    assert_eq!(replayed["metrics"].as_array().unwrap().len(), 1);
    assert_ne!(replayed["run"], origin["run"]);
}

#[test]
fn without_an_agent_the_command_has_the_spool_itself() {
    let mut site = strict_site(STRICT, STUCK);
    site.write("key", "k", 0o600);
    let pid = site.start_agent();
    site.until("a run", |site| {
        (site.status()?["plugins"]["disk"]["runs"].as_u64()? > 0).then_some(())
    });
    // As a power cut leaves it, with a socket that nobody listens at.
    site.kill(pid);
    configure(&site, "", STUCK);
    let done = quarantine(&site, &["replay", "--all", "--json"]).code(1).json();
    assert_eq!((&done["accepted"], &done["stayed"]), (&json!(1), &json!(1)), "{done}");
    assert_eq!(done["why"][0]["code"], "name-hyphen");
    let ledger = site.ledger();
    assert_eq!(ledger["plugins"]["disk"]["produced"], 4);
    assert_eq!(ledger["outputs"]["main"]["spooled"], 2);
    // A plugin that is no longer there cannot judge.
    site.configure(STUCK);
    let done = quarantine(&site, &["replay", "--all", "--json"]).code(1).json();
    assert_eq!(done["why"][0]["why"], "no plugin of this name is configured");
    quarantine(&site, &["drop", "--all"]).code(0).says(&["1 item"]);
    quarantine(&site, &["drop", "--all"]).code(0).says(&["0 items"]);
}

#[test]
fn the_hub_has_replayed_records_at_their_own_time() {
    let hub = "[hub]\nlisten = \"127.0.0.1:0\"\n";
    let mut site = strict_site(STRICT, hub);
    let first = site.start_agent();
    site.until("a run in the hub", |site| points(site, "used").filter(|p| !p.is_empty()));
    let ran = points(&site, "used").unwrap()[0][0].clone();
    configure(&site, "", hub);
    site.talaia(&["reload", "--config", "talaia.toml"]).code(0);
    quarantine(&site, &["replay", "--code", "undeclared"]).code(0);
    // The changed plugin runs as well; its own point is later.
    let free = site.until("the replayed point", |site| {
        points(site, "free").filter(|points| points.iter().any(|point| point[0] == ran))
    });
    assert_eq!(free[0], json!([ran, 12]));
    let runs = site.until("the replay among the runs", |site| {
        let runs = get(site, "/api/v1/runs?plugin=disk")?["items"].as_array().cloned()?;
        runs.iter().any(|run| !run["replay_of"].is_null()).then_some(runs)
    });
    let replay = runs.iter().find(|run| !run["replay_of"].is_null()).unwrap();
    assert!(runs.iter().any(|run| run["run"] == replay["replay_of"]));
    let row = get(&site, "/api/v1/plugins?plugin=disk").unwrap()["items"][0].clone();
    assert!(row["last_run"]["replay_of"].is_null(), "a replay is not how the plugin is now: {row}");
    assert!(site.stop(first).success());
}

/// What the hub that the agent serves answers.
fn get(site: &Site, path: &str) -> Option<Value> {
    let credentials: Value = serde_json::from_str(&site.read("data/hub/credentials.json")).ok()?;
    let (url, key) = (credentials["url"].as_str()?, credentials["key"].as_str()?);
    let (status, body) = http(url, path, Some(key))?;
    (status == 200).then(|| serde_json::from_str(&body).unwrap())
}

fn points(site: &Site, name: &str) -> Option<Vec<Value>> {
    let answer = get(site, &format!("/api/v1/points?host=test-host&plugin=disk&name={name}"))?;
    Some(answer["series"][0]["points"].as_array().cloned().unwrap_or_default())
}

/// `TALAIA_SEED` repeats the moments of a run.
#[test]
fn killed_while_it_replays_nothing_is_lost_and_nothing_is_there_twice() {
    const RUNS: usize = 1500;
    const EACH: usize = 3;
    let seed: u64 = std::env::var("TALAIA_SEED")
        .map_or_else(|_| u64::from(std::process::id()), |seed| seed.parse().unwrap());
    println!("TALAIA_SEED={seed}");
    let mut site = Site::new();
    site.write("key", "k", 0o600);
    site.script("p", "true");
    site.configure(&format!("[plugins.p]\ncommand = [\"./p\"]\ninterval = \"1d\"\n{STUCK}"));
    let data = site.path("data");
    {
        let (spool, _) = Spool::open(options(&data)).unwrap();
        spool.set_outputs(&outputs(&["main"])).wait().unwrap();
        for run in 0..RUNS {
            let mut bad = report("p", 0, EACH as u64, 0);
            let id = talaia::model::RunId::new();
            bad.body = json!({"plugin": "p", "run": id, "started": "2026-11-22T20:42:10.123Z"})
                .to_string()
                .into_bytes();
            let record = |n| refused_record(format!("{{\"m{}\":1}}", run * EACH + n).as_bytes());
            bad.quarantine.come = (0..EACH).map(record).collect();
            bad.quarantine.format = "json";
            drop(spool.append(bad).unwrap());
        }
        spool.flush().wait().unwrap();
    }
    let mut state = seed;
    let mut kills = 0;
    while !everything(&data).is_empty() {
        // A linear congruential step is random enough to spread the moments.
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let words = ["quarantine", "replay", "--all", "--config", "talaia.toml"];
        let pid = site.start(site.command(&words), "agent.log");
        std::thread::sleep(Duration::from_millis(20 + (state >> 33) % 180));
        site.kill(pid);
        kills += 1;
        assert!(kills < 400, "it never gets done:\n{}", site.read("agent.log"));
    }
    assert!(kills > 1, "it was never interrupted");
    let ledger = site.ledger();
    let all = (RUNS * EACH) as u64;
    assert_eq!(ledger["plugins"]["p"]["accepted"], all);
    assert_eq!(ledger["plugins"]["p"]["produced"], 2 * all);
    assert_eq!(ledger["outputs"]["main"]["spooled"], all);
    let reports = site.talaia(&["spool", "cat", "--config", "talaia.toml"]);
    let mut names = BTreeSet::new();
    for line in reports.code(0).stdout.lines() {
        let report: Value = serde_json::from_str(line).unwrap();
        for metric in report["metrics"].as_array().into_iter().flatten() {
            assert!(names.insert(metric["name"].to_string()), "{} is there twice", metric["name"]);
            assert_eq!(report["started"], "2026-11-22T20:42:10.123Z");
        }
    }
    assert_eq!(names.len() as u64, all);
}
