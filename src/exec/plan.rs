use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::model::PluginName;

use super::spec::{Leftovers, Next, Spec, Timetable};
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
    tokens: Token,
    generations: u64,
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
            tokens: 0,
            generations: 0,
        }
    }

    pub(super) fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
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
                };
                self.entries.insert(name.clone(), entry);
                None
            }
            Some(entry) => {
                entry.spec = spec;
                entry.trusted = Arc::default();
                entry.timetable = timetable;
                entry.generation = generation;
                match entry.state {
                    State::Running { token } => Some(token),
                    State::Idle | State::Waiting { .. } => None,
                }
            }
        };
        self.schedule(name, generation, first);
        live
    }

    /// Forgets a plugin. Returns the run to be stopped, if one is live.
    pub(super) fn remove(&mut self, name: &PluginName) -> Option<Token> {
        let entry = self.entries.remove(name)?;
        self.waiting.retain(|n| n != name);
        self.waiting_suspects.retain(|n| n != name);
        match entry.state {
            State::Running { token } => Some(token),
            State::Idle | State::Waiting { .. } => None,
        }
    }

    /// Makes a plugin due now. `Err` says that it is running or waiting; `None` that it is unknown.
    pub(super) fn trigger(&mut self, name: &PluginName, now: Instant) -> Option<Result<(), ()>> {
        let entry = self.entries.get_mut(name)?;
        Some(match entry.state {
            State::Idle => {
                entry.state = State::Waiting { due: now };
                let suspect = entry.suspect;
                self.queue(suspect).push_front(name.clone());
                Ok(())
            }
            State::Waiting { .. } | State::Running { .. } => Err(()),
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

    /// A run is over.
    pub(super) fn ended(&mut self, token: Token, timed_out: bool) {
        self.young.remove(&token);
        if let Some((name, suspect)) = self.live.remove(&token) {
            self.live_suspects -= usize::from(suspect);
            if let Some(entry) = self.entries.get_mut(&name)
                && let State::Running { token: running } = entry.state
                && running == token
            {
                entry.state = State::Idle;
                entry.suspect = timed_out;
            }
        }
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
        self.live.contains_key(&token)
    }

    /// How many runs are live.
    pub(super) fn live(&self) -> usize {
        self.live.len()
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
            let generation = tag & !ASK;
            let Some(entry) = self.entries.get_mut(&name) else { continue };
            if entry.generation != generation {
                continue;
            }
            let asked = tag & ASK != 0;
            let next = entry.timetable.next((!asked).then_some(at), now);
            if !asked {
                match entry.state {
                    State::Idle if open => {
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
            Step::Sleep(_) => None,
        }
    }

    #[test]
    fn a_due_time_during_a_run_is_skipped_and_counted() {
        let t0 = Instant::now();
        let mut plan = Plan::new(Limits { concurrency: 4, max_running: 8 });
        plan.set(spec("a"), Box::new(Steady(100 * MS)), t0);
        let first = start(&mut plan, t0).unwrap();
        assert!(start(&mut plan, t0 + 350 * MS).is_none());
        plan.ended(first.token, false);
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
            plan.ended(run.token, true);
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
            plan.ended(first.token, true);
            // As a suspect it takes the one place that suspects have.
            let second = start(&mut plan, t0 + n * 2000 * MS + 1000 * MS).unwrap();
            assert_eq!(plan.remove(&name.parse().unwrap()), Some(second.token));
            plan.ended(second.token, true);
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
        plan.ended(run.token, false);
        assert!(start(&mut plan, t0).is_some());
        assert!(start(&mut plan, t0 + 500 * MS).is_none());
        assert_eq!(plan.remove(&"a".parse().unwrap()).map(|_| ()), Some(()));
        assert!(matches!(plan.step(t0 + Duration::from_secs(100), true), Step::Sleep(None)));
    }
}
