//! What `talaia test` advises.

use super::{Kind, Page, pair, runs};
use crate::model::AdviceCode;

pub(super) fn pages() -> impl Iterator<Item = Page> {
    AdviceCode::ALL.iter().map(|code| page(*code))
}

fn page(code: AdviceCode) -> Page {
    use AdviceCode as A;
    let (meaning, shown, fix, see): (_, _, _, &[&str]) = match code {
        A::NothingPrinted => (
            "The plugin ran and printed nothing on stdout. That is allowed: there may be nothing to tell. Of a plugin that is being written it is usually a branch that was not taken, or output that went elsewhere.",
            pair(
                r#"#!/bin/sh
[ -e /no/such ] && echo '{"users": 3}'
exit 0"#,
                r#"#!/bin/sh
[ -e /no/such ] && users=3
echo "{\"users\": ${users:-0}}""#,
            ),
            "Print at least one record in each run, 0 or null where there is nothing.",
            &["stderr-only", "empty"],
        ),
        A::KeyAsMetric => (
            "An object without `value` and `name` is a list of metrics, one for each key. A key that belongs to a metric object, such as `unit`, became a metric of its own.",
            pair(r#"{"name": "users", "val": 3}"#, r#"{"name": "users", "value": 3}"#),
            "Give the object both `name` and `value`.",
            &["name-missing", "value-missing"],
        ),
        A::VerdictAsMetric => (
            "A flat object has a key `status` with one of the four words of a run's status. In a flat object every key is a metric, so the run itself counts as ok.",
            pair(
                r#"{"status": "critical", "message": "db-1 is down"}"#,
                r#"{"status": "critical", "message": "db-1 is down", "metrics": []}"#,
            ),
            "Print the full form, with `metrics`, also where there are none.",
            &["key-as-metric"],
        ),
        A::UnitMissing => (
            "The metric's name says a unit, and the metric has none. Charts and other systems read units from the metric, not from its name.",
            pair(
                r#"{"free_bytes": 1024}"#,
                r#"[{"name": "free_bytes", "value": 1024, "unit": "B"}]"#,
            ),
            "Print the unit with the metric, or declare it: `[plugins.NAME.metrics.free_bytes]` with `unit = \"B\"`.",
            &["unit-varies"],
        ),
        A::UnitVaries => (
            "The same metric came in several units. A series has one: what comes in another is drawn as if it were the same.",
            pair(
                r#"[{"name": "wait", "value": 2, "unit": "s", "tags": {"queue": "a"}},
 {"name": "wait", "value": 300, "unit": "ms", "tags": {"queue": "b"}}]"#,
                r#"[{"name": "wait", "value": 2, "unit": "s", "tags": {"queue": "a"}},
 {"name": "wait", "value": 0.3, "unit": "s", "tags": {"queue": "b"}}]"#,
            ),
            "Convert to one unit, or give the second metric another name.",
            &["unit-missing"],
        ),
        A::NumberInText => (
            "A text that a person reads as a number: with a unit behind it, with a decimal comma, or in quotes. It is kept as a text, which no chart can draw. If a text is meant, declare it.",
            pair(r#"{"used": "71%"}"#, r#"[{"name": "used", "value": 71, "type": "percent"}]"#),
            "Print the number alone, and what was behind it as `unit`.",
            &["value-type"],
        ),
        A::BytesAsFloat => (
            "A count of bytes with a fraction. Usually it was divided on the way, and the unit is no longer bytes.",
            pair(
                r#"[{"name": "rss", "value": 12.5, "unit": "B"}]"#,
                r#"[{"name": "rss", "value": 13107200, "unit": "B"}]"#,
            ),
            "Print whole bytes, undivided, or the unit that it is in.",
            &["digits-lost"],
        ),
        A::DigitsLost => (
            "A large whole number was printed with an exponent, and its last digits are gone. awk's `print` does so from a million on, or from two thousand million on, by its kind.",
            pair(
                r#"[{"name": "read", "value": 1.84467e+10, "unit": "B"}]"#,
                r#"[{"name": "read", "value": 18446744073, "unit": "B"}]"#,
            ),
            "In awk `printf \"%.0f\"`, not `print`.",
            &["bytes-as-float"],
        ),
        A::PercentAsFraction => (
            "All values of a percentage lie between 0 and 1, and there were several. `percent` is never rescaled: 0.71 means 0.71 %.",
            pair(
                r#"[{"name": "used", "value": 0.712, "type": "percent", "tags": {"disk": "a"}},
 {"name": "used", "value": 0.4, "type": "percent", "tags": {"disk": "b"}}]"#,
                r#"[{"name": "used", "value": 71.2, "type": "percent", "tags": {"disk": "a"}},
 {"name": "used", "value": 40, "type": "percent", "tags": {"disk": "b"}}]"#,
            ),
            "Print it times 100, if a whole is 1. If it is so small, declare its type: what is declared is meant.",
            &[],
        ),
        A::CounterFalls => (
            "A counter went down between two runs. That counts as a start from zero, so its rate shows a jump that there was not.",
            runs(
                &[
                    r#"{"name": "left", "value": 9, "type": "counter"}"#,
                    r#"{"name": "left", "value": 7, "type": "counter"}"#,
                ],
                &[r#"{"name": "left", "value": 9}"#, r#"{"name": "left", "value": 7}"#],
            ),
            "What can go down is no counter: print it as `integer` or `float`. A counter that started anew is fine.",
            &["counter-likely"],
        ),
        A::CounterLikely => (
            "The metric only grew from run to run, and its name says that it counts. As an integer it is drawn as the sum since the beginning; as a counter, as what is added each second.",
            runs(
                &[r#"{"jobs_total": 3}"#, r#"{"jobs_total": 5}"#],
                &[
                    r#"{"name": "jobs_total", "value": 3, "type": "counter"}"#,
                    r#"{"name": "jobs_total", "value": 5, "type": "counter"}"#,
                ],
            ),
            "Print `\"type\": \"counter\"`, or declare it.",
            &["counter-falls"],
        ),
        A::TypeFlips => (
            "The metric was a number in one run and a text or a boolean in another. What cannot be had was usually printed as a word.",
            pair(
                "{\"name\": \"load\", \"value\": 0.5, \"tags\": {\"of\": \"a\"}}\n{\"name\": \"load\", \"value\": \"n/a\", \"tags\": {\"of\": \"b\"}}",
                "{\"name\": \"load\", \"value\": 0.5, \"tags\": {\"of\": \"a\"}}\n{\"name\": \"load\", \"value\": null, \"tags\": {\"of\": \"b\"}}",
            ),
            "Print null for a gap, and declare the type: then the slip is refused.",
            &["value-type"],
        ),
        A::SeriesUnsteady => (
            "A series came in some runs and not in others. A reader cannot tell whether it is gone or was forgotten, and alerts on it fall silent.",
            runs(
                &[r#"{"users": 3, "errors": 1}"#, r#"{"users": 3}"#],
                &[r#"{"users": 3, "errors": 1}"#, r#"{"users": 3, "errors": 0}"#],
            ),
            "Print it each time: 0 where there is none, null where nothing is known. What comes and goes by nature, such as devices, is fine.",
            &["tag-grows"],
        ),
        A::TagGrows => (
            "A tag had another value in each run: a process id, a time, a URL. Each makes a new series, without end; after 10 000 they are refused.",
            runs(
                &[
                    r#"{"name": "load", "value": 1, "tags": {"pid": "101"}}"#,
                    r#"{"name": "load", "value": 1, "tags": {"pid": "257"}}"#,
                ],
                &[r#"{"name": "load", "value": 1}"#, r#"{"name": "load", "value": 1}"#],
            ),
            "Leave out of tags what never stops changing. If it matters, print it as a text of its own.",
            &["too-many-series", "series-unsteady"],
        ),
    };
    Page::told(Kind::Advice, code.as_str(), meaning, shown, fix, see)
}
