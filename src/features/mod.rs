//! The features, each a room of its own, and how they hang together on the chat namespaces.

pub mod auth;
pub mod backend;
pub mod compat;
pub mod conversations;
pub mod elsewhere;
pub mod heartbeat;
pub mod last_seen;
pub mod message_locks;
pub mod messages;
pub mod missed_messages;
pub mod notifications;
pub mod offline_queue;
pub mod parked_sessions;
pub mod presence;
pub mod rate_limits;
pub mod reactions;
pub mod receipts;
pub mod session;
#[cfg(test)]
mod several_nodes;
pub mod status;
#[cfg(test)]
mod testing;
pub mod typing;
pub mod users;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use self::{
    auth::{Auth, Keys, SocketListener},
    backend::BackendApi,
    conversations::{Conversations, Rooms},
    elsewhere::{Elsewhere, Neighbors},
    heartbeat::Heartbeats,
    message_locks::Locks,
    messages::{MessageListener, MessageView, Messages},
    missed_messages::Recovery,
    notifications::Notifications,
    offline_queue::{Background, OfflineQueue},
    parked_sessions::ParkedSessions,
    presence::Presence,
    rate_limits::RateLimits,
    reactions::Reactions,
    receipts::Receipts,
    session::{Announcer, ChatGate, SessionLimits, SessionReady},
    status::Statuses,
    typing::Typing,
    users::Users,
};
use crate::{
    http::Origins,
    server::{self, Builder, Namespace, NamespaceDoc, Rest, Routes, ServerEvent as _, ServerEventDoc},
    storage::{StorageError, Store, expiry::SteadyClock},
    telemetry::Metrics,
};

/// The namespaces of the feature document.
const ROOT: &str = "/";
const MESSAGES: &str = "/messages";
const NOTIFICATIONS: &str = "/notifications";

/// Every event that the server sends, feature by feature.
pub const SERVER_EVENTS: &[&[ServerEventDoc]] = &[
    server::SERVER_EVENTS,
    session::SERVER_EVENTS,
    auth::SERVER_EVENTS,
    conversations::SERVER_EVENTS,
    messages::SERVER_EVENTS,
    receipts::SERVER_EVENTS,
    offline_queue::SERVER_EVENTS,
    message_locks::SERVER_EVENTS,
    heartbeat::SERVER_EVENTS,
    notifications::SERVER_EVENTS,
    status::SERVER_EVENTS,
    typing::SERVER_EVENTS,
    rate_limits::SERVER_EVENTS,
];

/// Events that concern a connection, whatever its namespace.
const SENT_EVERYWHERE: &[&str] =
    &["request-failed", "server:restarting", "rate-limit-exceeded", "auth:expiring", "auth:expired"];

/// Whether the server sends an event in a namespace: what is named after notifications goes to `/` and `/notifications`, chat to `/`
/// and `/messages`.
fn is_sent_in(event: &str, namespace: &str) -> bool {
    match event {
        SessionReady::NAME => namespace == ROOT,
        _ if SENT_EVERYWHERE.contains(&event) => true,
        _ if event.starts_with("notification") => namespace != MESSAGES,
        _ => namespace != NOTIFICATIONS,
    }
}

/// The settings of all features.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Section `[auth]`.
    pub auth: auth::Config,
    /// Section `[messages]`.
    pub messages: messages::Config,
    /// Section `[missed_messages]`.
    pub missed_messages: missed_messages::Config,
    /// Section `[rate_limits]`.
    pub rate_limits: rate_limits::Config,
    /// Section `[queue]`.
    pub queue: offline_queue::Config,
    /// Section `[delivery]`.
    pub delivery: offline_queue::Delivery,
    /// Section `[locks]`.
    pub locks: message_locks::Config,
    /// Section `[notifications]`.
    pub notifications: notifications::Config,
    /// Section `[presence]`.
    pub presence: presence::Config,
    /// Section `[typing]`.
    pub typing: typing::Config,
    /// Section `[compat]`.
    pub compat: compat::Config,
}

/// All features, on one store.
pub struct Features {
    /// Signing in.
    pub auth: Arc<Auth>,
    /// Conversations.
    pub conversations: Arc<Conversations>,
    /// Messages.
    pub messages: Arc<Messages>,
    /// Heartbeats.
    pub heartbeats: Arc<Heartbeats>,
    /// Edit locks.
    pub locks: Arc<Locks>,
    /// Rate limits.
    pub rate_limits: Arc<RateLimits>,
    /// Missed messages.
    pub recovery: Arc<Recovery>,
    /// The offline queue.
    pub queue: OfflineQueue,
    /// Sessions that wait for their clients.
    pub parked: ParkedSessions,
    /// Notifications.
    pub notifications: Arc<Notifications>,
    /// Reactions.
    pub reactions: Arc<Reactions>,
    /// Receipts.
    pub receipts: Arc<Receipts>,
    /// Who is online.
    pub presence: Arc<Presence>,
    /// Statuses.
    pub statuses: Arc<Statuses>,
    /// Who types.
    pub typing: Arc<Typing>,
    /// Users.
    pub users: Users,
    metrics: Metrics,
    elsewhere: Arc<dyn Elsewhere>,
    namespaces: [Arc<Namespace>; 3],
    limits: SessionLimits,
    /// Which features hear of sockets, in this order.
    listeners: Vec<Arc<dyn SocketListener>>,
}

impl Features {
    /// Puts the features together.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    #[expect(clippy::too_many_lines, reason = "a line or two for each feature, and nothing else")]
    pub fn new(
        config: Config,
        store: &Store,
        keys: Keys,
        origins: Origins,
        Neighbors { adapter, elsewhere }: Neighbors,
        background: Background,
    ) -> Result<Self, StorageError> {
        let namespaces = [ROOT, MESSAGES, NOTIFICATIONS].map(|name| Namespace::new(name, Arc::clone(&adapter)));
        let [root, messages, for_notifications] = &namespaces;
        let (twins, others) = (config.compat.legacy_events, || Arc::clone(&elsewhere));
        let rooms = Rooms::new(vec![Arc::clone(root), Arc::clone(messages)], others(), twins);
        let limits = SessionLimits {
            content_chars: config.messages.max_content_chars,
            missed_page: config.missed_messages.max_page,
        };
        let users = Users::new(store.clone(), config.auth.auto_provision);
        let conversations = Arc::new(Conversations::new(store.clone(), users.clone(), rooms));
        let rooms = Rooms::new(vec![Arc::clone(root), Arc::clone(for_notifications)], others(), twins);
        let notifications = Notifications::new(
            store.clone(),
            (Arc::clone(&conversations), rooms),
            config.notifications,
            &background.metrics,
        );
        let messages = Arc::new(Messages::new(
            store.clone(),
            users.clone(),
            (Arc::clone(&conversations), Arc::clone(&notifications)),
            config.messages,
            &background.metrics,
        ));
        let reactions = Arc::new(Reactions::new(store.clone(), Arc::clone(&messages)));
        let recovery =
            Recovery::new(store.clone(), Arc::clone(&messages), Arc::clone(&conversations), config.missed_messages);
        let receipts = Receipts::new(Arc::clone(&messages), Arc::clone(&conversations));
        let receipts = Arc::new(receipts);
        let metrics = background.metrics.clone();
        let rate_limits = Arc::new(RateLimits::new(config.rate_limits, metrics.clone()));
        let queue = OfflineQueue::new(
            store.clone(),
            (config.queue, config.delivery.confirm),
            Arc::clone(&conversations),
            (Arc::clone(&messages), Arc::clone(&notifications)),
            Arc::clone(&receipts),
            background,
        );
        let locks = Locks::new(store.clone(), Arc::clone(&conversations), config.locks)?;
        let locks = Arc::new(locks);
        let typing = Arc::new(Typing::new(Arc::clone(&conversations), config.typing));
        messages.set_listeners(vec![Arc::clone(&locks) as _, Arc::clone(&typing) as _]);
        let presence = Arc::new(Presence::new(store.clone(), config.presence));
        let statuses = Statuses::new(store.clone(), Arc::clone(&conversations), Arc::clone(&presence));
        notifications.set_muting(Arc::new(statuses.clone()));
        notifications.set_absences(Arc::new(queue.clone()));
        notifications.set_previews(Arc::clone(&messages) as _);
        let heartbeats = Arc::new(Heartbeats::default());
        let auth = Arc::new(Auth::new(config.auth, keys, origins, users.clone(), store)?);
        auth.live().set_namespaces(namespaces.to_vec());
        conversations.follow();
        messages.follow();
        auth.follow();
        statuses.follow();
        locks.follow();
        queue.follow();
        elsewhere.listen(Arc::clone(&presence) as _);
        elsewhere.listen(Arc::clone(&locks) as _);
        elsewhere.listen(Arc::new(queue.clone()));
        Ok(Self {
            conversations,
            messages,
            receipts,
            presence: Arc::clone(&presence),
            statuses,
            typing: Arc::clone(&typing),
            recovery: Arc::new(recovery),
            users,
            parked: ParkedSessions::new(store.clone(), namespaces.to_vec()),
            namespaces,
            metrics,
            limits,
            elsewhere: others(),
            listeners: vec![
                Arc::new(Announcer(others())) as _,
                Arc::clone(&rate_limits) as _,
                auth.live(),
                Arc::new(queue.clone()),
                Arc::clone(&locks) as _,
                Arc::clone(&notifications) as _,
                presence,
                typing,
                Arc::clone(&heartbeats) as _,
            ],
            rate_limits,
            heartbeats,
            auth,
            locks,
            notifications,
            reactions,
            queue,
        })
    }

    /// Has `listener` hear of sockets, too, behind the features. To be said before [`Features::serve`].
    pub fn listen(&mut self, listener: Arc<dyn SocketListener>) {
        self.listeners.push(listener);
    }

    /// Adds the chat namespaces to a server. `/` and `/messages` serve the same events.
    pub fn serve(&self, builder: Builder) -> Builder {
        let [root, messages, notifications] = &self.namespaces;
        let gate = Arc::new(ChatGate::new(
            (Arc::clone(&self.auth), self.metrics.clone()),
            (Arc::clone(&self.conversations), self.queue.clone()),
            Arc::clone(&self.rate_limits),
            self.limits,
            self.typing.config(),
            self.listeners.clone(),
        ));
        let [in_root, in_messages, in_notifications] = self.routes();
        self.rate_limits.set_events(in_root.documented());
        let rate_limits = Arc::clone(&self.rate_limits);
        builder
            .admit(move |address| rate_limits.admit_session(address))
            .namespace(root, Arc::clone(&gate) as _, in_root)
            .namespace(messages, Arc::clone(&gate) as _, in_messages)
            .namespace(notifications, gate, in_notifications)
    }

    /// What each namespace takes and sends, for the generated documents.
    #[must_use]
    pub fn documented(&self) -> Vec<NamespaceDoc> {
        let namespaces = [ROOT, MESSAGES, NOTIFICATIONS].into_iter().zip(self.routes());
        let document = |(name, routes): (_, Routes)| {
            let sent = SERVER_EVENTS.iter().copied().flatten().filter(|event| is_sent_in(event.name, name));
            NamespaceDoc { name, takes: routes.documented().to_vec(), sends: sent.copied().collect() }
        };
        namespaces.map(document).collect()
    }

    /// The REST routes of all features. They find the [`Auth`] in the request's extensions.
    pub fn rest(&self) -> axum::Router {
        let limits = Arc::clone(&self.rate_limits);
        self.documented_rest()
            .into_router()
            .layer(axum::middleware::from_fn_with_state(limits, rate_limits::limit_requests))
            .layer(axum::Extension(Arc::clone(&self.auth)))
    }

    /// The same with their documentation.
    pub fn documented_rest(&self) -> Rest {
        let backend = BackendApi::new(
            Arc::clone(&self.auth),
            self.users.clone(),
            Arc::clone(&self.conversations),
            (Arc::clone(&self.messages), Arc::clone(&self.notifications)),
            self.namespaces.to_vec(),
        );
        conversations::rest_routes(&self.conversations)
            .merge(backend::rest_routes(&Arc::new(backend)))
            .merge(last_seen::rest_routes(&self.conversations))
            .merge(messages::rest_routes(&self.messages))
            .merge(reactions::rest_routes(&self.reactions))
            .merge(receipts::rest_routes(&self.receipts))
            .merge(offline_queue::rest_routes(&self.queue))
            .merge(notifications::rest_routes(&self.notifications))
            .merge(status::rest_routes(&self.statuses))
    }

    /// What goes on by itself until `stop`: sweeping what is past its time, and the like. Each part in small steps.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let elsewhere = Arc::clone(&self.elsewhere);
        let clock = SteadyClock::with_turns(move || elsewhere.is_leader());
        tokio::join!(
            self.auth.run(stop.clone(), clock.clone()),
            self.messages.run_expiry(stop.clone(), clock.clone()),
            self.notifications.run(stop.clone(), clock.clone()),
            self.queue.run(stop.clone()),
            self.parked.run(stop.clone()),
            self.locks.run(stop.clone()),
            self.presence.run(stop.clone()),
            self.statuses.run(stop.clone(), clock),
            self.typing.run(stop.clone()),
            self.rate_limits.run(stop),
        );
    }

    /// Writes what is kept in memory. The last thing before the store is closed. `drained` says that all sockets have gone.
    pub async fn stop(&self, drained: bool) {
        self.queue.stop(drained).await;
        self.presence.stop().await;
        // Whatever is under way still would be missed by a session that is in the store already.
        if drained {
            self.parked.save().await;
        }
    }

    /// The namespaces, for what concerns all sockets.
    #[must_use]
    pub fn namespaces(&self) -> &[Arc<Namespace>] {
        &self.namespaces
    }

    /// What the namespaces serve, in their order.
    fn routes(&self) -> [Routes; 3] {
        let notifications = self.notification_routes(auth::socket_routes(Routes::new(), &self.auth));
        [self.notification_routes(self.chat_routes()), self.chat_routes(), notifications]
    }

    fn notification_routes(&self, routes: Routes) -> Routes {
        notifications::socket_routes(routes, &self.notifications)
    }

    fn chat_routes(&self) -> Routes {
        let routes = auth::socket_routes(Routes::new(), &self.auth);
        let routes = conversations::socket_routes(routes, &self.conversations);
        let routes = messages::socket_routes(routes, &self.messages);
        let routes = reactions::socket_routes(routes, &self.reactions);
        let routes = receipts::socket_routes(routes, &self.receipts);
        let routes = heartbeat::socket_routes(routes, &self.heartbeats);
        let routes = message_locks::socket_routes(routes, &self.locks);
        let routes = last_seen::socket_routes(routes, &self.conversations);
        let routes = status::socket_routes(routes, &self.statuses);
        let routes = typing::socket_routes(routes, &self.typing);
        missed_messages::socket_routes(routes, &self.recovery)
    }
}

/// A message ends its sender's typing.
impl MessageListener for Typing {
    fn sent(&self, message: &MessageView) {
        self.sent(&message.sender_id, message.conversation_id);
    }
}

#[cfg(test)]
mod tests {
    use super::testing::features;

    /// A handler of `on_raw` has no types to print; what clients may send has to be declared.
    #[tokio::test]
    async fn every_event_that_is_served_is_declared() {
        for routes in features().routes() {
            for name in routes.names() {
                let mut declared = routes.documented().iter();
                assert!(declared.any(|event| event.name == name || event.aliases.contains(&name)), "{name}");
            }
        }
    }
}
