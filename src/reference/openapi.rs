//! The REST routes as `OpenAPI` 3.1.
//!
//! Spec: OpenAPI Specification 3.1.0.

use serde_json::{Map, Value, json};

use super::{
    VERSION,
    model::{Model, Route},
    schemas::{Schemas, fields},
};
use crate::{codes::ErrorCode, server::Access};

/// The document.
pub(super) fn print(model: &Model) -> String {
    let mut paths = Map::new();
    for route in &model.routes {
        let methods = paths.entry(route.path).or_insert_with(|| json!({}));
        if let Some(methods) = methods.as_object_mut() {
            methods.insert(route.method.to_ascii_lowercase(), operation(route, &model.schemas));
        }
    }
    // A query is written out as parameters: what it is made of stays, it itself goes.
    let queries = model.routes.iter().filter_map(|route| Some(model.schemas.resolve(route.params.as_ref()?)));
    let roots = model.routes.iter().flat_map(|route| [&route.body, &route.answer]).flatten().chain(queries);
    let schemas = model.schemas.reachable(roots.chain([&model.error]));
    let document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Hobnob",
            "version": VERSION,
            "description": "The REST routes. The events are in /asyncapi.json.",
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": {
                "Refused": {"description": refusals(), "content": {"application/json": {"schema": model.error}}},
            },
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "cookie": {"type": "apiKey", "in": "cookie", "name": "token"},
                "apiKey": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
            },
        },
    });
    format!("{document:#}\n")
}

fn operation(route: &Route, schemas: &Schemas) -> Value {
    let mut operation = Map::new();
    operation.insert("operationId".to_owned(), json!(operation_id(route)));
    operation.insert("summary".to_owned(), json!(route.summary));
    operation.insert("tags".to_owned(), json!([super::markdown::subject(route.path)]));
    operation.insert(
        "security".to_owned(),
        match route.access {
            Access::Anyone => json!([]),
            Access::User => json!([{"bearer": []}, {"cookie": []}]),
            Access::Backend => json!([{"apiKey": []}]),
        },
    );
    let parameters: Vec<_> = parameters(route, schemas);
    if !parameters.is_empty() {
        operation.insert("parameters".to_owned(), json!(parameters));
    }
    if let Some(body) = &route.body {
        let body = json!({"required": true, "content": {"application/json": {"schema": body}}});
        operation.insert("requestBody".to_owned(), body);
    }
    let mut success = json!({"description": "Done."});
    if let (Some(answer), Some(success)) = (&route.answer, success.as_object_mut()) {
        success.insert("content".to_owned(), json!({"application/json": {"schema": answer}}));
    }
    let responses = json!({route.status.to_string(): success, "default": {"$ref": "#/components/responses/Refused"}});
    operation.insert("responses".to_owned(), responses);
    Value::Object(operation)
}

fn parameters(route: &Route, schemas: &Schemas) -> Vec<Value> {
    let in_path = route
        .path_parameters()
        .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}));
    let query = route.params.as_ref().map(|schema| fields(schemas.resolve(schema))).unwrap_or_default();
    let in_query = query.into_iter().map(|(name, schema, required)| {
        let description = schemas.description(schema);
        json!({"name": name, "in": "query", "required": required, "description": description, "schema": schema})
    });
    in_path.chain(in_query).collect()
}

/// `getApiConversationsIdMembers`.
fn operation_id(route: &Route) -> String {
    let words = route.path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.fold(route.method.to_ascii_lowercase(), |mut id, word| {
        let (first, rest) = word.split_at(1);
        id.push_str(&first.to_ascii_uppercase());
        id.push_str(rest);
        id
    })
}

/// Which code has which status.
fn refusals() -> String {
    let codes = ErrorCode::ALL.iter().map(|code| format!("{code} {}", code.http_status()));
    format!("Refused, with the status of its code: {}.", codes.collect::<Vec<_>>().join(", "))
}
