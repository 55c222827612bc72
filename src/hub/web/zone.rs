//! The zone in which times are shown where there is no script, which shows them in the browser's own.
//! It is chosen on a page of its own and kept in a cookie; `zone=` in an address goes before that.

use axum::extract::Request;
use axum::http::header;
use axum::middleware::Next;
use axum::response::Response;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::hub::parameters::pairs;
use crate::model::Timestamp;

/// The cookie that keeps it.
pub(super) const COOKIE: &str = "talaia_zone";

tokio::task_local! {
    /// That of the request at hand.
    static ZONE: TimeZone;
}

/// The zone of the request at hand.
pub(super) fn current() -> TimeZone {
    ZONE.try_with(Clone::clone).unwrap_or(TimeZone::UTC)
}

/// Draws on another thread in the zone of a request.
pub(super) fn within<T>(zone: TimeZone, draw: impl FnOnce() -> T) -> T {
    ZONE.sync_scope(zone, draw)
}

/// Its name.
pub(super) fn name() -> String {
    current().iana_name().unwrap_or("UTC").to_owned()
}

/// How far it is ahead of UTC at a moment, in milliseconds.
pub(super) fn offset(ms: i64) -> i64 {
    let Ok(at) = jiff::Timestamp::from_millisecond(ms) else { return 0 };
    i64::from(current().to_offset(at).seconds()) * 1000
}

/// A moment as clocks there show it, in the form of RFC 3339 without an offset: `2026-11-22T21:42:10`.
pub(super) fn local(ms: i64) -> String {
    let shifted = Timestamp::from_millis(ms.saturating_add(offset(ms)));
    let mut text = shifted.map(|time| time.to_string()).unwrap_or_default();
    text.truncate(19);
    text
}

/// The moment at which clocks there show this.
pub(super) fn moment(text: &str) -> Option<i64> {
    let shown: DateTime = text.parse().ok()?;
    Some(shown.to_zoned(current()).ok()?.timestamp().as_millisecond())
}

/// The zone of this name.
pub(super) fn read(name: &str) -> Option<TimeZone> {
    TimeZone::get(name).ok().filter(|zone| zone.iana_name().is_some())
}

/// Finds the zone of each request.
pub(super) async fn layer(request: Request, next: Next) -> Response {
    let asked = request.uri().query().and_then(|query| pairs(query).ok()).unwrap_or_default();
    let asked = asked.iter().find(|(name, _)| name == "zone").and_then(|(_, zone)| read(zone));
    let cookies = request.headers().get_all(header::COOKIE).iter();
    let kept = cookies
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == COOKIE)
        .and_then(|(_, zone)| read(zone));
    ZONE.scope(asked.or(kept).unwrap_or(TimeZone::UTC), next.run(request)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_what_clocks_there_show_and_back() {
        let madrid = TimeZone::get("Europe/Madrid").unwrap();
        within(madrid, || {
            // Before and after the clocks went back.
            for (ms, shown) in [
                (1_792_880_130_000, "2026-10-25T00:15:30"),
                (1_795_380_130_000, "2026-11-22T21:42:10"),
            ] {
                assert_eq!(local(ms), shown);
                assert_eq!(moment(shown), Some(ms));
            }
            assert_eq!(name(), "Europe/Madrid");
        });
        assert_eq!(local(1_795_380_130_000), "2026-11-22T20:42:10");
        assert!(read("Mars/Olympus").is_none() && read("../../etc/passwd").is_none());
    }
}
