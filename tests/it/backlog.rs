//! A large backlog: the spool opens at once, and the agent's memory does not grow with it, however
//! fast or slow its output is.
//!
//! The size is that of a test; `TALAIA_TEST_BACKLOG=2048` makes it 2 GiB, and the figures that are
//! printed say how it went (`--nocapture`).

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use talaia::model::Counts;
use talaia::spool::{AppendError, NewReport, Options, QuarantineChange, Spool, Start, Window};

use crate::support::{PATIENCE, Site};

/// What the agent may take more for a large backlog than for a small one.
const GROWTH: u64 = 10 << 20;

/// Several batches, so that all buffers are in use.
const SMALL: u64 = 16 << 20;

/// In bytes.
fn large() -> u64 {
    let mib = std::env::var("TALAIA_TEST_BACKLOG").ok().map_or(200, |mib| mib.parse().unwrap());
    mib << 20
}

/// How long a backlog of so many bytes may take, on a busy machine and without optimisation.
fn patience(bytes: u64) -> Duration {
    PATIENCE + Duration::from_secs(bytes >> 20)
}

/// A report of about 4 KiB with 40 metrics.
fn body(n: u64) -> Vec<u8> {
    let metrics: Vec<String> = (0..40)
        .map(|m| {
            let value = (n * 31 + m * 7) % 1000;
            format!(
                r#"{{"name":"disk_used_{m}","value":{value}.5,"type":"percent","unit":"%","tags":{{"mount":"/data/{m}"}}}}"#
            )
        })
        .collect();
    format!(
        r#"{{"plugin":"disk","key":null,"host":"web-1","run":"0192f0c1-0000-7000-8000-{n:012}","started":"2026-11-22T20:42:10.123Z","duration":0.012,"interval":30.0,"outcome":{{"kind":"exited","code":0}},"status":"ok","message":null,"metrics":[{}],"rejected":[],"warnings":[],"counts":{{"produced":40,"accepted":40,"rejected":{{}}}},"skipped":0,"leftovers":0,"usage":{{"cpu":0.004,"max_rss":2097152,"stdout":181,"stderr":0}}}}"#,
        metrics.join(",")
    )
    .into_bytes()
}

fn options(data: &Path) -> Options {
    let mut options = Options::new(data);
    options.quota = 1 << 40;
    options.min_free = 0;
    options
}

/// Makes a spool with so many bytes that the output `main` has not had. Returns their records.
fn fill(data: &Path, bytes: u64) -> u64 {
    let (spool, _) = Spool::open(options(data)).unwrap();
    spool.set_outputs(&[("main".to_owned(), Start::Oldest)]).wait().unwrap();
    let (mut written, mut records, mut n) = (0, 0, 0);
    while written < bytes {
        let body = body(n);
        let report = || NewReport {
            plugin: "disk".parse().unwrap(),
            body: body.clone(),
            counts: Counts { produced: 40, accepted: 40, rejected: [].into() },
            skipped: 0,
            quarantine: QuarantineChange::default(),
        };
        while let Err(AppendError::Full { .. }) = spool.append(report()) {
            spool.flush().wait().unwrap();
        }
        written += body.len() as u64;
        records += 40;
        n += 1;
    }
    spool.flush().wait().unwrap();
    records
}

/// A field of `/proc/PID/status`, in bytes.
fn memory(pid: u32, field: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find(|line| line.starts_with(field)).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib << 10
}

/// A hub that takes its time for every batch, and looks at nothing but the last report's number.
fn slow_hub(pause: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // An agent that goes away in between is no failure of the hub.
            std::thread::spawn(move || drop(take(stream, pause)));
        }
    });
    format!("http://{addr}")
}

fn take(stream: TcpStream, pause: Duration) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let line = line.trim().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().map_err(std::io::Error::other)?;
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let text = String::from_utf8_lossy(&body);
        let at = text.rfind("\"seq\":").ok_or_else(|| std::io::Error::other("no number"))? + 6;
        let through: String = text[at..].chars().take_while(char::is_ascii_digit).collect();
        // Slow as a far hub is; nothing is waited for.
        std::thread::sleep(pause);
        let reply =
            format!("{{\"through\":{through},\"accepted\":1,\"duplicates\":0,\"refused\":[]}}");
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length:";
        write!(writer, "{head} {}\r\n\r\n{reply}", reply.len())?;
    }
}

/// What the agent needed at most, in bytes, to deliver a backlog of `bytes` to `output`.
#[expect(clippy::print_stdout, reason = "the figures are a result of this test")]
fn peak(what: &str, bytes: u64, output: &str) -> u64 {
    let mut site = Site::new();
    let data = site.path("data");
    let records = fill(&data, bytes);
    site.write("key", "k3y\n", 0o600);
    let config = format!(
        "[agent]\ndata_dir = \"data\"\nself_metrics = false\nspool = {{ min_free = \"0B\", quota = \"64GiB\" }}\n\
         [hub]\nenabled = false\n[outputs.main]\n{output}\n"
    );
    site.write("talaia.toml", config, 0o644);
    let begin = Instant::now();
    let pid = site.start_agent();
    site.until("an answer", Site::status);
    let (answered, opened) = (begin.elapsed(), memory(pid, "VmRSS"));
    loop {
        let status = site.status().unwrap();
        let main = &status["outputs"]["main"];
        if main["spooled"] == 0 {
            assert_eq!(main["delivered"], records, "{main}");
            break;
        }
        assert!(begin.elapsed() < patience(bytes), "{main}");
        std::thread::sleep(Duration::from_millis(50));
    }
    let (took, peak, after) = (begin.elapsed(), memory(pid, "VmHWM"), memory(pid, "VmRSS"));
    assert!(site.stop(pid).success(), "{}", site.read("agent.log"));
    site.ledger();
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!(
        "{what}, backlog {:.0} MiB: first answer after {answered:.2?} with {:.1} MiB, delivered \
         after {took:.1?}, at most {:.1} MiB, {:.1} MiB at the end",
        mib(bytes),
        mib(opened),
        mib(peak),
        mib(after),
    );
    peak
}

#[test]
fn memory_does_not_grow_with_a_backlog_for_a_fast_output() {
    let output = "type = \"file\"\npath = \"out.ndjson\"\nkeep = 1";
    let few = peak("fast output", SMALL, output);
    let many = peak("fast output", large(), output);
    assert!(many < few + GROWTH, "{few} bytes for a small backlog, {many} for a large one");
}

#[test]
fn memory_does_not_grow_with_a_backlog_for_a_slow_output() {
    let hub = slow_hub(Duration::from_millis(50));
    let output = format!(
        "type = \"talaia\"\nurl = \"{hub}\"\nkey = {{ file = \"key\" }}\ncompression = \"none\"\n\
         interval = \"100ms\""
    );
    let few = peak("slow output", SMALL, &output);
    let many = peak("slow output", large(), &output);
    assert!(many < few + GROWTH, "{few} bytes for a small backlog, {many} for a large one");
}

#[test]
fn a_large_spool_opens_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = large();
    fill(dir.path(), bytes);
    let pid = std::process::id();
    let before = memory(pid, "VmRSS");
    let begin = Instant::now();
    let (spool, opened) = Spool::open(options(dir.path())).unwrap();
    let took = begin.elapsed();
    let first = spool.read("main", Window::of(1, 1 << 20)).unwrap();
    // Other tests may run in this process: only a figure, which the tests of the agent hold.
    let grown = memory(pid, "VmRSS").saturating_sub(before) as f64 / f64::from(1 << 20);
    println!("opened {} MiB in {took:.1?}, {grown:.1} MiB more", bytes >> 20);
    assert_eq!(opened.notices, []);
    assert_eq!(first.len(), 1);
    assert!(took < Duration::from_secs(1), "{took:?}");
}
