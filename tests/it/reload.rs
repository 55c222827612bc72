//! A reload that hangs: a secret in a pipe, as a stand-in for a file on a dead mount.

use std::fs::{self, File};
use std::io::Write;
use std::process::{Child, Stdio};

use rustix::fs::{CWD, Mode, OFlags, mkfifoat, open};

use super::support::Site;

/// An agent whose only plugin has a secret in a file, which then became a pipe.
fn site() -> (Site, u32) {
    let mut site = Site::new();
    site.script("ok.sh", "echo '{}'");
    site.write("secret", "secret", 0o600);
    configure(&site, "ok");
    let pid = site.start_agent();
    site.until("an agent that answers", Site::status);
    fs::remove_file(site.path("secret")).unwrap();
    mkfifoat(CWD, site.path("secret"), Mode::from_raw_mode(0o600)).unwrap();
    (site, pid)
}

/// A configuration with a plugin of this name.
fn configure(site: &Site, name: &str) {
    site.configure(&format!(
        "[hub]\nenabled = false\n\
         [plugins.{name}]\ncommand = ['./ok.sh']\nconfig = {{ secret = {{ file = 'secret' }} }}\n"
    ));
}

fn reload(site: &Site) -> Child {
    let mut command = site.command(&["reload", "--config", "talaia.toml"]);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// The pipe's other end, once a reading of the configuration waits for it: then it has read the file. The
/// reading ends with it.
fn reading(site: &Site) -> File {
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    site.until("a reader of the pipe", |site| {
        open(site.path("secret"), flags, Mode::empty()).ok().map(File::from)
    })
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
    let go_on = |mut reading: File| reading.write_all(b"secret").unwrap();
    configure(&site, "one");
    let mut first = reload(&site);
    go_on(reading(&site));
    assert!(first.wait().unwrap().success());
    has_plugin(&site, "one").expect("what the reload read is taken up");

    configure(&site, "two");
    let (mut second, mut third) = (reload(&site), reload(&site));
    let hangs = reading(&site);
    configure(&site, "three");
    go_on(hangs);
    site.until("the second plugin", |site| has_plugin(site, "two"));
    go_on(reading(&site));
    site.until("the third plugin", |site| has_plugin(site, "three"));
    assert!(second.wait().unwrap().success() && third.wait().unwrap().success());
    assert!(site.stop(pid).success());
}
