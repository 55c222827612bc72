use crate::model::Seq;
use crate::spool::{Inspector, SpoolError};

use super::args::{ConfigArgs, SpoolCommand};
use super::exit::{Exit, Failure};
use super::load;
use super::print::{self, BAD, GOOD, STRONG, paint};
use super::progress::{Progress, Unit};

/// Reports that are read at a time.
const PAGE: usize = 256;

/// Looks at what waits on disk; works while an agent runs, and changes nothing.
pub(crate) fn run(command: &SpoolCommand) -> Result<Exit, Failure> {
    match command {
        SpoolCommand::Status { config, json } => status(&open(config)?, *json),
        SpoolCommand::Ls { config, plugin, limit, json } => {
            list(&open(config)?, plugin.as_deref(), *limit, *json)
        }
        SpoolCommand::Cat { config, seqs } => cat(&open(config)?, seqs),
        SpoolCommand::Verify { config } => verify(&open(config)?),
    }
}

fn open(args: &ConfigArgs) -> Result<Inspector, Failure> {
    Inspector::open(&load::data_dir(args)?).map_err(|e| failure(&e))
}

fn failure(error: &SpoolError) -> Failure {
    Failure::from_error(Exit::Disk, error)
}

fn status(spool: &Inspector, json: bool) -> Result<Exit, Failure> {
    let status = spool.status().map_err(|e| failure(&e))?;
    if json {
        let text =
            serde_json::to_string(&status).map_err(|e| Failure::from_error(Exit::Internal, &e))?;
        out(text);
        return Ok(Exit::Ok);
    }
    out(format!("{} {}", paint(STRONG, "spool"), status.path.display()));
    out(format!(
        "  {} waiting, file {}, quarantine {} ({})",
        print::bytes(status.live_bytes),
        print::bytes(status.file_bytes),
        print::count(status.quarantine_items, "item"),
        print::bytes(status.quarantine_bytes)
    ));
    let oldest = status.oldest.map_or_else(|| "none".to_owned(), |seq| seq.to_string());
    out(format!("  oldest report {oldest}, last number given {}", status.highest));
    out(paint(STRONG, "plugins (records)"));
    for (name, plugin) in &status.ledger.plugins {
        let mut line =
            format!("  {name}: {} produced = {} accepted", plugin.produced, plugin.accepted);
        for (code, count) in &plugin.rejected {
            line.push_str(&format!(" + {count} {code}"));
        }
        line.push_str(&format!("; {} runs, {} skipped", plugin.runs, plugin.skipped));
        out(line);
    }
    out(paint(STRONG, "outputs (records)"));
    for (name, output) in &status.ledger.outputs {
        let mut line = format!(
            "  {name}: {} accepted = {} delivered + {} waiting",
            output.accepted, output.delivered, output.spooled
        );
        if output.filtered > 0 {
            line.push_str(&format!(" + {} filtered", output.filtered));
        }
        for (reason, count) in &output.evicted {
            line.push_str(&format!(
                " + {}",
                paint(BAD, format!("{count} lost ({})", reason.as_str()))
            ));
        }
        out(line);
    }
    Ok(Exit::Ok)
}

fn list(
    spool: &Inspector,
    plugin: Option<&str>,
    limit: usize,
    json: bool,
) -> Result<Exit, Failure> {
    let mut after = Seq(0);
    let mut left = limit;
    if !json && print::a_person_reads_stdout() {
        out(paint(STRONG, format!("{:>10} {:>8} {:>8}  plugin", "seq", "records", "bytes")));
    }
    while left > 0 {
        let page = spool.list(after, PAGE).map_err(|e| failure(&e))?;
        let Some(last) = page.last() else { break };
        after = last.seq;
        for report in &page {
            if left == 0 || plugin.is_some_and(|name| report.plugin.as_deref() != Some(name)) {
                continue;
            }
            left -= 1;
            let name = report.plugin.as_deref().unwrap_or("?");
            if json {
                let run = report.run.as_deref();
                out(serde_json::json!({
                    "seq": report.seq, "plugin": name, "run": run,
                    "records": report.records, "bytes": report.bytes,
                }));
            } else {
                out(format!(
                    "{:>10} {:>8} {:>8}  {name}",
                    report.seq.0, report.records, report.bytes
                ));
            }
        }
    }
    Ok(Exit::Ok)
}

fn cat(spool: &Inspector, seqs: &[u64]) -> Result<Exit, Failure> {
    let mut exit = Exit::Ok;
    let mut one = |seq: Seq| -> Result<bool, Failure> {
        let Some(mut body) = spool.get(seq).map_err(|e| failure(&e))? else {
            print::talk(format!("there is no report {seq} (any more)"));
            exit = Exit::Finding;
            return Ok(true);
        };
        body.push(b'\n');
        Ok(print::raw(&body).is_ok())
    };
    for seq in seqs {
        if !one(Seq(*seq))? {
            return Ok(Exit::Ok);
        }
    }
    if seqs.is_empty() {
        let mut after = Seq(0);
        loop {
            let page = spool.list(after, PAGE).map_err(|e| failure(&e))?;
            let Some(last) = page.last() else { break };
            after = last.seq;
            for report in &page {
                // Delivered meanwhile: not a finding.
                if let Some(mut body) = spool.get(report.seq).map_err(|e| failure(&e))? {
                    body.push(b'\n');
                    if print::raw(&body).is_err() {
                        return Ok(Exit::Ok);
                    }
                }
            }
        }
    }
    Ok(exit)
}

fn verify(spool: &Inspector) -> Result<Exit, Failure> {
    let progress = Progress::of("checking the spool", Unit::Rows);
    let found = spool.verify().map_err(|e| failure(&e))?;
    drop(progress);
    for finding in &found.findings {
        out(format!("{} {finding}", paint(BAD, "bad")));
    }
    let reports = print::count(found.reports, "report");
    if found.findings.is_empty() {
        print::talk(format!("{} {reports}, and the ledger adds up", paint(GOOD, "ok")));
        Ok(Exit::Ok)
    } else {
        print::talk(format!(
            "{} in {reports}; the agent moves a damaged file aside by itself and goes on",
            print::count(found.findings.len() as u64, "finding")
        ));
        Ok(Exit::Finding)
    }
}

fn out(text: impl std::fmt::Display) {
    // A reader that went away has seen enough.
    let _closed = print::data(text);
}
