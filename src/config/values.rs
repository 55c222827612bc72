//! Values that can be written in more than one way, for the tables in [`super::raw`].

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::diagnostic::Diagnostic;
use super::node::{Kind, Node, Place};
use super::read::{At, Found, Read, Span, not_one_of, words};
use crate::model::{MetricType, Threshold};

words! {
    /// How a plugin lives.
    #[schemars(rename = "Mode")]
    pub(super) RawMode {
        /// Started for each run.
        Interval = "interval",
        /// Started once.
        Stream = "stream",
    }
}

words! {
    /// What makes a long-lived plugin report.
    #[schemars(rename = "Trigger")]
    pub(super) RawTrigger {
        /// A line on its standard input.
        Tick = "tick",
    }
}

words! {
    /// The `type` of a hub.
    #[schemars(inline)]
    pub(super) TalaiaWord {
        /// A hub.
        Talaia = "talaia",
    }
}

words! {
    /// The `type` of a file.
    #[schemars(inline)]
    pub(super) FileWord {
        /// A file.
        File = "file",
    }
}

words! {
    /// The `type` of standard output.
    #[schemars(inline)]
    pub(super) StdoutWord {
        /// Standard output.
        Stdout = "stdout",
    }
}

/// The error for what the config's grammar has and this version does not do.
pub(super) fn later_version(what: &str, place: &Place) -> Diagnostic {
    Diagnostic::error(format!("{what} come in a later version of talaia"))
        .at(place)
        .label("not in this version")
        .help("take it out until then")
}

/// A metric's type, read by `model`.
pub(super) struct MetricWord(pub(super) MetricType);

impl Read for MetricWord {
    fn read(node: &Node, found: &mut Found) -> Option<Self> {
        let word = node.text().and_then(|text| text.parse().ok());
        if word.is_none() {
            not_one_of(node, &MetricType::ALL.map(MetricType::as_str), found);
        }
        word.map(Self)
    }
}

impl JsonSchema for MetricWord {
    fn schema_name() -> Cow<'static, str> {
        "MetricType".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let mut words: Vec<&str> = MetricType::ALL.iter().map(|t| t.as_str()).collect();
        words.push("binary");
        json_schema!({
            "title": "Metric type",
            "description": "Whole numbers; numbers; per cent (71.2 is 71.2 %); a count that only grows, drawn per second; yes or no (`binary` is another word for it); text.",
            "enum": words
        })
    }
}

/// A threshold.
pub(super) struct Mark(pub(super) Threshold);

impl Read for Mark {
    fn read(node: &Node, found: &mut Found) -> Option<Self> {
        match &node.kind {
            Kind::Integer(n) => Some(Self(Threshold::Number(*n as f64))),
            Kind::Float(x) => Some(Self(Threshold::Number(*x))),
            Kind::Text(text) => Some(Self(Threshold::Range(text.as_str().into()))),
            _ => {
                found.expected("a number or a Nagios range such as `\"10:20\"`", node);
                None
            }
        }
    }
}

impl JsonSchema for Mark {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Threshold".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["number", "string"] })
    }
}

/// A plugin's command as written.
pub(super) enum RawCommand {
    Line(String),
    Argv(Vec<At<String>>),
}

impl Read for RawCommand {
    fn read(node: &Node, found: &mut Found) -> Option<Self> {
        match &node.kind {
            Kind::Text(line) => Some(Self::Line(line.clone())),
            Kind::Array(_) => Vec::read(node, found).map(Self::Argv),
            _ => {
                found.expected("an array such as `[\"plugins/disk.sh\", \"-v\"]`", node);
                None
            }
        }
    }
}

impl JsonSchema for RawCommand {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Command".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "oneOf": [
            { "type": "array", "items": { "type": "string" }, "minItems": 1 },
            { "type": "string" }
        ] })
    }
}

/// A string or an array of strings.
pub(super) struct OneOrMore(pub(super) Vec<At<String>>);

impl Read for OneOrMore {
    fn read(node: &Node, found: &mut Found) -> Option<Self> {
        match &node.kind {
            Kind::Array(_) => Vec::read(node, found).map(Self),
            _ => At::read(node, found).map(|one| Self(vec![one])),
        }
    }
}

impl JsonSchema for OneOrMore {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "OneOrMore".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "oneOf": [
            { "type": "string" },
            { "type": "array", "items": { "type": "string" } }
        ] })
    }
}

/// Where a secret is kept.
#[derive(Clone)]
pub(super) enum SecretSource {
    Env(At<String>),
    File(At<String>),
}

impl SecretSource {
    /// The source that `node` names, where it is a table of exactly that one key.
    pub(super) fn of(node: &Node) -> Option<Self> {
        let Kind::Table(entries) = &node.kind else { return None };
        let [entry] = entries.as_slice() else { return None };
        let value = At { value: entry.value.text()?.to_owned(), place: entry.value.place.clone() };
        match entry.key.as_str() {
            "env" => Some(Self::Env(value)),
            "file" => Some(Self::File(value)),
            _ => None,
        }
    }
}

impl Read for SecretSource {
    fn read(node: &Node, found: &mut Found) -> Option<Self> {
        if let Some(source) = Self::of(node) {
            return Some(source);
        }
        let diagnostic = match node.kind {
            Kind::Text(_) => {
                Diagnostic::error("a key is never written in the config itself").label("in clear")
            }
            _ => Diagnostic::error(format!(
                "expected `{{ env = \"…\" }}` or `{{ file = \"…\" }}`, found {}",
                node.what()
            )),
        };
        found.push(diagnostic.at(&node.place).help(
            "name where it is kept: `key = { env = \"TALAIA_KEY\" }` or `key = { file = \"/etc/talaia/key\" }`",
        ));
        None
    }
}

fn secret_schema() -> Schema {
    json_schema!({
        "title": "Secret",
        "description": "Where a secret is kept: an environment variable of the agent, or a file (relative to this one; the end of its last line is left out).",
        "oneOf": [
            { "type": "object", "properties": { "env": { "type": "string" } }, "required": ["env"], "additionalProperties": false },
            { "type": "object", "properties": { "file": { "type": "string" } }, "required": ["file"], "additionalProperties": false }
        ],
        "examples": [{ "env": "TALAIA_KEY" }, { "file": "/etc/talaia/key" }]
    })
}

impl JsonSchema for SecretSource {
    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        secret_schema()
    }
}

/// The value of an environment variable: a text, or where a secret is kept.
#[derive(Clone)]
pub(super) enum EnvText {
    Text(String),
    Secret(SecretSource),
}

impl Read for EnvText {
    fn read(node: &Node, found: &mut Found) -> Option<Self> {
        match SecretSource::of(node) {
            Some(source) => Some(Self::Secret(source)),
            None => String::read(node, found).map(Self::Text),
        }
    }
}

impl JsonSchema for EnvText {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "EnvText".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let secret = generator.subschema_for::<SecretSource>();
        json_schema!({ "oneOf": [{ "type": "string" }, secret] })
    }
}

/// `proxy`: on, off, or an address.
pub(super) enum RawProxy {
    Switch(bool),
    Address(EnvText),
}

impl Read for RawProxy {
    fn read(node: &Node, found: &mut Found) -> Option<Self> {
        match node.kind {
            Kind::Boolean(on) => Some(Self::Switch(on)),
            Kind::Text(_) | Kind::Table(_) => EnvText::read(node, found).map(Self::Address),
            _ => {
                found.expected("`true`, `false` or the proxy's address", node);
                None
            }
        }
    }
}

impl JsonSchema for RawProxy {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Proxy".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let secret = generator.subschema_for::<SecretSource>();
        json_schema!({ "oneOf": [{ "type": "boolean" }, { "type": "string" }, secret] })
    }
}

/// How often, or `false` for never.
pub(super) enum SpanOrOff {
    Every(Span),
    Off,
}

impl Read for SpanOrOff {
    fn read(node: &Node, found: &mut Found) -> Option<Self> {
        match node.kind {
            Kind::Boolean(false) => Some(Self::Off),
            Kind::Boolean(true) => {
                found.expected("how often, such as `\"60s\"`, or `false`", node);
                None
            }
            _ => Span::read(node, found).map(Self::Every),
        }
    }
}

impl JsonSchema for SpanOrOff {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "SpanOrOff".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let span = generator.subschema_for::<Span>();
        json_schema!({ "oneOf": [span, { "const": false }] })
    }
}

/// A plugin's own settings: any table.
pub(super) struct Settings(pub(super) Node);

impl Read for Settings {
    fn read(node: &Node, found: &mut Found) -> Option<Self> {
        if !matches!(node.kind, Kind::Table(_)) {
            found.expected("a table", node);
            return None;
        }
        Some(Self(node.clone()))
    }
}

impl JsonSchema for Settings {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Settings".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object" })
    }
}
