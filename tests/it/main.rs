//! All integration tests, in one binary.

#[cfg(feature = "hub")]
mod hub;
