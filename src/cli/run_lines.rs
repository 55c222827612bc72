//! The lines that `talaia run` writes on stderr: one for each run, and what outputs have delivered.
//!
//! Where no terminal is read, every run is one line of a fixed form (`20:42:10 ok       hello 4 ms,
//! 2 metrics`), and nothing else is added. On a terminal they stand in columns, never wider than the
//! terminal, with the first values; a refusal has its hint below it, once a minute. Runs that come faster than a
//! person reads are told together, troubles last of all; `-v` shows each.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use anstyle::Style;

use crate::model::{Metric, Outcome, PluginName, RejectionCode, Report, Timestamp, Value};

use super::args::{LogFormat, Talk};
use super::print::{self, BAD, Background, FAINT, ODD, STRONG, paint};
use super::report::{clean, verdict};
use super::text::{self, Line};

/// Lines that may come at once, and how many more each second: what a person can read.
const BURST: f64 = 30.0;
const RATE: f64 = 4.0;
/// Good runs leave this many for troubles.
const SPARED: f64 = 15.0;
/// How often what was not shown is told together.
const TOGETHER: Duration = Duration::from_secs(5);
/// How often an output's deliveries are told.
const DELIVERIES: Duration = Duration::from_secs(30);
/// When a plugin's refusals, while they are the same, are explained again.
const AGAIN: Duration = Duration::from_secs(60);
/// The longest name of a plugin that has a column to itself, where the terminal is wide.
const NAME: usize = 20;
/// Refusals of a plugin that are remembered: one that has more of them is heard more often.
const HINTS: usize = 16;
/// The longest value that is shown.
const VALUE: usize = 24;

/// Where lines go, and in which form.
pub(crate) struct RunLines {
    stderr: Background,
    form: Form,
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// None at all.
    Quiet,
    /// Events of the log.
    Json,
    /// One line a run, of a fixed form.
    Plain,
    /// In columns, for a person. `all`: whatever the pace.
    Terminal { all: bool },
}

impl RunLines {
    pub(crate) fn new(talk: &Talk, stderr: &Background) -> Arc<Self> {
        let form = match (talk.quiet, talk.log_format) {
            (true, _) => Form::Quiet,
            (false, LogFormat::Json) => Form::Json,
            (false, LogFormat::Text) if print::a_person_reads_stderr() => {
                Form::Terminal { all: talk.verbose > 0 }
            }
            (false, LogFormat::Text) => Form::Plain,
        };
        let state = Mutex::new(State::new(Instant::now()));
        Arc::new(Self { stderr: stderr.clone(), form, state })
    }

    /// A run is over.
    pub(crate) fn run(&self, report: &Report) {
        match self.form {
            Form::Quiet => {}
            Form::Json => tracing::info!(
                target: "run",
                plugin = %report.plugin,
                run = %report.run,
                outcome = report.outcome.kind().as_str(),
                status = report.status.as_str(),
                duration = report.duration,
                accepted = report.counts.accepted,
                rejected = report.counts.rejected_total(),
                "run"
            ),
            Form::Plain => self.stderr.line(plain(report)),
            Form::Terminal { all } => {
                let width = print::stderr_width();
                let lines = self.state().run(report, all, width, Instant::now());
                self.say(&lines);
            }
        }
    }

    /// An output has taken an upload.
    pub(crate) fn delivery(&self, output: &str, records: u64) {
        if let Form::Terminal { .. } = self.form {
            self.state().deliver(output, records);
        }
    }

    /// Tells what is to be told together, when it is time; does not end.
    pub(crate) async fn keep_telling(&self) {
        let Form::Terminal { .. } = self.form else { return std::future::pending().await };
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let width = print::stderr_width();
            let lines = self.state().tell(width, Instant::now());
            self.say(&lines);
        }
    }

    fn say(&self, lines: &[String]) {
        if !lines.is_empty() {
            self.stderr.line(lines.join("\n"));
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What has been told, and what not.
struct State {
    /// Columns of the longest name so far.
    name: usize,
    /// Lines that may be written now.
    budget: f64,
    filled: Instant,
    together: Option<Together>,
    /// Which of a plugin's refusals were explained, by code and place, and when.
    hints: HashMap<PluginName, Vec<(RejectionCode, String, Instant)>>,
    outputs: BTreeMap<String, Delivered>,
}

/// Runs that were not shown.
struct Together {
    since: Instant,
    plugins: HashSet<PluginName>,
    /// By their words, and how those look.
    words: BTreeMap<&'static str, (Style, u64)>,
    slowest: (f64, PluginName),
}

/// What an output has taken since that was told.
#[derive(Default)]
struct Delivered {
    records: u64,
    uploads: u64,
    told: Option<Instant>,
}

impl State {
    fn new(now: Instant) -> Self {
        let (hints, outputs) = (HashMap::new(), BTreeMap::new());
        Self { name: 8, budget: BURST, filled: now, together: None, hints, outputs }
    }

    fn run(&mut self, report: &Report, all: bool, width: usize, now: Instant) -> Vec<String> {
        let (style, word) = verdict(report);
        let mut told = self.tell(width, now);
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.budget = (self.budget + passed * RATE).min(BURST);
        self.filled = now;
        let least = if matches!(word, "ok" | "empty" | "stopped") { SPARED } else { 1.0 };
        if !all && self.budget < least {
            let together = self.together.get_or_insert_with(|| Together {
                since: now,
                plugins: HashSet::new(),
                words: BTreeMap::new(),
                slowest: (report.duration, report.plugin.clone()),
            });
            together.plugins.insert(report.plugin.clone());
            together.words.entry(word).or_insert((style, 0)).1 += 1;
            if report.duration > together.slowest.0 {
                together.slowest = (report.duration, report.plugin.clone());
            }
            return told;
        }
        self.name = self.name.max(text::width(report.plugin.as_str())).min(longest_name(width));
        let mut lines = columns(report, self.name, width);
        if !report.rejected.is_empty() && (all || self.is_news(report, now)) {
            lines.extend(why(report, width));
        }
        self.budget -= lines.len() as f64;
        told.extend(lines);
        told
    }

    /// Whether the refusal is another one than was told lately.
    fn is_news(&mut self, report: &Report, now: Instant) -> bool {
        let Some(first) = report.rejected.first() else { return false };
        let told = self.hints.entry(report.plugin.clone()).or_default();
        told.retain(|(_, _, at)| now.saturating_duration_since(*at) < AGAIN);
        // Not by the message, which may have the value in it.
        if told.iter().any(|(code, path, _)| *code == first.code && *path == first.path) {
            return false;
        }
        if told.len() == HINTS {
            told.remove(0);
        }
        told.push((first.code, first.path.clone(), now));
        true
    }

    fn deliver(&mut self, output: &str, records: u64) {
        // Reports without a metric are delivered too, and tell nobody anything.
        if records == 0 {
            return;
        }
        let delivered = self.outputs.entry(output.to_owned()).or_default();
        delivered.uploads += 1;
        delivered.records += records;
    }

    /// What it is time to tell.
    fn tell(&mut self, width: usize, now: Instant) -> Vec<String> {
        let due = |since: Instant, every| now.saturating_duration_since(since) >= every;
        let mut lines = Vec::new();
        if let Some(together) = self.together.take_if(|t| due(t.since, TOGETHER)) {
            lines.push(together.line(width));
        }
        for (name, delivered) in &mut self.outputs {
            let is_due = delivered.told.is_none_or(|told| due(told, DELIVERIES));
            if delivered.uploads > 0 && is_due {
                let mut line = head(FAINT, "output", name, self.name, &clock(SystemTime::now()));
                let (records, uploads) = (delivered.records, delivered.uploads);
                line.add(
                    Style::new(),
                    format!(
                        "  delivered {} {} in {} {}",
                        print::grouped(records),
                        if records == 1 { "record" } else { "records" },
                        print::grouped(uploads),
                        if uploads == 1 { "upload" } else { "uploads" },
                    ),
                );
                lines.push(line.fit(width));
                *delivered = Delivered { told: Some(now), ..Delivered::default() };
            }
        }
        lines
    }
}

impl Together {
    /// `20:42:15  and       480 ok, 2 failed of 241 plugins (-v shows each); slowest backup, 2.10 s`
    fn line(&self, width: usize) -> String {
        let mut line = Line::default();
        line.add(FAINT, clock(SystemTime::now()));
        line.add(Style::new(), "  ");
        line.add(FAINT, format!("{:<8}", "and"));
        for (n, (word, (style, count))) in self.words.iter().enumerate() {
            line.add(Style::new(), if n == 0 { "  " } else { ", " });
            line.add(*style, format!("{} {word}", print::grouped(*count)));
        }
        let (seconds, plugin) = &self.slowest;
        let plugins = print::count(self.plugins.len() as u64, "plugin");
        line.add(Style::new(), format!(" of {plugins}"));
        line.add(FAINT, " (-v shows each)");
        line.add(Style::new(), format!("; slowest {plugin}, {}", print::seconds(*seconds)));
        line.fit(width)
    }
}

/// The time of day in UTC, as the log has it.
fn clock(at: impl Into<Timestamp>) -> String {
    let text = at.into().to_string();
    text.get(11..19).unwrap_or(&text).to_owned()
}

/// The most that names take of a terminal: the values are what a person looks for.
fn longest_name(width: usize) -> usize {
    (width * 7 / 40).clamp(8, NAME)
}

/// Clock, word and name in their columns.
fn head(style: Style, word: &str, name: &str, columns: usize, clock: &str) -> Line {
    let mut line = Line::default();
    line.add(FAINT, clock);
    line.add(Style::new(), "  ");
    line.add(style, format!("{word:<8}"));
    line.add(Style::new(), "  ");
    line.add(STRONG, text::pad(name, columns));
    line
}

/// One run on a terminal. The clock is that of its end, so that it never goes back.
fn columns(report: &Report, name: usize, width: usize) -> Vec<String> {
    let (style, word) = verdict(report);
    let ended = report.started.millis().saturating_add((report.duration * 1e3) as i64);
    let clock = clock(Timestamp::from_millis(ended).unwrap_or(report.started));
    let mut line = head(style, word, report.plugin.as_str(), name, &clock);
    let metrics = print::count(report.counts.accepted, "metric");
    line.add(Style::new(), format!("  {:>7}  {metrics:<10}", print::seconds(report.duration)));
    let refused = report.counts.rejected_total();
    let mut parts = Vec::new();
    if !matches!(report.outcome, Outcome::Exited { code: 0 } | Outcome::Answered) {
        parts.push((style, clean(&report.outcome.to_string())));
    }
    if refused > 0 {
        parts.push((BAD, format!("{refused} refused")));
    }
    if report.skipped > 0 {
        parts.push((ODD, format!("{} skipped", report.skipped)));
    }
    if report.leftovers > 0 {
        parts.push((ODD, format!("{} left over", report.leftovers)));
    }
    if let Some(message) = &report.message
        && !matches!(report.outcome, Outcome::NotStarted { .. })
    {
        parts.push((Style::new(), clean(message)));
    }
    for (n, (style, part)) in parts.into_iter().enumerate() {
        line.add(Style::new(), if n == 0 { "  " } else { ", " });
        line.add(style, part);
    }
    let mut has_more = false;
    for (name, value) in values(report) {
        let name = format!("  {name}=");
        // Half a value would be a wrong one; the next may be shorter.
        if line.columns() + text::width(&name) + text::width(&value) + 3 > width {
            has_more = true;
            continue;
        }
        line.add(FAINT, name);
        line.add(Style::new(), value);
    }
    if has_more {
        line.add(FAINT, "  …");
    }
    vec![line.fit(width)]
}

/// The first refusal, with its hint on a line of its own.
fn why(report: &Report, width: usize) -> Vec<String> {
    // The columns of the name, or what a narrow terminal leaves.
    let indent = 20.min(width / 4);
    let refused = report.counts.rejected_total();
    let mut lines = Vec::new();
    if let Some(first) = report.rejected.first() {
        let place = format!("line {}:{} ", first.line, first.column);
        let more = match refused {
            0 | 1 => String::new(),
            n => format!(" (and {} more: `talaia test {}`)", n - 1, report.plugin),
        };
        let what = format!("{place}{}: {}{more}", first.code, clean(&first.message));
        lines.extend(text::wrap(&what, width, indent).map(|line| paint_after(BAD, &line)));
        if !first.hint.is_empty() {
            let hint = format!("hint: {}", clean(&first.hint));
            lines.extend(text::wrap(&hint, width, indent).map(|line| paint_after(STRONG, &line)));
        }
    }
    lines
}

/// Colours what comes after the indent.
fn paint_after(style: Style, line: &str) -> String {
    let text = line.trim_start();
    format!("{}{}", &line[..line.len() - text.len()], paint(style, text))
}

/// The first metrics, each name once: texts, which may be long, after numbers.
fn values(report: &Report) -> Vec<(&str, String)> {
    let mut shown: Vec<(&str, String)> = Vec::new();
    let is_text = |metric: &&Metric| matches!(metric.value, Value::Text(_));
    let numbers = report.metrics.iter().filter(|metric| !is_text(metric));
    for metric in numbers.chain(report.metrics.iter().filter(is_text)) {
        // No terminal has room for more.
        if shown.len() == 12 {
            break;
        }
        if shown.iter().all(|(name, _)| *name != &*metric.name) {
            let mut value = text::cut(&clean(&metric.value.to_string()), VALUE);
            if let Some(unit @ ("%" | "s" | "B")) = metric.unit.as_deref() {
                value.push_str(unit);
            }
            shown.push((&metric.name, value));
        }
    }
    shown
}

/// One run where no person reads: `20:42:10 ok       disk 12 ms, 4 metrics`.
fn plain(report: &Report) -> String {
    let (style, word) = verdict(report);
    let mut line = format!(
        "{} {} {} {}, {}",
        paint(FAINT, clock(report.started)),
        paint(style, format!("{word:<8}")),
        paint(STRONG, &report.plugin),
        print::seconds(report.duration),
        print::count(report.counts.accepted, "metric"),
    );
    let mut part = |text: String| line.push_str(&format!(", {text}"));
    if !matches!(report.outcome, Outcome::Exited { code: 0 }) {
        part(clean(&report.outcome.to_string()));
    }
    let refused = report.counts.rejected_total();
    if refused > 0 {
        part(format!("{refused} refused"));
    }
    if report.skipped > 0 {
        part(format!("{} skipped", report.skipped));
    }
    if report.leftovers > 0 {
        part(format!("{} left over", report.leftovers));
    }
    if let Some(message) = &report.message
        && !matches!(report.outcome, Outcome::NotStarted { .. })
    {
        line.push_str(&format!(" — {}", clean(message)));
    }
    if let Some(first) = report.rejected.first() {
        let (row, column) = (first.line, first.column);
        let message = clean(&first.message);
        line.push_str(&format!("\n         line {row}:{column} {}: {message}", first.code));
        if !first.hint.is_empty() {
            line.push_str(&format!("; hint: {}", clean(&first.hint)));
        }
        if refused > 1 {
            let more = refused - 1;
            line.push_str(&format!(" (and {more} more: `talaia test {}`)", report.plugin));
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn report(plugin: &str, refused: usize) -> Report {
        let rejection = json!({
            "code": "name-hyphen", "path": "/foo-bar", "line": 1, "column": 8, "value": "foo-bar",
            "message": "a name has no hyphens, because destinations do not all take them",
            "hint": "rename it to `foo_bar`",
        });
        let metric = |name: &str, value: serde_json::Value, kind: &str| json!({"name": name, "value": value, "type": kind});
        let rejected = if refused == 0 { json!({}) } else { json!({"name-hyphen": refused}) };
        serde_json::from_value(json!({
            "plugin": plugin, "key": null, "host": "h", "interval": 10, "message": null,
            "run": "0192f0c1-0000-7000-8000-000000000000", "duration": 0.004,
            "started": "2026-11-22T20:42:10.123Z", "outcome": {"kind": "exited", "code": 0},
            "status": "ok", "warnings": [], "skipped": 0, "leftovers": 0,
            "metrics": [
                metric("load1", json!(0.42), "float"),
                metric("users", json!(3), "integer"),
                metric("users", json!(4), "integer"),
                metric("kernel", json!("6.1\u{1b}[31m and a very long story about it"), "string"),
            ],
            "rejected": vec![rejection; refused.min(100)],
            "counts": {"produced": 4 + refused, "accepted": 4, "rejected": rejected},
            "usage": {"cpu": 0.0, "max_rss": 0, "stdout": 0, "stderr": 0},
        }))
        .unwrap()
    }

    /// Without colours.
    fn seen(lines: &[String]) -> Vec<String> {
        lines.iter().map(|line| anstream::adapter::strip_str(line).to_string()).collect()
    }

    #[test]
    fn a_good_run_is_one_line_in_columns() {
        let lines = seen(&columns(&report("hello", 0), 8, 80));
        let wanted = "20:42:10  ok        hello        4 ms  4 metrics   load1=0.42  users=3  …";
        assert_eq!(lines, [wanted]);
    }

    #[test]
    fn what_does_not_fit_hides_nothing_that_does() {
        let mut report = report("hello", 0);
        let long = report.metrics.remove(3);
        report.metrics.insert(0, long.clone());
        report.metrics.insert(
            1,
            Metric { name: "a_name_that_takes_a_line".into(), ..report.metrics[1].clone() },
        );
        let lines = seen(&columns(&report, 8, 76));
        let wanted = "20:42:10  ok        hello        4 ms  4 metrics   load1=0.42  users=3  …";
        assert_eq!(lines, [wanted]);
        // Names leave room for values.
        assert_eq!([40, 80, 120].map(longest_name), [8, 14, 20]);
    }

    #[test]
    fn refusals_that_alternate_are_each_explained_once() {
        let t0 = Instant::now();
        let mut state = State::new(t0);
        let (one, mut other, mut same) = (report("bad", 1), report("bad", 1), report("bad", 1));
        other.rejected[0].path = "/other".to_owned();
        same.rejected[0].message = "a name has other hyphens".to_owned();
        let told = [&one, &other, &one, &other, &same].map(|report| state.is_news(report, t0));
        assert_eq!(told, [true, true, false, false, false]);
        assert!(state.is_news(&one, t0 + AGAIN));
    }

    #[test]
    fn a_refusal_has_its_hint_on_a_line_of_its_own() {
        let report = report("hello", 3);
        let mut lines = columns(&report, 8, 80);
        lines.extend(why(&report, 80));
        let wanted = [
            "20:42:10  refused   hello        4 ms  4 metrics   3 refused  load1=0.42  …",
            "                    line 1:8 name-hyphen: a name has no hyphens, because",
            "                    destinations do not all take them (and 2 more: `talaia test",
            "                    hello`)",
            "                    hint: rename it to `foo_bar`",
        ];
        assert_eq!(seen(&lines), wanted);
        assert!(lines[1].contains(&BAD.render().to_string()), "{}", lines[1]);
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for width in 1..200 {
            let report = report("a_rather_long_name_of_a_plugin", 2);
            let mut lines = columns(&report, NAME, width);
            lines.extend(why(&report, width));
            for line in seen(&lines) {
                assert!(text::width(&line) <= width, "{width}: {line}");
            }
        }
    }

    #[test]
    fn what_no_person_reads_keeps_its_form() {
        assert_eq!(
            seen(&[plain(&report("hello", 0))]),
            ["20:42:10 ok       hello 4 ms, 4 metrics"]
        );
        let refused = seen(&[plain(&report("hello", 2))]).remove(0);
        let wanted = "20:42:10 refused  hello 4 ms, 4 metrics, 2 refused\n         line 1:8 \
                      name-hyphen: a name has no hyphens, because destinations do not all take them; \
                      hint: rename it to `foo_bar` (and 1 more: `talaia test hello`)";
        assert_eq!(refused, wanted);
    }

    #[test]
    fn what_comes_too_fast_is_told_together_and_troubles_are_shown_longest() {
        let t0 = Instant::now();
        let mut state = State::new(t0);
        let (good, bad) = (report("good", 0), report("bad", 1));
        let shown = (0..500).filter(|_| !state.run(&good, false, 80, t0).is_empty()).count();
        assert_eq!(shown, (BURST - SPARED) as usize + 1);
        assert_eq!(state.run(&bad, false, 80, t0).len(), 4);
        // What was explained just now is not explained again.
        assert_eq!(state.run(&bad, false, 80, t0).len(), 1);
        for _ in 0..100 {
            state.run(&bad, false, 80, t0);
        }
        assert!(state.tell(80, t0 + TOGETHER / 2).is_empty());
        let told = seen(&state.tell(200, t0 + TOGETHER));
        assert_eq!(told.len(), 1);
        let what = "  484 ok, 91 refused of 2 plugins (-v shows each); slowest good, 4 ms";
        assert!(told[0].ends_with(what), "{}", told[0]);
        // With `-v` all of them are shown.
        assert_eq!((0..500).filter(|_| !state.run(&good, true, 80, t0).is_empty()).count(), 500);
    }

    #[test]
    fn deliveries_are_told_at_once_and_then_now_and_then() {
        let t0 = Instant::now();
        let mut state = State::new(t0);
        assert!(state.tell(80, t0).is_empty());
        state.deliver("main", 1);
        let first = seen(&state.tell(80, t0));
        assert!(
            first[0].ends_with("  output    main      delivered 1 record in 1 upload"),
            "{first:?}"
        );
        state.deliver("main", 1000);
        state.deliver("main", 204);
        assert!(state.tell(80, t0 + DELIVERIES / 2).is_empty());
        state.deliver("main", 0);
        let second = seen(&state.tell(80, t0 + DELIVERIES));
        assert!(second[0].ends_with("delivered 1 204 records in 2 uploads"), "{second:?}");
        assert!(state.tell(80, t0 + DELIVERIES * 3).is_empty());
    }
}
