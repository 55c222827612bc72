//! Talking to the running agent over its socket.

use std::path::Path;
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
    let socket = socket_path(data_dir);
    let unreachable = |why: &str| {
        let text = format!(
            "no agent answers at {}: {why}\n\nhint: is it running, with the same --config, and as the same user?",
            socket.display()
        );
        Failure::new(Exit::Unreachable, text)
    };
    if !socket.exists() {
        return Err(unreachable("there is no such socket"));
    }
    let client = client_builder()
        .unix_socket(socket.as_path())
        .no_proxy()
        .timeout(patience)
        .build()
        .map_err(|e| Failure::from_error(Exit::Internal, &e))?;
    let mut request = client.request(method, format!("http://agent{path}"));
    if let Some(json) = json {
        request = request.header("Content-Type", "application/json").body(json);
    }
    let (status, body) = block_on(async {
        let reply = request.send().await.map_err(|e| chain(&e.without_url()))?;
        let status = reply.status();
        let body = reply.bytes().await.map_err(|e| chain(&e.without_url()))?;
        Ok((status, body.to_vec()))
    })
    .map_err(|why| unreachable(&why))?;
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
