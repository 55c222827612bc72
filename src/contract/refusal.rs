//! A refusal in the making: what is wrong, where, and what to type instead.

use std::ops::Range;

use crate::model::{Field, Flaw, JsonKind, Record, Rejection, RejectionCode, Source};

/// Where the offending value stands.
#[derive(Debug, Clone)]
pub(super) enum At {
    /// The record itself.
    Record,
    /// A field of the record, by its key; empty for a value that is the record.
    Field(&'static str),
    /// Anything else, as a pointer from the document's root.
    Pointer(String),
}

/// Why one record is refused. Boxed: it is rare, and results carry it past every check.
#[derive(Debug, Clone)]
pub(super) struct Refusal(Box<Parts>);

/// What a refusal says.
#[derive(Debug, Clone)]
pub(super) struct Parts {
    pub(super) code: RejectionCode,
    pub(super) at: At,
    pub(super) span: Range<usize>,
    pub(super) rule: Option<String>,
    pub(super) message: String,
    pub(super) hint: String,
}

impl Refusal {
    /// A refusal that says this.
    pub(super) fn new(parts: Parts) -> Self {
        Self(Box::new(parts))
    }

    /// The code.
    pub(super) fn code(&self) -> RejectionCode {
        self.0.code
    }

    /// What is wrong.
    pub(super) fn message(&self) -> &str {
        &self.0.message
    }

    /// The same refusal of something elsewhere.
    pub(super) fn at(mut self, at: At, span: Range<usize>) -> Self {
        self.0.at = at;
        self.0.span = span;
        self
    }

    /// A refusal for what one field holds.
    pub(super) fn field(
        code: RejectionCode,
        field: &Field<'_>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self::new(Parts {
            code,
            at: At::Field(field.key),
            span: field.start..field.end,
            rule: None,
            message: message.into(),
            hint: hint.into(),
        })
    }

    /// A refusal for the record as a whole.
    pub(super) fn record(
        code: RejectionCode,
        record: &Record<'_>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self::new(Parts {
            code,
            at: At::Record,
            span: record.start..record.end,
            rule: None,
            message: message.into(),
            hint: hint.into(),
        })
    }

    /// A refusal for a field of another kind than it must be.
    pub(super) fn kind(code: RejectionCode, field: &Field<'_>, what: &str, expected: &str) -> Self {
        let found = field.raw.kind();
        let hint = match found {
            JsonKind::Array | JsonKind::Object => format!("write {expected}"),
            _ => format!("write {expected}, or leave `{}` out", field.key),
        };
        Self::field(code, field, format!("{what} must be {expected}, not {found}"), hint)
    }

    /// A refusal for something unreadable.
    pub(super) fn flaw(flaw: Flaw, at: At, span: Range<usize>) -> Self {
        let (message, hint) = flaw_words(flaw);
        Self::new(Parts {
            code: flaw.code(),
            at,
            span,
            rule: None,
            message: message.to_owned(),
            hint: hint.to_owned(),
        })
    }

    /// The same refusal with the rule that was broken.
    pub(super) fn rule(mut self, rule: impl Into<String>) -> Self {
        self.0.rule = Some(rule.into());
        self
    }

    /// The refusal as it goes into the report.
    pub(super) fn write(self, source: &Source<'_>, record: &Record<'_>) -> Rejection {
        let Parts { code, at, span, rule, message, hint } = *self.0;
        let (line, column) = source.place(span.start);
        let path = match at {
            At::Record => record.pointer(""),
            At::Field(key) => record.pointer(key),
            At::Pointer(path) => path,
        };
        let value = source.excerpt(span);
        Rejection { code, path, line, column, value, rule, message, hint }
    }
}

fn flaw_words(flaw: Flaw) -> (&'static str, &'static str) {
    match flaw {
        Flaw::NotFinite => {
            ("JSON has no NaN and no infinity", "print `null` for a gap, or leave the metric out")
        }
        Flaw::OutOfRange => (
            "the number is beyond what 64 bits can hold",
            "print `null` for a gap, or the number as a string",
        ),
        Flaw::Utf8 => {
            ("the text is not UTF-8", "print UTF-8: `LC_ALL=C.UTF-8`, or `iconv -t UTF-8`")
        }
        Flaw::Surrogate => (
            "half of a surrogate pair is no character",
            "write both halves, `\\ud83d\\ude00`, or the character itself in UTF-8",
        ),
        Flaw::TooDeep => {
            ("nested deeper than 64", "nest less deeply; metrics need no more than 4 levels")
        }
        Flaw::DuplicateKey => ("the same key twice; the first is kept", "print each key once"),
    }
}
