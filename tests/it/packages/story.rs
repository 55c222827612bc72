//! The whole way of a package: made, checked, packed, published, reviewed, approved, installed by an
//! agent on another host that runs, upgraded, rolled back, removed.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use super::support::{ONE, TWO, folder, manifest, names, plugin};
use crate::support::{Done, Site, http};

/// A hub for all, and whoever is in charge of it.
struct Central {
    url: String,
    key: String,
}

const ADMIN: [&str; 2] = ["--key-file", "central/hub/credentials.json"];

/// A command by the hub's own key.
#[track_caller]
fn admin(site: &Site, words: &[&str]) -> Done {
    site.talaia(&[&["plugin"], words, &ADMIN].concat())
}

fn central(site: &mut Site) -> Central {
    let hub = site.command(&["hub", "--listen", "127.0.0.1:0", "--data-dir", "central/hub"]);
    site.start(hub, "hub.log");
    let found: Value = site
        .until("hub", |site| serde_json::from_str(&site.read("central/hub/credentials.json")).ok());
    let text = |key: &str| found[key].as_str().unwrap().to_owned();
    Central { url: text("url"), key: text("key") }
}

impl Central {
    fn get(&self, path: &str) -> Value {
        let (status, body) = http(&self.url, path, Some(&self.key)).unwrap();
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    /// The values of a metric of the other host's plugin.
    fn values(&self, plugin: &str, metric: &str) -> Vec<Value> {
        let path = format!("/api/v1/points?host=test-host&plugin={plugin}&name={metric}");
        let series = self.get(&path)["series"][0]["points"].clone();
        series.as_array().into_iter().flatten().map(|point| point[1].clone()).collect()
    }
}

/// An agent on another host, which reports to `central`.
fn other_host(site: &mut Site, central: &Central) {
    let key = site.talaia(&[&["keys", "create", "other"][..], &ADMIN].concat());
    site.write("other.key", &key.code(0).stdout, 0o600);
    site.configure(&format!(
        "[outputs.main]\ntype = \"talaia\"\nurl = \"{}\"\nkey = {{ file = \"other.key\" }}\n\
         interval = \"100ms\"\n",
        central.url
    ));
    site.start_agent();
    site.until("agent", Site::status);
}

/// Publishes and approves, without much ado.
#[track_caller]
fn approved(site: &Site, folder: &str, name: &str, version: &str) {
    admin(site, &["publish", folder]).code(0);
    admin(site, &["approve", name, version]).code(0).says(&["is given out at"]);
}

#[test]
fn from_an_authors_folder_to_another_host_and_back() {
    let mut site = Site::new();
    // Who runs what is under review may pass through here.
    fs::set_permissions(site.path("."), Permissions::from_mode(0o711)).unwrap();
    let hub = central(&mut site);
    assert_eq!(http(&hub.url, "/plugins/index.json", None).unwrap().0, 404);

    site.talaia(&["new", "entry-count", "--lang", "sh"]).code(0);
    site.talaia(&["plugin", "check", "./entry-count"]).code(0).says(&["ok entry-count", "1 run"]);
    site.talaia(&["plugin", "pack", "./entry-count"]).code(0);
    let registered = admin(&site, &["register", "entry-count"]);
    let key = registered.code(0).stdout.trim().to_owned();
    assert_eq!(admin(&site, &["register", "entry-count"]).code(0).stdout.trim(), key);
    admin(&site, &["approve", "entry-count", "0.1.0"]).code(1).says(&["entry-count"]);
    admin(&site, &["publish", "./entry-count-0.1.0.zip", "--draft"]).code(0).says(&["is a draft"]);
    admin(&site, &["submit", "entry-count", "0.1.0"]).code(0).says(&["waits for a review"]);
    admin(&site, &["publish", "./entry-count"]).code(1).says(&["0.1.0", "submitted"]);

    let queue = admin(&site, &["review"]);
    assert!(queue.code(0).stdout.contains("entry-count"), "{}", queue.stdout);
    admin(&site, &["review", "entry-count", "0.1.0", "--run"]).code(2).says(&["--yes"]);
    let review = admin(&site, &["review", "entry-count", "0.1.0", "--run", "--yes"]);
    review.code(0).says(&["the result is attached", "talaia plugin approve entry-count 0.1.0"]);
    for word in ["in-review", "talaia-plugin.toml", "entry_count", "entries  integer", "added"] {
        assert!(review.stdout.contains(word), "no `{word}` in\n{}", review.stdout);
    }
    admin(&site, &["key"]).code(1).says(&["none yet"]);
    let missing = "/plugins/download/entry-count-0.1.0.zip";
    assert_eq!(http(&hub.url, missing, None).unwrap().0, 404);
    admin(&site, &["approve", "entry-count", "0.1.0"]).code(0);
    let fingerprint = admin(&site, &["key"]).code(0).stdout.trim().to_owned();
    assert_eq!(http(&hub.url, missing, None).unwrap().0, 200);
    admin(&site, &["status", "entry-count", "0.1.0", "--watch"]).code(0);

    other_host(&mut site, &hub);
    let install = ["install", "entry-count"];
    plugin(&site, &install).code(1).says(&[&format!("--trust {fingerprint}")]);
    let trusted = [&install[..], &["--trust", &fingerprint, "--key", &key]].concat();
    plugin(&site, &trusted).code(0).says(&["added entry_count", "entry_count  ready"]);
    let drop_in = site.read("plugins.d/entry-count.toml");
    assert!(drop_in.contains(&format!("\nkey = \"{key}\"\n")), "{drop_in}");
    site.until("a report at the hub", |_| {
        (!hub.values("entry_count", "entries").is_empty()).then_some(())
    });
    let cat = site.talaia(&["spool", "verify", "--config", "talaia.toml"]);
    cat.code(0);

    // The next version brings another metric.
    let next = site
        .read("entry-count/talaia-plugin.toml")
        .replace("0.1.0", "0.2.0")
        .replace("interval = \"60s\"", "interval = \"1s\"");
    site.write("entry-count/talaia-plugin.toml", next, 0o644);
    admin(&site, &["publish", "./entry-count"]).code(0);
    let review = admin(&site, &["review", "entry-count", "0.2.0"]);
    assert!(review.code(0).stdout.contains("+version = \"0.2.0\""), "{}", review.stdout);
    plugin(&site, &["upgrade", "entry-count"]).code(0).says(&["0.1.0 is up to date"]);
    admin(&site, &["reject", "entry-count", "0.2.0", "--reason", "say why"]).code(0);
    let status = admin(&site, &["status", "entry-count", "0.2.0", "--watch"]);
    assert!(status.code(1).stdout.contains("rejected\tsay why"), "{}", status.stdout);
    approved(&site, "./entry-count", "entry-count", "0.2.0");
    let outdated = plugin(&site, &["list", "--outdated"]).code(0).stdout.clone();
    assert!(outdated.contains("0.1.0") && outdated.contains("0.2.0"), "{outdated}");
    plugin(&site, &["upgrade", "entry-count"])
        .code(0)
        .says(&["0.2.0 in place of 0.1.0", "changed"]);
    assert_eq!(site.read("plugins.d/entry-count.toml"), drop_in.replace("0.1.0", "0.2.0"));
    let count = hub.values("entry_count", "entries").len();
    site.until("more of it", |_| {
        (hub.values("entry_count", "entries").len() > count + 1).then_some(())
    });
    plugin(&site, &["rollback", "entry-count"]).code(0).says(&["0.1.0 in place of 0.2.0"]);
    plugin(&site, &["upgrade", "entry-count"]).code(0).says(&["0.2.0 in place of 0.1.0"]);

    // Withdrawn, it is no more to be had; who has it keeps it.
    admin(&site, &["withdraw", "entry-count", "0.2.0"]).code(0).says(&["keeps it"]);
    let gone = "/plugins/download/entry-count-0.2.0.zip";
    assert_eq!(http(&hub.url, gone, None).unwrap().0, 404);
    plugin(&site, &["upgrade", "entry-count"]).code(0).says(&["0.2.0 is up to date"]);
    plugin(&site, &["verify"]).code(0).says(&["0.1.0 ok", "0.2.0 ok"]);

    // Its reports have its key: when that is revoked, they are refused.
    site.talaia(&[&["keys", "revoke", "--plugin", "entry_count"][..], &ADMIN].concat());
    site.talaia(&[&["keys", "revoke", "--plugin", "entry-count"][..], &ADMIN].concat());
    site.until("the refusal", |site| {
        let error = site.status()?["outputs"]["main"]["error"].as_str()?.to_owned();
        error.contains("was revoked").then_some(())
    });

    plugin(&site, &["uninstall", "entry-count"]).code(0).says(&["removed entry_count"]);
    assert_eq!(names(&site.path("plugins.d")), [""; 0]);
    assert_eq!(names(&site.path("data/packages")), ["lock", "trust.json"]);
    plugin(&site, &["uninstall", "entry-count"]).code(2).says(&["is not installed; there is none"]);
}

#[test]
fn a_run_of_the_old_version_ends_with_the_files_that_it_began_with() {
    let mut site = Site::new();
    let hub = central(&mut site);
    // It would go on for long, and is ended in order: its last words are in a file of its own.
    let long = format!(
        "trap 'cat lib/text; exit 0' TERM; echo > {}; while :; do sleep 0.05; done",
        site.path("begun").display()
    );
    folder(&site, "one", &manifest("a-b", "1.0.0"), &long);
    fs::create_dir(site.path("one/lib")).unwrap();
    site.write("one/lib/text", "{\"n\": 1}\n", 0o644);
    folder(&site, "two", &manifest("a-b", "2.0.0"), TWO);
    approved(&site, "./one", "a-b", "1.0.0");
    approved(&site, "./two", "a-b", "2.0.0");
    other_host(&mut site, &hub);
    let fingerprint = admin(&site, &["key"]).code(0).stdout.trim().to_owned();
    plugin(&site, &["install", "a-b", "1.0.0", "--trust", &fingerprint]).code(0);
    site.until("a run", |site| site.path("begun").exists().then_some(()));
    plugin(&site, &["upgrade", "a-b"]).code(0).says(&["2.0.0 in place of 1.0.0"]);
    site.until("both versions", |_| (hub.values("a_b", "n").len() > 2).then_some(()));
    let values = hub.values("a_b", "n");
    assert!(values[0] == 1 && values[1..].iter().all(|n| *n == 2), "{values:?}");
    plugin(&site, &["verify"]).code(0).says(&["1.0.0 ok", "2.0.0 ok"]);
}

#[test]
fn an_archive_is_given_out_by_the_address_that_the_old_agent_asked() {
    let mut site = Site::new();
    let hub = central(&mut site);
    for (name, version, script) in
        [("a", "1.0.0", ONE), ("a-b", "1.0.0-rc.1", TWO), ("a", "1.0.0-b-1", TWO)]
    {
        folder(&site, "p", &manifest(name, version), script);
        approved(&site, "./p", name, version);
    }
    folder(&site, "p", &manifest("a-b", "1.0.0-rc.2"), ONE);
    admin(&site, &["publish", "./p"]).code(0);
    let get = |file: &str| http(&hub.url, &format!("/plugins/download/{file}"), None).unwrap();
    // `a-1` is `a` in its version 1: the old agent's numbers had fewer parts.
    for file in ["a-1.0.0.zip", "a-b-1.0.0-rc.1.zip", "a-1.0.0-b-1.zip", "a-1.zip"] {
        assert_eq!(get(file).0, 200, "{file}");
    }
    // Not approved; never heard of; not how it is written.
    for file in ["a-b-1.0.0-rc.2.zip", "a-b-1.0.0.zip", "a-b-1.0.0-rc.1", "..%2fx.zip"] {
        let (status, body) = get(file);
        assert!(
            status == 404 && body.contains("no approved package has the file"),
            "{file}: {body}"
        );
    }
}

#[test]
fn a_key_that_the_hub_does_not_have_signs_and_is_replaced() {
    let mut site = Site::new();
    let hub = central(&mut site);
    let key = |file: &str| site.talaia(&["plugin", "key", file]).code(0).stdout.trim().to_owned();
    let fingerprint = key("registry.key");
    assert_eq!(key("registry.key"), fingerprint);
    let mode = fs::metadata(site.path("registry.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let (new, stranger) = (key("new.key"), key("stranger.key"));
    folder(&site, "p", &manifest("a-b", "1.0.0"), ONE);
    admin(&site, &["publish", "./p"]).code(0);
    let approve = |site: &Site, version: &str, file: &str| {
        admin(site, &["approve", "a-b", version, "--sign-with", file])
    };
    approve(&site, "1.0.0", "registry.key").code(0).says(&[&fingerprint]);
    assert_eq!(admin(&site, &["key"]).code(0).stdout.trim(), fingerprint);

    // The hub has none of its own from then on, and takes no other's.
    folder(&site, "p", &manifest("a-b", "2.0.0"), TWO);
    admin(&site, &["publish", "./p"]).code(0);
    admin(&site, &["approve", "a-b", "2.0.0"]).code(1);
    approve(&site, "2.0.0", "stranger.key").code(1).says(&[&fingerprint, &stranger]);
    approve(&site, "2.0.0", "none.key").code(65).says(&["none.key"]);
    assert_eq!(http(&hub.url, "/plugins/download/a-b-2.0.0.zip", None).unwrap().0, 404);
    approve(&site, "2.0.0", "registry.key").code(0);

    other_host(&mut site, &hub);
    plugin(&site, &["install", "a-b", "1.0.0", "--trust", &fingerprint]).code(0);
    admin(&site, &["key", "new.key", "--rotate"]).code(2).says(&["--sign-with FILE"]);
    admin(&site, &["key", "new.key", "--rotate", "--sign-with", "stranger.key"]).code(1);
    admin(&site, &["key", "new.key", "--rotate", "--sign-with", "registry.key"]).code(0);
    assert_eq!(admin(&site, &["key"]).code(0).stdout.trim(), new);
    plugin(&site, &["upgrade", "a-b"]).code(0).says(&["2.0.0 in place of 1.0.0"]);
    admin(&site, &["withdraw", "a-b", "2.0.0", "--sign-with", "registry.key"]).code(1);
    admin(&site, &["withdraw", "a-b", "2.0.0", "--sign-with", "new.key"]).code(0);
    assert_eq!(http(&hub.url, "/plugins/download/a-b-2.0.0.zip", None).unwrap().0, 404);
}
