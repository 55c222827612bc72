use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::model::Timestamp;

/// What a hub needs to know before it starts.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where to listen; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// The hub's folder: its database, credentials and master key. For its owner alone: made with
    /// mode 0700, and closed to others where they could read it.
    pub data_dir: PathBuf,
    /// Further names under which browsers and agents may call this hub, without a port.
    pub hosts: Vec<String>,
    /// The database's size in bytes above which the oldest points are dropped.
    pub max_size: u64,
    /// How old results may become; `None` for any age.
    pub retention: Option<Duration>,
    /// Free bytes on the disk below which the hub takes no more reports.
    pub min_free: u64,
    /// Who may read by the Monitis interface.
    pub monitis_reads: MonitisReads,
    /// What time it is.
    pub clock: Clock,
    /// The certificate to speak TLS with; `None` for plain HTTP.
    pub tls: Option<TlsFiles>,
}

/// A certificate and its private key, both in PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, and after it those that vouch for it. Absolute: local agents and commands
    /// are told where it is.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// Who may read by the Monitis interface. Its clients send nothing with a read but the account's
/// public `apikey`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MonitisReads {
    /// Whoever knows the `apikey`.
    #[default]
    ByApiKey,
    /// Who signs the request, or sends a token, as for a change.
    Signed,
}

impl Settings {
    /// How old results become by default: a year, and some weeks to compare with.
    pub const RETENTION: Duration = Duration::from_hours(400 * 24);

    /// The defaults: 1 GiB of results of 400 days, 256 MiB of the disk left alone, the system's clock,
    /// plain HTTP.
    pub fn new(listen: SocketAddr, data_dir: impl Into<PathBuf>) -> Self {
        Self {
            listen,
            data_dir: data_dir.into(),
            hosts: Vec::new(),
            max_size: 1 << 30,
            retention: Some(Self::RETENTION),
            min_free: 256 << 20,
            monitis_reads: MonitisReads::default(),
            clock: Clock::system(),
            tls: None,
        }
    }
}

/// The wall clock, so that tests can turn it.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> i64 + Send + Sync>);

impl Clock {
    /// The system's.
    pub fn system() -> Self {
        Self(Arc::new(|| Timestamp::from(SystemTime::now()).millis()))
    }

    /// Any other: `now` gives milliseconds since 1970.
    pub fn from_fn(now: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// Milliseconds since 1970.
    pub fn now(&self) -> i64 {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock(…)")
    }
}
