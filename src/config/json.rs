//! JSON with the place of every key and value.
//!
//! `serde_json` decides what is JSON and words the errors; the walk here only finds the places in a
//! text already known to be good.

use std::ops::Range;

use super::node::{Entry, Kind, Node, Place, SyntaxError};

/// Reads one JSON document.
pub(super) fn parse_json(text: &str, file: usize) -> (Node, Vec<SyntaxError>) {
    let empty = || Node { place: Place { file, span: 0..0 }, kind: Kind::Table(Vec::new()) };
    if let Err(error) = serde_json::from_str::<serde_json::Value>(text) {
        let message = error.to_string();
        let message = message.split(" at line ").next().unwrap_or_default().to_owned();
        return (empty(), vec![(message, place_of(text, error.line(), error.column()))]);
    }
    let mut walk = Walk { text, at: 0, file, errors: Vec::new() };
    let node = walk.value();
    (node.unwrap_or_else(empty), walk.errors)
}

/// `text` with comments (`//`, `#`, `/* */`) and commas before a closing bracket turned to spaces, so
/// that what is left is plain JSON with everything at its place.
pub(super) fn plain_json(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut plain = bytes.to_vec();
    let blank = |plain: &mut [u8], range: Range<usize>| {
        for at in range.filter(|at| bytes[*at] != b'\n') {
            plain[at] = b' ';
        }
    };
    let (mut at, mut comma) = (0, None);
    while let Some(byte) = bytes.get(at) {
        let rest = &bytes[at..];
        let length = match byte {
            b'"' => {
                let mut end = 1;
                while let Some(byte) = rest.get(end).filter(|byte| **byte != b'"') {
                    end += if *byte == b'\\' { 2 } else { 1 };
                }
                end + 1
            }
            b'#' => line(rest),
            b'/' if rest.starts_with(b"//") => line(rest),
            b'/' if rest.starts_with(b"/*") => {
                rest.windows(2).skip(2).position(|two| two == b"*/").map_or(rest.len(), |n| n + 4)
            }
            _ => 1,
        };
        let end = (at + length).min(bytes.len());
        match byte {
            b'#' => blank(&mut plain, at..end),
            b'/' if length > 1 => blank(&mut plain, at..end),
            b',' => comma = Some(at),
            b']' | b'}' => {
                if let Some(comma) = comma.take() {
                    plain[comma] = b' ';
                }
            }
            byte if byte.is_ascii_whitespace() => {}
            _ => comma = None,
        }
        at = end;
    }
    // Only ASCII was put in, and whole comments were taken out.
    String::from_utf8(plain).unwrap_or_default()
}

/// How long the rest of a line is.
fn line(rest: &[u8]) -> usize {
    rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len())
}

/// The one character at a line and column, both from 1.
fn place_of(text: &str, line: usize, column: usize) -> Range<usize> {
    let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let mut at = (start + column.saturating_sub(1)).min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    let end = text[at..].chars().next().map_or(at, |c| at + c.len_utf8());
    at..end
}

struct Walk<'a> {
    text: &'a str,
    at: usize,
    file: usize,
    errors: Vec<SyntaxError>,
}

// The text has passed `serde_json`, which bounds its depth at 128; `None` never comes for such a
// text, and is no panic if that were wrong.
impl Walk<'_> {
    fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while bytes.get(self.at).is_some_and(|b| b" \t\r\n,:".contains(b)) {
            self.at += 1;
        }
        bytes.get(self.at).copied()
    }

    fn value(&mut self) -> Option<Node> {
        let first = self.peek()?;
        let start = self.at;
        let kind = match first {
            b'{' => self.table()?,
            b'[' => self.array()?,
            b'"' => Kind::Text(self.string()?),
            _ => self.scalar()?,
        };
        Some(Node { place: self.place(start), kind })
    }

    fn place(&self, start: usize) -> Place {
        Place { file: self.file, span: start..self.at }
    }

    fn string(&mut self) -> Option<String> {
        let start = self.at;
        let bytes = self.text.as_bytes();
        self.at += 1;
        while *bytes.get(self.at)? != b'"' {
            self.at += if bytes[self.at] == b'\\' { 2 } else { 1 };
        }
        self.at += 1;
        serde_json::from_str(self.text.get(start..self.at)?).ok()
    }

    fn scalar(&mut self) -> Option<Kind> {
        let start = self.at;
        let bytes = self.text.as_bytes();
        while bytes.get(self.at).is_some_and(|b| !b" \t\r\n,:]}".contains(b)) {
            self.at += 1;
        }
        let word = self.text.get(start..self.at)?;
        Some(match word {
            "null" => Kind::Null,
            "true" => Kind::Boolean(true),
            "false" => Kind::Boolean(false),
            _ => match word.parse::<i64>() {
                Ok(n) => Kind::Integer(n),
                Err(_) => Kind::Float(word.parse().ok()?),
            },
        })
    }

    fn array(&mut self) -> Option<Kind> {
        self.at += 1;
        let mut items = Vec::new();
        while self.peek()? != b']' {
            items.push(self.value()?);
        }
        self.at += 1;
        Some(Kind::Array(items))
    }

    fn table(&mut self) -> Option<Kind> {
        self.at += 1;
        let mut entries: Vec<Entry> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        while self.peek()? != b'}' {
            let start = self.at;
            let key = self.string()?;
            let place = self.place(start);
            let value = self.value()?;
            if !seen.insert(key.clone()) {
                self.errors.push((format!("duplicate key `{key}`"), place.span));
                continue;
            }
            entries.push(Entry { key, place, value });
        }
        self.at += 1;
        Some(Kind::Table(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_knows_its_place() {
        let text = "{\"a\": [1, -2.5, \"x\\\"y\"],\n \"b\": {\"c\": null, \"d\": true}}";
        let (node, errors) = parse_json(text, 0);
        assert!(errors.is_empty());
        let Some(Kind::Array(items)) = node.get("a").map(|n| &n.kind) else { panic!("no array") };
        let words: Vec<&str> = items.iter().map(|n| &text[n.place.span.clone()]).collect();
        assert_eq!(words, ["1", "-2.5", "\"x\\\"y\""]);
        assert_eq!(items[2].text(), Some("x\"y"));
        let d = node.get("b").and_then(|n| n.get("d")).unwrap();
        assert_eq!(&text[d.place.span.clone()], "true");
    }

    #[test]
    fn comments_and_last_commas_leave_json_where_it_was() {
        let text = "{ # one\n \"a\": \"x // # y\", // two é\n /* , } */ \"b\": [1, 2, ],\n}\n";
        let plain = plain_json(text);
        assert_eq!(plain.len(), text.len());
        let value: serde_json::Value = serde_json::from_str(&plain).unwrap();
        assert_eq!(value, serde_json::json!({"a": "x // # y", "b": [1, 2]}));
        for bad in ["{\"a\": 1,, }", "{\"a", "/* ", "\"\\", "/"] {
            assert!(serde_json::from_str::<serde_json::Value>(&plain_json(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn errors_say_where() {
        let (_, errors) = parse_json("{\n  \"a\": 1,\n}", 0);
        assert_eq!(errors, [("trailing comma".to_owned(), 12..13)]);
        let (_, errors) = parse_json("{\"a\": 1, \"a\": 2}", 0);
        assert_eq!(errors, [("duplicate key `a`".to_owned(), 9..12)]);
        assert_eq!(parse_json("", 0).1.len(), 1);
        assert_eq!(parse_json("{\"a\": \"é", 0).1.len(), 1);
    }
}
