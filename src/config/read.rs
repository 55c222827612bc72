//! From a tree to typed, still unresolved settings, with every error kept and none stopping the
//! next.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::diagnostic::Diagnostic;
use super::node::{Entry, Kind, Node, Place};

/// A value and where it was written.
#[derive(Clone)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) place: Place,
}

/// Collects what is wrong.
#[derive(Default)]
pub(super) struct Found {
    pub(super) diagnostics: Vec<Diagnostic>,
}

impl Found {
    pub(super) fn push(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    pub(super) fn expected(&mut self, what: &str, node: &Node) {
        let found = node.what();
        self.push(
            Diagnostic::error(format!("expected {what}, found {found}"))
                .at(&node.place)
                .label(format!("expected {what}")),
        );
    }

    /// An unknown key; `known` are the keys there are.
    pub(super) fn unknown_key(&mut self, entry: &Entry, known: &[&'static str]) {
        let key = &entry.key;
        let mut diagnostic =
            Diagnostic::error(format!("unknown key `{key}`")).at(&entry.place).label("unknown key");
        diagnostic = match nearest(key, known) {
            Some(name) => diagnostic.help(format!("did you mean `{name}`?")),
            None => diagnostic.help(format!("the keys here are {}", listed(known))),
        };
        self.push(diagnostic);
    }
}

/// Something that can be read from a tree. `None` means that an error was recorded.
pub(super) trait Read: Sized {
    fn read(node: &Node, found: &mut Found) -> Option<Self>;
}

impl<T: Read> Read for At<T> {
    fn read(node: &Node, found: &mut Found) -> Option<Self> {
        Some(Self { value: T::read(node, found)?, place: node.place.clone() })
    }
}

impl<T: JsonSchema> JsonSchema for At<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }
    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// Declares a table of the config: a struct of optional, placed values that is its own reader and
/// its own JSON Schema, so that the three cannot differ.
macro_rules! section {
    ($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $kind:ty,)* }) => {
        #[derive(Default, schemars::JsonSchema)]
        #[schemars(deny_unknown_fields)]
        $(#[$meta])*
        pub(super) struct $name {
            $($(#[$field_meta])* pub(super) $field: Option<$crate::config::read::At<$kind>>,)*
            /// Whether something in it could not be read, so that what seems to be missing may
            /// have been reported already.
            #[schemars(skip)]
            pub(super) spoiled: bool,
        }

        impl $name {
            /// The keys that are written, and where.
            #[allow(dead_code, reason = "only some sections are ever shown")]
            pub(super) fn places(&self) -> Vec<(&'static str, &$crate::config::node::Place)> {
                let mut places = Vec::new();
                $(if let Some(at) = &self.$field {
                    places.push(($crate::config::read::key_of(stringify!($field)), &at.place));
                })*
                places
            }
        }

        impl $crate::config::read::Read for $name {
            fn read(
                node: &$crate::config::node::Node,
                found: &mut $crate::config::read::Found,
            ) -> Option<Self> {
                use $crate::config::read::key_of;
                let $crate::config::node::Kind::Table(entries) = &node.kind else {
                    found.expected("a table", node);
                    return None;
                };
                let mut section = Self::default();
                for entry in entries {
                    match entry.key.as_str() {
                        $(key if key == key_of(stringify!($field)) => {
                            section.$field = <$crate::config::read::At<$kind> as $crate::config::read::Read>::read(&entry.value, found);
                            section.spoiled |= section.$field.is_none();
                        })*
                        _ => {
                            found.unknown_key(entry, &[$(key_of(stringify!($field))),*]);
                            section.spoiled = true;
                        }
                    }
                }
                Some(section)
            }
        }
    };
}
pub(super) use section;

/// The key that a field stands for.
pub(super) const fn key_of(field: &'static str) -> &'static str {
    match field.as_bytes() {
        [b'r', b'#', ..] => field.split_at(2).1,
        _ => field,
    }
}

/// Declares an enum of words.
macro_rules! words {
    ($(#[$meta:meta])* $vis:vis $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $word:literal,)* }) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq, schemars::JsonSchema)]
        $(#[$meta])*
        $vis enum $name {
            $($(#[$variant_meta])* #[schemars(rename = $word)] $variant,)*
        }

        impl $crate::config::read::Read for $name {
            fn read(
                node: &$crate::config::node::Node,
                found: &mut $crate::config::read::Found,
            ) -> Option<Self> {
                let all = Self::ALL;
                let word = all.iter().copied().find(|word| node.text() == Some(word.as_str()));
                if word.is_none() {
                    let words: Vec<_> = all.iter().map(|word| word.as_str()).collect();
                    $crate::config::read::not_one_of(node, &words, found);
                }
                word
            }
        }

        impl $name {
            /// All there are.
            $vis const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The word in the config.
            $vis fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }
    };
}
pub(super) use words;

/// Says that the value is none of `words`.
pub(super) fn not_one_of(node: &Node, words: &[&'static str], found: &mut Found) {
    let Some(text) = node.text() else {
        return found.expected(&format!("one of {}", listed(words)), node);
    };
    let diagnostic = Diagnostic::error(format!("`{text}` is not one of {}", listed(words)))
        .at(&node.place)
        .label("unknown word");
    found.push(match nearest(text, words) {
        Some(word) => diagnostic.help(format!("did you mean `{word}`?")),
        None => diagnostic,
    });
}

/// The names in backticks, separated by commas.
pub(super) fn listed(names: &[&str]) -> String {
    names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ")
}

/// The candidate that `given` is most likely a slip of: at most a third of its letters away.
pub fn nearest<'a>(given: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let given = given.to_lowercase().replace('-', "_");
    let allowed = (given.chars().count() / 3).clamp(1, 3);
    candidates
        .iter()
        .map(|name| (distance(&given, name), *name))
        .filter(|(far, _)| *far <= allowed)
        .min_by_key(|(far, _)| *far)
        .map(|(_, name)| name)
}

/// The edit distance, in which two swapped neighbours are one edit.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let change = usize::from(a[i - 1] != b[j - 1]);
            row[j] = (rows[i - 1][j] + 1).min(row[j - 1] + 1).min(rows[i - 1][j - 1] + change);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(rows[i - 2][j - 2] + 1);
            }
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

impl Read for bool {
    fn read(node: &Node, found: &mut Found) -> Option<Self> {
        if let Kind::Boolean(b) = node.kind {
            Some(b)
        } else {
            found.expected("`true` or `false`", node);
            None
        }
    }
}

impl Read for u32 {
    fn read(node: &Node, found: &mut Found) -> Option<Self> {
        match node.kind {
            Kind::Integer(n) if let Ok(n) = Self::try_from(n) => Some(n),
            _ => {
                found.expected("a whole number, 0 or more", node);
                None
            }
        }
    }
}

impl Read for i32 {
    fn read(node: &Node, found: &mut Found) -> Option<Self> {
        match node.kind {
            Kind::Integer(n) if let Ok(n) = Self::try_from(n) => Some(n),
            _ => {
                found.expected("a whole number", node);
                None
            }
        }
    }
}

impl Read for f64 {
    fn read(node: &Node, found: &mut Found) -> Option<Self> {
        match node.kind {
            Kind::Integer(n) => Some(n as Self),
            Kind::Float(x) => Some(x),
            _ => {
                found.expected("a number", node);
                None
            }
        }
    }
}

impl Read for String {
    fn read(node: &Node, found: &mut Found) -> Option<Self> {
        match &node.kind {
            Kind::Text(text) => Some(text.clone()),
            Kind::Boolean(_) | Kind::Integer(_) | Kind::Float(_) => {
                found.push(
                    Diagnostic::error(format!("expected a string, found {}", node.what()))
                        .at(&node.place)
                        .label("expected a string")
                        .help("put it in double quotes"),
                );
                None
            }
            _ => {
                found.expected("a string", node);
                None
            }
        }
    }
}

impl<T: Read> Read for Vec<T> {
    fn read(node: &Node, found: &mut Found) -> Option<Self> {
        let Kind::Array(items) = &node.kind else {
            found.expected("an array", node);
            return None;
        };
        // Every item is read, so that each wrong one is reported.
        let read: Vec<Option<T>> = items.iter().map(|item| T::read(item, found)).collect();
        read.into_iter().collect()
    }
}

/// A key that may be any name, and where it was written.
pub(super) struct Named<T> {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) value: T,
}

/// A table with keys of the user's choice.
pub(super) struct Table<T>(pub(super) Vec<Named<T>>);

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Read> Read for Table<T> {
    fn read(node: &Node, found: &mut Found) -> Option<Self> {
        let Kind::Table(entries) = &node.kind else {
            found.expected("a table", node);
            return None;
        };
        let mut read = Vec::new();
        for entry in entries {
            if let Some(value) = T::read(&entry.value, found) {
                read.push(Named { name: entry.key.clone(), place: entry.place.clone(), value });
            }
        }
        Some(Self(read))
    }
}

impl<T: JsonSchema> JsonSchema for Table<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        BTreeMap::<String, T>::schema_name()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        BTreeMap::<String, T>::json_schema(generator)
    }
}

/// A duration such as `"30s"` or `"1m 30s"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span(pub(super) Duration);

impl Read for Span {
    fn read(node: &Node, found: &mut Found) -> Option<Self> {
        let bad = |why: String, hint: String| {
            Diagnostic::error("invalid duration").at(&node.place).label(why).help(hint)
        };
        let diagnostic = match &node.kind {
            Kind::Text(text) => match humantime::parse_duration(text) {
                Ok(duration) => return Some(Self(duration)),
                Err(_) if is_number(text) => bad(
                    "a unit is missing".to_owned(),
                    format!("for seconds: `\"{}s\"`", text.trim()),
                ),
                Err(why) => bad(
                    why.to_string(),
                    "write a number and a unit: `\"500ms\"`, `\"30s\"`, `\"1m 30s\"`, `\"2h\"`"
                        .to_owned(),
                ),
            },
            Kind::Integer(n) => {
                bad("expected a string with a unit".to_owned(), format!("for seconds: `\"{n}s\"`"))
            }
            Kind::Float(x) => bad(
                "expected a string with a unit".to_owned(),
                format!("in milliseconds: `\"{}ms\"`", (x * 1000.0).round()),
            ),
            _ => {
                return {
                    found.expected("a duration such as `\"30s\"`", node);
                    None
                };
            }
        };
        found.push(diagnostic);
        None
    }
}

fn is_number(text: &str) -> bool {
    let text = text.trim();
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "title": "Duration",
            "description": "Numbers with units, added up: ms, s, m (or min), h, d, w.",
            "type": "string",
            "pattern": r"^\s*([0-9]+\s*[A-Za-zµ]+\s*)+$|^0$",
            "examples": ["500ms", "30s", "1m 30s", "2h"]
        })
    }
}

/// A size in bytes such as `"256MiB"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size(pub(super) u64);

const SIZE_UNITS: [(&str, u64); 9] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

/// The bytes that a size such as `256MiB` stands for, or what is wrong with it and what to write.
pub fn size(text: &str) -> Result<u64, String> {
    parse_size(text).map_err(|(wrong, help)| format!("{wrong}; {help}"))
}

/// The bytes that `text` stands for, or what is wrong and what to write.
fn parse_size(text: &str) -> Result<u64, (String, String)> {
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start();
    let Ok(number) = number.parse::<u64>() else {
        return Err((
            "not a size".to_owned(),
            "write a whole number and a unit: `\"64KiB\"`, `\"256MiB\"`, `\"2GB\"`".to_owned(),
        ));
    };
    if unit.is_empty() {
        return Err(("a unit is missing".to_owned(), format!("for bytes: `\"{number}B\"`")));
    }
    let Some((_, factor)) =
        SIZE_UNITS.iter().find(|(name, _)| *name == unit || *name == fix_k(unit))
    else {
        let short = unit.chars().next().map_or('M', |c| c.to_ascii_uppercase());
        let hint = if "KMGT".contains(short) {
            format!("write `\"{number}{short}iB\"`")
        } else {
            format!("the units are {}", listed(&SIZE_UNITS.map(|(name, _)| name)))
        };
        return Err((format!("unknown unit `{unit}`"), hint));
    };
    number
        .checked_mul(*factor)
        .filter(|bytes| i64::try_from(*bytes).is_ok())
        .ok_or_else(|| ("too large".to_owned(), "the largest size is 8388607TiB".to_owned()))
}

/// Both `kB` and `KB` are common.
fn fix_k(unit: &str) -> &str {
    if unit == "KB" { "kB" } else { unit }
}

impl Read for Size {
    fn read(node: &Node, found: &mut Found) -> Option<Self> {
        let (why, hint) = match &node.kind {
            Kind::Text(text) => match parse_size(text) {
                Ok(bytes) => return Some(Self(bytes)),
                Err(wrong) => wrong,
            },
            Kind::Integer(n) => {
                ("expected a string with a unit".to_owned(), format!("for bytes: `\"{n}B\"`"))
            }
            _ => {
                found.expected("a size such as `\"256MiB\"`", node);
                return None;
            }
        };
        found.push(Diagnostic::error("invalid size").at(&node.place).label(why).help(hint));
        None
    }
}

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "title": "Size",
            "description": "A whole number and a unit: B, KiB, MiB, GiB, TiB (powers of 1024) or kB, MB, GB, TB (powers of 1000).",
            "type": "string",
            "pattern": r"^\s*[0-9]+\s*(B|[KMGT]iB|[kKMGT]B)\s*$",
            "examples": ["64KiB", "256MiB", "2GB"]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(parse_size("256MiB"), Ok(256 << 20));
        assert_eq!(parse_size(" 1 KB "), Ok(1000));
        assert_eq!(parse_size("0B"), Ok(0));
        assert_eq!(parse_size("256M").unwrap_err().1, "write `\"256MiB\"`");
        assert_eq!(parse_size("256").unwrap_err().1, "for bytes: `\"256B\"`");
        assert!(parse_size("99999999TiB").is_err());
        assert!(parse_size("-1B").is_err());
        assert!(parse_size("1.5GiB").is_err());
    }

    #[test]
    fn slips_are_recognised_and_strangers_are_not() {
        let keys = ["interval", "timeout", "command", "env", "tags"];
        assert_eq!(nearest("intreval", &keys), Some("interval"));
        assert_eq!(nearest("time-out", &keys), None.or(nearest("time_out", &keys)));
        assert_eq!(nearest("Timeout", &keys), Some("timeout"));
        assert_eq!(nearest("tag", &keys), Some("tags"));
        assert_eq!(nearest("frequency", &keys), None);
    }
}
