//! Loading the configuration, for all commands that need one.

use std::path::{Path, PathBuf};

use crate::config::{self, Color, Config, Diagnostic, Env, HubConfig, Loaded, Source};
use crate::exec::trust;

use super::args::ConfigArgs;
use super::exit::{Exit, Failure, chain};
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
    let owners =
        crate::agent::prepare::owner_ids(&loaded.config.agent.trusted_owners).unwrap_or_default();
    for file in &loaded.files {
        trust::check_path(file, &owners).map_err(|error| {
            let text = format!("the configuration is not trusted: {}", chain(&error));
            Failure::new(Exit::Config, text)
        })?;
    }
    if place == Place::Sandbox {
        into_sandbox(&mut loaded.config);
    }
    Ok(loaded)
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

/// A sandbox has a folder, a spool, a hub and keys of its own, and no other output: it never
/// touches what production has on disk or delivers to.
fn into_sandbox(config: &mut Config) {
    config.agent.data_dir = config.agent.data_dir.join("sandbox");
    config.outputs.clear();
    let HubConfig { enabled, listen, .. } = &mut config.hub;
    *enabled = true;
    // Beside the production hub's port, so that both can run.
    listen.set_port(listen.port().saturating_add(u16::from(listen.port() != 0)));
}

/// The data folder that a command which talks to the running agent means.
pub(crate) fn data_dir(args: &ConfigArgs) -> Result<PathBuf, Failure> {
    let env = Env::system();
    let data_dir = match source(args, &env) {
        Ok(source) => load(&source, &env, Place::from(args))?.config.agent.data_dir,
        // Without a configuration there may be an agent all the same, started for a script.
        Err(failure) if named(args, &env).is_none() => {
            let folder = env.default_data_dir().ok_or(failure)?;
            match Place::from(args) {
                Place::Production => folder,
                Place::Sandbox => folder.join("sandbox"),
            }
        }
        Err(failure) => return Err(failure),
    };
    Ok(data_dir)
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
