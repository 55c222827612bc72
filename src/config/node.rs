//! A config file as a tree in which every key and value knows where it was written.

use std::ops::Range;

/// Where something was written: a file, by its number in [`super::diagnostic::Sources`], and the
/// bytes in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub(super) file: usize,
    pub(super) span: Range<usize>,
}

/// A value and where it was written.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) kind: Kind,
}

/// One entry of a table.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) place: Place,
    pub(super) value: Node,
}

/// What TOML and JSON have in common.
#[derive(Clone)]
pub(super) enum Kind {
    Null,
    Boolean(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    Array(Vec<Node>),
    Table(Vec<Entry>),
}

impl Node {
    /// What the value is, for "expected …, found …".
    pub(super) fn what(&self) -> &'static str {
        match self.kind {
            Kind::Null => "null",
            Kind::Boolean(_) => "a boolean",
            Kind::Integer(_) => "a whole number",
            Kind::Float(_) => "a number",
            Kind::Text(_) => "a string",
            Kind::Array(_) => "an array",
            Kind::Table(_) => "a table",
        }
    }

    /// The value of `key`, where this is a table that has it.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        match &self.kind {
            Kind::Table(entries) => entries.iter().find(|e| e.key == key).map(|e| &e.value),
            _ => None,
        }
    }

    /// The text, where this is one.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// A message about a stretch of the file.
pub(super) type SyntaxError = (String, Range<usize>);

/// Reads TOML. What could be read comes back together with every error.
pub(super) fn parse_toml(text: &str, file: usize) -> (Node, Vec<SyntaxError>) {
    use toml::de::{DeTable, DeValue};

    fn table(map: &DeTable<'_>, file: usize, errors: &mut Vec<SyntaxError>) -> Kind {
        Kind::Table(
            map.iter()
                .map(|(key, value)| Entry {
                    key: key.get_ref().to_string(),
                    place: Place { file, span: key.span() },
                    value: Node {
                        place: Place { file, span: value.span() },
                        kind: kind(value.get_ref(), value.span(), file, errors),
                    },
                })
                .collect(),
        )
    }

    fn kind(
        value: &DeValue<'_>,
        span: Range<usize>,
        file: usize,
        errors: &mut Vec<SyntaxError>,
    ) -> Kind {
        match value {
            DeValue::String(text) => Kind::Text(text.to_string()),
            DeValue::Boolean(b) => Kind::Boolean(*b),
            DeValue::Datetime(time) => Kind::Text(time.to_string()),
            DeValue::Integer(n) => i64::from_str_radix(n.as_str(), n.radix()).map_or_else(
                |_| {
                    errors.push(("this number does not fit into 64 bits".to_owned(), span));
                    Kind::Null
                },
                Kind::Integer,
            ),
            DeValue::Float(x) => match x.as_str().parse::<f64>() {
                Ok(x) if x.is_finite() => Kind::Float(x),
                _ => {
                    errors.push(("only finite numbers can be used here".to_owned(), span));
                    Kind::Null
                }
            },
            DeValue::Array(items) => Kind::Array(
                items
                    .iter()
                    .map(|item| Node {
                        place: Place { file, span: item.span() },
                        kind: kind(item.get_ref(), item.span(), file, errors),
                    })
                    .collect(),
            ),
            DeValue::Table(map) => table(map, file, errors),
        }
    }

    let (root, found) = DeTable::parse_recoverable(text);
    let mut errors: Vec<SyntaxError> = found
        .into_iter()
        .map(|e| {
            let span = e.span().unwrap_or(0..0);
            let message = match (e.message(), text.get(span.clone())) {
                ("duplicate key", Some(key)) => format!("`{key}` is here for the second time"),
                (message, _) => message.trim_end().replace('\n', ", "),
            };
            (message, span)
        })
        .collect();
    let kind = table(root.get_ref(), file, &mut errors);
    (Node { place: Place { file, span: 0..0 }, kind }, errors)
}
