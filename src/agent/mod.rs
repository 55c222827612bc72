//! Wires the rooms together, supervises, reloads and stops.
//!
//! # Promises
//!
//! - Every run becomes one report in the spool, or the agent says that it could not.
//! - A broken plugin or output never stops the agent.
//! - A reload touches only what changed: an untouched plugin keeps its phase, its state and its
//!   counters. A configuration that does not load changes nothing.
//! - A stop has two steps: first runs end by themselves or by the ladder and what is spooled gets a
//!   last chance; a second signal, or the deadline, ends that too. Nothing in it is needed for safety.
//!
//! Not known here: the hub (they speak HTTP, even in one process), terminals, command lines.

pub mod admin;
mod buffering;
pub mod confine;
mod itself;
mod keeper;
mod lags;
mod mistakes;
mod outputs;
mod own;
mod plugin;
pub mod prepare;
mod recent;
pub mod reload;
mod reloading;
pub mod replay;
pub mod report;
mod signals;
mod spooling;
pub mod status;
mod supervisor;
mod timetable;
pub mod trial;

pub use buffering::text_of;
pub use outputs::{Embedded, OnDelivery, talaia_settings};
pub use signals::Hangups;
pub use supervisor::{Agent, AgentError, Surroundings};
