//! The manual: one page for each command, made from what may be typed, so that none can be out of date.

use std::path::Path;

use clap::{Command, CommandFactory as _};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, italic, roman};

use crate::contract::explain::{self, Kind};

use super::args::Cli;
use super::examples;
use super::exit::{Exit, Failure};
use super::print;

const FILES: [(&str, &str); 5] = [
    ("/etc/talaia/talaia.toml", "The configuration, where root runs the agent."),
    (
        "~/.config/talaia/talaia.toml",
        "That of another user; $XDG_CONFIG_HOME goes before ~/.config.",
    ),
    (
        "plugins.d/*.toml",
        "Beside the configuration: read with it, one file for each installed package.",
    ),
    (
        "/var/lib/talaia",
        "Root's spool, plugin state, packages and hub, unless the configuration has a data_dir.",
    ),
    ("~/.local/state/talaia", "Those of another user; $XDG_STATE_HOME goes before ~/.local/state."),
];

const ENVIRONMENT: [(&str, &str); 5] = [
    ("TALAIA_CONFIG_FILE", "The configuration, where --config does not name one."),
    ("TALAIA_HUB", "The hub that commands talk to."),
    ("TALAIA_KEY", "Its key."),
    ("TALAIA_API_KEY, TALAIA_SECRET_KEY", "The account's two keys, where there is no TALAIA_KEY."),
    ("NO_COLOR", "Set to anything: no colours."),
];

/// All that may be typed, with examples at the end of each command's help.
pub(crate) fn command() -> Command {
    examples::EXAMPLES.iter().fold(Cli::command(), |command, (path, _)| {
        let words: Vec<&str> = path.split(' ').collect();
        with_examples(command, &words, path)
    })
}

fn with_examples(command: Command, words: &[&'static str], path: &'static str) -> Command {
    match words.split_first() {
        None => match examples::help(path) {
            Some(text) => command.after_help(text),
            None => command,
        },
        // Not every build has every command, and `mut_subcommand` makes what is not there.
        Some((first, _)) if command.find_subcommand(first).is_none() => command,
        Some((first, rest)) => command.mut_subcommand(first, |sub| with_examples(sub, rest, path)),
    }
}

/// `talaia man`: the page of a command, or all of them; into a folder, one file each.
pub(crate) fn run(words: &[String], folder: Option<&Path>) -> Result<Exit, Failure> {
    let mut top = command();
    top.build();
    let mut pages = Vec::new();
    collect(&top, &[], &mut pages);
    if let Some(folder) = folder {
        let failed = |e: std::io::Error| {
            Failure::new(Exit::Disk, format!("cannot write into {}: {e}", folder.display()))
        };
        std::fs::create_dir_all(folder).map_err(failed)?;
        for (path, command) in &pages {
            let page = page(&top, path, command)?;
            let file = folder.join(format!("{}.1", title(path)));
            crate::package::replace(&file, &page, 0o644).map_err(failed)?;
        }
        print::talk(format!(
            "{} in {}",
            print::count(pages.len() as u64, "page"),
            folder.display()
        ));
        return Ok(Exit::Ok);
    }
    let wanted = pages.iter().filter(|(path, _)| words.is_empty() || path == words);
    let wanted: Vec<_> = wanted.collect();
    if wanted.is_empty() {
        let text = format!("there is no command `talaia {}`; see `talaia --help`", words.join(" "));
        return Err(Failure::new(Exit::Usage, text));
    }
    for (path, command) in wanted {
        // A reader that went away has seen enough.
        if print::raw(&page(&top, path, command)?).is_err() {
            break;
        }
    }
    Ok(Exit::Ok)
}

/// A command and all below it, with the words that it is called by.
fn collect<'a>(command: &'a Command, path: &[String], pages: &mut Vec<(Vec<String>, &'a Command)>) {
    pages.push((path.to_vec(), command));
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        let path: Vec<String> = path.iter().cloned().chain([sub.get_name().to_owned()]).collect();
        collect(sub, &path, pages);
    }
}

/// The name of a page: `talaia-plugin-add`.
fn title(path: &[String]) -> String {
    std::iter::once("talaia").chain(path.iter().map(String::as_str)).collect::<Vec<_>>().join("-")
}

fn page(top: &Command, path: &[String], command: &Command) -> Result<Vec<u8>, Failure> {
    let title = title(path);
    let command = command.clone().display_name(&title);
    let source = format!("talaia {}", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone()).title(&title).source(source).manual("Talaia").date("");
    let mut text = Vec::new();
    let mut written = man
        .render_title(&mut text)
        .and_then(|()| man.render_name_section(&mut text))
        .and_then(|()| synopsis(command.clone()).to_writer(&mut text))
        .and_then(|()| man.render_description_section(&mut text))
        .and_then(|()| man.render_options_section(&mut text));
    if command.get_subcommands().any(|sub| !sub.is_hide_set()) {
        written = written.and_then(|()| man.render_subcommands_section(&mut text));
    }
    let mut roff = Roff::default();
    let shown = examples::of(&path.join(" "));
    if !shown.is_empty() {
        roff.control("SH", ["EXAMPLES"]);
        for (line, what) in shown {
            roff.control("TP", []);
            roff.text([bold(*line)]);
            roff.text([roman(*what)]);
        }
    }
    if path.is_empty() {
        for (head, entries) in [("FILES", FILES), ("ENVIRONMENT", ENVIRONMENT)] {
            roff.control("SH", [head]);
            for (name, what) in entries {
                roff.control("TP", []);
                roff.text([italic(name)]);
                roff.text([roman(what)]);
            }
        }
    }
    roff.control("SH", ["EXIT STATUS"]);
    for exit in explain::pages().iter().filter(|page| page.kind == Kind::Exit) {
        roff.control("TP", []);
        roff.text([bold(exit.code)]);
        roff.text([roman(format!("{}.", exit.summary()))]);
    }
    roff.control("SH", ["SEE ALSO"]);
    roff.text([roman(relatives(top, path).join(", "))]);
    written
        .and_then(|()| roff.to_writer(&mut text))
        .map_err(|e| Failure::from_error(Exit::Internal, &e))?;
    Ok(plain(&String::from_utf8_lossy(&text)).into_bytes())
}

/// As it is typed, in one line.
fn synopsis(mut command: Command) -> Roff {
    let usage = command.render_usage().to_string();
    let mut roff = Roff::default();
    roff.control("SH", ["SYNOPSIS"]);
    roff.text([bold(usage.strip_prefix("Usage: ").unwrap_or(&usage).trim())]);
    roff
}

/// The text in ASCII: without being told, troff reads nothing else.
fn plain(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        if c.is_ascii() {
            out.push(c);
        } else {
            out.push_str(&format!("\\[u{:04X}]", u32::from(c)));
        }
        out
    })
}

/// The pages of the command above, and of those beside.
fn relatives(top: &Command, path: &[String]) -> Vec<String> {
    let Some((own, above)) = path.split_last() else { return vec!["talaia-run(1)".to_owned()] };
    let parent = above.iter().try_fold(top, |command, word| command.find_subcommand(word));
    let beside = parent.into_iter().flat_map(Command::get_subcommands);
    let beside = beside.filter(|sub| !sub.is_hide_set() && sub.get_name() != own);
    let page = |words: &[String]| format!("{}(1)", title(words));
    let beside = beside.map(|sub| page(&[above, &[sub.get_name().to_owned()]].concat()));
    std::iter::once(page(above)).chain(beside).collect()
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a shell that splits a line ends at once")]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn every_example_can_be_typed() {
        for (n, (path, examples)) in examples::EXAMPLES.iter().enumerate() {
            let before = &examples::EXAMPLES[..n];
            assert!(before.iter().all(|(other, _)| other != path), "{path} is there twice");
            let words: Vec<&str> = path.split(' ').collect();
            let mut command = command();
            command.build();
            let found =
                words.iter().try_fold(&command, |command, word| command.find_subcommand(word));
            if cfg!(feature = "hub") {
                assert!(found.is_some(), "there is no command {path}");
            }
            for (line, _) in *examples {
                assert!(
                    line.starts_with(&format!("talaia {path}")),
                    "{line} is no example of {path}"
                );
                let script = format!("printf '%s\\n' {line}");
                let split =
                    std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
                let split = String::from_utf8(split.stdout).unwrap();
                if let Err(error) = Cli::try_parse_from(split.lines()) {
                    panic!("{line}: {error}");
                }
            }
        }
    }
}
