//! How late runs start, as a histogram over the last minute or two.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Buckets a doubling, so that a quantile is at most a fifth too large.
const STEPS: u32 = 4;
/// From a microsecond to over an hour.
const BUCKETS: usize = 32 * STEPS as usize;
/// How long one histogram is filled. Quantiles are over it and the one before.
const WINDOW: Duration = Duration::from_mins(1);

/// The lags of late; shared by who notes and who asks.
pub(super) struct Lags(Mutex<Windows>);

struct Windows {
    since: Instant,
    now: [u32; BUCKETS],
    before: [u32; BUCKETS],
}

/// Quantiles of the start lag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Quantiles {
    pub(super) p50: Duration,
    pub(super) p99: Duration,
}

impl Default for Lags {
    fn default() -> Self {
        let empty = [0; BUCKETS];
        Self(Mutex::new(Windows { since: Instant::now(), now: empty, before: empty }))
    }
}

impl Lags {
    /// A run started `lag` after it was due.
    pub(super) fn note(&self, lag: Duration, now: Instant) {
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        windows.turn(now);
        let bucket = &mut windows.now[bucket(lag)];
        *bucket = bucket.saturating_add(1);
    }

    /// `None` where nothing has started lately.
    pub(super) fn quantiles(&self, now: Instant) -> Option<Quantiles> {
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        windows.turn(now);
        let counts: Vec<u64> = windows
            .now
            .iter()
            .zip(&windows.before)
            .map(|(a, b)| u64::from(*a) + u64::from(*b))
            .collect();
        let total: u64 = counts.iter().sum();
        let quantile = |percent: u64| {
            let rank = (total * percent).div_ceil(100).max(1);
            let mut seen = 0;
            let at = counts.iter().position(|count| {
                seen += count;
                seen >= rank
            });
            upper(at.unwrap_or(BUCKETS - 1))
        };
        (total > 0).then(|| Quantiles { p50: quantile(50), p99: quantile(99) })
    }
}

impl Windows {
    fn turn(&mut self, now: Instant) {
        let age = now.saturating_duration_since(self.since);
        if age < WINDOW {
            return;
        }
        let last = std::mem::replace(&mut self.now, [0; BUCKETS]);
        self.before = if age < 2 * WINDOW { last } else { [0; BUCKETS] };
        self.since = now;
    }
}

fn bucket(lag: Duration) -> usize {
    let micros = u64::try_from(lag.as_micros()).unwrap_or(u64::MAX).clamp(1, u64::from(u32::MAX));
    let octave = micros.ilog2();
    let step = ((micros - (1 << octave)) * u64::from(STEPS)) >> octave;
    ((octave * STEPS) as usize + step as usize).min(BUCKETS - 1)
}

/// The largest lag of a bucket.
fn upper(bucket: usize) -> Duration {
    let (octave, step) = (bucket as u32 / STEPS, bucket as u64 % u64::from(STEPS));
    Duration::from_micros((1_u64 << octave) + (((step + 1) << octave) / u64::from(STEPS)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_never_too_small_and_at_most_a_quarter_too_large() {
        let start = Instant::now();
        let lags = Lags::default();
        assert_eq!(lags.quantiles(start), None);
        for micros in 1..=1000 {
            lags.note(Duration::from_micros(micros), start);
        }
        let Quantiles { p50, p99 } = lags.quantiles(start).unwrap();
        for (found, exact) in [(p50, 500.0), (p99, 990.0)] {
            let found = found.as_secs_f64() * 1e6;
            assert!((exact..=exact * 1.26).contains(&found), "{found} for {exact}");
        }
        for lag in [Duration::ZERO, Duration::MAX] {
            lags.note(lag, start);
        }
    }

    #[test]
    fn what_is_long_ago_is_forgotten() {
        let start = Instant::now();
        let lags = Lags::default();
        lags.note(Duration::from_secs(5), start);
        assert!(lags.quantiles(start + WINDOW).is_some());
        lags.note(Duration::from_millis(1), start + WINDOW + WINDOW / 2);
        assert!(lags.quantiles(start + 3 * WINDOW).unwrap().p99 < Duration::from_millis(2));
        assert_eq!(lags.quantiles(start + 9 * WINDOW), None);
    }
}
