use std::fmt;
use std::str::FromStr;

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
