//! The whole agent against the floor: N trivial plugins at 1 s, beside a bare C loop that runs the
//! same programs at the same rate.
//!
//! ```text
//! cargo bench --bench agent -- [--plugins 500] [--seconds 20] [--rounds 3] [--skip-agent]
//! ```
//!
//! Each round measures the C loop, the `exec` room on its own, and the agent with everything in
//! (decode, judge, spool, upload to a counting sink). Own CPU is utime+stime of the process itself,
//! without its children; a clock tick is 10 ms, so a window of 20 s at 500 runs/s resolves 1 µs per
//! run. Quote ratios and medians: the absolute figures are the machine's.

#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on should stop")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use talaia::exec::trust::Trust;
use talaia::exec::{Exec, Leftovers, Life, Limits, Next, Settings, Spec, Stdin, Timetable};

struct Options {
    plugins: u64,
    seconds: u64,
    rounds: usize,
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if let Some(at) = args.iter().position(|a| a == "--exec-only") {
        return exec_only(Path::new(&args[at + 1]), args[at + 2].parse().unwrap());
    }
    let number = |flag: &str, default: u64| {
        args.iter().position(|a| a == flag).map_or(default, |at| args[at + 1].parse().unwrap())
    };
    let options = Options {
        plugins: number("--plugins", 500),
        seconds: number("--seconds", 20),
        rounds: number("--rounds", 3) as usize,
    };
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path(), options.plugins);
    let (mut floor, mut exec, mut agent) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=options.rounds {
        let c = paced_c(dir.path(), &options);
        let e = measure(dir.path(), &options, start_exec_only(dir.path(), options.plugins));
        floor.push(c);
        exec.push(e.own / c);
        println!("round {round}: C loop {c:.0} µs/run");
        e.print("exec only", c);
        if args.iter().any(|a| a == "--skip-agent") {
            continue;
        }
        let sink = Sink::start();
        let a = measure(dir.path(), &options, start_agent(dir.path(), &options, sink.port));
        a.print("agent", c);
        if let Some((p50, p99)) = a.lag {
            println!("  start lag p50 {p50:.2} ms, p99 {p99:.2} ms");
        }
        println!(
            "  sink: {} reports in {} requests, {:.1} bytes a report on the wire",
            sink.reports(),
            sink.requests(),
            sink.bytes() as f64 / sink.reports().max(1) as f64
        );
        agent.push(a.own / c);
    }
    println!("medians: C loop {:.0} µs/run", median(&mut floor));
    println!("  exec only {:.2} × C", median(&mut exec));
    if !agent.is_empty() {
        println!("  agent {:.2} × C", median(&mut agent));
    }
}

fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// Compiles the programs and writes one script per plugin, all alike but for a number.
fn prepare(dir: &Path, plugins: u64) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/agent");
    for (name, flags) in [("paced", &["-O2"][..]), ("plug", &["-O2", "-static"][..])] {
        let status = Command::new("cc")
            .args(flags)
            .arg("-o")
            .arg(dir.join(name))
            .arg(source.join(format!("{name}.c")))
            .status()
            .unwrap();
        assert!(status.success(), "cc could not compile {name}.c");
    }
    for n in 0..plugins {
        let script = dir.join(format!("p{n}.sh"));
        let text = format!("#!/bin/sh\nexec {0}/plug {n} {0}/log\n", dir.display());
        let mut file = fs::File::create(&script).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        file.set_permissions(mode).unwrap();
    }
}

fn paced_c(dir: &Path, options: &Options) -> f64 {
    let mut child = Command::new(dir.join("paced"))
        .arg(dir)
        .args([options.plugins, options.plugins, options.seconds.min(10)].map(|n| n.to_string()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert!(child.wait().unwrap().success());
    text.trim().parse().unwrap()
}

struct Figures {
    own: f64,
    done: f64,
    gaps: Vec<f64>,
    rss_kib: u64,
    threads: u64,
    /// How late runs started, in milliseconds, as the agent says: half of them, and 99 in 100.
    lag: Option<(f64, f64)>,
}

impl Figures {
    fn print(&self, what: &str, floor: f64) {
        let at = |share: f64| self.gaps[((self.gaps.len() - 1) as f64 * share) as usize];
        println!(
            "  {what}: {:.0} µs/run = {:.2} × C; {:.1} % of due runs done; gap between starts off \
             by p50 {:.2} ms, p99 {:.2} ms; RSS {:.1} MB, {} threads",
            self.own,
            self.own / floor,
            self.done * 100.0,
            at(0.5),
            at(0.99),
            self.rss_kib as f64 / 1024.0,
            self.threads
        );
    }
}

/// Lets the process warm up, watches it for a window, ends it.
fn measure(dir: &Path, options: &Options, mut process: Child) -> Figures {
    let log = dir.join("log");
    std::thread::sleep(Duration::from_secs(5));
    let pid = process.id();
    let (cpu_before, from) = (own_cpu(pid), now());
    std::thread::sleep(Duration::from_secs(options.seconds));
    let (cpu, until) = (own_cpu(pid) - cpu_before, now());
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let field = |name: &str| -> u64 {
        let line = status.lines().find(|l| l.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    let (rss_kib, threads) = (field("VmRSS:"), field("Threads:"));
    let lag = lag(dir);
    let _gone = rustix::process::kill_process(
        rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(),
        rustix::process::Signal::TERM,
    );
    process.wait().unwrap();

    let notes = fs::read(&log).unwrap();
    fs::remove_file(&log).unwrap();
    let mut last = std::collections::HashMap::new();
    let (mut runs, mut gaps) = (0_u64, Vec::new());
    for note in notes.chunks_exact(16) {
        let plugin = i64::from_ne_bytes(note[..8].try_into().unwrap());
        let at = i64::from_ne_bytes(note[8..].try_into().unwrap());
        if (from..until).contains(&at) {
            runs += 1;
            if let Some(before) = last.insert(plugin, at) {
                gaps.push((at - before - 1_000_000_000_i64).abs() as f64 / 1e6);
            }
        }
    }
    gaps.sort_by(f64::total_cmp);
    assert!(!gaps.is_empty(), "nothing ran: see the agent's messages above");
    let due = (until - from) as f64 / 1e9 * options.plugins as f64;
    Figures { own: cpu * 1e6 / runs as f64, done: runs as f64 / due, gaps, rss_kib, threads, lag }
}

/// What the agent says of its start lag; nothing while none runs.
fn lag(dir: &Path) -> Option<(f64, f64)> {
    let mut asked = Command::new(env!("CARGO_BIN_EXE_talaia"))
        .args(["status", "--json", "--config"])
        .arg(dir.join("talaia.toml"))
        .stdout(Stdio::piped())
        // The exec room alone has nobody who answers.
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut text = String::new();
    asked.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    asked.wait().unwrap();
    let status: serde_json::Value = serde_json::from_str(&text).ok()?;
    let ms = |name: &str| Some(status["agent"][name].as_f64()? * 1e3);
    Some((ms("lag_p50")?, ms("lag_p99")?))
}

/// User and system time of the process itself, in seconds.
fn own_cpu(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}

fn now() -> i64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

fn start_exec_only(dir: &Path, plugins: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .arg("--exec-only")
        .arg(dir)
        .arg(plugins.to_string())
        .spawn()
        .unwrap()
}

struct EverySecond {
    start: Instant,
    phase: Duration,
}

impl Timetable for EverySecond {
    fn next(&mut self, last: Option<Instant>, _now: Instant) -> Next {
        let at = last.map_or(self.start + self.phase, |at| at + Duration::from_secs(1));
        Next::Due { at, missed: 0 }
    }
}

fn exec_only(dir: &Path, plugins: u64) {
    let limits = Limits { concurrency: 4, max_running: 512 };
    let settings = Settings { limits, reap_orphans_of: None, open: Box::new(|| true) };
    let exec = Exec::start(settings, |run| assert!(run.outcome.is_ok(), "{:?}", run.outcome));
    let exec = exec.unwrap();
    let start = Instant::now();
    for n in 0..plugins {
        let program = dir.join(format!("p{n}.sh"));
        let spec = Spec {
            plugin: format!("p{n}").parse().unwrap(),
            args: Vec::new(),
            dir: dir.to_owned(),
            env: (0..15).map(|n| (format!("NAME_{n}").into(), "some value".into())).collect(),
            life: Life::Run,
            stdin: Stdin::Null,
            timeout: Duration::from_millis(900),
            grace: Duration::from_secs(2),
            stdout_cap: 1 << 20,
            stderr_cap: 1 << 20,
            leftovers: Leftovers::Kill,
            trust: Trust { paths: vec![program.clone()], ..Trust::default() },
            launch: None,
            program,
        };
        let phase = Duration::from_secs_f64(n as f64 / plugins as f64);
        exec.set(Arc::new(spec), Box::new(EverySecond { start, phase }));
    }
    loop {
        std::thread::park();
    }
}

fn start_agent(dir: &Path, options: &Options, port: u16) -> Child {
    use std::fmt::Write as _;

    let data = dir.join("data");
    let _first = fs::remove_dir_all(&data);
    let mut config = format!(
        "[agent]\ndata_dir = \"{}\"\n[outputs.sink]\ntype = \"talaia\"\n\
         url = \"http://127.0.0.1:{port}\"\nkey = {{ file = \"{}\" }}\ninterval = \"1s\"\n",
        data.display(),
        dir.join("key").display()
    );
    let mut key = fs::File::create(dir.join("key")).unwrap();
    key.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    key.write_all(b"benchmark-key\n").unwrap();
    for n in 0..options.plugins {
        write!(config, "[plugins.p{n}]\ncommand = [\"./p{n}.sh\"]\ninterval = \"1s\"\n").unwrap();
    }
    let path: PathBuf = dir.join("talaia.toml");
    fs::File::create(&path).unwrap().write_all(config.as_bytes()).unwrap();
    Command::new(env!("CARGO_BIN_EXE_talaia"))
        .args(["run", "-q", "--config"])
        .arg(&path)
        .stdin(Stdio::null())
        .spawn()
        .unwrap()
}

/// Accepts native batches, counts, and answers as a hub does.
struct Sink {
    port: u16,
    counters: Arc<Counters>,
}

#[derive(Default)]
struct Counters {
    requests: AtomicU64,
    reports: AtomicU64,
    bytes: AtomicU64,
}

impl Sink {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let counters = Arc::<Counters>::default();
        let shared = Arc::clone(&counters);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let counters = Arc::clone(&shared);
                std::thread::spawn(move || serve(stream, &counters));
            }
        });
        Self { port, counters }
    }

    fn requests(&self) -> u64 {
        self.counters.requests.load(Ordering::Relaxed)
    }

    fn reports(&self) -> u64 {
        self.counters.reports.load(Ordering::Relaxed)
    }

    fn bytes(&self) -> u64 {
        self.counters.bytes.load(Ordering::Relaxed)
    }
}

fn serve(stream: TcpStream, counters: &Counters) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    loop {
        let (mut length, mut encoding) = (0, String::new());
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            let line = line.trim().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if let Some(value) = line.strip_prefix("content-encoding:") {
                value.trim().clone_into(&mut encoding);
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        counters.requests.fetch_add(1, Ordering::Relaxed);
        counters.bytes.fetch_add(length as u64, Ordering::Relaxed);
        if encoding == "zstd" {
            body = zstd::decode_all(&body[..]).unwrap();
        }
        let batch: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let reports = batch["reports"].as_array().unwrap();
        counters.reports.fetch_add(reports.len() as u64, Ordering::Relaxed);
        let through = reports.last().map_or(0, |r| r["seq"].as_u64().unwrap());
        let accepted = reports.len();
        let reply = format!(
            "{{\"through\":{through},\"accepted\":{accepted},\"duplicates\":0,\"refused\":[]}}"
        );
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ";
        write!(writer, "{head}{}\r\n\r\n{reply}", reply.len()).unwrap();
    }
}
