//! Who may do what, by key, by session and by the account's own secret; and what is said to others.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};
use talaia::model::Refused;

use super::support::*;

const HOUR: i64 = 3_600_000;

impl Running {
    /// Makes a key with these scopes and gives it.
    async fn make(&self, name: &str, scopes: &[&str]) -> String {
        let made =
            self.admin("POST", "/api/v1/keys", &json!({"name": name, "scopes": scopes})).await;
        assert_eq!(made.status, 201, "{}", made.body);
        made.json()["key"].as_str().unwrap().to_owned()
    }

    /// A request of the local key with a body of JSON.
    async fn admin(&self, method: &str, path: &str, body: &Value) -> Answer {
        let request = self.request(method, path).bearer_auth(&self.credentials.key);
        answer(request.header("content-type", "application/json").body(body.to_string())).await
    }

    async fn with(&self, key: &str, method: &str, path: &str) -> Answer {
        answer(self.request(method, path).bearer_auth(key)).await
    }

    async fn send(&self, key: &str, batch: &Value) -> Answer {
        let request = self.request("POST", "/api/v1/ingest").bearer_auth(key);
        answer(request.header("content-type", "application/json").body(batch.to_string())).await
    }
}

#[tokio::test]
async fn each_scope_opens_its_own_doors_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let stream = Stream::new();
    for scope in ["ingest", "read", "review", "admin", "publish"] {
        let key = hub.make(&format!("only-{scope}"), &[scope]).await;
        let own = hub.with(&key, "GET", "/api/v1/key").await.json();
        assert_eq!(own, json!({"actor": format!("key only-{scope}"), "scopes": [scope]}));
        let batch = stream.batch(vec![report(1, NOW, used(1.0))]);
        let doors = [
            ("ingest", hub.send(&key, &batch).await),
            ("read", hub.with(&key, "GET", "/api/v1/plugins").await),
            ("read", hub.with(&key, "GET", "/api/v1/series").await),
            ("read", hub.with(&key, "GET", "/api/v1/runs").await),
            ("read", hub.with(&key, "GET", "/api/v1/points?host=a&plugin=b").await),
            ("admin", hub.with(&key, "GET", "/api/v1/keys").await),
            ("admin", hub.with(&key, "GET", "/api/v1/plugin-keys").await),
            ("admin", hub.with(&key, "GET", "/api/v1/audit").await),
        ];
        for (needs, answer) in doors {
            if needs == scope {
                assert_eq!(answer.status, 200, "{scope}: {}", answer.body);
                continue;
            }
            assert_eq!((answer.status, &answer.json()["code"]), (403, &json!("scope")), "{scope}");
            let detail = answer.json()["detail"].as_str().unwrap().to_owned();
            assert!(detail.contains(&format!("the scope `{needs}`")), "{detail}");
        }
    }
    for (method, path) in [
        ("POST", "/api/v1/keys"),
        ("POST", "/api/v1/keys/local/rotate"),
        ("DELETE", "/api/v1/keys/local?force=true"),
        ("POST", "/api/v1/secret-key/rotate"),
        ("POST", "/api/v1/plugin-keys"),
        ("DELETE", "/api/v1/plugin-keys/904605aa-e577-4f66-8d2c-3d1f6a2b9c70"),
    ] {
        let key = hub.make("stranger", &["ingest", "read", "review"]).await;
        assert_eq!(hub.with(&key, method, path).await.status, 403, "{method} {path}");
        assert_eq!(answer(hub.request(method, path)).await.status, 401, "{method} {path}");
        hub.admin("DELETE", "/api/v1/keys/stranger", &Value::Null).await;
    }
    hub.stop().await;
}

#[tokio::test]
async fn a_key_that_does_not_work_is_told_why() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let body = json!({"name": "brief", "scopes": ["read"], "expires": stamp(NOW + HOUR)});
    let brief = hub.admin("POST", "/api/v1/keys", &body).await.json();
    let brief = brief["key"].as_str().unwrap().to_owned();
    let gone = hub.make("gone", &["read"]).await;
    let replaced = hub.make("moved", &["read"]).await;
    let grace = json!({"grace": 3600});
    let moved = hub.admin("POST", "/api/v1/keys/moved/rotate", &grace).await.json();
    let revoked = hub.admin("DELETE", "/api/v1/keys/gone", &Value::Null).await;
    assert_eq!((revoked.status, revoked.body.as_str()), (204, ""));

    let told = async |key: &str| {
        let answer = hub.with(key, "GET", "/api/v1/plugins").await;
        if answer.status == 200 {
            return "works".to_owned();
        }
        assert_eq!(answer.status, 401);
        assert_eq!(answer.header("www-authenticate"), "Bearer");
        assert_eq!(answer.header("content-type"), "application/problem+json");
        let problem = answer.json();
        format!("{}: {}", problem["code"].as_str().unwrap(), problem["detail"].as_str().unwrap())
    };
    assert_eq!(told(&brief).await, "works");
    assert_eq!(told(&replaced).await, "works", "for the grace");
    assert!(told("talaia_none").await.starts_with("key-unknown: "));
    let said = told(&gone).await;
    assert!(
        said.starts_with("key-revoked: the key `gone` was revoked on 2026-11-22T20:42"),
        "{said}"
    );
    hub.time.fetch_add(HOUR, Ordering::Relaxed);
    let said = told(&brief).await;
    assert!(said.starts_with("key-expired: the key `brief` expired on 2026-11-22T21:42"), "{said}");
    assert!(told(&replaced).await.starts_with("key-revoked: "), "after the grace");
    assert_eq!(told(moved["key"].as_str().unwrap()).await, "works");

    // Uploads are told the same.
    let batch = Stream::new().batch(vec![report(1, NOW, used(1.0))]);
    let answer = hub.send(&gone, &batch).await;
    assert_eq!((answer.status, &answer.json()["code"]), (401, &json!("key-revoked")));
    hub.stop().await;
}

#[tokio::test]
async fn the_last_use_costs_no_upload_a_write_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let key = hub.make("web-1", &["ingest"]).await;
    let stream = Stream::new();
    let used_at = async || {
        let keys = hub.get("/api/v1/keys").await.json();
        let found = keys["items"].as_array().unwrap().iter().find(|k| k["name"] == "web-1");
        found.unwrap()["last_used"].clone()
    };
    assert_eq!(used_at().await, Value::Null);
    for seq in 1..=20_i64 {
        let ms = NOW + seq * 1000;
        hub.time.store(ms, Ordering::Relaxed);
        let sent = hub.send(&key, &stream.batch(vec![report(seq as u64, ms, used(1.0))])).await;
        assert_eq!(sent.status, 200);
        // The first of a minute is noted, the others are not.
        assert_eq!(used_at().await, json!(stamp(NOW + 1000)));
    }
    let later = NOW + 61_000;
    hub.time.store(later, Ordering::Relaxed);
    hub.send(&key, &stream.batch(vec![report(21, later, used(1.0))])).await;
    assert_eq!(used_at().await, json!(stamp(later)));
    hub.stop().await;
}

#[tokio::test]
async fn rotating_the_local_key_keeps_the_local_agent_in() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let old = hub.credentials.key.clone();
    let rotated = hub.admin("POST", "/api/v1/keys/local/rotate", &json!({})).await.json();
    assert_eq!((&rotated["local"], &rotated["name"]), (&json!(true), &json!("local")));
    let read = || talaia::hub::Credentials::read(folder.path()).unwrap().unwrap();
    assert_eq!(read().key, rotated["key"].as_str().unwrap());
    assert_eq!(hub.with(&old, "GET", "/api/v1/plugins").await.status, 401);
    let keys = hub.with(&read().key, "GET", "/api/v1/keys").await.json();
    let local: Vec<_> =
        keys["items"].as_array().unwrap().iter().filter(|k| k["local"] == true).collect();
    assert_eq!((local.len(), &local[0]["state"]), (1, &json!("active")), "{keys}");

    // The secret key as well, and it survives the next start.
    let request = hub.request("POST", "/api/v1/secret-key/rotate").bearer_auth(read().key);
    let rotated = answer(request).await.json();
    assert_eq!(rotated["local"], true);
    assert_ne!(rotated["secret_key"], hub.credentials.secret_key);
    assert_eq!(read().secret_key, rotated["secret_key"].as_str().unwrap());
    hub.stop().await;
    let hub = start(folder.path()).await;
    assert_eq!(hub.credentials.secret_key, rotated["secret_key"].as_str().unwrap());
    assert_eq!(hub.get("/api/v1/plugins").await.status, 200);
    hub.stop().await;
}

#[tokio::test]
async fn a_hub_whose_local_key_was_revoked_makes_another_at_its_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let refused = hub.admin("DELETE", "/api/v1/keys/local", &Value::Null).await;
    assert_eq!(refused.status, 409, "{}", refused.body);
    assert!(refused.body.contains("force"), "{}", refused.body);
    assert_eq!(
        hub.admin("DELETE", "/api/v1/keys/local?force=true", &Value::Null).await.status,
        204
    );
    assert_eq!(hub.get("/api/v1/keys").await.status, 401);
    let old = hub.credentials.key.clone();
    hub.stop().await;
    let hub = start(folder.path()).await;
    assert_ne!(hub.credentials.key, old);
    assert_eq!(hub.get("/api/v1/keys").await.status, 200);
    assert_eq!(hub.with(&old, "GET", "/api/v1/keys").await.status, 401);
    hub.stop().await;
}

#[tokio::test]
async fn the_account_itself_may_do_everything_by_its_secret_key() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let (api_key, secret) = (hub.credentials.api_key.clone(), hub.credentials.secret_key.clone());
    let basic = |user: &str, secret: &str| {
        let request = hub.request("POST", "/api/v1/keys").basic_auth(user, Some(secret));
        request
            .header("content-type", "application/json")
            .body(json!({"name": "by-secret", "scopes": ["read"]}).to_string())
    };
    assert_eq!(answer(basic(&api_key, "wrong")).await.status, 401);
    assert_eq!(answer(basic("NOBODY", &secret)).await.status, 401);
    // A browser sends it along with a form of another site, where it has it.
    let form = answer(basic(&api_key, &secret).header("sec-fetch-site", "cross-site")).await;
    assert_eq!((form.status, &form.json()["code"]), (403, &json!("cross-site")));
    assert_eq!(answer(basic(&api_key, &secret)).await.status, 201);
    let audit = hub.get("/api/v1/audit?action=key.create").await.json();
    assert_eq!(audit["items"][0]["actor"], "secret key");
    hub.stop().await;
}

#[tokio::test]
async fn a_session_manages_keys_from_its_own_pages_only() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let cookie = hub.log_in().await;
    let post = |site: &str, kind: &str| {
        hub.request("POST", "/api/v1/keys")
            .header("cookie", &cookie)
            .header("sec-fetch-site", site)
            .header("content-type", kind)
            .body(json!({"name": "by-hand", "scopes": ["ingest"]}).to_string())
    };
    assert_eq!(answer(post("cross-site", "application/json")).await.status, 403);
    assert_eq!(answer(post("same-origin", "text/plain")).await.status, 415, "as a form could");
    assert_eq!(answer(post("same-origin", "application/json")).await.status, 201);
    let audit = hub.get("/api/v1/audit").await.json();
    assert_eq!(audit["items"][0]["actor"], "session");
    assert_eq!(audit["items"][0]["subject"], "by-hand");
    hub.stop().await;
}

#[tokio::test]
async fn bad_requests_are_told_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    hub.make("a", &["read"]).await;
    let wide = "x".repeat(20_000);
    for (method, path, body, status, word) in [
        ("POST", "/api/v1/keys", json!({"name": "a", "scopes": ["read"]}), 409, "already"),
        ("POST", "/api/v1/keys", json!({"name": "b c", "scopes": ["read"]}), 422, "letters"),
        ("POST", "/api/v1/keys", json!({"name": "b", "scopes": []}), 422, "at least one scope"),
        ("POST", "/api/v1/keys", json!({"name": "b", "scopes": ["write"]}), 422, "not a scope"),
        (
            "POST",
            "/api/v1/keys",
            json!({"name": "b", "scopes": ["read"], "expires": stamp(NOW)}),
            422,
            "future",
        ),
        (
            "POST",
            "/api/v1/keys",
            json!({"name": "b", "scopes": ["read"], "expires": "soon"}),
            422,
            "RFC 3339",
        ),
        ("POST", "/api/v1/keys", json!({"name": "b"}), 422, "scopes"),
        (
            "POST",
            "/api/v1/keys",
            json!({"name": "b", "scopes": ["read"], "scope": 1}),
            422,
            "unknown field",
        ),
        ("POST", "/api/v1/keys", json!({"name": wide, "scopes": ["read"]}), 413, "over"),
        ("POST", "/api/v1/keys/none/rotate", json!({}), 404, "no key `none`"),
        ("POST", "/api/v1/keys/a/rotate", json!({"grace": -1}), 400, "grace"),
        ("POST", "/api/v1/keys/a/rotate", json!({"grace": 1e9}), 400, "30 days"),
        ("DELETE", "/api/v1/keys/none", Value::Null, 404, "no key `none`"),
        ("DELETE", "/api/v1/keys/a?force=yes", Value::Null, 400, "force"),
        ("PUT", "/api/v1/keys", Value::Null, 405, "method"),
        ("POST", "/api/v1/plugin-keys", json!({"plugin": "a-b"}), 422, "a_b"),
        (
            "POST",
            "/api/v1/plugin-keys",
            json!({"plugin": "a", "key": "904605aa- e577-4f66-8d2c-3d1f6a2b9c70"}),
            422,
            "white space",
        ),
        ("DELETE", "/api/v1/plugin-keys/1", Value::Null, 422, "UUID"),
        (
            "DELETE",
            "/api/v1/plugin-keys/904605aa-e577-4f66-8d2c-3d1f6a2b9c70",
            Value::Null,
            404,
            "no plugin",
        ),
        ("GET", "/api/v1/audit?limit=0", Value::Null, 400, "limit"),
        ("GET", "/api/v1/audit?who=me", Value::Null, 400, "who"),
    ] {
        let answer = hub.admin(method, path, &body).await;
        assert_eq!(answer.status, status, "{method} {path} {body}: {}", answer.body);
        assert_eq!(answer.header("content-type"), "application/problem+json");
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(word), "{method} {path}: {detail}");
    }
    let request = hub.request("POST", "/api/v1/keys").bearer_auth(&hub.credentials.key);
    let cut = answer(request.header("content-type", "application/json").body("{\"name\"")).await;
    assert_eq!((cut.status, &cut.json()["code"]), (400, &json!("json-syntax")));
    hub.stop().await;
}

#[tokio::test]
async fn reports_with_the_key_of_no_plugin_are_refused_and_told_why() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let register = async |plugin: &str| {
        let made = hub.admin("POST", "/api/v1/plugin-keys", &json!({"plugin": plugin})).await;
        assert_eq!(made.status, 201, "{}", made.body);
        made.json()["key"].as_str().unwrap().to_owned()
    };
    let (known, revoked) = (register("disk").await, register("old").await);
    let path = format!("/api/v1/plugin-keys/{}", revoked.to_uppercase());
    assert_eq!(hub.admin("DELETE", &path, &Value::Null).await.status, 204, "in any case");
    let mut reports = Vec::new();
    let unknown = "904605aa-e577-4f66-8d2c-3d1f6a2b9c70";
    for (seq, key) in [(1, known), (2, revoked), (3, unknown.to_owned())] {
        let mut report = report(seq, NOW, used(1.0));
        report["key"] = json!(key);
        reports.push(report);
    }
    let stream = Stream::new();
    let reply = hub.take(&stream.batch(reports.clone())).await;
    assert_eq!((reply.accepted, reply.through.0), (1, 3));
    let said = |refused: &[Refused]| {
        let word = |r: &Refused| {
            assert_eq!(r.code, "plugin-key");
            (r.seq.0, if r.message.contains("was revoked") { "revoked" } else { "unknown" })
        };
        refused.iter().map(word).collect::<Vec<_>>()
    };
    assert_eq!(said(&reply.refused), [(2, "revoked"), (3, "unknown")]);
    let again = hub.take(&stream.batch(reports)).await;
    assert_eq!(said(&again.refused), [(2, "revoked"), (3, "unknown")], "also to who asks again");
    let listed = hub.get("/api/v1/plugin-keys").await.json();
    let states: Vec<_> =
        listed["items"].as_array().unwrap().iter().map(|k| k["revoked"].is_null()).collect();
    assert_eq!(states, [true, false]);
    hub.stop().await;
}

#[tokio::test]
async fn the_audit_log_pages_and_filters_and_holds_no_key() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let mut secrets = vec![hub.credentials.key.clone(), hub.credentials.secret_key.clone()];
    for n in 0..7 {
        secrets.push(hub.make(&format!("k{n}"), &["read"]).await);
    }
    hub.admin("POST", "/api/v1/plugin-keys", &json!({"plugin": "disk"})).await;
    hub.admin("DELETE", "/api/v1/keys/k3", &Value::Null).await;
    let mut seen = Vec::new();
    let mut after = String::new();
    loop {
        let page = hub.get(&format!("/api/v1/audit?action=key&limit=3{after}")).await.json();
        for item in page["items"].as_array().unwrap() {
            seen.push(format!(
                "{} {}",
                item["action"].as_str().unwrap(),
                item["subject"].as_str().unwrap()
            ));
            assert_eq!(item["at"], stamp(NOW));
        }
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    let mut wanted: Vec<_> = (0..7).rev().map(|n| format!("key.create k{n}")).collect();
    wanted.insert(0, "key.revoke k3".to_owned());
    assert_eq!(seen, wanted);
    let all = hub.get("/api/v1/audit").await.body + &hub.get("/api/v1/keys").await.body;
    assert!(all.contains("plugin-key.create"));
    for secret in &secrets {
        assert!(!all.contains(secret.as_str()));
    }
    hub.stop().await;
    // Nor does the database, in any of its files.
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap() == "credentials.json" {
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        for secret in &secrets {
            let found = bytes.windows(secret.len()).any(|w| w == secret.as_bytes());
            assert!(!found, "a key in {}", path.display());
        }
    }
}

#[tokio::test]
async fn lists_of_keys_are_paged() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let admin = hub.credentials.key.clone();
    let send = |method, path: String, body: Value| {
        let request = hub.request(method, &path).bearer_auth(&admin);
        answer(request.header("content-type", "application/json").body(body.to_string()))
    };
    for nth in 0..5 {
        let body = json!({"name": format!("a.{nth}"), "scopes": ["read"]});
        assert_eq!(send("POST", "/api/v1/keys".to_owned(), body).await.status, 201);
        let body = json!({"plugin": format!("p{nth}")});
        assert_eq!(send("POST", "/api/v1/plugin-keys".to_owned(), body).await.status, 201);
    }
    for name in ["a.0", "a.3"] {
        let path = format!("/api/v1/keys/{name}");
        assert_eq!(send("DELETE", path, Value::Null).await.status, 204);
    }
    let walk = async |path: &str, column: &str| {
        let (mut names, mut after) = (Vec::new(), String::new());
        loop {
            let page = hub.get(&format!("{path}?limit=2{after}")).await.json();
            let items = page["items"].as_array().unwrap();
            assert!((1..=2).contains(&items.len()));
            names.extend(items.iter().map(|item| item[column].as_str().unwrap().to_owned()));
            let Some(next) = page["next"].as_str() else { return names };
            after = format!("&after={next}");
        }
    };
    assert_eq!(walk("/api/v1/keys", "name").await, ["a.1", "a.2", "a.4", "local", "a.0", "a.3"]);
    assert_eq!(walk("/api/v1/plugin-keys", "plugin").await, ["p0", "p1", "p2", "p3", "p4"]);
    for wrong in ["?after=x", "?after=2.1.a", "?after=0.x.a", "?limit=0", "?limti=1"] {
        for list in ["keys", "plugin-keys"] {
            let path = format!("/api/v1/{list}{wrong}");
            assert_eq!(hub.get(&path).await.status, 400, "{path}");
        }
    }
    hub.stop().await;
}
