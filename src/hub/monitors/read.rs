//! Reading results back: rows by check time, and, underneath, all points of a monitor in order of
//! time, a stretch at a time, so that memory stays flat however much is stored.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;

use rusqlite::Connection;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use crate::hub::store::visit_while;
use crate::model::{RUN_FACTS, Tags, Value};

use super::field::{Role, fields};
use super::list::time;
use super::post::ROW;

/// The first stretch of time that is looked at, and points in one after which the next is shorter.
const STRETCH_MS: i64 = 6 * 3600 * 1000;
const POINTS: usize = 100_000;
/// Bytes of points after which a stretch is given up for a shorter one.
const HELD: usize = 16 << 20;

/// Bytes of names, values and tags after which a page ends, whatever number of rows it may have.
pub(super) const BYTES: usize = 32 << 20;

/// All values of one check time that have the same tags.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Row {
    /// Milliseconds since 1970.
    #[serde(rename = "time", serialize_with = "time")]
    pub(crate) ms: i64,
    /// Of an agent's plugin what it printed; `row` for further values at one check time.
    #[serde(skip_serializing_if = "Tags::is_empty")]
    pub(crate) tags: Tags,
    /// In the order in which the metrics are declared, then in that of their names.
    #[serde(serialize_with = "as_map")]
    pub(crate) values: Vec<(String, Value)>,
}

impl Row {
    /// About how long it is, written.
    fn bytes(&self) -> usize {
        let value = |value: &Value| match value {
            Value::Text(text) => text.len(),
            _ => 8,
        };
        let values: usize = self.values.iter().map(|(name, v)| name.len() + value(v)).sum();
        let tags: usize = self.tags.iter().map(|(key, value)| key.len() + value.len()).sum();
        values + tags
    }
}

/// Rows that are collected until there are enough of them.
#[derive(Default)]
pub(super) struct Collected {
    pub(super) page: Page,
    bytes: usize,
}

impl Collected {
    pub(super) fn add(&mut self, rows: Vec<Row>) {
        self.bytes += rows.iter().map(Row::bytes).sum::<usize>();
        self.page.rows.extend(rows);
    }

    /// Whether the page ends here, of `limit` rows and `bytes` bytes.
    pub(super) fn is_full(&self, limit: usize, bytes: usize) -> bool {
        self.page.rows.len() >= limit || self.bytes >= bytes
    }
}

/// Some rows, and where to go on.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Page {
    pub(crate) rows: Vec<Row>,
    /// The check time from which the rest comes.
    pub(crate) next: Option<i64>,
    /// All metrics that the monitor has, in the order in which rows have them, and all its tags.
    pub(crate) names: Vec<String>,
    pub(crate) tags: Vec<Tags>,
}

impl Page {
    pub(super) fn of(self, columns: Columns) -> Self {
        Self { names: columns.names, tags: columns.tags, ..self }
    }
}

fn as_map<S: Serializer>(values: &[(String, Value)], s: S) -> Result<S::Ok, S::Error> {
    let mut map = s.serialize_map(Some(values.len()))?;
    for (name, value) in values {
        map.serialize_entry(name, value)?;
    }
    map.end()
}

/// One series of a monitor, and where its values stand in a row.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) id: i64,
    pub(super) name: String,
    pub(super) tags: Tags,
    pub(super) kind: String,
    /// Its name's place among all names, and its tags' place among all tags.
    pub(super) name_at: usize,
    pub(super) tags_at: usize,
}

/// The places of a value's tags and of its name among all that the monitor has.
pub(super) type Place = (usize, usize);

/// The values at one check time, or in one interval.
pub(super) type Cells = BTreeMap<Place, Value>;

/// The series of a monitor, what is known of its runs left out.
pub(super) struct Columns {
    pub(super) of: HashMap<i64, Column>,
    pub(super) names: Vec<String>,
    pub(super) tags: Vec<Tags>,
}

impl Columns {
    pub(super) fn of(conn: &Connection, monitor: i64) -> rusqlite::Result<Self> {
        let mut statement = conn.prepare_cached(
            "SELECT id, name, tags, kind FROM series WHERE monitor_id = ?1 ORDER BY id",
        )?;
        let mut series = statement
            .query_map([monitor], |row| {
                let tags: String = row.get(2)?;
                Ok(Column {
                    id: row.get(0)?,
                    name: row.get(1)?,
                    tags: serde_json::from_str(&tags).unwrap_or_default(),
                    kind: row.get(3)?,
                    name_at: 0,
                    tags_at: 0,
                })
            })?
            .collect::<rusqlite::Result<Vec<_>>>()?;
        series.retain(|column| !column.name.starts_with(RUN_FACTS));
        let declared = fields(conn, monitor, Role::Result)?;
        let declared: HashMap<&str, usize> =
            declared.iter().enumerate().map(|(at, field)| (field.name.as_str(), at)).collect();
        let place = |name: &str| declared.get(name).copied().unwrap_or(usize::MAX);
        let mut names: Vec<String> = series.iter().map(|column| column.name.clone()).collect();
        names.sort_by_cached_key(|name| (place(name), name.clone()));
        names.dedup();
        let mut tags: Vec<Tags> = series.iter().map(|column| column.tags.clone()).collect();
        tags.sort_by_cached_key(|tags| (row_of(tags), tags.clone()));
        tags.dedup();
        let name_at: HashMap<&String, usize> = names.iter().zip(0..).collect();
        let tags_at: HashMap<&Tags, usize> = tags.iter().zip(0..).collect();
        for column in &mut series {
            column.name_at = name_at.get(&column.name).copied().unwrap_or(0);
            column.tags_at = tags_at.get(&column.tags).copied().unwrap_or(0);
        }
        Ok(Self { of: series.into_iter().map(|column| (column.id, column)).collect(), names, tags })
    }

    /// A row of what there is at one check time, for each of the tags.
    pub(super) fn rows(&self, ms: i64, cells: Cells) -> Vec<Row> {
        let mut rows: Vec<(usize, Row)> = Vec::new();
        for ((tags_at, name_at), value) in cells {
            let (Some(tags), Some(name)) = (self.tags.get(tags_at), self.names.get(name_at)) else {
                continue;
            };
            match rows.last_mut() {
                Some((at, row)) if *at == tags_at => row.values.push((name.clone(), value)),
                _ => {
                    let values = vec![(name.clone(), value)];
                    rows.push((tags_at, Row { ms, tags: tags.clone(), values }));
                }
            }
        }
        // Gaps alone are where a later post had fewer values.
        let covered = |row: &Row| {
            row.tags.get(ROW).is_some() && row.values.iter().all(|(_, value)| *value == Value::Gap)
        };
        rows.into_iter().map(|(_, row)| row).filter(|row| !covered(row)).collect()
    }
}

/// The second value of several comes before the tenth.
fn row_of(tags: &Tags) -> u64 {
    tags.get(ROW).and_then(|nth| nth.parse().ok()).unwrap_or(0)
}

/// Results from `from` to `to` in milliseconds since 1970, both included, by check time: about the
/// first `limit` rows, so that no check time is split; fewer where those are long.
pub(crate) fn results(
    conn: &Connection,
    monitor: i64,
    range: std::ops::RangeInclusive<i64>,
    limit: usize,
) -> rusqlite::Result<Page> {
    results_within(conn, monitor, range, limit, BYTES)
}

/// The same, of about so many bytes.
pub(super) fn results_within(
    conn: &Connection,
    monitor: i64,
    range: std::ops::RangeInclusive<i64>,
    limit: usize,
    bytes: usize,
) -> rusqlite::Result<Page> {
    let columns = Columns::of(conn, monitor)?;
    let mut collected = Collected::default();
    each_moment(conn, &columns, range, |ms, cells| {
        if collected.is_full(limit, bytes) {
            collected.page.next = Some(ms);
            return ControlFlow::Break(());
        }
        collected.add(columns.rows(ms, cells));
        ControlFlow::Continue(())
    })?;
    Ok(collected.page.of(columns))
}

/// Calls `each` with every check time in `range` and the values there, by the places of their tags
/// and names, in order of time, until it says that it is enough.
pub(super) fn each_moment(
    conn: &Connection,
    columns: &Columns,
    range: std::ops::RangeInclusive<i64>,
    mut each: impl FnMut(i64, Cells) -> ControlFlow<()>,
) -> rusqlite::Result<()> {
    each_point(conn, columns, range, |points| {
        for moment in points.chunk_by_mut(|a, b| a.0 == b.0) {
            let mut cells = BTreeMap::new();
            let Some((ms, _, _)) = moment.first() else { continue };
            let ms = *ms;
            for (_, series, value) in moment {
                if let Some(column) = columns.of.get(series) {
                    let value = std::mem::replace(value, Value::Gap);
                    // What was posted later comes later, and takes the place of what was there.
                    cells.insert((column.tags_at, column.name_at), value);
                }
            }
            each(ms, cells)?;
        }
        ControlFlow::Continue(())
    })
}

/// A time, a series and its value there.
type Point = (i64, i64, Value);

/// Calls `each` with the points of one stretch of time after another, in order of time; of one
/// series at one time in the order in which they came, or the last of them alone. No more are held
/// than [`HELD`] bytes and one point of each series.
pub(super) fn each_point(
    conn: &Connection,
    columns: &Columns,
    range: std::ops::RangeInclusive<i64>,
    mut each: impl FnMut(&mut [Point]) -> ControlFlow<()>,
) -> rusqlite::Result<()> {
    let ids: Vec<i64> = columns.of.keys().copied().collect();
    let Some((first, last)) = extent(conn, &ids, &range)? else { return Ok(()) };
    let (mut from, mut stretch) = (first, STRETCH_MS);
    let mut points: Vec<Point> = Vec::new();
    while from <= last {
        let to = from.saturating_add(stretch - 1).min(last);
        points.clear();
        let mut held = 0;
        let mut latest = HashMap::new();
        let visited = visit_while(conn, &ids, from..=to, |series, ms, value| {
            let value = value.to_value();
            if from == to {
                // As short as can be: of each series the value that counts.
                latest.insert(series, value);
                return ControlFlow::Continue(());
            }
            held += bytes(&value);
            points.push((ms, series, value));
            if held > HELD { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        points.extend(latest.into_iter().map(|(series, value)| (from, series, value)));
        if visited.is_break() {
            stretch = ((to - from) / 8).max(1);
            continue;
        }
        // Stable: what came later stays later.
        points.sort_by_key(|(ms, _, _)| *ms);
        if each(&mut points).is_break() || to == i64::MAX {
            return Ok(());
        }
        from = to + 1;
        stretch = match points.len() {
            0 => stretch.saturating_mul(16),
            n if n < POINTS / 4 => stretch.saturating_mul(2),
            n if n > POINTS => (stretch / 2).max(1),
            _ => stretch,
        };
    }
    Ok(())
}

/// How much memory a point takes.
pub(super) fn bytes(value: &Value) -> usize {
    let text = if let Value::Text(text) = value { text.len() } else { 0 };
    size_of::<Point>() + text
}

/// The first and the last time in `range` at which there may be points.
fn extent(
    conn: &Connection,
    series: &[i64],
    range: &std::ops::RangeInclusive<i64>,
) -> rusqlite::Result<Option<(i64, i64)>> {
    let found = crate::hub::store::extent(conn, series)?;
    Ok(found.and_then(|(first, last)| {
        let (first, last) = (first.max(*range.start()), last.min(*range.end()));
        (first <= last).then_some((first, last))
    }))
}
