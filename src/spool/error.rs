use std::error::Error;
use std::io;
use std::path::PathBuf;

use rusqlite::ErrorCode;

use crate::model::PluginName;

/// Why the spool could not do something. A variant for each operation.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The data folder could not be made.
    #[error("cannot make the data folder {}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        #[source]
        #[expect(missing_docs, reason = "the error underneath")]
        source: io::Error,
    },
    /// Somebody else could change what is in the data folder. Found by whoever opens the spool: the
    /// spool itself knows no rules about that.
    #[error("the data folder is not safe")]
    Untrusted(#[source] Box<dyn Error + Send + Sync>),
    /// The lock file could not be opened or locked.
    #[error("cannot lock {}", path.display())]
    Lock {
        /// The lock file.
        path: PathBuf,
        #[source]
        #[expect(missing_docs, reason = "the error underneath")]
        source: io::Error,
    },
    /// Another agent uses the folder.
    #[error(
        "{} is in use by {}, or give this agent another `data_dir`",
        path.display(),
        match (pid, ended) {
            (None, _) => "another process: stop it".to_owned(),
            (Some(pid), false) => format!("process {pid}: stop it"),
            (Some(pid), true) => format!(
                "a program that process {pid}, which has ended, was just starting and that cannot \
                 be loaded: does its file system answer? Wait until it does"
            ),
        }
    )]
    InUse {
        /// The data folder.
        path: PathBuf,
        /// The other agent, where it said.
        pid: Option<u32>,
        /// Whether there is no such process any more.
        ended: bool,
    },
    /// The file, its log or their folder may be read only.
    #[error("cannot write {}: it must be writable by the user that runs the agent", path.display())]
    NotWritable {
        /// What cannot be written.
        path: PathBuf,
        #[source]
        #[expect(missing_docs, reason = "the error underneath")]
        source: io::Error,
    },
    /// The file was written by a newer version.
    #[error(
        "{} was written by a newer version (its schema is {found}, this one knows {known}): install talaia {install} or later",
        path.display()
    )]
    Newer {
        /// The file, untouched.
        path: PathBuf,
        /// Its schema.
        found: u32,
        /// The newest schema known here.
        known: u32,
        /// The version that wrote it.
        install: String,
    },
    /// The file could not be opened, made or prepared.
    #[error("cannot open the spool {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        #[source]
        #[expect(missing_docs, reason = "the error underneath")]
        source: rusqlite::Error,
    },
    /// The file could not be looked at, made or put in place.
    #[error("cannot prepare the spool {}", path.display())]
    Prepare {
        /// The file.
        path: PathBuf,
        #[source]
        #[expect(missing_docs, reason = "the error underneath")]
        source: io::Error,
    },
    /// The contents are not what a spool holds.
    #[error("the spool {} is damaged: {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Reports could not be read.
    #[error("cannot read the spool {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        #[source]
        #[expect(missing_docs, reason = "the error underneath")]
        source: rusqlite::Error,
    },
    /// A change could not be committed. Nothing of it happened, or it is tried again.
    #[error("cannot write the spool {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        #[source]
        #[expect(missing_docs, reason = "the error underneath")]
        source: rusqlite::Error,
    },
    /// The database is closed after an error and will be opened again.
    #[error("the spool is closed for now: {why}")]
    Closed {
        /// What failed.
        why: String,
    },
    /// There is no spool to look at.
    #[error("there is no spool at {}: has an agent run with this `data_dir`?", path.display())]
    Absent {
        /// Where it would be.
        path: PathBuf,
    },
    /// The writer's thread could not be started.
    #[error("cannot start the spool's thread")]
    Thread {
        #[source]
        #[expect(missing_docs, reason = "the error underneath")]
        source: io::Error,
    },
    /// The spool was closed while the request waited.
    #[error("the spool was closed")]
    Gone,
}

impl SpoolError {
    /// Whether the file itself is bad, so that it has to be mended or moved aside.
    pub(super) fn is_damage(&self) -> bool {
        match self {
            Self::Damaged { .. } => true,
            Self::Open { source, .. } | Self::Read { source, .. } | Self::Write { source, .. } => {
                is_damage(source)
            }
            _ => false,
        }
    }

    /// The message with its causes, for one line of a log.
    pub(super) fn chain(&self) -> String {
        crate::model::chain(self)
    }
}

/// Whether SQLite says that the file is not what it should be.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    match error {
        rusqlite::Error::SqliteFailure(failure, text) => match failure.code {
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => true,
            // A table or column is gone: nothing but damage does that to our own statements.
            ErrorCode::Unknown => text
                .as_deref()
                .is_some_and(|t| t.contains("no such table") || t.contains("no such column")),
            _ => false,
        },
        rusqlite::Error::SqlInputError { msg, .. } => {
            msg.contains("no such table") || msg.contains("no such column")
        }
        rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::Utf8Error(..)
        | rusqlite::Error::QueryReturnedNoRows => true,
        _ => false,
    }
}

/// Why a report was not queued. It is gone: a run that is not on disk was never produced.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The disk has not kept up for so long that the queue is full.
    #[error("the report of plugin `{plugin}` is lost: the queue to the disk is full")]
    Full {
        /// The plugin whose run is lost.
        plugin: PluginName,
    },
    /// The body is not a JSON object with members.
    #[error("the report of plugin `{plugin}` is not a JSON object")]
    NotAnObject {
        /// The plugin.
        plugin: PluginName,
    },
    /// The spool is closing.
    #[error("the report of plugin `{plugin}` is lost: the spool is closed")]
    Closing {
        /// The plugin whose run is lost.
        plugin: PluginName,
    },
}

/// The spool was closed, or failed for good, before the report was on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the report did not get to the disk")]
pub struct Lost;
