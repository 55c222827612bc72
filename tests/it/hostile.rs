//! Plugins that do what no plugin should, in the real agent: its memory stays flat, and those beside
//! them run as ever. What one run of one such plugin comes to is in `exec` and `bad_input`.
//!
//! Nothing here runs in less than several seconds: what is shown is that nothing changes.

mod crowd;

use std::collections::HashMap;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use self::crowd::{HOSTILE, HUNG, all_ran, healthy, hostile, hung, idle, status, survivors, until};
use crate::support::{PATIENCE, Site, http, is_release, skip};

const MIB: u64 = 1 << 20;

/// Until a thousand plugins have hung once, on a busy machine.
const LONG: Duration = Duration::from_secs(120);

/// How long the memory is looked at.
const WATCHED: Duration = Duration::from_secs(20);

/// How long start lags are gathered.
const GATHERED: Duration = Duration::from_secs(10);

/// Reports go to a file, so that what is printed takes the whole way.
const OUTPUT: &str = "[hub]\nenabled = false\n[outputs.main]\ntype = 'file'\n\
                      path = 'out.ndjson'\nrotate = '8MiB'\nkeep = 1\nstart = 'oldest'\n";

/// Room for so many young runs that a thousand get their turn within the time of a test.
const HASTE: u32 = 32;

/// The default of a small machine: four hung runs every 250 ms fill it.
const USUAL: u32 = 4;

fn configure(site: &Site, concurrency: u32, plugins: &str) {
    site.configure(&format!("concurrency = {concurrency}\n{OUTPUT}{plugins}"));
}

/// A field of `/proc/PID/status`, in bytes.
fn memory(pid: u32, field: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

fn median(samples: &[u64]) -> u64 {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() / 2]
}

/// All of them in one agent at once. The memory is `RssAnon`, what the agent itself has taken and
/// touched, sampled ten times a second: `VmRSS` has the program's own pages in it, too, which are
/// five times as many without optimisation. Of a release build `VmRSS` is held to 32 MiB as well.
#[test]
fn memory_is_small_and_flat_while_all_of_them_are_at_it() {
    let mut site = Site::new();
    let mut plugins = hostile(&site) + &hung();
    for nth in 0..10 {
        plugins += &healthy(nth, "1s");
    }
    plugins += "[plugins.types.metrics.declared]\ntype = 'integer'\n";
    configure(&site, HASTE, &plugins);
    let pid = site.start_agent();
    until(&site, "run of everybody", LONG, |status| {
        let others = HOSTILE.iter().all(|(name, _)| all_ran(status, name, 3));
        (all_ran(status, "hung_", 1) && others).then_some(())
    });

    let before = status(&site).unwrap();
    let begin = Instant::now();
    let (mut anonymous, mut resident) = (Vec::new(), 0);
    while begin.elapsed() < WATCHED {
        anonymous.push(memory(pid, "RssAnon"));
        resident = resident.max(memory(pid, "VmRSS"));
        std::thread::sleep(Duration::from_millis(100));
    }
    let after = until(&site, "status", PATIENCE, |status| Some(status.clone()));
    let (first, second) = anonymous.split_at(anonymous.len() / 2);
    let (early, late) = (median(first), median(second));
    let peak = *anonymous.iter().max().unwrap();
    let kib = |bytes: u64| bytes >> 10;
    println!(
        "RssAnon: median {} KiB, then {} KiB; at most {} KiB; VmRSS at most {} KiB",
        kib(early),
        kib(late),
        kib(peak),
        kib(resident)
    );
    assert!(peak < 24 * MIB, "{peak} bytes");
    assert!(late < early + early / 10 + MIB, "it grew from {early} to {late} bytes");
    if is_release() {
        assert!(resident < 32 * MIB, "{resident} bytes");
    }

    // They were all at it, and each is what it seems.
    for (name, wanted) in [
        ("endless_stdout", json!({"kind": "flooded", "stream": "stdout", "limit": MIB})),
        ("endless_stderr", json!({"kind": "flooded", "stream": "stderr", "limit": MIB})),
        ("endless_line", json!({"kind": "flooded", "stream": "stdout", "limit": MIB})),
        ("drip", json!({"kind": "timed_out", "reached": "term"})),
        ("deaf", json!({"kind": "timed_out", "reached": "kill"})),
        ("series", json!({"kind": "flooded", "stream": "stdout", "limit": MIB})),
        ("times", json!({"kind": "exited", "code": 0})),
        ("types", json!({"kind": "exited", "code": 0})),
        ("hung_0", json!({"kind": "timed_out", "reached": "term"})),
        ("healthy_0", json!({"kind": "exited", "code": 0})),
    ] {
        assert_eq!(after["plugins"][name]["last"]["outcome"], wanted, "{name}");
        let runs = |status: &Value| status["plugins"][name]["runs"].as_u64().unwrap();
        assert!(runs(&after) > runs(&before), "{name} did not run meanwhile");
    }
    let plugin = |name: &str| &after["plugins"][name];
    let of = |name: &str, key: &str| plugin(name)[key].as_u64().unwrap();
    // What was printed before the end is kept.
    assert_eq!(of("drip", "accepted"), of("drip", "runs"));
    assert_eq!((of("series", "accepted"), of("series", "series")), (10_000, 10_000));
    let too_many = plugin("series")["rejected"]["too-many-series"].as_u64().unwrap();
    assert!(too_many > 10_000, "{too_many}");
    assert_eq!(of("times", "accepted"), 10_000 * of("times", "runs"));
    assert_eq!(plugin("times")["rejected"]["too-many-metrics"], 10_000 * of("times", "runs"));
    assert_eq!(plugin("gone")["last"]["outcome"]["kind"], "not_started");
    assert_eq!(of("gone", "accepted"), 1);
    for nth in 0..10 {
        let name = format!("healthy_{nth}");
        assert_eq!(of(&name, "accepted"), of(&name, "runs"), "{name}");
    }
    assert_eq!((&after["leaks"], &after["agent"]["overflowed"]), (&json!(0), &json!(0)));

    assert!(site.stop(pid).success(), "{}", site.read("agent.log"));
    assert_eq!(survivors(&site), [""; 0]);
    site.ledger();
}

/// Start lags in seconds, as the agent reports them for each run, of which half and 99 in 100 are
/// shorter.
#[derive(Debug)]
struct Lags {
    p50: f64,
    p99: f64,
    runs: usize,
}

/// The start lags of forty plugins that run twice a second, beside others.
fn lags(others: &str) -> Lags {
    let mut site = Site::new();
    let healthy: String = (0..40).map(|nth| healthy(nth, "500ms")).collect();
    let plugins = healthy + others;
    configure(&site, HASTE, &plugins);
    let pid = site.start_agent();
    until(&site, "run of everybody", LONG, |status| {
        let others = all_ran(status, "hung_", 1) && all_ran(status, "idle_", 1);
        (others && all_ran(status, "healthy_", 3)).then_some(())
    });
    configure(&site, USUAL, &plugins);
    site.talaia(&["reload", "--config", "talaia.toml"]).code(0);
    let runs = |found: &mut HashMap<(String, String), f64>| {
        let status = status(&site).unwrap();
        for (name, plugin) in status["plugins"].as_object().unwrap() {
            if name.starts_with("healthy_") {
                let last = &plugin["last"];
                assert_eq!(last["outcome"]["kind"], "exited", "{name}: {last}");
                let started = last["started"].as_str().unwrap().to_owned();
                found.insert((name.clone(), started), last["lag"].as_f64().unwrap());
            }
        }
    };
    // What ran before or during the reload is none of it.
    let mut earlier = HashMap::new();
    runs(&mut earlier);
    let begin = Instant::now();
    let mut seen = HashMap::new();
    while begin.elapsed() < GATHERED {
        runs(&mut seen);
        // Often enough to see every run.
        std::thread::sleep(Duration::from_millis(400));
    }
    seen.retain(|run, _| !earlier.contains_key(run));
    assert!(site.stop(pid).success(), "{}", site.read("agent.log"));
    assert_eq!(survivors(&site), [""; 0]);
    let mut lags: Vec<f64> = seen.into_values().collect();
    lags.sort_by(f64::total_cmp);
    Lags { p50: lags[lags.len() / 2], p99: lags[lags.len() * 99 / 100], runs: lags.len() }
}

/// The others are as many in both runs, so that to ask the agent for the lags costs the same: that
/// takes more, without optimisation, than all that is looked at here.
///
/// Two runs of the same machine are compared, one after the other, and three times if need be: what
/// else it does may fall into one of them. Plugins that hold the healthy ones up would do so each
/// time, by as much as a thousand times. What is rare is for a benchmark to tell, not for a test.
#[test]
fn a_thousand_that_hang_do_not_make_the_others_late() {
    for attempt in 1..=3 {
        let alone = lags(&idle());
        let beside = lags(&hung());
        let says = |l: &Lags| format!("p50 {} s, p99 {} s of {} runs", l.p50, l.p99, l.runs);
        println!("alone: {}; beside {HUNG} that hang: {}", says(&alone), says(&beside));
        assert!(beside.runs * 10 > alone.runs * 8, "runs are missing: {alone:?}, {beside:?}");
        if beside.p50 < alone.p50 * 20.0 {
            return;
        }
        assert!(attempt < 3, "alone: {alone:?}, beside {HUNG} that hang: {beside:?}");
    }
}

/// What the last run of a plugin came to.
fn last_kind(status: &Value, plugin: &str) -> String {
    status["plugins"][plugin]["last"]["outcome"]["kind"].as_str().unwrap_or_default().to_owned()
}

/// Waits for a run of `plugin` that comes to `kind`; its last run.
#[track_caller]
fn comes_to(site: &Site, plugin: &str, kind: &str) -> Value {
    until(site, &format!("{plugin} that comes to {kind}"), PATIENCE, |status| {
        (last_kind(status, plugin) == kind).then(|| status["plugins"][plugin]["last"].clone())
    })
}

#[test]
fn a_plugin_that_deletes_itself_is_missed_and_taken_back() {
    let mut site = Site::new();
    let plugin = |name: &str| {
        format!("[plugins.{name}]\ncommand = ['./{name}']\ninterval = '500ms'\ntimeout = '450ms'\n")
    };
    site.script("gone", "rm -- \"$0\"\necho '{\"a\":1}'");
    configure(&site, USUAL, &(plugin("gone") + &healthy(0, "300ms")));
    let pid = site.start_agent();
    let last = comes_to(&site, "gone", "not_started");
    let error = last["outcome"]["error"].as_str().unwrap();
    assert!(error.contains("gone") && error.contains("does not exist"), "{error}");
    site.script("gone", "echo '{\"a\":1}'");
    comes_to(&site, "gone", "exited");
    let status = status(&site).unwrap();
    assert!(status["plugins"]["gone"]["accepted"].as_u64().unwrap() >= 2, "{status}");
    assert_eq!(last_kind(&status, "healthy_0"), "exited");
    assert!(site.stop(pid).success());
    site.ledger();
}

#[test]
fn a_run_ends_with_the_program_that_it_began_with() {
    let mut site = Site::new();
    site.script(
        "plugin",
        "echo '{\"v\":1}'\n: > begun\nwhile [ ! -e replaced ]; do sleep 0.02; done\necho '{\"w\":1}'",
    );
    configure(
        &site,
        USUAL,
        "[plugins.p]\ncommand = ['./plugin']\ninterval = '1h'\ntimeout = '30s'\n",
    );
    let pid = site.start_agent();
    site.until("run", |site| site.path("begun").exists().then_some(()));
    // Another owner's eyes would see nothing new: the trust in the file is looked at anew.
    site.script("plugin", "echo '{\"v\":2}'");
    site.write("replaced", "", 0o644);
    comes_to(&site, "p", "exited");
    site.talaia(&["trigger", "p", "--config", "talaia.toml"]).code(0);
    until(&site, "second run", PATIENCE, |status| {
        (status["plugins"]["p"]["runs"] == 2 && status["outputs"]["main"]["spooled"] == 0)
            .then_some(())
    });
    assert!(site.stop(pid).success());
    let printed: Vec<Vec<(String, Value)>> = site
        .read("out.ndjson")
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|report| {
            let pair = |m: &Value| (m["name"].as_str().unwrap().to_owned(), m["value"].clone());
            report["metrics"].as_array().unwrap().iter().map(pair).collect()
        })
        .collect();
    let named = |name: &str, n: i64| (name.to_owned(), json!(n));
    assert_eq!(printed, [vec![named("v", 1), named("w", 1)], vec![named("v", 2)]]);
}

#[test]
fn a_program_that_is_being_written_is_left_until_it_is_done() {
    let mut site = Site::new();
    // Under its own name: it may be one of many in the same file, which go by their names.
    fs::copy("/bin/echo", site.path("echo")).unwrap();
    fs::set_permissions(site.path("echo"), Permissions::from_mode(0o755)).unwrap();
    configure(
        &site,
        USUAL,
        "[plugins.p]\ncommand = ['./echo', '{\"v\":1}']\ninterval = '300ms'\ntimeout = '250ms'\n",
    );
    let pid = site.start_agent();
    comes_to(&site, "p", "exited");
    let writer = File::options().append(true).open(site.path("echo")).unwrap();
    let last = comes_to(&site, "p", "not_started");
    let error = last["outcome"]["error"].as_str().unwrap();
    assert!(error.contains("is being written to"), "{error}");
    drop(writer);
    comes_to(&site, "p", "exited");
    assert!(site.stop(pid).success());
    site.ledger();
}

#[test]
fn types_that_change_are_warned_of_refused_where_declared_and_kept_by_the_hub() {
    let mut site = Site::new();
    site.script("types", crowd::TYPES);
    site.configure(
        "[hub]\nlisten = '127.0.0.1:0'\n\
         [plugins.types]\ncommand = ['./types']\ninterval = '250ms'\ntimeout = '240ms'\n\
         [plugins.types.metrics.declared]\ntype = 'integer'\n",
    );
    let pid = site.start_agent();
    let found = site.until("all types on the hub", |site| {
        let written = site.read("data/hub/credentials.json");
        let given: Value = serde_json::from_str(&written).ok()?;
        let ask = |path: &str| -> Option<Value> {
            let (code, body) = http(given["url"].as_str()?, path, Some(given["key"].as_str()?))?;
            assert_eq!(code, 200, "{body}");
            Some(serde_json::from_str(&body).unwrap())
        };
        let points = ask("/api/v1/points?plugin=types&name=v&host=test-host")?;
        let points = points["series"][0]["points"].as_array()?.clone();
        let values: Vec<Value> = points.iter().map(|point| point[1].clone()).collect();
        let declared = ask("/api/v1/points?plugin=types&name=declared&host=test-host")?;
        let printed = [json!(1), json!(1.5), json!("text"), json!(true)];
        // After a fraction the numbers are floats, whole or not.
        let fits = |value: &Value| printed.contains(value) || *value == json!(1.0);
        assert!(values.iter().all(fits), "{values:?}");
        printed[1..].iter().all(|value| values.contains(value)).then_some(declared)
    });
    let declared = found["series"].as_array().unwrap().clone();
    // What is declared has one type for good.
    assert_eq!(declared.len(), 1, "{declared:?}");
    assert_eq!(declared[0]["type"], "integer");
    let values = declared[0]["points"].as_array().unwrap();
    assert!(values.iter().all(|point| point[1] == 1), "{values:?}");
    assert!(site.stop(pid).success(), "{}", site.read("agent.log"));
    let ledger = site.ledger();
    let refused = ledger["plugins"]["types"]["rejected"]["value-type"].as_u64().unwrap();
    assert!(refused >= 2, "{ledger}");
}

#[test]
fn each_change_of_a_type_is_in_the_report_of_its_run() {
    let mut site = Site::new();
    site.script("types", crowd::TYPES);
    configure(
        &site,
        USUAL,
        "[plugins.types]\ncommand = ['./types']\ninterval = '200ms'\ntimeout = '190ms'\n\
         [plugins.types.metrics.declared]\ntype = 'integer'\n",
    );
    let pid = site.start_agent();
    until(&site, "nine runs", PATIENCE, |status| all_ran(status, "types", 9).then_some(()));
    assert!(site.stop(pid).success());
    let reports: Vec<Value> =
        site.read("out.ndjson").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(reports.len() >= 9, "{reports:?}");
    let mut before: Option<String> = None;
    for report in reports.iter().filter(|report| report["outcome"]["kind"] == "exited") {
        let metrics = report["metrics"].as_array().unwrap();
        let of = |name: &str| metrics.iter().find(|metric| metric["name"] == name);
        let kind = of("v").unwrap()["type"].as_str().unwrap().to_owned();
        let warnings = report["warnings"].to_string();
        // A number that turns out to have fractions is no surprise, and is one for good.
        let flip = before
            .as_deref()
            .filter(|before| *before != kind && (*before, kind.as_str()) != ("integer", "float"))
            .map(|before| format!("`v` was {before} and is now {kind}"));
        let warned = flip.as_ref().is_none_or(|words| warnings.contains(words.as_str()));
        assert!(warned, "{flip:?} is not in {warnings}");
        assert_eq!(flip.is_some(), report["warnings"] != json!([]), "{report}");
        // What is declared is one type or refused.
        let refused = report["counts"]["rejected"]["value-type"] == 1;
        assert_eq!(refused, of("declared").is_none(), "{report}");
        assert!(of("declared").is_none_or(|metric| metric["type"] == "integer"), "{report}");
        before = Some(kind);
    }
    site.ledger();
}

/// Live processes of a user.
fn processes_of(user: u32) -> usize {
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_string_lossy().bytes().all(|b| b.is_ascii_digit()))
        .filter(|entry| entry.metadata().is_ok_and(|meta| meta.uid() == user))
        .count()
}

/// A user that nobody else in the tests has.
const BOMBER: u32 = 64_811;

/// By the processes of a user of its own: a cgroup holds it as well, where there is one with the
/// pids controller (`launcher` shows that), but few machines that run tests have any.
#[test]
fn a_fork_bomb_is_held_and_the_others_run_on() {
    if !rustix::process::geteuid().is_root() {
        skip("a fork bomb in the agent: only root can give it a user of its own");
        return;
    }
    let mut site = Site::new();
    fs::set_permissions(site.path("."), Permissions::from_mode(0o755)).unwrap();
    site.script(
        "bomb",
        "exec perl -e 'while (1) { defined fork or select undef, undef, undef, 0.01 }'",
    );
    configure(
        &site,
        USUAL,
        &format!(
            "[plugins.bomb]\ncommand = ['./bomb']\nuser = '{BOMBER}'\ngroup = '{BOMBER}'\n\
             limits = {{ processes = 24 }}\ninterval = '1s'\ntimeout = '900ms'\ngrace = '100ms'\n{}",
            healthy(0, "200ms")
        ),
    );
    let pid = site.start_agent();
    until(&site, "six bombs", PATIENCE, |status| all_ran(status, "bomb", 6).then_some(()));
    let before = status(&site).unwrap();
    let (mut most, begin) = (0, Instant::now());
    while begin.elapsed() < Duration::from_secs(4) {
        most = most.max(processes_of(BOMBER));
        std::thread::sleep(Duration::from_millis(20));
    }
    let after = until(&site, "a run beside the bomb", PATIENCE, |status| {
        let runs = |status: &Value| status["plugins"]["healthy_0"]["runs"].as_u64().unwrap();
        (runs(status) > runs(&before)).then(|| status.clone())
    });
    assert!((2..=24).contains(&most), "{most} processes of the bomb at once");
    let healthy = &after["plugins"]["healthy_0"];
    assert_eq!(healthy["accepted"], healthy["runs"], "{healthy}");
    assert_ne!(last_kind(&after, "bomb"), "not_started", "{}", after["plugins"]["bomb"]);
    assert!(site.stop(pid).success(), "{}", site.read("agent.log"));
    assert_eq!(processes_of(BOMBER), 0);
    assert_eq!(survivors(&site), [""; 0]);
    site.ledger();
}

/// An agent in a mount namespace of its own. When there is a file `stall` a file system that never
/// answers is mounted over `mnt`: FUSE without a daemon, whose every request waits for one. When
/// there is none any more the mount is given up, also while somebody looks into it. All of it ends with this shell.
const STALLING: &str = "talaia run --config talaia.toml >>agent.log 2>&1 &\n\
    agent=$!\n\
    trap 'kill -TERM $agent; wait $agent; exit $?' TERM\n\
    while :; do\n\
      while [ ! -e stall ]; do sleep 0.05; done\n\
      exec 3<>/dev/fuse\n\
      mount -i -t fuse -o fd=3,rootmode=40000,user_id=0,group_id=0 stalled mnt || exit 1\n\
      : > stalled\n\
      while [ -e stall ]; do sleep 0.05; done\n\
      exec 3>&-\n\
      umount -l mnt\n\
      rm stalled\n\
    done";

/// Whether this machine lets a test mount a FUSE file system.
fn may_stall() -> bool {
    let try_it = "d=$(mktemp -d) && exec 3<>/dev/fuse && mount -i -t fuse \
                  -o fd=3,rootmode=40000,user_id=0,group_id=0 stalled \"$d\"";
    let site = Site::new();
    let mut command = site.shell("exec unshare -m sh -c \"$TRY\"");
    Path::new("/dev/fuse").exists()
        && command.env("TRY", try_it).output().is_ok_and(|done| done.status.success())
}

#[test]
fn an_executable_on_a_stalled_mount_holds_up_its_own_runs_and_nothing_else() {
    if !may_stall() {
        skip("an executable on a stalled mount: it takes root, unshare and /dev/fuse");
        return;
    }
    let mut site = Site::new();
    fs::create_dir(site.path("mnt")).unwrap();
    site.script("mnt/plugin", "echo '{\"v\":1}'");
    let names = ["stuck", "stuck_1", "stuck_2", "stuck_3", "stuck_4", "stuck_5"];
    let stuck = names.map(|name| {
        format!(
            "[plugins.{name}]\ncommand = ['mnt/plugin']\ninterval = '500ms'\ntimeout = '400ms'\n"
        )
    });
    // Fewer may be live than there are plugins on the mount: those must not keep their places.
    site.configure(&format!(
        "concurrency = {USUAL}\nmax_running = 4\n{OUTPUT}{}{}",
        stuck.concat(),
        healthy(0, "100ms")
    ));
    let mut command = site.shell("exec unshare -m sh -c \"$STALLING\"");
    command.env("STALLING", STALLING);
    let shell = site.start(command, "shell.log");
    for name in names {
        comes_to(&site, name, "exited");
    }
    let runs = |status: &Value| status["plugins"]["healthy_0"]["runs"].as_u64().unwrap();

    site.write("stall", "", 0o644);
    for name in names {
        let last = comes_to(&site, name, "not_started");
        let error = last["outcome"]["error"].as_str().unwrap();
        assert!(error.contains("does its file system answer?"), "{error}");
    }
    assert!(site.path("stalled").exists());
    let before = status(&site).unwrap();
    until(&site, "runs beside the stalled one", PATIENCE, |status| {
        (runs(status) >= runs(&before) + 30).then_some(())
    });
    // Not one thread more for each interval of each: it is still the same spawn. What is started
    // beside them may have one for a moment.
    let agent = u32::try_from(before["agent"]["pid"].as_u64().unwrap()).unwrap();
    let threads = || fs::read_dir(format!("/proc/{agent}/task")).unwrap().count();
    let early = threads();
    until(&site, "more runs beside it", PATIENCE, |status| {
        (runs(status) >= runs(&before) + 60).then_some(())
    });
    assert!(threads() < early + names.len(), "{early} threads, then {}", threads());

    // When the file system is there again, so is the plugin.
    fs::remove_file(site.path("stall")).unwrap();
    for name in names {
        comes_to(&site, name, "exited");
    }

    // A stop does not wait for a file system either.
    site.until("the mount to go", |site| (!site.path("stalled").exists()).then_some(()));
    site.write("stall", "", 0o644);
    comes_to(&site, "stuck", "not_started");
    let begin = Instant::now();
    assert!(site.stop(shell).success(), "{}{}", site.read("shell.log"), site.read("agent.log"));
    assert!(begin.elapsed() < PATIENCE);
    site.ledger();
}
