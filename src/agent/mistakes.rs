//! What an unlucky run's own words give away about why it went wrong, and what to do about it.
//!
//! A command, a library or a password that is missing is told of every run that says so: a program that
//! has been written for that says nothing. All else only of runs that failed or printed nothing.

use crate::exec::Run;
use crate::model::{Outcome, WarningCode};

/// Bytes of a name out of a program's words that are shown.
const NAME: usize = 64;
/// Bytes of what it printed that are looked at for a prompt.
const HEAD: usize = 256;
/// How `talaia emit` begins to say what it refuses, and bytes of that which are repeated.
const EMIT: &str = "error: emit: ";
const SAID: usize = 300;

/// Names the mistake behind a run in one line, with what to do; `None` where all went well or
/// nothing is known. `path` is the search path that it had, `user` whose name it ran under, where
/// that is known.
pub(super) fn of_run(run: &Run, produced: u64, path: &str, user: Option<&str>) -> Option<String> {
    let unlucky = !run.outcome.is_ok() || produced == 0;
    if run.outcome == Outcome::Answered || !unlucky && run.stderr.is_empty() {
        return None;
    }
    let said = String::from_utf8_lossy(&run.stderr);
    let who = user.map_or("the agent's user".to_owned(), |user| format!("`{user}`"));
    let timed_out = matches!(run.outcome, Outcome::TimedOut { .. });
    let emit = said.lines().find_map(|line| line.strip_prefix(EMIT));
    let (mistake, words) = if let Some(words) = emit {
        let words: String = words.chars().take(SAID).collect();
        (WarningCode::EmitRefused, format!("one call printed nothing: {words}"))
    } else if said.lines().any(has_dos_end) {
        let words = "its lines end as on Windows; take the carriage returns away: \
                     `sed -i 's/\\r$//' FILE`";
        (WarningCode::DosLines, words.to_owned())
    } else if said.lines().any(is_held_down) {
        let words = format!(
            "`sudo` can do nothing where no new rights may be gained: set `no_new_privs = false`, where \
             the plugin has a `user`, `group` or limits, and `NoNewPrivileges=no` in a systemd unit; \
             better, give {who} a group that may do it without `sudo`"
        );
        (WarningCode::PermissionDenied, words)
    } else if asks_for_password(&said) || asks_for_password(&head(&run.stdout)) {
        let words = format!(
            "`sudo` wants a password, and there is no terminal to type it at; let {who} run that one \
             command without (`NOPASSWD:` in /etc/sudoers.d), or give the plugin a `user` that may"
        );
        (WarningCode::SudoPassword, words)
    } else if let Some(module) = missing_module(&said) {
        let words = format!(
            "its interpreter has no `{module}`; install that for all users, or name the interpreter \
             that has it (of a virtual environment, say) by its full path"
        );
        (WarningCode::ModuleMissing, words)
    } else if let Some(command) = missing_command(&said) {
        let words = if command == "talaia" {
            format!(
                "there is no command `talaia` in {path}; have it there: `sudo install -m 755 \"$(command \
                 -v talaia)\" /usr/local/bin/`"
            )
        } else if command.contains(' ') {
            format!("`env` looked for a command named `{command}`; write `env -S {command}`")
        } else {
            format!(
                "there is no command `{command}` in {path}; install it, write its full path, or set \
                 `env = {{ PATH = \"…\" }}`"
            )
        };
        (WarningCode::CommandMissing, words)
    } else if said.lines().any(is_decimal_comma) {
        let words = "a number with a decimal comma was cut in half; set `LC_ALL=C` before the program \
                     that prints it";
        (WarningCode::DecimalComma, words.to_owned())
    } else if said.lines().any(|line| is_denied(line, unlucky)) {
        let words = format!(
            "it runs as {who}, who may not do that; give that user the right (mostly, a group), or \
             the plugin a `user` that has it"
        );
        (WarningCode::PermissionDenied, words)
    } else if timed_out && produced > 1 {
        let words = "it had printed records and not ended by its deadline; if it is meant to live on, \
                     set `mode = \"stream\"`, else see what it waits for";
        (WarningCode::NeverEnds, words.to_owned())
    } else if timed_out && produced == 0 {
        let words = "it had printed nothing by its deadline; does it wait for input or a password (it \
                     has no terminal), for a slow answer (raise `timeout`), or does it buffer its \
                     output?";
        (WarningCode::Waits, words.to_owned())
    } else if produced == 0 && said.lines().any(is_record) {
        let words = "what looks like its records is on stderr; print them on stdout: without `>&2`, in \
                     Python without `file=sys.stderr`";
        (WarningCode::StderrOnly, words.to_owned())
    } else {
        return None;
    };
    Some(mistake.says(words))
}

/// The beginning of what a run printed.
fn head(stdout: &[u8]) -> String {
    String::from_utf8_lossy(&stdout[..stdout.len().min(HEAD)]).into_owned()
}

/// A carriage return inside what a shell could not find or read: `\r: not found`, `$'do\r'`.
fn has_dos_end(line: &str) -> bool {
    let line = line.trim_end();
    ["\r: not found", "\r': ", "\r\": ", "\\r': ", "\r: No such file", "\r: command not found"]
        .iter()
        .any(|end| line.contains(end))
        || line.ends_with("Illegal option -")
}

/// A document, and no log line that is one.
fn is_record(line: &str) -> bool {
    let line = line.trim();
    let log = ["\"level\"", "\"msg\"", "\"severity\"", "\"message\"", "\"ts\""];
    let braces = line.starts_with('{') && line.ends_with('}');
    let brackets = line.starts_with("[{") && line.ends_with("}]");
    (braces || brackets) && line.contains(':') && !log.iter().any(|key| line.contains(key))
}

fn asks_for_password(said: &str) -> bool {
    const SUDO: [&str; 8] = [
        "password is required",
        "a terminal is required",
        "no tty present",
        "askpass",
        "is not in the sudoers file",
        "you must have a tty",
        "unable to read password",
        "interactive authentication is required",
    ];
    said.lines().any(|line| {
        // Other languages keep some of the words: `Askpass-Hilfsprogramm`.
        let low = line.to_lowercase();
        let sudo = line.contains("sudo") && SUDO.iter().any(|words| low.contains(words));
        let others = [
            "su: Authentication failure",
            "su: must be run from a terminal",
            "doas: a tty is required",
        ];
        sudo || line.starts_with("[sudo] password")
            || others.iter().any(|words| line.contains(words))
    })
}

/// What `sudo` says where the kernel gives it no rights; other languages keep the flag's name.
fn is_held_down(line: &str) -> bool {
    line.starts_with("sudo: ") && line.contains("no new privileges")
}

/// The name of what shells, `env` and other languages say that they did not find.
fn missing_command(said: &str) -> Option<&str> {
    said.lines().find_map(|line| {
        let name = by_shell(line.trim_end()).or_else(|| by_others(line.trim_end()))?;
        let name = name.trim_matches(['\'', '"', '`', '\u{2018}', '\u{2019}']);
        (is_name(name) || name.split(' ').all(is_name)).then_some(name)
    })
}

/// `FILE: 2: NAME: not found`, `FILE: line 2: NAME: command not found`, `sh: NAME: not found`.
fn by_shell(line: &str) -> Option<&str> {
    const SHELLS: [&str; 6] = ["sh", "bash", "dash", "ash", "ksh", "zsh"];
    if let Some((_, name)) = line.split_once(": command not found: ") {
        return Some(name);
    }
    let (before, bash) = match line.strip_suffix(": command not found") {
        Some(before) => (before, true),
        None => (line.strip_suffix(": not found")?, false),
    };
    let (whence, name) = before.rsplit_once(": ")?;
    let whence = whence.strip_suffix(": exec").unwrap_or(whence);
    let number = whence.rsplit(": ").next()?.trim_start_matches("line ");
    let of_line = whence.contains(": ") && number.bytes().all(|b| b.is_ascii_digit());
    let shell = whence.rsplit('/').next().is_some_and(|word| SHELLS.contains(&word));
    (bash || of_line || shell).then_some(name)
}

/// As `env`, Python, Node and Ruby put it.
fn by_others(line: &str) -> Option<&str> {
    let gone = line.strip_suffix(": No such file or directory");
    if let Some((_, name)) = gone.and_then(|before| before.rsplit_once("env: ")) {
        return Some(name);
    }
    if let Some(name) =
        line.strip_prefix("FileNotFoundError: [Errno 2] No such file or directory: ")
    {
        return Some(name).filter(|name| !name.contains('/'));
    }
    if let Some((_, rest)) = line.split_once("spawn ") {
        return rest.strip_suffix(" ENOENT");
    }
    let (_, rest) = line.split_once("No such file or directory - ")?;
    rest.split(" (").next().filter(|name| !name.contains('/'))
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

/// As `printf` of the shells, and awk, say it of a number with a comma.
fn is_decimal_comma(line: &str) -> bool {
    let words = ["invalid number", "not completely converted", "expected numeric value"];
    let digits = |text: &str| {
        text.as_bytes()
            .windows(3)
            .any(|w| w[0].is_ascii_digit() && w[1] == b',' && w[2].is_ascii_digit())
    };
    line.contains("printf") && words.iter().any(|words| line.contains(words)) && digits(line)
}

/// What this host denies. Of a run that went well only where it is all that a line ends with: others
/// go on without what they may not see, and say so in passing.
fn is_denied(line: &str, unlucky: bool) -> bool {
    let line = line.trim_end();
    let here = !line.contains("(publickey") && !line.contains("remote");
    let words = ["Permission denied", "Operation not permitted", "permission denied"];
    let ends = words.iter().any(|words| line.ends_with(words));
    let has = line.contains("EACCES")
        || line.contains("[Errno 13]")
        || words.iter().any(|words| line.contains(words));
    here && (ends || unlucky && has)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_what_shells_and_interpreters_say() {
        for (said, command) in [
            ("/opt/x: 2: jqx: not found", Some("jqx")),
            ("/opt/x: line 2: jqx: command not found\n", Some("jqx")),
            ("/opt/x: 9: exec: jqx: not found", Some("jqx")),
            ("sh: jqx: not found", Some("jqx")),
            ("zsh:1: command not found: jqx", Some("jqx")),
            ("/usr/bin/env: 'node': No such file or directory", Some("node")),
            ("env: \u{2018}python3 -u\u{2019}: No such file or directory", Some("python3 -u")),
            (
                "Traceback …\nFileNotFoundError: [Errno 2] No such file or directory: 'smartctl'",
                Some("smartctl"),
            ),
            ("Error: spawn smartctl ENOENT", Some("smartctl")),
            (
                "x.rb:1:in '`': No such file or directory - smartctl (Errno::ENOENT)",
                Some("smartctl"),
            ),
            ("FileNotFoundError: [Errno 2] No such file or directory: '/etc/x'", None),
            ("cat: /x: No such file or directory", None),
            ("host db-1 not found", None),
            ("config: not found", None),
            ("WARNING: key: not found", None),
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
    fn what_only_looks_like_a_mistake_is_none() {
        assert!(is_denied("cat: /etc/shadow: Permission denied", false));
        assert!(is_denied("PermissionError: [Errno 13] Permission denied: '/x'", true));
        assert!(!is_denied("du: Permission denied here and there", false));
        assert!(!is_denied("you@db-1: Permission denied (publickey).", true));
        assert!(!is_denied("permission denied by the remote server", true));
        assert!(is_record("{\"a\": 1}") && is_record("[{\"name\": \"a\", \"value\": 1}]"));
        assert!(!is_record("{x") && !is_record("[1/3]"));
        assert!(!is_record("{\"level\":\"info\",\"msg\":\"started\"}"));
        assert!(asks_for_password("sudo: a password is required"));
        assert!(asks_for_password("[sudo] password for talaia: "));
        assert!(!asks_for_password("a password is required"));
        assert!(is_held_down("sudo: The \"no new privileges\" flag is set, which prevents …"));
        assert!(
            has_dos_end("./x: 2: \r: not found")
                && has_dos_end("x: line 3: $'do\\r': command not found")
        );
        assert!(has_dos_end("x: 2: set: Illegal option -\r"));
        assert!(!has_dos_end("  % Total\r  % Received\rcurl: not found"));
        assert!(is_decimal_comma("x: 2: printf: 0,42: not completely converted"));
        assert!(!is_decimal_comma("printf: abc: invalid number"));
    }
}
