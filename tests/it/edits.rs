//! The config edited by command: what is written, what stays as it was, and what is refused.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::process::Stdio;

use rustix::fs::{CWD, Mode, OFlags, mkfifoat, open};
use serde_json::{Value, json};

use crate::support::{Done, Site};

const CONFIG: &str = "\n# Our disks.\n[plugins.disk]   # the first\ncommand = [\"./disk\"]\ninterval = \"1h\"\n\n\
    # Mail, too.\n[plugins.mail]\ncommand = [\"./disk\", \"mail\"]\ninterval = \"1h\"\n";

/// A site with two plugins of one program.
fn site() -> Site {
    let site = Site::new();
    site.script("disk", "echo '{\"used\": 1}'");
    site.configure(CONFIG);
    site
}

fn plugin(site: &Site, words: &[&str]) -> Done {
    let line: Vec<&str> =
        ["plugin"].iter().chain(words).copied().chain(["-c", "talaia.toml"]).collect();
    site.talaia(&line)
}

/// `plugin add` with arguments for the program, which come last.
fn add(site: &Site, words: &[&str], args: &[&str]) -> Done {
    let mut line = vec!["plugin", "add", "-c", "talaia.toml"];
    line.extend(words);
    if !args.is_empty() {
        line.push("--");
        line.extend(args);
    }
    site.talaia(&line)
}

fn config(site: &Site) -> String {
    fs::read_to_string(site.path("talaia.toml")).unwrap()
}

fn shown(site: &Site, name: &str) -> Value {
    plugin(site, &["show", name, "--json"]).code(0).json()
}

#[test]
fn what_is_added_is_at_the_end_and_runs() {
    let site = site();
    let before = config(&site);
    fs::create_dir(site.path("more")).unwrap();
    site.script("more/new-one.sh", "echo \"{\\\"a\\\": $1}\"");
    let words = [
        "more/new-one.sh",
        "--interval",
        "30s",
        "--timeout",
        "5s",
        "--tag",
        "tier=a b",
        "--env",
        "A=x=\"y\"",
    ];
    add(&site, &words, &["3", "it's"]).code(0).says(&[
        "new_one",
        "no agent",
        "talaia test new_one",
    ]);
    assert_eq!(
        config(&site),
        format!(
            "{before}\n[plugins.new_one]\ncommand = [\"more/new-one.sh\", \"3\", \"it's\"]\ninterval = \"30s\"\n\
             timeout = \"5s\"\ntags = {{ tier = \"a b\" }}\nenv = {{ A = 'x=\"y\"' }}\n"
        )
    );
    let shown = shown(&site, "new_one");
    let program = site.path("more/new-one.sh");
    assert_eq!(shown["argv"], json!([program, "3", "it's"]));
    assert_eq!(shown["dir"], json!(site.path("more")));
    assert_eq!(shown["env"]["A"], "x=\"y\"");
    assert_eq!(shown["env"]["TALAIA_INTERVAL"], "30");
    let line = 1 + config(&site).lines().position(|line| line.starts_with("timeout")).unwrap();
    let from = json!({"path": site.path("talaia.toml"), "line": line});
    assert_eq!(shown["settings"]["timeout"], json!({"value": "5s", "from": from}));
    assert_eq!(shown["settings"]["grace"], json!({"value": "2s", "from": null}));
    let report = site.talaia(&["test", "new_one", "-c", "talaia.toml", "--json"]).code(0).json();
    assert_eq!(report["metrics"][0]["value"], 3);
    plugin(&site, &["remove", "new_one"]).code(0).says(&["new_one", "still there"]);
    assert_eq!(config(&site), before);
}

#[test]
fn what_could_not_run_is_not_added() {
    let site = site();
    site.write("plain", "echo", 0o644);
    site.write("other.sh", "#!/no/such/shell\n", 0o755);
    site.write("open", "#!/bin/sh\n", 0o777);
    fs::create_dir(site.path("pack")).unwrap();
    site.write("pack/talaia-plugin.toml", "", 0o644);
    let before = config(&site);
    for (words, code, said) in [
        (&["./none"][..], 1, "there is no file"),
        (&["./plain"], 1, "chmod +x"),
        (&["./plain", "--disabled"], 1, "chmod +x"),
        (&["./other.sh"], 1, "/no/such/shell"),
        (&["./open"], 1, "chmod o-w"),
        (&["no-such-command"], 1, "there is no command"),
        (&["disk", "--name", "d"], 1, "write `./disk`"),
        (&["./disk"], 2, "--name"),
        (&["./pack"], 2, "talaia plugin install"),
        (&["./disk", "--name", "a-b"], 2, "a_b"),
        (&["./disk", "--name", "d", "--file", "else.toml"], 2, "plugins.d/d.toml"),
        (&["./disk", "--name", "d", "--cron", "x"], 78, "nothing was changed"),
        (&["./disk", "--name", "d", "--user", "nobody-at-all"], 1, "nobody-at-all"),
        (&["./disk", "--name", "d", "--format", "csv"], 78, "json"),
        (&["./disk", "--name", "d", "--tag", "x"], 2, "KEY=VALUE"),
        (&["./disk", "--name", "d", "--env", "TALAIA_X=1"], 78, "the agent's own"),
        (&["./disk", "--name", "talaia"], 78, "is taken"),
    ] {
        add(&site, words, &[]).code(code).says(&[said]);
        assert_eq!(config(&site), before, "{words:?}");
    }
    assert!(!site.path("else.toml").exists() && !site.path("plugins.d").exists());
}

#[test]
fn the_first_plugin_brings_the_config() {
    let site = Site::of_ordinary_user();
    site.script("disk", "echo '{\"used\": 1}'");
    let path = site.path("home/.config/talaia/talaia.toml");
    site.talaia(&["plugin", "add", "./none"]).code(1).says(&["there is no file"]);
    assert!(!path.exists());
    site.talaia(&["plugin", "add", "./disk"])
        .code(0)
        .says(&["made", "home/.config/talaia/talaia.toml"]);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
    let text = fs::read_to_string(&path).unwrap();
    let own = format!("\n[plugins.disk]\ncommand = [\"{}\"]\n", site.path("disk").display());
    assert!(text.ends_with(&own) && text.starts_with("# Talaia"), "{text}");
    site.talaia(&["check"]).code(0);
    site.talaia(&["plugin", "list"]).code(0);
}

#[test]
fn a_plugin_is_switched_where_it_is_written() {
    let site = site();
    let before = config(&site);
    plugin(&site, &["disable", "disk"]).code(0).says(&["disabled"]);
    let off = before.replacen("interval = \"1h\"\n", "interval = \"1h\"\nenabled = false\n", 1);
    assert_eq!(config(&site), off);
    plugin(&site, &["disable", "disk"]).code(0).says(&["disabled already", "talaia.toml:"]);
    assert_eq!(config(&site), off);
    assert!(plugin(&site, &["list"]).stdout.contains("disabled"));
    plugin(&site, &["enable", "disk"]).code(0).says(&["enabled"]);
    plugin(&site, &["enable", "disk"]).code(0).says(&["enabled already"]);
    assert_eq!(config(&site), off.replace("enabled = false", "enabled = true"));
    plugin(&site, &["enable", "disc"]).code(2).says(&["did you mean `disk`"]);
    // One that is on and cannot run is shown so.
    fs::set_permissions(site.path("disk"), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(plugin(&site, &["show", "disk"]).code(1).stdout.contains("chmod +x"));
}

#[test]
fn an_edit_keeps_mode_link_and_what_others_keep_beside_it() {
    let site = site();
    fs::rename(site.path("talaia.toml"), site.path("real.toml")).unwrap();
    symlink("real.toml", site.path("talaia.toml")).unwrap();
    fs::set_permissions(site.path("real.toml"), fs::Permissions::from_mode(0o600)).unwrap();
    site.write(".talaia.toml.swp", "an editor's", 0o600);
    plugin(&site, &["disable", "mail"]).code(0);
    assert!(fs::symlink_metadata(site.path("talaia.toml")).unwrap().is_symlink());
    let mode = fs::metadata(site.path("real.toml")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(site.path(".talaia.toml.swp").exists());
    assert!(config(&site).contains("enabled = false"));
}

#[test]
fn included_files_are_edited_and_json_is_not() {
    let site = site();
    let main = format!("include = [\"more/*.toml\", \"own.json\"]\n{}", config(&site));
    site.write("talaia.toml", &main, 0o644);
    fs::create_dir(site.path("more")).unwrap();
    let json = r#"{"plugins": {"j": {"command": ["./disk"], "interval": "1h"}}}"#;
    site.write("own.json", json, 0o644);
    add(&site, &["./disk", "--name", "third", "--file", "more/a.toml", "--disabled"], &[]).code(0);
    let text = "[plugins.third]\ncommand = [\"";
    let added = fs::read_to_string(site.path("more/a.toml")).unwrap();
    assert!(added.starts_with(text) && added.ends_with("enabled = false\n"), "{added}");
    plugin(&site, &["enable", "third"]).code(0).says(&["more/a.toml"]);
    plugin(&site, &["remove", "third"]).code(0);
    assert_eq!(fs::read_to_string(site.path("more/a.toml")).unwrap(), "");
    plugin(&site, &["disable", "j"]).code(2).says(&["own.json is JSON", "\"enabled\": false"]);
    plugin(&site, &["remove", "j"]).code(2).says(&["JSON", "take `j` out of `plugins`"]);
    let words = ["./disk", "--name", "k", "--interval", "5s", "--tag", "a=b", "--file", "own.json"];
    add(&site, &words, &["x"]).code(2).says(&[
        "JSON",
        r#"write `"k": {"command":["./disk","x"],"interval":"5s","tags":{"a":"b"}}` into `plugins` there"#,
    ]);
    let words = ["./disk", "--name", "k", "--disabled", "--file", "own.json"];
    add(&site, &words, &[]).code(2).says(&[r#""enabled":false"#]);
    assert_eq!(fs::read_to_string(site.path("own.json")).unwrap(), json);
    assert_eq!(config(&site), main);
}

#[test]
fn plugins_that_are_files_are_switched_beside_them() {
    let site = Site::new();
    site.configure("");
    let main = config(&site).replace("[agent]\n", "[agent]\nplugin_dirs = [\"plugins\"]\n");
    site.write("talaia.toml", main, 0o644);
    fs::create_dir(site.path("plugins")).unwrap();
    site.script("plugins/a.sh", "echo '{}'");
    site.script("plugins/b", "echo '{}'");
    site.write("plugins/b.toml", "# own\ninterval = \"1h\"\n", 0o644);
    plugin(&site, &["disable", "a"]).code(0).says(&["plugins/a.toml"]);
    plugin(&site, &["disable", "b"]).code(0);
    let read = |name: &str| fs::read_to_string(site.path(name)).unwrap();
    assert_eq!(read("plugins/a.toml"), "enabled = false\n");
    assert_eq!(read("plugins/b.toml"), "# own\ninterval = \"1h\"\nenabled = false\n");
    plugin(&site, &["enable", "a"]).code(0);
    for name in ["a", "b"] {
        plugin(&site, &["remove", name]).code(2).says(&["folder of plugins", "plugin disable"]);
    }
    add(&site, &["plugins/b"], &[]).code(2).says(&["found in a folder of plugins"]);
    // A table of its own for what lies there: without it, it would be found again.
    add(&site, &["plugins/b", "--name", "c"], &[]).code(0);
    plugin(&site, &["remove", "c"]).code(2).says(&["come back as b"]);
    assert_eq!(shown(&site, "a")["defined"]["by"], "sidecar");
}

#[test]
fn plugins_of_packages_are_switched_in_their_drop_in() {
    let site = Site::new();
    site.configure("");
    fs::create_dir(site.path("two")).unwrap();
    let command = |name: &str| {
        format!(
            "[commands.{name}]\ncommand = [\"./{name}\"]\n\
             [commands.{name}.metrics.n]\ntype = \"integer\"\n"
        )
    };
    let manifest = "name = \"two\"\nversion = \"0.1.0\"\ndescription = \"d\"\nauthors = [\"a\"]\n\
        license = \"MIT\"\ncategory = \"other\"\n";
    let text = format!("{manifest}\n{}{}", command("one"), command("other"));
    site.write("two/talaia-plugin.toml", text, 0o644);
    for name in ["one", "other"] {
        site.script(&format!("two/{name}"), "echo '{\"n\": 1}'");
    }
    plugin(&site, &["install", "./two"]).code(0);
    let drop_in = || fs::read_to_string(site.path("plugins.d/two.toml")).unwrap();
    let before = drop_in();
    plugin(&site, &["disable", "two_one"]).code(0).says(&["plugins.d/two.toml"]);
    assert!(drop_in().contains("[packages.two.commands.one]\nenabled = false\n"), "{}", drop_in());
    assert_eq!(shown(&site, "two_one")["state"], "disabled");
    assert_eq!(shown(&site, "two_other")["state"], "ready");
    plugin(&site, &["enable", "two_one"]).code(0);
    assert_eq!(shown(&site, "two_one")["state"], "ready");
    plugin(&site, &["disable", "two"]).code(0);
    assert_eq!(shown(&site, "two_other")["state"], "disabled");
    plugin(&site, &["enable", "two_other"]).code(2).says(&["talaia plugin enable two"]);
    plugin(&site, &["enable", "two"]).code(0);
    assert_eq!(shown(&site, "two_other")["state"], "ready");
    plugin(&site, &["remove", "two_one"]).code(2).says(&["talaia plugin uninstall two"]);
    // What was written by hand or installing is still there.
    for line in before.lines() {
        assert!(drop_in().contains(line), "{line}");
    }
}

#[test]
fn a_running_agent_takes_it_up() {
    let mut site = site();
    let text = config(&site);
    site.write("talaia.toml", format!("{text}[hub]\nenabled = false\n"), 0o644);
    let pid = site.start_agent();
    site.until("an agent that answers", Site::status);
    add(&site, &["./disk", "--name", "more"], &[])
        .code(0)
        .says(&["the running agent has added more"]);
    let has = |name: &str| site.status().unwrap()["plugins"].get(name).cloned();
    assert!(has("more").is_some());
    plugin(&site, &["disable", "more"]).code(0).says(&["has changed more"]);
    plugin(&site, &["remove", "more"]).code(0).says(&["has removed more"]);
    assert!(has("more").is_none());
    assert!(site.stop(pid).success());
}

/// Listens as an agent would, and does with each request what `answer` says: an answer, or none.
fn agent(site: &Site, mut answer: impl FnMut() -> Option<String> + Send + 'static) {
    fs::create_dir_all(site.path("data")).unwrap();
    let socket = site.path("data/talaia.sock");
    let _none = fs::remove_file(&socket);
    let listener = UnixListener::bind(socket).unwrap();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let mut request = [0; 4096];
            // One that says nothing looks whether anybody listens.
            if !matches!(connection.read(&mut request), Ok(1..)) {
                continue;
            }
            if let Some(text) = answer() {
                connection.write_all(text.as_bytes()).unwrap();
            }
        }
    });
}

fn answer(status: &str) -> String {
    let body = r#"{"error": "not this one"}"#;
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    )
}

#[test]
fn what_the_agent_refuses_is_taken_back() {
    let site = site();
    let before = config(&site);
    agent(&site, || Some(answer("422 Unprocessable Content")));
    plugin(&site, &["disable", "disk"]).code(78).says(&["not this one", "nothing was changed"]);
    assert_eq!(config(&site), before);
}

#[test]
fn what_another_wrote_after_the_edit_is_not_taken_back() {
    let site = site();
    let file = site.path("talaia.toml");
    agent(&site, move || {
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, format!("{text}# by an editor\n")).unwrap();
        Some(answer("422 Unprocessable Content"))
    });
    let done = plugin(&site, &["disable", "disk"]);
    done.code(78).says(&["not this one", "by somebody else", "stays as it is"]);
    assert!(!done.stderr.contains("nothing was changed"), "{}", done.stderr);
    let after = config(&site);
    assert!(after.contains("enabled = false") && after.ends_with("# by an editor\n"), "{after}");
}

#[test]
fn an_edit_stays_where_the_agent_does_not_answer() {
    for status in [None, Some("504 Gateway Timeout")] {
        let site = site();
        agent(&site, move || status.map(answer));
        let done = plugin(&site, &["disable", "disk"]);
        done.code(69).says(&["talaia.toml is written", "talaia reload"]);
        assert!(!done.stderr.contains("nothing was changed"), "{}", done.stderr);
        assert!(config(&site).contains("enabled = false"));
    }
}

#[test]
fn a_plugin_that_keeps_the_config_from_loading_can_be_taken_out() {
    let site = site();
    let good = config(&site);
    let bad = format!("{good}\n[plugins.bad]\ncommand = [\"./disk\"]\ninterval = \"soon\"\n");
    site.write("talaia.toml", &bad, 0o644);
    // Another one, or none, does not mend it.
    for name in ["disk", "none"] {
        for word in ["remove", "disable"] {
            let done = plugin(&site, &[word, name]);
            done.code(78).says(&["soon"]);
            assert!(!done.stderr.contains("hint: "), "{}", done.stderr);
            assert_eq!(config(&site), bad);
        }
    }
    // A plugin's own settings are read while it is off as well.
    plugin(&site, &["disable", "bad"]).code(78).says(&[
        "soon",
        "bad cannot be disabled while its own settings are wrong; nothing was changed",
        "talaia plugin remove bad",
    ]);
    assert_eq!(config(&site), bad);
    plugin(&site, &["remove", "bad"]).code(0).says(&["bad is out of", "loads again"]);
    assert_eq!(config(&site), good);
    let odd = bad.replace("interval = \"soon\"", "enabled = \"perhaps\"");
    site.write("talaia.toml", &odd, 0o644);
    plugin(&site, &["disable", "bad"]).code(0).says(&["bad is disabled in", "loads again"]);
    assert_eq!(config(&site), odd.replace("\"perhaps\"", "false"));
    // Nor is a file taken that others can write.
    site.write("talaia.toml", &bad, 0o666);
    plugin(&site, &["remove", "bad"]).code(78).says(&["not trusted"]);
    assert_eq!(config(&site), bad);
}

#[test]
fn what_could_not_run_is_not_enabled() {
    let site = site();
    let off = "[plugins.off]\ncommand = [\"./none\"]\nenabled = false\n";
    site.write("talaia.toml", format!("{}{off}", config(&site)), 0o644);
    let before = config(&site);
    plugin(&site, &["enable", "off"]).code(1).says(&["there is no file", "nothing was changed"]);
    assert_eq!(config(&site), before);
    let path = site.script("none", "echo '{}'");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
    plugin(&site, &["enable", "off"]).code(1).says(&["chmod o-w", "nothing was changed"]);
    assert_eq!(config(&site), before);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    plugin(&site, &["enable", "off"]).code(0).says(&["off is enabled in"]);
    // One that is for another host does not run here either way.
    let other =
        before.replace("enabled = false", "enabled = false\nwhen = { exists = \"/no/such\" }");
    site.write("talaia.toml", &other, 0o644);
    fs::remove_file(path).unwrap();
    plugin(&site, &["enable", "off"])
        .code(1)
        .says(&["off is enabled in", "/no/such does not exist"]);
    assert_eq!(config(&site), other.replace("enabled = false", "enabled = true"));
}

#[test]
fn commands_that_edit_at_one_time_wait_for_each_other() {
    let site = site();
    let before = config(&site);
    let names: Vec<String> = (0..6).map(|n| format!("many_{n}")).collect();
    let children = names.iter().map(|name| {
        let words = ["plugin", "add", "./disk", "--name", name, "-c", "talaia.toml"];
        site.command(&words).stderr(Stdio::null()).spawn().unwrap()
    });
    for mut child in children.collect::<Vec<_>>() {
        assert!(child.wait().unwrap().success());
    }
    let after = config(&site);
    assert!(after.starts_with(&before));
    for name in &names {
        assert_eq!(after.matches(&format!("[plugins.{name}]")).count(), 1, "{after}");
    }
}

#[test]
fn secrets_are_shown_by_their_place() {
    let site = site();
    site.write("pw", "hunter2-secret", 0o600);
    let text = config(&site);
    let own = "env = { PW = { file = \"pw\" }, CLEAR = \"x\" }\npass_env = [\"HANDED\"]\n\
        config = { password = { file = \"pw\" }, n = 1 }\n\
        [plugins.mail.metrics.used]\ntype = \"percent\"\nrequired = true\n";
    site.write("talaia.toml", format!("{text}{own}"), 0o644);
    for words in [&["show", "mail"][..], &["show", "mail", "--json"]] {
        let mut line = vec!["plugin"];
        line.extend(words);
        line.extend(["-c", "talaia.toml"]);
        let mut command = site.command(&line);
        let done = crate::support::finish(
            {
                command.env("HANDED", "secret-of-agent");
                command
            },
            b"",
        );
        done.code(0);
        let said = format!("{}{}", done.stdout, done.stderr);
        assert!(!said.contains("hunter2") && !said.contains("secret-of-agent"), "{said}");
        assert!(said.contains("pw") && said.contains("CLEAR") && said.contains("HANDED"), "{said}");
        assert!(said.contains("percent"), "{said}");
    }
}

#[test]
fn an_edit_by_other_means_meanwhile_is_kept() {
    let site = site();
    let text = format!("{}config = {{ password = {{ file = \"pipe\" }} }}\n", config(&site));
    site.write("talaia.toml", &text, 0o644);
    // Each reading of the config waits at this pipe, so it is known where the command is.
    mkfifoat(CWD, site.path("pipe"), Mode::from_raw_mode(0o600)).unwrap();
    let words = ["plugin", "disable", "disk", "-c", "talaia.toml"];
    let mut child = site.command(&words).stderr(Stdio::null()).spawn().unwrap();
    let mut readings = 0;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        if let Ok(pipe) = open(site.path("pipe"), flags, Mode::empty()) {
            readings += 1;
            // It has read the file, and tries what is to become of it.
            if readings == 2 {
                site.write("talaia.toml", format!("{text}# by an editor\n"), 0o644);
            }
            // A reader that is just leaving takes no more.
            let _left = File::from(pipe).write_all(b"secret\n");
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    };
    assert!(status.success() && readings >= 2, "{readings} readings");
    let wanted = text.replacen("interval = \"1h\"\n", "interval = \"1h\"\nenabled = false\n", 1);
    assert_eq!(config(&site), format!("{wanted}# by an editor\n"));
}
