//! Who was not let in, in the log: a line a minute at most, whoever calls how often.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The least time between two lines.
const PAUSE: Duration = Duration::from_mins(1);

/// Counts those who were turned away.
#[derive(Default)]
pub(super) struct Strangers(Mutex<State>);

#[derive(Default)]
struct State {
    said: Option<Instant>,
    /// Since the last line.
    more: u64,
}

impl Strangers {
    /// Somebody came to `face` and was turned away because of `why`.
    pub(super) fn turned_away(&self, face: &'static str, why: &'static str) {
        if let Some(more) = self.count(Instant::now()) {
            tracing::warn!(interface = face, why, more, "a request was not let in");
        }
    }

    /// How many came since the last line, where it is time for another.
    fn count(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.said.is_some_and(|at| now.duration_since(at) < PAUSE) {
            state.more = state.more.saturating_add(1);
            return None;
        }
        state.said = Some(now);
        Some(std::mem::take(&mut state.more))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_a_minute_says_how_many_came() {
        let strangers = Strangers::default();
        let start = Instant::now();
        assert_eq!(strangers.count(start), Some(0));
        for _ in 0..1000 {
            assert_eq!(strangers.count(start + Duration::from_secs(59)), None);
        }
        assert_eq!(strangers.count(start + PAUSE), Some(1000));
        assert_eq!(strangers.count(start + 2 * PAUSE), Some(0));
    }
}
