//! The events as `AsyncAPI` 3.0: a namespace is a channel, an event a message, an ack the reply.
//!
//! Spec: AsyncAPI Specification 3.0.0.

use serde_json::{Map, Value, json};

use super::{
    VERSION,
    model::{Model, Namespace},
    one_line, summary,
};

/// The document.
pub(super) fn print(model: &Model) -> String {
    let mut parts = Parts::default();
    for namespace in &model.namespaces {
        parts.add(namespace, model);
    }
    let taken = model.namespaces.iter().flat_map(|namespace| &namespace.takes);
    let sent = model.namespaces.iter().flat_map(|namespace| &namespace.sends);
    let roots = taken.flat_map(|event| [&event.payload, &event.ack]).chain(sent.map(|event| &event.payload));
    let schemas = model.schemas.reachable(roots.chain([&model.refused]));
    let document = json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Hobnob",
            "version": VERSION,
            "description": "The events of Socket.IO. An address is a namespace; `receive` is what clients send, the reply is its ack. \
                The REST routes are in /openapi.json.",
            "license": {"name": "MIT OR Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "this": {
                "host": "localhost:4000",
                "pathname": "/socket.io/",
                "protocol": "socket.io",
                "description": "Engine.IO 3 and 4, by WebSocket and by polling. The token goes into `auth.token`.",
            },
        },
        "channels": parts.channels,
        "operations": parts.operations,
        "components": {"messages": parts.messages, "schemas": schemas},
    });
    format!("{document:#}\n")
}

#[derive(Default)]
struct Parts {
    channels: Map<String, Value>,
    operations: Map<String, Value>,
    messages: Map<String, Value>,
}

impl Parts {
    fn add(&mut self, namespace: &Namespace, model: &Model) {
        let channel = channel_name(namespace.name);
        let mut in_channel = Map::new();
        for event in &namespace.takes {
            let (id, ack) = (format!("receive.{}", word(event.name)), format!("ack.{}", word(event.name)));
            let text = model.schemas.description(&event.payload);
            let message = message(event.name, text, &event.payload, ("x-old-names", event.aliases));
            self.messages.insert(id.clone(), message);
            let answer = json!({"oneOf": [with_ok(&event.ack), model.refused]});
            let text = format!("The ack of `{}`.", event.name);
            self.messages
                .insert(ack.clone(), self::message(&format!("{} (ack)", event.name), &text, &answer, ("", &[])));
            for id in [&id, &ack] {
                in_channel.insert(id.clone(), json!({"$ref": format!("#/components/messages/{id}")}));
            }
            let operation = json!({
                "action": "receive",
                "summary": summary(model.schemas.description(&event.payload)),
                "channel": {"$ref": format!("#/channels/{channel}")},
                "messages": [{"$ref": format!("#/channels/{channel}/messages/{id}")}],
                "reply": {
                    "channel": {"$ref": format!("#/channels/{channel}")},
                    "messages": [{"$ref": format!("#/channels/{channel}/messages/{ack}")}],
                },
            });
            self.operations.insert(format!("{channel}.{id}"), operation);
        }
        for event in &namespace.sends {
            let id = format!("send.{}", word(event.name));
            let text = model.schemas.description(&event.payload);
            let payload = if event.answers.is_some() { with_ok(&event.payload) } else { event.payload.clone() };
            self.messages.insert(id.clone(), message(event.name, text, &payload, ("x-twins", event.twins)));
            in_channel.insert(id.clone(), json!({"$ref": format!("#/components/messages/{id}")}));
            let operation = json!({
                "action": "send",
                "summary": summary(model.schemas.description(&event.payload)),
                "channel": {"$ref": format!("#/channels/{channel}")},
                "messages": [{"$ref": format!("#/channels/{channel}/messages/{id}")}],
            });
            self.operations.insert(format!("{channel}.{id}"), operation);
        }
        let description = format!("The namespace `{}`.", namespace.name);
        let content = json!({"address": namespace.name, "description": description, "messages": in_channel});
        self.channels.insert(channel.to_owned(), content);
    }
}

/// A message, with other names of the event, if it has some.
fn message(name: &str, text: &str, payload: &Value, (kind, names): (&str, &[&str])) -> Value {
    let mut message = Map::new();
    message.insert("name".to_owned(), json!(name));
    message.insert("summary".to_owned(), json!(summary(text)));
    message.insert("description".to_owned(), json!(one_line(text)));
    message.insert("payload".to_owned(), payload.clone());
    if !names.is_empty() {
        message.insert(kind.to_owned(), json!(names));
    }
    Value::Object(message)
}

/// An answer as it goes out.
fn with_ok(ack: &Value) -> Value {
    let ok = json!({"type": "object", "properties": {"ok": {"type": "boolean", "const": true}}, "required": ["ok"]});
    json!({"allOf": [ok, ack]})
}

/// `default` for `/`.
fn channel_name(namespace: &str) -> &str {
    match namespace.trim_start_matches('/') {
        "" => "default",
        name => name,
    }
}

/// A name without characters that keys of the document may not have.
fn word(name: &str) -> String {
    name.replace(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_', ".")
}
