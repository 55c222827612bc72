//! One value on its way through the hub: between the wire, the store and the pages.

use crate::model::Value;

/// A value that borrows its text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Scalar<'a> {
    Gap,
    Boolean(bool),
    Signed(i64),
    /// Above 2^63−1, and only then.
    Unsigned(u64),
    Float(f64),
    Text(&'a str),
}

impl Scalar<'_> {
    pub(crate) fn to_value(self) -> Value {
        match self {
            Self::Gap => Value::Gap,
            Self::Boolean(b) => Value::Boolean(b),
            Self::Signed(n) => Value::Signed(n),
            Self::Unsigned(n) => Value::Unsigned(n),
            Self::Float(x) => Value::Float(x),
            Self::Text(t) => Value::Text(t.into()),
        }
    }
}

impl<'a> From<&'a Value> for Scalar<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::Gap => Self::Gap,
            Value::Boolean(b) => Self::Boolean(*b),
            Value::Signed(n) => Self::Signed(*n),
            Value::Unsigned(n) => Self::Unsigned(*n),
            Value::Float(x) => Self::Float(*x),
            Value::Text(t) => Self::Text(t),
        }
    }
}
