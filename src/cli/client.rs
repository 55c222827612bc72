//! Talking to the running agent over its socket.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::agent::admin::{Refusal, socket_path};
use crate::deliver::client_builder;
use crate::model::chain;

use super::exit::{Exit, Failure};

/// A reload of many plugins takes a while; anything longer is a hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a future to its end on a small runtime of its own.
pub(crate) fn block_on<T>(work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| format!("no runtime: {e}"))?
        .block_on(work)
}

/// Whether an agent listens there. What cannot be told is a failure: it may be one of another user's.
pub(crate) fn is_running(data_dir: &Path) -> Result<bool, Failure> {
    use std::io::ErrorKind;
    let socket = socket_path(data_dir);
    match std::os::unix::net::UnixStream::connect(&socket) {
        Ok(_) => Ok(true),
        // The second is a socket that an agent left which was killed.
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
            Ok(false)
        }
        Err(e) => {
            let text = format!("cannot tell whether an agent runs at {}: {e}", socket.display());
            Err(Failure::new(Exit::Unreachable, text))
        }
    }
}

/// `GET` or `POST` on the running agent's socket; the reply's body.
pub(crate) fn ask(
    data_dir: &Path,
    method: reqwest::Method,
    path: &str,
) -> Result<Vec<u8>, Failure> {
    send(data_dir, method, path, None, PATIENCE)
}

/// The same, with a body of JSON, for what may take as long as `patience`. Where no agent listens the exit code is [`Exit::Unreachable`].
pub(crate) fn send(
    data_dir: &Path,
    method: reqwest::Method,
    path: &str,
    json: Option<Vec<u8>>,
    patience: Duration,
) -> Result<Vec<u8>, Failure> {
    let agent = Agent::at(data_dir, patience)?;
    // What goes wrong is a failure of ours already.
    block_on(async { Ok(agent.ask(method, path, json).await) })
        .map_err(|why| Failure::new(Exit::Internal, why))?
}

/// A running agent, or where one may be.
pub(crate) struct Agent {
    client: reqwest::Client,
    socket: PathBuf,
}

impl Agent {
    /// Where an agent with this data folder listens. An answer may take as long as `patience`.
    pub(crate) fn at(data_dir: &Path, patience: Duration) -> Result<Self, Failure> {
        let socket = socket_path(data_dir);
        let client = client_builder()
            .unix_socket(socket.as_path())
            .no_proxy()
            .timeout(patience)
            .build()
            .map_err(|e| Failure::from_error(Exit::Internal, &e))?;
        Ok(Self { client, socket })
    }

    /// One request; the reply's body. Where no agent listens the exit code is
    /// [`Exit::Unreachable`].
    pub(crate) async fn ask(
        &self,
        method: reqwest::Method,
        path: &str,
        json: Option<Vec<u8>>,
    ) -> Result<Vec<u8>, Failure> {
        if !self.socket.exists() {
            return Err(self.unreachable("there is no such socket"));
        }
        let mut request = self.client.request(method, format!("http://agent{path}"));
        if let Some(json) = json {
            request = request.header("Content-Type", "application/json").body(json);
        }
        let exchange = async {
            let reply = request.send().await?;
            let status = reply.status();
            reply.bytes().await.map(|body| (status, body.to_vec()))
        };
        let (status, body) = exchange
            .await
            .map_err(|error: reqwest::Error| self.unreachable(&chain(&error.without_url())))?;
        if status.is_success() {
            return Ok(body);
        }
        let refusal: Option<Refusal> = serde_json::from_slice(&body).ok();
        let text = refusal.map_or_else(|| format!("the agent answers {status}"), |r| r.error);
        let exit = match status.as_u16() {
            // A configuration that does not load.
            422 => Exit::Config,
            400 | 404 => Exit::Usage,
            409 => Exit::Finding,
            // It is at it, and does not come to an end.
            504 => Exit::Unreachable,
            _ => Exit::Internal,
        };
        Err(Failure::new(exit, text))
    }

    fn unreachable(&self, why: &str) -> Failure {
        let text = format!(
            "no agent answers at {}: {why}\n\nhint: is it running, with the same --config, and as the same user?",
            self.socket.display()
        );
        Failure::new(Exit::Unreachable, text)
    }
}
