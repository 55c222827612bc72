//! What the pages show of plugins and outputs of an agent, run by one.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::Value;
use talaia::contract::explain::{Kind, Page, Prints};

use crate::support::{Site, finish, http};

use super::{Runner, plugin, run_by, table};

const HUB: &str = "[hub]\nlisten = \"127.0.0.1:0\"\n";

/// The agent's own hub, as a program and as a person sees it.
struct Hub {
    url: String,
    key: String,
    cookie: String,
}

impl Hub {
    fn of(site: &Site) -> Self {
        let found: Value = site.until("a hub", |site| {
            serde_json::from_str(&site.read("data/hub/credentials.json")).ok()
        });
        let text = |name: &str| found[name].as_str().unwrap().to_owned();
        let url = text("url");
        let link = site.until("a login link", |site| {
            let done = site.talaia(&["hub", "login", "-c", "talaia.toml"]);
            (done.code == 0).then(|| done.stdout.trim().to_owned())
        });
        let path = link.strip_prefix(&url).unwrap();
        let answer = Self::asked(&url, &format!("POST {path}"), "Content-Length: 0\r\n");
        let cookie = answer.to_lowercase().split("set-cookie: ").nth(1).unwrap().to_owned();
        let cookie = cookie.split(';').next().unwrap().to_owned();
        Self { key: text("key"), url, cookie }
    }

    fn asked(url: &str, what: &str, headers: &str) -> String {
        let host = url.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(host).unwrap();
        write!(stream, "{what} HTTP/1.1\r\nHost: {host}\r\n{headers}Connection: close\r\n\r\n")
            .unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn runs(&self, plugin: &str) -> Vec<Value> {
        let path = format!("/api/v1/runs?plugin={plugin}");
        let (_, body) = http(&self.url, &path, Some(&self.key)).unwrap();
        let page: Value = serde_json::from_str(&body).unwrap();
        page["items"].as_array().unwrap().clone()
    }

    fn stands(&self, plugin: &str, state: &str) -> bool {
        let cookie = format!("Cookie: {}\r\n", self.cookie);
        let page = Self::asked(&self.url, &format!("GET /?state={state}"), &cookie);
        assert!(page.starts_with("HTTP/1.1 200 "), "{page}");
        page.contains(&format!(">{plugin}</a>"))
    }
}

/// The codes of the page's kind that a plugin has come to so far.
fn codes(site: &Site, hub: &Hub, page: &Page, name: &str) -> BTreeSet<String> {
    let mut codes = BTreeSet::new();
    match page.kind {
        Kind::Warning => {
            for run in hub.runs(name) {
                codes.insert(String::new());
                let warnings = run["warnings"].as_array().unwrap().iter();
                codes
                    .extend(warnings.map(|words| {
                        words.as_str().unwrap().split(':').next().unwrap().to_owned()
                    }));
            }
        }
        Kind::Outcome => {
            codes.extend(
                hub.runs(name)
                    .iter()
                    .map(|run| run["outcome"]["kind"].as_str().unwrap().to_owned()),
            );
        }
        Kind::Verdict => {
            // `20:42:10 no start name …` of runs, and `name  crashing …` of what lives.
            for line in site.read("agent.log").lines() {
                if let Some((word, rest)) = line.get(9..).and_then(|line| line.split_at_checked(9))
                    && rest.split(' ').next() == Some(name)
                {
                    codes.insert(word.trim().to_owned());
                }
            }
            let status = site.talaia(&["status", "-c", "talaia.toml"]);
            for line in status.stdout.lines() {
                let mut words = line.split_whitespace();
                if words.next() == Some(name) {
                    codes.extend(words.next().map(str::to_owned));
                }
            }
        }
        Kind::Plugin => {
            let state = site.status().map(|status| status["plugins"][name]["state"].clone());
            codes.extend(state.and_then(|state| Some(state.as_str()?.to_owned())));
        }
        Kind::Standing => {
            for state in ["ok", "warning", "critical", "failing", "rejecting"] {
                if hub.stands(name, state) {
                    codes.insert(state.to_owned());
                }
            }
        }
        kind => panic!("{kind:?} is not of plugins"),
    }
    codes
}

/// What lasts for a second or two, and what it turns into.
fn or_later(code: &str) -> &str {
    match code {
        "back-off" => "crashing",
        "backing_off" => "crash_loop",
        code => code,
    }
}

#[test]
fn what_pages_show_of_plugins_of_an_agent_comes_to_what_they_say() {
    let mut site = Site::new();
    site.script("disk.sh", "echo '{\"disk_used\": 71.2}'");
    let pages: Vec<Page> = run_by(Runner::Agent)
        .into_iter()
        .filter(|page| {
            page.kind != Kind::Output && page.kind != Kind::Eviction && page.code != "late"
        })
        .collect();
    let mut config = HUB.to_owned();
    let mut add = |name: &str, page: &Page, prints: Prints| {
        let shown = prints.to_string();
        if let Some(command) = shown.strip_prefix("$ ") {
            site.script(name, "echo '{\"disk_used\": 71.2}'");
            finish(site.shell(&command.replace("disk.sh", name)), b"").code(0);
        } else {
            site.write(name, plugin(prints), 0o755);
        }
        config += &table(name, page.settings);
    };
    let mut configured = String::new();
    for (n, page) in pages.iter().enumerate() {
        let name = format!("wrong{n}");
        match (page.wrong, page.right, page.example) {
            (Some(wrong), Some(right), _) => {
                add(&name, page, wrong);
                add(&format!("right{n}"), page, right);
            }
            (_, _, Some(text)) if text.starts_with('[') => {
                let (_, rest) = text.split_once(']').unwrap();
                configured += &format!("[plugins.{name}]{rest}\n");
            }
            (_, _, text) => add(&name, page, Prints::Text(text.unwrap())),
        }
    }
    site.configure(&(config + &configured));
    let agent = site.start_agent();
    let hub = Hub::of(&site);
    for (n, page) in pages.iter().enumerate() {
        let Page { kind, code, .. } = *page;
        site.until(&format!("{kind:?} {code}"), |site| {
            let codes = codes(site, &hub, page, &format!("wrong{n}"));
            (codes.contains(code) || codes.contains(or_later(code))).then_some(())
        });
        if page.right.is_some() {
            let name = format!("right{n}");
            let right = site.until(&format!("{name} of {code}"), |site| {
                let mut codes = codes(site, &hub, page, &name);
                // What it is until its first run has ended says nothing.
                codes.retain(|code| code != "new" && code != "running");
                (!codes.is_empty()).then_some(codes)
            });
            assert!(!right.contains(code) && !right.contains(or_later(code)), "{code}: {right:?}");
        }
    }
    assert!(site.stop(agent).success(), "{}", site.read("agent.log"));
}

#[test]
fn what_the_page_of_late_shows_is_late() {
    let pages = run_by(Runner::Agent);
    let page = pages.iter().find(|page| page.code == "late").unwrap();
    // The folder for its data stands in the same table.
    let config = |prints: Prints| {
        let text = String::from_utf8(prints.bytes()).unwrap();
        text.strip_prefix("[agent]\n").unwrap().to_owned() + "\n" + HUB
    };
    let mut site = Site::new();
    site.script("disk.sh", "echo '{\"disk_used\": 71.2}'");
    site.configure(&config(page.right.unwrap()));
    site.talaia(&["check", "-c", "talaia.toml"]).code(0);
    site.configure(&config(page.wrong.unwrap()));
    let agent = site.start_agent();
    let hub = Hub::of(&site);
    site.until("late", |site| codes(site, &hub, page, "disk").contains("late").then_some(()));
    assert!(site.stop(agent).success(), "{}", site.read("agent.log"));
}

#[test]
fn what_pages_show_of_outputs_comes_to_what_they_say() {
    let mut site = Site::new();
    site.script("disk.sh", "echo '{\"disk_used\": 71.2}'");
    let pages: Vec<Page> =
        run_by(Runner::Agent).into_iter().filter(|page| page.kind == Kind::Output).collect();
    let mut config = "[plugins.disk]\ncommand = [\"./disk.sh\"]\n".to_owned();
    for page in &pages {
        config += &page
            .example
            .unwrap()
            .replace("[outputs.main]", &format!("[outputs.{}]\nstart = \"oldest\"", page.code));
        config.push('\n');
    }
    site.write("hub.key", "none\n", 0o600);
    site.configure(&config);
    let agent = site.start_agent();
    for page in &pages {
        site.until(page.code, |site| {
            (site.status()?["outputs"][page.code]["state"] == page.code).then_some(())
        });
    }
    assert!(site.stop(agent).success(), "{}", site.read("agent.log"));
}

#[test]
fn settings_that_pages_show_are_settings() {
    for page in run_by(Runner::Agent).iter().filter(|page| page.kind == Kind::Eviction) {
        let site = Site::new();
        let text = page.example.unwrap();
        site.write("talaia.toml", format!("{text}\n[agent]\ndata_dir = \"data\"\n"), 0o644);
        site.talaia(&["check", "-c", "talaia.toml"]).code(0);
    }
}
