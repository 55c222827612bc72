//! What the hub keeps for the machine it runs on: the master key, and `credentials.json`, which must
//! hold a key that works, or the local agent and commands are locked out.

use std::path::PathBuf;

use rusqlite::Connection;
use tokio::sync::watch;

use crate::model::{Secret, chain};

use super::accounts;
use super::caller::Caller;
use super::credentials::{Credentials, Master, hash, same_hash};
use super::keys::{self, KeyError, Rotated};

/// Shared by everything that answers. Whatever changes the credentials runs on the writing thread,
/// so no two do at a time.
pub(crate) struct Local {
    folder: PathBuf,
    master: Master,
    credentials: watch::Sender<Credentials>,
}

/// Whether `credentials.json` followed a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Followed {
    /// What changed is not in it.
    NotConcerned,
    /// It was written anew, and the local agent told.
    Written,
    /// The local agent was told, but the file could not be written.
    NotWritten(String),
}

impl Local {
    pub(crate) fn new(folder: PathBuf, master: Master, credentials: Credentials) -> Self {
        Self { folder, master, credentials: watch::Sender::new(credentials) }
    }

    /// Opens and seals what the database keeps encrypted.
    pub(crate) fn master(&self) -> &Master {
        &self.master
    }

    /// What reaches this hub now.
    pub(crate) fn credentials(&self) -> Credentials {
        self.credentials.borrow().clone()
    }

    /// Follows the credentials.
    pub(crate) fn watch(&self) -> watch::Receiver<Credentials> {
        self.credentials.subscribe()
    }

    /// The name of the key that the local agent uses, where it is of this account and still works.
    pub(crate) fn key_name(
        &self,
        conn: &Connection,
        account: i64,
    ) -> rusqlite::Result<Option<String>> {
        let hash = hash(&self.credentials.borrow().key);
        keys::name_of(conn, account, &hash)
    }

    /// [`keys::rotate`]; where it is the local key, the local agent gets the new one.
    pub(crate) fn rotate(
        &self,
        conn: &mut Connection,
        caller: &Caller,
        rotation: &keys::Rotation,
        now: i64,
    ) -> Result<(Rotated, Followed), KeyError> {
        let rotated = keys::rotate(conn, caller, rotation, now)?;
        let mut credentials = self.credentials();
        if !same_hash(&rotated.old, &hash(&credentials.key)) {
            return Ok((rotated, Followed::NotConcerned));
        }
        rotated.key.expose().clone_into(&mut credentials.key);
        let followed = self.follow(credentials);
        Ok((rotated, followed))
    }

    /// [`accounts::rotate_secret`], for the local commands as well.
    pub(crate) fn rotate_secret(
        &self,
        conn: &mut Connection,
        caller: &Caller,
        now: i64,
    ) -> rusqlite::Result<Option<(Secret, Followed)>> {
        let Some(secret) = accounts::rotate_secret(conn, &self.master, caller, now)? else {
            return Ok(None);
        };
        let mut credentials = self.credentials();
        if accounts::api_key(conn, caller.account)? != credentials.api_key {
            return Ok(Some((secret, Followed::NotConcerned)));
        }
        secret.expose().clone_into(&mut credentials.secret_key);
        let followed = self.follow(credentials);
        Ok(Some((secret, followed)))
    }

    /// Says what is so now: the change is made already, whether or not it can be written down.
    fn follow(&self, credentials: Credentials) -> Followed {
        let written = credentials.write(&self.folder);
        self.credentials.send_replace(credentials);
        match written {
            Ok(()) => Followed::Written,
            Err(error) => {
                let why = chain(&error);
                tracing::error!(why, "the new credentials were not written");
                Followed::NotWritten(why)
            }
        }
    }
}
