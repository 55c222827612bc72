//! How plugins and outputs fare, in a word: what `status` and `top` say in the same way.

use anstyle::Style;

use crate::agent::status::{OutputStatus, PluginStatus, Status};
use crate::model::{Evicted, Outcome, Status as Standing};

use super::{brief, print};

/// An output that has been behind for so long, in seconds, does not catch up by itself.
const LONG: f64 = 600.0;

/// How much a person should care. What is worst comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Care {
    /// Somebody has to do something.
    Bad,
    /// It may be worth a look.
    Odd,
    /// All is well.
    Good,
    /// There is nothing to say: it does not run.
    Idle,
}

/// What that looks like in a stream.
pub(crate) fn style(care: Care) -> Style {
    match care {
        Care::Bad => print::BAD,
        Care::Odd => print::ODD,
        Care::Good => print::GOOD,
        Care::Idle => print::FAINT,
    }
}

/// A plugin in a word of at most eight letters.
pub(crate) fn plugin(plugin: &PluginStatus) -> (Care, &'static str) {
    match plugin.state.as_str() {
        "broken" => return (Care::Bad, "broken"),
        "crash_loop" => return (Care::Bad, "crashing"),
        "backing_off" => return (Care::Odd, "back-off"),
        "disabled" => return (Care::Idle, "disabled"),
        "skipped" => return (Care::Idle, "skipped"),
        "built-in" => return (Care::Idle, "built-in"),
        "gone" => return (Care::Idle, "gone"),
        _ => {}
    }
    // The report that says so is all that there is of it.
    if plugin.life.as_ref().is_some_and(|life| life.silent) {
        return (Care::Odd, "silent");
    }
    let Some(last) = &plugin.last else {
        // No run has ended yet.
        return match plugin.running_since {
            Some(_) => (Care::Good, "running"),
            None => (Care::Idle, "new"),
        };
    };
    run(last.status, &last.outcome, last.accepted, last.rejected)
}

/// A run in a word of at most eight letters: the worst of what it says, what was refused of it, and
/// how it ended.
pub(crate) fn run(
    status: Standing,
    outcome: &Outcome,
    accepted: u64,
    rejected: u64,
) -> (Care, &'static str) {
    let failed = !outcome.is_ok();
    match (status, outcome) {
        (Standing::Critical, _) => (Care::Bad, "critical"),
        (_, Outcome::NotStarted { .. }) => (Care::Bad, "no start"),
        (_, Outcome::Stopped) => (Care::Idle, "stopped"),
        (Standing::Unknown | Standing::Ok, _) if failed => (Care::Bad, "failed"),
        _ if rejected > 0 => (Care::Bad, "refused"),
        (Standing::Unknown, _) => (Care::Odd, "unknown"),
        (Standing::Warning, _) => (Care::Odd, "warning"),
        (Standing::Ok, _) if accepted == 0 => (Care::Good, "empty"),
        (Standing::Ok, _) => (Care::Good, "ok"),
    }
}

/// Whether it is a plugin that is configured: not the agent's own, nor one that is only remembered.
pub(crate) fn is_configured(plugin: &PluginStatus) -> bool {
    !matches!(plugin.state.as_str(), "built-in" | "gone")
}

/// How the last run ended, in at most seven letters; `-` where that says nothing.
pub(crate) fn ending(plugin: &PluginStatus) -> String {
    let life = plugin.life.as_ref().and_then(|life| life.last_end.as_ref());
    match plugin.last.as_ref().map(|last| &last.outcome) {
        Some(Outcome::Answered) => life.map_or_else(|| "-".to_owned(), short),
        Some(outcome) => short(outcome),
        None => "-".to_owned(),
    }
}

fn short(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Exited { code: 0 } => "0".to_owned(),
        Outcome::Exited { code } => format!("exit {code}"),
        Outcome::Signaled { signal } => format!("sig {signal}"),
        Outcome::TimedOut { .. } => "timeout".to_owned(),
        Outcome::Flooded { .. } => "flooded".to_owned(),
        Outcome::NotStarted { .. } | Outcome::Answered => "-".to_owned(),
        Outcome::Stopped => "stopped".to_owned(),
    }
}

/// How much to care about an output.
pub(crate) fn output(output: &OutputStatus) -> Care {
    match output.state.as_str() {
        "ok" => Care::Good,
        "retry" => Care::Odd,
        "hold" => Care::Bad,
        _ => Care::Idle,
    }
}

/// What needs a person, a line each: what `talaia status --check` ends with 1 for. What plugins say
/// of the things they look at (`critical`) is not ours to judge.
pub(crate) fn findings(status: &Status) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(why) = &status.agent.spool_error {
        found.push(format!("spool: it cannot be written: {why}"));
    }
    if status.leaks > 0 {
        found.push(format!("agent: {} processes that cannot be killed", status.leaks));
    }
    if status.agent.overflowed > 0 {
        let lost = print::count(status.agent.overflowed, "report");
        found.push(format!("spool: {lost} lost: the disk did not keep up"));
    }
    // Who takes an output out of the configuration knows of it.
    for (name, output) in status.outputs.iter().filter(|(_, output)| output.state != "removed") {
        let why = output.error.as_deref();
        match output.state.as_str() {
            "hold" => {
                let why = why.unwrap_or("a person is needed");
                found.push(format!("output {name}: hold: {why}"));
            }
            "retry" if output.spooled > 0 && output.oldest_age > LONG => {
                let (age, why) = (brief::seconds(output.oldest_age), why.unwrap_or("no answer"));
                found.push(format!("output {name}: retry: behind for {age}: {why}"));
            }
            _ => {}
        }
        // A loss is counted for good. That of an earlier life of the agent is shown, and no finding:
        // nothing can be done about it any more. What was refused is one for as long as it can be
        // looked at and sent again.
        for (reason, n) in &output.lost {
            let n = print::count(*n, "record");
            found.push(format!(
                "output {name}: {n} lost since the agent started ({reason}): `talaia explain {reason}`"
            ));
        }
        let refused = output.evicted.get(Evicted::Refused.as_str()).copied().unwrap_or(0);
        if refused > 0 && status.agent.quarantine_items > 0 {
            let n = print::count(refused, "record");
            found.push(format!(
                "output {name}: {n} refused; `talaia quarantine ls` has what is left of them"
            ));
        }
    }
    for (name, plugin) in &status.plugins {
        let what = match (&plugin.last, plugin.state.as_str()) {
            (_, "broken" | "crash_loop" | "backing_off") => {
                let why = plugin.why.as_deref().unwrap_or_default();
                format!("{}: {why}", plugin.state.replace('_', " "))
            }
            // It lives, and there is something odd about it.
            (_, "ready") if plugin.why.is_some() => plugin.why.clone().unwrap_or_default(),
            (Some(last), "ready") if !last.outcome.is_ok() && last.outcome != Outcome::Stopped => {
                format!("its last run failed: {}", last.outcome)
            }
            (Some(last), "ready") if last.rejected > 0 => {
                let n = last.rejected;
                format!("its last run had {n} refused: `talaia test {name}` says why")
            }
            _ => continue,
        };
        found.push(format!("plugin {name}: {what}"));
    }
    found
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    fn plugin_with(change: impl FnOnce(&mut serde_json::Value)) -> PluginStatus {
        let mut json = json!({
            "state": "ready", "why": null, "life": null, "runs": 1, "skipped": 0, "produced": 1,
            "accepted": 1, "rejected": {}, "series": 1,
            "last": {
                "started": "2026-11-22T20:42:10.000Z", "lag": 0.0, "duration": 0.1, "cpu": 0.0,
                "max_rss": 0, "outcome": {"kind": "exited", "code": 0}, "status": "ok",
                "message": null, "accepted": 1, "rejected": 0,
            },
        });
        change(&mut json);
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn every_way_to_fare_has_its_word_and_what_needs_a_person_is_found() {
        type Change = fn(&mut serde_json::Value);
        let cases: [(Change, &str, Care, &str); 13] = [
            (|_| {}, "ok", Care::Good, "0"),
            (|p| p["last"]["accepted"] = json!(0), "empty", Care::Good, "0"),
            (|p| p["last"] = json!(null), "new", Care::Idle, "-"),
            (|p| p["last"]["status"] = json!("warning"), "warning", Care::Odd, "0"),
            (|p| p["last"]["status"] = json!("critical"), "critical", Care::Bad, "0"),
            (|p| p["state"] = json!("disabled"), "disabled", Care::Idle, "0"),
            (
                |p| p["last"]["outcome"] = json!({"kind": "stopped"}),
                "stopped",
                Care::Idle,
                "stopped",
            ),
            (|p| p["last"]["rejected"] = json!(2), "refused", Care::Bad, "0"),
            (
                |p| p["last"]["outcome"] = json!({"kind": "exited", "code": 10}),
                "failed",
                Care::Bad,
                "exit 10",
            ),
            (
                |p| p["last"]["outcome"] = json!({"kind": "timed_out", "reached": "kill"}),
                "failed",
                Care::Bad,
                "timeout",
            ),
            (
                |p| p["last"]["outcome"] = json!({"kind": "not_started", "error": "no file"}),
                "no start",
                Care::Bad,
                "-",
            ),
            (|p| p["state"] = json!("crash_loop"), "crashing", Care::Bad, "0"),
            // The worse of two.
            (
                |p| {
                    p["last"]["rejected"] = json!(2);
                    p["last"]["status"] = json!("warning");
                },
                "refused",
                Care::Bad,
                "0",
            ),
        ];
        let mut plugins = BTreeMap::new();
        for (at, (change, word, care, exit)) in cases.into_iter().enumerate() {
            let facts = plugin_with(change);
            assert_eq!((plugin(&facts), ending(&facts).as_str()), ((care, word), exit));
            assert!(word.len() <= 8 && exit.len() <= 7, "{word} {exit}");
            plugins.insert(format!("p{at:02}"), facts);
        }
        let output = |state: &str| {
            let error = (state == "hold").then(|| "401: the key is not known".to_owned());
            OutputStatus { state: state.to_owned(), error, ..OutputStatus::default() }
        };
        let outputs = ["ok", "retry", "hold"].map(|state| (state.to_owned(), output(state)));
        let agent = json!({
            "id": "0192f0c1-0000-7000-8000-000000000000", "host": "web-1", "version": "0.1.0",
            "pid": 42, "started": "2026-11-22T20:00:00.000Z", "uptime": 1.0, "running": 1,
            "rss": null, "cpu": null, "lag_p50": null, "lag_p99": null, "spool_bytes": 0,
            "overflowed": 0, "quarantine_items": 0, "quarantine_bytes": 0, "spool_error": null,
        });
        let agent = serde_json::from_value(agent).unwrap();
        let mut status = Status { agent, plugins, outputs: outputs.into(), leaks: 0 };
        let found = findings(&status);
        let about: Vec<&str> =
            found.iter().filter_map(|found| Some(found.split_once(':')?.0)).collect();
        let plugins =
            ["plugin p07", "plugin p08", "plugin p09", "plugin p10", "plugin p11", "plugin p12"];
        assert_eq!(about, [&["output hold"], &plugins[..]].concat());

        // What was lost, and an output that is behind for long.
        status.plugins.clear();
        status.agent.overflowed = 2;
        status.outputs.remove("hold");
        let lost = |reasons: &[(&str, u64)]| {
            reasons.iter().map(|(reason, n)| ((*reason).to_owned(), *n)).collect()
        };
        let ok = status.outputs.get_mut("ok").unwrap();
        ok.evicted = lost(&[("output_removed", 5), ("quota", 1), ("refused", 3)]);
        ok.lost = lost(&[("quota", 1)]);
        let retry = status.outputs.get_mut("retry").unwrap();
        (retry.spooled, retry.oldest_age) = (7, LONG);
        let removed = OutputStatus { evicted: lost(&[("age", 1)]), ..output("removed") };
        status.outputs.insert("removed".to_owned(), removed);
        let found = findings(&status);
        let quota =
            "output ok: 1 record lost since the agent started (quota): `talaia explain quota`";
        assert_eq!(found, ["spool: 2 reports lost: the disk did not keep up", quota]);
        status.outputs.get_mut("ok").unwrap().lost.clear();
        status.agent.quarantine_items = 1;
        status.outputs.get_mut("retry").unwrap().oldest_age = LONG + 1.0;
        let found = findings(&status);
        assert!(found[1].starts_with("output ok: 3 records refused; "), "{found:?}");
        assert_eq!(found[2..], ["output retry: retry: behind for 10m01: no answer"]);
    }
}
