use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    Metric, Outcome, PluginKey, PluginName, Rejection, RejectionCode, RunId, Status, Timestamp,
    ToldContract,
};

/// What one run came to. Every run yields exactly one, even an empty one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The plugin.
    pub plugin: PluginName,
    /// The key that a hub gave the plugin, where it is registered.
    pub key: Option<PluginKey>,
    /// The host as the agent names it.
    pub host: String,
    /// The run.
    pub run: RunId,
    /// The run whose quarantined records these are, where no program ran: they were accepted when
    /// they were judged again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay_of: Option<RunId>,
    /// When the run started, by the wall clock.
    pub started: Timestamp,
    /// How long it took, in seconds, by the monotonic clock.
    pub duration: f64,
    /// The interval in seconds; null under cron or for a single run by hand.
    pub interval: Option<f64>,
    /// How it ended.
    pub outcome: Outcome,
    /// What it says of the thing it looks at.
    pub status: Status,
    /// A sentence from the plugin, or why it did not run, or which of its limits ended it.
    pub message: Option<String>,
    /// The accepted records.
    pub metrics: Vec<Metric>,
    /// The first 100 refused records.
    pub rejected: Vec<Rejection>,
    /// What was odd and cost nothing.
    pub warnings: Vec<String>,
    /// All records, counted.
    pub counts: Counts,
    /// Due runs that were skipped since the last report because this plugin was still running.
    pub skipped: u64,
    /// Processes that the run left behind and the agent ended.
    pub leftovers: u64,
    /// What it used.
    pub usage: Usage,
    /// The last 4 KiB of stderr, where there was any.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stderr: String,
    /// What the plugin declares: in its first report after that was loaded or changed, and then in
    /// one each hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contract: Option<Box<ToldContract>>,
}

impl Report {
    /// The report as it is kept and sent: one JSON object, without a line feed.
    pub fn to_json(&self) -> serde_json::Result<Vec<u8>> {
        // Most of it is metrics. Room for what they usually take spares copying it as it grows.
        let mut body = Vec::with_capacity(1024 + 96 * self.metrics.len());
        serde_json::to_writer(&mut body, self)?;
        Ok(body)
    }
}

/// `produced = accepted + rejected(by code)`, in records.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// All that the plugin printed.
    pub produced: u64,
    /// What is in the report's `metrics`.
    pub accepted: u64,
    /// What was refused, by code.
    pub rejected: BTreeMap<RejectionCode, u64>,
}

impl Counts {
    /// All refused records. Who sends counts may send any: the sum does not overflow.
    pub fn rejected_total(&self) -> u64 {
        self.rejected.values().fold(0, |sum, count| sum.saturating_add(*count))
    }
}

/// What one run used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// User and system time of the program and its waited-for children, in seconds.
    pub cpu: f64,
    /// The largest resident set of any of them, in bytes. Of a single run never below the agent's own:
    /// the kernel counts the memory that a child shares with the agent until it executes its program.
    /// Of one that lives, its own as it was at the reports.
    pub max_rss: u64,
    /// Bytes printed on stdout, what was discarded included.
    pub stdout: u64,
    /// Bytes printed on stderr, what was discarded included.
    pub stderr: u64,
}
