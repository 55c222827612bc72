//! `talaia plugin check`: what is wrong with a package's folder; its recorded cases, run as the agent
//! would run them; and for commands without a case, one run of which nothing is expected but that it
//! prints what it declares.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use similar::TextDiff;

use crate::agent::trial::{Trial as Run, Trials};
use crate::config::{Config, Env, Mode, PluginConfig, PluginState, Scripts, Source, User};
use crate::model::{Metric, Outcome};
use crate::package::{self, Case, Contents, Expected, Finding, Weight, case_files, inspect};

use super::super::args::PluginCheckArgs;
use super::super::dry_run::{Interrupt, scratch};
use super::super::exit::{Exit, Failure};
use super::super::load::{self, Place};
use super::super::print::{self, GOOD, paint};
use super::{lines, pack};

/// How long a long-lived plugin may take for its first report.
const PATIENCE: Duration = Duration::from_secs(15);
/// Who runs what a reviewer looks at, where the reviewer is root.
const NOBODY: &str = "nobody";

pub(super) fn run(args: &PluginCheckArgs) -> Result<Exit, Failure> {
    let env = Env::system();
    let folder = args.folder.canonicalize().map_err(|e| {
        let text = format!("cannot read the folder {}: {e}", args.folder.display());
        Failure::new(Exit::Input, text)
    })?;
    let contents = pack::read(&folder)?;
    let inspection = inspect(&contents, None);
    let usable = !inspection.has_errors();
    let mut findings = inspection.findings;
    let mut ran = 0;
    if usable && !args.no_run {
        if let Err(error) = crate::exec::become_subreaper() {
            print::talk(format!(
                "note: processes that a command detaches are not followed: {error}"
            ));
        }
        let mut running = Running::load(&folder, &env)?;
        for file in case_files(&contents) {
            // Those that cannot be read were found above.
            let Ok(case) = Case::read(file) else { continue };
            ran += 1;
            findings.extend(running.case(&file.path, &case, &contents, args.accept)?);
        }
        for plugin in running.untried() {
            ran += 1;
            findings.extend(running.plain(&plugin)?);
        }
    }
    findings.sort_by_key(|finding| finding.weight);
    if args.json {
        for finding in &findings {
            let line = serde_json::to_string(finding)
                .map_err(|e| Failure::from_error(Exit::Internal, &e))?;
            if print::data(line).is_err() {
                break;
            }
        }
    } else if !findings.is_empty() {
        print::talk(lines(&findings));
    }
    let errors = findings.iter().filter(|finding| finding.weight == Weight::Error).count() as u64;
    if errors > 0 {
        print::talk(format!("\n{} in {}", print::count(errors, "error"), folder.display()));
        return Ok(Exit::Finding);
    }
    let files = print::count(contents.files().len() as u64, "file");
    print::talk(format!(
        "{} {}: {files}, {}",
        paint(GOOD, "ok"),
        folder.file_name().unwrap_or_default().to_string_lossy(),
        if args.no_run { "nothing run".to_owned() } else { print::count(ran, "run") }
    ));
    Ok(Exit::Ok)
}

/// What running a package came to, for a reviewer.
#[derive(Debug, Serialize)]
pub(super) struct Trial {
    /// The user that it ran as.
    pub(super) user: String,
    /// How many runs.
    pub(super) runs: u64,
    /// What was wrong.
    pub(super) findings: Vec<Finding>,
}

impl Trial {
    pub(super) fn has_errors(&self) -> bool {
        self.findings.iter().any(|finding| finding.weight == Weight::Error)
    }
}

/// As whom somebody's package is tried.
pub(super) enum Trier {
    /// The user who may do nothing.
    Nobody,
    /// Whoever asks for it, and said so.
    Me(String),
}

impl Trier {
    /// Root steps back; others have to say that they run it as themselves.
    pub(super) fn find(as_me: bool) -> Result<Self, Failure> {
        let env = Env::system();
        if env.user == User::Root {
            return Ok(Self::Nobody);
        }
        let me = env.var("USER").unwrap_or("yourself").to_owned();
        if as_me {
            return Ok(Self::Me(me));
        }
        let text = format!(
            "only root can run it as a user who may do nothing; as {me} it could read all that you can, keys of hubs included\n\nhint: run this as root, or in a throw-away account with --as-me"
        );
        Err(Failure::new(Exit::Usage, text))
    }
}

impl std::fmt::Display for Trier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nobody => write!(f, "the user {NOBODY}"),
            Self::Me(name) => write!(f, "{name}, who can read your files and keys"),
        }
    }
}

/// Runs the cases and commands of somebody's package, in a folder that goes afterwards.
pub(super) fn trial(contents: &Contents, who: &Trier) -> Result<Trial, Failure> {
    let env = Env::system();
    if let Err(error) = crate::exec::become_subreaper() {
        print::talk(format!("note: processes that a command detaches are not followed: {error}"));
    }
    let scratch = scratch(&env)?;
    // Others may pass through it and not look around.
    let passable = std::os::unix::fs::PermissionsExt::from_mode(0o711);
    std::fs::set_permissions(scratch.path(), passable)
        .map_err(|e| Failure::new(Exit::Disk, format!("no folder for it: {e}")))?;
    let folder = scratch.path().join("package");
    package::write_out(&folder, contents).map_err(|e| Failure::from_error(Exit::Disk, &e))?;
    let mut running = Running::load(&folder, &env)?;
    let user = match who {
        Trier::Nobody => NOBODY.to_owned(),
        Trier::Me(name) => name.clone(),
    };
    if let Trier::Nobody = who {
        for plugin in running.config.plugins.values_mut() {
            plugin.confinement.user = Some(NOBODY.to_owned());
        }
    }
    let (mut findings, mut runs) = (Vec::new(), 0);
    for file in case_files(contents) {
        let Ok(case) = Case::read(file) else { continue };
        runs += 1;
        findings.extend(running.case(&file.path, &case, contents, false)?);
    }
    for plugin in running.untried() {
        runs += 1;
        findings.extend(running.plain(&plugin)?);
    }
    Ok(Trial { user, runs, findings })
}

/// The package's plugins, ready to be tried.
struct Running<'a> {
    folder: &'a Path,
    env: Env,
    config: Config,
    tried: Vec<String>,
    interrupt: Interrupt,
}

impl<'a> Running<'a> {
    fn load(folder: &'a Path, env: &Env) -> Result<Self, Failure> {
        let scripts = Scripts { paths: vec![folder.to_owned()], ..Scripts::default() };
        let loaded = load::load(&Source::Scripts(scripts), env, Place::Production)?;
        let interrupt = Interrupt::listen();
        Ok(Self { folder, env: env.clone(), config: loaded.config, tried: Vec::new(), interrupt })
    }

    /// The plugins that no case tried.
    fn untried(&self) -> Vec<PluginConfig> {
        let tried = |plugin: &&PluginConfig| !self.tried.contains(&plugin.name.to_string());
        self.config.plugins.values().filter(tried).cloned().collect()
    }

    /// Runs a plugin once, as the agent would. One that lives on and says nothing is a finding.
    fn once(&self, plugin: &PluginConfig) -> Result<Result<Run, Finding>, Failure> {
        let internal = |error: &dyn std::error::Error| Failure::from_error(Exit::Internal, error);
        let scratch = scratch(&self.env)?;
        let mut trials =
            Trials::new(plugin, &self.config, &[], scratch).map_err(|e| internal(&e))?;
        self.interrupt.stops(trials.stopper());
        if plugin.mode == Mode::Interval {
            return trials.run().map(Ok).map_err(|e| internal(&e));
        }
        let first = trials.next(PATIENCE);
        let rest = trials.end();
        Ok(first.or_else(|| rest.into_iter().next()).ok_or_else(|| {
            let message = "it printed nothing in 15 s";
            Finding::error(&format!("plugin {}", plugin.name), message, trials.buffering())
        }))
    }

    /// Runs a recorded case and compares; or writes down what came.
    fn case(
        &mut self,
        path: &str,
        case: &Case,
        contents: &Contents,
        accept: bool,
    ) -> Result<Vec<Finding>, Failure> {
        let Some(plugin) = self.plugin(case) else {
            let names: Vec<_> = self.config.plugins.keys().map(ToString::to_string).collect();
            let help = format!("name the command: the plugins are {}", names.join(", "));
            return Ok(vec![Finding::error(
                path,
                "it is not clear which command this is for",
                help,
            )]);
        };
        self.tried.push(plugin.name.to_string());
        let plugin = plugin.with(case.settings(self.folder), &case.env);
        let trial = match self.once(&plugin)? {
            Ok(trial) => trial,
            Err(silent) => return Ok(vec![silent]),
        };
        let mut findings = refused(path, &trial);
        findings.extend(undeclared(path, &plugin, &trial));
        let exited = Outcome::Exited { code: case.exit };
        if trial.report.outcome != exited && trial.report.outcome != Outcome::Answered {
            let message = format!("the run {}, expected was {exited}", trial.report.outcome);
            findings.push(Finding::error(path, message, said(&trial)));
        }
        let got = self.records(&trial.report.metrics)?;
        let wanted = contents.get(&case.expect).map(|file| file.bytes.as_slice());
        if accept && findings.is_empty() {
            let file = self.folder.join(&case.expect);
            package::replace(&file, got.as_bytes(), 0o644).map_err(|e| {
                Failure::new(Exit::Disk, format!("cannot write {}: {e}", file.display()))
            })?;
            if wanted != Some(got.as_bytes()) {
                print::talk(format!("wrote {}", case.expect));
            }
            return Ok(findings);
        }
        let Some(wanted) = wanted else {
            let message = format!("there is no `{}`", case.expect);
            let help = "write down what it prints now: `talaia plugin check DIR --accept`";
            findings.push(Finding::error(path, message, help));
            return Ok(findings);
        };
        match serde_json::from_slice::<Vec<Expected>>(wanted) {
            Err(error) => {
                let message = format!("it is no list of records: {error}");
                findings.push(Finding::error(&case.expect, message, "mend it, or use --accept"));
            }
            Ok(mut wanted) => {
                wanted.sort_by(|a, b| (&a.name, &a.tags).cmp(&(&b.name, &b.tags)));
                let wanted = written(&wanted)?;
                if wanted != got {
                    let diff = TextDiff::from_lines(&wanted, &got);
                    let diff = diff
                        .unified_diff()
                        .context_radius(0)
                        .header("expected", "printed")
                        .to_string();
                    let message = format!("it does not print what {} has", case.expect);
                    findings.push(Finding::error(
                        path,
                        message,
                        diff.trim_end().replace('\n', "\n       "),
                    ));
                }
            }
        }
        Ok(findings)
    }

    fn plugin(&self, case: &Case) -> Option<PluginConfig> {
        let plugins = &self.config.plugins;
        match &case.command {
            None if plugins.len() == 1 => plugins.values().next().cloned(),
            None => None,
            Some(command) => {
                let manifest = crate::package::name_of(self.folder)?;
                plugins.get(&manifest.plugin(command)).cloned()
            }
        }
    }

    /// One run with the package's own settings. What does not work with those may still work with an
    /// operator's, so only what is refused is an error.
    fn plain(&self, plugin: &PluginConfig) -> Result<Vec<Finding>, Failure> {
        let name = plugin.name.as_str();
        let what = format!("plugin {name}");
        match &plugin.state {
            PluginState::Ready => {}
            PluginState::Broken { why } | PluginState::Skipped { why } => {
                let help = "record a case with settings that work";
                return Ok(vec![Finding::warning(&what, format!("it was not run: {why}"), help)]);
            }
            PluginState::Disabled => return Ok(Vec::new()),
        }
        let trial = match self.once(plugin)? {
            Ok(trial) => trial,
            Err(silent) => return Ok(vec![silent]),
        };
        let mut findings = refused(&what, &trial);
        if !trial.report.outcome.is_ok() {
            let message =
                format!("with the package's own settings the run {}", trial.report.outcome);
            findings.push(Finding::warning(&what, message, said(&trial)));
        }
        findings.extend(undeclared(&what, plugin, &trial));
        Ok(findings)
    }

    /// Records as they are written down, with the package's folder taken out.
    fn records(&self, metrics: &[Metric]) -> Result<String, Failure> {
        let folder = format!("{}/", self.folder.display());
        Ok(written(&Expected::sorted(metrics))?.replace(&folder, ""))
    }
}

/// A JSON array with a record on each line.
fn written(records: &[Expected]) -> Result<String, Failure> {
    let lines: Result<Vec<String>, _> = records.iter().map(serde_json::to_string).collect();
    let lines = lines.map_err(|e| Failure::from_error(Exit::Internal, &e))?;
    Ok(if lines.is_empty() {
        "[]\n".to_owned()
    } else {
        format!("[\n  {}\n]\n", lines.join(",\n  "))
    })
}

/// The records of a run that were refused.
fn refused(path: &str, trial: &Run) -> Vec<Finding> {
    let rejections = trial.report.rejected.iter();
    rejections
        .map(|refused| {
            let message = format!(
                "line {}, column {} of what it prints: {}: {}",
                refused.line, refused.column, refused.code, refused.message
            );
            Finding::error(path, message, refused.hint.as_str())
        })
        .collect()
}

/// What a run prints and does not declare, or declares and does not print.
fn undeclared(path: &str, plugin: &PluginConfig, trial: &Run) -> Vec<Finding> {
    let warnings = trial.report.warnings.iter();
    let mut findings: Vec<Finding> =
        warnings.map(|warning| Finding::warning(path, warning.as_str(), "")).collect();
    let names: BTreeSet<&str> = trial.report.metrics.iter().map(|metric| &*metric.name).collect();
    for metric in names.into_iter().filter(|metric| !plugin.metrics.contains_key(*metric)) {
        let message = format!("it prints `{metric}`, which the manifest does not declare");
        let help = format!("add `[commands.….metrics.{metric}]` with its type and unit");
        findings.push(Finding::error(path, message, help));
    }
    findings
}

/// What it said last on stderr.
fn said(trial: &Run) -> String {
    let stderr = String::from_utf8_lossy(&trial.stderr);
    stderr.trim_end().lines().last().map(|line| format!("it said: {line}")).unwrap_or_default()
}
