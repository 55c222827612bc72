//! What is right by the protocol and probably not what was meant. Advice refuses nothing, and what a
//! contract declares is meant so.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::model::{AdviceCode as Code, MetricType, Status, Value, number_text};

use super::declared::Contract;
use super::observed::{Observed, Seen};
use super::units;

/// Units that people write behind numbers.
const BEHIND: [&str; 32] = [
    "%", "B", "kB", "KB", "KiB", "MB", "MiB", "GB", "GiB", "TB", "TiB", "ns", "us", "µs", "ms",
    "s", "min", "h", "d", "°C", "°F", "C", "V", "A", "W", "Hz", "kHz", "MHz", "GHz", "rpm", "RPM",
    "dB",
];
/// What `df -h` and its like write behind numbers.
const SIZES: [&str; 10] = ["K", "M", "G", "T", "P", "Ki", "Mi", "Gi", "Ti", "Pi"];
/// Words in the names of what looks like a number and is none.
const LABELS: [&str; 16] = [
    "version", "id", "code", "zip", "build", "port", "phone", "serial", "model", "release",
    "kernel", "date", "time", "hash", "revision", "address",
];
/// Keys of a metric object: where every key is a metric they are seldom meant as one.
const KEYS: [&str; 5] = ["name", "unit", "type", "label", "metric_name"];

/// One piece of advice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice {
    /// What it is about.
    pub code: Code,
    /// What was seen.
    pub message: String,
    /// What to type instead.
    pub hint: String,
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.code, self.message, self.hint)
    }
}

/// What there is to say of what was observed, the most serious first.
pub fn advice(observed: &Observed, contract: &Contract) -> Vec<Advice> {
    let mut all = Vec::new();
    let mut say = |code, message: String, hint: String| all.push(Advice { code, message, hint });
    if observed.is_empty() {
        let message = match observed.runs() {
            1 => "it printed nothing".to_owned(),
            runs => format!("it printed nothing in {runs} runs"),
        };
        let hint = "print records on stdout: `echo '{\"users\": 3}'`".to_owned();
        say(Code::NothingPrinted, message, hint);
    }
    for (name, seen) in observed.metrics() {
        if contract.find(name).is_none() {
            units_of(name, seen, &mut say);
            texts_of(name, seen, &mut say);
            kinds_of(name, seen, &mut say);
            numbers_of(name, seen, &mut say);
        }
        digits_of(name, seen, &mut say);
        falls_of(name, seen, &mut say);
        if observed.are_whole() {
            series_of(name, seen, observed.runs(), &mut say);
        }
    }
    all.sort_by_key(|advice| advice.code);
    all
}

type Say<'a> = dyn FnMut(Code, String, String) + 'a;

/// The record as it should be printed: a line of its own goes beside any other form.
fn record(name: &str, value: &str, more: &str) -> String {
    format!("print `{{\"name\": \"{name}\", \"value\": {value}, {more}}}`")
}

fn units_of(name: &str, seen: &Seen, say: &mut Say<'_>) {
    let given: Vec<&str> = seen.units.iter().flatten().map(|unit| &**unit).collect();
    if given.len() > 1 {
        let message = format!("`{name}` comes in {}", listed(given.iter().copied()));
        say(Code::UnitVaries, message, "keep to one: charts draw them as the same".to_owned());
    }
    let is_number = |kind: &MetricType| !matches!(kind, MetricType::String | MetricType::Boolean);
    if !given.is_empty() || !seen.kinds.iter().any(is_number) {
        return;
    }
    let value = seen.value.as_ref().map_or_else(|| "…".to_owned(), shown);
    match units::of_name(name) {
        Some("%") => say(
            Code::UnitMissing,
            format!("`{name}` has no unit, and its name says percent"),
            format!("{}, or declare its type", record(name, &value, "\"type\": \"percent\"")),
        ),
        Some(unit) => say(
            Code::UnitMissing,
            format!("`{name}` has no unit, and its name says `{unit}`"),
            format!(
                "{}, or declare `unit = \"{unit}\"`",
                record(name, &value, &format!("\"unit\": \"{unit}\""))
            ),
        ),
        None => {}
    }
}

fn texts_of(name: &str, seen: &Seen, say: &mut Say<'_>) {
    if seen.kinds != [MetricType::String] {
        return;
    }
    let Some(text) = seen.texts.first() else { return };
    if name == "status" && Status::from_word(text).is_some() {
        let message =
            format!("`status` is a metric of its own here, and the run counts as ok, not {text}");
        let hint =
            format!("print `{{\"status\": \"{text}\", \"message\": \"…\", \"metrics\": []}}`");
        say(Code::VerdictAsMetric, message, hint);
        return;
    }
    if KEYS.contains(&name) {
        let message = format!("`{name}` is a metric of its own here, with the text `{text}`");
        let hint =
            "an object without `name` and `value` is a list of metrics: give it both".to_owned();
        say(Code::KeyAsMetric, message, hint);
        return;
    }
    let words: Vec<String> = name.split('_').map(str::to_ascii_lowercase).collect();
    if words.iter().any(|word| LABELS.contains(&word.as_str())) {
        return;
    }
    if !seen.texts.iter().all(|text| Number::read(text).is_some()) {
        return;
    }
    let Some(Number { digits, behind, parts }) = Number::read(text) else { return };
    let hint = match behind {
        _ if parts => format!(
            "print `{}` if the comma parts thousands, `{digits}` if it is a decimal one",
            digits.replace('.', "")
        ),
        "" => format!("print it without quotes: `{digits}`"),
        "%" => record(name, &digits, "\"type\": \"percent\""),
        size if SIZES.contains(&size) => format!(
            "{}, all digits: `df -B1`, `du -b`, `numfmt --from=iec`",
            record(name, "…", "\"unit\": \"B\"")
        ),
        unit => record(name, &digits, &format!("\"unit\": \"{unit}\"")),
    };
    let message = format!("`{name}` is the text `{text}`, which no chart can draw");
    say(Code::NumberInText, message, hint);
}

/// A text that a person reads as a number.
struct Number<'t> {
    /// With a point.
    digits: String,
    /// What follows: a unit.
    behind: &'t str,
    /// It has a comma that may part thousands.
    parts: bool,
}

impl<'t> Number<'t> {
    fn read(text: &'t str) -> Option<Self> {
        let text = text.trim();
        let is_part = |c: char| c.is_ascii_digit() || matches!(c, '.' | ',' | '-');
        let end = text.find(|c: char| !is_part(c)).unwrap_or(text.len());
        let (written, behind) = text.split_at(end);
        let behind = behind.trim_start();
        let whole = written.trim_start_matches('-').split(['.', ',']).next()?;
        // `08001` is no number, and `1.2.3` neither.
        let zeros = whole.len() > 1 && whole.starts_with('0');
        let digits = written.replacen(',', ".", 1);
        let known = behind.is_empty() || BEHIND.contains(&behind) || SIZES.contains(&behind);
        let good = known && !zeros && !whole.is_empty() && digits.parse::<f64>().is_ok();
        let parts = written.split_once(',').is_some_and(|(_, rest)| rest.len() == 3);
        good.then_some(Self { digits, behind, parts })
    }
}

/// The number and the unit in a text that a person reads as one: `71%`, `1.5 GB`.
pub fn number_and_unit(text: &str) -> Option<(String, &str)> {
    let number = Number::read(text).filter(|number| !number.behind.is_empty())?;
    Some((number.digits, number.behind))
}

fn kinds_of(name: &str, seen: &Seen, say: &mut Say<'_>) {
    if seen.kinds.len() > 1 && !seen.grew() {
        let message =
            format!("`{name}` comes as {}", listed(seen.kinds.iter().map(|k| k.as_str())));
        say(Code::TypeFlips, message, "declare its type, and print a gap as null".to_owned());
    }
    let counts = name.ends_with("_total") || name.ends_with("_count");
    if counts && seen.kinds == [MetricType::Integer] && seen.only_rises() {
        let message = format!("`{name}` only grows, and its name says that it counts");
        let hint = "with `\"type\": \"counter\"` it is drawn as what is added each second";
        say(Code::CounterLikely, message, hint.to_owned());
    }
}

fn numbers_of(name: &str, seen: &Seen, say: &mut Say<'_>) {
    let in_bytes = match seen.units.iter().flatten().next() {
        Some(unit) => units::is_whole(unit),
        None => units::of_name(name).is_some_and(units::is_whole),
    };
    if let Some(half) = seen.fraction.filter(|_| in_bytes && !units::is_average(name)) {
        let message = format!("`{name}` is {}, and there is no part of a byte", number_text(half));
        let hint = "print a whole number: `printf '%.0f'`, in Python `round(…)`".to_owned();
        say(Code::BytesAsFloat, message, hint);
    }
    if seen.kinds == [MetricType::Percent]
        && seen.count > 1
        && seen.range.is_some_and(|(least, most)| least >= 0.0 && most <= 1.0)
        && let Some(part) = seen.fraction
    {
        let message = format!("`{name}` is {part} %, less than one in a hundred, each time");
        let hint = "if a whole is 1, print it times 100; else declare it".to_owned();
        say(Code::PercentAsFraction, message, hint);
    }
}

/// A whole number as `%.6g` writes it, awk's way for what is large.
fn digits_of(name: &str, seen: &Seen, say: &mut Say<'_>) {
    let Some(written) = &seen.exponent else { return };
    let Some((digits, exponent)) = written.split_once("e+") else { return };
    let count = digits.bytes().filter(u8::is_ascii_digit).count();
    let cut = (5..=7).contains(&count) && exponent.parse().is_ok_and(|e: usize| e >= count);
    if cut && seen.fraction.is_none() {
        let message = format!("`{name}` is printed as `{written}`, which has lost digits");
        let hint = "print all of them: in awk `printf \"%.0f\"`, not `print`".to_owned();
        say(Code::DigitsLost, message, hint);
    }
}

fn falls_of(name: &str, seen: &Seen, say: &mut Say<'_>) {
    if seen.kinds == [MetricType::Counter]
        && let Some((from, to)) = seen.series.values().find_map(|series| series.fall)
    {
        let (from, to) = (number_text(from), number_text(to));
        let message = format!("the counter `{name}` went from {from} to {to}");
        let hint = "that counts as a restart; what can go down is an `integer` or a `float`";
        say(Code::CounterFalls, message, hint.to_owned());
    }
}

fn series_of(name: &str, seen: &Seen, runs: u32, say: &mut Say<'_>) {
    let unsteady: Vec<_> = seen.series.iter().filter(|(_, series)| series.runs < runs).collect();
    if runs < 2 || unsteady.is_empty() {
        return;
    }
    // A tag whose values are never seen twice makes a new series of each run, without end.
    let mut values: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (key, value) in unsteady.iter().flat_map(|(tags, _)| tags.iter()) {
        values.entry(key).or_default().insert(value);
    }
    if let Some((key, values)) = values.iter().find(|(_, v)| v.len() as u32 >= runs)
        && unsteady.iter().all(|(_, series)| series.runs == 1)
    {
        let message =
            format!("the tag `{key}` of `{name}` had {} values in {runs} runs", values.len());
        let hint = "leave out of tags what never stops changing, such as ids and times".to_owned();
        say(Code::TagGrows, message, hint);
        return;
    }
    let first = unsteady.iter().min_by(|a, b| a.0.iter().cmp(b.0.iter()));
    let Some((tags, series)) = first else { return };
    let shown: Vec<String> = tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let which = if shown.is_empty() { String::new() } else { format!("{{{}}}", shown.join(",")) };
    let others = match unsteady.len() - 1 {
        0 => String::new(),
        1 => ", and another alike".to_owned(),
        more => format!(", and {more} others alike"),
    };
    let message = format!("`{name}{which}` came in {} of {runs} runs{others}", series.runs);
    let hint = "print it each time, null where there is nothing to see".to_owned();
    say(Code::SeriesUnsteady, message, hint);
}

/// A value as it stands in JSON.
fn shown(value: &Value) -> String {
    match value {
        Value::Text(text) => format!("\"{text}\""),
        Value::Float(x) => number_text(*x),
        value => value.to_string(),
    }
}

fn listed<'w>(words: impl Iterator<Item = &'w str>) -> String {
    words.map(|word| format!("`{word}`")).collect::<Vec<_>>().join(" and ")
}
