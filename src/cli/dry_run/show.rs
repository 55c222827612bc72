//! One run of `talaia test` as a person reads it.

use std::fmt::Write as _;

use crate::agent::trial::Trial;
use crate::cli::print::{self, BAD, FAINT, ODD, STRONG, paint};
use crate::cli::report::{clean, verdict};
use crate::cli::text::wrap;
use crate::contract::Advice;
use crate::exec;

use super::sheet::sheet;

/// Columns where no terminal says how many there are.
const COLUMNS: usize = 100;
/// Pieces of advice that are spelt out.
const ADVICE: usize = 20;
/// Columns before what a section says.
const MARGIN: usize = 9;

/// How wide what is shown may be.
pub(super) fn width() -> usize {
    print::stdout_width().unwrap_or(COLUMNS).clamp(40, 200)
}

/// Everything about one run.
pub(super) fn run(trial: &Trial, width: usize) -> String {
    let report = &trial.report;
    let mut text = String::new();
    if trial.stdout.is_empty() {
        section(&mut text, "stdout", &paint(FAINT, "nothing"));
    } else {
        section(&mut text, "stdout", &amount(&trial.stdout, report.usage.stdout));
        for line in sheet(trial, width) {
            add(&mut text, &line);
        }
    }
    if trial.stderr.is_empty() {
        section(&mut text, "stderr", &paint(FAINT, "nothing"));
    } else {
        section(&mut text, "stderr", &amount(&trial.stderr, report.usage.stderr));
        for line in String::from_utf8_lossy(&trial.stderr).lines() {
            wrap(&clean(line), width, 6).for_each(|line| add(&mut text, &line));
        }
    }
    let (style, word) = verdict(report);
    let mut how = vec![paint(style, word), clean(&report.outcome.to_string())];
    how.push(format!(
        "{} (CPU {})",
        print::seconds(report.duration),
        print::seconds(report.usage.cpu)
    ));
    if let Some(rss) = exec::memory_of_run(&report.outcome, report.usage.max_rss) {
        how.push(print::bytes(rss));
    }
    if report.leftovers > 0 {
        let left = print::count(report.leftovers, "process");
        how.push(paint(ODD, format!("{left} left behind and killed")));
    }
    section(&mut text, "run", &how.join(", "));
    if let Some(message) = &report.message
        && !report.outcome.to_string().contains(message.as_str())
    {
        said(&mut text, "message", &clean(message), width, None);
    }
    let mut records = format!(
        "{} printed = {} accepted + {} refused",
        report.counts.produced,
        report.counts.accepted,
        report.counts.rejected_total()
    );
    let mut codes = report.counts.rejected.iter().map(|(code, count)| format!("{code} {count}"));
    if let Some(first) = codes.next() {
        let all: Vec<String> = std::iter::once(first).chain(codes).collect();
        // Writing to a string cannot fail.
        let _written = write!(records, ": {}", all.join(", "));
    }
    said(&mut text, "records", &records, width, None);
    for warning in &report.warnings {
        said(&mut text, "warning", &clean(warning), width, Some(ODD));
    }
    text.truncate(text.trim_end().len());
    text
}

/// What there is to say besides; what is most serious comes first.
pub(super) fn advice(advice: &[Advice], width: usize) -> String {
    let mut text = String::new();
    for advice in advice.iter().take(ADVICE) {
        let words = format!("{}: {}", advice.code, clean(&advice.message));
        said(&mut text, "advice", &words, width, Some(ODD));
        for line in wrap(&format!("→ {}", clean(&advice.hint)), width, MARGIN) {
            add(&mut text, &paint(STRONG, line));
        }
    }
    if advice.len() > ADVICE {
        add(&mut text, &paint(FAINT, format!("         … and {} more", advice.len() - ADVICE)));
    }
    text.truncate(text.trim_end().len());
    text
}

/// A section's name and what there is to say in a line.
pub(super) fn section(text: &mut String, name: &str, what: &str) {
    add(text, &format!("{} {what}", paint(STRONG, format!("{name:<0$}", MARGIN - 1))));
}

/// Something longer under a name.
fn said(text: &mut String, name: &str, what: &str, width: usize, style: Option<anstyle::Style>) {
    let mut lines = wrap(what, width, MARGIN);
    let first = lines.next().unwrap_or_default();
    let name = format!("{name:<0$}", MARGIN - 1);
    let name = paint(style.unwrap_or(STRONG), name);
    add(text, &format!("{name} {}", first.trim_start()));
    for line in lines {
        add(text, &line);
    }
}

fn add(text: &mut String, line: &str) {
    text.push_str(line.trim_end());
    text.push('\n');
}

/// How much there is, and how much of it is not here.
fn amount(bytes: &[u8], all: u64) -> String {
    let hidden = all.saturating_sub(bytes.len() as u64);
    let mut text = print::bytes(all);
    if hidden > 0 {
        text.push_str(&paint(BAD, format!(", {} of it thrown away", print::bytes(hidden))));
    }
    paint(FAINT, text)
}
