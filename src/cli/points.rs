//! Points of series, as the hub's API gives them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::model::MetricType;

/// An answer of `GET /api/v1/points`.
#[derive(Debug, Deserialize)]
pub(crate) struct Page {
    pub(crate) series: Vec<Series>,
    /// What to give as `after` for the rest.
    pub(crate) next: Option<String>,
}

/// One series, and points of it: milliseconds and value.
#[derive(Debug, Deserialize)]
#[cfg_attr(not(feature = "hub"), expect(dead_code, reason = "`test --verify` compares all of it"))]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) tags: BTreeMap<String, String>,
    #[serde(rename = "type")]
    pub(crate) kind: MetricType,
    pub(crate) unit: Option<String>,
    pub(crate) points: Vec<(i64, Value)>,
}
