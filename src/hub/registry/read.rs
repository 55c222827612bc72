//! What is to be seen: packages, versions, their archives.

use rusqlite::{Connection, OptionalExtension as _, params};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::hub::times::{maybe_time, time};
use crate::model::{PackageName, Version};
use crate::package::{Contents, unpack};

use super::{RegistryError, State};

/// Who looks: whose packages are seen before they are approved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Listing {
    pub(crate) account: i64,
    /// A reviewer sees those of all accounts.
    pub(crate) reviewer: bool,
}

/// One package. Times are milliseconds since 1970; as JSON, RFC 3339.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct PackageRow {
    pub(crate) name: PackageName,
    pub(crate) description: String,
    pub(crate) category: String,
    /// The account's name.
    pub(crate) owner: String,
    /// Whether it is the caller's own account's.
    pub(crate) own: bool,
    #[serde(rename = "registered", serialize_with = "time")]
    pub(crate) created_ms: i64,
    /// Its plugin key; for its own account, and unless it was revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
    pub(crate) versions: Vec<VersionState>,
}

/// One version of a package, in short.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct VersionState {
    pub(crate) version: Version,
    pub(crate) state: State,
    #[serde(rename = "uploaded", serialize_with = "time")]
    pub(crate) uploaded_ms: i64,
    #[serde(rename = "submitted", serialize_with = "maybe_time")]
    pub(crate) submitted_ms: Option<i64>,
    #[serde(rename = "decided", serialize_with = "maybe_time")]
    pub(crate) decided_ms: Option<i64>,
}

/// One version, with its report.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct VersionRow {
    pub(crate) name: PackageName,
    #[serde(flatten)]
    pub(crate) at: VersionState,
    pub(crate) sha256: String,
    /// Bytes of the archive.
    pub(crate) size: i64,
    /// Who uploaded it: `key NAME`, or `session`. To other accounts this is empty, and what reviewers
    /// said and tried is absent.
    pub(crate) author: String,
    pub(crate) reviewer: Option<String>,
    /// The reason of a rejection.
    pub(crate) note: Option<String>,
    /// The inspection.
    pub(crate) report: Box<RawValue>,
    /// What a reviewer's trial run came to.
    pub(crate) trial: Option<Box<RawValue>>,
}

/// Packages by name, those that `who` may see: all versions of the own ones, of others' what is
/// approved. `state` leaves those that have a version in it; `after` begins behind a name.
pub(crate) fn list(
    conn: &Connection,
    who: Listing,
    state: Option<State>,
    after: Option<&str>,
    limit: usize,
) -> rusqlite::Result<Vec<PackageRow>> {
    let mut statement = conn.prepare_cached(
        "SELECT p.id, p.name FROM packages p
         WHERE p.name > ?1 AND (
             (?2 IS NULL AND (p.account_id = ?3 OR ?4))
             OR EXISTS (SELECT 1 FROM package_versions v WHERE v.package_id = p.id
                 AND v.state = coalesce(?2, 'approved')
                 AND (v.state = 'approved' OR p.account_id = ?3 OR ?4)))
         ORDER BY p.name LIMIT ?5",
    )?;
    let ids: Vec<i64> = statement
        .query_map(
            params![
                after.unwrap_or_default(),
                state.map(State::as_str),
                who.account,
                who.reviewer,
                i64::try_from(limit).unwrap_or(i64::MAX)
            ],
            |row| row.get(0),
        )?
        .collect::<Result<_, _>>()?;
    ids.into_iter().filter_map(|id| one(conn, who, id).transpose()).collect()
}

/// How many versions wait for a reviewer.
pub(crate) fn waiting(conn: &Connection) -> rusqlite::Result<i64> {
    conn.query_row(
        "SELECT count(*) FROM package_versions WHERE state IN ('submitted', 'in-review')",
        (),
        |row| row.get(0),
    )
}

/// What became of a version.
pub(crate) struct Decided {
    pub(crate) name: String,
    pub(crate) at: VersionState,
    pub(crate) reviewer: Option<String>,
    pub(crate) note: Option<String>,
}

/// What was decided on the account's own packages since `since`, newest first.
pub(crate) fn decided(
    conn: &Connection,
    account: i64,
    since: i64,
    limit: usize,
) -> rusqlite::Result<Vec<Decided>> {
    conn.prepare_cached(
        "SELECT v.version, v.state, v.uploaded_ms, v.submitted_ms, v.decided_ms, p.name,
             v.reviewer, v.note
         FROM package_versions v JOIN packages p ON p.id = v.package_id
         WHERE p.account_id = ?1 AND v.state IN ('approved', 'rejected') AND v.decided_ms >= ?2
         ORDER BY v.decided_ms DESC, v.id DESC LIMIT ?3",
    )?
    .query_map(params![account, since, i64::try_from(limit).unwrap_or(i64::MAX)], |row| {
        let Some(at) = state_of(row, 0)? else { return Ok(None) };
        Ok(Some(Decided { name: row.get(5)?, at, reviewer: row.get(6)?, note: row.get(7)? }))
    })?
    .filter_map(Result::transpose)
    .collect()
}

/// One package, where `who` may see it.
pub(crate) fn show(
    conn: &Connection,
    who: Listing,
    name: &PackageName,
) -> Result<PackageRow, RegistryError> {
    let id: Option<i64> = conn
        .query_row("SELECT id FROM packages WHERE name = ?1", [name.as_str()], |row| row.get(0))
        .optional()?;
    let found = id.map(|id| one(conn, who, id)).transpose()?.flatten();
    found
        .filter(|package| package.own || who.reviewer || !package.versions.is_empty())
        .ok_or_else(|| RegistryError::NoPackage(name.clone()))
}

fn one(conn: &Connection, who: Listing, id: i64) -> rusqlite::Result<Option<PackageRow>> {
    let row = conn
        .prepare_cached(
            "SELECT p.name, p.description, p.category, a.name, p.account_id, p.created_ms,
                 (SELECT k.key FROM plugin_keys k WHERE k.key = p.key AND k.revoked_ms IS NULL)
             FROM packages p JOIN accounts a ON a.id = p.account_id WHERE p.id = ?1",
        )?
        .query_row([id], |row| {
            let account: i64 = row.get(4)?;
            let own = account == who.account;
            let name: String = row.get(0)?;
            Ok((
                name,
                own,
                row.get(1)?,
                row.get(2)?,
                row.get(3)?,
                row.get(5)?,
                own.then(|| row.get(6)).transpose()?.flatten(),
            ))
        })
        .optional()?;
    let Some((name, own, description, category, owner, created_ms, key)) = row else {
        return Ok(None);
    };
    let Ok(name) = name.parse() else { return Ok(None) };
    let mut versions: Vec<VersionState> = conn
        .prepare_cached(
            "SELECT version, state, uploaded_ms, submitted_ms, decided_ms FROM package_versions
             WHERE package_id = ?1 AND (?2 OR state = 'approved')",
        )?
        .query_map(params![id, own || who.reviewer], |row| state_of(row, 0))?
        .filter_map(Result::transpose)
        .collect::<Result<_, _>>()?;
    versions.sort_by(|a, b| b.version.cmp(&a.version));
    Ok(Some(PackageRow { name, description, category, owner, own, created_ms, key, versions }))
}

/// Version, state and times from five columns; nothing where they are damaged.
fn state_of(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<Option<VersionState>> {
    let (version, state): (String, String) = (row.get(at)?, row.get(at + 1)?);
    let (Ok(version), Some(state)) = (version.parse(), State::of(&state)) else { return Ok(None) };
    Ok(Some(VersionState {
        version,
        state,
        uploaded_ms: row.get(at + 2)?,
        submitted_ms: row.get(at + 3)?,
        decided_ms: row.get(at + 4)?,
    }))
}

/// One version, where `who` may see it.
pub(crate) fn version(
    conn: &Connection,
    who: Listing,
    name: &PackageName,
    version: &Version,
) -> Result<VersionRow, RegistryError> {
    let absent = || RegistryError::NoVersion { name: name.clone(), version: version.clone() };
    let raw = |text: Option<String>| text.and_then(|text| RawValue::from_string(text).ok());
    let found = conn
        .prepare_cached(
            "SELECT v.version, v.state, v.uploaded_ms, v.submitted_ms, v.decided_ms, v.sha256,
                 v.size, v.author, v.reviewer, v.note, v.report, v.trial, p.account_id = ?3 OR ?4
             FROM package_versions v JOIN packages p ON p.id = v.package_id
             WHERE p.name = ?1 AND v.version = ?2
                 AND (v.state = 'approved' OR p.account_id = ?3 OR ?4)",
        )?
        .query_row(params![name.as_str(), version.to_string(), who.account, who.reviewer], |row| {
            let Some(at) = state_of(row, 0)? else { return Ok(None) };
            let Some(report) = raw(row.get(10)?) else { return Ok(None) };
            let inside: bool = row.get(12)?;
            Ok(Some(VersionRow {
                name: name.clone(),
                at,
                sha256: row.get(5)?,
                size: row.get(6)?,
                author: if inside { row.get(7)? } else { String::new() },
                reviewer: row.get::<_, Option<String>>(8)?.filter(|_| inside),
                note: row.get::<_, Option<String>>(9)?.filter(|_| inside),
                report,
                trial: raw(row.get(11)?).filter(|_| inside),
            }))
        })
        .optional()?;
    found.flatten().ok_or_else(absent)
}

/// An archive and its hash.
pub(crate) struct Archive {
    pub(crate) sha256: String,
    /// Nothing where the caller has it already.
    pub(crate) body: Option<Vec<u8>>,
}

impl Archive {
    /// The files in it. They are many and large: not for the database's threads.
    pub(crate) fn open(&self) -> Result<Contents, RegistryError> {
        unpack(self.body.as_deref().unwrap_or_default()).map(|(_, contents)| contents).map_err(
            |findings| {
                let first = findings.first().map(ToString::to_string).unwrap_or_default();
                RegistryError::Damaged { sha256: self.sha256.clone(), first }
            },
        )
    }
}

/// `held` are the hashes, each in quotes, of archives that the caller has, or `*` for all.
fn archive_where(
    conn: &Connection,
    condition: &str,
    (held, values): (&str, &[&dyn rusqlite::ToSql]),
) -> rusqlite::Result<Option<Archive>> {
    let mut given: Vec<&dyn rusqlite::ToSql> = vec![&held];
    given.extend(values);
    conn.prepare_cached(&format!(
        "SELECT v.sha256, CASE WHEN ?1 = '*' OR instr(?1, '\"' || v.sha256 || '\"') THEN NULL
             ELSE b.body END
         FROM package_versions v
         JOIN packages p ON p.id = v.package_id JOIN package_archives b ON b.version_id = v.id
         WHERE {condition}"
    ))?
    .query_row(&*given, |row| Ok(Archive { sha256: row.get(0)?, body: row.get(1)? }))
    .optional()
}

/// The archive of a version that `who` may see; without what is `held`.
pub(crate) fn archive(
    conn: &Connection,
    who: Listing,
    (name, wanted): (&PackageName, &Version),
    held: &str,
) -> Result<Archive, RegistryError> {
    version(conn, who, name, wanted)?;
    let (package, number) = (name.as_str(), wanted.to_string());
    archive_where(conn, "p.name = ?2 AND v.version = ?3", (held, &[&package, &number]))?
        .ok_or_else(|| RegistryError::Gone { name: name.clone(), version: wanted.clone() })
}

/// The approved archive that a file name means: `NAME-VERSION.zip`, where `0.1` stands for `0.1.0`; no
/// such thing stands for a version before a release. Names and versions may have hyphens, so a name is
/// never taken apart: those there are, are compared.
pub(crate) fn given_out(
    conn: &Connection,
    file: &str,
    held: &str,
) -> rusqlite::Result<Option<Archive>> {
    let Some(stem) = file.strip_suffix(".zip") else { return Ok(None) };
    archive_where(
        conn,
        "v.state = 'approved' AND (p.name || '-' || v.version = ?2
             OR (instr(v.version, '-') = 0
                 AND p.name || '-' || v.version IN (?2 || '.0', ?2 || '.0.0')))
         ORDER BY length(v.version) LIMIT 1",
        (held, &[&stem]),
    )
}

/// The archive of a version that `who` may see, and that of the newest approved version before it, or of
/// `against`.
pub(crate) fn archives(
    conn: &Connection,
    who: Listing,
    (name, wanted): (&PackageName, &Version),
    against: Option<&Version>,
) -> Result<(Archive, Option<(Version, Archive)>), RegistryError> {
    let get = |version: &Version| archive(conn, who, (name, version), "");
    let new = get(wanted)?;
    let before = match against {
        Some(version) => Some(version.clone()),
        None => {
            let versions = show(conn, who, name)?.versions;
            let mut approved = versions
                .into_iter()
                .filter(|known| known.state == State::Approved && known.version < *wanted)
                .map(|known| known.version);
            approved.next()
        }
    };
    let old = before.map(|version| get(&version).map(|archive| (version, archive))).transpose()?;
    Ok((new, old))
}
