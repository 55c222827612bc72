//! What everybody does wrong first: each mistake is made, its message is read, what the message says is
//! done, and then it works.

use std::os::unix::fs::PermissionsExt;

use crate::support::{Site, installed, skip};

/// One of them.
struct Mistake {
    name: &'static str,
    /// What the program is before and after.
    wrong: &'static str,
    /// What must be said.
    says: &'static [&'static str],
    right: &'static str,
}

const fn mistake(
    name: &'static str,
    wrong: &'static str,
    says: &'static [&'static str],
    right: &'static str,
) -> Mistake {
    Mistake { name, wrong, says, right }
}

const SH: &[Mistake] = &[
    mistake(
        "debug prints on stdout",
        "#!/bin/sh\necho looking\necho '{\"users\": 3}'\n",
        &["not-json", "print diagnostics to stderr: `echo text >&2`"],
        "#!/bin/sh\necho looking >&2\necho '{\"users\": 3}'\n",
    ),
    mistake(
        "Windows line ends in what is printed",
        "#!/bin/sh\nx=$(printf 'a\\r')\necho \"{\\\"state\\\": \\\"$x\\\"}\"\n",
        &["json-syntax", "Windows line ends", "tr -d '\\r'"],
        "#!/bin/sh\nx=$(printf 'a\\r' | tr -d '\\r')\necho \"{\\\"state\\\": \\\"$x\\\"}\"\n",
    ),
    mistake(
        "Windows line ends in the first line",
        "#!/bin/sh\r\necho '{\"users\": 3}'\r\n",
        &["ends as on Windows", "sed -i 's/\\r$//'"],
        "#!/bin/sh\necho '{\"users\": 3}'\n",
    ),
    mistake(
        "a byte order mark before the first line",
        "\u{feff}#!/bin/sh\necho '{\"users\": 3}'\n",
        &["byte order mark", "save it as UTF-8 without one"],
        "#!/bin/sh\necho '{\"users\": 3}'\n",
    ),
    mistake(
        "NaN",
        "#!/bin/sh\necho '{\"ratio\": NaN}'\n",
        &["value-not-finite", "print `null` for a gap"],
        "#!/bin/sh\necho '{\"ratio\": null}'\n",
    ),
    mistake(
        "a trailing comma",
        "#!/bin/sh\necho '{\"users\": 3,}'\n",
        &["json-syntax", "remove the comma before `}`"],
        "#!/bin/sh\necho '{\"users\": 3}'\n",
    ),
    mistake(
        "single quotes",
        "#!/bin/sh\necho \"{'users': 3}\"\n",
        &["json-syntax", "use double quotes"],
        "#!/bin/sh\necho \"{\\\"users\\\": 3}\"\n",
    ),
    mistake(
        "an empty variable",
        "#!/bin/sh\necho \"{\\\"users\\\": $NONE}\"\n",
        &["json-syntax", "write `null` for a gap"],
        "#!/bin/sh\necho \"{\\\"users\\\": ${NONE:-null}}\"\n",
    ),
    mistake(
        "no first line",
        "echo '{\"users\": 3}'\n",
        &["has no `#!` line", "make its first line `#!/bin/sh`"],
        "#!/bin/sh\necho '{\"users\": 3}'\n",
    ),
    mistake(
        "an interpreter that is not on the service's PATH",
        "#!/usr/bin/env no-such-interpreter\n",
        &["needs `no-such-interpreter`, which is not in", "set `[agent] path`"],
        "#!/usr/bin/env sh\necho '{\"users\": 3}'\n",
    ),
    mistake(
        "an interpreter that is not there",
        "#!/opt/none/perl\n",
        &["needs `/opt/none/perl`, which is not installed", "correct the first line"],
        "#!/bin/sh\necho '{\"users\": 3}'\n",
    ),
    mistake(
        "a command that is not on the service's PATH",
        "#!/bin/sh\necho \"{\\\"users\\\": $(no-such-command || echo null)}\"\n",
        &["command-missing", "there is no command `no-such-command`", "write its full path"],
        "#!/bin/sh\necho \"{\\\"users\\\": $(/bin/echo 3)}\"\n",
    ),
    mistake(
        "a decimal comma",
        "#!/bin/sh\necho '{\"load\": 0,42}'\n",
        &["json-syntax", "a comma inside a number", "LC_ALL=C"],
        "#!/bin/sh\necho '{\"load\": 0.42}'\n",
    ),
    mistake(
        "a decimal comma in a text",
        "#!/bin/sh\necho '{\"load\": \"0,42\"}'\n",
        &["number-in-text", "print it without quotes: `0.42`"],
        "#!/bin/sh\necho '{\"load\": 0.42}'\n",
    ),
    mistake(
        "sudo asks for a password",
        "#!/bin/sh\necho 'sudo: a terminal is required to read the password' >&2\nexit 1\n",
        &["sudo-password", "NOPASSWD:", "`user`"],
        "#!/bin/sh\necho '{\"users\": 3}'\n",
    ),
    mistake(
        "a decimal comma on its way through printf",
        "#!/bin/sh\nprintf '{\"load\": %.2f}\\n' 0,42\n",
        &["decimal-comma", "LC_ALL=C"],
        "#!/bin/sh\nprintf '{\"load\": %.2f}\\n' 0.42\n",
    ),
    mistake(
        "a key of a metric among metrics",
        "#!/bin/sh\necho '{\"name\": \"users\", \"val\": 3}'\n",
        &["key-as-metric", "give it both"],
        "#!/bin/sh\necho '{\"name\": \"users\", \"value\": 3}'\n",
    ),
    mistake(
        "a name and a number",
        "#!/bin/sh\necho 'users: 3'\n",
        &["not-json", "print `{\"users\": 3}`"],
        "#!/bin/sh\necho '{\"users\": 3}'\n",
    ),
    mistake(
        "what Nagios reads",
        "#!/bin/sh\necho 'OK - all well | users=3'\n",
        &["not-json", "Nagios plugins print"],
        "#!/bin/sh\necho '{\"users\": 3}'\n",
    ),
    mistake(
        "an empty variable for emit",
        "#!/bin/sh\ntalaia() { \"$TALAIA_PROGRAM\" \"$@\"; }\ntalaia emit a=\"$NONE\"\ntalaia emit b=1\n",
        &["emit-refused", "is a variable unset?"],
        "#!/bin/sh\ntalaia() { \"$TALAIA_PROGRAM\" \"$@\"; }\ntalaia emit a=\"${NONE:-null}\"\ntalaia emit b=1\n",
    ),
    mistake(
        "a status among metrics",
        "#!/bin/sh\necho '{\"status\": \"critical\", \"message\": \"db-1 is down\"}'\n",
        &["verdict-as-metric", "\"metrics\": []}"],
        "#!/bin/sh\necho '{\"status\": \"critical\", \"message\": \"db-1 is down\", \"metrics\": []}'\n",
    ),
    mistake(
        "nothing at all",
        "#!/bin/sh\n[ -e /none ] && echo '{\"users\": 3}'\nexit 0\n",
        &["nothing-printed", "print records on stdout"],
        "#!/bin/sh\n[ -e / ] && echo '{\"users\": 3}'\nexit 0\n",
    ),
    mistake(
        "an interpreter without its folder",
        "#!sh\necho\n",
        &["names `sh` without its folder", "make it `#!/usr/bin/env sh`"],
        "#!/usr/bin/env sh\necho '{\"users\": 3}'\n",
    ),
    mistake(
        "Windows line ends inside a script",
        "#!/bin/sh\nnone\r\n",
        &["dos-lines", "sed -i 's/\\r$//'"],
        "#!/bin/sh\necho '{\"users\": 3}'\n",
    ),
    mistake(
        "output on stderr only",
        "#!/bin/sh\necho '{\"users\": 3}' >&2\n",
        &["stderr-only", "print them on stdout: without `>&2`"],
        "#!/bin/sh\necho '{\"users\": 3}'\n",
    ),
    mistake(
        "a hyphen in a name",
        "#!/bin/sh\necho '{\"disk-used\": 71.2}'\n",
        &["name-hyphen", "rename it to `disk_used`"],
        "#!/bin/sh\necho '{\"disk_used\": 71.2}'\n",
    ),
    mistake(
        "a key twice",
        "#!/bin/sh\necho '{\"load\": 1, \"load\": 2}'\n",
        &["duplicate-key", "print each key once"],
        "#!/bin/sh\necho '{\"load\": 1, \"load2\": 2}'\n",
    ),
    mistake(
        "a percentage as a text",
        "#!/bin/sh\necho '[{\"name\": \"used\", \"value\": \"71%\"}]'\n",
        &["number-in-text", "print `{\"name\": \"used\", \"value\": 71, \"type\": \"percent\"}`"],
        "#!/bin/sh\necho '[{\"name\": \"used\", \"value\": 71, \"type\": \"percent\"}]'\n",
    ),
    mistake(
        "a percentage as a text where a number is promised",
        "#!/bin/sh\necho '[{\"name\": \"used\", \"value\": \"71%\", \"type\": \"percent\"}]'\n",
        &["value-type", "write `71` without quotes"],
        "#!/bin/sh\necho '[{\"name\": \"used\", \"value\": 71, \"type\": \"percent\"}]'\n",
    ),
    mistake(
        "bytes with a fraction",
        "#!/bin/sh\necho '[{\"name\": \"mem\", \"value\": 12.5, \"unit\": \"B\"}]'\n",
        &["bytes-as-float", "printf '%.0f'"],
        "#!/bin/sh\necho '[{\"name\": \"mem\", \"value\": 12, \"unit\": \"B\"}]'\n",
    ),
    mistake(
        "bytes that awk wrote with an exponent",
        "#!/bin/sh\necho '[{\"name\": \"mem\", \"value\": 1.84467e+10, \"unit\": \"B\"}]'\n",
        &["digits-lost", "in awk `printf \"%.0f\"`"],
        "#!/bin/sh\necho '[{\"name\": \"mem\", \"value\": 18446744073, \"unit\": \"B\"}]'\n",
    ),
    mistake(
        "a name that says a unit, and none",
        "#!/bin/sh\necho '{\"free_bytes\": 12}'\n",
        &["unit-missing", "print `{\"name\": \"free_bytes\", \"value\": 12, \"unit\": \"B\"}`"],
        "#!/bin/sh\necho '{\"name\": \"free_bytes\", \"value\": 12, \"unit\": \"B\"}'\n",
    ),
];

const PYTHON: &[Mistake] = &[
    mistake(
        "a dict instead of JSON",
        "#!/usr/bin/env python3\nprint({'users': 3, 'up': True, 'error': None})\n",
        &["json-syntax", "in Python print `json.dumps(…)`"],
        "#!/usr/bin/env python3\nimport json\nprint(json.dumps({'users': 3, 'up': True, 'error': None}))\n",
    ),
    mistake(
        "a library that the system's Python has not",
        "#!/usr/bin/env python3\nimport no_such_library\n",
        &["module-missing", "its interpreter has no `no_such_library`", "full path"],
        "#!/usr/bin/env python3\nprint('{\"users\": 3}')\n",
    ),
    mistake(
        "a program that is not there",
        "#!/usr/bin/env python3\nimport subprocess\nsubprocess.run(['no-such-command'])\n",
        &["command-missing", "there is no command `no-such-command`"],
        "#!/usr/bin/env python3\nimport subprocess\nsubprocess.run(['true'])\nprint('{\"users\": 3}')\n",
    ),
];

const NODE: &[Mistake] = &[
    mistake(
        "an object instead of JSON",
        "#!/usr/bin/env node\nconsole.log({users: 3});\n",
        &["json-syntax", "in Node print `JSON.stringify(…)`"],
        "#!/usr/bin/env node\nconsole.log(JSON.stringify({users: 3}));\n",
    ),
    mistake(
        "a program that is not there",
        "#!/usr/bin/env node\nrequire('child_process').spawn('no-such-command');\n",
        &["command-missing", "there is no command `no-such-command`"],
        "#!/usr/bin/env node\nrequire('child_process').spawn('true');\nconsole.log('{\"users\": 3}');\n",
    ),
];

const PERL: &[Mistake] = &[
    mistake(
        "a library that the system's Perl has not",
        "#!/usr/bin/perl\nuse No::Such;\n",
        &["module-missing", "its interpreter has no `No/Such.pm`"],
        "#!/usr/bin/perl\nprint qq({\"users\": 3}\\n);\n",
    ),
    mistake(
        "a trailing comma out of a loop",
        "#!/usr/bin/perl\nprint '['; print qq({\"name\": \"a$_\", \"value\": $_},) for 1..2; print \"]\\n\";\n",
        &["json-syntax", "remove the comma before `]`"],
        "#!/usr/bin/perl\nprint '['; print join(',', map { qq({\"name\": \"a$_\", \"value\": $_}) } 1..2); print \"]\\n\";\n",
    ),
];

fn try_all(mistakes: &[Mistake]) {
    for Mistake { name, wrong, says, right } in mistakes {
        let site = Site::new();
        // Where a plugin's `PATH` does not lead.
        let program = site.command(&[]).get_program().to_string_lossy().into_owned();
        let (wrong, right) = (
            wrong.replace("$TALAIA_PROGRAM", &program),
            right.replace("$TALAIA_PROGRAM", &program),
        );
        site.write("plugin", wrong, 0o755);
        let done = site.talaia(&["test", "./plugin", "--strict"]);
        assert_eq!(done.code, 1, "{name}: {}{}", done.stdout, done.stderr);
        // Words are broken into lines as they fit.
        let said: String = words(&format!("{} {}", done.stdout, done.stderr));
        for say in *says {
            assert!(
                said.contains(&words(say)),
                "{name}: no `{say}` in\n{}{}",
                done.stdout,
                done.stderr
            );
        }
        site.write("plugin", right, 0o755);
        let done = site.talaia(&["test", "./plugin", "--strict"]);
        assert_eq!(done.code, 0, "{name}, mended: {}{}", done.stdout, done.stderr);
    }
}

/// The words without what only lays them out.
fn words(text: &str) -> String {
    let plain = text.replace(['│', '→', '\u{2192}'], " ");
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn each_mistake_in_a_shell_script_is_mended_by_what_is_said() {
    try_all(SH);
}

#[test]
fn each_mistake_in_python_is_mended_by_what_is_said() {
    if !installed("python3") {
        return skip("python3 is not here");
    }
    try_all(PYTHON);
}

#[test]
fn each_mistake_in_other_languages_is_mended_by_what_is_said() {
    for (tool, mistakes) in [("node", NODE), ("perl", PERL)] {
        if !installed(tool) {
            return skip(&format!("{tool} is not here"));
        }
        try_all(mistakes);
    }
}

#[test]
fn line_ends_and_a_byte_order_mark_around_json_cost_nothing() {
    let site = Site::new();
    site.script("plugin", "printf '\\357\\273\\277{\"a\": 1}\\r\\n{\"b\": 2}\\r\\n'");
    let report = site.talaia(&["test", "./plugin", "--json", "--strict"]).code(0).json();
    assert_eq!(report["counts"]["accepted"], 2);
}

#[test]
fn a_program_that_may_not_be_executed_says_how_to_allow_it() {
    let site = Site::new();
    let path = site.write("plugin", "#!/bin/sh\necho '{\"a\": 1}'\n", 0o644);
    site.talaia(&["test", "./plugin"]).code(1).says(&["not executable", "chmod +x"]);
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    site.talaia(&["test", "./plugin"]).code(0);
}

#[test]
fn a_program_that_goes_on_or_waits_says_what_to_set() {
    let site = Site::new();
    site.script(
        "goes",
        "i=0; while :; do i=$((i + 1)); echo \"{\\\"t$i\\\": 1}\"; sleep 0.05; done",
    );
    site.script("waits", "sleep 60");
    let plugin = |name: &str, more: &str| {
        format!("[plugins.{name}]\ncommand = [\"./{name}\"]\ninterval = \"1s\"\n{more}\n")
    };
    let short = "timeout = \"300ms\"";
    site.configure(&[plugin("goes", short), plugin("waits", short)].concat());
    let test = |name: &str| site.talaia(&["test", name, "-c", "talaia.toml"]);
    let done = test("goes");
    done.code(1).says(&[]);
    assert!(words(&done.stdout).contains("never-ends: it had printed records and not ended by its deadline; if it is meant to live on, set `mode = \"stream\"`"), "{}", done.stdout);
    let done = test("waits");
    assert!(
        words(&done.code(1).stdout).contains("waits: it had printed nothing by its deadline"),
        "{}",
        done.stdout
    );
    site.configure(&plugin("goes", "mode = \"stream\"").replace("interval", "# interval"));
    test("goes").code(0);
}

#[test]
fn a_long_lived_program_that_buffers_its_output_says_how_not_to() {
    if !installed("python3") {
        return skip("python3 is not here");
    }
    let site = Site::new();
    let text = |print: &str| {
        format!(
            "#!/usr/bin/env python3\nimport time, sys\nwhile True:\n    {print}\n    time.sleep(0.05)\n"
        )
    };
    // Python that the agent itself told not to buffer would do without.
    let buffered = text("sys.stdout.buffer.raw and sys.stdout.write('{\"a\": 1}\\n')");
    site.write("plugin", buffered, 0o755);
    let config = "[plugins.plugin]\ncommand = [\"./plugin\"]\nmode = \"stream\"\n\
                  env = { PYTHONUNBUFFERED = \"\" }\n";
    site.configure(config);
    let test = |wait: &str| site.talaia(&["test", "plugin", "-c", "talaia.toml", "--wait", wait]);
    let done = test("1s");
    let said = words(&done.code(1).stdout);
    for say in ["silent: it printed nothing in 1.00 s", "output is buffered", "python3 -u"] {
        assert!(said.contains(say), "no `{say}` in {said}");
    }
    // One that ends with its standard input writes at its end what it has.
    let polite = "#!/usr/bin/env python3\nimport select, sys\n\
                  print('{\"a\": 1}')\nselect.select([sys.stdin], [], [])\n";
    site.write("plugin", polite, 0o755);
    let done = test("1s");
    let said = words(&done.code(1).stdout);
    for say in ["silent: it printed nothing in 1.00 s", "told to stop", "python3 -u"] {
        assert!(said.contains(say), "no `{say}` in {said}");
    }
    site.write("plugin", text("print('{\"a\": 1}', flush=True)"), 0o755);
    test("20s").code(0);
}

#[test]
fn a_user_who_may_not_read_is_named() {
    if !rustix::process::geteuid().is_root() {
        return skip("only root runs plugins as others");
    }
    let site = Site::new();
    site.script("plugin", "cat /etc/shadow");
    std::fs::set_permissions(site.path("."), std::fs::Permissions::from_mode(0o755)).unwrap();
    let config = |more: &str| {
        site.configure(&format!("[plugins.plugin]\ncommand = [\"./plugin\"]\n{more}\n"));
    };
    config("user = \"nobody\"");
    let done = site.talaia(&["test", "plugin", "-c", "talaia.toml"]);
    let said = words(&done.code(1).stdout);
    assert!(said.contains("permission-denied: it runs as `nobody`, who may not do that"), "{said}");
}

/// Runs a plugin that calls the real `sudo`, as `test` words say; what was said.
fn with_sudo(site: &Site, line: &str, words_of_test: &[&str]) -> String {
    site.script("plugin", line);
    let done = site.talaia(&[&["test"], words_of_test].concat());
    let said = words(&done.code(1).stdout);
    // It came to its own end, and waited for nobody.
    assert!(said.contains("failed, exit 1,"), "{line}: {said}");
    said
}

#[test]
fn sudo_that_wants_a_password_is_named_and_holds_nobody_up() {
    let held_down = std::fs::read_to_string("/proc/self/status").unwrap();
    if !rustix::process::geteuid().is_root() || held_down.contains("NoNewPrivs:\t1") {
        return skip("whoever runs the tests may use sudo, or nobody here may gain rights");
    }
    if !installed("sudo") {
        return skip("sudo is not here");
    }
    let site = Site::of_ordinary_user();
    for line in [
        "sudo -n true",
        "sudo true",
        "echo wrong | sudo -S true",
        // Plugins speak English unless they are told otherwise.
        "LANGUAGE=de sudo true",
    ] {
        let said = with_sudo(&site, line, &["./plugin"]);
        assert!(said.contains("sudo-password: `sudo` wants a password"), "{line}: {said}");
    }
    // A plugin with a user of its own is kept from gaining rights at all, until that is said.
    let site = Site::new();
    std::fs::set_permissions(site.path("."), std::fs::Permissions::from_mode(0o755)).unwrap();
    let named = ["plugin", "-c", "talaia.toml"];
    let plugin = "[plugins.plugin]\ncommand = [\"./plugin\"]\nuser = \"nobody\"\n";
    site.configure(plugin);
    let said = with_sudo(&site, "sudo -n true", &named);
    for say in ["permission-denied: `sudo` can do nothing", "`no_new_privs = false`"] {
        assert!(said.contains(say), "no `{say}` in {said}");
    }
    site.configure(&format!("{plugin}no_new_privs = false\n"));
    let said = with_sudo(&site, "sudo -n true", &named);
    assert!(said.contains("sudo-password: `sudo` wants a password"), "{said}");
}

#[test]
fn the_agent_says_it_too() {
    let mut site = Site::new();
    site.script("quiet", "echo '{\"users\": 3}' >&2");
    site.configure("[plugins.quiet]\ncommand = [\"./quiet\"]\ninterval = \"200ms\"\n[hub]\nlisten = \"127.0.0.1:0\"\n");
    let agent = site.start_agent();
    site.until("the hint", |site| site.read("agent.log").contains("stderr-only: ").then_some(()));
    assert!(site.stop(agent).success());
}
