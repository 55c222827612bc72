//! Words that the agent and the commands show. Tests hold these tables against the sources of both.

use super::{Kind, Page};

type Row = (&'static str, &'static str, &'static str, &'static [&'static str]);

pub(super) fn pages() -> impl Iterator<Item = Page> {
    let of = |kind, rows: &'static [Row]| {
        rows.iter().map(move |(code, meaning, fix, see)| Page::told(kind, code, meaning, fix, see))
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

/// The worst of what a run says and how it ended.
const VERDICTS: &[Row] = &[
    ("ok", "The run ended well, printed something, and all of it was accepted.", "", &[]),
    ("warning", "The plugin says that what it looks at is worth a look.", "", &["critical"]),
    ("critical", "The plugin says that what it looks at is broken.", "", &["warning"]),
    (
        "unknown",
        "The plugin says that it could not tell.",
        "Its message and stderr say why.",
        &["failed"],
    ),
    (
        "failed",
        "The program ended with another exit code than 0, was killed or timed out, and said nothing worse itself.",
        "`talaia test PLUGIN` shows the same with everything that was printed.",
        &["exited", "signaled", "timed_out"],
    ),
    (
        "no start",
        "The program never ran.",
        "The line says why; so does `talaia check`.",
        &["not_started"],
    ),
    (
        "refused",
        "The run ended well, and some of what it printed was refused. The rest was taken.",
        "The line names the first; `talaia test PLUGIN` shows all, each with a hint.",
        &["not-json", "name-hyphen", "value-type"],
    ),
    (
        "empty",
        "The run ended well and printed nothing, or nothing that has a record in it.",
        "Print metrics to stdout: what goes to stderr is only logged.",
        &["silent"],
    ),
    ("stopped", "The agent was stopping, or reloading without the plugin.", "", &[]),
    ("new", "No run of the plugin has ended since the agent started.", "", &[]),
    ("running", "The plugin's first run since the agent started goes on.", "", &["late"]),
    (
        "silent",
        "A plugin that lives on has printed nothing so far.",
        "Nearly always its output waits in a buffer: the warning of the same name has what to do.",
        &["new"],
    ),
    (
        "crashing",
        "A plugin that lives on ends again and again, and is started again after pauses that grow.",
        "`talaia status PLUGIN` has its last words; `talaia test PLUGIN` runs it here.",
        &["crash_loop"],
    ),
    (
        "back-off",
        "A plugin that lives on ended, and is started again after a pause.",
        "",
        &["backing_off"],
    ),
];

/// How monitors stand on a hub's overview.
const STANDINGS: &[Row] = &[
    ("critical", "The plugin says that what it looks at is critical.", "", &["failing"]),
    (
        "failing",
        "The last run failed, timed out, or does not know.",
        "The monitor's page has the outcome and the last lines of stderr; `talaia test PLUGIN` on its host runs it.",
        &["failed", "timed_out"],
    ),
    (
        "rejecting",
        "Records of the last run were refused; the rest was taken.",
        "The page of rejections says which, and what to print instead.",
        &["refused"],
    ),
    (
        "silent",
        "No report came for three intervals: the agent is stopped or cut off, or the plugin is gone.",
        "On its host: `talaia status`. If it is meant to be gone, suspend or delete the monitor.",
        &["hold", "retry"],
    ),
    ("warning", "The plugin warns of what it looks at.", "", &[]),
    ("ok", "The last run went well.", "", &[]),
    (
        "suspended",
        "The monitor takes no results until somebody activates it.",
        "`talaia monitor activate ID`.",
        &["monitor-suspended"],
    ),
];

/// How versions of packages stand.
const VERSIONS: &[Row] = &[
    ("draft", "It was uploaded, and not handed in.", "`talaia plugin submit NAME VERSION`.", &[]),
    ("submitted", "It waits for a reviewer.", "`talaia plugin review` lists what waits.", &[]),
    (
        "in-review",
        "A reviewer has it.",
        "`talaia plugin status NAME VERSION --watch` goes on until it is decided.",
        &[],
    ),
    ("approved", "It is given out, signed by the registry.", "`talaia plugin install NAME`.", &[]),
    (
        "rejected",
        "A reviewer turned it down, with a reason.",
        "`talaia plugin status NAME VERSION` has the reason. Mend it, and hand in another version.",
        &[],
    ),
    (
        "withdrawn",
        "Its author or a reviewer took it back. It is no longer given out; where it is installed it goes on.",
        "`talaia plugin upgrade NAME` goes over to a version that is given out.",
        &[],
    ),
];

/// How keys stand.
const KEYS: &[Row] = &[
    ("active", "It works.", "", &[]),
    (
        "replaced",
        "Another was put in its place, and it goes on working for a grace.",
        "Have all senders use the new one before the grace is over.",
        &["key.rotate"],
    ),
    ("expired", "Its time is over.", "`talaia keys rotate NAME`.", &["key-expired"]),
    ("revoked", "Somebody ended it.", "`talaia keys create NAME` makes another.", &["key-revoked"]),
];

/// What became of what was accepted.
const DIFFS: &[Row] = &[
    ("passes", "All values would be accepted.", "", &[]),
    (
        "refused",
        "Some values would be refused by the contract as it is now.",
        "The line below says why, with one of them. Loosen the declaration, or have the plugin print otherwise first.",
        &["value-type", "value-range", "undeclared"],
    ),
    (
        "missing",
        "The metric is declared as `required`, and was not there, or not in every report.",
        "Take `required` out, or have the plugin print it each time.",
        &["required-missing"],
    ),
    (
        "never there",
        "The metric is declared and never came.",
        "Correct its name, or take it out.",
        &[],
    ),
];

/// How plugins stand in `talaia status`.
const PLUGINS: &[Row] = &[
    ("ready", "The plugin runs at its times.", "", &[]),
    ("disabled", "Its configuration says `enabled = false`.", "`talaia plugin enable NAME`.", &[]),
    (
        "skipped",
        "Its `when` does not hold on this host, or its package is not for this system: it is not run here, on purpose.",
        "`talaia plugin show NAME` says which condition.",
        &[],
    ),
    (
        "broken",
        "The plugin cannot run as things are: no such program, not executable, no interpreter, a secret that is not there, not trusted. The others run.",
        "The words behind it say what to do; `talaia check` says them for all plugins. Then `talaia reload`.",
        &["not_started"],
    ),
    (
        "crash_loop",
        "A plugin of mode `stream` ended three times in a row without living for a minute. It is started again all the same, after a pause that grows.",
        "How it ended last and its last lines on stderr stand beside it; `talaia test NAME` runs it here.",
        &["backing_off", "restart"],
    ),
    (
        "backing_off",
        "A plugin of mode `stream` ended, and is started again after a pause.",
        "If it happens again and again, see what it says on stderr.",
        &["crash_loop", "restart"],
    ),
    (
        "built-in",
        "The agent's own plugin `talaia`, by which it reports on itself.",
        "`[agent] self_metrics = false` switches it off.",
        &[],
    ),
    (
        "gone",
        "The plugin is no longer in the configuration; what it did is still counted.",
        "",
        &[],
    ),
];

/// How outputs stand in `talaia status`.
const OUTPUTS: &[Row] = &[
    ("ok", "The last upload was taken.", "", &[]),
    (
        "retry",
        "The destination cannot be reached, or cannot do it now. It is tried again after pauses that grow to five minutes; reports wait in the spool.",
        "Usually nothing. The words behind it say what failed.",
        &["hold", "quota"],
    ),
    (
        "hold",
        "A person is needed: the key is not taken, the address is wrong, the answer is no hub's. Reports are kept and tried slowly.",
        "The words behind it say what to mend; then `talaia reload`.",
        &["key-unknown", "key-revoked", "retry"],
    ),
    (
        "removed",
        "The output is no longer in the configuration; what it took is still counted.",
        "",
        &["output_removed"],
    ),
];

/// What a command ends with.
const EXITS: &[Row] = &[
    ("0", "All well.", "", &[]),
    (
        "1",
        "The command worked, and found something wrong with what it looked at: a record that was refused, a run that failed, a configuration that is not going to work.",
        "What was found is on stdout, or on stderr with a hint.",
        &[],
    ),
    (
        "2",
        "The command line makes no sense, or names what there is not.",
        "`talaia COMMAND --help`, or `talaia man COMMAND`.",
        &[],
    ),
    ("65", "The input cannot be read: no such file, or not in the format that was named.", "", &[]),
    (
        "69",
        "Nobody answers: no agent at its socket, no hub at its address.",
        "Is it running, with the same --config, and as the same user? `talaia status` and `talaia check --online` say more.",
        &["retry"],
    ),
    (
        "70",
        "A defect of the program, or an answer of another version that it cannot read.",
        "Please report it, with what was typed.",
        &[],
    ),
    (
        "74",
        "The disk does not do what it should, or another agent has the data folder locked.",
        "The message names the file. Where it is the lock, it names the other agent's process.",
        &["disk_full", "damaged"],
    ),
    (
        "78",
        "The configuration does not load. Everything that is wrong with it is shown at once, each with its line. A command that edits it leaves it as it was.",
        "`talaia check` says the same, and 0 when it is mended.",
        &[],
    ),
];
