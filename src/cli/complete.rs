//! Shells that complete what is typed: their scripts, and the answers to them.
//!
//! The scripts of `talaia completions` have the shell ask this very program, with [`VARIABLE`] set, so
//! they are never older than it.

use std::ffi::OsString;

use clap_complete::Shell;
use clap_complete::env::{CompleteEnv, Shells};

use super::exit::{Exit, Failure};
use super::manual;
use super::print;

/// Names the shell that asks. Not `COMPLETE`, which somebody may have set for another purpose.
const VARIABLE: &str = "TALAIA_COMPLETE";

/// As a file of its `fpath`, zsh takes the script for the function `_talaia`, whose first call is a
/// completion already: to have registered another would leave that one without an answer.
const ZSH_FILE: &str = "[[ $funcstack[1] != _talaia ]] || _clap_dynamic_completer_talaia \"$@\"\n";

/// Answers a shell that asks; nothing where none does.
pub(crate) fn answer() -> Option<Exit> {
    // Before all else, and for every command: so the variable alone is looked at.
    std::env::var_os(VARIABLE)?;
    let folder = std::env::current_dir().ok();
    let engine = CompleteEnv::with_factory(manual::command).var(VARIABLE);
    // Whatever is wrong, nothing may be written over the line that somebody is typing.
    match engine.try_complete(rejoined(std::env::args_os().collect()), folder.as_deref()) {
        Ok(true) => Some(Exit::Ok),
        Ok(false) => None,
        Err(_) => Some(Exit::Usage),
    }
}

/// The words of a line of which bash has made three where one is `--option=value`. They stay three, as
/// bash has counted them: the option twice.
fn rejoined(mut words: Vec<OsString>) -> Vec<OsString> {
    for n in 2..words.len() {
        let option = words[n - 2].clone();
        if words[n - 1] == "=" && option.len() > 2 && option.as_encoded_bytes().starts_with(b"--") {
            words[n - 2].push("=");
            let value = words[n].clone();
            words[n - 2].push(value);
            words[n - 1] = option;
        }
    }
    words
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
    if shell == Shell::Zsh {
        text.extend_from_slice(ZSH_FILE.as_bytes());
    }
    // A reader that went away has seen enough.
    let _closed = print::raw(&text);
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_bash_split_is_one_option_again() {
        for (line, wanted) in [
            ("a -- b --config = x y", "a -- b --config=x --config x y"),
            ("a -- b --config = ", "a -- b --config= --config "),
            ("a -- b --tag k = v", "a -- b --tag k = v"),
            ("a -- = v", "a -- = v"),
        ] {
            let words = rejoined(line.split(' ').map(OsString::from).collect());
            assert_eq!(words, wanted.split(' ').collect::<Vec<_>>(), "{line}");
        }
    }
}
