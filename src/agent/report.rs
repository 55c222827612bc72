//! From a run's bytes to its report: decode, judge, and say what else there is to say.

use std::time::{Duration, SystemTime};

use crate::contract::{Judge, Moment};
use crate::decode::{End, Format};
use crate::exec::{Note, Run};
use crate::model::{Outcome, PluginKey, Records, Report, Timestamp, WarningCode};
use crate::spool::QuarantineChange;

use super::mistakes;

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
    /// What to do where it prints nothing because it buffers it; empty for a plugin that ends.
    pub buffering: String,
    /// The search path that it has.
    pub path: String,
    /// Whom it runs as, where that is not the agent's user.
    pub user: Option<String>,
}

/// What a run came to.
#[derive(Debug)]
pub struct Reported {
    /// Its report.
    pub report: Report,
    /// Its refused records with their own bytes.
    pub quarantine: QuarantineChange,
    /// The one of its warnings that names the mistake behind it.
    pub mistake: Option<String>,
}

/// Judges what a run printed and makes its report.
pub fn report(run: Run, judge: &mut Judge, facts: &Facts) -> Reported {
    report_read(run, judge, facts, |stdout, end, records| facts.format.decode(stdout, end, records))
}

/// The same, where `read` decodes what was printed.
pub(super) fn report_read(
    run: Run,
    judge: &mut Judge,
    facts: &Facts,
    read: impl FnOnce(&[u8], End, &mut dyn Records),
) -> Reported {
    let end = if run.ends_torn() { End::Cut } else { End::Whole };
    let started = Timestamp::from(run.started);
    let moment = Moment { started, now: Timestamp::from(SystemTime::now()) };
    let arrivals: Vec<(usize, Timestamp)> = run
        .part
        .iter()
        .flat_map(|part| &part.arrivals)
        .map(|(from, at)| (*from, Timestamp::from(*at)))
        .collect();
    let judged = judge.part(moment, &arrivals, |records| read(&run.stdout, end, records));

    let mut warnings = judged.warnings;
    if run.was_cut() {
        warnings.push(WarningCode::StdoutCut.says(format_args!(
            "it printed {} bytes and the first {} were read; print less, or raise \
             `limits = {{ stdout = … }}`",
            run.usage.stdout,
            run.stdout.len()
        )));
    }
    if run.lag >= LATE {
        warnings.push(WarningCode::Late.says(format_args!(
            "it started {:.1} s after it was due, because as many runs were live as \
             `concurrency` and `max_running` allow",
            run.lag.as_secs_f64()
        )));
    }
    warnings.extend(run.notes.iter().map(|note| words(note, facts)));
    let produced = judged.counts.produced;
    let mistake = mistakes::of_run(&run, produced, &facts.path, facts.user.as_deref());
    warnings.extend(mistake.clone());
    // What the plugin itself has to say goes first.
    let (message, limit) = match (judged.message, run.limit) {
        (None, limit) => (limit, None),
        (message, limit) => (message, limit),
    };
    warnings.extend(limit.map(|limit| WarningCode::Limit.says(limit)));
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
        contract: None,
    };
    let format = facts.format.as_str();
    let quarantine = QuarantineChange { come: judged.quarantine, format, leave: Vec::new() };
    Reported { report, quarantine, mistake }
}

fn words(note: &Note, facts: &Facts) -> String {
    match note {
        Note::LineCut(cap) => WarningCode::LineCut.says(format_args!(
            "a line was longer than {cap} bytes, the rest of it was thrown away; print shorter ones, \
             or raise `limits = {{ line = … }}`"
        )),
        Note::Unasked => WarningCode::Unasked.says(
            "these lines are no answer to a tick; answer each with one line, and print nothing else",
        ),
        Note::Unread => WarningCode::Unread.says(
            "it does not read its ticks; read a line of standard input for each line that is printed",
        ),
        Note::Silent(lived) => WarningCode::Silent.says(format_args!(
            "it has run for {} s and printed nothing; probably its output is buffered: {}",
            lived.as_secs(),
            facts.buffering
        )),
        Note::Restart { lived, failures, after } => WarningCode::Restart.says(format_args!(
            "it ended after {:.1} s{}; started again in {:.1} s",
            lived.as_secs_f64(),
            if *failures > 1 { format!(", {failures} times in a row") } else { String::new() },
            after.as_secs_f64()
        )),
    }
}

/// To microseconds: more is noise, and costs bytes on every upload.
fn round(seconds: f64) -> f64 {
    (seconds * 1e6).round() / 1e6
}
