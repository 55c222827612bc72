//! Shells that complete what is typed: their scripts, and the answers to them.
//!
//! The scripts of `talaia completions` have the shell ask this very program, with [`VARIABLE`] set, so
//! they are never older than it.

use clap_complete::Shell;
use clap_complete::env::{CompleteEnv, Shells};

use super::exit::{Exit, Failure};
use super::manual;
use super::print;

/// Names the shell that asks. Not `COMPLETE`, which somebody may have set for another purpose.
const VARIABLE: &str = "TALAIA_COMPLETE";

/// Answers a shell that asks; nothing where none does.
pub(crate) fn answer() -> Option<Exit> {
    // Before all else, and for every command: so the variable alone is looked at.
    std::env::var_os(VARIABLE)?;
    let folder = std::env::current_dir().ok();
    let engine = CompleteEnv::with_factory(manual::command).var(VARIABLE);
    // Whatever is wrong, nothing may be written over the line that somebody is typing.
    match engine.try_complete(std::env::args_os(), folder.as_deref()) {
        Ok(true) => Some(Exit::Ok),
        Ok(false) => None,
        Err(_) => Some(Exit::Usage),
    }
}

/// Prints what makes a shell ask.
pub(crate) fn script(shell: Shell) -> Result<Exit, Failure> {
    let shells = Shells::builtins();
    let Some(completer) = shells.completer(&shell.to_string()) else {
        let text = format!("there are no completions for {shell}");
        return Err(Failure::new(Exit::Usage, text));
    };
    let mut text = Vec::new();
    completer
        .write_registration(VARIABLE, "talaia", "talaia", "talaia", &mut text)
        .map_err(|e| Failure::from_error(Exit::Internal, &e))?;
    // A reader that went away has seen enough.
    let _closed = print::raw(&text);
    Ok(Exit::Ok)
}
