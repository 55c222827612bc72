//! What can be written in a package's manifest. The doc comments here are the descriptions in
//! `schemas/manifest.v1.json`.

use super::node::{Kind, Node};
use super::raw::RawTable;
use super::read::{At, Found, Read, Table, section, words};

/// What of a plugin the operator decides, never the package.
pub(super) const NOT_A_PACKAGES: [&str; 8] =
    ["key", "config", "enabled", "user", "group", "pass_env", "shell", "no_new_privs"];

words! {
    /// What a package is about.
    pub Category {
        /// The machine itself.
        System = "system",
        /// Networks.
        Network = "network",
        /// Disks and files.
        Storage = "storage",
        /// Databases.
        Database = "database",
        /// Web servers and sites.
        Web = "web",
        /// Containers and orchestration.
        Container = "container",
        /// Certificates, updates, logins.
        Security = "security",
        /// Other programs.
        Application = "application",
        /// All else.
        Other = "other",
    }
}

section! {
    /// The manifest of a package, `talaia-plugin.toml`: what it is, what it needs, and the commands
    /// that it brings, each of which becomes a plugin.
    #[schemars(title = "Talaia package manifest")]
    RawManifest {
        /// The package's name: small letters, digits, `-` and `_`.
        #[schemars(title = "Name", example = &"http-check")]
        name: String,
        /// Its version: SemVer; `0.1` means `0.1.0`.
        #[schemars(title = "Version", example = &"0.1.0")]
        version: String,
        /// What it measures, in one line of at most 200 characters.
        #[schemars(title = "Description", example = &"Packets and datagrams in and out")]
        description: String,
        /// Who wrote it.
        #[schemars(title = "Authors", example = ["The Talaia project"])]
        authors: Vec<At<String>>,
        /// Its licence, as an SPDX expression.
        #[schemars(title = "Licence", example = &"MIT OR Apache-2.0")]
        license: String,
        /// What it is about.
        #[schemars(title = "Category", example = &"network")]
        category: Category,
        /// A page about it.
        #[schemars(title = "Home page", example = &"https://example.org/http-check")]
        homepage: String,
        /// Where it runs: an operating system (`linux`), or one with a processor (`linux-x86_64`).
        /// Default: everywhere.
        #[schemars(title = "Platforms", example = ["linux"])]
        platforms: Vec<At<String>>,
        /// What has to be there for it to run.
        #[schemars(title = "Requirements", example = serde_json::json!({"interpreters": ["python3"]}))]
        requires: RawRequires,
        /// The settings that the operator may make.
        #[schemars(title = "Settings", example = serde_json::json!({"defaults": {"root": "/proc"}}))]
        config: RawOwnConfig,
        /// What it runs, by name; each is a plugin. The keys are those of a plugin in a config,
        /// less those that the operator alone decides.
        #[schemars(title = "Commands", example = serde_json::json!({"netstat": {"command": ["bin/netstat.py"], "interval": "10s"}}))]
        commands: Table<RawTable>,
    }
}

section! {
    /// What has to be there for a package to run.
    #[schemars(title = "Requirements", rename = "Requirements")]
    RawRequires {
        /// Programs that run its scripts, looked up on the search path of plugins.
        #[schemars(title = "Interpreters", example = ["python3"])]
        interpreters: Vec<At<String>>,
        /// Other programs that it calls.
        #[schemars(title = "Commands", example = ["ip"])]
        commands: Vec<At<String>>,
        /// The least version of the agent.
        #[schemars(title = "Agent", example = &"0.1")]
        talaia: String,
    }
}

section! {
    /// The settings that the operator may make.
    #[schemars(title = "Package settings", rename = "PackageSettings")]
    RawOwnConfig {
        /// A JSON Schema (2020-12) of the settings: a file of the package.
        #[schemars(title = "Schema", example = &"config.schema.json")]
        schema: String,
        /// What holds where the operator says nothing: a table, or a JSON file of the package in
        /// which comments and trailing commas are allowed.
        #[schemars(title = "Defaults", example = serde_json::json!({"root": "/proc"}))]
        defaults: RawDefaults,
    }
}

/// Defaults in place, or where they are.
pub(super) enum RawDefaults {
    Table(Node),
    File(String),
}

impl Read for RawDefaults {
    fn read(node: &Node, found: &mut Found) -> Option<Self> {
        match &node.kind {
            Kind::Table(_) => Some(Self::Table(node.clone())),
            Kind::Text(path) => Some(Self::File(path.clone())),
            _ => {
                found.expected("a table, or the name of a JSON file", node);
                None
            }
        }
    }
}

impl schemars::JsonSchema for RawDefaults {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Defaults".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "oneOf": [{ "type": "object" }, { "type": "string" }] })
    }
}

/// The schema (2020-12) of a manifest, made from the very types that read it.
pub fn manifest_schema() -> serde_json::Value {
    let settings = schemars::generate::SchemaSettings::draft2020_12();
    let mut schema = settings.into_generator().into_root_schema_for::<RawManifest>().to_value();
    if let Some(root) = schema.as_object_mut() {
        root.insert("$id".to_owned(), "urn:talaia:schema:manifest:v1".into());
        root.insert(
            "required".to_owned(),
            serde_json::json!([
                "name",
                "version",
                "description",
                "authors",
                "license",
                "category",
                "commands"
            ]),
        );
    }
    let plugin = schema.pointer_mut("/$defs/Plugin").and_then(serde_json::Value::as_object_mut);
    if let Some(plugin) = plugin {
        plugin.insert("title".to_owned(), "Command".into());
        plugin.insert("required".to_owned(), serde_json::json!(["command"]));
        let keys = plugin.get_mut("properties").and_then(serde_json::Value::as_object_mut);
        for key in keys.into_iter().flat_map(|keys| NOT_A_PACKAGES.map(|key| keys.remove(key))) {
            drop(key);
        }
    }
    schema
}
