//! What the hub takes in and gives out, over HTTP: metrics a second until they are on disk, pages and
//! answers out of ten million points, and its memory with them. Where VictoriaMetrics is installed its
//! own import of the same metrics is measured beside it.
//!
//! The hub is a process of its own (this program once more), so that its CPU time and memory are its
//! own. One upload at a time, as one agent sends them: the hub's work is one after another, and so on
//! one core at a time. CPU time for a metric hardly minds what else the machine does; times do.
//!
//! `cargo bench --bench ingest`

#![expect(clippy::print_stdout, reason = "a benchmark says what it measured")]

mod client;
mod hub;
mod victoria;

use std::time::{Duration, Instant};

use talaia::model::{RunId, SpoolId, Timestamp};

use hub::HubProcess;

/// What one upload carries.
struct Load {
    name: &'static str,
    reports: u64,
    metrics: u64,
}

const LOADS: [Load; 3] = [
    Load { name: "1000 reports of 10 metrics", reports: 1000, metrics: 10 },
    Load { name: "500 reports of 20 metrics", reports: 500, metrics: 20 },
    Load { name: "1000 reports of 1 metric", reports: 1000, metrics: 1 },
];
/// Points that each run gives besides: exit code, duration and so on.
const FACTS: u64 = 7;
const START: i64 = 1_795_380_130_000;

/// A body with its members in the order in which agents write them.
fn body(load: &Load, upload: i64) -> Vec<u8> {
    let now = START + upload * 10_000;
    let stamp = |ms| Timestamp::from_millis(ms).expect("a time of this century");
    let mut text = format!(
        r#"{{"agent":{{"id":"{}","host":"web-1","version":"0.1.0","spool":"{}"}},"output":"main","sent":"{}","reports":["#,
        SpoolId::new(),
        SpoolId::new(),
        stamp(now)
    );
    for seq in 1..=load.reports {
        let metrics: Vec<_> = (0..load.metrics)
            .map(|n| {
                let value = value(seq, n, upload);
                format!(
                    r#"{{"name":"metric_{}","value":{value:?},"type":"float","unit":"B","tags":{{"device":"sd{}"}}}}"#,
                    n / 2,
                    n % 2
                )
            })
            .collect();
        let comma = if seq == 1 { "" } else { "," };
        text += &format!(
            r#"{comma}{{"seq":{seq},"plugin":"plugin_{}","key":null,"host":"web-1","run":"{}","started":"{}","duration":0.012,"interval":10.0,"outcome":{{"kind":"exited","code":0}},"status":"ok","message":null,"metrics":[{}],"rejected":[],"warnings":[],"counts":{{"produced":{n},"accepted":{n},"rejected":{{}}}},"skipped":0,"leftovers":0,"usage":{{"cpu":0.004,"max_rss":2097152,"stdout":181,"stderr":0}}}}"#,
            seq % 1000,
            RunId::new(),
            stamp(now + seq as i64),
            metrics.join(","),
            n = load.metrics,
        );
    }
    text += "]}";
    zstd::encode_all(text.as_bytes(), 1).expect("zstd of a text in memory")
}

fn value(seq: u64, n: u64, upload: i64) -> f64 {
    (seq * 37 + n * 11 + upload as u64) as f64 / 8.0
}

/// Uploads until so many metrics went; gives the time until they were acknowledged, and how many.
fn send(hub: &mut HubProcess, load: &Load, uploads: std::ops::Range<i64>) -> (Duration, u64) {
    let (mut took, mut metrics) = (Duration::ZERO, 0);
    for upload in uploads {
        let body = body(load, upload);
        let begun = Instant::now();
        hub.upload(&body, load.reports);
        took += begun.elapsed();
        metrics += load.reports * load.metrics;
    }
    (took, metrics)
}

fn main() {
    if hub::serve_if_asked() {
        return;
    }
    // As a test of itself it shows that it works, and measures nothing worth reading.
    let full = std::env::args().any(|argument| argument == "--bench");
    let rounds = if full { 300 } else { 3 };
    println!("{:<28} {:>14} {:>16} {:>16}", "ingest", "metrics/s", "a core", "points a core");
    let mut ten = 0.0;
    for load in &LOADS {
        let mut hub = HubProcess::start();
        // Learning names is not what is measured.
        send(&mut hub, load, 0..2);
        let before = hub.cpu();
        let (took, metrics) = send(&mut hub, load, 2..2 + rounds);
        let cpu = (hub.cpu() - before).as_secs_f64();
        let points = metrics + metrics / load.metrics * FACTS;
        let a_core = metrics as f64 / cpu;
        if load.metrics == 10 {
            ten = a_core;
        }
        println!(
            "{:<28} {:>14.0} {:>16.0} {:>16.0}",
            load.name,
            metrics as f64 / took.as_secs_f64(),
            a_core,
            points as f64 / cpu
        );
    }
    victoria::beside(&LOADS[0], rounds, ten);
    reads(full);
}

/// Pages and answers of a hub with ten million points, and its memory.
fn reads(full: bool) {
    let mut hub = HubProcess::start();
    // A day of a plugin of three metrics at 10 s, and a thousand plugins on top, to ten million points.
    let mut points = 0;
    let day = Load { name: "", reports: 1000, metrics: 3 };
    for upload in 0..if full { 9 } else { 1 } {
        hub.upload(&client::a_day(&day, upload, START), day.reports);
        points += day.reports * (day.metrics + FACTS);
    }
    let load = &LOADS[0];
    let most = if full { 10_000_000 } else { 50_000 };
    let mut upload = 0;
    while points < most {
        hub.upload(&body(load, upload), load.reports);
        points += load.reports * (load.metrics + FACTS);
        upload += 1;
    }
    println!("\n{points} points in {} series", load.reports * (load.metrics + FACTS));
    println!("{:<44} {:>10.1} MB", "resident memory, now", hub.memory("VmRSS:"));
    let now = START + 86_400_000;
    let (from, to) = (START, now);
    let cookie = hub.log_in();
    let asked = [
        (
            "a day of one series at 10 s",
            format!(
                "/api/v1/points?host=day&plugin=day&name=metric_0&from={from}&to={to}&limit=100000"
            ),
        ),
        ("a day of a plugin at 10 s, drawn", "/plugin?host=day&plugin=day&range=24h".to_owned()),
        ("overview of 1000 plugins", "/".to_owned()),
        ("a thousand series", "/api/v1/series?limit=1000".to_owned()),
    ];
    for (what, path) in &asked {
        let mut times: Vec<Duration> = (0..if full { 21 } else { 1 })
            .map(|_| {
                let begun = Instant::now();
                let length = hub.get(path, &cookie);
                assert!(length > 200, "{path}: {length} bytes");
                begun.elapsed()
            })
            .collect();
        times.sort();
        println!(
            "{what:<44} {:>10.1} ms (slowest {:.1})",
            times[times.len() / 2].as_secs_f64() * 1e3,
            times[times.len() - 1].as_secs_f64() * 1e3
        );
    }
    println!("{:<44} {:>10.1} MB", "resident memory, most", hub.memory("VmHWM:"));
}
