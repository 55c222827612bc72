use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use rustix::event::epoll::{self, Event, EventFlags};

use crate::model::RunId;

use super::child::{Child, Opening};
use super::diagnose;
use super::event::{self, Kind};
use super::plan::{Start, Step, Token};
use super::reaper::Reaper;
use super::room::Share;
use super::shared::{SPAWN_LIMIT, Shared, lock};
use super::spawn::Spawned;
use super::spec::Run;
use super::trust::Untrusted;

/// How often the watchdog looks whether the worker is stuck in a spawn.
const LOOK: Duration = Duration::from_millis(50);
/// A spawn that takes longer than this has the worker superseded at the next look.
const STUCK: Duration = Duration::from_millis(50);
/// Looks in a row without a spawn after which the watchdog sleeps until there is one.
const QUIET: u32 = 4;

/// What every worker is given.
#[derive(Clone)]
pub(super) struct Tools {
    pub(super) shared: Arc<Shared>,
    /// Held by the worker, but for the time of a spawn.
    pub(super) reaper: Arc<Mutex<Reaper>>,
}

/// Starts the first worker, and the watchdog over it and those after it.
pub(super) fn start(tools: Tools) -> io::Result<()> {
    start_worker(tools.clone())?;
    thread::Builder::new().name("watchdog".to_owned()).spawn(move || watch(&tools))?;
    Ok(())
}

fn start_worker(tools: Tools) -> io::Result<()> {
    thread::Builder::new().name("exec".to_owned()).spawn(move || {
        let _guard = AbortOnPanic;
        Worker { tools, children: Arc::default() }.run();
    })?;
    Ok(())
}

/// Puts another worker in the place of one that a spawn holds up (an executable on a dead network
/// mount), so that runs go on being started, ended and reported.
fn watch(tools: &Tools) {
    let shared = &tools.shared;
    let (mut begun, mut quiet) = (0, 0);
    let mut finished = lock(&shared.finished);
    while !*finished {
        if quiet < QUIET {
            let waited = shared.done.wait_timeout(finished, LOOK);
            finished = waited.unwrap_or_else(PoisonError::into_inner).0;
        } else {
            shared.dozing.store(true, Ordering::SeqCst);
            // Whoever begins a spawn after this look finds us dozing, and wakes us.
            if shared.spawns.load(Ordering::SeqCst) == begun {
                finished = shared.done.wait(finished).unwrap_or_else(PoisonError::into_inner);
            }
            shared.dozing.store(false, Ordering::SeqCst);
        }
        let mut spawning = lock(&shared.spawning);
        let spawns = shared.spawns.load(Ordering::SeqCst);
        quiet = if spawns == begun && spawning.current.is_none() { quiet + 1 } else { 0 };
        begun = spawns;
        let stuck = spawning.current.as_ref().is_some_and(|o| o.begun.elapsed() >= STUCK);
        if stuck && start_worker(tools.clone()).is_ok() {
            // The new one is kept out until this lock is released, and the old one learns from it
            // that it has been superseded.
            if let Some(opening) = spawning.current.take() {
                spawning.hangs(opening);
            }
        }
    }
}

/// Without its worker an agent would run nothing and end nothing. It ends instead, for its
/// supervisor to start it again; what is on disk stays, and the start-up sweep ends what runs.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            std::process::abort();
        }
    }
}

/// The thread that does everything, in turn: starts what is due, reads what is printed, ends what
/// is too old, collects what has ended.
struct Worker {
    tools: Tools,
    /// Live children of this thread. The thread outlives them: a parent-death signal is a
    /// thread's, not a process's.
    children: Arc<AtomicUsize>,
}

/// What became of a spawn.
enum Launched {
    Child(Child),
    NotStarted(Run),
    /// A thread of its own does it, and tells by the inbox.
    Elsewhere,
    /// Another worker has taken over: this one has nothing more to do than to wait for its own.
    Superseded,
}

impl Worker {
    fn run(&self) {
        let shared = &self.tools.shared;
        let mut events: Vec<Event> = Vec::with_capacity(64);
        // Whoever was superseded has given it up before it began to spawn.
        drop(lock(&shared.spawning));
        let mut reaper = lock(&self.tools.reaper);
        loop {
            let now = Instant::now();
            let open = (shared.open)();
            reaper.set_open(open, now);
            let step = if shared.is_stopping() {
                Step::Sleep(None)
            } else {
                shared.plan().step(now, open)
            };
            let until = match step {
                Step::Start(start) => {
                    drop(reaper);
                    let token = start.token;
                    let launched = self.launch(&start, now);
                    if let Launched::Superseded = launched {
                        break;
                    }
                    reaper = lock(&self.tools.reaper);
                    match launched {
                        Launched::Child(child) => reaper.adopt(child, now),
                        Launched::NotStarted(run) => reaper.not_started(token, run),
                        Launched::Elsewhere | Launched::Superseded => {}
                    }
                    // A look at the others between two starts.
                    Some(now)
                }
                Step::Ask(due) => {
                    reaper.ask(&due, now);
                    Some(now)
                }
                Step::Sleep(wake) => reaper.wakes_at(wake, now),
            };
            reaper.wait(until, now, &mut events);
            reaper.turn(&events);
            if shared.is_stopping() && reaper.is_done() {
                *lock(&shared.finished) = true;
                shared.done.notify_all();
                return;
            }
        }
        self.outlive_children();
    }

    fn outlive_children(&self) {
        while self.children.load(Ordering::Relaxed) > 0 {
            thread::sleep(Duration::from_secs(1));
        }
    }

    fn launch(&self, start: &Start, now: Instant) -> Launched {
        let shared = &self.tools.shared;
        let (token, run) = (start.token, RunId::new());
        let opening = Opening {
            token,
            spec: Arc::clone(&start.spec),
            run,
            started: SystemTime::now(),
            begun: now,
            lag: now.saturating_duration_since(start.due),
            skipped: start.skipped,
            leftovers: start.leftovers,
            // Nobody else waits for this lock: a plugin is spawned once at a time.
            devices: lock(&start.trusted).devices(),
        };
        let mut spawning = lock(&shared.spawning);
        if spawning.may_hang(&opening.devices) {
            let (aside, start) = (self.tools.clone(), start.clone());
            let done = thread::Builder::new().name("spawner".to_owned()).spawn(move || {
                let _guard = AbortOnPanic;
                let aside = Self { tools: aside, children: Arc::default() };
                aside.come_late(token, check_and_spawn(&aside.tools.shared, &start, run));
                aside.outlive_children();
            });
            return match done {
                Ok(_) => {
                    spawning.hangs(opening);
                    Launched::Elsewhere
                }
                Err(error) => {
                    Launched::NotStarted(opening.not_started(format!("no thread: {error}")))
                }
            };
        }
        spawning.current = Some(opening);
        drop(spawning);
        shared.spawn_begins();
        let spawned = check_and_spawn(shared, start, run);
        let mut spawning = lock(&shared.spawning);
        if let Some(opening) = spawning.current.take_if(|opening| opening.token == token) {
            spawning.answer(&opening.devices);
            drop(spawning);
            return match spawned.and_then(|s| self.watch_exit(opening.token, s)) {
                Ok(spawned) => Launched::Child(self.child(opening, spawned)),
                Err(error) => Launched::NotStarted(opening.not_started(error)),
            };
        }
        drop(spawning);
        self.come_late(token, spawned);
        Launched::Superseded
    }

    /// A spawn that hung, or might have, has returned.
    fn come_late(&self, token: Token, spawned: Result<Spawned, String>) {
        let shared = &self.tools.shared;
        let mut spawning = lock(&shared.spawning);
        match (spawning.take_stuck(token), spawned) {
            // Into the inbox before the set: when its end is seen, it must be found. And before it is
            // no longer stuck: until then nobody thinks that all is done.
            (Some(opening), spawned) => {
                if opening.begun.elapsed() < SPAWN_LIMIT {
                    spawning.answer(&opening.devices);
                }
                let mut inbox = shared.inbox();
                match spawned.and_then(|s| self.watch_exit(token, s)) {
                    Ok(spawned) => inbox.children.push(self.child(opening, spawned)),
                    Err(error) => inbox.failed.push((token, opening.not_started(error))),
                }
            }
            // The run has been given up and reported: what comes so late must only go.
            (None, spawned) => {
                drop(spawning);
                if let Ok(spawned) = spawned {
                    spawned.abandon();
                }
                let _restart = shared.plan().ended(token, true, Instant::now());
            }
        }
        shared.ring();
    }

    fn child(&self, opening: Opening, spawned: Spawned) -> Child {
        let resident = opening.spec.life.is_resident();
        let mut child = Child::new(opening, spawned, Arc::clone(&self.children));
        if resident {
            child.settle_in(Share::new(Arc::clone(&self.tools.shared.room)));
        }
        child
    }

    fn watch_exit(&self, token: u64, spawned: Spawned) -> Result<Spawned, String> {
        let data = event::data(token, Kind::Exit);
        let epoll = &self.tools.shared.epoll;
        match epoll::add(epoll, spawned.pidfd.as_fd(), data, EventFlags::IN) {
            Ok(()) => Ok(spawned),
            // Its end would not be seen.
            Err(error) => {
                spawned.abandon();
                Err(format!(
                    "it cannot be watched: {error}; see /proc/sys/fs/epoll/max_user_watches"
                ))
            }
        }
    }
}

fn check_and_spawn(shared: &Shared, start: &Start, run: RunId) -> Result<Spawned, String> {
    let spec = &start.spec;
    let trusted = spec.trust.check(&mut lock(&start.trusted), Instant::now());
    trusted.map_err(|error| match error {
        Untrusted::Stat { path, .. } => diagnose::why_not_executable(&path)
            .unwrap_or_else(|| format!("cannot look at `{}`", path.display())),
        other => format!("not run: {other}"),
    })?;
    (shared.spawn)(spec, run, shared.nofile.for_children())
}
