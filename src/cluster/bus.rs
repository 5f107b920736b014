//! Broadcasts between the nodes, and with Socket.IO servers on Node and emitters.
//!
//! What goes out waits in a queue that never blocks anybody: when it is full, or Redis is away, messages are dropped and counted.
//! What comes in is delivered where it is read.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError, RwLock, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Adapter, Change, Group, LocalSockets, Published,
    redis::Redis,
    subscriber::Subscriptions,
    wire::{self, Address, Broadcast, Outgoing, RequestKind},
};
use crate::ids::SocketId;

/// Most messages that wait to be sent.
const MAX_QUEUED: usize = 8192;
/// Most bytes of them.
const MAX_QUEUED_BYTES: usize = 64 * 1024 * 1024;
/// Most messages that are sent at a time.
const MAX_SENT_TOGETHER: usize = 256;
/// Most questions of other servers to clients of this node that are under way; more are not answered.
const MAX_ASKED: usize = 64;

/// The way to the other nodes and back.
pub struct Bus {
    key: String,
    uid: String,
    redis: Arc<Redis>,
    namespaces: RwLock<HashMap<Arc<str>, Weak<dyn LocalSockets>>>,
    wanted: watch::Sender<Subscriptions>,
    queue: mpsc::Sender<Item>,
    queued_bytes: AtomicUsize,
    waiting: Mutex<Option<mpsc::Receiver<Item>>>,
    counters: Counters,
    pub(super) asked: Arc<Semaphore>,
    pub(super) tracker: TaskTracker,
    pub(super) stop: CancellationToken,
}

/// What has gone through the bus so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages sent.
    pub sent: u64,
    /// Messages not sent because too many waited.
    pub dropped_full: u64,
    /// Messages not sent because Redis was away or refused them.
    pub dropped_away: u64,
    /// Messages of other servers carried out.
    pub received: u64,
    /// Messages that were none of this protocol, or too large.
    pub malformed: u64,
}

#[derive(Default)]
struct Counters {
    sent: AtomicU64,
    dropped_full: AtomicU64,
    dropped_away: AtomicU64,
    received: AtomicU64,
    malformed: AtomicU64,
}

/// Something that waits to be sent. It is encoded by whoever sends it.
enum Item {
    Broadcast {
        namespace: Arc<str>,
        event: String,
        args: Vec<String>,
        attachments: Vec<Bytes>,
        to: Address,
        volatile: bool,
        from_log: bool,
    },
    Request {
        namespace: Arc<str>,
        kind: RequestKind,
    },
    Answer {
        namespace: Arc<str>,
        message: Vec<u8>,
    },
}

impl Bus {
    /// The subscriptions begin with `channel`, whose messages are somebody else's.
    pub(super) fn new(
        key: &str,
        channel: &str,
        redis: Arc<Redis>,
        (tracker, stop): (TaskTracker, CancellationToken),
    ) -> Self {
        let (queue, waiting) = mpsc::channel(MAX_QUEUED);
        Self {
            key: key.to_owned(),
            uid: SocketId::fresh().as_str().to_owned(),
            redis,
            namespaces: RwLock::default(),
            wanted: watch::Sender::new(Subscriptions { channels: vec![channel.to_owned()], patterns: Vec::new() }),
            queue,
            queued_bytes: AtomicUsize::new(0),
            waiting: Mutex::new(Some(waiting)),
            counters: Counters::default(),
            asked: Arc::new(Semaphore::new(MAX_ASKED)),
            tracker,
            stop,
        }
    }

    /// What has gone through so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let Counters { sent, dropped_full, dropped_away, received, malformed } = &self.counters;
        let [sent, dropped_full, dropped_away, received, malformed] =
            [sent, dropped_full, dropped_away, received, malformed].map(|counter| counter.load(Ordering::Relaxed));
        Counts { sent, dropped_full, dropped_away, received, malformed }
    }

    /// What has to be listened to, and how that becomes more.
    pub(super) fn subscriptions(&self) -> watch::Receiver<Subscriptions> {
        self.wanted.subscribe()
    }

    fn request_channel(&self, namespace: &str) -> String {
        format!("{}-request#{namespace}#", self.key)
    }

    /// Sends what waits, until `stop`. Once.
    pub(super) async fn run(&self, stop: CancellationToken) {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut waiting) = waiting else { return };
        let send = async {
            let mut items = Vec::with_capacity(MAX_SENT_TOGETHER);
            while waiting.recv_many(&mut items, MAX_SENT_TOGETHER).await > 0 {
                self.send(&mut items).await;
            }
        };
        stop.run_until_cancelled(send).await;
    }

    async fn send(&self, items: &mut Vec<Item>) {
        let mut commands = redis::pipe();
        for item in items.drain(..) {
            self.queued_bytes.fetch_sub(item.bytes(), Ordering::Relaxed);
            match self.encode(item) {
                Ok((channel, message)) => {
                    commands.cmd("PUBLISH").arg(channel).arg(message).ignore();
                }
                Err(error) => tracing::error!(%error, "an event could not be written for other nodes"),
            }
        }
        let messages = u64::try_from(commands.len()).unwrap_or_default();
        if messages == 0 {
            return;
        }
        let counter = match self.redis.query_all::<()>(&commands).await {
            Ok(()) => &self.counters.sent,
            Err(error) => {
                tracing::debug!(%error, messages, "messages to other nodes were lost");
                &self.counters.dropped_away
            }
        };
        counter.fetch_add(messages, Ordering::Relaxed);
    }

    fn encode(&self, item: Item) -> Result<(String, Vec<u8>), serde_json::Error> {
        let key = &self.key;
        Ok(match item {
            Item::Broadcast { namespace, event, args, attachments, to, volatile, from_log } => {
                let outgoing = Outgoing {
                    namespace: &namespace,
                    event: &event,
                    args: &args,
                    attachments: &attachments,
                    to: &to,
                    volatile,
                    from_log,
                };
                let channel = match &*to.rooms {
                    [room] => format!("{key}#{namespace}#{room}#"),
                    _ => format!("{key}#{namespace}#"),
                };
                (channel, wire::encode_broadcast(&self.uid, &outgoing)?)
            }
            Item::Request { namespace, kind } => {
                (self.request_channel(&namespace), wire::encode_request(&self.uid, &kind).into_bytes())
            }
            Item::Answer { namespace, message } => (format!("{key}-response#{namespace}#"), message),
        })
    }

    /// Answers another server.
    pub(super) fn answer(&self, namespace: &Arc<str>, message: impl Into<Vec<u8>>) {
        self.enqueue(Item::Answer { namespace: Arc::clone(namespace), message: message.into() });
    }

    fn enqueue(&self, item: Item) {
        let bytes = item.bytes();
        let queued = self.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        if queued.saturating_add(bytes) > MAX_QUEUED_BYTES || self.queue.try_send(item).is_err() {
            self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.counters.dropped_full.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Carries out what another server has sent.
    pub(super) fn receive(self: &Arc<Self>, channel: &str, message: &[u8]) {
        let outcome = if let Some(namespace) = self.namespace_of(channel, "#") {
            self.receive_broadcast(&namespace, channel, message)
        } else if let Some(namespace) = self.namespace_of(channel, "-request#") {
            wire::decode_request(message).map(|request| self.carry_out(&namespace, request))
        } else {
            return;
        };
        let counter = match outcome {
            Ok(true) => &self.counters.received,
            Ok(false) => return,
            Err(error) => {
                tracing::debug!(%error, bytes = message.len(), "a message on the bus was dropped");
                &self.counters.malformed
            }
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// The namespace whose channel this is, and what stands behind it.
    fn namespace_of(&self, channel: &str, separator: &str) -> Option<Attached> {
        let rest = channel.strip_prefix(&*self.key)?.strip_prefix(separator)?;
        let (name, _) = rest.split_once('#')?;
        let namespaces = self.namespaces.read().unwrap_or_else(PoisonError::into_inner);
        let (name, sockets) = namespaces.get_key_value(name)?;
        Some(Attached { name: Arc::clone(name), sockets: sockets.upgrade()? })
    }

    fn receive_broadcast(&self, to: &Attached, channel: &str, message: &[u8]) -> Result<bool, super::Malformed> {
        let common = self.key.len().saturating_add(to.name.len()).saturating_add(2);
        let room = channel.get(common..).and_then(|rest| rest.strip_suffix('#'));
        if room.is_some_and(|room| !to.sockets.is_inhabited(room)) {
            return Ok(false);
        }
        let broadcast = wire::decode_broadcast(message)?;
        if broadcast.from_log || self.is_own(&broadcast.uid) || *broadcast.namespace != *to.name {
            return Ok(false);
        }
        let Broadcast { event, args, attachments, to: address, volatile, .. } = &broadcast;
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        address.with(|group| to.sockets.deliver(group, event, &args, attachments, *volatile));
        Ok(true)
    }

    /// Whether a message with this uid is one of this node.
    pub(super) fn is_own(&self, uid: &str) -> bool {
        uid == self.uid
    }
}

/// A namespace of this node.
pub(super) struct Attached {
    pub(super) name: Arc<str>,
    pub(super) sockets: Arc<dyn LocalSockets>,
}

impl Adapter for Bus {
    fn publish(&self, broadcast: &Published<'_>) {
        let Published { namespace, to, event, args, attachments, volatile, from_log } = *broadcast;
        self.enqueue(Item::Broadcast {
            namespace: namespace.into(),
            event: event.to_owned(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            attachments: attachments.to_vec(),
            to: Address::of(&to),
            volatile,
            from_log,
        });
    }

    fn change(&self, namespace: &str, to: &Group<'_>, change: Change<'_>) {
        let owned = |rooms: &[&str]| rooms.iter().map(|room| (*room).to_owned()).collect();
        let to = Address::of(to);
        let kind = match change {
            Change::Join(rooms) => RequestKind::Join(to, owned(rooms)),
            Change::Leave(rooms) => RequestKind::Leave(to, owned(rooms)),
            Change::Disconnect { close } => RequestKind::Disconnect(to, close),
        };
        self.enqueue(Item::Request { namespace: namespace.into(), kind });
    }

    fn attach(&self, name: &Arc<str>, sockets: Weak<dyn LocalSockets>) {
        self.namespaces.write().unwrap_or_else(PoisonError::into_inner).insert(Arc::clone(name), sockets);
        self.wanted.send_modify(|wanted| {
            wanted.patterns.push(format!("{}#{}#*", self.key, as_pattern(name)));
            wanted.channels.push(self.request_channel(name));
        });
    }
}

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bus").field("key", &self.key).field("uid", &self.uid).finish_non_exhaustive()
    }
}

impl Item {
    /// About how much memory it takes.
    fn bytes(&self) -> usize {
        const EACH: usize = 256;
        let texts = |texts: &[String]| texts.iter().map(|text| text.len().saturating_add(24)).sum::<usize>();
        let more = match self {
            Self::Broadcast { event, args, attachments, to, .. } => {
                let attached: usize = attachments.iter().map(Bytes::len).sum();
                let rooms = texts(&to.rooms).saturating_add(texts(&to.except));
                texts(args).saturating_add(event.len()).saturating_add(attached).saturating_add(rooms)
            }
            Self::Request { kind: RequestKind::Join(to, rooms) | RequestKind::Leave(to, rooms), .. } => {
                texts(rooms).saturating_add(texts(&to.rooms)).saturating_add(texts(&to.except))
            }
            Self::Request { .. } => 0,
            Self::Answer { message, .. } => message.len(),
        };
        more.saturating_add(EACH)
    }
}

impl Address {
    fn of(group: &Group<'_>) -> Self {
        let owned = |rooms: &[&str]| rooms.iter().map(|room| (*room).to_owned()).collect();
        Self { rooms: owned(group.rooms), except: owned(group.except) }
    }

    /// Calls `use_it` with the same borrowed.
    pub(super) fn with<T>(&self, use_it: impl FnOnce(&Group<'_>) -> T) -> T {
        let [rooms, except] =
            [&self.rooms, &self.except].map(|rooms| rooms.iter().map(String::as_str).collect::<Vec<_>>());
        use_it(&Group { rooms: &rooms, except: &except })
    }
}

/// A name with the signs escaped that have a meaning in patterns.
fn as_pattern(name: &str) -> String {
    let mut pattern = String::with_capacity(name.len());
    for c in name.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}
