use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::model::{Runner, SHEBANG, Unstartable, shebang};

/// Turns the error of a spawn into a sentence that names the file and says what to do. The
/// kernel's own "no such file or directory" names neither the interpreter that is missing nor the
/// carriage return that hides in a `#!` line.
pub(super) fn explain(program: &Path, dir: &Path, error: &io::Error) -> String {
    if !dir.is_dir() {
        return format!("its folder `{}` does not exist", dir.display());
    }
    if let Some(why) = why_not_executable(program) {
        return why;
    }
    let name = program.display();
    match error.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
        Some(rustix::io::Errno::NOEXEC) => format!(
            "`{name}` is neither a program for this machine nor a script with a first line such as `#!/bin/sh`"
        ),
        Some(rustix::io::Errno::TXTBSY) => {
            format!("`{name}` is being written to; it is tried again at the next interval")
        }
        Some(rustix::io::Errno::TOOBIG) => {
            format!("`{name}`: its arguments and environment are too large")
        }
        Some(rustix::io::Errno::AGAIN) => {
            format!("`{name}`: the system has no room for another process (see `ulimit -u`)")
        }
        Some(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE) => {
            format!("`{name}`: too many open files (see `ulimit -n`)")
        }
        _ => format!("`{name}` cannot be run: {error}"),
    }
}

/// Looks at a program without running it. `None`: nothing speaks against it.
pub fn why_not_executable(program: &Path) -> Option<String> {
    let name = program.display();
    let meta = match program.metadata() {
        Ok(meta) => meta,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Some(format!("`{name}` does not exist"));
        }
        Err(error) => return Some(format!("`{name}` cannot be looked at: {error}")),
    };
    if meta.is_dir() {
        return Some(format!("`{name}` is a folder"));
    }
    if meta.permissions().mode() & 0o111 == 0 {
        return Some(format!("`{name}` is not executable; run `chmod +x {name}`"));
    }
    // Read only regular files: a FIFO would block.
    if !meta.is_file() {
        return Some(format!("`{name}` is not a regular file"));
    }
    let mut head = [0; SHEBANG];
    // Executable and not readable is fine for a compiled program.
    let len = File::open(program).and_then(|mut file| file.read(&mut head)).ok()?;
    let why = match shebang(&head[..len]) {
        Ok(Runner::Interpreter { path, .. }) if !Path::new(&path).exists() => {
            Unstartable::Missing(path)
        }
        Ok(_) => return None,
        Err(why) => why,
    };
    Some(format!("{}; {}", why.message(name), why.help(program.display())))
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, set_permissions};
    use std::io::Write;

    use super::*;

    fn script(text: &str, mode: u32) -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("plugin");
        File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
        set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        (dir, path)
    }

    #[test]
    fn each_mistake_has_its_own_sentence() {
        for (text, mode, wanted) in [
            ("#!/bin/sh\necho", 0o644, "chmod +x"),
            ("echo {}", 0o755, "has no `#!` line"),
            ("#!/bin/sh\r\necho\r\n", 0o755, "ends as on Windows"),
            ("#!/usr/bin/no-such\n", 0o755, "`/usr/bin/no-such`, which is not installed"),
            ("#!\n", 0o755, "names no interpreter"),
            ("", 0o755, "is empty"),
        ] {
            let (_dir, path) = script(text, mode);
            let why = why_not_executable(&path).unwrap_or_default();
            assert!(why.contains(wanted), "{text:?} gave {why:?}");
        }
        let (_dir, fine) = script("#!/bin/sh\necho\n", 0o755);
        assert_eq!(why_not_executable(&fine), None);
        assert_eq!(why_not_executable(Path::new("/bin/sh")), None);
        assert!(
            why_not_executable(Path::new("/nonexistent/x")).unwrap().contains("does not exist")
        );
        assert!(why_not_executable(Path::new("/tmp")).unwrap().contains("is a folder"));
    }
}
