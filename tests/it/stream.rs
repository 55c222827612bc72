//! Long-lived plugins, with real children: what is reported of them, and what is not lost.

use std::collections::VecDeque;
use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use talaia::exec::trust::Trust;
use talaia::exec::{
    Exec, Leftovers, Life, Limits, Next, Note, Run, Settings, Spec, Stdin, Timetable, TriggerError,
};
use talaia::model::{Outcome, Rung, Stream};

const MS: Duration = Duration::from_millis(1);
/// Far longer than anything here takes; only a defect waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

/// Due at once and then every so often; started again after as many times 20 ms as it has failed.
struct Every(Duration);

impl Timetable for Every {
    fn next(&mut self, last: Option<Instant>, now: Instant) -> Next {
        Next::Due { at: last.map_or(now, |at| at + self.0), missed: 0 }
    }

    fn restart(&mut self, failures: u32) -> Duration {
        failures * 20 * MS
    }
}

/// Never due.
struct Never;

impl Timetable for Never {
    fn next(&mut self, _: Option<Instant>, _: Instant) -> Next {
        Next::Never
    }

    fn restart(&mut self, failures: u32) -> Duration {
        failures * 20 * MS
    }
}

struct Bench {
    dir: tempfile::TempDir,
    exec: Exec,
    runs: Receiver<Run>,
    open: Arc<AtomicBool>,
}

impl Bench {
    fn new() -> Self {
        let (send, runs) = mpsc::channel();
        let open = Arc::new(AtomicBool::new(true));
        let seen = Arc::clone(&open);
        let settings = Settings {
            limits: Limits { concurrency: 2, max_running: 4 },
            reap_orphans_of: None,
            open: Box::new(move || seen.load(Ordering::SeqCst)),
        };
        let exec = Exec::start(settings, move |run| drop(send.send(run))).unwrap();
        Self { dir: tempfile::tempdir().unwrap(), exec, runs, open }
    }

    fn script(&self, name: &str, life: Life, text: &str) -> Spec {
        let program = self.dir.path().join(name);
        let draft = program.with_extension("draft");
        let mut file = File::create(&draft).unwrap();
        file.write_all(format!("#!/bin/sh\n{text}\n").as_bytes()).unwrap();
        drop(file);
        fs::set_permissions(&draft, Permissions::from_mode(0o755)).unwrap();
        fs::rename(&draft, &program).unwrap();
        self.spec(name, life, program)
    }

    fn spec(&self, name: &str, life: Life, program: PathBuf) -> Spec {
        Spec {
            plugin: name.parse().unwrap(),
            program,
            args: Vec::new(),
            dir: self.dir.path().to_owned(),
            env: vec![
                ("PATH".into(), "/usr/bin:/bin".into()),
                ("TALAIA_PLUGIN".into(), name.into()),
            ],
            life,
            stdin: Stdin::Open,
            timeout: Duration::from_secs(10),
            grace: 300 * MS,
            stdout_cap: 1 << 20,
            stderr_cap: 1 << 20,
            leftovers: Leftovers::Kill,
            trust: Trust::default(),
            launch: None,
        }
    }

    /// Starts a plugin that prints when it likes.
    fn stream(&self, text: &str) {
        self.exec.set(Arc::new(self.script("a", STREAM, text)), Box::new(Never));
    }

    /// Starts a plugin that is asked so often.
    fn ticks(&self, every: Duration, timeout: Duration, text: &str) {
        let spec = Spec { timeout, ..self.script("a", TICK, text) };
        self.exec.set(Arc::new(spec), Box::new(Every(every)));
    }

    fn next(&self) -> Run {
        self.runs.recv_timeout(PATIENCE).expect("there must be a report")
    }

    /// The next report with this outcome; those before it are passed over.
    fn next_of(&self, outcome: &Outcome) -> Run {
        std::iter::repeat_with(|| self.next()).find(|run| run.outcome == *outcome).unwrap()
    }

    fn stop(&self) -> Vec<Run> {
        self.exec.stop();
        self.exec.join();
        self.runs.try_iter().collect()
    }
}

const STREAM: Life = Life::Stream { line_cap: 64 << 10, quiet: Duration::from_secs(60) };
const TICK: Life = Life::Tick { line_cap: 1 << 20 };
/// Answers each tick with its number.
const ANSWERS: &str = "n=0; while read -r line; do n=$((n+1)); echo \"{\\\"n\\\":$n}\"; done";

fn text(run: &Run) -> String {
    String::from_utf8_lossy(&run.stdout).into_owned()
}

fn is_alive(pid: u32) -> bool {
    // A zombie is dead: it has no command line.
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}

#[track_caller]
fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "{what} did not come about");
        std::thread::sleep(5 * MS);
    }
}

#[test]
fn lines_within_a_second_are_one_report_and_carry_their_own_time() {
    let bench = Bench::new();
    bench.stream("echo '{\"a\":1}'; sleep 0.3; echo note >&2; echo '{\"a\":2}'; read -r end");
    let run = bench.next();
    assert_eq!(
        (run.outcome.clone(), text(&run)),
        (Outcome::Answered, "{\"a\":1}\n{\"a\":2}\n".to_owned())
    );
    let part = run.part.as_ref().unwrap();
    assert_eq!(part.arrivals.iter().map(|(from, _)| *from).collect::<Vec<_>>(), [0, 8]);
    let apart = part.arrivals[1].1.duration_since(part.arrivals[0].1).unwrap();
    assert!(apart >= 250 * MS, "{apart:?}");
    assert!(run.took >= 900 * MS && run.took < 5000 * MS, "{:?}", run.took);
    assert_eq!((run.stderr.as_slice(), run.usage.stdout), (&b"note\n"[..], 16));
    assert!(run.usage.max_rss > 100_000, "{:?}", run.usage);
    assert!(!run.ends_torn() && run.notes.is_empty());
    // It reads the end of its input and ends by itself.
    let rest = bench.stop();
    assert_eq!(rest.len(), 1, "{rest:?}");
    assert_eq!(rest[0].outcome, Outcome::Stopped);
    assert!(rest[0].stdout.is_empty());
}

#[test]
fn a_value_that_spans_lines_is_in_one_report() {
    let bench = Bench::new();
    bench.stream("echo '{\"a\":1}'; sleep 0.8; echo '{'; sleep 0.5; echo '\"b\":2}'; read -r end");
    assert_eq!(text(&bench.next()), "{\"a\":1}\n");
    assert_eq!(text(&bench.next()), "{\n\"b\":2}\n");
}

#[test]
fn a_slow_drip_is_a_line_when_it_ends() {
    let bench = Bench::new();
    bench.stream(
        "for c in '{' '\"a\"' ':' 1 '}'; do printf %s \"$c\"; sleep 0.3; done; echo; read -r end",
    );
    let run = bench.next();
    assert_eq!(text(&run), "{\"a\":1}\n");
    assert_eq!(run.part.as_ref().unwrap().arrivals.len(), 1);
}

#[test]
fn each_tick_is_answered_by_one_line() {
    let bench = Bench::new();
    bench.ticks(100 * MS, PATIENCE, "while read -r line; do echo \"$line\"; done");
    let mut ids = Vec::new();
    for _ in 0..5 {
        let run = bench.next();
        assert_eq!(run.outcome, Outcome::Answered);
        let asked: serde_json::Value = serde_json::from_slice(&run.stdout).unwrap();
        assert_eq!(asked["run"], run.id.to_string());
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let left = asked["deadline"].as_u64().unwrap().abs_diff(now.as_secs());
        assert!((18..=21).contains(&left), "{asked}");
        assert_eq!(asked.as_object().unwrap().len(), 2);
        assert!(run.took < 5000 * MS && run.notes.is_empty(), "{run:?}");
        ids.push(run.id.to_string());
    }
    ids.dedup();
    assert_eq!(ids.len(), 5);
    assert_eq!(bench.exec.standing(&"a".parse().unwrap()).unwrap().starts, 1);
}

#[test]
fn a_missed_tick_is_reported_and_the_next_life_answers_again() {
    let bench = Bench::new();
    // The second tick of the first life is not answered; a late answer must not be another's.
    let script = "if [ -e here ]; then n=10; else n=0; touch here; fi\n\
        while read -r line; do n=$((n+1)); [ $n = 2 ] && { trap '' TERM; sleep 60; }; echo \"{\\\"n\\\":$n}\"; done";
    bench.ticks(200 * MS, 150 * MS, script);
    assert_eq!(text(&bench.next()), "{\"n\":1}\n");
    let missed = bench.next();
    assert_eq!(missed.outcome, Outcome::TimedOut { reached: Rung::Kill });
    assert!(missed.stdout.is_empty());
    assert!(missed.took >= 150 * MS, "{:?}", missed.took);
    let Some(Note::Restart { failures: 1, after, .. }) = missed.notes.last() else {
        panic!("{:?}", missed.notes)
    };
    assert_eq!(*after, 20 * MS);
    let answer = bench.next_of(&Outcome::Answered);
    assert_eq!(text(&answer), "{\"n\":11}\n");
    assert!(missed.skipped + answer.skipped >= 1, "ticks fell due while it was killed");
}

#[test]
fn who_does_not_read_its_ticks_misses_one() {
    let bench = Bench::new();
    bench.ticks(50 * MS, 10_000 * MS, "exec 0<&-; echo '{\"hello\":1}'; exec sleep 60");
    let ended = bench.next_of(&Outcome::TimedOut { reached: Rung::Term });
    assert!(ended.notes.contains(&Note::Unread), "{:?}", ended.notes);
}

#[test]
fn more_than_the_answer_is_kept_apart_from_the_next_answer() {
    let bench = Bench::new();
    let script = "echo '{\"early\":1}'; n=0; while read -r line; do n=$((n+1)); echo \"{\\\"n\\\":$n}\"; echo \"{\\\"more\\\":$n}\"; done";
    bench.ticks(300 * MS, PATIENCE, script);
    let (mut answers, mut others) = (Vec::new(), Vec::new());
    while answers.len() < 3 {
        let run = bench.next();
        let list = if run.notes.contains(&Note::Unasked) { &mut others } else { &mut answers };
        list.push(text(&run));
    }
    // What came at its start may have come before or after the first tick.
    let numbers = answers.iter().filter(|text| text.contains("\"n\"")).count();
    assert!(numbers >= 2, "{answers:?} {others:?}");
    assert!(others.iter().any(|text| text.contains("more")), "{answers:?} {others:?}");
    let all: VecDeque<String> = bench.stop().iter().map(text).collect();
    assert!(all.len() <= 3, "{all:?}");
}

#[test]
fn an_answer_may_span_lines_and_a_broken_one_is_not_waited_for() {
    let bench = Bench::new();
    bench.ticks(
        100 * MS,
        PATIENCE,
        "read -r l; printf '{\\n\"a\":\\n1}\\n'; read -r l; echo '{\"a\":'; cat >/dev/null",
    );
    assert_eq!(text(&bench.next()), "{\n\"a\":\n1}\n");
    let broken = bench.next();
    assert_eq!(
        (broken.outcome.clone(), text(&broken)),
        (Outcome::Answered, "{\"a\":\n".to_owned())
    );
    assert!(broken.took < 5000 * MS, "{:?}", broken.took);
}

#[test]
fn a_crash_loop_is_visible_and_never_given_up() {
    let bench = Bench::new();
    bench.stream("echo '{\"last\":1}'; printf '{\"half\":2}'; echo 'E! no' >&2; exit 3");
    let mut failures = 0;
    for _ in 0..5 {
        let run = bench.next();
        assert_eq!(run.outcome, Outcome::Exited { code: 3 });
        assert_eq!(
            text(&run),
            "{\"last\":1}\n{\"half\":2}",
            "a half line counts after a normal end"
        );
        assert!(!run.ends_torn() && run.usage.cpu > 0.0);
        let [Note::Restart { failures: n, after, .. }] = run.notes.as_slice() else {
            panic!("{:?}", run.notes)
        };
        assert_eq!((*n, *after), (failures + 1, (failures + 1) * 20 * MS));
        failures = *n;
    }
    let standing = bench.exec.standing(&"a".parse().unwrap()).unwrap();
    assert!(standing.starts >= 5 && standing.failures >= 5, "{standing:?}");
    let end = standing.last_end.unwrap();
    assert_eq!((end.outcome, end.stderr.as_str()), (Outcome::Exited { code: 3 }, "E! no"));
}

#[test]
fn exit_0_is_an_end_as_well_and_a_kill_drops_half_a_line() {
    let bench = Bench::new();
    bench.stream(
        "[ -e here ] || { touch here; exit 0; }; echo '{\"a\":1}'; printf '{\"b\"'; kill -9 $$",
    );
    assert_eq!(bench.next().outcome, Outcome::Exited { code: 0 });
    let killed = bench.next();
    assert_eq!(killed.outcome, Outcome::Signaled { signal: 9 });
    assert_eq!(text(&killed), "{\"a\":1}\n{\"b\"");
    assert!(killed.ends_torn());
}

#[test]
fn what_cannot_start_is_tried_again_and_starts_when_it_can() {
    let bench = Bench::new();
    let program = bench.dir.path().join("late");
    let spec = bench.spec("late", STREAM, program);
    bench.exec.set(Arc::new(spec), Box::new(Never));
    for _ in 0..3 {
        let run = bench.next();
        assert!(matches!(run.outcome, Outcome::NotStarted { .. }), "{:?}", run.outcome);
        assert!(matches!(run.notes.as_slice(), [Note::Restart { .. }]), "{:?}", run.notes);
    }
    bench.script("late", STREAM, "echo '{}'; read -r end");
    assert_eq!(text(&bench.next_of(&Outcome::Answered)), "{}\n");
}

#[test]
fn a_long_line_costs_itself_and_an_endless_one_ends_the_plugin() {
    let bench = Bench::new();
    bench.stream("echo '{\"a\":1}'; head -c 3000000 /dev/zero | tr '\\0' x; echo; echo '{\"b\":2}'; sleep 1.5; exec cat /dev/zero");
    let cut = bench.next();
    assert!(cut.ends_torn() && cut.stdout.starts_with(b"{\"a\":1}\nxxx"));
    assert_eq!(cut.stdout.len(), 8 + (64 << 10));
    assert_eq!(cut.notes, [Note::LineCut(64 << 10)]);
    assert_eq!(text(&bench.next()), "{\"b\":2}\n");
    let limit = 64 << 10;
    let flooded = bench.next_of(&Outcome::Flooded { stream: Stream::Stdout, limit });
    assert!(flooded.usage.stdout < 64 << 20, "{:?}", flooded.usage);
    assert!(flooded.stdout.len() <= 64 << 10);
}

#[test]
fn endless_stderr_ends_the_plugin() {
    let bench = Bench::new();
    bench.stream("exec yes >&2");
    let limit = 1 << 20;
    let run = bench.next_of(&Outcome::Flooded { stream: Stream::Stderr, limit });
    assert_eq!(run.stderr.len(), 4096);
}

#[test]
fn stop_closes_stdin_and_lets_it_say_its_last_words() {
    let bench = Bench::new();
    bench.stream("echo '{\"up\":1}'; cat >/dev/null; sleep 0.1; echo '{\"bye\":1}'; printf '{\"half\":1}'; exit 7");
    assert_eq!(text(&bench.next()), "{\"up\":1}\n");
    let start = Instant::now();
    let rest = bench.stop();
    assert!(start.elapsed() < 2000 * MS);
    let [last] = rest.as_slice() else { panic!("{rest:?}") };
    assert_eq!(last.outcome, Outcome::Stopped);
    assert_eq!(text(last), "{\"bye\":1}\n{\"half\":1}");
    assert!(!last.ends_torn(), "nobody killed it");
    assert!(last.notes.is_empty(), "it is not started again: {:?}", last.notes);
}

#[test]
fn who_ignores_both_the_end_of_stdin_and_term_is_killed_with_its_tree() {
    let bench = Bench::new();
    bench.stream("trap '' TERM; (trap '' TERM; while :; do sleep 1; done) & echo \"{\\\"pid\\\":$!}\"; while :; do sleep 1; done");
    let run = bench.next();
    let pid: serde_json::Value = serde_json::from_slice(&run.stdout).unwrap();
    let pid = u32::try_from(pid["pid"].as_u64().unwrap()).unwrap();
    let own = bench.exec.standing(&"a".parse().unwrap()).unwrap().pid.unwrap();
    assert!(is_alive(pid) && is_alive(own));
    let start = Instant::now();
    let rest = bench.stop();
    // Two graces: one to end by itself, one after TERM.
    assert!((600 * MS..5000 * MS).contains(&start.elapsed()), "{:?}", start.elapsed());
    assert_eq!(rest.last().unwrap().outcome, Outcome::Stopped);
    assert!(!is_alive(own));
    wait_until("the grandchild's end", || !is_alive(pid));
}

#[test]
fn stop_now_kills_at_once() {
    let bench = Bench::new();
    bench.stream("trap '' TERM; echo '{}'; while :; do sleep 1; done");
    bench.next();
    let start = Instant::now();
    bench.exec.stop_now();
    bench.exec.join();
    assert!(start.elapsed() < 250 * MS + 2000 * MS);
    assert_eq!(bench.runs.try_iter().last().unwrap().outcome, Outcome::Stopped);
}

#[test]
fn who_closes_its_stdout_is_ended_and_started_again() {
    let bench = Bench::new();
    bench.stream("echo '{}'; exec >&-; exec sleep 60");
    let run = bench.next_of(&Outcome::TimedOut { reached: Rung::Term });
    assert!(matches!(run.notes.last(), Some(Note::Restart { .. })));
}

#[test]
fn what_prints_nothing_is_diagnosed_once() {
    let bench = Bench::new();
    let life = Life::Stream { line_cap: 1000, quiet: 200 * MS };
    let spec = bench.script("a", life, "read -r end");
    bench.exec.set(Arc::new(spec), Box::new(Never));
    let run = bench.next();
    assert_eq!(run.outcome, Outcome::Answered);
    assert!(matches!(run.notes.as_slice(), [Note::Silent(lived)] if *lived >= 200 * MS));
    assert!(bench.exec.standing(&"a".parse().unwrap()).unwrap().silent);
    assert!(bench.runs.recv_timeout(700 * MS).is_err(), "it was said already");
}

#[test]
fn the_same_in_answering_ticks() {
    let bench = Bench::new();
    bench.ticks(1000 * MS, 200 * MS, "while read -r l; do :; done");
    let run = bench.next();
    assert!(matches!(run.outcome, Outcome::TimedOut { .. }));
    assert!(matches!(run.notes.as_slice(), [Note::Silent(_), Note::Restart { .. }]), "{run:?}");
}

#[test]
fn log_lines_of_one_that_reports_nothing_are_passed_on_at_its_next_report() {
    let bench = Bench::new();
    bench.ticks(
        PATIENCE,
        PATIENCE,
        "echo early >&2; while read -r l; do sleep 0.3; echo '{}'; done",
    );
    assert_eq!(bench.next().stderr, b"early\n");
}

#[test]
fn a_changed_plugin_is_ended_and_started_anew_and_never_runs_twice() {
    let bench = Bench::new();
    let script =
        "mkdir lock || exit 9; echo \"{\\\"v\\\":VERSION}\"; cat >/dev/null; sleep 0.2; rmdir lock";
    bench.stream(&script.replace("VERSION", "1"));
    assert_eq!(text(&bench.next()), "{\"v\":1}\n");
    bench.stream(&script.replace("VERSION", "2"));
    assert_eq!(bench.next().outcome, Outcome::Stopped);
    let run = bench.next();
    assert_eq!((run.outcome.clone(), text(&run)), (Outcome::Answered, "{\"v\":2}\n".to_owned()));
    // To one that is started for each run, and back.
    let mut spec = bench.script("a", Life::Run, "echo '{\"v\":3}'");
    spec.stdin = Stdin::Null;
    bench.exec.set(Arc::new(spec), Box::new(Every(PATIENCE)));
    assert_eq!(bench.next().outcome, Outcome::Stopped);
    bench.exec.trigger(&"a".parse().unwrap()).unwrap();
    assert_eq!(text(&bench.next_of(&Outcome::Exited { code: 0 })), "{\"v\":3}\n");
    bench.stream(&script.replace("VERSION", "4"));
    assert_eq!(text(&bench.next_of(&Outcome::Answered)), "{\"v\":4}\n");
    bench.exec.remove(&"a".parse().unwrap());
    assert_eq!(bench.next().outcome, Outcome::Stopped);
    wait_until("its end", || bench.exec.live() == 0);
}

#[test]
fn a_trigger_asks_starts_or_does_not_apply() {
    let bench = Bench::new();
    let name = "a".parse().unwrap();
    bench.ticks(PATIENCE, PATIENCE, ANSWERS);
    assert_eq!(text(&bench.next()), "{\"n\":1}\n");
    bench.exec.trigger(&name).unwrap();
    assert_eq!(text(&bench.next()), "{\"n\":2}\n");
    bench.stream("echo '{}'; read -r end");
    bench.next_of(&Outcome::Answered);
    assert_eq!(bench.exec.trigger(&name), Err(TriggerError::Streams(name.clone())));
}

#[test]
fn long_lived_plugins_take_no_place_of_a_run() {
    let bench = Bench::new();
    for n in 0..8 {
        let spec = bench.script(&format!("s{n}"), STREAM, "echo '{}'; read -r end");
        bench.exec.set(Arc::new(spec), Box::new(Never));
    }
    for _ in 0..8 {
        assert_eq!(bench.next().outcome, Outcome::Answered);
    }
    assert_eq!(bench.exec.live(), 8);
    let mut spec = bench.script("run", Life::Run, "echo '{}'");
    spec.stdin = Stdin::Null;
    bench.exec.set(Arc::new(spec), Box::new(Every(PATIENCE)));
    assert_eq!(bench.next().outcome, Outcome::Exited { code: 0 });
}

#[test]
fn a_flood_waits_on_its_own_pipe_while_nobody_takes_it_and_others_go_on() {
    let bench = Bench::new();
    bench.stream("while :; do seq 100000 199999; done");
    let mut tick = bench.script("t", TICK, ANSWERS);
    tick.timeout = PATIENCE;
    bench.exec.set(Arc::new(tick), Box::new(Every(50 * MS)));
    // Whoever keeps the parts takes room: the flood stops at its share.
    let (mut kept, mut answers) = (Vec::new(), 0);
    while answers < 20 {
        let run = bench.next();
        if run.plugin.as_str() == "t" {
            assert_eq!(run.outcome, Outcome::Answered);
            answers += 1;
        } else {
            kept.push(run);
        }
    }
    let bytes: usize = kept.iter().map(|run| run.stdout.len()).sum();
    assert!((1 << 20..=(3 << 20)).contains(&bytes), "{bytes}");
    // It goes on where it was, not a byte is missing.
    let mut expected = 100_000..200_000_u32;
    for (n, run) in kept.drain(..).enumerate() {
        assert!(run.stdout.ends_with(b"\n"), "part {n} ends within a line");
        for line in text(&run).lines() {
            assert_eq!(line.parse(), Ok(expected.next().unwrap()));
            if expected.is_empty() {
                expected = 100_000..200_000;
            }
        }
    }
    let more =
        std::iter::repeat_with(|| bench.next()).find(|run| run.plugin.as_str() == "a").unwrap();
    assert_eq!(text(&more).lines().next().unwrap().parse(), Ok(expected.next().unwrap()));
}

#[test]
fn while_no_reports_are_taken_a_deadline_does_not_count_and_nothing_is_asked() {
    let bench = Bench::new();
    bench.ticks(400 * MS, 300 * MS, "while read -r l; do sleep 0.1; echo '{}'; done");
    bench.next();
    // The next answer comes while it is not read, and later than its deadline.
    wait_until("a tick", || {
        bench.open.store(false, Ordering::SeqCst);
        true
    });
    assert!(bench.runs.recv_timeout(1200 * MS).is_err(), "nothing is read");
    bench.open.store(true, Ordering::SeqCst);
    let run = bench.next();
    assert_eq!(run.outcome, Outcome::Answered);
    assert!(run.skipped + bench.next().skipped >= 1);
}

#[test]
fn one_megabyte_a_second_arrives_whole_with_its_processor_time() {
    let bench = Bench::new();
    // 10 bursts of about 100 kB, a tenth of a second apart.
    bench.stream("i=0; while [ $i -lt 10 ]; do seq -f '{\"n\":%.0f,\"pad\":\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"}' $((i*1600)) $((i*1600+1599)); i=$((i+1)); sleep 0.1; done; read -r end");
    let mut lines = Vec::new();
    let mut cpu = 0.0;
    while lines.len() < 16_000 {
        let run = bench.next();
        assert_eq!(run.outcome, Outcome::Answered);
        cpu += run.usage.cpu;
        lines.extend(text(&run).lines().map(str::to_owned));
    }
    assert_eq!(lines.len(), 16_000);
    for (n, line) in lines.iter().enumerate() {
        assert!(line.starts_with(&format!("{{\"n\":{n},")), "line {n} is {line}");
    }
    let rest = bench.stop();
    cpu += rest.iter().map(|run| run.usage.cpu).sum::<f64>();
    assert!(cpu > 0.0 && cpu < 10.0, "{cpu}");
}
