//! One file per command. The only room that prints or exits.
//!
//! Data goes to stdout; talk, logs and run lines go to stderr. Exit codes are part of the
//! interface: see [`exit::Exit`].

mod args;
mod emit;
mod exit;
mod print;
