//! One binary for all integration tests: a file per subject.

mod exec;
