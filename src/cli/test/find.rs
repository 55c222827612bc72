//! Which plugin is meant: one of the configuration, or a program by its path.

use std::path::{Path, PathBuf};

use crate::agent::prepare::check_trust;
use crate::config::{Config, Env, Loaded, PluginConfig, PluginState, Scripts, Source};
use crate::model::{PluginName, chain};

use crate::cli::args::ConfigArgs;
use crate::cli::exit::{Exit, Failure};
use crate::cli::load::{self, Place};

/// A plugin and what it comes from.
pub(crate) struct Found {
    pub(crate) config: Config,
    pub(crate) plugin: PluginConfig,
    /// The files of the configuration.
    pub(crate) files: Vec<PathBuf>,
}

/// Finds `target`; `args` are for a program given by its path.
pub(crate) fn find(
    target: &str,
    args: &[String],
    config: &ConfigArgs,
    env: &Env,
) -> Result<Found, Failure> {
    let place = Place::from(config);
    if !target.contains('/') {
        if !args.is_empty() {
            let text =
                "arguments are for a program given by its path; a plugin of the config has its own";
            return Err(Failure::new(Exit::Usage, text));
        }
        let source = load::source(config, env).map_err(|mut failure| {
            failure.text.push_str(&format!("\nhint: for the file `{target}` write `./{target}`"));
            failure
        })?;
        let loaded = load::load(&source, env, place)?;
        let named = loaded.config.plugins.values().find(|plugin| plugin.name.as_str() == target);
        return match named.cloned() {
            Some(plugin) => Ok(found(loaded, plugin)),
            None => Err(unknown(target, &loaded.config)),
        };
    }
    // A program that the configuration already runs is tested as configured.
    let wanted = env.cwd.join(target);
    if args.is_empty()
        && let Ok(source) = load::source(config, env)
        && let Ok(loaded) = load::load(&source, env, place)
        && let Some(plugin) = configured(&loaded.config, &wanted)
    {
        return Ok(found(loaded, plugin));
    }
    let scripts = Scripts {
        config: None,
        paths: vec![PathBuf::from(target)],
        every: None,
        args: args.to_vec(),
    };
    let loaded = load::load(&Source::Scripts(scripts), env, place)?;
    let plugin = loaded.config.plugins.values().next().cloned();
    let plugin = plugin.ok_or_else(|| Failure::new(Exit::Usage, "there is no such program"))?;
    if let PluginState::Ready = plugin.state
        && let Err(error) = check_trust(&plugin, &[])
    {
        let text = format!("{}: not run: {}", plugin.name, chain(&error));
        return Err(Failure::new(Exit::Finding, text));
    }
    Ok(found(loaded, plugin))
}

fn found(loaded: Loaded, plugin: PluginConfig) -> Found {
    Found { config: loaded.config, plugin, files: loaded.files }
}

fn unknown(target: &str, config: &Config) -> Failure {
    let names: Vec<&str> = config.plugins.keys().map(PluginName::as_str).collect();
    let text = format!(
        "there is no plugin `{target}`; there are {}\n\nhint: a path to a program contains a `/`",
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    );
    Failure::new(Exit::Usage, text)
}

fn configured(config: &Config, program: &Path) -> Option<PluginConfig> {
    let program = program.canonicalize().ok()?;
    config
        .plugins
        .values()
        .find(|plugin| plugin.command.program.canonicalize().is_ok_and(|path| path == program))
        .cloned()
}
