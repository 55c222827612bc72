//! `schema` and `explain`: what the binary says about itself.

use serde_json::json;

use crate::config;
use crate::contract::explain::Kind;
use crate::contract::{explain, schemas};

use super::exit::{Exit, Failure};
use super::print::{self, STRONG, paint};
use super::text;

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

/// The pages of a code, or what there are codes for.
pub(crate) fn explain(code: Option<&str>, as_json: bool) -> Result<Exit, Failure> {
    let Some(code) = code else {
        let pages = explain::pages();
        for (n, kind) in Kind::ALL.into_iter().enumerate() {
            let own = || pages.iter().filter(|page| page.kind == kind);
            if as_json {
                own().for_each(|page| out(json!(page)));
                continue;
            }
            let width = own().map(|page| page.code.len()).max().unwrap_or(0);
            out(format!("{}{}", if n > 0 { "\n" } else { "" }, paint(STRONG, kind.title())));
            let most = print::stdout_width().unwrap_or(usize::MAX);
            own().for_each(|page| {
                let line = format!("  {:<width$}  {}", page.code, page.summary());
                out(text::cut(&line, most));
            });
        }
        return Ok(Exit::Ok);
    };
    let pages = explain::find(code);
    if pages.is_empty() {
        let meant = explain::meant(code).map(|meant| format!("; did you mean `{meant}`?"));
        let text = format!(
            "there is no code `{code}`{}\n\nhint: `talaia explain` lists them all",
            meant.unwrap_or_default()
        );
        return Err(Failure::new(Exit::Usage, text));
    }
    for (n, page) in pages.iter().enumerate() {
        if as_json {
            out(json!(page));
        } else {
            out(format!(
                "{}{}",
                if n > 0 { "\n" } else { "" },
                folded(page.to_string().trim_end())
            ));
        }
    }
    Ok(Exit::Ok)
}

/// A page with its sentences broken between words on a terminal. Examples stay as they are.
fn folded(page: &str) -> String {
    let most = print::stdout_width().unwrap_or(usize::MAX);
    let lines = page.lines().flat_map(|line| match line {
        long if text::width(long) > most && !long.starts_with("    ") => {
            text::wrap(long, most, 0).collect()
        }
        line => vec![line.to_owned()],
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn out(text: impl std::fmt::Display) {
    let _closed = print::data(text);
}
