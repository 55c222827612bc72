//! The index: made of what is approved, signed by the registry's key, served as it was signed.
//!
//! The key is the hub's own (`registry.key` in its folder), or kept offline by whoever approves; then
//! the hub makes the documents, and somebody else signs them.

use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};
use serde::Serialize;

use crate::hub::audit;
use crate::hub::caller::Caller;
use crate::model::{AuditAction, PackageName, Timestamp, Version};
use crate::package::{
    Approval, Category, Envelope, Index, Listed, ListedVersion, PublicKey, Rotation, SigningKey,
    Summary, Trust,
};

use super::found::find;
use super::{RegistryError, State};

/// Who signs.
pub(crate) enum Signed<'a> {
    /// The hub, with the key in its folder.
    ByHub(&'a SigningKey),
    /// Somebody has: the approval, where one is made, and the index with it.
    Offline { statement: Option<Envelope>, index: Envelope },
}

/// What stands in the registry's row.
struct Row {
    key: PublicKey,
    offline: bool,
    serial: u64,
    rotations: Vec<Envelope>,
}

/// The registry, as it is shown.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Registry {
    /// The public key; nothing while nothing was ever approved.
    pub(crate) key: Option<PublicKey>,
    pub(crate) fingerprint: Option<String>,
    pub(crate) serial: u64,
    /// Whether the private key is kept elsewhere.
    pub(crate) offline: bool,
    /// How often the key has changed.
    pub(crate) rotations: usize,
}

/// Documents to be signed offline.
#[derive(Debug, Serialize)]
pub(crate) struct ToSign {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) approval: Option<Approval>,
    pub(crate) index: Index,
}

fn row(conn: &Connection) -> Result<Option<Row>, RegistryError> {
    let row: Option<(String, bool, i64, String)> = conn
        .query_row("SELECT key, offline, serial, rotations FROM registry", (), |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })
        .optional()?;
    let Some((key, offline, serial, rotations)) = row else { return Ok(None) };
    let damaged = |what: &str| RegistryError::Key(format!("{what} in the database is damaged"));
    Ok(Some(Row {
        key: key.parse().map_err(|_| damaged("the key"))?,
        offline,
        serial: u64::try_from(serial).map_err(|_| damaged("the serial"))?,
        rotations: serde_json::from_str(&rotations).map_err(|_| damaged("the list of keys"))?,
    }))
}

/// The registry's key, serial and so on.
pub(crate) fn registry(conn: &Connection) -> Result<Registry, RegistryError> {
    let row = row(conn)?;
    Ok(Registry {
        key: row.as_ref().map(|row| row.key),
        fingerprint: row.as_ref().map(|row| row.key.fingerprint()),
        serial: row.as_ref().map_or(0, |row| row.serial),
        offline: row.as_ref().is_some_and(|row| row.offline),
        rotations: row.map_or(0, |row| row.rotations.len()),
    })
}

/// The index as it is served: an envelope, as JSON.
pub(crate) fn index(conn: &Connection) -> rusqlite::Result<Option<String>> {
    let envelope =
        conn.query_row("SELECT envelope FROM registry", (), |row| row.get(0)).optional()?;
    Ok(envelope.flatten())
}

/// All that is approved, as the next index would have it, `less` left out.
fn packages(
    conn: &Connection,
    less: Option<(&PackageName, &Version)>,
) -> Result<Vec<Listed>, RegistryError> {
    let mut statement = conn.prepare_cached(
        "SELECT p.name, v.version, v.statement
         FROM package_versions v JOIN packages p ON p.id = v.package_id
         WHERE v.state = 'approved' AND v.statement IS NOT NULL ORDER BY p.name",
    )?;
    let rows = statement.query_map((), |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?))
    })?;
    let mut packages: Vec<Listed> = Vec::new();
    for row in rows {
        let (name, version, statement) = row?;
        let damaged = || RegistryError::Key(format!("the row of {name} {version} is damaged"));
        let name: PackageName = name.parse().map_err(|_| damaged())?;
        let version: Version = version.parse().map_err(|_| damaged())?;
        if less == Some((&name, &version)) {
            continue;
        }
        let statement = serde_json::from_str(&statement).map_err(|_| damaged())?;
        let listed = ListedVersion { version, statement };
        match packages.last_mut().filter(|last| last.name == name) {
            Some(last) => last.versions.push(listed),
            None => packages.push(Listed {
                name,
                description: String::new(),
                category: String::new(),
                versions: vec![listed],
            }),
        }
    }
    for package in &mut packages {
        package.versions.sort_by(|a, b| a.version.cmp(&b.version));
        let newest = newest(package.versions.iter().map(|listed| &listed.version));
        if let Some(version) = newest {
            let summary = find(conn, &package.name, version)?.summary();
            (package.description, package.category) = about(summary);
        }
    }
    Ok(packages)
}

/// The version that speaks for its package: one before a release only where there is nothing else.
fn newest<'a>(versions: impl Iterator<Item = &'a Version>) -> Option<&'a Version> {
    versions.max_by_key(|version| (!version.is_pre_release(), *version))
}

fn about(summary: Option<Summary>) -> (String, String) {
    summary.map_or_else(
        || (String::new(), Category::Other.as_str().to_owned()),
        |summary| (summary.description, summary.category),
    )
}

pub(super) fn at(now: i64) -> Timestamp {
    Timestamp::from_millis(now).unwrap_or(Timestamp::EPOCH)
}

/// What is to be signed so that a version is approved. The index lacks that version: whoever signs the
/// statement adds it ([`Index::insert`]).
pub(crate) fn approval(
    conn: &Connection,
    (name, version): (&PackageName, &Version),
    now: i64,
) -> Result<ToSign, RegistryError> {
    let found = find(conn, name, version)?;
    if !matches!(found.state, State::Submitted | State::InReview) {
        return Err(RegistryError::State {
            name: name.clone(),
            version: version.clone(),
            state: found.state,
            wanted: "approved",
        });
    }
    let mut index = next(conn, None, now)?;
    if let Some(listed) = index.packages.iter_mut().find(|listed| listed.name == *name) {
        let versions = listed.versions.iter().map(|listed| &listed.version);
        if newest(versions.chain([version])) == Some(version) {
            (listed.description, listed.category) = about(found.summary());
        }
    }
    let approval = Approval {
        name: name.clone(),
        version: version.clone(),
        sha256: found.sha256,
        approved_at: at(now),
    };
    Ok(ToSign { approval: Some(approval), index })
}

/// What is to be signed so that an approved version is given out no more.
pub(crate) fn withdrawal(
    conn: &Connection,
    which: (&PackageName, &Version),
    now: i64,
) -> Result<ToSign, RegistryError> {
    find(conn, which.0, which.1)?;
    Ok(ToSign { approval: None, index: next(conn, Some(which), now)? })
}

fn next(
    conn: &Connection,
    less: Option<(&PackageName, &Version)>,
    now: i64,
) -> Result<Index, RegistryError> {
    let row = row(conn)?;
    let (serial, rotations) = row.map_or((0, Vec::new()), |row| (row.serial, row.rotations));
    Ok(Index::new(serial + 1, at(now), rotations, packages(conn, less)?))
}

/// Puts a new index in the place of the old one, in the transaction of what changed.
pub(super) fn publish(
    conn: &Connection,
    signed: &Signed<'_>,
    now: i64,
) -> Result<(), RegistryError> {
    let known = row(conn)?;
    let serial = known.as_ref().map_or(0, |row| row.serial) + 1;
    let wanted = next(conn, None, now)?;
    for listed in &wanted.packages {
        // What is shown of a package is what is given out of it.
        conn.prepare_cached(
            "UPDATE packages SET description = ?2, category = ?3
             WHERE name = ?1 AND (description, category) <> (?2, ?3)",
        )?
        .execute(params![listed.name.as_str(), listed.description, listed.category])?;
    }
    let (key, offline, envelope) = match signed {
        Signed::ByHub(key) => {
            if let Some(row) = known.as_ref().filter(|row| row.offline) {
                return Err(RegistryError::Offline(row.key.fingerprint()));
            }
            if let Some(row) = known.as_ref().filter(|row| row.key != key.public()) {
                return Err(RegistryError::OtherKey(row.key.fingerprint()));
            }
            (key.public(), false, wanted.seal(key)?)
        }
        Signed::Offline { index, .. } => {
            if let Some(row) = known.as_ref().filter(|row| row.key != index.key()) {
                return Err(RegistryError::OtherKey(row.key.fingerprint()));
            }
            let trust = Trust { key: index.key(), serial: 0 };
            let (given, _) = Index::open(index, trust)?;
            if given.serial != serial {
                return Err(RegistryError::Stale);
            }
            if given.packages != wanted.packages || given.rotations != wanted.rotations {
                return Err(RegistryError::NotThat("the index lists something else".to_owned()));
            }
            (index.key(), known.as_ref().is_none_or(|row| row.offline), index.clone())
        }
    };
    let rotations = known.map_or_else(Vec::new, |row| row.rotations);
    keep(conn, (key, offline, serial), &rotations, &envelope)
}

fn keep(
    conn: &Connection,
    (key, offline, serial): (PublicKey, bool, u64),
    rotations: &[Envelope],
    envelope: &Envelope,
) -> Result<(), RegistryError> {
    let json = |value: &serde_json::Value| value.to_string();
    let key = serde_json::to_value(key).unwrap_or_default();
    let rotations = serde_json::to_value(rotations).unwrap_or_default();
    let envelope = serde_json::to_value(envelope).unwrap_or_default();
    conn.execute(
        "INSERT INTO registry (id, key, offline, serial, rotations, envelope)
         VALUES (1, ?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (id) DO UPDATE SET key = ?1, offline = ?2, serial = ?3, rotations = ?4,
             envelope = ?5",
        params![
            key.as_str().unwrap_or_default(),
            offline,
            i64::try_from(serial).unwrap_or(i64::MAX),
            json(&rotations),
            json(&envelope)
        ],
    )?;
    Ok(())
}

/// Who signs that there is another key.
pub(crate) enum Rotating<'a> {
    /// The hub, which has both.
    ByHub { old: &'a SigningKey, new: &'a SigningKey },
    /// Whoever has the old one has signed the rotation; and with the new one the index that has it.
    Offline { rotation: Envelope, index: Envelope },
}

/// Goes on with another key. The old one introduces it: `rotation` is signed by the old key, the new
/// index by the new one. Who has the old key does both.
pub(crate) fn rotate(
    conn: &mut Connection,
    caller: &Caller,
    signed: Rotating<'_>,
    now: i64,
) -> Result<(), RegistryError> {
    let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let Some(known) = row(&transaction)? else {
        return Err(RegistryError::NoKey);
    };
    let serial = known.serial + 1;
    let mut rotations = known.rotations;
    let packages = packages(&transaction, None)?;
    let (key, envelope) = match signed {
        Rotating::ByHub { old, new } => {
            if known.offline {
                return Err(RegistryError::Offline(known.key.fingerprint()));
            }
            if known.key != old.public() {
                return Err(RegistryError::OtherKey(known.key.fingerprint()));
            }
            rotations.push(Envelope::seal(&Rotation { new_key: new.public(), at: at(now) }, old)?);
            let index = Index::new(serial, at(now), rotations.clone(), packages);
            (new.public(), index.seal(new)?)
        }
        Rotating::Offline { rotation, index } => {
            if !known.offline {
                return Err(RegistryError::ByHub);
            }
            if rotation.key() != known.key {
                return Err(RegistryError::OtherKey(known.key.fingerprint()));
            }
            let said: Rotation = rotation.open()?;
            if said.new_key == known.key || said.new_key != index.key() {
                let why = "the index is not signed by another key, which the rotation introduces";
                return Err(RegistryError::NotThat(why.to_owned()));
            }
            rotations.push(rotation);
            // As those read it who know the old key.
            let (given, _) = Index::open(&index, Trust { key: known.key, serial: 0 })?;
            if given.serial != serial {
                return Err(RegistryError::Stale);
            }
            if given.packages != packages || given.rotations != rotations {
                return Err(RegistryError::NotThat("the index lists something else".to_owned()));
            }
            (said.new_key, index)
        }
    };
    keep(&transaction, (key, known.offline, serial), &rotations, &envelope)?;
    let fingerprint = key.fingerprint();
    audit::write(
        &transaction,
        caller,
        now,
        AuditAction::RegistryRotate,
        "registry",
        Some(&fingerprint),
    )?;
    transaction.commit()?;
    Ok(())
}
