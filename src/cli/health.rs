//! How plugins and outputs fare, in a word: what `status` and `top` say in the same way.

use crate::agent::status::{OutputStatus, PluginStatus, Status};
use crate::model::{Outcome, Status as Standing};

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
    let Some(last) = &plugin.last else {
        // No run has ended yet.
        return match (&plugin.why, plugin.running_since) {
            (Some(_), _) => (Care::Odd, "silent"),
            (None, Some(_)) => (Care::Good, "running"),
            (None, None) => (Care::Idle, "new"),
        };
    };
    let failed = !last.outcome.is_ok();
    match (last.status, &last.outcome) {
        (Standing::Critical, _) => (Care::Bad, "critical"),
        (_, Outcome::NotStarted { .. }) => (Care::Bad, "no start"),
        (_, Outcome::Stopped) => (Care::Idle, "stopped"),
        (Standing::Unknown | Standing::Ok, _) if failed => (Care::Bad, "failed"),
        _ if last.rejected > 0 => (Care::Bad, "refused"),
        (Standing::Unknown, _) => (Care::Odd, "unknown"),
        (Standing::Warning, _) => (Care::Odd, "warning"),
        (Standing::Ok, _) if last.accepted == 0 => (Care::Good, "empty"),
        (Standing::Ok, _) => (Care::Good, "ok"),
    }
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
        Outcome::Exited { code } => format!("exit {code}").replace("exit 0", "0"),
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
    for (name, output) in status.outputs.iter().filter(|(_, output)| output.state == "hold") {
        let why = output.error.as_deref().unwrap_or("a person is needed");
        found.push(format!("output {name}: hold: {why}"));
    }
    for (name, plugin) in &status.plugins {
        let what = match (&plugin.last, plugin.state.as_str()) {
            (_, "broken" | "crash_loop" | "backing_off") => {
                let why = plugin.why.as_deref().unwrap_or_default();
                format!("{}: {why}", plugin.state.replace('_', " "))
            }
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
