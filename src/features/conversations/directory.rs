//! Finding and making conversations, and who may use them.

use std::{
    collections::HashSet,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use dashmap::DashMap;

use super::{
    ConversationView, Joined, Kind, LOG, MembershipChange, MembershipListener, Rooms, rooms,
    store::{
        CONVERSATIONS, ConversationRecord, DIRECT, DirectRecord, MEMBERS, MEMBERSHIPS, MemberRecord, MembershipRecord,
    },
};
use crate::{
    clock::Timestamp,
    codes::ErrorCode,
    features::users::Users,
    ids::{ConversationId, UserId},
    server::{Refusal, Socket},
    storage::{Batch, CommitError, Direction, Store},
};

/// Members of one conversation.
pub(super) const MAX_MEMBERS: usize = 2000;
/// Conversations of one user.
pub(super) const MAX_CONVERSATIONS: usize = 5000;
/// Characters of a group's name.
const MAX_NAME_CHARS: usize = 100;
/// Counters that tell connecting sockets and the cache of membership changes; users share them by hash.
const EPOCHS: usize = 256;

/// Memberships kept in memory; at more, all are forgotten and read again.
const MAX_CACHED: usize = 100_000;

/// What a member of a conversation may rely on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Direct or group.
    pub kind: Kind,
    /// The other one of a direct conversation.
    pub other: Option<UserId>,
}

/// The conversations.
#[derive(Clone)]
pub struct Conversations {
    pub(super) store: Store,
    pub(super) users: Users,
    pub(super) rooms: Rooms,
    listener: Arc<OnceLock<Arc<dyn MembershipListener>>>,
    epochs: Arc<Epochs>,
    /// Memberships that were looked up, each with the epoch of its user before the reading: it counts while that has not changed.
    cached: Arc<DashMap<(UserId, ConversationId), (u64, Access)>>,
}

struct Epochs {
    hasher: RandomState,
    counters: [AtomicU64; EPOCHS],
}

impl Conversations {
    /// Conversations in `store`, whose members are told through `rooms`.
    #[must_use]
    pub fn new(store: Store, users: Users, rooms: Rooms) -> Self {
        let counters = std::array::from_fn(|_| AtomicU64::new(0));
        Self {
            store,
            users,
            rooms,
            listener: Arc::default(),
            epochs: Arc::new(Epochs { hasher: RandomState::new(), counters }),
            cached: Arc::default(),
        }
    }

    /// Who is told of changes of groups from now on. Set once, when the server is put together.
    pub fn set_listener(&self, listener: Arc<dyn MembershipListener>) {
        let already = self.listener.set(listener).is_err();
        debug_assert!(!already, "set once");
    }

    pub(super) fn listener(&self) -> Option<&Arc<dyn MembershipListener>> {
        self.listener.get()
    }

    /// The rooms in which members are reached.
    #[must_use]
    pub fn rooms(&self) -> &Rooms {
        &self.rooms
    }

    /// Looks whether `user` is a member.
    ///
    /// # Errors
    ///
    /// `not_found` for everybody else, whether the conversation exists or not.
    pub fn access(&self, user: &UserId, conversation: ConversationId) -> Result<Access, Refusal> {
        let key = (user.clone(), conversation);
        let epoch = self.epoch(user).load(Ordering::SeqCst);
        if let Some(cached) = self.cached.get(&key)
            && cached.0 == epoch
        {
            return Ok(cached.1.clone());
        }
        let membership = self.store.get(&MEMBERSHIPS, &key)?;
        let membership = membership.ok_or_else(|| Refusal::not_found("conversation"))?;
        let access = Access { kind: membership.kind, other: membership.other };
        if self.cached.len() >= MAX_CACHED {
            self.cached.clear();
        }
        self.cached.insert(key, (epoch, access.clone()));
        Ok(access)
    }

    /// True when `user` is an admin of a group.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub fn is_admin(&self, user: &UserId, conversation: ConversationId) -> Result<bool, Refusal> {
        let member = self.store.get(&MEMBERS, &(conversation, user.clone()))?;
        Ok(member.is_some_and(|member| member.admin))
    }

    /// Who is in a conversation, in no order; nobody in one that does not exist.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub fn members(&self, conversation: ConversationId) -> Result<Vec<UserId>, Refusal> {
        let rows = self.store.scan_prefix(&MEMBERS, &conversation, MAX_MEMBERS, Direction::Forward)?;
        Ok(rows.into_iter().map(|((_, user), _)| user).collect())
    }

    /// The ids of the user's conversations, in no order.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub fn of_user(&self, user: &UserId) -> Result<Vec<ConversationId>, Refusal> {
        let rows = self.store.scan_prefix(&MEMBERSHIPS, user, MAX_CONVERSATIONS, Direction::Forward)?;
        Ok(rows.into_iter().map(|((_, conversation), _)| conversation).collect())
    }

    /// The direct conversation of two users, if there is one.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub fn find_direct(&self, user: &UserId, other: &UserId) -> Result<Option<ConversationId>, Refusal> {
        let pair = if user < other { (user.clone(), other.clone()) } else { (other.clone(), user.clone()) };
        Ok(self.store.get(&DIRECT, &pair)?.map(|known| known.conversation))
    }

    /// The conversation between `user` and `other`, made if there is none; `true` when it was made.
    ///
    /// # Errors
    ///
    /// `invalid_payload` for a conversation with oneself; `not_found` for an unknown user when none may be made.
    pub async fn direct(&self, user: &UserId, other: &UserId) -> Result<(ConversationId, bool), Refusal> {
        if user == other {
            return Err(Refusal::invalid("participants", "expected somebody else"));
        }
        let pair = if user < other { (user.clone(), other.clone()) } else { (other.clone(), user.clone()) };
        if let Some(known) = self.store.get(&DIRECT, &pair)? {
            return Ok((known.conversation, false));
        }
        let id = ConversationId::fresh();
        let mut batch = Batch::new();
        batch.require_absent(&DIRECT, &pair);
        batch.put(&DIRECT, &pair, &DirectRecord { conversation: id });
        self.users.ensure(&mut batch, std::slice::from_ref(other))?;
        self.check_room_for_more(&[user.clone(), other.clone()])?;
        draft(&mut batch, id, (Kind::Direct, None), user, 2);
        for (member, other) in [(user, other), (other, user)] {
            draft_member(
                &mut batch,
                id,
                member,
                &MembershipRecord { kind: Kind::Direct, other: Some(other.clone()) },
                false,
            );
        }
        let members = [user.clone(), other.clone()];
        match self.create(batch, id, members.to_vec()).await {
            // Both sides wrote to each other at the same moment: the other one's conversation is the one.
            Err(CommitError::Conflict) => {
                let known = self.store.get(&DIRECT, &pair)?;
                known.map(|known| (known.conversation, false)).ok_or_else(|| CommitError::Conflict.into())
            }
            Err(error) => Err(error.into()),
            Ok(()) => Ok((id, true)),
        }
    }

    /// Makes a group of `user`, who becomes its admin, and `members`.
    ///
    /// # Errors
    ///
    /// `too_long` for too many members or a long name; `not_found` for an unknown user when none may be made.
    pub async fn create_group(
        &self,
        user: &UserId,
        members: &[UserId],
        name: Option<String>,
    ) -> Result<ConversationId, Refusal> {
        let name = name.map(|name| check_name(&name)).transpose()?;
        let mut everybody = vec![user.clone()];
        everybody.extend(members.iter().cloned());
        everybody.sort_unstable();
        everybody.dedup();
        if everybody.len() > MAX_MEMBERS {
            return Err(Refusal::too_long("participants", MAX_MEMBERS, "members"));
        }
        self.check_room_for_more(&everybody)?;
        let id = ConversationId::fresh();
        let mut batch = Batch::new();
        self.users.ensure(&mut batch, &everybody)?;
        if let Some(listener) = self.listener() {
            let added: Vec<UserId> = everybody.iter().filter(|member| *member != user).cloned().collect();
            let (by, name) = (self.users.profile(user)?, name.as_deref());
            let change =
                MembershipChange { conversation: id, name, by: &by, added: &added, removed: &[], renamed: false };
            listener.ordered(&mut batch, &change);
        }
        draft(&mut batch, id, (Kind::Group, name), user, everybody.len());
        for member in &everybody {
            draft_member(&mut batch, id, member, &MembershipRecord { kind: Kind::Group, other: None }, member == user);
        }
        self.create(batch, id, everybody).await?;
        Ok(id)
    }

    /// The conversation as its members see it.
    ///
    /// # Errors
    ///
    /// `not_found` when it does not exist. Whether the asking user is a member is for the caller to know.
    pub fn view(&self, id: ConversationId) -> Result<ConversationView, Refusal> {
        let reader = self.store.read()?;
        let record = reader.get(&CONVERSATIONS, &id)?.ok_or_else(|| Refusal::not_found("conversation"))?;
        let members = reader.scan_prefix(&MEMBERS, &id, MAX_MEMBERS, Direction::Forward)?;
        let last = reader.scan_log_back(&LOG, &id, None, 1)?;
        drop(reader);
        let profiles = self.users.profiles(members.iter().map(|((_, user), _)| user))?;
        let last = last.first();
        Ok(ConversationView {
            legacy_id: id,
            id,
            kind: record.kind,
            name: record.name,
            participants: members.iter().filter_map(|((_, user), _)| profiles.get(user).cloned()).collect(),
            admins: members.iter().filter(|(_, member)| member.admin).map(|((_, user), _)| user.clone()).collect(),
            created_by: record.created_by,
            created_at: record.created_at,
            head_seq: last.map_or(0, |(seq, _)| *seq),
            last_activity_at: last.map_or(record.created_at, |(_, change)| change.at),
        })
    }

    /// The user's conversations, the one with the latest activity first: `limit` of them after skipping `skip`.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub fn list(&self, user: &UserId, skip: usize, limit: usize) -> Result<Vec<ConversationView>, Refusal> {
        let mut by_activity = Vec::new();
        for id in self.of_user(user)? {
            let last = self.store.scan_log_back(&LOG, &id, None, 1)?;
            by_activity.push((last.first().map_or(id.created_at(), |(_, change)| change.at), id));
        }
        by_activity.sort_unstable_by(|a, b| b.cmp(a));
        by_activity.into_iter().skip(skip).take(limit).map(|(_, id)| self.view(id)).collect()
    }

    /// How far the log of each of the user's conversations goes.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub fn heads(&self, user: &UserId) -> Result<Vec<(ConversationId, u64)>, Refusal> {
        let conversations = self.of_user(user)?;
        let reader = self.store.read()?;
        conversations.into_iter().map(|id| Ok((id, reader.head(&LOG, &id)?))).collect()
    }

    /// Puts a socket that is connecting into the rooms of its user and of his conversations. `hold_back` picks those that have a
    /// backlog: their changes are held back from the socket until it has been told and they are released by `go_live`. Returns them.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub fn join_rooms(
        &self,
        socket: &Arc<Socket>,
        user: &UserId,
        mut hold_back: impl FnMut(&[ConversationId]) -> Result<HashSet<ConversationId>, Refusal>,
    ) -> Result<HashSet<ConversationId>, Refusal> {
        // Nothing of a log reaches the socket before it is known where its backlogs end.
        socket.hold_all();
        // In the user's room first: from here on, membership changes move this socket like all the others.
        rooms::join_user(socket, user);
        let mut joined: Vec<ConversationId> = Vec::new();
        let held = loop {
            let epoch = self.epoch(user).load(Ordering::SeqCst);
            let conversations = self.of_user(user)?;
            let left: Vec<_> = joined.iter().copied().filter(|id| !conversations.contains(id)).collect();
            rooms::leave_conversations(socket, &left);
            rooms::join_conversations(socket, &conversations);
            // Read once the socket is in the room: what is not in the log by now comes live, or is noted as held back.
            let held = hold_back(&conversations)?;
            // A change that was committed after the reading and carried out before the joining would be undone by it.
            if self.epoch(user).load(Ordering::SeqCst) == epoch {
                break held;
            }
            joined = conversations;
        };
        let held = held.iter().map(|id| *id.as_bytes()).collect();
        Ok(socket.hold(held).into_iter().map(ConversationId::from_bytes).collect())
    }

    /// Puts a socket that takes no chat events into the room of its user alone.
    pub fn join_user_room(&self, socket: &Arc<Socket>, user: &UserId) {
        rooms::join_user(socket, user);
    }

    /// Carries out on live sockets what has been committed. Called in commit order.
    pub(super) fn move_in(&self, conversation: ConversationId, members: &[UserId]) {
        for member in members {
            self.epoch(member).fetch_add(1, Ordering::SeqCst);
            self.rooms.add(member, conversation);
        }
    }

    /// Tells users who have become members. Every node tells its own sockets.
    pub(super) fn tell_joined(&self, members: &[UserId], joined: &Joined) {
        let rooms = self.rooms.here();
        for member in members {
            rooms.emit_to_user(member, joined);
        }
    }

    /// The opposite of [`Conversations::move_in`].
    pub(super) fn move_out(&self, conversation: ConversationId, members: &[UserId]) {
        for member in members {
            self.epoch(member).fetch_add(1, Ordering::SeqCst);
            self.rooms.remove(member, conversation);
        }
    }

    /// Refuses when one of `users` is in so many conversations that another is too much.
    pub(super) fn check_room_for_more(&self, users: &[UserId]) -> Result<(), Refusal> {
        for user in users {
            let count = self.store.scan_prefix(&MEMBERSHIPS, user, MAX_CONVERSATIONS, Direction::Forward)?.len();
            if count >= MAX_CONVERSATIONS {
                return Err(Refusal::too_long("participants", MAX_CONVERSATIONS, "conversations per user")
                    .with("userId", user.as_str()));
            }
        }
        Ok(())
    }

    async fn create(&self, batch: Batch, id: ConversationId, members: Vec<UserId>) -> Result<(), CommitError> {
        let this = self.clone();
        let created = self.store.commit_then(batch, move |_| {
            this.move_in(id, &members);
            match this.view(id) {
                Ok(conversation) => this.tell_joined(&members, &Joined { conversation }),
                Err(error) => tracing::error!(%error, conversation = %id, "members were not told"),
            }
            if let Some(listener) = this.listener() {
                listener.committed();
            }
        });
        created.await
    }

    fn epoch(&self, user: &UserId) -> &AtomicU64 {
        #[expect(clippy::cast_possible_truncation, reason = "any bits of the hash will do")]
        let index = self.epochs.hasher.hash_one(user) as usize % EPOCHS;
        #[expect(clippy::indexing_slicing, reason = "the index was taken modulo the length")]
        &self.epochs.counters[index]
    }
}

/// Adds a new conversation to `batch`.
fn draft(batch: &mut Batch, id: ConversationId, (kind, name): (Kind, Option<String>), user: &UserId, members: usize) {
    let created_at = Timestamp::now();
    let record = ConversationRecord { kind, name, created_by: user.clone(), created_at, revision: 1, members };
    batch.put(&CONVERSATIONS, &id, &record);
}

/// Adds a new member to `batch`, in both directions.
pub(super) fn draft_member(
    batch: &mut Batch,
    id: ConversationId,
    user: &UserId,
    membership: &MembershipRecord,
    admin: bool,
) {
    batch.put(&MEMBERS, &(id, user.clone()), &MemberRecord { admin, joined_at: Timestamp::now() });
    batch.put(&MEMBERSHIPS, &(user.clone(), id), membership);
}

/// A name without surrounding blanks, 1 to 100 characters.
pub(super) fn check_name(name: &str) -> Result<String, Refusal> {
    let name = name.trim();
    if name.is_empty() {
        return Err(Refusal::invalid("name", "expected 1 to 100 characters"));
    }
    if name.chars().count() > MAX_NAME_CHARS {
        return Err(Refusal::too_long("name", MAX_NAME_CHARS, "characters"));
    }
    Ok(name.to_owned())
}

/// Only groups have members who come and go, and a name.
pub(super) fn not_a_group() -> Refusal {
    Refusal::new(ErrorCode::Forbidden, "a direct conversation cannot be changed")
}
