//! What a program printed becomes records: the native JSON documents, and later the formats of
//! other agents, one file each.
//!
//! Promises: every byte that is not white space ends up in a record, in the head of a document or
//! in a refusal; a broken part costs itself and nothing before or after it; no input makes it panic,
//! recurse without bound, or take more than linear time; every refusal knows its line and column.
//!
//! Deliberately does not know: which names, types or values are right (that is `contract`), what a
//! plugin is, the clock, files, or how the program ended but for whether it was cut off.

mod json;

use std::fmt;
use std::str::FromStr;

use crate::model::{Records, Source};

/// What a program prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// The native JSON documents.
    #[default]
    Json,
}

/// Formats that the configuration has words for and this version cannot read.
const LATER: [&str; 11] = [
    "nagios",
    "prometheus",
    "influx",
    "munin",
    "graphite",
    "opentsdb",
    "mackerel",
    "checkmk",
    "netdata",
    "newrelic",
    "value",
];

/// Why a word is not a format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// A later version will know it.
    #[error(
        "format `{0}` is not in this version, which reads `json`: have the program print JSON, for example through `jq`"
    )]
    NotYet(String),
    /// Nobody knows it.
    #[error("there is no format `{0}`: use one of {known}", known = Format::names())]
    Unknown(String),
}

impl Format {
    /// Every format that this version reads.
    pub const ALL: [Self; 1] = [Self::Json];

    /// The word for it in a configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
        }
    }

    /// The words of all formats, as a list to show.
    pub fn names() -> String {
        Self::ALL.map(|f| format!("`{f}`")).join(", ")
    }

    /// Hands over what is in `output`, in the order in which it was printed.
    pub fn decode(self, output: &[u8], end: End, into: &mut dyn Records) {
        let source = Source::new(output);
        match self {
            Self::Json => json::decode(&source, end, into),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Format {
    type Err = FormatError;

    fn from_str(word: &str) -> Result<Self, FormatError> {
        if let Some(format) = Self::ALL.into_iter().find(|f| f.as_str() == word) {
            return Ok(format);
        }
        if LATER.contains(&word) {
            return Err(FormatError::NotYet(word.to_owned()));
        }
        Err(FormatError::Unknown(word.to_owned()))
    }
}

/// Whether the output ends where the program wanted it to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The program ended by itself: a last line without a line feed counts.
    Whole,
    /// The program or its output was cut off: a last half line is refused as `truncated`.
    Cut,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_have_words() {
        for format in Format::ALL {
            assert_eq!(format.to_string().parse(), Ok(format));
        }
        let later = "nagios".parse::<Format>().unwrap_err().to_string();
        assert!(later.contains("not in this version"), "{later}");
        let unknown = "jason".parse::<Format>().unwrap_err().to_string();
        assert!(unknown.contains("use one of `json`"), "{unknown}");
    }
}
