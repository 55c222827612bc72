//! The parameters of the paths under `/api/v1/monitors`.

use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::hub::csv::Texts;
use crate::hub::monitors::{Aggregation, Interval, MonitorFilter, Sender, Span};
use crate::hub::parameters::{count, instant, not_a_next, pairs, unknown};
use crate::hub::problem::Problem;

/// Monitors in one answer: usually, and at most.
const MONITORS: usize = 100;
const MOST_MONITORS: usize = 1000;
/// Rows in one answer: usually, and at most.
const ROWS: usize = 1000;
const MOST_ROWS: usize = 10_000;

const DAY_MS: i64 = 24 * 3600 * 1000;

/// Which monitors, and how many of them.
pub(super) fn filter(query: &str) -> Result<(MonitorFilter, usize), Problem> {
    let mut filter = MonitorFilter::default();
    let mut limit = MONITORS;
    for (name, value) in pairs(query)? {
        match name.as_str() {
            "tag" => filter.tag = Some(value),
            "type" => filter.kind = Some(value),
            "name" => filter.name = Some(value),
            "q" => filter.search = Some(value),
            "host" => filter.host = Some(value),
            "plugin" => filter.plugin = Some(value),
            "from" => {
                filter.sender = Some(match value.as_str() {
                    "agent" => Sender::Agent,
                    "direct" => Sender::Direct,
                    _ => return Err(Problem::parameter("from", "`agent` or `direct`")),
                });
            }
            "suspended" => filter.suspended = Some(boolean("suspended", &value)?),
            "unused_since" => filter.unused_since = Some(instant("unused_since", &value)?),
            "limit" => limit = count(&value, MOST_MONITORS)?,
            "after" => filter.after = Some(value.parse().map_err(|_| not_a_next())?),
            _ => return Err(unknown(&name)),
        }
    }
    Ok((filter, limit))
}

/// Whether the only parameter that there may be is `true`.
pub(super) fn flag(query: &str, only: &str) -> Result<bool, Problem> {
    let mut set = false;
    for (name, value) in pairs(query)? {
        if name != only {
            return Err(unknown(&name));
        }
        set = boolean(only, &value)?;
    }
    Ok(set)
}

fn boolean(name: &str, value: &str) -> Result<bool, Problem> {
    match value {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(Problem::parameter(name, "`true` or `false`")),
    }
}

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Json,
    Csv(Texts),
}

/// Which rows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rows {
    /// First and last millisecond, both included.
    pub(super) from: i64,
    pub(super) to: i64,
    pub(super) limit: usize,
    pub(super) form: Form,
}

/// How rows are drawn together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Together {
    pub(super) interval: Interval,
    pub(super) aggregation: Option<Aggregation>,
}

/// The parameters of results, and of additional results.
pub(super) fn rows(query: &str, now: i64) -> Result<Rows, Problem> {
    let (rows, rest) = take_rows(query, now)?;
    match rest.first() {
        Some((name, _)) => Err(unknown(name)),
        None => Ok(rows),
    }
}

/// The parameters of a report.
pub(super) fn report(query: &str, now: i64) -> Result<(Rows, Together), Problem> {
    let (rows, rest) = take_rows(query, now)?;
    let (mut interval, mut offset, mut aggregation) = ((1, Span::Hour), 0, None);
    for (name, value) in rest {
        match name.as_str() {
            "interval" => {
                interval = span(&value).ok_or_else(|| {
                    let wants = "such as `5min`, `hour`, `day` or `month`";
                    Problem::parameter("interval", wants)
                })?;
            }
            "aggregation" => {
                aggregation = Some(value.parse().map_err(|()| {
                    Problem::parameter("aggregation", "`avg`, `sum`, `min`, `max` or `last`")
                })?);
            }
            "offset" => {
                offset = value
                    .parse()
                    .map_err(|_| Problem::parameter("offset", "minutes east of UTC"))?;
            }
            _ => return Err(unknown(&name)),
        }
    }
    let interval = Interval::new(interval.0, interval.1, offset).ok_or_else(|| {
        Problem::parameter("interval", "of 1 to 1000000, and `offset` within a day")
    })?;
    Ok((rows, Together { interval, aggregation }))
}

/// `5min` is five minutes, and `min` is one.
fn span(text: &str) -> Option<(u32, Span)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, word) = text.split_at(digits);
    let number = if number.is_empty() { 1 } else { number.parse().ok()? };
    Some((number, word.parse().ok()?))
}

/// What says which rows, and the other parameters.
fn take_rows(query: &str, now: i64) -> Result<(Rows, Vec<(String, String)>), Problem> {
    let (mut from, mut to, mut on, mut after) = (None, None, None, None);
    let mut rows = Rows { from: now - DAY_MS, to: i64::MAX, limit: ROWS, form: Form::Json };
    let mut rest = Vec::new();
    let mut safe = false;
    for (name, value) in pairs(query)? {
        match name.as_str() {
            "safe" => safe = boolean("safe", &value)?,
            "from" => from = Some(instant("from", &value)?),
            "to" => to = Some(instant("to", &value)?),
            "day" => on = Some(day(&value)?),
            "limit" => rows.limit = count(&value, MOST_ROWS)?,
            "after" => after = Some(value.parse::<i64>().map_err(|_| not_a_next())?),
            "format" => {
                rows.form = match value.as_str() {
                    "json" => Form::Json,
                    "csv" => Form::Csv(Texts::Exact),
                    _ => return Err(Problem::parameter("format", "`json` or `csv`")),
                };
            }
            _ => rest.push((name, value)),
        }
    }
    match (&mut rows.form, safe) {
        (_, false) => {}
        (Form::Csv(texts), true) => *texts = Texts::Safe,
        (Form::Json, true) => return Err(Problem::parameter("safe", "given with `format=csv`")),
    }
    match (on, from, to) {
        (Some((first, last)), None, None) => (rows.from, rows.to) = (first, last),
        (Some(_), _, _) => {
            return Err(Problem::parameter("day", "left out beside `from` or `to`"));
        }
        (None, from, to) => {
            rows.to = to.unwrap_or(rows.to);
            rows.from = from.unwrap_or_else(|| to.map_or(rows.from, |to| to - DAY_MS));
        }
    }
    if let Some(after) = after {
        rows.from = rows.from.max(after);
    }
    Ok((rows, rest))
}

/// The first and last millisecond of a day in UTC.
fn day(text: &str) -> Result<(i64, i64), Problem> {
    let wanted = || Problem::parameter("day", "a day such as `2026-11-22`");
    let shape = text.len() == 10 && text.bytes().filter(|b| *b == b'-').count() == 2;
    let date: Date = text.parse().ok().filter(|_| shape).ok_or_else(wanted)?;
    let start = date.to_zoned(TimeZone::UTC).map_err(|_| wanted())?;
    let first = start.timestamp().as_millisecond();
    Ok((first, first + DAY_MS - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_ends_before_the_next_one_begins() {
        let (first, last) = day("2026-11-22").unwrap();
        assert_eq!((first, last), (1_795_305_600_000, 1_795_391_999_999));
        assert_eq!(day("2026-11-23").unwrap().0, last + 1);
        for text in ["", "2026-11-31", "20261122", "2026-11-22T00:00", "today", "2026-1-2"] {
            assert!(day(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        assert!(rows("day=2026-11-22&from=0", 0).is_err());
        assert!(rows("interval=hour", 0).is_err());
        assert!(rows("safe=true", 0).is_err());
        assert_eq!(rows("safe=true&format=csv", 0).unwrap().form, Form::Csv(Texts::Safe));
        assert!(report("interval=0min", 0).is_err());
        assert!(report("interval=5weeks", 0).is_err());
        assert!(report("aggregation=mean", 0).is_err());
        assert!(report("interval=5min&aggregation=max&offset=-120&day=2026-11-22", 0).is_ok());
        assert!(filter("from=anywhere").is_err());
        assert!(filter("tga=x").is_err());
        assert!(flag("if_missing=yes", "if_missing").is_err());
    }
}
