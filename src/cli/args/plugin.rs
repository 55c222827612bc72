//! What may be typed after `talaia plugin`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use clap_complete::engine::{ArgValueCandidates, ArgValueCompleter};

use super::super::names;
use super::{ConfigArgs, RemoteArgs};

#[derive(Debug, Subcommand)]
pub(crate) enum PluginCommand {
    /// List the plugins of the config, and where they come from
    List {
        #[command(flatten)]
        config: ConfigArgs,
        /// Only packages of which their registry has a newer version
        #[arg(long)]
        outdated: bool,
        /// Print one JSON object per line
        #[arg(long)]
        json: bool,
    },
    /// Show all that a plugin is run with, and where each setting is written
    Show {
        /// The plugin
        #[arg(add = ArgValueCandidates::new(names::plugins))]
        name: String,
        /// Print it as JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Add a plugin to the config; where there is no config yet, one is made
    Add(AddArgs),
    /// Take a plugin out of the config, with the comment right above it
    Remove {
        /// The plugin
        #[arg(add = ArgValueCandidates::new(names::plugins))]
        name: String,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Have a plugin, or all of a package, run again
    Enable {
        /// The plugin, or the package
        #[arg(add = ArgValueCandidates::new(names::plugins_and_packages))]
        name: String,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Keep a plugin, or all of a package, from running
    Disable {
        /// The plugin, or the package
        #[arg(add = ArgValueCandidates::new(names::plugins_and_packages))]
        name: String,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Say what is wrong with a package's folder, and run its recorded cases
    Check(CheckArgs),
    /// Make a package's archive: the same folder always gives the same bytes
    Pack {
        /// The package's folder
        folder: PathBuf,
        /// Where the archive goes [default: NAME-VERSION.zip here]
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Install a package: by its name from a registry, or a folder or archive of this machine
    Install(InstallArgs),
    /// Go over to a newer version, or to VERSION
    Upgrade {
        /// The package
        #[arg(add = ArgValueCandidates::new(names::packages))]
        name: String,
        /// The version [default: the newest]
        version: Option<String>,
        #[command(flatten)]
        how: HowArgs,
    },
    /// Go back to the version that was used before
    Rollback {
        /// The package
        #[arg(add = ArgValueCandidates::new(names::packages))]
        name: String,
        /// The version [default: the newest installed one below that in use]
        version: Option<String>,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Remove a package and its plugins
    Uninstall {
        /// The package
        #[arg(add = ArgValueCandidates::new(names::packages))]
        name: String,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Register a name on a hub, and print the plugin key that it gets
    Register(RegisterArgs),
    /// Hand in a package: a folder, or an archive of one
    Publish {
        /// The package's folder, or its archive
        source: PathBuf,
        /// Only upload it; `submit` hands it in
        #[arg(long)]
        draft: bool,
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// Hand a draft to the reviewers
    Submit {
        /// The package
        name: String,
        /// The version
        version: String,
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// How versions stand on a hub
    Status {
        /// The package
        name: String,
        /// The version [default: all]
        version: Option<String>,
        /// Go on until it is decided
        #[arg(long, requires = "version")]
        watch: bool,
        /// Print all that is known of it as JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// Take a version into review, and show it; without a name, what waits
    Review(ReviewArgs),
    /// Give a version out
    Approve(ApproveArgs),
    /// Turn a version down
    Reject {
        /// The package
        name: String,
        /// The version
        version: String,
        /// What its author is to do
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// Take a version back
    Withdraw {
        /// The package
        name: String,
        /// The version
        version: String,
        /// Sign here, with this key, instead of by the hub's own
        #[arg(long, value_name = "FILE")]
        sign_with: Option<PathBuf>,
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// Print the fingerprint of the registry's key, or of the one in a file, which is made if need be
    Key {
        /// The file of a key that the hub does not have
        file: Option<PathBuf>,
        /// Have the registry go on with another key: one that the hub makes, or with --sign-with the
        /// one in FILE
        #[arg(long)]
        rotate: bool,
        /// The file of the present key, where the hub does not have it
        #[arg(long, value_name = "FILE", requires = "rotate", requires = "file")]
        sign_with: Option<PathBuf>,
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// Copy a registry into a folder, to be given out by any web server
    Mirror {
        /// The folder
        folder: PathBuf,
        #[command(flatten)]
        how: HowArgs,
    },
    /// Say whether installed packages are still as they were installed
    Verify {
        /// The package [default: every one]
        #[arg(add = ArgValueCandidates::new(names::packages))]
        name: Option<String>,
        #[command(flatten)]
        config: ConfigArgs,
    },
}

#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// A command of the plugins' search path, or the path (with a `/`) of a program
    #[arg(value_name = "NAME|PATH", value_hint = clap::ValueHint::AnyPath)]
    pub(crate) what: String,
    /// Its name [default: the program's, without its ending]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// From one run to the next [default: 60s]
    #[arg(long, alias = "every", value_name = "DURATION", value_parser = parse_span)]
    pub(crate) interval: Option<String>,
    /// When to run, by the calendar
    #[arg(long, value_name = "EXPRESSION", conflicts_with = "interval")]
    pub(crate) cron: Option<String>,
    /// How long a run may take
    #[arg(long, value_name = "DURATION", value_parser = parse_span)]
    pub(crate) timeout: Option<String>,
    /// What it prints [default: json]
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
    /// The user to run as
    #[arg(long, value_name = "USER")]
    pub(crate) user: Option<String>,
    /// A tag of each of its metrics; may be given several times
    #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = parse_pair)]
    pub(crate) tags: Vec<(String, String)>,
    /// A variable of its environment; may be given several times
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_pair)]
    pub(crate) env: Vec<(String, String)>,
    /// Write it down, and do not run it yet
    #[arg(long)]
    pub(crate) disabled: bool,
    /// The file to write it into, which the config includes [default: the config file]
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Its arguments
    #[arg(last = true, value_name = "ARGS")]
    pub(crate) args: Vec<String>,
}

/// A duration, kept as it is written.
fn parse_span(text: &str) -> Result<String, String> {
    super::parse_duration(text).map(|_| text.to_owned())
}

fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write it as KEY=VALUE".to_owned()),
    }
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The package's folder
    pub(crate) folder: PathBuf,
    /// Look only: run nothing
    #[arg(long, conflicts_with = "accept")]
    pub(crate) no_run: bool,
    /// Write what the cases print into the files that they expect
    #[arg(long)]
    pub(crate) accept: bool,
    /// Print the findings as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RegisterArgs {
    /// The package's name
    pub(crate) name: String,
    /// What it measures, in one line
    #[arg(long, value_name = "TEXT")]
    pub(crate) description: Option<String>,
    /// What it is about: system, network, storage, database, web, container, security, application
    /// or other
    #[arg(long, value_name = "WORD")]
    pub(crate) category: Option<String>,
    /// Print name and key as JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ApproveArgs {
    /// The package
    pub(crate) name: String,
    /// The version
    pub(crate) version: String,
    /// Only if the archive is still this one, as `review` printed it
    #[arg(long, value_name = "HEX")]
    pub(crate) sha256: Option<String>,
    /// Sign here, with this key, instead of by the hub's own
    #[arg(long, value_name = "FILE")]
    pub(crate) sign_with: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ReviewArgs {
    /// The package
    #[arg(requires = "version")]
    pub(crate) name: Option<String>,
    /// The version
    pub(crate) version: Option<String>,
    /// Compare with this version [default: the newest approved one before it]
    #[arg(long, value_name = "VERSION")]
    pub(crate) against: Option<String>,
    /// Show differences of any length whole
    #[arg(long)]
    pub(crate) full: bool,
    /// Then run its cases and commands here, as an unprivileged user in a folder that is thrown away,
    /// and attach the result
    #[arg(long)]
    pub(crate) run: bool,
    /// Run without asking
    #[arg(long, requires = "run")]
    pub(crate) yes: bool,
    /// Run as the user that types this, where that is not root: it can then do all that you can
    #[arg(long, requires = "run")]
    pub(crate) as_me: bool,
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
}

#[derive(Debug, Args)]
pub(crate) struct InstallArgs {
    /// A package's name, or the path (with a `/`) of a folder or archive
    #[arg(value_name = "NAME|PATH", add = ArgValueCompleter::new(names::package_or_path))]
    pub(crate) what: String,
    /// The version [default: the newest]
    pub(crate) version: Option<String>,
    /// The key that a hub gave the package when it was registered
    #[arg(long, value_name = "UUID")]
    pub(crate) key: Option<String>,
    #[command(flatten)]
    pub(crate) how: HowArgs,
}

/// Where packages come from, and how far to go.
#[derive(Debug, Args)]
pub(crate) struct HowArgs {
    /// The registry's address [default: that of the hub]
    #[arg(long, value_name = "URL", help_heading = "Hub")]
    pub(crate) registry: Option<String>,
    /// The fingerprint of the registry's key, where it is used for the first time
    #[arg(long, value_name = "SHA256:…", help_heading = "Hub")]
    pub(crate) trust: Option<String>,
    /// Do everything but the change itself
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
}

impl HowArgs {
    /// The agent's config, which the hub's arguments name.
    pub(crate) fn config(&self) -> ConfigArgs {
        ConfigArgs { config: self.remote.config.clone(), sandbox: self.remote.sandbox }
    }
}
