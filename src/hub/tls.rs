//! The hub's certificate: read from its files, and read again when they change, so that a renewed
//! one is used without a restart.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use tokio_rustls::TlsAcceptor;

use crate::model::chain;

use super::settings::TlsFiles;

/// How often the files are looked at, at most.
const LOOK: Duration = Duration::from_secs(2);

/// Why the hub cannot speak TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or is not what it should be.
    #[error("cannot use {} as the hub's {what}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
        /// Why not.
        #[source]
        source: pem::Error,
    },
    /// There is no certificate in the file.
    #[error("there is no certificate in {}: it must be in PEM", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The two do not go together, or are of a kind that is not known.
    #[error("the certificate {} cannot be used with the key {}", cert.display(), key.display())]
    Pair {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why not.
        #[source]
        source: rustls::Error,
    },
}

/// Speaks TLS with the certificate that is in the files now.
pub(super) struct Tls {
    files: TlsFiles,
    current: Mutex<Current>,
}

struct Current {
    config: Arc<ServerConfig>,
    /// The files as they were when they were last read, whether or not that went well.
    seen: [Seen; 2],
    looked: Instant,
}

/// What tells one content of a file from another without reading it.
type Seen = Option<(u64, i64, i64, u64)>;

impl Tls {
    pub(super) fn open(files: TlsFiles) -> Result<Self, TlsError> {
        // What is seen first is at most older than what is read.
        let seen = seen(&files);
        let config = read(&files)?;
        if let Ok(meta) = fs::metadata(&files.key)
            && meta.permissions().mode() & 0o004 != 0
        {
            tracing::warn!(file = %files.key.display(), "everyone on this host can read the hub's private key");
        }
        let current = Mutex::new(Current { config, seen, looked: Instant::now() });
        Ok(Self { files, current })
    }

    /// What begins a connection.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        // Nothing under the lock can leave it half done.
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.looked.elapsed() >= LOOK {
            current.looked = Instant::now();
            self.look(&mut current);
        }
        TlsAcceptor::from(current.config.clone())
    }

    fn look(&self, current: &mut Current) {
        let seen = seen(&self.files);
        if seen == current.seen {
            return;
        }
        current.seen = seen;
        match read(&self.files) {
            Ok(config) => {
                current.config = config;
                tracing::info!("the hub's certificate was renewed");
            }
            // Perhaps one of two files is written and the other not yet: then it changes again.
            Err(error) => tracing::warn!(
                why = chain(&error),
                "the hub's new certificate cannot be used; the old one still is"
            ),
        }
    }
}

fn seen(files: &TlsFiles) -> [Seen; 2] {
    [&files.cert, &files.key].map(|path| {
        let meta = fs::metadata(path).ok()?;
        Some((meta.ino(), meta.mtime(), meta.mtime_nsec(), meta.size()))
    })
}

fn read(TlsFiles { cert, key }: &TlsFiles) -> Result<Arc<ServerConfig>, TlsError> {
    let wrong = |path: &Path, what| {
        let path = path.to_owned();
        move |source| TlsError::File { path, what, source }
    };
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(wrong(cert, "certificate"))?;
    if chain.is_empty() {
        return Err(TlsError::Empty { path: cert.clone() });
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(wrong(key, "private key"))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private))
        .map_err(|source| TlsError::Pair { cert: cert.clone(), key: key.clone(), source })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test's files need not be durable")]
mod tests {
    use super::*;

    fn write(files: &TlsFiles) -> Vec<u8> {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        fs::write(&files.cert, made.cert.pem()).unwrap();
        fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
        made.cert.der().to_vec()
    }

    #[test]
    fn a_certificate_that_changes_is_read_again_and_a_bad_one_is_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        let files = TlsFiles { cert: folder.path().join("a"), key: folder.path().join("b") };
        assert!(matches!(Tls::open(files.clone()), Err(TlsError::File { .. })), "none there");
        fs::write(&files.cert, "").unwrap();
        assert!(matches!(Tls::open(files.clone()), Err(TlsError::Empty { .. })));
        write(&files);
        let tls = Tls::open(files.clone()).unwrap();
        let config = |tls: &Tls| {
            let mut current = tls.current.lock().unwrap();
            tls.look(&mut current);
            Arc::as_ptr(&current.config)
        };
        let first = config(&tls);
        fs::write(&files.cert, "nothing").unwrap();
        assert_eq!(config(&tls), first, "what cannot be used is not");
        write(&files);
        let second = config(&tls);
        assert_ne!(second, first);
        assert_eq!(config(&tls), second, "and not again");
        // The key of another.
        let other = TlsFiles { cert: folder.path().join("c"), ..files.clone() };
        write(&TlsFiles { key: folder.path().join("d"), ..other.clone() });
        assert!(matches!(Tls::open(other), Err(TlsError::Pair { .. })));
    }
}
