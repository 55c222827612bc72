//! The whole agent, as a user runs it: real processes, a real spool, and a hub that the test plays.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// Far longer than anything here takes; only a defect waits for it.
const PATIENCE: Duration = Duration::from_secs(30);

/// A folder with a configuration and scripts; agents that are started in it die with it.
struct Site {
    dir: tempfile::TempDir,
    agents: Vec<Child>,
    /// Where systemd would listen.
    notify: Option<PathBuf>,
}

impl Site {
    fn new(config: &str) -> Self {
        let site = Self { dir: tempfile::tempdir().unwrap(), agents: Vec::new(), notify: None };
        site.configure(config);
        site
    }

    /// `[agent]` is written here; `config` is what follows.
    fn configure(&self, config: &str) {
        let text = format!(
            "[agent]\ndata_dir = \"{}\"\nhost = \"test-host\"\nself_metrics = false\n\
             spool = {{ commit_interval = \"5ms\", min_free = \"0B\" }}\n{config}",
            self.path("data").display()
        );
        self.write("talaia.toml", &text, 0o644);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str, mode: u32) {
        let draft = self.path(&format!("{name}.draft"));
        File::create(&draft).unwrap().write_all(text.as_bytes()).unwrap();
        fs::set_permissions(&draft, Permissions::from_mode(mode)).unwrap();
        fs::rename(draft, self.path(name)).unwrap();
    }

    fn script(&self, name: &str, text: &str) {
        self.write(name, &format!("#!/bin/sh\n{text}\n"), 0o755);
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_talaia"));
        command
            .args(words)
            .arg("--config")
            .arg(self.path("talaia.toml"))
            .current_dir(self.dir.path())
            .stdin(Stdio::null());
        command
    }

    /// Runs a command to its end; exit code, stdout, stderr.
    fn talaia(&self, words: &[&str]) -> (i32, String, String) {
        let output = self.command(words).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
    }

    fn start(&mut self) -> u32 {
        let log = File::options().create(true).append(true).open(self.path("agent.log")).unwrap();
        let mut command = self.command(&["run"]);
        if let Some(socket) = &self.notify {
            command.env("NOTIFY_SOCKET", socket);
        }
        let agent = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let pid = agent.id();
        self.agents.push(agent);
        pid
    }

    /// Waits for the newest agent's end. Where that was in order, what it took adds up.
    fn wait(&mut self) -> std::process::ExitStatus {
        let mut agent = self.agents.pop().unwrap();
        let status = agent.wait().unwrap();
        if status.success() && self.path("data/spool.db").exists() {
            self.ledger();
        }
        status
    }

    fn status(&self) -> Option<Value> {
        let (code, stdout, _) = self.talaia(&["status", "--json"]);
        (code == 0).then(|| serde_json::from_str(&stdout).unwrap())
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("agent.log")).unwrap_or_default()
    }

    /// Waits until the running agent's status satisfies `condition`.
    fn until(&self, what: &str, condition: impl Fn(&Value) -> bool) -> Value {
        let start = Instant::now();
        loop {
            let status = self.status();
            if let Some(status) = status.filter(&condition) {
                return status;
            }
            assert!(start.elapsed() < PATIENCE, "no {what}; the agent said:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The ledger on disk, checked for balance.
    fn ledger(&self) -> Value {
        let (code, stdout, stderr) = self.talaia(&["spool", "verify"]);
        assert_eq!(code, 0, "{stdout}{stderr}");
        let (_, stdout, _) = self.talaia(&["spool", "status", "--json"]);
        let status: Value = serde_json::from_str(&stdout).unwrap();
        balances(&status["ledger"]);
        status["ledger"].clone()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        for agent in &mut self.agents {
            // Ended already, or ended here.
            drop(agent.kill());
            drop(agent.wait());
        }
    }
}

fn send(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal).unwrap();
}

/// A hub that keeps what it gets in memory, by stream, as the wire says.
#[derive(Clone, Default)]
struct FakeHub {
    state: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    /// By stream: its mark, and the reports stored.
    marks: HashMap<String, u64>,
    reports: Vec<Value>,
}

impl FakeHub {
    /// Serves on a port of the system's choice until the process ends.
    fn start() -> (Self, u16) {
        let hub = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = hub.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let hub = shared.clone();
                std::thread::spawn(move || hub.serve(stream));
            }
        });
        (hub, port)
    }

    fn serve(&self, stream: TcpStream) {
        let Ok(reading) = stream.try_clone() else { return };
        let mut reader = BufReader::new(reading);
        let mut writer = stream;
        loop {
            let (mut length, mut zstd) = (0, false);
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap_or(0) == 0 {
                    return;
                }
                let line = line.trim().to_ascii_lowercase();
                if let Some(value) = line.strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                zstd |= line == "content-encoding: zstd";
                if line.is_empty() {
                    break;
                }
            }
            let mut body = vec![0; length];
            if reader.read_exact(&mut body).is_err() {
                return;
            }
            if zstd {
                body = zstd::decode_all(&body[..]).unwrap();
            }
            let reply = self.take(&serde_json::from_slice(&body).unwrap()).to_string();
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length:";
            if write!(writer, "{head} {}\r\n\r\n{reply}", reply.len()).is_err() {
                return;
            }
        }
    }

    fn take(&self, batch: &Value) -> Value {
        let mut kept = self.state.lock().unwrap();
        let stream = format!("{}/{}", batch["agent"]["spool"], batch["output"]);
        let mut mark = kept.marks.get(&stream).copied().unwrap_or(0);
        let (mut accepted, mut duplicates) = (0, 0);
        for report in batch["reports"].as_array().unwrap() {
            let seq = report["seq"].as_u64().unwrap();
            if seq <= mark {
                duplicates += 1;
                continue;
            }
            mark = seq;
            accepted += 1;
            let mut report = report.clone();
            report["stream"] = stream.clone().into();
            kept.reports.push(report);
        }
        kept.marks.insert(stream, mark);
        serde_json::json!({
            "through": mark, "accepted": accepted, "duplicates": duplicates, "refused": []
        })
    }

    fn reports(&self) -> Vec<Value> {
        self.state.lock().unwrap().reports.clone()
    }
}

fn output(port: u16) -> String {
    format!(
        "[outputs.main]\ntype = \"talaia\"\nurl = \"http://127.0.0.1:{port}\"\n\
         key = {{ file = \"key\" }}\ninterval = \"100ms\"\nstart = \"oldest\"\n"
    )
}

fn plugin(name: &str, rest: &str) -> String {
    format!("[plugins.{name}]\ncommand = [\"./{name}\"]\n{rest}\n")
}

fn balances(ledger: &Value) {
    for (name, plugin) in ledger["plugins"].as_object().unwrap() {
        let rejected: u64 = sum(&plugin["rejected"]);
        let produced = plugin["produced"].as_u64().unwrap();
        assert_eq!(produced, plugin["accepted"].as_u64().unwrap() + rejected, "{name}: {plugin}");
    }
    for (name, output) in ledger["outputs"].as_object().unwrap() {
        let of = |key: &str| output[key].as_u64().unwrap();
        let kept = of("delivered") + of("spooled") + of("filtered") + sum(&output["evicted"]);
        assert_eq!(of("accepted"), kept, "{name}: {output}");
    }
}

fn sum(counts: &Value) -> u64 {
    counts.as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum()
}

#[test]
fn the_first_report_tells_the_contract_and_so_does_the_first_after_a_change() {
    let (hub, port) = FakeHub::start();
    let declared = "timeout = \"150ms\"\nstrict = true\n[plugins.p.metrics.load]\ntype = \"float\"\n\
                    unit = \"s\"\nrequired = true\nwarn = \"1:2\"";
    let config = output(port) + &plugin("p", &format!("interval = \"200ms\"\n{declared}"));
    let mut site = Site::new(&config);
    site.write("key", "secret\n", 0o600);
    site.script("p", "echo '{\"load\": 0.5}'");
    let pid = site.start();
    let runs = |status: &Value| status["plugins"]["p"]["runs"].as_u64().unwrap_or(0);
    let before = runs(&site.until("some runs", |status| runs(status) >= 3));
    let written = fs::read_to_string(site.path("talaia.toml")).unwrap();
    site.write("talaia.toml", &written.replace("1:2", "1:3"), 0o644);
    send(pid, Signal::HUP);
    site.until("runs after the reload", |status| runs(status) >= before + 4);
    send(pid, Signal::TERM);
    assert!(site.wait().success(), "{}", site.log());
    let reports = hub.reports();
    let told: Vec<&Value> =
        reports.iter().map(|r| &r["contract"]).filter(|c| !c.is_null()).collect();
    let contract = |warn: &str| {
        json!({
            "metrics": {"load": {"type": "float", "unit": "s", "required": true, "warn": warn}},
            "strict": true, "schema": false, "interval": 0.2, "timeout": 0.15,
        })
    };
    assert_eq!(told, [&contract("1:2"), &contract("1:3")]);
    assert!(!reports[0]["contract"].is_null());
}

#[test]
fn a_script_becomes_a_delivered_metric() {
    let (hub, port) = FakeHub::start();
    let interval = "interval = \"200ms\"\ntimeout = \"150ms\"";
    let config = output(port) + &plugin("good", interval) + &plugin("mixed", interval);
    let mut site = Site::new(&config);
    site.write("key", "secret\n", 0o600);
    site.script("good", "echo '{\"load\": 0.5}'; echo 'W! careful' >&2");
    site.script("mixed", "echo hello; echo '{\"a-b\": 1, \"fine\": 2}'; exit 3");
    let pid = site.start();
    let status = site.until("delivery of both", |status| {
        let of = |name: &str| status["plugins"][name]["runs"].as_u64().unwrap_or(0);
        of("good") >= 3 && of("mixed") >= 3
    });
    balances(&status);
    send(pid, Signal::TERM);
    assert!(site.wait().success(), "{}", site.log());

    let ledger = site.ledger();
    balances(&ledger);
    assert_eq!(ledger["outputs"]["main"]["spooled"], 0, "a stop delivers what is spooled");
    let reports = hub.reports();
    let delivered: u64 =
        reports.iter().map(|r| r["metrics"].as_array().unwrap().len() as u64).sum();
    assert_eq!(ledger["outputs"]["main"]["delivered"], delivered);

    let good = reports.iter().find(|r| r["plugin"] == "good").unwrap();
    assert_eq!(good["metrics"][0]["name"], "load");
    assert_eq!(good["host"], "test-host");
    assert_eq!(good["stderr"], "W! careful");
    let mixed = reports.iter().find(|r| r["plugin"] == "mixed").unwrap();
    assert_eq!(mixed["outcome"], serde_json::json!({"kind": "exited", "code": 3}));
    assert_eq!(mixed["status"], "unknown");
    assert_eq!(mixed["metrics"].as_array().unwrap().len(), 1, "what was right is kept");
    let codes: Vec<&str> =
        mixed["rejected"].as_array().unwrap().iter().map(|r| r["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["not-json", "name-hyphen"]);
    let log = site.log();
    assert!(log.contains("careful") && log.contains("WARN"), "{log}");
}

#[test]
fn every_report_matches_its_schema() {
    let (hub, port) = FakeHub::start();
    let interval = "interval = \"200ms\"\ntimeout = \"150ms\"";
    let config = output(port)
        + &plugin("good", interval)
        + &plugin("slow", interval)
        + &plugin("quiet", interval)
        + &plugin("killed", interval);
    let mut site = Site::new(&config);
    site.write("key", "secret\n", 0o600);
    site.script(
        "good",
        "echo '[{\"name\":\"a\",\"value\":1,\"tags\":{\"k\":\"v\"},\"warn\":\"10:20\"}] oops'",
    );
    site.script("slow", "echo '{\"a\":1}'; sleep 5");
    site.script("quiet", "exit 0");
    site.script("killed", "kill -9 $$");
    site.start();
    site.until("runs of all", |status| {
        ["good", "slow", "quiet", "killed"]
            .iter()
            .all(|name| status["plugins"][name]["runs"].as_u64().unwrap_or(0) >= 2)
    });
    let start = Instant::now();
    while hub.reports().len() < 8 {
        assert!(start.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(20));
    }
    let schema: Value = serde_json::from_str(include_str!("../../schemas/report.v1.json")).unwrap();
    let schema = jsonschema::options().build(&schema).unwrap();
    let mut kinds = std::collections::BTreeSet::new();
    for mut report in hub.reports() {
        report.as_object_mut().unwrap().remove("seq");
        let errors: Vec<String> = schema.iter_errors(&report).map(|e| e.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?} in {report}");
        kinds.insert(report["outcome"]["kind"].as_str().unwrap().to_owned());
    }
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), ["exited", "signaled", "timed_out"]);
}

#[test]
fn a_reload_touches_only_what_changed() {
    let (_hub, port) = FakeHub::start();
    let keep = plugin("keep", "interval = \"300ms\"");
    let before = output(port)
        + &keep
        + &plugin("change", "interval = \"300ms\"")
        + &plugin("go", "interval = \"300ms\"");
    let mut site = Site::new(&before);
    site.write("key", "secret\n", 0o600);
    for name in ["keep", "change", "go", "come"] {
        site.script(name, "echo '{\"a\":1}'");
    }
    let pid = site.start();
    site.until("first runs", |s| {
        let of = |name: &str| s["plugins"][name]["runs"].as_u64().unwrap_or(0);
        of("keep") >= 2 && of("go") >= 1
    });

    site.configure(
        &(output(port)
            + &keep
            + &plugin("change", "interval = \"250ms\"")
            + &plugin("come", "interval = \"250ms\"")),
    );
    let (code, _, said) = site.talaia(&["reload"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("added come; changed change; removed go; 1 untouched"), "{said}");
    let status =
        site.until("the new one", |s| s["plugins"]["come"]["runs"].as_u64().unwrap_or(0) >= 1);
    assert_eq!(status["plugins"]["go"]["state"], "gone");

    // A configuration that does not load changes nothing.
    site.configure(&format!("{before}\n[plugins.bad]\ncommand = [\"x\"]\nintervall = \"1s\"\n"));
    let (code, _, said) = site.talaia(&["reload", "-q"]);
    assert_eq!(code, 78, "{said}");
    assert!(said.contains("intervall") && said.contains("interval"), "{said}");
    send(pid, Signal::HUP);
    let runs = |s: &Value| s["plugins"]["come"]["runs"].as_u64().unwrap();
    let now = runs(&site.status().unwrap());
    site.until("more runs of the old configuration", |s| runs(s) > now + 1);
    assert!(site.log().contains("the old one goes on"), "{}", site.log());
}

#[test]
fn a_plugin_is_triggered_out_of_turn() {
    let mut site = Site::new(&format!(
        "[hub]\nenabled = false\n{}",
        plugin("rare", "cron = \"0 0 1 1 *\"\ntimezone = \"UTC\"")
    ));
    site.script("rare", "echo '{\"a\":1}'");
    site.start();
    site.until("a start", |_| true);
    let (code, _, said) = site.talaia(&["trigger", "nobody"]);
    assert_eq!(code, 2, "{said}");
    assert_eq!(site.talaia(&["trigger", "rare"]).0, 0);
    let status = site.until("the run", |s| s["plugins"]["rare"]["runs"] == 1);
    assert_eq!(status["plugins"]["rare"]["last"]["accepted"], 1);
}

#[test]
fn a_second_agent_on_the_same_data_is_refused_by_name() {
    let mut site = Site::new("[hub]\nenabled = false\n");
    let pid = site.start();
    site.until("a start", |_| true);
    let (code, _, said) = site.talaia(&["run"]);
    assert_eq!(code, 74, "{said}");
    assert!(said.contains(&pid.to_string()), "{said}");
}

#[test]
fn nobody_running_is_said_with_69() {
    let site = Site::new("[hub]\nenabled = false\n");
    let (code, _, said) = site.talaia(&["status"]);
    assert_eq!(code, 69, "{said}");
    assert!(said.contains("no agent answers"), "{said}");
}

#[test]
fn stop_ends_every_process_of_every_plugin() {
    let mut site = Site::new(&format!("[hub]\nenabled = false\n{}", plugin("tree", "")));
    let pids = site.path("pids");
    site.script(
        "tree",
        &format!(
            "echo $$ >> {0}\n(trap '' TERM; while :; do sleep 1; done) & echo $! >> {0}\n\
             setsid sh -c 'trap \"\" TERM; echo $$ >> {0}; while :; do sleep 1; done' &\nwait",
            pids.display()
        ),
    );
    let pid = site.start();
    site.until("a start", |_| true);
    assert_eq!(site.talaia(&["trigger", "tree"]).0, 0);
    let started = || fs::read_to_string(&pids).unwrap_or_default().lines().count() >= 3;
    let start = Instant::now();
    while !started() {
        assert!(start.elapsed() < PATIENCE, "{}", site.log());
        std::thread::sleep(Duration::from_millis(10));
    }
    send(pid, Signal::TERM);
    assert!(site.wait().success(), "{}", site.log());
    assert_dead(&pids);
}

/// What systemd is told, as it would hear it.
#[test]
fn systemd_is_told_of_start_reload_and_stop() {
    let mut site = Site::new(&format!("[hub]\nenabled = false\n{}", plugin("p", "")));
    site.script("p", "echo '{\"v\": 1}'");
    let socket = std::os::unix::net::UnixDatagram::bind(site.path("notify")).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let heard = |wanted: &str| {
        let mut buffer = [0; 4096];
        loop {
            let bytes = socket.recv(&mut buffer).expect("it must be told");
            let text = String::from_utf8_lossy(&buffer[..bytes]).into_owned();
            if text.lines().any(|line| line == wanted) {
                return text;
            }
        }
    };
    site.notify = Some(site.path("notify"));
    let pid = site.start();
    heard("READY=1");
    send(pid, Signal::HUP);
    // It says when, so that an answer to an earlier reload is not taken for this one's.
    assert!(heard("RELOADING=1").contains("MONOTONIC_USEC="));
    heard("READY=1");
    send(pid, Signal::TERM);
    heard("STOPPING=1");
    assert!(site.wait().success(), "{}", site.log());
}

#[test]
fn who_escapes_its_run_is_killed_and_counted() {
    let mut site = Site::new(&format!(
        "[hub]\nenabled = false\n{}[outputs.f]\ntype = \"file\"\npath = \"out\"\nstart = \"oldest\"\n",
        plugin("escapee", "interval = \"500ms\"\ntimeout = \"400ms\"")
    ));
    let pids = site.path("pids");
    // A double fork into another session; the parent exits at once.
    site.script(
        "escapee",
        &format!(
            "[ -e {0} ] || setsid sh -c 'trap \"\" TERM; (echo $$ >> {0}; exec sleep 300) &'\nexit 0",
            pids.display()
        ),
    );
    site.start();
    site.until("several runs", |s| s["plugins"]["escapee"]["runs"].as_u64().unwrap_or(0) >= 6);
    assert_dead(&pids);
    let reports = fs::read_to_string(site.path("out")).unwrap();
    let leftovers: u64 = reports
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["leftovers"].as_u64().unwrap())
        .sum();
    assert!(leftovers >= 1, "{reports}");
}

#[test]
fn who_takes_its_marks_off_does_not_survive_either() {
    let mut site = Site::new(&format!(
        "[hub]\nenabled = false\n{}",
        plugin("stranger", "interval = \"500ms\"\ntimeout = \"400ms\"")
    ));
    let pids = site.path("pids");
    site.script(
        "stranger",
        &format!(
            "[ -e {0} ] || setsid env -i /bin/sh -c '(echo $$ >> {0}; exec sleep 300) &'\nexit 0",
            pids.display()
        ),
    );
    let pid = site.start();
    site.until("several runs", |s| s["plugins"]["stranger"]["runs"].as_u64().unwrap_or(0) >= 8);
    assert_dead(&pids);
    assert_eq!(site.status().unwrap()["leaks"], 0);
    send(pid, Signal::TERM);
    assert!(site.wait().success());
}

/// Nobody reads what it says, on either stream: it goes on, and it stops.
#[test]
fn a_full_pipe_on_stderr_or_stdout_does_not_hold_the_agent_up() {
    let mut site = Site::new(&format!(
        "[hub]\nenabled = false\n[outputs.out]\ntype = \"stdout\"\n{}",
        plugin("talker", "interval = \"50ms\"\ntimeout = \"45ms\"")
    ));
    let long = "x".repeat(3000);
    site.script("talker", &format!("echo '{{\"a\":\"{long}\"}}'; echo '{long}' >&2"));
    let mut command = site.command(&["run", "-v"]);
    let agent = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = agent.id();
    site.agents.push(agent);
    // Far more than both pipes hold.
    site.until("many runs", |s| s["plugins"]["talker"]["runs"].as_u64().unwrap_or(0) >= 60);
    send(pid, Signal::TERM);
    let start = Instant::now();
    let mut agent = site.agents.pop().unwrap();
    while rustix::process::test_kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap())
        .is_ok()
        && fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
    {
        assert!(start.elapsed() < PATIENCE, "it does not stop");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(agent.wait().unwrap().success());
}

#[test]
fn a_test_that_is_interrupted_leaves_nothing_behind() {
    let mut site = Site::new("[hub]\nenabled = false\n");
    let pids = site.path("pids");
    let temp = site.path("temp");
    fs::create_dir(&temp).unwrap();
    site.script("hang", &format!("echo $$ >> {}; exec sleep 300", pids.display()));
    let mut command = Command::new(env!("CARGO_BIN_EXE_talaia"));
    command.args(["test", "./hang"]).current_dir(site.dir.path()).env("TMPDIR", &temp);
    command.env("HOME", site.dir.path()).env("XDG_STATE_HOME", site.dir.path());
    let test = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let pid = test.id();
    site.agents.push(test);
    let start = Instant::now();
    while !pids.exists() {
        assert!(start.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(10));
    }
    send(pid, Signal::TERM);
    assert_eq!(site.wait().code(), Some(1));
    assert_dead(&pids);
    let left: Vec<_> = fs::read_dir(&temp).unwrap().flatten().map(|e| e.path()).collect();
    assert!(left.is_empty(), "{left:?}");
}

fn assert_dead(pids: &Path) {
    for pid in fs::read_to_string(pids).unwrap().lines() {
        let start = Instant::now();
        // A zombie is dead: it has no command line.
        while fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty()) {
            assert!(start.elapsed() < Duration::from_secs(5), "process {pid} survived");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn what_a_killed_agent_leaves_behind_dies_at_the_next_start() {
    let mut site = Site::new(&format!("[hub]\nenabled = false\n{}", plugin("long", "")));
    let pids = site.path("pids");
    site.script("long", &format!("echo $$ >> {}; exec sleep 300", pids.display()));
    let pid = site.start();
    site.until("a start", |_| true);
    assert_eq!(site.talaia(&["trigger", "long"]).0, 0);
    let start = Instant::now();
    while !pids.exists() {
        assert!(start.elapsed() < PATIENCE, "{}", site.log());
        std::thread::sleep(Duration::from_millis(10));
    }
    send(pid, Signal::KILL);
    site.wait();
    site.configure("[hub]\nenabled = false\n");
    site.start();
    site.until("a start", |_| true);
    assert_dead(&pids);
}

/// Killed at random moments and started again, the agent delivers every report that it accepted
/// exactly once, and the ledger adds up. The seed is printed: `TALAIA_SEED` repeats a run.
#[test]
fn kill_dash_nine_loses_nothing_and_delivers_nothing_twice() {
    let rounds = std::env::var("TALAIA_KILL_ROUNDS").map_or(50, |n| n.parse().unwrap());
    let seed: u64 = std::env::var("TALAIA_SEED")
        .map_or_else(|_| u64::from(std::process::id()), |seed| seed.parse().unwrap());
    println!("{rounds} rounds with TALAIA_SEED={seed}");
    let (hub, port) = FakeHub::start();
    let mut config = output(port);
    for n in 0..8 {
        config += &plugin(&format!("p{n}"), "interval = \"100ms\"\ntimeout = \"90ms\"");
    }
    let mut site = Site::new(&config);
    site.write("key", "secret\n", 0o600);
    for n in 0..8 {
        site.script(&format!("p{n}"), "echo '{\"a\": 1, \"b\": 2, \"c-d\": 3}'");
    }
    let mut state = seed;
    for _ in 0..rounds {
        // A linear congruential step is random enough to spread the moments.
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let pid = site.start();
        std::thread::sleep(Duration::from_millis(20 + (state >> 33) % 400));
        send(pid, Signal::KILL);
        site.wait();
    }
    let pid = site.start();
    site.until("an empty spool", |s| {
        s["outputs"]["main"]["delivered"].as_u64().unwrap_or(0) > 0
            && s["outputs"]["main"]["state"] == "ok"
    });
    send(pid, Signal::TERM);
    assert!(site.wait().success(), "{}", site.log());

    let ledger = site.ledger();
    balances(&ledger);
    let main = &ledger["outputs"]["main"];
    assert_eq!((&main["spooled"], sum(&main["evicted"])), (&Value::from(0), 0), "{main}");
    let mut by_run: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    let (mut reports, mut metrics) = (0, 0);
    for report in hub.reports() {
        by_run.entry(report["run"].as_str().unwrap().to_owned()).or_default().push(report.clone());
        reports += 1;
        metrics += report["metrics"].as_array().unwrap().len() as u64;
    }
    let twice: Vec<_> = by_run.values().filter(|reports| reports.len() > 1).take(3).collect();
    assert!(twice.is_empty(), "reports came twice: {twice:#?}\n{}", site.log());
    let runs: u64 = ledger["plugins"]
        .as_object()
        .unwrap()
        .values()
        .map(|plugin| plugin["runs"].as_u64().unwrap())
        .sum();
    assert_eq!((runs, &main["delivered"]), (reports, &Value::from(metrics)));
    assert!(reports >= u64::from(rounds as u32), "only {reports} reports in {rounds} rounds");
}
