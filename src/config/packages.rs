//! Plugins that come from packages: those installed that `[packages.NAME]` names, and those whose
//! folder lies in a folder of plugins.
//!
//! What the operator wrote lies over what the manifest says, key by key and as trees, before either is
//! read: so each value keeps its place, and a message points at whoever wrote it.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::DefinedBy;
use super::agent::AgentConfig;
use super::diagnostic::{Diagnostic, Severity};
use super::files;
use super::manifest::{self, MANIFEST, Manifest, Packaged};
use super::node::{Entry, Kind, Node, Place};
use super::raw::{RawPackage, RawPlugin, RawTable};
use super::read::{At, Found, Named, Read as _};
use super::resolve::Cx;
use super::resolve_plugin::{Definition, Provenance};
use super::values::{RawCommand, Settings};
use crate::model::{PackageName, Version};

/// The folder below the data folder that packages are installed in.
pub const PACKAGES: &str = "packages";
/// The folder beside the main file whose files are always read, and where installing writes.
pub const DROP_INS: &str = "plugins.d";

/// A package that is in use.
#[derive(Debug, Clone, PartialEq)]
pub struct InstalledPackage {
    /// Its version.
    pub version: Version,
    /// The folder that it is in.
    pub folder: PathBuf,
    /// The file that names it.
    pub file: PathBuf,
    /// Its manifest; nothing where that cannot be used.
    pub manifest: Option<Manifest>,
}

/// What `[packages.NAME]` comes to: the package, and its plugins.
pub(super) fn installed(
    named: &Named<At<RawPackage>>,
    agent: &AgentConfig,
    files: &mut Vec<PathBuf>,
    cx: &mut Cx<'_>,
) -> Option<(PackageName, InstalledPackage, Vec<Definition>)> {
    let raw = &named.value.value;
    let name: PackageName = match named.name.parse() {
        Ok(name) => name,
        Err(error) => {
            let error: crate::model::InvalidPackageName = error;
            cx.error(error.to_string(), &named.place);
            return None;
        }
    };
    let Some(written) = &raw.version else {
        if !raw.spoiled {
            cx.found.push(
                Diagnostic::error(format!("the package `{name}` has no `version`"))
                    .at(&named.place)
                    .help(format!("install it with `talaia plugin install {name}`")),
            );
        }
        return None;
    };
    let version: Version = match written.value.parse() {
        Ok(version) => version,
        Err(error) => {
            let error: crate::model::InvalidVersion = error;
            cx.error(error.to_string(), &written.place);
            return None;
        }
    };
    let folder = agent.data_dir.join(PACKAGES).join(name.as_str()).join(version.to_string());
    let mut package = InstalledPackage {
        folder,
        file: cx.sources.path(&named.place).clone(),
        manifest: None,
        version,
    };
    let path = package.folder.join(MANIFEST);
    if !path.is_file() {
        let message = format!("the package {name} {} is not installed", package.version);
        cx.found.push(
            problem(message)
                .at(&written.place)
                .help(format!("talaia plugin install {name} {}", package.version)),
        );
        return Some((name, package, Vec::new()));
    }
    let packaged = in_folder(&package.folder, files, cx);
    let Some(packaged) = packaged else { return Some((name, package, Vec::new())) };
    let own = &packaged.manifest;
    if own.name != name || own.version != package.version {
        let message = format!(
            "{} is the manifest of {} {}, not of {name} {}",
            path.display(),
            own.name,
            own.version,
            package.version
        );
        cx.found.push(problem(message).at(&written.place).help("install it again"));
        return Some((name, package, Vec::new()));
    }
    for over in raw.commands.iter().flat_map(|at| &at.value.0) {
        if !packaged.manifest.commands.contains_key(&over.name) {
            let names: Vec<_> =
                packaged.manifest.commands.keys().map(|name| format!("`{name}`")).collect();
            cx.found.push(
                Diagnostic::warning(format!("{name} has no command `{}`", over.name))
                    .at(&over.place)
                    .help(format!("it has {}", names.join(", "))),
            );
        }
    }
    let definitions = definitions(&packaged, Some(raw), agent, cx);
    package.manifest = Some(packaged.manifest);
    Some((name, package, definitions))
}

/// The plugins of a package that lies in `folder` as its author has it.
pub(super) fn unpacked(
    folder: &Path,
    agent: &AgentConfig,
    files: &mut Vec<PathBuf>,
    cx: &mut Cx<'_>,
) -> Vec<Definition> {
    match in_folder(folder, files, cx) {
        Some(packaged) => definitions(&packaged, None, agent, cx),
        None => Vec::new(),
    }
}

/// Reads the manifest in `folder`. What is wrong with it keeps the package from running, and not the
/// agent.
fn in_folder(folder: &Path, files: &mut Vec<PathBuf>, cx: &mut Cx<'_>) -> Option<Packaged> {
    let path = folder.join(MANIFEST);
    let text = match files::read_to_string(&path) {
        Ok(text) => text,
        Err(error) => {
            cx.found.push(problem(format!("cannot read {}: {error}", path.display())));
            return None;
        }
    };
    files.push(path.clone());
    let outer = std::mem::take(&mut cx.found);
    let packaged = manifest::read(path, &text, &|inside| beginning(&folder.join(inside)).ok(), cx);
    let inner = std::mem::replace(&mut cx.found, outer);
    let mut usable = packaged.is_some();
    for mut diagnostic in inner.diagnostics {
        if diagnostic.severity == Severity::Error {
            diagnostic.severity = Severity::Problem;
            usable = false;
            cx.found.push(diagnostic);
        }
    }
    packaged.filter(|_| usable)
}

fn definitions(
    packaged: &Packaged,
    over: Option<&RawPackage>,
    agent: &AgentConfig,
    cx: &mut Cx<'_>,
) -> Vec<Definition> {
    let Packaged { manifest, commands, defaults, place } = packaged;
    let settings = settings(defaults.as_ref(), over, place);
    let mut definitions = Vec::new();
    for (name, node) in commands {
        let named = over
            .and_then(|over| over.commands.as_ref())
            .and_then(|at| at.value.0.iter().find(|named| named.name == *name));
        let mut node = node.clone();
        if let Some(named) = named {
            refuse(named, &mut cx.found);
            node = over_it(&node, &named.value.0);
        }
        let Some(mut raw) = RawPlugin::read(&node, &mut cx.found) else { continue };
        local(&mut raw, packaged, name);
        if let Some(settings) = &settings {
            let at = At { value: Settings(settings.clone()), place: settings.place.clone() };
            raw.config = Some(at);
        }
        if let Some(over) = over {
            raw.key =
                over.key.as_ref().map(|at| At { value: at.value.clone(), place: at.place.clone() });
            if let Some(off) = over.enabled.as_ref().filter(|at| !at.value) {
                raw.enabled = Some(At { value: false, place: off.place.clone() });
            }
        }
        let mut def = Definition::new(manifest.name.plugin(name), raw, place.clone());
        def.package = Some(Provenance {
            by: DefinedBy::Package {
                name: manifest.name.clone(),
                command: name.clone(),
                installed: over.is_some(),
            },
            settings_schema: manifest.settings_schema.clone(),
            unfit: manifest.unfit(),
            missing: manifest.missing(&agent.path),
        });
        definitions.push(def);
    }
    definitions
}

/// What the operator cannot change of a package's command.
fn refuse(named: &Named<RawTable>, found: &mut Found) {
    let Kind::Table(entries) = &named.value.0.kind else { return };
    for entry in entries {
        let help = match entry.key.as_str() {
            "command" => {
                "what is run is the package's; write a `[plugins.NAME]` of your own instead"
            }
            "config" => "settings are those of the whole package: `[packages.NAME.config]`",
            "key" => "the key is that of the whole package: `[packages.NAME] key`",
            _ => continue,
        };
        let message = format!("`{}` cannot be changed here", entry.key);
        found.push(Diagnostic::error(message).at(&entry.place).help(help));
    }
}

/// A program that is named without a `/` and is a file of the package is that file.
fn local(raw: &mut RawPlugin, packaged: &Packaged, command: &str) {
    let program = packaged.manifest.commands.get(command).and_then(|c| c.program.as_ref());
    if let (Some(program), Some(At { value: RawCommand::Argv(argv), .. })) =
        (program, raw.command.as_mut())
        && let Some(first) = argv.first_mut()
    {
        first.value = format!("./{program}");
    }
}

/// The operator's settings over the package's defaults, key by key.
fn settings(defaults: Option<&Node>, over: Option<&RawPackage>, place: &Place) -> Option<Node> {
    let over = over.and_then(|over| over.config.as_ref()).map(|at| &at.value.0);
    match (defaults, over) {
        (None, None) => None,
        (Some(one), None) | (None, Some(one)) => Some(one.clone()),
        (Some(defaults), Some(over)) => {
            let mut entries = entries_of(defaults).to_vec();
            for entry in entries_of(over) {
                replace(&mut entries, entry.clone());
            }
            Some(Node { place: place.clone(), kind: Kind::Table(entries) })
        }
    }
}

fn entries_of(node: &Node) -> &[Entry] {
    match &node.kind {
        Kind::Table(entries) => entries,
        _ => &[],
    }
}

fn replace(entries: &mut Vec<Entry>, entry: Entry) {
    match entries.iter_mut().find(|old| old.key == entry.key) {
        Some(old) => *old = entry,
        None => entries.push(entry),
    }
}

/// `over` on `under`: tables are put together, all else is replaced. A schedule of one kind takes the
/// place of one of the other.
fn over_it(under: &Node, over: &Node) -> Node {
    let mut merged = merge(under, over);
    if let Kind::Table(entries) = &mut merged.kind {
        if over.get("cron").is_some() {
            entries.retain(|e| {
                !matches!(e.key.as_str(), "interval" | "align") || over.get(&e.key).is_some()
            });
        } else if over.get("interval").is_some() {
            entries.retain(|e| {
                !matches!(e.key.as_str(), "cron" | "timezone") || over.get(&e.key).is_some()
            });
        }
    }
    merged
}

fn merge(under: &Node, over: &Node) -> Node {
    let (Kind::Table(old), Kind::Table(new)) = (&under.kind, &over.kind) else {
        return over.clone();
    };
    let mut entries = old.clone();
    for entry in new {
        let value = match under.get(&entry.key) {
            Some(old) => merge(old, &entry.value),
            None => entry.value.clone(),
        };
        replace(&mut entries, Entry { value, ..entry.clone() });
    }
    Node { place: over.place.clone(), kind: Kind::Table(entries) }
}

fn problem(message: String) -> Diagnostic {
    Diagnostic::new(Severity::Problem, message)
}

/// As much of a file as a manifest may need of it: of programs only that they are there.
fn beginning(file: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    files::open(file)?.take(manifest::MANIFEST_READS as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
