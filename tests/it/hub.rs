//! The hub over real HTTP on loopback.

mod accounts;
mod api;
mod bodies;
mod browser;
mod durability;
mod explained;
mod fuzz;
mod keys;
mod monitor_pages;
mod monitors;
mod openapi;
mod package_pages;
mod packages;
mod pages;
mod schema;
mod signed;
mod support;
mod tls;
mod upkeep;
