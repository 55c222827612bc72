//! `talaia monitor`: the monitors of a hub, over its API.

mod export;
mod pages;
mod results;

use std::io::{BufRead, IsTerminal};
use std::path::Path;
use std::time::{Duration, SystemTime};

use reqwest::Method;
use serde_json::{Map, Value, json};

use crate::model::{MetricType, Timestamp};

use super::args::{CreateArgs, DeleteArgs, EditArgs, ListArgs, MonitorCommand, PruneArgs, Spec};
use super::emit;
use super::exit::{Exit, Failure};
use super::print::{self, FAINT, ODD, STRONG, paint};
use super::remote::{Remote, segment};
use super::report::clean;

/// More monitors than anybody reads.
const MOST: usize = 1_000_000;

pub(crate) fn run(command: &MonitorCommand) -> Result<Exit, Failure> {
    match command {
        MonitorCommand::Create(args) => create(args),
        MonitorCommand::List(args) => list(args),
        MonitorCommand::Show { monitor, json, remote } => {
            let remote = Remote::find(remote)?;
            let shown = remote.get(&format!("{}?counts=true", path(monitor)))?.json()?;
            show(&remote, &shown, *json);
            Ok(Exit::Ok)
        }
        MonitorCommand::Edit(args) => edit(args),
        MonitorCommand::Delete(args) => delete(args),
        MonitorCommand::Suspend { monitor, remote } => {
            let remote = Remote::find(remote)?;
            let path = format!("{}/suspend", path(monitor));
            let after: Value = remote.send(Method::POST, &path, None)?.json()?;
            print::talk(format!("{} takes no results until it is activated", named(&after)));
            Ok(Exit::Ok)
        }
        MonitorCommand::Activate { monitor, remote } => {
            let remote = Remote::find(remote)?;
            let path = format!("{}/activate", path(monitor));
            let after: Value = remote.send(Method::POST, &path, None)?.json()?;
            print::talk(format!("{} takes results", named(&after)));
            Ok(Exit::Ok)
        }
        MonitorCommand::AddResult(args) => results::add(args),
        MonitorCommand::Results { range, additional: false, remote } => {
            results::print(&Remote::find(remote)?, range, "results", "")
        }
        MonitorCommand::Results { range, additional: true, remote } => {
            results::print_additional(&Remote::find(remote)?, range)
        }
        MonitorCommand::Report { range, interval, aggregation, offset, remote } => {
            let mut query = format!("&interval={}&offset={offset}", segment(interval));
            if let Some(aggregation) = aggregation {
                query.push_str(&format!("&aggregation={}", segment(aggregation)));
            }
            results::print(&Remote::find(remote)?, range, "report", &query)
        }
        MonitorCommand::Prune(args) => prune(args),
    }
}

/// The path of a monitor that somebody named by its id or name.
fn path(named: &str) -> String {
    format!("/api/v1/monitors/{}", segment(named))
}

/// A monitor as a message calls it.
fn named(monitor: &Value) -> String {
    format!("monitor {} `{}`", monitor["id"], text(&monitor["name"]))
}

/// A member as people read it.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => clean(text),
        other => clean(&other.to_string()),
    }
}

/// A line of data. Says whether somebody still reads.
fn out(line: impl std::fmt::Display) -> bool {
    print::data(line).is_ok()
}

/// Fields as the API wants them.
fn declared(specs: &[Spec]) -> Result<Value, Failure> {
    let field = |spec: &Spec| -> Result<Value, String> {
        let values = spec.values.iter().map(|text| emit::typed(&spec.name, text, Some(spec.kind)));
        Ok(json!({
            "name": spec.name, "label": spec.label, "unit": spec.unit, "type": spec.kind,
            "values": values.collect::<Result<Vec<_>, _>>()?, "aggregation": spec.aggregation,
        }))
    };
    let fields = specs.iter().map(field).collect::<Result<Vec<_>, _>>();
    fields.map(Value::Array).map_err(|text| Failure::new(Exit::Usage, text))
}

fn create(args: &CreateArgs) -> Result<Exit, Failure> {
    let mut body = json!({
        "name": args.name, "tags": args.tags, "multi_value": args.multi_value,
        "metrics": declared(&args.metrics)?, "additional": declared(&args.additional)?,
    });
    if let Some(kind) = &args.kind {
        body["type"] = json!(kind);
    }
    let remote = Remote::find(&args.remote)?;
    let if_missing = if args.if_missing { "?if_missing=true" } else { "" };
    let reply = remote.send(Method::POST, &format!("/api/v1/monitors{if_missing}"), Some(&body))?;
    let made: Value = reply.json()?;
    let verb = if reply.status == 201 { "Created monitor" } else { "There is already monitor" };
    print::talk(format!("{verb}: {}  {}", made["id"], paint(FAINT, page(&remote, &made))));
    if args.json {
        out(&made);
    } else if !print::a_person_reads_stdout() {
        out(&made["id"]);
    }
    Ok(Exit::Ok)
}

/// Where a browser shows it.
fn page(remote: &Remote, monitor: &Value) -> String {
    format!("{}/monitor/{}", remote.url(), monitor["id"])
}

fn list(args: &ListArgs) -> Result<Exit, Failure> {
    let mut query = String::from("?limit=1000");
    let from = args.from.map(|from| match from {
        super::args::Sender::Agent => "agent".to_owned(),
        super::args::Sender::Direct => "direct".to_owned(),
    });
    let given = [
        ("tag", args.tag.clone()),
        ("type", args.kind.clone()),
        ("name", args.name.clone()),
        ("q", args.search.clone()),
        ("from", from),
        ("unused_since", args.unused.map(ago)),
        ("suspended", args.suspended.then(|| "true".to_owned())),
    ];
    for (name, value) in given {
        if let Some(value) = value {
            query.push_str(&format!("&{name}={}", segment(&value)));
        }
    }
    let items = Remote::find(&args.remote)?.items(&format!("/api/v1/monitors{query}"), MOST)?;
    print_list(&items, args.json);
    if items.is_empty() && print::a_person_reads_stdout() {
        print::talk("no monitors");
    }
    Ok(Exit::Ok)
}

/// A table for a person, id and name with a tab between for a program.
fn print_list(items: &[Value], json: bool) {
    let lines: Vec<String> = if json {
        items.iter().map(Value::to_string).collect()
    } else if items.is_empty() {
        Vec::new()
    } else if print::a_person_reads_stdout() {
        let head = ["id", "name", "tags", "type", "from", "last heard of", ""];
        let row = |item: &Value| {
            let tags: Vec<String> =
                item["tags"].as_array().into_iter().flatten().map(text).collect();
            let state = if item["suspended"].is_null() { "" } else { "suspended" };
            vec![
                item["id"].to_string(),
                text(&item["name"]),
                tags.join(", "),
                text(&item["type"]),
                text(&item["from"]),
                short(&item["received"]),
                state.to_owned(),
            ]
        };
        print::table(head.map(str::to_owned).into(), items.iter().map(row).collect())
    } else {
        items.iter().map(|item| format!("{}\t{}", item["id"], text(&item["name"]))).collect()
    };
    for line in lines {
        if !out(line) {
            break;
        }
    }
}

/// A time to the second.
fn short(time: &Value) -> String {
    let time = text(time);
    time.get(..19).map_or_else(|| time.clone(), |short| format!("{short}Z"))
}

/// So long before now, as the API reads it.
fn ago(duration: Duration) -> String {
    let at = SystemTime::now().checked_sub(duration).unwrap_or(SystemTime::UNIX_EPOCH);
    Timestamp::from(at).millis().to_string()
}

fn show(remote: &Remote, monitor: &Value, json: bool) {
    if json {
        out(monitor);
        return;
    }
    let mut lines = vec![format!(
        "{} {}",
        paint(STRONG, text(&monitor["name"])),
        paint(FAINT, page(remote, monitor))
    )];
    let mut fact = |name: &str, value: String| {
        if !value.is_empty() {
            lines.push(format!("  {name:<13} {value}"));
        }
    };
    fact("id", monitor["id"].to_string());
    fact("type", text(&monitor["type"]));
    let tags: Vec<String> = monitor["tags"].as_array().into_iter().flatten().map(text).collect();
    fact("tags", tags.join(", "));
    if !monitor["plugin"].is_null() {
        fact("plugin", text(&monitor["plugin"]));
        fact("host", text(&monitor["host"]));
    }
    if monitor["multi_value"] == true {
        fact("values", "several at one time".to_owned());
    }
    fact("created", short(&monitor["created"]));
    fact("last heard of", short(&monitor["received"]));
    fact("suspended", short(&monitor["suspended"]));
    let held = &monitor["held"];
    if held.is_object() {
        fact("held", amount(held));
    }
    for (title, member) in
        [("metrics", "metrics"), ("additional", "additional"), ("parameters", "parameters")]
    {
        let fields = monitor[member].as_array().map(Vec::as_slice).unwrap_or_default();
        if fields.is_empty() {
            continue;
        }
        lines.push(format!("  {title}"));
        let rows = fields.iter().map(|field| {
            let values: Vec<String> =
                field["values"].as_array().into_iter().flatten().map(text).collect();
            let columns = ["name", "type", "unit", "label", "value", "aggregation"];
            let mut row: Vec<String> = columns.iter().map(|column| text(&field[*column])).collect();
            row.push(values.join(", "));
            row
        });
        let head = ["name", "type", "unit", "label", "value", "reports", "only"];
        let table = print::table(head.map(str::to_owned).into(), rows.collect());
        lines.extend(table.into_iter().map(|line| format!("    {line}")));
    }
    for line in lines {
        if !out(line) {
            break;
        }
    }
}

/// What a monitor has, in words.
fn amount(held: &Value) -> String {
    let count = |member: &str, noun: &str| print::count(held[member].as_u64().unwrap_or(0), noun);
    let results = if held["results"].is_null() {
        "more results than the hub can count".to_owned()
    } else {
        format!("{} ({})", count("results", "result"), count("values", "value"))
    };
    let mut parts = vec![results];
    for (member, noun) in
        [("additional", "additional result"), ("runs", "run"), ("rejections", "refused record")]
    {
        if held[member].as_u64().unwrap_or(0) > 0 {
            parts.push(count(member, noun));
        }
    }
    parts.join(", ")
}

fn edit(args: &EditArgs) -> Result<Exit, Failure> {
    let mut body = Map::new();
    if let Some(name) = &args.name {
        body.insert("name".to_owned(), json!(name));
    }
    if let Some(kind) = &args.kind {
        body.insert("type".to_owned(), json!(kind));
    }
    if args.no_tags || !args.tags.is_empty() {
        body.insert("tags".to_owned(), json!(args.tags));
    }
    if let Some(multi_value) = args.multi_value {
        body.insert("multi_value".to_owned(), json!(multi_value));
    }
    if !args.metrics.is_empty() {
        body.insert("metrics".to_owned(), declared(&args.metrics)?);
    }
    if !args.additional.is_empty() {
        body.insert("additional".to_owned(), declared(&args.additional)?);
    }
    if body.is_empty() {
        let text = "what is to change? say --name, --tag, --no-tags, --type, --metric, --additional or --multi-value";
        return Err(Failure::new(Exit::Usage, text));
    }
    let remote = Remote::find(&args.remote)?;
    let body = Value::Object(body);
    let after: Value = remote.send(Method::PATCH, &path(&args.monitor), Some(&body))?.json()?;
    print::talk(format!("{} is changed", named(&after)));
    if args.json {
        out(&after);
    }
    Ok(Exit::Ok)
}

fn delete(args: &DeleteArgs) -> Result<Exit, Failure> {
    let remote = Remote::find(&args.remote)?;
    let monitor: Value = remote.get(&format!("{}?counts=true", path(&args.monitor)))?.json()?;
    if args.export.as_deref().is_some_and(export::is_csv) {
        export::fits_csv(&monitor)?;
    }
    let what = format!("{} with {}", named(&monitor), amount(&monitor["held"]));
    if !args.yes && !agreed(&format!("remove {what} for good?"))? {
        print::talk("nothing was removed");
        return Ok(Exit::Finding);
    }
    let removed = match &args.export {
        None => remove(&remote, &monitor, "")?,
        Some(file) => remove_exported(&remote, &monitor, file)?,
    };
    if args.json {
        out(&removed);
    }
    Ok(Exit::Ok)
}

/// Writes all that a monitor has to a new file, then removes it. What arrives in between is refused,
/// so that whoever sends it knows. Where something fails, the monitor goes on as it was.
fn remove_exported(remote: &Remote, monitor: &Value, file: &Path) -> Result<Value, Failure> {
    let export = export::Export::create(file)?;
    let path = path(&monitor["id"].to_string());
    let ran = monitor["suspended"].is_null();
    if ran {
        remote.send(Method::POST, &format!("{path}/suspend"), None)?;
    }
    let done = (|| {
        // As it is now that nothing changes it any more, but for what was done to it here.
        let mut held: Value = remote.get(&format!("{path}?counts=true"))?.json()?;
        held["suspended"] = monitor["suspended"].clone();
        let written = export.write(remote, &held)?;
        print::talk(format!("{} written to {}", print::count(written, "result"), file.display()));
        remove(remote, monitor, "")
    })();
    done.map_err(|mut failure: Failure| {
        let activated = ran.then(|| remote.send(Method::POST, &format!("{path}/activate"), None));
        if let Some(Err(_)) = activated {
            let hint = format!(
                "\n\nhint: unless it is gone, {} is suspended now; `talaia monitor activate {}` lets it take results again",
                named(monitor),
                monitor["id"]
            );
            failure.text.push_str(&hint);
        }
        failure
    })
}

/// Removes a monitor by its id, under the conditions of a query, and says what went.
fn remove(remote: &Remote, monitor: &Value, query: &str) -> Result<Value, Failure> {
    let path = format!("{}{query}", path(&monitor["id"].to_string()));
    let removed: Value = remote.send(Method::DELETE, &path, None)?.json()?;
    print::talk(format!(
        "Monitor {} deleted: `{}` with {}",
        removed["id"],
        text(&removed["name"]),
        amount(&removed["removed"])
    ));
    Ok(removed)
}

/// Asks a person. Where there is none to ask, it must have been said on the command line.
fn agreed(question: &str) -> Result<bool, Failure> {
    if !(std::io::stdin().is_terminal() && print::a_person_reads_stderr()) {
        let text = format!("{question} say --yes: there is nobody to ask");
        return Err(Failure::new(Exit::Usage, text));
    }
    print::talk(format!("{question} {}", paint(ODD, "[y/N]")));
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    read.map_err(|error| Failure::from_error(Exit::Input, &error))?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

fn prune(args: &PruneArgs) -> Result<Exit, Failure> {
    let remote = Remote::find(&args.remote)?;
    let since = ago(args.unused);
    let mut query = format!("/api/v1/monitors?limit=1000&unused_since={since}");
    if let Some(tag) = &args.tag {
        query.push_str(&format!("&tag={}", segment(tag)));
    }
    let unused = remote.items(&query, MOST)?;
    print_list(&unused, args.json);
    let long = humantime::format_duration(args.unused);
    if unused.is_empty() {
        print::talk(format!("every monitor was heard of within {long}"));
        return Ok(Exit::Ok);
    }
    let count = print::count(unused.len() as u64, "monitor");
    let person = std::io::stdin().is_terminal() && print::a_person_reads_stderr();
    if !args.yes && !person {
        print::talk(format!(
            "{count} not heard of for {long}; --yes removes them with all results"
        ));
        return Ok(Exit::Ok);
    }
    if !args.yes && !agreed(&format!("remove {count} with all results for good?"))? {
        print::talk("nothing was removed");
        return Ok(Exit::Finding);
    }
    for monitor in &unused {
        // Something may have come for it since it was listed.
        match remove(&remote, monitor, &format!("?unused_since={since}")) {
            Err(stays) if stays.status == Some(409) => print::talk(stays),
            done => drop(done?),
        }
    }
    Ok(Exit::Ok)
}

/// The type that each metric of a monitor is declared with.
fn kinds(monitor: &Value) -> impl Fn(&str) -> Option<MetricType> {
    let fields = monitor["metrics"].as_array().cloned().unwrap_or_default();
    move |name| {
        let field = fields.iter().find(|field| field["name"] == *name)?;
        field["type"].as_str()?.parse().ok()
    }
}
