//! Whatever was done to the file, the agent starts, says so, and goes on counting.

#![expect(clippy::disallowed_methods, reason = "damage is written as it comes")]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use talaia::model::{AgentId, Seq};
use talaia::spool::{
    Evicted, Inspector, Ledger, Notice, Opened, Options, Spool, SpoolError, Start, Window,
};
use tempfile::TempDir;

use crate::fuzz::{At, FIGURES, alter};
use crate::spool::{balanced, eventually, options, outputs, receipt, report};

/// A closed spool with 40 undelivered records of 60.
fn spool_with_a_backlog(pad: usize) -> TempDir {
    let dir = TempDir::new().unwrap();
    let (spool, _) = Spool::open(options(dir.path())).unwrap();
    spool.set_outputs(&outputs(&["main"])).wait().unwrap();
    for _ in 0..60 {
        spool.append(report("p", 1, 0, pad)).unwrap().wait().unwrap();
    }
    spool.settle(receipt("main", 20, &[])).wait().unwrap();
    dir
}

fn file(dir: &TempDir) -> PathBuf {
    dir.path().join("spool.db")
}

/// Opens what was damaged, checks that it works, and returns what was said.
fn reopen(dir: &TempDir) -> (Spool, Opened) {
    let (spool, opened) = Spool::open(options(dir.path())).unwrap();
    spool.set_outputs(&[("main".to_owned(), Start::Oldest)]).wait().unwrap();
    let seq = spool.append(report("p", 1, 0, 10)).unwrap().wait().unwrap();
    let window = Window::of(1000, 1 << 20);
    assert_eq!(spool.read("main", window).unwrap().last().unwrap().seq, seq);
    balanced(&spool);
    (spool, opened)
}

fn moved(opened: &Opened) -> (&Path, Option<u64>) {
    match &opened.notices[..] {
        [Notice::MovedAside { to, lost, why }] => {
            assert!(!why.is_empty());
            assert!(to.exists(), "{}", to.display());
            (to, *lost)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn no_file_at_all_is_a_first_start() {
    let dir = spool_with_a_backlog(100);
    fs::remove_file(file(&dir)).unwrap();
    let (_spool, opened) = reopen(&dir);
    assert!(opened.notices.is_empty());
}

#[test]
fn an_empty_file_was_cut() {
    let dir = spool_with_a_backlog(100);
    fs::File::create(file(&dir)).unwrap();
    let (_spool, opened) = reopen(&dir);
    assert_eq!(moved(&opened).1, None);
}

#[test]
fn a_truncated_file() {
    for keep in [50, 3000, 9000, 40_000] {
        let dir = spool_with_a_backlog(2000);
        let open = fs::OpenOptions::new().write(true).open(file(&dir)).unwrap();
        open.set_len(keep).unwrap();
        let (_spool, opened) = reopen(&dir);
        moved(&opened);
    }
}

#[test]
fn a_header_of_rubbish() {
    let dir = spool_with_a_backlog(100);
    let mut bytes = fs::read(file(&dir)).unwrap();
    bytes[..100].fill(0x5a);
    fs::write(file(&dir), &bytes).unwrap();
    let (_spool, opened) = reopen(&dir);
    let (to, lost) = moved(&opened);
    assert_eq!(lost, None);
    assert_eq!(fs::read(to).unwrap(), bytes, "kept as it was");
}

#[test]
fn a_database_of_somebody_else() {
    let dir = spool_with_a_backlog(100);
    let mut bytes = fs::read(file(&dir)).unwrap();
    bytes[68..72].fill(7);
    fs::write(file(&dir), &bytes).unwrap();
    let (_spool, opened) = reopen(&dir);
    moved(&opened);
}

#[test]
fn a_folder_in_its_place() {
    let dir = TempDir::new().unwrap();
    fs::create_dir(file(&dir)).unwrap();
    let (_spool, opened) = reopen(&dir);
    assert!(moved(&opened).0.is_dir());
}

#[test]
fn pages_of_rubbish_in_a_small_file_are_found_when_it_is_opened_and_the_ledger_goes_on() {
    let dir = spool_with_a_backlog(2000);
    let before = Inspector::open(dir.path()).unwrap().status().unwrap();
    let mut bytes = fs::read(file(&dir)).unwrap();
    // The last pages belong to reports; the ledger's tables are older.
    let end = bytes.len();
    bytes[end - 4 * 4096..].fill(0xa5);
    fs::write(file(&dir), bytes).unwrap();
    let (spool, opened) = reopen(&dir);
    assert_eq!(moved(&opened).1, Some(40));
    let main = &balanced(&spool).outputs["main"];
    assert_eq!((main.accepted, main.delivered), (61, 20));
    assert_eq!(main.evicted[&Evicted::Damaged], 40);
    assert_eq!(spool.agent_id(), before.agent, "the agent is the same");
    assert_ne!(spool.id(), before.spool, "its numbers begin again, so the stream is another");
    assert_eq!(spool.highest(), Seq(1));
}

#[test]
fn pages_of_rubbish_in_a_large_file_are_found_when_they_are_read() {
    let dir = spool_with_a_backlog(400_000);
    let mut bytes = fs::read(file(&dir)).unwrap();
    assert!(bytes.len() > 20_000_000);
    // Somewhere among the reports, and beyond the pages of the counters.
    let (from, to) = (bytes.len() / 2, bytes.len() - 4096);
    bytes[from..to].fill(0xa5);
    fs::write(file(&dir), bytes).unwrap();
    let (spool, opened) = Spool::open(options(dir.path())).unwrap();
    assert!(opened.notices.is_empty(), "{opened:?}");
    // Reading until it is noticed: the file makes way, or each bad report is passed by.
    eventually("everything readable", || {
        let read = spool.read("main", Window::of(10, 1 << 20));
        let Ok(reports) = read else { return false };
        if let Some(last) = reports.last() {
            spool.settle(receipt("main", last.seq.0, &[])).wait().ok();
        }
        // While the file is being replaced there is none to read.
        match spool.ledger() {
            Ok(ledger) => {
                assert!(ledger.balances(), "{ledger:?}");
                ledger.outputs["main"].spooled == 0
            }
            Err(error) => {
                println!("for now: {error:?}");
                false
            }
        }
    });
    let main = &balanced(&spool).outputs["main"];
    assert_eq!(main.accepted, 60);
    assert!(main.evicted[&Evicted::Damaged] > 0);
    spool.append(report("p", 1, 0, 10)).unwrap().wait().unwrap();
    assert_eq!(balanced(&spool).outputs["main"].spooled, 1);
}

#[test]
fn one_flipped_byte_in_a_body_costs_that_report() {
    let dir = spool_with_a_backlog(2000);
    let mut bytes = fs::read(file(&dir)).unwrap();
    let run = bytes.windows(500).rposition(|w| w.iter().all(|b| *b == b'x')).unwrap();
    bytes[run + 250] = b'y';
    fs::write(file(&dir), bytes).unwrap();
    let (spool, opened) = Spool::open(options(dir.path())).unwrap();
    assert!(opened.notices.is_empty(), "no structure is damaged: {opened:?}");
    let reports = spool.read("main", Window::of(1000, 1 << 20)).unwrap();
    assert_eq!(reports.len(), 39);
    spool.settle(receipt("main", 60, &[])).wait().unwrap();
    let main = &balanced(&spool).outputs["main"];
    assert_eq!((main.delivered, main.evicted[&Evicted::Damaged]), (59, 1));
}

/// SQLite has no checksum of a row, so a flipped bit in a counter is a number like any other.
#[test]
fn a_wrong_count_costs_no_report() {
    let cases = || {
        FIGURES.into_iter().flat_map(|place| {
            let rows: &[At] = if place.0 == "reports" {
                &[At::First, At::Middle, At::Last]
            } else {
                &[At::First]
            };
            rows.iter().flat_map(move |at| BY.map(|by| (place, *at, by)))
        })
    };
    for waiting in [40, 1] {
        let whole = spool_with_a_backlog(100);
        let (spool, _) = Spool::open(careful(&whole)).unwrap();
        spool.append(report("p", 1, 2, 100)).unwrap().wait().unwrap();
        spool.settle(receipt("main", 21, &[21])).wait().unwrap();
        spool.settle(receipt("main", 61 - waiting, &[])).wait().unwrap();
        let (before, agent) = (balanced(&spool), spool.agent_id());
        drop(spool);
        let db = rusqlite::Connection::open(file(&whole)).unwrap();
        db.execute("INSERT INTO damaged VALUES (40, 1)", []).unwrap();
        drop(db);
        for (place, at, by) in cases() {
            let dir = TempDir::new().unwrap();
            fs::copy(file(&whole), file(&dir)).unwrap();
            alter(dir.path(), place, at, &format!("{} + {by}", place.1));
            let what = format!("{waiting} waiting: {place:?} {at:?} by {by}");
            costs_no_report(&dir, waiting as usize, &what, place, &before, agent);
        }
    }
}

fn careful(dir: &TempDir) -> Options {
    Options { max_age: Some(DAY), ..options(dir.path()) }
}

fn costs_no_report(
    dir: &TempDir,
    waiting: usize,
    what: &str,
    (table, column): (&str, &str),
    before: &Ledger,
    agent: AgentId,
) {
    let (spool, opened) = Spool::open(careful(dir)).unwrap();
    let aside = |notice: &Notice| matches!(notice, Notice::MovedAside { .. });
    assert!(!opened.notices.iter().any(aside), "{what}: {opened:?}");
    assert_eq!(spool.agent_id(), agent, "{what}");
    // After a commit, which evicts what is too much.
    spool.set_outputs(&outputs(&["main"])).wait().unwrap();
    spool.flush().wait().unwrap();
    let ledger = balanced(&spool);
    let evicted = |reason| ledger.outputs["main"].evicted.get(&reason).copied();
    assert_eq!((evicted(Evicted::Quota), evicted(Evicted::Age)), (None, None), "{what}");
    // What follows from other numbers is as it was.
    if matches!(table, "state" | "reports") || matches!(column, "active" | "cursor_records") {
        assert_eq!(&ledger, before, "{what}");
    }
    let undelivered = spool.read("main", Window::of(1000, 1 << 20)).unwrap();
    let damaged = usize::from(column == "crc");
    assert!(undelivered.len() + damaged >= waiting, "{what}: {undelivered:?}");
    // A further output that begins at the oldest, and numbers that go on.
    let both = ["main", "new"].map(|name| (name.to_owned(), Start::Oldest));
    spool.set_outputs(&both).wait().unwrap();
    let last = spool.append(report("p", 1, 0, 10)).unwrap().wait().unwrap();
    assert!(last >= Seq(62), "{what}");
    let read = spool.read("main", Window::of(1000, 1 << 20)).unwrap();
    assert_eq!(read.last().map(|report| report.seq), Some(last), "{what}");
    for name in ["main", "new"] {
        spool.settle(receipt(name, last.0, &[])).wait().unwrap();
        assert_eq!(balanced(&spool).outputs[name].spooled, 0, "{what}");
    }
}

const DAY: Duration = Duration::from_hours(24);

const BY: [i64; 9] = [1, -1, 64, -64, 1 << 30, 1 << 40, -1 << 40, i64::MAX >> 1, i64::MIN + 1000];

#[test]
fn figures_that_are_put_right_are_said() {
    let dir = spool_with_a_backlog(100);
    alter(dir.path(), ("outputs", "delivered"), At::First, "delivered + 4");
    let (spool, opened) = reopen(&dir);
    let [said] = &opened.notices[..] else { panic!("{opened:?}") };
    let said = said.to_string();
    assert!(said.contains("output `main` (accepted 60, delivered 24)"), "{said}");
    assert_eq!(balanced(&spool).outputs["main"].accepted, 41);
    drop(spool);
    let (_, opened) = Spool::open(options(dir.path())).unwrap();
    assert!(opened.notices.is_empty(), "once: {opened:?}");
}

#[test]
fn when_all_that_is_left_is_damaged_the_cursor_passes_it() {
    let dir = spool_with_a_backlog(2000);
    {
        let (spool, _) = Spool::open(options(dir.path())).unwrap();
        spool.settle(receipt("main", 59, &[])).wait().unwrap();
    }
    let mut bytes = fs::read(file(&dir)).unwrap();
    let mut at = 0;
    while let Some(run) = bytes[at..].windows(500).position(|w| w.iter().all(|b| *b == b'x')) {
        at += run + 250;
        bytes[at] = b'y';
    }
    fs::write(file(&dir), bytes).unwrap();
    let (spool, _) = Spool::open(options(dir.path())).unwrap();
    assert!(spool.read("main", Window::of(1000, 1 << 20)).unwrap().is_empty());
    spool.flush().wait().unwrap();
    let main = &balanced(&spool).outputs["main"];
    assert_eq!((main.delivered, main.spooled, main.evicted[&Evicted::Damaged]), (59, 0, 1));
}

#[test]
fn a_log_of_rubbish_is_ignored() {
    let dir = spool_with_a_backlog(100);
    fs::write(dir.path().join("spool.db-wal"), vec![0xa5; 50_000]).unwrap();
    let (spool, opened) = reopen(&dir);
    assert!(opened.notices.is_empty());
    assert_eq!(balanced(&spool).outputs["main"].spooled, 41);
}

#[test]
fn a_newer_file_is_refused_untouched() {
    let dir = spool_with_a_backlog(100);
    let mut bytes = fs::read(file(&dir)).unwrap();
    bytes[60..64].copy_from_slice(&7_u32.to_be_bytes());
    fs::write(file(&dir), &bytes).unwrap();
    let error = Spool::open(options(dir.path())).map(drop).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, SpoolError::Newer { found: 7, .. }), "{error:?}");
    assert!(text.contains(&format!("install talaia {}", env!("CARGO_PKG_VERSION"))), "{text}");
    assert_eq!(fs::read(file(&dir)).unwrap(), bytes);
    assert!(!dir.path().join("spool.db-wal").exists());
}

#[test]
fn a_folder_that_cannot_be_written_is_an_error_that_names_it() {
    let dir = TempDir::new().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o500)).unwrap();
    if fs::File::create(dir.path().join("probe")).is_ok() {
        eprintln!("root writes everywhere; a file in place of the folder stands for it");
        let place = dir.path().join("file");
        fs::write(&place, "x").unwrap();
        let error = Spool::open(options(&place)).map(drop).unwrap_err();
        assert!(error.to_string().contains(place.to_str().unwrap()), "{error}");
        return;
    }
    let error = Spool::open(options(dir.path())).map(drop).unwrap_err();
    assert!(error.to_string().contains(dir.path().to_str().unwrap()), "{error}");
}

#[test]
fn looking_where_no_agent_ever_ran() {
    let dir = TempDir::new().unwrap();
    let error = Inspector::open(dir.path()).map(drop).unwrap_err();
    assert!(matches!(error, SpoolError::Absent { .. }), "{error:?}");
}

#[test]
fn files_are_for_their_owner_alone() {
    let dir = TempDir::new().unwrap();
    let inside = dir.path().join("data");
    let (spool, _) = Spool::open(options(&inside)).unwrap();
    spool.append(report("p", 1, 0, 10)).unwrap().wait().unwrap();
    for name in ["", "spool.db", "spool.db-wal", "agent.lock"] {
        let mode = fs::metadata(inside.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{name}: {mode:o}");
    }
}
