//! `schemas/openapi.v1.json` describes what is served: every path, and every answer.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::packages::{GOOD, NAME, archive};
use super::support::*;

fn description() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/openapi.v1.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// Methods and paths that the description has.
fn described() -> BTreeSet<(String, String)> {
    let description = description();
    let mut all = BTreeSet::new();
    for (path, item) in description["paths"].as_object().unwrap() {
        for method in METHODS {
            if item.get(method).is_some() {
                all.insert((method.to_owned(), path.clone()));
            }
        }
    }
    all
}

fn sources(folder: &Path, into: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|end| end == "rs") {
            into.push(fs::read_to_string(&path).unwrap());
        }
    }
}

/// Methods and paths of the API that the router is given, as the source says.
fn routed() -> BTreeSet<(String, String)> {
    let mut texts = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/hub"), &mut texts);
    let mut all = BTreeSet::new();
    for text in texts {
        for call in text.split(".route(").skip(1) {
            let call = call.trim_start();
            let Some(rest) = call.strip_prefix('"') else { continue };
            let (path, rest) = rest.split_once('"').unwrap();
            if !path.starts_with("/api/v1/")
                && !["/healthz", "/api/{version}/ingest"].contains(&path)
            {
                continue;
            }
            // Up to the end of the call.
            let mut open = 1;
            let end = rest.find(|c| {
                open += match c {
                    '(' => 1,
                    ')' => -1,
                    _ => 0,
                };
                open == 0
            });
            let handlers = &rest[..end.unwrap()];
            let path = path.replace("/api/{version}/", "/api/v1/");
            for method in METHODS {
                let begins = |at: usize| {
                    !handlers[..at].ends_with(|c: char| c.is_alphanumeric() || "_:".contains(c))
                };
                if handlers.match_indices(&format!("{method}(")).any(|(at, _)| begins(at)) {
                    all.insert((method.to_owned(), path.clone()));
                }
            }
        }
    }
    all
}

#[test]
fn every_route_is_described_and_every_description_has_a_route() {
    let (routed, described) = (routed(), described());
    assert!(routed.len() > 20, "the source is not read as it is written: {routed:?}");
    let missing: Vec<_> = routed.difference(&described).collect();
    assert!(missing.is_empty(), "not in schemas/openapi.v1.json: {missing:?}");
    let stale: Vec<_> = described.difference(&routed).collect();
    assert!(stale.is_empty(), "in schemas/openapi.v1.json only: {stale:?}");
}

/// All that a description refers to.
fn refs(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                match value.as_str() {
                    Some(to) if name == "$ref" => {
                        into.insert(to.to_owned());
                    }
                    _ => refs(value, into),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| refs(item, into)),
        _ => {}
    }
}

#[test]
fn the_description_is_whole() {
    let description = description();
    assert_eq!(description["openapi"], "3.1.0");
    // Whatever is referred to is there.
    let mut all = BTreeSet::new();
    refs(&description, &mut all);
    for to in &all {
        let pointer = to.strip_prefix('#').unwrap();
        assert!(description.pointer(pointer).is_some(), "{to} is nowhere");
    }
    for name in description["components"]["schemas"].as_object().unwrap().keys() {
        assert!(all.contains(&format!("#/components/schemas/{name}")), "{name} is of no use");
        let _good =
            validator(&description, &json!({"$ref": format!("#/components/schemas/{name}")}));
    }
    for (path, item) in description["paths"].as_object().unwrap() {
        let declared: BTreeSet<String> = item["parameters"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|parameter| parameter["name"].as_str().unwrap().to_owned())
            .collect();
        let wanted: BTreeSet<String> = path
            .split('/')
            .filter_map(|part| Some(part.strip_prefix('{')?.strip_suffix('}')?.to_owned()))
            .collect();
        assert_eq!(declared, wanted, "{path}");
    }
}

fn validator(description: &Value, schema: &Value) -> jsonschema::Validator {
    let mut whole = schema.clone();
    whole["components"] = description["components"].clone();
    jsonschema::options()
        .with_draft(jsonschema::Draft::Draft202012)
        .build(&whole)
        .unwrap_or_else(|error| panic!("{error}: {schema}"))
}

/// Asks, and holds what is sent and what comes back against the description.
struct Checked<'h> {
    hub: &'h Running,
    description: Value,
    /// What was answered with yes.
    done: BTreeSet<(String, String)>,
}

impl Checked<'_> {
    /// `path` is as in the description; `with` are the values of its parameters.
    async fn ask(
        &mut self,
        method: &str,
        path: &str,
        with: &[&str],
        body: Option<Value>,
    ) -> Answer {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let operation = &self.description["paths"][path][method];
        assert!(operation.is_object(), "{method} {path} is not described");
        let mut parts = with.iter();
        let real: Vec<&str> = path
            .split('/')
            .map(|part| if part.starts_with('{') { parts.next().unwrap() } else { part })
            .collect();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let name = pair.split('=').next().unwrap();
            let known = operation["parameters"]
                .as_array()
                .is_some_and(|all| all.iter().any(|p| p["name"] == *name));
            assert!(known, "{method} {path}: the parameter `{name}` is not described");
        }
        let mut request = self
            .hub
            .request(&method.to_uppercase(), &format!("{}?{query}", real.join("/")))
            .bearer_auth(&self.hub.credentials.key);
        let zipped = &operation["requestBody"]["content"]["application/zip"];
        if zipped.is_object() {
            let archive = archive(real[real.len() - 1], GOOD);
            request = request.header("content-type", "application/zip").body(archive);
        }
        let sent_well = body.as_ref().map(|body| {
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            assert!(schema.is_object(), "{method} {path} takes no body");
            validator(&self.description, schema).is_valid(body)
        });
        if let Some(body) = &body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let answer = answer(request).await;
        let yes = answer.status < 300;
        if yes {
            assert_ne!(
                sent_well,
                Some(false),
                "{method} {path} takes what is described otherwise: {body:?}"
            );
            self.done.insert((method.to_owned(), path.to_owned()));
        }
        let responses = &operation["responses"];
        let response = match &responses[answer.status.to_string()] {
            Value::Null => &responses["default"],
            response => response,
        };
        let response = match response["$ref"].as_str() {
            Some(to) => self.description.pointer(&to[1..]).unwrap(),
            None => response,
        };
        assert!(response.is_object(), "{method} {path}: {} is not described", answer.status);
        let kind = answer.header("content-type").split(';').next().unwrap().to_owned();
        let content = &response["content"];
        if content.is_null() {
            assert!(answer.body.is_empty(), "{method} {path}: {}", answer.body);
            return answer;
        }
        let schema = &content[&kind]["schema"];
        assert!(schema.is_object(), "{method} {path}: `{kind}` is not described");
        let value = if kind.ends_with("json") { answer.json() } else { json!(answer.body) };
        let validator = validator(&self.description, schema);
        if let Some(error) = validator.iter_errors(&value).next() {
            panic!("{method} {path}: {error} at {}: {value:#}", error.instance_path());
        }
        answer
    }

    async fn yes(&mut self, method: &str, path: &str, with: &[&str], body: Option<Value>) -> Value {
        let answer = self.ask(method, path, with, body).await;
        assert!(answer.status < 300, "{method} {path}: {}", answer.body);
        serde_json::from_str(&answer.body).unwrap_or_default()
    }

    async fn no(
        &mut self,
        status: u16,
        code: &str,
        what: (&str, &str, &[&str]),
        body: Option<Value>,
    ) {
        let (method, path, with) = what;
        let answer = self.ask(method, path, with, body).await;
        assert_eq!(
            (answer.status, &answer.json()["code"]),
            (status, &json!(code)),
            "{}",
            answer.body
        );
    }
}

#[tokio::test]
async fn every_answer_is_as_described() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let mut c = Checked { hub: &hub, description: description(), done: BTreeSet::new() };
    c.yes("get", "/healthz", &[], None).await;
    let served = c.yes("get", "/api/v1/openapi.json", &[], None).await;
    assert_eq!(served, description());

    let mut bad = report(2, NOW + 1, used(3.5));
    bad["rejected"] = json!([{"code": "not-json", "path": "", "line": 1, "column": 1, "value": "x", "message": "m", "hint": "h"}]);
    bad["counts"] = json!({"produced": 2, "accepted": 1, "rejected": {"not-json": 1}});
    bad["outcome"] = json!({"kind": "signaled", "signal": 9});
    bad["status"] = json!("critical");
    bad["contract"] = json!({"metrics": {"disk_used": {"type": "percent", "warn": 80}}, "strict": false, "schema": false, "timeout": 10});
    let batch = Stream::new().batch(vec![report(1, NOW, used(71.2)), bad]);
    c.yes("post", "/api/v1/ingest", &[], Some(batch)).await;
    c.no(422, "shape", ("post", "/api/v1/ingest", &[]), Some(json!({}))).await;
    c.yes("get", "/api/v1/plugins", &[], None).await;
    c.yes("get", "/api/v1/series?limit=1", &[], None).await;
    c.yes("get", "/api/v1/runs?host=web-1", &[], None).await;
    c.yes("get", "/api/v1/points?host=web-1&plugin=disk&tag=mount:/", &[], None).await;
    c.no(400, "parameter", ("get", "/api/v1/points", &[]), None).await;
    c.yes("get", "/api/v1/contract?host=web-1&plugin=disk", &[], None).await;
    let stranger = ("get", "/api/v1/contract?host=web-1&plugin=other", [].as_slice());
    c.no(404, "contract-unknown", stranger, None).await;

    let monitors = "/api/v1/monitors";
    let one = "/api/v1/monitors/{id}";
    let new = json!({
        "name": "netstat_mon", "tags": ["netstat"], "multi_value": true,
        "metrics": [
            {"name": "n", "label": "N", "unit": "pkts/s", "type": "integer", "aggregation": "max"},
            {"name": "s", "type": "string", "values": ["up", "down"]},
        ],
        "additional": [{"name": "details", "type": "string"}],
        "parameters": [{"name": "port", "type": "integer", "value": "80", "hidden": true}],
    });
    let made = c.yes("post", monitors, &[], Some(new.clone())).await;
    let id = made["id"].to_string();
    let id = id.as_str();
    c.no(409, "monitor-exists", ("post", monitors, &[]), Some(new.clone())).await;
    let again = c.ask("post", "/api/v1/monitors?if_missing=true", &[], Some(new)).await;
    assert_eq!(again.status, 200);
    c.no(422, "monitor-invalid", ("post", monitors, &[]), Some(json!({"name": ""}))).await;
    c.no(422, "shape", ("post", monitors, &[]), Some(json!({"name": "x", "metric": []}))).await;
    let all = c.yes("get", "/api/v1/monitors?q=n&limit=10", &[], None).await;
    assert_eq!(all["items"].as_array().unwrap().len(), 1);
    c.yes("get", "/api/v1/monitors?from=agent", &[], None).await;
    c.yes("patch", one, &["netstat_mon"], Some(json!({"tags": ["a", "b"]}))).await;
    c.no(404, "monitor-unknown", ("patch", one, &["99"]), Some(json!({}))).await;

    let results = "/api/v1/monitors/{id}/results";
    let rows = json!({"results": [
        {"time": NOW, "values": {"n": [1, 2, null], "s": "up"}, "additional": [{"details": "x"}]},
        {"time": "2026-11-22T21:42:09.5+01:00", "values": {"n": u64::MAX}},
    ]});
    let posted = c.yes("post", results, &[id], Some(rows)).await;
    assert_eq!(posted, json!({"results": 2, "values": 5}));
    c.yes("post", results, &[id], Some(json!({"values": {"n": 3}}))).await;
    c.no(
        422,
        "results-refused",
        ("post", results, &[id]),
        Some(json!({"values": {"n": 1.5, "x": 1}})),
    )
    .await;
    c.no(422, "shape", ("post", results, &[id]), Some(json!({}))).await;
    c.yes("get", &format!("{results}?limit=1"), &[id], None).await;
    let csv = c.ask("get", &format!("{results}?format=csv&limit=1"), &[id], None).await;
    assert!(csv.body.starts_with("time,tag:row,n,s\n"), "{}", csv.body);
    assert!(csv.header("talaia-next").parse::<i64>().is_ok());
    let path = "/api/v1/monitors/{id}/report";
    c.yes(
        "get",
        &format!("{path}?interval=5min&day=2026-11-22&offset=60&aggregation=sum"),
        &[id],
        None,
    )
    .await;
    c.no(400, "parameter", ("get", &format!("{path}?interval=week"), &[id]), None).await;
    let path = "/api/v1/monitors/{id}/additional";
    c.yes("post", path, &[id], Some(json!({"rows": [{"details": "y"}]}))).await;
    c.yes("get", path, &[id], None).await;
    c.yes("post", "/api/v1/monitors/{id}/suspend", &[id], None).await;
    c.no(409, "monitor-suspended", ("post", results, &[id]), Some(json!({"values": {"n": 3}})))
        .await;
    c.yes("get", &format!("{one}?counts=true"), &[id], None).await;
    c.yes("get", monitors, &[], None).await;
    c.yes("post", "/api/v1/monitors/{id}/activate", &[id], None).await;
    c.yes("delete", one, &[id], None).await;
    c.no(404, "monitor-unknown", ("delete", one, &[id]), None).await;

    let key = json!({"name": "web-1", "scopes": ["read"], "expires": null});
    let made = c.yes("post", "/api/v1/keys", &[], Some(key)).await;
    c.yes("get", "/api/v1/key", &[], None).await;
    c.yes("get", "/api/v1/keys", &[], None).await;
    c.yes("post", "/api/v1/keys/{name}/rotate", &["web-1"], Some(json!({"grace": 60}))).await;
    c.yes("delete", "/api/v1/keys/{name}?force=false", &["web-1"], None).await;
    assert!(made["key"].is_string());
    let made = c.yes("post", "/api/v1/plugin-keys", &[], Some(json!({"plugin": "disk"}))).await;
    c.yes("get", "/api/v1/plugin-keys", &[], None).await;
    let key = made["key"].as_str().unwrap().to_owned();
    c.yes("delete", "/api/v1/plugin-keys/{key}", &[&key], None).await;
    c.yes("post", "/api/v1/secret-key/rotate", &[], None).await;
    packages(&mut c).await;
    c.yes("get", "/api/v1/audit?action=monitor&limit=3", &[], None).await;

    let left: Vec<_> = described().difference(&c.done).cloned().collect();
    assert!(left.is_empty(), "nothing of these was looked at: {left:?}");
    hub.stop().await;
}

/// Packages, from their names to their end.
async fn packages(c: &mut Checked<'_>) {
    let (all, one) = ("/api/v1/packages", "/api/v1/packages/{name}/versions/{version}");
    let at = |rest: &str| format!("{one}{rest}");
    let new = json!({"name": NAME, "description": "Looks at web sites", "category": "web"});
    c.yes("post", all, &[], Some(new.clone())).await;
    c.yes("post", all, &[], Some(new)).await;
    c.no(422, "package", ("post", all, &[]), Some(json!({"name": "x", "category": "y"}))).await;
    for version in ["0.1.0", "0.2.0"] {
        let with = [NAME, version];
        c.yes("put", one, &with, None).await;
        c.yes("post", &at("/submit"), &with, None).await;
        c.no(409, "package", ("put", one, &with), None).await;
        c.yes("post", &at("/review"), &with, None).await;
        c.yes("put", &at("/trial"), &with, Some(json!({"runs": 1}))).await;
        c.yes("get", &at("/approval"), &with, None).await;
        c.yes("post", &at("/approve"), &with, None).await;
        c.yes("get", &at("/archive"), &with, None).await;
        c.yes("get", &at("/diff"), &with, None).await;
        c.yes("get", &at("/file?path=README.md"), &with, None).await;
        c.yes("get", &at("/withdrawal"), &with, None).await;
    }
    c.yes("get", &at("/diff?against=0.2.0"), &[NAME, "0.1.0"], None).await;
    c.yes("post", &at("/withdraw"), &[NAME, "0.2.0"], None).await;
    let with = [NAME, "0.3.0"];
    c.yes("put", one, &with, None).await;
    c.yes("post", &at("/submit"), &with, None).await;
    c.yes("post", &at("/reject"), &with, Some(json!({"reason": "no"}))).await;
    c.yes("get", one, &with, None).await;
    c.yes("get", "/api/v1/packages?state=rejected&limit=1", &[], None).await;
    c.yes("get", "/api/v1/packages/{name}", &[NAME], None).await;
    c.no(404, "no-package", ("get", "/api/v1/packages/{name}", &["none"]), None).await;
    c.yes("get", "/api/v1/registry", &[], None).await;
    c.yes("post", "/api/v1/registry/rotate", &[], None).await;
}

#[tokio::test]
async fn other_methods_are_refused_and_other_paths_are_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let described = described();
    let paths: BTreeSet<&String> = described.iter().map(|(_, path)| path).collect();
    for path in paths {
        let real = path
            .replace("{id}", "99")
            .replace("{name}", "none")
            .replace("{version}", "0.1.0")
            .replace("{key}", "904605aa-e577-4f66-8f1d-111111111111");
        for method in METHODS {
            let request =
                hub.request(&method.to_uppercase(), &real).bearer_auth(&hub.credentials.key);
            let answer = answer(request).await;
            let known = described.contains(&(method.to_owned(), path.clone()));
            assert_eq!(answer.status != 405, known, "{method} {path}: {}", answer.status);
            assert!(
                answer.status != 404 || answer.json()["code"] != "not-found",
                "{method} {path}"
            );
        }
    }
    for path in ["/api/v1/monitor", "/api/v1/monitors/1/result", "/api/v1", "/api/v2/monitors"] {
        let answer = hub.get(path).await;
        assert_eq!((answer.status, &answer.json()["code"]), (404, &json!("not-found")), "{path}");
    }
    hub.stop().await;
}
