//! The examples and the templates of `talaia new`, run as their configs say.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use serde_json::Value;
use talaia::config::{self, Env, Loaded, Mode, PluginConfig, PluginState, Scripts, Source};
use talaia::package::{Language, template};

struct Ran {
    status: ExitStatus,
    documents: Vec<Value>,
    stdout: String,
    stderr: String,
}

/// Runs `plugin` once, as the agent would, for at most a minute.
fn run(plugin: &PluginConfig, state: &Path) -> Ran {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config.json");
    File::create(&config).unwrap().write_all(plugin.settings.to_json().as_bytes()).unwrap();
    let (out, err) = (dir.path().join("out"), dir.path().join("err"));
    let status = Command::new("timeout")
        .args(["-k", "1", "60"])
        .arg(&plugin.command.program)
        .args(&plugin.command.args)
        .current_dir(&plugin.command.dir)
        .env_clear()
        .envs(plugin.env.iter().map(|(name, value)| (name, value.expose())))
        .env("TALAIA_PROTOCOL", "1")
        .env("TALAIA_CONFIG", &config)
        .env("TALAIA_STATE_DIR", state)
        .stdin(File::open(&config).unwrap())
        .stdout(File::create(&out).unwrap())
        .stderr(File::create(&err).unwrap())
        .status()
        .unwrap();
    let (stdout, stderr) =
        (std::fs::read_to_string(out).unwrap(), std::fs::read_to_string(err).unwrap());
    let documents = serde_json::Deserializer::from_str(&stdout)
        .into_iter::<Value>()
        .collect::<Result<_, _>>()
        .unwrap_or_else(|e| panic!("{}: {e} in {stdout}", plugin.name));
    Ran { status, documents, stdout, stderr }
}

/// The search path of this very test, so that interpreters are found where they are here.
fn env() -> Env {
    Env::system()
}

#[test]
fn every_example_reports() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/talaia.toml");
    let loaded = config::load(&Source::File(path), &env()).unwrap_or_else(|e| panic!("{e}"));
    let mut ran = 0;
    for plugin in loaded.config.plugins.values() {
        match &plugin.state {
            // Those that live on have a test of their own.
            PluginState::Ready if plugin.mode != Mode::Interval => continue,
            PluginState::Ready => {}
            PluginState::Skipped { why } => {
                eprintln!("{} skipped: {why}", plugin.name);
                continue;
            }
            state => panic!("{}: {state:?}", plugin.name),
        }
        let state = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            let run = run(plugin, state.path());
            assert!(run.status.success(), "{}: {} {}", plugin.name, run.status, run.stderr);
            assert_eq!(run.stderr, "", "{}", plugin.name);
            assert!(!run.documents.is_empty(), "{}: {}", plugin.name, run.stdout);
            for metric in plugin.metrics.keys() {
                assert!(
                    run.stdout.contains(&format!("\"{metric}\"")),
                    "{} does not print {metric}: {}",
                    plugin.name,
                    run.stdout
                );
            }
        }
        ran += 1;
    }
    assert!(ran >= 5, "only {ran} could run here");
}

#[test]
fn the_packet_counters_are_those_of_the_kernel() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/talaia.toml");
    let loaded = config::load(&Source::File(path), &env()).unwrap();
    let plugin = &loaded.config.plugins[&"netstat".parse().unwrap()];
    if plugin.state != PluginState::Ready {
        return;
    }
    let state = tempfile::tempdir().unwrap();
    let run = run(plugin, state.path());
    let metrics = run.documents[0]["metrics"].as_array().unwrap();
    let names: Vec<&str> = metrics.iter().map(|m| m["name"].as_str().unwrap()).collect();
    let wanted = ["tcp_packets_in", "tcp_packets_out", "udp_packets_in", "udp_packets_out"];
    assert_eq!(names, wanted);
    assert!(metrics.iter().all(|m| m["type"] == "counter" && m["value"].is_u64()));
}

#[test]
fn a_check_that_finds_nothing_is_critical_and_no_failure() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/plugins/hub_check.py");
    let dir = tempfile::tempdir().unwrap();
    // A port that was free a moment ago.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/healthz", listener.local_addr().unwrap());
    drop(listener);
    let text = format!(
        "[plugins.hub_check]\ncommand = ['{}']\nconfig = {{ url = '{url}' }}\nwhen = {{ command_exists = 'python3' }}",
        path.display()
    );
    let source =
        Source::Text { name: "test.toml".to_owned(), text, base: dir.path().to_path_buf() };
    let loaded = config::load(&source, &env()).unwrap();
    let plugin = loaded.config.plugins.values().next().unwrap();
    if plugin.state != PluginState::Ready {
        return;
    }
    let run = run(plugin, dir.path());
    assert!(run.status.success(), "{}", run.stderr);
    assert_eq!(run.documents[0]["status"], "critical");
    assert!(run.documents[0]["message"].as_str().unwrap().contains(&url));
}

/// Writes the template of `language` and loads it as a script.
fn written(language: Language, root: &Path) -> (PathBuf, Loaded) {
    let name = format!("my_{language}");
    let folder = root.join(&name);
    std::fs::create_dir(&folder).unwrap();
    for file in template(&name.parse().unwrap(), language) {
        let path = folder.join(&file.path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        File::create(&path).unwrap().write_all(file.text.as_bytes()).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(file.mode.bits())).unwrap();
    }
    let path = folder.join(&name);
    let scripts = Scripts { paths: vec![path.clone()], ..Scripts::default() };
    let loaded = config::load(&Source::Scripts(scripts), &env()).unwrap_or_else(|e| panic!("{e}"));
    (path, loaded)
}

#[test]
fn a_new_plugin_is_right_as_it_is() {
    let root = tempfile::tempdir().unwrap();
    for language in Language::ALL {
        let (_, loaded) = written(language, root.path());
        let plugin = loaded.config.plugins.values().next().unwrap();
        assert!(loaded.warnings.is_empty(), "{language}: {:?}", loaded.warnings);
        assert_eq!(plugin.settings.to_json(), "{\"folder\":\"/tmp\"}");
        assert!(plugin.metrics["entries"].required);
        if lacks_compiler(language) {
            eprintln!("{language}: no compiler here");
            continue;
        }
        if let PluginState::Broken { why } = &plugin.state {
            // Its interpreter is not on this machine; that is the only excuse.
            assert!(why.contains("install"), "{language}: {why}");
            eprintln!("{language}: {why}");
            continue;
        }
        let state = tempfile::tempdir().unwrap();
        let count = std::fs::read_dir(state.path()).unwrap().count();
        assert_eq!(count, 0);
        let first = run(plugin, state.path());
        assert!(first.status.success(), "{language}: {} {}", first.status, first.stderr);
        assert_eq!(first.stderr, "", "{language}");
        let metric = &first.documents[0]["metrics"][0];
        assert_eq!(metric["name"], "entries", "{language}: {}", first.stdout);
        assert!(metric["value"].is_u64(), "{language}: {}", first.stdout);
        assert_eq!(metric["tags"]["folder"], "/tmp");
        let part = &first.documents[0]["metrics"][1];
        assert_eq!((&part["name"], &part["type"]), (&"hidden".into(), &"percent".into()));
        assert_eq!(first.documents[0]["status"], "ok");
    }
}

fn available(program: &str) -> bool {
    Command::new(program)
        .arg("version")
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status()
        .is_ok()
}

#[test]
fn what_a_new_plugin_cannot_see_is_critical_and_a_gap() {
    let root = tempfile::tempdir().unwrap();
    // A folder with three entries, and one that is not there.
    let seen = root.path().join("seen");
    std::fs::create_dir(&seen).unwrap();
    for name in ["a", ".b", "c d"] {
        File::create(seen.join(name)).unwrap();
    }
    for language in Language::ALL {
        // Compiling once more would show nothing new; the texts of the others are interpreted.
        if matches!(language, Language::Go | Language::Rust) {
            continue;
        }
        let (path, _) = written(language, root.path());
        let sidecar = path.with_file_name("talaia-plugin.toml");
        let original = std::fs::read_to_string(&sidecar).unwrap();
        let empty = root.path().join("empty");
        let _there = std::fs::create_dir(&empty);
        for (folder, count) in
            [(seen.clone(), Some(3)), (root.path().join("none"), None), (empty, Some(0))]
        {
            let text = original.replace("\"/tmp\"", &format!("'{}'", folder.display()));
            File::create(&sidecar).unwrap().write_all(text.as_bytes()).unwrap();
            let scripts = Scripts { paths: vec![path.clone()], ..Scripts::default() };
            let loaded = config::load(&Source::Scripts(scripts), &env()).unwrap();
            let plugin = loaded.config.plugins.values().next().unwrap();
            if plugin.state != PluginState::Ready {
                continue;
            }
            let run = run(plugin, root.path());
            assert!(run.status.success(), "{language}: {}", run.stderr);
            let document = &run.documents[0];
            assert_eq!(document["metrics"][0]["value"], count.map_or(Value::Null, Value::from));
            // One of three begins with a dot; the shells reckon in whole numbers.
            let part = document["metrics"][1]["value"].as_f64().map(f64::floor);
            let wanted = count.filter(|count| *count > 0).map(|_| 33.0);
            assert_eq!(part, wanted, "{language}: {}", run.stdout);
            if count.is_none() {
                assert_eq!(document["status"], "critical", "{language}");
                assert!(run.stderr.starts_with("E! "), "{language}: {}", run.stderr);
            }
        }
    }
}

/// Writes another folder into the manifest of the plugin `program`, and runs it.
fn run_with(program: &Path, folder: &str) -> Option<Ran> {
    let manifest = program.with_file_name("talaia-plugin.toml");
    let text = std::fs::read_to_string(&manifest).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let line = lines.iter_mut().find(|line| line.starts_with("defaults = ")).unwrap();
    *line = format!("defaults = {{ folder = {folder} }}");
    std::fs::write(&manifest, lines.join("\n")).unwrap();
    let scripts = Scripts { paths: vec![program.to_owned()], ..Scripts::default() };
    let loaded = config::load(&Source::Scripts(scripts), &env()).unwrap();
    let plugin = loaded.config.plugins.values().next().unwrap();
    let state = program.with_file_name("state");
    std::fs::create_dir_all(&state).unwrap();
    (plugin.state == PluginState::Ready).then(|| run(plugin, &state))
}

/// Whether this takes a compiler that is not here.
fn lacks_compiler(language: Language) -> bool {
    match language {
        Language::Go => !available("/usr/local/go/bin/go"),
        Language::Rust => !available("rustc"),
        _ => false,
    }
}

#[test]
fn a_setting_that_a_new_plugin_cannot_read_is_a_failure_and_no_other_folder() {
    let root = tempfile::tempdir().unwrap();
    let odd = root.path().join("it's \"odd\"");
    std::fs::create_dir(&odd).unwrap();
    let odd = odd.display().to_string();
    let quoted = format!("{odd:?}");
    for language in Language::ALL {
        if lacks_compiler(language) {
            eprintln!("{language}: no compiler here");
            continue;
        }
        let (program, _) = written(language, root.path());
        for folder in ["5", "['/tmp']", &quoted] {
            let Some(ran) = run_with(&program, folder) else { continue };
            if !ran.status.success() {
                assert!(ran.stderr.starts_with("E! "), "{language}: {}", ran.stderr);
                assert_eq!(ran.stdout, "", "{language}");
                continue;
            }
            // Those that read JSON read any string; and to Perl a number is one.
            let document = &ran.documents[0];
            let seen = &document["metrics"][0]["tags"]["folder"];
            assert!(seen == "5" || *seen == odd, "{language}: {}", ran.stdout);
            let status = if seen == "5" { "critical" } else { "ok" };
            assert_eq!(document["status"], status, "{language}: {}", ran.stdout);
        }
    }
}

#[test]
fn what_was_built_beside_a_new_plugin_does_not_outlive_a_change() {
    let root = tempfile::tempdir().unwrap();
    for (language, source) in [(Language::Go, "main.go"), (Language::Rust, "main.rs")] {
        if lacks_compiler(language) {
            eprintln!("{language}: no compiler here");
            continue;
        }
        let (program, _) = written(language, root.path());
        let built = Command::new(&program).arg("--build").status().unwrap();
        assert!(built.success(), "{language}");
        let name = |ran: &Ran| ran.documents[0]["metrics"][0]["name"].clone();
        assert_eq!(name(&run_with(&program, "'/tmp'").unwrap()), "entries", "{language}");
        let state = program.with_file_name("state");
        assert_eq!(std::fs::read_dir(&state).unwrap().count(), 0, "{language}");
        let source = program.with_file_name(source);
        let text = std::fs::read_to_string(&source).unwrap();
        std::fs::write(&source, text.replace("\"entries\"", "\"files\"")).unwrap();
        // Some file systems keep whole seconds.
        let later = std::time::SystemTime::now() + std::time::Duration::from_secs(2);
        File::options().append(true).open(&source).unwrap().set_modified(later).unwrap();
        assert_eq!(name(&run_with(&program, "'/tmp'").unwrap()), "files", "{language}");
    }
}

/// What says of a file of this language whether its form is right, where that is installed.
fn linter(language: Language) -> &'static [&'static str] {
    match language {
        Language::Sh | Language::Bash => &["shellcheck"],
        Language::Python => &["python3", "-m", "py_compile"],
        Language::Node => &["node", "--check"],
        Language::Perl => &["perl", "-c"],
        Language::Ruby => &["ruby", "-wc"],
        Language::Php => &["php", "-l"],
        Language::Go => &["/usr/local/go/bin/gofmt", "-e", "-l"],
        Language::Rust => &["rustfmt", "--edition", "2021", "--check"],
    }
}

#[test]
fn a_new_plugin_is_clean_in_its_language() {
    let root = tempfile::tempdir().unwrap();
    for language in Language::ALL {
        let (program, _) = written(language, root.path());
        let file = match language {
            Language::Go => program.with_file_name("main.go"),
            Language::Rust => program.with_file_name("main.rs"),
            _ => program.clone(),
        };
        // The scripts that start compiled programs are shell, too.
        let shell = (file != program).then_some((Language::Sh, program));
        for (language, file) in [(language, file)].into_iter().chain(shell) {
            let [tool, args @ ..] = linter(language) else { unreachable!() };
            let log = root.path().join("said");
            let out = || File::options().create(true).append(true).open(&log).unwrap();
            let mut command = Command::new(tool);
            command.args(args).arg(&file).stdout(out()).stderr(out());
            match command.status() {
                Err(_) => eprintln!("{language}: {tool} is not here"),
                Ok(status) => {
                    let said = std::fs::read_to_string(&log).unwrap();
                    assert!(status.success(), "{language}: {said}");
                    // gofmt lists what it would change, and is content.
                    assert!(language != Language::Go || said.is_empty(), "{said}");
                }
            }
            let _gone = std::fs::remove_file(log);
        }
    }
}
