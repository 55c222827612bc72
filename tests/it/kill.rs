//! An agent with its own hub in the same process, killed at random moments: whatever was accepted
//! is in the hub, once.

use std::time::Duration;

use serde_json::Value;

use crate::support::{Site, http};

const PLUGINS: usize = 4;

/// The rows of `GET /api/v1/plugins` of the hub that the agent serves.
fn rows(site: &Site) -> Option<Vec<Value>> {
    let credentials: Value = serde_json::from_str(&site.read("data/hub/credentials.json")).ok()?;
    let (url, key) = (credentials["url"].as_str()?, credentials["key"].as_str()?);
    let (status, body) = http(url, "/api/v1/plugins", Some(key))?;
    let page: Value = serde_json::from_str(&body).ok()?;
    (status == 200).then(|| page["items"].as_array().cloned())?
}

/// `TALAIA_SEED` repeats the moments of a run.
#[test]
fn killed_with_its_hub_an_agent_loses_nothing_and_stores_nothing_twice() {
    let seed: u64 = std::env::var("TALAIA_SEED")
        .map_or_else(|_| u64::from(std::process::id()), |seed| seed.parse().unwrap());
    println!("TALAIA_SEED={seed}");
    let mut site = Site::new();
    let mut config = "[hub]\nlisten = \"127.0.0.1:0\"\n".to_owned();
    for n in 0..PLUGINS {
        let script = site.script(&format!("p{n}"), "echo '{\"a\": 1, \"b\": 2, \"c\": 3}'");
        config += &format!(
            "[plugins.p{n}]\ncommand = [\"{}\"]\ninterval = \"100ms\"\ntimeout = \"90ms\"\n",
            script.display()
        );
    }
    site.configure(&config);
    let mut state = seed;
    for _ in 0..15 {
        // A linear congruential step is random enough to spread the moments.
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let pid = site.start_agent();
        std::thread::sleep(Duration::from_millis(100 + (state >> 33) % 500));
        site.kill(pid);
    }
    // No more runs from here on: what is in the spool goes to the hub, and the counts stand still.
    site.configure(&config.replace("100ms", "1d").replace("90ms", "1s"));
    let pid = site.start_agent();
    site.until("an empty spool", |site| {
        let status = site.status()?;
        let outputs = status["outputs"].as_object()?;
        let done = |o: &Value| o["spooled"] == 0 && o["delivered"].as_u64() > Some(0);
        (!outputs.is_empty() && outputs.values().all(done)).then_some(())
    });
    let rows = site.until("the hub's counts", rows);
    assert!(site.stop(pid).success(), "{}", site.read("agent.log"));

    let ledger = site.ledger();
    let plugins = ledger["plugins"].as_object().unwrap();
    let mut metrics = 0;
    for n in 0..PLUGINS {
        let name = format!("p{n}");
        let row = rows.iter().find(|row| row["plugin"] == *name).unwrap();
        assert_eq!(row["reports"], plugins[&name]["runs"], "{name}: {row} {ledger}");
        assert_eq!(row["metrics"], plugins[&name]["accepted"], "{name}: {row} {ledger}");
        metrics += row["metrics"].as_u64().unwrap();
    }
    assert!(metrics >= 15, "only {metrics} metrics");
    for output in ledger["outputs"].as_object().unwrap().values() {
        assert_eq!(output["delivered"], metrics, "{output}");
    }
}
