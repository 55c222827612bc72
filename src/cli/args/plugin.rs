//! What may be typed after `talaia plugin`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{ConfigArgs, RemoteArgs};

#[derive(Debug, Subcommand)]
pub(crate) enum PluginCommand {
    /// List the plugins of the config, and the packages that they come from
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
        name: String,
        /// The version [default: the newest]
        version: Option<String>,
        #[command(flatten)]
        how: HowArgs,
    },
    /// Go back to the version that was used before
    Rollback {
        /// The package
        name: String,
        /// The version [default: the newest installed one below that in use]
        version: Option<String>,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Remove a package and its plugins
    Uninstall {
        /// The package
        name: String,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Say whether installed packages are still as they were installed
    Verify {
        /// The package [default: every one]
        name: Option<String>,
        #[command(flatten)]
        config: ConfigArgs,
    },
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
pub(crate) struct InstallArgs {
    /// A package's name, or the path (with a `/`) of a folder or archive
    #[arg(value_name = "NAME|PATH")]
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
