//! What is remembered of a plugin's last runs for whoever looks. Little, because there may be
//! thousands of plugins: how long runs took, in four bytes each, and of what they said the last only.

use crate::model::{Rejection, Report, Tags, Timestamp};

use super::status::{LastRun, ShownValue};

/// Runs whose durations are remembered.
const RUNS: usize = 60;
/// Refused records that are remembered.
const REFUSED: usize = 3;
/// Metrics that are remembered.
const VALUES: usize = 6;
/// Bytes of stderr that are remembered.
const TALK: usize = 1024;
/// Bytes of a text that are remembered.
const TEXT: usize = 64;

/// The last runs of one plugin.
#[derive(Debug, Default)]
pub(super) struct Recent {
    /// In seconds; the oldest is at `oldest` once there are [`RUNS`].
    durations: Vec<f32>,
    oldest: usize,
    pub(super) last: Option<LastRun>,
    /// The first refused records of the last run that had any, and when that was.
    pub(super) refused: Option<(Timestamp, Box<[Rejection]>)>,
    /// The end of what the last run said that said anything, and when that was.
    pub(super) talk: Option<(Timestamp, Box<str>)>,
    /// The first metrics of the last run that had any.
    pub(super) values: Box<[ShownValue]>,
}

/// How long runs took, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Quantiles {
    pub(super) p50: f64,
    pub(super) p99: f64,
}

impl Recent {
    /// A run is over. `known` are the tags that all of the plugin's metrics have.
    pub(super) fn note(&mut self, report: &Report, last: LastRun, known: &Tags) {
        let duration = report.duration as f32;
        if self.durations.len() < RUNS {
            self.durations.push(duration);
        } else if let Some(oldest) = self.durations.get_mut(self.oldest) {
            *oldest = duration;
            self.oldest = (self.oldest + 1) % RUNS;
        }
        self.last = Some(last);
        // A plugin mostly says what it said before: then nothing is copied.
        let first = &report.rejected[..report.rejected.len().min(REFUSED)];
        match &mut self.refused {
            _ if first.is_empty() => {}
            Some((at, known)) if **known == *first => *at = report.started,
            refused => *refused = Some((report.started, first.into())),
        }
        let text = &report.stderr;
        let text = &text[text.ceil_char_boundary(text.len().saturating_sub(TALK))..];
        match &mut self.talk {
            _ if text.is_empty() => {}
            Some((at, known)) if **known == *text => *at = report.started,
            talk => *talk = Some((report.started, text.into())),
        }
        let metrics = &report.metrics[..report.metrics.len().min(VALUES)];
        if !metrics.is_empty() {
            let mut values = std::mem::take(&mut self.values).into_vec();
            values.truncate(metrics.len());
            for (at, metric) in metrics.iter().enumerate() {
                match values.get_mut(at) {
                    Some(value) => value.set(metric, known, TEXT),
                    None => values.push(ShownValue::new(metric, known, TEXT)),
                }
            }
            // Without room to spare this is the same memory.
            self.values = values.into();
        }
    }

    /// From the oldest to the newest.
    pub(super) fn durations(&self) -> impl Iterator<Item = f32> + '_ {
        let (newer, older) = self.durations.split_at(self.oldest);
        older.iter().chain(newer).copied()
    }

    /// Of all that is remembered, exactly; `None` where that is nothing. (`Lags` counts without end
    /// and so in buckets.)
    pub(super) fn quantiles(&self) -> Option<Quantiles> {
        let mut sorted = [0.0; RUNS];
        let sorted = &mut sorted[..self.durations.len()];
        sorted.copy_from_slice(&self.durations);
        sorted.sort_unstable_by(f32::total_cmp);
        let rank = |percent: usize| (sorted.len() * percent).div_ceil(100).max(1) - 1;
        let of = |percent| sorted.get(rank(percent)).map(|seconds| f64::from(*seconds));
        Some(Quantiles { p50: of(50)?, p99: of(99)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(durations: impl IntoIterator<Item = f32>) -> Recent {
        let mut recent = Recent::default();
        for duration in durations {
            let json = serde_json::json!({
                "plugin": "a", "key": null, "host": "h", "interval": null, "message": null,
                "run": "0192f0c1-0000-7000-8000-000000000000", "duration": duration,
                "started": "2026-11-22T20:42:10.123Z", "outcome": {"kind": "exited", "code": 0},
                "status": "ok", "metrics": [], "rejected": [], "warnings": [], "skipped": 0,
                "counts": {"produced": 0, "accepted": 0, "rejected": {}}, "leftovers": 0,
                "usage": {"cpu": 0.0, "max_rss": 0, "stdout": 0, "stderr": 0},
                "stderr": format!("{duration} äöü"),
            });
            let report: Report = serde_json::from_value(json).unwrap();
            let last = LastRun::new(&report, std::time::Duration::ZERO);
            recent.note(&report, last, &Tags::default());
        }
        recent
    }

    #[test]
    fn the_last_runs_are_remembered_in_order_and_no_more() {
        let recent = with((0..100_u16).map(f32::from));
        let wanted: Vec<f32> = (40..100_u16).map(f32::from).collect();
        assert_eq!(recent.durations().collect::<Vec<_>>(), wanted);
        assert_eq!(&*recent.talk.unwrap().1, "99 äöü");
    }

    #[test]
    fn what_is_said_again_is_not_copied_and_what_is_shown_is_the_last() {
        let mut recent = with([1.0, 1.0]);
        let talk = recent.talk.as_ref().unwrap().1.as_ptr();
        let json = serde_json::json!({
            "plugin": "a", "key": null, "host": "h", "interval": null,
            "message": "ä".repeat(1000), "run": "0192f0c1-0000-7000-8000-000000000000",
            "duration": 1.0, "started": "2026-11-22T20:43:10.123Z", "status": "ok",
            "outcome": {"kind": "exited", "code": 0}, "rejected": [], "warnings": [], "skipped": 0,
            "metrics": [
                {"name": "used", "value": 1, "type": "integer", "unit": "B", "tags": {"a": "1", "b": "2"}},
                {"name": "text", "value": "x".repeat(100), "type": "string"},
            ],
            "counts": {"produced": 2, "accepted": 2, "rejected": {}}, "leftovers": 0,
            "usage": {"cpu": 0.0, "max_rss": 0, "stdout": 0, "stderr": 0}, "stderr": "1 äöü",
        });
        let mut report: Report = serde_json::from_value(json).unwrap();
        let last = LastRun::new(&report, std::time::Duration::ZERO);
        let message = last.message.clone().unwrap();
        assert!(message.ends_with("ä…") && message.len() < 1100, "{}", message.len());
        recent.note(&report, last.clone(), &Tags::default());
        let (at, text) = recent.talk.as_ref().unwrap();
        assert_eq!((*at, text.as_ptr()), (report.started, talk));
        let name = recent.values[0].name.as_ptr();
        for _ in 0..2 {
            let names: Vec<&str> = recent.values.iter().map(|value| value.name.as_str()).collect();
            assert_eq!(names, ["used{a=1,b=2}", "text"]);
            assert_eq!(recent.values[1].value.to_string().chars().count(), TEXT + 1);
            recent.note(&report, last.clone(), &Tags::default());
        }
        assert_eq!(recent.values[0].name.as_ptr(), name);
        report.metrics.remove(0);
        recent.note(&report, last, &Tags::default());
        assert_eq!((recent.values.len(), recent.values[0].name.as_str()), (1, "text"));
        assert_eq!(recent.values[0].unit, None);
    }

    #[test]
    fn quantiles_are_those_of_the_runs_that_there_are() {
        assert_eq!(with([]).quantiles(), None);
        assert_eq!(with([0.5]).quantiles(), Some(Quantiles { p50: 0.5, p99: 0.5 }));
        let many = with((1..=60_u16).rev().map(f32::from)).quantiles();
        assert_eq!(many, Some(Quantiles { p50: 30.0, p99: 60.0 }));
    }
}
