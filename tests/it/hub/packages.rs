//! Packages by the API: who may hand in, look and decide, and what is given out.

use serde_json::{Value, json};
use talaia::hub::{Clock, backup, create_account, restore, verify};
use talaia::package::{
    Contents, Envelope, FileMode, Index, ListedVersion, PackageFile, Rotation, SigningKey, Trust,
    pack,
};

use super::support::*;

/// The package that these tests hand in. Its name has a hyphen, as its file's names have.
pub(super) const NAME: &str = "web-check";
const PACKAGES: &str = "/api/v1/packages";

/// An archive of `web-check`; `program` is what its one command runs.
pub(super) fn archive(version: &str, program: &str) -> Vec<u8> {
    let manifest = format!(
        "name = '{NAME}'\nversion = '{version}'\ndescription = 'Looks at web sites'\n\
         authors = ['The Talaia project']\nlicense = 'MIT'\ncategory = 'web'\n\
         homepage = 'https://example.org/web-check'\n[commands.look]\ncommand = ['bin/look']\n\
         interval = '30s'\n[commands.look.metrics.web_ok]\ntype = 'boolean'\nlabel = 'Site answers'\n\
         [commands.look.metrics.web_time]\ntype = 'float'\nunit = 's'\n"
    );
    packed(
        NAME,
        &manifest,
        &[("bin/look", program), ("README.md", "# web-check\n\nLooks at sites.\n")],
    )
}

pub(super) fn packed(name: &str, manifest: &str, files: &[(&str, &str)]) -> Vec<u8> {
    let file = |path: &str, text: &str| PackageFile {
        path: path.to_owned(),
        mode: if path.starts_with("bin/") { FileMode::Executable } else { FileMode::Plain },
        bytes: text.as_bytes().to_vec(),
    };
    let mut all = vec![file("talaia-plugin.toml", manifest)];
    all.extend(files.iter().map(|(path, text)| file(path, text)));
    pack(&name.parse().unwrap(), &Contents::new(all).unwrap()).unwrap()
}

pub(super) const GOOD: &str = "#!/bin/sh\necho '[]'\n";

pub(super) fn at(version: &str, rest: &str) -> String {
    format!("{PACKAGES}/{NAME}/versions/{version}{rest}")
}

impl Running {
    pub(super) async fn ask(&self, key: &str, method: &str, path: &str, body: Value) -> Answer {
        let request = self.request(method, path).bearer_auth(key);
        answer(match body {
            Value::Null => request,
            body => request.header("content-type", "application/json").body(body.to_string()),
        })
        .await
    }

    pub(super) async fn put(&self, key: &str, version: &str, archive: Vec<u8>) -> Answer {
        let request = self.request("PUT", &at(version, "")).bearer_auth(key);
        answer(request.header("content-type", "application/zip").body(archive)).await
    }

    /// Asks as the hub's own account; it must go well.
    pub(super) async fn well(&self, method: &str, path: &str, body: Value) -> Value {
        let done = self.ask(&self.credentials.key, method, path, body).await;
        assert!(done.status < 300, "{method} {path}: {}", done.body);
        serde_json::from_str(&done.body).unwrap_or_default()
    }

    pub(super) async fn handed_in(&self, version: &str) {
        let done = self.put(&self.credentials.key, version, archive(version, GOOD)).await;
        assert_eq!(done.status, 201, "{}", done.body);
        self.well("POST", &at(version, "/submit"), Value::Null).await;
    }

    async fn key_for(&self, name: &str, scopes: &[&str]) -> String {
        let body = json!({"name": name, "scopes": scopes});
        let made = self.well("POST", "/api/v1/keys", body).await;
        made["key"].as_str().unwrap().to_owned()
    }

    pub(super) async fn index(&self) -> Envelope {
        let got = answer(self.request("GET", "/plugins/index.json")).await;
        assert_eq!(got.status, 200, "{}", got.body);
        Index::envelope(got.body.as_bytes()).unwrap()
    }
}

fn refused(answer: &Answer, status: u16, code: &str) {
    let told = (answer.status, answer.json()["code"].as_str().unwrap_or_default().to_owned());
    assert_eq!(told, (status, code.to_owned()), "{}", answer.body);
}

#[tokio::test]
async fn publishing_does_not_give_review_nor_review_publishing() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    hub.handed_in("0.1.0").await;
    let doors = [
        ("read", "GET", PACKAGES.to_owned()),
        ("read", "GET", at("0.1.0", "")),
        ("read", "GET", at("0.1.0", "/archive")),
        ("read", "GET", at("0.1.0", "/diff")),
        ("read", "GET", at("0.1.0", "/file?path=README.md")),
        ("read", "GET", "/api/v1/registry".to_owned()),
        ("publish", "POST", PACKAGES.to_owned()),
        ("publish", "PUT", at("0.2.0", "")),
        ("publish", "POST", at("0.1.0", "/submit")),
        ("review", "POST", at("0.1.0", "/review")),
        ("review", "POST", at("0.1.0", "/reject")),
        ("review", "GET", at("0.1.0", "/approval")),
        ("review", "GET", at("0.1.0", "/withdrawal")),
        ("review", "PUT", at("0.1.0", "/trial")),
        ("admin", "POST", "/api/v1/registry/rotate".to_owned()),
        ("review", "POST", at("0.1.0", "/approve")),
    ];
    for scope in ["ingest", "read", "review", "admin", "publish"] {
        let key = hub.key_for(&format!("only-{scope}"), &[scope]).await;
        for (needs, method, path) in &doors {
            let told = hub.ask(&key, method, path, Value::Null).await;
            let shut = told.status == 403 && told.body.contains("\"scope\"");
            assert_eq!(shut, *needs != scope, "{scope}: {method} {path}: {}", told.body);
        }
        if !["review", "publish"].contains(&scope) {
            let told = hub.ask(&key, "POST", &at("0.1.0", "/withdraw"), Value::Null).await;
            refused(&told, 403, "scope");
        }
    }
    // A key that only publishes is no reviewer, though its account's people are.
    let key = hub.key_for("author", &["publish", "read"]).await;
    let seen = hub.ask(&key, "GET", PACKAGES, Value::Null).await.json();
    assert_eq!(seen["items"][0]["own"], true);
    hub.stop().await;
}

#[tokio::test]
async fn what_is_not_approved_no_other_account_sees_or_decides() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let other = create_account(folder.path(), "other", &Clock::from_fn(|| NOW)).unwrap().key;
    hub.handed_in("0.1.0").await;
    let paths = |rest: &[&str]| rest.iter().map(|rest| at("0.1.0", rest)).collect::<Vec<_>>();
    for path in paths(&["", "/archive", "/diff", "/file?path=README.md"]) {
        refused(&hub.ask(&other, "GET", &path, Value::Null).await, 404, "no-package");
    }
    let one = format!("{PACKAGES}/{NAME}");
    refused(&hub.ask(&other, "GET", &one, Value::Null).await, 404, "no-package");
    for query in ["", "?state=submitted", "?state=draft"] {
        let seen = hub.ask(&other, "GET", &format!("{PACKAGES}{query}"), Value::Null).await.json();
        assert_eq!(seen, json!({"items": [], "next": null}), "{query}");
    }
    for path in paths(&["/review", "/approve"]) {
        refused(&hub.ask(&other, "POST", &path, Value::Null).await, 403, "reviewer");
    }
    let told = hub.ask(&other, "POST", &at("0.1.0", "/reject"), json!({"reason": "mine"})).await;
    refused(&told, 403, "reviewer");
    for path in paths(&["/submit", "/withdraw"]) {
        refused(&hub.ask(&other, "POST", &path, Value::Null).await, 404, "no-package");
    }
    // Reviewing is not for that account, and withdrawing one's own takes another scope.
    let body = json!({"name": "only-review", "scopes": ["review"]});
    let made = hub.ask(&other, "POST", "/api/v1/keys", body).await.json();
    let reviews = made["key"].as_str().unwrap();
    let told = hub.ask(reviews, "POST", &at("0.1.0", "/withdraw"), Value::Null).await;
    refused(&told, 403, "scope");
    refused(&hub.ask(&other, "POST", PACKAGES, json!({"name": NAME})).await, 409, "package");
    refused(&hub.put(&other, "0.1.0", archive("0.1.0", GOOD)).await, 409, "package");
    refused(
        &hub.ask(&other, "POST", "/api/v1/registry/rotate", Value::Null).await,
        403,
        "reviewer",
    );
    // Approved, everybody sees it, and nobody else the key of its plugins.
    hub.well("POST", &at("0.1.0", "/approve"), Value::Null).await;
    let seen = hub.ask(&other, "GET", &one, Value::Null).await.json();
    assert_eq!((&seen["own"], seen.get("key")), (&json!(false), None));
    assert_eq!(hub.ask(&other, "GET", &at("0.1.0", "/diff"), Value::Null).await.status, 200);
    let row = hub.ask(&other, "GET", &at("0.1.0", ""), Value::Null).await.json();
    let inside = ["author", "reviewer", "note", "trial"].map(|name| row[name].clone());
    assert_eq!(inside, [json!(""), Value::Null, Value::Null, Value::Null]);
    hub.stop().await;
}

#[tokio::test]
async fn what_cannot_be_done_is_told_why() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let key = hub.credentials.key.clone();
    let good = archive("0.1.0", GOOD);
    let request = hub.request("PUT", &at("0.1.0", "")).bearer_auth(&key).body(good.clone());
    refused(&answer(request).await, 415, "media-type");
    refused(&hub.put(&key, "0.1.0", vec![0; (16 << 20) + 1]).await, 413, "too-large");
    let none = hub.put(&key, "0.1.0", b"PK no zip".to_vec()).await;
    refused(&none, 422, "archive");
    assert!(none.json()["findings"][0]["message"].is_string(), "{}", none.body);
    let other = hub.put(&key, "0.2.0", good.clone()).await;
    refused(&other, 422, "archive");
    assert!(other.body.contains("the archive is web-check 0.1.0"), "{}", other.body);
    for (name, version) in [("Web", "0.1.0"), (NAME, "one"), (NAME, "1.0.0+linux")] {
        let path = format!("{PACKAGES}/{name}/versions/{version}");
        let sent = hub.request("PUT", &path).bearer_auth(&key).body(good.clone());
        let told = answer(sent.header("content-type", "application/zip")).await;
        refused(&told, 422, "package");
    }
    let long = "d".repeat(201);
    for about in
        [json!({"category": "nice"}), json!({"description": long}), json!({"description": "a\nb"})]
    {
        let mut body = about.clone();
        body["name"] = json!(NAME);
        refused(&hub.ask(&key, "POST", PACKAGES, body).await, 422, "package");
    }
    refused(&hub.ask(&key, "POST", PACKAGES, json!({"name": "-"})).await, 422, "shape");
    refused(
        &hub.ask(&key, "GET", &format!("{PACKAGES}?state=good"), Value::Null).await,
        400,
        "parameter",
    );
    refused(&hub.ask(&key, "GET", &at("0.1.0", ""), Value::Null).await, 404, "no-package");

    // With errors it is kept, shown, and not handed in.
    let bad = hub.put(&key, "0.1.0", archive("0.1.0", "no first line\n")).await;
    assert_eq!((bad.status, &bad.json()["state"]), (201, &json!("draft")));
    assert_eq!(bad.json()["report"]["findings"][0]["path"], "bin/look");
    let errors = hub.ask(&key, "POST", &at("0.1.0", "/submit"), Value::Null).await;
    refused(&errors, 409, "package");
    assert!(errors.body.contains("#!"), "{}", errors.body);
    refused(&hub.ask(&key, "POST", &at("0.1.0", "/approve"), Value::Null).await, 409, "package");
    assert_eq!(hub.put(&key, "0.1.0", good.clone()).await.status, 201, "a draft is replaced");
    hub.well("POST", &at("0.1.0", "/submit"), Value::Null).await;
    refused(&hub.ask(&key, "POST", &at("0.1.0", "/submit"), Value::Null).await, 409, "package");
    refused(&hub.put(&key, "0.1.0", good.clone()).await, 409, "package");
    hub.well("POST", &at("0.1.0", "/review"), Value::Null).await;
    refused(
        &hub.ask(&key, "POST", &at("0.1.0", "/reject"), json!({"reason": " "})).await,
        422,
        "package",
    );
    refused(&hub.ask(&key, "POST", &at("0.1.0", "/reject"), Value::Null).await, 415, "media-type");
    refused(&hub.ask(&key, "PUT", &at("0.1.0", "/trial"), json!([])).await, 422, "shape");
    let large = json!({"x": "y".repeat(300 << 10)});
    refused(&hub.ask(&key, "PUT", &at("0.1.0", "/trial"), large).await, 413, "too-large");
    let sha256 = hub.get(&at("0.1.0", "")).await.json()["sha256"].clone();
    let other = json!("0".repeat(64));
    for (method, what, mut body) in [
        ("PUT", "/trial", json!({"runs": 2})),
        ("POST", "/reject", json!({"reason": "no units"})),
        ("POST", "/approve", json!({})),
    ] {
        body["sha256"] = other.clone();
        let told = hub.ask(&key, method, &at("0.1.0", what), body).await;
        refused(&told, 409, "package");
        assert!(told.body.contains(sha256.as_str().unwrap()), "{}", told.body);
    }
    refused(
        &hub.ask(&key, "PUT", &at("0.1.0", "/trial"), json!({"sha256": 1})).await,
        400,
        "parameter",
    );
    let typeless = hub.request("POST", &at("0.1.0", "/approve")).bearer_auth(&key);
    refused(&answer(typeless.body("{}")).await, 415, "media-type");
    hub.well("PUT", &at("0.1.0", "/trial"), json!({"runs": 3})).await;
    hub.well("POST", &at("0.1.0", "/approve"), json!({"sha256": sha256})).await;
    refused(&hub.ask(&key, "PUT", &at("0.1.0", "/trial"), json!({})).await, 409, "package");
    refused(&hub.put(&key, "0.1.0", good).await, 409, "package");
    let shown = hub.get(&at("0.1", "")).await.json();
    assert_eq!((&shown["trial"], &shown["state"]), (&json!({"runs": 3}), &json!("approved")));
    hub.stop().await;
}

/// What somebody with the registry's key signs, of what the hub asks for.
async fn signed(hub: &Running, version: &str, key: &SigningKey) -> Value {
    let documents = hub.get(&at(version, "/approval")).await.json();
    let mut index: Index = serde_json::from_value(documents["index"].clone()).unwrap();
    let statement = Envelope::seal(&documents["approval"], key).unwrap();
    let listed = ListedVersion { version: version.parse().unwrap(), statement: statement.clone() };
    index.insert(&NAME.parse().unwrap(), ("Looks at web sites", "web"), listed);
    json!({"statement": statement, "index": index.seal(key).unwrap()})
}

#[tokio::test]
async fn the_key_may_be_kept_where_the_hub_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let own = hub.credentials.key.clone();
    let key = SigningKey::generate().unwrap();
    for version in ["0.1.0", "0.2.0", "0.3.0"] {
        hub.handed_in(version).await;
    }
    let first = signed(&hub, "0.1.0", &key).await;
    let lonely = json!({"statement": first["statement"]});
    refused(&hub.ask(&own, "POST", &at("0.1.0", "/approve"), lonely).await, 400, "parameter");
    let other = hub.ask(&own, "POST", &at("0.2.0", "/approve"), first.clone()).await;
    refused(&other, 422, "package");
    let late = signed(&hub, "0.2.0", &key).await;
    hub.well("POST", &at("0.1.0", "/approve"), first).await;
    assert_eq!(hub.get("/api/v1/registry").await.json()["offline"], true);
    assert!(!folder.path().join("registry.key").exists(), "the hub has no key of its own");
    // What was made before that is of an older index.
    let stale = hub.ask(&own, "POST", &at("0.2.0", "/approve"), late).await;
    refused(&stale, 409, "package");
    assert!(stale.body.contains("changed meanwhile"), "{}", stale.body);
    let stranger = SigningKey::generate().unwrap();
    let forged = signed(&hub, "0.2.0", &stranger).await;
    refused(&hub.ask(&own, "POST", &at("0.2.0", "/approve"), forged).await, 409, "package");
    let by_hub = hub.ask(&own, "POST", &at("0.2.0", "/approve"), Value::Null).await;
    refused(&by_hub, 409, "package");
    assert!(by_hub.body.contains("--sign-with"), "{}", by_hub.body);
    let again = signed(&hub, "0.2.0", &key).await;
    hub.well("POST", &at("0.2.0", "/approve"), again).await;

    // What is not given out is withdrawn without the key; what is, with it.
    hub.well("POST", &at("0.3.0", "/withdraw"), Value::Null).await;
    refused(&hub.ask(&own, "POST", &at("0.1.0", "/withdraw"), Value::Null).await, 409, "package");
    let documents = hub.get(&at("0.1.0", "/withdrawal")).await.json();
    let index: Index = serde_json::from_value(documents["index"].clone()).unwrap();
    let body = json!({"index": index.seal(&key).unwrap()});
    hub.well("POST", &at("0.1.0", "/withdraw"), body).await;
    let (index, trust) =
        Index::open(&hub.index().await, Trust { key: key.public(), serial: 2 }).unwrap();
    assert_eq!((index.packages[0].versions.len(), trust.serial), (1, 3));
    let rotate = "/api/v1/registry/rotate";
    refused(&hub.ask(&own, "POST", rotate, json!({})).await, 409, "package");
    let next = SigningKey::generate().unwrap();
    let said = Rotation { new_key: next.public(), at: index.issued };
    let rotation = Envelope::seal(&said, &key).unwrap();
    let mut index = index;
    index.serial += 1;
    index.rotations.push(rotation.clone());
    let body = json!({"rotation": rotation, "index": index.seal(&next).unwrap()});
    for (wrong, status, code) in [
        (json!({"rotation": body["rotation"]}), 400, "parameter"),
        (json!({"index": body["index"]}), 400, "parameter"),
        (json!({"key": "x"}), 422, "shape"),
        (json!({"rotation": body["index"], "index": body["index"]}), 409, "package"),
    ] {
        refused(&hub.ask(&own, "POST", rotate, wrong).await, status, code);
    }
    let typeless = hub.request("POST", rotate).bearer_auth(&own).body(body.to_string());
    refused(&answer(typeless).await, 415, "media-type");
    let told = hub.well("POST", rotate, body).await;
    assert_eq!(told["fingerprint"], next.public().fingerprint());
    assert_eq!((&told["serial"], &told["offline"]), (&json!(4), &json!(true)));
    Index::open(&hub.index().await, Trust { key: key.public(), serial: 3 }).unwrap();
    hub.stop().await;
}

#[tokio::test]
async fn who_knew_the_old_key_follows_to_the_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let none = hub.ask(&hub.credentials.key, "POST", "/api/v1/registry/rotate", Value::Null).await;
    refused(&none, 409, "package");
    hub.handed_in("0.0.1").await;
    hub.well("POST", &at("0.0.1", "/withdraw"), Value::Null).await;
    for gone in ["/archive", "/diff", "/file?path=README.md"] {
        let told = hub.ask(&hub.credentials.key, "GET", &at("0.0.1", gone), Value::Null).await;
        refused(&told, 404, "no-package");
        assert!(told.body.contains("had never been approved"), "{}", told.body);
    }
    assert!(!folder.path().join("registry.key").exists(), "the first approval makes it");
    hub.handed_in("0.1.0").await;
    hub.well("POST", &at("0.1.0", "/approve"), Value::Null).await;
    let old = hub.index().await;
    let trust = Trust { key: old.key(), serial: 1 };
    let before = hub.get("/api/v1/registry").await.json();
    let after = hub.well("POST", "/api/v1/registry/rotate", json!({})).await;
    assert_ne!(after["fingerprint"], before["fingerprint"]);
    assert_eq!((&after["serial"], &after["rotations"]), (&json!(2), &json!(1)));
    hub.stop().await;

    // The next start signs with the new one.
    let hub = start(folder.path()).await;
    hub.handed_in("0.2.0").await;
    hub.well("POST", &at("0.2.0", "/approve"), Value::Null).await;
    let (index, now) = Index::open(&hub.index().await, trust).unwrap();
    assert_eq!((index.packages[0].versions.len(), now.serial), (2, 3));
    assert_ne!(now.key, trust.key);
    for version in ["0.1.0", "0.2.0"] {
        index.find(&NAME.parse().unwrap(), Some(&version.parse().unwrap()), now.key).unwrap();
    }
    assert!(Index::open(&old, now).is_err(), "an old index is not taken again");
    hub.stop().await;
}

#[tokio::test]
async fn only_what_is_approved_is_given_out_by_the_names_that_clients_ask() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let open = |path: &str| hub.request("GET", path).header("host", "api.sentinel.la");
    hub.handed_in("0.1.0").await;
    let none = answer(open("/plugins/index.json")).await;
    refused(&none, 404, "no-index");
    let none = answer(open("/plugins/download/web-check-0.1.0.zip")).await;
    refused(&none, 404, "no-package");
    assert!(none.body.contains("no approved package has the file `web-check-0.1.0.zip`"));
    hub.well("POST", &at("0.1.0", "/approve"), Value::Null).await;
    let sent = archive("0.1.0", GOOD);
    for file in ["web-check-0.1.0.zip", "web-check-0.1.zip"] {
        let got = open(&format!("/plugins/download/{file}")).send().await.unwrap();
        assert_eq!(got.status(), 200, "{file}");
        let tag = got.headers()["etag"].to_str().unwrap().to_owned();
        let bytes = got.bytes().await.unwrap();
        assert!(bytes == sent, "{file}: what was handed in is given out to the byte");
        let shown = hub.get(&at("0.1.0", "")).await.json();
        assert_eq!(tag, format!("\"{}\"", shown["sha256"].as_str().unwrap()));
        let (key, own) = (&hub.credentials.key, at("0.1.0", "/archive"));
        for (held, status) in [(tag.as_str(), 304), ("\"other\", *", 200), ("*", 304), ("x", 200)] {
            for request in [
                open(&format!("/plugins/download/{file}")),
                hub.request("GET", &own).bearer_auth(key),
            ] {
                let got = request.header("if-none-match", held).send().await.unwrap();
                assert_eq!(
                    (got.status().as_u16(), got.headers()["etag"].to_str().unwrap()),
                    (status, &*tag),
                    "{held}"
                );
                assert_eq!(got.bytes().await.unwrap().is_empty(), status == 304);
            }
        }
    }
    for file in ["web-check.zip", "web-0.1.0.zip", "web-check-0.1.0", "%2e%2e%2fhub.db"] {
        assert_eq!(answer(open(&format!("/plugins/download/{file}"))).await.status, 404, "{file}");
    }
    hub.well("POST", &at("0.1.0", "/withdraw"), Value::Null).await;
    assert_eq!(answer(open("/plugins/download/web-check-0.1.0.zip")).await.status, 404);
    hub.stop().await;
}

#[tokio::test]
async fn approvals_at_once_come_one_after_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let versions = ["0.1.0", "0.2.0", "0.3.0", "0.4.0"];
    for version in versions {
        hub.handed_in(version).await;
    }
    let all = versions.iter().chain(&versions).map(|version| {
        let request = hub.request("POST", &at(version, "/approve"));
        tokio::spawn(answer(request.bearer_auth(&hub.credentials.key)))
    });
    let mut told = Vec::new();
    for one in all.collect::<Vec<_>>() {
        told.push(one.await.unwrap().status);
    }
    told.sort_unstable();
    assert_eq!(told, [200, 200, 200, 200, 409, 409, 409, 409]);
    let envelope = hub.index().await;
    let (index, trust) = Index::open(&envelope, Trust { key: envelope.key(), serial: 0 }).unwrap();
    assert_eq!((index.packages[0].versions.len(), trust.serial), (4, 4));
    hub.stop().await;
    assert_eq!(verify(folder.path(), None).unwrap().findings, Vec::<String>::new());
}

#[tokio::test]
async fn what_an_approved_package_says_of_itself_was_approved() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    hub.handed_in("0.1.0").await;
    hub.well("POST", &at("0.1.0", "/approve"), Value::Null).await;
    let manifest = "name = 'web-check'\nversion = '0.2.0'\ndescription = 'Buy now'\nauthors = ['x']\n\
        license = 'MIT'\ncategory = 'other'\n[commands.look]\ncommand = ['bin/look']\nmetrics.n.type = 'integer'\n";
    let next = packed(NAME, manifest, &[("bin/look", GOOD)]);
    assert_eq!(hub.put(&hub.credentials.key, "0.2.0", next).await.status, 201);
    let said = async || hub.get(&format!("{PACKAGES}/{NAME}")).await.json()["description"].clone();
    assert_eq!(said().await, "Looks at web sites");
    hub.well("POST", &at("0.2.0", "/submit"), Value::Null).await;
    let documents = hub.get(&at("0.2.0", "/approval")).await.json();
    assert_eq!(documents["index"]["packages"][0]["description"], "Buy now", "to be signed");
    hub.well("POST", &at("0.2.0", "/approve"), Value::Null).await;
    assert_eq!(said().await, "Buy now");
    hub.stop().await;
}

#[tokio::test]
async fn every_change_of_a_package_is_in_the_audit_log() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let author = hub.key_for("author", &["publish"]).await;
    let post = async |key: &str, version: &str, what: &str, body: Value| {
        let done = hub.ask(key, "POST", &at(version, what), body).await;
        assert_eq!(done.status, 200, "{what}: {}", done.body);
    };
    assert_eq!(hub.ask(&author, "POST", PACKAGES, json!({"name": NAME})).await.status, 201);
    hub.put(&author, "0.1.0", archive("0.1.0", GOOD)).await;
    post(&author, "0.1.0", "/submit", Value::Null).await;
    let own = hub.credentials.key.clone();
    post(&own, "0.1.0", "/review", Value::Null).await;
    post(&own, "0.1.0", "/reject", json!({"reason": "no units"})).await;
    hub.put(&author, "0.1.0", archive("0.1.0", GOOD)).await;
    post(&author, "0.1.0", "/submit", Value::Null).await;
    hub.well("PUT", &at("0.1.0", "/trial"), json!({})).await;
    post(&own, "0.1.0", "/approve", Value::Null).await;
    hub.well("POST", "/api/v1/registry/rotate", Value::Null).await;
    post(&own, "0.1.0", "/withdraw", Value::Null).await;
    let log = hub.get("/api/v1/audit?limit=100").await.json();
    let mut did: Vec<String> = log["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| !entry["action"].as_str().unwrap().starts_with("key."))
        .map(|entry| {
            let text = |name: &str| entry[name].as_str().unwrap();
            format!("{}: {} {}", text("actor"), text("action"), text("subject"))
        })
        .collect();
    did.reverse();
    assert_eq!(
        did,
        [
            "key author: plugin-key.create web_check",
            "key author: package.register web-check",
            "key author: package.upload web-check 0.1.0",
            "key author: package.submit web-check 0.1.0",
            "key local: package.review web-check 0.1.0",
            "key local: package.reject web-check 0.1.0",
            "key author: package.upload web-check 0.1.0",
            "key author: package.submit web-check 0.1.0",
            "key local: package.trial web-check 0.1.0",
            "key local: package.approve web-check 0.1.0",
            "key local: registry.rotate registry",
            "key local: package.withdraw web-check 0.1.0",
        ]
    );
    hub.stop().await;
}

#[tokio::test]
async fn one_key_covers_all_plugins_of_a_package() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let own = hub.credentials.key.clone();
    // The plugin may have been registered before there was a package.
    let body = json!({"plugin": "web_check"});
    let known = hub.well("POST", "/api/v1/plugin-keys", body).await["key"].clone();
    let register = async || {
        let made = hub.ask(&own, "POST", PACKAGES, json!({"name": NAME})).await;
        (made.status, made.json()["key"].clone())
    };
    assert_eq!(register().await, (201, known.clone()));
    assert_eq!(register().await, (200, known.clone()));
    let stream = Stream::new();
    let sends = async |seq: u64, plugin: &str, key: &Value| {
        let mut one = report(seq, NOW, used(1.0));
        (one["plugin"], one["key"]) = (json!(plugin), key.clone());
        hub.take(&stream.batch(vec![one])).await.accepted
    };
    assert_eq!(sends(1, "web_check", &known).await, 1);
    assert_eq!(sends(2, "web_check_look", &known).await, 1);
    let old_agent = async |key: &Value| {
        let metrics = json!({"m": {"value": 1, "type": "integer", "metric_name": "n"}});
        let body = json!({"account_key": own, "server_name": "vm",
            "plugins": {key.as_str().unwrap(): metrics}});
        let sent = hub.request("POST", "/metrics").header("content-type", "application/json");
        answer(sent.body(body.to_string())).await
    };
    let taken = old_agent(&known).await;
    assert_eq!(taken.status, 200, "{}", taken.body);
    assert_eq!(hub.held("vm", "web_check").await.0, 1, "{}", taken.body);

    let path = format!("/api/v1/plugin-keys/{}", known.as_str().unwrap());
    hub.well("DELETE", &path, Value::Null).await;
    assert_eq!(sends(3, "web_check_look", &known).await, 0);
    assert_eq!(hub.get(&format!("{PACKAGES}/{NAME}")).await.json().get("key"), None);
    // Handing in another version does not bring it back; registering does.
    hub.handed_in("0.1.0").await;
    assert_eq!(hub.get(&format!("{PACKAGES}/{NAME}")).await.json().get("key"), None);
    let (status, fresh) = register().await;
    assert_eq!(status, 200);
    assert_ne!(fresh, known);
    assert_eq!(hub.get(&format!("{PACKAGES}/{NAME}")).await.json()["key"], fresh);
    assert_eq!(sends(4, "web_check_look", &fresh).await, 1);
    assert_eq!(old_agent(&fresh).await.status, 200);
    assert_eq!(hub.held("vm", "web_check").await.0, 2);
    hub.stop().await;
}

#[tokio::test]
async fn packages_are_in_a_backup_and_verify_looks_through_them() {
    let folder = tempfile::tempdir().unwrap();
    let (data, file) = (folder.path().join("hub"), folder.path().join("backup.db"));
    let hub = start(&data).await;
    for version in ["0.1.0", "0.2.0"] {
        hub.handed_in(version).await;
    }
    hub.well("POST", &at("0.1.0", "/approve"), Value::Null).await;
    let index = hub.index().await;
    backup(&data, &file).unwrap();
    hub.well("POST", &at("0.2.0", "/approve"), Value::Null).await;
    hub.stop().await;
    assert_eq!(verify(&data, Some(&file)).unwrap().found, 0);
    restore(&data, &file).unwrap();
    let hub = start(&data).await;
    assert_eq!(hub.index().await, index);
    assert_eq!(hub.get(&at("0.2.0", "")).await.json()["state"], "submitted");
    hub.well("POST", &at("0.2.0", "/approve"), Value::Null).await;
    hub.stop().await;

    let finds = |sql: &str, what: &str| {
        let broken = folder.path().join("broken.db");
        std::fs::copy(data.join("hub.db"), &broken).unwrap();
        let conn = rusqlite::Connection::open(&broken).unwrap();
        conn.execute_batch(sql).unwrap();
        drop(conn);
        let looked = verify(&data, Some(&broken)).unwrap();
        assert!(looked.findings.iter().any(|f| f.contains(what)), "{sql}: {looked:?}");
        std::fs::remove_file(&broken).unwrap();
    };
    finds(
        "UPDATE package_archives SET body = CAST(body || x'00' AS BLOB) WHERE version_id = 1",
        "the archive of web-check 0.1.0 is not the one that was uploaded",
    );
    finds("DELETE FROM package_archives WHERE version_id = 2", "web-check 0.2.0 is missing");
    finds(
        "UPDATE registry SET envelope = replace(envelope, 'Looks at', 'Looks_at')",
        "the index of packages: the signature is not that of the key",
    );
    finds("UPDATE registry SET serial = serial + 1", "the index has the serial");
    finds(
        "UPDATE package_versions SET state = 'withdrawn' WHERE id = 1",
        "the index lists 2 versions",
    );
    finds("DELETE FROM registry", "there is no index of them");
    finds(
        "UPDATE package_versions SET sha256 = (SELECT sha256 FROM package_versions WHERE id = 2) WHERE id = 1",
        "another archive of web-check 0.1.0 was approved",
    );
}
