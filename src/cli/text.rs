//! Text in the columns of a terminal: how wide it is, and how it is cut, filled and folded to fit.

use std::fmt;

use anstyle::Style;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// `text` in `style`; the colours are dropped where the stream is no terminal.
pub(crate) fn paint(style: Style, text: impl fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

/// The columns that a text takes.
pub(crate) fn width(text: &str) -> usize {
    text.width()
}

/// At most so many columns; what is cut ends in `…`.
pub(crate) fn cut(text: &str, most: usize) -> String {
    if width(text) <= most {
        return text.to_owned();
    }
    let mut taken = 0;
    let fits = |c: &char| {
        taken += c.width().unwrap_or(0);
        taken < most
    };
    let mut short: String = text.chars().take_while(fits).collect();
    if most > 0 {
        short.push('…');
    }
    short
}

/// Exactly so many columns.
pub(crate) fn pad(text: &str, columns: usize) -> String {
    let text = cut(text, columns);
    let missing = columns - width(&text);
    text + &" ".repeat(missing)
}

/// Lines of at most `most` columns, all of them indented, broken between words; a word that is longer
/// than a line is broken where it has to be.
pub(crate) fn wrap(text: &str, most: usize, indent: usize) -> impl Iterator<Item = String> + use<> {
    let room = most.saturating_sub(indent).max(1);
    let mut lines = vec![String::new()];
    for word in text.split_whitespace().flat_map(|word| pieces(word, room)) {
        let last = lines
            .last_mut()
            .filter(|last| last.is_empty() || width(last) + 1 + width(word) <= room);
        match last {
            Some(last) if last.is_empty() => last.push_str(word),
            Some(last) => last.extend([" ", word]),
            None => lines.push(word.to_owned()),
        }
    }
    let margin = " ".repeat(most.saturating_sub(room).min(indent));
    lines.into_iter().map(move |line| format!("{margin}{line}"))
}

/// A word in pieces of at most so many columns.
fn pieces(word: &str, most: usize) -> impl Iterator<Item = &str> {
    let mut rest = word;
    std::iter::from_fn(move || {
        let mut taken = 0;
        let end = rest.char_indices().find(|(at, c)| {
            taken += c.width().unwrap_or(0);
            taken > most && *at > 0
        });
        let (piece, others) = rest.split_at(end.map_or(rest.len(), |(at, _)| at));
        rest = others;
        (!piece.is_empty()).then_some(piece)
    })
}

/// A line in the making, of parts that look different.
#[derive(Debug, Default)]
pub(crate) struct Line(Vec<(Style, String)>);

impl Line {
    pub(crate) fn add(&mut self, style: Style, text: impl Into<String>) {
        self.0.push((style, text.into()));
    }

    /// Adds another to it.
    pub(crate) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// The columns that it takes.
    pub(crate) fn columns(&self) -> usize {
        self.0.iter().map(|(_, text)| width(text)).sum()
    }

    /// The line as it is, spaces at its end included.
    pub(crate) fn whole(self) -> String {
        self.0.into_iter().map(|(style, text)| paint(style, text)).collect()
    }

    /// The line, cut to so many columns and without spaces at its end.
    pub(crate) fn fit(mut self, most: usize) -> String {
        if self.columns() > most {
            // One column is kept for the sign that it is cut.
            let mut left = most;
            self.0.retain_mut(|(_, text)| {
                if left == 0 {
                    return false;
                }
                let wide = width(text);
                // A part that fills the line to its end is cut as well: more comes after it.
                if wide >= left {
                    *text =
                        if wide == left { cut(&format!("{text} "), left) } else { cut(text, left) };
                    left = 0;
                } else {
                    left -= wide;
                }
                true
            });
        }
        while let Some((style, text)) = self.0.last_mut() {
            text.truncate(text.trim_end().len());
            if !text.is_empty() || *style != Style::new() {
                break;
            }
            self.0.pop();
        }
        self.whole()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_where_it_ends_in_columns_not_in_bytes() {
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdefg", 6), "abcde…");
        assert_eq!(cut("日本語", 4), "日…");
        assert_eq!(cut("abc", 0), "");
        assert_eq!(pad("é", 3), "é  ");
        assert_eq!(pad("日本語", 4), "日… ");
    }

    #[test]
    fn words_are_kept_whole_where_they_fit() {
        let lines: Vec<String> = wrap("one two three", 10, 2).collect();
        assert_eq!(lines, ["  one two", "  three"]);
        assert_eq!(wrap("", 10, 2).collect::<Vec<_>>(), ["  "]);
        let lines: Vec<String> = wrap("an understanding", 7, 2).collect();
        assert_eq!(lines, ["  an", "  under", "  stand", "  ing"]);
    }

    #[test]
    fn a_line_that_does_not_fit_says_so_at_its_end() {
        let line = |parts: &[&str]| {
            let mut line = Line::default();
            for part in parts {
                line.add(Style::new(), *part);
            }
            line
        };
        assert_eq!(line(&["abc", "def"]).fit(6), "abcdef");
        assert_eq!(line(&["abc", "def", "g"]).fit(6), "abcde…");
        assert_eq!(line(&["abc", "def"]).fit(3), "ab…");
        assert_eq!(line(&["abc", "  "]).fit(9), "abc");
    }
}
