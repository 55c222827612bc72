//! Waits until a file changes. Editors write in many ways (anew, by another name, in pieces), so the
//! files are looked at again and again.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use crate::config::PluginConfig;

use super::find::Found;
use super::trials::Interrupt;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_millis(150);

/// Files, and what tells one state of them from another.
pub(super) struct Files(Vec<(PathBuf, Option<State>)>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    changed: (i64, i64),
    inode: u64,
    size: u64,
}

impl Files {
    /// All that a test of the plugin depends on.
    pub(super) fn of(found: &Found) -> Self {
        let mut paths = found.files.clone();
        let PluginConfig { command, schema, .. } = &found.plugin;
        paths.push(command.program.clone());
        paths.extend(command.args.iter().map(|arg| command.dir.join(arg)));
        paths.extend(schema.as_ref().map(|schema| schema.path.clone()));
        Self::new(paths)
    }

    pub(super) fn new(paths: Vec<PathBuf>) -> Self {
        let files = paths.into_iter().map(|path| {
            let state = look(&path);
            (path, state)
        });
        Self(files.collect())
    }

    /// The first file that changes, once it has come to rest; `None` where a signal came first.
    pub(super) fn wait(&mut self, interrupt: &Interrupt) -> Option<PathBuf> {
        loop {
            if interrupt.came() {
                return None;
            }
            thread::sleep(LOOK);
            if let Some(changed) = self.look() {
                while self.look().is_some() {
                    thread::sleep(LOOK);
                }
                return Some(changed);
            }
        }
    }

    /// The first one that is not as it was when it was looked at last.
    fn look(&mut self) -> Option<PathBuf> {
        let mut changed = None;
        for (path, state) in &mut self.0 {
            let now = look(path);
            if now != *state {
                *state = now;
                changed.get_or_insert_with(|| path.clone());
            }
        }
        changed
    }
}

fn look(path: &std::path::Path) -> Option<State> {
    let found = path.metadata().ok()?;
    Some(State {
        changed: (found.ctime(), found.ctime_nsec()),
        inode: found.ino(),
        size: found.len(),
    })
}
