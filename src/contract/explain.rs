//! A page for each code that people meet: what it means, why it is so, and what to do.
//!
//! The lists are closed. Those that are made in several rooms are enums of `model`, whose pages are
//! exhaustive matches here; those of one room alone (`agent`, `cli`) are tables, which tests hold against
//! the sources. A further kind of codes is a variant of [`Kind`] and a file beside the others.
//!
//! No page is without an example, and tests run what is shown: they hand it to the judge, to `talaia
//! test`, to an agent, to a hub or to the shell. What none of these can bring about in a moment is on
//! short lists in those tests.

mod advice;
mod hub;
mod program;
mod rejection;
mod run;
mod warning;

use std::fmt::{self, Write as _};

use serde::{Serialize, Serializer};

use super::words::nearest;
use crate::model::RejectionCode;

/// What a program prints in an example. Where it starts with `#!` it is the program itself, with `[`
/// what the configuration says; on the pages of a hub's answers it is the requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prints {
    /// This, to its end.
    Text(&'static str),
    /// This, and is cut off there.
    Cut(&'static str),
    /// Bytes that are not all text.
    Bytes(&'static [u8]),
    /// `before`, then `times` times `unit`, then `after`. A `#` in `unit` is the number of the
    /// repetition, from 1.
    Many {
        /// What comes first.
        before: &'static str,
        /// What is repeated.
        unit: &'static str,
        /// How often.
        times: usize,
        /// What comes last.
        after: &'static str,
    },
    /// Each of these in a run of its own.
    Runs(&'static [&'static str]),
}

impl Prints {
    /// All of it, as it would come from the program; of several runs one after the other.
    pub fn bytes(&self) -> Vec<u8> {
        match *self {
            Self::Runs(runs) => runs.join("\n").into_bytes(),
            Self::Text(text) | Self::Cut(text) => text.as_bytes().to_vec(),
            Self::Bytes(bytes) => bytes.to_vec(),
            Self::Many { before, unit, times, after } => {
                let mut text = before.to_owned();
                for n in 1..=times {
                    text.push_str(&unit.replace('#', &n.to_string()));
                }
                text.push_str(after);
                text.into_bytes()
            }
        }
    }
}

impl fmt::Display for Prints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Cut(text) => write!(f, "{text}✂"),
            // As they would stand in an editor, but for those that none shows.
            Self::Bytes(bytes) => bytes.iter().try_for_each(|byte| match byte {
                b'\n' | b' '..=b'~' => f.write_char(char::from(*byte)),
                other => write!(f, "{}", other.escape_ascii()),
            }),
            Self::Many { before, unit, times, after } => {
                let nth = |n: usize| unit.replace('#', &n.to_string());
                let (first, last) = (nth(1), nth(*times));
                match unit.split_once('\n') {
                    Some((_, indent)) => {
                        write!(f, "{before}{first}…   ({times} times)\n{indent}{last}{after}")
                    }
                    None if first == last => write!(f, "{before}{first}…{after}   ({times} times)"),
                    None => write!(f, "{before}{first}…{last}{after}   ({times} times)"),
                }
            }
            Self::Runs(runs) => {
                (1..).zip(*runs).try_for_each(|(n, run)| writeln!(f, "run {n}: {run}"))
            }
        }
    }
}

/// What a code is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Why a record was refused.
    Rejection,
    /// What a report warns of.
    Warning,
    /// What `talaia test` advises.
    Advice,
    /// How a run ended.
    Outcome,
    /// What a run came to, in one word.
    Verdict,
    /// How a plugin stands.
    Plugin,
    /// How an output stands.
    Output,
    /// Why a record was lost before an output had it.
    Eviction,
    /// Why a destination refused a whole report.
    Refusal,
    /// Why a hub's API did not do what it was asked.
    Problem,
    /// What the hub's audit log tells.
    Audit,
    /// How a monitor stands on a hub's overview.
    Standing,
    /// How a version of a package stands.
    Version,
    /// How a key stands.
    Key,
    /// What `talaia schema diff` says of a metric.
    Diff,
    /// The exit codes of commands.
    Exit,
}

impl Kind {
    /// Every kind, in the order in which they are listed.
    pub const ALL: [Self; 16] = [
        Self::Rejection,
        Self::Warning,
        Self::Advice,
        Self::Outcome,
        Self::Verdict,
        Self::Plugin,
        Self::Output,
        Self::Eviction,
        Self::Refusal,
        Self::Problem,
        Self::Audit,
        Self::Standing,
        Self::Version,
        Self::Key,
        Self::Diff,
        Self::Exit,
    ];

    /// The heading of its list.
    pub fn title(self) -> &'static str {
        match self {
            Self::Rejection => "Why a record was refused",
            Self::Warning => "What a report warns of",
            Self::Advice => "What `talaia test` advises",
            Self::Outcome => "How a run ended",
            Self::Verdict => "What a run came to, in one word",
            Self::Plugin => "How a plugin stands",
            Self::Output => "How an output stands",
            Self::Eviction => "Why a record was lost before an output had it",
            Self::Refusal => "Why a destination refused a whole report",
            Self::Problem => "Why a hub's API did not do what it was asked",
            Self::Audit => "What the hub's audit log tells",
            Self::Standing => "How a monitor stands on a hub's overview",
            Self::Version => "How a version of a package stands",
            Self::Key => "How a key stands",
            Self::Diff => "What `talaia schema diff` says of a metric",
            Self::Exit => "Exit codes of commands",
        }
    }

    /// Where its codes are met.
    pub fn place(self) -> &'static str {
        match self {
            Self::Rejection => {
                "`rejected` of a report, `talaia test`, `talaia run`, the hub's rejections, the quarantine"
            }
            Self::Warning => "`warnings` of a report, before the first colon",
            Self::Advice => "`talaia test`, and `talaia schema infer`",
            Self::Outcome => "`outcome.kind` of a report",
            Self::Verdict => {
                "the lines of `talaia run`, `talaia test`, `talaia status` and `talaia top`"
            }
            Self::Plugin => "`talaia status`, `talaia plugin list` and `show`",
            Self::Output => "`talaia status`",
            Self::Eviction => "`evicted` in `talaia status` and `talaia spool status`",
            Self::Refusal => "`refused` in a hub's answer to an upload, and the quarantine",
            Self::Problem => {
                "`code` of an answer of type `application/problem+json`. Requests are shown with the headers that matter alone, `@FILE` is what a file has, and a word in capitals what it names"
            }
            Self::Audit => "`talaia keys audit`, and the page of the audit log",
            Self::Standing => "the hub's overview and the pages of monitors",
            Self::Version => "`talaia plugin status`, and the hub's pages of packages",
            Self::Key => "`talaia keys list`, and the hub's page of keys",
            Self::Diff => "`talaia schema diff`",
            Self::Exit => "`$?` after a command",
        }
    }
}

/// What a page shows beside its words.
#[derive(Clone, Copy)]
enum Shown {
    /// What leads to the code and what does not, with these settings.
    Pair(Option<&'static str>, Prints, Prints),
    /// How it comes about or is met, where nothing is wrong about it or a page cannot hold what is.
    How(&'static str),
}

const fn pair(wrong: &'static str, right: &'static str) -> Shown {
    Shown::Pair(None, Prints::Text(wrong), Prints::Text(right))
}

const fn pair_with(settings: &'static str, wrong: &'static str, right: &'static str) -> Shown {
    Shown::Pair(Some(settings), Prints::Text(wrong), Prints::Text(right))
}

const fn runs(wrong: &'static [&'static str], right: &'static [&'static str]) -> Shown {
    Shown::Pair(None, Prints::Runs(wrong), Prints::Runs(right))
}

/// A run that waits for what does not answer, and one that gives it up.
const NO_ANSWER: Shown = pair_with(
    r#"timeout = "3s""#,
    r#"#!/bin/sh
sleep 60   # as for a server that does not answer
echo '{"up": true}'"#,
    r#"#!/bin/sh
timeout 0.5 sleep 60 || { echo '{"up": false}'; exit; }
echo '{"up": true}'"#,
);

/// A page of `talaia explain`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Page {
    /// What the code is about.
    pub kind: Kind,
    /// The code.
    pub code: &'static str,
    /// What it means, and why it is so.
    pub meaning: &'static str,
    /// What the plugin's configuration must say for the examples, if it matters; where it starts with
    /// `{`, what its own schema says; on the pages of a hub's answers, what was asked before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settings: Option<&'static str>,
    /// Output that leads to this code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wrong: Option<Prints>,
    /// Output that does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub right: Option<Prints>,
    /// How it comes about or is met, where there is no wrong and right: commands, each after `$ `, a
    /// plugin (`#!`), configuration (`[`), or words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub example: Option<&'static str>,
    /// What to do; empty where there is nothing to do.
    pub fix: &'static str,
    /// Other codes that may be what is looked for.
    pub see: &'static [&'static str],
}

impl Serialize for Prints {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Page {
    fn told(
        kind: Kind,
        code: &'static str,
        meaning: &'static str,
        shown: Shown,
        fix: &'static str,
        see: &'static [&'static str],
    ) -> Self {
        let (settings, wrong, right, example) = match shown {
            Shown::Pair(settings, wrong, right) => (settings, Some(wrong), Some(right), None),
            Shown::How(example) => (None, None, None, Some(example)),
        };
        Self { kind, code, meaning, settings, wrong, right, example, fix, see }
    }

    /// What it means in a few words: the first sentence of its meaning, up to a colon, without its stop.
    pub fn summary(&self) -> &'static str {
        let ends = [". ", ": "].into_iter().filter_map(|end| self.meaning.find(end));
        self.meaning[..ends.min().unwrap_or(self.meaning.len())].trim_end_matches('.')
    }

    /// What it shows, each with a heading.
    pub fn blocks(&self) -> impl Iterator<Item = (&'static str, String)> {
        let with = match self.settings {
            Some(schema) if schema.starts_with('{') => "With the schema",
            _ if self.kind == Kind::Problem => "After",
            _ => "With",
        };
        let prints = |prints: Option<Prints>| prints.map(|prints| prints.to_string());
        let all = [
            (with, self.settings.map(str::to_owned)),
            ("Wrong", prints(self.wrong)),
            ("Right", prints(self.right)),
            ("Example", self.example.map(str::to_owned)),
        ];
        all.into_iter().filter_map(|(head, text)| Some((head, text?.trim_end().to_owned())))
    }
}

impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}   ({})\n\n{}\n", self.code, self.kind.title(), self.meaning)?;
        for (head, text) in self.blocks() {
            write!(f, "\n{head}:\n\n")?;
            for line in text.lines() {
                // A line that is empty stays so.
                writeln!(f, "{}", format!("    {line}").trim_end())?;
            }
        }
        if !self.fix.is_empty() {
            write!(f, "\n{}\n", self.fix)?;
        }
        if !self.see.is_empty() {
            write!(f, "\nSee also: {}\n", self.see.join(", "))?;
        }
        Ok(())
    }
}

/// The page of a rejection code.
pub fn page(code: RejectionCode) -> Page {
    rejection::page(code)
}

/// Every page, by kind.
pub fn pages() -> Vec<Page> {
    let rejections = RejectionCode::ALL.iter().map(|code| rejection::page(*code));
    rejections
        .chain(warning::pages())
        .chain(run::pages())
        .chain(advice::pages())
        .chain(program::pages())
        .chain(hub::pages())
        .collect()
}

/// The pages of a code: some words are codes of more than one kind.
pub fn find(code: &str) -> Vec<Page> {
    pages().into_iter().filter(|page| page.code == code).collect()
}

/// The code that was probably meant.
pub fn meant(code: &str) -> Option<&'static str> {
    let codes: Vec<&'static str> = pages().iter().map(|page| page.code).collect();
    // A slip, or one of the ways to write the same words.
    let plain = |code: &str| code.to_lowercase().replace(['-', '_', ' ', '.'], "");
    let same = codes.iter().copied().find(|known| plain(known) == plain(code));
    same.or_else(|| nearest(code, codes))
}
