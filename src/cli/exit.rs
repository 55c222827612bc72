use std::fmt;
use std::process::ExitCode;

use crate::model::chain;

/// How a command ended. The numbers are part of the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All well.
    Ok = 0,
    /// It worked, and found something wrong with what it looked at.
    Finding = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// The input cannot be read.
    Input = 65,
    /// Nobody answers.
    Unreachable = 69,
    /// A defect of this program.
    Internal = 70,
    /// The disk, or another agent's lock on it.
    Disk = 74,
    /// The configuration does not load.
    Config = 78,
}

impl Exit {
    /// All of them.
    pub(crate) const ALL: [Self; 8] = [
        Self::Ok,
        Self::Finding,
        Self::Usage,
        Self::Input,
        Self::Unreachable,
        Self::Internal,
        Self::Disk,
        Self::Config,
    ];

    /// What it says, as a sentence.
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "All well.",
            Self::Finding => "It worked, and found something wrong with what it looked at.",
            Self::Usage => "The command line makes no sense, or names what there is not.",
            Self::Input => "The input cannot be read.",
            Self::Unreachable => "Nobody answers: no agent, no hub.",
            Self::Internal => "A defect of the program.",
            Self::Disk => "The disk, or another agent's lock on it.",
            Self::Config => "The configuration does not load.",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command did not do what it was asked, and with which exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) text: String,
    /// The status of an answer that said no.
    pub(crate) status: Option<u16>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, text: impl Into<String>) -> Self {
        Self { exit, text: text.into(), status: None }
    }

    /// An error with all its causes in one line.
    pub(crate) fn from_error(exit: Exit, error: &dyn std::error::Error) -> Self {
        Self::new(exit, chain(error))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
