//! The running agent's own small server: HTTP over a Unix socket that only its user may open.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use axum::Router;
use axum::extract::{Path as UrlPath, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot};

use crate::exec::TriggerError;
use crate::model::PluginName;
use crate::spool::Pick;

use super::reload::Changes;
use super::reloading::NotReloaded;
use super::replay::Replayed;
use super::status::{PluginDetail, Status};

/// The socket's name in the data folder.
pub const SOCKET: &str = "talaia.sock";

/// Requests that may wait for the supervisor; a further one waits at the socket.
const WAITING: usize = 16;

/// Something that somebody asks of the running agent.
pub(super) enum Request {
    Status(oneshot::Sender<Result<Status, String>>),
    Plugin(PluginName, oneshot::Sender<Option<PluginDetail>>),
    Trigger(PluginName, oneshot::Sender<Result<(), TriggerError>>),
    Reload(oneshot::Sender<Result<Changes, NotReloaded>>),
    Replay(Pick, oneshot::Sender<Result<Replayed, String>>),
    Discard(Pick, oneshot::Sender<Result<u64, String>>),
}

/// What was dropped from the quarantine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Discarded {
    /// How many things.
    pub dropped: u64,
}

/// Why a request was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// What is wrong, for a person.
    pub error: String,
}

/// Opens the socket. The caller holds the data folder's lock, so a socket that is already there is
/// a dead agent's.
pub(super) fn bind(data_dir: &Path) -> io::Result<UnixListener> {
    let path = socket_path(data_dir);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    // In between nobody else gets here: the folder is 0700, or others (users of plugins) may pass
    // through it, and to connect takes the right to write, which the usual umask denies them.
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Where an agent with this data folder listens.
pub fn socket_path(data_dir: &Path) -> PathBuf {
    data_dir.join(SOCKET)
}

pub(super) fn channel() -> (mpsc::Sender<Request>, mpsc::Receiver<Request>) {
    mpsc::channel(WAITING)
}

/// Answers until it is dropped.
pub(super) async fn serve(listener: UnixListener, requests: mpsc::Sender<Request>) {
    let router = Router::new()
        .route("/v1/status", get(status))
        .route("/v1/plugin/{plugin}", get(plugin))
        .route("/v1/reload", post(reload))
        .route("/v1/trigger/{plugin}", post(trigger))
        .route("/v1/quarantine/replay", post(replay))
        .route("/v1/quarantine/drop", post(discard))
        .with_state(requests);
    // It ends with the process only.
    let _ended = axum::serve(listener, router).await;
}

type Requests = State<mpsc::Sender<Request>>;

async fn ask<T>(
    requests: &mpsc::Sender<Request>,
    request: impl FnOnce(oneshot::Sender<T>) -> Request,
) -> Result<T, Response> {
    let (reply, answer) = oneshot::channel();
    let stopping = || refuse(StatusCode::SERVICE_UNAVAILABLE, "the agent is stopping");
    requests.send(request(reply)).await.map_err(|_| stopping())?;
    answer.await.map_err(|_| stopping())
}

async fn status(State(requests): Requests) -> Response {
    match ask(&requests, Request::Status).await {
        Ok(Ok(status)) => Json(status).into_response(),
        Ok(Err(error)) => refuse(StatusCode::INTERNAL_SERVER_ERROR, error),
        Err(response) => response,
    }
}

async fn reload(State(requests): Requests) -> Response {
    match ask(&requests, Request::Reload).await {
        Ok(Ok(changes)) => Json(changes).into_response(),
        Ok(Err(NotReloaded::Refused(why))) => refuse(StatusCode::UNPROCESSABLE_ENTITY, why),
        Ok(Err(NotReloaded::Hangs(why))) => refuse(StatusCode::GATEWAY_TIMEOUT, why),
        Err(response) => response,
    }
}

async fn plugin(State(requests): Requests, UrlPath(plugin): UrlPath<String>) -> Response {
    let name = match plugin.parse() {
        Ok(name) => name,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, format!("{error}")),
    };
    match ask(&requests, |reply| Request::Plugin(name, reply)).await {
        Ok(Some(detail)) => Json(detail).into_response(),
        Ok(None) => refuse(StatusCode::NOT_FOUND, format!("there is no plugin `{plugin}`")),
        Err(response) => response,
    }
}

async fn trigger(State(requests): Requests, UrlPath(plugin): UrlPath<String>) -> Response {
    let name = match plugin.parse() {
        Ok(name) => name,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, format!("{error}")),
    };
    match ask(&requests, |reply| Request::Trigger(name, reply)).await {
        Ok(Ok(())) => StatusCode::ACCEPTED.into_response(),
        Ok(Err(error @ TriggerError::Unknown(_))) => {
            refuse(StatusCode::NOT_FOUND, error.to_string())
        }
        Ok(Err(
            error @ (TriggerError::Busy(_) | TriggerError::Streams(_) | TriggerError::Closed),
        )) => refuse(StatusCode::CONFLICT, error.to_string()),
        Err(response) => response,
    }
}

async fn replay(State(requests): Requests, Json(pick): Json<Pick>) -> Response {
    match ask(&requests, |reply| Request::Replay(pick, reply)).await {
        Ok(Ok(replayed)) => Json(replayed).into_response(),
        Ok(Err(error)) => refuse(StatusCode::INTERNAL_SERVER_ERROR, error),
        Err(response) => response,
    }
}

async fn discard(State(requests): Requests, Json(pick): Json<Pick>) -> Response {
    match ask(&requests, |reply| Request::Discard(pick, reply)).await {
        Ok(Ok(dropped)) => Json(Discarded { dropped }).into_response(),
        Ok(Err(error)) => refuse(StatusCode::INTERNAL_SERVER_ERROR, error),
        Err(response) => response,
    }
}

fn refuse(status: StatusCode, error: impl Into<String>) -> Response {
    (status, Json(Refusal { error: error.into() })).into_response()
}
