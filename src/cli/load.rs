//! Loading the configuration, for all commands that need one.

use std::path::{Path, PathBuf};

use crate::config::{self, Color, Config, Diagnostic, Env, HubConfig, Loaded, Source};
use crate::exec::trust;

use crate::model::chain;

use super::args::ConfigArgs;
use super::exit::{Exit, Failure};
use super::print;

/// What to load: a file, or scripts on the command line.
pub(crate) fn source(args: &ConfigArgs, env: &Env) -> Result<Source, Failure> {
    if let Some(path) = named(args, env) {
        return Ok(Source::File(path));
    }
    let path = env.default_config_path().ok_or_else(|| {
        Failure::new(Exit::Config, "neither HOME nor XDG_CONFIG_HOME is set: use --config FILE")
    })?;
    if !path.exists() {
        let text = format!(
            "there is no configuration at {}\n\nhint: `talaia run ./script.sh --every 5s` needs none; \
             `--config FILE` names another",
            path.display()
        );
        return Err(Failure::new(Exit::Config, text));
    }
    Ok(Source::File(path))
}

/// The file that is meant, whether it is there or not.
pub(crate) fn path(args: &ConfigArgs, env: &Env) -> Option<PathBuf> {
    named(args, env).or_else(|| env.default_config_path())
}

/// The file that somebody named. Not clap's business: the variable is a default for those commands
/// that need a file, and must not be in the way of `talaia run SCRIPT`.
fn named(args: &ConfigArgs, env: &Env) -> Option<PathBuf> {
    let path = args.config.clone().or_else(|| env.var("TALAIA_CONFIG_FILE").map(PathBuf::from))?;
    Some(env.cwd.join(path))
}

/// Loads, checks who may write to the files it came from, and turns it to the sandbox if asked.
pub(crate) fn load(source: &Source, env: &Env, place: Place) -> Result<Loaded, Failure> {
    let mut loaded = config::load(source, env).map_err(|errors| {
        let count = errors.count();
        let text = format!(
            "{}\n{} in the configuration",
            errors.render(color()).trim_end(),
            print::count(count as u64, "error")
        );
        Failure::new(Exit::Config, text)
    })?;
    trusted(&loaded)?;
    if place == Place::Sandbox {
        into_sandbox(&mut loaded.config);
    }
    Ok(loaded)
}

/// Checks who may write to the files that a config came from.
pub(crate) fn trusted(loaded: &Loaded) -> Result<(), Failure> {
    let owners =
        crate::agent::prepare::owner_ids(&loaded.config.agent.trusted_owners).unwrap_or_default();
    for file in &loaded.files {
        trust::check_path(file, &owners).map_err(|error| {
            let text = format!("the configuration is not trusted: {}", chain(&error));
            Failure::new(Exit::Config, text)
        })?;
    }
    Ok(())
}

/// Where an agent keeps its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Production,
    Sandbox,
}

impl From<&ConfigArgs> for Place {
    fn from(args: &ConfigArgs) -> Self {
        if args.sandbox { Self::Sandbox } else { Self::Production }
    }
}

/// A sandbox has a folder, a spool, a hub and keys of its own: it never
/// touches what production has on disk or delivers to. What outputs it has are those that its profile
/// names.
fn into_sandbox(config: &mut Config) {
    config.agent.data_dir = config.agent.data_dir.join("sandbox");
    let own = config.profiles.get(config::SANDBOX).and_then(|profile| profile.outputs.clone());
    config.outputs.retain(|name, _| own.as_ref().is_some_and(|own| own.contains(name)));
    let HubConfig { enabled, listen, .. } = &mut config.hub;
    *enabled = true;
    // Beside the production hub's port, so that both can run.
    listen.set_port(sandbox_port(listen.port()));
}

/// The port of a sandbox's hub whose production listens at `port`.
pub(crate) fn sandbox_port(port: u16) -> u16 {
    port.saturating_add(u16::from(port != 0))
}

/// What the config says of the hub, where there is one. With a data folder of its own, a hub is not
/// the agent's, and only a config that was named counts.
#[cfg(feature = "hub")]
pub(crate) fn hub(
    args: &super::args::HubDataArgs,
    env: &Env,
) -> Result<Option<HubConfig>, Failure> {
    if args.data_dir.is_some() && args.config.is_none() {
        return Ok(None);
    }
    let config = ConfigArgs { config: args.config.clone(), sandbox: args.sandbox };
    let path = match source(&config, env) {
        Ok(Source::File(path)) => path,
        Err(failure) if named(&config, env).is_some() => return Err(failure),
        _ => return Ok(None),
    };
    config::hub(&path, env)
        .map(Some)
        .map_err(|errors| Failure::new(Exit::Config, errors.render(color()).trim_end()))
}

/// Leaves only the outputs that the profile of this name has, where it says which.
pub(crate) fn into_profile(config: &mut Config, name: &str) -> Result<(), Failure> {
    let Some(profile) = config.profiles.get(name) else {
        if name == config::PRODUCTION {
            return Ok(());
        }
        let names = config.profiles.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let text = format!(
            "there is no profile `{name}`; besides sandbox and production the config has {}",
            if names.is_empty() { "none" } else { &names }
        );
        return Err(Failure::new(Exit::Usage, text));
    };
    if let Some(outputs) = &profile.outputs {
        config.outputs.retain(|name, _| outputs.contains(name));
    }
    Ok(())
}

/// The data folder that a command which talks to the running agent means. Only that one setting is
/// read: an agent whose configuration no longer loads must still be seen and stopped.
pub(crate) fn data_dir(args: &ConfigArgs) -> Result<PathBuf, Failure> {
    let env = Env::system();
    let default = env.default_data_dir();
    let folder = match source(args, &env) {
        Ok(Source::File(path)) => written_data_dir(&path)?.or(default),
        Ok(Source::Text { .. } | Source::Scripts(_)) => default,
        // Without a configuration there may be an agent all the same, started for a script.
        Err(_) if named(args, &env).is_none() => default,
        Err(failure) => return Err(failure),
    };
    let folder = folder.ok_or_else(|| {
        Failure::new(Exit::Config, "neither HOME nor XDG_STATE_HOME is set: use --config FILE")
    })?;
    Ok(match Place::from(args) {
        Place::Production => folder,
        Place::Sandbox => folder.join("sandbox"),
    })
}

/// `[agent] data_dir` of a config file, relative to the file's folder; `None` where it says none.
fn written_data_dir(path: &Path) -> Result<Option<PathBuf>, Failure> {
    let text = config::read_to_string(path).map_err(|error| {
        Failure::new(Exit::Config, format!("cannot read {}: {error}", path.display()))
    })?;
    let unreadable = |why: String| {
        let text = format!("{} cannot be read: {why}; see `talaia check`", path.display());
        Failure::new(Exit::Config, text)
    };
    let json = path.extension().is_some_and(|extension| extension == "json");
    let tree: serde_json::Value = if json {
        serde_json::from_str(&text).map_err(|e| unreadable(e.to_string()))?
    } else {
        toml::from_str(&text).map_err(|e| unreadable(e.message().to_owned()))?
    };
    let written = tree.pointer("/agent/data_dir").and_then(|dir| dir.as_str());
    let base = path.parent().unwrap_or(Path::new("/"));
    Ok(written.map(|dir| base.join(dir)))
}

/// The hub's folder under the agent's.
pub(crate) fn hub_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("hub")
}

/// What a load has to say besides its result, one line each on stderr.
pub(crate) fn say(loaded: &Loaded) {
    let line = |style, word: &str, diagnostic: &Diagnostic| {
        print::talk(format!(
            "{} {}",
            print::paint(style, word),
            loaded.sources.one_line(diagnostic)
        ));
    };
    for diagnostic in &loaded.warnings {
        line(print::ODD, "warning:", diagnostic);
    }
    for diagnostic in &loaded.problems {
        line(print::BAD, "problem:", diagnostic);
    }
}

/// Colour where a person reads.
pub(crate) fn color() -> Color {
    if print::a_person_reads_stderr() { Color::Always } else { Color::Never }
}
