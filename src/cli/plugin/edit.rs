//! `add`, `remove`, `enable` and `disable`: the config, edited by command.
//!
//! The file as it is to become is loaded before it is written; where it would not load, or the plugin
//! could not run, it stays as it is. Commands that edit wait for each other; who edits by other means
//! meanwhile is noticed, and the command begins again.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::agent::confine::{Machine, Preparing};
use crate::agent::prepare::owner_ids;
use crate::config::edit::{self, EditError, Setting};
use crate::config::{self, DefinedBy, Loaded, MANIFEST, Origin, PluginConfig, PluginState};
use crate::exec::trust;
use crate::model::{PackageName, PluginName, chain, nearest_name};

use super::super::args::{AddArgs, ConfigArgs};
use super::super::check::fitness;
use super::super::exit::{Exit, Failure};
use super::super::load;
use super::super::print::{self, GOOD, ODD, STRONG, paint};
use super::installed::{Host, read};
use super::parsed;

/// How often a command begins again because the file changed under it.
const TRIES: usize = 5;

/// How long a command waits for others that edit, and how often it looks.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(20);

/// How one attempt went.
enum Attempt {
    Done(Exit),
    /// Somebody else wrote the file in between.
    Overtaken(PathBuf),
}

/// Does it, again where somebody else was faster.
fn attempts(mut attempt: impl FnMut() -> Result<Attempt, Failure>) -> Result<Exit, Failure> {
    let mut file = PathBuf::new();
    for _ in 0..TRIES {
        match attempt()? {
            Attempt::Done(exit) => return Ok(exit),
            Attempt::Overtaken(path) => file = path,
        }
    }
    let text =
        format!("{} changes all the time; nothing was changed, try again later", file.display());
    Err(Failure::new(Exit::Disk, text))
}

/// Has other commands that edit wait until this one is done. A folder that is not there has no file that
/// two could edit; one that cannot be locked leaves it to the comparison in [`write`].
fn wait_for_others(args: &ConfigArgs) -> Result<Option<File>, Failure> {
    let path = load::path(args, &config::Env::system());
    path.as_deref().and_then(Path::parent).map_or(Ok(None), |folder| lock(folder, PATIENCE))
}

fn lock(path: &Path, patience: Duration) -> Result<Option<File>, Failure> {
    let Ok(folder) = File::open(path) else { return Ok(None) };
    let begun = Instant::now();
    loop {
        match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Some(folder)),
            Err(Errno::WOULDBLOCK | Errno::INTR) if begun.elapsed() < patience => {
                std::thread::sleep(PAUSE);
            }
            Err(Errno::WOULDBLOCK) => {
                let text = format!(
                    "another program has {} locked, probably a `talaia plugin` that is not done; nothing \
                     was changed, try again when it is",
                    path.display()
                );
                return Err(Failure::new(Exit::Disk, text));
            }
            Err(_) => return Ok(None),
        }
    }
}

/// Writes the file if it still is what was read, and has a running agent take it up.
fn write(host: &Host, path: &Path, was: Option<&str>, text: &str) -> Result<Attempt, Failure> {
    if read(path)?.as_deref() != was {
        return Ok(Attempt::Overtaken(path.to_owned()));
    }
    host.change(path, Some(text)).map_err(|unchanged| unchanged.failure)?;
    Ok(Attempt::Done(Exit::Ok))
}

/// Only TOML is edited: who has a config in JSON has it made by a program, which would undo the edit.
fn only_toml(path: &Path, by_hand: &str) -> Result<(), Failure> {
    if path.extension().is_some_and(|extension| extension == "json") {
        let text = format!(
            "{} is JSON, which this command does not edit: {by_hand} there, then `talaia reload`",
            path.display()
        );
        return Err(Failure::new(Exit::Usage, text));
    }
    Ok(())
}

fn uneditable(path: &Path, error: &EditError) -> Failure {
    Failure::new(Exit::Config, format!("{}: {error}; edit it by hand", path.display()))
}

fn place(origin: &Origin) -> String {
    match origin.by {
        DefinedBy::Table => format!("{}:{}", origin.path.display(), origin.line),
        _ => origin.path.display().to_string(),
    }
}

pub(super) fn add(args: &AddArgs) -> Result<Exit, Failure> {
    let _others = wait_for_others(&args.config)?;
    attempts(|| add_once(args))
}

fn add_once(args: &AddArgs) -> Result<Attempt, Failure> {
    let (host, new) = match Host::begin(&args.config)? {
        Some((host, path)) => (host, Some(path)),
        None => (Host::load(&args.config)?, None),
    };
    let file = match &args.file {
        Some(file) => config::plain_path(&host.env.cwd.join(file)),
        None => host.main_file(),
    };
    let name = name(args, &host)?;
    let mut settings = settings(args, &host, &file);
    let off = args.disabled.then_some(("enabled", Setting::Flag(false)));
    only_toml(
        &file,
        &format!("write `{}` into `plugins`", in_json(&name, &settings, off.as_ref())),
    )?;
    if new.is_some() && file != host.main_file() {
        let text = format!(
            "there is no configuration at {} yet that would read {}; leave --file out",
            host.main_file().display(),
            file.display()
        );
        return Err(Failure::new(Exit::Usage, text));
    }
    let was = read(&file)?;
    let begun = match (&was, &new) {
        (Some(text), _) => text.as_str(),
        (None, Some(_)) => config::DEFAULT,
        (None, None) => "",
    };
    let with = |settings: &[(&str, Setting)]| {
        edit::add(begun, name.as_str(), settings).map_err(|error| uneditable(&file, &error))
    };
    let mut text = with(&settings)?;
    let mut loaded = host.tried(&file, Some(&text))?;
    let Some(plugin) = loaded.config.plugins.get(&name) else {
        let text = format!(
            "{} is not read by {}: name it in `include` there, or use {}",
            file.display(),
            host.main_file().display(),
            host.main_file()
                .with_file_name(config::DROP_INS)
                .join(format!("{name}.toml"))
                .display()
        );
        return Err(Failure::new(Exit::Usage, text));
    };
    runnable(plugin, &loaded).map_err(|mut failure| {
        if !args.what.contains('/') && host.env.cwd.join(&args.what).is_file() {
            failure.text.push_str(&format!("\n\nhint: for the file here write `./{}`", args.what));
        }
        failure
    })?;
    // One that is to be off now is to run one day: it was tried as if it ran.
    if let Some(off) = off {
        settings.push(off);
        text = with(&settings)?;
        loaded = host.tried(&file, Some(&text))?;
    }
    if new.is_some() {
        may_begin(&file)?;
    }
    let attempt = write(&host, &file, was.as_deref(), &text)?;
    if let Attempt::Done(_) = attempt {
        if let Some(path) = &new {
            print::talk(format!(
                "made {}; what is commented out there shows what else there is",
                path.display()
            ));
        }
        print::talk(format!("{} is in {}", paint(STRONG, &name), place(&loaded.origins[&name])));
        let next = if args.disabled { "plugin enable" } else { "test" };
        print::talk(format!("next: {}", paint(STRONG, format!("talaia {next} {name}"))));
    }
    Ok(attempt)
}

/// The new plugin's name: as given, else after the program.
fn name(args: &AddArgs, host: &Host) -> Result<PluginName, Failure> {
    let path = host.env.cwd.join(&args.what);
    let is_path = args.what.contains('/');
    if is_path && path.is_dir() {
        let text = if path.join(MANIFEST).is_file() {
            format!("{0} is a package: `talaia plugin install {0}`", args.what)
        } else {
            format!("{} is a folder; name the executable in it", args.what)
        };
        return Err(Failure::new(Exit::Usage, text));
    }
    let name: PluginName = if let Some(name) = &args.name {
        parsed(name)?
    } else {
        let stem = Path::new(&args.what).file_stem().unwrap_or_default().to_string_lossy();
        parsed(&nearest_name(&stem))?
    };
    if let Some(origin) = host.origins.get(&name) {
        let what = match &origin.by {
            DefinedBy::Table => "in",
            DefinedBy::Package { .. } => "of the package",
            DefinedBy::Sidecar { .. } | DefinedBy::Program { .. } => {
                "found in a folder of plugins:"
            }
        };
        let text = format!(
            "there is a plugin {name} already, {what} {}; choose another name with --name",
            place(origin)
        );
        return Err(Failure::new(Exit::Usage, text));
    }
    Ok(name)
}

/// The keys that the new table gets.
fn settings(args: &AddArgs, host: &Host, file: &Path) -> Vec<(&'static str, Setting)> {
    let mut command = vec![program(args, host, file)];
    command.extend(args.args.iter().cloned());
    let mut settings = vec![("command", Setting::Words(command))];
    let texts = [
        ("interval", &args.interval),
        ("cron", &args.cron),
        ("timeout", &args.timeout),
        ("format", &args.format),
        ("user", &args.user),
    ];
    for (key, text) in texts {
        settings.extend(text.iter().map(|text| (key, Setting::Text(text.clone()))));
    }
    for (key, pairs) in [("tags", &args.tags), ("env", &args.env)] {
        if !pairs.is_empty() {
            let pairs: BTreeMap<String, String> = pairs.iter().cloned().collect();
            settings.push((key, Setting::Pairs(pairs)));
        }
    }
    settings
}

/// The program as the config names it: relative where it is below the config's folder.
fn program(args: &AddArgs, host: &Host, file: &Path) -> String {
    if !args.what.contains('/') {
        return args.what.clone();
    }
    let path = config::plain_path(&host.env.cwd.join(&args.what));
    let below = file.parent().and_then(|folder| path.strip_prefix(folder).ok());
    match below {
        Some(below) if below.components().count() > 1 => below.display().to_string(),
        Some(below) => format!("./{}", below.display()),
        None => path.display().to_string(),
    }
}

/// The new table as JSON has it.
fn in_json(
    name: &PluginName,
    settings: &[(&str, Setting)],
    more: Option<&(&str, Setting)>,
) -> String {
    let values = settings.iter().chain(more).map(|(key, setting)| {
        let value = match setting {
            Setting::Text(text) => serde_json::json!(text),
            Setting::Words(words) => serde_json::json!(words),
            Setting::Pairs(pairs) => serde_json::json!(pairs),
            Setting::Flag(flag) => serde_json::json!(flag),
        };
        ((*key).to_owned(), value)
    });
    format!("\"{name}\": {}", serde_json::Value::Object(values.collect()))
}

/// Whether the plugin would run as things are.
fn runnable(plugin: &PluginConfig, loaded: &Loaded) -> Result<(), Failure> {
    let refused = |why: &str| {
        let text = format!("{}: {why}\nnothing was changed", plugin.name);
        Failure::new(Exit::Finding, text)
    };
    if let PluginState::Broken { why } = &plugin.state {
        return Err(refused(why));
    }
    let owners = owner_ids(&loaded.config.agent.trusted_owners).unwrap_or_default();
    let machine = Machine::this(String::new(), Preparing::Look);
    let notes = fitness(plugin, &loaded.config, &machine, &owners).map_err(|why| refused(&why))?;
    for note in notes {
        print::talk(format!("note: {note}"));
    }
    Ok(())
}

/// Whether a config that is made here would be trusted.
fn may_begin(file: &Path) -> Result<(), Failure> {
    let Some(above) = file.ancestors().skip(1).find(|folder| folder.exists()) else {
        return Ok(());
    };
    trust::check_path(above, &[]).map_err(|error| {
        let text = format!("a configuration there would not be trusted: {}", chain(&error));
        Failure::new(Exit::Config, text)
    })
}

pub(super) fn remove(name: &str, args: &ConfigArgs) -> Result<Exit, Failure> {
    let _others = wait_for_others(args)?;
    attempts(|| remove_once(name, args))
}

fn remove_once(name: &str, args: &ConfigArgs) -> Result<Attempt, Failure> {
    let host = match Host::load(args) {
        Ok(host) => host,
        Err(failure) => {
            let mended = mend(args, name, "out of", |text| edit::remove(text, name))?;
            return mended.ok_or(failure);
        }
    };
    let (name, origin) = find(&host, name)?;
    let elsewhere = |text: String| Err(Failure::new(Exit::Usage, text));
    match &origin.by {
        DefinedBy::Table => {}
        DefinedBy::Package { name: package, installed: true, .. } => {
            return elsewhere(format!(
                "{name} is of the package {package}: `talaia plugin uninstall {package}` removes all of it, \
                 `talaia plugin disable {name}` this one"
            ));
        }
        DefinedBy::Package { .. } => {
            let folder = origin.path.parent().unwrap_or(&origin.path);
            return elsewhere(format!(
                "{name} is there because the package {} is in a folder of plugins; take it out of there",
                folder.display()
            ));
        }
        DefinedBy::Program { program } | DefinedBy::Sidecar { program } => {
            return elsewhere(format!(
                "{name} is there because {} is in a folder of plugins: take the file away, or \
                 `talaia plugin disable {name}`",
                program.display()
            ));
        }
    }
    let path = &origin.path;
    only_toml(path, &format!("take `{name}` out of `plugins`"))?;
    let was = read(path)?;
    let text = edit::remove(was.as_deref().unwrap_or_default(), name.as_str())
        .map_err(|error| uneditable(path, &error))?;
    let loaded = host.tried(path, Some(&text))?;
    let program = &host.config.plugins[&name].command.program;
    let again = loaded.config.plugins.values().find(|plugin| {
        plugin.command.program == *program && !host.config.plugins.contains_key(&plugin.name)
            || plugin.name == name
    });
    if let Some(again) = again {
        return elsewhere(format!(
            "without its table {name} would come back as {}, because {} is in a folder of plugins: \
             take the file away first, or `talaia plugin disable {name}`",
            again.name,
            program.display()
        ));
    }
    let attempt = write(&host, path, was.as_deref(), &text)?;
    if let Attempt::Done(_) = attempt {
        print::talk(format!("{} is out of {}", paint(STRONG, &name), path.display()));
        if program.starts_with(path.parent().unwrap_or(path)) && program.exists() {
            print::talk(format!("its program is still there: {}", program.display()));
        }
    }
    Ok(attempt)
}

/// The same where the configuration does not load, and does once the plugin's table in its main file is
/// out of the way; nothing where it does not even so.
fn mend(
    args: &ConfigArgs,
    name: &str,
    word: &str,
    change: impl FnOnce(&str) -> Result<String, EditError>,
) -> Result<Option<Attempt>, Failure> {
    let Some((host, was, text)) = mended(args, name, change)? else { return Ok(None) };
    let path = host.main_file();
    let attempt = write(&host, &path, Some(&was), &text)?;
    if let Attempt::Done(_) = attempt {
        print::talk(format!("{} is {word} {}", paint(STRONG, name), path.display()));
        print::talk("the configuration loads again");
    }
    Ok(Some(attempt))
}

/// The configuration that loads again by a change of the plugin's table, as [`Host::mended`] gives it.
fn mended(
    args: &ConfigArgs,
    name: &str,
    change: impl FnOnce(&str) -> Result<String, EditError>,
) -> Result<Option<(Host, String, String)>, Failure> {
    let there = |text: &str| edit::contains(text, &["plugins", name]);
    Host::mended(args, |text| change(text).ok().filter(|_| there(text)))
}

/// The plugin of that name, and where it is defined.
fn find(host: &Host, name: &str) -> Result<(PluginName, Origin), Failure> {
    let found = host.origins.iter().find(|(plugin, _)| plugin.as_str() == name);
    let found = found.map(|(plugin, origin)| (plugin.clone(), origin.clone()));
    found.ok_or_else(|| no_plugin(host, name))
}

/// There is no such plugin; which there are, or which was meant.
pub(super) fn no_plugin(host: &Host, name: &str) -> Failure {
    let names: Vec<&str> = host.config.plugins.keys().map(PluginName::as_str).collect();
    let text = match config::nearest(name, &names) {
        Some(meant) => format!("there is no plugin `{name}`; did you mean `{meant}`?"),
        None if names.is_empty() => format!("there is no plugin `{name}`; there are none"),
        None => format!("there is no plugin `{name}`; there are {}", names.join(", ")),
    };
    Failure::new(Exit::Usage, text)
}

pub(super) fn switch(name: &str, enabled: bool, args: &ConfigArgs) -> Result<Exit, Failure> {
    let _others = wait_for_others(args)?;
    attempts(|| switch_once(name, enabled, args))
}

fn switch_once(name: &str, enabled: bool, args: &ConfigArgs) -> Result<Attempt, Failure> {
    let host = match Host::load(args) {
        Ok(host) => host,
        Err(failure) if enabled => return Err(failure),
        Err(mut failure) => {
            let off = |text: &str| edit::set_enabled(text, &["plugins", name], false);
            if let Some(attempt) = mend(args, name, "disabled in", off)? {
                return Ok(attempt);
            }
            // A table is read whether its plugin runs or not, so that its mistakes do not wait for that day.
            if mended(args, name, |text| edit::remove(text, name))?.is_some() {
                failure.text.push_str(&format!(
                    "\n{name} cannot be disabled while its own settings are wrong; nothing was changed\n\n\
                     hint: mend them, or take it out: `talaia plugin remove {name}`"
                ));
            }
            return Err(failure);
        }
    };
    let package: Option<PackageName> = name.parse().ok();
    let package = package.filter(|package| host.config.packages.contains_key(package));
    let (target, plugin) = match (find(&host, name), package) {
        (Ok((plugin, origin)), _) => (target(&host, &plugin, &origin, enabled)?, Some(plugin)),
        (Err(_), Some(package)) => (whole_package(&host, &package), None),
        (Err(failure), None) => return Err(failure),
    };
    // Nobody installs another version meanwhile.
    let _packages = match &target.path.first() {
        Some(first) if first.as_str() == "packages" => Some(Host::locked(args)?),
        _ => None,
    };
    let word = if enabled { "enabled" } else { "disabled" };
    let is_on = |state: &PluginState| *state != PluginState::Disabled;
    if let Some(plugin) = &plugin
        && is_on(&host.config.plugins[plugin].state) == enabled
    {
        print::talk(format!("{plugin} is {word} already: {}", place(&host.origins[plugin])));
        return Ok(Attempt::Done(Exit::Ok));
    }
    only_toml(&target.file, &format!("write `\"enabled\": {enabled}` for {name}"))?;
    let was = read(&target.file)?;
    let path: Vec<&str> = target.path.iter().map(String::as_str).collect();
    let text = edit::set_enabled(was.as_deref().unwrap_or_default(), &path, enabled)
        .map_err(|error| uneditable(&target.file, &error))?;
    if was.as_deref() == Some(&text) {
        print::talk(format!("{name} is {word} already: {}", target.file.display()));
        return Ok(Attempt::Done(Exit::Ok));
    }
    let loaded = host.tried(&target.file, Some(&text))?;
    if let Some(plugin) = &plugin
        && is_on(&loaded.config.plugins[plugin].state) != enabled
    {
        // The command is on; the package is not.
        let package = target.path.get(1).map_or("", String::as_str);
        let text = format!(
            "the whole package {package} is disabled in {}: `talaia plugin enable {package}`",
            target.file.display()
        );
        return Err(Failure::new(Exit::Usage, text));
    }
    // One that is switched on is to run, where it is for this host.
    let plugin = plugin.map(|name| &loaded.config.plugins[&name]);
    if let Some(plugin) = plugin
        && matches!(plugin.state, PluginState::Ready | PluginState::Broken { .. })
    {
        runnable(plugin, &loaded)?;
    }
    let attempt = write(&host, &target.file, was.as_deref(), &text)?;
    let Attempt::Done(_) = attempt else { return Ok(attempt) };
    let style = if enabled { GOOD } else { ODD };
    let what = paint(STRONG, name);
    print::talk(format!("{what} is {} in {}", paint(style, word), target.file.display()));
    if let Some(plugin) = plugin
        && let PluginState::Skipped { why } = &plugin.state
    {
        print::talk(format!("it does not run here: {why}"));
        return Ok(Attempt::Done(Exit::Finding));
    }
    Ok(attempt)
}

/// Where `enabled` is written: the file, and the table in it.
struct Target {
    file: PathBuf,
    path: Vec<String>,
}

fn target(
    host: &Host,
    name: &PluginName,
    origin: &Origin,
    enabled: bool,
) -> Result<Target, Failure> {
    let own = |file: &Path, path: &[&str]| Target {
        file: file.to_owned(),
        path: path.iter().map(|key| (*key).to_owned()).collect(),
    };
    match &origin.by {
        DefinedBy::Table => Ok(own(&origin.path, &["plugins", name.as_str()])),
        DefinedBy::Sidecar { .. } => Ok(own(&origin.path, &[])),
        DefinedBy::Program { program } => Ok(own(&program.with_extension("toml"), &[])),
        DefinedBy::Package { name: package, command, installed: true } => {
            let in_use = host.package(package)?;
            let (package, file) = (package.as_str(), in_use.file.as_path());
            let text = read(file)?.unwrap_or_default();
            let command = ["packages", package, "commands", command];
            // A package of one command is switched as a whole, unless somebody switched the command.
            let alone = in_use.manifest.as_ref().is_some_and(|m| m.commands.len() == 1);
            let by_command = edit::enabled(&text, &command);
            Ok(match by_command {
                Some(off) if off != enabled => own(file, &command),
                _ if alone => own(file, &command[..2]),
                _ => own(file, &command),
            })
        }
        DefinedBy::Package { .. } => {
            let folder = origin.path.parent().unwrap_or(&origin.path);
            let text = format!(
                "{name} is of the package in {0}, which is there for being in a folder of plugins: take it \
                 out of there, or install it (`talaia plugin install {0}`), after which it can be disabled",
                folder.display()
            );
            Err(Failure::new(Exit::Usage, text))
        }
    }
}

fn whole_package(host: &Host, name: &PackageName) -> Target {
    let file = host.config.packages[name].file.clone();
    Target { file, path: vec!["packages".to_owned(), name.to_string()] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_for_a_lock_is_told_when_it_does_not_come() {
        let folder = tempfile::tempdir().unwrap();
        let held = lock(folder.path(), PAUSE).unwrap();
        assert!(held.is_some());
        let failure = lock(folder.path(), PAUSE).unwrap_err();
        assert_eq!(failure.exit, Exit::Disk);
        assert!(failure.text.contains("locked"), "{failure}");
        drop(held);
        assert!(lock(folder.path(), PAUSE).unwrap().is_some());
        assert!(lock(&folder.path().join("none"), PAUSE).unwrap().is_none());
    }
}
