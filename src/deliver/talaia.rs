//! A hub, by the native upload: `POST <url>/api/v1/ingest`.

use std::time::{Duration, SystemTime};

use reqwest::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use tokio::sync::watch;

use crate::model::{Secret, Verdict};

use super::client::{self, ClientSettings};
use super::encode::{Compression, Encoder, Head};
use super::pump::{Batch, Sink};
use super::verdict::{Dialect, verdict};

/// Where the hub is. It may come late (the embedded one, whose port is taken) and change (a new
/// key).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// There.
    Ready {
        /// Its base address, `http://…` or `https://…`.
        url: String,
        /// The Bearer token.
        key: Secret,
    },
    /// Not yet.
    Waiting {
        /// Why, in one line.
        why: String,
    },
}

/// How long the first upload waits for a hub that is not there yet, before it says so.
const SOON: Duration = Duration::from_secs(1);

/// What an upload says about its sender, and how it is sent.
#[derive(Debug, Clone)]
pub struct TalaiaSettings {
    /// The output's name.
    pub output: String,
    /// The host as the agent names it.
    pub host: String,
    /// The agent's version.
    pub version: String,
    /// How bodies are compressed.
    pub compression: Compression,
    /// How the hub is reached.
    pub client: ClientSettings,
}

/// Sends batches to a hub.
pub struct TalaiaSink {
    settings: TalaiaSettings,
    endpoint: watch::Receiver<Endpoint>,
    encoder: Encoder,
    /// The client and the address it was made for. Made again after a TLS error, because
    /// certificates are replaced while agents run.
    client: Option<(String, reqwest::Client)>,
    /// How long the next upload waits for a hub that is not there yet: only the first one does.
    soon: Duration,
}

impl TalaiaSink {
    /// A sink for wherever `endpoint` says.
    pub fn new(settings: TalaiaSettings, endpoint: watch::Receiver<Endpoint>) -> Self {
        let encoder = Encoder::new(settings.compression);
        Self { settings, endpoint, encoder, client: None, soon: SOON }
    }

    fn client(&mut self, url: &str) -> Result<reqwest::Client, Verdict> {
        if let Some((made_for, client)) = &self.client
            && made_for == url
        {
            return Ok(client.clone());
        }
        let client = self.settings.client.build(url).map_err(|error| {
            let why = match std::error::Error::source(&error) {
                Some(cause) => format!("{error}: {cause}"),
                None => error.to_string(),
            };
            Verdict::Hold { why }
        })?;
        self.client = Some((url.to_owned(), client.clone()));
        Ok(client)
    }

    async fn upload(&mut self, batch: Batch<'_>) -> Result<Verdict, Verdict> {
        // One that starts beside the agent is there in a moment.
        let soon = std::mem::take(&mut self.soon);
        let is_ready = |endpoint: &Endpoint| matches!(endpoint, Endpoint::Ready { .. });
        // Whether it came or not is looked at next.
        drop(tokio::time::timeout(soon, self.endpoint.wait_for(is_ready)).await);
        let (url, key) = match &*self.endpoint.borrow_and_update() {
            Endpoint::Ready { url, key } => (url.clone(), key.clone()),
            Endpoint::Waiting { why } => {
                // Not a failure of the hub: whoever makes it ready wakes the pump.
                let after = Some(Duration::from_secs(10));
                return Err(Verdict::Retry { after, why: why.clone() });
            }
        };
        let hold = |why: &str| Verdict::Hold { why: why.to_owned() };
        let Some(last) = batch.reports.last().map(|r| r.seq) else {
            return Ok(Verdict::Delivered { refused: Vec::new() });
        };
        let client = self.client(&url)?;
        let mut bearer = HeaderValue::try_from(format!("Bearer {}", key.expose()))
            .map_err(|_| hold("the key has characters that no key has: is its file right?"))?;
        bearer.set_sensitive(true);
        let head = Head {
            identity: batch.identity,
            host: &self.settings.host,
            version: &self.settings.version,
            output: &self.settings.output,
            sent: super::now(),
        };
        let encoded = self
            .encoder
            .encode(head, batch.reports)
            .map_err(|error| hold(&format!("cannot encode the batch: {error}")))?;
        let mut request = client
            .post(format!("{}/api/v1/ingest", url.trim_end_matches('/')))
            .header(AUTHORIZATION, bearer)
            .header(CONTENT_TYPE, "application/json");
        if let Some(encoding) = encoded.encoding {
            request = request.header(CONTENT_ENCODING, encoding);
        }
        let outcome = client::exchange(request.body(encoded.bytes)).await;
        let dialect = Dialect::Native { last, highest: batch.highest };
        let verdict = verdict(dialect, outcome.attempt(), SystemTime::now());
        if matches!(verdict, Verdict::Hold { .. }) {
            self.client = None;
        }
        Ok(verdict)
    }
}

impl Sink for TalaiaSink {
    async fn send(&mut self, batch: Batch<'_>) -> Verdict {
        self.upload(batch).await.unwrap_or_else(|verdict| verdict)
    }

    async fn changed(&mut self) {
        if self.endpoint.changed().await.is_err() {
            // Nobody is left who could change it.
            std::future::pending::<()>().await;
        }
    }
}
