//! What goes wrong at a user's: each mistake gives an error that names the plugin or the file and
//! says what to do, the agent and the other plugins go on, and nothing that was accepted is lost.
//!
//! The plugins that are wrong run side by side in one agent, beside a healthy one whose reports are
//! counted at the end. The agent is shared by the tests that run at the same time and ends with the
//! last of them.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use serde_json::{Value, json};

use crate::support::{Site, balances, skip};

/// Plugins that print something wrong: name and script.
const PRINTS: &[(&str, &str)] = &[
    ("empty_output", ":"),
    ("half_document", r#"printf '{"a": 1, "b": '"#),
    (
        "several",
        "echo '{\"a\": 1} {\"b\": 2}'; printf '{\\n \"c\":\\n 3\\n}\\n[{\"name\":\"d\",\"value\":4}]'",
    ),
    ("garbage", "head -c 10485760 /dev/zero | tr '\\0' 'x'"),
    ("not_utf8", r#"printf '{"a": 1}\n{"kernel": "gr\366\337er", "b": 2}\n'"#),
    (
        "nested",
        "head -c 100000 /dev/zero | tr '\\0' '['; head -c 100000 /dev/zero | tr '\\0' ']'; echo; echo '{\"a\": 1}'",
    ),
    ("duplicates", r#"echo '{"a": 1, "a": 2, "b": 3}'"#),
    ("not_a_number", r#"echo '{"ratio": NaN, "a": 1}'"#),
    ("comma", r#"printf '{"a": 1,}\n{"b": 2}\n'"#),
    ("huge", r#"echo '{"a": 1e400, "b": 1}'"#),
    (
        "wide",
        r#"echo '[{"name": "a", "value": 36893488147419103232, "type": "integer"}, {"name": "b", "value": 18446744073709551615, "type": "integer"}]'"#,
    ),
    ("hyphen", r#"echo '{"disk-used": 71.2, "a": 1}'"#),
    (
        "wrong_type",
        r#"echo '[{"name": "a", "value": "71%", "type": "percent"}, {"name": "b", "value": 1}]'"#,
    ),
];

/// Plugins that cannot be run.
const BROKEN: &[&str] =
    &["missing", "not_executable", "no_shebang", "no_interpreter", "dos", "world_writable"];

static SHARED: Mutex<Weak<Site>> = Mutex::new(Weak::new());

/// The agent with all of them.
fn shared() -> Arc<Site> {
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(site) = shared.upgrade() {
        return site;
    }
    let site = Arc::new(start());
    *shared = Arc::downgrade(&site);
    site
}

fn start() -> Site {
    let mut site = Site::new();
    let names = PRINTS.iter().map(|(name, _)| name).chain(BROKEN).chain(&["healthy"]);
    let mut config = "[outputs.file]\ntype = \"file\"\npath = \"out.ndjson\"\n".to_owned();
    for name in names {
        // Ten megabytes a second are enough.
        let interval = if *name == "garbage" { "2s" } else { "500ms" };
        config.push_str(&plugin(name, interval));
    }
    for (name, text) in PRINTS {
        site.script(name, text);
    }
    site.script("healthy", "echo '{\"ok\": true}'");
    site.write("not_executable", "#!/bin/sh\n", 0o644);
    site.write("no_shebang", "echo '{}'\n", 0o755);
    site.write("no_interpreter", "#!/opt/no/such/interpreter\n", 0o755);
    site.write("dos", "#!/bin/sh\r\necho '{}'\r\n", 0o755);
    let open = site.script("world_writable", "echo '{}'");
    fs::set_permissions(open, Permissions::from_mode(0o777)).unwrap();
    site.configure(&config);
    site.start_agent();
    site
}

fn plugin(name: &str, interval: &str) -> String {
    format!("[plugins.{name}]\ncommand = [\"./{name}\"]\ninterval = \"{interval}\"\n")
}

/// The first report of a plugin, after the healthy one has run beside it as well.
fn report(site: &Site, plugin: &str) -> Value {
    let of = |site: &Site, name: &str| {
        let text = site.read("out.ndjson");
        // The last line may be half written.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let needle = format!("{{\"plugin\":\"{name}\"");
        let line = whole.lines().find(|line| line.starts_with(&needle))?;
        Some(serde_json::from_str::<Value>(line).unwrap())
    };
    let healthy = site.until("report of the healthy plugin", |site| of(site, "healthy"));
    assert_eq!(healthy["metrics"][0]["value"], true);
    site.until(plugin, |site| of(site, plugin))
}

/// A plugin's records: the names of those accepted, and the codes of those refused.
#[track_caller]
fn came_to(plugin: &str, accepted: &[&str], refused: &[&str], hint: &str) {
    let site = shared();
    let report = report(&site, plugin);
    let words = |list: &str, key: &str| -> Vec<String> {
        let list = report[list].as_array().unwrap();
        list.iter().map(|item| item[key].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(words("metrics", "name"), accepted, "{report}");
    assert_eq!(words("rejected", "code"), refused, "{report}");
    let counts = &report["counts"];
    assert_eq!(counts["produced"], accepted.len() + refused.len(), "{report}");
    if refused.is_empty() {
        return;
    }
    let said = words("rejected", "hint").join("\n");
    assert!(said.contains(hint), "no `{hint}` in `{said}`");
    // The same is said where the agent runs, with the plugin's name.
    let line = site.until("line of the log", |site| {
        let log = site.read("agent.log");
        let at = log.lines().position(|line| line.contains(plugin) && line.contains("refused"))?;
        let lines: Vec<&str> = log.lines().skip(at).take(2).collect();
        (lines.len() == 2).then(|| lines.join("\n"))
    });
    assert!(line.contains(refused[0]) && line.contains("hint: "), "{line}");
}

/// A plugin that does not run: the status names its file and says what to do.
#[track_caller]
fn does_not_run(plugin: &str, words: &[&str]) {
    let site = shared();
    let status = site.until("status", Site::status);
    let why = status["plugins"][plugin]["why"].as_str().unwrap_or_default().to_owned();
    assert_eq!(status["plugins"][plugin]["state"], "broken", "{status}");
    let path = site.path(plugin).display().to_string();
    for word in [path.as_str()].iter().chain(words) {
        assert!(why.contains(word), "no `{word}` in `{why}`");
        assert!(site.read("agent.log").contains(word), "no `{word}` in the log");
    }
    site.until("run of the healthy plugin", |site| {
        (site.status()?["plugins"]["healthy"]["runs"].as_u64()? > 0).then_some(())
    });
    let check = site.talaia(&["check", "--config", "talaia.toml"]);
    let line = check.code(1).stdout.lines().find(|line| line.contains(&path)).unwrap().to_owned();
    assert!(line.starts_with("bad ") && line.contains(plugin), "{line}");
}

#[test]
fn a_missing_file() {
    does_not_run("missing", &["there is no file", "check the path"]);
}

#[test]
fn a_file_that_is_not_executable() {
    does_not_run("not_executable", &["chmod +x"]);
}

#[test]
fn no_shebang() {
    does_not_run("no_shebang", &["#!/bin/sh"]);
}

#[test]
fn a_missing_interpreter() {
    does_not_run("no_interpreter", &["/opt/no/such/interpreter", "install it"]);
}

#[test]
fn dos_line_endings() {
    does_not_run("dos", &["ends as on Windows", "sed -i"]);
}

#[test]
fn a_world_writable_script() {
    let site = shared();
    let report = report(&site, "world_writable");
    let error = report["outcome"]["error"].as_str().unwrap();
    assert_eq!(report["outcome"]["kind"], "not_started");
    assert_eq!(report["status"], "unknown");
    let path = site.path("world_writable").display().to_string();
    assert!(error.contains(&path) && error.contains("chmod o-w"), "{error}");
    site.until("line of the log", |site| {
        site.read("agent.log").contains("chmod o-w").then_some(())
    });
    let check = site.talaia(&["check", "--config", "talaia.toml"]);
    assert!(check.code(1).stdout.contains("chmod o-w"), "{}", check.stdout);
}

#[test]
fn empty_output() {
    came_to("empty_output", &[], &[], "");
    assert_eq!(report(&shared(), "empty_output")["status"], "ok", "nothing to say is no failure");
}

#[test]
fn half_a_document() {
    came_to("half_document", &["a"], &["json-syntax"], "");
}

#[test]
fn several_documents() {
    came_to("several", &["a", "b", "c", "d"], &[], "");
}

#[test]
fn ten_megabytes_of_garbage() {
    let site = shared();
    let report = report(&site, "garbage");
    let outcome = json!({"kind": "flooded", "stream": "stdout", "limit": 1 << 20});
    assert_eq!(report["outcome"], outcome, "{report}");
    assert_eq!(report["counts"]["accepted"], 0);
    assert_eq!(report["counts"]["produced"], 1, "a stretch of garbage is one record");
    assert!(serde_json::to_string(&report).unwrap().len() < 4096, "the garbage is not kept");
    site.until("line of the log", |site| {
        site.read("agent.log").contains("over 8 times its cap").then_some(())
    });
}

#[test]
fn invalid_utf8() {
    came_to("not_utf8", &["a", "b"], &["json-utf8"], "UTF-8");
}

#[test]
fn a_hundred_thousand_nested_arrays() {
    came_to("nested", &["a"], &["too-deep"], "");
}

#[test]
fn duplicate_keys() {
    came_to("duplicates", &["a", "b"], &["duplicate-key"], "");
    assert_eq!(report(&shared(), "duplicates")["metrics"][0]["value"], 1, "the first is kept");
}

#[test]
fn nan() {
    came_to("not_a_number", &["a"], &["value-not-finite"], "`null`");
}

#[test]
fn a_trailing_comma() {
    came_to("comma", &["a", "b"], &["json-syntax"], "remove the comma");
}

#[test]
fn a_number_beyond_a_float() {
    came_to("huge", &["b"], &["value-range"], "`null`");
}

#[test]
fn an_integer_beyond_64_bits() {
    came_to("wide", &["b"], &["value-range"], "`float`");
    let report = report(&shared(), "wide");
    assert_eq!(report["metrics"][0]["value"], u64::MAX, "what fits is exact");
}

#[test]
fn a_hyphen_in_a_name() {
    came_to("hyphen", &["a"], &["name-hyphen"], "`disk_used`");
}

#[test]
fn a_wrong_type() {
    came_to("wrong_type", &["b"], &["value-type"], "");
}

#[test]
fn nothing_that_was_accepted_is_lost_beside_all_of_them() {
    let mut site = start();
    site.until("runs of all", |site| {
        let status = site.status()?;
        let ran = |name: &str| status["plugins"][name]["runs"].as_u64().unwrap_or(0);
        let all = PRINTS.iter().all(|(name, _)| ran(name) >= 1) && ran("healthy") >= 3;
        all.then_some(())
    });
    let pid = site.until("status", Site::status)["agent"]["pid"].as_u64().unwrap();
    assert!(site.stop(u32::try_from(pid).unwrap()).success(), "{}", site.read("agent.log"));
    let ledger = site.ledger();
    let text = site.read("out.ndjson");
    for name in PRINTS.iter().map(|(name, _)| *name).chain(["healthy"]) {
        let reports: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .filter(|report: &Value| report["plugin"] == name)
            .collect();
        let records: usize =
            reports.iter().map(|report| report["metrics"].as_array().unwrap().len()).sum();
        assert_eq!(ledger["plugins"][name]["accepted"], records, "{name}");
        assert_eq!(ledger["plugins"][name]["runs"], reports.len(), "{name}");
    }
    assert_eq!(ledger["outputs"]["file"]["spooled"], 0);
    assert_eq!(ledger["outputs"]["file"]["evicted"], json!({}));
}

#[test]
fn unknown_config_keys() {
    let mut site = Site::new();
    let good = format!("[hub]\nenabled = false\n{}", plugin("good", "200ms"));
    site.script("good", "echo '{\"a\": 1}'");
    let bad = format!("{good}intervall = \"1s\"\n");
    site.configure(&bad);
    let names = ["talaia.toml:11:1", "intervall", "^^^^^^^^^", "`interval`", "1 error"];
    site.talaia(&["check", "--config", "talaia.toml"]).code(78).says(&names);
    site.talaia(&["run", "--config", "talaia.toml"]).code(78).says(&names);
    // A running agent keeps what it has.
    site.configure(&good);
    site.start_agent();
    let runs = |site: &Site| site.status()?["plugins"]["good"]["runs"].as_u64();
    site.until("a run", |site| runs(site).filter(|n| *n > 0));
    site.configure(&bad);
    site.talaia(&["reload", "--config", "talaia.toml"]).code(78).says(&["intervall"]);
    site.configure(&good);
    let now = runs(&site).unwrap();
    site.until("more runs", |site| runs(site).filter(|n| *n > now + 1));
}

#[test]
fn a_port_in_use() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut site = Site::new();
    site.script("good", "echo '{\"a\": 1}'");
    site.configure(&format!("[hub]\nlisten = \"{address}\"\n{}", plugin("good", "200ms")));
    let pid = site.start_agent();
    let waiting = site.until("spooled records", |site| {
        let output = site.status()?["outputs"]["embedded"].clone();
        (output["spooled"].as_u64()? >= 3 && output["error"].is_string()).then_some(output)
    });
    assert!(waiting["error"].as_str().unwrap().contains(&address), "{waiting}");
    let log = site.read("agent.log");
    assert!(log.contains(&address) && log.contains("reports wait on disk"), "{log}");
    assert_eq!(log.matches("reports wait on disk").count(), 1, "said once");
    // It is tried again every ten seconds; what was kept arrives then.
    drop(taken);
    site.until("delivery", |site| {
        let output = site.status()?["outputs"]["embedded"].clone();
        (output["delivered"].as_u64()? >= waiting["spooled"].as_u64()?).then_some(())
    });
    assert!(site.stop(pid).success());
    let ledger = site.ledger();
    assert_eq!(ledger["outputs"]["embedded"]["evicted"], json!({}));
}

#[test]
fn an_unwritable_data_folder() {
    let site = Site::of_ordinary_user();
    let folder = site.path("locked");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, Permissions::from_mode(0o555)).unwrap();
    let data = folder.join("data");
    site.script("good", "echo '{\"a\": 1}'");
    let text = format!("[agent]\ndata_dir = \"{}\"\n{}", data.display(), plugin("good", "1s"));
    site.write("talaia.toml", text, 0o644);
    let path = data.display().to_string();
    site.talaia(&["run", "--config", "talaia.toml"]).code(74).says(&[
        &path,
        "data folder",
        "ermission denied",
    ]);
    // A file is in the way.
    site.write("data", "", 0o644);
    site.configure(&plugin("good", "1s"));
    site.talaia(&["run", "--config", "talaia.toml"])
        .code(74)
        .says(&[&site.path("data").display().to_string()]);
}

/// A file system of its own, taken away at the end.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mount(at: std::path::PathBuf) -> Option<Self> {
        fs::create_dir_all(&at).unwrap();
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=4m,mode=0700", "tmpfs"])
            .arg(&at)
            .stderr(std::process::Stdio::null())
            .status();
        mounted.is_ok_and(|status| status.success()).then_some(Self(at))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(std::process::Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

#[test]
fn a_full_disk() {
    let mut site = Site::new();
    let Some(disk) = SmallDisk::mount(site.path("data")) else {
        return skip("a full disk: only root can mount a small one");
    };
    let address = answer_always("503 Service Unavailable", "text/plain", "later");
    site.write("key", "a-key\n", 0o600);
    site.script("good", "echo '{\"a\": 1}'");
    let config = format!(
        "[outputs.main]\ntype = \"talaia\"\nurl = \"http://{address}\"\n\
         key = {{ file = \"key\" }}\ninterval = \"100ms\"\nstart = \"oldest\"\n{}",
        plugin("good", "50ms")
    );
    site.configure(&config);
    let pid = site.start_agent();
    let spooled = |site: &Site| site.status()?["outputs"]["main"]["spooled"].as_u64();
    site.until("spooled records", |site| spooled(site).filter(|n| *n > 0));
    // Somebody else fills the disk.
    let filler = disk.0.join("filler");
    let mut file = fs::File::create(&filler).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    while file.write_all(&[0]).is_ok() {}
    let why = site.until("word about the disk", |site| {
        let agent = site.status()?["agent"].clone();
        agent["spool_error"].as_str().map(str::to_owned)
    });
    assert!(why.contains("full"), "{why}");
    let log = site.read("agent.log");
    assert!(log.contains("the spool cannot be written"), "{log}");
    let runs = |site: &Site| {
        site.status()?["plugins"]["good"]["last"]["started"].as_str().map(str::to_owned)
    };
    let last = runs(&site);
    site.until("runs while the disk is full", |site| {
        runs(site).filter(|at| Some(at) != last.as_ref())
    });
    // Room again: what waited in memory is written.
    drop(file);
    fs::remove_file(filler).unwrap();
    let before = spooled(&site).unwrap();
    site.until("a spool that is written again", |site| {
        let status = site.status()?;
        let written = status["outputs"]["main"]["spooled"].as_u64()? > before;
        (status["agent"]["spool_error"].is_null() && written).then_some(())
    });
    assert!(site.stop(pid).success());
    let ledger = site.ledger();
    assert_eq!(ledger["outputs"]["main"]["evicted"], json!({}), "nothing was lost");
    assert_eq!(ledger["outputs"]["main"]["spooled"], ledger["plugins"]["good"]["accepted"]);
    drop(disk);
}

#[test]
fn a_second_agent_on_the_same_data_folder() {
    let mut site = Site::new();
    site.script("good", "echo '{\"a\": 1}'");
    site.configure(&format!("[hub]\nenabled = false\n{}", plugin("good", "200ms")));
    let pid = site.start_agent();
    site.until("start", Site::status);
    let data = site.path("data").display().to_string();
    let process = format!("process {pid}");
    site.talaia(&["run", "--config", "talaia.toml"]).code(74).says(&[
        &data,
        &process,
        "`data_dir`",
        "--sandbox",
    ]);
    let runs = |site: &Site| site.status()?["plugins"]["good"]["runs"].as_u64();
    let now = runs(&site).unwrap();
    site.until("runs of the first agent", |site| runs(site).filter(|n| *n > now + 1));
}

#[test]
fn a_hub_newer_than_the_agent() {
    let problem = json!({
        "status": 400, "code": "protocol", "title": "another version of the protocol",
        "detail": "this hub is talaia 9.1.0 and speaks protocol v9: install talaia 9.1.0 on the agent",
    });
    let address =
        answer_always("400 Bad Request", "application/problem+json", &problem.to_string());
    let mut site = Site::new();
    site.write("key", "a-key\n", 0o600);
    site.script("good", "echo '{\"a\": 1}'");
    site.configure(&format!(
        "[outputs.main]\ntype = \"talaia\"\nurl = \"http://{address}\"\n\
         key = {{ file = \"key\" }}\ninterval = \"100ms\"\n{}",
        plugin("good", "200ms")
    ));
    let pid = site.start_agent();
    let output = site.until("word of the output", |site| {
        let output = site.status()?["outputs"]["main"].clone();
        (output["state"] == "hold" && output["spooled"].as_u64()? >= 2).then_some(output)
    });
    let error = output["error"].as_str().unwrap();
    assert!(error.contains("install talaia 9.1.0 on the agent"), "{error}");
    assert!(site.read("agent.log").contains("output=main"), "{}", site.read("agent.log"));
    assert!(site.stop(pid).success());
    let ledger = site.ledger();
    let (main, good) = (&ledger["outputs"]["main"], &ledger["plugins"]["good"]);
    assert_eq!((&main["delivered"], &main["spooled"]), (&json!(0), &good["accepted"]));
    balances(&ledger);
}

/// A server that has one answer to everything, for as long as the tests run; its address.
fn answer_always(status: &str, kind: &str, body: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    );
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // Read to its end: an answer to half a request would be lost with the connection.
            if read_request(&mut stream).is_some() {
                drop(stream.write_all(answer.as_bytes()));
            }
        }
    });
    address
}

fn read_request(stream: &mut TcpStream) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line.is_empty() {
            break;
        }
    }
    reader.read_exact(&mut vec![0; length]).ok()
}
