use std::fmt;
use std::str::FromStr;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Tags, Timestamp, Value};

/// What kind of quantity a metric is. A declared type never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MetricType {
    /// A whole number from −2^63 to 2^64−1.
    Integer,
    /// Any finite number.
    Float,
    /// A percentage: 71.2 means 71.2 %. Not capped at 100, never rescaled.
    Percent,
    /// A cumulative count, at least 0; a decrease is a reset. Shown as a rate per second.
    Counter,
    /// True or false; 0 and 1 are accepted.
    #[serde(alias = "binary")]
    Boolean,
    /// A text.
    String,
}

impl MetricType {
    /// Every type, in the order in which they are documented.
    pub const ALL: [Self; 6] =
        [Self::Integer, Self::Float, Self::Percent, Self::Counter, Self::Boolean, Self::String];

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Integer => "integer",
            Self::Float => "float",
            Self::Percent => "percent",
            Self::Counter => "counter",
            Self::Boolean => "boolean",
            Self::String => "string",
        }
    }
}

impl fmt::Display for MetricType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for MetricType {
    type Err = ();

    /// Reads the word on the wire; `binary` is another word for `boolean`.
    fn from_str(word: &str) -> Result<Self, ()> {
        match word {
            "binary" => Ok(Self::Boolean),
            _ => Self::ALL.into_iter().find(|t| t.as_str() == word).ok_or(()),
        }
    }
}

/// A `warn` or `crit` mark: a number, or a Nagios range such as `10:20` or `@~:5`. Drawn and
/// forwarded, never judged by the agent.
#[derive(Debug, Clone, PartialEq)]
pub enum Threshold {
    /// A single bound.
    Number(f64),
    /// A Nagios range, as written.
    Range(Box<str>),
}

impl Serialize for Threshold {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(x) => s.serialize_f64(*x),
            Self::Range(t) => s.serialize_str(t),
        }
    }
}

impl<'de> Deserialize<'de> for Threshold {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Mark;

        impl Visitor<'_> for Mark {
            type Value = Threshold;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number or a Nagios range string")
            }

            fn visit_f64<E: de::Error>(self, x: f64) -> Result<Threshold, E> {
                Ok(Threshold::Number(x))
            }

            fn visit_i64<E: de::Error>(self, n: i64) -> Result<Threshold, E> {
                Ok(Threshold::Number(n as f64))
            }

            fn visit_u64<E: de::Error>(self, n: u64) -> Result<Threshold, E> {
                Ok(Threshold::Number(n as f64))
            }

            fn visit_str<E: de::Error>(self, t: &str) -> Result<Threshold, E> {
                Ok(Threshold::Range(t.into()))
            }
        }

        d.deserialize_any(Mark)
    }
}

/// One accepted record. Made by `contract` when it judges, and read back from stored reports.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// `[A-Za-z_][A-Za-z0-9_]*`, at most 128 bytes.
    pub name: Box<str>,
    /// The value, already of the kind that `kind` says.
    pub value: Value,
    /// The declared type, or the one inferred from the value.
    #[serde(rename = "type")]
    pub kind: MetricType,
    /// For example `%`, `B`, `s`; for a counter the unit of the count itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<Box<str>>,
    /// A readable name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<Box<str>>,
    /// The metric's own tags over the document's, the plugin's and the agent's.
    #[serde(default, skip_serializing_if = "Tags::is_empty")]
    pub tags: Tags,
    /// When it was observed; absent means the run's start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Timestamp>,
    /// Where it gets worrying.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warn: Option<Threshold>,
    /// Where it gets critical.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crit: Option<Threshold>,
    /// The least possible value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// The greatest possible value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
}
