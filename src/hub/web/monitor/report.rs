//! Results drawn together: a row for each interval of some days.

use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use maud::{Markup, html};

use crate::hub::hall::Hall;
use crate::hub::monitors::{
    self, Aggregation, Interval, Monitor, Page as Rows, ReportQuery, Row, Span,
};
use crate::hub::parameters::pairs;
use crate::hub::store::{self, Kept, SeriesRow};
use crate::hub::web::format::{counted, figures, query, stamp};
use crate::hub::web::layout::Frame;
use crate::hub::web::page::{framed, logged_in, shown};
use crate::hub::web::range::moment;
use crate::model::Value;

use super::results::{DAY_MS, cell, date, heading};
use super::{SERIES, find};

/// Rows on one page.
const ROWS: usize = 200;
/// Days that are drawn together where nobody says which.
const DAYS: i64 = 7;
/// The intervals that there are to choose from.
const INTERVALS: [(&str, u32, Span, &str); 6] = [
    ("5min", 5, Span::Minute, "5 minutes"),
    ("15min", 15, Span::Minute, "15 minutes"),
    ("hour", 1, Span::Hour, "1 hour"),
    ("6hour", 6, Span::Hour, "6 hours"),
    ("day", 1, Span::Day, "1 day"),
    ("month", 1, Span::Month, "1 month"),
];
const USUAL: (&str, u32, Span, &str) = INTERVALS[2];

/// What is to be drawn together, and how. What cannot be read is as if it were not there.
struct Asked {
    /// First millisecond of the first day and of the last one, in UTC.
    from: i64,
    to: i64,
    interval: (&'static str, u32, Span, &'static str),
    how: Option<Aggregation>,
    /// The interval from which this page goes.
    after: Option<i64>,
}

impl Asked {
    fn read(pairs: &[(String, String)], monitor: &Monitor, now: i64) -> Self {
        let given =
            |name: &str| pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let day = |name| Some(moment(given(name)?)?.div_euclid(DAY_MS) * DAY_MS);
        let last = if monitor.reports > 0 { monitor.received_ms } else { now };
        let to = day("to").unwrap_or(last.div_euclid(DAY_MS) * DAY_MS);
        let from = day("from").unwrap_or(to.saturating_sub((DAYS - 1) * DAY_MS)).min(to);
        let named = |word: &str| INTERVALS.into_iter().find(|one| one.0 == word);
        Self {
            from,
            to,
            interval: given("interval").and_then(named).unwrap_or(USUAL),
            how: given("how").and_then(|how| how.parse().ok()),
            after: given("after").and_then(|ms| ms.parse().ok()),
        }
    }

    fn wanted(&self) -> Option<ReportQuery> {
        let (_, count, span, _) = self.interval;
        let to = self.to.saturating_add(DAY_MS - 1);
        Some(ReportQuery {
            from: self.after.unwrap_or(self.from).clamp(self.from, to),
            to,
            interval: Interval::new(count, span, 0)?,
            aggregation: self.how,
            limit: ROWS,
        })
    }

    /// The page at `path` from this interval on.
    fn link(&self, path: &str, after: Option<i64>) -> String {
        let (from, to) = (date(self.from), date(self.to));
        let after = after.map(|ms| ms.to_string());
        let mut all = vec![
            ("from", from.as_str()),
            ("to", to.as_str()),
            ("interval", self.interval.0),
            ("how", how_word(self.how)),
        ];
        all.extend(after.as_deref().map(|after| ("after", after)));
        format!("{path}{}", query(&all))
    }
}

fn how_word(how: Option<Aggregation>) -> &'static str {
    how.map_or("", Aggregation::as_str)
}

pub(super) async fn show(
    State(hall): State<Hall>,
    headers: HeaderMap,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    let session = logged_in!(hall, headers);
    let answer = async {
        let monitor = match find(&hall, &session, &id).await? {
            Ok(monitor) => monitor,
            Err(missing) => return Ok(missing),
        };
        let pairs = pairs(query.as_deref().unwrap_or_default())?;
        let asked = Asked::read(&pairs, &monitor, hall.clock.now());
        let (id, wanted) = (monitor.id, asked.wanted());
        let (rows, series) = hall
            .store
            .read_long(move |conn| {
                let series = store::series_of(conn, &[id], Kept::Printed, SERIES)?.remove(&id);
                let rows = wanted.map(|wanted| monitors::report(conn, id, &wanted)).transpose()?;
                Ok((rows.unwrap_or_default(), series.unwrap_or_default().0))
            })
            .await?;
        let title = format!("Report of {}", monitor.name);
        let body = body(&monitor, &asked, &rows, &series);
        Ok(framed(&Frame::of(&title, "/monitors", &session), &body))
    };
    shown(answer.await)
}

fn body(monitor: &Monitor, asked: &Asked, rows: &Rows, series: &[SeriesRow]) -> Markup {
    let monitor_path = format!("/monitor/{}", monitor.id);
    let path = format!("{monitor_path}/report");
    let tagged = rows.rows.iter().any(|row| !row.tags.is_empty());
    html! {
        p.crumbs { a href="/monitors" { "Monitors" } " / " a href=(monitor_path) { (monitor.name) } }
        h1 { "Report of " (monitor.name) }
        p.facts.faint { "What came in each interval as one value; gaps and intervals without results count nowhere. Of a counter it is the rate per second, its sum what it grew by. Days and hours are those of UTC." }
        form.filter method="get" action=(path) {
            label { "From" input type="date" name="from" value=(date(asked.from)) required; }
            label { "To" input type="date" name="to" value=(date(asked.to)) required; }
            label {
                "Interval"
                select name="interval" { @for (word, _, _, said) in INTERVALS { option value=(word) selected[word == asked.interval.0] { (said) } } }
            }
            label {
                "Values"
                select name="how" {
                    option value="" { "as declared, else avg" }
                    @for how in Aggregation::ALL { option value=(how.as_str()) selected[Some(how) == asked.how] { (how.as_str()) } }
                }
            }
            button type="submit" { "Show" }
        }
        @if rows.rows.is_empty() { p.empty { "No results in these days." } }
        @else {
            div.scroll.results tabindex="0" role="region" aria-label="Report" {
                table {
                    thead { tr {
                        th scope="col" { "Beginning, UTC" }
                        @if tagged { th scope="col" { "Tags" } }
                        @for name in &rows.names { th.num scope="col" { (heading(name, series)) } }
                    } }
                    tbody { @for row in &rows.rows { (line(row, asked, rows, series, tagged)) } }
                }
            }
            nav.pages aria-label="Pages of the report" {
                @if asked.after.is_some() { a href=(asked.link(&path, None)) { "← From the start" } }
                span.faint { (counted(rows.rows.len(), "row", "rows")) @if rows.next.is_some() || asked.after.is_some() { " here" } }
                @if rows.next.is_some() { a rel="next" href=(asked.link(&path, rows.next)) { "Later →" } }
            }
        }
    }
}

fn line(row: &Row, asked: &Asked, rows: &Rows, series: &[SeriesRow], tagged: bool) -> Markup {
    let days = matches!(asked.interval.2, Span::Day | Span::Month);
    let began: String =
        stamp(row.ms).replace('T', " ").chars().take(if days { 10 } else { 16 }).collect();
    html! {
        tr {
            th scope="row" { (began) }
            @if tagged { td.tags { @for (key, tag) in row.tags.iter() { span.tag { (key) "=" (tag) } } } }
            @for name in &rows.names {
                @match row.values.iter().find(|(of, _)| of == name) {
                    Some((_, Value::Float(x))) => td.num title=(x) { (figures(*x)) },
                    Some((_, is)) => td.num { (cell(is, name, series)) },
                    None => td {},
                }
            }
        }
    }
}
