//! The directions of ARCHITECTURE.md, held: which room may use which, who may spawn tasks, print,
//! and how long a file may grow.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A room and the rooms it may use.
const DIRECTIONS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("decode", &["model"]),
    ("contract", &["model"]),
    ("schedule", &["model"]),
    ("exec", &["model"]),
    ("spool", &["model"]),
    ("deliver", &["spool", "model", "schedule"]),
    ("config", &["model", "schedule", "contract"]),
    ("package", &["model", "contract", "config"]),
    ("hub", &["model", "decode", "contract", "package"]),
    (
        "agent",
        &[
            "model", "decode", "contract", "schedule", "exec", "spool", "deliver", "config",
            "package",
        ],
    ),
    (
        "cli",
        &[
            "model", "decode", "contract", "schedule", "exec", "spool", "deliver", "config",
            "package", "hub", "agent",
        ],
    ),
];

/// Longer than one sitting.
const LONGEST_FILE: usize = 650;

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn rust_files(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            into.push(path);
        }
    }
}

/// The room of a file, and its text with comments taken out.
fn rooms() -> Vec<(String, PathBuf, String)> {
    let mut files = Vec::new();
    rust_files(&src(), &mut files);
    files
        .into_iter()
        .filter_map(|path| {
            let relative = path.strip_prefix(src()).unwrap();
            let room = relative.components().next().unwrap().as_os_str().to_str().unwrap();
            if path.parent() == Some(&src()) {
                return None;
            }
            let text = fs::read_to_string(&path).unwrap();
            let code: Vec<&str> =
                text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
            Some((room.to_owned(), path.clone(), code.join("\n")))
        })
        .collect()
}

/// Every room named as `crate::room` or, in a grouped import, `crate::{room, …}`.
fn used(code: &str) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            // The first word of each part at the outermost level of the braces.
            let (mut depth, mut word, mut named) = (0, String::new(), false);
            for c in group.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth > 0 => depth -= 1,
                    ',' if depth == 0 => {
                        used.insert(std::mem::take(&mut word));
                        named = false;
                    }
                    '}' => break,
                    ':' => named = true,
                    c if depth == 0 && !named && (c.is_alphanumeric() || c == '_') => word.push(c),
                    _ => {}
                }
            }
            used.insert(word);
            used.remove("");
        } else {
            used.insert(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
        }
    }
    used
}

#[test]
fn rooms_use_each_other_in_the_written_directions_only() {
    let mut wrong = Vec::new();
    for (room, path, code) in rooms() {
        let allowed = DIRECTIONS.iter().find(|(name, _)| *name == room);
        let (_, allowed) = allowed.unwrap_or_else(|| panic!("`{room}` is not a known room"));
        for used in used(&code) {
            let is_room = DIRECTIONS.iter().any(|(name, _)| *name == used);
            if is_room && used != room && !allowed.contains(&used.as_str()) {
                wrong.push(format!("{} uses {used}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The modules that a file names by `super::` or by its room's path, as paths from `src`. Names
/// in braces are told apart at the outermost level.
fn named(own: &[String], code: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let word = |text: &str| -> String {
        text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let starts = code.match_indices("super::").chain(code.match_indices("crate::"));
    for (at, start) in starts {
        if code[..at].ends_with("super::") || code[..at].ends_with(|c: char| c.is_alphanumeric()) {
            continue;
        }
        let (mut base, mut rest) = (Vec::new(), &code[at..]);
        if start == "super::" {
            base = own.to_vec();
            while let Some(after) = rest.strip_prefix("super::") {
                base.pop();
                rest = after;
            }
        } else {
            rest = &rest["crate::".len()..];
        }
        // Down the path, to a group or the first name that is no module.
        while !rest.starts_with('{') {
            let name = word(rest);
            rest = &rest[name.len()..];
            base.push(name);
            found.push(base.clone());
            let Some(after) = rest.strip_prefix("::") else { break };
            rest = after;
        }
        let Some(group) = rest.strip_prefix('{') else { continue };
        let mut depth = 0;
        let mut fresh = true;
        for (i, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => fresh = true,
                c if depth == 0 && fresh && (c.is_alphabetic() || c == '_') => {
                    fresh = false;
                    let mut path = base.clone();
                    path.push(word(&group[i..]));
                    found.push(path);
                }
                _ => {}
            }
        }
    }
    found
}

/// Which of the modules beside each other in one folder use which, by folder. A module's own
/// parts count as itself.
fn neighbours() -> BTreeMap<Vec<String>, BTreeMap<String, BTreeSet<String>>> {
    let mut uses: BTreeMap<_, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for (_, path, code) in rooms() {
        let relative = path.strip_prefix(src()).unwrap().with_extension("");
        let mut own: Vec<String> =
            relative.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
        if own.last().is_some_and(|last| last == "mod") {
            own.pop();
        }
        if own.iter().any(|part| part == "tests") {
            continue;
        }
        let code = code.split("#[cfg(test)]\nmod tests").next().unwrap();
        for target in named(&own, code) {
            let file = target.iter().fold(src(), |path, part| path.join(part));
            if !file.is_dir() && !file.with_extension("rs").is_file() {
                continue;
            }
            let shared = own.iter().zip(&target).take_while(|(a, b)| a == b).count();
            if shared > 0 && shared < own.len() && shared < target.len() {
                let folder = uses.entry(own[..shared].to_vec()).or_default();
                folder.entry(own[shared].clone()).or_default().insert(target[shared].clone());
            }
        }
    }
    uses
}

#[test]
fn inside_a_room_imports_run_one_way() {
    let mut circles = Vec::new();
    for (folder, mut uses) in neighbours() {
        // What uses nothing that is left goes; what stays is in a circle, or leads into one.
        loop {
            let left: BTreeSet<String> = uses.keys().cloned().collect();
            for used in uses.values_mut() {
                used.retain(|name| left.contains(name));
            }
            uses.retain(|_, used| !used.is_empty());
            if uses.len() == left.len() {
                break;
            }
        }
        if !uses.is_empty() {
            circles.push((folder, uses));
        }
    }
    assert!(circles.is_empty(), "{circles:#?}");
}

#[test]
fn the_reader_of_paths_sees_every_form() {
    let code =
        "use super::{a, b::{self, C}};\nlet x = super::super::d::e();\nuse crate::room::f;\n";
    let own = ["room", "deep", "here"].map(str::to_owned);
    let found = named(&own, code).into_iter().map(|path| path.join("/"));
    let wanted =
        ["room/deep/a", "room/deep/b", "room/d", "room/d/e", "room", "room/f"].map(str::to_owned);
    assert_eq!(found.collect::<Vec<_>>(), wanted);
}

#[test]
fn the_reader_of_imports_sees_every_form() {
    let code = "use crate::model::Seq;\nuse crate::{spool::Spool, hub, deliver::{a, b}};\n";
    let wanted = ["deliver", "hub", "model", "spool"].map(str::to_owned);
    assert_eq!(used(code).into_iter().collect::<Vec<_>>(), wanted);
}

#[test]
fn only_agent_and_hub_spawn_tasks() {
    for (room, path, code) in rooms() {
        if room != "agent" && room != "hub" {
            for call in ["tokio::spawn", "JoinSet", ".spawn_local("] {
                // Tests of other rooms may need a server beside what they test.
                let code = code.split("#[cfg(test)]").next().unwrap();
                assert!(!code.contains(call), "{} spawns a task: {call}", path.display());
            }
        }
    }
}

#[test]
fn only_cli_prints() {
    for (room, path, code) in rooms() {
        let code = code.split("#[cfg(test)]").next().unwrap();
        for call in ["println!(", "print!(", "io::stdout()", "io::stderr()", "process::exit("] {
            let prints = code.contains(call);
            assert!(!prints || room == "cli", "{} prints: {call}", path.display());
        }
    }
}

#[test]
fn only_the_points_know_how_points_lie() {
    let (mut inside, mut outside) = (0, Vec::new());
    for (_, path, code) in rooms() {
        let text: String = code.split_whitespace().collect::<Vec<_>>().join(" ");
        for verb in ["FROM", "JOIN", "INTO", "UPDATE"] {
            for table in ["raw", "segments", "dropped"] {
                let sql = format!("{verb} {table}");
                let named = text.match_indices(&sql).any(|(at, _)| {
                    let after = text[at + sql.len()..].chars().next();
                    after.is_none_or(|c| !c.is_alphanumeric() && c != '_')
                });
                if named && path.components().any(|part| part.as_os_str() == "points") {
                    inside += 1;
                } else if named && !path.to_string_lossy().contains("store/tests") {
                    outside.push(format!("{}: {sql}", path.display()));
                }
            }
        }
    }
    assert!(inside >= 6, "the tables are not where they are looked for");
    assert!(outside.is_empty(), "{outside:#?}");
}

#[test]
fn every_room_says_what_it_promises() {
    for (room, _) in DIRECTIONS {
        let text = fs::read_to_string(src().join(room).join("mod.rs")).unwrap();
        assert!(text.starts_with("//! "), "{room}/mod.rs has no module comment");
    }
}

#[test]
fn a_file_is_read_in_one_sitting() {
    for (_, path, _) in rooms() {
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines <= LONGEST_FILE, "{} has {lines} lines", path.display());
    }
}

#[test]
fn banned_crates_stay_out() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let deny: toml::Value =
        toml::from_str(&fs::read_to_string(root.join("deny.toml")).unwrap()).unwrap();
    let lock: toml::Value =
        toml::from_str(&fs::read_to_string(root.join("Cargo.lock")).unwrap()).unwrap();
    let locked: BTreeSet<&str> = lock["package"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| package["name"].as_str().unwrap())
        .collect();
    assert!(locked.contains("talaia"));
    for ban in deny["bans"]["deny"].as_array().unwrap() {
        let name = ban["crate"].as_str().unwrap();
        assert!(!locked.contains(name), "{name}: {}", ban["reason"]);
    }
}
