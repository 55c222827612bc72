//! What the running agent says of itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{Outcome, Report, Timestamp};
use crate::spool::Ledger;

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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Live runs.
    pub running: usize,
    /// Where the spool cannot be written, why. Reports wait in memory meanwhile.
    pub spool_error: Option<String>,
}

/// One plugin. The counters are the ledger's: they outlive the agent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PluginStatus {
    /// `ready`, `disabled`, `skipped`, `broken`, or `gone` for one that is no longer configured.
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
    /// The last run since the agent started.
    pub last: Option<LastRun>,
}

/// A plugin's last run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LastRun {
    /// When it started.
    pub started: Timestamp,
    /// How long it took, in seconds.
    pub duration: f64,
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

impl From<&Report> for LastRun {
    fn from(report: &Report) -> Self {
        Self {
            started: report.started,
            duration: report.duration,
            outcome: report.outcome.clone(),
            status: report.status,
            message: report.message.clone(),
            accepted: report.counts.accepted,
            rejected: report.counts.rejected_total(),
        }
    }
}

/// One output: `accepted = delivered + spooled + filtered + evicted`, in records.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
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
}

impl Status {
    /// Joins what is configured and live with the ledger's counters.
    pub(super) fn new(
        agent: AgentStatus,
        ledger: &Ledger,
        mut plugins: BTreeMap<String, PluginStatus>,
        mut outputs: BTreeMap<String, OutputStatus>,
        leaks: u64,
    ) -> Self {
        for (name, totals) in &ledger.plugins {
            let gone = || PluginStatus { state: "gone".to_owned(), ..PluginStatus::default() };
            let plugin = plugins.entry(name.clone()).or_insert_with(gone);
            plugin.runs = totals.runs;
            plugin.skipped = totals.skipped;
            plugin.produced = totals.produced;
            plugin.accepted = totals.accepted;
            plugin.rejected = totals.rejected.clone();
        }
        for (name, totals) in &ledger.outputs {
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
        }
        Self { agent, plugins, outputs, leaks }
    }
}
