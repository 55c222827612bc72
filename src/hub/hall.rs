//! What every handler may use, and who is calling.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::sync::Semaphore;

use crate::model::Secret;

use super::accounts;
pub(crate) use super::caller::Caller;
use super::caller::Scope;
use super::credentials::{hash, same_hash};
use super::keys::{self, Token};
use super::local::Local;
use super::problem::Problem;
use super::session;
use super::settings::{Clock, MonitisReads, Settings};
use super::store::Store;

/// Bodies of uploads held at a time.
const UPLOADS: usize = 4;
/// Bodies of posted results held at a time, and large bodies of the old services' clients, of whom
/// nothing is known before their body is read. Apart, so that none of them holds up agents.
const POSTS: usize = 4;
const FACES: usize = 8;
/// Large bodies of signed requests held at a time, whatever they are for.
const SIGNED: usize = 4;
/// Packages' archives that come in at a time, and packages that are open at a time.
const ARCHIVES: usize = 2;
const UNPACKED: usize = 2;

/// What every handler may use.
pub(super) struct Shared {
    pub(super) store: Store,
    pub(super) clock: Clock,
    pub(super) uploads: Semaphore,
    pub(super) posts: Semaphore,
    pub(super) faces: Semaphore,
    pub(super) signed: Semaphore,
    pub(super) archives: Semaphore,
    /// Its turns go with the jobs that hold them.
    pub(super) unpacked: Arc<Semaphore>,
    /// The cookie's name. It has the port in it: browsers share cookies between ports.
    pub(super) cookie: String,
    /// Whether browsers are to send the cookie over TLS alone.
    pub(super) secure: bool,
    pub(super) hosts: Hosts,
    pub(super) monitis_reads: MonitisReads,
    /// What the hub keeps for this machine: its master key and `credentials.json`.
    pub(super) local: Arc<Local>,
    folder: PathBuf,
    max_size: u64,
    retention: Option<Duration>,
    min_free: u64,
    since_ms: i64,
}

/// How much the hub may keep, and how much room there is.
#[derive(Debug, Clone)]
pub(super) struct Keeping {
    /// Bytes of the database above which the oldest points go.
    pub(super) max_size: u64,
    /// The age at which points go, where there is one.
    pub(super) retention: Option<Duration>,
    /// Free bytes on the disk below which nothing is taken.
    pub(super) min_free: u64,
    /// Free bytes and all bytes of the disk, where it can be asked.
    pub(super) disk: Option<(u64, u64)>,
    /// Since when the hub runs, in milliseconds since 1970.
    pub(super) since_ms: i64,
}

impl Shared {
    pub(super) fn new(
        addr: SocketAddr,
        settings: Settings,
        store: Store,
        local: Arc<Local>,
    ) -> Self {
        Self {
            since_ms: settings.clock.now(),
            folder: settings.data_dir,
            max_size: settings.max_size,
            retention: settings.retention,
            min_free: settings.min_free,
            store,
            clock: settings.clock,
            uploads: Semaphore::new(UPLOADS),
            posts: Semaphore::new(POSTS),
            faces: Semaphore::new(FACES),
            signed: Semaphore::new(SIGNED),
            archives: Semaphore::new(ARCHIVES),
            unpacked: Arc::new(Semaphore::new(UNPACKED)),
            cookie: format!("talaia_{}", addr.port()),
            secure: settings.tls.is_some(),
            hosts: Hosts { addr, names: settings.hosts },
            monitis_reads: settings.monitis_reads,
            local,
        }
    }

    /// Looks at the limits and the disk.
    pub(super) fn keeping(&self) -> Keeping {
        let disk = rustix::fs::statvfs(&self.folder).ok().map(|disk| {
            let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
            (bytes(disk.f_bavail), bytes(disk.f_blocks))
        });
        Keeping {
            max_size: self.max_size,
            retention: self.retention,
            min_free: self.min_free,
            disk,
            since_ms: self.since_ms,
        }
    }
}

pub(super) type Hall = Arc<Shared>;

/// The names that this hub answers to. Another site's name that resolves to this machine is not one
/// of them, so a page from there cannot read here.
pub(super) struct Hosts {
    addr: SocketAddr,
    names: Vec<String>,
}

impl Hosts {
    /// Whether `host` (a `Host` header, with or without port) means this hub. The port may be any:
    /// tunnels change it.
    pub(super) fn knows(&self, host: &str) -> bool {
        let name = match host.strip_prefix('[') {
            Some(v6) => match v6.split_once(']') {
                Some((inside, after)) if after.is_empty() || after.starts_with(':') => inside,
                _ => return false,
            },
            None => host.rsplit_once(':').map_or(host, |(name, _)| name),
        };
        if let Ok(ip) = name.parse::<IpAddr>() {
            // An address cannot be made to mean another machine; one that listens on all of its
            // addresses answers to all of them.
            return ip.is_loopback() || ip == self.addr.ip() || self.addr.ip().is_unspecified();
        }
        let name = name.strip_suffix('.').unwrap_or(name);
        name.eq_ignore_ascii_case("localhost")
            || self.names.iter().any(|known| known.eq_ignore_ascii_case(name))
    }
}

/// Refuses, where the caller may not do this, with the name of the scope that is missing.
pub(super) fn need(caller: &Caller, scope: Scope) -> Result<(), Problem> {
    if caller.scopes.has(scope) {
        return Ok(());
    }
    let has = caller.scopes.to_string();
    Err(Problem::forbidden(format!(
        "this needs the scope `{}`, and {} has {}; take another key, or make one with `talaia keys create NAME --scope {}`",
        scope.as_str(),
        caller.actor,
        if has.is_empty() { "none" } else { &has },
        scope.as_str()
    )))
}

/// Who calls, by the key where one is sent, else by the session; refused where nobody is known, or
/// the key does not have the scope. That a form of a session comes from our own pages is the
/// guard's business.
pub(super) async fn caller(
    hall: &Shared,
    headers: &HeaderMap,
    scope: Scope,
) -> Result<Caller, Problem> {
    let caller = anyone(hall, headers).await?;
    need(&caller, scope)?;
    Ok(caller)
}

/// Who calls, whatever they may do.
pub(super) async fn anyone(hall: &Shared, headers: &HeaderMap) -> Result<Caller, Problem> {
    if headers.contains_key(header::AUTHORIZATION) {
        return by_key(hall, headers).await;
    }
    let session = session_of(hall, headers).await?.ok_or_else(Problem::unauthorized)?;
    Ok(Caller::of_session(session.account))
}

/// Who calls with a key; no session counts.
pub(super) async fn key_caller(
    hall: &Shared,
    headers: &HeaderMap,
    scope: Scope,
) -> Result<Caller, Problem> {
    let caller = by_key(hall, headers).await?;
    need(&caller, scope)?;
    Ok(caller)
}

/// The token of `Authorization: Bearer`.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    authorization(headers, "bearer")
}

/// What `Authorization` says by this scheme.
fn authorization<'a>(headers: &'a HeaderMap, scheme: &str) -> Option<&'a str> {
    let (given, rest) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    given.eq_ignore_ascii_case(scheme).then(|| rest.trim())
}

/// Who calls with the account's public identifier and its secret key, by `Authorization: Basic`:
/// the account itself, which may do everything.
async fn by_account(hall: &Shared, basic: &str) -> Result<Caller, Problem> {
    let given = STANDARD.decode(basic).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let (api_key, given) = given
        .as_deref()
        .and_then(|text| text.split_once(':'))
        .map(|(api_key, secret)| (api_key.to_owned(), secret.to_owned()))
        .ok_or_else(Problem::unauthorized)?;
    let local = hall.local.clone();
    let found =
        hall.store.ask(move |conn| accounts::by_api_key(conn, local.master(), &api_key)).await?;
    // As hashes: their comparison takes as long whatever is in them, and however long they are.
    let same = |secret: &Secret| same_hash(&hash(secret.expose()), &hash(&given));
    let account =
        found.filter(|account| same(&account.secret)).ok_or_else(Problem::unknown_account)?;
    if account.disabled {
        return Err(Problem::disabled_account());
    }
    Ok(Caller::of_secret(account.id))
}

async fn by_key(hall: &Shared, headers: &HeaderMap) -> Result<Caller, Problem> {
    if let Some(caller) = Caller::of_signature() {
        return Ok(caller);
    }
    if let Some(basic) = authorization(headers, "basic") {
        return by_account(hall, basic).await;
    }
    let token = bearer(headers).ok_or_else(Problem::unauthorized)?.to_owned();
    let now = hall.clock.now();
    let known = match hall.store.ask(move |conn| keys::verify(conn, &token, now)).await? {
        Token::Good(known) => known,
        Token::Unknown => return Err(Problem::unknown_key()),
        Token::Revoked { name, at_ms } => return Err(Problem::revoked_key(&name, at_ms)),
        Token::Expired { name, at_ms } => return Err(Problem::expired_key(&name, at_ms)),
        Token::Disabled => return Err(Problem::disabled_account()),
    };
    if known.stale {
        let id = known.id;
        // Whether it can be noted is nothing to who calls.
        if let Err(error) = hall.store.change(move |conn| keys::touch(conn, id, now)).await {
            tracing::debug!(%error, "the use of a key was not noted");
        }
    }
    Ok(Caller {
        account: known.account,
        scopes: known.scopes,
        actor: format!("key {}", known.name),
    })
}

/// Who is logged in, by the cookie.
pub(super) async fn session_of(
    hall: &Shared,
    headers: &HeaderMap,
) -> Result<Option<session::Session>, Problem> {
    let Some(token) = session_cookie(hall, headers) else { return Ok(None) };
    let now = hall.clock.now();
    let session = hall.store.ask(move |conn| session::by_cookie(conn, &token, now)).await?;
    match session {
        Some(session) if session.disabled => Err(Problem::disabled_account()),
        session => Ok(session),
    }
}

/// The cookie's token.
pub(super) fn session_cookie(hall: &Shared, headers: &HeaderMap) -> Option<String> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == hall.cookie)
        .map(|(_, token)| token.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_names_are_known() {
        let hosts = |listen: &str| Hosts {
            addr: listen.parse().unwrap(),
            names: vec!["hub.example.org".to_owned()],
        };
        let local = hosts("127.0.0.1:7180");
        for name in [
            "localhost",
            "LOCALHOST:9",
            "127.0.0.1:7180",
            "[::1]:7180",
            "[::1]",
            "hub.example.org:443",
            "hub.example.org.",
        ] {
            assert!(local.knows(name), "{name}");
        }
        for name in [
            "",
            ":7180",
            "evil.example",
            "localhost.evil.example",
            "192.0.2.1:7180",
            "[::1",
            "[::1]x",
            "127.0.0.1.nip.io",
        ] {
            assert!(!local.knows(name), "{name}");
        }
        assert!(hosts("192.0.2.1:7180").knows("192.0.2.1:7180"));
        assert!(hosts("0.0.0.0:7180").knows("192.0.2.9:7180"));
        assert!(!hosts("0.0.0.0:7180").knows("evil.example"));
    }
}
