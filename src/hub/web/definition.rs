//! The form that says what a monitor is: for a new one, and to change one.

use maud::{Markup, html};

use crate::hub::monitors::{
    Aggregation, Distinct, Edit, Field, Monitor, NewField, NewMonitor, parse,
};
use crate::hub::session::Session;
use crate::hub::store::json;
use crate::model::{MetricType, Value};

use super::page::{Sent, token};

/// Empty rows of metrics that a new form has, and most rows of one.
const ROWS: usize = 3;
const MOST_ROWS: usize = 500;
/// The types that a metric can have, as the form says them.
const TYPES: [(MetricType, &str); 6] = [
    (MetricType::Float, "number"),
    (MetricType::Integer, "whole number"),
    (MetricType::Percent, "percent"),
    (MetricType::Counter, "counter, drawn as a rate"),
    (MetricType::Boolean, "yes or no"),
    (MetricType::String, "text"),
];

/// What was typed, as it was typed.
#[derive(Debug, Clone, Default)]
pub(super) struct Draft {
    name: String,
    tags: String,
    kind: String,
    multi_value: bool,
    metrics: Vec<Row>,
    additional: Vec<Row>,
}

/// A part of the form in which fields are declared.
struct Grid {
    /// What the names of its inputs begin with.
    prefix: &'static str,
    legend: &'static str,
    /// What one of its fields is called.
    noun: &'static str,
    about: &'static str,
    /// An example of name, shown name and unit.
    like: [&'static str; 3],
    /// Whether they are in reports.
    reported: bool,
}

const METRICS: Grid = Grid {
    prefix: "m",
    legend: "Metrics",
    noun: "metric",
    about: "What results have. Without any, whatever comes is taken.",
    like: ["packets_in", "Packets in", "pps"],
    reported: true,
};

const ADDITIONAL: Grid = Grid {
    prefix: "a",
    legend: "Additional results",
    noun: "additional result",
    about: "What the detail under a check time has. Without any, whatever comes is taken.",
    like: ["reason", "What went wrong", ""],
    reported: false,
};

/// One field.
#[derive(Debug, Clone, Default)]
struct Row {
    name: String,
    label: String,
    unit: String,
    kind: String,
    values: String,
    aggregation: String,
}

impl Row {
    fn is_empty(&self) -> bool {
        [&self.name, &self.label, &self.unit, &self.values].into_iter().all(String::is_empty)
    }

    fn of(field: &Field) -> Self {
        let spelt = |value: &Value| match value {
            Value::Text(text) => text.to_string(),
            other => json(other),
        };
        Self {
            name: field.name.clone(),
            label: field.label.clone().unwrap_or_default(),
            unit: field.unit.clone().unwrap_or_default(),
            kind: field.kind.as_str().to_owned(),
            values: field.values.iter().map(spelt).collect::<Vec<_>>().join(", "),
            aggregation: field.aggregation.map(Aggregation::as_str).unwrap_or_default().to_owned(),
        }
    }

    fn field(&self) -> Result<NewField, String> {
        let kind: MetricType =
            self.kind.parse().map_err(|()| format!("`{}` has no type that there is", self.name))?;
        let mut field = NewField::new(self.name.clone(), kind);
        let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        field.label = given(&self.label);
        field.unit = given(&self.unit);
        let values = self.values.split(',').map(str::trim).filter(|text| !text.is_empty());
        field.values = values.map(|text| parse(kind, text)).collect();
        field.aggregation = self.aggregation.parse().ok();
        Ok(field)
    }
}

impl Draft {
    pub(super) fn of(monitor: &Monitor, metrics: &[Field], additional: &[Field]) -> Self {
        Self {
            name: monitor.name.clone(),
            tags: monitor.tags.join(", "),
            kind: monitor.kind.clone(),
            multi_value: monitor.multi_value,
            metrics: metrics.iter().map(Row::of).collect(),
            additional: additional.iter().map(Row::of).collect(),
        }
    }

    pub(super) fn read(sent: &Sent) -> Self {
        Self {
            name: sent.text("name").to_owned(),
            tags: sent.text("tags").to_owned(),
            kind: sent.text("kind").to_owned(),
            multi_value: sent.ticked("multi_value"),
            metrics: METRICS.read(sent),
            additional: ADDITIONAL.read(sent),
        }
    }

    fn tags(&self) -> Vec<String> {
        let tags = self.tags.split(',').map(str::trim).filter(|tag| !tag.is_empty());
        tags.map(str::to_owned).collect()
    }

    pub(super) fn new_monitor(&self) -> Result<NewMonitor, String> {
        Ok(NewMonitor {
            name: self.name.clone(),
            kind: Some(self.kind.clone()).filter(|kind| !kind.is_empty()),
            tags: self.tags(),
            multi_value: self.multi_value,
            metrics: fields(&self.metrics)?,
            additional: fields(&self.additional)?,
            parameters: Vec::new(),
            distinct: Distinct::default(),
        })
    }

    /// What is different from how it is; what the form does not show stays as it is.
    pub(super) fn edit(&self, before: &Self) -> Result<Edit, String> {
        let changed = |now: &[Row], before: &[Row]| -> Result<_, String> {
            let now = fields(now)?;
            Ok((now != fields(before)?).then_some(now))
        };
        Ok(Edit {
            name: (self.name != before.name).then(|| self.name.clone()),
            kind: (self.kind != before.kind).then(|| self.kind.clone()),
            tags: (self.tags() != before.tags()).then(|| self.tags()),
            multi_value: (self.multi_value != before.multi_value).then_some(self.multi_value),
            metrics: changed(&self.metrics, &before.metrics)?,
            additional: changed(&self.additional, &before.additional)?,
            parameters: None,
            distinct: Distinct::default(),
        })
    }

    /// The form, for the page at `path`.
    pub(super) fn form(&self, session: &Session, path: &str, button: &str, more: usize) -> Markup {
        html! {
            form.fields.wide method="post" action=(path) {
                (token(session))
                div.line {
                    label { "Name" input type="text" name="name" value=(self.name) required maxlength="256" placeholder="netstat_mon" autocomplete="off" spellcheck="false"; }
                    label { span { "Tags " span.faint { "apart by commas" } } input type="text" name="tags" value=(self.tags) placeholder="network" autocomplete="off" spellcheck="false"; }
                    label { span { "Type " span.faint { "a word of your own" } } input type="text" name="kind" value=(self.kind) placeholder="custom" autocomplete="off" spellcheck="false"; }
                }
                label.box { input type="checkbox" name="multi_value" value="yes" checked[self.multi_value]; "A metric may have several values at one check time" }
                (METRICS.part(&self.metrics, more))
                (ADDITIONAL.part(&self.additional, more))
                input type="hidden" name="more" value=(more);
                div.buttons {
                    button.main type="submit" { (button) }
                    button type="submit" name="add" value="yes" formnovalidate { "More rows" }
                }
            }
        }
    }
}

fn fields(rows: &[Row]) -> Result<Vec<NewField>, String> {
    rows.iter().map(Row::field).collect()
}

impl Grid {
    fn read(&self, sent: &Sent) -> Vec<Row> {
        let columns = ["name", "label", "unit", "kind", "values", "aggregation"].map(|column| {
            let name = format!("{}_{column}", self.prefix);
            sent.all(&name).take(MOST_ROWS).map(str::to_owned).collect::<Vec<_>>()
        });
        let cell =
            |row: usize, column: usize| columns[column].get(row).cloned().unwrap_or_default();
        let rows = (0..columns[0].len()).map(|row| Row {
            name: cell(row, 0),
            label: cell(row, 1),
            unit: cell(row, 2),
            kind: cell(row, 3),
            values: cell(row, 4),
            aggregation: cell(row, 5),
        });
        rows.filter(|row| !row.is_empty()).collect()
    }

    fn part(&self, declared: &[Row], more: usize) -> Markup {
        let blank = Row { kind: MetricType::Float.as_str().to_owned(), ..Row::default() };
        let rows = declared.len() + if declared.is_empty() { ROWS } else { 1 } + more;
        let rows = rows.min(MOST_ROWS);
        html! {
            fieldset.metrics {
                legend { (self.legend) }
                p.faint { (self.about) }
                div.scroll tabindex="0" role="group" aria-label=(self.legend) {
                    table.grid {
                        thead { tr {
                            th scope="col" { "Name" } th scope="col" { "Shown as" } th scope="col" { "Unit" }
                            th scope="col" { "Type" } th scope="col" { "Only these values" }
                            @if self.reported { th scope="col" { "In reports" } }
                        } }
                        tbody {
                            @for nth in 0..rows { (self.line(declared.get(nth).unwrap_or(&blank), nth + 1)) }
                        }
                    }
                }
            }
        }
    }

    fn line(&self, row: &Row, nth: usize) -> Markup {
        let says = |what: &str| format!("{what} of {} {nth}", self.noun);
        let named = |column: &str| format!("{}_{column}", self.prefix);
        let [name, label, unit] = if nth == 1 { self.like } else { [""; 3] };
        html! {
            tr {
                td { input type="text" name=(named("name")) value=(row.name) aria-label=(says("Name")) maxlength="128" pattern="[A-Za-z_][A-Za-z0-9_]*" title="letters, digits and `_`, not beginning with a digit" placeholder=(name) autocomplete="off" spellcheck="false"; }
                td { input type="text" name=(named("label")) value=(row.label) aria-label=(says("Shown name")) maxlength="256" placeholder=(label) autocomplete="off"; }
                td { input.short type="text" name=(named("unit")) value=(row.unit) aria-label=(says("Unit")) maxlength="256" placeholder=(unit) autocomplete="off" spellcheck="false"; }
                td {
                    select name=(named("kind")) aria-label=(says("Type")) {
                        @for (kind, text) in TYPES { option value=(kind.as_str()) selected[row.kind == kind.as_str()] { (text) } }
                    }
                }
                td {
                    input type="text" name=(named("values")) value=(row.values) aria-label=(says("Only values")) autocomplete="off" spellcheck="false";
                    @if !self.reported { input type="hidden" name=(named("aggregation")) value=(row.aggregation); }
                }
                @if self.reported { td {
                    select name=(named("aggregation")) aria-label=(says("How reports sum up values")) {
                        option value="" { "as usual" }
                        @for how in Aggregation::ALL { option value=(how.as_str()) selected[row.aggregation == how.as_str()] { (how.as_str()) } }
                    }
                } }
            }
        }
    }
}
