//! What a program is told when something is wrong: `application/problem+json` (RFC 9457).

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::model::{ProblemCode, Timestamp};

use super::keys::KeyError;
use super::plugin_keys::PluginKeyError;
use super::registry::RegistryError;
use super::store::{AppendError, StoreError};
use super::wire::{Fault, FaultKind};

/// This version, for messages.
const OURS: &str = env!("CARGO_PKG_VERSION");

/// An error of the API. Behind a pointer, because it is large and rare.
#[derive(Debug, Clone)]
pub(crate) struct Problem(Box<Inner>);

#[derive(Debug, Clone, Serialize)]
struct Inner {
    status: u16,
    /// A word for programs.
    code: ProblemCode,
    /// The same for every problem of this code.
    title: &'static str,
    /// One sentence on this one, and what to do.
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<Place>,
    /// Further members, of some codes.
    #[serde(flatten)]
    more: serde_json::Map<String, serde_json::Value>,
    #[serde(skip)]
    retry_after: Option<u32>,
    #[serde(skip)]
    header: Option<(HeaderName, &'static str)>,
}

/// Where in the body.
#[derive(Debug, Clone, Serialize)]
struct Place {
    pointer: String,
    #[serde(skip_serializing_if = "is_zero")]
    line: usize,
    #[serde(skip_serializing_if = "is_zero")]
    column: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    report: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(n: &usize) -> bool {
    *n == 0
}

impl Problem {
    pub(crate) fn new(
        status: StatusCode,
        code: ProblemCode,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        Self(Box::new(Inner {
            status: status.as_u16(),
            code,
            title,
            detail: detail.into(),
            place: None,
            more: serde_json::Map::new(),
            retry_after: None,
            header: None,
        }))
    }

    /// The same problem with one member more.
    pub(crate) fn with(mut self, member: &str, value: impl Into<serde_json::Value>) -> Self {
        self.0.more.insert(member.to_owned(), value.into());
        self
    }

    pub(crate) fn unauthorized() -> Self {
        Self::no_key(
            ProblemCode::Unauthorized,
            "a key is needed",
            "send `Authorization: Bearer KEY` with a key of this hub; the local one is in the hub's credentials.json",
        )
    }

    /// A key that this hub never gave.
    pub(crate) fn unknown_key() -> Self {
        Self::no_key(
            ProblemCode::KeyUnknown,
            "the key is unknown",
            "this hub does not know the key: is it another hub's, or cut short? `talaia keys create` makes one",
        )
    }

    /// An account that does not exist, or not with this secret key.
    pub(crate) fn unknown_account() -> Self {
        Self::no_key(
            ProblemCode::KeyUnknown,
            "the key is unknown",
            "no account of this hub has this API key and secret key; were they rotated, or are they another hub's?",
        )
    }

    /// A key that was ended.
    pub(crate) fn revoked_key(name: &str, at_ms: i64) -> Self {
        let detail = format!(
            "the key `{name}` was revoked{}; `talaia keys create` makes another",
            on(at_ms)
        );
        Self::no_key(ProblemCode::KeyRevoked, "the key was revoked", detail)
    }

    /// A key whose time is over.
    pub(crate) fn expired_key(name: &str, at_ms: i64) -> Self {
        let detail = format!(
            "the key `{name}` expired{}; `talaia keys rotate {name}` makes another in its place",
            on(at_ms)
        );
        Self::no_key(ProblemCode::KeyExpired, "the key has expired", detail)
    }

    /// A signature that is none, or not of this request.
    pub(crate) fn unsigned(detail: &'static str) -> Self {
        Self::no_key(ProblemCode::Signature, "the signature does not hold", detail)
    }

    /// A key or session of an account that is refused.
    pub(crate) fn disabled_account() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            ProblemCode::AccountDisabled,
            "the account is disabled",
            "whoever runs this hub disabled the account; all that it has is kept, and `talaia hub account enable NAME` there lets it in again",
        )
    }

    fn no_key(code: ProblemCode, title: &'static str, detail: impl Into<String>) -> Self {
        let mut problem = Self::new(StatusCode::UNAUTHORIZED, code, title, detail);
        problem.0.header = Some((header::WWW_AUTHENTICATE, "Bearer"));
        problem
    }

    /// A key that is good, and not for this.
    pub(crate) fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, ProblemCode::Scope, "the key may not do this", detail)
    }

    pub(crate) fn not_found() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            ProblemCode::NotFound,
            "no such thing",
            "there is nothing under this path; the API is under /api/v1",
        )
    }

    pub(crate) fn parameter(name: &str, wants: &str) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            ProblemCode::Parameter,
            "a parameter cannot be used",
            format!("`{name}` must be {wants}"),
        )
    }

    /// Another version of the protocol in the path.
    pub(crate) fn protocol(asked: &str) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            ProblemCode::Protocol,
            "another version of the protocol",
            format!(
                "this hub is talaia {OURS} and speaks protocol v1, not `{asked}`: if the agent is newer, install its version of talaia on the hub; if it is older, install talaia {OURS} on the agent"
            ),
        )
    }

    pub(crate) fn media_type(detail: impl Into<String>) -> Self {
        let mut problem = Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ProblemCode::MediaType,
            "the body is of a kind that cannot be read",
            detail,
        );
        problem.0.header = Some((header::ACCEPT_ENCODING, "zstd, gzip, identity"));
        problem
    }

    pub(crate) fn too_large(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            ProblemCode::TooLarge,
            "the body is too large",
            detail,
        )
    }

    pub(crate) fn busy() -> Self {
        Self::from(StoreError::Busy)
    }

    pub(crate) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    pub(crate) fn detail(&self) -> &str {
        &self.0.detail
    }

    fn body(agent: Option<&str>, fault: Fault) -> Self {
        let (status, code, title) = match fault.kind {
            FaultKind::Syntax => {
                (StatusCode::BAD_REQUEST, ProblemCode::JsonSyntax, "the body is not JSON")
            }
            FaultKind::Encoding => {
                (StatusCode::BAD_REQUEST, ProblemCode::Encoding, "the body cannot be unpacked")
            }
            FaultKind::Shape => (
                StatusCode::UNPROCESSABLE_ENTITY,
                ProblemCode::Shape,
                "the body is not a batch of reports",
            ),
            FaultKind::TooMany => {
                (StatusCode::PAYLOAD_TOO_LARGE, ProblemCode::TooLarge, "the body is too large")
            }
        };
        let mut detail = fault.message;
        if let Some(agent) = agent.filter(|_| fault.kind == FaultKind::Shape) {
            match compare(agent, OURS) {
                Some(std::cmp::Ordering::Greater) => {
                    detail = format!(
                        "{detail}; this hub ({OURS}) is older than the agent ({agent}): install talaia {agent} or later on the hub"
                    );
                }
                Some(std::cmp::Ordering::Less) => {
                    detail = format!(
                        "{detail}; the agent ({agent}) is older than this hub ({OURS}): install talaia {OURS} on the agent"
                    );
                }
                _ => {}
            }
        }
        let mut problem = Self::new(status, code, title, detail);
        problem.0.place = Some(Place {
            pointer: fault.pointer,
            line: fault.line,
            column: fault.column,
            report: fault.report.map(|(index, _)| index),
            seq: fault.report.and_then(|(_, seq)| seq),
        });
        problem
    }
}

/// ` on …`, where the time can be written.
fn on(ms: i64) -> String {
    Timestamp::from_millis(ms).map_or_else(String::new, |at| format!(" on {at}"))
}

/// Compares versions by their first three numbers.
fn compare(a: &str, b: &str) -> Option<std::cmp::Ordering> {
    let numbers = |text: &str| -> Option<Vec<u64>> {
        let bare = text.split(['-', '+']).next()?;
        bare.split('.').take(3).map(|part| part.parse().ok()).collect()
    };
    Some(numbers(a)?.cmp(&numbers(b)?))
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        if error.is_full() {
            let mut problem = Self::new(
                StatusCode::INSUFFICIENT_STORAGE,
                ProblemCode::DiskFull,
                "the hub has no room",
                StoreError::Full.to_string(),
            );
            problem.0.retry_after = Some(60);
            return problem;
        }
        if error.is_too_long() {
            // The same question again takes as long, so there is no time to come back after.
            return Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                ProblemCode::TooLong,
                "the answer takes too long",
                StoreError::TooLong.to_string(),
            );
        }
        let mut problem = match error {
            StoreError::Busy | StoreError::Recovering | StoreError::Closed => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                ProblemCode::Busy,
                "the hub cannot do it now",
                error.to_string(),
            ),
            _ => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::error!(%error, cause, "the hub's store failed");
                // What exactly failed is for the operator's log, not for whoever asks.
                Self::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    ProblemCode::Store,
                    "the hub's store failed",
                    "see the hub's log",
                )
            }
        };
        problem.0.retry_after = Some(5);
        problem
    }
}

impl From<KeyError> for Problem {
    fn from(error: KeyError) -> Self {
        let detail = error.to_string();
        match error {
            KeyError::Missing { .. } => {
                Self::new(StatusCode::NOT_FOUND, ProblemCode::NoKey, "no such key", detail)
            }
            KeyError::Exists { .. } | KeyError::LastAdmin { .. } | KeyError::TooMany => Self::new(
                StatusCode::CONFLICT,
                ProblemCode::Key,
                "the keys do not allow it",
                detail,
            ),
            KeyError::Name { .. } | KeyError::Scope(_) | KeyError::NoScope | KeyError::Past => {
                Self::new(
                    StatusCode::UNPROCESSABLE_ENTITY,
                    ProblemCode::Key,
                    "no such key can be",
                    detail,
                )
            }
            KeyError::Sqlite(source) => StoreError::Sqlite { action: "change", source }.into(),
        }
    }
}

impl From<PluginKeyError> for Problem {
    fn from(error: PluginKeyError) -> Self {
        let detail = error.to_string();
        match error {
            PluginKeyError::Missing { .. } => {
                Self::new(StatusCode::NOT_FOUND, ProblemCode::NoKey, "no such key", detail)
            }
            PluginKeyError::Registered { .. }
            | PluginKeyError::Taken { .. }
            | PluginKeyError::TooMany => Self::new(
                StatusCode::CONFLICT,
                ProblemCode::Key,
                "the keys do not allow it",
                detail,
            ),
            PluginKeyError::Key(_) => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                ProblemCode::Key,
                "no such key can be",
                detail,
            ),
            PluginKeyError::Sqlite(source) => {
                StoreError::Sqlite { action: "change", source }.into()
            }
        }
    }
}

impl From<RegistryError> for Problem {
    fn from(error: RegistryError) -> Self {
        let detail = error.to_string();
        match error {
            RegistryError::NoPackage(_)
            | RegistryError::NoVersion { .. }
            | RegistryError::Gone { .. } => {
                Self::new(StatusCode::NOT_FOUND, ProblemCode::NoPackage, "no such package", detail)
            }
            RegistryError::NotAReviewer => {
                Self::new(StatusCode::FORBIDDEN, ProblemCode::Reviewer, "not a reviewer", detail)
            }
            RegistryError::Description
            | RegistryError::Category { .. }
            | RegistryError::Reason
            | RegistryError::NotThat(_)
            | RegistryError::Index(_)
            | RegistryError::Sign(_) => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                ProblemCode::Package,
                "not like this",
                detail,
            ),
            RegistryError::Key(why) => {
                tracing::error!(why, "the registry's key cannot be used");
                Self::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    ProblemCode::RegistryKey,
                    "the registry's key cannot be used",
                    "see the hub's log",
                )
            }
            RegistryError::Damaged { .. } => {
                tracing::error!(why = detail, "a package cannot be opened");
                Self::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    ProblemCode::Damaged,
                    "the archive is damaged",
                    "see the hub's log, and `talaia hub verify`",
                )
            }
            RegistryError::Full | RegistryError::OwnFull => Self::new(
                StatusCode::INSUFFICIENT_STORAGE,
                ProblemCode::Full,
                "the hub has no room",
                detail,
            ),
            RegistryError::PluginKey(error) => error.into(),
            RegistryError::Sqlite(source) => StoreError::Sqlite { action: "change", source }.into(),
            _ => Self::new(StatusCode::CONFLICT, ProblemCode::Package, "not as things are", detail),
        }
    }
}

impl From<AppendError> for Problem {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Body(fault) => Self::body(None, fault),
            AppendError::BodyOf(version, fault) => Self::body(Some(&version), fault),
            AppendError::Cloned { .. } => Self::new(
                StatusCode::CONFLICT,
                ProblemCode::Cloned,
                "two spools send the same stream",
                format!("{error}: the agent's data folder was copied; it takes a new identity"),
            ),
            AppendError::Store(error) => Self::from(error),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status(), super::store::json(&self.0)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.0.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some((name, value)) = self.0.header {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cmp::Ordering;

    #[test]
    fn versions_compare_by_number() {
        assert_eq!(compare("0.10.0", "0.9.9"), Some(Ordering::Greater));
        assert_eq!(compare("0.1.0-rc.1", "0.1.0"), Some(Ordering::Equal));
        assert_eq!(compare("0.0.9", "0.1.0"), Some(Ordering::Less));
        assert_eq!(compare("next", "0.1.0"), None);
    }
}
