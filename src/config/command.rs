//! The program of a plugin: where it is, and whether it could start.
//!
//! Looked at when the config is loaded, so that a person is told at once; the truth is what happens
//! when the program is started.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

/// What is started for a run, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The program; absolute, unless it was not found on the search path.
    pub program: PathBuf,
    /// Its arguments, without the program itself.
    pub args: Vec<String>,
    /// The folder it runs in.
    pub dir: PathBuf,
}

/// Why a program could not start, and what to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) message: String,
    pub(super) help: String,
}

fn fault(message: String, help: impl Into<String>) -> Fault {
    Fault { message, help: help.into() }
}

/// The file that `name` means on the search path `path`.
pub(super) fn find(name: &str, path: &str) -> Option<PathBuf> {
    path.split(':')
        .filter(|folder| folder.starts_with('/'))
        .map(|folder| Path::new(folder).join(name))
        .find(|file| file.is_file() && access(file, Access::EXEC_OK).is_ok())
}

/// Finds the program that `name`, without a `/`, means; `base` is the folder of the config.
pub(super) fn look_up(name: &str, path: &str, base: &Path) -> Result<PathBuf, Fault> {
    find(name, path).ok_or_else(|| {
        let help = if base.join(name).is_file() {
            format!("for the file beside the config write `./{name}`")
        } else {
            "install it, write its full path, or set `[agent] path`".to_owned()
        };
        fault(format!("there is no command `{name}` in {path}"), help)
    })
}

/// Whether `program` could start: it is there, may be executed, and what its first line asks for
/// is there as well. `path` is the search path that it will have.
pub(super) fn inspect(program: &Path, path: &str) -> Result<(), Fault> {
    let shown = program.display();
    let metadata = std::fs::metadata(program).map_err(|e| match e.kind() {
        ErrorKind::NotFound => fault(
            format!("there is no file `{shown}`"),
            "check the path; it is relative to the config file",
        ),
        _ => {
            fault(format!("cannot look at `{shown}`: {e}"), "check the permissions of its folders")
        }
    })?;
    if metadata.is_dir() {
        return Err(fault(format!("`{shown}` is a folder"), "name the executable in it"));
    }
    if access(program, Access::EXEC_OK).is_err() {
        return Err(fault(format!("`{shown}` is not executable"), format!("chmod +x {shown}")));
    }
    // What may be executed need not be readable; then the system is the one to judge.
    let Ok(file) = File::open(program) else { return Ok(()) };
    let mut head = Vec::with_capacity(256);
    if file.take(256).read_to_end(&mut head).is_err() {
        return Ok(());
    }
    first_line(&head, &shown.to_string(), path)
}

/// Judges the first bytes of an executable.
fn first_line(head: &[u8], shown: &str, path: &str) -> Result<(), Fault> {
    if head.is_empty() {
        return Err(fault(format!("`{shown}` is empty"), "write the plugin"));
    }
    let Some(rest) = head.strip_prefix(b"#!") else {
        // ELF, or something that the system has a handler for.
        if head.contains(&0) {
            return Ok(());
        }
        let bom = head.starts_with(b"\xef\xbb\xbf#!");
        return Err(if bom {
            fault(
                format!("`{shown}` begins with a byte order mark"),
                "save it as UTF-8 without one",
            )
        } else {
            fault(
                format!("`{shown}` does not say what it is written in"),
                "make its first line `#!/bin/sh`, or that of its interpreter",
            )
        });
    };
    let line = rest.split(|b| *b == b'\n').next().unwrap_or_default();
    if line.ends_with(b"\r") {
        return Err(fault(
            format!(
                "the first line of `{shown}` ends as on Windows, so its interpreter is not found"
            ),
            format!("sed -i 's/\\r$//' {shown}"),
        ));
    }
    let line = String::from_utf8_lossy(line);
    let mut words = line.split_ascii_whitespace();
    let Some(interpreter) = words.next() else {
        return Err(fault(
            format!("the first line of `{shown}` names no interpreter"),
            "make it `#!/bin/sh`, or that of its interpreter",
        ));
    };
    if !Path::new(interpreter).is_file() {
        return Err(fault(
            format!("`{shown}` needs `{interpreter}`, which is not here"),
            format!("install it, or correct the first line of {shown}"),
        ));
    }
    if !interpreter.ends_with("/env") {
        return Ok(());
    }
    // `env` takes options and assignments before the command.
    let Some(command) = words.find(|w| !w.starts_with('-') && !w.contains('=')) else {
        return Ok(());
    };
    let there = if command.contains('/') {
        Path::new(command).is_file()
    } else {
        find(command, path).is_some()
    };
    if there {
        return Ok(());
    }
    Err(fault(
        format!("`{shown}` needs `{command}`, which is not in {path}"),
        format!("install {command}, or set `[agent] path`"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(head: &str) -> Result<(), String> {
        first_line(head.as_bytes(), "x", "/usr/bin:/bin").map_err(|fault| fault.message)
    }

    #[test]
    fn first_lines_are_judged() {
        assert_eq!(judge("#!/bin/sh\necho"), Ok(()));
        assert_eq!(judge("#! /bin/sh -e\n"), Ok(()));
        assert_eq!(judge("#!/usr/bin/env sh\n"), Ok(()));
        assert_eq!(judge("#!/usr/bin/env -S A=1 sh -e\n"), Ok(()));
        assert_eq!(judge("\u{7f}ELF\0\0"), Ok(()));
        for bad in [
            "",
            "echo hi\n",
            "#!\n",
            "#!/bin/sh\r\necho",
            "\u{feff}#!/bin/sh\n",
            "#!/no/such/interpreter\n",
            "#!/usr/bin/env no-such-interpreter\n",
        ] {
            assert!(judge(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn relative_folders_of_the_search_path_are_not_searched() {
        assert!(find("sh", "::.").is_none());
        assert!(find("sh", ":/usr/bin:/bin").is_some());
    }
}
