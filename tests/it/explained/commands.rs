//! Commands that the pages show.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;
use talaia::contract::explain::{Kind, Page};

use crate::support::{Site, finish};

use super::{Runner, run_by};

/// The commands of a page, without the prompt.
fn commands(page: &Page) -> Vec<&'static str> {
    page.example.unwrap().lines().filter_map(|line| line.strip_prefix("$ ")).collect()
}

#[test]
fn every_command_that_a_page_shows_is_one() {
    let site = Site::new();
    let mut seen = 0;
    for command in run_by(Runner::Commands).iter().flat_map(commands) {
        let command = command.split(" #").next().unwrap().trim_end();
        if !command.starts_with("talaia ") {
            continue;
        }
        let done = finish(site.shell(&format!("{command} --help")), b"");
        assert!(
            done.code == 0 && done.stdout.contains("Usage: talaia "),
            "{command}: {}",
            done.stderr
        );
        seen += 1;
    }
    assert!(seen > 40);
}

#[test]
fn commands_that_pages_show_of_exit_codes_end_so() {
    for page in run_by(Runner::Commands).iter().filter(|page| page.kind == Kind::Exit) {
        let site = Site::new();
        site.configure("");
        fs::create_dir(site.path("data")).unwrap();
        let mut shell = site.shell(&commands(page).join("\n"));
        shell.env("TALAIA_CONFIG_FILE", site.path("talaia.toml"));
        finish(shell, b"").code(page.code.parse().unwrap());
    }
}

/// Runs each command that leads to a change on a hub once, and sees what the pages say it is seen as.
#[test]
fn commands_that_pages_show_of_changes_on_a_hub_are_seen_as_they_say() {
    let mut site = Site::new();
    // Who runs what is under review may pass through here.
    fs::set_permissions(site.path("."), fs::Permissions::from_mode(0o711)).unwrap();
    site.configure("[hub]\nlisten = \"127.0.0.1:0\"\n");
    site.talaia(&["new", "web-check", "--lang", "sh"]).code(0);
    site.start_agent();
    site.until("a hub", |site| {
        site.read("data/hub/credentials.json").contains("url").then_some(())
    });
    let shell = |line: &str| {
        let mut shell = site.shell(line);
        shell.env("TALAIA_CONFIG_FILE", site.path("talaia.toml"));
        finish(shell, b"")
    };
    let said = |line: &str| -> Vec<Value> {
        // Of what was rejected `status` ends with 1.
        shell(line).stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let seen = |page: &Page| match page.kind {
        Kind::Audit => {
            said("talaia keys audit --json").iter().any(|entry| entry["action"] == page.code)
        }
        Kind::Key => said("talaia keys list --json").iter().any(|key| key["state"] == page.code),
        _ => {
            let package = said("talaia plugin status web-check 0.1.0 --json");
            package.iter().any(|version| version["state"] == page.code)
        }
    };
    let mut pages: BTreeMap<&str, Vec<Page>> = BTreeMap::new();
    for page in run_by(Runner::Commands) {
        if matches!(page.kind, Kind::Audit | Kind::Key | Kind::Version) {
            pages.entry(commands(&page)[0]).or_default().push(page);
        }
    }
    // In an order in which each can be done.
    let order = [
        "keys create web-1",
        "keys create ci",
        "keys rotate web-1",
        "keys revoke web-1",
        "keys create --plugin",
        "keys revoke --plugin",
        "keys rotate --secret-key",
        "hub login",
        "hub logout",
        "hub account create",
        "hub account disable",
        "hub account enable",
        "monitor create",
        "monitor edit",
        "monitor suspend",
        "monitor activate",
        "monitor delete",
        "plugin register",
        "plugin publish",
        "plugin submit",
        "plugin review web-check 0.1.0",
        "plugin review web-check 0.1.0 --run",
        "plugin reject",
        "plugin publish ./web-check",
        "plugin approve",
        "plugin withdraw",
        "plugin key --rotate",
    ];
    for begin in order {
        let begin = format!("talaia {begin}");
        let known = pages
            .keys()
            .copied()
            .filter(|command| command.starts_with(&begin))
            .min_by_key(|c| c.len());
        // The second time a version is handed in is no page's.
        let Some(command) = known else {
            shell(&begin).code(0);
            continue;
        };
        let pages = pages.remove(command).unwrap();
        shell(command).code(0);
        for page in pages {
            site.until(&format!("{:?} {} after {command}", page.kind, page.code), |_| {
                seen(&page).then_some(())
            });
        }
    }
    assert!(pages.is_empty(), "not run: {:?}", pages.keys());
}
