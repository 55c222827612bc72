//! Numbers, times and sizes as people read them.

use std::fmt::Write;

use maud::{Markup, html};

use crate::hub::store::SeriesRow;
use crate::model::{Timestamp, Value};

use super::zone;

const DAY_MS: i64 = 86_400_000;

/// A number with at most four significant figures and a scale that suits its unit.
pub(super) fn number(x: f64, unit: Option<&str>) -> String {
    let unit = unit.unwrap_or_default();
    let (bare, per) = unit.strip_suffix("/s").map_or((unit, ""), |bare| (bare, "/s"));
    match bare {
        "B" | "bytes" | "byte" => {
            let (x, prefix) = scaled(x, 1024.0, &["", "Ki", "Mi", "Gi", "Ti", "Pi"]);
            format!("{} {prefix}B{per}", rounded(x, 3))
        }
        "s" | "seconds" | "second" if per.is_empty() => seconds(x),
        "%" => format!("{} %{per}", figures(x)),
        _ => {
            let (x, prefix) = scaled(x, 1000.0, &["", "k", "M", "G", "T", "P"]);
            let space = if unit.is_empty() { "" } else { " " };
            // A prefix goes with the number where the unit is a word: `12k packets`.
            format!("{}{prefix}{space}{unit}", figures(x))
        }
    }
}

fn scaled<'a>(mut x: f64, base: f64, prefixes: &[&'a str]) -> (f64, &'a str) {
    let mut at = 0;
    // 9999 reads better than 10k; beyond, prefixes do.
    let first = if base < 1024.0 { 10_000.0 } else { base };
    if x.abs() < first {
        return (x, prefixes[0]);
    }
    while x.abs() >= base && at + 1 < prefixes.len() {
        x /= base;
        at += 1;
    }
    (x, prefixes[at])
}

/// At most four significant figures, no trailing zeros.
pub(super) fn figures(x: f64) -> String {
    rounded(x, 4)
}

/// At most three of them.
pub(super) fn brief(x: f64) -> String {
    rounded(x, 3)
}

/// A sentence of ours, in which what is to be typed stands in backticks.
pub(super) fn sentence(text: &str) -> Markup {
    let pieces: Vec<&str> = text.split('`').collect();
    // A backtick without another one is one.
    if pieces.len().is_multiple_of(2) {
        return html! { (text) };
    }
    html! {
        @for (nth, piece) in pieces.iter().enumerate() {
            @if nth % 2 == 1 { code { (piece) } } @else { (piece) }
        }
    }
}

/// Whole figures are never cut; decimals are, beyond so many significant figures.
fn rounded(x: f64, significant: i32) -> String {
    if x == 0.0 {
        return "0".to_owned();
    }
    let size = x.abs();
    if !(1e-4..1e15).contains(&size) {
        return format!("{x:.3e}");
    }
    let decimals = (significant - 1 - size.log10().floor() as i32).clamp(0, 7) as usize;
    let text = format!("{x:.decimals$}");
    if !text.contains('.') {
        return text;
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A length of time.
pub(super) fn seconds(x: f64) -> String {
    let size = x.abs();
    match size {
        _ if size == 0.0 => "0 s".to_owned(),
        _ if size < 0.001 => format!("{} µs", rounded(x * 1e6, 3)),
        _ if size < 1.0 => format!("{} ms", rounded(x * 1e3, 3)),
        _ if size < 120.0 => format!("{} s", rounded(x, 3)),
        _ if size < 7200.0 => format!("{} min", figures((x / 6.0).round() / 10.0)),
        _ if size < 172_800.0 => format!("{} h", figures((x / 360.0).round() / 10.0)),
        _ => format!("{} d", figures((x / 8640.0).round() / 10.0)),
    }
}

/// A size in bytes.
pub(super) fn bytes(n: u64) -> String {
    number(n as f64, Some("B"))
}

/// How long ago, in one figure.
pub(super) fn ago(then: i64, now: i64) -> String {
    let seconds = now.saturating_sub(then) / 1000;
    match seconds {
        ..-1 => "in the future".to_owned(),
        -1..2 => "just now".to_owned(),
        2..120 => format!("{seconds} s ago"),
        120..7200 => format!("{} min ago", seconds / 60),
        7200..172_800 => format!("{} h ago", seconds / 3600),
        _ => format!("{} d ago", seconds / 86_400),
    }
}

/// An instant: how long ago to read, exactly when to look up.
pub(super) fn time(ms: i64, now: i64) -> Markup {
    html! { time datetime=(stamp(ms)) title=(exactly(ms)) { (ago(ms, now)) } }
}

/// An instant, exactly. The script turns it into the reader's own time.
pub(super) fn clock(ms: i64) -> Markup {
    let local = zone::local(ms);
    let text = local.get(11..19).unwrap_or_default();
    html! { time.clock datetime=(stamp(ms)) title=(exactly(ms)) { (text) } }
}

/// An instant with its day, to the minute.
pub(super) fn when(ms: i64) -> Markup {
    let local = zone::local(ms);
    let (day, time) = (local.get(..10).unwrap_or_default(), local.get(11..16).unwrap_or_default());
    html! { time.when datetime=(stamp(ms)) title=(exactly(ms)) { (day) " " (time) } }
}

fn exactly(ms: i64) -> String {
    format!("{} {}", zone::local(ms).replace('T', " "), zone::name())
}

/// An instant, as exactly as it must be among others within `span` milliseconds.
pub(super) fn clock_to(ms: i64, span: i64) -> Markup {
    if span > DAY_MS / 2 { when(ms) } else { clock(ms) }
}

/// A number of things, with the word for it.
pub(super) fn counted(n: usize, one: &str, many: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{} {many}", grouped(n as u64)) }
}

/// A whole number with its thousands apart.
pub(super) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// RFC 3339, in UTC.
pub(super) fn stamp(ms: i64) -> String {
    Timestamp::from_millis(ms).map(|t| t.to_string()).unwrap_or_default()
}

/// A value with its unit. Counters show their count.
pub(super) fn value(value: &Value, series: &SeriesRow) -> String {
    match value {
        Value::Gap => "–".to_owned(),
        Value::Boolean(true) => "yes".to_owned(),
        Value::Boolean(false) => "no".to_owned(),
        Value::Text(text) => text.chars().take(200).collect(),
        other => other.as_f64().map_or_else(String::new, |x| number(x, series.unit.as_deref())),
    }
}

/// A query string.
pub(super) fn query(pairs: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, value) in pairs {
        text.push(if text.is_empty() { '?' } else { '&' });
        text.push_str(name);
        text.push('=');
        for byte in value.bytes() {
            if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
                text.push(char::from(byte));
            } else {
                let _written = write!(text, "%{byte:02X}");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        for (x, unit, text) in [
            (0.0, None, "0"),
            (71.2, Some("%"), "71.2 %"),
            (9999.0, None, "9999"),
            (123_456.0, None, "123.5k"),
            (1_500_000.0, Some("packets/s"), "1.5M packets/s"),
            (1023.0, Some("B"), "1023 B"),
            (2_097_152.0, Some("B"), "2 MiB"),
            (1536.0, Some("B/s"), "1.5 KiB/s"),
            (0.0123, Some("s"), "12.3 ms"),
            (0.000_04, Some("s"), "40 µs"),
            (90.0, Some("s"), "90 s"),
            (7200.0, Some("s"), "2 h"),
            (-0.5, None, "-0.5"),
            (1e20, None, "100000P"),
        ] {
            assert_eq!(number(x, unit), text, "{x} {unit:?}");
        }
        assert_eq!(figures(1e-9), "1.000e-9");
    }

    #[test]
    fn what_is_to_be_typed_stands_out() {
        assert_eq!(sentence("type `a<b` now").into_string(), "type <code>a&lt;b</code> now");
        assert_eq!(sentence("a ` alone").into_string(), "a ` alone");
    }

    #[test]
    fn thousands_are_apart() {
        assert_eq!(grouped(7), "7");
        assert_eq!(grouped(1234), "1\u{202f}234");
        assert_eq!(grouped(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(counted(1, "run", "runs"), "1 run");
        assert_eq!(counted(0, "run", "runs"), "0 runs");
    }

    #[test]
    fn a_query_is_encoded() {
        assert_eq!(query(&[("host", "a b&c"), ("x", "é")]), "?host=a%20b%26c&x=%C3%A9");
    }
}
