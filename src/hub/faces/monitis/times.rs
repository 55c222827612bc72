//! The times of the old service: check times in milliseconds or seconds, UTC days, and clock faces.

use jiff::civil::Date;
use jiff::tz::TimeZone;

/// Above it a check time is in milliseconds, below in seconds, which one client sends.
const SECONDS: i64 = 100_000_000_000;

/// A check time in milliseconds.
pub(super) fn check_time(text: &str) -> Option<i64> {
    let number: i64 = text.trim().parse().ok()?;
    match number {
        ..0 => None,
        0..SECONDS => Some(number * 1000),
        _ => Some(number),
    }
}

/// The first and the last millisecond of a day in UTC.
pub(super) fn day(year: &str, month: &str, day: &str) -> Option<(i64, i64)> {
    let (year, month, day) =
        (year.trim().parse().ok()?, month.trim().parse().ok()?, day.trim().parse().ok()?);
    let start = Date::new(year, month, day).ok()?.to_zoned(TimeZone::UTC).ok()?;
    let start = start.timestamp().as_millisecond();
    Some((start, start + 24 * 3600 * 1000 - 1))
}

/// `20:02`, so many minutes from UTC.
pub(super) fn clock_face(ms: i64, offset_minutes: i64) -> String {
    let minutes = (ms.div_euclid(60_000) + offset_minutes).rem_euclid(24 * 60);
    format!("{:02}:{:02}", minutes / 60, minutes % 60)
}

/// Minutes from UTC, at most a day of them.
pub(super) fn offset(text: Option<&str>) -> Option<i64> {
    let Some(text) = text else { return Some(0) };
    text.trim().parse().ok().filter(|minutes| (-1440..=1440).contains(minutes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_milliseconds_are_told_apart() {
        assert_eq!(check_time("1795377642000"), Some(1_795_377_642_000));
        assert_eq!(check_time("1795377642"), Some(1_795_377_642_000));
        assert_eq!(check_time("99999999999"), Some(99_999_999_999_000));
        assert_eq!(check_time("100000000000"), Some(100_000_000_000));
        for text in ["", "now", "-1", "1.5", "9223372036854775808"] {
            assert_eq!(check_time(text), None, "{text}");
        }
    }

    #[test]
    fn a_day_has_its_first_and_last_millisecond() {
        assert_eq!(day("2026", "11", "22"), Some((1_795_305_600_000, 1_795_391_999_999)));
        assert_eq!(day("1970", "1", "01"), Some((0, 86_399_999)));
        for (y, m, d) in [("2026", "2", "30"), ("2026", "13", "1"), ("x", "1", "1"), ("", "", "")] {
            assert_eq!(day(y, m, d), None);
        }
    }

    #[test]
    fn a_clock_face_is_where_the_reader_is() {
        assert_eq!(clock_face(1_795_377_721_000, 0), "20:02");
        assert_eq!(clock_face(1_795_377_721_000, 300), "01:02");
        assert_eq!(clock_face(0, -1), "23:59");
        assert_eq!(offset(None), Some(0));
        assert_eq!(offset(Some("-120")), Some(-120));
        assert_eq!(offset(Some("CET")), None);
    }
}
