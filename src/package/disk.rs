//! Files that are there whole or as they were.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

/// Makes a folder that everyone may look into and its owner alone change, and those above it.
pub fn make_folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o755).create(path)
}

/// Puts `bytes` in the place of a file, at once and for good. A link is followed; mode and owner of a
/// file that was there are kept, and a new one has `mode`.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let path = match fs::canonicalize(path) {
        Ok(real) => real,
        Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
        Err(error) => return Err(error),
    };
    let old = fs::metadata(&path).ok();
    let fresh = beside(&path);
    // One of that name is from a process that was killed: in a container numbers come again soon.
    let _gone = fs::remove_file(&fresh);
    let written = (|| {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(old.as_ref().map_or(mode, |old| old.mode() & 0o7777))
            .open(&fresh)?;
        file.write_all(bytes)?;
        let mode = old.as_ref().map_or(mode, |old| old.mode() & 0o7777);
        file.set_permissions(Permissions::from_mode(mode))?;
        if let Some(old) = &old {
            let own = file.metadata()?;
            if (own.uid(), own.gid()) != (old.uid(), old.gid()) {
                std::os::unix::fs::fchown(&file, Some(old.uid()), Some(old.gid()))?;
            }
        }
        file.sync_all()?;
        fs::rename(&fresh, &path)?;
        // The parent of a bare name is the folder that this runs in.
        match path.parent() {
            Some(folder) if folder != Path::new("") => sync_folder(folder),
            _ => sync_folder(Path::new(".")),
        }
    })();
    if written.is_err() {
        // It may never have been made; the error that matters is the first.
        let _gone = fs::remove_file(&fresh);
    }
    written
}

/// A name in the same folder that nothing else has.
fn beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}", std::process::id()));
    path.with_file_name(name)
}

/// Removes what processes left that were killed while they replaced a file. The caller sees to it that
/// nobody else does now.
pub fn sweep_beside(path: &Path) -> io::Result<()> {
    let prefix = format!(".{}.", path.file_name().unwrap_or_default().to_string_lossy());
    // Others keep files there as well: `.talaia.toml.swp` is an editor's.
    let ours = |name: &str| {
        let number = name.strip_prefix(&prefix);
        number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    };
    sweep(path.parent().unwrap_or(Path::new(".")), ours)
}

/// Removes what processes that were killed left in a folder: all whose name is `ours`. The caller sees
/// to it that nobody else writes there.
pub(super) fn sweep(folder: &Path, ours: impl Fn(&str) -> bool) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if ours(&entry.file_name().to_string_lossy()) {
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
    }
    Ok(())
}

/// Has the names in a folder on disk.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_with_mode_and_link_kept() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("f"), folder.path().join("l"));
        replace(&file, b"one", 0o644).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        std::os::unix::fs::symlink("f", &link).unwrap();
        replace(&link, b"two", 0o644).unwrap();
        for (name, kept) in [(".f.77", false), (".f.swp", true), (".f.", true), (".f.7x", true)] {
            let path = folder.path().join(name);
            File::create(&path).unwrap();
            sweep_beside(&file).unwrap();
            assert_eq!(path.exists(), kept, "{name}");
            let _gone = fs::remove_file(path);
        }
        assert_eq!(fs::read(&file).unwrap(), b"two");
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        // What a process of this number left that was killed is in nobody's way.
        File::create(beside(&file)).unwrap();
        replace(&file, b"three", 0o644).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        assert!(replace(&folder.path().join("none/f"), b"", 0o644).is_err());
    }
}
