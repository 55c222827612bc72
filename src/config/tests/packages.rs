//! Packages: their manifests, and what a config makes of those that are installed.

use super::*;

const MANIFEST_TEXT: &str = r#"
name = "net-stat"
version = "0.1"
description = "Packets in and out"
authors = ["The Talaia project"]
license = "MIT"
category = "network"
[config]
schema = "config.schema.json"
defaults = { root = "/proc", limits = { a = 1 } }
[commands.net-stat]
command = ["bin/run.sh", "-v"]
interval = "10s"
strict = true
[commands.net-stat.metrics]
packets = { type = "counter", unit = "packets", label = "Packets" }
[commands.slow]
command = ["run.sh"]
interval = "1h"
[commands.slow.metrics.n]
type = "integer"
"#;

fn install(place: &Place, folder: &str, text: &str) {
    place.file(&format!("{folder}/talaia-plugin.toml"), text);
    place.file(
        &format!("{folder}/config.schema.json"),
        r#"{"type": "object", "properties": {"root": {"type": "string", "pattern": "^/"}}}"#,
    );
    place.script(&format!("{folder}/bin/run.sh"), "#!/bin/sh\necho '{}'\n");
    place.script(&format!("{folder}/run.sh"), "#!/bin/sh\necho '{}'\n");
}

/// A config with a data folder in which version 0.1.0 is installed.
fn installed(place: &Place) {
    install(place, "data/packages/net-stat/0.1.0", MANIFEST_TEXT);
}

const MAIN: &str = "[agent]\ndata_dir = 'data'\n";

#[test]
fn a_drop_in_makes_the_plugins_of_a_package() {
    let place = Place::new();
    installed(&place);
    place.file(
        "plugins.d/net-stat.toml",
        "[packages.net-stat]
         version = '0.1.0'
         key = '0B7CF2D0-6a1c-4b1e-9d55-0c1e6a1f2b3c'
         config = { root = '/sys', limits = { b = 2 } }
         [packages.net-stat.commands.net-stat]
         interval = '30s'
         user = 'nobody'
         metrics.packets.warn = 5
         [packages.net-stat.commands.slow]
         enabled = false",
    );
    let loaded = place.load(MAIN).unwrap();
    assert_eq!(loaded.problems, []);
    let plugin = &loaded.config.plugins[&name("net_stat")];
    let folder = place.path("data/packages/net-stat/0.1.0");
    assert_eq!(plugin.command.program, folder.join("bin/run.sh"));
    assert_eq!(plugin.command.dir, folder.join("bin"));
    assert_eq!(plugin.command.args, ["-v"]);
    assert_eq!(plugin.timing.interval(), Some(Duration::from_secs(30)));
    assert_eq!(plugin.settings.to_json(), r#"{"limits":{"b":2},"root":"/sys"}"#);
    assert!(plugin.key.is_some());
    // What the operator says lies over what the package says, also deep inside.
    let packets = &plugin.metrics["packets"];
    assert_eq!(packets.unit.as_deref(), Some("packets"));
    assert!(packets.warn.is_some());
    let slow = &loaded.config.plugins[&name("net_stat_slow")];
    assert_eq!(slow.state, PluginState::Disabled);
    assert_eq!(slow.command.program, folder.join("run.sh"));
    let (package, known) = loaded.config.packages.first_key_value().unwrap();
    assert_eq!((package.as_str(), known.version.to_string()), ("net-stat", "0.1.0".to_owned()));
    assert!(loaded.files.iter().any(|file| file.ends_with("talaia-plugin.toml")));
}

#[test]
fn files_of_the_drop_in_folder_are_read_once() {
    let place = Place::new();
    place.file("plugins.d/a.toml", "[plugins.a]\ncommand = ['../ok.sh']");
    place.file("plugins.d/notes.txt", "not a config");
    for main in ["", "include = ['plugins.d/*.toml']", "include = ['plugins.d/a.toml']"] {
        let loaded = place.load(main).unwrap();
        assert_eq!(loaded.config.plugins.len(), 1, "{main}");
    }
}

#[test]
fn a_config_can_be_tried_before_it_is_written() {
    let place = Place::new();
    installed(&place);
    let main = place.file("talaia.toml", MAIN);
    let drop_in = place.path("plugins.d/net-stat.toml");
    let text = "[packages.net-stat]\nversion = '0.1.0'".to_owned();
    let load = |edits: Edits| load_edited(&Source::File(main.clone()), &edits, &place.env);
    let loaded = load(Edits::from([(drop_in.clone(), Some(text.clone()))])).unwrap();
    assert_eq!(loaded.config.plugins.len(), 2);
    assert!(!drop_in.exists());
    place.file("plugins.d/net-stat.toml", text);
    let loaded = load(Edits::from([(drop_in.clone(), None)])).unwrap();
    assert_eq!(loaded.config.plugins.len(), 0);
    let errors = load(Edits::from([(drop_in, Some("[packages.net-stat]\nversio = 1".to_owned()))]));
    assert!(errors.unwrap_err().render(Color::Never).contains("did you mean `version`?"));
}

#[test]
fn what_keeps_a_package_from_running_stops_nothing_else() {
    let place = Place::new();
    installed(&place);
    let other = "[plugins.ok]\ncommand = ['./ok.sh']\n";
    let said = |drop_in: &str| {
        place.file("plugins.d/net-stat.toml", drop_in);
        let loaded = place.load(&format!("{MAIN}{other}")).unwrap();
        assert_eq!(loaded.config.plugins[&name("ok")].state, PluginState::Ready);
        let shown = loaded.sources.render(&loaded.problems, Color::Never);
        place.tidy(&shown)
    };
    let missing = said("[packages.net-stat]\nversion = '0.2.0'");
    assert!(missing.contains("the package net-stat 0.2.0 is not installed"), "{missing}");
    assert!(missing.contains("talaia plugin install net-stat 0.2.0"), "{missing}");
    let settings = said("[packages.net-stat]\nversion = '0.1'\nconfig = { root = 'proc' }");
    assert!(settings.contains("its settings, `/root`"), "{settings}");
    let text = MANIFEST_TEXT.replace("'10s'", "'10'").replace("\"10s\"", "10");
    install(&place, "data/packages/net-stat/0.1.0", &text);
    let broken = said("[packages.net-stat]\nversion = '0.1.0'");
    assert!(
        broken.contains("invalid duration") && broken.contains("talaia-plugin.toml:13"),
        "{broken}"
    );
}

#[test]
fn a_package_needs_what_it_says_and_runs_where_it_says() {
    let place = Place::new();
    place.file("plugins.d/a.toml", "[packages.net-stat]\nversion = '0.1.0'");
    let with = |line: &str| {
        let text = MANIFEST_TEXT.replace("[config]", &format!("{line}\n[config]"));
        install(&place, "data/packages/net-stat/0.1.0", &text);
        place.load(MAIN).unwrap().config.plugins[&name("net_stat")].state.clone()
    };
    assert!(matches!(with("platforms = ['plan9']"), PluginState::Skipped { .. }));
    assert!(matches!(with("platforms = ['linux']"), PluginState::Ready));
    for needs in ["interpreters = ['no-such-thing']", "talaia = '999'"] {
        let state = with(&format!("[requires]\n{needs}"));
        assert!(matches!(state, PluginState::Broken { .. }), "{state:?}");
    }
}

#[test]
fn a_program_in_a_package_is_run_as_its_manifest_says() {
    let place = Place::new();
    install(&place, "mine", MANIFEST_TEXT);
    for path in ["mine/bin/run.sh", "./mine/run.sh"] {
        let scripts = Scripts { paths: vec![path.into()], ..Scripts::default() };
        let loaded = load(&Source::Scripts(scripts), &place.env).unwrap();
        let (_, plugin) = loaded.config.plugins.first_key_value().unwrap();
        assert!(!plugin.metrics.is_empty(), "{path}");
        assert_eq!(plugin.settings.expose()["root"], "/proc");
    }
    // In a folder of plugins a package brings all of its plugins.
    place.file("plugins/readme.md", "");
    install(&place, "plugins/mine", MANIFEST_TEXT);
    let loaded = place.load("[agent]\nplugin_dirs = ['plugins']").unwrap();
    let names: Vec<_> = loaded.config.plugins.keys().map(ToString::to_string).collect();
    assert_eq!(names, ["net_stat", "net_stat_slow"]);
}

/// What is said about a manifest with one thing replaced.
fn said(from: &str, to: &str) -> String {
    assert!(MANIFEST_TEXT.contains(from), "{from}");
    let text = MANIFEST_TEXT.replacen(from, to, 1);
    let files = |path: &str| match path {
        "bin/run.sh" | "run.sh" => Some(b"#!/bin/sh\n".to_vec()),
        "config.schema.json" => Some(br#"{"properties": {"root": {"type": "string"}}}"#.to_vec()),
        "conf/a.json" => Some(b"{\n  // of the host\n  \"root\": \"/proc\",\n}".to_vec()),
        "conf/b.json" => Some(b"{\"root\": 1}".to_vec()),
        _ => None,
    };
    let reading = Manifest::read("p/talaia-plugin.toml".into(), &text, &files);
    let shown = reading.sources.render(&reading.diagnostics, Color::Never);
    let wrong = reading.diagnostics.iter().any(|d| d.severity == Severity::Error);
    assert_eq!(reading.manifest.is_none(), wrong, "{shown}");
    shown
}

#[test]
fn a_manifest_says_what_a_package_is_and_nothing_that_is_the_operators() {
    assert_eq!(said("[config]", "[config]"), "");
    let wrong = [
        ("name = \"net-stat\"", "name = \"Net.Stat\"", "is not a package name"),
        ("version = \"0.1\"", "version = \"one\"", "is not a version"),
        ("version = \"0.1\"", "", "the manifest has no `version`"),
        ("authors = [\"The Talaia project\"]", "authors = []", "has no `authors`"),
        ("category = \"network\"", "category = \"networks\"", "did you mean `network`?"),
        ("license", "licence", "did you mean `license`?"),
        ("interval = \"10s\"", "interval = \"10s\"\nuser = \"root\"", "does not set `user`"),
        ("interval = \"10s\"", "pass_env = [\"A\"]", "does not set `pass_env`"),
        ("interval = \"10s\"", "no_new_privs = false", "does not set `no_new_privs`"),
        ("interval = \"10s\"", "env = { A = { file = \"/etc/shadow\" } }", "cannot ask for a file"),
        ("root = \"/proc\"", "root = { file = \"/etc/shadow\" }", "cannot ask for a file"),
        ("root = \"/proc\"", "root = [{ env = \"KEY\" }]", "cannot ask for a file"),
        ("root = \"/proc\"", "root = 1", "the defaults do not pass config.schema.json"),
        ("\"bin/run.sh\"", "\"../run.sh\"", "not a path inside of the package"),
        ("\"bin/run.sh\"", "\"/bin/sh\"", "not a path inside of the package"),
        ("\"bin/run.sh\"", "\"bin/other.sh\"", "no file `bin/other.sh`"),
        ("[\"run.sh\"]", "\"run.sh\"", "`command` is an array"),
        ("[\"run.sh\"]", "[]", "`command` is an array"),
        ("\"config.schema.json\"", "\"none.json\"", "no file `none.json`"),
        ("[commands.slow]", "[commands.net_stat]", "are both the plugin `net_stat`"),
        ("type = \"counter\"", "type = \"gauge\"", "is not one of"),
        ("{ root = \"/proc\", limits = { a = 1 } }", "\"conf/b.json\"", "do not pass"),
        ("{ root = \"/proc\", limits = { a = 1 } }", "\"conf/none.json\"", "no file"),
    ];
    for (from, to, expected) in wrong {
        let said = said(from, to);
        assert!(said.contains(expected), "{to}: {said}");
        assert!(said.contains(':'), "{to}: {said}");
    }
    assert_eq!(said("{ root = \"/proc\", limits = { a = 1 } }", "\"conf/a.json\""), "");
    // Without a file of that name it is an interpreter.
    assert_eq!(said("[\"run.sh\"]", "[\"python3\", \"-c\", \"1\"]"), "");
    let warned = said("[commands.slow.metrics.n]\ntype = \"integer\"", "");
    assert!(warned.contains("declares no metrics"), "{warned}");
}

/// What is said about a manifest whose settings have this schema.
fn said_of_schema(schema: &str) -> String {
    let files = |path: &str| match path {
        "config.schema.json" => Some(schema.as_bytes().to_vec()),
        _ => Some(b"#!/bin/sh\n".to_vec()),
    };
    let reading = Manifest::read("p/talaia-plugin.toml".into(), MANIFEST_TEXT, &files);
    reading.sources.render(&reading.diagnostics, Color::Never)
}

#[test]
fn a_package_cannot_make_its_readers_work_without_end() {
    let one = r##"{"properties": {"root": {"$ref": "#/$defs/text"}}, "$defs": {"text": {"type": "string"}}}"##;
    assert_eq!(said_of_schema(one), "");
    let many = vec![r##"{"$ref": "#/$defs/a"}"##; 65].join(",");
    let many = format!(r#"{{"allOf": [{many}], "$defs": {{"a": true}}}}"#);
    let large = format!(r#"{{"description": "{}"}}"#, "a".repeat(256 << 10));
    for (schema, why) in [
        (r#"{"$ref": "https://example.org/a.json"}"#, "is not to `#/$defs/NAME`"),
        (r##"{"properties": {"a": {"$ref": "#"}}}"##, "is not to `#/$defs/NAME`"),
        (r##"{"items": [{"$dynamicRef": "#a"}]}"##, "is not to `#/$defs/NAME`"),
        (r##"{"$recursiveRef": "#/$defs/a/b"}"##, "is not to `#/$defs/NAME`"),
        (
            r##"{"$ref": "#/$defs/a", "$defs": {"a": {"allOf": [{"$ref": "#/$defs/a"}]}}}"##,
            "stands in `$defs` itself",
        ),
        (&many, "more than 64 references"),
        (&large, "at most 256 KiB are read"),
    ] {
        let said = said_of_schema(schema);
        assert!(said.contains(why), "{}: {said}", &schema[..schema.len().min(100)]);
    }

    let read = |text: &str| {
        let reading = Manifest::read("p/talaia-plugin.toml".into(), text, &|_| None);
        assert!(reading.manifest.is_none());
        reading.sources.render(&reading.diagnostics, Color::Never)
    };
    let long = format!("{MANIFEST_TEXT}#{}", "a".repeat(256 << 10));
    assert!(read(&long).contains("at most 256 KiB are read"));
    let commands: String = (0..101).map(|n| format!("[commands.c{n}]\ncommand=['a']\n")).collect();
    assert!(read(&commands).contains("101 commands; a package has at most 100"));
    // As deep as there is room for.
    let deep = format!("{}a = 1", "a.".repeat(100_000));
    assert!(!read(&deep).is_empty());
    let deep = format!("a = {}1", "[".repeat(200_000));
    assert!(!read(&deep).is_empty());
    let keys: String = (0..20_000).map(|n| format!("\"k{n}\": 1, ")).collect();
    let twice = format!("{{{keys}\"k0\": 2}}");
    let files = |path: &str| match path {
        "conf.json" => Some(twice.clone().into_bytes()),
        _ => Some(b"true".to_vec()),
    };
    let text = MANIFEST_TEXT.replace("{ root = \"/proc\", limits = { a = 1 } }", "\"conf.json\"");
    let reading = Manifest::read("p/talaia-plugin.toml".into(), &text, &files);
    assert_eq!(reading.diagnostics.len(), 1);
    assert!(reading.diagnostics[0].message.contains("duplicate key `k0`"));
}
