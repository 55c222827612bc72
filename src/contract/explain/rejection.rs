//! Why a record is refused. Both examples are true: a test hands them to the decoder and the judge.

use super::{Kind, Page, Prints};
use crate::model::RejectionCode as Code;

/// The page of a code.
pub(super) fn page(code: Code) -> Page {
    let (meaning, settings, wrong, right, fix) = match code {
        Code::NameMissing => (
            "A metric object has no `name` (nor `metric_name`), or an array holds something that is no metric object. Without a name there is no series to put the value in.",
            None,
            Prints::Text(r#"[{"value": 71.2}]"#),
            Prints::Text(r#"[{"name": "disk_used", "value": 71.2}]"#),
            "Add a name.",
        ),
        Code::NameHyphen => (
            "A name has a hyphen. Prometheus, Influx and most query languages read `disk-used` as a subtraction.",
            None,
            Prints::Text(r#"{"disk-used": 71.2}"#),
            Prints::Text(r#"{"disk_used": 71.2}"#),
            "Use `_`.",
        ),
        Code::NameInvalid => (
            "A name has letters, digits and `_` alone, and does not start with a digit: ^[A-Za-z_][A-Za-z0-9_]*$. Dots, spaces and slashes are for labels and tags.",
            None,
            Prints::Text(r#"{"disk.used /home": 71.2}"#),
            Prints::Text(r#"{"name": "disk_used", "value": 71.2, "tags": {"mount": "/home"}}"#),
            "Put what varies into tags.",
        ),
        Code::ValueMissing => (
            "A metric object has no `value`.",
            None,
            Prints::Text(r#"[{"name": "disk_used"}]"#),
            Prints::Text(r#"{"name": "disk_used", "value": null}"#),
            "Add the value. If there is nothing to see, say so with a gap: `null`.",
        ),
        Code::ValueType => (
            "A value is of another kind than its type says: text where a number belongs, a fraction where a whole number belongs; or another member of a metric is of the wrong kind. The type is the declared one, else the one that the record states.",
            None,
            Prints::Text(r#"{"name": "disk_used", "value": "71.2%", "type": "percent"}"#),
            Prints::Text(r#"{"name": "disk_used", "value": 71.2, "type": "percent"}"#),
            "Print the number alone; the unit has a place of its own.",
        ),
        Code::ValueNested => (
            "A value is an object or an array. A metric is one reading, so what is inside would be lost.",
            None,
            Prints::Text(r#"{"disk": {"used": 71.2, "free": 28.8}}"#),
            Prints::Text(r#"{"disk_used": 71.2, "disk_free": 28.8}"#),
            "Print one metric for each reading. Documents of other programs can be flattened with `jq`.",
        ),
        Code::ValueNotFinite => (
            "NaN and infinity are not JSON, and no average survives them. Usually something was divided by nothing.",
            None,
            Prints::Text(r#"{"ratio": NaN, "users": 3}"#),
            Prints::Text(r#"{"ratio": null, "users": 3}"#),
            "Print null for a gap. In Python, json.dumps(…, allow_nan=False) shows where it comes from.",
        ),
        Code::ValueRange => (
            "A value is outside of what its type can hold: an integer beyond 64 bits, a counter below 0, a boolean that is neither 0 nor 1, a number beyond what a float can hold; or not one of the declared `values`.",
            None,
            Prints::Text(r#"{"name": "requests", "value": -1, "type": "counter"}"#),
            Prints::Text(r#"{"name": "requests", "value": -1, "type": "integer"}"#),
            "Use the type that fits. What can go down is no counter.",
        ),
        Code::TypeUnknown => (
            "There is no such type. The types are integer, float, percent, counter, boolean (or binary) and string.",
            None,
            Prints::Text(r#"{"name": "load1", "value": 0.42, "type": "gauge"}"#),
            Prints::Text(r#"{"name": "load1", "value": 0.42, "type": "float"}"#),
            "Name one of the types, or leave `type` out.",
        ),
        Code::TimeInvalid => (
            "`time` cannot be read. It is RFC 3339 with an offset, or Unix seconds; above 1e11, milliseconds.",
            None,
            Prints::Text(r#"{"name": "load1", "value": 0.42, "time": "22.11.2026 20:42"}"#),
            Prints::Text(r#"{"name": "load1", "value": 0.42, "time": "2026-11-22T20:42:10Z"}"#),
            "Print `date -u +%FT%TZ` or `date +%s`, or leave `time` out: the start of the run is the default.",
        ),
        Code::TimeFuture => (
            "`time` is more than ten minutes ahead of the agent's clock. Such points hide what comes after them. Local time with a `Z` behind it is the usual reason.",
            None,
            Prints::Text(r#"{"name": "load1", "value": 0.42, "time": "2999-01-01T00:00:00Z"}"#),
            Prints::Text(
                r#"{"name": "load1", "value": 0.42, "time": "2026-11-22T20:42:10+01:00"}"#,
            ),
            "Print UTC (`date -u`), or Unix seconds (`date +%s`), and check the clock of this host.",
        ),
        Code::TagInvalid => (
            "A tag cannot be used. Tags are an object of strings: at most 32 with those of the plugin and the agent, keys of 1 to 64 bytes, values of at most 256, no control characters.",
            None,
            Prints::Text(r#"{"name": "disk_used", "value": 71.2, "tags": {"disk": 1}}"#),
            Prints::Text(r#"{"name": "disk_used", "value": 71.2, "tags": {"disk": "1"}}"#),
            "Write strings.",
        ),
        Code::DuplicateKey => (
            "An object has the same key twice, and nobody can know which of the two was meant. Of two metrics in one document the first is kept; a metric object with a key twice is refused.",
            None,
            Prints::Text(r#"{"load1": 0.42, "load1": 0.43}"#),
            Prints::Text(
                r#"[{"name": "load", "value": 0.42, "tags": {"cpu": "0"}}, {"name": "load", "value": 0.43, "tags": {"cpu": "1"}}]"#,
            ),
            "Print each key once. For readings of the same thing at several places use tags.",
        ),
        Code::DuplicateSeries => (
            "The same name with the same tags came twice for the same time in one run. The first is kept.",
            None,
            Prints::Text(
                r#"[{"name": "disk_used", "value": 71.2}, {"name": "disk_used", "value": 12.5}]"#,
            ),
            Prints::Text(
                r#"[{"name": "disk_used", "value": 71.2, "tags": {"mount": "/"}}, {"name": "disk_used", "value": 12.5, "tags": {"mount": "/home"}}]"#,
            ),
            "Tell them apart by a tag.",
        ),
        Code::Undeclared => (
            "The plugin is `strict` and printed a metric that it did not declare. A slip in a name would otherwise start a new series and leave a gap in the old one.",
            Some("strict = true\n[metrics.disk_used]\ntype = \"percent\""),
            Prints::Text(r#"{"disk_usd": 71.2}"#),
            Prints::Text(r#"{"disk_used": 71.2}"#),
            "Correct the name, declare the metric under [plugins.NAME.metrics], or leave out `strict`.",
        ),
        Code::Schema => (
            "The record breaks the plugin's own JSON Schema (`schema = …`). An error inside one record refuses that record; an error anywhere else refuses its document, as one rejection.",
            Some(r#"{"properties": {"users": {"type": "integer"}}}"#),
            Prints::Text(r#"{"users": "three"}"#),
            Prints::Text(r#"{"users": 3}"#),
            "Print what the schema asks for, or change the schema. `rule` in the rejection points into it.",
        ),
        Code::TooLong => (
            "A text is over its limit: names 128 bytes, labels and units 256, string values 4096.",
            None,
            Prints::Many {
                before: r#"{"name": "load1", "value": 1, "unit": ""#,
                unit: "x",
                times: 257,
                after: r#""}"#,
            },
            Prints::Text(r#"{"name": "load1", "value": 1, "unit": "1"}"#),
            "Shorten it. Nothing is cut silently, because a cut name is another series.",
        ),
        Code::TooManyMetrics => (
            "More than 10 000 metrics in one run. The first 10 000 are kept.",
            None,
            Prints::Many {
                before: "",
                unit: "{\"name\": \"m\", \"value\": 1, \"time\": #}\n",
                times: 10_001,
                after: "",
            },
            Prints::Many {
                before: "",
                unit: "{\"name\": \"m\", \"value\": 1, \"time\": #}\n",
                times: 10_000,
                after: "",
            },
            "Print fewer, or split the plugin into several.",
        ),
        Code::TooManySeries => (
            "The plugin has had more than 10 000 series since the agent started: usually a tag or a name holds something that never stops changing, such as a process id, a URL or a time. Known series go on; new ones are refused.",
            None,
            Prints::Many {
                before: "",
                unit: "{\"metrics\": [{\"name\": \"rss\", \"value\": 1, \"tags\": {\"pid\": \"#\"}}]}\n",
                times: 10_001,
                after: "",
            },
            Prints::Text(r#"{"metrics": [{"name": "rss", "value": 1, "tags": {"user": "mail"}}]}"#),
            "Take what keeps changing out of names and tags.",
        ),
        Code::TooDeep => (
            "JSON nested deeper than 64 levels. Metrics need no more than four.",
            None,
            Prints::Many { before: "", unit: "[", times: 65, after: "" },
            Prints::Text(r#"[{"name": "load1", "value": 0.42, "tags": {"cpu": "0"}}]"#),
            "Print one metric for each reading; flatten documents of other programs with `jq`.",
        ),
        Code::JsonSyntax => (
            "The text starts like JSON and is not. What was complete before the error is kept, the rest of that value is lost, and reading goes on at the next line that starts with { or [.",
            None,
            Prints::Text(r#"{"users": 3, "load1": }"#),
            Prints::Text(r#"{"users": 3, "load1": null}"#),
            "Line and column show where it breaks. Here a variable was empty: print null for a gap. `talaia emit` and `jq -n` print correct JSON from a shell script.",
        ),
        Code::JsonUtf8 => (
            "A text is not UTF-8, or has half of a surrogate pair. One such string costs its record; a stretch of such lines is one rejection.",
            None,
            Prints::Bytes(b"{\"kernel\": \"gr\xf6\xdfer\", \"users\": 3}"),
            Prints::Text(r#"{"kernel": "größer", "users": 3}"#),
            "Print UTF-8: set LC_ALL=C.UTF-8, or pipe through `iconv -f latin1 -t utf-8`.",
        ),
        Code::NotJson => (
            "Lines that are not JSON at all. Lines next to each other count as one rejection.",
            None,
            Prints::Text("connecting to db-1 …\n{\"users\": 3}"),
            Prints::Text(r#"{"users": 3}"#),
            r#"Print diagnostics to stderr: echo "connecting to db-1 …" >&2. They are kept with the report."#,
        ),
        Code::Truncated => (
            "The run was cut off in the middle of this value, by its deadline or by the cap on its output. What was complete before is kept.",
            None,
            Prints::Cut("{\"users\": 3}\n{\"load1\": 0."),
            Prints::Text("{\"users\": 3}\n{\"load1\": 0.42}"),
            "Print each record as soon as it is known, or raise `timeout` or `limits.stdout`.",
        ),
    };
    let see: &[&str] = match code {
        Code::NameHyphen => &["name-invalid"],
        Code::NameInvalid => &["name-hyphen", "tag-invalid"],
        Code::ValueType => &["type-unknown", "value-range"],
        Code::ValueRange => &["value-type"],
        Code::TimeInvalid => &["time-future"],
        Code::TimeFuture => &["time-invalid"],
        Code::DuplicateKey => &["duplicate-series"],
        Code::DuplicateSeries => &["duplicate-key"],
        Code::Undeclared => &["schema"],
        Code::Schema => &["undeclared"],
        Code::TooManyMetrics => &["too-many-series"],
        Code::TooManySeries => &["tag-invalid"],
        Code::JsonSyntax => &["not-json", "truncated"],
        Code::Truncated => &["timed_out", "stdout-cut"],
        Code::ValueNotFinite | Code::NotJson | Code::JsonUtf8 => &["json-syntax"],
        _ => &[],
    };
    Page {
        kind: Kind::Rejection,
        code: code.as_str(),
        meaning,
        settings,
        wrong: Some(wrong),
        right: Some(right),
        fix,
        see,
    }
}
