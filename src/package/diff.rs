//! What changed from one version to the next.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use similar::TextDiff;

use super::contents::{Contents, PackageFile, SUMS};

/// Longest text of one file's differences, and of all together, in bytes.
const LONGEST: usize = 256 << 10;
const ALL: usize = 4 << 20;
/// Largest file that is compared line by line: each of its lines takes memory.
const LARGEST: usize = 1 << 20;
/// How long all of it may take; what is not found by then is shown as larger changes than there are,
/// and files that were not come to are left out.
const PATIENCE: Duration = Duration::from_secs(5);

/// How much a comparison may still take.
struct Left {
    until: Instant,
    /// Of all texts.
    bytes: usize,
    /// Of the text of one file, and of the file itself.
    longest: usize,
    largest: usize,
}

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
    /// The lines, as `diff -u` shows them, or a line that says why they are left out; nothing for what
    /// is not text.
    pub text: Option<String>,
}

/// The differences from `old` to `new`, by path. Against nothing all of `new` is added. What is long
/// is cut, and says so.
pub fn diff(old: Option<&Contents>, new: &Contents) -> Vec<FileDiff> {
    let until = Instant::now() + PATIENCE;
    compare(old, new, Left { until, bytes: ALL, longest: LONGEST, largest: LARGEST })
}

/// The same whole, for whoever has the time.
pub fn diff_whole(old: Option<&Contents>, new: &Contents) -> Vec<FileDiff> {
    let until = Instant::now() + Duration::from_mins(2);
    let most = usize::MAX;
    compare(old, new, Left { until, bytes: most, longest: most, largest: most })
}

fn compare(old: Option<&Contents>, new: &Contents, mut left: Left) -> Vec<FileDiff> {
    let empty = Contents::default();
    let old = old.unwrap_or(&empty);
    let paths: std::collections::BTreeSet<&str> =
        old.files().iter().chain(new.files()).map(|file| file.path.as_str()).collect();
    paths
        .into_iter()
        .filter(|path| *path != SUMS)
        .filter_map(|path| file_diff(path, old.get(path), new.get(path), &mut left))
        .collect()
}

fn file_diff(
    path: &str,
    old: Option<&PackageFile>,
    new: Option<&PackageFile>,
    left: &mut Left,
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
    let text = text_of(old).zip(text_of(new)).map(|(old, new)| lines(old, new, left));
    Some(FileDiff { path: path.to_owned(), change, executable, text })
}

/// The text of a file, where it is one; where there is no file, nothing is in it.
fn text_of(file: Option<&PackageFile>) -> Option<&str> {
    let Some(file) = file else { return Some("") };
    std::str::from_utf8(&file.bytes).ok().filter(|text| !text.contains('\0'))
}

/// The differences of two texts, as far as there is room and time for them.
fn lines(old: &str, new: &str, left: &mut Left) -> String {
    let larger = old.len().max(new.len());
    if larger > left.largest {
        return format!("… left out: with {} KiB it is too large to compare\n", larger >> 10);
    }
    if left.bytes == 0 || Instant::now() >= left.until {
        return "… left out: there are too many differences before it; read the file\n".to_owned();
    }
    let diff = TextDiff::configure().deadline(left.until).diff_lines(old, new);
    let mut text = diff.unified_diff().context_radius(3).to_string();
    let most = left.longest.min(left.bytes);
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most));
        text.push_str("\n… and more\n");
    }
    left.bytes = left.bytes.saturating_sub(text.len());
    text
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

    #[test]
    fn what_there_is_no_room_for_is_said() {
        let file =
            |path: String, bytes: Vec<u8>| PackageFile { path, mode: FileMode::Plain, bytes };
        let mut files = vec![file("0-large".to_owned(), vec![b'a'; LARGEST + 1])];
        files.extend((10..60).map(|n| file(n.to_string(), b"one line\n".repeat(20_000))));
        let found = diff(None, &Contents::new(files).unwrap());
        let texts: Vec<&str> = found.iter().map(|file| file.text.as_deref().unwrap()).collect();
        assert!(texts[0].contains("too large to compare"), "{}", texts[0]);
        assert!(texts[1].starts_with("@@") && texts[1].len() > 200_000, "{}", texts[1].len());
        assert!(texts[50].contains("too many differences"), "{}", texts[50].len());
        let all: usize = texts.iter().map(|text| text.len()).sum();
        assert!(all < ALL + (16 << 10), "{all}");
    }
}
