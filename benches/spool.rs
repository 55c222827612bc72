//! What the spool and the encoder can do: reports of 1 KiB until they are durable, with group
//! commit, and batches of 1000 ready to send.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use talaia::deliver::Compression;
use talaia::deliver::encode::{Encoder, Head};
use talaia::model::{AgentId, Counts, Seq, SpoolId, Timestamp, Verdict};
use talaia::spool::{AppendError, Identity, NewReport, Options, Spool, Start, Stored};

/// A report of about 1 KiB with six metrics, as a real one is.
fn body(n: u64) -> Vec<u8> {
    let metrics: Vec<String> = (0..6)
        .map(|m| {
            let value = (n * 31 + m * 7) % 1000;
            format!(
                r#"{{"name":"disk_used_{m}","value":{value}.{m},"type":"percent","unit":"%","label":"Disk used","tags":{{"mount":"/data{m}"}}}}"#
            )
        })
        .collect();
    format!(
        r#"{{"plugin":"disk","key":null,"host":"web-1","run":"0192f0c1-0000-7000-8000-{n:012}","started":"2026-11-22T20:42:10.123Z","duration":0.012,"interval":30,"outcome":{{"kind":"exited","code":0}},"status":"ok","message":null,"metrics":[{}],"rejected":[],"warnings":[],"counts":{{"produced":6,"accepted":6,"rejected":{{}}}},"skipped":0,"leftovers":0,"usage":{{"cpu":0.004,"max_rss":2097152,"stdout":181,"stderr":0}}}}"#,
        metrics.join(",")
    )
    .into_bytes()
}

fn report(n: u64) -> NewReport {
    NewReport {
        plugin: "disk".parse().expect("a name"),
        body: body(n),
        counts: Counts { produced: 6, accepted: 6, rejected: [].into() },
        skipped: 0,
        quarantine: talaia::spool::QuarantineChange::default(),
    }
}

/// Reports in one measured round.
const REPORTS: u64 = 20_000;

fn append(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a folder");
    let mut options = Options::new(dir.path());
    options.min_free = 0;
    options.commit_interval = Duration::from_millis(10);
    let (spool, _) = Spool::open(options).expect("a spool");
    spool.set_outputs(&[("main".to_owned(), Start::Now)]).wait().expect("an output");
    let mut group = c.benchmark_group("spool");
    group.sample_size(10).measurement_time(Duration::from_secs(5));
    group.throughput(Throughput::Elements(REPORTS));
    group.bench_function("append_1k_until_durable", |b| {
        b.iter_custom(|rounds| {
            let mut took = Duration::ZERO;
            for _ in 0..rounds {
                let reports: Vec<NewReport> = (0..REPORTS).map(report).collect();
                let begin = Instant::now();
                let mut last = None;
                for mut report in reports {
                    last = loop {
                        match spool.append(report.clone()) {
                            Ok(ticket) => break Some(ticket),
                            Err(AppendError::Full { .. }) => {
                                spool.flush().wait().expect("a commit");
                                report = report.clone();
                            }
                            Err(error) => panic!("{error}"),
                        }
                    };
                }
                let last = last.expect("a report").wait().expect("on disk");
                took += begin.elapsed();
                let receipt = Verdict::Delivered { refused: Vec::new() }
                    .receipt("main", last)
                    .expect("a receipt");
                spool.settle(receipt).wait().expect("settled");
            }
            took
        });
    });
    group.bench_function("append_one_until_durable", |b| {
        b.iter(|| {
            let ticket = spool.append(report(1)).expect("queued");
            spool.flush().wait().expect("a commit");
            ticket.wait().expect("on disk")
        });
    });
    group.finish();
}

#[expect(clippy::print_stdout, reason = "the size of a batch is a result of this bench")]
fn encode(c: &mut Criterion) {
    let reports: Vec<Stored> =
        (1..=1000).map(|n| Stored { seq: Seq(n), body: body(n), records: 6 }).collect();
    let head = Head {
        identity: Identity { spool: SpoolId::new(), agent: AgentId::new() },
        host: "web-1",
        version: "0.1.0",
        output: "main",
        sent: Timestamp::from_millis(0).expect("a time"),
    };
    let mut group = c.benchmark_group("encode_1000_reports");
    group.throughput(Throughput::Elements(6000));
    for compression in [Compression::Zstd, Compression::Gzip, Compression::None] {
        let mut encoder = Encoder::new(compression);
        let bytes = encoder.encode(head, &reports).expect("a batch").bytes.len();
        println!("{compression:?}: {:.1} bytes per metric", bytes as f64 / 6000.0);
        group.bench_function(format!("{compression:?}").to_lowercase(), |b| {
            b.iter(|| black_box(encoder.encode(head, &reports).expect("a batch").bytes.len()));
        });
    }
    group.finish();
}

criterion_group!(benches, append, encode);
criterion_main!(benches);
