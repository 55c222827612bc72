use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::event::Timespec;
use rustix::event::epoll::{self, Event, EventData, EventFlags};

use crate::model::{Outcome, Rung, Stream};

use super::child::{Child, Drained, Left};
use super::engine::{SPAWN_LIMIT, Shared, Stop, lock};
use super::orphans::{self, Fate};
use super::plan::Token;
use super::spawner::{self, YOUTH};
use super::spec::Run;

/// How long after a run the orphans are looked for, so that many runs cost one look.
const SWEEP_AFTER: Duration = Duration::from_secs(1);
/// The longest sleep: a spawner that hangs is noticed within this.
const PATIENCE: Duration = Duration::from_secs(1);

/// What an event is about. Lies in the low bits of its tag; the run's token is above.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Exit = 0,
    Stdout = 1,
    Stderr = 2,
    Bell = 3,
}

pub(super) fn tag(token: Token, kind: Kind) -> u64 {
    token << 2 | kind as u64
}

fn untag(tag: u64) -> (Token, Kind) {
    let kind = match tag & 3 {
        0 => Kind::Exit,
        1 => Kind::Stdout,
        2 => Kind::Stderr,
        _ => Kind::Bell,
    };
    (tag >> 2, kind)
}

/// Owns every live child; wakes when one of them has something to tell.
pub(super) struct Reaper {
    shared: Arc<Shared>,
    children: HashMap<Token, Child>,
    /// Children whose pipes are not watched yet, oldest first.
    young: VecDeque<(Instant, Token)>,
    /// May hold times that no longer count; a child knows its own.
    timers: BinaryHeap<Reverse<(Instant, Token)>>,
    sweep_at: Option<Instant>,
    /// Orphans that were killed and are not gone yet.
    condemned: HashSet<i32>,
    /// Orphans without marks, and the runs that one of them may belong to.
    strangers: HashMap<i32, Vec<Token>>,
    /// Runs to be stopped whose child is still being spawned.
    stop_at_birth: HashSet<Token>,
    scratch: Vec<u8>,
}

impl Reaper {
    pub(super) fn new(shared: Arc<Shared>) -> rustix::io::Result<Self> {
        epoll::add(
            &shared.epoll,
            shared.bell.as_fd(),
            EventData::new_u64(tag(0, Kind::Bell)),
            EventFlags::IN,
        )?;
        Ok(Self {
            shared,
            children: HashMap::new(),
            young: VecDeque::new(),
            timers: BinaryHeap::new(),
            sweep_at: None,
            condemned: HashSet::new(),
            strangers: HashMap::new(),
            stop_at_birth: HashSet::new(),
            scratch: vec![0; 64 * 1024],
        })
    }

    pub(super) fn run(mut self, mut on_run: impl FnMut(Run)) {
        let mut events: Vec<Event> = Vec::with_capacity(64);
        loop {
            let timeout = self.sleep();
            events.clear();
            // An interrupted wait is a wake-up without events.
            let _interrupted = epoll::wait(
                &self.shared.epoll,
                rustix::buffer::spare_capacity(&mut events),
                Some(&timeout),
            );
            let now = Instant::now();
            self.read_inbox(now, &mut on_run);
            for event in &events {
                self.handle(untag(event.data.u64()), now, &mut on_run);
            }
            self.watch_the_grown(now);
            self.run_timers(now, &mut on_run);
            self.watch_the_spawner(&mut on_run);
            self.sweep(now);
            if self.shared.is_stopping() && self.is_done() {
                return;
            }
        }
    }

    fn is_done(&mut self) -> bool {
        let spawning = lock(&self.shared.spawning).is_some();
        let inbox = self.shared.inbox();
        let empty = inbox.children.is_empty() && inbox.failed.is_empty();
        drop(inbox);
        let done = !spawning && empty && self.children.is_empty();
        if done && self.shared.reap_orphans_of.is_some() {
            // Escapees of the last runs; they may have children of their own, inherited in turn.
            for _ in 0..20 {
                let keep = self.shared.plan().anyone_keeps_leftovers();
                let swept = orphans::sweep(&mut self.condemned, |_, marks| match marks {
                    Some(marks) if self.shared.plan().keeps_leftovers(&marks.plugin) => Fate::Live,
                    None if keep => Fate::Live,
                    _ => Fate::Die,
                });
                if swept.killed.is_empty() && swept.leaks == 0 {
                    break;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        done
    }

    /// How long nothing can happen that no descriptor tells of.
    fn sleep(&self) -> Timespec {
        let next = [self.timers.peek().map(|Reverse((at, _))| *at), self.sweep_at];
        let most = if self.shared.is_stopping() { Duration::from_millis(20) } else { PATIENCE };
        let sleep = next
            .into_iter()
            .flatten()
            .min()
            .map_or(most, |at| at.saturating_duration_since(Instant::now()).min(most));
        // The kernel counts in milliseconds here: round up, or the last one is spent spinning.
        let millis = sleep.as_micros().div_ceil(1000) as i64;
        Timespec { tv_sec: millis / 1000, tv_nsec: millis % 1000 * 1_000_000 }
    }

    fn read_inbox(&mut self, now: Instant, on_run: &mut impl FnMut(Run)) {
        let mut inbox = self.shared.inbox();
        let children = std::mem::take(&mut inbox.children);
        let failed = std::mem::take(&mut inbox.failed);
        let stops = std::mem::take(&mut inbox.stops);
        let stop_all = inbox.stop_all.take();
        drop(inbox);
        for mut child in children {
            let token = child.opening.token;
            if child.is_late() {
                child.end_now(Outcome::TimedOut { reached: Rung::Kill }, now);
            } else if self.shared.is_stopping() || self.stop_at_birth.remove(&token) {
                child.end(Outcome::Stopped, now);
                self.arm(&child);
            }
            self.young.push_back((child.opening.begun + YOUTH, token));
            self.children.insert(token, child);
        }
        for (token, run) in failed {
            self.ended(token, false);
            on_run(run);
        }
        for token in stops {
            if self.children.contains_key(&token) {
                self.stop_one(token, Stop::Gently, now);
            } else if self.shared.plan().is_live(token) {
                self.stop_at_birth.insert(token);
            }
        }
        if let Some(stop) = stop_all {
            let tokens: Vec<Token> = self.children.keys().copied().collect();
            for token in tokens {
                self.stop_one(token, stop, now);
            }
        }
    }

    fn stop_one(&mut self, token: Token, stop: Stop, now: Instant) {
        if let Some(child) = self.children.get_mut(&token) {
            match stop {
                Stop::Gently => child.end(Outcome::Stopped, now),
                Stop::Now => child.end_now(Outcome::Stopped, now),
            }
            let timer = child.timer;
            self.timers.extend(timer.map(|at| Reverse((at, token))));
        }
    }

    fn arm(&mut self, child: &Child) {
        self.timers.extend(child.timer.map(|at| Reverse((at, child.opening.token))));
    }

    fn handle(&mut self, (token, kind): (Token, Kind), now: Instant, on_run: &mut impl FnMut(Run)) {
        match kind {
            Kind::Bell => {
                let mut count = [0; 8];
                let _empty = rustix::io::read(&self.shared.bell, &mut count);
            }
            // A run that is over may still have events in this batch.
            Kind::Exit => {
                let Some(child) = self.children.get_mut(&token) else { return };
                let left = child.leader_died(&mut self.scratch, now);
                child.forget(&self.shared.epoll);
                self.settle(token, left, on_run);
            }
            Kind::Stdout => self.read(token, Stream::Stdout, now),
            Kind::Stderr => self.read(token, Stream::Stderr, now),
        }
    }

    fn read(&mut self, token: Token, stream: Stream, now: Instant) {
        let Some(child) = self.children.get_mut(&token) else { return };
        let limit = match stream {
            Stream::Stdout => child.opening.spec.stdout_cap,
            Stream::Stderr => child.opening.spec.stderr_cap,
        };
        match child.tap(stream).drain(&mut self.scratch) {
            Drained::Dry => {}
            Drained::Closed => {
                if let Some(fd) = child.tap(stream).fd() {
                    let _gone = epoll::delete(&self.shared.epoll, fd);
                }
                child.tap(stream).close();
            }
            Drained::Flooded => {
                child.end(Outcome::Flooded { stream, limit }, now);
                let timer = child.timer;
                self.timers.extend(timer.map(|at| Reverse((at, token))));
            }
        }
    }

    fn settle(&mut self, token: Token, left: Left, on_run: &mut impl FnMut(Run)) {
        match left {
            Left::Nothing => {
                let timer = self.children.get(&token).and_then(|child| child.timer);
                self.timers.extend(timer.map(|at| Reverse((at, token))));
            }
            Left::Over => {
                let Some(child) = self.children.remove(&token) else { return };
                let late = child.is_late();
                let run = child.into_run();
                let timed_out = matches!(run.outcome, Outcome::TimedOut { .. });
                self.ended(token, timed_out);
                let after = if run.outcome.was_cut() { Duration::ZERO } else { SWEEP_AFTER };
                let at = Instant::now() + after;
                self.sweep_at = Some(self.sweep_at.map_or(at, |already| already.min(at)));
                // A late one was reported when patience ran out.
                if !late {
                    on_run(run);
                }
            }
        }
    }

    fn ended(&mut self, token: Token, timed_out: bool) {
        self.stop_at_birth.remove(&token);
        if self.shared.plan().ended(token, timed_out) {
            self.shared.changed.notify_one();
        }
    }

    /// Children that outlived 20 ms: from here on their pipes and their deadline are watched.
    fn watch_the_grown(&mut self, now: Instant) {
        while let Some((at, token)) = self.young.front().copied() {
            if at > now {
                return;
            }
            self.young.pop_front();
            let Some(child) = self.children.get_mut(&token) else { continue };
            child.grow_up();
            child.watch(&self.shared.epoll);
            let timer = child.timer;
            self.timers.extend(timer.map(|at| Reverse((at, token))));
        }
    }

    fn run_timers(&mut self, now: Instant, on_run: &mut impl FnMut(Run)) {
        while let Some(Reverse((at, token))) = self.timers.peek().copied() {
            if at > now {
                return;
            }
            self.timers.pop();
            let Some(child) = self.children.get_mut(&token) else { continue };
            if child.timer == Some(at) {
                let left = child.tick(now);
                self.settle(token, left, on_run);
            }
        }
    }

    /// A spawn that hangs (an executable on a dead network mount) is given up after a second: the
    /// run is reported, and a new spawner takes over.
    fn watch_the_spawner(&mut self, on_run: &mut impl FnMut(Run)) {
        let mut spawning = lock(&self.shared.spawning);
        let hangs = spawning.as_ref().is_some_and(|s| s.opening.begun.elapsed() >= SPAWN_LIMIT);
        if !hangs {
            return;
        }
        let Some(stuck) = spawning.take() else { return };
        drop(spawning);
        let program = stuck.opening.spec.program.display().to_string();
        on_run(stuck.opening.not_started(format!(
            "`{program}` could not be started within 1 s: does its file system answer?"
        )));
        if !self.shared.is_stopping() && spawner::start(&self.shared).is_err() {
            // No thread to be had now. The old one takes over again when it comes back.
            self.shared.spawner.fetch_sub(1, Ordering::AcqRel);
        }
    }

    fn sweep(&mut self, now: Instant) {
        if self.sweep_at.is_none_or(|at| at > now) {
            return;
        }
        self.sweep_at = None;
        let Some(agent) = &self.shared.reap_orphans_of else { return };
        let live: HashMap<String, Token> = self
            .children
            .iter()
            .map(|(token, child)| (child.opening.run.to_string(), *token))
            .collect();
        let mut plan = self.shared.plan();
        let anyone_keeps = plan.anyone_keeps_leftovers();
        let strangers = &mut self.strangers;
        let swept = orphans::sweep(&mut self.condemned, |pid, marks| match marks {
            Some(marks) if marks.agent != *agent => Fate::Live,
            Some(marks) if live.contains_key(&marks.run) => Fate::Live,
            Some(marks) if plan.keeps_leftovers(&marks.plugin) => Fate::Live,
            Some(_) => Fate::Die,
            // It took its marks off. It belongs to one of the runs that were live when it was first
            // seen; when all of those are over, it is left over, whoever's it was.
            None if anyone_keeps => Fate::Live,
            None => {
                let suspects =
                    strangers.entry(pid).or_insert_with(|| live.values().copied().collect());
                suspects.retain(|token| live.values().any(|t| t == token));
                if suspects.is_empty() { Fate::Die } else { Fate::Live }
            }
        });
        for plugin in &swept.killed {
            plan.add_leftover(plugin);
        }
        drop(plan);
        self.strangers.retain(|pid, _| !self.condemned.contains(pid) && swept.some_live);
        self.shared.leaks.store(swept.leaks, Ordering::Relaxed);
        if !swept.killed.is_empty() || swept.leaks > 0 {
            // They die a moment later, and their own children are inherited then.
            self.sweep_at = Some(now + Duration::from_millis(10));
        } else if swept.some_live {
            self.sweep_at = Some(now + SWEEP_AFTER);
        }
    }
}
