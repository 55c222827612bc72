//! What users of other agents complain about, where no other subject's tests have it: load in step,
//! a run by hand that differs from the service's, reloads that disturb, folders of scripts, words
//! of a command, and times. `docs/reliability.md` lists all of them with their tests.

use std::fs;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::{Site, http};

const TO_FILE: &str =
    "[outputs.file]\ntype = \"file\"\npath = \"out.ndjson\"\nstart = \"oldest\"\n";

/// The reports in the file, without the line that is being written.
fn reports(site: &Site) -> Vec<Value> {
    let text = site.read("out.ndjson");
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn reports_of(site: &Site, plugin: &str) -> Vec<Value> {
    reports(site).into_iter().filter(|report| report["plugin"] == plugin).collect()
}

fn metric<'a>(report: &'a Value, name: &str) -> &'a Value {
    let metrics = report["metrics"].as_array().unwrap();
    let found = metrics.iter().find(|metric| metric["name"] == name);
    &found.unwrap_or_else(|| panic!("no {name} in {report}"))["value"]
}

/// When a run began and how long it took, in milliseconds.
fn span(report: &Value) -> (i64, i64) {
    let started: talaia::model::Timestamp =
        serde_json::from_value(report["started"].clone()).unwrap();
    (started.millis(), (report["duration"].as_f64().unwrap() * 1000.0) as i64)
}

/// The most runs that were younger than 250 ms at one time. Each lasts 50 ms or more; times are
/// known to the millisecond, so it is looked at a moment after each start.
fn most_at_once(reports: &[Value]) -> usize {
    let spans: Vec<(i64, i64)> = reports.iter().map(span).collect();
    let live = |at: i64| {
        let counts = |(start, took): &&(i64, i64)| {
            let (age, left) = (at - start, start + took - at);
            (2..248).contains(&age) && left > 2
        };
        spans.iter().filter(counts).count()
    };
    spans.iter().map(|(start, _)| live(start + 20)).max().unwrap_or_default()
}

#[test]
fn two_hundred_plugins_start_evenly_and_never_more_than_the_cap_at_once() {
    let mut site = Site::new();
    site.script("p", "sleep 0.05; echo '{\"a\": 1}'");
    let mut config = format!("concurrency = 4\n{TO_FILE}");
    for n in 0..200 {
        config += &format!("[plugins.p{n}]\ncommand = [\"./p\"]\ninterval = \"4s\"\n");
    }
    site.configure(&config);
    let pid = site.start_agent();
    let reports = site.until("a run of each", |site| {
        let reports = reports(site);
        let names: std::collections::BTreeSet<String> =
            reports.iter().map(|report| report["plugin"].to_string()).collect();
        (names.len() == 200).then_some(reports)
    });
    assert!(site.stop(pid).success(), "{}", site.read("agent.log"));
    // One run of each, by eighths of the interval.
    let mut seen = std::collections::BTreeSet::new();
    let mut eighths = [0; 8];
    for report in reports.iter().filter(|report| seen.insert(report["plugin"].to_string())) {
        eighths[usize::try_from(span(report).0 % 4000 / 500).unwrap()] += 1;
    }
    assert!(eighths.iter().all(|n| (8..=50).contains(n)), "{eighths:?} of 25 each");
    let most = most_at_once(&reports);
    assert!((1..=4).contains(&most), "{most} at once");
}

#[test]
fn plugins_that_are_due_at_one_moment_take_turns() {
    let mut site = Site::new();
    site.script("p", "sleep 0.05; echo '{\"a\": 1}'");
    let mut config = format!("concurrency = 4\n{TO_FILE}");
    for n in 0..60 {
        config +=
            &format!("[plugins.p{n}]\ncommand = [\"./p\"]\ninterval = \"5s\"\nalign = true\n");
    }
    site.configure(&config);
    let pid = site.start_agent();
    let reports = site.until("a run of each", |site| {
        let reports = reports(site);
        (reports.len() >= 60).then_some(reports)
    });
    assert!(site.stop(pid).success(), "{}", site.read("agent.log"));
    let most = most_at_once(&reports);
    assert!((2..=4).contains(&most), "{most} at once, and not one by one either");
    let late = reports.iter().filter(|report| report["outcome"]["kind"] != "exited").count();
    assert_eq!(late, 0, "who waits for its turn loses no time of its own");
}

/// By hand, while the agent runs, and from quite another environment.
#[test]
fn a_run_by_hand_is_as_the_services_and_neither_sees_the_agents_secrets() {
    let mut site = Site::new();
    site.write("pw", "s3cret-of-the-plugin\n", 0o600);
    site.script(
        "p",
        "own='^(TALAIA_RUN_ID|TALAIA_DEADLINE|TALAIA_STATE_DIR|TALAIA_CONFIG|TALAIA_AGENT|PWD|_)='\n\
         all=$(env | sort | tr '\\n' '|')\n\
         same=$(env | sort | grep -vE \"$own\" | tr '\\n' '|')\n\
         printf '{\"all\": \"%s\", \"same\": \"%s\", \"line\": \"%s\", \"dir\": \"%s\", \"user\": %s, \
         \"files\": %s, \"mask\": \"%s\", \"given\": \"%s\"}' \"$all\" \"$same\" \
         \"$(tr '\\0' ' ' </proc/$$/cmdline)\" \"$(pwd)\" \"$(id -u)\" \"$(ulimit -n)\" \"$(umask)\" \
         \"$(tr -d '\"')\"",
    );
    site.configure(&format!(
        "{TO_FILE}[plugins.p]\ncommand = [\"./p\", \"-x\"]\ninterval = \"300ms\"\n\
         timeout = \"290ms\"\nenv = {{ LC_ALL = \"C\" }}\n\
         config = {{ password = {{ file = \"{}\" }} }}\n",
        site.path("pw").display()
    ));
    let mut agent = site.command(&["run", "--config", "talaia.toml"]);
    agent.env("CLOUD_TOKEN", "s3cret-of-the-agent").env("LC_TIME", "C");
    let pid = site.start(agent, "agent.log");
    let service = site.until("a whole run", |site| {
        let of = reports_of(site, "p");
        of.into_iter().find(|report| report["outcome"]["code"] == 0)
    });
    let mut by_hand = site.command(&[
        "test",
        "p",
        "--json",
        "--config",
        site.path("talaia.toml").to_str().unwrap(),
    ]);
    by_hand
        .env("HOME", "/elsewhere")
        .env("USER", "somebody")
        .env("EDITOR", "vi")
        .env("LC_TIME", "POSIX")
        .env("CLOUD_TOKEN", "s3cret-of-the-agent");
    by_hand.current_dir("/").stdout(fs::File::create(site.path("by_hand")).unwrap());
    let status = by_hand.stderr(Stdio::null()).status().unwrap();
    assert!(status.success(), "{}", site.read("by_hand"));
    let by_hand: Value = serde_json::from_str(&site.read("by_hand")).unwrap();
    for name in ["same", "line", "dir", "user", "files", "mask", "given"] {
        assert_eq!(metric(&by_hand, name), metric(&service, name), "{name}");
    }
    for report in [&service, &by_hand] {
        assert!(metric(report, "given").as_str().unwrap().contains("s3cret-of-the-plugin"));
        for name in ["all", "line"] {
            let seen = metric(report, name).as_str().unwrap();
            assert!(!seen.contains("s3cret"), "a secret in {seen}");
        }
    }
    assert!(site.stop(pid).success(), "{}", site.read("agent.log"));
}

#[test]
fn a_reload_leaves_the_live_runs_and_the_phases_of_others_alone() {
    let mut site = Site::new();
    site.script("steady", "echo '{\"a\": 1}'");
    site.script(
        "long",
        "touch begun; while [ ! -e go ]; do sleep 0.05; done; echo '{\"pid\": '$$'}'",
    );
    let config = |other: &str| {
        format!(
            "{TO_FILE}[plugins.steady]\ncommand = [\"./steady\"]\ninterval = \"500ms\"\n\
             [plugins.long]\ncommand = [\"./long\"]\ninterval = \"1h\"\ntimeout = \"1m\"\n\
             [plugins.other]\ncommand = [\"./steady\"]\ninterval = \"{other}\"\n"
        )
    };
    site.configure(&config("300ms"));
    let pid = site.start_agent();
    site.until("the long run", |site| site.path("begun").exists().then_some(()));
    site.until("steady runs", |site| (reports_of(site, "steady").len() >= 5).then_some(()));
    for round in 0..5 {
        site.configure(&config(&format!("{}ms", 310 + round)));
        let done = site.talaia(&["reload", "--config", "talaia.toml"]);
        done.code(0).says(&["changed other", "2 untouched"]);
    }
    let before = reports_of(&site, "steady").len();
    site.until("more of them", |site| {
        (reports_of(site, "steady").len() >= before + 5).then_some(())
    });
    site.write("go", "", 0o644);
    let long = site.until("its end", |site| reports_of(site, "long").pop());
    assert_eq!(long["outcome"], json!({"kind": "exited", "code": 0}), "nobody stopped it");
    assert!(site.stop(pid).success(), "{}", site.read("agent.log"));
    let steady = reports_of(&site, "steady");
    assert!(steady.iter().all(|report| report["outcome"]["kind"] == "exited"));
    // Half of them are as punctual as can be expected on a busy machine.
    let mut phases: Vec<i64> = steady.iter().map(|report| span(report).0 % 500).collect();
    let first = phases[0];
    let off = |phase: &i64| ((phase - first + 250).rem_euclid(500) - 250).abs();
    let after = phases.split_off(before);
    let punctual = after.iter().filter(|phase| off(phase) <= 60).count();
    assert!(punctual * 2 >= after.len(), "{phases:?} became {after:?}");
    // A restart would have let due times pass or come twice.
    let (begin, end) = (span(&steady[0]).0, span(steady.last().unwrap()).0);
    let skipped: u64 = steady.iter().map(|report| report["skipped"].as_u64().unwrap()).sum();
    let due = (end - begin + 250) / 500 + 1;
    assert_eq!(i64::try_from(steady.len() as u64 + skipped).unwrap(), due, "each due time once");
}

#[test]
fn a_folder_of_scripts_with_settings_beside_them_is_a_configuration() {
    let mut site = Site::new();
    fs::create_dir(site.path("plugins")).unwrap();
    site.script("plugins/disk-free.sh", "echo '{\"free\": 5, \"stray\": 1}'");
    site.write("plugins/disk-free.toml", "interval = \"200ms\"\ntags = { tier = \"db\" }\n", 0o644);
    let schema = r#"{"properties": {"free": {"type": "integer"}}, "additionalProperties": false}"#;
    site.write("plugins/disk-free.schema.json", schema, 0o644);
    site.write("plugins/README", "not a plugin\n", 0o644);
    site.configure(&format!("plugin_dirs = [\"plugins\"]\n{TO_FILE}"));
    let pid = site.start_agent();
    let report = site.until("a report", |site| reports_of(site, "disk_free").pop());
    assert_eq!(report["interval"], 0.2);
    assert_eq!(report["metrics"].as_array().unwrap().len(), 1, "{report}");
    assert_eq!(report["metrics"][0]["tags"], json!({"tier": "db"}));
    assert_eq!(report["rejected"][0]["code"], "schema");
    // One more is a file more, and one less a file less.
    site.script("plugins/extra", "echo '{\"b\": 2}'");
    fs::remove_file(site.path("plugins/disk-free.sh")).unwrap();
    let done = site.talaia(&["reload", "--config", "talaia.toml"]);
    done.code(0).says(&["added extra", "removed disk_free"]);
    site.until("a report", |site| reports_of(site, "extra").pop());
    assert!(site.stop(pid).success(), "{}", site.read("agent.log"));
}

#[test]
fn a_command_is_a_list_of_words_and_a_shell_comes_only_when_it_is_asked_for() {
    let site = Site::new();
    site.script("words", "printf '{\"n\": %s, \"all\": \"%s|%s|%s|%s\"}' $# \"$@\"");
    site.configure(
        "[plugins.words]\ncommand = [\"./words\", \"a b\", \"\", \"$HOME\", \"*; touch gone\"]\n\
         [plugins.line]\ncommand = \"n=$((40 + 2)); echo \\\"{\\\\\\\"n\\\\\\\": $n}\\\" | cat\"\n\
         shell = true\n",
    );
    let words = site.talaia(&["test", "words", "--json", "--config", "talaia.toml"]).code(0).json();
    assert_eq!(
        (metric(&words, "n"), metric(&words, "all")),
        (&json!(4), &json!("a b||$HOME|*; touch gone"))
    );
    assert!(!site.path("gone").exists());
    let line = site.talaia(&["test", "line", "--json", "--config", "talaia.toml"]).code(0).json();
    assert_eq!(metric(&line, "n"), 42);
    site.configure("[plugins.line]\ncommand = \"echo '{}'\"\n");
    site.talaia(&["check", "--config", "talaia.toml"]).code(78).says(&["shell = true"]);
}

/// Judged by the moments that the plugin itself wrote down.
#[test]
fn a_record_has_the_time_at_which_its_run_began_or_its_own() {
    let mut site = Site::new();
    site.script(
        "slow",
        "begun=$(date +%s%3N); sleep 0.6\n\
         echo \"[{\\\"name\\\": \\\"begun\\\", \\\"value\\\": $begun}, \
         {\\\"name\\\": \\\"ended\\\", \\\"value\\\": $(date +%s%3N)}, \
         {\\\"name\\\": \\\"own\\\", \\\"value\\\": 1, \\\"time\\\": $((begun / 1000 - 60))}]\"",
    );
    site.configure(
        "[hub]\nlisten = \"127.0.0.1:0\"\n\
         [plugins.slow]\ncommand = [\"./slow\"]\ninterval = \"5s\"\n",
    );
    let pid = site.start_agent();
    let point = |site: &Site, name: &str| {
        let text = site.read("data/hub/credentials.json");
        let found: Value = serde_json::from_str(&text).ok()?;
        let (url, key) = (found["url"].as_str()?, found["key"].as_str()?);
        let path = format!("/api/v1/points?host=test-host&plugin=slow&name={name}&from=0");
        let (_, body) = http(url, &path, Some(key))?;
        let body: Value = serde_json::from_str(&body).ok()?;
        let point = body["series"][0]["points"][0].clone();
        Some((point[0].as_i64()?, point[1].as_i64()?))
    };
    let (ended_at, ended) = site.until("a point", |site| point(site, "ended"));
    let (begun_at, begun) = site.until("a point", |site| point(site, "begun"));
    let (own_at, _) = site.until("a point", |site| point(site, "own"));
    assert_eq!(ended_at, begun_at, "one run, one time");
    assert!(begun_at <= begun && begun_at + 600 <= ended, "{begun_at} of {begun} to {ended}");
    assert_eq!(own_at, (begun / 1000 - 60) * 1000);
    assert!(site.stop(pid).success(), "{}", site.read("agent.log"));
}

/// A disk that takes its time costs nothing but memory: runs do not wait for it.
#[test]
fn no_run_waits_for_the_disk() {
    let mut site = Site::new();
    site.script("p", "echo >>runs; echo '{\"a\": 1}'");
    let config = format!(
        "[agent]\ndata_dir = \"data\"\nself_metrics = false\n\
         spool = {{ commit_interval = \"4s\", min_free = \"0B\" }}\n{TO_FILE}\
         [plugins.p]\ncommand = [\"./p\"]\ninterval = \"100ms\"\ntimeout = \"90ms\"\n"
    );
    site.write("talaia.toml", config, 0o644);
    let pid = site.start_agent();
    let on_disk = |site: &Site| site.status()?["plugins"]["p"]["runs"].as_u64();
    site.until("the first commit", |site| on_disk(site).filter(|n| *n > 0));
    let runs = site.read("runs").lines().count();
    assert!(runs >= 10, "{runs} runs in the four seconds before the first commit");
    assert!(site.stop(pid).success(), "{}", site.read("agent.log"));
    let ran = site.read("runs").lines().count();
    assert_eq!(site.ledger()["plugins"]["p"]["runs"], ran, "and the stop kept all of them");
}
