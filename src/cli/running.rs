//! `status`, `trigger` and `reload`: what one can ask of the running agent.

use reqwest::Method;

use crate::agent::reload::Changes;
use crate::agent::status::{OutputStatus, PluginStatus, Status};
use crate::model::PluginName;

use super::args::ConfigArgs;
use super::exit::{Exit, Failure};
use super::print::{self, BAD, FAINT, GOOD, ODD, STRONG, paint};
use super::report::clean;
use super::{client, load};

pub(crate) fn status(args: &ConfigArgs, json: bool) -> Result<Exit, Failure> {
    let body = client::ask(&load::data_dir(args)?, Method::GET, "/v1/status")?;
    let status: Status = parse(&body)?;
    let text = if json {
        serde_json::to_string(&status).map_err(|e| Failure::from_error(Exit::Internal, &e))?
    } else {
        show(&status)
    };
    // A reader that went away has seen enough.
    let _closed = print::data(text);
    Ok(Exit::Ok)
}

pub(crate) fn trigger(args: &ConfigArgs, plugin: &str) -> Result<Exit, Failure> {
    let name: PluginName = plugin.parse().map_err(|e| Failure::from_error(Exit::Usage, &e))?;
    client::ask(&load::data_dir(args)?, Method::POST, &format!("/v1/trigger/{name}"))?;
    print::talk(format!("{name} runs now"));
    Ok(Exit::Ok)
}

pub(crate) fn reload(args: &ConfigArgs) -> Result<Exit, Failure> {
    let body = client::ask(&load::data_dir(args)?, Method::POST, "/v1/reload")?;
    let changes: Changes = parse(&body)?;
    for (what, diff) in [("plugins", &changes.plugins), ("outputs", &changes.outputs)] {
        let mut parts = Vec::new();
        for (word, names) in
            [("added", &diff.added), ("changed", &diff.changed), ("removed", &diff.removed)]
        {
            if !names.is_empty() {
                parts.push(format!("{word} {}", names.join(", ")));
            }
        }
        parts.push(format!("{} untouched", diff.kept));
        print::talk(format!("{what}: {}", parts.join("; ")));
    }
    for what in &changes.needs_restart {
        print::talk(format!("{} {what} changed: that takes a restart", paint(ODD, "note:")));
    }
    Ok(Exit::Ok)
}

/// Reads what the agent answered.
pub(super) fn parse<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|error| {
        let text = format!("the agent's answer cannot be read ({error}); is it another version?");
        Failure::new(Exit::Internal, text)
    })
}

fn show(status: &Status) -> String {
    let agent = &status.agent;
    let mut lines = vec![format!(
        "{} talaia {} on {}, pid {}, since {}, {} running",
        paint(STRONG, "agent"),
        agent.version,
        agent.host,
        agent.pid,
        agent.started,
        agent.running
    )];
    if let Some(rss) = agent.rss {
        let late = agent.lag_p99.map_or_else(String::new, |lag| {
            format!(", 99 of 100 runs start within {}", print::seconds(lag))
        });
        lines.push(format!(
            "  memory {}, CPU {}{late}",
            print::bytes(rss),
            print::seconds(agent.cpu.unwrap_or_default())
        ));
    }
    if agent.quarantine_items > 0 {
        lines.push(format!(
            "  quarantine {}, {}: `talaia quarantine ls`",
            print::count(agent.quarantine_items, "item"),
            print::bytes(agent.quarantine_bytes)
        ));
    }
    if status.leaks > 0 {
        lines.push(paint(
            BAD,
            format!("  {} that cannot be killed", print::count(status.leaks, "process")),
        ));
    }
    if let Some(error) = &agent.spool_error {
        lines.push(paint(BAD, format!("the spool cannot be written: {error}")));
    }
    let width = status.plugins.keys().chain(status.outputs.keys()).map(String::len).max();
    let width = width.unwrap_or(0);
    lines.push(paint(STRONG, "plugins"));
    lines.extend(status.plugins.iter().map(|(name, plugin)| plugin_line(name, plugin, width)));
    lines.push(paint(STRONG, "outputs"));
    lines.extend(status.outputs.iter().map(|(name, output)| output_line(name, output, width)));
    lines.join("\n")
}

fn plugin_line(name: &str, plugin: &PluginStatus, width: usize) -> String {
    let refused: u64 = plugin.rejected.values().sum();
    let mut line = format!(
        "  {name:<width$}  {} runs, {} skipped, {} accepted, {} refused",
        plugin.runs, plugin.skipped, plugin.accepted, refused
    );
    if refused > 0 {
        let codes: Vec<String> = plugin
            .rejected
            .iter()
            .map(|(code, count)| format!("{count} {}", clean(code)))
            .collect();
        line.push_str(&format!(" ({})", codes.join(", ")));
    }
    if let Some(why) = &plugin.why {
        line.push_str(&format!(" — {}", paint(BAD, format!("{}: {}", plugin.state, clean(why)))));
    } else if let Some(last) = &plugin.last {
        let style = if last.outcome.is_ok() && last.rejected == 0 { GOOD } else { BAD };
        let at = last.started.to_string();
        line.push_str(&format!(
            "; last {} {} {}",
            at.get(11..19).unwrap_or(&at),
            paint(style, clean(&last.outcome.to_string())),
            last.status
        ));
        if let Some(message) = &last.message {
            line.push_str(&format!(" — {}", clean(message)));
        }
    } else if plugin.state != "ready" {
        line.push_str(&format!(" — {}", paint(FAINT, &plugin.state)));
    }
    line
}

fn output_line(name: &str, output: &OutputStatus, width: usize) -> String {
    let style = match output.state.as_str() {
        "ok" => GOOD,
        "retry" => ODD,
        "hold" => BAD,
        _ => FAINT,
    };
    let mut line = format!(
        "  {name:<width$}  {}  {} delivered, {} waiting",
        paint(style, &output.state),
        output.delivered,
        output.spooled
    );
    if output.spooled > 0 && output.oldest_age >= 1.0 {
        line.push_str(&format!(" (for {})", print::seconds(output.oldest_age)));
    }
    for (reason, count) in &output.evicted {
        line.push_str(&paint(BAD, format!(", {count} lost ({reason})")));
    }
    if let Some(error) = &output.error {
        line.push_str(&format!(" — {}", paint(style, clean(error))));
    }
    line
}
