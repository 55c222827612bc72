//! What may be typed after `talaia monitor`.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand, ValueEnum};

use crate::model::{MetricType, Timestamp};

use super::{RemoteArgs, parse_duration, parse_since, parse_type};

#[derive(Debug, Subcommand)]
pub(crate) enum MonitorCommand {
    /// Make a monitor and print its id
    Create(CreateArgs),
    /// List monitors, those of agents' plugins included
    List(ListArgs),
    /// Show all that is known of a monitor
    Show {
        /// Its id or name
        #[arg(value_name = "ID|NAME")]
        monitor: String,
        /// Print it as JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// Change a monitor's name, tags, type or metrics
    Edit(EditArgs),
    /// Remove a monitor with all that it has
    Delete(DeleteArgs),
    /// Have a monitor take no results for now
    Suspend {
        /// Its id or name
        #[arg(value_name = "ID|NAME")]
        monitor: String,
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// Have a suspended monitor take results again
    Activate {
        /// Its id or name
        #[arg(value_name = "ID|NAME")]
        monitor: String,
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// Send a result
    AddResult(AddResultArgs),
    /// Read results back
    Results {
        #[command(flatten)]
        range: RangeArgs,
        /// Print what was sent as additional results instead, as JSON
        #[arg(long)]
        additional: bool,
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// Read results drawn together, a row for each interval
    Report {
        #[command(flatten)]
        range: RangeArgs,
        /// How long an interval is: minutes, hours, days or months, such as 5min, hour or day
        #[arg(long, value_name = "INTERVAL", default_value = "hour")]
        interval: String,
        /// What becomes of the values of one interval: avg, sum, min, max or last [default: what
        /// each metric declares, else avg; of a counter its rate per second]
        #[arg(long, value_name = "HOW")]
        aggregation: Option<String>,
        /// Minutes by which days begin earlier than in UTC
        #[arg(long, value_name = "MINUTES", default_value_t = 0, allow_negative_numbers = true)]
        offset: i32,
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// Remove monitors that nothing came for in a long time
    Prune(PruneArgs),
}

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// Its name
    pub(crate) name: String,
    /// A tag; may be given several times
    #[arg(long = "tag", value_name = "TAG")]
    pub(crate) tags: Vec<String>,
    /// A word for what kind of monitor it is [default: custom]
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) kind: Option<String>,
    /// What its results have: NAME:TYPE or NAME:LABEL:UNIT:TYPE[:VALUE,VALUE…[:AGGREGATION]], with
    /// `\:` for a colon; may be given several times
    #[arg(long = "metric", value_name = "METRIC", value_parser = parse_spec)]
    pub(crate) metrics: Vec<Spec>,
    /// What its additional results have, written as --metric is
    #[arg(long = "additional", value_name = "METRIC", value_parser = parse_spec)]
    pub(crate) additional: Vec<Spec>,
    /// A metric may have several values at one time
    #[arg(long)]
    pub(crate) multi_value: bool,
    /// Leave it as it is if there is one of this name
    #[arg(long)]
    pub(crate) if_missing: bool,
    /// Print all that is known of it as JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only those with this tag
    #[arg(long, value_name = "TAG")]
    pub(crate) tag: Option<String>,
    /// Only those of this type
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) kind: Option<String>,
    /// Only the one of this name
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Only those with this in their name, host, plugin or tags
    #[arg(long, value_name = "TEXT")]
    pub(crate) search: Option<String>,
    /// Only those of agents' plugins, or only those of direct senders
    #[arg(long, value_name = "SENDER")]
    pub(crate) from: Option<Sender>,
    /// Only those that nothing came for in so long
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) unused: Option<Duration>,
    /// Only those that are suspended
    #[arg(long)]
    pub(crate) suspended: bool,
    /// Print one JSON object per line
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sender {
    Agent,
    Direct,
}

#[derive(Debug, Args)]
pub(crate) struct EditArgs {
    /// Its id or name
    #[arg(value_name = "ID|NAME")]
    pub(crate) monitor: String,
    /// Another name
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// The tags that it has from now on; may be given several times
    #[arg(long = "tag", value_name = "TAG")]
    pub(crate) tags: Vec<String>,
    /// It has no tags from now on
    #[arg(long, conflicts_with = "tags")]
    pub(crate) no_tags: bool,
    /// Another type
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) kind: Option<String>,
    /// What its results have from now on, all of it, written as for `create`
    #[arg(long = "metric", value_name = "METRIC", value_parser = parse_spec)]
    pub(crate) metrics: Vec<Spec>,
    /// What its additional results have from now on, all of it, written as for `create`
    #[arg(long = "additional", value_name = "METRIC", value_parser = parse_spec)]
    pub(crate) additional: Vec<Spec>,
    /// Whether a metric may have several values at one time
    #[arg(long, value_name = "BOOLEAN")]
    pub(crate) multi_value: Option<bool>,
    /// Print what it is like then as JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    /// Its id or name
    #[arg(value_name = "ID|NAME")]
    pub(crate) monitor: String,
    /// Write all results to this new file first: CSV where it ends in .csv, else JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) export: Option<PathBuf>,
    /// Do not ask
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Print what went as JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
}

#[derive(Debug, Args)]
pub(crate) struct AddResultArgs {
    /// The monitor's id or name
    #[arg(value_name = "ID|NAME")]
    pub(crate) monitor: String,
    /// The values; the same name again where a metric has several
    #[arg(value_name = "NAME=VALUE", required_unless_present_any = ["file", "additional"])]
    pub(crate) values: Vec<String>,
    /// When that was: a time, seconds or milliseconds since 1970, or how long ago [default: now]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) time: Option<Timestamp>,
    /// Detail to go with it: a JSON array of objects
    #[arg(long, value_name = "JSON")]
    pub(crate) additional: Option<String>,
    /// Send the results that are in this file, as `delete --export` wrote it; - for standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["values", "time", "additional"])]
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
}

/// Which results, and how they are printed.
#[derive(Debug, Args)]
pub(crate) struct RangeArgs {
    /// The monitor's id or name
    #[arg(value_name = "ID|NAME")]
    pub(crate) monitor: String,
    /// Of this day in UTC: such as 2026-11-22, today or yesterday
    #[arg(long, value_name = "DAY", conflicts_with_all = ["from", "to"])]
    pub(crate) day: Option<String>,
    /// From then on: a time, or how long ago [default: 24h]
    #[arg(long, visible_alias = "since", value_name = "TIME", value_parser = parse_since)]
    pub(crate) from: Option<Timestamp>,
    /// Until then: a time, or how long ago
    #[arg(long, value_name = "TIME", value_parser = parse_since)]
    pub(crate) to: Option<Timestamp>,
    /// How they are printed
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub(crate) format: Shape,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shape {
    /// For people
    Table,
    /// One JSON object per line
    Json,
    /// Comma-separated values
    Csv,
}

#[derive(Debug, Args)]
pub(crate) struct PruneArgs {
    /// Those that nothing came for in so long
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) unused: Duration,
    /// Only those with this tag
    #[arg(long, value_name = "TAG")]
    pub(crate) tag: Option<String>,
    /// Remove them; without it they are only listed, and asked for on a terminal
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Print one JSON object per line
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
}

/// A metric as it is declared on the command line.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Spec {
    pub(crate) name: String,
    pub(crate) label: Option<String>,
    pub(crate) unit: Option<String>,
    pub(crate) kind: MetricType,
    /// The only values that it may have, as typed.
    pub(crate) values: Vec<String>,
    pub(crate) aggregation: Option<String>,
}

fn parse_spec(text: &str) -> Result<Spec, String> {
    let mut parts = split(text, ':');
    let form = "write NAME:TYPE or NAME:LABEL:UNIT:TYPE[:VALUE,VALUE…[:AGGREGATION]]";
    let said = |text: String| Some(text).filter(|text| !text.is_empty());
    let mut spec = Spec {
        name: String::new(),
        label: None,
        unit: None,
        kind: MetricType::Float,
        values: Vec::new(),
        aggregation: None,
    };
    match parts.len() {
        2 => {
            spec.kind = parse_type(&unescaped(&parts[1]))?;
            spec.name = unescaped(&parts[0]);
        }
        4..=6 => {
            let aggregation = if parts.len() == 6 { parts.pop() } else { None };
            let values = if parts.len() == 5 { parts.pop() } else { None };
            spec.kind = parse_type(&unescaped(&parts[3]))?;
            spec.unit = said(unescaped(&parts[2]));
            spec.label = said(unescaped(&parts[1]));
            spec.name = unescaped(&parts[0]);
            spec.aggregation = aggregation.and_then(|word| said(unescaped(&word)));
            spec.values = values
                .filter(|values| !values.is_empty())
                .map(|values| split(&values, ',').iter().map(|v| unescaped(v)).collect())
                .unwrap_or_default();
        }
        _ => return Err(form.to_owned()),
    }
    if spec.name.is_empty() { Err(form.to_owned()) } else { Ok(spec) }
}

/// Splits where there is no `\` before; leaves those in.
fn split(text: &str, at: char) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut escaped = false;
    for c in text.chars() {
        if c == at && !escaped {
            parts.push(String::new());
            continue;
        }
        escaped = c == '\\' && !escaped;
        if let Some(part) = parts.last_mut() {
            part.push(c);
        }
    }
    parts
}

/// Without the `\` before a colon, a comma or another `\`.
fn unescaped(text: &str) -> String {
    let mut plain = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let next = chars.next_if(|next| c == '\\' && matches!(next, ':' | ',' | '\\'));
        plain.push(next.unwrap_or(c));
    }
    plain
}

/// Reads a check time.
fn parse_time(text: &str) -> Result<Timestamp, String> {
    if let Ok(number) = text.parse::<f64>() {
        return Timestamp::from_number(number).ok_or_else(|| "not a time".to_owned());
    }
    if text == "now" {
        return Ok(Timestamp::from(SystemTime::now()));
    }
    parse_since(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_declared_in_few_words_or_in_many() {
        let spec = parse_spec("tcp_packets_in:TCP Packets In:pkts/s:counter").unwrap();
        assert_eq!((spec.name.as_str(), spec.kind), ("tcp_packets_in", MetricType::Counter));
        assert_eq!(
            (spec.label.as_deref(), spec.unit.as_deref()),
            (Some("TCP Packets In"), Some("pkts/s"))
        );
        let spec = parse_spec(r"s:a\: b::string:up,down\, slowly:last").unwrap();
        assert_eq!((spec.label.as_deref(), spec.unit.as_deref()), (Some("a: b"), None));
        assert_eq!(spec.values, ["up", "down, slowly"]);
        assert_eq!(spec.aggregation.as_deref(), Some("last"));
        assert_eq!(parse_spec("n:integer").unwrap().kind, MetricType::Integer);
        for text in ["", "n", ":integer", "n:whole", "n:l:u", "n:l:u:integer:::x"] {
            assert!(parse_spec(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_check_time_is_written_in_several_ways() {
        let wanted = Timestamp::parse("2026-11-22T20:42:10Z").unwrap();
        for text in ["2026-11-22T20:42:10Z", "1795380130", "1795380130000"] {
            assert_eq!(parse_time(text).unwrap(), wanted);
        }
        assert!(parse_time("5m").unwrap() < parse_time("now").unwrap());
        assert!(parse_time("noon").is_err());
    }
}
