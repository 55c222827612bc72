//! `talaia top`, `status` and the lines of `run`, in a terminal as a person has one.

use std::io::Write;
use std::num::NonZero;
use std::os::unix::net::UnixListener;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::Signal;

use crate::pty::Pty;
use crate::support::{PATIENCE, Site};

const PLUGINS: &str = r#"
[plugins.hello]
command = ["./hello"]
interval = "1s"

[plugins.refuses]
command = ["./refuses"]
interval = "1s"

[plugins.fails]
command = ["./fails"]
interval = "1s"

[plugins.off]
command = ["./hello"]
enabled = false

[outputs.out]
type = "file"
path = "out.jsonl"
"#;

/// A site whose plugins have all the ways to end that are looked at here.
fn site() -> Site {
    let site = Site::new();
    site.script("hello", "echo '{\"load1\": 0.42, \"users\": 3}'");
    site.script("refuses", "echo '{\"good\": 1, \"foo-bar\": 2}'");
    site.script("fails", "echo 'no route to the backup host' >&2; exit 3");
    site.configure(PLUGINS);
    site
}

fn running() -> Site {
    let mut site = site();
    site.start_agent();
    let all_ran = |site: &Site| {
        let status = site.status()?;
        let ran = |name: &str| status["plugins"][name]["runs"].as_u64() > Some(1);
        ["hello", "refuses", "fails"].iter().all(|name| ran(name)).then_some(())
    };
    site.until("runs of all plugins", all_ran);
    site
}

fn top(site: &Site, columns: u16, rows: u16) -> Pty {
    let words = ["top", "--config", "talaia.toml", "--interval", "100ms"];
    let pty = Pty::start(site.command(&words), columns, rows);
    pty.until("table", |screen| screen.contains("PLUGIN"));
    pty
}

/// The first words of the table's rows.
fn names(screen: &str) -> Vec<&str> {
    let rows = screen.lines().skip_while(|line| !line.starts_with("PLUGIN")).skip(1);
    let word = |line| str::split_whitespace(line).next();
    rows.map_while(word).collect()
}

#[test]
fn the_table_is_sorted_filtered_paused_and_opened_by_keys() {
    let site = running();
    let mut top = top(&site, 80, 24);
    let screen = top.until("a first picture", |screen| screen.contains("stderr: no route"));
    let titles = screen.lines().find(|line| line.starts_with("PLUGIN")).unwrap();
    for title in ["STATUS▼", "EXIT", "NEXT", "RUN", "P50", "P99", "CPU", "RSS", "REFUS", "ACCPT"]
    {
        assert!(titles.contains(title), "no {title} in {titles}");
    }
    assert!(screen.contains("test-host") && screen.contains("→ out"), "{screen}");
    assert_eq!(names(&screen), ["fails", "refuses", "hello", "off"]);
    // Another column, and the other way around.
    top.press("S");
    let by_name = |screen: &str| names(screen) == ["fails", "hello", "off", "refuses"];
    top.until("an order by name", by_name);
    top.press("r");
    let reversed = |screen: &str| names(screen) == ["refuses", "off", "hello", "fails"];
    top.until("the order reversed", reversed);
    // Only some.
    top.press("/hel");
    top.until("a filter", |screen| names(screen) == ["hello"] && screen.contains("/hel"));
    top.press("\r");
    // Nothing changes any more, though the plugin goes on.
    top.press("p");
    let paused = top.until("a pause", |screen| screen.contains("PAUSED"));
    let runs = |site: &Site| site.status()?["plugins"]["hello"]["runs"].as_u64();
    let before = site.until("a status", runs);
    site.until("further runs", |site| runs(site).filter(|n| *n > before + 1));
    assert_eq!(top.screen(), paused);
    top.press("p");
    top.until("life again", |screen| !screen.contains("PAUSED") && screen != paused);
    // Back to all of them, and to one at length.
    top.press("\u{1b}");
    top.until("all plugins", |screen| names(screen).len() == 4);
    top.press("g\r");
    let page = top.until("a page with a hint", |screen| screen.contains("hint: rename it to"));
    for words in ["refuses", "every 1s", "DURATION", "▇", "VALUES", "good", "line 1:13 name-hyphen"]
    {
        assert!(page.contains(words) || words == "▇" && page.contains('█'), "no {words}:\n{page}");
    }
    top.press("?");
    top.until("help", |screen| screen.contains("run the selected plugin now"));
    top.press("q");
    assert_eq!(top.end(), 0);
}

#[test]
fn a_plugin_is_run_by_a_key() {
    let mut site = site();
    site.configure("[plugins.seldom]\ncommand = [\"./hello\"]\ninterval = \"1h\"\n");
    site.start_agent();
    let runs = |site: &Site| site.status()?["plugins"]["seldom"]["runs"].as_u64();
    site.until("the first run", |site| runs(site).filter(|n| *n == 1));
    let mut top = top(&site, 80, 24);
    top.press("t");
    top.until("a word about it", |screen| screen.contains("seldom runs now"));
    site.until("another run", |site| runs(site).filter(|n| *n == 2));
    // Ctrl-C is a key here.
    top.press("\u{3}");
    assert_eq!(top.end(), 0);
}

#[test]
fn a_signal_gives_the_terminal_back() {
    let site = running();
    for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT] {
        let mut top = top(&site, 80, 24);
        assert!(top.look(vt100::Screen::alternate_screen));
        top.signal(signal);
        assert_eq!(top.end(), 0, "{signal:?}");
    }
}

#[test]
fn a_terminal_that_was_another_s_meanwhile_is_taken_again() {
    let site = running();
    let mut top = top(&site, 80, 24);
    let enters = |top: &Pty| top.raw().matches("\u{1b}[?1049h").count();
    // It does not stop, and goes on where it was stopped all the same; or by a key.
    top.signal(Signal::TSTP);
    for (n, again) in [(2, None), (3, Some("\u{c}"))] {
        match again {
            None => top.signal(Signal::CONT),
            Some(key) => top.press(key),
        }
        top.until("the screen again", |_| enters(&top) == n);
        top.until("the table again", |screen| screen.contains("PLUGIN"));
    }
    top.press("q");
    assert_eq!(top.end(), 0);
}

#[test]
fn every_size_of_a_terminal_will_do() {
    let site = running();
    let mut top = top(&site, 60, 15);
    let screen = top.screen();
    assert!(!screen.contains("ACCPT") && screen.contains("REFUS"), "{screen}");
    for (columns, rows) in [(200, 50), (20, 5), (3, 2), (80, 24)] {
        top.resize(columns, rows);
        // The last line is that of keys at every size.
        top.until("a picture of that size", |_| {
            top.look(|screen| {
                let line = screen.contents_between(rows - 1, 0, rows - 1, columns);
                line.trim_start().starts_with('q')
            })
        });
    }
    top.until("all columns", |screen| screen.contains("ACCPT"));
    top.press("q");
    assert_eq!(top.end(), 0);
}

#[test]
fn without_colours_nothing_is_lost() {
    let site = running();
    let is_coloured = |top: &Pty| {
        top.look(|screen| {
            let (rows, columns) = screen.size();
            let (rows, columns) = (rows.get(), columns.get());
            let places = (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column)));
            let mut cells = places.filter_map(|(row, column)| screen.cell(row, column));
            cells.any(|cell| cell.fgcolor() != vt100::Color::Default)
        })
    };
    let words = ["top", "--config", "talaia.toml"];
    let mut coloured = Pty::start(site.command(&words), 80, 24);
    coloured.until("table", |screen| screen.contains("failed"));
    assert!(is_coloured(&coloured));
    coloured.press("q");
    assert_eq!(coloured.end(), 0);
    let mut command = site.command(&words);
    command.env("NO_COLOR", "1");
    let mut plain = Pty::start(command, 80, 24);
    plain.until("table", |screen| screen.contains("failed") && screen.contains("refused"));
    assert!(!is_coloured(&plain));
    plain.press("q");
    assert_eq!(plain.end(), 0);
    assert!(!plain.raw().contains("38;5;"), "{}", plain.raw().escape_debug());
}

#[test]
fn an_agent_that_goes_away_is_said_and_picked_up_again() {
    let mut site = site();
    let agent = site.start_agent();
    site.until("an agent", Site::status);
    let mut top = top(&site, 80, 24);
    site.stop(agent);
    top.until("a word about it", |screen| screen.starts_with("NO ANSWER"));
    assert!(top.screen().contains("hello"), "what was known is gone:\n{}", top.screen());
    site.start_agent();
    top.until("the agent again", |screen| screen.contains("the agent was started again"));
    assert!(!top.screen().contains("NO ANSWER"));
    top.press("q");
    assert_eq!(top.end(), 0);
}

#[test]
fn an_agent_that_hangs_holds_no_key_up() {
    let mut site = site();
    let agent = site.start_agent();
    site.until("an agent", Site::status);
    let mut top = top(&site, 80, 24);
    site.signal(agent, Signal::STOP);
    top.press("t?");
    top.until("help", |screen| screen.contains("run the selected plugin now"));
    top.press("q");
    assert_eq!(top.end(), 0);
    site.signal(agent, Signal::CONT);
}

#[test]
fn who_has_no_terminal_or_no_agent_is_told_so() {
    let site = running();
    let words = ["top", "--config", "talaia.toml"];
    site.talaia(&words).code(2).says(&["stdout is none", "--once"]);
    let mut command = site.command(&words);
    command.env("TERM", "dumb");
    let mut dumb = Pty::start(command, 80, 24);
    assert_eq!(dumb.end(), 2);
    dumb.until("what to do instead", |screen| screen.contains("talaia top --once"));
    let done = site.talaia(&["top", "--once", "--config", "talaia.toml"]);
    assert_eq!(names(&done.code(0).stdout).len(), 4);
    assert!(!done.stdout.contains('\u{1b}'), "{}", done.stdout);
    site.talaia(&["top", "--once", "--sandbox", "--config", "talaia.toml"])
        .code(69)
        .says(&["no agent answers"]);
    let mut nobody =
        Pty::start(site.command(&["top", "--sandbox", "--config", "talaia.toml"]), 80, 24);
    assert_eq!(nobody.end(), 69);
    nobody.until("a word about it", |screen| screen.contains("no agent answers"));
}

#[test]
fn what_was_lost_is_a_finding_until_the_agent_starts_anew() {
    let mut site = Site::new();
    site.write("key", "a-key", 0o600);
    // Nobody listens there, and four runs are more than the quota.
    site.script(
        "large",
        "text=$(printf %04000d 0); n=0\n\
         while [ $n -lt 80 ]; do echo \"{\\\"m$n\\\": \\\"$text\\\"}\"; n=$((n + 1)); done",
    );
    let configure = |site: &Site, interval: &str, quota: &str| {
        let text = format!(
            "[plugins.large]\ncommand = [\"./large\"]\ninterval = \"{interval}\"\n\
             [outputs.far]\ntype = \"talaia\"\nurl = \"http://127.0.0.1:1\"\nkey = {{ file = \"key\" }}\n"
        );
        let path = site.configure(&text);
        let text = std::fs::read_to_string(path).unwrap();
        let quota = format!("quota = \"{quota}\", min_free");
        site.write("talaia.toml", text.replace("min_free", &quota), 0o644);
    };
    configure(&site, "200ms", "1MiB");
    let agent = site.start_agent();
    let check = |site: &Site| site.talaia(&["status", "--check", "--config", "talaia.toml"]);
    let lost = "lost since the agent started (quota): `talaia explain quota`";
    site.until("a loss", |site| check(site).stdout.contains(lost).then_some(()));
    check(&site).code(1);
    assert!(site.stop(agent).success());
    configure(&site, "1h", "64MiB");
    let agent = site.start_agent();
    let status = site.until("another life", Site::status);
    assert!(status["outputs"]["far"]["evicted"]["quota"].as_u64() > Some(0), "{status}");
    assert!(!check(&site).stdout.contains("lost"), "{}", check(&site).stdout);
    assert!(site.stop(agent).success());
}

#[test]
fn status_tells_scripts_by_its_exit_code_and_people_about_one_plugin() {
    let site = running();
    let status =
        |words: &[&str]| site.talaia(&[&["status", "--config", "talaia.toml"], words].concat());
    let all = status(&[]);
    let widest = all.code(0).stdout.lines().map(|line| line.chars().count()).max();
    assert!(widest <= Some(80), "{}", all.stdout);
    let check = status(&["--check"]);
    let lines: Vec<&str> = check.code(1).stdout.lines().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(lines[0], "plugin fails: its last run failed: exit 3");
    assert!(lines[1].starts_with("plugin refuses: its last run had 1 refused"), "{lines:?}");
    // Of one plugin, only what is found of that one counts.
    let hello = status(&["hello", "--check"]);
    assert_eq!(hello.code(0).stdout, "");
    status(&["fails", "--check"]).code(1);
    let page = status(&["refuses"]);
    for words in ["every 1s", "DURATION", "hint: rename it to `foo_bar`"] {
        assert!(page.code(0).stdout.contains(words), "no {words} in:\n{}", page.stdout);
    }
    let json = status(&["hello", "--json"]).code(0).json();
    assert_eq!(json["detail"]["values"][0]["name"], "load1");
    assert!(json["status"]["duration_p99"].as_f64() > Some(0.0), "{json}");
    assert!(json["detail"]["durations"].as_array().is_some_and(|all| all.len() > 1), "{json}");
    status(&["nobody"]).code(2).says(&["there is no plugin `nobody`"]);
}

#[test]
fn run_lines_on_a_terminal_stand_in_columns() {
    let site = site();
    let mut run = Pty::start(site.command(&["run", "--config", "talaia.toml"]), 80, 24);
    let all = |pty: &Pty| {
        let raw = pty.raw();
        ["delivered ", "hint: rename it to", "exit 3", "load1="]
            .iter()
            .all(|word| raw.contains(word))
    };
    run.until("all kinds of lines", |_| all(&run));
    run.signal(Signal::TERM);
    assert_eq!(run.end(), 0);
    let raw = run.raw();
    for line in raw.lines() {
        let text = plain(line);
        assert!(text.chars().count() <= 80, "{text}");
    }
    let find = |what: &str| raw.lines().find(|line| line.contains(what)).unwrap().to_owned();
    assert!(
        find("line 1:13 name-hyphen").contains("\u{1b}[31m"),
        "{}",
        find("name-hyphen").escape_debug()
    );
    let place = |line: &str, word: &str| plain(line).find(word).unwrap();
    let (good, bad) = (find("load1="), find("exit 3"));
    assert_eq!(place(&good, "hello"), place(&bad, "fails"));
    assert_eq!(place(&good, " ms"), place(&bad, " ms"), "{good}\n{bad}");
    assert!(plain(&find("delivered ")).contains("output    out"), "{}", find("delivered "));
    assert!(plain(&find("no route")).contains("stderr    fails"), "{}", find("no route"));
    // Where colours are not wanted there are none.
    let mut command = site.command(&["run", "--config", "talaia.toml"]);
    command.env("NO_COLOR", "1");
    let mut run = Pty::start(command, 80, 24);
    run.until("all kinds of lines", |_| all(&run));
    run.signal(Signal::TERM);
    assert_eq!(run.end(), 0);
    assert!(!run.raw().contains('\u{1b}'), "{}", run.raw().escape_debug());
}

/// An agent that answers when it is told to.
fn slow_agent(site: &Site, answer: mpsc::Receiver<()>) -> JoinHandle<()> {
    std::fs::create_dir_all(site.path("data")).unwrap();
    let socket = UnixListener::bind(site.path("data/talaia.sock")).unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = socket.accept().unwrap();
        answer.recv_timeout(PATIENCE).unwrap();
        let body = r#"{"dropped":3}"#;
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close";
        write!(stream, "{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    })
}

#[test]
fn long_work_says_that_it_goes_on_and_takes_it_back() {
    let words = ["quarantine", "drop", "--all", "--config", "talaia.toml"];
    let site = site();
    let (now, answer) = mpsc::channel();
    let agent = slow_agent(&site, answer);
    let mut drop = Pty::start(site.command(&words), 80, 24);
    drop.until("a line about it", |screen| screen.starts_with("dropping … 2s"));
    now.send(()).unwrap();
    assert_eq!(drop.end(), 0);
    let screen = drop.until("the outcome", |screen| screen.contains("3 items dropped"));
    assert!(!screen.contains("dropping"), "{screen}");
    agent.join().unwrap();
}

#[test]
fn long_work_says_nothing_where_nobody_reads_it() {
    let words = ["quarantine", "drop", "--all", "--config", "talaia.toml"];
    let site = site();
    let (now, answer) = mpsc::channel();
    let agent = slow_agent(&site, answer);
    let waits = std::thread::spawn(move || {
        // Longer than a terminal would wait for the line.
        std::thread::sleep(Duration::from_millis(1500));
        now.send(()).unwrap();
    });
    assert_eq!(site.talaia(&words).code(0).stderr, "3 items dropped\n");
    waits.join().unwrap();
    agent.join().unwrap();
}

/// A line without what only a terminal reads.
fn plain(line: &str) -> String {
    let mut parser = vt100::Parser::new(NonZero::<u16>::MIN, NonZero::new(500).unwrap(), 0);
    parser.process(line.as_bytes());
    parser.screen().contents().trim_end().to_owned()
}
