//! What authors do: register a name, upload a version, submit it, take it back.

use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};

use crate::hub::audit;
use crate::hub::caller::Caller;
use crate::hub::plugin_keys::{self, Lookup};
use crate::model::{
    AuditAction, PackageName, PluginKey, PluginName, Version, is_unseen, nearest_name,
};
use crate::package::{Category, Inspection, Weight};

use super::found::{Found, find, note};
use super::signing::{self, Signed};
use super::{
    ARCHIVES, DESCRIPTION, NO_REPORT, OWN_ARCHIVES, PACKAGES, RegistryError, State, VERSIONS,
};

/// A version of the caller's own account.
fn own(
    conn: &Connection,
    caller: &Caller,
    name: &PackageName,
    version: &Version,
) -> Result<Found, RegistryError> {
    find(conn, name, version).and_then(|found| {
        if found.account == caller.account {
            Ok(found)
        } else {
            Err(RegistryError::NoVersion { name: name.clone(), version: version.clone() })
        }
    })
}

/// Registers a name for the caller's account, or gives the key that it has there already; one that was
/// revoked gets another. The second value says whether the name is new.
pub(crate) fn register(
    conn: &mut Connection,
    caller: &Caller,
    name: &PackageName,
    (description, category): (&str, &str),
    now: i64,
) -> Result<(PluginKey, bool), RegistryError> {
    let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if description.chars().count() > DESCRIPTION
        || description.contains(|c: char| c.is_control() || is_unseen(c))
    {
        return Err(RegistryError::Description);
    }
    if !Category::ALL.iter().any(|known| known.as_str() == category) {
        return Err(RegistryError::Category { given: category.chars().take(40).collect() });
    }
    let (id, mut key, fresh) =
        registered(&transaction, caller, name, (description, category), now)?;
    let known = plugin_keys::lookup(&transaction, caller.account, key)?;
    if !matches!(known, Lookup::Known { .. }) {
        key = plugin_key(&transaction, caller, name, now)?;
        transaction
            .execute("UPDATE packages SET key = ?2 WHERE id = ?1", params![id, key.to_string()])?;
    }
    transaction.commit()?;
    Ok((key, fresh))
}

/// The key of the plugin that is named as the package, as nearly as plugins can be.
fn plugin_key(
    transaction: &Transaction<'_>,
    caller: &Caller,
    name: &PackageName,
    now: i64,
) -> Result<PluginKey, RegistryError> {
    let plugin = nearest_name(name.as_str()).parse::<PluginName>();
    let plugin = plugin.map_err(|e| RegistryError::Key(e.to_string()))?;
    Ok(plugin_keys::ensure(transaction, caller, &plugin, now)?)
}

fn registered(
    transaction: &Transaction<'_>,
    caller: &Caller,
    name: &PackageName,
    (description, category): (&str, &str),
    now: i64,
) -> Result<(i64, PluginKey, bool), RegistryError> {
    let known: Option<(i64, i64, String)> = transaction
        .query_row(
            "SELECT id, account_id, key FROM packages WHERE name = ?1",
            [name.as_str()],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .optional()?;
    if let Some((id, account, key)) = known {
        if account != caller.account {
            return Err(RegistryError::Taken(name.clone()));
        }
        let key = key.parse().map_err(|_| RegistryError::Key("it is damaged".to_owned()))?;
        return Ok((id, key, false));
    }
    let count: i64 = transaction.query_row(
        "SELECT count(*) FROM packages WHERE account_id = ?1",
        [caller.account],
        |row| row.get(0),
    )?;
    if count >= PACKAGES {
        return Err(RegistryError::TooManyPackages);
    }
    let key = plugin_key(transaction, caller, name, now)?;
    transaction.execute(
        "INSERT INTO packages (account_id, name, description, category, key, created_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![caller.account, name.as_str(), description, category, key.to_string(), now],
    )?;
    let id = transaction.last_insert_rowid();
    audit::write(transaction, caller, now, AuditAction::PackageRegister, name.as_str(), None)?;
    Ok((id, key, true))
}

/// An archive that was handed in, looked at.
pub(crate) struct Upload {
    pub(crate) name: PackageName,
    pub(crate) version: Version,
    pub(crate) archive: Vec<u8>,
    pub(crate) sha256: String,
    pub(crate) inspection: Inspection,
}

/// Takes an upload as a draft. One that was never submitted, or was rejected, is replaced.
pub(crate) fn upload(
    conn: &mut Connection,
    caller: &Caller,
    upload: &Upload,
    now: i64,
) -> Result<(), RegistryError> {
    let Upload { name, version, archive, sha256, inspection } = upload;
    let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let about = inspection
        .summary
        .as_ref()
        .map_or(("", "other"), |summary| (summary.description.as_str(), summary.category.as_str()));
    let (package, _, _) = registered(&transaction, caller, name, about, now)?;
    match own(&transaction, caller, name, version) {
        Ok(old) => {
            if !matches!(old.state, State::Draft | State::Rejected) {
                return Err(RegistryError::State {
                    name: name.clone(),
                    version: version.clone(),
                    state: old.state,
                    wanted: "replaced; give the new one another version",
                });
            }
            transaction.execute("DELETE FROM package_archives WHERE version_id = ?1", [old.id])?;
            transaction.execute("DELETE FROM package_versions WHERE id = ?1", [old.id])?;
        }
        Err(RegistryError::NoVersion { .. }) => {}
        Err(error) => return Err(error),
    }
    let (open, own, all): (i64, i64, i64) = transaction.query_row(
        "SELECT coalesce(sum(p.id = ?1 AND v.state NOT IN ('approved', 'withdrawn')), 0),
             coalesce(sum(v.size) FILTER (WHERE p.account_id = ?2), 0), coalesce(sum(v.size), 0)
         FROM package_archives b JOIN package_versions v ON v.id = b.version_id
             JOIN packages p ON p.id = v.package_id",
        [package, caller.account],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    )?;
    if open >= VERSIONS {
        return Err(RegistryError::TooManyVersions(name.clone()));
    }
    let size = i64::try_from(archive.len()).unwrap_or(i64::MAX);
    if own.saturating_add(size) > OWN_ARCHIVES {
        return Err(RegistryError::OwnFull);
    }
    if all.saturating_add(size) > ARCHIVES {
        return Err(RegistryError::Full);
    }
    transaction.execute(
        "INSERT INTO package_versions (package_id, version, state, sha256, size, report, author, uploaded_ms)
         VALUES (?1, ?2, 'draft', ?3, ?4, ?5, ?6, ?7)",
        params![
            package,
            version.to_string(),
            sha256,
            size,
            crate::hub::store::json(inspection),
            caller.actor,
            now
        ],
    )?;
    let id = transaction.last_insert_rowid();
    transaction.execute(
        "INSERT INTO package_archives (version_id, body) VALUES (?1, ?2)",
        params![id, archive],
    )?;
    if let Some(summary) = &inspection.summary {
        transaction.execute(
            // What is given out says of itself what was approved.
            "UPDATE packages SET description = ?2, category = ?3 WHERE id = ?1
             AND NOT EXISTS (SELECT 1 FROM package_versions
                 WHERE package_id = ?1 AND state = 'approved')",
            params![package, summary.description, summary.category],
        )?;
    }
    note(&transaction, caller, now, AuditAction::PackageUpload, (name, version))?;
    transaction.commit()?;
    Ok(())
}

/// Hands a draft to the reviewers.
pub(crate) fn submit(
    conn: &mut Connection,
    caller: &Caller,
    (name, version): (&PackageName, &Version),
    now: i64,
) -> Result<(), RegistryError> {
    let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found = own(&transaction, caller, name, version)?;
    if found.state != State::Draft {
        return Err(RegistryError::State {
            name: name.clone(),
            version: version.clone(),
            state: found.state,
            wanted: "submitted",
        });
    }
    let report: Option<Inspection> = serde_json::from_str(&found.report).ok();
    let errors = report.iter().flat_map(|report| &report.findings);
    if let Some(first) = errors.into_iter().find(|finding| finding.weight == Weight::Error) {
        return Err(RegistryError::Errors {
            name: name.clone(),
            version: version.clone(),
            first: first.to_string(),
        });
    }
    transaction.execute(
        "UPDATE package_versions SET state = 'submitted', submitted_ms = ?2 WHERE id = ?1",
        params![found.id, now],
    )?;
    note(&transaction, caller, now, AuditAction::PackageSubmit, (name, version))?;
    transaction.commit()?;
    Ok(())
}

/// Whether a version is given out now.
pub(crate) fn is_given_out(
    conn: &Connection,
    (name, version): (&PackageName, &Version),
) -> Result<bool, RegistryError> {
    Ok(find(conn, name, version)?.state == State::Approved)
}

/// Takes a version back: its author any, a reviewer any as well. What was approved is then no longer
/// given out; those who installed it keep it. Of what never was, the number alone is kept.
pub(crate) fn withdraw(
    conn: &mut Connection,
    (caller, reviewer): (&Caller, bool),
    (name, version): (&PackageName, &Version),
    signed: Option<&Signed<'_>>,
    now: i64,
) -> Result<(), RegistryError> {
    let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found = if reviewer {
        find(&transaction, name, version)?
    } else {
        own(&transaction, caller, name, version)?
    };
    if found.state == State::Withdrawn {
        return Err(RegistryError::State {
            name: name.clone(),
            version: version.clone(),
            state: found.state,
            wanted: "withdrawn",
        });
    }
    transaction.execute(
        "UPDATE package_versions SET state = 'withdrawn', decided_ms = ?2 WHERE id = ?1",
        params![found.id, now],
    )?;
    if found.state == State::Approved {
        let missing = || RegistryError::NotThat("the index is missing".to_owned());
        let signed = signed.ok_or_else(missing)?;
        signing::publish(&transaction, signed, now)?;
    } else {
        transaction.execute("DELETE FROM package_archives WHERE version_id = ?1", [found.id])?;
        transaction.execute(
            "UPDATE package_versions SET report = ?2, trial = NULL WHERE id = ?1",
            params![found.id, NO_REPORT],
        )?;
    }
    note(&transaction, caller, now, AuditAction::PackageWithdraw, (name, version))?;
    transaction.commit()?;
    Ok(())
}
