//! Archives made by an enemy: nothing of them reaches the disk, and what is wrong is said with the
//! entry.

use std::fs;
use std::io::{Cursor, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use talaia::package::sha256;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::support::{ONE, archive, folder, manifest, names, plugin, state};
use crate::support::Site;

const FILE: u32 = 0o100_644;

/// One entry, with whatever its headers say.
#[derive(Clone)]
struct Entry {
    name: Vec<u8>,
    mode: u32,
    flags: u16,
    bytes: Vec<u8>,
}

fn entry(name: &str, mode: u32, bytes: &[u8]) -> Entry {
    Entry { name: name.as_bytes().to_vec(), mode, flags: 0, bytes: bytes.to_vec() }
}

fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc: u32, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 }
        })
    })
}

/// An archive of stored entries, written by hand: no library writes what is wrong.
fn zip(entries: &[Entry]) -> Vec<u8> {
    let (mut out, mut list) = (Vec::new(), Vec::new());
    for entry in entries {
        let offset = u32::try_from(out.len()).unwrap();
        let size = u32::try_from(entry.bytes.len()).unwrap();
        let name = u16::try_from(entry.name.len()).unwrap();
        let mut common = Vec::new();
        for word in [20, entry.flags, 0, 0, 0x21] {
            common.extend(u16::to_le_bytes(word));
        }
        for word in [crc(&entry.bytes), size, size] {
            common.extend(word.to_le_bytes());
        }
        common.extend(name.to_le_bytes());
        common.extend([0, 0]);
        out.extend(b"PK\x03\x04");
        out.extend(&common);
        out.extend(&entry.name);
        out.extend(&entry.bytes);
        list.extend(b"PK\x01\x02\x14\x03");
        list.extend(common);
        list.extend([0; 6]);
        list.extend((entry.mode << 16).to_le_bytes());
        list.extend(offset.to_le_bytes());
        list.extend(&entry.name);
    }
    let count = u16::try_from(entries.len()).unwrap().to_le_bytes();
    let (at, length) = (u32::try_from(out.len()).unwrap(), u32::try_from(list.len()).unwrap());
    out.extend(list);
    out.extend(b"PK\x05\x06\0\0\0\0");
    out.extend(count);
    out.extend(count);
    out.extend(length.to_le_bytes());
    out.extend(at.to_le_bytes());
    out.extend([0, 0]);
    out
}

/// The entries of a package in which nothing is wrong.
fn good() -> Vec<Entry> {
    let manifest = manifest("a-b", "1.0.0");
    let script = format!("#!/bin/sh\n{ONE}\n");
    let files =
        [("README.md", "# Of a test\n"), ("run", &script), ("talaia-plugin.toml", &manifest)];
    let mut sums = String::new();
    for (path, text) in files {
        sums += &format!("{}  {path}\n", sha256(text.as_bytes()));
    }
    let mut entries = vec![entry("a-b/SHA256SUMS", FILE, sums.as_bytes())];
    for (path, text) in files {
        let mode = if path == "run" { 0o100_755 } else { FILE };
        entries.push(entry(&format!("a-b/{path}"), mode, text.as_bytes()));
    }
    entries
}

fn with(more: Entry) -> Vec<u8> {
    let mut entries = good();
    entries.push(more);
    zip(&entries)
}

/// 80 MiB of nothing in a few KiB.
fn bomb(name: &str) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    zip.start_file(name, options).unwrap();
    for _ in 0..80 {
        zip.write_all(&vec![0; 1 << 20]).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// What is wrong, the archive, and what is said of it.
fn bad() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let renamed = |from: &str, to: &str| {
        let mut entries = good();
        for entry in &mut entries {
            let name = String::from_utf8(entry.name.clone()).unwrap();
            entry.name = name.replacen(from, to, 1).into_bytes();
        }
        zip(&entries)
    };
    let encrypted = Entry { flags: 1, ..entry("a-b/secret", FILE, b"????????????") };
    let mut trailing = zip(&good());
    trailing.extend(b"and more");
    let mut leading = b"#!/bin/sh\n".to_vec();
    leading.extend(zip(&good()));
    let half = zip(&good());
    let half = half[..half.len() / 2].to_vec();
    let mut damaged = zip(&good());
    let at = damaged.windows(4).position(|w| w == b"echo").unwrap();
    damaged[at] = b'E';
    // The second list says another name than the file itself.
    let mut two_names = with(entry("a-b/good.sh", FILE, b""));
    let at = two_names.windows(11).rposition(|w| w == b"a-b/good.sh").unwrap();
    two_names[at + 4] = b'f';
    let mut sums = good();
    sums[2].bytes = b"#!/bin/sh\nrm -r /\n".to_vec();
    vec![
        ("an absolute path", with(entry("/etc/cron.d/x", FILE, b"x")), "/etc/cron.d/x: "),
        ("an absolute path below", with(entry("a-b//etc/x", FILE, b"x")), "/etc/x: "),
        ("a way out", with(entry("a-b/../../x", FILE, b"x")), "../../x: its path leads out"),
        ("a way out at the top", with(entry("../x", FILE, b"x")), "../x: "),
        (
            "a folder out",
            with(entry("a-b/../../x/", 0o040_755, b"")),
            "a-b/../../x/: its path leads",
        ),
        ("a backslash", with(entry("a-b/..\\x", FILE, b"x")), "..\\x: its name has characters"),
        ("a NUL", with(entry("a-b/x\0.sh", FILE, b"x")), "cannot be shown"),
        (
            "no UTF-8",
            with(Entry { name: b"a-b/\xff".to_vec(), ..entry("", FILE, b"") }),
            "cannot be shown",
        ),
        ("an escape", with(entry("a-b/\x1b[2J", FILE, b"x")), "cannot be shown"),
        ("turned round", with(entry("a-b/\u{202e}hs.x", FILE, b"x")), "cannot be shown"),
        ("a link", with(entry("a-b/link", 0o120_777, b"/etc/passwd")), "a-b/link: it is a link"),
        ("a device", with(entry("a-b/null", 0o020_666, b"")), "a-b/null: it is neither a file"),
        ("a pipe", with(entry("a-b/pipe", 0o010_644, b"")), "a-b/pipe: it is neither a file"),
        ("hidden", with(entry("a-b/.profile", FILE, b"x")), ".profile: it is hidden"),
        ("case", with(entry("a-b/RUN", FILE, b"x")), "its name differs from `RUN` in case alone"),
        ("twice", with(entry("a-b/run", FILE, b"x")), "two entries have the same name"),
        (
            "a file in a file",
            with(entry("a-b/run/x", FILE, b"x")),
            "run: it is a file and a folder",
        ),
        ("encrypted", with(encrypted), "a-b/secret: it is encrypted"),
        ("two tops", with(entry("c/x", FILE, b"x")), "c/x: there is more than one folder"),
        ("no top", with(entry("x", FILE, b"x")), "x: it is not below a folder"),
        ("another top", renamed("a-b/", "c/"), "all lies below `c/`, but the package is a-b"),
        ("no name at the top", renamed("a-b/", "A B/"), "the folder at the top is not named"),
        ("trailing", trailing, "archive"),
        ("leading", leading, "archive"),
        ("half", half, "this is not a zip archive"),
        ("nothing", Vec::new(), "this is not a zip archive"),
        ("a bomb", bomb("a-b/zeros"), "a-b/zeros: it would grow out of all proportion"),
        ("damaged", damaged, "a-b/run: it cannot be unpacked"),
        ("two names", two_names, "its two lists of entries differ"),
        ("other hashes", zip(&sums), "the hash of `run` is not that of the file"),
        ("too large", vec![0; (16 << 20) + 1], "is too large"),
        ("no manifest", renamed("talaia-plugin.toml", "x.toml"), "there is no manifest"),
        (
            "too many",
            {
                let more = (0..1001).map(|n| entry(&format!("a-b/{n}"), FILE, b""));
                zip(&good().into_iter().chain(more).collect::<Vec<_>>())
            },
            "a package has at most 1000",
        ),
    ]
}

/// All files below a folder, but for what the test itself has there.
fn strangers(site: &Site) -> Vec<String> {
    let own = ["bin", "bad.zip", "data", "home", "hub", "hub.log", "plugins.d", "talaia.toml"];
    let mut names = names(&site.path("."));
    names.retain(|name| !own.contains(&name.as_str()));
    names
}

#[test]
fn nothing_of_a_bad_archive_reaches_the_disk() {
    let mut site = Site::new();
    site.configure("");
    // The hand that writes bad ones writes good ones as well. Of their modes one bit is taken over.
    let mut open = good();
    for entry in &mut open {
        entry.mode |= 0o6022;
    }
    site.write("bad.zip", zip(&open), 0o644);
    plugin(&site, &["install", "./bad.zip"]).code(0);
    plugin(&site, &["verify"]).code(0);
    for (file, mode) in [("run", 0o755), ("README.md", 0o644)] {
        let path = site.path("data/packages/a-b/1.0.0").join(file);
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o7777, mode, "{file}");
    }
    plugin(&site, &["uninstall", "a-b"]).code(0);
    let before = state(&site);
    let hub = site.command(&["hub", "--listen", "127.0.0.1:0", "--data-dir", "hub"]);
    site.start(hub, "hub.log");
    site.until("hub", |site| site.path("hub/credentials.json").exists().then_some(()));
    for (what, bytes, said) in bad() {
        site.write("bad.zip", bytes, 0o644);
        let publish = ["plugin", "publish", "./bad.zip", "--key-file", "hub/credentials.json"];
        for done in [
            plugin(&site, &["install", "./bad.zip"]),
            plugin(&site, &["install", "./bad.zip", "--dry-run"]),
            site.talaia(&publish),
        ] {
            assert!(
                done.code == 1 && done.stderr.contains(said),
                "{what}: {} and\n{}",
                done.code,
                done.stderr
            );
            assert!(!done.stderr.contains('\u{1b}'), "{what}: {}", done.stderr);
        }
        assert_eq!(state(&site), before, "{what}");
        assert_eq!(strangers(&site), [""; 0], "{what}");
    }
    let listed = site.talaia(&["plugin", "status", "a-b", "--key-file", "hub/credentials.json"]);
    listed.code(1);
}

#[test]
fn every_cut_and_every_changed_byte_is_refused_or_harmless() {
    let desk = Site::new();
    let site = Site::new();
    site.configure("");
    let whole = archive(&desk, &manifest("a-b", "1.0.0"), ONE);
    let nothing = state(&site);
    // A seventh of all places, each of them in another way.
    for at in (0..whole.len()).step_by(whole.len() / 40) {
        let mut changed = whole.clone();
        changed[at] ^= 0x41;
        for bytes in [whole[..at].to_vec(), changed] {
            site.write("bad.zip", bytes, 0o644);
            let done = plugin(&site, &["install", "./bad.zip"]);
            if done.code == 0 {
                // Times have no sum. What it is, is what was packed.
                plugin(&site, &["verify", "a-b"]).code(0);
                let script = site.read("data/packages/a-b/1.0.0/run");
                assert_eq!(script, format!("#!/bin/sh\n{ONE}\n"), "byte {at}");
                plugin(&site, &["uninstall", "a-b"]).code(0);
            } else {
                assert!(done.code == 1 && done.stderr.len() > 20, "{at}: {done:?}");
            }
            assert_eq!(state(&site), nothing, "byte {at}");
        }
    }
    assert!(!Path::new("/a-b").exists());
}

#[test]
fn a_schema_or_manifest_that_would_take_for_ever_is_refused_at_once() {
    let site = Site::new();
    let mut doubled = String::new();
    for n in 0..40 {
        let next = format!("{{\"$ref\": \"#/$defs/x{}\"}}", n + 1);
        doubled += &format!("\"x{n}\": {{\"allOf\": [{next}, {next}]}}, ");
    }
    let doubled = format!(
        "{{\"$ref\": \"#/$defs/x0\", \"$defs\": {{{doubled}\"x40\": {{\"type\": \"object\"}}}}}}"
    );
    let itself = "{\"properties\": {\"a\": {\"allOf\": [{\"$ref\": \"#\"}, {\"$ref\": \"#\"}]}}}";
    let deep = format!("{}1{}", "{\"a\": ".repeat(100_000), "}".repeat(100_000));
    let schema = "schema = \"s.json\"\ndefaults";
    let good = manifest("a-b", "1.0.0");
    let mut many = String::new();
    for n in 0..20_000 {
        many += &format!("[commands.c{n}]\ncommand = [\"run\"]\n");
    }
    for (manifest, file, said) in [
        (
            good.replace("defaults", schema),
            doubled.as_str(),
            "`s.json`: the reference to `#/$defs/x1` stands in `$defs` itself",
        ),
        (
            good.replace("defaults", schema),
            itself,
            "`s.json`: the reference `#` is not to `#/$defs/NAME`",
        ),
        (good.replace("defaults", schema), &" ".repeat(300_000), "at most 256 KiB are read"),
        (good.replace("{ step = 1 }", "\"s.json\""), &deep, "at most 256 KiB are read"),
        (good.replace("{ step = 1 }", "\"s.json\""), &deep[..200_000], "s.json:1"),
        (format!("{good}{many}"), "", "at most 256 KiB are read"),
        (format!("{good}x = {}", "[".repeat(100_000)), "", "recur"),
        (format!("{good}x{} = 1", ".x".repeat(100_000)), "", "recur"),
    ] {
        folder(&site, "p", &manifest, ONE);
        site.write("p/s.json", file, 0o644);
        site.talaia(&["plugin", "check", "--no-run", "p"]).code(1).says(&[said]);
    }
    // A case as well.
    folder(&site, "p", &good, ONE);
    fs::create_dir(site.path("p/tests")).unwrap();
    for (case, said) in [
        (
            format!("config.a{} = 1", ".a".repeat(100_000)),
            "tests/a.toml: this is not a recorded case",
        ),
        (
            " ".repeat(300_000),
            "tests/a.toml: this is not a recorded case: it has more than 256 KiB",
        ),
    ] {
        site.write("p/tests/a.toml", case, 0o644);
        site.talaia(&["plugin", "check", "--no-run", "p"]).code(1).says(&[said]);
    }
}
