//! A hub with the account of the recorded requests, and a client that sees every byte.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::hmac;
use serde_json::Value;
use talaia::hub::{Clock, Credentials, Hub, HubError, MonitisReads, Settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// When the recorded requests were sent: 2026-11-22T20:00:42Z.
pub(super) const NOW: i64 = 1_795_377_642_000;

pub(super) const API_KEY: &str = "APIKEYAPIKEYAPIKEYAPIKEY01";
pub(super) const SECRET: &str = "SECRETSECRETSECRETSECRET01";
/// The account's Bearer key.
pub(super) const KEY: &str =
    "talaia_00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

pub(super) struct Running {
    pub(super) addr: String,
    pub(super) time: Arc<AtomicI64>,
    folder: tempfile::TempDir,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<Result<(), HubError>>,
}

/// A hub whose account has the recorded keys.
pub(super) async fn start() -> Running {
    start_with(MonitisReads::ByApiKey).await
}

pub(super) async fn start_with(reads: MonitisReads) -> Running {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("hub");
    write_credentials(&data);
    let time = Arc::new(AtomicI64::new(NOW));
    let turned = time.clone();
    let mut settings = Settings::new("127.0.0.1:0".parse().unwrap(), &data);
    settings.min_free = 0;
    settings.monitis_reads = reads;
    settings.clock = Clock::from_fn(move || turned.load(Ordering::Relaxed));
    let hub = Hub::bind(settings).await.unwrap();
    let addr = hub.addr().to_string();
    let (stop, stopped) = oneshot::channel::<()>();
    let served = tokio::spawn(hub.serve(async {
        let _stopped = stopped.await;
    }));
    Running { addr, time, folder, stop: Some(stop), served }
}

/// What a hub that lost its database finds: it goes on with these keys.
pub(super) fn write_credentials(data: &Path) {
    fs::create_dir_all(data).unwrap();
    let kept = Credentials {
        url: String::new(),
        certificate: None,
        key: KEY.to_owned(),
        api_key: API_KEY.to_owned(),
        secret_key: SECRET.to_owned(),
    };
    fs::write(Credentials::file_in(data), serde_json::to_vec(&kept).unwrap()).unwrap();
}

/// What came back.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    /// In lower case.
    pub(super) head: String,
    pub(super) body: String,
}

impl Reply {
    #[track_caller]
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// The body of an answer with this status.
    #[track_caller]
    pub(super) fn with(&self, status: u16) -> &str {
        assert_eq!(self.status, status, "{self:?}");
        &self.body
    }
}

impl Running {
    /// Sends bytes as they are, and reads until the hub closes.
    pub(super) async fn send(&self, bytes: impl AsRef<[u8]>) -> Reply {
        send(&self.addr, bytes).await
    }

    /// A request as old clients send it through a proxy.
    pub(super) async fn call(&self, method: &str, target: &str, body: &str) -> Reply {
        self.call_as("Python-urllib/2.7", method, target, body).await
    }

    pub(super) async fn call_as(
        &self,
        agent: &str,
        method: &str,
        target: &str,
        body: &str,
    ) -> Reply {
        self.send(format!(
            "{method} {target} HTTP/1.1\r\nAccept-Encoding: identity\r\nContent-Length: {}\r\n\
             Host: sandbox.monitis.com\r\nContent-Type: application/x-www-form-urlencoded\r\n\
             Connection: close\r\nUser-Agent: {agent}\r\n\r\n{body}",
            body.len()
        ))
        .await
    }

    /// A signed POST with these parameters in the body.
    pub(super) async fn post(&self, action: &str, params: &[(&str, &str)]) -> Reply {
        self.call("POST", CUSTOM, &signed(action, params)).await
    }

    /// A GET with the public key alone.
    pub(super) async fn get(&self, action: &str, params: &[(&str, &str)]) -> Reply {
        let mut all = vec![("apikey", API_KEY), ("action", action)];
        all.extend(params);
        self.call("GET", &format!("{CUSTOM}?{}", form(&all)), "").await
    }

    /// Makes a monitor and gives its id.
    pub(super) async fn add(&self, name: &str, params: &str) -> i64 {
        let made = [("name", name), ("tag", "test"), ("resultParams", params)];
        let reply = self.post("addMonitor", &made).await;
        assert_eq!(reply.json()["status"], "ok", "{reply:?}");
        reply.json()["data"].as_i64().unwrap()
    }

    /// The results of the day of the recorded requests.
    pub(super) async fn day(&self, id: i64) -> Vec<Value> {
        let id = id.to_string();
        let day = [("monitorId", &*id), ("year", "2026"), ("month", "11"), ("day", "22")];
        let reply = self.get("getMonitorResults", &day).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        serde_json::from_str(&reply.body).unwrap()
    }

    /// Changes the database beside the hub.
    pub(super) fn database(&self, sql: &str) {
        let path = self.folder.path().join("hub/hub.db");
        rusqlite::Connection::open(path).unwrap().execute_batch(sql).unwrap();
    }

    pub(super) async fn stop(mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        tokio::time::timeout(Duration::from_secs(20), &mut self.served)
            .await
            .expect("the hub stops when told to")
            .unwrap()
            .unwrap();
    }
}

/// Where the Python client sends to through a proxy.
pub(super) const CUSTOM: &str = "http://sandbox.monitis.com/customMonitorApi";

pub(super) async fn send(addr: &str, bytes: impl AsRef<[u8]>) -> Reply {
    let talk = async {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(bytes.as_ref()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        answer
    };
    let answer = tokio::time::timeout(Duration::from_secs(20), talk).await.expect("an answer");
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Reply { status, head: head.to_lowercase(), body: body.to_owned() }
}

/// `name=value&…`, encoded as `urlencode` of Python does.
pub(crate) fn form(params: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = params.iter().map(|(n, v)| format!("{n}={}", quote_plus(v))).collect();
    pairs.join("&")
}

/// Percent-encodes everything but letters, digits and `_.-`.
pub(super) fn quote(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'.' | b'-' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}

/// The same, with `+` for a space.
pub(super) fn quote_plus(text: &str) -> String {
    quote(text).replace("%20", "+")
}

/// The checksum over these parameters.
pub(crate) fn checksum(secret: &str, params: &[(&str, &str)]) -> String {
    let mut sorted = params.to_vec();
    sorted.sort_unstable();
    let text: String = sorted.iter().flat_map(|(name, value)| [*name, *value]).collect();
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
    BASE64_STANDARD.encode(hmac::sign(&key, text.as_bytes()))
}

/// A signed form.
pub(super) fn signed(action: &str, params: &[(&str, &str)]) -> String {
    let mut all = vec![
        ("apikey", API_KEY),
        ("version", "2"),
        ("timestamp", "2026-11-22 20:00:42"),
        ("action", action),
    ];
    all.extend(params);
    let sum = checksum(SECRET, &all);
    all.push(("checksum", &sum));
    form(&all)
}
