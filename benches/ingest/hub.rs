//! The hub in a process of its own: this program once more.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use talaia::hub::{Clock, Hub, Settings};

use super::START;
use super::client::{Answer, ask};

/// Names the folder of the hub that this process is to be.
const FOLDER: &str = "TALAIA_BENCH_HUB";

/// Serves until stdin ends, where the environment asks for it.
pub(crate) fn serve_if_asked() -> bool {
    let Some(folder) = std::env::var_os(FOLDER) else { return false };
    let mut settings = Settings::new("127.0.0.1:0".parse().expect("an address"), folder);
    // The points are of a day that does not pass while it is measured.
    settings.clock = Clock::from_fn(|| START + 86_400_000);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let hub = Hub::bind(settings).await.expect("a hub");
        let link = hub.login_link().expect("a link");
        println!("{} {} {link}", hub.addr(), hub.credentials().key);
        let (stop, stopped) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let _end = std::io::stdin().read(&mut [0]);
            let _stopping = stop.send(());
        });
        hub.serve(async {
            let _stopped = stopped.await;
        })
        .await
        .expect("the hub ends well");
    });
    true
}

/// A hub, and a connection to it.
pub(crate) struct HubProcess {
    child: Child,
    stdin: Option<ChildStdin>,
    stream: TcpStream,
    key: String,
    link: String,
    _folder: tempfile::TempDir,
}

impl HubProcess {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .env(FOLDER, folder.path().join("hub"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program once more");
        let stdin = child.stdin.take();
        let mut line = String::new();
        let stdout = child.stdout.take().expect("a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let mut words = line.split_whitespace().map(str::to_owned);
        let mut word = || words.next().expect("address, key and link");
        let (addr, key, link) = (word(), word(), word());
        let stream = TcpStream::connect(addr).expect("the hub listens");
        Self { child, stdin, stream, key, link, _folder: folder }
    }

    /// Sends one upload and waits until it is acknowledged.
    pub(crate) fn upload(&mut self, body: &[u8], reports: u64) {
        let head = format!(
            "POST /api/v1/ingest HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Encoding: zstd\r\nContent-Length: {}\r\n\r\n",
            self.key,
            body.len()
        );
        let Answer { status, body, .. } = ask(&mut self.stream, &head, body);
        let said = String::from_utf8_lossy(&body);
        assert!(status == 200 && said.contains(&format!("\"accepted\":{reports},")), "{said}");
    }

    /// The cookie of a new session.
    pub(crate) fn log_in(&mut self) -> String {
        let path = self.link.splitn(4, '/').nth(3).expect("a path").to_owned();
        let head = format!("POST /{path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
        let answer = ask(&mut self.stream, &head, b"");
        let cookie = answer.head.lines().find_map(|line| {
            line.to_ascii_lowercase()
                .starts_with("set-cookie:")
                .then(|| line[11..].trim().to_owned())
        });
        cookie.and_then(|c| c.split(';').next().map(str::to_owned)).expect("a cookie")
    }

    /// Asks for a page, and gives how long it is.
    pub(crate) fn get(&mut self, path: &str, cookie: &str) -> usize {
        let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nCookie: {cookie}\r\n\r\n");
        let answer = ask(&mut self.stream, &head, b"");
        let said = String::from_utf8_lossy(&answer.body);
        assert_eq!(answer.status, 200, "{path}: {said}");
        answer.body.len()
    }

    /// CPU time of all its threads so far.
    pub(crate) fn cpu(&self) -> Duration {
        cpu(self.child.id())
    }

    /// A line of its `status`, in megabytes.
    pub(crate) fn memory(&self, line: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("it lives");
        let line = status.lines().find_map(|l| l.strip_prefix(line)).expect("a line");
        line.trim().trim_end_matches(" kB").parse::<f64>().expect("a number") / 1e3
    }
}

impl Drop for HubProcess {
    fn drop(&mut self) {
        if let Some(mut stdin) = self.stdin.take() {
            let _told = stdin.write_all(b".");
        }
        let _ended = self.child.wait();
    }
}

/// CPU time of a process's threads that live, so far.
pub(crate) fn cpu(pid: u32) -> Duration {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("it lives");
    let nanos = tasks.filter_map(|task| {
        let stat = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        stat.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}
