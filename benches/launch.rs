//! What the launcher costs: the same program started directly and by way of the launcher, one run
//! after the other.
//!
//! ```text
//! cargo bench --bench launch -- [--runs 2000] [--rounds 3]
//! ```
//!
//! Processor time is that of this process and of all its children, from `/proc/self/stat`; a clock
//! tick is 10 ms, so 2000 runs resolve 5 µs per run. Quote the difference and the ratio.

#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on should stop")]

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use talaia::exec::trust::Trust;
use talaia::exec::{
    Caps, Exec, Identity, Launch, Leftovers, Limits, Next, Privileges, Settings, Spec, Stdin,
    Timetable,
};

/// Due at once, then never: what comes after is triggered.
struct Once;

impl Timetable for Once {
    fn next(&mut self, last: Option<Instant>, now: Instant) -> Next {
        if last.is_some() { Next::Never } else { Next::Due { at: now, missed: 0 } }
    }
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let number = |flag: &str, default: u32| {
        args.iter().position(|a| a == flag).map_or(default, |at| args[at + 1].parse().unwrap())
    };
    let (runs, rounds) = (number("--runs", 2000), number("--rounds", 3));
    let launch = Launch {
        launcher: PathBuf::from(env!("CARGO_BIN_EXE_talaia")),
        identity: None,
        nice: None,
        privileges: Privileges::NoNew,
        caps: Caps { cpu: Some(60), files: Some(256), ..Caps::default() },
        cgroup: None,
    };
    let root = rustix::process::geteuid().is_root();
    let identity = root.then(|| Identity {
        name: "somebody".to_owned(),
        uid: 64_810,
        gid: 64_810,
        groups: Vec::new(),
    });
    let somebody = Launch { identity, ..launch.clone() };
    for round in 1..=rounds {
        let direct = measure(None, runs);
        println!("round {round}: direct {direct}");
        let limited = measure(Some(launch.clone()), runs);
        println!("  launched, with limits {limited} = {}", limited.against(&direct));
        if root {
            let other = measure(Some(somebody.clone()), runs);
            println!("  launched, as another user {other} = {}", other.against(&direct));
        }
    }
}

/// Microseconds per run.
struct Figures {
    wall: f64,
    own: f64,
    children: f64,
}

impl Figures {
    fn against(&self, direct: &Self) -> String {
        format!(
            "+{:.0} µs wall, {:+.0} µs own CPU, {:+.0} µs CPU of the child",
            self.wall - direct.wall,
            self.own - direct.own,
            self.children - direct.children
        )
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:.0} µs wall, {:.0} µs own CPU, {:.0} µs CPU of the child",
            self.wall, self.own, self.children
        )
    }
}

fn measure(launch: Option<Launch>, runs: u32) -> Figures {
    let (send, ended) = mpsc::channel();
    let limits = Limits { concurrency: 4, max_running: 16 };
    let settings = Settings { limits, reap_orphans_of: None, open: Box::new(|| true) };
    let exec = Exec::start(settings, move |run| drop(send.send(run))).unwrap();
    let spec = Spec {
        plugin: "p".parse().unwrap(),
        program: PathBuf::from("/bin/true"),
        args: Vec::new(),
        dir: PathBuf::from("/"),
        env: (0..15).map(|n| (format!("NAME_{n}").into(), "some value".into())).collect(),
        life: talaia::exec::Life::Run,
        stdin: Stdin::Null,
        timeout: Duration::from_secs(10),
        grace: Duration::from_secs(2),
        stdout_cap: 1 << 20,
        stderr_cap: 1 << 20,
        leftovers: Leftovers::Kill,
        trust: Trust::default(),
        launch: launch.map(Arc::new),
    };
    let name = spec.plugin.clone();
    exec.set(Arc::new(spec), Box::new(Once));
    let wait = || {
        let run = ended.recv_timeout(Duration::from_secs(20)).unwrap();
        assert!(run.outcome.is_ok(), "{:?}", run.outcome);
    };
    wait();
    let (start, before) = (Instant::now(), cpu());
    for _ in 0..runs {
        while exec.trigger(&name).is_err() {
            std::hint::spin_loop();
        }
        wait();
    }
    let (wall, after) = (start.elapsed(), cpu());
    let per_run = |seconds: f64| seconds * 1e6 / f64::from(runs);
    Figures {
        wall: per_run(wall.as_secs_f64()),
        own: per_run(after.0 - before.0),
        children: per_run(after.1 - before.1),
    }
}

/// Processor time of this process and of the children it has collected, in seconds.
fn cpu() -> (f64, f64) {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let tick = rustix::param::clock_ticks_per_second() as f64;
    let ticks = |at: usize| fields[at].parse::<f64>().unwrap() / tick;
    (ticks(11) + ticks(12), ticks(13) + ticks(14))
}
