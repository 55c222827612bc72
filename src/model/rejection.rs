use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Extent;
use super::codes::codes;

codes! {
    /// Why a record was refused. The list is closed; `talaia explain CODE` has a page for each.
    RejectionCode {
    /// A metric object has no name.
    NameMissing = "name-missing",
    /// The name has a hyphen; the hint has it with `_`.
    NameHyphen = "name-hyphen",
    /// The name is not `[A-Za-z_][A-Za-z0-9_]*`.
    NameInvalid = "name-invalid",
    /// A metric object has no value.
    ValueMissing = "value-missing",
    /// The value is of another kind than the type says.
    ValueType = "value-type",
    /// The value is an object or an array.
    ValueNested = "value-nested",
    /// The value is NaN or infinite.
    ValueNotFinite = "value-not-finite",
    /// The value is outside what its type can hold.
    ValueRange = "value-range",
    /// There is no such type.
    TypeUnknown = "type-unknown",
    /// The time cannot be read.
    TimeInvalid = "time-invalid",
    /// The time is more than ten minutes ahead.
    TimeFuture = "time-future",
    /// A tag's key or value cannot be used, or there are too many.
    TagInvalid = "tag-invalid",
    /// A JSON object has the same key twice.
    DuplicateKey = "duplicate-key",
    /// The same series came twice with the same time in one run.
    DuplicateSeries = "duplicate-series",
    /// The plugin is strict and did not declare this metric.
    Undeclared = "undeclared",
    /// The record breaks the plugin's own JSON Schema.
    Schema = "schema",
    /// A name, label, unit or string value is over its limit.
    TooLong = "too-long",
    /// Over 10 000 metrics in one run.
    TooManyMetrics = "too-many-metrics",
    /// Over 10 000 series of one plugin.
    TooManySeries = "too-many-series",
    /// JSON nested deeper than 64.
    TooDeep = "too-deep",
    /// The text starts like JSON and is not.
    JsonSyntax = "json-syntax",
    /// The text is not UTF-8.
    JsonUtf8 = "json-utf8",
    /// Lines that are not JSON at all.
    NotJson = "not-json",
    /// The run was cut off in the middle of this value.
    Truncated = "truncated",
}
}

/// One refused record, and what to type instead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// Why.
    pub code: RejectionCode,
    /// JSON pointer (RFC 6901) to the offending value inside its document; empty for the whole.
    pub path: String,
    /// Line in the plugin's own output, from 1.
    pub line: u32,
    /// Column in that line, in bytes, from 1.
    pub column: u32,
    /// The offending text, cut at 256 bytes.
    pub value: String,
    /// The rule that was broken, for example `type = "percent"` or a place in a schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// One sentence on what is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

/// A refused record with its own bytes, so that it can be judged again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuarantineItem {
    /// Why it was refused.
    pub rejection: Rejection,
    /// What was printed.
    pub excerpt: Excerpt,
}

/// What a plugin printed of one refused record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excerpt {
    /// What the bytes are.
    pub form: ExcerptForm,
    /// As printed; of a record, with as much of the document around it as it takes to read it
    /// again: the smallest document with the same meaning. At most
    /// [`limits::QUARANTINE_EXCERPT`](super::limits::QUARANTINE_EXCERPT) bytes.
    pub bytes: Box<[u8]>,
    /// Whether that is all of it. What was cut cannot be judged again.
    pub extent: Extent,
}

/// What a quarantined excerpt is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExcerptForm {
    /// A document with one record.
    Record,
    /// A record that was one too many in its run (the same key or series came before): judged
    /// alone it would be accepted, and would not be the truth.
    Duplicate,
    /// A whole document that the plugin's own schema refused.
    Document,
    /// Text that could not be read in the format that the plugin had.
    Text,
}

impl ExcerptForm {
    /// Every form.
    pub const ALL: [Self; 4] = [Self::Record, Self::Duplicate, Self::Document, Self::Text];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Duplicate => "duplicate",
            Self::Document => "document",
            Self::Text => "text",
        }
    }
}

impl FromStr for ExcerptForm {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|form| form.as_str() == word).ok_or(())
    }
}
