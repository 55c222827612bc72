//! From what a long-lived plugin prints to its reports being durable: lines of one metric are
//! decoded, judged, written as a report for every 1000 of them, and appended to a spool.
//!
//! The time is that of the processor, over all threads of the process: what one core does.

use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rustix::time::{ClockId, clock_gettime};
use talaia::contract::{Judge, Moment};
use talaia::decode::{End, Format};
use talaia::model::{Outcome, Report, RunId, Status, Tags, Timestamp, Usage, Verdict};
use talaia::spool::{NewReport, Options, QuarantineChange, Spool, Start};

/// Metrics in a report: what a plugin may print in a second.
const METRICS: u64 = 1000;

/// Reports in one measured round.
const REPORTS: u64 = 500;

fn lines() -> Vec<u8> {
    (0..METRICS)
        .map(|n| format!("{{\"name\":\"requests_{n}\",\"value\":{n},\"type\":\"counter\"}}"))
        .collect::<Vec<_>>()
        .join("\n")
        .into_bytes()
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// One slice of lines as a report.
fn report(lines: &[u8], judge: &mut Judge, moment: Moment) -> Report {
    let judged = judge.run(moment, |records| Format::Json.decode(lines, End::Whole, records));
    assert_eq!(judged.counts.accepted, METRICS);
    Report {
        plugin: "requests".parse().expect("a name"),
        key: None,
        host: "web-1".to_owned(),
        run: RunId::new(),
        replay_of: None,
        started: moment.started,
        duration: 1.0,
        interval: None,
        outcome: Outcome::Answered,
        status: Status::Ok,
        message: None,
        metrics: judged.metrics,
        rejected: judged.rejected,
        warnings: judged.warnings,
        counts: judged.counts,
        skipped: 0,
        leftovers: 0,
        usage: Usage::default(),
        stderr: String::new(),
        contract: None,
    }
}

fn stream(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a folder");
    let mut options = Options::new(dir.path());
    options.min_free = 0;
    let (spool, _) = Spool::open(options).expect("a spool");
    spool.set_outputs(&[("main".to_owned(), Start::Now)]).wait().expect("an output");
    let now = Timestamp::from_number(1_795_380_130.0).expect("a time of this century");
    let moment = Moment { started: now, now };
    let lines = lines();
    let mut judge = Judge::new(Arc::default(), Tags::new());

    let mut group = c.benchmark_group("stream");
    group.sample_size(20).measurement_time(Duration::from_secs(10));
    group.throughput(Throughput::Elements(METRICS * REPORTS));
    group.bench_function("lines until durable, processor time", |b| {
        b.iter_custom(|rounds| {
            let mut took = Duration::ZERO;
            for _ in 0..rounds {
                let begin = cpu_time();
                let mut last = None;
                for n in 0..REPORTS {
                    let report = report(&lines, &mut judge, moment);
                    let body = report.to_json().expect("a report is JSON");
                    let new = NewReport {
                        plugin: report.plugin,
                        body,
                        counts: report.counts,
                        skipped: 0,
                        quarantine: QuarantineChange::default(),
                    };
                    last = Some(spool.append(new).expect("there is room in the queue"));
                    // More often than the queue is full, and seldom enough to share the flush.
                    if n % 100 == 99 {
                        spool.flush().wait().expect("a commit");
                    }
                }
                let last = last.expect("a report").wait().expect("on disk");
                took += cpu_time() - begin;
                let receipt = Verdict::Delivered { refused: Vec::new() }
                    .receipt("main", last)
                    .expect("a receipt");
                spool.settle(receipt).wait().expect("settled");
                spool.flush().wait().expect("a commit");
            }
            took
        });
    });
    group.bench_function("of that, decode and judge", |b| {
        b.iter_custom(|rounds| {
            let begin = cpu_time();
            for _ in 0..rounds * REPORTS {
                std::hint::black_box(report(&lines, &mut judge, moment));
            }
            cpu_time() - begin
        });
    });
    let example = report(&lines, &mut judge, moment);
    group.bench_function("of that, write as JSON", |b| {
        b.iter_custom(|rounds| {
            let begin = cpu_time();
            for _ in 0..rounds * REPORTS {
                std::hint::black_box(example.to_json().expect("a report is JSON"));
            }
            cpu_time() - begin
        });
    });
    group.finish();
}

criterion_group!(benches, stream);
criterion_main!(benches);
