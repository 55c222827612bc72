//! What the running agent says of itself.

use std::collections::BTreeMap;
use std::time::Duration;

use std::time::{Instant, SystemTime};

use serde::{Deserialize, Serialize};

use crate::config::SELF_PLUGIN;
use crate::exec::{self, Outlook, Standing};
use crate::model::{Metric, Outcome, Rejection, Report, Tags, Timestamp, Value};
use crate::spool::{Figures, Ledger};

/// `talaia status --json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The agent itself.
    pub agent: AgentStatus,
    /// By plugin name.
    pub plugins: BTreeMap<String, PluginStatus>,
    /// By output name.
    pub outputs: BTreeMap<String, OutputStatus>,
    /// Processes that escaped their run, could not be killed and still live. Stays 0.
    pub leaks: u64,
}

/// The agent itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentStatus {
    /// Its id.
    pub id: String,
    /// Its host.
    pub host: String,
    /// Its version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// When it started.
    pub started: Timestamp,
    /// For how long it has run, in seconds.
    pub uptime: f64,
    /// Live runs.
    pub running: usize,
    /// Its memory, in bytes; null where the system does not say.
    pub rss: Option<u64>,
    /// Its own CPU time, in seconds, without that of plugins.
    pub cpu: Option<f64>,
    /// How late half of the runs of the last minute or two started, in seconds; null without any.
    pub lag_p50: Option<f64>,
    /// The same, for all but the latest hundredth.
    pub lag_p99: Option<f64>,
    /// Bytes of reports that wait on disk.
    pub spool_bytes: u64,
    /// Reports that were lost because the disk did not keep up, since the agent started.
    pub overflowed: u64,
    /// Refused records and reports in quarantine.
    pub quarantine_items: u64,
    /// Bytes in quarantine.
    pub quarantine_bytes: u64,
    /// Where the spool cannot be written, why. Reports wait in memory meanwhile.
    pub spool_error: Option<String>,
}

/// One plugin. The counters are the ledger's: they outlive the agent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PluginStatus {
    /// `ready`, `disabled`, `skipped`, `broken`, `built-in` for the agent's own, or `gone` for one
    /// that is no longer configured; of a long-lived plugin that is down also `backing_off`, and
    /// `crash_loop` after three ends in a row.
    pub state: String,
    /// Why it does not run, where it does not; or what is odd about one that does.
    pub why: Option<String>,
    /// How a long-lived plugin fares; null for one that is started for each run.
    #[serde(default)]
    pub life: Option<LifeStatus>,
    /// Reports.
    pub runs: u64,
    /// Due runs that were skipped.
    pub skipped: u64,
    /// Records printed.
    pub produced: u64,
    /// Records accepted.
    pub accepted: u64,
    /// Records refused, by code.
    pub rejected: BTreeMap<String, u64>,
    /// Series that it has had since the agent started.
    pub series: Option<u64>,
    /// The last run since the agent started.
    pub last: Option<LastRun>,
    /// When it is due next, or was, while it waits for its turn; null for one that does not run, or
    /// prints when it likes.
    #[serde(default)]
    pub next_run: Option<Timestamp>,
    /// Since when it runs, or lives; null while it does not.
    #[serde(default)]
    pub running_since: Option<Timestamp>,
    /// How long half of its last 60 runs took, in seconds.
    #[serde(default)]
    pub duration_p50: Option<f64>,
    /// The same, for all but the slowest hundredth.
    #[serde(default)]
    pub duration_p99: Option<f64>,
}

/// One plugin at length: what it is, and what is remembered of its last runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PluginDetail {
    /// Its name.
    pub plugin: String,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// The folder it runs in.
    pub dir: String,
    /// `interval`, `stream`, or `tick`.
    pub mode: String,
    /// Its interval in seconds; null under cron, and for one that prints when it likes.
    pub interval: Option<f64>,
    /// Its cron expression.
    pub cron: Option<String>,
    /// How long a run may take, in seconds.
    pub timeout: f64,
    /// How its output is read.
    pub format: String,
    /// How long its last runs took, in seconds, at most 60 of them, the oldest first.
    pub durations: Vec<f32>,
    /// The first metrics of the last run that had any.
    pub values: Vec<ShownValue>,
    /// When the last run started that had refused records.
    pub refused_at: Option<Timestamp>,
    /// The first of those.
    pub refused: Vec<Rejection>,
    /// When the last run started that said anything on stderr.
    pub stderr_at: Option<Timestamp>,
    /// The last of what it said.
    pub stderr: String,
}

/// A metric, to be looked at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShownValue {
    /// Its name, with the tags that are its own: `disk_used{mount=/}`.
    pub name: String,
    /// Its value. A text may be cut.
    pub value: Value,
    /// Its unit.
    pub unit: Option<Box<str>>,
}

impl ShownValue {
    /// `known` are the tags that need not be said; of a text so many bytes are kept.
    pub(super) fn new(metric: &Metric, known: &Tags, longest: usize) -> Self {
        let mut shown = Self { name: String::new(), value: Value::Gap, unit: None };
        shown.set(metric, known, longest);
        shown
    }

    /// Shows another one in its place, and copies only what differs.
    pub(super) fn set(&mut self, metric: &Metric, known: &Tags, longest: usize) {
        self.name.clear();
        self.name.push_str(&metric.name);
        let own = metric.tags.iter().filter(|(key, value)| known.get(key) != Some(*value));
        for (n, (key, value)) in own.enumerate() {
            self.name.push(if n == 0 { '{' } else { ',' });
            for part in [key, "=", value] {
                self.name.push_str(part);
            }
        }
        if self.name.len() > metric.name.len() {
            self.name.push('}');
        }
        match &metric.value {
            Value::Text(text) if text.len() > longest => {
                self.value = Value::Text(cut(text, longest).into());
            }
            value if self.value == *value => {}
            value => self.value = value.clone(),
        }
        if self.unit != metric.unit {
            self.unit.clone_from(&metric.unit);
        }
    }
}

/// So many bytes of a text; what is cut ends in `…`.
fn cut(text: &str, longest: usize) -> String {
    if text.len() <= longest {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(longest)])
}

/// How a long-lived plugin fares.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LifeStatus {
    /// Its process; null while it is down.
    pub pid: Option<u32>,
    /// Since when it lives.
    pub since: Option<Timestamp>,
    /// How often it has been started since the agent was.
    pub starts: u64,
    /// Ends in a row, without a minute of life between them.
    pub failures: u32,
    /// When it is started again, while it is down.
    pub next_start: Option<Timestamp>,
    /// How its last life ended.
    pub last_end: Option<Outcome>,
    /// When.
    pub ended: Option<Timestamp>,
    /// The last of what it said on stderr then.
    pub stderr: String,
    /// It has lived for long and printed nothing.
    pub silent: bool,
}

/// Ends in a row that make a crash loop.
const CRASH_LOOP: u32 = 3;
/// Bytes of stderr that are shown where a plugin that is down is spoken of.
const SHOWN: usize = 200;

impl LifeStatus {
    pub(super) fn new(standing: Standing) -> Self {
        let wait = standing.next_start.map(|at| at.saturating_duration_since(Instant::now()));
        let (last_end, ended, stderr) = match standing.last_end {
            Some(end) => (Some(end.outcome), Some(Timestamp::from(end.at)), end.stderr),
            None => (None, None, String::new()),
        };
        Self {
            pid: standing.pid,
            since: standing.since.map(Timestamp::from),
            starts: standing.starts,
            failures: standing.failures,
            next_start: wait.map(|wait| Timestamp::from(SystemTime::now() + wait)),
            last_end,
            ended,
            stderr,
            silent: standing.silent,
        }
    }

    /// The state of a plugin that is to run, and what is to be said of it.
    pub(super) fn state(&self, buffering: &str) -> (&'static str, Option<String>) {
        if self.failures >= CRASH_LOOP {
            return ("crash_loop", Some(self.failures_in_words()));
        }
        if self.pid.is_none() && self.failures > 0 {
            return ("backing_off", Some(self.failures_in_words()));
        }
        let why = format!("it has printed nothing; probably its output is buffered: {buffering}");
        ("ready", self.silent.then_some(why))
    }

    fn failures_in_words(&self) -> String {
        let mut words = match self.failures {
            1 => "it ended".to_owned(),
            n => format!("it ended {n} times in a row"),
        };
        if let Some(outcome) = &self.last_end {
            words.push_str(&format!(" ({outcome})"));
        }
        match (&self.next_start, self.pid) {
            (Some(at), _) => {
                let at = at.to_string();
                words.push_str(&format!("; backing off until {}", at.get(11..19).unwrap_or(&at)));
            }
            (None, Some(pid)) => words.push_str(&format!("; started again as {pid}")),
            (None, None) => {}
        }
        let from = self.stderr.ceil_char_boundary(self.stderr.len().saturating_sub(SHOWN));
        if let Some(line) = self.stderr[from..].lines().next_back() {
            words.push_str(&format!("; its last words: {line}"));
        }
        words
    }
}

/// Bytes of a run's sentence that are remembered.
const MESSAGE: usize = 1024;

/// A plugin's last run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LastRun {
    /// When it started.
    pub started: Timestamp,
    /// How long after it was due that was, in seconds.
    pub lag: f64,
    /// How long it took, in seconds.
    pub duration: f64,
    /// CPU time of the program and its waited-for children, in seconds.
    pub cpu: f64,
    /// Their largest memory, in bytes, where it is known.
    pub max_rss: Option<u64>,
    /// How it ended.
    pub outcome: Outcome,
    /// What it said of the thing it looks at.
    pub status: crate::model::Status,
    /// Its sentence; a long one is cut.
    pub message: Option<String>,
    /// Records it printed, accepted and refused.
    pub accepted: u64,
    /// Records that were refused.
    pub rejected: u64,
}

impl LastRun {
    /// The run of `report`, which started `lag` after it was due.
    pub(super) fn new(report: &Report, lag: Duration) -> Self {
        Self {
            started: report.started,
            lag: lag.as_secs_f64(),
            duration: report.duration,
            cpu: report.usage.cpu,
            max_rss: exec::memory_of_run(&report.outcome, report.usage.max_rss),
            outcome: report.outcome.clone(),
            status: report.status,
            message: report.message.as_deref().map(|text| cut(text, MESSAGE)),
            accepted: report.counts.accepted,
            rejected: report.counts.rejected_total(),
        }
    }
}

impl PluginStatus {
    /// What it is about to do.
    pub(super) fn look_ahead(&mut self, outlook: Outlook) {
        let (now, clock) = (Instant::now(), SystemTime::now());
        let wall = |at: Instant| {
            let ahead = at.checked_duration_since(now).map(|ahead| clock + ahead);
            Timestamp::from(ahead.unwrap_or_else(|| clock - now.duration_since(at)))
        };
        self.next_run = outlook.next.map(wall);
        self.running_since = outlook.running.map(wall);
    }
}

/// One output: `accepted = delivered + spooled + filtered + evicted`, in records.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct OutputStatus {
    /// `ok`, `retry` or `hold`; `removed` for one that is no longer configured.
    pub state: String,
    /// What is in the way.
    pub error: Option<String>,
    /// Records accepted since the output began.
    pub accepted: u64,
    /// Records it acknowledged.
    pub delivered: u64,
    /// Records on disk that it has not acknowledged.
    pub spooled: u64,
    /// Records its own filter left out.
    pub filtered: u64,
    /// Records it never got, by reason.
    pub evicted: BTreeMap<String, u64>,
    /// Of those, by reason, what was lost since the agent started: not what it refused, nor what it
    /// left behind when it was removed.
    #[serde(default)]
    pub lost: BTreeMap<String, u64>,
    /// For how long the oldest report that it has not acknowledged has waited, in seconds, by the
    /// spool's own clock.
    pub oldest_age: f64,
}

impl Status {
    /// Joins what is configured and live with the ledger's counters, as they were when the agent
    /// started and as they are.
    pub(super) fn new(
        agent: AgentStatus,
        begun: &Ledger,
        figures: &Figures,
        mut plugins: BTreeMap<String, PluginStatus>,
        mut outputs: BTreeMap<String, OutputStatus>,
        leaks: u64,
    ) -> Self {
        for (name, totals) in &figures.ledger.plugins {
            let state = if name == SELF_PLUGIN { "built-in" } else { "gone" };
            let gone = || PluginStatus { state: state.to_owned(), ..PluginStatus::default() };
            let plugin = plugins.entry(name.clone()).or_insert_with(gone);
            plugin.runs = totals.runs;
            plugin.skipped = totals.skipped;
            plugin.produced = totals.produced;
            plugin.accepted = totals.accepted;
            plugin.rejected = totals.rejected.clone();
        }
        for (name, totals) in &figures.ledger.outputs {
            let removed =
                || OutputStatus { state: "removed".to_owned(), ..OutputStatus::default() };
            let output = outputs.entry(name.clone()).or_insert_with(removed);
            output.accepted = totals.accepted;
            output.delivered = totals.delivered;
            output.spooled = totals.spooled;
            output.filtered = totals.filtered;
            output.evicted = totals
                .evicted
                .iter()
                .map(|(reason, count)| (reason.as_str().to_owned(), *count))
                .collect();
            let before = begun.outputs.get(name);
            output.lost = totals
                .lost_since(before)
                .map(|(reason, count)| (reason.as_str().to_owned(), count))
                .collect();
            let waiting = figures.waiting_ms.get(name).copied().unwrap_or(0);
            output.oldest_age = Duration::from_millis(waiting).as_secs_f64();
        }
        Self { agent, plugins, outputs, leaks }
    }
}
