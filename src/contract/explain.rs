//! A page for each rejection code: what it means, an example that triggers it, the fix.

use std::fmt;

use crate::model::RejectionCode;

/// What a program prints in an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prints {
    /// This, to its end.
    Text(&'static str),
    /// This, and is cut off there.
    Cut(&'static str),
    /// Bytes that are not all text.
    Bytes(&'static [u8]),
    /// `before`, then `times` times `unit`, then `after`. A `#` in `unit` is the number of the
    /// repetition, from 1.
    Many {
        /// What comes first.
        before: &'static str,
        /// What is repeated.
        unit: &'static str,
        /// How often.
        times: usize,
        /// What comes last.
        after: &'static str,
    },
}

impl Prints {
    /// All of it, as it would come from the program.
    pub fn bytes(&self) -> Vec<u8> {
        match *self {
            Self::Text(text) | Self::Cut(text) => text.as_bytes().to_vec(),
            Self::Bytes(bytes) => bytes.to_vec(),
            Self::Many { before, unit, times, after } => {
                let mut text = before.to_owned();
                for n in 1..=times {
                    text.push_str(&unit.replace('#', &n.to_string()));
                }
                text.push_str(after);
                text.into_bytes()
            }
        }
    }
}

impl fmt::Display for Prints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Cut(text) => write!(f, "{text}✂"),
            Self::Bytes(bytes) => write!(f, "{}", bytes.escape_ascii()),
            Self::Many { before, unit, times, after } => {
                let unit = unit.replace('#', "1");
                write!(f, "{before}{}…{after}   ({times} times)", unit.trim_end())
            }
        }
    }
}

/// A page of `talaia explain`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// The code.
    pub code: RejectionCode,
    /// What it means.
    pub meaning: &'static str,
    /// What the plugin's configuration must say for the example, if it matters; where it starts with
    /// `{`, what its own schema says.
    pub settings: Option<&'static str>,
    /// Output that is refused with this code.
    pub example: Prints,
    /// What to do instead.
    pub fix: &'static str,
}

impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n\n{}\n\n", self.code, self.meaning)?;
        if let Some(settings) = self.settings {
            let schema = settings.starts_with('{');
            writeln!(f, "{}\n", if schema { "With the schema" } else { "With" })?;
            for line in settings.lines() {
                writeln!(f, "    {line}")?;
            }
            writeln!(f)?;
        }
        writeln!(f, "Refused:\n")?;
        for line in self.example.to_string().lines() {
            writeln!(f, "    {line}")?;
        }
        write!(f, "\n{}\n", self.fix)
    }
}

/// The page of a code.
pub fn page(code: RejectionCode) -> Page {
    let (meaning, settings, example, fix) = match code {
        RejectionCode::NameMissing => (
            "A metric object has no `name` (nor `metric_name`), or an array holds something that is no metric object. Without a name there is no series to put the value in.",
            None,
            Prints::Text(r#"[{"value": 71.2}]"#),
            r#"Add a name: [{"name": "disk_used", "value": 71.2}]"#,
        ),
        RejectionCode::NameHyphen => (
            "A name has a hyphen. Prometheus, Influx and most query languages read `disk-used` as a subtraction.",
            None,
            Prints::Text(r#"{"disk-used": 71.2}"#),
            r#"Use `_`: {"disk_used": 71.2}"#,
        ),
        RejectionCode::NameInvalid => (
            "A name has letters, digits and `_` alone, and does not start with a digit: ^[A-Za-z_][A-Za-z0-9_]*$. Dots, spaces and slashes are for labels and tags.",
            None,
            Prints::Text(r#"{"disk.used /home": 71.2}"#),
            r#"Put what varies into tags: {"name": "disk_used", "value": 71.2, "tags": {"mount": "/home"}}"#,
        ),
        RejectionCode::ValueMissing => (
            "A metric object has no `value`.",
            None,
            Prints::Text(r#"[{"name": "disk_used"}]"#),
            r#"Add the value. If there is nothing to see, say so with a gap: {"name": "disk_used", "value": null}"#,
        ),
        RejectionCode::ValueType => (
            "A value is of another kind than its type says: text where a number belongs, a fraction where a whole number belongs; or another member of a metric is of the wrong kind. The type is the declared one, else the one that the record states.",
            None,
            Prints::Text(r#"{"name": "disk_used", "value": "71.2%", "type": "percent"}"#),
            r#"Print the number alone: {"name": "disk_used", "value": 71.2, "type": "percent"}"#,
        ),
        RejectionCode::ValueNested => (
            "A value is an object or an array. A metric is one reading, so what is inside would be lost.",
            None,
            Prints::Text(r#"{"disk": {"used": 71.2, "free": 28.8}}"#),
            r#"Print one metric for each reading: {"disk_used": 71.2, "disk_free": 28.8}. Documents of other programs can be flattened with `jq`."#,
        ),
        RejectionCode::ValueNotFinite => (
            "NaN and infinity are not JSON, and no average survives them. Usually something was divided by nothing.",
            None,
            Prints::Text(r#"{"ratio": NaN, "users": 3}"#),
            r#"Print null for a gap: {"ratio": null, "users": 3}. In Python, json.dumps(…, allow_nan=False) shows where it comes from."#,
        ),
        RejectionCode::ValueRange => (
            "A value is outside of what its type can hold: an integer beyond 64 bits, a counter below 0, a boolean that is neither 0 nor 1, a number beyond what a float can hold; or not one of the declared `values`.",
            None,
            Prints::Text(r#"{"name": "requests", "value": -1, "type": "counter"}"#),
            r#"Use the type that fits. What can go down is no counter: {"name": "requests", "value": -1, "type": "integer"}"#,
        ),
        RejectionCode::TypeUnknown => (
            "There is no such type. The types are integer, float, percent, counter, boolean (or binary) and string.",
            None,
            Prints::Text(r#"{"name": "load1", "value": 0.42, "type": "gauge"}"#),
            r#"Name one of the types, or leave `type` out: {"name": "load1", "value": 0.42, "type": "float"}"#,
        ),
        RejectionCode::TimeInvalid => (
            "`time` cannot be read. It is RFC 3339 with an offset, or Unix seconds; above 1e11, milliseconds.",
            None,
            Prints::Text(r#"{"name": "load1", "value": 0.42, "time": "22.11.2026 20:42"}"#),
            "Print `date -u +%FT%TZ` or `date +%s`, or leave `time` out: the start of the run is the default.",
        ),
        RejectionCode::TimeFuture => (
            "`time` is more than ten minutes ahead of the agent's clock. Such points hide what comes after them. Local time with a `Z` behind it is the usual reason.",
            None,
            Prints::Text(r#"{"name": "load1", "value": 0.42, "time": "2999-01-01T00:00:00Z"}"#),
            "Print UTC (`date -u`), or Unix seconds (`date +%s`), and check the clock of this host.",
        ),
        RejectionCode::TagInvalid => (
            "A tag cannot be used. Tags are an object of strings: at most 32 with those of the plugin and the agent, keys of 1 to 64 bytes, values of at most 256, no control characters.",
            None,
            Prints::Text(r#"{"name": "disk_used", "value": 71.2, "tags": {"disk": 1}}"#),
            r#"Write strings: {"name": "disk_used", "value": 71.2, "tags": {"disk": "1"}}"#,
        ),
        RejectionCode::DuplicateKey => (
            "An object has the same key twice, and nobody can know which of the two was meant. Of two metrics in one document the first is kept; a metric object with a key twice is refused.",
            None,
            Prints::Text(r#"{"load1": 0.42, "load1": 0.43}"#),
            r#"Print each key once. For readings of the same thing at several places use tags: [{"name": "load", "value": 0.42, "tags": {"cpu": "0"}}, {"name": "load", "value": 0.43, "tags": {"cpu": "1"}}]"#,
        ),
        RejectionCode::DuplicateSeries => (
            "The same name with the same tags came twice for the same time in one run. The first is kept.",
            None,
            Prints::Text(
                r#"[{"name": "disk_used", "value": 71.2}, {"name": "disk_used", "value": 12.5}]"#,
            ),
            r#"Tell them apart by a tag: [{"name": "disk_used", "value": 71.2, "tags": {"mount": "/"}}, {"name": "disk_used", "value": 12.5, "tags": {"mount": "/home"}}]"#,
        ),
        RejectionCode::Undeclared => (
            "The plugin is `strict` and printed a metric that it did not declare. A slip in a name would otherwise start a new series and leave a gap in the old one.",
            Some("strict = true\n[metrics.disk_used]\ntype = \"percent\""),
            Prints::Text(r#"{"disk_usd": 71.2}"#),
            "Correct the name, declare the metric under [plugins.NAME.metrics], or leave out `strict`.",
        ),
        RejectionCode::Schema => (
            "The record breaks the plugin's own JSON Schema (`schema = …`). An error inside one record refuses that record; an error anywhere else refuses its document, as one rejection.",
            Some(r#"{"properties": {"users": {"type": "integer"}}}"#),
            Prints::Text(r#"{"users": "three"}"#),
            "Print what the schema asks for, or change the schema. `rule` in the rejection points into it.",
        ),
        RejectionCode::TooLong => (
            "A text is over its limit: names 128 bytes, labels and units 256, string values 4096.",
            None,
            Prints::Many {
                before: r#"{"name": "load1", "value": 1, "unit": ""#,
                unit: "x",
                times: 257,
                after: r#""}"#,
            },
            "Shorten it. Nothing is cut silently, because a cut name is another series.",
        ),
        RejectionCode::TooManyMetrics => (
            "More than 10 000 metrics in one run. The first 10 000 are kept.",
            None,
            Prints::Many {
                before: "",
                unit: "{\"name\": \"m\", \"value\": 1, \"time\": #}\n",
                times: 10_001,
                after: "",
            },
            "Print fewer, or split the plugin into several.",
        ),
        RejectionCode::TooManySeries => (
            "The plugin has had more than 10 000 series since the agent started: usually a tag or a name holds something that never stops changing, such as a process id, a URL or a time. Known series go on; new ones are refused.",
            None,
            Prints::Many {
                before: "",
                unit: "{\"metrics\": [{\"name\": \"rss\", \"value\": 1, \"tags\": {\"pid\": \"#\"}}]}\n",
                times: 10_001,
                after: "",
            },
            "Take what keeps changing out of names and tags.",
        ),
        RejectionCode::TooDeep => (
            "JSON nested deeper than 64 levels. Metrics need no more than four.",
            None,
            Prints::Many { before: "", unit: "[", times: 65, after: "" },
            "Print one metric for each reading; flatten documents of other programs with `jq`.",
        ),
        RejectionCode::JsonSyntax => (
            "The text starts like JSON and is not. What was complete before the error is kept, the rest of that value is lost, and reading goes on at the next line that starts with { or [.",
            None,
            Prints::Text(r#"{"users": 3, "load1": }"#),
            "Line and column show where it breaks. Here a variable was empty: print null for a gap. `talaia emit` and `jq -n` print correct JSON from a shell script.",
        ),
        RejectionCode::JsonUtf8 => (
            "A text is not UTF-8, or has half of a surrogate pair. One such string costs its record; a stretch of such lines is one rejection.",
            None,
            Prints::Bytes(b"{\"kernel\": \"gr\xf6\xdfer\", \"users\": 3}"),
            "Print UTF-8: set LC_ALL=C.UTF-8, or pipe through `iconv -f latin1 -t utf-8`.",
        ),
        RejectionCode::NotJson => (
            "Lines that are not JSON at all. Lines next to each other count as one rejection.",
            None,
            Prints::Text("connecting to db-1 …\n{\"users\": 3}"),
            r#"Print diagnostics to stderr: echo "connecting to db-1 …" >&2. They are kept with the report."#,
        ),
        RejectionCode::Truncated => (
            "The run was cut off in the middle of this value, by its deadline or by the cap on its output. What was complete before is kept.",
            None,
            Prints::Cut("{\"users\": 3}\n{\"load1\": 0."),
            "Print each record as soon as it is known, or raise `timeout` or `limits.stdout`.",
        ),
    };
    Page { code, meaning, settings, example, fix }
}
