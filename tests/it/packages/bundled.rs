//! The packages in `examples/packages`: right as they are, and at work together in one agent.

use std::path::{Path, PathBuf};

use serde_json::Value;
use talaia::package::{Language, template};

use super::support::{names, plugin};
use crate::support::{Site, skip};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/packages")
}

/// The packages, by the names of their folders.
fn packages() -> Vec<String> {
    let mut names = names(&root());
    names.retain(|name| root().join(name).is_dir());
    assert!(names.len() >= 5, "{names:?}");
    names
}

#[test]
fn each_passes_its_check_and_packs_the_same_twice() {
    let site = Site::new();
    for name in packages() {
        let folder = root().join(&name);
        let folder = folder.to_str().unwrap();
        let check = site.talaia(&["plugin", "check", folder]);
        if check.stderr.contains("which is not installed") {
            skip(&format!("{name}: {}", check.stderr.trim()));
            continue;
        }
        check.code(0).says(&["ok "]);
        let looked = site.talaia(&["plugin", "check", "--no-run", folder]);
        // What a reviewer would ask about is said in their READMEs, or is not there.
        assert!(!looked.code(0).stderr.contains("warning"), "{name}: {}", looked.stderr);
        let sum = || site.talaia(&["plugin", "pack", folder, "-o", "x.zip"]).code(0).stdout.clone();
        assert_eq!(sum(), sum(), "{name}");
    }
}

#[test]
fn all_of_them_report_in_one_agent() {
    let mut site = Site::new();
    site.configure("[hub]\nlisten = \"127.0.0.1:0\"\n");
    site.start_agent();
    site.until("agent", Site::status);
    let mut installed = 0;
    for name in packages() {
        let folder = root().join(&name);
        let done = plugin(&site, &["install", folder.to_str().unwrap()]);
        if done.code == 1 && done.stderr.contains("which is not on") {
            skip(&format!("{name}: {}", done.stderr.trim()));
            continue;
        }
        done.code(0).says(&["the running agent has added"]);
        installed += 1;
    }
    assert!(installed >= 3, "{installed}");
    plugin(&site, &["verify"]).code(0);
    let all = site.status().unwrap()["plugins"].as_object().unwrap().clone();
    let ready: Vec<&String> =
        all.iter().filter(|(_, plugin)| plugin["state"] == "ready").map(|(name, _)| name).collect();
    assert!(ready.len() >= 8, "{ready:?}");
    for name in ready {
        let last = site.until("a run of each", |site| {
            let status = site.status()?["plugins"][name].clone();
            (status["runs"].as_u64() > Some(0)).then_some(status)
        });
        assert_eq!(last["rejected"], Value::Object(serde_json::Map::new()), "{name}: {last}");
        // Without a page or a file to look at there is nothing to say.
        let idle = ["http_check", "file_age", "file_age_certificates"].contains(&name.as_str());
        assert!(idle || last["accepted"].as_u64() > Some(0), "{name}: {last}");
    }
}

/// Pasted into its drop-in, what a package's page shows is a configuration that loads.
#[test]
fn the_settings_on_their_pages_load() {
    for name in packages() {
        let site = Site::new();
        site.configure("");
        let done = plugin(&site, &["install", root().join(&name).to_str().unwrap()]);
        if done.code == 1 && done.stderr.contains("which is not on") {
            skip(&format!("{name}: {}", done.stderr.trim()));
            continue;
        }
        done.code(0);
        let page = std::fs::read_to_string(root().join(&name).join("README.md")).unwrap();
        let shown: Vec<&str> =
            page.split("```toml\n").skip(1).map(|rest| rest.split_once("```").unwrap().0).collect();
        assert!(!shown.is_empty(), "{name} shows no settings");
        let file = format!("plugins.d/{name}.toml");
        site.write(&file, site.read(&file) + &shown.concat(), 0o644);
        site.talaia(&["check", "--config", "talaia.toml"]).code(0);
    }
}

#[test]
fn every_manifest_passes_the_schema() {
    let schema = include_str!("../../../schemas/manifest.v1.json");
    let schema = jsonschema::validator_for(&serde_json::from_str(schema).unwrap()).unwrap();
    let holds = |what: &str, text: &str| {
        let tree = serde_json::to_value(text.parse::<toml::Table>().unwrap()).unwrap();
        schema.validate(&tree).unwrap_or_else(|e| panic!("{what}: {e}"));
    };
    for name in packages() {
        let path = root().join(&name).join("talaia-plugin.toml");
        holds(&name, &std::fs::read_to_string(path).unwrap());
    }
    for language in Language::ALL {
        let files = template(&"my-plugin".parse().unwrap(), language);
        let manifest = files.iter().find(|file| file.path == "talaia-plugin.toml").unwrap();
        holds(&language.to_string(), &manifest.text);
    }
    let bad = "name = \"a\"\nversion = 1\n".parse::<toml::Table>().unwrap();
    assert!(!schema.is_valid(&serde_json::to_value(bad).unwrap()));
}
