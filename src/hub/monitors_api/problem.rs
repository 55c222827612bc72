//! What is wrong with a request about monitors, in the words of the API.

use axum::http::StatusCode;

use crate::hub::monitors::MonitorError;
use crate::hub::problem::Problem;
use crate::model::ProblemCode;

impl From<MonitorError> for Problem {
    fn from(error: MonitorError) -> Self {
        let detail = error.to_string();
        match error {
            MonitorError::Exists { id, .. } => Self::new(
                StatusCode::CONFLICT,
                ProblemCode::MonitorExists,
                "the name is taken",
                detail,
            )
            .with("id", id),
            MonitorError::Unknown { .. } => Self::new(
                StatusCode::NOT_FOUND,
                ProblemCode::MonitorUnknown,
                "no such monitor",
                detail,
            ),
            MonitorError::Ambiguous { ids, .. } => Self::new(
                StatusCode::CONFLICT,
                ProblemCode::MonitorAmbiguous,
                "several monitors have the name",
                detail,
            )
            .with("ids", ids),
            MonitorError::Invalid { pointer, .. } => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                ProblemCode::MonitorInvalid,
                "a monitor cannot be like this",
                detail,
            )
            .with("place", serde_json::json!({ "pointer": pointer })),
            MonitorError::Used { id } => Self::new(
                StatusCode::CONFLICT,
                ProblemCode::MonitorUsed,
                "the monitor is in use",
                detail,
            )
            .with("id", id),
            MonitorError::Suspended { id } => Self::new(
                StatusCode::CONFLICT,
                ProblemCode::MonitorSuspended,
                "the monitor takes no results",
                detail,
            )
            .with("id", id),
            MonitorError::Refused { count, refused } => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                ProblemCode::ResultsRefused,
                "results that the monitor does not take",
                detail,
            )
            .with("count", count)
            .with("rejected", serde_json::to_value(refused).unwrap_or_default()),
            MonitorError::Store(error) => Self::from(error),
        }
    }
}
