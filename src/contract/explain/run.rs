//! How runs and reports fare: outcomes, what was lost and what was refused.

use super::Shown::How;
use super::{Kind, NO_ANSWER, Page, pair, pair_with};
use crate::model::{Evicted, OutcomeKind, RefusedCode};

pub(super) fn pages() -> impl Iterator<Item = Page> {
    let outcomes = OutcomeKind::ALL.iter().map(|kind| outcome(*kind));
    let evictions = Evicted::ALL.iter().map(|reason| eviction(*reason));
    let refusals = RefusedCode::ALL.iter().map(|code| refusal(*code));
    outcomes.chain(evictions).chain(refusals)
}

fn outcome(kind: OutcomeKind) -> Page {
    use OutcomeKind as O;
    let (meaning, shown, fix, see): (_, _, _, &[&str]) = match kind {
        O::Exited => (
            "The program ended by itself; `code` is its exit code. With 0 the run is as good as what it printed says. With any other code of a plugin that prints JSON nothing is known of what it looked at, and its status is `unknown` unless it printed one.",
            How(r#"#!/bin/sh
echo '{"users": 3}'
exit 1"#),
            "Exit with 0 when the looking worked, also when what was found is bad: that is what `status` is for.",
            &["failed"],
        ),
        O::Signaled => (
            "A signal that the agent did not send ended the program: a crash (11, SIGSEGV; 6, SIGABRT), the system short of memory (9), a limit (24, SIGXCPU; 25, SIGXFSZ), or a person.",
            How(r#"#!/bin/sh
echo '{"users": 3}'
kill -SEGV $$"#),
            "The report's stderr, its warnings and the system's log say more.",
            &["limit", "timed_out"],
        ),
        O::TimedOut => (
            "The program was still running at its deadline, and was ended with all that it had started: by TERM, and `grace` later by KILL. What it had printed is kept.",
            NO_ANSWER,
            "Have it give up on what does not answer, or raise `timeout`, which may not be longer than the interval for long.",
            &["truncated", "late"],
        ),
        O::Flooded => (
            "The program printed more than eight times what is read of it, and was ended: it would have gone on.",
            pair_with(
                r#"limits = { stdout = "1KiB" }"#,
                r#"#!/bin/sh
yes '{"users": 3}'"#,
                r#"#!/bin/sh
echo '{"users": 3}'"#,
            ),
            "Print less. Of a program in a loop the report's stderr shows the last lines.",
            &["stdout-cut"],
        ),
        O::NotStarted => (
            "The program never ran: it is not there, may not be executed, its interpreter is missing, it is not trusted, or its user does not exist. `error` says which.",
            pair("$ chmod 777 disk.sh", "$ chmod 755 disk.sh"),
            "`talaia check` says the same of all plugins, with what to type.",
            &["no start", "broken"],
        ),
        O::Stopped => (
            "The agent was stopping, or reloading without this plugin, while it ran. What it had printed is kept.",
            How("$ talaia plugin disable disk
$ talaia reload"),
            "",
            &[],
        ),
        O::Answered => (
            "A plugin that lives on answered a tick, or this is a slice of what it printed by itself. It goes on running.",
            How(r#"[plugins.queue]
command = '''
until timeout 1 cat > /dev/null; do echo '{"queue": 3}'; done'''
shell = true
mode = "stream""#),
            "",
            &["unasked"],
        ),
    };
    Page::told(Kind::Outcome, kind.as_str(), meaning, shown, fix, see)
}

fn eviction(reason: Evicted) -> Page {
    use Evicted as E;
    let (meaning, shown, fix, see): (_, _, _, &[&str]) = match reason {
        E::Quota => (
            "The spool was over its quota (256 MiB, or `[agent.spool] quota`), and the oldest reports went first. The output had not had them: it was away for longer than the spool lasts.",
            How(r#"[agent.spool]
quota = "16MiB""#),
            "Mend the output (`talaia status` says what is wrong), or raise the quota.",
            &["hold", "retry"],
        ),
        E::Age => (
            "The reports were older than `[agent.spool] max_age` and no output had them. Without that setting nothing is dropped for its age.",
            How(r#"[agent.spool]
max_age = "1d""#),
            "Mend the output, or raise `max_age`.",
            &["quota"],
        ),
        E::DiskFull => (
            "The disk had less free space than is left to others (256 MiB, or `[agent.spool] min_free`), and the oldest reports made room.",
            How(r#"[agent.spool]
min_free = "10GiB""#),
            "Make room on the disk, or lower `min_free`.",
            &["quota"],
        ),
        E::Damaged => (
            "The disk gave the reports back changed, or the spool's file was damaged and moved aside. What could be read was kept.",
            How("A power cut on a disk that said too early that it had written."),
            "Look at the disk. The file that was moved aside is beside the spool; `talaia spool verify` checks the present one.",
            &["74"],
        ),
        E::Refused => (
            "The destination said that it will never take the report. It is in quarantine, with the destination's words.",
            How("$ talaia monitor suspend disk@web-1"),
            "`talaia quarantine ls` shows them, and `talaia quarantine replay` sends them again when the cause is gone.",
            &["plugin-key", "monitor-suspended", "too-large"],
        ),
        E::OutputRemoved => (
            "The output was taken out of the configuration before it had the records.",
            How("`[outputs.main]` is taken out of the configuration, and then:
$ talaia reload"),
            "To wait for it, leave the output in until `talaia spool status` says that nothing waits.",
            &["removed"],
        ),
    };
    Page::told(Kind::Eviction, reason.as_str(), meaning, shown, fix, see)
}

fn refusal(code: RefusedCode) -> Page {
    use RefusedCode as R;
    let (meaning, shown, fix, see): (_, _, _, &[&str]) = match code {
        R::PluginKey => (
            "The report says that it is of a registered plugin, and its `key` is not registered with this hub, was revoked, or is another plugin's. Reports under a name that is somebody's are not taken from others.",
            How("$ talaia keys revoke --plugin disk"),
            "Register the plugin with this hub (`talaia keys create --plugin NAME`) and write its key into the configuration, or take `key` out of it; then `talaia quarantine replay`.",
            &["key-unknown"],
        ),
        R::MonitorSuspended => (
            "Somebody suspended the plugin's monitor in the hub. While it is, its reports are refused rather than lost without a word.",
            How("$ talaia monitor suspend disk@web-1"),
            "`talaia monitor activate ID`, then `talaia quarantine replay`.",
            &["monitor.suspend"],
        ),
        R::TooLarge => (
            "The report alone is larger than the destination takes (413), though it was sent by itself.",
            How("A run of 10 000 metrics, sent to a hub behind a proxy that takes 64 KiB."),
            "Print fewer metrics in a run, or raise the limit of the proxy before the hub; then `talaia quarantine replay`.",
            &["too-many-metrics"],
        ),
        R::Refused => (
            "A destination that is no hub of ours answered 400 or 422 to this report by itself, while it took others.",
            How("A report with a metric of a kind that the destination does not know."),
            "Its own words are in the quarantine: `talaia quarantine show ID`.",
            &["hold"],
        ),
    };
    Page::told(Kind::Refusal, code.as_str(), meaning, shown, fix, see)
}
