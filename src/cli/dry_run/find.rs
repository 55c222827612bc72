//! Which plugin is meant: one of the configuration, or a program by its path.

use std::path::{Path, PathBuf};

use crate::agent::prepare::check_trust;
use crate::config::{Config, Env, Loaded, PluginConfig, PluginState, Scripts, Source};
use crate::model::{PluginName, chain};

use crate::cli::args::ConfigArgs;
use crate::cli::exit::{Exit, Failure};
use crate::cli::load::{self, Place};
use crate::cli::print;

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
        && let Some((loaded, file)) = around(config, env, place)?
        && let Some(plugin) = configured(&loaded.config, &wanted)
    {
        print::talk(format!("note: it is the plugin `{}` of {}", plugin.name, file.display()));
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

/// The configuration, where there is one. One that was named has to load; of another it is enough to
/// say that it does not.
fn around(
    args: &ConfigArgs,
    env: &Env,
    place: Place,
) -> Result<Option<(Loaded, PathBuf)>, Failure> {
    let named = args.config.is_some();
    let source = match load::source(args, env) {
        Ok(source) => source,
        Err(failure) if named => return Err(failure),
        Err(_) => return Ok(None),
    };
    let Source::File(file) = &source else { return Ok(None) };
    match load::load(&source, env, place) {
        Ok(loaded) => Ok(Some((loaded, file.clone()))),
        Err(failure) if named => Err(failure),
        Err(_) => {
            let file = file.display();
            print::talk(format!("note: tried without {file}, which does not load: `talaia check`"));
            Ok(None)
        }
    }
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
