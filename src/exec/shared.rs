use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rustix::process::{Resource, Rlimit};

use super::child::{Child, Opening};
use super::plan::{Plan, Token};
use super::room::Room;
use super::spawn::SpawnFn;
use super::spec::Run;

/// What the threads share.
pub(super) struct Shared {
    pub(super) plan: Mutex<Plan>,
    pub(super) inbox: Mutex<Inbox>,
    pub(super) epoll: OwnedFd,
    /// Wakes the worker.
    pub(super) bell: OwnedFd,
    /// What long-lived plugins printed and nobody has judged yet.
    pub(super) room: Arc<Room>,
    pub(super) spawning: Mutex<Spawning>,
    pub(super) stopping: AtomicBool,
    pub(super) finished: Mutex<bool>,
    /// Tells that `finished` has become true, or the watchdog that it is needed again.
    pub(super) done: Condvar,
    /// How many spawns the workers have begun.
    pub(super) spawns: AtomicU64,
    /// Whether the watchdog sleeps until one begins.
    pub(super) dozing: AtomicBool,
    /// Orphans that outlived a kill, at the last look.
    pub(super) leaks: AtomicU64,
    pub(super) open: Box<dyn Fn() -> bool + Send + Sync>,
    pub(super) reap_orphans_of: Option<String>,
    pub(super) nofile: Nofile,
    pub(super) spawn: SpawnFn,
}

/// What the worker has not yet seen.
#[derive(Default)]
pub(super) struct Inbox {
    /// Children of a worker that was superseded while it spawned them.
    pub(super) children: Vec<Child>,
    /// Runs that never came to be, of such a worker.
    pub(super) failed: Vec<(Token, Run)>,
    /// Live runs to be stopped.
    pub(super) stops: Vec<Token>,
    pub(super) stop_all: Option<Stop>,
}

/// Spawns that have begun and not returned.
#[derive(Default)]
pub(super) struct Spawning {
    /// The worker's.
    pub(super) current: Option<Opening>,
    /// Those of workers that were superseded, and those on threads of their own, until they are
    /// given up.
    pub(super) stuck: Vec<Opening>,
    /// The same until they return, and the devices that their files were on.
    hanging: Vec<(Token, Arc<[u64]>)>,
}

impl Spawning {
    pub(super) fn is_empty(&self) -> bool {
        self.current.is_none() && self.stuck.is_empty()
    }

    /// Whether a run's spawn has begun, and has neither returned nor been given up.
    pub(super) fn is_under_way(&self, token: Token) -> bool {
        self.current.iter().chain(&self.stuck).any(|opening| opening.token == token)
    }

    /// Others go on beside this one.
    pub(super) fn hangs(&mut self, opening: Opening) {
        self.hanging.push((opening.token, Arc::clone(&opening.devices)));
        self.stuck.push(opening);
    }

    /// Whether a spawn from these devices may hang as others do at the moment. Where a program that
    /// was never looked at lies is not known.
    pub(super) fn may_hang(&self, devices: &[u64]) -> bool {
        let shares = |hanging: &[u64]| hanging.iter().any(|device| devices.contains(device));
        self.hanging.iter().any(|(_, hanging)| devices.is_empty() || shares(hanging))
    }

    /// A spawn from these devices has come back: they are not what the others wait for.
    pub(super) fn answer(&mut self, devices: &[u64]) {
        for (_, hanging) in &mut self.hanging {
            if hanging.iter().any(|device| devices.contains(device)) {
                *hanging = hanging.iter().copied().filter(|d| !devices.contains(d)).collect();
            }
        }
    }

    /// Takes out the spawn of a run that has returned, if it has not been given up.
    pub(super) fn take_stuck(&mut self, token: Token) -> Option<Opening> {
        self.hanging.retain(|(hanging, _)| *hanging != token);
        let at = self.stuck.iter().position(|opening| opening.token == token)?;
        Some(self.stuck.swap_remove(at))
    }

    /// When the first of the stuck ones is to be given up.
    pub(super) fn patience_ends(&self) -> Option<Instant> {
        self.stuck.iter().map(|opening| opening.begun + SPAWN_LIMIT).min()
    }
}

/// How long a spawn may take before its run is given up.
pub(super) const SPAWN_LIMIT: std::time::Duration = std::time::Duration::from_secs(1);

/// How fast everything stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// TERM, grace, KILL.
    Gently,
    /// KILL.
    Now,
}

/// The limit on open files: the agent's may be raised, its children get the original.
pub(super) struct Nofile {
    original: Rlimit,
    raised: AtomicBool,
}

impl Nofile {
    pub(super) fn new() -> Self {
        let original = rustix::process::getrlimit(Resource::Nofile);
        Self { original, raised: AtomicBool::new(false) }
    }

    /// Raises the soft limit where `max_running` runs (two pipes and a pidfd each) and so many
    /// long-lived plugins (one pipe more) would not fit.
    pub(super) fn make_room(&self, max_running: usize, residents: usize) {
        let wanted = max_running as u64 * 3 + residents as u64 * 4 + 256;
        let now = rustix::process::getrlimit(Resource::Nofile);
        if now.current.is_none_or(|soft| soft >= wanted) {
            return;
        }
        let raised = now.maximum.map_or(wanted, |hard| hard.min(wanted));
        let new = Rlimit { current: Some(raised), maximum: now.maximum };
        if rustix::process::setrlimit(Resource::Nofile, new).is_ok() {
            self.raised.store(true, Ordering::Relaxed);
        }
    }

    /// What a child is to be given back.
    pub(super) fn for_children(&self) -> Option<Rlimit> {
        self.raised.load(Ordering::Relaxed).then_some(self.original)
    }
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

    /// A worker is about to spawn: the watchdog is to look.
    pub(super) fn spawn_begins(&self) {
        self.spawns.fetch_add(1, Ordering::SeqCst);
        if self.dozing.load(Ordering::SeqCst) {
            // It holds this lock but while it sleeps.
            drop(lock(&self.finished));
            self.done.notify_all();
        }
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}

/// A panic of one thread while it held a lock must not silence the others.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
