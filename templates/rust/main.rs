//! {{name}}: how many entries a folder has, and what part of them is hidden.
//!
//! A plugin prints JSON to stdout: metrics with a name (letters, digits and _), a value (null is a gap), a
//! type (integer, float, percent, boolean, string, or counter: what only grows, shown as a rate) and tags,
//! which tell alike ones apart. What it says to stderr ends up in the log. Exit with 0 when the looking
//! worked, also when what it found is bad: that is what `status` is for. Any other code says that nothing
//! is known.
//!
//! This uses nothing but std, so that it builds in a second and without a network. Make it a Cargo
//! project with serde_json once it has more than a few settings.

use std::{env, fs, process::ExitCode};

/// A plain string from the settings of talaia-plugin.toml, which are JSON in $TALAIA_CONFIG; None where
/// there is no such setting.
fn setting(json: &str, key: &str) -> Result<Option<String>, String> {
    let Some((_, rest)) = json.split_once(&format!("\"{key}\":")) else {
        return Ok(None);
    };
    let rest = rest.trim_start().strip_prefix('"');
    match rest.and_then(|rest| rest.split_once('"')) {
        Some((value, _)) if !value.is_empty() && !value.contains('\\') => {
            Ok(Some(value.to_owned()))
        }
        _ => Err(format!("the setting {key} is no plain string")),
    }
}

/// `text` as a JSON string.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn main() -> ExitCode {
    let config = match env::var("TALAIA_CONFIG") {
        Err(_) => String::new(),
        Ok(path) => match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) => {
                eprintln!("E! cannot read {path}: {error}");
                return ExitCode::FAILURE;
            }
        },
    };
    let folder = match setting(&config, "folder") {
        Ok(folder) => folder.unwrap_or_else(|| "/tmp".to_owned()),
        Err(error) => {
            eprintln!("E! {error}");
            return ExitCode::FAILURE;
        }
    };
    let (mut status, mut message) = ("ok", "null".to_owned());
    // null: an explicit gap, unless it works
    let (mut entries, mut hidden) = ("null".to_owned(), "null".to_owned());
    match fs::read_dir(&folder) {
        Ok(found) => {
            let names: Vec<_> = found.flatten().map(|entry| entry.file_name()).collect();
            let dotted = names
                .iter()
                .filter(|name| name.to_string_lossy().starts_with('.'))
                .count();
            entries = names.len().to_string();
            // There is no part of nothing, and NaN is no JSON.
            if !names.is_empty() {
                hidden = (100.0 * dotted as f64 / names.len() as f64).to_string();
            }
        }
        Err(error) => {
            let text = format!("cannot look into {folder}: {error}");
            eprintln!("E! {text}");
            (status, message) = ("critical", quoted(&text));
        }
    }
    let tags = format!(r#"{{"folder":{}}}"#, quoted(&folder));
    println!(
        r#"{{"status":"{status}","message":{message},"metrics":[{{"name":"entries","type":"integer","value":{entries},"tags":{tags}}},{{"name":"hidden","type":"percent","value":{hidden},"tags":{tags}}}]}}"#
    );
    ExitCode::SUCCESS
}
