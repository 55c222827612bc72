//! `schema` and `explain`: what the binary says about itself.

use crate::config;
use crate::contract::{explain, schemas};
use crate::model::RejectionCode;

use super::exit::{Exit, Failure};
use super::print;

/// A schema's name, what it is about, and the schema.
type Made = (&'static str, &'static str, fn() -> serde_json::Value);

/// Schemas that are made from the types which read what they describe.
const MADE: [Made; 2] = [
    ("config", "the configuration file", config::schema),
    ("manifest", "what a package says of itself: `talaia-plugin.toml`", config::manifest_schema),
];

pub(crate) fn schema(name: Option<&str>) -> Result<Exit, Failure> {
    let Some(name) = name else {
        for schema in schemas::list() {
            out(format!("{:<10} {}", schema.name, schema.about));
        }
        for (name, about, _) in MADE {
            out(format!("{name:<10} {about}"));
        }
        return Ok(Exit::Ok);
    };
    let bare = name.strip_suffix(".json").unwrap_or(name);
    let bare = bare.strip_suffix(".v1").unwrap_or(bare);
    if let Some((.., schema)) = MADE.iter().find(|(name, ..)| *name == bare) {
        out(format!("{:#}", schema()));
        return Ok(Exit::Ok);
    }
    let Some(schema) = schemas::get(name) else {
        let mut names: Vec<&str> = schemas::list().iter().map(|schema| schema.name).collect();
        names.extend(MADE.iter().map(|(name, ..)| *name));
        let text = format!("there is no schema `{name}`; there are {}", names.join(", "));
        return Err(Failure::new(Exit::Usage, text));
    };
    out(schema.text.trim_end());
    Ok(Exit::Ok)
}

pub(crate) fn explain(code: Option<RejectionCode>) -> Exit {
    match code {
        Some(code) => out(explain::page(code)),
        None => {
            for code in RejectionCode::ALL {
                let meaning = explain::page(*code).meaning;
                let sentence = meaning.split_inclusive(". ").next().unwrap_or(meaning);
                out(format!("{:<18} {}", code.as_str(), sentence.trim_end()));
            }
        }
    }
    Exit::Ok
}

fn out(text: impl std::fmt::Display) {
    let _closed = print::data(text);
}
