//! What a plugin promised, and whether a record keeps it.
//!
//! Promises: every record and every refused stretch that a decoder hands over is counted once, as
//! accepted or under one code, so that `produced = accepted + rejected`; a refusal says where it
//! stands and what to type instead; the checks here accept what the schemas in `schemas/` accept,
//! and nothing else, where a schema can say it at all; a declared type never changes.
//!
//! Deliberately does not know: what format the program printed, how its run ended, the clock (it is
//! told the moment), files, or what becomes of a report.

mod advice;
mod check;
mod declared;
mod excerpt;
pub mod explain;
mod infer;
mod judge;
mod measure;
mod observed;
mod own;
mod refusal;
pub mod schemas;
mod series;
mod units;
mod words;

pub use advice::{Advice, advice, number_and_unit};
pub use declared::{Contract, ContractError, Strictness};

pub use crate::model::Declared;
pub use infer::{Basis, Proposal, infer};
pub use judge::{Judge, Judged, Moment};
pub use measure::measure;
pub use observed::Observed;
pub use own::{RuleBreach, Rules};
