use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::event::Timespec;
use rustix::event::epoll::{self, Event, EventFlags};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};

use crate::model::{Outcome, Stream};

use super::child::{Child, Drained, Left, Opening};
use super::event::{self, Kind};
use super::orphans::{self, Fate};
use super::plan::Token;
use super::shared::{SPAWN_LIMIT, Shared, Stop, lock};
use super::spec::Run;

/// A child older than this is looked after: its pipes and its deadline join what is watched.
const YOUTH: Duration = Duration::from_millis(20);
/// How long after a run the orphans are looked for, so that many runs cost one look.
const SWEEP_AFTER: Duration = Duration::from_secs(1);
/// How often they are looked for while nothing ends.
const SWEEP_LIVING: Duration = Duration::from_secs(10);
/// The longest sleep of a worker that is to end.
const IMPATIENCE: Duration = Duration::from_millis(20);

/// Owns every live child; knows when one of them has something to tell.
pub(super) struct Reaper {
    pub(super) shared: Arc<Shared>,
    pub(super) on_run: Box<dyn FnMut(Run) + Send>,
    /// Ends the worker's sleep, to the microsecond; the wait itself counts in milliseconds.
    alarm: OwnedFd,
    alarm_at: Option<Instant>,
    pub(super) children: HashMap<Token, Child>,
    /// Children whose pipes are not watched yet, oldest first.
    young: VecDeque<(Instant, Token)>,
    /// May hold times that no longer count; a child knows its own.
    timers: BinaryHeap<Reverse<(Instant, Token)>>,
    sweep_at: Option<Instant>,
    /// Orphans that were killed and are not gone yet.
    condemned: HashSet<i32>,
    /// Orphans without marks, and the runs that one of them may belong to.
    strangers: HashMap<i32, Vec<Token>>,
    /// How everything is to stop, once it is.
    stop_all: Option<Stop>,
    /// Runs to be stopped whose child is still being spawned.
    stop_at_birth: HashSet<Token>,
    pub(super) scratch: Vec<u8>,
    /// Whether reports are taken.
    pub(super) open: bool,
    /// Long-lived children whose stdout is not read at the moment.
    pub(super) paused: HashSet<Token>,
}

impl Reaper {
    pub(super) fn new(
        shared: Arc<Shared>,
        on_run: Box<dyn FnMut(Run) + Send>,
    ) -> rustix::io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let alarm = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        epoll::add(&shared.epoll, &shared.bell, event::data(0, Kind::Bell), EventFlags::IN)?;
        // Told once for each time that it goes off, so that nobody needs to read it.
        let once = EventFlags::IN | EventFlags::ET;
        epoll::add(&shared.epoll, &alarm, event::data(0, Kind::Alarm), once)?;
        Ok(Self {
            shared,
            on_run,
            alarm,
            alarm_at: None,
            children: HashMap::new(),
            young: VecDeque::new(),
            timers: BinaryHeap::new(),
            sweep_at: None,
            condemned: HashSet::new(),
            strangers: HashMap::new(),
            stop_all: None,
            stop_at_birth: HashSet::new(),
            scratch: vec![0; 64 * 1024],
            open: true,
            paused: HashSet::new(),
        })
    }

    /// A child that was just started.
    pub(super) fn adopt(&mut self, mut child: Child, now: Instant) {
        let token = child.opening.token;
        let stop_at_birth = self.stop_at_birth.remove(&token);
        match self.stop_all {
            Some(Stop::Now) => child.end_now(Outcome::Stopped, now),
            _ if stop_at_birth || self.shared.is_stopping() => child.end(Outcome::Stopped, now),
            _ => {}
        }
        if child.resident.is_some() {
            let pid = child.pid.as_raw_nonzero().get().unsigned_abs();
            self.shared.plan().lives(token, pid);
            child.grow_up(&self.shared.epoll);
        } else if child.opening.spec.timeout <= YOUTH {
            child.grow_up(&self.shared.epoll);
        } else {
            self.young.push_back((child.opening.begun + YOUTH, token));
        }
        self.timers.extend(child.timer.map(|at| Reverse((at, token))));
        self.sweep_at.get_or_insert(now + SWEEP_LIVING);
        self.children.insert(token, child);
    }

    /// A run that never came to be.
    pub(super) fn not_started(&mut self, token: Token, mut run: Run) {
        self.ended(token, &mut run);
        (self.on_run)(run);
    }

    /// Until when nothing can happen that no descriptor tells of. `plan` is when a run is due.
    pub(super) fn wakes_at(&mut self, plan: Option<Instant>, now: Instant) -> Option<Instant> {
        while let Some((_, token)) = self.young.front()
            && !self.children.contains_key(token)
        {
            self.young.pop_front();
        }
        // Times that no longer count would wake somebody for nothing.
        while let Some(Reverse((at, token))) = self.timers.peek()
            && self.children.get(token).is_none_or(|child| child.timer != Some(*at))
        {
            self.timers.pop();
        }
        let grown = self.young.front().map(|(at, _)| *at);
        let timer = self.timers.peek().map(|Reverse((at, _))| *at);
        let patience = lock(&self.shared.spawning).patience_ends();
        let stopping = self.shared.is_stopping().then(|| now + IMPATIENCE);
        let look = self.looks_again_at(now);
        [plan, grown, timer, self.sweep_at, patience, stopping, look].into_iter().flatten().min()
    }

    /// Sleeps until something happens, at most until then.
    pub(super) fn wait(&mut self, until: Option<Instant>, now: Instant, events: &mut Vec<Event>) {
        events.clear();
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        let mut timeout = until.is_some_and(|at| at <= now).then_some(&at_once);
        if timeout.is_none() && until != self.alarm_at {
            // Zero switches it off, and a sleep is never zero here.
            let sleep = until.map_or(Duration::ZERO, |at| at.duration_since(now));
            let value =
                Timespec { tv_sec: sleep.as_secs() as i64, tv_nsec: sleep.subsec_nanos().into() };
            let once = Itimerspec { it_interval: at_once, it_value: value };
            match timerfd_settime(&self.alarm, TimerfdTimerFlags::empty(), &once) {
                Ok(_) => self.alarm_at = until,
                // Cannot be; better awake than asleep for ever.
                Err(_) => timeout = Some(&at_once),
            }
        }
        // An interrupted wait is a wake-up without events.
        let _interrupted =
            epoll::wait(&self.shared.epoll, rustix::buffer::spare_capacity(events), timeout);
    }

    /// Does whatever there is to do.
    pub(super) fn turn(&mut self, events: &[Event]) {
        let now = Instant::now();
        self.read_inbox(now);
        for event in events {
            self.handle(event::parse(event.data), now);
        }
        self.watch_the_grown(now);
        self.run_timers(now);
        self.give_up_the_stuck(now);
        self.sweep(now);
    }

    /// Whether the last run has been reported. Nobody is told of one after that.
    pub(super) fn is_done(&mut self) -> bool {
        // In this order: a spawn is in the inbox before it is no longer stuck.
        let spawned = lock(&self.shared.spawning).is_empty();
        let inbox = self.shared.inbox();
        let empty = inbox.children.is_empty() && inbox.failed.is_empty();
        drop(inbox);
        let done = spawned && empty && self.children.is_empty();
        if done {
            self.sweep_escapees();
            self.on_run = Box::new(|_| {});
        }
        done
    }

    /// Escapees of the last runs; they may have children of their own, inherited in turn.
    fn sweep_escapees(&mut self) {
        if self.shared.reap_orphans_of.is_none() {
            return;
        }
        let keep = self.shared.plan().anyone_keeps_leftovers();
        for _ in 0..20 {
            let swept = orphans::sweep(&mut self.condemned, |_, marks| match marks {
                Some(marks) if self.shared.plan().keeps_leftovers(&marks.plugin) => Fate::Live,
                None if keep => Fate::Live,
                _ => Fate::Die,
            });
            if swept.killed.is_empty() && swept.leaks == 0 {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn read_inbox(&mut self, now: Instant) {
        let mut inbox = self.shared.inbox();
        let children = std::mem::take(&mut inbox.children);
        let failed = std::mem::take(&mut inbox.failed);
        let stops = std::mem::take(&mut inbox.stops);
        let stop_all = inbox.stop_all.take();
        drop(inbox);
        for child in children {
            self.adopt(child, now);
        }
        for (token, run) in failed {
            self.not_started(token, run);
        }
        for token in stops {
            if self.children.contains_key(&token) {
                self.stop_one(token, Stop::Gently, now);
            } else if lock(&self.shared.spawning).is_under_way(token) {
                self.stop_at_birth.insert(token);
            }
        }
        if let Some(stop) = stop_all {
            self.stop_all = Some(stop);
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

    fn handle(&mut self, (token, kind): (Token, Kind), now: Instant) {
        match kind {
            Kind::Alarm => self.alarm_at = None,
            Kind::Bell => {
                let mut count = [0; 8];
                let _empty = rustix::io::read(&self.shared.bell, &mut count);
            }
            // A run that is over may still have events in this batch.
            Kind::Exit => {
                let Some(child) = self.children.get_mut(&token) else { return };
                let left = child.leader_died(&mut self.scratch, now);
                child.forget(&self.shared.epoll);
                self.paused.remove(&token);
                if child.resident.is_some() {
                    self.take_last_slices(token, now);
                }
                self.settle(token, left);
            }
            Kind::Stdout => self.read(token, Stream::Stdout, now),
            Kind::Stderr => self.read(token, Stream::Stderr, now),
        }
    }

    fn read(&mut self, token: Token, stream: Stream, now: Instant) {
        let Some(child) = self.children.get_mut(&token) else { return };
        if stream == Stream::Stdout && child.resident.is_some() {
            return self.tend(token, now);
        }
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
                self.remind(token, timer);
            }
        }
        if stream == Stream::Stderr {
            self.has_talked(token, now);
        }
    }

    /// A child is to be looked at then.
    pub(super) fn remind(&mut self, token: Token, at: Option<Instant>) {
        self.timers.extend(at.map(|at| Reverse((at, token))));
    }

    fn settle(&mut self, token: Token, left: Left) {
        match left {
            Left::Nothing => {
                let timer = self.children.get(&token).and_then(|child| child.timer);
                self.timers.extend(timer.map(|at| Reverse((at, token))));
            }
            Left::Over => {
                let Some(child) = self.children.remove(&token) else { return };
                let mut run = child.into_run();
                self.paused.remove(&token);
                self.ended(token, &mut run);
                let after = if run.outcome.was_cut() { Duration::ZERO } else { SWEEP_AFTER };
                let at = Instant::now() + after;
                self.sweep_at = Some(self.sweep_at.map_or(at, |already| already.min(at)));
                (self.on_run)(run);
            }
        }
    }

    fn ended(&mut self, token: Token, run: &mut Run) {
        self.stop_at_birth.remove(&token);
        let mut plan = self.shared.plan();
        if plan.is_resident(token) {
            let (skipped, leftovers) = plan.take_counts(token);
            run.skipped += skipped;
            run.leftovers += leftovers;
            plan.last_words(token, run);
        }
        let timed_out = matches!(run.outcome, Outcome::TimedOut { .. });
        let restart = plan.ended(token, timed_out, Instant::now());
        run.notes.extend(restart.filter(|_| run.outcome != Outcome::Stopped));
    }

    /// Children that outlived 20 ms: from here on their pipes and their deadline are watched.
    fn watch_the_grown(&mut self, now: Instant) {
        while let Some((at, token)) = self.young.front().copied() {
            if at > now {
                return;
            }
            self.young.pop_front();
            let Some(child) = self.children.get_mut(&token) else { continue };
            child.grow_up(&self.shared.epoll);
            let timer = child.timer;
            self.timers.extend(timer.map(|at| Reverse((at, token))));
        }
    }

    fn run_timers(&mut self, now: Instant) {
        while let Some(Reverse((at, token))) = self.timers.peek().copied() {
            if at > now {
                return;
            }
            self.timers.pop();
            let Some(child) = self.children.get_mut(&token) else { continue };
            if child.timer != Some(at) {
                continue;
            }
            if child.is_at_home() {
                self.look_after(token, now);
            } else {
                let left = child.tick(now);
                self.settle(token, left);
            }
        }
    }

    /// A spawn that hangs (an executable on a dead network mount) is given up after a second.
    fn give_up_the_stuck(&mut self, now: Instant) {
        let given_up: Vec<Opening> = lock(&self.shared.spawning)
            .stuck
            .extract_if(.., |opening| opening.begun + SPAWN_LIMIT <= now)
            .collect();
        for opening in given_up {
            let program = opening.spec.program.display();
            let error = format!(
                "`{program}` could not be started within 1 s: does its file system answer?"
            );
            let token = opening.token;
            let run = opening.not_started(error);
            let mut plan = self.shared.plan();
            plan.last_words(token, &run);
            plan.given_up(token);
            drop(plan);
            self.stop_at_birth.remove(&token);
            (self.on_run)(run);
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
        self.strangers.retain(|pid, _| !self.condemned.contains(pid) && swept.there.contains(pid));
        self.shared.leaks.store(swept.leaks, Ordering::Relaxed);
        if !swept.killed.is_empty() || swept.leaks > 0 {
            // They die a moment later, and their own children are inherited then.
            self.sweep_at = Some(now + Duration::from_millis(10));
        } else if swept.some_live {
            self.sweep_at = Some(now + SWEEP_AFTER);
        } else if !self.children.is_empty() {
            // What those that live on leave behind is to be reaped, too.
            self.sweep_at = Some(now + SWEEP_LIVING);
        }
    }
}
