//! What stands behind the `?` of an address.

use crate::model::Timestamp;

use super::problem::Problem;

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

/// For a parameter that nothing here reads: a misspelt filter must not widen what is shown.
pub(super) fn unknown(name: &str) -> Problem {
    Problem::parameter(&shown(name), "left out: it is not known here")
}

/// For an `after` that no answer gave.
pub(super) fn not_a_next() -> Problem {
    Problem::parameter("after", "what the last answer gave as `next`")
}

fn shown(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(40).collect()
}

pub(super) fn count(text: &str, most: usize) -> Result<usize, Problem> {
    text.parse()
        .ok()
        .filter(|n| (1..=most).contains(n))
        .ok_or_else(|| Problem::parameter("limit", &format!("a number from 1 to {most}")))
}

/// Milliseconds since 1970, or RFC 3339.
pub(super) fn instant(name: &str, text: &str) -> Result<i64, Problem> {
    text.parse::<i64>()
        .ok()
        .or_else(|| Timestamp::parse(text).ok().map(Timestamp::millis))
        .ok_or_else(|| {
            Problem::parameter(name, "milliseconds since 1970, or a time as in RFC 3339")
        })
}
