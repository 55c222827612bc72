//! Whether what is about to run could have been changed by somebody who may not.
//!
//! A file is trusted when it and every folder on the way to it are owned by root, by the agent's
//! user or by a trusted owner, and nobody else may write to them. The way is the one the system
//! takes: through every link as written, its folders and where it leads, not only the folders of the
//! file at its end. So nobody else can turn the path to another file between the check and the run.
//! Sticky folders (`/tmp`) pass: there only a file's owner can replace it.

use std::ffi::OsString;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::accounts;

/// How long a verdict on the folders above a file holds while the file itself is unchanged.
const RECHECK: Duration = Duration::from_secs(60);

/// What is checked before a run, and who is trusted besides root and the agent's user.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trust {
    /// The program, and whatever else must be there.
    pub paths: Vec<PathBuf>,
    /// What is checked where it is a file when a run is due, and ignored where it is not:
    /// arguments.
    pub arguments: Vec<PathBuf>,
    /// Further user ids, from `trusted_owners`.
    pub owners: Vec<u32>,
}

/// Why something is not trusted, and the line that would allow it where there is one.
#[derive(Debug, thiserror::Error)]
pub enum Untrusted {
    /// Owned by somebody else.
    #[error(
        "`{path}` is owned by {owner}, who is neither root nor the agent's user; chown it, or \
         allow it with `[agent] trusted_owners = [\"{owner}\"]`"
    )]
    Owner {
        /// What.
        path: PathBuf,
        /// The user's name, or number where it has none.
        owner: String,
    },
    /// Writable by all.
    #[error("`{path}` can be written by everybody; run `chmod o-w {path}`")]
    WorldWritable {
        /// What.
        path: PathBuf,
    },
    /// The agent is root, and a group other than root's can write.
    #[error(
        "`{path}` can be written by group {group}, and the agent is root; run `chmod g-w {path}`"
    )]
    GroupWritable {
        /// What.
        path: PathBuf,
        /// The group's number.
        group: u32,
    },
    /// The agent's data would be where others can put something in its place.
    #[error(
        "the data folder `{path}` can be written by others than its owner; run \
         `chmod go-w {path}`"
    )]
    DataWritable {
        /// The folder, links resolved.
        path: PathBuf,
    },
    /// The agent's data folder is somebody else's.
    #[error(
        "the data folder `{path}` is owned by {owner}, who is neither root nor the agent's user; \
         run `chown -R {me} {path}`, or set another `[agent] data_dir`"
    )]
    DataOwner {
        /// The folder, links resolved.
        path: PathBuf,
        /// Whose it is.
        owner: String,
        /// Whose it should be.
        me: String,
    },
    /// The agent's data folder is something else.
    #[error(
        "the data folder `{path}` is not a folder; remove it, or set another `[agent] data_dir`"
    )]
    DataNotFolder {
        /// What it is said to be.
        path: PathBuf,
    },
    /// It cannot be looked at.
    #[error("cannot look at `{path}`")]
    Stat {
        /// What.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Remembers what was found trustworthy, so that an unchanged file costs one `stat` a run.
#[derive(Debug, Default)]
pub struct Memory {
    /// One for each path and argument; `None` where there was nothing.
    seen: Vec<Option<Seen>>,
    checked: Option<Instant>,
    devices: Arc<[u64]>,
}

impl Memory {
    /// The devices that the files were on at the last check that they passed.
    pub(super) fn devices(&self) -> Arc<[u64]> {
        Arc::clone(&self.devices)
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Seen {
    dev: u64,
    ino: u64,
    ctime: (i64, i64),
}

impl Seen {
    fn of(meta: &Metadata) -> Self {
        Self { dev: meta.dev(), ino: meta.ino(), ctime: (meta.ctime(), meta.ctime_nsec()) }
    }
}

impl Trust {
    /// Checks every path, or only that none changed since the last check within a minute.
    pub fn check(&self, memory: &mut Memory, now: Instant) -> Result<(), Untrusted> {
        let fresh = memory.checked.is_some_and(|at| now.duration_since(at) < RECHECK);
        let mut seen = Vec::with_capacity(self.paths.len() + self.arguments.len());
        for path in &self.paths {
            let meta = path.metadata().map_err(|source| unseen(path, source))?;
            seen.push(Some(Seen::of(&meta)));
        }
        // An argument that cannot be looked at is a word that is not a path, or a file that the
        // plugin cannot open either. A folder is something to look at (`du /home/ana`), not
        // something to run.
        seen.extend(self.arguments.iter().map(|path| {
            let meta = path.metadata().ok().filter(Metadata::is_file)?;
            Some(Seen::of(&meta))
        }));
        if fresh && seen == memory.seen {
            return Ok(());
        }
        memory.checked = None;
        for path in &self.paths {
            check_path(path, &self.owners)?;
        }
        for (path, seen) in self.arguments.iter().zip(&seen[self.paths.len()..]) {
            if seen.is_some() {
                check_path(path, &self.owners)?;
            }
        }
        memory.devices = seen.iter().flatten().map(|seen| seen.dev).collect();
        memory.seen = seen;
        memory.checked = Some(now);
        Ok(())
    }
}

/// Checks one file, every folder and every link on the way to it.
pub fn check_path(path: &Path, owners: &[u32]) -> Result<(), Untrusted> {
    let me = rustix::process::geteuid().as_raw();
    let (real, meta) = follow(path, me, owners)?;
    let kind = meta.file_type();
    // Devices and sockets hold nothing that could be run, and others may write to most of them.
    if kind.is_socket() || kind.is_char_device() || kind.is_block_device() {
        return Ok(());
    }
    let part = if kind.is_dir() { Part::Folder } else { Part::File };
    judge(&real, &meta, part, me, owners)
}

/// Checks the folder that an agent keeps its data in, and the way to it. Where it does not exist
/// yet, the way as far as it does.
pub fn check_data_dir(path: &Path, owners: &[u32]) -> Result<(), Untrusted> {
    let me = rustix::process::geteuid().as_raw();
    let (real, meta) = match follow(path, me, owners) {
        Ok(found) => found,
        // A link that leads nowhere would be followed by whoever makes the folder.
        Err(Untrusted::Stat { source, .. })
            if source.kind() == io::ErrorKind::NotFound && !path.is_symlink() =>
        {
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    if !meta.is_dir() {
        return Err(Untrusted::DataNotFolder { path: path.to_owned() });
    }
    let name = |uid| user_name(uid).unwrap_or_else(|| uid.to_string());
    if meta.uid() != me && meta.uid() != 0 {
        return Err(Untrusted::DataOwner { path: real, owner: name(meta.uid()), me: name(me) });
    }
    if meta.mode() & 0o022 != 0 {
        return Err(Untrusted::DataWritable { path: real });
    }
    Ok(())
}

/// Most links on the way to one file, as in the kernel.
const MOST_LINKS: usize = 40;

/// Goes the way of `path` as the kernel would and judges every folder and link on it. What is at
/// its end, not judged, with a path that has no links.
fn follow(path: &Path, me: u32, owners: &[u32]) -> Result<(PathBuf, Metadata), Untrusted> {
    let whole = std::path::absolute(path).map_err(|source| unseen(path, source))?;
    let mut at = PathBuf::from("/");
    let mut meta = look(&at)?;
    judge(&at, &meta, Part::Folder, me, owners)?;
    let mut ahead = words(&whole);
    let mut links = 0;
    while let Some(word) = ahead.pop() {
        let next = if word == ".." {
            at.parent().unwrap_or(&at).to_owned()
        } else {
            // An absolute link starts again at the root.
            at.join(&word)
        };
        meta = look(&next)?;
        if !meta.is_symlink() {
            at = next;
            if !ahead.is_empty() {
                judge(&at, &meta, Part::Folder, me, owners)?;
            }
            continue;
        }
        judge(&next, &meta, Part::Link, me, owners)?;
        links += 1;
        if links > MOST_LINKS {
            return Err(unseen(path, rustix::io::Errno::LOOP.into()));
        }
        let target = next.read_link().map_err(|source| unseen(&next, source))?;
        ahead.extend(words(&target));
    }
    Ok((at, meta))
}

/// The names that a path is made of, the last one first.
fn words(path: &Path) -> Vec<OsString> {
    path.components()
        .rev()
        .filter(|part| *part != Component::CurDir)
        .map(|part| part.as_os_str().to_owned())
        .collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    File,
    Folder,
    Link,
}

fn judge(
    path: &Path,
    meta: &Metadata,
    part: Part,
    me: u32,
    owners: &[u32],
) -> Result<(), Untrusted> {
    let owner = meta.uid();
    if owner != 0 && owner != me && !owners.contains(&owner) {
        let owner = user_name(owner).unwrap_or_else(|| owner.to_string());
        return Err(Untrusted::Owner { path: path.to_owned(), owner });
    }
    let mode = meta.mode();
    let sticky_folder = part == Part::Folder && mode & 0o1000 != 0;
    // A link's mode means nothing; who may replace it is said by its folder.
    if sticky_folder || part == Part::Link {
        return Ok(());
    }
    if mode & 0o002 != 0 {
        return Err(Untrusted::WorldWritable { path: path.to_owned() });
    }
    if me == 0 && mode & 0o020 != 0 && meta.gid() != 0 {
        return Err(Untrusted::GroupWritable { path: path.to_owned(), group: meta.gid() });
    }
    Ok(())
}

fn look(path: &Path) -> Result<Metadata, Untrusted> {
    path.symlink_metadata().map_err(|source| unseen(path, source))
}

fn unseen(path: &Path, source: io::Error) -> Untrusted {
    Untrusted::Stat { path: path.to_owned(), source }
}

/// The name of a user, from `/etc/passwd`.
pub fn user_name(uid: u32) -> Option<String> {
    accounts::user_of(uid).map(|account| account.name)
}

/// The number of a user, from `/etc/passwd`.
pub fn user_id(name: &str) -> Option<u32> {
    accounts::user(name).map(|account| account.uid)
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_world_writable_script_or_folder_is_refused_with_the_cure() {
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("p.sh");
        std::fs::copy("/bin/true", &script).unwrap();
        set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
        let trust = Trust { paths: vec![script.clone()], ..Trust::default() };
        let mut memory = Memory::default();
        let now = Instant::now();
        trust.check(&mut memory, now).unwrap();

        set_permissions(&script, Permissions::from_mode(0o777)).unwrap();
        let error = trust.check(&mut memory, now).unwrap_err().to_string();
        assert!(error.contains("chmod o-w") && error.contains("p.sh"), "{error}");

        set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
        set_permissions(dir.path(), Permissions::from_mode(0o777)).unwrap();
        assert!(trust.check(&mut memory, now).is_err());
    }

    #[test]
    fn the_owner_must_be_trusted() {
        let meta = Path::new("/bin/true").metadata().unwrap();
        // Root owns it, so whoever asks, it is trusted.
        judge(Path::new("/bin/true"), &meta, Part::File, 12345, &[]).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let mine = dir.path().metadata().unwrap();
        if mine.uid() != 0 {
            let error = judge(dir.path(), &mine, Part::Folder, mine.uid() + 1, &[]).unwrap_err();
            assert!(error.to_string().contains("trusted_owners"), "{error}");
            judge(dir.path(), &mine, Part::Folder, mine.uid() + 1, &[mine.uid()]).unwrap();
        }
    }

    #[test]
    fn a_link_is_only_as_good_as_the_folder_that_holds_it() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir(at("open")).unwrap();
        std::fs::create_dir(at("closed")).unwrap();
        symlink("/bin/true", at("open/link")).unwrap();
        symlink("../open/link", at("closed/hop")).unwrap();
        symlink("open", at("folder")).unwrap();
        symlink("turn", at("turn")).unwrap();
        let paths = ["open/link", "closed/hop", "folder/link", "closed/../folder/./link"];
        for path in paths {
            check_path(&at(path), &[]).unwrap();
        }
        set_permissions(at("open"), Permissions::from_mode(0o777)).unwrap();
        for path in paths {
            let error = check_path(&at(path), &[]).unwrap_err();
            let folder = matches!(&error, Untrusted::WorldWritable { path } if *path == at("open"));
            assert!(folder, "{path}: {error}");
        }
        // Where only the owner of the link can replace it.
        set_permissions(at("open"), Permissions::from_mode(0o1777)).unwrap();
        check_path(&at("closed/hop"), &[]).unwrap();
        assert!(matches!(check_path(&at("turn"), &[]), Err(Untrusted::Stat { .. })));
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::lchown(at("open/link"), Some(65534), None).unwrap();
            assert!(matches!(check_path(&at("closed/hop"), &[]), Err(Untrusted::Owner { .. })));
            check_path(&at("closed/hop"), &[65534]).unwrap();
        }
    }

    #[test]
    fn an_argument_is_checked_from_when_it_exists() {
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("later.sh");
        let trust = Trust {
            paths: vec!["/bin/sh".into()],
            arguments: vec![script.clone(), "/dev/null".into(), "/tmp".into()],
            owners: vec![],
        };
        let mut memory = Memory::default();
        let now = Instant::now();
        trust.check(&mut memory, now).unwrap();
        std::fs::File::create(&script).unwrap();
        set_permissions(&script, Permissions::from_mode(0o666)).unwrap();
        let error = trust.check(&mut memory, now).unwrap_err();
        assert!(matches!(error, Untrusted::WorldWritable { path } if path == script));
        std::fs::remove_file(&script).unwrap();
        std::fs::create_dir(&script).unwrap();
        set_permissions(&script, Permissions::from_mode(0o777)).unwrap();
        trust.check(&mut memory, now).unwrap();
    }

    #[test]
    fn the_data_folder_is_the_agents_alone() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        check_data_dir(&data.join("not/yet"), &[]).unwrap();
        symlink("nowhere", &data).unwrap();
        assert!(check_data_dir(&data, &[]).is_err());
        std::fs::remove_file(&data).unwrap();
        std::fs::create_dir(&data).unwrap();
        for (mode, good) in [(0o700, true), (0o755, true), (0o775, false), (0o1777, false)] {
            set_permissions(&data, Permissions::from_mode(mode)).unwrap();
            let verdict = check_data_dir(&data, &[]);
            assert_eq!(verdict.is_ok(), good, "{mode:o}: {verdict:?}");
        }
        let error = check_data_dir(&data, &[]).unwrap_err().to_string();
        assert!(error.contains("chmod go-w"), "{error}");
        set_permissions(&data, Permissions::from_mode(0o700)).unwrap();
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&data, Some(65534), None).unwrap();
            let error = check_data_dir(&data, &[65534]).unwrap_err().to_string();
            assert!(error.contains("chown -R root"), "{error}");
            assert!(check_data_dir(&data.join("sandbox"), &[]).is_err());
        }
        std::fs::File::create(dir.path().join("file")).unwrap();
        assert!(check_data_dir(&dir.path().join("file"), &[]).is_err());
    }

    #[test]
    fn users_have_names() {
        assert_eq!(user_name(0).as_deref(), Some("root"));
        assert_eq!(user_id("root"), Some(0));
        assert_eq!(user_id("no such user"), None);
    }
}
