//! What a page says of a version: findings, commands, files, differences, a trial.

use maud::{Markup, html};
use serde::Deserialize;

use crate::hub::web::format::{bytes, counted, query, sentence};
use crate::model::Version;
use crate::package::{Change, CommandSummary, FileDiff, FileSummary, Finding, Summary, Weight};

/// Most bytes of differences on a page.
const SHOWN: usize = 256 << 10;

/// The text of a file, where it is one.
pub(super) fn text_of(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
}

/// A text as it is, but for characters that would hide or turn others: those are written out, so that
/// nobody approves what cannot be seen.
pub(super) fn visible(text: &str) -> String {
    let hides = |c: char| {
        (c.is_control() && c != '\t')
            || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if hides(c) { shown.extend(c.escape_unicode()) } else { shown.push(c) }
    }
    shown
}

fn file_link(path: &str, file: &str, line: Option<usize>) -> String {
    let at = line.map_or_else(String::new, |line| format!("#L{line}"));
    format!("{path}/file{}{at}", query(&[("path", file)]))
}

/// What was found, errors first. Of what is no file of the package there is no link.
pub(super) fn findings(findings: &[Finding], files: &[FileSummary], path: &str) -> Markup {
    let (errors, warnings): (Vec<&Finding>, Vec<&Finding>) =
        findings.iter().partition(|finding| finding.weight == Weight::Error);
    html! {
        section.card #findings-s aria-labelledby="findings" {
            h2 #findings { "Looked through" }
            @if findings.is_empty() { p { span.badge.ok { "ok" } " Nothing was found. Nothing of it was run." } }
            @else {
                p.faint {
                    @if !errors.is_empty() { (counted(errors.len(), "error", "errors")) }
                    @if !errors.is_empty() && !warnings.is_empty() { ", " }
                    @if !warnings.is_empty() { (counted(warnings.len(), "warning", "warnings")) }
                    ". Nothing of it was run." @if !errors.is_empty() { " What has errors is not submitted." }
                }
                ul.news {
                    @for finding in errors.iter().chain(&warnings) { (one(finding, files, path)) }
                }
            }
        }
    }
}

/// One finding as an item of a list.
fn one(finding: &Finding, files: &[FileSummary], path: &str) -> Markup {
    let place = match finding.line {
        Some(line) => format!("{}:{line}", finding.path),
        None => finding.path.clone(),
    };
    html! {
        li {
            @if finding.weight == Weight::Error { span.badge.failing { "error" } } @else { span.badge.warning { "warning" } }
            " "
            @if !finding.path.is_empty() {
                @if files.iter().any(|file| file.path == finding.path) {
                    a href=(file_link(path, &finding.path, finding.line)) { code { (visible(&place)) } }
                } @else { code { (visible(&place)) } }
                " "
            }
            (sentence(&visible(&finding.message)))
            @if !finding.help.is_empty() { p.said { (sentence(&visible(&finding.help))) } }
        }
    }
}

/// Who wrote it, under which licence, what it needs.
pub(super) fn about(summary: &Summary) -> Markup {
    html! {
        dl.tally {
            div { dt { "By" } dd { (visible(&summary.authors.join(", "))) } }
            div { dt { "Licence" } dd { (visible(&summary.license)) } }
            div { dt { "Category" } dd { (summary.category) } }
            @if let Some(page) = &summary.homepage {
                div { dt { "Home page" } dd {
                    @if page.starts_with("https://") || page.starts_with("http://") { a href=(page) rel="noreferrer" { (visible(page)) } }
                    @else { (visible(page)) }
                } }
            }
            @if !summary.platforms.is_empty() { div { dt { "Runs on" } dd { @for one in &summary.platforms { span.tag { (visible(one)) } } } } }
            @if !summary.requires.is_empty() { div { dt { "Needs" } dd { @for one in &summary.requires { span.tag { (visible(one)) } } } } }
        }
    }
}

/// What it runs, and what that declares to print.
pub(super) fn commands(commands: &[CommandSummary]) -> Markup {
    html! {
        section aria-labelledby="commands" {
            h2 #commands { "What it runs" }
            div.cards.wide {
                @for command in commands {
                    section.card {
                        h3 { (command.plugin) " " span.faint { (command.schedule) } }
                        pre { code { (visible(&command.argv.join(" "))) } }
                        @if command.metrics.is_empty() { p.faint { "It declares no metrics." } }
                        @else {
                            table {
                                thead { tr { th scope="col" { "Metric" } th scope="col" { "Type" } th scope="col" { "Unit" } } }
                                tbody {
                                    @for metric in &command.metrics {
                                        tr {
                                            th scope="row" { (visible(&metric.name)) @if let Some(label) = &metric.label { div.said { (visible(label)) } } }
                                            td { (metric.kind) }
                                            td.wrap { (visible(metric.unit.as_deref().unwrap_or_default())) }
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

pub(super) fn files(files: &[FileSummary], path: &str) -> Markup {
    html! {
        section #files-s aria-labelledby="files" {
            h2 #files { "Files" }
            div.scroll tabindex="0" role="region" aria-label="Files" {
                table {
                    thead { tr { th scope="col" { "Path" } th.num scope="col" { "Size" } th scope="col" { "Mode" } th scope="col" { "SHA-256" } } }
                    tbody {
                        @for file in files {
                            tr {
                                th.wrap scope="row" { a href=(file_link(path, &file.path, None)) { (visible(&file.path)) } }
                                td.num { (bytes(file.size)) }
                                td { @if file.executable { "executable" } @else { "plain" } }
                                td { code.hash title=(file.sha256) { (file.sha256) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The lines that changed since `against`.
pub(super) fn changes(against: &Version, files: &[FileDiff], path: &str) -> Markup {
    let mut left = SHOWN;
    html! {
        @if files.is_empty() { p.empty { "Nothing is different from " (against) "." } }
        @for file in files {
            @let (class, word) = match file.change {
                Change::Added => ("badge ok", "added"),
                Change::Removed => ("badge failing", "removed"),
                Change::Changed => ("badge warning", "changed"),
            };
            h3.change {
                span class=(class) { (word) } " "
                @if file.change == Change::Removed { code { (visible(&file.path)) } } @else { a href=(file_link(path, &file.path, None)) { code { (visible(&file.path)) } } }
                @match file.executable {
                    Some((_, true)) => { " " span.badge.warning { "now executable" } },
                    Some((_, false)) => { " " span.badge.suspended { "no longer executable" } },
                    None => {},
                }
            }
            @match &file.text {
                None => p.faint { "It is not text." },
                Some(text) if text.len() > left => p.faint { "Too much for this page; read the file, or the differences by " code { "talaia plugin review" } "." },
                Some(text) => {
                    ({ left -= text.len(); "" })
                    pre.diff tabindex="0" role="region" aria-label={ "Differences of " (visible(&file.path)) } {
                        @for line in text.lines() { (diff_line(line)) }
                    }
                },
            }
        }
    }
}

fn diff_line(line: &str) -> Markup {
    let class = match line.as_bytes().first() {
        Some(b'+') => Some("add"),
        Some(b'-') => Some("del"),
        Some(b'@') => Some("hunk"),
        _ => None,
    };
    html! { span class=[class] { (visible(line)) } }
}

/// What `talaia plugin review --run` attaches.
#[derive(Deserialize)]
struct Trial {
    user: String,
    runs: u64,
    findings: Vec<Finding>,
}

/// What a trial run came to. Anything else that was attached is shown as it is.
pub(super) fn trial(json: &str, files: &[FileSummary], path: &str) -> Markup {
    let trial: Option<Trial> = serde_json::from_str(json).ok();
    html! {
        section.card #trial-s aria-labelledby="trial" {
            h2 #trial { "Trial run" }
            @match trial {
                None => {
                    @let value: Option<serde_json::Value> = serde_json::from_str(json).ok();
                    pre { code { (visible_lines(&value.map_or_else(|| json.to_owned(), |value| format!("{value:#}")))) } }
                },
                Some(trial) => {
                    p {
                        @if trial.findings.is_empty() { span.badge.ok { "ok" } " " }
                        (counted(trial.runs as usize, "run", "runs")) " as " (visible(&trial.user))
                    }
                    @if !trial.findings.is_empty() { ul.news { @for finding in &trial.findings { (one(finding, files, path)) } } }
                },
            }
        }
    }
}

/// The same as [`visible`], line by line.
pub(super) fn visible_lines(text: &str) -> String {
    text.lines().map(visible).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_hide_is_written_out() {
        assert_eq!(visible("a\tb \u{e9}"), "a\tb \u{e9}");
        assert_eq!(visible("x\u{202e}y\u{1b}[2K\r"), "x\\u{202e}y\\u{1b}[2K\\u{d}");
        assert_eq!(visible_lines("a\u{200b}\nb"), "a\\u{200b}\nb");
        assert!(text_of(b"\xff").is_none() && text_of(b"a\0").is_none());
    }

    #[test]
    fn nothing_but_a_web_page_is_a_link() {
        let summary = |homepage: &str| Summary {
            name: "a".parse().unwrap(),
            version: "1.0.0".parse().unwrap(),
            description: String::new(),
            authors: vec!["<b>".to_owned()],
            license: "MIT".to_owned(),
            category: "other".to_owned(),
            homepage: Some(homepage.to_owned()),
            platforms: Vec::new(),
            requires: Vec::new(),
            commands: Vec::new(),
        };
        let shown = about(&summary("javascript:alert(1)")).into_string();
        assert!(!shown.contains("href") && shown.contains("&lt;b&gt;"), "{shown}");
        let shown = about(&summary("https://example.org/\"x")).into_string();
        assert!(
            shown.contains("href=\"https://example.org/&quot;x\" rel=\"noreferrer\""),
            "{shown}"
        );
    }
}
