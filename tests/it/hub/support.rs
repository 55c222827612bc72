//! A hub of its own for each test, and a client that sees every byte.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]
#![expect(clippy::needless_pass_by_value, reason = "reads better where they are called")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use talaia::hub::{Clock, Credentials, Hub, HubError, Settings};
use talaia::model::{BatchReply, RunId, SpoolId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A moment to begin at: 2026-11-22T20:42:10Z.
pub(super) const NOW: i64 = 1_795_380_130_000;

pub(super) struct Running {
    pub(super) url: String,
    pub(super) credentials: Credentials,
    pub(super) link: String,
    pub(super) time: Arc<AtomicI64>,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<Result<(), HubError>>,
    client: reqwest::Client,
}

pub(super) fn settings(folder: &Path) -> Settings {
    let mut settings = Settings::new("127.0.0.1:0".parse().unwrap(), folder);
    settings.min_free = 0;
    settings
}

pub(super) async fn start(folder: &Path) -> Running {
    start_with(settings(folder)).await
}

pub(super) async fn start_with(mut settings: Settings) -> Running {
    let time = Arc::new(AtomicI64::new(NOW));
    let turned = time.clone();
    settings.clock = Clock::from_fn(move || turned.load(Ordering::Relaxed));
    let hub = bind(settings).await;
    let url = hub.url().to_owned();
    let credentials = hub.credentials().clone();
    let link = hub.login_link().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let served = tokio::spawn(hub.serve(async {
        let _stopped = stopped.await;
    }));
    Running { url, credentials, link, time, stop: Some(stop), served, client: client() }
}

/// A folder that was another hub's of this process may be locked for a moment: a process that another
/// test is just spawning holds the lock too until it executes its own program.
async fn bind(settings: Settings) -> Hub {
    for _ in 0..500 {
        match Hub::bind(settings.clone()).await {
            Err(HubError::Locked { pid, .. }) if pid == std::process::id().to_string() => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            other => return other.unwrap(),
        }
    }
    Hub::bind(settings).await.unwrap()
}

fn client() -> reqwest::Client {
    talaia::deliver::client_builder().no_proxy().timeout(Duration::from_secs(30)).build().unwrap()
}

/// What came back.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: reqwest::header::HeaderMap,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }
}

pub(super) async fn answer(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    Answer {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        body: response.text().await.unwrap(),
    }
}

impl Running {
    pub(super) fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method.parse().unwrap(), format!("{}{path}", self.url))
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        answer(self.request("GET", path).bearer_auth(&self.credentials.key)).await
    }

    pub(super) fn upload(&self) -> reqwest::RequestBuilder {
        self.request("POST", "/api/v1/ingest")
            .bearer_auth(&self.credentials.key)
            .header("content-type", "application/json")
    }

    pub(super) async fn post(&self, batch: &Value) -> Answer {
        answer(self.upload().body(batch.to_string())).await
    }

    /// Sends a batch that must be taken.
    pub(super) async fn take(&self, batch: &Value) -> BatchReply {
        let answer = self.post(batch).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        serde_json::from_str(&answer.body).unwrap()
    }

    /// Reports, metrics and rejections of one plugin, as the hub counts them.
    pub(super) async fn held(&self, host: &str, plugin: &str) -> (u64, u64, u64) {
        let page = self.get(&format!("/api/v1/plugins?host={host}&plugin={plugin}")).await.json();
        let row = &page["items"][0];
        let count = |name: &str| row[name].as_u64().unwrap_or(0);
        (count("reports"), count("metrics"), count("rejected"))
    }

    /// Uses the login link and gives the cookie.
    pub(super) async fn log_in(&self) -> String {
        let path = self.link.strip_prefix(&self.url).unwrap();
        let answer = answer(self.request("POST", path)).await;
        assert_eq!(answer.status, 303, "{}", answer.body);
        answer.header("set-cookie").split(';').next().unwrap().to_owned()
    }

    pub(super) async fn page(&self, cookie: &str, path: &str) -> Answer {
        answer(self.request("GET", path).header("cookie", cookie)).await
    }

    /// Sends bytes as they are and gives the first of what comes back.
    pub(super) async fn raw(&self, bytes: Vec<u8>) -> String {
        let addr = self.url.strip_prefix("http://").unwrap();
        let stream = tokio::net::TcpStream::connect(addr).await.unwrap();
        let (mut read, mut write) = stream.into_split();
        // The hub may well answer and close before it has read all.
        let sending = tokio::spawn(async move {
            let _sent = write.write_all(&bytes).await;
            write
        });
        let mut head = vec![0; 4096];
        let got = tokio::time::timeout(Duration::from_secs(20), read.read(&mut head));
        let length = got.await.expect("an answer").unwrap_or(0);
        sending.abort();
        String::from_utf8_lossy(&head[..length]).into_owned()
    }

    pub(super) async fn stop(mut self) {
        if let Some(stop) = self.stop.take() {
            stop.send(()).unwrap();
        }
        tokio::time::timeout(Duration::from_secs(20), &mut self.served)
            .await
            .expect("the hub stops when told to")
            .unwrap()
            .unwrap();
    }
}

/// One agent's stream.
pub(super) struct Stream {
    pub(super) spool: SpoolId,
    pub(super) output: &'static str,
}

impl Stream {
    pub(super) fn new() -> Self {
        Self { spool: SpoolId::new(), output: "main" }
    }

    pub(super) fn batch(&self, reports: Vec<Value>) -> Value {
        json!({
            "agent": {"id": SpoolId::new(), "host": "web-1", "version": env!("CARGO_PKG_VERSION"), "spool": self.spool},
            "output": self.output, "sent": stamp(NOW), "reports": reports,
        })
    }
}

pub(super) fn stamp(ms: i64) -> String {
    talaia::model::Timestamp::from_millis(ms).unwrap().to_string()
}

/// A report of the plugin `disk` on `web-1`.
pub(super) fn report(seq: u64, ms: i64, metrics: Value) -> Value {
    let accepted = metrics.as_array().unwrap().len();
    json!({
        "seq": seq, "plugin": "disk", "key": null, "host": "web-1", "run": RunId::new(),
        "started": stamp(ms), "duration": 0.012, "interval": 30.0,
        "outcome": {"kind": "exited", "code": 0}, "status": "ok", "message": null,
        "metrics": metrics, "rejected": [], "warnings": [],
        "counts": {"produced": accepted, "accepted": accepted, "rejected": {}},
        "skipped": 0, "leftovers": 0,
        "usage": {"cpu": 0.004, "max_rss": 2_097_152, "stdout": 181, "stderr": 0}
    })
}

/// One value of `disk_used`.
pub(super) fn used(value: f64) -> Value {
    json!([{"name": "disk_used", "value": value, "type": "percent", "unit": "%",
            "label": "Disk used", "tags": {"mount": "/"}}])
}
