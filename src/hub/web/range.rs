//! How far back charts go: some usual times, or from one moment to another.

use maud::{Markup, html};

use crate::model::Timestamp;

use super::chart::Window;
use super::format::query;
use super::zone;

const HOUR: i64 = 3_600_000;
/// The longest stretch of time that is drawn.
const MOST: i64 = 400 * 24 * HOUR;

/// What is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    preset: Option<Preset>,
    pub(super) window: Window,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Preset {
    Hour,
    SixHours,
    Day,
    Week,
    Month,
}

impl Preset {
    const ALL: [Self; 5] = [Self::Hour, Self::SixHours, Self::Day, Self::Week, Self::Month];

    fn word(self) -> &'static str {
        match self {
            Self::Hour => "1h",
            Self::SixHours => "6h",
            Self::Day => "24h",
            Self::Week => "7d",
            Self::Month => "30d",
        }
    }

    fn said(self) -> &'static str {
        match self {
            Self::Hour => "1 hour",
            Self::SixHours => "6 hours",
            Self::Day => "1 day",
            Self::Week => "7 days",
            Self::Month => "30 days",
        }
    }

    fn millis(self) -> i64 {
        HOUR * match self {
            Self::Hour => 1,
            Self::SixHours => 6,
            Self::Day => 24,
            Self::Week => 7 * 24,
            Self::Month => 30 * 24,
        }
    }
}

impl Range {
    /// Of a query's `range`, `from` and `to`. What cannot be read is left to the usual: the last
    /// hour, up to now.
    pub(super) fn read(pairs: &[(String, String)], now: i64) -> Self {
        let get =
            |name: &str| pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.trim());
        let (from, to) = (get("from").and_then(moment), get("to").and_then(moment));
        if from.is_some() || to.is_some() {
            let to = to.unwrap_or(now).clamp(0, now + 24 * HOUR);
            let from = from.unwrap_or(to - HOUR).clamp(to - MOST, to - 1000);
            return Self { preset: None, window: Window::new(from, to) };
        }
        let asked = get("range").unwrap_or_default();
        let preset = Preset::ALL.into_iter().find(|one| one.word() == asked);
        let preset = preset.unwrap_or(Preset::Hour);
        Self { preset: Some(preset), window: Window::new(now - preset.millis(), now) }
    }

    /// The links and the form that choose another, for the page at `path` of `own`.
    pub(super) fn chooser(&self, path: &str, own: &[(&str, &str)]) -> Markup {
        let link =
            |word: &'static str| format!("{path}{}", query(&[own, &[("range", word)]].concat()));
        html! {
            nav.ranges aria-label="How far back" {
                @for one in Preset::ALL {
                    a href=(link(one.word())) aria-current=[(self.preset == Some(one)).then_some("true")] { (one.said()) }
                }
                details.custom #custom open[self.preset.is_none()] {
                    summary { "from … to" }
                    form.span method="get" action=(path) {
                        @for (name, value) in own { input type="hidden" name=(name) value=(value); }
                        @if zone::name() != "UTC" { input type="hidden" name="zone" value=(zone::name()); }
                        label { "From" input type="datetime-local" name="from" required value=(typed(self.window.from)) data-ms=(self.window.from); }
                        label { "to" input type="datetime-local" name="to" required value=(typed(self.window.to)) data-ms=(self.window.to); }
                        span.zone.faint { (zone::name()) }
                        button type="submit" { "Show" }
                    }
                }
            }
        }
    }
}

/// As a browser's field for a moment wants it.
fn typed(ms: i64) -> String {
    zone::local(ms).chars().take(16).collect()
}

/// Milliseconds, RFC 3339, or what a browser's field gives: a time in the page's zone, or a day in
/// UTC.
pub(super) fn moment(text: &str) -> Option<i64> {
    if let Ok(ms) = text.parse() {
        // What no calendar has is no moment, and nothing to reckon with.
        return Timestamp::from_millis(ms).map(Timestamp::millis);
    }
    if let Ok(time) = Timestamp::parse(text) {
        return Some(time.millis());
    }
    if text.len() == 10 {
        return Timestamp::parse(&format!("{text}T00:00:00Z")).ok().map(Timestamp::millis);
    }
    zone::moment(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::web::format::stamp;

    const NOW: i64 = 1_795_380_130_000;

    fn read(pairs: &[(&str, &str)]) -> Range {
        let owned: Vec<(String, String)> =
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Range::read(&owned, NOW)
    }

    #[test]
    fn a_range_is_usual_or_from_one_moment_to_another() {
        assert_eq!(read(&[]).window, Window::new(NOW - HOUR, NOW));
        assert_eq!(read(&[("range", "7d")]).window.span(), 7 * 24 * HOUR);
        assert_eq!(read(&[("range", "x")]).window.span(), HOUR);
        let typed = read(&[("from", "2026-11-20T10:00"), ("to", "2026-11-20T12:30")]);
        assert_eq!(typed.window.span(), 2 * HOUR + HOUR / 2);
        assert_eq!(stamp(typed.window.from), "2026-11-20T10:00:00.000Z");
        let exact = read(&[("from", "2026-11-20T10:00:00+01:00")]);
        assert_eq!(stamp(exact.window.from), "2026-11-20T09:00:00.000Z");
        assert_eq!(exact.window.to, NOW);
    }

    #[test]
    fn nonsense_is_brought_into_bounds() {
        let backwards = read(&[("from", "2026-11-22"), ("to", "2026-11-01")]);
        assert_eq!(backwards.window.span(), 1000);
        let endless = read(&[("from", "-9223372036854775808"), ("to", "9223372036854775807")]);
        assert!(endless.window.span() <= MOST + 1000);
        assert_eq!(moment("999999999999999999"), None);
        assert_eq!(moment("1795380130000"), Some(NOW));
    }
}
