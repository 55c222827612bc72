//! Nodes of a tape as keys, values, tags and trees.

use std::borrow::Cow;

use serde_json::{Map, Number, Value};

use crate::model::{Field, Flaw, Raw, RawTags, Source, Tag, limits};

use super::tape::{Kind, State, Tape, unescape};

/// The text of a key; `None` where it cannot be read.
#[inline]
pub(super) fn key_text<'a>(source: &Source<'a>, tape: &Tape, at: usize) -> Option<Cow<'a, str>> {
    let node = tape.nodes[at];
    match node.state {
        State::Flawed(_) => None,
        State::Escaped => source.text(node.start + 1..node.end - 1).map(unescape).map(Cow::Owned),
        _ => source.text(node.start + 1..node.end - 1).map(Cow::Borrowed),
    }
}

#[inline]
pub(super) fn field<'a>(
    source: &Source<'a>,
    tape: &Tape,
    at: usize,
    key: &'static str,
) -> Field<'a> {
    let node = tape.nodes[at];
    Field { raw: raw(source, tape, at), key, start: node.start, end: node.end }
}

#[inline]
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

/// 2^53: whole numbers below it are exact as floats.
const EXACT: f64 = 9_007_199_254_740_992.0;

fn number<'a>(text: &str, kind: Kind) -> Raw<'a> {
    if kind == Kind::Whole
        && let Some(raw) = whole(text)
    {
        return raw;
    }
    match text.parse::<f64>() {
        Ok(x) if !x.is_finite() => Raw::Flawed(Flaw::OutOfRange),
        Ok(x) if kind == Kind::Whole => Raw::Wide(x),
        // Below, a float is the whole number that was written; above, it may be a neighbour.
        Ok(x) if x.abs() < EXACT => Raw::Float(x),
        Ok(x) => written_out(text).as_deref().and_then(whole).unwrap_or(Raw::Float(x)),
        Err(_) => Raw::Flawed(Flaw::OutOfRange),
    }
}

/// A whole number of 64 bits.
fn whole<'a>(digits: &str) -> Option<Raw<'a>> {
    let signed = digits.parse().map(Raw::Signed).ok();
    signed.or_else(|| digits.parse().map(Raw::Unsigned).ok())
}

/// The digits of a number with a fraction or an exponent, where it is whole and has 20 of them at
/// most: `-9007199254740993.0` is `-9007199254740993`, and `1.5e19` has 18 zeros.
fn written_out(text: &str) -> Option<String> {
    let (sign, text) = text.strip_prefix('-').map_or(("", text), |rest| ("-", rest));
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let exponent: i64 = exponent.parse().ok()?;
    let (before, after) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{before}{after}");
    let digits = all.trim_end_matches('0');
    // How many zeros follow the last digit that is not one.
    let zeros = exponent.checked_add((all.len() - digits.len()) as i64)?;
    let zeros = usize::try_from(zeros.checked_sub(after.len() as i64)?).ok()?;
    let digits = digits.trim_start_matches('0');
    (zeros <= 20 && digits.len() <= 20).then(|| format!("{sign}{digits}{}", "0".repeat(zeros)))
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
        (_, Raw::Float(x) | Raw::Wide(x)) => Number::from_f64(x).map_or(Value::Null, Value::Number),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_exact_however_they_are_written() {
        for (text, raw) in [
            ("9007199254740993.0", Raw::Signed(9_007_199_254_740_993)),
            ("-9007199254740993.000", Raw::Signed(-9_007_199_254_740_993)),
            ("9007199254740993e0", Raw::Signed(9_007_199_254_740_993)),
            ("90071992547409930E-1", Raw::Signed(9_007_199_254_740_993)),
            ("9.007199254740993e+15", Raw::Signed(9_007_199_254_740_993)),
            ("0.9007199254740993e16", Raw::Signed(9_007_199_254_740_993)),
            ("18446744073709551615.0", Raw::Unsigned(u64::MAX)),
            ("-9223372036854775808.0", Raw::Signed(i64::MIN)),
            ("1e19", Raw::Unsigned(10_000_000_000_000_000_000)),
            ("18446744073709551616.0", Raw::Float(18_446_744_073_709_551_616.0)),
            ("9007199254740993.5", Raw::Float(9_007_199_254_740_994.0)),
            ("1e300", Raw::Float(1e300)),
            ("1.0", Raw::Float(1.0)),
            ("0e999999999999999999999", Raw::Float(0.0)),
        ] {
            assert_eq!(number(text, Kind::Fraction), raw, "{text}");
        }
        assert_eq!(number("18446744073709551615", Kind::Whole), Raw::Unsigned(u64::MAX));
        assert_eq!(
            number("18446744073709551616", Kind::Whole),
            Raw::Wide(18_446_744_073_709_551_616.0)
        );
        assert_eq!(
            number("-9223372036854775809", Kind::Whole),
            Raw::Wide(-9_223_372_036_854_775_808.0)
        );
    }
}
