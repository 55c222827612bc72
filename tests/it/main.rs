//! All integration tests, in one binary.

mod decode;
mod judge;
mod schema;
