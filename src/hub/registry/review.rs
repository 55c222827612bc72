//! What reviewers do: take a version into review, try it, approve it, turn it down.

use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use crate::hub::caller::Caller;
use crate::model::{AuditAction, PackageName, Version};
use crate::package::{Approval, Envelope};

use super::found::{Found, find, note};
use super::signing::{self, Signed};
use super::{REASON, RegistryError, State};

/// What a reviewer has seen: a version, and the SHA-256 of its archive, where it is said. A version that
/// was turned down may be replaced, and nobody decides on what they did not see.
#[derive(Clone, Copy)]
pub(crate) struct Seen<'a> {
    pub(crate) name: &'a PackageName,
    pub(crate) version: &'a Version,
    pub(crate) sha256: Option<&'a str>,
}

impl<'a> Seen<'a> {
    pub(crate) fn which(self) -> (&'a PackageName, &'a Version) {
        (self.name, self.version)
    }
}

/// A version that waits for a decision.
fn waiting(
    transaction: &Transaction<'_>,
    seen: Seen<'_>,
    wanted: &'static str,
) -> Result<Found, RegistryError> {
    let found = find(transaction, seen.name, seen.version)?;
    let (name, version) = (seen.name.clone(), seen.version.clone());
    if !matches!(found.state, State::Submitted | State::InReview) {
        return Err(RegistryError::State { name, version, state: found.state, wanted });
    }
    if seen.sha256.is_some_and(|sha256| sha256 != found.sha256) {
        return Err(RegistryError::OtherArchive { name, version, sha256: found.sha256 });
    }
    Ok(found)
}

/// Takes a version into review; to take it twice is no mistake.
pub(crate) fn take(
    conn: &mut Connection,
    caller: &Caller,
    which: (&PackageName, &Version),
    now: i64,
) -> Result<(), RegistryError> {
    let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let seen = Seen { name: which.0, version: which.1, sha256: None };
    let found = waiting(&transaction, seen, "reviewed")?;
    transaction.execute(
        "UPDATE package_versions SET state = 'in-review', reviewer = ?2 WHERE id = ?1",
        params![found.id, caller.actor],
    )?;
    note(&transaction, caller, now, AuditAction::PackageReview, which)?;
    transaction.commit()?;
    Ok(())
}

/// Turns a version down. The reason is for its author.
pub(crate) fn reject(
    conn: &mut Connection,
    caller: &Caller,
    seen: Seen<'_>,
    reason: &str,
    now: i64,
) -> Result<(), RegistryError> {
    let reason = reason.trim();
    if reason.is_empty() || reason.len() > REASON {
        return Err(RegistryError::Reason);
    }
    let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found = waiting(&transaction, seen, "rejected")?;
    transaction.execute(
        "UPDATE package_versions SET state = 'rejected', reviewer = ?2, note = ?3, decided_ms = ?4
         WHERE id = ?1",
        params![found.id, caller.actor, reason, now],
    )?;
    note(&transaction, caller, now, AuditAction::PackageReject, seen.which())?;
    transaction.commit()?;
    Ok(())
}

/// Keeps what a reviewer's trial run came to: JSON.
pub(crate) fn trial(
    conn: &mut Connection,
    caller: &Caller,
    seen: Seen<'_>,
    result: &str,
    now: i64,
) -> Result<(), RegistryError> {
    let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found = waiting(&transaction, seen, "tried")?;
    transaction.execute(
        "UPDATE package_versions SET trial = ?2 WHERE id = ?1",
        params![found.id, result],
    )?;
    note(&transaction, caller, now, AuditAction::PackageTrial, seen.which())?;
    transaction.commit()?;
    Ok(())
}

/// Approves a version: from now on it is in the index.
pub(crate) fn approve(
    conn: &mut Connection,
    caller: &Caller,
    seen: Seen<'_>,
    signed: &Signed<'_>,
    now: i64,
) -> Result<(), RegistryError> {
    let (name, version) = seen.which();
    let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found = waiting(&transaction, seen, "approved")?;
    let statement = match signed {
        Signed::ByHub(key) => {
            let approved_at = signing::at(now);
            let approval = Approval {
                name: name.clone(),
                version: version.clone(),
                sha256: found.sha256.clone(),
                approved_at,
            };
            Envelope::seal(&approval, key)?
        }
        Signed::Offline { statement, index } => {
            let Some(statement) = statement else {
                return Err(RegistryError::NotThat("the statement is missing".to_owned()));
            };
            let approval: Approval = statement.open()?;
            if approval.name != *name
                || approval.version != *version
                || approval.sha256 != found.sha256
                || statement.key() != index.key()
            {
                return Err(RegistryError::NotThat(format!(
                    "the statement is about {} {}, SHA-256 {}",
                    approval.name, approval.version, approval.sha256
                )));
            }
            statement.clone()
        }
    };
    transaction.execute(
        "UPDATE package_versions SET state = 'approved', reviewer = ?2, decided_ms = ?3,
             statement = ?4, note = NULL
         WHERE id = ?1",
        params![found.id, caller.actor, now, crate::hub::store::json(&statement)],
    )?;
    signing::publish(&transaction, signed, now)?;
    note(&transaction, caller, now, AuditAction::PackageApprove, seen.which())?;
    transaction.commit()?;
    Ok(())
}
