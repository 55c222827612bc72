//! Judging what is in quarantine again, and sending on what is accepted now.
//!
//! Promises: a thing leaves the quarantine in the same transaction in which its report is appended,
//! so it is neither lost nor there twice, whenever the agent ends; what is refused again stays, with
//! its new reason, and is not counted again; records keep the time at which they were observed.
//!
//! What an output refused is appended as it was, under the plugin's present key, for all outputs:
//! one that has it already gets it a second time, under the same run.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::config::{AgentConfig, Config};
use crate::contract::{Judged, Moment};
use crate::model::{
    Counts, Outcome, PluginName, Rejection, Report, RunId, Status, Timestamp, Usage, limits,
};
use crate::spool::{
    AppendError, Inspector, Lost, NewReport, Pick, QuarantineChange, Quarantined, Spool,
    SpoolError, Ticket,
};

use super::keeper::Plugins;
use super::plugin::Plugin;
use super::spooling::spool_options;

/// Things read from the quarantine at a time.
const PAGE: usize = 256;
/// Things that stay, named in the summary.
const NAMED: usize = 100;
/// Reports that wait for the disk together; waiting for each would take a commit interval a report.
const IN_FLIGHT: usize = 64;

/// What a replay came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replayed {
    /// Things that left the quarantine.
    pub replayed: u64,
    /// Records accepted.
    pub accepted: u64,
    /// Reports appended.
    pub reports: u64,
    /// Things that stay.
    pub stayed: u64,
    /// The first hundred of them.
    pub why: Vec<Stayed>,
}

/// Something that stays in quarantine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stayed {
    /// Its number there.
    pub id: i64,
    /// Its plugin.
    pub plugin: Option<String>,
    /// Its code, the new one where it was judged again.
    pub code: String,
    /// Why.
    pub why: String,
}

/// Why a replay ended early. What it had appended by then is appended.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The spool.
    #[error("the spool cannot be used")]
    Spool(#[source] SpoolError),
    /// A report could not be queued.
    #[error("the spool takes no more for now; try again when the disk keeps up")]
    Append(#[source] AppendError),
    /// A report could not be written.
    #[error("a report did not get to the disk")]
    Lost(#[source] Lost),
    /// A report could not be turned into JSON.
    #[error("a report cannot be written as JSON")]
    Json(#[source] serde_json::Error),
}

/// Replays while no agent runs: under the spool's lock, with the plugins of `config`.
pub fn replay_alone(config: &Config, pick: &Pick) -> Result<Replayed, ReplayError> {
    let (spool, opened) = Spool::open(spool_options(&config.agent)).map_err(ReplayError::Spool)?;
    for notice in opened.notices {
        tracing::error!("{notice}");
    }
    let plugins = Plugins::default();
    for plugin in config.plugins.values() {
        plugins.insert(Arc::new(Plugin::new(plugin.clone(), &config.agent, None)));
    }
    replay(&spool, &plugins, &config.agent, pick)
}

/// One replay at a time: two of the same thing would append it twice.
static ONE: Mutex<()> = Mutex::new(());

/// Replays what is picked. Blocks on the disk.
pub(super) fn replay(
    spool: &Spool,
    plugins: &Plugins,
    agent: &AgentConfig,
    pick: &Pick,
) -> Result<Replayed, ReplayError> {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let done = Replayed::default();
    let mut work = Work { spool, plugins, host: &agent.host, in_flight: Vec::new(), done };
    let read = work.all(&agent.data_dir, pick);
    // Also after an error: the next replay must not find what this one has appended.
    let written = work.land();
    read.and(written)?;
    Ok(work.done)
}

struct Work<'a> {
    spool: &'a Spool,
    plugins: &'a Plugins,
    host: &'a str,
    in_flight: Vec<Ticket>,
    done: Replayed,
}

impl Work<'_> {
    fn all(&mut self, data_dir: &Path, pick: &Pick) -> Result<(), ReplayError> {
        let quarantine = Inspector::open(data_dir).map_err(ReplayError::Spool)?;
        let mut after = 0;
        let mut held: Vec<Quarantined> = Vec::new();
        loop {
            let page = quarantine.quarantine(pick, after, PAGE).map_err(ReplayError::Spool)?;
            let more = page.len() == PAGE;
            after = page.last().map_or(after, |last| last.id);
            held.extend(page);
            // The records of one run are judged together; those of the last may not be all here.
            while let Some(first) = held.first() {
                let same = held.iter().take_while(|item| belong_together(first, item)).count();
                if more && same == held.len() {
                    break;
                }
                let group: Vec<Quarantined> = held.drain(..same).collect();
                self.group(group)?;
            }
            if !more {
                return Ok(());
            }
        }
    }

    fn group(&mut self, items: Vec<Quarantined>) -> Result<(), ReplayError> {
        let (mut ready, mut stuck) = (Vec::new(), Vec::new());
        for item in items {
            match item.replayable() {
                Ok(()) => ready.push(item),
                Err(why) => stuck.push((item, why)),
            }
        }
        for (item, why) in stuck {
            self.stays(&item, &item.code, why);
        }
        match ready.first() {
            None => Ok(()),
            Some(first) if first.kind == "refused" => {
                ready.into_iter().try_for_each(|item| self.whole_report(&item))
            }
            Some(_) => self.records(&ready),
        }
    }

    /// Records that the contract refused in one run.
    fn records(&mut self, items: &[Quarantined]) -> Result<(), ReplayError> {
        let Some(first) = items.first() else { return Ok(()) };
        let name = first.plugin.as_deref().and_then(|name| name.parse::<PluginName>().ok());
        let plugin = name.as_ref().and_then(|name| self.plugins.get(name));
        let (Some(name), Some(plugin)) = (name, plugin) else {
            for item in items {
                self.stays(item, &item.code, "no plugin of this name is configured");
            }
            return Ok(());
        };
        if let Some(fault) = &plugin.fault {
            for item in items {
                self.stays(item, &item.code, fault);
            }
            return Ok(());
        }
        let started = Timestamp::from_millis(first.started.unwrap_or(first.at))
            .unwrap_or_else(|| Timestamp::from(SystemTime::now()));
        let run = first.run.as_deref().and_then(|run| run.parse::<RunId>().ok());
        let moment = Moment { started, now: Timestamp::from(SystemTime::now()) };
        let verdicts = plugin.judge_again(moment, items);
        let mut reconsidered = Vec::new();
        let mut batch = Batch::default();
        for (item, judged) in items.iter().zip(verdicts) {
            let Some(judged) = judged else {
                let why =
                    format!("it is not {}, which the plugin's format still is", plugin.format());
                self.stays(item, &item.code, &why);
                continue;
            };
            if judged.counts.accepted == 0 {
                self.refused_again(item, &judged, &mut reconsidered);
                continue;
            }
            if batch.metrics() + judged.metrics.len() > limits::METRICS {
                let full = std::mem::take(&mut batch);
                self.append(full, &name, &plugin, run, started)?;
            }
            batch.add(item.id, judged);
        }
        if !batch.leave.is_empty() {
            self.append(batch, &name, &plugin, run, started)?;
        }
        if !reconsidered.is_empty() {
            self.spool.reconsider(reconsidered).wait().map_err(ReplayError::Spool)?;
        }
        Ok(())
    }

    fn refused_again(
        &mut self,
        item: &Quarantined,
        judged: &Judged,
        reconsidered: &mut Vec<(i64, Rejection)>,
    ) {
        let Some(now) = judged.rejected.first() else {
            return self.stays(item, &item.code, "there is no record in it");
        };
        self.stays(item, now.code.as_str(), &now.message);
        let Ok(before) = serde_json::from_slice::<Rejection>(&item.body) else { return };
        if now.code == before.code && now.message == before.message {
            return;
        }
        // The excerpt has lines of its own; where it was printed stays true.
        let Rejection { line, column, .. } = before;
        reconsidered.push((item.id, Rejection { line, column, ..now.clone() }));
    }

    fn append(
        &mut self,
        batch: Batch,
        name: &PluginName,
        plugin: &Plugin,
        run: Option<RunId>,
        started: Timestamp,
    ) -> Result<(), ReplayError> {
        let Batch { judged, leave } = batch;
        let Judged { metrics, rejected, quarantine, counts, .. } = judged;
        let report = Report {
            plugin: name.clone(),
            key: plugin.config.key,
            host: self.host.to_owned(),
            run: RunId::new(),
            // A file that was edited by hand may not say which; then the report is its own origin.
            replay_of: Some(run.unwrap_or_else(RunId::new)),
            started,
            duration: 0.0,
            interval: None,
            outcome: Outcome::Answered,
            status: Status::Ok,
            message: None,
            metrics,
            rejected,
            warnings: Vec::new(),
            counts: counts.clone(),
            skipped: 0,
            leftovers: 0,
            usage: Usage::default(),
            stderr: String::new(),
            contract: None,
        };
        let format = plugin.format().as_str();
        self.put(&report, counts, QuarantineChange { come: quarantine, format, leave })
    }

    /// A report that an output refused.
    fn whole_report(&mut self, item: &Quarantined) -> Result<(), ReplayError> {
        let Ok(mut report) = serde_json::from_slice::<Report>(&item.body) else {
            self.stays(item, &item.code, "it is not a report of this version");
            return Ok(());
        };
        // It is the same run, delivered once more: whoever has it knows it by that.
        report.replay_of = Some(report.replay_of.unwrap_or(report.run));
        if let Some(plugin) = self.plugins.get(&report.plugin) {
            report.key = plugin.config.key;
        }
        // What its run refused was counted then.
        let accepted = report.metrics.len() as u64;
        let counts = Counts { produced: accepted, accepted, ..Counts::default() };
        let leave = vec![item.id];
        self.put(&report, counts, QuarantineChange { leave, ..QuarantineChange::default() })
    }

    fn put(
        &mut self,
        report: &Report,
        counts: Counts,
        quarantine: QuarantineChange,
    ) -> Result<(), ReplayError> {
        let body = serde_json::to_vec(report).map_err(ReplayError::Json)?;
        let (left, accepted) = (quarantine.leave.len() as u64, counts.accepted);
        let new = NewReport { plugin: report.plugin.clone(), body, counts, skipped: 0, quarantine };
        if self.in_flight.len() >= IN_FLIGHT {
            self.land()?;
        }
        let ticket = self.spool.append(new).map_err(ReplayError::Append)?;
        self.in_flight.push(ticket);
        self.done.replayed += left;
        self.done.accepted += accepted;
        self.done.reports += 1;
        Ok(())
    }

    /// Waits until all that was appended is on disk.
    fn land(&mut self) -> Result<(), ReplayError> {
        let landed: Vec<_> = self.in_flight.drain(..).map(Ticket::wait).collect();
        landed.into_iter().try_for_each(|seq| seq.map(drop)).map_err(ReplayError::Lost)
    }

    fn stays(&mut self, item: &Quarantined, code: &str, why: &str) {
        self.done.stayed += 1;
        if self.done.why.len() < NAMED {
            self.done.why.push(Stayed {
                id: item.id,
                plugin: item.plugin.clone(),
                code: code.to_owned(),
                why: why.to_owned(),
            });
        }
    }
}

/// What is accepted of one run, until it is a report.
#[derive(Default)]
struct Batch {
    judged: Judged,
    leave: Vec<i64>,
}

impl Batch {
    fn metrics(&self) -> usize {
        self.judged.metrics.len()
    }

    fn add(&mut self, id: i64, judged: Judged) {
        self.leave.push(id);
        let all = &mut self.judged;
        all.metrics.extend(judged.metrics);
        all.quarantine.extend(judged.quarantine);
        let room = limits::REJECTIONS.saturating_sub(all.rejected.len());
        all.rejected.extend(judged.rejected.into_iter().take(room));
        all.counts.produced += judged.counts.produced;
        all.counts.accepted += judged.counts.accepted;
        for (code, count) in judged.counts.rejected {
            *all.counts.rejected.entry(code).or_default() += count;
        }
    }
}

fn belong_together(one: &Quarantined, other: &Quarantined) -> bool {
    (&one.kind, &one.plugin, &one.run, one.started)
        == (&other.kind, &other.plugin, &other.run, other.started)
}
