//! Whole configs and what they come to.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;

mod mistakes;
mod packages;
mod schemas;

/// A folder with files, and surroundings that do not depend on this machine.
struct Place {
    dir: tempfile::TempDir,
    env: Env,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let vars =
            [("HOME", "/home/ada"), ("TALAIA_KEY", "k3y"), ("TOKEN", "t0ken"), ("EMPTY", "")];
        let env = Env {
            vars: vars.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
            user: User::Other,
            host: "web-1".to_owned(),
            cpus: 2,
            cwd: dir.path().to_path_buf(),
        };
        let place = Self { dir, env };
        place.script("ok.sh", "#!/bin/sh\necho '{}'\n");
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn file(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::File::create(&path)
            .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_ref()))
            .unwrap();
        path
    }

    fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.file(name, text);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn load(&self, text: &str) -> Result<Loaded, LoadErrors> {
        let path = self.file("talaia.toml", text);
        load(&Source::File(path), &self.env)
    }

    /// What is said about `text`, with this folder's name taken out.
    fn said(&self, text: &str) -> String {
        let (diagnostics, sources) = match self.load(text) {
            Ok(loaded) => ([loaded.problems, loaded.warnings].concat(), loaded.sources),
            Err(errors) => (errors.list().to_vec(), errors.sources().clone()),
        };
        self.tidy(&sources.render(&diagnostics, Color::Never))
    }

    fn tidy(&self, text: &str) -> String {
        text.replace(self.dir.path().to_str().unwrap(), "/etc/talaia")
    }
}

fn name(text: &str) -> PluginName {
    text.parse().unwrap()
}

#[test]
fn the_default_config_is_right_and_changes_nothing() {
    let place = Place::new();
    let said = place.load(DEFAULT).unwrap();
    assert!(said.warnings.is_empty() && said.problems.is_empty());
    assert_eq!(said.config, place.load("").unwrap().config);
    // What is commented out is right as well.
    let all: String = DEFAULT
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest) if rest.starts_with('[') || rest.split(' ').nth(1) == Some("=") => rest,
            _ => line,
        })
        .flat_map(|line| [line, "\n"])
        .collect();
    place.script("plugins/disk.sh", "#!/bin/sh\n");
    place.file("hub.pem", "");
    place.file("hub.key", "");
    let loaded = place.load(&all).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(loaded.config.plugins.len(), 1);
    assert_eq!(loaded.config.outputs.len(), 1);
}

#[test]
fn defaults_are_those_of_the_design() {
    let place = Place::new();
    let config = place.load("[plugins.a]\ncommand = ['./ok.sh']").unwrap().config;
    let agent = &config.agent;
    assert_eq!(agent.host, "web-1");
    assert_eq!(agent.data_dir, Path::new("/home/ada/.local/state/talaia"));
    assert_eq!((agent.concurrency, agent.max_running), (4, 512));
    assert_eq!((agent.spool.quota, agent.spool.min_free), (256 << 20, 256 << 20));
    assert_eq!(agent.spool.max_age, None);
    assert!(config.hub.enabled);
    assert_eq!(config.hub.listen.to_string(), "127.0.0.1:7180");
    let plugin = &config.plugins[&name("a")];
    assert_eq!(plugin.state, PluginState::Ready);
    assert_eq!(plugin.timing.interval(), Some(Duration::from_mins(1)));
    assert!(matches!(plugin.timing, Timing::Splayed(_)));
    assert_eq!(plugin.mode, Mode::Interval);
    assert_eq!(plugin.timeout, Duration::from_secs(30));
    assert_eq!(plugin.grace, Duration::from_secs(2));
    assert_eq!(plugin.stdout_limit, 1 << 20);
    assert_eq!(plugin.command.program, place.path("ok.sh"));
    assert_eq!(plugin.command.dir, place.dir.path());
    assert_eq!(plugin.settings.to_json(), "{}");
    let env: Vec<&str> = plugin.env.keys().map(String::as_str).collect();
    assert_eq!(env, ["LANG", "PATH", "TMPDIR"]);
    assert_eq!(plugin.env["PATH"].expose(), DEFAULT_PATH);

    let root = Env { user: User::Root, ..place.env.clone() };
    assert_eq!(root.default_data_dir().unwrap(), Path::new("/var/lib/talaia"));
    assert_eq!(root.default_config_path().unwrap(), Path::new("/etc/talaia/talaia.toml"));
    let path = place.env.default_config_path().unwrap();
    assert_eq!(path, Path::new("/home/ada/.config/talaia/talaia.toml"));
}

/// One config that has every key of the grammar that this version takes.
const EVERYTHING: &str = r#"
include = ["more/*.toml"]
[agent]
host = "web-9"
data_dir = "data"
tags = { env = "prod", dc = "bcn" }
plugin_dirs = ["plugins"]
trusted_owners = ["deploy"]
concurrency = 3
max_running = 7
stop_timeout = "4s"
path = "/usr/bin:/bin"
env = { LC_ALL = "C", SHARED = "1" }
spool = { quota = "10MiB", min_free = "1GB", max_age = "7d", commit_interval = "0s" }
[plugins.all]
command = ["./ok.sh", "-v"]
interval = "5s"
align = true
timeout = "2s"
grace = "1s"
format = "json"
mode = "interval"
shell = false
config = { mounts = ["/", "/home"], n = 1, x = 1.5, on = true, deep = { password = { file = "pw" }, token = { env = "TOKEN" } } }
env = { SHARED = "2", PASSWORD = { file = "pw" } }
pass_env = ["TOKEN"]
tags = { env = "test" }
schema = "all.schema.json"
strict = true
limits = { stdout = "2MiB", memory = "64MiB", cpu = "1500ms", files = 32, file_size = "1MiB", processes = 8 }
user = "nobody"
group = "users"
nice = -5
no_new_privs = false
isolate = true
leftovers = "keep"
stdin = "null"
key = "0b7cf2d0-6a1c-4b1e-9d55-0c1e6a1f2b3c"
enabled = true
when = { exists = ["pw", "/"], command_exists = "sh", os = "linux", host = ["db-*", "web-*"] }
[plugins.all.metrics.used]
type = "percent"
unit = "%"
label = "Used"
required = true
warn = 80
crit = "@90:100"
min = 0
max = 100.5
[plugins.nightly]
command = "cat /proc/loadavg | head -1"
shell = true
cron = "0 3 * * *"
timezone = "Europe/Madrid"
[outputs.main]
type = "talaia"
url = "https://hub.example.org/"
key = { env = "TALAIA_KEY" }
interval = "5s"
timeout = "20s"
compression = "gzip"
ca = "pw"
cert = "pw"
cert_key = "pw"
proxy = "http://proxy:3128"
start = "oldest"
[outputs.log]
type = "file"
path = "reports.ndjson"
rotate = "1MiB"
keep = 2
start = "now"
[outputs.screen]
type = "stdout"
[hub]
enabled = true
listen = "[::1]:0"
hosts = ["Hub.example.org"]
quota = "100MiB"
tls = { cert = "pw", key = "pw" }
[profiles.staging]
hub = "https://staging.example.org/"
key = { file = "pw" }
api_key = "5Q1UJD45IM5C21MVOJGIIIREIK"
secret_key = { env = "TALAIA_KEY" }
ca = "pw"
outputs = ["log", "main"]
[profiles.sandbox]
api_key = { env = "TOKEN" }
secret_key = { file = "not-there-yet" }
"#;

fn everything() -> Place {
    let place = Place::new();
    let secret = place.file("pw", "s3cret\n");
    std::fs::set_permissions(secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    place.file("all.schema.json", "{\"type\": \"object\"}");
    place.script("plugins/foo-bar.sh", "#!/bin/sh\n");
    place.file("plugins/foo-bar.toml", "interval = '7s'\n[metrics.a]\ntype = 'binary'\n");
    place.file("plugins/foo-bar.schema.json", "true");
    place.file("plugins/README.md", "not a plugin");
    place.script("plugins/new/new", "#!/bin/sh\n");
    place.file("more/b.toml", "[plugins.b]\ncommand = ['../ok.sh']");
    place
}

#[test]
fn every_key_arrives() {
    let place = everything();
    let loaded = place.load(EVERYTHING).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(loaded.problems, []);
    assert_eq!(loaded.warnings, []);
    let Config { agent, plugins, packages: _, outputs, profiles, hub } = &loaded.config;
    assert_eq!(agent.data_dir, place.path("data"));
    assert_eq!(agent.spool.max_age, Some(Duration::from_hours(168)));
    assert_eq!(agent.spool.commit_interval, Duration::ZERO);
    let names: Vec<&str> = plugins.keys().map(PluginName::as_str).collect();
    assert_eq!(names, ["all", "b", "foo_bar", "new", "nightly"]);

    let all = &plugins[&name("all")];
    assert!(plugins.values().all(|p| p.state == PluginState::Ready), "{plugins:?}");
    assert!(matches!(all.timing, Timing::Aligned(_)));
    assert_eq!(all.command.args, ["-v"]);
    let settings = all.settings.expose();
    assert_eq!(settings["deep"]["password"], "s3cret");
    assert_eq!(settings["deep"]["token"], "t0ken");
    assert_eq!(settings["mounts"][1], "/home");
    assert_eq!(all.env["SHARED"].expose(), "2");
    assert_eq!(all.env["LC_ALL"].expose(), "C");
    assert_eq!(all.env["PASSWORD"].expose(), "s3cret");
    assert_eq!(all.env["TOKEN"].expose(), "t0ken");
    assert_eq!(all.env["PATH"].expose(), "/usr/bin:/bin");
    assert_eq!(all.tags, [("env", "test"), ("dc", "bcn")].into_iter().collect());
    assert_eq!(all.metrics["used"].crit, Some(crate::model::Threshold::Range("@90:100".into())));
    assert_eq!(all.strictness, crate::contract::Strictness::Strict);
    assert_eq!(all.schema.as_ref().unwrap().schema.as_ref().unwrap()["type"], "object");
    assert_eq!((all.stdin, all.leftovers), (Stdin::Null, Leftovers::Keep));

    let nightly = &plugins[&name("nightly")];
    assert_eq!(nightly.command.program, Path::new("/bin/sh"));
    assert_eq!(nightly.command.args, ["-c", "cat /proc/loadavg | head -1"]);
    assert!(matches!(nightly.timing, Timing::Cron(_)));
    assert_eq!(nightly.timeout, Duration::from_secs(30));

    let foo = &plugins[&name("foo_bar")];
    assert_eq!(foo.timing.interval(), Some(Duration::from_secs(7)));
    assert_eq!(foo.command.dir, place.path("plugins"));
    assert_eq!(foo.metrics["a"].kind, crate::model::MetricType::Boolean);
    assert!(foo.schema.is_some());
    assert_eq!(plugins[&name("b")].command.program, place.path("more/../ok.sh"));

    let OutputConfig::Talaia(main) = &outputs["main"] else { panic!("{outputs:?}") };
    assert_eq!(main.url, "https://hub.example.org");
    assert_eq!(main.key.expose(), "k3y");
    assert_eq!(main.start, Start::Oldest);
    assert!(main.identity.is_some());
    assert_eq!(outputs.len(), 3);
    assert!(hub.enabled);
    assert_eq!(hub.hosts, ["hub.example.org"]);
    assert_eq!(hub.tls.as_ref().unwrap().key, place.path("pw"));
    let staging = &profiles["staging"];
    assert_eq!(staging.hub.as_deref(), Some("https://staging.example.org"));
    assert_eq!(staging.key, Some(SecretPlace::File(place.path("pw"))));
    assert_eq!(staging.key.as_ref().unwrap().fetch(&place.env).unwrap().expose(), "s3cret");
    let plain = Text::Plain("5Q1UJD45IM5C21MVOJGIIIREIK".to_owned());
    let secret = SecretPlace::Env("TALAIA_KEY".to_owned());
    assert_eq!(staging.account, Some((plain, secret)));
    assert_eq!(staging.outputs.as_ref().unwrap(), &["log", "main"]);
    // What only commands use is not fetched before.
    let (_, secret) = profiles["sandbox"].account.as_ref().unwrap();
    let error = secret.fetch(&place.env).unwrap_err().to_string();
    assert!(error.contains("not-there-yet"), "{error}");
    for file in ["talaia.toml", "more/b.toml", "all.schema.json", "plugins/foo-bar.toml"] {
        assert!(loaded.files.contains(&place.path(file)), "{file} {:?}", loaded.files);
    }
    assert_eq!(loaded.origins[&name("all")].line, 15);

    let shown = format!("{loaded:?}");
    for secret in ["s3cret", "t0ken", "k3y"] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
}

#[test]
fn the_same_tree_in_json_comes_to_the_same() {
    let place = everything();
    let toml = place.load(EVERYTHING).unwrap().config;
    let tree: toml::Table = EVERYTHING.parse().unwrap();
    let path = place.file("talaia.json", serde_json::to_string_pretty(&tree).unwrap());
    let json = load(&Source::File(path), &place.env).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(json.config, toml);
}

#[test]
fn commands_read_hubs_and_profiles_whatever_else_is_wrong() {
    let place = everything();
    let path = place.file("talaia.toml", EVERYTHING.replace("\"json\"", "\"nagios\""));
    assert!(load(&Source::File(path.clone()), &place.env).is_err());
    let found = destinations(&path, &place.env).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(found.data_dir, Some(place.path("data")));
    assert_eq!(found.profiles, place.load(EVERYTHING).unwrap().config.profiles);
    let main = &found.outputs["main"];
    assert_eq!((found.outputs.len(), main.url.as_str()), (1, "https://hub.example.org"));
    assert_eq!(main.key, SecretPlace::Env("TALAIA_KEY".to_owned()));
    assert!(main.ca.is_some() && main.identity.is_some() && main.proxy != Proxy::None);
    let path = place.file("talaia.toml", "[profiles.x]\nhub = 'ftp://x'\n");
    assert_eq!(destinations(&path, &place.env).unwrap_err().count(), 1);
    assert!(destinations(&place.path("none.toml"), &place.env).is_err());
}

#[test]
fn a_reload_sees_which_plugins_changed() {
    let place = everything();
    let before = place.load(EVERYTHING).unwrap().config;
    let after = place.load(&format!("# a line\n{EVERYTHING}")).unwrap().config;
    assert_eq!(before, after);
    let after = place.load(&EVERYTHING.replace("\"-v\"", "\"-q\"")).unwrap().config;
    let changed: Vec<&str> = before
        .plugins
        .iter()
        .filter(|(name, plugin)| after.plugins.get(*name) != Some(plugin))
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(changed, ["all"]);
    place.file("pw", "changed");
    let after = place.load(EVERYTHING).unwrap().config;
    assert_ne!(before.plugins[&name("all")], after.plugins[&name("all")]);
}

#[test]
fn scripts_need_no_config() {
    let place = Place::new();
    place.script("9-lives.sh", "#!/bin/sh\n");
    place.script("new/new", "#!/bin/sh\n");
    place.file("new/new.toml", "cron = '0 * * * *'\nconfig = { a = 1 }\n");
    let scripts = Scripts {
        config: None,
        paths: vec!["./ok.sh".into(), "9-lives.sh".into(), place.path("new/new")],
        every: Some(Duration::from_secs(5)),
        args: vec!["-x".to_owned()],
    };
    let loaded = load(&Source::Scripts(scripts.clone()), &place.env).unwrap();
    let plugins = &loaded.config.plugins;
    let names: Vec<&str> = plugins.keys().map(PluginName::as_str).collect();
    assert_eq!(names, ["_9_lives", "new", "ok"]);
    for plugin in plugins.values() {
        assert_eq!(plugin.timing.interval(), Some(Duration::from_secs(5)));
        assert_eq!(plugin.command.args, ["-x"]);
        assert_eq!(plugin.state, PluginState::Ready);
    }
    assert_eq!(plugins[&name("new")].settings.to_json(), "{\"a\":1}");
    assert!(loaded.config.hub.enabled);

    let twice = Scripts { paths: vec!["ok.sh".into(), "./ok.sh".into()], ..scripts.clone() };
    let errors = load(&Source::Scripts(twice), &place.env).unwrap_err();
    assert!(errors.to_string().contains("there are two plugins named `ok`"), "{errors}");
    let none = Scripts { paths: vec!["none.sh".into(), "new".into()], ..scripts };
    let errors = load(&Source::Scripts(none), &place.env).unwrap_err();
    assert_eq!(errors.count(), 2);
}

#[test]
fn ten_thousand_plugins_load_quickly() {
    let place = Place::new();
    let text: String = (0..10_000)
        .flat_map(|n| {
            ["[plugins.p".to_owned(), n.to_string(), "]\ncommand=['./ok.sh']\n".to_owned()]
        })
        .collect();
    let started = std::time::Instant::now();
    let loaded = place.load(&text).unwrap();
    assert_eq!(loaded.config.plugins.len(), 10_000);
    assert_eq!(loaded.origins[&name("p9999")].line, 19_999);
    // Far from tight: quadratic work would take minutes.
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    let errors = place.load(&text.replace("command", "comand")).unwrap_err();
    assert_eq!(errors.count(), 10_000);
    assert!(errors.render(Color::Always).ends_with("and 9900 more\n"));
    assert!(started.elapsed() < Duration::from_secs(40), "{:?}", started.elapsed());
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(300))]

    /// Whatever a config looks like, loading it gives a config or errors that can be shown.
    #[test]
    fn no_text_makes_it_panic(at in 0.0..1.0, cut in 0_usize..40, put in ".{0,6}", json: bool) {
        let place = Place::new();
        let tree: toml::Table = EVERYTHING.parse().unwrap();
        let whole = if json {
            serde_json::to_string_pretty(&tree).unwrap()
        } else {
            EVERYTHING.to_owned()
        };
        let start = (at * whole.len() as f64) as usize;
        let end = (start + cut).min(whole.len());
        let text = [&whole[..start], &put, &whole[end..]].concat();
        let path = place.file(if json { "t.json" } else { "t.toml" }, text);
        match load(&Source::File(path), &place.env) {
            Ok(loaded) => {
                loaded.sources.render(&loaded.problems, Color::Never);
                loaded.sources.render(&loaded.warnings, Color::Always);
            }
            Err(errors) => {
                proptest::prop_assert!(errors.count() > 0);
                proptest::prop_assert!(!errors.to_string().is_empty());
            }
        }
    }
}

#[test]
fn an_interpreter_runs_beside_the_config_and_a_plugin_beside_itself() {
    let place = Place::new();
    place.script("plugins/x.sh", "#!/bin/sh\n");
    let up = format!("../{}/plugins/x.sh", place.dir.path().file_name().unwrap().display());
    let config = place
        .load(&format!(
            "[plugins.a]\ncommand = ['/bin/sh', './ok.sh']\n\
             [plugins.b]\ncommand = ['plugins/x.sh']\n\
             [plugins.c]\ncommand = ['plugins/../../../../../../../../bin/sh', './ok.sh']\n\
             [plugins.d]\ncommand = ['{up}']\n"
        ))
        .unwrap()
        .config;
    let dir = |plugin| &config.plugins[&name(plugin)].command.dir;
    assert_eq!(dir("a"), place.dir.path());
    assert_eq!(*dir("b"), place.path("plugins"));
    assert_eq!(dir("c"), place.dir.path());
    assert_eq!(dir("d").canonicalize().unwrap(), place.path("plugins").canonicalize().unwrap());
}
