use std::io::Write;
use std::sync::Arc;

use crate::agent::{Agent, AgentError, Embedded, Hangups, Surroundings};
use crate::config::{self, Env, Loaded, Scripts, Source};
use crate::deliver::Endpoint;
use crate::exec::ExecError;
use crate::spool::SpoolError;

use super::args::{RunArgs, Talk};
use super::exit::{Exit, Failure};
use super::load::{self, Place};
use super::print;
use super::run_lines::RunLines;

/// Runs the agent in the foreground until a signal ends it.
pub(crate) fn run(
    args: &RunArgs,
    talk: &Talk,
    stderr: &print::Background,
) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // SQLite, files and nothing else; each thread costs memory.
        .max_blocking_threads(8)
        .build()
        .map_err(|e| Failure::new(Exit::Internal, format!("no runtime: {e}")))?;
    // Before anything that takes time: until then a signal to reload ends the process.
    let hangups = {
        let _entered = runtime.enter();
        Hangups::listen().map_err(|e| failure(&AgentError::Signals(e)))?
    };
    let env = Env::system();
    let profile = args.profile.clone();
    let place = match profile.as_deref() {
        Some(config::SANDBOX) => Place::Sandbox,
        _ => Place::from(&args.config),
    };
    let profile = profile.filter(|_| place == Place::Production);
    let source = if args.scripts.is_empty() {
        load::source(&args.config, &env)?
    } else {
        Source::Scripts(Scripts {
            config: None,
            paths: args.scripts.clone(),
            every: Some(args.every),
            args: args.args.clone(),
        })
    };
    let mut loaded = load::load(&source, &env, place)?;
    load::say(&loaded);
    override_listen(&mut loaded, args);
    if let Some(name) = &profile {
        load::into_profile(&mut loaded.config, name)?;
    }
    if loaded.config.plugins.is_empty() {
        print::talk("note: the configuration has no plugins; `talaia new NAME` writes one");
    }
    let hub = loaded.config.hub.clone();
    let hub_dir = load::hub_dir(&loaded.config.agent.data_dir);
    let (endpoint, endpoint_seen) =
        tokio::sync::watch::channel(Endpoint::Waiting { why: "the hub is starting".to_owned() });
    let listen = args.listen;
    let reload = move || {
        let mut loaded = load::load(&source, &Env::system(), place).map_err(|f| f.text)?;
        load::say(&loaded);
        if let Some(listen) = listen {
            loaded.config.hub.listen = listen;
        }
        if let Some(name) = &profile {
            load::into_profile(&mut loaded.config, name).map_err(|f| f.text)?;
        }
        Ok(loaded)
    };
    let lines = RunLines::new(talk, stderr);
    let (runs, deliveries) = (Arc::clone(&lines), Arc::clone(&lines));
    let surroundings = Surroundings {
        load: Arc::new(reload),
        on_report: Box::new(move |report| runs.run(report)),
        on_delivery: Arc::new(move |output, records| deliveries.delivery(output, records)),
        embedded: hub.enabled.then(|| Embedded {
            endpoint: endpoint_seen,
            certificate: hub.tls.as_ref().map(|tls| tls.cert.clone()),
        }),
        stdout: || -> Box<dyn Write + Send> { Box::new(std::io::stdout()) },
    };
    let agent = {
        let _entered = runtime.enter();
        Agent::new(loaded.config, surroundings).map_err(|e| failure(&e))?
    };
    let ended = runtime.block_on(async move {
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let agent = async move {
            let ended = agent.run(hangups).await;
            stop.send_replace(true);
            ended
        };
        let all = async move {
            if hub.enabled {
                let (ended, ()) = tokio::join!(agent, embedded(hub, hub_dir, endpoint, stopped));
                ended
            } else {
                agent.await
            }
        };
        tokio::select! {
            ended = all => ended,
            () = lines.keep_telling() => Ok(()),
        }
    });
    // A write that nobody reads (a full pipe behind an output of type `stdout`) must not keep the
    // process alive.
    runtime.shutdown_background();
    ended.map_err(|e| failure(&e))?;
    Ok(Exit::Ok)
}

#[cfg(feature = "hub")]
use super::hub::embedded;

/// Built without the hub: the output to it waits for ever, and says so.
#[cfg(not(feature = "hub"))]
async fn embedded(
    _config: crate::config::HubConfig,
    _folder: std::path::PathBuf,
    endpoint: tokio::sync::watch::Sender<Endpoint>,
    mut stop: tokio::sync::watch::Receiver<bool>,
) {
    let why = "this talaia was built without the hub: set an output, or `[hub] enabled = false`";
    print::talk(format!("{} {why}", print::paint(print::BAD, "hub")));
    endpoint.send_replace(Endpoint::Waiting { why: why.to_owned() });
    let _gone = stop.wait_for(|stop| *stop).await;
}

fn override_listen(loaded: &mut Loaded, args: &RunArgs) {
    if let Some(listen) = args.listen {
        loaded.config.hub.listen = listen;
    }
}

fn failure(error: &AgentError) -> Failure {
    let exit = match error {
        AgentError::Spool(_) | AgentError::Unsaved(_) => Exit::Disk,
        AgentError::UnknownOwners(_) => Exit::Config,
        AgentError::Exec(ExecError::Start { .. })
        | AgentError::Keeper(_)
        | AgentError::Signals(_) => Exit::Internal,
    };
    let mut failure = Failure::from_error(exit, error);
    let hint = match error {
        AgentError::Spool(SpoolError::InUse { .. }) => {
            "`--sandbox` runs a second agent beside it, with its own data"
        }
        AgentError::Spool(SpoolError::Folder { .. } | SpoolError::Lock { .. }) => {
            "the user that runs the agent must be able to write there; `[agent] data_dir` names \
             another folder"
        }
        _ => return failure,
    };
    failure.text.push_str("\n\nhint: ");
    failure.text.push_str(hint);
    failure
}
