//! What is typed for a check time and for each field of a monitor.

use maud::{Markup, html};

use crate::hub::monitors::{self, Field};
use crate::hub::web::page::Sent;
use crate::hub::web::zone;
use crate::model::{MetricType, Value};

use super::Said;

/// What was typed in the form that does this, where it was refused.
pub(super) struct Typed<'s>(&'s [(String, String)]);

impl<'s> Typed<'s> {
    pub(super) fn of(said: &'s Said, does: &str) -> Self {
        let is = said.typed.iter().any(|(name, text)| name == "do" && text == does);
        Self(if is { &said.typed } else { &[] })
    }

    pub(super) fn any(&self) -> bool {
        !self.0.is_empty()
    }

    fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(of, _)| of == name).map_or("", |(_, text)| text.as_str())
    }
}

/// A check time, and an input for each field; where there is none, names and values as text.
pub(super) fn line(fields: &[Field], typed: &Typed<'_>) -> Markup {
    html! {
        div.line {
            label { span { "Check time " span.faint { "empty for now, " span.zone { (zone::name()) } } } input type="datetime-local" name="time" step="1" value=(typed.get("time")); }
            @for field in fields {
                @let name = format!("v_{}", field.name);
                label {
                    span { (field.label.as_deref().unwrap_or(&field.name)) " " span.faint { @match &field.unit { Some(unit) => (unit), None => (field.kind.as_str()) } } }
                    @if field.kind == MetricType::Boolean {
                        select name=(name) { option value="" {} @for word in ["true", "false"] { option value=(word) selected[typed.get(&name) == word] { (if word == "true" { "yes" } else { "no" }) } } }
                    } @else if field.kind == MetricType::String {
                        input type="text" name=(name) value=(typed.get(&name)) maxlength="4096" autocomplete="off";
                    } @else {
                        input type="text" inputmode="decimal" name=(name) value=(typed.get(&name)) autocomplete="off";
                    }
                }
            }
        }
        @if fields.is_empty() {
            label { "Values, one a line" textarea name="values" rows="4" placeholder="packets_in=12\nnote=\"after the restart\"" spellcheck="false" { (typed.get("values")) } }
        }
    }
}

/// What was typed for each field, or, where nothing is declared, `name=value` on each line.
pub(super) fn values(fields: &[Field], sent: &Sent) -> Result<Vec<(String, Value)>, String> {
    if !fields.is_empty() {
        let typed = fields.iter().filter_map(|field| {
            let text = sent.given(&format!("v_{}", field.name))?;
            Some((field.name.clone(), monitors::parse(field.kind, text)))
        });
        return Ok(typed.collect());
    }
    let lines = sent.text("values").lines().map(str::trim).filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let (name, text) = line
                .split_once('=')
                .ok_or_else(|| format!("`{line}` is not a value; write name=value"))?;
            Ok((name.trim().to_owned(), plain(text.trim())))
        })
        .collect()
}

/// A number or boolean where it is one, else a text.
fn plain(text: &str) -> Value {
    serde_json::from_str(text)
        .ok()
        .filter(|value| *value != Value::Gap)
        .unwrap_or_else(|| Value::Text(text.into()))
}
