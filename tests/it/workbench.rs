//! The plugin author's tools: `talaia test`, the mistakes that everybody makes first, and contracts
//! learnt from what is printed.

mod advice;
mod contracts;
mod dry_run;
mod mistakes;
