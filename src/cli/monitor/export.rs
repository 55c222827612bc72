//! Writing all that a monitor has to a file, before it goes.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde_json::Value;

use crate::cli::exit::{Exit, Failure};
use crate::cli::remote::Remote;

use super::path;
use super::results::{each, each_csv};

/// From the first time that there is to the last: the years -9999 and 9999 in milliseconds.
const EVER: &str = "?limit=10000&from=-377705116800000&to=253402207199999";

/// Writes a new file: all results as CSV, or the monitor with all results and additional results as
/// one JSON document. Says how many results that were. When it is done it is on disk.
pub(super) fn write(remote: &Remote, monitor: &Value, file: &Path) -> Result<u64, Failure> {
    let failed = |error: io::Error| {
        Failure::new(Exit::Disk, format!("cannot write {}: {error}", file.display()))
    };
    let open = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    let mut out = BufWriter::new(open.map_err(failed)?);
    let of = path(&monitor["id"].to_string());
    let csv = file.extension().is_some_and(|end| end.eq_ignore_ascii_case("csv"));
    let mut wrong: Option<io::Error> = None;
    let count = if csv {
        let mut rows = 0;
        each_csv(remote, &format!("{of}/results{EVER}"), |text| {
            rows += 1;
            keep(&mut wrong, out.write_all(text))
        })?;
        monitor["held"]["results"].as_u64().unwrap_or(rows)
    } else {
        document(remote, monitor, &of, &mut out, &mut wrong)?
    };
    if let Some(error) = wrong {
        return Err(failed(error));
    }
    let done = out.into_inner().map_err(io::IntoInnerError::into_error);
    done.and_then(|file: File| file.sync_all()).map_err(failed)?;
    Ok(count)
}

/// `{"monitor": …, "results": […], "additional": […]}`, with a row in each line.
fn document(
    remote: &Remote,
    monitor: &Value,
    of: &str,
    out: &mut impl Write,
    wrong: &mut Option<io::Error>,
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
        each(remote, &format!("{of}/{what}{EVER}"), |rows| {
            for row in rows {
                if !keep(wrong, write!(out, "{separator}{row}")) {
                    return false;
                }
                separator = ",\n";
                count += u64::from(at == 0);
            }
            true
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
