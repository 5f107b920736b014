//! Changing a group: its members and its name.

use super::{
    Conversations, Joined, Kind, LOG, Left, MembershipChange, Updated,
    cursors::{CURSORS, CursorRecord},
    directory::{MAX_MEMBERS, check_name, draft_member, not_a_group},
    store::{CONVERSATIONS, ConversationRecord, MEMBERS, MEMBERSHIPS, MemberRecord, MembershipRecord},
};
use crate::{
    codes::ErrorCode,
    ids::{ConversationId, UserId},
    server::Refusal,
    storage::{Batch, CommitError, Direction, Versioned},
};

/// How often a change is tried again because somebody else changed the group at the same moment.
const ATTEMPTS: usize = 8;

/// A group as it is now.
struct Group {
    record: Versioned<ConversationRecord>,
    members: Vec<(UserId, MemberRecord)>,
}

/// What is to change. Nothing of it happens when it is empty.
#[derive(Default)]
struct Change {
    added: Vec<UserId>,
    removed: Vec<UserId>,
    promoted: Option<UserId>,
    name: Option<String>,
    reason: &'static str,
}

impl Group {
    fn has(&self, user: &UserId) -> bool {
        self.members.iter().any(|(member, _)| member == user)
    }

    fn require_admin(&self, user: &UserId) -> Result<(), Refusal> {
        let admin = self.members.iter().any(|(member, record)| member == user && record.admin);
        if admin { Ok(()) } else { Err(Refusal::new(ErrorCode::Forbidden, "only an admin of the group may do this")) }
    }

    /// Who becomes admin when `leaving` go: the one who has been there longest, if no admin stays.
    fn successor(&self, leaving: &[UserId]) -> Option<UserId> {
        let staying = || self.members.iter().filter(|(member, _)| !leaving.contains(member));
        if staying().any(|(_, record)| record.admin) {
            return None;
        }
        staying().min_by_key(|(_, record)| record.joined_at).map(|(member, _)| member.clone())
    }
}

impl Conversations {
    /// Adds users to a group; those in it already stay as they are.
    ///
    /// # Errors
    ///
    /// `not_found` for everybody but members, `forbidden` for everybody but admins, `too_long` for too many.
    pub async fn add_members(&self, user: &UserId, id: ConversationId, members: &[UserId]) -> Result<(), Refusal> {
        self.check_room_for_more(members)?;
        self.change(user, id, |group| {
            group.require_admin(user)?;
            let mut added: Vec<UserId> = members.iter().filter(|member| !group.has(member)).cloned().collect();
            added.sort_unstable();
            added.dedup();
            if group.members.len() + added.len() > MAX_MEMBERS {
                return Err(Refusal::too_long("members", MAX_MEMBERS, "members"));
            }
            Ok(Change { added, ..Change::default() })
        })
        .await
    }

    /// Removes users from a group; those not in it are passed over.
    ///
    /// # Errors
    ///
    /// `not_found` for everybody but members, `forbidden` for everybody but admins, `too_long` for more than a group can have.
    pub async fn remove_members(&self, user: &UserId, id: ConversationId, members: &[UserId]) -> Result<(), Refusal> {
        if members.len() > MAX_MEMBERS {
            return Err(Refusal::too_long("members", MAX_MEMBERS, "members"));
        }
        self.change(user, id, |group| {
            group.require_admin(user)?;
            let removed: Vec<UserId> = group
                .members
                .iter()
                .map(|(member, _)| member)
                .filter(|member| members.contains(member))
                .cloned()
                .collect();
            let promoted = group.successor(&removed);
            Ok(Change { removed, promoted, reason: "removed", ..Change::default() })
        })
        .await
    }

    /// Leaves a group.
    ///
    /// # Errors
    ///
    /// `not_found` for everybody but members.
    pub async fn leave(&self, user: &UserId, id: ConversationId) -> Result<(), Refusal> {
        self.change(user, id, |group| {
            let removed = vec![user.clone()];
            let promoted = group.successor(&removed);
            Ok(Change { removed, promoted, reason: "left", ..Change::default() })
        })
        .await
    }

    /// Renames a group.
    ///
    /// # Errors
    ///
    /// `not_found` for everybody but members, `forbidden` for everybody but admins, `invalid_payload` or `too_long` for the name.
    pub async fn rename(&self, user: &UserId, id: ConversationId, name: String) -> Result<(), Refusal> {
        let name = check_name(&name)?;
        self.change(user, id, |group| {
            group.require_admin(user)?;
            Ok(Change { name: Some(name.clone()), ..Change::default() })
        })
        .await
    }

    /// Reads the group, decides, commits, and tries again when somebody else was faster.
    async fn change(
        &self,
        user: &UserId,
        id: ConversationId,
        decide: impl Fn(&Group) -> Result<Change, Refusal>,
    ) -> Result<(), Refusal> {
        for _ in 0..ATTEMPTS {
            let group = self.group(user, id)?;
            let change = decide(&group)?;
            if change.added.is_empty() && change.removed.is_empty() && change.name.is_none() {
                return Ok(());
            }
            match self.apply(user, id, &group, change)?.await {
                Ok(()) => return Ok(()),
                Err(CommitError::Conflict) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(CommitError::Conflict.into())
    }

    fn group(&self, user: &UserId, id: ConversationId) -> Result<Group, Refusal> {
        let reader = self.store.read()?;
        let record = reader.get_versioned(&CONVERSATIONS, &id)?;
        let record = record.ok_or_else(|| Refusal::not_found("conversation"))?;
        let members = reader.scan_prefix(&MEMBERS, &id, MAX_MEMBERS, Direction::Forward)?;
        let members = members.into_iter().map(|((_, member), record)| (member, record)).collect();
        let group = Group { record, members };
        if !group.has(user) {
            return Err(Refusal::not_found("conversation"));
        }
        match group.record.value.kind {
            Kind::Group => Ok(group),
            Kind::Direct => Err(not_a_group()),
        }
    }

    fn apply(
        &self,
        user: &UserId,
        id: ConversationId,
        group: &Group,
        change: Change,
    ) -> Result<impl Future<Output = Result<(), CommitError>> + Send + 'static + use<>, Refusal> {
        let mut batch = Batch::new();
        batch.require_unchanged(&CONVERSATIONS, &id, &group.record);
        let mut record = group.record.value.clone();
        record.revision = record.revision.wrapping_add(1);
        record.name = change.name.clone().or(record.name);
        record.members = (group.members.len() + change.added.len()).saturating_sub(change.removed.len());
        batch.put(&CONVERSATIONS, &id, &record);
        self.users.ensure(&mut batch, &change.added)?;
        let cursor = CursorRecord::at(if change.added.is_empty() { 0 } else { self.store.head(&LOG, &id)? });
        for member in &change.added {
            batch.put(&CURSORS, &(id, member.clone()), &cursor);
            draft_member(&mut batch, id, member, &MembershipRecord { kind: Kind::Group, other: None }, false);
        }
        for member in &change.removed {
            batch.delete(&MEMBERS, &(id, member.clone()));
            batch.delete(&MEMBERSHIPS, &(member.clone(), id));
            batch.delete(&CURSORS, &(id, member.clone()));
        }
        if let Some((member, record)) =
            group.members.iter().find(|(member, _)| Some(member) == change.promoted.as_ref())
        {
            let promoted = MemberRecord { admin: true, joined_at: record.joined_at };
            batch.put(&MEMBERS, &(id, member.clone()), &promoted);
        }
        if let Some(listener) = self.listener() {
            let change = MembershipChange {
                conversation: id,
                name: record.name.as_deref(),
                by: &self.users.profile(user)?,
                added: &change.added,
                removed: &change.removed,
                renamed: change.name.is_some() && record.name != group.record.value.name,
            };
            listener.ordered(&mut batch, &change);
        }
        let this = self.clone();
        Ok(self.store.commit_then(batch, move |_| this.announce(id, &change)))
    }

    /// Moves live sockets and tells everybody concerned. Runs in commit order, so that a message stored after the change finds
    /// its receivers in place.
    fn announce(&self, id: ConversationId, change: &Change) {
        self.move_out(id, &change.removed);
        for member in &change.removed {
            self.rooms.emit_to_user(member, &Left { conversation_id: id, reason: change.reason });
        }
        let conversation = match self.view(id) {
            Ok(conversation) => conversation,
            Err(error) => return tracing::error!(%error, conversation = %id, "members were not told of a change"),
        };
        self.rooms.emit_to_conversation(id, &Updated { conversation: conversation.clone() });
        self.move_in(id, &change.added);
        self.tell_joined(&change.added, &Joined { conversation });
        if let Some(listener) = self.listener() {
            listener.committed();
        }
    }
}
