//! `status`: what the running agent does, for people and for scripts.

use std::collections::BTreeMap;
use std::time::SystemTime;

use anstyle::{AnsiColor, Style};
use ratatui::style::{Color, Modifier};
use reqwest::Method;
use serde_json::json;

use crate::agent::status::{OutputStatus, PluginDetail, PluginStatus, Status};
use crate::model::{PluginName, Timestamp};

use super::args::StatusArgs;
use super::exit::{Exit, Failure};
use super::health::{self, style};
use super::print::{self, BAD, FAINT, STRONG, paint};
use super::report::clean;
use super::running::parse;
use super::text::{self, Line};
use super::top::page::{self, About};
use super::top::theme::Theme;
use super::{brief, client, load};

/// The columns that text is laid out in where there is no terminal to tell.
const WIDTH: usize = 80;

pub(crate) fn run(args: &StatusArgs) -> Result<Exit, Failure> {
    let data_dir = load::data_dir(&args.config)?;
    let mut status: Status = parse(&client::ask(&data_dir, Method::GET, "/v1/status")?)?;
    let width = print::stdout_width().unwrap_or(WIDTH).max(40);
    let text = if let Some(plugin) = &args.plugin {
        let name: PluginName = plugin.parse().map_err(|e| Failure::from_error(Exit::Usage, &e))?;
        let Some(known) = status.plugins.remove(name.as_str()) else {
            return Err(Failure::new(Exit::Usage, format!("there is no plugin `{name}`")));
        };
        let detail = match client::ask(&data_dir, Method::GET, &format!("/v1/plugin/{name}")) {
            Ok(body) => Some(parse(&body)?),
            // It is the agent's own, or not configured any more: there is only what was counted.
            Err(failure) if failure.exit == Exit::Usage => None,
            Err(failure) => return Err(failure),
        };
        // Of what is found, only what is found of this one counts.
        status.plugins = BTreeMap::from([(name.to_string(), known)]);
        status.outputs.clear();
        one(&name, &status, detail.as_ref(), args, width)
    } else if args.json {
        Some(serde_json::to_string(&status).map_err(|e| Failure::from_error(Exit::Internal, &e))?)
    } else if args.check {
        findings(&status)
    } else {
        Some(show(&status, width))
    };
    if let Some(text) = text {
        // A reader that went away has seen enough.
        let _closed = print::data(text);
    }
    let found = args.check && findings(&status).is_some();
    Ok(if found { Exit::Finding } else { Exit::Ok })
}

/// One plugin.
fn one(
    name: &PluginName,
    status: &Status,
    detail: Option<&PluginDetail>,
    args: &StatusArgs,
    width: usize,
) -> Option<String> {
    let plugin = status.plugins.get(name.as_str())?;
    if args.json {
        let all = json!({"plugin": name, "status": plugin, "detail": detail});
        return Some(all.to_string());
    }
    if args.check {
        return findings(status);
    }
    let values = BTreeMap::new();
    let about = About { name: name.as_str(), status: plugin, detail, values: &values };
    let now = Timestamp::from(SystemTime::now());
    let lines = page::about(&about, Theme { colours: true }, now, width);
    Some(lines.iter().map(ansi).collect::<Vec<_>>().join("\n"))
}

/// What needs a person, where anything does.
fn findings(status: &Status) -> Option<String> {
    let found: Vec<String> = health::findings(status).iter().map(|found| clean(found)).collect();
    (!found.is_empty()).then(|| found.join("\n"))
}

/// A line of the full screen as one of a stream.
fn ansi(line: &ratatui::text::Line<'_>) -> String {
    let mut text = Line::default();
    for span in &line.spans {
        let look = line.style.patch(span.style);
        let mut style = match look.fg {
            Some(Color::Red) => AnsiColor::Red.on_default(),
            Some(Color::Yellow) => AnsiColor::Yellow.on_default(),
            Some(Color::Green) => AnsiColor::Green.on_default(),
            _ => Style::new(),
        };
        if look.add_modifier.contains(Modifier::BOLD) {
            style = style.bold();
        }
        if look.add_modifier.contains(Modifier::DIM) {
            style = style.dimmed();
        }
        text.add(style, span.content.as_ref());
    }
    text.fit(usize::MAX)
}

fn show(status: &Status, width: usize) -> String {
    let agent = &status.agent;
    let mut lines = vec![format!(
        "{} talaia {} on {}, pid {}, since {}, {} running",
        paint(STRONG, "agent"),
        agent.version,
        clean(&agent.host),
        agent.pid,
        agent.started.to_string().get(..19).unwrap_or_default(),
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
    if agent.spool_bytes > 0 {
        lines.push(format!("  spool {}", print::bytes(agent.spool_bytes)));
    }
    if agent.overflowed > 0 {
        let lost = print::count(agent.overflowed, "report");
        lines.push(paint(BAD, format!("  {lost} lost: the disk did not keep up")));
    }
    if let Some(error) = &agent.spool_error {
        lines.push(paint(BAD, format!("the spool cannot be written: {}", clean(error))));
    }
    plugins(&mut lines, &status.plugins, width);
    outputs(&mut lines, &status.outputs, width);
    lines.join("\n")
}

/// A table, and below a plugin in trouble what that is.
fn plugins(lines: &mut Vec<String>, plugins: &BTreeMap<String, PluginStatus>, width: usize) {
    const TITLE: &str = "  status   exit         took   runs skipped accepted refused";
    let longest = plugins.keys().map(|name| text::width(name)).max().unwrap_or(0).max(7);
    let name = longest.min(width.saturating_sub(text::width(TITLE)).max(12));
    let title = text::pad("plugins", name) + TITLE;
    lines.push(paint(STRONG, text::cut(&title, width)));
    for (plugin, facts) in plugins {
        let (care, word) = health::plugin(facts);
        let took = facts.last.as_ref().map(|last| print::seconds(last.duration));
        let refused = facts.rejected.values().fold(0_u64, |sum, n| sum.saturating_add(*n));
        let mut line = Line::default();
        line.add(Style::new(), text::pad(plugin, name));
        line.add(Style::new(), "  ");
        line.add(style(care), format!("{word:<8}"));
        line.add(
            Style::new(),
            format!(
                " {:<8} {:>8} {:>6} {:>7} {:>8} ",
                health::ending(facts),
                took.as_deref().unwrap_or("-"),
                brief::count(facts.runs),
                brief::count(facts.skipped),
                brief::count(facts.accepted),
            ),
        );
        let red = if refused > 0 { BAD } else { FAINT };
        line.add(red, format!("{:>7}", brief::count(refused)));
        lines.push(line.fit(width));
        let last = facts.last.as_ref();
        let codes: Vec<String> =
            facts.rejected.iter().map(|(code, n)| format!("{n} {}", clean(code))).collect();
        let why = match (&facts.why, last.and_then(|last| last.message.as_ref())) {
            (Some(why), _) => Some(format!("{}: {why}", facts.state)),
            (None, Some(message)) => Some(message.clone()),
            // The column has it all.
            (None, None) => None,
        };
        for (style, what) in [
            (style(care), why),
            (BAD, (!codes.is_empty()).then(|| format!("refused: {}", codes.join(", ")))),
        ] {
            let wrapped = what.iter().flat_map(|what| text::wrap(&clean(what), width, 4));
            lines.extend(wrapped.map(|line| paint(style, line)));
        }
    }
}

fn outputs(lines: &mut Vec<String>, outputs: &BTreeMap<String, OutputStatus>, width: usize) {
    let longest = outputs.keys().map(|name| text::width(name)).max().unwrap_or(0).max(7);
    let name = longest.min(width / 3);
    let title = format!(
        "{}  {:<8} {:>12} {:>10} {:>8}",
        text::pad("outputs", name),
        "state",
        "delivered",
        "waiting",
        "for"
    );
    lines.push(paint(STRONG, text::cut(&title, width)));
    for (output, facts) in outputs {
        let care = style(health::output(facts));
        let waits =
            if facts.spooled > 0 { brief::seconds(facts.oldest_age) } else { "-".to_owned() };
        let mut line = Line::default();
        line.add(Style::new(), text::pad(output, name));
        line.add(Style::new(), "  ");
        line.add(care, format!("{:<8}", facts.state));
        line.add(
            Style::new(),
            format!(
                " {:>12} {:>10} {waits:>8}",
                print::grouped(facts.delivered),
                print::grouped(facts.spooled),
            ),
        );
        lines.push(line.fit(width));
        for (reason, count) in &facts.evicted {
            lines.push(paint(BAD, format!("    {} lost ({reason})", print::grouped(*count))));
        }
        let error = facts.error.iter().flat_map(|error| text::wrap(&clean(error), width, 4));
        lines.extend(error.map(|line| paint(care, line)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_column_is_cut_by_a_long_name() {
        let name = "a_rather_long_name_of_a_plugin".to_owned();
        let mut lines = Vec::new();
        let facts = PluginStatus { state: "ready".to_owned(), ..PluginStatus::default() };
        plugins(&mut lines, &BTreeMap::from([(name, facts)]), WIDTH);
        let seen: Vec<String> =
            lines.iter().map(|line| anstream::adapter::strip_str(line).to_string()).collect();
        assert!(seen[0].ends_with(" refused"), "{seen:?}");
        assert!(seen[1].ends_with(" 0"), "{seen:?}");
        let widths: Vec<usize> = seen.iter().map(|line| text::width(line)).collect();
        assert_eq!(widths, [WIDTH; 2], "{seen:?}");
    }
}
