//! What may be typed. Nothing here acts.

#[cfg(feature = "hub")]
mod hub;
mod monitor;
mod plugin;
mod schema;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::engine::{ArgValueCandidates, ArgValueCompleter};

use crate::model::{MetricType, Timestamp};

use super::names;

#[cfg(feature = "hub")]
pub(crate) use hub::{
    AccountCommand, HubArgs, HubCommand, HubDataArgs, HubExportFormat, HubServeArgs, Retention,
};
pub(crate) use monitor::{
    AddResultArgs, CreateArgs, DeleteArgs, EditArgs, ListArgs, MonitorCommand, PruneArgs,
    RangeArgs, Sender, Shape, Spec,
};
pub(crate) use plugin::{
    AddArgs, ApproveArgs, CheckArgs as PluginCheckArgs, HowArgs, InstallArgs, PluginCommand,
    RegisterArgs, ReviewArgs,
};
pub(crate) use schema::{DiffArgs, InferArgs, Pasted, SchemaCommand};

/// Runs any program as a metrics plugin, checks what it prints and loses none of it.
#[derive(Debug, Parser)]
#[command(name = "talaia", version, max_term_width = 100, disable_help_subcommand = true)]
#[command(after_help = "Start here:  talaia new hello --lang sh  &&  talaia run hello/hello")]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) talk: Talk,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How much is said on stderr.
#[derive(Debug, Clone, Args)]
pub(crate) struct Talk {
    /// Say more; twice for everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Talk")]
    pub(crate) verbose: u8,
    /// Say only what needs a person
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "Talk")]
    pub(crate) quiet: bool,
    /// How log lines are written on stderr
    #[arg(
        long,
        global = true,
        value_name = "FORMAT",
        default_value = "text",
        help_heading = "Talk"
    )]
    pub(crate) log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// Where the configuration is.
#[derive(Debug, Clone, Args)]
pub(crate) struct ConfigArgs {
    /// The config file [default: $TALAIA_CONFIG_FILE, else /etc/talaia/talaia.toml as root, else
    /// $XDG_CONFIG_HOME/talaia/talaia.toml]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Work in <data_dir>/sandbox: its own spool, hub and keys
    #[arg(long)]
    pub(crate) sandbox: bool,
}

/// Which hub a command talks to, and what opens it.
#[derive(Debug, Clone, Args)]
pub(crate) struct RemoteArgs {
    /// The config file [default: $TALAIA_CONFIG_FILE, else /etc/talaia/talaia.toml as root, else
    /// $XDG_CONFIG_HOME/talaia/talaia.toml]
    #[arg(short, long, value_name = "FILE", help_heading = "Hub")]
    pub(crate) config: Option<PathBuf>,
    /// The hub and key of this profile of the config; sandbox and production exist always
    #[arg(long, value_name = "NAME", help_heading = "Hub")]
    pub(crate) profile: Option<String>,
    /// The sandbox's hub: short for --profile sandbox
    #[arg(long, conflicts_with = "profile", help_heading = "Hub")]
    pub(crate) sandbox: bool,
    /// The hub's address [default: $TALAIA_HUB, else this machine's hub, else the config's]
    #[arg(long, value_name = "URL", help_heading = "Hub")]
    pub(crate) hub: Option<String>,
    /// A file with the key, or a hub's credentials.json [default: $TALAIA_KEY, else
    /// $TALAIA_API_KEY with $TALAIA_SECRET_KEY, else the hub's credentials.json, else the config's]
    #[arg(long, value_name = "FILE", help_heading = "Hub")]
    pub(crate) key_file: Option<PathBuf>,
    /// A file with the certificates to trust instead of the system's
    #[arg(long, value_name = "FILE", help_heading = "Hub")]
    pub(crate) ca: Option<PathBuf>,
    /// Show requests and answers on stderr, without keys
    #[arg(long, help_heading = "Talk")]
    pub(crate) trace_http: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the agent in the foreground
    Run(RunArgs),
    /// Run one plugin once, as the agent would, and show what becomes of every record
    Test(TestArgs),
    /// Run a plugin now, in the running agent
    Trigger {
        #[command(flatten)]
        config: ConfigArgs,
        /// The plugin
        #[arg(add = ArgValueCandidates::new(names::plugins))]
        plugin: String,
    },
    /// Read a plugin's output and print the report it makes
    Decode(DecodeArgs),
    /// Say whether a configuration is going to work
    Check(CheckArgs),
    /// Write a plugin to start from, as a package
    New(NewArgs),
    /// Plugins of the config, and packages of them: add, show, make, install and review them
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// Print correct JSON from a shell script
    Emit(EmitArgs),
    /// The JSON Schemas; contracts learnt from real output
    #[command(subcommand)]
    Schema(SchemaCommand),
    /// Explain a code: of a refused record, a warning, an answer of a hub, an exit …
    Explain {
        /// The code, such as name-hyphen; none lists them all
        #[arg(add = ArgValueCandidates::new(names::codes))]
        code: Option<String>,
        /// Print one JSON object per page
        #[arg(long)]
        json: bool,
    },
    /// What the running agent does
    Status(StatusArgs),
    /// Watch the running agent: a live view that fills the terminal
    Top(TopArgs),
    /// Have the running agent read its configuration again
    Reload {
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// What waits on disk
    #[command(subcommand)]
    Spool(SpoolCommand),
    /// What was refused, to look at and to replay
    #[command(subcommand)]
    Quarantine(QuarantineCommand),
    /// The keys of a hub: who may send and read, and what registered plugins are known by
    #[command(subcommand)]
    Keys(KeysCommand),
    /// The monitors of a hub: make them, send them results, read those back
    #[command(subcommand)]
    Monitor(MonitorCommand),
    /// Run the hub on its own
    #[cfg(feature = "hub")]
    Hub(HubArgs),
    /// Print what has a shell complete commands, options, plugins, packages and codes
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual, or write it as files
    Man {
        /// The command whose page is wanted, such as `plugin add`; none prints all
        #[arg(value_name = "COMMAND", conflicts_with = "dir")]
        command: Vec<String>,
        /// Write one file for each command into this folder: talaia.1, talaia-run.1 …
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

/// A script given on the command line needs no configuration at all.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Only with the outputs of this profile of the config; `sandbox` is --sandbox
    #[arg(long, value_name = "NAME", conflicts_with = "sandbox")]
    pub(crate) profile: Option<String>,
    /// Where the embedded hub listens
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<SocketAddr>,
    /// Run these programs instead of a config file's plugins
    #[arg(value_name = "SCRIPT", conflicts_with = "config")]
    pub(crate) scripts: Vec<PathBuf>,
    /// How often the scripts run
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "10s",
          requires = "scripts")]
    pub(crate) every: Duration,
    /// Arguments for the scripts
    #[arg(last = true, value_name = "ARGS", requires = "scripts")]
    pub(crate) args: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// A plugin of the config, or a path (with a `/`) to a program
    #[arg(value_name = "PLUGIN|PATH", add = ArgValueCompleter::new(names::plugin_or_path))]
    pub(crate) target: String,
    /// Print the report as JSON, one line per run
    #[arg(long)]
    pub(crate) json: bool,
    /// How many runs; of a long-lived plugin, how many reports
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) times: u32,
    /// How long to wait for what a plugin of mode `stream` prints
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "10s")]
    pub(crate) wait: Duration,
    /// Show exactly what each output would be sent
    #[arg(long, conflicts_with = "json")]
    pub(crate) sent: bool,
    /// Deliver it to a hub made for this, read it back, and compare
    #[arg(long)]
    pub(crate) verify: bool,
    /// Do it again whenever the program, its schema or the config changes
    #[arg(long)]
    pub(crate) watch: bool,
    /// As the user that the agent runs as, if you are root; and say all in which the service differs
    /// from this shell
    #[arg(long)]
    pub(crate) as_service: bool,
    /// Warnings and advice give exit code 1 as well
    #[arg(long)]
    pub(crate) strict: bool,
    /// Arguments for a program given by its path
    #[arg(last = true, value_name = "ARGS")]
    pub(crate) args: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Only this plugin, at length
    #[arg(value_name = "PLUGIN", add = ArgValueCandidates::new(names::plugins))]
    pub(crate) plugin: Option<String>,
    /// Print it as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// End with 1 where something needs a person, and without --json print only that
    #[arg(long)]
    pub(crate) check: bool,
}

#[derive(Debug, Args)]
pub(crate) struct TopArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// How often the agent is asked
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "1s")]
    pub(crate) interval: Duration,
    /// Print one table and end, also where there is no terminal
    #[arg(long)]
    pub(crate) once: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DecodeArgs {
    /// How the input is written
    #[arg(long, value_name = "FORMAT", default_value = "json")]
    pub(crate) format: String,
    /// The exit code that the program ended with
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) exit_code: u8,
    /// The input [default: standard input]
    pub(crate) file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Also ask each output whether it would take an upload
    #[arg(long)]
    pub(crate) online: bool,
}

#[derive(Debug, Args)]
pub(crate) struct NewArgs {
    /// The package's name; also the folder's
    pub(crate) name: String,
    /// The language
    #[arg(long, value_name = "LANG", default_value = "sh",
          add = ArgValueCandidates::new(names::languages))]
    pub(crate) lang: String,
}

/// Options hold for all metrics of the call.
#[derive(Debug, Args)]
pub(crate) struct EmitArgs {
    /// The metrics; NAME:TYPE=VALUE for one with a type of its own, `-` for lines `NAME VALUE` on
    /// standard input
    #[arg(required_unless_present = "status", value_name = "NAME=VALUE")]
    pub(crate) metrics: Vec<String>,
    /// Their type: integer, float, percent, counter, boolean or string [default: from the value]
    #[arg(long = "type", short = 't', value_name = "TYPE", value_parser = parse_type,
          add = ArgValueCandidates::new(names::types))]
    pub(crate) kind: Option<MetricType>,
    /// Their unit
    #[arg(long, short, value_name = "UNIT", allow_hyphen_values = true)]
    pub(crate) unit: Option<String>,
    /// A readable name (for a single metric)
    #[arg(long, short, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) label: Option<String>,
    /// A tag; may be given several times
    #[arg(long = "tag", short = 'T', value_name = "KEY=VALUE", allow_hyphen_values = true)]
    pub(crate) tags: Vec<String>,
    /// When they were measured: a time or Unix seconds [default: when the run started]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) time: Option<String>,
    /// Where it gets worrying: a number or a Nagios range
    #[arg(long, value_name = "RANGE", allow_hyphen_values = true)]
    pub(crate) warn: Option<String>,
    /// Where it gets critical
    #[arg(long, value_name = "RANGE", allow_hyphen_values = true)]
    pub(crate) crit: Option<String>,
    /// The least possible value
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pub(crate) min: Option<String>,
    /// The greatest possible value
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pub(crate) max: Option<String>,
    /// Take an empty value as a gap, and not as a mistake
    #[arg(long)]
    pub(crate) gaps: bool,
    /// What the run says of the thing it looks at: ok, warning, critical or unknown
    #[arg(long, value_name = "STATUS")]
    pub(crate) status: Option<String>,
    /// A sentence with the status
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) message: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SpoolCommand {
    /// How much waits, for whom, and the ledger
    Status {
        #[command(flatten)]
        config: ConfigArgs,
        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },
    /// List the reports that wait
    Ls {
        #[command(flatten)]
        config: ConfigArgs,
        /// Only this plugin's
        #[arg(long, value_name = "PLUGIN", add = ArgValueCandidates::new(names::plugins))]
        plugin: Option<String>,
        /// At most this many
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: usize,
        /// Print one JSON object per line
        #[arg(long)]
        json: bool,
    },
    /// Print reports whole, one JSON object per line
    Cat {
        #[command(flatten)]
        config: ConfigArgs,
        /// Which; none prints all
        #[arg(value_name = "SEQ")]
        seqs: Vec<u64>,
    },
    /// Check the file and the ledger
    Verify {
        #[command(flatten)]
        config: ConfigArgs,
    },
}

/// Which things in quarantine; all that is given must fit.
#[derive(Debug, Clone, Args)]
pub(crate) struct PickArgs {
    /// Only these
    #[arg(value_name = "ID")]
    pub(crate) ids: Vec<i64>,
    /// Only this plugin's
    #[arg(long, value_name = "PLUGIN", add = ArgValueCandidates::new(names::plugins))]
    pub(crate) plugin: Option<String>,
    /// Only with this code
    #[arg(long, value_name = "CODE", add = ArgValueCandidates::new(names::rejections))]
    pub(crate) code: Option<String>,
    /// Only what came in since: a time, or how long ago
    #[arg(long, value_name = "TIME", value_parser = parse_since)]
    pub(crate) since: Option<Timestamp>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum QuarantineCommand {
    /// List what is there, oldest first
    Ls {
        #[command(flatten)]
        config: ConfigArgs,
        #[command(flatten)]
        pick: PickArgs,
        /// At most this many
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: usize,
        /// Print one JSON object per line
        #[arg(long)]
        json: bool,
    },
    /// Show all that is known of single items, what was printed included
    Show {
        #[command(flatten)]
        config: ConfigArgs,
        /// Which
        #[arg(required = true, value_name = "ID")]
        ids: Vec<i64>,
        /// Print one JSON object per line
        #[arg(long)]
        json: bool,
    },
    /// Judge again, by the configuration as it is now, and send on what is accepted
    Replay {
        #[command(flatten)]
        config: ConfigArgs,
        #[command(flatten)]
        pick: PickArgs,
        /// Everything
        #[arg(long)]
        all: bool,
        /// Print what became of it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Drop for good
    Drop {
        #[command(flatten)]
        config: ConfigArgs,
        #[command(flatten)]
        pick: PickArgs,
        /// Everything
        #[arg(long)]
        all: bool,
        /// Print how much that was as JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// List the keys there are; keys themselves are never shown again
    List {
        /// The keys of registered plugins instead
        #[arg(long)]
        plugin: bool,
        /// Print one JSON object per line
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// Make a key and print it, this once
    Create {
        /// The key's name: letters, digits, `.`, `_` and `-`
        #[arg(required_unless_present = "plugin")]
        name: Option<String>,
        /// What it allows: ingest, read, review, admin or publish; may be given several times
        #[arg(
            long = "scope",
            value_name = "SCOPE",
            default_value = "ingest",
            value_delimiter = ','
        )]
        scopes: Vec<String>,
        /// When it ends: a time, or how long from now, such as 90d
        #[arg(long, value_name = "TIME", value_parser = parse_until)]
        expires: Option<Timestamp>,
        /// Register this plugin instead, and print its key
        #[arg(long, value_name = "PLUGIN", conflicts_with_all = ["name", "scopes", "expires"])]
        plugin: Option<String>,
        /// The key that the plugin has already, from another hub
        #[arg(long, value_name = "UUID", requires = "plugin")]
        key: Option<String>,
        /// Print all that is known of it as JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// Put a new key in the place of one and print it, this once
    Rotate {
        /// The key's name
        #[arg(required_unless_present = "secret_key")]
        name: Option<String>,
        /// How long the old one goes on working
        #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "0s")]
        grace: Duration,
        /// When the new one ends [default: it lives as long as the old one did]
        #[arg(long, value_name = "TIME", value_parser = parse_until)]
        expires: Option<Timestamp>,
        /// Give the account another secret key instead, at once
        #[arg(long, conflicts_with_all = ["name", "grace", "expires"])]
        secret_key: bool,
        /// Print all that is known of it as JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// End a key at once
    Revoke {
        /// The key's name
        #[arg(required_unless_present = "plugin")]
        name: Option<String>,
        /// End a registered plugin's key instead, by the plugin's name or the key
        #[arg(long, value_name = "PLUGIN|KEY", conflicts_with = "name")]
        plugin: Option<String>,
        /// Also the last key that may manage keys
        #[arg(long, conflicts_with = "plugin")]
        force: bool,
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// Who changed which key or monitor, newest first
    Audit {
        /// Only these actions, such as `key` or `monitor.delete`
        #[arg(long, value_name = "ACTION")]
        action: Option<String>,
        /// At most this many
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: usize,
        /// Print one JSON object per line
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        remote: RemoteArgs,
    },
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| {
        let bare = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if bare { format!("give it a unit, such as {text}s") } else { error.to_string() }
    })
}

/// Reads `--since`: a time, or how long ago.
fn parse_since(text: &str) -> Result<Timestamp, String> {
    if let Ok(ago) = humantime::parse_duration(text) {
        let at = SystemTime::now().checked_sub(ago).unwrap_or(SystemTime::UNIX_EPOCH);
        return Ok(Timestamp::from(at));
    }
    Timestamp::parse(text)
        .map_err(|_| "give a time such as 2026-11-22T20:42:10Z, or how long ago: 2h".to_owned())
}

/// Reads `--expires`: a time, or how long from now.
fn parse_until(text: &str) -> Result<Timestamp, String> {
    if let Ok(long) = humantime::parse_duration(text) {
        let at = SystemTime::now().checked_add(long).ok_or("that is too far ahead")?;
        return Ok(Timestamp::from(at));
    }
    Timestamp::parse(text).map_err(|_| {
        "give a time such as 2026-11-22T20:42:10Z, or how long from now: 90d".to_owned()
    })
}

fn parse_type(text: &str) -> Result<MetricType, String> {
    text.parse().map_err(|()| {
        let all: Vec<&str> = MetricType::ALL.iter().map(|kind| kind.as_str()).collect();
        format!("the types are {}", all.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
