//! The agent's own metrics, and what the hub knows of every run.

use serde_json::Value;

use crate::support::{Site, http};

fn site(self_metrics: &str) -> Site {
    let site = Site::new();
    let large = "dd if=/dev/zero of=/dev/null bs=192M count=1 2>&-";
    site.script("disk", &format!("{large}; echo '{{\"used\": 71.5, \"b-d\": 3}}'; exit 3"));
    site.script("small", "echo '{\"used\": 1}'");
    site.script("live", "echo '{\"used\": 1}'; read -r end");
    site.write(
        "talaia.toml",
        format!(
            "[agent]\ndata_dir = \"{}\"\nhost = \"test-host\"\nself_metrics = {self_metrics}\n\
             spool = {{ commit_interval = \"5ms\", min_free = \"0B\" }}\n\
             [plugins.disk]\ncommand = [\"./disk\"]\ninterval = \"500ms\"\n\
             [plugins.small]\ncommand = [\"./small\"]\ninterval = \"500ms\"\n\
             [plugins.live]\ncommand = [\"./live\"]\nmode = \"stream\"\n\
             [hub]\nlisten = \"127.0.0.1:0\"\n",
            site.path("data").display()
        ),
        0o644,
    );
    site
}

fn series(site: &Site, plugin: &str, name: &str, tag: &str) -> Option<Value> {
    let credentials: Value = serde_json::from_str(&site.read("data/hub/credentials.json")).ok()?;
    let (url, key) = (credentials["url"].as_str()?, credentials["key"].as_str()?);
    let tag = if tag.is_empty() { String::new() } else { format!("&tag={tag}") };
    let path = format!("/api/v1/points?host=test-host&plugin={plugin}&name={name}{tag}");
    let (status, body) = http(url, &path, Some(key))?;
    assert_eq!(status, 200, "{body}");
    let answer: Value = serde_json::from_str(&body).unwrap();
    Some(answer["series"][0].clone()).filter(|series| !series.is_null())
}

/// The last value of a series.
fn last(series: &Value) -> &Value {
    &series["points"].as_array().unwrap().last().unwrap()[1]
}

#[test]
fn the_ledger_is_data_in_the_hub() {
    let mut site = site("\"1s\"");
    let pid = site.start_agent();
    let runs = site.until("two samples with deliveries", |site| {
        let delivered = series(site, "talaia", "talaia_output_delivered", "output:embedded")?;
        (last(&delivered).as_u64()? > 0).then_some(())?;
        series(site, "talaia", "talaia_plugin_runs", "plugin:disk")
    });
    assert_eq!(runs["type"], "counter");
    assert!(last(&runs).as_u64() > Some(0), "{runs}");
    let of = |name: &str, tag: &str| {
        let found = series(&site, "talaia", name, tag);
        last(&found.unwrap_or_else(|| panic!("no {name} {tag}"))).clone()
    };
    assert!(of("talaia_plugin_rejected", "code:name-hyphen").as_u64() > Some(0));
    assert_eq!(of("talaia_plugin_up", "plugin:disk"), false);
    assert_eq!(of("talaia_plugin_exit_code", "plugin:disk"), 3);
    assert_eq!(of("talaia_plugin_series", "plugin:disk"), 1);
    assert!(of("talaia_plugin_max_rss", "plugin:disk").as_u64() > Some(192 << 20));
    // Of what never had more than the agent itself it is not known.
    assert!(of("talaia_plugin_cpu", "plugin:small").is_number());
    assert!(series(&site, "talaia", "talaia_plugin_max_rss", "plugin:small").is_none());
    assert!(of("talaia_plugin_duration", "plugin:disk").as_f64() > Some(0.0));
    assert!(of("talaia_agent_start_lag", "quantile:0.99").as_f64() > Some(0.0));
    assert!(of("talaia_agent_rss", "").as_u64() > Some(1 << 20));
    assert!(of("talaia_quarantine_items", "").as_u64() > Some(0));
    assert_eq!(of("talaia_agent_leaks", ""), 0);
    assert_eq!(of("talaia_output_up", "output:embedded"), true);
    assert_eq!(of("talaia_agent_version", ""), env!("CARGO_PKG_VERSION"));
    assert!(series(&site, "talaia", "talaia_plugin_runs", "plugin:talaia").is_none());

    let status = site.status().unwrap();
    assert_eq!(status["plugins"]["talaia"]["state"], "built-in");
    assert!(status["plugins"]["small"]["last"]["max_rss"].is_null(), "{status}");
    // That of a program that lives is its own.
    let live = status["plugins"]["live"]["last"]["max_rss"].as_u64();
    assert!(live > Some(100_000) && live < status["agent"]["rss"].as_u64(), "{status}");
    assert!(status["agent"]["quarantine_items"].as_u64() > Some(0), "{status}");
    assert!(status["outputs"]["embedded"]["oldest_age"].is_number(), "{status}");
    assert!(site.stop(pid).success());
    // Counted like any other.
    let own = &site.ledger()["plugins"]["talaia"];
    assert!(own["produced"].as_u64() > Some(20), "{own}");
    assert_eq!(own["produced"], own["accepted"]);
}

#[test]
fn every_run_has_its_facts_as_points() {
    let mut site = site("false");
    let pid = site.start_agent();
    site.until("three runs", |site| {
        let took = series(site, "disk", "talaia_run_duration", "")?;
        (took["points"].as_array()?.len() >= 3).then_some(())
    });
    assert!(site.status().unwrap()["plugins"]["talaia"].is_null());
    let used = series(&site, "disk", "used", "").unwrap();
    let times = |series: &Value| -> Vec<Value> {
        let points = series["points"].as_array().unwrap();
        points.iter().take(3).map(|point| point[0].clone()).collect()
    };
    for (name, unit, value) in [
        ("talaia_run_up", None, Some(Value::from(false))),
        ("talaia_run_exit_code", None, Some(Value::from(3))),
        ("talaia_run_duration", Some("s"), None),
        ("talaia_run_cpu", Some("s"), None),
        ("talaia_run_max_rss", Some("B"), None),
        ("talaia_run_rejected", None, Some(Value::from(1))),
        ("talaia_run_skipped", None, Some(Value::from(0))),
    ] {
        let fact = series(&site, "disk", name, "").unwrap_or_else(|| panic!("no {name}"));
        assert_eq!(times(&fact), times(&used), "{name}: one point a run, at its start");
        assert_eq!(fact["unit"].as_str(), unit, "{name}");
        if let Some(value) = value {
            assert_eq!(fact["points"][0][1], value, "{name}");
        }
    }
    assert!(site.stop(pid).success());
}

#[test]
fn nobody_else_may_have_the_agents_own_name() {
    let site = Site::new();
    site.script("mine", "echo '{}'");
    site.configure("[plugins.talaia]\ncommand = [\"./mine\"]\n");
    let done = site.talaia(&["check", "--config", "talaia.toml"]);
    done.code(78).says(&["the name `talaia` is taken", "give the plugin another name"]);
    for bad in ["true", "\"100ms\"", "5"] {
        let text = format!("[agent]\nself_metrics = {bad}\ndata_dir = \"data\"\n");
        site.write("talaia.toml", text, 0o644);
        site.talaia(&["check", "--config", "talaia.toml"]).code(78);
    }
}
