//! A file of reports, one JSON object per line, rotated by size.
//!
//! A batch is on disk before its receipt. A batch that could not be written to its end is taken
//! back; after a crash a half line at the end is removed, because its report comes again. Whole
//! reports written just before a crash come twice; their `run` tells.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::model::Verdict;

use super::pump::{Batch, Sink};

/// Where and how much.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSettings {
    /// The file; its folder must exist.
    pub path: PathBuf,
    /// The size in bytes beyond which it is rotated; a batch is never divided.
    pub max_bytes: u64,
    /// How many rotated files are kept, as `path.1` (the newest) to `path.N`.
    pub keep: u32,
}

impl FileSettings {
    /// `path` with the defaults: 64 MiB, 5 rotated files.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), max_bytes: 64 << 20, keep: 5 }
    }
}

/// Writes batches to a file.
pub struct FileSink {
    settings: FileSettings,
    open: Option<Open>,
}

struct Open {
    file: File,
    size: u64,
    /// Device and inode, to see that somebody else rotated it.
    is: (u64, u64),
}

impl FileSink {
    /// A sink that opens its file when there is something to write.
    pub fn new(settings: FileSettings) -> Self {
        Self { settings, open: None }
    }
}

impl Sink for FileSink {
    async fn send(&mut self, batch: Batch<'_>) -> Verdict {
        let size: usize = batch.reports.iter().map(|r| r.body.len() + 1).sum();
        let mut lines = Vec::with_capacity(size);
        for report in batch.reports {
            lines.extend_from_slice(&report.body);
            lines.push(b'\n');
        }
        let (settings, open) = (self.settings.clone(), self.open.take());
        let written = tokio::task::spawn_blocking(move || append(&settings, open, &lines)).await;
        match written {
            Ok(Ok(open)) => {
                self.open = Some(open);
                Verdict::Delivered { refused: Vec::new() }
            }
            Ok(Err(error)) => failed(&self.settings.path, &error),
            Err(error) => Verdict::Retry { after: None, why: error.to_string() },
        }
    }
}

/// A full or ailing disk passes; a place that cannot be written needs a person.
fn failed(path: &Path, error: &io::Error) -> Verdict {
    let why = format!("cannot write {}: {error}", path.display());
    match error.kind() {
        ErrorKind::PermissionDenied
        | ErrorKind::NotFound
        | ErrorKind::NotADirectory
        | ErrorKind::IsADirectory
        | ErrorKind::ReadOnlyFilesystem
        | ErrorKind::InvalidInput => Verdict::Hold { why },
        _ => Verdict::Retry { after: None, why },
    }
}

/// Appends `lines` and flushes them; on an error the file is as it was.
fn append(settings: &FileSettings, open: Option<Open>, lines: &[u8]) -> io::Result<Open> {
    let there = fs::metadata(&settings.path).ok().map(|meta| (meta.dev(), meta.ino()));
    let mut open = match open {
        Some(open) if there == Some(open.is) => open,
        _ => Open::at(&settings.path)?,
    };
    if open.size > 0 && open.size + lines.len() as u64 > settings.max_bytes {
        drop(open);
        rotate(settings)?;
        open = Open::at(&settings.path)?;
    }
    let written = open.file.write_all(lines).and_then(|()| open.file.sync_data());
    if let Err(error) = written {
        // If this fails as well, the half line is removed when the file is opened again.
        open.file.set_len(open.size).ok();
        return Err(error);
    }
    open.size += lines.len() as u64;
    Ok(open)
}

impl Open {
    fn at(path: &Path) -> io::Result<Self> {
        let mut file =
            OpenOptions::new().read(true).append(true).create(true).mode(0o640).open(path)?;
        let meta = file.metadata()?;
        let mut size = meta.len();
        // Also for pipes and devices (`/dev/stderr`): those have no half lines.
        if meta.is_file() && size > 0 {
            size = mend(&mut file, size)?;
        }
        sync_folder(path)?;
        Ok(Self { file, size, is: (meta.dev(), meta.ino()) })
    }
}

/// Removes half a report at the end of the file. Anything else without a newline, whole JSON of
/// whoever wrote it too, is left alone and ended with one.
fn mend(file: &mut File, size: u64) -> io::Result<u64> {
    const CHUNK: u64 = 64 << 10;
    let mut end = size;
    let begin = loop {
        let from = end.saturating_sub(CHUNK);
        let mut chunk = vec![0; (end - from) as usize];
        file.seek(SeekFrom::Start(from))?;
        file.read_exact(&mut chunk)?;
        if end == size && chunk.last() == Some(&b'\n') {
            return Ok(size);
        }
        if let Some(at) = chunk.iter().rposition(|b| *b == b'\n') {
            break from + at as u64 + 1;
        }
        if from == 0 {
            break 0;
        }
        end = from;
    };
    if begins_a_report(file, begin)? && !is_json(file, begin)? {
        file.set_len(begin)?;
        return Ok(begin);
    }
    file.write_all(b"\n")?;
    Ok(size + 1)
}

fn begins_a_report(file: &mut File, at: u64) -> io::Result<bool> {
    let mut first = [0];
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(&mut first)?;
    Ok(first == *b"{")
}

/// Whether what follows `at` is one whole JSON value. It may be of any size and depth.
fn is_json(file: &mut File, at: u64) -> io::Result<bool> {
    file.seek(SeekFrom::Start(at))?;
    let mut rest = serde_json::Deserializer::from_reader(BufReader::new(file));
    match IgnoredAny::deserialize(&mut rest).and_then(|_| rest.end()) {
        Ok(()) => Ok(true),
        Err(error) if error.is_io() => Err(error.into()),
        Err(_) => Ok(false),
    }
}

/// `path` becomes `path.1`, that becomes `path.2`, and the last one goes.
fn rotate(settings: &FileSettings) -> io::Result<()> {
    let numbered = |n: u32| {
        let mut name = settings.path.as_os_str().to_owned();
        name.push(format!(".{n}"));
        PathBuf::from(name)
    };
    if settings.keep == 0 {
        fs::remove_file(&settings.path)?;
        return sync_folder(&settings.path);
    }
    for n in (1..settings.keep).rev() {
        match fs::rename(numbered(n), numbered(n + 1)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::rename(&settings.path, numbered(1))?;
    sync_folder(&settings.path)
}

fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test's files need not be durable")]
mod tests {
    use crate::model::{AgentId, Seq, SpoolId};
    use crate::spool::{Identity, Stored};

    use super::*;

    async fn send(sink: &mut FileSink, numbers: std::ops::Range<u64>) -> Verdict {
        let reports: Vec<Stored> = numbers
            .map(|n| Stored { seq: Seq(n), body: format!("{{\"n\":{n}}}").into(), records: 1 })
            .collect();
        let identity = Identity { spool: SpoolId::new(), agent: AgentId::new() };
        sink.send(Batch { identity, highest: Seq(99), reports: &reports }).await
    }

    fn lines(path: &Path) -> Vec<String> {
        fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
    }

    fn delivered() -> Verdict {
        Verdict::Delivered { refused: Vec::new() }
    }

    #[tokio::test]
    async fn files_rotate_and_the_oldest_go() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.ndjson");
        let settings = FileSettings { path: path.clone(), max_bytes: 30, keep: 2 };
        let mut sink = FileSink::new(settings);
        // Eight bytes each: three fit.
        for n in 0..10 {
            assert_eq!(send(&mut sink, n..n + 1).await, delivered());
        }
        let file = |suffix: &str| lines(&dir.path().join(format!("out.ndjson{suffix}")));
        assert_eq!(file(""), ["{\"n\":9}"]);
        assert_eq!(file(".1"), ["{\"n\":6}", "{\"n\":7}", "{\"n\":8}"]);
        assert_eq!(file(".2"), ["{\"n\":3}", "{\"n\":4}", "{\"n\":5}"]);
        assert!(!dir.path().join("out.ndjson.3").exists());
        // A batch is never divided, and somebody else may rotate as well.
        fs::rename(&path, dir.path().join("elsewhere")).unwrap();
        assert_eq!(send(&mut sink, 10..20).await, delivered());
        assert_eq!(file("").len(), 10);
    }

    #[tokio::test]
    async fn half_a_report_is_removed_and_other_text_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.ndjson");
        let long = format!("{{\"a\":1}}\n{{\"b\":\"{}", "x".repeat(200_000));
        let whole = format!("{{\"b\":\"{}\"}}", "x".repeat(200_000));
        for (before, after) in [
            ("{\"a\":1}\n{\"b\":", vec!["{\"a\":1}", "{\"n\":1}"]),
            (long.as_str(), vec!["{\"a\":1}", "{\"n\":1}"]),
            ("{\"b\":", vec!["{\"n\":1}"]),
            ("{\"theirs\":[1]}", vec!["{\"theirs\":[1]}", "{\"n\":1}"]),
            ("x\n{\"a\":1} ", vec!["x", "{\"a\":1} ", "{\"n\":1}"]),
            ("{\"a\":1}{\"b\"", vec!["{\"n\":1}"]),
            (whole.as_str(), vec![whole.as_str(), "{\"n\":1}"]),
            ("notes", vec!["notes", "{\"n\":1}"]),
            ("{\"a\":1}\n", vec!["{\"a\":1}", "{\"n\":1}"]),
        ] {
            fs::write(&path, before).unwrap();
            let mut sink = FileSink::new(FileSettings::new(&path));
            assert_eq!(send(&mut sink, 1..2).await, delivered());
            assert_eq!(lines(&path), after);
        }
    }

    #[tokio::test]
    async fn a_place_that_is_not_there_is_held_and_a_full_disk_retried() {
        let dir = tempfile::tempdir().unwrap();
        let mut sink = FileSink::new(FileSettings::new(dir.path().join("no/such/file")));
        let Verdict::Hold { why } = send(&mut sink, 1..2).await else { panic!() };
        assert!(why.contains("no/such/file"), "{why}");
        let mut sink = FileSink::new(FileSettings::new(dir.path()));
        assert!(matches!(send(&mut sink, 1..2).await, Verdict::Hold { .. }));
        if Path::new("/dev/full").exists() {
            let mut sink = FileSink::new(FileSettings::new("/dev/full"));
            let verdict = send(&mut sink, 1..2).await;
            assert!(matches!(verdict, Verdict::Retry { .. }), "{verdict:?}");
        }
    }
}
