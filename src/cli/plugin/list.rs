//! `list` and `verify`: what is there, and whether it is as it was installed.

use std::collections::BTreeMap;

use serde_json::json;

use crate::agent::confine::{Machine, Preparing};
use crate::agent::prepare::owner_ids;
use crate::config::PluginState;
use crate::model::PackageName;
use crate::package::{Origin, Store};

use super::super::args::{ConfigArgs, HowArgs, RemoteArgs};
use super::super::check::fitness;
use super::super::exit::{Exit, Failure};
use super::super::print::{self, GOOD, paint};
use super::installed::Host;
use super::source::{Checked, Registry, disk};
use super::{lines, parsed};

pub(super) fn run(config: &ConfigArgs, outdated: bool, as_json: bool) -> Result<Exit, Failure> {
    let host = Host::load(config)?;
    if outdated {
        return newer(&host, config, as_json);
    }
    let package_of = |plugin: &crate::model::PluginName| {
        host.config.packages.iter().find(|(_, package)| {
            let commands = package.manifest.iter().flat_map(|m| m.commands.values());
            commands.into_iter().any(|command| command.plugin == *plugin)
        })
    };
    let owners = owner_ids(&host.config.agent.trusted_owners).unwrap_or_default();
    let machine = Machine::this(String::new(), Preparing::Look);
    let mut rows = Vec::new();
    for plugin in host.config.plugins.values() {
        let (state, why) = match &plugin.state {
            // What is not in the config may be in the way as well.
            PluginState::Ready => match fitness(plugin, &host.config, &machine, &owners) {
                Ok(_) => ("ready", None),
                Err(why) => ("broken", Some(why)),
            },
            PluginState::Disabled => ("disabled", None),
            PluginState::Skipped { why } => ("skipped", Some(why.clone())),
            PluginState::Broken { why } => ("broken", Some(why.clone())),
        };
        let package = package_of(&plugin.name);
        if as_json {
            let line = json!({
                "plugin": plugin.name, "state": state, "why": why,
                "package": package.map(|(name, _)| name),
                "version": package.map(|(_, package)| &package.version),
            });
            if print::data(line).is_err() {
                return Ok(Exit::Ok);
            }
            continue;
        }
        let from = package.map_or_else(
            || plugin.command.program.display().to_string(),
            |(name, package)| format!("{name} {}", package.version),
        );
        let mut row = vec![plugin.name.to_string(), state.to_owned(), from];
        row.extend(why);
        rows.push(row);
    }
    if !as_json {
        table(&["plugin", "state", "from", ""], rows);
    }
    Ok(Exit::Ok)
}

fn table(head: &[&str], rows: Vec<Vec<String>>) {
    if rows.is_empty() {
        return;
    }
    let head = head.iter().map(|word| (*word).to_owned()).collect();
    for line in print::table(head, rows) {
        if print::data(line).is_err() {
            return;
        }
    }
}

/// Packages of which their registry has a newer version.
fn newer(host: &Host, config: &ConfigArgs, as_json: bool) -> Result<Exit, Failure> {
    let store = Store::look(host.data_dir());
    let mut rows = Vec::new();
    let mut exit = Exit::Ok;
    // Each registry is asked once, however many packages came from it, and also where it does not answer.
    let mut indexes = BTreeMap::new();
    for (name, package) in &host.config.packages {
        let receipt = store.receipt(name, &package.version).map_err(|e| disk(&e))?;
        let Some(Origin::Registry { url, .. }) = receipt.map(|receipt| receipt.origin) else {
            continue;
        };
        let how = HowArgs {
            registry: Some(url.clone()),
            trust: None,
            dry_run: false,
            remote: RemoteArgs {
                config: config.config.clone(),
                profile: None,
                sandbox: config.sandbox,
                hub: None,
                key_file: None,
                ca: None,
                trace_http: false,
            },
        };
        let ask = || Registry::find(&how, None)?.index(&store, None);
        let found = match indexes.entry(url).or_insert_with(ask) {
            Ok(Checked { index, trust }) => index.find(name, None, trust.key).map_err(|e| {
                let Failure { exit, text, .. } = super::source::refused(e);
                (exit, text)
            }),
            Err(failure) => Err((failure.exit, failure.text.clone())),
        };
        match found {
            Ok(offer) if offer.approval.version > package.version => {
                if as_json {
                    let line = json!({
                        "package": name, "version": package.version,
                        "newest": offer.approval.version, "approved": offer.approval.approved_at,
                    });
                    let _closed = print::data(line);
                }
                rows.push(vec![
                    name.to_string(),
                    package.version.to_string(),
                    offer.approval.version.to_string(),
                ]);
            }
            Ok(_) => {}
            Err((code, text)) => {
                print::talk(format!("{name}: {text}"));
                exit = code;
            }
        }
    }
    if !as_json {
        table(&["package", "in use", "newest"], rows);
    }
    Ok(exit)
}

pub(super) fn verify(name: Option<&str>, config: &ConfigArgs) -> Result<Exit, Failure> {
    let name: Option<PackageName> = name.map(parsed).transpose()?;
    let host = Host::load(config)?;
    if let Some(name) = &name {
        host.package(name)?;
    }
    let store = Store::look(host.data_dir());
    let mut exit = Exit::Ok;
    let chosen = host.config.packages.keys().filter(|own| name.as_ref().is_none_or(|n| n == *own));
    for name in chosen {
        let mut versions = store.versions(name);
        // The one in use is to be there, whether it is or not.
        let used = host.package(name)?.version.clone();
        if !versions.contains(&used) {
            versions.push(used);
        }
        for version in versions {
            let findings = store.verify(name, &version).map_err(|e| disk(&e))?;
            if findings.is_empty() {
                print::talk(format!("{name} {version} {}", paint(GOOD, "ok")));
            } else {
                print::talk(format!("{name} {version}\n{}", lines(&findings)));
                exit = Exit::Finding;
            }
        }
    }
    Ok(exit)
}
