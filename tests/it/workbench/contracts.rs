//! Contracts that are learnt from what is printed, and held against what was accepted.

use std::fs;

use rustix::fs::{CWD, Mode, mkfifoat};
use serde_json::Value;

use crate::support::Site;

const PRINTS: &str = "n=$(cat \"$TALAIA_STATE_DIR/n\" 2>/dev/null || echo 0); n=$((n + 1)); echo $n > \"$TALAIA_STATE_DIR/n\"\n\
    echo \"{\\\"used_percent\\\": 71.$n, \\\"free_bytes\\\": $((n * 1000)), \\\"load1\\\": 0, \\\"jobs_total\\\": $n, \
    \\\"state\\\": \\\"ok\\\", \\\"up\\\": true}\"";

#[test]
fn a_learnt_contract_is_pasted_and_holds() {
    let site = Site::new();
    site.script("plugin", PRINTS);
    let learnt = site
        .talaia(&["schema", "infer", "./plugin", "--times", "4", "--pause", "0s"])
        .code(0)
        .stdout
        .clone();
    let tree: toml::Table = learnt.parse().unwrap();
    let metrics = &tree["plugins"]["plugin"]["metrics"];
    for (name, kind, unit) in [
        ("used_percent", "percent", Some("%")),
        ("free_bytes", "integer", Some("B")),
        ("load1", "float", None),
        ("jobs_total", "counter", None),
        ("state", "string", None),
        ("up", "boolean", None),
    ] {
        assert_eq!(metrics[name]["type"].as_str(), Some(kind), "{name}: {learnt}");
        assert_eq!(metrics[name].get("unit").and_then(|unit| unit.as_str()), unit, "{name}");
        assert_eq!(metrics[name]["required"].as_bool(), Some(true), "{name}");
    }
    let config = "[plugins.plugin]\ncommand = [\"./plugin\"]\nstrict = true\n";
    site.configure(&format!("{config}{learnt}"));
    site.talaia(&["check", "-c", "talaia.toml"]).code(0);
    site.talaia(&["test", "plugin", "-c", "talaia.toml", "--times", "3", "--strict"]).code(0);
    // The same under the other headings.
    for (place, heading) in
        [("sidecar", "[metrics.up]"), ("package", "[commands.plugin.metrics.up]")]
    {
        let words = ["schema", "infer", "./plugin", "--times", "1", "--for", place];
        let done = site.talaia(&words);
        assert!(done.code(0).stdout.contains(heading), "{}", done.stdout);
    }
}

#[test]
fn what_is_learnt_from_nothing_or_from_mistakes_is_said() {
    let site = Site::new();
    site.script("none", "echo oops");
    site.talaia(&["schema", "infer", "./none", "--times", "2", "--pause", "0s"])
        .code(1)
        .says(&["nothing was accepted in 2 runs", "talaia test ./none"]);
    site.script("some", "echo '{\"a-b\": 1, \"used\": \"71%\"}'; exit 3");
    let done = site.talaia(&["schema", "infer", "./some", "--times", "2", "--pause", "0s"]);
    done.code(0).says(&["2 records were refused", "2 runs did not end well", "number-in-text"]);
    assert!(
        done.stdout.contains("[plugins.some.metrics.used]\ntype = \"string\""),
        "{}",
        done.stdout
    );
}

#[test]
fn what_is_declared_is_not_proposed_again_and_nothing_is_made_of_null() {
    let site = Site::new();
    site.script("plugin", "echo '{\"users\": 3, \"load\": 1, \"gone\": null, \"temp\": 20}'");
    let config = "[plugins.plugin]\ncommand = [\"./plugin\"]\n\
                  [plugins.plugin.metrics.users]\ntype = \"integer\"\n";
    site.configure(config);
    let words = ["schema", "infer", "plugin", "-c", "talaia.toml", "--times", "2", "--pause", "0s"];
    let learnt = site.talaia(&words).code(0).stdout.clone();
    assert!(learnt.contains("# Declared already: users"), "{learnt}");
    assert!(learnt.contains("# [plugins.plugin.metrics.gone]"), "{learnt}");
    let tree: toml::Table = learnt.parse().unwrap();
    let metrics = tree["plugins"]["plugin"]["metrics"].as_table().unwrap();
    assert_eq!(metrics.keys().collect::<Vec<_>>(), ["load", "temp"], "{learnt}");
    assert!(metrics["temp"].get("min").is_none(), "a least value is nobody's guess: {learnt}");
    site.configure(&format!("{config}{learnt}"));
    site.talaia(&["check", "-c", "talaia.toml"]).code(0);
}

#[test]
fn check_compiles_the_schemas_of_plugins_that_do_not_run_as_well() {
    let site = Site::new();
    site.script("plugin", "echo '{}'");
    let config =
        "[plugins.plugin]\ncommand = [\"./plugin\"]\nschema = \"own.json\"\nenabled = false\n";
    site.configure(config);
    site.write("own.json", "{\"type\": \"object\"}", 0o644);
    site.talaia(&["check", "-c", "talaia.toml"]).code(0);
    let found = |why: &str| {
        let done = site.talaia(&["check", "-c", "talaia.toml"]);
        assert!(done.code(1).stdout.contains(why), "no `{why}` in {}", done.stdout);
    };
    site.write("own.json", "{\"type\": \"no such type\"}", 0o644);
    found("not a JSON Schema that can be used here");
    site.write("own.json", "{\"type\": \"object\"", 0o644);
    found("own.json`: EOF while parsing");
    std::fs::remove_file(site.path("own.json")).unwrap();
    found("own.json`: No such file");
    mkfifoat(CWD, site.path("own.json"), Mode::from_raw_mode(0o644)).unwrap();
    found("own.json`: it is a pipe, and no file");
}

#[test]
fn check_says_of_a_calendar_that_has_no_such_day() {
    let site = Site::new();
    site.script("plugin", "echo '{}'");
    let config = |cron: &str| {
        site.configure(&format!("[plugins.plugin]\ncommand = [\"./plugin\"]\ncron = \"{cron}\"\n"));
    };
    config("0 0 29 2 *");
    site.talaia(&["check", "-c", "talaia.toml"]).code(0);
    config("0 0 30 2 *");
    let done = site.talaia(&["check", "-c", "talaia.toml"]);
    assert!(done.code(1).stdout.contains("it is never due"), "{}", done.stdout);
}

#[test]
fn what_was_accepted_is_held_against_the_contract_of_today() {
    let mut site = Site::new();
    site.script("plugin", "echo '[{\"name\": \"used\", \"value\": 71.2, \"tags\": {\"mount\": \"/\"}}, {\"name\": \"free\", \"value\": 3}]'");
    let base = "[plugins.plugin]\ncommand = [\"./plugin\"]\ninterval = \"100ms\"\n\
                [hub]\nenabled = true\nlisten = \"127.0.0.1:0\"\n\
                [outputs.copy]\ntype = \"file\"\npath = \"copy.ndjson\"\n";
    site.configure(base);
    let agent = site.start_agent();
    site.until("some reports", |site| {
        let copied = site.read("copy.ndjson").lines().count() >= 3;
        let hub = site.status()?["outputs"]["embedded"]["delivered"].as_u64()? >= 6;
        (copied && hub).then_some(())
    });
    let contract = "[plugins.plugin.metrics.used]\ntype = \"percent\"\nrequired = true\n";
    let diff = |more: &[&str]| {
        site.talaia(&[&["schema", "diff", "plugin", "-c", "talaia.toml"], more].concat())
    };
    site.configure(&format!("{base}{contract}"));
    for from in [&["copy.ndjson"][..], &[]] {
        let done = diff(from);
        let shown = &done.code(0).stdout;
        assert!(shown.contains("passes      used"), "{from:?}: {shown}");
        assert!(shown.contains(", not declared"), "{from:?}: {shown}");
    }
    let strict = "[plugins.plugin.metrics.free]\ntype = \"boolean\"\n[plugins.plugin.metrics.inodes]\n\
                  type = \"integer\"\nrequired = true\n[plugins.plugin.metrics.other]\ntype = \"float\"\n";
    site.configure(&format!("{base}{contract}{strict}"));
    for from in [&["copy.ndjson"][..], &[]] {
        let done = diff(from);
        let shown = &done.code(1).stdout;
        for words in
            ["refused     free", "value-range of", "missing     inodes", "never there other"]
        {
            assert!(shown.contains(words), "{from:?}: no `{words}` in\n{shown}");
        }
        let found: Value = diff(&[from, &["--json"]].concat()).code(1).json();
        let free = &found["metrics"]["free"];
        assert_eq!(free["refused"]["value-range"], free["values"], "{found}");
        assert_eq!(found["missing"], serde_json::json!(["inodes"]));
    }
    // Required, and in some reports only.
    let some = site.read("copy.ndjson").lines().next().unwrap().replace("\"used\"", "\"usd\"");
    fs::write(site.path("some.ndjson"), format!("{some}\n{}", site.read("copy.ndjson"))).unwrap();
    site.configure(&format!("{base}{contract}"));
    let done = diff(&["some.ndjson"]);
    assert!(done.code(1).stdout.contains("required, and not in 1 report"), "{}", done.stdout);
    // Long ago there was nothing.
    diff(&["copy.ndjson", "--since", "2999-01-01T00:00:00Z"])
        .code(1)
        .says(&["there is nothing of plugin"]);
    fs::write(site.path("rubbish"), "{}\n").unwrap();
    diff(&["rubbish"]).code(65).says(&["line 1 is no report"]);
    assert!(site.stop(agent).success());
}
