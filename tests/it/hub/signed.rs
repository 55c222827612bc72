//! Requests that are signed with the account's secret key.

use std::sync::atomic::Ordering;

use serde_json::json;
use talaia::model::{RunId, Secret, Signing};

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
