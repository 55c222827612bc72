use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};

use crate::agent::prepare::{check_trust, owner_ids};
use crate::agent::trial::{Scratch, Trial, TrialError, Trials};
use crate::config::{Config, Env, Mode, PluginConfig, PluginState, Scripts, Source};
use crate::model::{Outcome, PluginName, WarningCode, chain};

use super::args::TestArgs;
use super::exit::{Exit, Failure};
use super::load::{self, Place};
use super::{print, report};

/// Runs a plugin as the agent would and shows what becomes of every record.
pub(crate) fn run(args: &TestArgs) -> Result<Exit, Failure> {
    let env = Env::system();
    let (config, plugin) = find(args, &env)?;
    if let PluginState::Broken { why } = &plugin.state {
        return Err(Failure::new(Exit::Finding, format!("{}: {why}", plugin.name)));
    }
    if let PluginState::Skipped { why } = &plugin.state {
        print::talk(format!("note: the agent would not run it here: {why}"));
    }
    let owners = owner_ids(&config.agent.trusted_owners).map_err(|names| {
        let text = format!("`trusted_owners` names users that do not exist: {}", names.join(", "));
        Failure::new(Exit::Config, text)
    })?;
    // Orphans of the run are inherited and ended, as by the agent.
    if let Err(error) = crate::exec::become_subreaper() {
        print::talk(format!("note: processes that the plugin detaches are not followed: {error}"));
    }
    let temp = env.var("TMPDIR").map_or_else(|| PathBuf::from("/tmp"), PathBuf::from);
    let scratch = Scratch::new(&temp)
        .map_err(|e| Failure::new(Exit::Disk, format!("no folder in {}: {e}", temp.display())))?;
    let mut trials = Trials::new(&plugin, &config, &owners, scratch).map_err(|e| {
        let exit = match e {
            // As the service would: the plugin does not run.
            TrialError::Confine(_) => Exit::Finding,
            _ => Exit::Config,
        };
        Failure::from_error(exit, &e)
    })?;
    for note in trials.notes() {
        print::talk(format!("note: {note}"));
    }
    stop_on_signal(trials.stopper());
    if plugin.mode != Mode::Interval {
        return watch(args, &plugin, &mut trials);
    }
    let mut exit = Exit::Ok;
    for n in 1..=args.times {
        let trial = trials.run().map_err(|e| Failure::from_error(Exit::Internal, &e))?;
        if !report::is_clean(&trial.report) {
            exit = Exit::Finding;
        }
        let stopped = trial.report.outcome == Outcome::Stopped;
        if show(args, n, &trial)? == Reader::Gone || stopped {
            break;
        }
    }
    Ok(exit)
}

/// Starts a long-lived plugin, shows as many of its reports as are wanted, and stops it.
fn watch(args: &TestArgs, plugin: &PluginConfig, trials: &mut Trials) -> Result<Exit, Failure> {
    let ticks = matches!(plugin.mode, Mode::Tick { .. });
    let until = Instant::now() + args.wait;
    // An answer that does not come is reported at its deadline and when the plugin is dead.
    let slack = plugin.timeout + plugin.grace + Duration::from_secs(5);
    let mut exit = Exit::Ok;
    let (mut shown, mut left, mut alive) = (0, args.times, true);
    while left > 0 && alive {
        let patience = if ticks { slack } else { until.saturating_duration_since(Instant::now()) };
        let Some(trial) = trials.next(patience) else {
            if shown == 0 {
                print::talk(format!(
                    "{} it printed nothing in {}; probably its output is buffered: {}",
                    print::paint(print::BAD, "silent"),
                    print::seconds(args.wait.as_secs_f64()),
                    trials.buffering()
                ));
                exit = Exit::Finding;
            }
            break;
        };
        alive = trial.report.outcome == Outcome::Answered;
        // It is not meant to end: the agent would start it again.
        if !alive || !report::is_clean(&trial.report) {
            exit = Exit::Finding;
        }
        let unasked =
            trial.report.warnings.iter().any(|warning| WarningCode::Unasked.is_of(warning));
        if !(ticks && unasked) {
            left -= 1;
        }
        shown += 1;
        if show(args, shown, &trial)? == Reader::Gone {
            break;
        }
        if ticks && left > 0 && alive && !unasked {
            trials.ask();
        }
    }
    for trial in trials.end() {
        // The end itself is ours; what was printed until then is the plugin's.
        if trial.report.counts.produced == 0 && trial.report.leftovers == 0 {
            continue;
        }
        if trial.report.counts.rejected_total() > 0 {
            exit = Exit::Finding;
        }
        shown += 1;
        if show(args, shown, &trial)? == Reader::Gone {
            break;
        }
    }
    Ok(exit)
}

/// Who reads what is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reader {
    There,
    Gone,
}

fn show(args: &TestArgs, n: u32, trial: &Trial) -> Result<Reader, Failure> {
    let text = if args.json {
        serde_json::to_string(&trial.report).map_err(|e| Failure::from_error(Exit::Internal, &e))?
    } else {
        let mut text = report::full(trial);
        if args.times > 1 {
            text = format!("{}\n{text}\n", print::paint(print::STRONG, format!("── run {n}")));
        }
        text
    };
    Ok(if print::data(text).is_err() { Reader::Gone } else { Reader::There })
}

/// Ctrl-C and TERM end the plugin, which is in a process group of its own, and then this program in
/// its usual way, so that nothing stays behind.
pub(crate) fn stop_on_signal(stop: impl FnOnce() + Send + 'static) {
    let wait = move || {
        let work = async {
            let mut term = signal(SignalKind::terminate()).map_err(|e| e.to_string())?;
            let mut int = signal(SignalKind::interrupt()).map_err(|e| e.to_string())?;
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
            }
            stop();
            Ok(())
        };
        if let Err(error) = super::client::block_on(work) {
            print::talk(format!("note: signals are not caught: {error}"));
        }
    };
    let started = std::thread::Builder::new().name("signals".to_owned()).spawn(wait);
    if let Err(error) = started {
        print::talk(format!("note: signals are not caught: {error}"));
    }
}

/// The plugin that is meant: one of the configuration, or a program by its path.
fn find(args: &TestArgs, env: &Env) -> Result<(Config, PluginConfig), Failure> {
    let place = Place::from(&args.config);
    if !args.target.contains('/') {
        if !args.args.is_empty() {
            let text =
                "arguments are for a program given by its path; a plugin of the config has its own";
            return Err(Failure::new(Exit::Usage, text));
        }
        let source = load::source(&args.config, env).map_err(|mut failure| {
            failure
                .text
                .push_str(&format!("\nhint: for the file `{0}` write `./{0}`", args.target));
            failure
        })?;
        let loaded = load::load(&source, env, place)?;
        let found = loaded.config.plugins.iter().find(|(name, _)| name.as_str() == args.target);
        let Some((_, plugin)) = found else {
            let names: Vec<&str> = loaded.config.plugins.keys().map(PluginName::as_str).collect();
            let text = format!(
                "there is no plugin `{}`; there are {}\n\nhint: a path to a program contains a `/`",
                args.target,
                if names.is_empty() { "none".to_owned() } else { names.join(", ") }
            );
            return Err(Failure::new(Exit::Usage, text));
        };
        let plugin = plugin.clone();
        return Ok((loaded.config, plugin));
    }
    // A program that the configuration already runs is tested as configured.
    let wanted = env.cwd.join(&args.target);
    if args.args.is_empty()
        && let Ok(source) = load::source(&args.config, env)
        && let Ok(loaded) = load::load(&source, env, place)
        && let Some(plugin) = configured(&loaded.config, &wanted)
    {
        return Ok((loaded.config, plugin));
    }
    let scripts = Scripts {
        config: None,
        paths: vec![PathBuf::from(&args.target)],
        every: None,
        args: args.args.clone(),
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
    Ok((loaded.config, plugin))
}

fn configured(config: &Config, program: &Path) -> Option<PluginConfig> {
    let program = program.canonicalize().ok()?;
    config
        .plugins
        .values()
        .find(|plugin| plugin.command.program.canonicalize().is_ok_and(|path| path == program))
        .cloned()
}
