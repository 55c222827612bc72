//! The largest memory of a program, where that can be known.
//!
//! A child has the agent's memory until it executes its program, and the kernel's figure begins with the
//! most that the agent ever had. One that is not above that says nothing of the program.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::model::Outcome;

/// The kernel counts pages in batches: figures as near to each other as this are the same.
const BATCH: u64 = 1 << 20;

/// The most memory that the agent has had, as of when it was last looked at, in bytes.
static PEAK: AtomicU64 = AtomicU64::new(0);

/// What a report's largest memory, in bytes, says of the program; `None` where it says nothing. Of a
/// program that lives it was asked by its own process, and is its own.
pub fn memory_of_run(outcome: &Outcome, max_rss: u64) -> Option<u64> {
    match outcome {
        Outcome::Answered => Some(max_rss),
        _ => of_program(max_rss),
    }
}

/// What the kernel's figure, in bytes, says of a program that has ended.
pub(super) fn of_program(max_rss: u64) -> Option<u64> {
    // The peak never falls, so what is below an old one is below today's.
    if max_rss <= PEAK.load(Ordering::Relaxed) + BATCH {
        return None;
    }
    let peak = own_peak()?;
    PEAK.store(peak, Ordering::Relaxed);
    (max_rss > peak + BATCH).then_some(max_rss)
}

fn own_peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    peak.trim().strip_suffix(" kB")?.parse().ok().map(|kib: u64| kib << 10)
}
