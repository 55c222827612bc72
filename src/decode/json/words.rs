//! What to say of text that is not JSON: what is wrong, and what to type instead.

use crate::model::Source;

use super::tape::{Stop, Why};

/// Message and hint for text that starts like JSON and breaks at `stop`.
pub(super) fn syntax(source: &Source<'_>, stop: Stop) -> (String, String) {
    let rest = source.bytes().get(stop.at..).unwrap_or_default();
    let before = source.bytes().get(..stop.at).unwrap_or_default();
    let message = match stop.why {
        Why::End => "the text ends inside a value".to_owned(),
        Why::Control => format!("{} inside a string", found(rest)),
        Why::Escape => "a backslash that starts no escape".to_owned(),
        Why::Number => format!("the number breaks off before {}", found(rest)),
        Why::Comma => "a comma inside a number".to_owned(),
        Why::Deep => "nested deeper than 64, and never closed".to_owned(),
        Why::NoValue => format!("expected a value, found {}", found(rest)),
        Why::NoKey => format!("expected a key in double quotes, found {}", found(rest)),
        Why::NoColon => format!("expected `:` after the key, found {}", found(rest)),
        Why::NoComma => format!("expected `,` or the closing bracket, found {}", found(rest)),
    };
    (message, hint(stop.why, before, rest).to_owned())
}

fn hint(why: Why, before: &[u8], rest: &[u8]) -> &'static str {
    let first = rest.first().copied().unwrap_or(0);
    let last = before.trim_ascii_end().last().copied().unwrap_or(0);
    let smart = ["\u{201c}", "\u{201d}", "\u{2018}", "\u{2019}", "\u{ab}", "\u{bb}"]
        .iter()
        .any(|quote| rest.starts_with(quote.as_bytes()));
    match why {
        Why::End => "close every string, array and object before the program ends",
        Why::Deep => "nest less deeply; metrics need no more than 4 levels",
        Why::Control if first == b'\r' => {
            "the script, or what it reads, has Windows line ends: `sed -i 's/\\r$//' FILE`, or pipe it \
             through `tr -d '\\r'`"
        }
        Why::Control if first == b'\n' => {
            "close the string on its line, or write a line break as `\\n`"
        }
        Why::Control => "escape it: a tab is `\\t`; `jq -n --arg` and `talaia emit` do so",
        Why::Comma => {
            "is it a decimal comma? set `LC_ALL=C`, so that numbers have a point; write nothing between \
             thousands"
        }
        Why::Escape => "write a backslash as `\\\\`",
        Why::Number => "write digits after `.`, `e` and `-`: `1.0`, `1e3`",
        _ if smart => "use straight double quotes",
        _ if first == b'\'' => "use double quotes; in Python print `json.dumps(…)`",
        _ if first == b'#' || rest.starts_with(b"//") || rest.starts_with(b"/*") => {
            "JSON has no comments; leave it out"
        }
        Why::NoKey if first == b'}' => "remove the comma before `}`",
        Why::NoKey if first.is_ascii_alphabetic() || first == b'_' => {
            "put the key in double quotes; in Node print `JSON.stringify(…)`"
        }
        Why::NoKey => "put the key in double quotes",
        Why::NoValue if first == b']' => "remove the comma before `]`",
        Why::NoValue if matches!(first, b'}' | b',') => {
            "the value is empty, perhaps an unset variable; write `null` for a gap"
        }
        Why::NoValue if rest.starts_with(b"None") => {
            "write `null`; in Python print `json.dumps(…)`"
        }
        Why::NoValue if rest.starts_with(b"True") => {
            "write `true`; in Python print `json.dumps(…)`"
        }
        Why::NoValue if rest.starts_with(b"False") => {
            "write `false`; in Python print `json.dumps(…)`"
        }
        Why::NoValue if first == b'.' => "write a digit before the point: `0.5`, not `.5`",
        Why::NoValue if first == b'+' => "leave out the `+`",
        Why::NoValue if first == b'=' || first == b'$' => "put the text in double quotes",
        Why::NoValue if rest.starts_with(b"undefined") => "write `null` for a gap",
        Why::NoValue if last == b'[' && first.is_ascii_alphabetic() => {
            "print diagnostics to stderr, and text in double quotes"
        }
        Why::NoValue => "put text in double quotes",
        Why::NoColon if first == b'=' => "write `:` between key and value",
        Why::NoColon => "write `\"key\": value`",
        Why::NoComma if matches!(last, b'0') && first.is_ascii_digit() => {
            "numbers have no leading zeros: write `7`, not `07`"
        }
        Why::NoComma if matches!(last, b'0') && matches!(first, b'x' | b'X') => {
            "write the number in decimal, or as a string"
        }
        Why::NoComma if last.is_ascii_digit() && (first.is_ascii_alphabetic() || first == b'%') => {
            "put a unit in `unit`, not behind the number"
        }
        Why::NoComma if last == b'"' && first.is_ascii_alphanumeric() => {
            "write a double quote inside a string as `\\\"`"
        }
        Why::NoComma if matches!(first, b'"' | b'{' | b'[') => "put a comma between the two",
        Why::NoComma if first == b'}' => "the array before it is not closed: write `]` first",
        Why::NoComma if first == b']' => "the object before it is not closed: write `}` first",
        Why::NoComma => "put a comma between members, and close what you opened",
    }
}

/// The character at the start of `rest`, to show.
fn found(rest: &[u8]) -> String {
    let Some(&first) = rest.first() else { return "the end".to_owned() };
    match first {
        b'\n' => "a line break".to_owned(),
        b'\r' => "a carriage return".to_owned(),
        b'\t' => "a tab".to_owned(),
        0..0x20 | 0x7f => format!("the control character 0x{first:02x}"),
        b'`' => "a backquote".to_owned(),
        0x20..0x7f => format!("`{}`", char::from(first)),
        _ => {
            let head = &rest[..rest.len().min(4)];
            let text = match std::str::from_utf8(head) {
                Ok(text) => text,
                Err(error) => std::str::from_utf8(&head[..error.valid_up_to()]).unwrap_or_default(),
            };
            match text.chars().next() {
                Some(c) => format!("`{c}`"),
                None => format!("the byte 0x{first:02x}, which is not UTF-8"),
            }
        }
    }
}

/// What else it may be that monitoring programs print.
fn foreign(text: &str) -> Option<&'static str> {
    let first = text.lines().next()?;
    let nagios =
        ["OK", "WARNING", "CRITICAL", "UNKNOWN"].iter().any(|word| first.starts_with(word));
    if nagios && first.contains('|') {
        Some("this is what Nagios plugins print, not JSON")
    } else if first.starts_with("# HELP ") || first.starts_with("# TYPE ") {
        Some("this is what Prometheus exporters print, not JSON")
    } else {
        None
    }
}

/// `users: 3` and `users=3` as JSON.
fn pair(text: &str) -> Option<String> {
    if text.contains('\n') {
        return None;
    }
    let (name, value) = text.split_once('=').or_else(|| text.split_once(':'))?;
    let (name, value) = (name.trim(), value.trim());
    let good = crate::model::is_name(name) && value.len() <= 40 && value.parse::<f64>().is_ok();
    good.then(|| format!("{{\"{name}\": {value}}}"))
}

/// Message and hint for lines that are not JSON.
pub(super) fn not_json(text: &str) -> (String, String) {
    let text = text.trim();
    let (message, hint) = if text.parse::<f64>().is_ok() {
        ("a bare number is no document", "name it: `{\"name\": 1}`")
    } else if text.starts_with(',') {
        ("a comma between documents", "leave the comma out, or put the documents in an array")
    } else if text.starts_with(['}', ']']) {
        ("a closing bracket that nothing opened", "check that brackets come in pairs")
    } else if text.starts_with('"') {
        (
            "text outside of a document",
            "a document is an object or an array, such as `{\"load\": 1}`",
        )
    } else if let Some(format) = foreign(text) {
        (format, "have the program print JSON; `awk` or `jq` can turn one into the other")
    } else if let Some(pair) = pair(text) {
        return ("not JSON".to_owned(), format!("print `{pair}`; diagnostics go to stderr"));
    } else {
        ("not JSON", "print diagnostics to stderr: `echo text >&2`")
    };
    (message.to_owned(), hint.to_owned())
}
