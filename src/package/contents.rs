//! The files of a package, in memory: read from a folder or an archive, written to either.

use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use crate::model::is_unseen;

use super::finding::Finding;
use super::template::FileMode;

/// The list of hashes of a package's files, which packing adds.
pub const SUMS: &str = "SHA256SUMS";

/// How large a package may be.
pub mod bounds {
    /// Most files.
    pub const FILES: usize = 1000;
    /// Most bytes of the archive.
    pub const ZIPPED: usize = 16 << 20;
    /// Most bytes of all files.
    pub const UNPACKED: usize = 64 << 20;
    /// Longest path, in bytes.
    pub const PATH: usize = 200;
    /// Deepest folder.
    pub const DEPTH: usize = 16;
}

/// One file of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageFile {
    /// Its path below the package's folder, with `/`.
    pub path: String,
    /// Whether it may be executed.
    pub mode: FileMode,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// The files of a package, sorted by path. No two are alike, not even but for case, and none is in the
/// way of another's folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents(Vec<PackageFile>);

impl Contents {
    /// Puts files together.
    ///
    /// # Errors
    /// What of them cannot be in a package.
    pub fn new(mut files: Vec<PackageFile>) -> Result<Self, Vec<Finding>> {
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let mut findings = Vec::new();
        let total: usize = files.iter().map(|file| file.bytes.len()).sum();
        // The list of hashes, which packing adds, is not counted.
        let count = files.iter().filter(|file| file.path != SUMS).count();
        if count > bounds::FILES {
            let message = format!("{count} files; a package has at most {}", bounds::FILES);
            findings.push(Finding::error("", message, "leave out what is not needed to run it"));
        }
        if total > bounds::UNPACKED {
            let message = format!(
                "{} MiB; the files of a package have at most {} MiB",
                total >> 20,
                bounds::UNPACKED >> 20
            );
            findings.push(Finding::error("", message, "leave out what is not needed to run it"));
        }
        let mut seen: std::collections::BTreeMap<String, &str> = std::collections::BTreeMap::new();
        let mut folders: std::collections::BTreeMap<String, &str> =
            std::collections::BTreeMap::new();
        for file in &files {
            if let Some(why) = unsafe_path(&file.path) {
                findings.push(Finding::error(&shown(&file.path), why, "give it another name"));
                continue;
            }
            if let Some(other) = seen.insert(file.path.to_lowercase(), &file.path) {
                let message = format!("its name differs from `{other}` in case alone");
                let message =
                    if other == file.path { "it is there twice".to_owned() } else { message };
                findings.push(Finding::error(&file.path, message, "rename one of the two"));
            }
            for folder in file.path.match_indices('/').map(|(at, _)| &file.path[..at]) {
                let other = *folders.entry(folder.to_lowercase()).or_insert(folder);
                if other != folder {
                    let message = format!("its folder differs from `{other}` in case alone");
                    findings.push(Finding::error(&file.path, message, "rename one of the two"));
                    break;
                }
            }
        }
        for (lower, path) in &seen {
            if folders.contains_key(lower) {
                let message = "it is a file and a folder at once";
                findings.push(Finding::error(path, message, "rename one of the two"));
            }
        }
        if findings.is_empty() { Ok(Self(files)) } else { Err(findings) }
    }

    /// Reads a folder: every file but hidden ones and what editors and interpreters leave behind.
    ///
    /// # Errors
    /// That it cannot be read, or what of it cannot be in a package.
    pub fn of_folder(folder: &Path) -> io::Result<Result<Self, Vec<Finding>>> {
        let (mut files, mut findings, mut left) = (Vec::new(), Vec::new(), bounds::UNPACKED);
        let mut folders = vec![(folder.to_owned(), String::new())];
        while let Some((folder, below)) = folders.pop() {
            for entry in fs::read_dir(&folder)? {
                let entry = entry?;
                let Ok(name) = entry.file_name().into_string() else {
                    let name = entry.file_name().to_string_lossy().into_owned();
                    findings.push(Finding::error(&name, "its name is not UTF-8", "rename it"));
                    continue;
                };
                if is_left_out(&name) {
                    continue;
                }
                let path = format!("{below}{name}");
                let kind = entry.file_type()?;
                if kind.is_dir() {
                    folders.push((entry.path(), format!("{path}/")));
                } else if kind.is_file() {
                    let mode = match entry.metadata()?.permissions().mode() & 0o111 {
                        0 => FileMode::Plain,
                        _ => FileMode::Executable,
                    };
                    let mut bytes = Vec::new();
                    open(&entry.path())?.take(left as u64 + 1).read_to_end(&mut bytes)?;
                    if bytes.len() > left || files.len() > bounds::FILES {
                        findings.push(Finding::error(
                            &path,
                            "with it the package is too large",
                            "leave out what is not needed to run it",
                        ));
                        return Ok(Err(findings));
                    }
                    left -= bytes.len();
                    files.push(PackageFile { path, mode, bytes });
                } else {
                    let message = "it is neither a file nor a folder";
                    let help =
                        if kind.is_symlink() { "put the file itself there" } else { "remove it" };
                    findings.push(Finding::error(&path, message, help));
                }
            }
        }
        Ok(match (Self::new(files), findings.is_empty()) {
            (contents, true) => contents,
            (Ok(_), false) => Err(findings),
            (Err(more), false) => Err([findings, more].concat()),
        })
    }

    /// Every file, in the order of their paths.
    pub fn files(&self) -> &[PackageFile] {
        &self.0
    }

    /// The file at `path`.
    pub fn get(&self, path: &str) -> Option<&PackageFile> {
        self.0.binary_search_by(|file| file.path.as_str().cmp(path)).ok().map(|at| &self.0[at])
    }

    /// All but the file at `path`.
    #[must_use]
    pub fn without(&self, path: &str) -> Self {
        Self(self.0.iter().filter(|file| file.path != path).cloned().collect())
    }

    /// With a file more, or in place of the one at its path.
    #[must_use]
    pub fn with(&self, file: PackageFile) -> Self {
        let mut files = self.without(&file.path).0;
        let at = files.partition_point(|other| other.path < file.path);
        files.insert(at, file);
        Self(files)
    }
}

/// Opens a file that was seen to be one: not through a link that was put there meanwhile, and without
/// waiting for the other end of a pipe.
fn open(path: &Path) -> io::Result<fs::File> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let file =
        fs::OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::other(format!("{} is not a file any more", path.display())))
}

/// What no package has: hidden files, and what editors and interpreters leave behind.
fn is_left_out(name: &str) -> bool {
    name.starts_with('.')
        || name == "__pycache__"
        || [".pyc", "~", ".bak", ".orig", ".swp"].iter().any(|end| name.ends_with(end))
}

/// Why `path` cannot be that of a file in a package.
fn unsafe_path(path: &str) -> Option<&'static str> {
    if path.is_empty() || path.len() > bounds::PATH {
        return Some("its path is empty, or longer than 200 bytes");
    }
    if path.contains(|c: char| c.is_control() || c == '\\' || c == '\u{fffd}' || is_unseen(c)) {
        return Some("its name has characters that cannot be shown");
    }
    if path.starts_with('/') {
        return Some("its path begins at the root of the file system");
    }
    if path.split('/').count() > bounds::DEPTH {
        return Some("it lies too deep");
    }
    for part in path.split('/') {
        match part {
            "" | "." => return Some("its path has an empty part"),
            ".." => return Some("its path leads out of the package"),
            hidden if hidden.starts_with('.') => return Some("it is hidden"),
            _ => {}
        }
    }
    None
}

/// A path that can be printed, whatever is in it.
pub(super) fn shown(path: &str) -> String {
    path.chars()
        .take(bounds::PATH)
        .map(|c| if c.is_control() || is_unseen(c) { '?' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str) -> PackageFile {
        PackageFile { path: path.to_owned(), mode: FileMode::Plain, bytes: Vec::new() }
    }

    fn refused(paths: &[&str]) -> String {
        match Contents::new(paths.iter().map(|path| file(path)).collect()) {
            Ok(_) => String::new(),
            Err(findings) => {
                findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
            }
        }
    }

    #[test]
    fn paths_stay_inside_and_apart() {
        assert_eq!(refused(&["a", "b/c.d", "b/ñ", "b/e/f"]), "");
        for (paths, why) in [
            (&["../a"][..], "leads out"),
            (&["a/../../b"], "leads out"),
            (&["/etc/passwd"], "root of the file system"),
            (&["a//b"], "empty part"),
            (&["./a"], "empty part"),
            (&["a\\b"], "cannot be shown"),
            (&["a\nb"], "cannot be shown"),
            (&["a\u{202e}hs.b"], "cannot be shown"),
            (&["b/a", "B/c"], "in case alone"),
            (&[".ssh/key"], "hidden"),
            (&["a", "A"], "in case alone"),
            (&["a", "a"], "there twice"),
            (&["b/a", "B"], "file and a folder"),
            (&["a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a"], "too deep"),
            (&[""], "empty"),
        ] {
            assert!(refused(paths).contains(why), "{paths:?}: {}", refused(paths));
        }
        let many: Vec<String> = (0..=bounds::FILES).map(|n| n.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(refused(&many).contains("1001 files"));
    }

    #[test]
    fn a_folder_is_read_without_what_nobody_means() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for path in ["bin/a.sh", ".git/x", "b~", "__pycache__/c.pyc", "README.md"] {
            fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
            fs::File::create(root.join(path)).unwrap();
        }
        fs::set_permissions(root.join("bin/a.sh"), fs::Permissions::from_mode(0o700)).unwrap();
        let contents = Contents::of_folder(root).unwrap().unwrap();
        let files: Vec<_> = contents.files().iter().map(|f| (f.path.as_str(), f.mode)).collect();
        assert_eq!(files, [("README.md", FileMode::Plain), ("bin/a.sh", FileMode::Executable)]);
        std::os::unix::fs::symlink("/etc/passwd", root.join("link")).unwrap();
        let findings = Contents::of_folder(root).unwrap().unwrap_err();
        assert_eq!(findings[0].to_string(), "link: it is neither a file nor a folder");
    }
}
