//! Tokens, and the two files that hold secrets: `credentials.json`, where the local agent and
//! commands find how to reach this hub, and `master.key`, under which the database's secrets are
//! sealed.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::model::Secret;

use super::HubError;

/// How the local agent and commands reach this hub. The file is readable by its owner alone.
#[derive(Clone, Serialize, Deserialize)]
pub struct Credentials {
    /// Where the hub listens.
    pub url: String,
    /// The Bearer token.
    pub key: String,
    /// The public identifier of the account: 26 upper-case letters and digits.
    pub api_key: String,
    /// Signs Monitis requests.
    pub secret_key: String,
    /// The file with the certificate of a hub that speaks TLS: to be trusted at this address
    /// whatever it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("url", &self.url)
            .field("api_key", &self.api_key)
            .finish_non_exhaustive()
    }
}

impl Credentials {
    /// Where they lie in a hub's folder.
    pub fn file_in(data_dir: &Path) -> PathBuf {
        data_dir.join("credentials.json")
    }

    /// Reads them; `None` where there are none yet.
    pub fn read(data_dir: &Path) -> Result<Option<Self>, HubError> {
        let path = Self::file_in(data_dir);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(HubError::Read { path, source }),
        };
        serde_json::from_slice(&text)
            .map(Some)
            .map_err(|source| HubError::Credentials { path, source })
    }

    /// Writes them, whole or not at all.
    pub(crate) fn write(&self, data_dir: &Path) -> Result<(), HubError> {
        let path = Self::file_in(data_dir);
        let text = serde_json::to_vec_pretty(self)
            .map_err(|source| HubError::Credentials { path: path.clone(), source })?;
        write_secret(&path, &text).map_err(|source| HubError::Write { path, source })
    }
}

/// Makes the hub's folder, for its owner alone. One that exists is closed to others; where that is
/// not ours to do, it is refused.
pub(crate) fn make_folder(path: &Path) -> Result<(), HubError> {
    let failed = |source| HubError::Folder { path: path.to_owned(), source };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
    let meta = path.metadata().map_err(failed)?;
    let mode = meta.permissions().mode();
    if mode.trailing_zeros() >= 6 {
        return Ok(());
    }
    // A sticky folder, such as /tmp, is everybody's whoever owns it.
    if mode & 0o1000 != 0 || meta.uid() != rustix::process::geteuid().as_raw() {
        return Err(HubError::Open { path: path.to_owned() });
    }
    std::fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(failed)?;
    tracing::info!(folder = %path.display(), "the hub's folder was open to others and now is not");
    Ok(())
}

/// Writes a file of mode 0600 beside its place, makes it durable, and moves it there.
pub(crate) fn write_secret(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".new-{}", random_hex(4)));
    let aside = PathBuf::from(name);
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&aside, path)?;
        File::open(path.parent().unwrap_or(path))?.sync_all()
    })();
    if written.is_err() {
        // It may never have been made; the error that matters is the first.
        let _gone = std::fs::remove_file(&aside);
    }
    written
}

/// Seals what the database must give back in clear.
pub(crate) struct Master(XChaCha20Poly1305);

const NONCE: usize = 24;

impl Master {
    /// Reads `master.key` in the hub's folder, or makes it.
    pub(crate) fn open(data_dir: &Path) -> Result<Self, HubError> {
        let path = data_dir.join("master.key");
        let mut key = Vec::new();
        match File::open(&path) {
            Ok(file) => {
                file.take(33)
                    .read_to_end(&mut key)
                    .map_err(|source| HubError::Read { path: path.clone(), source })?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                key = random::<32>().to_vec();
                write_secret(&path, &key)
                    .map_err(|source| HubError::Write { path: path.clone(), source })?;
            }
            Err(source) => return Err(HubError::Read { path, source }),
        }
        XChaCha20Poly1305::new_from_slice(&key).map(Self).map_err(|_| HubError::MasterKey { path })
    }

    /// Encrypts `secret`, bound to `owner`.
    pub(crate) fn seal(&self, owner: &str, secret: &Secret) -> Option<Vec<u8>> {
        let nonce = random::<NONCE>();
        let payload = Payload { msg: secret.expose().as_bytes(), aad: owner.as_bytes() };
        let sealed = self.0.encrypt(&XNonce::from(nonce), payload).ok()?;
        Some([nonce.as_slice(), &sealed].concat())
    }

    /// Gives back what [`Master::seal`] sealed for the same owner under the same key.
    pub(crate) fn open_sealed(&self, owner: &str, sealed: &[u8]) -> Option<Secret> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE)?;
        let nonce: [u8; NONCE] = nonce.try_into().ok()?;
        let payload = Payload { msg: sealed, aad: owner.as_bytes() };
        let opened = self.0.decrypt(&XNonce::from(nonce), payload).ok()?;
        String::from_utf8(opened).ok().map(Secret::new)
    }
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::rng().fill(&mut bytes);
    bytes
}

fn random_hex(bytes: usize) -> String {
    hex(&random::<32>()[..bytes.min(32)])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        for half in [byte >> 4, byte & 15] {
            text.extend(char::from_digit(u32::from(half), 16));
        }
        text
    })
}

/// A fresh token of 256 bits, with a word in front so that scanners for secrets can tell it.
pub(crate) fn new_token(prefix: &str) -> Secret {
    Secret::new(format!("{prefix}{}", random_hex(32)))
}

/// A fresh public identifier of an account: 26 upper-case letters and digits.
pub(crate) fn new_api_key() -> String {
    const LETTERS: &[u8; 36] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    let mut random = rand::rng();
    (0..26).map(|_| char::from(LETTERS[random.random_range(0..LETTERS.len())])).collect()
}

/// What of a token is stored.
pub(crate) fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// What may be shown of a token to tell it from others: its end.
pub(crate) fn hint(token: &Secret) -> String {
    let token = token.expose();
    format!("…{}", token.get(token.len().saturating_sub(4)..).unwrap_or_default())
}

/// Whether a stored hash is this one, in constant time.
pub(crate) fn same_hash(stored: &[u8], given: &[u8; 32]) -> bool {
    stored.ct_eq(given).into()
}

/// A token for forms of one session, which another site cannot know.
pub(crate) fn form_token(session: &str) -> String {
    hex(&hash(&format!("form:{session}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_secret_opens_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let master = Master::open(folder.path()).unwrap();
        let sealed = master.seal("A", &Secret::new("s3cret")).unwrap();
        assert!(!sealed.windows(6).any(|w| w == b"s3cret"));
        let again = Master::open(folder.path()).unwrap();
        assert_eq!(again.open_sealed("A", &sealed).unwrap().expose(), "s3cret");
        assert!(again.open_sealed("B", &sealed).is_none());
        assert!(again.open_sealed("A", &sealed[..10]).is_none());
        let other = tempfile::tempdir().unwrap();
        assert!(Master::open(other.path()).unwrap().open_sealed("A", &sealed).is_none());
    }

    #[test]
    fn files_of_secrets_are_for_their_owner() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("a/b");
        make_folder(&inner).unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&inner), 0o700);
        Master::open(&inner).ok().unwrap();
        assert_eq!(mode(&inner.join("master.key")), 0o600);
        assert_eq!(std::fs::read_dir(&inner).unwrap().count(), 1, "nothing left beside it");
        std::fs::OpenOptions::new()
            .append(true)
            .open(inner.join("master.key"))
            .unwrap()
            .write_all(b"x")
            .unwrap();
        assert!(matches!(Master::open(&inner), Err(HubError::MasterKey { .. })));
    }

    #[test]
    fn an_open_folder_is_closed_and_one_of_everybody_refused() {
        let folder = tempfile::tempdir().unwrap();
        let set = |mode| std::fs::set_permissions(folder.path(), Permissions::from_mode(mode));
        set(0o755).unwrap();
        make_folder(folder.path()).unwrap();
        assert_eq!(folder.path().metadata().unwrap().permissions().mode() & 0o777, 0o700);
        set(0o1777).unwrap();
        let refused = make_folder(folder.path());
        assert!(matches!(refused, Err(HubError::Open { .. })), "{refused:?}");
    }

    #[test]
    fn identifiers_have_their_shape() {
        let key = new_api_key();
        assert_eq!(key.len(), 26);
        assert!(key.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()));
        assert_eq!(new_token("talaia_").expose().len(), 7 + 64);
        assert_ne!(new_token("").expose(), new_token("").expose());
    }
}
