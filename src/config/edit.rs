//! Edits of a config file in TOML, as text: from the file as it is to the file as it is to become.
//!
//! Pure: it reads and writes nothing, and does not know what the keys mean. What an edit is not about
//! stays as it was: comments, order, blank lines and line ends.

use std::collections::BTreeMap;

use toml_edit::{Array, DocumentMut, InlineTable, Item, Key, Table, TableLike, Value};

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

/// Takes the table `[plugins.NAME]` out, with all below it and the comment right above it.
pub fn remove(text: &str, name: &str) -> Result<String, EditError> {
    edit(text, |document| {
        let absent = || EditError::Absent(format!("plugins.{name}"));
        let plugins = document.get_mut("plugins").ok_or_else(absent)?;
        let plugins =
            plugins.as_table_like_mut().ok_or_else(|| EditError::NoTable("plugins".to_owned()))?;
        let mut removed = plugins.remove(name).ok_or_else(absent)?;
        // What stands above its heads, apart from them, is about more than it.
        let mut left = Vec::new();
        heads(&mut removed, &mut |table, position| {
            let above = prefix(table).to_owned();
            let end = above.rfind("\n\n").filter(|end| !above[..*end].trim().is_empty());
            left.push((position, end.map_or("", |end| &above[..=end]).to_owned()));
        });
        // Between its heads there is nothing but what is its own.
        let own: Vec<isize> = left.iter().map(|(position, _)| *position).collect();
        left.retain(|(position, above)| !above.is_empty() && !own.contains(&(position - 1)));
        left.sort();
        for (position, above) in left.into_iter().rev() {
            let mut next = None;
            heads(document.as_item_mut(), &mut |_, other| {
                if other > position && next.is_none_or(|next| other < next) {
                    next = Some(other);
                }
            });
            let Some(next) = next else {
                let trailing = document.trailing().as_str().unwrap_or_default().to_owned();
                document.set_trailing(joined(&above, &trailing));
                continue;
            };
            heads(document.as_item_mut(), &mut |table, other| {
                if other == next {
                    let own = joined(&above, prefix(table));
                    table.decor_mut().set_prefix(own);
                }
            });
        }
        Ok(None)
    })
}

/// One comment and the next, with a blank line between.
fn joined(above: &str, own: &str) -> String {
    format!("{above}{}{own}", if own.starts_with('\n') || own.is_empty() { "" } else { "\n" })
}

fn prefix(table: &Table) -> &str {
    table.decor().prefix().and_then(|prefix| prefix.as_str()).unwrap_or_default()
}

/// Visits each table with a head of its own, with its place in the order of the file.
fn heads(item: &mut Item, visit: &mut impl FnMut(&mut Table, isize)) {
    match item {
        Item::Table(table) => {
            if let Some(position) = table.position().filter(|_| !table.is_implicit()) {
                visit(table, position);
            }
            for (_, item) in table.iter_mut() {
                heads(item, visit);
            }
        }
        Item::ArrayOfTables(tables) => {
            for table in tables.iter_mut() {
                let mut item = Item::Table(std::mem::take(table));
                heads(&mut item, visit);
                if let Item::Table(changed) = item {
                    *table = changed;
                }
            }
        }
        Item::None | Item::Value(_) => {}
    }
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
    let (mark, body) = match text.strip_prefix('\u{feff}') {
        Some(body) => ("\u{feff}", body),
        None => ("", text),
    };
    let crlf = body.contains("\r\n");
    let plain = body.replace("\r\n", "\n");
    let mut document: DocumentMut = plain
        .parse()
        .map_err(|e: toml_edit::TomlError| EditError::Syntax(e.message().to_owned()))?;
    let edited = match change(&mut document)? {
        Some(text) => text,
        None => document.to_string(),
    };
    let edited = if crlf { edited.replace('\n', "\r\n") } else { edited };
    Ok(format!("{mark}{edited}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# The site's config.\ninclude = [\"a/*.toml\"]   # more\n\n\
        # ---- disks ----\n\n# The big one.\n[plugins.disk]   # first\ncommand = ['./disk.sh', \"-a\"]\n\
        #interval = \"5s\"\n\n[plugins.disk.metrics.used]\ntype = \"percent\"\n\n\n\
        # Mail.\n[plugins.mail]\ncommand = [\n  \"./mail\",   # with a comment\n]\n# the end\n";

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
             # Mail.\n[plugins.mail]\ncommand = [\n  \"./mail\",   # with a comment\n]\n# the end\n"
        );
        let gone = remove(&gone, "mail").unwrap();
        assert_eq!(
            gone,
            "# The site's config.\ninclude = [\"a/*.toml\"]   # more\n\n# ---- disks ----\n\n\n# the end\n"
        );
        assert_eq!(remove(&gone, "mail"), Err(EditError::Absent("plugins.mail".to_owned())));
        assert_eq!(
            remove("plugins = { a = { command = [] }, b = { command = [] } }\n", "a").unwrap(),
            "plugins = { b = { command = [] } }\n"
        );
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
