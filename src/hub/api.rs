//! What programs read: `GET /api/v1/plugins`, `/series`, `/runs` and `/points`.

use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::model::{Tags, Timestamp, Value};

use super::problem::Problem;
use super::server::{self, Hall};
use super::store::{self, Filter, PointsQuery, Position, SeriesRow, json};

/// Items or points in one answer: usually, and at most.
const ITEMS: usize = 100;
const MOST_ITEMS: usize = 1000;
const POINTS: usize = 10_000;
const MOST_POINTS: usize = 100_000;

#[derive(Serialize)]
struct Listing<T> {
    items: Vec<T>,
    /// What to give as `after` for the items that follow; null at the end.
    next: Option<String>,
}

#[derive(Serialize)]
struct Points {
    series: Vec<SeriesPoints>,
    next: Option<String>,
}

#[derive(Serialize)]
struct SeriesPoints {
    host: String,
    plugin: String,
    name: String,
    tags: Tags,
    #[serde(rename = "type")]
    kind: String,
    unit: Option<String>,
    points: Vec<(i64, Value)>,
}

pub(super) async fn plugins(
    State(hall): State<Hall>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let filter = listing(&hall, &headers, query.as_deref()).await?;
    let limit = filter.limit;
    let rows = hall.store.read(move |conn| store::plugins(conn, &filter)).await?;
    Ok(answer(page(rows, limit, |row| row.id)))
}

pub(super) async fn series(
    State(hall): State<Hall>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let filter = filtered(&hall, &headers, query.as_deref(), Names::Given).await?;
    let limit = filter.limit;
    let rows = hall.store.read(move |conn| store::series(conn, &filter)).await?;
    Ok(answer(page(rows, limit, |row| row.id)))
}

pub(super) async fn runs(
    State(hall): State<Hall>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let filter = listing(&hall, &headers, query.as_deref()).await?;
    let limit = filter.limit;
    let rows = hall.store.read(move |conn| store::runs(conn, &filter)).await?;
    Ok(answer(page(rows, limit, |row| row.id)))
}

pub(super) async fn points(
    State(hall): State<Hall>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let account = server::reader_account(&hall, &headers).await?;
    let now = hall.clock.now();
    let query = points_query(account, query.as_deref().unwrap_or_default(), now)?;
    // Written on the reading thread as well: a long answer must not hold up what else is served.
    let body = hall
        .store
        .read(move |conn| {
            let page = store::points(conn, &query)?;
            let series =
                page.series.into_iter().map(|(series, points)| with_points(series, points));
            Ok(json(&Points { series: series.collect(), next: page.next.map(written) }))
        })
        .await?;
    Ok(as_json(body))
}

fn with_points(series: SeriesRow, points: Vec<(i64, Value)>) -> SeriesPoints {
    SeriesPoints {
        host: series.host,
        plugin: series.plugin,
        name: series.name,
        tags: series.tags,
        kind: series.kind,
        unit: series.unit,
        points,
    }
}

fn answer<T: Serialize>(body: T) -> Response {
    as_json(json(&body))
}

fn as_json(body: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// One more than `limit` was asked for, to know whether there is more.
fn page<T>(mut items: Vec<T>, limit: usize, id: impl Fn(&T) -> i64) -> Listing<T> {
    let more = items.len() >= limit;
    items.truncate(limit - 1);
    let next = more.then(|| items.last().map(|last| id(last).to_string())).flatten();
    Listing { items, next }
}

/// Whether what is listed has names to filter by.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Names {
    Given,
    None,
}

async fn listing(
    hall: &server::Shared,
    headers: &HeaderMap,
    query: Option<&str>,
) -> Result<Filter, Problem> {
    filtered(hall, headers, query, Names::None).await
}

async fn filtered(
    hall: &server::Shared,
    headers: &HeaderMap,
    query: Option<&str>,
    names: Names,
) -> Result<Filter, Problem> {
    let account = server::reader_account(hall, headers).await?;
    let mut filter = Filter { account, limit: ITEMS + 1, ..Filter::default() };
    for (name, value) in pairs(query.unwrap_or_default())? {
        match name.as_str() {
            "host" => filter.host = Some(value),
            "plugin" => filter.plugin = Some(value),
            "name" if names == Names::Given => filter.name = Some(value),
            "limit" => filter.limit = count(&value, MOST_ITEMS)? + 1,
            "after" => {
                let after = value.parse().map_err(|_| {
                    Problem::parameter("after", "what the last answer gave as `next`")
                })?;
                filter.after = Some(after);
            }
            _ => return Err(Problem::parameter(&shown(&name), "left out: it is not known here")),
        }
    }
    Ok(filter)
}

fn points_query(account: i64, query: &str, now: i64) -> Result<PointsQuery, Problem> {
    let mut wanted = PointsQuery {
        filter: Filter { account, limit: POINTS, ..Filter::default() },
        // A day, and what lies ahead of the clock.
        from: now - 24 * 3600 * 1000,
        to: i64::MAX,
        ..PointsQuery::default()
    };
    for (name, value) in pairs(query)? {
        match name.as_str() {
            "host" => wanted.filter.host = Some(value),
            "plugin" => wanted.filter.plugin = Some(value),
            "name" => wanted.filter.name = Some(value),
            "tag" => {
                let (key, value) = value
                    .split_once(':')
                    .ok_or_else(|| Problem::parameter("tag", "`key:value`"))?;
                wanted.tags.push((key.to_owned(), value.to_owned()));
            }
            "from" => wanted.from = instant("from", &value)?,
            "to" => wanted.to = instant("to", &value)?,
            "limit" => wanted.filter.limit = count(&value, MOST_POINTS)?,
            "after" => {
                let position = position(&value).ok_or_else(|| {
                    Problem::parameter("after", "what the last answer gave as `next`")
                })?;
                wanted.position = Some(position);
            }
            _ => return Err(Problem::parameter(&shown(&name), "left out: it is not known here")),
        }
    }
    for (name, given) in [("host", &wanted.filter.host), ("plugin", &wanted.filter.plugin)] {
        if given.is_none() {
            return Err(Problem::parameter(name, "given"));
        }
    }
    Ok(wanted)
}

fn shown(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(40).collect()
}

fn count(text: &str, most: usize) -> Result<usize, Problem> {
    text.parse()
        .ok()
        .filter(|n| (1..=most).contains(n))
        .ok_or_else(|| Problem::parameter("limit", &format!("a number from 1 to {most}")))
}

/// Milliseconds since 1970, or RFC 3339.
fn instant(name: &str, text: &str) -> Result<i64, Problem> {
    text.parse::<i64>()
        .ok()
        .or_else(|| Timestamp::parse(text).ok().map(Timestamp::millis))
        .ok_or_else(|| {
            Problem::parameter(name, "milliseconds since 1970, or a time as in RFC 3339")
        })
}

fn written(position: Position) -> String {
    format!("{}.{}.{}", position.series, position.ms, position.given)
}

fn position(text: &str) -> Option<Position> {
    let mut parts = text.split('.');
    let position = Position {
        series: parts.next()?.parse().ok().filter(|id| *id > 0)?,
        ms: parts.next()?.parse().ok()?,
        given: parts.next()?.parse().ok().filter(|n| *n <= MOST_POINTS * 100)?,
    };
    parts.next().is_none().then_some(position)
}

/// The parameters of a query, decoded.
pub(super) fn pairs(query: &str) -> Result<Vec<(String, String)>, Problem> {
    let uri = axum::http::Uri::builder()
        .path_and_query(format!("/?{query}"))
        .build()
        .map_err(|_| Problem::parameter("the query", "name=value pairs"))?;
    axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&uri)
        .map(|query| query.0)
        .map_err(|_| Problem::parameter("the query", "name=value pairs"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_reads_back() {
        let there = Position { series: 7, ms: -5, given: 3 };
        assert_eq!(position(&written(there)), Some(there));
        let start = Position { series: 9, ms: i64::MIN, given: 0 };
        assert_eq!(position(&written(start)), Some(start));
        for text in ["", "1", "1.2", "1.2.3.4", "x.2.3", "0.1.0", "1.2.-1"] {
            assert_eq!(position(text), None, "{text}");
        }
    }

    #[test]
    fn parameters_are_decoded_and_strangers_refused() {
        let wanted =
            points_query(1, "host=web%201&plugin=disk&name=used&tag=mount:/a%3Ab&tag=x:", 0)
                .unwrap();
        assert_eq!(wanted.filter.host.as_deref(), Some("web 1"));
        let tags = [("mount", "/a:b"), ("x", "")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert_eq!(wanted.tags, tags);
        for query in [
            "",
            "host=a",
            "host=a&plugin=b&frm=1",
            "host=a&plugin=b&from=noon",
            "host=a&plugin=b&limit=0",
        ] {
            assert!(points_query(1, query, 0).is_err(), "{query}");
        }
    }
}
