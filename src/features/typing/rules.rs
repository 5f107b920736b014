//! The rules of typing.

use std::{sync::Arc, time::Duration};

use dashmap::{DashMap, Entry};
use tokio_util::sync::CancellationToken;

use super::{
    Config,
    events::{Place, TypingStopped, UserTyping},
};
use crate::{
    clock::{self, Instant},
    codes::ErrorCode,
    features::{
        auth::{SignedIn, SocketListener},
        conversations::{Access, Conversations, Kind},
    },
    ids::{ConversationId, Sid, SocketId, UserId},
    server::{Refusal, Socket},
};

/// Conversations in which one user may be typing at once; with another one, the one without a beat for longest ends.
pub(super) const MAX_PLACES: usize = 20;
/// Sockets of one user that type in the same conversation; with another one, the oldest is forgotten.
const MAX_DEVICES: usize = 8;
/// Users who may be typing at once; others are refused with `unavailable` until some have ended.
const MAX_USERS: usize = 50_000;
/// Longest name of an activity.
const MAX_ACTIVITY_CHARS: usize = 32;
/// What is done unless said otherwise.
const DEFAULT_ACTIVITY: &str = "typing";
/// How often it is looked for what has ended by itself: an end is late by this much at most.
const SWEEP_EVERY: Duration = Duration::from_millis(250);

/// The socket that typing came from, and its session: one tab may type in `/` and stop in `/messages`.
#[derive(Clone, Debug)]
pub(super) struct Device {
    session: Sid,
    socket: SocketId,
}

impl Device {
    pub(super) fn of(socket: &Socket) -> Self {
        Self { session: socket.session().sid().clone(), socket: socket.id().clone() }
    }
}

/// One user's typing in one conversation.
struct Typist {
    conversation: ConversationId,
    kind: Kind,
    activity: Arc<str>,
    devices: Vec<Device>,
    /// When the others were last told.
    told_at: Instant,
    /// When the user last said so.
    beat_at: Instant,
}

/// Who types where.
pub struct Typing {
    conversations: Arc<Conversations>,
    config: Config,
    /// What is told is told while the user's entry is locked, so that an end never overtakes a start.
    typists: DashMap<UserId, Vec<Typist>>,
}

impl Typing {
    /// Nobody types; conversations are those of `conversations`.
    #[must_use]
    pub fn new(conversations: Arc<Conversations>, config: Config) -> Self {
        Self { conversations, config, typists: DashMap::new() }
    }

    /// Notes that `user` types, and tells the others unless they were told of the same a moment ago.
    ///
    /// # Errors
    ///
    /// `not_found` for everybody but members, `invalid_payload` for a bad place or activity, `unavailable` while too many type.
    pub(super) fn start(
        &self,
        user: &UserId,
        device: Device,
        place: &Place,
        activity: Option<&Arc<str>>,
    ) -> Result<(), Refusal> {
        let activity = activity.map_or_else(|| Ok(DEFAULT_ACTIVITY.into()), check_activity)?;
        let (conversation, access) = self.locate(user, place)?;
        let is_full = self.typists.len() >= MAX_USERS;
        let mut typists = match self.typists.entry(user.clone()) {
            Entry::Vacant(_) if is_full => {
                return Err(Refusal::new(ErrorCode::Unavailable, "too many people are typing at the moment"));
            }
            entry => entry.or_default(),
        };
        let now = clock::now();
        if let Some(typist) = typists.iter_mut().find(|typist| typist.conversation == conversation) {
            typist.beat(device, now);
            let is_news = typist.activity != activity || now.duration_since(typist.told_at) >= self.config.heartbeat();
            if is_news {
                typist.activity = activity;
                typist.told_at = now;
                self.tell(user, typist, true);
            }
            return Ok(());
        }
        if typists.len() >= MAX_PLACES {
            let oldest = typists.iter().enumerate().min_by_key(|(_, typist)| typist.beat_at).map(|(index, _)| index);
            if let Some(index) = oldest {
                self.tell(user, &typists.swap_remove(index), false);
            }
        }
        let devices = vec![device];
        let typist = Typist { conversation, kind: access.kind, activity, devices, told_at: now, beat_at: now };
        self.tell(user, &typist, true);
        typists.push(typist);
        Ok(())
    }

    /// One of the user's devices does not type any more; with the last one it ends.
    ///
    /// # Errors
    ///
    /// `not_found` for everybody but members, `invalid_payload` for a bad place.
    pub(super) fn stop(&self, user: &UserId, device: &Device, place: &Place) -> Result<(), Refusal> {
        let (conversation, _) = self.locate(user, place)?;
        self.end_where(user, |typist| {
            if typist.conversation != conversation {
                return false;
            }
            typist.devices.retain(|typing| typing.session != device.session);
            typist.devices.is_empty()
        });
        Ok(())
    }

    /// A message of the user's has arrived in `conversation`: what was being written is there.
    pub fn sent(&self, user: &UserId, conversation: ConversationId) {
        self.end_where(user, |typist| typist.conversation == conversation);
    }

    /// Ends what has not been repeated in time, and what goes on in conversations that the user has left.
    pub(super) fn sweep(&self) {
        let now = clock::now();
        self.typists.retain(|user, typists| {
            typists.retain(|typist| {
                let goes_on = now.duration_since(typist.beat_at) < self.config.expire() && self.is_member(user, typist);
                if !goes_on {
                    self.tell(user, typist, false);
                }
                goes_on
            });
            !typists.is_empty()
        });
    }

    /// Sweeps until told to stop.
    pub async fn run(&self, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(SWEEP_EVERY)).await.is_some() {
            self.sweep();
        }
    }

    /// The times that clients go by.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Which conversation is meant, if it is one of the user's.
    fn locate(&self, user: &UserId, place: &Place) -> Result<(ConversationId, Access), Refusal> {
        let conversation = match (place.conversation_id.or(place.group_id), &place.to) {
            (Some(conversation), _) => conversation,
            (None, Some(to)) => match self.conversations.find_direct(user, to)? {
                Some(conversation) => conversation,
                // The reference app's pages put a group's id where a user's belongs.
                None => to.as_str().parse().map_err(|_| Refusal::not_found("conversation"))?,
            },
            (None, None) => return Err(Refusal::invalid("conversationId", "required")),
        };
        Ok((conversation, self.conversations.access(user, conversation)?))
    }

    /// False for somebody who has left. A store that cannot be read says nothing about it.
    fn is_member(&self, user: &UserId, typist: &Typist) -> bool {
        let access = self.conversations.access(user, typist.conversation);
        !access.is_err_and(|refusal| refusal.code == ErrorCode::NotFound)
    }

    /// Ends the user's typing wherever `ends` says so.
    fn end_where(&self, user: &UserId, mut ends: impl FnMut(&mut Typist) -> bool) {
        let Entry::Occupied(mut typists) = self.typists.entry(user.clone()) else { return };
        typists.get_mut().retain_mut(|typist| {
            let ends = ends(typist);
            if ends {
                self.tell(user, typist, false);
            }
            !ends
        });
        if typists.get().is_empty() {
            typists.remove();
        }
    }

    fn tell(&self, user: &UserId, typist: &Typist, is_typing: bool) {
        let conversation_id = typist.conversation;
        let group_id = match typist.kind {
            Kind::Group => Some(conversation_id),
            Kind::Direct => None,
        };
        let (from, user_id, activity) = (user.clone(), user.clone(), Arc::clone(&typist.activity));
        let event = UserTyping { from, user_id, conversation_id, group_id, is_typing, activity };
        let rooms = self.conversations.rooms();
        rooms.emit_ephemeral(&[conversation_id], user, &event);
        if !is_typing && rooms.sends_twins() {
            let event = TypingStopped { from: user.clone(), conversation_id };
            rooms.emit_ephemeral(&[conversation_id], user, &event);
        }
    }
}

impl Typist {
    fn beat(&mut self, device: Device, now: Instant) {
        self.beat_at = now;
        if self.devices.iter().any(|typing| typing.socket == device.socket) {
            return;
        }
        if self.devices.len() >= MAX_DEVICES {
            self.devices.remove(0);
        }
        self.devices.push(device);
    }
}

impl SocketListener for Typing {
    fn disconnected(&self, socket: &Arc<Socket>, user: &SignedIn, _: &str) {
        self.end_where(&user.user, |typist| {
            let before = typist.devices.len();
            typist.devices.retain(|typing| typing.socket != *socket.id());
            typist.devices.is_empty() && before > 0
        });
    }
}

/// A word that names an activity.
fn check_activity(activity: &Arc<str>) -> Result<Arc<str>, Refusal> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if activity.is_empty() || activity.len() > MAX_ACTIVITY_CHARS || !activity.chars().all(is_word) {
        return Err(Refusal::invalid("activity", "expected a word of up to 32 letters, digits and '-'"));
    }
    Ok(Arc::clone(activity))
}
