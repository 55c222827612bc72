//! What all that show a run to a person have in common.

use crate::model::{Outcome, Report, Status, is_unseen};

use super::print::{BAD, FAINT, GOOD, ODD};

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
