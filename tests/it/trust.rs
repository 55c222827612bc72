//! What an agent refuses to use because somebody else could change it.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};

use super::support::Site;

fn site() -> Site {
    let site = Site::new();
    site.script("ok.sh", "echo '{}'");
    site.configure("[hub]\nenabled = false\n[plugins.ok]\ncommand = ['./ok.sh']\n");
    site
}

#[test]
fn a_data_folder_that_others_may_write_is_refused_with_the_cure() {
    let site = site();
    fs::create_dir(site.path("data")).unwrap();
    site.talaia(&["check", "--config", "talaia.toml"]).code(0);
    fs::set_permissions(site.path("data"), Permissions::from_mode(0o777)).unwrap();
    site.talaia(&["run", "--config", "talaia.toml"]).code(74).says(&["data folder", "chmod go-w"]);
    let found = site.talaia(&["check", "--config", "talaia.toml"]);
    assert!(found.code(1).stdout.contains("chmod go-w"), "{}", found.stdout);
    assert_eq!(fs::read_dir(site.path("data")).unwrap().count(), 0);
}

#[test]
fn a_data_folder_behind_a_link_that_others_may_turn_is_refused() {
    let site = site();
    fs::create_dir(site.path("real")).unwrap();
    fs::create_dir(site.path("open")).unwrap();
    symlink(site.path("real"), site.path("open/link")).unwrap();
    symlink("open/link", site.path("data")).unwrap();
    site.talaia(&["check", "--config", "talaia.toml"]).code(0);
    fs::set_permissions(site.path("open"), Permissions::from_mode(0o777)).unwrap();
    site.talaia(&["run", "--config", "talaia.toml"]).code(74).says(&["open", "chmod o-w"]);
    site.talaia(&["check", "--config", "talaia.toml"]).code(1);
    assert_eq!(fs::read_dir(site.path("real")).unwrap().count(), 0);
}

#[test]
fn a_link_in_place_of_the_lock_leaves_its_target_alone() {
    let site = site();
    fs::create_dir(site.path("data")).unwrap();
    let victim = site.write("victim", "precious", 0o600);
    symlink(&victim, site.path("data/agent.lock")).unwrap();
    site.talaia(&["run", "--config", "talaia.toml"]).code(74).says(&["agent.lock"]);
    assert_eq!(site.read("victim"), "precious");
}

#[test]
fn a_script_that_comes_later_is_checked_before_it_runs() {
    let mut site = Site::new();
    site.configure(
        "[hub]\nenabled = false\n\
         [plugins.late]\ncommand = ['/bin/sh', './late.sh']\ninterval = '100ms'\n",
    );
    let pid = site.start_agent();
    site.until("a run without the script", |site| {
        site.status()?.pointer("/plugins/late/last")?.as_object().map(|_| ())
    });
    site.write("late.sh", "touch ran\n", 0o777);
    site.until("a refusal", |site| site.status()?.to_string().contains("chmod o-w").then_some(()));
    site.stop(pid);
    assert!(!site.path("ran").exists());
}

/// The agent, `check` and `test` refuse the same, in the same words.
#[test]
fn a_script_among_the_arguments_is_refused_by_all_alike() {
    let mut site = Site::new();
    site.configure(
        "[hub]\nenabled = false\n\
         [plugins.job]\ncommand = ['/bin/sh', './job.sh']\ninterval = '100ms'\n",
    );
    site.write("job.sh", "echo '{\"a\":1}'\n", 0o644);
    site.talaia(&["check", "--config", "talaia.toml"]).code(0);
    site.talaia(&["test", "job", "--config", "talaia.toml"]).code(0);
    site.write("job.sh", "touch ran\n", 0o666);

    let checked = site.talaia(&["check", "--config", "talaia.toml"]);
    let line = checked.code(1).stdout.lines().find(|line| line.contains("plugin job"));
    let why = line.unwrap().split_once(": ").unwrap().1.to_owned();
    assert!(why.contains("job.sh` can be written by everybody; run `chmod o-w"), "{why}");

    let tested = site.talaia(&["test", "job", "--config", "talaia.toml"]);
    assert!(tested.code(1).stdout.contains(&why), "{why}\n{}", tested.stdout);
    site.script("run.sh", ". \"$1\"");
    site.talaia(&["test", "./run.sh", "--", "./job.sh"]).code(1).says(&[&why]);

    let pid = site.start_agent();
    site.until("a refusal", |site| {
        let status = site.status()?;
        let last = status.pointer("/plugins/job/last")?;
        last.to_string().contains(&why).then_some(())
    });
    site.stop(pid);
    assert!(!site.path("ran").exists());
}
