use std::io::Write;

use crate::agent::{Agent, AgentError, Embedded, Hangups, Surroundings};
use crate::config::{self, Color, Env, Loaded, Scripts, Source};
use crate::deliver::Endpoint;
use crate::exec::ExecError;
use crate::model::Report;
use crate::spool::SpoolError;

use super::args::{LogFormat, RunArgs, Talk};
use super::exit::{Exit, Failure};
use super::load::{self, Place};
use super::{print, report};

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
    let surroundings = Surroundings {
        load: std::sync::Arc::new(reload),
        on_report: run_lines(talk, stderr),
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
        if hub.enabled {
            let (ended, ()) = tokio::join!(agent, embedded(hub, hub_dir, endpoint, stopped));
            ended
        } else {
            agent.await
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

/// What is done with each report for a person to see: a line on stderr.
fn run_lines(talk: &Talk, stderr: &print::Background) -> Box<dyn Fn(&Report) + Send> {
    if talk.quiet {
        return Box::new(|_| {});
    }
    if talk.log_format == LogFormat::Json {
        return Box::new(|report| {
            tracing::info!(
                target: "run",
                plugin = %report.plugin,
                run = %report.run,
                outcome = report.outcome.kind().as_str(),
                status = report.status.as_str(),
                duration = report.duration,
                accepted = report.counts.accepted,
                rejected = report.counts.rejected_total(),
                "run"
            );
        });
    }
    let stderr = stderr.clone();
    Box::new(move |report| stderr.line(report::line(report)))
}

/// The time of day in UTC, as run lines have it: a journal adds its own date.
struct Clock;

impl tracing_subscriber::fmt::time::FormatTime for Clock {
    fn format_time(
        &self,
        out: &mut tracing_subscriber::fmt::format::Writer<'_>,
    ) -> std::fmt::Result {
        let now = crate::model::Timestamp::from(std::time::SystemTime::now()).to_string();
        out.write_str(now.get(11..19).unwrap_or(&now))
    }
}

/// Sets up the log on stderr.
pub(crate) fn init_log(talk: &Talk, stderr: &print::Background) {
    use tracing::level_filters::LevelFilter;
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::util::SubscriberInitExt;

    let level = match (talk.quiet, talk.verbose) {
        (true, _) => LevelFilter::WARN,
        (false, 0) => LevelFilter::INFO,
        (false, 1) => LevelFilter::DEBUG,
        (false, _) => LevelFilter::TRACE,
    };
    // Libraries talk only when everything is asked for.
    let others = if talk.verbose > 1 { LevelFilter::TRACE } else { LevelFilter::WARN };
    let filter = tracing_subscriber::filter::Targets::new()
        .with_target("talaia", level)
        .with_target("plugin", level)
        .with_target("run", level)
        .with_default(others);
    let layer = tracing_subscriber::fmt::layer().with_writer(stderr.clone()).with_target(false);
    let registry = tracing_subscriber::registry().with(filter);
    let done = match talk.log_format {
        LogFormat::Text => {
            let ansi = load::color() == Color::Always;
            registry.with(layer.with_timer(Clock).with_ansi(ansi)).try_init()
        }
        LogFormat::Json => registry.with(layer.json()).try_init(),
    };
    // Set already: by a test in the same process.
    let _already = done;
}
