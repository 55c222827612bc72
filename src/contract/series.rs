//! What is remembered of a plugin from run to run: which series it has, and the types that its
//! undeclared metrics turned out to have. Both by a keyed 64-bit hash, so that a plugin with 10 000
//! series costs some hundred kilobytes and nobody can aim for a collision.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};

use foldhash::quality::RandomState;

use crate::model::{MetricType, Tags, limits};

/// Hashes of a metric's name, and of its name with its tags.
#[derive(Debug, Clone, Copy)]
pub(super) struct Identity {
    pub(super) name: u64,
    pub(super) series: u64,
}

/// What admitting one more record of a series came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admitted {
    Yes,
    /// The same series had the same time in this run before.
    Duplicate,
    /// It is new, and there is no room for another.
    TooMany,
}

/// The memory of one plugin.
#[derive(Debug, Default)]
pub(super) struct Memory {
    keys: RandomState,
    series: HashMap<u64, Last, BuildHasherDefault<Ready>>,
    kinds: HashMap<u64, Learnt, BuildHasherDefault<Ready>>,
    /// Further times of series that came more than once in this run.
    times: HashSet<(u64, i64)>,
    run: u32,
}

/// What is known of an undeclared metric.
#[derive(Debug, Clone, Copy)]
struct Learnt {
    kind: MetricType,
    /// A number without a stated type had a fraction once: such numbers are floats for good.
    fractions: bool,
}

/// When a series came last.
#[derive(Debug, Clone, Copy)]
struct Last {
    time: i64,
    run: u32,
}

impl Memory {
    /// A new run starts.
    pub(super) fn start_run(&mut self) {
        self.run = self.run.wrapping_add(1);
        self.times.clear();
    }

    /// The identity of a metric.
    pub(super) fn identity(&self, name: &str, tags: &Tags) -> Identity {
        let mut hasher = self.keys.build_hasher();
        hasher.write(name.as_bytes());
        let name = hasher.finish();
        for (key, value) in tags.iter() {
            // Neither may contain control characters, so these bytes keep them apart.
            hasher.write_u8(0);
            hasher.write(key.as_bytes());
            hasher.write_u8(1);
            hasher.write(value.as_bytes());
        }
        Identity { name, series: hasher.finish() }
    }

    /// Admits a record of a series at `time`, in milliseconds.
    pub(super) fn admit(&mut self, series: u64, time: i64) -> Admitted {
        let full = self.series.len() >= limits::SERIES;
        match self.series.entry(series) {
            Entry::Vacant(_) if full => Admitted::TooMany,
            Entry::Vacant(place) => {
                place.insert(Last { time, run: self.run });
                Admitted::Yes
            }
            Entry::Occupied(mut place) if place.get().run != self.run => {
                place.insert(Last { time, run: self.run });
                Admitted::Yes
            }
            Entry::Occupied(place) => {
                if place.get().time == time || !self.times.insert((series, time)) {
                    Admitted::Duplicate
                } else {
                    Admitted::Yes
                }
            }
        }
    }

    /// The type that the undeclared metric had last.
    pub(super) fn kind(&self, name: u64) -> Option<MetricType> {
        self.kinds.get(&name).map(|l| l.kind)
    }

    /// Whether the undeclared metric is a float for good.
    pub(super) fn has_fractions(&self, name: u64) -> bool {
        self.kinds.get(&name).is_some_and(|l| l.fractions)
    }

    /// Remembers the type of an undeclared metric.
    pub(super) fn learn(&mut self, name: u64, kind: MetricType, fractions: bool) {
        let learnt = self.kinds.entry(name).or_insert(Learnt { kind, fractions });
        learnt.kind = kind;
        learnt.fractions |= fractions;
    }

    /// How many series there are.
    pub(super) fn series(&self) -> usize {
        self.series.len()
    }
}

/// A hasher for keys that are hashes already.
#[derive(Debug, Default)]
struct Ready(u64);

impl Hasher for Ready {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Only `u64` keys are used; this keeps the trait's promise all the same.
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u64(&mut self, n: u64) {
        self.0 = n;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_series_may_come_again_at_another_time_or_in_another_run() {
        let mut memory = Memory::default();
        memory.start_run();
        assert_eq!(memory.admit(7, 1), Admitted::Yes);
        assert_eq!(memory.admit(7, 1), Admitted::Duplicate);
        assert_eq!(memory.admit(7, 2), Admitted::Yes);
        assert_eq!(memory.admit(7, 2), Admitted::Duplicate);
        assert_eq!(memory.admit(7, 1), Admitted::Duplicate);
        memory.start_run();
        assert_eq!(memory.admit(7, 1), Admitted::Yes);
        assert_eq!(memory.series(), 1);
    }

    #[test]
    fn tags_tell_series_apart() {
        let memory = Memory::default();
        let tags = |pairs: &[(&str, &str)]| pairs.iter().copied().collect::<Tags>();
        let plain = memory.identity("a", &tags(&[]));
        let x = memory.identity("a", &tags(&[("k", "x")]));
        let shifted = memory.identity("a", &tags(&[("kx", "")]));
        assert_eq!(plain.name, x.name);
        assert_ne!(plain.series, x.series);
        assert_ne!(x.series, shifted.series);
        assert_eq!(x.series, memory.identity("a", &tags(&[("k", "x")])).series);
    }
}
