//! `show`: all that a plugin is run with, and where each setting is written. Secrets are never shown,
//! only where they are.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::agent::confine::{Machine, Preparing};
use crate::agent::prepare::{Common, Folders, owner_ids, spec};
use crate::config::{
    self, DefinedBy, Mode, Origin, PluginConfig, PluginState, Stdin, Timing, Written,
};
use crate::exec::accounts;
use crate::model::{AgentId, PluginName};

use super::super::args::ConfigArgs;
use super::super::check::fitness;
use super::super::exit::{Exit, Failure};
use super::super::print::{self, BAD, GOOD, ODD, STRONG, paint};
use super::super::report::clean;
use super::edit::no_plugin;
use super::installed::Host;

/// All that is shown.
struct Shown<'a> {
    host: &'a Host,
    plugin: &'a PluginConfig,
    origin: &'a Origin,
    /// What is written, by its key.
    written: BTreeMap<String, Written>,
    /// What would keep it from running that is not in the config.
    unfit: Option<String>,
    /// Variables, and their values where these may be shown.
    env: BTreeMap<String, Option<Value>>,
}

pub(super) fn run(name: &str, config: &ConfigArgs, as_json: bool) -> Result<Exit, Failure> {
    let host = Host::load(config)?;
    let found = host.config.plugins.iter().find(|(plugin, _)| plugin.as_str() == name);
    let Some((name, plugin)) = found else { return Err(no_plugin(&host, name)) };
    let shown = Shown::of(&host, name, plugin);
    if as_json {
        // A reader that went away has seen enough.
        let _closed = print::data(shown.json());
        return Ok(shown.exit());
    }
    for line in shown.lines() {
        if print::data(line).is_err() {
            break;
        }
    }
    print::talk(format!("next: {}", paint(STRONG, format!("talaia test {name}"))));
    Ok(shown.exit())
}

impl<'a> Shown<'a> {
    fn of(host: &'a Host, name: &PluginName, plugin: &'a PluginConfig) -> Self {
        let written = config::written(&host.source, &host.env, name);
        let written: BTreeMap<String, Written> =
            written.into_iter().map(|one| (one.key.clone(), one)).collect();
        let config = &host.config;
        let owners = owner_ids(&config.agent.trusted_owners).unwrap_or_default();
        let machine = Machine::this(String::new(), Preparing::Look);
        let unfit = match plugin.state {
            PluginState::Ready => fitness(plugin, config, &machine, &owners).err(),
            _ => None,
        };
        let plan = machine.plan(plugin, &config.plugins, &config.agent.data_dir);
        let plan = plan.unwrap_or_default();
        let own = accounts::own();
        let common = Common {
            agent: AgentId::new(),
            owners: &owners,
            own: own.as_ref(),
            own_env: &config.agent.own_env,
        };
        let folders = Folders::of(&config.agent.data_dir, name.as_str(), plan.owner);
        let env = spec(plugin, &common, &folders, &plan).env.into_iter();
        let env = env.map(|(key, value)| {
            let key = key.to_string_lossy().into_owned();
            let value = match written.get(&format!("env.{key}")) {
                // As it is written: of a secret that is where it is.
                Some(Written { text, .. }) => {
                    text.as_ref().and_then(|text| serde_json::from_str(text).ok())
                }
                // Each agent has one of its own.
                None if key == "TALAIA_AGENT" => Some("…".into()),
                None => Some(value.to_string_lossy().into()),
            };
            (key, value)
        });
        let mut env: BTreeMap<_, _> = env.collect();
        env.insert("TALAIA_RUN_ID".to_owned(), Some("…".into()));
        Self { host, plugin, origin: &host.origins[name], written, unfit, env }
    }

    fn exit(&self) -> Exit {
        match (&self.plugin.state, &self.unfit) {
            (PluginState::Broken { .. }, _) | (_, Some(_)) => Exit::Finding,
            _ => Exit::Ok,
        }
    }

    fn state(&self) -> (&'static str, Option<&str>) {
        match (&self.plugin.state, &self.unfit) {
            (PluginState::Broken { why }, _) | (PluginState::Ready, Some(why)) => {
                ("broken", Some(why))
            }
            (PluginState::Ready, None) => ("ready", None),
            (PluginState::Disabled, _) => ("disabled", None),
            (PluginState::Skipped { why }, _) => ("skipped", Some(why)),
        }
    }

    /// What defines it: for people, and as one word.
    fn from(&self) -> (String, &'static str) {
        let path = self.origin.path.display();
        match &self.origin.by {
            DefinedBy::Table => (format!("{path}:{}", self.origin.line), "table"),
            DefinedBy::Sidecar { .. } => (path.to_string(), "sidecar"),
            DefinedBy::Program { .. } => (format!("{path} alone"), "program"),
            DefinedBy::Package { name, .. } => {
                let version = self.host.config.packages.get(name);
                let version = version.map(|p| format!(" {}", p.version)).unwrap_or_default();
                (format!("the package {name}{version}, {path}"), "package")
            }
        }
    }

    fn argv(&self) -> Vec<String> {
        let command = &self.plugin.command;
        let program = command.program.display().to_string();
        std::iter::once(program).chain(command.args.iter().cloned()).collect()
    }

    /// The settings as they are: key, value, and the key that it is written under.
    fn settings(&self) -> Vec<(String, Value, String)> {
        let plugin = self.plugin;
        let mut all = Vec::new();
        let mut say = |key: &str, value: Value| all.push((key.to_owned(), value, key.to_owned()));
        let span = |duration| Value::from(humantime::format_duration(duration).to_string());
        match &plugin.timing {
            Timing::Cron(cron) => say("cron", cron.as_str().into()),
            Timing::Own(None) => {}
            Timing::Splayed(every) => say("interval", span(every.interval)),
            Timing::Aligned(every) => {
                say("interval", span(every.interval));
                say("align", true.into());
            }
            Timing::Own(Some(pace)) => say("interval", span(*pace)),
        }
        match plugin.mode {
            Mode::Interval => say("mode", "interval".into()),
            Mode::Stream { .. } => say("mode", "stream".into()),
            Mode::Tick { .. } => {
                say("mode", "stream".into());
                say("trigger", "tick".into());
            }
        }
        if !matches!(plugin.mode, Mode::Stream { .. }) {
            say("timeout", span(plugin.timeout));
        }
        say("grace", span(plugin.grace));
        say("format", plugin.format.as_str().into());
        if plugin.mode == Mode::Interval {
            say("stdin", plugin.stdin.as_str().into());
        }
        say("leftovers", plugin.leftovers.as_str().into());
        let confined = &plugin.confinement;
        for (key, value) in [
            ("user", confined.user.clone().map(Value::from)),
            ("group", confined.group.clone().map(Value::from)),
            ("nice", confined.nice.map(Value::from)),
            ("no_new_privs", confined.no_new_privs.map(Value::from)),
            ("isolate", confined.isolate.then(|| true.into())),
            ("schema", plugin.schema.as_ref().map(|s| s.path.display().to_string().into())),
            ("key", plugin.key.as_ref().map(|key| key.to_string().into())),
        ] {
            if let Some(value) = value {
                say(key, value);
            }
        }
        let mut limits = Map::from_iter([("stdout".to_owned(), size(plugin.stdout_limit))]);
        for (key, value) in [
            ("memory", confined.memory.map(size)),
            ("cpu", confined.cpu.map(|seconds| format!("{seconds}s").into())),
            ("processes", confined.processes.map(Value::from)),
            ("files", confined.files.map(Value::from)),
            ("file_size", confined.file_size.map(size)),
        ] {
            limits.extend(value.map(|value| (key.to_owned(), value)));
        }
        let one =
            |(key, value): (String, Value)| (format!("limits.{key}"), value, "limits".to_owned());
        all.extend(limits.into_iter().map(one));
        for (key, value) in plugin.tags.iter() {
            all.push((format!("tags.{key}"), value.into(), format!("tags.{key}")));
        }
        let written = self.written.iter().filter(|(key, _)| key.starts_with("config."));
        for (key, Written { text, .. }) in written {
            let value = text.as_deref().and_then(|text| serde_json::from_str(text).ok());
            all.push((key.clone(), value.unwrap_or_default(), key.clone()));
        }
        all
    }

    fn place(&self, key: &str) -> Option<String> {
        let origin = &self.written.get(key)?.origin;
        Some(format!("{}:{}", origin.path.display(), origin.line))
    }

    /// What it promises to print.
    fn contract(&self) -> Value {
        json!({
            "strict": self.plugin.strictness == crate::contract::Strictness::Strict,
            "metrics": self.plugin.metrics,
            "schema": self.plugin.schema.as_ref().map(|schema| &schema.path),
        })
    }

    fn stdin(&self) -> &'static str {
        match self.plugin.stdin {
            _ if self.plugin.mode != Mode::Interval => "a pipe that stays open",
            Stdin::Config => "its settings, as JSON",
            Stdin::Null => "nothing",
            Stdin::Open => "a pipe that stays open",
        }
    }

    fn json(&self) -> Value {
        let (state, why) = self.state();
        let (_, kind) = self.from();
        let settings = self.settings().into_iter().map(|(key, value, written)| {
            let from = self
                .written
                .get(&written)
                .map(|one| json!({ "path": one.origin.path, "line": one.origin.line }));
            (key, json!({ "value": value, "from": from }))
        });
        let package = match &self.origin.by {
            DefinedBy::Package { name, .. } => Some(name),
            _ => None,
        };
        json!({
            "plugin": self.plugin.name, "state": state, "why": why,
            "defined": { "path": self.origin.path, "line": self.origin.line, "by": kind, "package": package },
            "argv": self.argv(), "dir": self.plugin.command.dir, "stdin": self.stdin(),
            "env": self.env, "settings": settings.collect::<Map<_, _>>(), "contract": self.contract(),
        })
    }

    fn lines(&self) -> Vec<String> {
        let (state, why) = self.state();
        let style = match state {
            "ready" => GOOD,
            "broken" => BAD,
            _ => ODD,
        };
        let why = why.map(|why| format!(": {}", clean(why))).unwrap_or_default();
        let mut lines = vec![
            format!("{}  {}{why}", paint(STRONG, &self.plugin.name), paint(style, state)),
            format!("  defined in  {}", self.from().0),
            format!(
                "  runs        {}",
                self.argv().iter().map(|w| word(w)).collect::<Vec<_>>().join(" ")
            ),
            format!("  in          {}", self.plugin.command.dir.display()),
            format!("  stdin       {}", self.stdin()),
            String::new(),
        ];
        let row = |key: String, value: String, from: Option<String>| {
            vec![key, value, from.unwrap_or_else(|| "default".to_owned())]
        };
        let settings = self.settings().into_iter();
        let settings = settings.map(|(key, value, at)| row(key, plain(&value), self.place(&at)));
        let head = |words: [&str; 3]| words.map(str::to_owned).to_vec();
        lines.extend(print::table(head(["setting", "value", "from"]), settings.collect()));
        lines.push(String::new());
        let env = self.env.iter().map(|(key, value)| {
            let at = self.place(&format!("env.{key}"));
            let from = at.or_else(|| key.starts_with("TALAIA_").then(|| "the agent".to_owned()));
            let shown = value.as_ref().map_or_else(|| "(as the agent has it)".to_owned(), plain);
            row(key.clone(), shown, from)
        });
        lines.extend(print::table(head(["variable", "value", "from"]), env.collect()));
        if !self.plugin.metrics.is_empty() {
            lines.push(String::new());
            let metrics = self.plugin.metrics.iter().map(|(name, declared)| {
                let mut kind = declared.kind.to_string();
                kind.extend(declared.unit.iter().map(|unit| format!(" {unit}")));
                if declared.required {
                    kind.push_str(", required");
                }
                row(name.clone(), kind, self.place(&format!("metrics.{name}")))
            });
            lines.extend(print::table(head(["metric", "type", "from"]), metrics.collect()));
            if self.plugin.strictness == crate::contract::Strictness::Strict {
                lines.push("strict: what is not declared is refused".to_owned());
            }
        }
        lines
    }
}

/// A count of bytes as the config writes it.
fn size(bytes: u64) -> Value {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let whole = units.into_iter().find(|(_, shift)| bytes > 0 && bytes.is_multiple_of(1 << shift));
    whole
        .map_or_else(|| format!("{bytes}B"), |(unit, shift)| format!("{}{unit}", bytes >> shift))
        .into()
}

/// A value in a row: texts without quotes.
fn plain(value: &Value) -> String {
    clean(&value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}

/// A word as a shell would take it.
fn word(text: &str) -> String {
    let bare = |c: char| c.is_alphanumeric() || "-_./=:,@%+".contains(c);
    if !text.is_empty() && text.chars().all(bare) {
        return text.to_owned();
    }
    format!("'{}'", clean(text).replace('\'', "'\\''"))
}
