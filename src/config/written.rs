//! What is written about a plugin, where, and of which kind that place is: for commands that show a
//! plugin, complete its name or edit what is written.

use super::Origin;
use super::env::Env;
use super::load::{Loading, Source};
use super::node::{Kind, Node, Place};
use super::read::{At, Table};
use super::values::{EnvText, SecretSource};
use crate::model::PluginName;

/// A setting that is written somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Its key; `tags`, `env`, `config` and `metrics` with that of the entry: `tags.tier`.
    pub key: String,
    /// Of `env` and `config`: the value as JSON, as it is written. A secret is the name of its place;
    /// what is handed on from the agent's own environment has none.
    pub text: Option<String>,
    /// Where.
    pub origin: Origin,
}

/// The names of the plugins that a config defines, as far as it can be read. Nothing is said of what is
/// wrong with it.
pub fn plugin_names(source: &Source, env: &Env) -> Vec<PluginName> {
    let (loading, _) = Loading::defined(source, env);
    loading.plugins.into_keys().collect()
}

/// The names of the packages that a config names, as far as it can be read.
pub fn package_names(source: &Source, env: &Env) -> Vec<String> {
    Loading::read_only(source, env).package_names()
}

/// The settings of a plugin that are written anywhere; all others are defaults.
pub fn written(source: &Source, env: &Env, plugin: &PluginName) -> Vec<Written> {
    let (loading, agent) = Loading::defined(source, env);
    let Some(def) = loading.plugins.get(plugin) else { return Vec::new() };
    let (by, sources) = (def.by(), &loading.cx.sources);
    let mut all: Vec<Written> = Vec::new();
    let mut say = |key: String, text: Option<String>, place: &Place| {
        let (path, line) = sources.line(place);
        // A plugin's own goes before the agent's.
        if all.iter().all(|written| written.key != key) {
            let origin = Origin { path: path.clone(), line, by: by.clone() };
            all.push(Written { key, text, origin });
        }
    };
    let raw = &def.raw;
    for (key, place) in raw.places() {
        if !matches!(key, "tags" | "env" | "config" | "metrics") {
            say(key.to_owned(), None, place);
        }
    }
    let agent = agent.as_ref().map(|at| &at.value);
    for tags in [raw.tags.as_ref(), agent.and_then(|agent| agent.tags.as_ref())] {
        for tag in entries(tags) {
            say(format!("tags.{}", tag.name), None, &tag.place);
        }
    }
    let agent_env = entries(agent.and_then(|agent| agent.env.as_ref()));
    for pair in entries(raw.env.as_ref()) {
        say(format!("env.{}", pair.name), Some(variable(&pair.value.value)), &pair.place);
    }
    for name in raw.pass_env.iter().flat_map(|at| &at.value) {
        say(format!("env.{}", name.value), None, &name.place);
    }
    for pair in agent_env {
        say(format!("env.{}", pair.name), Some(variable(&pair.value.value)), &pair.place);
    }
    if let Some(At { value: settings, .. }) = &raw.config
        && let Kind::Table(settings) = &settings.0.kind
    {
        for entry in settings {
            let text = as_written(&entry.value).to_string();
            say(format!("config.{}", entry.key), Some(text), &entry.place);
        }
    }
    for metric in entries(raw.metrics.as_ref()) {
        say(format!("metrics.{}", metric.name), None, &metric.place);
    }
    all
}

fn entries<T>(table: Option<&At<Table<T>>>) -> &[super::read::Named<T>] {
    table.map_or(&[], |at| &at.value.0)
}

fn variable(written: &EnvText) -> String {
    let value = match written {
        EnvText::Text(text) => serde_json::Value::from(text.as_str()),
        EnvText::Secret(SecretSource::Env(name)) => serde_json::json!({ "env": name.value }),
        EnvText::Secret(SecretSource::File(path)) => serde_json::json!({ "file": path.value }),
    };
    value.to_string()
}

/// The value as JSON, without fetching secrets.
fn as_written(node: &Node) -> serde_json::Value {
    use serde_json::Value;
    match &node.kind {
        Kind::Null => Value::Null,
        Kind::Boolean(b) => Value::from(*b),
        Kind::Integer(n) => Value::from(*n),
        Kind::Float(x) => Value::from(*x),
        Kind::Text(text) => Value::from(text.as_str()),
        Kind::Array(items) => Value::Array(items.iter().map(as_written).collect()),
        Kind::Table(entries) => {
            Value::Object(entries.iter().map(|e| (e.key.clone(), as_written(&e.value))).collect())
        }
    }
}
