//! Whole rooms, from outside: one file per subject.

mod spool;
mod spool_damage;
mod spool_model;
