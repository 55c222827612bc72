use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tracing::{error, info, warn};

use crate::model::{Seq, SpoolId};

use super::db::Db;
use super::quarantine::{self, Bounds};
use super::queue::{Command, Pending, Work};
use super::schema;
use super::state::State;
use super::store;
use super::{Health, Notice, Opened, Shared, SpoolError, Stored};
use crate::model::Evicted;

/// What a spool on a full disk may still hold.
const LEAST: u64 = 8 << 20;

/// How often the file system's free space is looked at while reports come.
const GUARD: Duration = Duration::from_secs(2);

/// How often ages are looked at.
const AGES: Duration = Duration::from_secs(10);

/// How often the quarantine's ages are looked at, where they are allowed to be larger.
const QUARANTINE_AGES: Duration = Duration::from_mins(1);

/// Between a failure and opening again: doubling from the first to the longest.
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(30);

/// Free pages kept for the next reports; what is over goes back to the file system.
const SPARE_PAGES: i64 = 2048;

/// Pages given back at a time.
const VACUUM_PAGES: i64 = 512;

/// Starts the one thread that writes.
pub(super) fn spawn(shared: Arc<Shared>, db: Db) -> std::io::Result<JoinHandle<()>> {
    let now = Instant::now();
    let mut writer = Writer {
        shared,
        db: Some(db),
        reports: VecDeque::new(),
        expected: None,
        failures: 0,
        blocked: None,
        more: true,
        grown: true,
        guard_at: now,
        ages_at: now,
        quarantine_at: now,
    };
    std::thread::Builder::new().name("spool".to_owned()).spawn(move || writer.run())
}

struct Writer {
    shared: Arc<Shared>,
    /// `None` after a failure, until it is opened again.
    db: Option<Db>,
    /// Taken from the queue and not on disk yet.
    reports: VecDeque<Pending>,
    /// The last number that a commit of `reports` would have given, while it is unknown whether
    /// that commit happened.
    expected: Option<u64>,
    /// Failures in a row.
    failures: u32,
    /// When to open again.
    blocked: Option<Instant>,
    /// There is something to delete or to give back.
    more: bool,
    /// Reports came since the free space was last looked at.
    grown: bool,
    guard_at: Instant,
    ages_at: Instant,
    quarantine_at: Instant,
}

#[derive(Debug, PartialEq, Eq)]
enum Then {
    GoOn,
    End,
}

impl Writer {
    fn run(&mut self) {
        loop {
            let interval = self.shared.options.commit_interval;
            let work = self.shared.queue.take(interval, self.idle_at(), self.blocked);
            if self.attend(work) == Then::End {
                return;
            }
        }
    }

    fn attend(&mut self, mut work: Work) -> Then {
        let flush = work.commands.iter().any(|c| matches!(c, Command::Flush { .. }));
        if work.closing || flush {
            // An attempt now, also on a closed database; whoever waits learns how it went.
            self.blocked = None;
            work.add(self.shared.queue.take_now());
        }
        let Work { reports, commands, closing } = work;
        self.reports.extend(reports);
        self.turn(commands);
        if closing { Then::End } else { Then::GoOn }
    }

    fn idle_at(&self) -> Option<Instant> {
        // Reports whose commit failed are tried again as soon as the database is open.
        if self.more || !self.reports.is_empty() {
            return Some(Instant::now());
        }
        let guard = self.grown.then_some(self.guard_at);
        let ages = self.shared.options.max_age.map(|_| self.ages_at);
        let quarantined = self.db.as_ref().is_some_and(|db| db.state.quarantine_bytes > 0);
        let quarantine = quarantined.then_some(self.quarantine_at);
        guard.into_iter().chain(ages).chain(quarantine).min()
    }

    fn turn(&mut self, mut commands: Vec<Command>) {
        if self.db.is_none() {
            let waiting = self.blocked.is_some_and(|until| Instant::now() < until);
            if waiting || !self.reopen() {
                let why = match &*self.shared.health.borrow() {
                    Health::Closed { why } => why.clone(),
                    Health::Open => String::new(),
                };
                refuse(commands, &why);
                return;
            }
        }
        let broken = commands.iter().find_map(|c| match c {
            // Unless the file was replaced or mended since.
            Command::Broken { why, opening } => {
                let now = self.shared.openings.load(Ordering::Acquire);
                (*opening == now).then(|| why.clone())
            }
            _ => None,
        });
        if let Some(why) = broken {
            // Not `commands`: they were meant for the old file, and tried again by who waits.
            refuse(std::mem::take(&mut commands), &why);
            self.close(why);
            self.give_way();
            return;
        }
        if !self.reports.is_empty() || !commands.is_empty() {
            self.commit(commands);
        } else if let Err(error) = self.maintain() {
            self.fail(&error);
        }
    }

    /// Appends, carries out what was asked, and answers when all of it is on disk.
    fn commit(&mut self, mut commands: Vec<Command>) {
        let bounds = self.bounds();
        let Some(db) = &mut self.db else { return };
        let quota = self.shared.options.quota;
        let reports = &self.reports;
        let before = db.state.live();
        let first = db.state.last_seq + 1;
        self.expected = Some(db.state.last_seq + reports.len() as u64);
        let mut fresh = None;
        let committed = db.commit(|tx, state| {
            // Outputs that were named before a report came are to have it, also where one commit
            // brings both; a receipt that came before its output was removed counts.
            let names = |command: &Command| matches!(command, Command::SetOutputs { .. });
            let named = commands.iter().rposition(names).map_or(0, |last| last + 1);
            for command in &mut commands[..named] {
                fresh = carry_out(tx, state, command)?.or(fresh);
            }
            store::append(tx, state, reports)?;
            for command in &mut commands[named..] {
                fresh = carry_out(tx, state, command)?.or(fresh);
            }
            quarantine::trim(tx, state, bounds)?;
            // Never more than a chunk at a time; what is left goes in maintenance.
            if state.live() > quota {
                let over = state.live() - quota;
                store::evict_bytes(tx, state, over, Evicted::Quota)?;
            }
            Ok(())
        });
        if let Err(error) = committed {
            let why = self.fail(&error);
            refuse(commands, &why);
            return;
        }
        self.expected = None;
        self.failures = 0;
        if let Some(spool) = fresh {
            db.identity.spool = spool;
            let identity = db.identity;
            self.shared.identity.send_replace(identity);
            warn!(%spool, "the spool took a new identity: a hub knows more of it than it ever gave");
        }
        self.grown |= db.state.live() > before;
        self.more |=
            db.state.live() > quota || commands.iter().any(|c| !matches!(c, Command::Flush { .. }));
        self.tell_on_disk(first);
        for command in commands {
            answer(command, self.shared.identity.borrow().spool);
        }
    }

    /// How much the quarantine may hold.
    fn bounds(&self) -> Bounds {
        let options = &self.shared.options;
        let age = u64::try_from(options.quarantine_age.as_millis()).unwrap_or(u64::MAX);
        Bounds { bytes: options.quarantine_quota, age }
    }

    /// The reports from number `first` on are on disk: says so to all who wait.
    fn tell_on_disk(&mut self, first: u64) {
        let reports = std::mem::take(&mut self.reports);
        if reports.is_empty() {
            return;
        }
        self.shared.queue.release(&reports);
        let last = first + reports.len() as u64 - 1;
        let followed = self.shared.follow.receiver_count() > 0;
        let mut tickets = Vec::with_capacity(reports.len());
        for (seq, Pending { report, done }) in (first..).map(Seq).zip(reports) {
            tickets.push((seq, done));
            if followed {
                let records = report.counts.accepted;
                let stored = Stored { seq, body: report.body, records };
                drop(self.shared.follow.send(Arc::new(stored)));
            }
        }
        // After the followers: whoever learns that a report is on disk may stop them at once.
        self.shared.durable.send_replace(Seq(last));
        for (seq, done) in tickets {
            // Nobody has to hold on to a ticket.
            done.send(seq).ok();
        }
    }

    /// Closes the database after an error, and does what can be done if the file is bad.
    fn fail(&mut self, source: &rusqlite::Error) -> String {
        let why = source.to_string();
        self.close(why.clone());
        if super::error::is_damage(source) {
            self.give_way();
        }
        why
    }

    fn close(&mut self, why: String) {
        // A connection that failed is not trusted to say how its closing went.
        self.db = None;
        // No jitter: there is one writer, which has nobody to avoid.
        let delay = FIRST_DELAY.saturating_mul(1 << self.failures.min(16)).min(LONGEST_DELAY);
        self.failures = self.failures.saturating_add(1);
        self.blocked = Some(Instant::now() + delay);
        if *self.shared.health.borrow() == Health::Open {
            error!(%why, "the spool is closed after an error; reports wait in memory");
        }
        // A further attempt that fails in the same way is no news.
        let closed = Health::Closed { why };
        self.shared.health.send_if_modified(|health| {
            let news = *health != closed;
            *health = closed;
            news
        });
    }

    /// After damage that was found in use. Opening mends wrong counters; a file in which it finds nothing,
    /// as it looks at less, is moved aside.
    fn give_way(&mut self) {
        let machine = self.shared.options.machine_id.clone();
        let mut found = match Db::open(&self.shared.path, machine.as_deref()) {
            Ok((_, opened)) => opened.notices,
            // The disk is full, say: later it can be opened, and mended.
            Err(error) => return self.close(error.chain()),
        };
        if found.is_empty() {
            let mut opened = Opened::default();
            let why = "a report in it cannot be read".to_owned();
            if let Err(error) = Db::start_over(&self.shared.path, why, &mut opened) {
                self.close(error.chain());
                return;
            }
            found = opened.notices;
        }
        if found.iter().any(|notice| matches!(notice, Notice::MovedAside { .. })) {
            // Whatever the damaged file had of the queued reports is moved aside with it.
            self.expected = None;
        }
        for notice in &found {
            error!("{notice}");
        }
        self.blocked = None;
        if self.reopen() {
            self.more = true;
        }
    }

    /// Opens again after a failure. Says whether it worked.
    fn reopen(&mut self) -> bool {
        let options = &self.shared.options;
        let opened = Db::open(&self.shared.path, options.machine_id.as_deref());
        let (db, opened) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                self.close(error.chain());
                return false;
            }
        };
        for notice in &opened.notices {
            error!("{notice}");
        }
        // What a failed flush left in the log may be in memory only, although it reads well.
        // Copying it into the database and flushing that settles it.
        if let Err(error) = db.checkpoint() {
            self.close(error.to_string());
            return false;
        }
        let expected = self.expected.take();
        let last = db.state.last_seq;
        self.shared.identity.send_replace(db.identity);
        self.db = Some(db);
        self.shared.openings.fetch_add(1, Ordering::Release);
        self.blocked = None;
        self.shared.health.send_replace(Health::Open);
        info!("the spool is open again");
        if expected == Some(last) && !self.reports.is_empty() {
            // The commit that seemed to fail did happen.
            self.tell_on_disk(last + 1 - self.reports.len() as u64);
        } else {
            self.shared.durable.send_replace(Seq(last));
        }
        true
    }

    /// Deletes what is delivered, evicts what is too much or too old, and gives back space: a
    /// little at a time, so that reports that come meanwhile do not wait.
    fn maintain(&mut self) -> rusqlite::Result<()> {
        let Some(db) = &mut self.db else { return Ok(()) };
        let quota = self.shared.options.quota;
        let now = Instant::now();
        if let Some(age) = self.shared.options.max_age
            && now >= self.ages_at
        {
            self.ages_at = now + AGES.min(age);
            let before = db.clock().saturating_sub(age.as_millis() as u64);
            while db.commit(|tx, state| store::evict_older(tx, state, before))? > 0 {
                if self.shared.queue.is_waiting() {
                    self.ages_at = now;
                    break;
                }
            }
        }
        if now >= self.quarantine_at {
            self.quarantine_at = now + QUARANTINE_AGES.min(self.shared.options.quarantine_age);
            let bounds = self.bounds();
            let Some(db) = &mut self.db else { return Ok(()) };
            if quarantine::is_over(&db.connection, &db.state, db.clock(), bounds)? {
                db.commit(|tx, state| quarantine::trim(tx, state, bounds))?;
            }
        }
        if self.grown && now >= self.guard_at {
            self.guard_at = now + GUARD;
            self.grown = self.guard()?;
        }
        if !self.more {
            return Ok(());
        }
        let Some(db) = &mut self.db else { return Ok(()) };
        while !self.shared.queue.is_waiting() {
            let freed = db.commit(|tx, state| {
                let more = store::free(tx, state)?;
                let over = state.live().saturating_sub(quota);
                Ok(more || (over > 0 && store::evict_bytes(tx, state, over, Evicted::Quota)? > 0))
            })?;
            if freed {
                continue;
            }
            if db.free_pages()? > SPARE_PAGES {
                db.vacuum(VACUUM_PAGES)?;
                continue;
            }
            self.more = false;
            break;
        }
        Ok(())
    }

    /// Keeps space free on the file system. Says whether to look again.
    fn guard(&mut self) -> rusqlite::Result<bool> {
        let min_free = self.shared.options.min_free;
        let Some(db) = &mut self.db else { return Ok(false) };
        let Some(free) = free_bytes(&self.shared.options.data_dir).filter(|f| *f < min_free) else {
            if self.shared.short_changes_to(false) {
                info!("the file system has space again");
            }
            return Ok(false);
        };
        // First what costs nothing: empty pages and the log.
        if db.free_pages()? > 0 {
            while db.free_pages()? > 0 {
                db.vacuum(VACUUM_PAGES)?;
            }
            db.checkpoint()?;
        }
        if free_bytes(&self.shared.options.data_dir).is_none_or(|free| free >= min_free) {
            return Ok(true);
        }
        let least = LEAST.min(self.shared.options.quota);
        if self.shared.short_changes_to(true) {
            warn!(free, min_free, least, "the file system is short of space: the spool shrinks");
        }
        let over = db.state.live().saturating_sub(least);
        if over > 0 {
            // A tenth at a time: what is missing may come back by itself.
            let give = over.min((db.state.live() / 10).max(1 << 20));
            let mut freed = 0;
            while freed < give {
                let left = give - freed;
                let step =
                    db.commit(|tx, state| store::evict_bytes(tx, state, left, Evicted::DiskFull))?;
                if step == 0 {
                    break;
                }
                freed += step;
            }
            while db.free_pages()? > 0 {
                db.vacuum(VACUUM_PAGES)?;
            }
            db.checkpoint()?;
        }
        Ok(over > 0)
    }
}

/// Bytes that an ordinary user may still write on the file system of `path`; `None` where it
/// cannot be asked.
fn free_bytes(path: &Path) -> Option<u64> {
    rustix::fs::statvfs(path).ok().map(|stat| stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Does what a command asks; a new identity is returned.
fn carry_out(
    tx: &Connection,
    state: &mut State,
    command: &mut Command,
) -> rusqlite::Result<Option<SpoolId>> {
    match command {
        Command::SetOutputs { outputs, .. } => store::set_outputs(tx, state, outputs)?,
        Command::Settle { receipt, .. } => store::settle(tx, state, receipt)?,
        Command::Damaged { reports, through } => {
            store::note_damaged(tx, state, reports, through.as_deref())?;
        }
        Command::Discard { pick, dropped, .. } => *dropped = quarantine::discard(tx, state, pick)?,
        Command::Reconsider { found, .. } => quarantine::reconsider(tx, state, found)?,
        Command::NewIdentity { seen, .. } => {
            let now = schema::meta(tx, "spool_id")?;
            if now.is_some_and(|now| now == seen.to_string()) {
                let fresh = SpoolId::new();
                schema::set_meta(tx, "spool_id", &fresh.to_string())?;
                return Ok(Some(fresh));
            }
        }
        Command::Flush { .. } | Command::Broken { .. } => {}
    }
    Ok(None)
}

/// Tells whoever waits that it is on disk. They may have gone.
fn answer(command: Command, spool: SpoolId) {
    match command {
        Command::SetOutputs { done, .. }
        | Command::Settle { done, .. }
        | Command::Reconsider { done, .. }
        | Command::Flush { done } => drop(done.send(Ok(()))),
        Command::Discard { dropped, done, .. } => drop(done.send(Ok(dropped))),
        Command::NewIdentity { done, .. } => drop(done.send(Ok(spool))),
        Command::Damaged { .. } | Command::Broken { .. } => {}
    }
}

/// Tells whoever waits that nothing happened.
fn refuse(commands: Vec<Command>, why: &str) {
    let closed = || SpoolError::Closed { why: why.to_owned() };
    for command in commands {
        match command {
            Command::SetOutputs { done, .. }
            | Command::Settle { done, .. }
            | Command::Reconsider { done, .. }
            | Command::Flush { done } => drop(done.send(Err(closed()))),
            Command::Discard { done, .. } => drop(done.send(Err(closed()))),
            Command::NewIdentity { done, .. } => drop(done.send(Err(closed()))),
            Command::Damaged { .. } | Command::Broken { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests;
