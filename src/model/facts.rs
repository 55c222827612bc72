use super::{MetricType, Outcome, Usage, Value};

/// What the names of all run facts begin with.
pub const RUN_FACTS: &str = "talaia_run_";

/// What is known of a run apart from what its program printed.
#[derive(Debug, Clone, Copy)]
pub struct RunFacts<'a> {
    /// How it ended.
    pub outcome: &'a Outcome,
    /// How long it took, in seconds.
    pub duration: f64,
    /// What it used.
    pub usage: &'a Usage,
    /// Its refused records.
    pub rejected: u64,
    /// Due runs that were skipped before it.
    pub skipped: u64,
}

/// One fact of a run, as a metric without tags.
#[derive(Debug, Clone, PartialEq)]
pub struct RunFact {
    /// [`RUN_FACTS`] and a word.
    pub name: &'static str,
    /// Of which type.
    pub kind: MetricType,
    /// In what.
    pub unit: Option<&'static str>,
    /// For a person.
    pub label: &'static str,
    /// How much.
    pub value: Value,
}

impl RunFacts<'_> {
    /// The names of all facts, in the order in which [`RunFacts::metrics`] gives them.
    pub const NAMES: [&'static str; 7] = [
        "talaia_run_up",
        "talaia_run_exit_code",
        "talaia_run_duration",
        "talaia_run_cpu",
        "talaia_run_max_rss",
        "talaia_run_rejected",
        "talaia_run_skipped",
    ];

    /// The facts as metrics. They are in every report's envelope already: whoever receives a report
    /// derives them, so that they cost nothing on the wire.
    ///
    /// A program that did not run has no exit code, CPU time or memory; one that was ended by a
    /// signal has no exit code.
    pub fn metrics(&self) -> impl Iterator<Item = RunFact> + use<> {
        use MetricType::{Boolean, Float, Integer};

        let whole = |n: u64| i64::try_from(n).map_or(Value::Unsigned(n), Value::Signed);
        let ran = !matches!(self.outcome, Outcome::NotStarted { .. });
        let code = match self.outcome {
            Outcome::Exited { code } => Some(Value::Signed(i64::from(*code))),
            _ => None,
        };
        let fact = |name, kind, unit, label, value| RunFact { name, kind, unit, label, value };
        [
            Some(fact(
                "talaia_run_up",
                Boolean,
                None,
                "Run went well",
                Value::Boolean(self.outcome.is_ok()),
            )),
            code.map(|code| fact("talaia_run_exit_code", Integer, None, "Exit code", code)),
            Some(fact(
                "talaia_run_duration",
                Float,
                Some("s"),
                "Run took",
                Value::Float(self.duration),
            )),
            ran.then(|| {
                fact("talaia_run_cpu", Float, Some("s"), "CPU time", Value::Float(self.usage.cpu))
            }),
            ran.then(|| {
                let rss = whole(self.usage.max_rss);
                fact("talaia_run_max_rss", Integer, Some("B"), "Largest memory", rss)
            }),
            Some(fact(
                "talaia_run_rejected",
                Integer,
                None,
                "Refused records",
                whole(self.rejected),
            )),
            Some(fact(
                "talaia_run_skipped",
                Integer,
                None,
                "Skipped runs before it",
                whole(self.skipped),
            )),
        ]
        .into_iter()
        .flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_did_not_start_has_no_exit_code_and_used_nothing() {
        let usage = Usage { cpu: 0.5, max_rss: 1 << 20, ..Usage::default() };
        let names = |outcome: &Outcome| -> Vec<&'static str> {
            let facts = RunFacts { outcome, duration: 1.0, usage: &usage, rejected: 2, skipped: 0 };
            facts.metrics().map(|fact| fact.name).collect()
        };
        let all = names(&Outcome::Exited { code: 3 });
        assert_eq!(all, RunFacts::NAMES);
        assert!(all.iter().all(|name| name.starts_with(RUN_FACTS)));
        assert_eq!(names(&Outcome::Signaled { signal: 9 }).len(), 6);
        let none = names(&Outcome::NotStarted { error: "gone".to_owned() });
        let left = ["talaia_run_up", "talaia_run_duration", "talaia_run_rejected"];
        assert_eq!(none[..3], left);
        assert_eq!(none.len(), 4);
    }
}
