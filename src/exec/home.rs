//! How a child lives that is not to end: what it is asked, what it answers, and its reports.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::event::epoll::{self, EventFlags};
use rustix::fs::OFlags;

use crate::model::{Outcome, RunId, Rung, Usage};

use super::child::{Child, Phase};
use super::event::{self, Kind};
use super::memory;
use super::resident::{Asked, Resident};
use super::room::Share;
use super::spec::{Life, Note, Part, Run};
use super::units::{Moment, Slice};

/// Log lines of a plugin that reports nothing are passed on after this long.
const STDERR_AGE: Duration = Duration::from_secs(10);

/// What became of a tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tick {
    Sent,
    /// The one before it has not been answered, or nobody takes what is printed.
    Skipped,
    /// It cannot be written: the plugin does not read.
    Unread,
}

/// What is particular to a long-lived plugin; `self.resident` is there.
impl Child {
    /// Makes this the child of a long-lived plugin.
    pub(super) fn settle_in(&mut self, share: Share) {
        let quiet_until = match self.opening.spec.life {
            Life::Stream { quiet, .. } => Some(self.opening.begun + quiet),
            Life::Run | Life::Tick { .. } => None,
        };
        self.resident = Some(Box::new(Resident::new(share, quiet_until)));
        if let Some(stdin) = &self.stdin {
            // A pipe of our own: it can be switched. If not, a tick that nobody reads would block,
            // after some hundreds of them.
            let _blocking = rustix::fs::fcntl_setfl(stdin, OFlags::NONBLOCK);
        }
        self.timer = self.next_look();
    }

    /// Whether it is one, and neither asked to end nor dead.
    pub(super) fn is_at_home(&self) -> bool {
        self.resident.is_some() && matches!(self.phase, Phase::Running)
    }

    /// Whether what it prints may be read: there is somebody to take it.
    pub(super) fn has_room(&self) -> bool {
        self.resident.as_ref().is_none_or(|resident| resident.share.has_room())
    }

    /// Stops reading its stdout: it waits on its own pipe, and no deadline counts.
    pub(super) fn pause(&mut self, epoll: &OwnedFd, now: Instant) {
        if let Some(resident) = &mut self.resident
            && resident.paused.is_none()
        {
            resident.paused = Some(now);
            let _gone = self.stdout.fd().map(|fd| epoll::delete(epoll, fd));
        }
    }

    /// Reads its stdout again. The time that it could not be heard does not count.
    pub(super) fn resume(&mut self, epoll: &OwnedFd, now: Instant) {
        if let Some(resident) = &mut self.resident
            && let Some(since) = resident.paused.take()
        {
            if let Some(asked) = &mut resident.asked {
                asked.deadline += now.duration_since(since);
            }
            if let Some(fd) = self.stdout.fd() {
                let data = event::data(self.opening.token, Kind::Stdout);
                let _full = epoll::add(epoll, fd, data, EventFlags::IN);
            }
        }
    }

    /// Whether it owes an answer.
    pub(super) fn is_asked(&self) -> bool {
        self.resident.as_ref().is_some_and(|resident| resident.asked.is_some())
    }

    /// Something came on its stderr.
    pub(super) fn has_talked(&mut self, now: Instant) {
        if let Some(resident) = &mut self.resident {
            resident.talking_since.get_or_insert(now);
        }
    }

    /// When it must be looked at, if nothing happens: while it is at home.
    pub(super) fn next_look(&mut self) -> Option<Instant> {
        if !self.is_at_home() {
            return self.timer;
        }
        let due = self.stdout.lines().and_then(|units| units.due());
        let resident = self.resident.as_ref()?;
        let deadline =
            resident.asked.as_ref().filter(|_| resident.paused.is_none()).map(|a| a.deadline);
        let talk = resident.talking_since.map(|since| since + STDERR_AGE);
        [due, deadline, talk, resident.quiet_until].into_iter().flatten().min()
    }

    /// Asks it, if it has answered what it was asked before. The caller has read what was there.
    pub(super) fn ask(&mut self, due: Instant, now: Instant) -> Tick {
        let timeout = self.opening.spec.timeout;
        let Some(resident) = self.resident.as_mut() else { return Tick::Skipped };
        if !matches!(self.phase, Phase::Running)
            || resident.asked.is_some()
            || resident.paused.is_some()
        {
            return Tick::Skipped;
        }
        let (run, sent) = (RunId::new(), SystemTime::now());
        let deadline = (sent + timeout).duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        resident.asked = Some(Asked {
            run,
            sent,
            begun: now,
            lag: now.saturating_duration_since(due),
            deadline: now + timeout,
        });
        let line = format!("{{\"run\":\"{run}\",\"deadline\":{deadline}}}\n");
        // A pipe takes so short a line whole or not at all.
        let written = self
            .stdin
            .as_ref()
            .is_some_and(|pipe| rustix::io::write(pipe, line.as_bytes()).is_ok());
        if written {
            return Tick::Sent;
        }
        resident.notes.push(Note::Unread);
        self.end(Outcome::TimedOut { reached: Rung::Term }, now);
        Tick::Unread
    }

    /// Closes the slice at hand, whatever its age.
    pub(super) fn flush(&mut self) {
        if let Some(units) = self.stdout.lines() {
            units.flush(Moment::now());
        }
    }

    /// Its time has come: a slice is old enough, a deadline has passed, it has been quiet too long.
    /// The caller has read what was there.
    pub(super) fn look(&mut self, now: Instant, parts: &mut Vec<Run>) {
        if let Some(units) = self.stdout.lines()
            && units.due().is_some_and(|due| due <= now)
        {
            units.flush(Moment::now());
        }
        self.take_parts(now, parts);
        let printed = self.stdout.total() > 0;
        let Some(resident) = &mut self.resident else { return };
        let mut say = false;
        if resident.quiet_until.is_some_and(|at| at <= now) {
            resident.quiet_until = None;
            if !printed {
                resident.notes.push(Note::Silent(now.duration_since(self.opening.begun)));
                say = true;
            }
        }
        say |= resident.talking_since.is_some_and(|since| since + STDERR_AGE <= now);
        let late = resident.asked.as_ref().filter(|_| resident.paused.is_none());
        let late = late.is_some_and(|asked| asked.deadline <= now);
        if late && self.is_at_home() {
            if !printed {
                let lived = now.duration_since(self.opening.begun);
                self.resident.iter_mut().for_each(|r| r.notes.push(Note::Silent(lived)));
            }
            self.end(Outcome::TimedOut { reached: Rung::Term }, now);
        } else if say {
            parts.push(self.part(Slice::new(Moment::now()), None, now));
        }
    }

    /// What is complete, as reports: the answer to what it was asked, and slices.
    pub(super) fn take_parts(&mut self, now: Instant, parts: &mut Vec<Run>) {
        let may_answer = match self.phase {
            Phase::Running | Phase::Closing { .. } => true,
            Phase::Ending { .. } => false,
            Phase::Leaving { cut, .. } => !cut,
        };
        loop {
            let Some(resident) = &mut self.resident else { return };
            let asked = resident.asked.is_some() && may_answer;
            let Some(units) = self.stdout.lines() else { return };
            let slice = if asked { units.take_first() } else { units.next() };
            let Some(slice) = slice else { return };
            let asked = if asked { resident.asked.take() } else { None };
            let part = self.part(slice, asked, now);
            parts.push(part);
        }
    }

    fn part(&mut self, mut slice: Slice, asked: Option<Asked>, now: Instant) -> Run {
        if asked.is_some() {
            // An answer is of the moment of its question, as a run's output is of its start.
            slice.arrivals.clear();
        }
        let spec = &self.opening.spec;
        let mut notes =
            self.resident.as_mut().map(|r| std::mem::take(&mut r.notes)).unwrap_or_default();
        if slice.cut {
            notes.push(Note::LineCut(spec.life.line_cap()));
        }
        if matches!(spec.life, Life::Tick { .. }) && asked.is_none() && !slice.bytes.is_empty() {
            notes.push(Note::Unasked);
        }
        let (id, started, begun, lag) = match asked {
            Some(asked) => (asked.run, asked.sent, asked.begun, asked.lag),
            None => (RunId::new(), slice.since_wall, slice.since, Duration::ZERO),
        };
        let seen = self.usage_so_far();
        let took = now.saturating_duration_since(begun);
        self.run_of(Stretch { id, started, took, lag }, Outcome::Answered, slice, seen, notes)
    }

    /// What was left when it ended.
    pub(super) fn last_part(mut self) -> Run {
        let now = Moment::now();
        let phase = std::mem::replace(&mut self.phase, Phase::Running);
        let (outcome, cpu, max_rss, gone, cut) = match phase {
            Phase::Leaving { outcome, cpu, max_rss, gone, cut, .. } => {
                (outcome, cpu, max_rss, gone, cut)
            }
            Phase::Running | Phase::Closing { .. } | Phase::Ending { .. } => {
                (Outcome::Stopped, 0.0, 0, 0, true)
            }
        };
        let slice = match self.stdout.lines() {
            Some(units) => units.finish(cut, now),
            None => Slice::new(now),
        };
        let (asked, reported, notes) = match &mut self.resident {
            Some(r) => (r.asked.take(), r.reported, std::mem::take(&mut r.notes)),
            None => (None, false, Vec::new()),
        };
        let stretch = match asked {
            Some(asked) => Stretch {
                id: asked.run,
                started: asked.sent,
                took: asked.begun.elapsed(),
                lag: asked.lag,
            },
            // The whole life, where nothing of it has been reported.
            None if !reported => Stretch {
                id: self.opening.run,
                started: self.opening.started,
                took: self.opening.begun.elapsed(),
                lag: Duration::ZERO,
            },
            None => Stretch {
                id: self.opening.run,
                started: slice.since_wall,
                took: slice.since.elapsed(),
                lag: Duration::ZERO,
            },
        };
        // The kernel's figure of a life may be the agent's own memory; what was seen of it is not.
        let max_rss = memory::of_program(max_rss).unwrap_or(0);
        let mut run = self.run_of(stretch, outcome, slice, Some((cpu, max_rss)), notes);
        run.leftovers = gone;
        run
    }

    fn run_of(
        &mut self,
        stretch: Stretch,
        outcome: Outcome,
        slice: Slice,
        used: Option<(f64, u64)>,
        notes: Vec<Note>,
    ) -> Run {
        let (stdout, stderr) = (self.stdout.tell(), self.stderr.tell());
        let mut usage = Usage { stdout, stderr, ..Usage::default() };
        let mut hold = None;
        if let Some(resident) = &mut self.resident {
            if let Some((cpu, rss)) = used {
                usage.cpu = (cpu - resident.cpu).max(0.0);
                resident.cpu = resident.cpu.max(cpu);
                resident.max_rss = resident.max_rss.max(rss);
            }
            usage.max_rss = resident.max_rss;
            resident.talking_since = None;
            resident.reported = true;
            hold = Some(resident.share.take(slice.bytes.len()));
        }
        Run {
            id: stretch.id,
            plugin: self.opening.spec.plugin.clone(),
            started: stretch.started,
            lag: stretch.lag,
            took: stretch.took,
            outcome,
            stdout: slice.bytes,
            stderr: self.stderr.take(),
            usage,
            skipped: 0,
            leftovers: 0,
            limit: self.limit.take(),
            part: Some(Part { arrivals: slice.arrivals, cut: slice.cut, hold }),
            notes,
        }
    }

    /// Processor time and resident memory of a process that lives. The kernel counts in ticks of
    /// usually 10 ms, so one report's share is coarse; their sum is not.
    fn usage_so_far(&self) -> Option<(f64, u64)> {
        let pid = self.pid.as_raw_nonzero();
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name is in parentheses and may hold anything.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        let number = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
        // utime, stime, and those of children that were waited for: fields 14 to 17, from 1; the
        // first after the name is field 3. Pages are field 24.
        let ticks: u64 = (11..15).filter_map(number).sum();
        let cpu = ticks as f64 / rustix::param::clock_ticks_per_second() as f64;
        Some((cpu, number(21)?.saturating_mul(rustix::param::page_size() as u64)))
    }
}

/// Which stretch of a life a report is of.
#[derive(Clone, Copy)]
struct Stretch {
    id: RunId,
    started: SystemTime,
    took: Duration,
    lag: Duration,
}
