//! The nouns, and nothing that acts.
//!
//! Every other room speaks in these types. This room is pure: no clock, no files, no tasks, and it
//! uses no other room. The serde forms here are the wire forms of `schemas/report.v1.json` and
//! `schemas/batch.v1.json`; a test holds the two together.

mod chain;
mod codes;
mod declared;
mod delivery;
mod facts;
mod format;
mod ids;
mod metric;
mod outcome;
mod package;
mod record;
mod rejection;
mod report;
mod secret;
mod shebang;
mod signing;
mod tags;
mod time;
mod unseen;
mod value;

pub use chain::chain;
pub use codes::{
    AdviceCode, AuditAction, Evicted, OutcomeKind, ProblemCode, RefusedCode, WarningCode,
};
pub use declared::{Declared, ToldContract};
pub use delivery::{BatchReply, Receipt, Refused, Verdict};
pub use facts::{RUN_FACTS, RunFact, RunFacts};
pub use format::{Format, FormatError};
pub use ids::{
    AgentId, InvalidKey, InvalidName, PluginKey, PluginName, RunId, Seq, SpoolId, is_name,
    nearest_name,
};
pub use metric::{Metric, MetricType, Threshold};
pub use outcome::{Outcome, Rung, Status, Stream};
pub use package::{InvalidPackageName, InvalidVersion, PackageName, Version};
pub use record::{
    Extent, Field, Flaw, Head, Keep, Raw, RawTags, Record, Records, Source, Step, Tag, Taken, Tree,
    Unknown, Words, pointer, push_escaped,
};
pub use rejection::{Excerpt, ExcerptForm, QuarantineItem, Rejection, RejectionCode};
pub use report::{Counts, Report, Usage};
pub use secret::Secret;
pub use shebang::{Runner, SHEBANG, Unstartable, shebang};
pub use signing::Signing;
pub use tags::Tags;
pub use time::{Timestamp, TimestampError};
pub use unseen::is_unseen;
pub use value::{JsonKind, Value, number_text};

/// The limits of the native protocol. A record beyond one of them is refused with the code of the
/// limit; nothing is cut silently.
pub mod limits {
    /// Longest metric name, in bytes.
    pub const NAME: usize = 128;
    /// Longest label or unit, in bytes.
    pub const LABEL: usize = 256;
    /// Longest string value, in bytes.
    pub const TEXT: usize = 4096;
    /// Most tags on one metric, the plugin's and the agent's own included.
    pub const TAGS: usize = 32;
    /// Longest tag key, in bytes.
    pub const TAG_KEY: usize = 64;
    /// Longest tag value, in bytes.
    pub const TAG_VALUE: usize = 256;
    /// Most metrics in one run.
    pub const METRICS: usize = 10_000;
    /// Most series that one plugin may have while the agent lives.
    pub const SERIES: usize = 10_000;
    /// Deepest nesting of a JSON document.
    pub const DEPTH: usize = 64;
    /// Most rejections spelt out in one report; `counts` is complete all the same.
    pub const REJECTIONS: usize = 100;
    /// Longest excerpt of a refused value kept in a rejection, in bytes.
    pub const EXCERPT: usize = 256;
    /// Most refused records of one run that go into quarantine; `counts` is complete all the same.
    pub const QUARANTINE_ITEMS: usize = 1000;
    /// Most bytes of one refused record kept in quarantine.
    pub const QUARANTINE_EXCERPT: usize = 64 << 10;
    /// Most bytes of all refused records of one run kept in quarantine.
    pub const QUARANTINE_RUN: usize = 1 << 20;
    /// How far ahead of the agent's clock a metric's time may lie, in milliseconds.
    pub const FUTURE_MS: i64 = 600_000;
}
