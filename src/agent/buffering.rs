//! What to tell somebody whose long-lived plugin prints nothing: most languages keep what is printed
//! to a pipe until some kilobytes have gathered.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::config::Command;

/// How much of a script is looked at.
const LOOKED_AT: u64 = 64 << 10;

/// Programs that buffer, by how their names begin, and what has them print at once.
const CURES: [(&str, &str); 14] = [
    ("python", "run it as `python3 -u`, or `print(…, flush=True)`"),
    ("perl", "set `$| = 1;` at its beginning"),
    ("ruby", "set `$stdout.sync = true` at its beginning"),
    ("php", "call `flush();` (and `ob_flush();`) after each line"),
    ("gawk", "in awk call `fflush()` after `print`"),
    ("mawk", "run mawk with `-W interactive`"),
    ("awk", "in awk call `fflush()` after `print` (mawk: `-W interactive`)"),
    ("grep", "run `grep --line-buffered`"),
    ("sed", "run `sed -u`"),
    ("jq", "run `jq --unbuffered`"),
    ("tr", "put `stdbuf -oL` before `tr`"),
    ("cut", "put `stdbuf -oL` before `cut`"),
    ("tcpdump", "run `tcpdump -l`"),
    (
        "node",
        "write with `console.log` or `process.stdout.write`, which do not buffer; does it wait for something?",
    ),
];

/// What else there is.
const OTHERWISE: &str =
    "put `stdbuf -oL` before the program that prints, or have it flush after each line";

/// What to do, as far as can be seen from what is run.
pub(super) fn advice(command: &Command) -> String {
    let name = file_name(&command.program);
    let mut cures: Vec<&str> = Vec::new();
    let mut add = |word: &str| {
        if let Some((_, cure)) = CURES.iter().find(|(name, _)| is_called(word, name))
            && !cures.contains(cure)
        {
            cures.push(cure);
        }
    };
    add(&name);
    let script = if is_shell(&name) && command.args.first().is_some_and(|arg| arg == "-c") {
        command.args.get(1).cloned().unwrap_or_default()
    } else {
        // A script that an interpreter is given, or the program itself.
        let argument = command.args.iter().find(|arg| !arg.starts_with('-'));
        let path = argument.map(|arg| command.dir.join(arg)).filter(|_| is_interpreter(&name));
        text_of(&path.unwrap_or_else(|| command.program.clone()))
    };
    let (first, rest) = script.split_once('\n').unwrap_or((&script, ""));
    match first.strip_prefix("#!") {
        Some(line) => {
            let words: Vec<String> =
                line.split_whitespace().map(|word| file_name(Path::new(word))).collect();
            for word in &words {
                add(word);
            }
            if words.iter().any(|word| is_shell(word)) {
                commands(rest).for_each(&mut add);
            }
        }
        None if is_shell(&name) => commands(&script).for_each(&mut add),
        None => {}
    }
    if cures.is_empty() { OTHERWISE.to_owned() } else { cures.join("; ") }
}

/// The words of a shell script that may be commands.
fn commands(script: &str) -> impl Iterator<Item = &str> {
    script
        .lines()
        .map(|line| line.split(" #").next().unwrap_or(line))
        .filter(|line| !line.trim_start().starts_with('#'))
        .flat_map(|line| line.split(['|', ';', '&', '(', '`', '{']))
        .filter_map(|part| part.split_whitespace().find(|word| !word.contains('=')))
        .map(|word| word.rsplit('/').next().unwrap_or(word))
}

/// `python3.11` is called `python`, and `trap` is not called `tr`.
fn is_called(word: &str, name: &str) -> bool {
    word.strip_prefix(name)
        .is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit() || b == b'.'))
}

fn is_shell(name: &str) -> bool {
    ["sh", "bash", "dash", "ash", "ksh", "zsh", "busybox"].contains(&name)
}

fn is_interpreter(name: &str) -> bool {
    is_shell(name) || CURES.iter().any(|(word, _)| is_called(name, word)) || name == "env"
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The beginning of a file, if it is a regular one with text in it.
pub fn text_of(path: &Path) -> String {
    let mut text = Vec::new();
    if path.is_file()
        && let Ok(file) = File::open(path)
        && file.take(LOOKED_AT).read_to_end(&mut text).is_ok()
        && !text.contains(&0)
    {
        return String::from_utf8_lossy(&text).into_owned();
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn of(text: &str) -> String {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("plugin");
        File::create(&program).unwrap().write_all(text.as_bytes()).unwrap();
        advice(&Command { program, args: Vec::new(), dir: dir.path().to_owned() })
    }

    #[test]
    fn each_language_has_its_own_cure() {
        for (text, cure) in [
            ("#!/usr/bin/env python3\nprint(1)\n", "flush=True"),
            ("#!/usr/bin/perl -w\n", "$| = 1"),
            ("#!/usr/bin/mawk -f\n", "-W interactive"),
            ("#!/usr/bin/env ruby\n", "sync = true"),
            ("#!/bin/sh\nvmstat 1 | awk '{print $1}'\n", "fflush()"),
            ("#!/bin/bash\ntail -f x | grep y | sed s/a/b/\n", "sed -u"),
            ("#!/bin/sh\ntrap : TERM\nwhile :; do sleep 1; done\n", "stdbuf -oL"),
            ("\u{7f}ELF\0\0", "stdbuf -oL"),
        ] {
            let advice = of(text);
            assert!(advice.contains(cure), "{text:?} gave {advice:?}");
        }
        let both = of("#!/bin/sh\ntail -f x | grep y | sed s/a/b/\n");
        assert!(both.contains("grep --line-buffered"), "{both}");
        let given = Command {
            program: "/usr/bin/python3".into(),
            args: vec!["x.py".into()],
            dir: "/".into(),
        };
        assert!(advice(&given).contains("python3 -u"));
        let shell = Command {
            program: "/bin/sh".into(),
            args: vec!["-c".into(), "vmstat 1 | jq .".into()],
            dir: "/".into(),
        };
        assert!(advice(&shell).contains("--unbuffered"));
    }
}
