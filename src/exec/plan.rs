use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use crate::model::PluginName;

use super::queue::{Class, Queue};
use super::spec::{Leftovers, Life, Next, Note, Run, Spec, Timetable};
use super::standing::{LastEnd, Outlook, Standing};
use super::trust;

/// Runs younger than this count against `concurrency`; older ones are waiting for something and
/// only count against `max_running`.
const YOUNG: Duration = Duration::from_millis(250);

/// How much may run at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Runs younger than 250 ms. Plugins whose last run timed out may hold at most half of them:
    /// theirs are always as old as that, while others are over in a few milliseconds.
    pub concurrency: usize,
    /// Live runs. Plugins whose last run timed out, or of which none has ended yet, may hold at most
    /// half of them, so that hung plugins cannot starve the others.
    pub max_running: usize,
}

/// One run, from the moment it is let go until the plan hears that it ended.
pub(super) type Token = u64;

enum State {
    Idle,
    Waiting { due: Instant },
    Running { token: Token },
}

struct Entry {
    spec: Arc<Spec>,
    /// What was found of the files of this spec.
    trusted: Arc<Mutex<trust::Memory>>,
    timetable: Box<dyn Timetable>,
    /// Entries of the heap that name another generation are stale.
    generation: u64,
    state: State,
    /// When it is due next, and when its last run or life began.
    next: Option<Instant>,
    began: Option<Instant>,
    skipped: u64,
    /// Orphans of earlier runs that were killed since the last report.
    leftovers: u64,
    class: Class,
    /// Of a long-lived plugin.
    standing: Standing,
    /// A tick that fell due while it was being started.
    early_tick: Option<Instant>,
}

impl Entry {
    /// Whether it is down and to be started by then.
    fn starts_by(&self, at: Instant) -> bool {
        self.standing.next_start.is_some_and(|next| next <= at)
    }
}

/// A long-lived plugin that lived so long has recovered from whatever it died of before.
const HEALTHY: Duration = Duration::from_secs(60);
/// How often is looked whether reports are taken again, for a start that waits for it.
const CLOSED: Duration = Duration::from_millis(500);

/// Who is due, who waits, and how many run. Knows no processes: it is told what started and ended.
pub(super) struct Plan {
    limits: Limits,
    entries: HashMap<PluginName, Entry>,
    heap: BinaryHeap<Reverse<(Instant, u64, PluginName)>>,
    waiting: Queue,
    young: BTreeMap<Token, Instant>,
    /// Whose run it is, and what that was when it started.
    live: HashMap<Token, (PluginName, Class)>,
    /// Live runs of plugins that are not prompt.
    live_doubtful: usize,
    /// Runs that were given up while their spawn hangs. They take no place, for that may be for ever,
    /// but no other run of the plugin begins.
    hung: HashMap<Token, PluginName>,
    /// Long-lived plugins that live or are being started: they take no place of a run.
    homes: HashMap<Token, Home>,
    /// Long-lived plugins that are to be started.
    starting: VecDeque<PluginName>,
    /// Ticks that are due.
    ticks: VecDeque<Due>,
    tokens: Token,
    generations: u64,
}

/// A life of a long-lived plugin.
struct Home {
    plugin: PluginName,
    since: Instant,
    /// Of the entry when it was started.
    generation: u64,
}

/// A tick that is due.
#[derive(Debug, Clone)]
pub(super) struct Due {
    pub(super) token: Token,
    pub(super) plugin: PluginName,
    pub(super) at: Instant,
}

/// Why a plugin cannot be triggered now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Untimely {
    /// It runs, or waits for its turn.
    Busy,
    /// It reports by itself.
    Streams,
}

/// A run that may start now.
#[derive(Debug, Clone)]
pub(super) struct Start {
    pub(super) token: Token,
    pub(super) spec: Arc<Spec>,
    pub(super) trusted: Arc<Mutex<trust::Memory>>,
    pub(super) due: Instant,
    pub(super) skipped: u64,
    pub(super) leftovers: u64,
}

/// What the worker does next.
#[derive(Debug)]
pub(super) enum Step {
    Start(Start),
    Ask(Due),
    Sleep(Option<Instant>),
}

impl Plan {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            entries: HashMap::new(),
            heap: BinaryHeap::new(),
            waiting: Queue::default(),
            young: BTreeMap::new(),
            live: HashMap::new(),
            live_doubtful: 0,
            hung: HashMap::new(),
            homes: HashMap::new(),
            starting: VecDeque::new(),
            ticks: VecDeque::new(),
            tokens: 0,
            generations: 0,
        }
    }

    pub(super) fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    pub(super) fn limits(&self) -> Limits {
        self.limits
    }

    /// How many plugins are long-lived.
    pub(super) fn residents(&self) -> usize {
        self.entries.values().filter(|entry| entry.spec.life.is_resident()).count()
    }

    /// Adds or replaces a plugin; its counters stay. Returns the run to be stopped, if one is live.
    pub(super) fn set(
        &mut self,
        spec: Arc<Spec>,
        mut timetable: Box<dyn Timetable>,
        now: Instant,
    ) -> Option<Token> {
        let name = spec.plugin.clone();
        self.generations += 1;
        let generation = self.generations;
        let first = timetable.next(None, now);
        let resident = spec.life.is_resident();
        // One that was removed and has come back within the grace of its last run waits for that.
        let ending = self.live_of(&name);
        let live = match self.entries.get_mut(&name) {
            None => {
                let entry = Entry {
                    spec,
                    trusted: Arc::default(),
                    timetable,
                    generation,
                    state: ending.map_or(State::Idle, |token| State::Running { token }),
                    next: None,
                    began: None,
                    skipped: 0,
                    leftovers: 0,
                    class: Class::Untried,
                    standing: Standing::default(),
                    early_tick: None,
                };
                self.entries.insert(name.clone(), entry);
                ending
            }
            Some(entry) => {
                entry.spec = spec;
                entry.trusted = Arc::default();
                entry.timetable = timetable;
                entry.generation = generation;
                entry.standing.failures = 0;
                match entry.state {
                    State::Running { token } => Some(token),
                    State::Idle | State::Waiting { .. } => None,
                }
            }
        };
        if resident && live.is_none() {
            self.start_at(&name, now);
        }
        self.schedule(name, generation, first);
        live
    }

    /// The live run of a plugin, also of one that was removed since it began.
    fn live_of(&self, name: &PluginName) -> Option<Token> {
        let runs = self.live.iter().map(|(token, (plugin, _))| (token, plugin));
        let lives = self.homes.iter().map(|(token, home)| (token, &home.plugin));
        let all = runs.chain(&self.hung).chain(lives);
        all.filter(|(_, plugin)| *plugin == name).map(|(token, _)| *token).max()
    }

    /// Forgets a plugin. Returns the run to be stopped, if one is live.
    pub(super) fn remove(&mut self, name: &PluginName) -> Option<Token> {
        let entry = self.entries.remove(name)?;
        self.waiting.remove(name);
        self.starting.retain(|n| n != name);
        match entry.state {
            State::Running { token } => Some(token),
            State::Idle | State::Waiting { .. } => None,
        }
    }

    /// Makes a plugin due now; `None` says that it is unknown.
    pub(super) fn trigger(
        &mut self,
        name: &PluginName,
        now: Instant,
    ) -> Option<Result<(), Untimely>> {
        let entry = self.entries.get_mut(name)?;
        if entry.spec.life.is_resident() {
            return Some(match (&entry.state, entry.spec.life) {
                (State::Idle, life) => {
                    entry.early_tick = matches!(life, Life::Tick { .. }).then_some(now);
                    self.start_at(name, now);
                    Ok(())
                }
                (State::Running { token }, Life::Tick { .. }) => {
                    self.ticks.push_back(Due { token: *token, plugin: name.clone(), at: now });
                    Ok(())
                }
                (State::Running { .. }, _) => Err(Untimely::Streams),
                (State::Waiting { .. }, _) => Err(Untimely::Busy),
            });
        }
        Some(match entry.state {
            State::Idle => {
                entry.state = State::Waiting { due: now };
                self.waiting.push_front(entry.class, name.clone());
                Ok(())
            }
            State::Waiting { .. } | State::Running { .. } => Err(Untimely::Busy),
        })
    }

    /// What to do now. `open` is false while nothing may start because what it prints could not be
    /// kept; runs due meanwhile count as skipped.
    pub(super) fn step(&mut self, now: Instant, open: bool) -> Step {
        self.take_due(now, open);
        while let Some((&token, &since)) = self.young.first_key_value() {
            if now < since + YOUNG {
                break;
            }
            self.young.remove(&token);
        }
        if let Some(due) = self.ticks.pop_front() {
            return Step::Ask(due);
        }
        if let Some(name) = self.starting.pop_front() {
            return self.start(&name, now);
        }
        if let Some(name) = self.admit() {
            return self.start(&name, now);
        }
        let mut wake = self.heap.peek().map(|Reverse((at, ..))| *at);
        if !self.waiting.is_empty()
            && let Some(oldest) = self.young.values().next()
        {
            let grown = *oldest + YOUNG;
            wake = Some(wake.map_or(grown, |at| at.min(grown)));
        }
        Step::Sleep(wake)
    }

    /// A run is over. What is returned says when a long-lived plugin is started again.
    pub(super) fn ended(&mut self, token: Token, timed_out: bool, now: Instant) -> Option<Note> {
        self.young.remove(&token);
        if let Some(home) = self.homes.remove(&token) {
            return self.moved_out(token, &home, now);
        }
        let mut replaced_by_resident = None;
        let hung = self.hung.remove(&token);
        if let Some(name) = hung.or_else(|| self.give_place_back(token))
            && let Some(entry) = self.entries.get_mut(&name)
            && let State::Running { token: running } = entry.state
            && running == token
        {
            entry.state = State::Idle;
            entry.class = if timed_out { Class::Suspect } else { Class::Prompt };
            if entry.spec.life.is_resident() {
                replaced_by_resident = Some(name);
            }
        }
        if let Some(name) = replaced_by_resident {
            self.start_at(&name, now);
        }
        None
    }

    /// A run has been reported whose spawn has not returned.
    pub(super) fn given_up(&mut self, token: Token) {
        self.young.remove(&token);
        if let Some(name) = self.give_place_back(token) {
            self.hung.insert(token, name);
        }
    }

    fn give_place_back(&mut self, token: Token) -> Option<PluginName> {
        let (name, class) = self.live.remove(&token)?;
        self.live_doubtful -= usize::from(class != Class::Prompt);
        Some(name)
    }

    /// A life is over: the next one begins after a while, or at once where the plugin has changed.
    fn moved_out(&mut self, token: Token, home: &Home, now: Instant) -> Option<Note> {
        self.ticks.retain(|due| due.token != token);
        let entry = self.entries.get_mut(&home.plugin)?;
        if !matches!(entry.state, State::Running { token: running } if running == token) {
            return None;
        }
        entry.state = State::Idle;
        (entry.standing.pid, entry.standing.since, entry.standing.silent) = (None, None, false);
        if !entry.spec.life.is_resident() {
            return None;
        }
        if entry.generation != home.generation {
            self.start_at(&home.plugin, now);
            return None;
        }
        let lived = now.duration_since(home.since);
        if lived >= HEALTHY {
            entry.standing.failures = 0;
        }
        entry.standing.failures = entry.standing.failures.saturating_add(1);
        let failures = entry.standing.failures;
        let after = entry.timetable.restart(failures);
        self.start_at(&home.plugin, now + after);
        Some(Note::Restart { lived, failures, after })
    }

    /// A long-lived plugin is to be started then.
    fn start_at(&mut self, name: &PluginName, at: Instant) {
        if let Some(entry) = self.entries.get_mut(name) {
            entry.standing.next_start = Some(at);
            self.heap.push(Reverse((at, entry.generation | BEGIN, name.clone())));
        }
    }

    /// A long-lived plugin has been started.
    pub(super) fn lives(&mut self, token: Token, pid: u32) {
        if let Some(standing) = self.standing_of(token) {
            standing.pid = Some(pid);
            standing.since = Some(SystemTime::now());
        }
    }

    /// How a life ended.
    pub(super) fn last_words(&mut self, token: Token, run: &Run) {
        if let Some(standing) = self.standing_of(token) {
            standing.last_end = Some(LastEnd {
                at: SystemTime::now(),
                outcome: run.outcome.clone(),
                stderr: String::from_utf8_lossy(&run.stderr).trim_end().to_owned(),
            });
        }
    }

    pub(super) fn set_silent(&mut self, token: Token, silent: bool) {
        if let Some(standing) = self.standing_of(token) {
            standing.silent = silent;
        }
    }

    /// Whether this is or was to be the life of a long-lived plugin.
    pub(super) fn is_resident(&self, token: Token) -> bool {
        self.homes.contains_key(&token)
    }

    fn standing_of(&mut self, token: Token) -> Option<&mut Standing> {
        let home = self.homes.get(&token)?;
        self.entries.get_mut(&home.plugin).map(|entry| &mut entry.standing)
    }

    pub(super) fn standing(&self, name: &PluginName) -> Option<Standing> {
        let entry = self.entries.get(name)?;
        if !entry.spec.life.is_resident() {
            return None;
        }
        let mut standing = entry.standing.clone();
        let age = standing.since.and_then(|since| since.elapsed().ok());
        if age.is_some_and(|age| age >= HEALTHY) {
            standing.failures = 0;
        }
        Some(standing)
    }

    /// When a plugin is due next, and since when it runs or waits.
    pub(super) fn outlook(&self, name: &PluginName) -> Option<Outlook> {
        let entry = self.entries.get(name)?;
        Some(match entry.state {
            State::Idle => Outlook { next: entry.next, ..Outlook::default() },
            State::Waiting { due } => Outlook { next: Some(due), ..Outlook::default() },
            State::Running { .. } => Outlook { next: entry.next, running: entry.began },
        })
    }

    /// A tick came to nothing.
    pub(super) fn add_skipped(&mut self, name: &PluginName) {
        if let Some(entry) = self.entries.get_mut(name) {
            entry.skipped += 1;
        }
    }

    /// Skipped ticks and leftovers since the last report of this life.
    pub(super) fn take_counts(&mut self, token: Token) -> (u64, u64) {
        let home = self.homes.get(&token);
        let Some(entry) = home.and_then(|home| self.entries.get_mut(&home.plugin)) else {
            return (0, 0);
        };
        (std::mem::take(&mut entry.skipped), std::mem::take(&mut entry.leftovers))
    }

    /// An orphan of an earlier run of `name` was killed.
    pub(super) fn add_leftover(&mut self, name: &str) {
        if let Some(entry) = name.parse().ok().and_then(|n: PluginName| self.entries.get_mut(&n)) {
            entry.leftovers += 1;
        }
    }

    /// What a plugin runs.
    pub(super) fn spec(&self, name: &PluginName) -> Option<&Arc<Spec>> {
        self.entries.get(name).map(|entry| &entry.spec)
    }

    /// Whether a plugin's leftovers are wanted.
    pub(super) fn keeps_leftovers(&self, name: &str) -> bool {
        name.parse()
            .ok()
            .and_then(|name| self.spec(&name))
            .is_some_and(|spec| spec.leftovers == Leftovers::Keep)
    }

    /// Whether any plugin may leave processes behind.
    pub(super) fn anyone_keeps_leftovers(&self) -> bool {
        self.entries.values().any(|entry| entry.spec.leftovers == Leftovers::Keep)
    }

    /// How many runs are live, long-lived plugins included.
    pub(super) fn live(&self) -> usize {
        self.live.len() + self.homes.len()
    }

    fn schedule(&mut self, name: PluginName, generation: u64, next: Next) {
        if let Some(entry) = self.entries.get_mut(&name) {
            entry.next = match next {
                Next::Due { at, .. } => Some(at),
                Next::Ask(_) | Next::Never => None,
            };
        }
        match next {
            Next::Due { at, missed } => {
                if let Some(entry) = self.entries.get_mut(&name) {
                    entry.skipped += missed;
                }
                self.heap.push(Reverse((at, generation, name)));
            }
            Next::Ask(at) => self.heap.push(Reverse((at, generation | ASK, name))),
            Next::Never => {}
        }
    }

    fn take_due(&mut self, now: Instant, open: bool) {
        while let Some(Reverse((at, ..))) = self.heap.peek() {
            if *at > now {
                return;
            }
            let Some(Reverse((at, tag, name))) = self.heap.pop() else { return };
            let generation = tag & !(ASK | BEGIN);
            let Some(entry) = self.entries.get_mut(&name) else { continue };
            if entry.generation != generation {
                continue;
            }
            if tag & BEGIN != 0 {
                match entry.state {
                    // A later time may have been set since.
                    _ if entry.standing.next_start.is_none_or(|next| next != at) => {}
                    State::Idle if open => {
                        entry.state = State::Waiting { due: at };
                        self.starting.push_back(name);
                    }
                    State::Idle => self.start_at(&name, now + CLOSED),
                    State::Waiting { .. } | State::Running { .. } => {}
                }
                continue;
            }
            let asked = tag & ASK != 0;
            let next = entry.timetable.next((!asked).then_some(at), now);
            if !asked {
                match entry.state {
                    State::Running { token } if open && entry.spec.life.is_resident() => {
                        self.ticks.push_back(Due { token, plugin: name.clone(), at });
                    }
                    State::Waiting { .. } if entry.spec.life.is_resident() => {
                        entry.early_tick = Some(at);
                    }
                    State::Idle if entry.spec.life.is_resident() && entry.starts_by(now) => {
                        entry.early_tick = Some(at);
                    }
                    State::Idle if open && !entry.spec.life.is_resident() => {
                        entry.state = State::Waiting { due: at };
                        self.waiting.push_back(entry.class, name.clone());
                    }
                    State::Idle | State::Waiting { .. } | State::Running { .. } => {
                        entry.skipped += 1;
                    }
                }
            }
            self.schedule(name, generation, next);
        }
    }

    fn admit(&mut self) -> Option<PluginName> {
        let Limits { concurrency, max_running } = self.limits;
        if self.live.len() >= max_running || self.young.len() >= concurrency {
            return None;
        }
        if let Some(name) = self.waiting.pop(Class::Prompt) {
            return Some(name);
        }
        if self.live_doubtful >= half(max_running) {
            return None;
        }
        if let Some(name) = self.waiting.pop(Class::Untried) {
            return Some(name);
        }
        let suspect = |token| matches!(self.live.get(token), Some((_, Class::Suspect)));
        if self.young.keys().filter(|token| suspect(token)).count() >= half(concurrency) {
            return None;
        }
        self.waiting.pop(Class::Suspect)
    }

    fn start(&mut self, name: &PluginName, now: Instant) -> Step {
        self.tokens += 1;
        let token = self.tokens;
        let Some(entry) = self.entries.get_mut(name) else { return Step::Sleep(Some(now)) };
        let due = match entry.state {
            State::Waiting { due } => due,
            State::Idle | State::Running { .. } => now,
        };
        entry.state = State::Running { token };
        entry.began = Some(now);
        if entry.spec.life.is_resident() {
            entry.standing.next_start = None;
            entry.standing.starts += 1;
            let home = Home { plugin: name.clone(), since: now, generation: entry.generation };
            self.homes.insert(token, home);
            if let Some(at) = entry.early_tick.take() {
                self.ticks.push_back(Due { token, plugin: name.clone(), at });
            }
            return Step::Start(Start {
                token,
                spec: Arc::clone(&entry.spec),
                trusted: Arc::clone(&entry.trusted),
                due,
                skipped: 0,
                leftovers: 0,
            });
        }
        self.live_doubtful += usize::from(entry.class != Class::Prompt);
        self.young.insert(token, now);
        self.live.insert(token, (name.clone(), entry.class));
        Step::Start(Start {
            token,
            spec: Arc::clone(&entry.spec),
            trusted: Arc::clone(&entry.trusted),
            due,
            skipped: std::mem::take(&mut entry.skipped),
            leftovers: std::mem::take(&mut entry.leftovers),
        })
    }
}

/// What the doubtful may hold of so many places.
fn half(places: usize) -> usize {
    (places / 2).max(1)
}

/// Marks an entry of the heap as a question to the timetable rather than a due time.
const ASK: u64 = 1 << 63;
/// Marks an entry of the heap as the start of a long-lived plugin.
const BEGIN: u64 = 1 << 62;

#[cfg(test)]
mod tests;
