//! Whether what is kept is what was approved, for `talaia hub verify`.

use rusqlite::Connection;

use crate::model::{PackageName, Version};
use crate::package::{Index, Trust, sha256};

use super::{RegistryError, State, signing};

/// Looks through archives and index, and says what is wrong. Nothing is changed.
pub(crate) fn check(conn: &Connection, mut find: impl FnMut(String)) -> Result<(), RegistryError> {
    let mut statement = conn.prepare(
        "SELECT p.name, v.version, v.sha256, b.body, p.account_id IN (SELECT id FROM accounts),
             v.state = 'withdrawn' AND v.statement IS NULL
         FROM package_versions v LEFT JOIN packages p ON p.id = v.package_id
         LEFT JOIN package_archives b ON b.version_id = v.id",
    )?;
    let mut rows = statement.query(())?;
    while let Some(row) = rows.next()? {
        let (name, version): (Option<String>, String) = (row.get(0)?, row.get(1)?);
        let name = name.unwrap_or_else(|| "a package that is gone,".to_owned());
        let (hash, archive): (String, Option<Vec<u8>>) = (row.get(2)?, row.get(3)?);
        match archive {
            // Of what was withdrawn and never approved nothing is kept.
            None if row.get(5)? => {}
            None => find(format!("the archive of {name} {version} is missing")),
            Some(archive) if sha256(&archive) != hash => {
                find(format!("the archive of {name} {version} is not the one that was uploaded"));
            }
            Some(_) => {}
        }
        if row.get::<_, Option<bool>>(4)? != Some(true) {
            find(format!("no account has {name}"));
        }
    }
    match index(conn, &mut find) {
        Err(RegistryError::Sqlite(error)) => Err(error.into()),
        Err(wrong) => {
            find(format!("the index of packages: {wrong}"));
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// The index opens with the registry's key and gives out what is approved, no more and no less.
fn index(conn: &Connection, find: &mut impl FnMut(String)) -> Result<(), RegistryError> {
    let known = signing::registry(conn)?;
    let (Some(key), Some(text)) = (known.key, signing::index(conn)?) else {
        let approved: i64 = conn.query_row(
            "SELECT count(*) FROM package_versions WHERE state = ?1",
            [State::Approved.as_str()],
            |row| row.get(0),
        )?;
        if approved > 0 {
            find("packages were approved, and there is no index of them".to_owned());
        }
        return Ok(());
    };
    let (index, seen) = Index::open(&Index::envelope(text.as_bytes())?, Trust { key, serial: 0 })?;
    if seen.serial != known.serial {
        find(format!("the index has the serial {}, the registry {}", seen.serial, known.serial));
    }
    let mut statement = conn.prepare(
        "SELECT p.name, v.version, v.sha256 FROM package_versions v
         JOIN packages p ON p.id = v.package_id WHERE v.state = ?1",
    )?;
    let rows = statement.query_map([State::Approved.as_str()], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?))
    })?;
    let mut approved = 0;
    for row in rows {
        let (name, version, hash) = row?;
        approved += 1;
        let (Ok(name), Ok(version)) = (name.parse::<PackageName>(), version.parse::<Version>())
        else {
            find(format!("{name} {version} cannot be a package's version"));
            continue;
        };
        match index.find(&name, Some(&version), key) {
            Err(error) => find(error.to_string()),
            Ok(offer) if offer.approval.sha256 != hash => {
                find(format!("another archive of {name} {version} was approved"));
            }
            Ok(_) => {}
        }
    }
    let listed: usize = index.packages.iter().map(|package| package.versions.len()).sum();
    if listed > approved {
        find(format!("the index lists {listed} versions, and {approved} are approved"));
    }
    Ok(())
}
