//! `schema diff`: judges again what was accepted, by the contract as it is now.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader, stdin};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;
use serde_json::{Value as Json, json};

use crate::cli::args::{ConfigArgs, DiffArgs};
use crate::cli::dry_run::find;
use crate::cli::exit::{Exit, Failure};
use crate::cli::points::Page;
use crate::cli::print::{self, BAD, GOOD, ODD, paint};
use crate::cli::remote::{Remote, segment};
use crate::cli::report::clean;
use crate::config::{Env, PluginConfig};
use crate::contract::{Contract, Judge, Moment, Strictness};
use crate::decode::{End, Format};
use crate::model::{Rejection, RejectionCode, Report, Tags, Timestamp};

/// Values that are judged together; a run may have no more than 10 000.
const TOGETHER: usize = 5000;
/// Points in one answer of the hub.
const PAGE: usize = 20_000;

pub(super) fn run(args: &DiffArgs) -> Result<Exit, Failure> {
    let env = Env::system();
    let config = ConfigArgs { config: args.remote.config.clone(), sandbox: args.remote.sandbox };
    let found = find(&args.target, &[], &config, &env)?;
    let plugin = &found.plugin;
    let contract = plugin.contract().map_err(|e| Failure::from_error(Exit::Config, &e))?;
    let mut again = Again::new(contract);
    let whence = if args.files.is_empty() {
        let host = args.host.as_deref().unwrap_or(&found.config.agent.host);
        let remote = Remote::find(&args.remote)?;
        from_hub(&remote, plugin, host, args.since, &mut again)?;
        format!("of {host} at {}, since {}", remote.url(), args.since)
    } else {
        let mut reports = 0;
        for file in &args.files {
            reports += from_file(file, plugin, args.since, &mut again)?;
        }
        format!("in {}, since {}", print::count(reports, "report"), args.since)
    };
    let diff = again.end();
    if args.json {
        let text =
            serde_json::to_string(&diff).map_err(|e| Failure::from_error(Exit::Internal, &e))?;
        let _closed = print::data(text);
    } else {
        for line in lines(&diff) {
            if print::data(line).is_err() {
                break;
            }
        }
        let values: u64 = diff.metrics.values().map(|metric| metric.values).sum();
        print::talk(format!("{}: {} {whence}", plugin.name, print::count(values, "value")));
        if plugin.schema.is_some() {
            print::talk(
                "note: its own schema is about what it prints, which is not kept; `talaia test` \
                 checks it",
            );
        }
    }
    if diff.metrics.is_empty() {
        let text = format!("there is nothing of {} {whence}", plugin.name);
        return Err(Failure::new(Exit::Finding, text));
    }
    let broken = diff.metrics.values().any(|metric| !metric.refused.is_empty());
    Ok(if broken || !diff.missing.is_empty() || !diff.absent.is_empty() {
        Exit::Finding
    } else {
        Exit::Ok
    })
}

/// Points of the hub, series by series.
fn from_hub(
    remote: &Remote,
    plugin: &PluginConfig,
    host: &str,
    since: Timestamp,
    again: &mut Again,
) -> Result<(), Failure> {
    let first = format!(
        "/api/v1/points?plugin={}&host={}&from={}&limit={PAGE}",
        segment(plugin.name.as_str()),
        segment(host),
        since.millis()
    );
    let mut path = first.clone();
    loop {
        let page: Page = remote.get(&path)?.json()?;
        for series in page.series {
            let tags = json!(series.tags);
            for (at, value) in series.points {
                again.add(&series.name, &value, &tags, at);
            }
        }
        let Some(next) = page.next else { return Ok(()) };
        path = format!("{first}&after={}", segment(&next));
    }
}

/// Reports in a file; how many are this plugin's.
fn from_file(
    path: &Path,
    plugin: &PluginConfig,
    since: Timestamp,
    again: &mut Again,
) -> Result<u64, Failure> {
    let shown = path.display();
    let unreadable = |why: String| Failure::new(Exit::Input, format!("cannot read {shown}: {why}"));
    let reader: Box<dyn BufRead> = if path == Path::new("-") {
        Box::new(BufReader::new(stdin()))
    } else {
        Box::new(BufReader::new(File::open(path).map_err(|e| unreadable(e.to_string()))?))
    };
    let mut reports = 0;
    for (line, number) in reader.lines().zip(1..) {
        let line = line.map_err(|e| unreadable(e.to_string()))?;
        if line.trim().is_empty() {
            continue;
        }
        let report: Report = serde_json::from_str(&line)
            .map_err(|e| unreadable(format!("line {number} is no report: {e}")))?;
        if report.plugin != plugin.name {
            continue;
        }
        reports += 1;
        again.report(report.metrics.iter().map(|metric| &*metric.name));
        for metric in &report.metrics {
            let at = metric.time.unwrap_or(report.started);
            if at < since {
                continue;
            }
            let value =
                serde_json::to_value(&metric.value).map_err(|e| unreadable(e.to_string()))?;
            let tags: serde_json::Map<String, Json> =
                metric.tags.iter().map(|(k, v)| (k.to_owned(), v.into())).collect();
            again.add(&metric.name, &value, &tags.into(), at.millis());
        }
    }
    Ok(reports)
}

/// What was accepted, and would it be?
#[derive(Debug, Serialize)]
struct Diff {
    metrics: BTreeMap<String, MetricDiff>,
    /// Declared as required, and never there.
    missing: Vec<String>,
    /// Declared as required, and not in so many reports.
    absent: BTreeMap<String, u64>,
    /// Declared, and never there.
    unused: Vec<String>,
}

#[derive(Debug, Default, Serialize)]
struct MetricDiff {
    /// How many values it had.
    values: u64,
    /// Whether it is declared.
    declared: bool,
    /// Values that would be refused, by code.
    refused: BTreeMap<RejectionCode, u64>,
    /// One of the refusals.
    example: Option<Rejection>,
}

/// Judges in pieces of one metric.
#[derive(Default)]
struct Again {
    contract: Arc<Contract>,
    waiting: BTreeMap<String, Vec<Json>>,
    metrics: BTreeMap<String, MetricDiff>,
    /// In how many reports each required metric came; and how many there were, where that is known.
    required: BTreeMap<String, u64>,
    reports: u64,
}

impl Again {
    fn new(contract: Contract) -> Self {
        let contract = Arc::new(contract);
        let required = contract.declared().filter(|(_, declared)| declared.required);
        let required = required.map(|(name, _)| (name.to_owned(), 0)).collect();
        Self { contract, required, ..Self::default() }
    }

    /// One whole report, by the names in it.
    fn report<'n>(&mut self, names: impl Iterator<Item = &'n str>) {
        self.reports += 1;
        let names: BTreeSet<&str> = names.collect();
        for (name, came) in &mut self.required {
            *came += u64::from(names.contains(name.as_str()));
        }
    }

    fn add(&mut self, name: &str, value: &Json, tags: &Json, at: i64) {
        if !self.declares(name) && self.contract.strictness() == Strictness::Open {
            // Nothing is asked of it.
            self.metrics.entry(name.to_owned()).or_default().values += 1;
            return;
        }
        let record = json!({"name": name, "value": value, "tags": tags, "time": at});
        let waiting = self.waiting.entry(name.to_owned()).or_default();
        waiting.push(record);
        if waiting.len() >= TOGETHER {
            let records = std::mem::take(waiting);
            self.judge(name, records);
        }
    }

    fn declares(&self, name: &str) -> bool {
        self.contract.declared().any(|(declared, _)| declared == name)
    }

    fn judge(&mut self, name: &str, records: Vec<Json>) {
        let declared = self.declares(name);
        let metric = self.metrics.entry(name.to_owned()).or_default();
        metric.declared = declared;
        metric.values += records.len() as u64;
        let text = Json::Array(records).to_string();
        let now = Timestamp::from(SystemTime::now());
        // A judge of their own: how many series there are over time is not the question.
        let mut judge = Judge::new(Arc::clone(&self.contract), Tags::new());
        let judged = judge.run(Moment { started: now, now }, |to| {
            Format::Json.decode(text.as_bytes(), End::Whole, to);
        });
        for (code, count) in judged.counts.rejected {
            // The same moment twice is the way of who filled something in, not of the contract.
            if code != RejectionCode::DuplicateSeries {
                *metric.refused.entry(code).or_default() += count;
            }
        }
        let told = judged.rejected.into_iter().find(|r| r.code != RejectionCode::DuplicateSeries);
        metric.example = metric.example.take().or(told);
    }

    fn end(mut self) -> Diff {
        for (name, records) in std::mem::take(&mut self.waiting) {
            if !records.is_empty() {
                self.judge(&name, records);
            }
        }
        let absent = self.contract.declared().filter(|(name, _)| !self.metrics.contains_key(*name));
        let (missing, unused): (Vec<_>, Vec<_>) =
            absent.partition(|(_, declared)| declared.required);
        let names =
            |list: Vec<(&str, _)>| list.into_iter().map(|(name, _)| name.to_owned()).collect();
        let (missing, unused) = (names(missing), names(unused));
        let reports = self.reports;
        let absent = self.required.into_iter().filter(|(_, came)| 0 < *came && *came < reports);
        let absent = absent.map(|(name, came)| (name, reports - came)).collect();
        Diff { metrics: self.metrics, missing, absent, unused }
    }
}

fn lines(diff: &Diff) -> Vec<String> {
    let width = diff.metrics.keys().chain(&diff.missing).chain(&diff.unused).map(String::len).max();
    let width = width.unwrap_or(0);
    let line = |style, word: &str, name: &str, text: String| {
        format!("{} {name:<width$}  {text}", paint(style, format!("{word:<11}")))
            .trim_end()
            .to_owned()
    };
    let mut all = Vec::new();
    for (name, metric) in &diff.metrics {
        let values = print::count(metric.values, "value");
        if metric.refused.is_empty() {
            let undeclared = if metric.declared { "" } else { ", not declared" };
            all.push(line(GOOD, "passes", name, format!("{values}{undeclared}")));
            continue;
        }
        let codes: Vec<String> =
            metric.refused.iter().map(|(code, count)| format!("{count} {code}")).collect();
        all.push(line(BAD, "refused", name, format!("{} of {values}", codes.join(", "))));
        if let Some(example) = &metric.example {
            let value = clean(&example.value);
            let words = format!("{}: {value}; {}", clean(&example.message), clean(&example.hint));
            all.push(line(BAD, "", "", words));
        }
    }
    for name in &diff.missing {
        all.push(line(BAD, "missing", name, "required, and never there".to_owned()));
    }
    for (name, reports) in &diff.absent {
        let reports = print::count(*reports, "report");
        all.push(line(BAD, "missing", name, format!("required, and not in {reports}")));
    }
    for name in &diff.unused {
        all.push(line(ODD, "never there", name, "declared".to_owned()));
    }
    all
}
