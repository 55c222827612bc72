//! Monitis custom monitors.
mod answer;
mod form;
mod mini;
mod sign;
mod times;
mod tokens;

use axum::Router;
use crate::hub::hall::Hall;

pub(super) fn routes() -> Router<Hall> { Router::new() }
