//! Whether a plugin is started for each run or lives on, and what goes with which.

use super::agent::size;
use super::diagnostic::Diagnostic;
use super::plugin::Mode;
use super::raw::RawPlugin;
use super::resolve::Cx;
use super::values::{RawMode, RawTrigger};

/// How it lives; what does not go with that is an error.
pub(super) fn mode(raw: &RawPlugin, cx: &mut Cx<'_>) -> Mode {
    let line = raw.limits.as_ref().and_then(|limits| limits.value.line.as_ref());
    let Some(stream) = raw.mode.as_ref().filter(|at| at.value == RawMode::Stream) else {
        if let Some(trigger) = &raw.trigger {
            let help = "add `mode = \"stream\"`, or take `trigger` out: a plugin of mode `interval` \
                        is started for each run";
            match &raw.mode {
                Some(mode) => cx.contradiction(
                    "only a plugin of mode `stream` has a `trigger`",
                    &trigger.place,
                    &mode.place,
                    help,
                ),
                None => cx.found.push(
                    Diagnostic::error("only a plugin of mode `stream` has a `trigger`")
                        .at(&trigger.place)
                        .help(help),
                ),
            }
        }
        if let Some(line) = line {
            cx.found.push(
                Diagnostic::error("`limits.line` only goes with `mode = \"stream\"`")
                    .at(&line.place)
                    .help("what a run may print in all is `limits = { stdout = … }`"),
            );
        }
        return Mode::Interval;
    };
    if let Some(stdin) = &raw.stdin {
        cx.contradiction(
            "a plugin of mode `stream` has a pipe on its standard input, whose end means stop",
            &stdin.place,
            &stream.place,
            "remove `stdin`; the plugin finds its settings in the file named by `TALAIA_CONFIG`",
        );
    }
    let stdout = raw.limits.as_ref().and_then(|limits| limits.value.stdout.as_ref());
    if let Some(stdout) = stdout {
        cx.contradiction(
            "what a plugin of mode `stream` prints has no end that `limits.stdout` could count to",
            &stdout.place,
            &stream.place,
            "limit its lines: `limits = { line = \"64KiB\" }`",
        );
    }
    let tick = raw.trigger.as_ref().is_some_and(|at| at.value == RawTrigger::Tick);
    if tick {
        return Mode::Tick { line: size(line, 1, 1 << 20, cx) };
    }
    let times = [
        ("cron", raw.cron.as_ref().map(|at| &at.place)),
        ("align", raw.align.as_ref().map(|at| &at.place)),
        ("timeout", raw.timeout.as_ref().map(|at| &at.place)),
    ];
    for (what, place) in times {
        if let Some(place) = place {
            cx.contradiction(
                &format!("a plugin of mode `stream` prints when it likes: `{what}` means nothing"),
                place,
                &stream.place,
                &format!("remove `{what}`, or add `trigger = \"tick\"` to have it asked"),
            );
        }
    }
    Mode::Stream { line: size(line, 1, 64 << 10, cx) }
}
