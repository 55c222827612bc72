//! What programs read back.

use serde_json::{Value, json};

use super::support::*;

#[tokio::test]
async fn points_come_back_as_they_were_sent() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let metrics = json!([
        {"name": "used", "value": 71.2, "type": "percent", "unit": "%", "tags": {"mount": "/"}},
        {"name": "used", "value": 12, "type": "percent", "unit": "%", "tags": {"mount": "/a:b c", "x": "1"}},
        {"name": "count", "value": 18_446_744_073_709_551_615_u64, "type": "counter"},
        {"name": "least", "value": -9_223_372_036_854_775_808_i64, "type": "integer"},
        {"name": "up", "value": true, "type": "boolean"},
        {"name": "kernel", "value": "6.1 \"é\" <b>", "type": "string"},
        {"name": "nothing", "value": null, "type": "float", "time": stamp(NOW - 1)},
    ]);
    hub.take(&Stream::new().batch(vec![report(1, NOW, metrics)])).await;

    let all = hub.get("/api/v1/points?host=web-1&plugin=disk").await.json();
    assert_eq!(all["next"], Value::Null);
    assert_eq!(
        all["series"],
        json!([
            {"host": "web-1", "plugin": "disk", "name": "used", "tags": {"mount": "/"}, "type": "percent", "unit": "%", "points": [[NOW, 71.2]]},
            {"host": "web-1", "plugin": "disk", "name": "used", "tags": {"mount": "/a:b c", "x": "1"}, "type": "percent", "unit": "%", "points": [[NOW, 12]]},
            {"host": "web-1", "plugin": "disk", "name": "count", "tags": {}, "type": "counter", "unit": null, "points": [[NOW, 18_446_744_073_709_551_615_u64]]},
            {"host": "web-1", "plugin": "disk", "name": "least", "tags": {}, "type": "integer", "unit": null, "points": [[NOW, i64::MIN]]},
            {"host": "web-1", "plugin": "disk", "name": "up", "tags": {}, "type": "boolean", "unit": null, "points": [[NOW, true]]},
            {"host": "web-1", "plugin": "disk", "name": "kernel", "tags": {}, "type": "string", "unit": null, "points": [[NOW, "6.1 \"é\" <b>"]]},
            {"host": "web-1", "plugin": "disk", "name": "nothing", "tags": {}, "type": "float", "unit": null, "points": [[NOW - 1, null]]},
        ])
    );
    let tagged =
        hub.get("/api/v1/points?host=web-1&plugin=disk&name=used&tag=mount:/a:b%20c&tag=x:1").await;
    assert_eq!(tagged.json()["series"].as_array().unwrap().len(), 1);
    assert_eq!(tagged.header("cache-control"), "no-store");
    let none = hub.get("/api/v1/points?host=web-1&plugin=disk&tag=mount:/b").await.json();
    assert_eq!(none, json!({"series": [], "next": null}));

    let series = hub.get("/api/v1/series?host=web-1").await.json();
    assert_eq!(series["items"][2]["last"], json!([NOW, 18_446_744_073_709_551_615_u64]));
    assert_eq!(series["items"][0]["last"], json!([NOW, 71.2]));
    hub.stop().await;
}

/// Follows `next` to the end.
async fn pages(hub: &Running, path: &str) -> Vec<Value> {
    let mut found = Vec::new();
    let mut after = String::new();
    for _ in 0..1000 {
        let page = hub.get(&format!("{path}{after}")).await;
        assert_eq!(page.status, 200, "{}", page.body);
        let page = page.json();
        let next = page["next"].as_str().map(ToOwned::to_owned);
        found.push(page);
        match next {
            Some(next) => after = format!("&after={next}"),
            None => return found,
        }
    }
    panic!("no end of pages");
}

#[tokio::test]
async fn points_page_without_loss_or_repetition() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let stream = Stream::new();
    // Three series, some points at the same millisecond, some late, over several batches.
    let mut seq = 0;
    for batch in 0..6_i64 {
        let reports = (0..5_i64)
            .map(|n| {
                seq += 1;
                let ms = NOW + (batch % 3) * 1000 + n / 2;
                let value =
                    |name: &str, x: u64| json!({"name": name, "value": x, "type": "integer"});
                report(seq, ms, json!([value("a", seq), value("b", seq), value("c", seq)]))
            })
            .collect();
        hub.take(&stream.batch(reports)).await;
    }
    let path = format!("/api/v1/points?host=web-1&plugin=disk&from={}", NOW - 10);
    let whole = pages(&hub, &path).await;
    assert_eq!(whole.len(), 1);
    for limit in [1, 2, 3, 7, 30, 89, 90, 91] {
        let mut joined: Vec<(String, Value)> = Vec::new();
        for page in pages(&hub, &format!("{path}&limit={limit}")).await {
            let mut count = 0;
            for series in page["series"].as_array().unwrap() {
                for point in series["points"].as_array().unwrap() {
                    joined.push((series["name"].as_str().unwrap().to_owned(), point.clone()));
                    count += 1;
                }
            }
            assert!(count <= limit);
        }
        let mut expected = Vec::new();
        for series in whole[0]["series"].as_array().unwrap() {
            for point in series["points"].as_array().unwrap() {
                expected.push((series["name"].as_str().unwrap().to_owned(), point.clone()));
            }
        }
        assert_eq!(expected.len(), 90);
        assert_eq!(joined, expected, "limit {limit}");
    }
    let window = format!("{path}&to={}&name=a", NOW + 999);
    let points = hub.get(&window).await.json()["series"][0]["points"].clone();
    assert_eq!(points.as_array().unwrap().len(), 10);
    assert!(points.as_array().unwrap().iter().all(|p| p[0].as_i64().unwrap() < NOW + 1000));
    hub.stop().await;
}

#[tokio::test]
async fn points_read_the_same_after_compaction() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let stream = Stream::new();
    // Over 262 144 points make a compaction due: 30 batches of 9 000.
    let mut seq = 0;
    let mut ms = NOW;
    for _ in 0..30 {
        let reports = (0..9)
            .map(|_| {
                seq += 1;
                ms += 1000;
                let metrics = (0..1000).map(
                    |n| json!({"name": format!("m{n}"), "value": seq * 1000 + n, "type": "integer"}),
                );
                report(seq, ms, metrics.collect())
            })
            .collect();
        hub.take(&stream.batch(reports)).await;
    }
    // A late one, and one at a time that is there already.
    hub.take(&stream.batch(vec![
        report(seq + 1, NOW + 500, json!([{"name": "m7", "value": -1, "type": "integer"}])),
        report(seq + 2, NOW + 1000, json!([{"name": "m7", "value": -2, "type": "integer"}])),
    ]))
    .await;
    let mut expected: Vec<(i64, i64)> = (1..=270).map(|s| (NOW + s * 1000, s * 1000 + 7)).collect();
    expected.insert(0, (NOW + 500, -1));
    expected.insert(2, (NOW + 1000, -2));

    let path = "/api/v1/points?host=web-1&plugin=disk&name=m7";
    let got = |page: Value| -> Vec<(i64, i64)> {
        let series = page["series"].as_array().unwrap().clone();
        series
            .iter()
            .flat_map(|s| s["points"].as_array().unwrap().clone())
            .map(|p| (p[0].as_i64().unwrap(), p[1].as_i64().unwrap()))
            .collect()
    };
    assert_eq!(got(hub.get(path).await.json()), expected);
    let mut joined = Vec::new();
    for page in pages(&hub, &format!("{path}&limit=50")).await {
        joined.extend(got(page));
    }
    assert_eq!(joined, expected);
    assert_eq!(hub.held("web-1", "disk").await, (272, 270_002, 0));
    hub.stop().await;
    let conn = rusqlite::Connection::open(folder.path().join("hub.db")).unwrap();
    let count = |sql: &str| conn.query_row(sql, (), |row| row.get::<_, i64>(0)).unwrap();
    assert!(count("SELECT count(*) FROM segments") >= 63, "a compaction took place");
    let points = count("SELECT sum(points) FROM segments")
        + count("SELECT coalesce(sum(points), 0) FROM raw");
    // Each run gives seven points besides.
    assert_eq!(points, 270_002 + 7 * 272);
    // Runs are bounded.
    assert!(count("SELECT count(*) FROM runs") <= 700);
}

#[tokio::test]
async fn listings_page_and_filter() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let reports = (1..=7)
        .map(|seq| {
            let mut one = report(seq, NOW + seq as i64, used(seq as f64));
            one["plugin"] = json!(format!("p{}", seq % 3));
            one["host"] = json!(if seq == 7 { "web-2" } else { "web-1" });
            one
        })
        .collect();
    hub.take(&Stream::new().batch(reports)).await;
    for (path, total) in [("plugins", 4), ("series", 4), ("runs", 7)] {
        for limit in [1, 2, 3, 4, 7, 8] {
            let found = pages(&hub, &format!("/api/v1/{path}?limit={limit}")).await;
            let items: Vec<Value> =
                found.iter().flat_map(|p| p["items"].as_array().unwrap().clone()).collect();
            assert_eq!(items.len(), total, "{path} by {limit}");
            let mut ids: Vec<i64> = items.iter().map(|i| i["id"].as_i64().unwrap()).collect();
            if path == "runs" {
                ids.reverse();
            }
            assert!(ids.is_sorted_by(|a, b| a < b), "{path} by {limit}: {ids:?}");
        }
        let one = hub.get(&format!("/api/v1/{path}?host=web-2")).await.json();
        assert_eq!(one["items"].as_array().unwrap().len(), 1);
        let none = hub.get(&format!("/api/v1/{path}?host=web-2&plugin=p0")).await.json();
        assert_eq!(none, json!({"items": [], "next": null}));
        for bad in ["limit=0", "limit=x", "limit=9999999", "after=x", "hots=a"] {
            let answer = hub.get(&format!("/api/v1/{path}?{bad}")).await;
            assert_eq!((answer.status, answer.json()["code"].as_str()), (400, Some("parameter")));
        }
    }
    let run = hub.get("/api/v1/runs?host=web-2").await.json()["items"][0].clone();
    assert_eq!(run["outcome"], json!({"kind": "exited", "code": 0}));
    assert_eq!(run["started"], stamp(NOW + 7));
    assert_eq!(run["usage"]["max_rss"], 2_097_152);
    hub.stop().await;
}

#[tokio::test]
async fn only_known_hosts_are_served() {
    let folder = tempfile::tempdir().unwrap();
    let mut named = settings(folder.path());
    named.hosts = vec!["hub.example.org".to_owned()];
    let hub = start_with(named).await;
    let status = |name: &'static str, path: &'static str| {
        let request = hub.request("GET", path).header("host", name);
        let request = request.bearer_auth(&hub.credentials.key);
        async move { answer(request).await.status }
    };
    for path in ["/api/v1/plugins", "/style.css"] {
        assert_eq!(status("localhost:1", path).await, 200);
        assert_eq!(status("hub.example.org", path).await, 200);
        assert_eq!(status("evil.example", path).await, 421);
    }
    assert_eq!(status("evil.example", "/healthz").await, 200);
    let absolute = "GET http://evil.example/api/v1/plugins HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert!(hub.raw(absolute.into()).await.starts_with("HTTP/1.1 421 "));
    assert!(hub.raw("GET / HTTP/1.0\r\n\r\n".into()).await.starts_with("HTTP/1.0 400 "));
    hub.stop().await;
}

#[tokio::test]
async fn strange_paths_and_methods_are_problems() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let nowhere = hub.get("/api/v1/nowhere").await;
    assert_eq!((nowhere.status, nowhere.json()["code"].as_str()), (404, Some("not-found")));
    let method = answer(hub.request("DELETE", "/api/v1/plugins").bearer_auth("x")).await;
    assert_eq!((method.status, method.json()["code"].as_str()), (405, Some("method")));
    assert_eq!(answer(hub.request("GET", "/healthz")).await.body, "ok\n");
    hub.stop().await;
}
