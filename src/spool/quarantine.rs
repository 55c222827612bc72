//! The quarantine: what was refused, with enough of it to look at and to judge again. Bounded in
//! bytes and in age; the oldest go first, of those plugins that have the most.

use std::collections::HashMap;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, named_params, params};
use serde::{Deserialize, Serialize};

use crate::model::{ExcerptForm, Extent, QuarantineItem, Refused, Rejection, Timestamp};

use super::ledger::{count, figure};
use super::state::{Source, State, int};

/// What a quarantined thing weighs beyond its texts.
const OVERHEAD: u64 = 64;

/// A refused report is kept whole up to this size, beyond it only its beginning.
const WHOLE: usize = 1 << 20;
const BEGINNING: usize = 64 << 10;

/// How much is kept, and how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) bytes: u64,
    /// Milliseconds of the spool's own clock.
    pub(super) age: u64,
}

/// Something in quarantine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Quarantined {
    /// Its number in the quarantine.
    pub id: i64,
    /// When it came in, in milliseconds since 1970 by the wall clock.
    pub at: i64,
    /// `rejected` (by the contract) or `refused` (by an output).
    pub kind: String,
    /// The output that refused it.
    pub output: Option<String>,
    /// The report.
    pub seq: Option<i64>,
    /// The plugin.
    pub plugin: Option<String>,
    /// The run.
    pub run: Option<String>,
    /// When that run started, in milliseconds since 1970 by the wall clock.
    pub started: Option<i64>,
    /// Why, as a word.
    pub code: String,
    /// Why, as a sentence.
    pub message: String,
    /// The format in which it was read.
    pub format: Option<String>,
    /// What the excerpt is.
    pub form: Option<ExcerptForm>,
    /// Whether the excerpt, or the refused report, is all of it.
    pub whole: bool,
    /// The rejection as JSON, or the refused report.
    #[serde(skip)]
    pub body: Vec<u8>,
    /// What the plugin printed; empty for a refused report.
    #[serde(skip)]
    pub excerpt: Vec<u8>,
}

impl Quarantined {
    /// Whether it can be judged, or sent, again; if not, why.
    pub fn replayable(&self) -> Result<(), &'static str> {
        match (self.kind.as_str(), self.form) {
            ("rejected", None) => Err("it was kept by an older version, without its own bytes"),
            ("rejected", Some(ExcerptForm::Duplicate)) => {
                Err("another with the same name came before it in its run")
            }
            _ if !self.whole => Err("only its beginning is there"),
            _ => Ok(()),
        }
    }
}

/// Which of the quarantined things. Those that fit all that is given; everything if nothing is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pick {
    /// These numbers.
    pub ids: Option<Vec<i64>>,
    /// Of this plugin.
    pub plugin: Option<String>,
    /// With this code.
    pub code: Option<String>,
    /// That came in at this time or later, in milliseconds since 1970.
    pub since: Option<i64>,
}

const PICKED: &str = "(:ids IS NULL OR id IN (SELECT value FROM json_each(:ids)))
    AND (:plugin IS NULL OR plugin = :plugin) AND (:code IS NULL OR code = :code)
    AND (:since IS NULL OR at >= :since)";

impl Pick {
    /// As SQLite reads a list.
    fn ids(&self) -> Option<String> {
        self.ids.as_ref().map(|ids| serde_json::to_string(ids).unwrap_or_default())
    }
}

/// What a report does to the quarantine, in the same transaction as its append.
#[derive(Debug, Clone, Default)]
pub struct QuarantineChange {
    /// Refused records that come in.
    pub come: Vec<QuarantineItem>,
    /// The format in which the plugin's output was read.
    pub format: &'static str,
    /// Numbers of what leaves it, because the report has it now.
    pub leave: Vec<i64>,
}

/// At most `limit` picked things after number `after`, oldest first. A file of an older version has
/// no excerpts.
pub(super) fn list(
    db: &Connection,
    version: u32,
    pick: &Pick,
    after: i64,
    limit: usize,
) -> rusqlite::Result<Vec<Quarantined>> {
    let later = if version >= 2 { "started, format, form, raw" } else { "NULL, NULL, NULL, NULL" };
    let mut statement = db.prepare(&format!(
        "SELECT id, at, kind, output, seq, plugin, run, code, message, whole, body, {later}
         FROM quarantine WHERE id > :after AND {PICKED} ORDER BY id LIMIT :limit"
    ))?;
    let rows = statement.query_map(
        named_params! {
            ":after": after, ":limit": int(limit as u64), ":ids": pick.ids(),
            ":plugin": pick.plugin, ":code": pick.code, ":since": pick.since,
        },
        read,
    )?;
    rows.collect()
}

fn read(row: &Row<'_>) -> rusqlite::Result<Quarantined> {
    let form: Option<String> = row.get(13)?;
    Ok(Quarantined {
        id: row.get(0)?,
        at: row.get(1)?,
        kind: row.get(2)?,
        output: row.get(3)?,
        seq: row.get(4)?,
        plugin: row.get(5)?,
        run: row.get(6)?,
        code: row.get(7)?,
        message: row.get(8)?,
        whole: row.get(9)?,
        body: row.get(10)?,
        started: row.get(11)?,
        format: row.get(12)?,
        form: form.and_then(|form| form.parse().ok()),
        excerpt: row.get::<_, Option<Vec<u8>>>(14)?.unwrap_or_default(),
    })
}

/// How many things there are.
pub(super) fn items(db: &Connection) -> rusqlite::Result<u64> {
    db.query_row("SELECT count(*) FROM quarantine", [], |row| count(row, 0))
}

/// Keeps a report that `output` refused. Returns its records.
pub(super) fn put_report(
    db: &Connection,
    state: &mut State,
    output: &str,
    refused: &Refused,
) -> rusqlite::Result<u64> {
    let found: Option<(u64, Vec<u8>)> = db
        .query_row(
            "SELECT r.records, r.body FROM reports r
             WHERE r.seq = ?1 AND NOT EXISTS (SELECT 1 FROM damaged d WHERE d.seq = r.seq)",
            [int(refused.seq.0)],
            |row| Ok((figure(row, 0)?, row.get(1)?)),
        )
        .optional()?;
    let Some((records, body)) = found else { return Ok(0) };
    let source = Source::of(&body);
    let whole = body.len() <= WHOLE;
    let kept = if whole { &body[..] } else { &body[..BEGINNING] };
    db.execute(
        "INSERT INTO quarantine (clock, at, kind, output, seq, plugin, run, started, code, message,
         whole, body) VALUES (?1, ?2, 'refused', ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        params![
            int(state.clock),
            now(),
            output,
            int(refused.seq.0),
            source.plugin,
            source.run,
            source.started.map(Timestamp::millis),
            refused.code,
            refused.message,
            whole,
            kept
        ],
    )?;
    state.quarantine_bytes += kept.len() as u64 + OVERHEAD;
    Ok(records)
}

/// Carries out what a report does to the quarantine. Its number is `state.last_seq`.
pub(super) fn change(
    db: &Connection,
    state: &mut State,
    plugin: &str,
    body: &[u8],
    change: &QuarantineChange,
) -> rusqlite::Result<()> {
    leave(db, state, &change.leave)?;
    if change.come.is_empty() {
        return Ok(());
    }
    let source = Source::of(body);
    let mut insert = db.prepare_cached(
        "INSERT INTO quarantine (clock, at, kind, seq, plugin, run, started, code, message, whole,
         body, format, form, raw)
         VALUES (?1, ?2, 'rejected', ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
    )?;
    for QuarantineItem { rejection, excerpt } in &change.come {
        let body = serde_json::to_vec(rejection).unwrap_or_default();
        insert.execute(params![
            int(state.clock),
            now(),
            int(state.last_seq),
            plugin,
            source.run,
            source.started.map(Timestamp::millis),
            rejection.code.as_str(),
            rejection.message,
            excerpt.extent == Extent::Whole,
            body,
            change.format,
            excerpt.form.as_str(),
            &*excerpt.bytes,
        ])?;
        state.quarantine_bytes += (body.len() + excerpt.bytes.len()) as u64 + OVERHEAD;
    }
    Ok(())
}

/// Bytes of what `condition` picks, as they were counted.
fn weight(
    db: &Connection,
    condition: &str,
    params: &[(&str, &dyn rusqlite::ToSql)],
) -> rusqlite::Result<u64> {
    let sql = format!(
        "SELECT ifnull(sum(length(body) + ifnull(length(raw), 0) + {OVERHEAD}), 0)
         FROM quarantine WHERE {condition}"
    );
    db.query_row(&sql, params, |row| count(row, 0))
}

/// Bytes of all that is in quarantine.
pub(super) fn bytes(db: &Connection) -> rusqlite::Result<u64> {
    weight(db, "true", &[])
}

fn leave(db: &Connection, state: &mut State, ids: &[i64]) -> rusqlite::Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    // What the bounds have dropped meanwhile is gone either way.
    let ids = Value::Text(serde_json::to_string(ids).unwrap_or_default());
    let which = "id IN (SELECT value FROM json_each(:ids))";
    let bytes = weight(db, which, named_params! { ":ids": ids })?;
    db.execute(&format!("DELETE FROM quarantine WHERE {which}"), named_params! { ":ids": ids })?;
    state.quarantine_bytes = state.quarantine_bytes.saturating_sub(bytes);
    Ok(())
}

/// Drops what is picked. Returns how much that was.
pub(super) fn discard(db: &Connection, state: &mut State, pick: &Pick) -> rusqlite::Result<u64> {
    let ids = pick.ids();
    let params = named_params! {
        ":ids": ids, ":plugin": pick.plugin, ":code": pick.code, ":since": pick.since,
    };
    let bytes = weight(db, PICKED, params)?;
    let dropped = db.execute(&format!("DELETE FROM quarantine WHERE {PICKED}"), params)?;
    state.quarantine_bytes = state.quarantine_bytes.saturating_sub(bytes);
    Ok(dropped as u64)
}

/// Gives what stays in quarantine its new reason.
pub(super) fn reconsider(
    db: &Connection,
    state: &mut State,
    found: &[(i64, Rejection)],
) -> rusqlite::Result<()> {
    let mut length = db.prepare("SELECT length(body) FROM quarantine WHERE id = ?1")?;
    let mut update =
        db.prepare("UPDATE quarantine SET code = ?2, message = ?3, body = ?4 WHERE id = ?1")?;
    for (id, rejection) in found {
        let before = length.query_row([id], |row| count(row, 0)).optional()?;
        let Some(before) = before else { continue };
        let body = serde_json::to_vec(rejection).unwrap_or_default();
        update.execute(params![id, rejection.code.as_str(), rejection.message, body])?;
        state.quarantine_bytes =
            (state.quarantine_bytes + body.len() as u64).saturating_sub(before);
    }
    Ok(())
}

/// The oldest: its number, its clock and its weight.
fn oldest(db: &Connection) -> rusqlite::Result<Option<(i64, u64, u64)>> {
    db.query_row(
        "SELECT id, clock, length(body) + ifnull(length(raw), 0) FROM quarantine
         ORDER BY id LIMIT 1",
        [],
        |row| Ok((row.get(0)?, figure(row, 1)?, count(row, 2)? + OVERHEAD)),
    )
    .optional()
}

/// Whether there is something to [`trim`] at `clock`.
pub(super) fn is_over(
    db: &Connection,
    state: &State,
    clock: u64,
    bounds: Bounds,
) -> rusqlite::Result<bool> {
    if state.quarantine_bytes == 0 {
        return Ok(false);
    }
    let fits = state.quarantine_bytes <= bounds.bytes;
    Ok(!fits || oldest(db)?.is_some_and(|(_, then, _)| then.saturating_add(bounds.age) < clock))
}

/// Drops what is too old, and, while there is too much, the oldest of those that have the most: a
/// plugin of which everything is refused pushes out its own, not what others have there.
pub(super) fn trim(db: &Connection, state: &mut State, bounds: Bounds) -> rusqlite::Result<()> {
    while state.quarantine_bytes > 0 {
        let Some((id, clock, bytes)) = oldest(db)? else {
            state.quarantine_bytes = 0;
            return Ok(());
        };
        if clock.saturating_add(bounds.age) >= state.clock {
            break;
        }
        db.execute("DELETE FROM quarantine WHERE id = ?1", [id])?;
        state.quarantine_bytes = state.quarantine_bytes.saturating_sub(bytes);
    }
    if state.quarantine_bytes <= bounds.bytes {
        return Ok(());
    }
    // Each look at all of it makes room for a while.
    let mut weights = weights(db)?;
    let mut excess = excess(&weights, bounds.bytes - bounds.bytes / 8);
    weights.retain(|(_, plugin, weight)| {
        let Some(excess) = excess.get_mut(plugin).filter(|excess| **excess > 0) else {
            return true;
        };
        *excess = excess.saturating_sub(*weight);
        false
    });
    let kept = serde_json::to_string(&weights.iter().map(|(id, ..)| id).collect::<Vec<_>>());
    db.execute(
        "DELETE FROM quarantine WHERE id NOT IN (SELECT value FROM json_each(?1))",
        [kept.unwrap_or_default()],
    )?;
    state.quarantine_bytes = weights.iter().map(|(.., weight)| weight).sum();
    Ok(())
}

/// Number, plugin and weight of everything, oldest first.
fn weights(db: &Connection) -> rusqlite::Result<Vec<(i64, Option<String>, u64)>> {
    db.prepare(
        "SELECT id, plugin, length(body) + ifnull(length(raw), 0) FROM quarantine ORDER BY id",
    )?
    .query_map((), |row| Ok((row.get(0)?, row.get(1)?, count(row, 2)? + OVERHEAD)))?
    .collect()
}

/// What each plugin has beyond a share that is the same for all, where those that have less leave
/// the rest to the others, so that all of them together have `room`.
fn excess(weights: &[(i64, Option<String>, u64)], room: u64) -> HashMap<Option<String>, u64> {
    let mut sums: HashMap<Option<String>, u64> = HashMap::new();
    for (_, plugin, weight) in weights {
        *sums.entry(plugin.clone()).or_default() += weight;
    }
    let mut ascending: Vec<u64> = sums.values().copied().collect();
    ascending.sort_unstable();
    let (mut room, mut plugins) = (room, ascending.len() as u64);
    let mut share = u64::MAX;
    for sum in ascending {
        share = room / plugins;
        if sum > share {
            break;
        }
        share = u64::MAX;
        room -= sum;
        plugins -= 1;
    }
    for sum in sums.values_mut() {
        *sum = sum.saturating_sub(share);
    }
    sums
}

/// The wall clock, to be shown, never to be reasoned with.
fn now() -> i64 {
    Timestamp::from(std::time::SystemTime::now()).millis()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Excerpt, RejectionCode};
    use crate::spool::schema;

    const BOUNDS: Bounds = Bounds { bytes: 4096, age: 1000 };

    fn item(bytes: usize) -> QuarantineItem {
        let rejection = Rejection {
            code: RejectionCode::Undeclared,
            path: "/a".to_owned(),
            line: 1,
            column: 1,
            value: "1".to_owned(),
            rule: None,
            message: "not declared".to_owned(),
            hint: String::new(),
        };
        let excerpt = Excerpt {
            form: ExcerptForm::Record,
            bytes: vec![b'x'; bytes].into(),
            extent: Extent::Whole,
        };
        QuarantineItem { rejection, excerpt }
    }

    fn put(db: &Connection, state: &mut State, bytes: usize) {
        put_of("p", db, state, bytes);
    }

    fn put_of(plugin: &str, db: &Connection, state: &mut State, bytes: usize) {
        let come = vec![item(bytes)];
        let body = br#"{"run":"r","started":"2026-11-22T20:42:10Z"}"#;
        let with = QuarantineChange { come, format: "json", leave: Vec::new() };
        change(db, state, plugin, body, &with).unwrap();
    }

    fn all(db: &Connection) -> Vec<Quarantined> {
        list(db, schema::VERSION, &Pick::default(), 0, 1000).unwrap()
    }

    /// What is counted is what is there.
    fn counted(db: &Connection, state: &State) {
        assert_eq!(weight(db, "true", &[]).unwrap(), state.quarantine_bytes);
    }

    #[test]
    fn it_never_holds_more_bytes_than_its_bound_and_the_oldest_go_first() {
        let (db, mut state) = (schema::in_memory(), State::default());
        for n in 0..50 {
            state.last_seq = n;
            put(&db, &mut state, 100 + n as usize);
            trim(&db, &mut state, BOUNDS).unwrap();
            assert!(state.quarantine_bytes <= BOUNDS.bytes);
            counted(&db, &state);
        }
        let seqs: Vec<i64> = all(&db).iter().filter_map(|q| q.seq).collect();
        assert_eq!(seqs.last(), Some(&49));
        assert!((2..50).contains(&seqs.len()), "{}", seqs.len());
        assert!(seqs.windows(2).all(|two| two[1] == two[0] + 1), "{seqs:?}");
        put(&db, &mut state, 10_000);
        trim(&db, &mut state, BOUNDS).unwrap();
        assert!(all(&db).is_empty(), "what is larger than the bound is not kept");
        assert_eq!(state.quarantine_bytes, 0);
    }

    #[test]
    fn a_flood_of_one_plugin_pushes_out_nothing_of_the_others() {
        let (db, mut state) = (schema::in_memory(), State::default());
        for n in 0..3 {
            put_of(&format!("quiet{n}"), &db, &mut state, 100);
        }
        for _ in 0..200 {
            put_of("loud", &db, &mut state, 50);
            trim(&db, &mut state, BOUNDS).unwrap();
            assert!(state.quarantine_bytes <= BOUNDS.bytes);
            counted(&db, &state);
        }
        let left = all(&db);
        let of = |name: &str| {
            left.iter().filter(|q| q.plugin.as_deref().is_some_and(|p| p.starts_with(name))).count()
        };
        assert_eq!(of("quiet"), 3);
        assert!(of("loud") >= 5, "{}", of("loud"));
    }

    #[test]
    fn what_is_older_than_the_bound_goes_by_the_spools_own_clock() {
        let (db, mut state) = (schema::in_memory(), State::default());
        for clock in [0, 500, 1000] {
            state.clock = clock;
            put(&db, &mut state, 10);
        }
        assert!(!is_over(&db, &state, 1000, BOUNDS).unwrap());
        trim(&db, &mut state, BOUNDS).unwrap();
        assert_eq!(all(&db).len(), 3, "as old as the bound is not too old");
        state.clock = 1501;
        assert!(is_over(&db, &state, 1501, BOUNDS).unwrap());
        trim(&db, &mut state, BOUNDS).unwrap();
        assert_eq!(all(&db).len(), 1);
        counted(&db, &state);
        state.clock = u64::MAX / 2;
        trim(&db, &mut state, BOUNDS).unwrap();
        assert!(all(&db).is_empty());
    }

    #[test]
    fn leaving_dropping_and_reconsidering_keep_the_count() {
        let (db, mut state) = (schema::in_memory(), State::default());
        for _ in 0..6 {
            put(&db, &mut state, 30);
        }
        let ids: Vec<i64> = all(&db).iter().map(|q| q.id).collect();
        leave(&db, &mut state, &[ids[0], 999]).unwrap();
        counted(&db, &state);
        let mut other = item(0).rejection;
        other.code = RejectionCode::ValueType;
        other.message = "a much longer reason than the one before it was".to_owned();
        reconsider(&db, &mut state, &[(ids[1], other), (999, item(0).rejection)]).unwrap();
        counted(&db, &state);
        let picked = |pick: &Pick| -> Vec<i64> {
            let found = list(&db, schema::VERSION, pick, 0, 100).unwrap();
            found.iter().map(|q| q.id).collect()
        };
        let typed = Pick { code: Some("value-type".to_owned()), ..Pick::default() };
        assert_eq!(picked(&typed), [ids[1]]);
        assert!(picked(&Pick { plugin: Some("q".to_owned()), ..Pick::default() }).is_empty());
        assert!(picked(&Pick { since: Some(i64::MAX), ..Pick::default() }).is_empty());
        let two = Pick { ids: Some(vec![ids[2], ids[3]]), ..Pick::default() };
        assert_eq!(discard(&db, &mut state, &two).unwrap(), 2);
        assert_eq!(discard(&db, &mut state, &two).unwrap(), 0);
        counted(&db, &state);
        assert_eq!(discard(&db, &mut state, &Pick::default()).unwrap(), 3);
        assert_eq!(state.quarantine_bytes, 0);
    }
}
