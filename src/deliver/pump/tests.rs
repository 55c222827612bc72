use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;

use crate::model::Counts;
use crate::spool::{
    Evicted, Inspector, NewReport, Options, OutputTotals, Pick, QuarantineChange, Start,
};

use super::*;

/// Answers as it was told, and remembers what it was sent.
#[derive(Clone, Default)]
struct Fake(Arc<Mutex<Script>>);

#[derive(Default)]
struct Script {
    /// Verdicts to give first.
    first: VecDeque<Verdict>,
    /// Numbers that make a batch poison.
    poison: BTreeSet<u64>,
    /// Most bytes taken.
    limit: Option<usize>,
    sent: Vec<Vec<u64>>,
    streams: BTreeSet<SpoolId>,
}

impl Sink for Fake {
    async fn send(&mut self, batch: Batch<'_>) -> Verdict {
        let mut script = self.0.lock().unwrap();
        let numbers: Vec<u64> = batch.reports.iter().map(|r| r.seq.0).collect();
        let bytes: usize = batch.reports.iter().map(|r| r.body.len()).sum();
        script.sent.push(numbers.clone());
        script.streams.insert(batch.identity.spool);
        if let Some(verdict) = script.first.pop_front() {
            return verdict;
        }
        if script.limit.is_some_and(|limit| bytes > limit) {
            return Verdict::Split;
        }
        if numbers.iter().any(|n| script.poison.contains(n)) {
            return Verdict::Bisect { why: "answer 400".to_owned() };
        }
        Verdict::Delivered { refused: Vec::new() }
    }
}

struct Bench {
    dir: TempDir,
    spool: Spool,
    fake: Fake,
    pump: Pump<Fake>,
    state: watch::Receiver<OutputState>,
}

impl Bench {
    async fn new(reports: usize) -> Self {
        let dir = TempDir::new().unwrap();
        let mut options = Options::new(dir.path());
        options.commit_interval = Duration::ZERO;
        options.min_free = 0;
        let (spool, _) = Spool::open(options).unwrap();
        spool.set_outputs(&[("main".to_owned(), Start::Now)]).await.unwrap();
        let fake = Fake::default();
        let mut settings = PumpSettings::new("main");
        settings.interval = Duration::from_millis(5);
        settings.retry = Backoff::new(Duration::from_millis(1), Duration::from_millis(5));
        settings.hold = settings.retry.clone();
        let (pump, state) = Pump::new(spool.clone(), settings, fake.clone());
        let bench = Self { dir, spool, fake, pump, state };
        bench.append(reports, 20).await;
        bench
    }

    async fn append(&self, n: usize, pad: usize) {
        for _ in 0..n {
            let body = format!(r#"{{"plugin":"p","x":"{}"}}"#, "y".repeat(pad)).into_bytes();
            let counts = Counts { produced: 1, accepted: 1, rejected: [].into() };
            let plugin = "p".parse().unwrap();
            let report = NewReport {
                plugin,
                body,
                counts,
                skipped: 0,
                quarantine: QuarantineChange::default(),
            };
            self.spool.append(report).unwrap().await.unwrap();
        }
    }

    fn script(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.fake.0.lock().unwrap());
    }

    fn sent(&self) -> Vec<Vec<u64>> {
        self.fake.0.lock().unwrap().sent.clone()
    }

    fn totals(&self) -> OutputTotals {
        let ledger = self.spool.ledger().unwrap();
        assert!(ledger.balances());
        ledger.outputs["main"].clone()
    }

    fn refused(&self) -> u64 {
        self.totals().evicted.get(&Evicted::Refused).copied().unwrap_or_default()
    }

    fn state(&self) -> Condition {
        self.state.borrow().state
    }

    fn quarantined(&self) -> Vec<i64> {
        let inspector = Inspector::open(self.dir.path()).unwrap();
        inspector
            .quarantine(&Pick::default(), 0, 100)
            .unwrap()
            .iter()
            .filter_map(|q| q.seq)
            .collect()
    }
}

#[tokio::test]
async fn batches_are_cut_and_in_order() {
    let mut bench = Bench::new(25).await;
    bench.pump.max_reports = 10;
    bench.pump.settings.max_reports = 10;
    bench.pump.drain().await;
    let sent = bench.sent();
    assert_eq!(sent.iter().map(Vec::len).collect::<Vec<_>>(), [10, 10, 5]);
    assert_eq!(sent.concat(), (1..=25).collect::<Vec<_>>());
    assert_eq!(bench.totals().delivered, 25);
    bench.pump.drain().await;
    assert_eq!(bench.sent().len(), 3, "an empty spool sends nothing");
}

#[tokio::test]
async fn after_a_failure_the_same_batch_comes_again() {
    let mut bench = Bench::new(3).await;
    let after = Some(Duration::from_secs(77));
    bench.script(|s| {
        s.first = [
            Verdict::Retry { after: None, why: "answer 503".to_owned() },
            Verdict::Hold { why: "answer 401".to_owned() },
            Verdict::Retry { after, why: "answer 429".to_owned() },
        ]
        .into();
    });
    bench.pump.drain().await;
    assert_eq!(bench.state(), Condition::Retry);
    assert_eq!(bench.state.borrow().error.as_deref(), Some("answer 503"));
    bench.pump.drain().await;
    assert_eq!(bench.state(), Condition::Hold);
    bench.pump.drain().await;
    let wait = bench.pump.next.duration_since(Instant::now());
    assert!(wait > Duration::from_secs(70), "Retry-After is obeyed: {wait:?}");
    bench.pump.drain().await;
    assert_eq!(bench.state(), Condition::Ok);
    assert_eq!(bench.sent(), vec![vec![1, 2, 3]; 4]);
    assert_eq!(bench.totals().delivered, 3);
}

#[tokio::test]
async fn poison_is_found_and_the_rest_delivered() {
    for poison in [vec![1], vec![64], vec![33], vec![1, 2, 40], vec![10, 63, 64]] {
        let mut bench = Bench::new(64).await;
        bench.script(|s| s.poison = poison.iter().copied().collect());
        bench.pump.drain().await;
        let last = *poison.last().unwrap();
        if last == 64 {
            // Nothing after it was delivered yet, so it is not known whether it is the report.
            assert_eq!(bench.totals().spooled, if poison.contains(&63) { 2 } else { 1 });
            bench.append(1, 20).await;
            bench.pump.drain().await;
        }
        assert_eq!(bench.refused(), poison.len() as u64, "{poison:?}");
        assert_eq!(bench.totals().spooled, 0);
        let kept: Vec<i64> = poison.iter().map(|n| *n as i64).collect();
        assert_eq!(bench.quarantined(), kept);
        let attempts = bench.sent().len();
        assert!(attempts <= 3 + poison.len() * 14, "{attempts} for {poison:?}");
        // Each good report arrived exactly once.
        let script = bench.fake.0.lock().unwrap();
        let good = script.sent.iter().filter(|b| b.iter().all(|n| !script.poison.contains(n)));
        let mut good: Vec<u64> = good.flatten().copied().collect();
        good.sort_unstable();
        assert!(good.windows(2).all(|w| w[0] < w[1]));
    }
}

#[tokio::test]
async fn when_everything_is_refused_it_is_not_the_reports() {
    let mut bench = Bench::new(100).await;
    bench.script(|s| s.poison = (1..=100).collect());
    for _ in 0..3 {
        bench.pump.drain().await;
        assert_eq!(bench.state(), Condition::Hold);
        assert_eq!((bench.refused(), bench.totals().spooled), (0, 100));
        assert!(bench.quarantined().is_empty());
    }
    // The destination is mended: all arrives.
    bench.script(|s| s.poison.clear());
    bench.pump.drain().await;
    assert_eq!((bench.totals().delivered, bench.state()), (100, Condition::Ok));
}

#[tokio::test]
async fn nine_in_a_row_are_poison_if_the_tenth_is_taken() {
    let mut bench = Bench::new(20).await;
    bench.script(|s| s.poison = (5..14).collect());
    bench.pump.drain().await;
    assert_eq!((bench.refused(), bench.totals().delivered), (9, 11));
}

#[tokio::test]
async fn what_is_too_large_is_split_and_a_single_one_refused() {
    let mut bench = Bench::new(0).await;
    bench.script(|s| s.limit = Some(5000));
    bench.append(30, 1000).await;
    bench.append(1, 9000).await;
    bench.append(5, 1000).await;
    bench.pump.drain().await;
    let totals = bench.totals();
    assert_eq!((totals.delivered, bench.refused(), totals.spooled), (35, 1, 0));
    assert_eq!(bench.quarantined(), [31]);
    let attempts = bench.sent().len();
    assert!(attempts < 40, "the limit is learnt: {attempts}");
}

#[tokio::test]
async fn a_copy_takes_a_new_identity_and_sends_again() {
    let mut bench = Bench::new(3).await;
    let before = bench.spool.id();
    bench.script(|s| s.first = [Verdict::Cloned].into());
    bench.pump.drain().await;
    assert_ne!(bench.spool.id(), before);
    assert_eq!(bench.sent(), vec![vec![1, 2, 3]; 2]);
    let streams = bench.fake.0.lock().unwrap().streams.clone();
    assert_eq!(streams, [before, bench.spool.id()].into());
    assert_eq!(bench.totals().delivered, 3);
    // A destination that always says so is mistaken; it must not spin.
    bench.append(1, 1).await;
    bench.script(|s| s.first = vec![Verdict::Cloned; 10].into());
    bench.pump.drain().await;
    assert_eq!(bench.state(), Condition::Hold);
    assert_eq!(bench.sent().len(), 5);
}

#[tokio::test]
async fn it_runs_until_it_is_stopped_and_tries_once_more() {
    let bench = Bench::new(1).await;
    let stop = watch::Sender::new(Stop::No);
    let (spool, fake) = (bench.spool.clone(), bench.fake.clone());
    let counts = Counts { produced: 1, accepted: 1, rejected: [].into() };
    let plugin: crate::model::PluginName = "p".parse().unwrap();
    let late = NewReport {
        plugin,
        body: b"{\"a\":1}".into(),
        counts,
        skipped: 0,
        quarantine: QuarantineChange::default(),
    };
    let run = bench.pump.run(stop.subscribe());
    let watch = async {
        let until = Instant::now() + Duration::from_secs(10);
        while fake.0.lock().unwrap().sent.is_empty() {
            assert!(Instant::now() < until);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // The interval is over long before this one is sent, but for the last attempt.
        spool.append(late).unwrap().await.unwrap();
        let until = std::time::Instant::now() + Duration::from_secs(10);
        stop.send_replace(Stop::Draining { until });
    };
    tokio::time::timeout(Duration::from_secs(20), async { tokio::join!(run, watch) })
        .await
        .unwrap();
    let sent = fake.0.lock().unwrap().sent.concat();
    assert_eq!(sent, [1, 2]);
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_destination_that_hangs() {
    struct Hangs;
    impl Sink for Hangs {
        async fn send(&mut self, _: Batch<'_>) -> Verdict {
            std::future::pending().await
        }
    }
    let bench = Bench::new(1).await;
    let soon = std::time::Instant::now() + Duration::from_millis(50);
    for ending in [Stop::Now, Stop::Draining { until: soon }] {
        let mut settings = PumpSettings::new("main");
        settings.interval = Duration::ZERO;
        let (pump, _state) = Pump::new(bench.spool.clone(), settings, Hangs);
        let stop = watch::Sender::new(Stop::No);
        let run = pump.run(stop.subscribe());
        let end = async { stop.send_replace(ending) };
        let both = async { tokio::join!(run, end) };
        tokio::time::timeout(Duration::from_secs(10), both).await.unwrap();
    }
    assert_eq!(bench.totals().spooled, 1);
}
