//! Looking at a package without running any of it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::config::{MANIFEST, MANIFEST_READS, Manifest, Severity};
use crate::model::{PackageName, PluginName, Runner, SHEBANG, Version, is_unseen, shebang};

use super::case::{Case, is_case};
use super::contents::{Contents, PackageFile, SUMS};
use super::finding::{Finding, Weight};
use super::secrets;
use super::sums::{self, sha256};
use super::template::FileMode;

/// Most findings of the manifest that are told, and most in all.
const TOLD: usize = 100;
const MOST: usize = 500;

/// Interpreters that every host has.
const EVERYWHERE: [&str; 1] = ["sh"];

/// What a look at a package came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Inspection {
    /// What the manifest says; nothing where it cannot be used.
    pub summary: Option<Summary>,
    /// What was found, errors first.
    pub findings: Vec<Finding>,
    /// The files.
    pub files: Vec<FileSummary>,
}

/// What a manifest says, in short.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The package's name.
    pub name: PackageName,
    /// Its version.
    pub version: Version,
    /// What it measures.
    pub description: String,
    /// Who wrote it.
    pub authors: Vec<String>,
    /// Its licence.
    pub license: String,
    /// What it is about.
    pub category: String,
    /// A page about it.
    pub homepage: Option<String>,
    /// Where it runs; empty means everywhere.
    pub platforms: Vec<String>,
    /// Programs that it needs.
    pub requires: Vec<String>,
    /// What it runs.
    pub commands: Vec<CommandSummary>,
}

/// One command, in short.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CommandSummary {
    /// Its name in the manifest.
    pub name: String,
    /// The plugin that it becomes.
    pub plugin: PluginName,
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// When it runs.
    pub schedule: String,
    /// The names of the metrics that it declares, with type and unit.
    pub metrics: Vec<MetricSummary>,
}

/// One declared metric, in short.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricSummary {
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its unit.
    pub unit: Option<String>,
    /// A readable name.
    pub label: Option<String>,
}

/// One file, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSummary {
    /// Its path in the package.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Whether it may be executed.
    pub executable: bool,
    /// Its SHA-256.
    pub sha256: String,
}

impl Inspection {
    /// Whether something keeps the package from being submitted or installed.
    pub fn has_errors(&self) -> bool {
        self.findings.iter().any(|finding| finding.weight == Weight::Error)
    }
}

/// Looks at a package. `top` is the folder that it was packed below, where it was.
pub fn inspect(contents: &Contents, top: Option<&PackageName>) -> Inspection {
    let mut findings = Vec::new();
    let manifest = manifest(contents, &mut findings);
    if let Some(top) = top {
        if let Some(manifest) = manifest.as_ref().filter(|m| m.name != *top) {
            let message = format!("all lies below `{top}/`, but the package is {}", manifest.name);
            findings.push(Finding::error("", message, "pack it again: `talaia plugin pack`"));
        }
        findings.extend(sums::check(contents));
        if contents.get(SUMS).is_none() {
            let message = "the hashes of the files are missing";
            findings.push(Finding::error(SUMS, message, "pack it with `talaia plugin pack`"));
        }
    }
    if let Some(manifest) = &manifest {
        programs(manifest, contents, &mut findings);
        if !contents.files().iter().any(|file| is_case(&file.path)) {
            let message = "there are no recorded cases";
            let help =
                "add one: `tests/NAME.toml` with `expect`, then `talaia plugin check --accept`";
            findings.push(Finding::warning("tests/", message, help));
        }
    }
    if contents.get("README.md").is_none() {
        findings.push(Finding::warning(
            "README.md",
            "there is no README",
            "say what it measures, and what its settings are",
        ));
    }
    let commands = manifest.iter().flat_map(|manifest| manifest.commands.values());
    let named: BTreeSet<&str> = commands
        .flat_map(|command| &command.argv)
        .map(|word| word.trim_start_matches("./"))
        .collect();
    for file in contents.files() {
        if is_case(&file.path)
            && let Err(error) = Case::read(file)
        {
            findings.push(Finding::error(&file.path, error.to_string(), "mend the case"));
        }
        if file.path != SUMS {
            findings.extend(secrets::scan(file));
        }
        let program = named.contains(file.path.as_str())
            || file.mode == FileMode::Executable
            || file.bytes.starts_with(b"#!");
        findings.extend(unreadable(file, program));
    }
    findings.sort_by_key(|finding| finding.weight);
    if findings.len() > MOST {
        findings.truncate(MOST);
        let message = format!("there is more than these {MOST} findings");
        findings.push(Finding::warning("", message, "mend these, and look again"));
    }
    let files = contents.files().iter().map(|file| FileSummary {
        path: file.path.clone(),
        size: file.bytes.len() as u64,
        executable: file.mode == FileMode::Executable,
        sha256: sha256(&file.bytes),
    });
    Inspection { summary: manifest.as_ref().map(summary), findings, files: files.collect() }
}

/// What keeps a reviewer from reading a file, or from reading what is really there.
fn unreadable(file: &PackageFile, program: bool) -> Option<Finding> {
    let text = std::str::from_utf8(&file.bytes).ok().filter(|text| !text.contains('\0'));
    let Some(text) = text else {
        let path = &file.path;
        return if file.bytes.starts_with(b"\x7fELF") {
            let message = "it is a compiled program: a reviewer cannot read what it does";
            Some(Finding::warning(path, message, "ship its source, if you can"))
        } else if program {
            let message = "it is a program, and no UTF-8 text: a reviewer cannot read what it does";
            Some(Finding::error(path, message, "save it as UTF-8, without anything behind it"))
        } else {
            None
        };
    };
    let (line, found) = text
        .lines()
        .enumerate()
        .find_map(|(n, line)| line.chars().find(|c| is_unseen(*c)).map(|c| (n + 1, c)))?;
    let message = format!(
        "`{}` stands here: it shows nothing, or turns round what is beside it",
        found.escape_unicode()
    );
    let weigh = if program { Finding::error } else { Finding::warning };
    Some(weigh(&file.path, message, "take out all such characters, or write escapes").at(line))
}

/// The manifest of a package, and what is wrong with it.
fn manifest(contents: &Contents, findings: &mut Vec<Finding>) -> Option<Manifest> {
    let Some(file) = contents.get(MANIFEST) else {
        let help = "`talaia new NAME` writes one to start from";
        findings.push(Finding::error(MANIFEST, "there is no manifest", help));
        return None;
    };
    let Ok(text) = std::str::from_utf8(&file.bytes) else {
        findings.push(Finding::error(MANIFEST, "it is not UTF-8", "save it as UTF-8"));
        return None;
    };
    let files = |path: &str| {
        let file = contents.get(path)?;
        Some(file.bytes[..file.bytes.len().min(MANIFEST_READS + 1)].to_vec())
    };
    let reading = Manifest::read(MANIFEST.into(), text, &files);
    for diagnostic in reading.diagnostics.into_iter().take(TOLD) {
        let help = diagnostic.help.clone().unwrap_or_default();
        let mut message = diagnostic.message.clone();
        if !diagnostic.label.is_empty() && !message.contains(&diagnostic.label) {
            message.push_str(": ");
            message.push_str(&diagnostic.label);
        }
        // Of a package that others install every metric is declared.
        let declares = message.contains("declares no metrics");
        let (path, line) = match &diagnostic.place {
            Some(place) => {
                let (path, line) = reading.sources.line(place);
                (path.to_string_lossy().into_owned(), Some(line))
            }
            None => (MANIFEST.to_owned(), None),
        };
        let finding = if diagnostic.severity == Severity::Error || declares {
            Finding::error(&path, message, help)
        } else {
            Finding::warning(&path, message, help)
        };
        findings.push(match line {
            Some(line) => finding.at(line),
            None => finding,
        });
    }
    reading.manifest
}

/// Whether the programs could start.
fn programs(manifest: &Manifest, contents: &Contents, findings: &mut Vec<Finding>) {
    let needs = &manifest.requires;
    let declared = |name: &str| {
        EVERYWHERE.contains(&name)
            || needs.interpreters.iter().chain(&needs.commands).any(|known| known == name)
    };
    let undeclared = |path: &str, name: &str| {
        let message = format!("it is run by `{name}`, which the manifest does not say is needed");
        let help = format!("add it: `[requires] interpreters = [\"{name}\"]`");
        Finding::warning(path, message, help)
    };
    for command in manifest.commands.values() {
        let Some(program) = &command.program else {
            if let Some(name) = command.argv.first().filter(|name| !declared(name)) {
                findings.push(undeclared(MANIFEST, name));
            }
            continue;
        };
        let Some(file) = contents.get(program) else { continue };
        if file.mode != FileMode::Executable {
            findings.push(Finding::error(
                program,
                "it is not executable",
                format!("chmod +x {program}"),
            ));
        }
        match first_line(file) {
            Ok(Some(name)) if !declared(&name) => findings.push(undeclared(program, &name)),
            Ok(_) => {}
            Err((message, help)) => findings.push(Finding::error(program, message, help).at(1)),
        }
    }
}

/// The name of the interpreter that a file asks for.
fn first_line(file: &PackageFile) -> Result<Option<String>, (String, String)> {
    let head = &file.bytes[..file.bytes.len().min(SHEBANG)];
    match shebang(head) {
        Ok(Runner::System) => Ok(None),
        Ok(Runner::Interpreter { path, command }) => {
            let name = command.unwrap_or(path);
            Ok(name.rsplit('/').next().map(str::to_owned))
        }
        Err(why) => Err((why.message(&file.path), why.help(&file.path))),
    }
}

fn summary(manifest: &Manifest) -> Summary {
    let needs = &manifest.requires;
    let commands = manifest.commands.iter().map(|(name, command)| CommandSummary {
        name: name.clone(),
        plugin: command.plugin.clone(),
        argv: command.argv.clone(),
        schedule: command.schedule.clone(),
        metrics: command
            .metrics
            .iter()
            .map(|(name, declared)| MetricSummary {
                name: name.clone(),
                kind: declared.kind.as_str().to_owned(),
                unit: declared.unit.clone(),
                label: declared.label.clone(),
            })
            .collect(),
    });
    Summary {
        name: manifest.name.clone(),
        version: manifest.version.clone(),
        description: manifest.description.clone(),
        authors: manifest.authors.clone(),
        license: manifest.license.clone(),
        category: manifest.category.as_str().to_owned(),
        homepage: manifest.homepage.clone(),
        platforms: manifest.platforms.clone(),
        requires: needs.interpreters.iter().chain(&needs.commands).cloned().collect(),
        commands: commands.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
name = "a"
version = "0.1.0"
description = "d"
authors = ["x"]
license = "MIT"
category = "other"
[commands.a]
command = ["run"]
metrics.n.type = "integer"
"#;

    fn look(manifest: &str, program: &str, mode: FileMode) -> String {
        let file = |path: &str, mode, text: &str| PackageFile {
            path: path.to_owned(),
            mode,
            bytes: text.as_bytes().to_vec(),
        };
        let contents = Contents::new(vec![
            file(MANIFEST, FileMode::Plain, manifest),
            file("run", mode, program),
            file("README.md", FileMode::Plain, "# a"),
            file("tests/a.toml", FileMode::Plain, "expect = 'tests/a.json'"),
        ])
        .unwrap();
        let found = inspect(&contents, None).findings;
        found.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn what_keeps_a_package_from_working_is_said_with_its_place() {
        let good = "#!/bin/sh\n";
        assert_eq!(look(GOOD, good, FileMode::Executable), "");
        assert_eq!(look(GOOD, good, FileMode::Plain), "run: it is not executable");
        let dos = look(GOOD, "#!/bin/sh\r\n", FileMode::Executable);
        assert!(dos.starts_with("run:1: ") && dos.contains("Windows"), "{dos}");
        let python = look(GOOD, "#!/usr/bin/env python3\n", FileMode::Executable);
        assert!(python.contains("run: it is run by `python3`"), "{python}");
        let hidden = look(GOOD, "#!/bin/sh\n# \u{202e}x\n", FileMode::Executable);
        assert_eq!(
            hidden,
            "run:2: `\\u{202e}` stands here: it shows nothing, or turns round what is beside it"
        );
        let undeclared = GOOD.replace("metrics.n.type = \"integer\"\n", "");
        let undeclared = look(&undeclared, good, FileMode::Executable);
        assert!(
            undeclared.contains("talaia-plugin.toml:8: the command `a` declares no"),
            "{undeclared}"
        );
        let unknown = look(&GOOD.replace("license", "licence"), good, FileMode::Executable);
        assert!(unknown.contains("talaia-plugin.toml:6: unknown key `licence`"), "{unknown}");
        let none = Contents::new(Vec::new()).unwrap();
        assert!(inspect(&none, None).has_errors());
    }

    #[test]
    fn what_a_reviewer_cannot_read_is_said() {
        let look = |path: &str, mode, bytes: &[u8]| {
            let file = PackageFile { path: path.to_owned(), mode, bytes: bytes.to_vec() };
            let manifest = GOOD.replace("\"run\"", "\"sh\", \"lib/run\"");
            let manifest = PackageFile {
                path: MANIFEST.to_owned(),
                mode: FileMode::Plain,
                bytes: manifest.into_bytes(),
            };
            let found = inspect(&Contents::new(vec![manifest, file]).unwrap(), None).findings;
            let mut own = found.into_iter().filter(|finding| finding.path == path);
            own.next().map(|finding| (finding.weight, finding.line, finding.message))
        };
        let (plain, runs) = (FileMode::Plain, FileMode::Executable);
        for (path, mode, bytes) in [
            ("lib/a", runs, &b"\xff\xfe"[..]),
            ("lib/a", plain, b"#!/bin/sh\nexit\n\xff"),
            ("lib/a", plain, b"#!/usr/bin/env python3\nPK\0"),
            ("lib/run", plain, b"\xe9"),
        ] {
            let (weight, _, message) = look(path, mode, bytes).unwrap();
            assert!(weight == Weight::Error && message.contains("no UTF-8"), "{message}");
        }
        assert_eq!(look("lib/a", plain, b"\xff"), None);
        let (weight, _, _) = look("lib/a", runs, b"\x7fELF\xff").unwrap();
        assert_eq!(weight, Weight::Warning);
        let text = "one\ntwo \u{200b}\n".as_bytes();
        let (weight, line, message) = look("lib/a", plain, text).unwrap();
        assert_eq!((weight, line), (Weight::Warning, Some(2)), "{message}");
        let (weight, line, message) = look("lib/run", plain, text).unwrap();
        assert_eq!((weight, line), (Weight::Error, Some(2)), "{message}");
    }
}
