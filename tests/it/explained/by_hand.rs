//! What the pages show of one plugin, run by `talaia test`.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;
use talaia::contract::explain::{Kind, Page, Prints};

use crate::support::{Site, installed, skip};

use super::{Runner, plugin, run_by, table};

/// Where plugins are run as whom the agent is meant to be: root may read everything. `sudo` is one that
/// wants a password.
fn site() -> Site {
    let site = Site::of_ordinary_user();
    fs::create_dir(site.path("tools")).unwrap();
    let sudo = "[ \"$1\" = -n ] && { echo 3; exit; }\n\
                echo 'sudo: a terminal is required to read the password' >&2\nexit 1";
    site.script("tools/sudo", sudo);
    site
}

/// The plugin of an example, once for each of its runs.
fn run(site: &Site, page: &Page, prints: Prints) -> (i32, Vec<Value>) {
    site.write("example", plugin(prints), 0o755);
    let program = site.command(&[]).get_program().to_owned();
    let bin = std::path::Path::new(&program).parent().unwrap().display().to_string();
    let path = format!("path = \"{}:{bin}:/usr/bin:/bin\"\n", site.path("tools").display());
    site.configure(&(path + &table("example", page.settings)));
    let times = match prints {
        Prints::Runs(runs) => runs.len(),
        _ if page.settings.is_some_and(|settings| settings.contains("trigger")) => 2,
        _ => 1,
    };
    let times = times.to_string();
    // Only of what stays silent is the end of it waited for.
    let wait = if page.code == "silent" && page.wrong == Some(prints) { "2s" } else { "25s" };
    let words =
        ["test", "example", "-c", "talaia.toml", "--json", "--wait", wait, "--times", &times];
    let done = site.talaia(&words);
    let reports: Vec<Value> =
        done.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(!reports.is_empty(), "{}: {}", page.code, done.stderr);
    (done.code, reports)
}

/// The codes of this kind that are in the reports.
fn codes(kind: Kind, reports: &[Value]) -> BTreeSet<&str> {
    match kind {
        Kind::Warning => {
            let warnings = reports.iter().flat_map(|report| report["warnings"].as_array().unwrap());
            warnings.map(|words| words.as_str().unwrap().split(':').next().unwrap()).collect()
        }
        Kind::Outcome => {
            reports.iter().map(|report| report["outcome"]["kind"].as_str().unwrap()).collect()
        }
        _ => panic!("{kind:?} is not told by `talaia test`"),
    }
}

#[test]
fn what_pages_show_of_one_plugin_comes_to_what_they_say() {
    let site = site();
    for page in run_by(Runner::ByHand).iter().filter(|page| page.kind != Kind::Diff) {
        let Page { kind, code, .. } = *page;
        if code == "module-missing" && !installed("python3") {
            skip("python3 is not here");
            continue;
        }
        // A plugin that reads no ticks is noticed when its pipe is full of them; `stream` has that.
        if code != "unread" {
            let wrong = page.wrong.unwrap_or_else(|| Prints::Text(page.example.unwrap()));
            let (exit, reports) = run(&site, page, wrong);
            assert!(codes(kind, &reports).contains(code), "{code}: {reports:?}");
            assert!(exit == 0 || exit == 1, "{code}: {exit}");
        }
        if let Some(right) = page.right {
            let (exit, reports) = run(&site, page, right);
            assert!(!codes(kind, &reports).contains(code), "{code}: {reports:?}");
            assert_eq!(exit, 0, "{code}: {reports:?}");
        }
    }
}

/// What was accepted before anything was declared, against what is declared now.
#[test]
fn what_pages_show_of_a_changed_contract_is_said_by_diff() {
    let site = site();
    for page in run_by(Runner::ByHand).iter().filter(|page| page.kind == Kind::Diff) {
        let said = |prints: Prints| {
            let before = Page { settings: None, ..*page };
            let (_, reports) = run(&site, &before, prints);
            let lines: Vec<String> = reports.iter().map(Value::to_string).collect();
            site.write("reports.ndjson", lines.join("\n"), 0o644);
            site.configure(&table("example", page.settings));
            let words = ["schema", "diff", "example", "reports.ndjson", "-c", "talaia.toml"];
            site.talaia(&words)
        };
        let wrong = said(page.wrong.unwrap());
        assert!(wrong.stdout.contains(page.code), "{}: {}", page.code, wrong.stdout);
        let right = said(page.right.unwrap());
        assert!(right.code(0).stdout.contains("passes"), "{}: {}", page.code, right.stdout);
    }
}
