//! Results, reports and additional results of one monitor.

use std::fmt;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::hub::body;
use crate::hub::hall::{self, Hall};
use crate::hub::keys::Scope;
use crate::hub::listing::{Listing, answer};
use crate::hub::monitors::{self, Page, ReportQuery, ResultRow};
use crate::hub::problem::Problem;
use crate::hub::store::json;
use crate::model::{Tags, Timestamp, Value};

use super::query::{self, Form, Rows};

/// Most bytes of a body, and most results in it.
const BODY: usize = 16 << 20;
const RESULTS: usize = 100_000;
/// How long a body may wait for its turn.
const TURN: Duration = Duration::from_secs(10);

/// What may be posted: results, or just one.
#[derive(Debug)]
struct Posting {
    results: Vec<OneResult>,
}

/// What is posted for one check time.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OneResult {
    /// Now, where it is none.
    #[serde(default)]
    time: Option<When>,
    #[serde(default)]
    tags: Tags,
    #[serde(default)]
    values: Values,
    #[serde(default)]
    additional: Option<serde_json::Value>,
}

impl<'de> Deserialize<'de> for Posting {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Either {
            #[serde(default)]
            results: Option<Vec<OneResult>>,
            #[serde(default)]
            time: Option<When>,
            #[serde(default)]
            tags: Option<Tags>,
            #[serde(default)]
            values: Option<Values>,
            #[serde(default)]
            additional: Option<serde_json::Value>,
        }
        let Either { results, time, tags, values, additional } = Either::deserialize(d)?;
        let one = time.is_some() || tags.is_some() || values.is_some() || additional.is_some();
        match (results, one) {
            (Some(results), false) => Ok(Self { results }),
            (None, true) => {
                let (tags, values) = (tags.unwrap_or_default(), values.unwrap_or_default());
                Ok(Self { results: vec![OneResult { time, tags, values, additional }] })
            }
            _ => Err(de::Error::custom(
                "send `{\"results\": [{\"time\": …, \"values\": {\"name\": 1}}]}`, or one result alone: `{\"values\": {\"name\": 1}}`",
            )),
        }
    }
}

/// A time as in RFC 3339, in seconds since 1970, or from 1e11 on in milliseconds.
#[derive(Debug, Clone, Copy)]
struct When(Timestamp);

impl<'de> Deserialize<'de> for When {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Time;

        impl Visitor<'_> for Time {
            type Value = When;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time as in RFC 3339, or in seconds or milliseconds since 1970")
            }

            fn visit_f64<E: de::Error>(self, x: f64) -> Result<When, E> {
                Timestamp::from_number(x)
                    .map(When)
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Float(x), &self))
            }

            fn visit_i64<E: de::Error>(self, n: i64) -> Result<When, E> {
                self.visit_f64(n as f64)
            }

            fn visit_u64<E: de::Error>(self, n: u64) -> Result<When, E> {
                self.visit_f64(n as f64)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<When, E> {
                Timestamp::parse(text)
                    .map(When)
                    .map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }

        d.deserialize_any(Time)
    }
}

/// Names and values as they came, so that a name that comes twice is seen.
#[derive(Debug, Default)]
struct Values(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Values;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of values, or of arrays of values")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Values, A::Error> {
                let mut values = Vec::new();
                while let Some((name, Several(several))) = map.next_entry::<String, Several>()? {
                    values.extend(several.into_iter().map(|value| (name.clone(), value)));
                }
                Ok(Values(values))
            }
        }

        d.deserialize_map(Members)
    }
}

/// A value, or an array of them.
struct Several(Vec<Value>);

impl<'de> Deserialize<'de> for Several {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Several;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, a string, a boolean, null, or an array of such values")
            }

            fn visit_unit<E: de::Error>(self) -> Result<Several, E> {
                Ok(Several(vec![Value::Gap]))
            }

            fn visit_bool<E: de::Error>(self, b: bool) -> Result<Several, E> {
                Ok(Several(vec![Value::Boolean(b)]))
            }

            fn visit_i64<E: de::Error>(self, n: i64) -> Result<Several, E> {
                Ok(Several(vec![Value::Signed(n)]))
            }

            fn visit_u64<E: de::Error>(self, n: u64) -> Result<Several, E> {
                Ok(Several(vec![Value::unsigned(n)]))
            }

            fn visit_f64<E: de::Error>(self, x: f64) -> Result<Several, E> {
                Ok(Several(vec![Value::Float(x)]))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Several, E> {
                Ok(Several(vec![Value::Text(text.into())]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Several, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = seq.next_element()? {
                    values.push(value);
                }
                Ok(Several(values))
            }
        }

        d.deserialize_any(Either)
    }
}

impl OneResult {
    fn into_row(self, now: i64) -> ResultRow {
        let Self { time, tags, values, additional } = self;
        ResultRow {
            ms: time.map_or(now, |When(time)| time.millis()),
            values: values.0.into_iter().map(|(name, value)| (name, value, tags.clone())).collect(),
            additional,
        }
    }
}

/// Takes results, all of them or none.
pub(super) async fn post(
    State(hall): State<Hall>,
    Path(asked): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let caller = hall::caller(&hall, &headers, Scope::Ingest).await?;
    body::check_type(&headers)?;
    let _turn = tokio::time::timeout(TURN, hall.posts.acquire())
        .await
        .map_err(|_| Problem::busy())?
        .map_err(|_| Problem::busy())?;
    let bytes = body::read(body, BODY).await?;
    let now = hall.clock.now();
    // Read on the writing side: a large body must not hold up what else is served.
    let posted = hall
        .store
        .write(move |writer| -> Result<monitors::Posted, Problem> {
            let Posting { results } = body::parse(&bytes)?;
            if results.len() > RESULTS {
                return Err(Problem::too_large(format!(
                    "over {RESULTS} results; send fewer at a time"
                )));
            }
            let found = monitors::find(writer.conn(), caller.account, &asked)?;
            let rows: Vec<ResultRow> =
                results.into_iter().map(|result| result.into_row(now)).collect();
            Ok(writer.post_results(caller.account, found.id, &rows, now)?)
        })
        .await??;
    Ok(answer(StatusCode::OK, &posted))
}

pub(super) async fn results(
    State(hall): State<Hall>,
    Path(asked): Path<String>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let caller = hall::caller(&hall, &headers, Scope::Read).await?;
    let wanted = query::rows(query.as_deref().unwrap_or_default(), hall.clock.now())?;
    page(&hall, caller.account, asked, wanted, move |conn, monitor| {
        monitors::results(conn, monitor, wanted.from..=wanted.to, wanted.limit)
    })
    .await
}

pub(super) async fn report(
    State(hall): State<Hall>,
    Path(asked): Path<String>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let caller = hall::caller(&hall, &headers, Scope::Read).await?;
    let (wanted, together) = query::report(query.as_deref().unwrap_or_default(), hall.clock.now())?;
    let report = ReportQuery {
        from: wanted.from,
        to: wanted.to,
        interval: together.interval,
        aggregation: together.aggregation,
        limit: wanted.limit,
    };
    page(&hall, caller.account, asked, wanted, move |conn, monitor| {
        monitors::report(conn, monitor, &report)
    })
    .await
}

/// A page of rows in the form that was asked for. Written on the reading side: a long answer must
/// not hold up what else is served.
async fn page(
    hall: &Hall,
    account: i64,
    asked: String,
    wanted: Rows,
    read: impl FnOnce(&rusqlite::Connection, i64) -> rusqlite::Result<Page> + Send + 'static,
) -> Result<Response, Problem> {
    let written = hall
        .store
        .read(move |conn| {
            let found = match monitors::find(conn, account, &asked) {
                Ok(found) => found,
                Err(error) => return Ok(Err(error)),
            };
            let page = read(conn, found.id)?;
            let next = page.next.map(|ms| ms.to_string());
            let body = match wanted.form {
                Form::Csv(texts) => monitors::csv(&page, texts),
                Form::Json => json(&Listing { items: page.rows, next: next.clone() }),
            };
            Ok(Ok((body, next)))
        })
        .await?;
    let (body, next) = written?;
    match wanted.form {
        Form::Json => Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response()),
        Form::Csv(_) => {
            let kind = (header::CONTENT_TYPE, "text/csv; charset=utf-8; header=present");
            // There is no place for it in the text.
            let next = next.map(|next| [("talaia-next", next)]);
            Ok(([kind], next, body).into_response())
        }
    }
}

/// Detail for one check time.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Detail {
    #[serde(default)]
    time: Option<When>,
    rows: serde_json::Value,
}

#[derive(Serialize)]
struct Put {
    time: Option<Timestamp>,
    rows: usize,
}

pub(super) async fn post_additional(
    State(hall): State<Hall>,
    Path(asked): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let caller = hall::caller(&hall, &headers, Scope::Ingest).await?;
    let wanted: Detail = body::json(&headers, body, 1 << 20).await?;
    let now = hall.clock.now();
    let ms = wanted.time.map_or(now, |When(time)| time.millis());
    let rows = wanted.rows.as_array().map_or(0, Vec::len);
    super::change(&hall, caller, asked, move |writer, caller, found| {
        let rows = (ms, &wanted.rows);
        let checking = monitors::Checking::Declared;
        monitors::put_additional(writer, caller.account, found.id, rows, checking, now)
    })
    .await?;
    Ok(answer(StatusCode::OK, &Put { time: Timestamp::from_millis(ms), rows }))
}

pub(super) async fn additional(
    State(hall): State<Hall>,
    Path(asked): Path<String>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let caller = hall::caller(&hall, &headers, Scope::Read).await?;
    let Rows { from, to, limit, form } =
        query::rows(query.as_deref().unwrap_or_default(), hall.clock.now())?;
    if form != Form::Json {
        return Err(Problem::parameter("format", "`json`: these are objects of any kind"));
    }
    let found = hall
        .store
        .read(move |conn| {
            let found = match monitors::find(conn, caller.account, &asked) {
                Ok(found) => found,
                Err(error) => return Ok(Err(error)),
            };
            monitors::additional(conn, found.id, from..=to, limit).map(Ok)
        })
        .await?;
    let monitors::Details { items, next } = found?;
    let next = next.map(|next| next.to_string());
    Ok(answer(StatusCode::OK, &Listing { items, next }))
}
