//! One plugin at length, and the page of keys, as lines. `talaia status PLUGIN` prints the former.

use std::collections::BTreeMap;

use ratatui::style::Style;
use ratatui::text::{Line, Span};

use crate::agent::status::{PluginDetail, PluginStatus, ShownValue};
use crate::model::Timestamp;

use super::super::health::{self, Care};
use super::super::report::clean;
use super::super::{brief, print, text};
use super::model::{Model, next, refused, took};
use super::theme::{FAINT, STRONG, Theme};

/// What there is to say of a plugin.
pub(crate) struct About<'a> {
    pub(crate) name: &'a str,
    pub(crate) status: &'a PluginStatus,
    /// Missing for one that is not configured any more.
    pub(crate) detail: Option<&'a PluginDetail>,
    /// What its metrics were, by name, the newest last.
    pub(crate) values: &'a BTreeMap<String, Vec<f64>>,
}

/// The selected plugin.
pub(super) fn plugin(
    model: &Model,
    theme: Theme,
    now: Timestamp,
    width: usize,
) -> Vec<Line<'static>> {
    let name = model.selected().unwrap_or_default();
    let found = model.status.as_ref().and_then(|status| status.plugins.get(&name));
    let Some(status) = found else {
        return vec![Line::styled("there is no such plugin any more", FAINT)];
    };
    let detail = model.detail.as_ref().filter(|detail| detail.plugin == name);
    about(&About { name: &name, status, detail, values: &model.values }, theme, now, width)
}

/// All that is known of a plugin, in lines of at most `width` columns.
pub(crate) fn about(
    about: &About<'_>,
    theme: Theme,
    now: Timestamp,
    width: usize,
) -> Vec<Line<'static>> {
    let mut lines = Lines { lines: Vec::new(), width };
    lines.standing(about, theme);
    if let Some(detail) = about.detail {
        lines.setup(detail);
    }
    lines.runs(about.status, theme, now);
    if let Some(detail) = about.detail {
        lines.durations(about.status, detail);
        lines.values(detail, about.values);
        lines.refused(detail, theme);
        lines.stderr(detail);
    }
    lines.lines
}

struct Lines {
    lines: Vec<Line<'static>>,
    width: usize,
}

impl Lines {
    fn add(&mut self, spans: Vec<Span<'static>>) {
        self.lines.push(Line::from(spans));
    }

    fn head(&mut self, title: &str, rest: &str) {
        self.lines.push(Line::default());
        let (title, rest) = (title.to_owned(), format!("  {rest}"));
        self.add(vec![Span::styled(title, STRONG), Span::styled(rest, FAINT)]);
    }

    /// A fact with its name before it, on as many lines as it takes.
    fn fact(&mut self, name: &str, what: &str, style: Style) {
        const NAME: usize = 10;
        for (n, line) in text::wrap(&clean(what), self.width, NAME).enumerate() {
            let name = if n == 0 { name } else { "" };
            let rest = line.get(NAME.min(line.len())..).unwrap_or_default().to_owned();
            self.add(vec![Span::styled(text::pad(name, NAME), FAINT), Span::styled(rest, style)]);
        }
    }

    fn wrapped(&mut self, what: &str, indent: usize, style: Style) {
        for line in text::wrap(&clean(what), self.width, indent) {
            self.lines.push(Line::styled(line, style));
        }
    }

    fn standing(&mut self, about: &About<'_>, theme: Theme) {
        let (care, word) = health::plugin(about.status);
        let mut spans = vec![
            Span::styled(clean(about.name), STRONG),
            Span::raw("  "),
            Span::styled(word, theme.of(care)),
        ];
        if let Some(last) = &about.status.last {
            spans.push(Span::raw(format!("  {}", clean(&last.outcome.to_string()))));
        }
        self.add(spans);
        if let Some(why) = &about.status.why {
            self.fact("why", why, theme.of(care));
        }
        if let Some(message) = about.status.last.as_ref().and_then(|last| last.message.as_ref()) {
            self.fact("message", message, Style::new());
        }
    }

    fn setup(&mut self, detail: &PluginDetail) {
        self.fact("command", &detail.command.join(" "), Style::new());
        self.fact("in", &detail.dir, Style::new());
        let when = match (&detail.cron, detail.interval, detail.mode.as_str()) {
            (Some(cron), _, _) => format!("cron {cron}"),
            (None, Some(interval), "tick") => {
                format!("lives on, asked every {}", brief::seconds(interval))
            }
            (None, _, "stream") => "lives on and prints when it likes".to_owned(),
            (None, Some(interval), _) => format!("every {}", brief::seconds(interval)),
            (None, None, _) => "when it likes".to_owned(),
        };
        let (timeout, format) = (brief::seconds(detail.timeout), &detail.format);
        self.fact("when", &format!("{when}; timeout {timeout}; format {format}"), Style::new());
    }

    fn runs(&mut self, status: &PluginStatus, theme: Theme, now: Timestamp) {
        let since = |at: Timestamp| (now.millis() - at.millis()) as f64 / 1e3;
        let mut parts = Vec::new();
        if let Some(at) = next(status) {
            parts.push(match brief::countdown(-since(at)).as_str() {
                "due" => "due, waits for its turn".to_owned(),
                left => format!("in {left}"),
            });
        }
        if let Some(at) = status.running_since {
            let word = if status.life.is_some() { "lives" } else { "runs" };
            parts.push(format!("{word} for {}", brief::seconds(since(at).max(0.0))));
        }
        if !parts.is_empty() {
            self.fact("next", &parts.join("; "), Style::new());
        }
        if let Some(last) = &status.last {
            let ago = brief::seconds(since(last.started).max(0.0));
            let mut what = format!(
                "{ago} ago ({}), took {}, CPU {}",
                clock(last.started),
                print::seconds(last.duration),
                print::seconds(last.cpu),
            );
            if let Some(rss) = last.max_rss {
                what.push_str(&format!(", memory {}", print::bytes(rss)));
            }
            self.fact("last", &what, Style::new());
        }
        if let Some(life) = status.life.as_ref().filter(|life| life.starts > 1 || life.failures > 0)
        {
            let mut what = format!("started {} times", life.starts);
            if let Some(end) = &life.last_end {
                what.push_str(&format!("; its last life ended: {end}"));
            }
            self.fact("lives", &what, Style::new());
        }
        let mut what = format!(
            "{} runs, {} skipped; {} records accepted, {} refused",
            print::grouped(status.runs),
            print::grouped(status.skipped),
            print::grouped(status.accepted),
            print::grouped(refused(status)),
        );
        if !status.rejected.is_empty() {
            let codes = status.rejected.iter();
            let codes: Vec<String> = codes.map(|(code, n)| format!("{code} {n}")).collect();
            what.push_str(&format!(" ({})", codes.join(", ")));
        }
        let style = if refused(status) > 0 { theme.of(Care::Bad) } else { Style::new() };
        self.fact("in all", &what, style);
    }

    fn durations(&mut self, status: &PluginStatus, detail: &PluginDetail) {
        let (p50, p99) = (took(status, status.duration_p50), took(status, status.duration_p99));
        let (Some(p50), Some(p99)) = (p50, p99) else { return };
        let rest = format!(
            "of the last {}: half within {}, 99 of 100 within {}",
            print::count(detail.durations.len() as u64, "run"),
            print::seconds(p50),
            print::seconds(p99)
        );
        self.head("DURATION", &rest);
        let durations: Vec<f64> = detail.durations.iter().map(|d| f64::from(*d)).collect();
        self.lines.push(Line::raw(brief::sparkline(&durations, self.width)));
    }

    fn values(&mut self, detail: &PluginDetail, seen: &BTreeMap<String, Vec<f64>>) {
        if detail.values.is_empty() {
            return;
        }
        self.head("VALUES", "the first of the last run that had any");
        let names = detail.values.iter().map(|value| text::width(&value.name));
        let name = names.max().unwrap_or(0).min(self.width / 2);
        for ShownValue { name: full, value, unit } in &detail.values {
            let unit = unit.as_deref().map(|unit| format!(" {unit}")).unwrap_or_default();
            let value = clean(&format!("{value}{unit}"));
            let left = self.width.saturating_sub(name + 2 + text::width(&value).max(12) + 2);
            let spark = match seen.get(full) {
                Some(values) if values.len() > 1 => brief::sparkline(values, left),
                _ => String::new(),
            };
            self.add(vec![
                Span::raw(text::pad(&clean(full), name)),
                Span::raw(format!("  {value:<12}  ")),
                Span::styled(spark, FAINT),
            ]);
        }
    }

    fn refused(&mut self, detail: &PluginDetail, theme: Theme) {
        let Some(at) = detail.refused_at else { return };
        self.head("REFUSED", &format!("by the run of {}", clock(at)));
        for refused in &detail.refused {
            let (line, column, code) = (refused.line, refused.column, refused.code);
            let what = format!("line {line}:{column} {code}: {}", refused.message);
            self.wrapped(&what, 0, theme.of(Care::Bad));
            if !refused.value.is_empty() {
                self.wrapped(&format!("got:  {}", refused.value), 2, Style::new());
            }
            if !refused.hint.is_empty() {
                self.wrapped(&format!("hint: {}", refused.hint), 2, STRONG);
            }
        }
    }

    fn stderr(&mut self, detail: &PluginDetail) {
        let Some(at) = detail.stderr_at else { return };
        self.head("STDERR", &format!("the last of what the run of {} said", clock(at)));
        for line in detail.stderr.lines() {
            self.wrapped(line, 0, Style::new());
        }
    }
}

/// The time of day in UTC.
fn clock(at: Timestamp) -> String {
    let text = at.to_string();
    text.get(11..19).unwrap_or(&text).to_owned()
}

/// The last line of a plugin's stderr, or why it does not run.
pub(super) fn last_word(
    name: &str,
    plugin: &PluginStatus,
    detail: Option<&PluginDetail>,
    theme: Theme,
) -> Line<'static> {
    let said = |what: &str, text: &str, style| {
        let head = Span::styled(format!("{name} {what}: "), FAINT);
        Line::from(vec![head, Span::styled(clean(text), style)])
    };
    if let Some(why) = &plugin.why {
        let (care, word) = health::plugin(plugin);
        // The cause first: the line may be cut.
        let why = match why.split_once("; its last words: ") {
            Some((what, words)) => format!("{words}; {what}"),
            None => why.clone(),
        };
        return said(word, &why, theme.of(care));
    }
    // Not asked yet, or the agent knows no more.
    let Some(detail) = detail.filter(|detail| detail.plugin == name) else {
        return Line::default();
    };
    let stderr = detail.stderr.lines().next_back();
    let refused = detail.refused.first();
    match (stderr, refused) {
        (_, Some(refused)) if plugin.last.as_ref().is_some_and(|last| last.rejected > 0) => {
            let what = format!("{}: {}", refused.code, refused.message);
            let hint =
                if refused.hint.is_empty() { String::new() } else { format!("; {}", refused.hint) };
            said("refused", &format!("{what}{hint}"), Style::new())
        }
        (Some(line), _) => said("stderr", line, Style::new()),
        _ => Line::styled(format!("{name} said nothing on stderr"), FAINT),
    }
}

/// What the keys do, and what the columns are.
pub(super) fn help() -> Vec<Line<'static>> {
    const KEYS: [(&str, &str); 12] = [
        ("↑ ↓ j k", "select, or scroll; PgUp PgDn Home End g G as well"),
        ("Enter", "open the selected plugin; ← → its neighbours; Esc goes back"),
        ("s → / S ←", "sort by the next, or the last, column"),
        ("r", "reverse the order"),
        ("/", "show only plugins whose name or status has what is typed"),
        ("p, space", "pause: nothing changes until it is pressed again"),
        ("t", "run the selected plugin now"),
        ("? h", "this page"),
        ("q Ctrl-C", "quit; Esc as well, where nothing else is open; Ctrl-L draws it anew"),
        ("", ""),
        ("STATUS", "how the last run went, or why there is none; trouble comes first"),
        ("EXIT", "how its program ended; of one that lives on, how its last life did"),
    ];
    const COLUMNS: [(&str, &str); 7] = [
        ("NEXT RUN", "when it is due (due: it waits for its turn); for how long it runs"),
        ("P50 P99", "how long half, and 99 of 100, of its last 60 runs took; - for a stream"),
        ("CPU RSS", "its last run's processor time; its memory, if above the agent's own"),
        ("SAYS", "why it does not run, or the message of its last run"),
        ("REFUS", "records that were refused since the spool began"),
        ("ACCPT", "records that were accepted since then"),
        ("start lag", "how late 99 of 100 runs of the last minute or two started"),
    ];
    let line = |(key, what): &(&'static str, &'static str)| {
        Line::from(vec![Span::styled(text::pad(key, 12), STRONG), Span::raw(*what)])
    };
    KEYS.iter().chain(&COLUMNS).map(line).collect()
}
