//! The open database: found, mended or begun anew, and changed in transactions that save its totals.

use std::path::Path;
use std::time::Instant;

use rusqlite::{Connection, TransactionBehavior};

use crate::model::SpoolId;

use super::ledger::Ledger;
use super::mend;
use super::schema::{self, Found, Salvage};
use super::state::State;
use super::{Identity, Notice, Opened, SpoolError, error};

/// The open database and what is known of it.
pub(super) struct Db {
    pub(super) connection: Connection,
    pub(super) state: State,
    pub(super) identity: Identity,
    opened: Instant,
    pub(super) clock_then: u64,
}

impl Db {
    /// Opens the file, or makes one; a damaged one is moved aside first.
    pub(super) fn open(
        path: &Path,
        machine_id: Option<&str>,
    ) -> Result<(Self, Opened), SpoolError> {
        let mut opened = Opened::default();
        let found = schema::look(path)?;
        let connection = match found {
            Found::Nothing => {
                schema::create(path, None)?;
                schema::open(path)?
            }
            Found::Bad(why) => Self::start_over(path, why, &mut opened)?,
            Found::Spool => match schema::open(path).and_then(|db| Self::mended(db, path)) {
                Ok((connection, wrong)) => {
                    if !wrong.is_empty() {
                        opened.notices.push(Notice::Mended { wrong });
                    }
                    connection
                }
                Err(error) if schema::must_make_way(&error) => {
                    Self::start_over(path, error.chain(), &mut opened)?
                }
                Err(error) => return Err(error),
            },
        };
        let failed = |source| SpoolError::Open { path: path.to_owned(), source };
        let mut db = Self::from(connection, path)?;
        if let Some(now) = machine_id {
            let then = schema::meta(&db.connection, "machine_id").map_err(failed)?;
            let moved = then.as_deref().is_some_and(|then| then != now);
            let tx = db.connection.transaction().map_err(failed)?;
            if moved {
                db.identity.spool = SpoolId::new();
                schema::set_meta(&tx, "spool_id", &db.identity.spool.to_string())
                    .map_err(failed)?;
                let why = "it was written on another machine".to_owned();
                opened.notices.push(Notice::NewIdentity { why });
            }
            if moved || then.is_none() {
                schema::set_meta(&tx, "machine_id", now).map_err(failed)?;
            }
            tx.commit().map_err(failed)?;
        }
        Ok((db, opened))
    }

    /// The database with its figures put right, and what was wrong with them.
    fn mended(db: Connection, path: &Path) -> Result<(Connection, Vec<String>), SpoolError> {
        let mend = || {
            // A page that cannot be read is met again where it is needed: until then, what is before it
            // is delivered.
            let wrong = match mend::figures(&db) {
                Err(error) if error::is_damage(&error) => Vec::new(),
                wrong => wrong?,
            };
            Ledger::load(&db)?;
            State::load(&db)?;
            Ok(wrong)
        };
        let wrong = mend().map_err(|source| SpoolError::Open { path: path.to_owned(), source })?;
        Ok((db, wrong))
    }

    fn from(connection: Connection, path: &Path) -> Result<Self, SpoolError> {
        let failed = |source| SpoolError::Open { path: path.to_owned(), source };
        let damaged = |what: &str| SpoolError::Damaged {
            path: path.to_owned(),
            why: format!("its {what} cannot be read"),
        };
        let meta = |key: &str| schema::meta(&connection, key).map_err(failed);
        let spool = meta("spool_id")?.and_then(|id| id.parse().ok());
        let agent = meta("agent_id")?.and_then(|id| id.parse().ok());
        let identity = Identity {
            spool: spool.ok_or_else(|| damaged("spool_id"))?,
            agent: agent.ok_or_else(|| damaged("agent_id"))?,
        };
        let state = State::load(&connection).map_err(failed)?;
        let clock_then = state.clock;
        Ok(Self { connection, state, identity, opened: Instant::now(), clock_then })
    }

    pub(super) fn start_over(
        path: &Path,
        why: String,
        opened: &mut Opened,
    ) -> Result<Connection, SpoolError> {
        let to = schema::move_aside(path)?;
        let salvage = Salvage::read(&to);
        schema::create(path, salvage.as_ref())?;
        let lost = salvage.as_ref().and_then(Salvage::lost);
        opened.notices.push(Notice::MovedAside { to, why, lost });
        schema::open(path)
    }

    pub(super) fn last_seq(&self) -> u64 {
        self.state.last_seq
    }

    pub(super) fn identity(&self) -> Identity {
        self.identity
    }

    /// Milliseconds during which this spool was open, in all its lives.
    pub(super) fn clock(&self) -> u64 {
        self.clock_then + self.opened.elapsed().as_millis() as u64
    }

    /// Runs `change` in one transaction, with the totals saved at its end.
    pub(super) fn commit<T>(
        &mut self,
        change: impl FnOnce(&Connection, &mut State) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let mut state = self.state.clone();
        state.clock = self.clock();
        let tx = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let value = change(&tx, &mut state)?;
        state.save(&tx)?;
        tx.commit()?;
        self.state = state;
        Ok(value)
    }

    pub(super) fn free_pages(&self) -> rusqlite::Result<i64> {
        self.connection.pragma_query_value(None, "freelist_count", |row| row.get(0))
    }

    pub(super) fn vacuum(&self, pages: i64) -> rusqlite::Result<()> {
        let mut give = self.connection.prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
        let mut rows = give.query([])?;
        // Each step gives back one page.
        while rows.next()?.is_some() {}
        Ok(())
    }

    pub(super) fn checkpoint(&self) -> rusqlite::Result<()> {
        self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
    }
}
