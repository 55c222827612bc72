//! The registry as everybody sees it: a signed index, and the archives that are in it. The addresses
//! of the archives are those that Sentinella's agent asks. Who gets something here trusts the
//! signature, not the way that it came by, so neither a key nor a known `Host` is asked for.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::hub::hall::Hall;
use crate::hub::packages_api::{held, zip};
use crate::hub::problem::Problem;
use crate::hub::registry;
use crate::model::ProblemCode;

pub(super) fn routes() -> Router<Hall> {
    Router::new()
        .route("/plugins/index.json", get(index))
        .route("/plugins/download/{file}", get(download))
}

async fn index(State(hall): State<Hall>) -> Result<Response, Problem> {
    let index = hall.store.read(registry::index).await?;
    let index = index.ok_or_else(|| {
        let detail = "no package was ever approved on this hub, so there is nothing to install";
        Problem::new(StatusCode::NOT_FOUND, ProblemCode::NoIndex, "no index yet", detail)
    })?;
    Ok(([(header::CONTENT_TYPE, "application/json")], index).into_response())
}

/// An approved archive, by `NAME-VERSION.zip`.
async fn download(
    State(hall): State<Hall>,
    Path(file): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let held = held(&headers);
    let shown: String = file.chars().filter(|c| !c.is_control()).take(80).collect();
    let found = hall.store.read(move |conn| registry::given_out(conn, &file, &held)).await?;
    found.map(zip).ok_or_else(|| {
        let detail = format!("no approved package has the file `{shown}`");
        Problem::new(StatusCode::NOT_FOUND, ProblemCode::NoPackage, "no such package", detail)
    })
}
