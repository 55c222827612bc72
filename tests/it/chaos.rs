//! Everything at once: an agent and a hub as processes of their own, a network that fails between
//! them, plugins that misbehave, a disk that fills up, reloads, stops, and `kill -9` of either at
//! random moments. At the end the books must balance, every accepted report must be in the hub
//! once, and no process may be left.
//!
//! `TALAIA_CHAOS_SEED` repeats the plan of a run (what is done, in which order and after which
//! waits; the scheduler still has its own mind), `TALAIA_CHAOS_ROUNDS` sets its length.

mod plugins;
mod proxy;
mod survivors;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use rustix::process::Signal;
use serde_json::Value;

use crate::spool::SmallDisk;
use crate::support::{Site, http};
use plugins::{HONEST, Part};
use proxy::{Proxy, Weather};
use survivors::Search;

const ROUNDS: u64 = 20;

/// The agent's disk, in MiB: larger than the spool's quota, small enough to be filled at once.
const DISK: u32 = 48;

/// `EX_IOERR`: how an agent ends that cannot have its spool.
const DISK_OR_LOCK: i32 = 74;

/// Numbers by a seed: the same ones for the same seed.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next one, from 0 to below `n`.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        // SplitMix64: every seed, also 0, gives a good sequence.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    pub(crate) fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from))
    }
}

/// The dropping order matters: processes end before the disk under them goes.
struct Chaos {
    site: Site,
    search: Search,
    proxy: Proxy,
    disk: Option<SmallDisk>,
    dice: Dice,
    done: BTreeMap<&'static str, u64>,
    agent: Option<u32>,
    hub: Option<u32>,
}

impl Chaos {
    fn new(seed: u64) -> Self {
        let site = Site::new();
        let nap = format!("86{:06}.25", seed % 1_000_000);
        plugins::write(&site, &nap);
        let proxy = Proxy::start(site.path("hub/credentials.json"), Dice::new(!seed));
        let search = Search::new(format!("{}/", site.path("").display()), nap);
        let disk = SmallDisk::mount(DISK);
        let (dice, done) = (Dice::new(seed), BTreeMap::new());
        let mut chaos = Self { site, search, proxy, disk, dice, done, agent: None, hub: None };
        chaos.start_hub();
        let key = chaos.site.until("the hub's key", |site| Some(credentials(site)?.1));
        chaos.site.write("hub.key", key, 0o600);
        chaos.configure(Part::All);
        chaos.start_agent();
        chaos
    }

    fn data_dir(&self) -> PathBuf {
        self.disk.as_ref().map_or_else(|| self.site.path("data"), |disk| disk.path().join("data"))
    }

    fn configure(&self, part: Part) {
        let talaia = |url: &str| {
            format!(
                "type = \"talaia\"\nurl = \"{url}\"\nkey = {{ file = \"hub.key\" }}\n\
                 proxy = false\ninterval = \"100ms\"\ntimeout = \"1s\"\nstart = \"oldest\"\n"
            )
        };
        let config = format!(
            "[agent]\ndata_dir = \"{data}\"\nhost = \"chaos\"\nstop_timeout = \"3s\"\n\
             self_metrics = {own}\n\
             spool = {{ commit_interval = \"5ms\", min_free = \"0B\", quota = \"2MiB\" }}\n\
             [hub]\nenabled = false\n\
             [outputs.hub]\n{hub}\
             [outputs.dead]\n{dead}\
             [outputs.file]\ntype = \"file\"\npath = \"reports.ndjson\"\nrotate = \"64GiB\"\n\
             start = \"oldest\"\n{plugins}",
            data = self.data_dir().display(),
            // The agent's reports on itself are reports like any other.
            own = if part == Part::None { "false" } else { "\"1s\"" },
            hub = talaia(&self.proxy.url),
            // A port that nobody but root may have, and nobody has.
            dead = talaia("http://127.0.0.1:1"),
            plugins = plugins::tables(&self.site, part),
        );
        self.site.write("talaia.toml", config, 0o600);
    }

    fn count(&mut self, what: &'static str) {
        *self.done.entry(what).or_default() += 1;
    }

    fn start_agent(&mut self) {
        if self.agent.is_none() {
            self.agent = Some(self.site.start_agent());
        }
    }

    fn start_hub(&mut self) {
        if self.hub.is_none() {
            let folder = self.site.path("hub");
            let words = ["hub", "--listen", "127.0.0.1:0", "--data-dir", folder.to_str().unwrap()];
            let command = self.site.command(&words);
            self.hub = Some(self.site.start(command, "hub.log"));
        }
    }

    fn kill_agent(&mut self) {
        if let Some(pid) = self.agent.take() {
            self.site.kill(pid);
            self.count("kill -9 of the agent");
        }
    }

    fn kill_hub(&mut self) {
        if let Some(pid) = self.hub.take() {
            self.site.kill(pid);
            self.count("kill -9 of the hub");
        }
    }

    fn wait(&mut self, from: u64, to: u64) {
        let time = self.dice.millis(from, to);
        std::thread::sleep(time);
    }

    /// Neither ends by itself.
    fn both_live(&mut self) {
        for (name, pid) in [("agent", self.agent), ("hub", self.hub)] {
            let ended = pid.and_then(|pid| self.site.ended(pid));
            let log = || self.site.read(&format!("{name}.log"));
            assert!(ended.is_none(), "the {name} ended by itself, {ended:?}:\n{}", log());
        }
    }

    fn round(&mut self) {
        let weather = match self.dice.below(10) {
            0..5 => Weather::Mixed,
            5..8 => Weather::Calm,
            8 => Weather::Dark,
            _ => Weather::Storm,
        };
        self.proxy.set(weather);
        if self.dice.below(6) == 0 {
            self.reload();
        }
        if self.dice.below(10) == 0 {
            self.fill_the_disk();
        }
        self.wait(100, 800);
        self.both_live();
        match self.dice.below(100) {
            0..35 => self.kill_agent(),
            35..50 => self.kill_hub(),
            50..60 => {
                self.kill_hub();
                self.kill_agent();
            }
            60..72 => {
                self.kill_agent();
                self.start_agent();
                // While it starts.
                self.wait(0, 80);
                self.kill_agent();
            }
            72..80 => {
                self.kill_hub();
                self.start_hub();
                self.wait(0, 40);
                self.kill_hub();
            }
            80..92 => {
                if let Some(pid) = self.agent {
                    // While it stops.
                    self.site.signal(pid, Signal::TERM);
                    self.wait(0, 250);
                    self.kill_agent();
                }
            }
            _ => {
                self.stop_agent();
                self.kill_hub();
            }
        }
        self.start_hub();
        self.start_agent();
    }

    fn stop_agent(&mut self) {
        let Some(pid) = self.agent.take() else { return };
        // Before it listens, `TERM` ends it as it ends any process, and nothing of it is to be saved.
        self.site.until("an agent that listens", |_| listens_for(pid, Signal::TERM).then_some(()));
        let begin = Instant::now();
        let status = self.site.stop(pid);
        assert!(status.success(), "{status}:\n{}", self.site.read("agent.log"));
        // Three seconds for the runs, five for the last flush and the last uploads, and a slow
        // machine.
        assert!(begin.elapsed() < Duration::from_secs(20), "a stop took {:?}", begin.elapsed());
        self.count("stop of the agent");
    }

    fn reload(&mut self) {
        let part = if self.dice.below(2) == 0 { Part::Half } else { Part::All };
        self.configure(part);
        // Also while it starts: from its first moments on, a signal to reload does not end it.
        if let Some(pid) = self.agent {
            self.site
                .until("an agent that listens", |_| listens_for(pid, Signal::HUP).then_some(()));
            self.site.signal(pid, Signal::HUP);
            self.count("reload");
        }
    }

    /// Somebody else takes all the space there is, and gives it back.
    fn fill_the_disk(&mut self) {
        let Some(disk) = &self.disk else { return };
        let path = disk.path().join("somebody.else");
        let mut file = fs::File::create(&path).unwrap();
        // It ends with an error, which is the point.
        let full = std::io::copy(&mut std::io::repeat(b'x'), &mut file).unwrap_err();
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
        drop(file);
        self.count("disk full");
        self.wait(100, 900);
        if self.dice.below(2) == 0 {
            self.kill_agent();
            self.start_agent();
            self.wait(100, 500);
        }
        fs::remove_file(path).unwrap();
        // One that could not start says so, and does when there is space.
        if let Some(pid) = self.agent
            && let Some(status) = self.site.ended(pid)
        {
            assert_eq!(status.code(), Some(DISK_OR_LOCK), "{}", self.site.read("agent.log"));
            self.agent = None;
            self.start_agent();
        }
    }

    /// Calm, until all that was accepted is where it should be.
    fn drain(&mut self) {
        self.proxy.set(Weather::Calm);
        self.kill_agent();
        self.configure(Part::None);
        self.start_hub();
        self.start_agent();
        self.site.until("an empty spool", |site| {
            let status = site.status()?;
            assert_eq!(status["leaks"], 0, "{status}");
            let left = |output: &str| status["outputs"][output]["spooled"].as_u64();
            (left("hub")? == 0 && left("file")? == 0).then_some(())
        });
        self.stop_agent();
    }
}

/// Whether a process has a handler for a signal; also when it has ended, and nobody ever will know.
fn listens_for(pid: u32, signal: Signal) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    // Signal number 1 is the lowest bit.
    let bit = 1 << (signal.as_raw() - 1);
    caught.is_none_or(|mask| u64::from_str_radix(mask.trim(), 16).is_ok_and(|mask| mask & bit != 0))
}

/// Address and key of the hub as it wrote them.
fn credentials(site: &Site) -> Option<(String, String)> {
    let text: Value = serde_json::from_str(&site.read("hub/credentials.json")).ok()?;
    Some((text["url"].as_str()?.to_owned(), text["key"].as_str()?.to_owned()))
}

fn ask(site: &Site, path: &str) -> Option<Value> {
    let (url, key) = credentials(site)?;
    let (status, body) = http(&url, path, Some(&key))?;
    (status == 200).then(|| serde_json::from_str(&body).unwrap())
}

/// What the ledger says against what the hub and the file have.
#[derive(Default)]
struct Balance {
    produced: u64,
    runs: u64,
    lost: u64,
    twice: u64,
    evicted: BTreeMap<String, u64>,
}

fn sum(counts: &Value) -> u64 {
    counts.as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum()
}

/// Per plugin the run ids in the file, and the numbers of the honest ones.
fn in_the_file(site: &Site) -> BTreeMap<String, (BTreeSet<String>, BTreeSet<i64>)> {
    let mut found: BTreeMap<String, (BTreeSet<String>, BTreeSet<i64>)> = BTreeMap::new();
    for line in site.read("reports.ndjson").lines() {
        let report: Value = serde_json::from_str(line).unwrap();
        let plugin = report["plugin"].as_str().unwrap().to_owned();
        let (runs, numbers) = found.entry(plugin).or_default();
        runs.insert(report["run"].as_str().unwrap().to_owned());
        let metrics = report["metrics"].as_array().unwrap();
        numbers.extend(
            metrics.iter().filter(|m| m["name"] == "n").map(|m| m["value"].as_i64().unwrap()),
        );
    }
    found
}

/// The numbers of an honest plugin in the hub, as often as they are there.
fn in_the_hub(site: &Site, plugin: &str) -> Vec<i64> {
    let path = format!("/api/v1/points?host=chaos&plugin={plugin}&name=n&from=0&limit=100000");
    let page = site.until("the hub's points", |site| ask(site, &path));
    assert_eq!(page["next"], Value::Null, "more points than one page");
    let series = page["series"].as_array().unwrap();
    let points = series.iter().flat_map(|series| series["points"].as_array().unwrap());
    points.map(|point| point[1].as_i64().unwrap()).collect()
}

fn balance(site: &Site) -> Balance {
    // Both equations of the ledger are checked by this.
    let ledger = site.ledger();
    let mut balance = Balance::default();
    let hub = &ledger["outputs"]["hub"];
    let evicted = sum(&hub["evicted"]);
    for (name, output) in ledger["outputs"].as_object().unwrap() {
        for (reason, n) in output["evicted"].as_object().unwrap() {
            balance.evicted.insert(format!("{name}: {reason}"), n.as_u64().unwrap());
        }
    }
    let rows = site.until("the hub's counts", |site| ask(site, "/api/v1/plugins?limit=1000"));
    let rows = rows["items"].as_array().unwrap();
    let files = in_the_file(site);
    let kept_all_in_file = sum(&ledger["outputs"]["file"]["evicted"]) == 0;
    let mut metrics = 0;
    for (name, plugin) in ledger["plugins"].as_object().unwrap() {
        let of = |key: &str| plugin[key].as_u64().unwrap();
        balance.produced += of("produced");
        balance.runs += of("runs");
        let row = rows.iter().find(|row| row["plugin"] == **name);
        let held = |key: &str| row.map_or(0, |row| row[key].as_u64().unwrap());
        metrics += held("metrics");
        balance.twice += held("reports").saturating_sub(of("runs"));
        if evicted == 0 {
            balance.lost += of("runs").saturating_sub(held("reports"));
            assert_eq!(held("metrics"), of("accepted"), "{name}: {row:?}");
        }
        let empty = (BTreeSet::new(), BTreeSet::new());
        let (runs, numbers) = files.get(name).unwrap_or(&empty);
        if kept_all_in_file {
            assert_eq!(runs.len() as u64, of("runs"), "{name}: reports in the file");
        }
        if HONEST.contains(&name.as_str()) {
            let mut hub = in_the_hub(site, name);
            let all = hub.len();
            hub.sort_unstable();
            hub.dedup();
            balance.twice += (all - hub.len()) as u64;
            let hub: BTreeSet<i64> = hub.into_iter().collect();
            if kept_all_in_file && evicted == 0 {
                balance.lost += numbers.difference(&hub).count() as u64;
                balance.twice += hub.difference(numbers).count() as u64;
            }
        }
    }
    // What was evicted while it was on its way may have arrived all the same.
    let delivered = hub["delivered"].as_u64().unwrap();
    assert!((delivered..=delivered + evicted).contains(&metrics), "{metrics} of {hub}");
    balance
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

#[test]
fn nothing_is_lost_nothing_is_twice_and_nobody_is_left() {
    let seed = setting("TALAIA_CHAOS_SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        now.as_nanos() as u64 % 1_000_000_000
    });
    let rounds = setting("TALAIA_CHAOS_ROUNDS").unwrap_or(ROUNDS);
    println!("TALAIA_CHAOS_SEED={seed} TALAIA_CHAOS_ROUNDS={rounds}");
    let begin = Instant::now();
    let mut chaos = Chaos::new(seed);
    if chaos.disk.is_none() {
        println!("NOT TESTED: full disks (only root can mount the small one that takes)");
    }
    for _ in 0..rounds {
        chaos.round();
    }
    chaos.drain();
    let survivors = chaos.search.of_plugins();
    let balance = balance(&chaos.site);
    let hub = chaos.hub.take().unwrap();
    assert!(chaos.site.stop(hub).success(), "{}", chaos.site.read("hub.log"));
    let left = chaos.search.all();
    for log in ["agent.log", "hub.log"] {
        let text = chaos.site.read(log);
        assert!(!text.contains("panicked"), "{text}");
    }

    println!("{rounds} rounds in {:.0} s, seed {seed}", begin.elapsed().as_secs_f64());
    for (what, n) in chaos.done.iter().chain(&chaos.proxy.faults()) {
        println!("{n:>8}  {what}");
    }
    println!("{:>8}  reports, {} records produced", balance.runs, balance.produced);
    for (what, n) in &balance.evicted {
        println!("{n:>8}  records evicted, {what}");
    }
    println!("{:>8}  lost", balance.lost);
    println!("{:>8}  twice", balance.twice);
    println!("{:>8}  survivors", survivors.len());
    assert_eq!((balance.lost, balance.twice), (0, 0), "seed {seed}");
    assert!(survivors.is_empty() && left.is_empty(), "seed {seed}: {survivors:#?} {left:#?}");
    let honest = balance.runs > rounds;
    assert!(honest, "only {} reports in {rounds} rounds", balance.runs);
}
