//! `trigger` and `reload`: what one can have the running agent do.

use reqwest::Method;

use crate::agent::reload::Changes;
use crate::model::PluginName;

use super::args::ConfigArgs;
use super::exit::{Exit, Failure};
use super::print::{self, ODD, paint};
use super::{client, load};

pub(crate) fn trigger(args: &ConfigArgs, plugin: &str) -> Result<Exit, Failure> {
    let name: PluginName = plugin.parse().map_err(|e| Failure::from_error(Exit::Usage, &e))?;
    client::ask(&load::data_dir(args)?, Method::POST, &format!("/v1/trigger/{name}"))?;
    print::talk(format!("{name} runs now"));
    Ok(Exit::Ok)
}

pub(crate) fn reload(args: &ConfigArgs) -> Result<Exit, Failure> {
    let body = client::ask(&load::data_dir(args)?, Method::POST, "/v1/reload")?;
    let changes: Changes = parse(&body)?;
    for (what, diff) in [("plugins", &changes.plugins), ("outputs", &changes.outputs)] {
        let mut parts = Vec::new();
        for (word, names) in
            [("added", &diff.added), ("changed", &diff.changed), ("removed", &diff.removed)]
        {
            if !names.is_empty() {
                parts.push(format!("{word} {}", names.join(", ")));
            }
        }
        parts.push(format!("{} untouched", diff.kept));
        print::talk(format!("{what}: {}", parts.join("; ")));
    }
    for what in &changes.needs_restart {
        print::talk(format!("{} {what} changed: that takes a restart", paint(ODD, "note:")));
    }
    Ok(Exit::Ok)
}

/// Reads what the agent answered.
pub(super) fn parse<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|error| {
        let text = format!("the agent's answer cannot be read ({error}); is it another version?");
        Failure::new(Exit::Internal, text)
    })
}
