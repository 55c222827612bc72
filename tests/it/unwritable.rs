//! What may not be written or read, as somebody who is not root: clear errors that name the path and
//! what to do, the right exit codes, and nothing lost.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::{Done, Site, skip};

/// A site of somebody who is not root, with one plugin and a hub of its own.
fn site() -> Site {
    furnish(Site::of_ordinary_user())
}

fn furnish(site: Site) -> Site {
    site.script("beat", "echo '{\"up\": 1}'");
    site.configure(
        "[plugins.beat]\ncommand = [\"./beat\"]\ninterval = \"200ms\"\n\
         [hub]\nlisten = \"127.0.0.1:0\"\n",
    );
    site
}

/// A site whose agent has run, delivered something and ended.
fn used_site() -> Site {
    use_once(site())
}

fn use_once(mut site: Site) -> Site {
    let pid = site.start_agent();
    until_delivered(&site, 0);
    assert!(site.stop(pid).success());
    site
}

#[track_caller]
fn until_delivered(site: &Site, more_than: u64) -> u64 {
    site.until("delivery", |site| {
        let delivered = site.status()?["outputs"]["embedded"]["delivered"].as_u64()?;
        (delivered > more_than).then_some(delivered)
    })
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

const RUN: &[&str] = &["run", "--config", "talaia.toml"];

/// Runs the agent, which must end by itself.
fn run(site: &Site) -> Done {
    site.talaia(RUN)
}

/// Everything that refuses names the path and the reason, and panics nowhere.
#[track_caller]
fn refuses(done: &Done, code: i32, path: &Path, words: &[&str]) {
    done.code(code).says(&[&path.display().to_string()]).says(words);
    assert!(!done.stderr.contains("panicked"), "{}", done.stderr);
}

/// The agent runs and its ledger has all that it had before.
#[track_caller]
fn works_again(mut site: Site) {
    let before = delivered_on_disk(&site);
    let pid = site.start_agent();
    until_delivered(&site, before);
    assert!(site.stop(pid).success(), "{}", site.read("agent.log"));
    assert!(delivered_on_disk(&site) > before);
}

fn delivered_on_disk(site: &Site) -> u64 {
    site.ledger()["outputs"]["embedded"]["delivered"].as_u64().unwrap()
}

#[test]
fn a_data_folder_that_cannot_be_made() {
    let site = site();
    let folder = site.path("closed");
    fs::create_dir(&folder).unwrap();
    chmod(&folder, 0o555);
    let config = site.read("talaia.toml").replace("/data\"", "/closed/data\"");
    site.write("talaia.toml", config, 0o644);
    let words = ["cannot make the data folder", "Permission denied", "hint:", "data_dir"];
    refuses(&run(&site), 74, &folder.join("data"), &words);
    chmod(&folder, 0o755);
}

#[test]
fn a_data_folder_that_cannot_be_written() {
    let site = used_site();
    chmod(&site.path("data"), 0o500);
    refuses(&run(&site), 74, &site.path("data"), &["Permission denied", "must be writable"]);
    chmod(&site.path("data"), 0o700);
    // Before it was ever used, the lock is the first to be made.
    fs::remove_file(site.path("data/agent.lock")).unwrap();
    chmod(&site.path("data"), 0o500);
    let words = ["cannot lock", "Permission denied", "hint:", "data_dir"];
    refuses(&run(&site), 74, &site.path("data/agent.lock"), &words);
    chmod(&site.path("data"), 0o700);
    works_again(site);
}

#[test]
fn a_spool_that_cannot_be_written() {
    let site = used_site();
    let spool = site.path("data/spool.db");
    chmod(&spool, 0o400);
    let before = fs::read(&spool).unwrap();
    refuses(&run(&site), 74, &spool, &["cannot write", "must be writable", "Permission denied"]);
    assert_eq!(fs::read(&spool).unwrap(), before, "it is left as it was");
    assert!(!site.path("data/spool.db-wal").exists(), "a log that is read only would stay so");
    // Looking at it takes no more than reading, where there is no log to make room for.
    chmod(&spool, 0o600);
    works_again(site);
}

#[test]
fn a_log_of_the_spool_that_cannot_be_written() {
    let mut site = site();
    let pid = site.start_agent();
    until_delivered(&site, 0);
    // As by a power cut: the log stays.
    site.kill(pid);
    let log = site.path("data/spool.db-wal");
    assert!(log.exists());
    chmod(&log, 0o400);
    refuses(&run(&site), 74, &log, &["cannot write", "must be writable"]);
    chmod(&log, 0o600);
    works_again(site);
}

#[test]
fn a_spool_that_nobody_may_read() {
    let site = used_site();
    let spool = site.path("data/spool.db");
    chmod(&spool, 0o000);
    refuses(&run(&site), 74, &spool, &["Permission denied"]);
    let aside = fs::read_dir(site.path("data"))
        .unwrap()
        .any(|entry| entry.unwrap().file_name().to_string_lossy().contains("damaged"));
    assert!(!aside, "a file that cannot be read is not a damaged one");
    chmod(&spool, 0o600);
    works_again(site);
}

#[test]
fn a_place_for_the_socket_that_is_taken() {
    let mut site = used_site();
    let socket = site.path("data/talaia.sock");
    fs::create_dir(&socket).unwrap();
    let before = delivered_on_disk(&site);
    let pid = site.start_agent();
    site.until("the line about the socket", |site| {
        site.read("agent.log").contains("will not work").then_some(())
    });
    // It runs all the same.
    site.until("delivery", |site| (delivered_on_disk(site) > before).then_some(()));
    assert!(site.stop(pid).success());
    let log = site.read("agent.log");
    let line = log.lines().find(|line| line.contains("will not work")).unwrap();
    assert!(line.contains(&socket.display().to_string()) && line.contains("removed"), "{line}");
    fs::remove_dir(&socket).unwrap();
    works_again(site);
}

#[test]
fn a_state_folder_that_cannot_be_made() {
    let mut site = used_site();
    site.script("other", "echo '{\"up\": 1}'");
    let more = "[plugins.other]\ncommand = [\"./other\"]\ninterval = \"200ms\"\n";
    let config = site.read("talaia.toml") + more;
    site.write("talaia.toml", config, 0o644);
    let plugins = site.path("data/plugins");
    chmod(&plugins, 0o500);
    let before = delivered_on_disk(&site);
    let pid = site.start_agent();
    until_delivered(&site, before);
    let status = site.status().unwrap();
    let other = &status["plugins"]["other"];
    let why = other["why"].as_str().unwrap_or_default();
    let path = plugins.join("other");
    assert!(why.contains(&path.display().to_string()), "{other}");
    assert!(why.contains("Permission denied"), "{other}");
    assert_eq!(other["runs"], 0, "{other}");
    assert!(site.stop(pid).success());
    let log = site.read("agent.log");
    assert!(log.contains(&path.display().to_string()), "{log}");
    chmod(&plugins, 0o700);
    works_again(site);
}

/// As after a start on a full disk: nobody has to reload for it.
#[test]
fn a_plugin_whose_folder_could_not_be_made_runs_once_it_can() {
    let mut site = used_site();
    site.script("other", "echo '{\"up\": 1}'");
    let more = "[plugins.other]\ncommand = [\"./other\"]\ninterval = \"200ms\"\n";
    let config = site.read("talaia.toml") + more;
    site.write("talaia.toml", config, 0o644);
    let plugins = site.path("data/plugins");
    chmod(&plugins, 0o500);
    let pid = site.start_agent();
    let state =
        |site: &Site| site.status()?["plugins"]["other"]["state"].as_str().map(str::to_owned);
    site.until("word of it", |site| state(site).filter(|state| state == "broken"));
    chmod(&plugins, 0o700);
    site.until("its runs", |site| {
        let runs = site.status()?["plugins"]["other"]["runs"].as_u64()?;
        (runs > 0).then_some(())
    });
    assert_eq!(state(&site).as_deref(), Some("ready"));
    let log = site.read("agent.log");
    assert_eq!(log.matches("does not run: ").count(), 1, "said once: {log}");
    assert!(site.stop(pid).success());
}

#[test]
fn a_configuration_that_cannot_be_read() {
    let site = site();
    let config = site.path("talaia.toml");
    chmod(&config, 0o000);
    refuses(&run(&site), 78, &config, &["Permission denied", "let the user that runs talaia"]);
    let check = site.talaia(&["check", "--config", "talaia.toml"]);
    refuses(&check, 78, &config, &["Permission denied"]);
    let status = site.talaia(&["status", "--config", "talaia.toml"]);
    refuses(&status, 78, &config, &["Permission denied"]);
    chmod(&config, 0o644);
    assert!(!site.path("data").exists(), "nothing was begun");
}

#[test]
fn a_hubs_folder_that_cannot_be_used() {
    let site = used_site();
    let hub = site.path("data/hub");
    let folder = hub.display().to_string();
    let start = || site.talaia(&["hub", "--listen", "127.0.0.1:0", "--data-dir", &folder]);

    let closed = site.path("closed");
    fs::create_dir(&closed).unwrap();
    chmod(&closed, 0o555);
    let inside = closed.join("hub");
    let inside = inside.display().to_string();
    let done = site.talaia(&["hub", "--listen", "127.0.0.1:0", "--data-dir", &inside]);
    refuses(&done, 74, &closed.join("hub"), &["cannot make the hub's folder", "Permission denied"]);

    chmod(&hub, 0o500);
    refuses(&start(), 74, &hub, &["cannot write", "must be writable by the user"]);
    chmod(&hub, 0o700);
    let database = hub.join("hub.db");
    chmod(&database, 0o400);
    refuses(&start(), 74, &database, &["cannot write", "must be writable by the user"]);
    chmod(&database, 0o600);
    let credentials = hub.join("credentials.json");
    chmod(&credentials, 0o000);
    refuses(&start(), 74, &credentials, &["cannot read", "Permission denied"]);
    chmod(&credentials, 0o600);
    works_again(site);
}

#[test]
fn an_embedded_hub_that_cannot_write_holds_nothing_up() {
    let mut site = used_site();
    let hub = site.path("data/hub");
    chmod(&hub, 0o500);
    let pid = site.start_agent();
    let spooled = site.until("reports that wait on disk", |site| {
        let status = site.status()?;
        let spooled = status["outputs"]["embedded"]["spooled"].as_u64()?;
        (spooled >= 3).then_some(spooled)
    });
    assert!(site.stop(pid).success());
    let log = site.read("agent.log");
    assert!(log.contains("the hub cannot start, reports wait on disk"), "{log}");
    assert!(log.contains(&hub.display().to_string()), "{log}");
    chmod(&hub, 0o700);
    let ledger = site.ledger();
    assert!(ledger["outputs"]["embedded"]["spooled"].as_u64().unwrap() >= spooled);
    works_again(site);
}

/// A data folder on a file system that is mounted read only, which stops root as well. This agent
/// is root's where root runs the tests, and nobody else may mount.
#[test]
fn a_data_folder_on_a_read_only_mount() {
    let site = use_once(furnish(Site::new()));
    let data = site.path("data");
    let program = env!("CARGO_BIN_EXE_talaia");
    let mounted = |line: &str| {
        let mut command = Command::new("unshare");
        let script = format!(
            "set -e; mount --bind \"$1\" \"$1\"; mount -o remount,ro,bind \"$1\"; shift; {line}"
        );
        command
            .args(["--mount", "--propagation", "private", "sh", "-c", &script, "sh"])
            .arg(&data)
            .arg(program)
            .current_dir(site.path("."))
            .env_clear()
            .env("HOME", site.path("home"))
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null());
        command.output()
    };
    if !mounted("true").is_ok_and(|done| done.status.success()) {
        skip("a read-only mount: it takes root and `unshare --mount`");
        return;
    }
    let done = mounted("exec \"$1\" run --config talaia.toml").unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(74), "{said}");
    assert!(said.contains("Read-only file system") && said.contains("agent.lock"), "{said}");
    assert!(said.contains("hint:") && !said.contains("panicked"), "{said}");
    let done = mounted("exec \"$1\" hub --listen 127.0.0.1:0 --data-dir data/hub").unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(74), "{said}");
    assert!(said.contains("Read-only file system") && said.contains("data/hub"), "{said}");
    // To look at what is there takes no writing.
    let done = mounted("exec \"$1\" spool verify --config talaia.toml").unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    works_again(site);
}
