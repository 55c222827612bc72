//! What the old clients count on, point by point.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};
use talaia::hub::MonitisReads;

use super::support::{
    API_KEY, CUSTOM, KEY, NOW, Running, SECRET, checksum, form, quote, signed, start, start_with,
};

const RESPONSE: &str = "response:Response:ms:2;status:Status::3";

#[tokio::test]
async fn any_host_absolute_targets_and_both_paths_are_served() {
    let hub = start().await;
    let query = "?action=getMonitors&apikey=APIKEYAPIKEYAPIKEYAPIKEY01";
    for base in [
        "http://monitis.com/api",
        "http://sandbox.monitis.com/customMonitorApi",
        "http://api.monitis.com/customMonitorApi/",
        "/api",
        "/api/",
        "/customMonitorApi",
        "/customMonitorApi/",
    ] {
        let reply = hub.call("GET", &format!("{base}{query}"), "").await;
        assert_eq!(reply.with(200), "[]", "{base}");
        assert!(reply.head.contains("content-type: application/json"), "{reply:?}");
        assert!(!reply.head.contains("access-control"), "{reply:?}");
        assert!(reply.head.contains("x-content-type-options: nosniff"), "{reply:?}");
    }
    let elsewhere = hub.call("GET", "http://sandbox.monitis.com/", "").await;
    assert_eq!(elsewhere.status, 421, "pages keep to their names: {elsewhere:?}");
    let api = hub.call("GET", "http://sandbox.monitis.com/api/v1/plugins", "").await;
    assert_eq!(api.status, 421, "{api:?}");
    let put = hub.call("PUT", CUSTOM, "").await;
    assert_eq!(put.status, 405, "{put:?}");
    hub.stop().await;
}

#[tokio::test]
async fn query_and_body_are_merged_and_semicolons_are_values() {
    let hub = start().await;
    // As Java: everything in the query, an empty body.
    let query = signed("addMonitor", &[("name", "j"), ("tag", "t"), ("resultParams", RESPONSE)]);
    let java = hub.call("POST", &format!("/customMonitorApi?{query}"), "").await;
    assert_eq!(java.json(), json!({"status": "ok", "data": 1}));
    // Half and half, and as curl sends it: with literal semicolons.
    let mut all = vec![("apikey", API_KEY), ("action", "addMonitor"), ("tag", "t"), ("name", "b")];
    all.push(("resultParams", RESPONSE));
    let sum = checksum(SECRET, &all);
    let target = format!("/customMonitorApi?apikey={API_KEY}&checksum={}", quote(&sum));
    let body = format!("action=addMonitor&tag=t&name=b&resultParams={RESPONSE}");
    let half = hub.call("POST", &target, &body).await;
    assert_eq!(half.json(), json!({"status": "ok", "data": 2}));
    let twice = hub.call("POST", "/api?action=a", "action=b").await;
    assert!(twice.with(400).contains("came twice"), "{twice:?}");
    hub.stop().await;
}

#[tokio::test]
async fn changes_need_a_proof_of_the_secret() {
    const FAILURE: &str = r#"{"error":"Authentication failure"}"#;
    let hub = start().await;
    let wanted = [("name", "n"), ("tag", "t"), ("resultParams", RESPONSE)];
    let good = signed("addMonitor", &wanted);
    let bare = form(&[("apikey", API_KEY), ("action", "addMonitor"), ("name", "n")]);
    for (body, reason) in [
        (bare.as_str(), "neither checksum nor authtoken"),
        (&good.replace("name=n", "name=m"), "not that of this request"),
        (&format!("{good}&extra=1"), "not that of this request"),
        (&good.replace(API_KEY, "APIKEYAPIKEYAPIKEYAPIKEY02"), "no account"),
        (&good.replace("apikey", "apikee"), "apikey is missing"),
        (&format!("{bare}&validation=token"), "without authtoken"),
    ] {
        let reply = hub.call("POST", CUSTOM, body).await;
        assert_eq!(reply.with(403), FAILURE, "{body}");
        assert!(
            reply.head.contains(&format!("talaia-reason: {reason}")) || {
                let at = reply.head.find("talaia-reason: ").unwrap();
                reply.head[at..].contains(reason)
            }
        );
    }
    // A session or a Bearer key is nothing here.
    let bearer = hub
        .send(format!(
            "POST /customMonitorApi HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\nAuthorization: Bearer {KEY}\r\n\r\n{bare}",
            bare.len()
        ))
        .await;
    assert_eq!(bearer.with(403), FAILURE);
    // Nor is a change a read.
    let get = hub.call("GET", &format!("{CUSTOM}?{good}"), "").await;
    assert_eq!(get.with(400), r#"{"status":"addMonitor must be sent by POST"}"#);
    assert_eq!(hub.call("POST", CUSTOM, &good).await.status, 200);
    hub.stop().await;
}

#[tokio::test]
async fn tokens_stand_for_the_secret_for_a_day() {
    let hub = start().await;
    for path in ["http://monitis.com/api", "/customMonitorApi"] {
        let ask = |secret: &str| {
            format!("{path}?action=authToken&apikey={API_KEY}&secretkey={secret}&version=2")
        };
        let wrong = hub.call("GET", &ask("SECRETSECRETSECRETSECRET02"), "").await;
        assert_eq!(wrong.with(403), r#"{"error":"Authentication failure"}"#);
        let reply = hub.call("GET", &ask(SECRET), "").await;
        assert!(reply.with(200).len() < 200, "{reply:?}");
        let token = reply.json()["authToken"].as_str().unwrap().to_owned();
        assert!(token.bytes().all(|b| b.is_ascii_alphanumeric()), "{token}");
        let body = |name: &str| {
            format!(
                "apikey={API_KEY}&timestamp=2026-11-22%252020%3A03%3A10&validation=token\
                 &authToken={token}&version=2&action=addMonitor&name={name}{}\
                 &resultParams=status:status::3;test:test::2&tag=BASH_Monitor&type=BASH_Monitor\
                 &multiValue=false&additionalResultParams=details:Details::3",
                hub.time.load(Ordering::Relaxed)
            )
        };
        assert_eq!(hub.call("POST", CUSTOM, &body("a")).await.json()["status"], "ok");
        hub.time.fetch_add(24 * 3600 * 1000 - 1, Ordering::Relaxed);
        assert_eq!(hub.call("POST", CUSTOM, &body("b")).await.json()["status"], "ok");
        hub.time.fetch_add(1, Ordering::Relaxed);
        let late = hub.call("POST", CUSTOM, &body("c")).await;
        assert_eq!(late.status, 403);
        assert_eq!(late.json()["errorCode"], 4, "{late:?}");
        assert!(late.json()["error"].as_str().unwrap().contains("expired"), "{late:?}");
    }
    hub.stop().await;
}

#[tokio::test]
async fn reads_by_the_public_key_can_be_switched_off() {
    let hub = start_with(MonitisReads::Signed).await;
    let id = hub.add("m", RESPONSE).await.to_string();
    let bare = hub.get("getMonitorInfo", &[("monitorId", &id)]).await;
    assert_eq!(bare.with(403), r#"{"error":"Authentication failure"}"#);
    let query = signed("getMonitorInfo", &[("monitorId", &id)]);
    let reply = hub.call("GET", &format!("/api?{query}"), "").await;
    assert_eq!(reply.json()["name"], "m", "{reply:?}");
    hub.stop().await;
}

/// What comes after the form was decoded once, of each client.
#[tokio::test]
async fn four_encodings_mean_the_same() {
    let hub = start().await;
    let declarations = [
        ("Python-urllib/2.7", "resp_time:Response%20time:ms:2;status:Status:n/a:3"),
        ("perl-monitis-api/0.92", "resp_time:Response time:ms:2;status:Status:n/a:3;"),
        (
            "Jakarta Commons-HttpClient/3.1",
            "resp_time%3AResponse%2Btime%3Ams%3A2%3Bstatus%3AStatus%3An%2Fa%3A3",
        ),
        ("curl/7.88.1", "resp_time:Response%20time:ms:2;status:Status:n/a:3"),
    ];
    let results = [
        "resp_time%3A25;status%3Aok%3A%20a%20b",
        "resp_time:25;status:ok: a b",
        "resp_time%3A25%3Bstatus%3Aok%253A%2Ba%2Bb",
        "resp_time:25;status:ok: a b;additionalResults:[{%22details%22%3A%22x; y%22}]",
    ];
    for (n, ((agent, declared), sent)) in declarations.iter().zip(results).enumerate() {
        let name = format!("monitor{n}");
        let made = signed(
            "addMonitor",
            &[("name", &name), ("tag", "log+parser"), ("resultParams", declared)],
        );
        let reply = hub.call_as(agent, "POST", CUSTOM, &made).await;
        let id = reply.json()["data"].as_i64().unwrap_or_else(|| panic!("{reply:?}"));
        let text = id.to_string();
        let post = signed(
            "addResult",
            &[("monitorId", &text), ("checktime", "1795377642000"), ("results", sent)],
        );
        let reply = hub.call_as(agent, "POST", CUSTOM, &post).await;
        assert_eq!(reply.with(200), r#"{"status":"ok","data":null}"#, "{agent}");
        let wanted = json!([{"resp_time": "25", "status": "ok: a b", "checkTime": "20:00",
            "checkTimeInGMT": "1795377642000"}]);
        assert_eq!(Value::from(hub.day(id).await), wanted, "{agent}");
        let info = hub.get("getMonitorInfo", &[("monitorId", &text)]).await.json();
        assert_eq!(info["resultParams"][0]["displayName"], "Response time", "{agent}");
        assert_eq!(info["resultParams"][1]["uom"], "n/a", "{agent}");
        let twice = agent.starts_with("Jakarta");
        assert_eq!(info["tag"], if twice { "log parser" } else { "log+parser" }, "{agent}");
        // Such clients encode what they look for twice as well.
        let query = "action=getMonitors&tag=log%2Bparser&apikey=APIKEYAPIKEYAPIKEYAPIKEY01";
        let found = hub.call_as(agent, "GET", &format!("{CUSTOM}?{query}"), "").await.json();
        let found = found.as_array().unwrap();
        assert!(found.iter().any(|m| m["name"] == name.as_str()), "{agent}: {found:?}");
    }
    let details = hub
        .get("getAdditionalResults", &[("monitorId", "4"), ("checktime", "1795377642000")])
        .await;
    assert_eq!(details.with(200), r#"[{"details":"x; y"}]"#);
    hub.stop().await;
}

#[tokio::test]
async fn answers_have_the_shapes_that_clients_take_apart() {
    let hub = start().await;
    let made = hub
        .post(
            "addMonitor",
            &[
                ("name", "netstat_mon"),
                ("tag", "netstat"),
                ("resultParams", "load:Load:%:4;up:Up::1;n:N:pkts/s:2;s:S::3"),
                ("additionalResultParams", "details:Details::3"),
                ("monitorParams", "bar::5:2:false;hid::x:3:true"),
            ],
        )
        .await;
    assert_eq!(made.with(200), r#"{"status":"ok","data":1}"#);
    let list = hub.get("getMonitors", &[("tag", "netstat")]).await;
    let wanted = r#"[{"id":"1","name":"netstat_mon","tag":"netstat","type":"custom"}]"#;
    assert_eq!(list.with(200), wanted);
    for nothing in [("tag", "none"), ("type", "foo"), ("name", "net")] {
        assert_eq!(hub.get("getMonitors", &[nothing]).await.with(200), "[]");
    }
    let info = hub.get("getMonitorInfo", &[("monitorId", "1"), ("excludeHidden", "true")]).await;
    assert!(info.body.starts_with(r#"{"id":"1","name":"netstat_mon","#), "{info:?}");
    let info = info.json();
    assert_eq!(info["resultParams"][0]["name"], "load");
    let kinds: Vec<_> =
        info["resultParams"].as_array().unwrap().iter().map(|p| p["dataType"].clone()).collect();
    assert_eq!(kinds, ["4", "1", "2", "3"]);
    assert_eq!(info["additionalResultParams"][0]["displayName"], "Details");
    assert_eq!(info["monitorParams"].as_array().unwrap().len(), 1);
    assert_eq!(info["monitorParams"][0]["value"], "5");
    let post = [
        ("monitorId", "1"),
        ("checktime", "1795377642000"),
        ("results", "load:71.25;up:1;n:-9223372036854775808;s:1e3"),
    ];
    assert_eq!(hub.post("addResult", &post).await.status, 200);
    let wanted = json!([{"load": "71.25", "up": "true", "n": "-9223372036854775808", "s": "1e3",
        "checkTime": "20:00", "checkTimeInGMT": "1795377642000"}]);
    assert_eq!(Value::from(hub.day(1).await), wanted, "values are texts");
    let details = [
        ("monitorId", "1"),
        ("checktime", "1795377682000"),
        ("results", "[{\"bar\": 90, \"baz\": [1.5, null, \"x\"]}]"),
    ];
    assert_eq!(hub.post("addAdditionalResults", &details).await.json()["status"], "ok");
    let back = hub.get("getAdditionalResults", &details[..2]).await;
    assert_eq!(back.with(200), r#"[{"bar":90,"baz":[1.5,null,"x"]}]"#, "types stay");
    let none = [("monitorId", "1"), ("checktime", "1795377683000")];
    assert_eq!(hub.get("getAdditionalResults", &none).await.with(200), "[]");
    let edited = hub.post("editMonitor", &[("monitorId", "1"), ("name", "other")]).await;
    assert_eq!(edited.with(200), r#"{"status":"ok","data":null}"#);
    let after = hub.get("getMonitorInfo", &[("monitorId", "1")]).await.json();
    assert_eq!((&after["name"], &after["tag"]), (&json!("other"), &json!("netstat")));
    assert_eq!(after["monitorParams"].as_array().unwrap().len(), 2, "the hidden one as well");
    let gone = hub.post("deleteMonitor", &[("monitorId", "1")]).await;
    assert_eq!(gone.with(200), r#"{"status":"ok","data":null}"#);
    hub.stop().await;
}

#[tokio::test]
async fn errors_have_the_words_that_clients_know() {
    let hub = start().await;
    let id = hub.add("m", RESPONSE).await.to_string();
    let unsupported = r#"{"status":"Action 'noSuchAction' is not supported"}"#;
    assert_eq!(hub.post("noSuchAction", &[]).await.with(400), unsupported);
    assert_eq!(hub.get("noSuchAction", &[]).await.with(400), unsupported);
    for action in ["addAgent", "addJob", "colorizeMonitors"] {
        let wanted = format!("{{\"status\":\"Action '{action}' is not supported\"}}");
        assert_eq!(hub.post(action, &[]).await.with(400), wanted);
    }
    for action in ["apikey", "secretkey", "userkey"] {
        let reply = hub.get(action, &[("userName", "u"), ("password", "p")]).await;
        assert!(reply.with(403).contains("is refused"), "{reply:?}");
        assert!(!reply.body.contains(SECRET));
    }
    let nobody = "/api?action=secretkey&apikey=bad_api_key";
    let reply = hub.call("GET", nobody, "").await;
    assert_eq!(reply.with(403), r#"{"error":"Authentication failure"}"#);
    let reply = hub.call("GET", &format!("/api?apikey={API_KEY}"), "").await;
    assert_eq!(reply.with(400), r#"{"status":"action is required"}"#);
    let post = |id: &str, time: &str, results: &str| {
        signed("addResult", &[("monitorId", id), ("checktime", time), ("results", results)])
    };
    for (body, status, words) in [
        (post("99", "1795377642000", "response:1"), 404, "there is no monitor 99"),
        (post("x", "1795377642000", "response:1"), 400, "monitorId is not a number"),
        (post(&id, "noon", "response:1"), 400, "checktime"),
        (post(&id, "1795378243000", "response:1"), 400, "10 minutes ahead"),
        (post(&id, "1795377642000", "response:abc"), 400, "value-type"),
        (post(&id, "1795377642000", "response:1.5"), 400, "value-type"),
        (post(&id, "1795377642000", "other:1"), 400, "undeclared"),
        (post(&id, "1795377642000", "response"), 400, "has no value"),
        (
            signed("addMonitor", &[("tag", "t"), ("resultParams", RESPONSE)]),
            400,
            "name is required",
        ),
        (signed("addMonitor", &[("name", "n"), ("tag", "t")]), 400, "resultParams is required"),
        (
            signed("addMonitor", &[("name", "n"), ("tag", "t"), ("resultParams", "a:A:ms:9")]),
            400,
            "dataType of a is 9",
        ),
    ] {
        let reply = hub.call("POST", CUSTOM, &body).await;
        assert_eq!(reply.status, status, "{reply:?}");
        assert!(reply.json()["status"].as_str().unwrap().contains(words), "{words}: {reply:?}");
        assert!(reply.body.len() < 200, "some clients read no more: {reply:?}");
    }
    assert!(hub.day(1).await.is_empty(), "nothing of it was taken");
    hub.stop().await;
}

#[tokio::test]
async fn times_are_read_as_clients_write_them() {
    let hub = start().await;
    let id = hub.add("m", "position:Position:N/A:2").await;
    let text = id.to_string();
    for (time, value) in [
        ("1795377642", "position:1"),
        ("1795377643000", "position:2"),
        ("1795305600", "position:0"),
    ] {
        let post = [("monitorId", &*text), ("checktime", time), ("results", value)];
        assert_eq!(hub.post("addResult", &post).await.json()["status"], "ok");
    }
    let ends = [("1795305599999", "position:8"), ("1795391999999", "position:9")];
    hub.time.store(1_795_392_000_000, Ordering::Relaxed);
    for (time, value) in ends {
        let post = [("monitorId", &*text), ("checktime", time), ("results", value)];
        assert_eq!(hub.post("addResult", &post).await.json()["status"], "ok");
    }
    let got: Vec<_> = hub
        .day(id)
        .await
        .iter()
        .map(|row| (row["position"].clone(), row["checkTimeInGMT"].clone()))
        .collect();
    let wanted = [
        ("0", "1795305600000"),
        ("1", "1795377642000"),
        ("2", "1795377643000"),
        ("9", "1795391999999"),
    ];
    assert_eq!(got, wanted.map(|(a, b)| (json!(a), json!(b))), "one day in UTC");
    let shifted = hub
        .get(
            "getMonitorResults",
            &[
                ("monitorId", &text),
                ("year", "2026"),
                ("month", "11"),
                ("day", "22"),
                ("timezone", "-300"),
            ],
        )
        .await;
    assert_eq!(shifted.json()[1]["checkTime"], "15:00");
    let no_date = [("monitorId", &*text), ("year", "2026"), ("month", "2"), ("day", "30")];
    assert_eq!(hub.get("getMonitorResults", &no_date).await.status, 400);
    // A clock that is far off signs all the same.
    let all = [
        ("apikey", API_KEY),
        ("action", "editMonitor"),
        ("monitorId", &*text),
        ("timestamp", "2011-00-13%2017:30:00"),
    ];
    let sum = checksum(SECRET, &all);
    let body = format!("{}&checksum={}", form(&all), quote(&sum));
    assert_eq!(hub.call("POST", CUSTOM, &body).await.json()["status"], "ok");
    hub.stop().await;
}

#[tokio::test]
async fn a_name_is_taken_once_for_each_tag_and_type() {
    let hub = start().await;
    let add = async |name: &str, tag: &str, kind: &str| {
        let made = [("name", name), ("tag", tag), ("type", kind), ("resultParams", "a:A::2")];
        hub.post("addMonitor", &made).await
    };
    assert_eq!(add("cpu", "web", "custom").await.status, 200);
    let again = add("cpu", "web", "custom").await;
    assert_eq!(again.status, 409, "{again:?}");
    assert_eq!(again.json()["status"], "monitorNameExists");
    assert_eq!(again.json()["error"], "Monitor with that name already exists");
    // Clients look it up by its tag then, and compare names.
    let found = hub.get("getMonitors", &[("tag", "web")]).await.json();
    assert_eq!((&found[0]["id"], &found[0]["name"]), (&json!("1"), &json!("cpu")));
    assert_eq!(add("cpu", "db", "custom").await.json()["data"], 2);
    assert_eq!(add("cpu", "web", "BASH").await.json()["data"], 3);
    let edit = [("monitorId", "2"), ("name", "cpu"), ("tag", "web")];
    assert_eq!(hub.post("editMonitor", &edit).await.status, 409);
    let edit = [("monitorId", "2"), ("name", "cpu"), ("tag", "db")];
    assert_eq!(hub.post("editMonitor", &edit).await.status, 200);
    hub.stop().await;
}

#[tokio::test]
async fn old_http_and_closed_connections_work() {
    let hub = start().await;
    let target = format!("/api?action=getMonitors&apikey={API_KEY}");
    let old = hub.send(format!("GET {target} HTTP/1.0\r\n\r\n")).await;
    assert_eq!(old.with(200), "[]");
    let absolute =
        hub.send(format!("GET http://monitis.com{target} HTTP/1.0\r\nUser-Agent: x\r\n\r\n")).await;
    assert_eq!(absolute.with(200), "[]");
    let closed = hub.call("GET", &target, "").await;
    assert!(closed.head.contains("connection: close"), "{closed:?}");
    let huge = "x".repeat(5 << 20);
    let reply = hub.call("POST", CUSTOM, &huge).await;
    assert_eq!(reply.status, 413, "{:?}", reply.head);
    hub.stop().await;
}

#[tokio::test]
async fn several_values_at_one_check_time_are_rows() {
    let hub = start().await;
    let made = [
        ("name", "procs"),
        ("tag", "t"),
        ("resultParams", "pid:Pid::2;cpu:CPU:%:4"),
        ("multiValue", "true"),
    ];
    assert_eq!(hub.post("addMonitor", &made).await.status, 200);
    let post = [
        ("monitorId", "1"),
        ("checktime", "1795377642000"),
        ("results", "pid:[17,18];cpu:[0.5,1.5]"),
    ];
    assert_eq!(hub.post("addResult", &post).await.json()["status"], "ok");
    let rows: Vec<_> =
        hub.day(1).await.iter().map(|row| (row["pid"].clone(), row["cpu"].clone())).collect();
    assert_eq!(rows, [(json!("17"), json!("0.5")), (json!("18"), json!("1.5"))]);
    hub.stop().await;
}

#[tokio::test]
async fn reports_draw_results_together() {
    let hub = start().await;
    let id = hub.add("m", "a:A::2:false::sum;b:B::4;s:S::3").await.to_string();
    for (minute, a) in [(0, 1), (1, 2), (6, 4)] {
        let time = (NOW - 42_000 + minute * 60_000).to_string();
        let results = format!("a:{a};b:{a}.5;s:x{a}");
        let post = [("monitorId", &*id), ("checktime", &*time), ("results", &*results)];
        hub.time.store(NOW + 600_000, Ordering::Relaxed);
        assert_eq!(hub.post("addResult", &post).await.json()["status"], "ok");
    }
    let (from, to) = ((NOW - 42_000).to_string(), (NOW + 600_000).to_string());
    let range = [("monitorId", &*id), ("dateFrom", &*from), ("dateTo", &*to)];
    let raw = hub.get("getReport", &range).await.json();
    assert_eq!(raw.as_array().unwrap().len(), 3);
    let mut drawn = range.to_vec();
    drawn.extend([("interval", "5"), ("intervalType", "min")]);
    let rows = hub.get("getReport", &drawn).await.json();
    let wanted = json!([
        {"a": "3", "b": "2", "s": "x2", "checkTime": "20:00", "checkTimeInGMT": "1795377600000"},
        {"a": "4", "b": "4.5", "s": "x4", "checkTime": "20:05", "checkTimeInGMT": "1795377900000"},
    ]);
    assert_eq!(rows, wanted);
    drawn[4] = ("intervalType", "week");
    assert_eq!(hub.get("getReport", &drawn).await.status, 400);
    let details = [("monitorId", &*id), ("checktime", "1795377642000"), ("results", "[{\"x\":1}]")];
    assert_eq!(hub.post("addAdditionalResults", &details).await.status, 200);
    let all = hub.get("getAdditionalDataReport", &range).await.json();
    assert_eq!(all[0]["results"], json!([{"x": 1}]));
    assert_eq!(all[0]["checkTimeInGMT"], "1795377642000");
    hub.stop().await;
}

#[tokio::test]
async fn suspended_monitors_take_no_results() {
    let hub = start().await;
    let id = hub.add("m", "a:A::2").await;
    let post = async |hub: &Running| {
        let post = [("monitorId", "1"), ("checktime", "1795377642000"), ("results", "a:1")];
        hub.post("addResult", &post).await
    };
    assert_eq!(hub.post("suspendMonitors", &[("monitorIds", "1")]).await.json()["status"], "ok");
    let refused = post(&hub).await;
    assert!(refused.with(409).contains("suspended"), "{refused:?}");
    assert_eq!(hub.post("activateMonitors", &[("tag", "test")]).await.json()["status"], "ok");
    assert_eq!(post(&hub).await.status, 200);
    assert_eq!(hub.post("suspendMonitors", &[]).await.status, 400);
    assert_eq!(hub.day(id).await.len(), 1);
    // A list is removed as a whole, or not at all.
    assert_eq!(hub.post("deleteMonitor", &[("monitorId", "1,7")]).await.status, 404);
    assert_eq!(hub.day(id).await.len(), 1);
    hub.add("n", "a:A::2").await;
    assert_eq!(hub.post("deleteMonitor", &[("monitorId", "1, 2")]).await.status, 200);
    assert_eq!(hub.get("getMonitors", &[]).await.with(200), "[]");
    hub.stop().await;
}

#[tokio::test]
async fn xml_is_for_reads_that_ask_for_it() {
    let hub = start().await;
    hub.add("My <monitor>", RESPONSE).await;
    let list = hub.get("getMonitors", &[("output", "xml")]).await;
    assert!(list.head.contains("content-type: application/xml"), "{list:?}");
    let wanted = "<monitors><monitor><id>1</id><name>My &lt;monitor&gt;</name><tag>test</tag><type>custom</type></monitor></monitors>";
    assert!(list.with(200).ends_with(wanted), "{list:?}");
    let post = [
        ("monitorId", "1"),
        ("checktime", "1795377642000"),
        ("results", "response:1;status:a&b"),
        ("output", "XML"),
    ];
    assert_eq!(hub.post("addResult", &post).await.with(200), r#"{"status":"ok","data":null}"#);
    let day =
        [("monitorId", "1"), ("year", "2026"), ("month", "11"), ("day", "22"), ("output", "Xml")];
    let rows = hub.get("getMonitorResults", &day).await;
    let wanted = "<results><result><response>1</response><status>a&amp;b</status><checkTime>20:00</checkTime><checkTimeInGMT>1795377642000</checkTimeInGMT></result></results>";
    assert!(rows.with(200).ends_with(wanted), "{rows:?}");
    let wrong = hub.get("getMonitorInfo", &[("monitorId", "9"), ("output", "XML")]).await;
    assert!(wrong.with(404).ends_with("<error>there is no monitor 9</error>"), "{wrong:?}");
    hub.stop().await;
}

#[tokio::test]
async fn plugins_of_agents_are_monitors_here_as_well() {
    let hub = start().await;
    let batch = json!({
        "agent": {"id": "00000000-0000-4000-8000-000000000001", "host": "web-1", "version": "1",
            "spool": "00000000-0000-4000-8000-000000000002"},
        "output": "main", "sent": "2026-11-22T20:00:42Z",
        "reports": [{"seq": 1, "plugin": "disk", "key": null, "host": "web-1",
            "run": "00000000-0000-4000-8000-000000000003", "started": "2026-11-22T20:00:40Z",
            "duration": 0.1, "interval": 30.0, "outcome": {"kind": "exited", "code": 0},
            "status": "ok", "message": null, "rejected": [], "warnings": [],
            "metrics": [
                {"name": "used", "value": 71.5, "type": "percent", "unit": "%", "label": "Used",
                 "tags": {"mount": "/"}},
                {"name": "used", "value": 9.0, "type": "percent", "unit": "%", "label": "Used",
                 "tags": {"mount": "/home"}}],
            "counts": {"produced": 2, "accepted": 2, "rejected": {}}, "skipped": 0,
            "leftovers": 0, "usage": {"cpu": 0.0, "max_rss": 0, "stdout": 0, "stderr": 0}}]
    })
    .to_string();
    let taken = hub
        .send(format!(
            "POST /api/v1/ingest HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {KEY}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{batch}",
            batch.len()
        ))
        .await;
    assert_eq!(taken.status, 200, "{taken:?}");
    let list = hub.get("getMonitors", &[("tag", "disk")]).await.json();
    assert_eq!(list, json!([{"id": "1", "name": "disk@web-1", "tag": "disk", "type": "custom"}]));
    let info = hub.get("getMonitorInfo", &[("monitorId", "1")]).await.json();
    assert_eq!(info["resultParams"].as_array().unwrap().len(), 1, "{info}");
    assert_eq!(info["resultParams"][0]["name"], "used");
    let rows: Vec<_> =
        hub.day(1).await.iter().map(|row| (row["mount"].clone(), row["used"].clone())).collect();
    let wanted = [("/", "71.5"), ("/home", "9")].map(|(a, b)| (json!(a), json!(b)));
    assert_eq!(rows, wanted);
    hub.stop().await;
}
