//! The rules for the fields of one record. `schemas/document.v1.json` says the same in JSON Schema,
//! as far as it can; a property test holds the two together.

use crate::model::RejectionCode as Code;
use crate::model::{
    Declared, Field, Flaw, MetricType, Raw, RawTags, Record, Tags, Threshold, Timestamp, Value,
    is_name, limits, nearest_name, push_escaped,
};

use super::refusal::{At, Parts, Refusal};
use super::words::nearest;

type Checked<T> = Result<T, Refusal>;

/// The name of a record.
pub(super) fn name<'r>(record: &'r Record<'_>) -> Checked<&'r str> {
    let Some(field) = &record.name else {
        return Err(Refusal::record(
            Code::NameMissing,
            record,
            "the metric has no name",
            "add `\"name\": \"…\"`",
        ));
    };
    let name = match &field.raw {
        Raw::Text(text) => &**text,
        Raw::Null => {
            let (message, hint) = ("the metric's name is null", "write a name in double quotes");
            return Err(Refusal::field(Code::NameMissing, field, message, hint));
        }
        Raw::Flawed(flaw) => return Err(flawed(*flaw, field)),
        _ => return Err(Refusal::kind(Code::NameInvalid, field, "a name", "a string")),
    };
    if is_name(name) && name.len() <= limits::NAME {
        return Ok(name);
    }
    if name.len() > limits::NAME {
        let (message, hint) = (
            format!("the name has {} bytes; 128 are the limit", name.len()),
            "shorten it; what varies belongs in `tags`",
        );
        return Err(Refusal::field(Code::TooLong, field, message, hint));
    }
    let nearest = nearest_name(name);
    let hint = format!("rename it to `{nearest}`");
    let rule = "^[A-Za-z_][A-Za-z0-9_]*$";
    if name.contains('-') && is_name(&name.replace('-', "_")) {
        let message = "a name has no hyphens";
        return Err(Refusal::field(Code::NameHyphen, field, message, hint).rule(rule));
    }
    let message = if name.is_empty() {
        "the name is empty".to_owned()
    } else {
        "a name has letters, digits and `_`, and does not start with a digit".to_owned()
    };
    Err(Refusal::field(Code::NameInvalid, field, message, hint).rule(rule))
}

/// The type that a record states, if it does.
pub(super) fn kind(field: Option<&Field<'_>>) -> Checked<Option<MetricType>> {
    let Some(field) = present(field) else { return Ok(None) };
    let word = match &field.raw {
        Raw::Text(word) => &**word,
        Raw::Flawed(flaw) => return Err(flawed(*flaw, field)),
        _ => return Err(Refusal::kind(Code::TypeUnknown, field, "a type", "a string")),
    };
    if let Ok(kind) = word.parse() {
        return Ok(Some(kind));
    }
    let meant = match word.to_ascii_lowercase().as_str() {
        "int" | "int64" | "long" | "uint" => Some("integer"),
        "number" | "gauge" | "double" | "decimal" | "real" => Some("float"),
        "%" | "percentage" => Some("percent"),
        "count" | "derive" | "cumulative" | "sum" => Some("counter"),
        "bool" | "flag" => Some("boolean"),
        "str" | "text" => Some("string"),
        other => nearest(other, MetricType::ALL.map(MetricType::as_str)),
    };
    let hint = match meant {
        Some(meant) => format!("write `{meant}`"),
        None => "write integer, float, percent, counter, boolean or string".to_owned(),
    };
    Err(Refusal::field(Code::TypeUnknown, field, "there is no such type", hint))
}

/// The value of a record as `kind`.
pub(super) fn value_as(kind: MetricType, field: &Field<'_>) -> Checked<Value> {
    match (&field.raw, kind) {
        (Raw::Null, _) => Ok(Value::Gap),
        (Raw::Flawed(flaw), _) => Err(flawed(*flaw, field)),
        (Raw::Array | Raw::Object, _) => Err(nested(field)),

        (Raw::Text(text), MetricType::String) => text_value(text, field),

        (Raw::Boolean(b), MetricType::Boolean) => Ok(Value::Boolean(*b)),
        (Raw::Signed(0), MetricType::Boolean) => Ok(Value::Boolean(false)),
        (Raw::Signed(1), MetricType::Boolean) => Ok(Value::Boolean(true)),
        (Raw::Float(x), MetricType::Boolean) if *x == 0.0 => Ok(Value::Boolean(false)),
        (Raw::Float(x), MetricType::Boolean) if (*x - 1.0).abs() < f64::EPSILON / 2.0 => {
            Ok(Value::Boolean(true))
        }
        (
            Raw::Signed(_) | Raw::Unsigned(_) | Raw::Wide(_) | Raw::Float(_) | Raw::Rounded(_),
            MetricType::Boolean,
        ) => {
            let message = "a number that stands for a boolean is 0 or 1";
            Err(Refusal::field(Code::ValueRange, field, message, "print true, false, 0 or 1")
                .rule(rule(kind)))
        }

        (Raw::Text(_) | Raw::Boolean(_), _) | (_, MetricType::String) => {
            Err(wrong_type(kind, field))
        }

        (Raw::Signed(n), MetricType::Integer) => Ok(Value::Signed(*n)),
        (Raw::Unsigned(n), MetricType::Integer | MetricType::Counter) => Ok(Value::unsigned(*n)),
        (Raw::Wide(_), MetricType::Integer) => Err(too_wide(kind, field)),
        (Raw::Float(x), MetricType::Integer) => whole(*x).ok_or_else(|| {
            if x.fract() == 0.0 { too_wide(kind, field) } else { wrong_type(kind, field) }
        }),
        (Raw::Rounded(_), MetricType::Integer) => Err(wrong_type(kind, field)),

        (Raw::Signed(n), MetricType::Counter) if *n >= 0 => Ok(Value::Signed(*n)),
        (Raw::Float(x), MetricType::Counter) if *x >= 0.0 => {
            Ok(whole(*x).unwrap_or(Value::Float(*x)))
        }
        (Raw::Wide(x), MetricType::Counter) if *x >= 0.0 => Ok(Value::Float(*x)),
        // The sign counts of what is next to 0: below 0 is below 0.
        (Raw::Rounded(x), MetricType::Counter) if x.is_sign_positive() => Ok(Value::Float(*x)),
        (Raw::Signed(_) | Raw::Wide(_) | Raw::Float(_) | Raw::Rounded(_), MetricType::Counter) => {
            let message = "a counter is never below 0";
            let hint = "use `integer` or `float` for what can go down";
            Err(Refusal::field(Code::ValueRange, field, message, hint).rule(rule(kind)))
        }

        (Raw::Signed(n), _) => Ok(Value::Float(*n as f64)),
        (Raw::Unsigned(n), _) => Ok(Value::Float(*n as f64)),
        (Raw::Wide(x) | Raw::Float(x) | Raw::Rounded(x), _) => Ok(Value::Float(*x)),
    }
}

/// The value of a record that states no type: what it is in JSON.
pub(super) fn value_alone(field: &Field<'_>) -> Checked<(Option<MetricType>, Value)> {
    match &field.raw {
        Raw::Null => Ok((None, Value::Gap)),
        Raw::Boolean(b) => Ok((Some(MetricType::Boolean), Value::Boolean(*b))),
        Raw::Signed(n) => Ok((Some(MetricType::Integer), Value::Signed(*n))),
        Raw::Unsigned(n) => Ok((Some(MetricType::Integer), Value::unsigned(*n))),
        // Its digits say that each of them counts; rounding it is not for us to decide.
        Raw::Wide(x) => {
            let message = "an integer lies between -2^63 and 2^64-1";
            let hint = format!("use type `float`, or print it as one, such as {x:.1e}");
            Err(Refusal::field(Code::ValueRange, field, message, hint))
        }
        Raw::Float(x) => Ok(match whole(*x) {
            Some(value) => (Some(MetricType::Integer), value),
            None => (Some(MetricType::Float), Value::Float(*x)),
        }),
        Raw::Rounded(x) => Ok((Some(MetricType::Float), Value::Float(*x))),
        Raw::Text(text) => Ok((Some(MetricType::String), text_value(text, field)?)),
        Raw::Array | Raw::Object => Err(nested(field)),
        Raw::Flawed(flaw) => Err(flawed(*flaw, field)),
    }
}

/// `x` as a whole number, where it is one of 64 bits.
fn whole(x: f64) -> Option<Value> {
    // Both bounds are exact as floats.
    if x.fract() != 0.0
        || !(-9_223_372_036_854_775_808.0..18_446_744_073_709_551_616.0).contains(&x)
    {
        return None;
    }
    Some(if x < 0.0 { Value::Signed(x as i64) } else { Value::unsigned(x as u64) })
}

fn too_wide(kind: MetricType, field: &Field<'_>) -> Refusal {
    let message = "an integer lies between -2^63 and 2^64-1";
    Refusal::field(Code::ValueRange, field, message, "use type `float`").rule(rule(kind))
}

fn text_value(text: &str, field: &Field<'_>) -> Checked<Value> {
    if text.len() > limits::TEXT {
        return Err(Refusal::field(
            Code::TooLong,
            field,
            format!("the text has {} bytes; 4096 are the limit", text.len()),
            "a metric's text is a state or a version, not a log",
        ));
    }
    Ok(Value::Text(text.into()))
}

fn rule(kind: MetricType) -> String {
    format!("type = \"{kind}\"")
}

fn nested(field: &Field<'_>) -> Refusal {
    let hint = if field.key.is_empty() {
        "use the full form, `{\"metrics\":[{\"name\":…,\"value\":…}]}`, or flatten it with `jq`"
    } else {
        "print one metric for each number, with what tells them apart in `tags`"
    };
    let message =
        format!("a value is a number, a string, a boolean or null, not {}", field.raw.kind());
    Refusal::field(Code::ValueNested, field, message, hint)
}

fn wrong_type(kind: MetricType, field: &Field<'_>) -> Refusal {
    let hint = match (&field.raw, kind) {
        (Raw::Text(text), MetricType::Boolean) => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "up" | "1" => "write `true` without quotes".to_owned(),
            "false" | "no" | "off" | "down" | "0" => "write `false` without quotes".to_owned(),
            _ => "print true or false".to_owned(),
        },
        (Raw::Text(text), _) => {
            let number = text.trim().trim_end_matches('%').trim_end();
            match number.parse::<f64>() {
                Ok(x) if x.is_finite() && number.len() <= 40 => {
                    format!("write `{number}` without quotes")
                }
                _ if text.trim().is_empty() => "print `null` for a gap".to_owned(),
                _ => "print a number, or use type `string`".to_owned(),
            }
        }
        (Raw::Boolean(_), _) => "use type `boolean`".to_owned(),
        (Raw::Float(_) | Raw::Rounded(_), MetricType::Integer) => {
            "round it, or use type `float`".to_owned()
        }
        (_, MetricType::String) => "put it in double quotes".to_owned(),
        _ => format!("print a value that is {kind}"),
    };
    let message = match (&field.raw, kind) {
        (Raw::Float(_) | Raw::Rounded(_), MetricType::Integer) => {
            "expected a whole number, got a fraction".to_owned()
        }
        (raw, _) => {
            let expected = match kind {
                MetricType::Boolean => "a boolean",
                MetricType::String => "a string",
                MetricType::Integer => "a whole number",
                _ => "a number",
            };
            format!("expected {expected}, got {}", raw.kind())
        }
    };
    Refusal::field(Code::ValueType, field, message, hint).rule(rule(kind))
}

fn flawed(flaw: Flaw, field: &Field<'_>) -> Refusal {
    Refusal::flaw(flaw, At::Field(field.key), field.start..field.end)
}

/// A field that is there and not null.
fn present<'f, 'a>(field: Option<&'f Field<'a>>) -> Option<&'f Field<'a>> {
    field.filter(|f| f.raw != Raw::Null)
}

/// A label or unit; an empty one is none.
pub(super) fn short_text(field: Option<&Field<'_>>, what: &str) -> Checked<Option<Box<str>>> {
    let Some(field) = present(field) else { return Ok(None) };
    match &field.raw {
        Raw::Text(text) if text.is_empty() => Ok(None),
        Raw::Text(text) if text.len() <= limits::LABEL => Ok(Some(Box::from(&**text))),
        Raw::Text(text) => Err(Refusal::field(
            Code::TooLong,
            field,
            format!("the {what} has {} bytes; 256 are the limit", text.len()),
            "shorten it",
        )),
        Raw::Flawed(flaw) => Err(flawed(*flaw, field)),
        _ => Err(Refusal::kind(Code::ValueType, field, &format!("a {what}"), "a string")),
    }
}

/// The tags of a record or document over those `under` them. `prefix` is the pointer to what has
/// the tags.
pub(super) fn tags(raw: &RawTags<'_>, under: &Tags, prefix: &dyn Fn() -> String) -> Checked<Tags> {
    let Some(field) = present(raw.field.as_ref()) else { return Ok(under.clone()) };
    let wrong = |code, pointer: String, span, message: &str, hint: &str| {
        Err(Refusal::new(Parts {
            code,
            at: At::Pointer(pointer),
            span,
            rule: None,
            message: message.to_owned(),
            hint: hint.to_owned(),
        }))
    };
    let here = || format!("{}/tags", prefix());
    let span = field.start..field.end;
    match field.raw {
        Raw::Object => {}
        Raw::Flawed(flaw) => return Err(Refusal::flaw(flaw, At::Pointer(here()), span)),
        _ => {
            let message = format!("tags must be an object of strings, not {}", field.raw.kind());
            let hint = "write `{\"mount\": \"/\"}`, or leave `tags` out";
            return wrong(Code::TagInvalid, here(), span, &message, hint);
        }
    }
    let bytes: usize = raw
        .tags
        .iter()
        .map(|t| t.key.len() + if let Raw::Text(value) = &t.value { value.len() } else { 0 })
        .sum();
    let mut tags = Tags::with_capacity(raw.tags.len() + under.len(), bytes + under.bytes());
    for tag in &raw.tags {
        let at = || {
            let mut pointer = here();
            pointer.push('/');
            push_escaped(&mut pointer, &tag.key);
            pointer
        };
        let span = tag.start..tag.end;
        let (message, hint) = match &tag.value {
            Raw::Flawed(flaw) => return Err(Refusal::flaw(*flaw, At::Pointer(at()), span)),
            Raw::Text(value) => match tag_problem(&tag.key, value) {
                None => {
                    tags.insert(&tag.key, value);
                    continue;
                }
                Some(problem) => problem,
            },
            Raw::Array | Raw::Object => ("a tag is a string", "write one tag for each part"),
            Raw::Null => ("a tag is a string", "leave the tag out, or write an empty string"),
            _ => ("a tag is a string", "put the value in double quotes"),
        };
        return wrong(Code::TagInvalid, at(), span, message, hint);
    }
    tags.fill_from(under);
    if tags.len() > limits::TAGS {
        let message = "more than 32 tags, those of the document, the plugin and the agent included";
        return wrong(Code::TagInvalid, here(), span, message, "keep the tags that matter");
    }
    Ok(tags)
}

fn tag_problem(key: &str, value: &str) -> Option<(&'static str, &'static str)> {
    let control = |text: &str| text.bytes().any(|b| b < 0x20 || b == 0x7f);
    if key.is_empty() {
        return Some(("a tag's key is not empty", "give the tag a name"));
    }
    if key.len() > limits::TAG_KEY {
        return Some(("a tag's key has at most 64 bytes", "shorten it"));
    }
    if value.len() > limits::TAG_VALUE {
        return Some(("a tag's value has at most 256 bytes", "shorten it"));
    }
    if control(key) || control(value) {
        return Some(("a tag has no control characters", "strip line breaks: `tr -d '\\n'`"));
    }
    None
}

/// The time of a record or document; `latest` is the last millisecond that is not the future.
pub(super) fn time(
    field: Option<&Field<'_>>,
    latest: i64,
    at: &dyn Fn() -> At,
) -> Checked<Option<Timestamp>> {
    let Some(field) = present(field) else { return Ok(None) };
    let wrong = |code, message: &str, hint: &str| {
        Err(Refusal::new(Parts {
            code,
            at: at(),
            span: field.start..field.end,
            rule: None,
            message: message.to_owned(),
            hint: hint.to_owned(),
        }))
    };
    let time = match &field.raw {
        Raw::Text(text) => is_time(text).then(|| Timestamp::parse(text).ok()).flatten(),
        Raw::Signed(n) => Timestamp::from_number(*n as f64),
        Raw::Unsigned(n) => Timestamp::from_number(*n as f64),
        Raw::Wide(x) | Raw::Float(x) | Raw::Rounded(x) => Timestamp::from_number(*x),
        Raw::Flawed(flaw) => {
            return Err(Refusal::flaw(*flaw, at(), field.start..field.end));
        }
        _ => None,
    };
    let Some(time) = time else {
        let hint = match &field.raw {
            Raw::Text(t) if t.parse::<f64>().is_ok() => "leave out the quotes".to_owned(),
            Raw::Text(t) if !t.is_empty() && is_time(&format!("{t}Z")) => {
                format!("add the offset: `{t}Z` if it is UTC")
            }
            _ => "write 2026-11-22T20:42:10Z (`date -u +%FT%TZ`) or Unix seconds (`date +%s`)"
                .to_owned(),
        };
        return wrong(Code::TimeInvalid, "not a time", &hint);
    };
    if time.millis() > latest {
        let hint = "print Unix seconds in UTC (`date +%s`), and check the clocks";
        return wrong(Code::TimeFuture, "more than 10 minutes ahead of the agent's clock", hint);
    }
    Ok(Some(time))
}

/// Whether `text` has the shape of an RFC 3339 time; a space may stand for the `T`.
fn is_time(text: &str) -> bool {
    let shape = |text: &[u8], shape: &[u8]| {
        text.len() == shape.len()
            && text.iter().zip(shape).all(|(&t, &s)| match s {
                b'0' => t.is_ascii_digit(),
                b'T' => matches!(t, b'T' | b't' | b' '),
                b'+' => matches!(t, b'+' | b'-'),
                s => t == s,
            })
    };
    let bytes = text.as_bytes();
    if bytes.len() < 20 || !shape(&bytes[..19], b"0000-00-00T00:00:00") {
        return false;
    }
    let mut rest = &bytes[19..];
    if let Some(fraction) = rest.strip_prefix(b".") {
        let digits = fraction.iter().take_while(|b| b.is_ascii_digit()).count();
        if !(1..=9).contains(&digits) {
            return false;
        }
        rest = &fraction[digits..];
    }
    matches!(rest, b"Z" | b"z") || shape(rest, b"+00:00")
}

/// A `warn` or `crit` mark.
pub(super) fn threshold(field: Option<&Field<'_>>) -> Checked<Option<Threshold>> {
    let Some(field) = present(field) else { return Ok(None) };
    match &field.raw {
        Raw::Signed(n) => Ok(Some(Threshold::Number(*n as f64))),
        Raw::Unsigned(n) => Ok(Some(Threshold::Number(*n as f64))),
        Raw::Wide(x) | Raw::Float(x) | Raw::Rounded(x) => Ok(Some(Threshold::Number(*x))),
        Raw::Flawed(flaw) => Err(flawed(*flaw, field)),
        Raw::Text(text) if text.len() > limits::LABEL => {
            let message = format!("the range has {} bytes; 256 are the limit", text.len());
            Err(Refusal::field(Code::TooLong, field, message, "shorten it"))
        }
        Raw::Text(text) if is_range(text) => Ok(Some(Threshold::Range(Box::from(&**text)))),
        Raw::Text(_) => {
            let hint = "write a number, or a range such as `10:20`, `10:`, `~:5` or `@1:2`";
            Err(Refusal::field(Code::ValueType, field, "not a Nagios range", hint))
        }
        _ => {
            let expected = "a number or a Nagios range string";
            Err(Refusal::kind(Code::ValueType, field, "a threshold", expected))
        }
    }
}

/// `min` or `max`.
pub(super) fn bound(field: Option<&Field<'_>>) -> Checked<Option<f64>> {
    let Some(field) = present(field) else { return Ok(None) };
    match field.raw {
        Raw::Signed(n) => Ok(Some(n as f64)),
        Raw::Unsigned(n) => Ok(Some(n as f64)),
        Raw::Wide(x) | Raw::Float(x) | Raw::Rounded(x) => Ok(Some(x)),
        Raw::Flawed(flaw) => Err(flawed(flaw, field)),
        _ => Err(Refusal::kind(Code::ValueType, field, "a bound", "a number")),
    }
}

/// Whether `text` is a Nagios range: `[@][start:][end]`, where `~` is minus infinity.
pub(super) fn is_range(text: &str) -> bool {
    let text = text.strip_prefix('@').unwrap_or(text);
    match text.split_once(':') {
        None => is_decimal(text),
        Some((start, end)) => {
            (start.is_empty() || start == "~" || is_decimal(start))
                && (end.is_empty() || is_decimal(end))
        }
    }
}

fn is_decimal(text: &str) -> bool {
    let digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((m, e)) => (m, Some(e)),
        None => (text, None),
    };
    let (whole, fraction) = {
        let m = mantissa.strip_prefix('-').unwrap_or(mantissa);
        m.split_once('.').unwrap_or((m, ""))
    };
    let exponent_ok = exponent.is_none_or(|e| {
        let e = e.strip_prefix(['+', '-']).unwrap_or(e);
        !e.is_empty() && digits(e)
    });
    digits(whole) && digits(fraction) && !(whole.is_empty() && fraction.is_empty()) && exponent_ok
}

/// A value within what its declaration allows.
pub(super) fn allowed(declared: &Declared, field: &Field<'_>) -> Checked<Value> {
    let value = value_as(declared.kind, field)?;
    if let Value::Text(text) = &value
        && !declared.values.is_empty()
        && !declared.values.iter().any(|v| **v == **text)
    {
        let hint = match nearest(text, declared.values.iter().map(String::as_str)) {
            Some(meant) => format!("write `{meant}`"),
            None => format!("write one of: {}", declared.values.join(", ")),
        };
        let message = "not one of the declared values";
        return Err(Refusal::field(Code::ValueRange, field, message, hint).rule("values"));
    }
    Ok(value)
}
