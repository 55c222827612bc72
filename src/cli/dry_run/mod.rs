//! `talaia test`: runs a plugin as the agent would and shows what becomes of every record.

mod find;
mod sent;
mod service;
mod sheet;
mod show;
mod trials;
#[cfg(feature = "hub")]
mod verify;
mod watch;

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use crate::agent::trial::{Trial, Trials};
use crate::config::{Config, Env, Mode, PluginConfig};
use crate::contract::{Contract, Observed, advice};
use crate::model::{Outcome, Report, Taken, Timestamp, WarningCode};

use super::args::TestArgs;
use super::exit::{Exit, Failure};
#[cfg(feature = "hub")]
use super::print::{BAD, GOOD};
use super::print::{FAINT, STRONG, paint};
use super::{print, report};

pub(crate) use find::find;
pub(crate) use trials::{Interrupt, scratch, trials};

use find::Found;
use service::Service;
use watch::Files;

pub(crate) fn run(args: &TestArgs) -> Result<Exit, Failure> {
    let env = Env::system();
    let interrupt = Interrupt::listen();
    if !args.watch {
        let found = find(&args.target, &args.args, &args.config, &env)?;
        return once(args, found, &env, &interrupt);
    }
    let mut files = Files::of_config(args, &env);
    let mut changed: Option<PathBuf> = None;
    loop {
        if print::a_person_reads_stdout() {
            // Home, and clear to the end.
            let _gone = print::raw(b"\x1b[H\x1b[2J\x1b[3J");
        }
        if let Some(changed) = &changed {
            let clock = Timestamp::from(SystemTime::now()).to_string();
            let clock = paint(FAINT, clock.get(11..19).unwrap_or_default());
            print::talk(format!("{clock} {} changed", changed.display()));
        }
        let outcome = find(&args.target, &args.args, &args.config, &env).and_then(|found| {
            files = Files::of(&found);
            let outcome = once(args, found, &env, &interrupt);
            // What it writes itself is no change.
            files.look_at_arguments();
            outcome
        });
        let exit = outcome.unwrap_or_else(|failure| {
            super::complain(&failure);
            failure.exit
        });
        if interrupt.came() {
            return Ok(exit);
        }
        print::talk(paint(FAINT, "waiting for a file to change; Ctrl-C ends"));
        changed = files.wait(&interrupt);
        if changed.is_none() {
            return Ok(exit);
        }
    }
}

/// All that one look at a plugin takes.
fn once(
    args: &TestArgs,
    mut found: Found,
    env: &Env,
    interrupt: &Interrupt,
) -> Result<Exit, Failure> {
    let service = Service::of(&found.config);
    if args.as_service
        && let Some(service) = &service
    {
        service.adopt(&mut found.plugin);
    }
    let Found { config, plugin, .. } = found;
    let mut trials = trials(&plugin, &config, env, interrupt)?;
    if let Some(note) = service.as_ref().and_then(|service| service::note(service, &plugin))
        && !args.as_service
    {
        print::talk(format!("note: {note}"));
    }
    if let Some(path) = service::dos_lines(&plugin.command) {
        let path = path.display();
        let words = format!("{path} has lines that end as on Windows: `sed -i 's/\\r$//' {path}`");
        print::talk(format!("note: {}", WarningCode::DosLines.says(words)));
    }
    // That it holds was seen when the trials were made.
    let contract = plugin.contract().unwrap_or_default();
    let mut look = Look::new(args, &contract, &plugin);
    let ended = if plugin.mode == Mode::Interval {
        runs(args, &mut trials, &mut look)
    } else {
        reports(args, &plugin, &mut trials, &mut look)
    };
    // The plugin and its folders are gone before anything else is said.
    drop(trials);
    ended?;
    look.end(&config, service.as_ref(), &plugin, env, interrupt)
}

/// Nothing seen yet of a plugin.
pub(crate) fn observing(plugin: &PluginConfig) -> Observed {
    match plugin.mode {
        Mode::Interval | Mode::Tick { .. } => Observed::default(),
        Mode::Stream { .. } => Observed::of_slices(),
    }
}

/// Runs a plugin as often as is wanted.
fn runs(args: &TestArgs, trials: &mut Trials, look: &mut Look<'_>) -> Result<(), Failure> {
    for _ in 1..=args.times {
        let trial = trials.run().map_err(|e| Failure::from_error(Exit::Internal, &e))?;
        let stopped = trial.report.outcome == Outcome::Stopped;
        look.found(!report::is_clean(&trial.report));
        if look.at(trial)? == Reader::Gone || stopped {
            break;
        }
    }
    Ok(())
}

/// Starts a long-lived plugin, shows as many of its reports as are wanted, and stops it.
fn reports(
    args: &TestArgs,
    plugin: &PluginConfig,
    trials: &mut Trials,
    look: &mut Look<'_>,
) -> Result<(), Failure> {
    let ticks = matches!(plugin.mode, Mode::Tick { .. });
    let until = Instant::now() + args.wait;
    // An answer that does not come is reported at its deadline and when the plugin is dead.
    let slack = plugin.timeout + plugin.grace + Duration::from_secs(5);
    let (mut left, mut alive) = (args.times, true);
    while left > 0 && alive {
        let patience = if ticks { slack } else { until.saturating_duration_since(Instant::now()) };
        let Some(trial) = trials.next(patience) else { break };
        alive = trial.report.outcome == Outcome::Answered;
        // It is not meant to end: the agent would start it again.
        look.found(!alive || !report::is_clean(&trial.report));
        let unasked = trial.report.warnings.iter().any(|words| WarningCode::Unasked.is_of(words));
        if !(ticks && unasked) {
            left -= 1;
        }
        if look.at(trial)? == Reader::Gone {
            break;
        }
        if ticks && left > 0 && alive && !unasked {
            trials.ask();
        }
    }
    let silent = look.shown == 0;
    for mut trial in trials.end() {
        // The end itself is ours; what was printed until then is the plugin's.
        let printed = trial.report.counts.produced > 0;
        if !printed && trial.report.leftovers == 0 && !silent {
            continue;
        }
        if silent {
            let waited = print::seconds(args.wait.as_secs_f64());
            let why = trials.buffering();
            let words = if printed {
                format!(
                    "it printed nothing in {waited}, and then all at once when it was told to stop; \
                     probably its output is buffered: {why}"
                )
            } else if trial.stderr.is_empty() {
                format!("it printed nothing in {waited}; probably its output is buffered: {why}")
            } else {
                format!(
                    "it printed nothing on stdout in {waited}; what it said on stderr may say why"
                )
            };
            trial.report.warnings.push(WarningCode::Silent.says(words));
        }
        look.found(silent || trial.report.counts.rejected_total() > 0);
        look.stopped = true;
        if look.at(trial)? == Reader::Gone {
            break;
        }
    }
    Ok(())
}

/// Who reads what is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reader {
    There,
    Gone,
}

/// What has been seen of a plugin so far.
struct Look<'a> {
    args: &'a TestArgs,
    contract: &'a Contract,
    width: usize,
    shown: u32,
    exit: Exit,
    /// What comes now came until the plugin was stopped.
    stopped: bool,
    observed: Observed,
    /// What one of them is called.
    one: &'static str,
    /// With JSON all but the last are printed already: it brings the advice.
    reports: Vec<Report>,
    reader: Reader,
}

impl<'a> Look<'a> {
    fn new(args: &'a TestArgs, contract: &'a Contract, plugin: &PluginConfig) -> Self {
        let observed = observing(plugin);
        let one = if plugin.mode == Mode::Interval { "run" } else { "report" };
        Self {
            args,
            contract,
            width: show::width(),
            shown: 0,
            exit: Exit::Ok,
            stopped: false,
            observed,
            one,
            reports: Vec::new(),
            reader: Reader::There,
        }
    }

    fn found(&mut self, finding: bool) {
        if finding {
            self.exit = Exit::Finding;
        }
    }

    /// Shows one run, and keeps what later words are about.
    fn at(&mut self, trial: Trial) -> Result<Reader, Failure> {
        self.shown += 1;
        let printed = Some(trial.report.usage.stdout).filter(|_| trial.report.outcome.is_ok());
        self.observed.add(&trial.report.metrics, printed);
        let accepted = trial.places.iter().filter(|place| place.taken == Taken::Accepted);
        for (place, metric) in accepted.zip(&trial.report.metrics) {
            let written = place.value.clone().and_then(|span| trial.stdout.get(span));
            let text = written.and_then(|bytes| std::str::from_utf8(bytes).ok());
            self.observed.written(&metric.name, text.unwrap_or_default());
        }
        if self.args.strict && !trial.report.warnings.is_empty() {
            self.exit = Exit::Finding;
        }
        if self.args.json {
            if let Some(before) = self.reports.last() {
                self.print(json(before)?);
            }
        } else {
            let mut text = show::run(&trial, self.width);
            if self.args.times > 1 {
                let head = if self.stopped {
                    "── until it was stopped".to_owned()
                } else {
                    format!("── {} {}", self.one, self.shown)
                };
                text = format!("{}\n{text}\n", paint(STRONG, head));
            }
            self.print(text);
        }
        self.reports.push(trial.report);
        Ok(self.reader)
    }

    fn print(&mut self, text: String) {
        if print::data(text).is_err() {
            self.reader = Reader::Gone;
        }
    }

    /// Says what there is to say of all runs together.
    fn end(
        mut self,
        config: &Config,
        service: Option<&Service>,
        plugin: &PluginConfig,
        env: &Env,
        interrupt: &Interrupt,
    ) -> Result<Exit, Failure> {
        let advice = advice(&self.observed, self.contract);
        if self.args.strict && !advice.is_empty() {
            self.exit = Exit::Finding;
        }
        if self.args.json {
            if let Some(last) = self.reports.last_mut() {
                last.warnings.extend(advice.iter().map(ToString::to_string));
                let text = json(last)?;
                self.print(text);
            }
        } else {
            let mut parts = vec![show::advice(&advice, self.width)];
            let extent = if self.args.sent { sent::Extent::Whole } else { sent::Extent::Outline };
            parts.push(sent::sent(&self.reports, config, extent)?);
            if self.args.as_service {
                parts.push(service::differences(service, plugin, env, self.width));
            }
            for part in parts.into_iter().filter(|part| !part.is_empty()) {
                self.print(part);
            }
        }
        if self.args.verify && !interrupt.came() {
            self.verify(env, interrupt)?;
        }
        Ok(self.exit)
    }

    #[cfg(feature = "hub")]
    fn verify(&mut self, env: &Env, interrupt: &Interrupt) -> Result<(), Failure> {
        let scratch = trials::scratch(env)?;
        let verified = super::client::block_on(verify::verify(&self.reports, &scratch, interrupt))
            .map_err(|text| Failure::new(Exit::Internal, text))?;
        let head = paint(STRONG, "verify  ");
        let values = print::count(verified.same as u64, "value");
        let mut lines = Vec::new();
        if verified.wrong.is_empty() {
            let same = paint(GOOD, "the same");
            lines.push(format!("{head} {values} sent to a hub and read back: {same}"));
        } else {
            self.exit = Exit::Finding;
            let others = paint(BAD, "others did not");
            lines.push(format!("{head} {values} came back as sent; {others}:"));
            let wrong = verified.wrong.iter();
            lines.extend(wrong.map(|wrong| format!("         {}", report::clean(wrong))));
        }
        let text = lines.join("\n");
        if self.args.json {
            print::talk(text);
        } else {
            self.print(text);
        }
        Ok(())
    }

    #[cfg(not(feature = "hub"))]
    #[expect(clippy::unused_self, reason = "with the hub it does something")]
    fn verify(&mut self, _env: &Env, _interrupt: &Interrupt) -> Result<(), Failure> {
        Err(Failure::new(Exit::Usage, "this talaia was built without the hub that --verify takes"))
    }
}

fn json(report: &Report) -> Result<String, Failure> {
    serde_json::to_string(report).map_err(|e| Failure::from_error(Exit::Internal, &e))
}
