//! The built-in plugin `talaia`: what the agent knows of itself, its plugins and its outputs, as
//! reports like any other. No process runs for them; they are counted under that name in the
//! ledger, and leave themselves out of what they say.

use std::time::Duration;

use crate::config::SELF_PLUGIN;
use crate::model::{
    Counts, Metric, MetricType, Outcome, PluginName, Report, RunId, Status as Standing, Tags,
    Timestamp, Usage, Value,
};
use crate::spool::{NewReport, QuarantineChange};

use super::status::{AgentStatus, OutputStatus, PluginStatus, Status};

/// Metrics in one report. An agent with thousands of plugins makes several, one after the other, so
/// that its memory stays small.
const METRICS: usize = 1000;

/// The first sample comes this soon: who starts an agent wants to see something.
pub(super) const SOON: Duration = Duration::from_secs(5);

/// The reports for one sample of `status`, taken at `at`, in the form in which the spool keeps them.
pub(super) fn reports(
    status: &Status,
    tags: &Tags,
    at: Timestamp,
    interval: Duration,
) -> impl Iterator<Item = NewReport> {
    let host = status.agent.host.clone();
    let mut metrics = metrics(status, tags).into_iter();
    std::iter::from_fn(move || {
        let metrics: Vec<Metric> = metrics.by_ref().take(METRICS).collect();
        if metrics.is_empty() {
            return None;
        }
        let plugin: PluginName = SELF_PLUGIN.parse().ok()?;
        let accepted = metrics.len() as u64;
        let counts = Counts { produced: accepted, accepted, ..Counts::default() };
        let report = Report {
            plugin: plugin.clone(),
            key: None,
            host: host.clone(),
            run: RunId::new(),
            replay_of: None,
            started: at,
            duration: 0.0,
            interval: Some(interval.as_secs_f64()),
            outcome: Outcome::Answered,
            status: Standing::Ok,
            message: None,
            metrics,
            rejected: Vec::new(),
            warnings: Vec::new(),
            counts: counts.clone(),
            skipped: 0,
            leftovers: 0,
            usage: Usage::default(),
            stderr: String::new(),
            contract: None,
        };
        // What has only numbers and texts in it can be written.
        let body = serde_json::to_vec(&report).ok()?;
        Some(NewReport {
            plugin,
            body,
            counts,
            skipped: 0,
            quarantine: QuarantineChange::default(),
        })
    })
}

/// Everything in a status as metrics, each once.
fn metrics(status: &Status, tags: &Tags) -> Vec<Metric> {
    let mut list = List { tags: tags.clone(), metrics: Vec::new() };
    agent(&mut list, &status.agent, status.leaks);
    for (name, plugin) in &status.plugins {
        if name != SELF_PLUGIN {
            of_plugin(&mut list, name, plugin);
        }
    }
    for (name, output) in &status.outputs {
        of_output(&mut list, name, output);
    }
    list.metrics
}

fn agent(list: &mut List, agent: &AgentStatus, leaks: u64) {
    list.text("talaia_agent_version", &[], &agent.version);
    list.seconds("talaia_agent_uptime", &[], Some(agent.uptime));
    list.bytes("talaia_agent_rss", &[], agent.rss);
    if let Some(cpu) = agent.cpu {
        list.push("talaia_agent_cpu", &[], MetricType::Counter, Some("s"), Value::Float(cpu));
    }
    list.count("talaia_agent_leaks", &[], leaks);
    list.whole("talaia_agent_running", &[], agent.running as u64);
    for (quantile, lag) in [("0.5", agent.lag_p50), ("0.99", agent.lag_p99)] {
        list.seconds("talaia_agent_start_lag", &[("quantile", quantile)], lag);
    }
    list.yes_no("talaia_spool_up", &[], agent.spool_error.is_none());
    list.bytes("talaia_spool_bytes", &[], Some(agent.spool_bytes));
    list.count("talaia_spool_overflowed", &[], agent.overflowed);
    list.whole("talaia_quarantine_items", &[], agent.quarantine_items);
    list.bytes("talaia_quarantine_bytes", &[], Some(agent.quarantine_bytes));
}

fn of_plugin(list: &mut List, name: &str, plugin: &PluginStatus) {
    let tags = [("plugin", name)];
    list.count("talaia_plugin_runs", &tags, plugin.runs);
    list.count("talaia_plugin_skipped", &tags, plugin.skipped);
    list.count("talaia_plugin_produced", &tags, plugin.produced);
    list.count("talaia_plugin_accepted", &tags, plugin.accepted);
    for (code, count) in &plugin.rejected {
        list.count("talaia_plugin_rejected", &[("plugin", name), ("code", code)], *count);
    }
    // Of one that is no longer configured only the counts remain.
    if plugin.state == "gone" {
        return;
    }
    if let Some(series) = plugin.series {
        list.whole("talaia_plugin_series", &tags, series);
    }
    let Some(last) = &plugin.last else {
        if plugin.state == "broken" {
            list.yes_no("talaia_plugin_up", &tags, false);
        }
        return;
    };
    list.yes_no("talaia_plugin_up", &tags, last.outcome.is_ok());
    if let Outcome::Exited { code } = last.outcome {
        list.whole("talaia_plugin_exit_code", &tags, u64::from(code));
    }
    list.seconds("talaia_plugin_duration", &tags, Some(last.duration));
    list.seconds("talaia_plugin_lag", &tags, Some(last.lag));
    if !matches!(last.outcome, Outcome::NotStarted { .. }) {
        list.seconds("talaia_plugin_cpu", &tags, Some(last.cpu));
        list.bytes("talaia_plugin_max_rss", &tags, last.max_rss);
    }
}

fn of_output(list: &mut List, name: &str, output: &OutputStatus) {
    let tags = [("output", name)];
    list.count("talaia_output_accepted", &tags, output.accepted);
    list.count("talaia_output_delivered", &tags, output.delivered);
    list.count("talaia_output_filtered", &tags, output.filtered);
    for (reason, count) in &output.evicted {
        list.count("talaia_output_evicted", &[("output", name), ("reason", reason)], *count);
    }
    if output.state == "removed" {
        return;
    }
    list.whole("talaia_output_spooled", &tags, output.spooled);
    list.seconds("talaia_output_oldest_age", &tags, Some(output.oldest_age));
    list.text("talaia_output_state", &tags, &output.state);
    list.yes_no("talaia_output_up", &tags, output.state == "ok");
}

/// Metrics in the making.
struct List {
    /// The agent's tags, under those of every metric.
    tags: Tags,
    metrics: Vec<Metric>,
}

impl List {
    fn push(
        &mut self,
        name: &str,
        tags: &[(&str, &str)],
        kind: MetricType,
        unit: Option<&str>,
        value: Value,
    ) {
        let mut all = self.tags.clone();
        for (key, value) in tags {
            all.insert(key, value);
        }
        self.metrics.push(Metric {
            name: name.into(),
            value,
            kind,
            unit: unit.map(Into::into),
            label: None,
            tags: all,
            time: None,
            warn: None,
            crit: None,
            min: None,
            max: None,
        });
    }

    fn count(&mut self, name: &str, tags: &[(&str, &str)], n: u64) {
        self.push(name, tags, MetricType::Counter, None, whole(n));
    }

    fn whole(&mut self, name: &str, tags: &[(&str, &str)], n: u64) {
        self.push(name, tags, MetricType::Integer, None, whole(n));
    }

    fn bytes(&mut self, name: &str, tags: &[(&str, &str)], n: Option<u64>) {
        if let Some(n) = n {
            self.push(name, tags, MetricType::Integer, Some("B"), whole(n));
        }
    }

    fn seconds(&mut self, name: &str, tags: &[(&str, &str)], seconds: Option<f64>) {
        if let Some(seconds) = seconds {
            self.push(name, tags, MetricType::Float, Some("s"), Value::Float(seconds));
        }
    }

    fn yes_no(&mut self, name: &str, tags: &[(&str, &str)], yes: bool) {
        self.push(name, tags, MetricType::Boolean, None, Value::Boolean(yes));
    }

    fn text(&mut self, name: &str, tags: &[(&str, &str)], text: &str) {
        self.push(name, tags, MetricType::String, None, Value::Text(text.into()));
    }
}

fn whole(n: u64) -> Value {
    i64::try_from(n).map_or(Value::Unsigned(n), Value::Signed)
}

/// Bytes of this process that are in memory, and seconds of CPU time that it has used. `None` where
/// the system does not say.
pub(super) fn usage() -> (Option<u64>, Option<f64>) {
    let status = std::fs::read_to_string("/proc/self/status").ok();
    let rss = status.as_deref().and_then(|status| {
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kib * 1024)
    });
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let cpu = Duration::try_from(spent).ok().map(|spent| spent.as_secs_f64());
    (rss, cpu)
}
