//! Recipes against the real thing: files, servers, and the tools themselves where they are installed.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, UdpSocket};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::Kitchen;
use crate::support::{Site, skip};

/// The address of a web server that lives as long as the test's process, with these pages.
pub(super) fn server(pages: &[(&'static str, &'static str)]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let pages = pages.to_vec();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let (mut request, mut byte) = (Vec::new(), [0]);
            while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
                request.push(byte[0]);
            }
            let request = String::from_utf8(request).unwrap();
            let path = request.split(' ').nth(1).unwrap();
            let page = pages.iter().find(|(known, _)| *known == path);
            let (status, body) = page.map_or(("404 Not Found", ""), |(_, body)| ("200 OK", *body));
            let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\n");
            write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        }
    });
    format!("http://{address}")
}

/// Where a program is, by patterns of folders; says that it is not there.
fn tool(names: &[&str], folders: &[&str]) -> Option<PathBuf> {
    let mut all: Vec<PathBuf> = folders.iter().map(PathBuf::from).collect();
    // Each version of PostgreSQL has a folder of its own.
    for version in fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten() {
        all.push(version.path().join("bin"));
    }
    let found = all.into_iter().find(|dir| names.iter().all(|name| dir.join(name).exists()));
    if found.is_none() {
        skip(&format!("there is no {} here", names.join(" and ")));
    }
    found
}

fn installed(names: &[&str]) -> Option<PathBuf> {
    tool(names, &["/usr/bin", "/usr/sbin", "/bin"])
}

fn age(path: PathBuf, age: Duration) {
    let file = File::options().append(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - age).unwrap();
}

const DAY: Duration = Duration::from_secs(86_400);

#[test]
fn backup_age() {
    let mut kitchen = Kitchen::of("backup_age");
    let site = &kitchen.site;
    for job in ["jobs", "jobs/db \"main\"", "jobs/web", "jobs/new"] {
        fs::create_dir(site.path(job)).unwrap();
    }
    age(site.write("jobs/db \"main\"/1 old.dump", "123", 0o644), 2 * DAY);
    site.write("jobs/db \"main\"/2.dump", "12345", 0o644);
    age(site.write("jobs/web/site.tar", "12", 0o644), 3 * DAY);
    // A backup that is being written is none yet.
    site.write("jobs/web/site.tar.part", "", 0o644);
    kitchen.env("DIR", &kitchen.path("jobs"));
    let ran = kitchen.run();
    let size = |job: &str| ran.value("backup_size", &json!({ "job": job })).clone();
    assert_eq!([size("db \"main\""), size("web"), size("new")], [json!(5), json!(2), json!(0)]);
    let of = |job: &str| ran.value("backup_age", &json!({ "job": job })).as_u64().unwrap();
    assert!(of("db \"main\"") < 3600 && (259_200..262_800).contains(&of("web")), "{}", ran.report);
    assert_eq!(ran.report["status"], "critical");
    let message = ran.report["message"].as_str().unwrap();
    assert!(message.contains("new: no backup") && message.contains("web: 72 h old"), "{message}");

    // A folder that may not be read is not a folder without backups.
    kitchen.tool("find", "echo \"find: '$1': Input/output error\" >&2; exit 1");
    let ran = kitchen.run();
    assert_eq!(*ran.value("backup_age", &json!({ "job": "web" })), Value::Null);
    assert!(!ran.text().contains("backup_size"), "{}", ran.report);
    assert_eq!(ran.report["status"], "unknown");
    assert!(ran.report["message"].as_str().unwrap().contains("web: not all can be seen"));
    fs::remove_file(kitchen.site.path("tools/find")).unwrap();
    // What was not printed is a failure of the run, also where another job comes after it.
    kitchen.tool("talaia", r#"case "$*" in *job=new*) exit 3 ;; esac"#);
    assert_eq!(kitchen.run().report["outcome"]["code"], 1);
    fs::remove_file(kitchen.site.path("tools/talaia")).unwrap();

    fs::create_dir(kitchen.site.path("nothing")).unwrap();
    kitchen.env("DIR", &kitchen.path("nothing"));
    kitchen.run().failed(1, "there are no folders in");
}

#[test]
fn cron_jobs() {
    let mut kitchen = Kitchen::of("cron_jobs");
    kitchen.env("DIR", &kitchen.path("jobs"));
    kitchen.run().failed(2, "jobs");
    fs::create_dir(kitchen.site.path("jobs")).unwrap();
    kitchen.run().failed(1, "no job has left its exit code");
    age(kitchen.site.write("jobs/good", "0\n", 0o644), DAY);
    kitchen.site.write("jobs/it's \"bad\"", "3\n", 0o644);
    kitchen.site.write("jobs/torn", "", 0o644);
    kitchen.site.write("jobs/bare", "4", 0o644);
    let ran = kitchen.run();
    let code = |job: &str| ran.value("job_code", &json!({ "job": job })).clone();
    assert_eq!(
        [code("good"), code("it's \"bad\""), code("torn")],
        [json!(0), json!(3), Value::Null]
    );
    let seconds = ran.value("job_age", &json!({ "job": "good" })).as_u64().unwrap();
    assert!((86_400..90_000).contains(&seconds), "{seconds}");
    assert_eq!(ran.report["message"], "bare: exit code 4; it's \"bad\": exit code 3");
    assert_eq!(ran.report["status"], "critical");
    kitchen.tool("talaia", r#"case "$*" in *job=good*) exit 3 ;; esac"#);
    assert_eq!(kitchen.run().report["outcome"]["code"], 1);
}

/// The line that the page proposes for the crontab, run by a shell.
#[test]
fn the_crontab_line_leaves_what_cron_jobs_reads() {
    let mut kitchen = Kitchen::of("cron_jobs");
    let page = fs::read_to_string(super::cookbook().join("../../docs/cookbook.md")).unwrap();
    let line = page.lines().find(|line| line.starts_with("0 3 * * * ")).unwrap();
    let job = line.strip_prefix("0 3 * * * ").unwrap();
    assert!(!job.contains('%'), "cron takes it for a line end");
    fs::create_dir(kitchen.site.path("jobs")).unwrap();
    let jobs = kitchen.path("jobs");
    let job = job.replace("/var/lib/jobs", &jobs).replace("/usr/local/bin/backup-db", "(exit 7)");
    assert!(kitchen.site.shell(&job).status().unwrap().success());
    kitchen.env("DIR", &jobs);
    assert_eq!(*kitchen.run().value("job_code", &json!({ "job": "backup-db" })), json!(7));
    assert_eq!(fs::read_dir(&jobs).unwrap().count(), 1);
}

/// One state folder over several runs, which takes an agent: `talaia test` works on a copy.
#[test]
fn log_patterns() {
    let Some(_) = installed(&["python3"]) else { return };
    let mut site = Site::new();
    fs::create_dir(site.path("plugins")).unwrap();
    let append = |site: &Site, text: &str| {
        let path = site.path("log");
        File::options().create(true).append(true).open(path).unwrap().write_all(text.as_bytes())
    };
    append(&site, "error: of yesterday\n").unwrap();
    site.write(
        "plugins/log_patterns",
        fs::read(super::cookbook().join("log_patterns")).unwrap(),
        0o755,
    );
    let sidecar = fs::read_to_string(super::cookbook().join("log_patterns.toml"))
        .unwrap()
        .replace("[config.patterns]", "[config.patterns]\nerrors = '^error: '");
    let sidecar = sidecar.replace("/var/log/auth.log", &site.path("log").display().to_string());
    site.write("plugins/log_patterns.toml", sidecar.replace("\"30s\"", "\"1h\""), 0o644);
    site.configure(
        "plugin_dirs = [\"plugins\"]\n[outputs.file]\ntype = \"file\"\npath = \"reports\"\n",
    );
    site.start_agent();
    let errors = |site: &Site, run: usize| {
        site.until("report", |site| {
            let reports = site.read("reports");
            let report: Value = serde_json::from_str(reports.lines().nth(run)?).ok()?;
            let metrics = report["metrics"].as_array().unwrap();
            let of = |metric: &&Value| metric["tags"]["pattern"] == "errors";
            Some(metrics.iter().find(of).unwrap_or_else(|| panic!("{report}"))["value"].clone())
        })
    };
    let mut runs = 0;
    let mut counted = |site: &Site| {
        if runs > 0 {
            site.talaia(&["trigger", "log_patterns", "--config", "talaia.toml"]).code(0);
        }
        runs += 1;
        errors(site, runs - 1)
    };
    // What was there before does not count.
    assert_eq!(counted(&site), 0);
    append(&site, "error: one\nfine\nerror: \u{e9} two\nerror: half a li").unwrap();
    assert_eq!(counted(&site), 2);
    append(&site, "ne\n").unwrap();
    assert_eq!(counted(&site), 3);
    // Rotated: another file of that name.
    fs::rename(site.path("log"), site.path("log.1")).unwrap();
    append(&site, "error: in the new file\n").unwrap();
    assert_eq!(counted(&site), 4);
    // Cut short in its place.
    File::create(site.path("log")).unwrap();
    append(&site, "error: x\n").unwrap();
    assert_eq!(counted(&site), 5);
    // A state that is broken, as by a disk that was full, is begun anew.
    let state = site.shell("find data -name state.json").output().unwrap().stdout;
    let state = String::from_utf8(state).unwrap();
    for broken in ["", "[]", "{}"] {
        assert!(site.path(state.trim()).is_file(), "{state}");
        site.write(state.trim(), broken, 0o644);
        assert_eq!(counted(&site), 0, "{broken}");
        append(&site, "error: y\n").unwrap();
        assert_eq!(counted(&site), 1, "{broken}");
    }
}

#[test]
fn api_latency() {
    let Some(_) = installed(&["curl"]) else { return };
    let mut kitchen = Kitchen::of("api_latency");
    let server = server(&[("/health", "fine")]);
    kitchen.env("URL", &format!("{server}/health"));
    let ran = kitchen.run();
    let tags = json!({ "api": "orders" });
    assert_eq!(*ran.value("api_up", &tags), json!(true));
    assert_eq!(*ran.value("api_code", &tags), json!(200));
    let time = |name| ran.value(name, &tags).as_f64().unwrap();
    let parts = time("api_connect") + time("api_wait");
    assert!(parts > 0.0 && parts <= time("api_time"), "{}", ran.report);
    kitchen.env("URL", &format!("{server}/nothing"));
    let ran = kitchen.run();
    assert_eq!(*ran.value("api_up", &tags), json!(false));
    assert_eq!(
        (&ran.report["status"], &ran.report["message"]),
        (&json!("critical"), &json!("HTTP 404"))
    );
    // A port that was free a moment ago.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    kitchen.env("URL", &format!("http://{address}/"));
    let text = kitchen.run().text();
    assert!(text.starts_with("api_up{api=orders} false\ncritical: curl: (7)"), "{text}");
}

#[test]
fn apt_updates() {
    let Some(_) = installed(&["apt-get"]) else { return };
    let ran = Kitchen::of("apt_updates").run();
    let count = |name| ran.value(name, &Value::Null).as_u64().unwrap();
    assert!(count("apt_updates") >= count("apt_security"), "{}", ran.report);
    assert!(ran.value("apt_reboot", &Value::Null).is_boolean());
    assert!(ran.value("apt_lists_age", &Value::Null).is_u64());
    // What there is to update differs from day to day; this is how apt of Debian and Ubuntu says it.
    let kitchen = Kitchen::of("apt_updates");
    kitchen.prints(
        "apt-get",
        "Reading package lists...\nCalculating upgrade...\n\
         Inst base-files [12.4+deb12u11] (12.4+deb12u15 Debian:12.15/oldstable [amd64])\n\
         Inst libgcrypt20 [1.10.1-3] (1.10.1-3+deb12u1 Debian:12.15/oldstable, Debian-Security:12/oldstable-security [amd64])\n\
         Inst openssl [3.0.2-0ubuntu1.15] (3.0.2-0ubuntu1.18 Ubuntu:22.04/jammy-updates, Ubuntu:22.04/jammy-security [amd64])\n\
         Inst linux-image-6.1 (6.1.1 Debian:12.15/oldstable [amd64])\n\
         Inst security-tools [1] (2 Debian:12.15/oldstable [all])\n\
         Conf libgcrypt20 (1.10.1-3+deb12u1 Debian:12.15/oldstable [amd64])",
    );
    let ran = kitchen.run();
    assert_eq!(*ran.value("apt_updates", &Value::Null), json!(5));
    assert_eq!(*ran.value("apt_security", &Value::Null), json!(2));
}

#[test]
fn ping() {
    let Some(_) = installed(&["ping"]) else { return };
    let mut kitchen = Kitchen::of("ping");
    kitchen.env("HOSTS", "127.0.0.1");
    let ran = kitchen.run();
    let tags = json!({ "host": "127.0.0.1" });
    assert_eq!(*ran.value("ping_loss", &tags), json!(0.0));
    let time = |name| ran.value(name, &tags).as_f64().unwrap();
    assert!(time("ping_best") <= time("ping_mean") && time("ping_mean") <= time("ping_worst"));
    // Others are still asked where one is not known.
    kitchen.env("HOSTS", "no-such-host.invalid 127.0.0.1");
    let ran = kitchen.run();
    assert_eq!(ran.report["outcome"]["code"], 2, "{}", ran.report);
    assert_eq!(*ran.value("ping_loss", &tags), json!(0.0));
    assert!(ran.report["stderr"].as_str().unwrap().contains("no-such-host.invalid"));
    // What ping prints of a host that does not answer; there is none here that is sure not to.
    kitchen.tool("ping", "cat <<'EOT'\nPING 192.0.2.1 (192.0.2.1) 56(84) bytes of data.\n\n--- 192.0.2.1 ping statistics ---\n5 packets transmitted, 0 received, +3 errors, 100% packet loss, time 812ms\npipe 3\nEOT\nexit 1");
    kitchen.env("HOSTS", "192.0.2.1");
    assert_eq!(kitchen.run().text(), "ping_loss{host=192.0.2.1} 100 %\nok");
    // All at once: the first one ends only when the second one has been asked.
    kitchen.tool(
        "ping",
        "for host; do :; done\n\
         case $host in\n\
         first) until [ -e asked ]; do sleep 0.1; done; rm asked ;;\n\
         second) : >asked ;;\n\
         esac\n\
         echo '5 packets transmitted, 0 received, 100% packet loss, time 812ms'; exit 1",
    );
    kitchen.env("HOSTS", "first second");
    let ran = kitchen.run();
    for host in ["first", "second"] {
        assert_eq!(*ran.value("ping_loss", &json!({ "host": host })), json!(100.0));
    }
}

/// A name server that knows one name (an A record, 192.0.2.7) and denies the others.
fn name_server() -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut query = [0; 512];
        while let Ok((_, from)) = socket.recv_from(&mut query) {
            // The question ends with an empty label, its type and its class.
            let labels = query[12..].iter().position(|byte| *byte == 0).unwrap();
            let question = &query[12..12 + labels + 5];
            let known = question.starts_with(b"\x03www\x07example\x03org\0");
            let mut answer = query[..2].to_vec();
            answer.extend([
                0x81,
                if known { 0x80 } else { 0x83 },
                0,
                1,
                0,
                u8::from(known),
                0,
                0,
                0,
                0,
            ]);
            answer.extend(question);
            if known {
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 7]);
            }
            socket.send_to(&answer, from).unwrap();
        }
    });
    port
}

#[test]
fn dns() {
    let Some(_) = installed(&["dig"]) else { return };
    let mut kitchen = Kitchen::of("dns");
    kitchen.env("SERVERS", "127.0.0.1");
    kitchen.env("PORT", &name_server().to_string());
    let ran = kitchen.run();
    let tags = json!({ "server": "127.0.0.1" });
    assert_eq!(*ran.value("dns_ok", &tags), json!(true));
    assert_eq!(*ran.value("dns_answers", &tags), json!(1));
    assert!(ran.value("dns_time", &tags).is_u64());
    assert_eq!(ran.report["status"], "ok");
    kitchen.env("NAME", "nothing.example.org");
    let ran = kitchen.run();
    assert_eq!(*ran.value("dns_ok", &tags), json!(false));
    assert_eq!(*ran.value("dns_answers", &tags), json!(0));
    assert_eq!(ran.report["message"], "127.0.0.1: NXDOMAIN, nothing found");
    // Nobody listens there.
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    kitchen.env("PORT", &port.to_string());
    assert_eq!(
        kitchen.run().text(),
        "dns_ok{server=127.0.0.1} false\n\
         critical: 127.0.0.1: no answer"
    );
}

#[test]
fn queue_depth() {
    let Some(bin) = installed(&["redis-server", "redis-cli"]) else { return };
    let mut kitchen = Kitchen::of("queue_depth");
    let socket = kitchen.path("redis.sock");
    let mut server = std::process::Command::new(bin.join("redis-server"));
    server.args(["--port", "0", "--unixsocket", &socket, "--save", "", "--daemonize", "no"]);
    kitchen.site.start(server, "redis.log");
    kitchen.site.until("Redis", |site| {
        let ping = site.shell("redis-cli -s redis.sock ping").output().unwrap();
        ping.status.success().then_some(())
    });
    let ask = |line: &str| {
        let done = kitchen.site.shell(&format!("redis-cli -s redis.sock {line}")).output().unwrap();
        assert!(done.status.success(), "{line}: {done:?}");
    };
    for line in ["rpush mail a b c", "zadd later 1 x 2 y", "xadd events '*' k v", "set other 1"] {
        ask(line);
    }
    kitchen.env("REDIS", &format!("-s {socket}"));
    kitchen.env("QUEUES", "mail later events empty");
    assert_eq!(
        kitchen.run().text(),
        "queue_depth{queue=mail} 3 jobs\nqueue_depth{queue=later} 2 jobs\n\
         queue_depth{queue=events} 1 jobs\nqueue_depth{queue=empty} 0 jobs\nok"
    );
    kitchen.env("QUEUES", "other mail");
    let ran = kitchen.run();
    assert_eq!(ran.text(), "queue_depth{queue=mail} 3 jobs\nunknown");
    assert_eq!(ran.report["stderr"], "other: string");
    // The connection is lost between the two questions.
    kitchen.tool("redis-cli", "case \"$*\" in *type*) echo list ;; *) exit 1 ;; esac");
    kitchen.run().failed(1, "");
    kitchen
        .tool("redis-cli", "case \"$*\" in *type*) echo list ;; *) echo 'NOPERM no llen' ;; esac");
    kitchen.run().failed(1, "mail: NOPERM no llen");
    fs::remove_file(kitchen.site.path("tools/redis-cli")).unwrap();
    kitchen.env("REDIS", "-s nowhere.sock");
    kitchen.run().failed(1, "Could not connect to Redis");
}

/// A server of its own, by a user who is not root: it does not run as root.
#[test]
fn postgres() {
    let Some(bin) = tool(&["initdb", "postgres"], &["/usr/bin"]) else { return };
    let Some(_) = installed(&["psql"]) else { return };
    let mut kitchen = Kitchen::at(Site::of_ordinary_user(), "postgres");
    let here = kitchen.path(".");
    let bin = bin.display().to_string();
    let shell = |site: &Site, line: &str| {
        let done = site.shell(line).output().unwrap();
        assert!(done.status.success(), "{line}: {done:?}");
    };
    shell(&kitchen.site, &format!("'{bin}/initdb' -D db -U admin -A trust --no-sync"));
    let start = format!(
        "exec '{bin}/postgres' -D db -c listen_addresses= -c unix_socket_directories='{here}' -c fsync=off"
    );
    let command = kitchen.site.shell(&start);
    kitchen.site.start(command, "postgres.log");
    let ask = format!("psql -h '{here}' -d postgres -U admin -XAtq -v ON_ERROR_STOP=1");
    kitchen.site.until("PostgreSQL", |site| {
        site.shell(&format!("{ask} -c 'SELECT 1'")).output().unwrap().status.success().then_some(())
    });
    // The two statements that the page shows, and a name that is as bad as can be.
    let page = fs::read_to_string(super::cookbook().join("../../docs/cookbook.md")).unwrap();
    let lines: Vec<&str> = page.lines().collect();
    let role = lines.iter().find(|line| line.starts_with("CREATE ROLE talaia")).unwrap();
    let odd = r#"CREATE DATABASE "odd ""name"" \ ö""#;
    for statement in [*role, odd] {
        shell(&kitchen.site, &format!("{ask} <<'EOT'\n{statement}\nEOT"));
    }
    kitchen.env("PGHOST", &here);
    kitchen.env("PGUSER", "talaia");
    let ran = kitchen.run();
    let of = |name, database: &str| ran.value(name, &json!({ "database": database })).as_u64();
    for database in ["postgres", "odd \"name\" \\ ö"] {
        assert!(of("pg_size", database).unwrap() > 1_000_000, "{}", ran.report);
        assert_eq!(of("pg_deadlocks", database), Some(0));
    }
    assert_eq!(of("pg_connections", "postgres"), Some(1));
    assert!(ran.value("pg_connections_used", &Value::Null).as_f64().unwrap() > 0.0);
    assert_eq!(ran.report["status"], "ok");
    kitchen.env("PGHOST", "/nowhere");
    kitchen.run().failed(2, "No such file or directory");
}
