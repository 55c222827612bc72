//! The program of a plugin: where it is, and whether it could start.
//!
//! Looked at when the config is loaded, so that a person is told at once; the truth is what happens
//! when the program is started.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use crate::model::{Runner, SHEBANG, Unstartable, shebang};

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
pub fn find(name: &str, path: &str) -> Option<PathBuf> {
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
    if !metadata.is_file() {
        return Err(fault(format!("`{shown}` is no file"), "name an executable"));
    }
    if access(program, Access::EXEC_OK).is_err() {
        return Err(fault(format!("`{shown}` is not executable"), format!("chmod +x {shown}")));
    }
    // What may be executed need not be readable; then the system is the one to judge.
    let Ok(file) = File::open(program) else { return Ok(()) };
    let mut head = Vec::with_capacity(SHEBANG);
    if file.take(SHEBANG as u64).read_to_end(&mut head).is_err() {
        return Ok(());
    }
    first_line(&head, path).map_err(|why| fault(why.message(shown), why.help(program.display())))
}

/// Judges the first bytes of an executable.
fn first_line(head: &[u8], path: &str) -> Result<(), Unstartable> {
    let Runner::Interpreter { path: interpreter, command } = shebang(head)? else { return Ok(()) };
    if !Path::new(&interpreter).is_file() {
        return Err(Unstartable::Missing(interpreter));
    }
    let Some(command) = command else { return Ok(()) };
    let there = if command.contains('/') {
        Path::new(&command).is_file()
    } else {
        find(&command, path).is_some()
    };
    if there { Ok(()) } else { Err(Unstartable::NotOnPath { command, path: path.to_owned() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_first_line_names_must_be_there() {
        let judge = |head: &str| first_line(head.as_bytes(), "/usr/bin:/bin");
        for good in ["#!/bin/sh\necho", "#!/usr/bin/env -S A=1 sh -e\n", "\u{7f}ELF\0\0"] {
            assert_eq!(judge(good), Ok(()), "{good:?}");
        }
        assert_eq!(judge("#!/no/such\n"), Err(Unstartable::Missing("/no/such".to_owned())));
        let missing = judge("#!/usr/bin/env no-such-interpreter\n");
        assert!(matches!(missing, Err(Unstartable::NotOnPath { .. })), "{missing:?}");
        assert_eq!(judge(""), Err(Unstartable::Empty));
    }

    #[test]
    fn relative_folders_of_the_search_path_are_not_searched() {
        assert!(find("sh", "::.").is_none());
        assert!(find("sh", ":/usr/bin:/bin").is_some());
    }
}
