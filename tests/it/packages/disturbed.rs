//! Installs that are cut short: two at once, `kill -9`, disks that are full or closed.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::support::{ONE, TWO, folder, manifest, names, plugin, state};
use crate::spool::SmallDisk;
use crate::support::{Site, skip};

#[test]
fn of_two_installs_at_once_one_waits_its_turn_in_words() {
    let site = Site::new();
    site.configure("");
    folder(&site, "one", &manifest("a-b", "1.0.0"), ONE);
    folder(&site, "two", &manifest("c", "1.0.0"), TWO);
    plugin(&site, &["install", "./one"]).code(0);
    let before = state(&site);
    let lock = File::options().write(true).open(site.path("data/packages/lock")).unwrap();
    lock.lock().unwrap();
    for words in [
        &["install", "./two"][..],
        &["install", "./two", "--dry-run"],
        &["rollback", "a-b"],
        &["uninstall", "a-b"],
    ] {
        plugin(&site, words).code(74).says(&["is changing the packages", "try again"]);
    }
    assert_eq!(state(&site), before);
    // Who only looks is not in the way.
    plugin(&site, &["verify"]).code(0);
    drop(lock);
    // At the same moment: whatever each of them ends with, what is there is whole.
    for _ in 0..5 {
        let start = |what: &str| {
            let mut command = site.command(&["plugin", "install", what, "--config", "talaia.toml"]);
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
        };
        let (one, two) = (start("./two"), start("./two"));
        for child in [one, two] {
            let output = child.wait_with_output().unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            let busy =
                output.status.code() == Some(74) && said.contains("is changing the packages");
            assert!(output.status.success() || busy, "{}: {said}", output.status);
        }
        plugin(&site, &["verify"]).code(0).says(&["c 1.0.0 ok"]);
        plugin(&site, &["uninstall", "c"]).code(0);
        assert_eq!(state(&site), before);
    }
}

#[test]
fn killed_at_any_moment_an_install_leaves_nothing_half() {
    let site = Site::new();
    site.configure("");
    folder(&site, "one", &manifest("a-b", "1.0.0"), ONE);
    folder(&site, "two", &manifest("a-b", "2.0.0"), TWO);
    fs::create_dir(site.path("two/lib")).unwrap();
    for n in 0..60 {
        site.write(&format!("two/lib/{n}"), n.to_string().repeat(100), 0o644);
    }
    plugin(&site, &["install", "./one"]).code(0);
    let old = site.read("plugins.d/a-b.toml");
    let mut cut = 0;
    for round in 0..30 {
        let mut command = site.command(&["plugin", "install", "./two", "--config", "talaia.toml"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(5 * (round * 7 % 30)));
        child.kill().unwrap();
        cut += u32::from(!child.wait().unwrap().success());
        let text = site.read("plugins.d/a-b.toml");
        assert!(text == old || text == old.replace("1.0.0", "2.0.0"), "{text}");
        // Whichever it is, it is there as a whole.
        plugin(&site, &["verify"]).code(0);
        site.talaia(&["check", "--config", "talaia.toml"]).code(0);
        plugin(&site, &["install", "./two"]).code(0);
        plugin(&site, &["install", "./one"]).code(0);
        plugin(&site, &["verify"]).code(0);
        assert_eq!(site.read("plugins.d/a-b.toml"), old);
        assert_eq!(names(&site.path("plugins.d")), ["a-b.toml"]);
        assert_eq!(names(&site.path("data/packages")), ["a-b", "lock"]);
        // As if it had never been there.
        plugin(&site, &["uninstall", "a-b"]).code(0);
        assert_eq!(names(&site.path("data/packages")), ["lock"]);
        plugin(&site, &["install", "./one"]).code(0);
    }
    assert!(cut > 0, "none of 30 was cut short");
}

#[test]
fn on_a_full_disk_the_old_version_stays() {
    let Some(disk) = SmallDisk::mount(4) else {
        return skip("only root can mount the small disk that this takes");
    };
    let site = Site::new();
    let config = format!("[agent]\ndata_dir = \"{}\"\n", disk.path().join("data").display());
    site.write("talaia.toml", config, 0o644);
    folder(&site, "one", &manifest("a-b", "1.0.0"), ONE);
    folder(&site, "two", &manifest("a-b", "2.0.0"), TWO);
    let mut seed = 1_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 56) as u8
    })
    .take(3 << 20)
    .collect();
    site.write("two/noise", noise, 0o644);
    plugin(&site, &["install", "./one"]).code(0);
    let drop_in = site.read("plugins.d/a-b.toml");
    let packages = disk.path().join("data/packages");
    let trust = fs::read(packages.join("trust.json")).ok();
    let hog = disk.path().join("hog");
    fs::write(&hog, vec![0; 2 << 20]).unwrap();
    for words in [&["install", "./two"][..], &["install", "./two", "--dry-run"]] {
        plugin(&site, words).code(74).says(&["cannot write", "noise"]);
        assert_eq!(site.read("plugins.d/a-b.toml"), drop_in);
        assert_eq!(names(&packages), ["a-b", "lock"]);
        assert_eq!(names(&packages.join("a-b")), ["1.0.0", "1.0.0.json"]);
        assert_eq!(fs::read(packages.join("trust.json")).ok(), trust);
        plugin(&site, &["verify"]).code(0).says(&["a-b 1.0.0 ok"]);
    }
    // Damaged, and no space to mend it: what is there is not thrown away.
    fs::remove_file(&hog).unwrap();
    plugin(&site, &["install", "./two"]).code(0);
    let program = packages.join("a-b/2.0.0/run");
    fs::set_permissions(&program, Permissions::from_mode(0o700)).unwrap();
    plugin(&site, &["install", "./two"]).code(74).says(&["noise"]);
    assert!(program.exists(), "what was in use is gone");
    disk.resize(16);
    plugin(&site, &["install", "./two"]).code(0);
    plugin(&site, &["verify"]).code(0);
}

#[test]
fn where_nothing_may_be_written_nothing_is_changed() {
    let site = Site::of_ordinary_user();
    site.configure("");
    folder(&site, "one", &manifest("a-b", "1.0.0"), ONE);
    folder(&site, "two", &manifest("a-b", "2.0.0"), TWO);
    plugin(&site, &["install", "./one"]).code(0);
    let before = state(&site);
    let path = site.path("plugins.d");
    fs::set_permissions(&path, Permissions::from_mode(0o555)).unwrap();
    let done = plugin(&site, &["install", "./two"]);
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    done.code(74).says(&["plugins.d/a-b.toml"]);
    assert_eq!(state(&site), before);
    plugin(&site, &["install", "./two"]).code(0);
}

#[test]
fn on_a_disk_that_is_read_only_nothing_is_changed() {
    let Some(disk) = SmallDisk::mount(4) else {
        return skip("only root can mount the small disk that this takes");
    };
    let remount = |how: &str| {
        let options = format!("remount,{how}");
        let done = Command::new("mount").args(["-o", &options]).arg(disk.path()).status();
        assert!(done.unwrap().success());
    };
    let site = Site::new();
    let config = format!("[agent]\ndata_dir = \"{}\"\n", disk.path().join("data").display());
    site.write("talaia.toml", config, 0o644);
    folder(&site, "one", &manifest("a-b", "1.0.0"), ONE);
    folder(&site, "two", &manifest("a-b", "2.0.0"), TWO);
    plugin(&site, &["install", "./one"]).code(0);
    let drop_in = site.read("plugins.d/a-b.toml");
    remount("ro");
    for words in [&["install", "./two"][..], &["uninstall", "a-b"]] {
        plugin(&site, words).code(74).says(&["data/packages"]);
        assert_eq!(site.read("plugins.d/a-b.toml"), drop_in);
    }
    // What only looks works on.
    plugin(&site, &["verify"]).code(0).says(&["a-b 1.0.0 ok"]);
    remount("rw");
    plugin(&site, &["install", "./two"]).code(0).says(&["2.0.0 in place of 1.0.0"]);
}
