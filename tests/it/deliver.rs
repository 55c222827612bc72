//! The native upload against servers that misbehave in every way of the table.

#![expect(clippy::disallowed_methods, reason = "certificates for one test need not be durable")]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use talaia::deliver::{
    Batch, ClientSettings, Compression, Condition, Endpoint, ProxySettings, Pump, PumpSettings,
    Sink, Stop, TalaiaSettings, TalaiaSink, TlsSettings,
};
use talaia::model::{AgentId, Secret, Seq, SpoolId, Verdict};
use talaia::schedule::Backoff;
use talaia::spool::{Identity, Spool, Start, Stored};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, rustls};

use crate::spool::{balanced, options, report};

/// What a server does with a request.
#[derive(Clone)]
enum Act {
    /// Answers with these bytes and closes.
    Say(String),
    /// Answers with these bytes and sends more for ever.
    Flood(String),
    /// Answers with these bytes, or none, and never anything more.
    Hang(String),
}

fn answer(status: &str, headers: &str, body: &str) -> Act {
    let length = body.len();
    Act::Say(format!(
        "HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    ))
}

/// A request as it came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Request {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Request {
    fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// The batch, as JSON.
    fn batch(&self) -> serde_json::Value {
        match self.header("content-encoding") {
            Some("zstd") => {
                let text = zstd::stream::decode_all(&self.body[..]).unwrap();
                serde_json::from_slice(&text).unwrap()
            }
            Some(other) => panic!("{other}"),
            None => serde_json::from_slice(&self.body).unwrap(),
        }
    }
}

pub(crate) async fn request(io: &mut (impl AsyncRead + Unpin)) -> Option<Request> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break end;
        }
        if io.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let mut body = bytes.split_off(head + 4);
    let mut request = Request { head: String::from_utf8(bytes).ok()?, body: Vec::new() };
    let length: usize = request.header("content-length")?.parse().ok()?;
    while body.len() < length {
        if io.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    request.body = body;
    Some(request)
}

async fn serve(mut io: impl AsyncRead + AsyncWrite + Unpin, act: &Act) -> Option<Request> {
    let request = request(&mut io).await?;
    let (Act::Say(text) | Act::Flood(text) | Act::Hang(text)) = act;
    io.write_all(text.as_bytes()).await.ok()?;
    io.flush().await.ok()?;
    match act {
        Act::Say(_) => drop(io.shutdown().await),
        Act::Hang(_) => {
            // Until the other side has enough.
            let mut rest = Vec::new();
            drop(io.read_to_end(&mut rest).await);
        }
        Act::Flood(_) => while io.write_all(&[b' '; 8192]).await.is_ok() {},
    }
    Some(request)
}

/// A server that does the same to everybody. It ends with the runtime.
async fn server(act: Act, tls: Option<ServerConfig>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let scheme = if tls.is_some() { "https" } else { "http" };
    let tls = tls.map(|config| TlsAcceptor::from(Arc::new(config)));
    tokio::spawn(async move {
        while let Ok((io, _)) = listener.accept().await {
            let (act, tls) = (act.clone(), tls.clone());
            tokio::spawn(async move {
                match tls {
                    None => drop(serve(io, &act).await),
                    Some(tls) => {
                        if let Ok(io) = tls.accept(io).await {
                            drop(serve(io, &act).await);
                        }
                    }
                }
            });
        }
    });
    format!("{scheme}://localhost:{port}")
}

pub(crate) fn client() -> ClientSettings {
    ClientSettings {
        connect_timeout: Duration::from_secs(5),
        read_timeout: Duration::from_millis(400),
        timeout: Duration::from_millis(1500),
        tls: TlsSettings::default(),
        proxy: ProxySettings::Direct,
    }
}

pub(crate) fn sink(url: &str, client: ClientSettings) -> TalaiaSink {
    let key = Secret::new("k3y");
    let endpoint = watch::Sender::new(Endpoint::Ready { url: url.to_owned(), key });
    let settings = TalaiaSettings {
        output: "main".to_owned(),
        host: "web-1".to_owned(),
        version: "0.1.0".to_owned(),
        compression: Compression::Zstd,
        client,
    };
    TalaiaSink::new(settings, endpoint.subscribe())
}

/// One attempt at a batch of reports 41 and 42, of 50 ever given.
pub(crate) async fn attempt(sink: &mut TalaiaSink) -> Verdict {
    let reports =
        [41, 42].map(|seq| Stored { seq: Seq(seq), body: report("p", 1, 0, 600).body, records: 1 });
    let identity = Identity { spool: SpoolId::new(), agent: AgentId::new() };
    let batch = Batch { identity, highest: Seq(50), reports: &reports };
    tokio::time::timeout(Duration::from_secs(20), sink.send(batch)).await.expect("bounded")
}

/// The verdict in a word, and its line.
pub(crate) fn word(verdict: Verdict) -> (&'static str, String) {
    match verdict {
        Verdict::Delivered { .. } => ("delivered", String::new()),
        Verdict::Retry { after, why } => {
            ("retry", after.map_or(why.clone(), |a| format!("{why} after {}", a.as_secs())))
        }
        Verdict::Split => ("split", String::new()),
        Verdict::Bisect { why } => ("bisect", why),
        Verdict::Hold { why } => ("hold", why),
        Verdict::Cloned => ("cloned", String::new()),
        Verdict::Ahead => ("ahead", String::new()),
    }
}

pub(crate) const GOOD: &str = r#"{"through":42,"accepted":2,"duplicates":0,"refused":[]}"#;

#[tokio::test]
async fn every_row_of_the_table() {
    let half = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"through\":";
    let endless = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n[";
    let busy = "Retry-After: 120\r\n";
    let moved = "Location: http://localhost:1/\r\n";
    let huge = format!("[{}]", "1,".repeat(3 << 20));
    let rows: Vec<(Act, &str, &str)> = vec![
        (answer("200 OK", "", GOOD), "delivered", ""),
        (answer("202 Accepted", "", GOOD), "delivered", ""),
        (answer("200 OK", "Content-Type: text/html\r\n", "<html>Welcome"), "hold", "login page"),
        (answer("200 OK", "", r#"{"status":"ok"}"#), "hold", "not a hub's"),
        (answer("200 OK", "", &huge), "hold", "not a hub's"),
        (answer("204 No Content", "", ""), "hold", "not a hub's"),
        (answer("200 OK", "", &GOOD.replace("42", "51")), "cloned", ""),
        (answer("200 OK", "", &GOOD.replace("42", "50")), "ahead", ""),
        (answer("409 Conflict", "", r#"{"status":409,"code":"cloned"}"#), "cloned", ""),
        (answer("409 Conflict", "", "<html>"), "hold", "409"),
        (answer("200 OK", "", &GOOD.replace("42", "41")), "retry", "up to 41"),
        (answer("301 Moved Permanently", moved, ""), "hold", "final address"),
        (answer("307 Temporary Redirect", moved, ""), "hold", "final address"),
        (answer("400 Bad Request", "", r#"{"error":"no"}"#), "hold", "it says: no"),
        (answer("401 Unauthorized", "", ""), "hold", "key"),
        (answer("403 Forbidden", "", ""), "hold", "key"),
        (answer("404 Not Found", "", "<html>"), "hold", "`url`"),
        (answer("408 Request Timeout", "", ""), "retry", "408"),
        (answer("413 Content Too Large", "", ""), "split", ""),
        (answer("422 Unprocessable", "", ""), "hold", "422"),
        (answer("425 Too Early", "", ""), "retry", "425"),
        (answer("429 Too Many Requests", busy, ""), "retry", "after 120"),
        (answer("500 Internal Server Error", "", "panic"), "retry", "it says: panic"),
        (answer("503 Service Unavailable", busy, ""), "retry", "after 120"),
        (Act::Say(half.to_owned()), "retry", "broke"),
        (Act::Say(String::new()), "retry", "broke"),
        (Act::Say("SSH-2.0-OpenSSH_9.9\r\n".to_owned()), "retry", "broke"),
        (Act::Hang(String::new()), "retry", "timed out"),
        (Act::Hang(half.to_owned()), "retry", "timed out"),
        (Act::Flood(endless.to_owned()), "hold", "not a hub's"),
        (Act::Flood("HTTP/1.1 503 Busy\r\n\r\n".to_owned()), "retry", "503"),
    ];
    for (act, expected, part) in rows {
        let (Act::Say(text) | Act::Flood(text) | Act::Hang(text)) = &act;
        let begins: String = text.chars().take(80).collect();
        let url = server(act, None).await;
        let begin = Instant::now();
        let (word, line) = word(attempt(&mut sink(&url, client())).await);
        assert_eq!(word, expected, "{begins}: {line}");
        assert!(line.contains(part) && !line.contains('\n'), "{begins}: {line}");
        assert!(line.len() < 300 && !line.contains("k3y"), "{line}");
        assert!(begin.elapsed() < Duration::from_secs(5), "{begins}");
    }
}

#[tokio::test]
async fn a_reply_that_drips_is_cut_off() {
    // One byte at a time keeps the read time-out away; the whole has one as well.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut io, _) = listener.accept().await.unwrap();
        request(&mut io).await.unwrap();
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n";
        for byte in head.iter().chain(std::iter::repeat(&b'x')) {
            if io.write_all(&[*byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let (word, line) = word(attempt(&mut sink(&url, client())).await);
    assert_eq!(word, "retry");
    assert!(line.contains("timed out"), "{line}");
}

#[tokio::test]
async fn nobody_there() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    for (url, expected, part) in [
        (url.as_str(), "retry", "cannot connect"),
        ("http://no-such-host.invalid", "retry", "cannot connect"),
        ("not a url", "hold", "cannot be made"),
        ("ftp://localhost/", "hold", "cannot be made"),
    ] {
        let (word, line) = word(attempt(&mut sink(url, client())).await);
        assert_eq!(word, expected, "{url}: {line}");
        assert!(line.contains(part), "{url}: {line}");
    }
}

/// A certificate authority in a folder, with a server and a client that it vouches for.
pub(crate) struct Authority {
    dir: TempDir,
    root: rcgen::Certificate,
    server: (rcgen::Certificate, KeyPair),
}

impl Authority {
    pub(crate) fn new() -> Self {
        Self::valid(2020, 4000)
    }

    /// One whose certificates hold from the first year until before the last.
    pub(crate) fn valid(from: i32, until: i32) -> Self {
        let dir = TempDir::new().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap();
        let issuer = Issuer::new(params, key);
        let sign = |name: &str| {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
            params.not_before = rcgen::date_time_ymd(from, 1, 1);
            params.not_after = rcgen::date_time_ymd(until, 1, 1);
            (params.signed_by(&key, &issuer).unwrap(), key)
        };
        let server = sign("localhost");
        let client = sign("agent");
        std::fs::write(dir.path().join("ca.pem"), root.pem()).unwrap();
        std::fs::write(dir.path().join("client.pem"), client.0.pem()).unwrap();
        std::fs::write(dir.path().join("client.key"), client.1.serialize_pem()).unwrap();
        Self { dir, root, server }
    }

    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    /// What a server of this authority is set up with; with `ask` it wants a client's certificate.
    pub(crate) fn config(&self, ask: bool) -> ServerConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = if ask {
            let mut roots = RootCertStore::empty();
            roots.add(self.root.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let key = PrivatePkcs8KeyDer::from(self.server.1.serialize_der());
        builder
            .with_single_cert(vec![self.server.0.der().clone()], PrivateKeyDer::Pkcs8(key))
            .unwrap()
    }
}

#[tokio::test]
async fn trust() {
    let ours = Authority::new();
    let other = Authority::new();
    let tls = |ca: Option<&Authority>, own: Option<&Authority>| ClientSettings {
        tls: TlsSettings {
            ca: ca.map(|a| a.path("ca.pem")),
            identity: own.map(|a| (a.path("client.pem"), a.path("client.key"))),
            pinned: None,
        },
        ..client()
    };
    let open = server(answer("200 OK", "", GOOD), Some(ours.config(false))).await;
    let asks = server(answer("200 OK", "", GOOD), Some(ours.config(true))).await;
    let plain = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut io, _) = listener.accept().await.unwrap();
            io.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
            let mut rest = Vec::new();
            drop(io.read_to_end(&mut rest).await);
        });
        url
    };
    let address = open.replace("localhost", "127.0.0.1");
    for (what, url, settings, expected) in [
        ("an unknown authority", &open, tls(None, None), "hold"),
        ("another authority", &open, tls(Some(&other), None), "hold"),
        ("our own authority", &open, tls(Some(&ours), None), "delivered"),
        ("another name than the certificate's", &address, tls(Some(&ours), None), "hold"),
        ("no certificate of ours", &asks, tls(Some(&ours), None), "hold"),
        ("somebody else's certificate", &asks, tls(Some(&ours), Some(&other)), "hold"),
        ("our certificate", &asks, tls(Some(&ours), Some(&ours)), "delivered"),
        ("a server without TLS", &plain, tls(Some(&ours), None), "hold"),
    ] {
        let (word, line) = word(attempt(&mut sink(url, settings)).await);
        assert_eq!(word, expected, "{what}: {line}");
        if expected == "hold" {
            assert!(line.contains("no trusted connection"), "{what}: {line}");
        }
    }
    // A file that is not there is held, and works once it is.
    let missing = ours.path("later.pem");
    let mut settings = tls(None, None);
    settings.tls.ca = Some(missing.clone());
    let mut sink = sink(&open, settings);
    let (was, line) = word(attempt(&mut sink).await);
    assert_eq!(was, "hold");
    assert!(line.contains("later.pem"), "{line}");
    std::fs::copy(ours.path("ca.pem"), missing).unwrap();
    assert_eq!(word(attempt(&mut sink).await).0, "delivered");
}

/// A hub in small: marks by stream, exactly once; sometimes its reply is lost, or it has a problem.
#[derive(Default)]
struct Hub {
    requests: u64,
    marks: BTreeMap<String, u64>,
    stored: Vec<(String, u64)>,
    refuse: Option<u64>,
    heads: Vec<String>,
}

impl Hub {
    /// The reply, or none at all.
    fn ingest(&mut self, request: &Request) -> Option<Act> {
        self.requests += 1;
        self.heads.push(request.head.clone());
        let batch = request.batch();
        let field = |at: &str| batch.pointer(at).unwrap().as_str().unwrap().to_owned();
        let stream = format!("{}/{}", field("/agent/spool"), field("/output"));
        if self.requests % 5 == 1 {
            return Some(answer("503 Service Unavailable", "", ""));
        }
        let mark = self.marks.entry(stream.clone()).or_default();
        let (mut accepted, mut duplicates, mut refused) = (0, 0, Vec::new());
        for one in batch["reports"].as_array().unwrap() {
            let seq = one["seq"].as_u64().unwrap();
            assert_eq!(one["plugin"], "p");
            if seq <= *mark {
                duplicates += 1;
            } else if self.refuse == Some(seq) {
                refused.push(serde_json::json!({"seq": seq, "code": "no", "message": "no"}));
            } else {
                accepted += 1;
                self.stored.push((stream.clone(), seq));
            }
            *mark = seq.max(*mark);
        }
        let through = *mark;
        // Stored, and the reply is lost.
        if self.requests % 5 == 3 {
            return None;
        }
        let reply = serde_json::json!({
            "through": through, "accepted": accepted, "duplicates": duplicates, "refused": refused
        });
        Some(answer("200 OK", "", &reply.to_string()))
    }
}

async fn hub() -> (String, Arc<Mutex<Hub>>) {
    let hub = Arc::new(Mutex::new(Hub::default()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let inside = Arc::clone(&hub);
    tokio::spawn(async move {
        while let Ok((mut io, _)) = listener.accept().await {
            let Some(request) = request(&mut io).await else { continue };
            let reply = inside.lock().unwrap().ingest(&request);
            if let Some(Act::Say(text)) = reply {
                drop(io.write_all(text.as_bytes()).await);
                drop(io.shutdown().await);
            }
        }
    });
    (url, hub)
}

pub(crate) fn pump_settings(output: &str) -> PumpSettings {
    let mut settings = PumpSettings::new(output);
    settings.interval = Duration::from_millis(5);
    settings.max_reports = 7;
    settings.retry = Backoff::new(Duration::from_millis(1), Duration::from_millis(10));
    settings.hold = settings.retry.clone();
    settings
}

pub(crate) async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < end, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) fn open(dir: &Path, names: &[&str]) -> Spool {
    let (spool, _) = Spool::open(options(dir)).unwrap();
    let wanted: Vec<_> = names.iter().map(|n| ((*n).to_owned(), Start::Now)).collect();
    spool.set_outputs(&wanted).wait().unwrap();
    spool
}

#[tokio::test]
async fn exactly_once_through_lost_replies_a_late_endpoint_and_a_stuck_neighbour() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().to_owned();
    let spool = tokio::task::spawn_blocking(move || open(&path, &["main", "stuck"])).await.unwrap();
    let (url, hub) = hub().await;
    hub.lock().unwrap().refuse = Some(50);
    let why = "the port is taken".to_owned();
    let endpoint = watch::Sender::new(Endpoint::Waiting { why });
    let settings = |output: &str| TalaiaSettings {
        output: output.to_owned(),
        host: "web-1".to_owned(),
        version: "0.1.0".to_owned(),
        compression: Compression::Zstd,
        client: client(),
    };
    let main = TalaiaSink::new(settings("main"), endpoint.subscribe());
    let stuck_at = server(answer("401 Unauthorized", "", ""), None).await;
    let (main, state) = Pump::new(spool.clone(), pump_settings("main"), main);
    let (stuck, stuck_state) =
        Pump::new(spool.clone(), pump_settings("stuck"), sink(&stuck_at, client()));
    let stop = watch::Sender::new(Stop::No);
    let (one, two) = (stop.subscribe(), stop.subscribe());
    let work = async {
        for _ in 0..100 {
            drop(spool.append(report("p", 1, 0, 300)).unwrap());
        }
        spool.flush().await.unwrap();
        let waiting = || state.borrow().error.as_deref() == Some("the port is taken");
        until("waiting for the endpoint", waiting).await;
        // Ten seconds would be over only after this test: the change wakes the pump.
        endpoint.send_replace(Endpoint::Ready { url, key: Secret::new("k3y") });
        until("all delivered", || balanced(&spool).outputs["main"].spooled == 0).await;
        until("the neighbour is red", || stuck_state.borrow().state == Condition::Hold).await;
        stop.send_replace(Stop::Now);
    };
    let all = async { tokio::join!(main.run(one), stuck.run(two), work) };
    tokio::time::timeout(Duration::from_secs(50), all).await.unwrap();

    let hub = hub.lock().unwrap();
    let numbers: Vec<u64> = hub.stored.iter().map(|(_, seq)| *seq).collect();
    let expected: Vec<u64> = (1..=100).filter(|n| *n != 50).collect();
    assert_eq!(numbers, expected, "in order, each once");
    assert!(hub.requests > 15, "some had to be sent again: {}", hub.requests);
    let head = &hub.heads[0];
    assert!(head.starts_with("POST /api/v1/ingest HTTP/1.1\r\n"), "{head}");
    let line = head.to_lowercase();
    assert!(line.contains("authorization: bearer k3y") && line.contains("content-encoding: zstd"));
    assert_eq!(state.borrow().state, Condition::Ok);
    let ledger = balanced(&spool);
    assert_eq!(ledger.outputs["stuck"].spooled, 100);
    // The reply that refused number 50 may be the one that was lost: then the hub, which counts it
    // as a duplicate, does not say so again.
    let main = &ledger.outputs["main"];
    let refused: u64 = main.evicted.values().sum();
    assert!(main.delivered + refused == 100 && refused <= 1, "{main:?}");
}

#[tokio::test]
async fn a_copied_spool_is_noticed_by_its_mark() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().to_owned();
    let spool = tokio::task::spawn_blocking(move || open(&path, &["main"])).await.unwrap();
    let (url, hub) = hub().await;
    let old = spool.id();
    // The original had given 500 numbers by the time the copy was started.
    hub.lock().unwrap().marks.insert(format!("{old}/main"), 500);
    for _ in 0..10 {
        spool.append(report("p", 1, 0, 300)).unwrap().await.unwrap();
    }
    let (pump, _state) = Pump::new(spool.clone(), pump_settings("main"), sink(&url, client()));
    let stop = watch::Sender::new(Stop::No);
    let work = async {
        until("all delivered", || balanced(&spool).outputs["main"].delivered == 10).await;
        stop.send_replace(Stop::Now);
    };
    let all = async { tokio::join!(pump.run(stop.subscribe()), work) };
    tokio::time::timeout(Duration::from_secs(50), all).await.unwrap();
    assert_ne!(spool.id(), old);
    let expected: Vec<_> = (1..=10).map(|n| (format!("{}/main", spool.id()), n)).collect();
    assert_eq!(hub.lock().unwrap().stored, expected);
}
