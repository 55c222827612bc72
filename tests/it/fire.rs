//! Delivery under fire: long outages, storms, servers that misbehave below HTTP, poison among
//! thousands, a slow output beside a fast one, and copied data folders.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use talaia::deliver::verdict::{Answer, Attempt, Dialect, verdict};
use talaia::deliver::{
    Batch, ClientSettings, Condition, Pump, PumpSettings, Sink, Stop, TlsSettings,
};
use talaia::model::Verdict;
use talaia::schedule::Backoff;
use talaia::spool::{Evicted, Inspector, Pick, Spool};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use crate::deliver::{
    Authority, GOOD, attempt, client, open, pump_settings, request, sink, until, word,
};
use crate::spool::{balanced, report};
use crate::support::{Site, http};

/// A destination that answers as told until a moment, and takes everything from then on. Every
/// attempt adds a report to the spool: the plugins go on.
struct Down {
    spool: Spool,
    until: Instant,
    answer: fn() -> Answer<'static>,
    attempts: Arc<Mutex<Vec<Instant>>>,
    done: watch::Sender<bool>,
}

impl Sink for Down {
    async fn send(&mut self, batch: Batch<'_>) -> Verdict {
        self.attempts.lock().unwrap().push(Instant::now());
        if Instant::now() < self.until {
            drop(self.spool.append(report("p", 1, 0, 10)).unwrap());
            // The disk is not on the simulated clock.
            self.spool.flush().await.unwrap();
            let answered = Attempt::Answered((self.answer)());
            let last = batch.reports.last().unwrap().seq;
            let dialect = Dialect::Native { last, highest: batch.highest };
            return verdict(dialect, answered, SystemTime::UNIX_EPOCH);
        }
        let all = batch.reports.last().unwrap().seq == batch.highest;
        self.done.send_replace(all);
        Verdict::Delivered { refused: Vec::new() }
    }
}

async fn spool(dir: &TempDir, outputs: &'static [&'static str]) -> Spool {
    let path = dir.path().to_owned();
    tokio::task::spawn_blocking(move || open(&path, outputs)).await.unwrap()
}

/// Runs a pump with its usual settings through an outage on a simulated clock; the moments of its
/// attempts, counted from the beginning.
async fn outage(long: Duration, answer: fn() -> Answer<'static>) -> Vec<Duration> {
    let dir = TempDir::new().unwrap();
    let spool = spool(&dir, &["main"]).await;
    drop(spool.append(report("p", 1, 0, 10)).unwrap());
    spool.flush().await.unwrap();
    let (begin, attempts) = (Instant::now(), Arc::default());
    let done = watch::Sender::new(false);
    let mut arrived = done.subscribe();
    let down = Down {
        spool: spool.clone(),
        until: begin + long,
        answer,
        attempts: Arc::clone(&attempts),
        done,
    };
    let (pump, state) = Pump::new(spool.clone(), PumpSettings::new("main"), down);
    let stop = watch::Sender::new(Stop::No);
    let wait = async {
        arrived.wait_for(|done| *done).await.unwrap();
        let mut state = state;
        state.wait_for(|state| state.state == Condition::Ok).await.unwrap();
        stop.send_replace(Stop::Now);
    };
    tokio::join!(pump.run(stop.subscribe()), wait);
    let main = balanced(&spool).outputs["main"].clone();
    assert_eq!((main.spooled, main.evicted.len()), (0, 0), "{main:?}");
    let attempts = attempts.lock().unwrap();
    assert_eq!(main.delivered, main.accepted);
    attempts.iter().map(|at| *at - begin).collect()
}

fn minutes(n: u64) -> Duration {
    Duration::from_secs(n * 60)
}

#[tokio::test(start_paused = true)]
async fn hours_of_outage_cost_a_few_attempts_and_nothing_else() {
    let unavailable =
        || Answer { status: 503, retry_after: None, date: None, body: b"try again later" };
    let attempts = outage(minutes(360), unavailable).await;
    // Between attempts passes a random part of at most five minutes.
    assert!((60..500).contains(&attempts.len()), "{}", attempts.len());
    let back = attempts.last().unwrap();
    assert!(*back < minutes(366), "found out soon that it is over: {back:?}");
    let early = attempts.iter().filter(|at| **at < minutes(1)).count();
    assert!(early < 40, "{early} attempts in the first minute are a storm of our own");
}

#[tokio::test(start_paused = true)]
async fn what_the_destination_wishes_is_obeyed_in_both_forms() {
    let seconds = || Answer { status: 429, retry_after: Some("600"), date: None, body: b"" };
    // By its own clock, which is years from ours.
    let date = || Answer {
        status: 503,
        retry_after: Some("Sat, 06 Nov 2094 08:59:47 GMT"),
        date: Some("Sat, 06 Nov 2094 08:49:47 GMT"),
        body: b"",
    };
    for wish in [seconds as fn() -> Answer<'static>, date] {
        let attempts = outage(minutes(60), wish).await;
        assert_eq!(attempts.len(), 7, "every ten minutes of an hour: {attempts:?}");
        for pair in attempts.windows(2) {
            let apart = pair[1].checked_sub(pair[0]).unwrap();
            assert!(apart >= minutes(10), "{apart:?}");
        }
    }
}

/// What a server does with a connection; `None` of it is HTTP as it should be.
#[derive(Debug, Clone, Copy)]
enum Trick {
    NeverAnswers,
    EndlessHeaders,
    EndlessContinue,
    DrippedHead,
    ClosesInHandshake,
    HangsInHandshake,
    GarbageForHello,
    NoCloseNotify,
    CutWithoutCloseNotify,
}

impl Trick {
    fn is_tls(self) -> bool {
        !matches!(
            self,
            Self::NeverAnswers | Self::EndlessHeaders | Self::EndlessContinue | Self::DrippedHead
        )
    }
}

/// Until the other side has enough.
async fn forever(io: &mut TcpStream, piece: &[u8], pause: Duration) {
    while io.write_all(piece).await.is_ok() {
        tokio::time::sleep(pause).await;
    }
}

async fn play(mut io: TcpStream, trick: Trick, tls: TlsAcceptor) {
    let mut rest = Vec::new();
    match trick {
        Trick::NeverAnswers | Trick::HangsInHandshake => drop(io.read_to_end(&mut rest).await),
        Trick::EndlessHeaders => {
            request(&mut io).await;
            drop(io.write_all(b"HTTP/1.1 200 OK\r\n").await);
            forever(&mut io, b"X-More: and more and more\r\n", Duration::ZERO).await;
        }
        Trick::EndlessContinue => {
            request(&mut io).await;
            let wait = Duration::from_millis(5);
            forever(&mut io, b"HTTP/1.1 102 Processing\r\n\r\n", wait).await;
        }
        Trick::DrippedHead => {
            request(&mut io).await;
            drop(io.write_all(b"HTTP/1.1 200 OK\r\nX-Drip: ").await);
            forever(&mut io, b"x", Duration::from_millis(20)).await;
        }
        Trick::ClosesInHandshake => {
            let mut hello = [0; 16];
            drop(io.read_exact(&mut hello).await);
        }
        Trick::GarbageForHello => {
            drop(io.write_all(&[0x16, 3, 3, 0, 40, 99, 1, 2, 3]).await);
            forever(&mut io, &[0xa5; 64], Duration::from_millis(1)).await;
        }
        Trick::NoCloseNotify | Trick::CutWithoutCloseNotify => {
            let Ok(mut io) = tls.accept(io).await else { return };
            request(&mut io).await;
            let length = GOOD.len();
            let sent = if matches!(trick, Trick::NoCloseNotify) { length } else { length / 2 };
            let answer =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{}", &GOOD[..sent]);
            drop(io.write_all(answer.as_bytes()).await);
            drop(io.flush().await);
            // The socket alone, without a word of TLS.
            drop(io.get_mut().0.shutdown().await);
        }
    }
}

#[tokio::test]
async fn servers_that_misbehave_below_http_are_told_apart_and_cost_bounded_time() {
    let authority = Authority::new();
    let acceptor = TlsAcceptor::from(Arc::new(authority.config(false)));
    for (trick, expected, part) in [
        (Trick::NeverAnswers, "retry", "timed out"),
        (Trick::EndlessHeaders, "retry", ""),
        (Trick::EndlessContinue, "retry", ""),
        (Trick::DrippedHead, "retry", "timed out"),
        (Trick::ClosesInHandshake, "retry", ""),
        (Trick::HangsInHandshake, "retry", "timed out"),
        (Trick::GarbageForHello, "hold", "no trusted connection"),
        // The reply says how long it is, and all of it came.
        (Trick::NoCloseNotify, "delivered", ""),
        (Trick::CutWithoutCloseNotify, "retry", ""),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let tls = acceptor.clone();
        let server = tokio::spawn(async move {
            while let Ok((io, _)) = listener.accept().await {
                tokio::spawn(play(io, trick, tls.clone()));
            }
        });
        let scheme = if trick.is_tls() { "https" } else { "http" };
        let ca = trick.is_tls().then(|| authority.path("ca.pem"));
        let settings = ClientSettings {
            connect_timeout: Duration::from_secs(1),
            tls: TlsSettings { ca, ..TlsSettings::default() },
            ..client()
        };
        let url = format!("{scheme}://localhost:{port}");
        let begin = std::time::Instant::now();
        let (word, line) = word(attempt(&mut sink(&url, settings)).await);
        assert_eq!(word, expected, "{trick:?}: {line}");
        assert!(line.contains(part) && !line.contains('\n'), "{trick:?}: {line}");
        assert!(begin.elapsed() < Duration::from_secs(6), "{trick:?}: {:?}", begin.elapsed());
        server.abort();
    }
}

#[tokio::test]
async fn certificates_out_of_their_time_are_held_and_the_line_says_so() {
    for (from, until, part) in [(2019, 2020, "expired"), (3000, 3001, "not valid yet")] {
        let authority = Authority::valid(from, until);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let tls = TlsAcceptor::from(Arc::new(authority.config(false)));
        let server = tokio::spawn(async move {
            while let Ok((io, _)) = listener.accept().await {
                drop(tls.accept(io).await);
            }
        });
        let tls = TlsSettings { ca: Some(authority.path("ca.pem")), ..TlsSettings::default() };
        let settings = ClientSettings { tls, ..client() };
        let (word, line) = word(attempt(&mut sink(&url, settings)).await);
        assert_eq!(word, "hold", "{line}");
        assert!(line.contains(part), "{line}");
        server.abort();
    }
}

/// How a foreign destination is today.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    /// It refuses a batch that has this in it.
    Picky,
    /// It refuses all, at first.
    Sour,
    /// It takes at most so many bytes.
    Small(usize),
}

/// A foreign destination: its status is all it says.
struct Foreign {
    mood: Mood,
    requests: u64,
    taken: Vec<String>,
}

const POISON: &str = "\"plugin\":\"poison\"";

async fn foreign(mood: Mood) -> (String, Arc<Mutex<Foreign>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let state = Arc::new(Mutex::new(Foreign { mood, requests: 0, taken: Vec::new() }));
    let inside = Arc::clone(&state);
    tokio::spawn(async move {
        while let Ok((mut io, _)) = listener.accept().await {
            while let Some(request) = request(&mut io).await {
                let status = {
                    let mut state = inside.lock().unwrap();
                    state.requests += 1;
                    let text = String::from_utf8(request.body).unwrap();
                    // Several rounds of it later, and between two of them, somebody mends it.
                    if state.requests > 40 && text.lines().count() == 500 {
                        state.mood = Mood::Picky;
                    }
                    let refused = match state.mood {
                        Mood::Picky if text.contains(POISON) => Some("400 Bad Request"),
                        Mood::Sour => Some("400 Bad Request"),
                        Mood::Small(most) if text.len() > most => Some("413 Too Large"),
                        _ => None,
                    };
                    if refused.is_none() {
                        state.taken.extend(text.lines().map(str::to_owned));
                    }
                    refused.unwrap_or("204 No Content")
                };
                let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
                if io.write_all(answer.as_bytes()).await.is_err() {
                    break;
                }
            }
        }
    });
    (url, state)
}

/// What will be an output to some other system: lines by POST.
struct Lines {
    url: String,
    client: reqwest::Client,
}

impl Sink for Lines {
    async fn send(&mut self, batch: Batch<'_>) -> Verdict {
        let mut body = Vec::new();
        for report in batch.reports {
            body.extend_from_slice(&report.body);
            body.push(b'\n');
        }
        let sent = self.client.post(&self.url).body(body).send().await.unwrap();
        let status = sent.status().as_u16();
        let answer = Answer { status, retry_after: None, date: None, body: b"" };
        verdict(Dialect::Foreign, Attempt::Answered(answer), SystemTime::now())
    }
}

/// Delivers what is in `spool` until `done`.
async fn deliver(spool: &Spool, url: &str, mut done: impl FnMut() -> bool) {
    let lines = Lines { url: url.to_owned(), client: client().build(url).unwrap() };
    let mut settings = pump_settings("main");
    settings.max_reports = 1000;
    settings.hold = Backoff::new(Duration::from_millis(50), Duration::from_millis(50));
    let (pump, _state) = Pump::new(spool.clone(), settings, lines);
    let stop = watch::Sender::new(Stop::No);
    let work = async {
        until("delivered", &mut done).await;
        stop.send_replace(Stop::Now);
    };
    tokio::join!(pump.run(stop.subscribe()), work);
}

#[tokio::test]
async fn one_poison_record_among_ten_thousand() {
    let dir = TempDir::new().unwrap();
    let spool = spool(&dir, &["main"]).await;
    let mut last = None;
    for n in 0..10_000 {
        let plugin = if n == 6_789 { "poison" } else { "p" };
        last = Some(spool.append(report(plugin, 1, 0, 20)).unwrap());
    }
    last.unwrap().await.unwrap();
    let (url, server) = foreign(Mood::Picky).await;
    let gone = || spool.ledger().unwrap().outputs["main"].spooled == 0;
    deliver(&spool, &url, gone).await;
    let main = balanced(&spool).outputs["main"].clone();
    assert_eq!((main.delivered, main.evicted[&Evicted::Refused]), (9_999, 1));
    let server = server.lock().unwrap();
    assert_eq!(server.taken.len(), 9_999);
    // Ten batches, and two more for each halving of one: log2 of a thousand.
    assert!(server.requests <= 10 + 2 * 10 + 2, "{} requests", server.requests);
    drop(spool);
    let kept = Inspector::open(dir.path()).unwrap().quarantine(&Pick::default(), 0, 10).unwrap();
    assert_eq!(kept.iter().map(|one| one.seq).collect::<Vec<_>>(), [Some(6_790)]);
}

#[tokio::test]
async fn a_gateway_that_refuses_everything_costs_nothing_but_time() {
    let dir = TempDir::new().unwrap();
    let spool = spool(&dir, &["main"]).await;
    for _ in 0..500 {
        drop(spool.append(report("p", 1, 0, 20)).unwrap());
    }
    spool.flush().await.unwrap();
    let (url, server) = foreign(Mood::Sour).await;
    let gone = || spool.ledger().unwrap().outputs["main"].spooled == 0;
    deliver(&spool, &url, gone).await;
    assert_eq!(balanced(&spool).outputs["main"].delivered, 500);
    assert_eq!(server.lock().unwrap().taken.len(), 500);
    assert!(balanced(&spool).outputs["main"].evicted.is_empty());
    drop(spool);
    assert!(
        Inspector::open(dir.path())
            .unwrap()
            .quarantine(&Pick::default(), 0, 10)
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn what_is_too_large_is_halved_down_to_one() {
    let dir = TempDir::new().unwrap();
    let spool = spool(&dir, &["main"]).await;
    for n in 0..300 {
        let pad = if n == 123 { 5_000 } else { 20 };
        drop(spool.append(report("p", 1, 0, pad)).unwrap());
    }
    spool.flush().await.unwrap();
    let (url, server) = foreign(Mood::Small(1_000)).await;
    let gone = || spool.ledger().unwrap().outputs["main"].spooled == 0;
    deliver(&spool, &url, gone).await;
    let main = balanced(&spool).outputs["main"].clone();
    assert_eq!((main.delivered, main.evicted[&Evicted::Refused]), (299, 1));
    assert_eq!(server.lock().unwrap().taken.len(), 299);
}

#[tokio::test]
async fn an_output_that_crawls_does_not_hold_up_the_one_beside_it() {
    let dir = TempDir::new().unwrap();
    let spool = spool(&dir, &["slow", "main"]).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let slow_url = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        while let Ok((mut io, _)) = listener.accept().await {
            tokio::spawn(async move {
                request(&mut io).await;
                forever(&mut io, b"H", Duration::from_millis(100)).await;
            });
        }
    });
    let settings = ClientSettings {
        read_timeout: Duration::from_secs(60),
        timeout: Duration::from_secs(60),
        ..client()
    };
    let (slow, _state) = Pump::new(spool.clone(), pump_settings("slow"), sink(&slow_url, settings));
    let (url, taken) = foreign(Mood::Picky).await;
    let stop = watch::Sender::new(Stop::No);
    let begin = std::time::Instant::now();
    let work = async {
        for _ in 0..300 {
            spool.append(report("p", 1, 0, 100)).unwrap().await.unwrap();
        }
        let gone = || spool.ledger().unwrap().outputs["main"].spooled == 0;
        deliver(&spool, &url, gone).await;
        assert_eq!(taken.lock().unwrap().taken.len(), 300);
        stop.send_replace(Stop::Now);
    };
    tokio::join!(slow.run(stop.subscribe()), work);
    assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
    assert_eq!(balanced(&spool).outputs["slow"].spooled, 300, "and keeps its own");
    server.abort();
}

/// A hub of its own, and agents whose data folders may be copies of one another.
struct Copies {
    site: Site,
    hub: u32,
}

impl Copies {
    fn new() -> Self {
        let mut site = Site::new();
        let folder = site.path("hub");
        let words = ["hub", "--listen", "127.0.0.1:0", "--data-dir", folder.to_str().unwrap()];
        let command = site.command(&words);
        let hub = site.start(command, "hub.log");
        let key = site.until("the hub's key", |site| Some(credentials(site)?.1));
        site.write("hub.key", key, 0o600);
        site.script(
            "count",
            "cd \"$TALAIA_STATE_DIR\" && n=$(cat n 2>/dev/null || echo 0) && n=$((n + 1)) && \
             echo $n >d && mv d n && echo \"{\\\"$WHO\\\":$n}\"",
        );
        Self { site, hub }
    }

    /// Runs an agent on the data folder `name` until it has made `runs` runs; with a `hub` it
    /// delivers them too. Which reports it made is seen by the metric's name.
    fn run(&mut self, name: &str, runs: u64, reaches: Reaches) {
        let url = match reaches {
            Reaches::Hub => credentials(&self.site).unwrap().0,
            Reaches::Nobody => "http://127.0.0.1:1".to_owned(),
        };
        // Without runs to make, it only delivers what is left.
        let plugin = if runs == 0 {
            String::new()
        } else {
            format!(
                "[plugins.count]\ncommand = [\"{}\"]\ninterval = \"100ms\"\ntimeout = \"2s\"\n\
                 env = {{ WHO = \"{name}\" }}\n",
                self.site.path("count").display()
            )
        };
        let config = format!(
            "[agent]\ndata_dir = \"{data}\"\nhost = \"h\"\nself_metrics = false\n\
             spool = {{ commit_interval = \"5ms\", min_free = \"0B\" }}\n[hub]\nenabled = false\n\
             [outputs.main]\ntype = \"talaia\"\nurl = \"{url}\"\nkey = {{ file = \"hub.key\" }}\n\
             proxy = false\ninterval = \"100ms\"\nstart = \"oldest\"\n\
             [outputs.file]\ntype = \"file\"\npath = \"{name}.ndjson\"\nstart = \"oldest\"\n{plugin}",
            data = self.site.path(name).display(),
        );
        self.site.write("talaia.toml", config, 0o600);
        let before = self.runs_of(name);
        let pid = self.site.start_agent();
        self.site.until("runs", |site| {
            let status = site.status()?;
            let done = status["plugins"]["count"]["runs"].as_u64()? >= before + runs;
            let spooled = |output: &str| status["outputs"][output]["spooled"].as_u64();
            let drained = spooled("main")? == 0 && spooled("file")? == 0;
            (done && (runs > 0 || drained)).then_some(())
        });
        assert!(self.site.stop(pid).success(), "{}", self.site.read("agent.log"));
    }

    fn runs_of(&self, name: &str) -> u64 {
        if !self.site.path(name).join("spool.db").exists() {
            return 0;
        }
        let ledger = self.site.ledger();
        ledger["plugins"]["count"]["runs"].as_u64().unwrap_or(0)
    }

    /// The numbers of one agent in the hub, sorted.
    fn held(&self, name: &str) -> Vec<i64> {
        let path = format!("/api/v1/points?host=h&plugin=count&name={name}&from=0&limit=100000");
        let (url, key) = credentials(&self.site).unwrap();
        let (status, body) = http(&url, &path, Some(&key)).unwrap();
        assert_eq!(status, 200, "{body}");
        let page: Value = serde_json::from_str(&body).unwrap();
        let series = page["series"].as_array().unwrap();
        let points = series.iter().flat_map(|series| series["points"].as_array().unwrap());
        let mut numbers: Vec<i64> = points.map(|point| point[1].as_i64().unwrap()).collect();
        numbers.sort_unstable();
        numbers
    }
}

impl Copies {
    /// The numbers of one agent as its own file has them, sorted, each once.
    fn written(&self, name: &str) -> Vec<i64> {
        let text = self.site.read(format!("{name}.ndjson").as_str());
        let reports = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let metrics = reports.flat_map(|report| report["metrics"].as_array().unwrap().clone());
        let ours = metrics.filter(|metric| metric["name"] == name);
        let numbers: BTreeSet<i64> = ours.map(|m| m["value"].as_i64().unwrap()).collect();
        numbers.into_iter().collect()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reaches {
    Hub,
    Nobody,
}

fn credentials(site: &Site) -> Option<(String, String)> {
    let text: Value = serde_json::from_str(&site.read("hub/credentials.json")).ok()?;
    Some((text["url"].as_str()?.to_owned(), text["key"].as_str()?.to_owned()))
}

/// A data folder is copied, and both agents run on. Whichever delivers more under the numbers that
/// both give, no report of either is taken for one of the other.
#[test]
fn two_agents_on_copies_of_one_data_folder_lose_nothing() {
    for (original, copy) in [(3, 12), (12, 3)] {
        let mut both = Copies::new();
        both.run("a", 3, Reaches::Hub);
        let done = std::process::Command::new("cp")
            .arg("-a")
            .args([both.site.path("a"), both.site.path("b")])
            .status();
        assert!(done.unwrap().success());
        both.run("a", original, Reaches::Hub);
        // The copy has more or fewer reports than the original by the time it reaches the hub.
        both.run("b", copy, Reaches::Nobody);
        both.run("b", 1, Reaches::Hub);
        both.run("a", 1, Reaches::Hub);
        both.run("b", 0, Reaches::Hub);
        both.run("a", 0, Reaches::Hub);
        for name in ["a", "b"] {
            let (numbers, printed) = (both.held(name), both.written(name));
            assert_eq!(numbers, printed, "{name}: in the hub, and as they were made");
            assert!(numbers.len() as u64 > original.min(copy), "{name}: {numbers:?}");
        }
        let hub = both.hub;
        assert!(both.site.stop(hub).success());
    }
}
