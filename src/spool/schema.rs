use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, OpenFlags, OptionalExtension};
use rustix::fs::{Access, AtFlags};

use crate::model::{AgentId, SpoolId};

use super::ledger::Ledger;
use super::mend::HIGHEST;
use super::state::int;
use super::{SpoolError, error};
use crate::model::Evicted;

/// Raised with every change that an older version could not live with.
///
/// 1: the first.
/// 2: the quarantine keeps what the plugin printed (`started`, `format`, `form`, `raw`).
pub(super) const VERSION: u32 = 2;

/// In the file's header: `TALA`.
const APPLICATION: i32 = 0x5441_4c41;

/// Largest file that is checked page by page when it is opened. Larger ones show their damage
/// when the bad page is read; every report has a checksum of its own besides.
const CHECKED_WHOLE: u64 = 16 << 20;

const TABLES: &str = "
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
-- Running totals over all reports ever kept. Live bytes are `bytes - freed_bytes`; `clock` counts
-- the milliseconds during which the spool was open.
CREATE TABLE state (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    last_seq INTEGER NOT NULL, records INTEGER NOT NULL,
    bytes INTEGER NOT NULL, freed_bytes INTEGER NOT NULL,
    clock INTEGER NOT NULL, quarantine_bytes INTEGER NOT NULL) STRICT;
-- `through_records` and `through_bytes` are the running totals up to and including this report.
CREATE TABLE reports (
    seq INTEGER PRIMARY KEY, records INTEGER NOT NULL,
    through_records INTEGER NOT NULL, through_bytes INTEGER NOT NULL,
    clock INTEGER NOT NULL, crc INTEGER NOT NULL, body BLOB NOT NULL) STRICT;
-- `cursor_records` is the running total at the cursor, so that `state.records - cursor_records`
-- is what the output has spooled.
CREATE TABLE outputs (
    name TEXT PRIMARY KEY, active INTEGER NOT NULL,
    cursor INTEGER NOT NULL, cursor_records INTEGER NOT NULL,
    accepted INTEGER NOT NULL, delivered INTEGER NOT NULL,
    filtered INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE evicted (
    output TEXT NOT NULL, reason TEXT NOT NULL, records INTEGER NOT NULL,
    PRIMARY KEY (output, reason)) STRICT, WITHOUT ROWID;
CREATE TABLE plugins (
    name TEXT PRIMARY KEY, runs INTEGER NOT NULL, skipped INTEGER NOT NULL,
    produced INTEGER NOT NULL, accepted INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE rejected (
    plugin TEXT NOT NULL, code TEXT NOT NULL, records INTEGER NOT NULL,
    PRIMARY KEY (plugin, code)) STRICT, WITHOUT ROWID;
-- Reports whose checksum does not match, until all cursors have passed them.
CREATE TABLE damaged (seq INTEGER PRIMARY KEY, records INTEGER NOT NULL) STRICT;
CREATE TABLE quarantine (
    id INTEGER PRIMARY KEY AUTOINCREMENT, clock INTEGER NOT NULL, at INTEGER NOT NULL,
    kind TEXT NOT NULL, output TEXT, seq INTEGER, plugin TEXT, run TEXT,
    code TEXT NOT NULL, message TEXT NOT NULL,
    whole INTEGER NOT NULL, body BLOB NOT NULL,
    started INTEGER, format TEXT, form TEXT, raw BLOB) STRICT;
INSERT INTO state VALUES (1, 0, 0, 0, 0, 0, 0);
";

/// What makes a file of version `n + 1` of one of version `n`, from the first on.
const STEPS: [&str; VERSION as usize - 1] = ["
ALTER TABLE quarantine ADD COLUMN started INTEGER;
ALTER TABLE quarantine ADD COLUMN format TEXT;
ALTER TABLE quarantine ADD COLUMN form TEXT;
ALTER TABLE quarantine ADD COLUMN raw BLOB;
"];

/// The spool's file in a data folder.
pub(super) fn file(data_dir: &Path) -> PathBuf {
    data_dir.join("spool.db")
}

/// Makes the data folder, for its owner alone, if there is none.
pub(super) fn make_folder(path: &Path) -> Result<(), SpoolError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| SpoolError::Folder { path: path.to_owned(), source })
}

/// What is at the spool's place.
pub(super) enum Found {
    Nothing,
    Spool,
    Bad(String),
}

/// Looks at the file without opening it as a database, so that a newer one stays untouched.
pub(super) fn look(path: &Path) -> Result<Found, SpoolError> {
    let prepare = |source| SpoolError::Prepare { path: path.to_owned(), source };
    let kind = match fs::symlink_metadata(path) {
        Ok(meta) => meta.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(source) => return Err(prepare(source)),
    };
    if kind.is_dir() {
        return Ok(Found::Bad("a folder is in its place".to_owned()));
    }
    let mut header = Vec::with_capacity(100);
    File::open(path).and_then(|f| f.take(100).read_to_end(&mut header)).map_err(prepare)?;
    // A new file gets its name only when it is complete, so an empty one was cut.
    if header.len() < 100 {
        return Ok(Found::Bad(format!("it has only {} bytes", header.len())));
    }
    if !header.starts_with(b"SQLite format 3\0") {
        return Ok(Found::Bad("it is not a database".to_owned()));
    }
    let word = |at: usize| u32::from_be_bytes([0, 1, 2, 3].map(|i| header[at + i]));
    if word(68) != APPLICATION as u32 {
        return Ok(Found::Bad("it is a database of another program".to_owned()));
    }
    let found = word(60);
    if found > VERSION {
        let install = written_by(path).unwrap_or_else(|| "a newer version".to_owned());
        return Err(SpoolError::Newer { path: path.to_owned(), found, known: VERSION, install });
    }
    Ok(Found::Spool)
}

/// The version that wrote a newer file, read without touching it.
fn written_by(path: &Path) -> Option<String> {
    let uri = format!("file:{}?immutable=1", escape(path)?);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    let db = Connection::open_with_flags(uri, flags).ok()?;
    meta(&db, "written_by").ok().flatten()
}

fn escape(path: &Path) -> Option<String> {
    Some(path.to_str()?.replace('%', "%25").replace('?', "%3f").replace('#', "%23"))
}

/// Makes a new, empty spool under another name and puts it in place when it is complete.
pub(super) fn create(path: &Path, salvage: Option<&Salvage>) -> Result<(), SpoolError> {
    let prepare = |source| SpoolError::Prepare { path: path.to_owned(), source };
    let open = |source| SpoolError::Open { path: path.to_owned(), source };
    let fresh = with_suffix(path, ".new");
    remove(&fresh).map_err(prepare)?;
    remove(&with_suffix(&fresh, "-journal")).map_err(prepare)?;
    // A log left behind by a file that somebody removed belongs to no database any more, and
    // would be played into the new one.
    remove(&with_suffix(path, "-wal")).map_err(prepare)?;
    remove(&with_suffix(path, "-shm")).map_err(prepare)?;
    // SQLite gives its log the mode of the database.
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh).map_err(prepare)?;
    let mut db = Connection::open(&fresh).map_err(open)?;
    fill(&mut db, salvage).map_err(open)?;
    db.close().map_err(|(_, source)| open(source))?;
    fs::rename(&fresh, path).and_then(|()| sync_folder(path)).map_err(prepare)
}

fn fill(db: &mut Connection, salvage: Option<&Salvage>) -> rusqlite::Result<()> {
    db.execute_batch(&format!(
        "PRAGMA page_size = 4096; PRAGMA auto_vacuum = INCREMENTAL;
         PRAGMA journal_mode = DELETE; PRAGMA synchronous = FULL;
         PRAGMA application_id = {APPLICATION};"
    ))?;
    let tx = db.transaction()?;
    tx.execute_batch(TABLES)?;
    tx.pragma_update(None, "user_version", VERSION)?;
    set_meta(&tx, "written_by", env!("CARGO_PKG_VERSION"))?;
    set_meta(&tx, "spool_id", &SpoolId::new().to_string())?;
    let agent = salvage.and_then(|s| s.agent).unwrap_or_else(AgentId::new);
    set_meta(&tx, "agent_id", &agent.to_string())?;
    if let Some(salvage) = salvage {
        salvage.put(&tx)?;
    }
    tx.commit()
}

/// Opens the file for its one writer.
pub(super) fn open(path: &Path) -> Result<Connection, SpoolError> {
    let open = |source| SpoolError::Open { path: path.to_owned(), source };
    check_writable(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags).map_err(open)?;
    prepare(&db).map_err(open)?;
    let found = version(&db).map_err(open)?;
    if found > VERSION {
        // Only its log says so: an upgrade was interrupted before its first checkpoint.
        let install = meta(&db, "written_by").ok().flatten().unwrap_or_default();
        return Err(SpoolError::Newer { path: path.to_owned(), found, known: VERSION, install });
    }
    // First: a damaged file is not rewritten, but moved aside as it is.
    check(path, &db)?;
    upgrade(&db, found).map_err(open)?;
    Ok(db)
}

/// Brings a file of an older version up to this one, in one transaction.
fn upgrade(db: &Connection, found: u32) -> rusqlite::Result<()> {
    if found == VERSION {
        return Ok(());
    }
    let tx = db.unchecked_transaction()?;
    for step in STEPS.iter().skip(found.saturating_sub(1) as usize) {
        tx.execute_batch(step)?;
    }
    tx.pragma_update(None, "user_version", VERSION)?;
    set_meta(&tx, "written_by", env!("CARGO_PKG_VERSION"))?;
    tx.commit()
}

/// The version that wrote the file.
pub(super) fn version(db: &Connection) -> rusqlite::Result<u32> {
    db.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// An empty spool that is nowhere, for tests of single statements.
#[cfg(test)]
pub(super) fn in_memory() -> Connection {
    let db = Connection::open_in_memory().unwrap();
    db.execute_batch(TABLES).unwrap();
    db
}

/// SQLite opens a file that it may not write all the same, makes a log that it may not write
/// either, and fails at the first report. Asked without opening anything: closing any descriptor of
/// the file would drop the locks that this process has on it.
fn check_writable(path: &Path) -> Result<(), SpoolError> {
    let folder = path.parent().unwrap_or(path).to_owned();
    for path in [folder, path.to_owned(), with_suffix(path, "-wal"), with_suffix(path, "-shm")] {
        match may_write(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(SpoolError::NotWritable { path, source }),
            Ok(()) => {}
        }
    }
    Ok(())
}

fn may_write(path: &Path) -> io::Result<()> {
    rustix::fs::accessat(rustix::fs::CWD, path, Access::WRITE_OK, AtFlags::EACCESS)
        .map_err(io::Error::from)
}

fn prepare(db: &Connection) -> rusqlite::Result<()> {
    db.busy_timeout(Duration::from_secs(5))?;
    // The cache is small because every page is touched once. The log is cut to 8 MiB: what it
    // keeps allocated is what a full disk leaves to evict with.
    db.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -512;
         PRAGMA journal_size_limit = 8388608; PRAGMA temp_store = MEMORY;",
    )
}

/// Opens the file to read. The writer may be at work.
pub(super) fn open_to_read(path: &Path) -> rusqlite::Result<Connection> {
    read_only(Connection::open_with_flags(path, READ_FLAGS)?)
}

/// Opens the file to look at, also where nothing can be written: a reader would make a log where
/// there is none. Without a log and the means to make one, nobody writes the file.
pub(super) fn open_to_look(path: &Path) -> rusqlite::Result<Connection> {
    let folder = path.parent().unwrap_or(path);
    let still = !with_suffix(path, "-wal").exists() && may_write(folder).is_err();
    match escape(path).filter(|_| still) {
        Some(path) => {
            let flags = READ_FLAGS | OpenFlags::SQLITE_OPEN_URI;
            read_only(Connection::open_with_flags(format!("file:{path}?immutable=1"), flags)?)
        }
        None => open_to_read(path),
    }
}

const READ_FLAGS: OpenFlags =
    OpenFlags::SQLITE_OPEN_READ_ONLY.union(OpenFlags::SQLITE_OPEN_NO_MUTEX);

fn read_only(db: Connection) -> rusqlite::Result<Connection> {
    db.busy_timeout(Duration::from_secs(5))?;
    db.execute_batch("PRAGMA cache_size = -256; PRAGMA query_only = 1;")?;
    Ok(db)
}

/// Looks for damage in bounded time: the ends of the queue, the totals, and every page of a small
/// file.
fn check(path: &Path, db: &Connection) -> Result<(), SpoolError> {
    let open = |source| SpoolError::Open { path: path.to_owned(), source };
    let damaged = |why: String| SpoolError::Damaged { path: path.to_owned(), why };
    let size: u64 = size(db).map_err(open)?;
    if size <= CHECKED_WHOLE {
        let verdict: String =
            db.query_row("PRAGMA quick_check(1)", [], |r| r.get(0)).map_err(open)?;
        if verdict != "ok" {
            return Err(damaged(verdict.replace('\n', " ")));
        }
    }
    // A number must not be given twice: a hub would take the second report for the first.
    let sane: bool = db
        .query_row(
            "SELECT CASE WHEN EXISTS (SELECT 1 FROM reports)
                 THEN (SELECT MAX(seq) FROM reports) BETWEEN 0 AND ?1
                 ELSE last_seq BETWEEN IFNULL((SELECT MAX(cursor) FROM outputs), 0) AND ?1 END
             FROM state",
            [HIGHEST],
            |r| r.get(0),
        )
        .map_err(open)?;
    if !sane {
        return Err(damaged("nobody can tell which numbers it gave".to_owned()));
    }
    // The older end; the other one and the counters are looked at when they are mended.
    db.query_row("SELECT length(body), clock FROM reports ORDER BY seq LIMIT 1", [], |_| Ok(()))
        .optional()
        .map_err(open)?;
    for key in ["spool_id", "agent_id"] {
        let id = meta(db, key).map_err(open)?;
        if id.is_none_or(|id| id.parse::<SpoolId>().is_err()) {
            return Err(damaged(format!("it has no {key}")));
        }
    }
    Ok(())
}

fn size(db: &Connection) -> rusqlite::Result<u64> {
    let pages: i64 = db.pragma_query_value(None, "page_count", |r| r.get(0))?;
    let page: i64 = db.pragma_query_value(None, "page_size", |r| r.get(0))?;
    Ok((pages * page).unsigned_abs())
}

/// Reads one of the spool's own facts.
pub(super) fn meta(db: &Connection, key: &str) -> rusqlite::Result<Option<String>> {
    db.query_row("SELECT value FROM meta WHERE key = ?1", [key], |r| r.get(0)).optional()
}

/// Sets one of the spool's own facts.
pub(super) fn set_meta(db: &Connection, key: &str, value: &str) -> rusqlite::Result<()> {
    db.execute(
        "INSERT INTO meta VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        [key, value],
    )?;
    Ok(())
}

/// Renames the file and its log, and says to what.
pub(super) fn move_aside(path: &Path) -> Result<PathBuf, SpoolError> {
    let prepare = |source| SpoolError::Prepare { path: path.to_owned(), source };
    let millis = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let mut to = with_suffix(path, &format!(".damaged-{millis}"));
    let mut n = 0;
    while fs::symlink_metadata(&to).is_ok() {
        n += 1;
        to = with_suffix(path, &format!(".damaged-{millis}-{n}"));
    }
    fs::rename(path, &to).map_err(prepare)?;
    match fs::rename(with_suffix(path, "-wal"), with_suffix(&to, "-wal")) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(prepare(source)),
    }
    // The index of the log is rebuilt from the log; a stale one must not meet the new file.
    remove(&with_suffix(path, "-shm")).map_err(prepare)?;
    sync_folder(path).map_err(prepare)?;
    Ok(to)
}

/// What can be read from a damaged file: the ledger, so that its counts go on, and who we are.
pub(super) struct Salvage {
    agent: Option<AgentId>,
    ledger: Ledger,
    /// Whether the counts of every output could be read.
    whole: bool,
}

impl Salvage {
    pub(super) fn read(path: &Path) -> Option<Self> {
        if !path.is_file() {
            return None;
        }
        let db = open_to_read(path).ok()?;
        // A file without an `agent_id` had no ledger to speak of either.
        let agent = meta(&db, "agent_id").ok().flatten()?.parse().ok();
        // A counter that is none, or a row that does not add up, tells nothing.
        let (mut ledger, readable) =
            Ledger::load(&db).map_or_else(|_| Default::default(), |l| (l, true));
        let outputs = ledger.outputs.len();
        ledger.plugins.retain(|_, totals| totals.balances());
        ledger.outputs.retain(|_, totals| totals.balances());
        let whole = readable && ledger.outputs.len() == outputs;
        Some(Self { agent, ledger, whole })
    }

    /// Undelivered records, summed over outputs, if the counts of all of them can be read.
    pub(super) fn lost(&self) -> Option<u64> {
        self.whole.then(|| self.ledger.outputs.values().map(|o| o.spooled).sum())
    }

    /// Writes the counts into an empty spool; what was spooled is now evicted.
    fn put(&self, db: &Connection) -> rusqlite::Result<()> {
        for (name, p) in &self.ledger.plugins {
            db.execute(
                "INSERT INTO plugins VALUES (?1, ?2, ?3, ?4, ?5)",
                (name, int(p.runs), int(p.skipped), int(p.produced), int(p.accepted)),
            )?;
            for (code, n) in &p.rejected {
                db.execute("INSERT INTO rejected VALUES (?1, ?2, ?3)", (name, code, int(*n)))?;
            }
        }
        for (name, o) in &self.ledger.outputs {
            db.execute(
                "INSERT INTO outputs VALUES (?1, ?2, 0, 0, ?3, ?4, ?5)",
                (name, o.active, int(o.accepted), int(o.delivered), int(o.filtered)),
            )?;
            let mut evicted = o.evicted.clone();
            *evicted.entry(Evicted::Damaged).or_default() += o.spooled;
            for (reason, n) in evicted {
                db.execute(
                    "INSERT INTO evicted VALUES (?1, ?2, ?3)",
                    (name, reason.as_str(), int(n)),
                )?;
            }
        }
        Ok(())
    }
}

/// `path` with something added to its name.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// Whether an error of opening means that the file has to make way.
pub(super) fn must_make_way(error: &SpoolError) -> bool {
    match error {
        SpoolError::Damaged { .. } => true,
        SpoolError::Open { source, .. } => error::is_damage(source),
        _ => false,
    }
}
