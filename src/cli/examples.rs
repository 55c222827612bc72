//! Examples of commands, for `--help` and the manual. A test sees that each can be typed.

/// A command line, and what it is for.
type Example = (&'static str, &'static str);

/// The words after `talaia`, and examples of that command.
pub(crate) const EXAMPLES: &[(&str, &[Example])] = &[
    (
        "run",
        &[
            ("talaia run ./hello.sh --every 5s", "One script, without any configuration"),
            ("talaia run --config /etc/talaia/talaia.toml", "All that a configuration says"),
            (
                "talaia run --sandbox",
                "The same beside production, with a spool, a hub and keys of its own",
            ),
        ],
    ),
    (
        "test",
        &[
            ("talaia test disk", "A plugin of the config, as the agent would run it"),
            ("talaia test ./disk.sh -- /home", "A script with an argument"),
            ("talaia test ./disk.sh --watch", "While it is written: again at each change"),
            ("talaia test disk --as-service", "Why it works by hand and not in the service"),
            ("talaia test disk --times 3 --strict", "For a build: warnings and advice fail it"),
            ("talaia test disk --json --times 3", "For a program to read"),
        ],
    ),
    ("trigger", &[("talaia trigger disk", "Do not wait for the next interval")]),
    (
        "decode",
        &[
            ("talaia decode output.json", "What would become of this output?"),
            ("talaia decode --exit-code 2 output.json", "The same of a run that ended with 2"),
        ],
    ),
    (
        "check",
        &[
            ("talaia check", "Everything that is wrong with the config, at once"),
            ("talaia check --online", "Also whether the outputs would take an upload"),
        ],
    ),
    (
        "new",
        &[("talaia new hello", "In the shell"), ("talaia new hello --lang python", "In Python")],
    ),
    (
        "plugin add",
        &[
            ("talaia plugin add ./disk.sh --interval 30s", "A script, every 30 seconds"),
            (
                "talaia plugin add ./disk.sh --name home --tag mount=/home -- /home",
                "With a name, a tag and an argument",
            ),
            (
                "talaia plugin add ./backup.py --cron '15 4 * * *' --user backup",
                "By the calendar, as another user",
            ),
        ],
    ),
    ("plugin remove", &[("talaia plugin remove disk", "The program itself stays")]),
    (
        "plugin enable",
        &[("talaia plugin enable disk", "Where it was disabled, or `enabled = false`")],
    ),
    (
        "plugin disable",
        &[("talaia plugin disable disk", "It stays in the config, and does not run")],
    ),
    (
        "plugin show",
        &[("talaia plugin show disk", "What is run, as whom, with which environment, and why")],
    ),
    (
        "plugin install",
        &[
            ("talaia plugin install netstat", "From the registry of the hub"),
            ("talaia plugin install ./netstat", "From a folder"),
        ],
    ),
    (
        "emit",
        &[
            ("talaia emit users=3 load=0.42", "Types are told from the values"),
            ("talaia emit used=71.2 --type percent --tag mount=/", "A type, and a tag"),
            ("talaia emit used:percent=71.2 sent:counter=81726", "A type for each"),
            (
                "talaia emit --status critical --message 'no backup since Monday' age=93600",
                "A verdict",
            ),
            ("talaia emit -", "Lines `NAME VALUE` of standard input, such as awk prints"),
        ],
    ),
    (
        "schema infer",
        &[
            ("talaia schema infer ./disk.sh", "What ten runs of it have in common"),
            ("talaia schema infer disk --for package", "For its talaia-plugin.toml"),
        ],
    ),
    (
        "schema diff",
        &[
            ("talaia schema diff disk", "The last week, as the hub has it"),
            ("talaia schema diff disk reports.ndjson", "What an output of type `file` wrote"),
        ],
    ),
    ("schema print", &[("talaia schema print config", "For an editor that checks the config")]),
    (
        "explain",
        &[("talaia explain name-hyphen", "Why a record was refused, and what to print instead")],
    ),
    (
        "status",
        &[
            ("talaia status disk", "All that is known of one plugin"),
            ("talaia status --json", "For a script"),
            ("talaia status --check", "Does anything need a person? For cron, or Nagios"),
        ],
    ),
    (
        "top",
        &[
            ("talaia top", "`?` shows the keys, `q` quits"),
            ("talaia top --once", "The same as text, once"),
        ],
    ),
    ("spool ls", &[("talaia spool ls --plugin disk", "What waits of one plugin")]),
    ("quarantine ls", &[("talaia quarantine ls --since 2h", "What was refused lately")]),
    (
        "quarantine replay",
        &[("talaia quarantine replay --plugin disk", "After its contract was mended")],
    ),
    (
        "keys create",
        &[
            ("talaia keys create web-1", "A key that may send reports"),
            ("talaia keys create ci --scope read --expires 90d", "One that may read, for a while"),
        ],
    ),
    (
        "monitor create",
        &[(
            "talaia monitor create backup --metric age:Age:s:integer",
            "A place for results that a script posts",
        )],
    ),
    ("monitor add-result", &[("talaia monitor add-result backup age=93600", "Post one")]),
    ("monitor results", &[("talaia monitor results backup --format csv", "Read them back")]),
    (
        "completions",
        &[
            (
                "talaia completions bash",
                "To be read by the shell: eval \"$(talaia completions bash)\" in ~/.bashrc",
            ),
            (
                "talaia completions zsh",
                "The same in ~/.zshrc, after `compinit`; or as the file _talaia of a folder of fpath",
            ),
            (
                "talaia completions fish",
                "In ~/.config/fish/config.fish: talaia completions fish | source",
            ),
        ],
    ),
    (
        "man",
        &[
            ("talaia man plugin add", "The page of one command"),
            ("talaia man --dir man1", "All pages as files, for a package"),
        ],
    ),
];

/// The examples of one command.
pub(crate) fn of(command: &str) -> &'static [Example] {
    EXAMPLES.iter().find(|(name, _)| *name == command).map_or(&[], |(_, examples)| examples)
}

/// The same as the end of its `--help`.
pub(crate) fn help(command: &str) -> Option<String> {
    let examples = of(command);
    let lines = examples.iter().map(|(line, what)| format!("  {line}\n      {what}\n"));
    (!examples.is_empty()).then(|| format!("Examples:\n{}", lines.collect::<String>().trim_end()))
}
