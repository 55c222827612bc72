//! Installing from folders and archives of this machine: what changes, what stays, what is said.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use super::support::{ONE, TWO, archive, folder, manifest, names, plugin, runs_on, state};
use crate::support::{Site, skip};

/// A site with a running agent in which `a-b` 1.0.0 is installed from a folder.
fn with_agent(config: &str) -> Site {
    let mut site = Site::new();
    site.configure(&format!("[hub]\nlisten = \"127.0.0.1:0\"\n{config}"));
    folder(&site, "one", &manifest("a-b", "1.0.0"), ONE);
    folder(&site, "two", &manifest("a-b", "2.0.0"), TWO);
    site.start_agent();
    site.until("agent", Site::status);
    plugin(&site, &["install", "./one"]).code(0).says(&[
        "nobody has reviewed",
        "the running agent has added a_b",
        "plugins.d/a-b.toml",
    ]);
    runs_on(&site);
    site
}

#[test]
fn what_the_operator_wrote_stays_over_an_upgrade() {
    let site = with_agent("");
    let written = "# Mine.\n[packages.a-b.config] # over the package's\nstep = 7   # seven\n\n\
                   [packages.a-b.commands.a-b]\ninterval = \"300ms\"\n\n\
                   [packages]\n# The version is of `upgrade`.\na-b.version   =   '1.0.0' # pinned?\n";
    site.write("plugins.d/a-b.toml", written, 0o640);
    site.talaia(&["reload", "--config", "talaia.toml"]).code(0);
    let new = manifest("a-b", "2.0.0").replace("step = 1", "step = 2, window = 60").replace(
        "[commands.a-b.metrics.n]",
        "[commands.a-b.metrics.more]\ntype = \"integer\"\n[commands.a-b.metrics.n]",
    );
    folder(&site, "two", &new, TWO);
    let before = state(&site);
    let install = ["install", "./two"];
    let tried = plugin(&site, &[&install[..], &["--dry-run"]].concat());
    tried.code(0).says(&["new setting: window", "new metric: more", "default of step: 2"]);
    let would = written.replace("'1.0.0'", "\"2.0.0\"");
    assert_eq!(tried.stdout, would);
    assert_eq!(state(&site), before);
    plugin(&site, &install).code(0).says(&["2.0.0 in place of 1.0.0", "changed a_b"]);
    assert_eq!(site.read("plugins.d/a-b.toml"), would);
    let mode = fs::metadata(site.path("plugins.d/a-b.toml")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    // What it is run with: the operator's over the package's, key by key.
    site.until("settings", |site| {
        (site.read("data/plugins/a_b/config.json") == "{\"step\":7,\"window\":60}").then_some(())
    });
    plugin(&site, &["rollback", "a-b"]).code(0).says(&["a-b 1.0.0 in place of 2.0.0"]);
    assert_eq!(site.read("plugins.d/a-b.toml"), written.replace("'1.0.0'", "\"1.0.0\""));
    // Of what somebody wrote a copy is kept.
    plugin(&site, &["uninstall", "a-b"])
        .code(0)
        .says(&["removed a_b", "what you wrote is kept in"]);
    assert_eq!(names(&site.path("plugins.d")), ["a-b.toml.uninstalled"]);
    assert_eq!(names(&site.path("data/packages")), ["lock"]);
    site.until("the end of it", |site| {
        let state = site.status()?["plugins"]["a_b"]["state"].clone();
        (state.is_null() || state == "gone").then_some(())
    });
}

#[test]
fn a_dry_run_changes_nothing() {
    let site = Site::new();
    site.configure("");
    folder(&site, "one", &manifest("a-b", "1.0.0"), ONE);
    let nothing = state(&site);
    let tried = plugin(&site, &["install", "./one", "--dry-run"]);
    tried.code(0).says(&["a-b 1.0.0 would be installed"]);
    assert!(tried.stdout.contains("[packages.a-b]"), "{}", tried.stdout);
    assert_eq!(state(&site), nothing);
    plugin(&site, &["install", "./one"]).code(0).says(&["no agent is running"]);
    let before = state(&site);
    plugin(&site, &["install", "./one", "--dry-run"]).code(0);
    assert_eq!(state(&site), before);
}

#[test]
fn what_would_not_load_is_78_and_changes_nothing() {
    let site = with_agent("");
    let before = state(&site);
    // Two plugins of one name, in two packages.
    folder(&site, "other", &manifest("a_b", "1.0.0"), ONE);
    plugin(&site, &["install", "./other"]).code(78).says(&["a_b", "nothing was changed"]);
    // Settings of the operator that the new version does not know: said, and no reason to refuse.
    site.write("schema.json", "{\"type\": \"object\", \"required\": [\"must\"]}", 0o644);
    // A drop-in that is somebody else's.
    site.write("plugins.d/c.toml", "# nothing\n", 0o644);
    let before_c = state(&site);
    folder(&site, "c", &manifest("c", "1.0.0"), ONE);
    plugin(&site, &["install", "./c"]).code(78).says(&["c.toml is there already", "rename it"]);
    assert_eq!(state(&site), before_c);
    fs::remove_file(site.path("plugins.d/c.toml")).unwrap();
    // The same version with something else in it.
    folder(&site, "one", &manifest("a-b", "1.0.0"), TWO);
    plugin(&site, &["install", "./one"]).code(1).says(&["is another one", "another version"]);
    // A key for what is there already would go nowhere.
    let key = "904605aa-e577-4f66-8d2c-3d1f6a2b9c70";
    plugin(&site, &["install", "./two", "--key", key]).code(2).says(&["write `key = ", "a-b.toml"]);
    plugin(&site, &["install", "./two", "--key", "x"]).code(2);
    plugin(&site, &["install", "./none"]).code(65).says(&["none"]);
    plugin(&site, &["install", "./one", "1.0.0"]).code(2);
    plugin(&site, &["upgrade", "a-b"]).code(2).says(&["was installed from", "--registry"]);
    plugin(&site, &["upgrade", "c"]).code(2).says(&["c is not installed; there is a-b"]);
    plugin(&site, &["rollback", "a-b"]).code(2).says(&["no such version"]);
    // What is not here: an interpreter, a platform, a newer agent.
    for (from, to, said) in [
        ("[config]", "[requires]\ncommands = [\"no-such-program\"]\n[config]", "no-such-program"),
        ("[config]", "[requires]\ntalaia = \"99\"\n[config]", "needs talaia 99.0.0"),
        ("[config]\n", "platforms = [\"plan9\"]\n[config]\n", "runs on plan9"),
    ] {
        folder(&site, "c", &manifest("c", "1.0.0").replace(from, to), ONE);
        plugin(&site, &["install", "./c"]).code(1).says(&[said, "nothing was changed"]);
    }
    assert_eq!(state(&site), before);
    runs_on(&site);
}

#[test]
fn an_agent_that_refuses_leaves_all_as_it_was() {
    let site = with_agent("");
    let before = state(&site);
    // To the agent a folder that everybody may write to is not trusted; nor is what lies in it.
    let path = site.path("plugins.d");
    fs::set_permissions(&path, Permissions::from_mode(0o777)).unwrap();
    let done = plugin(&site, &["install", "./two"]);
    assert!(done.code != 0, "{}", done.stderr);
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    assert_eq!(state(&site), before);
    // Its configuration was broken meanwhile by somebody else, in a way that only a load shows.
    runs_on(&site);
    plugin(&site, &["install", "./two"]).code(0);
}

/// What is done, how, and what is said of it.
type Change = (&'static str, fn(&Site), &'static str);

#[test]
fn verify_notices_every_change() {
    let site = Site::new();
    site.configure("");
    folder(&site, "one", &manifest("a-b", "1.0.0"), ONE);
    fs::create_dir(site.path("one/lib")).unwrap();
    site.write("one/lib/x", "x", 0o644);
    let root = "data/packages/a-b/1.0.0";
    let changes: [Change; 8] = [
        (
            "changed",
            |s| drop(s.write("data/packages/a-b/1.0.0/run", "#!/bin/sh\n", 0o755)),
            "run: it was changed",
        ),
        (
            "added",
            |s| drop(s.write("data/packages/a-b/1.0.0/lib/y", "", 0o644)),
            "lib/y: it is not of the package",
        ),
        (
            "removed",
            |s| fs::remove_file(s.path("data/packages/a-b/1.0.0/README.md")).unwrap(),
            "README.md: it is gone",
        ),
        ("not executable", |s| mode(s, "run", 0o644), "run: its mode was changed"),
        ("setuid", |s| mode(s, "run", 0o4755), "run: its mode was changed"),
        ("open", |s| mode(s, "lib/x", 0o666), "lib/x: its mode was changed"),
        (
            "a link",
            |s| {
                let path = s.path("data/packages/a-b/1.0.0/lib");
                fs::rename(&path, s.path("lib")).unwrap();
                std::os::unix::fs::symlink(s.path("lib"), path).unwrap();
            },
            "lib: it is not of the package",
        ),
        (
            "all of it",
            |s| fs::remove_dir_all(s.path("data/packages/a-b/1.0.0")).unwrap(),
            "its folder is gone",
        ),
    ];
    for (what, change, said) in changes {
        plugin(&site, &["install", "./one"]).code(0);
        plugin(&site, &["verify"]).code(0).says(&["a-b 1.0.0 ok"]);
        change(&site);
        for words in [&["verify"][..], &["verify", "a-b"]] {
            let done = plugin(&site, words);
            assert!(done.code == 1 && done.stderr.contains(said), "{what}: {}", done.stderr);
        }
        // Installed again it is as it was.
        plugin(&site, &["install", "./one"]).code(0);
        plugin(&site, &["verify", "a-b"]).code(0);
        assert_eq!(names(&site.path(root)).len(), 5, "{what}");
        plugin(&site, &["uninstall", "a-b"]).code(0);
        assert_eq!(names(&site.path("data/packages")), ["lock"], "{what}");
    }
    plugin(&site, &["verify", "none"]).code(2).says(&["none is not installed"]);
}

fn mode(site: &Site, path: &str, mode: u32) {
    let path = site.path("data/packages/a-b/1.0.0").join(path);
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_folder_is_run_tested_and_found_without_being_installed() {
    let mut site = Site::new();
    folder(&site, "a-b", &manifest("a-b", "1.0.0"), ONE);
    let report = site.talaia(&["test", "./a-b", "--json"]).code(0).json();
    assert_eq!(report["plugin"], "a_b", "{report}");
    assert_eq!(report["metrics"][0]["name"], "n", "{report}");
    let run = site.command(&["run", "./a-b", "--listen", "127.0.0.1:0"]);
    let pid = site.start(run, "run.log");
    site.until("a run", |site| site.read("run.log").contains("a_b ").then_some(()));
    assert!(site.stop(pid).success());
    // In a folder of plugins it is one among others.
    fs::create_dir(site.path("plugins")).unwrap();
    fs::rename(site.path("a-b"), site.path("plugins/a-b")).unwrap();
    site.script("plugins/lone", "echo '{\"m\": 1}'");
    site.write("dirs.toml", "[agent]\ndata_dir = \"data\"\nplugin_dirs = [\"plugins\"]\n", 0o644);
    let listed = site.talaia(&["plugin", "list", "--config", "dirs.toml"]).code(0).stdout.clone();
    assert!(listed.contains("a_b") && listed.contains("lone"), "{listed}");
    site.talaia(&["check", "--config", "dirs.toml"]).code(0);
}

#[test]
fn commands_settings_and_secrets_are_the_operators_to_set() {
    let site = Site::new();
    site.configure("");
    let script = "sed 's/\"/\\\\\"/g; s/.*/{\"n\": 1, \"said\": \"&\"}/' \"$TALAIA_CONFIG\"";
    folder(&site, "one", &manifest("a-b", "1.0.0"), script);
    plugin(&site, &["install", "./one"]).code(0);
    let own = |more: &str| {
        let text = format!("[packages.a-b]\nversion = \"1.0.0\"\n{more}");
        site.write("plugins.d/a-b.toml", text, 0o644);
    };
    let test = || site.talaia(&["test", "a_b", "--json", "--config", "talaia.toml"]);
    site.write("token", "s3cret\n", 0o600);
    own("[packages.a-b.config]\ntoken = { file = \"../token\" }\nstep = 9\n");
    let report = test().code(0).json();
    let said = report["metrics"][1]["value"].as_str().unwrap();
    assert!(said.contains("\"step\":9") && said.contains("\"token\":\"s3cret\""), "{said}");
    own("[packages.a-b.config]\ntoken = { file = \"none\" }\n");
    let done = plugin(&site, &["list"]);
    let told = &done.code(0).stdout;
    assert!(told.contains("broken") && told.contains("plugins.d/none`: No such file"), "{told}");
    // Over the package's: what a plugin may have, but what is run and with which settings.
    own("[packages.a-b.commands.a-b]\nenabled = false\n");
    assert!(plugin(&site, &["list"]).code(0).stdout.contains("disabled"));
    own("[packages.a-b.commands.a-b]\ntimeout = \"100ms\"\nmetrics.n.type = \"string\"\n");
    assert_eq!(test().json()["rejected"][0]["code"], "value-type", "{:?}", test().stdout);
    for (line, said) in [
        ("command = [\"/bin/rm\"]", "`command` cannot be changed here"),
        ("config = {}", "`config` cannot be changed here"),
        ("key = \"x\"", "`key` cannot be changed here"),
        ("no_such = 1", "unknown key `no_such`"),
    ] {
        own(&format!("[packages.a-b.commands.a-b]\n{line}\n"));
        site.talaia(&["check", "--config", "talaia.toml"]).code(78).says(&[said, "a-b.toml:4:1"]);
    }
    own("[packages.a-b.commands.c]\nenabled = false\n");
    let check = site.talaia(&["check", "--config", "talaia.toml"]);
    assert!(check.stderr.contains("a-b has no command `c`"), "{}", check.stderr);
    if rustix::process::geteuid().is_root() {
        own("[packages.a-b.commands.a-b]\nuser = \"nobody\"\n");
        fs::set_permissions(site.path("."), Permissions::from_mode(0o711)).unwrap();
        test().code(0);
    } else {
        skip("only root can run a package as somebody else");
    }
}

#[test]
fn who_packs_gets_the_same_bytes_everywhere() {
    let site = Site::new();
    folder(&site, "a-b", &manifest("a-b", "1.0.0"), ONE);
    site.talaia(&["plugin", "pack", "a-b"]).code(0).says(&["a-b-1.0.0.zip: 4 files"]);
    let copy = "mkdir -m 700 far && umask 077 && cp -r a-b far/other && touch -d 2001-01-01 far/other/run \
                && touch far/other/.hidden far/other/run~ && cd far && talaia plugin pack ./other -o x.zip";
    let done = crate::support::finish(site.shell(copy), b"");
    let sum = done.code(0).stdout.split(' ').next().unwrap().to_owned();
    let (one, two) =
        (fs::read(site.path("a-b-1.0.0.zip")).unwrap(), fs::read(site.path("far/x.zip")).unwrap());
    assert_eq!(one, two);
    assert_eq!(one, archive(&site, &manifest("a-b", "1.0.0"), ONE));
    assert_eq!(sum, talaia::package::sha256(&one));
    // What cannot be packed leaves the old archive.
    site.write("a-b/talaia-plugin.toml", "name = \"a-b\"", 0o644);
    site.talaia(&["plugin", "pack", "a-b"]).code(1).says(&["the manifest has no `version`"]);
    site.talaia(&["plugin", "pack", "none"]).code(65).says(&["none"]);
    assert_eq!(fs::read(site.path("a-b-1.0.0.zip")).unwrap(), one);
}
