//! Gives a folder and what is in it to another user.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Uid};

use super::confine::Owner;

/// Deeper folders stay whose they are.
const DEPTH: u32 = 64;

/// Gives `folder`, which is no link, and all that is in it to `owner`. Nothing is followed, and a file
/// that has another name elsewhere stays whose it is: whoever had the folder may have linked a file of
/// somebody else's into it.
pub(super) fn give(folder: &Path, owner: Owner) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = rustix::fs::openat(CWD, folder, flags, Mode::empty())?;
    give_all(&folder, owner, DEPTH)?;
    let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
    rustix::fs::fchown(&folder, Some(uid), Some(gid))?;
    Ok(())
}

fn give_all(folder: &OwnedFd, owner: Owner, depth: u32) -> io::Result<()> {
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_bytes() != b"." && name.to_bytes() != b".." {
            give_one(folder.as_fd(), name, owner, depth)?;
        }
    }
    Ok(())
}

fn give_one(folder: BorrowedFd<'_>, name: &CStr, owner: Owner, depth: u32) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // What vanishes meanwhile needs no owner.
    let Ok(file) = rustix::fs::openat(folder, name, flags, Mode::empty()) else { return Ok(()) };
    let found = rustix::fs::fstat(&file)?;
    let kind = FileType::from_raw_mode(found.st_mode);
    if kind == FileType::Directory {
        if depth == 0 {
            return Ok(());
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let inner = rustix::fs::openat(&file, c".", flags, Mode::empty())?;
        give_all(&inner, owner, depth - 1)?;
    } else if found.st_nlink != 1 {
        return Ok(());
    }
    let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
    rustix::fs::chownat(&file, c"", Some(uid), Some(gid), AtFlags::EMPTY_PATH)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, create_dir_all};
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    #[test]
    fn all_but_links_to_elsewhere_changes_hands() {
        if !rustix::process::geteuid().is_root() {
            println!("SKIPPED: only root can give files away");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let (state, outside) = (dir.path().join("state"), dir.path().join("outside"));
        create_dir_all(state.join("a/b")).unwrap();
        fs::File::create(state.join("a/b/file")).unwrap();
        fs::File::create(&outside).unwrap();
        symlink(&outside, state.join("link")).unwrap();
        fs::hard_link(&outside, state.join("hard")).unwrap();
        give(&state, Owner { uid: 65_533, gid: 65_532 }).unwrap();
        let whose = |path: &Path| {
            let meta = path.symlink_metadata().unwrap();
            (meta.uid(), meta.gid())
        };
        for name in ["", "a", "a/b", "a/b/file", "link"] {
            assert_eq!(whose(&state.join(name)), (65_533, 65_532), "{name}");
        }
        assert_eq!((whose(&outside), whose(&state.join("hard"))), ((0, 0), (0, 0)));
    }
}
