//! The parameters of a request: those of the query and those of the body, as one form.
//!
//! Some clients send everything in the query of a POST with an empty body, so both are read. Only
//! `&` separates: a `;` is part of a value, as the old service had it.

use std::borrow::Cow;

/// Most parameters of one request. No action has more than a dozen.
const MOST: usize = 100;

/// Parameters, decoded once.
#[derive(Debug)]
pub(super) struct Form(Vec<(String, String)>);

/// Why it cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum FormError {
    #[error("more than {MOST} parameters; send fewer")]
    TooMany,
    #[error("a parameter is not UTF-8; send UTF-8, percent-encoded")]
    Encoding,
    #[error("parameter {0} came twice with different values; send it once")]
    Twice(String),
}

impl Form {
    /// Reads the query and the body. A pair that is in both counts once.
    pub(super) fn read(query: &str, body: &str) -> Result<Self, FormError> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for pair in query.split('&').chain(body.trim_end().split('&')) {
            if pair.is_empty() {
                continue;
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode(name, Plus::Space).ok_or(FormError::Encoding)?;
            let value = decode(value, Plus::Space).ok_or(FormError::Encoding)?;
            match pairs.iter().find(|(known, _)| *known == *name) {
                Some((_, known)) if *known == *value => continue,
                Some(_) => return Err(FormError::Twice(name.chars().take(40).collect())),
                None => {}
            }
            if pairs.len() == MOST {
                return Err(FormError::TooMany);
            }
            pairs.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self(pairs))
    }

    /// A parameter that is there and not empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// Whether a parameter is there, be it empty.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }

    /// All of them, as they came.
    pub(super) fn pairs(&self) -> &[(String, String)] {
        &self.0
    }
}

/// What a `+` stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plus {
    /// A space, as in forms.
    Space,
    /// Itself.
    Itself,
}

/// Takes one layer of percent-encoding off. A `%` that begins no escape stands for itself. `None`
/// where what comes out is not UTF-8.
pub(super) fn decode(text: &str, plus: Plus) -> Option<Cow<'_, str>> {
    let special = |b: u8| b == b'%' || (b == b'+' && plus == Plus::Space);
    if !text.bytes().any(special) {
        return Some(Cow::Borrowed(text));
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let escaped = || {
            let digits = bytes.get(at + 1..at + 3)?;
            let high = char::from(*digits.first()?).to_digit(16)?;
            let low = char::from(*digits.get(1)?).to_digit(16)?;
            Some((high * 16 + low) as u8)
        };
        match byte {
            b'%' => match escaped() {
                Some(decoded) => {
                    out.push(decoded);
                    at += 2;
                }
                None => out.push(byte),
            },
            b'+' if plus == Plus::Space => out.push(b' '),
            other => out.push(other),
        }
        at += 1;
    }
    String::from_utf8(out).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_and_body_are_one_form() {
        let form = Form::read("action=addResult&a=1", "b=2&a=1\r\n").unwrap();
        assert_eq!(form.get("action"), Some("addResult"));
        assert_eq!(form.get("a"), Some("1"));
        assert_eq!(form.get("b"), Some("2"));
        assert_eq!(form.pairs().len(), 3, "the same pair counts once");
        assert_eq!(form.get("c"), None);
        assert!(form.has("b") && !form.has("c"));
    }

    #[test]
    fn a_semicolon_separates_nothing() {
        let form = Form::read("", "resultParams=status:status::3;test:test::2&tag=x").unwrap();
        assert_eq!(form.get("resultParams"), Some("status:status::3;test:test::2"));
        assert_eq!(form.get("tag"), Some("x"));
    }

    #[test]
    fn one_layer_is_taken_off_and_no_more() {
        let form = Form::read("r=a%253A1+b&n=100%&u=%C3%A4&e=&=x", "").unwrap();
        assert_eq!(form.get("r"), Some("a%3A1 b"));
        assert_eq!(form.get("n"), Some("100%"));
        assert_eq!(form.get("u"), Some("ä"));
        assert_eq!(form.get("e"), None, "an empty one is as good as none");
        assert!(form.has("e"));
        assert_eq!(decode("%zz%4", Plus::Itself).as_deref(), Some("%zz%4"));
        assert_eq!(decode("a+b", Plus::Itself).as_deref(), Some("a+b"));
    }

    #[test]
    fn what_could_mean_two_things_is_refused() {
        let twice = Form::read("action=a", "action=b").unwrap_err();
        assert_eq!(twice, FormError::Twice("action".to_owned()));
        assert_eq!(Form::read("a=%ff", "").unwrap_err(), FormError::Encoding);
        let many: Vec<String> = (0..=MOST).map(|n| format!("p{n}=1")).collect();
        assert_eq!(Form::read(&many.join("&"), "").unwrap_err(), FormError::TooMany);
    }
}
