//! Who may come in: users that are locked out, tokens that are taken back, keys of the app's backend.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};

use super::{OfUser, Operator};
use crate::{
    clock::Timestamp,
    features::auth::ApiKey,
    ids::UserId,
    server::{Payload, Refusal},
};

/// Whether a user may come in now.
#[derive(Debug, Serialize)]
pub(super) struct Standing {
    user: UserId,
    blocked: bool,
    /// False when nobody with this id was ever here: it may be misspelt.
    known: bool,
}

/// What to take back: all tokens of a user, or one by its `jti`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Revoke {
    #[serde(default)]
    user: Option<UserId>,
    #[serde(default)]
    jti: Option<String>,
    /// When the one token ends by itself.
    #[serde(default)]
    expires_at: Option<Timestamp>,
}

/// What was taken back.
#[derive(Debug, Serialize)]
pub(super) struct Revoked {
    user: Option<UserId>,
    jti: Option<String>,
}

/// The keys of the app's backend.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct KeyList {
    api_keys: Vec<ApiKey>,
}

/// A key to be made.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Create {
    name: String,
}

/// The only time its text is told.
#[derive(Debug, Serialize)]
pub(super) struct Created {
    name: String,
    key: String,
}

/// A key, by its public part.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OfKey {
    id: String,
}

/// `POST /v1/users/block`.
pub(super) async fn block(
    State(operator): State<Operator>,
    Payload(OfUser { user, .. }): Payload<OfUser>,
) -> Result<Json<Standing>, Refusal> {
    let known = operator.features.users.find(&user)?.is_some();
    operator.features.auth.block(&user).await?;
    tracing::info!(%user, "blocked by the operator");
    Ok(Json(Standing { user, blocked: true, known }))
}

/// `POST /v1/users/unblock`.
pub(super) async fn unblock(
    State(operator): State<Operator>,
    Payload(OfUser { user, .. }): Payload<OfUser>,
) -> Result<Json<Standing>, Refusal> {
    let known = operator.features.users.find(&user)?.is_some();
    operator.features.auth.unblock(&user).await?;
    tracing::info!(%user, "unblocked by the operator");
    Ok(Json(Standing { user, blocked: false, known }))
}

/// `POST /v1/tokens/revoke`.
pub(super) async fn revoke(
    State(operator): State<Operator>,
    Payload(revoke): Payload<Revoke>,
) -> Result<Json<Revoked>, Refusal> {
    let auth = &operator.features.auth;
    match (&revoke.user, &revoke.jti) {
        (Some(user), None) => {
            super::users::find(&operator, user)?;
            auth.revoke_user(user).await?;
            tracing::info!(%user, "all tokens revoked by the operator");
        }
        (None, Some(jti)) => {
            auth.revoke_token(jti, revoke.expires_at).await?;
            tracing::info!(jti, "token revoked by the operator");
        }
        (Some(_), Some(_)) | (None, None) => return Err(Refusal::invalid("jti", "expected either this or `user`")),
    }
    Ok(Json(Revoked { user: revoke.user, jti: revoke.jti }))
}

/// `GET /v1/api-keys`.
pub(super) async fn keys(State(operator): State<Operator>) -> Result<Json<KeyList>, Refusal> {
    Ok(Json(KeyList { api_keys: operator.features.auth.api_keys().list()? }))
}

/// `POST /v1/api-keys`.
pub(super) async fn create_key(
    State(operator): State<Operator>,
    Payload(Create { name }): Payload<Create>,
) -> Result<Json<Created>, Refusal> {
    let key = operator.features.auth.api_keys().create(&name).await?;
    tracing::info!(name, "API key made by the operator");
    Ok(Json(Created { name, key }))
}

/// `POST /v1/api-keys/revoke`.
pub(super) async fn revoke_key(
    State(operator): State<Operator>,
    Payload(OfKey { id }): Payload<OfKey>,
) -> Result<Json<OfKey>, Refusal> {
    operator.features.auth.api_keys().revoke(&id).await?;
    tracing::info!(id, "API key revoked by the operator");
    Ok(Json(OfKey { id }))
}
