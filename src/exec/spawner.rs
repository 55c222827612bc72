use std::collections::VecDeque;
use std::io;
use std::num::NonZeroU64;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use rustix::event::epoll::{self, EventData, EventFlags};

use crate::model::RunId;

use super::child::{Child, Opening};
use super::engine::{Shared, Spawning, lock};
use super::plan::{Plan, Start, Step};
use super::reaper::{Kind, tag};
use super::spawn::Spawned;

/// A child older than this is looked after: its pipes and its deadline join the reaper's set.
pub(super) const YOUTH: Duration = Duration::from_millis(20);

/// Starts a spawner, which supersedes the one before it.
pub(super) fn start(shared: &Arc<Shared>) -> io::Result<()> {
    let number = shared.spawner.fetch_add(1, Ordering::AcqRel) + 1;
    let shared = Arc::clone(shared);
    thread::Builder::new().name("spawner".to_owned()).spawn(move || {
        // Sleep until the due time, not up to 50 µs after it.
        let _default = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
        Spawner { shared, number, children: Arc::default(), growing: VecDeque::new() }.run();
    })?;
    Ok(())
}

struct Spawner {
    shared: Arc<Shared>,
    number: u64,
    /// Live children of this thread. The thread outlives them: a parent-death signal is a
    /// thread's, not a process's.
    children: Arc<AtomicUsize>,
    /// Children younger than [`YOUTH`], oldest first.
    growing: VecDeque<(Instant, Arc<AtomicBool>)>,
}

impl Spawner {
    fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let mut plan = shared.plan();
        while self.is_current() {
            let now = Instant::now();
            let grown = self.ring_for_the_grown(now);
            match plan.step(now, (shared.open)()) {
                Step::Start(start) => {
                    drop(plan);
                    self.launch(&start, now);
                    plan = shared.plan();
                }
                Step::Sleep(wake) => {
                    let until = [wake, grown].into_iter().flatten().min();
                    plan = wait(&shared, plan, until);
                }
            }
        }
        drop(plan);
        while self.children.load(Ordering::Relaxed) > 0 {
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn is_current(&self) -> bool {
        !self.shared.is_stopping() && self.shared.spawner.load(Ordering::Acquire) == self.number
    }

    /// Wakes the reaper once a child has outlived its youth, and says when to look again.
    fn ring_for_the_grown(&mut self, now: Instant) -> Option<Instant> {
        while let Some((at, done)) = self.growing.front() {
            if done.load(Ordering::Relaxed) {
                self.growing.pop_front();
                continue;
            }
            if *at > now {
                return Some(*at);
            }
            self.growing.pop_front();
            self.shared.ring();
        }
        None
    }

    fn launch(&mut self, start: &Start, now: Instant) {
        let shared = Arc::clone(&self.shared);
        let spec = Arc::clone(&start.spec);
        let run = RunId::new();
        let open = || Opening {
            token: start.token,
            spec: Arc::clone(&spec),
            run,
            started: SystemTime::now(),
            begun: now,
            lag: now.saturating_duration_since(start.due),
            skipped: start.skipped,
            leftovers: start.leftovers,
        };
        *lock(&shared.spawning) = Some(Spawning { opening: open() });
        let spawned = self.check_and_spawn(&spec, run);
        let mut spawning = lock(&shared.spawning);
        let opening = match spawning.take() {
            Some(mine) if mine.opening.token == start.token => Some(mine.opening),
            other => {
                // The reaper lost patience: this run has been reported as not started.
                *spawning = other;
                None
            }
        };
        drop(spawning);
        match (spawned, opening) {
            (Ok(spawned), Some(mine)) => self.hand_over(mine, spawned, Timing::InTime),
            (Ok(spawned), None) => self.hand_over(open(), spawned, Timing::Late),
            (Err(error), Some(mine)) => {
                let token = mine.token;
                shared.inbox().failed.push((token, mine.not_started(error)));
                shared.ring();
            }
            (Err(_), None) => {
                shared.plan().ended(start.token, false);
            }
        }
    }

    fn check_and_spawn(&self, spec: &super::spec::Spec, run: RunId) -> Result<Spawned, String> {
        // The memory is taken out while the disk is asked, so that nobody waits for it.
        let mut memory = lock(&self.shared.trust).remove(&spec.plugin).unwrap_or_default();
        let trusted = spec.trust.check(&mut memory, Instant::now());
        lock(&self.shared.trust).insert(spec.plugin.clone(), memory);
        trusted.map_err(|error| match error {
            super::trust::Untrusted::Stat { path, .. } => {
                super::diagnose::why_not_executable(&path)
                    .unwrap_or_else(|| format!("cannot look at `{}`", path.display()))
            }
            other => format!("not run: {other}"),
        })?;
        (self.shared.spawn)(spec, run, self.shared.nofile)
    }

    fn hand_over(&mut self, opening: Opening, spawned: Spawned, timing: Timing) {
        let token = opening.token;
        let hurry = timing == Timing::Late || opening.spec.timeout <= YOUTH;
        let grows_up = opening.begun + YOUTH;
        let child =
            Child::new(opening, spawned, Arc::clone(&self.children), timing == Timing::Late);
        let done = Arc::clone(&child.done);
        // Into the inbox before the set: whoever wakes the reaper, it finds the child.
        let mut inbox = self.shared.inbox();
        let added = epoll::add(
            &self.shared.epoll,
            child.pidfd.as_fd(),
            EventData::new_u64(tag(token, Kind::Exit)),
            EventFlags::IN,
        );
        inbox.children.push(child);
        drop(inbox);
        if added.is_err() || hurry {
            self.shared.ring();
        }
        self.growing.push_back((grows_up, done));
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Timing {
    InTime,
    Late,
}

fn wait<'a>(
    shared: &'a Shared,
    plan: MutexGuard<'a, Plan>,
    until: Option<Instant>,
) -> MutexGuard<'a, Plan> {
    match until {
        None => shared.changed.wait(plan).unwrap_or_else(PoisonError::into_inner),
        Some(until) => {
            let sleep = until.saturating_duration_since(Instant::now());
            let woken = shared.changed.wait_timeout(plan, sleep);
            woken.unwrap_or_else(PoisonError::into_inner).0
        }
    }
}
