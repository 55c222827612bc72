//! Metrics a second into the hub, over HTTP, until they are on disk: unpacking, reading, checking,
//! one transaction with its fsync, and the compactions that fall due.
//!
//! One upload at a time, as one agent sends them: the hub's work is one after another and so on one
//! core at a time. After each load it says what CPU time the hub's own threads took for a metric:
//! that figure hardly minds what else the machine does.

#![expect(clippy::print_stderr, reason = "a benchmark says what it measured")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use talaia::hub::{Hub, Settings};
use talaia::model::{RunId, SpoolId, Timestamp};

/// What one upload carries.
struct Load {
    name: &'static str,
    reports: u64,
    metrics: u64,
}

const LOADS: [Load; 3] = [
    Load { name: "500 reports of 20 metrics", reports: 500, metrics: 20 },
    Load { name: "1000 reports of 10 metrics", reports: 1000, metrics: 10 },
    Load { name: "1000 reports of 1 metric", reports: 1000, metrics: 1 },
];

/// A body with its members in the order in which agents write them.
fn body(load: &Load, upload: i64) -> Vec<u8> {
    let now = 1_795_380_130_000 + upload * 10_000;
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
                let value = (seq * 37 + n * 11 + upload as u64) as f64 / 8.0;
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

/// Sends one upload and waits until it is acknowledged.
fn upload(stream: &mut TcpStream, key: &str, body: &[u8], reports: u64) {
    let head = format!(
        "POST /api/v1/ingest HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\nContent-Encoding: zstd\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat()).expect("the hub reads");
    let mut answer = Vec::new();
    let wanted = format!("\"accepted\":{reports},");
    while !answer.windows(wanted.len()).any(|w| w == wanted.as_bytes()) {
        let mut piece = [0; 2048];
        let length = stream.read(&mut piece).expect("the hub answers");
        assert!(length > 0, "{}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&piece[..length]);
        assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
    }
}

/// CPU time of the hub's threads so far. They are told by their names.
fn cpu_time() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux");
    let nanos = tasks.filter_map(|task| {
        let folder = task.ok()?.path();
        let name = std::fs::read_to_string(folder.join("comm")).ok()?;
        let stat = std::fs::read_to_string(folder.join("schedstat")).ok()?;
        name.starts_with("hub").then(|| stat.split(' ').next()?.parse::<u64>().ok())?
    });
    Duration::from_nanos(nanos.sum())
}

fn ingest(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let settings = Settings::new("127.0.0.1:0".parse().expect("an address"), folder.path());
    let (send, receive) = std::sync::mpsc::channel();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let hub = std::thread::Builder::new().name("hub".to_owned());
    let serve = move || {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let hub = Hub::bind(settings).await.expect("a hub");
            send.send((hub.addr(), hub.credentials().key.clone())).expect("the bench waits");
            hub.serve(async {
                let _stopped = stopped.await;
            })
            .await
            .expect("served");
        });
    };
    let served = hub.spawn(serve).expect("a thread");
    let (addr, key) = receive.recv().expect("the hub starts");
    let mut stream = TcpStream::connect(addr).expect("the hub listens");
    let mut group = criterion.benchmark_group("ingest");
    group.sample_size(20).measurement_time(Duration::from_secs(8));
    let mut nth = 0;
    for load in &LOADS {
        let (mut metrics, cpu) = (0, cpu_time());
        group.throughput(Throughput::Elements(load.reports * load.metrics));
        group.bench_function(load.name, |bencher| {
            bencher.iter_custom(|times| {
                let mut took = Duration::ZERO;
                for _ in 0..times {
                    nth += 1;
                    let body = body(load, nth);
                    let begun = Instant::now();
                    upload(&mut stream, &key, &body, load.reports);
                    took += begun.elapsed();
                    metrics += load.reports * load.metrics;
                }
                took
            });
        });
        let each = (cpu_time() - cpu).as_nanos() as f64 / metrics as f64;
        eprintln!(
            "{}: {each:.0} ns of CPU a metric, {:.2} million a second on a core",
            load.name,
            1e3 / each
        );
    }
    group.finish();
    drop(stream);
    stop.send(()).expect("the hub waits for it");
    served.join().expect("the hub ends well");
}

criterion_group!(benches, ingest);
criterion_main!(benches);
