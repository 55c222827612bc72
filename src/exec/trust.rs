//! Whether what is about to run could have been changed by somebody who may not.
//!
//! A file is trusted when it and every folder above it are owned by root, by the agent's user or by
//! a trusted owner, and nobody else may write to them. Sticky folders (`/tmp`) pass: there only a
//! file's owner can replace it.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a verdict on the folders above a file holds while the file itself is unchanged.
const RECHECK: Duration = Duration::from_secs(60);

/// What is checked before a run, and who is trusted besides root and the agent's user.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trust {
    /// The program and every argument that is an existing file.
    pub paths: Vec<PathBuf>,
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
    seen: Vec<Seen>,
    checked: Option<Instant>,
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
        let mut seen = Vec::with_capacity(self.paths.len());
        for path in &self.paths {
            seen.push(Seen::of(&stat(path)?));
        }
        if fresh && seen == memory.seen {
            return Ok(());
        }
        memory.checked = None;
        for path in &self.paths {
            check_path(path, &self.owners)?;
        }
        memory.seen = seen;
        memory.checked = Some(now);
        Ok(())
    }
}

/// Checks one file and every folder above it, links resolved.
pub fn check_path(path: &Path, owners: &[u32]) -> Result<(), Untrusted> {
    let me = rustix::process::geteuid().as_raw();
    let real =
        path.canonicalize().map_err(|source| Untrusted::Stat { path: path.to_owned(), source })?;
    for (depth, part) in real.ancestors().enumerate() {
        judge(part, &stat(part)?, depth, me, owners)?;
    }
    Ok(())
}

fn judge(
    path: &Path,
    meta: &Metadata,
    depth: usize,
    me: u32,
    owners: &[u32],
) -> Result<(), Untrusted> {
    let owner = meta.uid();
    if owner != 0 && owner != me && !owners.contains(&owner) {
        let owner = user_name(owner).unwrap_or_else(|| owner.to_string());
        return Err(Untrusted::Owner { path: path.to_owned(), owner });
    }
    let mode = meta.mode();
    let sticky_folder = depth > 0 && mode & 0o1000 != 0;
    if sticky_folder {
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

fn stat(path: &Path) -> Result<Metadata, Untrusted> {
    path.metadata().map_err(|source| Untrusted::Stat { path: path.to_owned(), source })
}

/// The name of a user, from `/etc/passwd`.
pub fn user_name(uid: u32) -> Option<String> {
    passwd(|fields| fields[2].parse() == Ok(uid)).map(|(name, _)| name)
}

/// The number of a user, from `/etc/passwd`.
pub fn user_id(name: &str) -> Option<u32> {
    passwd(|fields| fields[0] == name).map(|(_, uid)| uid)
}

fn passwd(wanted: impl Fn(&[&str]) -> bool) -> Option<(String, u32)> {
    let text = std::fs::read_to_string("/etc/passwd").ok()?;
    text.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        (fields.len() > 2 && wanted(&fields))
            .then(|| Some((fields[0].to_owned(), fields[2].parse().ok()?)))
            .flatten()
    })
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_world_writable_script_or_folder_is_refused_with_the_cure() {
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("p.sh");
        std::fs::copy("/bin/true", &script).unwrap();
        set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
        let trust = Trust { paths: vec![script.clone()], owners: vec![] };
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
        judge(Path::new("/bin/true"), &meta, 0, 12345, &[]).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let mine = dir.path().metadata().unwrap();
        if mine.uid() != 0 {
            let error = judge(dir.path(), &mine, 1, mine.uid() + 1, &[]).unwrap_err();
            assert!(error.to_string().contains("trusted_owners"), "{error}");
            judge(dir.path(), &mine, 1, mine.uid() + 1, &[mine.uid()]).unwrap();
        }
    }

    #[test]
    fn users_have_names() {
        assert_eq!(user_name(0).as_deref(), Some("root"));
        assert_eq!(user_id("root"), Some(0));
        assert_eq!(user_id("no such user"), None);
    }
}
