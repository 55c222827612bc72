//! Whole rooms, from outside: one file per subject.

mod deliver;
mod spool;
mod spool_damage;
mod spool_model;
