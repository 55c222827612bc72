//! Registries that lie, fail or were taken over: nothing they do changes what is installed.

use talaia::package::{Envelope, SigningKey};

use super::support::{
    Files, ONE, Registry, Reply, Server, TWO, archive, installed, listed, manifest, plugin,
    rotation, runs_on, state,
};
use crate::support::Site;

/// A registry with two versions of `a-b`.
fn registry(site: &Site) -> Registry {
    let mut registry = Registry::new();
    registry.add("a-b", "1.0.0", archive(site, &manifest("a-b", "1.0.0"), ONE));
    registry.add("a-b", "2.0.0", archive(site, &manifest("a-b", "2.0.0"), TWO));
    registry
}

const INDEX: &str = "/index.json";
const FILE: &str = "/download/a-b-2.0.0.zip";

#[test]
fn whatever_a_registry_does_what_is_installed_stays() {
    let desk = Site::new();
    let good = registry(&desk);
    let server = Server::start(good.files());
    let site = installed(&good, &server);
    let before = state(&site);
    assert!(before.keys().any(|path| path.ends_with("trust.json")), "{before:?}");

    let old = archive(&desk, &manifest("a-b", "1.0.0"), ONE);
    let evil = archive(&desk, &manifest("a-b", "2.0.0"), "echo '{\"n\": 666}'");
    let stranger = SigningKey::generate().unwrap();
    let with = |path: &str, reply: Reply| {
        let mut files = good.files();
        files.insert(path.to_owned(), reply);
        files
    };
    let sealed = |value: serde_json::Value, key: &SigningKey| {
        Reply::Bytes(serde_json::to_vec(&Envelope::seal(&value, key).unwrap()).unwrap())
    };
    // A registry that is as good as its key, but for one thing.
    let but = |change: &dyn Fn(&mut Registry)| {
        let mut other = registry(&desk);
        other.packages = good.packages.clone();
        change(&mut other);
        with(INDEX, other.index_by(&good.key))
    };
    let by_stranger = |rotations: Vec<Envelope>| {
        let mut other = registry(&desk);
        other.serial = 9;
        other.rotations = rotations;
        other.packages[0].versions = vec![listed("a-b", "2.0.0", &evil, &stranger)];
        let mut files = with(INDEX, other.index_by(&stranger));
        files.insert(FILE.to_owned(), Reply::Bytes(evil.clone()));
        files
    };
    let Reply::Bytes(index) = good.index_by(&good.key) else { unreachable!() };
    let changed = String::from_utf8(index.clone()).unwrap().replace("Of a test", "Of a pest");
    let elsewhere = Server::start(good.files());
    let lead = |path: &str| Reply::Elsewhere(format!("{}{path}", elsewhere.url));
    let cases: Vec<(&str, Files, i32, &str)> = vec![
        (
            "another file",
            with(FILE, Reply::Bytes(evil.clone())),
            1,
            "not the one that was approved",
        ),
        ("an old file", with(FILE, Reply::Bytes(old.clone())), 1, "not the one that was approved"),
        ("half a file", with(FILE, Reply::Half(evil.clone())), 69, "a-b-2.0.0.zip"),
        ("no archive", with(FILE, Reply::Bytes(b"<html>".to_vec())), 1, "not the one that was"),
        ("file gone", with(FILE, Reply::Status(404)), 1, "not found: out ·[2Jof order"),
        ("file fails", with(FILE, Reply::Status(500)), 69, "it answers 500: out"),
        ("file elsewhere", with(FILE, lead(FILE)), 69, "leads elsewhere"),
        ("endless file", with(FILE, Reply::Endless), 69, "it sends more than"),
        ("no file", with(FILE, Reply::Nothing), 69, "a-b-2.0.0.zip"),
        (
            "an old archive under a new name",
            {
                let mut files = but(&|other| {
                    other.packages[0].versions[1] = listed("a-b", "2.0.0", &old, &good.key);
                });
                files.insert(FILE.to_owned(), Reply::Bytes(old.clone()));
                files
            },
            1,
            "was asked for a-b 2.0.0 and sent a-b 1.0.0",
        ),
        (
            "an old statement",
            but(&|other| {
                let statement = other.packages[0].versions[0].statement.clone();
                other.packages[0].versions[1].statement = statement;
            }),
            1,
            "the statement for a-b 2.0.0 is about a-b 1.0.0",
        ),
        (
            "a stranger's statement",
            but(&|other| {
                other.packages[0].versions[1] = listed("a-b", "2.0.0", &evil, &stranger);
            }),
            1,
            "says nothing of it",
        ),
        (
            "an older index",
            but(&|other| other.serial = 4),
            1,
            "the serial 4, and 5 was seen before",
        ),
        ("a stranger's index", by_stranger(Vec::new()), 1, "says nothing of it"),
        (
            "a forged rotation",
            by_stranger(vec![rotation(&stranger, stranger.public())]),
            1,
            "says nothing of it",
        ),
        (
            "a rotation by somebody else",
            by_stranger(vec![rotation(&SigningKey::generate().unwrap(), stranger.public())]),
            1,
            "says nothing of it",
        ),
        ("a changed index", with(INDEX, Reply::Bytes(changed.into_bytes())), 1, "signature"),
        (
            "a later format",
            with(INDEX, sealed(serde_json::json!({"format": 2, "new": []}), &good.key)),
            1,
            "the index has format 2",
        ),
        ("no index", with(INDEX, Reply::Bytes(b"<html>".to_vec())), 1, "not an index"),
        ("half an index", with(INDEX, Reply::Half(index)), 69, "index.json"),
        ("nothing", with(INDEX, Reply::Nothing), 69, "index.json"),
        ("index elsewhere", with(INDEX, lead(INDEX)), 69, "leads elsewhere"),
        ("endless index", with(INDEX, Reply::Endless), 69, "it sends more than"),
        ("index gone", Files::new(), 1, "not found"),
        ("index fails", with(INDEX, Reply::Status(503)), 69, "it answers 503"),
    ];
    for (case, files, code, said) in cases {
        server.serve(files);
        for words in [
            &["upgrade", "a-b"][..],
            &["install", "a-b", "2.0.0", "--registry", &server.url],
            &["install", "a-b", "2.0.0", "--registry", &server.url, "--dry-run"],
        ] {
            let done = plugin(&site, words);
            assert!(
                done.code == code && done.stderr.contains(said),
                "{case}: {words:?} ended with {} and said\n{}",
                done.code,
                done.stderr
            );
            assert!(!done.stderr.contains('\u{1b}'), "{case}: {}", done.stderr);
        }
        assert_eq!(state(&site), before, "{case}");
    }
    assert_eq!(elsewhere.asked(), [""; 0], "a redirect was followed");
    runs_on(&site);
    plugin(&site, &["verify"]).code(0).says(&["a-b 1.0.0 ok"]);
    // There was a way all the time.
    server.serve(good.files());
    plugin(&site, &["upgrade", "a-b"]).code(0).says(&["2.0.0 in place of 1.0.0", "changed a_b"]);
}

#[test]
fn a_registry_that_is_not_there_is_69() {
    let desk = Site::new();
    let good = registry(&desk);
    let server = Server::start(good.files());
    let site = installed(&good, &server);
    let before = state(&site);
    drop(server);
    plugin(&site, &["upgrade", "a-b"]).code(69).says(&["index.json"]);
    plugin(&site, &["list", "--outdated"]).code(69).says(&["a-b: "]);
    assert_eq!(state(&site), before);
}

#[test]
fn a_rotated_key_is_followed_and_the_old_one_is_left_behind() {
    let desk = Site::new();
    let mut registry = registry(&desk);
    let server = Server::start(registry.files());
    let site = installed(&registry, &server);
    let old = std::mem::replace(&mut registry.key, SigningKey::generate().unwrap());
    let Reply::Bytes(left) = registry.index_by(&old) else { unreachable!() };
    registry.rotations.push(rotation(&old, registry.key.public()));
    registry.serial += 1;
    server.serve(registry.files());
    // What the old key signed counts on: its versions need no new signatures.
    let listed = plugin(&site, &["list", "--outdated"]);
    assert!(listed.code(0).stdout.contains("2.0.0"), "{}", listed.stdout);
    plugin(&site, &["upgrade", "a-b"]).code(0);
    let trust = site.read("data/packages/trust.json");
    let new = serde_json::to_string(&registry.key.public()).unwrap();
    assert!(trust.contains(&new) && trust.contains("\"serial\": 6"), "{trust}");
    // Whoever stole the old key comes too late, with whatever serial.
    server.serve(Files::from([(INDEX.to_owned(), Reply::Bytes(left))]));
    plugin(&site, &["upgrade", "a-b"]).code(1).says(&[
        "says nothing of it",
        "hint: ",
        "give it: --trust SHA256:",
    ]);
    registry.serial = 99;
    server.serve(Files::from([(INDEX.to_owned(), registry.index_by(&old))]));
    plugin(&site, &["upgrade", "a-b"]).code(1).says(&["says nothing of it"]);
    // That there is nothing new is something to remember: an older index is refused from then on.
    registry.serial = 7;
    server.serve(registry.files());
    plugin(&site, &["upgrade", "a-b", "--dry-run"]).code(0).says(&["a-b 2.0.0 is up to date"]);
    assert_eq!(site.read("data/packages/trust.json"), trust);
    plugin(&site, &["upgrade", "a-b"]).code(0).says(&["a-b 2.0.0 is up to date"]);
    registry.serial = 6;
    server.serve(registry.files());
    plugin(&site, &["upgrade", "a-b"]).code(1).says(&["the serial 6, and 7 was seen before"]);
}

#[test]
fn the_key_of_a_new_registry_is_taken_by_a_word_of_the_operator_alone() {
    let desk = Site::new();
    let registry = registry(&desk);
    let server = Server::start(registry.files());
    let site = Site::new();
    site.configure("");
    let nothing = state(&site);
    let install = ["install", "a-b", "1.0.0", "--registry", &server.url];
    let fingerprint = registry.fingerprint();
    plugin(&site, &install).code(1).says(&["is new here", &format!("--trust {fingerprint}")]);
    let other = SigningKey::generate().unwrap().public().fingerprint();
    let wrong = plugin(&site, &[&install[..], &["--trust", &other]].concat());
    wrong.code(1).says(&[&format!("signs with {fingerprint}, not with {other}")]);
    assert_eq!(state(&site), nothing);

    // On a terminal it is asked, and only a yes is one.
    if !std::path::Path::new("/usr/bin/script").exists() {
        return crate::support::skip("there is no `script` for a terminal");
    }
    let line = format!("talaia plugin {} --config talaia.toml", install.join(" "));
    let asked = |answer: &str| {
        let shell = format!("(sleep 0.2; echo {answer}) | script -qec '{line}' /dev/null");
        let done = crate::support::finish(site.shell(&shell), b"");
        assert!(done.stdout.contains("Trust it from now on? [y/N]"), "{}", done.stdout);
        done.code
    };
    assert_eq!(asked("n"), 1);
    assert_eq!(asked(""), 1);
    assert_eq!(state(&site), nothing);
    assert_eq!(asked("y"), 0);
    plugin(&site, &["verify", "a-b"]).code(0);
    // Once it is known nobody is asked.
    plugin(&site, &["uninstall", "a-b"]).code(0);
    plugin(&site, &install).code(0);
}

#[test]
fn names_and_versions_with_hyphens_are_not_mixed_up() {
    let desk = Site::new();
    let mut registry = Registry::new();
    for (name, version, n) in [
        ("a", "1.0.0", 1),
        ("a", "1.0.0-b-1", 2),
        ("a-1", "1.0.0-rc.1", 3),
        ("a-b", "1.0.0-rc.1", 4),
        ("a-b", "1.0.0-rc.2", 5),
        ("a_b", "1.0.0", 6),
    ] {
        let script = format!("echo '{{\"n\": {n}}}'");
        registry.add(name, version, archive(&desk, &manifest(name, version), &script));
    }
    let server = Server::start(registry.files());
    let site = Site::new();
    site.configure("");
    let install = |what: &[&str]| {
        let how = ["--registry", &server.url, "--trust", &registry.fingerprint()];
        plugin(&site, &[&["install"], what, &how].concat())
    };
    install(&["a"]).code(0).says(&["a 1.0.0 from"]);
    install(&["a", "1.0.0-b-1"]).code(0).says(&["a 1.0.0-b-1 in place of 1.0.0"]);
    install(&["a-1", "1.0.0-rc.1"]).code(0).says(&["a-1 1.0.0-rc.1 from"]);
    // Where there is nothing else, what comes before a release is the newest.
    install(&["a-b"]).code(0).says(&["a-b 1.0.0-rc.2 from"]);
    install(&["a-b", "1.0.0-rc.1"]).code(0).says(&["a-b 1.0.0-rc.1 in place of 1.0.0-rc.2"]);
    install(&["a-b", "1.0.0"]).code(1).says(&["no a-b 1.0.0; it has 1.0.0-rc.1, 1.0.0-rc.2"]);
    // Both would be the plugin `a_b`.
    let before = state(&site);
    install(&["a_b"]).code(78).says(&["a_b", "nothing was changed"]);
    assert_eq!(state(&site), before);
    for bad in ["A", "a.b", "-a", "a/../b/", "a b", ""] {
        let done = install(&[bad]);
        assert!(done.code == 2 || done.code == 65, "{bad}: {} {}", done.code, done.stderr);
    }
    install(&["a", "1.0.0/../../x"]).code(2);
    let asked = server.asked();
    for path in asked.iter().filter(|path| path.starts_with("/download/")) {
        assert!(registry.files().contains_key(path), "{path}");
    }
    assert_eq!(state(&site), before);
    plugin(&site, &["verify"]).code(0).says(&["a 1.0.0-b-1 ok", "a-1 1.0.0-rc.1 ok"]);
}

#[test]
fn a_mirror_is_a_registry_and_takes_nothing_that_is_not_signed() {
    let desk = Site::new();
    let registry = registry(&desk);
    let server = Server::start(registry.files());
    let mirror = |words: &[&str]| {
        let from = ["plugin", "mirror", "copy", "--registry", &server.url];
        desk.talaia(&[&from[..], words].concat())
    };
    mirror(&[]).code(1).says(&["is new here", "--trust"]);
    let first = mirror(&["--trust", &registry.fingerprint()]);
    first.code(0).says(&["serial 5, 1 packages, 2 new archives", &registry.fingerprint()]);
    let copied = |path: &str| {
        (format!("/{path}"), Reply::Bytes(std::fs::read(desk.path("copy").join(path)).unwrap()))
    };
    let copy =
        Files::from(["index.json", "download/a-b-1.0.0.zip", "download/a-b-2.0.0.zip"].map(copied));
    let static_server = Server::start(copy);
    let site = installed(&registry, &static_server);
    plugin(&site, &["upgrade", "a-b"]).code(0).says(&["2.0.0 in place of 1.0.0"]);
    // Again it takes only what is new; a damaged copy is new, and a false archive is refused.
    mirror(&[]).code(0).says(&["0 new archives"]);
    desk.write("copy/download/a-b-1.0.0.zip", b"x", 0o644);
    mirror(&["--trust", &registry.fingerprint()]).code(0).says(&["1 new archives"]);
    let before = desk.read("copy/index.json");
    let mut files = registry.files();
    files.insert(FILE.to_owned(), Reply::Bytes(b"x".to_vec()));
    server.serve(files);
    desk.write("copy/download/a-b-2.0.0.zip", b"y", 0o644);
    mirror(&[]).code(1).says(&["not the one that was approved"]);
    assert_eq!(desk.read("copy/index.json"), before);
}
