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
    #[cfg(test)]
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

#[cfg(test)]
mod tests {
    use crate::contract::explain::{self, Kind};

    use super::Exit;

    #[test]
    fn every_exit_code_has_a_page_and_every_page_is_of_one() {
        let mut pages: Vec<&str> = Vec::new();
        pages.extend(explain::pages().iter().filter(|p| p.kind == Kind::Exit).map(|p| p.code));
        let codes: Vec<String> = Exit::ALL.map(|exit| (exit as u8).to_string()).into();
        assert_eq!(pages, codes);
    }
}
