//! What the forms of a version do.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use crate::hub::hall::Hall;
use crate::hub::packages_api::{change, sight};
use crate::hub::problem::Problem;
use crate::hub::registry::{self, RegistryError, Seen};
use crate::hub::session::Session;
use crate::hub::web::page::{Sent, failed, logged_in, see};
use crate::model::{PackageName, ProblemCode, Version};

use super::version::{Said, page};
use super::{caller, missing, path, which};

pub(super) async fn act(
    State(hall): State<Hall>,
    headers: HeaderMap,
    Path(place): Path<(String, String)>,
    body: Bytes,
) -> Response {
    let session = logged_in!(hall, headers);
    let sent = match Sent::read(&session, &body) {
        Ok(sent) => sent,
        Err(refused) => return refused,
    };
    let Some(which) = which(&place) else { return missing(&session) };
    let reason = sent.text("reason").to_owned();
    let asked = Asked {
        what: sent.text("do").to_owned(),
        sha256: sent.text("sha256").to_owned(),
        reason: reason.clone(),
    };
    match done(&hall, &session, &which, asked).await {
        Ok(()) => see(&path(&which.0, &which.1)),
        Err(problem) if problem.status().is_server_error() => failed(&problem),
        Err(problem) => {
            let wrong = Some((problem.status(), problem.detail().to_owned()));
            page(&hall, &session, which, None, &Said { wrong, reason }).await
        }
    }
}

/// What a form asks for. `sha256` is that of the archive that its page showed.
struct Asked {
    what: String,
    sha256: String,
    reason: String,
}

async fn done(
    hall: &Hall,
    session: &Session,
    (name, version): &(PackageName, Version),
    Asked { what, sha256, reason }: Asked,
) -> Result<(), Problem> {
    let (now, by, local) = (hall.clock.now(), caller(session), hall.local.clone());
    let (name, version) = (name.clone(), version.clone());
    let known = ["submit", "withdraw", "review", "approve", "reject"].contains(&what.as_str());
    if !known {
        let detail = "the form does not say what to do";
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            ProblemCode::Form,
            "no such form",
            detail,
        ));
    }
    change(hall, move |conn| {
        let which = (&name, &version);
        // A form that does not say what it showed decides on nothing.
        let seen = Seen { name: &name, version: &version, sha256: Some(&sha256) };
        let reviewer = sight(conn, &by)?.reviewer;
        match what.as_str() {
            "submit" => registry::submit(conn, &by, which, now),
            "withdraw" => local.withdraw(conn, (&by, reviewer), which, None, now),
            _ if !reviewer => Err(RegistryError::NotAReviewer),
            "review" => registry::take(conn, &by, which, now),
            "reject" => registry::reject(conn, &by, seen, &reason, now),
            _ => local.signing(conn, None, |conn, signed| {
                registry::approve(conn, &by, seen, signed, now)
            }),
        }
    })
    .await
}
