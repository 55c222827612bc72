//! Keys, profiles and TLS from the command line, with agents and hubs that run.

use std::fs;
use std::path::PathBuf;

use rcgen::{CertificateParams, KeyPair};
use serde_json::Value;

use crate::support::{Done, Site};

/// What reaches the hub of this data folder, once there is one.
fn credentials(site: &Site, folder: &str) -> Value {
    let file = format!("{folder}/hub/credentials.json");
    site.until("hub", |site| serde_json::from_str(&site.read(&file)).ok())
}

fn plugin(site: &Site) -> &'static str {
    site.script("one.sh", "echo '{\"load\": 1}'");
    "[plugins.one]\ncommand = [\"./one.sh\"]\ninterval = \"100ms\"\n"
}

fn keys(site: &Site, words: &[&str]) -> Done {
    site.talaia(&[&["keys"], words, &["--config", "talaia.toml"]].concat())
}

/// One line of stdout, which is a key.
#[track_caller]
fn key_of(done: &Done) -> String {
    let line = done.code(0).stdout.strip_suffix('\n').unwrap();
    assert!(line.bytes().all(|b| b.is_ascii_graphic()), "{line}");
    line.to_owned()
}

fn output(status: &Value, name: &str, member: &str) -> Value {
    status["outputs"][name][member].clone()
}

#[track_caller]
fn delivered_beyond(site: &Site, name: &str, count: u64) -> u64 {
    site.until("delivery", |site| {
        let delivered = output(&site.status()?, name, "delivered").as_u64()?;
        (delivered > count).then_some(delivered)
    })
}

/// A certificate for `name` that vouches for itself.
fn certify(site: &Site, name: &str) -> (PathBuf, PathBuf) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let cert = params.self_signed(&key).unwrap();
    (site.write("hub.pem", cert.pem(), 0o644), site.write("hub.key", key.serialize_pem(), 0o600))
}

#[test]
fn keys_are_made_used_rotated_and_revoked_while_the_local_agent_goes_on() {
    let mut site = Site::new();
    let plugin = plugin(&site);
    site.configure(&format!("{plugin}[hub]\nlisten = \"127.0.0.1:0\"\n"));
    site.start_agent();
    credentials(&site, "data");
    let first = delivered_beyond(&site, "embedded", 0);

    let made = keys(&site, &["create", "web-1", "--scope", "ingest,read", "--expires", "90d"]);
    let web = key_of(&made);
    assert!(web.starts_with("talaia_") && !made.stderr.contains(&web));
    made.says(&["this once"]);
    let listed = keys(&site, &["list"]);
    assert!(!listed.code(0).stdout.contains(&web));
    for word in ["NAME", "web-1", "ingest read", "active", &web[web.len() - 4..]] {
        assert!(listed.stdout.contains(word), "{word} in {}", listed.stdout);
    }
    keys(&site, &["create", "web-1"]).code(1).says(&["already"]);
    keys(&site, &["create", "a b"]).code(2).says(&["letters"]);
    keys(&site, &["create", "b", "--scope", "write"]).code(2).says(&["not a scope"]);
    keys(&site, &["create"]).code(2);

    // The key opens what its scopes say, by a file or by the environment.
    site.write("web.key", format!("{web}\n"), 0o600);
    let refused = keys(&site, &["list", "--key-file", "web.key"]);
    refused.code(1).says(&["needs the scope `admin`", "web.key"]);
    let mut command = site.command(&["keys", "list", "--config", "talaia.toml"]);
    command.env("TALAIA_KEY", "talaia_nonsense");
    crate::support::finish(command, b"").code(1).says(&["does not know the key", "TALAIA_KEY"]);

    // The local key is put into place for commands and for the agent, which loses nothing.
    let before = credentials(&site, "data")["key"].clone();
    let rotated = keys(&site, &["rotate", "local"]);
    let local = key_of(&rotated);
    rotated.says(&["credentials.json has it"]);
    assert_eq!(credentials(&site, "data")["key"], local.as_str());
    assert_ne!(before, local.as_str());
    delivered_beyond(&site, "embedded", first + 5);
    let status = site.status().unwrap();
    assert_eq!(output(&status, "embedded", "state"), "ok", "{status}");

    // With a grace the old one works on; revoked, neither does.
    let second = key_of(&keys(&site, &["rotate", "web-1", "--grace", "1h"]));
    let url = credentials(&site, "data")["url"].as_str().unwrap().to_owned();
    let answer = |key: &str| crate::support::http(&url, "/api/v1/plugins", Some(key)).unwrap();
    assert_eq!((answer(&web).0, answer(&second).0), (200, 200));
    keys(&site, &["revoke", "web-1"]).code(0);
    let (status, body) = answer(&second);
    assert!(status == 401 && body.contains("was revoked on"), "{body}");
    assert_eq!(answer(&web).0, 401);
    keys(&site, &["revoke", "local"]).code(1).says(&["last key"]);

    let secret = key_of(&keys(&site, &["rotate", "--secret-key"]));
    assert_eq!(credentials(&site, "data")["secret_key"], secret.as_str());
    let pair = |secret: &str| {
        let mut command = site.command(&["keys", "list", "--config", "talaia.toml"]);
        let api_key = credentials(&site, "data")["api_key"].as_str().unwrap().to_owned();
        command.env("MONITIS_APIKEY", api_key).env("MONITIS_SECRETKEY", secret);
        crate::support::finish(command, b"")
    };
    pair(&secret).code(0);
    pair("old").code(1).says(&["MONITIS_APIKEY and MONITIS_SECRETKEY"]);

    let audit = keys(&site, &["audit", "--action", "key", "--json"]).code(0).stdout.clone();
    let actions: Vec<String> = audit
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|entry| format!("{} {}", entry["action"].as_str().unwrap(), entry["subject"]))
        .collect();
    let wanted = [
        "key.revoke \"web-1\"",
        "key.rotate \"web-1\"",
        "key.rotate \"local\"",
        "key.create \"web-1\"",
    ];
    assert_eq!(actions, wanted);
}

#[test]
fn status_says_why_a_hub_takes_no_reports() {
    let mut site = Site::new();
    let plugin = plugin(&site);
    let hub = site.command(&["hub", "--listen", "127.0.0.1:0", "--data-dir", "central/hub"]);
    site.start(hub, "hub.log");
    let central = credentials(&site, "central");
    let admin = ["--key-file", "central/hub/credentials.json"];
    let central_keys =
        |site: &Site, words: &[&str]| site.talaia(&[&["keys"], words, &admin].concat());
    site.write("web.key", key_of(&central_keys(&site, &["create", "web-1"])), 0o600);
    let registered = key_of(&central_keys(&site, &["create", "--plugin", "one"]));
    let config = |key: &str| {
        format!(
            "{plugin}key = \"{key}\"\n[outputs.main]\ntype = \"talaia\"\nurl = {}\n\
             key = {{ file = \"web.key\" }}\ninterval = \"100ms\"\n",
            central["url"]
        )
    };
    // In any case; a key with white space in it is none.
    site.configure(&config("904605aa- e577-4f66-8d2c-3d1f6a2b9c70"));
    site.talaia(&["check", "--config", "talaia.toml"]).code(78).says(&["white space"]);
    site.configure(&config(&registered.to_uppercase()));
    site.talaia(&["check", "--online", "--config", "talaia.toml"]).code(0);
    site.start_agent();
    delivered_beyond(&site, "main", 0);

    let error = |word: &str| {
        site.until(word, |site| {
            let status = site.status()?;
            let error = output(&status, "main", "error").as_str()?.to_owned();
            error.contains(word).then_some((error, status))
        })
    };
    // The plugin's key: the output works, and what it does not take is told.
    central_keys(&site, &["revoke", "--plugin", "one"]).code(0);
    let (said, status) = error("was revoked");
    assert!(said.contains("the key of plugin `one`"), "{said}");
    assert_eq!(output(&status, "main", "state"), "ok");
    site.until("refusal", |site| {
        output(&site.status()?, "main", "evicted")["refused"].as_u64().filter(|n| *n > 0)
    });
    let shown = site.talaia(&["status", "--config", "talaia.toml"]);
    assert!(shown.code(0).stdout.contains("was revoked"), "{}", shown.stdout);

    // The hub's key: nothing goes, nothing is lost, and the hub's own words say why.
    central_keys(&site, &["revoke", "web-1"]).code(0);
    let (said, status) = error("answer 401");
    assert!(said.contains("the key `web-1` was revoked on"), "{said}");
    assert_eq!(output(&status, "main", "state"), "hold");
    let check = site.talaia(&["check", "--online", "--config", "talaia.toml"]);
    let all = format!("{}{}", check.code(1).stdout, check.stderr);
    assert!(all.contains("the key `web-1` was revoked on"), "{all}");

    // A key that may only read is good for nothing here.
    site.write(
        "web.key",
        key_of(&central_keys(&site, &["create", "web-2", "--scope", "read"])),
        0o600,
    );
    let check = site.talaia(&["check", "--online", "--config", "talaia.toml"]);
    let all = format!("{}{}", check.code(1).stdout, check.stderr);
    assert!(all.contains("may not send reports"), "{all}");
    site.talaia(&["reload", "--config", "talaia.toml"]).code(0);
    error("needs the scope `ingest`");
    site.ledger();
}

#[test]
fn an_embedded_hub_over_tls_serves_its_agent_and_commands() {
    let mut site = Site::new();
    let plugin = plugin(&site);
    certify(&site, "hub.example.org");
    let tls = "tls = { cert = \"hub.pem\", key = \"hub.key\" }\nhosts = [\"hub.example.org\"]\n";
    site.configure(&format!("{plugin}[hub]\nlisten = \"127.0.0.1:0\"\n{tls}"));
    let agent = site.start_agent();
    let url = credentials(&site, "data")["url"].as_str().unwrap().to_owned();
    assert!(url.starts_with("https://127.0.0.1:"), "{url}");
    let count = delivered_beyond(&site, "embedded", 0);
    assert!(keys(&site, &["list"]).code(0).stdout.contains("local"));
    let link = site.talaia(&["hub", "login", "--config", "talaia.toml"]).code(0).stdout.clone();
    assert!(link.starts_with(&format!("{url}/login/")), "{link}");
    // A stranger's certificate is not trusted; this one is by its file.
    let elsewhere = ["keys", "list", "--hub", &url, "--key-file", "local.key"];
    let key = credentials(&site, "data")["key"].as_str().unwrap().to_owned();
    site.write("local.key", key, 0o600);
    site.talaia(&elsewhere).code(69).says(&["does not answer"]);

    // A renewed certificate takes no restart: new connections meet it, and the agent goes on.
    certify(&site, "hub.example.org");
    site.until("renewal", |site| (keys(site, &["list"]).code == 0).then_some(()));
    assert!(site.read("agent.log").contains("certificate was renewed"));
    delivered_beyond(&site, "embedded", count + 30);
    assert_eq!(output(&site.status().unwrap(), "embedded", "error"), Value::Null);
    assert!(site.stop(agent).success());

    // The sandbox's hub is as safe.
    let sandbox = site.command(&["run", "--sandbox", "--config", "talaia.toml"]);
    site.start(sandbox, "sandbox.log");
    let url = credentials(&site, "data/sandbox")["url"].clone();
    assert!(url.as_str().unwrap().starts_with("https://127.0.0.1:"), "{url}");
    keys(&site, &["list", "--sandbox"]).code(0);
    keys(&site, &["list", "--profile", "sandbox"]).code(0);
    keys(&site, &["list", "--profile", "production"]).code(69);
}

#[test]
fn a_profile_picks_the_outputs_of_a_run() {
    let mut site = Site::new();
    let plugin = plugin(&site);
    let file =
        |name: &str| format!("[outputs.{name}]\ntype = \"file\"\npath = \"{name}.ndjson\"\n");
    site.configure(&format!(
        "{plugin}{}{}{}[hub]\nlisten = \"127.0.0.1:0\"\n\
         [profiles.staging]\noutputs = [\"two\"]\n[profiles.sandbox]\noutputs = [\"three\"]\n",
        file("one"),
        file("two"),
        file("three")
    ));
    let outputs =
        |status: &Value| status["outputs"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let agent = site.start(
        site.command(&["run", "--profile", "staging", "--config", "talaia.toml"]),
        "agent.log",
    );
    delivered_beyond(&site, "two", 0);
    assert_eq!(outputs(&site.status().unwrap()), ["two"]);
    site.talaia(&["reload", "--config", "talaia.toml"]).code(0);
    assert_eq!(outputs(&site.status().unwrap()), ["two"], "after a reload as well");
    assert!(site.stop(agent).success());
    assert!(site.path("two.ndjson").exists() && !site.path("one.ndjson").exists());

    site.start(
        site.command(&["run", "--profile", "sandbox", "--config", "talaia.toml"]),
        "agent.log",
    );
    let status = ["status", "--json", "--sandbox", "--config", "talaia.toml"];
    let all = site.until("sandbox", |site| {
        let done = site.talaia(&status);
        let status = (done.code == 0).then(|| done.json())?;
        (output(&status, "three", "delivered").as_u64()? > 0).then_some(status)
    });
    assert_eq!(outputs(&all), ["embedded", "three"]);
    let unknown = site.talaia(&["run", "--profile", "stagign", "--config", "talaia.toml"]);
    unknown.code(2).says(&["no profile `stagign`", "staging"]);
}

#[test]
fn a_hub_that_others_can_reach_unencrypted_says_so() {
    let mut site = Site::new();
    site.configure("[hub]\nenabled = true\nlisten = \"0.0.0.0:0\"\n");
    let check = site.talaia(&["check", "--config", "talaia.toml"]);
    check.says(&["can be reached from other machines, unencrypted", "tls ="]);
    let hub = site.command(&["hub", "--listen", "0.0.0.0:0", "--data-dir", "open/hub"]);
    site.start(hub, "open.log");
    credentials(&site, "open");
    site.until("warning", |site| site.read("open.log").contains("unencrypted").then_some(()));
    certify(&site, "hub.example.org");
    let hub = site.command(&[
        "hub",
        "--listen",
        "0.0.0.0:0",
        "--data-dir",
        "safe/hub",
        "--tls-cert",
        "hub.pem",
        "--tls-key",
        "hub.key",
    ]);
    site.start(hub, "safe.log");
    let url = credentials(&site, "safe")["url"].as_str().unwrap().to_owned();
    assert!(url.starts_with("https://127.0.0.1:"), "{url}");
    site.talaia(&[
        "keys",
        "list",
        "--hub",
        &url,
        "--key-file",
        "safe/hub/credentials.json",
        "--ca",
        "hub.pem",
    ])
    .code(69);
    assert!(!site.read("safe.log").contains("unencrypted"));
    let bad = [
        "hub",
        "--listen",
        "127.0.0.1:0",
        "--data-dir",
        "bad/hub",
        "--tls-cert",
        "hub.key",
        "--tls-key",
        "hub.key",
    ];
    site.talaia(&bad).code(65).says(&["hub.key", "certificate"]);
    site.talaia(&["hub", "--tls-cert", "hub.pem"]).code(2);
}

#[test]
fn no_key_or_secret_is_in_a_log_or_database() {
    let mut site = Site::new();
    let plugin = plugin(&site);
    let hub = site.command(&["-vv", "hub", "--listen", "127.0.0.1:0", "--data-dir", "central/hub"]);
    site.start(hub, "hub.log");
    let central = credentials(&site, "central");
    let mut secrets: Vec<String> =
        ["key", "secret_key"].map(|name| central[name].as_str().unwrap().to_owned()).into();
    let mut talk = String::new();
    let mut run = |words: &[&str], secrets: &mut Vec<String>| {
        let admin = ["--key-file", "central/hub/credentials.json", "-vv", "--trace-http"];
        let done = site.talaia(&[&["keys"], words, &admin].concat());
        done.code(0);
        talk.push_str(&done.stderr);
        if matches!(words[0], "create" | "rotate") {
            secrets.push(done.stdout.trim().to_owned());
        } else {
            talk.push_str(&done.stdout);
        }
    };
    run(&["create", "web-1", "--scope", "ingest"], &mut secrets);
    site.write("web.key", secrets.last().unwrap(), 0o600);
    run(&["create", "other", "--scope", "read,admin"], &mut secrets);
    run(&["rotate", "other", "--grace", "1m"], &mut secrets);
    run(&["rotate", "local"], &mut secrets);
    run(&["rotate", "--secret-key"], &mut secrets);
    run(&["list"], &mut secrets);
    run(&["audit"], &mut secrets);
    assert_eq!(secrets.len(), 7);
    for word in ["POST http", "< 201", "Authorization: Bearer …"] {
        assert!(talk.contains(word), "{word} in {talk}");
    }

    site.configure(&format!(
        "{plugin}[outputs.main]\ntype = \"talaia\"\nurl = {}\nkey = {{ file = \"web.key\" }}\ninterval = \"100ms\"\n\
         [hub]\nenabled = true\nlisten = \"127.0.0.1:0\"\n",
        central["url"]
    ));
    let agent = site.command(&["-vv", "run", "--config", "talaia.toml"]);
    let agent = site.start(agent, "agent.log");
    delivered_beyond(&site, "main", 0);
    let own = credentials(&site, "data");
    secrets.extend(["key", "secret_key"].map(|name| own[name].as_str().unwrap().to_owned()));
    // Pages and what is refused are logged as well.
    let link = site.talaia(&["hub", "login", "--data-dir", "central/hub"]).code(0).stdout.clone();
    let link = link.trim();
    secrets.push(link.rsplit('/').next().unwrap().to_owned());
    let url = central["url"].as_str().unwrap();
    crate::support::http(url, link.strip_prefix(url).unwrap(), None).unwrap();
    crate::support::http(url, "/api/v1/keys", Some(&secrets[0])).unwrap();
    crate::support::http(url, "/api/v1/keys", Some("talaia_nonsense")).unwrap();
    assert!(site.stop(agent).success());

    let mut looked_at = vec!["commands".to_owned()];
    let check = |what: &str, bytes: &[u8]| {
        for secret in &secrets {
            let found = bytes.windows(secret.len()).position(|w| w == secret.as_bytes());
            assert_eq!(found, None, "a secret in {what}");
        }
    };
    check("what commands say", talk.as_bytes());
    let mut folders = vec![site.path(".")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                folders.push(path);
            } else if !matches!(name.as_str(), "credentials.json" | "web.key" | "talaia") {
                // A file that is gone meanwhile holds nothing.
                check(&name, &fs::read(&path).unwrap_or_default());
                looked_at.push(name);
            }
        }
    }
    for name in ["hub.log", "agent.log", "hub.db", "spool.db"] {
        assert!(looked_at.iter().any(|seen| seen == name), "{name} in {looked_at:?}");
    }
}
