//! What tests of the whole program share: a folder with scripts and a configuration, and agents
//! that die with it.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Far longer than anything here takes; only a defect waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The account that nobody is, for what root may do and others may not.
const NOBODY: u32 = 65534;

/// What a command came to.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Done {
    /// The exit code, or a failed test that shows what was said.
    #[track_caller]
    pub(crate) fn code(&self, wanted: i32) -> &Self {
        assert_eq!(self.code, wanted, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// What is on stderr has each of these.
    #[track_caller]
    pub(crate) fn says(&self, words: &[&str]) -> &Self {
        for word in words {
            assert!(self.stderr.contains(word), "no `{word}` in:\n{}", self.stderr);
        }
        self
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|e| panic!("{e} in:\n{}\n{}", self.stdout, self.stderr))
    }
}

/// A folder of its own with a home in it. Agents that are started here end with it.
pub(crate) struct Site {
    dir: tempfile::TempDir,
    agents: Vec<Child>,
    program: PathBuf,
    user: Option<u32>,
}

/// The program under test: another build than the tests' own where `TALAIA_TEST_PROGRAM` names one.
fn program() -> PathBuf {
    std::env::var_os("TALAIA_TEST_PROGRAM")
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_talaia")), PathBuf::from)
}

/// Whether that is a build for users, optimised and of the size that they have.
pub(crate) fn is_release() -> bool {
    !cfg!(debug_assertions) || std::env::var_os("TALAIA_TEST_PROGRAM").is_some()
}

impl Site {
    /// For whoever runs the tests.
    pub(crate) fn new() -> Self {
        let site = Self {
            dir: tempfile::tempdir().unwrap(),
            agents: Vec::new(),
            program: program(),
            user: None,
        };
        fs::create_dir(site.path("home")).unwrap();
        site
    }

    /// For somebody who is not root, also when root runs the tests: root's default folders are the
    /// machine's own, and root may write everywhere.
    pub(crate) fn of_ordinary_user() -> Self {
        let mut site = Self::new();
        if !rustix::process::geteuid().is_root() {
            return site;
        }
        // The build's folder may be closed to others, so the program is copied to where it is not.
        let bin = site.path("bin");
        fs::create_dir(&bin).unwrap();
        site.program = bin.join("talaia");
        fs::copy(env!("CARGO_BIN_EXE_talaia"), &site.program).unwrap();
        fs::set_permissions(&bin, Permissions::from_mode(0o755)).unwrap();
        for path in [site.path("."), site.path("home")] {
            std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        site.user = Some(NOBODY);
        site
    }

    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file as a whole, under another name first: an agent never sees half of it.
    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>, mode: u32) -> PathBuf {
        let path = self.path(name);
        let draft = self.path(format!("{name}.draft"));
        File::create(&draft).unwrap().write_all(bytes.as_ref()).unwrap();
        fs::set_permissions(&draft, Permissions::from_mode(mode)).unwrap();
        if let Some(user) = self.user {
            std::os::unix::fs::chown(&draft, Some(user), Some(user)).unwrap();
        }
        fs::rename(draft, &path).unwrap();
        path
    }

    /// A shell script that can be run.
    pub(crate) fn script(&self, name: &str, text: &str) -> PathBuf {
        self.write(name, format!("#!/bin/sh\n{text}\n"), 0o755)
    }

    /// `talaia.toml`: the data folder is here, commits are quick, and `config` follows.
    pub(crate) fn configure(&self, config: &str) -> PathBuf {
        let text = format!(
            "[agent]\ndata_dir = \"{}\"\nhost = \"test-host\"\nself_metrics = false\n\
             spool = {{ commit_interval = \"5ms\", min_free = \"0B\" }}\n{config}",
            self.path("data").display()
        );
        self.write("talaia.toml", text, 0o644)
    }

    /// The program in this folder, with an environment that is the same everywhere.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(words);
        self.surround(&mut command);
        command
    }

    /// A line for the shell, with the program on its `PATH`.
    pub(crate) fn shell(&self, line: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", line]);
        self.surround(&mut command);
        command
    }

    fn surround(&self, command: &mut Command) {
        let home = self.path("home");
        let bin = self.program.parent().unwrap().to_path_buf();
        // Tools first come from a folder `tools` of the site, where there is one.
        let path = format!("{}:{}:/usr/bin:/bin", self.path("tools").display(), bin.display());
        command
            .current_dir(self.dir.path())
            .env_clear()
            .env("HOME", &home)
            .env("TMPDIR", self.dir.path())
            .env("LANG", "C.UTF-8")
            .env("PATH", path)
            .stdin(Stdio::null());
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
    }

    /// Runs a command to its end.
    pub(crate) fn talaia(&self, words: &[&str]) -> Done {
        finish(self.command(words), b"")
    }

    /// Runs a command to its end with something on its standard input.
    pub(crate) fn talaia_with(&self, words: &[&str], stdin: &[u8]) -> Done {
        finish(self.command(words), stdin)
    }

    /// Starts a command that lives until a signal or the end of the site; what it says goes to the
    /// file `log`.
    pub(crate) fn start(&mut self, mut command: Command, log: &str) -> u32 {
        let file =
            |name: &str| File::options().create(true).append(true).open(self.path(name)).unwrap();
        let child = spawn(command.stdout(file(log)).stderr(file(log)));
        let pid = child.id();
        self.agents.push(child);
        pid
    }

    /// Starts the agent that `talaia.toml` describes.
    pub(crate) fn start_agent(&mut self) -> u32 {
        let command = self.command(&["run", "--config", "talaia.toml"]);
        self.start(command, "agent.log")
    }

    /// Ends a process that was started here, as a person or systemd would.
    pub(crate) fn stop(&mut self, pid: u32) -> ExitStatus {
        let at = self.agents.iter().position(|child| child.id() == pid).unwrap();
        let mut child = self.agents.remove(at);
        signal(pid, Signal::TERM);
        let status = child.wait().unwrap();
        // Whatever a test is about: what its agent took adds up.
        // Somebody who is not root leaves a log where the spool is read only.
        if status.success() && self.user.is_none() && self.path("data/spool.db").exists() {
            self.ledger();
        }
        status
    }

    /// Ends a process that was started here as a power cut would.
    pub(crate) fn kill(&mut self, pid: u32) {
        let at = self.agents.iter().position(|child| child.id() == pid).unwrap();
        let mut child = self.agents.remove(at);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Sends a signal to a process that was started here.
    pub(crate) fn signal(&self, pid: u32, which: Signal) {
        assert!(self.agents.iter().any(|child| child.id() == pid), "{pid} was not started here");
        signal(pid, which);
    }

    /// Waits until a process that was started here has ended.
    pub(crate) fn until_ended(&mut self, pid: u32) -> ExitStatus {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.ended(pid) {
                return status;
            }
            assert!(begin.elapsed() < PATIENCE, "{pid} does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The exit status of a process that was started here, if it has ended by itself.
    pub(crate) fn ended(&mut self, pid: u32) -> Option<ExitStatus> {
        let at = self.agents.iter().position(|child| child.id() == pid).unwrap();
        let status = self.agents[at].try_wait().unwrap()?;
        drop(self.agents.remove(at));
        Some(status)
    }

    /// What was said in the file `name`.
    pub(crate) fn read(&self, name: &str) -> String {
        let bytes = fs::read(self.path(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until `condition` gives something.
    #[track_caller]
    pub(crate) fn until<T>(&self, what: &str, condition: impl Fn(&Self) -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            if let Some(found) = condition(self) {
                return found;
            }
            let log = || self.read("agent.log");
            assert!(start.elapsed() < PATIENCE, "no {what}; the agent said:\n{}", log());
            std::thread::sleep(Duration::from_millis(25));
        }
    }

    /// What the agent of `talaia.toml` says of itself; `None` while it does not answer.
    pub(crate) fn status(&self) -> Option<Value> {
        let done = self.talaia(&["status", "--json", "--config", "talaia.toml"]);
        (done.code == 0).then(|| done.json())
    }

    /// The ledger on disk, checked.
    #[track_caller]
    pub(crate) fn ledger(&self) -> Value {
        self.talaia(&["spool", "verify", "--config", "talaia.toml"]).code(0);
        let done = self.talaia(&["spool", "status", "--json", "--config", "talaia.toml"]);
        let ledger = done.code(0).json()["ledger"].clone();
        balances(&ledger);
        ledger
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // TERM lets an agent end its plugins; what does not listen is killed.
        for child in &self.agents {
            signal(child.id(), Signal::TERM);
        }
        for child in &mut self.agents {
            let start = Instant::now();
            while start.elapsed() < PATIENCE && is_alive(child) {
                std::thread::sleep(Duration::from_millis(10));
            }
            drop(child.kill());
            drop(child.wait());
        }
    }
}

fn is_alive(child: &mut Child) -> bool {
    matches!(child.try_wait(), Ok(None))
}

/// Signals a process that this test started and has not waited for.
fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    // It may have ended already; it is waited for all the same.
    let _ended = kill_process(pid, signal);
}

/// Starts a program. One that was copied just now may be busy: a process that another test is just
/// spawning holds the copy open for writing until it executes its own program.
fn spawn(command: &mut Command) -> Child {
    let begin = Instant::now();
    loop {
        match command.spawn() {
            Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => {
                assert!(begin.elapsed() < PATIENCE, "{error}");
                std::thread::sleep(Duration::from_millis(5));
            }
            other => return other.unwrap(),
        }
    }
}

pub(crate) fn finish(mut command: Command, stdin: &[u8]) -> Done {
    let mut child =
        spawn(command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()));
    let mut pipe = child.stdin.take().unwrap();
    let bytes = stdin.to_vec();
    let writer = std::thread::spawn(move || {
        // A command that does not read its input is no failure.
        drop(pipe.write_all(&bytes));
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Done {
        code: output.status.code().unwrap_or(-1),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// The two equations of the ledger.
#[track_caller]
pub(crate) fn balances(ledger: &Value) {
    for (name, plugin) in ledger["plugins"].as_object().unwrap() {
        let accepted = plugin["accepted"].as_u64().unwrap();
        let printed = plugin["produced"].as_u64().unwrap();
        assert_eq!(printed, accepted + sum(&plugin["rejected"]), "{name}: {plugin}");
    }
    for (name, output) in ledger["outputs"].as_object().unwrap() {
        let of = |key: &str| output[key].as_u64().unwrap();
        let kept = of("delivered") + of("spooled") + of("filtered") + sum(&output["evicted"]);
        assert_eq!(of("accepted"), kept, "{name}: {output}");
    }
}

fn sum(counts: &Value) -> u64 {
    counts.as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum()
}

/// Whether a tool is where a site's commands look for it.
pub(crate) fn installed(tool: &str) -> bool {
    ["/usr/bin", "/bin"].iter().any(|dir| Path::new(dir).join(tool).exists())
}

/// Says what was left out, and why. Where everything must be there (`CI=true`) that is a failure.
#[track_caller]
#[expect(clippy::print_stdout, reason = "what was not tested must be seen")]
pub(crate) fn skip(what: &str) {
    println!("SKIPPED: {what}");
    let strict = std::env::var("CI").is_ok_and(|value| value == "true");
    assert!(!strict, "with CI=true nothing may be skipped: {what}");
}

/// An HTTP request to a server on this machine; status and body.
pub(crate) fn http(url: &str, path: &str, key: Option<&str>) -> Option<(u16, String)> {
    use std::io::Read;
    let host = url.strip_prefix("http://").unwrap();
    let mut stream = std::net::TcpStream::connect(host).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let key = key.map(|key| format!("Authorization: Bearer {key}\r\n")).unwrap_or_default();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\n{key}Connection: close\r\n\r\n").ok()?;
    let mut text = Vec::new();
    stream.read_to_end(&mut text).ok()?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}
