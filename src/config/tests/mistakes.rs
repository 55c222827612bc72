//! Every mistake, and what is said about it.

use super::*;

#[test]
fn every_mistake_is_reported_at_once() {
    let place = Place::new();
    let said = place.said(
        r#"
includes = []
[agent]
hots = "web-1"
tags = { env = 1 }
path = "bin:/usr/bin"
concurrency = 0
listen = "x"
[agent.spool]
quota = "256"
min_free = "1M"
[plugins.foo-bar]
command = ["./ok.sh"]
[plugins.slow]
comand = ["./ok.sh"]
interval = "30"
timeout = 10
grace = "10 parsecs"
[plugins.both]
command = ["./ok.sh"]
interval = "1ms"
cron = "every day"
align = true
[plugins.line]
command = "df -P"
[plugins.shell]
command = ["df", "-P"]
shell = true
[plugins.none]
command = []
[plugins.zone]
command = ["./ok.sh"]
cron = "* * * * *"
timezone = "Mars/Olympus"
[plugins.words]
command = ["./ok.sh"]
format = "jsn"
leftovers = "kil"
stdin = 1
pass_env = ["TALAIA_KEY"]
env = { "A=B" = "x", N = 1 }
key = "abc"
[plugins.words.metrics.used-percent]
type = "percentage"
min = 2
max = 1
[plugins.words.metrics.untyped]
unit = "B"
"#,
    );
    insta::assert_snapshot!(said);
}

#[test]
fn mistakes_in_outputs() {
    let place = Place::new();
    let said = place.said(
        r#"
[outputs.clear]
type = "talaia"
url = "https://hub.example.org"
key = "th1s-1s-secret"
[outputs.unset]
type = "talaia"
url = "ftp://hub.example.org"
key = { env = "NOT_SET" }
[outputs.file-1]
type = "talaia"
url = "https://me:pw@hub.example.org"
key = { file = "no-such-key" }
cert = "no-such-cert"
proxy = "http://me:pa55@proxy:1"
[outputs.none]
type = "talaia"
[outputs.later]
type = "otlp"
[outputs.typo]
type = "tailaia"
[outputs.untyped]
url = "x"
[outputs.embedded]
type = "file"
[hub]
listen = "localhost:80"
hosts = ["http://hub/"]
"#,
    );
    insta::assert_snapshot!(said);
}

#[test]
fn mistakes_in_profiles_and_keys() {
    let place = Place::new();
    let said = place.said(
        r#"
[profiles.pre-live]
hub = "https://me:pw@hub.example.org"
key = "th1s-1s-secret"
[profiles.half]
api_key = "A"
ouputs = []
[profiles.pair]
secret_key = { env = "SECRET" }
ca = "no-such-ca"
[profiles.elsewhere]
outputs = ["mian", "other"]
key = { env = "ELSEWHERE" }
[outputs.main]
type = "stdout"
[plugins.broken_line]
command = ["./ok.sh"]
key = "0b7cf2d0-6a1c- 4b1e-9d55-0c1e6a1f2b3c"
[plugins.curious]
command = ["./ok.sh"]
pass_env = ["ELSEWHERE", "TALAIA_KEY", "MONITIS_SECRETKEY"]
env = { MINE = { env = "SECRET" } }
[hub]
enabled = true
listen = "0.0.0.0:7180"
tls = { cert = "no-such-cert" }
"#,
    );
    insta::assert_snapshot!(said);
}

#[test]
fn what_comes_later_says_so() {
    let place = Place::new();
    let said = place.said(
        r#"
[plugins.a]
command = ["./ok.sh"]
jq = "."

[plugins.b]
command = ["./ok.sh"]
format = "nagios"
"#,
    );
    insta::assert_snapshot!(said);
}

#[test]
fn broken_plugins_are_no_errors() {
    let place = Place::new();
    place.script("dos.sh", "#!/bin/sh\r\necho\r\n");
    place.script("bare", "echo hi\n");
    place.script("lost.rb", "#!/usr/bin/env no-such-ruby\n");
    place.script("gone", "#!/opt/no/such/perl -w\n");
    place.file("plain.sh", "#!/bin/sh\n");
    place.file("bad.schema.json", "{");
    let text = r#"
[plugins.missing]
command = ["plugins/disk.sh"]
[plugins.unknown]
command = ["no-such-command"]
[plugins.beside]
command = ["ok.sh"]
[plugins.dos]
command = ["./dos.sh"]
[plugins.bare]
command = ["./bare"]
[plugins.lost]
command = ["./lost.rb"]
[plugins.gone]
command = ["./gone"]
[plugins.plain]
command = ["./plain.sh"]
[plugins.folder]
command = ["/tmp"]
[plugins.schema]
command = ["./ok.sh"]
schema = "bad.schema.json"
[plugins.secret]
command = ["./ok.sh"]
config = { password = { env = "EMPTY" } }
[plugins.fine]
command = ["./ok.sh"]
timeout = "2m"
pass_env = ["NOT_SET"]
[plugins.off]
command = ["./missing"]
enabled = false
[plugins.elsewhere]
command = ["./missing"]
when = { exists = "/no/such/device" }
"#;
    let said = place.said(text);
    insta::assert_snapshot!(said);
    let loaded = place.load(text).unwrap();
    let states = &loaded.config.plugins;
    assert_eq!(states[&name("fine")].state, PluginState::Ready);
    assert_eq!(states[&name("off")].state, PluginState::Disabled);
    let why = "/no/such/device does not exist".to_owned();
    assert_eq!(states[&name("elsewhere")].state, PluginState::Skipped { why });
    let broken = states.values().filter(|p| matches!(p.state, PluginState::Broken { .. })).count();
    assert_eq!((broken, loaded.problems.len()), (11, 11));
}

#[test]
fn bad_files() {
    let place = Place::new();
    let mut said = String::new();
    let mut say = |title: &str, file: PathBuf| {
        let errors = load(&Source::File(file), &place.env).unwrap_err();
        let shown = place.tidy(&errors.render(Color::Never));
        said.extend(["# ", title, "\n", &shown, "\n"]);
    };
    say("missing", place.path("none.toml"));
    say("a folder", place.dir.path().to_path_buf());
    say("not UTF-8", place.file("latin.toml", b"[agent]\nhost = \"caf\xe9\"\n"));
    say("UTF-16", place.file("wide.toml", b"\xff\xfea\0"));
    say("syntax", place.file("syntax.toml", "[agent\nhost = \n[plugins.a]\ncommand = [\"a\"\n"));
    say("a secret in a broken line", place.file("s.toml", "[outputs.a]\nkey = \"abcdef\nurl = 1"));
    say("a table twice", place.file("t.toml", "[agent]\nhost = \"a\"\n[agent]\nhost = \"b\"\n"));
    say("JSON", place.file("bad.json", "{\n  \"agent\": {\"hots\": 1},\n}\n"));
    say("JSON keys", place.file("key.json", "{\"agent\": {\"hots\": \"é\", \"tags\": null}}"));
    insta::assert_snapshot!(said);
}

#[test]
fn a_byte_order_mark_does_no_harm() {
    let place = Place::new();
    let loaded = place.load("\u{feff}[agent]\nhost = 'x'").unwrap();
    assert_eq!(loaded.config.agent.host, "x");
    let path = place.file("bom.json", "\u{feff}{\"agent\": {\"host\": \"y\"}}");
    assert_eq!(load(&Source::File(path), &place.env).unwrap().config.agent.host, "y");
}

#[test]
fn mistakes_over_several_files() {
    let place = Place::new();
    place.file("more/a.toml", "include = []\n[plugins.x]\ncommand = ['../ok.sh']\n[hub]\n");
    place.file(
        "more/b.toml",
        "[plugins.x]\ncommand = ['../ok.sh']\n[hub]\n[outputs.o]\ntype = 'stdout'",
    );
    place.script("plugins/y.sh", "#!/bin/sh\n");
    place.script("plugins/y.py", "#!/usr/bin/env python3\n");
    let said = place.said(
        "include = ['more/*.toml', 'none.toml', 'none/*.toml']\nagent.plugin_dirs = ['plugins', 'no-such']\noutputs.o.type = 'stdout'"
    );
    insta::assert_snapshot!(said);
}
