//! The whole life of a monitor by the wire, in the manner of each client: create `netstat_mon`, list
//! it, update it ten times, read the day back, delete it, list again.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::support::{API_KEY, CUSTOM, NOW, Running, SECRET, checksum, form, quote, start};

/// What the four counters are in one update.
fn counts(n: i64) -> [(&'static str, i64); 4] {
    [
        ("tcp_packets_in", 1_253_222 + 171 * n),
        ("tcp_packets_out", 1_616_400 + 114 * n),
        ("udp_packets_in", 381_497 + 8 * n),
        ("udp_packets_out", 551_524 + 12 * n),
    ]
}

const LABELS: [&str; 4] =
    ["TCP Packets In", "TCP Packets Out", "UDP Packets In", "UDP Packets Out"];

/// A client's ways.
struct Client {
    name: &'static str,
    agent: &'static str,
    /// How declarations and results are written, once the form is decoded.
    declare: fn(&[(&str, &str)]) -> String,
    result: fn(&[(&str, i64)]) -> String,
    proof: Proof,
    place: Place,
}

enum Proof {
    Checksum,
    Token,
}

enum Place {
    Body,
    Query,
}

const CLIENTS: [Client; 4] = [
    Client {
        name: "python",
        agent: "Python-urllib/2.7",
        declare: |fields| {
            join(fields.iter().map(|(name, label)| format!("{name}:{}:pkts/s:2", quote(label))))
        },
        result: |values| join(values.iter().map(|(name, n)| quote(&format!("{name}:{n}")))),
        proof: Proof::Checksum,
        place: Place::Body,
    },
    Client {
        name: "perl",
        agent: "perl-monitis-api/0.92",
        declare: |fields| {
            let all: Vec<_> =
                fields.iter().map(|(name, label)| format!("{name}:{label}:pkts/s:2;")).collect();
            all.concat()
        },
        result: |values| join(values.iter().map(|(name, n)| format!("{name}:{n}"))),
        proof: Proof::Checksum,
        place: Place::Body,
    },
    Client {
        name: "java",
        agent: "Jakarta Commons-HttpClient/3.1",
        declare: |fields| {
            let encoded = |(name, label): &(&str, &str)| {
                format!("{name}:{}:pkts%2Fs:2", quote(label).replace("%20", "+"))
            };
            quote(&join(fields.iter().map(encoded)))
        },
        result: |values| quote(&join(values.iter().map(|(name, n)| format!("{name}:{n}")))),
        proof: Proof::Checksum,
        place: Place::Query,
    },
    Client {
        name: "bash",
        agent: "curl/7.88.1",
        declare: |fields| {
            join(fields.iter().map(|(name, label)| format!("{name}:{}:pkts/s:2", quote(label))))
        },
        result: |values| {
            let values = join(values.iter().map(|(name, n)| format!("{name}:{n}")));
            format!("{values};additionalResults:[{{%22details%22%3A%22OK%22}}]")
        },
        proof: Proof::Token,
        place: Place::Body,
    },
];

fn join(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(";")
}

impl Client {
    async fn post(&self, hub: &Running, token: &str, params: &[(&str, &str)]) -> Value {
        let mut all = vec![("apikey", API_KEY), ("version", "2")];
        all.extend(params);
        all.push(("timestamp", "2026-11-22 20:00:42"));
        let sum = checksum(SECRET, &all);
        match self.proof {
            Proof::Checksum => all.push(("checksum", &sum)),
            Proof::Token => all.extend([("validation", "token"), ("authToken", token)]),
        }
        let form = form(&all);
        let reply = match self.place {
            Place::Body => hub.call_as(self.agent, "POST", CUSTOM, &form).await,
            Place::Query => hub.call_as(self.agent, "POST", &format!("{CUSTOM}?{form}"), "").await,
        };
        assert_eq!(reply.status, 200, "{}: {reply:?}", self.name);
        assert!(!reply.body.contains(": "), "{}: compact: {reply:?}", self.name);
        reply.json()
    }
}

#[tokio::test]
async fn each_client_lives_through_the_story() {
    let hub = start().await;
    hub.time.store(NOW + 600_000, std::sync::atomic::Ordering::Relaxed);
    for client in &CLIENTS {
        let token = hub.get("authToken", &[("secretkey", SECRET)]).await.json();
        let token = token["authToken"].as_str().unwrap();
        let names: Vec<&str> = counts(0).iter().map(|(name, _)| *name).collect();
        let fields: Vec<(&str, &str)> = names.iter().copied().zip(LABELS).collect();
        let declared = (client.declare)(&fields);
        let made = client
            .post(
                &hub,
                token,
                &[
                    ("action", "addMonitor"),
                    ("name", "netstat_mon"),
                    ("tag", "netstat"),
                    ("resultParams", &declared),
                ],
            )
            .await;
        let id = made["data"].as_i64().unwrap();
        let text = id.to_string();
        let list = hub.get("getMonitors", &[("tag", "netstat")]).await;
        let wanted =
            format!(r#"[{{"id":"{id}","name":"netstat_mon","tag":"netstat","type":"custom"}}]"#);
        assert_eq!(list.with(200), wanted, "{}", client.name);
        let info = hub.get("getMonitorInfo", &[("monitorId", &text)]).await.json();
        for (n, (name, label)) in fields.iter().enumerate() {
            let field = &info["resultParams"][n];
            assert_eq!((&field["name"], &field["displayName"]), (&json!(name), &json!(label)));
            assert_eq!((&field["uom"], &field["dataType"]), (&json!("pkts/s"), &json!("2")));
        }
        for n in 0..10 {
            let results = (client.result)(&counts(n));
            let time = (NOW + n * 30_000).to_string();
            let posted = client
                .post(
                    &hub,
                    token,
                    &[
                        ("action", "addResult"),
                        ("monitorId", &text),
                        ("checktime", &time),
                        ("results", &results),
                    ],
                )
                .await;
            assert_eq!(posted, json!({"status": "ok", "data": null}), "{}", client.name);
        }
        let day = hub.day(id).await;
        assert_eq!(day.len(), 10, "{}", client.name);
        for (row, n) in day.iter().zip(0..) {
            for (name, count) in counts(n) {
                assert_eq!(row[name], count.to_string(), "{}: {row}", client.name);
            }
            assert_eq!(row["checkTimeInGMT"], (NOW + n * 30_000).to_string());
        }
        let gone =
            client.post(&hub, token, &[("action", "deleteMonitor"), ("monitorId", &text)]).await;
        assert_eq!(gone["status"], "ok");
        let list = hub.get("getMonitors", &[("tag", "netstat")]).await;
        assert_eq!(list.with(200), "[]", "{}", client.name);
    }
    hub.stop().await;
}

/// The requests as they were recorded, byte for byte, with the monitor that they name.
#[tokio::test]
async fn recorded_requests_are_answered() {
    let hub = start().await;
    hub.database("INSERT INTO sqlite_sequence (name, seq) VALUES ('monitors', 2266)");
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/monitis/recorded.txt");
    let recorded = fs::read_to_string(data).unwrap();
    let find = |name: &str| {
        let paragraph = recorded
            .split("\n\n")
            .map(str::trim)
            .find(|paragraph| paragraph.lines().next() == Some(name))
            .unwrap();
        let mut lines = paragraph.lines().skip(1);
        (lines.next().unwrap().to_owned(), lines.next().unwrap_or_default().to_owned())
    };
    let play = async |name: &str, agent: &str| {
        let (first, body) = find(name);
        hub.send(format!(
            "{first}\r\nAccept-Encoding: identity\r\nContent-Length: {}\r\nHost: sandbox.monitis.com\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nConnection: close\r\nUser-Agent: {agent}\r\n\r\n{body}",
            body.len()
        ))
        .await
    };
    let python = "Python-urllib/2.7";
    assert_eq!(play("python create", python).await.with(200), r#"{"status":"ok","data":2267}"#);
    let list = hub.get("getMonitors", &[("tag", "netstat")]).await;
    let wanted = r#"[{"id":"2267","name":"netstat_mon","tag":"netstat","type":"custom"}]"#;
    assert_eq!(list.with(200), wanted);
    assert_eq!(play("python update", python).await.with(200), r#"{"status":"ok","data":null}"#);
    let wanted = json!([{"tcp_packets_in": "14669", "tcp_packets_out": "10798",
        "udp_packets_in": "509", "udp_packets_out": "510", "checkTime": "20:00",
        "checkTimeInGMT": "1795377642000"}]);
    assert_eq!(Value::from(hub.day(2267).await), wanted);
    assert_eq!(play("python delete", python).await.with(200), r#"{"status":"ok","data":null}"#);
    assert_eq!(hub.get("getMonitors", &[]).await.with(200), "[]");
    let perl = play("perl create", "perl-monitis-api/0.92").await;
    assert_eq!(perl.with(200), r#"{"status":"ok","data":2268}"#);
    let info = hub.get("getMonitorInfo", &[("monitorId", "2268")]).await.json();
    assert_eq!((&info["type"], &info["resultParams"][0]["uom"]), (&json!("foo"), &json!("N/A")));
    hub.database("UPDATE monitors SET id = 2267 WHERE id = 2268; UPDATE fields SET monitor_id = 2267; DELETE FROM fields");
    let java = play("java update", "Jakarta Commons-HttpClient/3.1").await;
    assert_eq!(java.with(200), r#"{"status":"ok","data":null}"#);
    let day = hub.day(2267).await;
    assert_eq!(day.len(), 1, "what was deleted is gone: {day:?}");
    assert_eq!((&day[0]["response"], &day[0]["status"]), (&json!("25"), &json!("ok")), "{day:?}");
    // Its token was another hub's.
    let bash = play("bash create", "curl/7.88.1").await;
    assert_eq!(bash.json()["errorCode"], 4, "{bash:?}");
    hub.stop().await;
}
