//! What all that show a run to a person have in common.

use crate::model::{Report, is_unseen};

use super::health;

/// The worst of what the run says and how it ended.
pub(crate) fn verdict(report: &Report) -> (anstyle::Style, &'static str) {
    let counts = &report.counts;
    let refused = counts.rejected_total();
    let (care, word) = health::run(report.status, &report.outcome, counts.accepted, refused);
    (health::style(care), word)
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
