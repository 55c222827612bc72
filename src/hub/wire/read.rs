//! A batch, member by member.

use std::collections::BTreeMap;
use std::str::FromStr;

use uuid::Uuid;

use crate::hub::json::{Detail, Number, Open, Read, Reader, Sort, Wrong, wrong};
use crate::hub::scalar::Scalar;
use crate::model::{
    Counts, JsonKind, MetricType, Outcome, RejectionCode, Rung, Seq, Status, Stream, Timestamp,
    Usage, limits,
};

use super::text::{self, Checked};
use super::{Agent, Batch, Given, Metric, REPORTS, Rejection, Report, Reports, Text};

/// Longest name of a host or output, message or warning, in bytes.
const HOST: usize = 255;
const OUTPUT: usize = 128;
const MESSAGE: usize = 4096;
/// 4 KiB of stderr, each of whose bytes may have become a replacement character of three.
const STDERR: usize = 3 * 4096;
/// Longest duration or interval, in seconds: three hundred years.
const SECONDS: f64 = 1e10;

pub(super) fn too_many(at: usize) -> Wrong {
    let message = format!("over {REPORTS} reports in one batch; send fewer at a time");
    Wrong(Box::new(Detail { at, sort: Sort::TooMany, message: message.into() }))
}

const BATCH: &[&str] = &["agent", "output", "sent", "reports"];
const AGENT: &[&str] = &["id", "host", "version", "spool"];
const REPORT: &[&str] = &[
    "seq",
    "plugin",
    "key",
    "host",
    "run",
    "started",
    "duration",
    "interval",
    "outcome",
    "status",
    "message",
    "metrics",
    "rejected",
    "warnings",
    "counts",
    "skipped",
    "leftovers",
    "usage",
    // These may be left out.
    "stderr",
    "replay_of",
    "contract",
];
const METRIC: &[&str] =
    &["name", "value", "type", "unit", "label", "tags", "time", "warn", "crit", "min", "max"];
const REJECTION: &[&str] = &["code", "path", "line", "column", "value", "message", "hint", "rule"];
const COUNTS: &[&str] = &["produced", "accepted", "rejected"];
const USAGE: &[&str] = &["cpu", "max_rss", "stdout", "stderr"];
const OUTCOME: &[&str] = &["kind", "code", "signal", "reached", "stream", "limit", "error"];

/// What follows once the reports are read.
pub(super) enum Rest {
    /// In the array; after it, the rest of the batch.
    Whole {
        array: Open,
        batch: Open,
    },
    /// In the array; what is around it was read before.
    Array(Open),
    Done,
}

impl Rest {
    /// Whether there is another report.
    pub(super) fn element(&mut self, reader: &mut Reader<'_>) -> Read<bool> {
        let array = match self {
            Self::Whole { array, .. } | Self::Array(array) => array,
            Self::Done => return Ok(false),
        };
        if reader.element(array)? {
            return Ok(true);
        }
        if let Self::Whole { batch, .. } = self {
            // What has a name comes once, and all of that was there already.
            while reader.member(batch, BATCH, BATCH.len())?.is_some() {
                reader.skip()?;
            }
            reader.end()?;
        }
        *self = Self::Done;
        Ok(false)
    }
}

pub(super) fn batch(body: &str) -> Read<(Batch<'_>, Reports<'_>)> {
    let mut reader = Reader::new(body);
    let mut open = reader.object("a batch")?;
    let (mut agent, mut output, mut sent) = (None, None, None);
    let mut reports_at = None;
    let rest = loop {
        match reader.member(&mut open, BATCH, BATCH.len())? {
            Some("agent") => agent = Some(read_agent(&mut reader)?),
            Some("output") => {
                output = Some(checked(&mut reader, |t| text::one_line(t, OUTPUT))?);
            }
            Some("sent") => sent = Some(time(&mut reader)?),
            Some("reports") if agent.is_some() && output.is_some() && sent.is_some() => {
                let array = reader.array("an array of reports")?;
                break Rest::Whole { array, batch: open };
            }
            Some("reports") => {
                reports_at = Some(reader.here());
                reader.skip()?;
            }
            Some(_) => reader.skip()?,
            None => {
                reader.end()?;
                reader = Reader::from(body, reports_at.unwrap_or(0), 1);
                break Rest::Array(reader.array("an array of reports")?);
            }
        }
    };
    let (Some(agent), Some(output), Some(sent)) = (agent, output, sent) else {
        // The members are counted above; this cannot be.
        return Err(wrong(0, "not a batch"));
    };
    let reports =
        Reports { body, reader, rest, index: 0, before: 0, report: empty(), contract: None };
    Ok((Batch { agent, output, sent }, reports))
}

fn read_agent<'a>(reader: &mut Reader<'a>) -> Read<Agent<'a>> {
    let mut agent = Agent {
        id: Uuid::nil().into(),
        host: Text::Borrowed(""),
        version: Text::Borrowed(""),
        spool: Uuid::nil().into(),
    };
    let mut open = reader.object("an agent")?;
    while let Some(name) = reader.member(&mut open, AGENT, AGENT.len())? {
        match name {
            "id" => agent.id = uuid(reader)?.into(),
            "host" => agent.host = checked(reader, |t| text::one_line(t, HOST))?,
            "version" => agent.version = checked(reader, |t| text::one_line(t, OUTPUT))?,
            "spool" => agent.spool = uuid(reader)?.into(),
            _ => reader.skip()?,
        }
    }
    Ok(agent)
}

/// A report before it is read.
fn empty<'a>() -> Report<'a> {
    Report {
        seq: Seq(0),
        plugin: Text::Borrowed(""),
        key: None,
        host: Text::Borrowed(""),
        run: Uuid::nil().into(),
        replay_of: None,
        started: Timestamp::from(std::time::UNIX_EPOCH),
        duration: 0.0,
        interval: None,
        outcome: Outcome::Stopped,
        status: Status::Unknown,
        message: None,
        metrics: Vec::new(),
        tags: Vec::new(),
        rejected: Vec::new(),
        warnings: Vec::new(),
        counts: Counts::default(),
        skipped: 0,
        leftovers: 0,
        usage: Usage::default(),
        stderr: None,
        contract: None,
    }
}

/// The seq of the report that starts at `start`, where it has one.
pub(super) fn seq(body: &str, start: usize) -> Option<u64> {
    let mut reader = Reader::from(body, start, 2);
    let mut open = reader.object("").ok()?;
    while let Some(name) = reader.key(&mut open).ok()? {
        if name == "seq" {
            return reader.whole(u64::MAX).ok();
        }
        reader.skip().ok()?;
    }
    None
}

/// Reads one report and says where its seq stands.
pub(super) fn report<'a>(reader: &mut Reader<'a>, report: &mut Report<'a>) -> Read<usize> {
    report.metrics.clear();
    report.tags.clear();
    report.rejected.clear();
    report.warnings.clear();
    report.stderr = None;
    report.replay_of = None;
    report.contract = None;
    let mut seq_at = 0;
    let mut open = reader.object("a report")?;
    while let Some(name) = reader.member(&mut open, REPORT, REPORT.len() - 3)? {
        match name {
            "seq" => {
                seq_at = reader.here();
                report.seq = Seq(at_least_one(reader, i64::MAX as u64)?);
            }
            "plugin" => report.plugin = checked(reader, text::name)?,
            "key" => report.key = nullable(reader, uuid)?.map(Into::into),
            "host" => report.host = checked(reader, |t| text::one_line(t, HOST))?,
            "run" => report.run = uuid(reader)?.into(),
            "replay_of" => report.replay_of = Some(uuid(reader)?.into()),
            "started" => report.started = time(reader)?,
            "duration" => report.duration = seconds(reader)?,
            "interval" => report.interval = nullable(reader, seconds)?,
            "outcome" => report.outcome = outcome(reader)?,
            "status" => {
                report.status = word(reader, "a status", Status::from_word)?;
            }
            "message" => {
                report.message = nullable(reader, |r| checked(r, |t| text::at_most(t, MESSAGE)))?;
            }
            "metrics" => {
                let Report { metrics, tags, .. } = report;
                list(reader, metrics, limits::METRICS, |reader| metric(reader, tags))?;
            }
            "rejected" => list(reader, &mut report.rejected, limits::REJECTIONS, rejection)?,
            "warnings" => {
                list(reader, &mut report.warnings, limits::METRICS, |r| r.string("a string"))?;
            }
            "counts" => report.counts = counts(reader)?,
            "skipped" => report.skipped = reader.whole(u64::MAX)?,
            "leftovers" => report.leftovers = reader.whole(u64::MAX)?,
            "usage" => report.usage = usage(reader)?,
            "stderr" => {
                let tail = checked(reader, |t| text::at_most(t, STDERR))?;
                report.stderr = Some(tail).filter(|tail| !tail.is_empty());
            }
            "contract" => {
                let start = reader.here();
                reader.skip()?;
                report.contract = Some(start);
            }
            _ => reader.skip()?,
        }
    }
    Ok(seq_at)
}

fn metric<'a>(reader: &mut Reader<'a>, tags: &mut Vec<(Text<'a>, Text<'a>)>) -> Read<Metric<'a>> {
    let mut metric = Metric {
        name: Text::Borrowed(""),
        value: Given::Plain(Scalar::Gap),
        kind: MetricType::Float,
        unit: None,
        label: None,
        tags: tags.len()..tags.len(),
        time: None,
        warn: None,
        crit: None,
        min: None,
        max: None,
    };
    let mut value_at = 0;
    let mut open = reader.object("a metric")?;
    while let Some(name) = reader.member(&mut open, METRIC, 3)? {
        match name {
            "name" => metric.name = checked(reader, text::name)?,
            "value" => {
                value_at = reader.here();
                metric.value = scalar(reader)?;
            }
            "type" => {
                // `binary` is a word of plugins, not of reports.
                metric.kind = word(reader, "a type", |word| {
                    MetricType::from_str(word).ok().filter(|_| word != "binary")
                })?;
            }
            "unit" => metric.unit = Some(checked(reader, |t| text::at_most(t, limits::LABEL))?),
            "label" => metric.label = Some(checked(reader, |t| text::at_most(t, limits::LABEL))?),
            "tags" => metric.tags = read_tags(reader, tags)?,
            "time" => metric.time = Some(time(reader)?),
            "warn" => metric.warn = Some(mark(reader)?),
            "crit" => metric.crit = Some(mark(reader)?),
            "min" => metric.min = Some(reader.number("a number")?.as_f64()),
            "max" => metric.max = Some(reader.number("a number")?.as_f64()),
            _ => return Err(unknown(reader)),
        }
    }
    if !fits(metric.kind, metric.value.scalar()) {
        return Err(wrong(value_at, format!("not a value of type {}", metric.kind)));
    }
    Ok(metric)
}

fn fits(kind: MetricType, value: Scalar<'_>) -> bool {
    match (kind, value) {
        (_, Scalar::Gap)
        | (
            MetricType::Integer | MetricType::Float | MetricType::Percent | MetricType::Counter,
            Scalar::Unsigned(_),
        )
        | (MetricType::Integer | MetricType::Float | MetricType::Percent, Scalar::Signed(_))
        | (MetricType::Float | MetricType::Percent, Scalar::Float(_))
        | (MetricType::Boolean, Scalar::Boolean(_))
        | (MetricType::String, Scalar::Text(_)) => true,
        (MetricType::Integer, Scalar::Float(x)) => x.fract() == 0.0,
        (MetricType::Counter, Scalar::Signed(n)) => n >= 0,
        (MetricType::Counter, Scalar::Float(x)) => x >= 0.0,
        _ => false,
    }
}

/// Reads tags to the end of `all`, in the order of their keys, each key once.
fn read_tags<'a>(
    reader: &mut Reader<'a>,
    all: &mut Vec<(Text<'a>, Text<'a>)>,
) -> Read<std::ops::Range<usize>> {
    let first = all.len();
    let mut sorted = true;
    let mut open = reader.object("an object of strings")?;
    loop {
        let at = reader.here();
        let Some(key) = reader.key(&mut open)? else { break };
        if all.len() - first == limits::TAGS {
            return Err(wrong(open.start, format!("more than {} tags", limits::TAGS)));
        }
        if key.is_empty() {
            return Err(wrong(at, "a tag without a name"));
        }
        text::tag(&key, limits::TAG_KEY).map_err(|message| wrong(at, message))?;
        let value = checked(reader, |t| text::tag(t, limits::TAG_VALUE))?;
        sorted &= all[first..].last().is_none_or(|last| *last.0 < *key);
        all.push((key, value));
    }
    if !sorted {
        let tags = &mut all[first..];
        tags.sort_by(|a, b| a.0.cmp(&b.0));
        if tags.windows(2).any(|two| two[0].0 == two[1].0) {
            return Err(wrong(open.start, "the same tag twice"));
        }
    }
    Ok(first..all.len())
}

fn rejection<'a>(reader: &mut Reader<'a>) -> Read<Rejection<'a>> {
    let mut rejection = Rejection {
        code: RejectionCode::Schema,
        path: Text::Borrowed(""),
        line: 1,
        column: 1,
        value: Text::Borrowed(""),
        rule: None,
        message: Text::Borrowed(""),
        hint: Text::Borrowed(""),
    };
    let mut open = reader.object("a refused record")?;
    while let Some(name) = reader.member(&mut open, REJECTION, 7)? {
        match name {
            "code" => rejection.code = word(reader, "a code", |w| w.parse().ok())?,
            "path" => rejection.path = reader.string("a string")?,
            "line" => rejection.line = at_least_one(reader, u64::from(u32::MAX))? as u32,
            "column" => rejection.column = at_least_one(reader, u64::from(u32::MAX))? as u32,
            "value" => rejection.value = checked(reader, excerpt)?,
            "message" => rejection.message = reader.string("a string")?,
            "hint" => rejection.hint = reader.string("a string")?,
            "rule" => rejection.rule = Some(reader.string("a string")?),
            _ => return Err(unknown(reader)),
        }
    }
    Ok(rejection)
}

/// In characters: bytes that were no UTF-8 have become longer ones.
fn excerpt(text: &str) -> Checked {
    if text.chars().count() <= limits::EXCERPT {
        return Ok(());
    }
    Err(format!("over {} characters long", limits::EXCERPT))
}

fn counts(reader: &mut Reader<'_>) -> Read<Counts> {
    let mut counts = Counts::default();
    let mut open = reader.object("counts")?;
    while let Some(name) = reader.member(&mut open, COUNTS, COUNTS.len())? {
        match name {
            "produced" => counts.produced = reader.whole(u64::MAX)?,
            "accepted" => counts.accepted = reader.whole(u64::MAX)?,
            "rejected" => counts.rejected = rejected(reader)?,
            _ => return Err(unknown(reader)),
        }
    }
    Ok(counts)
}

fn rejected(reader: &mut Reader<'_>) -> Read<BTreeMap<RejectionCode, u64>> {
    let mut by_code = BTreeMap::new();
    let mut open = reader.object("an object of counts")?;
    loop {
        let at = reader.here();
        let Some(key) = reader.key(&mut open)? else { return Ok(by_code) };
        let Ok(code) = key.parse::<RejectionCode>() else {
            return Err(wrong(at, "not a code of a refusal"));
        };
        if by_code.insert(code, at_least_one(reader, u64::MAX)?).is_some() {
            return Err(wrong(at, "the same code twice"));
        }
    }
}

fn usage(reader: &mut Reader<'_>) -> Read<Usage> {
    let mut usage = Usage::default();
    let mut open = reader.object("usage")?;
    while let Some(name) = reader.member(&mut open, USAGE, USAGE.len())? {
        match name {
            "cpu" => {
                let at = reader.here();
                usage.cpu = reader.number("a number of seconds")?.as_f64();
                if usage.cpu < 0.0 {
                    return Err(wrong(at, "not a number of seconds"));
                }
            }
            "max_rss" => usage.max_rss = reader.whole(u64::MAX)?,
            "stdout" => usage.stdout = reader.whole(u64::MAX)?,
            "stderr" => usage.stderr = reader.whole(u64::MAX)?,
            _ => return Err(unknown(reader)),
        }
    }
    Ok(usage)
}

fn outcome(reader: &mut Reader<'_>) -> Read<Outcome> {
    let start = reader.here();
    let (mut kind, mut code, mut signal) = (Text::Borrowed(""), None, None);
    let (mut reached, mut stream, mut limit, mut error) = (None, None, None, None);
    let mut members = 0;
    let mut open = reader.object("an outcome")?;
    while let Some(name) = reader.member(&mut open, OUTCOME, 1)? {
        members += 1;
        match name {
            "kind" => kind = reader.string("a string")?,
            "code" => code = Some(reader.whole(255)? as u8),
            "signal" => signal = Some(signal_number(reader)?),
            "reached" => {
                reached = Some(word(reader, "`term` or `kill`", |word| match word {
                    "term" => Some(Rung::Term),
                    "kill" => Some(Rung::Kill),
                    _ => None,
                })?);
            }
            "stream" => {
                stream = Some(word(reader, "`stdout` or `stderr`", |word| match word {
                    "stdout" => Some(Stream::Stdout),
                    "stderr" => Some(Stream::Stderr),
                    _ => None,
                })?);
            }
            "limit" => limit = Some(reader.whole(u64::MAX)?),
            "error" => error = Some(reader.string("a string")?),
            _ => return Err(unknown(reader)),
        }
    }
    let (outcome, has) = match &*kind {
        "exited" => (code.map(|code| Outcome::Exited { code }), 2),
        "signaled" => (signal.map(|signal| Outcome::Signaled { signal }), 2),
        "timed_out" => (reached.map(|reached| Outcome::TimedOut { reached }), 2),
        "flooded" => {
            (stream.zip(limit).map(|(stream, limit)| Outcome::Flooded { stream, limit }), 3)
        }
        "not_started" => (error.map(|error| Outcome::NotStarted { error: error.into_owned() }), 2),
        "stopped" => (Some(Outcome::Stopped), 1),
        "answered" => (Some(Outcome::Answered), 1),
        _ => return Err(wrong(start, "an outcome of a kind that this hub does not know")),
    };
    outcome
        .filter(|_| members == has)
        .ok_or_else(|| wrong(start, "an outcome with other members than its kind has"))
}

fn signal_number(reader: &mut Reader<'_>) -> Read<i32> {
    let at = reader.here();
    match reader.number("a signal's number")? {
        Number::Signed(n) => i32::try_from(n).ok(),
        _ => None,
    }
    .ok_or_else(|| wrong(at, "not a signal's number"))
}

/// The member whose name was just read is not one of those there are.
pub(super) fn unknown(reader: &mut Reader<'_>) -> Wrong {
    wrong(reader.here(), "a member that this hub does not know")
}

/// A list of at most `most`, read to the end of `to`.
fn list<'a, T>(
    reader: &mut Reader<'a>,
    to: &mut Vec<T>,
    most: usize,
    mut one: impl FnMut(&mut Reader<'a>) -> Read<T>,
) -> Read<()> {
    let mut open = reader.array("an array")?;
    while reader.element(&mut open)? {
        if to.len() == most {
            return Err(wrong(open.start, format!("more than {most}")));
        }
        to.push(one(reader)?);
    }
    Ok(())
}

fn nullable<'a, T>(
    reader: &mut Reader<'a>,
    read: impl FnOnce(&mut Reader<'a>) -> Read<T>,
) -> Read<Option<T>> {
    if reader.null()? { Ok(None) } else { read(reader).map(Some) }
}

/// A text that `check` finds nothing wrong with.
pub(super) fn checked<'a>(
    reader: &mut Reader<'a>,
    check: impl FnOnce(&str) -> Checked,
) -> Read<Text<'a>> {
    let at = reader.here();
    let text = reader.string("a string")?;
    match check(&text) {
        Ok(()) => Ok(text),
        Err(message) => Err(wrong(at, message)),
    }
}

/// A text that `known` knows.
pub(super) fn word<T>(
    reader: &mut Reader<'_>,
    what: &str,
    known: impl FnOnce(&str) -> Option<T>,
) -> Read<T> {
    let at = reader.here();
    let text = reader.string("a string")?;
    known(&text).ok_or_else(|| wrong(at, format!("not {what} that this hub knows")))
}

fn uuid(reader: &mut Reader<'_>) -> Read<Uuid> {
    word(reader, "a lower-case UUID", text::uuid)
}

fn time(reader: &mut Reader<'_>) -> Read<Timestamp> {
    word(reader, "a time such as 2026-11-22T20:42:10.123Z, in UTC,", text::time)
}

pub(super) fn seconds(reader: &mut Reader<'_>) -> Read<f64> {
    let at = reader.here();
    let seconds = reader.number("a number of seconds")?.as_f64();
    if (0.0..=SECONDS).contains(&seconds) {
        return Ok(seconds);
    }
    Err(wrong(at, "not a number of seconds"))
}

fn at_least_one(reader: &mut Reader<'_>, most: u64) -> Read<u64> {
    let at = reader.here();
    match reader.whole(most)? {
        0 => Err(wrong(at, format!("expected a whole number from 1 to {most}"))),
        n => Ok(n),
    }
}

fn scalar<'a>(reader: &mut Reader<'a>) -> Read<Given<'a>> {
    const WHAT: &str = "a number, a string, a boolean or null";
    Ok(Given::Plain(match reader.kind()? {
        JsonKind::Number => plain(reader.number(WHAT)?),
        JsonKind::String => return given(checked(reader, |t| text::at_most(t, limits::TEXT))?),
        JsonKind::Boolean => Scalar::Boolean(reader.boolean(WHAT)?),
        JsonKind::Null => {
            reader.null()?;
            Scalar::Gap
        }
        JsonKind::Array | JsonKind::Object => return Err(reader.expected(WHAT)),
    }))
}

/// A number, or a Nagios range.
pub(super) fn mark<'a>(reader: &mut Reader<'a>) -> Read<Given<'a>> {
    match reader.kind()? {
        JsonKind::String => given(checked(reader, |t| text::at_most(t, limits::LABEL))?),
        _ => Ok(Given::Plain(plain(reader.number("a number or a Nagios range")?))),
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the last step of two readers")]
fn given(text: Text<'_>) -> Read<Given<'_>> {
    Ok(match text {
        Text::Borrowed(text) => Given::Plain(Scalar::Text(text)),
        Text::Owned(text) => Given::Owned(text),
    })
}

fn plain<'a>(number: Number) -> Scalar<'a> {
    match number {
        Number::Signed(n) => Scalar::Signed(n),
        Number::Unsigned(n) => Scalar::Unsigned(n),
        Number::Float(x) => Scalar::Float(x),
    }
}
