//! What the running agent says of itself.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::SELF_PLUGIN;
use crate::model::{Outcome, Report, Timestamp};
use crate::spool::Figures;

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
    /// that is no longer configured.
    pub state: String,
    /// Why it does not run, where it does not.
    pub why: Option<String>,
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
}

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
    /// Their largest memory, in bytes.
    pub max_rss: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// What it said of the thing it looks at.
    pub status: crate::model::Status,
    /// Its sentence.
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
            max_rss: report.usage.max_rss,
            outcome: report.outcome.clone(),
            status: report.status,
            message: report.message.clone(),
            accepted: report.counts.accepted,
            rejected: report.counts.rejected_total(),
        }
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
    /// For how long the oldest report that it has not acknowledged has waited, in seconds, by the
    /// spool's own clock.
    pub oldest_age: f64,
}

impl Status {
    /// Joins what is configured and live with the ledger's counters.
    pub(super) fn new(
        agent: AgentStatus,
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
            let waiting = figures.waiting_ms.get(name).copied().unwrap_or(0);
            output.oldest_age = Duration::from_millis(waiting).as_secs_f64();
        }
        Self { agent, plugins, outputs, leaks }
    }
}
