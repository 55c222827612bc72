//! Where packages are got from: a folder or archive of this machine, or a registry over HTTP.

use std::io::{self, IsTerminal as _, Read as _};
use std::path::Path;
use std::time::Duration;

use crate::config::Env;
use crate::deliver::ClientSettings;
use crate::model::{PackageName, Version, chain};
use crate::package::{
    Contents, Index, IndexError, Inspection, Origin, PublicKey, Store, StoreError, Trust, bounds,
    file_name, inspect, make_folder, replace, unpack,
};

use super::super::args::HowArgs;
use super::super::client::block_on;
use super::super::exit::{Exit, Failure};
use super::super::print::{self, ODD, STRONG, paint};
use super::super::progress::{Progress, Unit};
use super::super::target;
use super::{lines, pack};

/// For one file as a whole.
const PATIENCE: Duration = Duration::from_mins(5);
/// Most bytes of an index.
const INDEX: usize = 16 << 20;

/// A package that may be installed.
pub(super) struct Got {
    pub(super) name: PackageName,
    pub(super) version: Version,
    pub(super) archive: Vec<u8>,
    pub(super) contents: Contents,
    pub(super) inspection: Inspection,
    pub(super) origin: Origin,
    /// What is known of its registry from now on.
    pub(super) trust: Option<(String, Trust)>,
}

/// From a folder or an archive of this machine.
pub(super) fn local(path: &Path) -> Result<Got, Failure> {
    let origin = Origin::Local {
        path: path
            .canonicalize()
            .unwrap_or_else(|_| path.to_owned())
            .to_string_lossy()
            .into_owned(),
    };
    if path.is_dir() {
        let packed = pack::pack(path)?;
        let pack::Packed { name, version, archive, contents, inspection } = packed;
        return Ok(Got { name, version, archive, contents, inspection, origin, trust: None });
    }
    let cannot =
        |e: io::Error| Failure::new(Exit::Input, format!("cannot read {}: {e}", path.display()));
    let mut archive = Vec::new();
    let most = bounds::ZIPPED as u64;
    std::fs::File::open(path)
        .and_then(|file| file.take(most + 1).read_to_end(&mut archive))
        .map_err(cannot)?;
    if archive.len() as u64 > most {
        let text = format!(
            "{} is too large: an archive of a package has at most {}",
            path.display(),
            print::bytes(most)
        );
        return Err(Failure::new(Exit::Finding, text));
    }
    opened(archive, None, origin)
}

/// Opens an archive and looks at it. `wanted` is what it has to be.
fn opened(
    archive: Vec<u8>,
    wanted: Option<(&PackageName, &Version)>,
    origin: Origin,
) -> Result<Got, Failure> {
    let refused = |text: String| Failure::new(Exit::Finding, text);
    let (top, contents) = unpack(&archive).map_err(|findings| refused(lines(&findings)))?;
    let inspection = inspect(&contents, Some(&top));
    let summary = match &inspection.summary {
        Some(summary) if !inspection.has_errors() => summary,
        _ => return Err(refused(lines(&inspection.findings))),
    };
    let (name, version) = (summary.name.clone(), summary.version.clone());
    if let Some((wanted, its)) = wanted.filter(|wanted| *wanted != (&name, &version)) {
        let text = format!("the registry was asked for {wanted} {its} and sent {name} {version}");
        return Err(refused(text));
    }
    Ok(Got { name, version, archive, contents, inspection, origin, trust: None })
}

/// A registry, and how to reach it.
pub(super) struct Registry {
    url: String,
    client: reqwest::Client,
}

/// Its index, checked, and the key that it is signed by.
pub(super) struct Checked {
    pub(super) index: Index,
    pub(super) trust: Trust,
}

impl Registry {
    /// The registry that `how` means, or the one at `known` where it names none.
    pub(super) fn find(how: &HowArgs, known: Option<&str>) -> Result<Self, Failure> {
        if let Some(url) = how.registry.as_deref().or(known.filter(|_| how.remote.hub.is_none())) {
            let client = ClientSettings { timeout: PATIENCE, ..Self::settings(how) };
            return Self::at(url, &client);
        }
        let target = target::find(&how.remote, &Env::system())?;
        let client = ClientSettings { timeout: PATIENCE, ..target.client };
        Self::at(&format!("{}/plugins", target.url), &client)
    }

    fn settings(how: &HowArgs) -> ClientSettings {
        // A registry that is a hub of this machine is reached as that one is.
        let hub = target::find(&how.remote, &Env::system()).ok();
        let own =
            hub.filter(|hub| how.registry.as_deref().is_none_or(|url| same_origin(url, &hub.url)));
        let mut settings = own.map(|hub| hub.client).unwrap_or_default();
        if let Some(ca) = &how.remote.ca {
            settings.tls.ca = Some(ca.clone());
        }
        settings
    }

    /// The registry at an address.
    pub(super) fn at(url: &str, client: &ClientSettings) -> Result<Self, Failure> {
        let url = url.trim_end_matches('/').trim_end_matches("/index.json").to_owned();
        if !(url.starts_with("http://") || url.starts_with("https://")) {
            let text =
                format!("`{url}` is not a registry's address, such as https://example.org/plugins");
            return Err(Failure::new(Exit::Usage, text));
        }
        let client =
            client.build(&url).map_err(|error| Failure::from_error(Exit::Config, &error))?;
        Ok(Self { url, client })
    }

    fn get(&self, path: &str, most: usize) -> Result<Vec<u8>, Failure> {
        let url = format!("{}/{path}", self.url);
        let wrong = |exit, why: String| Failure::new(exit, format!("{url}: {why}"));
        let progress = Progress::of("waiting for the registry", Unit::Bytes);
        let got = block_on(async {
            let mut reply =
                self.client.get(&url).send().await.map_err(|e| chain(&e.without_url()))?;
            let status = reply.status();
            let mut body = Vec::new();
            while let Some(chunk) = reply.chunk().await.map_err(|e| chain(&e.without_url()))? {
                if body.len() + chunk.len() > most {
                    return Err(format!("it sends more than {}", print::bytes(most as u64)));
                }
                progress.add(chunk.len() as u64);
                body.extend_from_slice(&chunk);
            }
            Ok((status.as_u16(), body))
        });
        let (status, body) = got.map_err(|why| wrong(Exit::Unreachable, why))?;
        match status {
            200 => Ok(body),
            300..=399 => Err(wrong(
                Exit::Unreachable,
                format!(
                    "it answers {status} and leads elsewhere; name the final address with --registry"
                ),
            )),
            404 => Err(wrong(Exit::Finding, format!("not found{}", detail(&body)))),
            _ => Err(wrong(Exit::Unreachable, format!("it answers {status}{}", detail(&body)))),
        }
    }

    /// The registry's index, by what `store` knows of it; a key that is new needs `trust`, or a yes.
    pub(super) fn index(&self, store: &Store, trust: Option<&str>) -> Result<Checked, Failure> {
        let envelope = Index::envelope(&self.get("index.json", INDEX)?).map_err(refused)?;
        let known = match store.trust(&self.url).map_err(|e| disk(&e))? {
            None => Trust { key: self.first(envelope.key(), trust)?, serial: 0 },
            Some(known) => known,
        };
        let said = trust;
        let (index, trust) = match (Index::open(&envelope, known), said) {
            (Ok((_, now)), Some(said)) if !now.key.is(said) => {
                let text =
                    format!("the registry at {} signs with {}, not with {said}", self.url, now.key);
                return Err(Failure::new(Exit::Finding, text));
            }
            // A registry that was made anew, or set back: who compared its key may begin anew with it.
            (Err(IndexError::Stranger { .. } | IndexError::Older { .. }), Some(said)) => {
                let trust = Trust { key: self.first(envelope.key(), Some(said))?, serial: 0 };
                print::talk(format!(
                    "{} what was known of {} is forgotten: it was the key {}, serial {}",
                    paint(ODD, "note:"),
                    self.url,
                    known.key,
                    known.serial
                ));
                Index::open(&envelope, trust).map_err(refused)?
            }
            (opened, _) => opened.map_err(|error| self.lost(error))?,
        };
        Ok(Checked { index, trust })
    }

    /// Keeps what is known of it from now on.
    pub(super) fn remember(&self, store: &Store, checked: &Checked) -> Result<(), Failure> {
        store.set_trust(&self.url, checked.trust).map_err(|e| disk(&e))
    }

    /// What to do about a registry that is not what it was.
    fn lost(&self, error: IndexError) -> Failure {
        let anew = matches!(error, IndexError::Stranger { .. } | IndexError::Older { .. });
        let mut failure = refused(error);
        if anew {
            failure.text.push_str(&format!(
                "\n\nhint: where the people of {} say that it was made anew or set back, compare its key with what they say and give it: --trust SHA256:…",
                self.url
            ));
        }
        failure
    }

    /// Whether the key of a registry that was never used before is trusted.
    fn first(&self, key: PublicKey, trust: Option<&str>) -> Result<PublicKey, Failure> {
        if let Some(trust) = trust {
            if key.is(trust) {
                return Ok(key);
            }
            let text = format!("the registry at {} signs with {key}, not with {trust}", self.url);
            return Err(Failure::new(Exit::Finding, text));
        }
        let said = format!(
            "the registry at {} is new here; its key is\n  {}",
            self.url,
            paint(STRONG, key.fingerprint())
        );
        if io::stdin().is_terminal() && print::a_person_reads_stderr() {
            print::talk(format!(
                "{said}\nCompare it with what the registry's people say. Trust it from now on? [y/N] "
            ));
            let mut answer = String::new();
            let read = io::stdin().read_line(&mut answer);
            if read.is_ok() && matches!(answer.trim(), "y" | "yes" | "Y" | "Yes") {
                return Ok(key);
            }
            return Err(Failure::new(Exit::Finding, "not trusted; nothing was installed"));
        }
        let text = format!(
            "{said}\n\nhint: compare it with what the registry's people say, then: --trust {key}"
        );
        Err(Failure::new(Exit::Finding, text))
    }

    /// Gets one version and checks that it is the one that was approved.
    pub(super) fn package(
        &self,
        checked: &Checked,
        name: &PackageName,
        version: Option<&Version>,
    ) -> Result<Got, Failure> {
        let offer = checked.index.find(name, version, checked.trust.key).map_err(refused)?;
        let version = offer.approval.version.clone();
        let path = format!("download/{}", file_name(name, &version));
        let archive = self.get(&path, bounds::ZIPPED)?;
        offer.check(&archive).map_err(refused)?;
        let origin = Origin::Registry { url: self.url.clone(), statement: offer.statement.clone() };
        let got = opened(archive, Some((name, &version)), origin)?;
        Ok(Got { trust: Some((self.url.clone(), checked.trust)), ..got })
    }
}

/// Whether two addresses are of one server.
fn same_origin(one: &str, other: &str) -> bool {
    match (reqwest::Url::parse(one), reqwest::Url::parse(other)) {
        (Ok(one), Ok(other)) => one.origin() == other.origin(),
        _ => false,
    }
}

/// Copies a registry into a folder: the archives first, then the index, so that whoever serves the
/// folder never shows an index of what is not there.
pub(super) fn mirror(folder: &Path, how: &HowArgs) -> Result<Exit, Failure> {
    let failed =
        |e: io::Error| Failure::new(Exit::Disk, format!("cannot write {}: {e}", folder.display()));
    let registry = Registry::find(how, None)?;
    let bytes = registry.get("index.json", INDEX)?;
    let envelope = Index::envelope(&bytes).map_err(refused)?;
    // A copy goes on from what it has: it takes no older index, and no stranger's.
    let trust = match std::fs::read(folder.join("index.json")) {
        Ok(bytes) => {
            let old = Index::envelope(&bytes).map_err(refused)?;
            let own = Trust { key: old.key(), serial: 0 };
            Index::open(&old, own).map_err(refused)?.1
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Trust { key: registry.first(envelope.key(), how.trust.as_deref())?, serial: 0 }
        }
        Err(error) => {
            let text = format!("cannot read {}: {error}", folder.join("index.json").display());
            return Err(Failure::new(Exit::Disk, text));
        }
    };
    let (index, trust) = Index::open(&envelope, trust).map_err(|e| registry.lost(e))?;
    if how.dry_run {
        let count = index.packages.len();
        print::talk(format!("serial {}, {count} packages; nothing was written", index.serial));
        return Ok(Exit::Ok);
    }
    let downloads = folder.join("download");
    make_folder(&downloads).map_err(failed)?;
    let mut count = 0;
    for package in &index.packages {
        for listed in &package.versions {
            let offer =
                index.find(&package.name, Some(&listed.version), trust.key).map_err(refused)?;
            let file = file_name(&package.name, &listed.version);
            let path = downloads.join(&file);
            if std::fs::read(&path).is_ok_and(|old| offer.check(&old).is_ok()) {
                continue;
            }
            let archive = registry.get(&format!("download/{file}"), bounds::ZIPPED)?;
            offer.check(&archive).map_err(refused)?;
            replace(&path, &archive, 0o644).map_err(failed)?;
            count += 1;
        }
    }
    replace(&folder.join("index.json"), &bytes, 0o644).map_err(failed)?;
    print::talk(format!(
        "{}: serial {}, {} packages, {count} new archives, signed by {}",
        folder.display(),
        index.serial,
        index.packages.len(),
        trust.key
    ));
    Ok(Exit::Ok)
}

/// What a server says of why it refuses, where that is a problem document or a short text.
fn detail(body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Problem {
        detail: String,
    }
    let text = match serde_json::from_slice::<Problem>(body) {
        Ok(problem) => problem.detail,
        Err(_) => return String::new(),
    };
    format!(": {}", super::super::report::clean(&text))
}

#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` gives")]
pub(super) fn refused(error: IndexError) -> Failure {
    Failure::from_error(Exit::Finding, &error)
}

/// What a failure of the packages' store means for the exit code.
pub(super) fn disk(error: &StoreError) -> Failure {
    let exit = match error {
        StoreError::Other { .. } => Exit::Finding,
        _ => Exit::Disk,
    };
    Failure::from_error(exit, error)
}
