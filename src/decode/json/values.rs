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
        // A whole number is never rounded to a fraction, but a fraction may be to a whole number.
        Ok(x) if x.fract() != 0.0 => Raw::Float(x),
        Ok(x) => match Decimal::read(text) {
            Decimal::Fraction => Raw::Rounded(x),
            // Below, a float is the whole number that was written; above, it may be a neighbour.
            Decimal::Whole { .. } if x.abs() < EXACT => Raw::Float(x),
            decimal @ Decimal::Whole { .. } => {
                decimal.digits().as_deref().and_then(whole).unwrap_or(Raw::Float(x))
            }
        },
        Err(_) => Raw::Flawed(Flaw::OutOfRange),
    }
}

/// A whole number of 64 bits.
fn whole<'a>(digits: &str) -> Option<Raw<'a>> {
    let signed = digits.parse().map(Raw::Signed).ok();
    signed.or_else(|| digits.parse().map(Raw::Unsigned).ok())
}

/// A number with a fraction or an exponent, to the last digit that was written.
enum Decimal<'a> {
    /// Without its sign: the digits before the point and after it, with this many zeros to come or,
    /// below 0, too many at the end.
    Whole {
        sign: &'static str,
        before: &'a str,
        after: &'a str,
        zeros: i64,
    },
    Fraction,
}

impl<'a> Decimal<'a> {
    fn read(text: &'a str) -> Self {
        let (sign, text) = text.strip_prefix('-').map_or(("", text), |rest| ("-", rest));
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (before, after) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let last_zeros = |text: &str| text.len() - text.trim_end_matches('0').len();
        let mut free = last_zeros(after);
        if free == after.len() {
            free += last_zeros(before);
        }
        if free == before.len() + after.len() {
            return Self::Whole { sign: "", before: "0", after: "", zeros: 0 };
        }
        // An exponent that 64 bits cannot hold is that of a number beyond all floats, or next to 0.
        let far = if exponent.starts_with('-') { i64::MIN } else { i64::MAX };
        let exponent: i64 = exponent.parse().unwrap_or(far);
        let zeros = exponent.saturating_sub(after.len() as i64);
        if zeros.saturating_add(free as i64) < 0 {
            return Self::Fraction;
        }
        Self::Whole { sign, before, after, zeros }
    }

    /// Written without point and exponent, where that takes 20 digits at most:
    /// `-9007199254740993.0` is `-9007199254740993`, and `1.5e19` has 18 zeros.
    fn digits(&self) -> Option<String> {
        let Self::Whole { sign, before, after, zeros } = self else { return None };
        let mut digits = format!("{before}{after}");
        match usize::try_from(*zeros) {
            Ok(zeros) if zeros > 20 => return None,
            Ok(zeros) => digits.extend(std::iter::repeat_n('0', zeros)),
            Err(_) => digits.truncate(digits.len().saturating_sub(zeros.unsigned_abs() as usize)),
        }
        let digits = digits.trim_start_matches('0');
        (digits.len() <= 20).then(|| format!("{sign}{digits}"))
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
        (_, Raw::Float(x) | Raw::Wide(x) | Raw::Rounded(x)) => {
            Number::from_f64(x).map_or(Value::Null, Value::Number)
        }
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
            ("12345678901234567890.0", Raw::Unsigned(12_345_678_901_234_567_890)),
            ("9007199254740993.5", Raw::Rounded(9_007_199_254_740_994.0)),
            ("1.00000000000000000000000001", Raw::Rounded(1.0)),
            ("1e-400", Raw::Rounded(0.0)),
            ("-1e-99999999999999999999", Raw::Rounded(-0.0)),
            ("0.000e-99999999999999999999", Raw::Float(0.0)),
            ("-0.0", Raw::Float(-0.0)),
            ("1.0e2", Raw::Float(100.0)),
            ("1e400", Raw::Flawed(Flaw::OutOfRange)),
            ("100e-2", Raw::Float(1.0)),
            ("100e-3", Raw::Float(0.1)),
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
