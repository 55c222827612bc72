//! Everything that the README and the pages of `docs/` show is true: the commands are run, in the
//! order of the page, in a folder of the page's own, by somebody who is not root.
//!
//! What a fenced block means is said by its first line:
//!
//! - ` ```sh `: run by `sh -e`; it must end well.
//! - ` ```console `: a transcript. A line with `$ ` is run; what follows is what it prints, stdout
//!   and stderr together. Numbers and identifiers are compared by their shape alone, a line `...`
//!   stands for any lines, ` ...` at the end of one for the rest of it, and a last line `[exit N]` is
//!   the exit code where it is not 0.
//! - ` ```toml ` and ` ```json `: with `file=NAME` behind it, it is written to that file. TOML is a
//!   config that loads, JSON a sequence of JSON values.
//! - ` ```text `: nothing.
//!
//! A line that begins with `talaia run` or `talaia hub` is started, awaited until it has printed what
//! the page says, and ended at the end of the page. Servers listen on ports of the system's choice,
//! by a wrapper around the program. Lines in [`NOT_RUN`] are not run at all.
//!
//! The tables of `docs/config.md` are made from the schema: `TALAIA_BOOK=write cargo test --test it
//! book` writes them anew.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::{Map, Value};

use crate::support::{PATIENCE, Site, skip};

/// Lines that change the machine, or build this very program.
const NOT_RUN: &[&str] = &[
    "cargo run --release -- run --config examples/talaia.toml",
    "cargo test",
    "cargo install --path .",
    "cargo bench --bench agent",
    "cargo bench --bench decode",
    "cargo bench --bench ingest",
    "cargo bench --bench launch",
    "cargo bench --bench spool",
    "TALAIA_CHAOS_ROUNDS=1000 cargo test",
    "TALAIA_CHAOS_SEED=",
    "TALAIA_FUZZ_SECONDS=",
    "sudo ",
];

#[derive(Debug)]
struct Block {
    line: usize,
    kind: String,
    file: Option<String>,
    text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn blocks(markdown: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = markdown.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let Some(info) = line.strip_prefix("```") else { continue };
        let mut words = info.split_whitespace();
        let kind = words.next().unwrap_or_default().to_owned();
        let file = words.find_map(|word| word.strip_prefix("file=")).map(str::to_owned);
        let mut text = String::new();
        for (_, line) in lines.by_ref().take_while(|(_, line)| *line != "```") {
            text.push_str(line);
            text.push('\n');
        }
        blocks.push(Block { line: number + 1, kind, file, text });
    }
    blocks
}

/// Runs a page.
struct Page {
    name: &'static str,
    site: Site,
    /// Logs of what was started, so far.
    started: Vec<(u32, String)>,
}

impl Page {
    fn run(name: &'static str) {
        let text = fs::read_to_string(root().join(name)).unwrap();
        for tool in ["curl", "jq"] {
            if text.contains(&format!("{tool} ")) && !installed(tool) {
                return skip(&format!("{name}: there is no {tool} here"));
            }
        }
        let site = Site::of_ordinary_user();
        fs::create_dir(site.path("tools")).unwrap();
        let program = if site.path("bin/talaia").exists() {
            site.path("bin/talaia")
        } else {
            PathBuf::from(env!("CARGO_BIN_EXE_talaia"))
        };
        let wrapper = format!(
            "#!/bin/sh\n\
             case \"$1 $2\" in\n\
             'hub login'|'hub account'|'hub backup'|'hub restore'|'hub verify'|'hub export') ;;\n\
             run\\ * | hub\\ *) command=$1; shift; set -- \"$command\" --listen 127.0.0.1:0 \"$@\" ;;\n\
             esac\n\
             exec '{}' \"$@\"\n",
            program.display()
        );
        site.write("tools/talaia", wrapper, 0o755);
        let mut page = Self { name, site, started: Vec::new() };
        for block in blocks(&text) {
            page.block(&block);
        }
        for (pid, log) in std::mem::take(&mut page.started) {
            let ended = page.site.stop(pid);
            assert!(ended.success(), "{name}: {ended}:\n{}", page.site.read(&log));
        }
    }

    fn block(&mut self, block: &Block) {
        let at = format!("{}:{}", self.name, block.line);
        if let Some(file) = &block.file {
            self.site.write(file, &block.text, 0o644);
        }
        match block.kind.as_str() {
            "sh" => self.script(&at, &block.text),
            "console" => self.transcript(&at, &block.text),
            "toml" => self.config(&at, block),
            "json" => {
                for value in serde_json::Deserializer::from_str(&block.text).into_iter::<Value>() {
                    value.unwrap_or_else(|e| panic!("{at}: {e}"));
                }
            }
            "text" => {}
            other => panic!("{at}: a block of kind `{other}` is not known to this test"),
        }
    }

    fn script(&mut self, at: &str, text: &str) {
        let mut script = String::new();
        for line in text.lines() {
            if is_exempt(line) {
                continue;
            }
            if lives_on(line) {
                self.finish_script(at, &std::mem::take(&mut script));
                self.start(at, line, &["..."]);
            } else {
                script.push_str(line);
                script.push('\n');
            }
        }
        self.finish_script(at, &script);
    }

    fn finish_script(&self, at: &str, script: &str) {
        let (code, said) = self.shell(&format!("set -e\n{script}"));
        assert_eq!(code, 0, "{at}: {script}\n{said}");
    }

    /// Exit code, and stdout and stderr as a terminal shows them.
    fn shell(&self, script: &str) -> (i32, String) {
        let path = self.site.path("said");
        let file = || fs::File::options().append(true).open(&path).unwrap();
        fs::File::create(&path).unwrap();
        let status = self.site.shell(script).stdout(file()).stderr(file()).status().unwrap();
        (status.code().unwrap_or(-1), fs::read_to_string(&path).unwrap())
    }

    fn transcript(&mut self, at: &str, text: &str) {
        let mut steps: Vec<(String, Vec<&str>)> = Vec::new();
        for line in text.lines() {
            if let Some(command) = line.strip_prefix("$ ") {
                steps.push((command.to_owned(), Vec::new()));
            } else {
                let step = steps.last_mut();
                step.unwrap_or_else(|| panic!("{at}: no `$ ` before `{line}`")).1.push(line);
            }
        }
        for (command, mut wanted) in steps {
            if is_exempt(&command) {
                continue;
            }
            if lives_on(&command) {
                self.start(at, &command, &wanted);
                continue;
            }
            let code = wanted.last().and_then(|line| exit_code(line));
            if code.is_some() {
                wanted.pop();
            }
            let (came, said) = self.shell(&command);
            assert_eq!(came, code.unwrap_or(0), "{at}: `{command}` said\n{said}");
            let lines: Vec<&str> = said.lines().collect();
            assert!(
                fits(&wanted, &lines),
                "{at}: `{command}` says\n{said}\nand not\n{}",
                wanted.join("\n")
            );
        }
    }

    fn start(&mut self, at: &str, line: &str, wanted: &[&str]) {
        let log = format!("page-{}.log", self.started.len());
        let pid = self.site.start(self.site.shell(&format!("exec {line}")), &log);
        self.started.push((pid, log.clone()));
        let start = Instant::now();
        loop {
            let said = self.site.read(&log);
            let lines: Vec<&str> = said.lines().collect();
            // It goes on: more lines may follow.
            let open: Vec<&str> = wanted.iter().copied().chain(["..."]).collect();
            let listens = wanted != ["..."] || said.contains("http://127.0.0.1:");
            if listens && fits(&open, &lines) {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "{at}: `{line}` said\n{said}");
            std::thread::sleep(std::time::Duration::from_millis(25));
        }
    }

    fn config(&self, at: &str, block: &Block) {
        let file = block.file.as_deref().unwrap_or("snippet.toml");
        // What a snippet expects in /etc is in the site.
        let etc = self.site.path("etc");
        fs::create_dir_all(&etc).unwrap();
        self.site.write("etc/key", "a-key", 0o600);
        let text = block.text.replace("/etc/talaia", &etc.display().to_string());
        self.site.write(file, text, 0o644);
        let done = self.site.talaia(&["check", "--config", file]);
        // 1: a program that the snippet names is not on this machine.
        assert!(done.code == 0 || done.code == 1, "{at}: {}", done.stderr);
        if block.file.is_none() {
            fs::remove_file(self.site.path(file)).unwrap();
        }
    }
}

fn is_exempt(line: &str) -> bool {
    NOT_RUN.iter().any(|start| line.starts_with(start))
}

fn lives_on(line: &str) -> bool {
    let work = ["login", "account", "backup", "restore", "verify", "export"];
    let works = |line: &str| {
        let word = line.strip_prefix("talaia hub ").and_then(|rest| rest.split(' ').next());
        word.is_some_and(|word| work.contains(&word))
    };
    (line.starts_with("talaia run ") || line.starts_with("talaia hub")) && !works(line)
}

fn exit_code(line: &str) -> Option<i32> {
    line.strip_prefix("[exit ")?.strip_suffix(']')?.parse().ok()
}

/// Whether a tool is where the pages' commands look for it.
fn installed(tool: &str) -> bool {
    ["/usr/bin", "/bin"].iter().any(|dir| Path::new(dir).join(tool).exists())
}

/// Whether `lines` are what is wanted; `...` stands for any number of lines.
fn fits(wanted: &[&str], lines: &[&str]) -> bool {
    match wanted.split_first() {
        None => lines.is_empty(),
        Some((&"...", rest)) => (0..=lines.len()).any(|skip| fits(rest, &lines[skip..])),
        Some((first, rest)) => lines
            .split_first()
            .is_some_and(|(line, others)| fits_line(first, line) && fits(rest, others)),
    }
}

fn fits_line(wanted: &str, line: &str) -> bool {
    match wanted.strip_suffix(" ...") {
        Some(start) => shape(line).starts_with(&shape(start)),
        None => shape(wanted) == shape(line),
    }
}

/// A line without what differs from run to run: numbers, identifiers, units of measured times and
/// sizes, and how many spaces there are.
fn shape(line: &str) -> String {
    let mut words = Vec::new();
    for word in line.split_whitespace() {
        let mut shaped = String::new();
        let mut chunk = String::new();
        for c in word.chars().chain(['\0']) {
            if c.is_ascii_hexdigit()
                || (c == '.' && !chunk.is_empty())
                || (c == '-' && !chunk.is_empty())
            {
                chunk.push(c);
                continue;
            }
            // Text such as `add` has hexadecimal digits only; what has a number in it is one.
            if chunk.chars().any(|c| c.is_ascii_digit()) {
                shaped.push('N');
                shaped.extend(chunk.chars().rev().take_while(|c| *c == '.'));
            } else {
                shaped.push_str(&chunk);
            }
            chunk.clear();
            if c != '\0' {
                shaped.push(c);
            }
        }
        let after_number = words.last().is_some_and(|last: &String| last.ends_with('N'));
        let bare = shaped.trim_end_matches([',', ')', ';']);
        if after_number && ["µs", "ms", "s", "B", "kB", "MB"].contains(&bare) {
            shaped = format!("unit{}", &shaped[bare.len()..]);
        }
        words.push(shaped);
    }
    words.join(" ")
}

#[test]
fn shapes_leave_words_and_drop_measurements() {
    assert_eq!(
        shape("  time     4 ms (CPU 945 µs), memory 26.0 MB"),
        shape("time 1.20 s (CPU 5 ms), memory 900 kB")
    );
    assert_eq!(shape("run 0192f0c1-aaaa, exit 1"), "run N, exit N");
    assert_eq!(shape("added come; 1 untouched"), "added come; N untouched");
    assert!(fits(&["a", "...", "b 1"], &["a", "x", "y", "b 2"]));
    assert!(!fits(&["a", "...", "b"], &["a", "x"]));
    assert!(!fits(&["a"], &["a", "b"]));
}

#[test]
fn the_readme() {
    Page::run("README.md");
}

#[test]
fn the_tutorial() {
    Page::run("docs/tutorial.md");
}

#[test]
fn the_protocol() {
    Page::run("docs/protocol.md");
}

#[test]
fn the_codes() {
    Page::run("docs/codes.md");
}

#[test]
fn the_config_reference() {
    Page::run("docs/config.md");
}

#[test]
fn operations() {
    Page::run("docs/operations.md");
}

#[test]
fn the_hub_api() {
    Page::run("docs/hub-api.md");
}

#[test]
fn monitors() {
    Page::run("docs/monitors.md");
}

#[test]
fn packages() {
    Page::run("docs/packages.md");
}

#[test]
fn pages() {
    Page::run("docs/pages.md");
}

#[test]
fn reliability() {
    Page::run("docs/reliability.md");
}

#[test]
fn old_clients() {
    Page::run("docs/old-clients.md");
}

#[test]
fn the_seeds() {
    Page::run("docs/seeds.md");
}

/// `name.rs::test` between backquotes, without a folder in `tests/it`.
fn named_tests(page: &str) -> impl Iterator<Item = (&str, &str)> {
    let spans = page.split('`').skip(1).step_by(2);
    spans.filter_map(|span| span.split_once(".rs::"))
}

/// Whether a file has a test of that name, and not only a function or a word.
fn has_test(text: &str, name: &str) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let declared = [format!("fn {name}("), format!("async fn {name}(")];
    let at = lines.iter().position(|line| declared.iter().any(|start| line.starts_with(start)));
    let Some(at) = at else { return false };
    let before = lines[..at].iter().rev().take_while(|line| line.starts_with("#["));
    before.into_iter().any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
}

#[test]
fn every_test_that_a_page_names_exists() {
    let docs = fs::read_dir(root().join("docs")).unwrap();
    let (mut named, mut missing) = (0, Vec::new());
    for page in docs.map(|entry| entry.unwrap().path()) {
        let text = fs::read_to_string(&page).unwrap();
        for (file, test) in named_tests(&text) {
            let folder = if file.starts_with("src/") { "" } else { "tests/it" };
            let path = root().join(folder).join(format!("{file}.rs"));
            let source = fs::read_to_string(&path).unwrap_or_default();
            if !has_test(&source, test) {
                missing.push(format!("{}: {file}.rs::{test}", page.display()));
            }
            named += 1;
        }
    }
    assert!(missing.is_empty(), "there are no such tests: {missing:#?}");
    assert!(named > 100, "{named} tests are named");
    let here = include_str!("book.rs");
    assert!(has_test(here, "reliability") && !has_test(here, "has_test"));
}

#[test]
fn every_complaint_has_its_test_or_the_reason_why_not() {
    let text = fs::read_to_string(root().join("docs/reliability.md")).unwrap();
    for number in 1..=46 {
        let start = format!("| {number} | ");
        let row = text.lines().find(|line| line.starts_with(&start));
        let row = row.unwrap_or_else(|| panic!("there is no complaint {number}"));
        let answered = named_tests(row).next().is_some() || row.contains("| Not ours: ");
        assert!(answered, "{row}");
    }
}

#[test]
fn every_row_of_the_seeds_is_answered() {
    let text = fs::read_to_string(root().join("docs/seeds.md")).unwrap();
    for (letter, last) in [('S', 36), ('M', 40)] {
        for number in 1..=last {
            let start = format!("| {letter}{number} | ");
            let row = text.lines().find(|line| line.starts_with(&start));
            let row = row.unwrap_or_else(|| panic!("there is no row {letter}{number}"));
            let later = row.contains("to come") || row.contains("not ours");
            assert!(later || named_tests(row).next().is_some(), "{row}");
        }
    }
}

#[test]
fn every_page_is_run_and_every_link_leads_somewhere() {
    let here = include_str!("book.rs");
    let docs = fs::read_dir(root().join("docs")).unwrap();
    let pages = docs.map(|entry| entry.unwrap().path()).chain([root().join("README.md")]);
    for page in pages.filter(|path| path.extension().is_some_and(|e| e == "md")) {
        let relative = page.strip_prefix(root()).unwrap().display().to_string();
        assert!(here.contains(&format!("Page::run(\"{relative}\")")), "{relative} is not run");
        let text = fs::read_to_string(&page).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.starts_with("http") || link.starts_with('#') {
                continue;
            }
            let target = page.parent().unwrap().join(link.split('#').next().unwrap());
            assert!(target.exists(), "{relative}: {link} leads nowhere");
        }
    }
}

#[test]
fn every_code_and_exit_code_is_in_the_book() {
    let protocol = fs::read_to_string(root().join("docs/protocol.md")).unwrap();
    for code in talaia::model::RejectionCode::ALL {
        let row = format!("| `{}` |", code.as_str());
        assert!(protocol.contains(&row), "protocol.md has no row for {}", code.as_str());
    }
    let rows = protocol.lines().filter(|line| line.starts_with("| `")).count();
    assert!(rows >= talaia::model::RejectionCode::ALL.len());
    let operations = fs::read_to_string(root().join("docs/operations.md")).unwrap();
    for code in [0, 1, 2, 65, 69, 70, 74, 78] {
        assert!(
            operations.contains(&format!("| {code} |")),
            "operations.md has no exit code {code}"
        );
    }
}

const BEGIN: &str = "<!-- made from schemas/config.v1.json -->\n";
const END: &str = "<!-- end -->\n";

#[test]
fn the_tables_of_the_config_reference_are_those_of_the_schema() {
    let schema = talaia::config::schema();
    let path = root().join("docs/config.md");
    let page = fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let wanted = format!("{before}{BEGIN}{}{END}{after}", tables(&schema));
    let write = std::env::var("TALAIA_BOOK").is_ok_and(|value| value == "write");
    if write {
        fs::write(&path, &wanted).unwrap();
        return;
    }
    assert!(
        page == wanted,
        "docs/config.md is not what the schema says; write it anew with \
         `TALAIA_BOOK=write cargo test --test it book`"
    );
}

/// Sections of a config, in the order of the page, and what they are called in the schema.
const SECTIONS: &[(&str, &str)] = &[
    ("Agent", "`[agent]`"),
    ("Spool", "`[agent.spool]`"),
    ("Plugin", "`[plugins.NAME]`"),
    ("DeclaredMetric", "`[plugins.NAME.metrics.METRIC]`"),
    ("When", "`[plugins.NAME.when]`"),
    ("Limits", "`[plugins.NAME.limits]`"),
    ("Package", "`[packages.NAME]`"),
    ("HubOutput", "`[outputs.NAME]`, `type = \"talaia\"`"),
    ("FileOutput", "`[outputs.NAME]`, `type = \"file\"`"),
    ("StdoutOutput", "`[outputs.NAME]`, `type = \"stdout\"`"),
    ("Profile", "`[profiles.NAME]`"),
    ("Hub", "`[hub]`"),
    ("HubTls", "`[hub.tls]`"),
];

fn tables(schema: &Value) -> String {
    let defs = schema["$defs"].as_object().unwrap();
    let mut text = String::from("\n## At the top\n\n");
    table(&mut text, schema["properties"].as_object().unwrap());
    let named = |name: &str| SECTIONS.iter().find(|(known, _)| *known == name);
    let others = defs.keys().filter(|name| named(name).is_none());
    let sections = SECTIONS.iter().map(|(name, title)| (*name, *title));
    for (name, title) in sections.chain(others.map(|name| (name.as_str(), name.as_str()))) {
        let Some(properties) = defs.get(name).and_then(|def| def["properties"].as_object()) else {
            continue;
        };
        text.push_str(&format!("\n## {title}\n\n{}\n\n", cell(&defs[name]["description"])));
        table(&mut text, properties);
    }
    text.push_str("\n## Values\n\n| value | what it is | such as |\n|---|---|---|\n");
    for (name, def) in defs.iter().filter(|(_, def)| def["properties"].is_null()) {
        let examples = def["examples"].as_array().map(|all| all.iter().map(code).collect());
        let words = words(def);
        let shown = examples.unwrap_or(words).join(", ");
        let title = def["title"].as_str().unwrap_or(name).to_lowercase();
        text.push_str(&format!("| {title} | {} | {shown} |\n", cell(&def["description"])));
    }
    text.push('\n');
    text
}

/// The words that a value may be.
fn words(def: &Value) -> Vec<String> {
    let of = |key: &str| def[key].as_array().cloned().unwrap_or_default();
    let consts = of("oneOf").into_iter().filter_map(|one| one.get("const").cloned());
    of("enum").into_iter().chain(consts).map(|word| code(&word)).collect()
}

fn table(text: &mut String, properties: &Map<String, Value>) {
    text.push_str("| key | what it is | default | such as |\n|---|---|---|---|\n");
    for (key, property) in properties {
        let description = cell(&property["description"]);
        let (meaning, default) = match description.split_once("Default: ") {
            Some((meaning, default)) => {
                // What follows the default's sentence belongs to the meaning.
                let (default, rest) = default.split_once(". ").unwrap_or((default, ""));
                (format!("{meaning}{rest}"), default.trim_end_matches('.').to_owned())
            }
            None => (description, String::new()),
        };
        let example = property["examples"].as_array().and_then(|all| all.first());
        let example = example.map(code).unwrap_or_default();
        text.push_str(&format!("| `{key}` | {} | {default} | {example} |\n", meaning.trim()));
    }
}

fn cell(text: &Value) -> String {
    let text = text.as_str().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
    text.replace('|', "\\|")
}

/// A value as it is written in TOML.
fn code(value: &Value) -> String {
    format!("`{}`", toml_text(value).replace('|', "\\|"))
}

fn toml_text(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let pairs: Vec<String> =
                map.iter().map(|(key, value)| format!("{key} = {}", toml_text(value))).collect();
            format!("{{ {} }}", pairs.join(", "))
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(toml_text).collect();
            format!("[{}]", items.join(", "))
        }
        other => other.to_string(),
    }
}
