//! What goes by a hub: registering, publishing, reviewing. What is signed is in [`super::sign`].

use std::path::Path;
use std::time::Duration;

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::model::{PackageName, Version};
use crate::package::{Change, Contents, FileDiff, Inspection, diff_whole, sha256, unpack};

use super::super::args::{RegisterArgs, RemoteArgs, ReviewArgs};
use super::super::exit::{Exit, Failure};
use super::super::print::{self, BAD, FAINT, GOOD, ODD, STRONG, paint};
use super::super::remote::Remote;
use super::super::report::clean;
use super::{check, lines, pack, parsed};

/// How often a watched version is asked for.
const WATCH: Duration = Duration::from_secs(2);
/// Lines of a file's differences that are shown.
const DIFF: usize = 400;

/// A version as a hub answers it.
#[derive(Debug, Deserialize)]
pub(super) struct Shown {
    pub(super) name: PackageName,
    pub(super) version: Version,
    pub(super) state: String,
    pub(super) sha256: String,
    size: u64,
    author: String,
    reviewer: Option<String>,
    note: Option<String>,
    pub(super) report: Inspection,
    trial: Option<Value>,
}

pub(super) fn path(name: &PackageName, version: &Version, rest: &str) -> String {
    format!("/api/v1/packages/{name}/versions/{version}{rest}")
}

pub(super) fn register(args: &RegisterArgs) -> Result<Exit, Failure> {
    let name: PackageName = parsed(&args.name)?;
    let remote = Remote::find(&args.remote)?;
    let mut body = json!({"name": name});
    if let Some(description) = &args.description {
        body["description"] = description.as_str().into();
    }
    if let Some(category) = &args.category {
        body["category"] = category.as_str().into();
    }
    let reply = remote.send(Method::POST, "/api/v1/packages", Some(&body))?;
    let registered: Value = reply.json()?;
    let word = if reply.status == 201 { "registered" } else { "is registered already" };
    print::talk(format!("{} {word}; its plugin key:", paint(STRONG, &name)));
    let text = if args.json {
        registered.to_string()
    } else {
        registered["key"].as_str().unwrap_or_default().to_owned()
    };
    // A reader that went away has seen enough.
    let _closed = print::data(text);
    Ok(Exit::Ok)
}

pub(super) fn publish(source: &Path, draft: bool, remote: &RemoteArgs) -> Result<Exit, Failure> {
    let (name, version, archive) = if source.is_dir() {
        let packed = pack::pack(source)?;
        if !packed.inspection.findings.is_empty() {
            print::talk(lines(&packed.inspection.findings));
        }
        (packed.name, packed.version, packed.archive)
    } else {
        let got = super::source::local(source)?;
        (got.name, got.version, got.archive)
    };
    let remote = Remote::find(remote)?;
    let shown: Shown = remote.put_zip(&path(&name, &version, ""), archive)?.json()?;
    print::talk(format!(
        "{name} {version} is at {}: {}, SHA-256 {}",
        remote.url(),
        print::bytes(shown.size),
        shown.sha256
    ));
    if shown.report.has_errors() {
        return Err(Failure::new(Exit::Finding, lines(&shown.report.findings)));
    }
    if draft {
        print::talk(format!(
            "it is a draft; hand it in with `talaia plugin submit {name} {version}`"
        ));
        return Ok(Exit::Ok);
    }
    submitted(&remote, &name, &version)
}

pub(super) fn submit(name: &str, version: &str, remote: &RemoteArgs) -> Result<Exit, Failure> {
    let remote = Remote::find(remote)?;
    submitted(&remote, &parsed(name)?, &parsed(version)?)
}

fn submitted(remote: &Remote, name: &PackageName, version: &Version) -> Result<Exit, Failure> {
    remote.send(Method::POST, &path(name, version, "/submit"), None)?;
    print::talk(format!(
        "{name} {version} waits for a review; `talaia plugin status {name} {version} --watch` says how it ends"
    ));
    Ok(Exit::Ok)
}

pub(super) fn status(
    name: &str,
    version: Option<&str>,
    (watch, as_json): (bool, bool),
    remote: &RemoteArgs,
) -> Result<Exit, Failure> {
    let name: PackageName = parsed(name)?;
    let remote = Remote::find(remote)?;
    let Some(version) = version else {
        let package: Value = remote.get(&format!("/api/v1/packages/{name}"))?.json()?;
        if as_json {
            let _closed = print::data(package);
            return Ok(Exit::Ok);
        }
        for version in package["versions"].as_array().into_iter().flatten() {
            let text = |key: &str| version[key].as_str().unwrap_or_default().to_owned();
            let line = format!("{}\t{}\t{}", text("version"), text("state"), text("uploaded"));
            if print::data(line).is_err() {
                break;
            }
        }
        return Ok(Exit::Ok);
    };
    let version: Version = parsed(version)?;
    let mut last = String::new();
    loop {
        let reply = remote.get(&path(&name, &version, ""))?;
        let shown: Shown = reply.json()?;
        if shown.state != last {
            last.clone_from(&shown.state);
            let line = if as_json {
                let full: Value = reply.json()?;
                full.to_string()
            } else {
                let note = shown.note.as_ref().map(|note| format!("\t{}", clean(note)));
                format!("{name} {version}\t{}{}", shown.state, note.unwrap_or_default())
            };
            if print::data(line).is_err() {
                return Ok(Exit::Ok);
            }
        }
        match shown.state.as_str() {
            "approved" => return Ok(Exit::Ok),
            "rejected" | "withdrawn" => return Ok(Exit::Finding),
            _ if !watch => return Ok(Exit::Ok),
            _ => std::thread::sleep(WATCH),
        }
    }
}

pub(super) fn review(args: &ReviewArgs) -> Result<Exit, Failure> {
    let remote = Remote::find(&args.remote)?;
    let (Some(name), Some(version)) = (&args.name, &args.version) else {
        return queue(&remote);
    };
    let (name, version): (PackageName, Version) = (parsed(name)?, parsed(version)?);
    let mut shown: Shown = remote.get(&path(&name, &version, ""))?.json()?;
    if shown.state == "submitted" {
        shown = remote.send(Method::POST, &path(&name, &version, "/review"), None)?.json()?;
    }
    let _closed = print::data(about(&shown));
    let against = args.against.as_ref().map_or_else(String::new, |v| format!("?against={v}"));
    let mut differences: Differences =
        remote.get(&path(&name, &version, &format!("/diff{against}")))?.json()?;
    if args.full {
        differences.whole(&remote, &shown)?;
    }
    let _closed = print::data(differences.text(args.full));
    if !args.run {
        print::talk(decide(&shown));
        return Ok(Exit::Ok);
    }
    let contents = fetched(&remote, &shown)?;
    let who = check::Trier::find(args.as_me)?;
    if !args.yes && !agreed(&shown, &who)? {
        return Ok(Exit::Finding);
    }
    let trial = check::trial(&contents, &who)?;
    let text = if trial.findings.is_empty() {
        paint(GOOD, "ok")
    } else {
        format!("\n{}", lines(&trial.findings))
    };
    print::talk(format!("{} as {}: {text}", print::count(trial.runs, "run"), trial.user));
    let mut body =
        serde_json::to_value(&trial).map_err(|e| Failure::from_error(Exit::Internal, &e))?;
    body["sha256"] = shown.sha256.as_str().into();
    remote.send(Method::PUT, &path(&name, &version, "/trial"), Some(&body))?;
    print::talk("the result is attached");
    print::talk(decide(&shown));
    Ok(if trial.has_errors() { Exit::Finding } else { Exit::Ok })
}

fn decide(shown: &Shown) -> String {
    let Shown { name, version, sha256, .. } = shown;
    let known = sha256.get(..12).unwrap_or(sha256);
    format!(
        "\nthen:  talaia plugin approve {name} {version} --sha256 {known}\nor:    talaia plugin reject {name} {version} --reason '…'"
    )
}

/// The files of a version, which are those that were shown.
pub(super) fn fetched(remote: &Remote, shown: &Shown) -> Result<Contents, Failure> {
    let archive = remote.get(&path(&shown.name, &shown.version, "/archive"))?.body;
    let got = sha256(&archive);
    if got != shown.sha256 {
        let text = format!("the archive has the SHA-256 {got}, and shown was {}", shown.sha256);
        return Err(Failure::new(Exit::Finding, text));
    }
    let (_, contents) =
        unpack(&archive).map_err(|findings| Failure::new(Exit::Finding, lines(&findings)))?;
    Ok(contents)
}

/// Asks a person whether to run somebody's programs.
fn agreed(shown: &Shown, who: &check::Trier) -> Result<bool, Failure> {
    use std::io::IsTerminal as _;
    if !(std::io::stdin().is_terminal() && print::a_person_reads_stderr()) {
        let text = "running somebody's programs needs a yes on a terminal, or --yes";
        return Err(Failure::new(Exit::Usage, text));
    }
    print::talk(format!(
        "You have seen what is in it. Run the programs of {} {} here, as {who}? [y/N] ",
        shown.name, shown.version
    ));
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    Ok(read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes" | "Yes"))
}

/// The versions that wait.
fn queue(remote: &Remote) -> Result<Exit, Failure> {
    let mut rows = Vec::new();
    for state in ["submitted", "in-review"] {
        let packages =
            remote.items(&format!("/api/v1/packages?state={state}&limit=1000"), 10_000)?;
        for package in &packages {
            let versions = package["versions"].as_array().into_iter().flatten();
            for version in versions.filter(|version| version["state"] == state) {
                let text = |value: &Value| clean(value.as_str().unwrap_or_default());
                rows.push(vec![
                    text(&package["name"]),
                    text(&version["version"]),
                    state.to_owned(),
                    text(&package["owner"]),
                    text(&version["submitted"]),
                ]);
            }
        }
    }
    if rows.is_empty() {
        print::talk("nothing waits for a review");
        return Ok(Exit::Ok);
    }
    let head = ["package", "version", "state", "owner", "submitted"].map(str::to_owned).to_vec();
    for line in print::table(head, rows) {
        if print::data(line).is_err() {
            break;
        }
    }
    Ok(Exit::Ok)
}

/// What a hub says of a version, for a reviewer.
fn about(shown: &Shown) -> String {
    let mut out = vec![format!(
        "{} {}  {}  by {}{}",
        paint(STRONG, &shown.name),
        shown.version,
        shown.state,
        clean(&shown.author),
        shown
            .reviewer
            .as_ref()
            .map_or_else(String::new, |who| format!(", reviewed by {}", clean(who))),
    )];
    out.push(format!("SHA-256 {}, {}", shown.sha256, print::bytes(shown.size)));
    if let Some(note) = &shown.note {
        out.push(format!("reason: {}", clean(note)));
    }
    if let Some(summary) = &shown.report.summary {
        out.push(format!("\n{}", clean(&summary.description)));
        out.push(format!(
            "by {}; {}; {}",
            clean(&summary.authors.join(", ")),
            clean(&summary.license),
            summary.category
        ));
        if !summary.requires.is_empty() {
            out.push(format!("needs {}", clean(&summary.requires.join(", "))));
        }
        for command in &summary.commands {
            out.push(format!(
                "\n  {}  {}  {}",
                paint(STRONG, &command.plugin),
                clean(&command.argv.join(" ")),
                command.schedule
            ));
            for metric in &command.metrics {
                let unit = metric
                    .unit
                    .as_ref()
                    .map_or_else(String::new, |unit| format!(" in {}", clean(unit)));
                out.push(format!("    {}  {}{unit}", metric.name, metric.kind));
            }
        }
    }
    out.push(format!("\n{}", paint(STRONG, "files")));
    for file in &shown.report.files {
        let mark = if file.executable { "x" } else { "-" };
        out.push(format!("  {mark} {:>9}  {}", print::bytes(file.size), clean(&file.path)));
    }
    out.push(format!("\n{}", paint(STRONG, "report")));
    out.push(if shown.report.findings.is_empty() {
        format!("  {}", paint(GOOD, "nothing found"))
    } else {
        lines(&shown.report.findings)
    });
    if let Some(trial) = &shown.trial {
        out.push(format!("\n{} {}", paint(STRONG, "trial"), clean(&trial.to_string())));
    }
    out.join("\n")
}

#[derive(Debug, Deserialize)]
struct Differences {
    against: Option<Version>,
    files: Vec<FileDiff>,
}

impl Differences {
    /// Compares here what a hub shows cut.
    fn whole(&mut self, remote: &Remote, shown: &Shown) -> Result<(), Failure> {
        let new = fetched(remote, shown)?;
        let old = match &self.against {
            None => None,
            Some(version) => {
                let before: Shown = remote.get(&path(&shown.name, version, ""))?.json()?;
                Some(fetched(remote, &before)?)
            }
        };
        self.files = diff_whole(old.as_ref(), &new);
        Ok(())
    }

    fn text(&self, full: bool) -> String {
        let mut out = vec![format!(
            "\n{} {}",
            paint(STRONG, "differences"),
            match &self.against {
                Some(version) => format!("from {version}"),
                None => "(the first version: all of it)".to_owned(),
            }
        )];
        for file in &self.files {
            let (style, word) = match file.change {
                Change::Added => (GOOD, "added"),
                Change::Removed => (BAD, "removed"),
                Change::Changed => (ODD, "changed"),
            };
            let mode = match file.executable {
                Some((_, true)) => ", now executable",
                Some((_, false)) => ", no longer executable",
                None => "",
            };
            out.push(format!("{} {}{mode}", paint(style, word), clean(&file.path)));
            match &file.text {
                None => out.push(paint(FAINT, "  not text")),
                Some(text) => {
                    let all = text.lines().count();
                    let most = if full { usize::MAX } else { DIFF };
                    out.extend(text.lines().take(most).map(|line| {
                        let style = match line.as_bytes().first() {
                            Some(b'+') => GOOD,
                            Some(b'-') => BAD,
                            _ => FAINT,
                        };
                        format!("  {}", paint(style, clean(line)))
                    }));
                    if all > most {
                        out.push(format!("  … {} lines more: --full", all - most));
                    }
                }
            }
        }
        out.join("\n")
    }
}

pub(super) fn reject(
    name: &str,
    version: &str,
    reason: &str,
    remote: &RemoteArgs,
) -> Result<Exit, Failure> {
    let (name, version): (PackageName, Version) = (parsed(name)?, parsed(version)?);
    let remote = Remote::find(remote)?;
    let body = json!({"reason": reason});
    remote.send(Method::POST, &path(&name, &version, "/reject"), Some(&body))?;
    print::talk(format!("{name} {version} is rejected; its author sees why"));
    Ok(Exit::Ok)
}
