//! What a run printed on stdout, and beside each line what became of the records in it; refused
//! bytes are underlined.

use std::ops::Range;

use anstyle::Style;

use crate::agent::trial::Trial;
use crate::cli::print::{self, BAD, FAINT, GOOD, STRONG};
use crate::cli::report::clean;
use crate::cli::text::{self, Line};
use crate::model::{Metric, Rejection, Taken, Value, limits, number_text};

/// Lines that are shown of a long output, besides those with something refused in them.
const LINES: usize = 40;
/// Lines with something refused in them that are shown.
const REFUSED: usize = 30;
/// Rows that a line may take, besides those with something refused in them.
const ROWS: usize = 6;
/// Accepted records of a line that are shown.
const RECORDS: usize = 50;
/// Columns for the number of a line, and between its two sides.
const NUMBER: usize = 4;
const BETWEEN: &str = " │ ";

/// One record, as it is shown beside its line.
struct Verdict<'t> {
    /// Where it is told: what is wrong with it, or its beginning.
    at: usize,
    /// The refused bytes, where they are shown.
    mark: Option<Range<usize>>,
    what: What<'t>,
}

enum What<'t> {
    Accepted(&'t Metric),
    /// `None` for one of the refused records that the report only counts.
    Refused(Option<&'t Rejection>),
}

/// The sheet of a run, in lines of at most `width` columns.
pub(super) fn sheet(trial: &Trial, width: usize) -> Vec<String> {
    let out = &trial.stdout;
    let lines = lines(out);
    let mut verdicts = verdicts(trial, &lines);
    verdicts.sort_by_key(|verdict| verdict.at);
    let widest =
        lines.iter().take(LINES).map(|line| shown(&out[line.clone()]).map(|c| c.width).sum());
    let widest = widest.max().unwrap_or(0);
    let room = width.saturating_sub(NUMBER + 2 + BETWEEN.len());
    let left = widest.clamp(16, (room / 2).max(16));
    let sides = Sides { left, right: room.saturating_sub(left).max(16) };
    let fields = Fields::of(trial, sides.right);

    let mut sheet = Vec::new();
    let (mut rest, mut passed, mut told) = (verdicts.as_slice(), Passed::default(), 0);
    for (index, line) in lines.iter().enumerate() {
        let in_line = rest.partition_point(|verdict| verdict.at <= line.end);
        let (mine, others) = rest.split_at(in_line);
        rest = others;
        let refused = mine.iter().any(|verdict| matches!(verdict.what, What::Refused(_)));
        if index >= LINES && !(refused && told < REFUSED) {
            passed.lines += 1;
            passed.records += mine.len();
            continue;
        }
        told += usize::from(refused);
        passed.say(&mut sheet);
        sheet.extend(sides.line(index + 1, line, out, mine, &fields));
    }
    passed.say(&mut sheet);
    sheet
}

/// The lines of an output, without their ends.
fn lines(out: &[u8]) -> Vec<Range<usize>> {
    let mut start = 0;
    let mut lines = Vec::new();
    for line in out.split_inclusive(|byte| *byte == b'\n') {
        let end = start + line.len() - usize::from(line.ends_with(b"\n"));
        lines.push(start..end);
        start += line.len();
    }
    lines
}

/// Lines that were passed over.
#[derive(Default)]
struct Passed {
    lines: usize,
    records: usize,
}

impl Passed {
    fn say(&mut self, sheet: &mut Vec<String>) {
        if self.lines > 0 {
            let lines = print::count(self.lines as u64, "more line");
            let records = print::count(self.records as u64, "record");
            sheet.push(print::paint(FAINT, format!("      … {lines} with {records}")));
            *self = Self::default();
        }
    }
}

/// Every record and where it is told, as far as the report knows it.
fn verdicts<'t>(trial: &'t Trial, lines: &[Range<usize>]) -> Vec<Verdict<'t>> {
    let (mut metrics, mut rejected) = (trial.report.metrics.iter(), trial.report.rejected.iter());
    let one = |place: &crate::agent::trial::Place| match place.taken {
        Taken::Accepted => {
            let what = What::Accepted(metrics.next()?);
            Some(Verdict { at: place.span.start, mark: None, what })
        }
        Taken::Refused => {
            let Some(refused) = rejected.next() else {
                let what = What::Refused(None);
                return Some(Verdict { at: place.span.start, mark: None, what });
            };
            let line = lines.get(refused.line.saturating_sub(1) as usize)?;
            let at = (line.start + refused.column.saturating_sub(1) as usize).min(line.end);
            // What the report has is cut where it is long.
            let whole = refused.value.len() + 8 < limits::EXCERPT && !refused.value.contains('\n');
            let end = if whole { at + refused.value.len() } else { place.span.end };
            let what = What::Refused(Some(refused));
            Some(Verdict { at, mark: Some(at..end.max(at + 1)), what })
        }
    };
    trial.places.iter().filter_map(one).collect()
}

/// One character as it is shown.
struct Shown {
    /// Where it stands in its line.
    at: usize,
    text: String,
    width: usize,
}

/// The characters of a line; what is no UTF-8 shows as U+FFFD.
fn shown(line: &[u8]) -> impl Iterator<Item = Shown> + '_ {
    let mut start = 0;
    line.utf8_chunks().flat_map(move |chunk| {
        let valid = chunk.valid();
        let from = start;
        start += valid.len() + chunk.invalid().len();
        let bad = (!chunk.invalid().is_empty()).then_some((from + valid.len(), '\u{fffd}'));
        let good = valid.char_indices().map(move |(at, c)| (from + at, c));
        good.chain(bad).map(|(at, c)| {
            let text = if c == '\t' { "  ".to_owned() } else { clean(c.encode_utf8(&mut [0; 4])) };
            Shown { at, width: text::width(&text), text }
        })
    })
}

/// The widths of the two sides.
struct Sides {
    left: usize,
    right: usize,
}

impl Sides {
    /// One line of the output and what became of it.
    fn line(
        &self,
        number: usize,
        line: &Range<usize>,
        out: &[u8],
        verdicts: &[Verdict<'_>],
        fields: &Fields,
    ) -> Vec<String> {
        let (start, bytes) = (line.start, &out[line.clone()]);
        let marks = verdicts.iter().filter_map(|verdict| verdict.mark.as_ref());
        let marks: Vec<Range<usize>> =
            marks.map(|m| m.start.saturating_sub(start)..m.end.saturating_sub(start)).collect();
        let left = self.rows(bytes, &marks);
        let right = self.told(verdicts, fields);
        let row = |row: usize| {
            let (text, style) = left.get(row).cloned().unwrap_or_default();
            let number = if row == 0 { format!("{number:>NUMBER$}") } else { " ".repeat(NUMBER) };
            let missing = self.left.saturating_sub(text::width(&text));
            let mut line = Line::default();
            line.add(FAINT, format!("{number}  "));
            line.add(style, text);
            line.add(Style::new(), " ".repeat(missing));
            line.add(FAINT, BETWEEN);
            match right.get(row) {
                Some(told) => format!("{}{told}", line.whole()),
                None => line.fit(usize::MAX),
            }
        };
        (0..left.len().max(right.len())).map(row).collect()
    }

    /// The left side: the line in rows, refused bytes underlined.
    fn rows(&self, bytes: &[u8], marks: &[Range<usize>]) -> Vec<(String, Style)> {
        let mut rows: Vec<(String, String)> = vec![Default::default()];
        let mut taken = 0;
        for c in shown(bytes) {
            if taken + c.width > self.left {
                rows.push(Default::default());
                taken = 0;
            }
            taken += c.width;
            if let Some((text, under)) = rows.last_mut() {
                let refused = marks.iter().any(|mark| mark.contains(&c.at));
                under.push_str(&if refused { "^" } else { " " }.repeat(c.width));
                text.push_str(&c.text);
            }
        }
        // What is missing at the end of a line.
        if marks.iter().any(|mark| mark.start >= bytes.len())
            && let Some((_, under)) = rows.last_mut()
        {
            under.push('^');
        }
        let last = rows.len() - 1;
        let mut shown = Vec::new();
        let mut hidden = false;
        for (index, (text, under)) in rows.into_iter().enumerate() {
            let refused = !under.trim().is_empty();
            if index >= ROWS && index != last && !(refused && shown.len() < 4 * ROWS) {
                hidden = true;
                continue;
            }
            if std::mem::take(&mut hidden) {
                shown.push(("…".to_owned(), FAINT));
            }
            shown.push((text, Style::new()));
            if refused {
                shown.push((under.trim_end().to_owned(), BAD));
            }
        }
        shown
    }

    /// The right side: what became of the records of a line.
    fn told(&self, verdicts: &[Verdict<'_>], fields: &Fields) -> Vec<String> {
        let mut rows = Vec::new();
        let (mut accepted, mut refused) = (0, 0);
        for verdict in verdicts {
            match verdict.what {
                What::Accepted(metric) => {
                    accepted += 1;
                    if accepted <= RECORDS {
                        fields.accepted(metric, self.right, &mut rows);
                    }
                }
                What::Refused(Some(rejection)) => self.refused(rejection, &mut rows),
                What::Refused(None) => refused += 1,
            }
        }
        let more = |count: usize, word: &str| print::paint(FAINT, format!("… {count} more {word}"));
        if accepted > RECORDS {
            rows.push(more(accepted - RECORDS, "accepted"));
        }
        if refused > 0 {
            rows.push(more(refused, "refused"));
        }
        rows
    }

    fn refused(&self, rejection: &Rejection, rows: &mut Vec<String>) {
        let mut head = Line::default();
        head.add(BAD, "✗ ");
        head.add(BAD, rejection.code.as_str());
        head.add(FAINT, format!(" {}:{}", rejection.line, rejection.column));
        if !rejection.path.is_empty() {
            head.add(Style::new(), format!(" {}", clean(&rejection.path)));
        }
        rows.push(head.fit(self.right));
        rows.extend(text::wrap(&clean(&rejection.message), self.right, 2));
        if let Some(rule) = &rejection.rule {
            rows.extend(text::wrap(&format!("rule: {}", clean(rule)), self.right, 2));
        }
        let hint = format!("→ {}", clean(&rejection.hint));
        rows.extend(text::wrap(&hint, self.right, 2).map(|row| print::paint(STRONG, row)));
    }
}

/// The columns of accepted records, as wide as what is in them, as far as there is room.
struct Fields {
    name: usize,
    value: usize,
    kind: usize,
}

impl Fields {
    /// `room` columns are shared so that a name takes at most half of them.
    fn of(trial: &Trial, room: usize) -> Self {
        let shown = || trial.report.metrics.iter().take(LINES * RECORDS);
        let widest = |most: usize, field: &dyn Fn(&Metric) -> usize| {
            shown().map(field).filter(|width| *width <= most).max().unwrap_or(0)
        };
        Self {
            name: widest(room / 2, &|metric| text::width(&metric.name)),
            value: widest(room / 3, &|metric| text::width(&value(metric))),
            kind: widest(FIELD, &|metric| text::width(metric.kind.as_str())),
        }
    }

    /// In one row where it fits; what does not goes below the name.
    fn accepted(&self, metric: &Metric, room: usize, rows: &mut Vec<String>) {
        let value = value(metric);
        let value = if metric.value.as_f64().is_some() {
            format!("{value:>0$}", self.value)
        } else {
            format!("{value:<0$}", self.value)
        };
        let tags: Vec<String> = metric
            .tags
            .iter()
            .map(|(key, value)| format!("{}={}", clean(key), clean(value)))
            .collect();
        let tags = tags.join(" ");
        let mut row = Line::default();
        row.add(GOOD, "✓ ");
        row.add(STRONG, format!("{:<1$}", metric.name, self.name));
        let mut rest = Line::default();
        rest.add(Style::new(), value.as_str());
        rest.add(FAINT, format!("  {:<1$}", metric.kind.as_str(), self.kind));
        if row.columns() + 2 + text::width(&value) + 2 + metric.kind.as_str().len() > room {
            rows.push(row.fit(room));
            let kind = metric.kind;
            rows.extend(text::wrap(&format!("{} {kind} {tags}", value.trim()), room, 4));
            return;
        }
        row.add(Style::new(), "  ");
        row.extend(rest);
        let fits = row.columns() + 2 + text::width(&tags) <= room;
        if fits {
            row.add(Style::new(), format!("  {tags}"));
        }
        rows.push(row.fit(room));
        if !fits && !tags.is_empty() {
            rows.extend(text::wrap(&tags, room, 4));
        }
    }
}

/// The widest that the column of types gets.
const FIELD: usize = 8;

/// A value with its unit.
fn value(metric: &Metric) -> String {
    let value = match &metric.value {
        Value::Text(text) if text.trim() != &**text || text.is_empty() => {
            format!("\"{}\"", clean(text))
        }
        Value::Float(x) => number_text(*x),
        value => clean(&value.to_string()),
    };
    match &metric.unit {
        Some(unit) => format!("{value} {}", clean(unit)),
        None => value,
    }
}
