//! The bundled packages beside the things that they look at: this kernel's own counters, a web server,
//! files and certificates that were just made.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use rcgen::{CertificateParams, KeyPair};
use serde_json::Value;

use super::support::{Files, Reply, Server, plugin};
use crate::support::{Site, skip};

fn root() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/packages")
}

/// Whether a program is there; said where it is not.
fn has(program: &str) -> bool {
    let mut command = Command::new(program);
    let there = command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if there.is_err() {
        skip(&format!("there is no {program}"));
    }
    there.is_ok()
}

/// A site with a package installed, and these settings of its own.
fn installed(package: &str, settings: &str) -> Site {
    let site = Site::new();
    site.configure("");
    plugin(&site, &["install", root().join(package).to_str().unwrap()]).code(0);
    let file = format!("plugins.d/{package}.toml");
    let text = format!("{}\n[packages.{package}.config]\n{settings}\n", site.read(&file));
    site.write(&file, text, 0o644);
    site
}

/// One run of a plugin: its report, of which nothing was refused.
fn run(site: &Site, plugin: &str) -> Value {
    let done = site.talaia(&["test", plugin, "--json", "--config", "talaia.toml"]);
    done.code(0).json()
}

/// The values of a metric, by one of its tags.
fn values(report: &Value, name: &str, tag: &str) -> BTreeMap<String, Value> {
    let metrics = report["metrics"].as_array().unwrap().iter();
    metrics
        .filter(|metric| metric["name"] == name)
        .map(|metric| {
            let tag = metric["tags"][tag].as_str().unwrap_or_default().to_owned();
            (tag, metric["value"].clone())
        })
        .collect()
}

/// A number of a file of the kernel's: what follows a word at the beginning of a line.
fn number(file: &str, word: &str) -> u64 {
    let text = fs::read_to_string(file).unwrap();
    let line = text.lines().find(|line| line.starts_with(word)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The counter of a protocol in `/proc/net/snmp`.
fn snmp(protocol: &str, counter: &str) -> u64 {
    let text = fs::read_to_string("/proc/net/snmp").unwrap();
    let mut lines = text.lines().filter(|line| line.starts_with(&format!("{protocol}:")));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let at = names.split_whitespace().position(|name| name == counter).unwrap();
    values.split_whitespace().nth(at).unwrap().parse().unwrap()
}

#[test]
fn counters_of_packets_are_those_of_the_kernel() {
    let site = installed("netstat", "");
    for (metric, protocol, counter) in [
        ("tcp_packets_in", "Tcp", "InSegs"),
        ("tcp_packets_out", "Tcp", "OutSegs"),
        ("udp_packets_in", "Udp", "InDatagrams"),
        ("udp_packets_out", "Udp", "OutDatagrams"),
    ] {
        let before = snmp(protocol, counter);
        let report = run(&site, "netstat");
        let after = snmp(protocol, counter);
        let own = values(&report, metric, "")[""].as_u64().unwrap();
        assert!((before..=after).contains(&own), "{metric}: {before} {own} {after}");
    }
}

#[test]
fn memory_and_disks_are_those_of_this_host() {
    let site = installed("host", "");
    let memory = run(&site, "host_memory");
    let total = &values(&memory, "memory_total", "")[""];
    assert_eq!(*total, number("/proc/meminfo", "MemTotal:") * 1024);
    let disks = values(&run(&site, "host_disk"), "disk_total", "mount");
    assert!(!disks.is_empty());
    for (mount, total) in disks {
        let disk = rustix::fs::statvfs(mount.as_str()).unwrap();
        assert_eq!(total.as_u64(), Some(disk.f_blocks * disk.f_frsize), "{mount}");
    }
    let cpus = values(&run(&site, "host_cpu"), "cpus", "")[""].as_u64().unwrap();
    let listed = fs::read_to_string("/proc/cpuinfo").unwrap();
    let listed = listed.lines().filter(|line| line.starts_with("processor")).count() as u64;
    assert!(listed == 0 || cpus == listed, "{cpus} {listed}");
}

#[test]
fn pages_are_up_and_down_as_their_server_says() {
    if !has("python3") {
        return;
    }
    let files = [
        ("/good", Reply::Bytes(b"all is well".to_vec())),
        ("/bad", Reply::Status(503)),
        ("/half", Reply::Half(vec![b'x'; 1000])),
        ("/nothing", Reply::Nothing),
    ];
    let server = Server::start(Files::from(files.map(|(path, reply)| (path.to_owned(), reply))));
    let page = |path: &str| format!("{{ url = '{}/{path}', name = '{path}' }}", server.url);
    let good = page("good").replace(" }", ", match = 'is w' }");
    let gone = "{ url = 'http://127.0.0.1:1/', name = 'gone' }";
    let urls = [good, page("bad"), page("half"), page("nothing"), gone.to_owned()].join(", ");
    let site = installed("http-check", &format!("timeout = '3s'\nurls = [{urls}]"));
    let report = run(&site, "http_check");
    assert_eq!(report["status"], "critical", "{report}");
    let up = values(&report, "http_up", "url");
    for (name, wanted) in
        [("good", true), ("bad", false), ("half", false), ("nothing", false), ("gone", false)]
    {
        assert_eq!(up[name], Value::Bool(wanted), "{name}: {report}");
    }
    assert_eq!(values(&report, "http_status", "url")["bad"], 503);
    assert_eq!(values(&report, "http_match", "url")["good"], true);
    assert_eq!(values(&report, "http_size", "url")["good"], 11);
}

#[test]
fn files_and_certificates_are_as_old_as_they_are() {
    if !has("python3") {
        return;
    }
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2100, 1, 1);
    let long = params.self_signed(&key).unwrap().pem();
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let over = params.self_signed(&key).unwrap().pem();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("long.pem"), long).unwrap();
    fs::write(folder.path().join("over.pem"), over).unwrap();
    let dir = folder.path().display();
    let settings = format!("files = ['{dir}/*.pem', '{dir}/none']\ncertificates = ['{dir}/*.pem']");
    let site = installed("file-age", &settings);
    let report = run(&site, "file_age");
    let ages = values(&report, "file_age", "path");
    let age = ages[&format!("{dir}/*.pem")].as_f64().unwrap();
    assert!((0.0..600.0).contains(&age), "{age}");
    let report = run(&site, "file_age_certificates");
    assert_eq!(report["status"], "critical", "{report}");
    let days = values(&report, "certificate_days", "path");
    let of = |file: &str| days[&format!("{dir}/{file}.pem")].as_f64().unwrap();
    assert!(of("long") > 20_000.0 && of("over") < 0.0, "{days:?}");
}

#[test]
fn the_library_of_the_packages_in_awk_is_the_same_in_all_of_them() {
    let read = |package: &str| fs::read(root().join(package).join("lib/talaia.awk")).unwrap();
    let one = read("host");
    for package in ["netstat", "systemd-units"] {
        assert!(one == read(package), "{package}: copy it from host");
    }
}
