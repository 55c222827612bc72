//! Packages on this host.
//!
//! ```text
//! <data_dir>/packages/lock               held while something changes
//! <data_dir>/packages/trust.json         registries: key, and serial of the last index
//! <data_dir>/packages/NAME/VERSION/      the unpacked package
//! <data_dir>/packages/NAME/VERSION.json  its receipt
//! <data_dir>/packages/.…                 what an interrupted install left; gone with the next one
//! ```
//!
//! A version is put together aside and appears by one rename, on disk before anybody hears of it. One
//! that is there is never written to.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::config::PACKAGES;
use crate::model::{PackageName, Version};

use super::contents::Contents;
use super::contents::bounds;
use super::disk::{make_folder, replace, sweep, sync_folder};
use super::finding::Finding;
use super::receipt::Receipt;
use super::registry::Trust;
use super::sums::sha256;
use super::template::FileMode;

/// What an unfinished folder begins with.
const UNFINISHED: &str = ".new-";

/// What can go wrong with the packages of this host.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Somebody else is at it.
    #[error("process {pid} is changing the packages in {path}; try again when it is done")]
    Locked {
        /// The folder.
        path: PathBuf,
        /// The other process, as it wrote itself down.
        pid: String,
    },
    /// A file could not be read or written.
    #[error("cannot {action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("{path} cannot be read: {problem}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Another package of this name and version is installed.
    #[error(
        "{name} {version} is installed already, and is another one (SHA-256 {installed}, now {new}); give the new one another version, or uninstall first"
    )]
    Other {
        /// The package.
        name: PackageName,
        /// The version.
        version: Version,
        /// The hash of the one that is there.
        installed: String,
        /// That of the one that is to come.
        new: String,
    },
}

/// Whether a version had to be unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unpacked {
    /// It was.
    Now,
    /// It was there already, and is whole.
    Before,
    /// It was there, and damaged; it is whole now.
    Mended,
}

/// The packages of this host.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    /// Held by who changes something.
    lock: Option<File>,
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io { action, path, source }
}

impl Store {
    /// The packages below an agent's data folder, to look at.
    pub fn look(data_dir: &Path) -> Self {
        Self { root: data_dir.join(PACKAGES), lock: None }
    }

    /// The same, to change them: nobody else may meanwhile. What an interrupted install left is removed.
    pub fn change(data_dir: &Path) -> Result<Self, StoreError> {
        let root = data_dir.join(PACKAGES);
        // The agent may never have run: its own folder is its own.
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(data_dir)
            .map_err(failed("make the folder", data_dir))?;
        make_open(&root)?;
        let path = root.join("lock");
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed("open", &path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                // Who it is makes the message better; that it is somebody is known already.
                let _read = (&mut lock).take(20).read_to_string(&mut pid);
                return Err(StoreError::Locked { path: root, pid: pid.trim().to_owned() });
            }
            Err(TryLockError::Error(source)) => return Err(failed("lock", &path)(source)),
        }
        lock.set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| writeln!(lock, "{}", std::process::id()))
            .map_err(failed("write", &path))?;
        // Where there can be plugins with a user of their own, these pass through the agent's folder to
        // their programs. They see no names in it, and what is the agent's is shut by its own mode.
        if rustix::process::geteuid().is_root() {
            let_pass(data_dir).map_err(failed("open", data_dir))?;
        }
        let store = Self { root, lock: Some(lock) };
        store.sweep()?;
        Ok(store)
    }

    fn sweep(&self) -> Result<(), StoreError> {
        let all = |folder: &Path| {
            sweep(folder, |name| name.starts_with('.')).map_err(failed("tidy", folder))
        };
        all(&self.root)?;
        for entry in fs::read_dir(&self.root).map_err(failed("list", &self.root))?.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                all(&entry.path())?;
                // With nothing in it, it is of an install that came no further.
                let _kept = fs::remove_dir(entry.path());
            }
        }
        Ok(())
    }

    /// The folder of a version, whether it is there or not.
    pub fn folder(&self, name: &PackageName, version: &Version) -> PathBuf {
        self.root.join(name.as_str()).join(version.to_string())
    }

    fn receipt_file(&self, name: &PackageName, version: &Version) -> PathBuf {
        self.root.join(name.as_str()).join(format!("{version}.json"))
    }

    /// The versions of a package that are unpacked, oldest first.
    pub fn versions(&self, name: &PackageName) -> Vec<Version> {
        let entries = fs::read_dir(self.root.join(name.as_str()));
        let mut versions: Vec<Version> = entries
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .collect();
        versions.sort();
        versions
    }

    /// What is known of an installed version; nothing where there is no such.
    pub fn receipt(
        &self,
        name: &PackageName,
        version: &Version,
    ) -> Result<Option<Receipt>, StoreError> {
        read_json(&self.receipt_file(name, version))
    }

    /// Unpacks a version, whole or not at all.
    pub fn unpack(&self, receipt: &Receipt, contents: &Contents) -> Result<Unpacked, StoreError> {
        let (name, version) = (&receipt.name, &receipt.version);
        let folder = self.folder(name, version);
        if folder.exists() {
            let known = self.receipt(name, version)?;
            if let Some(known) =
                known.filter(|_| self.verify(name, version).is_ok_and(|f| f.is_empty()))
            {
                if known.files == receipt.files {
                    // Where it comes from now is what counts from now on.
                    if known.origin != receipt.origin {
                        self.write_json(&self.receipt_file(name, version), receipt)?;
                    }
                    return Ok(Unpacked::Before);
                }
                return Err(StoreError::Other {
                    name: name.clone(),
                    version: version.clone(),
                    installed: known.sha256,
                    new: receipt.sha256.clone(),
                });
            }
        }
        let fresh = self.root.join(format!("{UNFINISHED}{name}-{version}"));
        let placed = write_out(&fresh, contents).and_then(|()| {
            let own = self.root.join(name.as_str());
            make_open(&own)?;
            self.write_json(&self.receipt_file(name, version), receipt)?;
            let placed = put_in_place(&fresh, &folder).map_err(failed("make", &folder))?;
            sync_folder(&own).map_err(failed("write", &own))?;
            Ok(placed)
        });
        // What is left goes with the next sweep: the damaged one that was there, or what came to nothing.
        let _gone = fs::remove_dir_all(&fresh);
        if placed.is_err() && !folder.exists() {
            let _gone = fs::remove_file(self.receipt_file(name, version));
            let _gone = fs::remove_dir(self.root.join(name.as_str()));
        }
        placed
    }

    /// Whether an installed version is as it was installed.
    pub fn verify(
        &self,
        name: &PackageName,
        version: &Version,
    ) -> Result<Vec<Finding>, StoreError> {
        let folder = self.folder(name, version);
        let Some(receipt) = self.receipt(name, version)? else {
            let help = format!("talaia plugin install {name} {version}");
            return Ok(vec![Finding::error("", "there is no receipt of its install", help)]);
        };
        let help = format!(
            "install it again: talaia plugin uninstall {name} && talaia plugin install {name} {version}"
        );
        let mut findings = Vec::new();
        if !folder.exists() {
            return Ok(vec![Finding::error("", "its folder is gone", help)]);
        }
        for (path, record) in &receipt.files {
            let file = folder.join(path);
            let wrong = match fs::symlink_metadata(&file) {
                Err(_) => Some("it is gone"),
                Ok(metadata) if !metadata.is_file() => Some("it is not a file any more"),
                Ok(metadata) => {
                    let mode =
                        if record.executable { FileMode::Executable } else { FileMode::Plain };
                    let mut bytes = Vec::new();
                    File::open(&file)
                        .and_then(|file| file.take(bounds::UNPACKED as u64).read_to_end(&mut bytes))
                        .map_err(failed("read", &file))?;
                    if sha256(&bytes) != record.sha256 {
                        Some("it was changed")
                    } else if metadata.permissions().mode() & 0o7777 != mode.bits() {
                        Some("its mode was changed")
                    } else {
                        None
                    }
                }
            };
            if let Some(wrong) = wrong {
                findings.push(Finding::error(path, wrong, help.as_str()));
            }
        }
        let mut folders = vec![folder.clone()];
        while let Some(inner) = folders.pop() {
            for entry in fs::read_dir(&inner).map_err(failed("list", &inner))? {
                let entry = entry.map_err(failed("list", &inner))?;
                let path = entry.path();
                let below =
                    path.strip_prefix(&folder).unwrap_or(&path).to_string_lossy().into_owned();
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    folders.push(path);
                } else if !receipt.files.contains_key(&below) {
                    findings.push(Finding::error(
                        &below,
                        "it is not of the package",
                        help.as_str(),
                    ));
                }
            }
        }
        Ok(findings)
    }

    /// Removes a version.
    pub fn remove(&self, name: &PackageName, version: &Version) -> Result<(), StoreError> {
        let folder = self.folder(name, version);
        // It is gone at once, also where removing what is in it takes long or is cut short.
        let aside = self.root.join(format!("{UNFINISHED}removed-{name}-{version}"));
        match fs::rename(&folder, &aside) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            done => {
                done.map_err(failed("remove", &folder))?;
                fs::remove_dir_all(&aside).map_err(failed("remove", &aside))?;
            }
        }
        let receipt = self.receipt_file(name, version);
        match fs::remove_file(&receipt) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("remove", &receipt)(error));
            }
            _ => {}
        }
        // Other versions may be there.
        let _gone = fs::remove_dir(self.root.join(name.as_str()));
        Ok(())
    }

    /// What is known of the registry at `url`.
    pub fn trust(&self, url: &str) -> Result<Option<Trust>, StoreError> {
        Ok(self.trusts()?.remove(url))
    }

    /// Where it is kept what is known of registries.
    fn trust_file(&self) -> PathBuf {
        self.root.join("trust.json")
    }

    fn trusts(&self) -> Result<BTreeMap<String, Trust>, StoreError> {
        Ok(read_json(&self.trust_file())?.unwrap_or_default())
    }

    /// Keeps what is known of the registry at `url`.
    pub fn set_trust(&self, url: &str, trust: Trust) -> Result<(), StoreError> {
        let mut trusts = self.trusts()?;
        if trusts.insert(url.to_owned(), trust) == Some(trust) {
            return Ok(());
        }
        self.write_json(&self.trust_file(), &trusts)
    }

    fn write_json<T: serde::Serialize>(&self, path: &Path, value: &T) -> Result<(), StoreError> {
        debug_assert!(self.lock.is_some(), "only who holds the lock writes");
        let mut text = serde_json::to_string_pretty(value)
            .map_err(|e| StoreError::Damaged { path: path.to_owned(), problem: e.to_string() })?;
        text.push('\n');
        replace(path, text.as_bytes(), 0o644).map_err(failed("write", path))
    }
}

/// Moves a folder to its place. One that is there, damaged, changes places with it at once: there is no
/// moment without a version, and no version that is half of each.
fn put_in_place(fresh: &Path, folder: &Path) -> io::Result<Unpacked> {
    if !folder.exists() {
        fs::rename(fresh, folder)?;
        return Ok(Unpacked::Now);
    }
    match renameat_with(CWD, fresh, CWD, folder, RenameFlags::EXCHANGE) {
        // Some file systems cannot.
        Err(Errno::INVAL | Errno::NOSYS) => {
            let aside = fresh.with_extension("damaged");
            fs::rename(folder, &aside)?;
            fs::rename(fresh, folder)?;
            // What is left goes with the next sweep.
            let _gone = fs::remove_dir_all(aside);
        }
        done => done?,
    }
    Ok(Unpacked::Mended)
}

/// Writes the files of a package into a new folder, for everybody to read, and on disk when it returns.
pub fn write_out(folder: &Path, contents: &Contents) -> Result<(), StoreError> {
    let mut folders = vec![folder.to_owned()];
    make_folder(folder).map_err(failed("make the folder", folder))?;
    for file in contents.files() {
        let path = folder.join(&file.path);
        let own = path.ancestors().skip(1).take_while(|above| *above != folder);
        let new: Vec<_> = own.filter(|above| !folders.iter().any(|f| f == above)).collect();
        for above in new.into_iter().rev() {
            make_folder(above).map_err(failed("make the folder", above))?;
            folders.push(above.to_owned());
        }
        let mode = file.mode.bits();
        let written = OpenOptions::new().write(true).create_new(true).mode(mode).open(&path);
        written
            .and_then(|mut out| {
                out.write_all(&file.bytes)?;
                // Whatever the umask is.
                out.set_permissions(fs::Permissions::from_mode(mode))?;
                out.sync_all()
            })
            .map_err(failed("write", &path))?;
    }
    for folder in folders {
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755))
            .and_then(|()| sync_folder(&folder))
            .map_err(failed("write", &folder))?;
    }
    Ok(())
}

/// Makes a folder that plugins of other users can look into, whatever the umask is.
fn make_open(folder: &Path) -> Result<(), StoreError> {
    make_folder(folder)
        .and_then(|()| fs::set_permissions(folder, fs::Permissions::from_mode(0o755)))
        .map_err(failed("make the folder", folder))
}

/// Lets plugins of other users pass through a folder, to what is theirs to read in it.
fn let_pass(folder: &Path) -> io::Result<()> {
    let mode = fs::metadata(folder)?.permissions().mode();
    if mode & 0o001 == 0 {
        fs::set_permissions(folder, fs::Permissions::from_mode(mode & 0o7777 | 0o011))?;
    }
    Ok(())
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>, StoreError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("read", path)(error)),
    };
    let problem = |e: serde_json::Error| e.to_string();
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|e| StoreError::Damaged { path: path.to_owned(), problem: problem(e) })
}

#[cfg(test)]
mod tests {
    use super::super::contents::PackageFile;
    use super::super::receipt::Origin;
    use super::super::sign::SigningKey;
    use super::*;
    use crate::model::Timestamp;

    fn contents(text: &str) -> Contents {
        let file = |path: &str, mode, bytes: &str| PackageFile {
            path: path.to_owned(),
            mode,
            bytes: bytes.as_bytes().to_vec(),
        };
        Contents::new(vec![
            file("bin/run", FileMode::Executable, text),
            file("talaia-plugin.toml", FileMode::Plain, "x"),
        ])
        .unwrap()
    }

    fn receipt(version: &str, contents: &Contents) -> Receipt {
        let name: PackageName = "a-b".parse().unwrap();
        let origin = Origin::Local { path: "./a-b".to_owned() };
        let at = Timestamp::from_millis(0).unwrap();
        Receipt::new((name, version.parse().unwrap()), origin, b"zip", contents, at)
    }

    fn entries(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_version_is_there_whole_and_stays_as_it_is() {
        let data = tempfile::tempdir().unwrap();
        let store = Store::change(data.path()).unwrap();
        let files = contents("one");
        let one = receipt("0.1.0", &files);
        assert_eq!(store.unpack(&one, &files).unwrap(), Unpacked::Now);
        assert_eq!(store.unpack(&one, &files).unwrap(), Unpacked::Before);
        assert_eq!(store.receipt(&one.name, &one.version).unwrap().unwrap(), one);
        assert_eq!(store.verify(&one.name, &one.version).unwrap(), []);
        let other = contents("two");
        let refused = store.unpack(&receipt("0.1.0", &other), &other);
        assert!(matches!(refused, Err(StoreError::Other { .. })), "{refused:?}");
        let two = receipt("0.10.0", &other);
        store.unpack(&two, &other).unwrap();
        let versions: Vec<_> = store.versions(&one.name).iter().map(ToString::to_string).collect();
        assert_eq!(versions, ["0.1.0", "0.10.0"]);
        store.remove(&one.name, &one.version).unwrap();
        store.remove(&two.name, &two.version).unwrap();
        assert_eq!(entries(&data.path().join("packages")), ["lock"]);
    }

    #[test]
    fn what_was_changed_is_noticed_and_mended_by_installing_again() {
        let data = tempfile::tempdir().unwrap();
        let store = Store::change(data.path()).unwrap();
        let files = contents("one");
        let one = receipt("0.1.0", &files);
        store.unpack(&one, &files).unwrap();
        let folder = store.folder(&one.name, &one.version);
        let said = || -> Vec<String> {
            let found = store.verify(&one.name, &one.version).unwrap();
            found.iter().map(ToString::to_string).collect()
        };
        fs::File::create(folder.join("bin/run")).unwrap().write_all(b"evil").unwrap();
        fs::File::create(folder.join("more")).unwrap();
        fs::remove_file(folder.join("talaia-plugin.toml")).unwrap();
        assert_eq!(
            said(),
            [
                "bin/run: it was changed",
                "talaia-plugin.toml: it is gone",
                "more: it is not of the package"
            ]
        );
        assert_eq!(store.unpack(&one, &files).unwrap(), Unpacked::Mended);
        assert_eq!(said(), [""; 0]);
        drop(store);
        Store::change(data.path()).unwrap();
        assert_eq!(entries(&data.path().join("packages")), ["a-b", "lock"]);
    }

    #[test]
    fn one_changes_packages_at_a_time_and_what_was_interrupted_is_swept() {
        let data = tempfile::tempdir().unwrap();
        let store = Store::change(data.path()).unwrap();
        let second = Store::change(data.path()).unwrap_err();
        assert!(second.to_string().contains(&std::process::id().to_string()), "{second}");
        make_folder(&data.path().join("packages/.new-a-b-0.1.0/bin")).unwrap();
        make_folder(&data.path().join("packages/a-b")).unwrap();
        fs::File::create(data.path().join("packages/.trust.json.7")).unwrap();
        fs::File::create(data.path().join("packages/a-b/.0.1.0.json.7")).unwrap();
        drop(store);
        Store::change(data.path()).unwrap();
        assert_eq!(entries(&data.path().join("packages")), ["lock"]);
    }

    #[test]
    fn a_version_that_cannot_be_written_leaves_nothing() {
        let data = tempfile::tempdir().unwrap();
        let store = Store::change(data.path()).unwrap();
        let files = contents("one");
        // A file where the package's folder has to be.
        fs::File::create(data.path().join("packages/a-b")).unwrap();
        let failed = store.unpack(&receipt("0.1.0", &files), &files);
        assert!(matches!(failed, Err(StoreError::Io { .. })), "{failed:?}");
        assert_eq!(entries(&data.path().join("packages")), ["a-b", "lock"]);
    }

    #[test]
    fn trust_is_kept_by_registry() {
        let data = tempfile::tempdir().unwrap();
        let store = Store::change(data.path()).unwrap();
        let trust = Trust { key: SigningKey::generate().unwrap().public(), serial: 3 };
        assert_eq!(store.trust("http://a/").unwrap(), None);
        store.set_trust("http://a/", trust).unwrap();
        assert_eq!(store.trust("http://a/").unwrap(), Some(trust));
        fs::File::create(data.path().join("packages/trust.json")).unwrap();
        assert!(matches!(store.trust("http://a/"), Err(StoreError::Damaged { .. })));
    }
}
