//! What a new configuration changes. Pure: the supervisor acts on it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::Config;

/// What a reload changed, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// Plugins.
    pub plugins: Diff,
    /// Outputs.
    pub outputs: Diff,
    /// Settings that only a restart takes up.
    pub needs_restart: Vec<String>,
}

/// How one map became another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diff {
    /// New ones.
    pub added: Vec<String>,
    /// Those with other settings.
    pub changed: Vec<String>,
    /// Those that are gone.
    pub removed: Vec<String>,
    /// How many were left untouched.
    pub kept: usize,
}

impl Diff {
    fn of<K: Ord + ToString, V: PartialEq>(old: &BTreeMap<K, V>, new: &BTreeMap<K, V>) -> Self {
        let mut diff = Self::default();
        for (name, value) in new {
            match old.get(name) {
                None => diff.added.push(name.to_string()),
                Some(before) if before != value => diff.changed.push(name.to_string()),
                Some(_) => diff.kept += 1,
            }
        }
        diff.removed = old.keys().filter(|k| !new.contains_key(k)).map(K::to_string).collect();
        diff
    }

    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty()
    }
}

impl Changes {
    /// From what runs to what is to run.
    pub fn between(old: &Config, new: &Config) -> Self {
        let mut plugins = Diff::of(&old.plugins, &new.plugins);
        let everyone = old.agent.host != new.agent.host
            || old.agent.trusted_owners != new.agent.trusted_owners;
        if everyone {
            // These are part of how every plugin is run and reported.
            let kept = new.plugins.keys().map(ToString::to_string);
            let kept = kept.filter(|n| !plugins.added.contains(n) && !plugins.changed.contains(n));
            let kept: Vec<String> = kept.collect();
            plugins.changed.extend(kept);
            plugins.kept = 0;
        }
        let mut needs_restart = Vec::new();
        let mut fixed = |same: bool, what: &str| {
            if !same {
                needs_restart.push(what.to_owned());
            }
        };
        fixed(old.agent.data_dir == new.agent.data_dir, "[agent] data_dir");
        fixed(old.agent.spool == new.agent.spool, "[agent.spool]");
        fixed(old.agent.quarantine == new.agent.quarantine, "[agent.quarantine]");
        fixed(old.hub == new.hub, "[hub]");
        Self { plugins, outputs: Diff::of(&old.outputs, &new.outputs), needs_restart }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diff_names_what_came_what_went_and_what_is_other() {
        let old = BTreeMap::from([("a", 1), ("b", 2), ("c", 3)]);
        let new = BTreeMap::from([("a", 1), ("b", 9), ("d", 4)]);
        let diff = Diff::of(&old, &new);
        assert_eq!((diff.added, diff.changed), (vec!["d".to_owned()], vec!["b".to_owned()]));
        assert_eq!((diff.removed, diff.kept), (vec!["c".to_owned()], 1));
    }
}
