//! Takes ended runs on a thread of its own: judges them, hands their reports to the spool, and
//! passes on what plugins say on stderr.

use std::collections::HashMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::exec::Run;
use crate::model::{PluginName, Report, WarningCode};
use crate::spool::{NewReport, Spool};

use super::lags::Lags;
use super::plugin::Plugin;
use super::report::Reported;

/// Lines of a plugin's stderr that are logged in [`WINDOW`]; the rest is counted.
const LINES: u32 = 20;
const WINDOW: Duration = Duration::from_secs(60);

/// Refused records of a plugin that are told in [`WINDOW`], and bytes of them that go into quarantine;
/// the rest is counted. More would push out of the spool what others have there, and wear the disk.
const TOLD: usize = 1000;
const KEPT: usize = 4 << 20;
/// What a refused record weighs beyond its excerpt.
const OVERHEAD: usize = 256;

/// After a run the keeper sleeps this long before it takes the next: a wake-up costs more than
/// judging what an ordinary plugin prints.
const LINGER: Duration = Duration::from_millis(20);
/// Output that may wait to be judged, in bytes. Nothing is started while more waits.
const ROOM: usize = 2 << 20;

/// How long a plugin that was removed is remembered for the runs of it that still end.
const RETIREMENT: Duration = Duration::from_secs(3600);

/// The plugins, as the keeper's thread looks them up.
#[derive(Default)]
pub(super) struct Plugins {
    current: RwLock<HashMap<PluginName, Arc<Plugin>>>,
    retired: Mutex<HashMap<PluginName, (Arc<Plugin>, Instant)>>,
}

impl Plugins {
    pub(super) fn insert(&self, plugin: Arc<Plugin>) {
        let name = plugin.config.name.clone();
        self.current.write().unwrap_or_else(PoisonError::into_inner).insert(name, plugin);
    }

    pub(super) fn remove(&self, name: &PluginName) {
        let removed = self.current.write().unwrap_or_else(PoisonError::into_inner).remove(name);
        if let Some(plugin) = removed {
            let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
            retired.retain(|_, (_, since)| since.elapsed() < RETIREMENT);
            retired.insert(name.clone(), (plugin, Instant::now()));
        }
    }

    pub(super) fn get(&self, name: &PluginName) -> Option<Arc<Plugin>> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    pub(super) fn all(&self) -> Vec<Arc<Plugin>> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    fn of_run(&self, name: &PluginName) -> Option<Arc<Plugin>> {
        self.get(name).or_else(|| {
            let retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
            retired.get(name).map(|(plugin, _)| Arc::clone(plugin))
        })
    }
}

/// What the keeper's thread is told.
enum Order {
    Keep(Box<Run>),
    /// To answer when all that came before it is kept.
    Answer(mpsc::Sender<()>),
}

/// The keeper's thread.
pub(super) struct Handle {
    thread: JoinHandle<()>,
    orders: mpsc::Sender<Order>,
}

/// How far the keeper has to get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finish {
    /// Whoever gives runs has given the last one, and is gone: to the end.
    Ended,
    /// Through what it has been given by now.
    SoFar,
}

impl Handle {
    /// Waits until it is there. False says that it will not be.
    pub(super) fn finish(self, finish: Finish) -> bool {
        if finish == Finish::Ended {
            drop(self.orders);
            return self.thread.join().is_ok();
        }
        let (done, answered) = mpsc::channel();
        self.orders.send(Order::Answer(done)).is_ok() && answered.recv().is_ok()
    }
}

/// Starts the keeper's thread. What it returns takes the runs, and blocks while [`ROOM`] is full.
pub(super) fn start(mut keeper: Keeper) -> io::Result<(impl FnMut(Run) + Send + 'static, Handle)> {
    let (orders, inbox) = mpsc::channel::<Order>();
    let room = Arc::new(Room::default());
    let freed = Arc::clone(&room);
    let thread = thread::Builder::new().name("keeper".to_owned()).spawn(move || {
        while let Ok(first) = inbox.recv() {
            let mut next = Some(first);
            while let Some(order) = next {
                match order {
                    Order::Keep(run) => {
                        let size = size(&run);
                        keeper.try_keep(*run);
                        freed.give_back(size);
                    }
                    // Nobody waits any more: nothing to tell.
                    Order::Answer(done) => drop(done.send(())),
                }
                next = inbox.try_recv().ok().or_else(|| {
                    thread::sleep(LINGER);
                    inbox.try_recv().ok()
                });
            }
        }
    })?;
    let runs = orders.clone();
    let give = move |run: Run| {
        room.take(size(&run));
        // The keeper's thread lives as long as this.
        let _kept = runs.send(Order::Keep(Box::new(run)));
    };
    Ok((give, Handle { thread, orders }))
}

/// What a run takes of the room. A slice of a long-lived plugin has its share of another, where only
/// that plugin waits.
fn size(run: &Run) -> usize {
    if run.part.is_some() { 0 } else { run.stdout.len() }
}

/// Bytes of output that wait to be judged.
#[derive(Default)]
struct Room {
    taken: Mutex<usize>,
    freed: Condvar,
}

impl Room {
    fn take(&self, size: usize) {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = self
            .freed
            .wait_while(taken, |taken| *taken > ROOM)
            .unwrap_or_else(PoisonError::into_inner);
        *taken += size;
    }

    fn give_back(&self, size: usize) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let was_full = *taken > ROOM;
        *taken -= size;
        if was_full && *taken <= ROOM {
            self.freed.notify_one();
        }
    }
}

/// What is done with each run.
pub(super) struct Keeper {
    pub(super) plugins: Arc<Plugins>,
    pub(super) spool: Spool,
    pub(super) on_report: Box<dyn Fn(&Report) + Send>,
    pub(super) talk: HashMap<PluginName, Talk>,
    pub(super) told: HashMap<PluginName, Told>,
    pub(super) lags: Arc<Lags>,
}

/// How many refused records of a plugin may still be told and kept in this window.
#[derive(Clone, Copy)]
pub(super) struct Told {
    since: Instant,
    records: usize,
    bytes: usize,
}

/// How much of a plugin's stderr has been logged lately.
pub(super) struct Talk {
    since: Instant,
    lines: u32,
    suppressed: u64,
}

impl Keeper {
    /// A defect that one plugin's output brings to light must not silence the others.
    fn try_keep(&mut self, run: Run) {
        let plugin = run.plugin.clone();
        if catch_unwind(AssertUnwindSafe(|| self.keep(run))).is_err() {
            tracing::error!(%plugin, "a run was lost by a defect of the agent");
        }
    }

    fn keep(&mut self, run: Run) {
        let Some(plugin) = self.plugins.of_run(&run.plugin) else {
            tracing::error!(plugin = %run.plugin, "a run of an unknown plugin was dropped");
            return;
        };
        self.log_stderr(&run);
        self.lags.note(run.lag, Instant::now());
        let mut reported = plugin.report(run);
        self.spare(&mut reported);
        let Reported { report, quarantine, .. } = reported;
        (self.on_report)(&report);
        let body = match report.to_json() {
            Ok(body) => body,
            Err(error) => {
                tracing::error!(plugin = %report.plugin, %error, "a report cannot be written as JSON");
                return;
            }
        };
        let new = NewReport {
            plugin: report.plugin.clone(),
            body,
            counts: report.counts,
            skipped: report.skipped,
            quarantine,
        };
        if let Err(error) = self.spool.append(new) {
            tracing::error!(plugin = %report.plugin, error = crate::model::chain(&error), "a report was lost");
        }
    }

    /// Leaves out what goes beyond [`TOLD`] and [`KEPT`].
    fn spare(&mut self, reported: &mut Reported) {
        let Reported { report, quarantine, .. } = reported;
        if report.rejected.is_empty() {
            return;
        }
        let now = Instant::now();
        let is_over = |told: &Told| now.duration_since(told.since) >= WINDOW;
        if self.told.get(&report.plugin).is_some_and(is_over) {
            self.told.retain(|_, told| !is_over(told));
        }
        let fresh = Told { since: now, records: TOLD, bytes: KEPT };
        let left = self.told.entry(report.plugin.clone()).or_insert(fresh);
        let tell = report.rejected.len().min(left.records);
        left.records -= tell;
        let fits = quarantine.come.iter().take_while(|item| {
            let rest = left.bytes.checked_sub(item.excerpt.bytes.len() + OVERHEAD);
            left.bytes = rest.unwrap_or(0);
            rest.is_some()
        });
        let keep = fits.count();
        if tell < report.rejected.len() {
            report.rejected.truncate(tell);
            report.warnings.push(WarningCode::RejectionsCut.says(format_args!(
                "more than {TOLD} records were refused within a minute; the rest is \
                 counted and not told"
            )));
        }
        if keep < quarantine.come.len() {
            quarantine.come.truncate(keep);
            report.warnings.push(WarningCode::QuarantineCut.says(format_args!(
                "more than {} MiB of records were refused within a minute; the rest \
                 is counted and not kept",
                KEPT >> 20
            )));
        }
    }

    fn log_stderr(&mut self, run: &Run) {
        if run.stderr.is_empty() {
            return;
        }
        let now = Instant::now();
        let fresh = || Talk { since: now, lines: 0, suppressed: 0 };
        let talk = self.talk.entry(run.plugin.clone()).or_insert_with(fresh);
        if now.duration_since(talk.since) >= WINDOW {
            if talk.suppressed > 0 {
                let lines = talk.suppressed;
                tracing::info!(plugin = %run.plugin, lines, "more lines on stderr were not shown");
            }
            *talk = fresh();
        }
        for line in String::from_utf8_lossy(&run.stderr).lines() {
            if talk.lines >= LINES {
                talk.suppressed += 1;
                continue;
            }
            talk.lines += 1;
            log_line(&run.plugin, line);
        }
    }
}

/// A line of stderr at the level that its prefix names.
fn log_line(plugin: &PluginName, line: &str) {
    let (level, text) = level(line);
    // Control characters would let a plugin write over the terminal.
    let text: String =
        text.chars().map(|c| if c.is_control() && c != '\t' { '·' } else { c }).collect();
    match level {
        Level::Error => tracing::error!(target: "plugin", %plugin, "{text}"),
        Level::Warning => tracing::warn!(target: "plugin", %plugin, "{text}"),
        Level::Info => tracing::info!(target: "plugin", %plugin, "{text}"),
        Level::Debug => tracing::debug!(target: "plugin", %plugin, "{text}"),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Error,
    Warning,
    Info,
    Debug,
}

/// Prefixes `E! W! I! D!`, or `<0>` to `<7>` as systemd has them. Without one: info.
fn level(line: &str) -> (Level, &str) {
    const PREFIXES: [(&str, Level); 12] = [
        ("E!", Level::Error),
        ("W!", Level::Warning),
        ("I!", Level::Info),
        ("D!", Level::Debug),
        ("<0>", Level::Error),
        ("<1>", Level::Error),
        ("<2>", Level::Error),
        ("<3>", Level::Error),
        ("<4>", Level::Warning),
        ("<5>", Level::Info),
        ("<6>", Level::Info),
        ("<7>", Level::Debug),
    ];
    PREFIXES
        .iter()
        .find_map(|(prefix, level)| Some((*level, line.strip_prefix(prefix)?.trim_start())))
        .unwrap_or((Level::Info, line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_sets_the_level() {
        assert_eq!(level("E! no route"), (Level::Error, "no route"));
        assert_eq!(level("<4>slow"), (Level::Warning, "slow"));
        assert_eq!(level("plain"), (Level::Info, "plain"));
        assert_eq!(level("<8>plain"), (Level::Info, "<8>plain"));
    }
}
