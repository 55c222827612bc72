//! From what is written about a plugin's user and limits to what they are.

use std::time::Duration;

use super::agent::size;
use super::confinement::Confinement;
use super::raw::{RawLimits, RawPlugin};
use super::read::{At, Span};
use super::resolve::Cx;

/// Less than this and hardly any program starts.
const LEAST_MEMORY: u64 = 8 << 20;
/// The three standard streams, a library and what it reads.
const LEAST_FILES: u32 = 8;

pub(super) fn confinement(raw: &RawPlugin, cx: &mut Cx<'_>) -> Confinement {
    let empty = RawLimits::default();
    let limits = raw.limits.as_ref().map_or(&empty, |at| &at.value);
    Confinement {
        user: account(raw.user.as_ref(), "user", cx),
        group: account(raw.group.as_ref(), "group", cx),
        nice: raw.nice.as_ref().map(|at| {
            if !(-20..=19).contains(&at.value) {
                cx.error("niceness goes from -20 to 19", &at.place);
            }
            at.value
        }),
        no_new_privs: raw.no_new_privs.as_ref().map(|at| at.value),
        isolate: raw.isolate.as_ref().is_some_and(|at| at.value),
        memory: limits.memory.as_ref().map(|at| size(Some(at), LEAST_MEMORY, 0, cx)),
        cpu: limits.cpu.as_ref().map(|at| seconds(at, cx)),
        processes: limits.processes.as_ref().map(|at| least(at, 1, cx)),
        files: limits.files.as_ref().map(|at| least(at, LEAST_FILES, cx)),
        file_size: limits.file_size.as_ref().map(|at| size(Some(at), 0, 0, cx)),
    }
}

fn account(written: Option<&At<String>>, what: &str, cx: &mut Cx<'_>) -> Option<String> {
    let At { value, place } = written?;
    if value.is_empty() || value.contains([':', '\n', '\0']) {
        cx.error(format!("this is not the name of a {what}"), place);
    }
    Some(value.clone())
}

/// The kernel counts processor time in whole seconds; a part of one is allowed, too.
fn seconds(at: &At<Span>, cx: &mut Cx<'_>) -> u64 {
    let cpu = cx.duration(Some(at), Duration::from_secs(1), Duration::ZERO);
    cpu.as_secs() + u64::from(cpu.subsec_nanos() > 0)
}

fn least(at: &At<u32>, least: u32, cx: &mut Cx<'_>) -> u64 {
    if at.value < least {
        cx.error(format!("this must be at least {least}"), &at.place);
    }
    u64::from(at.value)
}
