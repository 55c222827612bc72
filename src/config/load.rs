//! Reading the files of a config and putting them together.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::diagnostic::{Diagnostic, LoadErrors, Severity, Sources};
use super::env::Env;
use super::json::parse_json;
use super::node::{Kind, Node, Place, parse_toml};
use super::output::{OutputConfig, output};
use super::pattern::{expand, is_pattern};
use super::profile::{self, Destinations};
use super::raw::{RawAgent, RawConfig, RawHub, RawOutput, RawPlugin, RawProfile};
use super::read::{At, Found, Named, Read as _, Span};
use super::resolve::Cx;
use super::resolve_plugin::{Around, Definition, normal, plugin};
use super::values::{RawCommand, SecretSource};
use super::{Config, HubConfig, Loaded, Origin, SELF_PLUGIN, agent};
use crate::model::{InvalidName, PluginName, nearest_name};

/// Where a config is.
#[derive(Debug, Clone)]
pub enum Source {
    /// In a file: TOML, or JSON when its name ends in `.json`.
    File(PathBuf),
    /// In this very text (TOML).
    Text {
        /// What to call it in messages.
        name: String,
        /// The config.
        text: String,
        /// The folder that its paths are relative to.
        base: PathBuf,
    },
    /// Nowhere: scripts on the command line.
    Scripts(Scripts),
}

/// Plugins named on the command line, each by its executable. A sidecar beside one counts.
#[derive(Debug, Clone, Default)]
pub struct Scripts {
    /// A config to take everything else from.
    pub config: Option<PathBuf>,
    /// The executables; relative paths are relative to [`Env::cwd`].
    pub paths: Vec<PathBuf>,
    /// Their interval, in place of any other.
    pub every: Option<Duration>,
    /// Arguments for each of them.
    pub args: Vec<String>,
}

/// Loads a config: reads, checks and resolves it.
///
/// # Errors
/// Everything that is wrong with it, at once. A plugin that merely could not start is no error; it
/// is [`PluginState::Broken`](super::PluginState::Broken) and listed in [`Loaded::problems`].
pub fn load(source: &Source, env: &Env) -> Result<Loaded, LoadErrors> {
    let mut loading = Loading::new(env, Reading::All);
    match source {
        Source::File(path) => loading.main_file(path),
        Source::Text { name, text, base } => {
            loading.main_text(base.join(name), text.clone());
        }
        Source::Scripts(scripts) => {
            if let Some(path) = &scripts.config {
                loading.main_file(path);
            }
            loading.scripts(scripts);
        }
    }
    loading.finish()
}

/// Reads what a config file says to commands that talk to a hub: its profiles, the hubs among its
/// outputs, and the data folder. Nothing is said of what else is in it.
///
/// # Errors
/// Everything that is wrong with those, or with the form of the files.
pub fn destinations(path: &Path, env: &Env) -> Result<Destinations, LoadErrors> {
    let mut loading = Loading::new(env, Reading::Destinations);
    loading.main_file(path);
    let cx = &mut loading.cx;
    let data_dir =
        loading.agent.as_ref().and_then(|at| at.value.data_dir.as_ref()).map(|dir| cx.path(dir));
    let names: Vec<&str> = loading.outputs.iter().map(|output| output.name.as_str()).collect();
    let profiles = profile::profiles(&loading.profiles, &names, cx);
    let outputs = profile::hubs(&loading.outputs, cx);
    let Cx { found, sources, .. } = loading.cx;
    if found.diagnostics.iter().any(|d| d.severity == Severity::Error) {
        return Err(LoadErrors { diagnostics: found.diagnostics, sources });
    }
    Ok(Destinations { data_dir, profiles, outputs })
}

/// Reads what a config file says of the hub. Nothing is said of what else is in it.
///
/// # Errors
/// Everything that is wrong with that, or with the form of the files.
pub fn hub(path: &Path, env: &Env) -> Result<HubConfig, LoadErrors> {
    let mut loading = Loading::new(env, Reading::Hub);
    loading.main_file(path);
    let raw = loading.hub.take();
    let hub = agent::hub(raw.as_ref().map(|at| &at.value), 0, &mut loading.cx);
    let Cx { found, sources, .. } = loading.cx;
    if found.diagnostics.iter().any(|d| d.severity == Severity::Error) {
        return Err(LoadErrors { diagnostics: found.diagnostics, sources });
    }
    Ok(hub)
}

struct Loading<'a> {
    cx: Cx<'a>,
    files: Vec<PathBuf>,
    agent: Option<At<RawAgent>>,
    hub: Option<At<RawHub>>,
    outputs: Vec<Named<At<RawOutput>>>,
    profiles: Vec<Named<At<RawProfile>>>,
    plugins: BTreeMap<PluginName, Definition>,
    reading: Reading,
}

/// How much of the files is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    All,
    /// What [`destinations`] is about.
    Destinations,
    /// What [`hub`] is about.
    Hub,
}

/// Leaves of a config what is looked at.
fn cut_down(config: &mut Node, reading: Reading) {
    let Kind::Table(entries) = &mut config.kind else { return };
    let kept: &[&str] = match reading {
        Reading::All => return,
        Reading::Destinations => &["include", "agent", "outputs", "profiles"],
        Reading::Hub => &["include", "hub"],
    };
    entries.retain(|e| kept.contains(&e.key.as_str()));
    for entry in entries {
        if entry.key == "agent"
            && let Kind::Table(settings) = &mut entry.value.kind
        {
            settings.retain(|e| e.key == "data_dir");
        }
    }
}

impl<'a> Loading<'a> {
    fn new(env: &'a Env, reading: Reading) -> Self {
        Self {
            cx: Cx { env, sources: Sources::default(), found: Found::default() },
            files: Vec::new(),
            agent: None,
            hub: None,
            outputs: Vec::new(),
            profiles: Vec::new(),
            plugins: BTreeMap::new(),
            reading,
        }
    }

    fn main_file(&mut self, path: &Path) {
        let path = normal(&self.cx.env.cwd.join(path));
        match read_text(&path) {
            Ok(text) => {
                self.files.push(path.clone());
                self.main_text(path, text);
            }
            Err(diagnostic) => {
                let diagnostic = if diagnostic.help.is_some() {
                    diagnostic
                } else {
                    diagnostic.help(
                        "name another with `--config`, or run a script without any: `talaia run ./script.sh --every 10s`",
                    )
                };
                self.cx.found.push(diagnostic);
            }
        }
    }

    fn main_text(&mut self, path: PathBuf, text: String) {
        let Some(raw) = self.parse::<RawConfig>(path, text) else { return };
        let include = raw.value.include;
        self.merge(RawConfig { include: None, ..raw.value });
        for pattern in include.iter().flat_map(|at| &at.value) {
            self.include(pattern);
        }
    }

    /// Parses and reads one file. Syntax errors stop the reading of this file alone.
    fn parse<T: super::read::Read>(&mut self, path: PathBuf, text: String) -> Option<At<T>> {
        let json = path.extension() == Some(OsStr::new("json"));
        let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
        let file = self.cx.sources.add(path, &text);
        let (mut node, errors): (Node, _) =
            if json { parse_json(&text, file) } else { parse_toml(&text, file) };
        let broken = !errors.is_empty();
        for (message, span) in errors {
            self.cx.error(message, &Place { file, span });
        }
        if broken {
            return None;
        }
        cut_down(&mut node, self.reading);
        At::<T>::read(&node, &mut self.cx.found)
    }

    fn include(&mut self, pattern: &At<String>) {
        let path = self.cx.path(pattern);
        let paths = if path.to_str().is_some_and(is_pattern) {
            match expand(&path) {
                Ok(paths) => paths,
                Err(e) => {
                    let message = format!("cannot list `{}`: {e}", path.display());
                    return self.cx.error(message, &pattern.place);
                }
            }
        } else {
            vec![path]
        };
        for path in paths {
            let path = normal(&path);
            if self.files.contains(&path) {
                let message = format!("`{}` is included twice", path.display());
                self.cx.error(message, &pattern.place);
                continue;
            }
            match read_text(&path) {
                Err(diagnostic) => self.cx.found.push(diagnostic.at(&pattern.place)),
                Ok(text) => {
                    self.files.push(path.clone());
                    if let Some(raw) = self.parse::<RawConfig>(path, text) {
                        if let Some(include) = &raw.value.include {
                            self.cx.error("only the main file may include others", &include.place);
                        }
                        self.merge(raw.value);
                    }
                }
            }
        }
    }

    fn merge(&mut self, raw: RawConfig) {
        let twice = |table: &str, one: &Place, other: &Place| {
            Diagnostic::error(format!("`[{table}]` is in two files"))
                .at(one)
                .also(other, "first here")
                .help("keep one of the two")
        };
        match (raw.agent, &self.agent) {
            (Some(new), Some(old)) => {
                let diagnostic = twice("agent", &new.place, &old.place);
                self.cx.found.push(diagnostic);
            }
            (Some(new), None) => self.agent = Some(new),
            (None, _) => {}
        }
        match (raw.hub, &self.hub) {
            (Some(new), Some(old)) => {
                let diagnostic = twice("hub", &new.place, &old.place);
                self.cx.found.push(diagnostic);
            }
            (Some(new), None) => self.hub = Some(new),
            (None, _) => {}
        }
        for output in raw.outputs.map_or_else(Vec::new, |at| at.value.0) {
            if let Some(old) = self.outputs.iter().find(|o| o.name == output.name) {
                self.cx.found.push(
                    Diagnostic::error(format!("there are two outputs named `{}`", output.name))
                        .at(&output.place)
                        .also(&old.place, "first here")
                        .help("rename one of the two"),
                );
                continue;
            }
            let at = At { value: output.value, place: output.place.clone() };
            self.outputs.push(Named { name: output.name, place: output.place, value: at });
        }
        for profile in raw.profiles.map_or_else(Vec::new, |at| at.value.0) {
            if let Some(old) = self.profiles.iter().find(|p| p.name == profile.name) {
                self.cx.found.push(
                    Diagnostic::error(format!("there are two profiles named `{}`", profile.name))
                        .at(&profile.place)
                        .also(&old.place, "first here")
                        .help("rename one of the two"),
                );
                continue;
            }
            let at = At { value: profile.value, place: profile.place.clone() };
            self.profiles.push(Named { name: profile.name, place: profile.place, value: at });
        }
        for plugin in raw.plugins.map_or_else(Vec::new, |at| at.value.0) {
            let name: Result<PluginName, InvalidName> = plugin.name.parse();
            match name {
                Ok(name) => self.define(Definition {
                    name,
                    raw: plugin.value,
                    place: plugin.place,
                    executable: None,
                    args: Vec::new(),
                    schema: None,
                }),
                Err(_) => self.cx.found.push(
                    Diagnostic::error(format!("`{}` is not a plugin name", plugin.name))
                        .at(&plugin.place)
                        .label("letters, digits and `_`, not starting with a digit")
                        .help(format!("for example `{}`", nearest_name(&plugin.name))),
                ),
            }
        }
    }

    fn define(&mut self, def: Definition) {
        if let Some(old) = self.plugins.get(&def.name) {
            self.cx.found.push(
                Diagnostic::error(format!("there are two plugins named `{}`", def.name))
                    .at(&def.place)
                    .also(&old.place, "first here")
                    .help("rename one of the two; a plugin found as a file is named by the file"),
            );
            return;
        }
        self.plugins.insert(def.name.clone(), def);
    }

    fn scripts(&mut self, scripts: &Scripts) {
        let every = scripts.every.map(|every| {
            let text = format!("--every {}", humantime::format_duration(every));
            let span = 0..text.len();
            let file = self.cx.sources.add(self.cx.env.cwd.join("command line"), &text);
            At { value: Span(every), place: Place { file, span } }
        });
        for path in &scripts.paths {
            let full = normal(&self.cx.env.cwd.join(path));
            if !full.is_file() {
                let what = if full.is_dir() { "is a folder" } else { "does not exist" };
                self.cx.found.push(
                    Diagnostic::error(format!("`{}` {what}", path.display()))
                        .help("name the executable of a plugin, such as `./disk.sh`"),
                );
                continue;
            }
            let Some(mut def) = self.found_as(&full) else { continue };
            def.args.clone_from(&scripts.args);
            if let Some(every) = &every {
                def.raw.interval = Some(every.clone());
                def.raw.cron = None;
                def.raw.timezone = None;
                def.raw.align = None;
            }
            self.define(def);
        }
    }

    /// The plugin that an executable is, with what is beside it.
    fn found_as(&mut self, executable: &Path) -> Option<Definition> {
        let stem = executable.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let name = nearest_name(&stem).parse::<PluginName>().ok()?;
        let beside = |suffix: &str| executable.with_file_name(format!("{stem}{suffix}"));
        let sidecar = beside(".toml");
        let schema = Some(beside(".schema.json")).filter(|path| path.is_file());
        let (raw, place) = if sidecar.is_file() {
            let text = match read_text(&sidecar) {
                Ok(text) => text,
                Err(diagnostic) => {
                    self.cx.found.push(diagnostic);
                    return None;
                }
            };
            self.files.push(sidecar.clone());
            let at = self.parse::<RawPlugin>(sidecar, text)?;
            (at.value, Place { file: at.place.file, span: 0..0 })
        } else {
            // So that messages have a path to show; there is no line to show.
            let file = self.cx.sources.add(executable.to_path_buf(), "");
            (RawPlugin::default(), Place { file, span: 0..0 })
        };
        let executable = Some(executable.to_path_buf());
        Some(Definition { name, raw, place, executable, args: Vec::new(), schema })
    }

    /// The plugins in one of the agent's folders.
    fn folder(&mut self, folder: &At<String>, named: &HashSet<PathBuf>) {
        let path = normal(&self.cx.path(folder));
        let entries = match list(&path) {
            Ok(entries) => entries,
            Err(e) => {
                let message = format!("cannot list the plugin folder `{}`: {e}", path.display());
                return self.cx.error(message, &folder.place);
            }
        };
        for entry in entries {
            let entry = if entry.is_dir() {
                // A plugin in a folder of its own, as `talaia new` makes it.
                match list(&entry)
                    .unwrap_or_default()
                    .into_iter()
                    .find(|file| file.file_stem() == entry.file_name() && is_program(file))
                {
                    Some(executable) => executable,
                    None => continue,
                }
            } else {
                entry
            };
            if is_program(&entry)
                && !named.contains(&entry)
                && let Some(def) = self.found_as(&entry)
            {
                self.define(def);
            }
        }
    }

    /// The files that plugins already defined run; found in a folder, they are no second plugin.
    fn named(&self) -> HashSet<PathBuf> {
        let mut files = HashSet::new();
        for plugin in self.plugins.values() {
            if let Some(At { value: RawCommand::Argv(argv), .. }) = &plugin.raw.command {
                let base = self.cx.base(&plugin.place);
                files.extend(argv.iter().map(|word| normal(&base.join(&word.value))));
            }
        }
        files
    }

    /// The variables that hold keys of outputs and profiles.
    fn key_variables(&self) -> Vec<String> {
        let outputs = self.outputs.iter().filter_map(|output| match &output.value.value {
            RawOutput::Talaia(hub) => hub.key.as_ref(),
            RawOutput::File(_) | RawOutput::Stdout(_) => None,
        });
        let profiles = self.profiles.iter().map(|profile| &profile.value.value);
        let profiles =
            profiles.flat_map(|raw| [raw.key.as_ref(), raw.secret_key.as_ref()]).flatten();
        let named = |source: &At<SecretSource>| match &source.value {
            SecretSource::Env(name) => Some(name.value.clone()),
            SecretSource::File(_) => None,
        };
        outputs.chain(profiles).filter_map(named).collect()
    }

    fn finish(mut self) -> Result<Loaded, LoadErrors> {
        let raw_agent = self.agent.take();
        let agent = agent::agent(raw_agent.as_ref().map(|at| &at.value), &mut self.cx);
        let dirs = raw_agent.and_then(|at| at.value.plugin_dirs);
        let named = self.named();
        for folder in dirs.iter().flat_map(|at| &at.value) {
            self.folder(folder, &named);
        }
        let keys = self.key_variables();
        let mut outputs: BTreeMap<String, OutputConfig> = BTreeMap::new();
        for raw in &self.outputs {
            if let Some(resolved) = output(raw, &mut self.cx) {
                outputs.insert(raw.name.clone(), resolved);
            }
        }
        let names: Vec<&str> = self.outputs.iter().map(|output| output.name.as_str()).collect();
        let profiles = profile::profiles(&self.profiles, &names, &mut self.cx);
        let hub = self.hub.take();
        let hub = agent::hub(hub.as_ref().map(|at| &at.value), self.outputs.len(), &mut self.cx);
        let around = Around { agent: &agent, keys: &keys };
        let mut plugins = BTreeMap::new();
        let mut origins = BTreeMap::new();
        if let Some(def) = self.plugins.values().find(|def| def.name.as_str() == SELF_PLUGIN) {
            self.cx.found.push(
                Diagnostic::error(format!("the name `{SELF_PLUGIN}` is taken"))
                    .at(&def.place)
                    .label("the agent reports on itself under this name")
                    .help("give the plugin another name"),
            );
        }
        for def in self.plugins.values() {
            if let Some(resolved) = plugin(def, &around, &mut self.files, &mut self.cx) {
                let (path, line) = self.cx.sources.line(&def.place);
                origins.insert(def.name.clone(), Origin { path: path.clone(), line });
                plugins.insert(def.name.clone(), resolved);
            }
        }
        let config = Config { agent, plugins, outputs, profiles, hub };
        conclude(config, origins, self.files, self.cx)
    }
}

/// Sorts what was found, and decides.
fn conclude(
    config: Config,
    origins: BTreeMap<PluginName, Origin>,
    files: Vec<PathBuf>,
    cx: Cx<'_>,
) -> Result<Loaded, LoadErrors> {
    let (mut diagnostics, sources) = (cx.found.diagnostics, cx.sources);
    diagnostics.sort_by_key(|d| {
        let place = d.place.as_ref().map(|place| (place.file, place.span.start));
        (d.severity, place)
    });
    if diagnostics.iter().any(|d| d.severity == Severity::Error) {
        return Err(LoadErrors { diagnostics, sources });
    }
    let (problems, warnings) =
        diagnostics.into_iter().partition(|d| d.severity == Severity::Problem);
    Ok(Loaded { config, files, origins, problems, warnings, sources })
}

/// The entries of a folder, sorted, without hidden ones.
fn list(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            entries.push(entry.path());
        }
    }
    entries.sort();
    Ok(entries)
}

/// Whether a file in a folder of plugins is one: executable, or with a `#!` line (then it was
/// surely meant to be), and neither a sidecar nor an editor's backup.
fn is_program(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if [
        ".toml",
        ".json",
        ".md",
        "~",
        ".bak",
        ".orig",
        ".rpmnew",
        ".rpmsave",
        ".dpkg-old",
        ".dpkg-new",
        ".dpkg-dist",
    ]
    .iter()
    .any(|suffix| name.ends_with(suffix))
    {
        return false;
    }
    let Ok(metadata) = std::fs::metadata(path) else { return false };
    if !metadata.is_file() {
        return false;
    }
    if metadata.permissions().mode() & 0o111 != 0 {
        return true;
    }
    let mut head = [0; 2];
    std::fs::File::open(path)
        .and_then(|mut file| std::io::Read::read_exact(&mut file, &mut head))
        .is_ok_and(|()| &head == b"#!")
}

/// Reads a file of the config.
fn read_text(path: &Path) -> Result<String, Diagnostic> {
    let shown = path.display();
    let bytes = std::fs::read(path).map_err(|error| {
        let wrong = Diagnostic::error(format!("cannot read the config file `{shown}`: {error}"));
        match error.kind() {
            std::io::ErrorKind::PermissionDenied => {
                wrong.help("let the user that runs talaia read it, and enter the folders above it")
            }
            _ => wrong,
        }
    })?;
    String::from_utf8(bytes).map_err(|e| {
        let bytes = e.as_bytes();
        let help = if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
            "it seems to be UTF-16; save it as UTF-8"
        } else {
            "save it as UTF-8"
        };
        let before = &bytes[..e.utf8_error().valid_up_to()];
        let line = before.split(|b| *b == b'\n').count();
        let column = 1 + before.iter().rev().take_while(|b| **b != b'\n').count();
        Diagnostic::error(format!("`{shown}` is not UTF-8 at line {line}, column {column}"))
            .help(help)
    })
}
