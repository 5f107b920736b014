//! Sessions over restarts and over what an operator does meanwhile; the wire is in `tests/protocol/recovery.rs`.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use serde_json::{Value, json};

use super::store::PARKED_SESSIONS;
use crate::{
    clock::Timestamp,
    features::{
        Config, Features,
        receipts::UpTo,
        testing::{SECRET, features, features_on, id},
    },
    protocol::engineio::CloseReason,
    server::{Client, Limits, Recovery, Server},
    storage::Store,
    transport::{self, Application as _, Connection as _, Handshake, Session},
};

const WINDOW: Duration = Duration::from_mins(2);

fn recovery(window: Duration) -> Recovery {
    Recovery::new(window, 1024, 1_048_576)
}

/// A client of one user in `/`, without a connection.
struct Peer {
    client: Client,
    session: Arc<Session>,
    answer: Value,
    /// The offset of the last event.
    offset: String,
    ready: Value,
}

/// What a client shows to have its session back.
type Ticket = Value;

impl Peer {
    fn connect(features: &Features, user: &str, token: &str, ticket: &Ticket) -> Self {
        let server = features.serve(Server::builder(Limits::from(&transport::Config::default()))).build();
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
        let mut auth = ticket.clone();
        auth["token"] = token_of(user, token).into();
        let mut client = server.open(Arc::clone(&session), handshake);
        client.handle_text(&format!("0{auth}")).expect("a packet");
        let mut peer = Self { client, session, answer: Value::Null, offset: String::new(), ready: Value::Null };
        let texts = peer.session.take_texts();
        let answer = texts.first().and_then(|text| text.strip_prefix("40")).expect("admitted");
        peer.answer = serde_json::from_str(answer).expect("JSON");
        let ready = peer.read(&texts[1..2]);
        assert_eq!(ready[0].0, "session:ready");
        peer.ready = ready[0].1.clone();
        // What follows the greeting stays to be heard.
        peer.early(&texts[2..]);
        peer
    }

    /// Keeps texts for the next look.
    fn early(&mut self, texts: &[String]) {
        for text in texts {
            let packet = crate::protocol::engineio::Packet::Text(text[1..].into());
            self.session.send(&[transport::Outgoing::from_packet(&packet)]);
        }
    }

    /// The texts of the next messages, with what is told of them in the background; no more than these come.
    async fn hears(&mut self, count: usize) -> Vec<String> {
        let mut heard = self.messages();
        while heard.len() < count {
            tokio::task::yield_now().await;
            heard.extend(self.messages());
        }
        heard
    }

    /// The texts of the messages that came since the last look.
    fn messages(&mut self) -> Vec<String> {
        let texts = self.session.take_texts();
        let events = self.read(&texts);
        let messages = events.into_iter().filter(|(name, _)| name == "message:new");
        messages.map(|(_, message)| message["content"].as_str().expect("a text").to_owned()).collect()
    }

    fn read(&mut self, texts: &[String]) -> Vec<(String, Value)> {
        let mut events = Vec::new();
        for text in texts.iter().filter_map(|text| text.strip_prefix("42")) {
            let event: Vec<Value> = serde_json::from_str(text).expect("an array");
            if let Some(offset) = event.last().and_then(Value::as_str) {
                offset.clone_into(&mut self.offset);
            }
            events.push((event[0].as_str().expect("a name").to_owned(), event[1].clone()));
        }
        events
    }

    fn cut(mut self, reason: CloseReason) -> (Ticket, Value) {
        self.client.handle_close(reason);
        (json!({"pid": self.answer["pid"], "offset": self.offset}), self.answer)
    }

    fn is_recovered(&self, before: &Value) -> bool {
        assert_eq!(self.ready["recovered"] == true, self.answer == *before);
        self.answer == *before
    }
}

fn token_of(user: &str, name: &str) -> String {
    jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default().ok();
    let now = Timestamp::now().as_millis() / 1000;
    let claims = json!({"id": user, "iat": now, "exp": now + 86_400, "jti": name});
    let header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256);
    jsonwebtoken::encode(&header, &claims, &jsonwebtoken::EncodingKey::from_secret(SECRET)).expect("signed")
}

fn fresh(features: &Features, user: &str) -> Peer {
    Peer::connect(features, user, "first", &json!({}))
}

fn rows(store: &Store) -> usize {
    (0..10).filter(|key| store.get(&PARKED_SESSIONS, key).expect("readable").is_some()).count()
}

#[tokio::test(start_paused = true)]
async fn a_session_goes_on_after_a_restart_with_what_was_sent_before_and_after_it() {
    let store = Store::memory();
    let features = features_on(&store, Config::default());
    let direct = features.direct("ann", "bob").await;
    let mut bob = fresh(&features, "bob");
    features.send("ann", direct, "1").await.expect("stored");
    assert_eq!(bob.messages(), ["1"]);
    features.send("ann", direct, "2").await.expect("stored");
    let (ticket, answer) = bob.cut(CloseReason::Shutdown);
    features.send("ann", direct, "3").await.expect("stored");
    features.stop(true).await;
    assert_eq!(rows(&store), 1);

    let features = features_on(&store, Config::default());
    features.parked.restore(recovery(WINDOW)).await;
    assert_eq!(rows(&store), 0, "whoever has it has it alone");
    features.send("ann", direct, "4").await.expect("stored");
    let mut bob = Peer::connect(&features, "bob", "second", &ticket);
    assert!(bob.is_recovered(&answer));
    assert_eq!(bob.hears(3).await, ["2", "3", "4"]);
    features.send("ann", direct, "5").await.expect("stored");
    assert_eq!(bob.messages(), ["5"]);

    // And once more: offsets go on rising over a restart.
    let (ticket, answer) = bob.cut(CloseReason::Shutdown);
    features.stop(true).await;
    let features = features_on(&store, Config::default());
    features.parked.restore(recovery(WINDOW)).await;
    features.send("ann", direct, "6").await.expect("stored");
    let mut bob = Peer::connect(&features, "bob", "third", &ticket);
    assert!(bob.is_recovered(&answer));
    assert_eq!(bob.hears(1).await, ["6"]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_stored_when_the_stop_was_cut_short_and_nothing_is_taken_up_while_recovery_is_off() {
    let store = Store::memory();
    let features = features_on(&store, Config::default());
    let (ticket, answer) = fresh(&features, "bob").cut(CloseReason::Shutdown);
    features.stop(false).await;
    assert_eq!(rows(&store), 0);
    features.stop(true).await;
    assert_eq!(rows(&store), 1);

    let features = features_on(&store, Config::default());
    features.parked.restore(recovery(Duration::ZERO)).await;
    assert_eq!(rows(&store), 0);
    assert!(!Peer::connect(&features, "bob", "first", &ticket).is_recovered(&answer));
}

#[tokio::test(start_paused = true)]
async fn a_session_waits_no_longer_than_the_window_whether_the_server_runs_or_not() {
    let store = Store::memory();
    let features = features_on(&store, Config::default());
    let (ticket, answer) = fresh(&features, "bob").cut(CloseReason::PingTimeout);
    tokio::time::advance(WINDOW.checked_sub(Duration::from_millis(1)).expect("longer")).await;
    let bob = Peer::connect(&features, "bob", "first", &ticket);
    assert!(bob.is_recovered(&answer));
    let (ticket, _) = bob.cut(CloseReason::ClientClose);
    tokio::time::advance(WINDOW).await;
    features.namespaces().iter().for_each(|namespace| namespace.sweep_parked());
    assert!(features.namespaces().iter().all(|namespace| namespace.saved_sessions().is_empty()));
    let bob = Peer::connect(&features, "bob", "first", &ticket);
    assert!(!bob.is_recovered(&answer));

    let (ticket, answer) = bob.cut(CloseReason::Shutdown);
    features.stop(true).await;
    tokio::time::advance(WINDOW).await;
    let features = features_on(&store, Config::default());
    features.parked.restore(recovery(WINDOW)).await;
    assert!(!Peer::connect(&features, "bob", "first", &ticket).is_recovered(&answer));
    assert_eq!(rows(&store), 0);
}

#[tokio::test(start_paused = true)]
async fn a_session_of_somebody_who_was_shut_out_meanwhile_has_ended() {
    let features = features();
    let (ticket, answer) = fresh(&features, "bob").cut(CloseReason::TransportError);
    features.auth.block(&id("bob")).await.expect("blocked");
    features.auth.unblock(&id("bob")).await.expect("unblocked");
    assert!(!Peer::connect(&features, "bob", "first", &ticket).is_recovered(&answer));

    let (ticket, answer) = fresh(&features, "cat").cut(CloseReason::TransportError);
    features.auth.disconnect(&id("cat"));
    assert!(!Peer::connect(&features, "cat", "first", &ticket).is_recovered(&answer));

    let (ticket, answer) = Peer::connect(&features, "dan", "stolen", &json!({})).cut(CloseReason::TransportError);
    features.auth.revoke_token("stolen", None).await.expect("revoked");
    let dan = Peer::connect(&features, "dan", "new", &ticket);
    assert!(!dan.is_recovered(&answer), "the token that it came in with counts");
    let (ticket, answer) = dan.cut(CloseReason::TransportError);
    assert!(Peer::connect(&features, "dan", "newer", &ticket).is_recovered(&answer));
}

/// The operator may revoke tokens while the server is not running.
#[tokio::test(start_paused = true)]
async fn a_revocation_between_two_processes_ends_a_session_too() {
    let store = Store::memory();
    let features = features_on(&store, Config::default());
    let (ticket, answer) = fresh(&features, "bob").cut(CloseReason::Shutdown);
    features.stop(true).await;
    let between = features_on(&store, Config::default());
    between.auth.revoke_user(&id("bob")).await.expect("revoked");
    tokio::time::advance(Duration::from_secs(2)).await;
    let features = features_on(&store, Config::default());
    features.parked.restore(recovery(WINDOW)).await;
    assert!(!Peer::connect(&features, "bob", "second", &ticket).is_recovered(&answer));
}

/// What comes first is with the queue then; a new session is told all of it.
#[tokio::test(start_paused = true)]
async fn a_session_that_was_still_catching_up_begins_anew() {
    let features = features();
    let direct = features.direct("ann", "bob").await;
    features.send("ann", direct, "1").await.expect("stored");
    let (ticket, answer) = fresh(&features, "bob").cut(CloseReason::TransportError);
    let bob = Peer::connect(&features, "bob", "first", &ticket);
    assert!(!bob.is_recovered(&answer));
}

#[tokio::test(start_paused = true)]
async fn somebody_whose_session_waits_is_not_here() {
    let features = features();
    let direct = features.direct("ann", "bob").await;
    let mut bob = fresh(&features, "bob");
    features.send("ann", direct, "1").await.expect("stored");
    assert_eq!(bob.messages(), ["1"]);
    assert!(features.conversations.rooms().is_connected(&id("bob")));
    let (ticket, answer) = bob.cut(CloseReason::TransportError);
    assert!(!features.conversations.rooms().is_connected(&id("bob")));
    // A member who comes or goes meanwhile, does so for the session, too.
    let group = features.group("ann", &["bob"]).await;
    features.send("ann", group, "no longer his").await.expect("stored");
    features.send("ann", direct, "2").await.expect("stored");
    features.conversations.remove_members(&id("ann"), group, &[id("bob")]).await.expect("removed");
    features.send("ann", group, "secret").await.expect("stored");
    let mut bob = Peer::connect(&features, "bob", "first", &ticket);
    assert!(bob.is_recovered(&answer));
    assert_eq!(bob.hears(1).await, ["2"]);
    assert!(features.conversations.rooms().is_connected(&id("bob")));
}

#[tokio::test(start_paused = true)]
async fn p11_a_session_that_goes_on_hears_nothing_of_a_text_that_was_deleted_and_none_is_stored_with_it() {
    let store = Store::memory();
    let features = features_on(&store, Config::default());
    let group = features.group("ann", &["bob"]).await;
    let mut bob = fresh(&features, "bob");
    features.send("ann", group, "before").await.expect("stored");
    assert_eq!(bob.messages(), ["before"]);
    let on_its_way = features.send("ann", group, "regretted on its way").await.expect("stored");
    let (ticket, answer) = bob.cut(CloseReason::Shutdown);
    let missed = features.send("ann", group, "regretted @bob").await.expect("stored");
    features.send("ann", group, "kept").await.expect("stored");
    features.stop(true).await;
    let rows: Vec<_> = (0..10).filter_map(|key| store.get(&PARKED_SESSIONS, &key).expect("readable")).collect();
    assert_eq!(rows.len(), 1);
    for text in ["before", "regretted", "kept"] {
        assert!(!format!("{rows:?}").contains(text), "{rows:?}");
    }

    let features = features_on(&store, Config::default());
    features.parked.restore(recovery(WINDOW)).await;
    for message in [on_its_way.id, missed.id] {
        features.messages.delete(&id("ann"), message).await.expect("its sender");
    }
    let bob = Peer::connect(&features, "bob", "second", &ticket);
    assert!(bob.is_recovered(&answer));
    let mut heard = Vec::new();
    while !heard.iter().any(|text: &String| text.contains("message:new") && text.contains("kept")) {
        tokio::task::yield_now().await;
        heard.extend(bob.session.take_texts());
    }
    assert!(heard.iter().any(|text| text.contains("message:deleted")), "{heard:?}");
    assert!(heard.iter().all(|text| !text.contains("regretted")), "{heard:?}");
}

/// Another device of the user has had everything; the one that was cut off has not.
#[tokio::test(start_paused = true)]
async fn a_session_goes_on_where_it_was_cut_off_and_not_where_the_user_is() {
    let features = features();
    let direct = features.direct("ann", "bob").await;
    let mut bob = fresh(&features, "bob");
    features.send("ann", direct, "1").await.expect("stored");
    assert_eq!(bob.messages(), ["1"]);
    let (ticket, answer) = bob.cut(CloseReason::TransportError);
    features.send("ann", direct, "2").await.expect("stored");
    let last = features.send("bob", direct, "3, by another device").await.expect("stored").seq;
    features.receipts.delivered(&id("bob"), &UpTo::Seq(direct, last)).await.expect("a member");
    let mut bob = Peer::connect(&features, "bob", "first", &ticket);
    assert!(bob.is_recovered(&answer));
    assert_eq!(bob.hears(2).await, ["2", "3, by another device"]);
}

/// It would have missed what was sent in between.
#[tokio::test(start_paused = true)]
async fn a_session_that_could_not_be_taken_out_of_the_store_is_nobodys_later() {
    let store = Store::memory();
    let features = features_on(&store, Config::default());
    let (ticket, answer) = fresh(&features, "bob").cut(CloseReason::Shutdown);
    features.stop(true).await;

    let features = features_on(&store, Config::default());
    store.refuse_writes(true);
    features.parked.restore(recovery(WINDOW)).await;
    assert_eq!(rows(&store), 1, "the disk is full");
    store.refuse_writes(false);
    features.stop(true).await;
    assert_eq!(rows(&store), 0);

    let features = features_on(&store, Config::default());
    features.parked.restore(recovery(WINDOW)).await;
    assert!(!Peer::connect(&features, "bob", "second", &ticket).is_recovered(&answer));
}
