//! `talaia emit`: correct JSON from the words of a shell.
//!
//! What it prints is accepted: it is read and judged here as the agent would, and what would be refused
//! there is refused here, with the argument that it came from.

use std::io::{BufRead as _, Read as _};
use std::sync::Arc;
use std::time::SystemTime;

use serde_json::{Map, Value, json};

use crate::contract::{Contract, Judge, Moment, number_and_unit};
use crate::decode::End;
use crate::model::{Format, MetricType, Status, Tags, Timestamp, is_name, limits, nearest_name};

use super::args::EmitArgs;
use super::exit::{Exit, Failure};
use super::print;

/// Most bytes of pairs on standard input.
const MOST: u64 = 8 << 20;

/// Prints the full form on one line.
pub(crate) fn run(args: &EmitArgs) -> Result<Exit, Failure> {
    let mut pairs = Vec::new();
    for text in &args.metrics {
        if text == "-" {
            read_pairs(&mut pairs)?;
        } else {
            pairs.push(text.clone());
        }
    }
    // By its beginning the agent knows whose words they are among those of a script.
    let document = document(args, &pairs)
        .map_err(|text| Failure::new(Exit::Usage, format!("emit: {text}")))?;
    print::data(document).map_err(|e| Failure::new(Exit::Disk, format!("stdout: {e}")))?;
    Ok(Exit::Ok)
}

/// Lines `NAME VALUE` or `NAME=VALUE` of standard input, as if they were arguments.
fn read_pairs(pairs: &mut Vec<String>) -> Result<(), Failure> {
    let unreadable = |e: std::io::Error| {
        Failure::new(Exit::Input, format!("standard input cannot be read: {e}"))
    };
    let mut left = MOST;
    for line in std::io::stdin().lock().take(MOST + 1).lines() {
        let line = line.map_err(unreadable)?;
        left = left.saturating_sub(line.len() as u64);
        if left == 0 {
            let text = format!("standard input has over {MOST} bytes, more than a run may print");
            return Err(Failure::new(Exit::Input, text));
        }
        let line = line.trim_start_matches('\u{feff}').trim_start().trim_end_matches(['\r', '\n']);
        match line.find(|c: char| c == '=' || c.is_whitespace()) {
            _ if line.is_empty() => {}
            // `a 1`, `a = 1`, and `a ` with what awk had no value for.
            Some(at) => {
                let value = line[at..].trim();
                let value = value.strip_prefix('=').unwrap_or(value).trim_start();
                pairs.push(format!("{}={value}", &line[..at]));
            }
            // Without a value it is told like any other.
            None => pairs.push(line.to_owned()),
        }
    }
    Ok(())
}

fn document(args: &EmitArgs, pairs: &[String]) -> Result<Value, String> {
    if args.label.is_some() && pairs.len() > 1 {
        return Err("--label names one metric; call `talaia emit` once for each".to_owned());
    }
    let options = [("warn", &args.warn), ("crit", &args.crit), ("time", &args.time)];
    if let Some((key, _)) = options.iter().find(|(_, text)| text.as_deref() == Some("")) {
        return Err(format!("--{key}: there is no value; is a variable unset?"));
    }
    let mut shared = Map::new();
    for (key, text) in [("unit", &args.unit), ("label", &args.label)] {
        shared.extend(text.iter().map(|text| (key.to_owned(), json!(text))));
    }
    for (key, text) in [("warn", &args.warn), ("crit", &args.crit)] {
        shared.extend(text.iter().map(|text| (key.to_owned(), bound(text).unwrap_or(json!(text)))));
    }
    for (key, text) in [("min", &args.min), ("max", &args.max)] {
        if let Some(text) = text {
            let number = bound(text).ok_or_else(|| format!("--{key}: `{text}` is not a number"))?;
            shared.insert(key.to_owned(), number);
        }
    }
    let tags = tags(&args.tags)?;
    if !tags.is_empty() {
        shared.insert("tags".to_owned(), Value::Object(tags));
    }
    let metrics = pairs.iter().map(|text| metric(text, args, &shared));
    let mut document = json!({ "metrics": metrics.collect::<Result<Vec<_>, _>>()? });
    if let Some(word) = &args.status {
        let status = Status::from_word(word).ok_or_else(|| {
            format!("--status: `{word}` is no status: use ok, warning, critical or unknown")
        })?;
        document["status"] = json!(status);
    }
    if let Some(message) = &args.message {
        if message.len() > limits::TEXT {
            return Err(format!("--message: it is over {} bytes; shorten it", limits::TEXT));
        }
        document["message"] = json!(message);
    }
    if let Some(time) = &args.time {
        document["time"] = bound(time).unwrap_or(json!(time));
    }
    accepted(&document, pairs)?;
    Ok(document)
}

/// Whether the agent would take all of it.
fn accepted(document: &Value, pairs: &[String]) -> Result<(), String> {
    let text = document.to_string();
    let now = Timestamp::from(SystemTime::now());
    let mut judge = Judge::new(Arc::new(Contract::default()), Tags::new());
    let judged = judge.run(Moment { started: now, now }, |records| {
        Format::Json.decode(text.as_bytes(), End::Whole, records);
    });
    let Some(first) = judged.rejected.first() else { return Ok(()) };
    let index = first.path.strip_prefix("/metrics/").and_then(|rest| rest.split('/').next());
    let pair = index.and_then(|index| pairs.get(index.parse::<usize>().ok()?));
    let what = pair.map_or_else(String::new, |pair| format!("`{}`: ", shown(pair)));
    Err(format!("{what}{}; {} (`talaia explain {}`)", first.message, first.hint, first.code))
}

/// As much of an argument as fits into a line.
fn shown(text: &str) -> String {
    let mut short: String = text.chars().take(60).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    super::report::clean(&short)
}

fn metric(text: &str, args: &EmitArgs, shared: &Map<String, Value>) -> Result<Value, String> {
    let Some((name, value)) = text.split_once('=') else {
        return Err(format!("`{}` is not NAME=VALUE", shown(text)));
    };
    let (name, kind) = match name.split_once(':') {
        None => (name, args.kind),
        Some((name, word)) => {
            let kind = word.parse().map_err(|()| {
                let all: Vec<&str> = MetricType::ALL.iter().map(|kind| kind.as_str()).collect();
                format!("{name}: there is no type `{word}`; the types are {}", all.join(", "))
            })?;
            (name, Some(kind))
        }
    };
    if !is_name(name) {
        return Err(format!(
            "`{}` cannot be a name: use letters, digits and `_`, such as `{}`",
            shown(name),
            nearest_name(name)
        ));
    }
    let value = match value {
        "" if args.gaps && kind != Some(MetricType::String) => Value::Null,
        _ => typed(name, value, kind)?,
    };
    let mut metric = shared.clone();
    metric.insert("name".to_owned(), json!(name));
    metric.insert("value".to_owned(), value);
    if let Some(kind) = kind {
        metric.insert("type".to_owned(), json!(kind));
    }
    Ok(Value::Object(metric))
}

/// The JSON value that a word of a shell means.
pub(crate) fn typed(name: &str, text: &str, kind: Option<MetricType>) -> Result<Value, String> {
    let wrong = |what: &str| Err(format!("{name}: `{}` is not {what}", shown(text)));
    if text.is_empty() && kind != Some(MetricType::String) {
        return Err(format!(
            "{name}: there is no value; is a variable unset? Leave the metric out, or write {name}=null for a gap"
        ));
    }
    match kind {
        Some(MetricType::String) => Ok(json!(text)),
        Some(_) if text == "null" => Ok(Value::Null),
        Some(MetricType::Boolean) => match text {
            "true" | "1" => Ok(json!(true)),
            "false" | "0" => Ok(json!(false)),
            _ => wrong("true, false, 1 or 0"),
        },
        Some(MetricType::Integer) => match number(without_zeros(text)) {
            Some(n) if n.is_i64() || n.is_u64() => Ok(n),
            // `71.0` and `1e3`, as awk prints them.
            Some(n) if n.as_f64().is_some_and(|x| x.fract() == 0.0 && x.abs() < 9e15) => {
                Ok(json!(n.as_f64().unwrap_or_default() as i64))
            }
            Some(n) if n.as_f64().is_some_and(|x| x.fract() == 0.0) => {
                wrong("a whole number of 64 bits; print it as float")
            }
            _ => wrong("a whole number; round it, or say float"),
        },
        Some(kind) => {
            // `df` and its like print the sign.
            let bare = match kind {
                MetricType::Percent => text.strip_suffix('%').unwrap_or(text).trim_end(),
                _ => text,
            };
            match number(without_zeros(bare)) {
                Some(n) => Ok(n),
                None if text.contains(',') => {
                    wrong("a number: the decimal sign is a point (`export LC_ALL=C`)")
                }
                None => wrong("a number"),
            }
        }
        None => untyped(name, text),
    }
}

fn untyped(name: &str, text: &str) -> Result<Value, String> {
    let lower = text.trim_start_matches(['+', '-']).to_ascii_lowercase();
    let refuse = |why: &str| {
        Err(format!("`{name}={0}` {why}; if a text is meant: `{name}:string={0}`", shown(text)))
    };
    if matches!(lower.as_str(), "nan" | "inf" | "infinity" | "nan%") {
        return refuse("is no number in JSON; leave the metric out, or write null for a gap");
    }
    match text {
        "true" => return Ok(json!(true)),
        "false" => return Ok(json!(false)),
        "null" => return Ok(Value::Null),
        "True" | "False" => return refuse(&format!("is Python's word; write `{lower}`")),
        "None" => return refuse("is Python's word; write `null` for a gap"),
        _ => {}
    }
    // Zeros first: `07` is an hour, or the name of something.
    let zeros = without_zeros(text) != text;
    match number(without_zeros(text)) {
        Some(n)
            if !zeros
                && n.is_f64()
                && text.bytes().filter(u8::is_ascii_digit).count() > 18
                && !text.contains(['.', 'e', 'E']) =>
        {
            return refuse(&format!(
                "has more digits than 64 bits hold; `{name}:float=…` rounds it"
            ));
        }
        Some(n) if !zeros => return Ok(n),
        Some(n) => {
            return refuse(&format!("may be a number or a name; for the number write `{n}`"));
        }
        None => {}
    }
    if let Some((digits, unit)) = number_and_unit(text) {
        return match unit {
            "%" => refuse(&format!("is a number with its unit: write `{name}:percent={digits}`")),
            unit => {
                refuse(&format!("is a number with its unit: write `{name}={digits} --unit {unit}`"))
            }
        };
    }
    let plain =
        |c: char| c.is_ascii_digit() || matches!(c, ',' | '.' | ' ' | '\'' | '-' | '\u{2212}');
    let odd = text.contains([',', ' ', '\'', '\u{2212}']);
    if odd && text.chars().all(plain) && text.contains(|c: char| c.is_ascii_digit()) {
        return refuse(
            "is a number as a language writes it; print it with a point and without marks between \
             thousands (`export LC_ALL=C`)",
        );
    }
    if text.bytes().any(|b| b.is_ascii_digit()) && text.parse::<f64>().is_ok() {
        return refuse("is beyond what a number can hold; write null for a gap");
    }
    Ok(json!(text))
}

/// A number, also as `bc` and `awk` write it: `.5`, `5.`, `+5`.
fn number(text: &str) -> Option<Value> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let digits = digits.strip_suffix('.').unwrap_or(digits);
    let zero = if digits.starts_with('.') { "0" } else { "" };
    serde_json::from_str(&format!("{sign}{zero}{digits}")).ok().filter(Value::is_number)
}

/// `text` without the zeros that a number does not begin with; a text with a sign keeps them.
fn without_zeros(text: &str) -> &str {
    let rest = text.trim_start_matches('0');
    match rest.bytes().next() {
        Some(b'0'..=b'9') => rest,
        // One belongs to it: `0`, `0.5`.
        _ => &text[(text.len() - rest.len()).saturating_sub(1)..],
    }
}

/// A number of an option, where it is one.
fn bound(text: &str) -> Option<Value> {
    number(without_zeros(text))
}

fn tags(written: &[String]) -> Result<Map<String, Value>, String> {
    let mut tags = Map::new();
    for tag in written {
        match tag.split_once('=') {
            Some((key, value)) if !key.is_empty() => {
                if tags.insert(key.to_owned(), json!(value)).is_some() {
                    return Err(format!("--tag: `{}` is given twice", shown(key)));
                }
            }
            _ => return Err(format!("--tag: `{}` is not KEY=VALUE", shown(tag))),
        }
    }
    Ok(tags)
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use proptest::prelude::*;

    use super::super::args::{Cli, Command};
    use super::*;

    fn emit(words: &[&str]) -> Result<String, String> {
        let words = ["talaia", "emit"].into_iter().chain(words.iter().copied());
        let cli = Cli::try_parse_from(words).map_err(|error| error.to_string())?;
        let Command::Emit(args) = cli.command else { unreachable!() };
        document(&args, &args.metrics).map(|d| d.to_string())
    }

    fn line(line: &str) -> Result<String, String> {
        emit(&line.split(' ').collect::<Vec<_>>())
    }

    #[test]
    fn the_words_of_a_shell_become_json() {
        let wanted = r#"{"metrics":[{"name":"used","tags":{"mount":"/"},"type":"percent","unit":"%","value":71.2}],"status":"warning"}"#;
        assert_eq!(line("used=71.2 -t percent -u % -T mount=/ --status warning").unwrap(), wanted);
        for (text, wanted) in [
            (
                "a=1 b=x c=true",
                r#"[{"name":"a","value":1},{"name":"b","value":"x"},{"name":"c","value":true}]"#,
            ),
            (
                "a:percent=71% b:integer=007 c:string= d:boolean=0",
                r#"[{"name":"a","type":"percent","value":71},{"name":"b","type":"integer","value":7},{"name":"c","type":"string","value":""},{"name":"d","type":"boolean","value":false}]"#,
            ),
            (
                "a=.50 b=-.5 c=5. d=+5 e=0 f=0.5 g=-0",
                r#"[{"name":"a","value":0.5},{"name":"b","value":-0.5},{"name":"c","value":5},{"name":"d","value":5},{"name":"e","value":0},{"name":"f","value":0.5},{"name":"g","value":-0.0}]"#,
            ),
            (
                "a=1 --warn -5 --crit @~:5 --min -10 --max 10",
                r#"[{"crit":"@~:5","max":10,"min":-10,"name":"a","value":1,"warn":-5}]"#,
            ),
            (
                "a:integer=71.0 b:integer=1e3 c:integer=-0",
                r#"[{"name":"a","type":"integer","value":71},{"name":"b","type":"integer","value":1000},{"name":"c","type":"integer","value":0}]"#,
            ),
            ("a=1 --tag -x=-y", r#"[{"name":"a","tags":{"-x":"-y"},"value":1}]"#),
            ("a= b=null --gaps", r#"[{"name":"a","value":null},{"name":"b","value":null}]"#),
            (
                "a=-- b=6.1.0 c=10.0.0.1 d=a=b",
                r#"[{"name":"a","value":"--"},{"name":"b","value":"6.1.0"},{"name":"c","value":"10.0.0.1"},{"name":"d","value":"a=b"}]"#,
            ),
        ] {
            assert_eq!(line(text).unwrap(), format!("{{\"metrics\":{wanted}}}"), "{text}");
        }
        assert!(line("a=1 --time 1700000000").unwrap().contains("\"time\":1700000000"));
        assert!(emit(&["a=1", "--message", "-x \"y\"\n"]).unwrap().contains(r#""-x \"y\"\n""#));
    }

    #[test]
    fn what_would_be_refused_later_is_refused_here() {
        for (text, said) in [
            ("a-b=1", "such as `a_b`"),
            ("a", "not NAME=VALUE"),
            ("a=", "unset"),
            ("a:integer=", "unset"),
            ("a=NaN", "null for a gap"),
            ("a=-inf", "null for a gap"),
            ("a=x -t integer", "a whole number"),
            ("a=1.5 -t integer", "a whole number"),
            ("a=71%", "write `a:percent=71`"),
            ("a=12MB", "write `a=12 --unit MB`"),
            ("a=1,234,567", "LC_ALL=C"),
            ("a=1.234,56", "LC_ALL=C"),
            ("a=True", "write `true`"),
            ("a=None", "`null` for a gap"),
            ("a=NaN%", "null for a gap"),
            ("a=123456789012345678901234567890", "64 bits"),
            ("a=1 --warn ", "--warn: there is no value"),
            ("a=1,5", "LC_ALL=C"),
            ("a=1,5 -t float", "LC_ALL=C"),
            ("a=07", "write `7`"),
            ("a=1e999", "beyond"),
            ("a=-1 -t counter", "value-range"),
            ("a:gauge=1", "the types are"),
            ("a=1 --status bad", "critical"),
            ("a=1 a=2", "duplicate-series"),
            ("a=1 -T x", "KEY=VALUE"),
            ("a=1 -T x=1 -T x=2", "given twice"),
            ("a=1 --time yesterday", "time-invalid"),
            ("a=1 --time 2999-01-01T00:00:00Z", "time-future"),
            ("a=1 --min x", "--min"),
            ("a=1 --crit x:y:z", "explain"),
        ] {
            let error = line(text).expect_err(text);
            assert!(error.contains(said), "{text}: {error}");
        }
        let long = format!("a={}", "x".repeat(5000));
        let error = emit(&["b=1", &long]).unwrap_err();
        assert!(
            error.starts_with("`a=xxx") && error.contains("too-long") && error.len() < 300,
            "{error}"
        );
    }

    fn word() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<String>(),
            "[-+]?[0-9]{0,25}[.,]?[0-9]{0,25}(e[-+]?[0-9]{1,3})?%?",
            any::<f64>().prop_map(|x| x.to_string()),
            prop::sample::select(vec!["", "null", "true", "nan", "-", "--", "0x1", "é\u{7f}\n\""])
                .prop_map(str::to_owned),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn whatever_is_typed_it_is_accepted_or_refused_here(
            values in prop::collection::vec(("[a-z]{1,4}", prop::option::of(0..6_usize), word()), 1..4),
            tags in prop::collection::vec(("[a-z ]{0,5}", word()), 0..3),
            options in prop::collection::vec((prop::sample::select(vec![
                "--unit", "--label", "--warn", "--crit", "--min", "--max", "--message", "--time",
            ]), word()), 0..3),
        ) {
            let mut words: Vec<String> = Vec::new();
            for (name, kind, value) in values {
                let kind = kind.map_or_else(String::new, |k| format!(":{}", MetricType::ALL[k]));
                words.push(format!("{name}{kind}={value}"));
            }
            words.extend(tags.iter().map(|(key, value)| format!("--tag={key}={value}")));
            words.extend(options.iter().map(|(option, value)| format!("{option}={value}")));
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            if let Ok(printed) = emit(&words) {
                prop_assert_eq!(printed.lines().count(), 1, "{}", printed);
                let now = Timestamp::from(SystemTime::now());
                let mut judge = Judge::new(Arc::new(Contract::default()), Tags::new());
                let judged = judge.run(Moment { started: now, now }, |records| {
                    Format::Json.decode(format!("{printed}\n").as_bytes(), End::Whole, records);
                });
                prop_assert_eq!(judged.counts.rejected_total(), 0, "{}", printed);
                prop_assert!(judged.warnings.is_empty(), "{:?} {}", judged.warnings, printed);
            }
        }
    }
}
