//! Words that the agent and the commands show. Tests hold these tables against the sources of both.

use super::Shown::How;
use super::{Kind, Page, Shown, pair, pair_with};

type Row = (&'static str, &'static str, Shown, &'static str, &'static [&'static str]);

pub(super) fn pages() -> impl Iterator<Item = Page> {
    let of = |kind, rows: &'static [Row]| {
        rows.iter().map(move |(code, meaning, shown, fix, see)| {
            Page::told(kind, code, meaning, *shown, fix, see)
        })
    };
    of(Kind::Verdict, VERDICTS)
        .chain(of(Kind::Plugin, PLUGINS))
        .chain(of(Kind::Output, OUTPUTS))
        .chain(of(Kind::Standing, STANDINGS))
        .chain(of(Kind::Version, VERSIONS))
        .chain(of(Kind::Key, KEYS))
        .chain(of(Kind::Diff, DIFFS))
        .chain(of(Kind::Exit, EXITS))
}

/// What is to live on, and ends.
const ENDS: Shown = pair_with(
    r#"mode = "stream""#,
    r#"#!/bin/sh
echo '{"queue": 3}'"#,
    r#"#!/bin/sh
until timeout 1 cat > /dev/null; do echo '{"queue": 3}'; done"#,
);
/// Runs whose plugins say how it is with what they look at.
const WELL: Shown = How(r#"#!/bin/sh
echo '{"users": 3}'"#);
const WARNS: Shown = How(r#"#!/bin/sh
echo '{"status": "warning", "message": "91 % of / used", "metrics": []}'"#);
const CRITICAL: Shown = How(r#"#!/bin/sh
echo '{"status": "critical", "message": "db-1 is down", "metrics": []}'"#);
/// A program that failed, though it found out what it was to find out.
const FAILS: Shown = pair(
    r#"#!/bin/sh
echo '{"disk_ok": false}'
exit 1"#,
    r#"#!/bin/sh
echo '{"status": "critical", "message": "sda is failing", "metrics": []}'"#,
);
/// A record that is refused.
const REFUSED: Shown = pair(
    r#"#!/bin/sh
echo '{"disk-used": 71.2}'"#,
    r#"#!/bin/sh
echo '{"disk_used": 71.2}'"#,
);

/// The worst of what a run says and how it ended.
const VERDICTS: &[Row] = &[
    ("ok", "The run ended well, printed something, and all of it was accepted.", WELL, "", &[]),
    ("warning", "The plugin says that what it looks at is worth a look.", WARNS, "", &["critical"]),
    ("critical", "The plugin says that what it looks at is broken.", CRITICAL, "", &["warning"]),
    (
        "unknown",
        "The plugin says that it could not tell.",
        How(r#"#!/bin/sh
echo '{"status": "unknown", "message": "no answer in 5 s", "metrics": []}'"#),
        "Its message and stderr say why.",
        &["failed"],
    ),
    (
        "failed",
        "The program ended with another exit code than 0, was killed or timed out, and said nothing worse itself.",
        FAILS,
        "`talaia test PLUGIN` shows the same with everything that was printed.",
        &["exited", "signaled", "timed_out"],
    ),
    (
        "no start",
        "The program never ran.",
        pair("$ chmod 777 disk.sh", "$ chmod 755 disk.sh"),
        "The line says why; so does `talaia check`.",
        &["not_started"],
    ),
    (
        "refused",
        "The run ended well, and some of what it printed was refused. The rest was taken.",
        REFUSED,
        "The line names the first; `talaia test PLUGIN` shows all, each with a hint.",
        &["not-json", "name-hyphen", "value-type"],
    ),
    (
        "empty",
        "The run ended well and printed nothing, or nothing that has a record in it.",
        pair(
            r#"#!/bin/sh
echo '{"users": 3}' >&2"#,
            r#"#!/bin/sh
echo '{"users": 3}'"#,
        ),
        "Print metrics to stdout: what goes to stderr is only logged.",
        &["silent"],
    ),
    (
        "stopped",
        "The agent was stopping, or reloading without the plugin.",
        How("$ talaia plugin disable disk
$ talaia reload"),
        "",
        &[],
    ),
    (
        "new",
        "No run of the plugin has ended since the agent started.",
        How(r#"[plugins.disk]
command = ["./disk.sh"]
cron = "0 3 1 1 *""#),
        "",
        &[],
    ),
    (
        "running",
        "The plugin's first run since the agent started goes on.",
        How(r#"[plugins.disk]
command = ["sleep", "60"]
interval = "1h"
timeout = "5m""#),
        "",
        &["late"],
    ),
    (
        "silent",
        "A plugin that lives on has printed nothing so far.",
        pair_with(
            r#"mode = "stream"
interval = "1s""#,
            r#"#!/bin/sh
until timeout 1 cat > /dev/null; do echo 3; done |
  sed 's/.*/{"queue": &}/'"#,
            r#"#!/bin/sh
until timeout 1 cat > /dev/null; do echo 3; done |
  sed -u 's/.*/{"queue": &}/'"#,
        ),
        "Nearly always its output waits in a buffer: the warning of the same name has what to do.",
        &["new"],
    ),
    (
        "crashing",
        "A plugin that lives on ends again and again, and is started again after pauses that grow.",
        ENDS,
        "`talaia status PLUGIN` has its last words; `talaia test PLUGIN` runs it here.",
        &["crash_loop"],
    ),
    (
        "back-off",
        "A plugin that lives on ended, and is started again after a pause.",
        ENDS,
        "",
        &["backing_off"],
    ),
];

/// How monitors stand on a hub's overview.
const STANDINGS: &[Row] = &[
    ("critical", "The plugin says that what it looks at is critical.", CRITICAL, "", &["failing"]),
    (
        "failing",
        "The last run failed, timed out, or does not know.",
        FAILS,
        "The monitor's page has the outcome and the last lines of stderr; `talaia test PLUGIN` on its host runs it.",
        &["failed", "timed_out"],
    ),
    (
        "rejecting",
        "Records of the last run were refused; the rest was taken.",
        REFUSED,
        "The page of rejections says which, and what to print instead.",
        &["refused"],
    ),
    (
        "silent",
        "No report came for three intervals: the agent is stopped or cut off, or the plugin is gone.",
        How("Its host was switched off three intervals ago."),
        "On its host: `talaia status`. If it is meant to be gone, suspend or delete the monitor.",
        &["hold", "retry"],
    ),
    ("warning", "The plugin warns of what it looks at.", WARNS, "", &[]),
    ("ok", "The last run went well.", WELL, "", &[]),
    (
        "suspended",
        "The monitor takes no results until somebody activates it.",
        How("$ talaia monitor suspend disk@web-1"),
        "`talaia monitor activate ID`.",
        &["monitor-suspended"],
    ),
];

/// How versions of packages stand.
const VERSIONS: &[Row] = &[
    (
        "draft",
        "It was uploaded, and not handed in.",
        How("$ talaia plugin publish ./web-check --draft"),
        "`talaia plugin submit NAME VERSION`.",
        &[],
    ),
    (
        "submitted",
        "It waits for a reviewer.",
        How("$ talaia plugin submit web-check 0.1.0"),
        "`talaia plugin review` lists what waits.",
        &[],
    ),
    (
        "in-review",
        "A reviewer has it.",
        How("$ talaia plugin review web-check 0.1.0"),
        "`talaia plugin status NAME VERSION --watch` goes on until it is decided.",
        &[],
    ),
    (
        "approved",
        "It is given out, signed by the registry.",
        How("$ talaia plugin approve web-check 0.1.0"),
        "`talaia plugin install NAME`.",
        &[],
    ),
    (
        "rejected",
        "A reviewer turned it down, with a reason.",
        How("$ talaia plugin reject web-check 0.1.0 --reason 'which door?'"),
        "`talaia plugin status NAME VERSION` has the reason. Mend it, and hand in another version.",
        &[],
    ),
    (
        "withdrawn",
        "Its author or a reviewer took it back. It is no longer given out; where it is installed it goes on.",
        How("$ talaia plugin withdraw web-check 0.1.0"),
        "`talaia plugin upgrade NAME` goes over to a version that is given out.",
        &[],
    ),
];

/// How keys stand.
const KEYS: &[Row] = &[
    ("active", "It works.", How("$ talaia keys create web-1"), "", &[]),
    (
        "replaced",
        "Another was put in its place, and it goes on working for a grace.",
        How("$ talaia keys rotate web-1 --grace 1h"),
        "Have all senders use the new one before the grace is over.",
        &["key.rotate"],
    ),
    (
        "expired",
        "Its time is over.",
        How("$ talaia keys create ci --expires 1s"),
        "`talaia keys rotate NAME`.",
        &["key-expired"],
    ),
    (
        "revoked",
        "Somebody ended it.",
        How("$ talaia keys revoke web-1"),
        "`talaia keys create NAME` makes another.",
        &["key-revoked"],
    ),
];

/// What became of what was accepted.
const DIFFS: &[Row] = &[
    (
        "passes",
        "All values would be accepted.",
        How("$ talaia schema diff disk --since 7d"),
        "",
        &[],
    ),
    (
        "refused",
        "Some values would be refused by the contract as it is now.",
        pair_with(
            r#"[metrics.users]
type = "integer""#,
            r#"{"users": 2.5}"#,
            r#"{"users": 2}"#,
        ),
        "The line below says why, with one of them. Loosen the declaration, or have the plugin print otherwise first.",
        &["value-type", "value-range", "undeclared"],
    ),
    (
        "missing",
        "The metric is declared as `required`, and was not there, or not in every report.",
        pair_with(
            r#"[metrics.users]
type = "integer"
required = true"#,
            r#"{"load1": 0.5}"#,
            r#"{"load1": 0.5, "users": 3}"#,
        ),
        "Take `required` out, or have the plugin print it each time.",
        &["required-missing"],
    ),
    (
        "never there",
        "The metric is declared and never came.",
        pair_with(
            r#"[metrics.users]
type = "integer""#,
            r#"{"user": 3}"#,
            r#"{"users": 3}"#,
        ),
        "Correct its name, or take it out.",
        &[],
    ),
];

/// How plugins stand in `talaia status`.
const PLUGINS: &[Row] = &[
    (
        "ready",
        "The plugin runs at its times.",
        How(r#"[plugins.disk]
command = ["./disk.sh"]"#),
        "",
        &[],
    ),
    (
        "disabled",
        "Its configuration says `enabled = false`.",
        How(r#"[plugins.disk]
command = ["./disk.sh"]
enabled = false"#),
        "`talaia plugin enable NAME`.",
        &[],
    ),
    (
        "skipped",
        "Its `when` does not hold on this host, or its package is not for this system: it is not run here, on purpose.",
        How(r#"[plugins.disk]
command = ["./disk.sh"]
when = { exists = "/dev/no-such-disk" }"#),
        "`talaia plugin show NAME` says which condition.",
        &[],
    ),
    (
        "broken",
        "The plugin cannot run as things are: no such program, not executable, no interpreter, a secret that is not there, not trusted. The others run.",
        pair(
            r#"#!/bin/shh
echo '{"users": 3}'"#,
            r#"#!/bin/sh
echo '{"users": 3}'"#,
        ),
        "The words behind it say what to do; `talaia check` says them for all plugins. Then `talaia reload`.",
        &["not_started"],
    ),
    (
        "crash_loop",
        "A plugin of mode `stream` ended three times in a row without living for a minute. It is started again all the same, after a pause that grows.",
        ENDS,
        "How it ended last and its last lines on stderr stand beside it; `talaia test NAME` runs it here.",
        &["backing_off", "restart"],
    ),
    (
        "backing_off",
        "A plugin of mode `stream` ended, and is started again after a pause.",
        ENDS,
        "If it happens again and again, see what it says on stderr.",
        &["crash_loop", "restart"],
    ),
    (
        "built-in",
        "The agent's own plugin `talaia`, by which it reports on itself.",
        How("$ talaia status talaia"),
        "`[agent] self_metrics = false` switches it off.",
        &[],
    ),
    (
        "gone",
        "The plugin is no longer in the configuration; what it did is still counted.",
        How("$ talaia plugin remove disk
$ talaia reload"),
        "",
        &[],
    ),
];

/// How outputs stand in `talaia status`.
const OUTPUTS: &[Row] = &[
    (
        "ok",
        "The last upload was taken.",
        How(r#"[outputs.main]
type = "file"
path = "reports.ndjson""#),
        "",
        &[],
    ),
    (
        "retry",
        "The destination cannot be reached, or cannot do it now. It is tried again after pauses that grow to five minutes; reports wait in the spool.",
        How(r#"[outputs.main]
type = "talaia"
url = "http://127.0.0.1:9"   # nothing listens there
key = { file = "hub.key" }"#),
        "Usually nothing. The words behind it say what failed.",
        &["hold", "quota"],
    ),
    (
        "hold",
        "A person is needed: the key is not taken, the address is wrong, the answer is no hub's. Reports are kept and tried slowly.",
        How("The key that the output sends with is ended on the hub:
$ talaia keys revoke web-1"),
        "The words behind it say what to mend; then `talaia reload`.",
        &["key-unknown", "key-revoked", "retry"],
    ),
    (
        "removed",
        "The output is no longer in the configuration; what it took is still counted.",
        How("`[outputs.main]` is taken out of the configuration, and then:
$ talaia reload"),
        "",
        &["output_removed"],
    ),
];

/// What a command ends with.
const EXITS: &[Row] = &[
    ("0", "All well.", How("$ talaia explain late"), "", &[]),
    (
        "1",
        "The command worked, and found something wrong with what it looked at: a record that was refused, a run that failed, a configuration that is not going to work.",
        How(r#"$ echo '{"disk-used": 71.2}' | talaia decode"#),
        "What was found is on stdout, or on stderr with a hint.",
        &[],
    ),
    (
        "2",
        "The command line makes no sense, or names what there is not.",
        How("$ talaia explain lat"),
        "`talaia COMMAND --help`, or `talaia man COMMAND`.",
        &[],
    ),
    (
        "65",
        "The input cannot be read: no such file, or not in the format that was named.",
        How("$ talaia decode no-such-file"),
        "",
        &[],
    ),
    (
        "69",
        "Nobody answers: no agent at its socket, no hub at its address.",
        How("$ talaia status   # while no agent runs"),
        "Is it running, with the same --config, and as the same user? `talaia status` and `talaia check --online` say more.",
        &["retry"],
    ),
    (
        "70",
        "A defect of the program, or an answer of another version that it cannot read.",
        How("A hub of another version gives an answer that this one cannot read."),
        "Please report it, with what was typed.",
        &[],
    ),
    (
        "74",
        "The disk does not do what it should, or another agent has the data folder locked.",
        How(r#"$ printf '[agent]\ndata_dir = "/dev/null/data"\n' > nowhere.toml
$ talaia spool status -c nowhere.toml"#),
        "The message names the file. Where it is the lock, it names the other agent's process.",
        &["disk_full", "damaged"],
    ),
    (
        "78",
        "The configuration does not load. Everything that is wrong with it is shown at once, each with its line. A command that edits it leaves it as it was.",
        How("$ echo '[plugins.disk]' > bad.toml
$ talaia check -c bad.toml"),
        "`talaia check` says the same, and 0 when it is mended.",
        &[],
    ),
];
