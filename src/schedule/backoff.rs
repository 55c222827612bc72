use std::time::Duration;

/// Exponential back-off with full jitter: the n-th delay is drawn evenly from 0 to
/// `first × 2^n`, capped at `most`.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    failures: u32,
}

impl Backoff {
    /// For uploads: 1 s doubling to 5 min.
    pub const fn upload() -> Self {
        Self::new(Duration::from_secs(1), Duration::from_secs(300))
    }

    /// Delays from `first` doubling up to `most`.
    pub const fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, failures: 0 }
    }

    /// The delay after one more failure. `draw` is a number from 0 to 1, drawn evenly.
    pub fn after_failure(&mut self, draw: f64) -> Duration {
        let ceiling = self.first.saturating_mul(1 << self.failures.min(20)).min(self.most);
        self.failures = self.failures.saturating_add(1);
        ceiling.mul_f64(draw.clamp(0.0, 1.0))
    }

    /// The next failure is the first again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// Failures in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_cap_and_jitter_is_full() {
        let mut backoff = Backoff::upload();
        let ceilings: Vec<u64> = (0..11).map(|_| backoff.after_failure(1.0).as_secs()).collect();
        assert_eq!(ceilings, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(backoff.after_failure(0.0), Duration::ZERO);
        backoff.reset();
        assert_eq!(backoff.after_failure(0.5), Duration::from_millis(500));
        for _ in 0..100 {
            assert!(backoff.after_failure(1.0) <= Duration::from_secs(300));
        }
    }
}
