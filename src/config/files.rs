//! The files and folders that a config is read from.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::{
    FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::diagnostic::Diagnostic;

/// Opens a file, and nothing else: whoever reads a config waits for no pipe and no device.
pub(super) fn open(path: &Path) -> io::Result<File> {
    // A pipe without a writer is opened at once.
    let at_once = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let file = File::options().read(true).custom_flags(at_once).open(path)?;
    let metadata = file.metadata()?;
    let kind = metadata.file_type();
    let nothing = || rustix::fs::makedev(1, 3) == metadata.rdev();
    let what = match kind {
        // `/dev/null` is how a file without anything in it is written.
        _ if kind.is_file() || (kind.is_char_device() && nothing()) => return Ok(file),
        _ if kind.is_dir() => "a folder",
        _ if kind.is_fifo() => "a pipe",
        _ => "a device",
    };
    Err(io::Error::other(format!("it is {what}, and no file")))
}

/// The text of a file of a config. Nobody waits for a pipe or a device: that is an error.
///
/// # Errors
/// As those of [`std::fs::read_to_string`], and for what is no file.
pub fn read_to_string(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    open(path)?.read_to_string(&mut text)?;
    Ok(text)
}

/// All that is in a file, and in nothing else.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The entries of a folder, sorted, without hidden ones.
pub(super) fn list(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            entries.push(entry.path());
        }
    }
    entries.sort();
    Ok(entries)
}

/// Whether a file in a folder of plugins is one: executable, or with a `#!` line (then it was
/// surely meant to be), and neither a sidecar nor an editor's backup.
pub(super) fn is_program(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if [
        ".toml",
        ".json",
        ".md",
        "~",
        ".bak",
        ".orig",
        ".rpmnew",
        ".rpmsave",
        ".dpkg-old",
        ".dpkg-new",
        ".dpkg-dist",
    ]
    .iter()
    .any(|suffix| name.ends_with(suffix))
    {
        return false;
    }
    let Ok(metadata) = std::fs::metadata(path) else { return false };
    if !metadata.is_file() {
        return false;
    }
    if metadata.permissions().mode() & 0o111 != 0 {
        return true;
    }
    let mut head = [0; 2];
    open(path).and_then(|mut file| file.read_exact(&mut head)).is_ok_and(|()| &head == b"#!")
}

/// Reads a file of the config.
pub(super) fn read_text(path: &Path) -> Result<String, Diagnostic> {
    let shown = path.display();
    let bytes = read(path).map_err(|error| {
        let wrong = Diagnostic::error(format!("cannot read the config file `{shown}`: {error}"));
        match error.kind() {
            io::ErrorKind::PermissionDenied => {
                wrong.help("let the user that runs talaia read it, and enter the folders above it")
            }
            _ => wrong,
        }
    })?;
    String::from_utf8(bytes).map_err(|e| {
        let bytes = e.as_bytes();
        let help = if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
            "it seems to be UTF-16; save it as UTF-8"
        } else {
            "save it as UTF-8"
        };
        let before = &bytes[..e.utf8_error().valid_up_to()];
        let line = before.split(|b| *b == b'\n').count();
        let column = 1 + before.iter().rev().take_while(|b| **b != b'\n').count();
        Diagnostic::error(format!("`{shown}` is not UTF-8 at line {line}, column {column}"))
            .help(help)
    })
}
