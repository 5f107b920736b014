//! Users, their connections and their tokens.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{Path, State},
    response::Response,
};
use hyper::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Map;

use super::{BackendApi, DONE, Done};
use crate::{
    clock::Timestamp,
    codes::ErrorCode,
    features::{auth::Idempotent, users::Profile},
    ids::UserId,
    server::{Access, Endpoint, Refusal, Rest},
};

/// Life of a token, in seconds, when the request says nothing, and at most (ten years).
const DEFAULT_LIFE_S: u64 = 3600;
const MAX_LIFE_S: u64 = 315_360_000;
/// Roles of a token, and the bytes of each, at most.
const MAX_ROLES: usize = 32;
const MAX_ROLE_BYTES: usize = 256;

pub(super) fn routes(api: &Arc<BackendApi>) -> Rest {
    let post = |path, summary| Endpoint::post(path, summary).access(Access::Backend);
    let make = post("/api/server/users", "Makes a user (201), or changes name and picture of one (200).")
        .body::<PutUser>()
        .answer::<Profile>()
        .status(StatusCode::CREATED);
    let cut = post("/api/server/disconnect", "Closes the connections of a user, who may come back.")
        .body::<OneUser>()
        .answer::<Disconnected>();
    let cut_named = post("/api/server/users/{id}/disconnect", "Closes the connections of a user, who may come back.")
        .answer::<Disconnected>();
    let sign = post("/api/server/token", "Signs a token for a user (HS256 only).")
        .body::<TokenForUser>()
        .answer::<SignedToken>();
    let sign_named = post("/api/server/users/{id}/token", "Signs a token for a user (HS256 only).")
        .body::<TokenWish>()
        .answer::<SignedToken>();
    let lock_out =
        post("/api/server/users/{id}/block", "Locks a user out and closes the connections.").answer::<Blocked>();
    let let_in = post("/api/server/users/{id}/unblock", "Lets a user in again.").answer::<Blocked>();
    let take_back = post("/api/server/tokens/revoke", "Takes back all tokens of a user made until now, or one token.")
        .body::<Revoke>()
        .answer::<Done>();
    Rest::new()
        .on(make, api, put)
        .on(cut, api, disconnect)
        .on(cut_named, api, disconnect_named)
        .on(sign, api, token)
        .on(sign_named, api, token_named)
        .on(lock_out, api, block)
        .on(let_in, api, unblock)
        .on(take_back, api, revoke)
}

#[derive(Deserialize, JsonSchema)]
struct PutUser {
    #[serde(alias = "userId", alias = "_id")]
    id: UserId,
    /// The display name; an empty one takes it away.
    #[serde(default, alias = "name")]
    username: Option<String>,
    /// The address of a picture; an empty one takes it away.
    #[serde(default)]
    avatar: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct OneUser {
    user_id: UserId,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Disconnected {
    user_id: UserId,
    /// How many sockets were closed.
    disconnected: usize,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct TokenWish {
    /// Its life in seconds, an hour without a wish, ten years at most.
    #[serde(default)]
    expires_in: Option<u64>,
    /// What the token grants beyond being a user.
    #[serde(default)]
    roles: Vec<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct TokenForUser {
    user_id: UserId,
    /// Its life in seconds, an hour without a wish, ten years at most.
    #[serde(default)]
    expires_in: Option<u64>,
    /// What the token grants beyond being a user.
    #[serde(default)]
    roles: Vec<String>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct SignedToken {
    user_id: UserId,
    token: String,
    /// Its `jti`, by which it can be revoked.
    token_id: String,
    expires_at: Timestamp,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Blocked {
    user_id: UserId,
    blocked: bool,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Revoke {
    /// Whose tokens.
    #[serde(default)]
    user_id: Option<UserId>,
    /// Or else which one token: its `jti`.
    #[serde(default, alias = "tokenId")]
    jti: Option<String>,
    /// When that token ends by itself; without it it is remembered for ten years.
    #[serde(default)]
    expires_at: Option<Timestamp>,
}

/// The user in a path.
fn named(id: &str) -> Result<UserId, Refusal> {
    UserId::new(id).map_err(|error| Refusal::invalid("id", &error.to_string()))
}

/// `POST /api/server/users {id, username?, avatar?}`.
async fn put(State(api): State<Arc<BackendApi>>, request: Idempotent) -> Result<Response, Refusal> {
    let user: PutUser = request.body()?;
    request
        .run(async {
            let (profile, is_new) = api.users.put(&user.id, user.username, user.avatar).await?;
            Ok((if is_new { StatusCode::CREATED } else { StatusCode::OK }, profile))
        })
        .await
}

/// `POST /api/server/disconnect {userId}`.
async fn disconnect(State(api): State<Arc<BackendApi>>, request: Idempotent) -> Result<Response, Refusal> {
    let OneUser { user_id } = request.body()?;
    cut(&api, &request, user_id).await
}

/// `POST /api/server/users/{id}/disconnect`.
async fn disconnect_named(
    State(api): State<Arc<BackendApi>>,
    Path(id): Path<String>,
    request: Idempotent,
) -> Result<Response, Refusal> {
    cut(&api, &request, named(&id)?).await
}

async fn cut(api: &BackendApi, request: &Idempotent, user_id: UserId) -> Result<Response, Refusal> {
    let answer = async {
        let disconnected = api.auth.disconnect(&user_id);
        Ok((StatusCode::OK, Disconnected { user_id, disconnected }))
    };
    request.run(answer).await
}

/// `POST /api/server/token {userId, expiresIn?, roles?}`.
async fn token(State(api): State<Arc<BackendApi>>, request: Idempotent) -> Result<Response, Refusal> {
    let TokenForUser { user_id, expires_in, roles } = request.body()?;
    sign(&api, &request, user_id, TokenWish { expires_in, roles }).await
}

/// `POST /api/server/users/{id}/token {expiresIn?, roles?}`.
async fn token_named(
    State(api): State<Arc<BackendApi>>,
    Path(id): Path<String>,
    request: Idempotent,
) -> Result<Response, Refusal> {
    sign(&api, &request, named(&id)?, request.body()?).await
}

async fn sign(api: &BackendApi, request: &Idempotent, user_id: UserId, wish: TokenWish) -> Result<Response, Refusal> {
    let life = wish.expires_in.unwrap_or(DEFAULT_LIFE_S);
    if !(1..=MAX_LIFE_S).contains(&life) {
        return Err(Refusal::invalid("expiresIn", "expected a number of seconds from 1 to 315360000"));
    }
    if wish.roles.len() > MAX_ROLES {
        return Err(Refusal::too_long("roles", MAX_ROLES, "roles"));
    }
    if wish.roles.iter().any(|role| role.is_empty() || role.len() > MAX_ROLE_BYTES) {
        return Err(Refusal::invalid("roles", "expected texts of 1 to 256 bytes"));
    }
    let answer = async {
        if api.auth.is_blocked(&user_id) {
            return Err(Refusal::new(ErrorCode::UserBlocked, "the user is blocked"));
        }
        api.known(&user_id)?;
        let mut claims = Map::new();
        if !wish.roles.is_empty() {
            claims.insert("roles".to_owned(), wish.roles.into());
        }
        let signed = api.auth.sign(&user_id, Duration::from_secs(life), claims)?;
        let token = SignedToken { user_id, token: signed.token, token_id: signed.id, expires_at: signed.expires_at };
        Ok((StatusCode::OK, token))
    };
    request.run_unkept(answer).await
}

/// `POST /api/server/users/{id}/block`.
async fn block(
    State(api): State<Arc<BackendApi>>,
    Path(id): Path<String>,
    request: Idempotent,
) -> Result<Response, Refusal> {
    let user_id = named(&id)?;
    let answer = async {
        api.auth.block(&user_id).await?;
        Ok((StatusCode::OK, Blocked { user_id, blocked: true }))
    };
    request.run(answer).await
}

/// `POST /api/server/users/{id}/unblock`.
async fn unblock(
    State(api): State<Arc<BackendApi>>,
    Path(id): Path<String>,
    request: Idempotent,
) -> Result<Response, Refusal> {
    let user_id = named(&id)?;
    let answer = async {
        api.auth.unblock(&user_id).await?;
        Ok((StatusCode::OK, Blocked { user_id, blocked: false }))
    };
    request.run(answer).await
}

/// `POST /api/server/tokens/revoke {userId}` or `{jti, expiresAt?}`.
async fn revoke(State(api): State<Arc<BackendApi>>, request: Idempotent) -> Result<Response, Refusal> {
    let wish: Revoke = request.body()?;
    let answer = async {
        match (&wish.user_id, &wish.jti) {
            (Some(user), None) => api.auth.revoke_user(user).await?,
            (None, Some(jti)) => api.auth.revoke_token(jti, wish.expires_at).await?,
            (Some(_), Some(_)) | (None, None) => {
                return Err(Refusal::invalid("payload", "expected either userId or jti"));
            }
        }
        Ok((StatusCode::OK, DONE))
    };
    request.run(answer).await
}
