use std::fmt;

use serde::{Deserialize, Serialize};

use super::codes::OutcomeKind;

/// How one run ended. Every run has exactly one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Outcome {
    /// The program ended by itself.
    Exited {
        /// Its exit code, 0 to 255.
        code: u8,
    },
    /// A signal that the agent did not send ended it.
    Signaled {
        /// The signal's number.
        signal: i32,
    },
    /// It was still running at its deadline.
    TimedOut {
        /// How far up the ladder the agent had to go.
        reached: Rung,
    },
    /// It printed more than eight times its cap.
    Flooded {
        /// Where it printed.
        stream: Stream,
        /// The cap in bytes.
        limit: u64,
    },
    /// It never ran.
    NotStarted {
        /// Why, in a sentence that names the file.
        error: String,
    },
    /// The agent was stopping, or reloading without this plugin.
    Stopped,
    /// A long-lived plugin answered a tick, or this is a slice of its lines.
    Answered,
}

impl Outcome {
    /// Which kind it is.
    pub fn kind(&self) -> OutcomeKind {
        match self {
            Self::Exited { .. } => OutcomeKind::Exited,
            Self::Signaled { .. } => OutcomeKind::Signaled,
            Self::TimedOut { .. } => OutcomeKind::TimedOut,
            Self::Flooded { .. } => OutcomeKind::Flooded,
            Self::NotStarted { .. } => OutcomeKind::NotStarted,
            Self::Stopped => OutcomeKind::Stopped,
            Self::Answered => OutcomeKind::Answered,
        }
    }

    /// Whether the program did what it set out to do.
    pub fn is_ok(&self) -> bool {
        matches!(self, Self::Exited { code: 0 } | Self::Answered)
    }

    /// The status that follows from the outcome alone: a program that exited 0 is ok, of any other
    /// nothing is known.
    pub fn status(&self) -> Status {
        if self.is_ok() { Status::Ok } else { Status::Unknown }
    }

    /// Whether the program was cut off, so that its last line may be half a line.
    pub fn was_cut(&self) -> bool {
        !matches!(self, Self::Exited { .. } | Self::Answered)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited { code } => write!(f, "exit {code}"),
            Self::Signaled { signal } => write!(f, "killed by signal {signal}"),
            Self::TimedOut { reached: Rung::Term } => f.write_str("timed out (ended by TERM)"),
            Self::TimedOut { reached: Rung::Kill } => f.write_str("timed out (ended by KILL)"),
            Self::Flooded { stream, limit } => {
                write!(f, "printed over 8 times its cap of {limit} bytes on {stream}")
            }
            Self::NotStarted { error } => write!(f, "not started: {error}"),
            Self::Stopped => f.write_str("stopped by the agent"),
            Self::Answered => f.write_str("answered"),
        }
    }
}

/// How far up the kill ladder the agent had to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rung {
    /// TERM was enough.
    Term,
    /// It took KILL.
    Kill,
}

/// One of a program's two outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Records.
    Stdout,
    /// Log lines.
    Stderr,
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        })
    }
}

/// What a run says of the thing it looks at.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// All is well.
    #[default]
    Ok,
    /// Worth a look.
    Warning,
    /// Broken.
    Critical,
    /// The plugin could not tell.
    Unknown,
}

impl Status {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Critical => "critical",
            Self::Unknown => "unknown",
        }
    }

    /// Reads the word on the wire.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Ok, Self::Warning, Self::Critical, Self::Unknown]
            .into_iter()
            .find(|s| s.as_str() == word)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
