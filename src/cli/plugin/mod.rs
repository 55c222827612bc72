//! `talaia plugin`: packages, from the author's folder to another host's agent.

mod check;
mod edit;
mod hub;
mod install;
mod installed;
mod list;
mod pack;
mod show;
mod sign;
mod source;

use super::args::PluginCommand;
use super::exit::{Exit, Failure};
use crate::package::Finding;

pub(crate) fn run(command: &PluginCommand) -> Result<Exit, Failure> {
    match command {
        PluginCommand::List { config, outdated, json } => list::run(config, *outdated, *json),
        PluginCommand::Show { name, config, json } => show::run(name, config, *json),
        PluginCommand::Add(args) => edit::add(args),
        PluginCommand::Remove { name, config } => edit::remove(name, config),
        PluginCommand::Enable { name, config } => edit::switch(name, true, config),
        PluginCommand::Disable { name, config } => edit::switch(name, false, config),
        PluginCommand::Check(args) => check::run(args),
        PluginCommand::Pack { folder, output } => pack::run(folder, output.as_deref()),
        PluginCommand::Install(args) => install::install(args),
        PluginCommand::Upgrade { name, version, how } => {
            install::upgrade(name, version.as_deref(), how)
        }
        PluginCommand::Rollback { name, version, config } => {
            install::rollback(name, version.as_deref(), config)
        }
        PluginCommand::Uninstall { name, config } => install::uninstall(name, config),
        PluginCommand::Register(args) => hub::register(args),
        PluginCommand::Publish { source, draft, remote } => hub::publish(source, *draft, remote),
        PluginCommand::Submit { name, version, remote } => hub::submit(name, version, remote),
        PluginCommand::Status { name, version, watch, json, remote } => {
            hub::status(name, version.as_deref(), (*watch, *json), remote)
        }
        PluginCommand::Review(args) => hub::review(args),
        PluginCommand::Approve(args) => sign::approve(args),
        PluginCommand::Reject { name, version, reason, remote } => {
            hub::reject(name, version, reason, remote)
        }
        PluginCommand::Withdraw { name, version, sign_with, remote } => {
            sign::withdraw(name, version, sign_with.as_deref(), remote)
        }
        PluginCommand::Key { file, rotate: false, remote, .. } => {
            sign::key(file.as_deref(), remote)
        }
        // The hub would make one of its own, and there is no way back.
        PluginCommand::Key { file: Some(file), rotate: true, sign_with: None, .. } => {
            let file = file.display();
            let text = format!(
                "to go over to the key in {file}, name the file of the present one: --sign-with FILE\n\n\
                 hint: without {file} the hub makes a key of its own"
            );
            Err(Failure::new(Exit::Usage, text))
        }
        PluginCommand::Key { file, rotate: true, sign_with, remote } => {
            sign::rotate(sign_with.as_deref().zip(file.as_deref()), remote)
        }
        PluginCommand::Mirror { folder, how } => source::mirror(folder, how),
        PluginCommand::Verify { name, config } => list::verify(name.as_deref(), config),
    }
}

/// A name or version as typed.
fn parsed<T: std::str::FromStr>(text: &str) -> Result<T, Failure>
where
    T::Err: std::error::Error,
{
    text.parse().map_err(|e: T::Err| Failure::from_error(Exit::Usage, &e))
}

/// Findings as lines.
fn lines(findings: &[Finding]) -> String {
    use super::print::{BAD, FAINT, ODD, paint};
    use super::report::clean;
    use crate::package::Weight;
    let mut lines = Vec::new();
    for finding in findings {
        let label = match finding.weight {
            Weight::Error => paint(BAD, "error:"),
            Weight::Warning => paint(ODD, "warning:"),
        };
        lines.push(format!("{label} {}", clean(&finding.to_string())));
        if !finding.help.is_empty() {
            lines.push(format!("       {}", paint(FAINT, clean(&finding.help))));
        }
    }
    lines.join("\n")
}
