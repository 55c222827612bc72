//! Archives of packages: zip files in which all lies below one folder.
//!
//! Written so that the same contents give the same bytes: sorted, with a fixed time, two modes, one way
//! of compression. Read as if an enemy had written them: every entry is looked at before anything is
//! unpacked, what a header says of a size is not believed, and nothing is written to disk.

use std::io::{Cursor, Read as _, Write as _};

use zip::result::ZipError;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use crate::model::PackageName;

use super::contents::{Contents, PackageFile, bounds, shown};
use super::finding::Finding;
use super::sums::sums;
use super::template::FileMode;

/// How many times smaller than its file an entry may be; text is at most about twenty times.
const RATIO: u64 = 200;
/// Entries smaller than this may be compressed as far as they like.
const SMALL: u64 = 1 << 20;

/// Why an archive could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It is larger than a package may be.
    #[error("the archive has {} KiB; a package has at most {} KiB", .0 >> 10, bounds::ZIPPED >> 10)]
    TooLarge(usize),
    /// It could not be written.
    #[error("the archive cannot be written")]
    Zip(#[source] ZipError),
}

/// Packs `contents` below the folder `name/`, together with the hash of every file.
pub fn pack(name: &PackageName, contents: &Contents) -> Result<Vec<u8>, ArchiveError> {
    let contents = contents.with(sums(contents));
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for file in contents.files() {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .compression_level(Some(9))
            .last_modified_time(zip::DateTime::default())
            .unix_permissions(file.mode.bits());
        zip.start_file(format!("{name}/{}", file.path), options).map_err(ArchiveError::Zip)?;
        zip.write_all(&file.bytes).map_err(|e| ArchiveError::Zip(ZipError::Io(e)))?;
    }
    let bytes = zip.finish().map_err(ArchiveError::Zip)?.into_inner();
    if bytes.len() > bounds::ZIPPED {
        return Err(ArchiveError::TooLarge(bytes.len()));
    }
    Ok(bytes)
}

/// Reads an archive: the name of its one folder, and what is in it.
///
/// # Errors
/// All that is wrong with it.
pub fn unpack(bytes: &[u8]) -> Result<(PackageName, Contents), Vec<Finding>> {
    let one = |message: String, help: &str| vec![Finding::error("", message, help)];
    if bytes.len() > bounds::ZIPPED {
        let error = ArchiveError::TooLarge(bytes.len());
        return Err(one(error.to_string(), "leave out what is not needed to run it"));
    }
    let again = "make it with `talaia plugin pack`";
    // Before anything is made of its list of entries.
    let entries = entries(bytes).map_err(|why| one(why.to_owned(), again))?;
    if entries > 2 * bounds::FILES {
        let message = format!("{entries} entries; a package has at most {} files", bounds::FILES);
        return Err(one(message, "leave out what is not needed to run it"));
    }
    let mut zip = ZipArchive::new(Cursor::new(bytes))
        .map_err(|e| one(format!("this is not a zip archive: {e}"), again))?;
    if zip.has_duplicate_names() {
        return Err(one("two entries have the same name".to_owned(), again));
    }
    if zip.offset() != 0 || !zip.comment().is_empty() {
        return Err(one("there is something before or after the archive".to_owned(), again));
    }
    if zip.len() != entries {
        return Err(one("its end does not say how many entries it has".to_owned(), again));
    }
    if zip.has_overlapping_files().unwrap_or(true) {
        return Err(one("entries lie over each other".to_owned(), again));
    }
    zip.validate_header_consistency()
        .map_err(|e| one(format!("its two lists of entries differ: {e}"), again))?;
    let (mut files, mut findings) = (Vec::new(), Vec::new());
    let (mut top, mut left) = (None, bounds::UNPACKED as u64);
    for index in 0..zip.len() {
        match entry(&mut zip, index, &mut top, &mut left) {
            Ok(file) => files.extend(file),
            Err(finding) => findings.push(finding),
        }
        if left == 0 {
            break;
        }
    }
    let contents = match Contents::new(files) {
        Ok(contents) => contents,
        Err(more) => {
            findings.extend(more);
            return Err(findings);
        }
    };
    match top {
        Some(top) if findings.is_empty() => Ok((top, contents)),
        None if findings.is_empty() => Err(one("there are no files in it".to_owned(), again)),
        _ => Err(findings),
    }
}

/// How many entries the record at the archive's end announces: folders may have some of their own.
fn entries(bytes: &[u8]) -> Result<usize, &'static str> {
    // Its size where there is no comment in it.
    const END: usize = 22;
    const LOCATOR: usize = 20;
    let no_zip = "this is not a zip archive: it does not end as one, or something follows it";
    let (rest, end) = bytes.split_at_checked(bytes.len().wrapping_sub(END)).ok_or(no_zip)?;
    if !end.starts_with(b"PK\x05\x06") {
        return Err(no_zip);
    }
    let long =
        rest.len().checked_sub(LOCATOR).is_some_and(|at| rest[at..].starts_with(b"PK\x06\x07"));
    let entries = u16::from_le_bytes([end[10], end[11]]);
    if long || entries == u16::MAX {
        return Err("it is in the form for large archives (zip64), which no package needs");
    }
    let list =
        |at: usize| u64::from(u32::from_le_bytes([end[at], end[at + 1], end[at + 2], end[at + 3]]));
    if list(12) + list(16) != rest.len() as u64 {
        return Err("there is something before or after the archive, or in it that is no entry");
    }
    Ok(entries.into())
}

/// One entry; nothing where it is a folder. `left` is how many bytes may still be unpacked.
fn entry(
    zip: &mut ZipArchive<Cursor<&[u8]>>,
    index: usize,
    top: &mut Option<PackageName>,
    left: &mut u64,
) -> Result<Option<PackageFile>, Finding> {
    let again = "make it with `talaia plugin pack`";
    // Read without decryption or decompression first: only headers are looked at.
    let head = zip
        .by_index_raw(index)
        .map_err(|e| Finding::error("", format!("an entry cannot be read: {e}"), again))?;
    let name = String::from_utf8_lossy(head.name_raw()).into_owned();
    let wrong = |message: &str| Finding::error(&shown(&name), message, again);
    if head.encrypted() {
        return Err(wrong("it is encrypted"));
    }
    if !matches!(head.compression(), CompressionMethod::Stored | CompressionMethod::Deflated) {
        return Err(wrong("it is compressed in a way that packages do not use"));
    }
    let mode = head.unix_mode().unwrap_or(0o644);
    let is_folder = name.ends_with('/');
    match mode & 0o170_000 {
        0 | 0o100_000 if !is_folder => {}
        0 | 0o040_000 if is_folder => {}
        0o120_000 => return Err(wrong("it is a link")),
        _ => return Err(wrong("it is neither a file nor a folder")),
    }
    let (size, packed) = (head.size(), head.compressed_size());
    drop(head);
    let Some((folder, path)) = name.split_once('/') else {
        return Err(wrong("it is not below a folder that is named as the package"));
    };
    match top {
        None => match folder.parse() {
            Ok(name) => *top = Some(name),
            Err(_) => return Err(wrong("the folder at the top is not named as a package")),
        },
        Some(top) if top.as_str() != folder => {
            return Err(wrong("there is more than one folder at the top"));
        }
        Some(_) => {}
    }
    if is_folder {
        // Folders come with the files in them; what their names may not be, these show as well.
        let inner = path.trim_end_matches('/');
        let bad = inner.split('/').any(|part| matches!(part, ".." | "."));
        return if bad { Err(wrong("its path leads out of the package")) } else { Ok(None) };
    }
    if size > SMALL && size / packed.max(1) > RATIO {
        return Err(wrong("it would grow out of all proportion"));
    }
    let mut bytes = Vec::new();
    let file = zip.by_index(index).map_err(|e| wrong(&format!("it cannot be unpacked: {e}")))?;
    file.take(*left + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| wrong(&format!("it cannot be unpacked: {e}")))?;
    if bytes.len() as u64 > *left {
        *left = 0;
        return Err(wrong("with it the package is too large"));
    }
    if bytes.len() as u64 != size {
        return Err(wrong("it is not as large as it says"));
    }
    *left -= bytes.len() as u64;
    // Of a mode nothing else is taken over; the library has dropped setuid and the like.
    let mode = if mode & 0o111 == 0 { FileMode::Plain } else { FileMode::Executable };
    Ok(Some(PackageFile { path: path.to_owned(), mode, bytes }))
}

#[cfg(test)]
mod tests {
    use super::super::contents::SUMS;
    use super::*;

    fn contents() -> Contents {
        let file = |path: &str, mode, text: &str| PackageFile {
            path: path.to_owned(),
            mode,
            bytes: text.as_bytes().to_vec(),
        };
        Contents::new(vec![
            file("talaia-plugin.toml", FileMode::Plain, "name = 'a'"),
            file("bin/a.sh", FileMode::Executable, "#!/bin/sh\n"),
        ])
        .unwrap()
    }

    fn name() -> PackageName {
        "a-b".parse().unwrap()
    }

    #[test]
    fn what_was_packed_comes_out_and_always_the_same() {
        let packed = pack(&name(), &contents()).unwrap();
        assert_eq!(packed, pack(&name(), &contents()).unwrap());
        let (top, out) = unpack(&packed).unwrap();
        assert_eq!(top, name());
        assert_eq!(out.without(SUMS), contents());
        assert!(super::super::sums::check(&out).is_none());
        // Packed again it is the same: the hashes are not hashed.
        assert_eq!(pack(&name(), &out).unwrap(), packed);
        let broken = out.with(PackageFile {
            path: "bin/a.sh".to_owned(),
            mode: FileMode::Executable,
            bytes: b"#!/bin/sh\nrm".to_vec(),
        });
        let said = super::super::sums::check(&broken).unwrap();
        assert!(said.message.contains("`bin/a.sh`"), "{said}");
    }

    /// An archive of entries as given.
    fn zip(entries: &[(&str, u32, &[u8])]) -> Vec<u8> {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, mode, bytes) in entries {
            let options = SimpleFileOptions::default().unix_permissions(mode & 0o777);
            if mode & 0o170_000 == 0o120_000 {
                zip.add_symlink(*name, String::from_utf8_lossy(bytes), options).unwrap();
            } else {
                zip.start_file(*name, options).unwrap();
                zip.write_all(bytes).unwrap();
            }
        }
        zip.finish().unwrap().into_inner()
    }

    fn refused(bytes: &[u8]) -> String {
        match unpack(bytes) {
            Ok(_) => "taken".to_owned(),
            Err(findings) => {
                findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
            }
        }
    }

    #[test]
    fn nothing_leaves_its_folder() {
        for (entries, why) in [
            (&[("../a", 0o644, &b""[..])][..], "not named as a package"),
            (&[("a/../../b", 0o644, b"")], "leads out"),
            (&[("/etc/passwd", 0o644, b"")], "not named as a package"),
            (&[("a//etc/passwd", 0o644, b"")], "root of the file system"),
            (&[("a/b", 0o644, b""), ("b/c", 0o644, b"")], "more than one folder"),
            (&[("b", 0o644, b"")], "not below a folder"),
            (&[("a/l", 0o120_777, b"/etc/passwd")], "it is a link"),
            (&[("a/b", 0o644, b""), ("a/B", 0o644, b"")], "in case alone"),
            (&[("a/b\\..\\c", 0o644, b"")], "cannot be shown"),
            (&[("a/.profile", 0o644, b"")], "hidden"),
            (&[], "no files"),
        ] {
            let said = refused(&zip(entries));
            assert!(said.contains(why), "{entries:?}: {said}");
        }
        assert!(refused(b"").contains("not a zip"));
        assert!(refused(b"PK\x03\x04").contains("not a zip"));
        assert!(refused(&zip(&[("a/b", 0o644, b"x")])[1..]).len() > 10);
        let mut before = b"#!/bin/sh\n".to_vec();
        before.extend(zip(&[("a/b", 0o644, b"x")]));
        assert_ne!(refused(&before), "taken");
    }

    #[test]
    fn what_an_archive_says_of_its_entries_is_looked_at_first() {
        let good = zip(&[("a/b", 0o644, b"x")]);
        let end = good.len() - 22;
        let mut many = good.clone();
        many[end + 10..end + 12].copy_from_slice(&2001_u16.to_le_bytes());
        assert!(refused(&many).contains("2001 entries"), "{}", refused(&many));
        let mut long = good.clone();
        long[end + 10..end + 12].copy_from_slice(&u16::MAX.to_le_bytes());
        assert!(refused(&long).contains("zip64"), "{}", refused(&long));
        let mut long = good[..end].to_vec();
        long.extend(b"PK\x06\x07");
        long.extend([0; 16]);
        long.extend(&good[end..]);
        assert!(refused(&long).contains("zip64"), "{}", refused(&long));
        let mut gap = good[..end].to_vec();
        gap.push(0);
        gap.extend(&good[end..]);
        assert!(refused(&gap).contains("no entry"), "{}", refused(&gap));
        let mut after = good.clone();
        after.push(0);
        assert!(refused(&after).contains("something follows"), "{}", refused(&after));
    }

    #[test]
    fn twice_the_same_name_is_refused() {
        // Two names of one length, the second made the first in both lists.
        let mut bytes = zip(&[("a/b1", 0o644, b"one"), ("a/b2", 0o644, b"two")]);
        let mut at = 0;
        while let Some(found) = bytes[at..].windows(4).position(|w| w == b"a/b2") {
            bytes[at + found + 3] = b'1';
            at += found + 4;
        }
        assert_ne!(refused(&bytes), "taken");
    }

    #[test]
    fn bombs_do_not_go_off() {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
        zip.start_file("a/zeros", options).unwrap();
        let zeros = vec![0; 1 << 20];
        for _ in 0..80 {
            zip.write_all(&zeros).unwrap();
        }
        let bomb = zip.finish().unwrap().into_inner();
        assert!(refused(&bomb).contains("out of all proportion"), "{}", refused(&bomb));
        // One that says that it is small.
        let mut liar = bomb.clone();
        let size = (80_u32 << 20).to_le_bytes();
        let mut at = 0;
        while let Some(found) = liar[at..].windows(4).position(|w| w == size) {
            liar[at + found..at + found + 4].copy_from_slice(&100_u32.to_le_bytes());
            at += found + 4;
        }
        assert_ne!(refused(&liar), "taken");
        // A single changed byte is noticed.
        let good = pack(&name(), &contents()).unwrap();
        let mut noticed = 0;
        for at in (30..good.len() - 22).step_by(7) {
            let mut bad = good.clone();
            bad[at] ^= 0x55;
            match unpack(&bad) {
                Err(_) => noticed += 1,
                // Modes and times have no sum.
                Ok((top, out)) => {
                    let same = out
                        .files()
                        .iter()
                        .zip(contents().with(sums(&contents())).files())
                        .all(|(a, b)| (&a.path, &a.bytes) == (&b.path, &b.bytes));
                    assert!(same && top == name() && out.files().len() == 3, "at {at}");
                }
            }
        }
        assert!(noticed > 10, "{noticed}");
    }
}
