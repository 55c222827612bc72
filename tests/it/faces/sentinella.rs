//! The upload of Sentinella's agent.

use std::io::Write;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::support::{KEY, NOW, Reply, Running, start};

const PLUGIN: &str = "904605aa-e577-4f66-88c5-4de907535072";

impl Running {
    async fn metrics(&self, body: &Value) -> Reply {
        let body = body.to_string();
        self.send(format!(
            "POST /metrics HTTP/1.1\r\nHost: api.sentinel.la\r\nUser-Agent: python-requests/2.14.2\r\n\
             Connection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))
        .await
    }

    /// Registers a plugin beside the hub, as its page or a command would.
    fn register(&self, key: &str, plugin: &str) {
        self.database(&format!(
            "INSERT INTO plugin_keys (key, account_id, plugin, created_ms) VALUES ('{key}', 1, '{plugin}', 0)"
        ));
    }

    async fn api(&self, path: &str) -> Value {
        let reply = self
            .send(format!(
                "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {KEY}\r\n\r\n"
            ))
            .await;
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.json()
    }
}

fn upload(key: &str, metrics: &Value) -> Value {
    json!({"stats": {"agent_version": "1.1"}, "account_key": KEY, "server_name": "vm",
        "plugins": {key: metrics}})
}

/// As captured from the agent and its template.
#[tokio::test]
async fn an_upload_becomes_a_monitor_with_points() {
    let hub = start().await;
    hub.register(PLUGIN, "template");
    let metrics = json!({
        "metric_1": {"value": 100, "type": "integer", "metric_name": "metric1", "row_name": "Row name 1"},
        "metric_2": {"value": 3.5, "type": "percent", "metric_name": "metric2", "row_name": "Row name 2"},
        "metric_3": {"value": 1, "type": "binary", "metric_name": "metric3", "row_name": "Row name 3"},
        "metric_4": {"value": "up", "type": "String", "metric_name": "metric4", "row_name": "Row name 4"},
        "metric_5": {"value": 2, "type": "number", "metric_name": "metric5", "row_name": "Row name 5"},
        "metric_6": {"value": 7, "type": "%", "metric_name": "metric6", "row_name": "Row name 6"},
    });
    // The key as people copy it.
    let shouted = PLUGIN.to_uppercase();
    for n in 0..3 {
        hub.time.store(NOW + n * 60_000, Ordering::Relaxed);
        let reply = hub.metrics(&upload(&shouted, &metrics)).await;
        let wanted = json!({"status": "ok", "accepted": 6, "rejected": 0, "plugins": {
            &shouted: {"status": "ok", "plugin": "template", "accepted": 6, "rejected": 0}}});
        assert_eq!(reply.with(200), wanted.to_string());
    }
    let plugins = hub.api("/api/v1/plugins").await;
    let row = &plugins["items"][0];
    assert_eq!((&row["host"], &row["plugin"]), (&json!("vm"), &json!("template")));
    assert_eq!((&row["reports"], &row["metrics"]), (&json!(3), &json!(18)));
    assert_eq!(row["last_run"]["interval"], 60.0, "by the pause between two uploads");
    let points = hub.api("/api/v1/points?host=vm&plugin=template&from=0").await;
    let kinds: Vec<_> = points["series"]
        .as_array()
        .unwrap()
        .iter()
        .map(|series| (series["name"].clone(), series["type"].clone(), series["points"][0].clone()))
        .collect();
    let wanted = [
        ("metric1", "integer", json!([NOW, 100])),
        ("metric2", "percent", json!([NOW, 3.5])),
        ("metric3", "boolean", json!([NOW, true])),
        ("metric4", "string", json!([NOW, "up"])),
        ("metric5", "float", json!([NOW, 2.0])),
        ("metric6", "percent", json!([NOW, 7.0])),
    ]
    .map(|(name, kind, point)| (json!(name), json!(kind), point));
    assert_eq!(kinds, wanted);
    assert_eq!(points["series"][0]["points"].as_array().unwrap().len(), 3);
    hub.stop().await;
}

#[tokio::test]
async fn what_cannot_be_taken_is_said_and_kept_among_the_rejections() {
    let hub = start().await;
    hub.register(PLUGIN, "template");
    let metrics = json!({
        "metric_1": {"value": 100, "type": "integer", "metric_name": "metric-one", "row_name": "Row 1"},
        "metric_2": {"value": "many", "type": "percent", "metric_name": "metric2", "row_name": "Row 2"},
        "metric_3": {"value": 1, "type": "binary", "metric_name": "metric3", "row_name": "Row 3"},
    });
    let reply = hub.metrics(&upload(PLUGIN, &metrics)).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let answer = reply.json();
    assert_eq!((&answer["accepted"], &answer["rejected"]), (&json!(1), &json!(2)));
    let first = &answer["plugins"][PLUGIN]["rejections"][0];
    assert_eq!(first["code"], "name-hyphen");
    assert_eq!(first["path"], format!("/plugins/{PLUGIN}/metric_1/metric_name"));
    assert!(first["hint"].as_str().unwrap().contains("metric_one"), "{first}");
    let row = &hub.api("/api/v1/plugins").await["items"][0];
    assert_eq!((&row["metrics"], &row["rejected"]), (&json!(1), &json!(2)));
    let counts = &hub.api("/api/v1/runs").await["items"][0]["counts"];
    assert_eq!(counts["rejected"], json!({"name-hyphen": 1, "value-type": 1}));
    hub.stop().await;
}

#[tokio::test]
async fn keys_that_are_not_good_are_answered_where_the_old_service_was_silent() {
    let hub = start().await;
    hub.register(PLUGIN, "template");
    let one = json!({"m": {"value": 1, "type": "integer", "metric_name": "m"}});
    let mut body = upload(PLUGIN, &one);
    for (key, status, words) in [
        (json!("32j4u23iy4u23i"), 401, "does not know the key"),
        (json!("APIKEYAPIKEYAPIKEYAPIKEY01"), 401, "does not know the key"),
        (json!(""), 401, "`account_key` is missing"),
        (Value::Null, 401, "`account_key` is missing"),
    ] {
        body["account_key"] = key;
        let reply = hub.metrics(&body).await;
        assert!(reply.with(status).contains(words), "{reply:?}");
        assert_eq!(reply.json()["status"], "error");
    }
    hub.database("UPDATE keys SET scopes = 'read'");
    let reply = hub.metrics(&upload(PLUGIN, &one)).await;
    assert!(reply.with(403).contains("lacks the scope `ingest`"), "{reply:?}");
    hub.database("UPDATE keys SET scopes = 'ingest read', revoked_ms = 5");
    let reply = hub.metrics(&upload(PLUGIN, &one)).await;
    assert!(reply.with(401).contains("revoked"), "{reply:?}");
    hub.database("UPDATE keys SET revoked_ms = NULL");

    let unknown = "11111111-2222-4333-8444-555555555555";
    hub.register("22222222-2222-4333-8444-555555555555", "old");
    hub.database("UPDATE plugin_keys SET revoked_ms = 5 WHERE plugin = 'old'");
    let mut body = upload(unknown, &one);
    body["plugins"]["22222222-2222-4333-8444-555555555555"] = one.clone();
    body["plugins"]["904605aa- E577-4f66-88c5-4de907535072"] = one.clone();
    let reply = hub.metrics(&body).await;
    assert_eq!(reply.status, 403, "nothing of it was taken: {reply:?}");
    body["plugins"][PLUGIN] = one.clone();
    let reply = hub.metrics(&body).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let plugins = &reply.json()["plugins"];
    let state = |key: &str| plugins[key]["status"].clone();
    assert_eq!(state(PLUGIN), "ok");
    assert_eq!(state(unknown), "unknown");
    assert_eq!(state("22222222-2222-4333-8444-555555555555"), "revoked");
    let spaced = &plugins["904605aa- E577-4f66-88c5-4de907535072"];
    assert_eq!(spaced["status"], "invalid");
    assert!(spaced["error"].as_str().unwrap().contains("white space"), "{spaced}");

    hub.database("UPDATE monitors SET suspended_ms = 5");
    let restarted = hub.metrics(&upload(PLUGIN, &one)).await;
    // The writer remembers which monitors take results; whoever suspends one by the hub tells it.
    assert!(matches!(restarted.status, 200 | 403), "{restarted:?}");
    hub.stop().await;
}

#[tokio::test]
async fn bodies_that_are_no_upload_are_refused() {
    let hub = start().await;
    let send = async |head: &str, body: &[u8]| {
        let mut bytes = format!(
            "POST /metrics HTTP/1.1\r\nHost: api.sentinel.la\r\nConnection: close\r\n{head}Content-Length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        bytes.extend_from_slice(body);
        hub.send(bytes).await
    };
    assert_eq!(send("", b"{").await.status, 400);
    assert_eq!(send("", b"[]").await.status, 400);
    assert_eq!(send("", b"\xff").await.status, 400);
    assert_eq!(send("Content-Encoding: br\r\n", b"{}").await.status, 415);
    assert_eq!(send("", b"{}").await.status, 401);
    let none = json!({"account_key": KEY, "server_name": "vm", "measurements": "[]"});
    let reply = send("", none.to_string().as_bytes()).await;
    assert!(reply.with(422).contains("`plugins` is missing"), "{reply:?}");
    let nameless = json!({"account_key": KEY, "plugins": {}});
    let reply = send("", nameless.to_string().as_bytes()).await;
    assert!(reply.with(422).contains("`server_name`"), "{reply:?}");
    let nothing = json!({"account_key": KEY, "server_name": "vm", "plugins": {}});
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(nothing.to_string().as_bytes()).unwrap();
    let reply = send("Content-Encoding: gzip\r\n", &packed.finish().unwrap()).await;
    assert_eq!(reply.json()["accepted"], 0, "{reply:?}");
    let get = hub.call("GET", "http://api.sentinel.la/metrics", "").await;
    assert_eq!(get.status, 405, "{get:?}");
    let package = "https://api.sentinel.la/plugins/download/sentinella-docker-0.1.zip";
    let reply = hub.call("GET", package, "").await;
    assert!(reply.with(404).contains("sentinella-docker-0.1.zip"), "{reply:?}");
    hub.stop().await;
}

/// Strangers who announce large bodies and do not send them hold up nobody but each other.
#[tokio::test]
async fn slow_strangers_hold_up_neither_agents_nor_small_uploads() {
    let hub = start().await;
    hub.register(PLUGIN, "template");
    let mut slow = Vec::new();
    for n in 0..8 {
        let target = if n % 2 == 0 { "/metrics" } else { "/customMonitorApi" };
        let mut stream = TcpStream::connect(&hub.addr).await.unwrap();
        let head = format!(
            "POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        // Said when the hub begins to read the body.
        let mut said = [0; 12];
        let read = tokio::time::timeout(Duration::from_secs(20), stream.read_exact(&mut said));
        read.await.unwrap().unwrap();
        assert_eq!(&said, b"HTTP/1.1 100");
        slow.push(stream);
    }
    let at_once = async {
        let sent = upload(PLUGIN, &json!({"a": {"value": 1, "type": "integer"}}));
        let reply = hub.metrics(&sent).await;
        assert_eq!(reply.json()["accepted"], 1, "{reply:?}");
        let id = hub.add("posted", "n:n::2").await;
        for (path, body) in [
            (format!("/api/v1/monitors/{id}/results"), json!({"values": {"n": 1}})),
            ("/api/v1/ingest".to_owned(), json!({})),
        ] {
            let body = body.to_string();
            let reply = hub
                .send(format!(
                    "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
                     Authorization: Bearer {KEY}\r\nContent-Type: application/json\r\n\
                     Content-Length: {}\r\n\r\n{body}",
                    body.len()
                ))
                .await;
            // An empty batch is read, and is none.
            let wanted = if path.ends_with("results") { 200..=200 } else { 400..=422 };
            assert!(wanted.contains(&reply.status), "{path}: {reply:?}");
        }
    };
    // Shorter than any of the strangers is waited for.
    tokio::time::timeout(Duration::from_secs(8), at_once).await.unwrap();
    drop(slow);
    hub.stop().await;
}
