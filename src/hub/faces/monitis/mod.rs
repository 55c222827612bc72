//! Monitis custom monitors: `/api` and `/customMonitorApi`, where `action` says what is wanted.
//!
//! Reads are GET, changes POST; parameters may be in the query and in the body. What is answered is
//! compact JSON with the members and words that the old clients look for; XML to a GET that asks for
//! it. Errors have a status of 4xx and say in `status` or `error` what is wrong.
//!
//! Of the old service's actions these are here: monitors, results, additional results, reports,
//! suspending, tokens. Agents and jobs are not, nor is anything that gives out a secret.

mod answer;
mod auth;
mod form;
mod mini;
mod monitors;
mod results;
mod sign;
mod times;
mod tokens;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router};

use crate::hub::body;
use crate::hub::hall::{Caller, Hall};
use crate::hub::monitors::MonitorError;

use super::strangers::Strangers;
use answer::{Answer, Output, Refusal};
use auth::Wish;
use form::Form;
use mini::{Dialect, MiniError};

pub(super) fn routes() -> Router<Hall> {
    let of_all = || get(handle).post(handle).fallback(wrong_method);
    // Which host and which of the two paths is the old service's business.
    Router::new()
        .route("/api", of_all())
        .route("/api/", of_all())
        .route("/customMonitorApi", of_all())
        .route("/customMonitorApi/", of_all())
}

async fn wrong_method() -> Response {
    Refusal::status(StatusCode::METHOD_NOT_ALLOWED, "send GET to read and POST to change")
        .write(Output::Json)
}

async fn handle(
    State(hall): State<Hall>,
    Extension(strangers): Extension<Arc<Strangers>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    sent: Body,
) -> Response {
    let query = uri.query().unwrap_or_default();
    // A read has no body, and no body is read.
    let sent = if method == Method::POST { sent } else { Body::empty() };
    let body = match body::take(&hall.faces, sent, super::BODY).await {
        Ok(body) => body,
        Err(problem) => {
            let refusal = Refusal::failed(problem.status(), problem.detail());
            return refusal.write(Output::Json);
        }
    };
    let form = match read(query, &body.bytes) {
        Ok(form) => form,
        Err(refusal) => return refusal.write(Output::Json),
    };
    let output = match form.get("output") {
        Some(word) if method == Method::GET && word.eq_ignore_ascii_case("xml") => Output::Xml,
        _ => Output::Json,
    };
    let agent = headers.get(header::USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    match answer(&hall, &method, &form, agent).await {
        Ok(answer) => answer.write(output),
        Err(refusal) => {
            if let Some(reason) = refusal.reason() {
                strangers.turned_away("monitis", reason);
            }
            refusal.write(output)
        }
    }
}

fn read(query: &str, body: &[u8]) -> Result<Form, Refusal> {
    let text = std::str::from_utf8(body)
        .map_err(|_| Refusal::bad("the body is not UTF-8; percent-encode it"))?;
    Form::read(query, text).map_err(|error| Refusal::bad(error.to_string()))
}

/// One request that was let in.
struct Call<'a> {
    hall: &'a Hall,
    form: &'a Form,
    caller: Caller,
    dialect: Dialect,
    now: i64,
}

async fn answer(
    hall: &Hall,
    method: &Method,
    form: &Form,
    user_agent: &str,
) -> Result<Answer, Refusal> {
    let action = form.get("action").ok_or_else(|| Refusal::bad("action is required"))?;
    match action {
        "authToken" => return auth::token(hall, form).await,
        // These would give a secret for a password.
        "apikey" | "userkey" => return Err(no_secrets(action)),
        _ => {}
    }
    let wish = match action {
        "getMonitors"
        | "getMonitorInfo"
        | "getMonitorResults"
        | "getAdditionalResults"
        | "getReport"
        | "getAdditionalDataReport" => Wish::Read,
        "addMonitor"
        | "editMonitor"
        | "deleteMonitor"
        | "addResult"
        | "addAdditionalResults"
        | "suspendMonitors"
        | "activateMonitors" => Wish::Change,
        // Whoever asks is asked for a name first, as everywhere.
        _ if method == Method::GET => Wish::Read,
        _ => Wish::Change,
    };
    let caller = auth::admit(hall, method, form, wish).await?;
    if wish == Wish::Change && method != Method::POST {
        return Err(Refusal::bad(format!("{action} must be sent by POST")));
    }
    let declaration = form.get("resultParams").or_else(|| form.get("monitorParams"));
    let dialect = Dialect::of(user_agent, declaration);
    let call = Call { hall, form, caller, dialect, now: hall.clock.now() };
    match action {
        "addMonitor" => monitors::add(call).await,
        "editMonitor" => monitors::edit(call).await,
        "deleteMonitor" => monitors::delete(call).await,
        "suspendMonitors" => monitors::set_suspended(call, monitors::Suspended::Yes).await,
        "activateMonitors" => monitors::set_suspended(call, monitors::Suspended::No).await,
        "getMonitors" => monitors::list(call).await,
        "getMonitorInfo" => monitors::info(call).await,
        "addResult" => results::add(call).await,
        "addAdditionalResults" => results::add_additional(call).await,
        "getMonitorResults" => results::of_day(call).await,
        "getReport" => results::report(call).await,
        "getAdditionalResults" => results::additional(call).await,
        "getAdditionalDataReport" => results::additional_report(call).await,
        "secretkey" => Err(no_secrets(action)),
        other => {
            let shown: String = other.chars().filter(|c| !c.is_control()).take(60).collect();
            Err(Refusal::bad(format!("Action '{shown}' is not supported")))
        }
    }
}

fn no_secrets(action: &str) -> Refusal {
    let words = format!(
        "Action '{action}' is refused: this hub gives out no keys here; see its page of keys"
    );
    Refusal::status(StatusCode::FORBIDDEN, words)
}

impl Call<'_> {
    /// A parameter without which nothing can be done.
    fn required(&self, name: &str) -> Result<&str, Refusal> {
        self.form.get(name).ok_or_else(|| Refusal::bad(format!("{name} is required")))
    }

    /// The monitor that is meant.
    fn monitor(&self) -> Result<i64, Refusal> {
        let text = self.required("monitorId")?;
        text.trim().parse().map_err(|_| Refusal::bad("monitorId is not a number"))
    }
}

impl From<MiniError> for Refusal {
    fn from(error: MiniError) -> Self {
        Self::bad(error.to_string())
    }
}

impl From<MonitorError> for Refusal {
    fn from(error: MonitorError) -> Self {
        match error {
            MonitorError::Exists { .. } => Self::exists(),
            MonitorError::Unknown { asked } => {
                Self::status(StatusCode::NOT_FOUND, format!("there is no monitor {asked}"))
            }
            MonitorError::Suspended { .. } => Self::status(StatusCode::CONFLICT, error.to_string()),
            // Short, because some clients show no long answer.
            MonitorError::Refused { refused, .. } => {
                Self::bad(refused.first().map_or_else(String::new, |value| {
                    let at = value.path.rsplit('/').next().unwrap_or_default();
                    format!("{at}: {} ({}); {}", value.message, value.code, value.hint)
                }))
            }
            MonitorError::Ambiguous { .. }
            | MonitorError::Invalid { .. }
            | MonitorError::Used { .. } => Self::bad(error.to_string()),
            MonitorError::Store(error) => auth::failed(error),
        }
    }
}
