//! A line that says that long work goes on, for a person who waits.
//!
//! It appears on stderr after a second, where that is a terminal and nobody asked for quiet; it goes
//! away when the work ends, or anything else is written. Scripts see none of it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::{brief, print};

/// What takes less than this needs no word, and how often there is a new one.
const PAUSE: Duration = Duration::from_secs(1);

static QUIET: AtomicBool = AtomicBool::new(false);
/// There is one line, and who came first has it.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// From here on nothing is said.
pub(crate) fn be_quiet() {
    QUIET.store(true, Ordering::Relaxed);
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Bytes,
    Rows,
}

/// Work that goes on until this is dropped.
pub(crate) struct Progress {
    shared: Arc<Shared>,
    teller: Option<JoinHandle<()>>,
}

struct Shared {
    count: AtomicU64,
    over: Mutex<bool>,
    told: Condvar,
}

impl Progress {
    /// Work as people call it, such as `checking the spool`.
    pub(crate) fn of(what: impl Into<String>, unit: Unit) -> Self {
        let shared = Arc::new(Shared {
            count: AtomicU64::new(0),
            over: Mutex::new(false),
            told: Condvar::new(),
        });
        let can_be_shown = print::a_person_reads_stderr() && !print::is_dumb();
        let wanted = can_be_shown && !QUIET.load(Ordering::Relaxed);
        if !wanted || TAKEN.swap(true, Ordering::AcqRel) {
            return Self { shared, teller: None };
        }
        let (what, for_it) = (what.into(), Arc::clone(&shared));
        let teller = thread::Builder::new().name("progress".to_owned()).spawn(move || {
            for_it.tell(&what, unit);
        });
        if teller.is_err() {
            TAKEN.store(false, Ordering::Release);
        }
        Self { shared, teller: teller.ok() }
    }

    /// The same for work whose result is streamed to stdout: with that on the terminal as well, one
    /// would be written into the other.
    #[cfg(feature = "hub")]
    pub(crate) fn beside_stdout(what: impl Into<String>, unit: Unit) -> Option<Self> {
        (!print::a_person_reads_stdout()).then(|| Self::of(what, unit))
    }

    /// So many more are done.
    pub(crate) fn add(&self, n: u64) {
        self.shared.count.fetch_add(n, Ordering::Relaxed);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        *self.shared.over.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.shared.told.notify_one();
        if let Some(teller) = self.teller.take() {
            // It cannot panic but by a defect, which has been said then.
            let _defect = teller.join();
            TAKEN.store(false, Ordering::Release);
        }
    }
}

impl Shared {
    fn tell(&self, what: &str, unit: Unit) {
        let begin = Instant::now();
        let mut over = self.over.lock().unwrap_or_else(PoisonError::into_inner);
        while !*over {
            let waited = self.told.wait_timeout_while(over, PAUSE, |over| !*over);
            over = waited.unwrap_or_else(PoisonError::into_inner).0;
            if !*over {
                let count = self.count.load(Ordering::Relaxed);
                print::passing(&line(what, unit, count, begin.elapsed()));
            }
        }
        print::make_way();
    }
}

fn line(what: &str, unit: Unit, count: u64, passed: Duration) -> String {
    let count = match unit {
        _ if count == 0 => String::new(),
        Unit::Bytes => format!("{}, ", print::bytes(count)),
        Unit::Rows => format!("{}, ", print::grouped(count)),
    };
    format!("{what} … {count}{}", brief::seconds(passed.as_secs_f64().floor()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_what_how_much_and_for_how_long() {
        let line =
            |unit, count, seconds| line("exporting", unit, count, Duration::from_millis(seconds));
        assert_eq!(line(Unit::Bytes, 0, 1003), "exporting … 1s");
        assert_eq!(line(Unit::Bytes, 1_200_000, 12_900), "exporting … 1.2 MB, 12s");
        assert_eq!(line(Unit::Rows, 12_345, 185_000), "exporting … 12 345, 3m05");
    }
}
