//! Names that a shell can complete. They are read from the config as far as it can be read; nothing is
//! said of what is wrong with it, and nothing is run.

use std::ffi::OsStr;
use std::path::Path;

use clap_complete::engine::{CompletionCandidate, PathCompleter, ValueCompleter as _};

use crate::config::{self, Env};
use crate::contract::explain;
use crate::model::{MetricType, RejectionCode};
use crate::package::Language;

/// The plugins of the config.
pub(crate) fn plugins() -> Vec<CompletionCandidate> {
    let names = source().map(|source| config::plugin_names(&source, &Env::system()));
    names.into_iter().flatten().map(|name| name.to_string().into()).collect()
}

/// The packages of the config.
pub(crate) fn packages() -> Vec<CompletionCandidate> {
    let names = source().map(|source| config::package_names(&source, &Env::system()));
    names.into_iter().flatten().map(CompletionCandidate::new).collect()
}

/// What `enable` and `disable` take.
pub(crate) fn plugins_and_packages() -> Vec<CompletionCandidate> {
    let mut all = plugins();
    for package in packages() {
        if all.iter().all(|one| one.get_value() != package.get_value()) {
            all.push(package.help(Some("all of the package".into())));
        }
    }
    all
}

/// A plugin of the config, or with a `/` a path.
pub(crate) fn plugin_or_path(current: &OsStr) -> Vec<CompletionCandidate> {
    named_or_path(current, plugins)
}

/// A package of the config, or with a `/` a path.
pub(crate) fn package_or_path(current: &OsStr) -> Vec<CompletionCandidate> {
    named_or_path(current, packages)
}

fn named_or_path(
    current: &OsStr,
    names: fn() -> Vec<CompletionCandidate>,
) -> Vec<CompletionCandidate> {
    let typed = current.to_string_lossy();
    if typed.contains('/') {
        return PathCompleter::any().complete(current);
    }
    let fits = |name: &CompletionCandidate| name.get_value().to_string_lossy().starts_with(&*typed);
    names().into_iter().filter(fits).collect()
}

/// All that `talaia explain` explains.
pub(crate) fn codes() -> Vec<CompletionCandidate> {
    let mut all: Vec<CompletionCandidate> = Vec::new();
    for page in explain::pages() {
        if all.iter().all(|one| one.get_value() != page.code) {
            all.push(CompletionCandidate::new(page.code).help(Some(page.kind.title().into())));
        }
    }
    all
}

/// The codes of rejections.
pub(crate) fn rejections() -> Vec<CompletionCandidate> {
    RejectionCode::ALL.iter().map(|code| CompletionCandidate::new(code.as_str())).collect()
}

/// The types of metrics.
pub(crate) fn types() -> Vec<CompletionCandidate> {
    MetricType::ALL.iter().map(|kind| CompletionCandidate::new(kind.as_str())).collect()
}

/// The languages of `talaia new`.
pub(crate) fn languages() -> Vec<CompletionCandidate> {
    let one = |language: Language| {
        CompletionCandidate::new(language.as_str()).help(Some(language.title().into()))
    };
    Language::ALL.into_iter().map(one).collect()
}

/// The config that the line so far names, else that which it would mean.
fn source() -> Option<config::Source> {
    let env = Env::system();
    let words: Vec<String> = std::env::args().collect();
    let named = named(&words).or_else(|| env.var("TALAIA_CONFIG_FILE"));
    let path = match named {
        // The shell has not put the folder in place of the `~` yet.
        Some(path) => match (path.strip_prefix("~/"), env.var("HOME")) {
            (Some(below), Some(home)) => Path::new(home).join(below),
            _ => env.cwd.join(path),
        },
        None => env.default_config_path()?,
    };
    Some(config::Source::File(path))
}

/// The file after the last `--config`. Bash makes three words of `--config=FILE`.
fn named(words: &[String]) -> Option<&str> {
    let mut named = None;
    for (n, word) in words.iter().enumerate() {
        if matches!(word.as_str(), "-c" | "--config") {
            named = words[n + 1..].iter().map(String::as_str).find(|word| *word != "=");
        } else if let Some(path) = word.strip_prefix("--config=") {
            named = Some(path);
        }
    }
    named
}
