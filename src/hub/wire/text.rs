//! Texts that mean something: names, times, identifiers.

use uuid::Uuid;

use crate::model::{Timestamp, limits};

/// What is wrong with a text, in a sentence.
pub(super) type Checked = Result<(), String>;

pub(super) fn at_most(text: &str, most: usize) -> Checked {
    if text.len() <= most {
        return Ok(());
    }
    Err(format!("{} bytes long; at most {most}", text.len()))
}

/// A name for people: not empty, no control characters.
pub(super) fn one_line(text: &str, most: usize) -> Checked {
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err("empty, or with control characters".to_owned());
    }
    at_most(text, most)
}

/// A tag's key or value.
pub(super) fn tag(text: &str, most: usize) -> Checked {
    if text.bytes().any(|b| b < b' ' || b == 0x7f) {
        return Err("with control characters".to_owned());
    }
    at_most(text, most)
}

/// A name as programs like it.
pub(super) fn name(text: &str) -> Checked {
    if crate::model::is_name(text) && text.len() <= limits::NAME {
        return Ok(());
    }
    Err(format!("not a name: letters, digits and `_`, at most {} bytes", limits::NAME))
}

/// A UUID as we write them: lower case, with hyphens.
pub(super) fn uuid(text: &str) -> Option<Uuid> {
    if text.len() != 36 || text.bytes().any(|b| b.is_ascii_uppercase()) {
        return None;
    }
    Uuid::try_parse(text).ok()
}

/// A time as we write them: RFC 3339 in UTC, with `T` and `Z`. A leap second is the one before it.
pub(super) fn time(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    let number = |from: usize, to: usize| -> Option<i64> {
        bytes
            .get(from..to)?
            .iter()
            .try_fold(0, |sum, b| b.is_ascii_digit().then(|| sum * 10 + i64::from(b - b'0')))
    };
    let (fixed, rest) = bytes.split_at_checked(19)?;
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if marks.iter().any(|(at, mark)| fixed[*at] != *mark) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if !(1..=12).contains(&month) || !(1..=days_in(year, month)).contains(&day) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let millis = match rest.strip_suffix(b"Z")? {
        [] => 0,
        [b'.', digits @ ..] if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) => {
            let digit = |n: usize| digits.get(n).map_or(0, |b| i64::from(b - b'0'));
            digit(0) * 100 + digit(1) * 10 + digit(2)
        }
        _ => return None,
    };
    let seconds = (hour * 60 + minute) * 60 + second.min(59);
    Timestamp::from_millis((days_since_1970(year, month, day) * 86_400 + seconds) * 1000 + millis)
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days of the Gregorian calendar, for years from 0 on.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    // Years that begin in March have the odd day at their end.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, year) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    era * 146_097 + year * 365 + year / 4 - year / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_that_are_none_of_ours_are_not_read() {
        for text in [
            "",
            "2026-11-22",
            "2026-11-22T20:42:10",
            "2026-11-22T20:42:10z",
            "2026-11-22t20:42:10Z",
            "2026-11-22 20:42:10Z",
            "2026-11-22T20:42:10.Z",
            "2026-11-22T20:42:10,1Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "2100-02-29T00:00:00Z",
            "2026-04-31T00:00:00Z",
            "2026-11-22T24:00:00Z",
            "2026-11-22T20:60:00Z",
            "2026-11-22T20:42:61Z",
            "2026-11-22T20:42:10+00:00",
            "+026-11-22T20:42:10Z",
            "2026-11-22T20:42:10.1Z ",
            "9999-12-31T23:00:00Z",
        ] {
            assert_eq!(time(text), None, "{text}");
        }
        for text in ["2024-02-29T00:00:00Z", "2000-02-29T23:59:59.9Z", "0000-01-01T00:00:00Z"] {
            assert_eq!(time(text), Timestamp::parse(text).ok(), "{text}");
        }
        assert_eq!(time("2026-12-31T23:59:60Z"), time("2026-12-31T23:59:59Z"));
        assert_eq!(time("1970-01-01T00:00:00.1239999999999Z").map(Timestamp::millis), Some(123));
    }

    #[test]
    fn identifiers_are_written_one_way() {
        let id = "0192f0c1-7c1e-7d58-a3a6-5a2f4c1b9e01";
        assert_eq!(uuid(id).map(|id| id.to_string()).as_deref(), Some(id));
        for text in
            [&id.to_uppercase(), &id.replace('-', ""), &format!("{{{id}}}"), &id.replace('c', "g")]
        {
            assert_eq!(uuid(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_time_that_is_written_reads_back(ms in -62_167_219_200_000_i64..=253_402_207_200_000) {
            let stamp = Timestamp::from_millis(ms).unwrap();
            prop_assert_eq!(time(&stamp.to_string()), Some(stamp));
        }
    }
}
