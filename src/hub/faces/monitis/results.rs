//! Posting results and reading them back.

use std::borrow::Cow;

use rusqlite::Connection;
use serde_json::value::RawValue;

use crate::hub::monitors::{
    self, Checking, Field, Interval, MonitorError, Page, ReportQuery, ResultRow, Role, Span,
};
use crate::model::{MetricType, Tags, Value};

use super::answer::{Answer, Node, Refusal};
use super::auth::failed;
use super::mini::Sent;
use super::{Call, mini, times};

/// Rows in one answer; a day has 86 400 seconds.
const ROWS: usize = 100_000;
/// Check times with detail in one answer.
const DETAILS: usize = 10_000;

pub(super) async fn add(call: Call<'_>) -> Result<Answer, Refusal> {
    let id = call.monitor()?;
    let ms = check_time(&call)?;
    let Sent { values, additional } = mini::results(call.required("results")?, call.dialect)?;
    let additional = match call.form.get("additionalResults") {
        Some(text) => Some(mini::additional(text)?),
        None => additional,
    };
    let (account, now) = (call.caller.account, call.now);
    call.hall
        .store
        .write(move |writer| {
            let monitor = monitors::must_find(writer.conn(), account, id)?;
            let declared = monitors::fields(writer.conn(), id, Role::Result)?;
            let several = monitor.multi_value;
            let values =
                values.iter().flat_map(|(name, text)| read(&declared, name, text, several));
            let row = ResultRow { ms, values: values.collect(), additional };
            writer.post_results_as(account, id, &[row], Checking::Lenient, now)
        })
        .await
        .map_err(failed)??;
    Ok(Answer::done(Node::Null))
}

/// The values that a text stands for: several where the monitor has such.
fn read(declared: &[Field], name: &str, text: &str, several: bool) -> Vec<(String, Value, Tags)> {
    let kind = declared.iter().find(|field| field.name == name).map(|field| field.kind);
    let value = |text: &str| match kind {
        // Who has nothing to say for a number sends nothing.
        Some(kind) if kind != MetricType::String && text.trim().is_empty() => Value::Gap,
        Some(kind) => monitors::parse(kind, text),
        None => monitors::parse(MetricType::Float, text),
    };
    let texts = several.then(|| mini::several(text)).flatten().unwrap_or_else(|| vec![text]);
    texts.into_iter().map(|text| (name.to_owned(), value(text), Tags::new())).collect()
}

/// There need not be a result at this check time.
pub(super) async fn add_additional(call: Call<'_>) -> Result<Answer, Refusal> {
    let id = call.monitor()?;
    let ms = check_time(&call)?;
    let rows = mini::additional(call.required("results")?)?;
    let (account, now) = (call.caller.account, call.now);
    call.hall
        .store
        .write(move |writer| {
            monitors::put_additional(writer, account, id, (ms, &rows), Checking::Lenient, now)
        })
        .await
        .map_err(failed)??;
    Ok(Answer::done(Node::Null))
}

/// The results of one day in UTC. `timezone` shifts the clock face that is shown, not the day.
pub(super) async fn of_day(call: Call<'_>) -> Result<Answer, Refusal> {
    let day = [call.required("year")?, call.required("month")?, call.required("day")?];
    let [year, month, day] = day;
    let Some((from, to)) = times::day(year, month, day) else {
        return Err(Refusal::bad("year, month and day are no date"));
    };
    let offset = offset(&call)?;
    let page = rows(call, move |conn, id| monitors::results(conn, id, from..=to, ROWS)).await?;
    whole(page.next)?;
    Ok(Answer::of("results", listed(&page, offset)))
}

/// Results from `dateFrom` to `dateTo`; with an interval one row for each, drawn together.
pub(super) async fn report(call: Call<'_>) -> Result<Answer, Refusal> {
    let (from, to) = range(&call)?;
    let offset = offset(&call)?;
    let interval = match call.form.get("interval") {
        None => None,
        Some(text) => {
            let span: Option<Span> = call.form.get("intervalType").unwrap_or("min").parse().ok();
            let interval =
                text.trim().parse().ok().zip(span).and_then(|(count, span)| {
                    Interval::new(count, span, i32::try_from(offset).ok()?)
                });
            let words = "interval is a number, intervalType one of min, hour, day and month";
            Some(interval.ok_or_else(|| Refusal::bad(words))?)
        }
    };
    let page = rows(call, move |conn, id| match interval {
        None => monitors::results(conn, id, from..=to, ROWS),
        Some(interval) => {
            let query = ReportQuery { from, to, interval, aggregation: None, limit: ROWS };
            monitors::report(conn, id, &query)
        }
    })
    .await?;
    whole(page.next)?;
    Ok(Answer::of("results", listed(&page, offset)))
}

/// The detail under one check time, as it was posted; without one, all there is in a row.
pub(super) async fn additional(call: Call<'_>) -> Result<Answer, Refusal> {
    let (from, to) = match call.form.get("checktime") {
        Some(_) => {
            let ms = check_time(&call)?;
            (ms, ms)
        }
        None => (i64::MIN, i64::MAX),
    };
    let found = rows(call, move |conn, id| monitors::additional(conn, id, from..=to, DETAILS));
    let found = found.await?;
    whole(found.next)?;
    let mut items = Vec::new();
    for detail in found.items {
        // What is stored are arrays.
        let rows: Vec<&RawValue> = serde_json::from_str(detail.rows.get()).unwrap_or_default();
        items.extend(rows.into_iter().map(|row| Node::Posted(row.get().to_owned())));
    }
    Ok(Answer::of("additionalResults", Node::List("result", items)))
}

/// The detail under all check times from `dateFrom` to `dateTo`.
pub(super) async fn additional_report(call: Call<'_>) -> Result<Answer, Refusal> {
    let (from, to) = range(&call)?;
    let offset = offset(&call)?;
    let found = rows(call, move |conn, id| monitors::additional(conn, id, from..=to, DETAILS));
    let found = found.await?;
    whole(found.next)?;
    let items = found.items.into_iter().map(|detail| {
        let mut members = Vec::new();
        members.extend(moment(detail.ms, offset));
        members.push(("results".into(), Node::Posted(detail.rows.get().to_owned())));
        Node::Object(members)
    });
    Ok(Answer::of("additionalResults", Node::List("result", items.collect())))
}

/// The old clients cannot ask for the rest of an answer: one that is cut would look whole.
fn whole(next: Option<i64>) -> Result<(), Refusal> {
    let words =
        "too much for one answer; ask for less: a report from dateFrom to dateTo, or one checktime";
    next.map_or(Ok(()), |_| Err(Refusal::bad(words)))
}

/// Reads of a monitor that is the account's.
async fn rows<T: Send + 'static>(
    call: Call<'_>,
    read: impl FnOnce(&Connection, i64) -> rusqlite::Result<T> + Send + 'static,
) -> Result<T, Refusal> {
    let (id, account) = (call.monitor()?, call.caller.account);
    let found = call
        .hall
        .store
        .read(move |conn| match monitors::must_find(conn, account, id) {
            Ok(_) => Ok(Ok(read(conn, id)?)),
            Err(error) => Ok(Err::<T, MonitorError>(error)),
        })
        .await
        .map_err(failed)?;
    Ok(found?)
}

/// Values are texts, as they were posted. What a row's own tags tell is there as well, but for the
/// number of a row in a monitor of several values.
fn listed(page: &Page, offset: i64) -> Node {
    let row = |row: &monitors::Row| {
        let mut members: Vec<(Cow<'static, str>, Node)> = row
            .values
            .iter()
            .map(|(name, value)| {
                let node = match value {
                    Value::Gap => Node::Null,
                    value => Node::text(value.to_string()),
                };
                (name.clone().into(), node)
            })
            .collect();
        for (key, value) in row.tags.iter().filter(|(key, _)| *key != "row") {
            if row.values.iter().all(|(name, _)| name != key) {
                members.push((key.to_owned().into(), Node::text(value)));
            }
        }
        members.extend(moment(row.ms, offset));
        Node::Object(members)
    };
    Node::List("result", page.rows.iter().map(row).collect())
}

/// When it was, as on a clock and in milliseconds.
fn moment(ms: i64, offset: i64) -> [(Cow<'static, str>, Node); 2] {
    [
        ("checkTime".into(), Node::Text(times::clock_face(ms, offset))),
        ("checkTimeInGMT".into(), Node::Text(ms.to_string())),
    ]
}

fn check_time(call: &Call<'_>) -> Result<i64, Refusal> {
    times::check_time(call.required("checktime")?)
        .ok_or_else(|| Refusal::bad("checktime is not a number of milliseconds since 1970"))
}

fn offset(call: &Call<'_>) -> Result<i64, Refusal> {
    times::offset(call.form.get("timezone"))
        .ok_or_else(|| Refusal::bad("timezone is not a number of minutes from GMT"))
}

fn range(call: &Call<'_>) -> Result<(i64, i64), Refusal> {
    let time = |name: &str| {
        times::check_time(call.required(name)?).ok_or_else(|| {
            Refusal::bad(format!("{name} is not a number of milliseconds since 1970"))
        })
    };
    Ok((time("dateFrom")?, time("dateTo")?))
}
