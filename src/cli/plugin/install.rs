//! `install`, `upgrade`, `rollback` and `uninstall`: one file of the config changes, and with it what
//! the agent runs; the files of a version are there before, and stay until nothing names them.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::config::{Config, Loaded, Manifest, PluginState, is_inside};
use crate::model::{PackageName, PluginKey, Timestamp, Version};
use crate::package::{Origin, Receipt, Store, StoreError, Unpacked, drop_in, versioned};

use super::super::args::{ConfigArgs, HowArgs, InstallArgs};
use super::super::exit::{Exit, Failure};
use super::super::print::{self, ODD, STRONG, paint};
use super::installed::{Host, show};
use super::source::{self, Got, Registry, disk};
use super::{lines, parsed};

pub(super) fn install(args: &InstallArgs) -> Result<Exit, Failure> {
    let (host, store) = Host::locked(&args.how.config())?;
    let key: Option<PluginKey> = args.key.as_deref().map(parsed).transpose()?;
    let got = if args.what.contains('/') {
        if args.version.is_some() {
            let text = "a folder or archive has one version; leave the other out";
            return Err(Failure::new(Exit::Usage, text));
        }
        source::local(Path::new(&args.what))?
    } else {
        let name: PackageName = parsed(&args.what).map_err(|mut failure| {
            if is_inside(&args.what) && Path::new(&args.what).exists() {
                failure
                    .text
                    .push_str(&format!("\nhint: for the file here write `./{}`", args.what));
            }
            failure
        })?;
        let version: Option<Version> = args.version.as_deref().map(parsed).transpose()?;
        let current = host.config.packages.get(&name).map(|package| &package.version);
        let known = known_registry(&store, &name, current)?;
        let registry = Registry::find(&args.how, known.as_deref())?;
        let checked = registry.index(&store, args.how.trust.as_deref())?;
        let got = registry.package(&checked, &name, version.as_ref())?;
        if let Some(current) =
            current.filter(|current| version.is_none() && got.version < **current)
        {
            let text = format!(
                "{name} {current} is installed, and the registry's newest is {}; to go back to it, name it: talaia plugin install {name} {}",
                got.version, got.version
            );
            return Err(Failure::new(Exit::Finding, text));
        }
        got
    };
    bring(&host, &store, &got, key, args.how.dry_run)
}

pub(super) fn upgrade(name: &str, version: Option<&str>, how: &HowArgs) -> Result<Exit, Failure> {
    let name: PackageName = parsed(name)?;
    let version: Option<Version> = version.map(parsed).transpose()?;
    let (host, store) = Host::locked(&how.config())?;
    let current = host.package(&name)?.version.clone();
    let receipt = store.receipt(&name, &current).map_err(|e| disk(&e))?;
    if let Some(Origin::Local { path }) = receipt.map(|receipt| receipt.origin)
        && how.registry.is_none()
        && how.remote.hub.is_none()
    {
        let text = format!(
            "{name} was installed from {path}; install the new version in the same way, or name a registry with --registry"
        );
        return Err(Failure::new(Exit::Usage, text));
    }
    let known = known_registry(&store, &name, Some(&current))?;
    let registry = Registry::find(how, known.as_deref())?;
    let checked = registry.index(&store, how.trust.as_deref())?;
    let offer =
        checked.index.find(&name, version.as_ref(), checked.trust.key).map_err(source::refused)?;
    if offer.approval.version == current || (version.is_none() && offer.approval.version < current)
    {
        print::talk(format!("{name} {current} is up to date"));
        if !how.dry_run {
            // From now on an older index is refused.
            registry.remember(&store, &checked)?;
        }
        return Ok(Exit::Ok);
    }
    let got = registry.package(&checked, &name, Some(&offer.approval.version))?;
    bring(&host, &store, &got, None, how.dry_run)
}

/// The registry that the version in use came from.
fn known_registry(
    store: &Store,
    name: &PackageName,
    current: Option<&Version>,
) -> Result<Option<String>, Failure> {
    let Some(current) = current else { return Ok(None) };
    let receipt = store.receipt(name, current).map_err(|e| disk(&e))?;
    Ok(match receipt.map(|receipt| receipt.origin) {
        Some(Origin::Registry { url, .. }) => Some(url),
        Some(Origin::Local { .. }) | None => None,
    })
}

/// Installs what was got, or goes over to it from another version.
fn bring(
    host: &Host,
    store: &Store,
    got: &Got,
    key: Option<PluginKey>,
    dry_run: bool,
) -> Result<Exit, Failure> {
    let (name, version) = (&got.name, &got.version);
    if !got.inspection.findings.is_empty() {
        print::talk(lines(&got.inspection.findings));
    }
    if let Origin::Local { .. } = got.origin {
        print::talk(format!(
            "{} nobody has reviewed what comes from this machine",
            paint(ODD, "note:")
        ));
    }
    let (path, text) = wanted(host, name, version, key)?;
    let receipt = Receipt::new(
        (name.clone(), version.clone()),
        got.origin.clone(),
        &got.archive,
        &got.contents,
        Timestamp::from(SystemTime::now()),
    );
    // What is there is left alone by who only wants to see.
    let unpacked = if dry_run && store.folder(name, version).exists() {
        Unpacked::Before
    } else {
        store.unpack(&receipt, &got.contents).map_err(|e| disk(&e))?
    };
    let undo = || match unpacked {
        Unpacked::Now => store.remove(name, version).map_err(|e| disk(&e)),
        Unpacked::Before | Unpacked::Mended => Ok(()),
    };
    let loaded = match ready(host, name, (&path, &text)) {
        Ok(loaded) => loaded,
        Err(failure) => {
            undo()?;
            return Err(failure);
        }
    };
    if dry_run {
        undo()?;
        print::talk(format!(
            "{name} {version} would be installed, and {} written:",
            path.display()
        ));
        // A reader that went away has seen enough.
        let _closed = print::data(text.trim_end());
        return Ok(Exit::Ok);
    }
    if let Err(unchanged) = host.change(&path, Some(&text)) {
        if unchanged.settled {
            undo()?;
        }
        return Err(unchanged.failure);
    }
    // It is installed. What else fails is said, and takes nothing of that back.
    let before = host.config.packages.get(name).map(|before| &before.version);
    let from = before.map(|before| format!(" in place of {before}")).unwrap_or_default();
    print::talk(format!("{} {version}{from} from {}", paint(STRONG, name), got.origin));
    for line in show(&loaded, name) {
        print::talk(line);
    }
    print::talk(format!("its settings: {}", path.display()));
    let tidied = tidy(store, got, before);
    if let Err(error) = tidied {
        print::talk(format!("{} {}", paint(ODD, "warning:"), crate::model::chain(&error)));
    }
    Ok(Exit::Ok)
}

/// Keeps what is known of the registry, and removes versions that are no longer of use: the one that
/// was used before stays for a rollback.
fn tidy(store: &Store, got: &Got, before: Option<&Version>) -> Result<(), StoreError> {
    if let Some((url, trust)) = &got.trust {
        store.set_trust(url, *trust)?;
    }
    let used = |old: &Version| *old == got.version || Some(old) == before;
    for old in store.versions(&got.name).iter().filter(|old| !used(old)) {
        store.remove(&got.name, old)?;
    }
    Ok(())
}

/// The drop-in as it is to become, and where it is.
fn wanted(
    host: &Host,
    name: &PackageName,
    version: &Version,
    key: Option<PluginKey>,
) -> Result<(PathBuf, String), Failure> {
    let own = host.drop_in(name);
    let Some(package) = host.config.packages.get(name) else {
        if own.exists() {
            let text = format!(
                "{} is there already, and does not name the package {name}; rename it",
                own.display()
            );
            return Err(Failure::new(Exit::Config, text));
        }
        return Ok((own, drop_in(name, version, key)));
    };
    let path = package.file.clone();
    if path != own {
        let text = format!(
            "{} names the package, and is yours: write `version = \"{version}\"` below `[packages.{name}]` there, or take that out and say this again",
            path.display()
        );
        return Err(Failure::new(Exit::Config, text));
    }
    if let Some(key) = key {
        let text = format!(
            "{name} is installed already; write `key = \"{key}\"` below `[packages.{name}]` in {}",
            path.display()
        );
        return Err(Failure::new(Exit::Usage, text));
    }
    let text = std::fs::read_to_string(&path)
        .map_err(|e| Failure::new(Exit::Disk, format!("cannot read {}: {e}", path.display())))?;
    let text = versioned(&text, name, version).map_err(|error| {
        let text = format!("{}: {error}", path.display());
        Failure::new(Exit::Config, text)
    })?;
    Ok((path, text))
}

/// Loads the config as it is to become, and sees whether the package's plugins would run as they did.
fn ready(host: &Host, name: &PackageName, (path, text): (&Path, &str)) -> Result<Loaded, Failure> {
    let refused =
        |text: String| Failure::new(Exit::Finding, format!("{text}\nnothing was changed"));
    let loaded = host.tried(path, Some(text))?;
    let package = loaded.config.packages.get(name);
    let Some(manifest) = package.and_then(|package| package.manifest.as_ref()) else {
        let text = loaded.sources.render(&loaded.problems, super::super::load::color());
        return Err(refused(text.trim_end().to_owned()));
    };
    if let Some(why) = manifest.unfit().or_else(|| manifest.missing(&host.config.agent.path)) {
        return Err(refused(why));
    }
    let before = host.config.packages.get(name);
    let Some(old) = before.and_then(|before| before.manifest.as_ref()) else { return Ok(loaded) };
    // One that needs settings before it can run is installed to get them; one that runs goes on.
    for command in manifest.commands.values() {
        let state = |config: &Config| config.plugins.get(&command.plugin).map(|p| p.state.clone());
        if let Some(PluginState::Broken { why }) = state(&loaded.config)
            && state(&host.config) == Some(PluginState::Ready)
        {
            return Err(refused(format!("{} would no longer run: {why}", command.plugin)));
        }
    }
    print::talk(differences(old, manifest).join("\n"));
    Ok(loaded)
}

/// What of settings and commands is other in a new version.
fn differences(old: &Manifest, new: &Manifest) -> Vec<String> {
    let mut lines = Vec::new();
    let mut compare = |what: &str, before: Vec<&str>, now: Vec<&str>| {
        for name in now.iter().filter(|name| !before.contains(name)) {
            lines.push(format!("  new {what}: {name}"));
        }
        for name in before.iter().filter(|name| !now.contains(name)) {
            lines.push(format!("  {what} that is gone: {name}"));
        }
    };
    compare("setting", keys(old), keys(new));
    compare("command", commands(old), commands(new));
    for (name, command) in &new.commands {
        let before = old.commands.get(name).map(|command| &command.metrics);
        for metric in command.metrics.keys() {
            if before.is_some_and(|before| !before.contains_key(metric)) {
                lines.push(format!("  new metric: {metric}"));
            }
        }
    }
    if let Some(settings) = new.defaults.as_object() {
        for (key, value) in settings {
            let before = old.defaults.get(key);
            if before.is_some_and(|before| before != value) {
                lines.push(format!("  default of {key}: {value}"));
            }
        }
    }
    if lines.is_empty() {
        lines.push("  the same settings, commands and metrics".to_owned());
    }
    lines
}

/// The names of its settings.
fn keys(manifest: &Manifest) -> Vec<&str> {
    let map = manifest.defaults.as_object();
    map.into_iter().flatten().map(|(key, _)| key.as_str()).collect()
}

/// The names of its commands.
fn commands(manifest: &Manifest) -> Vec<&str> {
    manifest.commands.keys().map(String::as_str).collect()
}

pub(super) fn rollback(
    name: &str,
    version: Option<&str>,
    config: &ConfigArgs,
) -> Result<Exit, Failure> {
    let name: PackageName = parsed(name)?;
    let version: Option<Version> = version.map(parsed).transpose()?;
    let (host, store) = Host::locked(config)?;
    let current = host.package(&name)?.version.clone();
    let versions = store.versions(&name);
    let target = match &version {
        Some(version) => versions.iter().find(|known| *known == version),
        None => versions.iter().filter(|known| **known < current).max(),
    };
    let Some(target) = target.filter(|target| **target != current) else {
        let known: Vec<String> = versions.iter().map(ToString::to_string).collect();
        let text =
            format!("there is no such version to go back to; unpacked are {}", known.join(", "));
        return Err(Failure::new(Exit::Usage, text));
    };
    let damaged = store.verify(&name, target).map_err(|e| disk(&e))?;
    if !damaged.is_empty() {
        return Err(Failure::new(Exit::Finding, lines(&damaged)));
    }
    let (path, text) = wanted(&host, &name, target, None)?;
    let loaded = ready(&host, &name, (&path, &text))?;
    host.change(&path, Some(&text)).map_err(|unchanged| unchanged.failure)?;
    print::talk(format!("{} {target} in place of {current}", paint(STRONG, &name)));
    for line in show(&loaded, &name) {
        print::talk(line);
    }
    Ok(Exit::Ok)
}

pub(super) fn uninstall(name: &str, config: &ConfigArgs) -> Result<Exit, Failure> {
    let name: PackageName = parsed(name)?;
    let (host, store) = Host::locked(config)?;
    let package = host.package(&name)?;
    let (path, own) = (package.file.clone(), host.drop_in(&name));
    if path != own {
        let text = format!(
            "{} names the package, and is yours: take `[packages.{name}]` out of it, then say this again",
            path.display()
        );
        return Err(Failure::new(Exit::Config, text));
    }
    host.tried(&path, None)?;
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let version = package.version.clone();
    let aside = path.with_extension("toml.uninstalled");
    if !is_as_written(&text, &name, &version) {
        crate::package::replace(&aside, text.as_bytes(), 0o644).map_err(|e| {
            Failure::new(Exit::Disk, format!("cannot write {}: {e}", aside.display()))
        })?;
        print::talk(format!("what you wrote is kept in {}", aside.display()));
    }
    host.change(&path, None).map_err(|unchanged| unchanged.failure)?;
    for version in store.versions(&name) {
        store.remove(&name, &version).map_err(|e| disk(&e))?;
    }
    print::talk(format!("{} {version} is gone", paint(STRONG, &name)));
    Ok(Exit::Ok)
}

/// Whether nobody has written into a drop-in.
fn is_as_written(text: &str, name: &PackageName, version: &Version) -> bool {
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("key = ")).collect();
    lines == drop_in(name, version, None).lines().collect::<Vec<_>>()
}
