use std::borrow::Cow;
use std::cell::Cell;
use std::fmt::Write as _;
use std::ops::Range;

use super::{JsonKind, RejectionCode, limits};

/// What a plugin printed, with the means to point into it.
#[derive(Debug)]
pub struct Source<'a> {
    bytes: &'a [u8],
    /// The same as text, where all of it is UTF-8: the usual case, checked once.
    text: Option<&'a str>,
    /// Where the last look-up ended: offset, line, and the offset at which that line starts.
    seen: Cell<(usize, u32, usize)>,
}

impl<'a> Source<'a> {
    /// Wraps one output.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, text: std::str::from_utf8(bytes).ok(), seen: Cell::new((0, 1, 0)) }
    }

    /// All of it.
    #[inline]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Whether all of it is UTF-8.
    #[inline]
    pub fn is_text(&self) -> bool {
        self.text.is_some()
    }

    /// A part of it as text; `None` where that part is not UTF-8.
    #[inline]
    pub fn text(&self, span: Range<usize>) -> Option<&'a str> {
        match self.text {
            Some(text) => text.get(span),
            None => std::str::from_utf8(self.bytes.get(span)?).ok(),
        }
    }

    /// Line and column (in bytes) of an offset, both from 1.
    pub fn place(&self, offset: usize) -> (u32, u32) {
        let offset = offset.min(self.bytes.len());
        let (mut at, mut line, mut start) = self.seen.get();
        if offset < at {
            (at, line, start) = (0, 1, 0);
        }
        for (i, &byte) in self.bytes[at..offset].iter().enumerate() {
            if byte == b'\n' {
                line = line.saturating_add(1);
                start = at + i + 1;
            }
        }
        self.seen.set((offset, line, start));
        (line, u32::try_from(offset - start + 1).unwrap_or(u32::MAX))
    }

    /// A part of it to show to a person: at most [`limits::EXCERPT`] bytes, cut at a character;
    /// what is not UTF-8 shows as U+FFFD.
    pub fn excerpt(&self, span: Range<usize>) -> String {
        let end = span.end.min(self.bytes.len());
        let part = self.bytes.get(span.start..end).unwrap_or_default().trim_ascii();
        // A few bytes more than fit, so that a character is not cut before it is read.
        let part = &part[..part.len().min(limits::EXCERPT + 4)];
        let mut text = String::from_utf8_lossy(part).into_owned();
        text.truncate(text.floor_char_boundary(limits::EXCERPT));
        text
    }
}

/// One step of a JSON pointer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step<'a> {
    /// A member of an object.
    Key(Cow<'a, str>),
    /// An element of an array, from 0.
    Index(usize),
}

/// Writes the steps as an RFC 6901 pointer.
pub fn pointer(steps: &[Step<'_>]) -> String {
    let mut text = String::new();
    for step in steps {
        text.push('/');
        match step {
            Step::Index(n) => {
                // Writing to a `String` cannot fail.
                write!(text, "{n}").unwrap_or_default();
            }
            Step::Key(key) => push_escaped(&mut text, key),
        }
    }
    text
}

/// Appends one key to a pointer's text, with `~` and `/` escaped; the slash before it is the
/// caller's.
pub fn push_escaped(pointer: &mut String, key: &str) {
    for c in key.chars() {
        match c {
            '~' => pointer.push_str("~0"),
            '/' => pointer.push_str("~1"),
            c => pointer.push(c),
        }
    }
}

/// What makes one value unreadable while the text around it still reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// `NaN`, `Infinity` and their like.
    NotFinite,
    /// A number that no 64-bit float can hold, such as `1e400`.
    OutOfRange,
    /// A string that is not UTF-8.
    Utf8,
    /// A string with half of a surrogate pair, such as `"\ud800"`.
    Surrogate,
    /// Nested beyond [`limits::DEPTH`].
    TooDeep,
    /// A key that this object has already.
    DuplicateKey,
}

impl Flaw {
    /// The code under which it is refused.
    pub fn code(self) -> RejectionCode {
        match self {
            Self::NotFinite => RejectionCode::ValueNotFinite,
            Self::OutOfRange => RejectionCode::ValueRange,
            Self::Utf8 | Self::Surrogate => RejectionCode::JsonUtf8,
            Self::TooDeep => RejectionCode::TooDeep,
            Self::DuplicateKey => RejectionCode::DuplicateKey,
        }
    }
}

/// A value as it was printed, unjudged.
#[derive(Debug, Clone, PartialEq)]
pub enum Raw<'a> {
    /// `null`
    Null,
    /// `true`, `false`
    Boolean(bool),
    /// A number written without fraction or exponent, up to 2^63−1.
    Signed(i64),
    /// A number written without fraction or exponent, from 2^63 to 2^64−1.
    Unsigned(u64),
    /// A number written without fraction or exponent that 64 bits cannot hold; the float next to it.
    Wide(f64),
    /// Any other number; finite. A decoder that can gives whole numbers from 2^53 on as
    /// [`Raw::Signed`] or [`Raw::Unsigned`], so that none is rounded.
    Float(f64),
    /// A number with a fraction that the float next to it has lost, such as `9007199254740993.5` or
    /// `1e-400`; that float, a whole number.
    Rounded(f64),
    /// A string.
    Text(Cow<'a, str>),
    /// An array; what is in it is not looked at.
    Array,
    /// An object; what is in it is not looked at.
    Object,
    /// A value that cannot be read.
    Flawed(Flaw),
}

impl Raw<'_> {
    /// What it is in JSON; an unreadable number is a number, any other unreadable value a string.
    pub fn kind(&self) -> JsonKind {
        match self {
            Self::Null => JsonKind::Null,
            Self::Boolean(_) => JsonKind::Boolean,
            Self::Signed(_)
            | Self::Unsigned(_)
            | Self::Wide(_)
            | Self::Float(_)
            | Self::Rounded(_)
            | Self::Flawed(Flaw::NotFinite | Flaw::OutOfRange) => JsonKind::Number,
            Self::Text(_) | Self::Flawed(_) => JsonKind::String,
            Self::Array => JsonKind::Array,
            Self::Object => JsonKind::Object,
        }
    }
}

/// One member of a metric object or a document, and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Field<'a> {
    /// What it holds.
    pub raw: Raw<'a>,
    /// Its key below the record as it was written (`metric_name` for a name, say); empty where the
    /// record's own path leads to it.
    pub key: &'static str,
    /// Where it starts in the source.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
}

/// One tag as it was printed.
#[derive(Debug, Clone, PartialEq)]
pub struct Tag<'a> {
    /// Its key.
    pub key: Cow<'a, str>,
    /// Its value, which should be a text.
    pub value: Raw<'a>,
    /// Where the value starts in the source.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
}

/// The tags of a record or document.
#[derive(Debug, Clone, Default)]
pub struct RawTags<'a> {
    /// The member itself, where there is one; an object if all is well.
    pub field: Option<Field<'a>>,
    /// What is in it, in the order in which it was printed.
    pub tags: Vec<Tag<'a>>,
}

/// A key that no document or metric has a use for.
#[derive(Debug, Clone)]
pub struct Unknown<'a> {
    /// The key.
    pub key: Cow<'a, str>,
    /// Where its value starts in the source.
    pub start: usize,
}

/// One record as a decoder found it, before anything is judged.
#[derive(Debug, Clone, Default)]
pub struct Record<'a> {
    /// Where it stands in its document; empty for the document itself.
    pub path: Vec<Step<'a>>,
    /// Where it starts in the source.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
    /// Something unreadable anywhere in it, and where: the record is refused for it.
    pub flaw: Option<(Flaw, Range<usize>)>,
    /// Its name: from the member `name` or `metric_name`, or its key in the document.
    pub name: Option<Field<'a>>,
    /// Its value.
    pub value: Option<Field<'a>>,
    /// The word for its type.
    pub kind: Option<Field<'a>>,
    /// Its unit.
    pub unit: Option<Field<'a>>,
    /// Its label: from the member `label` or `row_name`.
    pub label: Option<Field<'a>>,
    /// Its tags.
    pub tags: RawTags<'a>,
    /// When it was observed.
    pub time: Option<Field<'a>>,
    /// Where it gets worrying.
    pub warn: Option<Field<'a>>,
    /// Where it gets critical.
    pub crit: Option<Field<'a>>,
    /// The least possible value.
    pub min: Option<Field<'a>>,
    /// The greatest possible value.
    pub max: Option<Field<'a>>,
    /// Keys that mean nothing here.
    pub unknown: Vec<Unknown<'a>>,
}

impl Record<'_> {
    /// Forgets everything but the path and the room it took.
    pub fn clear(&mut self) {
        self.flaw = None;
        self.name = None;
        self.value = None;
        self.kind = None;
        self.unit = None;
        self.label = None;
        self.tags.field = None;
        self.tags.tags.clear();
        self.time = None;
        self.warn = None;
        self.crit = None;
        self.min = None;
        self.max = None;
        self.unknown.clear();
    }

    /// The pointer to one of its fields, or to itself where `key` is empty.
    pub fn pointer(&self, key: &str) -> String {
        let mut text = pointer(&self.path);
        if !key.is_empty() {
            text.push('/');
            push_escaped(&mut text, key);
        }
        text
    }
}

/// Whether the whole of a document could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Extent {
    /// From its first byte to its last.
    #[default]
    Whole,
    /// Up to an error, which is refused apart.
    Part,
}

/// What a document says apart from its records.
#[derive(Debug, Default)]
pub struct Head<'a> {
    /// Where the document starts in the source.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
    /// Whether all of it was read.
    pub extent: Extent,
    /// The status.
    pub status: Option<Field<'a>>,
    /// The message.
    pub message: Option<Field<'a>>,
    /// Tags under those of every record.
    pub tags: RawTags<'a>,
    /// The time of every record that has none.
    pub time: Option<Field<'a>>,
    /// Keys that mean nothing here.
    pub unknown: Vec<Unknown<'a>>,
    /// The document as a tree, where [`Records::wants_tree`] asked for it.
    pub tree: Option<Tree>,
}

/// A document as a tree, for a schema of the plugin's own.
#[derive(Debug)]
pub struct Tree {
    /// The document; of duplicate keys the first, and null for what a tree cannot hold.
    pub root: serde_json::Value,
    /// The pointers of its records.
    pub records: Vec<String>,
}

/// What to do with the records of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Hand them over.
    Records,
    /// The document was refused as one; go on to the next.
    Nothing,
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It was accepted, or only looked at.
    Accepted,
    /// It was refused.
    Refused,
}

/// The words of a refusal. Made on demand: a report spells out only its first refusals.
#[derive(Debug)]
pub struct Words {
    /// JSON pointer inside the document.
    pub path: String,
    /// The rule that was broken.
    pub rule: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

/// Who takes what a decoder finds, in the order in which it was printed. `contract` judges it;
/// decoders know no more of it than this.
pub trait Records {
    /// Whether documents should come as trees as well.
    fn wants_tree(&self) -> bool {
        false
    }

    /// A document starts; its records follow if the answer is [`Keep::Records`].
    fn document(&mut self, source: &Source<'_>, head: &Head<'_>) -> Keep;

    /// One record, and what became of it.
    fn record(&mut self, source: &Source<'_>, record: &Record<'_>) -> Taken;

    /// A stretch of the source, or a part of a document, that is no record. Counts as one.
    fn refuse(
        &mut self,
        source: &Source<'_>,
        code: RejectionCode,
        span: Range<usize>,
        words: &dyn Fn() -> Words,
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_from_one_in_bytes() {
        let source = Source::new("aé\nb\r\n\nc".as_bytes());
        assert_eq!(source.place(0), (1, 1));
        assert_eq!(source.place(3), (1, 4));
        assert_eq!(source.place(4), (2, 1));
        assert_eq!(source.place(8), (4, 1));
        assert_eq!(source.place(1), (1, 2), "looking back works as well");
        assert_eq!(source.place(1000), (4, 2));
    }

    #[test]
    fn an_excerpt_ends_at_a_character() {
        let long = "é".repeat(200);
        let source = Source::new(long.as_bytes());
        assert_eq!(source.excerpt(0..400).len(), 256);
        assert_eq!(source.excerpt(0..4), "éé");
        let odd = format!("x{long}");
        assert_eq!(Source::new(odd.as_bytes()).excerpt(0..401).len(), 255);
        assert_eq!(Source::new(b"a\xffb").excerpt(0..3), "a\u{fffd}b");
    }

    #[test]
    fn pointers_escape_what_rfc_6901_says() {
        let steps = [Step::Key("a/b".into()), Step::Index(3), Step::Key("~".into())];
        assert_eq!(pointer(&steps), "/a~1b/3/~0");
        assert_eq!(pointer(&[]), "");
    }
}
