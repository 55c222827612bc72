//! The config as it is, as it is to become, and the agent that runs by it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use reqwest::Method;

use crate::agent::reload::Changes;
use crate::config::{
    self, Config, DROP_INS, Edits, Env, InstalledPackage, Loaded, Origin, PluginState, Source,
};
use crate::exec::trust::{self, Untrusted};
use crate::model::{PackageName, PluginName, chain};
use crate::package::{self, Store};

use super::super::args::ConfigArgs;
use super::super::client;
use super::super::exit::{Exit, Failure};
use super::super::load;
use super::super::print::{self, BAD, GOOD, ODD, paint};

/// A config whose packages are looked at or changed.
pub(super) struct Host {
    pub(super) source: Source,
    pub(super) env: Env,
    pub(super) config: Config,
    /// Where its plugins are defined.
    pub(super) origins: BTreeMap<PluginName, Origin>,
}

impl Host {
    /// Loads the config as it is.
    pub(super) fn load(args: &ConfigArgs) -> Result<Self, Failure> {
        let env = Env::system();
        let source = load::source(args, &env)?;
        let Loaded { config, origins, .. } = load::load(&source, &env, load::Place::Production)?;
        Ok(Self { source, env, config, origins })
    }

    /// The config as an edit of its main file would mend it, with that file's text before and after;
    /// nothing where it would not load even so.
    pub(super) fn mended(
        args: &ConfigArgs,
        edit: impl FnOnce(&str) -> Option<String>,
    ) -> Result<Option<(Self, String, String)>, Failure> {
        let env = Env::system();
        let source = load::source(args, &env)?;
        let Source::File(path) = &source else { return Ok(None) };
        let Some(was) = read(path)? else { return Ok(None) };
        let Some(text) = edit(&was) else { return Ok(None) };
        let edits = Edits::from([(path.clone(), Some(text.clone()))]);
        let Ok(loaded) = config::load_edited(&source, &edits, &env) else { return Ok(None) };
        load::trusted(&loaded)?;
        let Loaded { config, origins, .. } = loaded;
        Ok(Some((Self { source, env, config, origins }, was, text)))
    }

    /// The config as a new one begins, where there is none yet at the path that this gives.
    pub(super) fn begin(args: &ConfigArgs) -> Result<Option<(Self, PathBuf)>, Failure> {
        let env = Env::system();
        let Some(path) = load::path(args, &env).filter(|path| !path.exists()) else {
            return Ok(None);
        };
        let source = Source::File(path.clone());
        let edits = Edits::from([(path.clone(), Some(config::DEFAULT.to_owned()))]);
        let Loaded { config, origins, .. } = config::load_edited(&source, &edits, &env)
            .map_err(|errors| Failure::new(Exit::Config, errors.render(load::color())))?;
        Ok(Some((Self { source, env, config, origins }, path)))
    }

    /// The main file.
    pub(super) fn main_file(&self) -> PathBuf {
        match &self.source {
            Source::File(path) => path.clone(),
            Source::Text { .. } | Source::Scripts(_) => PathBuf::new(),
        }
    }

    /// The same, with the packages locked, so that nobody else changes them from here on.
    pub(super) fn locked(args: &ConfigArgs) -> Result<(Self, Store), Failure> {
        let first = Self::load(args)?;
        let folder = first.data_dir();
        // What is done here is done in a folder of whoever does it, or somebody else's links lead astray.
        trust::check_data_dir(folder, &[]).map_err(|error| {
            let text = match &error {
                Untrusted::DataOwner { owner, .. } => first.as_its_owner(owner),
                _ => chain(&error),
            };
            Failure::new(Exit::Config, text)
        })?;
        let store = Store::change(first.data_dir()).map_err(|e| super::source::disk(&e))?;
        // Somebody may have been at it between the two.
        Ok((Self::load(args)?, store))
    }

    /// How to do it as the user that the agent's folder is of. That user's own defaults are others
    /// than those of whoever asked, so both places are named.
    fn as_its_owner(&self, owner: &str) -> String {
        let mut command = format!("sudo -u {owner} env");
        if let (Some("talaia"), Some(parent)) =
            (self.data_dir().file_name().and_then(|name| name.to_str()), self.data_dir().parent())
        {
            command += &format!(" XDG_STATE_HOME={}", parent.display());
        }
        if let Source::File(path) = &self.source {
            command += &format!(" TALAIA_CONFIG_FILE={}", path.display());
        }
        format!(
            "the agent's folder {} is of the user {owner}: do this as that user\n\n\
             hint: install -d -o {owner} {}\n      {command} talaia plugin …",
            self.data_dir().display(),
            self.drop_ins().display()
        )
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
        self.drop_ins().join(format!("{name}.toml"))
    }

    fn drop_ins(&self) -> PathBuf {
        let Source::File(path) = &self.source else { return PathBuf::new() };
        path.with_file_name(DROP_INS)
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

    /// Changes one file of the config, and has a running agent take it up. Where that agent refuses it,
    /// the file is as it was, unless somebody else changed it meanwhile. Where the agent says nothing,
    /// it may take the file up yet: that stays changed.
    pub(super) fn change(&self, path: &Path, text: Option<&str>) -> Result<(), Unchanged> {
        let untouched = |failure| Unchanged { failure, settled: true };
        let unsettled =
            |exit, text| Unchanged { failure: Failure::new(exit, text), settled: false };
        let running = client::is_running(self.data_dir()).map_err(untouched)?;
        let before = read(path).map_err(untouched)?;
        write(path, text).map_err(untouched)?;
        if !running {
            if !self.tell_sandbox() {
                print::talk("no agent is running; it is taken up when one starts");
            }
            return Ok(());
        }
        let Failure { exit, text: why, .. } =
            match client::ask(self.data_dir(), Method::POST, "/v1/reload") {
                Ok(body) => {
                    say(&body);
                    self.tell_sandbox();
                    return Ok(());
                }
                Err(failure) => failure,
            };
        let file = path.display();
        if exit != Exit::Config {
            let done = if text.is_some() { "written" } else { "removed" };
            let text = format!(
                "{file} is {done}, but the running agent has not said that it took it up: {why}\n\n\
                 hint: `talaia reload` once it answers"
            );
            return Err(unsettled(exit, text));
        }
        let refused = format!("the running agent does not take it: {why}");
        // What somebody else wrote in between is not ours to take back.
        if read(path).ok().as_ref().map(Option::as_deref) != Some(text) {
            let text = format!(
                "{refused}\n{file} was changed by somebody else meanwhile and stays as it is now; the agent \
                 goes on with the configuration that it has\n\n\
                 hint: look at {file}, then `talaia check` and `talaia reload`"
            );
            return Err(unsettled(exit, text));
        }
        write(path, before.as_deref()).map_err(|Failure { exit, text, .. }| {
            let text = format!("{refused}\n{file} could not be put back as it was: {text}");
            unsettled(exit, text)
        })?;
        Err(untouched(Failure::new(exit, format!("{refused}\nnothing was changed"))))
    }
}

impl Host {
    /// Has an agent in the sandbox, which runs by the same config, take it up as well. Whether there
    /// is one; what it says to it is its own affair.
    fn tell_sandbox(&self) -> bool {
        let folder = self.data_dir().join("sandbox");
        let running = client::is_running(&folder).unwrap_or(false);
        if running {
            match client::ask(&folder, Method::POST, "/v1/reload") {
                Ok(body) => say(&body),
                Err(failure) => print::talk(format!("in the sandbox: {}", failure.text)),
            }
        }
        running
    }
}

/// Why a change is not in use.
pub(super) struct Unchanged {
    pub(super) failure: Failure,
    /// Whether the file is as it was, and nobody uses the new one.
    pub(super) settled: bool,
}

/// Says what a reload changed; an answer that cannot be read is one of another version.
fn say(body: &[u8]) {
    let Ok(changes) = super::super::running::parse::<Changes>(body) else { return };
    for (word, names) in [
        ("added", &changes.plugins.added),
        ("changed", &changes.plugins.changed),
        ("removed", &changes.plugins.removed),
    ] {
        if !names.is_empty() {
            print::talk(format!("the running agent has {word} {}", names.join(", ")));
        }
    }
}

/// The text of a file; nothing where there is none.
pub(super) fn read(path: &Path) -> Result<Option<String>, Failure> {
    match config::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Failure::new(Exit::Disk, format!("cannot read {}: {e}", path.display()))),
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
                package::sweep_beside(path).map_err(failed)?;
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
