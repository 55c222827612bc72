//! The whole agent on disks that fill up, cannot be written or come back damaged: it goes on, says
//! so, and its ledger balances.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::spool::SmallDisk;
use crate::support::{PATIENCE, Site};

/// `EX_IOERR`: how an agent ends that cannot have its spool.
const DISK_OR_LOCK: i32 = 74;

/// An agent with one plugin whose data is on a disk of its own.
struct Bench {
    site: Site,
    disk: SmallDisk,
}

impl Bench {
    /// `None`, and it is said, where nobody may mount one.
    #[expect(clippy::print_stdout, reason = "what was not tested must be seen")]
    fn new(mib: u32) -> Option<Self> {
        let Some(disk) = SmallDisk::mount(mib) else {
            println!("NOT TESTED: only root can mount the small disk that this takes");
            return None;
        };
        let site = Site::new();
        let script = site.script(
            "count",
            "awk 'BEGIN { for (i = 0; i < 300; i++) printf \"{\\\"m%d\\\":%d}\\n\", i, i }'",
        );
        let config = format!(
            "[agent]\ndata_dir = \"{data}\"\nhost = \"h\"\nself_metrics = false\n\
             spool = {{ commit_interval = \"5ms\", min_free = \"0B\" }}\n[hub]\nenabled = false\n\
             [outputs.dead]\ntype = \"talaia\"\nurl = \"http://127.0.0.1:1\"\n\
             key = {{ file = \"hub.key\" }}\nproxy = false\nstart = \"oldest\"\n\
             [plugins.count]\ncommand = [\"{script}\"]\ninterval = \"100ms\"\ntimeout = \"5s\"\n",
            data = disk.path().join("data").display(),
            script = script.display(),
        );
        site.write("hub.key", "k3y", 0o600);
        site.write("talaia.toml", config, 0o600);
        Some(Self { site, disk })
    }

    fn runs(&self) -> u64 {
        let status = self.site.until("a status", Site::status);
        status["plugins"]["count"]["runs"].as_u64().unwrap()
    }

    /// Waits for `n` more runs on disk.
    fn more_runs(&self, n: u64) {
        let before = self.runs();
        self.site.until("more runs", |_| (self.runs() >= before + n).then_some(()));
    }

    /// Somebody else takes all the space, until the file is removed.
    fn fill(&self) -> std::path::PathBuf {
        let path = self.disk.path().join("somebody.else");
        let mut file = fs::File::create(&path).unwrap();
        std::io::copy(&mut std::io::repeat(b'x'), &mut file).unwrap_err();
        path
    }

    fn remount(&self, how: &str) {
        let options = format!("remount,{how}");
        let done = Command::new("mount").args(["-o", &options]).arg(self.disk.path()).status();
        assert!(done.unwrap().success());
    }

    /// Waits for the agent to end by itself.
    fn ends(&mut self, pid: u32) -> Option<i32> {
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            if let Some(status) = self.site.ended(pid) {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("it does not end:\n{}", self.site.read("agent.log"));
    }
}

/// Everything that was produced is spooled. The runs of it.
fn all_spooled(ledger: &Value) -> u64 {
    let dead = &ledger["outputs"]["dead"];
    assert_eq!(dead["evicted"], serde_json::json!({}), "{ledger}");
    assert_eq!(dead["spooled"], ledger["plugins"]["count"]["accepted"], "{ledger}");
    ledger["plugins"]["count"]["runs"].as_u64().unwrap()
}

/// How many runs the log tells of, also of one that was stopped before it printed anything.
fn shown(site: &Site) -> usize {
    let log = site.read("agent.log");
    log.lines().filter(|line| line.contains(" count ") && line.contains(" metrics")).count()
}

impl Bench {
    /// Fills the disk and waits until the agent has seen it. Returns what fills it.
    fn fill_until_it_is_seen(&mut self) -> std::path::PathBuf {
        self.more_runs(3);
        let path = self.fill();
        self.site.until("the spool to notice", |site| {
            site.read("agent.log").contains("the spool cannot be written").then_some(())
        });
        path
    }
}

#[test]
fn while_the_disk_is_full_runs_wait_in_memory_and_none_is_lost() {
    let Some(mut bench) = Bench::new(16) else { return };
    let pid = bench.site.start_agent();
    let path = bench.fill_until_it_is_seen();
    let before = shown(&bench.site);
    bench.site.until("runs all the same", |site| (shown(site) > before + 3).then_some(()));
    fs::remove_file(path).unwrap();
    bench.site.until("the spool to be written again", |site| {
        site.read("agent.log").contains("the spool is written again").then_some(())
    });
    bench.more_runs(3);
    assert!(bench.site.stop(pid).success());
    let runs = shown(&bench.site) as u64;
    assert_eq!(all_spooled(&bench.site.ledger()), runs, "every run that was shown is on disk");
}

/// The spool tries again only now and then; a stop does not rely on that.
#[test]
fn a_stop_just_after_there_is_space_again_saves_what_waited() {
    let Some(mut bench) = Bench::new(16) else { return };
    let pid = bench.site.start_agent();
    let path = bench.fill_until_it_is_seen();
    // By then its next attempt is seconds away.
    let before = shown(&bench.site);
    bench.site.until("runs all the same", |site| (shown(site) > before + 50).then_some(()));
    fs::remove_file(path).unwrap();
    assert!(bench.site.stop(pid).success(), "{}", bench.site.read("agent.log"));
    let runs = shown(&bench.site) as u64;
    assert_eq!(all_spooled(&bench.site.ledger()), runs, "every run that was shown is on disk");
}

#[test]
fn an_agent_that_cannot_start_on_a_full_disk_starts_when_there_is_space() {
    let Some(mut bench) = Bench::new(8) else { return };
    let pid = bench.site.start_agent();
    bench.more_runs(2);
    assert!(bench.site.stop(pid).success());
    let path = bench.fill();
    let pid = bench.site.start_agent();
    assert_eq!(bench.ends(pid), Some(DISK_OR_LOCK));
    let log = bench.site.read("agent.log");
    assert!(log.contains("the spool cannot be used"), "{log}");
    fs::remove_file(path).unwrap();
    let pid = bench.site.start_agent();
    bench.more_runs(3);
    assert!(bench.site.stop(pid).success());
    all_spooled(&bench.site.ledger());
}

#[test]
fn a_read_only_disk_is_said_and_left_as_it_is() {
    let Some(mut bench) = Bench::new(8) else { return };
    let pid = bench.site.start_agent();
    bench.more_runs(3);
    assert!(bench.site.stop(pid).success());
    let runs = all_spooled(&bench.site.ledger());
    let file = bench.disk.path().join("data/spool.db");
    let before = fs::read(&file).unwrap();
    bench.remount("ro");
    let pid = bench.site.start_agent();
    assert_eq!(bench.ends(pid), Some(DISK_OR_LOCK));
    let log = bench.site.read("agent.log").to_lowercase();
    assert!(log.contains("read-only"), "{log}");
    assert_eq!(fs::read(&file).unwrap(), before);
    bench.remount("rw");
    let pid = bench.site.start_agent();
    bench.more_runs(1);
    assert!(bench.site.stop(pid).success());
    assert!(all_spooled(&bench.site.ledger()) > runs);
}

#[test]
fn damage_between_two_starts_is_said_counted_and_costs_no_start() {
    let Some(mut bench) = Bench::new(32) else { return };
    let data = bench.disk.path().join("data");
    for damage in ["garbage page", "torn log", "no log", "zero length"] {
        let pid = bench.site.start_agent();
        bench.more_runs(3);
        bench.site.kill(pid);
        let (file, log) = (data.join("spool.db"), data.join("spool.db-wal"));
        match damage {
            "garbage page" => {
                let mut bytes = fs::read(&file).unwrap();
                let middle = (bytes.len() / 2) & !4095;
                bytes[middle..middle + 4096].fill(0xa5);
                fs::write(&file, bytes).unwrap();
            }
            "torn log" => {
                let bytes = fs::read(&log).unwrap();
                fs::write(&log, &bytes[..bytes.len() * 2 / 3]).unwrap();
            }
            "no log" => fs::remove_file(&log).unwrap(),
            _ => drop(fs::File::create(&file).unwrap()),
        }
        let pid = bench.site.start_agent();
        bench.more_runs(2);
        let status = bench.site.status().unwrap();
        assert!(bench.site.stop(pid).success(), "{damage}");
        // Both equations hold; what was lost is counted, and what is counted was said.
        let ledger = bench.site.ledger();
        let damaged = ledger["outputs"]["dead"]["evicted"]["damaged"].as_u64().unwrap_or(0);
        let log = bench.site.read("agent.log");
        assert!(damaged == 0 || log.contains("was damaged"), "{damage}: {ledger}\n{log}");
        if damage == "garbage page" && damaged > 0 {
            let lost = status["outputs"]["dead"]["lost"]["damaged"].as_u64();
            assert_eq!(lost, Some(damaged), "a loss of this start: {status}");
        }
    }
    let log = bench.site.read("agent.log");
    assert!(log.contains("it has only 0 bytes"), "{log}");
}
