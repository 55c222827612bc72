//! Whatever comes, there is an answer of 2xx or 4xx, and the hub goes on.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use super::support::{API_KEY, CUSTOM, KEY, checksum, form, quote, start};

const SECRET: &str = super::support::SECRET;

fn action() -> impl Strategy<Value = String> {
    let known = [
        "addMonitor",
        "editMonitor",
        "deleteMonitor",
        "suspendMonitors",
        "activateMonitors",
        "addResult",
        "addAdditionalResults",
        "getMonitors",
        "getMonitorInfo",
        "getMonitorResults",
        "getReport",
        "getAdditionalResults",
        "getAdditionalDataReport",
        "authToken",
        "apikey",
        "secretkey",
        "userkey",
    ];
    prop_oneof![
        known.len() as u32 => prop::sample::select(known.map(str::to_owned).to_vec()),
        1 => "[ -~]{0,12}",
    ]
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z0-9]{1,3}:[a-zA-Z ]{0,5}:[a-z/%]{0,3}:[0-9a-z]{0,2}(;|:true:\\[[0-9,\"]{0,5}\\]|)",
        "[a-z0-9%:;+\\[\\]{}\"]{0,30}",
        "-?[0-9]{1,20}",
        "\\PC{0,20}",
        Just("1".to_owned()),
        Just("1795377642000".to_owned()),
        Just("a:1;b:x".to_owned()),
    ]
}

#[test]
fn no_request_makes_the_interfaces_fail() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let hub = runtime.block_on(start());
    let names = prop_oneof![
        Just("name"),
        Just("tag"),
        Just("resultParams"),
        Just("monitorParams"),
        Just("additionalResultParams"),
        Just("monitorId"),
        Just("monitorIds"),
        Just("checktime"),
        Just("results"),
        Just("additionalResults"),
        Just("multiValue"),
        Just("isMultiValue"),
        Just("excludeHidden"),
        Just("type"),
        Just("year"),
        Just("month"),
        Just("day"),
        Just("timezone"),
        Just("dateFrom"),
        Just("dateTo"),
        Just("interval"),
        Just("intervalType"),
        Just("output"),
    ];
    let params = proptest::collection::btree_map(names, value(), 0..8);
    let config = Config { cases: 500, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new(config);
    let wanted = (action(), params, any::<bool>());
    runner
        .run(&wanted, |(action, params, post)| {
            let mut all = vec![("apikey", API_KEY), ("action", &*action)];
            all.extend(params.iter().map(|(name, value)| (*name, value.as_str())));
            if action == "authToken" {
                all.push(("secretkey", SECRET));
            }
            let sum = checksum(SECRET, &all);
            let body = format!("{}&checksum={}", form(&all), quote(&sum));
            let reply = runtime.block_on(async {
                if post {
                    hub.call("POST", CUSTOM, &body).await
                } else {
                    hub.call("GET", &format!("{CUSTOM}?{body}"), "").await
                }
            });
            prop_assert!(
                (200..300).contains(&reply.status) || (400..500).contains(&reply.status),
                "{reply:?}"
            );
            let known = reply.body != r#"{"error":"Authentication failure"}"#;
            prop_assert!(known, "{body}");
            Ok(())
        })
        .unwrap();

    hub.database(
        "INSERT INTO plugin_keys (key, account_id, plugin, created_ms)
         VALUES ('904605aa-e577-4f66-88c5-4de907535072', 1, 'p', 0)",
    );
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
        Just(json!("integer")),
        Just(json!("%")),
    ];
    let tree = leaf.prop_recursive(4, 40, 6, |inner| {
        let key = prop_oneof![
            "[a-z_-]{1,6}",
            Just("value".to_owned()),
            Just("type".to_owned()),
            Just("metric_name".to_owned()),
            Just("row_name".to_owned())
        ];
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(key, inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    });
    let mut runner =
        TestRunner::new(Config { cases: 200, failure_persistence: None, ..Config::default() });
    runner
        .run(&(tree, "[a-z]{0,3}"), |(metrics, host)| {
            let body = json!({"account_key": KEY, "server_name": host,
                "plugins": {"904605aa-e577-4f66-88c5-4de907535072": metrics}})
            .to_string();
            let reply = runtime.block_on(hub.call("POST", "/metrics", &body));
            prop_assert!(matches!(reply.status, 200 | 422), "{body}: {reply:?}");
            if reply.status == 200 {
                let answer = reply.json();
                let taken = &answer["plugins"]["904605aa-e577-4f66-88c5-4de907535072"];
                prop_assert_eq!(&taken["status"], "ok", "{}: {:?}", body, reply);
            }
            Ok(())
        })
        .unwrap();
    runtime.block_on(hub.stop());
}
