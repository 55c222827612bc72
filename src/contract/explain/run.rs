//! How runs and reports fare: warnings, outcomes, what was lost and what was refused.

use super::{Kind, Page, Prints};
use crate::model::{Evicted, OutcomeKind, RefusedCode, WarningCode};

pub(super) fn pages() -> impl Iterator<Item = Page> {
    let warnings = WarningCode::ALL.iter().map(|code| warning(*code));
    let outcomes = OutcomeKind::ALL.iter().map(|kind| outcome(*kind));
    let evictions = Evicted::ALL.iter().map(|reason| eviction(*reason));
    let refusals = RefusedCode::ALL.iter().map(|code| refusal(*code));
    warnings.chain(outcomes).chain(evictions).chain(refusals)
}

fn warning(code: WarningCode) -> Page {
    use WarningCode as W;
    let (meaning, fix, see): (_, _, &[&str]) = match code {
        W::StdoutCut => (
            "The run printed more than is read of one (1 MiB, or `limits.stdout`). What came first was read; the rest was counted and thrown away, so that a plugin that runs wild cannot fill memory.",
            "Print less, or raise `limits = { stdout = \"4MiB\" }`.",
            &["truncated", "flooded"],
        ),
        W::LineCut => (
            "A line of a plugin that lives on was longer than is read of one (64 KiB, with `trigger` 1 MiB). The rest of it was thrown away.",
            "Print shorter lines, one for each record, or raise `limits = { line = \"1MiB\" }`.",
            &["truncated"],
        ),
        W::Late => (
            "The run started long after it was due: as many runs were live as `concurrency` and `max_running` allow, so it waited for a place. Nothing is lost by it but time.",
            "See with `talaia status` what takes so long; shorten timeouts, or raise the two limits of `[agent]`.",
            &["timed_out"],
        ),
        W::Limit => (
            "The plugin ran into a limit of the system that its configuration sets: memory, processes, open files, file size or processor time. The rest of the line says which.",
            "Raise it in `limits` of the plugin, or have the plugin use less.",
            &["signaled"],
        ),
        W::Unasked => (
            "A plugin with `trigger = \"tick\"` printed lines that answer no tick: before the first, after its answer, or more than one line for a tick. They are reported by themselves and never taken for the next answer.",
            "Answer each tick with exactly one line, and print diagnostics to stderr.",
            &["unread"],
        ),
        W::Unread => (
            "A plugin with `trigger = \"tick\"` prints without reading the ticks on its standard input, so its answers belong to no tick.",
            "Read one line of standard input, then print one line, and so on; or leave `trigger` out, and print when you like.",
            &["unasked"],
        ),
        W::Silent => (
            "A plugin that lives on has run for long and printed nothing. Nearly always its output waits in a buffer: a program whose stdout is no terminal writes when some kilobytes are together.",
            "Flush after each line. In Python: print(…, flush=True) or PYTHONUNBUFFERED=1; in C: setvbuf; in awk: fflush(); for others: `stdbuf -oL PROGRAM`.",
            &["restart"],
        ),
        W::Restart => (
            "A plugin of mode `stream` ended, and is started again: at once when it had lived for a minute, else after a pause that grows.",
            "Such a plugin ends only when its standard input does. The report's outcome and stderr say why it ended.",
            &["crash_loop", "backing_off"],
        ),
        W::QuarantineFull => (
            "More records of one run were refused than the quarantine takes of it: 1 000 records and 1 MiB. All are counted, the first are kept.",
            "Mend what is refused: the first ones usually say it all. `talaia quarantine ls` lists them.",
            &["quarantine-cut", "rejections-cut"],
        ),
        W::QuarantineCut => (
            "More was refused within a minute than is kept of a plugin in a minute: 4 MiB. The rest is counted, so that a plugin that prints rubbish without end fills no disk.",
            "Mend what is refused: `talaia quarantine ls`.",
            &["quarantine-full", "rejections-cut"],
        ),
        W::RejectionsCut => (
            "More than 1 000 records of the plugin were refused within a minute. The rest is counted by its code and not told one by one.",
            "Mend what is refused: the first ones usually say it all.",
            &["quarantine-cut"],
        ),
        W::RequiredMissing => (
            "A metric that the plugin declares as `required` was not in the run. What came is kept.",
            "Print it in each run, null where there is nothing to see; or take `required` out of its declaration.",
            &["series-unsteady"],
        ),
        W::StatusUnknown => (
            "A document's `status` is none of ok, warning, critical and unknown, and counts as unknown.",
            "Write one of the four words.",
            &["failed"],
        ),
        W::MessageInvalid => (
            "A document's `message` is no text, and was left out.",
            "Print a string.",
            &["message-cut"],
        ),
        W::MessageCut => (
            "The messages of a run have more than 4096 bytes together, and were cut there.",
            "One sentence says more; details belong on stderr.",
            &["message-invalid"],
        ),
        W::KeyUnknown => (
            "A metric object or a document has a key that means nothing there, often a slip in writing. It is left out, the rest is kept.",
            "Correct it to the key that was meant, or leave it out; what tells series apart belongs into `tags`.",
            &["key-as-metric"],
        ),
        W::TypeDiffers => (
            "A metric states another type than is declared for it. The declared one counts.",
            "Print the declared type, or none; or change the declaration.",
            &["value-type"],
        ),
        W::UnitDiffers => (
            "A metric comes in another unit than is declared for it. The declared one counts, and nothing is converted.",
            "Print the declared unit, or none; or change the declaration.",
            &["unit-varies"],
        ),
        W::TypeChanged => (
            "A metric that is not declared had another type before: a text where a number was, say. Charts of it break there.",
            "Declare its type; then what does not fit is refused. Print null for a gap.",
            &["type-flips"],
        ),
        W::DocumentTags => (
            "The `tags` of a document cannot be used, so all of its records are refused, each with `tag-invalid`.",
            "Print an object of strings: {\"tags\": {\"disk\": \"sda\"}}.",
            &["tag-invalid"],
        ),
        W::DocumentTime => (
            "The `time` of a document cannot be used, so its records without a time of their own are refused.",
            "Print `date +%s`, or leave it out.",
            &["time-invalid", "time-future"],
        ),
        W::MoreWarnings => (
            "A run had more than 50 different warnings; the rest is counted.",
            "Mend the first ones: they usually say it all.",
            &[],
        ),
        W::EmitRefused => (
            "`talaia emit` was given something that it does not print: an empty variable, a name that is none, a number with a unit behind it. Nothing of that call was printed, and the script went on.",
            "The rest of the line is its own words, with what to type. `--gaps` prints null for empty values; `talaia emit … || exit` ends the script.",
            &["command-missing"],
        ),
        W::StderrOnly => (
            "The run printed nothing on stdout, and what looks like its records on stderr. Records are read from stdout alone; stderr is for people.",
            "Print them without `>&2`, in Python without `file=sys.stderr`.",
            &["empty", "not-json"],
        ),
        W::CommandMissing => (
            "The plugin called a command that its `PATH` does not have. A plugin does not have your shell's: it has /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin, unless the configuration says otherwise.",
            "Install the command, write its full path, or set `env = { PATH = \"…\" }` or `[agent] path`. Where it may be missing, say so in the script: `command -v NAME >/dev/null || …`. `talaia test --as-service` names commands that only your shell finds.",
            &["module-missing", "failed"],
        ),
        W::ModuleMissing => (
            "The plugin's interpreter does not have a library that it asks for. What you installed for yourself, or in a virtual environment, is not there for the service.",
            "Install it for all users, by the system's packages; or have the first line name the interpreter that has it, such as #!/opt/venv/bin/python3.",
            &["command-missing"],
        ),
        W::SudoPassword => (
            "`sudo` asked for a password. A plugin has no terminal, and nobody is there to type one.",
            "Let the agent's user run that one command without: in /etc/sudoers.d, `talaia ALL=(root) NOPASSWD: /usr/sbin/smartctl -H *`, and call `sudo -n`. Or run the plugin as another user: `user = \"…\"`, which takes an agent that is root.",
            &["permission-denied"],
        ),
        W::PermissionDenied => (
            "The plugin's user may not read or do something, and the run failed or printed nothing. By hand it worked because you are somebody else.",
            "Give that user the right, by a group as a rule (adm for logs, docker, disk); or run the plugin as a user that has it: `user = \"…\"`. `talaia test --as-service` says who that is.",
            &["sudo-password"],
        ),
        W::DosLines => (
            "The script has carriage returns at the ends of its lines, as editors on Windows write them, and the shell takes them for a part of each command.",
            "sed -i 's/\\r$//' FILE, and have the editor or git keep it so.",
            &["command-missing"],
        ),
        W::DecimalComma => (
            "A tool such as `printf` met a number with a decimal comma, and took half of it. Some program on the way prints as the language at hand has it.",
            "Set `LC_ALL=C` before the program that prints the number.",
            &["json-syntax", "number-in-text"],
        ),
        W::NeverEnds => (
            "The run had printed records when its deadline came, and had not ended. A plugin is run once for each interval; it prints and ends.",
            "Take out the loop, or give up on what does not answer; for a program that is meant to live on, set `mode = \"stream\"`.",
            &["timed_out", "silent"],
        ),
        W::Waits => (
            "The run had printed nothing when its deadline came. It waits for something: input, a password, a terminal, an answer that is slow; or what it printed was still in a buffer.",
            "Read nothing from a terminal; give up on what does not answer; flush, or raise `timeout`.",
            &["timed_out", "sudo-password"],
        ),
    };
    let mut page = Page::told(Kind::Warning, code.as_str(), meaning, fix, see);
    if code == W::Unasked {
        page.wrong = Some(Prints::Text("ready\n{\"queue\": 3}"));
        page.right = Some(Prints::Text("{\"queue\": 3}"));
    }
    page
}

fn outcome(kind: OutcomeKind) -> Page {
    use OutcomeKind as O;
    let (meaning, fix, see): (_, _, &[&str]) = match kind {
        O::Exited => (
            "The program ended by itself; `code` is its exit code. With 0 the run is as good as what it printed says. With any other code of a plugin that prints JSON nothing is known of what it looked at, and its status is `unknown` unless it printed one.",
            "Exit with 0 when the looking worked, also when what was found is bad: that is what `status` is for.",
            &["failed"],
        ),
        O::Signaled => (
            "A signal that the agent did not send ended the program: a crash (11, SIGSEGV; 6, SIGABRT), the system short of memory (9), a limit (24, SIGXCPU; 25, SIGXFSZ), or a person.",
            "The report's stderr, its warnings and the system's log say more.",
            &["limit", "timed_out"],
        ),
        O::TimedOut => (
            "The program was still running at its deadline, and was ended with all that it had started: by TERM, and `grace` later by KILL. What it had printed is kept.",
            "Have it give up on what does not answer, or raise `timeout`, which may not be longer than the interval for long.",
            &["truncated", "late"],
        ),
        O::Flooded => (
            "The program printed more than eight times what is read of it, and was ended: it would have gone on.",
            "Print less. Of a program in a loop the report's stderr shows the last lines.",
            &["stdout-cut"],
        ),
        O::NotStarted => (
            "The program never ran: it is not there, may not be executed, its interpreter is missing, it is not trusted, or its user does not exist. `error` says which.",
            "`talaia check` says the same of all plugins, with what to type.",
            &["no start", "broken"],
        ),
        O::Stopped => (
            "The agent was stopping, or reloading without this plugin, while it ran. What it had printed is kept.",
            "",
            &[],
        ),
        O::Answered => (
            "A plugin that lives on answered a tick, or this is a slice of what it printed by itself. It goes on running.",
            "",
            &["unasked"],
        ),
    };
    Page::told(Kind::Outcome, kind.as_str(), meaning, fix, see)
}

fn eviction(reason: Evicted) -> Page {
    use Evicted as E;
    let (meaning, fix, see): (_, _, &[&str]) = match reason {
        E::Quota => (
            "The spool was over its quota (256 MiB, or `[agent.spool] quota`), and the oldest reports went first. The output had not had them: it was away for longer than the spool lasts.",
            "Mend the output (`talaia status` says what is wrong), or raise the quota.",
            &["hold", "retry"],
        ),
        E::Age => (
            "The reports were older than `[agent.spool] max_age` and no output had them. Without that setting nothing is dropped for its age.",
            "Mend the output, or raise `max_age`.",
            &["quota"],
        ),
        E::DiskFull => (
            "The disk had less free space than is left to others (256 MiB, or `[agent.spool] min_free`), and the oldest reports made room.",
            "Make room on the disk, or lower `min_free`.",
            &["quota"],
        ),
        E::Damaged => (
            "The disk gave the reports back changed, or the spool's file was damaged and moved aside. What could be read was kept.",
            "Look at the disk. The file that was moved aside is beside the spool; `talaia spool verify` checks the present one.",
            &["74"],
        ),
        E::Refused => (
            "The destination said that it will never take the report. It is in quarantine, with the destination's words.",
            "`talaia quarantine ls` shows them, and `talaia quarantine replay` sends them again when the cause is gone.",
            &["plugin-key", "monitor-suspended", "too-large"],
        ),
        E::OutputRemoved => (
            "The output was taken out of the configuration before it had the records.",
            "To wait for it, leave the output in until `talaia spool status` says that nothing waits.",
            &["removed"],
        ),
    };
    Page::told(Kind::Eviction, reason.as_str(), meaning, fix, see)
}

fn refusal(code: RefusedCode) -> Page {
    use RefusedCode as R;
    let (meaning, fix, see): (_, _, &[&str]) = match code {
        R::PluginKey => (
            "The report says that it is of a registered plugin, and its `key` is not registered with this hub, was revoked, or is another plugin's. Reports under a name that is somebody's are not taken from others.",
            "Register the plugin with this hub (`talaia keys create --plugin NAME`) and write its key into the configuration, or take `key` out of it; then `talaia quarantine replay`.",
            &["key-unknown"],
        ),
        R::MonitorSuspended => (
            "Somebody suspended the plugin's monitor in the hub. While it is, its reports are refused rather than lost without a word.",
            "`talaia monitor activate ID`, then `talaia quarantine replay`.",
            &["monitor.suspend"],
        ),
        R::TooLarge => (
            "The report alone is larger than the destination takes (413), though it was sent by itself.",
            "Print fewer metrics in a run, or raise the limit of the proxy before the hub; then `talaia quarantine replay`.",
            &["too-many-metrics"],
        ),
        R::Refused => (
            "A destination that is no hub of ours answered 400 or 422 to this report by itself, while it took others.",
            "Its own words are in the quarantine: `talaia quarantine show ID`.",
            &["hold"],
        ),
    };
    Page::told(Kind::Refusal, code.as_str(), meaning, fix, see)
}
