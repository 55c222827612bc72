//! In what the service differs from the shell in which somebody tries a plugin.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::IsTerminal as _;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use crate::agent::status::Status;
use crate::agent::text_of;
use crate::cli::client;
use crate::cli::print::{FAINT, ODD, STRONG, paint};
use crate::cli::report::clean;
use crate::cli::text::wrap;
use crate::config::{Command, Config, Env, PluginConfig, find_on_path};
use crate::exec::accounts::{self, Account};

/// How long a running agent has to say who it is: a dry run does not wait for one that hangs.
const SOON: Duration = Duration::from_secs(2);
/// Variables and commands that are named.
const NAMED: usize = 12;

/// Whom the agent that is meant runs as.
pub(super) struct Service {
    account: Account,
    /// How that is known.
    because: String,
    /// The running agent's environment, where there is one and it may be read.
    env: Option<BTreeMap<String, String>>,
    /// The running agent.
    pid: Option<u32>,
}

impl Service {
    /// The running agent's user; else whose its data is; `None` where nothing says.
    pub(super) fn of(config: &Config) -> Option<Self> {
        let data_dir = &config.agent.data_dir;
        if let Ok(body) = client::send(data_dir, reqwest::Method::GET, "/v1/status", None, SOON)
            && let Ok(status) = serde_json::from_slice::<Status>(&body)
            && let Ok(process) = fs::metadata(format!("/proc/{}", status.agent.pid))
            && let Some(account) = accounts::user_of(process.uid())
        {
            let because = format!("the running agent, pid {}", status.agent.pid);
            return Some(Self {
                account,
                because,
                env: environ(status.agent.pid),
                pid: Some(status.agent.pid),
            });
        }
        let owner = fs::metadata(data_dir).ok()?.uid();
        let because = format!("whose {} is", data_dir.display());
        Some(Self { account: accounts::user_of(owner)?, because, env: None, pid: None })
    }

    /// Runs the plugin as the service would, where that takes another user and we may be one.
    pub(super) fn adopt(&self, plugin: &mut PluginConfig) {
        let me = rustix::process::geteuid();
        if me.is_root() && !is_root(&self.account) && plugin.confinement.user.is_none() {
            plugin.confinement.user = Some(self.account.name.clone());
        }
    }
}

/// What a process was started with.
fn environ(pid: u32) -> Option<BTreeMap<String, String>> {
    let bytes = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let pairs = bytes.split(|byte| *byte == 0).filter_map(|pair| {
        let (key, value) = std::str::from_utf8(pair).ok()?.split_once('=')?;
        Some((key.to_owned(), value.to_owned()))
    });
    Some(pairs.collect())
}

/// A line of a process's status.
fn status(process: &str, key: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    Some(line.trim().to_owned())
}

/// A process's soft limit.
fn limit(process: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{process}/limits")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next().map(str::to_owned)
}

fn is_root(account: &Account) -> bool {
    account.uid == 0
}

/// One line where the run at hand has another user than the service's would.
pub(super) fn note(service: &Service, plugin: &PluginConfig) -> Option<String> {
    let me = accounts::own()?;
    let other = plugin.confinement.user.is_none() && service.account.uid != me.uid;
    other.then(|| {
        format!(
            "it ran as {}, and the service is {} ({}); `--as-service` says what differs",
            me.name, service.account.name, service.because
        )
    })
}

/// Every difference that can be known, for a person.
pub(super) fn differences(
    service: Option<&Service>,
    plugin: &PluginConfig,
    env: &Env,
    width: usize,
) -> String {
    let mut rows = Vec::new();
    let mut row = |what: &'static str, shell: String, service: String, note: String| {
        rows.push(Row { what, shell, service, note });
    };
    let me = accounts::own();
    let runs_as = plugin.confinement.user.as_deref().and_then(accounts::user);
    let theirs = runs_as.as_ref().or(service.map(|service| &service.account)).or(me.as_ref());
    let name = |account: Option<&Account>| {
        account.map_or("?".to_owned(), |a| format!("{} ({})", a.name, a.uid))
    };
    let because = match (&plugin.confinement.user, service) {
        (Some(_), Some(service)) if runs_as.as_ref() == Some(&service.account) => {
            service.because.clone()
        }
        (Some(user), _) => format!("`user = \"{user}\"`"),
        (None, Some(service)) => service.because.clone(),
        (None, None) => "no agent has run here yet; taken to be you".to_owned(),
    };
    row("user", name(me.as_ref()), name(theirs), because);
    let groups = |account: Option<&Account>| {
        let named = account.map(|account| {
            let mut ids = accounts::groups_of(&account.name);
            ids.insert(0, account.gid);
            ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        });
        named.unwrap_or_else(|| "?".to_owned())
    };
    row("groups", groups(me.as_ref()), groups(theirs), "by number, its own first".to_owned());

    let given = |key: &str| plugin.env.get(key).map(|value| value.expose().to_owned());
    let mine = |key: &str| env.var(key).unwrap_or("unset").to_owned();
    let path = given("PATH").unwrap_or_default();
    let script = script(&plugin.command);
    let lost = lost(&script, env.var("PATH").unwrap_or_default(), &path);
    let note = if lost.is_empty() {
        String::new()
    } else {
        format!("not found by the service: {}", lost.join(", "))
    };
    let also = |a: &str, b: &str| {
        let besides: Vec<&str> = a.split(':').filter(|x| !b.split(':').any(|y| y == *x)).collect();
        let mut seen = BTreeSet::new();
        besides.into_iter().filter(|x| seen.insert(*x)).collect::<Vec<_>>().join(", ")
    };
    let shell = mine("PATH");
    match (also(&shell, &path), also(&path, &shell)) {
        (more, fewer) if more.is_empty() && fewer.is_empty() => {
            row("PATH", String::new(), String::new(), note);
        }
        (more, fewer) => {
            let say = |folders: String| {
                if folders.is_empty() {
                    "nothing more".to_owned()
                } else {
                    format!("also {folders}")
                }
            };
            row("PATH", say(more), say(fewer), note);
        }
    }
    let home =
        theirs.map_or_else(|| "unset".to_owned(), |account| account.home.display().to_string());
    row("HOME", mine("HOME"), given("HOME").unwrap_or(home), String::new());
    for key in ["LANG", "LC_ALL"] {
        let theirs = given(key).unwrap_or_else(|| "unset".to_owned());
        let comma = decimal_comma(&mine(key)) && !decimal_comma(&theirs);
        let note = if comma {
            "your shell prints numbers with a comma, the service with a point"
        } else {
            ""
        };
        row(key, mine(key), theirs, note.to_owned());
    }
    // What a plugin has of its agent's environment is that of this shell here.
    let inherited = |key: &str| {
        let value = given(key)?;
        if env.var(key) != Some(&value) {
            return Some(value);
        }
        service.and_then(|service| service.env.as_ref())?.get(key).cloned()
    };
    for key in ["TZ", "TMPDIR"] {
        row(key, mine(key), inherited(key).unwrap_or_else(|| "unset".to_owned()), String::new());
    }
    let told = ["PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR"];
    let passed: Vec<&str> = plugin
        .env
        .keys()
        .map(String::as_str)
        .filter(|key| {
            !told.contains(key) && env.vars.contains_key(*key) && inherited(key).is_none()
        })
        .collect();
    if !passed.is_empty() {
        let note = "the agent passes on what it has itself: set them in its unit".to_owned();
        row("passed on", some(&passed), "perhaps unset".to_owned(), note);
    }
    row(
        "folder",
        env.cwd.display().to_string(),
        plugin.command.dir.display().to_string(),
        String::new(),
    );
    row("stdin", "your terminal".to_owned(), "its settings, as a file".to_owned(), String::new());
    let terminal = if std::io::stdin().is_terminal() { "yes" } else { "none" };
    row(
        "terminal",
        terminal.to_owned(),
        "none".to_owned(),
        "nothing can be asked for: no passwords, no `read`".to_owned(),
    );
    for (what, note) in
        [("Umask", ""), ("NoNewPrivs", "with 1, sudo and setuid programs give nothing")]
    {
        if let Some(pid) = service.and_then(|service| service.pid)
            && let (Some(own), Some(theirs)) =
                (status("self", what), status(&pid.to_string(), what))
        {
            row(what, own, theirs, note.to_owned());
        }
    }
    if let Some(pid) = service.and_then(|service| service.pid) {
        for (what, name) in [("open files", "Max open files"), ("processes", "Max processes")] {
            if let (Some(own), Some(theirs)) = (limit("self", name), limit(&pid.to_string(), name))
            {
                row(what, own, theirs, String::new());
            }
        }
        let view = |process: &str| fs::read_link(format!("/proc/{process}/ns/mnt")).ok();
        if let (Some(own), Some(theirs)) = (view("self"), view(&pid.to_string()))
            && own != theirs
        {
            let note = "another /tmp, and folders that are hidden or read-only: PrivateTmp, ProtectHome … \
                        of its unit";
            row("files", "all".to_owned(), "a view of its own".to_owned(), note.to_owned());
        }
    }
    let kept = |key: &str| {
        plugin.env.contains_key(key)
            || ["HOME", "USER", "PWD", "OLDPWD", "SHLVL", "_"].contains(&key)
    };
    let gone: Vec<&str> = env.vars.keys().map(String::as_str).filter(|key| !kept(key)).collect();
    let used: Vec<&str> = gone.iter().copied().filter(|key| names_variable(&script, key)).collect();
    let note = if used.is_empty() {
        String::new()
    } else {
        format!("the program names {}: set `env` or `pass_env`", some(&used))
    };
    row("variables", format!("{} more", gone.len()), "none of them".to_owned(), note);
    write(&rows, width)
}

struct Row {
    what: &'static str,
    shell: String,
    service: String,
    note: String,
}

/// Rows that say the same on both sides are told together.
fn write(rows: &[Row], width: usize) -> String {
    let mut text = vec![paint(STRONG, "your shell and the service")];
    // Whom it runs as is said in any case, with how that is known.
    let (same, other): (Vec<&Row>, Vec<&Row>) =
        rows.iter().partition(|row| row.shell == row.service && row.what != "user");
    for row in other {
        let head = format!("{:<10}", row.what);
        for (nth, (who, value)) in
            [("shell", &row.shell), ("service", &row.service)].iter().enumerate()
        {
            let label = if nth == 0 { paint(STRONG, &head) } else { " ".repeat(10) };
            let mut lines = wrap(&clean(value), width, 19);
            let first = lines.next().unwrap_or_default();
            text.push(format!(
                "{label}{} {}",
                paint(FAINT, format!("{who:<8}")),
                first.trim_start()
            ));
            text.extend(lines);
        }
        if !row.note.is_empty() {
            let lines = wrap(&format!("→ {}", clean(&row.note)), width, 19);
            text.extend(lines.map(|line| paint(ODD, line)));
        }
    }
    let same: Vec<&str> = same.iter().map(|row| row.what).collect();
    if !same.is_empty() {
        text.push(format!("{}{}", paint(STRONG, format!("{:<10}", "alike")), same.join(", ")));
    }
    text.iter().map(|line| line.trim_end()).collect::<Vec<_>>().join("\n")
}

fn some(names: &[&str]) -> String {
    let shown: Vec<String> =
        names.iter().take(NAMED).map(|name| format!("`{}`", clean(name))).collect();
    let more = names.len().saturating_sub(NAMED);
    if more > 0 { format!("{} and {more} more", shown.join(", ")) } else { shown.join(", ") }
}

/// Whether numbers are printed with a comma in this locale: in most languages but these.
fn decimal_comma(locale: &str) -> bool {
    let language = locale.split(['_', '.']).next().unwrap_or_default();
    language.len() == 2 && !["en", "ja", "zh", "ko", "he", "th"].contains(&language)
}

/// What keeps the shell from reading a script, wherever in it that stands.
pub(super) fn dos_lines(command: &Command) -> Option<PathBuf> {
    let is_dos = |path: &PathBuf| {
        let text = text_of(path);
        let first = text.lines().next().unwrap_or_default();
        first.starts_with("#!") && first.contains("sh") && text.contains("\r\n")
    };
    files(command).find(is_dos)
}

/// The files that a program may consist of.
fn files(command: &Command) -> impl Iterator<Item = PathBuf> + '_ {
    let arguments = command.args.iter().map(|arg| command.dir.join(arg));
    std::iter::once(command.program.clone()).chain(arguments)
}

/// The text of a program, where it is one.
fn script(command: &Command) -> String {
    let texts = files(command).map(|path| text_of(&path));
    std::iter::once(command.args.join("\n")).chain(texts).collect::<Vec<_>>().join("\n")
}

/// Words of a program that are commands for the shell at hand and not for the service.
fn lost(script: &str, mine: &str, theirs: &str) -> Vec<String> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || "_-.+".contains(c);
    let code =
        script.lines().filter(|line| !line.trim_start().starts_with('#') || line.starts_with("#!"));
    let words: BTreeSet<&str> = code
        .flat_map(|line| line.split(|c: char| !is_word(c)))
        .filter(|word| word.len() > 1 && word.starts_with(|c: char| c.is_ascii_alphabetic()))
        .collect();
    let lost = words.into_iter().filter_map(|word| {
        let there = find_on_path(word, mine)?;
        find_on_path(word, theirs).is_none().then(|| there.display().to_string())
    });
    lost.take(NAMED).collect()
}

/// Whether a program's text names a variable, in the ways of shells and of Python, Perl, Ruby, Node
/// and Go.
fn names_variable(script: &str, name: &str) -> bool {
    [
        format!("${name}"),
        format!("${{{name}"),
        format!("\"{name}\""),
        format!("'{name}'"),
        format!("env.{name}"),
        format!("ENV{{{name}}}"),
    ]
    .iter()
    .any(|words| {
        script.match_indices(words.as_str()).any(|(at, _)| {
            let next = script[at + words.len()..].chars().next();
            !next.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_')
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_found_where_a_program_names_them() {
        for (script, found) in [
            ("echo $DB_HOST", true),
            ("echo ${DB_HOST:-x}", true),
            ("os.environ[\"DB_HOST\"]", true),
            ("process.env.DB_HOST", true),
            ("$ENV{DB_HOST}", true),
            ("echo $DB_HOSTS", false),
            ("DB_HOST is set elsewhere", false),
        ] {
            assert_eq!(names_variable(script, "DB_HOST"), found, "{script}");
        }
    }

    #[test]
    fn a_command_that_only_the_shell_finds_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let tool = folder.path().join("mytool");
        std::os::unix::fs::symlink("/bin/sh", &tool).unwrap();
        let mine = format!("{}:/usr/bin:/bin", folder.path().display());
        let script = "#!/bin/sh\n# mytool is not run here\nsh -c true\n";
        assert!(lost(script, &mine, "/usr/bin:/bin").is_empty());
        let script = format!("{script}x=$(mytool --json | sh)\n");
        assert_eq!(lost(&script, &mine, "/usr/bin:/bin"), [tool.display().to_string()]);
    }

    #[test]
    fn languages_that_write_a_comma() {
        assert!(decimal_comma("de_DE.UTF-8") && decimal_comma("fr_FR"));
        assert!(!decimal_comma("en_US.UTF-8") && !decimal_comma("C") && !decimal_comma("C.UTF-8"));
        assert!(!decimal_comma("unset") && !decimal_comma("POSIX"));
    }
}
