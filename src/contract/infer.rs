//! Proposes a contract for what was observed.

use crate::model::{Declared, MetricType, number_text};

use super::declared::Contract;
use super::observed::{Observed, Seen};
use super::units;

/// Words in the names of what has fractions sooner or later, though it was whole while we looked.
const FRACTIONS: [&str; 16] = [
    "load",
    "load1",
    "load5",
    "load15",
    "ratio",
    "avg",
    "mean",
    "average",
    "rate",
    "latency",
    "temperature",
    "temp",
    "seconds",
    "celsius",
    "volts",
    "watts",
];

/// As many different texts as may be a closed list.
const FEW_TEXTS: usize = 6;

/// What a proposal rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// The contract has it already.
    Declared,
    /// Its values.
    Values,
    /// Nothing but null came.
    Nothing,
}

/// One metric of a proposed contract.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposal {
    /// Its name.
    pub name: String,
    /// What to declare.
    pub declared: Declared,
    /// What that is made of.
    pub basis: Basis,
    /// What was seen, in some words.
    pub seen: String,
    /// What else could be declared, and only its author can know.
    pub doubts: Vec<String>,
}

/// Proposes declarations for all metrics that came, in the order of their names. What `contract`
/// declares already stays as it is.
pub fn infer(observed: &Observed, contract: &Contract) -> Vec<Proposal> {
    let runs = observed.runs();
    let propose = |(name, seen): (&str, &Seen)| {
        if let Some((_, declared)) = contract.find(name) {
            let seen = format!("declared already; {}", words(seen, runs));
            let (name, declared) = (name.to_owned(), declared.clone());
            return Proposal { name, declared, basis: Basis::Declared, seen, doubts: Vec::new() };
        }
        let mut proposal = guess(name, seen, runs);
        proposal.declared.required &= observed.are_whole();
        proposal
    };
    observed.metrics().map(propose).collect()
}

fn guess(name: &str, seen: &Seen, runs: u32) -> Proposal {
    let mut doubts = Vec::new();
    let kind = kind(name, seen, &mut doubts);
    let mut declared = Declared::of(kind);
    let is_number = !matches!(kind, MetricType::String | MetricType::Boolean);
    if is_number {
        let given = seen.units.iter().flatten().next().map(ToString::to_string);
        declared.unit = given.or_else(|| units::of_name(name).map(str::to_owned));
    }
    if kind == MetricType::Percent {
        declared.unit = Some("%".to_owned());
    }
    declared.label = seen.label.as_deref().map(str::to_owned);
    declared.required = seen.runs == runs;
    // Only where it lies in the nature of the thing, not of what was seen.
    let natural =
        kind == MetricType::Percent || declared.unit.as_deref().is_some_and(units::is_whole);
    if let Some((least, most)) = seen.range.filter(|_| natural && kind != MetricType::Counter)
        && least >= 0.0
    {
        declared.min = Some(0.0);
        declared.max = Some(100.0).filter(|_| kind == MetricType::Percent && most <= 100.0);
    }
    if kind == MetricType::String
        && seen.texts.len() <= FEW_TEXTS
        && seen.texts.len() < runs as usize
    {
        let texts: Vec<String> = seen.texts.iter().map(|text| format!("{text:?}")).collect();
        doubts.push(format!("if there are no others: values = [{}]", texts.join(", ")));
    }
    let basis = if seen.value.is_some() { Basis::Values } else { Basis::Nothing };
    Proposal { name: name.to_owned(), declared, basis, seen: words(seen, runs), doubts }
}

fn kind(name: &str, seen: &Seen, doubts: &mut Vec<String>) -> MetricType {
    let says_percent = units::of_name(name) == Some("%");
    let fractions = || name.split('_').any(|word| FRACTIONS.contains(&word));
    // A number that turned out to have fractions is one.
    let kinds = if seen.grew() { &[MetricType::Float] } else { seen.kinds.as_slice() };
    match *kinds {
        [] => {
            doubts.push("it only came as null, so nothing is known of its type".to_owned());
            MetricType::Float
        }
        [MetricType::Integer | MetricType::Float] if says_percent => MetricType::Percent,
        [MetricType::Integer] if seen.only_rises() && name.ends_with("_total") => {
            MetricType::Counter
        }
        [MetricType::Integer] if fractions() => {
            doubts.push("it was whole so far; if it always is: type = \"integer\"".to_owned());
            MetricType::Float
        }
        [MetricType::Integer] => {
            if seen.only_rises() {
                doubts.push(
                    "it only grew; if it counts since a start: type = \"counter\"".to_owned(),
                );
            }
            MetricType::Integer
        }
        [kind] => kind,
        [first, ..] => {
            let kinds: Vec<&str> = seen.kinds.iter().map(|kind| kind.as_str()).collect();
            doubts.push(format!("it came as {}: others will be refused", kinds.join(" and as ")));
            first
        }
    }
}

/// What was seen of a metric.
fn words(seen: &Seen, runs: u32) -> String {
    let values = match (seen.range, seen.texts.first()) {
        (Some((least, most)), None) if least >= most => number_text(least),
        (Some((least, most)), None) => {
            format!("{} to {}", number_text(least), number_text(most))
        }
        (None, Some(text)) if seen.texts.len() == 1 => format!("{text:?}"),
        (None, Some(_)) if seen.has_many_texts() => "many texts".to_owned(),
        (None, Some(_)) => format!("{} texts", seen.texts.len()),
        (Some(_), Some(_)) => "numbers and texts".to_owned(),
        (None, None) if seen.kinds == [MetricType::Boolean] => "true or false".to_owned(),
        (None, None) => "null".to_owned(),
    };
    let series = match seen.series.len() {
        1 => String::new(),
        many => format!(", {many} series"),
    };
    let came = if seen.runs == runs {
        String::new()
    } else {
        format!(", in {} of {runs} runs", seen.runs)
    };
    format!("{values}{series}{came}")
}
