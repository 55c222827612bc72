//! Every code that people meet has a page, no other is made, and what the pages show is true.
//!
//! Examples of refused records are run in `judge`, of advice in `workbench/advice`, of a hub's answers in
//! `hub/explained`, all others here: by `talaia test`, by an agent, or as commands.
//!
//! `docs/codes.md` has the same pages: `TALAIA_BOOK=write cargo test --test it explained` writes it anew.

mod agent;
mod by_hand;
mod commands;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use talaia::contract::explain::{self, Kind, Page, Prints};
use talaia::model::RejectionCode;

use crate::pty::Pty;
use crate::support::Site;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The codes of one kind.
fn codes(kind: Kind) -> BTreeSet<String> {
    explain::pages().iter().filter(|p| p.kind == kind).map(|p| p.code.to_owned()).collect()
}

#[test]
fn every_code_has_a_page() {
    let pages = explain::pages();
    for kind in Kind::ALL {
        let own: Vec<&Page> = pages.iter().filter(|page| page.kind == kind).collect();
        assert!(own.len() > 3 && own.len() == codes(kind).len(), "{kind:?}");
    }
    assert_eq!(codes(Kind::Rejection).len(), RejectionCode::ALL.len());
    for page in &pages {
        let Page { code, meaning, fix, see, .. } = page;
        assert!(meaning.len() > 8 && meaning.ends_with(['.', '?']), "{code}: {meaning}");
        assert!(
            !fix.contains('\n') && (fix.is_empty() || fix.ends_with(['.', '?', '`', ')'])),
            "{code}: {fix}"
        );
        for other in *see {
            assert!(
                !explain::find(other).is_empty(),
                "{code} sends to {other}, which is not there"
            );
        }
        let summary = page.summary();
        assert!(summary.len() > 7 && !summary.ends_with('.'), "{code}: {summary}");
    }
}

/// Codes whose example is told in words alone: what brings them about takes a disk that is broken, another
/// version, or much time.
const TOLD: [(Kind, &str); 16] = [
    (Kind::Eviction, "damaged"),
    (Kind::Refusal, "too-large"),
    (Kind::Refusal, "refused"),
    (Kind::Problem, "form"),
    (Kind::Problem, "cut-short"),
    (Kind::Problem, "slow"),
    (Kind::Problem, "too-long"),
    (Kind::Problem, "busy"),
    (Kind::Problem, "store"),
    (Kind::Problem, "disk-full"),
    (Kind::Problem, "cloned"),
    (Kind::Problem, "full"),
    (Kind::Problem, "damaged"),
    (Kind::Problem, "registry-key"),
    (Kind::Standing, "silent"),
    (Kind::Exit, "70"),
];

/// Who runs an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Runner {
    /// A test of another subject.
    Other,
    /// `talaia test`.
    ByHand,
    /// An agent, at length.
    Agent,
    /// The shell, or it is at least a command that there is.
    Commands,
    /// Nobody.
    Told,
}

/// What `talaia test` does not show of a run, and a running agent does.
const OF_AGENTS: [(Kind, &str); 6] = [
    (Kind::Warning, "late"),
    (Kind::Warning, "unasked"),
    (Kind::Warning, "restart"),
    (Kind::Warning, "quarantine-cut"),
    (Kind::Warning, "rejections-cut"),
    (Kind::Outcome, "not_started"),
];

/// Who runs what a page shows; nothing where it shows neither wrong and right nor an example.
fn runner(page: &Page) -> Option<Runner> {
    let states = [Kind::Verdict, Kind::Plugin, Kind::Output, Kind::Standing];
    let of_agent = states.contains(&page.kind) || OF_AGENTS.contains(&(page.kind, page.code));
    match (page.wrong, page.right, page.example) {
        (Some(_), Some(_), None) => Some(match page.kind {
            Kind::Rejection | Kind::Advice | Kind::Problem => Runner::Other,
            _ if of_agent => Runner::Agent,
            _ => Runner::ByHand,
        }),
        (None, None, Some(example)) => Some(match example {
            plugin if plugin.starts_with("#!") && !of_agent => Runner::ByHand,
            plugin if plugin.starts_with("#!") => Runner::Agent,
            config if config.starts_with('[') => Runner::Agent,
            words if !words.contains("$ ") => Runner::Told,
            _ => Runner::Commands,
        }),
        _ => None,
    }
}

/// The pages whose examples somebody runs.
fn run_by(wanted: Runner) -> Vec<Page> {
    explain::pages().into_iter().filter(|page| runner(page) == Some(wanted)).collect()
}

/// The plugin of an example: itself, or a script that prints what it shows; of several runs, one after the other.
fn plugin(prints: Prints) -> Vec<u8> {
    let bytes = prints.bytes();
    if bytes.starts_with(b"#!") {
        return bytes;
    }
    let runs = match prints {
        Prints::Runs(runs) => runs.iter().map(|run| run.as_bytes().to_vec()).collect(),
        _ => vec![bytes],
    };
    let mut script =
        b"#!/bin/sh\ncd \"$TALAIA_STATE_DIR\" && echo >>runs || exit\ncase $(wc -l <runs) in\n"
            .to_vec();
    for (n, run) in (1..).zip(runs) {
        script.extend(format!("{n}) cat <<'EOT'\n").as_bytes());
        script.extend(run);
        script.extend(b"\nEOT\n;;\n");
    }
    script.extend(b"esac\n");
    script
}

/// The table of a plugin, with the settings that a page shows.
fn table(name: &str, settings: Option<&str>) -> String {
    let settings =
        settings.unwrap_or_default().replace("[metrics.", &format!("[plugins.{name}.metrics."));
    format!("[plugins.{name}]\ncommand = [\"./{name}\"]\n{settings}\n")
}

#[test]
fn every_page_has_an_example_and_few_are_told_alone() {
    for page in explain::pages() {
        let (kind, code) = (page.kind, page.code);
        assert!(runner(&page).is_some(), "{kind:?} {code} needs wrong and right, or an example");
        // A request's line cannot be broken.
        let is_wide = |text: &str| text.lines().any(|line| line.chars().count() > 76);
        let is_request = kind == Kind::Problem && page.right.is_some();
        let wide = page.blocks().find(|(_, text)| !is_request && is_wide(text));
        assert!(wide.is_none(), "{kind:?} {code}: {wide:?} does not fit a terminal");
    }
    let told = run_by(Runner::Told);
    let told: BTreeSet<(Kind, &str)> = told.iter().map(|page| (page.kind, page.code)).collect();
    assert_eq!(told, BTreeSet::from(TOLD));
}

#[test]
fn explain_shows_one_page_all_or_the_nearest() {
    let site = Site::new();
    let list = site.talaia(&["explain"]).code(0).stdout.clone();
    for kind in Kind::ALL {
        assert!(list.contains(kind.title()), "{list}");
    }
    let lines: Vec<&str> = list.lines().filter(|line| line.starts_with("  ")).collect();
    assert_eq!(lines.len(), explain::pages().len());
    for code in ["name-hyphen", "timed_out", "78", "no start", "plugin-key.revoke"] {
        let page = site.talaia(&["explain", code]).code(0).stdout.clone();
        assert!(page.starts_with(&format!("{code}   (")), "{page}");
    }
    let page = site.talaia(&["explain", "name-hyphen"]).stdout;
    assert!(
        page.contains("Wrong:\n\n    {\"disk-used\"")
            && page.contains("Right:\n\n    {\"disk_used\""),
        "{page}"
    );
    // A word of several kinds.
    let pages = site.talaia(&["explain", "refused"]).code(0).stdout.clone();
    assert_eq!(pages.matches("refused   (").count(), 4, "{pages}");
    let all = site.talaia(&["explain", "--json"]).code(0).stdout.clone();
    let all: Vec<Value> = all.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(all.len(), explain::pages().len());
    assert_eq!(all[1]["code"], "name-hyphen");
    assert_eq!(all[1]["right"], "{\"disk_used\": 71.2}");
    for (typed, meant) in [
        ("name-hyphn", "name-hyphen"),
        ("name_hyphen", "name-hyphen"),
        ("timed-out", "timed_out"),
        ("Not-JSON", "not-json"),
        ("crash-loop", "crash_loop"),
    ] {
        site.talaia(&["explain", typed]).code(2).says(&[&format!("did you mean `{meant}`?")]);
    }
    site.talaia(&["explain", "zzzzzzzz"]).code(2).says(&["there is no code", "lists them all"]);
}

#[test]
fn pages_and_their_list_fit_a_terminal() {
    const COLUMNS: usize = 80;
    let site = Site::new();
    let on_terminal = |words: &[&str], end: &str| {
        let mut terminal = Pty::start(site.command(words), 80, 24);
        terminal.until(end, |screen| screen.contains(end));
        assert_eq!(terminal.end(), 0);
        terminal.raw().lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>()
    };
    let is_wide = |line: &&str| line.chars().count() > COLUMNS;

    // An example is wider than the terminal, and is not broken; all else keeps its words.
    let whole = site.talaia(&["explain", "signature"]).code(0).stdout.clone();
    let shown = on_terminal(&["explain", "signature"], "See also: unauthorized").join("\n");
    assert!(whole.lines().filter(is_wide).count() > 3, "{whole}");
    let wide: Vec<&str> = shown.lines().filter(is_wide).collect();
    assert!(wide.len() == 2 && wide.iter().all(|line| line.starts_with("    Auth")), "{shown}");
    assert!(shown.split_whitespace().eq(whole.split_whitespace()), "{shown}");

    // In the list each code has its line, cut where it has to be. Headings are in colours.
    let whole = site.talaia(&["explain"]).code(0).stdout.clone();
    let shown = on_terminal(&["explain"], whole.lines().last().unwrap());
    let (mut cut, mut seen) = (0, 0);
    let own = |line: &&str| line.starts_with("  ");
    let lines = shown.iter().map(String::as_str).filter(own);
    for (line, whole) in lines.zip(whole.lines().filter(own)) {
        assert!(!is_wide(&line), "{line}");
        cut += usize::from(line != whole);
        assert!(
            line == whole || line.strip_suffix('…').is_some_and(|begin| whole.starts_with(begin)),
            "{line}"
        );
        seen += 1;
    }
    assert_eq!(seen, explain::pages().len());
    assert!(cut > 0);
}

/// Every source file below a folder, as `(path, text)`, without its tests.
fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned();
                found.push((path, text));
            }
        }
    }
    assert!(!found.is_empty());
    found
}

/// The text of the function that begins with `start`, up to the brace that ends it.
fn function<'a>(text: &'a str, start: &str) -> Option<&'a str> {
    let at = text.find(start)?;
    let line = text[..at].rsplit('\n').next().unwrap();
    let indent = line.len() - line.trim_start().len();
    let end = format!("\n{}}}\n", " ".repeat(indent));
    Some(text[at..].split_once(&end)?.0)
}

/// The words in quotes that follow `before`, which are single words or two.
fn words(text: &str, before: &[&str]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for before in before {
        for rest in text.split(before).skip(1) {
            if let Some(word) =
                rest.trim_start().strip_prefix('"').and_then(|r| r.split('"').next())
            {
                found.insert(word.to_owned());
            }
        }
    }
    found
}

#[test]
fn no_word_is_shown_that_is_not_in_the_lists() {
    let read = |file: &str| fs::read_to_string(root().join(file)).unwrap();
    let health = read("src/cli/health.rs");
    let before = ["(Care::Bad,", "(Care::Good,", "(Care::Odd,", "(Care::Idle,"];
    let mut verdicts = words(function(&health, "pub(crate) fn run(").unwrap(), &before);
    // How a plugin stands comes before how its last run went.
    let standings = words(function(&health, "pub(crate) fn plugin(").unwrap(), &before);
    verdicts.extend(standings.difference(&codes(Kind::Plugin)).cloned());
    assert_eq!(verdicts, codes(Kind::Verdict));

    let status = read("src/agent/status.rs");
    let plugin = read("src/agent/plugin.rs");
    let mut states = BTreeSet::new();
    for (text, start) in [(&status, "pub(super) fn state("), (&plugin, "fn state(")] {
        let body = function(text, start).unwrap_or_else(|| panic!("there is no {start}"));
        states.extend(words(body, &["return (", "=> (", "\n        ("]));
    }
    states.extend(words(&status, &["== SELF_PLUGIN {", "} else {"]));
    assert_eq!(states, codes(Kind::Plugin));

    let outputs = read("src/agent/outputs.rs");
    let mut states =
        words(&outputs, &["Condition::Ok =>", "Condition::Retry =>", "Condition::Hold =>"]);
    states.extend(words(&status, &["OutputStatus { state:"]));
    assert_eq!(states, codes(Kind::Output));

    for (file, start, kind) in [
        ("src/hub/web/standing.rs", "fn word(", Kind::Standing),
        ("src/hub/registry/mod.rs", "fn as_str(", Kind::Version),
        ("src/hub/keys.rs", "fn as_str(", Kind::Key),
    ] {
        let text = read(file);
        let body = function(&text, start).unwrap_or_else(|| panic!("{file} has no {start}"));
        assert_eq!(words(body, &["=> "]), codes(kind), "{file}");
    }
    let shown = words(&read("src/cli/schema/diff.rs"), &["line(GOOD,", "line(BAD,", "line(ODD,"]);
    let shown: BTreeSet<String> = shown.into_iter().filter(|word| !word.is_empty()).collect();
    assert_eq!(shown, codes(Kind::Diff));
}

/// What looks like a code, written out where one is made: all come from the closed lists.
#[test]
fn no_code_is_written_out_where_it_is_made() {
    let kebab = |word: &str| {
        !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c == '-' || c == '.')
    };
    for (path, text) in
        ["src/agent", "src/contract", "src/deliver", "src/hub"].map(sources).concat()
    {
        if path.starts_with(root().join("src/contract/explain")) {
            continue;
        }
        let shown = path.display();
        // A code of a refusal, an answer or an entry of the audit log.
        for before in ["code: ", "Problem::new(\n", "no_key(\n", "audit::write("] {
            for rest in text.split(before).skip(1) {
                let first = rest.trim_start().strip_prefix('"').and_then(|r| r.split('"').next());
                assert!(!first.is_some_and(kebab), "{shown}: {before}{first:?}");
            }
        }
        // A warning with a code that is a part of its text.
        for rest in text.split("warn").skip(1) {
            let argument: String = rest.chars().take(120).collect();
            let Some(literal) = argument.split_once("format!(").map(|(_, rest)| rest.trim_start())
            else {
                continue;
            };
            let code =
                literal.strip_prefix('"').and_then(|r| r.split_once(": ")).map(|(code, _)| code);
            assert!(!code.is_some_and(kebab), "{shown}: {code:?}");
        }
    }
}

/// The page of the book.
fn book() -> String {
    let mut page = "# Codes\n\nWords that a program can rely on, and a person can look up. `talaia explain CODE` shows the same, \
        `talaia explain --json` gives it to a program, and a hub's pages link to it. The lists are closed: nothing else is ever \
        printed in their places.\n\n<!-- made from src/contract/explain: TALAIA_BOOK=write cargo test --test it explained -->\n"
        .to_owned();
    let cell = |text: &str| text.replace('|', "\\|");
    for kind in Kind::ALL {
        page.push_str(&format!("\n## {}\n\nWhere: {}.\n", kind.title(), kind.place()));
        let pages: Vec<Page> = explain::pages().into_iter().filter(|p| p.kind == kind).collect();
        let line = |page: &Page| page.example.filter(|example| !example.contains('\n'));
        if pages.iter().all(|page| line(page).is_some()) {
            let has_fix = pages.iter().any(|page| !page.fix.is_empty());
            let (head, rule) = if has_fix { (" what to do |", "---|") } else { ("", "") };
            page.push_str(&format!(
                "\n| code | what it means | example |{head}\n|---|---|---|{rule}\n"
            ));
            for own in pages {
                let example = line(&own).unwrap();
                let command = example.strip_prefix("$ ");
                let example = command.map_or(cell(example), |command| format!("`{command}`"));
                let fix = if has_fix { format!(" {} |", cell(own.fix)) } else { String::new() };
                page.push_str(&format!(
                    "| `{}` | {} | {example} |{fix}\n",
                    own.code,
                    cell(own.meaning)
                ));
            }
            continue;
        }
        for own in pages {
            let Page { code, meaning, fix, see, .. } = own;
            page.push_str(&format!("\n### `{code}`\n\n{meaning}\n"));
            for (head, text) in own.blocks() {
                page.push_str(&format!("\n{head}:\n\n```text\n{text}\n```\n"));
            }
            if !fix.is_empty() {
                page.push_str(&format!("\n{fix}\n"));
            }
            if !see.is_empty() {
                let see: Vec<String> = see.iter().map(|code| format!("`{code}`")).collect();
                page.push_str(&format!("\nSee also: {}\n", see.join(", ")));
            }
        }
    }
    page.push_str("\nNext in [the book](README.md): [configuration](config.md).\n");
    page
}

#[test]
fn the_page_of_codes_is_current() {
    let path = root().join("docs/codes.md");
    let wanted = book();
    if std::env::var("TALAIA_BOOK").is_ok_and(|value| value == "write") {
        fs::write(&path, &wanted).unwrap();
        return;
    }
    let page = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        page == wanted,
        "docs/codes.md is not what the program says; write it anew with \
         `TALAIA_BOOK=write cargo test --test it explained`"
    );
}
