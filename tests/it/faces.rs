//! The two old services' interfaces, by the bytes that their clients send.

mod clients;
mod fuzz;
mod monitis;
mod sentinella;
mod stories;
pub(crate) mod support;
