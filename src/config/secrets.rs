//! Secrets, fetched from where the config says that they are.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::diagnostic::Diagnostic;
use super::node::{Kind, Node, Place};
use super::resolve::Cx;
use super::values::SecretSource;
use crate::model::Secret;

/// Longest secret, in bytes; a larger file is surely the wrong one.
const LONGEST: u64 = 64 * 1024;

/// Fetches one secret. On failure the diagnostic names the place, never a value.
pub(super) fn fetch(source: &SecretSource, cx: &mut Cx<'_>) -> Result<Secret, Diagnostic> {
    match source {
        SecretSource::Env(name) => match cx.env.var(&name.value) {
            Some(value) => Ok(Secret::new(value)),
            None => Err(Diagnostic::error(format!(
                "the environment variable `{}` is not set, or is empty",
                name.value
            ))
            .at(&name.place)
            .label("not set")
            .help("set it where the agent is started; under systemd with `EnvironmentFile=`")),
        },
        SecretSource::File(path) => {
            let full = cx.base(&path.place).join(&path.value);
            read(&full, &path.place, cx)
        }
    }
}

fn read(path: &Path, place: &Place, cx: &mut Cx<'_>) -> Result<Secret, Diagnostic> {
    let (secret, mode) = read_file(path).map_err(|why| {
        let text = format!("cannot use the secret file `{}`: {why}", path.display());
        let diagnostic = Diagnostic::error(text).at(place);
        // Empty, or too large: it can be read.
        if why.starts_with("it is ") {
            return diagnostic;
        }
        diagnostic.help("it must exist and be readable by the user that the agent runs as")
    })?;
    if mode & 0o004 != 0 {
        cx.found.push(
            Diagnostic::warning(format!("everyone on this host can read `{}`", path.display()))
                .at(place)
                .help(format!("chmod 600 {}", path.display())),
        );
    }
    Ok(secret)
}

/// The secret in a file, the end of its last line left out, and the file's mode; or why not.
pub(super) fn read_file(path: &Path) -> Result<(Secret, u32), String> {
    let unreadable = |e: std::io::Error| e.to_string();
    let file = File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.permissions().mode();
    let mut text = String::new();
    file.take(LONGEST + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > LONGEST {
        return Err("it is larger than 64 KiB".to_owned());
    }
    let secret = text.strip_suffix('\n').unwrap_or(&text);
    let secret = secret.strip_suffix('\r').unwrap_or(secret);
    if secret.is_empty() {
        return Err("it is empty".to_owned());
    }
    Ok((Secret::new(secret), mode))
}

/// A plugin's settings as JSON, with its secrets in place.
pub(super) fn settings(node: &Node, cx: &mut Cx<'_>) -> Result<serde_json::Value, Diagnostic> {
    use serde_json::Value;
    if let Some(source) = SecretSource::of(node) {
        return fetch(&source, cx).map(|secret| Value::from(secret.expose()));
    }
    Ok(match &node.kind {
        Kind::Null => Value::Null,
        Kind::Boolean(b) => Value::from(*b),
        Kind::Integer(n) => Value::from(*n),
        Kind::Float(x) => Value::from(*x),
        Kind::Text(text) => Value::from(text.as_str()),
        Kind::Array(items) => {
            Value::Array(items.iter().map(|item| settings(item, cx)).collect::<Result<_, _>>()?)
        }
        Kind::Table(entries) => Value::Object(
            entries
                .iter()
                .map(|entry| Ok((entry.key.clone(), settings(&entry.value, cx)?)))
                .collect::<Result<_, Diagnostic>>()?,
        ),
    })
}
