//! The config as it is, as it is to become, and the agent that runs by it.

use std::path::{Path, PathBuf};

use reqwest::Method;

use crate::agent::reload::Changes;
use crate::config::{
    self, Config, DROP_INS, Edits, Env, InstalledPackage, Loaded, PluginState, Source,
};
use crate::model::{PackageName, PluginName};
use crate::package::{self, Store};

use super::super::args::ConfigArgs;
use super::super::client;
use super::super::exit::{Exit, Failure};
use super::super::load;
use super::super::print::{self, BAD, GOOD, ODD, paint};

/// A config whose packages are looked at or changed.
pub(super) struct Host {
    source: Source,
    env: Env,
    pub(super) config: Config,
}

impl Host {
    /// Loads the config as it is.
    pub(super) fn load(args: &ConfigArgs) -> Result<Self, Failure> {
        let env = Env::system();
        let source = load::source(args, &env)?;
        let loaded = load::load(&source, &env, load::Place::Production)?;
        Ok(Self { source, env, config: loaded.config })
    }

    /// The same, with the packages locked, so that nobody else changes them from here on.
    pub(super) fn locked(args: &ConfigArgs) -> Result<(Self, Store), Failure> {
        let first = Self::load(args)?;
        let store = Store::change(first.data_dir()).map_err(|e| super::source::disk(&e))?;
        // Somebody may have been at it between the two.
        Ok((Self::load(args)?, store))
    }

    /// The folder of the agent's data.
    pub(super) fn data_dir(&self) -> &Path {
        &self.config.agent.data_dir
    }

    /// The package in use.
    pub(super) fn package(&self, name: &PackageName) -> Result<&InstalledPackage, Failure> {
        self.config.packages.get(name).ok_or_else(|| {
            let names: Vec<&str> = self.config.packages.keys().map(PackageName::as_str).collect();
            let there = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            Failure::new(
                Exit::Usage,
                format!("the package {name} is not installed; there is {there}"),
            )
        })
    }

    /// Where the drop-in of a package is, or is to be.
    pub(super) fn drop_in(&self, name: &PackageName) -> PathBuf {
        let Source::File(path) = &self.source else { return PathBuf::new() };
        path.with_file_name(DROP_INS).join(format!("{name}.toml"))
    }

    /// The config as it would be with one file changed; refused where it would not load.
    pub(super) fn tried(&self, path: &Path, text: Option<&str>) -> Result<Loaded, Failure> {
        let edits = Edits::from([(path.to_owned(), text.map(str::to_owned))]);
        config::load_edited(&self.source, &edits, &self.env).map_err(|errors| {
            let text = format!(
                "{}\nwith this the configuration would not load; nothing was changed",
                errors.render(load::color()).trim_end()
            );
            Failure::new(Exit::Config, text)
        })
    }

    /// Changes one file of the config, and has a running agent take it up. Where that agent does not,
    /// the file is as it was.
    pub(super) fn change(&self, path: &Path, text: Option<&str>) -> Result<(), Failure> {
        let before = std::fs::read_to_string(path).ok();
        write(path, text)?;
        if !crate::agent::admin::socket_path(self.data_dir()).exists() {
            print::talk("no agent is running; it is taken up when one starts");
            return Ok(());
        }
        match client::ask(self.data_dir(), Method::POST, "/v1/reload") {
            Ok(body) => {
                let changes: Changes = super::super::running::parse(&body)?;
                for (word, names) in [
                    ("added", &changes.plugins.added),
                    ("changed", &changes.plugins.changed),
                    ("removed", &changes.plugins.removed),
                ] {
                    if !names.is_empty() {
                        print::talk(format!("the running agent has {word} {}", names.join(", ")));
                    }
                }
                Ok(())
            }
            // A socket that an agent left which was killed.
            Err(failure) if failure.exit == Exit::Unreachable => {
                print::talk("no agent answers; it is taken up when one starts");
                Ok(())
            }
            Err(failure) => {
                write(path, before.as_deref())?;
                let text = format!(
                    "the running agent does not take it: {}\nnothing was changed",
                    failure.text
                );
                Err(Failure::new(Exit::Config, text))
            }
        }
    }
}

/// Writes a file of the config, or removes it.
fn write(path: &Path, text: Option<&str>) -> Result<(), Failure> {
    let failed = |e: std::io::Error| {
        Failure::new(Exit::Disk, format!("cannot write {}: {e}", path.display()))
    };
    match text {
        Some(text) => {
            if let Some(folder) = path.parent() {
                package::make_folder(folder).map_err(failed)?;
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                package::sweep(folder, &format!(".{name}.")).map_err(failed)?;
            }
            package::replace(path, text.as_bytes(), 0o644).map_err(failed)
        }
        None => match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed(error)),
            _ => Ok(()),
        },
    }
}

/// Says what the plugins of a package are, and what keeps any of them from running.
pub(super) fn show(loaded: &Loaded, name: &PackageName) -> Vec<String> {
    let Some(manifest) = loaded.config.packages.get(name).and_then(|p| p.manifest.as_ref()) else {
        return Vec::new();
    };
    let own = |plugin: &PluginName| manifest.commands.values().any(|c| c.plugin == *plugin);
    let plugins = loaded.config.plugins.values().filter(|plugin| own(&plugin.name));
    plugins
        .map(|plugin| {
            let state = match &plugin.state {
                PluginState::Ready => paint(GOOD, "ready"),
                PluginState::Disabled => paint(ODD, "disabled"),
                PluginState::Skipped { why } => paint(ODD, format!("skipped: {why}")),
                PluginState::Broken { why } => paint(BAD, why),
            };
            format!("  {}  {state}", plugin.name)
        })
        .collect()
}
