//! One plugin's judge: takes records as a decoder finds them, and says what became of each.

use std::ops::Range;
use std::sync::Arc;

use crate::model::{
    Counts, Excerpt, ExcerptForm, Extent, Field, Head, Keep, Metric, MetricType, QuarantineItem,
    Raw, Record, Records, Rejection, RejectionCode as Code, Source, Status, Tags, Taken, Timestamp,
    Value, WarningCode, Words, limits,
};

use super::check;
use super::declared::{Contract, Strictness};
use super::excerpt::{self, Around};
use super::own::{self, Breaches};
use super::refusal::{At, Refusal};
use super::series::{Admitted, Memory};
use super::words::{badness, nearest};

/// Warnings spelt out in one report.
const WARNINGS: usize = 50;

/// The keys of a metric object.
const METRIC_KEYS: [&str; 12] = [
    "name", "value", "type", "unit", "label", "tags", "time", "warn", "crit", "min", "max",
    "row_name",
];

/// The keys of a full document.
const HEAD_KEYS: [&str; 6] = ["metrics", "plugins", "status", "message", "tags", "time"];

/// When a run happened, by the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Its start: the time of every metric that states none.
    pub started: Timestamp,
    /// Now: what lies more than ten minutes after it is the future.
    pub now: Timestamp,
}

/// What the records of one run came to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Judged {
    /// The accepted ones, in the order in which they were printed.
    pub metrics: Vec<Metric>,
    /// The first [`limits::REJECTIONS`] refused ones.
    pub rejected: Vec<Rejection>,
    /// The refused ones with their own bytes, within [`limits::QUARANTINE_ITEMS`] and
    /// [`limits::QUARANTINE_RUN`].
    pub quarantine: Vec<QuarantineItem>,
    /// All of them, counted.
    pub counts: Counts,
    /// What was odd and cost nothing.
    pub warnings: Vec<String>,
    /// The worst status that a document stated. From best to worst: ok, unknown, warning, critical.
    pub status: Option<Status>,
    /// The messages that came with it, joined by `; `.
    pub message: Option<String>,
}

/// Judges the runs of one plugin, and remembers what must hold from run to run: its series, and the
/// types of metrics that it did not declare.
#[derive(Debug)]
pub struct Judge {
    contract: Arc<Contract>,
    tags: Tags,
    memory: Memory,
    /// Metrics of the last run: the next one has about as many.
    last: usize,
}

impl Judge {
    /// A judge who has seen nothing yet. `tags` (the plugin's over the agent's) go under those of
    /// every metric.
    pub fn new(contract: Arc<Contract>, tags: Tags) -> Self {
        Self { contract, tags, memory: Memory::default(), last: 0 }
    }

    /// Judges one run. `read` hands over its records:
    /// `judge.run(moment, |records| format.decode(stdout, end, records))`.
    pub fn run(&mut self, moment: Moment, read: impl FnOnce(&mut dyn Records)) -> Judged {
        self.part(moment, &[], read)
    }

    /// Judges a part of what a long-lived plugin prints, of which is known when it came: from each
    /// offset on, ascending. That is the time of every metric in it that states none.
    pub fn part(
        &mut self,
        moment: Moment,
        arrivals: &[(usize, Timestamp)],
        read: impl FnOnce(&mut dyn Records),
    ) -> Judged {
        self.memory.start_run();
        let mut run = Run::new(self, moment, Reading::Output, arrivals);
        read(&mut run);
        let judged = run.finish();
        self.last = judged.metrics.len();
        judged
    }

    /// Judges what one run's refused records were kept as, again: one verdict for each. Together
    /// they count as one run, in which no series comes twice at the same time.
    pub fn replay<R>(
        &mut self,
        moment: Moment,
        excerpts: impl IntoIterator<Item = (ExcerptForm, R)>,
    ) -> Vec<Judged>
    where
        R: FnOnce(&mut dyn Records),
    {
        self.memory.start_run();
        let judge = |(form, read): (ExcerptForm, R)| {
            let reading = match form {
                ExcerptForm::Record | ExcerptForm::Duplicate => Reading::Fragment,
                ExcerptForm::Document | ExcerptForm::Text => Reading::Output,
            };
            let mut run = Run::new(self, moment, reading, &[]);
            read(&mut run);
            run.finish()
        };
        excerpts.into_iter().map(judge).collect()
    }

    /// How many series the plugin has had so far.
    pub fn series(&self) -> usize {
        self.memory.series()
    }

    /// Puts the same plugin under another contract and other tags after a reload, keeping what is
    /// remembered.
    pub fn reload(&mut self, contract: Arc<Contract>, tags: Tags) {
        self.contract = contract;
        self.tags = tags;
    }
}

/// What the document at hand says for all of its records.
#[derive(Default)]
struct Document {
    /// Its tags over the plugin's, where it has any.
    tags: Option<Tags>,
    time: Option<Timestamp>,
    /// Why every record is refused.
    bad_tags: Option<Refusal>,
    /// Why every record without a time of its own is refused.
    bad_time: Option<Refusal>,
    breaches: Breaches,
    around: Around,
}

/// What is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// All that a program printed, or whole documents of it.
    Output,
    /// One record out of its document: what is not there may have been accepted already.
    Fragment,
}

struct Run<'j> {
    contract: &'j Contract,
    tags: &'j Tags,
    memory: &'j mut Memory,
    started: i64,
    arrivals: &'j [(usize, Timestamp)],
    latest: i64,
    document: Document,
    /// Which declared metrics came.
    came: Vec<bool>,
    /// Unknown keys that were warned of.
    unknown: Vec<Box<str>>,
    further_warnings: usize,
    produced: u64,
    reading: Reading,
    /// Bytes of excerpts in `out`.
    kept: usize,
    out: Judged,
    messages: Vec<String>,
}

type Checked<T> = Result<T, Refusal>;

impl<'j> Run<'j> {
    fn new(
        judge: &'j mut Judge,
        moment: Moment,
        reading: Reading,
        arrivals: &'j [(usize, Timestamp)],
    ) -> Self {
        Self {
            contract: &judge.contract,
            tags: &judge.tags,
            memory: &mut judge.memory,
            started: moment.started.millis(),
            arrivals,
            latest: moment.now.millis().saturating_add(limits::FUTURE_MS),
            document: Document::default(),
            came: vec![false; judge.contract.declared().len()],
            unknown: Vec::new(),
            further_warnings: 0,
            produced: 0,
            reading,
            kept: 0,
            out: Judged { metrics: Vec::with_capacity(judge.last), ..Judged::default() },
            messages: Vec::new(),
        }
    }

    fn finish(mut self) -> Judged {
        let contract = self.contract;
        for ((name, declared), came) in contract.declared().zip(std::mem::take(&mut self.came)) {
            if declared.required && !came && self.reading == Reading::Output {
                self.warn(WarningCode::RequiredMissing, || {
                    format!("the required metric `{name}` did not come")
                });
            }
        }
        let kept = self.out.quarantine.len() as u64;
        let refused = self.out.counts.rejected_total();
        if refused > kept {
            self.warn(WarningCode::QuarantineFull, || {
                format!(
                    "{kept} of {refused} refused records are in quarantine: it takes 1000 records \
                     and 1 MiB of a run"
                )
            });
        }
        if self.further_warnings > 0 {
            let more = format!("and {} more", self.further_warnings);
            self.out.warnings.push(WarningCode::MoreWarnings.says(more));
        }
        if !self.messages.is_empty() {
            let mut message = self.messages.join("; ");
            if message.len() > limits::TEXT {
                message.truncate(message.floor_char_boundary(limits::TEXT));
                self.out.warnings.push(WarningCode::MessageCut.says("it was cut at 4096 bytes"));
            }
            self.out.message = Some(message);
        }
        self.out.counts.produced = self.produced;
        self.out.counts.accepted = self.out.metrics.len() as u64;
        debug_assert_eq!(
            self.out.counts.produced,
            self.out.counts.accepted + self.out.counts.rejected_total(),
            "every record is counted once"
        );
        self.out
    }

    /// Adds a warning, unless the same is there already.
    fn warn(&mut self, code: WarningCode, text: impl FnOnce() -> String) {
        if self.out.warnings.len() >= WARNINGS {
            self.further_warnings += 1;
            return;
        }
        let text = code.says(text());
        if !self.out.warnings.contains(&text) {
            self.out.warnings.push(text);
        }
    }

    /// Counts a refusal. Says whether it has to be put into words.
    fn count(&mut self, code: Code) -> bool {
        *self.out.counts.rejected.entry(code).or_default() += 1;
        self.out.rejected.len() < limits::REJECTIONS || self.may_keep()
    }

    /// Whether the quarantine takes more of this run.
    fn may_keep(&self) -> bool {
        self.out.quarantine.len() < limits::QUARANTINE_ITEMS && self.kept < limits::QUARANTINE_RUN
    }

    /// Keeps a refusal that was counted.
    fn put(&mut self, rejection: Rejection, excerpt: impl FnOnce(&Self) -> Excerpt) {
        if self.may_keep() {
            let excerpt = excerpt(self);
            self.kept += excerpt.bytes.len();
            self.out.quarantine.push(QuarantineItem { rejection: rejection.clone(), excerpt });
        }
        if self.out.rejected.len() < limits::REJECTIONS {
            self.out.rejected.push(rejection);
        }
    }

    /// The status and message of a document. Of several documents the worst status counts, and the
    /// messages of those that share it; a document that only has a message counts as ok there.
    fn status(&mut self, head: &Head<'_>) {
        let status = match head.status.as_ref().map(|f| &f.raw) {
            None | Some(Raw::Null) => None,
            Some(Raw::Text(word)) => Status::from_word(word).or_else(|| {
                let hint = match nearest(word, ["ok", "warning", "critical", "unknown"]) {
                    Some(meant) => format!("write `{meant}`"),
                    None => "write ok, warning, critical or unknown".to_owned(),
                };
                let shown: String = word.chars().take(40).collect();
                self.warn(WarningCode::StatusUnknown, || {
                    format!("status `{shown}` counts as unknown: {hint}")
                });
                Some(Status::Unknown)
            }),
            Some(raw) => {
                let kind = raw.kind();
                self.warn(WarningCode::StatusUnknown, || {
                    format!("`status` counts as unknown: it is {kind}, not a string")
                });
                Some(Status::Unknown)
            }
        };
        let message = match head.message.as_ref().map(|f| &f.raw) {
            None | Some(Raw::Null) => None,
            Some(Raw::Text(text)) => Some(text.trim()).filter(|t| !t.is_empty()),
            Some(raw) => {
                let kind = raw.kind();
                self.warn(WarningCode::MessageInvalid, || {
                    format!("`message` was left out: it is {kind}, not a string")
                });
                None
            }
        };
        if status.is_none() && message.is_none() {
            return;
        }
        let (new, old) = (badness(status), badness(self.out.status));
        if new > old {
            self.messages.clear();
        }
        if status.is_some() && (self.out.status.is_none() || new > old) {
            self.out.status = status;
        }
        // As many as can be shown; a stream of documents must not fill the memory with them.
        let length: usize = self.messages.iter().map(String::len).sum();
        if let Some(message) = message
            && new >= old
            && length <= limits::TEXT
            && !self.messages.iter().any(|m| m == message)
        {
            self.messages.push(message.to_owned());
        }
    }

    fn unknown_key(
        &mut self,
        source: &Source<'_>,
        key: &str,
        start: usize,
        known: &[&'static str],
    ) {
        if self.unknown.iter().any(|k| **k == *key) {
            return;
        }
        if self.unknown.len() < WARNINGS {
            self.unknown.push(key.into());
        }
        self.warn(WarningCode::KeyUnknown, || {
            let shown: String = key.chars().take(64).collect();
            let (line, column) = source.place(start);
            let meant = match nearest(key, known.iter().copied()) {
                Some(meant) => format!("; did you mean `{meant}`?"),
                None => String::new(),
            };
            format!("the key `{shown}` (line {line}, column {column}) means nothing here{meant}")
        });
    }

    fn judge(&mut self, source: &Source<'_>, record: &Record<'_>) -> Checked<Metric> {
        if let Some((flaw, span)) = &record.flaw {
            return Err(Refusal::flaw(*flaw, At::Record, span.clone()));
        }
        if !self.document.breaches.records.is_empty()
            && let Some(breach) = self.document.breaches.records.get(&record.pointer(""))
        {
            let hint = "print what the plugin's schema asks for, or change the schema";
            return Err(Refusal::record(Code::Schema, record, breach.message.clone(), hint)
                .rule(breach.rule.clone())
                .at(At::Pointer(breach.path.clone()), record.start..record.end));
        }
        let name = check::name(record)?;
        let declared = self.contract.find(name);
        if declared.is_none() && self.contract.strictness() == Strictness::Strict {
            return Err(self.undeclared(record, name));
        }
        let Some(field) = &record.value else {
            let hint = "add `\"value\": …`, or `\"value\": null` for a gap";
            let message = "the metric has no value";
            return Err(Refusal::record(Code::ValueMissing, record, message, hint));
        };
        let stated = check::kind(record.kind.as_ref())?;
        let tags = self.record_tags(record)?;
        let identity = self.memory.identity(name, &tags);
        let (kind, value) = match (declared, stated) {
            (Some((_, declared)), stated) => {
                if let Some(stated) = stated.filter(|&s| s != declared.kind) {
                    let kind = declared.kind;
                    self.warn(WarningCode::TypeDiffers, || {
                        format!("`{name}` is declared {kind} and says it is {stated}")
                    });
                }
                (declared.kind, check::allowed(declared, field)?)
            }
            (None, Some(stated)) => (stated, check::value_as(stated, field)?),
            (None, None) => self.infer(identity.name, field)?,
        };
        let mut unit = check::short_text(record.unit.as_ref(), "unit")?;
        let mut label = check::short_text(record.label.as_ref(), "label")?;
        let time = self.record_time(record)?.or_else(|| self.arrival(record.start));
        let mut warn = check::threshold(record.warn.as_ref())?;
        let mut crit = check::threshold(record.crit.as_ref())?;
        let mut min = check::bound(record.min.as_ref())?;
        let mut max = check::bound(record.max.as_ref())?;

        match self.memory.admit(identity.series, time.map_or(self.started, Timestamp::millis)) {
            Admitted::Yes => {}
            Admitted::Duplicate => {
                let message = "the same name, tags and time came before in this run";
                let hint = if self.arrivals.is_empty() {
                    "tell the two apart by a tag, or print one of them"
                } else {
                    "they came in the same millisecond: flush after each line, print `time`, or tell \
                     the two apart by a tag"
                };
                return Err(Refusal::record(Code::DuplicateSeries, record, message, hint));
            }
            Admitted::TooMany => {
                let message = "over 10 000 series of this plugin since the agent started";
                let hint = "leave out tags that never stop changing, such as ids and times";
                return Err(Refusal::record(Code::TooManySeries, record, message, hint));
            }
        }

        if self.out.metrics.len() >= limits::METRICS {
            let message = "over 10 000 metrics in one run";
            let hint = "print fewer, or split the plugin";
            return Err(Refusal::record(Code::TooManyMetrics, record, message, hint));
        }

        // From here on the record is accepted.
        match declared {
            Some((place, declared)) => {
                self.came[place] = true;
                if let (Some(ours), Some(theirs)) = (&declared.unit, &unit)
                    && **ours != **theirs
                {
                    let (ours, theirs) = (ours.clone(), theirs.clone());
                    self.warn(WarningCode::UnitDiffers, || {
                        format!("`{name}` is declared in `{ours}` and comes in `{theirs}`")
                    });
                }
                let boxed = |text: &Option<String>| text.as_deref().map(Box::from);
                unit = boxed(&declared.unit).or(unit);
                label = boxed(&declared.label).or(label);
                warn = declared.warn.clone().or(warn);
                crit = declared.crit.clone().or(crit);
                min = declared.min.or(min);
                max = declared.max.or(max);
            }
            None if value != Value::Gap => self.learn(identity.name, name, kind, stated),
            None => {}
        }
        if unit.is_none() && kind == MetricType::Percent {
            unit = Some("%".into());
        }
        for unknown in &record.unknown {
            self.unknown_key(source, &unknown.key, unknown.start, &METRIC_KEYS);
        }
        Ok(Metric { name: name.into(), value, kind, unit, label, tags, time, warn, crit, min, max })
    }

    fn undeclared(&self, record: &Record<'_>, name: &str) -> Refusal {
        let hint = match nearest(name, self.contract.declared().map(|(n, _)| n)) {
            Some(meant) => format!("did you mean `{meant}`? else declare it"),
            None => "declare it, or leave out `strict`".to_owned(),
        };
        let message = format!("`{name}` is not declared, and the plugin is strict");
        let refusal =
            Refusal::record(Code::Undeclared, record, message, hint).rule("strict = true");
        match &record.name {
            Some(field) => refusal.at(At::Field(field.key), field.start..field.end),
            None => refusal,
        }
    }

    /// Type and value of a metric that neither the contract nor the record gives a type.
    fn infer(&self, name: u64, field: &Field<'_>) -> Checked<(MetricType, Value)> {
        let (kind, value) = check::value_alone(field)?;
        Ok(match kind {
            // A gap has the type that the metric had; of one that never had a value nothing is known.
            None => (self.memory.kind(name).unwrap_or(MetricType::Float), value),
            Some(MetricType::Integer) if self.memory.has_fractions(name) => {
                (MetricType::Float, Value::Float(value.as_f64().unwrap_or_default()))
            }
            Some(kind) => (kind, value),
        })
    }

    /// Remembers the type of an undeclared metric, and warns where it flips.
    fn learn(&mut self, hash: u64, name: &str, kind: MetricType, stated: Option<MetricType>) {
        let known = self.memory.kind(hash);
        if known == Some(kind) {
            return;
        }
        let fractions = kind == MetricType::Float && stated.is_none();
        self.memory.learn(hash, kind, fractions);
        // A number that turns out to have fractions is no surprise.
        let grows = (known, kind) == (Some(MetricType::Integer), MetricType::Float) && fractions;
        if let Some(known) = known.filter(|_| !grows) {
            self.warn(WarningCode::TypeChanged, || {
                format!("`{name}` was {known} and is now {kind}; declare its type")
            });
        }
    }

    fn record_tags(&self, record: &Record<'_>) -> Checked<Tags> {
        if let Some(refusal) = &self.document.bad_tags {
            return Err(refusal.clone());
        }
        let under = self.document.tags.as_ref().unwrap_or(self.tags);
        check::tags(&record.tags, under, &|| record.pointer(""))
    }

    fn record_time(&self, record: &Record<'_>) -> Checked<Option<Timestamp>> {
        let at = || At::Field("time");
        let time = check::time(record.time.as_ref(), self.latest, &at)?;
        match &self.document.bad_time {
            Some(refusal) if time.is_none() => Err(refusal.clone()),
            _ => Ok(time.or(self.document.time)),
        }
    }

    /// When what stands at `offset` came, where that is not when the run started.
    fn arrival(&self, offset: usize) -> Option<Timestamp> {
        let at = self.arrivals.partition_point(|(from, _)| *from <= offset);
        let (_, time) = self.arrivals[..at].last()?;
        (time.millis() != self.started).then_some(*time)
    }

    /// Refuses what is no record.
    fn refuse_stretch(
        &mut self,
        source: &Source<'_>,
        code: Code,
        span: Range<usize>,
        words: &dyn Fn() -> Words,
        excerpt: impl FnOnce() -> Excerpt,
    ) {
        self.produced += 1;
        if !self.count(code) {
            return;
        }
        let Words { path, rule, message, hint } = words();
        let (line, column) = source.place(span.start);
        let value = source.excerpt(span);
        let rejection = Rejection { code, path, line, column, value, rule, message, hint };
        self.put(rejection, |_| excerpt());
    }

    fn reject(&mut self, source: &Source<'_>, record: &Record<'_>, refusal: Refusal) {
        let code = refusal.code();
        if self.count(code) {
            let rejection = refusal.write(source, record);
            self.put(rejection, |run| {
                excerpt::of_record(source, record, code, &run.document.around)
            });
        }
    }
}

impl Records for Run<'_> {
    fn wants_tree(&self) -> bool {
        self.contract.schema().is_some()
    }

    fn document(&mut self, source: &Source<'_>, head: &Head<'_>) -> Keep {
        self.document = Document::default();
        let span = |field: &Option<Field<'_>>| field.as_ref().map(|f| f.start..f.end);
        self.document.around = Around { tags: span(&head.tags.field), time: span(&head.time) };
        if let (Some(schema), Some(tree)) = (self.contract.schema(), &head.tree) {
            let breaches = own::check(schema, tree);
            // A document that broke off is refused already; what it lacks is no news.
            let whole = head.extent == Extent::Whole && self.reading == Reading::Output;
            if let Some(breach) = breaches.document.as_ref().filter(|_| whole) {
                let span = head.start..head.end;
                let words = || Words {
                    path: breach.path.clone(),
                    rule: Some(breach.rule.clone()),
                    message: breach.message.clone(),
                    hint: "print what the plugin's schema asks for, or change the schema"
                        .to_owned(),
                };
                self.refuse_stretch(source, Code::Schema, span.clone(), &words, || {
                    excerpt::of_document(source, span)
                });
                return Keep::Nothing;
            }
            self.document.breaches = breaches;
        }
        self.status(head);
        for unknown in &head.unknown {
            self.unknown_key(source, &unknown.key, unknown.start, &HEAD_KEYS);
        }
        if head.tags.field.is_some() {
            match check::tags(&head.tags, self.tags, &String::new) {
                Ok(tags) => self.document.tags = Some(tags),
                Err(refusal) => {
                    self.warn(WarningCode::DocumentTags, || {
                        format!("the document's `tags` cannot be used: {}", refusal.message())
                    });
                    self.document.bad_tags = Some(refusal);
                }
            }
        }
        match check::time(head.time.as_ref(), self.latest, &|| At::Pointer("/time".to_owned())) {
            Ok(time) => self.document.time = time,
            Err(refusal) => {
                self.warn(WarningCode::DocumentTime, || {
                    format!("the document's `time` cannot be used: {}", refusal.message())
                });
                self.document.bad_time = Some(refusal);
            }
        }
        Keep::Records
    }

    fn record(&mut self, source: &Source<'_>, record: &Record<'_>) -> Taken {
        self.produced += 1;
        match self.judge(source, record) {
            Ok(metric) => {
                self.out.metrics.push(metric);
                Taken::Accepted
            }
            Err(refusal) => {
                self.reject(source, record, refusal);
                Taken::Refused
            }
        }
    }

    fn refuse(
        &mut self,
        source: &Source<'_>,
        code: Code,
        span: Range<usize>,
        words: &dyn Fn() -> Words,
    ) {
        self.refuse_stretch(source, code, span.clone(), words, || {
            excerpt::of_text(source, code, span)
        });
    }
}
