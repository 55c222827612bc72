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

pub use crate::model::{Format, FormatError};
use crate::model::{Records, Source};

impl Format {
    /// Hands over what is in `output`, in the order in which it was printed.
    pub fn decode(self, output: &[u8], end: End, into: &mut dyn Records) {
        let source = Source::new(output);
        match self {
            Self::Json => json::decode(&source, end, into),
        }
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
