//! The hub over real HTTP on loopback.

mod api;
mod bodies;
mod browser;
mod durability;
mod fuzz;
mod pages;
mod schema;
mod support;
