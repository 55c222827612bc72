//! What strangers can put in: output of plugins, configs and damaged files, at random. (Bodies of
//! uploads are in `hub::fuzz`.)
//!
//! Each subject runs for `TALAIA_FUZZ_SECONDS`; what fails names the `TALAIA_FUZZ_SEED` that repeats it.

#![expect(clippy::disallowed_methods, reason = "its switches, and damage as it comes")]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseResult, TestRng, TestRunner};
use serde_json::json;
use talaia::config::{self, Color, Env, Source};
use talaia::decode::End;
use talaia::spool::{Spool, SpoolError, Start};
use tempfile::TempDir;

use crate::decode::{open_judge, run_with};
use crate::spool::{balanced, eventually, options, outputs, receipt, report};

const SECONDS: u64 = 2;

/// Cases of one seed.
const CASES: u32 = 4;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// Runs `check` on what `strategy` gives, over and over, until the time is over.
#[expect(clippy::print_stdout, reason = "the seed that repeats it")]
pub(crate) fn fuzz<S: Strategy>(
    subject: &str,
    strategy: &S,
    check: impl Fn(S::Value) -> TestCaseResult,
) {
    let seed = setting("TALAIA_FUZZ_SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        now.as_nanos() as u64 % 1_000_000_000
    });
    let end =
        Instant::now() + Duration::from_secs(setting("TALAIA_FUZZ_SECONDS").unwrap_or(SECONDS));
    let mut cases = 0;
    for seed in seed.. {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        let config = Config {
            cases: CASES,
            failure_persistence: None,
            max_shrink_time: 20_000,
            ..Config::default()
        };
        let outcome = TestRunner::new_with_rng(config, rng).run(strategy, &check);
        if let Err(error) = outcome {
            panic!("{subject}: TALAIA_FUZZ_SEED={seed}\n{error}");
        }
        cases += CASES;
        if Instant::now() >= end {
            break;
        }
    }
    println!("{subject}: {cases} cases from TALAIA_FUZZ_SEED={seed} on");
}

/// One change to bytes, at a place that is a share of their length.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Flip(Index, u8),
    Cut(Index, Index),
    Double(Index, Index),
    Insert(Index, Vec<u8>),
    End(Index),
}

/// Changes, with `words` to insert.
pub(crate) fn changes(words: &'static [&'static str]) -> impl Strategy<Value = Vec<Change>> {
    let insert = prop_oneof![
        3 => select(words).prop_map(|word| word.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 1..5),
    ];
    let one = prop_oneof![
        3 => (any::<Index>(), 1_u8..).prop_map(|(at, with)| Change::Flip(at, with)),
        2 => (any::<Index>(), any::<Index>()).prop_map(|(at, to)| Change::Cut(at, to)),
        1 => (any::<Index>(), any::<Index>()).prop_map(|(at, to)| Change::Double(at, to)),
        4 => (any::<Index>(), insert).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        1 => any::<Index>().prop_map(Change::End),
    ];
    prop::collection::vec(one, 1..6)
}

/// A stretch of at most a hundred bytes.
fn stretch(at: Index, to: Index, length: usize) -> std::ops::Range<usize> {
    let begin = at.index(length);
    begin..(begin + 1 + to.index(100)).min(length)
}

pub(crate) fn apply(changes: &[Change], mut bytes: Vec<u8>) -> Vec<u8> {
    for change in changes {
        let length = bytes.len();
        if length == 0 {
            break;
        }
        match change {
            Change::Flip(at, with) => bytes[at.index(length)] ^= with,
            Change::Cut(at, to) => drop(bytes.drain(stretch(*at, *to, length))),
            Change::Double(at, to) => {
                let range = stretch(*at, *to, length);
                let again = bytes[range.clone()].to_vec();
                bytes.splice(range.start..range.start, again);
            }
            Change::Insert(at, what) => {
                let at = at.index(length);
                bytes.splice(at..at, what.iter().copied());
            }
            Change::End(at) => bytes.truncate(at.index(length)),
        }
    }
    bytes
}

const JSON: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "\\u",
    "\\ud800",
    "\n",
    "\r\n",
    "\u{feff}",
    "null",
    "true",
    "NaN",
    "-Infinity",
    "1e999",
    "-0",
    "0.1",
    "18446744073709551616",
    "\"name\":",
    "\"value\":",
    "\"type\":\"counter\"",
    "\"metrics\":[",
    "\"metrics\":{",
    "\"plugins\":{",
    "\"time\":",
    "\"tags\":{\"a\":\"b\"}",
    "\"metric-one\":1",
    "{\"a\":1}\n",
    "é",
    "\u{0}",
];

const PRINTED: &[&str] = &[
    "{\"load1\":0.42,\"users\":3,\"raid_ok\":true,\"kernel\":\"6.1\"}\n",
    "{\"metrics\":[{\"name\":\"disk_used\",\"value\":71.2,\"type\":\"percent\",\"unit\":\"%\",\"label\":\"Disk\",\
     \"tags\":{\"mount\":\"/\"},\"warn\":\"80\",\"crit\":\"@10:20\",\"min\":0,\"max\":100,\
     \"time\":\"2026-11-22T20:42:09Z\"}],\"status\":\"warning\",\"message\":\"/ is filling up\",\"tags\":{\"a\":\"b\"}}\n",
    "{\"metrics\":{\"metric_1\":{\"row_name\":\"Row 1\",\"metric_name\":\"metric1\",\"value\":100,\"type\":\"integer\"}}}\n",
    "[{\"name\":\"a\",\"value\":1},{\"name\":\"b\",\"value\":null},\n {\"metric_name\":\"c\",\"value\":\"x\"}]\n",
    "plain words\nand more\n{\"a\":{\"b\":[1,2]}}\n{\"name\":\"x\",\"value\":1,\"type\":\"integer\"}",
];

fn printed() -> impl Strategy<Value = (Vec<u8>, bool)> {
    let soup =
        prop::collection::vec(select(JSON), 0..60).prop_map(|parts| parts.concat().into_bytes());
    let noise = prop::collection::vec(any::<u8>(), 0..200);
    let changed = (prop::collection::vec(select(PRINTED), 1..4), changes(JSON))
        .prop_map(|(texts, changes)| apply(&changes, texts.concat().into_bytes()));
    (prop_oneof![2 => soup, 1 => noise, 4 => changed], any::<bool>())
}

/// No output of a program makes the decoder or the judge panic, every record is counted once
/// (`run_with` asserts it), and what was accepted is accepted again as it is, when it is printed
/// in the full form.
#[test]
fn whatever_a_program_prints_is_counted_and_reads_back() {
    fuzz("decode", &printed(), |(output, whole)| {
        let end = if whole { End::Whole } else { End::Cut };
        let judged = run_with(&mut open_judge(), &output, end);
        let again = serde_json::to_vec(&json!({"metrics": judged.metrics})).unwrap();
        let second = run_with(&mut open_judge(), &again, End::Whole);
        prop_assert_eq!(&second.rejected, &vec![]);
        prop_assert_eq!(&second.metrics, &judged.metrics);
        Ok(())
    });
}

const TOML: &[&str] = &[
    "[",
    "]",
    "[[",
    "=",
    "\"",
    "'",
    "'''",
    "#",
    ".",
    ",",
    "{",
    "}",
    "\n",
    "[plugins.x]\n",
    "[agent]\n",
    "[outputs.x]\n",
    "command = []\n",
    "interval = \"0s\"\n",
    "cron = \"* * * * *\"\n",
    "true",
    "-1",
    "99999999999999999999",
    "1979-05-27T07:32:00Z",
    "\\u{",
    "include = [\"*\"]\n",
    "\u{feff}",
    "é",
];

/// No text makes the loader panic, and every error says where it is.
#[test]
fn whatever_is_in_a_config_is_said_with_its_place() {
    let dir = TempDir::new().unwrap();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/talaia.toml");
    let rich = "include = [\"plugins.d/*.toml\"]\n[agent]\nhost = \"web-1\"\ndata_dir = \"d\"\n\
        tags = { env = \"prod\" }\nspool = { quota = \"8MiB\", max_age = \"1d\" }\n\
        [plugins.disk]\ncommand = [\"disk.sh\", \"-x\"]\ninterval = \"30s\"\ntimeout = \"10s\"\n\
        config = { mounts = [\"/\"], password = { file = \"pw\" } }\nenv = { LC_ALL = \"C\" }\n\
        limits = { stdout = \"1MiB\" }\n[plugins.disk.metrics.disk_used]\ntype = \"percent\"\n\
        [plugins.cron]\ncommand = \"x | y\"\nshell = true\ncron = \"*/5 * * * *\"\ntimezone = \"UTC\"\n\
        [outputs.main]\ntype = \"talaia\"\nurl = \"https://hub.example.org\"\nkey = { env = \"TALAIA_KEY\" }\n\
        [outputs.file]\ntype = \"file\"\npath = \"out\"\n[hub]\nenabled = true\nlisten = \"127.0.0.1:7180\"\n";
    let bases =
        [config::DEFAULT.to_owned(), fs::read_to_string(examples).unwrap(), rich.to_owned()];
    let texts = prop_oneof![
        6 => (select(bases.to_vec()), changes(TOML)).prop_map(|(text, changes)| apply(&changes, text.into_bytes())),
        1 => prop::collection::vec(select(TOML), 0..40).prop_map(|parts| parts.concat().into_bytes()),
        1 => prop::collection::vec(any::<u8>(), 0..100),
    ];
    let mut env = Env::system();
    env.cwd = dir.path().to_owned();
    env.vars = [("HOME", "/nonexistent"), ("TALAIA_KEY", "k3y")]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
    fuzz("config", &texts, |text| {
        let file = dir.path().join("talaia.toml");
        fs::write(&file, &text).unwrap();
        let said = match config::load(&Source::File(file), &env) {
            Ok(loaded) => {
                loaded.problems.iter().for_each(drop);
                return Ok(());
            }
            Err(errors) => errors,
        };
        prop_assert!(said.count() > 0 && !said.list().is_empty());
        let shown = said.render(Color::Never);
        prop_assert!(shown.contains("talaia.toml"), "no place in:\n{}", shown);
        prop_assert!(!shown.contains("k3y"), "a secret in:\n{}", shown);
        Ok(())
    });
}

/// The counters of a spool: table and column.
pub(crate) const FIGURES: [(&str, &str); 25] = [
    ("state", "records"),
    ("state", "bytes"),
    ("state", "freed_bytes"),
    ("state", "quarantine_bytes"),
    ("reports", "records"),
    ("reports", "through_records"),
    ("reports", "through_bytes"),
    ("reports", "clock"),
    ("reports", "crc"),
    ("quarantine", "clock"),
    ("damaged", "records"),
    ("outputs", "active"),
    ("outputs", "cursor"),
    ("outputs", "cursor_records"),
    ("outputs", "accepted"),
    ("outputs", "delivered"),
    ("outputs", "filtered"),
    ("evicted", "records"),
    ("plugins", "runs"),
    ("plugins", "skipped"),
    ("plugins", "produced"),
    ("plugins", "accepted"),
    ("rejected", "records"),
    ("state", "last_seq"),
    ("state", "clock"),
];

/// The words by which a spool counts.
const WORDS: [(&str, &str); 6] = [
    ("outputs", "name"),
    ("evicted", "output"),
    ("evicted", "reason"),
    ("plugins", "name"),
    ("rejected", "plugin"),
    ("rejected", "code"),
];

/// What happens to the files of a spool.
#[derive(Debug, Clone)]
enum Damage {
    Changes { log: bool, changes: Vec<Change> },
    Page { at: Index, with: u8 },
    Bits { at: Vec<(Index, u8)> },
    Figure { place: (&'static str, &'static str), at: At, by: i64 },
    Word { place: (&'static str, &'static str) },
    Empty { log: bool },
    NoLog,
    NoIndex,
    OnlyLog,
}

fn damage() -> impl Strategy<Value = Vec<Damage>> {
    // A bit that flips in a number.
    let by =
        prop_oneof![(0..63_u32).prop_map(|bit| 1 << bit), (0..63_u32).prop_map(|bit| -1 << bit)];
    let one = prop_oneof![
        2 => (any::<bool>(), changes(&["\0", "SQLite"])).prop_map(|(log, changes)| Damage::Changes { log, changes }),
        3 => (any::<Index>(), any::<u8>()).prop_map(|(at, with)| Damage::Page { at, with }),
        4 => prop::collection::vec((any::<Index>(), 1_u8..), 1..20).prop_map(|at| Damage::Bits { at }),
        4 => (select(&FIGURES), select(&[At::First, At::Middle, At::Last]), by).prop_map(|(place, at, by)| Damage::Figure { place, at, by }),
        1 => select(&WORDS).prop_map(|place| Damage::Word { place }),
        1 => any::<bool>().prop_map(|log| Damage::Empty { log }),
        1 => Just(Damage::NoLog),
        1 => Just(Damage::NoIndex),
        1 => Just(Damage::OnlyLog),
    ];
    prop::collection::vec(one, 1..3)
}

/// A row of a table: the first, one in the middle or the last.
#[derive(Debug, Clone, Copy)]
pub(crate) enum At {
    First,
    Middle,
    Last,
}

/// Changes a row through SQLite, which sees nothing wrong in it; none where the file is damaged already.
pub(crate) fn alter(dir: &Path, (table, column): (&str, &str), at: At, to: &str) {
    let Ok(db) = rusqlite::Connection::open(dir.join("spool.db")) else { return };
    let key = match table {
        "reports" | "damaged" => "seq",
        "quarantine" | "state" => "id",
        "evicted" => "reason",
        "rejected" => "code",
        _ => "name",
    };
    let row = match at {
        At::First => format!("(SELECT min({key}) FROM {table})"),
        At::Middle => {
            format!(
                "(SELECT {key} FROM {table} ORDER BY {key}
                  LIMIT 1 OFFSET (SELECT count(*) / 2 FROM {table}))"
            )
        }
        At::Last => format!("(SELECT max({key}) FROM {table})"),
    };
    drop(db.execute(&format!("UPDATE {table} SET {column} = {to} WHERE {key} = {row}"), []));
}

fn inflict(dir: &Path, damage: &Damage) {
    let file = |log: bool| dir.join(if log { "spool.db-wal" } else { "spool.db" });
    let change = |path: &Path, change: &dyn Fn(Vec<u8>) -> Vec<u8>| {
        if let Ok(bytes) = fs::read(path)
            && !bytes.is_empty()
        {
            fs::write(path, change(bytes)).unwrap();
        }
    };
    match damage {
        Damage::Changes { log, changes } => {
            change(&file(*log), &|bytes| apply(changes, bytes));
        }
        Damage::Page { at, with } => change(&file(false), &|mut bytes| {
            let begin = at.index(bytes.len()) & !4095;
            let end = (begin + 4096).min(bytes.len());
            bytes[begin..end].fill(*with);
            bytes
        }),
        Damage::Bits { at } => change(&file(false), &|mut bytes| {
            for (at, with) in at {
                let at = at.index(bytes.len());
                bytes[at] ^= with;
            }
            bytes
        }),
        Damage::Figure { place: (table, column), at, by } => {
            alter(dir, (table, column), *at, &format!("{column} + {by}"));
        }
        Damage::Word { place: (table, column) } => {
            let to = format!("replace({column}, 'e', 'd') || 'x'");
            alter(dir, (table, column), At::First, &to);
        }
        Damage::Empty { log } => change(&file(*log), &|_| Vec::new()),
        Damage::NoLog => drop(fs::remove_file(file(true))),
        Damage::NoIndex => drop(fs::remove_file(dir.join("spool.db-shm"))),
        Damage::OnlyLog => drop(fs::remove_file(file(false))),
    }
}

/// The files as a kill leaves them: a database, and a log that is not in it yet.
fn image() -> TempDir {
    let (dir, image) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (spool, _) = Spool::open(options(dir.path())).unwrap();
    spool.set_outputs(&outputs(&["main"])).wait().unwrap();
    let append = |pad| spool.append(report("p", 1, 1, pad)).unwrap().wait().unwrap();
    for n in 0..60 {
        append(n * 40);
    }
    spool.settle(receipt("main", 20, &[7])).wait().unwrap();
    drop(spool);
    let (spool, _) = Spool::open(options(dir.path())).unwrap();
    for n in 0..20 {
        spool.append(report("p", 1, 0, n * 100)).unwrap().wait().unwrap();
    }
    for name in ["spool.db", "spool.db-wal", "spool.db-shm"] {
        fs::copy(dir.path().join(name), image.path().join(name)).unwrap();
    }
    image
}

/// Whatever was done to its files, the spool opens, takes reports, and its ledger balances; or, as
/// it must, it leaves a file alone that says to be of a newer version.
#[test]
fn whatever_is_done_to_the_files_the_spool_opens() {
    let image = image();
    fuzz("spool", &damage(), |damages| {
        let dir = TempDir::new().unwrap();
        for name in ["spool.db", "spool.db-wal", "spool.db-shm"] {
            fs::copy(image.path().join(name), dir.path().join(name)).unwrap();
        }
        for damage in &damages {
            inflict(dir.path(), damage);
        }
        let spool = match Spool::open(options(dir.path())) {
            Ok((spool, _)) => spool,
            Err(SpoolError::Newer { .. }) => return Ok(()),
            Err(error) => return Err(TestCaseError::fail(format!("{error:?}"))),
        };
        // Damage that shows only in use makes the file give way: what was asked meanwhile is
        // refused, and asked again.
        let before = spool.highest();
        eventually("an output", || {
            spool.set_outputs(&[("main".to_owned(), Start::Oldest)]).wait().is_ok()
        });
        let ticket = spool.append(report("p", 1, 0, 10)).unwrap();
        eventually("a report on disk, or a new file", || {
            let highest = spool.highest();
            highest > before || (highest < before && highest.0 > 0)
        });
        prop_assert!(ticket.wait().is_ok());
        eventually("all read", || {
            let window = talaia::spool::Window::of(1000, 1 << 20);
            let Ok(reports) = spool.read("main", window) else { return false };
            if let Some(last) = reports.last() {
                // Refused while the file gives way; asked again with what is read next.
                drop(spool.settle(receipt("main", last.seq.0, &[])).wait());
                return false;
            }
            spool.ledger().is_ok_and(|ledger| ledger.outputs["main"].spooled == 0)
        });
        let ledger = balanced(&spool);
        prop_assert!(ledger.plugins["p"].accepted >= 1);
        Ok(())
    });
}
