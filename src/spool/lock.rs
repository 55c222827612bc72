use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rustix::fs::OFlags;

use super::SpoolError;

/// Holds a data folder for one agent. The system lets go of it when the process ends, however it
/// ends; the file stays, because removing it would let two agents lock two different files.
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Locks `data_dir`, or says which process has it.
    pub(super) fn take(data_dir: &Path) -> Result<Self, SpoolError> {
        let path = data_dir.join("agent.lock");
        let failed = |source| SpoolError::Lock { path: path.clone(), source };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            // What is found is emptied: never somebody's file that a link here leads to.
            .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
            .open(&path)
            .map_err(failed)?;
        match try_for_a_moment(&file) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                // The other one may be just about to write its pid; then there is none to name.
                let mut text = String::new();
                let pid = (&mut file)
                    .take(32)
                    .read_to_string(&mut text)
                    .ok()
                    .and_then(|_| text.trim().parse().ok());
                let ended =
                    pid.is_some_and(|pid: u32| !Path::new(&format!("/proc/{pid}")).exists());
                return Err(SpoolError::InUse { path: data_dir.to_owned(), pid, ended });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        file.set_len(0).map_err(failed)?;
        file.rewind().map_err(failed)?;
        writeln!(file, "{}", std::process::id()).map_err(failed)?;
        Ok(Self { _file: file })
    }
}

/// A process that is just being spawned has copies of its parent's descriptors until it executes
/// its program, and with them the lock of an agent that is gone already.
fn try_for_a_moment(file: &File) -> Result<(), TryLockError> {
    for _ in 0..50 {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(5)),
            other => return other,
        }
    }
    file.try_lock()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_holds_it_is_named_and_one_that_is_gone_is_no_longer_to_be_stopped() {
        let dir = tempfile::tempdir().unwrap();
        let lock = Lock::take(dir.path()).unwrap();
        let refused = || Lock::take(dir.path()).err().unwrap().to_string();
        let me = std::process::id();
        let text = refused();
        assert!(text.contains(&format!("process {me}: stop it")), "{text}");
        // No process has this number, and a copy of the descriptor lives on.
        let mut file = std::fs::File::create(dir.path().join("agent.lock")).unwrap();
        writeln!(file, "4194305").unwrap();
        let text = refused();
        assert!(text.contains("does its file system answer?"), "{text}");
        drop(lock);
        Lock::take(dir.path()).unwrap();
    }

    #[test]
    fn a_link_in_place_of_the_lock_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let victim = dir.path().join("victim");
        std::fs::File::create(&victim).unwrap().write_all(b"precious").unwrap();
        std::os::unix::fs::symlink(&victim, dir.path().join("agent.lock")).unwrap();
        assert!(matches!(Lock::take(dir.path()), Err(SpoolError::Lock { .. })));
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious");
        std::fs::remove_file(dir.path().join("agent.lock")).unwrap();
        Lock::take(dir.path()).unwrap();
    }
}
