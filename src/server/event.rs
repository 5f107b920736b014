//! Events: what a handler gets, what it answers, and the typed declarations that features list.

use std::{future::Future, marker::PhantomData, pin::Pin, sync::Arc};

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, DeserializeOwned},
};
use serde_json::value::RawValue;

use super::{Refusal, Socket};

/// An event as it came, borrowed from the packet.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its arguments as JSON text, binary ones as placeholders.
    pub args: &'a [&'a RawValue],
    /// What the placeholders stand for.
    pub attachments: &'a [Bytes],
    /// Whether the client waits for an ack.
    pub wants_ack: bool,
}

/// Arguments on their way out: JSON text, and the attachments its placeholders stand for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Args {
    /// One JSON text per argument.
    pub json: Vec<String>,
    /// Binary attachments, by number.
    pub attachments: Vec<Bytes>,
}

impl Args {
    /// A single argument.
    #[must_use]
    pub fn one(json: String) -> Self {
        Self { json: vec![json], attachments: Vec::new() }
    }

    /// The arguments of an event, to be passed on unchanged.
    #[must_use]
    pub fn of(event: &Event<'_>) -> Self {
        let json = event.args.iter().map(|arg| arg.get().to_owned()).collect();
        Self { json, attachments: event.attachments.to_vec() }
    }
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The ack's arguments, if the client wants one.
    Ack(Args),
    /// Refused: told by ack, or by `request-failed` to the calling socket.
    Refused(Refusal),
    /// Nothing to tell.
    Silent,
}

/// What a handler gives back: an outcome, or the promise of one.
pub enum Reply {
    /// Done.
    Now(Outcome),
    /// Under way. The future is polled once before the next event is handled, so what it does up to its first wait is done in
    /// the order in which the client sent.
    Later(Pin<Box<dyn Future<Output = Outcome> + Send>>),
}

/// Handles one kind of event.
pub trait Handler: Send + Sync + 'static {
    /// Takes one event. Must not block; what waits goes into [`Reply::Later`].
    fn handle(&self, socket: &Arc<Socket>, event: &Event<'_>) -> Reply;
}

impl<F: Fn(&Arc<Socket>, &Event<'_>) -> Reply + Send + Sync + 'static> Handler for F {
    fn handle(&self, socket: &Arc<Socket>, event: &Event<'_>) -> Reply {
        self(socket, event)
    }
}

/// An event that clients send, declared once: the registry, the documentation and the handler are made from it.
pub trait ClientEvent: DeserializeOwned + JsonSchema + Send + 'static {
    /// Its name.
    const NAME: &'static str;
    /// Older names that do the same.
    const ALIASES: &'static [&'static str] = &[];
    /// The event that carries the answer when the client wants no ack.
    const ANSWER: Option<&'static str> = None;
    /// Whether anything may be sent with it, or nothing: what is no object counts as an empty one.
    const TAKES_ANYTHING: bool = false;
    /// What the ack carries beside `ok: true`; serializes to an object.
    type Ack: Serialize + JsonSchema;
}

/// An event that the server sends, declared once and listed in the `SERVER_EVENTS` of its feature.
pub trait ServerEvent: Serialize + JsonSchema {
    /// Its name.
    const NAME: &'static str;
    /// Names of the reference app under which the same payload is sent as well, unless `compat.legacy_events` is off.
    const TWINS: &'static [&'static str] = &[];
}

/// Makes a handler of a function over a typed event: decodes the first argument, wraps the answer as `{ok:true, ...}`.
pub(super) fn typed<E, F, R>(handle: F) -> impl Handler
where
    E: ClientEvent,
    F: Fn(Arc<Socket>, E) -> R + Send + Sync + 'static,
    R: Future<Output = Result<E::Ack, Refusal>> + Send + 'static,
{
    move |socket: &Arc<Socket>, event: &Event<'_>| match decode::<E>(event) {
        Err(refusal) => Reply::Now(Outcome::Refused(refusal)),
        Ok(payload) => {
            let future = handle(Arc::clone(socket), payload);
            let answer = E::ANSWER.filter(|_| !event.wants_ack).map(|name| (name, Arc::clone(socket)));
            Reply::Later(Box::pin(async move {
                match future.await {
                    Ok(ack) => {
                        let json = success(&ack);
                        if let Some((name, socket)) = answer {
                            socket.emit_raw(name, &[&json], &[]);
                        }
                        Outcome::Ack(Args::one(json))
                    }
                    Err(refusal) => Outcome::Refused(refusal),
                }
            }))
        }
    }
}

/// Reads the payload of an event: its first argument, or an empty object when there is none.
fn decode<E: ClientEvent>(event: &Event<'_>) -> Result<E, Refusal> {
    if E::TAKES_ANYTHING {
        let object = event.args.first().map(|arg| arg.get()).filter(|json| json.starts_with('{'));
        return decode_json(object.unwrap_or("{}"));
    }
    if !event.attachments.is_empty() {
        return Err(Refusal::invalid("payload", "binary attachments are not accepted here"));
    }
    let json = event.args.first().map_or("{}", |arg| arg.get());
    decode_json(if json == "null" { "{}" } else { json })
}

/// Reads an object and names the field that is wrong: `conversationId: expected a string`.
///
/// # Errors
///
/// `invalid_payload`, for the first field that is missing or has the wrong type.
pub fn decode_json<T: DeserializeOwned>(json: &str) -> Result<T, Refusal> {
    // serde would take an array for a struct, field by field.
    if !json.trim_start().starts_with('{') {
        return Err(Refusal::invalid("payload", "expected an object"));
    }
    // Following the path costs as much again as reading, so it is followed only once something is wrong.
    if let Ok(payload) = serde_json::from_str(json) {
        return Ok(payload);
    }
    // Apart from the types: for serde a number in place of a word is no JSON either.
    if serde_json::from_str::<de::IgnoredAny>(json).is_err() {
        return Err(Refusal::invalid("payload", "expected JSON"));
    }
    let mut deserializer = serde_json::Deserializer::from_str(json);
    serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        explain(if path == "." { "payload" } else { &path }, &error.inner().to_string())
    })
}

/// Reads an object within a payload; serde would take an array for one, field by field.
///
/// # Errors
///
/// For anything but an object, and those of `T`.
pub fn object<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    struct Object<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> de::Visitor<'de> for Object<T> {
        type Value = T;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
            T::deserialize(de::value::MapAccessDeserializer::new(map))
        }
    }

    deserializer.deserialize_map(Object(PhantomData))
}

/// Turns serde's sentence into ours: the field first, then what was expected; positions in the text help nobody here.
fn explain(path: &str, message: &str) -> Refusal {
    let message = message.split(" at line ").next().unwrap_or(message);
    if let Some(field) = message.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
        let field = if path == "payload" { field.to_owned() } else { format!("{path}.{field}") };
        return Refusal::invalid(&field, "required");
    }
    match message.split_once(", expected ") {
        Some((_, expected)) if expected.starts_with("struct ") || expected.starts_with("internally tagged") => {
            Refusal::invalid(path, "expected an object")
        }
        Some((_, expected)) => Refusal::invalid(path, &format!("expected {expected}")),
        None => Refusal::invalid(path, message),
    }
}

/// `{ok:true, ...}` around what a handler answered.
fn success(ack: &impl Serialize) -> String {
    match serde_json::to_string(ack) {
        Ok(json) => match json.strip_prefix('{') {
            Some("}") | None => r#"{"ok":true}"#.to_owned(),
            Some(rest) => format!(r#"{{"ok":true,{rest}"#),
        },
        Err(error) => {
            tracing::error!(%error, "an answer could not be written as JSON");
            Refusal::new(crate::codes::ErrorCode::Internal, "the answer could not be written").to_ack()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Payload {
        #[expect(dead_code, reason = "only its type matters")]
        conversation_id: String,
        #[serde(default)]
        #[expect(dead_code, reason = "only its type matters")]
        mentions: Vec<String>,
    }

    fn refusal(json: &str) -> String {
        decode_json::<Payload>(json).expect_err("wrong").message
    }

    #[test]
    fn a_refusal_names_the_field_and_what_was_expected() {
        assert_eq!(refusal(r#"{"conversationId":5}"#), "conversationId: expected a string");
        assert_eq!(refusal("{}"), "conversationId: required");
        assert_eq!(refusal("[1,2]"), "payload: expected an object");
        assert_eq!(refusal("7"), "payload: expected an object");
        assert_eq!(refusal("{"), "payload: expected JSON");
        assert_eq!(refusal(r#"{"conversationId":"a","mentions":["b""#), "payload: expected JSON");
        assert_eq!(refusal(r#"{"conversationId":"a"}x"#), "payload: expected JSON");
        assert_eq!(refusal(r#"{"conversationId":"a","mentions":["b",7]}"#), "mentions[1]: expected a string");
    }

    #[test]
    fn success_is_said_in_front() {
        assert_eq!(success(&serde_json::json!({})), r#"{"ok":true}"#);
        assert_eq!(success(&serde_json::json!({"id": 1})), r#"{"ok":true,"id":1}"#);
    }
}
