//! What the worker does for children that live on. Runs are not touched by any of it.

use std::time::{Duration, Instant};

use rustix::event::epoll;

use crate::model::{Outcome, Stream};

use super::child::{Child, Drained};
use super::home::Tick;
use super::plan::{Due, Token};
use super::reaper::Reaper;
use super::spec::{Note, Run};

/// How often is looked whether reports are taken again, while they are not.
const CLOSED_POLL: Duration = Duration::from_millis(100);

impl Reaper {
    /// Whether reports are taken at all. While they are not, no long-lived plugin is read or asked.
    pub(super) fn set_open(&mut self, open: bool, now: Instant) {
        self.open = open;
        if !self.paused.is_empty() && open {
            self.resume_the_paused(now);
        }
    }

    /// When it is to be looked whether reports are taken again.
    pub(super) fn looks_again_at(&self, now: Instant) -> Option<Instant> {
        (!self.open && !self.paused.is_empty()).then(|| now + CLOSED_POLL)
    }

    fn resume_the_paused(&mut self, now: Instant) {
        let ready: Vec<Token> = self
            .paused
            .iter()
            .copied()
            .filter(|token| self.children.get(token).is_none_or(Child::has_room))
            .collect();
        for token in ready {
            self.paused.remove(&token);
            if let Some(child) = self.children.get_mut(&token) {
                child.resume(&self.shared.epoll, now);
                self.reckon(token);
            }
        }
    }

    /// A tick is due.
    pub(super) fn ask(&mut self, due: &Due, now: Instant) {
        // What came before is no answer.
        self.read_resident(due.token, now);
        let Some(child) = self.children.get_mut(&due.token) else { return self.skip(due) };
        let mut parts = Vec::new();
        child.take_parts(now, &mut parts);
        if !child.is_asked() {
            child.flush();
            child.take_parts(now, &mut parts);
        }
        let tick = child.ask(due.at, now);
        self.emit(due.token, parts);
        match tick {
            Tick::Sent | Tick::Unread => self.reckon(due.token),
            Tick::Skipped => self.skip(due),
        }
    }

    fn skip(&self, due: &Due) {
        self.shared.plan().add_skipped(&due.plugin);
    }

    /// There is something on its stdout, or may be.
    pub(super) fn tend(&mut self, token: Token, now: Instant) {
        self.read_resident(token, now);
        let Some(child) = self.children.get_mut(&token) else { return };
        let mut parts = Vec::new();
        child.take_parts(now, &mut parts);
        self.emit(token, parts);
        self.reckon(token);
    }

    /// Its time has come. What has been printed by now counts before any deadline does.
    pub(super) fn look_after(&mut self, token: Token, now: Instant) {
        self.read_resident(token, now);
        let Some(child) = self.children.get_mut(&token) else { return };
        let mut parts = Vec::new();
        child.look(now, &mut parts);
        self.emit(token, parts);
        self.reckon(token);
    }

    /// What is left of a life that is over, but for its last part.
    pub(super) fn take_last_slices(&mut self, token: Token, now: Instant) {
        if let Some(child) = self.children.get_mut(&token) {
            let mut parts = Vec::new();
            child.take_parts(now, &mut parts);
            self.emit(token, parts);
        }
    }

    fn read_resident(&mut self, token: Token, now: Instant) {
        let Some(child) = self.children.get_mut(&token) else { return };
        if !self.open || !child.has_room() {
            child.pause(&self.shared.epoll, now);
            self.paused.insert(token);
            return;
        }
        if self.paused.remove(&token) {
            child.resume(&self.shared.epoll, now);
        }
        let limit = child.opening.spec.life.line_cap();
        match child.stdout.drain(&mut self.scratch) {
            Drained::Dry => {}
            Drained::Closed => {
                if let Some(fd) = child.stdout.fd() {
                    let _gone = epoll::delete(&self.shared.epoll, fd);
                }
                child.stdout.close();
                // Nothing can come any more.
                child.close(None, now);
            }
            Drained::Flooded => {
                child.end(Outcome::Flooded { stream: Stream::Stdout, limit }, now);
            }
        }
    }

    /// Something came on a child's stderr.
    pub(super) fn has_talked(&mut self, token: Token, now: Instant) {
        if let Some(child) = self.children.get_mut(&token)
            && child.resident.is_some()
        {
            child.has_talked(now);
            self.reckon(token);
        }
    }

    /// Sees to it that a child is looked at in time.
    fn reckon(&mut self, token: Token) {
        if let Some(child) = self.children.get_mut(&token) {
            let before = child.timer;
            child.timer = child.next_look();
            let timer = child.timer;
            // On its way out it sets its timer itself.
            if timer != before || !child.is_at_home() {
                self.remind(token, timer);
            }
        }
    }

    fn emit(&mut self, token: Token, parts: Vec<Run>) {
        if parts.is_empty() {
            return;
        }
        let printed = self.children.get(&token).is_some_and(|child| child.stdout.total() > 0);
        for mut part in parts {
            let mut plan = self.shared.plan();
            (part.skipped, part.leftovers) = plan.take_counts(token);
            if part.notes.iter().any(|note| matches!(note, Note::Silent(_))) {
                plan.set_silent(token, true);
            } else if printed {
                plan.set_silent(token, false);
            }
            drop(plan);
            (self.on_run)(part);
        }
    }
}
