//! `talaia monitor` against a real hub: the story of the netstat monitor, and what else a person does.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::{Done, Site, finish};

/// A hub of its own, and `talaia monitor` for it.
struct Hub {
    site: Site,
    url: String,
}

impl Hub {
    fn start() -> Self {
        let mut site = Site::new();
        let serve = ["hub", "--listen", "127.0.0.1:0", "--data-dir", "hub"];
        site.start(site.command(&serve), "hub.log");
        let url = site.until("credentials", |site| {
            let credentials: Value =
                serde_json::from_str(&site.read("hub/credentials.json")).ok()?;
            Some(credentials["url"].as_str()?.to_owned())
        });
        Self { site, url }
    }

    fn words<'a>(&'a self, words: &[&'a str]) -> Vec<&'a str> {
        let mut all = vec!["monitor"];
        all.extend(words);
        all.extend(["--hub", &self.url, "--key-file", "hub/credentials.json"]);
        all
    }

    fn monitor(&self, words: &[&str]) -> Done {
        self.site.talaia(&self.words(words))
    }

    /// What a command that must succeed prints.
    #[track_caller]
    fn prints(&self, words: &[&str]) -> String {
        let done = self.monitor(words);
        done.code(0);
        done.stdout
    }

    /// The results of a monitor as JSON, one for each line.
    #[track_caller]
    fn rows(&self, words: &[&str]) -> Vec<Value> {
        let mut all = vec!["results"];
        all.extend(words);
        all.extend(["--format", "json"]);
        self.prints(&all).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

const NETSTAT: [&str; 8] = [
    "--metric",
    "tcp_packets_in:TCP Packets In:pkts:counter",
    "--metric",
    "tcp_packets_out:TCP Packets Out:pkts:counter",
    "--metric",
    "udp_packets_in:UDP Packets In:pkts:counter",
    "--metric",
    "udp_packets_out:UDP Packets Out:pkts:counter",
];

#[test]
fn the_story_of_the_netstat_monitor() {
    let hub = Hub::start();
    let mut create = vec!["create", "netstat_mon", "--tag", "netstat"];
    create.extend(NETSTAT);
    let created = hub.monitor(&create);
    created.code(0).says(&["Created monitor: 1", &format!("{}/monitor/1", hub.url)]);
    assert_eq!(created.stdout, "1\n");
    assert_eq!(hub.prints(&["list"]), "1\tnetstat_mon\n");
    hub.monitor(&create).code(1).says(&["netstat_mon", "1"]);
    create.push("--if-missing");
    hub.monitor(&create).code(0).says(&["There is already monitor: 1"]);

    // Ten times within five minutes of one day.
    let day = "2026-11-20";
    let mut sent = Vec::new();
    for n in 0..10_u64 {
        let time = format!("{day}T12:{:02}:{:02}.000Z", n / 2, n % 2 * 30);
        let values = json!({
            "tcp_packets_in": 1_253_222 + n, "tcp_packets_out": 1_616_400 + 2 * n,
            "udp_packets_in": 381_497 + 3 * n, "udp_packets_out": 551_524 + 4 * n,
        });
        let words: Vec<String> = values
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let mut add = vec!["add-result", "netstat_mon", "--time", &time];
        add.extend(words.iter().map(String::as_str));
        hub.monitor(&add).code(0);
        sent.push(json!({"time": time, "values": values}));
    }
    assert_eq!(hub.rows(&["netstat_mon", "--day", day]), sent, "the same that was put in");
    assert!(hub.rows(&["1", "--day", "2026-11-19"]).is_empty());
    assert!(hub.rows(&["1", "--day", "2026-11-21"]).is_empty());
    let table = hub.prints(&["results", "1", "--day", day]);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 11);
    let head: Vec<&str> = lines[0].split_whitespace().collect();
    let names = ["time", "tcp_packets_in", "tcp_packets_out", "udp_packets_in", "udp_packets_out"];
    assert_eq!(head, names, "in the order in which they were declared");
    let csv = hub.prints(&["results", "1", "--day", day, "--format", "csv"]);
    assert!(csv.starts_with("time,tcp_packets_in,tcp_packets_out,udp_packets_in,udp_packets_out\n2026-11-20T12:00:00.000Z,1253222,1616400,381497,551524\n"), "{csv}");
    // Counters come as rates: one packet in 30 s.
    let report = ["report", "1", "--day", day, "--interval", "5min", "--format", "json"];
    let rows: Vec<Value> =
        hub.prints(&report).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["time"], format!("{day}T12:00:00.000Z"));
    let rate = rows[0]["values"]["tcp_packets_in"].as_f64().unwrap();
    assert!((rate - 1.0 / 30.0).abs() < 1e-12, "{rate}");

    let shown = hub.prints(&["show", "netstat_mon"]);
    for words in ["netstat_mon", "TCP Packets In", "counter", "10 results (40 values)"] {
        assert!(shown.contains(words), "no `{words}` in:\n{shown}");
    }
    hub.monitor(&["delete", "netstat_mon"]).code(2).says(&["10 results (40 values)", "--yes"]);
    assert_eq!(hub.prints(&["list"]), "1\tnetstat_mon\n");
    let deleted = hub.monitor(&["delete", "netstat_mon", "--yes"]);
    deleted.code(0).says(&["Monitor 1 deleted", "10 results"]);
    assert_eq!(hub.prints(&["list"]), "");
    hub.monitor(&["results", "1", "--day", day]).code(1).says(&["no monitor `1`"]);
    hub.monitor(&["show", "netstat_mon"]).code(1);
}

#[test]
fn an_export_reads_back_as_it_was() {
    let hub = Hub::start();
    let all = [
        "create",
        "all",
        "--multi-value",
        "--tag",
        "a",
        "--tag",
        "b",
        "--metric",
        "i:integer",
        "--metric",
        "f:float",
        "--metric",
        "p:percent",
        "--metric",
        "c:counter",
        "--metric",
        "b:boolean",
        "--metric",
        "s:string",
    ];
    assert_eq!(hub.prints(&all), "1\n");
    let text = "say \"a\",\n=b;c:d é\r";
    let first = [
        "add-result",
        "all",
        "--time",
        "2026-11-20T00:00:00Z",
        "i=18446744073709551615",
        "f=0.1",
        "p=171.25",
        "c=18446744073709551615",
        "b=true",
        &format!("s={text}"),
        "--additional",
        r#"[{"details": "x", "n": 1.5}]"#,
    ];
    hub.monitor(&first).code(0);
    let last = [
        "add-result",
        "all",
        "--time",
        "2026-11-20T23:59:59.999Z",
        "i=-9223372036854775808",
        "f=-0.30000000000000004",
    ];
    hub.monitor(&last).code(0);
    hub.monitor(&[
        "add-result",
        "all",
        "--time",
        "2026-11-21T00:00:00Z",
        "i=1",
        "i=2",
        "i=null",
        "b=0",
    ])
    .code(0);
    let rows = hub.rows(&["all", "--day", "2026-11-20"]);
    assert_eq!(rows.len(), 2, "the first and last millisecond of a day are in it");
    assert_eq!(
        rows[0]["values"],
        json!({"i": u64::MAX, "f": 0.1, "p": 171.25, "c": u64::MAX, "b": true, "s": text})
    );
    assert_eq!(rows[1]["values"], json!({"i": i64::MIN, "f": -0.300_000_000_000_000_04}));
    let next = hub.rows(&["all", "--day", "2026-11-21"]);
    assert_eq!(next.len(), 2, "a gap alone is no row: {next:?}");
    assert_eq!(
        next[1],
        json!({"time": "2026-11-21T00:00:00.000Z", "tags": {"row": "2"}, "values": {"i": 2}})
    );
    let csv = hub.prints(&["results", "all", "--day", "2026-11-20", "--format", "csv"]);
    let quoted = format!("\"{}\"", text.replace('"', "\"\""));
    assert_eq!(
        csv,
        format!(
            "time,tag:row,i,f,p,c,b,s\n2026-11-20T00:00:00.000Z,,18446744073709551615,0.1,171.25,18446744073709551615,true,{quoted}\n2026-11-20T23:59:59.999Z,,-9223372036854775808,-0.30000000000000004,,,,\n"
        )
    );
    let everything = hub.rows(&["all", "--from", "2026-11-01T00:00:00Z"]);

    // CSV has no place for additional results: nothing goes, and it takes results as before.
    let refused = hub.monitor(&["delete", "1", "--yes", "--export", "all.csv"]);
    refused.code(2).says(&["1 additional result", ".json"]);
    assert_eq!(hub.prints(&["list", "--suspended"]), "");
    let deleted = hub.monitor(&["delete", "1", "--yes", "--export", "all.json"]);
    deleted.code(0).says(&["4 results written to all.json", "Monitor 1 deleted"]);
    let export: Value = serde_json::from_str(&hub.site.read("all.json")).unwrap();
    assert_eq!(export["results"], json!(everything));
    assert_eq!(export["monitor"]["tags"], json!(["a", "b"]));
    assert_eq!(export["additional"][0]["rows"], json!([{"details": "x", "n": 1.5}]));

    let mut again = all.to_vec();
    again[1] = "again";
    assert_eq!(hub.prints(&again), "2\n");
    hub.monitor(&["add-result", "again", "--file", "all.json"]).code(0).says(&["4 results sent"]);
    assert_eq!(hub.rows(&["again", "--from", "2026-11-01T00:00:00Z"]), everything);
    let detail =
        hub.prints(&["results", "again", "--from", "2026-11-01T00:00:00Z", "--additional"]);
    assert_eq!(
        serde_json::from_str::<Value>(&detail).unwrap(),
        json!({"time": "2026-11-20T00:00:00.000Z", "rows": [{"details": "x", "n": 1.5}]})
    );
    // A file that is there already is not written over, and nothing goes then.
    hub.monitor(&["delete", "2", "--yes", "--export", "all.json"]).code(74).says(&["all.json"]);
    assert_eq!(hub.prints(&["list"]), "2\tagain\n");
    assert_eq!(hub.prints(&["list", "--suspended"]), "");
    let mut plain = all.to_vec();
    plain[1] = "plain";
    hub.prints(&plain);
    for nth in 0..2 {
        let time = format!("2026-11-20T00:00:0{nth}Z");
        hub.monitor(&["add-result", "plain", "s=a\nb", "--time", &time]).code(0);
    }
    let deleted = hub.monitor(&["delete", "plain", "--yes", "--export", "plain.csv"]);
    deleted.code(0).says(&["2 results written to plain.csv", "deleted"]);
    assert_eq!(hub.site.read("plain.csv").matches("a\nb").count(), 2);
}

#[test]
fn what_is_wrong_is_said_before_anything_is_stored() {
    let hub = Hub::start();
    hub.monitor(&[
        "create",
        "m",
        "--metric",
        "n:Count:x:integer:1,2,3:max",
        "--metric",
        "s:string",
    ])
    .code(0);
    let add = |words: &[&str]| {
        let mut all = vec!["add-result", "m"];
        all.extend(words);
        hub.monitor(&all)
    };
    add(&["n=1.5"]).code(2).says(&["n: `1.5` is not a whole number"]);
    add(&["n=7"]).code(2).says(&["value-range", "1, 2, 3"]);
    add(&["other=1"]).code(2).says(&["undeclared", "other"]);
    add(&["n=1", "--time", "2099-01-01T00:00:00Z"]).code(2).says(&["time-future", "10 minutes"]);
    add(&["n=1", "n=2"]).code(2).says(&["duplicate-series"]);
    add(&["n=1", "--additional", "{}"]).code(2).says(&["array of objects"]);
    add(&["n"]).code(2).says(&["NAME=VALUE"]);
    add(&[]).code(2);
    assert!(hub.rows(&["m", "--from", "1970-01-01T00:00:00Z"]).is_empty());
    hub.monitor(&["create", "x", "--metric", "a-b:integer"]).code(2).says(&["a_b"]);
    hub.monitor(&["create", "x", "--metric", "a:whole"]).code(2);
    hub.monitor(&["results", "m", "--day", "2026-02-30"]).code(2).says(&["day"]);
    hub.monitor(&["report", "m", "--interval", "week"]).code(2).says(&["5min"]);
    hub.monitor(&["edit", "m"]).code(2).says(&["--name"]);
    hub.monitor(&["add-result", "m", "--file", "none.json"]).code(65).says(&["none.json"]);
    hub.site.write("other.key", "k-123\n", 0o600);
    let nobody = hub.site.talaia(&[
        "monitor",
        "list",
        "--hub",
        "http://127.0.0.1:1",
        "--key-file",
        "other.key",
    ]);
    nobody.code(69);
}

#[test]
fn a_page_of_over_64_mib_is_printed() {
    let site = Site::new();
    site.write("some.key", "k-123\n", 0o600);
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", server.local_addr().unwrap());
    let rows = 17_000;
    let served = std::thread::spawn(move || {
        let (mut stream, _) = server.accept().unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.extend(byte);
        }
        let row = json!({"time": "t", "values": {"text": "x".repeat(4096)}}).to_string();
        let body = format!("{{\"items\":[{}],\"next\":null}}", vec![row; rows].join(","));
        assert!(body.len() > 64 << 20);
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body.as_bytes()).unwrap();
    });
    let words =
        ["monitor", "results", "m", "--format", "json", "--hub", &url, "--key-file", "some.key"];
    let done = site.talaia(&words);
    assert_eq!(done.code(0).stdout.lines().count(), rows);
    served.join().unwrap();
}

#[test]
fn a_monitor_is_changed_suspended_and_pruned() {
    let hub = Hub::start();
    hub.monitor(&["create", "m", "--metric", "n:integer", "--tag", "x"]).code(0);
    hub.monitor(&["create", "other"]).code(0);
    let edited = hub.monitor(&[
        "edit",
        "m",
        "--name",
        "renamed",
        "--tag",
        "y",
        "--type",
        "job",
        "--metric",
        "n:N:s:float",
        "--additional",
        "who:Who::string:ann,ben",
        "--json",
    ]);
    let after = edited.code(0).json();
    assert_eq!(
        (&after["name"], &after["tags"], &after["type"]),
        (&json!("renamed"), &json!(["y"]), &json!("job"))
    );
    assert_eq!(after["metrics"][0]["type"], "float");
    assert_eq!(after["additional"][0]["values"], json!(["ann", "ben"]));
    let time = |second: usize| format!("2026-11-22T20:42:{second:02}Z");
    let result = |second| json!({"time": time(second), "values": {"n": 1}});
    let mut all: Vec<Value> = (0..20).map(result).collect();
    all[17]["values"]["n"] = json!("one");
    let write = |file: &str, results: &[Value], additional: Value| {
        let all = json!({"results": results, "additional": additional}).to_string();
        hub.site.write(file, &all, 0o600);
    };
    write("wrong.json", &all, json!([]));
    hub.monitor(&["add-result", "renamed", "--file", "wrong.json"])
        .code(2)
        .says(&["result 18 of the file, at 2026-11-22T20:42:17Z", "the 0 before them"]);
    let who = |second, who| json!({"time": time(second), "rows": [{"who": who}]});
    write("wrong.json", &[], json!([who(0, "ann"), who(1, "cid")]));
    hub.monitor(&["add-result", "renamed", "--file", "wrong.json"])
        .code(2)
        .says(&["additional result 2 of the file, at 2026-11-22T20:42:01Z"]);
    hub.monitor(&["edit", "renamed", "--type", "custom", "--name", "other"])
        .code(1)
        .says(&["other"]);
    assert_eq!(hub.prints(&["list", "--tag", "y"]), "1\trenamed\n");
    assert_eq!(hub.prints(&["list", "--search", "OTH", "--from", "direct"]), "2\tother\n");
    assert_eq!(hub.prints(&["list", "--from", "agent"]), "");

    hub.monitor(&["suspend", "renamed"]).code(0);
    hub.monitor(&["add-result", "renamed", "n=1"]).code(1).says(&["suspended", "activate"]);
    assert_eq!(hub.prints(&["list", "--suspended"]), "1\trenamed\n");
    hub.monitor(&["activate", "renamed"]).code(0);
    hub.monitor(&["add-result", "renamed", "n=1"]).code(0);

    hub.monitor(&["prune", "--unused", "1h"]).code(0).says(&["within 1h"]);
    hub.site.until("a moment", |_| {
        (!hub.prints(&["list", "--unused", "1ms"]).is_empty()).then_some(())
    });
    let dry = hub.monitor(&["prune", "--unused", "1ms", "--tag", "y"]);
    assert_eq!(dry.code(0).says(&["--yes"]).stdout, "1\trenamed\n");
    hub.monitor(&["prune", "--unused", "1ms", "--tag", "y", "--yes"])
        .code(0)
        .says(&["Monitor 1 deleted", "1 result "]);
    assert_eq!(hub.prints(&["list"]), "2\tother\n");
    let audit = hub.site.talaia(&[
        "keys",
        "audit",
        "--json",
        "--action",
        "monitor",
        "--hub",
        &hub.url,
        "--key-file",
        "hub/credentials.json",
    ]);
    let actions: Vec<String> = audit
        .code(0)
        .stdout
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["action"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(
        actions,
        [
            "monitor.delete",
            "monitor.activate",
            "monitor.suspend",
            "monitor.edit",
            "monitor.create",
            "monitor.create"
        ]
    );
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let hub = Hub::start();
    hub.monitor(&["create", "m", "--metric", "n:integer"]).code(0);
    let rows: Vec<Value> =
        (0..30_000).map(|n| json!({"time": 1_700_000_000 + n, "values": {"n": n}})).collect();
    hub.site.write("many.json", json!({"results": rows}).to_string(), 0o600);
    hub.monitor(&["add-result", "m", "--file", "many.json"]).code(0).says(&["30000 results sent"]);
    let mut command = hub.site.command(&hub.words(&[
        "results",
        "m",
        "--from",
        "2023-11-14T00:00:00Z",
        "--format",
        "csv",
    ]));
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
    // All pages, and names only once.
    let all = finish(
        hub.site.command(&hub.words(&[
            "results",
            "m",
            "--from",
            "2023-11-14T00:00:00Z",
            "--format",
            "csv",
        ])),
        b"",
    );
    assert_eq!(all.code(0).stdout.lines().count(), 30_001);
    assert_eq!(all.stdout.matches("time").count(), 1);
}

#[test]
fn a_suspended_plugins_reports_are_in_its_agents_ledger() {
    let mut site = Site::new();
    site.script("p.sh", "echo '{\"n\": 1}'");
    site.configure(
        "[hub]\nlisten = \"127.0.0.1:0\"\n[plugins.p]\ncommand = [\"./p.sh\"]\ninterval = \"1s\"\n",
    );
    let pid = site.start_agent();
    let monitor = |site: &Site, words: &[&str]| {
        let all: Vec<&str> =
            ["monitor"].iter().chain(words).copied().chain(["-c", "talaia.toml"]).collect();
        site.talaia(&all)
    };
    site.until("the plugin's monitor", |site| {
        (monitor(site, &["list"]).stdout == "1\tp@test-host\n").then_some(())
    });
    monitor(&site, &["suspend", "p@test-host"]).code(0);
    site.until("a refused report", |site| {
        let outputs = site.status()?["outputs"].as_object()?.clone();
        outputs.values().any(|o| o["evicted"]["refused"].as_u64() > Some(0)).then_some(())
    });
    let held = |site: &Site| {
        let rows = monitor(site, &["results", "1", "--format", "csv"]);
        rows.code(0).stdout.lines().count()
    };
    let before = held(&site);
    monitor(&site, &["activate", "1"]).code(0);
    site.until("a result again", |site| (held(site) > before).then_some(()));
    assert!(site.stop(pid).success(), "{}", site.read("agent.log"));
    site.ledger();
}
