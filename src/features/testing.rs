//! The features on an in-memory store, for the tests of their rules.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use serde_json::{Value, json};

use super::{
    Config, Features,
    auth::{Keys, SignedIn},
    elsewhere::Neighbors,
    messages::{Draft, Sent},
    offline_queue::Background,
    rate_limits,
};
use crate::{
    clock::Timestamp,
    http::Origins,
    ids::{ConversationId, UserId},
    protocol::engineio::CloseReason,
    server::{Client, Limits, Refusal, Server},
    storage::Store,
    transport::{self, Application as _, Connection as _, Handshake, Session},
};

/// The secret of all tests.
pub(super) const SECRET: &[u8] = b"a secret that is long enough for a test";

/// Features without sockets. Most tests ask for more than a user may, so there is no limit of events.
pub(super) fn features() -> Features {
    let rate_limits = rate_limits::Config { max: 0, ..rate_limits::Config::default() };
    features_with(Config { rate_limits, ..Config::default() })
}

/// The same with other settings.
pub(super) fn features_with(config: Config) -> Features {
    features_on(&Store::memory(), config)
}

/// The same on what an earlier one has stored.
pub(super) fn features_on(store: &Store, config: Config) -> Features {
    Features::new(config, store, Keys::hs256(&[SECRET]), Origins::Any, Neighbors::none(), Background::default())
        .expect("a store in memory")
}

/// A user id.
pub(super) fn id(name: &str) -> UserId {
    UserId::new(name).expect("a plain name")
}

impl Features {
    /// A user whose token was accepted.
    pub(super) fn signed_in(&self, name: &str) -> SignedIn {
        let profile = Arc::new(self.users.profile(&id(name)).expect("readable"));
        SignedIn::without_token(id(name), profile)
    }

    /// The direct conversation of two users.
    pub(super) async fn direct(&self, one: &str, other: &str) -> ConversationId {
        self.conversations.direct(&id(one), &id(other)).await.expect("two users").0
    }

    /// A group of `admin` and `members`.
    pub(super) async fn group(&self, admin: &str, members: &[&str]) -> ConversationId {
        let members: Vec<_> = members.iter().map(|name| id(name)).collect();
        self.conversations.create_group(&id(admin), &members, Some("group".to_owned())).await.expect("a group")
    }

    /// Sends a text.
    pub(super) async fn send(&self, from: &str, to: ConversationId, text: &str) -> Result<Sent, Refusal> {
        let draft = Draft { conversation_id: Some(to), content: text.to_owned(), ..Draft::default() };
        self.messages.send(&self.signed_in(from), draft, false).await
    }
}

/// A client of one user in one namespace, without a connection: what it would get waits in its queue.
pub(super) struct Device {
    client: Client,
    session: Arc<Session>,
    prefix: String,
    heard: Vec<(String, Value)>,
    acks: Vec<Value>,
}

impl Features {
    /// Connects a device of `user` to `/`.
    pub(super) fn device(&self, user: &str) -> Device {
        self.device_in(user, "/")
    }

    /// Connects a device of `user` to a namespace. Its greeting counts as heard.
    pub(super) fn device_in(&self, user: &str, namespace: &str) -> Device {
        let server = self.serve(Server::builder(Limits::from(&transport::Config::default()))).build();
        let session = Session::detached();
        let handshake = Handshake {
            version: session.version(),
            query: Box::default(),
            authorization: None,
            cookie: None,
            origin: None,
            fetch_site: None,
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        };
        let mut client = server.open(Arc::clone(&session), handshake);
        let prefix = if namespace == "/" { String::new() } else { format!("{namespace},") };
        client.handle_text(&format!("0{prefix}{}", json!({"token": token_of(user)}))).expect("a packet");
        let texts = session.take_texts();
        assert!(texts.iter().any(|text| text.starts_with(&format!("40{prefix}"))), "not admitted: {texts:?}");
        Device { client, session, prefix, heard: Vec::new(), acks: Vec::new() }
    }
}

impl Device {
    /// Sends an event, and gives the ack that comes at once.
    pub(super) fn call(&mut self, event: &str, payload: &Value) -> Value {
        self.client.handle_text(&format!("2{}7{}", self.prefix, json!([event, payload]))).expect("a packet");
        self.listen();
        self.acks.pop().expect("answered at once")
    }

    /// The same for an event that has to succeed.
    #[track_caller]
    pub(super) fn ok(&mut self, event: &str, payload: &Value) -> Value {
        let ack = self.call(event, payload);
        assert_eq!(ack["ok"], true, "{event} {payload}: {ack}");
        ack
    }

    /// The code with which an event is refused.
    #[track_caller]
    pub(super) fn refused(&mut self, event: &str, payload: &Value) -> String {
        let ack = self.call(event, payload);
        assert_eq!(ack["ok"], false, "{event} {payload}: {ack}");
        ack["code"].as_str().expect("a code").to_owned()
    }

    /// The events since the last call: name and first argument.
    pub(super) fn heard(&mut self) -> Vec<(String, Value)> {
        self.listen();
        std::mem::take(&mut self.heard)
    }

    /// The names of the events since the last call.
    pub(super) fn names(&mut self) -> Vec<String> {
        self.heard().into_iter().map(|(name, _)| name).collect()
    }

    /// Whether the server has ended the session.
    pub(super) fn is_closed(&self) -> bool {
        self.session.is_closed()
    }

    /// Ends the session.
    pub(super) fn close(mut self) {
        self.client.handle_close(CloseReason::ClientClose);
    }

    fn listen(&mut self) {
        for text in self.session.take_texts() {
            let start = text.find('[').unwrap_or(text.len());
            let mut args: Vec<Value> = serde_json::from_str(&text[start..]).unwrap_or_default();
            if text.starts_with("43") {
                self.acks.push(args.swap_remove(0));
            } else if text.starts_with("42") {
                let payload = args.get_mut(1).map(Value::take).unwrap_or_default();
                self.heard.push((args[0].as_str().expect("a name").to_owned(), payload));
            }
        }
    }
}

/// A token that is good for a day.
fn token_of(user: &str) -> String {
    // The test binary has one provider of cryptography; which test comes first does not matter.
    jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default().ok();
    let claims = json!({"id": user, "exp": Timestamp::now().as_millis() / 1000 + 86_400});
    let header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256);
    jsonwebtoken::encode(&header, &claims, &jsonwebtoken::EncodingKey::from_secret(SECRET)).expect("signed")
}
