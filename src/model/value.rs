use std::fmt;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A metric's value. Whole numbers are exact from −2^63 to 2^64−1.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// An explicit gap: the plugin looked and there was nothing to see. JSON `null`.
    Gap,
    /// A whole number up to 2^63−1.
    Signed(i64),
    /// A whole number above 2^63−1, and only such a one.
    Unsigned(u64),
    /// Any other number; always finite.
    Float(f64),
    /// True or false.
    Boolean(bool),
    /// A text of at most [`super::limits::TEXT`] bytes.
    Text(Box<str>),
}

impl Value {
    /// The value of an unsigned whole number, in its one representation.
    pub fn unsigned(n: u64) -> Self {
        i64::try_from(n).map_or(Self::Unsigned(n), Self::Signed)
    }

    /// The value as a float, where it is a number or a boolean (1 and 0).
    pub fn as_f64(&self) -> Option<f64> {
        match *self {
            Self::Signed(n) => Some(n as f64),
            Self::Unsigned(n) => Some(n as f64),
            Self::Float(x) => Some(x),
            Self::Boolean(b) => Some(f64::from(u8::from(b))),
            Self::Gap | Self::Text(_) => None,
        }
    }
}

/// A number for people: very large and very small ones with an exponent, and not in three hundred
/// digits.
pub fn number_text(x: f64) -> String {
    let size = x.abs();
    if size >= 1e17 || (size > 0.0 && size < 1e-5) { format!("{x:e}") } else { x.to_string() }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gap => f.write_str("null"),
            Self::Signed(n) => fmt::Display::fmt(n, f),
            Self::Unsigned(n) => fmt::Display::fmt(n, f),
            Self::Float(x) => fmt::Display::fmt(x, f),
            Self::Boolean(b) => fmt::Display::fmt(b, f),
            Self::Text(t) => f.write_str(t),
        }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Gap => s.serialize_unit(),
            Self::Signed(n) => s.serialize_i64(*n),
            Self::Unsigned(n) => s.serialize_u64(*n),
            Self::Float(x) => s.serialize_f64(*x),
            Self::Boolean(b) => s.serialize_bool(*b),
            Self::Text(t) => s.serialize_str(t),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Scalar;

        impl Visitor<'_> for Scalar {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, a string, a boolean or null")
            }

            fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
                Ok(Value::Gap)
            }

            fn visit_i64<E: de::Error>(self, n: i64) -> Result<Value, E> {
                Ok(Value::Signed(n))
            }

            fn visit_u64<E: de::Error>(self, n: u64) -> Result<Value, E> {
                Ok(Value::unsigned(n))
            }

            fn visit_f64<E: de::Error>(self, x: f64) -> Result<Value, E> {
                Ok(Value::Float(x))
            }

            fn visit_bool<E: de::Error>(self, b: bool) -> Result<Value, E> {
                Ok(Value::Boolean(b))
            }

            fn visit_str<E: de::Error>(self, t: &str) -> Result<Value, E> {
                Ok(Value::Text(t.into()))
            }
        }

        d.deserialize_any(Scalar)
    }
}

/// What a JSON value is, for messages: "expected a number, got a string".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonKind {
    /// `null`
    Null,
    /// `true` or `false`
    Boolean,
    /// A number, whole or not.
    Number,
    /// A string.
    String,
    /// An array.
    Array,
    /// An object.
    Object,
}

impl fmt::Display for JsonKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Boolean => "a boolean",
            Self::Number => "a number",
            Self::String => "a string",
            Self::Array => "an array",
            Self::Object => "an object",
        })
    }
}
