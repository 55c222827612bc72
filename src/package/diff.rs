//! What changed from one version to the next.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use similar::TextDiff;

use super::contents::{Contents, PackageFile, SUMS};

/// Longest text of one file's differences, in bytes.
const LONGEST: usize = 256 << 10;
/// How long all of it may take; what is not found by then is shown as larger changes than there are.
const PATIENCE: Duration = Duration::from_secs(2);

/// What happened to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// What is in it, or whether it may be executed.
    Changed,
}

/// The differences of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileDiff {
    /// Its path.
    pub path: String,
    /// What happened to it.
    pub change: Change,
    /// Whether it may be executed: before and now, where that changed.
    pub executable: Option<(bool, bool)>,
    /// The lines, as `diff -u` shows them; nothing for what is not text.
    pub text: Option<String>,
}

/// The differences from `old` to `new`, by path. Against nothing all of `new` is added.
/// Long ones are cut.
pub fn diff(old: Option<&Contents>, new: &Contents) -> Vec<FileDiff> {
    compare(old, new, LONGEST, PATIENCE)
}

/// The same, nothing cut: for whoever has the time.
pub fn diff_whole(old: Option<&Contents>, new: &Contents) -> Vec<FileDiff> {
    compare(old, new, usize::MAX, Duration::from_mins(1))
}

fn compare(
    old: Option<&Contents>,
    new: &Contents,
    longest: usize,
    patience: Duration,
) -> Vec<FileDiff> {
    let empty = Contents::default();
    let old = old.unwrap_or(&empty);
    let paths: std::collections::BTreeSet<&str> =
        old.files().iter().chain(new.files()).map(|file| file.path.as_str()).collect();
    let until = Instant::now() + patience;
    paths
        .into_iter()
        .filter(|path| *path != SUMS)
        .filter_map(|path| file_diff(path, (old.get(path), new.get(path)), longest, until))
        .collect()
}

fn file_diff(
    path: &str,
    (old, new): (Option<&PackageFile>, Option<&PackageFile>),
    longest: usize,
    until: Instant,
) -> Option<FileDiff> {
    if old == new {
        return None;
    }
    let change = match (old, new) {
        (None, _) => Change::Added,
        (_, None) => Change::Removed,
        _ => Change::Changed,
    };
    let may = |file: &PackageFile| file.mode == super::template::FileMode::Executable;
    let executable = match (old.map(may), new.map(may)) {
        (Some(before), Some(now)) if before != now => Some((before, now)),
        _ => None,
    };
    let text = |file: Option<&PackageFile>| match file {
        None => Some(String::new()),
        Some(file) => {
            String::from_utf8(file.bytes.clone()).ok().filter(|text| !text.contains('\0'))
        }
    };
    let text = text(old).zip(text(new)).map(|(old, new)| {
        let diff = TextDiff::configure().deadline(until).diff_lines(old.as_str(), new.as_str());
        let mut text = diff.unified_diff().context_radius(3).to_string();
        if text.len() > longest {
            text.truncate(text.floor_char_boundary(longest));
            text.push_str("\n… and more\n");
        }
        text
    });
    Some(FileDiff { path: path.to_owned(), change, executable, text })
}

#[cfg(test)]
mod tests {
    use super::super::template::FileMode;
    use super::*;

    #[test]
    fn each_file_says_what_became_of_it() {
        let file = |path: &str, mode, bytes: &[u8]| PackageFile {
            path: path.to_owned(),
            mode,
            bytes: bytes.to_vec(),
        };
        let old = Contents::new(vec![
            file("a", FileMode::Plain, b"one\ntwo\n"),
            file("b", FileMode::Plain, b"same"),
            file("c", FileMode::Plain, b"gone\n"),
            file("d", FileMode::Plain, b"\x00\x01"),
        ]);
        let new = Contents::new(vec![
            file("a", FileMode::Executable, b"one\n2\n"),
            file("b", FileMode::Plain, b"same"),
            file("d", FileMode::Plain, b"\x00\x02"),
            file("e", FileMode::Plain, b"new\n"),
        ]);
        let found = diff(Some(&old.unwrap()), &new.unwrap());
        let kinds: Vec<_> = found.iter().map(|f| (f.path.as_str(), f.change)).collect();
        assert_eq!(
            kinds,
            [
                ("a", Change::Changed),
                ("c", Change::Removed),
                ("d", Change::Changed),
                ("e", Change::Added)
            ]
        );
        assert_eq!(found[0].executable, Some((false, true)));
        assert!(found[0].text.as_ref().unwrap().contains("-two\n+2\n"));
        assert_eq!(found[2].text, None);
        assert!(found[3].text.as_ref().unwrap().contains("+new"));
    }
}
