//! Bodies of every kind: what is refused, and how it is said.

use std::io::Write;

use serde_json::{Value, json};

use super::support::*;

/// The hub has taken nothing.
async fn untouched(hub: &Running) {
    let page = hub.get("/api/v1/plugins").await.json();
    assert_eq!(page["items"], json!([]));
}

#[tokio::test]
async fn keys_are_asked_for_before_the_body_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let bare = || hub.request("POST", "/api/v1/ingest").header("content-type", "application/json");
    let wrong = format!("{}x", hub.credentials.key);
    for (request, code) in [
        (bare(), "unauthorized"),
        (bare().header("authorization", "Bearer"), "unauthorized"),
        (bare().header("authorization", "Basic abc"), "unauthorized"),
        (bare().bearer_auth(""), "unauthorized"),
        (bare().bearer_auth(wrong), "key-unknown"),
        (bare().bearer_auth(&hub.credentials.api_key), "key-unknown"),
        (bare().bearer_auth(&hub.credentials.secret_key), "key-unknown"),
    ] {
        let answer = answer(request.body("not even JSON")).await;
        assert_eq!(answer.status, 401);
        assert_eq!(answer.header("content-type"), "application/problem+json");
        assert_eq!(answer.header("www-authenticate"), "Bearer");
        assert_eq!(answer.json()["code"], code);
    }
    for path in ["plugins", "series", "runs", "points"] {
        let answer = answer(hub.request("GET", &format!("/api/v1/{path}"))).await;
        assert_eq!(answer.status, 401, "{path}");
    }
    hub.stop().await;
}

#[tokio::test]
async fn every_packing_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let stream = Stream::new();
    let body = |seq| stream.batch(vec![report(seq, NOW, used(1.0))]).to_string();
    let gzip = |text: &str| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let zstd = zstd::encode_all(body(1).as_bytes(), 1).unwrap();
    for (encoding, packed) in
        [("zstd", zstd), ("gzip", gzip(&body(2))), ("identity", body(3).into_bytes())]
    {
        let request = hub.upload().header("content-encoding", encoding).body(packed);
        let answer = answer(request).await;
        assert_eq!(
            (answer.status, answer.json()["accepted"].as_u64()),
            (200, Some(1)),
            "{encoding}"
        );
    }
    assert_eq!(hub.held("web-1", "disk").await.0, 3);
    hub.stop().await;
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_by_kind() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let good = Stream::new().batch(vec![report(1, NOW, used(1.0))]).to_string();
    let plain = |kind: &str| {
        hub.request("POST", "/api/v1/ingest")
            .bearer_auth(&hub.credentials.key)
            .header("content-type", kind)
    };
    let half = zstd::encode_all(good.as_bytes(), 1).unwrap();
    let cases: Vec<(reqwest::RequestBuilder, u16, &str)> = vec![
        (plain("text/plain").body(good.clone()), 415, "media-type"),
        (plain("").body(good.clone()), 415, "media-type"),
        (hub.upload().header("content-encoding", "br").body(good.clone()), 415, "media-type"),
        (hub.upload().header("content-encoding", "zstd").body(good.clone()), 400, "encoding"),
        (
            hub.upload().header("content-encoding", "zstd").body(half[..half.len() / 2].to_vec()),
            400,
            "encoding",
        ),
        (hub.upload().header("content-encoding", "gzip").body("x"), 400, "encoding"),
        (hub.upload().body(vec![b'"', 0xff, b'"']), 400, "encoding"),
        (hub.upload().body(""), 400, "json-syntax"),
        (hub.upload().body("{"), 400, "json-syntax"),
        (hub.upload().body(good.replace("\"seq\":1", "\"seq\":01")), 400, "json-syntax"),
        (hub.upload().body("[]"), 422, "shape"),
        (hub.upload().body("null"), 422, "shape"),
        (hub.upload().body(format!("{good} x")), 400, "json-syntax"),
        (hub.upload().body("[".repeat(1_000_000)), 422, "shape"),
        (hub.upload().body("{\"a\":".repeat(200_000)), 422, "shape"),
    ];
    for (nth, (request, status, code)) in cases.into_iter().enumerate() {
        let answer = answer(request).await;
        assert_eq!(answer.status, status, "case {nth}: {}", answer.body);
        assert_eq!(answer.json()["code"], code, "case {nth}");
        assert_eq!(answer.header("content-type"), "application/problem+json", "case {nth}");
    }
    untouched(&hub).await;
    hub.stop().await;
}

#[tokio::test]
async fn bombs_and_giants_cost_little() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let mut bomb = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    let mut gzip_bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let spaces = vec![b' '; 1 << 20];
    for _ in 0..256 {
        bomb.write_all(&spaces).unwrap();
        gzip_bomb.write_all(&spaces).unwrap();
    }
    for (encoding, packed) in
        [("zstd", bomb.finish().unwrap()), ("gzip", gzip_bomb.finish().unwrap())]
    {
        assert!(packed.len() < 2 << 20);
        let answer = answer(hub.upload().header("content-encoding", encoding).body(packed)).await;
        assert_eq!((answer.status, answer.json()["code"].as_str()), (413, Some("too-large")));
    }
    // Announced too large: refused before it comes. Not announced: cut off.
    let head = format!(
        "POST /api/v1/ingest HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n",
        hub.credentials.key
    );
    let announced = format!("{head}Content-Length: 16777217\r\n\r\n").into_bytes();
    assert!(hub.raw(announced).await.starts_with("HTTP/1.1 413 "));
    let mut chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
    for _ in 0..17 {
        chunked.extend_from_slice(b"100000\r\n");
        chunked.extend_from_slice(&spaces);
        chunked.extend_from_slice(b"\r\n");
    }
    assert!(hub.raw(chunked).await.starts_with("HTTP/1.1 413 "));

    // Forms, before anybody asks whose they are; those of monitors may be longer.
    for (path, length, status) in
        [("/keys", 70_000, 413), ("/monitors/new", 70_000, 401), ("/monitors/new", 600_000, 413)]
    {
        let form = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{}",
            "x".repeat(length)
        );
        let answer = hub.raw(form.into_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path} {length}: {answer}");
    }

    let many = (1..=1001).map(|seq| report(seq, NOW, json!([]))).collect();
    assert_eq!(hub.post(&Stream::new().batch(many)).await.status, 413);
    untouched(&hub).await;
    hub.stop().await;
}

type Change = fn(&mut Value);

/// Changes one thing in the second of two reports.
fn broken(change: impl FnOnce(&mut Value)) -> Value {
    let mut bad = report(8, NOW, used(2.0));
    change(&mut bad);
    Stream::new().batch(vec![report(7, NOW, used(1.0)), bad])
}

#[tokio::test]
async fn a_wrong_report_is_named_and_nothing_of_its_batch_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let cases: Vec<(&str, Change)> = vec![
        ("/reports/1/metrics/0/value", |r| r["metrics"][0]["value"] = json!({"a": 1})),
        ("/reports/1/metrics/0/value", |r| r["metrics"][0]["value"] = json!("many")),
        ("/reports/1/metrics/0/value", |r| {
            r["metrics"][0]["type"] = json!("counter");
            r["metrics"][0]["value"] = json!(-1);
        }),
        ("/reports/1/metrics/0/value", |r| {
            r["metrics"][0]["type"] = json!("integer");
            r["metrics"][0]["value"] = json!(1.5);
        }),
        ("/reports/1/metrics/0/name", |r| r["metrics"][0]["name"] = json!("disk-used")),
        ("/reports/1/metrics/0/name", |r| r["metrics"][0]["name"] = json!("x".repeat(129))),
        ("/reports/1/metrics/0/type", |r| r["metrics"][0]["type"] = json!("gauge")),
        ("/reports/1/metrics/0/tags/mount", |r| r["metrics"][0]["tags"] = json!({"mount": 1})),
        ("/reports/1/metrics/0/unit", |r| r["metrics"][0]["unit"] = json!("u".repeat(257))),
        ("/reports/1/plugin", |r| r["plugin"] = json!("not-a-name")),
        ("/reports/1/started", |r| r["started"] = json!("yesterday")),
        ("/reports/1/host", |r| r["host"] = json!("")),
        ("/reports/1/host", |r| r["host"] = json!("a\nb")),
        ("/reports/1/duration", |r| r["duration"] = json!(-1)),
        ("/reports/1/status", |r| r["status"] = json!("fine")),
        ("/reports/1/seq", |r| r["seq"] = json!(7)),
        ("/reports/1/seq", |r| r["seq"] = json!(0)),
        ("/reports/1/seq", |r| r["seq"] = json!(u64::MAX)),
    ];
    for (pointer, change) in cases {
        let batch = broken(change);
        let answer = hub.post(&batch).await;
        let problem = answer.json();
        assert_eq!((answer.status, problem["code"].as_str()), (422, Some("shape")), "{pointer}");
        assert_eq!(problem["place"]["report"], 1, "{problem}");
        assert_eq!(problem["place"]["pointer"], pointer, "{problem}");
    }
    let missing = broken(|r| {
        r.as_object_mut().unwrap().remove("usage");
    });
    let answer = hub.post(&missing).await;
    assert_eq!(answer.status, 422);
    assert!(answer.json()["detail"].as_str().unwrap().contains("usage"), "{}", answer.body);
    assert_eq!(answer.json()["place"]["seq"], 8);
    untouched(&hub).await;
    hub.stop().await;
}

#[tokio::test]
async fn a_fault_is_found_by_line_and_column() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let body = serde_json::to_string_pretty(&broken(|r| r["skipped"] = json!("none"))).unwrap();
    let answer = answer(hub.upload().body(body.clone())).await;
    let place = answer.json()["place"].clone();
    assert_eq!(place["pointer"], "/reports/1/skipped");
    let line = usize::try_from(place["line"].as_u64().unwrap()).unwrap();
    assert!(body.lines().nth(line - 1).unwrap().contains("\"none\""), "{place}");
    hub.stop().await;
}

#[tokio::test]
async fn versions_that_do_not_fit_say_what_to_install() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let mut batch = broken(|r| r["outcome"] = json!({"kind": "beamed"}));
    batch["agent"]["version"] = json!("9.3.1");
    let newer = hub.post(&batch).await.json();
    assert!(newer["detail"].as_str().unwrap().contains("install talaia 9.3.1"), "{newer}");
    batch["agent"]["version"] = json!("0.0.1");
    let older = hub.post(&batch).await.json();
    assert!(older["detail"].as_str().unwrap().contains("on the agent"), "{older}");

    let other = answer(hub.request("POST", "/api/v2/ingest").bearer_auth("x")).await;
    assert_eq!((other.status, other.json()["code"].as_str()), (400, Some("protocol")));
    hub.stop().await;
}

#[tokio::test]
async fn a_clock_that_is_off_costs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let year = 365 * 86_400_000;
    let mut batch = Stream::new()
        .batch(vec![report(1, NOW + year, used(1.0)), report(2, NOW - 30 * year, used(2.0))]);
    batch["sent"] = json!(stamp(NOW + year));
    assert_eq!(hub.take(&batch).await.accepted, 2);
    let cookie = hub.log_in().await;
    let page = hub.page(&cookie, "/").await;
    assert!(page.body.contains("clock of an agent is off"), "the skew is shown");
    hub.stop().await;
}
