//! The events of conversations, and how a conversation looks from outside.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Kind;
use crate::{
    clock::Timestamp,
    features::users::Profile,
    ids::{ConversationId, UserId},
    server::{ClientEvent, ServerEvent, ServerEventDoc},
};

/// What this feature sends.
pub const SERVER_EVENTS: &[ServerEventDoc] =
    &[ServerEventDoc::of::<Joined>(), ServerEventDoc::of::<Left>(), ServerEventDoc::of::<Updated>()];

/// A conversation as its members see it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConversationView {
    /// The same as `id`, where clients of the reference app look for it.
    #[serde(rename = "_id")]
    pub legacy_id: ConversationId,
    /// The id.
    pub id: ConversationId,
    /// Direct or group.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// The name of a group.
    pub name: Option<String>,
    /// All members.
    pub participants: Vec<Profile>,
    /// Those who may add, remove and rename; empty in direct conversations.
    pub admins: Vec<UserId>,
    /// Who made it.
    pub created_by: UserId,
    /// When.
    pub created_at: Timestamp,
    /// The number of the last entry in its log; 0 without any.
    pub head_seq: u64,
    /// When something last happened in it.
    pub last_activity_at: Timestamp,
}

/// Creates a conversation. A direct one is found if the two users have one already. A group has up to 2,000 members.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct CreateConversation {
    /// `direct` or `group`.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// The other members; the creator is one in any case.
    pub participants: Vec<UserId>,
    /// The name of a group, at most 100 characters.
    #[serde(default)]
    pub name: Option<String>,
}

impl ClientEvent for CreateConversation {
    const NAME: &'static str = "conversation:create";
    type Ack = ConversationAck;
}

/// Adds users to a group; for its admins.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AddMembers {
    /// The group.
    #[serde(alias = "groupId")]
    pub conversation_id: ConversationId,
    /// Who joins; members already in it are left as they are.
    #[serde(alias = "memberIds", alias = "participants")]
    pub members: Vec<UserId>,
}

impl ClientEvent for AddMembers {
    const NAME: &'static str = "conversation:add-members";
    type Ack = ConversationAck;
}

/// Removes users from a group; for its admins.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RemoveMembers {
    /// The group.
    #[serde(alias = "groupId")]
    pub conversation_id: ConversationId,
    /// Who has to go.
    #[serde(alias = "memberIds", alias = "participants")]
    pub members: Vec<UserId>,
}

impl ClientEvent for RemoveMembers {
    const NAME: &'static str = "conversation:remove-members";
    type Ack = ConversationAck;
}

/// Leaves a group; for its members. When its last admin leaves, the member who has been in it longest becomes one.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LeaveConversation {
    /// The group.
    #[serde(alias = "groupId")]
    pub conversation_id: ConversationId,
}

impl ClientEvent for LeaveConversation {
    const NAME: &'static str = "conversation:leave";
    type Ack = Empty;
}

/// Renames a group; for its admins.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RenameConversation {
    /// The group.
    #[serde(alias = "groupId")]
    pub conversation_id: ConversationId,
    /// The new name, 1 to 100 characters.
    pub name: String,
}

impl ClientEvent for RenameConversation {
    const NAME: &'static str = "conversation:rename";
    type Ack = ConversationAck;
}

/// Makes sure that this socket is in a conversation's room; for members. Sockets are from the start; old clients ask all the same.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JoinConversation {
    /// The conversation.
    pub conversation_id: ConversationId,
}

impl ClientEvent for JoinConversation {
    const NAME: &'static str = "join-conversation";
    const ALIASES: &'static [&'static str] = &["conversation:join"];
    type Ack = Empty;
}

/// An ack without anything beside `ok`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Empty {}

/// An ack with a conversation.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ConversationAck {
    /// The conversation after the change.
    pub conversation: ConversationView,
}

/// A user is in a conversation from now on; to all sockets of that user.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ConversationJoined")]
pub struct Joined {
    /// The conversation.
    pub conversation: ConversationView,
}

impl ServerEvent for Joined {
    const NAME: &'static str = "conversation:joined";
}

/// A user is no longer in a conversation; to all sockets of that user.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ConversationLeft")]
pub struct Left {
    /// The conversation.
    pub conversation_id: ConversationId,
    /// `left` or `removed`.
    pub reason: &'static str,
}

impl ServerEvent for Left {
    const NAME: &'static str = "conversation:left";
}

/// The name or the members of a conversation have changed; to the other members.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ConversationUpdated")]
pub struct Updated {
    /// The conversation after the change.
    pub conversation: ConversationView,
}

impl ServerEvent for Updated {
    const NAME: &'static str = "conversation:updated";
}
