//! Native JSON: a sequence of documents, however they are laid out.
//!
//! Documents may be pretty-printed, one per line, or several on a line. A document that breaks keeps
//! what was complete before the break, costs one refusal for its rest, and reading goes on at the
//! next line that starts with `{` or `[`. Lines that are not JSON cost one refusal per group.

mod forms;
mod tape;
mod values;
mod words;

use std::ops::Range;

use crate::model::{Extent, Records, RejectionCode, Source, Words};

use super::End;
use forms::Reader;
use tape::{Stop, Tape, Why};

const BOM: &[u8] = b"\xef\xbb\xbf";

/// Hands over what is in `source`.
pub(super) fn decode(source: &Source<'_>, end: End, into: &mut dyn Records) {
    let bytes = source.bytes();
    let mut tape = Tape::default();
    let mut reader = Reader::default();
    let mut at = 0;
    loop {
        at = skip_white(bytes, at);
        let Some(&byte) = bytes.get(at) else { return };
        if !matches!(byte, b'{' | b'[') {
            let stretch = at..end_of_stretch(bytes, at);
            at = stretch.end;
            refuse_stretch(source, stretch, end, into);
            continue;
        }
        match tape.read(source, at) {
            Ok(next) => {
                reader.document(source, &tape, Extent::Whole, into);
                at = next;
            }
            Err(stop) => {
                reader.document(source, &tape, Extent::Part, into);
                let next = next_document(bytes, stop.at);
                refuse_rest(source, &tape, Broken { start: at, stop, next }, end, into);
                at = next;
            }
        }
    }
}

fn skip_white(bytes: &[u8], mut at: usize) -> usize {
    loop {
        match bytes.get(at) {
            Some(b' ' | b'\n' | b'\r' | b'\t') => at += 1,
            Some(0xef) if bytes[at..].starts_with(BOM) => at += BOM.len(),
            _ => return at,
        }
    }
}

/// The first line at or after `at` whose first byte opens a document; else the end.
fn next_document(bytes: &[u8], mut at: usize) -> usize {
    if at > 0 && bytes.get(at - 1) != Some(&b'\n') {
        at = next_line(bytes, at);
    }
    while at < bytes.len() {
        let line = bytes[at..].strip_prefix(BOM).unwrap_or(&bytes[at..]);
        if let Some(b'{' | b'[') = line.first() {
            return at;
        }
        at = next_line(bytes, at);
    }
    bytes.len()
}

/// The first line after that of `at` that looks like a document; else the end.
fn end_of_stretch(bytes: &[u8], at: usize) -> usize {
    let mut line = next_line(bytes, at);
    while line < bytes.len() {
        if let Some(b'{' | b'[') = bytes.get(skip_white(bytes, line)) {
            return line;
        }
        // Blank lines were passed over just now; skip them here too, or many of them cost a square.
        line = next_line(bytes, skip_white(bytes, line));
    }
    bytes.len()
}

fn next_line(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    rest.iter().position(|&b| b == b'\n').map_or(bytes.len(), |n| at + n + 1)
}

/// Refuses lines that are not JSON.
fn refuse_stretch(source: &Source<'_>, stretch: Range<usize>, end: End, into: &mut dyn Records) {
    let bytes = &source.bytes()[stretch.clone()];
    let half_line =
        end == End::Cut && !bytes.contains(&b'\n') && stretch.end == source.bytes().len();
    let text = source.text(stretch.clone());
    let code = match text {
        _ if half_line => RejectionCode::Truncated,
        None => RejectionCode::JsonUtf8,
        Some(_) => RejectionCode::NotJson,
    };
    into.refuse(source, code, stretch, &|| {
        let (message, hint) = match text {
            _ if half_line => truncated_words(),
            Some(text) => words::not_json(text),
            None => (
                "bytes that are not UTF-8".to_owned(),
                if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
                    "this looks like UTF-16; print UTF-8".to_owned()
                } else {
                    "print UTF-8; diagnostics belong on stderr".to_owned()
                },
            ),
        };
        Words { path: String::new(), rule: None, message, hint }
    });
}

/// A document that cannot be read to its end.
#[derive(Clone, Copy)]
struct Broken {
    start: usize,
    stop: Stop,
    /// Where reading goes on.
    next: usize,
}

fn refuse_rest(source: &Source<'_>, tape: &Tape, broken: Broken, end: End, into: &mut dyn Records) {
    let Broken { start, stop, next } = broken;
    let cut = end == End::Cut && matches!(stop.why, Why::End | Why::Deep);
    let code = match stop.why {
        _ if cut => RejectionCode::Truncated,
        Why::Deep => RejectionCode::TooDeep,
        _ if bad_byte(source, stop.at) => RejectionCode::JsonUtf8,
        _ => RejectionCode::JsonSyntax,
    };
    // There is nothing to see at the end of the text; what was never closed starts the story.
    let from = if matches!(stop.why, Why::End | Why::Deep) { start } else { stop.at };
    into.refuse(source, code, from..next, &|| {
        let (message, hint) = if cut { truncated_words() } else { words::syntax(source, stop) };
        Words { path: forms::open_path(source, tape), rule: None, message, hint }
    });
}

fn truncated_words() -> (String, String) {
    (
        "the program was cut off in the middle of this".to_owned(),
        "print a record per line as soon as it is known, or raise `timeout` or `limits.stdout`"
            .to_owned(),
    )
}

/// Whether what stands at `at` is no UTF-8 character.
fn bad_byte(source: &Source<'_>, at: usize) -> bool {
    if source.is_text() {
        return false;
    }
    let rest = source.bytes().get(at..).unwrap_or_default();
    let head = &rest[..rest.len().min(4)];
    std::str::from_utf8(head).is_err_and(|e| e.valid_up_to() == 0)
}
