//! A reader of JSON that builds nothing: the caller says what it expects next and is given it,
//! borrowed from the text wherever it has no escapes.
//!
//! It is as strict as RFC 8259 and bounds the depth. serde would do, but takes more than our
//! schemas allow (arrays for objects, null for what is missing) and costs an upload twice the time.

use std::borrow::Cow;

use crate::model::{JsonKind, limits};

/// What is wrong, and where in the text. Boxed, so that what is right stays small.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wrong(pub(crate) Box<Detail>);

/// See [`Wrong`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Detail {
    /// In bytes from the start.
    pub(crate) at: usize,
    pub(crate) sort: Sort,
    /// One sentence.
    pub(crate) message: Cow<'static, str>,
}

/// What sort of thing is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sort {
    /// It is not JSON.
    Syntax,
    /// It is JSON, but not what it should be.
    Shape,
    /// There is more of it than may be.
    TooMany,
}

pub(crate) type Read<T> = Result<T, Wrong>;

/// A number as it was written: whole, or not.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Number {
    Signed(i64),
    /// Above 2^63−1, and only then.
    Unsigned(u64),
    /// With a fraction or an exponent, or beyond 64 bits. Always finite.
    Float(f64),
}

impl Number {
    pub(crate) fn as_f64(self) -> f64 {
        match self {
            Self::Signed(n) => n as f64,
            Self::Unsigned(n) => n as f64,
            Self::Float(x) => x,
        }
    }
}

/// An object or array that is being read.
#[derive(Debug)]
pub(crate) struct Open {
    /// Where it starts.
    pub(crate) start: usize,
    first: bool,
    /// A bit for each name that came.
    seen: u32,
    /// The name that is likely next.
    next: usize,
}

pub(crate) struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self::from(text, 0, 0)
    }

    /// Goes on at `at`, inside of `depth` objects and arrays.
    pub(crate) fn from(text: &'a str, at: usize, depth: usize) -> Self {
        Self { text, at, depth }
    }

    /// Where the next token starts.
    pub(crate) fn here(&mut self) -> usize {
        self.peek();
        self.at
    }

    #[inline]
    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// The first byte of the next token.
    #[inline]
    fn peek(&mut self) -> Option<u8> {
        loop {
            match self.byte() {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                other => return other,
            }
        }
    }

    /// What the next value is.
    #[inline]
    pub(crate) fn kind(&mut self) -> Read<JsonKind> {
        Ok(match self.peek() {
            Some(b'"') => JsonKind::String,
            Some(b'{') => JsonKind::Object,
            Some(b'[') => JsonKind::Array,
            Some(b'-' | b'0'..=b'9') => JsonKind::Number,
            Some(b't' | b'f') => JsonKind::Boolean,
            Some(b'n') => JsonKind::Null,
            Some(_) => return Err(self.syntax("expected a value")),
            None => return Err(self.syntax("the text ends where a value should be")),
        })
    }

    fn syntax(&self, message: &'static str) -> Wrong {
        Wrong(Box::new(Detail { at: self.at, sort: Sort::Syntax, message: message.into() }))
    }

    /// The next value is not `what`.
    pub(crate) fn expected(&mut self, what: &str) -> Wrong {
        match self.kind() {
            Ok(kind) => wrong(self.at, format!("expected {what}, got {kind}")),
            Err(syntax) => syntax,
        }
    }

    /// Nothing but white space is left.
    pub(crate) fn end(&mut self) -> Read<()> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.syntax("expected the end of the text")),
        }
    }

    fn open(&mut self, mark: u8, what: &str) -> Read<Open> {
        if self.peek() != Some(mark) {
            return Err(self.expected(what));
        }
        if self.depth == limits::DEPTH {
            return Err(wrong(self.at, "JSON nested too deep"));
        }
        let start = self.at;
        self.at += 1;
        self.depth += 1;
        Ok(Open { start, first: true, seen: 0, next: 0 })
    }

    /// Whether there is more before `close`.
    #[inline]
    fn more(&mut self, open: &mut Open, close: u8) -> Read<bool> {
        let next = self.peek();
        if next == Some(close) {
            self.at += 1;
            self.depth -= 1;
            return Ok(false);
        }
        if open.first {
            open.first = false;
            return Ok(true);
        }
        if next != Some(b',') {
            return Err(match next {
                None => self.syntax("the text ends inside of an object or array"),
                Some(_) => self.syntax("expected `,` or the end of the object or array"),
            });
        }
        self.at += 1;
        if self.peek() == Some(close) {
            return Err(self.syntax("a comma with nothing after it"));
        }
        Ok(true)
    }

    /// Enters an array.
    pub(crate) fn array(&mut self, what: &str) -> Read<Open> {
        self.open(b'[', what)
    }

    /// Whether there is another element. After the last, the array is left.
    pub(crate) fn element(&mut self, open: &mut Open) -> Read<bool> {
        self.more(open, b']')
    }

    /// Enters an object.
    pub(crate) fn object(&mut self, what: &str) -> Read<Open> {
        self.open(b'{', what)
    }

    /// The name of the next member, of an object whose members may have any name. After the last,
    /// the object is left.
    pub(crate) fn key(&mut self, open: &mut Open) -> Read<Option<Cow<'a, str>>> {
        if !self.more(open, b'}')? {
            return Ok(None);
        }
        let key = self.name()?;
        Ok(Some(key))
    }

    fn name(&mut self) -> Read<Cow<'a, str>> {
        if self.byte() != Some(b'"') {
            return Err(self.syntax("expected a member's name in quotes"));
        }
        let key = self.string("a name")?;
        self.colon()?;
        Ok(key)
    }

    #[inline]
    fn colon(&mut self) -> Read<()> {
        if self.peek() != Some(b':') {
            return Err(self.syntax("expected `:`"));
        }
        self.at += 1;
        Ok(())
    }

    /// Which of `names` (at most 32) the next member has; an empty text for any other name. No name
    /// may come twice. After the last member the object is left, which must then have had the first
    /// `required` of the names.
    #[inline]
    pub(crate) fn member(
        &mut self,
        open: &mut Open,
        names: &'static [&'static str],
        required: usize,
    ) -> Read<Option<&'static str>> {
        if !self.more(open, b'}')? {
            let missing =
                names[..required].iter().enumerate().find(|(n, _)| open.seen >> n & 1 == 0);
            return match missing {
                None => Ok(None),
                Some((_, name)) => Err(wrong(open.start, format!("member `{name}` is missing"))),
            };
        }
        let at = self.at;
        let found = if let Some(found) = self.guessed(names, open.next) {
            self.colon()?;
            Some(found)
        } else {
            let key = self.name()?;
            names.iter().position(|name| *name == key)
        };
        let Some(found) = found else { return Ok(Some("")) };
        if open.seen >> found & 1 == 1 {
            return Err(wrong(at, format!("member `{}` comes twice", names[found])));
        }
        open.seen |= 1 << found;
        open.next = found + 1;
        Ok(Some(names[found]))
    }

    /// Members mostly come in the same order: whether one of the names from the `next`th on is
    /// written here, without escapes.
    #[inline]
    fn guessed(&mut self, names: &[&str], next: usize) -> Option<usize> {
        let rest = self.text.as_bytes().get(self.at..)?.strip_prefix(b"\"")?;
        for (nth, name) in names.iter().enumerate().skip(next) {
            let name = name.as_bytes();
            // Most of those that are left out differ at once.
            if rest.first() == name.first()
                && rest.starts_with(name)
                && rest.get(name.len()) == Some(&b'"')
            {
                self.at += name.len() + 2;
                return Some(nth);
            }
        }
        None
    }

    /// A text.
    #[inline]
    pub(crate) fn string(&mut self, what: &str) -> Read<Cow<'a, str>> {
        if self.peek() != Some(b'"') {
            return Err(self.expected(what));
        }
        let start = self.at + 1;
        self.at = self.plain(start);
        match self.byte() {
            Some(b'"') => {
                let text = &self.text[start..self.at];
                self.at += 1;
                Ok(Cow::Borrowed(text))
            }
            _ => self.escaped(start).map(Cow::Owned),
        }
    }

    /// The end of the bytes from `at` on that stand for themselves.
    #[inline]
    fn plain(&self, at: usize) -> usize {
        let bytes = &self.text.as_bytes()[at..];
        let (eights, rest) = bytes.as_chunks::<8>();
        for (nth, eight) in eights.iter().enumerate() {
            let found = special(u64::from_le_bytes(*eight));
            if found != 0 {
                return at + nth * 8 + found.trailing_zeros() as usize / 8;
            }
        }
        let length = rest.iter().position(|b| matches!(b, b'"' | b'\\' | 0..=0x1f));
        at + bytes.len() - rest.len() + length.unwrap_or(rest.len())
    }

    /// The rest of a text that has escapes.
    fn escaped(&mut self, start: usize) -> Read<String> {
        let mut text = self.text[start..self.at].to_owned();
        loop {
            match self.byte() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(text);
                }
                Some(b'\\') => text.push(self.escape()?),
                Some(_) => return Err(self.syntax("a control character in a string")),
                None => return Err(self.syntax("the text ends inside of a string")),
            }
            let end = self.plain(self.at);
            text.push_str(&self.text[self.at..end]);
            self.at = end;
        }
    }

    fn escape(&mut self) -> Read<char> {
        self.at += 1;
        let plain = match self.byte() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(),
            _ => return Err(self.syntax("an escape that JSON does not know")),
        };
        self.at += 1;
        Ok(plain)
    }

    fn unicode(&mut self) -> Read<char> {
        self.at += 1;
        let mut code = self.four()?;
        if (0xD800..0xDC00).contains(&code) && self.text.as_bytes()[self.at..].starts_with(b"\\u") {
            let high = code;
            self.at += 2;
            let low = self.four()?;
            code = match low {
                0xDC00..0xE000 => 0x10000 + ((high - 0xD800) << 10 | (low - 0xDC00)),
                // Half a pair, and so no character.
                _ => high,
            };
        }
        char::from_u32(code).ok_or_else(|| self.syntax("half a surrogate pair"))
    }

    fn four(&mut self) -> Read<u32> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4);
        let code = digits.and_then(|digits| {
            digits.iter().try_fold(0, |code, b| Some(code << 4 | char::from(*b).to_digit(16)?))
        });
        let code = code.ok_or_else(|| self.syntax("`\\u` without four hexadecimal digits"))?;
        self.at += 4;
        Ok(code)
    }

    /// The digits from here on, added to `mantissa`, and how many there are: at least one.
    #[inline]
    fn digits(&mut self, mantissa: &mut u64) -> Read<usize> {
        let start = self.at;
        while let Some(digit @ b'0'..=b'9') = self.byte() {
            *mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
            self.at += 1;
        }
        if self.at == start { Err(self.syntax("expected a digit")) } else { Ok(self.at - start) }
    }

    /// A number.
    pub(crate) fn number(&mut self, what: &str) -> Read<Number> {
        let start = match self.peek() {
            Some(b'-' | b'0'..=b'9') => self.at,
            _ => return Err(self.expected(what)),
        };
        let (scanned, negative) = self.scan()?;
        let text = &self.text[start..self.at];
        let Scanned { mantissa, digits, decimals, exponent } = scanned;
        if !exponent && decimals == 0 {
            // Nineteen digits are below 2^64; more may be as well.
            let whole = if digits <= 19 { Some(mantissa) } else { text.parse().ok() };
            match (whole, negative) {
                (Some(n), false) => {
                    return Ok(i64::try_from(n).map_or(Number::Unsigned(n), Number::Signed));
                }
                (Some(n), true) if n > 0 && n <= 1 << 63 => {
                    return Ok(Number::Signed(0_i64.wrapping_sub_unsigned(n)));
                }
                // What is left is −0, and beyond 64 bits.
                _ => {}
            }
        }
        if !exponent && digits <= 15 {
            // Both are exact as floats, and so the quotient is rounded once.
            let x = mantissa as f64 / TENS[decimals];
            return Ok(Number::Float(if negative { -x } else { x }));
        }
        match text.parse::<f64>() {
            Ok(x) if x.is_finite() => Ok(Number::Float(x)),
            _ => Err(wrong(start, "a number too large")),
        }
    }

    #[inline]
    fn scan(&mut self) -> Read<(Scanned, bool)> {
        let negative = self.byte() == Some(b'-');
        self.at += usize::from(negative);
        let mut mantissa = 0;
        let start = self.at;
        let mut digits = self.digits(&mut mantissa)?;
        if digits > 1 && self.text.as_bytes()[start] == b'0' {
            self.at = start;
            return Err(self.syntax("a number that begins with 0"));
        }
        let mut decimals = 0;
        if self.byte() == Some(b'.') {
            self.at += 1;
            decimals = self.digits(&mut mantissa)?;
            digits += decimals;
        }
        let exponent = matches!(self.byte(), Some(b'e' | b'E'));
        if exponent {
            self.at += 1;
            self.at += usize::from(matches!(self.byte(), Some(b'+' | b'-')));
            self.digits(&mut 0)?;
        }
        Ok((Scanned { mantissa, digits, decimals, exponent }, negative))
    }

    /// A whole number from 0 to `most`, written without fraction or exponent.
    pub(crate) fn whole(&mut self, most: u64) -> Read<u64> {
        let at = self.here();
        match self.number("a whole number")? {
            Number::Signed(n) if u64::try_from(n).is_ok_and(|n| n <= most) => Ok(n as u64),
            Number::Unsigned(n) if n <= most => Ok(n),
            _ => Err(wrong(at, format!("expected a whole number from 0 to {most}"))),
        }
    }

    /// `true` or `false`.
    pub(crate) fn boolean(&mut self, what: &str) -> Read<bool> {
        match self.peek() {
            Some(b't') => self.word("true").map(|()| true),
            Some(b'f') => self.word("false").map(|()| false),
            _ => Err(self.expected(what)),
        }
    }

    /// Takes `null` where there is one, and says whether there was.
    pub(crate) fn null(&mut self) -> Read<bool> {
        if self.peek() != Some(b'n') {
            return Ok(false);
        }
        self.word("null").map(|()| true)
    }

    fn word(&mut self, word: &'static str) -> Read<()> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return Err(self.syntax("a word that is not JSON"));
        }
        self.at += word.len();
        Ok(())
    }

    /// Goes over one value, whatever it is.
    pub(crate) fn skip(&mut self) -> Read<()> {
        match self.kind()? {
            JsonKind::Null => self.word("null"),
            JsonKind::Boolean => self.boolean("").map(drop),
            JsonKind::Number => self.scan().map(drop),
            JsonKind::String => self.string("").map(drop),
            JsonKind::Array => {
                let mut open = self.array("")?;
                while self.element(&mut open)? {
                    self.skip()?;
                }
                Ok(())
            }
            JsonKind::Object => {
                let mut open = self.object("")?;
                while self.key(&mut open)?.is_some() {
                    self.skip()?;
                }
                Ok(())
            }
        }
    }
}

/// A number's parts.
struct Scanned {
    /// All digits but the exponent's, where there are at most 19.
    mantissa: u64,
    digits: usize,
    decimals: usize,
    exponent: bool,
}

const TENS: [f64; 16] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

/// JSON, but not what it should be.
pub(crate) fn wrong(at: usize, message: impl Into<Cow<'static, str>>) -> Wrong {
    Wrong(Box::new(Detail { at, sort: Sort::Shape, message: message.into() }))
}

/// Of eight bytes those that do not stand for themselves in a string: the lowest bit that is set is
/// in the first of them. Higher ones may be wrong, for a subtraction borrows from what is above.
#[inline]
fn special(eight: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    let below = |bytes: u64, bound: u8| bytes.wrapping_sub(ONES * u64::from(bound)) & !bytes;
    let is = |byte: u8| below(eight ^ (ONES * u64::from(byte)), 1);
    (below(eight, b' ') | is(b'"') | is(b'\\')) & (ONES << 7)
}

#[cfg(test)]
mod tests;
