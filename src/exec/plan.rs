use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use crate::model::{Outcome, PluginName};

use super::spec::{Leftovers, Life, Next, Note, Run, Spec, Timetable};
use super::trust;

/// Runs younger than this count against `concurrency`; older ones are waiting for something and
/// only count against `max_running`.
const YOUNG: Duration = Duration::from_millis(250);

/// How much may run at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Runs younger than 250 ms.
    pub concurrency: usize,
    /// Live runs. Plugins whose last run timed out may hold at most half of them, so that hung
    /// plugins cannot starve the others.
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
    skipped: u64,
    /// Orphans of earlier runs that were killed since the last report.
    leftovers: u64,
    /// The last run timed out.
    suspect: bool,
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

/// How a long-lived plugin fares.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    /// Its process, while it lives.
    pub pid: Option<u32>,
    /// Since when it lives.
    pub since: Option<SystemTime>,
    /// How often it has been started.
    pub starts: u64,
    /// Ends in a row, without a minute of life between them.
    pub failures: u32,
    /// When it is started again, while it is down.
    pub next_start: Option<Instant>,
    /// How its last life ended.
    pub last_end: Option<LastEnd>,
    /// It has lived for long and printed nothing.
    pub silent: bool,
}

/// How a life ended.
#[derive(Debug, Clone)]
pub struct LastEnd {
    /// When.
    pub at: SystemTime,
    /// How.
    pub outcome: Outcome,
    /// The last of what it said on stderr, at most 4 KiB.
    pub stderr: String,
}

/// Who is due, who waits, and how many run. Knows no processes: it is told what started and ended.
pub(super) struct Plan {
    limits: Limits,
    entries: HashMap<PluginName, Entry>,
    heap: BinaryHeap<Reverse<(Instant, u64, PluginName)>>,
    waiting: VecDeque<PluginName>,
    waiting_suspects: VecDeque<PluginName>,
    young: BTreeMap<Token, Instant>,
    /// Whose run it is, and whether it counts among the suspects'.
    live: HashMap<Token, (PluginName, bool)>,
    live_suspects: usize,
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
#[derive(Debug)]
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
            waiting: VecDeque::new(),
            waiting_suspects: VecDeque::new(),
            young: BTreeMap::new(),
            live: HashMap::new(),
            live_suspects: 0,
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
        let live = match self.entries.get_mut(&name) {
            None => {
                let entry = Entry {
                    spec,
                    trusted: Arc::default(),
                    timetable,
                    generation,
                    state: State::Idle,
                    skipped: 0,
                    leftovers: 0,
                    suspect: false,
                    standing: Standing::default(),
                    early_tick: None,
                };
                self.entries.insert(name.clone(), entry);
                None
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

    /// Forgets a plugin. Returns the run to be stopped, if one is live.
    pub(super) fn remove(&mut self, name: &PluginName) -> Option<Token> {
        let entry = self.entries.remove(name)?;
        self.waiting.retain(|n| n != name);
        self.waiting_suspects.retain(|n| n != name);
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
                let suspect = entry.suspect;
                self.queue(suspect).push_front(name.clone());
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
        let someone_waits = !self.waiting.is_empty() || !self.waiting_suspects.is_empty();
        if someone_waits && let Some(oldest) = self.young.values().next() {
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
        if let Some((name, suspect)) = self.live.remove(&token) {
            self.live_suspects -= usize::from(suspect);
            if let Some(entry) = self.entries.get_mut(&name)
                && let State::Running { token: running } = entry.state
                && running == token
            {
                entry.state = State::Idle;
                entry.suspect = timed_out;
                if entry.spec.life.is_resident() {
                    replaced_by_resident = Some(name);
                }
            }
        }
        if let Some(name) = replaced_by_resident {
            self.start_at(&name, now);
        }
        None
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

    /// Whether a run has been let go and has not ended.
    pub(super) fn is_live(&self, token: Token) -> bool {
        self.live.contains_key(&token) || self.homes.contains_key(&token)
    }

    /// How many runs are live, long-lived plugins included.
    pub(super) fn live(&self) -> usize {
        self.live.len() + self.homes.len()
    }

    fn queue(&mut self, suspect: bool) -> &mut VecDeque<PluginName> {
        if suspect { &mut self.waiting_suspects } else { &mut self.waiting }
    }

    fn schedule(&mut self, name: PluginName, generation: u64, next: Next) {
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
                        let suspect = entry.suspect;
                        self.queue(suspect).push_back(name.clone());
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
        if self.live.len() >= self.limits.max_running || self.young.len() >= self.limits.concurrency
        {
            return None;
        }
        if let Some(name) = self.waiting.pop_front() {
            return Some(name);
        }
        if self.live_suspects >= (self.limits.max_running / 2).max(1) {
            return None;
        }
        self.waiting_suspects.pop_front()
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
        self.live_suspects += usize::from(entry.suspect);
        self.young.insert(token, now);
        self.live.insert(token, (name.clone(), entry.suspect));
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

/// Marks an entry of the heap as a question to the timetable rather than a due time.
const ASK: u64 = 1 << 63;
/// Marks an entry of the heap as the start of a long-lived plugin.
const BEGIN: u64 = 1 << 62;

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::spec::Stdin;
    use super::super::trust::Trust;
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Due every `interval`, starting at once.
    struct Steady(Duration);

    impl Timetable for Steady {
        fn next(&mut self, last: Option<Instant>, now: Instant) -> Next {
            Next::Due { at: last.map_or(now, |at| at + self.0), missed: 0 }
        }
    }

    fn spec(name: &str) -> Arc<Spec> {
        Arc::new(Spec {
            plugin: name.parse().unwrap(),
            program: PathBuf::from("/bin/true"),
            args: Vec::new(),
            dir: PathBuf::from("/"),
            env: Vec::new(),
            life: Life::Run,
            stdin: Stdin::Null,
            timeout: Duration::from_secs(1),
            grace: Duration::from_secs(1),
            stdout_cap: 1,
            stderr_cap: 1,
            leftovers: Leftovers::Kill,
            trust: Trust::default(),
            launch: None,
        })
    }

    fn start(plan: &mut Plan, now: Instant) -> Option<Start> {
        match plan.step(now, true) {
            Step::Start(start) => Some(start),
            Step::Ask(_) | Step::Sleep(_) => None,
        }
    }

    #[test]
    fn a_due_time_during_a_run_is_skipped_and_counted() {
        let t0 = Instant::now();
        let mut plan = Plan::new(Limits { concurrency: 4, max_running: 8 });
        plan.set(spec("a"), Box::new(Steady(100 * MS)), t0);
        let first = start(&mut plan, t0).unwrap();
        assert!(start(&mut plan, t0 + 350 * MS).is_none());
        plan.ended(first.token, false, t0);
        let second = start(&mut plan, t0 + 400 * MS).unwrap();
        assert_eq!((second.skipped, second.due), (3, t0 + 400 * MS));
    }

    #[test]
    fn young_runs_are_limited_and_a_waiting_run_keeps_its_due_time() {
        let t0 = Instant::now();
        let mut plan = Plan::new(Limits { concurrency: 2, max_running: 8 });
        for name in ["a", "b", "c"] {
            plan.set(spec(name), Box::new(Steady(Duration::from_secs(60))), t0);
        }
        assert!(start(&mut plan, t0).is_some());
        assert!(start(&mut plan, t0).is_some());
        let Step::Sleep(Some(wake)) = plan.step(t0, true) else { panic!("a third run started") };
        assert_eq!(wake, t0 + YOUNG);
        assert_eq!(start(&mut plan, t0 + YOUNG).unwrap().due, t0);
    }

    #[test]
    fn plugins_that_time_out_hold_at_most_half() {
        let t0 = Instant::now();
        let mut plan = Plan::new(Limits { concurrency: 100, max_running: 4 });
        for n in 0..8 {
            plan.set(spec(&format!("hung{n}")), Box::new(Steady(1000 * MS)), t0);
        }
        // Everybody times out once.
        for _ in 0..8 {
            let run = start(&mut plan, t0).unwrap();
            plan.ended(run.token, true, t0);
        }
        plan.set(spec("healthy"), Box::new(Steady(1000 * MS)), t0 + 1000 * MS);
        let now = t0 + 1000 * MS;
        let started: Vec<Start> = std::iter::from_fn(|| start(&mut plan, now)).collect();
        assert_eq!(started.len(), 3);
        assert_eq!(started.iter().filter(|s| s.spec.plugin.as_str() == "healthy").count(), 1);
    }

    #[test]
    fn a_hung_plugin_that_is_removed_gives_its_place_back() {
        let t0 = Instant::now();
        let mut plan = Plan::new(Limits { concurrency: 100, max_running: 2 });
        for n in 0..4_u32 {
            let name = format!("hung{n}");
            plan.set(spec(&name), Box::new(Steady(1000 * MS)), t0 + n * 2000 * MS);
            let first = start(&mut plan, t0 + n * 2000 * MS).unwrap();
            plan.ended(first.token, true, t0);
            // As a suspect it takes the one place that suspects have.
            let second = start(&mut plan, t0 + n * 2000 * MS + 1000 * MS).unwrap();
            assert_eq!(plan.remove(&name.parse().unwrap()), Some(second.token));
            plan.ended(second.token, true, t0);
        }
    }

    #[test]
    fn nothing_starts_while_its_output_could_not_be_kept() {
        let t0 = Instant::now();
        let mut plan = Plan::new(Limits { concurrency: 4, max_running: 4 });
        plan.set(spec("a"), Box::new(Steady(100 * MS)), t0);
        assert!(matches!(plan.step(t0, false), Step::Sleep(Some(_))));
        assert_eq!(start(&mut plan, t0 + 100 * MS).unwrap().skipped, 1);
    }

    #[test]
    fn a_replaced_plugin_leaves_its_old_due_times_behind() {
        let t0 = Instant::now();
        let mut plan = Plan::new(Limits { concurrency: 4, max_running: 4 });
        plan.set(spec("a"), Box::new(Steady(100 * MS)), t0);
        let run = start(&mut plan, t0).unwrap();
        let live = plan.set(spec("a"), Box::new(Steady(Duration::from_secs(60))), t0);
        assert_eq!(live, Some(run.token));
        plan.ended(run.token, false, t0);
        assert!(start(&mut plan, t0).is_some());
        assert!(start(&mut plan, t0 + 500 * MS).is_none());
        assert_eq!(plan.remove(&"a".parse().unwrap()).map(|_| ()), Some(()));
        assert!(matches!(plan.step(t0 + Duration::from_secs(100), true), Step::Sleep(None)));
    }
}
