use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::OFlags;
use rustix::io::FdFlags;
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, PidfdFlags, Resource, Rlimit, Signal, WaitOptions};

use crate::model::{Outcome, RunId};

use super::cgroup::Cgroup;
use super::diagnose;
use super::launch::Launch;
use super::order::{Line, WORD as LAUNCH_WORD};
use super::spec::{Life, Spec, Stdin};

/// A child that runs, and our ends of what connects us.
#[derive(Debug)]
pub(super) struct Spawned {
    pub(super) pid: Pid,
    pub(super) pidfd: OwnedFd,
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
    /// The write end of a stdin that stays open.
    pub(super) stdin: Option<OwnedFd>,
    /// Where it has a launcher: what that one says, and what its cgroup had been through before.
    pub(super) launched: Option<Launched>,
}

/// What is known of a launch besides its child.
#[derive(Debug)]
pub(super) struct Launched {
    line: Line,
    launch: Arc<Launch>,
    oom_kills: u64,
}

impl Launched {
    /// Why the program was not started, once the child is dead.
    pub(super) fn failure(&self) -> Option<String> {
        self.line.failure()
    }

    /// Which limit ended the run, where one did.
    pub(super) fn verdict(&self, outcome: &Outcome, cpu: f64) -> Option<String> {
        let cgroup = self.launch.cgroup.as_ref();
        let kills = cgroup.map_or(0, Cgroup::oom_kills).saturating_sub(self.oom_kills);
        self.launch.verdict(outcome, cpu, kills)
    }
}

impl Spawned {
    /// Kills it and collects what is left of it. Blocks until it is dead.
    pub(super) fn abandon(self) {
        kill_and_reap(self.pid);
    }
}

fn kill_and_reap(pid: Pid) {
    // Not reaped yet, so the numbers of the process and its group are its own.
    let _gone = rustix::process::kill_process_group(pid, Signal::KILL);
    // It may have gone to another group.
    let _gone = rustix::process::kill_process(pid, Signal::KILL);
    let _reaped = rustix::process::waitpid(Some(pid), WaitOptions::empty());
}

/// How a run is spawned; tests put something slower here.
pub(super) type SpawnFn = fn(&Spec, RunId, Option<Rlimit>) -> Result<Spawned, String>;

/// Starts the program in a process group of its own. `nofile` is the limit on open files that the
/// child gets back where the agent raised its own.
///
/// Only what `posix_spawn` can do is asked of [`Command`], so that the standard library never
/// falls back to `fork`.
pub(super) fn spawn(spec: &Spec, run: RunId, nofile: Option<Rlimit>) -> Result<Spawned, String> {
    let (out_read, out_write) = pipe()?;
    let (err_read, err_write) = pipe()?;
    let (stdin, hold) = match &spec.stdin {
        Stdin::Null => {
            let null = File::open("/dev/null")
                .map_err(|e| format!("`/dev/null` cannot be opened for its stdin: {e}"))?;
            (OwnedFd::from(null), None)
        }
        Stdin::File(path) => {
            let file = File::open(path).map_err(|e| {
                format!("its config file `{}` cannot be opened: {e}", path.display())
            })?;
            (OwnedFd::from(file), None)
        }
        Stdin::Open => {
            let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)
                .map_err(|e| format!("no pipe for its stdin: {e}"))?;
            (read, Some(write))
        }
    };
    let deadline = SystemTime::now() + spec.timeout;
    let deadline = deadline.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();

    let mut of_run = vec![("TALAIA_RUN_ID", run.to_string())];
    if spec.life == Life::Run {
        of_run.push(("TALAIA_DEADLINE", deadline.to_string()));
    }

    let mut command;
    let launched = match &spec.launch {
        None => {
            command = Command::new(&spec.program);
            command
                .args(&spec.args)
                .env_clear()
                .envs(spec.env.iter().map(|(k, v)| (k, v)))
                .envs(of_run)
                .stdin(stdin);
            None
        }
        Some(launch) => {
            let (launcher, launched) = prepare(launch, spec, &of_run, nofile, &stdin)?;
            command = launcher;
            Some(launched)
        }
    };
    command
        .current_dir(&spec.dir)
        .stdout(Stdio::from(out_write))
        .stderr(Stdio::from(err_write))
        .process_group(0);
    let child = command.spawn().map_err(|e| match &spec.launch {
        Some(launch) if spec.dir.is_dir() => {
            format!("its launcher `{}` cannot be run: {e}", launch.launcher.display())
        }
        _ => diagnose::explain(&spec.program, &spec.dir, &e),
    })?;
    // Our copies of the write ends go now, or the pipes would never end.
    drop(command);

    let pid = i32::try_from(child.id())
        .ok()
        .and_then(Pid::from_raw)
        .ok_or_else(|| "the system gave it no process id".to_owned())?;
    // A launcher does it by itself.
    if let Some(limit) = nofile.filter(|_| launched.is_none()) {
        // A child that has ended already needs no limit.
        let _gone = rustix::process::prlimit(Some(pid), Resource::Nofile, limit);
    }
    // The child cannot have been reaped, so its pid is still its own.
    match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => {
            Ok(Spawned { pid, pidfd, stdout: out_read, stderr: err_read, stdin: hold, launched })
        }
        Err(error) => {
            // Without a pidfd its end would not be seen: end it here.
            kill_and_reap(pid);
            Err(format!("no file descriptor to watch it with: {error}"))
        }
    }
}

/// The launcher, about to be started with an order in its standard input.
fn prepare(
    launch: &Arc<Launch>,
    spec: &Spec,
    of_run: &[(&str, String)],
    nofile: Option<Rlimit>,
    stdin: &OwnedFd,
) -> Result<(Command, Launched), String> {
    let oom_kills = match &launch.cgroup {
        None => 0,
        Some(cgroup) => cgroup.ready().map_err(|e| {
            format!("its cgroup `{}` cannot be made ready: {e}", cgroup.path.display())
        })?,
    };
    let (line, theirs) = Line::open(launch, spec, of_run, nofile, stdin.as_fd())?;
    let mut command = Command::new(&launch.launcher);
    command
        .arg0("talaia")
        .arg(LAUNCH_WORD)
        // Nothing of the plugin's own environment works on a launcher. The marks are for whoever
        // looks for what an agent left behind just then.
        .env_clear()
        .envs(spec.env.iter().filter(|(key, _)| is_mark(key)).map(|(k, v)| (k, v)))
        .envs(of_run.iter().map(|(key, value)| (key, value)))
        .stdin(Stdio::from(theirs));
    Ok((command, Launched { line, launch: Arc::clone(launch), oom_kills }))
}

fn is_mark(key: &OsStr) -> bool {
    key == "TALAIA_AGENT" || key == "TALAIA_PLUGIN"
}

/// A pipe whose read end does not block; the child's end must, or plugins would see EAGAIN.
fn pipe() -> Result<(OwnedFd, OwnedFd), String> {
    let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)
        .map_err(|e| format!("no pipe for its output: {e}; see `ulimit -n`"))?;
    rustix::fs::fcntl_setfl(&read, OFlags::NONBLOCK)
        .map_err(|e| format!("no pipe for its output: {e}"))?;
    debug_assert!(rustix::io::fcntl_getfd(&write).is_ok_and(|f| f.contains(FdFlags::CLOEXEC)));
    Ok((read, write))
}
