//! Requests that are signed with the account's secret key.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;
use talaia::model::{RunId, Secret, Signing};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::support::*;

impl Running {
    fn signing(&self, body: &str) -> Signing {
        Signing {
            api_key: self.credentials.api_key.clone(),
            time: NOW / 1000,
            nonce: RunId::new().to_string(),
            body: Signing::digest(body.as_bytes()),
        }
    }

    fn signed(&self, signing: &Signing, method: &str, path: &str) -> String {
        let secret = Secret::new(self.credentials.secret_key.as_str());
        signing.authorization(&secret, method, path)
    }

    async fn sent(&self, authorization: &str, method: &str, path: &str, body: &str) -> Answer {
        let request = self.request(method, path).header("authorization", authorization);
        let request = request.header("content-type", "application/json");
        answer(request.body(body.to_owned())).await
    }
}

#[tokio::test]
async fn a_signed_request_is_taken_once_and_within_five_minutes() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let path = "/api/v1/monitors?if_missing=true";
    let body = json!({"name": "door"}).to_string();
    let signing = hub.signing(&body);
    let authorization = hub.signed(&signing, "POST", path);
    let refused = |answer: &Answer, words: &str| {
        assert_eq!((answer.status, &answer.json()["code"]), (401, &json!("signature")));
        assert!(answer.body.contains(words), "{}", answer.body);
    };

    // Nothing of it may be another's, and what does not hold uses no nonce up.
    let other = json!({"name": "window"}).to_string();
    refused(&hub.sent(&authorization, "POST", path, &other).await, "the body");
    refused(&hub.sent(&authorization, "POST", "/api/v1/monitors", &body).await, "path");
    refused(&hub.sent(&authorization, "PATCH", path, &body).await, "method");
    refused(&hub.sent("HMAC-SHA256 key=x", "POST", path, &body).await, "write");
    let stranger = Signing { api_key: "A".repeat(26), ..signing.clone() };
    let stranger = hub.sent(&hub.signed(&stranger, "POST", path), "POST", path, &body).await;
    assert_eq!(stranger.json()["code"], "key-unknown");

    assert_eq!(hub.sent(&authorization, "POST", path, &body).await.status, 201);
    refused(&hub.sent(&authorization, "POST", path, &body).await, "nonce");
    hub.time.fetch_add(5 * 60_000, Ordering::Relaxed);
    refused(&hub.sent(&authorization, "POST", path, &body).await, "nonce");
    hub.time.fetch_add(1000, Ordering::Relaxed);
    refused(&hub.sent(&authorization, "POST", path, &body).await, "five minutes");
    // Set back, the clock opens the window no more.
    hub.time.store(NOW, Ordering::Relaxed);
    refused(&hub.sent(&authorization, "POST", path, &body).await, "nonce");
    let past = Signing { time: NOW / 1000 - 301, ..hub.signing(&body) };
    let past = hub.sent(&hub.signed(&past, "POST", path), "POST", path, &body).await;
    refused(&past, "five minutes");
    hub.time.store(NOW + 301_000, Ordering::Relaxed);
    let ahead = Signing { time: NOW / 1000 + 602, ..hub.signing(&body) };
    let ahead = hub.sent(&hub.signed(&ahead, "POST", path), "POST", path, &body).await;
    refused(&ahead, "five minutes");

    // Uploads may be signed as well, and who signs is in the audit log.
    let mut upload = hub.signing("");
    let batch = Stream::new().batch(vec![report(1, NOW, used(1.0))]).to_string();
    (upload.body, upload.time) = (Signing::digest(batch.as_bytes()), NOW / 1000 + 301);
    let authorization = hub.signed(&upload, "POST", "/api/v1/ingest");
    assert_eq!(hub.sent(&authorization, "POST", "/api/v1/ingest", &batch).await.status, 200);
    let log = hub.get("/api/v1/audit?action=monitor").await.json();
    assert_eq!(log["items"][0]["actor"], "secret key");

    // A signature is for the API: pages and the old interfaces do not know it.
    let page = hub.signing("");
    let page = Signing { time: NOW / 1000 + 301, ..page };
    assert_eq!(hub.sent(&hub.signed(&page, "GET", "/"), "GET", "/", "").await.status, 401);
    hub.stop().await;
}

#[tokio::test]
async fn a_body_that_comes_when_the_time_is_over_comes_too_late() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let body = json!({"name": "door"}).to_string();
    let authorization = hub.signed(&hub.signing(&body), "POST", "/api/v1/monitors");
    let addr = hub.url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let head = format!(
        "POST /api/v1/monitors HTTP/1.1\r\nHost: {addr}\r\nAuthorization: {authorization}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // Said once the signature was looked at and the body is wanted.
    let mut go_on = [0; 25];
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_exact(&mut go_on));
    read.await.expect("an answer").unwrap();
    assert!(go_on.starts_with(b"HTTP/1.1 100 "));
    hub.time.fetch_add(5 * 60_000 + 1, Ordering::Relaxed);
    stream.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_string(&mut answer));
    read.await.expect("an answer").unwrap();
    assert!(answer.starts_with("HTTP/1.1 401 ") && answer.contains("five minutes"), "{answer}");
    assert_eq!(hub.get("/api/v1/monitors").await.json()["items"], json!([]));
    hub.stop().await;
}

#[tokio::test]
async fn of_requests_with_one_nonce_that_come_together_one_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let (path, body) = ("/api/v1/monitors?if_missing=true", json!({"name": "door"}).to_string());
    for _ in 0..10 {
        let authorization = hub.signed(&hub.signing(&body), "POST", path);
        let sent = || hub.sent(&authorization, "POST", path, &body);
        let (one, other, third) = tokio::join!(sent(), sent(), sent());
        let mut statuses = [one.status, other.status, third.status];
        statuses.sort_unstable();
        assert!(matches!(statuses, [200 | 201, 401, 401]), "{statuses:?}");
    }
    hub.stop().await;
}

#[tokio::test]
async fn a_signature_ends_with_its_secret_key_and_is_in_no_browser() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let before = hub.signed(&hub.signing(""), "GET", "/api/v1/plugins");
    // What no page of a browser could send needs not come from our own.
    let path = "/api/v1/secret-key/rotate";
    let rotate = hub.signed(&hub.signing(""), "POST", path);
    let rotated = hub.request("POST", path).header("authorization", rotate);
    let rotated = answer(rotated.header("origin", "http://elsewhere.example")).await;
    assert_eq!(rotated.status, 200, "{}", rotated.body);
    let refused = hub.sent(&before, "GET", "/api/v1/plugins", "").await;
    assert_eq!((refused.status, &refused.json()["code"]), (401, &json!("signature")));
    let secret = Secret::new(rotated.json()["secret_key"].as_str().unwrap());
    let after = hub.signing("").authorization(&secret, "GET", "/api/v1/plugins");
    assert_eq!(hub.sent(&after, "GET", "/api/v1/plugins", "").await.status, 200);
    hub.stop().await;
}

#[tokio::test]
async fn a_signed_body_is_bounded_whatever_it_is_for() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    // Of no use to its path, and of more than needs no turn.
    let body = " ".repeat(100 << 10);
    for _ in 0..6 {
        let authorization = hub.signed(&hub.signing(&body), "GET", "/api/v1/plugins");
        assert_eq!(hub.sent(&authorization, "GET", "/api/v1/plugins", &body).await.status, 200);
    }
    let authorization = hub.signed(&hub.signing(&body), "POST", "/api/v1/monitors");
    for (length, status) in [((16 << 20) + 1, 413), (16 << 20, 100)] {
        let head = format!(
            "POST /api/v1/monitors HTTP/1.1\r\nHost: localhost\r\n\
             Authorization: {authorization}\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\nExpect: 100-continue\r\n\r\n",
        );
        let told = hub.raw(head.into_bytes()).await;
        assert!(told.starts_with(&format!("HTTP/1.1 {status} ")), "{told}");
    }
    hub.stop().await;
}
