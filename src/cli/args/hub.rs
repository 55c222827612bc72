//! The command line of `talaia hub`, which serves, and of what is done to a hub's folder.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::config::size;
use crate::model::Timestamp;

use super::{parse_duration, parse_since};

/// `talaia hub` serves; `talaia hub login` makes a link.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct HubArgs {
    #[command(flatten)]
    pub(crate) serve: HubServeArgs,
    #[command(subcommand)]
    pub(crate) command: Option<HubCommand>,
}

#[derive(Debug, Args)]
pub(crate) struct HubServeArgs {
    /// Where it listens [default: the config's, else 127.0.0.1:7180]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<SocketAddr>,
    /// A further name under which this hub may be called; may be given several times
    #[arg(long = "host", value_name = "NAME")]
    pub(crate) hosts: Vec<String>,
    /// Speak HTTPS with the certificate in this file (PEM); it is read again when it changes
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The file with the certificate's private key (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Most bytes of results kept; beyond, the oldest are dropped [default: the config's, else 1GiB]
    #[arg(long, value_name = "SIZE", value_parser = parse_quota)]
    pub(crate) quota: Option<u64>,
    /// Results older than this are dropped, or `off` [default: the config's, else 400d]
    #[arg(long, value_name = "AGE", value_parser = parse_retention)]
    pub(crate) retention: Option<Retention>,
    /// Have old Monitis clients sign their reads as well, which by themselves they do not
    #[arg(long)]
    pub(crate) signed_monitis_reads: bool,
    #[command(flatten)]
    pub(crate) data: HubDataArgs,
}

/// How old results may become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retention {
    Age(Duration),
    Any,
}

fn parse_retention(text: &str) -> Result<Retention, String> {
    if text == "off" {
        return Ok(Retention::Any);
    }
    match parse_duration(text)? {
        age if age < Duration::from_hours(1) => Err("at least 1h".to_owned()),
        age => Ok(Retention::Age(age)),
    }
}

fn parse_quota(text: &str) -> Result<u64, String> {
    match size(text)? {
        bytes if bytes < 16 << 20 => Err("at least 16MiB".to_owned()),
        bytes => Ok(bytes),
    }
}

#[derive(Debug, Clone, Args)]
pub(crate) struct HubDataArgs {
    /// The hub's data folder [default: hub under the agent's data folder]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) data_dir: Option<PathBuf>,
    /// The config file that names the agent's data folder; its [hub] holds for `talaia hub` as well
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The sandbox's hub
    #[arg(long)]
    pub(crate) sandbox: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum HubCommand {
    /// Make a new login link
    Login {
        /// The account to log in to
        #[arg(long, value_name = "NAME", default_value = "local")]
        account: String,
        #[command(flatten)]
        data: HubDataArgs,
    },
    /// End all sessions of the hub's pages, and take back login links that were not used
    Logout {
        #[command(flatten)]
        data: HubDataArgs,
    },
    /// Further accounts, each with keys, monitors and pages of its own; the hub may be running
    Account {
        #[command(subcommand)]
        command: AccountCommand,
    },
    /// Copy all that the hub has into a file, as of one moment; the hub may be running
    Backup {
        /// The file to make
        #[arg(value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        data: HubDataArgs,
    },
    /// Put a backup in the place of what the hub has; the hub must not be running
    Restore {
        /// The backup
        #[arg(value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        data: HubDataArgs,
    },
    /// Say whether all that the hub has reads back and adds up; the hub may be running
    Verify {
        /// A backup to look through instead
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
        #[command(flatten)]
        data: HubDataArgs,
    },
    /// Write the hub's points to stdout; the hub may be running
    Export {
        /// From this time on, in UTC, or from so long ago
        #[arg(long, value_name = "TIME", value_parser = parse_since)]
        from: Option<Timestamp>,
        /// Up to this time
        #[arg(long, value_name = "TIME", value_parser = parse_since)]
        to: Option<Timestamp>,
        /// Of this monitor only: its id, its name, or PLUGIN@HOST
        #[arg(long, value_name = "MONITOR")]
        monitor: Option<String>,
        /// What to write
        #[arg(long, value_enum, default_value_t = HubExportFormat::Ndjson)]
        format: HubExportFormat,
        /// Read a backup instead of the hub's own database
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        #[command(flatten)]
        data: HubDataArgs,
    },
}

/// `talaia hub account`.
#[derive(Debug, Subcommand)]
pub(crate) enum AccountCommand {
    /// Make an account, and print its keys as a credentials.json, which --key-file takes
    Create {
        /// The account's name
        #[arg(value_name = "NAME")]
        name: String,
        #[command(flatten)]
        data: HubDataArgs,
    },
    /// List the accounts: name, state, API key, keys that work, monitors
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        data: HubDataArgs,
    },
    /// Have an account and all its keys and sessions refused; what it has stays
    Disable {
        /// The account's name
        #[arg(value_name = "NAME")]
        name: String,
        #[command(flatten)]
        data: HubDataArgs,
    },
    /// Let a disabled account in again
    Enable {
        /// The account's name
        #[arg(value_name = "NAME")]
        name: String,
        #[command(flatten)]
        data: HubDataArgs,
    },
}

/// What `talaia hub export` writes.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum HubExportFormat {
    /// One JSON object per line: a series with up to 1000 points
    Ndjson,
    /// One point per line
    Csv,
}
