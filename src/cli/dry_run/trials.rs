//! Gets a plugin ready to be run as the agent would, for all commands that run one.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::signal::unix::{SignalKind, signal};

use crate::agent::prepare::owner_ids;
use crate::agent::trial::{Scratch, TrialError, Trials};
use crate::cli::exit::{Exit, Failure};
use crate::cli::{client, print};
use crate::config::{Config, Env, PluginConfig, PluginState, find_on_path};

/// Ready to run; what this machine does only in part is said on stderr.
pub(crate) fn trials(
    plugin: &PluginConfig,
    config: &Config,
    env: &Env,
    interrupt: &Interrupt,
) -> Result<Trials, Failure> {
    match &plugin.state {
        PluginState::Broken { why } => {
            let mut text = format!("{}: {why}", plugin.name);
            if let Some(there) = elsewhere(why, env) {
                text.push_str(&format!("\n\nhint: your shell finds it at {}", there.display()));
            }
            return Err(Failure::new(Exit::Finding, text));
        }
        PluginState::Skipped { why } => {
            print::talk(format!("note: the agent would not run it here: {why}"));
        }
        PluginState::Disabled => print::talk("note: it is disabled: the agent does not run it"),
        PluginState::Ready => {}
    }
    let owners = owner_ids(&config.agent.trusted_owners).map_err(|names| {
        let text = format!("`trusted_owners` names users that do not exist: {}", names.join(", "));
        Failure::new(Exit::Config, text)
    })?;
    // Orphans of the run are inherited and ended, as by the agent.
    if let Err(error) = crate::exec::become_subreaper() {
        print::talk(format!("note: processes that the plugin detaches are not followed: {error}"));
    }
    let scratch = scratch(env)?;
    let trials = Trials::new(plugin, config, &owners, scratch).map_err(|e| {
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
    interrupt.stops(trials.stopper());
    Ok(trials)
}

/// A folder for what is thrown away.
pub(crate) fn scratch(env: &Env) -> Result<Scratch, Failure> {
    let temp = env.var("TMPDIR").unwrap_or("/tmp");
    Scratch::new(Path::new(temp))
        .map_err(|e| Failure::new(Exit::Disk, format!("no folder in {temp}: {e}")))
}

/// Where the command that the service does not find is on this shell's search path.
fn elsewhere(why: &str, env: &Env) -> Option<PathBuf> {
    let (before, _) = why.split_once("`, which is not in ").or_else(|| why.split_once("` in "))?;
    let (_, command) = before.rsplit_once('`')?;
    find_on_path(command, env.var("PATH")?)
}

type Stop = Box<dyn FnOnce() + Send>;

/// Ctrl-C, TERM and a terminal that is closed: they end the plugin, which is in a process group of its own, and then this program
/// in its usual way, so that nothing stays behind.
#[derive(Clone, Default)]
pub(crate) struct Interrupt {
    came: Arc<AtomicBool>,
    stop: Arc<Mutex<Option<Stop>>>,
}

impl Interrupt {
    /// Begins to listen.
    pub(crate) fn listen() -> Self {
        let interrupt = Self::default();
        let told = interrupt.clone();
        let wait = move || {
            let work = async {
                let listen = |kind| signal(kind).map_err(|e| e.to_string());
                let mut term = listen(SignalKind::terminate())?;
                let mut int = listen(SignalKind::interrupt())?;
                let mut hup = listen(SignalKind::hangup())?;
                let mut quit = listen(SignalKind::quit())?;
                tokio::select! {
                    _ = term.recv() => {}
                    _ = int.recv() => {}
                    _ = hup.recv() => {}
                    _ = quit.recv() => {}
                }
                told.now();
                Ok(())
            };
            if let Err(error) = client::block_on(work) {
                print::talk(format!("note: signals are not caught: {error}"));
            }
        };
        let started = std::thread::Builder::new().name("signals".to_owned()).spawn(wait);
        if let Err(error) = started {
            print::talk(format!("note: signals are not caught: {error}"));
        }
        interrupt
    }

    /// What a signal ends from now on.
    pub(crate) fn stops(&self, stop: impl FnOnce() + Send + 'static) {
        *self.stop.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(stop));
        if self.came() {
            self.now();
        }
    }

    /// Whether there was one.
    pub(crate) fn came(&self) -> bool {
        self.came.load(Ordering::Acquire)
    }

    fn now(&self) {
        self.came.store(true, Ordering::Release);
        let stop = self.stop.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(stop) = stop {
            stop();
        }
    }
}
