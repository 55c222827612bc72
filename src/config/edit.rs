//! Edits of a config file in TOML, as text: from the file as it is to the file as it is to become.
//!
//! Pure: it reads and writes nothing, and does not know what the keys mean. What an edit is not about
//! stays as it was: comments, order, blank lines and line ends.

use std::collections::BTreeMap;
use std::ops::Range;

use toml_edit::{
    Array, Document, DocumentMut, InlineTable, Item, Key, Table, TableLike, TomlError, Value,
};

/// Why a text cannot be edited.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// It is not TOML.
    #[error("the file is not TOML: {0}")]
    Syntax(String),
    /// There is no such table.
    #[error("there is no `[{0}]` in the file")]
    Absent(String),
    /// Something else stands where a table is wanted.
    #[error("`{0}` is no table")]
    NoTable(String),
}

/// A setting that [`add`] writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Setting {
    /// A string.
    Text(String),
    /// An array of strings.
    Words(Vec<String>),
    /// A table of strings.
    Pairs(BTreeMap<String, String>),
    /// `true` or `false`.
    Flag(bool),
}

impl Setting {
    fn value(&self) -> Value {
        match self {
            Self::Text(text) => text.as_str().into(),
            Self::Words(words) => words.iter().map(String::as_str).collect::<Array>().into(),
            Self::Pairs(pairs) => {
                let pairs = pairs.iter().map(|(key, text)| (key.as_str(), text.as_str()));
                pairs.collect::<InlineTable>().into()
            }
            Self::Flag(flag) => (*flag).into(),
        }
    }
}

/// Adds the table `[plugins.NAME]` at the end. `name` is not in the file yet.
pub fn add(text: &str, name: &str, settings: &[(&str, Setting)]) -> Result<String, EditError> {
    edit(text, |document| {
        let plugins = document.get_mut("plugins");
        let apart = match &plugins {
            None => true,
            Some(Item::Table(table)) => !table.is_dotted(),
            Some(_) => false,
        };
        if !apart {
            // All plugins are one value here, or keys with dots: the new one has to be, too.
            let plugin: InlineTable =
                settings.iter().map(|(key, setting)| (*key, setting.value())).collect();
            let plugins = plugins.and_then(Item::as_table_like_mut);
            let plugins = plugins.ok_or_else(|| EditError::NoTable("plugins".to_owned()))?;
            put(plugins, name, plugin.into());
            return Ok(None);
        }
        let mut text = document.to_string();
        if !text.is_empty() {
            text.truncate(text.trim_end_matches('\n').len());
            text.push_str("\n\n");
        }
        text.push_str(&format!("[plugins.{}]\n", Key::new(name)));
        for (key, setting) in settings {
            text.push_str(&format!("{key} = {}\n", setting.value()));
        }
        Ok(Some(text))
    })
}

/// Writes `enabled` into the table at `path`, which is made where it is not there; without a path,
/// into the file's own.
pub fn set_enabled(text: &str, path: &[&str], enabled: bool) -> Result<String, EditError> {
    edit(text, |document| {
        let mut table: &mut dyn TableLike = document.as_table_mut();
        for (n, key) in path.iter().enumerate() {
            if !table.contains_key(key) {
                let mut new = Table::new();
                new.set_implicit(n + 1 < path.len());
                table.insert(key, Item::Table(new));
            }
            table = table
                .get_mut(key)
                .and_then(Item::as_table_like_mut)
                .ok_or_else(|| EditError::NoTable(path[..=n].join(".")))?;
        }
        put(table, "enabled", enabled.into());
        Ok(None)
    })
}

/// What `enabled` in the table at `path` is, where it is written.
pub fn enabled(text: &str, path: &[&str]) -> Option<bool> {
    let document: DocumentMut = text.parse().ok()?;
    let found = path.iter().try_fold(document.as_item(), |item, key| item.get(key));
    found?.get("enabled")?.as_bool()
}

/// Takes `plugins.NAME` out, however it is written: with all below it, the comment right above it and
/// the one right below its last line. A comment that begins the file is the file's.
pub fn remove(text: &str, name: &str) -> Result<String, EditError> {
    let (mark, body) = marked(text);
    let document = Document::parse(body).map_err(syntax)?;
    let absent = || EditError::Absent(format!("plugins.{name}"));
    let plugins = document.get("plugins").ok_or_else(absent)?;
    let Item::Table(table) = plugins else {
        // One of several in one value.
        return edit(text, |document| {
            let plugins = document.get_mut("plugins").and_then(Item::as_table_like_mut);
            let plugins = plugins.ok_or_else(|| EditError::NoTable("plugins".to_owned()))?;
            plugins.remove(name).map(|_| None).ok_or_else(absent)
        });
    };
    let (key, item) = table.get_key_value(name).ok_or_else(absent)?;
    let mut spans = Vec::new();
    written(key, item, &mut spans);
    spans.sort_by_key(|span| span.start);
    Ok(format!("{mark}{}", without(body, &spans)))
}

/// Whether there is a table, or a value in the place of one, at `path`.
pub fn contains(text: &str, path: &[&str]) -> bool {
    let Ok(document) = text.parse::<DocumentMut>() else { return false };
    path.iter().try_fold(document.as_item(), |item, key| item.get(key)).is_some()
}

/// Where an item is written: its heads, and its keys with their values.
fn written(key: &Key, item: &Item, spans: &mut Vec<Range<usize>>) {
    let mut below = |table: &Table| {
        if !table.is_implicit() && !table.is_dotted() {
            spans.extend(table.span());
        }
        for (key, _) in table {
            if let Some((key, item)) = table.get_key_value(key) {
                written(key, item, spans);
            }
        }
    };
    match item {
        Item::Table(table) => below(table),
        Item::ArrayOfTables(tables) => tables.iter().for_each(below),
        Item::Value(value) => {
            if let (Some(key), Some(value)) = (key.span(), value.span()) {
                spans.push(key.start..value.end);
            }
        }
        Item::None => {}
    }
}

/// A text without the lines of what is written at `spans`, and without the comments that are theirs.
fn without(text: &str, spans: &[Range<usize>]) -> String {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let line_of = |at: usize| text[..at].matches('\n').count();
    let blank = |line: &str| line.trim().is_empty();
    let comment = |line: &str| line.trim_start().starts_with('#');
    let mut blocks: Vec<Range<usize>> = Vec::new();
    for span in spans {
        let (start, end) = (line_of(span.start), line_of(span.end) + 1);
        match blocks.last_mut() {
            // What stands between two of them is theirs.
            Some(last)
                if start <= last.end
                    || lines[last.end..start].iter().all(|line| blank(line) || comment(line)) =>
            {
                last.end = last.end.max(end);
            }
            _ => blocks.push(start..end),
        }
    }
    let mut kept = String::with_capacity(text.len());
    let mut next = 0;
    for block in blocks {
        let run = |lines: &[&str]| lines.iter().take_while(|line| comment(line)).count();
        let above = lines[next..block.start].iter().rev().take_while(|line| comment(line)).count();
        let mut start = block.start - above;
        if start == 0 {
            start = block.start;
        }
        // A comment right above something else is about that.
        let below = run(&lines[block.end..]);
        let ends = lines.get(block.end + below).is_none_or(|line| blank(line));
        let mut end = if ends { block.end + below } else { block.end };
        // Of the blank lines on both sides one side stays.
        if ends {
            let blanks = lines[next..start].iter().rev().take_while(|line| blank(line)).count();
            start -= blanks;
            if start == 0 {
                end += lines[end..].iter().take_while(|line| blank(line)).count();
            }
        }
        kept.extend(lines[next..start].iter().copied());
        next = end;
    }
    kept.extend(lines[next..].iter().copied());
    kept
}

/// Puts a value in the place of another, or after the others.
fn put(table: &mut dyn TableLike, key: &str, mut value: Value) {
    if let Some(Item::Value(old)) = table.get_mut(key) {
        *value.decor_mut() = old.decor().clone();
        *old = value;
        return;
    }
    // In `{ a = 1 }` the space before the brace is the last value's.
    let last = table.iter_mut().last().and_then(|(_, item)| match item {
        Item::Value(value) => Some(value),
        _ => None,
    });
    if let Some(last) = last {
        let after = last.decor().suffix().and_then(|s| s.as_str()).unwrap_or_default().to_owned();
        if !after.is_empty() && after.trim().is_empty() {
            last.decor_mut().set_suffix("");
            value.decor_mut().set_suffix(after);
            value.decor_mut().set_prefix(" ");
        }
    }
    table.insert(key, Item::Value(value));
}

/// Does the edit on a text with plain line ends and without a mark of its encoding. What `change`
/// gives is the new text; nothing stands for the changed document.
fn edit(
    text: &str,
    change: impl FnOnce(&mut DocumentMut) -> Result<Option<String>, EditError>,
) -> Result<String, EditError> {
    let (mark, body) = marked(text);
    let mut document: DocumentMut = body.replace("\r\n", "\n").parse().map_err(syntax)?;
    let edited = match change(&mut document)? {
        Some(text) => text,
        None => document.to_string(),
    };
    Ok(format!("{mark}{}", with_line_ends(body, &edited)))
}

/// The mark of its encoding that a text may begin with, and the rest.
fn marked(text: &str) -> (&str, &str) {
    match text.strip_prefix('\u{feff}') {
        Some(body) => ("\u{feff}", body),
        None => ("", text),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn syntax(error: TomlError) -> EditError {
    EditError::Syntax(error.message().to_owned())
}

/// A new text with the line ends of the old one: lines that are the same keep theirs, those between get
/// what most have.
fn with_line_ends(old: &str, new: &str) -> String {
    let (was, is): (Vec<&str>, Vec<&str>) =
        (old.split_inclusive('\n').collect(), new.split_inclusive('\n').collect());
    let same = |(was, is): &(&&str, &&str)| match was.strip_suffix("\r\n") {
        Some(was) => is.strip_suffix('\n') == Some(was),
        None => was == is,
    };
    let head = was.iter().zip(&is).take_while(same).count();
    let tail = was[head..].iter().rev().zip(is[head..].iter().rev()).take_while(same).count();
    let mut between = is[head..is.len() - tail].concat();
    if 2 * old.matches("\r\n").count() > old.matches('\n').count() {
        between = between.replace('\n', "\r\n");
    }
    format!("{}{between}{}", was[..head].concat(), was[was.len() - tail..].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# The site's config.\ninclude = [\"a/*.toml\"]   # more\n\n\
        # ---- disks ----\n\n# The big one.\n[plugins.disk]   # first\ncommand = ['./disk.sh', \"-a\"]\n\
        #interval = \"5s\"\n\n[plugins.disk.metrics.used]\ntype = \"percent\"\n\n\n\
        # Mail.\n[plugins.mail]\ncommand = [\n  \"./mail\",   # with a comment\n]\n\n# the end\n";

    fn settings() -> Vec<(&'static str, Setting)> {
        vec![
            ("command", Setting::Words(vec!["./a b".to_owned(), "say \"hi\"\n".to_owned()])),
            ("interval", Setting::Text("5s".to_owned())),
            ("tags", Setting::Pairs([("a b".to_owned(), "c".to_owned())].into())),
            ("enabled", Setting::Flag(false)),
        ]
    }

    const ADDED: &str = "[plugins.new]\ncommand = [\"./a b\", \"\"\"\nsay \"hi\"\n\"\"\"]\ninterval = \"5s\"\n\
        tags = { \"a b\" = \"c\" }\nenabled = false\n";

    #[test]
    fn a_plugin_is_added_at_the_end() {
        assert_eq!(add(TEXT, "new", &settings()).unwrap(), format!("{TEXT}\n{ADDED}"));
        assert_eq!(add("", "new", &settings()).unwrap(), ADDED);
        assert_eq!(add("a = 1", "new", &settings()).unwrap(), format!("a = 1\n\n{ADDED}"));
        let own = [("command", Setting::Words(vec!["x".to_owned()]))];
        assert_eq!(
            add("plugins = { a = { command = [\"a\"] } } # all\n", "b", &own).unwrap(),
            "plugins = { a = { command = [\"a\"] }, b = { command = [\"x\"] } } # all\n"
        );
        let dotted = add("plugins.a.command = ['a']\n[hub]\n", "b", &own).unwrap();
        assert_eq!(dotted, "plugins.a.command = ['a']\nplugins.b = { command = [\"x\"] }\n[hub]\n");
        assert_eq!(add("plugins = 1", "b", &own), Err(EditError::NoTable("plugins".to_owned())));
        assert!(matches!(add("[", "b", &own), Err(EditError::Syntax(_))));
    }

    #[test]
    fn a_plugin_is_switched_and_nothing_else_changes() {
        let off = set_enabled(TEXT, &["plugins", "disk"], false).unwrap();
        assert_eq!(off, TEXT.replace("\"-a\"]\n", "\"-a\"]\nenabled = false\n"));
        let on = set_enabled(&off, &["plugins", "disk"], true).unwrap();
        assert_eq!(on, off.replace("enabled = false", "enabled = true"));
        let text = "[plugins.a]\nenabled   =  true # why\ninterval = \"1s\"";
        let off = set_enabled(text, &["plugins", "a"], false).unwrap();
        assert_eq!(off, "[plugins.a]\nenabled   =  false # why\ninterval = \"1s\"\n");
        assert_eq!(
            set_enabled("[plugins]\na = { command = ['a'] } # x\n", &["plugins", "a"], false)
                .unwrap(),
            "[plugins]\na = { command = ['a'], enabled = false } # x\n"
        );
        assert_eq!(
            set_enabled("[plugins]\na.command = ['a'] # x\n\n[hub]\n", &["plugins", "a"], false)
                .unwrap(),
            "[plugins]\na.command = ['a'] # x\na.enabled = false\n\n[hub]\n"
        );
        // A sidecar, and a command of a package.
        assert_eq!(
            set_enabled("# own\ninterval = \"1s\"\n\n[metrics.a]\n", &[], false).unwrap(),
            "# own\ninterval = \"1s\"\nenabled = false\n\n[metrics.a]\n"
        );
        assert_eq!(
            set_enabled(
                "[packages.p]\nversion = \"1.0.0\"\n\n# more\n",
                &["packages", "p", "commands", "c"],
                false
            )
            .unwrap(),
            "[packages.p]\nversion = \"1.0.0\"\n\n[packages.p.commands.c]\nenabled = false\n\n# more\n"
        );
    }

    #[test]
    fn a_plugin_is_removed_with_what_belongs_to_it() {
        let gone = remove(TEXT, "disk").unwrap();
        assert_eq!(
            gone,
            "# The site's config.\ninclude = [\"a/*.toml\"]   # more\n\n# ---- disks ----\n\n\n\
             # Mail.\n[plugins.mail]\ncommand = [\n  \"./mail\",   # with a comment\n]\n\n# the end\n"
        );
        let gone = remove(&gone, "mail").unwrap();
        assert_eq!(
            gone,
            "# The site's config.\ninclude = [\"a/*.toml\"]   # more\n\n# ---- disks ----\n\n# the end\n"
        );
        assert_eq!(remove(&gone, "mail"), Err(EditError::Absent("plugins.mail".to_owned())));
        assert_eq!(
            remove("plugins = { a = { command = [] }, b = { command = [] } }\n", "a").unwrap(),
            "plugins = { b = { command = [] } }\n"
        );
    }

    #[test]
    fn what_is_removed_takes_its_own_comments_and_no_others() {
        for (text, left) in [
            // Keys with dots, and a value.
            (
                "# The site's.\n\n# -- disks --\n\n# Big.\nplugins.disk.command = ['a'] # x\n# Often.\n\
                 plugins.disk.interval = \"1s\"\n# Mail.\nplugins.mail.command = ['b']\n",
                "# The site's.\n\n# -- disks --\n\n# Mail.\nplugins.mail.command = ['b']\n",
            ),
            (
                "# The site's.\n\n[plugins] # all\n# -- disks --\n\n# Big.\ndisk = { command = ['a'] } # x\n\
                 mail = { command = [\n  'b',\n] }\n",
                "# The site's.\n\n[plugins] # all\n# -- disks --\n\nmail = { command = [\n  'b',\n] }\n",
            ),
            // Keys that stand apart.
            (
                "[plugins]\ndisk.command = ['a']\nmail.command = ['b']\n# Often.\ndisk.interval = '1s'\n",
                "[plugins]\nmail.command = ['b']\n",
            ),
            // A comment that begins the file.
            ("# Managed.\n[plugins.disk]\na = 1\n\n[hub]\n", "# Managed.\n\n[hub]\n"),
            ("# Managed.\n\n# Big.\n[plugins.disk]\na = 1\n", "# Managed.\n"),
            ("[plugins.disk]\na = 1\n\n\n[hub]\n", "[hub]\n"),
            // Comments below.
            (
                "[hub]\n\n[plugins.disk]\na = 1\n# b = 2\n# c = 3\n\n# Mail.\n[plugins.mail]\n",
                "[hub]\n\n# Mail.\n[plugins.mail]\n",
            ),
            ("[hub]\n\n[plugins.disk]\na = 1\n# b = 2\n", "[hub]\n"),
            ("[hub]\n\n[plugins.disk]\n# b = 2\n\n# The end.", "[hub]\n\n# The end."),
            (
                "[hub]\n\n[plugins.disk]\na = 1\n# Mail.\n[plugins.mail]\n",
                "[hub]\n\n# Mail.\n[plugins.mail]\n",
            ),
            // Tables that stand apart, and several of one name.
            (
                "[plugins.disk.metrics.a]\nb.c = 1\n[hub]\n# Two.\n[[plugins.disk.x]]\na = \"\"\"\n[hub]\n\
                 # no\n\n\"\"\"\n\n# -- more --\n\n[[plugins.disk.x]] # y\n\n[agent]\r\n",
                "[hub]\n\n[agent]\r\n",
            ),
        ] {
            assert_eq!(remove(text, "disk").unwrap(), left, "{text}");
            let (text, left) = (text.replace('\n', "\r\n"), left.replace('\n', "\r\n"));
            let (text, left) = (text.replace("\r\r", "\r"), left.replace("\r\r", "\r"));
            assert_eq!(
                remove(&format!("\u{feff}{text}"), "disk").unwrap(),
                format!("\u{feff}{left}")
            );
        }
    }

    #[test]
    fn each_line_keeps_its_end() {
        let text = "a = 1\r\n\n[plugins.disk]\nb = 1\n\n[hub]\r\n";
        let off = set_enabled(text, &["plugins", "disk"], false).unwrap();
        assert_eq!(off, text.replace("b = 1\n", "b = 1\nenabled = false\n"));
        let added = add(text, "new", &settings()[1..2]).unwrap();
        assert_eq!(added, format!("{text}\n[plugins.new]\ninterval = \"5s\"\n"));
        let text = text.replace("1\n", "1\r\n").replace("]\n", "]\r\n");
        let off = set_enabled(&text, &["plugins", "disk"], false).unwrap();
        assert_eq!(off, text.replace("b = 1\r\n", "b = 1\r\nenabled = false\r\n"));
        let one = "plugins = { disk = {}, mail = {} }\r\n# x\n# y\n";
        assert_eq!(remove(one, "disk").unwrap(), "plugins = { mail = {} }\n# x\n# y\n");
    }

    #[test]
    fn line_ends_and_the_mark_of_an_encoding_stay() {
        let text = format!("\u{feff}{}", TEXT.replace('\n', "\r\n"));
        let off = set_enabled(&text, &["plugins", "mail"], false).unwrap();
        let added = add(&off, "new", &settings()[1..2]).unwrap();
        assert_eq!(added.matches('\n').count(), added.matches("\r\n").count());
        assert_eq!(added.matches('\u{feff}').count(), 1);
        assert!(added.ends_with("\r\n\r\n[plugins.new]\r\ninterval = \"5s\"\r\n"), "{added:?}");
    }
}
