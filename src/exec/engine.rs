use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, epoll, eventfd};
use rustix::process::{Resource, Rlimit};

use crate::model::PluginName;

use super::child::{Child, Opening};
use super::plan::{Limits, Plan, Token};
use super::reaper::Reaper;
use super::spawn::{self, SpawnFn};
use super::spawner;
use super::spec::{Leftovers, Run, Spec, Timetable};

/// What an [`Exec`] is started with.
pub struct Settings {
    /// How much may run at once.
    pub limits: Limits,
    /// The agent's id, as its plugins have it in `TALAIA_AGENT`. With it, orphans of ended runs are
    /// killed; the process must have called [`super::become_subreaper`], and its main thread must
    /// start no process of its own. `None`: orphans are left alone.
    pub reap_orphans_of: Option<String>,
    /// Whether runs may start; asked at each due time. A run due while this is false is skipped
    /// and counted: what it would print could not be kept.
    pub open: Box<dyn Fn() -> bool + Send + Sync>,
}

/// Why runs cannot be executed at all.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// The kernel gave no descriptor or thread.
    #[error("cannot start to run plugins: no {what}")]
    Start {
        /// What was asked for.
        what: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// Why a plugin cannot be run out of turn.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TriggerError {
    /// No such plugin.
    #[error("there is no plugin `{0}`")]
    Unknown(PluginName),
    /// What it would print could not be kept.
    #[error("the disk does not take reports at the moment; see `talaia status`")]
    Closed,
    /// It runs, or waits for its turn.
    #[error("`{0}` is already running or about to")]
    Busy(PluginName),
}

/// Runs plugins until it is stopped. Dropping it stops it at once.
pub struct Exec {
    shared: Arc<Shared>,
    reaper: Mutex<Option<JoinHandle<()>>>,
}

/// What the threads share.
pub(super) struct Shared {
    pub(super) plan: Mutex<Plan>,
    /// The spawner waits on this for the plan to change.
    pub(super) changed: Condvar,
    pub(super) inbox: Mutex<Inbox>,
    pub(super) epoll: OwnedFd,
    /// Wakes the reaper.
    pub(super) bell: OwnedFd,
    /// What the current spawner is about to spawn.
    pub(super) spawning: Mutex<Option<Spawning>>,
    /// A spawner with another number than this one has been superseded.
    pub(super) spawner: AtomicU64,
    pub(super) stopping: AtomicBool,
    /// Orphans that outlived a kill, at the last look.
    pub(super) leaks: AtomicU64,
    pub(super) open: Box<dyn Fn() -> bool + Send + Sync>,
    pub(super) reap_orphans_of: Option<String>,
    pub(super) nofile: Option<Rlimit>,
    pub(super) spawn: SpawnFn,
    pub(super) trust: Mutex<HashMap<PluginName, super::trust::Memory>>,
}

/// What the reaper has not yet seen.
#[derive(Default)]
pub(super) struct Inbox {
    pub(super) children: Vec<Child>,
    /// Runs that never came to be.
    pub(super) failed: Vec<(Token, Run)>,
    /// Live runs to be stopped.
    pub(super) stops: Vec<Token>,
    pub(super) stop_all: Option<Stop>,
}

/// How fast everything stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// TERM, grace, KILL.
    Gently,
    /// KILL.
    Now,
}

/// A spawn that has begun and not returned.
pub(super) struct Spawning {
    pub(super) opening: Opening,
}

impl Shared {
    pub(super) fn plan(&self) -> MutexGuard<'_, Plan> {
        lock(&self.plan)
    }

    pub(super) fn inbox(&self) -> MutexGuard<'_, Inbox> {
        lock(&self.inbox)
    }

    pub(super) fn ring(&self) {
        // The counter of an eventfd cannot overflow within a lifetime of rings.
        let _full = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}

/// A panic of one thread while it held a lock must not silence the others.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Exec {
    /// Starts the threads. `on_run` is called on the reaper's thread, once for every run; while it
    /// works, ended runs wait to be seen.
    pub fn start(
        settings: Settings,
        on_run: impl FnMut(Run) + Send + 'static,
    ) -> Result<Self, ExecError> {
        Self::start_with(settings, spawn::spawn, on_run)
    }

    pub(super) fn start_with(
        settings: Settings,
        spawn: SpawnFn,
        on_run: impl FnMut(Run) + Send + 'static,
    ) -> Result<Self, ExecError> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(no("epoll descriptor"))?;
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(no("event descriptor"))?;
        let nofile = make_room(settings.limits.max_running);
        let shared = Arc::new(Shared {
            plan: Mutex::new(Plan::new(settings.limits)),
            changed: Condvar::new(),
            inbox: Mutex::default(),
            epoll,
            bell,
            spawning: Mutex::new(None),
            spawner: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            leaks: AtomicU64::new(0),
            open: settings.open,
            reap_orphans_of: settings.reap_orphans_of,
            nofile,
            spawn,
            trust: Mutex::default(),
        });
        spawner::start(&shared).map_err(|source| ExecError::Start { what: "thread", source })?;
        let reaper = Reaper::new(Arc::clone(&shared)).map_err(no("epoll descriptor"))?;
        let reaper = thread::Builder::new()
            .name("reaper".to_owned())
            .spawn(move || {
                let _guard = AbortOnPanic;
                reaper.run(on_run);
            })
            .map_err(|source| ExecError::Start { what: "thread", source })?;
        Ok(Self { shared, reaper: Mutex::new(Some(reaper)) })
    }

    /// Adds or replaces a plugin; a live run of the replaced one is stopped.
    pub fn set(&self, spec: Arc<Spec>, timetable: Box<dyn Timetable>) {
        lock(&self.shared.trust).remove(&spec.plugin);
        let live = self.shared.plan().set(spec, timetable, Instant::now());
        self.stop_run(live);
        self.shared.changed.notify_one();
    }

    /// Forgets a plugin; a live run of it is stopped.
    pub fn remove(&self, name: &PluginName) {
        lock(&self.shared.trust).remove(name);
        let live = self.shared.plan().remove(name);
        self.stop_run(live);
    }

    /// Runs a plugin now, out of turn.
    pub fn trigger(&self, name: &PluginName) -> Result<(), TriggerError> {
        if !(self.shared.open)() {
            return Err(TriggerError::Closed);
        }
        let known = self.shared.plan().trigger(name, Instant::now());
        match known {
            None => Err(TriggerError::Unknown(name.clone())),
            Some(Err(())) => Err(TriggerError::Busy(name.clone())),
            Some(Ok(())) => {
                self.shared.changed.notify_one();
                Ok(())
            }
        }
    }

    /// Changes how much may run at once.
    pub fn set_limits(&self, limits: Limits) {
        make_room(limits.max_running);
        self.shared.plan().set_limits(limits);
        self.shared.changed.notify_one();
    }

    /// How many processes that escaped their run were killed and are still there. Stays 0.
    pub fn leaks(&self) -> u64 {
        self.shared.leaks.load(Ordering::Relaxed)
    }

    /// How many runs are live.
    pub fn live(&self) -> usize {
        self.shared.plan().live()
    }

    /// Starts nothing more and ends what runs: TERM, each run's own grace, KILL. Returns at once;
    /// [`Exec::join`] waits.
    pub fn stop(&self) {
        self.stop_all(Stop::Gently);
    }

    /// Starts nothing more and kills what runs.
    pub fn stop_now(&self) {
        self.stop_all(Stop::Now);
    }

    /// Waits until every run has been reported, after [`Exec::stop`].
    pub fn join(&self) {
        let reaper = lock(&self.reaper).take();
        if let Some(reaper) = reaper {
            let _panicked = reaper.join();
        }
    }

    fn stop_all(&self, stop: Stop) {
        self.shared.stopping.store(true, Ordering::Release);
        self.shared.inbox().stop_all = Some(stop);
        self.shared.changed.notify_one();
        self.shared.ring();
    }

    fn stop_run(&self, live: Option<Token>) {
        if let Some(token) = live {
            self.shared.inbox().stops.push(token);
            self.shared.ring();
        }
    }
}

impl Drop for Exec {
    fn drop(&mut self) {
        if lock(&self.reaper).is_some() {
            self.stop_all(Stop::Now);
            self.join();
        }
    }
}

/// Without its reaper an agent would go on spawning, with nobody to end or report a run. It ends
/// instead, for its supervisor to start it again; what is on disk stays, and the start-up sweep ends
/// what runs.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            std::process::abort();
        }
    }
}

impl Plan {
    /// Whether a plugin's leftovers are wanted.
    pub(super) fn keeps_leftovers(&self, name: &str) -> bool {
        name.parse()
            .ok()
            .and_then(|name| self.spec(&name))
            .is_some_and(|spec| spec.leftovers == Leftovers::Keep)
    }
}

fn no(what: &'static str) -> impl Fn(rustix::io::Errno) -> ExecError {
    move |errno| ExecError::Start { what, source: errno.into() }
}

/// Raises the soft limit on open files where `max_running` runs would not fit (two pipes and a
/// pidfd each), and returns the old one, which children get back.
fn make_room(max_running: usize) -> Option<Rlimit> {
    let wanted = max_running as u64 * 3 + 256;
    let old = rustix::process::getrlimit(Resource::Nofile);
    let enough = old.current.is_none_or(|soft| soft >= wanted);
    if enough {
        return None;
    }
    let raised = old.maximum.map_or(wanted, |hard| hard.min(wanted));
    let new = Rlimit { current: Some(raised), maximum: old.maximum };
    rustix::process::setrlimit(Resource::Nofile, new).is_ok().then_some(old)
}

/// How long a spawn may take before its run is given up.
pub(super) const SPAWN_LIMIT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::mpsc;

    use super::super::spawn::Spawned;
    use super::super::spec::{Next, Stdin};
    use super::super::trust::Trust;
    use super::*;
    use crate::model::{Outcome, RunId};

    /// The stalled file system: spawns of `stuck` do not return while this is set.
    static STALLED: AtomicBool = AtomicBool::new(true);

    fn stalling(spec: &Spec, run: RunId, nofile: Option<Rlimit>) -> Result<Spawned, String> {
        while spec.plugin.as_str() == "stuck" && STALLED.load(Ordering::Acquire) {
            thread::sleep(Duration::from_millis(5));
        }
        spawn::spawn(spec, run, nofile)
    }

    struct Every(Duration);

    impl Timetable for Every {
        fn next(&mut self, last: Option<Instant>, now: Instant) -> Next {
            Next::Due { at: last.map_or(now, |at| at + self.0), missed: 0 }
        }
    }

    fn spec(name: &str, argument: &str) -> Arc<Spec> {
        Arc::new(Spec {
            plugin: name.parse().unwrap(),
            program: PathBuf::from("/bin/sleep"),
            args: vec![argument.into()],
            dir: PathBuf::from("/"),
            env: Vec::new(),
            stdin: Stdin::Null,
            timeout: Duration::from_secs(30),
            grace: Duration::from_secs(1),
            stdout_cap: 1,
            stderr_cap: 1,
            leftovers: Leftovers::Kill,
            trust: Trust::default(),
            launch: None,
        })
    }

    #[test]
    fn a_spawn_that_hangs_costs_its_own_run_and_nobody_elses() {
        let (send, runs) = mpsc::channel();
        let settings = Settings {
            limits: Limits { concurrency: 4, max_running: 8 },
            reap_orphans_of: None,
            open: Box::new(|| true),
        };
        let exec = Exec::start_with(settings, stalling, move |run| drop(send.send(run))).unwrap();
        exec.set(spec("stuck", "60"), Box::new(Every(Duration::from_secs(3600))));
        exec.set(spec("healthy", "0"), Box::new(Every(Duration::from_millis(50))));
        let next = || runs.recv_timeout(Duration::from_secs(20)).unwrap();
        let stuck = loop {
            let run = next();
            if run.plugin.as_str() == "stuck" {
                break run;
            }
        };
        let Outcome::NotStarted { error } = &stuck.outcome else { panic!("{:?}", stuck.outcome) };
        assert!(error.contains("does its file system answer?"), "{error}");
        for _ in 0..10 {
            assert_eq!(next().outcome, Outcome::Exited { code: 0 });
        }
        // It is still being spawned: no second one is started beside it.
        assert!(exec.trigger(&"stuck".parse().unwrap()).is_err());
        // When the file system answers again, the child that comes late is ended, not reported.
        STALLED.store(false, Ordering::Release);
        let start = Instant::now();
        while exec.trigger(&"stuck".parse().unwrap()).is_err() {
            assert!(start.elapsed() < Duration::from_secs(20), "the late child lives on");
            thread::sleep(Duration::from_millis(10));
        }
        exec.stop_now();
        exec.join();
        let outcomes: Vec<Outcome> = runs
            .iter()
            .filter(|run| run.plugin.as_str() == "stuck")
            .map(|run| run.outcome)
            .collect();
        assert!(outcomes.iter().all(|o| *o == Outcome::Stopped), "{outcomes:?}");
    }
}
