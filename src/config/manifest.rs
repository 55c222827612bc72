//! What a package says of itself: `talaia-plugin.toml`.
//!
//! It is read by the reader of configs, because its commands have the keys of `[plugins.NAME]`; what
//! only the operator may decide (users, keys, secrets) is refused here. Reading is pure: other files
//! of the package come through [`Files`], from a folder or an archive.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde_json::Value;

use super::agent;
use super::command::find;
use super::diagnostic::{Diagnostic, Severity, Sources};
use super::env::{Env, User};
use super::json::{parse_json, plain_json};
use super::node::{Kind, Node, Place, parse_toml};
use super::raw::{RawPlugin, RawTable};
use super::raw_manifest::{Category, NOT_A_PACKAGES, RawDefaults, RawManifest, RawRequires};
use super::read::{At, Found, Named, Read as _};
use super::resolve::Cx;
use super::resolve_mode::mode;
use super::resolve_plugin::{Around, Definition, metrics, timeout, timing};
use super::secrets;
use super::values::{EnvText, RawCommand, SecretSource};
use crate::contract::{Declared, Rules, Strictness, measure};
use crate::model::{PackageName, PluginName, Version, is_unseen};

/// The manifest's name in a package.
pub const MANIFEST: &str = "talaia-plugin.toml";

/// Longest description, in characters.
const DESCRIPTION: usize = 200;
/// Most commands of a package.
const COMMANDS: usize = 100;

/// Most bytes of a manifest, and of each file that it is read with.
pub const MANIFEST_READS: usize = 256 << 10;

/// The other files of a package, by their path in it; `None` where there is none.
/// At most [`MANIFEST_READS`] bytes of each, and one more, are looked at.
pub type Files<'a> = &'a dyn Fn(&str) -> Option<Vec<u8>>;

/// A package's manifest, read and checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// The package's name.
    pub name: PackageName,
    /// Its version.
    pub version: Version,
    /// What it measures, in one line.
    pub description: String,
    /// Who wrote it.
    pub authors: Vec<String>,
    /// Its licence: an SPDX expression.
    pub license: String,
    /// What it is about.
    pub category: Category,
    /// A page about it.
    pub homepage: Option<String>,
    /// Where it runs; empty means everywhere.
    pub platforms: Vec<String>,
    /// What has to be there.
    pub requires: Requires,
    /// The schema of its settings: its path in the package, and what is in it.
    pub settings_schema: Option<(String, Value)>,
    /// The settings that hold where the operator says nothing: an object.
    pub defaults: Value,
    /// What it runs, by the commands' names.
    pub commands: BTreeMap<String, PackagedCommand>,
}

/// What has to be there for a package to run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requires {
    /// Programs that run its scripts.
    pub interpreters: Vec<String>,
    /// Other programs that it calls.
    pub commands: Vec<String>,
    /// The least version of the agent.
    pub talaia: Option<Version>,
}

/// One command of a package.
#[derive(Debug, Clone, PartialEq)]
pub struct PackagedCommand {
    /// The plugin that it becomes.
    pub plugin: PluginName,
    /// The program and its arguments, as written.
    pub argv: Vec<String>,
    /// The program's path in the package, unless it is an interpreter from elsewhere.
    pub program: Option<String>,
    /// The metrics that it declares.
    pub metrics: BTreeMap<String, Declared>,
    /// Whether it may print others.
    pub strictness: Strictness,
    /// From one run to the next, as written, or its cron expression.
    pub schedule: String,
}

/// A manifest as far as it could be read, and what there is to say about it.
#[derive(Debug)]
pub struct Reading {
    /// Nothing where something is wrong that keeps it from being used.
    pub manifest: Option<Manifest>,
    /// What was found, errors first.
    pub diagnostics: Vec<Diagnostic>,
    /// For showing them.
    pub sources: Sources,
}

impl Manifest {
    /// Reads the text of a manifest. `path` is what to call it in messages.
    pub fn read(path: PathBuf, text: &str, files: Files<'_>) -> Reading {
        let env = Env {
            vars: BTreeMap::new(),
            user: User::Root,
            host: "localhost".to_owned(),
            cpus: 1,
            cwd: PathBuf::from("/"),
        };
        let mut cx = Cx { env: &env, sources: Sources::default(), found: Found::default() };
        let packaged = read(path, text, files, &mut cx);
        let (mut diagnostics, sources) = (cx.found.diagnostics, cx.sources);
        diagnostics.sort_by_key(|d| d.severity);
        let wrong = diagnostics.iter().any(|d| d.severity == Severity::Error);
        let manifest = packaged.map(|packaged| packaged.manifest).filter(|_| !wrong);
        Reading { manifest, diagnostics, sources }
    }

    /// Why it does not run on this machine, where that is so.
    pub fn unfit(&self) -> Option<String> {
        let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
        let fits = |platform: &String| *platform == os || *platform == format!("{os}-{arch}");
        if self.platforms.is_empty() || self.platforms.iter().any(fits) {
            return None;
        }
        Some(format!("{} runs on {}; this is {os}-{arch}", self.name, self.platforms.join(", ")))
    }
}

impl Manifest {
    /// What it needs and is not on the search path `path`, or of this program.
    pub fn missing(&self, path: &str) -> Option<String> {
        let needs = &self.requires;
        let here: Option<Version> = env!("CARGO_PKG_VERSION").parse().ok();
        if let (Some(least), Some(here)) = (&needs.talaia, here)
            && here < *least
        {
            return Some(format!("{} needs talaia {least} or later; this is {here}", self.name));
        }
        let missing: Vec<&str> = needs
            .interpreters
            .iter()
            .chain(&needs.commands)
            .filter(|name| find(name, path).is_none())
            .map(String::as_str)
            .collect();
        if missing.is_empty() {
            return None;
        }
        Some(format!("{} needs {}, which is not on {path}", self.name, missing.join(" and ")))
    }
}

/// A manifest together with the trees that its commands and defaults were read from.
pub(super) struct Packaged {
    pub(super) manifest: Manifest,
    pub(super) commands: Vec<(String, Node)>,
    pub(super) defaults: Option<Node>,
    pub(super) place: Place,
}

/// Reads a manifest into the sources and findings of `cx`.
pub(super) fn read(
    path: PathBuf,
    text: &str,
    files: Files<'_>,
    cx: &mut Cx<'_>,
) -> Option<Packaged> {
    let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
    if text.len() > MANIFEST_READS {
        cx.found.push(Diagnostic::error(too_large(&path.to_string_lossy())));
        return None;
    }
    let file = cx.sources.add(path, text);
    let (node, errors) = parse_toml(text, file);
    let broken = !errors.is_empty();
    for (message, span) in errors {
        cx.error(message, &Place { file, span });
    }
    let raw = RawManifest::read(&node, &mut cx.found).filter(|_| !broken)?;
    let place = Place { file, span: 0..0 };
    let missing = |key: &str, example: &str, cx: &mut Cx<'_>| {
        if !raw.spoiled {
            cx.found.push(
                Diagnostic::error(format!("the manifest has no `{key}`"))
                    .at(&place)
                    .help(format!("add `{key} = {example}`")),
            );
        }
    };
    let name: Option<PackageName> = parsed(raw.name.as_ref(), cx);
    if raw.name.is_none() {
        missing("name", "\"my-plugin\"", cx);
    }
    let version: Option<Version> = parsed(raw.version.as_ref(), cx);
    if raw.version.is_none() {
        missing("version", "\"0.1.0\"", cx);
    }
    let description = one_line(raw.description.as_ref(), DESCRIPTION, cx);
    if raw.description.is_none() {
        missing("description", "\"What it measures\"", cx);
    }
    if raw.authors.as_ref().is_none_or(|at| at.value.is_empty()) {
        missing("authors", "[\"Your name\"]", cx);
    }
    for author in raw.authors.iter().flat_map(|at| &at.value) {
        one_line(Some(author), DESCRIPTION, cx);
    }
    let license = one_line(raw.license.as_ref(), DESCRIPTION, cx);
    if raw.license.is_none() {
        missing("license", "\"MIT\"", cx);
    }
    if raw.category.is_none() {
        missing("category", "\"application\"", cx);
    }
    let count = raw.commands.as_ref().map_or(0, |at| at.value.0.len());
    if count > COMMANDS {
        cx.error(format!("{count} commands; a package has at most {COMMANDS}"), &place);
    }
    if count == 0 {
        missing("commands", "{ my-plugin = { command = [\"./my-plugin\"] } }", cx);
    }
    let homepage = one_line(raw.homepage.as_ref(), DESCRIPTION, cx);
    if let Some(at) = &raw.homepage
        && !(at.value.starts_with("https://") || at.value.starts_with("http://"))
    {
        cx.error("a home page begins with `https://`", &at.place);
    }
    let requires = requires(raw.requires.as_ref(), cx);
    let own = raw.config.as_ref().map(|at| &at.value);
    let settings_schema = own
        .and_then(|own| own.schema.as_ref())
        .and_then(|at| rules(at, files, cx).map(|schema| (at.value.clone(), schema)));
    let defaults = own
        .and_then(|own| own.defaults.as_ref())
        .and_then(|at| default_tree(at, &folder, files, cx));
    let values = match &defaults {
        // Without secrets, of which none was left, nothing has to be fetched.
        Some(node) => secrets::settings(node, cx).unwrap_or_default(),
        None => Value::Object(serde_json::Map::new()),
    };
    if let (Some((path, schema)), Some(node)) = (&settings_schema, &defaults)
        && let Ok(rules) = Rules::new(schema)
    {
        for breach in rules.check(&values) {
            let message =
                format!("the defaults do not pass {path}: `{}`: {}", breach.path, breach.message);
            cx.error(message, &node.place);
        }
    }
    let mut commands = BTreeMap::new();
    let mut nodes = Vec::new();
    for named in raw.commands.iter().flat_map(|at| &at.value.0).take(COMMANDS) {
        let Some(name) = &name else { break };
        if let Some(command) = packaged_command(name, named, files, cx) {
            if let Some((other, _)) = commands
                .iter()
                .find(|(_, other): &(_, &PackagedCommand)| other.plugin == command.plugin)
            {
                let message = format!(
                    "the commands `{other}` and `{}` are both the plugin `{}`",
                    named.name, command.plugin
                );
                cx.error(message, &named.place);
            }
            commands.insert(named.name.clone(), command);
            nodes.push((named.name.clone(), named.value.0.clone()));
        }
    }
    let texts = |list: Option<&At<Vec<At<String>>>>| {
        list.iter().flat_map(|at| &at.value).map(|at| at.value.clone()).collect()
    };
    let manifest = Manifest {
        name: name?,
        version: version?,
        description: description.unwrap_or_default(),
        authors: texts(raw.authors.as_ref()),
        license: license.unwrap_or_default(),
        category: raw.category.as_ref()?.value,
        homepage,
        platforms: texts(raw.platforms.as_ref()),
        requires,
        settings_schema,
        defaults: values,
        commands,
    };
    Some(Packaged { manifest, commands: nodes, defaults, place })
}

/// A value that has a reader of its own.
fn parsed<T: std::str::FromStr>(written: Option<&At<String>>, cx: &mut Cx<'_>) -> Option<T>
where
    T::Err: std::fmt::Display,
{
    let at = written?;
    match at.value.parse() {
        Ok(value) => Some(value),
        Err(error) => {
            cx.error(error.to_string(), &at.place);
            None
        }
    }
}

fn hides(c: char) -> bool {
    c.is_control() || is_unseen(c)
}

/// A text of one line, not empty.
fn one_line(written: Option<&At<String>>, most: usize, cx: &mut Cx<'_>) -> Option<String> {
    let at = written?;
    let text = at.value.trim();
    if text.is_empty() || text.contains(hides) || text.chars().count() > most {
        cx.error(format!("this is one line of 1 to {most} characters"), &at.place);
    }
    Some(text.to_owned())
}

fn requires(written: Option<&At<RawRequires>>, cx: &mut Cx<'_>) -> Requires {
    let Some(At { value: raw, .. }) = written else { return Requires::default() };
    let mut programs = |list: Option<&At<Vec<At<String>>>>| -> Vec<String> {
        let list = list.map_or(&[] as &[_], |at| &at.value);
        for at in list.iter().filter(|at| at.value.is_empty() || at.value.contains(['/', '\0'])) {
            cx.found.push(
                Diagnostic::error("this is not the name of a program")
                    .at(&at.place)
                    .help("a name without `/`, which is looked up on the search path of plugins"),
            );
        }
        list.iter().map(|at| at.value.clone()).collect()
    };
    let interpreters = programs(raw.interpreters.as_ref());
    let commands = programs(raw.commands.as_ref());
    Requires { interpreters, commands, talaia: parsed(raw.talaia.as_ref(), cx) }
}

/// Whether `path`, as written in a package, stays inside of it.
pub fn is_inside(path: &str) -> bool {
    !path.is_empty()
        && !path.contains(['\0', '\\'])
        && Path::new(path)
            .components()
            .all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}

/// A file of the package as written in the manifest.
fn content(at: &At<String>, files: Files<'_>, cx: &mut Cx<'_>) -> Option<Vec<u8>> {
    if !is_inside(&at.value) {
        cx.error("this is not a path inside of the package", &at.place);
        return None;
    }
    let found = files(at.value.trim_start_matches("./"));
    if found.is_none() {
        cx.error(format!("the package has no file `{}`", at.value), &at.place);
    }
    found
}

/// The same, of a file that is read here.
fn small(at: &At<String>, files: Files<'_>, cx: &mut Cx<'_>) -> Option<Vec<u8>> {
    let bytes = content(at, files, cx)?;
    if bytes.len() > MANIFEST_READS {
        cx.error(too_large(&at.value), &at.place);
        return None;
    }
    Some(bytes)
}

fn too_large(path: &str) -> String {
    format!("`{path}` has more than {} KiB", MANIFEST_READS >> 10)
}

/// A JSON Schema among the package's files.
fn rules(at: &At<String>, files: Files<'_>, cx: &mut Cx<'_>) -> Option<Value> {
    let bytes = small(at, files, cx)?;
    let schema = match serde_json::from_slice(&bytes) {
        Ok(schema) => schema,
        Err(error) => {
            cx.error(format!("`{}` is not JSON: {error}", at.value), &at.place);
            return None;
        }
    };
    let usable = measure(&schema).and_then(|()| Rules::new(&schema).map_err(|e| e.to_string()));
    if let Err(why) = usable {
        cx.error(format!("`{}`: {why}", at.value), &at.place);
        return None;
    }
    Some(schema)
}

/// The tree of the defaults.
fn default_tree(
    at: &At<RawDefaults>,
    folder: &Path,
    files: Files<'_>,
    cx: &mut Cx<'_>,
) -> Option<Node> {
    let node = match &at.value {
        RawDefaults::Table(node) => node.clone(),
        RawDefaults::File(path) => {
            let written = At { value: path.clone(), place: at.place.clone() };
            let bytes = small(&written, files, cx)?;
            let Ok(text) = String::from_utf8(bytes) else {
                cx.error(format!("`{path}` is not UTF-8"), &at.place);
                return None;
            };
            let file = cx.sources.add(folder.join(path), &text);
            let (node, errors) = parse_json(&plain_json(&text), file);
            let broken = !errors.is_empty();
            for (message, span) in errors {
                cx.error(message, &Place { file, span });
            }
            if broken {
                return None;
            }
            if !matches!(node.kind, Kind::Table(_)) {
                cx.found.expected("an object", &node);
                return None;
            }
            node
        }
    };
    no_secrets(&node, cx).then_some(node)
}

/// Refuses tables that would name a secret of the operator's.
fn no_secrets(node: &Node, cx: &mut Cx<'_>) -> bool {
    if SecretSource::of(node).is_some() {
        cx.found.push(
            Diagnostic::error("a package cannot ask for a file or variable of the host")
                .at(&node.place)
                .help("leave it out; the operator sets it in `[packages.NAME.config]`"),
        );
        return false;
    }
    match &node.kind {
        Kind::Array(items) => items.iter().all(|item| no_secrets(item, cx)),
        Kind::Table(entries) => entries.iter().all(|entry| no_secrets(&entry.value, cx)),
        _ => true,
    }
}

/// Reads one command, as a plugin's settings are read, and refuses what is not a package's to say.
fn packaged_command(
    package: &PackageName,
    named: &Named<RawTable>,
    files: Files<'_>,
    cx: &mut Cx<'_>,
) -> Option<PackagedCommand> {
    let good = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    let begins =
        named.name.as_bytes().first().is_some_and(|b| b.is_ascii_alphabetic() || *b == b'_');
    if !begins || named.name.len() > 63 || !named.name.bytes().all(good) {
        let message = format!("`{}` is not the name of a command", named.name);
        cx.found.push(
            Diagnostic::error(message)
                .at(&named.place)
                .label("letters, digits, `_` and `-`, at most 63 bytes"),
        );
        return None;
    }
    if let Kind::Table(entries) = &named.value.0.kind {
        for entry in entries.iter().filter(|e| NOT_A_PACKAGES.contains(&e.key.as_str())) {
            cx.found.push(
                Diagnostic::error(format!("a package does not set `{}`", entry.key))
                    .at(&entry.place)
                    .help("this is for the operator to decide, in the config"),
            );
        }
    }
    let raw = RawPlugin::read(&named.value.0, &mut cx.found)?;
    for pair in raw.env.iter().flat_map(|at| &at.value.0) {
        if let EnvText::Secret(_) = &pair.value.value {
            cx.found.push(
                Diagnostic::error("a package cannot ask for a file or variable of the host")
                    .at(&pair.value.place)
                    .help("leave it out; the operator sets it in the config"),
            );
        }
    }
    if let Some(at) = &raw.schema {
        rules(at, files, cx);
    }
    let argv = argv(&raw, named, cx)?;
    let program = program(&argv[0], files, cx);
    let def = Definition::new(package.plugin(&named.name), raw, named.place.clone());
    let agent = agent::agent(None, cx);
    let mode = mode(&def.raw, cx);
    let timing = timing(&def, mode, &Around { agent: &agent, keys: &[] }, cx);
    timeout(&def.raw, timing.interval(), cx);
    let declared = metrics(def.raw.metrics.as_ref(), cx);
    if declared.is_empty() {
        cx.found.push(
            Diagnostic::warning(format!("the command `{}` declares no metrics", named.name))
                .at(&named.place)
                .help(format!("say what it prints: `[commands.{}.metrics.NAME]`", named.name)),
        );
    }
    let strict = def.raw.strict.as_ref().is_some_and(|at| at.value);
    let schedule = match (&def.raw.cron, timing.interval()) {
        (Some(cron), _) => format!("cron {}", cron.value),
        (None, Some(interval)) => format!("every {}", humantime::format_duration(interval)),
        (None, None) => "when it likes".to_owned(),
    };
    Some(PackagedCommand {
        plugin: def.name,
        argv: argv.into_iter().map(|word| word.value).collect(),
        program,
        metrics: declared,
        strictness: if strict { Strictness::Strict } else { Strictness::Open },
        schedule,
    })
}

/// The words of the command, of which there is at least one.
fn argv(raw: &RawPlugin, named: &Named<RawTable>, cx: &mut Cx<'_>) -> Option<Vec<At<String>>> {
    let help = "its first word is a file of the package: `command = [\"bin/check.sh\"]`";
    match &raw.command {
        Some(At { value: RawCommand::Argv(argv), .. })
            if argv.first().is_some_and(|word| !word.value.is_empty()) =>
        {
            Some(
                argv.iter()
                    .map(|at| At { value: at.value.clone(), place: at.place.clone() })
                    .collect(),
            )
        }
        Some(At { place, .. }) => {
            cx.found.push(
                Diagnostic::error("`command` is an array of the program and its arguments")
                    .at(place)
                    .help(help),
            );
            None
        }
        None => {
            if !raw.spoiled {
                let message = format!("the command `{}` has no `command`", named.name);
                cx.found.push(Diagnostic::error(message).at(&named.place).help(help));
            }
            None
        }
    }
}

/// The file of the package that is started; `None` for an interpreter that is looked up.
fn program(first: &At<String>, files: Files<'_>, cx: &mut Cx<'_>) -> Option<String> {
    let path = first.value.trim_start_matches("./");
    if !first.value.contains('/') && files(path).is_none() {
        return None;
    }
    content(first, files, cx)?;
    Some(path.to_owned())
}
