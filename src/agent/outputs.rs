//! The outputs of the running agent: from their configuration to the futures that pump them.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use crate::config::{self, Config, EMBEDDED_OUTPUT, OutputConfig, TalaiaOutput};
use crate::deliver::{
    ClientSettings, Compression, Condition, Endpoint, FileSettings, FileSink, OutputState,
    ProxySettings, Pump, PumpSettings, Stdout, Stop, TalaiaSettings, TalaiaSink, TlsSettings,
};
use crate::spool::{Spool, Start};

use super::status::OutputStatus;

/// The embedded hub wants to be current: a person looks at it.
const EMBEDDED_INTERVAL: Duration = Duration::from_secs(1);

/// The way to the embedded hub, whose address and key are known only once it is bound.
pub struct Embedded {
    /// Where it is.
    pub endpoint: watch::Receiver<Endpoint>,
    /// The file with its certificate, which is to be trusted whatever it says; `None` where it
    /// speaks plain HTTP.
    pub certificate: Option<std::path::PathBuf>,
}

/// Is told which output has delivered, and how many records: once for each upload.
pub type OnDelivery = std::sync::Arc<dyn Fn(&str, u64) + Send + Sync>;

/// Every output's pump, and how it is doing.
pub(super) struct Outputs {
    spool: Spool,
    embedded: Option<Embedded>,
    /// Makes the writer of an output of type `stdout`: only `cli` knows how to print.
    stdout: fn() -> Box<dyn Write + Send>,
    on_delivery: OnDelivery,
    running: BTreeMap<String, Running>,
}

struct Running {
    /// `None` for the embedded one.
    config: Option<OutputConfig>,
    host: String,
    state: watch::Receiver<OutputState>,
    stop: watch::Sender<Stop>,
    task: AbortHandle,
}

impl Outputs {
    pub(super) fn new(
        spool: Spool,
        embedded: Option<Embedded>,
        stdout: fn() -> Box<dyn Write + Send>,
        on_delivery: OnDelivery,
    ) -> Self {
        Self { spool, embedded, stdout, on_delivery, running: BTreeMap::new() }
    }

    /// Starts, restarts and ends pumps so that they are what `config` says. The untouched ones go
    /// on.
    pub(super) fn set(&mut self, config: &Config, tasks: &mut JoinSet<&'static str>) {
        let mut wanted: BTreeMap<String, Option<&OutputConfig>> =
            config.outputs.iter().map(|(name, output)| (name.clone(), Some(output))).collect();
        if self.embedded.is_some() {
            wanted.insert(EMBEDDED_OUTPUT.to_owned(), None);
        }
        self.running.retain(|name, running| {
            let same = wanted.get(name).is_some_and(|output| *output == running.config.as_ref())
                && running.host == config.agent.host;
            if !same {
                // What has no receipt stays in the spool: nothing is lost by ending it here.
                running.task.abort();
            }
            same
        });
        let cursors: Vec<(String, Start)> = wanted
            .iter()
            .filter_map(|(name, output)| Some((name.clone(), start_of(*output)?)))
            .collect();
        // In order with what is appended after it; the reply only says that it is on disk.
        drop(self.spool.set_outputs(&cursors));
        for (name, output) in wanted {
            if !self.running.contains_key(&name) {
                let running = self.start(&name, output, &config.agent.host, tasks);
                self.running.insert(name, running);
            }
        }
    }

    fn start(
        &self,
        name: &str,
        output: Option<&OutputConfig>,
        host: &str,
        tasks: &mut JoinSet<&'static str>,
    ) -> Running {
        let (stop, stopped) = watch::channel(Stop::No);
        let (on_delivery, output_name) = (self.on_delivery.clone(), name.to_owned());
        let tell = Box::new(move |records| on_delivery(&output_name, records));
        let (state, task) = match output {
            Some(OutputConfig::Stdout) => {
                let (out, state) = Stdout::new(name, &self.spool, (self.stdout)());
                (state, tasks.spawn(named("stdout output", out.run(stopped))))
            }
            Some(OutputConfig::File(file)) => {
                let sink = FileSink::new(FileSettings {
                    path: file.path.clone(),
                    max_bytes: file.rotate,
                    keep: file.keep,
                });
                let settings =
                    PumpSettings { interval: Duration::from_secs(1), ..PumpSettings::new(name) };
                let (pump, state) = Pump::new(self.spool.clone(), settings, sink);
                (state, tasks.spawn(named("file output", pump.telling(tell).run(stopped))))
            }
            Some(OutputConfig::Talaia(talaia)) => {
                let ready = Endpoint::Ready { url: talaia.url.clone(), key: talaia.key.clone() };
                // A configured address does not change: the sender may go.
                let endpoint = watch::channel(ready).1;
                let settings =
                    PumpSettings { interval: talaia.interval, ..PumpSettings::new(name) };
                let sink = TalaiaSink::new(talaia_settings(name, host, talaia), endpoint);
                let (pump, state) = Pump::new(self.spool.clone(), settings, sink);
                (state, tasks.spawn(named("talaia output", pump.telling(tell).run(stopped))))
            }
            None => {
                let endpoint = self.embedded.as_ref().map_or_else(
                    || watch::channel(Endpoint::Waiting { why: "there is none".to_owned() }).1,
                    |embedded| embedded.endpoint.clone(),
                );
                let settings =
                    PumpSettings { interval: EMBEDDED_INTERVAL, ..PumpSettings::new(name) };
                let pinned = self.embedded.as_ref().and_then(|e| e.certificate.clone());
                let tls = TlsSettings { pinned, ..TlsSettings::default() };
                let proxy = ProxySettings::Direct;
                let client = ClientSettings { tls, proxy, ..ClientSettings::default() };
                let sink = TalaiaSink::new(
                    TalaiaSettings {
                        output: name.to_owned(),
                        host: host.to_owned(),
                        version: env!("CARGO_PKG_VERSION").to_owned(),
                        compression: Compression::None,
                        client,
                    },
                    endpoint,
                );
                let (pump, state) = Pump::new(self.spool.clone(), settings, sink);
                (state, tasks.spawn(named("embedded output", pump.telling(tell).run(stopped))))
            }
        };
        Running { config: output.cloned(), host: host.to_owned(), state, stop, task }
    }

    /// Their states; the counters are the ledger's to add.
    pub(super) fn status(&self) -> BTreeMap<String, OutputStatus> {
        self.running
            .iter()
            .map(|(name, running)| {
                let state = running.state.borrow();
                let word = match state.state {
                    Condition::Ok => "ok",
                    Condition::Retry => "retry",
                    Condition::Hold => "hold",
                };
                let status = OutputStatus {
                    state: word.to_owned(),
                    error: state.error.clone(),
                    ..OutputStatus::default()
                };
                (name.clone(), status)
            })
            .collect()
    }

    /// Asks every output for one last attempt.
    pub(super) fn stop(&self, deadline: tokio::time::Instant) {
        for running in self.running.values() {
            running.stop.send_replace(Stop::Draining { until: deadline.into_std() });
        }
    }

    /// Resolves when all of them have ended.
    pub(super) async fn finished(&self) {
        while self.running.values().any(|running| !running.task.is_finished()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn named(name: &'static str, work: impl Future<Output = ()>) -> &'static str {
    work.await;
    name
}

/// Where a cursor begins; `None` for an output that holds none.
fn start_of(output: Option<&OutputConfig>) -> Option<Start> {
    let start = match output {
        // The embedded hub shows what there is.
        None => return Some(Start::Oldest),
        Some(OutputConfig::Stdout) => return None,
        Some(OutputConfig::Talaia(talaia)) => talaia.start,
        Some(OutputConfig::File(file)) => file.start,
    };
    Some(match start {
        config::Start::Now => Start::Now,
        config::Start::Oldest => Start::Oldest,
    })
}

/// How an output of type `talaia` is reached.
pub fn talaia_settings(name: &str, host: &str, output: &TalaiaOutput) -> TalaiaSettings {
    TalaiaSettings {
        output: name.to_owned(),
        host: host.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        compression: match output.compression {
            config::Compression::Zstd => Compression::Zstd,
            config::Compression::Gzip => Compression::Gzip,
            config::Compression::None => Compression::None,
        },
        client: ClientSettings {
            timeout: output.timeout,
            read_timeout: output.timeout.min(ClientSettings::default().read_timeout),
            connect_timeout: output.timeout.min(ClientSettings::default().connect_timeout),
            tls: TlsSettings {
                ca: output.ca.clone(),
                identity: output.identity.as_ref().map(|i| (i.cert.clone(), i.key.clone())),
                pinned: None,
            },
            proxy: match &output.proxy {
                config::Proxy::None => ProxySettings::Direct,
                config::Proxy::Through { address, except } => {
                    ProxySettings::Through { url: address.clone(), except: except.clone() }
                }
            },
        },
    }
}
