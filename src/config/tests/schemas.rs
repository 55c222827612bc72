//! The schema of a config, held against the code, the default config and the examples.

use super::*;

#[test]
fn the_schemas_are_current_and_document_every_key() {
    current("config.v1.json", &format!("{:#}\n", schema()), &schema());
    current("manifest.v1.json", &format!("{:#}\n", manifest_schema()), &manifest_schema());
}

fn current(file: &str, text: &str, schema: &serde_json::Value) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas").join(file);
    if std::env::var_os("UPDATE_SCHEMAS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut file = std::fs::File::create(&path).unwrap();
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap();
    assert!(kept == text, "run the tests with UPDATE_SCHEMAS=1 and look at the difference");

    let root = [("the root", schema)];
    let defs = schema["$defs"].as_object().unwrap();
    for (name, def) in root.into_iter().chain(defs.iter().map(|(k, v)| (k.as_str(), v))) {
        for key in ["title", "description"] {
            assert!(
                def[key].is_string() || def.get("enum").or(def.get("oneOf")).is_some(),
                "{name} has no {key}"
            );
        }
        for (property, about) in def["properties"].as_object().into_iter().flatten() {
            for key in ["title", "description", "examples"] {
                assert!(about.get(key).is_some(), "{name}.{property} has no {key}");
            }
        }
    }
}

#[test]
fn the_schema_accepts_what_is_accepted() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let check = |text: &str| {
        let tree: toml::Table = text.parse().unwrap();
        let tree = serde_json::to_value(&tree).unwrap();
        validator
            .iter_errors(&tree)
            .map(|e| format!("{}: {e}", e.instance_path()))
            .collect::<Vec<_>>()
    };
    assert_eq!(check(EVERYTHING), [""; 0]);
    assert_eq!(check(DEFAULT), [""; 0]);
    for bad in [
        "includes = []",
        "[plugins.a]\ncommand = 1",
        "[plugins.a]\ninterval = 30",
        "[plugins.a]\ninterval = '30'",
        "[plugins.a]\nformat = 'jsn'",
        "[outputs.a]\ntype = 'talaia'\nkey = 'abc'",
        "[outputs.a]\ntype = 'file'\nurl = 'x'",
        "[agent.spool]\nquota = '1M'",
        "[plugins.a.metrics.m]\ntype = 'percentage'",
    ] {
        assert_ne!(check(bad), [""; 0], "{bad}");
    }
    // Every example in it is right at its place.
    let schema = schema();
    for def in std::iter::once(&schema).chain(schema["$defs"].as_object().unwrap().values()) {
        for (property, about) in def["properties"].as_object().into_iter().flatten() {
            let mut about = about.clone();
            about["$defs"] = schema["$defs"].clone();
            let validator = jsonschema::validator_for(&about).unwrap();
            for example in about["examples"].as_array().unwrap() {
                assert!(validator.is_valid(example), "{property}: {example}");
            }
        }
    }
}

#[test]
fn the_examples_load_without_a_word() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let path = root.join("talaia.toml");
    let place = Place::new();
    let loaded = load(&Source::File(path.clone()), &place.env).unwrap_or_else(|e| panic!("{e}"));
    // What an interpreter that is not installed here costs is a skipped plugin, not a problem.
    assert_eq!(loaded.problems, []);
    assert_eq!(loaded.warnings, []);
    assert!(loaded.config.outputs.is_empty() && loaded.config.hub.enabled);
    // Every script is run by the config, under its own name.
    let programs: Vec<&Path> =
        loaded.config.plugins.values().map(|p| p.command.program.as_path()).collect();
    let mut scripts = 0;
    for entry in std::fs::read_dir(root.join("plugins")).unwrap() {
        let script = entry.unwrap().path();
        assert!(programs.contains(&script.as_path()), "{} is not run", script.display());
        let stem = script.file_stem().unwrap().to_str().unwrap();
        assert!(loaded.config.plugins.contains_key(&name(stem)), "{stem}");
        scripts += 1;
    }
    assert!(scripts >= 10);
    let tree: toml::Table = std::fs::read_to_string(path).unwrap().parse().unwrap();
    let tree = serde_json::to_value(&tree).unwrap();
    assert!(jsonschema::validator_for(&schema()).unwrap().is_valid(&tree));
}
