//! Real children for every outcome a run can have.

use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use talaia::exec::trust::Trust;
use talaia::exec::{
    Exec, Leftovers, Life, Limits, Next, Run, Settings, Spec, Stdin, Timetable, TriggerError,
};
use talaia::model::{Outcome, Rung, Stream};

const MS: Duration = Duration::from_millis(1);
/// Far longer than anything here takes; only a defect waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

/// Due once, at once.
struct Once;

impl Timetable for Once {
    fn next(&mut self, last: Option<Instant>, now: Instant) -> Next {
        if last.is_some() { Next::Never } else { Next::Due { at: now, missed: 0 } }
    }
}

/// Due at once and then every so often.
struct Every(Duration);

impl Timetable for Every {
    fn next(&mut self, last: Option<Instant>, now: Instant) -> Next {
        Next::Due { at: last.map_or(now, |at| at + self.0), missed: 0 }
    }
}

struct Bench {
    dir: tempfile::TempDir,
    exec: Exec,
    runs: Receiver<Run>,
}

impl Bench {
    fn new() -> Self {
        Self::with(Limits { concurrency: 8, max_running: 64 })
    }

    fn with(limits: Limits) -> Self {
        let (send, runs) = mpsc::channel();
        let settings = Settings { limits, reap_orphans_of: None, open: Box::new(|| true) };
        let exec = Exec::start(settings, move |run| drop(send.send(run))).unwrap();
        Self { dir: tempfile::tempdir().unwrap(), exec, runs }
    }

    /// A shell script as a plugin's spec.
    fn script(&self, name: &str, text: &str) -> Spec {
        let program = self.dir.path().join(name);
        write_script(&program, &format!("#!/bin/sh\n{text}\n"));
        spec(name, program, self.dir.path())
    }

    fn run(&self, spec: Spec) -> Run {
        self.exec.set(Arc::new(spec), Box::new(Once));
        self.next()
    }

    fn next(&self) -> Run {
        self.runs.recv_timeout(PATIENCE).expect("a run must be reported")
    }
}

fn write_script(path: &Path, text: &str) {
    // Written under another name: a file that is open for writing anywhere cannot be run, and
    // other tests spawn children at the same moment.
    let draft = path.with_extension("draft");
    let mut file = File::create(&draft).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    drop(file);
    fs::set_permissions(&draft, Permissions::from_mode(0o755)).unwrap();
    fs::rename(&draft, path).unwrap();
}

fn spec(name: &str, program: PathBuf, dir: &Path) -> Spec {
    Spec {
        plugin: name.parse().unwrap(),
        program,
        args: Vec::new(),
        dir: dir.to_owned(),
        env: vec![("PATH".into(), "/usr/bin:/bin".into()), ("TALAIA_PLUGIN".into(), name.into())],
        life: Life::Run,
        stdin: Stdin::Null,
        timeout: Duration::from_secs(10),
        grace: 300 * MS,
        stdout_cap: 1 << 20,
        stderr_cap: 1 << 20,
        leftovers: Leftovers::Kill,
        trust: Trust::default(),
        launch: None,
    }
}

fn is_alive(pid: &str) -> bool {
    // A zombie is dead: it has no command line.
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "{what} did not come about");
        std::thread::sleep(5 * MS);
    }
}

#[test]
fn a_run_tells_its_exit_code_output_and_usage() {
    let bench = Bench::new();
    let run = bench.run(bench.script("a", "echo '{\"x\":1}'; echo note >&2; exit 7"));
    assert_eq!(run.outcome, Outcome::Exited { code: 7 });
    assert_eq!(run.stdout, b"{\"x\":1}\n");
    assert_eq!(run.stderr, b"note\n");
    assert_eq!((run.usage.stdout, run.usage.stderr), (8, 5));
    assert!(run.usage.max_rss > 100_000, "{:?}", run.usage);
    assert!(run.usage.cpu > 0.0);
    assert!(!run.was_cut());
}

#[test]
fn a_hundred_exit_codes_are_all_known() {
    let bench = Bench::new();
    for code in 0..100_u8 {
        let run = bench.run(bench.script(&format!("p{code}"), &format!("exit {code}")));
        assert_eq!(run.outcome, Outcome::Exited { code });
    }
}

#[test]
fn a_signal_is_not_an_exit_code() {
    let bench = Bench::new();
    let run = bench.run(bench.script("a", "kill -9 $$"));
    assert_eq!(run.outcome, Outcome::Signaled { signal: 9 });
}

#[test]
fn a_deadline_is_met_by_term_where_that_is_enough() {
    let bench = Bench::new();
    let mut spec = bench.script("a", "echo '{\"x\":1}'; exec sleep 60");
    spec.timeout = 200 * MS;
    let run = bench.run(spec);
    assert_eq!(run.outcome, Outcome::TimedOut { reached: Rung::Term });
    assert_eq!(run.stdout, b"{\"x\":1}\n", "what was printed before the deadline is kept");
    assert!(run.took >= 200 * MS && run.took < 5000 * MS, "{:?}", run.took);
}

/// Nothing keeps a process from going to another group of its session.
#[test]
fn who_goes_to_the_agents_group_dies_at_its_deadline_all_the_same() {
    if !Path::new("/usr/bin/perl").exists() {
        println!("SKIPPED: there is no perl");
        assert!(std::env::var_os("CI").is_none(), "with CI=true nothing may be skipped");
        return;
    }
    let bench = Bench::new();
    let text = "exec perl -e 'setpgrp(0, getpgrp(getppid())); $SIG{TERM} = \"IGNORE\"; \
                $| = 1; print getpgrp(0) == $$ ? \"own\" : \"other\"; sleep 600'";
    let run = bench.run(Spec { timeout: 500 * MS, ..bench.script("a", text) });
    assert_eq!(run.outcome, Outcome::TimedOut { reached: Rung::Kill });
    assert_eq!(run.stdout, b"other");
}

#[test]
fn who_ignores_term_is_killed_after_the_grace() {
    let bench = Bench::new();
    let mut spec = bench.script("a", "trap '' TERM; echo $$ >&2; while :; do sleep 1; done");
    spec.timeout = 100 * MS;
    let run = bench.run(spec);
    assert_eq!(run.outcome, Outcome::TimedOut { reached: Rung::Kill });
    assert!(run.took >= 400 * MS, "{:?}", run.took);
    assert!(!is_alive(String::from_utf8_lossy(&run.stderr).trim()));
}

#[test]
fn a_stopped_process_does_not_outlive_its_deadline() {
    let bench = Bench::new();
    let mut spec = bench.script("a", "kill -STOP $$; sleep 60");
    spec.timeout = 100 * MS;
    assert!(matches!(bench.run(spec).outcome, Outcome::TimedOut { .. }));
}

#[test]
fn a_grandchild_that_holds_the_pipe_delays_nothing_and_does_not_survive() {
    let bench = Bench::new();
    let run = bench.run(bench.script("a", "sleep 60 & echo $! >&2; echo '{}'"));
    assert_eq!(run.outcome, Outcome::Exited { code: 0 });
    assert_eq!(run.stdout, b"{}\n");
    assert!(run.took < 5000 * MS, "{:?}", run.took);
    assert_eq!(run.leftovers, 1);
    let pid = String::from_utf8_lossy(&run.stderr).trim().to_owned();
    wait_until("the grandchild's end", || !is_alive(&pid));
}

#[test]
fn leftovers_may_be_kept_on_purpose() {
    let bench = Bench::new();
    let mut spec = bench.script("a", "sleep 60 </dev/null >/dev/null 2>&1 & echo $!");
    spec.leftovers = Leftovers::Keep;
    let run = bench.run(spec);
    let pid = String::from_utf8_lossy(&run.stdout).trim().to_owned();
    assert_eq!(run.leftovers, 0);
    // While it executes its program it has no command line for a moment.
    wait_until("the daemon", || is_alive(&pid));
    let pid = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[test]
fn a_grandchild_that_ignores_term_dies_at_the_deadline_too() {
    let bench = Bench::new();
    let mut spec =
        bench.script("a", "(trap '' TERM; while :; do sleep 1; done) & echo $! >&2; sleep 60");
    spec.timeout = 100 * MS;
    let run = bench.run(spec);
    assert!(matches!(run.outcome, Outcome::TimedOut { .. }));
    let pid = String::from_utf8_lossy(&run.stderr).trim().to_owned();
    wait_until("the grandchild's end", || !is_alive(&pid));
}

#[test]
fn more_than_a_pipe_holds_is_read_while_the_child_runs() {
    let bench = Bench::new();
    let run = bench.run(bench.script("a", "head -c 900000 /dev/zero | tr '\\0' x"));
    assert_eq!(run.outcome, Outcome::Exited { code: 0 });
    assert_eq!(run.stdout.len(), 900_000);
}

#[test]
fn beyond_the_cap_output_is_cut_and_counted() {
    let bench = Bench::new();
    let mut spec = bench.script("a", "head -c 300000 /dev/zero | tr '\\0' x; exit 3");
    spec.stdout_cap = 100_000;
    let run = bench.run(spec);
    assert_eq!(run.outcome, Outcome::Exited { code: 3 });
    assert_eq!((run.stdout.len(), run.usage.stdout), (100_000, 300_000));
    assert!(run.was_cut());
}

#[test]
fn endless_output_is_a_flood_on_either_stream() {
    let bench = Bench::new();
    for (name, redirect, stream) in [("a", "", Stream::Stdout), ("b", ">&2", Stream::Stderr)] {
        let mut spec = bench.script(name, &format!("exec yes {redirect}"));
        (spec.stdout_cap, spec.stderr_cap) = (10_000, 10_000);
        let run = bench.run(spec);
        assert_eq!(run.outcome, Outcome::Flooded { stream, limit: 10_000 });
        assert!(run.stdout.len() <= 10_000 && run.stderr.len() <= 4096);
        assert!(run.usage.stdout + run.usage.stderr > 80_000);
    }
}

#[test]
fn the_end_of_stderr_is_kept() {
    let bench = Bench::new();
    let run = bench.run(bench.script("a", "seq 1 5000 >&2; echo end >&2"));
    assert_eq!(run.stderr.len(), 4096);
    assert!(run.stderr.ends_with(b"5000\nend\n"));
}

#[test]
fn what_cannot_start_says_why() {
    let bench = Bench::new();
    let dir = bench.dir.path();
    write_script(&dir.join("dos"), "#!/bin/sh\r\necho\r\n");
    write_script(&dir.join("bare"), "echo '{}'");
    write_script(&dir.join("alien"), "#!/usr/bin/no_such_interpreter\n");
    write_script(&dir.join("plain"), "#!/bin/sh\n");
    fs::set_permissions(dir.join("plain"), Permissions::from_mode(0o644)).unwrap();
    for (name, wanted) in [
        ("missing", "does not exist"),
        ("dos", "ends as on Windows"),
        ("bare", "no `#!` line"),
        ("alien", "which is not installed"),
        ("plain", "chmod +x"),
    ] {
        let run = bench.run(spec(name, dir.join(name), dir));
        let Outcome::NotStarted { error } = &run.outcome else { panic!("{:?}", run.outcome) };
        assert!(error.contains(wanted) && error.contains(name), "{error}");
    }
}

#[test]
fn what_others_may_write_is_not_run() {
    let bench = Bench::new();
    let mut spec = bench.script("a", "echo '{}'");
    spec.trust.paths = vec![spec.program.clone()];
    assert_eq!(bench.run(spec.clone()).outcome, Outcome::Exited { code: 0 });
    fs::set_permissions(&spec.program, Permissions::from_mode(0o757)).unwrap();
    let run = bench.run(spec);
    let Outcome::NotStarted { error } = run.outcome else { panic!("{:?}", run.outcome) };
    assert!(error.contains("written by everybody"), "{error}");
}

#[test]
fn the_environment_is_what_the_spec_says_and_two_marks_of_the_run() {
    let bench = Bench::new();
    let run = bench.run(bench.script("a", "exec env"));
    let text = String::from_utf8(run.stdout).unwrap();
    let mut names: Vec<&str> = text.lines().filter_map(|l| l.split('=').next()).collect();
    names.sort_unstable();
    // PWD and its like come from the shell itself.
    names.retain(|n| !["PWD", "OLDPWD", "SHLVL", "_"].contains(n));
    assert_eq!(names, ["PATH", "TALAIA_DEADLINE", "TALAIA_PLUGIN", "TALAIA_RUN_ID"]);
    assert!(text.contains(&format!("TALAIA_RUN_ID={}", run.id)));
}

#[test]
fn stdin_is_a_file_opened_anew_or_nothing_or_open() {
    let bench = Bench::new();
    let config = bench.dir.path().join("config.json");
    File::create(&config).unwrap().write_all(b"{\"a\":1}").unwrap();
    let mut spec = bench.script("a", "cat");
    spec.stdin = Stdin::File(config);
    assert_eq!(bench.run(spec.clone()).stdout, b"{\"a\":1}");
    assert_eq!(bench.run(spec.clone()).stdout, b"{\"a\":1}");
    spec.stdin = Stdin::Null;
    assert_eq!(bench.run(spec.clone()).stdout, b"");
    spec.stdin = Stdin::Open;
    spec.timeout = 200 * MS;
    assert!(matches!(bench.run(spec).outcome, Outcome::TimedOut { .. }), "cat waits for more");
}

#[test]
fn no_descriptor_of_the_agent_reaches_a_child() {
    let bench = Bench::new();
    let secret = File::open("/proc/self/status").unwrap();
    let run = bench.run(bench.script("a", "exec ls -l /proc/self/fd"));
    drop(secret);
    let list = String::from_utf8(run.stdout).unwrap();
    // What this process itself inherited without the close-on-exec flag is not ours to judge.
    for ours in ["eventpoll", "eventfd", "pidfd", "/status"] {
        assert!(!list.contains(ours), "{list}");
    }
}

#[test]
fn a_run_due_during_a_run_is_skipped_and_counted() {
    let bench = Bench::new();
    let spec = bench.script("a", "sleep 0.5");
    bench.exec.set(Arc::new(spec), Box::new(Every(100 * MS)));
    assert_eq!(bench.next().skipped, 0);
    let second = bench.next();
    assert!((3..=6).contains(&second.skipped), "{}", second.skipped);
}

#[test]
fn hung_plugins_do_not_starve_the_others() {
    let bench = Bench::with(Limits { concurrency: 4, max_running: 8 });
    for n in 0..16 {
        let mut spec = bench.script(&format!("hung{n}"), "trap '' TERM; while :; do sleep 1; done");
        (spec.timeout, spec.grace) = (400 * MS, 200 * MS);
        bench.exec.set(Arc::new(spec), Box::new(Every(500 * MS)));
    }
    // Every hung one has timed out at least once before the healthy one comes.
    let mut seen = std::collections::HashSet::new();
    while seen.len() < 16 {
        seen.insert(bench.next().plugin);
    }
    let healthy = bench.script("healthy", "echo '{}'");
    bench.exec.set(Arc::new(healthy), Box::new(Every(200 * MS)));
    let mut lags = Vec::new();
    while lags.len() < 10 {
        let run = bench.next();
        if run.plugin.as_str() == "healthy" {
            assert_eq!(run.outcome, Outcome::Exited { code: 0 });
            lags.push(run.lag);
        }
    }
    lags.sort_unstable();
    // It may wait for a young run to pass 250 ms, never for a hung one to time out.
    assert!(lags[5] < 400 * MS, "{lags:?}");
}

#[test]
fn a_plugin_can_be_triggered_unless_it_runs() {
    let bench = Bench::new();
    let name = "a".parse().unwrap();
    assert_eq!(bench.exec.trigger(&name), Err(TriggerError::Unknown(name.clone())));
    bench.run(bench.script("a", "sleep 0.3"));
    bench.exec.trigger(&name).unwrap();
    wait_until("the start", || bench.exec.live() == 1);
    assert_eq!(bench.exec.trigger(&name), Err(TriggerError::Busy(name.clone())));
    assert_eq!(bench.next().outcome, Outcome::Exited { code: 0 });
}

#[test]
fn a_removed_plugin_is_stopped_and_stop_ends_all() {
    let bench = Bench::new();
    let spec = bench.script("a", "echo $$; exec sleep 60");
    let program = spec.program.clone();
    bench.exec.set(Arc::new(spec.clone()), Box::new(Once));
    wait_until("the start", || bench.exec.live() == 1);
    bench.exec.remove(&spec.plugin);
    assert_eq!(bench.next().outcome, Outcome::Stopped);

    let stubborn = bench.script("b", "trap '' TERM; echo $$; while :; do sleep 1; done");
    bench.exec.set(Arc::new(stubborn), Box::new(Once));
    bench.exec.set(Arc::new(Spec { program, ..spec }), Box::new(Once));
    wait_until("two runs", || bench.exec.live() == 2);
    std::thread::sleep(100 * MS);
    bench.exec.stop();
    bench.exec.join();
    let runs: Vec<Run> = bench.runs.iter().collect();
    assert_eq!(runs.len(), 2);
    for run in runs {
        assert_eq!(run.outcome, Outcome::Stopped);
        assert!(!is_alive(String::from_utf8_lossy(&run.stdout).trim()));
    }
}

/// Stopped while it is being spawned, a run must not live on to its deadline.
#[test]
fn a_run_removed_at_birth_is_stopped() {
    let bench = Bench::new();
    let spec = bench.script("a", "exec sleep 60");
    for _ in 0..30 {
        bench.exec.set(Arc::new(spec.clone()), Box::new(Once));
        while bench.exec.live() == 0 {
            std::thread::yield_now();
        }
        bench.exec.remove(&spec.plugin);
        assert_eq!(bench.next().outcome, Outcome::Stopped);
    }
}

#[test]
fn arguments_reach_the_program_as_they_are() {
    let bench = Bench::new();
    let mut spec = bench.script("a", "printf '%s|' \"$@\"");
    spec.args = ["a b", "", "$HOME", "*"].map(OsString::from).to_vec();
    assert_eq!(bench.run(spec).stdout, b"a b||$HOME|*|");
}

/// The cost of a spawn must not depend on the agent's memory: a fork copies its page tables, at
/// some 15 ms per GiB, where a spawn takes a fraction of one; `posix_spawn` does not.
#[test]
fn spawning_does_not_fork() {
    // In a process of its own, whose processor time is that of the spawns alone.
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "exec::child_that_measures_spawns", "--nocapture"])
        .env("TALAIA_TEST_SPAWNS", "1")
        .output()
        .unwrap();
    let text = String::from_utf8(child.stdout).unwrap();
    let figures = text.lines().find_map(|line| line.strip_prefix("µs without and with: "));
    let figures: Vec<f64> = figures
        .unwrap_or_else(|| panic!("{text}"))
        .split(' ')
        .map(|n| n.parse().unwrap())
        .collect();
    let (without, with) = (figures[0], figures[1]);
    // A fork would cost twenty times as much.
    assert!(with < without * 3.0, "40 spawns: {without} µs, with 512 MiB in the agent {with} µs");
}

/// Not a test by itself: what `spawning_does_not_fork` runs.
#[test]
fn child_that_measures_spawns() {
    if std::env::var_os("TALAIA_TEST_SPAWNS").is_none() {
        return;
    }
    let bench = Bench::new();
    let cost = |name: &str| {
        let spec = bench.script(name, "exit 0");
        bench.run(spec.clone());
        let before = cpu_of_this_process();
        for _ in 0..40 {
            bench.run(spec.clone());
        }
        (cpu_of_this_process() - before).as_micros()
    };
    let without = cost("a");
    // Touched page by page, so that it is resident.
    let ballast = vec![1_u8; 512 << 20];
    let with = cost("b");
    assert_eq!(ballast.iter().step_by(4096).map(|b| u64::from(*b)).sum::<u64>(), 131_072);
    println!("µs without and with: {without} {with}");
}

fn cpu_of_this_process() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
