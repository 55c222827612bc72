//! What a report warns of. Both examples are true: tests run them as `talaia test` and the agent do.

use super::{Kind, NO_ANSWER, Page, Prints, Shown, pair, pair_with, runs};
use crate::model::WarningCode;

pub(super) fn pages() -> impl Iterator<Item = Page> {
    WarningCode::ALL.iter().map(|code| warning(*code))
}

fn warning(code: WarningCode) -> Page {
    use WarningCode as W;
    let (meaning, shown, fix, see): (_, _, _, &[&str]) = match code {
        W::StdoutCut => (
            "The run printed more than is read of one (1 MiB, or `limits.stdout`). What came first was read; the rest was counted and thrown away, so that a plugin that runs wild cannot fill memory.",
            pair_with(
                r#"limits = { stdout = "1KiB" }"#,
                r#"#!/bin/sh
seq -f '{"line_%g": 1}' 100"#,
                r#"#!/bin/sh
seq -f '{"line_%g": 1}' 10"#,
            ),
            "Print less, or raise `limits = { stdout = \"4MiB\" }`.",
            &["truncated", "flooded"],
        ),
        W::LineCut => (
            "A line of a plugin that lives on was longer than is read of one (64 KiB, with `trigger` 1 MiB). The rest of it was thrown away.",
            pair_with(
                r#"mode = "stream"
limits = { line = "1KiB" }"#,
                r#"#!/bin/sh
printf '{"note": "%02000d"}\n' 7
read -r end"#,
                r#"#!/bin/sh
printf '{"note": "%0200d"}\n' 7
read -r end"#,
            ),
            "Print shorter lines, one for each record, or raise `limits = { line = \"1MiB\" }`.",
            &["truncated"],
        ),
        W::Late => (
            "The run started long after it was due: as many runs were live as `concurrency` and `max_running` allow, so it waited for a place. Nothing is lost by it but time.",
            pair(
                r#"[agent]
max_running = 1

[plugins.backup]
command = ["sleep", "5"]

[plugins.disk]
command = ["./disk.sh"]
interval = "1s""#,
                r#"[agent]
max_running = 8

[plugins.backup]
command = ["sleep", "5"]

[plugins.disk]
command = ["./disk.sh"]
interval = "1s""#,
            ),
            "See with `talaia status` what takes so long; shorten timeouts, or raise the two limits of `[agent]`.",
            &["timed_out"],
        ),
        W::Limit => (
            "The plugin ran into a limit of the system that its configuration sets: memory, processes, open files, file size or processor time. The rest of the line says which.",
            pair_with(
                r#"limits = { file_size = "64KiB" }"#,
                r#"#!/bin/sh
echo '{"message": "copying", "metrics": []}'
exec head -c 100000 /dev/zero > "$TALAIA_STATE_DIR/copy""#,
                r#"#!/bin/sh
echo '{"message": "copying", "metrics": []}'
exec head -c 10000 /dev/zero > "$TALAIA_STATE_DIR/copy""#,
            ),
            "Raise it in `limits` of the plugin, or have the plugin use less.",
            &["signaled"],
        ),
        W::Unasked => (
            "A plugin with `trigger = \"tick\"` printed lines that answer no tick: before the first, after its answer, or more than one line for a tick. They are reported by themselves and never taken for the next answer.",
            pair_with(
                r#"mode = "stream"
trigger = "tick""#,
                r#"#!/bin/sh
while read -r tick; do
  echo '{"queue": 3}'
  echo '{"users": 1}'
done"#,
                r#"#!/bin/sh
while read -r tick; do
  echo '{"queue": 3, "users": 1}'
done"#,
            ),
            "Answer each tick with exactly one line, and print diagnostics to stderr.",
            &["unread"],
        ),
        W::Unread => (
            "A plugin with `trigger = \"tick\"` prints without reading the ticks on its standard input, so its answers belong to no tick.",
            pair_with(
                r#"mode = "stream"
trigger = "tick""#,
                r#"#!/bin/sh
while sleep 1; do echo '{"queue": 3}'; done"#,
                r#"#!/bin/sh
while read -r tick; do echo '{"queue": 3}'; done"#,
            ),
            "Read one line of standard input, then print one line, and so on; or leave `trigger` out, and print when you like.",
            &["unasked"],
        ),
        W::Silent => (
            "A plugin that lives on has run for long and printed nothing. Nearly always its output waits in a buffer: a program whose stdout is no terminal writes when some kilobytes are together.",
            pair_with(
                r#"mode = "stream""#,
                r#"#!/bin/sh
while sleep 1; do echo 3; done |
  sed 's/.*/{"queue": &}/'"#,
                r#"#!/bin/sh
until timeout 1 cat > /dev/null; do echo 3; done |
  sed -u 's/.*/{"queue": &}/'"#,
            ),
            "Flush after each line. In Python: print(…, flush=True) or PYTHONUNBUFFERED=1; in C: setvbuf; in awk: fflush(); here, `sed -u`; for others, `stdbuf -oL PROGRAM`.",
            &["restart"],
        ),
        W::Restart => (
            "A plugin of mode `stream` ended, and is started again: at once when it had lived for a minute, else after a pause that grows.",
            pair_with(
                r#"mode = "stream""#,
                r#"#!/bin/sh
echo '{"queue": 3}'"#,
                r#"#!/bin/sh
until timeout 1 cat > /dev/null; do echo '{"queue": 3}'; done"#,
            ),
            "Such a plugin ends when its standard input does, for which `timeout 1 cat` waits a second at a time; what does not look at it is ended by TERM after `grace`. The report's outcome and stderr say why it ended.",
            &["crash_loop", "backing_off"],
        ),
        W::QuarantineFull => (
            "More records of one run were refused than the quarantine takes of it: 1 000 records and 1 MiB. All are counted, the first are kept.",
            pair(
                r#"#!/bin/sh
seq -f '{"disk-%g": 1}' 1001"#,
                r#"#!/bin/sh
seq -f '{"disk_%g": 1}' 1001"#,
            ),
            "Mend what is refused: the first ones usually say it all. `talaia quarantine ls` lists them.",
            &["quarantine-cut", "rejections-cut"],
        ),
        W::QuarantineCut => (
            "More was refused within a minute than is kept of a plugin in a minute: 4 MiB. The rest is counted, so that a plugin that prints rubbish without end fills no disk.",
            pair_with(
                r#"interval = "500ms""#,
                r#"#!/bin/sh
note=$(printf %0900d 0)
seq -f "{\"disk-%g\": \"$note\"}" 1000"#,
                r#"#!/bin/sh
seq -f '{"disk_%g": 1}' 1000"#,
            ),
            "Mend what is refused: `talaia quarantine ls`.",
            &["quarantine-full", "rejections-cut"],
        ),
        W::RejectionsCut => (
            "More than 1 000 records of the plugin were refused within a minute. The rest is counted by its code and not told one by one.",
            pair_with(
                r#"interval = "500ms""#,
                r#"#!/bin/sh
seq -f '{"disk-%g": 1}' 100"#,
                r#"#!/bin/sh
seq -f '{"disk_%g": 1}' 100"#,
            ),
            "Mend what is refused: the first ones usually say it all.",
            &["quarantine-cut"],
        ),
        W::RequiredMissing => (
            "A metric that the plugin declares as `required` was not in the run. What came is kept.",
            pair_with(
                r#"[metrics.users]
type = "integer"
required = true"#,
                r#"{"load1": 0.5}"#,
                r#"{"load1": 0.5, "users": null}"#,
            ),
            "Print it in each run, null where there is nothing to see; or take `required` out of its declaration.",
            &["series-unsteady"],
        ),
        W::StatusUnknown => (
            "A document's `status` is none of ok, warning, critical and unknown, and counts as unknown.",
            pair(
                r#"{"status": "down", "metrics": []}"#,
                r#"{"status": "critical", "metrics": []}"#,
            ),
            "Write one of the four words.",
            &["failed"],
        ),
        W::MessageInvalid => (
            "A document's `message` is no text, and was left out.",
            pair(
                r#"{"status": "warning", "message": 3, "metrics": []}"#,
                r#"{"status": "warning", "message": "3 disks", "metrics": []}"#,
            ),
            "Print a string.",
            &["message-cut"],
        ),
        W::MessageCut => (
            "The messages of a run have more than 4096 bytes together, and were cut there.",
            Shown::Pair(
                None,
                Prints::Many {
                    before: r#"{"message": ""#,
                    unit: "disk # full, ",
                    times: 400,
                    after: r#"", "metrics": []}"#,
                },
                Prints::Text(r#"{"message": "400 disks are full", "metrics": []}"#),
            ),
            "One sentence says more; details belong on stderr.",
            &["message-invalid"],
        ),
        W::KeyUnknown => (
            "A metric object or a document has a key that means nothing there, often a slip in writing. It is left out, the rest is kept.",
            pair(
                r#"[{"name": "disk_used", "value": 3, "units": "GB"}]"#,
                r#"[{"name": "disk_used", "value": 3, "unit": "GB"}]"#,
            ),
            "Correct it to the key that was meant, or leave it out; what tells series apart belongs into `tags`.",
            &["key-as-metric"],
        ),
        W::TypeDiffers => (
            "A metric states another type than is declared for it. The declared one counts.",
            pair_with(
                r#"[metrics.disk_used]
type = "percent""#,
                r#"[{"name": "disk_used", "value": 71, "type": "integer"}]"#,
                r#"[{"name": "disk_used", "value": 71}]"#,
            ),
            "Print the declared type, or none; or change the declaration.",
            &["value-type"],
        ),
        W::UnitDiffers => (
            "A metric comes in another unit than is declared for it. The declared one counts, and nothing is converted.",
            pair_with(
                r#"[metrics.wait]
type = "float"
unit = "s""#,
                r#"[{"name": "wait", "value": 300, "unit": "ms"}]"#,
                r#"[{"name": "wait", "value": 0.3, "unit": "s"}]"#,
            ),
            "Print the declared unit, or none; or change the declaration.",
            &["unit-varies"],
        ),
        W::TypeChanged => (
            "A metric that is not declared had another type before: a text where a number was, say. Charts of it break there.",
            runs(
                &[r#"{"load1": 0.5}"#, r#"{"load1": "n/a"}"#],
                &[r#"{"load1": 0.5}"#, r#"{"load1": null}"#],
            ),
            "Declare its type; then what does not fit is refused. Print null for a gap.",
            &["type-flips"],
        ),
        W::DocumentTags => (
            "The `tags` of a document cannot be used, so all of its records are refused, each with `tag-invalid`.",
            pair(
                r#"{"tags": ["sda"], "metrics": [{"name": "disk_used", "value": 3}]}"#,
                r#"{"tags": {"disk": "sda"}, "metrics": [{"name": "disk_used", "value": 3}]}"#,
            ),
            "Print an object of strings: {\"tags\": {\"disk\": \"sda\"}}.",
            &["tag-invalid"],
        ),
        W::DocumentTime => (
            "The `time` of a document cannot be used, so its records without a time of their own are refused.",
            pair(
                r#"{"time": "today", "metrics": [{"name": "users", "value": 3}]}"#,
                r#"{"time": 1763844130, "metrics": [{"name": "users", "value": 3}]}"#,
            ),
            "Print `date +%s`, or leave it out.",
            &["time-invalid", "time-future"],
        ),
        W::MoreWarnings => (
            "A run had more than 50 different warnings; the rest is counted.",
            Shown::Pair(
                None,
                Prints::Many {
                    before: "[",
                    unit: "{\"name\": \"disk_#\", \"value\": 1, \"of_#\": \"sda\"},\n ",
                    times: 51,
                    after: r#"{"name": "users", "value": 3}]"#,
                },
                Prints::Many {
                    before: "[",
                    unit: "{\"name\": \"disk_#\", \"value\": 1, \"tags\": {\"of\": \"sda\"}},\n ",
                    times: 51,
                    after: r#"{"name": "users", "value": 3}]"#,
                },
            ),
            "Mend the first ones: they usually say it all.",
            &[],
        ),
        W::EmitRefused => (
            "`talaia emit` was given something that it does not print: an empty variable, a name that is none, a number with a unit behind it. Nothing of that call was printed, and the script went on.",
            pair(
                r#"#!/bin/sh
free=$(sed -n 's/^MemFree: *//p' /proc/meminfo)   # 81726 kB
talaia emit free="$free""#,
                r#"#!/bin/sh
free=$(sed -n 's/^MemFree: *\([0-9]*\) kB/\1/p' /proc/meminfo)
talaia emit free="$free" --unit kB"#,
            ),
            "The rest of the line is its own words, with what to type. `--gaps` prints null for empty values; `talaia emit … || exit` ends the script.",
            &["command-missing"],
        ),
        W::StderrOnly => (
            "The run printed nothing on stdout, and what looks like its records on stderr. Records are read from stdout alone; stderr is for people.",
            pair(
                r#"#!/bin/sh
echo '{"users": 3}' >&2"#,
                r#"#!/bin/sh
echo '{"users": 3}'"#,
            ),
            "Print them without `>&2`, in Python without `file=sys.stderr`.",
            &["empty", "not-json"],
        ),
        W::CommandMissing => (
            "The plugin called a command that its `PATH` does not have. A plugin does not have your shell's: it has /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin, unless the configuration says otherwise.",
            pair(
                r#"#!/bin/sh
echo "{\"users\": $(count_users || echo null)}""#,
                r#"#!/bin/sh
echo "{\"users\": $(who | wc -l)}""#,
            ),
            "Install the command, write its full path, or set `env = { PATH = \"…\" }` or `[agent] path`. Where it may be missing, say so in the script: `command -v NAME >/dev/null || …`. `talaia test --as-service` names commands that only your shell finds.",
            &["module-missing", "failed"],
        ),
        W::ModuleMissing => (
            "The plugin's interpreter does not have a library that it asks for. What you installed for yourself, or in a virtual environment, is not there for the service.",
            pair(
                "#!/usr/bin/env python3
import no_such_library
print(no_such_library.json({'users': 3}))",
                "#!/usr/bin/env python3
import json
print(json.dumps({'users': 3}))",
            ),
            "Install it for all users, by the system's packages; or have the first line name the interpreter that has it, such as #!/opt/venv/bin/python3.",
            &["command-missing"],
        ),
        W::SudoPassword => (
            "`sudo` asked for a password. A plugin has no terminal, and nobody is there to type one.",
            pair(
                r#"#!/bin/sh
jobs=$(sudo cat /var/lib/queue/jobs) || exit
echo "{\"jobs\": $jobs}""#,
                r#"#!/bin/sh
jobs=$(sudo -n cat /var/lib/queue/jobs) || exit
echo "{\"jobs\": $jobs}""#,
            ),
            "Let the agent's user run that one command without: in /etc/sudoers.d, `talaia ALL=(root) NOPASSWD: /usr/bin/cat /var/lib/queue/jobs`, and call `sudo -n`. Or run the plugin as another user: `user = \"…\"`, which takes an agent that is root. `sudo` gains nothing under no-new-privileges: set `no_new_privs = false` where the plugin has a `user`, `group` or limits, and `NoNewPrivileges=no` in a systemd unit.",
            &["permission-denied"],
        ),
        W::PermissionDenied => (
            "The plugin's user may not read or do something, and the run failed or printed nothing. By hand it worked because you are somebody else.",
            pair(
                r#"#!/bin/sh
cd "$TALAIA_STATE_DIR" || exit
echo 3 | install -m 000 /dev/stdin jobs   # as the queue leaves it
jobs=$(cat jobs) || exit
echo "{\"jobs\": $jobs}""#,
                r#"#!/bin/sh
cd "$TALAIA_STATE_DIR" || exit
echo 3 | install -m 440 /dev/stdin jobs   # its group may read it
jobs=$(cat jobs) || exit
echo "{\"jobs\": $jobs}""#,
            ),
            "Give that user the right, by a group as a rule (adm for logs, docker, disk); or run the plugin as a user that has it: `user = \"…\"`. `talaia test --as-service` says who that is. `sudo` gains nothing under no-new-privileges: set `no_new_privs = false` where the plugin has a `user`, `group` or limits, and `NoNewPrivileges=no` in a systemd unit.",
            &["sudo-password"],
        ),
        W::DosLines => (
            "The script has carriage returns at the ends of its lines, as editors on Windows write them, and the shell takes them for a part of each command.",
            Shown::Pair(
                None,
                Prints::Bytes(b"#!/bin/sh\nset -e\r\necho '{\"users\": 3}'\r\n"),
                Prints::Bytes(b"#!/bin/sh\nset -e\necho '{\"users\": 3}'\n"),
            ),
            "sed -i 's/\\r$//' FILE, and have the editor or git keep it so.",
            &["command-missing"],
        ),
        W::DecimalComma => (
            "A tool such as `printf` met a number with a decimal comma, and took half of it. Some program on the way prints as the language at hand has it.",
            pair(
                r#"#!/bin/sh
# Stands for a program that prints as the language at hand has it.
load() { [ "$LC_ALL" = C ] && echo 0.42 || echo 0,42; }
printf '{"load1": %.2f}\n' "$(load)""#,
                r#"#!/bin/sh
# Stands for a program that prints as the language at hand has it.
load() { [ "$LC_ALL" = C ] && echo 0.42 || echo 0,42; }
printf '{"load1": %.2f}\n' "$(LC_ALL=C load)""#,
            ),
            "Set `LC_ALL=C` before the program that prints the number.",
            &["json-syntax", "number-in-text"],
        ),
        W::NeverEnds => (
            "The run had printed records when its deadline came, and had not ended. A plugin is run once for each interval; it prints and ends.",
            pair_with(
                r#"timeout = "3s""#,
                r#"#!/bin/sh
while echo '{"users": 3}'; do sleep 0.2; done"#,
                r#"#!/bin/sh
echo '{"users": 3}'"#,
            ),
            "Take out the loop, or give up on what does not answer; for a program that is meant to live on, set `mode = \"stream\"`.",
            &["timed_out", "silent"],
        ),
        W::Waits => (
            "The run had printed nothing when its deadline came. It waits for something: input, a password, a terminal, an answer that is slow; or what it printed was still in a buffer.",
            NO_ANSWER,
            "Read nothing from a terminal; give up on what does not answer; flush, or raise `timeout`.",
            &["timed_out", "sudo-password"],
        ),
    };
    Page::told(Kind::Warning, code.as_str(), meaning, shown, fix, see)
}
