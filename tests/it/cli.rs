//! Every command, as it is typed: what it prints, where, and its exit code.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::{CWD, Mode, mkfifoat};
use serde_json::{Value, json};

use crate::support::{Done, Site, finish, http, skip};

const COMMANDS: &[&[&str]] = &[
    &[],
    &["run"],
    &["test"],
    &["trigger"],
    &["decode"],
    &["check"],
    &["new"],
    &["emit"],
    &["schema"],
    &["schema", "print"],
    &["schema", "infer"],
    &["schema", "diff"],
    &["explain"],
    &["status"],
    &["top"],
    &["reload"],
    &["spool"],
    &["spool", "status"],
    &["spool", "ls"],
    &["spool", "cat"],
    &["spool", "verify"],
    &["quarantine"],
    &["quarantine", "ls"],
    &["quarantine", "show"],
    &["quarantine", "replay"],
    &["quarantine", "drop"],
    &["keys"],
    &["keys", "list"],
    &["keys", "create"],
    &["keys", "rotate"],
    &["keys", "revoke"],
    &["keys", "audit"],
    &["monitor"],
    &["monitor", "create"],
    &["monitor", "list"],
    &["monitor", "show"],
    &["monitor", "edit"],
    &["monitor", "delete"],
    &["monitor", "suspend"],
    &["monitor", "activate"],
    &["monitor", "add-result"],
    &["monitor", "results"],
    &["monitor", "report"],
    &["monitor", "prune"],
    &["plugin"],
    &["plugin", "list"],
    &["plugin", "show"],
    &["plugin", "add"],
    &["plugin", "remove"],
    &["plugin", "enable"],
    &["plugin", "disable"],
    &["plugin", "check"],
    &["plugin", "pack"],
    &["plugin", "install"],
    &["plugin", "upgrade"],
    &["plugin", "rollback"],
    &["plugin", "uninstall"],
    &["plugin", "register"],
    &["plugin", "publish"],
    &["plugin", "submit"],
    &["plugin", "status"],
    &["plugin", "review"],
    &["plugin", "approve"],
    &["plugin", "reject"],
    &["plugin", "withdraw"],
    &["plugin", "key"],
    &["plugin", "mirror"],
    &["plugin", "verify"],
    &["hub"],
    &["hub", "login"],
    &["hub", "account"],
    &["hub", "account", "create"],
    &["completions"],
    &["man"],
];

fn plugin(name: &str, rest: &str) -> String {
    format!("[plugins.{name}]\ncommand = [\"./{name}\"]\n{rest}\n")
}

fn validator(schema: &str) -> jsonschema::Validator {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas").join(schema);
    let schema: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    jsonschema::options().build(&schema).unwrap()
}

#[track_caller]
fn holds(validator: &jsonschema::Validator, value: &Value) {
    let errors: Vec<String> = validator.iter_errors(value).map(|e| e.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?} in {value}");
}

#[test]
fn help_is_as_it_was() {
    let site = Site::new();
    let mut all = String::new();
    for words in COMMANDS {
        let line: Vec<&str> = words.iter().copied().chain(["--help"]).collect();
        let done = site.talaia(&line);
        all.push_str(&format!("$ talaia {}\n{}\n", line.join(" "), done.code(0).stdout));
    }
    // Each command of the list is in the snapshot, and each of the program is in the list.
    let top = site.talaia(&["--help"]).stdout;
    let listed = top.lines().skip_while(|line| *line != "Commands:").skip(1);
    for name in
        listed.take_while(|line| !line.is_empty()).filter_map(|l| l.split_whitespace().next())
    {
        assert!(COMMANDS.iter().any(|words| words.first() == Some(&name)), "{name} is not listed");
    }
    insta::assert_snapshot!("help", all);
}

#[test]
fn the_version_is_that_of_the_crate() {
    let done = Site::new().talaia(&["--version"]);
    assert_eq!(done.code(0).stdout, format!("talaia {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn what_makes_no_sense_is_usage() {
    let site = Site::new();
    site.configure(&plugin("good", ""));
    site.script("good", "echo '{}'");
    let every = ["run", "./good", "--every", "5"];
    for (words, said) in [
        (&["nonsense"][..], "unrecognized subcommand"),
        (&["emit"], "NAME=VALUE"),
        (&["emit", "a-b=1"], "`a_b`"),
        (&["emit", "a=1", "b=2", "--label", "x"], "--label names one metric"),
        (&["explain", "name-hyphn"], "did you mean `name-hyphen`"),
        (&["schema", "print", "nothing"], "document"),
        (&["decode", "--format", "nothing"], "json"),
        (&["completions", "nothing"], "possible values"),
        (&["new", "a.b"], "small letters"),
        (&["plugin", "rollback", "A"], "small letters"),
        (&["plugin", "upgrade", "a", "1.x"], "version"),
        (&["new", "plug", "--lang", "cobol"], "ruby"),
        (&["new", "plug", "--lang", "py"], "did you mean `python`?"),
        (&["new", "plug", "--lang", "pyton"], "did you mean `python`?"),
        (&["test", "nobody", "-c", "talaia.toml"], "there are good"),
        (&["test", "good", "-c", "talaia.toml", "--", "x"], "program given by its path"),
        (&["run", "--every", "5s"], "SCRIPT"),
        (&every, "such as 5s"),
        (&["run", "-c", "talaia.toml", "./good"], "cannot be used with"),
    ] {
        site.talaia(words).code(2).says(&[said]);
    }
}

#[test]
fn a_configuration_that_does_not_load_is_78() {
    let site = Site::new();
    site.write("bad.toml", "[plugins.x]\ncommand = 1\ninterval = \"soon\"\n", 0o644);
    for words in [
        &["run", "-c", "bad.toml"][..],
        &["check", "-c", "bad.toml"],
        &["test", "x", "-c", "bad.toml"],
    ] {
        let done = site.talaia(words);
        done.code(78).says(&["bad.toml:2:11", "bad.toml:3:12", "2 errors in the configuration"]);
        assert_eq!(done.stdout, "");
    }
    // What asks a running agent needs no more of it than where the agent is, and text that is TOML.
    site.write("bad.toml", "[agent]\ndata_dir = \"data\"\nno_such_key = 1\n", 0o644);
    site.talaia(&["status", "-c", "bad.toml"]).code(69).says(&["data/talaia.sock"]);
    site.write("bad.toml", "[agent\n", 0o644);
    let trigger = ["trigger", "x", "-c", "bad.toml"];
    for words in [
        &["status", "-c", "bad.toml"][..],
        &["reload", "-c", "bad.toml"],
        &["spool", "ls", "-c", "bad.toml"],
        &["hub", "login", "-c", "bad.toml"],
        &trigger,
    ] {
        site.talaia(words).code(78).says(&["bad.toml", "talaia check"]);
    }
    site.talaia(&["run", "-c", "none.toml"]).code(78).says(&["none.toml", "--every"]);
    let open = site.configure(&plugin("good", ""));
    site.script("good", "echo '{}'");
    fs::set_permissions(open, fs::Permissions::from_mode(0o666)).unwrap();
    site.talaia(&["run", "-c", "talaia.toml"]).code(78).says(&["not trusted", "chmod o-w"]);
}

#[test]
fn nobody_there_is_69_and_nothing_to_read_is_65() {
    let site = Site::new();
    site.configure(&plugin("good", ""));
    site.script("good", "echo '{}'");
    for words in [&["status"][..], &["reload"], &["trigger", "good"]] {
        let line: Vec<&str> = words.iter().copied().chain(["-c", "talaia.toml"]).collect();
        site.talaia(&line).code(69).says(&["talaia.sock", "hint: is it running"]);
    }
    site.talaia(&["hub", "login", "--data-dir", "none"]).code(69).says(&["none", "talaia hub"]);
    site.talaia(&["spool", "ls", "-c", "talaia.toml"])
        .code(74)
        .says(&["there is no spool", "data"]);
    site.talaia(&["decode", "none.json"]).code(65).says(&["none.json"]);
    let much = vec![b' '; (8 << 20) + 1];
    site.talaia_with(&["decode"], &much).code(65).says(&["standard input"]);
}

#[test]
fn an_answer_that_cannot_be_read_is_70() {
    let site = Site::new();
    site.configure(&plugin("good", ""));
    site.script("good", "echo '{}'");
    fs::create_dir(site.path("data")).unwrap();
    let listener = UnixListener::bind(site.path("data/talaia.sock")).unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]").unwrap();
    });
    site.talaia(&["status", "-c", "talaia.toml"]).code(70).says(&["another version"]);
    server.join().unwrap();
}

#[test]
fn what_emit_prints_decode_accepts() {
    let site = Site::new();
    for (words, wanted) in [
        (
            &["used=71.2", "-t", "percent", "-T", "mount=/", "-l", "Used \"it\""][..],
            json!([{"name": "used", "value": 71.2, "type": "percent", "unit": "%",
                "label": "Used \"it\"", "tags": {"mount": "/"}}]),
        ),
        (
            &["a=1", "b=0.5", "c=true", "d=text with spaces", "e=null"],
            json!([{"name": "a", "value": 1, "type": "integer"},
                {"name": "b", "value": 0.5, "type": "float"},
                {"name": "c", "value": true, "type": "boolean"},
                {"name": "d", "value": "text with spaces", "type": "string"},
                {"name": "e", "value": null, "type": "float"}]),
        ),
        (
            &["n=18446744073709551615", "--type", "counter", "--unit", "req"],
            json!([{"name": "n", "value": u64::MAX, "type": "counter", "unit": "req"}]),
        ),
    ] {
        let line: Vec<&str> = ["emit"].iter().chain(words).copied().collect();
        let printed = site.talaia(&line).code(0).stdout.clone();
        assert_eq!(printed.lines().count(), 1);
        let report = site.talaia_with(&["decode"], printed.as_bytes()).code(0).json();
        assert_eq!(report["metrics"], wanted, "{printed}");
    }
    let printed = site.talaia(&["emit", "a=1", "--status", "critical", "--message", "no"]);
    let report = site.talaia_with(&["decode"], printed.stdout.as_bytes()).json();
    assert_eq!((&report["status"], &report["message"]), (&json!("critical"), &json!("no")));
}

#[test]
fn decode_prints_a_report_whatever_comes() {
    let site = Site::new();
    let report_schema = validator("report.v1.json");
    for (bytes, code) in [
        (&b""[..], 0),
        (b"{\"a\": 1}\r\n", 0),
        (b"\xef\xbb\xbf{\"a\": 1}", 0),
        (b"hello\n{\"a\": 1}", 1),
        (b"\xff\xfe\x00", 1),
        (b"{\"a\": {\"b\": 1}}", 1),
    ] {
        let done = site.talaia_with(&["decode"], bytes);
        let report = done.code(code).json();
        holds(&report_schema, &report);
        let counts = &report["counts"];
        let rejected = counts["produced"].as_u64().unwrap() - counts["accepted"].as_u64().unwrap();
        assert_eq!(rejected > 0, code == 1, "{report}");
    }
    site.write("disk-1.json", "{\"a\": 1}", 0o644);
    let report = site.talaia(&["decode", "--exit-code", "2", "disk-1.json"]).code(0).json();
    assert_eq!(report["plugin"], "disk_1");
    assert_eq!(report["outcome"], json!({"kind": "exited", "code": 2}));
    assert_eq!(report["status"], "unknown");
}

#[test]
fn every_schema_is_a_schema() {
    let site = Site::new();
    let list = site.talaia(&["schema", "print"]).code(0).stdout.clone();
    let names: Vec<&str> = list.lines().filter_map(|l| l.split_whitespace().next()).collect();
    assert_eq!(names, ["document", "report", "batch", "config", "manifest"]);
    for name in names {
        let schema = site.talaia(&["schema", "print", name]).code(0).json();
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema", "{name}");
        jsonschema::meta::validate(&schema).unwrap_or_else(|e| panic!("{name}: {e}"));
        jsonschema::options().build(&schema).unwrap_or_else(|e| panic!("{name}: {e}"));
        let file = format!("{name}.v1.json");
        assert_eq!(site.talaia(&["schema", "print", &file]).code(0).json(), schema);
    }
}

#[test]
fn a_new_plugin_of_every_language_passes_its_test() {
    let site = Site::new();
    let home = std::env::var("HOME").unwrap_or_else(|_| "/root".to_owned());
    for language in ["sh", "bash", "python", "node", "perl", "ruby", "php", "go", "rust"] {
        let name = format!("my_{language}");
        let made = site.talaia(&["new", &name, "--lang", language]);
        made.code(0)
            .says(&[&format!("wrote {name}/{name}"), &format!("talaia test {name}/{name}")]);
        site.talaia(&["new", &name, "--lang", language]).code(74).says(&["exists already"]);
        let target = format!("{name}/{name}");
        let mut command = site.command(&["test", &target, "--json"]);
        // Compilers and their caches are in the home folder.
        command.env("HOME", &home);
        let done = run(command);
        if done.stderr.contains("install it")
            || done.stdout.contains(&format!("E! there is no {language}c in"))
            || done.stdout.contains(&format!("E! there is no {language} in"))
        {
            skip(&format!("{language}: {} {}", done.stderr.trim(), done.stdout.trim()));
            continue;
        }
        let report = done.code(0).json();
        assert_eq!(report["metrics"][0]["name"], "entries", "{language}: {report}");
        assert_eq!(report["rejected"], json!([]), "{language}");
        let mut command = site.command(&["plugin", "check", &format!("./{name}")]);
        command.env("HOME", &home);
        let done = run(command);
        assert!(done.code == 0 && !done.stderr.contains("warning"), "{language}: {}", done.stderr);
    }
}

fn run(mut command: Command) -> Done {
    command.stdin(Stdio::null());
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Done {
        code: output.status.code().unwrap_or(-1),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

#[test]
fn test_shows_all_there_is_to_see() {
    let site = Site::new();
    site.script(
        "mixed",
        "echo \"W! careful\" >&2; echo hello; echo '{\"a-b\": 1, \"fine\": 2}'; exit 3",
    );
    let done = site.talaia(&["test", "./mixed"]);
    let shown = &done.code(1).stdout;
    for words in [
        "   1  hello",
        "   2  {\"a-b\": 1, \"fine\": 2}",
        "      W! careful",
        "✓ fine  2  integer",
        "✗ not-json 1:1",
        "✗ name-hyphen 2:2 /a-b",
        "rule: ^[A-Za-z_]",
        "→ rename it to `a_b`",
        "run      failed, exit 3, ",
        "(CPU ",
        "records  3 printed = 1 accepted + 2 refused: name-hyphen 1, not-json 1",
        "sent     embedded: 1 report, 1 record to the agent's own hub",
    ] {
        assert!(shown.contains(words), "no `{words}` in\n{shown}");
    }
    assert!(!shown.contains('\u{1b}'), "no colours into a pipe");
    let done = site.talaia(&["test", "./mixed", "--json", "--times", "3"]);
    let report_schema = validator("report.v1.json");
    assert_eq!(done.code(1).stdout.lines().count(), 3);
    for line in done.stdout.lines() {
        let report: Value = serde_json::from_str(line).unwrap();
        holds(&report_schema, &report);
        assert_eq!(report["stderr"], "W! careful");
        assert_eq!(report["outcome"]["code"], 3);
    }
    site.script("args", "echo \"{\\\"n\\\": $#, \\\"first\\\": \\\"$1\\\"}\"");
    let report = site.talaia(&["test", "./args", "--json", "--", "one", "two"]).code(0).json();
    assert_eq!(report["metrics"][0]["value"], 2);
    assert_eq!(report["metrics"][1]["value"], "one");
    site.script("slow", "echo '{\"a\": 1}'; sleep 60");
    site.configure(&plugin("slow", "timeout = \"200ms\"\ninterval = \"1s\""));
    let done = site.talaia(&["test", "slow", "-c", "talaia.toml"]);
    assert!(done.code(1).stdout.contains("timed out (ended by TERM)"), "{}", done.stdout);
}

#[test]
fn a_test_works_on_a_copy_of_the_state() {
    let site = Site::new();
    let count = "n=$(cat \"$TALAIA_STATE_DIR/n\" 2>/dev/null || echo 0); n=$((n + 1)); \
                 echo $n > \"$TALAIA_STATE_DIR/n\"; echo \"{\\\"n\\\": $n}\"";
    site.script("count", count);
    site.configure(&plugin("count", ""));
    fs::create_dir_all(site.path("data/plugins/count/state")).unwrap();
    let kept = site.write("data/plugins/count/state/n", "41\n", 0o644);
    let done = site.talaia(&["test", "count", "-c", "talaia.toml", "--json", "--times", "2"]);
    let values: Vec<Value> = done
        .code(0)
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["metrics"][0]["value"].clone())
        .collect();
    assert_eq!(values, [json!(42), json!(43)]);
    assert_eq!(fs::read_to_string(kept).unwrap(), "41\n");
}

#[test]
fn the_examples_are_going_to_work() {
    let site = Site::new();
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/talaia.toml");
    let done = site.talaia(&["check", "--config", config.to_str().unwrap()]);
    assert!(!done.code(0).stdout.contains("bad "), "{}", done.stdout);
    assert!(done.stdout.contains("ok   plugin disk") && done.stdout.contains("ok   hub"));
    for line in done.stdout.lines().filter(|line| line.contains("skipped here")) {
        println!("{line}");
    }
}

#[test]
fn check_finds_what_is_going_to_fail() {
    let site = Site::new();
    site.script("good", "echo '{}'");
    site.configure(&format!(
        "trusted_owners = [\"no_such_user\"]\n{}{}{}\
         [outputs.file]\ntype = \"file\"\npath = \"none/out.ndjson\"\n\
         [outputs.hub]\ntype = \"talaia\"\nurl = \"http://127.0.0.1:1\"\nkey = {{ file = \"key\" }}\n",
        plugin("good", ""),
        plugin("none", ""),
        plugin("off", "enabled = false"),
    ));
    site.write("key", "a-key", 0o600);
    let done = site.talaia(&["check", "-c", "talaia.toml"]);
    for words in [
        "bad  [agent] trusted_owners: no such user: no_such_user",
        "ok   plugin good",
        "bad  plugin none: ",
        "ok   plugin off (disabled)",
        "bad  output file: there is no folder",
        "ok   output hub",
    ] {
        assert!(done.code(1).stdout.contains(words), "no `{words}` in\n{}", done.stdout);
    }
    done.says(&["3 findings"]);
    let online = site.talaia(&["check", "-c", "talaia.toml", "--online"]);
    assert!(online.code(1).stdout.contains("bad  output hub"), "{}", online.stdout);
    online.says(&["4 findings"]);
}

#[test]
fn a_pipe_is_no_file_of_a_config_and_holds_nobody_up() {
    let site = Site::new();
    site.script("good", "echo '{}'");
    let path = site.configure(&plugin("good", ""));
    mkfifoat(CWD, site.path("pipe.toml"), Mode::from_raw_mode(0o644)).unwrap();
    let refused = |config: &str, place: &str| {
        let done = site.talaia(&["check", "-c", config]);
        done.code(78).says(&["pipe.toml`: it is a pipe, and no file", place]);
    };
    refused("pipe.toml", "name another with `--config`");
    let text = std::fs::read_to_string(&path).unwrap();
    site.write("talaia.toml", format!("include = [\"pipe.toml\"]\n{text}"), 0o644);
    refused("talaia.toml", "talaia.toml:1");
    // A file may come as standard input.
    site.write("talaia.toml", text.replace("./good", "/bin/true"), 0o644);
    finish(site.shell("talaia check -c /dev/stdin <talaia.toml"), b"").code(0);
}

#[test]
fn the_spool_is_looked_at_while_the_agent_runs() {
    let mut site = Site::new();
    site.script("one", "echo '{\"a\": 1, \"b\": 2}'");
    site.script("two", "echo '{\"c\": 3, \"d-e\": 4}'");
    site.write("key", "a-key", 0o600);
    // Nobody listens there, so everything stays.
    site.configure(&format!(
        "[outputs.main]\ntype = \"talaia\"\nurl = \"http://127.0.0.1:1\"\nkey = {{ file = \"key\" }}\n{}{}",
        plugin("one", "interval = \"200ms\""),
        plugin("two", "interval = \"200ms\""),
    ));
    let pid = site.start_agent();
    site.until("reports of both", |site| {
        let status = site.status()?;
        let runs = |name: &str| status["plugins"][name]["runs"].as_u64().unwrap_or(0);
        (runs("one") >= 2 && runs("two") >= 2).then_some(())
    });
    let spool = |words: &[&str]| {
        let line: Vec<&str> =
            ["spool"].iter().chain(words).chain(&["-c", "talaia.toml"]).copied().collect();
        site.talaia(&line)
    };
    spool(&["verify"]).code(0).says(&["the ledger adds up"]);
    let listed = spool(&["ls", "--json"]).code(0).stdout.clone();
    let rows: Vec<Value> = listed.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert!(rows.len() >= 4, "{listed}");
    for row in &rows {
        let keys: Vec<&String> = row.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["bytes", "plugin", "records", "run", "seq"], "{row}");
        assert_eq!(row["records"], if row["plugin"] == "one" { 2 } else { 1 });
    }
    let only = spool(&["ls", "--plugin", "two", "--limit", "1"]).code(0).stdout.clone();
    assert_eq!(only.lines().count(), 1);
    assert!(only.trim_end().ends_with("two"), "{only}");
    let report_schema = validator("report.v1.json");
    let seq = rows[0]["seq"].to_string();
    let report = spool(&["cat", &seq]).code(0).json();
    holds(&report_schema, &report);
    assert_eq!(report["run"], rows[0]["run"]);
    let all = spool(&["cat"]).code(0).stdout.clone();
    assert!(all.lines().count() >= rows.len());
    spool(&["cat", &seq, "999999"]).code(1).says(&["there is no report 999999"]);
    let text = spool(&["status"]).code(0).stdout.clone();
    assert!(text.contains("two: ") && text.contains("name-hyphen"), "{text}");
    assert!(site.stop(pid).success());
    let ledger = site.ledger();
    assert_eq!(ledger["outputs"]["main"]["delivered"], 0);
}

/// Where the hub of a home without a configuration is, and its key.
fn credentials(site: &Site, folder: &str) -> (String, String) {
    let path = site.path(folder).join("credentials.json");
    let file = site.until("credentials", |_| fs::read_to_string(&path).ok());
    let mode = path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let value: Value = serde_json::from_str(&file).unwrap();
    let text = |key: &str| value[key].as_str().unwrap().to_owned();
    (text("url"), text("key"))
}

#[test]
fn a_script_needs_no_configuration() {
    let mut site = Site::of_ordinary_user();
    site.script("script.sh", "echo '{\"answer\": 42}'");
    let listen = ["run", "./script.sh", "--every", "1s", "--listen", "127.0.0.1:0"];
    let mut command = site.command(&listen);
    let state = site.path("home/state");
    command.env("XDG_STATE_HOME", &state);
    // Of a file that another command would use, nothing is taken.
    command.env("TALAIA_CONFIG_FILE", "/nowhere/talaia.toml");
    let pid = site.start(command, "agent.log");
    let (url, key) = credentials(&site, "home/state/talaia/hub");
    assert!(url.starts_with("http://127.0.0.1:") && !url.ends_with(":0"), "{url}");
    let items = site.until("the metric on the hub", |_| {
        let (status, body) = http(&url, "/api/v1/series?plugin=script", Some(&key))?;
        assert_eq!(status, 200, "{body}");
        let body: Value = serde_json::from_str(&body).unwrap();
        let items = body["items"].as_array().unwrap().clone();
        (!items.is_empty()).then_some(items)
    });
    assert_eq!((&items[0]["name"], &items[0]["last"][1]), (&json!("answer"), &json!(42)));
    assert_eq!(http(&url, "/api/v1/series", None).unwrap().0, 401);
    assert_eq!(http(&url, "/healthz", None).unwrap(), (200, "ok\n".to_owned()));
    // The page is closed without a session, and a login link opens it.
    let mut login = site.command(&["hub", "login"]);
    login.env("XDG_STATE_HOME", &state);
    let link = run(login).code(0).stdout.trim().to_owned();
    let path = link.strip_prefix(&url).unwrap();
    assert_eq!(http(&url, path, None).unwrap().0, 200);
    assert_eq!(http(&url, "/login/none", None).unwrap().0, 410);
    assert!(!site.read("agent.log").contains("/login/"), "no link where no person reads");
    assert!(site.stop(pid).success(), "{}", site.read("agent.log"));
}

#[test]
fn a_hub_on_its_own() {
    let mut site = Site::new();
    let serve = ["hub", "--listen", "127.0.0.1:0", "--data-dir", "hub"];
    let pid = site.start(site.command(&serve), "hub.log");
    let (url, key) = credentials(&site, "hub");
    let listing = site.until("answer", |_| http(&url, "/api/v1/plugins", Some(&key)));
    assert_eq!(listing, (200, "{\"items\":[],\"next\":null}".to_owned()));
    let process = format!("process {pid}");
    site.talaia(&serve).code(74).says(&[&process, "another data folder"]);
    let address = url.strip_prefix("http://").unwrap();
    let taken = ["hub", "--listen", address, "--data-dir", "other"];
    site.talaia(&taken).code(74).says(&[address, "`listen`"]);
    assert!(!site.path("other").exists(), "a hub that cannot listen changes nothing");
    assert!(site.stop(pid).success(), "{}", site.read("hub.log"));
}

#[test]
fn trigger_status_and_the_sandbox() {
    let mut site = Site::new();
    site.script("slow", "sleep 3; echo '{\"a\": 1}'");
    let config = plugin("slow", "cron = \"0 0 1 1 *\"\ntimezone = \"UTC\"");
    site.configure(&format!("[hub]\nlisten = \"127.0.0.1:0\"\n{config}"));
    let pid = site.start_agent();
    let status = site.until("status", Site::status);
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&status), ["agent", "leaks", "outputs", "plugins"]);
    assert_eq!(status["agent"]["pid"], pid);
    assert_eq!(status["plugins"]["slow"]["state"], "ready");
    let trigger = ["trigger", "slow", "-c", "talaia.toml"];
    site.talaia(&trigger).code(0).says(&["slow runs now"]);
    site.until("live run", |site| (site.status()?["agent"]["running"] == 1).then_some(()));
    site.talaia(&trigger).code(1).says(&["slow"]);
    let shown = site.talaia(&["status", "-c", "talaia.toml"]);
    for words in ["agent talaia", "plugins  status", "\nslow     running", "\nembedded  ok"] {
        assert!(shown.code(0).stdout.contains(words), "no `{words}` in\n{}", shown.stdout);
    }
    // The sandbox is beside it.
    let sandbox = ["run", "-c", "talaia.toml", "--sandbox", "--log-format", "json"];
    let beside = site.start(site.command(&sandbox), "sandbox.log");
    let inner = site.until("status of the sandbox", |site| {
        let done = site.talaia(&["status", "--json", "--sandbox", "-c", "talaia.toml"]);
        (done.code == 0).then(|| done.json())
    });
    assert_eq!(inner["agent"]["pid"], beside);
    let (url, _) = credentials(&site, "data/sandbox/hub");
    let (outer, _) = credentials(&site, "data/hub");
    assert_ne!(url, outer);
    assert!(site.stop(beside).success());
    for line in site.read("sandbox.log").lines().filter(|line| line.starts_with('{')) {
        serde_json::from_str::<Value>(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    }
    assert!(site.stop(pid).success(), "{}", site.read("agent.log"));
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let site = Site::new();
    let line = "talaia man | head -n 1 >first; talaia explain | head -n 1 >>first";
    let said = run(site.shell(line));
    assert_eq!((said.code, said.stderr.as_str()), (0, ""));
    let text = site.read("first");
    assert_eq!(text.lines().count(), 2, "{text}");
}
