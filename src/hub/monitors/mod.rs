//! Monitors: what the hub keeps results under, for agents' plugins and for direct senders alike.
//!
//! Promises: a monitor's id is never used again; what a direct sender posts is checked against the
//! fields that its monitor declares, and taken whole or not at all; it reads back as it was posted,
//! value for value; of two results at one check time the later one counts; a monitor that is removed
//! takes everything with it, and says how much that was.
//!
//! Deliberately does not know: HTTP, who is calling, how the old services wrote any of it, or how
//! points lie on disk.
//!
//! An agent's plugin is a monitor without anyone creating it: its host and plugin say which, it is
//! called `plugin@host` unless it was given a name, and its tag is the plugin's name. A direct
//! sender's monitor has a name and neither host nor plugin.

mod additional;
mod change;
mod csv;
mod field;
mod judging;
mod list;
mod post;
mod read;
mod remove;
mod report;

use crate::model::RejectionCode;

use super::store::StoreError;

pub(crate) use additional::{
    Checking, Details, add_additional, additional, additional_within, put_additional,
};
pub(crate) use change::{Distinct, Edit, NewMonitor, activate, create, edit, suspend};
pub(crate) use csv::csv;
pub(crate) use field::{Aggregation, Field, NewField, Role, fields, parse};
pub(crate) use list::{Monitor, MonitorFilter, Sender, find, list, must_find};
pub(crate) use post::{Posted, ResultRow};
pub(crate) use read::{Page, Row, results};
pub(crate) use remove::{Held, count};
pub(crate) use report::{Interval, ReportQuery, Span, report};

/// Most refused values that one answer spells out.
const REFUSED_SHOWN: usize = 100;

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MonitorError {
    /// Another monitor has the name.
    #[error("there is a monitor `{name}` already: it has the id {id}")]
    Exists {
        /// The other's id.
        id: i64,
        /// The name that both would have.
        name: String,
    },
    /// There is no such monitor.
    #[error("there is no monitor `{asked}`; `GET /api/v1/monitors` lists them all")]
    Unknown {
        /// The id or name that was asked for.
        asked: String,
    },
    /// Several monitors of different types have the name.
    #[error("`{asked}` may be any of the monitors {}; say which by its id", words(.ids))]
    Ambiguous {
        /// The name that was asked for.
        asked: String,
        /// Those that have it.
        ids: Vec<i64>,
    },
    /// The monitor cannot be like this.
    #[error("{problem}")]
    Invalid {
        /// JSON pointer to what is wrong in the definition.
        pointer: String,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// It was to be removed if nothing had come for it, and something has.
    #[error("monitor {id} was heard of since then, and stays")]
    Used {
        /// Its id.
        id: i64,
    },
    /// It takes no results.
    #[error("monitor {id} is suspended and takes no results; activate it first")]
    Suspended {
        /// Its id.
        id: i64,
    },
    /// Results that do not keep to what the monitor declares. None of them was stored.
    #[error("{}", why(*.count, .refused))]
    Refused {
        /// How many values were refused.
        count: usize,
        /// The first of them, in the order in which they came.
        refused: Vec<RefusedValue>,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl MonitorError {
    fn invalid(pointer: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Invalid { pointer: pointer.into(), problem: problem.into() }
    }
}

impl From<rusqlite::Error> for MonitorError {
    fn from(source: rusqlite::Error) -> Self {
        Self::Store(StoreError::Sqlite { action: "change monitors in", source })
    }
}

/// One posted value that was not taken, in the words of a rejection.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub(crate) struct RefusedValue {
    pub(crate) code: RejectionCode,
    /// JSON pointer from the posted results, such as `/results/0/values/load`.
    pub(crate) path: String,
    pub(crate) value: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rule: Option<String>,
    pub(crate) message: String,
    pub(crate) hint: String,
}

fn words(ids: &[i64]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// How many values were refused, and the first of them in full.
fn why(count: usize, refused: &[RefusedValue]) -> String {
    let many = match count {
        1 => "a value cannot be taken, so nothing was stored".to_owned(),
        _ => format!("{count} values cannot be taken, so nothing was stored; the first"),
    };
    let Some(first) = refused.first() else { return many };
    let RefusedValue { code, path, message, hint, .. } = first;
    let hint = if hint.is_empty() { String::new() } else { format!("; {hint}") };
    format!("{many}: {path} ({code}): {message}{hint}")
}

#[cfg(test)]
mod tests;
