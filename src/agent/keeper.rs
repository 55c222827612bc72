//! Takes ended runs on the reaper's thread: judges them, hands their reports to the spool, and
//! passes on what plugins say on stderr.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use crate::exec::Run;
use crate::model::{PluginName, Report};
use crate::spool::{NewReport, Spool};

use super::plugin::Plugin;

/// Lines of a plugin's stderr that are logged in [`WINDOW`]; the rest is counted.
const LINES: u32 = 20;
const WINDOW: Duration = Duration::from_secs(60);

/// The plugins, as the reaper's thread looks them up. A plugin that was removed stays until its
/// last run has been reported.
#[derive(Default)]
pub(super) struct Plugins {
    current: RwLock<HashMap<PluginName, Arc<Plugin>>>,
    retired: Mutex<HashMap<PluginName, Arc<Plugin>>>,
}

impl Plugins {
    pub(super) fn insert(&self, plugin: Arc<Plugin>) {
        let name = plugin.config.name.clone();
        self.current.write().unwrap_or_else(PoisonError::into_inner).insert(name, plugin);
    }

    pub(super) fn remove(&self, name: &PluginName) {
        let removed = self.current.write().unwrap_or_else(PoisonError::into_inner).remove(name);
        if let Some(plugin) = removed {
            self.retired
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(name.clone(), plugin);
        }
    }

    pub(super) fn get(&self, name: &PluginName) -> Option<Arc<Plugin>> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    pub(super) fn all(&self) -> Vec<Arc<Plugin>> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    fn of_run(&self, name: &PluginName) -> Option<Arc<Plugin>> {
        self.get(name)
            .or_else(|| self.retired.lock().unwrap_or_else(PoisonError::into_inner).remove(name))
    }
}

/// What is done with each run.
pub(super) struct Keeper {
    pub(super) plugins: Arc<Plugins>,
    pub(super) spool: Spool,
    pub(super) on_report: Box<dyn Fn(&Report) + Send>,
    pub(super) talk: HashMap<PluginName, Talk>,
}

/// How much of a plugin's stderr has been logged lately.
pub(super) struct Talk {
    since: Instant,
    lines: u32,
    suppressed: u64,
}

impl Keeper {
    pub(super) fn keep(&mut self, run: Run) {
        let Some(plugin) = self.plugins.of_run(&run.plugin) else {
            tracing::error!(plugin = %run.plugin, "a run of an unknown plugin was dropped");
            return;
        };
        self.log_stderr(&run);
        let report = plugin.report(run);
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
            rejections: report.rejected,
        };
        if let Err(error) = self.spool.append(new) {
            tracing::error!(plugin = %report.plugin, error = crate::model::chain(&error), "a report was lost");
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
