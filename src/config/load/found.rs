//! Plugins that are found as files: on the command line, and in folders of plugins.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::super::agent::AgentConfig;
use super::super::diagnostic::Diagnostic;
use super::super::files::{is_program, list};
use super::super::manifest::MANIFEST;
use super::super::node::Place;
use super::super::packages;
use super::super::raw::RawPlugin;
use super::super::read::{At, Span};
use super::super::resolve_plugin::{Definition, normal};
use super::super::values::RawCommand;
use super::{Loading, Scripts};
use crate::model::{PluginName, nearest_name};

impl Loading<'_> {
    pub(super) fn scripts(&mut self, scripts: &Scripts, agent: &AgentConfig) {
        let every = scripts.every.map(|every| {
            let text = format!("--every {}", humantime::format_duration(every));
            let span = 0..text.len();
            let file = self.cx.sources.add(self.cx.env.cwd.join("command line"), &text);
            At { value: Span(every), place: Place { file, span } }
        });
        for path in &scripts.paths {
            let full = normal(&self.cx.env.cwd.join(path));
            if full.join(MANIFEST).is_file() {
                for mut def in packages::unpacked(&full, agent, &mut self.files, &mut self.cx) {
                    on_command_line(&mut def, &scripts.args, every.as_ref());
                    self.define(def);
                }
                continue;
            }
            if !full.is_file() {
                let what = if full.is_dir() { "is a folder" } else { "does not exist" };
                self.cx.found.push(
                    Diagnostic::error(format!("`{}` {what}", path.display()))
                        .help("name the executable of a plugin, such as `./disk.sh`"),
                );
                continue;
            }
            let Some(mut def) = self.found_as(&full, agent) else { continue };
            on_command_line(&mut def, &scripts.args, every.as_ref());
            self.define(def);
        }
    }

    /// The plugin that an executable is, with what is beside it.
    fn found_as(&mut self, executable: &Path, agent: &AgentConfig) -> Option<Definition> {
        // A program may lie in a folder of its package.
        for folder in executable.ancestors().skip(1).take(2) {
            if folder.join(MANIFEST).is_file() {
                let plugins = packages::unpacked(folder, agent, &mut self.files, &mut self.cx);
                let own = plugins
                    .into_iter()
                    .find(|def| self.program(def).as_deref() == Some(executable));
                if own.is_some() {
                    return own;
                }
            }
        }
        let stem = executable.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let name = nearest_name(&stem).parse::<PluginName>().ok()?;
        let beside = |suffix: &str| executable.with_file_name(format!("{stem}{suffix}"));
        let sidecar = beside(".toml");
        let schema = Some(beside(".schema.json")).filter(|path| path.is_file());
        let there = match self.edits.get(&sidecar) {
            Some(edited) => edited.is_some(),
            None => sidecar.is_file(),
        };
        let (raw, place) = if there {
            let text = match self.text(&sidecar) {
                Ok(text) => text,
                Err(diagnostic) => {
                    self.cx.found.push(diagnostic);
                    return None;
                }
            };
            self.files.push(sidecar.clone());
            let at = self.parse::<RawPlugin>(sidecar.clone(), text)?;
            (at.value, Place { file: at.place.file, span: 0..0 })
        } else {
            // So that messages have a path to show; there is no line to show.
            let file = self.cx.sources.add(executable.to_path_buf(), "");
            (RawPlugin::default(), Place { file, span: 0..0 })
        };
        let executable = Some(executable.to_path_buf());
        Some(Definition { executable, sidecar: there, schema, ..Definition::new(name, raw, place) })
    }

    /// The plugins in one of the agent's folders.
    pub(super) fn folder(
        &mut self,
        folder: &At<String>,
        named: &HashSet<PathBuf>,
        agent: &AgentConfig,
    ) {
        let path = normal(&self.cx.path(folder));
        let entries = match list(&path) {
            Ok(entries) => entries,
            Err(e) => {
                let message = format!("cannot list the plugin folder `{}`: {e}", path.display());
                return self.cx.error(message, &folder.place);
            }
        };
        for entry in entries {
            let entry = if entry.join(MANIFEST).is_file() {
                for def in packages::unpacked(&entry, agent, &mut self.files, &mut self.cx) {
                    self.define(def);
                }
                continue;
            } else if entry.is_dir() {
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
                && let Some(def) = self.found_as(&entry, agent)
            {
                self.define(def);
            }
        }
    }

    /// The files that plugins already defined run; found in a folder, they are no second plugin.
    pub(super) fn named(&self) -> HashSet<PathBuf> {
        let mut files = HashSet::new();
        for plugin in self.plugins.values() {
            if let Some(At { value: RawCommand::Argv(argv), .. }) = &plugin.raw.command {
                let base = self.cx.base(&plugin.place);
                files.extend(argv.iter().map(|word| normal(&base.join(&word.value))));
            }
        }
        files
    }

    /// The file that a plugin's command begins with.
    fn program(&self, def: &Definition) -> Option<PathBuf> {
        let At { value: RawCommand::Argv(argv), .. } = def.raw.command.as_ref()? else {
            return None;
        };
        let base = self.cx.base(&def.place);
        argv.first().map(|word| normal(&base.join(&word.value)))
    }
}

/// Arguments and interval of the command line in place of any other.
fn on_command_line(def: &mut Definition, args: &[String], every: Option<&At<Span>>) {
    args.clone_into(&mut def.args);
    if let Some(every) = every {
        def.raw.interval = Some(every.clone());
        def.raw.cron = None;
        def.raw.timezone = None;
        def.raw.align = None;
    }
}
