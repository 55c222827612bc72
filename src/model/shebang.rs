use std::fmt;

/// How many bytes of a file [`shebang`] needs: the kernel reads no more of a first line.
pub const SHEBANG: usize = 256;

/// Who runs an executable, by its first bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Runner {
    /// The kernel, or a handler of its own: it is no text.
    System,
    /// The interpreter that its first line names.
    Interpreter {
        /// The interpreter's path, as written.
        path: String,
        /// What `env` is asked to find on the search path, where the interpreter is `env`.
        command: Option<String>,
    },
}

/// Why an executable cannot start, by its first bytes or by what they name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unstartable {
    /// Nothing is in it.
    Empty,
    /// It is a text without a `#!` line.
    NoLine,
    /// A byte order mark stands before its `#!`.
    ByteOrderMark,
    /// A carriage return ends its first line.
    DosLine,
    /// Nothing follows its `#!`.
    NoInterpreter,
    /// Its first line names an interpreter without its folder.
    NoFolder(String),
    /// What its first line names is not installed.
    Missing(String),
    /// What it has `env` look for is not on the search path.
    NotOnPath {
        /// The command.
        command: String,
        /// The search path.
        path: String,
    },
}

impl Unstartable {
    /// What is wrong with the file `name`.
    pub fn message(&self, name: impl fmt::Display) -> String {
        match self {
            Self::Empty => format!("`{name}` is empty"),
            Self::NoLine => format!("`{name}` has no `#!` line"),
            Self::ByteOrderMark => format!("`{name}` begins with a byte order mark"),
            Self::DosLine => format!(
                "the first line of `{name}` ends as on Windows, so its interpreter is not found"
            ),
            Self::NoInterpreter => format!("the first line of `{name}` names no interpreter"),
            Self::NoFolder(what) => {
                format!("the first line of `{name}` names `{what}` without its folder")
            }
            Self::Missing(what) => format!("`{name}` needs `{what}`, which is not installed"),
            Self::NotOnPath { command, path } => {
                format!("`{name}` needs `{command}`, which is not in {path}")
            }
        }
    }

    /// What to do about it.
    pub fn help(&self, name: impl fmt::Display) -> String {
        match self {
            Self::Empty => "write the plugin".to_owned(),
            Self::NoLine | Self::NoInterpreter => {
                "make its first line `#!/bin/sh`, or that of its interpreter".to_owned()
            }
            Self::ByteOrderMark => "save it as UTF-8 without one".to_owned(),
            Self::DosLine => format!("sed -i 's/\\r$//' {name}"),
            Self::NoFolder(what) => format!("make it `#!/usr/bin/env {what}`"),
            Self::Missing(_) => format!("install it, or correct the first line of {name}"),
            Self::NotOnPath { command, .. } => {
                format!("install {command}, or set `[agent] path`")
            }
        }
    }
}

/// Reads the first bytes of an executable, at least [`SHEBANG`] of them where it has as many.
/// Whether what it names exists is for whoever may look.
pub fn shebang(head: &[u8]) -> Result<Runner, Unstartable> {
    if head.is_empty() {
        return Err(Unstartable::Empty);
    }
    let Some(rest) = head.strip_prefix(b"#!") else {
        // ELF, or something that the system has a handler for.
        if head.contains(&0) || head.starts_with(b"\x7fELF") {
            return Ok(Runner::System);
        }
        let marked = head.starts_with(b"\xef\xbb\xbf#!");
        return Err(if marked { Unstartable::ByteOrderMark } else { Unstartable::NoLine });
    };
    let line = rest.split(|b| *b == b'\n').next().unwrap_or_default();
    if line.ends_with(b"\r") {
        return Err(Unstartable::DosLine);
    }
    let line = String::from_utf8_lossy(line);
    let mut words = line.split_ascii_whitespace();
    let path = words.next().ok_or(Unstartable::NoInterpreter)?.to_owned();
    if !path.contains('/') {
        return Err(Unstartable::NoFolder(path));
    }
    // `env` takes options and assignments before the command.
    let command = path
        .ends_with("/env")
        .then(|| words.find(|word| !word.starts_with('-') && !word.contains('=')))
        .flatten()
        .map(str::to_owned);
    Ok(Runner::Interpreter { path, command })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_lines_say_who_runs() {
        let by = |path: &str, command: Option<&str>| {
            Ok(Runner::Interpreter { path: path.to_owned(), command: command.map(str::to_owned) })
        };
        for (head, wanted) in [
            ("#!/bin/sh\necho", by("/bin/sh", None)),
            ("#! /bin/sh -e\n", by("/bin/sh", None)),
            ("#!/bin/sh", by("/bin/sh", None)),
            ("#!/usr/bin/env sh\n", by("/usr/bin/env", Some("sh"))),
            ("#!/usr/bin/env -S A=1 sh -e\n", by("/usr/bin/env", Some("sh"))),
            ("#!/usr/bin/env\n", by("/usr/bin/env", None)),
            ("\u{7f}ELF", Ok(Runner::System)),
            ("MZ\0", Ok(Runner::System)),
            ("", Err(Unstartable::Empty)),
            ("echo hi\n", Err(Unstartable::NoLine)),
            ("#!\n", Err(Unstartable::NoInterpreter)),
            ("#! \t \necho", Err(Unstartable::NoInterpreter)),
            ("#!python3\n", Err(Unstartable::NoFolder("python3".to_owned()))),
            ("#!/bin/sh\r\necho", Err(Unstartable::DosLine)),
            ("\u{feff}#!/bin/sh\n", Err(Unstartable::ByteOrderMark)),
        ] {
            assert_eq!(shebang(head.as_bytes()), wanted, "{head:?}");
        }
    }
}
