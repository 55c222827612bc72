//! What the hub keeps for the machine it runs on: the master key, the registry's signing key, and
//! `credentials.json`, which must hold a key that works, or the local agent and commands are locked out.

use std::path::PathBuf;

use rusqlite::Connection;
use tokio::sync::watch;

use crate::model::{PackageName, Secret, Version, chain};
use crate::package::{PublicKey, SigningKey};

use super::accounts;
use super::caller::Caller;
use super::credentials::{Credentials, Master, hash, same_hash, write_secret};
use super::keys::{self, KeyError, Rotated};
use super::registry::{self, RegistryError, Rotating, Signed};

/// The registry's signing key, and one that is to follow it, in the hub's folder.
const REGISTRY_KEY: &str = "registry.key";
const NEXT_KEY: &str = "registry.key.next";

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

    /// Does what needs the registry's key: with what somebody signed offline, or with the hub's own,
    /// which the first such change makes.
    pub(crate) fn signing<R>(
        &self,
        conn: &mut Connection,
        offline: Option<Signed<'_>>,
        job: impl FnOnce(&mut Connection, &Signed<'_>) -> Result<R, RegistryError>,
    ) -> Result<R, RegistryError> {
        if let Some(signed) = offline {
            return job(conn, &signed);
        }
        let known = registry::registry(conn)?;
        if known.offline {
            return Err(RegistryError::Offline(known.fingerprint.unwrap_or_default()));
        }
        let key = self.registry_key(known.key)?;
        job(conn, &Signed::ByHub(&key))
    }

    /// [`registry::withdraw`]; the registry's key is needed for what is given out alone.
    pub(crate) fn withdraw(
        &self,
        conn: &mut Connection,
        by: (&Caller, bool),
        which: (&PackageName, &Version),
        offline: Option<Signed<'_>>,
        now: i64,
    ) -> Result<(), RegistryError> {
        if !registry::is_given_out(conn, which)? {
            return registry::withdraw(conn, by, which, None, now);
        }
        self.signing(conn, offline, |conn, signed| {
            registry::withdraw(conn, by, which, Some(signed), now)
        })
    }

    /// Gives the registry a new key: what was signed elsewhere is taken as it is. One of the hub's own
    /// is on disk, aside, before the database knows of it, and is put in its place by whoever finds it
    /// there.
    pub(crate) fn rotate_registry(
        &self,
        conn: &mut Connection,
        caller: &Caller,
        offline: Option<Rotating<'_>>,
        now: i64,
    ) -> Result<(), RegistryError> {
        if !accounts::is_local(conn, caller.account)? {
            return Err(RegistryError::NotAReviewer);
        }
        if let Some(signed) = offline {
            return registry::rotate(conn, caller, signed, now);
        }
        let known = registry::registry(conn)?;
        if known.offline {
            return Err(RegistryError::Offline(known.fingerprint.unwrap_or_default()));
        }
        let old = self.registry_key(Some(known.key.ok_or(RegistryError::NoKey)?))?;
        let new = SigningKey::generate()?;
        self.write_key(NEXT_KEY, &new)?;
        registry::rotate(conn, caller, Rotating::ByHub { old: &old, new: &new }, now)?;
        self.registry_key(Some(new.public())).map(drop)
    }

    /// The registry's key: the one that is `known`, or a new one where none is.
    fn registry_key(&self, known: Option<PublicKey>) -> Result<SigningKey, RegistryError> {
        let Some(known) = known else {
            // One that was made for a first approval which then failed will do.
            if let Some(key) = self.read_key(REGISTRY_KEY)? {
                return Ok(key);
            }
            let key = SigningKey::generate()?;
            self.write_key(REGISTRY_KEY, &key)?;
            return Ok(key);
        };
        for file in [REGISTRY_KEY, NEXT_KEY] {
            let Some(key) = self.read_key(file)?.filter(|key| key.public() == known) else {
                continue;
            };
            if file == NEXT_KEY {
                let (next, own) = (self.folder.join(NEXT_KEY), self.folder.join(REGISTRY_KEY));
                std::fs::rename(next, own).map_err(|e| RegistryError::Key(e.to_string()))?;
            }
            return Ok(key);
        }
        let why =
            format!("{} does not hold the key {known}", self.folder.join(REGISTRY_KEY).display());
        Err(RegistryError::Key(why))
    }

    fn read_key(&self, file: &str) -> Result<Option<SigningKey>, RegistryError> {
        match std::fs::read_to_string(self.folder.join(file)) {
            Ok(text) => {
                let wrong =
                    |e| RegistryError::Key(format!("{}: {e}", self.folder.join(file).display()));
                SigningKey::parse(&text).map(Some).map_err(wrong)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(RegistryError::Key(format!("{file}: {error}"))),
        }
    }

    fn write_key(&self, file: &str, key: &SigningKey) -> Result<(), RegistryError> {
        let path = self.folder.join(file);
        write_secret(&path, key.to_text().expose().as_bytes())
            .map_err(|error| RegistryError::Key(format!("{}: {error}", path.display())))
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
