//! One configured plugin, ready to be run and judged.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::config::{AgentConfig, Mode, PluginConfig, PluginState, Timing};
use crate::contract::{Contract, Judge, Judged, Moment, Strictness};
use crate::decode::End;
use crate::exec::{Note, Run, Spec, Timetable};
use crate::model::{ExcerptForm, Format, Records, Timestamp, ToldContract, WarningCode};
use crate::spool::Quarantined;

use super::buffering;
use super::confine::Plan;
use super::prepare::{self, Common, Folders};
use super::recent::Recent;
use super::report::{self, Facts, Reported};
use super::status::{LastRun, PluginDetail, PluginStatus};
use super::timetable::{Aligned, Calendar, Never, Restarted, Splayed};

/// A report brings the plugin's contract again this long after the last that did, so that a hub
/// that is new or began anew comes to know it.
const RETELL: Duration = Duration::from_secs(3600);
/// Longest cron expression that is told, in bytes.
const CRON: usize = 256;

/// A plugin of the running agent.
pub(super) struct Plugin {
    pub(super) config: PluginConfig,
    /// Why it does not run although it should: a contract that cannot hold, a folder that cannot
    /// be written.
    pub(super) fault: Option<String>,
    facts: Facts,
    judge: Mutex<Judge>,
    recent: Mutex<Recent>,
    contract: ToldContract,
    /// The next time by its calendar, and when that was looked up.
    calendar: Mutex<Option<(Option<Timestamp>, Instant)>>,
    /// The code of the mistake that was logged last, and when.
    mistake: Mutex<Option<(String, Instant)>>,
    /// When a report last brought the contract as it is.
    told: Mutex<Option<Instant>>,
}

impl Plugin {
    /// `before` is the same plugin before a reload: what its judge remembers is kept.
    pub(super) fn new(config: PluginConfig, agent: &AgentConfig, before: Option<&Self>) -> Self {
        let (contract, fault) = match config.contract() {
            Ok(contract) => (contract, None),
            Err(error) => (Contract::default(), Some(error.to_string())),
        };
        let contract = Arc::new(contract);
        let judge = match before {
            None => Judge::new(contract, config.tags.clone()),
            Some(before) => {
                let fresh = Judge::new(Arc::clone(&contract), config.tags.clone());
                let mut judge = std::mem::replace(&mut *lock(&before.judge), fresh);
                judge.reload(contract, config.tags.clone());
                judge
            }
        };
        let recent = before.map(|before| std::mem::take(&mut *lock(&before.recent)));
        let facts = facts(&config, agent);
        let contract = contract_to_tell(&config);
        let told = before.filter(|before| before.contract == contract);
        let told = Mutex::new(told.and_then(|before| *lock(&before.told)));
        let (judge, recent) = (Mutex::new(judge), Mutex::new(recent.unwrap_or_default()));
        let (mistake, calendar) = (Mutex::new(None), Mutex::new(None));
        Self { config, fault, facts, judge, recent, contract, calendar, mistake, told }
    }

    /// Whether it is to be run.
    pub(super) fn runs(&self) -> bool {
        self.fault.is_none() && matches!(self.config.state, PluginState::Ready)
    }

    /// What to run; its folders and config file are written.
    pub(super) fn prepare(
        &self,
        common: &Common<'_>,
        data_dir: &Path,
        plan: &Plan,
    ) -> Result<Spec, String> {
        let folders = Folders::of(data_dir, self.config.name.as_str(), plan.owner);
        folders
            .write(&self.config.settings.to_json())
            .map_err(|error| crate::model::chain(&error))?;
        Ok(prepare::spec(&self.config, common, &folders, plan))
    }

    /// When to run it.
    pub(super) fn timetable(&self, origin: Instant) -> Box<dyn Timetable> {
        let table: Box<dyn Timetable> = match &self.config.timing {
            Timing::Splayed(every) => Box::new(Splayed::new(*every, origin, Instant::now())),
            Timing::Aligned(every) => Box::new(Aligned { interval: every.interval }),
            Timing::Cron(cron) => Box::new(Calendar::new(cron.clone())),
            Timing::Own(_) => Box::new(Never),
        };
        match self.config.mode {
            Mode::Interval => table,
            Mode::Stream { .. } | Mode::Tick { .. } => Box::new(Restarted::new(table)),
        }
    }

    /// Judges a run.
    pub(super) fn report(&self, run: Run) -> Reported {
        let lag = run.lag;
        let silent = run.notes.iter().any(|note| matches!(note, Note::Silent(_)));
        let mut reported = report::report(run, &mut lock(&self.judge), &self.facts);
        let mut told = lock(&self.told);
        if told.is_none_or(|at| at.elapsed() >= RETELL) {
            *told = Some(Instant::now());
            reported.report.contract = Some(Box::new(self.contract.clone()));
        }
        let mut warnings = reported.report.warnings.iter();
        if silent && let Some(words) = warnings.find(|words| WarningCode::Silent.is_of(words)) {
            tracing::warn!(plugin = %reported.report.plugin, "{words}");
        }
        self.log_mistake(&reported);
        let last = LastRun::new(&reported.report, lag);
        lock(&self.recent).note(&reported.report, last, &self.config.tags);
        reported
    }

    /// Says what went wrong when it begins to, and once an hour while it goes on.
    fn log_mistake(&self, reported: &Reported) {
        let Some(words) = &reported.mistake else { return };
        let mut logged = lock(&self.mistake);
        // By its code: the words may hold what changes from run to run.
        let code = words.split(':').next().unwrap_or_default();
        if logged.as_ref().is_none_or(|(said, at)| said != code || at.elapsed() >= RETELL) {
            tracing::warn!(plugin = %reported.report.plugin, "{words}");
            *logged = Some((code.to_owned(), Instant::now()));
        }
    }

    /// Judges excerpts of one run again, one verdict for each; `None` for what could not be read in
    /// the format that the plugin still has.
    pub(super) fn judge_again(&self, moment: Moment, items: &[Quarantined]) -> Vec<Option<Judged>> {
        let format = self.facts.format;
        let as_before = |item: &Quarantined| {
            item.form == Some(ExcerptForm::Text) && item.format.as_deref() == Some(format.as_str())
        };
        let excerpts = items.iter().filter(|item| !as_before(item)).map(|item| {
            let form = item.form.unwrap_or(ExcerptForm::Text);
            let read = |records: &mut dyn Records| {
                format.decode(&item.excerpt, End::Whole, records);
            };
            (form, read)
        });
        let mut verdicts = lock(&self.judge).replay(moment, excerpts).into_iter();
        items.iter().map(|item| if as_before(item) { None } else { verdicts.next() }).collect()
    }

    /// How its stdout is read.
    pub(super) fn format(&self) -> Format {
        self.facts.format
    }

    /// How many series it has had since the agent started.
    pub(super) fn series(&self) -> u64 {
        lock(&self.judge).series() as u64
    }

    /// Its last runs since the agent started, as `status` has them.
    pub(super) fn note_runs(&self, status: &mut PluginStatus) {
        let recent = lock(&self.recent);
        status.last.clone_from(&recent.last);
        let quantiles = recent.quantiles();
        status.duration_p50 = quantiles.map(|q| q.p50);
        status.duration_p99 = quantiles.map(|q| q.p99);
    }

    /// When its calendar has it due, which the timetable only looks at when that is near. A calendar
    /// that has no such day takes long to search, and this is asked every second.
    pub(super) fn next_by_calendar(&self) -> Option<Timestamp> {
        let Timing::Cron(cron) = &self.config.timing else { return None };
        let now = Timestamp::from(SystemTime::now());
        let mut known = lock(&self.calendar);
        match *known {
            Some((Some(next), _)) if next > now => Some(next),
            Some((None, looked)) if looked.elapsed() < RETELL => None,
            _ => {
                let next = cron.next_after(now);
                *known = Some((next, Instant::now()));
                next
            }
        }
    }

    /// All that is remembered of it besides.
    pub(super) fn detail(&self) -> PluginDetail {
        let PluginConfig { name, command, mode, timing, timeout, format, .. } = &self.config;
        let program = std::iter::once(command.program.display().to_string());
        let recent = lock(&self.recent);
        let (refused_at, refused) = recent.refused.clone().unzip();
        let (stderr_at, stderr) = recent.talk.clone().unzip();
        PluginDetail {
            plugin: name.to_string(),
            command: program.chain(command.args.iter().cloned()).collect(),
            dir: command.dir.display().to_string(),
            mode: match mode {
                Mode::Interval => "interval",
                Mode::Stream { .. } => "stream",
                Mode::Tick { .. } => "tick",
            }
            .to_owned(),
            interval: timing.interval().map(|interval| interval.as_secs_f64()),
            cron: match timing {
                Timing::Cron(cron) => Some(cron.as_str().to_owned()),
                _ => None,
            },
            timeout: timeout.as_secs_f64(),
            format: format.as_str().to_owned(),
            durations: recent.durations().collect(),
            values: recent.values.to_vec(),
            refused_at,
            refused: refused.unwrap_or_default().into_vec(),
            stderr_at,
            stderr: stderr.unwrap_or_default().into_string(),
        }
    }

    /// What to do if it prints nothing because it buffers it.
    pub(super) fn buffering(&self) -> &str {
        &self.facts.buffering
    }

    /// `ready`, `disabled`, `skipped` or `broken`, and why.
    pub(super) fn state(&self) -> (&'static str, Option<String>) {
        if let Some(fault) = &self.fault {
            return ("broken", Some(fault.clone()));
        }
        match &self.config.state {
            PluginState::Ready => ("ready", None),
            PluginState::Disabled => ("disabled", None),
            PluginState::Skipped { why } => ("skipped", Some(why.clone())),
            PluginState::Broken { why } => ("broken", Some(why.clone())),
        }
    }
}

/// What every report of a plugin says.
pub(super) fn facts(config: &PluginConfig, agent: &AgentConfig) -> Facts {
    Facts {
        host: agent.host.clone(),
        key: config.key,
        buffering: match config.mode {
            Mode::Interval => String::new(),
            Mode::Stream { .. } | Mode::Tick { .. } => buffering::advice(&config.command),
        },
        interval: config.timing.interval(),
        format: config.format,
        path: config.env.get("PATH").map(|path| path.expose().to_owned()).unwrap_or_default(),
        user: config.confinement.user.clone(),
    }
}

/// What reports tell of what a plugin declares.
fn contract_to_tell(config: &PluginConfig) -> ToldContract {
    let cron = match &config.timing {
        Timing::Cron(cron) => Some(cron),
        _ => None,
    };
    let now = Timestamp::from(SystemTime::now());
    let mut contract = ToldContract {
        metrics: std::collections::BTreeMap::new(),
        omitted: 0,
        strict: config.strictness == Strictness::Strict,
        schema: config.schema.is_some(),
        interval: config.timing.interval().map(|interval| interval.as_secs_f64()),
        cron: cron.map(|cron| cron.as_str().to_owned()).filter(|text| text.len() <= CRON),
        pause: cron.and_then(|cron| cron.longest_pause(now)).map(|pause| pause.as_secs_f64()),
        timeout: config.timeout.as_secs_f64(),
    };
    contract.tell(&config.metrics);
    contract
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
