//! What members of a group are told when it changes.

use serde_json::json;

use super::{Draft, Job, Kind, Notifications, Recipients};
use crate::{
    features::conversations::{MembershipChange, MembershipListener},
    ids::UserId,
    storage::Batch,
};

/// The title where a group has no name.
const NAMELESS: &str = "Group";

impl MembershipListener for Notifications {
    fn ordered(&self, batch: &mut Batch, change: &MembershipChange<'_>) {
        let title = change.name.unwrap_or(NAMELESS);
        let by = change.by.username.as_str();
        let data = json!({
            "conversationId": change.conversation,
            "groupId": change.conversation,
            "fromUserId": change.by.id,
        });
        let (membership, name) = (format!("member:{}", change.conversation), format!("name:{}", change.conversation));
        let mut order = |recipients, kind, message: &str, key| {
            let draft = Draft::new(kind, title, message).with_data(&data).collapsing(key);
            self.order(batch, &Job { recipients, draft });
        };
        let others = |users: &[UserId]| users.iter().filter(|user| **user != change.by.id).cloned().collect::<Vec<_>>();
        let (added, removed) = (others(change.added), others(change.removed));
        if !added.is_empty() {
            // Who is out again by then needs no invitation.
            let recipients = Recipients::Users { users: added, members_of: Some(change.conversation) };
            order(recipients, Kind::GroupInvite, &format!("{by} added you to the group"), membership.clone());
        }
        if !removed.is_empty() {
            let recipients = Recipients::Users { users: removed, members_of: None };
            order(recipients, Kind::GroupUpdate, &format!("{by} removed you from the group"), membership);
        }
        if change.renamed {
            let recipients = Recipients::Members { of: change.conversation, without: vec![change.by.id.clone()] };
            order(recipients, Kind::GroupUpdate, &format!("{by} renamed the group"), name);
        }
    }

    fn committed(&self) {
        self.wake();
    }
}
