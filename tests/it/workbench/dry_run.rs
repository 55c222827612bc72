//! `talaia test`: what is shown, what is advised, what is sent, and its other ways to run.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::pty::Pty;
use crate::support::{Site, skip};

#[test]
fn refused_bytes_are_underlined_where_they_stand() {
    let site = Site::new();
    let line = r#"{"é-x": 1, "ok": 2, "nested": {"a": 1}, "last": 3}"#;
    site.write("out", format!("{line}\n"), 0o644);
    site.script("plugin", "cat out");
    let shown = site.talaia(&["test", "./plugin"]).code(1).stdout.clone();
    let rows: Vec<&str> = shown.lines().collect();
    let at = rows.iter().position(|row| row.contains("ok\": 2")).unwrap();
    let left = |row: &str| row.split('│').next().unwrap_or_default().to_owned();
    let (text, under): (Vec<char>, Vec<char>) =
        (left(rows[at]).chars().collect(), left(rows[at + 1]).chars().collect());
    let marked: String =
        text.iter().zip(&under).filter(|(_, mark)| **mark == '^').map(|(c, _)| *c).collect();
    assert!(marked.starts_with("\"é-x\""), "{shown}");
    assert!(
        shown.contains("name-hyphen 1:2 /é-x") || shown.contains("name-invalid 1:2 /é-x"),
        "{shown}"
    );
    assert!(shown.contains("value-nested 1:32 /nested"), "{shown}");
    assert!(shown.contains("✓ ok") && shown.contains("✓ last"), "{shown}");
}

#[test]
fn of_a_long_output_all_that_was_refused_is_shown_and_the_rest_is_counted() {
    let site = Site::new();
    let script = "i=0; while [ $i -lt 500 ]; do i=$((i + 1)); echo \"{\\\"m$i\\\": $i}\"; done; \
                  echo oops; echo '{\"end\": 1}'; head -c 3000 /dev/zero | tr '\\0' x";
    site.script("plugin", script);
    let done = site.talaia(&["test", "./plugin"]);
    let shown = &done.code(1).stdout;
    assert!(shown.contains("\n 501  oops"), "{shown}");
    assert!(shown.contains("… 460 more lines with 460 records"), "{shown}");
    assert!(shown.lines().count() < 120, "{shown}");
    assert!(shown.lines().all(|line| line.chars().count() <= 100), "{shown}");
}

#[test]
fn advice_comes_with_what_happens_from_run_to_run() {
    let site = Site::new();
    let script = "n=$(cat \"$TALAIA_STATE_DIR/n\" 2>/dev/null || echo 0); n=$((n + 1)); echo $n > \"$TALAIA_STATE_DIR/n\"\n\
        echo \"[{\\\"name\\\": \\\"reads\\\", \\\"value\\\": $((9 - n)), \\\"type\\\": \\\"counter\\\"}]\"\n\
        [ $n = 2 ] || echo '{\"sometimes\": 1}'";
    site.script("plugin", script);
    let once = site.talaia(&["test", "./plugin", "--strict"]);
    assert!(!once.code(0).stdout.contains("advice"), "{}", once.stdout);
    let thrice = site.talaia(&["test", "./plugin", "--times", "3"]);
    let shown = &thrice.code(0).stdout;
    for words in
        ["counter-falls", "from 8 to 7", "series-unsteady", "came in 2 of 3 runs", "── run 3"]
    {
        assert!(shown.contains(words), "no `{words}` in\n{shown}");
    }
    let done = site.talaia(&["test", "./plugin", "--times", "3", "--json", "--strict"]);
    let reports: Vec<Value> =
        done.code(1).stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(reports.len(), 3);
    assert_eq!(reports[0]["warnings"].as_array().unwrap().len(), 0);
    let last = reports[2]["warnings"].to_string();
    assert!(last.contains("counter-falls: ") && last.contains("series-unsteady: "), "{last}");
}

#[test]
fn what_would_be_sent_is_a_batch_with_the_records_and_without_the_key() {
    let site = Site::new();
    site.script("plugin", "echo '{\"users\": 3}'");
    site.write("key", "topsecret\n", 0o600);
    site.configure(
        "tags = { env = \"prod\" }\n[plugins.plugin]\ncommand = [\"./plugin\"]\n\
         [outputs.main]\ntype = \"talaia\"\nurl = \"https://hub.example.org\"\nkey = { file = \"key\" }\n\
         [outputs.copy]\ntype = \"file\"\npath = \"copy.ndjson\"\n",
    );
    let done = site.talaia(&["test", "plugin", "-c", "talaia.toml", "--sent"]);
    let shown = &done.code(0).stdout;
    assert!(shown.contains("main: 1 report, 1 record to https://hub.example.org"), "{shown}");
    assert!(shown.contains("POST https://hub.example.org/api/v1/ingest"), "{shown}");
    assert!(!shown.contains("topsecret"), "{shown}");
    let bodies: Vec<Value> =
        shown.lines().filter_map(|line| serde_json::from_str(line.trim()).ok()).collect();
    let batch = bodies.iter().find(|body| body["reports"].is_array()).unwrap();
    assert_eq!(batch["output"], "main");
    assert_eq!(batch["reports"][0]["metrics"][0]["tags"]["env"], "prod");
    let line = bodies.iter().find(|body| body["plugin"] == "plugin").unwrap();
    assert_eq!(line["metrics"][0]["name"], "users");
    assert!(!site.path("copy.ndjson").exists(), "a dry run sends nothing");
}

#[test]
fn a_throw_away_hub_has_what_was_sent() {
    let site = Site::new();
    let script = r#"cat <<'EOT'
[{"name":"a","value":18446744073709551615},{"name":"b","value":0.1,"unit":"s","tags":{"x":"y z","é":"/"}},
 {"name":"c","value":"text \"quoted\""},{"name":"d","value":true},{"name":"e","value":null},
 {"name":"f","value":71.2,"type":"percent","time":1700000000},{"name":"g","value":-9223372036854775808}]
EOT"#;
    site.script("plugin", script);
    let done = site.talaia(&["test", "./plugin", "--verify", "--times", "3"]);
    let shown = &done.code(0).stdout;
    // One of them says its own time, the same each run.
    assert!(shown.contains("19 values sent to a hub and read back: the same"), "{shown}");
    let left: Vec<_> = fs::read_dir(site.path(".")).unwrap().flatten().collect();
    let left = left.iter().any(|entry| entry.file_name().to_string_lossy().starts_with("talaia-"));
    assert!(!left, "the hub's folder is gone");
}

#[test]
fn a_watched_plugin_is_tried_again_when_it_changes_and_nothing_is_left_when_it_ends() {
    let mut site = Site::new();
    site.script("plugin", "echo '{\"a\": 1,}'");
    let command = site.command(&["test", "./plugin", "--watch"]);
    let watch = site.start(command, "watch.log");
    let comes = |site: &Site, words: &str| {
        site.until(words, |site| site.read("watch.log").contains(words).then_some(()));
    };
    comes(&site, "remove the comma");
    comes(&site, "waiting for a file to change");
    site.write("plugin", "echo '{\"a\": 1}'\n", 0o755);
    comes(&site, "has no `#!` line");
    site.script("plugin", "sleep 0.1; echo '{\"a\": 41}'");
    comes(&site, "✓ a  41");
    site.script("plugin", "echo $$ > pid; exec sleep 600");
    site.until("a run", |site| site.path("pid").exists().then_some(()));
    let begun = Instant::now();
    assert!(site.stop(watch).code().is_some(), "it ends by itself");
    assert!(begun.elapsed() < Duration::from_secs(20), "and soon");
    let pid = site.read("pid").trim().to_owned();
    assert!(!std::path::Path::new("/proc").join(&pid).exists(), "the plugin {pid} lives on");
}

#[test]
fn the_service_and_the_shell_are_told_apart() {
    let site = Site::new();
    fs::create_dir(site.path("tools")).unwrap();
    site.script("tools/mytool", "echo 3");
    site.script(
        "plugin",
        "echo \"{\\\"users\\\": $(mytool || echo null), \\\"db\\\": \\\"$DB_HOST\\\"}\"",
    );
    let mut command = site.command(&["test", "./plugin", "--as-service"]);
    command.env("DB_HOST", "db-1").env("LANG", "de_DE.UTF-8").env("TZ", "Europe/Madrid");
    let done = crate::support::finish(command, b"");
    let shown = done.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    for words in [
        "your shell and the service",
        "not found by the service:",
        "tools/mytool",
        "the program names `DB_HOST`: set `env` or `pass_env`",
        "your shell prints numbers with a comma",
        "TZ shell Europe/Madrid",
        "user shell",
    ] {
        assert!(shown.contains(words), "no `{words}` in\n{}", done.stdout);
    }
}

#[test]
fn root_tries_a_plugin_as_the_user_of_the_service() {
    if !rustix::process::geteuid().is_root() {
        return skip("only root runs plugins as others");
    }
    let site = Site::new();
    fs::set_permissions(site.path("."), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    site.script("plugin", "echo \"{\\\"user\\\": \\\"$(id -un)\\\"}\"");
    site.configure("trusted_owners = [\"nobody\"]\n[plugins.plugin]\ncommand = [\"./plugin\"]\n");
    fs::create_dir(site.path("data")).unwrap();
    std::os::unix::fs::chown(site.path("data"), Some(65534), Some(65534)).unwrap();
    let test =
        |more: &[&str]| site.talaia(&[&["test", "plugin", "-c", "talaia.toml"], more].concat());
    let plain = test(&[]);
    plain.code(0).says(&["it ran as root, and the service is nobody"]);
    assert!(plain.stdout.contains("user  root"), "{}", plain.stdout);
    let service = test(&["--as-service"]);
    assert!(service.code(0).stdout.contains("user  nobody"), "{}", service.stdout);
}

#[test]
fn nothing_outlives_a_look_at_a_long_lived_plugin() {
    let mut site = Site::new();
    site.script("plugin", "echo $$ >> pids; while :; do echo '{\"a\": 1}'; sleep 0.1; done");
    site.configure("[plugins.plugin]\ncommand = [\"./plugin\"]\nmode = \"stream\"\n");
    let gone = |site: &Site| {
        let pids = site.read("pids");
        assert!(!pids.is_empty());
        for pid in pids.lines() {
            let process = std::path::Path::new("/proc").join(pid);
            assert!(!process.exists(), "the plugin {pid} lives on");
        }
        let left: Vec<_> = fs::read_dir(site.path(".")).unwrap().flatten().collect();
        let folder = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with("talaia-");
        assert!(!left.iter().any(|entry| folder(&entry.file_name())), "its folder is gone");
    };
    site.talaia(&["schema", "infer", "plugin", "-c", "talaia.toml", "--times", "1"]).code(0);
    gone(&site);
    site.talaia(&["test", "plugin", "-c", "talaia.toml"]).code(0);
    gone(&site);
    // A terminal that is closed.
    let command = site.command(&["test", "plugin", "-c", "talaia.toml", "--times", "1000"]);
    let before = site.read("pids").lines().count();
    let test = site.start(command, "test.log");
    site.until("its start", |site| (site.read("pids").lines().count() > before).then_some(()));
    site.signal(test, rustix::process::Signal::HUP);
    let ended = site.until_ended(test);
    assert!(ended.code().is_some(), "it ends by itself: {ended}");
    gone(&site);
}

#[test]
fn a_long_lived_plugin_that_says_why_it_prints_nothing_is_heard() {
    let site = Site::new();
    site.script("plugin", "while :; do echo 'cannot reach db-1' >&2; sleep 0.1; done");
    site.configure("[plugins.plugin]\ncommand = [\"./plugin\"]\nmode = \"stream\"\n");
    let done = site.talaia(&["test", "plugin", "-c", "talaia.toml", "--wait", "500ms"]);
    let shown = done.code(1).stdout.clone();
    assert!(shown.contains("cannot reach db-1") && shown.contains("may say why"), "{shown}");
    assert!(!shown.contains("buffered"), "{shown}");
    let words = ["test", "plugin", "-c", "talaia.toml", "--wait", "500ms", "--json"];
    let report = site.talaia(&words).code(1).json();
    assert!(report["warnings"][0].as_str().unwrap().starts_with("silent: "), "{report}");
}

#[test]
fn every_value_is_seen_however_long_its_name_is() {
    let site = Site::new();
    let metrics: Vec<String> = (0..9)
        .map(|n| format!("{{\"name\": \"http_request_duration_seconds_{n}\", \"value\": 4{n}.25, \"unit\": \"s\"}}"))
        .collect();
    let text = format!(
        "[{},{{\"name\":\"up\",\"value\":77}},{{\"name\":\"big\",\"value\":1e308}}]",
        metrics.join(",")
    );
    site.write("out", text, 0o644);
    site.script("plugin", "cat out");
    let shown = site.talaia(&["test", "./plugin"]).code(0).stdout.clone();
    let right: String =
        shown.lines().filter_map(|row| row.split_once('│')).map(|(_, told)| told).collect();
    for value in (0..9).map(|n| format!("4{n}.25 s")).chain(["77".to_owned(), "1e308".to_owned()]) {
        assert!(right.contains(&value), "no {value} in\n{shown}");
    }
    assert!(shown.lines().all(|line| line.chars().count() <= 100), "{shown}");
}

#[test]
fn a_config_that_was_named_has_to_load_and_another_is_said_to_be_left_out() {
    let site = Site::new();
    site.script("plugin", "echo '{\"a\": 1}'");
    site.talaia(&["test", "./plugin", "-c", "none.toml"]).code(78);
    site.configure("[plugins.plugin]\ncommand = [\"./plugin\"]\nunknown = 1\n");
    site.talaia(&["test", "./plugin", "-c", "talaia.toml"]).code(78).says(&["unknown"]);
    let mut command = site.command(&["test", "./plugin"]);
    command.env("TALAIA_CONFIG_FILE", site.path("talaia.toml"));
    let done = crate::support::finish(command, b"");
    done.code(0).says(&["tried without", "which does not load"]);
    site.configure("[plugins.mine]\ncommand = [\"./plugin\"]\n");
    let done = site.talaia(&["test", "./plugin", "-c", "talaia.toml", "--json"]);
    assert_eq!(done.code(0).says(&["it is the plugin `mine` of"]).json()["plugin"], "mine");
}

#[test]
fn eighty_columns_are_enough_and_colours_say_nothing_alone() {
    let site = Site::new();
    let line = r#"[{"name":"http_request_duration_seconds","value":0.25,"unit":"s"},{"name":"disk-used","value":"71%"},{"name":"up","value":true,"tags":{"instance":"db-1.example.org","job":"postgres"}}]"#;
    site.write("out", format!("looking\n{line}\n"), 0o644);
    site.script("plugin", "cat out; echo 'a long line on stderr that goes beyond what eighty columns of a terminal can show at once' >&2");
    for no_color in [false, true] {
        let mut command = site.command(&["test", "./plugin"]);
        if no_color {
            command.env("NO_COLOR", "1");
        }
        let mut pty = Pty::start(command, 80, 60);
        let screen = pty.until("the end", |screen| screen.contains("the agent's own hub"));
        assert_eq!(pty.end(), 1);
        for words in [
            "✓ http_request_duration_seconds",
            "0.25 s",
            "✗ name-hyphen 2:",
            "rename it to `disk_used`",
            "instance=db-1.example.org",
            "can show at once",
            "^^^^^^^^^^^",
        ] {
            assert!(screen.contains(words), "no `{words}` in\n{screen}");
        }
        // The two sides stay apart all the way down.
        let columns = |line: &str| line.split('│').next().map(|left| left.chars().count());
        let mut edges = screen.lines().filter(|line| line.contains('│')).map(columns);
        let first = edges.next().unwrap();
        assert!(edges.all(|edge| edge == first), "{screen}");
        assert_eq!(
            pty.raw().contains("\u{1b}[31m") || pty.raw().contains("\u{1b}[1m"),
            !no_color,
            "{}",
            pty.raw()
        );
    }
}
