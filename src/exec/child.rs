use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use rustix::event::epoll::{self, EventFlags};
use rustix::process::{Pid, Signal, WaitOptions};

use crate::model::{Outcome, RunId, Rung, Stream, Usage};

use super::event::{self, Kind};
use super::plan::Token;
use super::resident::Resident;
use super::spawn::{Launched, Spawned};
use super::spec::{Leftovers, Run, Spec};
use super::units::{Moment, Units};

/// How much of stderr is kept.
const STDERR_TAIL: usize = 4096;
/// A child may print this many times its cap before the ladder starts.
const FLOOD: u64 = 8;
/// How long the rest of a killed group may take to be gone before the run is reported anyway.
const LEAVING: Duration = Duration::from_millis(500);
/// How often a leaving group is looked at.
const LEAVING_POLL: Duration = Duration::from_millis(2);

/// One of a child's outputs.
pub(super) struct Tap {
    fd: Option<OwnedFd>,
    kept: Kept,
    total: u64,
    /// How many of those have been reported.
    told: u64,
    cap: u64,
}

enum Kept {
    /// The first bytes, up to the cap.
    Head(Vec<u8>),
    /// The last bytes.
    Tail(VecDeque<u8>),
    /// Whole lines, until they are reported.
    Units(Box<Units>),
}

/// What draining a pipe came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Drained {
    /// Empty for now.
    Dry,
    /// Nobody holds the other end any more.
    Closed,
    /// More was printed than any excuse allows.
    Flooded,
}

impl Tap {
    fn head(fd: OwnedFd, cap: u64) -> Self {
        Self { fd: Some(fd), kept: Kept::Head(Vec::new()), total: 0, told: 0, cap }
    }

    fn units(fd: OwnedFd, line_cap: u64) -> Self {
        let kept = Kept::Units(Box::new(Units::new(line_cap)));
        Self { fd: Some(fd), kept, total: 0, told: 0, cap: line_cap }
    }

    fn tail(fd: OwnedFd, cap: u64) -> Self {
        Self { fd: Some(fd), kept: Kept::Tail(VecDeque::new()), total: 0, told: 0, cap }
    }

    pub(super) fn fd(&self) -> Option<&OwnedFd> {
        self.fd.as_ref()
    }

    /// Reads what is there, at most a bounded amount, so that one child that prints without end
    /// does not keep the others waiting.
    pub(super) fn drain(&mut self, scratch: &mut [u8]) -> Drained {
        let Some(fd) = &self.fd else { return Drained::Closed };
        for _ in 0..MAX_READS {
            match rustix::io::read(fd, &mut *scratch) {
                Ok(0) => return Drained::Closed,
                Ok(n) => {
                    self.total += n as u64;
                    self.kept.push(&scratch[..n], self.cap);
                    if self.is_flooded() {
                        return Drained::Flooded;
                    }
                    // A short read emptied the pipe: no second call to be told so.
                    if n < scratch.len() {
                        return Drained::Dry;
                    }
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return Drained::Dry,
                Err(_) => return Drained::Closed,
            }
        }
        Drained::Dry
    }

    fn is_flooded(&self) -> bool {
        match &self.kept {
            Kept::Units(units) => units.is_endless(),
            Kept::Head(_) | Kept::Tail(_) => {
                self.total - self.told > self.cap.saturating_mul(FLOOD)
            }
        }
    }

    /// All bytes ever read.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// Bytes read since this was last asked.
    pub(super) fn tell(&mut self) -> u64 {
        self.total - std::mem::replace(&mut self.told, self.total)
    }

    /// What is kept.
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.kept.take()
    }

    /// The lines of a long-lived plugin's stdout.
    pub(super) fn lines(&mut self) -> Option<&mut Units> {
        match &mut self.kept {
            Kept::Units(units) => Some(units),
            Kept::Head(_) | Kept::Tail(_) => None,
        }
    }

    /// Gives up our end. It must be out of the epoll set by then: see [`Child::forget`].
    pub(super) fn close(&mut self) {
        self.fd = None;
    }
}

/// Reads of one scratch buffer (64 KiB) per turn.
const MAX_READS: usize = 16;

impl Kept {
    fn push(&mut self, bytes: &[u8], cap: u64) {
        match self {
            Self::Head(head) => {
                let room = usize::try_from(cap).unwrap_or(usize::MAX).saturating_sub(head.len());
                head.extend_from_slice(&bytes[..bytes.len().min(room)]);
            }
            Self::Tail(tail) => {
                let new = &bytes[bytes.len().saturating_sub(STDERR_TAIL)..];
                let surplus = (tail.len() + new.len()).saturating_sub(STDERR_TAIL);
                tail.drain(..surplus.min(tail.len()));
                tail.extend(new);
            }
            Self::Units(units) => units.push(bytes, Moment::now()),
        }
    }

    fn take(&mut self) -> Vec<u8> {
        match self {
            Self::Head(head) => std::mem::take(head),
            Self::Tail(tail) => std::mem::take(tail).into(),
            Self::Units(_) => Vec::new(),
        }
    }
}

/// What a run was let go with.
pub(super) struct Opening {
    pub(super) token: Token,
    pub(super) spec: Arc<Spec>,
    pub(super) run: RunId,
    pub(super) started: SystemTime,
    pub(super) begun: Instant,
    pub(super) lag: Duration,
    pub(super) skipped: u64,
    pub(super) leftovers: u64,
    /// Where its files lay when they were last looked at.
    pub(super) devices: Arc<[u64]>,
}

impl Opening {
    /// The report of a run that never came to be.
    pub(super) fn not_started(self, error: String) -> Run {
        Run {
            id: self.run,
            plugin: self.spec.plugin.clone(),
            started: self.started,
            lag: self.lag,
            took: self.begun.elapsed(),
            outcome: Outcome::NotStarted { error },
            stdout: Vec::new(),
            stderr: Vec::new(),
            usage: Usage::default(),
            skipped: self.skipped,
            leftovers: self.leftovers,
            part: None,
            notes: Vec::new(),
            limit: None,
        }
    }
}

/// A live run: the process, its pipes, and how far up the ladder it is.
pub(super) struct Child {
    pub(super) opening: Opening,
    pub(super) stdout: Tap,
    pub(super) stderr: Tap,
    pub(super) pidfd: OwnedFd,
    /// When it must be looked at next, whatever the pipes do. `None` until it outlives its
    /// youth.
    pub(super) timer: Option<Instant>,
    pub(super) pid: Pid,
    pub(super) stdin: Option<OwnedFd>,
    /// What a long-lived plugin has besides.
    pub(super) resident: Option<Box<Resident>>,
    /// Live children of the thread that made it.
    siblings: Arc<AtomicUsize>,
    pub(super) phase: Phase,
    /// Its pipes are in the set.
    watched: bool,
    launched: Option<Launched>,
    /// Which limit ended it.
    pub(super) limit: Option<String>,
    /// Who was in its cgroup besides itself when it died.
    strays: u64,
}

pub(super) enum Phase {
    Running,
    /// A long-lived plugin was asked to end: its stdin is closed. The ladder starts at `timer`.
    Closing {
        why: Option<Outcome>,
    },
    /// A signal was sent; the next one is due at `timer`.
    Ending {
        why: Outcome,
    },
    /// The program is dead and reaped, the rest of its group is killed and not yet gone.
    Leaving {
        outcome: Outcome,
        took: Duration,
        cpu: f64,
        max_rss: u64,
        gone: u64,
        until: Instant,
        /// It was killed: the last line may be half a line.
        cut: bool,
    },
}

/// What is left to do with a child after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// It goes on.
    Nothing,
    /// It is over: take its [`Run`].
    Over,
}

impl Child {
    pub(super) fn new(opening: Opening, spawned: Spawned, siblings: Arc<AtomicUsize>) -> Self {
        siblings.fetch_add(1, Ordering::Relaxed);
        let (out_cap, err_cap) = (opening.spec.stdout_cap, opening.spec.stderr_cap);
        let life = opening.spec.life;
        let stdout = if life.is_resident() {
            Tap::units(spawned.stdout, life.line_cap())
        } else {
            Tap::head(spawned.stdout, out_cap)
        };
        Self {
            opening,
            stdout,
            stderr: Tap::tail(spawned.stderr, err_cap),
            pidfd: spawned.pidfd,
            timer: None,
            pid: spawned.pid,
            stdin: spawned.stdin,
            resident: None,
            siblings,
            phase: Phase::Running,
            watched: false,
            launched: spawned.launched,
            limit: None,
            strays: 0,
        }
    }

    pub(super) fn tap(&mut self, stream: Stream) -> &mut Tap {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }

    /// Takes its descriptors out of the set. Closing them would not be enough: a child that is just
    /// being spawned has copies until it executes its program, and the set would report them, over
    /// and over, until then.
    pub(super) fn forget(&self, epoll: &OwnedFd) {
        let _gone = epoll::delete(epoll, &self.pidfd);
        if self.watched {
            for tap in [&self.stdout, &self.stderr] {
                let _gone = tap.fd().map(|fd| epoll::delete(epoll, fd));
            }
        }
    }

    /// It outlived its youth: from now on its pipes are watched and its deadline counts.
    pub(super) fn grow_up(&mut self, epoll: &OwnedFd) {
        let token = self.opening.token;
        for (tap, kind) in [(&self.stdout, Kind::Stdout), (&self.stderr, Kind::Stderr)] {
            if let Some(fd) = tap.fd() {
                let _full = epoll::add(epoll, fd, event::data(token, kind), EventFlags::IN);
            }
        }
        self.watched = true;
        if self.timer.is_none() && self.resident.is_none() {
            self.timer = Some(self.opening.begun + self.opening.spec.timeout);
        }
    }

    /// Ends it with `why` as the run's outcome, unless that is going on already. A long-lived plugin
    /// that is not wanted any more is asked first, by the end of its stdin; in all other cases the
    /// ladder starts at once.
    pub(super) fn end(&mut self, why: Outcome, now: Instant) {
        match (&self.phase, &why) {
            (Phase::Running, Outcome::Stopped) if self.resident.is_some() => {
                self.close(Some(why), now);
            }
            (Phase::Closing { .. }, Outcome::Stopped) => {
                self.phase = Phase::Closing { why: Some(why) };
            }
            (Phase::Running | Phase::Closing { .. }, _) => self.start_ladder(why, now),
            (Phase::Ending { .. } | Phase::Leaving { .. }, _) => {}
        }
    }

    /// Asks a long-lived plugin to end.
    pub(super) fn close(&mut self, why: Option<Outcome>, now: Instant) {
        if let Phase::Running = self.phase {
            self.stdin = None;
            self.phase = Phase::Closing { why };
            self.timer = Some(now + self.opening.spec.grace);
        }
    }

    fn start_ladder(&mut self, why: Outcome, now: Instant) {
        if let Phase::Running | Phase::Closing { .. } = self.phase {
            self.phase = Phase::Ending { why };
            self.signal(Signal::TERM);
            // A stopped process would not see TERM.
            self.signal(Signal::CONT);
            self.timer = Some(now + self.opening.spec.grace);
        }
    }

    /// KILL at once.
    pub(super) fn end_now(&mut self, why: Outcome, now: Instant) {
        self.start_ladder(why, now);
        if let Phase::Ending { .. } = self.phase {
            self.climb();
        }
    }

    /// Its timer came.
    pub(super) fn tick(&mut self, now: Instant) -> Left {
        match &mut self.phase {
            Phase::Running => {
                self.end(Outcome::TimedOut { reached: Rung::Term }, now);
                Left::Nothing
            }
            Phase::Closing { why } => {
                let why = why.take().unwrap_or(Outcome::TimedOut { reached: Rung::Term });
                self.start_ladder(why, now);
                Left::Nothing
            }
            Phase::Ending { .. } => {
                self.climb();
                Left::Nothing
            }
            Phase::Leaving { .. } => self.leave(now),
        }
    }

    fn climb(&mut self) {
        if let Phase::Ending { why } = &mut self.phase
            && let Outcome::TimedOut { reached } = why
        {
            *reached = Rung::Kill;
        }
        self.signal(Signal::KILL);
        self.kill_strays();
        // A process in uninterruptible sleep dies when it wakes: the pidfd tells.
        self.timer = None;
    }

    /// To the whole group. The leader is alive or a zombie, so the group's id is its own.
    fn signal(&self, signal: Signal) {
        if matches!(self.phase, Phase::Leaving { .. }) {
            return;
        }
        let _gone = rustix::process::kill_process_group(self.pid, signal);
        // It may have gone to another group of its session: the agent's, for one.
        if rustix::process::getpgid(Some(self.pid)).is_ok_and(|group| group != self.pid) {
            let _gone = rustix::process::pidfd_send_signal(&self.pidfd, signal);
        }
    }

    /// The leader is dead: kill the rest of its group while the zombie still holds the id, take
    /// the last output, then collect the exit code.
    pub(super) fn leader_died(&mut self, scratch: &mut [u8], now: Instant) -> Left {
        if let Phase::Leaving { .. } = self.phase {
            return Left::Nothing;
        }
        let keep = self.opening.spec.leftovers == Leftovers::Keep
            && matches!(self.phase, Phase::Running | Phase::Closing { .. });
        let killed = matches!(self.phase, Phase::Ending { .. });
        if !keep {
            self.kill_strays();
            self.signal(Signal::KILL);
        }
        let took = now.duration_since(self.opening.begun);
        self.stdin = None;
        // What is in the pipes now is all there will be from the program itself.
        self.stdout.drain(scratch);
        self.stderr.drain(scratch);
        let (outcome, cpu, max_rss) = self.collect();
        self.phase = Phase::Leaving {
            cut: killed || matches!(outcome, Outcome::Signaled { .. }),
            outcome,
            took,
            cpu,
            max_rss,
            gone: 0,
            until: now + if keep { Duration::ZERO } else { LEAVING },
        };
        if keep { Left::Over } else { self.leave(now) }
    }

    /// All that its cgroup holds besides itself, wherever it went.
    fn kill_strays(&mut self) {
        let Some(cgroup) = self.opening.spec.cgroup() else { return };
        let leader = self.pid.as_raw_nonzero().get();
        let strays = cgroup.processes_in().into_iter().filter(|pid| *pid != leader).count();
        if strays > 0 {
            self.strays = self.strays.max(strays as u64);
            cgroup.kill();
        }
    }

    fn collect(&mut self) -> (Outcome, f64, u64) {
        let why = match std::mem::replace(&mut self.phase, Phase::Running) {
            Phase::Ending { why } => Some(why),
            Phase::Closing { why } => why,
            Phase::Running | Phase::Leaving { .. } => None,
        };
        let pid = self.pid.as_raw_nonzero().get().unsigned_abs();
        match wait4::try_wait4_pid(pid) {
            Ok(Some(used)) => {
                let cpu = (used.rusage.utime + used.rusage.stime).as_secs_f64();
                let outcome = why.unwrap_or_else(|| match used.status.code() {
                    Some(code) => Outcome::Exited { code: code as u8 },
                    None => Outcome::Signaled { signal: used.status.signal().unwrap_or(0) },
                });
                let outcome = self.after_launch(outcome, cpu);
                (outcome, cpu, used.rusage.maxrss)
            }
            // Cannot be: its pidfd said that it is dead, and nobody else reaps it.
            Ok(None) | Err(_) => (why.unwrap_or(Outcome::Signaled { signal: 0 }), 0.0, 0),
        }
    }

    /// The outcome, with what only its launcher and its limits know of it.
    fn after_launch(&mut self, outcome: Outcome, cpu: f64) -> Outcome {
        let Some(launched) = &self.launched else { return outcome };
        if let Some(error) = launched.failure() {
            return Outcome::NotStarted { error };
        }
        self.limit = launched.verdict(&outcome, cpu);
        outcome
    }

    /// Whether somebody of its group or its cgroup is left.
    fn somebody_is_left(&self) -> bool {
        rustix::process::test_kill_process_group(self.pid).is_ok()
            || (self.strays > 0
                && self.opening.spec.cgroup().is_some_and(|c| !c.processes_in().is_empty()))
    }

    /// Reaps who is left of the group (as a subreaper we inherit them) until nobody is.
    fn leave(&mut self, now: Instant) -> Left {
        let strays = self.strays;
        let somebody = self.somebody_is_left();
        let Phase::Leaving { gone, until, .. } = &mut self.phase else { return Left::Nothing };
        // In a cgroup they were counted before any of them died.
        *gone = (*gone).max(strays);
        if !somebody {
            return Left::Over;
        }
        while let Ok(Some(_)) = rustix::process::waitpgid(self.pid, WaitOptions::NOHANG) {
            *gone += u64::from(strays == 0);
        }
        let until = *until;
        if !self.somebody_is_left() || now >= until {
            // Somebody was there, even if another process had to reap it.
            if let Phase::Leaving { gone, .. } = &mut self.phase {
                *gone = (*gone).max(1);
            }
            return Left::Over;
        }
        self.timer = Some(now + LEAVING_POLL);
        Left::Nothing
    }

    /// What it all came to.
    pub(super) fn into_run(mut self) -> Run {
        if self.resident.is_some() {
            return self.last_part();
        }
        let (outcome, took, cpu, max_rss, gone) =
            match std::mem::replace(&mut self.phase, Phase::Running) {
                Phase::Leaving { outcome, took, cpu, max_rss, gone, .. } => {
                    (outcome, took, cpu, max_rss, gone)
                }
                Phase::Running | Phase::Closing { .. } | Phase::Ending { .. } => {
                    (Outcome::Stopped, self.opening.begun.elapsed(), 0.0, 0, 0)
                }
            };
        Run {
            id: self.opening.run,
            plugin: self.opening.spec.plugin.clone(),
            started: self.opening.started,
            lag: self.opening.lag,
            took,
            outcome,
            stdout: self.stdout.kept.take(),
            stderr: self.stderr.kept.take(),
            usage: Usage { cpu, max_rss, stdout: self.stdout.total, stderr: self.stderr.total },
            skipped: self.opening.skipped,
            leftovers: self.opening.leftovers + gone,
            part: None,
            notes: Vec::new(),
            limit: self.limit.take(),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.siblings.fetch_sub(1, Ordering::Relaxed);
    }
}
