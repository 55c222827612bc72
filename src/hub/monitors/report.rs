//! Reports: results drawn together, one row for each interval.
//!
//! Every number is the mean of its interval unless its field or the caller says otherwise; a text
//! is the last one. A counter is raw on disk; its mean is its rate per second, its sum what it grew
//! by, its least and greatest the rates from one result to the next, and only its last is the count
//! itself. A counter that falls has begun anew at 0. Gaps count nowhere.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::str::FromStr;

use jiff::civil::date;
use jiff::tz::TimeZone;
use rusqlite::Connection;

use crate::model::{MetricType, Value};

use super::field::{Aggregation, Role, fields};
use super::read::{BYTES, Cells, Collected, Columns, Page, Place, each_moment};

const MINUTE_MS: i64 = 60_000;

/// What intervals are counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Span {
    Minute,
    Hour,
    Day,
    Month,
}

impl FromStr for Span {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        match word {
            "min" | "minute" => Ok(Self::Minute),
            "hour" => Ok(Self::Hour),
            "day" => Ok(Self::Day),
            "month" => Ok(Self::Month),
            _ => Err(()),
        }
    }
}

/// How long each row's interval is. Intervals begin at midnight, or in January of a year that the
/// number of months divides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Interval {
    count: u32,
    span: Span,
    /// Minutes by which the day begins earlier than in UTC.
    offset: i32,
}

impl Interval {
    /// So many of these; none for 0. `offset` is that of the time zone whose days count, in minutes
    /// east of UTC.
    pub(crate) fn new(count: u32, span: Span, offset: i32) -> Option<Self> {
        let usable = (1..=1_000_000).contains(&count) && offset.abs() <= 24 * 60;
        usable.then_some(Self { count, span, offset })
    }

    /// The start of the interval that `ms` is in.
    pub(super) fn start(self, ms: i64) -> i64 {
        let offset = i64::from(self.offset) * MINUTE_MS;
        let local = ms.saturating_add(offset);
        let count = i64::from(self.count);
        let long = match self.span {
            Span::Minute => count * MINUTE_MS,
            Span::Hour => count * 60 * MINUTE_MS,
            Span::Day => count * 24 * 60 * MINUTE_MS,
            Span::Month => return self.month(local).map_or(ms, |at| at.saturating_sub(offset)),
        };
        local.div_euclid(long).saturating_mul(long).saturating_sub(offset)
    }

    fn month(self, local: i64) -> Option<i64> {
        let day = jiff::Timestamp::from_millisecond(local).ok()?.to_zoned(TimeZone::UTC).date();
        let month = i64::from(day.year()) * 12 + i64::from(day.month()) - 1;
        let count = i64::from(self.count);
        let month = month.div_euclid(count) * count;
        let (year, month) = (month.div_euclid(12), month.rem_euclid(12) + 1);
        let year = i16::try_from(year).ok().filter(|year| (-9999..=9999).contains(year))?;
        let first = date(year, i8::try_from(month).ok()?, 1).to_zoned(TimeZone::UTC).ok()?;
        Some(first.timestamp().as_millisecond())
    }
}

/// Which results, and how they are drawn together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReportQuery {
    /// First and last millisecond, both included.
    pub(crate) from: i64,
    pub(crate) to: i64,
    pub(crate) interval: Interval,
    /// For all fields alike; without one each field's own.
    pub(crate) aggregation: Option<Aggregation>,
    /// About how many rows; no interval is split.
    pub(crate) limit: usize,
}

/// One row for every interval with results, at the interval's start.
pub(crate) fn report(
    conn: &Connection,
    monitor: i64,
    query: &ReportQuery,
) -> rusqlite::Result<Page> {
    let columns = Columns::of(conn, monitor)?;
    let own: HashMap<String, Aggregation> = fields(conn, monitor, Role::Result)?
        .into_iter()
        .filter_map(|field| Some((field.name, field.aggregation?)))
        .collect();
    let ways: HashMap<Place, Way> = columns
        .of
        .values()
        .map(|column| {
            let kind = column.kind.parse().unwrap_or(MetricType::Float);
            let asked = query.aggregation.or_else(|| own.get(&column.name).copied());
            ((column.tags_at, column.name_at), Way::of(kind, asked))
        })
        .collect();
    let mut collected = Collected::default();
    let mut open: Option<(i64, Gathered)> = None;
    let mut counted: HashMap<Place, (i64, Value)> = HashMap::new();
    // The interval before gives counters something to grow from.
    let before = query.interval.start(query.interval.start(query.from).saturating_sub(1));
    each_moment(conn, &columns, before..=query.to, |ms, cells| {
        let start = query.interval.start(ms);
        if ms >= query.from && open.as_ref().is_none_or(|(at, _)| *at != start) {
            if let Some((at, cells)) = open.take() {
                collected.add(columns.rows(at, finish(cells, &ways)));
            }
            if collected.is_full(query.limit, BYTES) {
                collected.page.next = Some(start);
                return ControlFlow::Break(());
            }
            open = Some((start, BTreeMap::new()));
        }
        for (place, value) in cells {
            let Some(way) = ways.get(&place) else { continue };
            if value == Value::Gap {
                continue;
            }
            let step = match way {
                Way::Counter(_) => counted
                    .insert(place, (ms, value.clone()))
                    .and_then(|(before_ms, before)| Step::of(before_ms, &before, ms, &value)),
                Way::Plain(_) => None,
            };
            if ms >= query.from
                && let Some((_, cells)) = &mut open
            {
                cells.entry(place).or_default().add(value, step);
            }
        }
        ControlFlow::Continue(())
    })?;
    if let Some((at, cells)) = open {
        collected.add(columns.rows(at, finish(cells, &ways)));
    }
    Ok(collected.page.of(columns))
}

/// The values of one interval.
type Gathered = BTreeMap<Place, Cell>;

fn finish(cells: Gathered, ways: &HashMap<Place, Way>) -> Cells {
    cells
        .into_iter()
        .filter_map(|(place, cell)| Some((place, cell.finish(*ways.get(&place)?))))
        .collect()
}

/// What becomes of a series.
#[derive(Debug, Clone, Copy)]
enum Way {
    Plain(Aggregation),
    Counter(Aggregation),
}

impl Way {
    fn of(kind: MetricType, asked: Option<Aggregation>) -> Self {
        match kind {
            MetricType::Counter => Self::Counter(asked.unwrap_or(Aggregation::Avg)),
            MetricType::String => Self::Plain(Aggregation::Last),
            _ => Self::Plain(asked.unwrap_or(Aggregation::Avg)),
        }
    }
}

/// How a counter went on.
#[derive(Debug, Clone, Copy)]
struct Step {
    growth: f64,
    seconds: f64,
}

impl Step {
    fn of(before_ms: i64, before: &Value, ms: i64, value: &Value) -> Option<Self> {
        let growth = if let (Some(before), Some(now)) = (whole(before), whole(value)) {
            (if now >= before { now - before } else { now }) as f64
        } else {
            let (before, now) = (before.as_f64()?, value.as_f64()?);
            if now >= before { now - before } else { now }
        };
        Some(Self { growth, seconds: ms.saturating_sub(before_ms) as f64 / 1000.0 })
    }

    fn rate(self) -> f64 {
        self.growth / self.seconds
    }
}

fn whole(value: &Value) -> Option<i128> {
    match value {
        Value::Signed(n) => Some(i128::from(*n)),
        Value::Unsigned(n) => Some(i128::from(*n)),
        Value::Boolean(b) => Some(i128::from(*b)),
        Value::Gap | Value::Float(_) | Value::Text(_) => None,
    }
}

/// The values of one series in one interval.
#[derive(Debug, Default)]
struct Cell {
    count: u64,
    sum: f64,
    /// The sum of those that are whole, and how many those are.
    whole: (i128, u64),
    least: Option<Value>,
    greatest: Option<Value>,
    last: Option<Value>,
    growth: f64,
    seconds: f64,
    slowest: Option<f64>,
    fastest: Option<f64>,
}

impl Cell {
    fn add(&mut self, value: Value, step: Option<Step>) {
        if let Some(step) = step.filter(|step| step.seconds > 0.0) {
            self.growth += step.growth;
            self.seconds += step.seconds;
            let rate = step.rate();
            self.slowest = Some(self.slowest.map_or(rate, |slowest| slowest.min(rate)));
            self.fastest = Some(self.fastest.map_or(rate, |fastest| fastest.max(rate)));
        }
        if let Some(n) = whole(&value) {
            self.whole = (self.whole.0 + n, self.whole.1 + 1);
        }
        if let Some(x) = value.as_f64() {
            self.count += 1;
            self.sum += x;
            if self.least.as_ref().is_none_or(|least| less(&value, least)) {
                self.least = Some(value.clone());
            }
            if self.greatest.as_ref().is_none_or(|greatest| less(greatest, &value)) {
                self.greatest = Some(value.clone());
            }
        }
        self.last = Some(value);
    }

    fn finish(self, way: Way) -> Value {
        let all_whole = self.whole.1 == self.count;
        let given = match way {
            Way::Counter(Aggregation::Avg) => {
                (self.seconds > 0.0).then(|| Value::Float(self.growth / self.seconds))
            }
            Way::Counter(Aggregation::Sum) => {
                (self.seconds > 0.0).then_some(Value::Float(self.growth))
            }
            Way::Counter(Aggregation::Min) => self.slowest.map(Value::Float),
            Way::Counter(Aggregation::Max) => self.fastest.map(Value::Float),
            Way::Plain(Aggregation::Avg) => (self.count > 0).then(|| {
                let sum = if all_whole { self.whole.0 as f64 } else { self.sum };
                Value::Float(sum / self.count as f64)
            }),
            Way::Plain(Aggregation::Sum) => (self.count > 0)
                .then(|| if all_whole { of_whole(self.whole.0) } else { Value::Float(self.sum) }),
            Way::Plain(Aggregation::Min) => self.least,
            Way::Plain(Aggregation::Max) => self.greatest,
            Way::Plain(Aggregation::Last) | Way::Counter(Aggregation::Last) => self.last,
        };
        match given {
            // Sums of large floats may be beyond all floats.
            Some(Value::Float(x)) if !x.is_finite() => Value::Gap,
            Some(value) => value,
            None => Value::Gap,
        }
    }
}

fn of_whole(n: i128) -> Value {
    if let Ok(n) = i64::try_from(n) {
        return Value::Signed(n);
    }
    u64::try_from(n).map_or(Value::Float(n as f64), Value::unsigned)
}

fn less(a: &Value, b: &Value) -> bool {
    match (whole(a), whole(b)) {
        (Some(a), Some(b)) => a < b,
        _ => a.as_f64() < b.as_f64(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    fn start(count: u32, span: Span, offset: i32, at: &str) -> String {
        let ms = Timestamp::parse(at).unwrap().millis();
        let start = Interval::new(count, span, offset).unwrap().start(ms);
        Timestamp::from_millis(start).unwrap().to_string()
    }

    #[test]
    fn intervals_begin_where_the_clock_and_the_calendar_do() {
        let at = "2026-11-22T20:42:10.123Z";
        assert_eq!(start(5, Span::Minute, 0, at), "2026-11-22T20:40:00.000Z");
        assert_eq!(start(6, Span::Hour, 0, at), "2026-11-22T18:00:00.000Z");
        assert_eq!(start(1, Span::Day, 0, at), "2026-11-22T00:00:00.000Z");
        assert_eq!(start(1, Span::Day, 240, at), "2026-11-22T20:00:00.000Z");
        assert_eq!(start(1, Span::Month, 0, at), "2026-11-01T00:00:00.000Z");
        assert_eq!(start(3, Span::Month, 0, at), "2026-10-01T00:00:00.000Z");
        assert_eq!(start(1, Span::Month, 120, "2026-11-30T22:30:00Z"), "2026-11-30T22:00:00.000Z");
        assert_eq!(start(1, Span::Hour, 0, "1969-12-31T23:59:59.999Z"), "1969-12-31T23:00:00.000Z");
        assert!(Interval::new(0, Span::Day, 0).is_none());
    }

    #[test]
    fn sums_of_whole_numbers_are_exact_as_far_as_there_are_numbers() {
        let mut cell = Cell::default();
        cell.add(Value::unsigned(u64::MAX - 1), None);
        cell.add(Value::Signed(1), None);
        assert_eq!(cell.finish(Way::Plain(Aggregation::Sum)), Value::unsigned(u64::MAX));
        let mut cell = Cell::default();
        cell.add(Value::unsigned(u64::MAX), None);
        cell.add(Value::unsigned(u64::MAX - 1), None);
        assert_eq!(cell.finish(Way::Plain(Aggregation::Max)), Value::unsigned(u64::MAX));
    }
}
