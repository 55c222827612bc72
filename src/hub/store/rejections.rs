//! Reading refused records. A script with a defect is refused for it at every run: what is alike is
//! one group.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use rusqlite::Connection;

use super::query::{Filter, Listed, Order, list};

/// Most refused records that one answer goes through, the newest ones.
const LOOKED_AT: usize = 20_000;

/// One refused record.
#[derive(Debug, Clone)]
pub(crate) struct RejectionRow {
    pub(crate) id: i64,
    pub(crate) host: String,
    pub(crate) plugin: String,
    pub(crate) started_ms: i64,
    pub(crate) code: String,
    pub(crate) path: String,
    pub(crate) line: i64,
    pub(crate) column: i64,
    pub(crate) value: String,
    pub(crate) rule: Option<String>,
    pub(crate) message: String,
    pub(crate) hint: String,
}

/// Records of one plugin on one host that were refused alike: for the same code and rule, at the
/// same place but for its numbers.
#[derive(Debug, Clone)]
pub(crate) struct RejectionGroup {
    /// The newest of them.
    pub(crate) newest: RejectionRow,
    /// Where they stood, with `*` for every index that was not the same in all.
    pub(crate) pattern: String,
    /// How many of them are kept.
    pub(crate) count: u64,
    /// When the first of those kept came.
    pub(crate) first_ms: i64,
}

/// Groups of refused records, those seen last first. The `after` of a filter is the id of a newest
/// record, and groups that were seen since are left out.
pub(crate) fn rejections(
    conn: &Connection,
    filter: &Filter,
) -> rusqlite::Result<Vec<RejectionGroup>> {
    let everything = Filter { after: None, limit: LOOKED_AT, ..filter.clone() };
    let mut groups: Vec<RejectionGroup> = Vec::new();
    let mut places: HashMap<_, usize, RandomState> = HashMap::default();
    for row in rows(conn, &everything)? {
        let key = (
            row.host.clone(),
            row.plugin.clone(),
            row.code.clone(),
            row.rule.clone(),
            without_indices(&row.path),
        );
        let at = *places.entry(key).or_insert(groups.len());
        match groups.get_mut(at) {
            Some(group) => {
                group.count += 1;
                group.first_ms = group.first_ms.min(row.started_ms);
                if group.pattern != row.path {
                    group.pattern = common(&group.pattern, &row.path);
                }
            }
            None => groups.push(RejectionGroup {
                pattern: row.path.clone(),
                count: 1,
                first_ms: row.started_ms,
                newest: row,
            }),
        }
    }
    if let Some(after) = filter.after {
        groups.retain(|group| group.newest.id < after);
    }
    groups.truncate(filter.limit);
    Ok(groups)
}

/// Newest first.
fn rows(conn: &Connection, filter: &Filter) -> rusqlite::Result<Vec<RejectionRow>> {
    let listed = Listed {
        select: "SELECT j.id, m.host, m.plugin, j.started_ms, j.code, j.path, j.line, j.col,
             j.value, j.rule, j.message, j.hint
             FROM rejections j JOIN monitors m ON m.id = j.monitor_id",
        with: &[],
        order: Order::NewestFirst("j.id"),
    };
    list(conn, filter, &listed, |row| {
        Ok(RejectionRow {
            id: row.get(0)?,
            host: row.get(1)?,
            plugin: row.get(2)?,
            started_ms: row.get(3)?,
            code: row.get(4)?,
            path: row.get(5)?,
            line: row.get(6)?,
            column: row.get(7)?,
            value: row.get(8)?,
            rule: row.get(9)?,
            message: row.get(10)?,
            hint: row.get(11)?,
        })
    })
}

fn is_index(step: &str) -> bool {
    !step.is_empty() && step.bytes().all(|byte| byte.is_ascii_digit())
}

/// A pointer with `*` for every index.
fn without_indices(path: &str) -> String {
    let steps = path.split('/').map(|step| if is_index(step) { "*" } else { step });
    steps.collect::<Vec<_>>().join("/")
}

/// Two pointers that are the same without their indices, with `*` for those that differ.
fn common(pattern: &str, path: &str) -> String {
    let steps = pattern.split('/').zip(path.split('/'));
    steps.map(|(one, other)| if one == other { one } else { "*" }).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_that_differ_are_left_open() {
        assert_eq!(without_indices("/metrics/3/tags/0x"), "/metrics/*/tags/0x");
        assert_eq!(without_indices(""), "");
        assert_eq!(common("/metrics/3/name", "/metrics/4/name"), "/metrics/*/name");
        assert_eq!(common("/metrics/*/name", "/metrics/3/name"), "/metrics/*/name");
        assert_eq!(common("/0/metrics/3", "/0/metrics/5"), "/0/metrics/*");
    }
}
