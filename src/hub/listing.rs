//! Lists as the API answers them, a page at a time.

use std::fmt;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::store::json;

/// A page of a list.
#[derive(Debug, Serialize)]
pub(super) struct Listing<T> {
    pub(super) items: Vec<T>,
    /// What to give as `after` for the items that follow; null at the end.
    pub(super) next: Option<String>,
}

impl<T> Listing<T> {
    /// Of the first `limit` items; that there is one more says that the list goes on. `place` is
    /// what stands for an item in `next`.
    pub(super) fn of<P: fmt::Display>(
        mut items: Vec<T>,
        limit: usize,
        place: impl FnOnce(&T) -> P,
    ) -> Self {
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(|last| place(last).to_string());
        Self { items, next }
    }
}

/// An answer of JSON.
pub(super) fn answer<T: Serialize>(status: StatusCode, value: &T) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], json(value)).into_response()
}
