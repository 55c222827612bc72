//! What a whole hub says of old clients in its log, and what it does not.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::Site;

use super::support::{API_KEY, SECRET, form, send, signed, write_credentials};

#[tokio::test]
async fn the_log_has_no_query_and_few_lines_for_many_strangers() {
    let mut site = Site::new();
    let data = site.path("hub");
    write_credentials(&data);
    fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).unwrap();
    let words = ["hub", "-vv", "--listen", "127.0.0.1:0", "--data-dir", "hub"];
    let pid = site.start(site.command(&words), "hub.log");
    let addr = site.until("the hub's address", |site| {
        let text = fs::read_to_string(site.path("hub/credentials.json")).ok()?;
        let kept: serde_json::Value = serde_json::from_str(&text).ok()?;
        kept["url"].as_str()?.strip_prefix("http://").map(str::to_owned)
    });
    let request = |method: &str, target: &str, body: &str| {
        format!(
            "{method} {target} HTTP/1.1\r\nHost: monitis.com\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let token = format!("/api?action=authToken&apikey={API_KEY}&secretkey={SECRET}");
    let reply = send(&addr, request("GET", &token, "")).await;
    let given = reply.json()["authToken"].as_str().unwrap().to_owned();
    let made = signed("addMonitor", &[("name", "m"), ("tag", "t"), ("resultParams", "a:A::2")]);
    let java = send(&addr, request("POST", &format!("/customMonitorApi?{made}"), "")).await;
    assert_eq!(java.status, 200, "{java:?}");
    for n in 0..200 {
        let wrong = form(&[("apikey", &format!("WRONG{n}")), ("action", "addMonitor")]);
        assert_eq!(send(&addr, request("POST", "/customMonitorApi", &wrong)).await.status, 403);
        let body =
            format!("{{\"account_key\":\"WRONG{n}\",\"server_name\":\"s\",\"plugins\":{{}}}}");
        assert_eq!(send(&addr, request("POST", "/metrics", &body)).await.status, 401);
    }
    assert!(site.stop(pid).success(), "{}", site.read("hub.log"));
    let log = site.read("hub.log");
    for secret in [API_KEY, SECRET, &given, "checksum", "resultParams", "WRONG"] {
        assert!(!log.contains(secret), "{secret} in:\n{log}");
    }
    let lines = log.lines().filter(|line| line.contains("was not let in")).count();
    assert!((1..=2).contains(&lines), "a line a minute, and {lines} came:\n{log}");
}
