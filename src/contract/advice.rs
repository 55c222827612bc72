//! What is right by the protocol and probably not what was meant. Advice refuses nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::model::{AdviceCode, MetricType};

use super::declared::Contract;
use super::observed::{Observed, Seen};
use super::units;

/// Pieces of advice that are spelt out.
const MOST: usize = 50;

/// One piece of advice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice {
    /// What it is about.
    pub code: AdviceCode,
    /// The metric.
    pub metric: String,
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

/// What there is to say of what was observed. What the contract declares is meant so.
pub fn advice(observed: &Observed, contract: &Contract) -> Vec<Advice> {
    let mut all = Vec::new();
    for (name, seen) in observed.metrics() {
        let mut say = |code, message: String, hint: String| {
            all.push(Advice { code, metric: name.to_owned(), message, hint });
        };
        let declared = contract.find(name).map(|(_, declared)| declared);
        units_of(name, seen, &mut say);
        if declared.is_none() {
            texts_of(name, seen, &mut say);
            kinds_of(name, seen, &mut say);
        }
        numbers_of(name, seen, &mut say);
        if observed.are_whole() {
            series_of(name, seen, observed.runs(), &mut say);
        }
        if all.len() >= MOST {
            break;
        }
    }
    all.sort_by_key(|advice| advice.code);
    all
}

type Say<'a> = dyn FnMut(AdviceCode, String, String) + 'a;

fn units_of(name: &str, seen: &Seen, say: &mut Say<'_>) {
    let given: Vec<&str> = seen.units.iter().flatten().map(|unit| &**unit).collect();
    if given.len() > 1 {
        let message = format!("`{name}` comes in {}", listed(given.iter().copied()));
        say(
            AdviceCode::UnitVaries,
            message,
            "keep to one: charts draw them as the same".to_owned(),
        );
    }
    let is_text =
        seen.kinds.iter().all(|kind| matches!(kind, MetricType::String | MetricType::Boolean));
    if !given.is_empty() || is_text {
        return;
    }
    match units::of_name(name) {
        Some("%") => say(
            AdviceCode::UnitMissing,
            format!("`{name}` has no unit, and its name says percent"),
            "print `\"type\": \"percent\"`, or declare it".to_owned(),
        ),
        Some(unit) => say(
            AdviceCode::UnitMissing,
            format!("`{name}` has no unit, and its name says `{unit}`"),
            format!("print `\"unit\": \"{unit}\"`, or declare it: `unit = \"{unit}\"`"),
        ),
        None => {}
    }
}

fn texts_of(name: &str, seen: &Seen, say: &mut Say<'_>) {
    if seen.kinds != [MetricType::String] {
        return;
    }
    let numbers: Option<Vec<Number<'_>>> =
        seen.texts.iter().map(|text| Number::read(text)).collect();
    let Some((text, number)) =
        numbers.as_ref().and_then(|numbers| seen.texts.first().zip(numbers.first()))
    else {
        return;
    };
    let hint = match number.behind {
        "" => format!("print it without quotes: `{}`", number.digits),
        "%" => format!("print `{}`, with `\"type\": \"percent\"`", number.digits),
        unit => format!("print `{}`, with `\"unit\": \"{unit}\"`", number.digits),
    };
    let message = format!("`{name}` is the text `{text}`, which no chart can draw");
    say(AdviceCode::NumberInText, message, hint);
}

/// A text that a person reads as a number.
struct Number<'t> {
    /// With a point.
    digits: String,
    /// What follows: a unit.
    behind: &'t str,
}

impl<'t> Number<'t> {
    fn read(text: &'t str) -> Option<Self> {
        let text = text.trim();
        let is_part = |c: char| c.is_ascii_digit() || matches!(c, '.' | ',' | '-' | '+');
        let end = text.find(|c: char| !is_part(c)).unwrap_or(text.len());
        let (digits, behind) = text.split_at(end);
        let digits = digits.trim_start_matches('+').replacen(',', ".", 1);
        let behind = behind.trim_start();
        let is_unit = behind.chars().count() <= 5
            && behind.chars().all(|c| c.is_alphabetic() || matches!(c, '%' | '/' | '°'));
        (digits.parse::<f64>().is_ok() && is_unit).then_some(Self { digits, behind })
    }
}

fn kinds_of(name: &str, seen: &Seen, say: &mut Say<'_>) {
    if seen.kinds.len() > 1 && !seen.grew() {
        let message =
            format!("`{name}` comes as {}", listed(seen.kinds.iter().map(|k| k.as_str())));
        let hint = "declare its type, and print a gap as null".to_owned();
        say(AdviceCode::TypeFlips, message, hint);
    }
    let counts = name.ends_with("_total") || name.ends_with("_count");
    if counts && seen.kinds == [MetricType::Integer] && seen.only_rises() {
        let message = format!("`{name}` only grows, and its name says that it counts");
        let hint =
            "with `\"type\": \"counter\"` it is drawn as what is added each second".to_owned();
        say(AdviceCode::CounterLikely, message, hint);
    }
}

fn numbers_of(name: &str, seen: &Seen, say: &mut Say<'_>) {
    let in_bytes = match seen.units.iter().flatten().next() {
        Some(unit) => units::is_whole(unit),
        None => units::of_name(name).is_some_and(units::is_whole),
    };
    if let Some(half) = seen.fraction.filter(|_| in_bytes) {
        let message = format!("`{name}` is {half}, and there is no part of a byte");
        let hint = "print a whole number: `printf '%.0f'`, in Python `round(…)`".to_owned();
        say(AdviceCode::BytesAsFloat, message, hint);
    }
    if let Some(written) = &seen.exponent
        && seen.fraction.is_none()
        && seen.range.is_some_and(|(least, most)| most.abs().max(least.abs()) >= 1e5)
    {
        let message = format!("`{name}` is printed as `{written}`, which has lost its last digits");
        let hint = "print all of them: in awk `printf \"%.0f\"`, not `print`".to_owned();
        say(AdviceCode::DigitsLost, message, hint);
    }
    if seen.kinds == [MetricType::Percent]
        && seen.range.is_some_and(|(least, most)| least >= 0.0 && most <= 1.0)
        && let Some(part) = seen.fraction
    {
        let message = format!("`{name}` is {part} %, less than one in a hundred");
        let hint = "if a whole is 1, print it times 100".to_owned();
        say(AdviceCode::PercentAsFraction, message, hint);
    }
    if seen.kinds == [MetricType::Counter]
        && let Some((from, to)) = seen.series.values().find_map(|series| series.fall)
    {
        let message = format!("the counter `{name}` went from {from} to {to}");
        let hint =
            "that counts as a restart; what can go down is an `integer` or a `float`".to_owned();
        say(AdviceCode::CounterFalls, message, hint);
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
        say(AdviceCode::TagGrows, message, hint);
        return;
    }
    let (tags, series) = unsteady[0];
    let shown: Vec<String> = tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let which = if shown.is_empty() { String::new() } else { format!("{{{}}}", shown.join(",")) };
    let others = match unsteady.len() - 1 {
        0 => String::new(),
        more => format!(", and {more} others alike"),
    };
    let message = format!("`{name}{which}` came in {} of {runs} runs{others}", series.runs);
    let hint = "print it each time, null where there is nothing to see".to_owned();
    say(AdviceCode::SeriesUnsteady, message, hint);
}

fn listed<'w>(words: impl Iterator<Item = &'w str>) -> String {
    words.map(|word| format!("`{word}`")).collect::<Vec<_>>().join(" and ")
}
