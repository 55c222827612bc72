//! The tables, and opening the file that holds them.

use std::fs::{OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};
use rustix::fs::{AtFlags, CWD, accessat};

use super::error::StoreError;

/// Marks the file as a hub's: "TLHB".
const APPLICATION: i64 = 0x544c_4842;

/// The tables' version. A file with a higher one is refused untouched.
///
/// 1: the first.
/// 2: streams know what was refused, and the run at their mark.
/// 3: runs know which run they are a replay of.
/// 4: keys have names, scopes and an end; monitors may be of direct senders, and have names, tags
///    and declared fields; what people and the old clients' interfaces need.
/// 5: what plugins declare; accounts may be disabled; the nonces of signed requests; segments are
///    found by the time of their newest point; packages.
pub(crate) const VERSION: i64 = 5;

/// Where `host` and `plugin` are null it is a direct sender, which has a name of its own; an agent's
/// plugin may be given one. `tags` is a JSON array, of which the first is the tag.
macro_rules! monitors {
    () => {
        "CREATE TABLE monitors (
    id INTEGER PRIMARY KEY AUTOINCREMENT, account_id INTEGER NOT NULL, host TEXT, plugin TEXT,
    created_ms INTEGER NOT NULL, received_ms INTEGER NOT NULL, last_run INTEGER, last_bad INTEGER,
    reports INTEGER NOT NULL DEFAULT 0, metrics INTEGER NOT NULL DEFAULT 0,
    rejected INTEGER NOT NULL DEFAULT 0, skipped INTEGER NOT NULL DEFAULT 0,
    name TEXT, tags TEXT, type TEXT NOT NULL DEFAULT 'custom',
    multi_value INTEGER NOT NULL DEFAULT 0, suspended_ms INTEGER,
    UNIQUE (account_id, host, plugin)
) STRICT;
"
    };
}

/// `last_ms` and `last_value` are as of the last compaction; `raw` may know better. Points are kept
/// under the ids alone, so an id is never given twice.
macro_rules! series {
    () => {
        "CREATE TABLE series (
    id INTEGER PRIMARY KEY AUTOINCREMENT, monitor_id INTEGER NOT NULL, name TEXT NOT NULL,
    tags TEXT NOT NULL, kind TEXT NOT NULL, unit TEXT, label TEXT, warn TEXT, crit TEXT, min REAL,
    max REAL, last_ms INTEGER, last_value TEXT,
    UNIQUE (monitor_id, name, tags)
) STRICT;
"
    };
}

/// Appended only: an index by monitor would cost more than all the rest. Instead each run names the
/// one before it and the last bad one before it, and how many runs the monitor had by then. The
/// writer gives the ids; a monitor's last run is never swept, so that no chain leads to an id that was
/// given again. No outcome means exit code 0.
macro_rules! runs {
    () => {
        "CREATE TABLE runs (
    id INTEGER PRIMARY KEY, monitor_id INTEGER NOT NULL, before INTEGER,
    bad_before INTEGER, nth INTEGER NOT NULL, run BLOB NOT NULL,
    started_ms INTEGER NOT NULL, duration REAL NOT NULL, interval REAL, good INTEGER NOT NULL,
    outcome TEXT, status TEXT NOT NULL, message TEXT, warnings TEXT, produced INTEGER NOT NULL,
    accepted INTEGER NOT NULL, rejected TEXT, skipped INTEGER NOT NULL, leftovers INTEGER NOT NULL,
    cpu REAL NOT NULL, max_rss INTEGER NOT NULL, stdout INTEGER NOT NULL, stderr INTEGER NOT NULL,
    tail TEXT, replay_of BLOB
) STRICT;
"
    };
}

/// What version 4 brought and is the same in a new database.
///
/// `fields`: what a monitor declares. `role` is `result`, `additional` or `parameter`; `fixed` a JSON
/// array of the values that it may have; `value` a parameter's.
/// `additional_results`: detail rows under a check time, as the JSON array that was posted.
/// `tokens`: the Monitis interface's `authToken`, as SHA-256.
/// `audit`: who changed which key or monitor.
/// `dropped`: series that are gone, and whose points are still to be taken out of `segments`.
/// `marks`: numbers that outlive a restart, by name.
macro_rules! since_4 {
    () => {
        "CREATE UNIQUE INDEX keys_of_name ON keys (account_id, name) WHERE revoked_ms IS NULL;
CREATE UNIQUE INDEX monitors_of_name ON monitors
    (account_id, name, type, coalesce(json_extract(tags, '$[0]'), '')) WHERE name IS NOT NULL;
CREATE TABLE fields (
    id INTEGER PRIMARY KEY AUTOINCREMENT, monitor_id INTEGER NOT NULL, role TEXT NOT NULL,
    position INTEGER NOT NULL, name TEXT NOT NULL, label TEXT, unit TEXT, kind TEXT NOT NULL,
    fixed TEXT, aggregation TEXT, hidden INTEGER NOT NULL DEFAULT 0, value TEXT,
    UNIQUE (monitor_id, role, name)
) STRICT;
CREATE TABLE additional_results (
    monitor_id INTEGER NOT NULL, check_ms INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (monitor_id, check_ms)
) STRICT, WITHOUT ROWID;
CREATE INDEX additional_results_of_time ON additional_results (check_ms);
CREATE TABLE tokens (
    hash BLOB PRIMARY KEY, account_id INTEGER NOT NULL, expires_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at_ms INTEGER NOT NULL, account_id INTEGER NOT NULL,
    actor TEXT NOT NULL, action TEXT NOT NULL, subject TEXT NOT NULL, detail TEXT
) STRICT;
CREATE TABLE dropped (series INTEGER PRIMARY KEY) STRICT;
CREATE TABLE marks (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
"
    };
}

/// `contracts`: what a plugin declares, as its report told; `apart` is the longest time in seconds
/// that should lie between two of its runs.
/// `nonces`: those of signed requests, until their time has been over for a while.
/// `segments_of_time`: segments come nearly in this order, so that it costs little to keep.
/// `packages`: registered names, over all accounts. `key` is the plugin key of the package.
/// `package_versions`: `report` is the inspection and `trial` what a reviewer's trial run came to, as
/// JSON; `statement` the signed approval.
/// `registry`: one row. `key` is the public key; `offline` says that its private half is elsewhere;
/// `rotations` a JSON array of envelopes; `envelope` the index as it is served.
macro_rules! since_5 {
    () => {
        "CREATE TABLE contracts (
    monitor_id INTEGER PRIMARY KEY, received_ms INTEGER NOT NULL, apart REAL, body TEXT NOT NULL
) STRICT;
CREATE INDEX contracts_of_time ON contracts (received_ms);
CREATE INDEX audit_of_account ON audit (account_id, id);
CREATE TABLE nonces (
    account_id INTEGER NOT NULL, nonce TEXT NOT NULL, expires_ms INTEGER NOT NULL,
    PRIMARY KEY (account_id, nonce)
) STRICT, WITHOUT ROWID;
CREATE INDEX segments_of_time ON segments (to_ms);
CREATE TABLE packages (
    id INTEGER PRIMARY KEY AUTOINCREMENT, account_id INTEGER NOT NULL REFERENCES accounts,
    name TEXT NOT NULL UNIQUE, description TEXT NOT NULL, category TEXT NOT NULL,
    key TEXT NOT NULL, created_ms INTEGER NOT NULL
) STRICT;
CREATE TABLE package_versions (
    id INTEGER PRIMARY KEY AUTOINCREMENT, package_id INTEGER NOT NULL REFERENCES packages,
    version TEXT NOT NULL, state TEXT NOT NULL, sha256 TEXT NOT NULL, size INTEGER NOT NULL,
    report TEXT NOT NULL, author TEXT NOT NULL, uploaded_ms INTEGER NOT NULL,
    submitted_ms INTEGER, decided_ms INTEGER, reviewer TEXT, note TEXT, trial TEXT, statement TEXT,
    UNIQUE (package_id, version)
) STRICT;
CREATE TABLE package_archives (
    version_id INTEGER PRIMARY KEY REFERENCES package_versions, body BLOB NOT NULL
) STRICT;
CREATE TABLE registry (
    id INTEGER PRIMARY KEY CHECK (id = 1), key TEXT NOT NULL, offline INTEGER NOT NULL,
    serial INTEGER NOT NULL, rotations TEXT NOT NULL, envelope TEXT
) STRICT;
"
    };
}

/// What makes a database of version `n + 1` out of one of version `n`, from version 1 on.
const STEPS: [&str; 4] = [
    "ALTER TABLE streams ADD COLUMN refused TEXT;
     ALTER TABLE streams ADD COLUMN run BLOB",
    "ALTER TABLE runs ADD COLUMN replay_of BLOB",
    concat!(
        "ALTER TABLE keys ADD COLUMN name TEXT NOT NULL DEFAULT '';
         ALTER TABLE keys ADD COLUMN scopes TEXT NOT NULL DEFAULT 'ingest read review admin';
         ALTER TABLE keys ADD COLUMN hint TEXT NOT NULL DEFAULT '';
         ALTER TABLE keys ADD COLUMN expires_ms INTEGER;
         ALTER TABLE keys ADD COLUMN last_used_ms INTEGER;
         UPDATE keys SET name = 'key-' || id;
         ALTER TABLE monitors RENAME TO monitors_3;
         ALTER TABLE series RENAME TO series_3;
         ALTER TABLE runs RENAME TO runs_3;",
        monitors!(),
        series!(),
        runs!(),
        "INSERT INTO monitors (id, account_id, host, plugin, created_ms, received_ms, last_run,
             last_bad, reports, metrics, rejected, skipped)
         SELECT id, account_id, host, plugin, created_ms, received_ms, last_run, last_bad, reports,
             metrics, rejected, skipped FROM monitors_3;
         DROP TABLE monitors_3;
         INSERT INTO series (id, monitor_id, name, tags, kind, unit, label, warn, crit, min, max,
             last_ms, last_value)
         SELECT id, monitor_id, name, tags, kind, unit, label, warn, crit, min, max, last_ms,
             last_value FROM series_3;
         DROP TABLE series_3;
         INSERT INTO runs SELECT * FROM runs_3;
         DROP TABLE runs_3;",
        since_4!()
    ),
    concat!(
        "ALTER TABLE accounts ADD COLUMN disabled_ms INTEGER;
         UPDATE keys SET scopes = scopes || ' publish' WHERE ' ' || scopes || ' ' LIKE '% admin %';",
        since_5!()
    ),
];

const TABLES: &str = "
CREATE TABLE accounts (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, api_key TEXT NOT NULL UNIQUE,
    secret_key BLOB NOT NULL, created_ms INTEGER NOT NULL, disabled_ms INTEGER
) STRICT;
-- Tokens are kept as SHA-256 only; `hint` is what tells one from another. `scopes`: words of `ingest
-- read review admin publish`.
CREATE TABLE keys (
    id INTEGER PRIMARY KEY, account_id INTEGER NOT NULL REFERENCES accounts, hash BLOB NOT NULL UNIQUE,
    created_ms INTEGER NOT NULL, revoked_ms INTEGER, name TEXT NOT NULL, scopes TEXT NOT NULL,
    hint TEXT NOT NULL, expires_ms INTEGER, last_used_ms INTEGER
) STRICT;
CREATE TABLE plugin_keys (
    key TEXT PRIMARY KEY, account_id INTEGER NOT NULL REFERENCES accounts, plugin TEXT NOT NULL,
    created_ms INTEGER NOT NULL, revoked_ms INTEGER
) STRICT, WITHOUT ROWID;
CREATE TABLE login_links (
    hash BLOB PRIMARY KEY, account_id INTEGER NOT NULL REFERENCES accounts, expires_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE sessions (
    hash BLOB PRIMARY KEY, account_id INTEGER NOT NULL REFERENCES accounts, expires_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE agents (
    account_id INTEGER NOT NULL, agent TEXT NOT NULL, host TEXT NOT NULL, version TEXT NOT NULL,
    spool TEXT NOT NULL, received_ms INTEGER NOT NULL, skew_ms INTEGER NOT NULL,
    PRIMARY KEY (account_id, agent)
) STRICT, WITHOUT ROWID;
-- `through` is the mark of the stream: reports at or below it are duplicates. `run` is that of the
-- report at the mark, by which a copy of the spool is told from the spool.
-- `refused`: what of the last batch with something new in it was refused, as JSON.
CREATE TABLE streams (
    account_id INTEGER NOT NULL, spool TEXT NOT NULL, output TEXT NOT NULL,
    through INTEGER NOT NULL, received_ms INTEGER NOT NULL, refused TEXT, run BLOB,
    PRIMARY KEY (account_id, spool, output)
) STRICT, WITHOUT ROWID;
-- Points of one batch each, as they came.
CREATE TABLE raw (id INTEGER PRIMARY KEY AUTOINCREMENT, points INTEGER NOT NULL, body BLOB NOT NULL) STRICT;
-- Points of up to sixteen series each, one chunk or more a series; made from `raw` by compaction.
-- Rows of one series each would cost ten times as much to write.
CREATE TABLE segments (
    id INTEGER PRIMARY KEY AUTOINCREMENT, bucket INTEGER NOT NULL,
    from_ms INTEGER NOT NULL, to_ms INTEGER NOT NULL, points INTEGER NOT NULL, body BLOB NOT NULL
) STRICT;
CREATE INDEX segments_of_bucket ON segments (bucket, from_ms, to_ms);
CREATE TABLE rejections (
    id INTEGER PRIMARY KEY AUTOINCREMENT, monitor_id INTEGER NOT NULL, run BLOB NOT NULL,
    started_ms INTEGER NOT NULL, code TEXT NOT NULL, path TEXT NOT NULL, line INTEGER NOT NULL,
    col INTEGER NOT NULL, value TEXT NOT NULL, rule TEXT, message TEXT NOT NULL, hint TEXT NOT NULL
) STRICT;
CREATE INDEX rejections_of_monitor ON rejections (monitor_id);
";

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Makes the tables where there are none.
    Write,
    /// Sees only what is committed.
    Read,
}

/// Opens the database at `path`.
///
/// A file that is no database is moved aside and said, because a hub that does not start helps
/// nobody; what agents have not yet delivered comes again from their spools.
pub(crate) fn open(path: &Path, access: Access) -> Result<Connection, StoreError> {
    match try_open(path, access) {
        Err(StoreError::Sqlite { source, .. })
            if access == Access::Write
                && matches!(
                    source.sqlite_error_code(),
                    Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt)
                ) =>
        {
            let aside = move_aside(path)?;
            tracing::error!(
                file = %path.display(), aside = %aside.display(),
                "the hub's database is damaged: it was moved aside and an empty one begun"
            );
            try_open(path, access)
        }
        other => other,
    }
}

/// Opens the file while another connection, here or of another process, may be using it: it is never
/// moved aside, which would leave the two with different files.
pub(crate) fn reopen(path: &Path, access: Access) -> Result<Connection, StoreError> {
    try_open(path, access)
}

/// Opens a database that is there, to read it and no more: the hub's own, which may be in use, or a
/// backup.
pub(crate) fn open_existing(path: &Path) -> Result<Connection, StoreError> {
    let said = |source| StoreError::Sqlite { action: "open", source };
    let conn = try_open(path, Access::Read)?;
    let number = |name| conn.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let version = number("user_version").map_err(said)?;
    if number("application_id").map_err(said)? != APPLICATION || version > VERSION {
        return Err(StoreError::Newer { path: path.to_owned(), version });
    }
    if version < VERSION {
        return Err(StoreError::Older { path: path.to_owned(), version });
    }
    Ok(conn)
}

fn try_open(path: &Path, access: Access) -> Result<Connection, StoreError> {
    let said = |source| StoreError::Sqlite { action: "open", source };
    let flags = OpenFlags::SQLITE_OPEN_NO_MUTEX
        | match access {
            Access::Write => OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
            Access::Read => OpenFlags::SQLITE_OPEN_READ_ONLY,
        };
    if access == Access::Write {
        make_private(path)?;
        check_writable(path)?;
    }
    let conn = Connection::open_with_flags(path, flags).map_err(said)?;
    conn.busy_timeout(Duration::from_secs(10)).map_err(said)?;
    conn.set_prepared_statement_cache_capacity(64);
    if access == Access::Read {
        conn.execute_batch("PRAGMA cache_size = -1024; PRAGMA temp_store = MEMORY;")
            .map_err(said)?;
        return Ok(conn);
    }
    let version: i64 =
        conn.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(said)?;
    let application: i64 =
        conn.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(said)?;
    let tables: i64 =
        conn.query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0)).map_err(said)?;
    if version > VERSION || (tables > 0 && application != APPLICATION) {
        return Err(StoreError::Newer { path: path.to_owned(), version });
    }
    conn.execute_batch(
        "PRAGMA auto_vacuum = INCREMENTAL;
         PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         PRAGMA journal_size_limit = 16777216;
         PRAGMA cache_size = -4096;
         PRAGMA temp_store = MEMORY;",
    )
    .map_err(said)?;
    if tables == 0 {
        conn.execute_batch(&format!(
            "BEGIN IMMEDIATE; {TABLES} {} {} {} {} {}
             PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION}; COMMIT;",
            monitors!(),
            series!(),
            runs!(),
            since_4!(),
            since_5!()
        ))
        .map_err(said)?;
        return Ok(conn);
    }
    let done = usize::try_from(version - 1).unwrap_or(0);
    for (step, reached) in STEPS.iter().zip(2..).skip(done) {
        conn.execute_batch(&format!(
            "BEGIN IMMEDIATE; {step}; PRAGMA user_version = {reached}; COMMIT;"
        ))
        .map_err(said)?;
    }
    Ok(conn)
}

/// Makes the file for its owner alone, before SQLite would make it for all: what SQLite puts beside
/// it has its mode. One that exists is closed to others, where it is ours.
fn make_private(path: &Path) -> Result<(), StoreError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    match options.open(path) {
        Ok(_made) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(source) => return Err(StoreError::Private { path: path.to_owned(), source }),
    }
    for path in [path.to_owned(), beside(path, "-wal"), beside(path, "-shm")] {
        let Ok(meta) = path.metadata() else { continue };
        let ours = meta.uid() == rustix::process::geteuid().as_raw();
        if !ours || meta.permissions().mode().trailing_zeros() >= 6 {
            continue;
        }
        match std::fs::set_permissions(&path, Permissions::from_mode(0o600)) {
            // The last connection of another process may have removed it just now.
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(StoreError::Private { path, source });
            }
            _ => {}
        }
    }
    Ok(())
}

/// SQLite opens a file that it may not write all the same, and fails at the first change. Asked
/// without opening anything: that would drop the locks that this process has on the file.
fn check_writable(path: &Path) -> Result<(), StoreError> {
    let folder = path.parent().unwrap_or(path).to_owned();
    for path in [folder, path.to_owned(), beside(path, "-wal"), beside(path, "-shm")] {
        let asked = accessat(CWD, &path, rustix::fs::Access::WRITE_OK, AtFlags::EACCESS);
        match asked.map_err(io::Error::from) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(StoreError::NotWritable { path, source }),
            Ok(()) => {}
        }
    }
    Ok(())
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Moves a damaged database and what belongs to it out of the way.
fn move_aside(path: &Path) -> Result<PathBuf, StoreError> {
    let with = |suffix: &str| beside(path, suffix);
    let aside = (0..1000)
        .map(|n| with(&format!(".damaged-{n}")))
        .find(|candidate| !candidate.exists())
        .unwrap_or_else(|| with(".damaged"));
    std::fs::rename(path, &aside)
        .map_err(|source| StoreError::MoveAside { path: path.to_owned(), source })?;
    for suffix in ["-wal", "-shm"] {
        // Without its database a log is of no use, and would be taken for the new one's.
        match std::fs::remove_file(with(suffix)) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(StoreError::MoveAside { path: with(suffix), source });
            }
            _ => {}
        }
    }
    Ok(aside)
}
