use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

use rustix::event::{EventfdFlags, epoll, eventfd};

use crate::model::PluginName;

use super::plan::{Limits, Plan, Token, Untimely};
use super::reaper::Reaper;
use super::room::Room;
use super::shared::{Nofile, Shared, Stop, lock};
use super::spawn::{self, SpawnFn};
use super::spec::{Run, Spec, Timetable};
use super::standing::{Outlook, Standing};
use super::worker::{self, Tools};

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
    /// It lives on and reports by itself.
    #[error(
        "`{0}` runs all the time and prints by itself: there is nothing to trigger (`trigger = \"tick\"` would have it asked)"
    )]
    Streams(PluginName),
    /// It runs, or waits for its turn.
    #[error("`{0}` is already running or about to")]
    Busy(PluginName),
}

/// Runs plugins until it is stopped. Dropping it stops it at once.
pub struct Exec {
    shared: Arc<Shared>,
}

impl Exec {
    /// Starts the threads. `on_run` is called on the worker's thread, once for every run; while it
    /// works, nothing is started or ended.
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
        let nofile = Nofile::new();
        nofile.make_room(settings.limits.max_running, 0);
        let rings = bell
            .try_clone()
            .map_err(|source| ExecError::Start { what: "event descriptor", source })?;
        let shared = Arc::new(Shared {
            plan: Mutex::new(Plan::new(settings.limits)),
            inbox: Mutex::default(),
            epoll,
            bell,
            room: Arc::new(Room::new(rings)),
            spawning: Mutex::default(),
            stopping: AtomicBool::new(false),
            finished: Mutex::new(false),
            done: Condvar::new(),
            spawns: AtomicU64::new(0),
            dozing: AtomicBool::new(false),
            leaks: AtomicU64::new(0),
            open: settings.open,
            reap_orphans_of: settings.reap_orphans_of,
            nofile,
            spawn,
        });
        let reaper = Reaper::new(Arc::clone(&shared), Box::new(on_run)).map_err(no("timer"))?;
        let reaper = Arc::new(Mutex::new(reaper));
        worker::start(Tools { shared: Arc::clone(&shared), reaper })
            .map_err(|source| ExecError::Start { what: "thread", source })?;
        Ok(Self { shared })
    }

    /// Adds or replaces a plugin; a live run of the replaced one is stopped.
    pub fn set(&self, spec: Arc<Spec>, timetable: Box<dyn Timetable>) {
        let mut plan = self.shared.plan();
        let live = plan.set(spec, timetable, Instant::now());
        let (limits, residents) = (plan.limits(), plan.residents());
        drop(plan);
        if residents > 0 {
            self.shared.nofile.make_room(limits.max_running, residents);
        }
        self.stop_run(live);
        self.shared.ring();
    }

    /// Forgets a plugin; a live run of it is stopped.
    pub fn remove(&self, name: &PluginName) {
        let live = self.shared.plan().remove(name);
        self.stop_run(live);
    }

    /// Runs a plugin now, out of turn; a long-lived one is asked now, or started if it is down.
    pub fn trigger(&self, name: &PluginName) -> Result<(), TriggerError> {
        if !(self.shared.open)() {
            return Err(TriggerError::Closed);
        }
        let known = self.shared.plan().trigger(name, Instant::now());
        match known {
            None => Err(TriggerError::Unknown(name.clone())),
            Some(Err(Untimely::Busy)) => Err(TriggerError::Busy(name.clone())),
            Some(Err(Untimely::Streams)) => Err(TriggerError::Streams(name.clone())),
            Some(Ok(())) => {
                self.shared.ring();
                Ok(())
            }
        }
    }

    /// How a long-lived plugin fares; `None` for any other.
    pub fn standing(&self, name: &PluginName) -> Option<Standing> {
        self.shared.plan().standing(name)
    }

    /// When a plugin is due next, and since when it runs; `None` for one that is not to run.
    pub fn outlook(&self, name: &PluginName) -> Option<Outlook> {
        self.shared.plan().outlook(name)
    }

    /// Changes how much may run at once.
    pub fn set_limits(&self, limits: Limits) {
        let mut plan = self.shared.plan();
        plan.set_limits(limits);
        let residents = plan.residents();
        drop(plan);
        self.shared.nofile.make_room(limits.max_running, residents);
        self.shared.ring();
    }

    /// How many processes that escaped their run were killed and are still there. Stays 0.
    pub fn leaks(&self) -> u64 {
        self.shared.leaks.load(Ordering::Relaxed)
    }

    /// How many runs are live, long-lived plugins included.
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
        let mut finished = lock(&self.shared.finished);
        while !*finished {
            finished = self.shared.done.wait(finished).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn stop_all(&self, stop: Stop) {
        self.shared.stopping.store(true, Ordering::Release);
        self.shared.inbox().stop_all = Some(stop);
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
        self.stop_all(Stop::Now);
        self.join();
    }
}

fn no(what: &'static str) -> impl Fn(rustix::io::Errno) -> ExecError {
    move |errno| ExecError::Start { what, source: errno.into() }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use rustix::process::Rlimit;

    use super::super::spawn::Spawned;
    use super::super::spec::{Leftovers, Life, Next, Stdin};
    use super::super::trust::Trust;
    use super::*;
    use crate::model::{Outcome, RunId};

    /// The stalled file system: spawns of `stuck` do not return while this is set.
    static STALLED: AtomicBool = AtomicBool::new(true);
    /// The same for a test with many of them, and the threads that are held up.
    static ALL_STALLED: AtomicBool = AtomicBool::new(true);
    static HELD_UP: Mutex<Vec<String>> = Mutex::new(Vec::new());
    /// The same for one that was run before, and the threads that spawn another one beside it.
    static FIRST_RUN: AtomicBool = AtomicBool::new(true);
    static ELSEWHERE_STALLED: AtomicBool = AtomicBool::new(true);
    static BESIDE: Mutex<Vec<String>> = Mutex::new(Vec::new());

    fn stalling(spec: &Spec, run: RunId, nofile: Option<Rlimit>) -> Result<Spawned, String> {
        if spec.plugin.as_str().starts_with("dead") {
            let thread = thread::current().name().unwrap_or_default().to_owned();
            lock(&HELD_UP).push(thread);
            while ALL_STALLED.load(Ordering::Acquire) {
                thread::sleep(Duration::from_millis(5));
            }
        }
        // One that is looked at before lies where a shell lies, and waits for something else.
        if spec.plugin.as_str() == "elsewhere" && !FIRST_RUN.swap(false, Ordering::AcqRel) {
            while ELSEWHERE_STALLED.load(Ordering::Acquire) {
                thread::sleep(Duration::from_millis(5));
            }
        }
        if spec.plugin.as_str() == "beside" {
            let thread = thread::current().name().unwrap_or_default().to_owned();
            lock(&BESIDE).push(thread);
        }
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
            life: Life::Run,
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

    #[test]
    fn many_spawns_that_hang_hold_the_others_up_but_once() {
        let (send, runs) = mpsc::channel();
        let settings = Settings {
            limits: Limits { concurrency: 64, max_running: 64 },
            reap_orphans_of: None,
            open: Box::new(|| true),
        };
        let exec = Exec::start_with(settings, stalling, move |run| drop(send.send(run))).unwrap();
        for n in 0..20 {
            exec.set(spec(&format!("dead{n}"), "0"), Box::new(Every(Duration::from_secs(3600))));
        }
        exec.set(spec("healthy", "0"), Box::new(Every(Duration::from_millis(50))));
        let next = || runs.recv_timeout(Duration::from_secs(20)).unwrap();
        let mut given_up = 0;
        while given_up < 20 {
            let run = next();
            given_up += usize::from(matches!(run.outcome, Outcome::NotStarted { .. }));
        }
        let held_up = lock(&HELD_UP).clone();
        assert_eq!(held_up.len(), 20);
        let workers = held_up.iter().filter(|name| *name == "exec").count();
        assert_eq!(workers, 1, "each of them stood in everybody's way: {held_up:?}");
        assert_eq!(next().outcome, Outcome::Exited { code: 0 });
        ALL_STALLED.store(false, Ordering::Release);
        exec.stop_now();
        exec.join();
    }

    /// A script on a dead mount has its interpreter where everything else is: when that is seen to
    /// answer, nobody makes a detour any more.
    #[test]
    fn what_shares_a_device_with_a_spawn_that_hangs_is_run_aside_until_the_device_answers() {
        let (send, runs) = mpsc::channel();
        let settings = Settings {
            limits: Limits { concurrency: 8, max_running: 8 },
            reap_orphans_of: None,
            open: Box::new(|| true),
        };
        let exec = Exec::start_with(settings, stalling, move |run| drop(send.send(run))).unwrap();
        let known = |name: &str| {
            let trust = Trust { paths: vec![PathBuf::from("/bin/sleep")], ..Trust::default() };
            Arc::new(Spec { trust, ..(*spec(name, "0")).clone() })
        };
        let next = |name: &str| {
            std::iter::repeat_with(|| runs.recv_timeout(Duration::from_secs(20)).unwrap())
                .find(|run| run.plugin.as_str() == name)
                .unwrap()
        };
        exec.set(known("beside"), Box::new(Every(Duration::from_secs(3600))));
        assert!(next("beside").outcome.is_ok());
        exec.set(known("elsewhere"), Box::new(Every(Duration::from_secs(3600))));
        assert!(next("elsewhere").outcome.is_ok());
        exec.trigger(&"elsewhere".parse().unwrap()).unwrap();
        let run = next("elsewhere");
        assert!(matches!(run.outcome, Outcome::NotStarted { .. }), "{:?}", run.outcome);
        for _ in 0..3 {
            exec.trigger(&"beside".parse().unwrap()).unwrap();
            assert!(next("beside").outcome.is_ok());
        }
        assert_eq!(*lock(&BESIDE), ["exec", "spawner", "exec", "exec"]);
        ELSEWHERE_STALLED.store(false, Ordering::Release);
        exec.stop_now();
        exec.join();
    }
}
