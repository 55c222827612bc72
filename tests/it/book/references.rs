//! What pages refer to is there: tests, other pages and their headings, codes.

use std::fs;

use super::root;

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
    let here = include_str!("../book.rs");
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

/// The pages that people read, from the folder of the project.
fn pages() -> Vec<String> {
    let mut pages = vec!["README.md".to_owned(), "templates/README.md".to_owned()];
    let mut folders = vec![root().join("docs"), root().join("examples")];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "md") {
                pages.push(path.strip_prefix(root()).unwrap().display().to_string());
            }
        }
    }
    pages
}

/// A page without its blocks of code.
fn prose(page: &str) -> String {
    let mut outside = true;
    let mut text = String::new();
    for line in page.lines() {
        if line.starts_with("```") {
            outside = !outside;
        } else if outside {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

/// What a heading is called in links.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[test]
fn every_link_leads_somewhere() {
    let mut wrong = Vec::new();
    for page in pages() {
        let path = root().join(&page);
        let text = prose(&fs::read_to_string(&path).unwrap());
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.starts_with("http") {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = path.parent().unwrap().join(file);
            let target = if file.is_empty() { path.clone() } else { target };
            let found = target.exists()
                && (heading.is_empty() || {
                    let there = prose(&fs::read_to_string(&target).unwrap());
                    let headings = there.lines().filter(|line| line.starts_with('#'));
                    let mut names =
                        headings.map(|line| anchor(line.trim_start_matches('#').trim()));
                    names.any(|name| name == heading)
                });
            if !found {
                wrong.push(format!("{page}: {link}"));
            }
        }
    }
    assert!(wrong.is_empty(), "these lead nowhere: {wrong:#?}");
    assert_eq!(anchor("`[outputs.NAME]`, `type = \"file\"`"), "outputsname-type--file");
}

/// Packages' own pages show settings, which `packages/bundled.rs` loads, and nothing else.
#[test]
fn every_page_with_code_is_run() {
    let here = include_str!("../book.rs");
    for page in pages() {
        let text = fs::read_to_string(root().join(&page)).unwrap();
        let blocks = super::blocks(&text);
        if page.starts_with("examples/packages/") || page.starts_with("templates/") {
            assert!(blocks.iter().all(|block| block.kind == "toml"), "{page}: {blocks:#?}");
        } else {
            assert!(here.contains(&format!("(\"{page}\"")), "{page} is not run");
        }
    }
}

#[test]
fn what_is_not_run_is_on_some_page() {
    let text = |page: String| fs::read_to_string(root().join(page)).unwrap();
    let all: Vec<super::Block> =
        pages().into_iter().flat_map(|page| super::blocks(&text(page))).collect();
    for start in super::NOT_RUN {
        let mut lines = all.iter().flat_map(|block| block.text.lines());
        assert!(
            lines.any(|line| line.trim_start_matches("$ ").starts_with(start)),
            "no page has `{start}`"
        );
    }
}

/// Whoever has read a page finds the next one at its end, in the order of the table of contents.
#[test]
fn the_book_is_read_from_end_to_end() {
    let contents = fs::read_to_string(root().join("docs/README.md")).unwrap();
    let entries = contents.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_digit()));
    let order: Vec<&str> = entries
        .map(|line| line.split_once("](").and_then(|(_, rest)| rest.split_once(')')).unwrap().0)
        .collect();
    for (page, next) in order.iter().zip(&order[1..]) {
        let text = fs::read_to_string(root().join("docs").join(page)).unwrap();
        let last = text.lines().last().unwrap();
        assert!(last.contains(&format!("]({next})")), "{page} ends with: {last}");
    }
    for page in pages().iter().filter_map(|page| page.strip_prefix("docs/")) {
        assert!(page == "README.md" || order.contains(&page), "docs/README.md lacks {page}");
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
