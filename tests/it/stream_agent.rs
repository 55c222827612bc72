//! Long-lived plugins in the whole agent, as a user has them: configuration, status, commands,
//! reload, stop, and a kill of the agent itself.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{PATIENCE, Site, skip};

/// Reports go to a file, and no hub is in the way.
const OUTPUT: &str =
    "[hub]\nenabled = false\n[outputs.main]\ntype = \"file\"\npath = \"out.ndjson\"\n";

fn reports(site: &Site) -> Vec<Value> {
    site.read("out.ndjson").lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn pid_of(site: &Site, plugin: &str) -> Option<u64> {
    site.status()?["plugins"][plugin]["life"]["pid"].as_u64()
}

fn is_alive(pid: u64) -> bool {
    // A zombie is dead: it has no command line.
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}

const ANSWER: &str = "n=0; while read -r line; do n=$((n+1)); echo \"{\\\"n\\\":$n}\"; done";

#[test]
fn a_stream_and_ticks_are_reported_delivered_and_counted() {
    let mut site = Site::new();
    site.script("s.sh", "i=0; while [ $i -lt 40 ]; do i=$((i+1)); echo \"{\\\"i\\\":$i}\"; sleep 0.05; done; echo nonsense; read -r end; echo '{\"bye\":1}'");
    site.script("t.sh", ANSWER);
    site.configure(&format!(
        "{OUTPUT}[plugins.s]\ncommand = [\"./s.sh\"]\nmode = \"stream\"\n\
         [plugins.t]\ncommand = [\"./t.sh\"]\nmode = \"stream\"\ntrigger = \"tick\"\ninterval = \"200ms\"\n"
    ));
    let agent = site.start_agent();
    site.until("answers and lines", |site| {
        let status = site.status()?;
        let of = |name: &str| status["plugins"][name]["accepted"].as_u64().unwrap_or(0);
        (of("t") >= 5 && of("s") >= 40 && status["plugins"]["s"]["rejected"]["not-json"] == 1)
            .then_some(())
    });
    let trigger = site.talaia(&["trigger", "s", "--config", "talaia.toml"]);
    assert_ne!(trigger.code, 0);
    trigger.says(&["prints by itself", "trigger = \"tick\""]);
    site.talaia(&["trigger", "t", "--config", "talaia.toml"]).code(0);
    assert!(site.stop(agent).success(), "{}", site.read("agent.log"));

    let reports = reports(&site);
    let lines: Vec<&Value> = reports
        .iter()
        .filter(|r| r["plugin"] == "s")
        .flat_map(|r| r["metrics"].as_array().unwrap())
        .filter(|m| m["name"] == "i")
        .collect();
    let values: Vec<u64> = lines.iter().map(|m| m["value"].as_u64().unwrap()).collect();
    assert_eq!(values, (1..=40).collect::<Vec<_>>());
    // Each line has the time at which it came, but for those that came as the report began.
    let times: std::collections::BTreeSet<String> =
        lines.iter().map(|m| m["time"].to_string()).collect();
    assert!(times.len() >= 20, "{times:?}");
    let last = reports.iter().rfind(|r| r["plugin"] == "s").unwrap();
    assert_eq!(last["outcome"]["kind"], "stopped");
    assert_eq!(last["metrics"][0]["name"], "bye", "what it said when its input ended");
    let answers: Vec<u64> = reports
        .iter()
        .filter(|r| r["plugin"] == "t" && r["outcome"]["kind"] == "answered")
        .map(|r| r["metrics"][0]["value"].as_u64().unwrap())
        .collect();
    assert_eq!(answers, (1..=answers.len() as u64).collect::<Vec<_>>());
    assert!(reports.iter().all(|r| r["plugin"] != "s" || r["interval"].is_null()));
    site.ledger();
}

#[test]
fn a_crash_loop_and_a_missing_program_are_plain_to_see() {
    let mut site = Site::new();
    site.script("crash.sh", "echo 'E! no such database' >&2; exit 3");
    let gone = site.script("gone.sh", "read -r end");
    site.configure(&format!(
        "{OUTPUT}[plugins.crash]\ncommand = [\"./crash.sh\"]\nmode = \"stream\"\n\
         [plugins.gone]\ncommand = [\"./gone.sh\"]\nmode = \"stream\"\n"
    ));
    let agent = site.start_agent();
    site.until("a life", |site| pid_of(site, "gone"));
    let status = site.until("a crash loop", |site| {
        let status = site.status()?;
        (status["plugins"]["crash"]["state"] == "crash_loop").then_some(status)
    });
    let crash = &status["plugins"]["crash"];
    let why = crash["why"].as_str().unwrap();
    assert!(why.contains("times in a row (exit 3)") && why.contains("no such database"), "{why}");
    assert_eq!(crash["life"]["last_end"]["code"], 3);
    assert_eq!(crash["life"]["stderr"], "E! no such database");
    let shown = site.talaia(&["status", "--config", "talaia.toml"]);
    assert!(shown.stdout.contains("crash_loop: it ended"), "{}", shown.stdout);
    // Its file goes away and it dies: tried again for ever, and said.
    fs::remove_file(gone).unwrap();
    let pid = site.until("its pid", |site| pid_of(site, "gone"));
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    site.until("a start that fails", |site| {
        let status = site.status()?;
        let gone = &status["plugins"]["gone"];
        (gone["life"]["last_end"]["kind"] == "not_started").then_some(())
    });
    site.script("gone.sh", "read -r end");
    // It is started out of turn by a trigger, however long it is backing off.
    site.until("another life", |site| {
        site.talaia(&["trigger", "gone", "--config", "talaia.toml"]);
        pid_of(site, "gone")
    });
    assert!(site.stop(agent).success());
    let reports = reports(&site);
    let of = |name: &str, kind: &str| {
        reports.iter().filter(|r| r["plugin"] == name && r["outcome"]["kind"] == kind).count()
    };
    assert!(of("crash", "exited") >= 3, "each end is a report");
    assert!(of("gone", "signaled") == 1 && of("gone", "not_started") >= 1);
    let warning = reports.iter().find(|r| r["plugin"] == "crash").unwrap()["warnings"][0].clone();
    assert!(warning.as_str().unwrap().starts_with("restart: it ended after"), "{warning}");
    site.ledger();
}

#[test]
fn a_reload_leaves_alone_what_has_not_changed_and_disabling_ends_it() {
    let mut site = Site::new();
    site.script("t.sh", ANSWER);
    let plugin = |name: &str, more: &str| {
        format!(
            "[plugins.{name}]\ncommand = [\"./t.sh\"]\nmode = \"stream\"\ntrigger = \"tick\"\ninterval = \"200ms\"\n{more}"
        )
    };
    let config = |more: &str| format!("{OUTPUT}{}{}", plugin("kept", ""), plugin("other", more));
    site.configure(&config(""));
    let agent = site.start_agent();
    let kept = site.until("a life", |site| pid_of(site, "kept"));
    let other = site.until("a life", |site| pid_of(site, "other"));
    site.configure(&config("env = { A = \"b\" }\n"));
    site.talaia(&["reload", "--config", "talaia.toml"]).code(0);
    site.until("a new life", |site| pid_of(site, "other").filter(|pid| *pid != other));
    assert_eq!(pid_of(&site, "kept"), Some(kept));
    assert!(!is_alive(other));
    site.configure(&config("enabled = false\n"));
    site.talaia(&["reload", "--config", "talaia.toml"]).code(0);
    site.until("its end", |site| {
        (site.status()?["plugins"]["other"]["state"] == "disabled").then_some(())
    });
    assert!(is_alive(kept));
    assert!(site.stop(agent).success());
    assert!(!is_alive(kept));
    site.ledger();
}

#[test]
fn nothing_long_lived_survives_a_kill_of_the_agent() {
    let mut site = Site::new();
    // It reads nothing, ignores TERM, and has a child that left its session.
    site.script("s.sh", "trap '' TERM; setsid sleep 1000 & echo \"{\\\"child\\\":$!}\"; exec 0</dev/null; while :; do sleep 1; done");
    let config = format!("{OUTPUT}[plugins.s]\ncommand = [\"./s.sh\"]\nmode = \"stream\"\n");
    site.configure(&config);
    let agent = site.start_agent();
    let pid = site.until("a life", |site| pid_of(site, "s"));
    let child = site.until("its child", |site| {
        reports(site).iter().find_map(|r| r["metrics"][0]["value"].as_u64())
    });
    site.kill(agent);
    assert!(is_alive(child));
    site.configure(OUTPUT);
    let agent = site.start_agent();
    site.until("an agent", Site::status);
    site.until("the end of both", |_| (!is_alive(pid) && !is_alive(child)).then_some(()));
    assert!(site.read("agent.log").contains("left behind"));
    assert!(site.stop(agent).success());
}

#[test]
fn one_megabyte_a_second_is_kept_and_the_ledger_balances() {
    let mut site = Site::new();
    // 40 bursts of 1 000 lines of 100 bytes; the tags keep them apart.
    let pad = "x".repeat(40);
    site.script("s.sh", &format!("i=0; while [ $i -lt 40 ]; do seq -f \"{{\\\"name\\\":\\\"m\\\",\\\"value\\\":$i,\\\"tags\\\":{{\\\"n\\\":\\\"%.0f\\\",\\\"pad\\\":\\\"{pad}\\\"}}}}\" 1 1000; i=$((i+1)); sleep 0.1; done; read -r end"));
    site.configure(&format!("{OUTPUT}[plugins.s]\ncommand = [\"./s.sh\"]\nmode = \"stream\"\n"));
    let agent = site.start_agent();
    site.until("all lines", |site| {
        let status = site.status()?;
        (status["plugins"]["s"]["accepted"] == 40_000).then_some(())
    });
    let rss = fs::read_to_string(format!("/proc/{agent}/status")).unwrap();
    let rss = rss.lines().find(|l| l.starts_with("VmHWM")).unwrap().to_owned();
    let kib: u64 = rss.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(kib < 128 << 10, "{rss}");
    assert!(site.stop(agent).success());
    let ledger = site.ledger();
    assert_eq!(ledger["plugins"]["s"]["produced"], 40_000);
    assert_eq!(ledger["outputs"]["main"]["delivered"], 40_000);
}

/// What the plugins of this test print that is refused, one after the other.
const WRONG: u64 = 20_000;

#[test]
fn a_flood_of_refused_records_is_counted_and_pushes_nothing_out() {
    let mut site = Site::new();
    let line = format!("{{\\\"a-b\\\":\\\"{}\\\"}}", "x".repeat(200));
    site.script(
        "p.sh",
        &format!("awk 'BEGIN {{ for (i = 0; i < {WRONG}; i++) print \"{line}\" }}'; read -r end"),
    );
    site.configure(&format!("{OUTPUT}[plugins.p]\ncommand = [\"./p.sh\"]\nmode = \"stream\"\n"));
    let agent = site.start_agent();
    site.until("all of it", |site| {
        let counts = &site.status()?["plugins"]["p"]["rejected"];
        (counts["name-hyphen"] == WRONG).then_some(())
    });
    let items =
        site.talaia(&["quarantine", "ls", "--json", "--limit", "20000", "--config", "talaia.toml"]);
    let kept = items.code(0).stdout.lines().count();
    assert!((1000..20_000).contains(&kept), "{kept} in quarantine");
    assert!(site.stop(agent).success(), "{}", site.read("agent.log"));
    let reports = reports(&site);
    let told: usize = reports.iter().map(|r| r["rejected"].as_array().unwrap().len()).sum();
    assert_eq!(told, 1000);
    let cut = |report: &&Value| report["warnings"].to_string().contains("rejections-cut");
    assert!(reports.iter().any(|report| cut(&report)), "{reports:?}");
    site.ledger();
}

#[test]
fn a_script_that_buffers_is_told_how_not_to() {
    let mut site = Site::new();
    if Path::new("/usr/bin/perl").exists() {
        site.write(
            "s.pl",
            "#!/usr/bin/perl\nwhile (1) { print '{\"a\":1}', \"\\n\"; select(undef, undef, undef, 0.1); }\n",
            0o755,
        );
    } else {
        return skip("there is no perl");
    }
    site.configure(&format!(
        "{OUTPUT}[plugins.s]\ncommand = [\"./s.pl\"]\nmode = \"stream\"\ninterval = \"100ms\"\n"
    ));
    let agent = site.start_agent();
    let status = site.until("a diagnosis", |site| {
        let status = site.status()?;
        status["plugins"]["s"]["why"].is_string().then_some(status)
    });
    let plugin = &status["plugins"]["s"];
    let why = plugin["why"].as_str().unwrap();
    assert!(why.contains("buffered") && why.contains("$| = 1"), "{why}");
    assert_eq!((&plugin["state"], &plugin["life"]["silent"]), (&"ready".into(), &true.into()));
    assert!(site.read("agent.log").contains("$| = 1"));
    assert!(site.stop(agent).success());
    let warned =
        reports(&site).iter().filter(|r| r["warnings"].to_string().contains("silent: ")).count();
    assert_eq!(warned, 1);
}

#[test]
fn test_shows_an_answer_or_some_lines_and_stops_the_plugin() {
    let site = Site::new();
    site.script("t.sh", ANSWER);
    site.script(
        "s.sh",
        "echo '{\"a\":1}'; echo '{\"b-c\":1}'; echo $$ > pid; read -r end; echo '{\"bye\":1}'",
    );
    site.script("quiet.sh", "read -r end");
    site.script("dies.sh", "exit 5");
    site.script("deaf.sh", "sleep 60");
    site.configure(
        "[plugins.t]\ncommand = [\"./t.sh\"]\nmode = \"stream\"\ntrigger = \"tick\"\n\
         [plugins.s]\ncommand = [\"./s.sh\"]\nmode = \"stream\"\n\
         [plugins.quiet]\ncommand = [\"./quiet.sh\"]\nmode = \"stream\"\n\
         [plugins.dies]\ncommand = [\"./dies.sh\"]\nmode = \"stream\"\n\
         [plugins.deaf]\ncommand = [\"./deaf.sh\"]\nmode = \"stream\"\ntrigger = \"tick\"\ntimeout = \"200ms\"\n",
    );
    let test =
        |words: &[&str]| site.talaia(&[&["test", "--config", "talaia.toml"], words].concat());
    let ticks = test(&["t", "--json", "--times", "3"]);
    let values: Vec<Value> = ticks
        .code(0)
        .stdout
        .lines()
        .map(|l| serde_json::from_str::<Value>(l).unwrap()["metrics"][0]["value"].clone())
        .collect();
    assert_eq!(values, [1, 2, 3], "one life");
    let lines = test(&["s"]);
    let said = &lines.code(1).stdout;
    for words in ["✓ a  1", "name-hyphen", "✓ bye  1", "answered"] {
        assert!(said.contains(words), "no `{words}` in {said}");
    }
    assert!(!said.contains("advice"), "what comes in which slice is chance: {said}");
    let pid: u64 = site.read("pid").trim().parse().unwrap();
    assert!(!is_alive(pid));
    let start = Instant::now();
    let quiet = test(&["quiet", "--wait", "300ms"]);
    let said = quiet.code(1).stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("printed nothing in") && said.contains("stdbuf -oL"), "{said}");
    assert!(start.elapsed() < PATIENCE);
    assert!(test(&["dies"]).code(1).stdout.contains("exit 5"));
    let deaf = test(&["deaf"]);
    assert!(deaf.code(1).stdout.contains("timed out"), "{}", deaf.stdout);
    assert!(start.elapsed() < Duration::from_secs(60));
}

#[test]
fn settings_that_contradict_each_other_are_all_named() {
    let site = Site::new();
    site.script("p.sh", "read -r end");
    site.configure(
        "[plugins.a]\ncommand = [\"./p.sh\"]\ntrigger = \"tick\"\n\
         [plugins.b]\ncommand = [\"./p.sh\"]\nmode = \"stream\"\ncron = \"* * * * *\"\n\
         [plugins.c]\ncommand = [\"./p.sh\"]\nmode = \"stream\"\nstdin = \"null\"\nlimits = { stdout = \"1MiB\" }\n\
         [plugins.d]\ncommand = [\"./p.sh\"]\nlimits = { line = \"1MiB\" }\n\
         [plugins.e]\ncommand = [\"./p.sh\"]\nmode = \"stream\"\ntimeout = \"1s\"\n\
         [plugins.f]\ncommand = [\"./p.sh\"]\nmode = \"stream\"\ntrigger = \"tick\"\ncron = \"* * * * *\"\ntimeout = \"1s\"\nlimits = { line = \"2MiB\" }\n",
    );
    site.talaia(&["check", "--config", "talaia.toml"]).code(78).says(&[
        "only a plugin of mode `stream` has a `trigger`",
        "`cron` means nothing",
        "a pipe on its standard input",
        "`limits.stdout` could count to",
        "`limits.line` only goes with",
        "`timeout` means nothing",
        "6 errors",
    ]);
}

#[test]
fn every_example_that_lives_on_reports() {
    let site = Site::new();
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/talaia.toml");
    for (name, metric) in [
        ("busy", "cpu_busy"),
        ("disks", "disk_read"),
        ("timers", "timer_late"),
        ("interrupts", "switches"),
    ] {
        let mut command = site.command(&["test", "--json", "--times", "2", "--config"]);
        // Interpreters are found where they are here.
        let path = std::env::var("PATH").unwrap_or_default();
        command.arg(&config).arg(name).env("PATH", path);
        let done = crate::support::finish(command, b"");
        if done.stderr.contains("would not run it here") {
            skip(&format!("{name}: {}", done.stderr.trim()));
            continue;
        }
        let reports: Vec<Value> =
            done.code(0).stdout.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        // What it prints while it is stopped is a third.
        assert!((2..=3).contains(&reports.len()), "{}", done.stdout);
        for report in &reports[..2] {
            assert_eq!(report["outcome"]["kind"], "answered");
            let metrics = report["metrics"].as_array().unwrap();
            assert!(metrics.iter().any(|m| m["name"] == metric), "{name}: {report}");
        }
    }
}

#[test]
fn who_waits_wakes_nobody() {
    let mut site = Site::new();
    site.script("s.sh", "echo '{}'; read -r end");
    site.script("t.sh", ANSWER);
    let mut config = format!(
        "{OUTPUT}[plugins.t]\ncommand = [\"./t.sh\"]\nmode = \"stream\"\ntrigger = \"tick\"\ninterval = \"1d\"\ntimeout = \"1s\"\n"
    );
    for n in 0..10 {
        config += &format!("[plugins.s{n}]\ncommand = [\"./s.sh\"]\nmode = \"stream\"\n");
    }
    site.configure(&config);
    let agent = site.start_agent();
    site.until("a report of each", |site| {
        let status = site.status()?;
        let plugins = status["plugins"].as_object()?;
        plugins.values().all(|p| p["runs"].as_u64() >= Some(1)).then_some(())
    });
    // The deadline of the tick that was answered passes in this time as well.
    let before = sleeps(agent, "exec");
    std::thread::sleep(Duration::from_secs(2));
    let woken = sleeps(agent, "exec") - before;
    assert!(before > 0 && woken <= 1, "woken {woken} times");
    assert!(site.stop(agent).success());
}

/// How often the threads of that name have gone to sleep.
fn sleeps(pid: u32, name: &str) -> u64 {
    fs::read_dir(format!("/proc/{pid}/task"))
        .unwrap()
        .filter_map(|entry| fs::read_to_string(entry.ok()?.path().join("status")).ok())
        .filter(|status| status.lines().next().is_some_and(|line| line.ends_with(name)))
        .filter_map(|status| {
            let line = status.lines().find(|l| l.starts_with("voluntary_ctxt_switches"))?;
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        })
        .sum()
}
