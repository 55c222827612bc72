//! Milliseconds since 1970 as JSON: RFC 3339.

use serde::{Serialize, Serializer};

use crate::model::Timestamp;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
pub(crate) fn time<S: Serializer>(ms: &i64, s: S) -> Result<S::Ok, S::Error> {
    maybe_time(&Some(*ms), s)
}

#[expect(clippy::ref_option, clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
pub(crate) fn maybe_time<S: Serializer>(ms: &Option<i64>, s: S) -> Result<S::Ok, S::Error> {
    match ms.and_then(Timestamp::from_millis) {
        Some(time) => time.serialize(s),
        None => s.serialize_none(),
    }
}
