//! The body of an upload, read with borrowed texts, one report at a time.
//!
//! The types here accept what `schemas/batch.v1.json` describes. They borrow from the body, because
//! a hub reads every metric exactly once and owns almost none of its texts afterwards.

use std::borrow::Cow;
use std::fmt;
use std::io::Read;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::model::{
    AgentId, Counts, MetricType, Outcome, PluginKey, PluginName, Rejection, RunId, Seq, SpoolId,
    Status, Timestamp, Usage, is_name, limits,
};

use super::store::Scalar;

/// Most reports in one batch.
pub(crate) const REPORTS: usize = 1000;
/// Longest name of a host or output, message or warning, in bytes.
const HOST: usize = 255;
const OUTPUT: usize = 128;
const MESSAGE: usize = 4096;
/// 4 KiB of stderr, each of whose bytes may have become a replacement character of three.
const STDERR: usize = 3 * 4096;

/// A text, borrowed where it has no escapes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(crate) struct Text<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

impl std::ops::Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// An upload whose reports are not yet looked into.
#[derive(Debug, Deserialize)]
pub(crate) struct Batch<'a> {
    #[serde(borrow)]
    pub(crate) agent: Agent<'a>,
    #[serde(borrow)]
    pub(crate) output: Text<'a>,
    pub(crate) sent: Timestamp,
    #[serde(borrow)]
    pub(crate) reports: Vec<&'a RawValue>,
}

/// Who sends it.
#[derive(Debug, Deserialize)]
pub(crate) struct Agent<'a> {
    pub(crate) id: AgentId,
    #[serde(borrow)]
    pub(crate) host: Text<'a>,
    #[serde(borrow)]
    pub(crate) version: Text<'a>,
    pub(crate) spool: SpoolId,
}

/// One report, with its place in the stream.
#[derive(Debug, Deserialize)]
pub(crate) struct Report<'a> {
    pub(crate) seq: Seq,
    pub(crate) plugin: PluginName,
    pub(crate) key: Option<PluginKey>,
    #[serde(borrow)]
    pub(crate) host: Text<'a>,
    pub(crate) run: RunId,
    pub(crate) started: Timestamp,
    pub(crate) duration: f64,
    pub(crate) interval: Option<f64>,
    pub(crate) outcome: Outcome,
    pub(crate) status: Status,
    #[serde(borrow)]
    pub(crate) message: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) metrics: Vec<Metric<'a>>,
    pub(crate) rejected: Vec<Rejection>,
    pub(crate) warnings: Vec<String>,
    pub(crate) counts: Counts,
    pub(crate) skipped: u64,
    pub(crate) leftovers: u64,
    pub(crate) usage: Usage,
    #[serde(default, borrow)]
    pub(crate) stderr: Option<Text<'a>>,
}

/// One record.
#[derive(Debug, Deserialize)]
pub(crate) struct Metric<'a> {
    #[serde(borrow)]
    pub(crate) name: Text<'a>,
    #[serde(borrow)]
    pub(crate) value: Given<'a>,
    #[serde(rename = "type")]
    pub(crate) kind: MetricType,
    #[serde(borrow)]
    pub(crate) unit: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) label: Option<Text<'a>>,
    #[serde(default, borrow)]
    pub(crate) tags: Pairs<'a>,
    pub(crate) time: Option<Timestamp>,
    #[serde(borrow)]
    pub(crate) warn: Option<Given<'a>>,
    #[serde(borrow)]
    pub(crate) crit: Option<Given<'a>>,
    pub(crate) min: Option<f64>,
    pub(crate) max: Option<f64>,
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

impl<'de: 'a, 'a> Deserialize<'de> for Given<'a> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Given<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, a string, a boolean or null")
            }

            fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
                Ok(Given::Plain(Scalar::Gap))
            }

            fn visit_bool<E: de::Error>(self, b: bool) -> Result<Self::Value, E> {
                Ok(Given::Plain(Scalar::Boolean(b)))
            }

            fn visit_i64<E: de::Error>(self, n: i64) -> Result<Self::Value, E> {
                Ok(Given::Plain(Scalar::Signed(n)))
            }

            fn visit_u64<E: de::Error>(self, n: u64) -> Result<Self::Value, E> {
                Ok(Given::Plain(i64::try_from(n).map_or(Scalar::Unsigned(n), Scalar::Signed)))
            }

            fn visit_f64<E: de::Error>(self, x: f64) -> Result<Self::Value, E> {
                Ok(Given::Plain(Scalar::Float(x)))
            }

            fn visit_borrowed_str<E: de::Error>(self, t: &'de str) -> Result<Self::Value, E> {
                Ok(Given::Plain(Scalar::Text(t)))
            }

            fn visit_str<E: de::Error>(self, t: &str) -> Result<Self::Value, E> {
                Ok(Given::Owned(t.to_owned()))
            }
        }

        d.deserialize_any(Any)
    }
}

/// Tags in the order of their keys, each key once.
#[derive(Debug, Default)]
pub(crate) struct Pairs<'a>(pub(crate) Vec<(Text<'a>, Text<'a>)>);

impl<'de: 'a, 'a> Deserialize<'de> for Pairs<'a> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Pairs<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs: Vec<(Text<'de>, Text<'de>)> = Vec::new();
                let mut sorted = true;
                while let Some(pair) = map.next_entry::<Text<'de>, Text<'de>>()? {
                    sorted &= pairs.last().is_none_or(|last| *last.0 < *pair.0);
                    pairs.push(pair);
                }
                if !sorted {
                    pairs.sort_by(|a, b| a.0.cmp(&b.0));
                    if pairs.windows(2).any(|two| two[0].0 == two[1].0) {
                        return Err(de::Error::custom("the same tag twice"));
                    }
                }
                Ok(Pairs(pairs))
            }
        }

        d.deserialize_map(Object)
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

/// How a body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    /// As it is.
    Plain,
    /// `Content-Encoding: zstd`
    Zstd,
    /// `Content-Encoding: gzip`
    Gzip,
}

/// Unpacks a body of at most `most` bytes; a bomb costs no more than that.
pub(crate) fn unpack(packed: &[u8], packing: Packing, most: usize) -> Result<String, Fault> {
    let broken = |what: &str| {
        whole(FaultKind::Encoding, format!("the body is not {what}, or is cut short"), "")
    };
    let limit = most as u64 + 1;
    let mut body = Vec::new();
    match packing {
        Packing::Plain => body.extend_from_slice(packed),
        Packing::Zstd => {
            let mut decoder =
                zstd::stream::read::Decoder::with_buffer(packed).map_err(|_| broken("zstd"))?;
            // A frame may ask for a window of gigabytes; none of ours needs more than the body.
            decoder.window_log_max(24).map_err(|_| broken("zstd"))?;
            decoder.take(limit).read_to_end(&mut body).map_err(|_| broken("zstd"))?;
        }
        Packing::Gzip => {
            flate2::bufread::MultiGzDecoder::new(packed)
                .take(limit)
                .read_to_end(&mut body)
                .map_err(|_| broken("gzip"))?;
        }
    }
    if body.len() > most {
        let message =
            format!("over {most} bytes after decompression; send fewer reports at a time");
        return Err(whole(FaultKind::TooMany, message, ""));
    }
    String::from_utf8(body).map_err(|_| broken("UTF-8"))
}

/// Reads the outside of a batch.
pub(crate) fn batch(body: &str) -> Result<Batch<'_>, Fault> {
    if let Some(at) = too_deep(body) {
        return Err(fault_at(body, at, FaultKind::Shape, "JSON nested too deep".to_owned()));
    }
    let batch: Batch<'_> = serde_json::from_str(body).map_err(|e| from_serde(body, 0, &e))?;
    if batch.reports.len() > REPORTS {
        let message =
            format!("{} reports in one batch; send at most {REPORTS}", batch.reports.len());
        return Err(whole(FaultKind::TooMany, message, "/reports"));
    }
    let texts = [
        (&batch.agent.host, HOST, "/agent/host"),
        (&batch.agent.version, OUTPUT, "/agent/version"),
        (&batch.output, OUTPUT, "/output"),
    ];
    for (text, most, pointer) in texts {
        if let Err(message) = one_line(text, most) {
            return Err(whole(FaultKind::Shape, message, pointer));
        }
    }
    Ok(batch)
}

/// What is asked of a report that does not read otherwise.
#[derive(Deserialize)]
struct Only {
    seq: u64,
}

/// Reads the `index`th report of a batch.
pub(crate) fn report<'a>(body: &str, raw: &'a RawValue, index: usize) -> Result<Report<'a>, Fault> {
    let offset = raw.get().as_ptr() as usize - body.as_ptr() as usize;
    let mut report: Report<'a> = serde_json::from_str(raw.get()).map_err(|e| {
        let mut fault = from_serde(body, offset, &e);
        let seq = serde_json::from_str(raw.get()).ok().map(|Only { seq }| seq);
        fault.report = Some((index, seq));
        fault
    })?;
    report.stderr = report.stderr.filter(|tail| !tail.is_empty());
    check(&report).map_err(|(path, message)| {
        let mut fault = whole(FaultKind::Shape, message, &format!("/reports/{index}{path}"));
        (fault.line, fault.column) = line_and_column(body, offset);
        fault.report = Some((index, Some(report.seq.0)));
        fault
    })?;
    Ok(report)
}

type Wrong = (String, String);

/// What the types alone do not say.
fn check(report: &Report<'_>) -> Result<(), Wrong> {
    let at = |path: &str| {
        let path = path.to_owned();
        move |message: String| (path, message)
    };
    if report.seq.0 == 0 || i64::try_from(report.seq.0).is_err() {
        return Err(at("/seq")("a seq is at least 1 and below 2^63".to_owned()));
    }
    one_line(&report.host, HOST).map_err(at("/host"))?;
    if let Some(message) = &report.message {
        at_most(message, MESSAGE).map_err(at("/message"))?;
    }
    if let Some(stderr) = &report.stderr {
        at_most(stderr, STDERR).map_err(at("/stderr"))?;
    }
    for (path, seconds) in [("/duration", Some(report.duration)), ("/interval", report.interval)] {
        if seconds.is_some_and(|s| !(0.0..=1e10).contains(&s)) {
            return Err(at(path)("not a number of seconds".to_owned()));
        }
    }
    if report.metrics.len() > limits::METRICS {
        return Err(at("/metrics")(format!("more than {} metrics", limits::METRICS)));
    }
    if report.rejected.len() > limits::REJECTIONS {
        return Err(at("/rejected")(format!("more than {} rejections", limits::REJECTIONS)));
    }
    if report.warnings.len() > limits::METRICS {
        return Err(at("/warnings")(format!("more than {} warnings", limits::METRICS)));
    }
    for (index, metric) in report.metrics.iter().enumerate() {
        check_metric(metric)
            .map_err(|(path, message)| (format!("/metrics/{index}{path}"), message))?;
    }
    Ok(())
}

fn check_metric(metric: &Metric<'_>) -> Result<(), (&'static str, String)> {
    if !is_name(&metric.name) || metric.name.len() > limits::NAME {
        return Err(("/name", "not a metric's name".to_owned()));
    }
    for (path, text) in [("/unit", &metric.unit), ("/label", &metric.label)] {
        if let Some(text) = text {
            at_most(text, limits::LABEL).map_err(|m| (path, m))?;
        }
    }
    if metric.tags.0.len() > limits::TAGS {
        return Err(("/tags", format!("more than {} tags", limits::TAGS)));
    }
    for (key, value) in &metric.tags.0 {
        at_most(key, limits::TAG_KEY).map_err(|m| ("/tags", m))?;
        at_most(value, limits::TAG_VALUE).map_err(|m| ("/tags", m))?;
    }
    for (path, mark) in [("/warn", &metric.warn), ("/crit", &metric.crit)] {
        match mark.as_ref().map(Given::scalar) {
            Some(Scalar::Boolean(_)) => {
                return Err((path, "not a number or a Nagios range".to_owned()));
            }
            Some(Scalar::Text(text)) => at_most(text, limits::LABEL).map_err(|m| (path, m))?,
            _ => {}
        }
    }
    let fits = match (metric.kind, metric.value.scalar()) {
        (_, Scalar::Gap)
        | (MetricType::Integer, Scalar::Signed(_) | Scalar::Unsigned(_))
        | (
            MetricType::Float | MetricType::Percent,
            Scalar::Signed(_) | Scalar::Unsigned(_) | Scalar::Float(_),
        )
        | (MetricType::Counter, Scalar::Unsigned(_))
        | (MetricType::Boolean, Scalar::Boolean(_)) => true,
        (MetricType::Integer, Scalar::Float(x)) => x.fract() == 0.0,
        (MetricType::Counter, Scalar::Signed(n)) => n >= 0,
        (MetricType::Counter, Scalar::Float(x)) => x >= 0.0,
        (MetricType::String, Scalar::Text(t)) => {
            return at_most(t, limits::TEXT).map_err(|m| ("/value", m));
        }
        _ => false,
    };
    if fits { Ok(()) } else { Err(("/value", format!("not a value of type {}", metric.kind))) }
}

fn at_most(text: &str, most: usize) -> Result<(), String> {
    if text.len() <= most {
        return Ok(());
    }
    Err(format!("{} bytes long; at most {most}", text.len()))
}

/// A name for people: not empty, no control characters.
fn one_line(text: &str, most: usize) -> Result<(), String> {
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err("empty, or with control characters".to_owned());
    }
    at_most(text, most)
}

fn whole(kind: FaultKind, message: String, pointer: &str) -> Fault {
    Fault { kind, message, pointer: pointer.to_owned(), line: 0, column: 0, report: None }
}

fn fault_at(body: &str, offset: usize, kind: FaultKind, message: String) -> Fault {
    let (line, column) = line_and_column(body, offset);
    Fault { kind, message, pointer: pointer_at(body, offset), line, column, report: None }
}

/// A serde error in the part of `body` that starts at `offset`.
fn from_serde(body: &str, offset: usize, error: &serde_json::Error) -> Fault {
    let part = &body[offset..];
    let start: usize =
        part.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    let at = (offset + start + error.column().saturating_sub(1)).min(body.len());
    let kind = if error.is_data() { FaultKind::Shape } else { FaultKind::Syntax };
    let message = error.to_string();
    let message = message.split(" at line ").next().unwrap_or_default().to_owned();
    fault_at(body, at, kind, message)
}

fn line_and_column(body: &str, offset: usize) -> (usize, usize) {
    let before = &body.as_bytes()[..offset];
    let line = before.split(|b| *b == b'\n').count();
    let column = offset - before.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1) + 1;
    (line, column)
}

/// Where `body` nests deeper than a batch of reports can.
fn too_deep(body: &str) -> Option<usize> {
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for (at, byte) in body.bytes().enumerate() {
        if quoted {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => quoted = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => quoted = true,
            b'{' | b'[' => {
                depth += 1;
                if depth > limits::DEPTH {
                    return Some(at);
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}

/// The JSON pointer of the innermost value that is open at `offset`. For messages only: it reads
/// tokens, not grammar.
pub(crate) fn pointer_at(body: &str, offset: usize) -> String {
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
mod tests {
    use super::*;

    #[test]
    fn a_pointer_names_the_place() {
        let body = r#"{"a":{"b/c":[1,{"d":"x, \" y","e":true}]}}"#;
        for (needle, pointer) in
            [("true", "/a/b~1c/1/e"), ("1,", "/a/b~1c/0"), (r#""x,"#, "/a/b~1c/1/d")]
        {
            assert_eq!(pointer_at(body, body.find(needle).unwrap()), pointer);
        }
        assert_eq!(pointer_at("", 10), "");
        assert_eq!(pointer_at("\"\\", 10), "");
    }

    #[test]
    fn depth_is_bounded_and_strings_do_not_count() {
        assert!(too_deep(&"[".repeat(64)).is_none());
        assert_eq!(too_deep(&"[".repeat(65)), Some(64));
        assert!(too_deep(&format!("\"{}\\\"[\"", "[".repeat(65))).is_none());
        assert!(too_deep(&"[]".repeat(1000)).is_none());
    }
}
