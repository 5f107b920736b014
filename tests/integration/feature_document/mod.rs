//! A walk through the feature document: a file per section, a test per promise, and the table in `docs/feature-document.md`.

mod architecture;
mod configuration;
mod conflicts;
mod core;
mod monitoring;
mod notifications;
mod queue;
mod security;
mod statuses;
mod table;

use serde_json::{Value, json};

use crate::support::{
    client::{Client, Event},
    command::Sandbox,
    http,
    process::Server,
    token,
};

/// A running server with what it needs to go on.
struct Walk {
    server: Server,
    _sandbox: Sandbox,
}

impl Walk {
    /// A server as it comes.
    async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// A server with variables in its environment.
    async fn start_with(variables: &[(&str, &str)]) -> Self {
        let sandbox = Sandbox::new();
        Self { server: Server::start_with(&sandbox, variables).await, _sandbox: sandbox }
    }

    /// `user` in a namespace.
    async fn join(&self, namespace: &str, user: &str) -> Client {
        let auth = json!({"token": token::of(user)});
        Client::join(self.server.address, namespace, auth).await.expect("admitted")
    }

    /// `user` in the default namespace.
    async fn connect(&self, user: &str) -> Client {
        self.join("/", user).await
    }

    /// A request of `user` that must succeed.
    async fn rest(&self, user: &str, method: &str, path: &str) -> Value {
        let answer = http::call(self.server.address, &token::of(user), method, path, &Value::Null).await;
        assert!(answer.status < 300, "{method} {path}: {answer:?}");
        answer.json()
    }
}

/// What a client hears up to the message with this text, in the order in which it came.
async fn heard_until(client: &mut Client, content: &str) -> Vec<Event> {
    let mut heard = Vec::new();
    loop {
        let event = client.next().await.unwrap_or_else(|| panic!("closed before {content}: {heard:?}"));
        if event.name == "message:new" && event.payload["content"] == content {
            return heard;
        }
        heard.push(event);
    }
}

/// How many of them have this name.
fn count(events: &[Event], name: &str) -> usize {
    events.iter().filter(|event| event.name == name).count()
}

/// The next `name` that fits; those before it are passed over.
async fn event_that(client: &mut Client, name: &str, fits: impl Fn(&Value) -> bool) -> Value {
    loop {
        let payload = client.event(name).await;
        if fits(&payload) {
            return payload;
        }
    }
}

/// Sends a message, and gives its id.
async fn send(client: &Client, conversation: &str, content: &str) -> String {
    let ack = client.ok("message:send", json!({"conversationId": conversation, "content": content})).await;
    ack["id"].as_str().expect("an id").to_owned()
}
