//! Messages in the name of a user.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use hyper::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::BackendApi;
use crate::{
    codes::ErrorCode,
    features::{
        auth::{Idempotent, SignedIn},
        messages::{Draft, Sent},
        users::Claimed,
    },
    ids::{MessageId, UserId},
    server::{Access, Endpoint, Refusal, Rest},
};

pub(super) fn routes(api: &Arc<BackendApi>) -> Rest {
    let endpoint = Endpoint::post(
        "/api/server/messages",
        "Sends a message as this user: 201, or 200 for a repeat of the same client key.",
    )
    .access(Access::Backend)
    .body::<SendAs>()
    .answer::<SentAs>()
    .status(StatusCode::CREATED);
    Rest::new().on(endpoint, api, send)
}

/// A message and who sends it. Read in two parts: `data` is handed on unread, which a flattened struct cannot do.
#[derive(JsonSchema)]
struct SendAs {
    #[expect(dead_code, reason = "for the documentation")]
    from: UserId,
    #[expect(dead_code, reason = "for the documentation")]
    #[serde(flatten)]
    message: Draft,
}

#[derive(Deserialize)]
struct Sender {
    #[serde(alias = "senderId")]
    from: UserId,
}

#[derive(Serialize, JsonSchema)]
struct SentAs {
    id: MessageId,
    seq: u64,
    /// The message, as in `message:new`.
    #[schemars(with = "serde_json::Value")]
    message: Box<RawValue>,
    /// Whether the client key had been used for it before.
    duplicate: bool,
}

/// `POST /api/server/messages {from, conversationId | to, content, ...}`.
async fn send(State(api): State<Arc<BackendApi>>, request: Idempotent) -> Result<Response, Refusal> {
    let Sender { from } = request.body()?;
    let mut draft: Draft = request.body()?;
    // So that a message is sent once even if the server ends between storing it and keeping the answer.
    draft.client_id = draft.client_id.or_else(|| request.client_key());
    let answer = async {
        if api.auth.is_blocked(&from) {
            return Err(Refusal::new(ErrorCode::UserBlocked, "the user is blocked"));
        }
        api.known(&from)?;
        let profile = api.users.sign_in(&from, Claimed::default()).await?;
        let sender = SignedIn::without_token(from, profile);
        let Sent { id, seq, message, duplicate } = api.messages.send(&sender, draft, false).await?;
        let status = if duplicate { StatusCode::OK } else { StatusCode::CREATED };
        Ok((status, SentAs { id, seq, message, duplicate }))
    };
    request.run(answer).await
}
