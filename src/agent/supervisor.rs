//! The running agent: what it is made of, what it listens to, and how it stops.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::config::{AgentConfig, Config, Loaded};
use crate::exec::accounts::Account;
use crate::exec::{self, Exec, ExecError, Limits};
use crate::model::{PluginName, Report, Timestamp, chain};
use crate::spool::{Evicted, Health, Ledger, Notice, Pressure, Spool, SpoolError};

use super::admin::{self, Request};
use super::confine::{Machine, Preparing};
use super::itself;
use super::keeper::{self, Finish, Keeper, Plugins};
use super::lags::Lags;
use super::outputs::{Embedded, OnDelivery, Outputs};
use super::plugin::Plugin;
use super::prepare::{self, Common};
use super::reload::Changes;
use super::reloading::{self, Asker, Askers, Reloads};
use super::replay;
use super::signals::{Asked, Hangups, Signals};
use super::spooling::spool_options;
use super::status::{AgentStatus, LifeStatus, PluginStatus, Status};

/// How often plugins that could not be made ready are tried again.
const AGAIN: std::time::Duration = std::time::Duration::from_secs(5);

/// How long a KILL may take, and the flush after it.
const KILL_TAKES: Duration = Duration::from_secs(5);

/// What an agent is given besides its configuration.
pub struct Surroundings {
    /// Reads the configuration again, for a reload, on a thread of its own. The error is for a
    /// person.
    pub load: Arc<dyn Fn() -> Result<Loaded, String> + Send + Sync>,
    /// Called with every report on the keeper's thread, before it is on disk.
    pub on_report: Box<dyn Fn(&Report) + Send>,
    /// Called after every upload.
    pub on_delivery: OnDelivery,
    /// The way to the embedded hub, where there is one.
    pub embedded: Option<Embedded>,
    /// Makes the writer of an output of type `stdout`.
    pub stdout: fn() -> Box<dyn std::io::Write + Send>,
}

/// Why an agent cannot run.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// Its spool.
    #[error("the spool cannot be used")]
    Spool(#[source] SpoolError),
    /// The disk did not take what it had last; that is gone with the process.
    #[error("the last reports did not get to the disk")]
    Unsaved(#[source] SpoolError),
    /// Its threads.
    #[error("plugins cannot be run")]
    Exec(#[source] ExecError),
    /// The thread that judges what they print.
    #[error("no thread to judge what plugins print")]
    Keeper(#[source] std::io::Error),
    /// Its signals.
    #[error("signals cannot be received")]
    Signals(#[source] std::io::Error),
    /// Users in `trusted_owners` that do not exist.
    #[error("`trusted_owners` names users that do not exist: {}", .0.join(", "))]
    UnknownOwners(Vec<String>),
}

/// An agent that is about to run.
pub struct Agent {
    config: Config,
    reloads: Reloads,
    spool: Spool,
    exec: Arc<Exec>,
    keeper: keeper::Handle,
    plugins: Arc<Plugins>,
    /// Those that could not be made ready, for want of space or of their user.
    unprepared: BTreeSet<PluginName>,
    lags: Arc<Lags>,
    outputs: Outputs,
    machine: Machine,
    owners: Vec<u32>,
    /// The user that it runs as.
    account: Option<Account>,
    origin: Instant,
    started: Timestamp,
    /// The spool's counters at that time.
    begun: Ledger,
}

impl Agent {
    /// Opens the spool, ends what an earlier life left behind, and gets ready to run plugins.
    /// Nothing runs yet.
    pub fn new(config: Config, mut surroundings: Surroundings) -> Result<Self, AgentError> {
        let owners =
            prepare::owner_ids(&config.agent.trusted_owners).map_err(AgentError::UnknownOwners)?;
        prepare::data_dir(&config.agent.data_dir, &owners)
            .map_err(|error| AgentError::Spool(SpoolError::Untrusted(Box::new(error))))?;
        let (spool, opened) =
            Spool::open(spool_options(&config.agent)).map_err(AgentError::Spool)?;
        // An agent that cannot read them takes old losses for new ones, and says why it cannot.
        let mut begun = spool.ledger().unwrap_or_default();
        for notice in opened.notices {
            tracing::error!("{notice}");
            if let Notice::MovedAside { .. } = notice {
                // That is a loss of this start.
                for totals in begun.outputs.values_mut() {
                    totals.evicted.remove(&Evicted::Damaged);
                }
            }
        }
        let agent_id = spool.agent_id().to_string();
        let left = exec::sweep_previous(&agent_id);
        if left > 0 {
            tracing::warn!(processes = left, "killed what an earlier run of the agent left behind");
        }
        let machine = Machine::this(agent_id.clone(), Preparing::MakeReady);
        let left = machine.sweep(&[]);
        if left > 0 {
            tracing::warn!(processes = left, "killed what was left in cgroups of an earlier run");
        }
        let reap = match exec::become_subreaper() {
            Ok(()) => Some(agent_id),
            Err(error) => {
                tracing::warn!(%error, "processes that leave their run's group cannot be followed");
                None
            }
        };
        let plugins = Arc::<Plugins>::default();
        let on_report = std::mem::replace(&mut surroundings.on_report, Box::new(|_| {}));
        let lags = Arc::<Lags>::default();
        let keeper = Keeper {
            plugins: Arc::clone(&plugins),
            spool: spool.clone(),
            on_report,
            talk: std::collections::HashMap::new(),
            told: std::collections::HashMap::new(),
            lags: Arc::clone(&lags),
        };
        let pressure = spool.clone();
        let settings = exec::Settings {
            limits: limits(&config.agent),
            reap_orphans_of: reap,
            open: Box::new(move || pressure.pressure() == Pressure::Low),
        };
        let (on_run, keeper) = keeper::start(keeper).map_err(AgentError::Keeper)?;
        let exec = Exec::start(settings, on_run).map_err(AgentError::Exec)?;
        let outputs = Outputs::new(
            spool.clone(),
            surroundings.embedded.take(),
            surroundings.stdout,
            surroundings.on_delivery,
        );
        Ok(Self {
            config,
            reloads: Reloads::new(surroundings.load),
            spool,
            exec: Arc::new(exec),
            keeper,
            plugins,
            unprepared: BTreeSet::new(),
            lags,
            outputs,
            machine,
            owners,
            account: exec::accounts::own(),
            origin: Instant::now(),
            started: Timestamp::from(SystemTime::now()),
            begun,
        })
    }

    /// Runs until a signal says stop.
    pub async fn run(mut self, hangups: Hangups) -> Result<(), AgentError> {
        let mut signals = Signals::new(hangups).map_err(AgentError::Signals)?;
        let (requests, mut inbox) = admin::channel();
        let mut tasks = JoinSet::new();
        self.open_admin(requests, &mut tasks);
        let config = self.config.clone();
        self.outputs.set(&config, &mut tasks);
        for plugin in config.plugins.into_values() {
            self.set_plugin(plugin, None);
        }
        notify(&[sd_notify::NotifyState::Ready]);

        let mut health = self.spool.health();
        let mut sample = Sampler::new(self.config.agent.self_metrics);
        let mut again = tokio::time::Instant::now() + AGAIN;
        loop {
            tokio::select! {
                asked = signals.next() => match asked {
                    Asked::Stop => break,
                    Asked::Reload => self.ask_reload(Asker::Signal),
                },
                (loaded, askers) = self.reloads.finished() => {
                    self.reload(loaded, askers, &mut tasks);
                }
                Some(request) = inbox.recv() => self.answer(request, &mut tasks).await,
                Some(ended) = tasks.join_next() => say_ended(ended),
                Ok(()) = health.changed() => say_health(&health.borrow_and_update()),
                interval = sample.due() => self.report_itself(interval).await,
                () = tokio::time::sleep_until(again), if !self.unprepared.is_empty() => {
                    self.prepare_again();
                    again = tokio::time::Instant::now() + AGAIN;
                }
            }
            sample.set(self.config.agent.self_metrics);
        }
        self.stop(signals, tasks).await.map_err(AgentError::Unsaved)
    }

    fn open_admin(&self, requests: mpsc::Sender<Request>, tasks: &mut JoinSet<&'static str>) {
        match admin::bind(&self.config.agent.data_dir) {
            Ok(listener) => {
                tasks.spawn(async move {
                    admin::serve(listener, requests).await;
                    "admin socket"
                });
            }
            Err(error) => {
                let socket = admin::socket_path(&self.config.agent.data_dir);
                tracing::error!(
                    socket = %socket.display(), %error,
                    "`talaia status`, `trigger` and `reload` will not work until what is in the way \
                     is removed and the agent started again"
                );
            }
        }
    }

    fn set_plugin(&mut self, config: crate::config::PluginConfig, before: Option<&Plugin>) {
        let mut plugin = Plugin::new(config, &self.config.agent, before);
        let name = plugin.config.name.clone();
        let common = Common {
            agent: self.spool.agent_id(),
            owners: &self.owners,
            own: self.account.as_ref(),
            own_env: &self.config.agent.own_env,
        };
        let data_dir = &self.config.agent.data_dir;
        let spec = if plugin.runs() {
            let prepared = self
                .machine
                .plan(&plugin.config, &self.config.plugins, data_dir)
                .map_err(|error| chain(&error))
                .and_then(|plan| Ok((plugin.prepare(&common, data_dir, &plan)?, plan.notes)));
            match prepared {
                Ok((spec, notes)) => {
                    for note in notes {
                        tracing::warn!(plugin = %name, "{note}");
                    }
                    Some(spec)
                }
                Err(error) => {
                    plugin.fault = Some(error);
                    self.unprepared.insert(name.clone());
                    None
                }
            }
        } else {
            None
        };
        // What the configuration itself shows was said when it was loaded.
        let known = before.and_then(|before| before.fault.as_ref());
        match &plugin.fault {
            Some(fault) if Some(fault) != known => {
                tracing::error!(plugin = %name, "does not run: {fault}");
            }
            None if known.is_some() => tracing::info!(plugin = %name, "runs"),
            _ => {}
        }
        let timetable = plugin.timetable(self.origin);
        self.plugins.insert(Arc::new(plugin));
        match spec {
            Some(spec) => self.exec.set(Arc::new(spec), timetable),
            None => self.exec.remove(&name),
        }
    }

    /// Tries again what could not be made ready: the disk may have space now, or the user exist.
    fn prepare_again(&mut self) {
        for name in std::mem::take(&mut self.unprepared) {
            if let Some(config) = self.config.plugins.get(&name).cloned() {
                let before = self.plugins.get(&name);
                self.set_plugin(config, before.as_deref());
            }
        }
    }

    async fn answer(&mut self, request: Request, tasks: &mut JoinSet<&'static str>) {
        // Who asked may have gone away meanwhile.
        match request {
            Request::Status(reply) => drop(reply.send(self.status().await)),
            Request::Plugin(name, reply) => {
                drop(reply.send(self.plugins.get(&name).map(|plugin| plugin.detail())));
            }
            Request::Trigger(name, reply) => drop(reply.send(self.exec.trigger(&name))),
            Request::Reload(reply) => self.ask_reload(Asker::Person(reply)),
            // These wait for the disk, and nothing else must wait for them.
            Request::Replay(pick, reply) => {
                let spool = self.spool.clone();
                let plugins = Arc::clone(&self.plugins);
                let agent = self.config.agent.clone();
                tasks.spawn(async move {
                    let work = move || {
                        let done = replay::replay(&spool, &plugins, &agent, &pick);
                        drop(reply.send(done.map_err(|error| chain(&error))));
                    };
                    // Who asked sees that there is no answer.
                    drop(tokio::task::spawn_blocking(work).await);
                    "replay"
                });
            }
            Request::Discard(pick, reply) => {
                let dropped = self.spool.discard(pick);
                tasks.spawn(async move {
                    drop(reply.send(dropped.await.map_err(|error| chain(&error))));
                    "drop from quarantine"
                });
            }
        }
    }

    /// Appends what the agent knows of itself, as plugin `talaia`.
    async fn report_itself(&self, interval: Duration) {
        let at = Timestamp::from(SystemTime::now());
        let status = match self.status().await {
            Ok(status) => status,
            Err(error) => {
                tracing::warn!(error, "the agent cannot report on itself");
                return;
            }
        };
        for report in itself::reports(&status, &self.config.agent.tags, at, interval) {
            if let Err(error) = self.spool.append(report) {
                tracing::error!(error = chain(&error), "a report of the agent itself was lost");
            }
        }
    }

    async fn status(&self) -> Result<Status, String> {
        let spool = self.spool.clone();
        let figures = tokio::task::spawn_blocking(move || spool.figures())
            .await
            .map_err(|e| e.to_string())?
            .map_err(|e| chain(&e))?;
        let plugins: BTreeMap<String, PluginStatus> = self
            .plugins
            .all()
            .iter()
            .map(|plugin| {
                let life = self.exec.standing(&plugin.config.name).map(LifeStatus::new);
                let (state, why) = match &life {
                    Some(life) => life.state(plugin.buffering()),
                    None => plugin.state(),
                };
                let mut status = PluginStatus {
                    state: state.to_owned(),
                    why,
                    life,
                    series: Some(plugin.series()),
                    ..PluginStatus::default()
                };
                plugin.note_runs(&mut status);
                if let Some(outlook) = self.exec.outlook(&plugin.config.name) {
                    status.look_ahead(outlook);
                    status.next_run = status.next_run.or_else(|| plugin.next_by_calendar());
                }
                (plugin.config.name.to_string(), status)
            })
            .collect();
        let spool_error = match &*self.spool.health().borrow() {
            Health::Open => None,
            Health::Closed { why } => Some(why.clone()),
        };
        let (rss, cpu) = itself::usage();
        let lags = self.lags.quantiles(Instant::now());
        let agent = AgentStatus {
            id: self.spool.agent_id().to_string(),
            host: self.config.agent.host.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started: self.started,
            uptime: self.origin.elapsed().as_secs_f64(),
            running: self.exec.live(),
            rss,
            cpu,
            lag_p50: lags.map(|lags| lags.p50.as_secs_f64()),
            lag_p99: lags.map(|lags| lags.p99.as_secs_f64()),
            spool_bytes: figures.live_bytes,
            overflowed: self.spool.overflowed(),
            quarantine_items: figures.quarantine_items,
            quarantine_bytes: figures.quarantine_bytes,
            spool_error,
        };
        let outputs = self.outputs.status();
        Ok(Status::new(agent, &self.begun, &figures, plugins, outputs, self.exec.leaks()))
    }

    fn ask_reload(&mut self, asker: Asker) {
        notify(&[sd_notify::NotifyState::Reloading, monotonic()]);
        self.reloads.ask(asker);
    }

    /// Takes up what was read, and tells those who asked for it.
    fn reload(
        &mut self,
        loaded: Result<Loaded, String>,
        askers: Askers,
        tasks: &mut JoinSet<&'static str>,
    ) {
        let outcome = loaded.and_then(|loaded| self.take_up(loaded.config, tasks));
        if askers.answer(&outcome) {
            say_reloaded(outcome);
        }
        if !self.reloads.start() {
            notify(&[sd_notify::NotifyState::Ready]);
        }
    }

    fn take_up(
        &mut self,
        mut new: Config,
        tasks: &mut JoinSet<&'static str>,
    ) -> Result<Changes, String> {
        let owners = prepare::owner_ids(&new.agent.trusted_owners)
            .map_err(|names| AgentError::UnknownOwners(names).to_string())?;
        let changes = Changes::between(&self.config, &new);
        // What only a restart takes up stays as it is, also for the next comparison.
        new.agent.data_dir.clone_from(&self.config.agent.data_dir);
        new.agent.spool.clone_from(&self.config.agent.spool);
        new.agent.quarantine.clone_from(&self.config.agent.quarantine);
        new.hub.clone_from(&self.config.hub);
        self.owners = owners;
        self.config = new;
        self.exec.set_limits(limits(&self.config.agent));
        for name in &changes.plugins.removed {
            if let Ok(name) = name.parse::<PluginName>() {
                self.plugins.remove(&name);
                self.exec.remove(&name);
            }
        }
        for name in changes.plugins.added.iter().chain(&changes.plugins.changed) {
            let Ok(name) = name.parse::<PluginName>() else { continue };
            let Some(config) = self.config.plugins.get(&name).cloned() else { continue };
            let before = self.plugins.get(&name);
            self.set_plugin(config, before.as_deref());
        }
        // Those that were removed just now may still have a run that is being ended.
        let current = self.config.plugins.keys().map(PluginName::as_str);
        let keep: Vec<&str> =
            current.chain(changes.plugins.removed.iter().map(String::as_str)).collect();
        self.machine.sweep(&keep);
        if !changes.outputs.is_empty() {
            let config = self.config.clone();
            self.outputs.set(&config, tasks);
        }
        Ok(changes)
    }

    /// First runs, then what is spooled. Neither is needed for safety: what is on disk stays there.
    /// What did not get to the disk is an error.
    async fn stop(
        self,
        mut signals: Signals,
        mut tasks: JoinSet<&'static str>,
    ) -> Result<(), SpoolError> {
        notify(&[sd_notify::NotifyState::Stopping]);
        let deadline = tokio::time::Instant::now() + self.config.agent.stop_timeout;
        tracing::info!(running = self.exec.live(), "stopping; once more to stop at once");
        self.exec.stop();
        let exec = Arc::clone(&self.exec);
        let mut joined = tokio::task::spawn_blocking(move || exec.join());
        let in_time = tokio::select! {
            _ = &mut joined => true,
            () = signals.stop() => false,
            () = tokio::time::sleep_until(deadline) => false,
        };
        let mut all_ended = in_time;
        if !in_time {
            self.exec.stop_now();
            // A process in uninterruptible sleep dies when it wakes, and that may be never.
            all_ended = tokio::time::timeout(KILL_TAKES, joined).await.is_ok();
            if !all_ended {
                tracing::error!("some processes do not die; the agent ends without them");
            }
        }
        self.machine.sweep(&[]);
        // What ran is with the keeper now, then in the spool's queue; once it is on disk the
        // outputs may have it.
        let (keeper, spool) = (self.keeper, self.spool);
        let flushed = tokio::task::spawn_blocking(move || {
            // Where a run does not die the keeper would wait for it; the others it has by now.
            if !keeper.finish(if all_ended { Finish::Ended } else { Finish::SoFar }) {
                tracing::error!("the last runs were not judged");
            }
            spool.flush().wait()
        });
        let deadline = deadline.max(tokio::time::Instant::now() + KILL_TAKES);
        let saved = tokio::select! {
            outcome = flushed => outcome.unwrap_or(Err(SpoolError::Gone)),
            () = signals.stop(), if !in_time => {
                Err(SpoolError::Closed { why: "it was told again to stop at once".to_owned() })
            }
            () = tokio::time::sleep_until(deadline) => {
                Err(SpoolError::Closed { why: "it did not take them in time".to_owned() })
            }
        };
        self.outputs.stop(deadline);
        if in_time {
            tokio::select! {
                () = self.outputs.finished() => {}
                () = signals.stop() => {}
                () = tokio::time::sleep_until(deadline) => {}
            }
        }
        tasks.abort_all();
        while tasks.join_next().await.is_some() {}
        let socket = admin::socket_path(&self.config.agent.data_dir);
        // A socket that stays behind is removed at the next start.
        let _left = std::fs::remove_file(socket);
        saved
    }
}

fn limits(agent: &AgentConfig) -> Limits {
    Limits { concurrency: agent.concurrency, max_running: agent.max_running }
}

fn say_ended(ended: Result<&'static str, tokio::task::JoinError>) {
    match ended {
        Ok(_) => {}
        Err(error) if error.is_cancelled() => {}
        Err(error) => tracing::error!(%error, "a part of the agent ended by a defect"),
    }
}

fn say_reloaded(outcome: reloading::Outcome) {
    match outcome {
        Ok(changes) => {
            let (plugins, outputs) = (&changes.plugins, &changes.outputs);
            tracing::info!(
                added = plugins.added.len() + outputs.added.len(),
                changed = plugins.changed.len() + outputs.changed.len(),
                removed = plugins.removed.len() + outputs.removed.len(),
                untouched = plugins.kept + outputs.kept,
                "reloaded"
            );
            for what in changes.needs_restart {
                tracing::warn!("{what} changed: that takes a restart");
            }
        }
        Err(error) => {
            tracing::error!("the configuration does not load; the old one goes on\n{error}");
        }
    }
}

fn say_health(health: &Health) {
    match health {
        Health::Open => tracing::info!("the spool is written again"),
        Health::Closed { why } => {
            tracing::error!("the spool cannot be written, reports wait in memory: {why}");
        }
    }
}

/// Tells systemd, where it listens.
fn notify(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd does not listen");
    }
}

fn monotonic() -> sd_notify::NotifyState<'static> {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let micros = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1000;
    sd_notify::NotifyState::MonotonicUsec(micros)
}

/// When the agent reports on itself.
struct Sampler {
    interval: Option<Duration>,
    next: tokio::time::Instant,
}

impl Sampler {
    fn new(interval: Option<Duration>) -> Self {
        let soon = interval.map_or(itself::SOON, |interval| interval.min(itself::SOON));
        Self { interval, next: tokio::time::Instant::now() + soon }
    }

    /// Takes up a reload; the same interval keeps its phase.
    fn set(&mut self, interval: Option<Duration>) {
        if self.interval != interval {
            *self = Self::new(interval);
        }
    }

    /// Resolves with the interval when a sample is due. A sample that was missed is left out.
    async fn due(&mut self) -> Duration {
        let Some(interval) = self.interval else { return std::future::pending().await };
        tokio::time::sleep_until(self.next).await;
        self.next = (self.next + interval).max(tokio::time::Instant::now());
        interval
    }
}
