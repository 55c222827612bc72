//! Several accounts of one hub: what one has, no other sees or changes.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use talaia::hub::{Admission, Clock, Credentials, HubError};
use talaia::hub::{accounts, admit_account, create_account, make_login_link};
use talaia::model::{RunId, Secret, Signing};

use super::packages::{GOOD, packed};
use super::support::*;
use crate::faces::support::{checksum, form};

/// Is in every name that the first account uses.
const MARK: &str = "zebra";

fn clock() -> Clock {
    Clock::from_fn(|| NOW)
}

fn description() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/openapi.v1.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

async fn ask(hub: &Running, key: &str, method: &str, path: &str, body: &Value) -> Answer {
    let request = hub.request(method, path).bearer_auth(key);
    let request = request.header("content-type", "application/json");
    answer(if method == "GET" { request } else { request.body(body.to_string()) }).await
}

/// A signed request of this account.
fn signed(hub: &Running, credentials: &Credentials) -> reqwest::RequestBuilder {
    let path = "/api/v1/plugins";
    let signing = Signing {
        api_key: credentials.api_key.clone(),
        time: NOW / 1000,
        nonce: RunId::new().to_string(),
        body: Signing::digest(b""),
    };
    let secret = Secret::new(credentials.secret_key.as_str());
    hub.request("GET", path).header("authorization", signing.authorization(&secret, "GET", path))
}

/// A change as an old client of this account sends it, with these parameters; by its `authToken`, where
/// there is one.
fn monitis(
    hub: &Running,
    credentials: &Credentials,
    token: Option<&str>,
    parameters: &[(&str, &str)],
) -> reqwest::RequestBuilder {
    let mut all = parameters.to_vec();
    all.extend([("apikey", credentials.api_key.as_str()), ("timestamp", "2026-11-22 20:42:10")]);
    let checksum = checksum(&credentials.secret_key, &all);
    match token {
        Some(token) => all.extend([("validation", "token"), ("authToken", token)]),
        None => all.push(("checksum", &checksum)),
    }
    hub.request("POST", "/customMonitorApi")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form(&all))
}

/// Gives the first account one of everything, and says the monitor's id.
async fn furnish(hub: &Running) -> String {
    let key = &hub.credentials.key;
    let mut report = report(1, NOW, json!([{"name": "zebra_used", "value": 1.5, "type": "float"}]));
    (report["plugin"], report["host"]) = (json!("zebra_disk"), json!("zebra-1"));
    report["message"] = json!(MARK);
    report["rejected"] = json!([{"code": "not-json", "path": "", "line": 1, "column": 1,
        "value": MARK, "message": "m", "hint": "h"}]);
    report["counts"] = json!({"produced": 2, "accepted": 1, "rejected": {"not-json": 1}});
    report["contract"] = json!({"metrics": {"zebra_used": {"type": "float"}}, "strict": false,
        "schema": false, "timeout": 10});
    let mut batch = Stream::new().batch(vec![report]);
    batch["agent"]["host"] = json!("zebra-1");
    hub.take(&batch).await;
    let made = json!({"name": "zebra_door", "type": "zebra_kind", "tags": [MARK],
        "metrics": [{"name": "zebra_open", "type": "integer"}],
        "additional": [{"name": "zebra_who", "type": "string"}]});
    let made = ask(hub, key, "POST", "/api/v1/monitors", &made).await;
    let id = made.json()["id"].to_string();
    let time = stamp(NOW);
    let posts = [
        ("results", json!({"time": time, "values": {"zebra_open": 1}})),
        ("additional", json!({"time": time, "rows": [{"zebra_who": MARK}]})),
    ];
    for (what, body) in posts {
        let posted = ask(hub, key, "POST", &format!("/api/v1/monitors/{id}/{what}"), &body).await;
        assert!(posted.status < 300, "{what}: {}", posted.body);
    }
    for (path, body) in [
        ("/api/v1/keys", json!({"name": "zebra-key", "scopes": ["read"]})),
        ("/api/v1/plugin-keys", json!({"plugin": "zebra_disk"})),
    ] {
        assert_eq!(ask(hub, key, "POST", path, &body).await.status, 201);
    }
    // A package has the name of the key, so that one path leads to both.
    let manifest = "name = 'zebra-key'\nversion = '0.1.0'\ndescription = 'zebra'\nauthors = ['zebra']\n\
        license = 'MIT'\ncategory = 'other'\n[commands.zebra]\ncommand = ['bin/zebra']\n\
        metrics.zebra_n.type = 'integer'\n";
    let files = [("bin/zebra", GOOD), ("README.md", MARK)];
    let path = "/api/v1/packages/zebra-key/versions/0.1.0";
    let sent = hub.request("PUT", path).bearer_auth(key).header("content-type", "application/zip");
    let sent = answer(sent.body(packed("zebra-key", manifest, &files))).await;
    assert_eq!(sent.status, 201, "{}", sent.body);
    assert_eq!(ask(hub, key, "POST", &format!("{path}/submit"), &json!({})).await.status, 200);
    id
}

/// Paths of the API with this method, filled in with what the first account has.
fn paths(method: &str, id: &str) -> Vec<String> {
    let description = description();
    let mut all = Vec::new();
    for (path, item) in description["paths"].as_object().unwrap() {
        if item.get(method).is_none() || path == "/api/v1/openapi.json" {
            continue;
        }
        let needs = |name: &str| {
            let parameters = item[method]["parameters"].as_array();
            parameters.is_some_and(|all| {
                all.iter().any(|p| p["name"] == name && p["required"] == json!(true))
            })
        };
        let mut filled =
            path.replace("{id}", id).replace("{name}", "zebra-key").replace("{key}", "zebra");
        filled = filled.replace("{version}", "0.1.0");
        let mut query = Vec::new();
        for (name, value) in [("host", "zebra-1"), ("plugin", "zebra_disk"), ("path", "README.md")]
        {
            if needs(name) {
                query.push(format!("{name}={value}"));
            }
        }
        if !query.is_empty() {
            filled = format!("{filled}?{}", query.join("&"));
        }
        all.push(filled);
    }
    assert!(method != "get" || all.len() > 10);
    all
}

#[tokio::test]
async fn what_one_account_has_no_other_sees_or_changes() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let id = furnish(&hub).await;
    let other = create_account(folder.path(), "other", &clock()).unwrap();

    // The mark is seen by whose it is, or the rest of this test says nothing.
    let mut seen = 0;
    for path in paths("get", &id) {
        let own = hub.get(&path).await;
        seen += usize::from(own.body.contains(MARK));
        let foreign = ask(&hub, &other.key, "GET", &path, &json!(null)).await;
        // What was asked for by name is said to be absent by name.
        let asked = ["zebra-1 ", "`zebra-key`", "zebra-key 0.1.0"];
        let told = asked.iter().fold(foreign.body.clone(), |body, name| body.replace(name, ""));
        let told = told.contains(MARK);
        assert!(!told, "{path}: {}", foreign.body);
        let reviewers = path.ends_with("/approval") || path.ends_with("/withdrawal");
        let shut = if reviewers { 403 } else { 404 };
        assert!(foreign.status == 200 || foreign.status == shut, "{path}: {}", foreign.body);
    }
    assert!(seen >= 18, "{seen}");

    let before = hub.get(&format!("/api/v1/monitors/{id}?counts=true")).await.body;
    let keys = hub.get("/api/v1/keys").await.json()["items"].as_array().unwrap().len();
    let bodies = [
        json!({"name": "taken", "values": {"zebra_open": 2}}),
        json!({"values": {"zebra_open": 2}}),
        json!({"time": stamp(NOW), "rows": [{"zebra_who": "x"}]}),
        json!({}),
    ];
    for method in ["post", "patch", "delete", "put"] {
        for path in paths(method, &id) {
            for body in bodies.iter().filter(|_| path.contains("zebra") || path.contains(&id)) {
                let foreign = ask(&hub, &other.key, &method.to_uppercase(), &path, body).await;
                assert!(foreign.status >= 400, "{method} {path}: {}", foreign.body);
            }
        }
    }
    assert_eq!(hub.get(&format!("/api/v1/monitors/{id}?counts=true")).await.body, before);
    assert_eq!(hub.get("/api/v1/keys").await.json()["items"].as_array().unwrap().len(), keys);

    let link = make_login_link(folder.path(), "other", &clock()).unwrap();
    let path = link.strip_prefix(&hub.url).unwrap().to_owned();
    let begun = answer(hub.request("POST", &path)).await;
    let foreign = begun.header("set-cookie").split(';').next().unwrap().to_owned();
    let own = hub.log_in().await;
    let mut seen = 0;
    for path in [
        "/",
        "/plugin?host=zebra-1&plugin=zebra_disk",
        "/monitors",
        &format!("/monitor/{id}"),
        &format!("/monitor/{id}/results?day=2026-11-22"),
        &format!("/monitor/{id}/edit"),
        &format!("/monitor/{id}/delete"),
        "/packages",
        "/packages/zebra-key",
        "/packages/zebra-key/0.1.0",
        "/packages/zebra-key/0.1.0/file?path=README.md",
        "/rejections",
        "/keys",
        "/health",
        "/audit",
    ] {
        seen += usize::from(hub.page(&own, path).await.body.contains(MARK));
        let page = hub.page(&foreign, path).await;
        assert!(!page.body.contains(MARK), "{path}: {}", page.body);
    }
    assert!(seen >= 13, "{seen}");

    let by = |credentials: &Credentials, rest: &str| {
        hub.request("GET", &format!("/customMonitorApi?apikey={}&{rest}", credentials.api_key))
    };
    for rest in [
        "action=getMonitors".to_owned(),
        format!("action=getMonitorInfo&monitorId={id}"),
        format!("action=getMonitorResults&monitorId={id}&year=2026&month=11&day=22"),
        format!("action=getReport&monitorId={id}&dateFrom=2026-11-22&dateTo=2026-11-23"),
        format!("action=getAdditionalResults&monitorId={id}&checktime={NOW}"),
    ] {
        let foreign = answer(by(&other, &rest)).await.body;
        assert!(!foreign.contains(MARK), "{rest}: {foreign}");
    }
    let own = answer(by(&hub.credentials, "action=getMonitors")).await.body;
    assert!(own.contains(MARK), "{own}");

    // Neither do its forms and its old clients' changes reach a foreign id.
    let page = hub.page(&foreign, "/keys").await.body;
    let token = page.split("name=\"form\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    for (path, body) in [
        ("", "do=suspend"),
        ("", "do=add&v_zebra_open=2"),
        ("", "do=detail&v_zebra_who=x"),
        ("/edit", "name=taken"),
        ("/delete", "name=zebra_door"),
    ] {
        let sent = hub
            .request("POST", &format!("/monitor/{id}{path}"))
            .header("cookie", &foreign)
            .header("origin", hub.url.clone())
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!("form={token}&{body}"));
        let told = answer(sent).await;
        assert_eq!(told.status, 404, "{path} {body}: {}", told.body);
    }
    let time = NOW.to_string();
    for parameters in [
        vec![("action", "addResult"), ("checktime", &*time), ("results", "zebra_open:2;")],
        vec![("action", "editMonitor"), ("name", "taken")],
        vec![("action", "deleteMonitor")],
        vec![("action", "addAdditionalResults"), ("checktime", &*time), ("results", "[{}]")],
    ] {
        let parameters = [parameters, vec![("monitorId", &*id)]].concat();
        let told = answer(monitis(&hub, &other, None, &parameters)).await;
        assert!(told.body.to_lowercase().contains("monitor"), "{parameters:?}: {}", told.body);
        assert!(!told.body.contains("\"ok\"") && !told.body.contains(MARK), "{}", told.body);
    }
    assert_eq!(hub.get(&format!("/api/v1/monitors/{id}?counts=true")).await.body, before);
    hub.stop().await;
}

#[tokio::test]
async fn a_disabled_account_is_refused_everywhere_and_told_why() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let other = create_account(folder.path(), "other", &clock()).unwrap();
    let link = make_login_link(folder.path(), "other", &clock()).unwrap();
    let begun = answer(hub.request("POST", link.strip_prefix(&hub.url).unwrap())).await;
    let cookie = begun.header("set-cookie").split(';').next().unwrap().to_owned();
    let upload = || {
        let batch = Stream::new().batch(vec![report(1, NOW, used(1.0))]).to_string();
        hub.request("POST", "/api/v1/ingest")
            .header("content-type", "application/json")
            .bearer_auth(&other.key)
            .body(batch)
    };
    assert_eq!(answer(upload()).await.status, 200);
    let unused = make_login_link(folder.path(), "other", &clock()).unwrap();
    let unused = unused.strip_prefix(&hub.url).unwrap();
    let (api_key, secret_key) = (&other.api_key, &other.secret_key);
    let asked = format!("/api?action=authToken&apikey={api_key}&secretkey={secret_key}");
    let issued = answer(hub.request("GET", &asked)).await.json();
    let issued = issued["authToken"].as_str().unwrap();
    let change = |token| {
        let add =
            [("action", "addMonitor"), ("name", "m"), ("resultParams", "a:a:a:2;"), ("tag", "t")];
        monitis(&hub, &other, token, &add)
    };

    let admit = |name, admission| admit_account(folder.path(), name, admission, &clock());
    admit("other", Admission::Disabled).unwrap();
    let read = || hub.request("GET", "/api/v1/plugins");
    for request in [
        upload(),
        read().bearer_auth(&other.key),
        read().basic_auth(&other.api_key, Some(&other.secret_key)),
        signed(&hub, &other),
    ] {
        let refused = answer(request).await;
        assert_eq!((refused.status, &refused.json()["code"]), (403, &json!("account-disabled")));
    }
    // Who has shown to be of the account is told, a stranger is not.
    for request in [change(None), hub.request("GET", &asked)] {
        let told = answer(request).await;
        assert!(told.status == 403 && told.body.contains("disabled the account"), "{}", told.body);
    }
    let bare = format!("/customMonitorApi?action=getMonitors&apikey={api_key}");
    let wrong = format!("/api?action=authToken&apikey={api_key}&secretkey=x");
    for path in [bare, wrong] {
        let told = answer(hub.request("GET", &path)).await;
        assert!(told.status == 403 && !told.body.contains("disabled"), "{}", told.body);
    }
    // What stood for the account has ended.
    let ended = async || {
        assert_eq!(hub.page(&cookie, "/").await.status, 401);
        assert_eq!(answer(hub.request("POST", unused)).await.status, 410);
        let told = answer(change(Some(issued))).await;
        assert!(told.status == 403 && told.body.contains("errorCode"), "{}", told.body);
    };
    ended().await;
    let body = json!({"account_key": other.key, "server_name": "s", "plugins": {}}).to_string();
    let sentinella = hub.request("POST", "/metrics").header("content-type", "application/json");
    assert_eq!(answer(sentinella.body(body)).await.status, 401);
    let link = make_login_link(folder.path(), "other", &clock());
    assert!(link.unwrap_err().to_string().contains("account enable other"));
    assert_eq!(hub.get("/api/v1/plugins").await.status, 200, "others are not concerned");

    assert!(matches!(admit("local", Admission::Disabled), Err(HubError::Account(_))));
    assert!(matches!(admit("nobody", Admission::Disabled), Err(HubError::Account(_))));
    assert!(create_account(folder.path(), "other", &clock()).is_err());
    assert!(create_account(folder.path(), "a b", &clock()).is_err());
    let rows = accounts(folder.path(), &clock()).unwrap();
    let told: Vec<_> =
        rows.iter().map(|a| (a.name.as_str(), a.disabled, a.keys, a.monitors)).collect();
    assert_eq!(told, [("local", false, 1, 0), ("other", true, 1, 1)]);

    admit("other", Admission::Enabled).unwrap();
    assert_eq!(answer(upload()).await.status, 200);
    assert_eq!(answer(signed(&hub, &other)).await.status, 200);
    let made = answer(change(None)).await;
    assert_eq!(made.status, 200, "{}", made.body);
    ended().await;
    let log = hub.get("/api/v1/audit?action=account").await.json();
    let noted: Vec<_> = log["items"].as_array().unwrap().iter().map(|one| &one["action"]).collect();
    assert_eq!(noted, ["account.enable", "account.disable", "account.create"], "{log}");
    hub.stop().await;
}

#[tokio::test]
async fn a_command_beside_a_hub_leaves_a_damaged_database_where_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    hub.stop().await;
    let path = folder.path().join("hub.db");
    fs::write(&path, "no database".repeat(1000)).unwrap();
    assert!(make_login_link(folder.path(), "local", &clock()).is_err());
    assert!(accounts(folder.path(), &clock()).is_err());
    assert!(fs::read(&path).unwrap().starts_with(b"no database"));
    let names = fs::read_dir(folder.path()).unwrap().map(|one| one.unwrap().file_name());
    let moved: Vec<_> = names.filter(|name| name.to_string_lossy().contains("damaged")).collect();
    assert!(moved.is_empty(), "{moved:?}");
}
