//! Monitors over HTTP: agents' plugins and direct senders side by side.

use serde_json::{Value, json};

use super::support::*;

impl Running {
    async fn tell(&self, method: &str, path: &str, body: Value) -> Answer {
        self.tell_as(&self.credentials.key, method, path, body).await
    }

    async fn tell_as(&self, key: &str, method: &str, path: &str, body: Value) -> Answer {
        let request = self.request(method, path).bearer_auth(key);
        let request = match body {
            Value::Null => request,
            body => request.header("content-type", "application/json").body(body.to_string()),
        };
        answer(request).await
    }

    /// A key with one scope.
    async fn key_with(&self, scope: &str) -> String {
        let made =
            self.tell("POST", "/api/v1/keys", json!({"name": scope, "scopes": [scope]})).await;
        made.json()["key"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn an_agents_plugin_is_a_monitor_without_anyone_creating_it() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let stream = Stream::new();
    let metrics = json!([
        {"name": "used", "value": 71.2, "type": "percent", "tags": {"mount": "/"}},
        {"name": "used", "value": 3.5, "type": "percent", "tags": {"mount": "/home"}},
        {"name": "disks", "value": 2, "type": "integer"},
    ]);
    hub.take(&stream.batch(vec![report(1, NOW, metrics)])).await;
    let made = hub.tell("POST", "/api/v1/monitors", json!({"name": "direct"})).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let all = hub.get("/api/v1/monitors").await.json();
    assert_eq!(all["items"].as_array().unwrap().len(), 2);
    let first = &all["items"][0];
    assert_eq!(first["name"], "disk@web-1");
    assert_eq!((&first["tags"], &first["from"]), (&json!(["disk"]), &json!("agent")));
    let tagged = hub.get("/api/v1/monitors?tag=disk").await.json();
    assert_eq!(tagged["items"], json!([first]));

    // By its name, with all that the plugin printed and nothing of its runs.
    let rows = hub.get("/api/v1/monitors/disk@web-1/results?day=2026-11-22").await.json();
    assert_eq!(
        rows["items"],
        json!([
            {"time": stamp(NOW), "values": {"disks": 2}},
            {"time": stamp(NOW), "tags": {"mount": "/"}, "values": {"used": 71.2}},
            {"time": stamp(NOW), "tags": {"mount": "/home"}, "values": {"used": 3.5}},
        ])
    );
    let csv = hub.get("/api/v1/monitors/1/results?format=csv").await;
    assert_eq!(
        csv.body,
        format!("time,tag:mount,disks,used\n{0},,2,\n{0},/,,71.2\n{0},/home,,3.5\n", stamp(NOW))
    );
    assert!(csv.header("content-type").starts_with("text/csv"));
    // The lists of plugins have nothing of direct senders.
    hub.tell("POST", "/api/v1/monitors/direct/results", json!({"values": {"n": 1}})).await;
    assert_eq!(hub.get("/api/v1/plugins").await.json()["items"].as_array().unwrap().len(), 1);
    let series = hub.get("/api/v1/series").await.json();
    assert!(series["items"].as_array().unwrap().iter().all(|s| s["plugin"] == "disk"), "{series}");

    // It takes a name and tags, and keeps them when its agent goes on.
    let named = json!({"name": "root disk", "tags": ["a", "b"]});
    assert_eq!(hub.tell("PATCH", "/api/v1/monitors/1", named).await.status, 200);
    let refused = hub.tell("PATCH", "/api/v1/monitors/1", json!({"metrics": []})).await;
    assert_eq!(refused.json()["code"], "monitor-invalid");
    hub.take(&stream.batch(vec![report(2, NOW + 1000, used(1.0))])).await;
    let shown = hub.get("/api/v1/monitors/root%20disk?counts=true").await.json();
    assert_eq!((&shown["tags"], &shown["reports"]), (&json!(["a", "b"]), &json!(2)));
    assert_eq!(
        shown["held"],
        json!({"results": 4, "values": 4, "runs": 2, "rejections": 0, "additional": 0})
    );

    // When it goes, all of it goes; what its agent sends next is a new monitor's.
    let gone = hub.tell("DELETE", "/api/v1/monitors/1", Value::Null).await;
    assert_eq!(gone.json()["removed"], shown["held"], "{}", gone.body);
    for path in ["plugins", "series", "runs"] {
        let left = hub.get(&format!("/api/v1/{path}")).await.json();
        assert_eq!(left["items"], json!([]), "{path}");
    }
    let points = hub.get(&format!("/api/v1/points?host=web-1&plugin=disk&from={}", NOW - 1)).await;
    assert_eq!(points.json()["series"], json!([]));
    hub.take(&stream.batch(vec![report(3, NOW + 2000, used(5.0))])).await;
    let anew = hub.get("/api/v1/monitors?plugin=disk").await.json();
    assert_eq!(anew["items"][0]["id"], 3);
    let rows = hub.get(&format!("/api/v1/monitors/3/results?from={}", NOW - 1)).await.json();
    assert_eq!(rows["items"].as_array().unwrap().len(), 1);
    hub.stop().await;
}

#[tokio::test]
async fn a_suspended_plugin_is_refused_and_counted_by_its_agent() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let stream = Stream::new();
    hub.take(&stream.batch(vec![report(1, NOW, used(1.0))])).await;
    hub.tell("POST", "/api/v1/monitors/1/suspend", Value::Null).await;
    hub.time.store(NOW + 50_000, std::sync::atomic::Ordering::Relaxed);
    let mut other = report(3, NOW + 1, used(3.0));
    other["plugin"] = json!("other");
    let batch = stream.batch(vec![report(2, NOW + 1, used(2.0)), other]);
    let reply = hub.take(&batch).await;
    assert_eq!((reply.accepted, reply.through.0), (1, 3));
    assert_eq!(reply.refused.len(), 1);
    assert_eq!((reply.refused[0].seq.0, reply.refused[0].code.as_str()), (2, "monitor-suspended"));
    assert!(reply.refused[0].message.contains("talaia monitor activate 1"), "{:?}", reply.refused);
    // The reply was lost: it is a refusal still.
    assert_eq!(hub.take(&batch).await.refused.len(), 1);
    let shown = hub.get("/api/v1/monitors/1").await.json();
    assert_eq!(shown["received"], stamp(NOW + 50_000), "it is heard of, and so not silent");
    assert_eq!(shown["reports"], 1);
    hub.tell("POST", "/api/v1/monitors/1/activate", Value::Null).await;
    assert_eq!(hub.take(&stream.batch(vec![report(4, NOW + 2, used(4.0))])).await.accepted, 1);
    assert_eq!(hub.held("web-1", "disk").await.0, 2);
    hub.stop().await;
}

#[tokio::test]
async fn a_monitor_that_something_came_for_since_it_was_listed_is_not_removed_as_unused() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    hub.tell("POST", "/api/v1/monitors", json!({"name": "m"})).await;
    let since = NOW + 1000;
    let listed = hub.get(&format!("/api/v1/monitors?unused_since={since}")).await.json();
    assert_eq!(listed["items"][0]["name"], "m");
    hub.time.store(NOW + 2000, std::sync::atomic::Ordering::Relaxed);
    hub.tell("POST", "/api/v1/monitors/m/results", json!({"values": {"n": 1}})).await;
    let path = |since: i64| format!("/api/v1/monitors/1?unused_since={since}");
    let stays = hub.tell("DELETE", &path(since), Value::Null).await;
    assert_eq!((stays.status, &stays.json()["code"]), (409, &json!("monitor-used")));
    assert_eq!(hub.get("/api/v1/monitors/1?counts=true").await.json()["held"]["results"], 1);
    let gone = hub.tell("DELETE", &path(NOW + 2001), Value::Null).await;
    assert_eq!(gone.status, 200, "{}", gone.body);
    hub.stop().await;
}

#[tokio::test]
async fn what_a_key_may_do_is_what_its_scope_says() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    hub.tell("POST", "/api/v1/monitors", json!({"name": "m"})).await;
    let result = || json!({"values": {"n": 1}});
    let asked = [
        ("GET", "/api/v1/monitors", Value::Null, "read"),
        ("GET", "/api/v1/monitors/m", Value::Null, "read"),
        ("GET", "/api/v1/monitors/m/results", Value::Null, "read"),
        ("GET", "/api/v1/monitors/m/report", Value::Null, "read"),
        ("GET", "/api/v1/monitors/m/additional", Value::Null, "read"),
        ("POST", "/api/v1/monitors/m/results", result(), "ingest"),
        ("POST", "/api/v1/monitors/m/additional", json!({"rows": []}), "ingest"),
        ("POST", "/api/v1/monitors", json!({"name": "other"}), "admin"),
        ("PATCH", "/api/v1/monitors/m", json!({}), "admin"),
        ("POST", "/api/v1/monitors/m/suspend", Value::Null, "admin"),
        ("POST", "/api/v1/monitors/m/activate", Value::Null, "admin"),
        ("DELETE", "/api/v1/monitors/other", Value::Null, "admin"),
    ];
    for scope in ["read", "ingest", "review", "admin", "publish"] {
        let key = hub.key_with(scope).await;
        for (method, path, body, needs) in &asked {
            let answer = hub.tell_as(&key, method, path, body.clone()).await;
            if scope == *needs {
                assert!(answer.status < 300, "{scope}: {method} {path}: {}", answer.body);
            } else {
                assert_eq!(answer.status, 403, "{scope}: {method} {path}: {}", answer.body);
                assert!(answer.body.contains(needs), "{}", answer.body);
            }
        }
    }
    for (method, path, body, _) in &asked {
        assert_eq!(
            hub.tell_as("talaia_no", method, path, body.clone()).await.status,
            401,
            "{method} {path}"
        );
        // A form of another site.
        let request = hub.request(method, path).header("sec-fetch-site", "cross-site");
        assert!(matches!(answer(request).await.status, 401 | 403), "{method} {path}");
    }
    hub.stop().await;
}

#[tokio::test]
async fn results_page_without_loss_or_repetition() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    hub.tell(
        "POST",
        "/api/v1/monitors",
        json!({"name": "m", "metrics": [{"name": "n", "type": "counter"}]}),
    )
    .await;
    // Two years back, with holes, out of order, over several posts.
    let mut sent: Vec<i64> = (0..500).map(|n| NOW - (n * n % 997) * 60_000_000 - n).collect();
    for part in sent.chunks(77) {
        let rows: Vec<Value> =
            part.iter().map(|ms| json!({"time": ms, "values": {"n": NOW - ms}})).collect();
        let posted = hub.tell("POST", "/api/v1/monitors/m/results", json!({"results": rows})).await;
        assert_eq!(posted.json()["results"], part.len(), "{}", posted.body);
    }
    sent.sort_unstable();
    for limit in [1, 7, 100, 499, 500, 501] {
        let (mut got, mut after) = (Vec::new(), String::new());
        loop {
            let path = format!("/api/v1/monitors/m/results?from=0&limit={limit}{after}");
            let page = hub.get(&path).await.json();
            for row in page["items"].as_array().unwrap() {
                let time = talaia::model::Timestamp::parse(row["time"].as_str().unwrap()).unwrap();
                assert_eq!(row["values"]["n"], NOW - time.millis());
                got.push(time.millis());
            }
            let Some(next) = page["next"].as_str() else { break };
            after = format!("&after={next}");
            assert!(got.len() < 1000, "no end of pages");
        }
        assert_eq!(got, sent, "limit {limit}");
    }
    let (from, to) = (sent[10], sent[20]);
    let some = hub.get(&format!("/api/v1/monitors/m/results?from={from}&to={to}")).await.json();
    assert_eq!(some["items"].as_array().unwrap().len(), 11, "both ends are included");

    // Reports page as well, and say the same in pages as in one.
    let whole =
        hub.get("/api/v1/monitors/m/report?from=0&interval=3month&limit=10000").await.json();
    let (mut rows, mut after) = (Vec::new(), String::new());
    loop {
        let page = hub
            .get(&format!("/api/v1/monitors/m/report?from=0&interval=3month&limit=1{after}"))
            .await
            .json();
        rows.extend(page["items"].as_array().unwrap().clone());
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(json!(rows), whole["items"]);
    assert!(rows.len() > 5, "{rows:?}");
    hub.stop().await;
}

#[tokio::test]
async fn bodies_that_are_none_are_refused_with_reasons() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    hub.tell("POST", "/api/v1/monitors", json!({"name": "m"})).await;
    let path = "/api/v1/monitors/m/results";
    let post = |body: &str, kind: &'static str| {
        let request = hub.request("POST", path).bearer_auth(&hub.credentials.key);
        answer(request.header("content-type", kind).body(body.to_owned()))
    };
    let json_kind = "application/json";
    for (body, kind, status, code) in [
        ("{", json_kind, 400, "json-syntax"),
        ("{}", json_kind, 422, "shape"),
        ("{\"values\": {\"n\": {}}}", json_kind, 422, "shape"),
        ("{\"values\": {\"n\": 1}, \"results\": []}", json_kind, 422, "shape"),
        ("{\"values\": {\"n\": 1}, \"tiem\": 1}", json_kind, 422, "shape"),
        ("{\"values\": {\"n\": 1}, \"time\": \"noon\"}", json_kind, 422, "shape"),
        ("{\"values\": {\"n\": 1, \"n\": 2}}", json_kind, 422, "results-refused"),
        ("{\"values\": {\"n\": 1e400}}", json_kind, 400, "json-syntax"),
        ("n=1", "application/x-www-form-urlencoded", 415, "media-type"),
    ] {
        let answer = post(body, kind).await;
        assert_eq!(
            (answer.status, &answer.json()["code"]),
            (status, &json!(code)),
            "{body}: {}",
            answer.body
        );
        assert_eq!(answer.header("content-type"), "application/problem+json");
    }
    let large = format!("{{\"values\": {{\"n\": \"{}\"}}}}", "x".repeat(17 << 20));
    let refused = post(&large, json_kind).await;
    assert_eq!((refused.status, &refused.json()["code"]), (413, &json!("too-large")));
    let many = json!({"results": vec![json!({"values": {}}); 100_001]}).to_string();
    assert_eq!(post(&many, json_kind).await.status, 413);
    let none = hub.get("/api/v1/monitors/m/results?from=0").await.json();
    assert_eq!(none["items"], json!([]));
    // The hub's own clock is the time of what has none.
    post("{\"values\": {\"n\": 1}}", json_kind).await;
    let one = hub.get("/api/v1/monitors/m/results").await.json();
    assert_eq!(one["items"][0]["time"], stamp(NOW));
    hub.stop().await;
}

#[tokio::test]
async fn additional_results_keep_to_what_is_declared_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let made = json!({"name": "door", "metrics": [{"name": "open", "type": "integer"}],
        "additional": [{"name": "who", "type": "string"}, {"name": "level", "type": "integer", "values": [1, 2]}]});
    assert_eq!(hub.tell("POST", "/api/v1/monitors", made).await.status, 201);
    let rows = json!([{"who": 7}, {"who": "Nia", "level": 3, "when": "late", "a": {"b": 1}}]);
    let detail = json!({"time": stamp(NOW), "rows": rows});
    let result = json!({"time": stamp(NOW), "values": {"open": 1}, "additional": rows});
    for (path, body, before) in [
        ("/api/v1/monitors/door/additional", detail, "/rows"),
        ("/api/v1/monitors/door/results", result, "/results/0/additional"),
    ] {
        let refused = hub.tell("POST", path, body).await;
        assert_eq!((refused.status, &refused.json()["code"]), (422, &json!("results-refused")));
        let told: Vec<(String, String)> = refused.json()["rejected"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| {
                (one["code"].as_str().unwrap().to_owned(), one["path"].as_str().unwrap().to_owned())
            })
            .collect();
        let mut wanted = [
            ("value-type", "0/who"),
            ("value-range", "1/level"),
            ("undeclared", "1/when"),
            ("undeclared", "1/a"),
        ]
        .map(|(code, rest)| (code.to_owned(), format!("{before}/{rest}")));
        let mut told = told;
        told.sort();
        wanted.sort();
        assert_eq!(told, wanted, "{path}");
    }
    let good = json!({"time": stamp(NOW), "rows": [{"who": "Nia", "level": 2}, {"who": null}]});
    assert_eq!(
        hub.tell("POST", "/api/v1/monitors/door/additional", good.clone()).await.status,
        200
    );

    // The form of the monitor's page adds to what is there, and is checked alike.
    let cookie = hub.log_in().await;
    let page = hub.page(&cookie, "/monitor/1").await.body;
    let token = page.split("name=\"form\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let send = |level: &str| {
        let body =
            format!("form={token}&do=detail&time=2026-11-22T20:42:10&v_who=Ada&v_level={level}");
        hub.request("POST", "/monitor/1")
            .header("cookie", &cookie)
            .header("origin", hub.url.clone())
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body)
    };
    let refused = answer(send("9")).await;
    assert_eq!(refused.status, 422);
    assert!(refused.body.contains("value=\"Ada\"") && refused.body.contains("value-range"));
    assert_eq!(answer(send("1")).await.status, 303);
    let kept = hub.get("/api/v1/monitors/door/additional?day=2026-11-22").await.json();
    let all = json!([{"who": "Nia", "level": 2}, {"who": null}, {"who": "Ada", "level": 1}]);
    assert_eq!(kept["items"], json!([{"time": stamp(NOW), "rows": all}]));
    let page = hub.page(&cookie, "/monitor/1?day=2026-11-22").await.body;
    assert!(page.contains("Additional results of the day") && page.contains("who</span> Ada"));
    hub.stop().await;
}

#[tokio::test]
async fn a_browsers_csv_has_no_formula_and_the_exact_one_is_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    hub.tell("POST", "/api/v1/monitors", json!({"name": "m"})).await;
    let result = json!({"time": stamp(NOW), "tags": {"t": "@x"}, "values": {"n": -5, "s": "=1+1"}});
    assert_eq!(hub.tell("POST", "/api/v1/monitors/m/results", result).await.status, 200);
    let exact = format!("time,tag:t,n,s\n{},@x,-5,=1+1\n", stamp(NOW));
    let safe = format!("time,tag:t,n,s\n{},'@x,-5,'=1+1\n", stamp(NOW));
    let of = "/api/v1/monitors/m/results?day=2026-11-22&format=csv";
    assert_eq!(hub.get(of).await.body, exact);
    assert_eq!(hub.get(&format!("{of}&safe=true")).await.body, safe);
    let cookie = hub.log_in().await;
    let page = hub.page(&cookie, "/monitor/1?day=2026-11-22").await.body;
    for (form, body) in [("csv", safe), ("exact", exact)] {
        let link = format!("/monitor/1/results?day=2026-11-22&amp;format={form}");
        assert!(page.contains(&link), "{link}: {page}");
        let file = hub.page(&cookie, &link.replace("&amp;", "&")).await;
        assert_eq!(file.body, body);
        assert!(file.header("content-disposition").ends_with(".csv\""));
    }
    hub.stop().await;
}
