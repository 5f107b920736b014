//! The documents of events and routes, held against what the server does.

use std::collections::BTreeMap;

use hobnob::reference::Reference;
use serde_json::Value;

use crate::support::{command::Sandbox, http::request, process::Server};

/// Every `$ref` leads somewhere within its document.
#[track_caller]
fn assert_resolves(document: &Value, part: &Value) {
    match part {
        Value::Object(object) => {
            if let Some(Value::String(reference)) = object.get("$ref") {
                let pointer = reference.strip_prefix('#').expect("within the document");
                assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
            }
            object.values().for_each(|value| assert_resolves(document, value));
        }
        Value::Array(values) => values.iter().for_each(|value| assert_resolves(document, value)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn reference() -> Reference {
    hobnob::app::reference::reference().expect("an empty store in memory")
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

#[test]
fn every_reference_in_the_documents_leads_somewhere() {
    let reference = reference();
    for document in [parse(reference.openapi()), parse(reference.asyncapi())] {
        assert_resolves(&document, &document);
    }
}

#[test]
fn every_event_and_every_route_says_what_it_is_for() {
    let reference = reference();
    let (routes, events) = (parse(reference.openapi()), parse(reference.asyncapi()));
    let paths = routes["paths"].as_object().expect("paths");
    let methods = paths.iter().flat_map(|(path, methods)| {
        methods
            .as_object()
            .expect("methods")
            .iter()
            .map(move |(method, operation)| (format!("{method} {path}"), operation))
    });
    let operations = events["operations"].as_object().expect("operations");
    let operations = operations.iter().map(|(name, operation)| (name.clone(), operation));
    for (name, operation) in methods.chain(operations) {
        assert!(operation["summary"].as_str().is_some_and(|summary| summary.ends_with('.')), "{name}: {operation}");
    }
}

/// With `#[serde(transparent)]` an event is described as what it wraps is.
#[test]
fn every_event_has_a_type_of_its_own() {
    let document = parse(reference().asyncapi());
    let mut events = BTreeMap::new();
    for (id, message) in document["components"]["messages"].as_object().expect("messages") {
        if let Some(kind) = message["payload"]["$ref"].as_str() {
            let other = events.insert(kind.to_owned(), id);
            assert!(other.is_none(), "{id} and {other:?} are both {kind}");
        }
    }
}

/// Of two types with one name the second would be called `Name2`, until somebody adds a third.
#[test]
fn no_two_types_of_events_share_a_name() {
    let document = parse(reference().asyncapi());
    let schemas = document["components"]["schemas"].as_object().expect("schemas");
    let numbered: Vec<_> = schemas.keys().filter(|name| name.ends_with(|c: char| c.is_ascii_digit())).collect();
    assert!(numbered.is_empty(), "needs `#[schemars(rename = ...)]`: {numbered:?}");
}

/// A document that says less than is asked for would be worse than none.
#[tokio::test(flavor = "multi_thread")]
async fn every_route_is_there_and_asks_for_the_credentials_that_the_document_names() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox).await;
    let document = request(server.address, "GET", "/openapi.json", &[], b"").await.json();
    let mut count = 0;
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let id = "0".repeat(24);
            let concrete: String = path
                .split('/')
                .map(|part| if part.starts_with('{') { &id } else { part })
                .collect::<Vec<_>>()
                .join("/");
            let headers = [("Content-Type", "application/json")];
            let answer = request(server.address, &method.to_uppercase(), &concrete, &headers, b"{}").await;
            let is_open = operation["security"].as_array().expect("a list").is_empty();
            let expected = if is_open { 200 } else { 401 };
            assert_eq!(answer.status, expected, "{method} {path}: {answer:?}");
            count += 1;
        }
    }
    assert!(count > 20, "{count} routes");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_prints_what_the_server_serves() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox).await;
    for (name, path) in [("openapi", "/openapi.json"), ("asyncapi", "/asyncapi.json"), ("types", "/types.d.ts")] {
        let answer = request(server.address, "GET", path, &[], b"").await;
        assert_eq!(sandbox.run(&["schema", name]).succeeded(), answer.body, "{name}");
        let tag = answer.header("etag").expect("a tag");
        let again = request(server.address, "GET", path, &[("If-None-Match", tag)], b"").await;
        assert_eq!((again.status, again.body.as_str()), (304, ""));
    }
    assert!(sandbox.run(&["schema", "events"]).succeeded().starts_with("# Events and routes\n"));
}
