//! Nodes of a tape as keys, values, tags and trees.

use std::borrow::Cow;

use serde_json::{Map, Number, Value};

use crate::model::{Field, Flaw, Raw, RawTags, Source, Tag, limits};

use super::tape::{Kind, State, Tape, unescape};

/// The text of a key; `None` where it cannot be read.
pub(super) fn key_text<'a>(source: &Source<'a>, tape: &Tape, at: usize) -> Option<Cow<'a, str>> {
    let node = tape.nodes[at];
    match node.state {
        State::Flawed(_) => None,
        State::Escaped => source.text(node.start + 1..node.end - 1).map(unescape).map(Cow::Owned),
        _ => source.text(node.start + 1..node.end - 1).map(Cow::Borrowed),
    }
}

pub(super) fn field<'a>(
    source: &Source<'a>,
    tape: &Tape,
    at: usize,
    key: &'static str,
) -> Field<'a> {
    let node = tape.nodes[at];
    Field { raw: raw(source, tape, at), key, start: node.start, end: node.end }
}

pub(super) fn raw<'a>(source: &Source<'a>, tape: &Tape, at: usize) -> Raw<'a> {
    let node = tape.nodes[at];
    if let State::Flawed(flaw) = node.state {
        return Raw::Flawed(flaw);
    }
    match node.kind {
        Kind::Null => Raw::Null,
        Kind::True => Raw::Boolean(true),
        Kind::False => Raw::Boolean(false),
        Kind::Whole | Kind::Fraction => {
            number(source.text(node.start..node.end).unwrap_or_default(), node.kind)
        }
        Kind::NotFinite => Raw::Flawed(Flaw::NotFinite),
        Kind::String => key_text(source, tape, at).map_or(Raw::Flawed(Flaw::Utf8), Raw::Text),
        Kind::Array => Raw::Array,
        Kind::Object => Raw::Object,
    }
}

fn number<'a>(text: &str, kind: Kind) -> Raw<'a> {
    if kind == Kind::Whole {
        if let Ok(n) = text.parse::<i64>() {
            return Raw::Signed(n);
        }
        if let Ok(n) = text.parse::<u64>() {
            return Raw::Unsigned(n);
        }
    }
    match text.parse::<f64>() {
        Ok(x) if x.is_finite() => Raw::Float(x),
        _ => Raw::Flawed(Flaw::OutOfRange),
    }
}

/// Reads tags. One more than the limit is enough to see that there are too many; a key that cannot
/// be used comes as a tag with a flaw.
pub(super) fn read_tags<'a>(source: &Source<'a>, tape: &Tape, at: usize, tags: &mut RawTags<'a>) {
    let node = tape.nodes[at];
    tags.field = Some(field(source, tape, at, "tags"));
    if node.kind != Kind::Object || node.state != State::Plain {
        return;
    }
    for (key, value) in tape.members(at).take(limits::TAGS + 1) {
        let (start, end) = (tape.nodes[value].start, tape.nodes[value].end);
        let (key, value) = match (key_text(source, tape, key), tape.nodes[key].state) {
            (Some(word), _) if tags.tags.iter().any(|t| t.key == word) => {
                (word, Raw::Flawed(Flaw::DuplicateKey))
            }
            (Some(word), _) => (word, raw(source, tape, value)),
            (None, State::Flawed(flaw)) => (Cow::Borrowed(""), Raw::Flawed(flaw)),
            (None, _) => (Cow::Borrowed(""), Raw::Flawed(Flaw::Utf8)),
        };
        tags.tags.push(Tag { key, value, start, end });
    }
}

/// The value at `at` as a tree. The tape is no deeper than [`limits::DEPTH`], so this recursion is
/// not either.
pub(super) fn tree(source: &Source<'_>, tape: &Tape, at: usize) -> Value {
    let node = tape.nodes[at];
    match (node.kind, raw(source, tape, at)) {
        (_, Raw::Null | Raw::Flawed(_)) => Value::Null,
        (_, Raw::Boolean(b)) => Value::Bool(b),
        (_, Raw::Signed(n)) => n.into(),
        (_, Raw::Unsigned(n)) => n.into(),
        (_, Raw::Float(x)) => Number::from_f64(x).map_or(Value::Null, Value::Number),
        (_, Raw::Text(text)) => Value::String(text.into_owned()),
        (_, Raw::Array) => {
            let mut elements = Vec::new();
            let mut child = at + 1;
            while child < node.next {
                elements.push(tree(source, tape, child));
                child = tape.nodes[child].next;
            }
            Value::Array(elements)
        }
        (_, Raw::Object) => {
            let mut object = Map::new();
            for (key, value) in tape.members(at) {
                if let Some(word) = key_text(source, tape, key) {
                    object.entry(word).or_insert_with(|| tree(source, tape, value));
                }
            }
            Value::Object(object)
        }
    }
}
