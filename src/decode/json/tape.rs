//! One JSON value as a flat list of nodes: a single pass, no recursion, nothing copied.
//!
//! The list is kept when the value turns out to be broken: what was complete up to there can still
//! be used. It is reused from one document to the next.

use std::ops::Range;

use crate::model::{Flaw, Source, limits};

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    True,
    False,
    /// Digits alone, with or without a sign.
    Whole,
    /// A number with a fraction or an exponent.
    Fraction,
    /// `NaN` and its like: not JSON, but there is no doubt what was meant.
    NotFinite,
    String,
    Array,
    Object,
}

/// What else is known of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Plain,
    /// A string with escapes.
    Escaped,
    /// A container that was not closed when the text broke off.
    Open,
    /// A value that cannot be used.
    Flawed(Flaw),
}

/// One value or key. The children of a container follow it; an object's keys and values alternate.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node {
    pub(super) kind: Kind,
    pub(super) state: State,
    /// The index of the node after this one and all that is in it.
    pub(super) next: usize,
    /// Its span in the source, quotes and brackets included.
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Where and why reading stopped inside a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stop {
    pub(super) at: usize,
    pub(super) why: Why,
}

/// Why a value is not JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// The text ends inside the value.
    End,
    /// A value should stand here.
    NoValue,
    /// A key in double quotes should stand here.
    NoKey,
    /// A `:` should stand here.
    NoColon,
    /// A `,` or the closing bracket should stand here.
    NoComma,
    /// A raw control character in a string.
    Control,
    /// A backslash and something that may not follow one.
    Escape,
    /// A number that breaks off, such as `1.`.
    Number,
    /// A number with a decimal comma, such as `0,42`.
    Comma,
    /// Not closed, and nested beyond the limit.
    Deep,
}

/// The nodes of one value, and the room to read the next.
#[derive(Debug, Default)]
pub(super) struct Tape {
    pub(super) nodes: Vec<Node>,
    /// Nodes that are flawed, in order.
    pub(super) flawed: Vec<usize>,
    /// Containers that are open.
    stack: Vec<usize>,
    /// Whether reading stopped right after a value, with nothing that closes it.
    loose: bool,
    /// Bytes looked at in vain for the end of what is nested too deep, in the whole text so far.
    vain: usize,
}

/// How often a text may be looked through in vain before the rest of it is given up, so that the
/// time for it stays in proportion to its length.
const VAIN: usize = 8;

enum Next {
    Value,
    /// A value, or the end of the array just opened.
    FirstElement,
    Key,
    /// A key, or the end of the object just opened.
    FirstKey,
    After,
}

impl Tape {
    /// Reads the value that starts at `at` and says where it ends. On an error the nodes are what
    /// was complete, in containers marked [`State::Open`].
    pub(super) fn read(&mut self, source: &Source<'_>, at: usize) -> Result<usize, Stop> {
        self.nodes.clear();
        self.flawed.clear();
        self.stack.clear();
        self.loose = false;
        self.values(source, at).map_err(|stop| {
            let stop = self.give_back_line(source.bytes(), stop);
            let stop = self.take_decimal_comma(source.bytes(), stop);
            self.break_off();
            stop
        })
    }

    /// `{"a":` and then nothing takes the document on the next line for its value, and breaks only
    /// at the one after it. The line that was taken is given back: the break is before it.
    fn give_back_line(&mut self, bytes: &[u8], stop: Stop) -> Stop {
        let starts_line = |at: usize| at > 0 && bytes.get(at - 1) == Some(&b'\n');
        let at_document = starts_line(stop.at) && matches!(bytes.get(stop.at), Some(b'{' | b'['));
        if !self.loose || !(stop.why == Why::End || at_document) {
            return stop;
        }
        let Some(&top) = self.stack.last().filter(|&&top| self.nodes[top].kind == Kind::Object)
        else {
            return stop;
        };
        let Some((key, value)) = self.members(top).last() else { return stop };
        let node = self.nodes[value];
        if !matches!(node.kind, Kind::Object | Kind::Array) || !starts_line(node.start) {
            return stop;
        }
        self.nodes.truncate(key);
        self.loose = false;
        Stop { at: node.start, why: Why::NoValue }
    }

    /// `{"load":0,42}` breaks at the key that is none, and `0` is no value that anybody meant: the
    /// break is before it.
    fn take_decimal_comma(&mut self, bytes: &[u8], stop: Stop) -> Stop {
        let Some(number) = self.nodes.last().filter(|node| node.kind == Kind::Whole) else {
            return stop;
        };
        let comma = number.end;
        let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
        if stop.why != Why::NoKey || stop.at != comma + 1 || !digit(stop.at) {
            return stop;
        }
        self.loose = true;
        Stop { at: number.start, why: Why::Comma }
    }

    /// Passes over what is nested too deep. Where it is never closed, reading stops so that it can
    /// resume at the next document: past the run of `[` that it began with, at most.
    fn pass_over(&mut self, bytes: &[u8], at: usize) -> Result<usize, Stop> {
        match skip_nested(bytes, at) {
            Err(Stop { why: Why::Deep, .. }) if self.vain <= VAIN * bytes.len() => {
                self.vain += bytes.len() - at;
                let opens = |b: &u8| matches!(b, b'[' | b' ' | b'\n' | b'\r' | b'\t');
                let run = bytes[at..].iter().take_while(|b| opens(b)).count();
                // The line feed before a document belongs to the document.
                let resume = (at + run).max(at + 1) - 1;
                Err(Stop { at: if run == 0 { at } else { resume }, why: Why::Deep })
            }
            other => other,
        }
    }

    fn values(&mut self, source: &Source<'_>, start: usize) -> Result<usize, Stop> {
        let bytes = source.bytes();
        let mut at = start;
        let mut next = Next::Value;
        loop {
            while let Some(b' ' | b'\n' | b'\r' | b'\t') = bytes.get(at) {
                at += 1;
            }
            let Some(&byte) = bytes.get(at) else {
                self.loose = matches!(next, Next::After);
                return Err(Stop { at, why: Why::End });
            };
            match next {
                Next::FirstElement if byte == b']' => {
                    at += 1;
                    self.close(at);
                    next = Next::After;
                }
                Next::Value | Next::FirstElement => {
                    (at, next) = self.value(source, at, byte)?;
                }
                Next::FirstKey if byte == b'}' => {
                    at += 1;
                    self.close(at);
                    next = Next::After;
                }
                Next::Key | Next::FirstKey => {
                    if byte != b'"' {
                        return Err(Stop { at, why: Why::NoKey });
                    }
                    at = self.string(source, at)?;
                    while let Some(b' ' | b'\n' | b'\r' | b'\t') = bytes.get(at) {
                        at += 1;
                    }
                    match bytes.get(at) {
                        Some(b':') => at += 1,
                        Some(_) => return Err(Stop { at, why: Why::NoColon }),
                        None => return Err(Stop { at, why: Why::End }),
                    }
                    while let Some(b' ' | b'\n' | b'\r' | b'\t') = bytes.get(at) {
                        at += 1;
                    }
                    // Here and not by another turn: half of all values come behind a key.
                    let Some(&byte) = bytes.get(at) else {
                        return Err(Stop { at, why: Why::End });
                    };
                    (at, next) = self.value(source, at, byte)?;
                }
                Next::After => {
                    let Some(&top) = self.stack.last() else { return Ok(at) };
                    let object = self.nodes[top].kind == Kind::Object;
                    match byte {
                        b',' if object => next = Next::Key,
                        b',' => next = Next::Value,
                        b'}' if object => self.close(at + 1),
                        b']' if !object => self.close(at + 1),
                        _ => {
                            self.loose = true;
                            return Err(Stop { at, why: Why::NoComma });
                        }
                    }
                    at += 1;
                }
            }
            if self.stack.is_empty() {
                return Ok(at);
            }
        }
    }

    /// Reads a value without children, or the bracket that opens one; says what comes next.
    #[inline]
    fn value(&mut self, source: &Source<'_>, at: usize, byte: u8) -> Result<(usize, Next), Stop> {
        let bytes = source.bytes();
        Ok(match byte {
            b'"' => (self.string(source, at)?, Next::After),
            b'0'..=b'9' | b'-' => (self.number(bytes, at)?, Next::After),
            b'{' | b'[' if self.stack.len() >= limits::DEPTH => {
                let end = self.pass_over(bytes, at)?;
                self.flawed.push(self.nodes.len());
                let kind = if byte == b'{' { Kind::Object } else { Kind::Array };
                self.push(kind, State::Flawed(Flaw::TooDeep), at, end);
                (end, Next::After)
            }
            b'{' => {
                self.open(Kind::Object, at);
                (at + 1, Next::FirstKey)
            }
            b'[' => {
                self.open(Kind::Array, at);
                (at + 1, Next::FirstElement)
            }
            _ => (self.word(bytes, at)?, Next::After),
        })
    }

    fn push(&mut self, kind: Kind, state: State, start: usize, end: usize) {
        let next = self.nodes.len() + 1;
        self.nodes.push(Node { kind, state, next, start, end });
    }

    fn open(&mut self, kind: Kind, at: usize) {
        self.stack.push(self.nodes.len());
        self.push(kind, State::Open, at, at);
    }

    fn close(&mut self, end: usize) {
        if let Some(top) = self.stack.pop() {
            let next = self.nodes.len();
            let node = &mut self.nodes[top];
            node.state = State::Plain;
            node.next = next;
            node.end = end;
        }
    }

    /// Reads a string and says where it ends.
    fn string(&mut self, source: &Source<'_>, start: usize) -> Result<usize, Stop> {
        let bytes = source.bytes();
        let mut at = start + 1;
        let mut state = State::Plain;
        loop {
            at = end_of_plain(bytes, at);
            if at >= bytes.len() {
                return Err(Stop { at: bytes.len(), why: Why::End });
            }
            match bytes[at] {
                b'"' => break,
                b'\\' => {
                    if state == State::Plain {
                        state = State::Escaped;
                    }
                    at = escape(bytes, at, &mut state)?;
                }
                _ => return Err(Stop { at, why: Why::Control }),
            }
        }
        let end = at + 1;
        if !source.is_text() && source.text(start + 1..at).is_none() {
            state = State::Flawed(Flaw::Utf8);
        }
        if let State::Flawed(_) = state {
            self.flawed.push(self.nodes.len());
        }
        self.push(Kind::String, state, start, end);
        Ok(end)
    }

    fn number(&mut self, bytes: &[u8], start: usize) -> Result<usize, Stop> {
        let digits = |mut at: usize| {
            while let Some(b'0'..=b'9') = bytes.get(at) {
                at += 1;
            }
            at
        };
        let broken = |at: usize| {
            let why = if at < bytes.len() { Why::Number } else { Why::End };
            Err(Stop { at, why })
        };
        let mut at = start + usize::from(bytes[start] == b'-');
        match bytes.get(at) {
            Some(b'0') => at += 1,
            Some(b'1'..=b'9') => at = digits(at),
            Some(b'N' | b'n' | b'I' | b'i') => return self.word(bytes, start),
            _ => return broken(at),
        }
        let mut kind = Kind::Whole;
        if bytes.get(at) == Some(&b'.') {
            kind = Kind::Fraction;
            let end = digits(at + 1);
            if end == at + 1 {
                return broken(end);
            }
            at = end;
        }
        if let Some(b'e' | b'E') = bytes.get(at) {
            kind = Kind::Fraction;
            at += 1;
            if let Some(b'+' | b'-') = bytes.get(at) {
                at += 1;
            }
            let end = digits(at);
            if end == at {
                return broken(end);
            }
            at = end;
        }
        self.push(kind, State::Plain, start, at);
        Ok(at)
    }

    fn word(&mut self, bytes: &[u8], start: usize) -> Result<usize, Stop> {
        let mut end = start + usize::from(bytes[start] == b'-');
        while let Some(b'a'..=b'z' | b'A'..=b'Z') = bytes.get(end) {
            end += 1;
        }
        let kind = match &bytes[start..end] {
            b"true" => Kind::True,
            b"false" => Kind::False,
            b"null" => Kind::Null,
            word => {
                let word = word.strip_prefix(b"-").unwrap_or(word);
                if !["nan", "inf", "infinity"]
                    .iter()
                    .any(|w| word.eq_ignore_ascii_case(w.as_bytes()))
                {
                    // A word that the end of the text cuts may be the start of a right one.
                    let why =
                        if end == bytes.len() && end > start { Why::End } else { Why::NoValue };
                    return Err(Stop { at: start, why });
                }
                Kind::NotFinite
            }
        };
        let state = if kind == Kind::NotFinite {
            self.flawed.push(self.nodes.len());
            State::Flawed(Flaw::NotFinite)
        } else {
            State::Plain
        };
        self.push(kind, state, start, end);
        Ok(end)
    }

    /// After an error: drops what is not complete and ends the open containers.
    fn break_off(&mut self) {
        if let Some(&top) = self.stack.last() {
            self.drop_half(top);
        }
        let (end, text_end) = (self.nodes.len(), self.nodes.last().map_or(0, |n| n.end));
        for &open in &self.stack {
            let node = &mut self.nodes[open];
            node.next = end;
            node.end = node.end.max(text_end);
        }
        self.flawed.retain(|&n| n < end);
    }

    /// Drops the last child of the open container `top` where it is not complete: a key without its
    /// value, or a number or word that nothing closes and that may be half of one (`12` of `128`).
    fn drop_half(&mut self, top: usize) {
        let object = self.nodes[top].kind == Kind::Object;
        let (mut at, mut last) = (top + 1, None);
        while at < self.nodes.len() {
            let value = at + usize::from(object);
            let Some(node) = self.nodes.get(value) else {
                self.nodes.truncate(at);
                return;
            };
            last = Some((at, node.kind));
            at = node.next;
        }
        if let Some((child, kind)) = last
            && self.loose
            && !matches!(kind, Kind::String | Kind::Array | Kind::Object)
        {
            self.nodes.truncate(child);
        }
    }

    /// The first flaw among the nodes of `range`, and where it stands.
    pub(super) fn flaw_in(&self, range: Range<usize>) -> Option<(Flaw, Range<usize>)> {
        let first = self.flawed.partition_point(|&n| n < range.start);
        let at = *self.flawed.get(first).filter(|n| range.contains(n))?;
        match self.nodes[at] {
            Node { state: State::Flawed(flaw), start, end, .. } => Some((flaw, start..end)),
            _ => None,
        }
    }

    /// Keys and values of the object at `object`, as indices.
    pub(super) fn members(&self, object: usize) -> Members<'_> {
        let node = &self.nodes[object];
        // While it is being read, an open object reaches to the end.
        let end = if node.state == State::Open { self.nodes.len() } else { node.next };
        Members { nodes: &self.nodes, at: object + 1, end }
    }
}

/// See [`Tape::members`].
pub(super) struct Members<'t> {
    nodes: &'t [Node],
    at: usize,
    end: usize,
}

impl Iterator for Members<'_> {
    type Item = (usize, usize);

    #[inline]
    fn next(&mut self) -> Option<(usize, usize)> {
        if self.at >= self.end {
            return None;
        }
        let pair = (self.at, self.at + 1);
        self.at = self.nodes.get(pair.1)?.next;
        Some(pair)
    }
}

/// The first byte from `at` on that a string does not hold as it is: a quote, a backslash or a
/// control character; else the end. Eight bytes at a time: this is where most of the text is passed.
fn end_of_plain(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    // The lowest bit that these set is right; those above it may be borrowed from it.
    let zero = |x: u64| x.wrapping_sub(ONES) & !x & HIGH;
    while let Some(Ok(eight)) = bytes.get(at..at + 8).map(<[u8; 8]>::try_from) {
        let x = u64::from_le_bytes(eight);
        let control = x.wrapping_sub(ONES * 0x20) & !x & HIGH;
        let special = control | zero(x ^ (ONES * 0x22)) | zero(x ^ (ONES * 0x5c));
        if special != 0 {
            return at + special.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    let special = rest.iter().position(|&b| b < 0x20 || b == b'"' || b == b'\\');
    special.map_or(bytes.len(), |n| at + n)
}

/// Checks the escape at `at` and says where it ends.
fn escape(bytes: &[u8], at: usize, state: &mut State) -> Result<usize, Stop> {
    match bytes.get(at + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 2),
        Some(b'u') => match hex4(bytes, at + 2) {
            Some(0xDC00..=0xDFFF) => {
                *state = State::Flawed(Flaw::Surrogate);
                Ok(at + 6)
            }
            Some(0xD800..=0xDBFF) => {
                let paired = bytes.get(at + 6..at + 8) == Some(b"\\u")
                    && matches!(hex4(bytes, at + 8), Some(0xDC00..=0xDFFF));
                if paired {
                    return Ok(at + 12);
                }
                *state = State::Flawed(Flaw::Surrogate);
                Ok(at + 6)
            }
            Some(_) => Ok(at + 6),
            None if bytes.len() < at + 6 => Err(Stop { at: bytes.len(), why: Why::End }),
            None => Err(Stop { at, why: Why::Escape }),
        },
        Some(_) => Err(Stop { at, why: Why::Escape }),
        None => Err(Stop { at: bytes.len(), why: Why::End }),
    }
}

fn hex4(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.iter().try_fold(0, |n, &b| Some(n * 16 + char::from(b).to_digit(16)?))
}

/// The text of a string without flaws that has escapes; `inner` is what stands between the quotes.
pub(super) fn unescape(inner: &str) -> String {
    let mut text = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some((plain, after)) = rest.split_once('\\') {
        text.push_str(plain);
        let mut chars = after.chars();
        match chars.next() {
            Some('b') => text.push('\u{8}'),
            Some('f') => text.push('\u{c}'),
            Some('n') => text.push('\n'),
            Some('r') => text.push('\r'),
            Some('t') => text.push('\t'),
            Some('u') => {
                let bytes = after.as_bytes();
                let high = hex4(bytes, 1).unwrap_or(0xFFFD);
                let (code, used) = match high {
                    0xD800..=0xDBFF => {
                        let low = hex4(bytes, 7).unwrap_or(0xDC00);
                        (0x10000 + ((high - 0xD800) << 10) + low.wrapping_sub(0xDC00), 11)
                    }
                    _ => (high, 5),
                };
                text.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
                rest = after.get(used..).unwrap_or_default();
                continue;
            }
            Some(c) => text.push(c),
            None => {}
        }
        rest = chars.as_str();
    }
    text.push_str(rest);
    text
}

/// Passes over a container without looking at more than brackets and strings, and says where it
/// ends: what lies beyond the depth limit costs its record, not the document.
fn skip_nested(bytes: &[u8], start: usize) -> Result<usize, Stop> {
    let mut depth = 0_usize;
    let mut at = start;
    let mut quoted = false;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'\\' if quoted => at += 1,
            b'"' => quoted = !quoted,
            // A string does not span lines: the quote was never closed.
            b'\n' if quoted => return Err(Stop { at: at - 1, why: Why::Control }),
            b'{' | b'[' if !quoted => depth += 1,
            b'}' | b']' if !quoted => {
                depth -= 1;
                if depth == 0 {
                    return Ok(at);
                }
            }
            _ => {}
        }
    }
    Err(Stop { at: bytes.len(), why: Why::Deep })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn plain_text_ends_where_it_ends(bytes in prop::collection::vec(any::<u8>(), 0..40), at in 0_usize..40) {
            let special = |b: &u8| *b < 0x20 || *b == b'"' || *b == b'\\';
            let at = at.min(bytes.len());
            let expected = bytes[at..].iter().position(special).map_or(bytes.len(), |n| at + n);
            prop_assert_eq!(end_of_plain(&bytes, at), expected);
        }

        #[test]
        fn strings_read_as_serde_json_reads_them(text in ".{0,40}") {
            let written = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(unescape(&written[1..written.len() - 1]), text);
        }

        #[test]
        fn what_serde_json_writes_and_reads_is_read(
            text in r#"[\[\]{}:,"0-9eE.+\- a\\ntrue]{0,24}"#,
        ) {
            // An array around it, since only arrays and objects are documents.
            let text = format!("[{text}]");
            let source = Source::new(text.as_bytes());
            let whole = Tape::default().read(&source, 0) == Ok(text.len());
            let serde = serde_json::from_str::<serde_json::Value>(&text);
            let range = serde.as_ref().is_err_and(|e| e.to_string().contains("out of range"));
            prop_assert!(range || whole == serde.is_ok(), "{text}: {whole}, {serde:?}");
        }
    }
}
