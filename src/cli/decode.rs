use std::fs::File;
use std::io::Read;
use std::sync::Arc;
use std::time::SystemTime;

use crate::agent::report::{Facts, report};
use crate::config::Env;
use crate::contract::{Contract, Judge};
use crate::decode::Format;
use crate::exec::Run;
use crate::model::{Outcome, RunId, Tags, Usage};

use super::args::DecodeArgs;
use super::exit::{Exit, Failure};
use super::print;

/// Most bytes that are read: eight times a plugin's cap.
const MOST: u64 = 8 << 20;

/// Reads a plugin's output and prints the report that it makes.
pub(crate) fn run(args: &DecodeArgs) -> Result<Exit, Failure> {
    let format: Format = args.format.parse().map_err(|e| Failure::from_error(Exit::Usage, &e))?;
    let stdout = read(args)?;
    let name = args.file.as_ref().and_then(|path| path.file_stem()).and_then(|stem| stem.to_str());
    let plugin = crate::model::nearest_name(name.unwrap_or("stdin"));
    let plugin = plugin.parse().map_err(|e| Failure::from_error(Exit::Usage, &e))?;
    let run = Run {
        id: RunId::new(),
        plugin,
        started: SystemTime::now(),
        lag: std::time::Duration::ZERO,
        took: std::time::Duration::ZERO,
        outcome: Outcome::Exited { code: args.exit_code },
        usage: Usage { stdout: stdout.len() as u64, ..Usage::default() },
        stdout,
        stderr: Vec::new(),
        skipped: 0,
        leftovers: 0,
        limit: None,
        part: None,
        notes: Vec::new(),
    };
    let mut judge = Judge::new(Arc::new(Contract::default()), Tags::new());
    let facts = Facts {
        host: Env::system().host,
        key: None,
        interval: None,
        format,
        buffering: String::new(),
        path: String::new(),
        user: None,
    };
    let report = report(run, &mut judge, &facts).report;
    let text =
        serde_json::to_string(&report).map_err(|e| Failure::from_error(Exit::Internal, &e))?;
    // A reader that went away has seen enough.
    let _closed = print::data(text);
    let refused = report.counts.rejected_total() > 0;
    Ok(if refused { Exit::Finding } else { Exit::Ok })
}

fn read(args: &DecodeArgs) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let (name, read) = match &args.file {
        None => {
            ("standard input".to_owned(), std::io::stdin().take(MOST + 1).read_to_end(&mut bytes))
        }
        Some(path) => {
            let file = File::open(path);
            let read = file.and_then(|file| file.take(MOST + 1).read_to_end(&mut bytes));
            (path.display().to_string(), read)
        }
    };
    read.map_err(|e| Failure::new(Exit::Input, format!("cannot read {name}: {e}")))?;
    if bytes.len() as u64 > MOST {
        let text = format!("{name} has over {MOST} bytes, more than a run may print");
        return Err(Failure::new(Exit::Input, text));
    }
    Ok(bytes)
}
