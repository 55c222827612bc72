//! Talaia runs any program as a metrics plugin.
//!
//! Data moves one way; the rooms are listed in its order:
//!
//! ```text
//! schedule ─ exec ─▶ Run ─ decode ─▶ records ─ contract ─▶ Report ─ spool ─▶ deliver ─▶ hub
//! ```
//!
//! `ARCHITECTURE.md` has the map, the directions in which rooms may use each other, and why.

pub mod model;

pub mod config;
pub mod contract;
pub mod decode;
pub mod deliver;
pub mod exec;
#[cfg(feature = "hub")]
pub mod hub;
pub mod package;
pub mod schedule;
pub mod spool;

pub mod agent;
pub mod cli;
