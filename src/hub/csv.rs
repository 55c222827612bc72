//! Texts as cells of comma-separated values (RFC 4180).

/// How texts are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Texts {
    /// As they are, so that they read back.
    #[default]
    Exact,
    /// So that no spreadsheet takes one for a formula: one that begins as those do has an apostrophe
    /// before it.
    Safe,
}

/// A text, in quotes where it would read as something else without.
pub(crate) fn cell(text: &str, texts: Texts) -> String {
    if texts == Texts::Safe && text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        return cell(&format!("'{text}"), Texts::Exact);
    }
    let plain = !text.is_empty()
        && text.trim().len() == text.len()
        && !text.contains([',', '"', '\n', '\r']);
    if plain { text.to_owned() } else { quoted(text) }
}

/// A text in quotes.
pub(crate) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spreadsheet_finds_no_formula_in_what_is_safe() {
        for (text, exact, safe) in [
            ("up", "up", "up"),
            ("", "\"\"", "\"\""),
            (" a", "\" a\"", "\" a\""),
            ("=1+2", "=1+2", "'=1+2"),
            ("-", "-", "'-"),
            ("@a,b", "\"@a,b\"", "\"'@a,b\""),
            ("\tx", "\"\tx\"", "'\tx"),
            ("\r=x", "\"\r=x\"", "\"'\r=x\""),
            ("+\"a\"", "\"+\"\"a\"\"\"", "\"'+\"\"a\"\"\""),
        ] {
            assert_eq!(
                (cell(text, Texts::Exact), cell(text, Texts::Safe)),
                (exact.to_owned(), safe.to_owned())
            );
        }
    }
}
