//! Packages to install, registries that give them out, and what there is on disk afterwards.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use talaia::model::{PackageName, Timestamp, Version};
use talaia::package::{
    Approval, Contents, Envelope, Index, Listed, ListedVersion, PublicKey, Rotation, SigningKey,
    file_name, pack, sha256,
};

use crate::support::{Done, Site};

/// What a package of [`folder`] prints.
pub(super) const ONE: &str = "echo '{\"n\": 1}'";
/// Another.
pub(super) const TWO: &str = "echo '{\"n\": 2}'";

/// The manifest of a package with one command of its own name, and a metric `n`.
pub(super) fn manifest(name: &str, version: &str) -> String {
    format!(
        "name = \"{name}\"\nversion = \"{version}\"\ndescription = \"Of a test\"\n\
         authors = [\"The Talaia project\"]\nlicense = \"MIT\"\ncategory = \"other\"\n\
         [config]\ndefaults = {{ step = 1 }}\n\
         [commands.{name}]\ncommand = [\"run\"]\ninterval = \"200ms\"\ntimeout = \"20s\"\n\
         [commands.{name}.metrics.n]\ntype = \"integer\"\n"
    )
}

/// Writes the folder of a package that runs `script`.
pub(super) fn folder(site: &Site, at: &str, manifest: &str, script: &str) {
    // Somebody who is not root reads it as well.
    fs::create_dir_all(site.path(at)).unwrap();
    fs::set_permissions(site.path(at), fs::Permissions::from_mode(0o755)).unwrap();
    site.write(&format!("{at}/talaia-plugin.toml"), manifest, 0o644);
    site.script(&format!("{at}/run"), script);
    site.write(&format!("{at}/README.md"), "# Of a test\n", 0o644);
}

/// The archive of a package as [`folder`] writes it.
pub(super) fn archive(site: &Site, manifest: &str, script: &str) -> Vec<u8> {
    folder(site, "packed", manifest, script);
    let contents = Contents::of_folder(&site.path("packed")).unwrap().unwrap();
    fs::remove_dir_all(site.path("packed")).unwrap();
    let name = manifest.split('"').nth(1).unwrap();
    pack(&name.parse().unwrap(), &contents).unwrap()
}

/// `talaia plugin …` by this site's config.
#[track_caller]
pub(super) fn plugin(site: &Site, words: &[&str]) -> Done {
    site.talaia(&[&["plugin"], words, &["--config", "talaia.toml"]].concat())
}

/// Every file of the packages and drop-ins with its mode and hash, but for the lock.
pub(super) fn state(site: &Site) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![site.path("data/packages"), site.path("plugins.d")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            if path.ends_with("packages/lock") {
                continue;
            }
            let mut what = format!("{:o}", metadata.permissions().mode());
            if metadata.is_dir() {
                folders.push(path.clone());
            } else {
                what = format!("{what} {}", sha256(&fs::read(&path).unwrap()));
            }
            found.insert(path, what);
        }
    }
    found
}

/// Names in a folder, sorted; none where there is no such folder.
pub(super) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// What a registry gives out, signed by `key`.
pub(super) struct Registry {
    pub(super) key: SigningKey,
    pub(super) serial: u64,
    pub(super) rotations: Vec<Envelope>,
    pub(super) packages: Vec<Listed>,
    archives: BTreeMap<String, Vec<u8>>,
}

pub(super) fn at() -> Timestamp {
    Timestamp::from_millis(1_795_380_130_000).unwrap()
}

/// A signed word that `new` goes on where `old` was.
pub(super) fn rotation(old: &SigningKey, new: PublicKey) -> Envelope {
    Envelope::seal(&Rotation { new_key: new, at: at() }, old).unwrap()
}

/// A version as an index lists it, with the hash of `archive`.
pub(super) fn listed(name: &str, version: &str, archive: &[u8], key: &SigningKey) -> ListedVersion {
    let version: Version = version.parse().unwrap();
    let approval = Approval {
        name: name.parse().unwrap(),
        version: version.clone(),
        sha256: sha256(archive),
        approved_at: at(),
    };
    ListedVersion { version, statement: Envelope::seal(&approval, key).unwrap() }
}

impl Registry {
    pub(super) fn new() -> Self {
        Self {
            key: SigningKey::generate().unwrap(),
            serial: 5,
            rotations: Vec::new(),
            packages: Vec::new(),
            archives: BTreeMap::new(),
        }
    }

    /// Approves an archive.
    pub(super) fn add(&mut self, name: &str, version: &str, archive: Vec<u8>) {
        let listed = listed(name, version, &archive, &self.key);
        let name: PackageName = name.parse().unwrap();
        let mut index = Index::new(0, at(), Vec::new(), std::mem::take(&mut self.packages));
        self.archives.insert(file_name(&name, &listed.version), archive);
        index.insert(&name, ("Of a test", "other"), listed);
        self.packages = index.packages;
    }

    /// The index as `key` would sign it.
    pub(super) fn index_by(&self, key: &SigningKey) -> Reply {
        let (rotations, packages) = (self.rotations.clone(), self.packages.clone());
        let sealed = Index::new(self.serial, at(), rotations, packages).seal(key).unwrap();
        Reply::Bytes(serde_json::to_vec(&sealed).unwrap())
    }

    /// All its files.
    pub(super) fn files(&self) -> Files {
        let mut files = Files::from([("/index.json".to_owned(), self.index_by(&self.key))]);
        for (name, bytes) in &self.archives {
            files.insert(format!("/download/{name}"), Reply::Bytes(bytes.clone()));
        }
        files
    }

    /// Its key as people compare it.
    pub(super) fn fingerprint(&self) -> String {
        self.key.public().fingerprint()
    }
}

/// How a server answers a request for one file.
#[derive(Clone)]
pub(super) enum Reply {
    /// As it should.
    Bytes(Vec<u8>),
    /// With another status and a problem document.
    Status(u16),
    /// Somewhere else.
    Elsewhere(String),
    /// A part of what it says that it will send.
    Half(Vec<u8>),
    /// Without an end.
    Endless,
    /// Not at all.
    Nothing,
}

pub(super) type Files = BTreeMap<String, Reply>;

/// A server of files that may misbehave, until it is dropped.
pub(super) struct Server {
    pub(super) url: String,
    files: Arc<Mutex<Option<Files>>>,
    asked: Arc<Mutex<Vec<String>>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(super) fn start(files: Files) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let files = Arc::new(Mutex::new(Some(files)));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (served, noted) = (files.clone(), asked.clone());
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                let files = served.lock().unwrap().clone();
                let (Ok(stream), Some(files)) = (stream, files) else { break };
                // Who hears enough goes away; that is no failure here.
                let _gone = answer(stream, &files, &noted);
            }
        });
        Self { url, files, asked, thread: Some(thread) }
    }

    /// Serves these from now on.
    pub(super) fn serve(&self, files: Files) {
        *self.files.lock().unwrap() = Some(files);
    }

    /// The paths that were asked for since the last time.
    pub(super) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        *self.files.lock().unwrap() = None;
        // It waits for a connection.
        drop(TcpStream::connect(self.url.strip_prefix("http://").unwrap()));
        drop(self.thread.take().map(JoinHandle::join));
    }
}

fn answer(mut stream: TcpStream, files: &Files, asked: &Mutex<Vec<String>>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(crate::support::PATIENCE))?;
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte)? == 1 {
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head);
    let Some(path) = head.split(' ').nth(1) else { return Ok(()) };
    asked.lock().unwrap().push(path.to_owned());
    let send = |stream: &mut TcpStream, status: &str, more: &str, body: &[u8]| {
        let length = body.len();
        write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{more}\r\n"
        )?;
        stream.write_all(body)
    };
    match files.get(path) {
        Some(Reply::Bytes(bytes)) => send(&mut stream, "200 OK", "", bytes),
        Some(Reply::Status(status)) => {
            let body = b"{\"detail\": \"out \\u001b[2Jof order\"}";
            send(&mut stream, &format!("{status} No"), "", body)
        }
        Some(Reply::Elsewhere(url)) => {
            send(&mut stream, "302 Found", &format!("Location: {url}\r\n"), b"")
        }
        Some(Reply::Half(bytes)) => {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", bytes.len())?;
            stream.write_all(&bytes[..bytes.len() / 2])
        }
        Some(Reply::Endless) => {
            write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
            loop {
                stream.write_all(&[b' '; 1 << 12])?;
            }
        }
        Some(Reply::Nothing) => Ok(()),
        None => send(&mut stream, "404 Not Found", "", b"no such file"),
    }
}

/// A site with the package `a-b` 1.0.0 from `registry`, in an agent that runs it.
pub(super) fn installed(registry: &Registry, server: &Server) -> Site {
    let mut site = Site::new();
    site.configure("[hub]\nlisten = \"127.0.0.1:0\"\n");
    site.start_agent();
    site.until("agent", Site::status);
    let how = ["--registry", server.url.as_str(), "--trust", &registry.fingerprint()];
    plugin(&site, &[&["install", "a-b", "1.0.0"][..], &how].concat()).code(0).says(&[
        "a-b 1.0.0 from http://127.0.0.1:",
        "the running agent has added a_b",
        "ready",
    ]);
    runs_on(&site);
    site
}

/// Waits for further runs of the plugin `a_b`.
#[track_caller]
pub(super) fn runs_on(site: &Site) {
    let runs = |site: &Site| site.status()?["plugins"]["a_b"]["accepted"].as_u64();
    let before = runs(site).unwrap_or(0);
    site.until("more runs", |site| runs(site).filter(|runs| *runs > before));
}
