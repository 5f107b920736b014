//! Telling users something.

use axum::{Json, extract::State};
use serde::Deserialize;

use super::{Operator, users};
use crate::{
    clock::Timestamp,
    features::notifications::{Draft, Kind, NotificationView, Priority},
    ids::UserId,
    server::{Payload, Refusal},
};

/// A notification for one user.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Send {
    user: UserId,
    #[serde(rename = "type", default = "system")]
    kind: Kind,
    title: String,
    message: String,
    #[serde(default)]
    priority: Priority,
    #[serde(default)]
    data: Option<serde_json::Value>,
    #[serde(default)]
    action_url: Option<String>,
    #[serde(default)]
    collapse_key: Option<String>,
    #[serde(default)]
    expires_at: Option<Timestamp>,
}

const fn system() -> Kind {
    Kind::System
}

/// `POST /v1/notifications`.
pub(super) async fn send(
    State(operator): State<Operator>,
    Payload(send): Payload<Send>,
) -> Result<Json<NotificationView>, Refusal> {
    users::find(&operator, &send.user)?;
    let draft = Draft {
        kind: send.kind,
        title: send.title,
        message: send.message,
        data: send.data.map(|data| data.to_string()),
        priority: send.priority,
        action_url: send.action_url,
        collapse_key: send.collapse_key,
        expires_at: send.expires_at,
        about: None,
    };
    let notification = operator.features.notifications.put(&send.user, draft).await?;
    tracing::info!(user = %send.user, id = %notification.id, "notification sent by the operator");
    Ok(Json(notification))
}
