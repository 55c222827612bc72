//! One binary for all integration tests: a file per subject.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
#![expect(
    clippy::disallowed_methods,
    reason = "tests read their own switches, write plain files and wait for whole programs"
)]

mod agent;
mod architecture;
#[cfg(feature = "hub")]
mod backlog;
#[cfg(feature = "hub")]
mod bad_input;
#[cfg(feature = "hub")]
mod book;
#[cfg(feature = "hub")]
mod chaos;
#[cfg(feature = "hub")]
mod cli;
#[cfg(feature = "hub")]
mod complaints;
#[cfg(feature = "hub")]
mod cookbook;
mod decode;
mod deliver;
#[cfg(feature = "hub")]
mod disk;
#[cfg(feature = "hub")]
mod edits;
mod exec;
#[cfg(feature = "hub")]
mod explained;
#[cfg(feature = "hub")]
mod faces;
#[cfg(feature = "hub")]
mod fire;
mod fuzz;
#[cfg(feature = "hub")]
mod hostile;
#[cfg(feature = "hub")]
mod hub;
mod judge;
#[cfg(feature = "hub")]
mod keys;
#[cfg(feature = "hub")]
mod kill;
#[cfg(feature = "hub")]
mod launcher;
#[cfg(feature = "hub")]
mod lost_reply;
#[cfg(feature = "hub")]
mod monitor;
#[cfg(feature = "hub")]
mod own;
#[cfg(feature = "hub")]
mod packages;
mod plugins;
#[cfg(feature = "hub")]
mod proxy;
#[cfg(feature = "hub")]
mod pty;
#[cfg(feature = "hub")]
mod quarantine;
#[cfg(feature = "hub")]
mod reload;
mod schema;
#[cfg(feature = "hub")]
mod shell;
mod spool;
mod spool_damage;
mod spool_model;
mod stream;
#[cfg(feature = "hub")]
mod stream_agent;
#[cfg(feature = "hub")]
mod support;
#[cfg(feature = "hub")]
mod top;
#[cfg(feature = "hub")]
mod trust;
#[cfg(feature = "hub")]
mod unwritable;
#[cfg(feature = "hub")]
mod workbench;
