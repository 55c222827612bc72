//! The spool from outside: what is acknowledged stays, and the counts add up.

#![expect(clippy::disallowed_methods, reason = "a test started again learns its part so")]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use talaia::model::{
    Counts, Excerpt, ExcerptForm, Extent, QuarantineItem, Receipt, Refused, Rejection,
    RejectionCode, Seq, Verdict,
};
use talaia::spool::{
    AppendError, Evicted, Health, Inspector, Ledger, NewReport, Options, OutputTotals, Pick,
    Pressure, QuarantineChange, Spool, SpoolError, Start, Window,
};
use tempfile::TempDir;

pub(crate) fn options(dir: &Path) -> Options {
    let mut options = Options::new(dir);
    options.min_free = 0;
    options.commit_interval = Duration::from_millis(1);
    options
}

pub(crate) fn report(plugin: &str, accepted: u64, rejected: u64, pad: usize) -> NewReport {
    let rejected: BTreeMap<_, _> = if rejected == 0 {
        BTreeMap::new()
    } else {
        [(RejectionCode::NameHyphen, rejected)].into()
    };
    let produced = accepted + rejected.values().sum::<u64>();
    let body = format!(r#"{{"plugin":"{plugin}","run":"r","x":"{}"}}"#, "x".repeat(pad));
    NewReport {
        plugin: plugin.parse().unwrap(),
        body: body.into_bytes(),
        counts: Counts { produced, accepted, rejected },
        skipped: 0,
        quarantine: QuarantineChange::default(),
    }
}

/// A record with a hyphen in its name.
pub(crate) fn refused_record(excerpt: &[u8]) -> QuarantineItem {
    let rejection = Rejection {
        code: RejectionCode::NameHyphen,
        path: "/a-b".to_owned(),
        line: 1,
        column: 2,
        value: "a-b".to_owned(),
        rule: None,
        message: "a hyphen".to_owned(),
        hint: "rename it to `a_b`".to_owned(),
    };
    let excerpt =
        Excerpt { form: ExcerptForm::Record, bytes: excerpt.into(), extent: Extent::Whole };
    QuarantineItem { rejection, excerpt }
}

pub(crate) fn receipt(output: &str, through: u64, refused: &[u64]) -> Receipt {
    let refused = refused
        .iter()
        .map(|seq| Refused {
            seq: Seq(*seq),
            code: "no".to_owned(),
            message: "will not take it".to_owned(),
        })
        .collect();
    Verdict::Delivered { refused }.receipt(output, Seq(through)).unwrap()
}

pub(crate) fn outputs(names: &[&str]) -> Vec<(String, Start)> {
    names.iter().map(|n| ((*n).to_owned(), Start::Now)).collect()
}

pub(crate) fn balanced(spool: &Spool) -> Ledger {
    let ledger = spool.ledger().unwrap();
    assert!(ledger.balances(), "{ledger:#?}");
    ledger
}

fn append(spool: &Spool, report: NewReport) -> Seq {
    spool.append(report).unwrap().wait().unwrap()
}

fn window(max_reports: usize) -> Window {
    Window::of(max_reports, 1 << 20)
}

/// Waits until `done`, at most ten seconds.
pub(crate) fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < until, "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn reports_come_out_as_they_went_in_and_are_freed_once_all_outputs_have_them() {
    let dir = TempDir::new().unwrap();
    let (spool, _) = Spool::open(options(dir.path())).unwrap();
    spool.set_outputs(&outputs(&["fast", "stuck"])).wait().unwrap();
    for n in 0..10 {
        assert_eq!(append(&spool, report("p", n, 1, 10)), Seq(n + 1));
    }
    assert_eq!(spool.highest(), Seq(10));
    let all = spool.read("fast", window(100)).unwrap();
    assert_eq!(all.len(), 10);
    assert_eq!(all[3].body, report("p", 3, 1, 10).body);
    assert_eq!(all[3].records, 3);
    assert_eq!(spool.read("fast", window(4)).unwrap().len(), 4);
    let two = Window { max_bytes: all[0].body.len() * 2, ..window(100) };
    assert_eq!(spool.read("fast", two).unwrap().len(), 2);
    let tiny = Window { max_bytes: 1, ..window(100) };
    assert_eq!(spool.read("fast", tiny).unwrap().len(), 1, "the first comes whatever its size");
    let some = Window { after: Seq(4), through: Some(Seq(6)), ..window(100) };
    let some: Vec<u64> = spool.read("fast", some).unwrap().iter().map(|r| r.seq.0).collect();
    assert_eq!(some, [5, 6]);
    assert!(spool.read("nobody", window(9)).unwrap().is_empty());

    spool.settle(receipt("fast", 10, &[])).wait().unwrap();
    let ledger = balanced(&spool);
    assert_eq!(ledger.outputs["fast"].delivered, 45);
    assert_eq!(ledger.outputs["stuck"].spooled, 45);
    assert_eq!(ledger.plugins["p"].rejected["name-hyphen"], 10);
    assert_eq!(spool.read("stuck", window(100)).unwrap().len(), 10, "the stuck one keeps them");

    // An old receipt, and one beyond what was ever given, change nothing they should not.
    spool.settle(receipt("fast", 3, &[])).wait().unwrap();
    spool.settle(receipt("stuck", 999, &[])).wait().unwrap();
    let inspector = Inspector::open(dir.path()).unwrap();
    eventually("freed", || inspector.status().unwrap().live_bytes == 0);
    assert_eq!(balanced(&spool).outputs["stuck"].delivered, 45);
    assert_eq!(append(&spool, report("p", 1, 0, 1)), Seq(11), "numbers are never used again");
}

#[test]
fn refused_reports_are_counted_and_kept_in_quarantine() {
    let dir = TempDir::new().unwrap();
    let (spool, _) = Spool::open(options(dir.path())).unwrap();
    spool.set_outputs(&outputs(&["main"])).wait().unwrap();
    let mut bad = report("p", 2, 1, 0);
    bad.quarantine.come.push(refused_record(b"{\"a-b\":1}"));
    append(&spool, bad);
    append(&spool, report("q", 5, 0, 0));
    append(&spool, report("q", 7, 0, 0));
    // 99 was never in this batch: it must not be counted.
    spool.settle(receipt("main", 2, &[2, 99])).wait().unwrap();
    let main = &balanced(&spool).outputs["main"];
    assert_eq!((main.delivered, main.spooled), (2, 7));
    assert_eq!(main.evicted[&Evicted::Refused], 5);
    let kept = Inspector::open(dir.path()).unwrap();
    let kept = kept.quarantine(&Pick::default(), 0, 10).unwrap();
    assert_eq!(kept.len(), 2);
    assert_eq!((kept[0].kind.as_str(), kept[0].code.as_str()), ("rejected", "name-hyphen"));
    assert_eq!((kept[1].kind.as_str(), kept[1].plugin.as_deref()), ("refused", Some("q")));
    assert_eq!(kept[0].excerpt, b"{\"a-b\":1}");
    assert!(kept.iter().all(|item| item.replayable().is_ok()));
    assert_eq!(kept[1].body, report("q", 5, 0, 0).body);
}

#[test]
fn outputs_come_and_go() {
    let dir = TempDir::new().unwrap();
    let (spool, _) = Spool::open(options(dir.path())).unwrap();
    // Without outputs reports are counted and not kept.
    append(&spool, report("p", 3, 0, 0));
    assert_eq!(balanced(&spool).plugins["p"].accepted, 3);
    spool.set_outputs(&outputs(&["a"])).wait().unwrap();
    append(&spool, report("p", 5, 0, 0));
    append(&spool, report("p", 7, 0, 0));
    spool.settle(receipt("a", 2, &[])).wait().unwrap();
    // `late` begins at what is there, `new` at what comes, and `a` leaves with 7 undelivered.
    let late = ("late".to_owned(), Start::Oldest);
    spool.set_outputs(&[late.clone(), ("new".to_owned(), Start::Now)]).wait().unwrap();
    append(&spool, report("p", 11, 0, 0));
    let ledger = balanced(&spool);
    assert_eq!(ledger.outputs["a"].evicted[&Evicted::OutputRemoved], 7);
    assert!(!ledger.outputs["a"].active);
    assert_eq!(ledger.outputs["new"].accepted, 11);
    assert!([18, 23].contains(&ledger.outputs["late"].accepted), "{ledger:?}");
    assert_eq!(ledger.outputs["late"].spooled, ledger.outputs["late"].accepted);
    // One that comes back goes on counting.
    spool.set_outputs(&[late, ("a".to_owned(), Start::Now)]).wait().unwrap();
    append(&spool, report("p", 13, 0, 0));
    let a = &balanced(&spool).outputs["a"];
    assert_eq!((a.accepted, a.delivered, a.spooled), (25, 5, 13));
}

#[test]
fn an_output_gets_what_comes_right_after_it_was_named() {
    // One commit may bring both, and where it does is a matter of luck.
    for start in [Start::Oldest, Start::Now].into_iter().cycle().take(40) {
        let dir = TempDir::new().unwrap();
        let (spool, _) = Spool::open(options(dir.path())).unwrap();
        let named = spool.set_outputs(&[("a".to_owned(), start)]);
        let kept = spool.append(report("p", 3, 0, 0)).unwrap();
        named.wait().unwrap();
        kept.wait().unwrap();
        assert_eq!(balanced(&spool).outputs["a"].accepted, 3, "{start:?}");
    }
}

#[test]
fn over_the_quota_the_oldest_go_first_and_a_stuck_output_does_not_stop_the_other() {
    let dir = TempDir::new().unwrap();
    let mut options = options(dir.path());
    options.quota = 200_000;
    let (spool, _) = Spool::open(options).unwrap();
    spool.set_outputs(&outputs(&["fast", "stuck"])).wait().unwrap();
    for n in 1..=100 {
        assert_eq!(append(&spool, report("p", 1, 0, 10_000)), Seq(n));
        spool.settle(receipt("fast", n, &[])).wait().unwrap();
    }
    let ledger = balanced(&spool);
    assert_eq!(ledger.outputs["fast"].delivered, 100);
    assert!(ledger.outputs["fast"].evicted.is_empty());
    let stuck: &OutputTotals = &ledger.outputs["stuck"];
    assert_eq!(stuck.spooled + stuck.evicted[&Evicted::Quota], 100);
    assert_eq!(stuck.spooled, 19, "200 000 bytes hold 19 of them");
    let left = spool.read("stuck", window(100)).unwrap();
    assert_eq!(left.first().unwrap().seq, Seq(82));
    // A receipt for something that was evicted while it was on its way.
    spool.settle(receipt("stuck", 50, &[])).wait().unwrap();
    assert_eq!(balanced(&spool).outputs["stuck"].delivered, 0);
    spool.settle(receipt("stuck", 90, &[])).wait().unwrap();
    assert_eq!(balanced(&spool).outputs["stuck"].delivered, 9);
}

#[test]
fn a_second_agent_is_told_whose_folder_it_is() {
    let dir = TempDir::new().unwrap();
    let (spool, _) = Spool::open(options(dir.path())).unwrap();
    match Spool::open(options(dir.path())).map(drop) {
        Err(SpoolError::InUse { pid, .. }) => assert_eq!(pid, Some(std::process::id())),
        other => panic!("{other:?}"),
    }
    assert!(Inspector::open(dir.path()).unwrap().status().is_ok(), "looking needs no lock");
    drop(spool);
    Spool::open(options(dir.path())).map(drop).unwrap();
}

#[test]
fn a_spool_of_another_machine_takes_a_new_identity() {
    let dir = TempDir::new().unwrap();
    let mut here = options(dir.path());
    here.machine_id = Some("aaaa".to_owned());
    let (spool, _) = Spool::open(here.clone()).unwrap();
    let (id, agent) = (spool.id(), spool.agent_id());
    drop(spool);
    let (spool, opened) = Spool::open(here.clone()).unwrap();
    assert_eq!((spool.id(), spool.agent_id()), (id, agent));
    assert!(opened.notices.is_empty());
    drop(spool);
    here.machine_id = Some("bbbb".to_owned());
    let (spool, opened) = Spool::open(here.clone()).unwrap();
    assert_ne!(spool.id(), id);
    assert_eq!(opened.notices.len(), 1);
    let there = spool.id();
    // Two pumps may ask for it at once; it happens once.
    let fresh = spool.new_identity(there).wait().unwrap();
    assert_ne!(fresh, there);
    assert_eq!(spool.new_identity(there).wait().unwrap(), fresh);
    assert_eq!(spool.id(), fresh);
    drop(spool);
    let (spool, opened) = Spool::open(here).unwrap();
    assert_eq!(spool.id(), fresh);
    assert!(opened.notices.is_empty());
}

#[test]
fn a_full_queue_is_pressure_first_and_an_error_then() {
    let dir = TempDir::new().unwrap();
    let mut options = options(dir.path());
    options.commit_interval = Duration::from_hours(1);
    options.queue_bytes = 100_000;
    let (spool, _) = Spool::open(options).unwrap();
    assert_eq!(spool.pressure(), Pressure::Low);
    let mut tickets = vec![spool.append(report("p", 1, 0, 60_000)).unwrap()];
    assert_eq!(spool.pressure(), Pressure::High);
    let full = spool.append(report("p", 1, 0, 60_000)).map(drop);
    assert!(matches!(full, Err(AppendError::Full { .. })), "{full:?}");
    assert_eq!(spool.overflowed(), 1);
    spool.flush().wait().unwrap();
    assert_eq!(spool.pressure(), Pressure::Low);
    tickets.push(spool.append(report("p", 1, 0, 200_000)).unwrap());
    spool.flush().wait().unwrap();
    for ticket in tickets {
        ticket.wait().unwrap();
    }
    let broken = NewReport { body: b"[1]".to_vec(), ..report("p", 1, 0, 0) };
    assert!(matches!(spool.append(broken), Err(AppendError::NotAnObject { .. })));
}

#[test]
fn followers_see_what_is_on_disk() {
    let dir = TempDir::new().unwrap();
    let (spool, _) = Spool::open(options(dir.path())).unwrap();
    let mut follower = spool.follow();
    append(&spool, report("p", 1, 0, 3));
    let seen = follower.blocking_recv().unwrap();
    assert_eq!((seen.seq, &seen.body), (Seq(1), &report("p", 1, 0, 3).body));
}

#[test]
fn a_large_backlog_opens_at_once() {
    let dir = TempDir::new().unwrap();
    let (spool, _) = Spool::open(options(dir.path())).unwrap();
    spool.set_outputs(&outputs(&["main"])).wait().unwrap();
    for _ in 0..100 {
        let batch: Vec<_> =
            (0..10).map(|_| spool.append(report("p", 1, 0, 100_000)).unwrap()).collect();
        for ticket in batch {
            ticket.wait().unwrap();
        }
    }
    drop(spool);
    let size = std::fs::metadata(dir.path().join("spool.db")).unwrap().len();
    assert!(size > 100_000_000, "{size}");
    let begin = Instant::now();
    let (spool, opened) = Spool::open(options(dir.path())).unwrap();
    let took = begin.elapsed();
    assert!(opened.notices.is_empty());
    assert!(took < Duration::from_millis(250), "{took:?}");
    println!("{size} bytes opened in {took:?}");
    assert_eq!(balanced(&spool).outputs["main"].spooled, 1000);
    assert_eq!(spool.read("main", window(3)).unwrap()[0].seq, Seq(1));
}

/// Not a test by itself: what `kill_at_any_moment_loses_nothing_acknowledged` runs and kills.
#[test]
fn child_that_writes_until_it_is_killed() {
    let Ok(dir) = std::env::var("TALAIA_TEST_SPOOL") else { return };
    let (spool, _) = Spool::open(options(Path::new(&dir))).unwrap();
    spool.set_outputs(&outputs(&["main"])).wait().unwrap();
    let begin = spool.highest().0;
    for n in 0_u64.. {
        let ticket = spool.append(report("p", 1 + n % 3, n % 2, 500)).unwrap();
        if n % 7 == 0 {
            println!("acknowledged {}", ticket.wait().unwrap());
        }
        if n % 40 == 39 {
            spool.settle(receipt("main", begin + n / 2, &[])).wait().unwrap();
        }
    }
}

#[test]
fn kill_at_any_moment_loses_nothing_acknowledged() {
    let dir = TempDir::new().unwrap();
    let mut highest = 0;
    for round in 0_u64..12 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "spool::child_that_writes_until_it_is_killed", "--nocapture"])
            .env("TALAIA_TEST_SPOOL", dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut acknowledged = 0;
        let enough = 1 + round * 5;
        let mut seen = 0;
        let mut note = |line: &str| {
            // The harness's own words may stand before ours on the line.
            if let Some((_, seq)) = line.split_once("acknowledged ")
                && let Ok(seq) = seq.trim().parse::<u64>()
            {
                acknowledged = seq;
                seen += 1;
            }
            seen
        };
        for line in lines.by_ref() {
            if note(&line.unwrap()) >= enough {
                break;
            }
        }
        // A different place in the commit each time.
        std::thread::sleep(Duration::from_micros(round * 317));
        child.kill().unwrap();
        child.wait().unwrap();
        // What it said before it died counts as well; the last line may be half a line.
        let rest: Vec<String> = lines.map_while(Result::ok).collect();
        for line in rest.iter().take(rest.len().saturating_sub(1)) {
            note(line);
        }
        assert!(acknowledged > highest, "the child wrote nothing");
        let (spool, opened) = Spool::open(options(dir.path())).unwrap();
        assert!(opened.notices.is_empty(), "{opened:?}");
        assert!(spool.highest().0 >= acknowledged, "{} < {acknowledged}", spool.highest());
        balanced(&spool);
        let left = spool.read("main", window(usize::MAX >> 1)).unwrap();
        assert!(left.windows(2).all(|w| w[0].seq.0 + 1 == w[1].seq.0), "a gap");
        assert_eq!(left.last().unwrap().seq, spool.highest());
        highest = spool.highest().0;
        drop(spool);
        let found = Inspector::open(dir.path()).unwrap().verify().unwrap();
        assert_eq!(found.findings, Vec::<String>::new());
    }
}

#[test]
fn a_really_full_file_system_costs_time_and_no_acknowledged_report() {
    let Some(disk) = SmallDisk::mount(4) else {
        eprintln!("skipped: only root can mount a small tmpfs");
        return;
    };
    let (spool, _) = Spool::open(options(disk.path())).unwrap();
    spool.set_outputs(&outputs(&["main"])).wait().unwrap();
    let mut health = spool.health();
    let mut tickets = Vec::new();
    while *health.borrow_and_update() == Health::Open {
        assert!(tickets.len() < 10_000);
        tickets.push(spool.append(report("p", 1, 0, 20_000)).unwrap());
        std::thread::sleep(Duration::from_micros(300));
    }
    // Somebody makes space, and all that was queued gets to the disk.
    disk.resize(64);
    let n = tickets.len() as u64;
    for ticket in tickets {
        ticket.wait().unwrap();
    }
    let ledger = balanced(&spool);
    assert_eq!((ledger.plugins["p"].runs, ledger.outputs["main"].spooled), (n, n));
    drop(spool);
}

/// A file system of a few MiB, gone when dropped.
pub(crate) struct SmallDisk(TempDir);

impl SmallDisk {
    /// `None` where only somebody else may mount.
    pub(crate) fn mount(mib: u32) -> Option<Self> {
        let dir = TempDir::new().unwrap();
        let size = format!("size={mib}m");
        let done = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "none"])
            .arg(dir.path())
            .stderr(Stdio::null())
            .status();
        done.is_ok_and(|s| s.success()).then_some(Self(dir))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn resize(&self, mib: u32) {
        let size = format!("remount,size={mib}m");
        let done = Command::new("mount").args(["-o", &size]).arg(self.path()).status().unwrap();
        assert!(done.success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg(self.path()).status());
    }
}
