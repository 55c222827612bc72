//! Approving and withdrawing, and the key that this is signed with: the hub's own, or one that only
//! whoever types this has.

use std::path::Path;
use std::time::SystemTime;

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::model::{PackageName, Timestamp, Version, chain};
use crate::package::{
    Approval, Envelope, Index, Listed, ListedVersion, Rotation, SignError, SigningKey, Trust,
};

use super::super::args::{ApproveArgs, RemoteArgs};
use super::super::exit::{Exit, Failure};
use super::super::print::{self, STRONG, paint};
use super::super::remote::Remote;
use super::hub::{Shown, fetched, path};
use super::parsed;
use super::source::refused;

pub(super) fn approve(args: &ApproveArgs) -> Result<Exit, Failure> {
    let (name, version): (PackageName, Version) = (parsed(&args.name)?, parsed(&args.version)?);
    let remote = Remote::find(&args.remote)?;
    let shown: Shown = remote.get(&path(&name, &version, ""))?.json()?;
    let seen = args.sha256.as_ref().map(|seen| seen.to_ascii_lowercase());
    if seen.as_ref().is_some_and(|seen| seen.len() < 8) {
        let text = "--sha256 takes at least 8 digits, as `talaia plugin review` prints them";
        return Err(Failure::new(Exit::Usage, text));
    }
    if seen.is_some_and(|seen| !shown.sha256.starts_with(&seen)) {
        let text =
            format!("{name} {version} has the SHA-256 {} now: review it again", shown.sha256);
        return Err(Failure::new(Exit::Finding, text));
    }
    let mut body = match &args.sign_with {
        None => json!({}),
        Some(file) => sign_approval(&remote, &shown, &read_key(file)?)?,
    };
    body["sha256"] = shown.sha256.as_str().into();
    remote.send(Method::POST, &path(&name, &version, "/approve"), Some(&body))?;
    let registry: Value = remote.get("/api/v1/registry")?.json()?;
    print::talk(format!(
        "{} {version} (SHA-256 {}) is given out at {}/plugins, signed by {}",
        paint(STRONG, &name),
        shown.sha256,
        remote.url(),
        registry["fingerprint"].as_str().unwrap_or_default()
    ));
    Ok(Exit::Ok)
}

/// Signs, here, what a hub without the key would give out. The hub is not believed: what is signed is
/// what this key signed last, and the one change.
fn sign_approval(remote: &Remote, shown: &Shown, key: &SigningKey) -> Result<Value, Failure> {
    #[derive(Deserialize)]
    struct ToSign {
        approval: Approval,
        index: Index,
    }
    let (name, version) = (&shown.name, &shown.version);
    fetched(remote, shown)?;
    let ToSign { approval, mut index } = remote.get(&path(name, version, "/approval"))?.json()?;
    if approval.name != *name || approval.version != *version || approval.sha256 != shown.sha256 {
        return Err(Failure::new(Exit::Internal, "the hub asks to sign something else"));
    }
    only_next(&index, published(remote, key)?.as_ref(), None)?;
    let about =
        shown.report.summary.as_ref().map_or(("", "other"), |summary| {
            (summary.description.as_str(), summary.category.as_str())
        });
    let statement = Envelope::seal(&approval, key).map_err(internal)?;
    let listed = ListedVersion { version: version.clone(), statement: statement.clone() };
    index.insert(name, about, listed);
    let index = index.seal(key).map_err(internal)?;
    Ok(json!({"statement": statement, "index": index}))
}

#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` gives")]
fn internal(error: SignError) -> Failure {
    Failure::from_error(Exit::Internal, &error)
}

/// The index that this key signed last; nothing where a registry has none yet.
fn published(remote: &Remote, key: &SigningKey) -> Result<Option<Index>, Failure> {
    let registry: Value = remote.get("/api/v1/registry")?.json()?;
    if registry["key"].is_null() {
        return Ok(None);
    }
    let envelope = Index::envelope(&remote.get("/plugins/index.json")?.body).map_err(refused)?;
    if envelope.key() != key.public() {
        let text = format!(
            "the registry signs with the key {}, and this is {}",
            envelope.key(),
            key.public()
        );
        return Err(Failure::new(Exit::Finding, text));
    }
    let trust = Trust { key: key.public(), serial: 0 };
    Ok(Some(Index::open(&envelope, trust).map_err(refused)?.0))
}

/// Whether an index follows the last one, and changes nothing but that `less` is left out.
fn only_next(
    next: &Index,
    last: Option<&Index>,
    less: Option<(&PackageName, &Version)>,
) -> Result<(), Failure> {
    let (serial, rotations, mut packages) = match last {
        Some(last) => (last.serial, last.rotations.clone(), last.packages.clone()),
        None => (0, Vec::new(), Vec::new()),
    };
    if let Some((name, version)) = less {
        for package in packages.iter_mut().filter(|package| package.name == *name) {
            package.versions.retain(|listed| listed.version != *version);
        }
        packages.retain(|package| !package.versions.is_empty());
    }
    // What a package is about may be put in other words.
    let statements = |packages: &[Listed]| -> Vec<_> {
        let all = packages.iter().map(|p| (p.name.clone(), p.versions.clone()));
        all.collect()
    };
    if next.serial == serial + 1
        && next.rotations == rotations
        && statements(&next.packages) == statements(&packages)
    {
        return Ok(());
    }
    let text = "the hub asks to sign more than this change; nothing was signed";
    Err(Failure::new(Exit::Finding, text))
}

pub(super) fn withdraw(
    name: &str,
    version: &str,
    key: Option<&Path>,
    remote: &RemoteArgs,
) -> Result<Exit, Failure> {
    #[derive(Deserialize)]
    struct ToSign {
        index: Index,
    }
    let (name, version): (PackageName, Version) = (parsed(name)?, parsed(version)?);
    let remote = Remote::find(remote)?;
    let shown: Shown = remote.get(&path(&name, &version, ""))?.json()?;
    // Only what is given out is in the index.
    let body = match key.filter(|_| shown.state == "approved") {
        None => None,
        Some(file) => {
            let key = read_key(file)?;
            let ToSign { index } = remote.get(&path(&name, &version, "/withdrawal"))?.json()?;
            only_next(&index, published(&remote, &key)?.as_ref(), Some((&name, &version)))?;
            let index = index.seal(&key).map_err(internal)?;
            Some(json!({"index": index}))
        }
    };
    remote.send(Method::POST, &path(&name, &version, "/withdraw"), body.as_ref())?;
    print::talk(format!("{name} {version} is withdrawn; who installed it keeps it"));
    Ok(Exit::Ok)
}

fn read_key(file: &Path) -> Result<SigningKey, Failure> {
    let text = std::fs::read_to_string(file).map_err(|e| {
        let text = format!(
            "cannot read the key {}: {e}\n\nhint: `talaia plugin key {}` makes one",
            file.display(),
            file.display()
        );
        Failure::new(Exit::Input, text)
    })?;
    SigningKey::parse(&text).map_err(|error| {
        Failure::new(Exit::Input, format!("{}: {}", file.display(), chain(&error)))
    })
}

/// The fingerprint of a registry's key: of the hub's, or of one in a file, which is made where there is
/// none.
pub(super) fn key(file: Option<&Path>, remote: &RemoteArgs) -> Result<Exit, Failure> {
    let Some(file) = file else {
        let registry: Value = Remote::find(remote)?.get("/api/v1/registry")?.json()?;
        let Some(fingerprint) = registry["fingerprint"].as_str() else {
            print::talk("the hub has none yet: the first approval makes it");
            return Ok(Exit::Finding);
        };
        let _closed = print::data(fingerprint);
        return Ok(Exit::Ok);
    };
    let _closed = print::data(made_key(file)?.public().fingerprint());
    Ok(Exit::Ok)
}

/// The key in a file, which is made where there is none.
fn made_key(file: &Path) -> Result<SigningKey, Failure> {
    if !file.exists() {
        let key = SigningKey::generate().map_err(internal)?;
        crate::package::replace(file, key.to_text().expose().as_bytes(), 0o600).map_err(|e| {
            Failure::new(Exit::Disk, format!("cannot write {}: {e}", file.display()))
        })?;
        print::talk(format!("made {}; keep it where the hub is not", file.display()));
    }
    read_key(file)
}

/// Has a registry go on with another key: one that the hub makes, or, where the present one is in a
/// file, one in another file.
pub(super) fn rotate(
    offline: Option<(&Path, &Path)>,
    remote: &RemoteArgs,
) -> Result<Exit, Failure> {
    let remote = Remote::find(remote)?;
    let body = match offline {
        None => None,
        Some((old, new)) => {
            let (old, new) = (read_key(old)?, made_key(new)?);
            let Some(last) = published(&remote, &old)? else {
                let text = "the registry has no key yet: the first approval brings it";
                return Err(Failure::new(Exit::Finding, text));
            };
            let at = Timestamp::from(SystemTime::now());
            let rotation =
                Envelope::seal(&Rotation { new_key: new.public(), at }, &old).map_err(internal)?;
            let rotations = [last.rotations, vec![rotation.clone()]].concat();
            let index = Index::new(last.serial + 1, at, rotations, last.packages);
            Some(json!({"rotation": rotation, "index": index.seal(&new).map_err(internal)?}))
        }
    };
    let reply = remote.send(Method::POST, "/api/v1/registry/rotate", body.as_ref())?;
    let registry: Value = reply.json()?;
    print::talk("from now on the registry signs with the key");
    let _closed = print::data(registry["fingerprint"].as_str().unwrap_or_default());
    Ok(Exit::Ok)
}
