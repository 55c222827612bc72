//! What shells and manual readers get: completions that know names, and a page for each command.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};

use rustix::fs::{CWD, Mode, mkfifoat};

use crate::pty::Pty;
use crate::support::{Site, finish, installed, skip};

/// A site whose config has two plugins and a package that is not there, and is broken besides.
fn site() -> Site {
    let site = Site::new();
    site.script("disk", "echo ran >>ran; echo '{}'");
    let plugins = "[plugins.disk]\ncommand = [\"./disk\"]\n[plugins.mail]\ncommand = [\"./none\"]\n\
        [packages.netstat]\nversion = \"0.1.0\"\n";
    site.configure(plugins);
    site
}

/// What every shell offers in this site, options apart, when a line ends here.
const NAMES: &[(&str, &[&str])] = &[
    ("talaia plugin show ", &["disk", "mail"]),
    ("talaia plugin remove ", &["disk", "mail"]),
    ("talaia trigger ", &["disk", "mail"]),
    ("talaia test ", &["disk", "mail"]),
    ("talaia status ", &["disk", "mail"]),
    ("talaia schema infer ", &["disk", "mail"]),
    ("talaia spool ls --plugin ", &["disk", "mail"]),
    ("talaia plugin enable ", &["disk", "mail", "netstat"]),
    ("talaia plugin upgrade ", &["netstat"]),
    ("talaia test d", &["disk"]),
    ("talaia test ./d", &["./disk"]),
    ("talaia plugin dis", &["disable"]),
    ("talaia explain name-h", &["name-hyphen"]),
    ("talaia explain name-", &["name-hyphen", "name-invalid", "name-missing"]),
    ("talaia new x --lang p", &["perl", "php", "python"]),
    ("talaia plugin show -c other.toml ", &["other"]),
    ("talaia plugin show --config=other.toml ", &["other"]),
    ("talaia plugin show -c ~/own.toml ", &["other"]),
    ("talaia plugin show -c other.t", &["other.toml"]),
];

/// A line whose words are options.
const OPTIONS: (&str, &str) = ("talaia plugin add --", "--interval");

/// Holds a shell to both; `offered` asks it.
fn completes(shell: &str, offered: impl Fn(&Site, &str) -> BTreeSet<String>) {
    if !installed(shell) {
        return skip(&format!("{shell} is not here"));
    }
    let site = site();
    site.write("other.toml", "[plugins.other]\ncommand = [\"./disk\"]\n", 0o644);
    fs::copy(site.path("other.toml"), site.path("home/own.toml")).unwrap();
    for (line, names) in NAMES {
        let words = offered(&site, line);
        let words: Vec<&String> = words.iter().filter(|word| !word.starts_with('-')).collect();
        assert_eq!(words, *names, "{line}");
    }
    let (line, option) = OPTIONS;
    assert!(offered(&site, line).contains(option), "{line}");
    assert!(!site.path("ran").exists());
}

/// What bash offers after this line.
fn bash(site: &Site, line: &str) -> BTreeSet<String> {
    let script = format!(
        "source <(talaia completions bash)\n\
         COMP_LINE={line:?}; COMP_POINT=${{#COMP_LINE}}; read -ra COMP_WORDS <<<\"$COMP_LINE\"\n\
         [[ $COMP_LINE == *' ' ]] && COMP_WORDS+=('')\n\
         COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); COMP_TYPE=9\n\
         function=$(complete -p talaia | sed 's/.*-F \\([^ ]*\\) .*/\\1/')\n\
         $function talaia \"${{COMP_WORDS[COMP_CWORD]}}\" ''\n\
         printf '%s\\n' \"${{COMPREPLY[@]}}\"\n"
    );
    let mut bash = site.shell("exec bash --norc -c \"$0\"");
    bash.arg(script).env("TALAIA_CONFIG_FILE", site.path("talaia.toml"));
    let done = finish(bash, b"");
    assert_eq!((done.code, done.stderr.as_str()), (0, ""), "{line}");
    done.stdout.lines().map(|word| word.trim_end().to_owned()).filter(|w| !w.is_empty()).collect()
}

/// What fish offers after this line: a word and, behind a tab, what it is.
fn fish(site: &Site, line: &str) -> BTreeSet<String> {
    let script = "talaia completions fish | source; complete -C $argv[1]";
    let mut fish = site.shell("exec fish --no-config -c \"$0\" -- \"$1\"");
    fish.args([script, line]).env("TALAIA_CONFIG_FILE", site.path("talaia.toml"));
    let done = finish(fish, b"");
    assert_eq!((done.code, done.stderr.as_str()), (0, ""), "{line}");
    done.stdout.lines().map(|word| word.split('\t').next().unwrap().to_owned()).collect()
}

/// What zsh offers after this line, by `setup` in its start-up file: in a terminal, with the tabulator.
fn zsh(site: &Site, line: &str, setup: &str) -> BTreeSet<String> {
    // What stands behind the line when the list is drawn.
    let done = "(done)";
    let rc = format!(
        "PS1='> '\nautoload -Uz compinit\n{setup}\n\
         answer() {{ zle expand-or-complete; zle -R; POSTDISPLAY='{done}' }}\n\
         zle -N answer; bindkey '^I' answer\n"
    );
    site.write("home/.zshrc", rc, 0o644);
    let mut zsh = site.shell("exec zsh -d -i +m");
    zsh.env("TALAIA_CONFIG_FILE", site.path("talaia.toml")).env("TERM", "xterm");
    let mut terminal = Pty::start(zsh, 200, 50);
    terminal.until("prompt", |screen| screen.lines().any(|line| line.trim_end() == ">"));
    terminal.press(&format!("{line}\t"));
    let screen = terminal.until("answer", |screen| screen.contains(done));
    let (_, screen) = screen.rsplit_once("> ").unwrap();
    let (typed, list) = screen.split_once(done).unwrap();
    // One that is without doubt is put in; others are listed, with what they are or in columns.
    if list.trim().is_empty() {
        return typed.split_whitespace().last().map(str::to_owned).into_iter().collect();
    }
    let words = list.lines().map(|line| line.split(" -- ").next().unwrap());
    words.flat_map(str::split_whitespace).map(str::to_owned).collect()
}

#[test]
fn bash_completes_names_without_running_anything() {
    completes("bash", bash);
    let site = site();
    let names = |line: &str| {
        let words = bash(&site, line);
        words.into_iter().filter(|word| !word.starts_with('-')).collect::<Vec<_>>()
    };
    // However much is wrong with the config, what can be read of it is offered, and nothing is said.
    let text = fs::read_to_string(site.path("talaia.toml")).unwrap();
    site.write(
        "talaia.toml",
        format!("{text}[plugins.third]\ninterval = \"soon\"\nx = 1\n"),
        0o644,
    );
    assert_eq!(names("talaia plugin show "), ["disk", "mail", "third"]);
    site.write("talaia.toml", "[plugins", 0o644);
    assert_eq!(names("talaia plugin show "), [""; 0]);
    site.write("other.toml", "[plugins.other]\ncommand = [\"./disk\"]\n", 0o644);
    // Bash makes three words of one with a `=`.
    assert_eq!(names("talaia plugin show --config = other.toml "), ["other"]);
    assert_eq!(names("talaia plugin show --config = other.t"), ["other.toml"]);
    mkfifoat(CWD, site.path("pipe"), Mode::from_raw_mode(0o644)).unwrap();
    assert_eq!(names("talaia plugin show -c pipe "), [""; 0]);
    let text = fs::read_to_string(site.path("other.toml")).unwrap();
    site.write("other.toml", format!("include = [\"pipe\"]\n{text}"), 0o644);
    assert_eq!(names("talaia plugin show -c other.toml "), ["other"]);
}

#[test]
fn fish_completes_the_same() {
    completes("fish", fish);
}

#[test]
fn zsh_completes_the_same() {
    let evaluated = "compinit -D -u; eval \"$(talaia completions zsh)\"";
    completes("zsh", |site, line| zsh(site, line, evaluated));
}

#[test]
fn zsh_completes_from_a_file_at_once() {
    if !installed("zsh") {
        return skip("zsh is not here");
    }
    let site = site();
    let script = site.talaia(&["completions", "zsh"]).code(0).stdout.clone();
    fs::create_dir(site.path("home/functions")).unwrap();
    site.write("home/functions/_talaia", script, 0o644);
    let setup = "fpath=(~/functions $fpath); compinit -D -u";
    let words = zsh(&site, "talaia explain name-h", setup);
    assert_eq!(words.into_iter().collect::<Vec<_>>(), ["name-hyphen"]);
}

#[test]
fn completions_are_scripts_of_their_shell() {
    let site = Site::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let text = site.talaia(&["completions", shell]).code(0).stdout.clone();
        assert!(text.contains("TALAIA_COMPLETE"), "{shell}");
        if !["bash", "zsh", "fish"].contains(&shell) {
            continue;
        }
        let file = site.write(&format!("completions.{shell}"), &text, 0o644);
        match Command::new(shell).arg("-n").arg(&file).status() {
            Ok(status) => assert!(status.success(), "{shell} cannot read its completions"),
            Err(_) => skip(&format!("{shell} is not here")),
        }
    }
}

/// Every command of a help text: the words of the list under `Commands:`.
fn commands(site: &Site, above: &[String], all: &mut BTreeSet<Vec<String>>) {
    let line: Vec<&str> = above.iter().map(String::as_str).chain(["--help"]).collect();
    let help = site.talaia(&line).code(0).stdout.clone();
    all.insert(above.to_vec());
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    for line in listed.take_while(|line| !line.is_empty()) {
        // A line that goes on is indented further.
        if let Some(word) = line.strip_prefix("  ").filter(|rest| !rest.starts_with(' ')) {
            let word = word.split_whitespace().next().unwrap().to_owned();
            commands(site, &[above, &[word]].concat(), all);
        }
    }
}

#[test]
fn every_command_has_a_page_that_renders() {
    let site = Site::new();
    site.talaia(&["man", "--dir", "man1"]).code(0);
    let mut all = BTreeSet::new();
    commands(&site, &[], &mut all);
    assert!(all.len() > 60, "{all:?}");
    let files: BTreeSet<String> = fs::read_dir(site.path("man1"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let name = |words: &Vec<String>| {
        let words: Vec<&str> =
            ["talaia"].into_iter().chain(words.iter().map(String::as_str)).collect();
        format!("{}.1", words.join("-"))
    };
    assert_eq!(files, all.iter().map(name).collect::<BTreeSet<_>>());
    for words in &all {
        let page = fs::read_to_string(site.path("man1").join(name(words))).unwrap();
        for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "SEE ALSO"] {
            assert!(
                page.contains(&format!(".SH {section}"))
                    || page.contains(&format!(".SH \"{section}\"")),
                "{words:?} has no {section}: {page}"
            );
        }
    }
    // One page, and all of them.
    let one = site.talaia(&["man", "plugin", "add"]).code(0).stdout.clone();
    assert_eq!(one, fs::read_to_string(site.path("man1/talaia-plugin-add.1")).unwrap());
    assert!(one.contains(".SH EXAMPLES"), "{one}");
    let whole = site.talaia(&["man"]).code(0).stdout.clone();
    assert_eq!(whole.matches("\n.TH ").count(), all.len());
    site.talaia(&["man", "nothing"]).code(2).says(&["no command `talaia nothing`"]);
    // What a page sends to is there.
    for words in &all {
        let page = fs::read_to_string(site.path("man1").join(name(words))).unwrap();
        let (_, also) = page.rsplit_once("SEE ALSO").unwrap();
        for other in also.replace("\\-", "-").split("(1)") {
            let other = other.trim().trim_start_matches("\\fR").trim_start_matches(',').trim();
            let other = other.trim_matches('"').trim();
            assert!(
                other.is_empty() || files.contains(&format!("{other}.1")),
                "{words:?}: {other}"
            );
        }
    }
    if Command::new("groff").arg("--version").stdout(Stdio::null()).status().is_err() {
        println!("groff is not here: the manual was not rendered");
        return;
    }
    for file in &files {
        let mut groff = site.shell("exec groff -man -Tutf8 -ww \"$0\"");
        groff.arg(site.path("man1").join(file));
        let done = finish(groff, b"");
        assert_eq!((done.code, done.stderr.as_str()), (0, ""), "{file}");
        assert!(done.stdout.contains("All well."), "{file}: {}", done.stdout);
    }
}
