//! What a reading costs in Python: an interpreter started for each one, beside one that lives on and
//! answers ticks.
//!
//! ```text
//! cargo bench --bench tick -- [--readings 100]
//! ```
//!
//! Both do the same in the same process at the same time, by turns, so that the machine's mood is the
//! same for both. The figures are the plugin's own: processor time as the kernel counts it when the
//! process is collected, the start of the one that lives on included, and the time from the start or
//! the tick to the end or the answer. Quote the ratio.

#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on should stop")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use talaia::exec::trust::Trust;
use talaia::exec::{Exec, Leftovers, Life, Limits, Next, Run, Settings, Spec, Stdin, Timetable};
use talaia::model::Outcome;

const READING: &str = "import json, sys
def reading():
    with open('/proc/loadavg') as f:
        print(json.dumps({'load1': float(f.read().split()[0])}), flush=True)
";
const PER_RUN: &str = "reading()";
const PER_TICK: &str = "for _ in sys.stdin: reading()";

/// When it is triggered.
struct ByHand;

impl Timetable for ByHand {
    fn next(&mut self, _: Option<Instant>, _: Instant) -> Next {
        Next::Never
    }
}

fn spec(python: &Path, name: &str, life: Life, code: &str) -> Spec {
    Spec {
        plugin: name.parse().unwrap(),
        program: python.to_owned(),
        args: vec!["-c".into(), format!("{READING}{code}").into()],
        dir: PathBuf::from("/"),
        env: vec![("PATH".into(), "/usr/bin:/bin".into())],
        life,
        stdin: if life.is_resident() { Stdin::Open } else { Stdin::Null },
        timeout: Duration::from_secs(20),
        grace: Duration::from_secs(5),
        stdout_cap: 1 << 20,
        stderr_cap: 1 << 20,
        leftovers: Leftovers::Kill,
        trust: Trust::default(),
        launch: None,
    }
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let readings: u32 = args
        .iter()
        .position(|arg| arg == "--readings")
        .map_or(100, |at| args[at + 1].parse().unwrap());
    // Not a shim that starts another program: that would flatter the one that lives on.
    let python = ["/usr/bin/python3", "/usr/local/bin/python3"].map(PathBuf::from);
    let Some(python) = python.into_iter().find(|path| path.exists()) else {
        println!("there is no /usr/bin/python3 here");
        return;
    };
    let (send, runs) = mpsc::channel::<Run>();
    let settings = Settings {
        limits: Limits { concurrency: 4, max_running: 4 },
        reap_orphans_of: None,
        open: Box::new(|| true),
    };
    let exec = Exec::start(settings, move |run| drop(send.send(run))).unwrap();
    let names = ["run", "tick"].map(|name| name.parse().unwrap());
    exec.set(Arc::new(spec(&python, "run", Life::Run, PER_RUN)), Box::new(ByHand));
    let tick = Life::Tick { line_cap: 1 << 20 };
    exec.set(Arc::new(spec(&python, "tick", tick, PER_TICK)), Box::new(ByHand));

    let (mut cpu, mut took) = ([0.0, 0.0], [Vec::new(), Vec::new()]);
    for _ in 0..readings {
        for (which, name) in names.iter().enumerate() {
            // It is still being started, the first time.
            while exec.trigger(name).is_err() {
                std::thread::yield_now();
            }
            let run = runs.recv().unwrap();
            assert!(run.outcome.is_ok(), "{run:?}");
            cpu[which] += run.usage.cpu;
            took[which].push(run.took);
        }
    }
    exec.stop();
    exec.join();
    // The end of the one that lived on brings the rest of its processor time.
    for run in runs.try_iter().filter(|run| run.outcome == Outcome::Stopped) {
        cpu[1] += run.usage.cpu;
    }
    let per = cpu.map(|cpu| cpu * 1e6 / f64::from(readings));
    let median = took.map(|mut took| {
        took.sort();
        took[took.len() / 2].as_secs_f64() * 1e6
    });
    println!("{readings} readings each, {}", python.display());
    println!(
        "processor time per reading: {:.0} µs started for each, {:.0} µs living on: {:.0} : 1",
        per[0],
        per[1],
        per[0] / per[1]
    );
    println!(
        "time to a reading (median): {:.0} µs started for each, {:.0} µs living on: {:.0} : 1",
        median[0],
        median[1],
        median[0] / median[1]
    );
}
