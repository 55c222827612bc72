//! Patterns with `*` and `?`, for files and host names.

use std::io;
use std::path::{Component, Path, PathBuf};

/// Whether `text` fits `pattern`, in which `*` stands for any characters and `?` for one. Takes
/// time at most proportional to the product of the lengths.
pub(super) fn fits(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p + 1, t));
                p += 1;
            }
            Some(c) if *c == '?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            // Let the last star take one character more.
            _ => match star {
                Some((after, from)) => {
                    star = Some((after, from + 1));
                    p = after;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// Whether `text` is a pattern at all.
pub(super) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?'])
}

/// The files that fit `pattern`, sorted. Hidden entries only fit a pattern that begins with a dot,
/// and a folder that does not exist has no entries.
pub(super) fn expand(pattern: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = vec![PathBuf::new()];
    for component in pattern.components() {
        let name = match component {
            Component::Normal(name) => name.to_str().unwrap_or_default(),
            _ => "",
        };
        if !is_pattern(name) {
            for path in &mut paths {
                path.push(component);
            }
            continue;
        }
        let mut next = Vec::new();
        for folder in &paths {
            let entries = match std::fs::read_dir(folder) {
                Err(e)
                    if matches!(
                        e.kind(),
                        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                    ) =>
                {
                    continue;
                }
                entries => entries?,
            };
            for entry in entries {
                let entry = entry?.file_name();
                let Some(entry) = entry.to_str() else { continue };
                if fits(name, entry) && (name.starts_with('.') || !entry.starts_with('.')) {
                    next.push(folder.join(entry));
                }
            }
        }
        next.sort();
        paths = next;
    }
    paths.retain(|path| path.is_file());
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks() {
        for (pattern, text) in
            [("*", ""), ("web-*", "web-1"), ("w?b", "wéb"), ("*a*b", "xaybzb"), ("", "")]
        {
            assert!(fits(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("web-*", "db-1"), ("?", ""), ("a", "ab"), ("*a", "ab")] {
            assert!(!fits(pattern, text), "{pattern} {text}");
        }
        // Not exponential.
        assert!(!fits(&"a*".repeat(50), &"a".repeat(49)));
    }

    #[test]
    fn files_come_sorted_and_hidden_ones_do_not() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b.toml", "a.toml", ".c.toml", "d.txt"] {
            std::fs::File::create(dir.path().join(name)).unwrap();
        }
        std::fs::create_dir(dir.path().join("e.toml")).unwrap();
        let found = expand(&dir.path().join("*.toml")).unwrap();
        assert_eq!(found, [dir.path().join("a.toml"), dir.path().join("b.toml")]);
        assert!(expand(&dir.path().join("none/*.toml")).unwrap().is_empty());
    }
}
