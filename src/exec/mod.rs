//! Run one child and tell the whole truth about it.
//!
//! # Promises
//!
//! - Every run that is started or tried yields exactly one [`Run`], with the exit code known, what
//!   it printed up to its cap, and what it used.
//! - A run ends at its deadline: TERM to its process group, a grace, KILL; and whoever is left of
//!   the group when its leader is dead is killed too. Nobody waits for a pipe that a grandchild
//!   still holds.
//! - A long-lived plugin is started again whenever it ends, at growing distances and for ever; what it
//!   prints is reported in slices, or as the answer to what it was asked.
//! - What must be set in a child before its program starts (a user, limits, a cgroup) is set by the
//!   launcher, and only where something asks for it; a run that this keeps from starting says so.
//! - Runs never fork: the child is made by `posix_spawn`, whose cost does not grow with the agent.
//! - One plugin cannot starve another: see [`plan`](self) for the two limits on concurrency.
//!
//! # How
//!
//! One thread and no runtime: the *worker* sleeps in one `epoll_wait` until a run is due or
//! something happens to one. It checks trust and spawns; usually it is woken once more per run, by
//! the child's pidfd, drains both pipes and collects the exit code. Only a child that outlives 20 ms
//! costs more: its pipes and its deadline join the set. Wake-ups are what an agent's own cost is made
//! of, and a second thread on another processor makes each spawn dearer.
//!
//! A spawn may block: on a file system that hangs. A *watchdog* then puts another worker in the
//! place of the one that is stuck, which gives up the run after a second; the stuck one stays until
//! its own children are gone.
//!
//! A long-lived plugin is a child like the others whose pipes are watched from the start. What it
//! printed and nobody has judged yet is bounded for each of them; beyond that its pipe is left alone
//! until there is room, and its deadline does not count meanwhile.
//!
//! Not known here: JSON (but for brackets, at which long-lived plugins' output is cut), schemas, intervals (a [`Timetable`] says when), configuration.

pub mod accounts;
pub mod cgroup;
mod child;
mod diagnose;
mod engine;
mod event;
mod home;
mod launch;
mod launcher;
mod memory;
mod order;
mod orphans;
mod plan;
mod queue;
mod reaper;
mod resident;
mod room;
mod shared;
mod spawn;
mod spec;
mod standing;
mod tend;
pub mod trust;
mod units;
mod worker;

pub use diagnose::why_not_executable;
pub use engine::{Exec, ExecError, Settings, TriggerError};
pub use launch::{Caps, Identity, Launch, OWN_PROGRAM, Privileges};
pub use launcher::{NotLaunched, launch};
pub use memory::memory_of_run;
pub use order::WORD as LAUNCH_WORD;
pub use orphans::{become_subreaper, sweep_previous};
pub use plan::Limits;
pub use spec::{Leftovers, Life, Next, Note, Part, Run, Spec, Stdin, Timetable};
pub use standing::{LastEnd, Outlook, Standing};
