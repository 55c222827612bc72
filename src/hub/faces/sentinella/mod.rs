//! Sentinella: `POST /metrics`, by which its agent uploads. Where it downloads plugins is
//! [`super::registry`].
//!
//! The body is handed on as a native upload, so that everything holds that holds for those: a report
//! is on disk before the answer, a suspended monitor takes none, what is refused shows among the
//! rejections. `account_key` is a key of the account with the scope `ingest`, the same that an agent
//! would send as Bearer token. Each plugin key becomes a monitor of its plugin on `server_name`. The
//! old agent sends no time: the hub's counts.

mod upload;

use std::borrow::Cow;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Extension, Router};
use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::contract::Judged;
use crate::hub::body;
use crate::hub::hall::Hall;
use crate::hub::keys::{self, Known, Scope, Token};
use crate::hub::plugin_keys::{self, Lookup};
use crate::hub::problem::Problem;
use crate::hub::store::{AppendError, StoreError, Writer, json as to_json};
use crate::hub::wire::{self, Packing};
use crate::model::{
    AgentId, Outcome, PluginKey, PluginName, Rejection, Report, RunId, SpoolId, Status, Timestamp,
    Usage,
};

use super::BODY;
use super::strangers::Strangers;
use upload::{Sender, Upload};

/// Plugins in one upload.
const PLUGINS: usize = 1000;
/// The longest pause between two uploads that counts as the plugin's interval, in seconds.
const LONGEST_INTERVAL: f64 = 3600.0;

pub(super) fn routes() -> Router<Hall> {
    Router::new().route("/metrics", post(metrics).fallback(wrong_method))
}

/// Why nothing of an upload was taken.
struct Refusal {
    status: StatusCode,
    words: String,
}

impl Refusal {
    fn new(status: StatusCode, words: impl Into<String>) -> Self {
        Self { status, words: words.into() }
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self::new(problem.status(), problem.detail())
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Problem::from(error).into()
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        answer(self.status, &json!({"status": "error", "error": self.words}))
    }
}

fn answer(status: StatusCode, body: &impl Serialize) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], to_json(body)).into_response()
}

async fn wrong_method() -> Refusal {
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "a Sentinella agent sends `POST /metrics`")
}

/// What became of one plugin's metrics.
#[derive(Serialize)]
struct Taken {
    /// `ok`, `refused`, `unknown`, `revoked` or `invalid`.
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    plugin: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    accepted: u64,
    rejected: u64,
    /// The first hundred.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rejections: Vec<Rejection>,
}

impl Taken {
    fn not(status: &'static str, plugin: Option<String>, error: impl Into<String>) -> Self {
        let error = Some(error.into());
        Self { status, plugin, error, accepted: 0, rejected: 0, rejections: Vec::new() }
    }
}

async fn metrics(
    State(hall): State<Hall>,
    Extension(strangers): Extension<Arc<Strangers>>,
    headers: HeaderMap,
    sent: Body,
) -> Result<Response, Refusal> {
    let packing = packing(&headers)?;
    let body = body::take(&hall.faces, sent, BODY).await?;
    let packed = body.bytes.clone();
    let now = hall.clock.now();
    // Whose it is comes before anything that takes the writing thread's time.
    let opened = tokio::task::spawn_blocking(move || open(&packed, packing));
    let (text, account_key) = opened.await.map_err(|_| StoreError::Defect)??;
    let Some(key) = account_key else {
        strangers.turned_away("sentinella", "account key");
        let words = "`account_key` is missing: a key of this hub with the scope `ingest`";
        return Err(Refusal::new(StatusCode::UNAUTHORIZED, words));
    };
    let token = hall.store.ask(move |conn| keys::verify(conn, &key, now)).await?;
    let known = admit(token).inspect_err(|refusal| {
        if refusal.status == StatusCode::UNAUTHORIZED {
            strangers.turned_away("sentinella", "account key");
        }
    })?;
    // As with native uploads, one body at a time is all that is judged.
    let taken = hall.store.write(move |writer| receive(writer, &text, &known, now)).await??;
    let accepted: u64 = taken.iter().map(|(_, taken)| taken.accepted).sum();
    let rejected: u64 = taken.iter().map(|(_, taken)| taken.rejected).sum();
    // A client that looks at nothing else sees by the status that it talks to nobody.
    let any = taken.is_empty() || taken.iter().any(|(_, taken)| taken.status == "ok");
    let (code, status) =
        if any { (StatusCode::OK, "ok") } else { (StatusCode::FORBIDDEN, "error") };
    let plugins: serde_json::Map<_, _> =
        taken.into_iter().map(|(key, taken)| (key, json!(taken))).collect();
    let body =
        json!({"status": status, "accepted": accepted, "rejected": rejected, "plugins": plugins});
    Ok(answer(code, &body))
}

/// Unpacks an upload, and looks for the account's key in it.
fn open(packed: &[u8], packing: Packing) -> Result<(String, Option<String>), Refusal> {
    let text = wire::unpack(packed, packing, BODY)
        .map_err(|fault| Refusal::new(StatusCode::BAD_REQUEST, fault.message))?;
    // An array would be read as the members in their order.
    if !text.trim_start().starts_with('{') {
        return Err(malformed("it is not a JSON object"));
    }
    let sender: Sender<'_> =
        serde_json::from_str(&text).map_err(|error| malformed(&error.to_string()))?;
    let account_key = sender.account_key.filter(|key| !key.is_empty()).map(Cow::into_owned);
    Ok((text, account_key))
}

fn malformed(why: &str) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, format!("the body is not a Sentinella upload: {why}"))
}

/// Judges an upload, and stores what is good of it.
fn receive(
    writer: &mut Writer,
    text: &str,
    known: &Known,
    now: i64,
) -> Result<Vec<(String, Taken)>, Refusal> {
    let upload: Upload<'_> =
        serde_json::from_str(text).map_err(|error| malformed(&error.to_string()))?;
    if known.stale {
        keys::touch(writer.conn(), known.id, now).map_err(failed)?;
    }
    let judged = judge(upload, now)?;
    take(writer, known.account, judged, now).map_err(|error| Problem::from(error).into())
}

fn failed(source: rusqlite::Error) -> Refusal {
    StoreError::Sqlite { action: "read", source }.into()
}

/// An upload whose records were judged.
struct Judgements {
    host: String,
    version: String,
    plugins: Vec<(String, Judged)>,
}

fn judge(upload: Upload<'_>, now: i64) -> Result<Judgements, Refusal> {
    let wrong = |words: String| Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, words);
    let version = upload.version();
    let host = upload.server_name.unwrap_or_default().into_owned();
    if host.is_empty() || host.len() > 255 || host.chars().any(char::is_control) {
        let words =
            "`server_name` must be the host's name: 1 to 255 bytes, without control characters";
        return Err(wrong(words.to_owned()));
    }
    let Some(plugins) = upload.plugins else {
        let words = "`plugins` is missing: metrics by plugin key; the agent's own measurements are not taken, use the plugins of talaia for those";
        return Err(wrong(words.to_owned()));
    };
    if plugins.0.len() > PLUGINS {
        return Err(wrong(format!("more than {PLUGINS} plugins in one upload")));
    }
    let started = Timestamp::from_millis(now)
        .ok_or_else(|| wrong("the hub's clock is out of range".to_owned()))?;
    let judge = |(key, sent): (String, &serde_json::value::RawValue)| {
        let judged =
            upload::judge(&key, sent, started).map_err(|error| wrong(error.to_string()))?;
        Ok((key, judged))
    };
    let plugins = plugins.0.into_iter().map(judge).collect::<Result<_, Refusal>>()?;
    Ok(Judgements { host, version, plugins })
}

/// The key, if it may send.
fn admit(token: Token) -> Result<Known, Refusal> {
    let problem = match token {
        Token::Good(known) if known.scopes.has(Scope::Ingest) => return Ok(known),
        Token::Good(known) => {
            let words = format!(
                "`account_key` is the key `{}`, which lacks the scope `ingest`",
                known.name
            );
            return Err(Refusal::new(StatusCode::FORBIDDEN, words));
        }
        Token::Unknown => Problem::unknown_key(),
        Token::Revoked { name, at_ms } => Problem::revoked_key(&name, at_ms),
        Token::Expired { name, at_ms } => Problem::expired_key(&name, at_ms),
        Token::Disabled => Problem::disabled_account(),
    };
    Err(Refusal::new(StatusCode::UNAUTHORIZED, format!("`account_key`: {}", problem.detail())))
}

fn packing(headers: &HeaderMap) -> Result<Packing, Refusal> {
    let text = |name| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().trim();
    match text(header::CONTENT_ENCODING).to_ascii_lowercase().as_str() {
        "" | "identity" => Ok(Packing::Plain),
        "gzip" | "x-gzip" => Ok(Packing::Gzip),
        _ => Err(Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "send `Content-Encoding: gzip`, or none",
        )),
    }
}

/// Stores what was judged, as a native upload of a stream that is the server's. All of it is one job
/// of the writing thread, so that no other upload takes the same place in the stream.
fn take(
    writer: &mut Writer,
    account: i64,
    upload: Judgements,
    now: i64,
) -> Result<Vec<(String, Taken)>, AppendError> {
    let Judgements { host, version, plugins } = upload;
    let spool = SpoolId::from(derived("spool", account, &host));
    let through: Option<i64> = writer
        .conn()
        .query_row(
            "SELECT through FROM streams WHERE account_id = ?1 AND spool = ?2 AND output = ?3",
            params![account, spool.to_string(), OUTPUT],
            |row| row.get(0),
        )
        .optional()?;
    let mut seq = through.unwrap_or(0);
    let mut taken: Vec<(String, Taken)> = Vec::new();
    let mut reports = Vec::new();
    for (text, judged) in plugins {
        let (key, plugin) = match plugin(writer.conn(), account, &text)? {
            Ok(known) => known,
            Err(not) => {
                taken.push((text, not));
                continue;
            }
        };
        let interval = interval(writer.conn(), account, &host, &plugin, now)?;
        let of = Taken {
            status: "ok",
            plugin: Some(plugin.to_string()),
            error: None,
            accepted: judged.counts.accepted,
            rejected: judged.counts.rejected_total(),
            rejections: judged.rejected.clone(),
        };
        seq += 1;
        reports.push((seq, taken.len(), report(key, plugin, &host, judged, now, interval)));
        taken.push((text, of));
    }
    if reports.is_empty() {
        return Ok(taken);
    }
    let agent = json!({
        "id": AgentId::from(derived("agent", account, &host)),
        "host": host, "version": version, "spool": spool,
    });
    let sent = Timestamp::from_millis(now).map(|t| t.to_string()).unwrap_or_default();
    let listed: Vec<String> = reports
        .iter()
        // A report as it is, with its place in the stream.
        .map(|(seq, _, report)| {
            format!("{{\"seq\":{seq},{}", to_json(report).get(1..).unwrap_or_default())
        })
        .collect();
    let batch = format!(
        "{{\"agent\":{agent},\"output\":\"{OUTPUT}\",\"sent\":\"{sent}\",\"reports\":[{}]}}",
        listed.join(",")
    );
    let reply = writer.append(account, &batch, now)?;
    for refused in reply.refused {
        let place = reports.iter().find(|(seq, ..)| *seq as u64 == refused.seq.0);
        if let Some((_, at, _)) = place
            && let Some((_, taken)) = taken.get_mut(*at)
        {
            *taken = Taken::not("refused", taken.plugin.take(), refused.message);
        }
    }
    Ok(taken)
}

/// The output of the stream that a server's uploads are.
const OUTPUT: &str = "sentinella";

/// The plugin that a key stands for, or what to say of it.
fn plugin(
    conn: &Connection,
    account: i64,
    text: &str,
) -> rusqlite::Result<Result<(PluginKey, PluginName), Taken>> {
    let key: PluginKey = match plugin_keys::parse(text) {
        Ok(key) => key,
        Err(error) => return Ok(Err(Taken::not("invalid", None, error.to_string()))),
    };
    Ok(match plugin_keys::lookup(conn, account, key)? {
        Lookup::Unknown => Err(Taken::not(
            "unknown",
            None,
            "no plugin is registered with this key; register it with this hub, and use the key that it gives",
        )),
        Lookup::Revoked { plugin } => Err(Taken::not(
            "revoked",
            Some(plugin),
            "the plugin's key was revoked; register the plugin again",
        )),
        Lookup::Known { plugin } => match plugin.parse() {
            Ok(name) => Ok((key, name)),
            Err(_) => Err(Taken::not("invalid", Some(plugin), "the plugin's name is none here")),
        },
    })
}

/// About how often the plugin sends, by when it last did; nothing where it has not, or was away.
fn interval(
    conn: &Connection,
    account: i64,
    host: &str,
    plugin: &PluginName,
    now: i64,
) -> rusqlite::Result<Option<f64>> {
    let last: Option<i64> = conn
        .prepare_cached(
            "SELECT received_ms FROM monitors
             WHERE account_id = ?1 AND host = ?2 AND plugin = ?3 AND reports > 0",
        )?
        .query_row(params![account, host, plugin.as_str()], |row| row.get(0))
        .optional()?;
    let seconds = last.map(|last| ((now - last) as f64 / 1000.0).round());
    Ok(seconds.filter(|seconds| (1.0..=LONGEST_INTERVAL).contains(seconds)))
}

fn report(
    key: PluginKey,
    plugin: PluginName,
    host: &str,
    judged: Judged,
    now: i64,
    interval: Option<f64>,
) -> Report {
    Report {
        plugin,
        key: Some(key),
        host: host.to_owned(),
        run: RunId::new(),
        replay_of: None,
        started: Timestamp::from_millis(now).unwrap_or_else(|| std::time::UNIX_EPOCH.into()),
        duration: 0.0,
        interval,
        outcome: Outcome::Answered,
        status: judged.status.unwrap_or(Status::Ok),
        message: judged.message,
        metrics: judged.metrics,
        rejected: judged.rejected,
        warnings: judged.warnings,
        counts: judged.counts,
        skipped: 0,
        leftovers: 0,
        usage: Usage::default(),
        stderr: String::new(),
        contract: None,
    }
}

/// An identifier that is always the same for the same server of the same account.
fn derived(what: &str, account: i64, host: &str) -> uuid::Uuid {
    let hash = Sha256::digest(format!("sentinella {what} {account} {host}"));
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}
