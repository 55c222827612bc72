//! A day of four machines, as their agents would have sent it.

#![expect(clippy::needless_pass_by_value, reason = "reads better where they are called")]

use std::f64::consts::TAU;

use serde_json::{Value, json};

use super::super::packages::{GOOD, archive, at};
use super::super::support::*;

const MINUTE: i64 = 60_000;

/// Numbers that look like noise and are the same at every call.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as f64 / f64::from(u32::MAX >> 1)
    }
}

fn metric(name: &str, value: Value, kind: &str, unit: &str, label: &str) -> Value {
    json!({"name": name, "value": value, "type": kind, "unit": unit, "label": label})
}

fn tagged(mut metric: Value, key: &str, value: &str) -> Value {
    metric["tags"] = json!({ key: value });
    metric
}

fn with<const N: usize>(mut metric: Value, marks: [(&str, Value); N]) -> Value {
    for (mark, value) in marks {
        metric[mark] = value;
    }
    metric
}

/// What one plugin prints at a time.
fn printed(plugin: &str, ms: i64, nth: i64, noise: &mut Noise) -> Value {
    let day = 0.5 + 0.5 * (TAU * (ms as f64 / 86_400_000.0)).sin();
    let rounded = |x: f64| json!((x * 100.0).round() / 100.0);
    match plugin {
        "cpu" => json!([
            with(
                metric(
                    "cpu_used",
                    rounded(12.0 + 50.0 * day + 9.0 * noise.next()),
                    "percent",
                    "%",
                    "CPU used"
                ),
                [("warn", json!(80)), ("crit", json!(95))]
            ),
            metric("load1", rounded(0.3 + day + noise.next() / 3.0), "float", "", "Load"),
        ]),
        "memory" => json!([with(
            metric(
                "memory_used",
                json!(3_400_000_000_i64 + nth * 400_000),
                "integer",
                "B",
                "Memory used"
            ),
            [("warn", json!("~:6442450944")), ("min", json!(0)), ("max", json!(8_589_934_592_i64))]
        )]),
        "disk" => {
            let of = |mount: &str, used: f64| {
                let used = metric("disk_used", rounded(used), "percent", "%", "Disk used");
                with(tagged(used, "mount", mount), [("warn", json!(80)), ("crit", json!(90))])
            };
            json!([
                of("/", 41.0 + day),
                of("/home", 77.0 + nth as f64 / 200.0),
                of("/srv", 60.0 - day)
            ])
        }
        "network" => json!([
            metric(
                "packets_in",
                json!(nth * 30_000 + (day * 9000.0) as i64),
                "counter",
                "packets",
                "Packets in"
            ),
            metric("bytes_in", json!(nth * 41_000_000), "counter", "B", "Received"),
        ]),
        _ => {
            let whole = !(400..460).contains(&nth);
            json!([
                metric("raid_ok", json!(whole), "boolean", "", "RAID is whole"),
                metric(
                    "raid_state",
                    json!(if whole { "clean" } else { "rebuilding" }),
                    "string",
                    "",
                    "RAID state"
                ),
            ])
        }
    }
}

fn made(seq: u64, host: &str, plugin: &str, ms: i64, metrics: Value) -> Value {
    let mut made = report(seq, ms, metrics);
    made["host"] = json!(host);
    made["plugin"] = json!(plugin);
    made["interval"] = json!(60.0);
    if plugin == "disk" {
        made["contract"] = contract();
    }
    made
}

/// What the disks' plugin declares.
fn contract() -> Value {
    json!({
        "metrics": {
            "disk_used": {"type": "percent", "unit": "%", "label": "Disk used", "required": true,
                "warn": 80, "crit": 90, "min": 0, "max": 100},
            "disk_state": {"type": "string", "label": "State", "values": ["clean", "dirty", "failing"]},
        },
        "omitted": 2, "strict": true, "schema": false, "interval": 60, "timeout": 10,
    })
}

/// Sends a day, a report a minute, up to the clock's time. One machine was silent for an hour, one
/// plugin fails now, one is refused, one warns, and one has not been heard of for long.
pub(super) async fn a_day(hub: &Running) {
    let machines: [(&str, &[&str]); 3] = [
        ("web-1", &["cpu", "memory", "disk", "network"]),
        ("web-2", &["cpu", "memory", "http_check"]),
        ("db-1", &["cpu", "disk", "raid"]),
    ];
    let mut noise = Noise(7);
    for (host, plugins) in machines {
        let (stream, mut seq, mut batch) = (Stream::new(), 0, Vec::new());
        for nth in 0..1440 {
            let ms = NOW - (1440 - nth) * MINUTE;
            if host == "web-2" && (500..560).contains(&nth) {
                continue;
            }
            for plugin in plugins {
                seq += 1;
                batch.push(one(seq, host, plugin, ms, nth, &mut noise));
            }
            if batch.len() > 900 {
                hub.take(&stream.batch(std::mem::take(&mut batch))).await;
            }
        }
        hub.take(&stream.batch(batch)).await;
    }
}

fn one(seq: u64, host: &str, plugin: &str, ms: i64, nth: i64, noise: &mut Noise) -> Value {
    if plugin == "http_check" {
        let mut failed = made(seq, host, plugin, ms, json!([]));
        failed["outcome"] = json!({"kind": "timed_out", "reached": "kill"});
        failed["status"] = json!("unknown");
        failed["message"] = json!("shop.example does not answer");
        failed["stderr"] = json!("E! GET https://shop.example/ timed out after 10 s");
        return failed;
    }
    let mut good = made(seq, host, plugin, ms, printed(plugin, ms, nth, noise));
    if (host, plugin) == ("web-1", "disk") && nth > 600 {
        good["status"] = json!("warning");
        good["message"] = json!("/home is filling up");
    }
    if (host, plugin) == ("web-2", "memory") {
        good["rejected"] = json!([{"code": "name-hyphen", "path": "/metrics/1/name", "line": 1, "column": 88,
            "value": "swap-used", "rule": "names", "message": "the name `swap-used` has a hyphen",
            "hint": "rename it to `swap_used`"}]);
        good["counts"] = json!({"produced": 2, "accepted": 1, "rejected": {"name-hyphen": 1}});
    }
    good
}

/// Versions of a package in every state that has a page of its own.
pub(super) async fn packages(hub: &Running) {
    let key = hub.credentials.key.clone();
    let long = "#!/usr/bin/env python3\n# Looks at sites that are listed, and says whether they answer.\nimport json, sys\n\nsettings = json.load(sys.stdin)\npassword = \"swordfish-2026\"\nprint(json.dumps([]))\n";
    for (version, program) in
        [("0.1.0", GOOD), ("0.2.0", long), ("0.3.0", "no first line\n"), ("0.4.0", GOOD)]
    {
        let sent = hub.put(&key, version, archive(version, program)).await;
        assert_eq!(sent.status, 201, "{}", sent.body);
        if version != "0.3.0" {
            hub.well("POST", &at(version, "/submit"), Value::Null).await;
        }
    }
    hub.well("POST", &at("0.1.0", "/approve"), Value::Null).await;
    let reason = "The metric web_time has no unit.\nAnd which site is meant?";
    hub.well("POST", &at("0.4.0", "/reject"), json!({"reason": reason})).await;
    let found = json!({"weight": "warning", "path": "bin/look", "line": 7, "message": "`look` printed nothing", "help": "print at least one record"});
    let trial = json!({"user": "nobody", "runs": 3, "findings": [found]});
    hub.well("PUT", &at("0.2.0", "/trial"), trial).await;
    for name in ["netstat", "a-name-that-is-as-long-as-names-of-packages-may-be-and-goes-on-s"] {
        let about = json!({"name": name, "category": "network", "description": "Packets and datagrams in and out of this host, by interface and by protocol, counted since it was started"});
        hub.well("POST", "/api/v1/packages", about).await;
    }
}
