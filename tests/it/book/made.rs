//! What is made and not written: the tables of `docs/config.md`, the recipes of `docs/cookbook.md`.

use std::fs;

use serde_json::{Map, Value};

use super::root;

const BEGIN: &str = "<!-- made from schemas/config.v1.json -->\n";
const END: &str = "<!-- end -->\n";

/// The page is as it is to be; where `TALAIA_BOOK` says so, it is made that.
#[track_caller]
fn is(page: &str, wanted: &str) {
    let path = root().join(page);
    if std::env::var("TALAIA_BOOK").is_ok_and(|value| value == "write") {
        return fs::write(&path, wanted).unwrap();
    }
    assert!(
        fs::read_to_string(path).unwrap() == wanted,
        "{page} is not what it is made from; write it anew with \
         `TALAIA_BOOK=write cargo test --test it book`"
    );
}

#[test]
fn the_recipes_of_the_cookbook_are_those_of_the_examples() {
    const RECIPE: &str = "<!-- examples/cookbook/";
    let page = fs::read_to_string(root().join("docs/cookbook.md")).unwrap();
    let mut parts = page.split(RECIPE);
    let mut wanted = parts.next().unwrap().to_owned();
    let mut shown = Vec::new();
    for part in parts {
        let (name, rest) = part.split_once(" -->\n").unwrap();
        let (_, after) = rest.split_once(END).unwrap();
        wanted.push_str(&format!("{RECIPE}{name} -->\n"));
        for (file, language) in [(name.to_owned(), ""), (format!("{name}.toml"), "toml")] {
            let text = fs::read_to_string(root().join("examples/cookbook").join(&file)).unwrap();
            let language = match language {
                "" if text.contains("python") => "python",
                "" => "sh",
                other => other,
            };
            wanted.push_str(&format!("```{language} file=plugins/{file}\n{text}```\n\n"));
        }
        wanted.push_str(END);
        wanted.push_str(after);
        shown.push(name.to_owned());
    }
    is("docs/cookbook.md", &wanted);
    for entry in fs::read_dir(root().join("examples/cookbook")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(shown.iter().any(|shown| shown == name), "docs/cookbook.md does not show {name}");
    }
}

#[test]
fn the_tables_of_the_config_reference_are_those_of_the_schema() {
    let page = fs::read_to_string(root().join("docs/config.md")).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let tables = tables(&talaia::config::schema());
    is("docs/config.md", &format!("{before}{BEGIN}{tables}{END}{after}"));
}

/// Sections of a config, in the order of the page, and what they are called in the schema.
const SECTIONS: &[(&str, &str)] = &[
    ("Agent", "`[agent]`"),
    ("Spool", "`[agent.spool]`"),
    ("Quarantine", "`[agent.quarantine]`"),
    ("Plugin", "`[plugins.NAME]`"),
    ("DeclaredMetric", "`[plugins.NAME.metrics.METRIC]`"),
    ("When", "`[plugins.NAME.when]`"),
    ("Limits", "`[plugins.NAME.limits]`"),
    ("Package", "`[packages.NAME]`"),
    ("HubOutput", "`[outputs.NAME]`, `type = \"talaia\"`"),
    ("FileOutput", "`[outputs.NAME]`, `type = \"file\"`"),
    ("StdoutOutput", "`[outputs.NAME]`, `type = \"stdout\"`"),
    ("Profile", "`[profiles.NAME]`"),
    ("Hub", "`[hub]`"),
    ("HubTls", "`[hub.tls]`"),
];

fn tables(schema: &Value) -> String {
    let defs = schema["$defs"].as_object().unwrap();
    let mut text = String::from("\n## At the top\n\n");
    table(&mut text, schema["properties"].as_object().unwrap());
    let named = |name: &str| SECTIONS.iter().find(|(known, _)| *known == name);
    let others = defs.keys().filter(|name| named(name).is_none());
    let sections = SECTIONS.iter().map(|(name, title)| (*name, *title));
    for (name, title) in sections.chain(others.map(|name| (name.as_str(), name.as_str()))) {
        let Some(properties) = defs.get(name).and_then(|def| def["properties"].as_object()) else {
            continue;
        };
        text.push_str(&format!("\n## {title}\n\n{}\n\n", cell(&defs[name]["description"])));
        table(&mut text, properties);
    }
    text.push_str("\n## Values\n\n| value | what it is | such as |\n|---|---|---|\n");
    for (name, def) in defs.iter().filter(|(_, def)| def["properties"].is_null()) {
        let examples = def["examples"].as_array().map(|all| all.iter().map(code).collect());
        let words = words(def);
        let shown = examples.unwrap_or(words).join(", ");
        if shown.is_empty() {
            continue; // one of several sections, which are above
        }
        let title = def["title"].as_str().unwrap_or(name).to_lowercase();
        text.push_str(&format!("| {title} | {} | {shown} |\n", cell(&def["description"])));
    }
    text.push('\n');
    text
}

/// The words that a value may be.
fn words(def: &Value) -> Vec<String> {
    let of = |key: &str| def[key].as_array().cloned().unwrap_or_default();
    let consts = of("oneOf").into_iter().filter_map(|one| one.get("const").cloned());
    of("enum").into_iter().chain(consts).map(|word| code(&word)).collect()
}

fn table(text: &mut String, properties: &Map<String, Value>) {
    text.push_str("| key | what it is | default | such as |\n|---|---|---|---|\n");
    for (key, property) in properties {
        let description = cell(&property["description"]);
        let (meaning, default) = match description.split_once("Default: ") {
            Some((meaning, default)) => {
                // What follows the default's sentence belongs to the meaning.
                let (default, rest) = default.split_once(". ").unwrap_or((default, ""));
                (format!("{meaning}{rest}"), default.trim_end_matches('.').to_owned())
            }
            None => (description, String::new()),
        };
        let example = property["examples"].as_array().and_then(|all| all.first());
        let example = example.map(code).unwrap_or_default();
        text.push_str(&format!("| `{key}` | {} | {default} | {example} |\n", meaning.trim()));
    }
}

fn cell(text: &Value) -> String {
    let text = text.as_str().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
    text.replace('|', "\\|")
}

/// A value as it is written in TOML.
fn code(value: &Value) -> String {
    format!("`{}`", toml_text(value).replace('|', "\\|"))
}

fn toml_text(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let pairs: Vec<String> =
                map.iter().map(|(key, value)| format!("{key} = {}", toml_text(value))).collect();
            format!("{{ {} }}", pairs.join(", "))
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(toml_text).collect();
            format!("[{}]", items.join(", "))
        }
        other => other.to_string(),
    }
}
