//! What a plugin's accepted records have in common over several runs: the ground for advice and for
//! proposing a contract.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::model::{Metric, MetricType, Tags, Value};

/// Different units, texts and the like of one metric that are remembered.
const FEW: usize = 16;

/// Several runs of one plugin, as far as advice needs them.
#[derive(Debug, Default)]
pub struct Observed {
    runs: u32,
    /// Bytes that were printed, or would have been.
    printed: u64,
    /// Of a plugin that prints when it likes: what comes in which report says nothing.
    slices: bool,
    metrics: BTreeMap<Box<str>, Seen>,
}

/// One metric, with whatever tags.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Runs in which it came.
    pub(super) runs: u32,
    /// Its types, in the order in which they came.
    pub(super) kinds: Vec<MetricType>,
    /// Its units; `None` where it came without.
    pub(super) units: Vec<Option<Box<str>>>,
    /// The label that it had last.
    pub(super) label: Option<Box<str>>,
    /// The least and the greatest number.
    pub(super) range: Option<(f64, f64)>,
    /// The last value that was one.
    pub(super) value: Option<Value>,
    /// How many values it had.
    pub(super) count: u64,
    /// A number that was not whole.
    pub(super) fraction: Option<f64>,
    /// A number written with an exponent, as it was written.
    pub(super) exponent: Option<Box<str>>,
    /// The first different texts.
    pub(super) texts: BTreeSet<Box<str>>,
    /// Its series.
    pub(super) series: HashMap<Tags, Series>,
    /// The last run in which it came.
    last: u32,
}

/// One series.
#[derive(Debug, Default)]
pub(super) struct Series {
    /// Runs in which it came.
    pub(super) runs: u32,
    /// How often its value was greater than the time before.
    pub(super) rises: u32,
    /// The first time that its value was smaller than before: from what, to what.
    pub(super) fall: Option<(f64, f64)>,
    value: Option<f64>,
    last: u32,
}

impl Observed {
    /// Nothing yet, of a plugin that prints when it likes.
    pub fn of_slices() -> Self {
        Self { slices: true, ..Self::default() }
    }

    /// Adds a run: its accepted records, and how many bytes it printed; `None` of a run that failed,
    /// which may have had nothing to print.
    pub fn add(&mut self, metrics: &[Metric], printed: Option<u64>) {
        self.runs += 1;
        self.printed += printed.unwrap_or(1);
        for metric in metrics {
            if !self.metrics.contains_key(&metric.name) {
                self.metrics.insert(metric.name.clone(), Seen::default());
            }
            if let Some(seen) = self.metrics.get_mut(&metric.name) {
                seen.add(metric, self.runs);
            }
        }
    }

    /// Adds how a number was written, where that has an exponent.
    pub fn written(&mut self, name: &str, text: &str) {
        let exponent =
            text.contains(['e', 'E']) && text.starts_with(|c: char| c == '-' || c.is_ascii_digit());
        if let Some(seen) = self.metrics.get_mut(name).filter(|_| exponent) {
            seen.exponent.get_or_insert_with(|| text.into());
        }
    }

    /// Whether anything was printed at all.
    pub(super) fn is_empty(&self) -> bool {
        self.printed == 0
    }

    /// Whether each report has all that there is at its time.
    pub(super) fn are_whole(&self) -> bool {
        !self.slices
    }

    /// How many runs there were.
    pub fn runs(&self) -> u32 {
        self.runs
    }

    /// The metrics, in the order of their names.
    pub(super) fn metrics(&self) -> impl Iterator<Item = (&str, &Seen)> {
        self.metrics.iter().map(|(name, seen)| (&**name, seen))
    }
}

impl Seen {
    fn add(&mut self, metric: &Metric, run: u32) {
        if self.last != run {
            self.last = run;
            self.runs += 1;
        }
        if !self.kinds.contains(&metric.kind) && metric.value != Value::Gap {
            self.kinds.push(metric.kind);
        }
        if metric.value != Value::Gap {
            self.value = Some(metric.value.clone());
            self.count += 1;
        }
        if self.units.len() < FEW && !self.units.contains(&metric.unit) {
            self.units.push(metric.unit.clone());
        }
        if metric.label.is_some() {
            self.label.clone_from(&metric.label);
        }
        if let Value::Text(text) = &metric.value
            && self.texts.len() <= FEW
        {
            self.texts.insert(text.clone());
        }
        let number = metric.value.as_f64().filter(|_| metric.kind != MetricType::Boolean);
        if let Some(x) = number {
            let (least, most) = self.range.unwrap_or((x, x));
            self.range = Some((least.min(x), most.max(x)));
            if x.fract() != 0.0 {
                self.fraction.get_or_insert(x);
            }
        }
        if !self.series.contains_key(&metric.tags) {
            self.series.insert(metric.tags.clone(), Series::default());
        }
        if let Some(series) = self.series.get_mut(&metric.tags) {
            series.add(number, run);
        }
    }

    /// Whether more different texts came than are remembered.
    pub(super) fn has_many_texts(&self) -> bool {
        self.texts.len() > FEW
    }

    /// Whether it is a number that became one with fractions, which is no surprise.
    pub(super) fn grew(&self) -> bool {
        self.kinds == [MetricType::Integer, MetricType::Float]
    }

    /// Whether all of its series rose at least once and none ever fell.
    pub(super) fn only_rises(&self) -> bool {
        self.series.values().all(|s| s.fall.is_none()) && self.series.values().any(|s| s.rises > 0)
    }
}

impl Series {
    fn add(&mut self, value: Option<f64>, run: u32) {
        if self.last != run {
            self.last = run;
            self.runs += 1;
        }
        if let (Some(old), Some(new)) = (self.value, value) {
            self.rises += u32::from(new > old);
            if new < old {
                self.fall.get_or_insert((old, new));
            }
        }
        self.value = value.or(self.value);
    }
}
