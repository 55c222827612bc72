//! What every handler may use, and who is calling.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::http::{HeaderMap, header};
use tokio::sync::Semaphore;

use super::problem::Problem;
use super::settings::{Clock, Settings};
use super::store::Store;
use super::{accounts, session};

/// Bodies of uploads held at a time.
const UPLOADS: usize = 4;
/// What every handler may use.
pub(super) struct Shared {
    pub(super) store: Store,
    pub(super) clock: Clock,
    pub(super) uploads: Semaphore,
    /// The cookie's name. It has the port in it: browsers share cookies between ports.
    pub(super) cookie: String,
    pub(super) hosts: Hosts,
}

impl Shared {
    pub(super) fn new(addr: SocketAddr, settings: Settings, store: Store) -> Self {
        Self {
            store,
            clock: settings.clock,
            uploads: Semaphore::new(UPLOADS),
            cookie: format!("talaia_{}", addr.port()),
            hosts: Hosts { addr, names: settings.hosts },
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

/// The account of a Bearer token.
pub(super) async fn key_account(hall: &Shared, headers: &HeaderMap) -> Result<i64, Problem> {
    let token = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim().to_owned())
        .ok_or_else(Problem::unauthorized)?;
    // On the writing side: uploads do not wait for somebody's long chart.
    let account = hall.store.change(move |conn| accounts::by_key(conn, &token)).await?;
    account.ok_or_else(Problem::unauthorized)
}

/// Who is logged in, by the cookie.
pub(super) async fn session_of(
    hall: &Shared,
    headers: &HeaderMap,
) -> Result<Option<session::Session>, Problem> {
    let Some(token) = session_cookie(hall, headers) else { return Ok(None) };
    let now = hall.clock.now();
    Ok(hall.store.read(move |conn| session::by_cookie(conn, &token, now)).await?)
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

/// The account that a reader of the API has: by key where one is sent, else by session.
pub(super) async fn reader_account(hall: &Shared, headers: &HeaderMap) -> Result<i64, Problem> {
    if headers.contains_key(header::AUTHORIZATION) {
        return key_account(hall, headers).await;
    }
    let session = session_of(hall, headers).await?;
    session.map(|session| session.account).ok_or_else(Problem::unauthorized)
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
