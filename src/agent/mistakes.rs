//! What an unlucky run's own words give away about why it went wrong, and what to do about it.
//!
//! A command, a library or a password that is missing is told of every run that says so: a program that
//! has been written for that says nothing. All else only of runs that failed or printed nothing.

use crate::exec::Run;
use crate::model::{Outcome, WarningCode};

/// Bytes of a name out of a program's words that are shown.
const NAME: usize = 64;

/// Names the mistake behind a run in one line, with what to do; `None` where all went well or
/// nothing is known. `path` is the search path that it had, `user` whose name it ran under, where
/// that is not the agent's.
pub(super) fn of_run(run: &Run, produced: u64, path: &str, user: Option<&str>) -> Option<String> {
    let unlucky = !run.outcome.is_ok() || produced == 0;
    if run.part.is_some() || !unlucky && run.stderr.is_empty() {
        return None;
    }
    let said = String::from_utf8_lossy(&run.stderr);
    let who = user.map_or("the agent's user".to_owned(), |user| format!("`{user}`"));
    let timed_out = matches!(run.outcome, Outcome::TimedOut { .. });
    let (mistake, words) = if said.contains('\r') && said.contains("not found") {
        (
            WarningCode::DosLines,
            "its lines end as on Windows; take the carriage returns away: `sed -i 's/\\r$//' FILE`"
                .to_owned(),
        )
    } else if asks_for_password(&said) {
        (
            WarningCode::SudoPassword,
            format!(
                "`sudo` wants a password, and there is no terminal to type it at; let {who} run that \
                 one command without (`NOPASSWD:` in /etc/sudoers.d), or give the plugin a `user` \
                 that may"
            ),
        )
    } else if let Some(module) = missing_module(&said) {
        (
            WarningCode::ModuleMissing,
            format!(
                "its interpreter has no `{module}`; install that for all users, or name the \
                 interpreter that has it (of a virtual environment, say) by its full path"
            ),
        )
    } else if let Some(command) = missing_command(&said) {
        (
            WarningCode::CommandMissing,
            format!(
                "there is no command `{command}` in {path}; install it, write its full path, or set \
                 `env = {{ PATH = \"…\" }}`"
            ),
        )
    } else if unlucky && denied(&said) {
        (
            WarningCode::PermissionDenied,
            format!(
                "it runs as {who}, who may not do that; give that user the right (mostly, a group), \
                 or the plugin a `user` that has it"
            ),
        )
    } else if timed_out && produced > 1 {
        (
            WarningCode::NeverEnds,
            "it goes on printing; have it end after its records, or set `mode = \"stream\"` for a \
             program that is meant to live on"
                .to_owned(),
        )
    } else if timed_out && produced == 0 {
        (
            WarningCode::Waits,
            "it had printed nothing by its deadline; does it wait for input or a password (it has no \
             terminal), for a slow answer (raise `timeout`), or does it buffer its output?"
                .to_owned(),
        )
    } else if produced == 0 && has_document(&said) {
        (
            WarningCode::StderrOnly,
            "what looks like its records is on stderr; print them on stdout: without `>&2`, in Python \
             without `file=sys.stderr`"
                .to_owned(),
        )
    } else {
        return None;
    };
    Some(mistake.says(words))
}

fn has_document(said: &str) -> bool {
    said.lines().any(|line| {
        let line = line.trim();
        (line.starts_with('{') && line.ends_with('}'))
            || (line.starts_with('[') && line.ends_with(']') && line.contains('{'))
    })
}

fn asks_for_password(said: &str) -> bool {
    let words = ["a password is required", "a terminal is required", "no tty present", "askpass"];
    said.lines().any(|line| line.contains("sudo") && words.iter().any(|words| line.contains(words)))
}

/// The name behind `not found`, as shells, `env` and Python put it.
fn missing_command(said: &str) -> Option<&str> {
    said.lines().find_map(|line| {
        let line = line.trim_end();
        let name = if let Some(before) =
            line.strip_suffix(": not found").or_else(|| line.strip_suffix(": command not found"))
        {
            before.rsplit(": ").next()?
        } else if line.contains("env: ") && line.ends_with("No such file or directory") {
            let (_, rest) = line.split_once("env: ")?;
            rest.split(": ").next()?
        } else {
            // As a library says it of a program that it was to start.
            line.strip_prefix("FileNotFoundError: [Errno 2] No such file or directory: ")?
        };
        let name = name.trim_matches(['\'', '"', '`', '\u{2018}', '\u{2019}']);
        is_name(name).then_some(name)
    })
}

/// A library's name, as Python, Perl, Ruby and Node put it.
fn missing_module(said: &str) -> Option<&str> {
    said.lines().find_map(|line| {
        let after = |words: &str| line.split_once(words).map(|(_, rest)| rest);
        let rest = after("ModuleNotFoundError: No module named ")
            .or_else(|| after("Can't locate "))
            .or_else(|| after("cannot load such file -- "))
            .or_else(|| after("Error: Cannot find module "))?;
        let name = rest.trim_start_matches(['\'', '"']);
        let name = name.split(['\'', '"', ' ']).next()?;
        is_name(name).then_some(name)
    })
}

fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._+-/@:".contains(c);
    !name.is_empty() && name.len() <= NAME && name.chars().all(plain)
}

fn denied(said: &str) -> bool {
    let words = ["Permission denied", "Operation not permitted", "EACCES", "permission denied"];
    // What another host denies is not this user's matter.
    said.lines()
        .any(|line| words.iter().any(|words| line.contains(words)) && !line.contains("(publickey"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_what_shells_and_interpreters_say() {
        for (said, command) in [
            ("/opt/x: 2: jqx: not found", Some("jqx")),
            ("/opt/x: line 2: jqx: command not found\n", Some("jqx")),
            ("sh: jqx: not found", Some("jqx")),
            ("/usr/bin/env: 'node': No such file or directory", Some("node")),
            ("env: \u{2018}node\u{2019}: No such file or directory", Some("node")),
            (
                "Traceback …\nFileNotFoundError: [Errno 2] No such file or directory: 'smartctl'",
                Some("smartctl"),
            ),
            ("cat: /x: No such file or directory", None),
            ("host db-1 not found", None),
        ] {
            assert_eq!(missing_command(said), command, "{said}");
        }
        for (said, module) in [
            ("ModuleNotFoundError: No module named 'psutil'", Some("psutil")),
            ("Can't locate JSON/XS.pm in @INC (you may need …)", Some("JSON/XS.pm")),
            ("x.rb:1:in `require': cannot load such file -- redis (LoadError)", Some("redis")),
            ("Error: Cannot find module 'pg'", Some("pg")),
            ("no module", None),
        ] {
            assert_eq!(missing_module(said), module, "{said}");
        }
    }

    #[test]
    fn what_others_deny_and_what_is_no_document_is_nothing() {
        assert!(denied("cat: /etc/shadow: Permission denied"));
        assert!(!denied("you@db-1: Permission denied (publickey)."));
        assert!(has_document("hello\n{\"a\": 1}\n"));
        assert!(!has_document("[warn] {x\n[1/3] done]"));
        assert!(asks_for_password("sudo: a password is required"));
        assert!(!asks_for_password("a password is required"));
    }
}
