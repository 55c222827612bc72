//! The only place that writes to the terminal. Data goes to stdout; talk goes to stderr.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anstyle::{AnsiColor, Style};

use super::text;

/// A line of data on stdout. A reader that went away (`| head`) is no error of ours: the caller
/// stops when this says so.
pub(crate) fn data(line: impl fmt::Display) -> io::Result<()> {
    make_way();
    writeln!(anstream::stdout(), "{line}")
}

/// Data that brings its own line ends.
pub(crate) fn raw(bytes: &[u8]) -> io::Result<()> {
    make_way();
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}

/// A line of talk on stderr. Nothing can be done about a stderr that is gone.
pub(crate) fn talk(line: impl fmt::Display) {
    make_way();
    let _closed = writeln!(anstream::stderr(), "{line}");
}

/// Whether a line is on the terminal that goes away.
static PASSING: Mutex<bool> = Mutex::new(false);

/// A line on stderr, which is a terminal, in the place of the last of this kind.
pub(crate) fn passing(line: &str) {
    let mut shown = PASSING.lock().unwrap_or_else(PoisonError::into_inner);
    let line = text::cut(line, stderr_width().saturating_sub(1));
    let mut stderr = io::stderr().lock();
    // Nothing can be done about a stderr that is gone.
    let _closed = write!(stderr, "\r\x1b[K{line}").and_then(|()| stderr.flush());
    *shown = true;
}

/// Takes away the line of [`passing`], so that another can be written.
pub(crate) fn make_way() {
    let mut shown = PASSING.lock().unwrap_or_else(PoisonError::into_inner);
    if std::mem::take(&mut *shown) {
        let mut stderr = io::stderr().lock();
        let _closed = write!(stderr, "\r\x1b[K").and_then(|()| stderr.flush());
    }
}

/// Lines that may wait for a slow reader of stderr; further ones are dropped, because nobody who
/// reads slowly, or not at all, may hold up the agent.
const WAITING: usize = 4096;

/// Writes to stderr from a thread of its own. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Background(SyncSender<Item>);

enum Item {
    Text(Vec<u8>),
    Flush(SyncSender<()>),
}

impl Background {
    pub(crate) fn start() -> io::Result<Self> {
        let (send, waiting) = sync_channel(WAITING);
        thread::Builder::new().name("stderr".to_owned()).spawn(move || {
            for item in waiting {
                match item {
                    Item::Text(text) => {
                        make_way();
                        let _closed = anstream::stderr().write_all(&text);
                    }
                    // Who asked may have stopped waiting.
                    Item::Flush(done) => drop(done.try_send(())),
                }
            }
        })?;
        Ok(Self(send))
    }

    /// One line.
    pub(crate) fn line(&self, mut line: String) {
        line.push('\n');
        let _full = self.0.try_send(Item::Text(line.into_bytes()));
    }

    /// Waits until what was said is written, but not for ever.
    pub(crate) fn flush(&self) {
        let (done, wait) = sync_channel(1);
        if self.0.try_send(Item::Flush(done)).is_ok() {
            let _slow = wait.recv_timeout(Duration::from_millis(500));
        }
    }
}

/// One event of the log, written as a whole.
pub(crate) struct Entry(Vec<u8>, Background);

impl Write for Entry {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let _full = self.1.0.try_send(Item::Text(std::mem::take(&mut self.0)));
    }
}

impl<'a> tracing_subscriber::fmt::MakeWriter<'a> for Background {
    type Writer = Entry;

    fn make_writer(&'a self) -> Entry {
        Entry(Vec::new(), self.clone())
    }
}

/// Whether a person reads stderr.
pub(crate) fn a_person_reads_stderr() -> bool {
    io::stderr().is_terminal()
}

/// Whether the terminal says that it can only print, a line after the other.
pub(crate) fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

/// Whether a person reads stdout.
pub(crate) fn a_person_reads_stdout() -> bool {
    io::stdout().is_terminal()
}

/// The columns of the terminal that stderr is; 80 where that cannot be told.
pub(crate) fn stderr_width() -> usize {
    columns(io::stderr()).unwrap_or(80)
}

/// The columns of the terminal that stdout is.
pub(crate) fn stdout_width() -> Option<usize> {
    columns(io::stdout())
}

/// Whether colours are wanted on stdout: it is a terminal, and neither `NO_COLOR` nor another such
/// variable says no.
pub(crate) fn stdout_has_colours() -> bool {
    anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never
}

fn columns(stream: impl std::os::fd::AsFd) -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(stream).ok()?;
    // A terminal that was never told its size has none.
    (size.ws_col > 0).then_some(usize::from(size.ws_col))
}

pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
pub(crate) const ODD: Style = AnsiColor::Yellow.on_default();
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
pub(crate) const FAINT: Style = Style::new().dimmed();
pub(crate) const STRONG: Style = Style::new().bold();

/// `text` in `style`; the colours are dropped where the stream is no terminal.
pub(crate) use text::paint;

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

/// A count in groups of three digits: `1 204`.
pub(crate) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// `one metric`, `2 metrics`.
pub(crate) fn count(n: u64, noun: &str) -> String {
    let end = match noun {
        _ if n == 1 => "",
        _ if noun.ends_with('s') => "es",
        _ => "s",
    };
    format!("{n} {noun}{end}")
}

/// Rows under a head, in columns as wide as what is in them; without colours, and without spaces at
/// the ends of lines.
pub(crate) fn table(head: Vec<String>, rows: Vec<Vec<String>>) -> Vec<String> {
    let head: Vec<String> = head.into_iter().map(|title| title.to_uppercase()).collect();
    let all: Vec<Vec<String>> = std::iter::once(head).chain(rows).collect();
    let count = all.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = all.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    all.iter().map(line).collect()
}
