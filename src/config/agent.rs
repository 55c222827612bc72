//! The agent's own settings, and the embedded hub's.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::diagnostic::Diagnostic;
use super::env::DEFAULT_PATH;
use super::plugin::environment;
use super::raw::{RawAgent, RawHub, RawHubTls, RawQuarantine, RawSpool};
use super::read::{At, Size};
use super::resolve::Cx;
use super::values::SpanOrOff;
use crate::model::{Secret, Tags};

/// The name under which the agent reports on itself; no plugin may have it.
pub const SELF_PLUGIN: &str = "talaia";

/// The agent itself.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentConfig {
    /// `HOME` and `USER` as the agent has them: what plugins get where the system does not know the
    /// user that they run as.
    pub own_env: Vec<(String, String)>,
    /// This host's name in reports.
    pub host: String,
    /// The folder for all that the agent keeps; absolute.
    pub data_dir: PathBuf,
    /// Tags for every metric; already part of each plugin's.
    pub tags: Tags,
    /// Users besides root and the agent's own who may own what is run.
    pub trusted_owners: Vec<String>,
    /// Most runs younger than 250 ms at one time; at least 1.
    pub concurrency: usize,
    /// Most runs alive at one time; at least 1.
    pub max_running: usize,
    /// How long a stopping agent waits for runs and uploads.
    pub stop_timeout: Duration,
    /// The search path of plugins, unless one has a `PATH` of its own.
    pub path: String,
    /// Environment variables for every plugin; already part of each plugin's.
    pub env: BTreeMap<String, Secret>,
    /// What is kept on disk.
    pub spool: SpoolConfig,
    /// What is kept of what was refused.
    pub quarantine: QuarantineConfig,
    /// How often the agent reports on itself; `None` for never.
    pub self_metrics: Option<Duration>,
}

/// What is kept of refused records and reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuarantineConfig {
    /// Most bytes.
    pub quota: u64,
    /// Longest age.
    pub max_age: Duration,
}

/// What is kept on disk until every output has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolConfig {
    /// Most bytes of reports.
    pub quota: u64,
    /// Bytes that stay free on the disk.
    pub min_free: u64,
    /// Oldest report kept; `None` for any.
    pub max_age: Option<Duration>,
    /// How long reports may wait to be written together.
    pub commit_interval: Duration,
}

/// The embedded hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubConfig {
    /// Whether it runs.
    pub enabled: bool,
    /// Where it listens; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Further host names that it answers to.
    pub hosts: Vec<String>,
    /// Most bytes of results.
    pub quota: u64,
    /// Whether old Monitis clients may read with the public `apikey` alone.
    pub monitis_reads: bool,
    /// How old results may become; `None` for any age.
    pub retention: Option<Duration>,
    /// How it speaks TLS; `None` for plain HTTP.
    pub tls: Option<HubTls>,
}

/// The embedded hub's certificate and its private key, both PEM files; absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubTls {
    /// The certificate, and those that vouch for it.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

const MIB: u64 = 1 << 20;

pub(super) fn agent(raw: Option<&RawAgent>, cx: &mut Cx<'_>) -> AgentConfig {
    let empty = RawAgent::default();
    let raw = raw.unwrap_or(&empty);
    let host = host(raw, cx);
    let data_dir = data_dir(raw, cx);
    let mut missing = Vec::new();
    let env = environment(raw.env.as_ref(), &mut missing, cx);
    for diagnostic in missing {
        cx.found.push(diagnostic);
    }
    let own = |name: &str| Some((name.to_owned(), cx.env.var(name)?.to_owned()));
    let own_env = ["HOME", "USER"].into_iter().filter_map(own).collect();
    AgentConfig {
        own_env,
        host,
        data_dir,
        tags: cx.tags(raw.tags.as_ref()),
        trusted_owners: raw
            .trusted_owners
            .iter()
            .flat_map(|list| &list.value)
            .map(|owner| owner.value.clone())
            .collect(),
        concurrency: cx.count(raw.concurrency.as_ref(), (2 * cx.env.cpus).max(4)),
        max_running: cx.count(raw.max_running.as_ref(), 512),
        stop_timeout: cx.duration(
            raw.stop_timeout.as_ref(),
            Duration::from_millis(100),
            Duration::from_secs(10),
        ),
        path: search_path(raw.path.as_ref(), cx),
        env,
        spool: spool(raw.spool.as_ref().map(|at| &at.value), cx),
        quarantine: quarantine(raw.quarantine.as_ref().map(|at| &at.value), cx),
        self_metrics: self_metrics(raw.self_metrics.as_ref(), cx),
    }
}

fn quarantine(raw: Option<&RawQuarantine>, cx: &mut Cx<'_>) -> QuarantineConfig {
    let empty = RawQuarantine::default();
    let raw = raw.unwrap_or(&empty);
    let week = Duration::from_hours(7 * 24);
    QuarantineConfig {
        quota: size(raw.quota.as_ref(), 0, 16 * MIB, cx),
        max_age: cx.duration(raw.max_age.as_ref(), Duration::from_secs(1), week),
    }
}

fn self_metrics(raw: Option<&At<SpanOrOff>>, cx: &mut Cx<'_>) -> Option<Duration> {
    let every = match raw {
        None => None,
        Some(At { value: SpanOrOff::Off, .. }) => return None,
        Some(At { value: SpanOrOff::Every(span), place }) => {
            Some(At { value: *span, place: place.clone() })
        }
    };
    Some(cx.duration(every.as_ref(), Duration::from_secs(1), Duration::from_mins(1)))
}

fn host(raw: &RawAgent, cx: &mut Cx<'_>) -> String {
    match &raw.host {
        None if cx.env.host.is_empty() => {
            cx.found.push(
                Diagnostic::error("this system has no host name")
                    .help("set one: `host = \"…\"` under `[agent]`"),
            );
            String::new()
        }
        None => cx.env.host.clone(),
        Some(At { value, place }) => {
            if value.is_empty() || value.len() > 253 || value.chars().any(char::is_control) {
                cx.error("a host name has 1 to 253 printable characters", place);
            }
            value.clone()
        }
    }
}

fn data_dir(raw: &RawAgent, cx: &mut Cx<'_>) -> PathBuf {
    if let Some(path) = &raw.data_dir {
        return cx.path(path);
    }
    cx.env.default_data_dir().unwrap_or_else(|| {
        cx.found.push(
            Diagnostic::error(
                "there is no folder to keep data in: neither XDG_STATE_HOME nor HOME is set",
            )
            .help("name one: `data_dir = \"/var/lib/talaia\"` under `[agent]`"),
        );
        PathBuf::new()
    })
}

fn search_path(written: Option<&At<String>>, cx: &mut Cx<'_>) -> String {
    let Some(At { value, place }) = written else { return DEFAULT_PATH.to_owned() };
    if let Some(bad) = value.split(':').find(|folder| !folder.starts_with('/')) {
        cx.found.push(
            Diagnostic::error(format!("`{bad}` in the search path is not absolute"))
                .at(place)
                .help("plugins run in different folders; write every folder from `/`"),
        );
    }
    value.clone()
}

fn spool(raw: Option<&RawSpool>, cx: &mut Cx<'_>) -> SpoolConfig {
    let empty = RawSpool::default();
    let raw = raw.unwrap_or(&empty);
    SpoolConfig {
        quota: size(raw.quota.as_ref(), MIB, 256 * MIB, cx),
        min_free: size(raw.min_free.as_ref(), 0, 256 * MIB, cx),
        max_age: raw
            .max_age
            .as_ref()
            .map(|age| cx.duration(Some(age), Duration::from_secs(1), Duration::ZERO)),
        commit_interval: raw.commit_interval.as_ref().map_or(Duration::from_millis(100), |at| {
            if at.value.0 > Duration::from_secs(10) {
                cx.error("reports may wait for at most 10 s", &at.place);
            }
            at.value.0
        }),
    }
}

/// A size of at least `least`, or `default`.
pub(super) fn size(written: Option<&At<Size>>, least: u64, default: u64, cx: &mut Cx<'_>) -> u64 {
    let Some(At { value: Size(bytes), place }) = written else { return default };
    if *bytes < least {
        cx.found.push(
            Diagnostic::error("this size is too small")
                .at(place)
                .label(format!("at least {least} bytes")),
        );
    }
    *bytes
}

/// The hub; on by default only while there are no outputs.
pub(super) fn hub(raw: Option<&RawHub>, outputs: usize, cx: &mut Cx<'_>) -> HubConfig {
    let empty = RawHub::default();
    let raw = raw.unwrap_or(&empty);
    let mut hosts = Vec::new();
    for host in raw.hosts.iter().flat_map(|list| &list.value) {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b);
        if host.value.is_empty() || !host.value.bytes().all(plain) {
            cx.found.push(
                Diagnostic::error("this is not a host name")
                    .at(&host.place)
                    .help("write it as in the address bar, without `http://` and path"),
            );
        }
        hosts.push(host.value.to_ascii_lowercase());
    }
    let default = SocketAddr::from(([127, 0, 0, 1], 7180));
    let listen = raw.listen.as_ref().map_or(default, |at| listen(at, cx).unwrap_or(default));
    let enabled = raw.enabled.as_ref().map_or(outputs == 0, |at| at.value);
    let tls = raw.tls.as_ref().and_then(|at| tls(at, cx));
    if let Some(at) = &raw.listen
        && enabled
        && raw.tls.is_none()
        && !listen.ip().is_loopback()
    {
        cx.found.push(
            Diagnostic::warning("the hub can be reached from other machines, unencrypted")
                .at(&at.place)
                .help("give it a certificate with `tls = { cert = \"…\", key = \"…\" }`, or keep it on 127.0.0.1 behind a proxy that speaks TLS"),
        );
    }
    HubConfig {
        enabled,
        listen,
        hosts,
        quota: size(raw.quota.as_ref(), 16 * MIB, 1 << 30, cx),
        monitis_reads: raw.monitis_reads.as_ref().is_none_or(|at| at.value),
        retention: retention(raw.retention.as_ref(), cx),
        tls,
    }
}

fn retention(raw: Option<&At<SpanOrOff>>, cx: &mut Cx<'_>) -> Option<Duration> {
    let hours = Duration::from_hours;
    let written = match raw {
        None => None,
        Some(At { value: SpanOrOff::Off, .. }) => return None,
        Some(At { value: SpanOrOff::Every(span), place }) => {
            Some(At { value: *span, place: place.clone() })
        }
    };
    // A year, and some weeks to compare with. Beyond a century is a slip.
    let (default, longest) = (hours(400 * 24), hours(100 * 366 * 24));
    Some(cx.duration_within(written.as_ref(), hours(1)..=longest, default))
}

fn tls(at: &At<RawHubTls>, cx: &mut Cx<'_>) -> Option<HubTls> {
    let raw = &at.value;
    if let (Some(cert), Some(key)) = (&raw.cert, &raw.key) {
        return Some(HubTls { cert: cx.readable(cert), key: cx.readable(key) });
    }
    if !raw.spoiled {
        cx.found.push(
            Diagnostic::error("TLS takes a certificate and its private key")
                .at(&at.place)
                .help("write `tls = { cert = \"hub.pem\", key = \"hub.key\" }`"),
        );
    }
    None
}

fn listen(at: &At<String>, cx: &mut Cx<'_>) -> Option<SocketAddr> {
    if let Ok(address) = at.value.parse() {
        return Some(address);
    }
    let port = at.value.rsplit(':').next().and_then(|port| port.parse::<u16>().ok());
    let host = at.value.rsplit_once(':').map_or("", |(host, _)| host);
    let help = match port {
        Some(port) if host == "*" => format!("for every interface: `\"0.0.0.0:{port}\"`"),
        Some(port) => format!("write an IP address and a port: `\"127.0.0.1:{port}\"`"),
        None => "write an IP address and a port: `\"127.0.0.1:7180\"`".to_owned(),
    };
    cx.found
        .push(Diagnostic::error("this is not an address to listen on").at(&at.place).help(help));
    None
}
