//! Who calls, by the public `apikey` and a proof of the secret key: a checksum over the request, or a
//! token that was given for the secret.
//!
//! Times are not compared: clients send local time, times encoded twice, or months for minutes. A
//! request that was overheard can so be sent again; what it did, it does once more, and nothing else.

use std::sync::Arc;

use axum::http::Method;
use subtle::ConstantTimeEq;

use crate::hub::accounts::{self, Account};
use crate::hub::hall::{Caller, Hall};
use crate::hub::keys::Scopes;
use crate::hub::problem::Problem;
use crate::hub::settings::MonitisReads;
use crate::hub::store::StoreError;
use crate::model::Secret;

use super::answer::{Answer, Node, Refusal};
use super::form::Form;
use super::{sign, tokens};

const DISABLED: &str = "the account is disabled";

/// What somebody wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// To read results.
    Read,
    /// To change something.
    Change,
}

/// Lets a caller in, or says that it is a stranger.
pub(super) async fn admit(
    hall: &Hall,
    method: &Method,
    form: &Form,
    wish: Wish,
) -> Result<Caller, Refusal> {
    let Account { id: account, secret, disabled } = account(hall, form).await?;
    let caller = Caller { account, scopes: Scopes::ALL, actor: "monitis".to_owned() };
    // Reads of the old clients carry the public key alone.
    let bare = wish == Wish::Read && method == Method::GET;
    if bare && hall.monitis_reads == MonitisReads::ByApiKey {
        // Nothing was shown that would entitle to more words.
        return if disabled { Err(Refusal::stranger(DISABLED)) } else { Ok(caller) };
    }
    let by_token = form.get("validation").is_some_and(|way| way.eq_ignore_ascii_case("token"))
        || (!form.has("checksum") && form.has("authToken"));
    if by_token {
        let Some(token) = form.get("authToken").map(str::to_owned) else {
            return Err(Refusal::stranger("validation=token without authToken"));
        };
        let now = hall.clock.now();
        let good = hall
            .store
            .ask(move |conn| tokens::holds(conn, account, &token, now))
            .await
            .map_err(failed)?;
        return if good { enabled(caller, disabled) } else { Err(Refusal::expired()) };
    }
    if !form.has("checksum") {
        return Err(Refusal::stranger("neither checksum nor authToken"));
    }
    if !sign::is_signed(form, &secret) {
        return Err(Refusal::stranger(
            "the checksum is not that of this request by the secret key",
        ));
    }
    enabled(caller, disabled)
}

/// Tells who has shown to be of the account that it is refused.
fn enabled<T>(admitted: T, disabled: bool) -> Result<T, Refusal> {
    if disabled {
        let problem = Problem::disabled_account();
        return Err(Refusal::failed(problem.status(), problem.detail()));
    }
    Ok(admitted)
}

/// `action=authToken`: a token for the secret key.
pub(super) async fn token(hall: &Hall, form: &Form) -> Result<Answer, Refusal> {
    let Account { id: account, secret, disabled } = account(hall, form).await?;
    let given = form.get("secretkey").unwrap_or_default();
    if !bool::from(secret.expose().as_bytes().ct_eq(given.as_bytes())) {
        return Err(Refusal::stranger("secretkey is not that of apikey"));
    }
    enabled((), disabled)?;
    let now = hall.clock.now();
    let token: Secret =
        hall.store.change(move |conn| tokens::issue(conn, account, now)).await.map_err(failed)?;
    let members = vec![("authToken".into(), Node::text(token.expose()))];
    Ok(Answer::of("result", Node::Object(members)))
}

/// The account that `apikey` names.
async fn account(hall: &Hall, form: &Form) -> Result<Account, Refusal> {
    let Some(api_key) = form.get("apikey").map(str::to_owned) else {
        return Err(Refusal::stranger("apikey is missing"));
    };
    let local = Arc::clone(&hall.local);
    let found = hall
        .store
        .ask(move |conn| accounts::by_api_key(conn, local.master(), &api_key))
        .await
        .map_err(failed)?;
    found.ok_or_else(|| Refusal::stranger("no account has this apikey"))
}

/// The store's failures, in the words of the API.
pub(super) fn failed(error: StoreError) -> Refusal {
    let problem = Problem::from(error);
    Refusal::failed(problem.status(), problem.detail())
}
