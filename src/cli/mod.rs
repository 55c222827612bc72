//! One file per command. The only room that prints or exits.
//!
//! Data goes to stdout; talk, logs and run lines go to stderr. Exit codes are part of the
//! interface: see `exit::Exit`.

mod args;
mod brief;
mod check;
mod client;
mod complete;
mod decode;
mod docs;
mod dry_run;
mod emit;
mod examples;
mod exit;
mod health;
#[cfg(feature = "hub")]
mod hub;
mod keys;
mod load;
mod log;
mod manual;
mod memory;
mod monitor;
mod names;
mod new;
mod plugin;
mod points;
mod print;
mod progress;
mod quarantine;
mod remote;
mod report;
mod run;
mod run_lines;
mod running;
mod schema;
mod spool;
mod status;
mod target;
mod text;
mod top;

use std::process::ExitCode;

use clap::FromArgMatches as _;

use crate::exec::NotLaunched;

use args::{Cli, Command};
use exit::{Exit, Failure};
use print::{BAD, paint};

/// Parses the command line, does what it says, and gives the exit code.
pub fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|word| word == crate::exec::LAUNCH_WORD) {
        return launch();
    }
    if let Some(exit) = complete::answer() {
        return exit.into();
    }
    let words = manual::command().get_matches();
    let cli = Cli::from_arg_matches(&words).unwrap_or_else(|error| error.exit());
    if let Command::Run(_) = cli.command {
        memory::settle();
    }
    let stderr = match print::Background::start() {
        Ok(stderr) => stderr,
        Err(error) => {
            print::talk(format!("{} no thread to be had: {error}", paint(BAD, "error:")));
            return Exit::Internal.into();
        }
    };
    log::init(&cli.talk, &stderr);
    if cli.talk.quiet {
        progress::be_quiet();
    }
    let outcome = dispatch(&cli, &stderr);
    stderr.flush();
    match outcome {
        Ok(exit) => exit.into(),
        Err(failure) => {
            complain(&failure);
            failure.exit.into()
        }
    }
}

/// Says what went wrong.
fn complain(failure: &Failure) {
    // What begins with a label of its own (a rendered config) needs no other.
    let text = &failure.text;
    if text.starts_with("error") || text.starts_with('\u{1b}') {
        print::talk(text);
    } else {
        print::talk(format!("{} {text}", paint(BAD, "error:")));
    }
}

/// The launcher: this process is to become a plugin, as an agent ordered. It comes before everything
/// else, because every run of such a plugin goes this way.
fn launch() -> ExitCode {
    let Err(error) = crate::exec::launch();
    if let NotLaunched::NoAgent(_) = error {
        print::talk(format!("error: {error}"));
        return Exit::Usage.into();
    }
    Exit::Internal.into()
}

fn dispatch(cli: &Cli, stderr: &print::Background) -> Result<Exit, Failure> {
    match &cli.command {
        Command::Run(args) => run::run(args, &cli.talk, stderr),
        Command::Test(args) => dry_run::run(args),
        Command::Trigger { config, plugin } => running::trigger(config, plugin),
        Command::Decode(args) => decode::run(args),
        Command::Check(args) => check::run(args),
        Command::New(args) => new::run(args),
        Command::Plugin(command) => plugin::run(command),
        Command::Emit(args) => emit::run(args),
        Command::Schema(command) => schema::run(command),
        Command::Explain { code, json } => docs::explain(code.as_deref(), *json),
        Command::Status(args) => status::run(args),
        Command::Top(args) => top::run(args),
        Command::Reload { config } => running::reload(config),
        Command::Spool(command) => spool::run(command),
        Command::Quarantine(command) => quarantine::run(command),
        Command::Keys(command) => keys::run(command),
        Command::Monitor(command) => monitor::run(command),
        #[cfg(feature = "hub")]
        Command::Hub(args) => hub::run(args),
        Command::Completions { shell } => complete::script(*shell),
        Command::Man { command, dir } => manual::run(command, dir.as_deref()),
    }
}
