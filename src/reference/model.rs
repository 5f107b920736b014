//! What the printers print: events and routes with their schemas.

use serde_json::Value;

use super::schemas::{Maker, Schemas};
use crate::server::{Access, ClientEventDoc, Endpoint, ErrorBody, NamespaceDoc, Refused, SchemaFn, ServerEventDoc};

/// Everything that is declared.
pub(super) struct Model {
    pub(super) namespaces: Vec<Namespace>,
    pub(super) routes: Vec<Route>,
    /// The ack of a refused request.
    pub(super) refused: Value,
    /// The REST answer of a refused request.
    pub(super) error: Value,
    pub(super) schemas: Schemas,
}

/// A namespace. Its events are sorted by name.
pub(super) struct Namespace {
    pub(super) name: &'static str,
    pub(super) takes: Vec<Taken>,
    pub(super) sends: Vec<Sent>,
}

/// An event that clients send.
#[derive(Clone, PartialEq)]
pub(super) struct Taken {
    pub(super) name: &'static str,
    pub(super) aliases: &'static [&'static str],
    pub(super) payload: Value,
    /// Beside `ok: true`.
    pub(super) ack: Value,
}

/// An event that the server sends.
#[derive(Clone, PartialEq)]
pub(super) struct Sent {
    pub(super) name: &'static str,
    pub(super) twins: &'static [&'static str],
    pub(super) payload: Value,
    /// The request that it answers when the client wants no ack. It carries what the ack would, `ok: true` included.
    pub(super) answers: Option<&'static str>,
}

/// A REST route.
pub(super) struct Route {
    pub(super) method: String,
    pub(super) path: &'static str,
    pub(super) summary: &'static str,
    pub(super) access: Access,
    pub(super) params: Option<Value>,
    pub(super) body: Option<Value>,
    pub(super) answer: Option<Value>,
    pub(super) status: u16,
}

impl Model {
    pub(super) fn new(namespaces: &[NamespaceDoc], endpoints: &[&Endpoint]) -> Self {
        let mut maker = Maker::new();
        // Events first: of two types with one name, the later one gets a number.
        let mut namespaces: Vec<_> = namespaces.iter().map(|namespace| Namespace::new(namespace, &mut maker)).collect();
        let refused = maker.write(schema_of::<Refused>);
        let error = maker.write(schema_of::<ErrorBody>);
        let mut routes: Vec<_> = endpoints.iter().map(|endpoint| Route::new(endpoint, &mut maker)).collect();
        let (schemas, renamed) = maker.finish();
        let payloads = namespaces.iter_mut().flat_map(|namespace| &mut namespace.takes).map(|event| &mut event.payload);
        let bodies = routes.iter_mut().flat_map(|route| [&mut route.params, &mut route.body]).flatten();
        payloads.chain(bodies).for_each(|schema| renamed.apply(schema));
        Self { namespaces, routes, refused, error, schemas }
    }

    /// The events that clients send, each once, and the namespaces that take them.
    pub(super) fn taken(&self) -> Vec<(&Taken, Vec<&'static str>)> {
        gather(
            self.namespaces
                .iter()
                .flat_map(|namespace| namespace.takes.iter().map(|event| (event.name, event, namespace.name))),
        )
    }

    /// The events that the server sends, each once, and the namespaces in which it does.
    pub(super) fn sent(&self) -> Vec<(&Sent, Vec<&'static str>)> {
        gather(
            self.namespaces
                .iter()
                .flat_map(|namespace| namespace.sends.iter().map(|event| (event.name, event, namespace.name))),
        )
    }
}

fn schema_of<T: schemars::JsonSchema>(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    generator.subschema_for::<T>()
}

/// Each event once, sorted by name, with all its namespaces.
fn gather<'a, E>(events: impl Iterator<Item = (&'static str, &'a E, &'static str)>) -> Vec<(&'a E, Vec<&'static str>)> {
    let mut gathered = std::collections::BTreeMap::new();
    for (name, event, namespace) in events {
        gathered.entry(name).or_insert_with(|| (event, Vec::new())).1.push(namespace);
    }
    gathered.into_values().collect()
}

impl Namespace {
    fn new(doc: &NamespaceDoc, maker: &mut Maker) -> Self {
        let mut takes: Vec<_> = doc.takes.iter().map(|event| Taken::new(event, maker)).collect();
        let mut sends: Vec<_> = doc.sends.iter().map(|event| Sent::new(event, maker)).collect();
        for event in &doc.takes {
            // An answer may have a declaration of its own, too.
            if let Some(name) = event.answer.filter(|name| doc.sends.iter().all(|sent| sent.name != *name)) {
                sends.push(Sent { name, twins: &[], payload: maker.write(event.ack), answers: Some(event.name) });
            }
        }
        takes.sort_by_key(|event| event.name);
        sends.sort_by_key(|event| event.name);
        Self { name: doc.name, takes, sends }
    }
}

impl Taken {
    fn new(doc: &ClientEventDoc, maker: &mut Maker) -> Self {
        Self { name: doc.name, aliases: doc.aliases, payload: maker.read(doc.payload), ack: maker.write(doc.ack) }
    }
}

impl Sent {
    fn new(doc: &ServerEventDoc, maker: &mut Maker) -> Self {
        Self { name: doc.name, twins: doc.twins, payload: maker.write(doc.payload), answers: None }
    }
}

impl Route {
    fn new(endpoint: &Endpoint, maker: &mut Maker) -> Self {
        let mut read = |schema: Option<SchemaFn>| schema.map(|schema| maker.read(schema));
        let (params, body) = (read(endpoint.params), read(endpoint.body));
        Self {
            method: endpoint.method.to_string(),
            path: endpoint.path,
            summary: endpoint.summary,
            access: endpoint.access,
            params,
            body,
            answer: endpoint.answer.map(|schema| maker.write(schema)),
            status: endpoint.status.as_u16(),
        }
    }

    /// The names in braces.
    pub(super) fn path_parameters(&self) -> impl Iterator<Item = &'static str> {
        self.path.split('{').skip(1).filter_map(|rest| rest.split('}').next())
    }
}
