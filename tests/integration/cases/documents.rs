//! What the generated documents say of events and routes.

use std::collections::{BTreeMap, BTreeSet};

use hobnob::reference::Reference;
use serde_json::{Map, Value};

/// The parsed documents.
pub struct Documents {
    events: Value,
    routes: Value,
}

/// A field of a payload.
#[derive(Clone, Debug)]
pub struct Field {
    pub name: String,
    pub schema: Value,
    pub is_required: bool,
}

impl Documents {
    pub fn read() -> Self {
        let reference: Reference = hobnob::app::reference::reference().expect("an empty store in memory");
        let parse = |text: &str| serde_json::from_str(text).expect("JSON");
        Self { events: parse(reference.asyncapi()), routes: parse(reference.openapi()) }
    }

    /// Every event that clients send, `receive`, or the server sends, `send`, with its namespaces.
    pub fn events(&self, action: &str) -> BTreeMap<String, BTreeSet<String>> {
        let mut events = BTreeMap::<String, BTreeSet<String>>::new();
        for operation in self.events["operations"].as_object().expect("operations").values() {
            if operation["action"] == action {
                let channel = pointed(&self.events, &operation["channel"]);
                let message = pointed(&self.events, pointed(&self.events, &operation["messages"][0]));
                let name = message["name"].as_str().expect("a name").to_owned();
                events.entry(name).or_default().insert(channel["address"].as_str().expect("a name").to_owned());
            }
        }
        events
    }

    /// Other names of an event: old ones of clients under `receive`, twins under `send`.
    pub fn other_names(&self, action: &str, event: &str) -> Vec<String> {
        let message = self.message(action, event);
        let names = ["x-old-names", "x-twins"].into_iter().filter_map(|key| message[key].as_array()).flatten();
        names.map(|name| name.as_str().expect("a name").to_owned()).collect()
    }

    /// Every route, as `METHOD /path`.
    pub fn route_names(&self) -> BTreeSet<String> {
        let paths = self.routes["paths"].as_object().expect("paths");
        let methods = paths.iter().flat_map(|(path, methods)| {
            methods.as_object().expect("methods").keys().map(move |method| format!("{} {path}", method.to_uppercase()))
        });
        methods.collect()
    }

    /// The statuses of success that a route is documented with.
    pub fn statuses(&self, method: &str, path: &str) -> Vec<u16> {
        let responses = self.operation(method, path)["responses"].as_object().expect("responses");
        responses.keys().filter_map(|status| status.parse().ok()).collect()
    }

    /// Whether a route says what it answers.
    pub fn has_answer(&self, method: &str, path: &str) -> bool {
        let responses = self.operation(method, path)["responses"].as_object().expect("responses");
        responses.values().any(|response| !response["content"].is_null())
    }

    /// The fields of an event's payload.
    pub fn payload(&self, event: &str) -> Vec<Field> {
        fields(&self.events, &self.message("receive", event)["payload"])
    }

    /// The fields of a route's body; `None` when it takes none.
    pub fn body(&self, method: &str, path: &str) -> Option<Vec<Field>> {
        let body = &self.operation(method, path)["requestBody"]["content"]["application/json"]["schema"];
        (!body.is_null()).then(|| fields(&self.routes, body))
    }

    /// The fields of a route's query.
    pub fn query(&self, method: &str, path: &str) -> Vec<Field> {
        let parameters = self.operation(method, path)["parameters"].as_array().cloned().unwrap_or_default();
        let in_query = parameters.into_iter().filter(|parameter| parameter["in"] == "query");
        in_query
            .map(|parameter| Field {
                name: parameter["name"].as_str().expect("a name").to_owned(),
                schema: self.resolved(&parameter["schema"]),
                is_required: parameter["required"] == true,
            })
            .collect()
    }

    /// The schema behind a reference, whichever document it is in.
    pub fn resolved(&self, schema: &Value) -> Value {
        let Some(reference) = schema["$ref"].as_str() else { return schema.clone() };
        let pointer = reference.trim_start_matches('#');
        let found = self.events.pointer(pointer).or_else(|| self.routes.pointer(pointer));
        self.resolved(found.unwrap_or_else(|| panic!("{reference} leads nowhere")))
    }

    fn message(&self, action: &str, event: &str) -> &Value {
        let word = event.replace(|c: char| !c.is_ascii_alphanumeric() && c != '-', ".");
        let message = &self.events["components"]["messages"][format!("{action}.{word}")];
        assert_eq!(message["name"], event, "the document has no such event");
        message
    }

    fn operation(&self, method: &str, path: &str) -> &Value {
        let operation = &self.routes["paths"][path][method.to_lowercase()];
        assert!(operation.is_object(), "the document has no {method} {path}");
        operation
    }
}

/// What a reference leads to.
fn pointed<'a>(document: &'a Value, reference: &Value) -> &'a Value {
    let pointer = reference["$ref"].as_str().expect("a reference").trim_start_matches('#');
    document.pointer(pointer).expect("it leads somewhere")
}

/// The fields of an object that is written out, referred to, or put together.
fn fields(document: &Value, schema: &Value) -> Vec<Field> {
    if schema["$ref"].is_string() {
        return fields(document, pointed(document, schema));
    }
    let parts = schema["allOf"].as_array().into_iter().flatten().flat_map(|part| fields(document, part));
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let none = Map::new();
    let own = schema["properties"].as_object().unwrap_or(&none).iter();
    let own = own.map(|(name, schema)| Field {
        name: name.clone(),
        schema: schema.clone(),
        is_required: required.iter().any(|required| required == name),
    });
    own.chain(parts).collect()
}
