//! The contract that a report may bring: looked through member by member, and kept as it came.

use std::str::FromStr;

use crate::hub::json::{Open, Read, Reader, wrong};
use crate::model::{MetricType, ToldContract, limits};

use super::read::{checked, mark, seconds, unknown, word};
use super::text;

/// Longest cron expression, in bytes.
const CRON: usize = 256;

const CONTRACT: &[&str] = &[
    "metrics", "strict", "schema", "timeout", // These may be left out.
    "omitted", "interval", "cron", "pause",
];
const DECLARED: &[&str] =
    &["type", "unit", "label", "required", "warn", "crit", "min", "max", "values"];

/// What a plugin declares.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Contract<'a> {
    /// As it came.
    pub(crate) json: &'a str,
    /// The longest time between two of its runs that is as it should be, in seconds.
    pub(crate) apart: Option<f64>,
}

/// Reads the one that starts at `start`, which is known to be JSON.
pub(super) fn read(body: &str, start: usize) -> Read<Contract<'_>> {
    let mut reader = Reader::from(body, start, 3);
    let (mut interval, mut pause) = (None, None);
    let mut open = reader.object("a contract")?;
    while let Some(name) = reader.member(&mut open, CONTRACT, 4)? {
        match name {
            "metrics" => metrics(&mut reader)?,
            "strict" | "schema" => {
                reader.boolean("a boolean")?;
            }
            "omitted" => {
                reader.whole(u64::MAX)?;
            }
            "interval" => interval = Some(seconds(&mut reader)?),
            "pause" => pause = Some(seconds(&mut reader)?),
            "timeout" => {
                seconds(&mut reader)?;
            }
            "cron" => {
                checked(&mut reader, |t| text::at_most(t, CRON))?;
            }
            _ => reader.skip()?,
        }
    }
    let json = &body[start..reader.here()];
    let json = json.trim_end();
    if json.len() > ToldContract::BYTES {
        let most = ToldContract::BYTES;
        return Err(wrong(start, format!("a contract of more than {most} bytes; cut it")));
    }
    Ok(Contract { json, apart: interval.or(pause) })
}

fn metrics(reader: &mut Reader<'_>) -> Read<()> {
    let mut seen = std::collections::HashSet::new();
    let mut open: Open = reader.object("an object of declared metrics")?;
    loop {
        let at = reader.here();
        let Some(name) = reader.key(&mut open)? else { return Ok(()) };
        text::name(&name).map_err(|message| wrong(at, message))?;
        if seen.len() == limits::METRICS {
            return Err(wrong(open.start, format!("more than {} metrics", limits::METRICS)));
        }
        if !seen.insert(name) {
            return Err(wrong(at, "the same metric twice"));
        }
        declared(reader)?;
    }
}

fn declared(reader: &mut Reader<'_>) -> Read<()> {
    let mut open = reader.object("a declared metric")?;
    while let Some(name) = reader.member(&mut open, DECLARED, 1)? {
        match name {
            "type" => {
                word(reader, "a type", |word| {
                    MetricType::from_str(word).ok().filter(|_| word != "binary")
                })?;
            }
            "unit" | "label" => {
                checked(reader, |t| text::at_most(t, limits::LABEL))?;
            }
            "required" => {
                reader.boolean("a boolean")?;
            }
            "warn" | "crit" => {
                mark(reader)?;
            }
            "min" | "max" => {
                reader.number("a number")?;
            }
            "values" => {
                let mut values = reader.array("an array of strings")?;
                while reader.element(&mut values)? {
                    checked(reader, |t| text::at_most(t, limits::TEXT))?;
                }
            }
            _ => return Err(unknown(reader)),
        }
    }
    Ok(())
}
