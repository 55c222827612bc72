//! Plugins, as they will be run.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::choices::{Leftovers, Stdin};
use super::command::Command;
use super::confinement::Confinement;
use super::diagnostic::Diagnostic;
use super::read::{At, Table};
use super::resolve::Cx;
use super::secrets;
use super::values::EnvText;
use crate::contract::{Contract, ContractError, Declared, Strictness};
use crate::model::{Format, PluginKey, PluginName, Secret, Tags};
use crate::schedule::{Cron, Every, Schedule};

/// One plugin. Equal to another exactly when a reload need not touch it.
#[derive(Debug, Clone, PartialEq)]
pub struct PluginConfig {
    /// Its name.
    pub name: PluginName,
    /// What a hub gave it when it was registered.
    pub key: Option<PluginKey>,
    /// Whether it is to run.
    pub state: PluginState,
    /// What is started, and where.
    pub command: Command,
    /// Whether it is started for each run, or once.
    pub mode: Mode,
    /// When.
    pub timing: Timing,
    /// How long a run, or the answer to a tick, may take.
    pub timeout: Duration,
    /// From TERM to KILL.
    pub grace: Duration,
    /// What it prints.
    pub format: Format,
    /// What it finds on its standard input.
    pub stdin: Stdin,
    /// What happens to processes that it leaves behind.
    pub leftovers: Leftovers,
    /// Its own settings.
    pub settings: Settings,
    /// Its whole environment but for the variables that begin with `TALAIA_`.
    pub env: BTreeMap<String, Secret>,
    /// Tags for each of its metrics, the agent's among them.
    pub tags: Tags,
    /// What it says that it prints.
    pub metrics: BTreeMap<String, Declared>,
    /// What happens to metrics that are not declared.
    pub strictness: Strictness,
    /// The schema of what it prints.
    pub schema: Option<SchemaFile>,
    /// Most bytes of standard output that are read.
    pub stdout_limit: u64,
    /// As whom it runs and what the system holds it to.
    pub confinement: Confinement,
}

impl PluginConfig {
    /// The contract that it declares. That of a plugin that is [`PluginState::Ready`] holds: this was
    /// seen when the config was resolved.
    pub fn contract(&self) -> Result<Contract, ContractError> {
        let schema = match &self.schema {
            Some(SchemaFile { schema: Ok(schema), .. }) => Some(schema),
            Some(SchemaFile { path, schema: Err(why) }) => {
                return Err(ContractError::NoSchema(format!("`{}`: {why}", path.display())));
            }
            None => None,
        };
        Contract::new(self.metrics.clone(), self.strictness, schema)
    }
}

impl PluginConfig {
    /// The same plugin with some of its settings and variables changed, for a trial.
    #[must_use]
    pub fn with(
        mut self,
        settings: serde_json::Map<String, serde_json::Value>,
        env: &BTreeMap<String, String>,
    ) -> Self {
        let mut all = self.settings.0.as_object().cloned().unwrap_or_default();
        all.extend(settings);
        self.settings = Settings(serde_json::Value::Object(all));
        self.env
            .extend(env.iter().map(|(name, value)| (name.clone(), Secret::new(value.as_str()))));
        self
    }
}

/// Whether a plugin is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PluginState {
    /// It is.
    Ready,
    /// Its config says no.
    Disabled,
    /// Its `when` does not hold here.
    Skipped {
        /// Which condition, for a person.
        why: String,
    },
    /// It could not start as things are; the rest of the agent runs.
    Broken {
        /// What is wrong and what to do, in one line.
        why: String,
    },
}

/// When a plugin runs.
#[derive(Debug, Clone, PartialEq)]
pub enum Timing {
    /// Every so often, counted from the agent's start, at a phase of its own.
    Splayed(Every),
    /// At full multiples of the interval on the wall clock.
    Aligned(Every),
    /// By the calendar.
    Cron(Cron),
    /// When it likes, about so often, where it said.
    Own(Option<Duration>),
}

/// How a plugin lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It is started for each run.
    Interval,
    /// It is started once; its lines are reported as they come.
    Stream {
        /// Longest line, in bytes.
        line: u64,
    },
    /// It is started once; each due time it is asked by a line and answers with one.
    Tick {
        /// Longest line, in bytes.
        line: u64,
    },
}

impl Timing {
    /// The schedule, unless it has one of its own; whether it is counted from the agent's start or
    /// on the wall clock is known from the variant.
    pub fn schedule(&self) -> Option<Schedule> {
        match self {
            Self::Splayed(every) | Self::Aligned(every) => Some(Schedule::Every(*every)),
            Self::Cron(cron) => Some(Schedule::Cron(cron.clone())),
            Self::Own(_) => None,
        }
    }

    /// The interval, where there is a fixed one.
    pub fn interval(&self) -> Option<Duration> {
        match self {
            Self::Splayed(every) | Self::Aligned(every) => Some(every.interval),
            Self::Cron(_) => None,
            Self::Own(pace) => *pace,
        }
    }
}

/// A plugin's own settings, secrets in place: a JSON object.
#[derive(Clone, PartialEq)]
pub struct Settings(serde_json::Value);

impl Settings {
    pub(super) fn new(value: serde_json::Value) -> Self {
        Self(value)
    }

    /// The JSON text that the plugin gets. It may hold secrets.
    pub fn to_json(&self) -> String {
        self.0.to_string()
    }

    /// The settings themselves. They may hold secrets.
    pub fn expose(&self) -> &serde_json::Value {
        &self.0
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Settings(…)")
    }
}

/// A JSON Schema and the file it is from.
#[derive(Debug, Clone, PartialEq)]
pub struct SchemaFile {
    /// The file; absolute.
    pub path: PathBuf,
    /// What is in it; or why it cannot be read.
    pub schema: Result<serde_json::Value, String>,
}

/// Environment variables as written, secrets fetched; those that cannot be had go to `missing`.
pub(super) fn environment(
    written: Option<&At<Table<At<EnvText>>>>,
    missing: &mut Vec<Diagnostic>,
    cx: &mut Cx<'_>,
) -> BTreeMap<String, Secret> {
    let mut env = BTreeMap::new();
    for pair in written.iter().flat_map(|at| &at.value.0) {
        if !variable(&pair.name) {
            cx.found.push(wrong_variable(&pair.name).at(&pair.place));
            continue;
        }
        let value = match &pair.value.value {
            EnvText::Text(text) => Ok(Secret::new(text.as_str())),
            EnvText::Secret(source) => secrets::fetch(source, cx),
        };
        match value {
            Ok(value) if value.expose().contains('\0') => {
                cx.error("an environment variable cannot hold a zero byte", &pair.value.place);
            }
            Ok(value) => {
                env.insert(pair.name.clone(), value);
            }
            Err(diagnostic) => missing.push(diagnostic),
        }
    }
    env
}

/// Whether a plugin may have a variable of this name from its config.
pub(super) fn variable(name: &str) -> bool {
    !name.is_empty() && !name.contains(['=', '\0']) && !name.starts_with("TALAIA_")
}

pub(super) fn wrong_variable(name: &str) -> Diagnostic {
    if name.starts_with("TALAIA_") {
        Diagnostic::error("variables that begin with `TALAIA_` are the agent's own")
            .help("give the plugin its settings in `config`, or choose another name")
    } else {
        Diagnostic::error(format!("`{name}` is not the name of an environment variable"))
    }
}
