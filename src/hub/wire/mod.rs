//! The body of an upload, read with borrowed texts, one report at a time.
//!
//! What is taken is what `schemas/batch.v1.json` describes, and nothing else; a test holds the two
//! together. JSON Schema cannot say these, and they are asked for as well:
//!
//! - `seq` rises from report to report;
//! - no member that the schema names comes twice in one object, and no tag or code;
//! - whole numbers other than values, `seq` and counts that is, are written without fraction or
//!   exponent (`17`, not `17.0`), and no number is beyond the range of 64-bit floats;
//! - a time is in the calendar, and before the last hours of the year 9999;
//! - the contract in a report is no longer than 64 KiB;
//! - texts are measured in bytes where the schema counts characters, but for a refused value;
//! - nothing is nested deeper than 64, and the body has at most 16 MiB.

mod contract;
mod read;
mod text;
mod unpack;

use std::borrow::Cow;
use std::ops::Range;

use crate::model::{
    AgentId, Counts, MetricType, Outcome, PluginKey, RejectionCode, RunId, Seq, SpoolId, Status,
    Timestamp, Usage, limits,
};

use super::json::{Reader, Sort, Wrong};
use super::scalar::Scalar;

pub(crate) use contract::Contract;
pub(crate) use unpack::{Packing, unpack};

/// Most reports in one batch.
pub(crate) const REPORTS: usize = 1000;

/// A text, borrowed where it has no escapes.
pub(crate) type Text<'a> = Cow<'a, str>;

/// An upload whose reports are not yet looked into.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    pub(crate) agent: Agent<'a>,
    pub(crate) output: Text<'a>,
    pub(crate) sent: Timestamp,
}

/// Who sends it.
#[derive(Debug)]
pub(crate) struct Agent<'a> {
    pub(crate) id: AgentId,
    pub(crate) host: Text<'a>,
    pub(crate) version: Text<'a>,
    pub(crate) spool: SpoolId,
}

/// One report, with its place in the stream. The lists are used again for the next one.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    pub(crate) seq: Seq,
    pub(crate) plugin: Text<'a>,
    pub(crate) key: Option<PluginKey>,
    pub(crate) host: Text<'a>,
    pub(crate) run: RunId,
    pub(crate) replay_of: Option<RunId>,
    pub(crate) started: Timestamp,
    pub(crate) duration: f64,
    pub(crate) interval: Option<f64>,
    pub(crate) outcome: Outcome,
    pub(crate) status: Status,
    pub(crate) message: Option<Text<'a>>,
    pub(crate) metrics: Vec<Metric<'a>>,
    /// The tags of all metrics.
    pub(crate) tags: Vec<(Text<'a>, Text<'a>)>,
    pub(crate) rejected: Vec<Rejection<'a>>,
    pub(crate) warnings: Vec<Text<'a>>,
    pub(crate) counts: Counts,
    pub(crate) skipped: u64,
    pub(crate) leftovers: u64,
    pub(crate) usage: Usage,
    pub(crate) stderr: Option<Text<'a>>,
    /// Where in the body the plugin's contract begins, where the report has it.
    contract: Option<usize>,
}

/// One record.
#[derive(Debug)]
pub(crate) struct Metric<'a> {
    pub(crate) name: Text<'a>,
    pub(crate) value: Given<'a>,
    pub(crate) kind: MetricType,
    pub(crate) unit: Option<Text<'a>>,
    pub(crate) label: Option<Text<'a>>,
    /// Which of the report's tags are its own, in the order of their keys.
    pub(crate) tags: Range<usize>,
    pub(crate) time: Option<Timestamp>,
    pub(crate) warn: Option<Given<'a>>,
    pub(crate) crit: Option<Given<'a>>,
    pub(crate) min: Option<f64>,
    pub(crate) max: Option<f64>,
}

/// One refused record.
#[derive(Debug)]
pub(crate) struct Rejection<'a> {
    pub(crate) code: RejectionCode,
    pub(crate) path: Text<'a>,
    pub(crate) line: u32,
    pub(crate) column: u32,
    pub(crate) value: Text<'a>,
    pub(crate) rule: Option<Text<'a>>,
    pub(crate) message: Text<'a>,
    pub(crate) hint: Text<'a>,
}

/// A number, text, boolean or null.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Given<'a> {
    Plain(Scalar<'a>),
    /// A text that had escapes.
    Owned(String),
}

impl Given<'_> {
    pub(crate) fn scalar(&self) -> Scalar<'_> {
        match self {
            Self::Plain(scalar) => *scalar,
            Self::Owned(text) => Scalar::Text(text),
        }
    }
}

/// Why a body is not a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) kind: FaultKind,
    /// One sentence.
    pub(crate) message: String,
    /// JSON pointer into the body.
    pub(crate) pointer: String,
    /// From 1; 0 where the place is the whole body.
    pub(crate) line: usize,
    /// From 1, in bytes.
    pub(crate) column: usize,
    /// The report's index in the batch, and its seq where that could be read.
    pub(crate) report: Option<(usize, Option<u64>)>,
}

/// What sort of fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FaultKind {
    /// Not JSON.
    Syntax,
    /// JSON, but not what a batch looks like.
    Shape,
    /// More reports or bytes than one batch may carry.
    TooMany,
    /// Not compressed as it says, or not UTF-8.
    Encoding,
}

/// Reads the outside of a batch, up to its first report.
pub(crate) fn batch(body: &str) -> Result<(Batch<'_>, Reports<'_>), Fault> {
    read::batch(body).map_err(|wrong| fault(body, &wrong))
}

/// The reports of a batch, read one by one.
pub(crate) struct Reports<'a> {
    body: &'a str,
    reader: Reader<'a>,
    rest: read::Rest,
    index: usize,
    before: u64,
    report: Report<'a>,
    contract: Option<Contract<'a>>,
}

impl<'a> Reports<'a> {
    /// The next report, and its plugin's contract where it brings that; after the last, the rest
    /// of the body was read as well.
    pub(crate) fn next(&mut self) -> Result<Option<(&Report<'a>, Option<Contract<'a>>)>, Fault> {
        match self.read() {
            Ok(true) => {
                self.index += 1;
                Ok(Some((&self.report, self.contract)))
            }
            Ok(false) => Ok(None),
            Err((wrong, start)) => {
                let mut fault = fault(self.body, &wrong);
                if let Some(start) = start {
                    fault.report = Some((self.index, read::seq(self.body, start)));
                }
                Err(fault)
            }
        }
    }

    /// Fails with where the report starts, when it is inside of one.
    fn read(&mut self) -> Result<bool, (Wrong, Option<usize>)> {
        let more = self.rest.element(&mut self.reader).map_err(|wrong| (wrong, None))?;
        if !more {
            return Ok(false);
        }
        let start = self.reader.here();
        if self.index == REPORTS {
            return Err((read::too_many(start), None));
        }
        let in_report = |wrong| (wrong, Some(start));
        let seq_at = read::report(&mut self.reader, &mut self.report).map_err(in_report)?;
        self.contract = match self.report.contract {
            None => None,
            Some(start) => Some(contract::read(self.body, start).map_err(in_report)?),
        };
        let seq = self.report.seq.0;
        if seq <= self.before {
            let message = format!("seq {seq} after seq {}; send reports in order", self.before);
            return Err(in_report(super::json::wrong(seq_at, message)));
        }
        self.before = seq;
        Ok(true)
    }
}

fn whole(kind: FaultKind, message: String, pointer: &str) -> Fault {
    Fault { kind, message, pointer: pointer.to_owned(), line: 0, column: 0, report: None }
}

fn fault(body: &str, Wrong(wrong): &Wrong) -> Fault {
    let kind = match wrong.sort {
        Sort::Syntax => FaultKind::Syntax,
        Sort::Shape => FaultKind::Shape,
        Sort::TooMany => FaultKind::TooMany,
    };
    let at = wrong.at.min(body.len());
    let before = &body.as_bytes()[..at];
    let line = before.split(|b| *b == b'\n').count();
    let column = at - before.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1) + 1;
    let pointer = pointer_at(body, at);
    Fault { kind, message: wrong.message.to_string(), pointer, line, column, report: None }
}

/// The JSON pointer of the innermost value that is open at `offset`. For messages only: it reads
/// tokens, not grammar.
fn pointer_at(body: &str, offset: usize) -> String {
    enum Level<'a> {
        Object(&'a str),
        Array(usize),
    }
    let mut stack: Vec<Level<'_>> = Vec::new();
    let bytes = body.as_bytes();
    let mut at = 0;
    while at < offset.min(bytes.len()) {
        match bytes[at] {
            b'{' => stack.push(Level::Object("")),
            b'[' => stack.push(Level::Array(0)),
            b'}' | b']' => {
                stack.pop();
            }
            b',' => {
                if let Some(Level::Array(index)) = stack.last_mut() {
                    *index += 1;
                }
            }
            b'"' => {
                let start = at + 1;
                at = start;
                while at < bytes.len() && bytes[at] != b'"' {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                let end = at.min(bytes.len());
                let colon = bytes[end..].iter().skip(1).find(|b| !b.is_ascii_whitespace());
                if colon == Some(&b':')
                    && let Some(Level::Object(key)) = stack.last_mut()
                {
                    *key = body.get(start..end).unwrap_or_default();
                }
            }
            _ => {}
        }
        at += 1;
    }
    let mut pointer = String::new();
    for level in stack.iter().take(limits::DEPTH) {
        pointer.push('/');
        match level {
            Level::Object("") => {
                pointer.pop();
            }
            Level::Object(key) => {
                let shown: String = key.chars().take(limits::NAME).collect();
                pointer.push_str(&shown.replace('~', "~0").replace('/', "~1"));
            }
            Level::Array(index) => pointer.push_str(&index.to_string()),
        }
    }
    pointer
}

#[cfg(test)]
mod tests;
