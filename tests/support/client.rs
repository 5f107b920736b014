//! A Socket.IO client: one namespace over WebSocket, acks as futures, events in the order in which they came.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::{
    sync::{
        mpsc::{self, UnboundedReceiver, UnboundedSender},
        oneshot,
    },
    task::JoinSet,
};
use tokio_tungstenite::tungstenite::Message;

use super::{
    packets::{self, Stream},
    token, within,
};

/// Acks that are awaited, by number.
type Acks = Arc<Mutex<HashMap<u64, oneshot::Sender<Value>>>>;

/// Something that came in and is no ack.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its name.
    pub name: String,
    /// Its first argument.
    pub payload: Value,
}

/// A packet taken apart.
struct Parsed<'a> {
    kind: char,
    id: Option<u64>,
    json: &'a str,
}

/// A connected client.
pub struct Client {
    namespace: String,
    outgoing: UnboundedSender<String>,
    acks: Acks,
    events: UnboundedReceiver<Event>,
    /// Events that were passed over by [`Client::event`].
    passed: VecDeque<Event>,
    next_id: Mutex<u64>,
    _task: JoinSet<()>,
}

impl Client {
    /// Connects `user` to `/`.
    pub async fn connect(address: SocketAddr, user: &str) -> Self {
        Self::join(address, "/", json!({"token": token::of(user)})).await.expect("admitted")
    }

    /// Connects to a namespace; the payload of the `CONNECT_ERROR` when it is refused.
    pub async fn join(address: SocketAddr, namespace: &str, auth: Value) -> Result<Self, Value> {
        Self::join_with(address, namespace, auth, "", &[]).await
    }

    /// As [`Client::join`], with an addition to the query and with headers.
    pub async fn join_with(
        address: SocketAddr,
        namespace: &str,
        auth: Value,
        query: &str,
        headers: &[(&str, &str)],
    ) -> Result<Self, Value> {
        let stream = packets::open(address, query, headers).await.ok_or_else(|| json!("no WebSocket"))?;
        Self::over(stream, namespace, auth).await
    }

    async fn over(mut stream: Stream, namespace: &str, auth: Value) -> Result<Self, Value> {
        let prefix = if namespace == "/" { String::new() } else { format!("{namespace},") };
        let auth = if auth.is_null() { String::new() } else { auth.to_string() };
        stream.send(Message::text(format!("40{prefix}{auth}"))).await.map_err(|error| json!(error.to_string()))?;
        loop {
            let message = within("a CONNECT answer", stream.next()).await;
            let Some(Ok(Message::Text(text))) = message else { return Err(json!("closed")) };
            match parse(&text) {
                Some(Parsed { kind: '0', .. }) => break,
                Some(Parsed { kind: '4', json, .. }) => return Err(serde_json::from_str(json).expect("JSON")),
                _ => {}
            }
        }
        let (outgoing, lines) = mpsc::unbounded_channel();
        let (sender, events) = mpsc::unbounded_channel();
        let acks = Acks::default();
        let mut task = JoinSet::new();
        task.spawn(pump(stream, lines, Arc::clone(&acks), sender));
        let passed = VecDeque::new();
        Ok(Self { namespace: prefix, outgoing, acks, events, passed, next_id: Mutex::new(0), _task: task })
    }

    /// Sends an event without asking for an ack.
    pub fn emit(&self, event: &str, payload: &Value) {
        self.outgoing.send(format!("42{}{}", self.namespace, json!([event, payload]))).ok();
    }

    /// Sends an event now; the future is its ack, or `None` when the connection ended without one.
    pub fn call(&self, event: &str, payload: &Value) -> impl Future<Output = Option<Value>> + Send + 'static + use<> {
        let (sender, answer) = oneshot::channel();
        let id = {
            let mut next = self.next_id.lock().unwrap_or_else(PoisonError::into_inner);
            *next += 1;
            *next
        };
        lock(&self.acks).insert(id, sender);
        let line = format!("42{}{id}{}", self.namespace, json!([event, payload]));
        if self.outgoing.send(line).is_err() {
            lock(&self.acks).remove(&id);
        }
        async move { within("an ack", answer).await.ok() }
    }

    /// The ack of an event that must succeed.
    pub async fn ok(&self, event: &str, payload: Value) -> Value {
        let ack = self.call(event, &payload).await.expect("an ack");
        assert_eq!(ack["ok"], true, "{event} {payload}: {ack}");
        ack
    }

    /// The ack of an event that must be refused with this code.
    pub async fn refused(&self, code: &str, event: &str, payload: Value) -> Value {
        let ack = self.call(event, &payload).await.expect("an ack");
        assert_eq!((&ack["ok"], &ack["code"]), (&json!(false), &json!(code)), "{event} {payload}: {ack}");
        assert!(ack["error"].as_str().is_some_and(|error| !error.is_empty()), "{ack}");
        ack
    }

    /// The next event; `None` when the connection has ended.
    pub async fn next(&mut self) -> Option<Event> {
        match self.passed.pop_front() {
            Some(event) => Some(event),
            None => within("an event", self.events.recv()).await,
        }
    }

    /// The payload of the next event of this name; others are kept.
    pub async fn event(&mut self, name: &str) -> Value {
        if let Some(position) = self.passed.iter().position(|event| event.name == name) {
            return self.passed.remove(position).expect("found").payload;
        }
        loop {
            let event = within(name, self.events.recv()).await.unwrap_or_else(|| panic!("closed before {name}"));
            if event.name == name {
                return event.payload;
            }
            self.passed.push_back(event);
        }
    }

    /// Waits for the end of the connection, and gives what came before.
    pub async fn closed(mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }

    /// Makes a group with these members, and gives its id.
    pub async fn group(&self, members: &[&str]) -> String {
        let ack = self.ok("conversation:create", json!({"type": "group", "participants": members, "name": "g"})).await;
        ack["conversation"]["id"].as_str().expect("an id").to_owned()
    }

    /// Everything after these cursors, page by page: the messages, the changes, and the cursors at the end.
    pub async fn missed(&self, cursors: Value, limit: usize) -> Option<(Vec<Value>, Vec<Value>, Value)> {
        let (mut messages, mut changes) = (Vec::new(), Vec::new());
        let mut request = json!({"cursors": cursors, "limit": limit});
        loop {
            let mut page = self.call("get-missed-messages", &request).await?;
            assert_eq!(page["ok"], true, "{request}: {page}");
            messages.append(page["messages"].as_array_mut().expect("messages"));
            changes.append(page["changes"].as_array_mut().expect("changes"));
            assert_eq!(page["complete"], page["hasMore"] == false, "{page}");
            if page["hasMore"] == false {
                return Some((messages, changes, page["cursors"].take()));
            }
            request = json!({"cursor": page["nextCursor"], "limit": limit});
        }
    }
}

async fn pump(mut stream: Stream, mut lines: UnboundedReceiver<String>, acks: Acks, events: UnboundedSender<Event>) {
    loop {
        let text = tokio::select! {
            line = lines.recv() => {
                let Some(line) = line else { break };
                if stream.send(Message::text(line)).await.is_err() {
                    break;
                }
                continue;
            }
            message = stream.next() => match message {
                Some(Ok(Message::Text(text))) => text,
                Some(Ok(Message::Close(_)) | Err(_)) | None => break,
                Some(Ok(_)) => continue,
            },
        };
        if text.as_str() == "2" {
            stream.send(Message::text("3")).await.ok();
        } else if let Some(Parsed { kind, id, json }) = parse(&text) {
            let mut args: Vec<Value> = serde_json::from_str(json).expect("an array");
            if let (Some(id), '3') = (id, kind) {
                let waiting = lock(&acks).remove(&id);
                waiting.map(|waiting| waiting.send(args.swap_remove(0)).ok());
            } else if kind == '2' {
                let name = args[0].as_str().expect("a name").to_owned();
                events.send(Event { name, payload: args.get(1).cloned().unwrap_or_default() }).ok();
            }
        }
    }
    // In this order: whoever asks from now on is told at once, and whoever has asked is told here.
    lines.close();
    lock(&acks).clear();
}

fn lock(acks: &Acks) -> std::sync::MutexGuard<'_, HashMap<u64, oneshot::Sender<Value>>> {
    acks.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes a Socket.IO packet apart; `None` for other Engine.IO packets, and for a DISCONNECT.
fn parse(text: &str) -> Option<Parsed<'_>> {
    let mut rest = text.strip_prefix('4')?;
    let kind = rest.chars().next()?;
    rest = &rest[1..];
    if rest.starts_with('/') {
        rest = rest.split_once(',').map_or("", |(_, rest)| rest);
    }
    let digits = rest.find(|c: char| !c.is_ascii_digit())?;
    Some(Parsed { kind, id: rest[..digits].parse().ok(), json: &rest[digits..] })
}
