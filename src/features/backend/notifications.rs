//! Notifications for one user, for many, or for everybody in a conversation.

use std::{collections::BTreeSet, sync::Arc};

use axum::{extract::State, response::Response};
use hyper::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::BackendApi;
use crate::{
    clock::Timestamp,
    features::{
        auth::Idempotent,
        notifications::{Draft, Job, Kind, NotificationView, Priority, Recipients},
    },
    ids::{ConversationId, UserId},
    server::{Access, Endpoint, Refusal, Rest},
};

/// Users of one request. Whom there are more of is told with several, or as the members of a conversation.
const MAX_USERS: usize = 1000;

pub(super) fn routes(api: &Arc<BackendApi>) -> Rest {
    let endpoint = Endpoint::post(
        "/api/server/notifications",
        "Notifies one user, up to 1,000, or the members of a conversation: 201, or 202 when it is told to many.",
    )
    .access(Access::Backend)
    .body::<Notify>()
    .answer::<Notified>()
    .status(StatusCode::CREATED);
    Rest::new().on(endpoint, api, notify)
}

/// What to tell, and one of `userId`, `userIds` and `conversationId`.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Notify {
    /// One user.
    user_id: Option<UserId>,
    /// Up to 1,000 users.
    user_ids: Option<Vec<UserId>>,
    /// Everybody in this conversation.
    #[serde(alias = "topic")]
    conversation_id: Option<ConversationId>,
    /// What it is about.
    #[serde(rename = "type")]
    kind: Kind,
    /// One line, 1 to 200 characters.
    title: String,
    /// The text, up to 500 characters.
    message: Option<String>,
    /// Any JSON, up to 16 KiB.
    #[schemars(with = "Option<serde_json::Value>")]
    data: Option<Box<RawValue>>,
    /// How much it matters; `normal` without a wish.
    priority: Option<Priority>,
    /// What opens when it is chosen: http(s), a relative path or the app's own scheme.
    action_url: Option<String>,
    /// An unread notification with the same key is replaced.
    collapse_key: Option<String>,
    /// When it goes by itself.
    expires_at: Option<Timestamp>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "BackendNotified")]
struct Notified {
    message: &'static str,
    /// How many users are told.
    recipients: usize,
    /// The notification of a single user.
    notification: Option<NotificationView>,
}

impl Notify {
    fn recipients(&self, api: &BackendApi) -> Result<(Recipients, usize), Refusal> {
        let users: BTreeSet<UserId> = match (&self.user_id, &self.user_ids, self.conversation_id) {
            (Some(user), None, None) => BTreeSet::from([user.clone()]),
            (None, Some(users), None) => {
                if users.is_empty() {
                    return Err(Refusal::invalid("userIds", "expected at least one user"));
                }
                if users.len() > MAX_USERS {
                    return Err(Refusal::too_long("userIds", MAX_USERS, "users"));
                }
                users.iter().cloned().collect()
            }
            (None, None, Some(conversation)) => {
                let members = api.conversations.members(conversation)?.len();
                if members == 0 {
                    return Err(Refusal::not_found("conversation"));
                }
                return Ok((Recipients::Members { of: conversation, without: Vec::new() }, members));
            }
            (None, None, None) | (Some(_), _, _) | (None, Some(_), Some(_)) => {
                return Err(Refusal::invalid("userId", "expected one of userId, userIds and conversationId"));
            }
        };
        for user in &users {
            api.known(user).map_err(|refusal| refusal.with("userId", user.as_str()))?;
        }
        let count = users.len();
        Ok((Recipients::Users { users: users.into_iter().collect(), members_of: None }, count))
    }

    fn into_draft(self) -> Draft {
        Draft {
            kind: self.kind,
            title: self.title,
            message: self.message.unwrap_or_default(),
            data: self.data.map(|data| String::from(Box::<str>::from(data))),
            priority: self.priority.unwrap_or_default(),
            action_url: self.action_url,
            collapse_key: self.collapse_key,
            expires_at: self.expires_at,
            about: None,
        }
    }
}

/// `POST /api/server/notifications {userId | userIds | conversationId, type, title, message?, ...}`.
async fn notify(State(api): State<Arc<BackendApi>>, request: Idempotent) -> Result<Response, Refusal> {
    let wish: Notify = request.body()?;
    let answer = async {
        let (recipients, count) = wish.recipients(&api)?;
        let status = if count == 1 { StatusCode::CREATED } else { StatusCode::ACCEPTED };
        let job = Job { recipients, draft: wish.into_draft() };
        // So that users are told once even if the server ends between storing it and keeping the answer.
        let notification = api.notifications.request(job, request.client_key()).await?;
        Ok((status, Notified { message: "ok", recipients: count, notification }))
    };
    request.run(answer).await
}
