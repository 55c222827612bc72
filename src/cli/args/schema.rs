//! What may be typed after `talaia schema`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use clap_complete::engine::ArgValueCompleter;

use super::super::names;
use super::{ConfigArgs, RemoteArgs, parse_duration, parse_since};
use crate::model::Timestamp;

#[derive(Debug, Subcommand)]
pub(crate) enum SchemaCommand {
    /// Print a schema; without a name list them
    Print {
        /// Such as report.v1
        name: Option<String>,
    },
    /// Propose what a plugin should declare, from what it prints, as TOML ready to paste
    Infer(InferArgs),
    /// Say whether what a plugin had accepted would pass what it declares now
    Diff(DiffArgs),
}

#[derive(Debug, Args)]
pub(crate) struct InferArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// A plugin of the config, or a path (with a `/`) to a program
    #[arg(value_name = "PLUGIN|PATH", add = ArgValueCompleter::new(names::plugin_or_path))]
    pub(crate) target: String,
    /// How many runs; of a long-lived plugin, how many reports
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) times: u32,
    /// Between two runs
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "500ms")]
    pub(crate) pause: Duration,
    /// How long to wait for what a long-lived plugin prints
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "30s")]
    pub(crate) wait: Duration,
    /// Where it is to be pasted
    #[arg(long = "for", value_name = "WHERE", default_value = "config")]
    pub(crate) place: Pasted,
    /// Arguments for a program given by its path
    #[arg(last = true, value_name = "ARGS")]
    pub(crate) args: Vec<String>,
}

/// Where a contract stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Pasted {
    /// In the config
    Config,
    /// In a package's `talaia-plugin.toml`
    Package,
    /// In the file beside a plugin of `plugin_dirs`
    Sidecar,
}

#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// A plugin of the config, or a path (with a `/`) to a program
    #[arg(value_name = "PLUGIN|PATH", add = ArgValueCompleter::new(names::plugin_or_path))]
    pub(crate) target: String,
    /// Reports, one JSON object per line, as an output of type `file` and `talaia test --json` write
    /// them; `-` is standard input [default: ask the hub]
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Only what was observed since: a time, or how long ago
    #[arg(long, value_name = "TIME", value_parser = parse_since, default_value = "7d")]
    pub(crate) since: Timestamp,
    /// The host whose results the hub is asked for [default: the config's]
    #[arg(long, value_name = "HOST")]
    pub(crate) host: Option<String>,
    /// Print it as JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
}
