//! Which of the native forms a document has, and the records in it.
//!
//! Tested in this order: array; full (`metrics` is an array); map (`metrics` or `plugins` is an
//! object); one metric (has `value`, and `name` or `metric_name` is a string); flat.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

use crate::model::{
    Extent, Field, Flaw, Head, Keep, Raw, Record, Records, RejectionCode, Source, Step, Taken,
    Tree, Unknown, Words, pointer,
};

use super::tape::{Kind, State, Tape};
use super::values::{field, key_text, raw, read_tags, tree};

/// Unknown keys of one object that are looked at; the rest is passed over.
const UNKNOWN: usize = 16;

/// From this many members on, duplicates are looked for with a set.
const FEW: usize = 12;

/// What the members of the top-level object are.
#[derive(Default)]
struct Shape {
    /// Index of the value of `metrics`.
    metrics: Option<usize>,
    /// Index of the value of `plugins`.
    plugins: Option<usize>,
    has_value: bool,
    has_name: bool,
}

enum Form {
    Array,
    Full(usize),
    Map,
    One,
    Flat,
}

/// Turns tapes into records; keeps its room from one document to the next.
#[derive(Default)]
pub(super) struct Reader<'a> {
    record: Record<'a>,
    head: Head<'a>,
    keys: HashSet<Cow<'a, str>>,
    /// Members of the head that cannot be used, and their spans.
    refused: Vec<(Flaw, Cow<'a, str>, Range<usize>)>,
}

impl<'a> Reader<'a> {
    /// Hands over the document on `tape`.
    pub(super) fn document(
        &mut self,
        source: &Source<'a>,
        tape: &Tape,
        extent: Extent,
        into: &mut dyn Records,
    ) {
        let Some(root) = tape.nodes.first().copied() else { return };
        let (form, shape) = match root.kind {
            Kind::Array => (Form::Array, Shape::default()),
            _ => form(source, tape),
        };
        self.clear_head();
        self.head.start = root.start;
        self.head.end = root.end;
        self.head.extent = extent;
        if let Form::Full(_) | Form::Map = form {
            self.read_head(source, tape, &form);
        }
        if into.wants_tree() {
            let mut paths = Paths(Vec::new());
            self.records(source, tape, &form, &shape, &mut paths);
            self.head.tree = Some(Tree { root: tree(source, tape, 0), records: paths.0 });
        }
        if into.document(source, &self.head) == Keep::Nothing {
            return;
        }
        for (flaw, key, span) in &self.refused {
            into.refuse(source, flaw.code(), span.clone(), &|| match flaw {
                Flaw::DuplicateKey => Words {
                    path: pointer(&[Step::Key(Cow::Borrowed(key))]),
                    rule: None,
                    message: format!("the document has `{key}` twice; the first is kept"),
                    hint: "print each key once".to_owned(),
                },
                _ => Words {
                    path: String::new(),
                    rule: None,
                    message: "a key that is not UTF-8".to_owned(),
                    hint: "print UTF-8".to_owned(),
                },
            });
        }
        self.records(source, tape, &form, &shape, into);
    }

    fn clear_head(&mut self) {
        let head = &mut self.head;
        head.status = None;
        head.message = None;
        head.time = None;
        head.tags.field = None;
        head.tags.tags.clear();
        head.unknown.clear();
        head.tree = None;
        self.refused.clear();
    }

    /// Reads what a full document or a map says apart from its records.
    fn read_head(&mut self, source: &Source<'a>, tape: &Tape, form: &Form) {
        let mut metrics = false;
        let mut plugins = matches!(form, Form::Full(_));
        for (key, value) in tape.members(0) {
            let span = tape.nodes[key].start..tape.nodes[value].end;
            let Some(name) = key_text(source, tape, key) else {
                self.refused.push((Flaw::Utf8, Cow::Borrowed(""), span));
                continue;
            };
            // What was never closed is part of the refused rest, but for the records in it.
            if tape.nodes[value].state == State::Open {
                continue;
            }
            let head = &mut self.head;
            let twice = match &*name {
                "metrics" => std::mem::replace(&mut metrics, true),
                "plugins" if matches!(form, Form::Map) => std::mem::replace(&mut plugins, true),
                "status" => set(&mut head.status, || field(source, tape, value, "status")),
                "message" => set(&mut head.message, || field(source, tape, value, "message")),
                "time" => set(&mut head.time, || field(source, tape, value, "time")),
                "tags" => {
                    let twice = head.tags.field.is_some();
                    if !twice {
                        read_tags(source, tape, value, &mut head.tags);
                    }
                    twice
                }
                // What Sentinella's own clients send beside the metrics.
                "account_key" | "server_name" | "stats" if matches!(form, Form::Map) => false,
                _ => {
                    if head.unknown.len() < UNKNOWN {
                        let start = tape.nodes[value].start;
                        head.unknown.push(Unknown { key: name.clone(), start });
                    }
                    false
                }
            };
            if twice {
                self.refused.push((Flaw::DuplicateKey, name, span));
            }
        }
    }

    fn records(
        &mut self,
        source: &Source<'a>,
        tape: &Tape,
        form: &Form,
        shape: &Shape,
        into: &mut dyn Records,
    ) {
        self.record.path.clear();
        match form {
            Form::Array => self.elements(source, tape, 0, into),
            Form::Full(metrics) => {
                self.record.path.push(Step::Key("metrics".into()));
                self.elements(source, tape, *metrics, into);
            }
            Form::Map => {
                let is_object = |at: &usize| tape.nodes[*at].kind == Kind::Object;
                if let Some(metrics) = shape.metrics.filter(is_object) {
                    self.record.path.push(Step::Key("metrics".into()));
                    self.members(source, tape, metrics, Members::Map, into);
                }
                if let Some(plugins) = shape.plugins.filter(is_object) {
                    self.plugins(source, tape, plugins, into);
                }
                for (key, at) in [("metrics", shape.metrics), ("plugins", shape.plugins)] {
                    if let Some(at) = at.filter(|at| !is_object(at)) {
                        self.record.path.clear();
                        self.record.path.push(Step::Key(key.into()));
                        self.no_map(source, tape, at, into);
                    }
                }
            }
            Form::One => {
                if tape.nodes[0].state != State::Open {
                    self.metric(source, tape, 0);
                    into.record(source, &self.record);
                }
            }
            Form::Flat => self.members(source, tape, 0, Members::Flat, into),
        }
    }

    /// The elements of an array of metric objects.
    fn elements(&mut self, source: &Source<'a>, tape: &Tape, array: usize, into: &mut dyn Records) {
        let end = tape.nodes[array].next;
        let whole = tape.nodes[array].state != State::Open;
        let depth = self.record.path.len();
        let (mut at, mut index) = (array + 1, 0);
        while at < end {
            let node = tape.nodes[at];
            self.record.path.truncate(depth);
            self.record.path.push(Step::Index(index));
            if node.kind == Kind::Object && node.state == State::Plain {
                self.metric(source, tape, at);
                into.record(source, &self.record);
            } else if node.state != State::Open && whole {
                self.no_metric(source, tape, at, into);
            }
            at = node.next;
            index += 1;
        }
        self.record.path.truncate(depth);
    }

    /// An element that is no metric object.
    fn no_metric(&mut self, source: &Source<'a>, tape: &Tape, at: usize, into: &mut dyn Records) {
        let node = tape.nodes[at];
        let record = &mut self.record;
        record.clear();
        (record.start, record.end) = (node.start, node.end);
        record.flaw = tape.flaw_in(at..node.next);
        if record.flaw.is_some() {
            into.record(source, record);
            return;
        }
        into.refuse(source, RejectionCode::NameMissing, node.start..node.end, &|| Words {
            path: record.pointer(""),
            rule: None,
            message: format!("an array holds metric objects, not {}", raw(source, tape, at).kind()),
            hint: "write `{\"name\": \"…\", \"value\": …}`".to_owned(),
        });
    }

    /// `{"plugins":{"<key>":{…}}}`
    fn plugins(&mut self, source: &Source<'a>, tape: &Tape, at: usize, into: &mut dyn Records) {
        for (key, value) in tape.members(at) {
            let node = tape.nodes[value];
            let Some(name) = key_text(source, tape, key) else {
                let record = &mut self.record;
                record.clear();
                record.path.clear();
                record.path.push(Step::Key("plugins".into()));
                (record.start, record.end) = (tape.nodes[key].start, node.end);
                record.flaw = tape.flaw_in(key..node.next);
                into.record(source, record);
                continue;
            };
            let record = &mut self.record;
            record.path.clear();
            record.path.push(Step::Key("plugins".into()));
            record.path.push(Step::Key(name));
            if node.kind == Kind::Object && !matches!(node.state, State::Flawed(_)) {
                self.members(source, tape, value, Members::Map, into);
                continue;
            }
            if node.state != State::Open {
                self.no_map(source, tape, value, into);
            }
        }
        self.record.path.clear();
    }

    /// Something else in the place of an object of metrics; the path leads to it.
    fn no_map(&mut self, source: &Source<'a>, tape: &Tape, at: usize, into: &mut dyn Records) {
        let node = tape.nodes[at];
        let record = &mut self.record;
        record.clear();
        (record.start, record.end) = (node.start, node.end);
        record.flaw = tape.flaw_in(at..node.next);
        if record.flaw.is_some() {
            into.record(source, record);
            return;
        }
        into.refuse(source, RejectionCode::ValueType, node.start..node.end, &|| Words {
            path: record.pointer(""),
            rule: None,
            message: format!(
                "an object of metrics belongs here, not {}",
                raw(source, tape, at).kind()
            ),
            hint: "write `{\"metric\": {\"value\": …}}`".to_owned(),
        });
    }

    /// The members of a flat document or a map, each one metric.
    fn members(
        &mut self,
        source: &Source<'a>,
        tape: &Tape,
        object: usize,
        what: Members,
        into: &mut dyn Records,
    ) {
        let depth = self.record.path.len();
        let open = tape.nodes[object].state == State::Open;
        self.keys.clear();
        let many = tape.members(object).nth(FEW).is_some();
        for (index, (key, value)) in tape.members(object).enumerate() {
            let node = tape.nodes[value];
            if node.state == State::Open {
                continue;
            }
            let name = key_text(source, tape, key);
            // A flat document that broke may have been a full one: these were not its metrics then.
            let heads = ["status", "message", "time", "tags"];
            if open && what == Members::Flat && name.as_ref().is_some_and(|n| heads.contains(&&**n))
            {
                continue;
            }
            let twice = name.as_ref().is_some_and(|name| {
                if many {
                    return !self.keys.insert(name.clone());
                }
                let same = |(k, _)| key_text(source, tape, k).as_ref() == Some(name);
                tape.members(object).take(index).any(same)
            });
            self.record.path.truncate(depth);
            if let Some(name) = &name {
                self.record.path.push(Step::Key(name.clone()));
            }
            if what == Members::Map && node.kind == Kind::Object && node.state == State::Plain {
                self.metric(source, tape, value);
            } else {
                self.record.clear();
                self.record.value = Some(field(source, tape, value, ""));
            }
            let (start, end) = (tape.nodes[key].start, node.end);
            let record = &mut self.record;
            (record.start, record.end) = (start, end);
            record.flaw = tape.flaw_in(key..node.next).or(record.flaw.take());
            if twice {
                record.flaw = Some((Flaw::DuplicateKey, start..end));
            }
            if record.name.is_none()
                && let Some(name) = name
            {
                let end = tape.nodes[key].end;
                record.name = Some(Field { raw: Raw::Text(name), key: "", start, end });
            }
            into.record(source, record);
        }
        self.record.path.truncate(depth);
    }

    /// Reads the metric object at `object` into the record.
    fn metric(&mut self, source: &Source<'a>, tape: &Tape, object: usize) {
        let node = tape.nodes[object];
        let record = &mut self.record;
        record.clear();
        (record.start, record.end) = (node.start, node.end);
        record.flaw = tape.flaw_in(object..node.next);
        let (mut name, mut label) = (false, false);
        for (key, value) in tape.members(object) {
            // A key that cannot be read is among the flaws already.
            let Some(word) = key_text(source, tape, key) else { continue };
            let read = |word| field(source, tape, value, word);
            let twice = match &*word {
                "name" => {
                    if name {
                        true
                    } else {
                        record.name = Some(read("name"));
                        name = true;
                        false
                    }
                }
                // The native key goes before the Sentinella one, whichever comes first.
                "metric_name" if name => false,
                "metric_name" => set(&mut record.name, || read("metric_name")),
                "value" => set(&mut record.value, || read("value")),
                "type" => set(&mut record.kind, || read("type")),
                "unit" => set(&mut record.unit, || read("unit")),
                "label" => {
                    if label {
                        true
                    } else {
                        record.label = Some(read("label"));
                        label = true;
                        false
                    }
                }
                "row_name" if label => false,
                "row_name" => set(&mut record.label, || read("row_name")),
                "tags" => {
                    let twice = record.tags.field.is_some();
                    if !twice {
                        read_tags(source, tape, value, &mut record.tags);
                    }
                    twice
                }
                "time" => set(&mut record.time, || read("time")),
                "warn" => set(&mut record.warn, || read("warn")),
                "crit" => set(&mut record.crit, || read("crit")),
                "min" => set(&mut record.min, || read("min")),
                "max" => set(&mut record.max, || read("max")),
                _ => {
                    let twice = record.unknown.iter().any(|u| u.key == word);
                    if !twice && record.unknown.len() < UNKNOWN {
                        let start = tape.nodes[value].start;
                        record.unknown.push(Unknown { key: word, start });
                    }
                    twice
                }
            };
            if twice && record.flaw.is_none() {
                let span = tape.nodes[key].start..tape.nodes[value].end;
                record.flaw = Some((Flaw::DuplicateKey, span));
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Members {
    /// Every member is a value.
    Flat,
    /// Members are metric objects, or values.
    Map,
}

/// Fills an empty slot and says whether it was full.
fn set<'a>(slot: &mut Option<Field<'a>>, field: impl FnOnce() -> Field<'a>) -> bool {
    if slot.is_some() {
        return true;
    }
    *slot = Some(field());
    false
}

/// The form of a document that is an object.
fn form(source: &Source<'_>, tape: &Tape) -> (Form, Shape) {
    let mut shape = Shape::default();
    let mut half_metric = false;
    for (key, value) in tape.members(0) {
        let Some(name) = key_text(source, tape, key) else { continue };
        let kind = tape.nodes[value].kind;
        match &*name {
            "metrics" => shape.metrics = shape.metrics.or(Some(value)),
            "plugins" => shape.plugins = shape.plugins.or(Some(value)),
            "value" => (shape.has_value, half_metric) = (true, true),
            "name" | "metric_name" => {
                shape.has_name |= kind == Kind::String;
                half_metric |= kind == Kind::String;
            }
            _ => {}
        }
    }
    let is = |at: Option<usize>, kind| at.is_some_and(|at| tape.nodes[at].kind == kind);
    let form = match shape.metrics {
        Some(metrics) if is(Some(metrics), Kind::Array) => Form::Full(metrics),
        _ if is(shape.metrics, Kind::Object) || is(shape.plugins, Kind::Object) => Form::Map,
        _ if shape.has_value && shape.has_name => Form::One,
        // Of a metric that breaks off nothing is complete, and its members are no metrics.
        _ if half_metric && tape.nodes[0].state == State::Open => Form::One,
        _ => Form::Flat,
    };
    (form, shape)
}

/// The pointer to the innermost container that was open when the text broke.
pub(super) fn open_path(source: &Source<'_>, tape: &Tape) -> String {
    let mut steps = Vec::new();
    let mut at = 0;
    while let Some(node) = tape.nodes.get(at).filter(|n| n.state == State::Open) {
        let open = |at: usize| tape.nodes[at].state == State::Open;
        let child = if node.kind == Kind::Object {
            tape.members(at).find(|&(_, value)| open(value)).map(|(key, value)| {
                (Step::Key(key_text(source, tape, key).unwrap_or_default()), value)
            })
        } else {
            let (mut child, mut index, mut found) = (at + 1, 0, None);
            while child < node.next {
                if open(child) {
                    found = Some((Step::Index(index), child));
                    break;
                }
                child = tape.nodes[child].next;
                index += 1;
            }
            found
        };
        let Some((step, next)) = child else { break };
        steps.push(step);
        at = next;
    }
    pointer(&steps)
}

/// Collects where records stand.
struct Paths(Vec<String>);

impl Records for Paths {
    fn document(&mut self, _: &Source<'_>, _: &Head<'_>) -> Keep {
        Keep::Records
    }

    fn record(&mut self, _: &Source<'_>, record: &Record<'_>) -> Taken {
        self.0.push(record.pointer(""));
        Taken::Accepted
    }

    fn refuse(&mut self, _: &Source<'_>, _: RejectionCode, _: Range<usize>, _: &dyn Fn() -> Words) {
    }
}
