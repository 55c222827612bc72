//! From what is written about a plugin to how it will be run.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use super::DefinedBy;
use super::agent::{AgentConfig, size};
use super::choices::{Leftovers, Stdin};
use super::command::{Command, Fault, find, inspect, look_up};
use super::diagnostic::{Diagnostic, Severity};
use super::env::KEY_VARIABLES;
use super::files;
use super::node::Place;
use super::pattern::fits;
use super::plugin::{
    Mode, PluginConfig, PluginState, SchemaFile, Settings, Timing, environment, variable,
    wrong_variable,
};
use super::raw::{RawMetric, RawPlugin, RawWhen};
use super::read::{At, Table};
use super::resolve::Cx;
use super::resolve_confinement::confinement;
use super::resolve_mode::mode;
use super::secrets;
use super::values::{RawCommand, SecretSource, later_version};
use crate::contract::{Contract, ContractError, Declared, Rules, Strictness};
use crate::model::{Format, PluginName, Secret, is_name, limits, nearest_name};
use crate::schedule::{Cron, Every, splay};

/// A plugin as written, and where.
pub(super) struct Definition {
    pub(super) name: PluginName,
    pub(super) raw: RawPlugin,
    /// Where it is defined: its table, its sidecar, or the command line.
    pub(super) place: Place,
    /// The executable that it was found as, in a folder of plugins or on the command line.
    pub(super) executable: Option<PathBuf>,
    /// Whether there is a file with settings beside that.
    pub(super) sidecar: bool,
    /// Arguments from the command line.
    pub(super) args: Vec<String>,
    /// The schema found beside its executable.
    pub(super) schema: Option<PathBuf>,
    /// Where it comes from a package: what that says of all its plugins.
    pub(super) package: Option<Provenance>,
}

/// What a package says of each of its plugins.
#[derive(Clone)]
pub(super) struct Provenance {
    /// Which package, and what of it.
    pub(super) by: DefinedBy,
    /// The schema of the settings, and its path in the package.
    pub(super) settings_schema: Option<(String, serde_json::Value)>,
    /// Why it is not for this machine.
    pub(super) unfit: Option<String>,
    /// What it needs and is not there.
    pub(super) missing: Option<String>,
}

impl Definition {
    /// A plugin that is nothing but what is written about it.
    pub(super) fn new(name: PluginName, raw: RawPlugin, place: Place) -> Self {
        Self {
            name,
            raw,
            place,
            executable: None,
            sidecar: false,
            args: Vec::new(),
            schema: None,
            package: None,
        }
    }

    /// What it is defined by.
    pub(super) fn by(&self) -> DefinedBy {
        if let Some(package) = &self.package {
            return package.by.clone();
        }
        match &self.executable {
            Some(program) if self.sidecar => DefinedBy::Sidecar { program: program.clone() },
            Some(program) => DefinedBy::Program { program: program.clone() },
            None => DefinedBy::Table,
        }
    }
}

/// What a plugin's settings are resolved with.
pub(super) struct Around<'a> {
    pub(super) agent: &'a AgentConfig,
    /// The environment variables that hold keys of outputs and profiles; no plugin may have them.
    pub(super) keys: &'a [String],
}

impl Around<'_> {
    /// Whether the variable holds a key that commands or the agent use.
    fn holds_key(&self, name: &str) -> bool {
        self.keys.iter().any(|key| key == name) || KEY_VARIABLES.contains(&name)
    }
}

/// Resolves one plugin. `files` gets the schema file, where there is one.
pub(super) fn plugin(
    def: &Definition,
    around: &Around<'_>,
    files: &mut Vec<PathBuf>,
    cx: &mut Cx<'_>,
) -> Option<PluginConfig> {
    let raw = &def.raw;
    later(raw, cx);
    let mut problems = Vec::new();
    let env = plugin_env(def, around, &mut problems, cx);
    let path = env.get("PATH").map_or("", Secret::expose).to_owned();
    let mode = mode(raw, cx);
    let timing = timing(def, mode, around, cx);
    let timeout = timeout(raw, timing.interval(), cx);
    let command = command(def, &path, &mut problems, cx)?;
    let settings = match raw.config.as_ref().map(|at| secrets::settings(&at.value.0, cx)) {
        Some(Ok(value)) => value,
        Some(Err(diagnostic)) => {
            problems.push(diagnostic);
            serde_json::Value::Object(serde_json::Map::new())
        }
        None => serde_json::Value::Object(serde_json::Map::new()),
    };
    if let Some(package) = &def.package {
        problems.extend(package_problems(package, &settings, def));
    }
    let schema = schema(def, files, &mut problems, cx);
    let metrics = metrics(raw.metrics.as_ref(), cx);
    let mut tags = cx.tags(raw.tags.as_ref());
    tags.fill_from(&around.agent.tags);
    let unfit = def.package.as_ref().and_then(|package| package.unfit.clone());
    let skipped =
        unfit.or_else(|| raw.when.as_ref().and_then(|when| unmet(&when.value, &path, around, cx)));
    let state = if raw.enabled.as_ref().is_some_and(|at| !at.value) {
        PluginState::Disabled
    } else if let Some(why) = skipped {
        PluginState::Skipped { why }
    } else if let Some(first) = problems.first() {
        let why = match &first.help {
            Some(help) => format!("{}; {help}", first.message),
            None => first.message.clone(),
        };
        for mut problem in problems {
            problem.severity = Severity::Problem;
            problem.message = format!("plugin `{}`: {}", def.name, problem.message);
            cx.found.push(problem);
        }
        PluginState::Broken { why }
    } else {
        PluginState::Ready
    };
    Some(PluginConfig {
        name: def.name.clone(),
        key: key(raw, cx),
        state,
        command,
        mode,
        timing,
        timeout,
        grace: cx.duration(raw.grace.as_ref(), Duration::ZERO, Duration::from_secs(2)),
        format: raw.format.as_ref().map_or(Format::Json, |at| at.value),
        stdin: raw.stdin.as_ref().map_or(Stdin::Config, |at| at.value),
        leftovers: raw.leftovers.as_ref().map_or(Leftovers::Kill, |at| at.value),
        settings: Settings::new(settings),
        env,
        tags,
        metrics,
        strictness: match &raw.strict {
            Some(At { value: true, .. }) => Strictness::Strict,
            _ => Strictness::Open,
        },
        schema,
        stdout_limit: size(
            raw.limits.as_ref().and_then(|limits| limits.value.stdout.as_ref()),
            1,
            1 << 20,
            cx,
        ),
        confinement: confinement(raw, cx),
    })
}

/// What keeps a package's plugin from running as things are.
fn package_problems(
    package: &Provenance,
    settings: &serde_json::Value,
    def: &Definition,
) -> Vec<Diagnostic> {
    let at = def.raw.config.as_ref().map_or(&def.place, |at| &at.place);
    let mut problems = Vec::new();
    if let Some(missing) = &package.missing {
        problems.push(Diagnostic::error(missing.as_str()).at(&def.place).help("install it"));
    }
    if let Some((path, schema)) = &package.settings_schema
        && let Ok(rules) = Rules::new(schema)
    {
        problems.extend(rules.check(settings).into_iter().map(|breach| {
            let place = if breach.path.is_empty() { "/" } else { &breach.path };
            Diagnostic::error(format!("its settings, `{place}`: {}", breach.message))
                .at(at)
                .help(format!("they are described in {path} of the package"))
        }));
    }
    problems
}

/// Refuses what the grammar has and this version does not do.
fn later(raw: &RawPlugin, cx: &mut Cx<'_>) {
    let asked = [("jq filters", raw.jq.as_ref().map(|at| &at.place))];
    for (what, place) in asked {
        if let Some(place) = place {
            cx.found.push(later_version(what, place));
        }
    }
}

/// The whole environment: the base, the agent's `env`, what is handed on, and the plugin's own.
fn plugin_env(
    def: &Definition,
    around: &Around<'_>,
    problems: &mut Vec<Diagnostic>,
    cx: &mut Cx<'_>,
) -> BTreeMap<String, Secret> {
    let mut env = BTreeMap::new();
    env.insert("PATH".to_owned(), Secret::new(around.agent.path.as_str()));
    env.insert("LANG".to_owned(), Secret::new("C.UTF-8"));
    env.insert("TMPDIR".to_owned(), Secret::new(cx.env.var("TMPDIR").unwrap_or("/tmp")));
    // HOME and USER are those of the user that it runs as; who that is, is seen when it is run.
    if let Some(zone) = cx.env.var("TZ") {
        env.insert("TZ".to_owned(), Secret::new(zone));
    }
    env.extend(around.agent.env.clone());
    for name in def.raw.pass_env.iter().flat_map(|at| &at.value) {
        if around.holds_key(&name.value) {
            cx.found.push(
                Diagnostic::error(format!("`{}` holds a key of the agent's own", name.value))
                    .at(&name.place)
                    .help("the agent's own keys are never handed to a plugin"),
            );
        } else if !variable(&name.value) {
            cx.found.push(wrong_variable(&name.value).at(&name.place));
        } else if let Some(value) = cx.env.var(&name.value) {
            env.insert(name.value.clone(), Secret::new(value));
        } else {
            cx.found.push(
                Diagnostic::warning(format!(
                    "`{}` is not set in the agent's environment, so there is nothing to hand on",
                    name.value
                ))
                .at(&name.place),
            );
        }
    }
    if let Some(table) = &def.raw.env {
        for pair in &table.value.0 {
            if let super::values::EnvText::Secret(SecretSource::Env(name)) = &pair.value.value
                && around.holds_key(&name.value)
            {
                cx.found.push(
                    Diagnostic::error(format!("`{}` holds a key of the agent's own", name.value))
                        .at(&name.place)
                        .help("the agent's own keys are never handed to a plugin"),
                );
            }
        }
    }
    env.extend(environment(def.raw.env.as_ref(), problems, cx));
    env
}

pub(super) fn timing(def: &Definition, mode: Mode, around: &Around<'_>, cx: &mut Cx<'_>) -> Timing {
    let raw = &def.raw;
    let default = Duration::from_mins(1);
    if let Mode::Stream { .. } = mode {
        let least = Duration::from_millis(10);
        let pace = raw.interval.as_ref().map(|at| cx.duration(Some(at), least, default));
        return Timing::Own(pace);
    }
    let interval = cx.duration(raw.interval.as_ref(), Duration::from_millis(10), default);
    let Some(cron) = &raw.cron else {
        if let Some(zone) = &raw.timezone {
            cx.error("`timezone` only goes with `cron`", &zone.place);
        }
        return if raw.align.as_ref().is_some_and(|at| at.value) {
            Timing::Aligned(Every { interval, phase: Duration::ZERO })
        } else {
            let phase = splay(&around.agent.host, def.name.as_str(), interval);
            Timing::Splayed(Every { interval, phase })
        };
    };
    if let Some(interval) = &raw.interval {
        cx.contradiction(
            "a plugin has either an `interval` or a `cron` expression",
            &interval.place,
            &cron.place,
            "remove one of the two",
        );
    }
    if let Some(align) = &raw.align {
        cx.contradiction(
            "`align` only goes with an `interval`",
            &align.place,
            &cron.place,
            "remove `align`: `cron` is on the clock already",
        );
    }
    let zone = raw.timezone.as_ref();
    match Cron::parse(&cron.value, zone.map(|at| at.value.as_str())) {
        Ok(cron) => Timing::Cron(cron),
        Err(error) => {
            let place = match (&error, zone) {
                (crate::schedule::CronError::Zone(_), Some(zone)) => &zone.place,
                _ => &cron.place,
            };
            cx.error(error.to_string(), place);
            Timing::Splayed(Every { interval: default, phase: Duration::ZERO })
        }
    }
}

pub(super) fn timeout(raw: &RawPlugin, interval: Option<Duration>, cx: &mut Cx<'_>) -> Duration {
    let most = Duration::from_secs(30);
    let default = interval.map_or(most, |interval| (interval * 9 / 10).min(most));
    let timeout = cx.duration(raw.timeout.as_ref(), Duration::from_millis(1), default);
    if let (Some(at), Some(interval)) = (&raw.timeout, interval)
        && timeout > interval
    {
        cx.found.push(
            Diagnostic::warning("the timeout is longer than the interval")
                .at(&at.place)
                .help("while a run goes on, those that fall due are skipped and counted"),
        );
    }
    timeout
}

/// What to start. `None` when an error was recorded.
fn command(
    def: &Definition,
    path: &str,
    problems: &mut Vec<Diagnostic>,
    cx: &mut Cx<'_>,
) -> Option<Command> {
    let raw = &def.raw;
    let shell = raw.shell.as_ref().filter(|at| at.value);
    let base = cx.base(&def.place);
    let mut fail = |fault: Fault, place: &Place| {
        problems.push(Diagnostic::error(fault.message).at(place).help(fault.help));
    };
    let Some(At { value: written, place }) = &raw.command else {
        let Some(program) = def.executable.clone() else {
            if !raw.spoiled {
                let help = format!("say what to run: `command = [\"plugins/{}.sh\"]`", def.name);
                cx.found.push(
                    Diagnostic::error(format!("the plugin `{}` has no `command`", def.name))
                        .at(&def.place)
                        .help(help),
                );
            }
            return None;
        };
        if let Err(fault) = inspect(&program, path) {
            fail(fault, &def.place);
        }
        let dir = program.parent().map(Path::to_path_buf).unwrap_or_default();
        return Some(Command { program, args: def.args.clone(), dir });
    };
    let argv = match (written, shell) {
        (RawCommand::Line(line), Some(_)) => {
            if line.trim().is_empty() || line.contains('\0') {
                cx.error("this is not a command", place);
            }
            // The name after the line is `$0`; arguments from the command line follow as `$1`….
            let mut args = vec!["-c".to_owned(), line.clone()];
            if !def.args.is_empty() {
                args.push(def.name.to_string());
                args.extend(def.args.clone());
            }
            return Some(Command { program: PathBuf::from("/bin/sh"), args, dir: base });
        }
        (RawCommand::Line(line), None) => {
            let words: Vec<String> = line.split_whitespace().map(|w| format!("{w:?}")).collect();
            cx.found.push(
                Diagnostic::error("`command` is an array of the program and its arguments")
                    .at(place)
                    .label("a single string")
                    .help(format!(
                        "write `command = [{}]`, or add `shell = true` to have /bin/sh read it",
                        words.join(", ")
                    )),
            );
            return None;
        }
        (RawCommand::Argv(_), Some(shell)) => {
            cx.contradiction(
                "with `shell = true` the command is a single string",
                place,
                &shell.place,
                "remove `shell = true`, or write the command as one string",
            );
            return None;
        }
        (RawCommand::Argv(argv), None) => argv,
    };
    if let Some(bad) = argv.iter().find(|word| word.value.contains('\0')) {
        cx.error("an argument cannot hold a zero byte", &bad.place);
        return None;
    }
    let Some((first, rest)) = argv.split_first().filter(|(first, _)| !first.value.is_empty())
    else {
        cx.found.push(
            Diagnostic::error("`command` names no program")
                .at(place)
                .help("its first word is the program: `command = [\"plugins/disk.sh\"]`"),
        );
        return None;
    };
    let mut args: Vec<String> = rest.iter().map(|word| word.value.clone()).collect();
    args.extend(def.args.clone());
    if first.value.contains('/') {
        let program = normal(&base.join(&first.value));
        if let Err(fault) = inspect(&program, path) {
            fail(fault, &first.place);
        }
        // An interpreter from elsewhere is not the plugin: its arguments are beside the config.
        let dir = folder_below(&base, &program).unwrap_or(base);
        return Some(Command { program, args, dir });
    }
    let program = match look_up(&first.value, path, &base) {
        Ok(program) => {
            if let Err(fault) = inspect(&program, path) {
                fail(fault, &first.place);
            }
            program
        }
        Err(fault) => {
            fail(fault, &first.place);
            PathBuf::from(&first.value)
        }
    };
    Some(Command { program, args, dir: base })
}

/// The folder of `file` where that is `base` or somewhere below it, as the paths are written.
fn folder_below(base: &Path, file: &Path) -> Option<PathBuf> {
    let folder = file.parent()?;
    without_dots(folder).starts_with(without_dots(base)).then(|| folder.to_owned())
}

/// `path` with each `..` taken together with the name before it.
pub(super) fn without_dots(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            other => plain.push(other),
        }
    }
    plain
}

/// `path` without its `.` components, for messages.
pub(super) fn normal(path: &Path) -> PathBuf {
    path.components().collect()
}

fn schema(
    def: &Definition,
    files: &mut Vec<PathBuf>,
    problems: &mut Vec<Diagnostic>,
    cx: &mut Cx<'_>,
) -> Option<SchemaFile> {
    let (path, place) = match &def.raw.schema {
        Some(at) => (cx.path(at), &at.place),
        None => (def.schema.clone()?, &def.place),
    };
    let problem = |why: String, help: &str| {
        Diagnostic::error(format!("cannot use the schema `{}`: {why}", path.display()))
            .at(place)
            .help(help)
    };
    let schema = match files::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map_err(|e| (e.to_string(), "it must be a JSON document")),
        Err(e) => Err((e.to_string(), "check the path; it is relative to the config file")),
    };
    match &schema {
        Ok(schema) => {
            files.push(path.clone());
            let compiled = Contract::new(BTreeMap::new(), Strictness::Open, Some(schema));
            if let Err(e) = compiled {
                problems.push(problem(e.to_string(), "mend the schema"));
            }
        }
        Err((why, help)) => problems.push(problem(why.clone(), help)),
    }
    // One that cannot be used is kept: of a plugin that is disabled it is a finding.
    Some(SchemaFile { path, schema: schema.map_err(|(why, _)| why) })
}

pub(super) fn metrics(
    raw: Option<&At<Table<RawMetric>>>,
    cx: &mut Cx<'_>,
) -> BTreeMap<String, Declared> {
    let mut metrics = BTreeMap::new();
    for metric in raw.iter().flat_map(|at| &at.value.0) {
        let (name, place, raw) = (&metric.name, &metric.place, &metric.value);
        if !is_name(name) || name.len() > limits::NAME {
            cx.found.push(
                Diagnostic::error(format!("`{name}` is not a metric name"))
                    .at(place)
                    .label("letters, digits and `_`, not starting with a digit")
                    .help(format!("for example `{}`", nearest_name(name))),
            );
        }
        if let (Some(min), Some(max)) = (&raw.min, &raw.max)
            && min.value > max.value
        {
            cx.contradiction(
                "the least value is greater than the greatest",
                &min.place,
                &max.place,
                "exchange the two",
            );
        }
        let Some(kind) = &raw.r#type else {
            if raw.spoiled {
                continue;
            }
            cx.found.push(
                Diagnostic::error(format!("the metric `{name}` has no `type`")).at(place).help(
                    "add one: `integer`, `float`, `percent`, `counter`, `boolean` or `string`",
                ),
            );
            continue;
        };
        let declared = Declared {
            kind: kind.value.0,
            unit: raw.unit.as_ref().map(|at| at.value.clone()),
            label: raw.label.as_ref().map(|at| at.value.clone()),
            required: raw.required.as_ref().is_some_and(|at| at.value),
            warn: raw.warn.as_ref().map(|at| at.value.0.clone()),
            crit: raw.crit.as_ref().map(|at| at.value.0.clone()),
            min: raw.min.as_ref().map(|at| at.value),
            max: raw.max.as_ref().map(|at| at.value),
            values: raw
                .values
                .iter()
                .flat_map(|list| &list.value)
                .map(|value| value.value.clone())
                .collect(),
        };
        // The order of `min` and `max` was looked at above, where both places are known.
        let alone = BTreeMap::from([(name.clone(), declared.clone())]);
        if let Err(ContractError::Declared { key, problem, .. }) =
            Contract::new(alone, Strictness::Open, None)
        {
            cx.error(format!("the metric `{name}`, `{key}`: {problem}"), place);
        }
        metrics.insert(name.clone(), declared);
    }
    metrics
}

/// The first condition that does not hold.
fn unmet(when: &RawWhen, path: &str, around: &Around<'_>, cx: &mut Cx<'_>) -> Option<String> {
    for exists in when.exists.iter().flat_map(|at| &at.value.0) {
        let file = cx.path(exists);
        // A link to nowhere counts as absent; what may not be looked at counts as present.
        if file.try_exists().is_ok_and(|there| !there) {
            return Some(format!("{} does not exist", file.display()));
        }
    }
    for command in when.command_exists.iter().flat_map(|at| &at.value.0) {
        if find(&command.value, path).is_none() {
            return Some(format!("there is no command {}", command.value));
        }
    }
    let one_of = |patterns: &At<super::values::OneOrMore>, text: &str| {
        patterns.value.0.iter().any(|pattern| fits(&pattern.value, text))
    };
    if let Some(patterns) = &when.os
        && !one_of(patterns, std::env::consts::OS)
    {
        return Some(format!("the operating system is {}", std::env::consts::OS));
    }
    if let Some(patterns) = &when.host
        && !one_of(patterns, &around.agent.host)
    {
        return Some(format!("the host is {}", around.agent.host));
    }
    None
}

fn key(raw: &RawPlugin, cx: &mut Cx<'_>) -> Option<crate::model::PluginKey> {
    let At { value, place } = raw.key.as_ref()?;
    match value.parse::<crate::model::PluginKey>() {
        Ok(key) => Some(key),
        Err(why) => {
            cx.found.push(
                Diagnostic::error("this is not a plugin key").at(place).help(why.to_string()),
            );
            None
        }
    }
}
