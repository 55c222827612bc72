//! Sending results, and reading them back.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::SystemTime;

use reqwest::Method;
use serde_json::{Map, Value, json};

use crate::cli::args::{AddResultArgs, RangeArgs, Shape};
use crate::cli::emit;
use crate::cli::exit::{Exit, Failure};
use crate::cli::print;
use crate::cli::remote::{Remote, segment};
use crate::model::Timestamp;

use super::pages::{each, each_csv};
use super::{kinds, out, path, text};

/// Rows asked for at a time, and results sent at a time.
const ROWS: usize = 10_000;
const SENT: usize = 5000;

pub(super) fn add(args: &AddResultArgs) -> Result<Exit, Failure> {
    let remote = Remote::find(&args.remote)?;
    if let Some(file) = &args.file {
        return send_file(&remote, &args.monitor, file);
    }
    let usage = |text: String| Failure::new(Exit::Usage, text);
    let time = args.time.unwrap_or_else(|| Timestamp::from(SystemTime::now()));
    let mut result = json!({ "time": time });
    if let Some(additional) = &args.additional {
        let rows: Value = serde_json::from_str(additional)
            .map_err(|error| usage(format!("--additional is not JSON: {error}")))?;
        result["additional"] = rows;
    }
    let monitor: Value = remote.get(&path(&args.monitor))?.json()?;
    let kind_of = kinds(&monitor);
    let mut values: Map<String, Value> = Map::new();
    for word in &args.values {
        let (name, word) =
            word.split_once('=').ok_or_else(|| usage(format!("`{word}` is not NAME=VALUE")))?;
        let value = emit::typed(name, word, kind_of(name)).map_err(usage)?;
        match values.get_mut(name) {
            None => {
                values.insert(name.to_owned(), value);
            }
            Some(Value::Array(several)) => several.push(value),
            Some(first) => *first = json!([first.take(), value]),
        }
    }
    result["values"] = Value::Object(values);
    let path = format!("{}/results", path(&monitor["id"].to_string()));
    remote.send(Method::POST, &path, Some(&json!({ "results": [result] })))?;
    print::talk(format!("monitor {}: a result at {time}", monitor["id"]));
    Ok(Exit::Ok)
}

/// Sends what an export has, a part at a time.
fn send_file(remote: &Remote, monitor: &str, file: &Path) -> Result<Exit, Failure> {
    let mut content = Vec::new();
    let read = if file == Path::new("-") {
        std::io::stdin().lock().read_to_end(&mut content)
    } else {
        File::open(file).and_then(|mut file| file.read_to_end(&mut content))
    };
    let unreadable =
        |why: String| Failure::new(Exit::Input, format!("cannot read {}: {why}", file.display()));
    read.map_err(|error| unreadable(error.to_string()))?;
    let content: Value =
        serde_json::from_slice(&content).map_err(|error| unreadable(error.to_string()))?;
    let Some(results) = content["results"].as_array() else {
        return Err(unreadable("it has no list `results`".to_owned()));
    };
    let of = path(monitor);
    let mut sent = 0;
    for part in results.chunks(SENT) {
        let body = json!({ "results": part });
        if let Err(mut failure) = remote.send(Method::POST, &format!("{of}/results"), Some(&body)) {
            let (first, last) = (sent + 1, sent + part.len());
            let which = wrong_in(&failure.text).filter(|at| *at < part.len()).map_or_else(
                String::new,
                |at| {
                    let time = text(&part[at]["time"]);
                    format!(
                        "the first that is wrong is result {} of the file, at {time}; ",
                        first + at
                    )
                },
            );
            failure.text.push_str(&format!(
                "\n\nhint: {which}results {first} to {last} were not taken, nor what comes after them; the {sent} before them were"
            ));
            return Err(failure);
        }
        sent += part.len();
    }
    for (at, detail) in content["additional"].as_array().into_iter().flatten().enumerate() {
        let done = remote.send(Method::POST, &format!("{of}/additional"), Some(detail));
        done.map_err(|mut failure| {
            failure.text.push_str(&format!(
                "\n\nhint: this is about additional result {} of the file, at {}; what comes after it was not taken, all before it was",
                at + 1,
                text(&detail["time"])
            ));
            failure
        })?;
    }
    print::talk(format!("{} sent", print::count(sent as u64, "result")));
    Ok(Exit::Ok)
}

/// Which result of a post the hub's words are about, counted from 0.
fn wrong_in(words: &str) -> Option<usize> {
    let (_, rest) = words.split_once("/results/")?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    rest[..digits].parse().ok()
}

/// The parameters that say which rows.
fn range(args: &RangeArgs) -> String {
    let mut query = format!("?limit={ROWS}");
    let day = args.day.as_deref().map(|day| match day {
        "today" => days_ago(0),
        "yesterday" => days_ago(1),
        day => day.to_owned(),
    });
    let ms = |time: Option<Timestamp>| time.map(|time| time.millis().to_string());
    for (name, value) in [("day", day), ("from", ms(args.from)), ("to", ms(args.to))] {
        if let Some(value) = value {
            query.push_str(&format!("&{name}={}", segment(&value)));
        }
    }
    query
}

/// A day in UTC.
fn days_ago(days: i64) -> String {
    let now = Timestamp::from(SystemTime::now()).millis();
    let then = Timestamp::from_millis(now - days * 24 * 3600 * 1000);
    then.map(|time| time.to_string().chars().take(10).collect()).unwrap_or_default()
}

/// Prints rows as they come, page after page; a table is as wide as all of them need.
pub(super) fn print(
    remote: &Remote,
    args: &RangeArgs,
    what: &str,
    more: &str,
) -> Result<Exit, Failure> {
    let of = format!("{}/{what}{}{more}", path(&args.monitor), range(args));
    match args.format {
        Shape::Csv => each_csv(remote, &of, |text| print::raw(text).is_ok())?,
        Shape::Json => each(remote, &of, out)?,
        Shape::Table => {
            let mut all = Vec::new();
            each(remote, &of, |row| {
                all.push(row);
                true
            })?;
            let monitor: Value = remote.get(&path(&args.monitor))?.json()?;
            let _read = table(&monitor, &all).into_iter().all(out);
            if all.is_empty() {
                print::talk("no results then");
            }
        }
    }
    Ok(Exit::Ok)
}

pub(super) fn print_additional(remote: &Remote, args: &RangeArgs) -> Result<Exit, Failure> {
    let of = format!("{}/additional{}", path(&args.monitor), range(args));
    each(remote, &of, out)?;
    Ok(Exit::Ok)
}

/// A column for the time, for each tag, and for each metric.
fn table(monitor: &Value, rows: &[Value]) -> Vec<String> {
    if rows.is_empty() {
        return Vec::new();
    }
    let members = |row: &Value, member: &str| -> Vec<String> {
        row[member].as_object().map(|o| o.keys().cloned().collect()).unwrap_or_default()
    };
    let all = |member: &str| -> BTreeSet<String> {
        rows.iter().flat_map(|row| members(row, member)).collect()
    };
    let (tags, mut left) = (all("tags"), all("values"));
    // Declared metrics in their order, the others after them.
    let mut names: Vec<String> = Vec::new();
    for field in monitor["metrics"].as_array().into_iter().flatten() {
        names.extend(field["name"].as_str().and_then(|name| left.take(name)));
    }
    names.extend(left);
    let mut head = vec!["time".to_owned()];
    head.extend(tags.iter().chain(&names).cloned());
    let line = |row: &Value| {
        let mut cells = vec![text(&row["time"])];
        cells.extend(tags.iter().map(|tag| text(&row["tags"][tag])));
        cells.extend(names.iter().map(|name| match row["values"].get(name) {
            None => String::new(),
            Some(Value::Null) => "-".to_owned(),
            Some(value) => text(value),
        }));
        cells
    };
    // The names of metrics stay as they are, as a row does.
    let lines =
        print::table(Vec::new(), std::iter::once(head).chain(rows.iter().map(line)).collect());
    lines.into_iter().skip(1).collect()
}
