//! The hub over TLS: who is trusted, what is waited for, and what a renewed certificate takes.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use talaia::deliver::{ClientSettings, TlsSettings};
use talaia::hub::{HubError, TlsFiles};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::support::*;

const BOUND: Duration = Duration::from_secs(30);

/// Writes a certificate for `name` that vouches for itself, and its key.
fn certify(folder: &Path, name: &str) -> (TlsFiles, CertificateDer<'static>) {
    let files = TlsFiles { cert: folder.join("hub.pem"), key: folder.join("hub.key") };
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let cert = params.self_signed(&key).unwrap();
    // The key first: the hub may look at any time.
    std::fs::write(&files.key, key.serialize_pem()).unwrap();
    std::fs::write(&files.cert, cert.pem()).unwrap();
    (files, cert.der().clone())
}

struct Secured {
    hub: Running,
    cert: CertificateDer<'static>,
    files: TlsFiles,
    _folders: [tempfile::TempDir; 2],
}

async fn secured() -> Secured {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (files, cert) = certify(folders[0].path(), "hub.example.org");
    let mut settings = settings(folders[1].path());
    settings.tls = Some(files.clone());
    settings.hosts = vec!["hub.example.org".to_owned()];
    Secured { hub: start_with(settings).await, cert, files, _folders: folders }
}

impl Secured {
    fn addr(&self) -> SocketAddr {
        self.hub.url.strip_prefix("https://").unwrap().parse().unwrap()
    }

    /// A client that trusts the certificate in this file.
    fn client(pinned: PathBuf) -> reqwest::Client {
        let tls = TlsSettings { pinned: Some(pinned), ..TlsSettings::default() };
        ClientSettings { tls, ..ClientSettings::default() }.build("https://x").unwrap()
    }

    /// A connection after its handshake, by the name of the certificate.
    async fn connect(&self) -> TlsStream<TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(self.cert.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(self.addr()).await.unwrap();
        let name = ServerName::try_from("hub.example.org").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
    }
}

/// What comes until the other end closes, which it must.
async fn rest(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut bytes = Vec::new();
    // A connection that is cut off ends in an error, which is an end.
    let _ended = tokio::time::timeout(BOUND, stream.read_to_end(&mut bytes)).await.expect("an end");
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn what_is_known_on_this_machine_opens_it() {
    let it = secured().await;
    let credentials = it.hub.credentials.clone();
    assert!(credentials.url.starts_with("https://127.0.0.1:"), "{}", credentials.url);
    assert_eq!(credentials.certificate.as_ref(), Some(&it.files.cert));
    assert!(it.hub.link.starts_with(&credentials.url));
    let client = Secured::client(it.files.cert.clone());
    let batch = Stream::new().batch(vec![report(1, NOW, used(1.0))]);
    let sent = client
        .post(format!("{}/api/v1/ingest", credentials.url))
        .bearer_auth(&credentials.key)
        .header("content-type", "application/json")
        .body(batch.to_string());
    let sent = answer(sent).await;
    assert_eq!(sent.status, 200, "{}", sent.body);

    // Another certificate is not trusted, even one of the same name.
    let other = tempfile::tempdir().unwrap();
    let (others, _) = certify(other.path(), "hub.example.org");
    let refused = Secured::client(others.cert).get(&credentials.url).send().await;
    assert!(refused.is_err());
    // Nor is the right one by a client that trusts the system's roots only.
    assert!(it.hub.request("GET", "/healthz").send().await.is_err());

    // Browsers give the session's cookie away over TLS alone.
    let login = answer(client.post(&it.hub.link)).await;
    assert_eq!(login.status, 303, "{}", login.body);
    let cookie = login.header("set-cookie");
    assert!(cookie.contains("; Secure") && cookie.contains("; HttpOnly"), "{cookie}");
    it.hub.stop().await;
}

#[tokio::test]
async fn plain_http_is_told_so() {
    let it = secured().await;
    let mut stream = TcpStream::connect(it.addr()).await.unwrap();
    let request = format!(
        "GET /api/v1/key HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {}\r\n\r\n",
        it.hub.credentials.key
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let said = rest(&mut stream).await;
    assert!(said.starts_with("HTTP/1.1 400 ") && said.ends_with("use https://\r\n"), "{said}");
    let (head, body) = said.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("content-length: {}", body.len())), "{said}");
    it.hub.stop().await;
}

#[tokio::test]
async fn who_is_slow_is_not_waited_for_in_the_handshake_or_after_it() {
    let it = secured().await;
    let begin = Instant::now();
    // Says nothing at all; begins a handshake and goes on byte by byte; and, after its handshake,
    // does so with a head.
    let mut silent = TcpStream::connect(it.addr()).await.unwrap();
    let (mut half_read, mut half) = TcpStream::connect(it.addr()).await.unwrap().into_split();
    let (mut head_read, mut head) = tokio::io::split(it.connect().await);
    let drip = tokio::spawn(async move {
        let mut every = tokio::time::interval(Duration::from_millis(50));
        half.write_all(&[22, 3, 1, 2, 0, 1]).await.unwrap();
        head.write_all(b"GET / HTTP/1.1\r\nHost: hub.example.org\r\nX: ").await.unwrap();
        let (mut one, mut two) = (true, true);
        while one || two {
            every.tick().await;
            one = one && half.write_all(&[0]).await.is_ok();
            two = two && head.write_all(b"x").await.is_ok();
        }
    });
    let (a, b, c) = tokio::join!(rest(&mut silent), rest(&mut half_read), rest(&mut head_read));
    assert!(!a.contains("200 OK") && !b.contains("200 OK") && !c.contains("200 OK"));
    assert!(begin.elapsed() >= Duration::from_secs(9), "not at once either");
    drip.abort();
    it.hub.stop().await;
}

#[tokio::test]
async fn requests_that_are_too_large_are_refused() {
    let it = secured().await;
    let ask = async |text: String| {
        let mut stream = it.connect().await;
        let (mut read, mut write) = tokio::io::split(&mut stream);
        let sending = async {
            // The hub may well answer and close before it has read all.
            let _sent = write.write_all(text.as_bytes()).await;
            std::future::pending::<()>().await;
        };
        let mut head = [0; 64];
        let got = tokio::select! {
            got = tokio::time::timeout(BOUND, read.read(&mut head)) => got.expect("an answer"),
            () = sending => unreachable!(),
        };
        String::from_utf8_lossy(&head[..got.unwrap_or(0)]).into_owned()
    };
    let long = "x".repeat(1 << 20);
    let head = |path: &str, more: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: hub.example.org\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\n{more}",
            it.hub.credentials.key
        )
    };
    let said = ask(head("/api/v1/keys", &format!("X: {long}\r\n\r\n"))).await;
    assert!(said.starts_with("HTTP/1.1 431 "), "{said}");
    let said = ask(head(&format!("/{long}"), "\r\n")).await;
    assert!(said.starts_with("HTTP/1.1 414 ") || said.starts_with("HTTP/1.1 431 "), "{said}");
    let said = ask(head("/api/v1/ingest", "Content-Length: 999999999999\r\n\r\n")).await;
    assert!(said.starts_with("HTTP/1.1 413 "), "{said}");
    let said =
        ask(head("/api/v1/keys", &format!("Content-Length: {}\r\n\r\n{long}", long.len()))).await;
    assert!(said.starts_with("HTTP/1.1 413 "), "{said}");
    it.hub.stop().await;
}

#[tokio::test]
async fn a_renewed_certificate_is_used_without_a_restart() {
    let it = secured().await;
    let client = Secured::client(it.files.cert.clone());
    let health = format!("{}/healthz", it.hub.url);
    assert_eq!(answer(client.get(&health)).await.status, 200);
    let (_, renewed) = certify(it.files.cert.parent().unwrap(), "hub.example.org");
    let shown = async || {
        let mut roots = RootCertStore::empty();
        roots.add(renewed.clone()).unwrap();
        let fresh = Secured::client(it.files.cert.clone());
        fresh.get(&health).send().await.is_ok()
    };
    let end = Instant::now() + BOUND;
    while !shown().await {
        assert!(Instant::now() < end, "still the old certificate");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // One that is broken changes nothing.
    std::fs::write(&it.files.key, "no key").unwrap();
    tokio::time::sleep(Duration::from_millis(2100)).await;
    assert!(shown().await);
    it.hub.stop().await;
}

#[tokio::test]
async fn a_stop_waits_for_what_is_under_way_and_for_nobody_else() {
    let it = secured().await;
    // A handshake that never goes on, and a connection that asks nothing.
    let mut half = TcpStream::connect(it.addr()).await.unwrap();
    half.write_all(&[22, 3, 1]).await.unwrap();
    let _idle = it.connect().await;
    // An upload of which the head has come.
    let mut under_way = it.connect().await;
    let batch = Stream::new().batch(vec![report(1, NOW, used(1.0))]).to_string();
    let head = format!(
        "POST /api/v1/ingest HTTP/1.1\r\nHost: hub.example.org\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        it.hub.credentials.key,
        batch.len()
    );
    under_way.write_all(head.as_bytes()).await.unwrap();
    under_way.write_all(&batch.as_bytes()[..10]).await.unwrap();
    under_way.flush().await.unwrap();
    // The hub has the head once it answers another request that came after it.
    let client = Secured::client(it.files.cert.clone());
    assert_eq!(answer(client.get(format!("{}/healthz", it.hub.url))).await.status, 200);
    let begin = Instant::now();
    let (stopped, said) = tokio::join!(
        async {
            it.hub.stop().await;
            begin.elapsed()
        },
        async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            under_way.write_all(&batch.as_bytes()[10..]).await.unwrap();
            under_way.flush().await.unwrap();
            rest(&mut under_way).await
        }
    );
    assert!(said.starts_with("HTTP/1.1 200 ") && said.contains("\"accepted\":1"), "{said}");
    assert!(stopped < Duration::from_secs(4), "{stopped:?}");
}

#[tokio::test]
async fn a_hub_without_a_good_certificate_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let (files, _) = certify(folder.path(), "localhost");
    let data = folder.path().join("hub");
    let bind = async |files: TlsFiles| {
        let mut settings = settings(&data);
        settings.tls = Some(files);
        talaia::hub::Hub::bind(settings).await
    };
    let none = folder.path().join("none");
    for files in [
        TlsFiles { cert: none.clone(), ..files.clone() },
        TlsFiles { key: none, ..files.clone() },
        TlsFiles { key: files.cert.clone(), ..files.clone() },
    ] {
        let refused = bind(files).await;
        assert!(matches!(refused, Err(HubError::Tls(_))), "{refused:?}");
    }
    assert!(!data.exists(), "and changes nothing");
    // Over TLS the local account is the same as without.
    let hub = bind(files).await.unwrap();
    let first = hub.credentials();
    drop(hub);
    let hub = talaia::hub::Hub::bind(settings(&data)).await.unwrap();
    let second = hub.credentials();
    assert_eq!((first.key, first.api_key), (second.key, second.api_key));
    assert_eq!(second.certificate, None);
    let kept = std::fs::read(talaia::hub::Credentials::file_in(&data)).unwrap();
    let kept: serde_json::Value = serde_json::from_slice(&kept).unwrap();
    assert_eq!(kept.get("certificate"), None);
    assert!(kept["url"].as_str().unwrap().starts_with("http://"));
}
