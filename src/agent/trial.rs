//! Faithful runs of one plugin, or a stretch of the life of a long-lived one, outside the running agent: the same environment, folder and
//! limits, on a copy of its state.

use std::fs;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::config::{Config, Mode, PluginConfig};
use crate::contract::{ContractError, Judge};
use crate::exec::accounts;
use crate::exec::{Exec, ExecError, Limits, Next, Settings, Timetable};
use crate::model::{
    AgentId, Head, Keep, Record, Records, RejectionCode, Report, Source, Taken, Words,
};

use super::confine::{ConfineError, Machine, Preparing};
use super::own;
use super::plugin::facts;
use super::prepare::{self, Common, Folders, PrepareError};
use super::report;
use super::timetable::Never;

/// Why a trial could not be held.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// The declared contract cannot hold.
    #[error("the plugin's contract cannot be used")]
    Contract(#[source] ContractError),
    /// It cannot be run as it asks to be.
    #[error("the plugin cannot be run as its configuration asks")]
    Confine(#[source] ConfineError),
    /// Its folders could not be made.
    #[error("cannot make the plugin's folders ready")]
    Prepare(#[source] PrepareError),
    /// Its state could not be copied.
    #[error("cannot copy the plugin's state")]
    State(#[source] io::Error),
    /// Nothing can be run at all.
    #[error("cannot run anything")]
    Exec(#[source] ExecError),
    /// The run was not reported, which cannot be.
    #[error("the run was not reported")]
    Silent,
}

/// A trial's run: what was printed, and what it came to.
#[derive(Debug)]
pub struct Trial {
    /// The bytes on stdout, up to the cap.
    pub stdout: Vec<u8>,
    /// The last bytes on stderr.
    pub stderr: Vec<u8>,
    /// The report, as the agent would keep it.
    pub report: Report,
    /// Where on stdout its records stand, in the order in which they were printed.
    pub places: Vec<Place>,
}

/// Where a record, or what is none, stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// From its first byte to its last.
    pub span: Range<usize>,
    /// The value in it.
    pub value: Option<Range<usize>>,
    /// The next one in the report's `metrics`, or in its `rejected`.
    pub taken: Taken,
}

/// Notes where records stand, on their way to the judge.
struct Notes<'r> {
    judge: &'r mut dyn Records,
    places: &'r mut Vec<Place>,
}

impl Records for Notes<'_> {
    fn wants_tree(&self) -> bool {
        self.judge.wants_tree()
    }

    fn document(&mut self, source: &Source<'_>, head: &Head<'_>) -> Keep {
        let keep = self.judge.document(source, head);
        if keep == Keep::Nothing {
            let span = head.start..head.end;
            self.places.push(Place { span, value: None, taken: Taken::Refused });
        }
        keep
    }

    fn record(&mut self, source: &Source<'_>, record: &Record<'_>) -> Taken {
        let taken = self.judge.record(source, record);
        let span = record.start..record.end;
        let value = record.value.as_ref().map(|field| field.start..field.end);
        self.places.push(Place { span, value, taken });
        taken
    }

    fn refuse(
        &mut self,
        source: &Source<'_>,
        code: RejectionCode,
        span: Range<usize>,
        words: &dyn Fn() -> Words,
    ) {
        self.judge.refuse(source, code, span.clone(), words);
        self.places.push(Place { span, value: None, taken: Taken::Refused });
    }
}

/// Several runs of one plugin, one after the other, judged as one plugin's runs are.
pub struct Trials {
    exec: Arc<Exec>,
    runs: mpsc::Receiver<crate::exec::Run>,
    spec: Arc<crate::exec::Spec>,
    judge: Judge,
    facts: report::Facts,
    mode: Mode,
    /// Of a long-lived plugin: whether it has been started.
    begun: bool,
    notes: Vec<String>,
    machine: Machine,
    _scratch: Scratch,
}

impl Drop for Trials {
    fn drop(&mut self) {
        // Whoever forgets to end it must not leave a long-lived plugin behind.
        self.exec.stop_now();
        self.exec.join();
        self.machine.sweep(&[]);
    }
}

impl Trials {
    /// Gets ready. `scratch` is an empty folder of the caller's for the copy of the state.
    pub fn new(
        plugin: &PluginConfig,
        config: &Config,
        owners: &[u32],
        scratch: Scratch,
    ) -> Result<Self, TrialError> {
        let agent = &config.agent;
        let contract = plugin.contract().map_err(TrialError::Contract)?;
        let name = plugin.name.as_str();
        let agent_id = AgentId::new();
        let machine = Machine::this(agent_id.to_string(), Preparing::MakeReady);
        let plan =
            machine.plan(plugin, &config.plugins, &scratch.0).map_err(TrialError::Confine)?;
        let folders = Folders::of(&scratch.0, name, plan.owner);
        folders.write(&plugin.settings.to_json()).map_err(TrialError::Prepare)?;
        copy_state(&Folders::of(&agent.data_dir, name, None).state, &folders.state)
            .and_then(|()| match plan.owner {
                Some(owner) => own::give(&folders.state, owner),
                None => Ok(()),
            })
            .map_err(TrialError::State)?;
        let account = accounts::own();
        let common =
            Common { agent: agent_id, owners, own: account.as_ref(), own_env: &agent.own_env };
        let spec = Arc::new(prepare::spec(plugin, &common, &folders, &plan));
        let (send, runs) = mpsc::channel();
        let settings = Settings {
            limits: Limits { concurrency: 1, max_running: 1 },
            reap_orphans_of: Some(agent_id.to_string()),
            open: Box::new(|| true),
        };
        // Nobody listens any more only when the trials are over.
        let exec =
            Exec::start(settings, move |run| drop(send.send(run))).map_err(TrialError::Exec)?;
        let judge = Judge::new(Arc::new(contract), plugin.tags.clone());
        let mut facts = facts(plugin, agent);
        // Here it is known who that is.
        facts.user = facts.user.or_else(|| Some(account.as_ref()?.name.clone()));
        let exec = Arc::new(exec);
        let notes = plan.notes;
        let mode = plugin.mode;
        Ok(Self {
            exec,
            runs,
            spec,
            judge,
            facts,
            mode,
            begun: false,
            notes,
            machine,
            _scratch: scratch,
        })
    }

    /// What the plugin asks for and this machine does in part or not at all.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// What ends the run at hand from another thread: it is reported as stopped.
    pub fn stopper(&self) -> impl FnOnce() + Send + use<> {
        let exec = Arc::clone(&self.exec);
        move || exec.stop_now()
    }

    /// Runs it once.
    pub fn run(&mut self) -> Result<Trial, TrialError> {
        self.exec.set(Arc::clone(&self.spec), Box::new(Now));
        let run = self.runs.recv().map_err(|_| TrialError::Silent)?;
        Ok(self.judge(run))
    }

    /// The next report of a long-lived plugin, which is started, or asked, if need be. `None`: there
    /// was none for so long, or it has ended.
    pub fn next(&mut self, patience: Duration) -> Option<Trial> {
        if !self.begun {
            self.begun = true;
            match self.mode {
                Mode::Tick { .. } => self.exec.set(Arc::clone(&self.spec), Box::new(Now)),
                Mode::Interval | Mode::Stream { .. } => {
                    self.exec.set(Arc::clone(&self.spec), Box::new(Never));
                }
            }
        }
        let run = self.runs.recv_timeout(patience).ok()?;
        Some(self.judge(run))
    }

    /// Has a plugin that answers ticks answer another one.
    pub fn ask(&self) {
        // It has ended, or has not answered the one before: the next report says so.
        let _untimely = self.exec.trigger(&self.spec.plugin);
    }

    /// Ends a long-lived plugin as the agent would; what was left when it ended.
    pub fn end(&mut self) -> Vec<Trial> {
        self.exec.stop();
        self.exec.join();
        let runs: Vec<_> = self.runs.try_iter().collect();
        runs.into_iter().map(|run| self.judge(run)).collect()
    }

    /// What to do where a plugin prints nothing because it buffers it.
    pub fn buffering(&self) -> &str {
        &self.facts.buffering
    }

    fn judge(&mut self, run: crate::exec::Run) -> Trial {
        let (stdout, stderr) = (run.stdout.clone(), run.stderr.clone());
        let mut places = Vec::new();
        let format = self.facts.format;
        let reported =
            report::report_read(run, &mut self.judge, &self.facts, |stdout, end, judge| {
                format.decode(stdout, end, &mut Notes { judge, places: &mut places });
            });
        Trial { stdout, stderr, report: reported.report, places }
    }
}

/// A folder that goes with its owner.
pub struct Scratch(std::path::PathBuf);

impl Scratch {
    /// Makes a private folder under `parent` (the system's folder for temporary files).
    pub fn new(parent: &Path) -> io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        let path = parent.join(format!("talaia-{}", uuid::Uuid::new_v4().simple()));
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Scratch {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is in the folder for temporary files, where it is removed in time.
        let _left = fs::remove_dir_all(&self.0);
    }
}

struct Now;

impl Timetable for Now {
    fn next(&mut self, last: Option<Instant>, now: Instant) -> Next {
        if last.is_some() { Next::Never } else { Next::Due { at: now, missed: 0 } }
    }
}

/// Copies what a plugin has kept, files and folders; a link stays a link.
fn copy_state(from: &Path, to: &Path) -> io::Result<()> {
    // It never ran here, or the state is the service's own: the trial begins without.
    let Ok(entries) = fs::read_dir(from) else { return Ok(()) };
    for entry in entries {
        let entry = entry?;
        let target = to.join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            fs::create_dir_all(&target)?;
            copy_state(&entry.path(), &target)?;
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(entry.path())?, &target)?;
        } else if kind.is_file() {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}
