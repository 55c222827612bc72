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
//! - ` ```toml ` and ` ```json `: TOML is a config that loads, JSON a sequence of JSON values.
//! - ` ```text `: nothing.
//! - With `file=NAME` behind it, a block is written to that file. One that begins with `#!` is a
//!   program and not run; TOML beside a program is its sidecar.
//!
//! A line that begins with `talaia run` or `talaia hub` is started, awaited until it has printed what
//! the page says, and ended at the end of the page, unless the page says how it exits. Servers listen on ports of the system's choice,
//! by a wrapper around the program. Lines in [`NOT_RUN`] are not run at all. The folder `examples` is
//! there, as in a clone.
//!
//! The tables of `docs/config.md` are made from the schema, the recipes of `docs/cookbook.md` are those
//! of `examples/cookbook`: `TALAIA_BOOK=write cargo test --test it book` writes them anew.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::Value;

use crate::support::{PATIENCE, Site, installed, skip};

mod made;
mod references;

/// How lines begin that change the machine, or build this very program, or take it installed.
const NOT_RUN: &[&str] = &[
    // `tests/newcomer.sh` does.
    "cargo run --release -- run --config examples/talaia.toml",
    "cargo build --release",
    "cargo test",
    "cargo bench --bench ",
    "TALAIA_CHAOS_",
    "TALAIA_FUZZ_SECONDS=",
    "sudo ",
    // It calls `talaia emit`, which plugins find where it is installed.
    "talaia test ./disk.sh",
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
        Self::run_then(name, |_| {});
    }

    /// Runs a page, and looks at what it leads to while what it started still runs.
    fn run_then(name: &'static str, look: impl FnOnce(&Self)) {
        let text = fs::read_to_string(root().join(name)).unwrap();
        for tool in ["curl", "jq"] {
            if text.contains(&format!("{tool} ")) && !installed(tool) {
                return skip(&format!("{name}: there is no {tool} here"));
            }
        }
        let site = Site::of_ordinary_user();
        fs::create_dir(site.path("tools")).unwrap();
        copy(&root().join("examples"), &site.path("examples"));
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
        look(&page);
        for (pid, log) in std::mem::take(&mut page.started) {
            let ended = page.site.stop(pid);
            assert!(ended.success(), "{name}: {ended}:\n{}", page.site.read(&log));
        }
    }

    fn block(&mut self, block: &Block) {
        let at = format!("{}:{}", self.name, block.line);
        if let Some(file) = &block.file {
            fs::create_dir_all(self.site.path(file).parent().unwrap()).unwrap();
            let program = block.text.starts_with("#!");
            self.site.write(file, &block.text, if program { 0o755 } else { 0o644 });
            let beside = file.strip_suffix(".toml").map(|name| self.site.path(name));
            if program || beside.is_some_and(|program| program.exists()) {
                return;
            }
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
            let code = wanted.last().and_then(|line| exit_code(line));
            if lives_on(&command) && code.is_none() {
                self.start(at, &command, &wanted);
                continue;
            }
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
            // What it says of its configuration comes before it can be asked.
            let mut words = line.split(' ').skip_while(|word| *word != "--config");
            let answers = words
                .nth(1)
                .is_none_or(|config| self.site.talaia(&["status", "--config", config]).code == 0);
            if listens && answers && fits(&open, &lines) {
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
        fs::create_dir_all(etc.join("plugins")).unwrap();
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

/// A folder with all that is in it, for everybody to read.
fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(&path, &to).unwrap();
        }
    }
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
    Page::run_then("docs/tutorial.md", |page| {
        // What its reader clicks on: the link, *Log in*, the names of plugins. There are the charts.
        let browse = "link=$(talaia hub login); hub=${link%/login*}
            curl -s -c jar -X POST \"$link\"
            for page in $(curl -s -b jar \"$hub/\" | grep -o '/plugin?[^\"]*' | sed 's/&amp;/\\&/g'); do
                curl -s -b jar \"$hub$page\"
            done";
        for metric in ["load1", "memory_available"] {
            page.site.until(metric, |_| {
                let (_, pages) = page.shell(browse);
                pages.contains(&format!(">{metric}</title><desc")).then_some(())
            });
        }
    });
}

#[test]
fn the_contents() {
    Page::run("docs/README.md");
}

#[test]
fn the_workbench() {
    Page::run("docs/workbench.md");
}

#[test]
fn the_cookbook() {
    Page::run("docs/cookbook.md");
}

#[test]
fn troubleshooting() {
    Page::run("docs/troubleshooting.md");
}

#[test]
fn the_examples() {
    Page::run("examples/README.md");
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
