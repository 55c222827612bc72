//! Words and how they weigh: finding the one that was meant, and the worst of several.

use crate::model::Status;

/// The candidate closest to `word`, if one is close enough to be what was meant.
pub(super) fn nearest<'c>(
    word: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<&'c str> {
    // A long word from outside must not cost a long time.
    if word.len() > 64 {
        return None;
    }
    let lower = word.to_ascii_lowercase();
    candidates
        .into_iter()
        .map(|c| (distance(&lower, &c.to_ascii_lowercase()), c))
        .filter(|&(d, c)| d <= 2 && d * 3 <= c.len().max(3))
        .min_by_key(|&(d, _)| d)
        .map(|(_, c)| c)
}

/// How many bytes must be inserted, deleted or replaced (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b = b.as_bytes();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, &x) in a.as_bytes().iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// How bad a status is. A plugin that could not tell is less sure to be in trouble than one that
/// says it is.
pub(super) fn badness(status: Option<Status>) -> u8 {
    match status {
        None | Some(Status::Ok) => 0,
        Some(Status::Unknown) => 1,
        Some(Status::Warning) => 2,
        Some(Status::Critical) => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_slip_finds_its_word_and_another_word_does_not() {
        let words = ["unit", "label", "value"];
        assert_eq!(nearest("units", words), Some("unit"));
        assert_eq!(nearest("Value", words), Some("value"));
        assert_eq!(nearest("host", words), None);
        assert_eq!(nearest("", words), None);
    }
}
