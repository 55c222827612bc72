//! What is done to a hub's database from outside: backup, restore, verify. A hub may be running
//! meanwhile, but for the restore.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::model::chain;

use super::registry;
use super::store::{self, StoreError};
use super::{HubError, lock};

pub use store::Verified;

/// What a backup holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backup {
    /// Bytes of the file.
    pub size: u64,
    /// Reports that were taken in by then, ever.
    pub reports: u64,
    /// Points that it holds.
    pub points: u64,
}

/// Writes all that the hub in `data_dir` has into the new file `to`, as of one moment. The hub may go
/// on meanwhile.
///
/// The file is for its owner alone. Sessions and login links are left out; of keys it has the hashes,
/// and what it has of the secret key opens with the folder's `master.key` only, which is not in it. Nor
/// is `registry.key`, by which packages are signed.
/// The file appears once it is whole and on disk.
pub fn backup(data_dir: &Path, to: &Path) -> Result<Backup, HubError> {
    if to.symlink_metadata().is_ok() {
        return Err(HubError::Exists { path: to.to_owned() });
    }
    let source = store::open_existing(&database(data_dir)?)?;
    let part = beside(to, &format!(".{}.part", std::process::id()));
    let partial = Partial::make(&part)?;
    let said = |source| StoreError::Sqlite { action: "back up", source };
    copy(&source, &part).map_err(said)?;
    let held = finish(&part).map_err(said)?;
    let size = publish(&part, to)?;
    partial.keep();
    Ok(Backup { size, ..held })
}

/// Writes what a database has, as of one moment, into an empty file.
fn copy(source: &Connection, to: &Path) -> rusqlite::Result<()> {
    let name = to.to_str().ok_or_else(|| rusqlite::Error::InvalidPath(to.to_owned()))?;
    source.execute("VACUUM INTO ?1", [name]).map(drop)
}

/// Takes out of a copy what is not to outlive the hub that it is of, and counts the rest.
fn finish(path: &Path) -> rusqlite::Result<Backup> {
    let conn = Connection::open(path)?;
    conn.execute_batch(
        "DELETE FROM sessions; DELETE FROM login_links; DELETE FROM tokens; VACUUM;",
    )?;
    let reports: f64 =
        conn.query_row("SELECT total(reports) FROM monitors", (), |row| row.get(0))?;
    Ok(Backup { size: 0, reports: reports as u64, points: store::total_points(&conn)? })
}

/// Puts a backup in the place of the database of the hub in `data_dir`, which must not be running.
/// What was there is kept beside it; gives where.
pub fn restore(data_dir: &Path, from: &Path) -> Result<Option<PathBuf>, HubError> {
    super::credentials::make_folder(data_dir)?;
    let _lock = lock(data_dir)?;
    // Whatever it is, it must be a hub's database, and one that this version reads.
    let source = store::open_existing(from)?;
    let path = store::file_in(data_dir);
    let part = beside(&path, &format!(".{}.part", std::process::id()));
    let partial = Partial::make(&part)?;
    copy(&source, &part).map_err(|source| StoreError::Sqlite { action: "restore", source })?;
    synced(&part).map_err(|source| HubError::Write { path: part.clone(), source })?;
    fold_log(&path);
    let aside = keep_aside(&path)?;
    if let Err(source) = replace(&part, &path) {
        if let Some(aside) = &aside {
            put_back(aside, &path);
        }
        return Err(HubError::Write { path, source });
    }
    partial.keep();
    Ok(aside)
}

/// Takes a database's log into it, so that the file is whole by itself. Where that cannot be done, the
/// log is kept with the file.
fn fold_log(path: &Path) {
    if !path.exists() {
        return;
    }
    // Nobody else has it open: the lock is held.
    let folded = Connection::open(path).and_then(|conn| {
        conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |row| row.get::<_, i64>(0))
    });
    if let Err(error) = folded {
        tracing::debug!(%error, "the log of the database that is replaced is kept beside it");
    }
}

/// Gives the new file the name of the old one, in one step: at every moment there is one or the other.
fn replace(part: &Path, path: &Path) -> io::Result<()> {
    // It belongs to the old one, and would be taken for the new one's.
    for suffix in ["-wal", "-shm"] {
        gone(std::fs::remove_file(beside(path, suffix)))?;
    }
    std::fs::rename(part, path)?;
    sync_folder(path)
}

/// After a replacement that failed: the old one is still there, but perhaps without its log.
fn put_back(aside: &Path, path: &Path) {
    for suffix in ["-wal", ""] {
        let (kept, own) = (beside(aside, suffix), beside(path, suffix));
        if let Err(error) = gone(std::fs::rename(&kept, &own)) {
            tracing::error!(%error, file = %kept.display(), "cannot put the hub's database back");
        }
    }
}

fn gone(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Gives a database and its log a second name that is free, on disk when this returns. The first one
/// stays until the new database takes it.
fn keep_aside(path: &Path) -> Result<Option<PathBuf>, HubError> {
    if ["", "-wal"].iter().all(|suffix| !beside(path, suffix).exists()) {
        return Ok(None);
    }
    let aside = (0..10_000)
        .map(|n| beside(path, &format!(".replaced-{n}")))
        .find(|candidate| candidate.symlink_metadata().is_err())
        .ok_or_else(|| HubError::Exists { path: beside(path, ".replaced-0") })?;
    for suffix in ["-wal", ""] {
        let (from, to) = (beside(path, suffix), beside(&aside, suffix));
        let linked = match std::fs::hard_link(&from, &to) {
            // A file system without such links.
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                std::fs::copy(&from, &to).and_then(|_| synced(&to)).map(drop)
            }
            other => gone(other),
        };
        linked.map_err(|source| HubError::Write { path: to, source })?;
    }
    sync_folder(path).map_err(|source| HubError::Write { path: aside.clone(), source })?;
    Ok(Some(aside))
}

/// Sees that all of a file is on disk. Gives its size.
fn synced(path: &Path) -> io::Result<u64> {
    let file = File::open(path)?;
    file.sync_all()?;
    Ok(file.metadata()?.len())
}

/// Sees that the names in the folder of `path` are on disk.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new("."))).and_then(|folder| folder.sync_all())
}

/// Looks through the database of the hub in `data_dir`, or through `file`: whether everything reads
/// back, all counts add up, and archives of packages are those that were signed. Changes nothing; the hub may be running.
pub fn verify(data_dir: &Path, file: Option<&Path>) -> Result<Verified, HubError> {
    let path = source(data_dir, file)?;
    let mut found = store::verify(&path)?;
    let packages = || -> Result<Vec<String>, String> {
        let conn = store::open_existing(&path).map_err(|e| chain(&e))?;
        let mut findings = Vec::new();
        registry::check(&conn, |finding| findings.push(finding)).map_err(|e| chain(&e))?;
        Ok(findings)
    };
    match packages() {
        Ok(findings) => findings.into_iter().for_each(|finding| found.find(finding)),
        Err(why) => found.find(format!("the packages cannot be looked through: {why}")),
    }
    Ok(found)
}

/// The file that is meant: `file`, or the hub's own database.
pub(super) fn source(data_dir: &Path, file: Option<&Path>) -> Result<PathBuf, HubError> {
    match file {
        Some(file) => Ok(file.to_owned()),
        None => database(data_dir),
    }
}

fn database(data_dir: &Path) -> Result<PathBuf, HubError> {
    let path = store::file_in(data_dir);
    if path.exists() { Ok(path) } else { Err(HubError::NoHub { path: data_dir.to_owned() }) }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Gives a whole file its name, which must be free, and sees that all of it is on disk. Gives its
/// size.
fn publish(part: &Path, to: &Path) -> Result<u64, HubError> {
    let failed = |source| HubError::Write { path: to.to_owned(), source };
    let size = synced(part).map_err(failed)?;
    let renamed = renameat_with(CWD, part, CWD, to, RenameFlags::NOREPLACE);
    match renamed.map_err(io::Error::from) {
        // A file system that knows no such rename.
        Err(error) if error.raw_os_error() == Some(22) => {
            std::fs::rename(part, to).map_err(failed)?;
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(HubError::Exists { path: to.to_owned() });
        }
        other => other.map_err(failed)?,
    }
    sync_folder(to).map_err(failed)?;
    Ok(size)
}

/// A file that is not whole yet: removed unless it is kept.
struct Partial<'a>(Option<&'a Path>);

impl<'a> Partial<'a> {
    fn make(path: &'a Path) -> Result<Self, HubError> {
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(|source| HubError::Write { path: path.to_owned(), source })?;
        Ok(Self(Some(path)))
    }

    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Partial<'_> {
    fn drop(&mut self) {
        if let Some(path) = self.0 {
            for suffix in ["", "-journal"] {
                // What is left of it has a name that says what it is.
                let _removed = std::fs::remove_file(beside(path, suffix));
            }
        }
    }
}
