//! One version among all, and the note of what was done with it.

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::hub::audit;
use crate::hub::caller::Caller;
use crate::model::{AuditAction, PackageName, Version};
use crate::package::{Inspection, Summary};

use super::{RegistryError, State};

/// A version, and which of its package's rows it is.
pub(super) struct Found {
    pub(super) id: i64,
    pub(super) account: i64,
    pub(super) state: State,
    pub(super) sha256: String,
    pub(super) report: String,
}

impl Found {
    /// What its manifest says.
    pub(super) fn summary(&self) -> Option<Summary> {
        serde_json::from_str::<Inspection>(&self.report).ok()?.summary
    }
}

/// Finds a version, whoever's it is.
pub(super) fn find(
    conn: &Connection,
    name: &PackageName,
    version: &Version,
) -> Result<Found, RegistryError> {
    let found = conn
        .prepare_cached(
            "SELECT v.id, p.account_id, v.state, v.sha256, v.report
             FROM package_versions v JOIN packages p ON p.id = v.package_id
             WHERE p.name = ?1 AND v.version = ?2",
        )?
        .query_row(params![name.as_str(), version.to_string()], |row| {
            let state: String = row.get(2)?;
            Ok(Found {
                id: row.get(0)?,
                account: row.get(1)?,
                state: State::of(&state).unwrap_or(State::Draft),
                sha256: row.get(3)?,
                report: row.get(4)?,
            })
        })
        .optional()?;
    found.ok_or_else(|| RegistryError::NoVersion { name: name.clone(), version: version.clone() })
}

/// Writes down what was done with a version.
pub(super) fn note(
    conn: &Connection,
    caller: &Caller,
    now: i64,
    action: AuditAction,
    (name, version): (&PackageName, &Version),
) -> Result<(), RegistryError> {
    Ok(audit::write(conn, caller, now, action, &format!("{name} {version}"), None)?)
}
