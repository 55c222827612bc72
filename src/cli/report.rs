//! How a run is shown to a person at length, by `test`.

use crate::agent::trial::Trial;
use crate::model::{Metric, Outcome, Report, Status, is_unseen};

use super::print::{self, BAD, FAINT, GOOD, ODD, STRONG, paint};

/// Appends to a string what `format!` makes.
macro_rules! add {
    ($to:expr, $($what:tt)*) => { $to.push_str(&format!($($what)*)) };
}

/// The same, and a line end.
macro_rules! addln {
    ($to:expr, $($what:tt)*) => {{
        add!($to, $($what)*);
        $to.push('\n');
    }};
}

/// Bytes of raw output that `test` shows.
const RAW: usize = 4096;
/// Metrics that `test` shows.
const METRICS: usize = 50;

/// The worst of what the run says and how it ended.
pub(crate) fn verdict(report: &Report) -> (anstyle::Style, &'static str) {
    let failed = !report.outcome.is_ok();
    match report.status {
        Status::Critical => (BAD, "critical"),
        _ if matches!(report.outcome, Outcome::NotStarted { .. }) => (BAD, "no start"),
        _ if matches!(report.outcome, Outcome::Stopped) => (FAINT, "stopped"),
        Status::Unknown | Status::Ok if failed => (BAD, "failed"),
        Status::Unknown => (ODD, "unknown"),
        Status::Warning => (ODD, "warning"),
        Status::Ok if report.counts.rejected_total() > 0 => (BAD, "refused"),
        Status::Ok if report.counts.produced == 0 => (FAINT, "empty"),
        Status::Ok => (GOOD, "ok"),
    }
}

/// Whether anything about a run is worth exit code 1.
pub(crate) fn is_clean(report: &Report) -> bool {
    report.outcome.is_ok() && report.counts.rejected_total() == 0
}

/// Everything about one run.
pub(crate) fn full(trial: &Trial) -> String {
    let report = &trial.report;
    let mut out = String::new();
    section(&mut out, "stdout", &trial.stdout, report.usage.stdout);
    section(&mut out, "stderr", &trial.stderr, report.usage.stderr);
    heading(&mut out, "records");
    for metric in report.metrics.iter().take(METRICS) {
        addln!(out, "  {} {}", paint(GOOD, "accepted"), describe(metric));
    }
    if report.metrics.len() > METRICS {
        addln!(out, "  … {} more accepted", report.metrics.len() - METRICS);
    }
    for refused in &report.rejected {
        addln!(
            out,
            "  {}  {} at line {}, column {} ({})",
            paint(BAD, "refused"),
            paint(STRONG, refused.code),
            refused.line,
            refused.column,
            if refused.path.is_empty() { "the whole value" } else { &refused.path },
        );
        addln!(out, "           {}", clean(&refused.message));
        if !refused.value.is_empty() {
            addln!(out, "           got:  {}", clean(&refused.value));
        }
        if let Some(rule) = &refused.rule {
            addln!(out, "           rule: {}", clean(rule));
        }
        if !refused.hint.is_empty() {
            addln!(out, "           hint: {}", paint(STRONG, clean(&refused.hint)));
        }
    }
    let more = report.counts.rejected_total().saturating_sub(report.rejected.len() as u64);
    if more > 0 {
        addln!(out, "  … {more} more refused");
    }
    if report.counts.produced == 0 {
        addln!(out, "  {}", paint(FAINT, "none"));
    }
    for warning in &report.warnings {
        addln!(out, "  {}  {}", paint(ODD, "warning"), clean(warning));
    }
    heading(&mut out, "run");
    let (style, word) = verdict(report);
    addln!(out, "  {} — {}", paint(style, word), clean(&report.outcome.to_string()));
    if let Some(message) = &report.message {
        addln!(out, "  message  {}", clean(message));
    }
    addln!(
        out,
        "  time     {} (CPU {}), memory {}",
        print::seconds(report.duration),
        print::seconds(report.usage.cpu),
        print::bytes(report.usage.max_rss),
    );
    if report.leftovers > 0 {
        addln!(
            out,
            "  {}",
            paint(
                ODD,
                format!("{} left behind and killed", print::count(report.leftovers, "process"))
            )
        );
    }
    add!(
        out,
        "  records  {} printed = {} accepted + {} refused",
        report.counts.produced,
        report.counts.accepted,
        report.counts.rejected_total(),
    );
    for (code, count) in &report.counts.rejected {
        add!(out, ", {code} {count}");
    }
    out
}

fn heading(out: &mut String, title: &str) {
    addln!(out, "{}", paint(STRONG, title));
}

fn section(out: &mut String, title: &str, bytes: &[u8], total: u64) {
    heading(out, title);
    if bytes.is_empty() {
        addln!(out, "  {}", paint(FAINT, "none"));
        return;
    }
    let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(RAW)]);
    for (number, text) in shown.lines().enumerate() {
        let number = paint(FAINT, format!("{:>4}", number + 1));
        addln!(out, "{number}  {}", clean(text));
    }
    let hidden = total.saturating_sub(bytes.len().min(RAW) as u64);
    if hidden > 0 {
        addln!(out, "      … {} more", print::bytes(hidden));
    }
}

fn describe(metric: &Metric) -> String {
    let mut text =
        format!("{} = {}", paint(STRONG, &metric.name), clean(&metric.value.to_string()));
    if let Some(unit) = &metric.unit {
        add!(text, " {}", clean(unit));
    }
    add!(text, " ({})", metric.kind);
    for (key, value) in metric.tags.iter() {
        add!(text, " {}={}", clean(key), clean(value));
    }
    text
}

/// What a plugin prints, or somebody else has written, must not steer the terminal, nor seem to be
/// something else than it is.
pub(crate) fn clean(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' => shown.push(c),
            c if c.is_control() => shown.push('·'),
            c if is_unseen(c) => shown.extend(c.escape_unicode()),
            c => shown.push(c),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_hide_or_steer_is_shown() {
        assert_eq!(clean("a\tb \u{e9}\u{1b}[2K"), "a\tb \u{e9}·[2K");
        assert_eq!(clean("x\u{202e}y\u{200b}"), "x\\u{202e}y\\u{200b}");
    }
}
