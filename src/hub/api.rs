//! What programs read: `GET /api/v1/plugins`, `/series`, `/runs`, `/points`, `/contract` and
//! `/openapi.json`.

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use rusqlite::Connection;
use serde::Serialize;

use crate::model::{ProblemCode, Tags, Value};

use super::hall::{self, Hall};
use super::keys::Scope;
use super::listing::{Listing, answer};
use super::parameters::{count, instant, not_a_next, pairs, unknown};
use super::problem::Problem;
use super::store::{self, Filter, PointsQuery, Position, SeriesRow, json};

/// Items or points in one answer: usually, and at most.
const ITEMS: usize = 100;
const MOST_ITEMS: usize = 1000;
const POINTS: usize = 10_000;
const MOST_POINTS: usize = 100_000;

pub(super) fn routes() -> Router<Hall> {
    Router::new()
        .route("/api/v1/plugins", get(plugins))
        .route("/api/v1/series", get(series))
        .route("/api/v1/runs", get(runs))
        .route("/api/v1/points", get(points))
        .route("/api/v1/contract", get(contract))
        .route("/api/v1/openapi.json", get(openapi))
}

/// The description of all paths. Needs no key: it is the same for every hub, and public.
async fn openapi() -> Response {
    as_json(include_str!("../../schemas/openapi.v1.json").to_owned())
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

async fn plugins(
    hall: State<Hall>,
    headers: HeaderMap,
    query: RawQuery,
) -> Result<Response, Problem> {
    listing(hall, headers, query, Names::None, store::plugins, |row| row.id).await
}

async fn series(
    hall: State<Hall>,
    headers: HeaderMap,
    query: RawQuery,
) -> Result<Response, Problem> {
    listing(hall, headers, query, Names::Given, store::series, |row| row.id).await
}

async fn runs(hall: State<Hall>, headers: HeaderMap, query: RawQuery) -> Result<Response, Problem> {
    listing(hall, headers, query, Names::None, store::runs, |row| row.id).await
}

/// A page of rows that `read` gives by the query's filter. One more than the limit is asked for, to
/// know whether there is more.
async fn listing<T: Serialize + Send + 'static>(
    State(hall): State<Hall>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    names: Names,
    read: fn(&Connection, &Filter) -> rusqlite::Result<Vec<T>>,
    id: fn(&T) -> i64,
) -> Result<Response, Problem> {
    let account = hall::caller(&hall, &headers, Scope::Read).await?.account;
    let mut filter = filter(account, query.as_deref().unwrap_or_default(), names)?;
    let limit = filter.limit;
    filter.limit += 1;
    let items = hall.store.read(move |conn| read(conn, &filter)).await?;
    Ok(answer(StatusCode::OK, &Listing::of(items, limit, id)))
}

async fn points(
    State(hall): State<Hall>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let account = hall::caller(&hall, &headers, Scope::Read).await?.account;
    let now = hall.clock.now();
    let query = points_query(account, query.as_deref().unwrap_or_default(), now)?;
    // Written on the reading thread as well: a long answer must not hold up what else is served.
    let body = hall
        .store
        .read_long(move |conn| {
            let page = store::points(conn, &query)?;
            let series =
                page.series.into_iter().map(|(series, points)| with_points(series, points));
            Ok(json(&Points { series: series.collect(), next: page.next.map(written) }))
        })
        .await?;
    Ok(as_json(body))
}

async fn contract(
    State(hall): State<Hall>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let account = hall::caller(&hall, &headers, Scope::Read).await?.account;
    let (mut host, mut plugin) = (None, None);
    for (name, value) in pairs(query.as_deref().unwrap_or_default())? {
        match name.as_str() {
            "host" => host = Some(value),
            "plugin" => plugin = Some(value),
            _ => return Err(unknown(&name)),
        }
    }
    let host = host.ok_or_else(|| Problem::parameter("host", "given"))?;
    let plugin = plugin.ok_or_else(|| Problem::parameter("plugin", "given"))?;
    let read = move |conn: &Connection| store::contract(conn, account, &host, &plugin);
    let found = hall.store.read(read).await?.ok_or_else(|| {
        Problem::new(
            StatusCode::NOT_FOUND,
            ProblemCode::ContractUnknown,
            "no contract is known",
            "no report of this plugin on this host has told what it declares; agents do so in the first report after a start, and once an hour",
        )
    })?;
    Ok(answer(StatusCode::OK, &found))
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

fn as_json(body: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// Whether what is listed has names to filter by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Names {
    Given,
    None,
}

fn filter(account: i64, query: &str, names: Names) -> Result<Filter, Problem> {
    let mut filter = Filter { account, limit: ITEMS, ..Filter::default() };
    for (name, value) in pairs(query)? {
        match name.as_str() {
            "host" => filter.host = Some(value),
            "plugin" => filter.plugin = Some(value),
            "name" if names == Names::Given => filter.name = Some(value),
            "limit" => filter.limit = count(&value, MOST_ITEMS)?,
            "after" => filter.after = Some(value.parse().map_err(|_| not_a_next())?),
            _ => return Err(unknown(&name)),
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
            "after" => wanted.position = Some(position(&value).ok_or_else(not_a_next)?),
            _ => return Err(unknown(&name)),
        }
    }
    for (name, given) in [("host", &wanted.filter.host), ("plugin", &wanted.filter.plugin)] {
        if given.is_none() {
            return Err(Problem::parameter(name, "given"));
        }
    }
    Ok(wanted)
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
