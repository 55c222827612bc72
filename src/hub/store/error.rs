//! What can go wrong with the store.

use std::path::PathBuf;

use rusqlite::ErrorCode;

use crate::hub::wire::Fault;
use crate::model::Seq;

/// Why the store could not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database said no.
    #[error("cannot {action} the hub's database")]
    Sqlite {
        /// What was asked of it.
        action: &'static str,
        /// What it said.
        #[source]
        source: rusqlite::Error,
    },
    /// A damaged database could not be moved out of the way.
    #[error("cannot move the damaged database file {path} aside; move it yourself and start again")]
    MoveAside {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The file could not be made, or not closed to others.
    #[error("cannot make {path} a file of its owner alone")]
    Private {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The file, its log or their folder may be read only.
    #[error("cannot write {path}: it must be writable by the user that runs the hub")]
    NotWritable {
        /// What cannot be written.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The database was written by a later version, or by another program.
    #[error(
        "{path} is not a database of this version of the hub (it says version {version}); install the version of talaia that wrote it, or name another data folder"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version it says.
        version: i64,
    },
    /// The database is of an earlier version.
    #[error(
        "{path} is of an earlier version of the hub ({version}); start the hub with it once, which brings it up to date"
    )]
    Older {
        /// The file.
        path: PathBuf,
        /// The version it says.
        version: i64,
    },
    /// There is no room.
    #[error("the hub's disk is full; free some space or lower the hub's size")]
    Full,
    /// Too many are waiting.
    #[error("the hub is busy; try again in a moment")]
    Busy,
    /// What was to be read is more than there is time for.
    #[error(
        "it takes too long to find, and was given up; ask for less: a shorter time, one host and plugin, fewer names or a smaller limit"
    )]
    TooLong,
    /// A defect ended what was asked; nothing of it is stored.
    #[error("the hub failed at this request by a defect of its own")]
    Defect,
    /// The database is being opened anew after a defect.
    #[error("the hub recovers from a defect; try again in a moment")]
    Recovering,
    /// The hub is stopping.
    #[error("the hub is stopping")]
    Closed,
    /// A thread could not be started.
    #[error("cannot start a thread for the hub's database")]
    Thread(#[source] std::io::Error),
}

impl StoreError {
    /// Whether it is for want of space.
    pub(crate) fn is_full(&self) -> bool {
        match self {
            Self::Full => true,
            Self::Sqlite { source, .. } => source.sqlite_error_code() == Some(ErrorCode::DiskFull),
            _ => false,
        }
    }

    /// Whether a read was ended for want of time.
    pub(crate) fn is_too_long(&self) -> bool {
        match self {
            Self::TooLong => true,
            Self::Sqlite { source, .. } => {
                source.sqlite_error_code() == Some(ErrorCode::OperationInterrupted)
            }
            _ => false,
        }
    }
}

/// Why a batch was not taken. Nothing of it is stored then.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AppendError {
    #[error("the body is not a batch of reports")]
    Body(Fault),
    #[error("the agent says version {0}")]
    BodyOf(String, Fault),
    /// Another spool with the same identity sent what is stored under these numbers.
    #[error("report {seq} is not the one that is stored under this number")]
    Cloned { seq: Seq },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<rusqlite::Error> for AppendError {
    fn from(source: rusqlite::Error) -> Self {
        Self::Store(StoreError::Sqlite { action: "store a batch in", source })
    }
}
