//! The server side: takes reports in, keeps them, and shows them to people and programs.
//!
//! Promises: a batch that was answered with 200 is on disk, once, however often it was sent and
//! whatever died in between; a batch is taken whole or not at all; every refusal says what and
//! where; a hub of its own account and credentials exists after its first start, and none of its
//! secrets is readable by others or stored in clear in its database.
//!
//! Deliberately does not know: the agent (they speak HTTP, even in one process), plugins as
//! programs (nothing that is uploaded is ever run), alert rules.
//!
//! ```text
//! server ─ routes, Host check, limits ─┬─ ingest ── wire ──▶ store ── append, compact
//!                                      ├─ api ─────────────▶ store ── query
//!                                      ├─ web ── session ──▶ store ── query
//!                                      └─ faces ───────────▶ monitors, store
//! ```

mod accounts;
mod api;
mod audit;
mod body;
mod caller;
mod connections;
mod credentials;
mod csv;
mod export;
mod faces;
mod hall;
mod ingest;
mod json;
mod keys;
mod keys_api;
mod listing;
mod local;
mod monitors;
mod monitors_api;
mod packages_api;
mod parameters;
mod passes;
mod plugin_keys;
mod problem;
mod registry;
mod scalar;
mod server;
mod session;
mod settings;
mod signed;
mod store;
mod times;
mod tls;
mod upkeep;
mod web;
mod wire;

use std::fs::File;
use std::future::Future;
use std::io::{self, Read, Seek, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;

pub use accounts::{AccountError, AccountRow, Admission};
pub use credentials::Credentials;
pub use export::{Export, ExportError, ExportFormat, export};
pub use settings::{Clock, MonitisReads, Settings, TlsFiles};
pub use store::StoreError;
pub use tls::TlsError;
pub use upkeep::{Backup, Verified, backup, restore, verify};

use credentials::Master;
use local::Local;
use store::{Limits, Store};
use tls::Tls;

/// How often the store looks after itself, besides after what it is given.
const TEND: Duration = Duration::from_mins(1);

/// What can go wrong with a hub.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// Something else listens there.
    #[error(
        "{addr} is taken by another program; stop it, or choose another address with `listen` (port 0 lets the system choose)"
    )]
    PortInUse {
        /// The address.
        addr: SocketAddr,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {addr}")]
    Bind {
        /// The address.
        addr: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The data folder cannot be made.
    #[error("cannot make the hub's folder {path}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Others may read the folder, and it is not ours to close.
    #[error(
        "others can read the hub's folder {path}; name one of its own, or take their rights with `chmod 700`"
    )]
    Open {
        /// The folder.
        path: PathBuf,
    },
    /// Another hub uses the folder.
    #[error("the hub in process {pid} uses {path}; stop it, or name another data folder")]
    Locked {
        /// The folder.
        path: PathBuf,
        /// The other process, as it wrote itself down.
        pid: String,
    },
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// `credentials.json` does not hold credentials.
    #[error("{path} does not hold a hub's credentials; move it away, and the hub makes new ones")]
    Credentials {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// `master.key` is not a key.
    #[error("{path} is not a key of 32 bytes; restore it, or move it away to begin a new one")]
    MasterKey {
        /// The file.
        path: PathBuf,
    },
    /// There is something already where a file is to be made.
    #[error("there is {path} already; name another file, or remove it")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// There is no hub in the folder.
    #[error("there is no hub in {path} yet; start one with `talaia run` or `talaia hub`")]
    NoHub {
        /// The folder.
        path: PathBuf,
    },
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// It cannot be done with this account.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The server ended by itself.
    #[error("the hub stopped serving")]
    Serve(#[source] io::Error),
}

/// A hub that listens. It answers once [`Hub::serve`] is polled.
pub struct Hub {
    listener: TcpListener,
    addr: SocketAddr,
    settings: Settings,
    tls: Option<Tls>,
    store: Store,
    url: String,
    local: Arc<Local>,
    /// Held for as long as the hub lives.
    _lock: File,
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").field("addr", &self.addr).finish_non_exhaustive()
    }
}

impl Hub {
    /// Listens, opens the database, makes the account where there is none, and writes
    /// `credentials.json`, in this order: a hub that cannot listen changes nothing.
    pub async fn bind(settings: Settings) -> Result<Self, HubError> {
        let tls = settings.tls.clone().map(Tls::open).transpose()?;
        let addr = settings.listen;
        let listener = TcpListener::bind(addr).await.map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => HubError::PortInUse { addr },
            _ => HubError::Bind { addr, source },
        })?;
        let addr = listener.local_addr().map_err(|source| HubError::Bind { addr, source })?;
        let folder = &settings.data_dir;
        credentials::make_folder(folder)?;
        let lock = lock(folder)?;
        let master = Master::open(folder)?;
        let kept = Credentials::read(folder)?;
        let store = Store::open(Limits {
            path: store::file_in(folder),
            max_size: settings.max_size,
            retention: settings.retention,
            min_free: settings.min_free,
        })?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let (url, now) = (url(scheme, addr), settings.clock.now());
        let said = url.clone();
        let (master, mut credentials) = store
            .change(move |conn| {
                let credentials = accounts::ensure_local(conn, &master, kept.as_ref(), said, now)?;
                Ok((master, credentials))
            })
            .await?;
        credentials.certificate = settings.tls.as_ref().map(|files| files.cert.clone());
        credentials.write(folder)?;
        let local = Arc::new(Local::new(folder.clone(), master, credentials));
        Ok(Self { listener, addr, settings, tls, store, url, local, _lock: lock })
    }

    /// Where it listens; the port is the real one.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `http://…` or `https://…` of [`Hub::addr`], as written in `credentials.json`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Whether what is sent to it is encrypted.
    pub fn speaks_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// What the local agent needs to reach it.
    pub fn credentials(&self) -> Credentials {
        self.local.credentials()
    }

    /// The same as it changes: the local key may be rotated while the hub serves.
    pub fn watch_credentials(&self) -> watch::Receiver<Credentials> {
        self.local.watch()
    }

    /// A new login link: works once, for ten minutes.
    pub fn login_link(&self) -> Result<String, HubError> {
        make_login_link(&self.settings.data_dir, accounts::LOCAL, &self.settings.clock)
    }

    /// Answers until `stop` is ready; then lets requests finish for a few seconds, and closes the
    /// database.
    pub async fn serve(
        self,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), HubError> {
        let Self { listener, addr, settings, tls, store, local, .. } = self;
        let clock = settings.clock.clone();
        let hall = hall::Shared::new(addr, settings, store.clone(), local);
        let served = tokio::select! {
            served = server::serve(listener, tls, hall, stop) => served,
            never = tend(&store, &clock) => match never {},
        };
        store.close().await;
        served.map_err(HubError::Serve)
    }
}

/// Has the store look after itself as time goes by.
async fn tend(store: &Store, clock: &Clock) -> std::convert::Infallible {
    let mut every = tokio::time::interval(TEND);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        // Where it is busy or recovers from a defect the next time will do.
        let now = clock.now();
        let _tended = store.tend(now).await;
        let _forgot = store.change(move |conn| signed::forget(conn, now)).await;
    }
}

/// A new login link to an account of the hub in `data_dir`, which another process may be serving.
pub fn make_login_link(data_dir: &Path, account: &str, clock: &Clock) -> Result<String, HubError> {
    let (mut conn, credentials) = open_folder(data_dir)?;
    let token = session::new_link(&mut conn, account, clock.now())?;
    Ok(format!("{}/login/{}", credentials.url, token.expose()))
}

/// Makes a further account of the hub in `data_dir`, which another process may be serving. Its keys
/// are kept nowhere but in what this gives.
pub fn create_account(data_dir: &Path, name: &str, clock: &Clock) -> Result<Credentials, HubError> {
    let (mut conn, local) = open_folder(data_dir)?;
    let master = Master::open(data_dir)?;
    let mut made = accounts::create(&mut conn, &master, name, local.url, clock.now())?;
    made.certificate = local.certificate;
    Ok(made)
}

/// The accounts of the hub in `data_dir`, by name.
pub fn accounts(data_dir: &Path, clock: &Clock) -> Result<Vec<AccountRow>, HubError> {
    let (path, _) = find_folder(data_dir)?;
    let conn = store::open_existing(&path)?;
    Ok(accounts::list(&conn, clock.now())?)
}

/// Has an account of the hub in `data_dir` refused, or let in again.
pub fn admit_account(
    data_dir: &Path,
    name: &str,
    admission: Admission,
    clock: &Clock,
) -> Result<(), HubError> {
    let (mut conn, _) = open_folder(data_dir)?;
    Ok(accounts::admit(&mut conn, name, admission, clock.now())?)
}

/// Ends all sessions of the hub in `data_dir`, which another process may be serving, and takes back
/// the login links that were not used. Gives how many sessions that were.
pub fn end_sessions(data_dir: &Path, clock: &Clock) -> Result<u64, HubError> {
    let (mut conn, _) = open_folder(data_dir)?;
    let ended = session::end_all(&mut conn, clock.now())
        .map_err(|source| StoreError::Sqlite { action: "end the sessions of", source })?;
    Ok(ended)
}

/// The database of the hub in `data_dir`, which that may be using, and what reaches it.
fn open_folder(data_dir: &Path) -> Result<(rusqlite::Connection, Credentials), HubError> {
    let (path, credentials) = find_folder(data_dir)?;
    Ok((store::reopen(&path, store::Access::Write)?, credentials))
}

/// Where that database is.
fn find_folder(data_dir: &Path) -> Result<(PathBuf, Credentials), HubError> {
    let none = || HubError::NoHub { path: data_dir.to_owned() };
    let credentials = Credentials::read(data_dir)?.ok_or_else(none)?;
    let path = store::file_in(data_dir);
    if !path.exists() {
        return Err(none());
    }
    Ok((path, credentials))
}

/// The address as a browser on this machine can call it.
fn url(scheme: &str, addr: SocketAddr) -> String {
    match addr {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => {
            format!("{scheme}://127.0.0.1:{}", v4.port())
        }
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => format!("{scheme}://[::1]:{}", v6.port()),
        other => format!("{scheme}://{other}"),
    }
}

/// Takes the folder for this process.
fn lock(folder: &Path) -> Result<File, HubError> {
    let path = folder.join("hub.lock");
    let failed = |source| HubError::Write { path: path.clone(), source };
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(std::fs::TryLockError::WouldBlock) => {
            let mut pid = String::new();
            // Who it is makes the message better; that it is somebody is known already.
            let _read = (&mut file).take(20).read_to_string(&mut pid);
            return Err(HubError::Locked { path: folder.to_owned(), pid: pid.trim().to_owned() });
        }
        Err(std::fs::TryLockError::Error(source)) => return Err(failed(source)),
    }
    file.set_len(0).map_err(failed)?;
    file.rewind().map_err(failed)?;
    writeln!(file, "{}", std::process::id()).map_err(failed)?;
    Ok(file)
}
