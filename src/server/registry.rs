//! What a namespace takes and sends, as data: each event is declared once, and the generated documents are printed from here.

use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::{ClientEvent, ServerEvent};

/// Makes the JSON schema of a type.
pub type SchemaFn = fn(&mut SchemaGenerator) -> Schema;

/// The schema of `T`, as a reference if `T` has a name.
pub(crate) fn schema_of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// An event that clients send.
#[derive(Clone, Copy, Debug)]
pub struct ClientEventDoc {
    /// Its name.
    pub name: &'static str,
    /// Older names that do the same.
    pub aliases: &'static [&'static str],
    /// The event that carries the answer when the client wants no ack.
    pub answer: Option<&'static str>,
    /// The first argument.
    pub payload: SchemaFn,
    /// The ack, beside `ok: true`.
    pub ack: SchemaFn,
}

impl ClientEventDoc {
    /// What `E` declares.
    #[must_use]
    pub const fn of<E: ClientEvent>() -> Self {
        Self {
            name: E::NAME,
            aliases: E::ALIASES,
            answer: E::ANSWER,
            payload: schema_of::<E>,
            ack: schema_of::<E::Ack>,
        }
    }
}

/// A namespace with its events, as the generated documents show it.
#[derive(Clone, Debug)]
pub struct NamespaceDoc {
    /// Its name, `/` first.
    pub name: &'static str,
    /// What clients send in it.
    pub takes: Vec<ClientEventDoc>,
    /// What the server sends in it.
    pub sends: Vec<ServerEventDoc>,
}

/// An event that the server sends.
#[derive(Clone, Copy, Debug)]
pub struct ServerEventDoc {
    /// Its name.
    pub name: &'static str,
    /// Names of the reference app under which it is sent as well.
    pub twins: &'static [&'static str],
    /// The first argument.
    pub payload: SchemaFn,
}

impl ServerEventDoc {
    /// What `E` declares.
    #[must_use]
    pub const fn of<E: ServerEvent>() -> Self {
        Self { name: E::NAME, twins: E::TWINS, payload: schema_of::<E> }
    }
}
