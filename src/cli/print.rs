//! The only place that writes to the terminal. Data goes to stdout; talk goes to stderr.

use std::fmt;
use std::io::{self, IsTerminal, Write};

use anstyle::{AnsiColor, Style};

/// A line of data on stdout. A reader that went away (`| head`) is no error of ours: the caller
/// stops when this says so.
pub(crate) fn data(line: impl fmt::Display) -> io::Result<()> {
    writeln!(anstream::stdout(), "{line}")
}

/// Data that brings its own line ends.
pub(crate) fn raw(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}

/// A line of talk on stderr. Nothing can be done about a stderr that is gone.
pub(crate) fn talk(line: impl fmt::Display) {
    let _closed = writeln!(anstream::stderr(), "{line}");
}

/// Whether a person reads stderr.
pub(crate) fn a_person_reads_stderr() -> bool {
    io::stderr().is_terminal()
}

/// Whether a person reads stdout.
pub(crate) fn a_person_reads_stdout() -> bool {
    io::stdout().is_terminal()
}

pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
pub(crate) const ODD: Style = AnsiColor::Yellow.on_default();
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
pub(crate) const FAINT: Style = Style::new().dimmed();
pub(crate) const STRONG: Style = Style::new().bold();

/// `text` in `style`; the colours are dropped where the stream is no terminal.
pub(crate) fn paint(style: Style, text: impl fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

/// A count of bytes for people: `1.2 MB`.
pub(crate) fn bytes(count: u64) -> String {
    let mut value = count as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if value < 1000.0 {
            return if unit == "B" { format!("{count} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1000.0;
    }
    format!("{value:.1} TB")
}

/// Seconds for people: `12 ms`, `1.50 s`.
pub(crate) fn seconds(seconds: f64) -> String {
    if seconds < 0.001 {
        format!("{:.0} µs", seconds * 1e6)
    } else if seconds < 1.0 {
        format!("{:.0} ms", seconds * 1e3)
    } else {
        format!("{seconds:.2} s")
    }
}

/// `one metric`, `2 metrics`.
pub(crate) fn count(n: u64, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}
