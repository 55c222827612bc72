//! Waits until a file changes. Editors write in many ways (anew, by another name, in pieces), so the
//! files are looked at again and again.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::cli::args::TestArgs;
use crate::cli::load;
use crate::config::{Env, PluginConfig, Source};

use super::find::Found;
use super::trials::Interrupt;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_millis(150);

/// Files, and what tells one state of them from another.
pub(super) struct Files {
    watched: Vec<(PathBuf, Option<State>)>,
    /// From here on they are arguments, which the program may write itself.
    arguments: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    changed: (i64, i64),
    inode: u64,
    size: u64,
}

impl Files {
    /// What a test depends on of which nothing could be loaded yet.
    pub(super) fn of_config(args: &TestArgs, env: &Env) -> Self {
        let mut paths = vec![env.cwd.join(&args.target)];
        if let Ok(Source::File(path)) = load::source(&args.config, env) {
            paths.push(path);
        }
        Self::new(paths, Vec::new())
    }

    /// All that a test of the plugin depends on.
    pub(super) fn of(found: &Found) -> Self {
        let PluginConfig { command, schema, .. } = &found.plugin;
        let mut paths = found.files.clone();
        paths.push(command.program.clone());
        paths.extend(schema.as_ref().map(|schema| schema.path.clone()));
        // A folder changes whenever something is written in it.
        let arguments = command.args.iter().map(|arg| command.dir.join(arg));
        Self::new(paths, arguments.filter(|path| path.is_file()).collect())
    }

    fn new(paths: Vec<PathBuf>, arguments: Vec<PathBuf>) -> Self {
        let count = paths.len();
        let watched = paths.into_iter().chain(arguments).map(|path| {
            let state = look(&path);
            (path, state)
        });
        Self { watched: watched.collect(), arguments: count }
    }

    /// Takes the arguments as they are now.
    pub(super) fn look_at_arguments(&mut self) {
        for (path, state) in &mut self.watched[self.arguments..] {
            *state = look(path);
        }
    }

    /// The first file that changes, once it has come to rest; `None` where a signal came first.
    pub(super) fn wait(&mut self, interrupt: &Interrupt) -> Option<PathBuf> {
        loop {
            if interrupt.came() {
                return None;
            }
            thread::sleep(LOOK);
            if let Some(changed) = self.look() {
                while self.look().is_some() && !interrupt.came() {
                    thread::sleep(LOOK);
                }
                return Some(changed);
            }
        }
    }

    /// The first one that is not as it was when it was looked at last.
    fn look(&mut self) -> Option<PathBuf> {
        let mut changed = None;
        for (path, state) in &mut self.watched {
            let now = look(path);
            if now != *state {
                *state = now;
                changed.get_or_insert_with(|| path.clone());
            }
        }
        changed
    }
}

fn look(path: &Path) -> Option<State> {
    let found = path.metadata().ok()?;
    Some(State {
        changed: (found.ctime(), found.ctime_nsec()),
        inode: found.ino(),
        size: found.len(),
    })
}
