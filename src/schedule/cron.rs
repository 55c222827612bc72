use std::str::FromStr;
use std::time::Duration;

use crate::model::Timestamp;

/// A five-field cron expression (or six, seconds first) in a time zone.
#[derive(Debug, Clone)]
pub struct Cron {
    text: String,
    expression: Box<croner::Cron>,
    zone: jiff::tz::TimeZone,
}

impl PartialEq for Cron {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text && self.zone == other.zone
    }
}

/// Why an expression or a zone cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CronError {
    /// The expression does not parse.
    #[error("`{text}` is not a cron expression: {why}")]
    Expression {
        /// As written.
        text: String,
        /// What the parser says.
        why: String,
    },
    /// The zone is unknown on this machine.
    #[error("`{0}` is not a known time zone; use a name such as `Europe/Madrid` or `UTC`")]
    Zone(String),
}

impl Cron {
    /// Reads an expression such as `*/5 * * * *`; without `zone` it means the system's zone.
    pub fn parse(text: &str, zone: Option<&str>) -> Result<Self, CronError> {
        let expression = croner::Cron::from_str(text)
            .map_err(|why| CronError::Expression { text: text.to_owned(), why: why.to_string() })?;
        let zone = match zone {
            None => jiff::tz::TimeZone::system(),
            Some(name) => {
                jiff::tz::TimeZone::get(name).map_err(|_| CronError::Zone(name.to_owned()))?
            }
        };
        Ok(Self { text: text.to_owned(), expression: Box::new(expression), zone })
    }

    /// As written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The first due time after `now`; `None` when there is none (30 February).
    pub fn next_after(&self, now: Timestamp) -> Option<Timestamp> {
        let now = jiff::Timestamp::from_millisecond(now.millis()).ok()?.to_zoned(self.zone.clone());
        let next = self.expression.find_next_occurrence(&now, false).ok()?;
        Timestamp::from_millis(next.timestamp().as_millisecond())
    }

    /// About the longest time between two due times of the next days: for nine to five on working
    /// days that of a weekend. It may be up to an hour too short. `None` when nothing is due any
    /// more.
    pub fn longest_pause(&self, now: Timestamp) -> Option<Duration> {
        let mut longest = 0;
        let mut at = now.millis();
        for step in 0..200 {
            // A pause is found where it begins, or by the hour before which it began.
            let Some(due) = self.next_after(Timestamp::from_millis(at)?) else { break };
            let Some(next) = self.next_after(due) else { break };
            longest = longest.max(next.millis() - due.millis()).max(due.millis() - at);
            at = due.millis().max(at + 3_600_000);
            if at - now.millis() > 8 * 86_400_000 && step >= 14 {
                break;
            }
        }
        u64::try_from(longest).ok().filter(|ms| *ms > 0).map(Duration::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_pause_is_known_ahead() {
        // A Sunday.
        let now = Timestamp::parse("2026-11-22T20:42:59Z").unwrap();
        let hours = |text| {
            let pause = Cron::parse(text, Some("UTC")).unwrap().longest_pause(now);
            pause.map(|pause| pause.as_secs_f64() / 3600.0)
        };
        assert_eq!(hours("*/5 * * * *"), Some(5.0 / 60.0));
        assert_eq!(hours("0 9 * * *"), Some(24.0));
        assert_eq!(hours("0 0 1 * *"), Some(31.0 * 24.0));
        let weekend = hours("* 9-17 * * 1-5").unwrap();
        assert!((62.0..=63.1).contains(&weekend), "{weekend}");
        assert_eq!(hours("0 0 30 2 *"), None);
    }

    #[test]
    fn the_next_time_is_by_the_calendar_of_the_zone() {
        let now = Timestamp::parse("2026-11-22T20:42:10Z").unwrap();
        let next = |text, zone| Cron::parse(text, Some(zone)).unwrap().next_after(now).unwrap();
        assert_eq!(next("*/5 * * * *", "UTC").to_string(), "2026-11-22T20:45:00.000Z");
        assert_eq!(next("0 9 * * *", "UTC").to_string(), "2026-11-23T09:00:00.000Z");
        assert!(Cron::parse("0 0 30 2 *", Some("UTC")).unwrap().next_after(now).is_none());
        assert!(Cron::parse("every day", None).is_err());
        assert!(Cron::parse("* * * * *", Some("Mars/Olympus")).is_err());
    }
}
