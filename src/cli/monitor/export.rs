//! Writing all that a monitor has to a file, before it goes.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde_json::Value;

use crate::cli::exit::{Exit, Failure};
use crate::cli::print;
use crate::cli::progress::{Progress, Unit};
use crate::cli::remote::Remote;

use super::pages::{each, each_csv};
use super::path;

/// From the first time that there is to the last: the years -9999 and 9999 in milliseconds.
const EVER: &str = "?limit=10000&from=-377705116800000&to=253402207199999";

/// A new file for all that a monitor has.
pub(super) struct Export<'a> {
    path: &'a Path,
    file: File,
}

impl<'a> Export<'a> {
    /// Makes the file, which must not be there yet.
    pub(super) fn create(path: &'a Path) -> Result<Self, Failure> {
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        Ok(Self { path, file: made.map_err(|error| failed(path, &error))? })
    }

    /// Writes all results as CSV, or the monitor with all results and additional results as one JSON
    /// document. Gives how many results were written; then they are on disk.
    pub(super) fn write(self, remote: &Remote, monitor: &Value) -> Result<u64, Failure> {
        let progress = Progress::of("exporting", Unit::Rows);
        let mut out = BufWriter::new(self.file);
        let of = path(&monitor["id"].to_string());
        let mut wrong: Option<io::Error> = None;
        let count = if is_csv(self.path) {
            fits_csv(monitor)?;
            let mut lines = Lines::default();
            each_csv(remote, &format!("{of}/results{EVER}"), |text| {
                let before = lines.count;
                lines.see(text);
                progress.add(lines.count - before);
                keep(&mut wrong, out.write_all(text))
            })?;
            // The first has the names of the columns.
            lines.count.saturating_sub(1)
        } else {
            document(remote, monitor, &of, &mut out, &mut wrong, &progress)?
        };
        if let Some(error) = wrong {
            return Err(failed(self.path, &error));
        }
        let done = out.into_inner().map_err(io::IntoInnerError::into_error);
        done.and_then(|file: File| file.sync_all()).map_err(|error| failed(self.path, &error))?;
        Ok(count)
    }
}

/// Whether a file of this name is to be CSV.
pub(super) fn is_csv(file: &Path) -> bool {
    file.extension().is_some_and(|end| end.eq_ignore_ascii_case("csv"))
}

/// Refuses a monitor with something that CSV has no place for, and that would be lost.
pub(super) fn fits_csv(monitor: &Value) -> Result<(), Failure> {
    let additional = monitor["held"]["additional"].as_u64().unwrap_or(0);
    if additional == 0 {
        return Ok(());
    }
    let text = format!(
        "the monitor has {}, which CSV has no place for: export it to a file that ends in .json",
        print::count(additional, "additional result")
    );
    Err(Failure::new(Exit::Usage, text))
}

fn failed(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Exit::Disk, format!("cannot write {}: {error}", path.display()))
}

/// Counts the lines of CSV that comes in pieces; line breaks within quotes end none.
#[derive(Default)]
struct Lines {
    count: u64,
    quoted: bool,
}

impl Lines {
    fn see(&mut self, text: &[u8]) {
        for byte in text {
            match byte {
                // A quote within quotes is written twice, which changes nothing.
                b'"' => self.quoted = !self.quoted,
                b'\n' if !self.quoted => self.count += 1,
                _ => {}
            }
        }
    }
}

/// `{"monitor": …, "results": […], "additional": […]}`, with a row in each line.
fn document(
    remote: &Remote,
    monitor: &Value,
    of: &str,
    out: &mut impl Write,
    wrong: &mut Option<io::Error>,
    progress: &Progress,
) -> Result<u64, Failure> {
    let mut count = 0;
    if !keep(wrong, write!(out, "{{\"monitor\": {monitor},\n\"results\": [")) {
        return Ok(0);
    }
    for (at, what) in ["results", "additional"].into_iter().enumerate() {
        if at == 1 && !keep(wrong, write!(out, "],\n\"additional\": [")) {
            return Ok(count);
        }
        let mut separator = "\n";
        each(remote, &format!("{of}/{what}{EVER}"), |row| {
            let written = keep(wrong, write!(out, "{separator}{row}"));
            separator = ",\n";
            count += u64::from(written && at == 0);
            progress.add(1);
            written
        })?;
    }
    keep(wrong, writeln!(out, "]}}"));
    Ok(count)
}

/// Keeps what went wrong first. Says whether all is well.
fn keep(wrong: &mut Option<io::Error>, done: io::Result<()>) -> bool {
    match done {
        Ok(()) => wrong.is_none(),
        Err(error) => {
            wrong.get_or_insert(error);
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_across_pieces_and_not_within_quotes() {
        let text = b"time,s\n1,\"a\nb \"\"c\"\"\n\"\n2,\n";
        for size in 1..text.len() {
            let mut lines = Lines::default();
            text.chunks(size).for_each(|piece| lines.see(piece));
            assert_eq!(lines.count, 3, "{size}");
        }
    }
}
