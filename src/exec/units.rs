//! What a long-lived plugin prints, cut into parts: at line ends, never in the middle of a line, and
//! where it can be helped never in the middle of a value that spans lines.
//!
//! Of what the lines mean only this much is known: a line that begins with a bracket opens a value,
//! which ends at the line end where all its brackets are closed again.

use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime};

use crate::model::limits;

/// A slice is closed when this many bytes of whole lines are there.
pub(super) const SLICE: usize = 256 << 10;
/// A slice is closed when its first line is this old.
pub(super) const SLICE_AGE: Duration = Duration::from_secs(1);
/// A line may go on this many times its cap, or this many bytes, before it counts as endless.
const ENDLESS: u64 = 8;
const ENDLESS_BYTES: u64 = 8 << 20;

/// Now, by both clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) instant: Instant,
    pub(super) wall: SystemTime,
}

impl Moment {
    pub(super) fn now() -> Self {
        Self { instant: Instant::now(), wall: SystemTime::now() }
    }
}

/// Whole lines, and when they came.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Slice {
    pub(super) bytes: Vec<u8>,
    /// From each offset on, ascending.
    pub(super) arrivals: Vec<(usize, SystemTime)>,
    /// When its first line was whole.
    pub(super) since: Instant,
    pub(super) since_wall: SystemTime,
    /// Whether the last line was cut off.
    pub(super) cut: bool,
    /// After the first line or value that holds something.
    first: Option<usize>,
    /// At least as many as records.
    colons: usize,
}

impl Slice {
    pub(super) fn new(since: Moment) -> Self {
        Self {
            bytes: Vec::new(),
            arrivals: Vec::new(),
            since: since.instant,
            since_wall: since.wall,
            cut: false,
            first: None,
            colons: 0,
        }
    }

    /// Adds what came now.
    fn add(&mut self, bytes: &[u8], now: Moment) {
        if !bytes.is_empty() && self.arrivals.last().is_none_or(|(_, wall)| *wall != now.wall) {
            self.arrivals.push((self.bytes.len(), now.wall));
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Takes off what comes after the first `at` bytes.
    fn split_off(&mut self, at: usize) -> Self {
        let from = self.arrivals.partition_point(|(offset, _)| *offset <= at);
        let of_first = self.arrivals[..from].last().map(|(_, wall)| (0, *wall));
        let later = self.arrivals.split_off(from);
        Self {
            bytes: self.bytes.split_off(at),
            arrivals: of_first
                .into_iter()
                .chain(later.into_iter().map(|(offset, wall)| (offset - at, wall)))
                .collect(),
            since: self.since,
            since_wall: self.since_wall,
            cut: std::mem::take(&mut self.cut),
            first: None,
            colons: self.colons,
        }
    }
}

/// The lines that have not been reported yet.
pub(super) struct Units {
    cap: usize,
    /// Whole values and lines.
    done: Option<Slice>,
    /// What follows: the lines of a value that is still open, and a line without its end.
    open: Vec<u8>,
    /// After the last line feed in `open`.
    line: usize,
    /// When the first whole line in `open` came.
    open_since: Option<Moment>,
    scan: Scan,
    /// What is read belongs to a line over the cap; so much of it has been thrown away.
    skipping: Option<u64>,
    ready: VecDeque<Slice>,
}

impl Units {
    /// `cap` is the longest line, in bytes.
    pub(super) fn new(cap: u64) -> Self {
        Self {
            cap: usize::try_from(cap).unwrap_or(usize::MAX).max(1),
            done: None,
            open: Vec::new(),
            line: 0,
            open_since: None,
            scan: Scan::default(),
            skipping: None,
            ready: VecDeque::new(),
        }
    }

    /// Takes what was read.
    pub(super) fn push(&mut self, mut chunk: &[u8], now: Moment) {
        while !chunk.is_empty() {
            let feed = chunk.iter().position(|b| *b == b'\n');
            let (line, rest) = chunk.split_at(feed.map_or(chunk.len(), |at| at + 1));
            chunk = rest;
            if let Some(skipped) = &mut self.skipping {
                *skipped += line.len() as u64;
                if feed.is_some() {
                    self.skipping = None;
                }
                continue;
            }
            let content = line.len() - usize::from(feed.is_some());
            let room = self.cap.saturating_sub(self.open.len() - self.line);
            if content > room {
                self.open.extend_from_slice(&line[..room]);
                self.line = self.open.len();
                self.close_open(now);
                self.skipping = feed.is_none().then_some((content - room) as u64);
                if let Some(mut slice) = self.done.take() {
                    slice.cut = true;
                    self.ready.push_back(slice);
                }
                continue;
            }
            self.open.extend_from_slice(line);
            self.scan.read(line);
            if feed.is_some() {
                self.line = self.open.len();
                self.open_since.get_or_insert(now);
                self.end_line(now);
            }
        }
    }

    /// Whether a line has gone on for so long that it will not end.
    pub(super) fn is_endless(&self) -> bool {
        let most = (self.cap as u64).saturating_mul(ENDLESS).max(ENDLESS_BYTES);
        self.skipping.is_some_and(|skipped| skipped > most)
    }

    /// The next part that is complete.
    pub(super) fn next(&mut self) -> Option<Slice> {
        self.ready.pop_front()
    }

    /// The first value, or line that holds something: an answer.
    pub(super) fn take_first(&mut self) -> Option<Slice> {
        if let Some(mut slice) = self.ready.pop_front() {
            let rest =
                slice.first.filter(|at| *at < slice.bytes.len()).map(|at| slice.split_off(at));
            if let Some(rest) = rest {
                self.ready.push_front(rest);
            }
            return Some(slice);
        }
        let first = self.done.as_ref()?.first?;
        let mut slice = self.done.take()?;
        let rest = slice.split_off(first);
        self.done = (!rest.bytes.is_empty()).then_some(rest);
        Some(slice)
    }

    /// When the lines at hand are to be reported, if nothing else happens.
    pub(super) fn due(&self) -> Option<Instant> {
        let done = self.done.as_ref().map(|slice| slice.since);
        let since = done.or(self.open_since.map(|since| since.instant))?;
        Some(since + SLICE_AGE)
    }

    /// Makes a slice of the whole lines at hand; a value that is still open stays, if it is not all
    /// there is.
    pub(super) fn flush(&mut self, now: Moment) {
        if self.done.is_none() && self.line > 0 {
            self.close_open(now);
        }
        self.ready.extend(self.done.take());
    }

    /// All that is left, with the last line even if it has no end. `cut` says whether the program
    /// was cut off.
    pub(super) fn finish(&mut self, cut: bool, now: Moment) -> Slice {
        let torn = cut && !self.open.is_empty();
        self.line = self.open.len();
        self.close_open(now);
        let mut slice = self.done.take().unwrap_or_else(|| Slice::new(now));
        slice.cut = torn;
        slice
    }

    fn end_line(&mut self, now: Moment) {
        if !self.scan.is_open() {
            let colons = self.scan.colons;
            if let Some(done) = self.done.take_if(|done| done.colons + colons > limits::METRICS) {
                self.ready.push_back(done);
            }
            self.close_open(now);
        } else if self.open.len() >= SLICE.max(self.cap) {
            // So long a value is not waited for.
            self.ready.extend(self.done.take());
            self.close_open(now);
        }
        self.ready.extend(self.done.take_if(|done| done.bytes.len() >= SLICE));
    }

    /// The whole lines of `open` are done, whether a value in them is or not.
    fn close_open(&mut self, now: Moment) {
        let since = self.open_since.take().unwrap_or(now);
        if self.line == 0 {
            return;
        }
        let holds_something = !self.open[..self.line].trim_ascii().is_empty();
        let done = self.done.get_or_insert_with(|| Slice::new(since));
        done.add(&self.open[..self.line], now);
        done.colons += self.scan.colons;
        if holds_something {
            done.first.get_or_insert(done.bytes.len());
        }
        self.open.drain(..self.line);
        self.line = 0;
        self.scan = Scan::default();
        self.scan.read(&self.open);
    }
}

/// How far the lines in `open` are from being a whole value.
#[derive(Debug, Clone, Copy, Default)]
struct Scan {
    depth: u32,
    line: Line,
    in_string: bool,
    escaped: bool,
    colons: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Line {
    /// Nothing but white space so far.
    #[default]
    Blank,
    /// Part of a value.
    Value,
    /// Something else; ends with the line.
    Text,
}

impl Scan {
    /// Reads on; at most one line feed, at the end.
    fn read(&mut self, piece: &[u8]) {
        for &byte in piece {
            if self.in_string {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => self.in_string = false,
                    _ => {}
                }
                continue;
            }
            if self.line == Line::Text {
                return;
            }
            match byte {
                b'{' | b'[' => {
                    self.line = Line::Value;
                    self.depth += 1;
                }
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                b'"' if self.depth > 0 => self.in_string = true,
                b':' => self.colons += 1,
                // White space, and a byte order mark.
                b' ' | b'\t' | b'\r' | b'\n' | 0xef | 0xbb | 0xbf => {}
                _ if self.depth == 0 && self.line == Line::Blank => self.line = Line::Text,
                _ => {}
            }
        }
    }

    /// Whether a value is open after a line end. No string goes on over one.
    fn is_open(&self) -> bool {
        self.depth > 0 && !self.in_string
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        Moment { instant: Instant::now(), wall }
    }

    fn parts(units: &mut Units) -> Vec<String> {
        std::iter::from_fn(|| units.next())
            .map(|slice| String::from_utf8(slice.bytes).unwrap())
            .collect()
    }

    #[test]
    fn lines_wait_for_their_end_and_come_with_their_time() {
        let mut units = Units::new(100);
        units.push(b"{\"a\":1}\n{\"b\"", at(1));
        assert!(units.due().is_some());
        units.push(b":2}\n{\"c\":", at(5));
        units.flush(at(9));
        let slice = units.next().unwrap();
        assert_eq!(slice.bytes, b"{\"a\":1}\n{\"b\":2}\n");
        assert_eq!(slice.arrivals, [(0, at(1).wall), (8, at(5).wall)]);
        assert!(units.due().is_none() && units.next().is_none());
        assert_eq!(units.finish(false, at(9)).bytes, b"{\"c\":");
    }

    #[test]
    fn a_value_that_spans_lines_is_not_cut_unless_it_never_ends() {
        let mut units = Units::new(100);
        units.push(b"{\"a\":1}\n{\n  \"b\": [1,\n", at(1));
        units.flush(at(2));
        assert_eq!(parts(&mut units), ["{\"a\":1}\n"]);
        units.push(b"2]\n}\n[\n", at(2));
        units.flush(at(3));
        assert_eq!(parts(&mut units), ["{\n  \"b\": [1,\n2]\n}\n"]);
        // Nothing else is there: it is not waited for any longer.
        units.flush(at(4));
        assert_eq!(parts(&mut units), ["[\n"]);
        units.push(b"{\"c\":3}\n", at(5));
        units.flush(at(6));
        assert_eq!(parts(&mut units), ["{\"c\":3}\n"]);
    }

    #[test]
    fn brackets_in_strings_and_in_other_lines_open_nothing() {
        let mut units = Units::new(100);
        for line in ["{\"a\":\"[{\\\"\"}\n", "warning: [x\n", "{\"broken\": \"\n", "\u{feff}[]\n"] {
            units.push(line.as_bytes(), at(1));
            assert!(units.open.is_empty(), "{line}");
        }
    }

    #[test]
    fn a_line_over_the_cap_ends_its_slice_and_reading_goes_on_after_it() {
        let mut units = Units::new(10);
        units.push(b"{\"a\":1}\n0123456789abc", at(1));
        let slice = units.next().unwrap();
        assert_eq!((&slice.bytes[..], slice.cut), (&b"{\"a\":1}\n0123456789"[..], true));
        units.push(b"def", at(1));
        units.push(b"ghi\n{\"b\":2}\n", at(2));
        units.flush(at(2));
        let slice = units.next().unwrap();
        assert_eq!((&slice.bytes[..], slice.cut), (&b"{\"b\":2}\n"[..], false));
        // At the cap exactly is fine, and a long line with its end in the same read costs itself only.
        units.push(b"0123456789\n0123456789x\nend\n", at(3));
        units.flush(at(3));
        assert_eq!(parts(&mut units), ["0123456789\n0123456789", "end\n"]);
        assert!(!units.is_endless());
        for _ in 0..200 {
            units.push(&vec![b'x'; 65536], at(4));
        }
        assert!(units.is_endless());
        assert!(units.open.len() <= 10);
    }

    #[test]
    fn an_answer_is_the_first_value_and_the_rest_stays() {
        let mut units = Units::new(100);
        units.push(b"\n", at(1));
        assert!(units.take_first().is_none(), "a blank line says nothing");
        units.push(b"{\n\"a\":", at(1));
        assert!(units.take_first().is_none());
        units.push(b"1}\n{\"b\":2}\nx", at(2));
        let slice = units.take_first().unwrap();
        assert_eq!(slice.bytes, b"\n{\n\"a\":1}\n");
        units.flush(at(3));
        let rest = units.next().unwrap();
        assert_eq!((&rest.bytes[..], rest.arrivals), (&b"{\"b\":2}\n"[..], vec![(0, at(2).wall)]));
    }

    #[test]
    fn a_slice_is_closed_by_bytes_and_before_it_holds_too_many_records() {
        let mut units = Units::new(1000);
        let line = format!("{{\"a\":\"{}\"}}\n", "x".repeat(990));
        for _ in 0..1000 {
            units.push(line.as_bytes(), at(1));
        }
        let sizes: Vec<usize> =
            std::iter::from_fn(|| units.next()).map(|s| s.bytes.len()).collect();
        assert_eq!(sizes.len(), 3);
        assert!(sizes.iter().all(|size| (SLICE..SLICE + 1000).contains(size)), "{sizes:?}");
        units.flush(at(2));
        assert_eq!(sizes.iter().sum::<usize>() + units.next().unwrap().bytes.len(), 1000 * 999);
        for _ in 0..25_000 {
            units.push(b"{\"a\":1}\n", at(3));
        }
        let lines: Vec<usize> =
            std::iter::from_fn(|| units.next()).map(|s| s.bytes.len() / 8).collect();
        assert_eq!(lines, [10_000, 10_000]);
    }
}
