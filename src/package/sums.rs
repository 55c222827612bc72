//! `SHA256SUMS`: the hash of every other file, as `sha256sum` writes and reads it.

use sha2::{Digest as _, Sha256};

use super::contents::{Contents, PackageFile, SUMS};
use super::finding::Finding;
use super::template::FileMode;

/// SHA-256 in small hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut text, byte| {
        text.extend(
            [byte >> 4, byte & 15].map(|half| char::from(b"0123456789abcdef"[half as usize])),
        );
        text
    })
}

/// The file, for these contents.
pub(super) fn sums(contents: &Contents) -> PackageFile {
    let mut text = String::new();
    for file in contents.files().iter().filter(|file| file.path != SUMS) {
        text.extend([
            &sha256(&file.bytes),
            "  ",
            &file.path,
            "
",
        ]);
    }
    PackageFile { path: SUMS.to_owned(), mode: FileMode::Plain, bytes: text.into_bytes() }
}

/// What is wrong with the file, where it is there.
pub(super) fn check(contents: &Contents) -> Option<Finding> {
    let own = contents.get(SUMS)?;
    if *own == sums(contents) {
        return None;
    }
    let listed = String::from_utf8_lossy(&own.bytes);
    let mut listed: std::collections::BTreeMap<&str, &str> = listed
        .lines()
        .filter_map(|line| line.split_once("  ").map(|(sum, path)| (path, sum)))
        .collect();
    let mut wrong = contents
        .files()
        .iter()
        .filter(|file| file.path != SUMS)
        .filter(|file| listed.remove(file.path.as_str()) != Some(&sha256(&file.bytes)))
        .map(|file| file.path.as_str());
    let message = match wrong.next() {
        Some(path) => format!("the hash of `{path}` is not that of the file"),
        None => "it is not as `talaia plugin pack` writes it".to_owned(),
    };
    Some(Finding::error(SUMS, message, "pack it again: `talaia plugin pack`"))
}
