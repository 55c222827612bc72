//! Plugins as things to make and hand on.
//!
//! Promises that a new plugin from a template is right as it is. It writes no files and runs nothing.

mod template;

pub use template::{FileMode, Language, TemplateFile, UnknownLanguage, template};
