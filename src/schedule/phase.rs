use std::time::Duration;

/// A fixed interval and where in it the runs fall.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Every {
    /// From one due time to the next.
    pub interval: Duration,
    /// The first due time, counted from the agent's start (or from the full wall-clock interval
    /// with `align`). Less than `interval`.
    pub phase: Duration,
}

impl Every {
    /// The first due time at or after `now`, both counted from the same origin.
    pub fn first_at_or_after(&self, now: Duration) -> Duration {
        if now <= self.phase {
            return self.phase;
        }
        let interval = self.interval.as_nanos().max(1);
        let rounds = (now - self.phase).as_nanos().div_ceil(interval);
        self.phase + Duration::from_nanos_u128(rounds * interval)
    }

    /// The due time after `due`, and how many were missed because it is already `now`. Phases
    /// stay: a late run does not shift those after it.
    pub fn next_after(&self, due: Duration, now: Duration) -> (Duration, u64) {
        let next = due + self.interval;
        if next > now {
            return (next, 0);
        }
        let caught_up = self.first_at_or_after(now);
        let interval = self.interval.as_nanos().max(1);
        let missed = ((caught_up - next).as_nanos() / interval) as u64;
        (caught_up, missed)
    }
}

/// Where in its interval a plugin runs: a hash of host and plugin, so that neither the plugins of
/// a host nor the hosts of a fleet fire together, and a restart changes nothing.
pub fn splay(host: &str, plugin: &str, interval: Duration) -> Duration {
    // FNV-1a with a final mix (the low bits of plain FNV of similar names are too alike).
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in host.bytes().chain([0]).chain(plugin.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    let share = (u128::from(hash) * interval.as_nanos()) >> 64;
    Duration::from_nanos_u128(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn phases_are_spread_evenly_and_stay_put() {
        let mut buckets = [0; 10];
        for n in 0..1000 {
            let at = splay("web-1", &format!("plugin_{n}"), 10 * S);
            assert!(at < 10 * S);
            buckets[at.as_secs() as usize] += 1;
        }
        assert!(buckets.iter().all(|n| (60..150).contains(n)), "{buckets:?}");
        assert_eq!(splay("a", "b", S), splay("a", "b", S));
        assert_ne!(splay("ab", "c", S), splay("a", "bc", S));
    }

    #[test]
    fn a_late_run_does_not_shift_those_after_it() {
        let every = Every { interval: 10 * S, phase: 3 * S };
        assert_eq!(every.first_at_or_after(Duration::ZERO), 3 * S);
        assert_eq!(every.first_at_or_after(4 * S), 13 * S);
        assert_eq!(every.first_at_or_after(13 * S), 13 * S);
        assert_eq!(every.next_after(13 * S, 14 * S), (23 * S, 0));
        assert_eq!(every.next_after(13 * S, 44 * S), (53 * S, 3));
    }
}
