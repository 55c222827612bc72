//! What a plugin is like now, in one word.

use maud::{Markup, html};

use crate::hub::store::{CardRun, RunRow};
use crate::model::{Outcome, Status};

/// What a reader gives agents to deliver before a plugin counts as silent, on top of three
/// intervals, in milliseconds.
const DELIVERY_MS: i64 = 15_000;
/// The least that a plugin without an interval is waited for: lines come when they come.
const PATIENCE_MS: i64 = 5 * 60_000;

/// In the order in which they want attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Standing {
    /// It says so.
    Critical,
    /// Its last run did not end well, or it does not know.
    Failing,
    /// Records of its last run were refused.
    Rejecting,
    /// No report for three intervals.
    Silent,
    Warning,
    Ok,
    /// Nobody wants to hear of it for now.
    Suspended,
}

impl Standing {
    pub(super) const ALL: [Self; 7] = [
        Self::Critical,
        Self::Failing,
        Self::Rejecting,
        Self::Silent,
        Self::Warning,
        Self::Ok,
        Self::Suspended,
    ];

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Failing => "failing",
            Self::Rejecting => "rejecting",
            Self::Silent => "silent",
            Self::Warning => "warning",
            Self::Ok => "ok",
            Self::Suspended => "suspended",
        }
    }

    pub(super) fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|standing| standing.word() == word)
    }

    /// What it means, for who has not seen it before.
    pub(super) fn meaning(self) -> &'static str {
        match self {
            Self::Critical => "the plugin says that what it looks at is critical",
            Self::Failing => "the last run failed, timed out, or does not know",
            Self::Rejecting => "records of the last run were refused",
            Self::Silent => "no report for three intervals",
            Self::Warning => "the plugin warns of what it looks at",
            Self::Ok => "the last run went well",
            Self::Suspended => "takes no results until it is activated",
        }
    }

    /// Whether somebody should look.
    pub(super) fn wants_attention(self) -> bool {
        self < Self::Ok
    }

    /// What a run came to.
    pub(super) fn of_run(outcome: &Outcome, status: Status, refused: bool) -> Self {
        match status {
            Status::Critical => Self::Critical,
            Status::Unknown => Self::Failing,
            // A plugin of the Nagios kind ends with a code that means its status.
            _ if !matches!(
                outcome,
                Outcome::Exited { .. } | Outcome::Answered | Outcome::Stopped
            ) =>
            {
                Self::Failing
            }
            _ if refused => Self::Rejecting,
            Status::Warning => Self::Warning,
            Status::Ok => Self::Ok,
        }
    }

    pub(super) fn badge(self) -> Markup {
        let word = self.word();
        html! { span class={ "badge " (word) } title=(self.meaning()) { (word) } }
    }
}

impl From<&RunRow> for Standing {
    fn from(run: &RunRow) -> Self {
        Self::of_run(&run.outcome, run.status, !run.counts.rejected.is_empty())
    }
}

impl From<&CardRun> for Standing {
    fn from(run: &CardRun) -> Self {
        Self::of_run(&run.outcome, run.status, run.refused)
    }
}

/// How long a plugin may say nothing before it is silent, in milliseconds: three of its intervals,
/// or, where it has none, three times the longest time between its last runs. `None` where too
/// little is known of it.
pub(super) fn patience(interval: Option<f64>, longest_gap: Option<i64>) -> Option<i64> {
    match (interval, longest_gap) {
        (Some(seconds), _) => Some((3.0 * seconds * 1000.0) as i64 + DELIVERY_MS),
        (None, Some(gap)) => Some(gap.saturating_mul(3).max(PATIENCE_MS)),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Rung;

    #[test]
    fn the_worst_is_what_shows() {
        let ended = |code| Outcome::Exited { code };
        let killed = Outcome::TimedOut { reached: Rung::Kill };
        for (outcome, status, refused, standing) in [
            (ended(0), Status::Ok, false, Standing::Ok),
            (ended(0), Status::Ok, true, Standing::Rejecting),
            (ended(0), Status::Warning, true, Standing::Rejecting),
            (ended(1), Status::Warning, false, Standing::Warning),
            (ended(2), Status::Critical, true, Standing::Critical),
            (ended(1), Status::Unknown, false, Standing::Failing),
            (killed, Status::Ok, false, Standing::Failing),
            (Outcome::Stopped, Status::Ok, false, Standing::Ok),
        ] {
            assert_eq!(Standing::of_run(&outcome, status, refused), standing, "{outcome}");
        }
        let mut sorted = Standing::ALL.to_vec();
        sorted.sort();
        assert_eq!(sorted, Standing::ALL);
    }

    #[test]
    fn a_plugin_without_interval_is_waited_for_as_long_as_it_took_before() {
        assert_eq!(patience(Some(30.0), None), Some(105_000));
        assert_eq!(patience(None, Some(1000)), Some(PATIENCE_MS));
        assert_eq!(patience(None, Some(3_600_000)), Some(10_800_000));
        assert_eq!(patience(None, None), None);
    }
}
