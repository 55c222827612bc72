//! Plugins with limits, users and cgroups of their own: what is asked for holds in the process
//! itself, and what keeps one from starting is said in words.

use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use serde_json::Value;
use talaia::exec::cgroup::{Cgroup, Cgroups, Controller};
use talaia::exec::trust::Trust;
use talaia::exec::{
    Caps, Exec, Identity, Launch, Leftovers, Limits, Next, Privileges, Run, Settings, Spec, Stdin,
    Timetable,
};
use talaia::model::{AgentId, Outcome};

use super::support::{PATIENCE, Site, skip};

/// Accounts that nobody else in these tests has, and no process of the system.
const ANA: u32 = 64_801;
const BOB: u32 = 64_802;
const CROWD: u32 = 64_803;

/// Due once, at once.
struct Once;

impl Timetable for Once {
    fn next(&mut self, last: Option<Instant>, now: Instant) -> Next {
        if last.is_some() { Next::Never } else { Next::Due { at: now, missed: 0 } }
    }
}

struct Bench {
    dir: tempfile::TempDir,
    exec: Exec,
    runs: Receiver<Run>,
}

impl Bench {
    fn new() -> Self {
        let (send, runs) = mpsc::channel();
        let settings = Settings {
            limits: Limits { concurrency: 4, max_running: 16 },
            reap_orphans_of: None,
            open: Box::new(|| true),
        };
        let exec = Exec::start(settings, move |run| drop(send.send(run))).unwrap();
        let dir = tempfile::tempdir().unwrap();
        // Other users come here, too.
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        Self { dir, exec, runs }
    }

    fn script(&self, text: &str, launch: Launch) -> Spec {
        let program = self.dir.path().join("plugin");
        let draft = self.dir.path().join("draft");
        let mut file = File::create(&draft).unwrap();
        write!(file, "#!/bin/sh\n{text}\n").unwrap();
        drop(file);
        fs::set_permissions(&draft, Permissions::from_mode(0o755)).unwrap();
        fs::rename(&draft, &program).unwrap();
        self.spec(program, launch)
    }

    fn spec(&self, program: PathBuf, launch: Launch) -> Spec {
        Spec {
            plugin: "p".parse().unwrap(),
            program,
            args: Vec::new(),
            dir: self.dir.path().to_owned(),
            env: vec![("PATH".into(), "/usr/bin:/bin".into())],
            life: talaia::exec::Life::Run,
            stdin: Stdin::Null,
            timeout: Duration::from_secs(20),
            grace: Duration::from_millis(300),
            stdout_cap: 1 << 20,
            stderr_cap: 1 << 20,
            leftovers: Leftovers::Kill,
            trust: Trust::default(),
            launch: Some(Arc::new(launch)),
        }
    }

    fn run(&self, spec: Spec) -> Run {
        self.exec.set(Arc::new(spec), Box::new(Once));
        self.runs.recv_timeout(PATIENCE).expect("a run must be reported")
    }
}

/// Nothing but the death signal.
fn plain() -> Launch {
    Launch {
        launcher: PathBuf::from(env!("CARGO_BIN_EXE_talaia")),
        identity: None,
        nice: None,
        privileges: Privileges::Inherit,
        caps: Caps::default(),
        cgroup: None,
    }
}

fn as_user(uid: u32) -> Launch {
    let identity =
        Identity { name: format!("user{uid}"), uid, gid: 64_900, groups: vec![64_901, 64_902] };
    Launch { identity: Some(identity), ..plain() }
}

fn text(run: &Run) -> String {
    assert!(run.outcome.is_ok(), "{:?} {}", run.outcome, String::from_utf8_lossy(&run.stderr));
    String::from_utf8(run.stdout.clone()).unwrap()
}

fn not_started(run: &Run) -> &str {
    let Outcome::NotStarted { error } = &run.outcome else { panic!("{:?}", run.outcome) };
    error
}

fn is_root(what: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        skip(&format!("{what}: only root can"));
    }
    root
}

fn is_alive(pid: &str) -> bool {
    // A zombie is dead: it has no command line.
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}

#[test]
fn a_launched_run_is_as_any_other() {
    let bench = Bench::new();
    let settings = bench.dir.path().join("settings");
    File::create(&settings).unwrap().write_all(b"{\"a\": 1}").unwrap();
    let mut spec = bench.script("cat; echo \"$1|$X\"; ls -l /proc/self/fd >&2; exit 7", plain());
    spec.stdin = Stdin::File(settings);
    spec.args = vec![OsString::from("an argument")];
    spec.env.push(("X".into(), "y".into()));
    let run = bench.run(spec);
    assert_eq!(run.outcome, Outcome::Exited { code: 7 });
    assert_eq!(String::from_utf8_lossy(&run.stdout), "{\"a\": 1}an argument|y\n");
    // The socket of the launcher is not the plugin's.
    let open = String::from_utf8_lossy(&run.stderr);
    assert!(open.contains("pipe:") && !open.contains("socket:"), "{open}");
}

#[test]
fn an_open_standard_input_stays_open() {
    let bench = Bench::new();
    let mut spec = bench.script("exec timeout 0.3 cat", plain());
    spec.stdin = Stdin::Open;
    // 124: `timeout` had to end it, because there was neither input nor an end of it.
    assert_eq!(bench.run(spec).outcome, Outcome::Exited { code: 124 });
}

/// The direct path and the launcher find the same words.
#[test]
fn what_keeps_a_program_from_starting_is_said_alike() {
    let bench = Bench::new();
    let write = |name: &str, text: &str, mode: u32| {
        let path = bench.dir.path().join(name);
        File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path
    };
    for (path, words) in [
        (bench.dir.path().join("gone"), "does not exist"),
        (write("dos", "#!/bin/sh\r\necho\r\n", 0o755), "ends as on Windows"),
        (write("plain", "echo hi\n", 0o755), "has no `#!` line"),
        (write("lost", "#!/no/such/perl\n", 0o755), "`/no/such/perl`, which is not installed"),
        (write("shut", "#!/bin/sh\n", 0o644), "chmod +x"),
        (write("elf", "\u{7f}ELF\0\0\0", 0o755), "neither a program for this machine"),
    ] {
        let launched = bench.run(bench.spec(path.clone(), plain()));
        let direct = bench.run(Spec { launch: None, ..bench.spec(path, plain()) });
        assert!(not_started(&launched).contains(words), "{launched:?}");
        assert_eq!(not_started(&launched), not_started(&direct));
        assert_eq!((launched.stdout.len(), launched.stderr.len()), (0, 0));
    }
    let nowhere = Spec {
        dir: PathBuf::from("/no/such/folder"),
        ..bench.spec(PathBuf::from("/bin/true"), plain())
    };
    assert!(not_started(&bench.run(nowhere)).contains("/no/such/folder"));
}

/// An exit code of the launcher's, or its words on stderr, are not its answer.
#[test]
fn a_plugin_cannot_forge_a_failure_to_start() {
    let bench = Bench::new();
    let forge = "echo 'cannot become user' >&2; for n in 3 4 5 6 7 8 9; do
        { echo 'cannot become user' >&$n; } 2>/dev/null; done; exit 70";
    let run = bench.run(bench.script(forge, plain()));
    assert_eq!(run.outcome, Outcome::Exited { code: 70 });
}

#[test]
fn nobody_is_the_launcher_by_hand() {
    let site = Site::new();
    site.talaia(&["__launch"]).code(2).says(&["how an agent starts plugins"]);
    site.talaia(&["__launch", "/bin/true"]).code(2);
}

#[test]
fn limits_niceness_and_no_new_privileges_hold_in_the_process_itself() {
    let bench = Bench::new();
    let caps = Caps {
        memory: Some(1 << 30),
        cpu: Some(7),
        files: Some(48),
        file_size: Some(1 << 20),
        ..Caps::default()
    };
    let launch = Launch { nice: Some(7), privileges: Privileges::NoNew, caps, ..plain() };
    let script = "cat /proc/self/limits; grep NoNewPrivs /proc/self/status; nice";
    let said = text(&bench.run(bench.script(script, launch)));
    let field = |name: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {said}")).split_whitespace().collect::<Vec<_>>()
    };
    assert_eq!(field("Max data size")[..2], ["1073741824", "1073741824"]);
    assert_eq!(field("Max cpu time")[..2], ["7", "9"]);
    assert_eq!(field("Max open files")[..2], ["48", "48"]);
    assert_eq!(field("Max file size")[..2], ["1048576", "1048576"]);
    assert_eq!(field("NoNewPrivs:"), ["1"]);
    assert_eq!(said.lines().last(), Some("7"));
}

#[test]
fn limits_bite() {
    let bench = Bench::new();
    let run =
        |script: &str, caps: Caps| bench.run(bench.script(script, Launch { caps, ..plain() }));
    let one_second = Caps { cpu: Some(1), ..Caps::default() };
    let spins = run("while :; do :; done", one_second);
    assert_eq!(spins.outcome, Outcome::Signaled { signal: 24 });
    assert_eq!(spins.limit.as_deref(), Some("killed by its limit of 1 s of processor time"));
    let stubborn = run("trap '' XCPU; while :; do :; done", one_second);
    assert_eq!(stubborn.outcome, Outcome::Signaled { signal: 9 });
    assert!(stubborn.limit.is_some());

    let hog = "exec perl -e '$x = \"x\" x (200 << 20); print length $x'";
    let hogs = run(hog, Caps { memory: Some(64 << 20), ..Caps::default() });
    assert!(!hogs.outcome.is_ok(), "{:?}", hogs.outcome);
    assert_eq!(text(&run(hog, Caps { memory: Some(1 << 30), ..Caps::default() })), "209715200");

    let many = "exec 2>&1; perl -e 'for (1..40) { open($f[$_], \"<\", \"/dev/null\") or die $! }'";
    let files = run(many, Caps { files: Some(16), ..Caps::default() });
    assert!(String::from_utf8_lossy(&files.stdout).contains("Too many open files"));

    let large = "exec head -c 100000 /dev/zero > file";
    let writes = run(large, Caps { file_size: Some(10_000), ..Caps::default() });
    assert_eq!(writes.outcome, Outcome::Signaled { signal: 25 });
    assert_eq!(writes.limit.as_deref(), Some("killed by its file size limit of 10000 bytes"));
    assert_eq!(fs::metadata(bench.dir.path().join("file")).unwrap().len(), 10_000);
}

#[test]
fn user_group_and_all_further_groups_are_its_own() {
    if !is_root("users of plugins") {
        return;
    }
    let bench = Bench::new();
    let script = "id -u; id -ru; id -g; id -G; grep CapEff /proc/self/status; echo > /etc/talaia-x";
    let run = bench.run(bench.script(&format!("{script} 2>/dev/null; true"), as_user(ANA)));
    let said = text(&run);
    let lines: Vec<&str> = said.lines().collect();
    let id = ANA.to_string();
    assert_eq!(lines[..4], [id.as_str(), id.as_str(), "64900", "64900 64901 64902"]);
    assert_eq!(lines[4].split_whitespace().last(), Some("0000000000000000"));
    assert!(!Path::new("/etc/talaia-x").exists());
}

#[test]
fn a_library_in_its_environment_is_not_loaded_by_a_launcher_that_is_root() {
    let bench = Bench::new();
    let mut spec = bench.script("echo ran >&2; echo \"$LD_PRELOAD\"", plain());
    spec.env.push(("LD_PRELOAD".into(), "/no/such/library.so".into()));
    let run = bench.run(spec);
    let complaints = String::from_utf8_lossy(&run.stderr).matches("cannot be preloaded").count();
    // By the shell, not by the launcher before it.
    assert_eq!(complaints, 1, "{}", String::from_utf8_lossy(&run.stderr));
    assert_eq!(text(&run), "/no/such/library.so\n");
}

#[test]
fn a_user_that_may_not_enter_is_named_in_the_error() {
    if !is_root("users of plugins") {
        return;
    }
    let bench = Bench::new();
    let spec = bench.script("echo", as_user(ANA));
    fs::set_permissions(bench.dir.path(), Permissions::from_mode(0o700)).unwrap();
    let run = bench.run(spec);
    assert!(not_started(&run).contains(&format!("user{ANA}")), "{run:?}");
}

#[test]
fn a_fork_bomb_is_held_by_the_processes_of_its_user() {
    if !is_root("users of plugins") {
        return;
    }
    let bench = Bench::new();
    let caps = Caps { processes: Some(12), ..Caps::default() };
    let bomb = "b() { b | b & }; b 2>/dev/null; sleep 0.5; ps -o pid= -U $(id -u) | wc -l; exit 0";
    let run = bench.run(bench.script(bomb, Launch { caps, ..as_user(BOB) }));
    let most = String::from_utf8_lossy(&run.stdout).trim().parse::<u32>();
    // It may not even get to count; what it must not do is to grow.
    assert!(most.as_ref().is_err() || *most.as_ref().unwrap() <= 12, "{most:?}");
    let left = || {
        let count = |entry: fs::DirEntry| entry.metadata().is_ok_and(|meta| meta.uid() == BOB);
        fs::read_dir("/proc")
            .unwrap()
            .filter_map(Result::ok)
            .filter(|e| e.file_name().to_string_lossy().bytes().all(|b| b.is_ascii_digit()))
            .map(count)
            .filter(|theirs| *theirs)
            .count()
    };
    let start = Instant::now();
    while left() > 0 {
        assert!(start.elapsed() < PATIENCE, "{} processes of the bomb are left", left());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Cgroups are the machine's: unlike tools they cannot be installed, so that nothing fails where
/// there are none, not even with `CI=true`.
#[expect(clippy::print_stdout, reason = "what was not tested must be seen")]
fn skip_without_cgroups(what: &str, why: &str) {
    println!("SKIPPED: {what}: no writable cgroup v2: {why}");
}

/// Cgroups of an agent of its own for this test, where the machine has any.
fn cgroups(what: &str) -> Option<(Cgroups, String)> {
    let agent = AgentId::new().to_string();
    match Cgroups::look(&agent) {
        Ok(found) => Some((found, agent)),
        Err(error) => {
            skip_without_cgroups(what, &error.to_string());
            None
        }
    }
}

struct Removed(Cgroup);

impl Drop for Removed {
    fn drop(&mut self) {
        self.0.remove();
    }
}

#[test]
fn nothing_of_a_run_outlives_it_in_a_cgroup() {
    let Some((cgroups, _)) = cgroups("escapees in a cgroup") else { return };
    let cgroup = Removed(cgroups.of("p", None, None));
    let bench = Bench::new();
    let launch = || Launch { cgroup: Some(cgroup.0.clone()), ..plain() };
    // In sessions of their own, without the environment they came with, deaf to TERM.
    let escape = "for n in 1 2 3; do env -i setsid sh -c 'trap \"\" TERM; echo $$ >> pids; \
                  sleep 60 & wait' & done\n\
                  while [ \"$(wc -l < pids)\" != 3 ]; do sleep 0.01; done; cat /proc/self/cgroup";
    File::create(bench.dir.path().join("pids")).unwrap();
    let run = bench.run(bench.script(escape, launch()));
    assert!(text(&run).contains(cgroup.0.path.file_name().unwrap().to_str().unwrap()));
    assert!(run.leftovers >= 3, "{}", run.leftovers);
    let pids = fs::read_to_string(bench.dir.path().join("pids")).unwrap();
    assert!(pids.lines().all(|pid| !is_alive(pid)), "{pids}");
    assert_eq!(fs::read_to_string(cgroup.0.path.join("cgroup.procs")).unwrap(), "");

    // The same at a deadline, while they fork.
    let forks = "setsid sh -c 'while :; do sleep 0.01; done' & exec sleep 60";
    let mut spec = bench.script(forks, launch());
    spec.timeout = Duration::from_millis(200);
    let run = bench.run(spec);
    assert!(matches!(run.outcome, Outcome::TimedOut { .. }), "{:?}", run.outcome);
    assert_eq!(fs::read_to_string(cgroup.0.path.join("cgroup.procs")).unwrap(), "");
}

#[test]
fn memory_and_processes_are_held_by_a_cgroup() {
    let Some((_, agent)) = cgroups("limits of a cgroup") else { return };
    let Ok(cgroups) = Cgroups::look(&agent) else { return };
    if !cgroups.has(Controller::Memory) || !cgroups.has(Controller::Processes) {
        skip_without_cgroups("limits of a cgroup", "none with memory and pids");
        return;
    }
    // Moves these tests to a leaf, if need be.
    let cgroups = Cgroups::open(&agent).unwrap();
    let cgroup = Removed(cgroups.of("p", Some(64 << 20), Some(32)));
    let bench = Bench::new();
    let launch = || Launch { cgroup: Some(cgroup.0.clone()), ..plain() };
    let hog = "exec perl -e '$x = \"x\" x (200 << 20); print length $x'";
    let run = bench.run(bench.script(hog, launch()));
    assert_eq!(run.outcome, Outcome::Signaled { signal: 9 });
    assert_eq!(run.limit.as_deref(), Some("killed by its memory limit of 64 MiB"));
    let bomb = "b() { b | b & }; b 2>/dev/null; sleep 1; cat pids.current 2>/dev/null; exit 0";
    let run = bench.run(bench.script(bomb, launch()));
    assert!(run.leftovers <= 32, "{}", run.leftovers);
    assert_eq!(fs::read_to_string(cgroup.0.path.join("cgroup.procs")).unwrap(), "");
}

#[test]
fn a_sweep_removes_cgroups_of_its_own_agent_alone() {
    let Some((mine, _)) = cgroups("a sweep of cgroups") else { return };
    let Some((other, _)) = cgroups("a sweep of cgroups") else { return };
    let (a, b) = (mine.of("a", None, None), mine.of("b", None, None));
    let stranger = Removed(other.of("a", None, None));
    for cgroup in [&a, &b, &stranger.0] {
        cgroup.set_limits().unwrap();
    }
    assert_eq!(mine.sweep(&["b"]), 0);
    assert!(!a.path.exists() && b.path.exists() && stranger.0.path.exists());
    mine.sweep(&[]);
    assert!(!b.path.exists());
}

/// A folder that others may enter, with scripts for plugins.
fn open_site() -> Site {
    let site = Site::new();
    fs::set_permissions(site.path("."), Permissions::from_mode(0o755)).unwrap();
    site
}

/// The last report of a plugin in the agent's spool.
fn last(site: &Site, plugin: &str) -> Value {
    site.until("a run", |site| {
        let last = site.status()?.pointer(&format!("/plugins/{plugin}/last"))?.clone();
        last.is_object().then_some(last)
    })
}

#[test]
fn plugins_of_two_users_have_homes_states_and_secrets_of_their_own() {
    if !is_root("users of plugins") {
        return;
    }
    let mut site = open_site();
    let secret = site.write("pw", "s3cret\n", 0o600);
    site.script(
        "ana.sh",
        "echo \"$(id -u) $HOME $USER\" > \"$TALAIA_STATE_DIR/who\"; \
         cp \"$TALAIA_CONFIG\" \"$TALAIA_STATE_DIR/config\"; cat > \"$TALAIA_STATE_DIR/stdin\"; \
         echo '{\"ok\": true}'",
    );
    let theirs = site.path("data/plugins/ana");
    site.script(
        "bob.sh",
        &format!(
            "cd /; ls {0} > \"$TALAIA_STATE_DIR/seen\" 2>/dev/null; \
             cat {0}/config.json {0}/state/who {1} {2} >> \"$TALAIA_STATE_DIR/seen\" 2>/dev/null; \
             echo '{{\"ok\": true}}'",
            theirs.display(),
            site.path("data/spool.db").display(),
            site.path("pw").display(),
        ),
    );
    site.configure(&format!(
        "[hub]\nenabled = false\n\
         [plugins.ana]\ncommand = ['./ana.sh']\nuser = '{ANA}'\ngroup = '{ANA}'\ninterval = '1h'\n\
         config = {{ password = {{ file = '{}' }} }}\n\
         [plugins.bob]\ncommand = ['./bob.sh']\nuser = '{BOB}'\ngroup = '{BOB}'\ninterval = '1h'\n\
         [plugins.nob]\ncommand = ['sh', '-c', 'echo \"$(id -un) $HOME $USER\" > \
         \"$TALAIA_STATE_DIR/who\"']\nuser = 'nobody'\ninterval = '1h'\n",
        secret.display()
    ));
    let check = site.talaia(&["check", "--config", "talaia.toml"]);
    assert!(check.code(0).stdout.contains("plugin ana"), "{}", check.stdout);
    let pid = site.start_agent();
    for plugin in ["ana", "bob", "nob"] {
        assert_eq!(last(&site, plugin)["outcome"]["kind"], "exited", "{}", site.read("agent.log"));
    }
    let said = |name: &str| site.read(&format!("data/plugins/{name}"));
    assert!(said("ana/state/who").starts_with(&format!("{ANA} ")), "{}", said("ana/state/who"));
    assert_eq!(said("ana/state/config"), said("ana/state/stdin"));
    assert!(said("ana/state/config").contains("s3cret"));
    assert_eq!(said("bob/state/seen"), "");
    assert_eq!(said("nob/state/who"), "nobody /nonexistent nobody\n");
    let whose = |name: &str| {
        let meta = site.path(name).metadata().unwrap();
        (meta.uid(), meta.mode() & 0o777)
    };
    assert_eq!(whose("data/plugins/ana/config.json"), (ANA, 0o400));
    assert_eq!(whose("data/plugins/ana/state"), (ANA, 0o700));
    assert_eq!(whose("data/plugins/ana").0, 0);
    assert_eq!(whose("data/plugins/ana").1 & 0o022, 0);
    assert_eq!(whose("data").1, 0o711);

    // With another user, what it kept changes hands.
    let text = site.read("talaia.toml");
    let turned = text.replacen(&format!("user = '{ANA}'"), &format!("user = '{CROWD}'"), 1);
    site.write("talaia.toml", turned, 0o644);
    site.talaia(&["reload", "--config", "talaia.toml"]).code(0);
    site.until("another owner", |_| (whose("data/plugins/ana/state/who").0 == CROWD).then_some(()));
    site.stop(pid);
}

#[test]
fn a_test_runs_as_the_service_would() {
    if !is_root("users of plugins") {
        return;
    }
    let site = open_site();
    site.script(
        "p.sh",
        "touch \"$TALAIA_STATE_DIR/here\" && echo \"{\\\"uid\\\": $(id -u), \\\"nice\\\": $(nice), \
         \\\"kept\\\": \\\"$(cat $TALAIA_STATE_DIR/kept)\\\"}\"",
    );
    site.configure(&format!(
        "[plugins.p]\ncommand = ['./p.sh']\nuser = '{ANA}'\ngroup = '{ANA}'\nnice = 3\n"
    ));
    fs::create_dir_all(site.path("data/plugins/p/state")).unwrap();
    fs::set_permissions(site.path("data"), Permissions::from_mode(0o700)).unwrap();
    site.write("data/plugins/p/state/kept", "old", 0o600);
    let done = site.talaia(&["test", "p", "--json", "--config", "talaia.toml"]);
    let report = done.code(0).json();
    let value = |name: &str| {
        let metrics = report["metrics"].as_array().unwrap();
        metrics.iter().find(|m| m["name"] == name).unwrap()["value"].clone()
    };
    assert_eq!((value("uid"), value("nice")), (ANA.into(), 3.into()));
    assert_eq!(value("kept"), "old");
    // What the service has is untouched.
    assert_eq!(site.path("data/plugins/p/state/kept").metadata().unwrap().uid(), 0);
    assert!(!site.path("data/plugins/p/state/here").exists());
}

#[test]
fn what_cannot_be_had_is_said_before_it_runs() {
    let site = Site::of_ordinary_user();
    site.script("p.sh", "echo '{\"ok\": true}'");
    let check = |settings: &str| {
        site.configure(&format!("[plugins.p]\ncommand = ['./p.sh']\n{settings}\n"));
        site.talaia(&["check", "--config", "talaia.toml"])
    };
    for (settings, words) in [
        ("user = 'daemon'", "`user` takes an agent that runs as root"),
        ("user = 'no-such-user'", "there is no user `no-such-user`"),
        ("group = 'no-such-group'", "there is no group `no-such-group`"),
        ("user = '64999'", "name its `group`"),
        ("nice = -1", "`nice` takes an agent that runs as root"),
        ("limits = { files = 2000000000 }", "`limits.files` is more than the agent itself"),
    ] {
        let said = check(settings);
        assert!(said.code(1).stdout.contains(words), "{settings}: {}", said.stdout);
        let tested = site.talaia(&["test", "p", "--config", "talaia.toml"]);
        tested.code(1).says(&[words]);
    }
    // Niceness of its own accord takes nobody's leave.
    check("nice = 5").code(0);
    site.talaia(&["test", "p", "--config", "talaia.toml"]).code(0);
}

#[test]
fn what_holds_only_in_part_is_said_in_a_line() {
    let site = open_site();
    site.script("p.sh", "echo '{\"ok\": true}'");
    let look = Cgroups::look("");
    let has = |controller| look.as_ref().is_ok_and(|found| found.has(controller));
    site.configure("[plugins.p]\ncommand = ['./p.sh']\nlimits = { memory = '64MiB' }\n");
    let said = site.talaia(&["check", "--config", "talaia.toml"]);
    let partly = said.code(0).stdout.contains("note plugin p: `limits.memory` holds for the data");
    assert_eq!(partly, !has(Controller::Memory), "{}", said.stdout);

    site.configure("[plugins.p]\ncommand = ['./p.sh']\nlimits = { processes = 5 }\n");
    let said = site.talaia(&["check", "--config", "talaia.toml"]);
    if has(Controller::Processes) {
        said.code(0);
        return;
    }
    // A service may have what a shell has not.
    let wanted = if Path::new("/run/systemd/system").exists() {
        "`limits.processes` holds only where the agent is a service"
    } else {
        "`limits.processes` takes a cgroup"
    };
    assert!(said.stdout.contains(wanted), "{}", said.stdout);
    if !is_root("users of plugins") {
        return;
    }
    let own = |a: u32, b: u32| {
        format!(
            "[plugins.p]\ncommand = ['./p.sh']\nuser = '{a}'\ngroup = '{a}'\n\
             limits = {{ processes = 5 }}\n\
             [plugins.q]\ncommand = ['./p.sh']\nuser = '{b}'\ngroup = '{b}'\n"
        )
    };
    site.configure(&own(ANA, BOB));
    site.talaia(&["check", "--config", "talaia.toml"]).code(0);
    site.configure(&own(ANA, ANA));
    let said = site.talaia(&["check", "--config", "talaia.toml"]);
    assert!(said.code(1).stdout.contains("give one of them a user of its own"), "{}", said.stdout);
}

#[test]
fn a_state_folder_that_cannot_be_reached_is_named() {
    if !is_root("users of plugins") {
        return;
    }
    let site = open_site();
    site.script("p.sh", "echo '{\"ok\": true}'");
    site.configure("[plugins.p]\ncommand = ['./p.sh']\nuser = 'nobody'\n");
    site.talaia(&["check", "--config", "talaia.toml"]).code(0);
    fs::set_permissions(site.path("."), Permissions::from_mode(0o700)).unwrap();
    let said = site.talaia(&["check", "--config", "talaia.toml"]);
    assert!(said.code(1).stdout.contains("may not enter"), "{}", said.stdout);
}

#[test]
fn a_limit_that_ended_a_run_is_in_its_report() {
    let site = Site::new();
    site.script("p.sh", "while :; do :; done");
    site.configure("[plugins.p]\ncommand = ['./p.sh']\nlimits = { cpu = '1s' }\n");
    let report = site.talaia(&["test", "p", "--json", "--config", "talaia.toml"]).code(1).json();
    assert_eq!(report["message"], "killed by its limit of 1 s of processor time");
    assert_eq!(report["outcome"]["signal"], 24);
}

/// A plugin with a launcher dies with its agent, by whatever way that goes.
#[test]
fn when_the_agent_is_killed_launched_plugins_die_within_a_second() {
    let mut site = open_site();
    let root = rustix::process::geteuid().is_root();
    let user = if root { format!("user = '{ANA}'\ngroup = '{ANA}'\n") } else { String::new() };
    fs::create_dir(site.path("work")).unwrap();
    fs::set_permissions(site.path("work"), Permissions::from_mode(0o777)).unwrap();
    site.script("p.sh", "cd work; echo $$ > pid.new; mv pid.new pid; exec sleep 600");
    site.configure(&format!(
        "[hub]\nenabled = false\n[plugins.p]\ncommand = ['./p.sh']\ntimeout = '1h'\n\
         interval = '1h'\nnice = 1\n{user}"
    ));
    let agent = site.start_agent();
    let pid = site.until("a plugin", |site| {
        let mut text = String::new();
        File::open(site.path("work/pid")).ok()?.read_to_string(&mut text).ok()?;
        Some(text.trim().to_owned())
    });
    assert!(is_alive(&pid));
    site.kill(agent);
    let start = Instant::now();
    while is_alive(&pid) {
        assert!(start.elapsed() < Duration::from_secs(1), "it lives on");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Everything that a launcher does holds for a plugin that lives on, and so does everything that
/// holds for one that lives on.
#[test]
fn a_plugin_that_lives_on_has_its_limits_and_ends_with_its_standard_input() {
    let mut site = open_site();
    let root = rustix::process::geteuid().is_root();
    let user = if root { format!("user = '{ANA}'\ngroup = '{ANA}'\n") } else { String::new() };
    let facts = "{\\\"nice\\\": $(nice), \\\"uid\\\": $(id -u), \\\"files\\\": $(ulimit -n), \\\"pid\\\": $$}";
    site.script(
        "p.sh",
        &format!("echo \"{facts}\"; while read -r line; do :; done; echo '{{\"bye\": 1}}'"),
    );
    site.configure(&format!(
        "[outputs.file]\ntype = 'file'\npath = 'out.ndjson'\nstart = 'oldest'\n\
         [plugins.p]\ncommand = ['./p.sh']\nmode = 'stream'\nnice = 5\nno_new_privs = true\n\
         limits = {{ files = 77 }}\n{user}"
    ));
    let agent = site.start_agent();
    let metric = |site: &Site, name: &str| {
        site.read("out.ndjson").lines().find_map(|line| {
            let report: Value = serde_json::from_str(line).ok()?;
            let metrics = report["metrics"].as_array()?.clone();
            metrics.into_iter().find(|m| m["name"] == name).map(|m| m["value"].clone())
        })
    };
    let pid = site.until("its first line", |site| metric(site, "pid")).to_string();
    assert_eq!(metric(&site, "nice"), Some(5.into()));
    assert_eq!(metric(&site, "files"), Some(77.into()));
    let uid = if root { ANA } else { rustix::process::geteuid().as_raw() };
    assert_eq!(metric(&site, "uid"), Some(uid.into()));
    site.stop(agent);
    assert!(!is_alive(&pid), "it outlived its agent");
    assert_eq!(metric(&site, "bye"), Some(1.into()), "it was not left to end by itself");
}
