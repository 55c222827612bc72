//! What is wrong with a request about monitors, in the words of the API.

use axum::http::StatusCode;

use crate::hub::monitors::MonitorError;
use crate::hub::problem::Problem;

impl From<MonitorError> for Problem {
    fn from(error: MonitorError) -> Self {
        let detail = error.to_string();
        match error {
            MonitorError::Exists { id, .. } => {
                Self::new(StatusCode::CONFLICT, "monitor-exists", "the name is taken", detail)
                    .with("id", id)
            }
            MonitorError::Unknown { .. } => {
                Self::new(StatusCode::NOT_FOUND, "monitor-unknown", "no such monitor", detail)
            }
            MonitorError::Ambiguous { ids, .. } => Self::new(
                StatusCode::CONFLICT,
                "monitor-ambiguous",
                "several monitors have the name",
                detail,
            )
            .with("ids", ids),
            MonitorError::Invalid { pointer, .. } => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "monitor-invalid",
                "a monitor cannot be like this",
                detail,
            )
            .with("place", serde_json::json!({ "pointer": pointer })),
            MonitorError::Used { id } => {
                Self::new(StatusCode::CONFLICT, "monitor-used", "the monitor is in use", detail)
                    .with("id", id)
            }
            MonitorError::Suspended { id } => Self::new(
                StatusCode::CONFLICT,
                "monitor-suspended",
                "the monitor takes no results",
                detail,
            )
            .with("id", id),
            MonitorError::Refused { count, refused } => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "results-refused",
                "results that the monitor does not take",
                detail,
            )
            .with("count", count)
            .with("rejected", serde_json::to_value(refused).unwrap_or_default()),
            MonitorError::Store(error) => Self::from(error),
        }
    }
}
