//! A plugin's own JSON Schema, checked on each document as it was printed.

use std::collections::{HashMap, HashSet};

use jsonschema::error::ValidationErrorKind;
use jsonschema::{ValidationError, Validator};

use crate::model::{Tree, push_escaped};

/// Errors of one document that are looked at.
const ERRORS: usize = 20_000;

/// One place where a document breaks the schema.
#[derive(Debug, Clone)]
pub(super) struct Breach {
    /// Pointer to the offending value inside the document.
    pub(super) path: String,
    /// Pointer to the rule inside the schema.
    pub(super) rule: String,
    pub(super) message: String,
}

/// What checking one document came to.
#[derive(Debug, Default)]
pub(super) struct Breaches {
    /// The first breach outside of all records.
    pub(super) document: Option<Breach>,
    /// The first breach in each record that has one, by the record's pointer.
    pub(super) records: HashMap<String, Breach>,
}

/// Checks `tree` against the schema.
pub(super) fn check(schema: &Validator, tree: &Tree) -> Breaches {
    let mut breaches = Breaches::default();
    if schema.is_valid(&tree.root) {
        return breaches;
    }
    let records: HashSet<&str> = tree.records.iter().map(String::as_str).collect();
    for error in schema.iter_errors(&tree.root).take(ERRORS) {
        for path in places(&error) {
            let breach = || Breach {
                path: path.clone(),
                rule: error.schema_path().to_string(),
                message: message(&error),
            };
            match owner(&path, &records) {
                Some(record) if breaches.records.contains_key(record) => {}
                Some(record) => {
                    breaches.records.insert(record.to_owned(), breach());
                }
                None if breaches.document.is_none() => breaches.document = Some(breach()),
                None => {}
            }
        }
    }
    breaches
}

/// Where an error stands. A key that may not be there is an error of that key, not of the object
/// around it: in a flat document it is one record.
fn places(error: &ValidationError<'_>) -> Vec<String> {
    let at = error.instance_path().to_string();
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected }
            if !unexpected.is_empty() =>
        {
            unexpected
                .iter()
                .map(|key| {
                    let mut path = at.clone();
                    path.push('/');
                    push_escaped(&mut path, key);
                    path
                })
                .collect()
        }
        _ => vec![at],
    }
}

/// The record that `path` is in.
fn owner<'p>(path: &'p str, records: &HashSet<&str>) -> Option<&'p str> {
    let mut prefix = path;
    loop {
        if records.contains(prefix) {
            return Some(prefix);
        }
        prefix = &prefix[..prefix.rfind('/')?];
    }
}

/// The error in words. Values may be long and are shown apart.
fn message(error: &ValidationError<'_>) -> String {
    let mut text = error.masked().to_string();
    if text.len() > 300 {
        text.truncate(text.floor_char_boundary(300));
        text.push('…');
    }
    text
}

/// A JSON Schema (2020-12) for settings, which have no records.
#[derive(Debug)]
pub struct Rules(Validator);

/// One place where settings break their schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleBreach {
    /// JSON pointer to the value.
    pub path: String,
    /// What is wrong with it. Values are left out: they may be secret.
    pub message: String,
}

impl Rules {
    /// Compiles a schema. Nothing is fetched: `$ref` leads no further than the schema itself.
    pub fn new(schema: &serde_json::Value) -> Result<Self, super::ContractError> {
        super::declared::compile(schema).map(Self)
    }

    /// What of `value` is not as the schema says, at most twenty places.
    pub fn check(&self, value: &serde_json::Value) -> Vec<RuleBreach> {
        let breach = |error: ValidationError<'_>| RuleBreach {
            path: error.instance_path().to_string(),
            message: message(&error),
        };
        self.0.iter_errors(value).take(20).map(breach).collect()
    }
}
