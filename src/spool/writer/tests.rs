use std::fs;

use tempfile::TempDir;

use crate::model::Counts;
use crate::spool::{NewReport, Options, QuarantineChange, Spool, Start, Ticket, queue::Queue};

use super::*;

/// A writer without its thread, so that each step can be looked at.
struct Bench {
    dir: TempDir,
    writer: Writer,
}

impl Bench {
    fn new(change: impl FnOnce(&mut Options)) -> Self {
        let dir = TempDir::new().unwrap();
        let mut options = Options::new(dir.path());
        options.min_free = 0;
        change(&mut options);
        let path = schema::file(dir.path());
        let (db, _) = Db::open(&path, None).unwrap();
        let shared = Arc::new(Shared {
            queue: Queue::new(options.queue_bytes),
            durable: tokio::sync::watch::Sender::new(Seq(0)),
            health: tokio::sync::watch::Sender::new(Health::Open),
            identity: tokio::sync::watch::Sender::new(db.identity()),
            follow: tokio::sync::broadcast::channel(4).0,
            short: false.into(),
            openings: 0.into(),
            path,
            options,
        });
        let writer = Writer {
            shared,
            db: Some(db),
            reports: VecDeque::new(),
            expected: None,
            failures: 0,
            blocked: None,
            more: false,
            grown: false,
            guard_at: Instant::now(),
            ages_at: Instant::now(),
            quarantine_at: Instant::now(),
        };
        let mut bench = Self { dir, writer };
        bench.set_outputs(&["main"]);
        bench
    }

    fn set_outputs(&mut self, names: &[&str]) {
        let outputs = names.iter().map(|n| ((*n).to_owned(), Start::Now)).collect();
        let (done, _) = tokio::sync::oneshot::channel();
        self.writer.turn(vec![Command::SetOutputs { outputs, done }]);
    }

    fn queue(&self, bytes: usize) -> Ticket {
        let body = format!("{{\"x\":\"{}\"}}", "y".repeat(bytes)).into_bytes();
        let counts = Counts { produced: 1, accepted: 1, rejected: [].into() };
        let plugin = "p".parse().unwrap();
        let quarantine = QuarantineChange::default();
        self.writer
            .shared
            .queue
            .append(NewReport { plugin, body, counts, skipped: 0, quarantine })
            .unwrap()
    }

    /// Takes what is queued and lets the writer have a go at it.
    fn turn(&mut self) {
        let work = self.writer.shared.queue.take(Duration::ZERO, Some(Instant::now()), None);
        self.writer.reports.extend(work.reports);
        self.writer.blocked = None;
        self.writer.turn(work.commands);
    }

    fn ledger(&self) -> crate::spool::Ledger {
        let ledger =
            crate::spool::Inspector::open(self.dir.path()).unwrap().status().unwrap().ledger;
        assert!(ledger.balances(), "{ledger:?}");
        ledger
    }

    fn evicted(&self, reason: Evicted) -> u64 {
        self.ledger().outputs["main"].evicted.get(&reason).copied().unwrap_or_default()
    }
}

#[test]
fn a_full_disk_keeps_reports_in_memory_until_it_has_space() {
    let mut bench = Bench::new(|_| {});
    let pages: i64 = {
        let db = &bench.writer.db.as_ref().unwrap().connection;
        let pages: i64 = db.pragma_query_value(None, "page_count", |r| r.get(0)).unwrap();
        // SQLite itself then says that the disk is full.
        db.pragma_update_and_check(None, "max_page_count", pages + 4, |r| r.get(0)).unwrap()
    };
    assert!(pages > 4);
    let first = bench.queue(100);
    bench.turn();
    assert_eq!(first.wait(), Ok(Seq(1)));

    let second = bench.queue(100_000);
    bench.turn();
    let Health::Closed { why } = bench.writer.shared.health.borrow().clone() else {
        panic!("the spool is open")
    };
    assert!(why.contains("full"), "{why}");
    assert_eq!(bench.writer.reports.len(), 1);
    assert_eq!(bench.ledger().plugins["p"].runs, 1);

    // The new connection has no limit: space is back.
    bench.turn();
    assert_eq!(second.wait(), Ok(Seq(2)));
    assert_eq!(*bench.writer.shared.health.borrow(), Health::Open);
    assert_eq!(bench.ledger().outputs["main"].spooled, 2);
}

#[test]
fn requests_are_answered_while_the_database_is_closed() {
    let mut bench = Bench::new(|_| {});
    bench.writer.close("no disk".to_owned());
    let (done, reply) = tokio::sync::oneshot::channel();
    bench.writer.turn(vec![Command::Flush { done }]);
    let reply = reply.blocking_recv().unwrap();
    assert!(matches!(reply, Err(SpoolError::Closed { why }) if why == "no disk"));
}

#[test]
fn a_flush_tries_a_closed_database_at_once() {
    let mut bench = Bench::new(|_| {});
    bench.writer.close("no disk".to_owned());
    bench.writer.blocked = Some(Instant::now() + Duration::from_secs(3600));
    let ticket = bench.queue(10);
    let queue = &bench.writer.shared.queue;
    let flushed = queue.command(|done| Command::Flush { done });
    let work = queue.take(Duration::ZERO, None, bench.writer.blocked);
    assert_eq!(bench.writer.attend(work), Then::GoOn);
    assert!(flushed.wait().is_ok());
    assert_eq!(ticket.wait(), Ok(Seq(1)));
}

#[test]
fn a_commit_that_happened_after_all_is_not_done_twice() {
    let mut bench = Bench::new(|_| {});
    let ticket = bench.queue(10);
    let work = bench.writer.shared.queue.take(Duration::ZERO, None, None);
    bench.writer.reports = work.reports;
    // The transaction lands, and the writer believes that its flush failed.
    let reports = &bench.writer.reports;
    let db = bench.writer.db.as_mut().unwrap();
    db.commit(|tx, state| store::append(tx, state, reports)).unwrap();
    bench.writer.expected = Some(1);
    bench.writer.close("disk I/O error".to_owned());

    bench.turn();
    assert_eq!(ticket.wait(), Ok(Seq(1)));
    assert_eq!(bench.ledger().plugins["p"].runs, 1);
    assert_eq!(bench.ledger().outputs["main"].spooled, 1);
}

#[test]
fn damage_met_in_use_moves_the_file_aside_and_keeps_the_queue() {
    let mut bench = Bench::new(|_| {});
    bench.queue(10).wait_in(&mut bench);
    bench.writer.db.as_ref().unwrap().connection.execute_batch("DROP TABLE reports").unwrap();
    let ticket = bench.queue(10);
    bench.turn();
    // The second turn is the loop's own: it does not wait while it holds reports.
    bench.turn();
    assert_eq!(ticket.wait(), Ok(Seq(1)), "numbers begin again under a new identity");
    assert_eq!(bench.evicted(Evicted::Damaged), 1);
    assert_eq!(bench.ledger().plugins["p"].runs, 2);
    let aside = fs::read_dir(bench.dir.path())
        .unwrap()
        .filter(|e| {
            e.as_ref().unwrap().file_name().to_string_lossy().starts_with("spool.db.damaged-")
        })
        .count();
    assert!(aside >= 1);
}

impl Ticket {
    fn wait_in(self, bench: &mut Bench) {
        bench.turn();
        self.wait().unwrap();
    }
}

#[test]
fn a_short_file_system_shrinks_the_spool_to_its_least_and_no_further() {
    let mut bench = Bench::new(|o| o.min_free = u64::MAX);
    for _ in 0..24 {
        let tickets: Vec<Ticket> = (0..8).map(|_| bench.queue(100_000)).collect();
        bench.turn();
        for ticket in tickets {
            ticket.wait().unwrap();
        }
    }
    let mut looks = 0;
    while bench.writer.guard().unwrap() {
        looks += 1;
        assert!(looks < 100);
        bench.ledger();
    }
    let live = bench.writer.db.as_ref().unwrap().state.live();
    assert!(live <= LEAST && live > LEAST - 200_000, "{live}");
    assert!(bench.evicted(Evicted::DiskFull) > 90);
    let file = fs::metadata(schema::file(bench.dir.path())).unwrap().len();
    assert!(file < LEAST + (1 << 20), "space was given back: {file}");
}

#[test]
fn age_is_measured_on_the_spools_own_clock() {
    let mut bench = Bench::new(|o| o.max_age = Some(Duration::from_hours(1)));
    bench.queue(10).wait_in(&mut bench);
    // Half an hour of being open passes, a report comes, and half an hour again.
    bench.writer.db.as_mut().unwrap().clock_then += 1_800_000;
    bench.queue(10).wait_in(&mut bench);
    bench.writer.maintain().unwrap();
    assert_eq!(bench.evicted(Evicted::Age), 0);
    bench.writer.db.as_mut().unwrap().clock_then += 1_800_001;
    bench.writer.ages_at = Instant::now();
    bench.writer.maintain().unwrap();
    assert_eq!(bench.evicted(Evicted::Age), 1);
    assert_eq!(bench.ledger().outputs["main"].spooled, 1);
}

#[test]
fn what_is_delivered_is_deleted_in_chunks_and_space_given_back() {
    let mut bench = Bench::new(|_| {});
    let tickets: Vec<Ticket> = (0..1500).map(|_| bench.queue(10_000)).collect();
    bench.turn();
    drop(tickets);
    let before = fs::metadata(schema::file(bench.dir.path())).unwrap().len();
    bench.set_outputs(&[]);
    bench.writer.maintain().unwrap();
    let db = bench.writer.db.as_ref().unwrap();
    assert_eq!(db.state.live(), 0);
    assert!(db.free_pages().unwrap() <= SPARE_PAGES);
    db.checkpoint().unwrap();
    let after = fs::metadata(schema::file(bench.dir.path())).unwrap().len();
    assert!(after < 10 << 20, "{before} to {after}");
    assert_eq!(bench.evicted(Evicted::OutputRemoved), 1500);
}

#[test]
fn closing_commits_what_is_queued() {
    let dir = TempDir::new().unwrap();
    let mut options = Options::new(dir.path());
    options.commit_interval = Duration::from_hours(1);
    let (spool, opened) = Spool::open(options.clone()).unwrap();
    assert_eq!(opened, Opened::default());
    let counts = Counts { produced: 2, accepted: 2, rejected: [].into() };
    let plugin = "p".parse().unwrap();
    let report = NewReport {
        plugin,
        body: b"{\"a\":1}".into(),
        counts,
        skipped: 3,
        quarantine: QuarantineChange::default(),
    };
    let ticket = spool.append(report).unwrap();
    drop(spool);
    assert_eq!(ticket.wait(), Ok(Seq(1)));
    let (spool, _) = Spool::open(options).unwrap();
    let totals = &spool.ledger().unwrap().plugins["p"];
    assert_eq!((totals.runs, totals.skipped, totals.produced), (1, 3, 2));
}

#[test]
fn damage_that_is_told_twice_is_mended_once_and_costs_nothing() {
    let mut bench = Bench::new(|_| {});
    for _ in 0..3 {
        let ticket = bench.queue(100);
        bench.turn();
        ticket.wait().unwrap();
    }
    let path = schema::file(bench.dir.path());
    let other = Connection::open(&path).unwrap();
    other.execute("UPDATE outputs SET delivered = -1", []).unwrap();
    drop(other);
    // Two readers met it, before the writer looked.
    for _ in 0..2 {
        let why = "a count of -1".to_owned();
        bench.writer.turn(vec![Command::Broken { why, opening: 0 }]);
    }
    assert_eq!(bench.ledger().outputs["main"].spooled, 3);
    let files = fs::read_dir(bench.dir.path()).unwrap().map(|file| file.unwrap().file_name());
    let aside = files.filter(|name| name.to_string_lossy().contains("damaged")).count();
    assert_eq!(aside, 0);
}

#[test]
fn a_receipt_that_came_before_its_output_was_removed_counts() {
    let mut bench = Bench::new(|_| {});
    let ticket = bench.queue(100);
    bench.turn();
    ticket.wait().unwrap();
    let (settled, _) = tokio::sync::oneshot::channel();
    let (removed, _) = tokio::sync::oneshot::channel();
    let receipt = crate::model::Verdict::Delivered { refused: Vec::new() };
    let receipt = receipt.receipt("main", Seq(1)).unwrap();
    bench.writer.turn(vec![
        Command::Settle { receipt, done: settled },
        Command::SetOutputs { outputs: Vec::new(), done: removed },
    ]);
    let ledger = bench.ledger();
    assert_eq!((ledger.outputs["main"].delivered, ledger.outputs["main"].evicted.len()), (1, 0));
}
