//! The plugins of these tests, what the agent says of them, and what of them is left.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{PATIENCE, Site};

/// How many plugins hang from their first run to their last.
pub(super) const HUNG: usize = 1000;

/// What each of the hostile ones does, about every three seconds.
pub(super) const HOSTILE: [(&str, &str); 9] = [
    ("endless_stdout", "exec yes '{\"a\":1}'"),
    ("endless_stderr", "exec yes 'W! noise' >&2"),
    // A gigabyte without an end of line, in a string that never ends either.
    ("endless_line", "printf '{\"a\":\"'\nhead -c 1000000000 /dev/zero | tr '\\0' 'x'"),
    // A record, and then a byte a second of the next one.
    ("drip", "echo '{\"a\":1}'\nwhile :; do printf '{'; sleep 1; done"),
    ("deaf", "trap '' TERM\nwhile :; do sleep 1; done"),
    // A million series that no run before had.
    (
        "series",
        "exec awk -v run=$$ 'BEGIN { for (i = 0; i < 1000000; i++) \
         printf \"{\\\"name\\\":\\\"s\\\",\\\"value\\\":1,\\\"tags\\\":{\\\"id\\\":\\\"%d.%d\\\"}}\\n\", run, i }'",
    ),
    // One series at 20 000 times.
    (
        "times",
        "exec awk 'BEGIN { for (i = 0; i < 20000; i++) \
         printf \"{\\\"name\\\":\\\"t\\\",\\\"value\\\":1,\\\"time\\\":%d}\\n\", 1700000000 + i }'",
    ),
    ("types", TYPES),
    ("gone", "rm -- \"$0\"\necho '{\"a\":1}'"),
];

/// An integer, a fraction, a text and a boolean, from run to run, under two names.
pub(super) const TYPES: &str = "cd \"$TALAIA_STATE_DIR\" || exit 1\n\
    n=$(cat n 2>/dev/null || echo 0)\n\
    echo $((n + 1)) > n.new && mv n.new n\n\
    case $((n % 4)) in 0) v=1;; 1) v=1.5;; 2) v='\"text\"';; 3) v=true;; esac\n\
    echo \"{\\\"v\\\":$v,\\\"declared\\\":$v}\"";

/// The table of a plugin that answers at once, and always the same.
pub(super) fn healthy(nth: usize, timing: &str) -> String {
    format!(
        "[plugins.healthy_{nth}]\ncommand = ['/bin/echo', '{{\"n\":1}}']\ninterval = '{timing}'\n"
    )
}

/// The tables of those that hang.
pub(super) fn hung() -> String {
    let mut text = String::new();
    for nth in 0..HUNG {
        let _written = write!(
            text,
            "[plugins.hung_{nth}]\ncommand = ['/bin/sleep', '3000']\ninterval = '20s'\n\
             timeout = '2s'\n"
        );
    }
    text
}

/// The tables of as many that run once, at the start.
pub(super) fn idle() -> String {
    let mut text = String::new();
    for nth in 0..HUNG {
        let _written =
            write!(text, "[plugins.idle_{nth}]\ncommand = ['/bin/true']\ninterval = '24h'\n");
    }
    text
}

/// Writes the scripts of the hostile ones, and gives their tables.
pub(super) fn hostile(site: &Site) -> String {
    let mut text = String::new();
    for (name, script) in HOSTILE {
        site.script(name, script);
        let _written = write!(
            text,
            "[plugins.{name}]\ncommand = ['./{name}']\ninterval = '3s'\ntimeout = '2s'\n\
             grace = '300ms'\n"
        );
    }
    text
}

/// What the agent says of itself, asked without a process; `None` while it does not answer.
pub(super) fn status(site: &Site) -> Option<Value> {
    let mut stream = UnixStream::connect(site.path("data/talaia.sock")).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.write_all(b"GET /v1/status HTTP/1.0\r\nHost: agent\r\n\r\n").ok()?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    serde_json::from_str(text.split_once("\r\n\r\n")?.1).ok()
}

/// Waits, at most so long, until what the agent says of itself gives something.
#[track_caller]
pub(super) fn until<T>(
    site: &Site,
    what: &str,
    patience: Duration,
    condition: impl Fn(&Value) -> Option<T>,
) -> T {
    let start = Instant::now();
    loop {
        let status = status(site);
        if let Some(found) = status.as_ref().and_then(&condition) {
            return found;
        }
        let log = || site.read("agent.log");
        assert!(start.elapsed() < patience, "no {what}: {status:?}; the agent said:\n{}", log());
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Whether every plugin whose name begins so has ended at least so many runs.
pub(super) fn all_ran(status: &Value, prefix: &str, runs: u64) -> bool {
    let plugins = status["plugins"].as_object().unwrap();
    plugins
        .iter()
        .filter(|(name, _)| name.starts_with(prefix))
        .all(|(_, plugin)| plugin["runs"].as_u64().unwrap() >= runs)
}

/// Live processes that a run in this site started, as `pid command`. A zombie is dead.
pub(super) fn survivors(site: &Site) -> Vec<String> {
    let folder = site.path("data").display().to_string();
    let read = |pid: &str, name: &str| {
        let bytes = fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).replace('\0', " ")
    };
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|pid| pid.bytes().all(|b| b.is_ascii_digit()))
        .filter(|pid| {
            let environ = read(pid, "environ");
            environ.contains("TALAIA_RUN_ID=") && environ.contains(&folder)
        })
        .map(|pid| format!("{pid} {}", read(&pid, "cmdline")))
        .collect()
}
