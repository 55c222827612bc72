//! The recipes of `examples/cookbook/`, with their sidecars, as `talaia test` runs them.
//!
//! Each test says by its place what it is worth: those in `real` run a recipe against the tool or
//! server itself, those in `recorded` against a stand-in of the tool's name (or a socket, or a file
//! as the kernel writes it) that gives what the tool is known to print. Whatever a recipe prints has
//! to be declared in its sidecar.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::Site;

mod real;
mod recorded;

/// A folder with one recipe in it.
struct Kitchen {
    site: Site,
    recipe: &'static str,
    sidecar: toml::Table,
}

fn cookbook() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/cookbook")
}

impl Kitchen {
    fn of(recipe: &'static str) -> Self {
        Self::at(Site::new(), recipe)
    }

    fn at(site: Site, recipe: &'static str) -> Self {
        for folder in ["plugins", "tools"] {
            fs::create_dir(site.path(folder)).unwrap();
        }
        let program = fs::read(cookbook().join(recipe)).unwrap();
        site.write(&format!("plugins/{recipe}"), program, 0o755);
        let text = fs::read_to_string(cookbook().join(format!("{recipe}.toml"))).unwrap();
        let mut sidecar: toml::Table = text.parse().unwrap();
        sidecar.insert("strict".to_owned(), true.into());
        Self { site, recipe, sidecar }
    }

    /// Another value of one of the sidecar's variables.
    fn env(&mut self, name: &str, value: &str) {
        let env = self.sidecar.entry("env").or_insert_with(|| toml::Table::new().into());
        env.as_table_mut().unwrap().insert(name.to_owned(), value.into());
    }

    /// Another value of one of the sidecar's settings.
    fn setting(&mut self, name: &str, value: &str) {
        let config = self.sidecar["config"].as_table_mut().unwrap();
        config.insert(name.to_owned(), value.into());
    }

    /// A program of that name that goes before the real one.
    fn tool(&self, name: &str, script: &str) {
        self.site.script(&format!("tools/{name}"), script);
    }

    /// A program of that name that prints this.
    fn prints(&self, name: &str, text: &str) {
        self.tool(name, &format!("cat <<'END-OF-RECORDING'\n{text}\nEND-OF-RECORDING"));
    }

    fn path(&self, name: &str) -> String {
        self.site.path(name).display().to_string()
    }

    fn run(&self) -> Ran {
        let talaia = Path::new(env!("CARGO_BIN_EXE_talaia")).parent().unwrap();
        // For an ordinary user there is a copy.
        let search = [self.path("tools"), self.path("bin"), talaia.display().to_string()];
        self.run_on(&format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", search.join(":")))
    }

    /// What a run gives that gives the same each time: with each awk that there is.
    fn text(&self) -> String {
        let text = self.run().text();
        for (awk, call) in [("mawk", "mawk"), ("busybox", "busybox awk")] {
            if Path::new("/usr/bin").join(awk).exists() || Path::new("/bin").join(awk).exists() {
                self.tool("awk", &format!("exec {call} \"$@\""));
                assert_eq!(self.run().text(), text, "with {call}");
            }
        }
        fs::remove_file(self.site.path("tools/awk")).unwrap_or_default();
        text
    }

    /// With nothing but these tools on the machine.
    fn run_with_only(&self, tools: &[&str]) -> Ran {
        for tool in tools {
            let mut real = ["/usr/bin", "/bin"].iter().map(|dir| Path::new(dir).join(tool));
            let real = real.find(|path| path.exists()).unwrap();
            std::os::unix::fs::symlink(real, self.site.path(format!("tools/{tool}"))).unwrap();
        }
        self.run_on(&self.path("tools"))
    }

    fn run_on(&self, path: &str) -> Ran {
        let sidecar = toml::to_string(&self.sidecar).unwrap();
        self.site.write(&format!("plugins/{}.toml", self.recipe), sidecar, 0o644);
        let config =
            format!("[agent]\ndata_dir = \"data\"\npath = \"{path}\"\nplugin_dirs = [\"plugins\"]");
        self.site.write("talaia.toml", config, 0o644);
        let done = self.site.talaia(&["test", self.recipe, "--json", "--config", "talaia.toml"]);
        let report = done.json();
        assert_eq!(report["rejected"], serde_json::json!([]), "{}", done.stdout);
        // Where there is nothing to tell, `test` says that nothing was told.
        if report["outcome"]["code"] == 0 && report["usage"]["stdout"] != 0 {
            assert_eq!(report["warnings"], serde_json::json!([]), "{}", done.stdout);
        }
        Ran { report }
    }
}

struct Ran {
    report: Value,
}

impl Ran {
    /// A line for each metric, such as `zfs_full{pool=tank} 81 %`, and one for status and message.
    fn text(&self) -> String {
        let mut text = String::new();
        for metric in self.report["metrics"].as_array().unwrap() {
            text.push_str(metric["name"].as_str().unwrap());
            let empty = serde_json::Map::new();
            let tags = metric["tags"].as_object().unwrap_or(&empty);
            let tags: Vec<String> =
                tags.iter().map(|(key, tag)| format!("{key}={}", tag.as_str().unwrap())).collect();
            if !tags.is_empty() {
                write!(text, "{{{}}}", tags.join(",")).unwrap();
            }
            let value = metric["value"].to_string();
            write!(text, " {}", value.strip_suffix(".0").unwrap_or(&value)).unwrap();
            if let Some(unit) = metric["unit"].as_str() {
                write!(text, " {unit}").unwrap();
            }
            text.push('\n');
        }
        text.push_str(self.report["status"].as_str().unwrap());
        if let Some(message) = self.report["message"].as_str() {
            write!(text, ": {message}").unwrap();
        }
        text
    }

    /// The only value of that name and these tags.
    #[track_caller]
    fn value(&self, name: &str, tags: &Value) -> &Value {
        let mut found = self.report["metrics"].as_array().unwrap().iter().filter(|metric| {
            metric["name"] == name && metric.get("tags").unwrap_or(&Value::Null) == tags
        });
        let first = found.next();
        assert!(first.is_some() && found.next().is_none(), "{name} {tags}: {}", self.report);
        &first.unwrap()["value"]
    }

    /// It failed with that exit code, said why, and printed no metrics.
    #[track_caller]
    fn failed(&self, code: i32, words: &str) {
        assert_eq!(self.report["outcome"]["code"], code, "{}", self.report);
        assert_eq!(self.text(), "unknown");
        let said = self.report["stderr"].as_str().unwrap_or_default();
        assert!(said.contains(words), "no `{words}` in: {said}");
    }
}

#[test]
fn every_recipe_has_a_sidecar_and_loads() {
    let site = Site::new();
    let config = format!(
        "[agent]\ndata_dir = \"data\"\nplugin_dirs = [\"{}\"]\ntrusted_owners = [\"{}\"]",
        cookbook().display(),
        owner()
    );
    site.write("talaia.toml", config, 0o644);
    let done = site.talaia(&["check", "--config", "talaia.toml"]);
    done.code(0);
    let mut recipes = 0;
    for entry in fs::read_dir(cookbook()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some() {
            continue;
        }
        assert!(path.with_extension("toml").exists(), "{} has no sidecar", path.display());
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(done.stdout.contains(&format!("plugin {name}\n")), "{name}: {}", done.stdout);
        let text = fs::read_to_string(&path).unwrap();
        let lines = text.lines().count();
        assert!((5..=45).contains(&lines), "{name} has {lines} lines");
        // Each is tried, by one of the ways.
        let tried = [include_str!("cookbook/real.rs"), include_str!("cookbook/recorded.rs")]
            .iter()
            .any(|tests| tests.contains(&format!("\"{name}\")")));
        assert!(tried, "no test runs {name}");
        recipes += 1;
    }
    assert!(recipes >= 20, "{recipes}");
}

/// Who the clone belongs to; a container's checkout may not be the test's own.
fn owner() -> u32 {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata(cookbook()).unwrap().uid()
}
