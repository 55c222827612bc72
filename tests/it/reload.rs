//! A reload that hangs: an included file that is a pipe, as a stand-in for one on a dead mount.

use std::fs::{self, File};
use std::io::Write;
use std::process::{Child, Stdio};

use rustix::fs::{CWD, Mode, OFlags, mkfifoat, open};

use super::support::Site;

/// An agent whose configuration includes `extra.toml`, which then became a pipe.
fn site() -> (Site, u32) {
    let mut site = Site::new();
    site.script("ok.sh", "echo '{}'");
    site.write("extra.toml", "[plugins.ok]\ncommand = ['./ok.sh']\n", 0o644);
    let config = site.configure("[hub]\nenabled = false\n");
    let text = fs::read_to_string(config).unwrap();
    site.write("talaia.toml", format!("include = ['extra.toml']\n{text}"), 0o644);
    let pid = site.start_agent();
    site.until("an agent that answers", Site::status);
    fs::remove_file(site.path("extra.toml")).unwrap();
    mkfifoat(CWD, site.path("extra.toml"), Mode::from_raw_mode(0o644)).unwrap();
    (site, pid)
}

fn reload(site: &Site) -> Child {
    let mut command = site.command(&["reload", "--config", "talaia.toml"]);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// The pipe's other end, once a reading of the configuration waits for it. The reading ends with it.
fn reading(site: &Site) -> File {
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    site.until("a reader of the pipe", |site| {
        open(site.path("extra.toml"), flags, Mode::empty()).ok().map(File::from)
    })
}

/// Lets one reading go on.
fn feed(site: &Site, text: &str) {
    reading(site).write_all(text.as_bytes()).unwrap();
}

fn has_plugin(site: &Site, name: &str) -> Option<()> {
    site.status()?["plugins"].get(name).map(|_| ())
}

#[test]
fn a_reload_that_hangs_is_in_nobodys_way() {
    let (mut site, pid) = site();
    let mut first = reload(&site);
    let hangs = reading(&site);
    let mut second = reload(&site);
    assert!(site.status().is_some(), "the agent does not answer during a reload");
    site.talaia(&["trigger", "none", "--config", "talaia.toml"]).says(&["none"]);
    assert!(site.stop(pid).success());
    assert!(!first.wait().unwrap().success());
    assert!(!second.wait().unwrap().success());
    drop(hangs);
}

#[test]
fn who_asks_during_a_reload_gets_the_next_one() {
    let (mut site, pid) = site();
    let mut first = reload(&site);
    feed(&site, "[plugins.one]\ncommand = ['./ok.sh']\n");
    assert!(first.wait().unwrap().success());
    has_plugin(&site, "one").expect("what the reload read is taken up");

    let (mut second, mut third) = (reload(&site), reload(&site));
    feed(&site, "[plugins.two]\ncommand = ['./ok.sh']\n");
    site.until("the second plugin", |site| has_plugin(site, "two"));
    feed(&site, "[plugins.three]\ncommand = ['./ok.sh']\n");
    site.until("the third plugin", |site| has_plugin(site, "three"));
    assert!(second.wait().unwrap().success() && third.wait().unwrap().success());
    assert!(site.stop(pid).success());
}
