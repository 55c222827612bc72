use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A wall-clock instant: milliseconds since 1970-01-01T00:00:00Z. On the wire RFC 3339 with
/// milliseconds, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(i64);

/// Why a text is not a time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an RFC 3339 time such as 2026-11-22T20:42:10Z")]
pub struct TimestampError(String);

/// Years 0000 to 9999 as RFC 3339 can write them, less the last hours, which jiff leaves out so
/// that every instant has a local time in every zone.
const RANGE: std::ops::RangeInclusive<i64> = -62_167_219_200_000..=253_402_207_200_000;

impl Timestamp {
    /// The beginning of 1970.
    pub const EPOCH: Self = Self(0);

    /// From milliseconds since 1970; `None` outside the years 0000 to 9999.
    pub fn from_millis(millis: i64) -> Option<Self> {
        RANGE.contains(&millis).then_some(Self(millis))
    }

    /// From a number as plugins write it: Unix seconds, or milliseconds where it is above 1e11.
    pub fn from_number(number: f64) -> Option<Self> {
        let millis = if number.abs() > 1e11 { number } else { number * 1000.0 };
        (millis.is_finite() && millis.abs() < 1e15)
            .then(|| Self::from_millis(millis.round() as i64))
            .flatten()
    }

    /// Milliseconds since 1970.
    pub fn millis(self) -> i64 {
        self.0
    }

    /// Reads RFC 3339 with any offset.
    pub fn parse(text: &str) -> Result<Self, TimestampError> {
        // jiff reads more than RFC 3339; the shape is held here: date, `T` or space, time, offset.
        let bytes = text.as_bytes();
        let shape = bytes.len() >= 20
            && bytes[4] == b'-'
            && bytes[7] == b'-'
            && matches!(bytes[10], b'T' | b't' | b' ')
            && bytes[13] == b':'
            && bytes[16] == b':'
            && !text.contains('[');
        shape
            .then(|| text.parse::<jiff::Timestamp>().ok())
            .flatten()
            .and_then(|t| Self::from_millis(t.as_millisecond()))
            .ok_or_else(|| TimestampError(text.to_owned()))
    }
}

impl From<SystemTime> for Timestamp {
    /// A clock before 1970 reads as 1970, one after 9999 as the end of 9999.
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self(i64::try_from(since.as_millis()).unwrap_or(i64::MAX).min(*RANGE.end()))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(time) => write!(f, "{time:.3}"),
            Err(_) => Err(fmt::Error),
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(d)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_reads_back_as_it_was_written() {
        for millis in [0, -1, 1_795_380_130_123, *RANGE.start(), *RANGE.end()] {
            let time = Timestamp::from_millis(millis).unwrap();
            assert_eq!(Timestamp::parse(&time.to_string()).unwrap(), time, "{time}");
        }
        let plus_two = Timestamp::parse("2026-11-22T22:42:10.123+02:00").unwrap();
        assert_eq!(plus_two.to_string(), "2026-11-22T20:42:10.123Z");
    }

    #[test]
    fn numbers_are_seconds_until_they_cannot_be() {
        assert_eq!(Timestamp::from_number(1.5).unwrap().millis(), 1500);
        assert_eq!(Timestamp::from_number(1_795_380_130.0).unwrap().millis(), 1_795_380_130_000);
        assert_eq!(
            Timestamp::from_number(1_795_380_130_123.0).unwrap().millis(),
            1_795_380_130_123
        );
        assert!(Timestamp::from_number(f64::NAN).is_none());
        assert!(Timestamp::from_number(1e300).is_none());
    }

    #[test]
    fn half_a_date_is_no_time() {
        for text in ["", "2026-11-22", "20261122T204210Z", "2026-11-22T20:42:10", "now"] {
            assert!(Timestamp::parse(text).is_err(), "{text}");
        }
    }
}
