//! The launcher's own side: a process that sets what it was told, in itself, and becomes the plugin.
//!
//! It has one thread and lives for about a millisecond. The order matters: what takes root's rights
//! comes before the change of user; the death signal after it, because the change clears it; and the
//! parent is looked at after that, because an agent that died before the signal was set sends none.

use std::convert::Infallible;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use rustix::io::Errno;
use rustix::process::{Gid, Resource, Rlimit, Signal, Uid};

use super::diagnose;
use super::launch::{OWN_PROGRAM, Privileges};
use super::order::Order;

/// A soft limit on processor time is told by a signal that a program may catch; so long after it
/// comes KILL.
const CPU_GRACE: u64 = 2;

/// Becomes the plugin that the agent at the other end of standard input ordered. Returns only to say
/// why not: the agent has been told then, unless there is none.
pub fn launch() -> Result<Infallible, NotLaunched> {
    let started = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)
        .map_err(|error| format!("no standard input: {error}"))
        .and_then(|socket| Order::receive(&socket).map(|(order, stdin)| (socket, order, stdin)));
    let (socket, order, stdin) = started.map_err(NotLaunched::NoAgent)?;
    let Err(why) = become_plugin(&order, stdin);
    // An agent that is gone needs no answer.
    let _told = rustix::io::write(&socket, why.as_bytes());
    Err(NotLaunched::Told)
}

/// Why a launcher did not become a plugin.
#[derive(Debug, thiserror::Error)]
pub enum NotLaunched {
    /// It was not an agent that started it.
    #[error("this is how an agent starts plugins, and nobody else: {0}")]
    NoAgent(String),
    /// The agent knows.
    #[error("the plugin was not started, and the agent was told why")]
    Told,
}

fn become_plugin(order: &Order, stdin: OwnedFd) -> Result<Infallible, String> {
    rustix::stdio::dup2_stdin(&stdin).map_err(|e| format!("no standard input: {e}"))?;
    drop(stdin);
    // Made before there is a limit on memory.
    let mut command = Command::new(&order.program);
    command.args(&order.args).env_clear().envs(order.env.iter().map(|(key, value)| (key, value)));
    if let Some(cgroup) = &order.cgroup {
        join(cgroup).map_err(|e| format!("cannot join its cgroup `{}`: {e}", cgroup.display()))?;
    }
    set_limits(order)?;
    if let Some(nice) = order.nice {
        rustix::process::setpriority_process(None, nice)
            .map_err(|e| format!("cannot set its niceness of {nice}: {e}"))?;
    }
    set_identity(order)?;
    if order.privileges == Privileges::NoNew {
        rustix::thread::set_no_new_privs(true)
            .map_err(|e| format!("cannot set `no_new_privs`: {e}"))?;
    }
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|e| format!("cannot set its death signal: {e}"))?;
    let parent = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get());
    if parent != order.parent {
        return Err("the agent died while it was being started".to_owned());
    }
    // The C library gives what the kernel does not execute to a shell; the direct path does not.
    if let Some(why) = diagnose::why_not_executable(&order.program) {
        return Err(for_user(order, why));
    }
    let error =
        if is_for_another_machine(&order.program) { Errno::NOEXEC.into() } else { command.exec() };
    Err(for_user(order, diagnose::explain(&order.program, &order.dir, &error)))
}

/// Whether it is a compiled program that nothing on this machine executes: it begins otherwise than
/// this program itself does, and no interpreter is registered for others.
fn is_for_another_machine(program: &Path) -> bool {
    /// Up to and with the machine; what is between, class and byte order.
    fn head(path: &Path) -> Option<[u8; 20]> {
        let mut head = [0; 20];
        File::open(path).and_then(|mut file| file.read_exact(&mut head)).ok()?;
        Some(head)
    }
    let mut first = [0; 4];
    let read = File::open(program).and_then(|mut file| file.read_exact(&mut first));
    if read.is_err() || &first != b"\x7fELF" {
        return false;
    }
    let kind = |head: [u8; 20]| (head[4], head[5], head[18], head[19]);
    let own = head(Path::new(OWN_PROGRAM)).map(kind);
    if head(program).map(kind) == own {
        return false;
    }
    // `register` and `status` are always there; anything else is an interpreter (or 32 bits, which
    // many 64-bit kernels execute by themselves: those the kernel is asked).
    let registered = std::fs::read_dir("/proc/sys/fs/binfmt_misc").map_or(0, Iterator::count);
    let older_bits =
        head(program).is_some_and(|head| head[4] == 1 && own.is_some_and(|o| o.0 == 2));
    registered <= 2 && !older_bits
}

/// What one user may not, another may: an error of access says whose it is.
fn for_user(order: &Order, why: String) -> String {
    match &order.user {
        Some(user) if why.contains("ermission denied") => {
            format!(
                "{why}; its user `{user}` needs to read and execute it, and to enter its folders"
            )
        }
        _ => why,
    }
}

/// The pid 0 stands for the writer itself.
fn join(cgroup: &Path) -> io::Result<()> {
    File::options().write(true).open(cgroup.join("cgroup.procs"))?.write_all(b"0")
}

fn set_limits(order: &Order) -> Result<(), String> {
    let set = |what: &str, resource, soft: Option<u64>, hard: Option<u64>| {
        let limit = Rlimit { current: soft, maximum: hard };
        rustix::process::setrlimit(resource, limit).map_err(|error| {
            let most = rustix::process::getrlimit(resource).maximum;
            match (error, most) {
                (Errno::PERM, Some(most)) => format!(
                    "`limits.{what}` is more than the agent itself may have ({most}); lower it, or \
                     raise the agent's own limit"
                ),
                _ => format!("cannot set `limits.{what}`: {error}"),
            }
        })
    };
    if let Some((soft, hard)) = order.nofile {
        // The agent's own, from before it made room for many runs.
        let _raised_since = set("files", Resource::Nofile, soft, hard);
    }
    let caps = &order.caps;
    let same = |what, resource, limit: Option<u64>| match limit {
        Some(limit) => set(what, resource, Some(limit), Some(limit)),
        None => Ok(()),
    };
    same("files", Resource::Nofile, caps.files)?;
    same("file_size", Resource::Fsize, caps.file_size)?;
    same("processes", Resource::Nproc, caps.processes)?;
    if let Some(cpu) = caps.cpu {
        let most = rustix::process::getrlimit(Resource::Cpu).maximum.unwrap_or(u64::MAX);
        set("cpu", Resource::Cpu, Some(cpu), Some((cpu + CPU_GRACE).min(most.max(cpu))))?;
    }
    same("memory", Resource::Data, caps.memory)
}

fn set_identity(order: &Order) -> Result<(), String> {
    let Some(gid) = order.gid.map(Gid::from_raw) else { return Ok(()) };
    let user = order.user.as_deref().unwrap_or_default();
    let failed = |e: Errno| format!("cannot become user `{user}`: {e}; the agent must be root");
    let groups: Vec<Gid> = order.groups.iter().copied().map(Gid::from_raw).collect();
    // These are the calling thread's alone; there is no other.
    rustix::thread::set_thread_groups(&groups).map_err(failed)?;
    rustix::thread::set_thread_res_gid(gid, gid, gid).map_err(failed)?;
    match order.uid.map(Uid::from_raw) {
        Some(uid) => rustix::thread::set_thread_res_uid(uid, uid, uid).map_err(failed),
        None => Ok(()),
    }
}
