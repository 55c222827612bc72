//! From a run's bytes to its report: decode, judge, and say what else there is to say.

use std::time::{Duration, SystemTime};

use crate::contract::{Judge, Moment};
use crate::decode::{End, Format};
use crate::exec::Run;
use crate::model::{Outcome, PluginKey, Report, Timestamp};
use crate::spool::QuarantineChange;

/// A run that started this much after it was due says so.
const LATE: Duration = Duration::from_secs(1);

/// What a report says besides what its run came to.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The host as the agent names it.
    pub host: String,
    /// The key that a hub gave the plugin.
    pub key: Option<PluginKey>,
    /// The interval, where there is a fixed one.
    pub interval: Option<Duration>,
    /// How stdout is read.
    pub format: Format,
}

/// What a run came to.
#[derive(Debug)]
pub struct Reported {
    /// Its report.
    pub report: Report,
    /// Its refused records with their own bytes.
    pub quarantine: QuarantineChange,
}

/// Judges what a run printed and makes its report.
pub fn report(run: Run, judge: &mut Judge, facts: &Facts) -> Reported {
    let cut = run.outcome.was_cut() || run.was_cut();
    let end = if cut { End::Cut } else { End::Whole };
    let started = Timestamp::from(run.started);
    let moment = Moment { started, now: Timestamp::from(SystemTime::now()) };
    let judged = judge.run(moment, |records| facts.format.decode(&run.stdout, end, records));

    let mut warnings = judged.warnings;
    if run.was_cut() {
        warnings.push(format!(
            "stdout-cut: it printed {} bytes and the first {} were read; print less, or raise \
             `limits = {{ stdout = … }}`",
            run.usage.stdout,
            run.stdout.len()
        ));
    }
    if run.lag >= LATE {
        warnings.push(format!(
            "late: it started {:.1} s after it was due, because as many runs were live as \
             `concurrency` and `max_running` allow",
            run.lag.as_secs_f64()
        ));
    }
    // What the plugin itself has to say goes first.
    let (message, limit) = match (judged.message, run.limit) {
        (None, limit) => (limit, None),
        (message, limit) => (message, limit),
    };
    warnings.extend(limit.map(|limit| format!("limit: {limit}")));
    let message = message.or_else(|| match &run.outcome {
        Outcome::NotStarted { error } => Some(error.clone()),
        _ => None,
    });
    let report = Report {
        plugin: run.plugin,
        key: facts.key,
        host: facts.host.clone(),
        run: run.id,
        replay_of: None,
        started,
        duration: round(run.took.as_secs_f64()),
        interval: facts.interval.map(|i| i.as_secs_f64()),
        status: judged.status.unwrap_or_else(|| run.outcome.status()),
        outcome: run.outcome,
        message,
        metrics: judged.metrics,
        rejected: judged.rejected,
        warnings,
        counts: judged.counts,
        skipped: run.skipped,
        leftovers: run.leftovers,
        usage: run.usage,
        stderr: String::from_utf8_lossy(&run.stderr).trim_end().to_owned(),
    };
    let format = facts.format.as_str();
    let quarantine = QuarantineChange { come: judged.quarantine, format, leave: Vec::new() };
    Reported { report, quarantine }
}

/// To microseconds: more is noise, and costs bytes on every upload.
fn round(seconds: f64) -> f64 {
    (seconds * 1e6).round() / 1e6
}
