//! The one way to speak HTTP: no redirects, no retries of its own, limits on everything.

use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER};
use reqwest::{Certificate, Client, ClientBuilder, Identity, NoProxy, Proxy, RequestBuilder};

use crate::model::Secret;

use super::verdict::{Answer, Attempt, Transport};

/// Most bytes read of a reply that says 2xx. A hub's reply to a full batch with every report
/// refused fits several times.
const REPLY: usize = 1 << 20;

/// Most bytes read of any other reply: enough for a message.
const MESSAGE: usize = 4 << 10;

/// How to reach a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientSettings {
    /// For the connection, TLS included.
    pub connect_timeout: Duration,
    /// Between two pieces of a reply.
    pub read_timeout: Duration,
    /// For a request and its reply as a whole.
    pub timeout: Duration,
    /// Whom to trust and who to be.
    pub tls: TlsSettings,
    /// By which way.
    pub proxy: ProxySettings,
}

impl Default for ClientSettings {
    /// 10 s to connect, 30 s of silence, 60 s in all; the system's roots; no proxy.
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(30),
            timeout: Duration::from_mins(1),
            tls: TlsSettings::default(),
            proxy: ProxySettings::Direct,
        }
    }
}

/// Certificates, in PEM.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// Roots to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// Our own certificate chain and its key, in one file or two.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The very certificate that the destination has, to trust instead of any root, whatever it
    /// says: for a hub on this machine. The other settings here are not used then.
    pub pinned: Option<PathBuf>,
}

/// By which way a destination is reached. What the environment says of proxies is for whoever reads
/// the environment: nothing is looked up here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ProxySettings {
    /// Straight.
    #[default]
    Direct,
    /// Through this proxy.
    Through {
        /// Its address, which may hold a login.
        url: Secret,
        /// Names and networks reached straight, separated by commas, as in `NO_PROXY`.
        except: String,
    },
}

/// Why a client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        #[source]
        #[expect(missing_docs, reason = "the error underneath")]
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{} does not hold a {what} in PEM", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
        #[source]
        #[expect(missing_docs, reason = "the error underneath")]
        source: Option<reqwest::Error>,
    },
    /// The proxy's address is wrong.
    #[error("`{url}` is not the address of a proxy")]
    Proxy {
        /// As written, without what could be a password.
        url: String,
    },
    /// TLS cannot be set up.
    #[error("cannot set up TLS")]
    Tls {
        #[source]
        #[expect(missing_docs, reason = "the error underneath")]
        source: rustls::Error,
    },
    /// The rest, for example no root certificates on this system.
    #[error("cannot set up the client")]
    Build {
        #[source]
        #[expect(missing_docs, reason = "the error underneath")]
        source: reqwest::Error,
    },
}

/// What every client is made from: it follows no redirects and repeats nothing by itself.
pub fn client_builder() -> ClientBuilder {
    // The first one stays; they are all alike.
    let _again = rustls::crypto::ring::default_provider().install_default();
    #[expect(clippy::disallowed_methods, reason = "this is the builder that all others use")]
    let builder = Client::builder();
    builder
        .retry(reqwest::retry::never())
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
}

impl ClientSettings {
    /// Makes a client for `url`. Reads the files named by the settings, each time.
    pub fn build(&self, url: &str) -> Result<Client, ClientError> {
        let mut builder = client_builder()
            .connect_timeout(self.connect_timeout)
            .read_timeout(self.read_timeout)
            .timeout(self.timeout)
            .pool_max_idle_per_host(1)
            // Before hubs and proxies close it, or an upload may meet a connection that is going.
            .pool_idle_timeout(Duration::from_secs(5))
            // Not what the library would read from the environment by itself.
            .no_proxy()
            .user_agent(concat!("talaia/", env!("CARGO_PKG_VERSION")));
        if let Some(path) = &self.tls.pinned
            && !is_plain(url)
        {
            let trusting =
                super::pin::trusting(path.clone()).map_err(|source| ClientError::Tls { source })?;
            builder = builder.tls_backend_preconfigured(trusting);
        } else if let Some(path) = &self.tls.ca {
            let roots = Certificate::from_pem_bundle(&read(path)?)
                .map_err(|source| pem(path, "certificate", Some(source)))?;
            if roots.is_empty() {
                return Err(pem(path, "certificate", None));
            }
            builder = builder.tls_certs_only(roots);
        } else if is_plain(url) && self.proxy.is_plain() {
            // Nobody will ask for the system's roots, which take a megabyte and some time.
            builder = builder.tls_certs_only([]);
        }
        if let Some((chain, key)) = &self.tls.identity {
            let mut both = read(chain)?;
            if key != chain {
                both.push(b'\n');
                both.extend(read(key)?);
            }
            let identity = Identity::from_pem(&both)
                .map_err(|source| pem(key, "certificate with its key", Some(source)))?;
            builder = builder.identity(identity);
        }
        builder = match &self.proxy {
            ProxySettings::Direct => builder,
            ProxySettings::Through { url, except } => {
                let proxy = Proxy::all(url.expose())
                    .map_err(|_| ClientError::Proxy { url: without_login(url.expose()) })?
                    .no_proxy(NoProxy::from_string(except));
                builder.proxy(proxy)
            }
        };
        builder.build().map_err(|source| ClientError::Build { source })
    }
}

impl ProxySettings {
    /// Whether no TLS is spoken on the way to the proxy, if there is one.
    fn is_plain(&self) -> bool {
        match self {
            Self::Direct => true,
            Self::Through { url, .. } => is_plain(url.expose()),
        }
    }
}

fn is_plain(url: &str) -> bool {
    url.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http://"))
}

/// An address without user and password.
fn without_login(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => {
            let (scheme, _) = url.split_at(scheme + 3);
            let (_, host) = url.split_at(at + 1);
            format!("{scheme}{host}")
        }
        (None, Some(at)) => url.split_at(at + 1).1.to_owned(),
        _ => url.to_owned(),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ClientError> {
    fs::read(path).map_err(|source| ClientError::Read { path: path.to_owned(), source })
}

fn pem(path: &Path, what: &'static str, source: Option<reqwest::Error>) -> ClientError {
    ClientError::Pem { path: path.to_owned(), what, source }
}

/// What came back.
#[derive(Debug)]
pub(super) enum Outcome {
    Answered { status: u16, retry_after: Option<String>, date: Option<String>, body: Vec<u8> },
    Failed { kind: Transport, why: String },
}

impl Outcome {
    pub(super) fn attempt(&self) -> Attempt<'_> {
        match self {
            Self::Answered { status, retry_after, date, body } => Attempt::Answered(Answer {
                status: *status,
                retry_after: retry_after.as_deref(),
                date: date.as_deref(),
                body,
            }),
            Self::Failed { kind, why } => Attempt::Failed(*kind, why),
        }
    }
}

/// Sends a request and reads a bounded part of the reply.
pub(super) async fn exchange(request: RequestBuilder) -> Outcome {
    let mut response = match request.send().await {
        Ok(response) => response,
        Err(error) => return failure(error),
    };
    let status = response.status();
    let retry_after = header(response.headers(), RETRY_AFTER);
    let date = header(response.headers(), DATE);
    let most = if status.is_success() { REPLY } else { MESSAGE };
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                let room = most - body.len();
                body.extend_from_slice(&chunk[..chunk.len().min(room)]);
                if body.len() == most {
                    // Whatever it is, it is not a hub's reply, and the rest is not wanted.
                    break;
                }
            }
            // Half of a 2xx says nothing for sure. Of any other reply the status has said it all.
            Err(error) if status.is_success() => return failure(error),
            Ok(None) | Err(_) => break,
        }
    }
    Outcome::Answered { status: status.as_u16(), retry_after, date, body }
}

fn header(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

/// Sorts a failure by what it calls for, and puts it in a line that names no address (which may
/// hold a password).
fn failure(error: reqwest::Error) -> Outcome {
    let error = error.without_url();
    let tunnel = tunnel(&error);
    let kind = if has_tls(&error) {
        Transport::Tls
    } else if tunnel == Some(Tunnel::Login) {
        Transport::ProxyLogin
    } else if error.is_timeout() {
        Transport::Timeout
    } else if error.is_builder() {
        Transport::Request
    } else if error.is_connect() {
        Transport::Connect
    } else {
        Transport::Broken
    };
    let what = match kind {
        Transport::Tls => "no trusted connection",
        Transport::Timeout => "timed out",
        Transport::Request => "the request cannot be made",
        Transport::Connect if tunnel == Some(Tunnel::NoProxy) => "cannot connect to the proxy",
        Transport::Connect if tunnel == Some(Tunnel::Failed) => {
            "the proxy does not connect to the destination"
        }
        Transport::Connect => "cannot connect",
        // What a proxy that passes requests on comes to with its answer 407.
        Transport::ProxyLogin => "the proxy wants a login",
        Transport::Broken => "the connection broke",
    };
    // The innermost cause is the one that says something; those around it say where it was.
    let mut cause: &dyn Error = &error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let cause = cause.to_string();
    let why = if cause.is_empty() { what.to_owned() } else { format!("{what}: {cause}") };
    Outcome::Failed { kind, why }
}

/// What became of the tunnel through a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tunnel {
    /// The proxy is not there.
    NoProxy,
    /// The proxy wants a login, or another one.
    Login,
    /// The proxy refused, or went away.
    Failed,
}

/// Whether a tunnel is among the causes. The type of that error cannot be named, so its words are
/// all there is to go by; the tests with a real proxy hold them.
fn tunnel(error: &dyn Error) -> Option<Tunnel> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(said) = error.to_string().strip_prefix("tunnel error: ") {
            return Some(match said {
                "proxy authorization required" => Tunnel::Login,
                said if said.starts_with("failed to create") => Tunnel::NoProxy,
                _ => Tunnel::Failed,
            });
        }
        next = error.source();
    }
    None
}

/// Whether a TLS error is among the causes. An `io::Error` hides the error it carries from
/// `source`, so it is asked on its own.
fn has_tls(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<rustls::Error>() {
            return true;
        }
        let carried = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(carried) = carried
            && has_tls(carried)
        {
            return true;
        }
        next = error.source();
    }
    false
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test's files need not be durable")]
mod tests {
    use super::*;

    #[test]
    fn files_that_do_not_hold_what_they_should_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        let with = |tls| ClientSettings { tls, ..ClientSettings::default() };
        let ca = with(TlsSettings { ca: Some(path.clone()), ..TlsSettings::default() });
        let error = ca.build("https://x").unwrap_err().to_string();
        assert_eq!(error, format!("cannot read {}", path.display()));
        fs::write(&path, "not a certificate").unwrap();
        let error = ca.build("https://x").unwrap_err().to_string();
        assert!(error.contains("does not hold a certificate"), "{error}");
        let own = with(TlsSettings {
            identity: Some((path.clone(), path.clone())),
            ..TlsSettings::default()
        });
        let error = own.build("https://x").unwrap_err().to_string();
        assert!(error.contains("with its key"), "{error}");
    }

    #[test]
    fn a_proxys_password_is_not_repeated() {
        let proxy = ProxySettings::Through {
            url: Secret::new("ht tp://me:secret@proxy:3128"),
            except: String::new(),
        };
        let settings = ClientSettings { proxy, ..ClientSettings::default() };
        let error = settings.build("https://x").unwrap_err().to_string();
        assert!(error.contains("proxy:3128") && !error.contains("secret"), "{error}");
    }
}
