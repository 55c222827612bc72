//! The files and folders that a config is read from.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::diagnostic::Diagnostic;

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
    std::fs::File::open(path)
        .and_then(|mut file| std::io::Read::read_exact(&mut file, &mut head))
        .is_ok_and(|()| &head == b"#!")
}

/// Reads a file of the config.
pub(super) fn read_text(path: &Path) -> Result<String, Diagnostic> {
    let shown = path.display();
    let bytes = std::fs::read(path).map_err(|error| {
        let wrong = Diagnostic::error(format!("cannot read the config file `{shown}`: {error}"));
        match error.kind() {
            std::io::ErrorKind::PermissionDenied => {
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
