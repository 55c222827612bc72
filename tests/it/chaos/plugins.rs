//! The plugins of the chaos test: honest ones that count, and all the others.

use crate::support::Site;

/// Plugins each of whose runs prints a number that no other run of it ever prints. The number is
/// on disk before it is printed, so that a run which is killed at any moment cannot give it again.
pub(super) const HONEST: [&str; 4] = ["honest_1", "honest_2", "honest_3", "salvage"];

const COUNT: &str = r#"cd "$TALAIA_STATE_DIR" || exit 1
n=$(cat count 2>/dev/null || echo 0)
n=$((n + 1))
echo "$n" >draft && [ -s draft ] && mv draft count || exit 1
echo "{\"n\":$n}"
"#;

/// What each of the others does. `NAP` is a length of sleep that is this test's alone, so that who
/// sleeps it can be found.
const OTHERS: [(&str, &str); 13] = [
    ("sleeps", "exec sleep NAP"),
    ("deaf", "trap '' TERM INT HUP\necho '{\"a\":1}'\nwhile :; do sleep 0.2; done"),
    ("holds_stdout", "sleep NAP &\necho '{\"a\":1}'"),
    ("double_fork", "(setsid sh -c 'sleep NAP & sleep NAP' >/dev/null 2>&1 &)\necho '{\"a\":1}'"),
    (
        "deaf_escapee",
        "(setsid sh -c 'trap \"\" TERM; while :; do sleep 0.3; done; : NAP' &)\necho '{\"a\":1}'",
    ),
    (
        "forks_on",
        "i=0\nwhile [ $i -lt 60 ]; do (setsid sleep NAP &) ; i=$((i+1)); sleep 0.01; done",
    ),
    ("forks_when_told", "trap '(setsid sleep NAP &); sleep NAP & exit 0' TERM\nsleep NAP & wait"),
    ("floods", "exec yes '{\"a\":1}'"),
    ("floods_stderr", "exec yes noise >&2"),
    ("crashes", "echo '{\"a\":1}'\nkill -SEGV $$"),
    ("garbage", "head -c 3000 /dev/urandom"),
    ("half", "printf '{\"a\":1}\\n{\"b\":'\nexec sleep NAP"),
    (
        "large",
        "awk 'BEGIN { for (i = 0; i < 600; i++) printf \"{\\\"name\\\":\\\"m%d\\\",\\\"value\\\":%d}\\n\", i, i }'",
    ),
];

/// Writes the scripts.
pub(super) fn write(site: &Site, nap: &str) {
    for name in HONEST {
        // One fails after it has printed: what it printed counts all the same.
        let end = if name == "salvage" { "exit 3" } else { "" };
        site.script(name, &format!("{COUNT}{end}"));
    }
    for (name, text) in OTHERS {
        site.script(name, &text.replace("NAP", nap));
    }
}

/// The tables `[plugins.…]`.
pub(super) fn tables(site: &Site, part: Part) -> String {
    let mut text = String::new();
    let mut table = |name: &str, timing: &str| {
        let command = site.path(name);
        text += &format!("[plugins.{name}]\ncommand = [\"{}\"]\n{timing}\n", command.display());
    };
    if part == Part::None {
        return text;
    }
    for name in HONEST {
        table(name, "interval = \"200ms\"\ntimeout = \"180ms\"");
    }
    for (nth, (name, _)) in OTHERS.iter().enumerate() {
        if part == Part::All || nth % 2 == 0 {
            table(name, "interval = \"900ms\"\ntimeout = \"400ms\"");
        }
    }
    text
}

/// Which plugins are in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    All,
    /// Without every second of the misbehaving ones, so that a reload adds and removes.
    Half,
    None,
}
