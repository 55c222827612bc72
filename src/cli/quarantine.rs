//! `talaia quarantine`: what was refused, to look at, to replay and to drop.

use std::path::Path;
use std::time::Duration;

use reqwest::Method;

use crate::agent::admin::Discarded;
use crate::agent::replay::{ReplayError, Replayed, replay_alone};
use crate::config::Env;
use crate::model::{Rejection, Timestamp};
use crate::spool::{Inspector, Options, Pick, Quarantined, Spool, SpoolError};

use super::args::{ConfigArgs, PickArgs, QuarantineCommand};
use super::exit::{Exit, Failure};
use super::load::{self, Place};
use super::print::{self, BAD, FAINT, GOOD, STRONG, paint};
use super::progress::{Progress, Unit};
use super::report::clean;
use super::{client, running};

/// Things that are read at a time.
const PAGE: usize = 256;

/// Replaying a full quarantine takes a while on a slow disk.
const PATIENCE: Duration = Duration::from_mins(10);

pub(crate) fn run(command: &QuarantineCommand) -> Result<Exit, Failure> {
    match command {
        QuarantineCommand::Ls { config, pick, limit, json } => {
            list(&open(config)?, &picked(pick), *limit, *json)
        }
        QuarantineCommand::Show { config, ids, json } => show(&open(config)?, ids, *json),
        QuarantineCommand::Replay { config, pick, all, json } => {
            let pick = chosen(pick, *all)?;
            let progress = Progress::of("replaying", Unit::Rows);
            let replayed = replay(config, &pick)?;
            drop(progress);
            say_replayed(&replayed, *json)
        }
        QuarantineCommand::Drop { config, pick, all, json } => {
            let pick = chosen(pick, *all)?;
            let progress = Progress::of("dropping", Unit::Rows);
            let dropped = discard(config, &pick)?;
            drop(progress);
            if *json {
                out(json_text(&Discarded { dropped })?);
            } else {
                print::talk(format!("{} dropped", print::count(dropped, "item")));
            }
            Ok(Exit::Ok)
        }
    }
}

fn open(args: &ConfigArgs) -> Result<Inspector, Failure> {
    Inspector::open(&load::data_dir(args)?).map_err(|e| failure(&e))
}

fn failure(error: &SpoolError) -> Failure {
    Failure::from_error(Exit::Disk, error)
}

fn picked(args: &PickArgs) -> Pick {
    Pick {
        ids: (!args.ids.is_empty()).then(|| args.ids.clone()),
        plugin: args.plugin.clone(),
        code: args.code.clone(),
        since: args.since.map(Timestamp::millis),
    }
}

/// What changes the quarantine says what it means: everything only by `--all`.
fn chosen(args: &PickArgs, all: bool) -> Result<Pick, Failure> {
    let pick = picked(args);
    if pick == Pick::default() && !all {
        let text = "which? name some by number, --plugin, --code or --since, or say --all";
        return Err(Failure::new(Exit::Usage, text));
    }
    if pick != Pick::default() && all {
        let text = "--all is everything: leave out the numbers, --plugin, --code and --since";
        return Err(Failure::new(Exit::Usage, text));
    }
    Ok(pick)
}

fn list(spool: &Inspector, pick: &Pick, limit: usize, json: bool) -> Result<Exit, Failure> {
    if !json && print::a_person_reads_stdout() {
        let head = format!("{:>6}  {:<20}  {:<16}  {:<16}  why", "id", "at", "plugin", "code");
        out(paint(STRONG, head));
    }
    let (mut after, mut left) = (0, limit);
    while left > 0 {
        let page = spool.quarantine(pick, after, PAGE.min(left)).map_err(|e| failure(&e))?;
        let Some(last) = page.last() else { break };
        (after, left) = (last.id, left - page.len());
        for item in &page {
            if json {
                out(json_text(&described(item))?);
            } else {
                out(line(item));
            }
        }
    }
    Ok(Exit::Ok)
}

fn line(item: &Quarantined) -> String {
    let mut line = format!(
        "{:>6}  {:<20}  {:<16}  {:<16}  {}",
        item.id,
        clock(item.at),
        clean(item.plugin.as_deref().unwrap_or("?")),
        clean(&item.code),
        clean(&item.message),
    );
    if let Some(output) = &item.output {
        line.push_str(&format!(" (output {})", clean(output)));
    }
    if item.replayable().is_err() {
        line.push_str(&format!(" {}", paint(FAINT, "(not to be replayed)")));
    }
    line
}

/// A time to the second.
fn clock(millis: i64) -> String {
    let text = Timestamp::from_millis(millis).map(|at| at.to_string()).unwrap_or_default();
    text.get(..19).map_or_else(|| text.clone(), |short| format!("{short}Z"))
}

/// One thing as JSON, with all that is known of it.
fn described(item: &Quarantined) -> serde_json::Value {
    let mut value = serde_json::to_value(item).unwrap_or_default();
    let time = |millis: i64| Timestamp::from_millis(millis).map(|at| at.to_string());
    value["at"] = time(item.at).into();
    value["started"] = item.started.and_then(time).into();
    value["replayable"] = item.replayable().is_ok().into();
    value["excerpt"] = match item.kind.as_str() {
        "rejected" => String::from_utf8_lossy(&item.excerpt).into(),
        _ => serde_json::Value::Null,
    };
    let body = serde_json::from_slice::<serde_json::Value>(&item.body)
        .unwrap_or_else(|_| String::from_utf8_lossy(&item.body).into());
    let key = if item.kind == "rejected" { "rejection" } else { "report" };
    value[key] = body;
    value
}

fn show(spool: &Inspector, ids: &[i64], json: bool) -> Result<Exit, Failure> {
    let mut exit = Exit::Ok;
    for id in ids {
        let pick = Pick { ids: Some(vec![*id]), ..Pick::default() };
        let found = spool.quarantine(&pick, 0, 1).map_err(|e| failure(&e))?;
        let Some(item) = found.first() else {
            print::talk(format!("there is no item {id} in quarantine (any more)"));
            exit = Exit::Finding;
            continue;
        };
        if json {
            out(json_text(&described(item))?);
        } else {
            out(full(item));
        }
    }
    Ok(exit)
}

fn full(item: &Quarantined) -> String {
    let mut lines = vec![format!("{} {}", paint(STRONG, "item"), item.id)];
    let mut fact = |name: &str, text: &str| lines.push(format!("  {name:<8} {}", clean(text)));
    fact("at", &clock(item.at));
    for (name, text) in [("plugin", &item.plugin), ("run", &item.run), ("output", &item.output)] {
        if let Some(text) = text {
            fact(name, text);
        }
    }
    if let Some(started) = item.started {
        fact("started", &clock(started));
    }
    fact("code", &item.code);
    fact("why", &item.message);
    if item.kind == "rejected"
        && let Ok(rejection) = serde_json::from_slice::<Rejection>(&item.body)
    {
        let at = format!("line {}, column {}", rejection.line, rejection.column);
        fact("printed", &at);
        if let Some(rule) = &rejection.rule {
            fact("rule", rule);
        }
        if !rejection.hint.is_empty() {
            fact("hint", &rejection.hint);
        }
    }
    match item.replayable() {
        Ok(()) => fact("replay", &format!("talaia quarantine replay {}", item.id)),
        Err(why) => fact("replay", &format!("not possible: {why}")),
    }
    let raw = if item.kind == "rejected" { &item.excerpt } else { &item.body };
    if !raw.is_empty() {
        lines.push(paint(STRONG, if item.kind == "rejected" { "excerpt" } else { "report" }));
        lines.extend(String::from_utf8_lossy(raw).lines().map(|l| format!("  {}", clean(l))));
    }
    lines.join("\n")
}

/// Through the running agent, which has the spool; without one, on the spool itself.
fn replay(args: &ConfigArgs, pick: &Pick) -> Result<Replayed, Failure> {
    let data_dir = load::data_dir(args)?;
    if let Some(body) = ask(&data_dir, "/v1/quarantine/replay", pick)? {
        return running::parse(&body);
    }
    let env = Env::system();
    let loaded = load::load(&load::source(args, &env)?, &env, Place::from(args))?;
    replay_alone(&loaded.config, pick).map_err(|error| {
        let exit = match error {
            ReplayError::Json(_) => Exit::Internal,
            _ => Exit::Disk,
        };
        Failure::from_error(exit, &error)
    })
}

fn discard(args: &ConfigArgs, pick: &Pick) -> Result<u64, Failure> {
    let data_dir = load::data_dir(args)?;
    if let Some(body) = ask(&data_dir, "/v1/quarantine/drop", pick)? {
        return running::parse::<Discarded>(&body).map(|discarded| discarded.dropped);
    }
    // A folder without a spool does not get one for having nothing dropped from it.
    Inspector::open(&data_dir).map_err(|e| failure(&e))?;
    // Nothing but what was asked for goes: no quota and no age is looked at.
    let options = Options {
        quota: u64::MAX,
        min_free: 0,
        quarantine_quota: u64::MAX,
        quarantine_age: Duration::MAX,
        ..Options::new(data_dir)
    };
    let (spool, opened) = Spool::open(options).map_err(|e| failure(&e))?;
    opened.notices.iter().for_each(print::talk);
    spool.discard(pick.clone()).wait().map_err(|e| failure(&e))
}

/// What the running agent answers; `None` where none listens.
fn ask(data_dir: &Path, path: &str, pick: &Pick) -> Result<Option<Vec<u8>>, Failure> {
    let body = serde_json::to_vec(pick).map_err(|e| Failure::from_error(Exit::Internal, &e))?;
    match client::send(data_dir, Method::POST, path, Some(body), PATIENCE) {
        Ok(answer) => Ok(Some(answer)),
        // A socket that nobody listens at was left by an agent that was killed.
        Err(failure) if failure.exit == Exit::Unreachable => Ok(None),
        Err(failure) => Err(failure),
    }
}

fn say_replayed(replayed: &Replayed, json: bool) -> Result<Exit, Failure> {
    if json {
        out(json_text(replayed)?);
    } else {
        print::talk(format!(
            "{} {} replayed: {} accepted, {} appended",
            paint(GOOD, "ok"),
            print::count(replayed.replayed, "item"),
            print::count(replayed.accepted, "record"),
            print::count(replayed.reports, "report"),
        ));
        for stayed in &replayed.why {
            let plugin = clean(stayed.plugin.as_deref().unwrap_or("?"));
            print::talk(format!(
                "{} {} {plugin}: {}: {}",
                paint(BAD, "stays"),
                stayed.id,
                clean(&stayed.code),
                clean(&stayed.why)
            ));
        }
        let more = replayed.stayed.saturating_sub(replayed.why.len() as u64);
        if more > 0 {
            print::talk(format!("and {more} more stay"));
        }
    }
    Ok(if replayed.stayed > 0 { Exit::Finding } else { Exit::Ok })
}

fn json_text<T: serde::Serialize>(value: &T) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|e| Failure::from_error(Exit::Internal, &e))
}

fn out(text: impl std::fmt::Display) {
    // A reader that went away has seen enough.
    let _closed = print::data(text);
}
