//! To come.
mod plugins;
