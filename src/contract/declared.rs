//! What a plugin promised to print.

use std::collections::{BTreeMap, HashMap};

use crate::model::{Declared, MetricType, Threshold, is_name, limits, nearest_name};

use super::check::is_range;

/// Whether a plugin may print metrics that it did not declare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strictness {
    /// Yes; their types follow from what is printed.
    #[default]
    Open,
    /// No: they are refused as `undeclared`.
    Strict,
}

/// Why a contract cannot hold.
#[derive(Debug, thiserror::Error)]
pub enum ContractError {
    /// A declared name is no name.
    #[error(
        "`{name}` is not a metric name: use letters, digits and `_`, not starting with a digit, at most 128 bytes; for example `{nearest}`"
    )]
    Name {
        /// As declared.
        name: String,
        /// The closest that is one.
        nearest: String,
    },
    /// A declaration that no metric could meet.
    #[error("metric `{name}`, `{key}`: {problem}")]
    Declared {
        /// The metric.
        name: String,
        /// The key in its declaration.
        key: &'static str,
        /// What is wrong and what to do.
        problem: String,
    },
    /// The plugin's own schema is not a JSON Schema, or refers to another file.
    #[error(
        "not a JSON Schema that can be used here (2020-12; `$ref` only inside the file): {problem}, at `{path}`"
    )]
    Schema {
        /// JSON pointer inside the schema.
        path: String,
        /// What is wrong.
        problem: String,
    },
    /// The plugin's own schema cannot be had.
    #[error("cannot use the schema {0}")]
    NoSchema(String),
}

/// What a plugin promised to print; shared by all its runs.
#[derive(Debug, Default)]
pub struct Contract {
    declared: Vec<(Box<str>, Declared)>,
    places: HashMap<Box<str>, usize>,
    strictness: Strictness,
    schema: Option<jsonschema::Validator>,
}

impl Contract {
    /// A contract out of declared metrics and, where the plugin has one, its own JSON Schema, which
    /// every document is checked against as it was printed.
    pub fn new(
        metrics: BTreeMap<String, Declared>,
        strictness: Strictness,
        schema: Option<&serde_json::Value>,
    ) -> Result<Self, ContractError> {
        for (name, declared) in &metrics {
            check(name, declared)?;
        }
        let schema = schema.map(compile).transpose()?;
        let declared: Vec<_> =
            metrics.into_iter().map(|(name, d)| (name.into_boxed_str(), d)).collect();
        let places = declared.iter().enumerate().map(|(i, (name, _))| (name.clone(), i)).collect();
        Ok(Self { declared, places, strictness, schema })
    }

    /// The declaration of `name`, and its place among all of them.
    pub(super) fn find(&self, name: &str) -> Option<(usize, &Declared)> {
        if self.declared.is_empty() {
            return None;
        }
        let place = *self.places.get(name)?;
        Some((place, &self.declared[place].1))
    }

    /// The declared metrics, in the order of their names.
    pub fn declared(&self) -> impl ExactSizeIterator<Item = (&str, &Declared)> {
        self.declared.iter().map(|(name, d)| (&**name, d))
    }

    /// Whether other metrics may come.
    pub fn strictness(&self) -> Strictness {
        self.strictness
    }

    pub(super) fn schema(&self) -> Option<&jsonschema::Validator> {
        self.schema.as_ref()
    }
}

pub(super) fn compile(schema: &serde_json::Value) -> Result<jsonschema::Validator, ContractError> {
    // Plugins and schemas come from many hands: patterns run in linear time, nothing is fetched.
    jsonschema::options()
        .with_draft(jsonschema::Draft::Draft202012)
        .with_pattern_options(jsonschema::PatternOptions::regex())
        .offline()
        .build(schema)
        .map_err(|error| ContractError::Schema {
            path: error.instance_path().to_string(),
            problem: error.to_string(),
        })
}

fn check(name: &str, declared: &Declared) -> Result<(), ContractError> {
    if !is_name(name) || name.len() > limits::NAME {
        let mut nearest = nearest_name(name);
        nearest.truncate(limits::NAME);
        return Err(ContractError::Name { name: name.to_owned(), nearest });
    }
    let wrong = |key, problem: &str| {
        Err(ContractError::Declared { name: name.to_owned(), key, problem: problem.to_owned() })
    };
    let long = |text: &Option<String>| text.as_ref().is_some_and(|t| t.len() > limits::LABEL);
    if long(&declared.unit) {
        return wrong("unit", "at most 256 bytes");
    }
    if long(&declared.label) {
        return wrong("label", "at most 256 bytes");
    }
    for (key, mark) in [("warn", &declared.warn), ("crit", &declared.crit)] {
        match mark {
            Some(Threshold::Number(x)) if !x.is_finite() => return wrong(key, "must be finite"),
            Some(Threshold::Range(text)) if !is_range(text) || text.len() > limits::LABEL => {
                return wrong(key, "must be a number or a Nagios range such as `10:20` or `@~:5`");
            }
            _ => {}
        }
    }
    let infinite = |x: Option<f64>| x.is_some_and(|x| !x.is_finite());
    if infinite(declared.min) {
        return wrong("min", "must be finite");
    }
    if infinite(declared.max) {
        return wrong("max", "must be finite");
    }
    if let (Some(min), Some(max)) = (declared.min, declared.max)
        && min > max
    {
        return wrong("min", "is above `max`");
    }
    if !declared.values.is_empty() && declared.kind != MetricType::String {
        return wrong("values", "only a metric of type `string` has a list of values");
    }
    if declared.values.iter().any(|v| v.len() > limits::TEXT) {
        return wrong("values", "at most 4096 bytes each");
    }
    Ok(())
}
