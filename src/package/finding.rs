use serde::{Deserialize, Serialize};

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Weight {
    /// The package cannot be submitted or installed.
    Error,
    /// Works, but a reviewer will ask.
    Warning,
}

/// One thing that was found in a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How much it matters.
    pub weight: Weight,
    /// The file, by its path in the package; empty where it is about the whole.
    pub path: String,
    /// The line, from 1, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// What is wrong, in one line.
    pub message: String,
    /// What to do about it; may be empty.
    pub help: String,
}

impl Finding {
    /// Something that keeps the package from being used.
    pub fn error(path: &str, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::new(Weight::Error, path, message.into(), help.into())
    }

    /// Something that a reviewer will ask about.
    pub fn warning(path: &str, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::new(Weight::Warning, path, message.into(), help.into())
    }

    fn new(weight: Weight, path: &str, message: String, help: String) -> Self {
        Self { weight, path: path.to_owned(), line: None, message, help }
    }

    pub(super) fn at(mut self, line: usize) -> Self {
        self.line = Some(line);
        self
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.path.as_str(), self.line) {
            ("", _) => {}
            (path, None) => write!(f, "{path}: ")?,
            (path, Some(line)) => write!(f, "{path}:{line}: ")?,
        }
        f.write_str(&self.message)
    }
}
